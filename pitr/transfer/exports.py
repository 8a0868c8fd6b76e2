"""Exports as the server keeps them; the life that they share with imports is `pitr.transfer.running`.

One life of an export: every partition is rebuilt from the archive as of the moment (incremental: at two moments), written to the place, read back and compared; then
the manifests, the summary last. Killed anywhere, it leaves objects without a summary, which is no export; the next start goes through the same steps under the same id,
finds what is there and proves it. It is COMPLETED only when what was read back came to the digest that the rebuild proved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from scrubjay.archiver.expire.plan import RESTORE, Need
from scrubjay.base.env import Env, Jobs
from scrubjay.base.errors import Corrupt, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.times import utc_text
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.job import folder_of, new_id
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.planning import Planning
from scrubjay.pitr.prepare import Preparing
from scrubjay.pitr.rebuilding import Rebuilding
from scrubjay.pitr.target import RestoreTarget
from scrubjay.pitr.timeline.service import TimelineService
from scrubjay.pitr.transfer.aws_layout import DataFile, ExportSummary, check_place, manifests, started_key
from scrubjay.pitr.transfer.export_notes import ExportAsked, ExportJob
from scrubjay.pitr.transfer.known_formats import FORMATS, OF_CHANGES, check_installed
from scrubjay.pitr.transfer.running import COMPLETED, FAILED, RUNNING, Log, RunningTransfers
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.keys import key_attributes
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.service_port import ServicePort

EXPORT, PUT = "scrubjay.pitr.transfer.export_files:export_job", "scrubjay.pitr.transfer.export_files:put_job"


class Exports:
    """preparing: which moments there are. timeline: what changed between two. archive_url: of this cluster's archive, into which nobody exports. arn: of a table's
    name. ended: told the state of each export that ends, and the microseconds since it was asked for. running: all of them."""

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
        self._needs: dict[str, Need] = {}
        self.running = RunningTransfers(env, port, archive, ExportJob, self, word="export", log=log, ended=ended)

    def needs(self) -> list[Need]:
        """What retention must leave. Never waits. Notes of another version may stand for an export that runs: they need everything."""
        found = list(self._needs.values())
        found += [Need(None, 0, RESTORE, key) for key in self.running.unread()]
        found += [_need(job) for job in self.running.jobs() if job.state == RUNNING]
        return found

    # ------------------------------------------------------------------ what is asked

    async def start(self, source: TableMeta, asked: ExportAsked) -> ExportJob:
        """Start; or attach to the one under way that the same words began (of the API: the same token, also to one that ended). It is noted when this returns.

        Raises Invalid (no place of ours, no such format), Unsafe (outside the window; into the archive itself; too many run), Conflict (the token was of another
        export), Unavailable.
        """
        check_asked(asked, self._archive_url)
        received_us = self._env.clock.wall_us()
        return await self.running.begin(
            asked,
            same=lambda job: job.source_id == source.table_id and job.asked == asked,
            by_words=asked.at_us is not None,
            make=lambda: self._noted(source, asked, received_us),
        )

    async def _noted(self, source: TableMeta, asked: ExportAsked, received_us: int) -> ExportJob:
        id_ = new_id(self._env.rand, received_us)
        # Said before the archive is looked at, as a restore does (docs/adr/0035-retention.md).
        self._needs[id_] = Need(source.table_id, 0, RESTORE, f"export {id_}")
        try:
            at_us = await self._moment(source, asked, received_us)
            job = ExportJob(id=id_, source_id=source.table_id, source_name=source.name, asked=asked, at_us=at_us, created_us=received_us)
            try:
                await self.running.save(job)
            except ScrubjayError as error:
                if error.fields.get("unknown"):
                    self.running.spawn(job)  # it may stand there: nobody else would see it through, and retention would wait for it
                raise
            return job
        finally:
            del self._needs[id_]

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

    # ------------------------------------------------------------------ one export (`running.TransferSteps`)

    def folder(self, job: ExportJob) -> str:
        return folder_of(job.id)

    async def work(self, job: ExportJob, progress: dict[str, Any]) -> None:
        source = next((table for table in self._port.tables() if table.table_id == job.source_id), None)
        if source is None:
            raise Unavailable("the table is not in the catalogue", error_code="ResourceNotFound", asked=job.source_id)
        await self._export(job, source, progress)

    async def end(self, job: ExportJob) -> None:
        """If it cannot be noted, the next start, or whoever asks for the same, finds it running, and it is proven once more."""
        if job.error is not None:
            job.state, job.ended_us = FAILED, self._env.clock.wall_us()
        await self.running.again(lambda: self.running.save(job))

    async def _export(self, job: ExportJob, source: TableMeta, progress: dict[str, Any]) -> None:
        await self._put(job, [(started_key(job.id), b"")])
        files, total = await (self._changes if job.incremental else self._whole)(job, source, progress)
        job.files, job.bytes, job.rows, job.digest = len(files), sum(one.bytes for one in files), total.rows, total.hex
        if job.ended_us is None:
            job.ended_us = self._env.clock.wall_us()
            await self.running.again(lambda: self.running.save(job))
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
            rows = await self.running.again(lambda: rebuilding.rows(info, path=path, part=None, progress=progress.update))
            files, found = await self._written(job, source, info.partition_id, path)
            self._archive.discard(path)
            if found != rows.total:
                raise Corrupt(
                    "what was exported is not what the archive proves", what="export", partition=info.partition_id,
                    expected=f"{rows.total.rows} rows, {rows.total.hex}", found=f"{found.rows} rows, {found.hex}",
                )  # fmt: skip
            done += 1
            progress.update({"phase": "export", "done": done, "total": len(partitions), "unit": "partitions"})
            return files, found

        partitions = planning.source.partitions
        return _added(await in_parallel(self._env.tasks, one, partitions, lanes=self._options.lanes, name="export"))

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
        answer = await self.running.again(lambda: self._jobs.run(EXPORT, arguments))
        return [DataFile(*one) for one in answer["files"]], Total(int(answer["sum"], 16), answer["rows"])

    async def _put(self, job: ExportJob, objects: list[tuple[str, bytes]]) -> None:
        arguments = {"url": job.asked.url, "objects": [[key, data.decode()] for key, data in objects]}
        try:
            await self.running.again(lambda: self._jobs.run(PUT, arguments))
        except Unavailable as error:
            if error.fields.get("error_code") != "ArchiveGone":
                raise
            raise Unavailable(
                "the folder to export to is not there", error_code="FolderMissing", cause=error.fields.get("cause"),
                next="make it on the server's machine (or is its disk not mounted?), and export again",
            ) from error  # fmt: skip


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
        raise Unsafe(
            "that is the archive of this cluster: an export among its objects would be taken for damage", asked=asked.url,
            found=archive_url, next="give a place beside it",
        )  # fmt: skip


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
