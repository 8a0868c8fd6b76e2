"""Whoever splits partitions in the profile "whole", of the seeds from SPLITS_FROM on: at any moment, at any key, while everything else goes wrong too; in some of the runs a partition that grows is split by itself.
What was begun must come to its end once the faults are over, and the children must be all that is left."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import KEYS
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import TableMeta, VersionNote, index_tables
from scrubjay.storage.cluster_version import SPLITS_INDEXES
from scrubjay.storage.items.global_index import hash_prefix
from scrubjay.storage.items.keys import HASH_BYTES

SPLITS_FROM = 13_000
INDEX_SPLITS_FROM = 15_000
"""Of the seeds from here on partitions of the table's global index are split too, by him and for their size."""
SPLITS_MAX = 3
"""In a run: what a partition becomes has to have rows."""
BY_SIZE, SIZE_BYTES = 0.3, 600
"""In how many of the runs a partition of so many bytes of items is split by itself."""
BEGIN_S = 10.0


class SplitsOperator:
    """table: whose partitions are split. stays_out: of a node's number whether it lost its disk and nobody replaces it. indexes: his draws for those of its indexes, None: they are left whole. over: he
    begins nothing more."""

    def __init__(
        self,
        world: World,
        cluster: WholeCluster,
        draw: Stream,
        table: str,
        stays_out: Callable[[int], bool],
        indexes: Stream | None = None,
    ) -> None:
        self._world, self._cluster, self._draw, self._table, self._indexes = world, cluster, draw, table, indexes
        self._stays_out = stays_out
        self._begun = 0
        self._index_splits: dict[str, None] = {}
        self.over = False

    async def run(self) -> None:
        while not self.over and self._begun < SPLITS_MAX:
            await self._cluster.env.tasks.sleep(self._draw.between(300, 8_000) / 1000)
            if self._cluster.ready and not self.over:
                await self._act()

    async def run_indexes(self) -> None:
        """Beside `run`."""
        draw = self._indexes
        while draw is not None and not self.over and len(self._index_splits) < SPLITS_MAX:
            await self._cluster.env.tasks.sleep(draw.between(300, 8_000) / 1000)
            if self._cluster.ready and not self.over:
                await self._act_on_index(draw)

    async def _act_on_index(self, draw: Stream) -> None:
        table, metadata, splits = self._cluster.store.table(self._table), self._cluster.metadata, self._cluster.parts.splits
        inner = () if table is None else index_tables(table)
        if splits is None or not inner:
            return
        index = draw.choice(inner)
        # As an index's rows are fewer than its table's items, and of few partition keys: the pads of items, which are of a length from 1 to 96.
        cut = hash_prefix([("S", "x" * draw.between(1, 96))])
        info = next(one for one in reversed(index.partitions) if bytes.fromhex(one.lo) <= cut)
        try:
            if metadata.version.number < SPLITS_INDEXES:
                await self._cluster.ask(metadata.put_version(VersionNote(SPLITS_INDEXES)), seconds=BEGIN_S)
            intent = await self._cluster.ask(splits.begin(index, info, cut), seconds=BEGIN_S)
        except ScrubjayError as error:
            self._world.note(f"split of an index: not now: {error}")
            return
        self._index_splits[intent.id] = None

    async def _act(self) -> None:
        table = self._cluster.store.table(self._table)
        splits = self._cluster.parts.splits
        if table is None or splits is None:
            return
        cut = key_of(self._draw.between(0, KEYS - 1))[:HASH_BYTES]
        info = next(one for one in reversed(table.partitions) if bytes.fromhex(one.lo) <= cut)
        try:
            await self._cluster.ask(splits.begin(table, info, cut), seconds=BEGIN_S)
        except ScrubjayError as error:
            self._world.note(f"split: not now: {error}")
            return
        self._begun += 1

    # ------------------------------------------------------------------ what must be so in the end

    def left(self) -> str:
        """Which split has not come to its end, "": all have."""
        cluster = self._cluster
        if not cluster.ready:
            return "the control part is not up"
        for table in cluster.metadata.tables.values():
            for one in (table, *index_tables(table)):
                if table.status == "ACTIVE" and (why := left_of(one, self._stays_out)):
                    return f"{one.name}: {why}"
        return ""

    def done(self) -> int:
        """How many partitions of the clients' table were split."""
        table = self._cluster.store.table(self._table)
        return 0 if table is None else len(table.former or ())

    def index_splits(self) -> int:
        """How many partitions of its index were to be split. What was split is not remembered for long."""
        return len(self._index_splits)


def left_of(table: TableMeta, stays_out: Callable[[int], bool]) -> str:
    """What of a table's splits is not over, "": nothing. A copy of a half does not begin on a node that stays out."""
    if not isinstance(table.split, msgspec.UnsetType):
        return f"partition {table.split.parent} is to be split still"
    for former in table.former or ():
        if former.archived_at is None:
            return f"the log of {former.info.partition_id}, which was split, is not archived to its end"
    fresh = [info.partition_id for info in table.partitions if any(not stays_out(number) for number in info.fresh)]
    return f"copies of {fresh} have not begun" if fresh else ""


def draw_splits(seed: int, world: World) -> Stream | None:
    """His own draws; None: nothing is split."""
    return world.stream("splits") if seed >= SPLITS_FROM else None


def draw_index_splits(seed: int, world: World) -> Stream | None:
    """His own draws for indexes; None: they are left whole."""
    return world.stream("index splits") if seed >= INDEX_SPLITS_FROM else None


def draw_size(draw: Stream | None) -> int:
    """See `open_control`."""
    return SIZE_BYTES if draw is not None and draw.chance(BY_SIZE) else 0
