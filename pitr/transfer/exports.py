"""Exports as the server keeps them: started, attached to, carried on after a restart, remembered.

One life of an export: every partition is rebuilt from the archive as of the moment (incremental: at two moments), written to the place, read back and compared; then
the manifests, the summary last. Killed anywhere, it leaves objects without a summary, which is no export; the next start goes through the same steps under the same id,
finds what is there and proves it. It is COMPLETED only when what was read back came to the digest that the rebuild proved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from scrubjay.archiver.expire.plan import RESTORE, Need
from scrubjay.base.env import Env, Jobs, Task
from scrubjay.base.errors import Conflict, Corrupt, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.job import folder_of, note
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.planning import Planning
from scrubjay.pitr.prepare import Preparing
from scrubjay.pitr.rebuilding import Rebuilding
from scrubjay.pitr.steadily import steadily
from scrubjay.pitr.target import RestoreTarget
from scrubjay.pitr.timeline.service import TimelineService
from scrubjay.pitr.transfer.aws_layout import DataFile, ExportSummary, check_place, manifests, started_key
from scrubjay.pitr.transfer.export_notes import COMPLETED, PREFIX, RUNNING, ExportAsked, ExportJob, load_export
from scrubjay.pitr.transfer.known_formats import FORMATS, OF_CHANGES, check_installed
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.keys import key_attributes
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.service_port import ServicePort

EXPORT, PUT = "scrubjay.pitr.transfer.export_files:export_job", "scrubjay.pitr.transfer.export_files:put_job"
RUNNING_MAX = 4
"""At a time. Each has up to `lanes` partitions in work."""
KEPT_MAX = 50
"""Ended exports that are remembered."""
TRIES_MAX = 3
"""Of one partition, while what fails is that something is not there now (a worker that died, a place that does not answer)."""
Report = dict[str, Any]
Log = Callable[[str], None]
T = TypeVar("T")


class Exports:
    """preparing: which moments there are. timeline: what changed between two. archive_url: of this cluster's archive, into which nobody exports. arn: of a table's
    name. ended: told the state of each export that ends, and the microseconds since it was asked for."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        jobs: Jobs,
        options: RestoreOptions,
        preparing: Preparing,
        timeline: TimelineService,
        *,
        archive_url: str,
        arn: Callable[[str], str],
        log: Log,
        ended: Callable[[str, int], object] | None = None,
    ) -> None:
        self._env, self._port, self._archive, self._jobs, self._options = env, port, archive, jobs, options
        self._preparing, self._timeline, self._archive_url, self._arn, self._log, self._ended = (
            preparing,
            timeline,
            archive_url,
            arn,
            log,
            ended,
        )
        self._running: dict[str, tuple[ExportJob, Task[None], dict[str, Any]]] = {}
        self._starting = Gate(env.tasks)
        self._needs: dict[str, Need] = {}
        self._stopping = False

    # ------------------------------------------------------------------ life

    def resume_unfinished(self) -> int:
        """At start, or when this process takes over: carry on with every export that was running when a process ended. Returns how many."""
        self._stopping = False
        found = [job for job in self.jobs() if job.state == RUNNING and job.id not in self._running]
        for job in found:
            self._spawn(job)
        return len(found)

    async def stop(self) -> None:
        """End them; their notes stay, and the next start carries on."""
        self._stopping = True
        for _, task, _ in list(self._running.values()):
            task.cancel()
            while not task.done():
                await self._env.tasks.sleep(0.01)

    def needs(self) -> list[Need]:
        """What retention must leave. Never waits. Notes of another version may stand for an export that runs: they need everything."""
        found = list(self._needs.values())
        found += [Need(None, 0, RESTORE, key) for key, notes in self._port.jobs(PREFIX).items() if load_export(notes) is None]
        found += [_need(job) for job in self.jobs() if job.state == RUNNING]
        return found

    # ------------------------------------------------------------------ what is asked

    async def start(self, source: TableMeta, asked: ExportAsked) -> ExportJob:
        """Start; or attach to the one under way that the same words began (of the API: the same token, also to one that ended). It is noted when this returns.

        Raises Invalid (no place of ours, no such format), Unsafe (outside the window; into the archive itself; too many run), Conflict (the token was of another
        export), Unavailable.
        """
        check_asked(asked, self._archive_url)
        received_us = self._env.clock.wall_us()
        async with self._starting:
            earlier = self._earlier(source, asked)
            if earlier is not None:
                if earlier.state == RUNNING and earlier.id not in self._running:
                    self._spawn(earlier)  # its end could not be noted, or that it began came to light later
                return earlier
            if len(self._running) >= RUNNING_MAX:
                raise Unsafe("too many exports are under way", found=len(self._running), next="wait for them", error_code="TooMany")
            id_ = f"{received_us // 1000:014d}-{self._env.rand.u64() & 0xFFFFFFFF:08x}"
            # Said before the archive is looked at, as a restore does (docs/adr/0035-retention.md).
            self._needs[id_] = Need(source.table_id, 0, RESTORE, f"export {id_}")
            try:
                at_us = await self._moment(source, asked, received_us)
                job = ExportJob(
                    id=id_, source_id=source.table_id, source_name=source.name, asked=asked, at_us=at_us, created_us=received_us
                )
                try:
                    await note(self._port, PREFIX + id_, job.as_notes())
                except ScrubjayError as error:
                    if error.fields.get("unknown"):
                        self._spawn(job)  # it may stand there: nobody else would see it through, and retention would wait for it
                    raise
            finally:
                del self._needs[id_]
            self._spawn(job)
            return job

    async def _moment(self, source: TableMeta, asked: ExportAsked, received_us: int) -> int:
        now = RestoreTarget(latest=True) if source.dropped_at is not None else RestoreTarget(at_us=received_us)
        at_us = await self._preparing.moment_of(source, now if asked.at_us is None else RestoreTarget(at_us=asked.at_us), received_us)
        if asked.from_us is not None:
            if asked.from_us >= at_us:
                raise Invalid(
                    "the range ends before it begins",
                    asked=f"{utc_text(asked.from_us)} to {utc_text(at_us)}",
                    next="give the earlier moment as --from",
                )
            await self._preparing.moment_of(source, RestoreTarget(at_us=asked.from_us), received_us)
        return at_us

    def _earlier(self, source: TableMeta, asked: ExportAsked) -> ExportJob | None:
        for job in self.jobs():
            same = job.source_id == source.table_id and job.asked == asked
            if asked.token is not None and job.asked.token == asked.token:
                if not same:
                    raise Conflict("that token was of another export", asked=asked.token, found=job.id)
                return job
            if asked.token is None and same and asked.at_us is not None and job.state == RUNNING:
                return job
        return None

    def jobs(self) -> list[ExportJob]:
        """Every export that is remembered or runs, oldest first."""
        noted = [job for notes in self._port.jobs(PREFIX).values() if (job := load_export(notes)) is not None]
        found = {job.id: job for job in (*noted, *(live for live, _, _ in self._running.values()))}
        return [found[id_] for id_ in sorted(found)]

    def find(self, id_: str) -> ExportJob | None:
        return next((job for job in self.jobs() if job.id == id_), None)

    def report(self, job: ExportJob) -> Report:
        live = self._running.get(job.id)
        if live is None and job.state == RUNNING and not self._stopping:
            # Noted as running, and nothing of it runs: whoever waits for it would wait for ever.
            job = msgspec.structs.replace(job)
            job.fail(
                Unavailable(
                    "what came of it could not be noted", next="the same command with the same --at carries it on, or the next start"
                )
            )
        return job.report(live[2] if live is not None else None)

    # ------------------------------------------------------------------ one export

    def _spawn(self, job: ExportJob) -> None:
        progress: dict[str, Any] = {"phase": "plan"}
        self._running[job.id] = (job, self._env.tasks.spawn(self._run(job, progress), name=f"export {job.id}"), progress)

    async def _run(self, job: ExportJob, progress: dict[str, Any]) -> None:
        try:
            try:
                source = next((table for table in self._port.tables() if table.table_id == job.source_id), None)
                if source is None:
                    raise Unavailable("the table is not in the catalogue", error_code="ResourceNotFound", asked=job.source_id)
                await self._export(job, source, progress)
            except ScrubjayError as error:
                job.fail(error)
                job.ended_us = self._env.clock.wall_us()
            self._log(f"export {job.id} of {job.source_name} as of {utc_text(job.at_us)} to {job.asked.url}: {job.state}")
            await self._note_end(job)
            if self._ended is not None:
                self._ended(job.state, self._env.clock.wall_us() - job.created_us)
        finally:
            self._running.pop(job.id, None)
            try:
                self._archive.discard(folder_of(job.id))
            except ScrubjayError as error:
                self._log(f"the row files of export {job.id} could not be removed: {error}")

    async def _note_end(self, job: ExportJob) -> None:
        """If it cannot be noted, the next start, or whoever asks for the same, finds it running, and it is proven once more."""
        try:
            await self._again(lambda: note(self._port, PREFIX + job.id, job.as_notes()))
            over = [one for one in self.jobs() if one.state != RUNNING]
            for old in over[: max(0, len(over) - KEPT_MAX)]:
                await note(self._port, PREFIX + old.id, None)
        except ScrubjayError as error:
            self._log(f"the end of export {job.id} could not be noted: {error}")

    async def _export(self, job: ExportJob, source: TableMeta, progress: dict[str, Any]) -> None:
        await self._put(job, [(started_key(job.id), b"")])
        files, total = await (self._changes if job.incremental else self._whole)(job, source, progress)
        job.files, job.bytes, job.rows, job.digest = len(files), sum(one.bytes for one in files), total.rows, total.hex
        if job.ended_us is None:
            job.ended_us = self._env.clock.wall_us()
            await self._again(lambda: note(self._port, PREFIX + job.id, job.as_notes()))
        summary = ExportSummary(
            id=job.id, table=source.name, table_id=source.table_id, arn=self._arn(source.name), format=job.asked.format, at_us=job.at_us,
            from_us=job.asked.from_us, view=job.view, started_us=job.created_us, ended_us=job.ended_us, place=job.asked.url, digest=total.hex,
            key=[(one.name, one.type) for one in key_attributes(source.key)],
        )  # fmt: skip
        await self._put(job, manifests(summary, files))
        job.state = COMPLETED

    async def _whole(self, job: ExportJob, source: TableMeta, progress: dict[str, Any]) -> tuple[list[DataFile], Total]:
        planning = Planning(self._env, self._port, self._archive, self._options, source, at_us=job.at_us)
        rebuilding = Rebuilding(
            self._port,
            self._archive,
            planning,
            cut=last_stamp_at(job.at_us),
            met=lambda found: self._log(f"export {job.id} met damage in the archive: {found.object}: {found.detail}"),
            now_us=self._env.clock.wall_us,
        )
        rebuilding.take(await planning.beyond())
        done = 0

        async def one(info: PartitionInfo) -> tuple[list[DataFile], Total]:
            nonlocal done
            path = self._archive.rows_path(job.id, info.partition_id)
            rows = await self._again(lambda: rebuilding.rows(info, path=path, part=None, progress=progress.update))
            files, found = await self._written(job, source, info.partition_id, path)
            self._archive.discard(path)
            if found != rows.total:
                raise Corrupt(
                    "what was exported is not what the archive proves", what="export", partition=info.partition_id,
                    expected=f"{rows.total.rows} rows, {rows.total.hex}", found=f"{found.rows} rows, {found.hex}",
                )  # fmt: skip
            done += 1
            progress.update({"phase": "export", "done": done, "total": len(source.partitions), "unit": "partitions"})
            return files, found

        return _added(await in_parallel(self._env.tasks, one, source.partitions, lanes=self._options.lanes, name="export"))

    async def _changes(self, job: ExportJob, source: TableMeta, progress: dict[str, Any]) -> tuple[list[DataFile], Total]:
        assert job.asked.from_us is not None

        async def written(kept: Sequence[tuple[str, str]]) -> tuple[list[DataFile], Total]:
            async def one(part: tuple[str, str]) -> tuple[list[DataFile], Total]:
                return await self._written(job, source, *part)

            return _added(await in_parallel(self._env.tasks, one, kept, lanes=self._options.lanes, name="export"))

        return await self._timeline.with_changes(source, from_us=job.asked.from_us, to_us=job.at_us, progress=progress.update, use=written)

    async def _written(self, job: ExportJob, source: TableMeta, partition: str, path: str) -> tuple[list[DataFile], Total]:
        arguments = {
            "url": job.asked.url, "rows": path, "id": job.id, "partition": partition, "key": msgspec.to_builtins(source.key),
            "format": job.asked.format, "view": job.view if job.incremental else None,
        }  # fmt: skip
        answer = await self._again(lambda: self._jobs.run(EXPORT, arguments))
        return [DataFile(*one) for one in answer["files"]], Total(int(answer["sum"], 16), answer["rows"])

    async def _put(self, job: ExportJob, objects: list[tuple[str, bytes]]) -> None:
        arguments = {"url": job.asked.url, "objects": [[key, data.decode()] for key, data in objects]}
        await self._again(lambda: self._jobs.run(PUT, arguments))

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Every call given here may be made twice."""
        return await steadily(self._env.tasks, call, tries=TRIES_MAX)


def check_asked(asked: ExportAsked, archive_url: str) -> None:
    """Raises Invalid, Unsafe, Unavailable."""
    check_place(asked.url)
    if asked.format not in FORMATS:
        raise Invalid("no such format", asked=asked.format, found=", ".join(FORMATS))
    if asked.from_us is not None and asked.format not in OF_CHANGES:
        raise Invalid(
            "an incremental export has both images of an item, which that format cannot say",
            asked=asked.format,
            found=", ".join(OF_CHANGES),
        )
    check_installed(asked.format)
    if _lies(asked.url).is_relative_to(_lies(archive_url)):
        raise Unsafe("that is the archive of this cluster: an export among its objects would be taken for damage", asked=asked.url)


def _lies(url: str) -> PurePosixPath:
    """Where a place lies, however its URL is spelled."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return PurePosixPath("s3", parts.netloc, parts.path.strip("/"))
    return PurePosixPath("file", normpath(unquote(parts.path)).strip("/"))


def _need(job: ExportJob) -> Need:
    from_us = job.at_us if job.asked.from_us is None else job.asked.from_us
    return Need(job.source_id, from_us, RESTORE, f"export {job.id}")


def _added(parts: Sequence[tuple[list[DataFile], Total]]) -> tuple[list[DataFile], Total]:
    total = Total(sum(found.sum for _, found in parts) & MASK, sum(found.rows for _, found in parts))
    return [file for files, _ in parts for file in files], total
