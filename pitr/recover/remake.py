"""Rows of a first base, made anew: the row file in the new data folder rotted, or is gone, and the parent's archive has them still."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import Missing
from scrubjay.base.hlc import last_stamp_at
from scrubjay.pitr.first_base import FirstBase
from scrubjay.pitr.plan import plan_partition
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.source import ArchiveSource, history_of


class ParentRows:
    """url, opened: the archive that was recovered from, as the workers open it and as a client. disk: rooted at the data folder. scratch: for small files."""

    def __init__(
        self, env: Env, jobs: Jobs, disk: Disk, scratch: Disk, *, url: str, opened: Callable[[], ObjectStore], ahead_us: int
    ) -> None:
        self._env, self._jobs, self._disk, self._scratch = env, jobs, disk, scratch
        self._url, self._opened, self._ahead_us = url, opened, ahead_us

    async def make(self, base: FirstBase, path: str) -> None:
        """As the recovery did it: the catalogue of that moment, the log's own schema, the same plan. That they are the rows that were proven then, who uploads
        them proves again. Raises Missing, Corrupt, Unavailable."""
        parent = Parent(self._env, self._opened(), self._scratch, base.cluster, ahead_us=self._ahead_us)
        await parent.open()
        tables = (await parent.catalogue(base.at_us)).tables
        place = next(
            ((table, info) for table in tables for info in table.partitions if (table.table_id, info.partition_id) == (base.of_table, base.of_partition)),
            None,
        )  # fmt: skip
        if place is None:
            raise Missing("the parent's catalogue knows no such partition at that moment", what="partition", partition=base.of_partition)
        table, info = place
        cut = last_stamp_at(base.at_us)
        plan = plan_partition(history_of(info, parent.index.partitions.get((table.table_id, info.partition_id))), cut)
        await parent.check_schema(table, info, None if plan.base is None else plan.base.object or None)
        source = ArchiveSource(self._env, self._jobs, self._disk, parent.index, url=self._url, writer=Writer(parent.cluster))
        source.discard(path)
        await source.rebuild(table, info, plan, cut=cut, path=path, part=None, progress=None)
