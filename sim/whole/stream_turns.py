"""The stream of the table under test is turned off and on again while everything else goes wrong, and a reader follows each of its streams by the lineage of shards, in virtual time; of the seeds from TURNED_FROM on.

The reader begins with a shard once its parent is read to its end, as a client's library does, so the order in which it hears is the order that counts. Judged, of each stream: along one item the changes are a
chain; none comes twice; every acknowledged write of what its shards span is there; and what the last one says of an item, if it is on still, is what the table holds.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.base.errors import Missing, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.checkers.history import Kind
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import KEYS, Clients
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import key_of, value_of
from scrubjay.storage.catalogue import StreamShard, TableMeta, TableStream, every_partition, new_stream
from scrubjay.storage.items.keys import HASH_BYTES
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.stated import StreamName

TURNED_FROM = 14_000
ASK_S = 15.0
CATCH_UP_S = 120.0
Shard = tuple[str, PartitionId]
"""Label of its stream, and its partition."""


class StreamTurner:
    """Turns the stream off and on. over: he begins nothing more."""

    def __init__(self, cluster: WholeCluster, clients: Clients, draw: Stream, count: Callable[[str], None]) -> None:
        self._cluster, self._clients, self._draw, self._count = cluster, clients, draw, count
        self.over = False

    async def run(self) -> None:
        while not self.over:
            await self._cluster.env.tasks.sleep(self._draw.between(300, 6_000) / 1000)
            table = self._clients.table()
            if table is not None and table.status == "ACTIVE" and not self.over:
                await self._turn(table)

    async def _turn(self, table: TableMeta) -> None:
        streams, now_us = table.streams or (), self._cluster.env.clock.wall_us()
        if table.stream is None:
            streams = (*streams, new_stream(self._draw.choice(("KEYS_ONLY", "NEW_AND_OLD_IMAGES")), now_us))
        else:
            streams = (*streams[:-1], msgspec.structs.replace(streams[-1], status="DISABLING", ended_at=now_us))
        try:
            work = self._cluster.store.update_table(table.name, {"streams": streams, "status": "UPDATING"})
            await self._cluster.ask(work, seconds=ASK_S)
        except ScrubjayError as error:
            self._cluster.world.note(f"stream not turned: {error}")
            return
        self._count("streams turned")

    def left(self) -> str:
        """Whether the table waits for a stream still, "": it does not."""
        table = self._clients.table()
        return "" if table is not None and table.status == "ACTIVE" else "a stream is to be turned on or off still"


class LineageReader:
    """heard: of each stream what it said, in the order in which it was read. broken: what can never be so."""

    def __init__(self, cluster: WholeCluster, clients: Clients, draw: Stream, count: Callable[[str], None]) -> None:
        self._cluster, self._clients, self._draw, self._count = cluster, clients, draw, count
        self.heard: dict[str, list[tuple[PartitionId, ItemChange]]] = {}
        self._places: dict[Shard, tuple[Lsn, int]] = {}
        self._ended: dict[Shard, None] = {}
        self.broken = ""
        self._trouble = ""

    async def run(self) -> None:
        draw, sleep = self._draw, self._cluster.env.tasks.sleep
        while not self._clients.done:
            table = self._clients.table()
            if table is not None:
                for stream, shard in self._open(table):
                    await self._page(table, stream, shard)
            await sleep(draw.between(4_000, 9_000) / 1000 if draw.chance(0.1) else draw.between(5, 400) / 1000)

    async def judge(self) -> list[str]:
        """What is wrong with the streams, once the faults are over and nobody writes or turns them."""
        table, world = self._clients.table(), self._cluster.world
        assert table is not None
        deadline = world.now + int(CATCH_UP_S * 1e6)
        while left := self._open(table):
            for stream, shard in left:
                if self.broken or world.now > deadline:
                    return [self.broken or f"a stream of {shard.partition_id} cannot be read to its end: {self._trouble}"]
                if not await self._page(table, stream, shard, ends=True):
                    await self._cluster.env.tasks.sleep(0.5)
        found = await self._clients.scan(table)
        if isinstance(found, str):
            return [found]
        return [why for stream in table.streams or () for why in self.check(table, stream, found)]

    def _open(self, table: TableMeta) -> list[tuple[TableStream, StreamShard]]:
        """Shards that are not read to their end, and whose parents are."""
        found = []
        for stream in table.streams or ():
            known = {shard.partition_id for shard in stream.shards}
            found += [
                (stream, shard)
                for shard in stream.shards
                if (stream.label, shard.partition_id) not in self._ended
                and (shard.parent not in known or (stream.label, PartitionId(str(shard.parent))) in self._ended)
            ]
        return found

    async def _page(self, table: TableMeta, stream: TableStream, shard: StreamShard, *, ends: bool = False) -> bool:
        """Read on; False: that could not be now. ends: what has no end yet ends where its partition's log is."""
        draw, place = self._draw, (stream.label, shard.partition_id)
        info = next(one for one in every_partition(table) if one.partition_id == shard.partition_id)
        lsn, position = self._places.get(place, (Lsn(shard.first + 1), 0))
        last = None if shard.last is None else Lsn(shard.last)
        if last is not None and lsn > last:  # it was read to its end before that was known
            self._ended[place] = None
            return True
        name = StreamName(stream.label, table.version if stream.on else 0)
        try:
            upto = await self._cluster.ask(self._cluster.store.streams.position(info), seconds=ASK_S) if ends and last is None else last
            limit, max_bytes = draw.between(1, 12), draw.choice((1, 300, 2_000, 1 << 17))
            work = self._cluster.store.streams.read(info, lsn, position=position, last=last, stream=name, limit=limit, max_bytes=max_bytes)
            page = await self._cluster.ask(work, seconds=ASK_S)
        except ScrubjayError as error:
            self._trouble = str(error)
            self._count(f"stream: {type(error).__name__}")
            if isinstance(error, Missing) and error.fields.get("what") == "old item":
                self.broken = f"a record of a stream does not say what was there before: {error}"
            return False
        if page.next < (lsn, position):
            self.broken = f"a stream of {shard.partition_id} goes back, from {(lsn, position)} to {page.next}"
        self.heard.setdefault(stream.label, []).extend([(shard.partition_id, change) for change in page.changes])
        self._places[place] = page.next
        for _ in page.changes:
            self._count("stream: changes")
        if upto is not None and page.next[0] > upto:
            self._ended[place] = None
        return bool(page.next > (lsn, position) or place in self._ended)

    # ------------------------------------------------------------------ judging

    def check(self, table: TableMeta, stream: TableStream, found: dict[int, int | None]) -> list[str]:
        """found: what the table holds."""
        wrong: list[str] = []
        items: dict[bytes, int | None] = {}
        ends: dict[PartitionId, tuple[int, int]] = {}
        at: dict[tuple[int, bytes], int | None] = {}
        for partition, one in self.heard.get(stream.label, []):
            old, value = value_of(one.old), value_of(one.new)
            if (one.lsn, one.position) <= ends.get(partition, (0, -1)):
                wrong.append(f"{(one.lsn, one.position)} of {partition} comes behind {ends[partition]}")
            if one.key in items and items[one.key] != old:
                wrong.append(f"LSN {one.lsn} says that {old} was there, and it was {items[one.key]}")
            if old == value:
                wrong.append(f"LSN {one.lsn} changes nothing")
            ends[partition], items[one.key], at[one.lsn, one.key] = (one.lsn, one.position), value, value
        for operation in self._clients.history:
            if operation.lsn is None or not (operation.kind is Kind.WRITE or (operation.kind is Kind.CAS and operation.ok)):
                continue
            key = key_of(operation.key)
            shard = _shard_of(table, stream, key, operation.lsn)
            if shard is None:
                continue
            if (operation.lsn, key) in at:
                if at[operation.lsn, key] != operation.value:
                    wrong.append(f"LSN {operation.lsn} wrote {operation.value}, a stream says {at[operation.lsn, key]}")
            elif operation.value is not None and not (
                _ended_before_its_split(stream, shard) and operation.lsn > ends.get(shard.partition_id, (0, 0))[0]
            ):  # what deletes nothing changes nothing
                wrong.append(f"the acknowledged write of {operation.value} at LSN {operation.lsn} is not in the stream {stream.label}")
        if stream.on:
            numbers = {key_of(number): number for number in range(KEYS)}
            wrong += [
                f"key {numbers[key]}: the stream says {value}, the table holds {found.get(numbers[key])}"
                for key, value in items.items()
                if value != found.get(numbers[key])
            ]
        return wrong


def _shard_of(table: TableMeta, stream: TableStream, key: bytes, lsn: int) -> StreamShard | None:
    """In which of its shards a change of a key at an LSN is; None: the stream was not on then. Along one key LSNs rise, over splits too."""
    place = key[:HASH_BYTES].hex()
    for shard in stream.shards:
        info = next(one for one in every_partition(table) if one.partition_id == shard.partition_id)
        if info.lo <= place and (not info.hi or place < info.hi) and shard.first < lsn < (1 << 62 if shard.last is None else shard.last):
            return shard
    return None


def _ended_before_its_split(stream: TableStream, shard: StreamShard) -> bool:
    """Its log may have said that the stream is off before it was split: its children's say so with their first record."""
    children = [one for one in stream.shards if one.parent == shard.partition_id]
    return bool(children) and all(one.last is not None and one.last <= one.first + 1 for one in children)


def draw_turns(seed: int, draw: Stream) -> Stream | None:
    """What he draws from who turns streams on and off; None: nobody does."""
    return draw if seed >= TURNED_FROM else None
