"""Imports as the server keeps them; the life that they share with exports is `pitr.transfer.running`.

One life of an import: the new table is recorded, invisible; the files are read into sorted runs; of those each partition's rows are merged, become its first base in
this cluster's archive, and are loaded, as a restore does it. It is COMPLETED, and the table published, only when every copy holds what was read, all that was read is in
some partition, and an export's own digest, if it has one, is what that comes to. One that fails leaves no table.

Killed anywhere, the next start goes through the same steps under the same id: what was noted of a partition is compared with what is read then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.env import Env, Jobs
from scrubjay.base.errors import Conflict, Corrupt, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import Lsn, TableId
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive, RestoredRows
from scrubjay.pitr.job import folder_of, new_id
from scrubjay.pitr.new_table import NewTable
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.transfer.aws_layout import CSV, PARQUET, check_place
from scrubjay.pitr.transfer.import_notes import ImportAsked, ImportJob
from scrubjay.pitr.transfer.import_reading import Dialect
from scrubjay.pitr.transfer.import_runs import DUPLICATE
from scrubjay.pitr.transfer.import_source import Source, SourceFile
from scrubjay.pitr.transfer.known_formats import FORMATS, check_installed
from scrubjay.pitr.transfer.running import COMPLETED, FAILED, Log, RunningTransfers
from scrubjay.storage.btree.beside import taken_out
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, RestoreOrigin, TableMeta
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.service_port import ServicePort

SOURCE = "scrubjay.pitr.transfer.import_source:source_job"
SORT = "scrubjay.pitr.transfer.import_runs:sort_job"
MERGE = "scrubjay.pitr.transfer.import_runs:merge_job"
BATCH_BYTES = 64 << 20
"""Of files, as they lie there, that one job reads into runs; the one that crosses it is still in."""
BATCH_FILES = 256
FAILS_LATER = ("BucketMissing", "CredentialsMissing", "CredentialsRefused")
"""Codes of what asking again does not mend. The API has accepted by then, as AWS does, and the import says it; somebody at a shell hears it at once."""
MERGED_MAX = 64
"""Runs that one job merges: a block of each, some hundred KiB, is in memory at a time."""


class _Run(NamedTuple):
    path: str
    total: Total


class Imports:
    """pitr_default: whether a new table has point-in-time recovery on in the API. ended: told the state of each import that ends, and the microseconds since it was asked for. running: all of them."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        jobs: Jobs,
        options: RestoreOptions,
        *,
        pitr_default: bool,
        log: Log,
        ended: Callable[[str, int], object] | None = None,
    ) -> None:
        self._env, self._port, self._archive, self._jobs, self._options = env, port, archive, jobs, options
        self._pitr_default, self._log, self._ended = pitr_default, log, ended
        self.running = RunningTransfers(env, port, archive, ImportJob, self, word="import", log=log, ended=ended)

    # ------------------------------------------------------------------ what is asked

    async def start(self, asked: ImportAsked) -> ImportJob:
        """Start; or attach to the one under way that the same words began (of the API: the same token, also to one that ended). It and its table are noted when
        this returns.

        Raises Invalid (no place of ours, no such format, no key), Unsafe (nothing to be imported there; too many run), Conflict (the name is taken; the token was of
        another import), Corrupt (a manifest), Unavailable.
        """
        check_asked(asked)
        return await self.running.begin(asked, same=lambda job: job.asked == asked, by_words=True, make=lambda: self._noted(asked))

    async def _noted(self, asked: ImportAsked) -> ImportJob:
        self._check_name(asked.table)
        try:
            source = await self._source(asked)
        except Unavailable as error:
            if asked.token is None or asked.format is None or error.fields.get("error_code") not in FAILS_LATER:
                raise
            source = Source(place=asked.url, files=(), format=asked.format)  # whoever works on it meets the same, and notes it
        check_installed(source.format)
        if asked.format not in (None, source.format):
            raise Invalid("the export there is of another format", asked=asked.format, found=source.format)
        job = self._job(asked, source)
        try:
            await self.running.save(job)
            await self._port.create_restoring(job.table)
        except ScrubjayError as error:
            if error.fields.get("unknown"):
                self.running.spawn(job)  # it may stand there: nobody else would see it through
            elif NewTable(self._env, self._port, self._archive, job.table, log=self._log).found() is None:
                await self.running.forget(job)
            raise
        return job

    def _check_name(self, name: str) -> None:
        if any(table.name == name and table.dropped_at is None for table in self._port.tables()):
            raise Conflict("a table of that name exists: an import makes a new one", asked=name, next="choose another name")

    async def _source(self, asked: ImportAsked) -> Source:
        typed = bool(asked.key) and all(kind is not None for _, kind in asked.key)
        arguments = {"url": asked.url, "format": asked.format, "typed": typed}
        answer = await self.running.again(lambda: self._jobs.run(SOURCE, arguments))
        return msgspec.convert(answer["source"], Source)

    def _job(self, asked: ImportAsked, source: Source) -> ImportJob:
        rand, now_us = self._env.rand, self._env.clock.wall_us()
        id_ = new_id(rand, now_us)
        key = key_of(asked, source)
        names = [(one.name, one.type) for one in (key.partition, key.sort) if one is not None]
        table_id = TableId(rand.uuid())
        meta = TableMeta(
            table_id=table_id,
            name=asked.table,
            status="CREATING",
            key=key,
            attributes=asked.attributes or tuple(names),
            partitions=self._port.new_partitions(),
            created_at=now_us,
            billing=asked.billing,
            billing_changed_at=now_us if asked.billing == "PAY_PER_REQUEST" else None,
            throughput=asked.throughput,
            on_demand=asked.on_demand,
            global_indexes=asked.global_indexes or msgspec.UNSET,
            pitr_enabled_at=now_us if self._pitr_default else None,
            restore_of=RestoreOrigin(table_id, asked.table, now_us, True, imported=id_),
        )
        comparable = source.format != CSV and tuple(names) == source.key
        return ImportJob(
            id=id_, asked=asked, meta=msgspec.to_builtins(meta), created_us=now_us, export=source.export,
            expected=source.digest if comparable else None,
        )  # fmt: skip

    # ------------------------------------------------------------------ one import (`running.TransferSteps`)

    def folder(self, job: ImportJob) -> str:
        return folder_of(job.meta["table_id"])

    async def work(self, job: ImportJob, progress: dict[str, Any]) -> None:
        await self._import(job, self._target(job), progress)

    def _target(self, job: ImportJob) -> NewTable:
        return NewTable(self._env, self._port, self._archive, job.table, log=self._log)

    async def end(self, job: ImportJob) -> None:
        """A table that was published stays, whatever failed after that. One that was not goes; that it has to is noted before. Raises Unavailable."""
        target = self._target(job)
        if target.published:
            job.error, job.exit, job.state = None, 0, COMPLETED
        job.ended_us = self._env.clock.wall_us()
        await self.running.again(lambda: self.running.save(job))
        if job.error is not None:
            await self.running.again(target.abandon)
            job.state = FAILED
            await self.running.again(lambda: self.running.save(job))

    async def _import(self, job: ImportJob, target: NewTable, progress: dict[str, Any]) -> None:
        await self.running.again(target.create)
        if target.published:
            return
        self.running.discard(job)
        source = await self._source(job.asked)
        if source.export != job.export:
            raise Corrupt("another export lies there now", what="import", expected=job.export, found=source.export)
        job.files, job.bytes = len(source.files), sum(one.bytes for one in source.files)
        runs = await self._sorted(job, source, progress)
        read = _added([run.total for run in runs])
        runs = await self._few(job, source, runs)
        totals = await self._loaded(job, source, target, runs, progress)
        found = _added(totals)
        if found != read:
            raise Corrupt(
                "what was read is not what is in the table",
                what="import",
                expected=f"{read.rows} rows, {read.hex}",
                found=f"{found.rows} rows, {found.hex}",
            )
        job.rows, job.digest = found.rows, found.hex
        if job.expected is not None and found.hex != job.expected:
            raise Corrupt(
                "what was read is not what was exported", what="import", expected=job.expected, found=f"{found.rows} rows, {found.hex}"
            )
        await self.running.again(lambda: self.running.save(job))
        await target.publish()

    async def _sorted(self, job: ImportJob, source: Source, progress: dict[str, Any]) -> list[_Run]:
        """Every file read into runs; a run is sorted."""
        base = folder_of(job.meta["table_id"])
        asked = job.asked
        packed = asked.compression if source.export is None else None
        dialect = Dialect(source.format, packed, asked.delimiter, None if asked.header is None else list(asked.header))
        batches = _batches(source.files)
        done = 0

        async def one(batch: tuple[int, list[tuple[int, SourceFile]]]) -> list[_Run]:
            nonlocal done
            number, files = batch
            arguments = {
                "url": source.place, "files": [[index, list(file)] for index, file in files], "key": job.meta["key"], "dialect": list(dialect),
                "run": f"{base}/sorted-{number:06d}", "work": f"{base}/fetched-{number:06d}",
            }  # fmt: skip
            answer = await self._job_of(source, SORT, arguments)
            done += len(files)
            progress.update({"phase": "read", "done": done, "total": len(source.files), "unit": "files"})
            return [_Run(path, Total(int(sum_, 16), rows)) for path, rows, sum_ in answer["runs"]]

        found = await in_parallel(self._env.tasks, one, batches, lanes=self._options.lanes, name="import read") if batches else []
        return [run for runs in found for run in runs]

    async def _few(self, job: ImportJob, source: Source, runs: list[_Run]) -> list[_Run]:
        """As few runs as one job merges, merged among themselves where there are more."""
        base = folder_of(job.meta["table_id"])
        turn = 0
        while len(runs) > MERGED_MAX:
            turn += 1
            groups = [(number, runs[at : at + MERGED_MAX]) for number, at in enumerate(range(0, len(runs), MERGED_MAX))]

            async def one(group: tuple[int, list[_Run]], turn: int = turn) -> _Run:
                path = f"{base}/merged-{turn}-{group[0]:06d}.rows"
                total = (await self._merged(source, [run.path for run in group[1]], path, lo=None, hi=None)).total
                for run in group[1]:
                    self._archive.discard(run.path)
                return _Run(path, total)

            runs = await in_parallel(self._env.tasks, one, groups, lanes=self._options.lanes, name="import merge")
        return runs

    async def _loaded(self, job: ImportJob, source: Source, target: NewTable, runs: list[_Run], progress: dict[str, Any]) -> list[Total]:
        """Each partition's rows merged, archived as its first base, and loaded by every copy, which is compared."""
        paths = [run.path for run in runs]
        done = 0

        async def one(info: PartitionInfo) -> Total:
            nonlocal done
            path = self._archive.rows_path(job.meta["table_id"], info.partition_id)
            tree = self._archive.tree_asked(path, lo=info.lo, hi=info.hi)
            rows = await self._merged(source, paths, path, lo=info.lo, hi=info.hi, tree=tree)
            total = rows.total
            known = job.total(info.partition_id)
            if known is not None and known != total:
                raise Corrupt(
                    "the files hold something else than when this import was begun", what="import", partition=info.partition_id,
                    expected=f"{known.rows} rows, {known.hex}", found=f"{total.rows} rows, {total.hex}",
                )  # fmt: skip
            job.partitions[info.partition_id] = (total.rows, total.hex)
            await self.running.again(lambda: self.running.save(job))
            await self.running.again(lambda: self._archive.upload_base(None, target.meta, info, rows, at_us=job.created_us))
            loaded = await target.load(info.partition_id, path, total, tree=rows.tree, treeless=rows.treeless)
            wrong = target.faults(info.partition_id, total, loaded)
            if wrong:
                raise Corrupt("what was loaded is not what was read", what="import", found="; ".join(wrong))
            self._archive.loaded(path)
            done += 1
            progress.update({"phase": "load", "done": done, "total": len(target.meta.partitions), "unit": "partitions"})
            return total

        return await in_parallel(self._env.tasks, one, target.meta.partitions, lanes=self._options.lanes, name="import load")

    async def _merged(
        self, source: Source, runs: list[str], output: str, *, lo: str | None, hi: str | None, tree: dict[str, Any] | None = None
    ) -> RestoredRows:
        answer = await self._job_of(source, MERGE, {"runs": runs, "output": output, "lo": lo, "hi": hi, "tree": tree})
        made, treeless = taken_out(answer)
        return RestoredRows(output, Total(int(answer["sum"], 16), answer["rows"]), 0, 0, Lsn(0), tree=made, treeless=treeless)

    async def _job_of(self, source: Source, job: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.running.again(lambda: self._jobs.run(job, arguments))
        except Unsafe as error:
            if error.fields.get("error_code") == DUPLICATE:
                place = "row" if source.format == PARQUET else "line"
                one, other = (f"{source.files[number].key} {place} {line}" for number, line in (error.fields["one"], error.fields["other"]))
                raise Unsafe(error.message, one=one, other=other, error_code=DUPLICATE, next=error.fields["next"]) from error
            raise


def check_asked(asked: ImportAsked) -> None:
    """Raises Invalid, Unavailable (the format needs a package that is not here)."""
    check_place(asked.url)
    if asked.format is not None and asked.format not in FORMATS:
        raise Invalid("no such format", asked=asked.format, found=", ".join(FORMATS))
    check_installed(asked.format)
    if len(asked.key) > 2 or len({name for name, _ in asked.key}) != len(asked.key) or not all(name for name, _ in asked.key):
        raise Invalid("no key of a table", asked=", ".join(name for name, _ in asked.key), next="give --key hash or --key hash,range")
    if any(kind not in (None, "S", "N", "B") for _, kind in asked.key):
        raise Invalid("no type of a key", found=", ".join(str(kind) for _, kind in asked.key), next="S, N or B")


def key_of(asked: ImportAsked, source: Source) -> KeySchema:
    """The new table's key: what was asked for; types that were not are those of the export, or of the first item; in CSV without either, strings. Raises Invalid."""
    said = dict(source.key or source.types)
    wanted = asked.key or tuple(source.key or ())
    if not wanted:
        raise Invalid("the key is needed: what lies there does not say it", asked=asked.url, next="give --key hash or --key hash,range")
    found = []
    for name, given in wanted:
        kind = given or said.get(name) or ("S" if source.format == CSV else None)
        if kind not in ("S", "N", "B"):
            raise Invalid("the type of a key attribute is not known", asked=name, found=kind, next=f"say it: --key {name}:S (or N, or B)")
        found.append(KeyAttribute(name, kind))
    return KeySchema(found[0], found[1] if len(found) > 1 else None)


def _batches(files: Sequence[SourceFile]) -> list[tuple[int, list[tuple[int, SourceFile]]]]:
    """What each job reads: (its number, files with theirs)."""
    found: list[list[tuple[int, SourceFile]]] = []
    size = BATCH_BYTES
    for number, file in enumerate(files):
        if size >= BATCH_BYTES or len(found[-1]) >= BATCH_FILES:
            found.append([])
            size = 0
        found[-1].append((number, file))
        size += file.bytes
    return list(enumerate(found))


def _added(totals: Sequence[Total]) -> Total:
    return Total(sum(one.sum for one in totals) & MASK, sum(one.rows for one in totals))
