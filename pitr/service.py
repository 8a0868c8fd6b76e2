"""Restores as the server keeps them: started, attached to, resumed after a restart, cancelled; one at a time per target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from scrubjay.archiver.expire.plan import RESTORE, Need
from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.ids import PartitionId
from scrubjay.base.times import utc_text
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.book import RestoreBook
from scrubjay.pitr.index_building import IndexBuilding
from scrubjay.pitr.job import CANCELLED, FAILED, PUBLISHED, RUNNING, RestoreJob, note
from scrubjay.pitr.new_table import NewTable
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.part import PartAsked
from scrubjay.pitr.plan import Plan, forked_error
from scrubjay.pitr.prepare import Preparing
from scrubjay.pitr.restore import Restore
from scrubjay.pitr.target import Bounds, RestoreTarget, resolve
from scrubjay.pitr.window import bounds_of, resolve_in, window_note, window_text
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.service_port import ServicePort

MISMATCH = 2
"""Exit code of an answer that is whole, and of one of two histories."""
Report = dict[str, Any]
Log = Callable[[str], None]


Foresee = Callable[[str, Plan], Awaitable[float | None]]
"""Seconds that a restore by a plan (of the table with this id) will take on this machine, measured now; None: nothing could be measured, what was learnt from earlier ones counts."""


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
        ended: Callable[[str, int], object] | None = None,
        foresee: Foresee | None = None,
        items: Callable[[TableMeta], int] = lambda table: 0,
    ) -> None:
        """foresee: None: predictions go by what was learnt. items: of a table as it is now, 0: nobody knows. ended: told the state of each restore that ends, and the microseconds since it was asked for."""
        self._ended, self._foresee = ended, foresee
        self._env = env
        self._port = port
        self._archive = archive
        self._options = options
        self._building = IndexBuilding(env, port, items=items)
        self._log = log
        self.preparing = Preparing(env, port, archive, options, max_offset_us=max_offset_us, pitr_default=pitr_default)
        self._book = RestoreBook(port, live=self._live, log=log)
        self._running: dict[str, tuple[Restore, Task[RestoreJob]]] = {}
        self._starting: dict[str, Gate] = {}
        self._sources: dict[str, str] = {}
        """Of each restore that is being planned and is not in the book yet, by target, the id of its source."""
        self._waits = True
        """What is noted as running and was not begun here is another process' until this one takes over (`resume_unfinished`): it is neither called failed nor touched here."""
        self._begun: set[str] = set()
        """Target ids, in this life."""

    # ------------------------------------------------------------------ life

    def resume_unfinished(self) -> int:
        """At start, or when this process takes over: carry on with every restore that was running when a process ended. Returns how many."""
        self._waits = False
        jobs = [job for job in self._book.jobs() if job.state == RUNNING and job.target_id not in self._running]
        for job in jobs:
            self._spawn_or_fail(job)
        return len(jobs)

    async def stop(self) -> None:
        """End the coordinators; their notes stay, and the next start carries on."""
        self._waits = True
        self._begun.clear()
        for target_id in list(self._running):
            await self._end(target_id)
        self._building.stop()

    async def _end(self, target_id: str) -> RestoreJob:
        """Cancel a coordinator and wait until it is gone."""
        restore, task = self._running[target_id]
        task.cancel()
        while not task.done():
            await self._env.tasks.sleep(0.01)
        self._running.pop(target_id, None)
        return restore.job

    # ------------------------------------------------------------------ verbs

    async def plan(self, source: TableMeta, to: str, asked: RestoreTarget) -> Report:
        """What a restore would read. Changes nothing. Raises Unsafe (outside the window), Conflict (the name is taken), Missing, Unavailable."""
        job, plan = await self.preparing.job_for(source, to, asked, self._env.clock.wall_us())
        report = job.report()
        foreseen = None if self._foresee is None else await self._foresee(source.table_id, plan)
        return {
            **{name: report[name] for name in ("table", "table_id", "to", "at", "max_clock_offset", "window", "part", "beyond_latest")},
            "exit": MISMATCH if plan.forks else 0,
            "error": forked_error(plan.forks) if plan.forks else None,
            "forks": plan.forks,
            "partitions": [part.as_json() for part in plan.partitions],
            "bytes": plan.bytes,
            "requests": plan.requests,
            "predicted_seconds": plan.predicted_seconds if foreseen is None else foreseen,
            "predicted_index_seconds": None if asked.part is not None else self._building.predicted(source, job.target_meta, plan),
            "rates": plan.rates._asdict(),
        }

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget, *, overrides: dict[str, object] | None = None) -> Report:
        """Start; or attach to the unfinished restore that the same words began; or, if that one is published, say so.

        overrides: TableMeta fields of the target that differ from the source's. The target is recorded when this returns. Two that ask at once for one
        name come one after the other. Raises Unsafe (outside the window), Conflict (the name is taken, also by another restore), Unavailable.
        """
        gate = self._starting.setdefault(to, Gate(self._env.tasks))
        received_us = self._env.clock.wall_us()
        try:
            async with gate:
                self._sources[to] = source.table_id
                try:
                    return await self._start(source, to, asked, received_us, overrides)
                finally:
                    del self._sources[to]
        finally:
            if gate.free:
                self._starting.pop(to, None)

    async def _start(
        self, source: TableMeta, to: str, asked: RestoreTarget, received_us: int, overrides: dict[str, object] | None
    ) -> Report:
        earlier = self._book.unfinished(to) or self._book.published(to)
        if earlier is not None:
            return await self._attach(earlier, source, asked, received_us)
        job, _ = await self.preparing.job_for(source, to, asked, received_us, overrides=overrides)
        await note(self._port, job.key, job.as_notes())
        try:
            await self._port.create_restoring(job.target_meta)
        except ScrubjayError as error:
            if error.fields.get("unknown"):
                self._spawn(job, self._book.source_of(job))  # the target may be there, and takes its name: it is seen through
            elif not any(table.table_id == job.target_id for table in self._port.tables()):
                await note(self._port, job.key, None)
            raise
        self._spawn(job, self._book.source_of(job))
        return self._report(job)

    def needs(self) -> list[Need]:
        """What restores read, or are about to: retention must leave it. Never waits."""
        return [*self._book.needs(), *(Need(source, 0, RESTORE, to) for to, source in self._sources.items())]

    def status(self, to: str) -> Report | None:
        """The newest restore to that name; None if none is remembered."""
        job = self._book.find(to)
        return None if job is None else self._report(job)

    def all(self) -> Sequence[Report]:
        """Oldest first."""
        return [self._report(job) for job in self._book.jobs()]

    async def resume(self, to: str) -> Report:
        """Carry on with an unfinished restore; one that runs (here, or in the process that works) or is published is reported as it is. Raises Unavailable (ResourceNotFound)."""
        job = self._book.known(to)
        if job.unfinished and job.target_id not in self._running and not self._elsewhere(job):
            self._spawn(job, self._book.source_of(job))
        return self._report(job)

    async def cancel(self, to: str) -> Report:
        """Stop an unpublished restore and remove its target. Raises Unsafe (it is published, or another process runs it), Unavailable (ResourceNotFound)."""
        job = self._book.known(to)
        if self._elsewhere(job):
            raise Unsafe(
                "another durability process runs it",
                asked=to,
                found=RUNNING,
                next="ask that one, or this one once it works (status: durability)",
            )
        if job.target_id in self._running:
            job = await self._end(job.target_id)
        target = NewTable(self._env, self._port, self._archive, job.target_meta, log=self._log)
        if job.state == PUBLISHED or target.published:
            raise Unsafe(
                "it is published: cancel only removes what was never shown", asked=to, found=PUBLISHED, next="DeleteTable removes a table"
            )
        await target.abandon()
        await note(self._port, job.key, None)
        job.state = CANCELLED
        return self._report(job)

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        """RestoreTableToPointInTime. at_us None: the latest restorable time. Raises Conflict, Unsafe (fields earliest, latest), Unavailable."""
        if self._book.unfinished(target) is not None or self._book.published(target) is not None:
            raise Conflict("that name is taken, or a restore to it is under way", table=target)
        asked = RestoreTarget(latest=True) if at_us is None else RestoreTarget(at_us=at_us)
        try:
            report = await self.start(source, target, asked, overrides=overrides)
        except Unsafe as error:
            window = (await self._archive.look(source)).window
            raise Unsafe(error.message, earliest=window.earliest_us, latest=window.latest_us) from None
        return next(table for table in self._port.tables() if table.table_id == report["to_id"])

    async def _attach(self, job: RestoreJob, source: TableMeta, asked: RestoreTarget, received_us: int) -> Report:
        """The earlier restore to that name, if the same was asked for. One that is done is not done again: the answer is 0 and says so.

        The same words mean the same restore: `--minus` and `--latest` name a moment only once. But a table that was published as of an earlier `latest` is
        not what `--latest` asks for now.
        """
        if asked.minus_us is not None:
            same = asked.minus_us == job.asked.minus_us
        elif asked.latest:
            same = job.asked.latest and job.unfinished
        else:
            same = job.at_us == resolve(asked, Bounds(None, None), now_us=received_us)
        if same and job.source_id == source.table_id and job.part == asked.part:
            return await self.resume(job.target)
        seen = await self._archive.look(source)
        shown = window_note(seen)
        at_us = resolve_in(asked, bounds_of(source, seen), shown, received_us)
        status = f"scrubjay restore status {job.target}, or restore cancel {job.target}"
        raise Conflict(
            f"{'an unfinished' if job.unfinished else 'a published'} restore to that name has another source, moment or part",
            asked=f"{source.name} as of {utc_text(at_us)}{_which(asked.part)}",
            found=f"{job.source_name} as of {utc_text(job.at_us)}{_which(job.part)}; {window_text(shown)}",
            next=status if job.unfinished else "choose another name",
            body={"to": job.target, "window": msgspec.to_builtins(shown)},
        )

    # ------------------------------------------------------------------ running

    def _live(self, target_id: str) -> RestoreJob | None:
        running = self._running.get(target_id)
        return None if running is None else running[0].job

    def _spawn(self, job: RestoreJob, source: TableMeta) -> None:
        restore = Restore(self._env, self._port, self._archive, self._options, job, source, log=self._log, foresee=self._foresee)
        job.state, job.error, job.finished_us = RUNNING, None, None
        task = self._env.tasks.spawn(self._run(restore), name=f"restore {job.target}")
        self._running[job.target_id] = (restore, task)
        self._begun.add(job.target_id)

    async def _run(self, restore: Restore) -> RestoreJob:
        job = restore.job
        try:
            await restore.run()
            self._log(f"restore of {job.source_name} to {job.target} as of {utc_text(job.at_us)}: {job.state}")
            if self._ended is not None:
                self._ended(job.state, self._env.clock.wall_us() - job.created_us)
            if job.state == PUBLISHED:
                self._building.watch(job)
                await self._book.forget_old()
        finally:
            self._running.pop(job.target_id, None)
        return job

    def _spawn_or_fail(self, job: RestoreJob) -> None:
        try:
            self._spawn(job, self._book.source_of(job))
        except ScrubjayError as error:
            self._log(f"restore to {job.target} cannot go on: {error}")

    def _elsewhere(self, job: RestoreJob) -> bool:
        """It is the process' that works, as far as anybody here knows; if that one is gone, it is carried on with when this one takes over."""
        return self._waits and job.state == RUNNING and job.target_id not in self._begun

    def _report(self, job: RestoreJob) -> Report:
        running = self._running.get(job.target_id)
        if running is None and job.state == RUNNING and not self._elsewhere(job):
            job = msgspec.structs.replace(job, state=FAILED)
        report = job.report(None if running is None else running[0].progress)
        if job.state == PUBLISHED:  # what was healed since is no news any more
            report["degraded"] = [one for one in report["degraded"] if not self._whole(one["partition"], one["node"])]
        return report

    def _whole(self, partition: str, node: str) -> bool:
        try:
            copies = self._port.copies(PartitionId(partition))
        except Unavailable:
            return True  # the partition is gone
        return all(copy.state == "ok" for copy in copies if copy.node == node)


def _which(part: PartAsked | None) -> str:
    """A part in an error's words, as far as it is short."""
    return "" if part is None else f", {str(part.as_json())[:200]}"
