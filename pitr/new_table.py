"""The table that a restore or an import makes: nobody sees it before every copy of every partition is proven to hold the rows that were given to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from scrubjay.storage.service_port import ServicePort


class NewTable:
    """meta: as it was first asked for. log: hears where rows are loaded though a tree of them was wanted. What is done here may be done again by a later life; Unavailable is raised once it has been tried `TRIES_MAX` times."""

    def __init__(self, env: Env, port: ServicePort, archive: RestoreArchive, meta: TableMeta, *, log: Callable[[str], None]) -> None:
        self._env, self._port, self._archive, self.meta, self._log = env, port, archive, meta, log

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

    async def load(self, partition: str, path: str, total: Total, *, tree: TreeFile | None, treeless: str) -> dict[NodeName, Total]:
        """Every replica loads that row file, or takes the tree that was made of it; the digest that each recomputed from its own bytes. treeless: of `RestoredRows`. Raises Corrupt (the file is removed then), Unavailable."""

        def told(node: NodeName, error: ScrubjayError) -> None:
            self._log(
                f"{self.meta.name}: the copy of partition {partition} on {node} loads its rows one by one, it could not take their tree: {error}"
            )

        if treeless:
            self._log(
                f"{self.meta.name}: every copy of partition {partition} loads its rows one by one, no tree was made of them: {treeless}"
            )
        await steadily(self._env.tasks, lambda: self._archive.at_hand(path), tries=TRIES_MAX)
        try:
            return await steadily(
                self._env.tasks,
                lambda: self._port.load_base(PartitionId(partition), rows=path, total=total, tree=tree, told=told),
                tries=TRIES_MAX,
            )
        except Corrupt:
            self._archive.discard(path)
            raise

    def info(self, partition: str) -> PartitionInfo:
        return next(info for info in self.meta.partitions if info.partition_id == partition)

    def faults(self, partition: str, proven: Total, copies: Mapping[NodeName, Total]) -> list[str]:
        """What keeps a partition from being proven. Raises Unavailable if a replica gave no digest."""
        info = self.info(partition)
        loaded = len(info.members) - len(info.logs)
        if len(copies) < loaded:
            raise Unavailable("not every replica has loaded its rows", partition=partition, expected=loaded, found=len(copies))
        return faults_of(partition, proven, copies)

    async def publish(self) -> None:
        """Unless it is. Raises Unavailable."""
        found = self.found()
        if found is None:
            raise Unavailable("the target is gone", error_code="ResourceNotFound", table=self.meta.name)
        if not self.published:
            await steadily(self._env.tasks, lambda: self._port.publish(found.table_id), tries=TRIES_MAX)

    async def abandon(self) -> None:
        """Remove it; what it put into the archive is retention's from now on. Raises Unavailable: it is published, or it is to be tried again."""
        given_up = abandoned(self.meta, at_us=self._env.clock.wall_us())
        await note(self._port, ABANDONED + self.meta.table_id, msgspec.to_builtins(given_up))
        await self._port.abandon(TableId(self.meta.table_id))
        self._archive.discard(folder_of(self.meta.table_id))
