"""A global index of the table under test: fed under all faults, and in the end what its items say it must be, both ways. Compared without the code that derives its rows: an item that has a pad has one row, which is
the item, and no other row is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import LIMIT, Clients
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import number_of, value_of
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, PartitionInfo, TableMeta, index_table
from scrubjay.storage.commands.values import RangeAnswer, RangeRead
from scrubjay.storage.control.indexing.keeper import BAD

INDEXED, INDEXED_FROM = 0.8, 9_000
"""In how many of the seeds, of those from INDEXED_FROM on, the table under test has a global index; seeds below are what they were found for."""
INDEX = GlobalIndex(name="by-pad", hash=(KeyAttribute("pad", "S"),), sort=(KeyAttribute("v", "S"),))
"""Of what changes with every write: each takes a row away and puts one. An item without a pad (`commands.item_of`) has none."""
PATIENCE_S = 200
"""How long an index may take to be whole once the faults are over: it may be built anew, and again after `keeper.AGAIN_US`."""


def draw_indexed(seed: int, draw: Stream) -> bool:
    return seed >= INDEXED_FROM and draw.chance(INDEXED)


def indexed(spec: TableSpec) -> TableSpec:
    return msgspec.structs.replace(spec, attributes=(*spec.attributes, ("pad", "S"), ("v", "S")), global_indexes=(INDEX,))


def compared(items: Sequence[tuple[int, int | None]], rows: Sequence[tuple[int, int | None]]) -> list[str]:
    """What of an index is not as the table's items say, in words. items, rows: (key, value) of each. Pure."""
    wanted: Counter[tuple[int, int | None]] = Counter([(key, value) for key, value in items if value is not None and value % 97])
    found = Counter(rows)
    return [
        f"row {one} is there {found[one]} times, not {wanted[one]}"
        for one in sorted({*wanted, *found}, key=repr)
        if found[one] != wanted[one]
    ]


class IndexCheck:
    def __init__(self, cluster: WholeCluster, clients: Clients) -> None:
        self._cluster, self._clients = cluster, clients
        self.rows = 0
        """Compared last."""

    async def wrong(self, name: str) -> str:
        """What is wrong with the indexes of a table that is written to no more, once they had time; "": nothing."""
        world, why = self._cluster.world, ""
        end = world.now + PATIENCE_S * 1_000_000
        while True:
            table = self._cluster.store.table(name)
            assert table is not None
            why = await self._now(table)
            if not why or world.now > end:
                return why
            await self._cluster.env.tasks.sleep(0.5)

    async def _now(self, table: TableMeta) -> str:
        for index in table.global_indexes or ():
            if index.status != "ACTIVE" or index.next is not None or not index.made:
                return f"index {index.name} is not whole: {index.status}, another beside it: {index.next is not None}"
            bad = [copy for info in index.partitions for copy in self._cluster.parts.fleet.copies(info) if copy.state in BAD]
            if bad:
                return f"index {index.name} is to be built anew: the copy on {bad[0].node} is {bad[0].state}"
            items, rows = await self._read(table), await self._read(index_table(table, index))
            if isinstance(items, str) or isinstance(rows, str):
                return f"index {index.name} cannot be compared: {items if isinstance(items, str) else rows}"
            findings = compared(items, rows)
            if findings:
                return f"index {index.name}: {findings[0]} ({len(findings)} in all)"
            self.rows = len(rows)
        return ""

    async def _read(self, table: TableMeta) -> list[tuple[int, int | None]] | str:
        """Everything, strongly."""
        found: list[tuple[int, int | None]] = []
        for info in table.partitions:
            answer = await self._range(table, info)
            if not isinstance(answer, RangeAnswer):
                return f"partition {info.partition_id} cannot be read: {answer}"
            found += [(number_of(item), value_of(item)) for _, item in answer.rows]
        return found

    async def _range(self, table: TableMeta, info: PartitionInfo) -> object:
        future, settle = self._clients.call()
        whole = RangeRead(b"", None, LIMIT, 1 << 30, reverse=False, consistent=True)
        self._cluster.store.read_range(table, info, whole, settle)
        answer: object = await future
        return answer
