"""The table that a restore or an import makes: nobody sees it before every copy of every partition that can be reached, and a quorum of them at least, is proven to hold the rows that were given to it.

A copy whose node is down, or cannot take the rows now, is waited for, and then the table is made without it (ADR 0091). The group is counted as it was founded, of all its members; the copy begins behind the others, and is healed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.pitr.abandoned import PREFIX as ABANDONED
from scrubjay.pitr.abandoned import abandoned
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.confirm import faults_of
from scrubjay.pitr.job import folder_of, note
from scrubjay.pitr.options import TRIES_MAX
from scrubjay.pitr.steadily import steadily
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total
from scrubjay.storage.service_port import LoadedBase, ServicePort


class _Lacks(Unavailable):
    """Copies are waited for still."""

    def __init__(self, found: LoadedBase) -> None:
        super().__init__("not every replica has loaded its rows")
        self.found = found


class NewTable:
    """meta: as it was first asked for. log: hears where rows are loaded though a tree of them was wanted. What is done here may be done again by a later life; Unavailable is raised once it has been tried `TRIES_MAX` times."""

    def __init__(self, env: Env, port: ServicePort, archive: RestoreArchive, meta: TableMeta, *, log: Callable[[str], None]) -> None:
        self._env, self._port, self._archive, self.meta, self._log = env, port, archive, meta, log
        self._missed: set[NodeName] = set()
        """Nodes that were waited for in vain: of the next partition they are asked once."""

    def found(self) -> TableMeta | None:
        """As the catalogue has it now."""
        return next((table for table in self._port.tables() if table.table_id == self.meta.table_id), None)

    @property
    def published(self) -> bool:
        """An earlier life may have confirmed and published it and died before it noted so: by now it may have been written to."""
        found = self.found()
        return found is not None and found.restore_of is not None and not found.restore_of.in_progress

    async def create(self) -> None:
        """Unless it is there. Raises Conflict (the name is taken, or its id), Unavailable."""
        found = self.found()
        if found is None:
            await self._port.create_restoring(self.meta)
        elif found.name != self.meta.name or found.restore_of is None:
            raise Conflict("the target's id belongs to another table", table=found.name)

    async def load(self, partition: str, path: str, total: Total, *, tree: TreeFile | None, treeless: str) -> LoadedBase:
        """Every replica loads that row file, or takes the tree that was made of it; the digest that each recomputed from its own bytes. treeless: of `RestoredRows`. A copy that does not come is waited for once,
        whatever the number of partitions. Raises Corrupt (the file is removed then), Unavailable: of the others there are too few."""

        def told(node: NodeName, error: ScrubjayError) -> None:
            self._log(
                f"{self.meta.name}: the copy of partition {partition} on {node} loads its rows one by one, it could not take their tree: {error}"
            )

        if treeless:
            self._log(
                f"{self.meta.name}: every copy of partition {partition} loads its rows one by one, no tree was made of them: {treeless}"
            )
        await steadily(self._env, lambda: self._archive.at_hand(path), tries=TRIES_MAX)
        copies: dict[NodeName, Total] = {}

        async def go_on() -> LoadedBase:
            found = await self._port.load_base(PartitionId(partition), rows=path, total=total, tree=tree, told=told, done=frozenset(copies))
            copies.update(found.copies)
            if found.lacking and (len(copies) < self.needed(partition) or not self._missed.issuperset(found.lacking)):
                raise _Lacks(found)
            return found

        try:
            found = await steadily(self._env, go_on, tries=TRIES_MAX)
        except _Lacks as lacks:
            found = lacks.found
            if len(copies) < self.needed(partition):
                raise next(iter(found.lacking.values())) from None
        except Corrupt:
            self._archive.discard(path)
            raise
        self._missed.update(found.lacking)
        for node, error in sorted(found.lacking.items()):
            self._log(f"{self.meta.name}: partition {partition} goes on without its copy on {node}, which is healed later: {error}")
        return LoadedBase(copies, found.lacking)

    def needed(self, partition: str) -> int:
        """How many copies of a partition must have its rows: as many as are a quorum of its members, or all where fewer have a tree."""
        info = self.info(partition)
        return min(len(info.members) - len(info.logs), len(info.members) // 2 + 1)

    def info(self, partition: str) -> PartitionInfo:
        return next(info for info in self.meta.partitions if info.partition_id == partition)

    def faults(self, partition: str, proven: Total, loaded: LoadedBase) -> list[str]:
        """What keeps a partition from being proven. Raises Unavailable if a replica that was reached gave no digest, or fewer did than are a quorum."""
        info, found = self.info(partition), len(loaded.copies)
        asked = len(info.members) - len(info.logs) - len(loaded.lacking)
        expected = max(asked, self.needed(partition))
        if found < expected:
            raise Unavailable("not every replica has loaded its rows", partition=partition, expected=expected, found=found)
        return faults_of(partition, proven, loaded.copies)

    async def publish(self) -> None:
        """Unless it is. Raises Unavailable."""
        found = self.found()
        if found is None:
            raise Unavailable("the target is gone", error_code="ResourceNotFound", table=self.meta.name)
        if not self.published:
            await steadily(self._env, lambda: self._port.publish(found.table_id), tries=TRIES_MAX)

    async def abandon(self) -> None:
        """Remove it; what it put into the archive is retention's from now on. Raises Unavailable: it is published, or it is to be tried again."""
        given_up = abandoned(self.meta, at_us=self._env.clock.wall_us())
        await note(self._port, ABANDONED + self.meta.table_id, msgspec.to_builtins(given_up))
        await self._port.abandon(TableId(self.meta.table_id))
        self._archive.discard(folder_of(self.meta.table_id))
