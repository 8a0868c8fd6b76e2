"""Who follows the stream of the table under test through all that befalls the cluster, and what the stream must have said in the end.

Reads by pages of any size, now without a pause and now after a long one, so that what it reads is of a leader, of another copy, or long in the archive. Judged: of every item the changes are a
chain, each with the item as the one before left it; every acknowledged write is there, at its LSN, and no value twice; and what they make is what the table holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.errors import Missing, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.checkers.history import Kind
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import KEYS, Clients
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import key_of, value_of
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.item_changes import ChangesPage, ItemChange
from scrubjay.storage.log.stated import StreamName

STREAMED, STREAMED_FROM = 0.7, 8_000
"""In how many of the seeds, of those from STREAMED_FROM on, the table has a stream that is followed."""
VIEW = "NEW_AND_OLD_IMAGES"
ASK_S = 15.0
CATCH_UP_S = 90.0
"""So long it may take, once the faults are over, to hear the rest."""


def draw_streamed(seed: int, draw: Stream) -> Stream | None:
    """What the follower of this seed draws from; None: it has none."""
    return draw if seed >= STREAMED_FROM and draw.chance(STREAMED) else None


class StreamFollower:
    """heard: of each partition what its stream said, in order. count: told of what it met. broken: what can never be so."""

    def __init__(self, cluster: WholeCluster, clients: Clients, draw: Stream, count: Callable[[str], None]) -> None:
        self._cluster, self._clients, self._draw, self._count = cluster, clients, draw, count
        self.heard: dict[PartitionId, list[ItemChange]] = {}
        self._places: dict[PartitionId, tuple[Lsn, int]] = {}
        self.broken = ""
        self._trouble = ""

    async def run(self) -> None:
        draw, sleep = self._draw, self._cluster.env.tasks.sleep
        while not self._clients.done:
            table = self._clients.table()
            if table is not None:
                for info in _shown(table):
                    await self._page(table, info)
            await sleep(draw.between(4_000, 9_000) / 1000 if draw.chance(0.1) else draw.between(5, 400) / 1000)

    async def judge(self) -> list[str]:
        """What is wrong with the stream, once the faults are over and nobody writes."""
        table, world = self._clients.table(), self._cluster.world
        assert table is not None
        deadline = world.now + int(CATCH_UP_S * 1e6)
        for info in _shown(table):
            upto = Lsn(1 << 62)
            while self._place(table, info)[0] <= upto:
                if self.broken or world.now > deadline:
                    return [self.broken or f"the stream of {info.partition_id} cannot be read to its end: {self._trouble}"]
                try:
                    upto = self._last(table, info) or await self._cluster.ask(self._cluster.store.streams.position(info), seconds=ASK_S)
                except ScrubjayError as error:
                    self._trouble = str(error)
                if await self._page(table, info) is None:
                    await self._cluster.env.tasks.sleep(0.5)
        found = await self._clients.scan(table)
        return [found] if isinstance(found, str) else self.check(table, found)

    # ------------------------------------------------------------------

    def _place(self, table: TableMeta, info: PartitionInfo) -> tuple[Lsn, int]:
        assert table.streams
        first = next(shard.first for shard in table.streams[-1].shards if shard.partition_id == info.partition_id)
        return self._places.get(info.partition_id, (Lsn(first + 1), 0))

    def _last(self, table: TableMeta, info: PartitionInfo) -> Lsn | None:
        """Where what it shows of a partition that was split ends; None: it goes on."""
        assert table.streams
        last = next(shard.last for shard in table.streams[-1].shards if shard.partition_id == info.partition_id)
        return None if last is None else Lsn(last)

    async def _page(self, table: TableMeta, info: PartitionInfo) -> ChangesPage | None:
        """Read on; None: that could not be now."""
        draw, partition = self._draw, info.partition_id
        lsn, position = self._place(table, info)
        assert table.streams
        limit, max_bytes = draw.between(1, 12), draw.choice((1, 300, 2_000, 1 << 17))
        stream = StreamName(table.streams[-1].label, table.version)
        try:
            work = self._cluster.store.streams.read(info, lsn, position=position, stream=stream, limit=limit, max_bytes=max_bytes)
            page: ChangesPage = await self._cluster.ask(work, seconds=ASK_S)
        except ScrubjayError as error:
            self._trouble = str(error)
            self._count(f"stream: {type(error).__name__}")
            if isinstance(error, Missing) and error.fields.get("what") == "old item":
                self.broken = f"a record of the stream does not say what was there before: {error}"
            return None
        if page.next < (lsn, position):
            self.broken = f"the stream of {partition} goes back, from {(lsn, position)} to {page.next}"
        self.heard.setdefault(partition, []).extend(page.changes)
        self._places[partition] = page.next
        for _ in page.changes:
            self._count("stream: changes")
        return page

    # ------------------------------------------------------------------ judging

    def check(self, table: TableMeta, found: dict[int, int | None]) -> list[str]:
        """found: what the table holds."""
        wrong: list[str] = []
        items: dict[bytes, int | None] = {}
        values: dict[int, int] = {}
        at: dict[tuple[int, bytes], ItemChange] = {}
        there: dict[bytes, list[tuple[int, bool]]] = {}
        for partition in [info.partition_id for info in _shown(table)]:
            last = (0, -1)
            for one in self.heard.get(partition, []):
                if (one.lsn, one.position) <= last:
                    wrong.append(f"{(one.lsn, one.position)} of {partition} comes behind {last}")
                last = one.lsn, one.position
                old, value = value_of(one.old), value_of(one.new)
                if old != items.get(one.key):
                    wrong.append(f"LSN {one.lsn} says that {old} was there, and it was {items.get(one.key)}")
                if old == value:
                    wrong.append(f"LSN {one.lsn} changes nothing")
                items[one.key] = value
                at[one.lsn, one.key] = one  # along one key LSNs rise, over splits too
                there.setdefault(one.key, []).append((one.lsn, one.new is not None))
                if value is not None and values.setdefault(value, one.lsn) != one.lsn:
                    wrong.append(f"{value} is written at LSN {values[value]} and at {one.lsn}")
        for operation in self._clients.history:
            if operation.lsn is not None and (operation.kind is Kind.WRITE or (operation.kind is Kind.CAS and operation.ok)):
                wrong += self._has(operation, at, there)
        numbers = {key_of(number): number for number in range(KEYS)}
        made = {numbers[key]: value for key, value in items.items() if value is not None}
        return wrong + [
            f"key {key}: the stream makes {made.get(key)}, the table holds {found.get(key)}"
            for key in sorted(made | found)
            if made.get(key) != found.get(key)
        ]

    def _has(
        self,
        operation: Any,
        at: dict[tuple[int, bytes], ItemChange],
        there: dict[bytes, list[tuple[int, bool]]],
    ) -> list[str]:
        key = key_of(operation.key)
        change = at.get((operation.lsn, key))
        if change is not None:
            told = value_of(change.new)
            return [] if told == operation.value else [f"LSN {operation.lsn} wrote {operation.value}, the stream says {told}"]
        if operation.value is None and not next((is_there for lsn, is_there in reversed(there.get(key, [])) if lsn < operation.lsn), False):
            return []  # nothing was there to be deleted
        return [f"the acknowledged write of {operation.value} at LSN {operation.lsn} is not in the stream"]


def _shown(table: TableMeta) -> list[PartitionInfo]:
    """The partitions of which its stream shows something, those that were split before what they became."""
    return [*(former.info for former in table.former or ()), *table.partitions]
