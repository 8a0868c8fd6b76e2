"""The life of global indexes, as far as nobody waits for it: made once its partitions have leaders, ACTIVE once all items are in it, built anew when it cannot be relied on, gone.

An index is derived, so it is never healed copy by copy: one whose rows were found wrong, a copy of which is bad or lacks log that no member has, or that needs log which is nowhere any more,
is built anew beside itself (`GlobalIndex.next`), is read meanwhile as it is, and gives way. What stands in the catalogue is changed by compare-and-set, and goes on after any death.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.storage.catalogue import (
    GlobalIndex,
    TableMeta,
    index_places,
    index_table,
    index_tables,
    placed,
    with_index_table,
    without_index,
)
from scrubjay.storage.control.indexing.feeding import Parts, fed_of
from scrubjay.storage.control.indexing.feeds import fed_now
from scrubjay.storage.control.streams import is_turning
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.indexes.kept_rows import Fed

LOOK_S = 0.5
BAD_US = 10_000_000
"""A copy that is bad for so long makes the index be built anew."""
AGAIN_US = 120_000_000
"""Between two times that one index is built anew because of its copies."""
BAD = ("suspect", "amnesiac", "behind")
"""States of a copy on account of which an index is built anew."""


class IndexKeeper:
    """works: whether this process is the one that works for the cluster."""

    def __init__(self, parts: Parts, tables: Tables, *, works: Callable[[], bool], log: Callable[[str], None]) -> None:
        self._parts, self._tables, self._works, self._log = parts, tables, works, log
        self._bad: dict[PartitionId, int] = {}
        """Since when a copy of an index's partition is bad."""
        self._rebuilt_us: dict[tuple[TableId, str], int] = {}
        """Of a table's index, by its name: what is built anew has another id."""
        self._told: set[tuple[NodeName, PartitionId]] = set()
        """Which nodes that are up were told to forget what."""
        self._loop = KeptLoop(self._parts.env.tasks, self._follow, name="index keeper")
        self.rebuilds = 0
        """Indexes that were built anew since the start."""

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _follow(self) -> None:
        while True:
            await self._parts.env.tasks.sleep(LOOK_S)
            if self._works():
                await self.look()

    async def look(self) -> None:
        """One round over all tables."""
        for table in list(self._parts.metadata.tables.values()):
            if table.gone:
                await self._tried(self._clean(table))
            if fed_now(table):
                for index in table.global_indexes or ():
                    if index.status != "DELETING":
                        self._look_at_copies(table, index)
                    await self._tried(self._index(table, index))

    async def _tried(self, work: Awaitable[None]) -> None:
        """What fails here is tried in the next round, and keeps nobody else from being seen to."""
        with suppress(ScrubjayError):
            await work

    async def _index(self, table: TableMeta, index: GlobalIndex) -> None:
        """Raises Unavailable, Corrupt."""
        if index.status == "DELETING":
            await self._remove(table, index)
            return
        for one in (index, index.next):
            if one is not None and not one.made:
                await self._make(table, one)
            elif one is not None and one.absent:
                await self._welcome(table, one)
        if index.next is not None and index.next.made and await self.filled(table, index.next):
            await self._give_way(table, index)
            return
        if index.made and index.status == "CREATING" and await self.filled(table, index):
            await self._change(table, index, status="ACTIVE", backfilling=False)
        # Behind that: an index that is to give way may be one of which nobody tells any more how far it was fed.
        for one in (index, index.next):
            if one is not None and one.former:
                await self._retire(table, one)

    # ------------------------------------------------------------------ made and filled

    async def _make(self, table: TableMeta, index: GlobalIndex) -> None:
        target = index_table(table, index)
        fleet = self._parts.fleet
        if any(fleet.leader(info.partition_id) is None for info in index.partitions):
            fleet.host(table)  # one that was down when it was told
            return
        await self._tables.settled(target)
        made = self._tables.made(table, index)
        await self._change(table, index, made=True, absent=made.absent, backfilling=made.backfilling)

    async def _welcome(self, table: TableMeta, index: GlobalIndex) -> None:
        left = tuple(number for number in index.absent if number in self._parts.fleet.without_log(index_table(table, index)))
        if left != index.absent:
            await self._change(table, index, absent=left)

    async def filled(self, table: TableMeta, index: GlobalIndex) -> bool:
        """Every item of the table is in it. Raises Unavailable, Corrupt."""
        return await self._every(table, index, lambda fed: fed.cursor is None)

    async def _every(self, table: TableMeta, index: GlobalIndex, so: Callable[[Fed], bool]) -> bool:
        """Whether each partition of the index was fed from each of the table, and so far. Raises Unavailable, Corrupt."""
        target = index_table(table, index)
        for info in table.partitions:
            for place in index.partitions:
                fed = await fed_of(self._parts, target, place, info.partition_id)
                if fed is None or not so(fed):
                    return False
        return self._parts.metadata.known(target).partitions == index.partitions  # else a half was not asked

    # ------------------------------------------------------------------ split

    async def _retire(self, table: TableMeta, index: GlobalIndex) -> None:
        """What was split goes out of the index's entry when nobody has to know it any more: its copies may go, each copy of its children has a log, and each partition of the index knows how far it was
        fed from each of the table. A node that was away is told to forget its copy as one of an index that is gone."""
        fresh = {info.partition_id for info in index.partitions if info.fresh}
        over = [one for one in index.former or () if one.archived_at is not None and fresh.isdisjoint((one.split.left, one.split.right))]
        if not over or not await self._every(table, index, lambda _: True):
            return

        def retired(known: TableMeta) -> TableMeta | None:
            one = next((one for one in index_tables(known) if one.table_id == index.table_id), None)
            left = () if one is None else tuple([former for former in one.former or () if former not in over])
            if one is None or len(left) == len(one.former or ()):
                return None
            known = msgspec.structs.replace(known, gone=(*(known.gone or ()), *[former.info for former in over]))
            return with_index_table(known, msgspec.structs.replace(one, former=left or msgspec.UNSET))

        await self._parts.metadata.change(table.table_id, retired, until=lambda: self._tables.stopping)

    # ------------------------------------------------------------------ built anew

    async def rebuild(self, table_id: TableId, name: str, why: str) -> None:
        """Build an index anew beside itself, unless that is under way. One that is not filled yet begins anew."""
        fresh: list[GlobalIndex] = []

        def anew(table: TableMeta) -> TableMeta | None:
            found: list[GlobalIndex] = []
            gone = list(table.gone or ())
            fresh.clear()
            for index in table.global_indexes or ():
                if index.name == name and index.status != "DELETING" and index.next is None:
                    fresh.append(self._tables.fresh_index(index))
                    if index.status == "CREATING":
                        gone += index_places(table, index)
                        index = fresh[0]
                    else:
                        index = msgspec.structs.replace(index, next=fresh[0])
                found.append(index)
            return msgspec.structs.replace(table, global_indexes=tuple(found), gone=tuple(gone) or msgspec.UNSET) if fresh else None

        changed = await self._parts.metadata.change(table_id, anew, until=lambda: self._tables.stopping)
        if changed is not None:
            self.rebuilds += 1
            self._log(f"{changed.name}: index {name} is built anew: {why}")
            self._parts.fleet.host(changed)

    async def replace_lost(self, table_id: TableId, lost: TableId, name: str, why: str) -> None:
        """An index cannot be fed any more: it is built anew; if it is one that is being built beside another, that one begins anew."""

        def drop(table: TableMeta) -> TableMeta | None:
            found: list[GlobalIndex] = []
            gone = list(table.gone or ())
            for index in table.global_indexes or ():
                if index.next is not None and index.next.table_id == lost:
                    gone += placed(index_table(table, index.next))
                    index = msgspec.structs.replace(index, next=None)
                found.append(index)
            changed = len(gone) > len(table.gone or ())
            return msgspec.structs.replace(table, global_indexes=tuple(found), gone=tuple(gone)) if changed else None

        await self._parts.metadata.change(table_id, drop, until=lambda: self._tables.stopping)
        await self.rebuild(table_id, name, why)

    async def _give_way(self, table: TableMeta, index: GlobalIndex) -> None:
        following = index.next
        assert following is not None

        def give_way(known: TableMeta) -> TableMeta | None:
            found: list[GlobalIndex] = []
            gone = list(known.gone or ())
            for one in known.global_indexes or ():
                if one.next is not None and one.next.table_id == following.table_id and one.status != "DELETING":
                    gone += placed(index_table(known, one))
                    one = msgspec.structs.replace(
                        one,
                        table_id=one.next.table_id,
                        partitions=one.next.partitions,
                        made=True,
                        absent=one.next.absent,
                        next=None,
                        split=one.next.split,
                        former=one.next.former,
                    )
                found.append(one)
            changed = len(gone) > len(known.gone or ())
            return msgspec.structs.replace(known, global_indexes=tuple(found), gone=tuple(gone)) if changed else None

        changed = await self._parts.metadata.change(table.table_id, give_way, until=lambda: self._tables.stopping)
        if changed is not None:
            self._log(f"{table.name}: index {index.name} was built anew")
            self._parts.fleet.host(changed)

    def _look_at_copies(self, table: TableMeta, index: GlobalIndex) -> None:
        """One that is read is built anew because of any bad copy; one that is built beside it only if it cannot go on with them, or it would never be whole."""
        now_us = self._parts.env.clock.boot_us()
        following = index.next
        one, fleet = following or index, self._parts.fleet
        for info in one.partitions:
            bad = [copy for copy in fleet.copies(info) if copy.state in BAD]
            if not bad or (following is not None and fleet.leader(info.partition_id) is not None):
                self._bad.pop(info.partition_id, None)
                continue
            since_us = self._bad.setdefault(info.partition_id, now_us)
            rests = self._rebuilt_us.get((table.table_id, index.name), now_us - AGAIN_US)
            if now_us - since_us >= BAD_US and now_us - rests >= AGAIN_US:
                self._bad.pop(info.partition_id)
                self._rebuilt_us[table.table_id, index.name] = now_us
                why = f"the copy on {bad[0].node} is {bad[0].state}"
                work = self.replace_lost(table.table_id, one.table_id, index.name, why)
                self._parts.env.tasks.spawn(work, name=f"rebuild {table.name}/{index.name}")

    # ------------------------------------------------------------------ gone

    async def _remove(self, table: TableMeta, index: GlobalIndex) -> None:
        """Out of the catalogue; its copies go, on a node that is down now as soon as it is back."""

        def removed(known: TableMeta) -> TableMeta | None:
            going = next((one for one in known.global_indexes or () if one.name == index.name and one.status == "DELETING"), None)
            if going is None:
                return None
            return msgspec.structs.replace(without_index(known, index.name), gone=(*(known.gone or ()), *index_places(known, going)))

        changed = await self._parts.metadata.change(table.table_id, removed, until=lambda: self._tables.stopping)
        if changed is not None:
            self._parts.fleet.host(changed)

    async def _clean(self, table: TableMeta) -> None:
        """Forget what no node has any more. A node that is down may have it still."""
        fleet = self._parts.fleet
        left = []
        for info in table.gone or ():
            told = [(node.name, info.partition_id) for node in fleet.members(info)]
            for node, place in zip(fleet.members(info), told, strict=True):
                if node.status().failed is not None or node.facts(info.partition_id) is not None:
                    self._told.discard(place)
            if not self._told.issuperset(told):
                left.append(info)
            for node, place in zip(fleet.members(info), told, strict=True):
                if node.status().failed is None and place not in self._told:
                    self._told.add(place)  # what it runs no more by the next round, it has carried out
                    fleet.forget(info.partition_id, node)
        if len(left) < len(table.gone or ()):
            kept = frozenset(info.partition_id for info in left)

            def cleaned(known: TableMeta) -> TableMeta | None:
                rest = tuple(info for info in known.gone or () if info.partition_id in kept)
                return msgspec.structs.replace(known, gone=rest or msgspec.UNSET) if len(rest) < len(known.gone or ()) else None

            await self._parts.metadata.change(table.table_id, cleaned, until=lambda: self._tables.stopping)

    async def _change(self, table: TableMeta, index: GlobalIndex, **change: object) -> None:
        """Change what stands of one index, or of one that is built beside it, wherever it stands by now."""

        def changed(known: TableMeta) -> TableMeta | None:
            found: list[GlobalIndex] = []
            hit = False
            for one in known.global_indexes or ():
                if one.table_id == index.table_id and one.status != "DELETING":
                    one, hit = msgspec.structs.replace(one, **change), True
                elif one.next is not None and one.next.table_id == index.table_id and one.status != "DELETING":
                    one, hit = msgspec.structs.replace(one, next=msgspec.structs.replace(one.next, **change)), True
                found.append(one)
            if not hit:
                return None
            known = msgspec.structs.replace(known, global_indexes=tuple(found))
            waits = known.status == "UPDATING" and all(one.made for one in found) and not is_turning(known)
            return msgspec.structs.replace(known, status="ACTIVE") if waits else known

        done = await self._parts.metadata.change(table.table_id, changed, until=lambda: self._tables.stopping)
        if done is not None and "made" in change:
            self._parts.fleet.host(done)
