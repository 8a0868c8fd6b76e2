"""Runs the feeds of this process: of every partition that its node leads, into every global index of its table. One process that has all nodes feeds all.

Two processes may feed one partition for a moment, when its leader moves: that costs a little work and changes nothing (`storage.indexes.feed`). A table without a global index is
passed over in the catalogue, and costs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from scrubjay.base.env import Task
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.storage.catalogue import GlobalIndex, PartitionInfo, TableMeta
from scrubjay.storage.control.indexing.feeding import LOOK_S as FEED_LOOK_S
from scrubjay.storage.control.indexing.feeding import LOOKS_PER_SECOND, FeedView, IndexFeed, Parts
from scrubjay.storage.node.port import NodePort

Lost = Callable[[TableId, TableId, str, str], Coroutine[Any, Any, None]]
"""Of which table, which internal table, which index, and why."""
LOOK_S = 0.1
"""Between two looks at what is to be fed."""


class IndexState(NamedTuple):
    """One global index, over all partitions that this process feeds into it. lag_us: how old the newest change is that it may lack. rows: looked at for a backfill by this process. why: what it does
    not go on for, "" nothing."""

    table: TableMeta
    named: str
    lag_us: int
    backfilling: bool
    rows: int
    why: str


class IndexFeeds:
    """here: the node whose partitions this process feeds; None: it feeds all. lost: what to do about an index whose feed lacks log that is nowhere any more."""

    def __init__(self, parts: Parts, *, here: NodePort | None, lost: Lost) -> None:
        self._parts, self._here, self._lost = parts, here, lost
        self._given_up: set[TableId] = set()
        """Tables of indexes that lack log which is nowhere any more."""
        self._running: dict[tuple[PartitionId, TableId], tuple[IndexFeed, Task[None]]] = {}
        self._task: Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = self._parts.env.tasks.keep(self._follow, name="index feeds")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for _, task in self._running.values():
            task.cancel()
        self._running.clear()

    def pause_s(self) -> float:
        """Until a feed looks again whether its partition has changed."""
        return max(FEED_LOOK_S, len(self._running) / LOOKS_PER_SECOND)

    def views(self) -> list[FeedView]:
        return [feed.view() for _, (feed, _) in sorted(self._running.items())]

    def states(self) -> list[IndexState]:
        """By table and index; one that is built beside another counts as that, but for its lag."""
        found: dict[tuple[str, str], IndexState] = {}
        for view in self.views():
            place = view.table.name, view.into.name
            lag_us = 0 if view.backfilling else view.lag_us
            before = found.get(place, IndexState(view.table, view.into.name, 0, False, 0, ""))
            found[place] = before._replace(
                lag_us=max(before.lag_us, lag_us),
                backfilling=before.backfilling or view.backfilling,
                rows=before.rows + view.rows,
                why=before.why or view.trouble,
            )
        return [state for _, state in sorted(found.items())]

    async def _follow(self) -> None:
        while True:
            self.look()
            await self._parts.env.tasks.sleep(LOOK_S)

    def look(self) -> None:
        """Begin what is to be fed from now on, end what is not any more."""
        wanted = {(info.partition_id, index.table_id): (table, info, index) for table, info, index in self._wanted()}
        for place in [place for place in self._running if place not in wanted]:
            self._running.pop(place)[1].cancel()
        for feed, _ in list(self._running.values()):
            view = feed.view()
            if view.lost and view.into.table_id not in self._given_up:
                self._given_up.add(view.into.table_id)
                work = self._lost(view.table.table_id, view.into.table_id, view.into.name, view.trouble)
                self._parts.env.tasks.spawn(work, name=f"lost {view.table.name}/{view.into.name}")
        for place, (table, info, index) in wanted.items():
            if place not in self._running:
                feed = IndexFeed(self._parts, table, info, index, self.pause_s)
                self._running[place] = feed, self._parts.env.tasks.keep(feed.run, name=f"feed {table.name}/{index.name}")

    def _wanted(self) -> Iterator[tuple[TableMeta, PartitionInfo, GlobalIndex]]:
        for table in self._parts.metadata.tables.values():
            if table.global_indexes and fed_now(table):
                for info in table.partitions:
                    if self._feeds(info):
                        for index in built(table):
                            yield table, info, index

    def _feeds(self, info: PartitionInfo) -> bool:
        if self._here is None:
            return True
        facts = self._here.facts(info.partition_id)
        return facts is not None and facts.answers


def fed_now(table: TableMeta) -> bool:
    """Its indexes are fed."""
    return table.status in ("ACTIVE", "UPDATING") and not (table.restore_of is not None and table.restore_of.in_progress)


def built(table: TableMeta) -> Iterator[GlobalIndex]:
    """Its indexes, and what is built to take the place of one."""
    for index in table.global_indexes or ():
        if index.status != "DELETING":
            yield index
            if index.next is not None:
                yield index.next
