"""The parent's archive behind the restores of a recovery: it is read as every archive is; what would be written stays in the new data folder.

A row file that was rebuilt is kept, with a note beside it of what it was rebuilt from, so that a recovery that was killed does not read it again. Nothing rests on
that note: every replica recomputes the digest from what it loaded, and one that differs is not published.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr.archive import Progress, RestoreArchive, RestoredRows, TableArchive
from scrubjay.pitr.first_base import FOLDER, FirstBase, owe, rows_path
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import PartitionPlan
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.source import ArchiveSource, seen_of
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total
from scrubjay.storage.service_port import ServicePort

REUSED = "its row file is there from an earlier run, which is spared"


class _Made(msgspec.Struct, frozen=True):
    """Beside a row file: what it was made from (a hash over cut and objects), and what `RestoredRows` says of it."""

    version: int
    made_from: str
    sum: str
    rows: int
    raw: int
    bytes: int
    proven: int


class RecoverySource:
    """url: of the parent's archive, as the workers open it. disk: rooted at the new data folder."""

    def __init__(
        self, env: Env, port: ServicePort, jobs: Jobs, disk: Disk, parent: Parent, *, url: str, trees: TreesHere | None = None
    ) -> None:
        """trees: of this machine, None: none are made."""
        self._port, self._disk, self._parent, self.trees = port, disk, parent, trees
        self._archive = ArchiveSource(env, jobs, disk, parent.index, url=url, writer=Writer(parent.cluster), trees=trees)
        self.reused = 0
        """Row files that an earlier life had made."""

    async def look(self, table: TableMeta) -> TableArchive:
        return seen_of(self._parent.index, table)

    async def rebuild(
        self,
        table: TableMeta,
        info: PartitionInfo,
        plan: PartitionPlan,
        *,
        cut: Stamp,
        path: str,
        part: PartAsked | None = None,
        progress: Progress | None,
    ) -> RestoredRows:
        """part: a recovered table is whole."""
        assert part is None
        made_from = _hash(plan, cut)
        found = self._made(path)
        if found is not None and found.made_from == made_from and self._disk.exists(path):
            self.reused += 1
            total = Total(int(found.sum, 16), found.rows)
            return RestoredRows(path, total, found.raw, 0, Lsn(found.proven), treeless="" if self.trees is None else REUSED)
        self.discard(path)
        await self._parent.check_schema(table, info, None if plan.base is None else plan.base.object or None)
        rows = await self._archive.rebuild(table, info, plan, cut=cut, path=path, part=None, progress=progress)
        made = _Made(1, made_from, rows.total.hex, rows.total.rows, rows.raw, rows.bytes, rows.proven)
        self._disk.write_file(_beside(path), msgspec.json.encode(made))
        return rows

    async def upload_base(self, source: TableMeta | None, target: TableMeta, info: PartitionInfo, rows: RestoredRows, *, at_us: int) -> str:
        """Nothing is uploaded: the first server on the new folder does it, for which this leaves a note."""
        assert source is not None, "what is recovered was a table of the parent's"
        of = next(one.partition_id for one in source.partitions if one.lo == info.lo)
        await owe(
            self._port,
            FirstBase(
                table=target.table_id,
                partition=info.partition_id,
                rows=rows.rows,
                sum=rows.total.hex,
                count=rows.total.rows,
                cluster=self._parent.cluster,
                of_table=source.table_id,
                of_partition=of,
                at_us=at_us,
            ),
        )
        return rows.rows

    def rows_path(self, target_id: str, partition: str) -> str:
        return rows_path(partition)

    def tree_asked(self, path: str, *, lo: str, hi: str) -> dict[str, Any] | None:
        return self._archive.tree_asked(path, lo=lo, hi=hi)

    async def at_hand(self, path: str) -> None:
        await self._archive.at_hand(path)

    def loaded(self, path: str) -> None:
        """It stays: it is the first base that the new archive is owed."""
        self._archive.drop_tree(path)

    def discard(self, path: str) -> None:
        for one in (_beside(path), path):
            if one.startswith(f"{FOLDER}/") and self._disk.exists(one):
                self._disk.remove(one)
        self._archive.drop_tree(path)

    def _made(self, path: str) -> _Made | None:
        data = self._disk.read_file(_beside(path))
        try:
            return None if data is None else msgspec.json.decode(data, type=_Made)
        except msgspec.MsgspecError:
            return None


def _beside(path: str) -> str:
    return path + ".json"


def _hash(plan: PartitionPlan, cut: Stamp) -> str:
    base = [] if plan.base is None else [plan.base.object] if plan.base.made is None else plan.base.made.objects()
    objects = [*base, *plan.objects()]
    return hashlib.sha256("\n".join([str(int(cut)), *objects]).encode()).hexdigest()


def _check_port(source: RecoverySource) -> RestoreArchive:
    """For the type checker: a RecoverySource is a RestoreArchive."""
    return source
