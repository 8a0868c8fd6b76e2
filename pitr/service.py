"""Restores as the server keeps them: started, attached to, resumed after a restart, cancelled; one at a time per target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import PartitionId, Stamp, TableId
from scrubjay.base.times import utc_text, utc_text_or_none
from scrubjay.pitr.archive import RestoreArchive, TableArchive
from scrubjay.pitr.job import CANCELLED, FAILED, PREFIX, PUBLISHED, RUNNING, AskedNote, RestoreJob, WindowNote, load_job, note
from scrubjay.pitr.plan import Plan, plan_table
from scrubjay.pitr.restore import POLL_S, Restore, RestoreOptions, ends_reached, folder_of, parts_of, rates_of, with_closed
from scrubjay.pitr.target import Asked, Bounds, Reach, exactly_one, reach, resolve
from scrubjay.storage.catalogue import METADATA_TABLE, PartitionInfo, RestoreOrigin, TableMeta
from scrubjay.storage.service_port import ServicePort

JOBS_KEPT = 50
"""Published restores remembered for `restore status`."""

FIRST_LOOK_S = 10.0
"""How long a restore of a dropped table waits, before it answers, for the first of its log to arrive in the archive."""

Report = dict[str, Any]
Log = Callable[[str], None]


class RestoreService:
    """max_offset_us: `max_clock_offset`, printed with every plan. pitr_default: whether a restored table has point-in-time recovery on in the API."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        options: RestoreOptions,
        *,
        max_offset_us: int,
        pitr_default: bool = True,
        log: Log,
    ) -> None:
        self._env = env
        self._port = port
        self._archive = archive
        self._options = options
        self._max_offset_us = max_offset_us
        self._pitr_default = pitr_default
        self._log = log
        self._running: dict[str, tuple[Restore, Task[RestoreJob]]] = {}
        self._starting: dict[str, Gate] = {}
        self._stopping = False

    # ------------------------------------------------------------------ life

    def resume_unfinished(self) -> int:
        """At start: carry on with every restore that was running when the process ended. Returns how many."""
        jobs = [job for job in self._jobs() if job.state == RUNNING]
        for job in jobs:
            self._spawn_or_fail(job)
        return len(jobs)

    async def stop(self) -> None:
        """End the coordinators; their notes stay, and the next start carries on."""
        self._stopping = True
        for target_id in list(self._running):
            await self._end(target_id)

    async def _end(self, target_id: str) -> RestoreJob:
        """Cancel a coordinator and wait until it is gone."""
        restore, task = self._running[target_id]
        task.cancel()
        while not task.done():
            await self._env.tasks.sleep(0.01)
        self._running.pop(target_id, None)
        return restore.job

    # ------------------------------------------------------------------ verbs

    async def plan(self, source: TableMeta, to: str, asked: Asked) -> Report:
        """What a restore would read. Changes nothing. Raises Unsafe (outside the window), Conflict (the name is taken), Missing, Unavailable."""
        job, plan = await self._prepare(source, to, asked, self._env.clock.wall_us())
        report = job.report()
        return {
            **{name: report[name] for name in ("table", "table_id", "to", "at", "max_clock_offset", "window", "beyond_latest")},
            "exit": 0,
            "error": None,
            "partitions": [part.as_json() for part in plan.partitions],
            "bytes": plan.bytes,
            "requests": plan.requests,
            "predicted_seconds": plan.predicted_seconds,
            "rates": plan.rates._asdict(),
        }

    async def start(self, source: TableMeta, to: str, asked: Asked, *, overrides: dict[str, object] | None = None) -> Report:
        """Start; or attach to the unfinished restore that the same words began; or, if that one is published, say so.

        overrides: TableMeta fields of the target that differ from the source's. The target is recorded when this returns. Two that ask at once for one
        name come one after the other. Raises Unsafe (outside the window), Conflict (the name is taken, also by another restore), Unavailable.
        """
        gate = self._starting.setdefault(to, Gate(self._env.tasks))
        received_us = self._env.clock.wall_us()
        try:
            async with gate:
                return await self._start(source, to, asked, received_us, overrides)
        finally:
            if gate.free:
                self._starting.pop(to, None)

    async def _start(self, source: TableMeta, to: str, asked: Asked, received_us: int, overrides: dict[str, object] | None) -> Report:
        earlier = self._unfinished(to) or self._published(to)
        if earlier is not None:
            return await self._attach(earlier, source, asked, received_us)
        job, _ = await self._prepare(source, to, asked, received_us, overrides=overrides)
        await note(self._port, job.key, job.as_notes())
        try:
            await self._port.create_restoring(job.target_meta)
        except ScrubjayError:
            if not any(table.table_id == job.target_id for table in self._port.tables()):
                await note(self._port, job.key, None)
            raise
        self._spawn(job, self._source_of(job))
        return self._report(job)

    def status(self, to: str) -> Report | None:
        """The newest restore to that name; None if none is remembered."""
        job = self._find(to)
        return None if job is None else self._report(job)

    def all(self) -> Sequence[Report]:
        """Oldest first."""
        return [self._report(job) for job in self._jobs()]

    async def resume(self, to: str) -> Report:
        """Carry on with an unfinished restore; one that runs or is published is reported as it is. Raises Unavailable (ResourceNotFound)."""
        job = self._known(to)
        if job.unfinished and job.target_id not in self._running:
            self._spawn(job, self._source_of(job))
        return self._report(job)

    async def cancel(self, to: str) -> Report:
        """Stop an unpublished restore and remove its target. Raises Unsafe (it is published), Unavailable (ResourceNotFound)."""
        job = self._known(to)
        if job.target_id in self._running:
            job = await self._end(job.target_id)
        published = any(
            table.table_id == job.target_id and (table.restore_of is None or not table.restore_of.in_progress)
            for table in self._port.tables()
        )
        if job.state == PUBLISHED or published:
            raise Unsafe(
                "it is published: cancel only removes what was never shown", asked=to, found=PUBLISHED, next="DeleteTable removes a table"
            )
        await self._port.abandon(TableId(job.target_id))
        await note(self._port, job.key, None)
        self._archive.discard(folder_of(job.target_id))
        job.state = CANCELLED
        return self._report(job)

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        """RestoreTableToPointInTime. at_us None: the latest restorable time. Raises Conflict, Unsafe (fields earliest, latest), Unavailable."""
        if self._unfinished(target) is not None or self._published(target) is not None:
            raise Conflict("that name is taken, or a restore to it is under way", table=target)
        asked = Asked(latest=True) if at_us is None else Asked(at_us=at_us)
        try:
            report = await self.start(source, target, asked, overrides=overrides)
        except Unsafe as error:
            window = (await self._archive.look(source)).window
            raise Unsafe(error.message, earliest=window.earliest_us, latest=window.latest_us) from None
        return next(table for table in self._port.tables() if table.table_id == report["to_id"])

    # ------------------------------------------------------------------ preparing

    async def _prepare(
        self, source: TableMeta, to: str, asked: Asked, received_us: int, *, overrides: dict[str, object] | None = None
    ) -> tuple[RestoreJob, Plan]:
        """received_us: the clock when the question came, which `--minus` counts back from. What is closed by now is judged by the clock after the look."""
        if source.name == METADATA_TABLE:
            raise Unavailable(
                "no such table", error_code="ResourceNotFound", asked=source.name, found="a system table is not restored as a table"
            )
        if source.restore_of is not None and source.restore_of.in_progress:
            raise Unavailable("no such table", error_code="ResourceNotFound", asked=source.name, found="it is itself being restored")
        source = await self._settled(source)
        seen, window = await self._look(source)
        shown = window_note(seen)
        now_us = self._env.clock.wall_us()
        if any(table.name == to and table.dropped_at is None for table in self._port.tables()):
            raise Conflict(
                "a table of that name exists: a restore writes only into a new one",
                asked=to,
                found=_window_text(shown),
                next="choose another name",
                body={"to": to, "window": msgspec.to_builtins(shown)},
            )
        target = self._reach(resolve_in(asked, window, shown, received_us), window, shown, now_us)
        plan = self._plan(source, seen, target, shown)
        job = self._job(source, to, target, asked, shown, now_us, overrides or {})
        job.partitions = parts_of(plan, source, job.target_meta)
        job.predicted_seconds = plan.predicted_seconds
        return job, plan

    async def _settled(self, source: TableMeta) -> TableMeta:
        """A table whose deletion is under way, once it is known where its logs end: until then nobody can say what its latest moment is. Raises Unavailable."""
        give_up = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        while source.status == "DELETING":
            if self._env.clock.boot_us() >= give_up:
                raise Unavailable("the table is being deleted and its log has not ended yet", asked=source.name, next="try again")
            await self._env.tasks.sleep(POLL_S)
            source = next((table for table in self._port.tables() if table.table_id == source.table_id), source)
        return source

    async def _look(self, source: TableMeta) -> tuple[TableArchive, Bounds]:
        """What the archive holds. Of a dropped table, nothing proven yet is waited for (bounded): its log may still be on the way."""
        give_up = self._env.clock.boot_us() + int(min(self._options.archive_wait_s, FIRST_LOOK_S) * 1e6)
        while True:
            seen = await self._archive.look(source)
            window = bounds_of(source, seen)
            if window.ends_us is None or seen.window.latest_us is not None or self._env.clock.boot_us() >= give_up:
                return seen, window
            await self._env.tasks.sleep(POLL_S)

    def _plan(self, source: TableMeta, seen: TableArchive, target: Reach, shown: WindowNote) -> Plan:
        """A first plan; one beyond `latest` is made again once the archive has come so far. A moment inside a hole is outside the window."""
        ends = ends_reached(source, seen)
        try:
            return plan_table(
                [with_closed(history, ends) for history in seen.histories],
                at_us=target.at_us,
                cut=target.cut,
                rates=rates_of(self._port),
                workers=self._options.lanes,
                preview=target.beyond_latest,
            )
        except Missing as error:
            hole = Unsafe(
                f"outside the restorable window: {error.message}",
                earliest=seen.window.earliest_us,
                latest=seen.window.latest_us,
                **{**error.fields, "asked": target.at_us},
            )
            raise _explained(hole, shown) from None

    def _reach(self, at_us: int, window: Bounds, shown: WindowNote, now_us: int) -> Reach:
        try:
            return reach(at_us, window, now_us=now_us)
        except Unsafe as error:
            raise _explained(error, shown) from None

    def _job(
        self, source: TableMeta, to: str, target: Reach, asked: Asked, shown: WindowNote, now_us: int, overrides: dict[str, object]
    ) -> RestoreJob:
        rand = self._env.rand
        meta = msgspec.structs.replace(
            source,
            table_id=TableId(rand.uuid()),
            name=to,
            status="CREATING",
            partitions=tuple(PartitionInfo(PartitionId(rand.uuid()), info.lo, info.hi, info.members) for info in source.partitions),
            created_at=now_us,
            billing_changed_at=now_us if overrides.get("billing", source.billing) == "PAY_PER_REQUEST" else None,
            throughput_changed_at=(None, None),
            table_class_changed_at=None,
            deletion_protection=False,
            tags=(),
            pitr_enabled_at=now_us if self._pitr_default else None,
            dropped_at=None,
            restore_of=RestoreOrigin(source.table_id, source.name, target.at_us, True),
            finals=(),
            archived_at=None,
            version=1,
        )
        meta = msgspec.structs.replace(meta, **overrides)
        return RestoreJob(
            source_id=source.table_id,
            source_name=source.name,
            target=to,
            target_id=meta.table_id,
            at_us=target.at_us,
            asked=AskedNote(asked.minus_us, asked.latest),
            beyond_latest=target.beyond_latest,
            created_us=now_us,
            meta=msgspec.to_builtins(meta),
            window=shown,
            max_offset_us=self._max_offset_us,
        )

    async def _attach(self, job: RestoreJob, source: TableMeta, asked: Asked, received_us: int) -> Report:
        """The earlier restore to that name, if the same was asked for. One that is done is not done again: the answer is 0 and says so.

        The same words mean the same restore: `--minus` and `--latest` name a moment only once. But a table that was published as of an earlier `latest` is
        not what `--latest` asks for now.
        """
        exactly_one(asked)
        if asked.minus_us is not None:
            same = asked.minus_us == job.asked.minus_us
        elif asked.latest:
            same = job.asked.latest and job.unfinished
        else:
            same = job.at_us == resolve(asked, Bounds(None, None), now_us=received_us)
        if same and job.source_id == source.table_id:
            return await self.resume(job.target)
        seen = await self._archive.look(source)
        shown = window_note(seen)
        at_us = resolve_in(asked, bounds_of(source, seen), shown, received_us)
        status = f"scrubjay restore status {job.target}, or restore cancel {job.target}"
        raise Conflict(
            f"{'an unfinished' if job.unfinished else 'a published'} restore to that name has another source or moment",
            asked=f"{source.name} as of {utc_text(at_us)}",
            found=f"{job.source_name} as of {utc_text(job.at_us)}; {_window_text(shown)}",
            next=status if job.unfinished else "choose another name",
            body={"to": job.target, "window": msgspec.to_builtins(shown)},
        )

    # ------------------------------------------------------------------ running

    def _spawn(self, job: RestoreJob, source: TableMeta) -> None:
        restore = Restore(self._env, self._port, self._archive, self._options, job, source)
        job.state, job.error, job.finished_us = RUNNING, None, None
        task = self._env.tasks.spawn(self._run(restore), name=f"restore {job.target}")
        self._running[job.target_id] = (restore, task)

    async def _run(self, restore: Restore) -> RestoreJob:
        job = restore.job
        try:
            await restore.run()
            self._log(f"restore of {job.source_name} to {job.target} as of {utc_text(job.at_us)}: {job.state}")
            if job.state == PUBLISHED:
                await self._forget_old()
        finally:
            self._running.pop(job.target_id, None)
        return job

    def _spawn_or_fail(self, job: RestoreJob) -> None:
        try:
            self._spawn(job, self._source_of(job))
        except ScrubjayError as error:
            self._log(f"restore to {job.target} cannot go on: {error}")

    async def _forget_old(self) -> None:
        published = [job for job in self._jobs() if job.state == PUBLISHED]
        for job in published[: max(0, len(published) - JOBS_KEPT)]:
            try:
                await note(self._port, job.key, None)
            except ScrubjayError as error:
                self._log(f"an old restore could not be forgotten: {error}")
                return

    # ------------------------------------------------------------------ looking

    def _jobs(self) -> list[RestoreJob]:
        """Every job, oldest first; of a running one its live state."""
        found: list[RestoreJob] = []
        for key, notes in sorted(self._port.jobs(PREFIX).items()):
            live = self._running.get(key.removeprefix(PREFIX))
            job = live[0].job if live is not None else load_job(notes)
            if job is None:
                self._log(f"notes under {key} are not understood by this version and left alone")
            else:
                found.append(job)
        return sorted(found, key=lambda job: (job.created_us, job.target_id))

    def _find(self, to: str) -> RestoreJob | None:
        named = [job for job in self._jobs() if job.target == to]
        return named[-1] if named else None

    def _unfinished(self, to: str) -> RestoreJob | None:
        return next((job for job in self._jobs() if job.target == to and job.unfinished), None)

    def _published(self, to: str) -> RestoreJob | None:
        """The published restore whose table has that name now."""
        live = {
            table.table_id for table in self._port.tables() if table.name == to and table.dropped_at is None and table.status != "DELETING"
        }
        return next((job for job in self._jobs() if job.state == PUBLISHED and job.target_id in live), None)

    def _known(self, to: str) -> RestoreJob:
        job = self._find(to)
        if job is None:
            raise Unavailable("no such restore", error_code="ResourceNotFound", asked=to, next="scrubjay restore status lists all restores")
        return job

    def _source_of(self, job: RestoreJob) -> TableMeta:
        found = next((table for table in self._port.tables() if table.table_id == job.source_id), None)
        if found is None:
            raise Unavailable("the source table is not known any more", error_code="ResourceNotFound", asked=job.source_name)
        return found

    def _report(self, job: RestoreJob) -> Report:
        running = self._running.get(job.target_id)
        if running is None and job.state == RUNNING and not self._stopping:
            job = msgspec.structs.replace(job, state=FAILED)
        return job.report(None if running is None else running[0].progress)


def bounds_of(source: TableMeta, seen: TableArchive) -> Bounds:
    """Between which moments a target may lie. Pure."""
    ends_us = max((stamp_micros(Stamp(final.stamp)) for final in source.finals), default=None)
    return Bounds(seen.window.earliest_us, seen.window.latest_us, source.dropped_at is not None, ends_us)


def window_note(seen: TableArchive) -> WindowNote:
    """The window as it is printed."""
    holes = [
        {
            "partition": hole.partition,
            "first_lsn": hole.first_lsn,
            "last_lsn": hole.last_lsn,
            "from": utc_text_or_none(hole.from_us),
            "to": utc_text_or_none(hole.to_us),
        }
        for hole in seen.window.holes
    ]
    return WindowNote(utc_text_or_none(seen.window.earliest_us), utc_text_or_none(seen.window.latest_us), holes)


def resolve_in(asked: Asked, window: Bounds, shown: WindowNote, now_us: int) -> int:
    """`pitr.target.resolve` with the window in the refusal."""
    try:
        return resolve(asked, window, now_us=now_us)
    except Unsafe as error:
        raise _explained(error, shown) from None


def _window_text(shown: WindowNote) -> str:
    if shown.earliest is None or shown.latest is None:
        return "no proven window yet"
    return f"proven window {shown.earliest} to {shown.latest}"


def _explained(error: Unsafe, shown: WindowNote) -> Unsafe:
    fields = {name: value for name, value in error.fields.items() if name not in ("earliest", "latest")}
    asked = fields.pop("asked", None)
    return Unsafe(
        error.message,
        **fields,
        asked=None if asked is None else utc_text(asked),
        found=_window_text(shown),
        next="choose a moment inside the window",
        body={"at": None if asked is None else utc_text(asked), "window": msgspec.to_builtins(shown)},
    )
