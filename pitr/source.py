"""The real archive behind a restore: `archiver.read.index` says what is there, worker processes rebuild and upload, row files lie below `tmp/restore/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scrubjay.archiver.facts import CoverageFacts, Window
from scrubjay.archiver.format.base import BaseOrigin
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.lineage import window_across
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rebuild import from_answer
from scrubjay.archiver.write.bases import upload
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.gate import Gate
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr.archive import Progress, RestoreArchive, RestoredRows, TableArchive, TimelineArchive
from scrubjay.pitr.job import folder_of
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import BaseFacts, PartitionHistory, PartitionPlan, PlannedSegment
from scrubjay.storage.btree.beside import TreesHere, taken_out
from scrubjay.storage.btree.beside import folder_of as tree_of
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, as_of, every_partition, splits_of
from scrubjay.storage.log import chain as chains

ROWS = ".rows"
REBUILD = "scrubjay.archiver.read.rebuild:rebuild_job"
REBUILD_PART = "scrubjay.pitr.part_job:rebuild_part_job"


class ArchiveSource:
    """index: of this cluster's archive; refreshed here before every look. url: of the archive, as the workers open it. writer: in whose name bases are written. disk: rooted at the data folder.
    trees: where rebuilds run on this machine, and the copies live on it: then a rebuild makes their tree too."""

    def __init__(
        self, env: Env, jobs: Jobs, disk: Disk, index: ArchiveIndex, *, url: str, writer: Writer, trees: TreesHere | None = None
    ) -> None:
        self._env = env
        self._trees = trees
        self._jobs = jobs
        self._disk = disk
        self._index = index
        self._url = url
        self._writer = writer
        self._gate = Gate(env.tasks)

    async def look(self, table: TableMeta) -> TableArchive:
        async with self._gate:
            await self._index.refresh(now_us=self._env.clock.wall_us(), table=table.table_id)
            return seen_of(self._index, table)

    async def rebuild(
        self,
        table: TableMeta,
        info: PartitionInfo,
        plan: PartitionPlan,
        *,
        cut: Stamp,
        path: str,
        part: PartAsked | None,
        progress: Progress | None,
    ) -> RestoredRows:
        self._disk.mkdir(path.rpartition("/")[0])
        arguments: dict[str, Any] = {
            "base": None if plan.base is None else plan.base.asked,
            "segments": plan.objects(),
            "stamp": cut,
            "output": path,
            "work": path + ".base",
            "rebase": True,
        }
        if (plan.base is not None or plan.segments) and (asked := self.tree_asked(path, lo=info.lo, hi=info.hi)) is not None:
            arguments["tree"] = asked
        if part is None:
            answer = await self._read(REBUILD, arguments, progress=progress)
        else:
            chosen = {"part": msgspec.to_builtins(part), "schema": msgspec.to_builtins(table.key)}
            answer = await self._read(REBUILD_PART, {**arguments, **chosen}, progress=progress)
        tree, treeless = taken_out(answer)
        rebuilt = from_answer(answer)
        of = None if part is None else rebuilt.of
        return RestoredRows(
            path,
            rebuilt.total,
            rebuilt.raw_bytes,
            plan.bytes,
            Lsn(rebuilt.proven),
            rebuilt.spoilt,
            of,
            tree,
            treeless,
        )

    async def read(self, job: str, arguments: dict[str, Any], *, progress: Progress | None) -> dict[str, Any]:
        answer = await self._read(job, arguments, progress=progress)
        if output := arguments.get("output"):
            await self._jobs.bring(output)
            self._jobs.drop(output)
        return answer

    async def _read(self, job: str, arguments: dict[str, Any], *, progress: Progress | None) -> dict[str, Any]:
        """Run a job that reads the archive. What it found bad (the error, or `spoilt` in its answer) nobody in this process goes by until it is sound again."""
        try:
            answer = await self._jobs.run(job, {"url": self._url, **arguments}, progress=progress)
        except (Corrupt, Missing) as error:
            fault = fault_of(error)
            error.fields["damage"] = self._distrusted([fault] if fault.object else [])
            raise
        self._distrusted([Fault(*one) for one in answer["spoilt"]])
        return answer

    async def without(self, key: bytes, objects: Sequence[str]) -> list[str]:
        segments = [one for one in map(parse, objects) if isinstance(one, SegmentKey)]
        return [build(one) for one in await self._index.filters.without(key, segments)]

    def _distrusted(self, damage: Sequence[Fault]) -> tuple[Fault, ...]:
        for one in damage:
            self._index.distrust([one.object], kind=one.kind, detail=one.detail)
        return tuple(damage)

    async def upload_base(self, source: TableMeta | None, target: TableMeta, info: PartitionInfo, rows: RestoredRows, *, at_us: int) -> str:
        who = self._writer.attached
        origin = None
        if source is not None:
            at = next(one.partition_id for one in as_of(source, at_us).partitions if one.lo == info.lo)
            origin = BaseOrigin(who.cluster, source.table_id, (at,), at_us)
        return await upload(
            self._jobs, self._url, rows.rows, writer=who, table=target, info=info, lsn=0, stamp=0, chain=chains.START, total=rows.total,
            origin=origin,
        )  # fmt: skip

    def rows_path(self, target_id: str, partition: str) -> str:
        return f"{folder_of(target_id)}/{partition}{ROWS}"

    def tree_asked(self, path: str, *, lo: str, hi: str) -> dict[str, Any] | None:
        return None if self._trees is None else self._trees.asked(_target_of(path), lo, hi)

    async def at_hand(self, path: str) -> None:
        await self._jobs.bring(path)

    def loaded(self, path: str) -> None:
        self.discard(path)

    def drop_tree(self, path: str) -> None:
        """Of the rows in the row file `path`; no error if there is none."""
        tree = tree_of(_target_of(path))
        if self._trees is not None and self._disk.exists(tree):
            self._disk.remove_tree(tree)

    def discard(self, path: str) -> None:
        self._jobs.drop(path)
        if path.endswith(ROWS):
            self.drop_tree(path)
            if self._disk.exists(path):
                self._disk.remove(path)
            return
        for name in self._disk.listdir(path):
            if name.endswith(ROWS):
                self.drop_tree(name)
        if self._disk.exists(path):
            self._disk.remove_tree(path)


def _target_of(path: str) -> str:
    """Row files are named by the partition that is to have their rows."""
    return path.rpartition("/")[2].removesuffix(ROWS)


def seen_of(index: ArchiveIndex, table: TableMeta) -> TableArchive:
    """A table as the index knows it now. Pure."""
    found = [(info, index.partitions.get((table.table_id, info.partition_id))) for info in every_partition(table)]
    windows = {info.partition_id: Window(None, None, ()) if one is None else one.window() for info, one in found}
    return TableArchive(window_across(windows, splits_of(table)), tuple(history_of(info, one) for info, one in found))


def history_of(info: PartitionInfo, index: PartitionIndex | None) -> PartitionHistory:
    """A partition of the index as a plan wants it. Pure."""
    if index is None:
        return PartitionHistory(info.partition_id, info.lo, info.hi, (), (), (), CoverageFacts(info.partition_id))
    where = (index.cluster, index.table, index.partition)
    counted = index.rows_of(index.coverage().thread)
    segments = tuple(PlannedSegment(row.span(), row.stored, row.raw, build(row.key(*where))) for row in counted)
    bases = tuple(BaseFacts(one.start(), one.size, one.size, one.rows, one.parts + 1, build(one.key(*where))) for one in index.bases)
    made, rests = index.inheritance(), index.inherits()
    if made is not None and rests is not None and not any(one.lsn == rests.start.lsn for one in index.bases):
        cost = index.inherited_cost()
        bases = (BaseFacts(rests.start, cost.stored, cost.raw, rests.start.rows(), cost.requests, "", made), *bases)
    return PartitionHistory(info.partition_id, info.lo, info.hi, bases, segments, (), index.facts())


def _check_port(source: ArchiveSource) -> tuple[RestoreArchive, TimelineArchive]:
    """For the type checker: an ArchiveSource is both."""
    return source, source
