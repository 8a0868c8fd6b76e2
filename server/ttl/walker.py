"""Walks over every table with a time to live, at a bounded pace, and has the leaders take away what is over: round after round, one table after the other.

What is found may be old: the leader of each item takes it away only if its time is still the one that was found, and has passed by its own clock too. So a walk that
is cut off, or done twice, takes away nothing else. Nothing at all is taken away by a clock that is not trusted: one that leapt, one that the cluster's time runs ahead of,
one that nobody knows how it came to be so far from when a walk was last noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, ScrubjayError, Unsafe
from scrubjay.base.ids import NodeName, TableId
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel
from scrubjay.server.leaps import LEAP_US, SETTLE_US, LeapWatch
from scrubjay.server.node import RESERVATION_US
from scrubjay.server.ttl.walk_notes import PREFIX, WalkNote, newest_us, note_of
from scrubjay.storage.btree.engine import ExpiredItem
from scrubjay.storage.catalogue import TableMeta, TableStats, TimeToLive
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.ttl_items import ExpiredItems, PageAsked
from scrubjay.storage.node.port import NodePort

LANES = 16
"""Deletes under way at once."""
PAGE_ROWS = 100_000
"""Looked at in one page: a copy is pinned for so long."""
PAGE_FOUND = 2_000
NOTE_US = 10_000_000
"""Between two notes of how far a walk has come."""
CLEAN_US = 900_000_000
"""Between two notes of walks that end sooner: each is a write to the metadata group, whose history is archived as any other."""
GRACE_S = LEAP_US // 1_000_000
"""So much longer an item stays than its time says: a leap of the clock that is too short to be seen takes away nothing that is not over."""
AWAY_US = 86_400_000_000
"""A process that finds the last walk noted so long ago, or in the future, cannot tell whether time passed or the clock leapt while nobody ran."""
LATE_US = 1_800_000_000
"""Beyond what two walks take at their pace, an item whose time to live is over may stay for so long before that is a problem."""


class TtlOptions(NamedTuple):
    """every_us: between two rounds. rows_per_second: looked at. deletes_per_second: taken away; while requests are served, the share of it that a night has."""

    every_us: int = 120_000_000
    rows_per_second: int = 20_000
    deletes_per_second: int = 1_000


class WalkView(NamedTuple):
    """Of one table. expired: items taken away since the start of this process. clean_us: what was over by then is gone; None: no walk has gone over all of it yet. behind_us: for so
    long at most an item may have stayed that is over. late_us: more of that is a problem. why: what keeps the walk from going on, "" nothing known."""

    table: TableMeta
    expired: int
    clean_us: int | None
    behind_us: int
    late_us: int
    why: str

    @property
    def late(self) -> bool:
        return self.behind_us > self.late_us


class TableSizes(Protocol):
    """What is asked of the store: see `storage.control.store`."""

    def stats(self, table: TableMeta) -> TableStats: ...


class TtlWalker:
    """items: finds and takes away. leaps: of this machine's clock."""

    def __init__(
        self,
        env: Env,
        metadata: Metadata,
        catalogue: TableSizes,
        items: ExpiredItems,
        leaps: LeapWatch,
        nodes: Mapping[NodeName, NodePort],
        options: TtlOptions,
        *,
        log: Callable[[str], None],
    ) -> None:
        self._env, self._metadata, self._catalogue, self._items = env, metadata, catalogue, items
        self._leaps, self._nodes, self._options, self._log = leaps, nodes, options, log
        self._share = 1.0
        self._task: Task[None] | None = None
        self._began_us: int | None = None
        """Boot time since which this process walks."""
        self._away: str | None = None
        """Why the clock is not trusted though it was not seen to leap."""
        self._expired: dict[TableId, int] = {}
        self._why: dict[TableId, str] = {}
        self._notes: dict[TableId, WalkNote] = {}
        """As they are; what is noted may be older by CLEAN_US."""

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        if self._task is None:
            self._began_us, self._away = self._env.clock.boot_us(), self._was_away()
            self._notes.clear()  # another process may have gone on meanwhile
            self._task = self._env.tasks.keep(self._follow, name="time to live")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def share(self, share: float) -> None:
        """How much of its pace it may keep while others are served. 0 < share <= 1."""
        self._share = share

    async def _follow(self) -> None:
        while True:
            await self.round()
            await self._env.tasks.sleep(self._options.every_us / 1e6)

    # ------------------------------------------------------------------ what is known

    def views(self) -> list[WalkView]:
        """Of every table that has a time to live, by name; none while another process works."""
        if self._began_us is None or self._task is None:
            return []
        return [self._view(table, setting) for table, setting in self._tables()]

    def _view(self, table: TableMeta, setting: TimeToLive) -> WalkView:
        clean_us = self._noted(table, setting).clean_us
        since_us = setting.changed_at if clean_us is None else clean_us
        took_us = self._catalogue.stats(table).rows * 1_000_000 // self._options.rows_per_second
        return WalkView(
            table,
            self._expired.get(table.table_id, 0),
            clean_us,
            max(0, self._env.clock.wall_us() - since_us),
            LATE_US + 2 * (took_us + self._options.every_us),
            self._why.get(table.table_id, ""),
        )

    def _noted(self, table: TableMeta, setting: TimeToLive) -> WalkNote:
        known = self._notes.get(table.table_id)
        if known is not None and (known.attribute, known.changed_at) == (setting.attribute, setting.changed_at):
            return known
        return note_of(self._metadata.jobs, table, setting)

    def _tables(self) -> list[tuple[TableMeta, TimeToLive]]:
        found = [
            (table, table.ttl)
            for table in self._metadata.tables.values()
            if isinstance(table.ttl, TimeToLive) and table.ttl.enabled and table.status in ("ACTIVE", "UPDATING")
        ]
        return sorted(found, key=lambda one: one[0].name)

    # ------------------------------------------------------------------ the clock

    def doubt(self) -> str | None:
        """Why nothing may be said to be over now; None: the clock is trusted."""
        self._leaps.look()
        if self._leaps.doubt is not None:
            return self._leaps.doubt
        if self._away is not None and self._began_us is not None:
            if self._env.clock.boot_us() - self._began_us < SETTLE_US:
                return self._away
            self._away = None
        wall_us = self._env.clock.wall_us()
        for name, node in sorted(self._nodes.items()):
            status = node.status()
            ahead_us = status.reserved_us - wall_us
            if status.failed is None and ahead_us > RESERVATION_US + status.offset_us:
                return f"the time of node {name} runs {ahead_us / 1e6:.0f} s ahead of this machine's clock"
        return None

    def _was_away(self) -> str | None:
        last_us, now_us = newest_us(self._metadata.jobs), self._env.clock.wall_us()
        if last_us is None or abs(now_us - last_us) <= AWAY_US:
            return None
        return (
            f"the last walk was noted at {utc_text(last_us)}, and nobody saw the time pass since: until {utc_text(now_us + SETTLE_US)} nothing is called over,"
            " so that a clock that leapt meanwhile can be set"
        )

    def _now_s(self) -> int:
        """Seconds since the epoch, as late as it certainly is. Raises Unsafe if the clock is not trusted."""
        why = self.doubt()
        if why is not None:
            raise Unsafe(why)
        return self._env.clock.wall_us() // 1_000_000 - GRACE_S

    # ------------------------------------------------------------------ walking

    async def round(self) -> None:
        """A walk over each table. What keeps one of them from it keeps no other."""
        tables = self._tables()
        for table, setting in tables:
            try:
                await self._walk(table, setting)
            except ScrubjayError as error:
                self._told(table, str(error))
            else:
                self._told(table, "")
        known = {table.table_id for table, _ in tables}
        for table_id in [TableId(key.removeprefix(PREFIX)) for key in self._metadata.jobs if key.startswith(PREFIX)]:
            left = self._metadata.tables.get(table_id)
            if table_id not in known and (left is None or left.status == "DROPPED" or left.ttl_attribute is None):
                await self._forget(table_id)

    async def _forget(self, table_id: TableId) -> None:
        self._notes.pop(table_id, None)
        try:
            await self._metadata.put_job(PREFIX + table_id, None)
        except ScrubjayError:
            return  # in the next round

    def _told(self, table: TableMeta, why: str) -> None:
        if why != self._why.get(table.table_id, ""):
            self._log(f"{table.name}: items whose time to live is over {f'stay for now: {why}' if why else 'go again'}")
        self._why[table.table_id] = why

    def _still(self, table: TableMeta, setting: TimeToLive) -> bool:
        known = self._metadata.tables.get(table.table_id)
        return known is not None and known.ttl == setting and known.status in ("ACTIVE", "UPDATING")

    async def _walk(self, table: TableMeta, setting: TimeToLive) -> None:
        """From where the last one was cut off. Ends early if the setting is another meanwhile. Raises Unsafe (the clock), Unavailable, DiskFull."""
        note = self._noted(table, setting)
        ids: list[str] = [info.partition_id for info in table.partitions]
        if note.partition not in ids:
            note = msgspec.structs.replace(note, began_us=self._env.clock.wall_us(), partition=ids[0], next="")
            self._now_s()  # a walk that may not begin is none
            self._notes[table.table_id] = note
        noted_us = self._env.clock.boot_us()
        for number in range(ids.index(note.partition), len(ids)):
            info, start = table.partitions[number], bytes.fromhex(note.next)
            while True:
                if not self._still(table, setting):
                    return
                page = await self._items.find(info, start, self._asked(setting))
                await self._take(table, setting, page.found)
                if page.next is None:
                    break
                start = page.next
                note = self._notes[table.table_id] = msgspec.structs.replace(note, next=start.hex())
                if self._env.clock.boot_us() - noted_us >= NOTE_US:
                    noted_us = self._env.clock.boot_us()
                    await self._note(table, note)
            if number + 1 < len(ids):
                note = self._notes[table.table_id] = msgspec.structs.replace(note, partition=ids[number + 1], next="")
        note = self._notes[table.table_id] = msgspec.structs.replace(
            note, clean_us=note.began_us - GRACE_S * 1_000_000, partition="", next=""
        )
        kept = note_of(self._metadata.jobs, table, setting)
        if kept.partition or abs(self._env.clock.wall_us() - kept.noted_us) >= CLEAN_US:
            await self._note(table, note)

    def _asked(self, setting: TimeToLive) -> PageAsked:
        return PageAsked(setting.attribute, self._now_s(), PAGE_ROWS, PAGE_FOUND, self._options.rows_per_second)

    async def _note(self, table: TableMeta, note: WalkNote) -> None:
        """What another process noted is not known here until it is read."""
        note = msgspec.structs.replace(note, noted_us=self._env.clock.wall_us())
        builtins: dict[str, Any] = msgspec.to_builtins(note)
        key = PREFIX + table.table_id
        try:
            await self._metadata.put_job(key, builtins)
        except Conflict:
            await self._metadata.fetch_job(key)
            await self._metadata.put_job(key, builtins)

    async def _take(self, table: TableMeta, setting: TimeToLive, found: Sequence[ExpiredItem]) -> None:
        clock = self._env.clock
        for at in range(0, len(found), LANES):
            some = found[at : at + LANES]
            self._now_s()
            if not self._still(table, setting):
                return
            began_us = clock.boot_us()
            await in_parallel(self._env.tasks, partial(self._one, table, setting.attribute), some, lanes=LANES, name="time to live")
            pause_us = int(len(some) * 1e6 / (self._options.deletes_per_second * self._share)) - (clock.boot_us() - began_us)
            if pause_us > 0:
                await self._env.tasks.sleep(pause_us / 1e6)

    async def _one(self, table: TableMeta, attribute: str, one: ExpiredItem) -> None:
        if await self._items.take(table, attribute, one):
            self._expired[table.table_id] = self._expired.get(table.table_id, 0) + 1
