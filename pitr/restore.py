"""A restore to a new table: a coordinator that may be killed at any point and run again from its notes.

Order, and why a crash between any two steps is harmless:

1. notes (phase plan), then the target table: a target without notes cannot exist; notes without a target are carried on by making it.
2. plan: a target after `latest` first has every leader seal and waits for the archive. The plan is noted before anything is read.
3. read: each partition is rebuilt once, its rows become the first base of the new table's own archive; noted with the digest the rebuild proved.
   Run again, it gives the same bytes under the same names.
4. load: every replica that can be reached loads that row file; the digest each recomputed from its own bytes is noted. A quorum of them must.
5. confirm: every copy of every partition that loaded it equals, by digest and row count, what the rebuild proved; only then is the table published. One that differs is
   never published. A copy that did not come is noted, and healed once its node is there (ADR 0091).

Notes say what was begun, never what is true: a life that carries on plans, rebuilds and recomputes everything anew. What was noted is compared with that,
and spares only what is made once (ids, the target, objects, loaded trees).

It never writes into an existing table: the target's ids are minted for this restore and its name is taken by a create that fails if it is owned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive, RestoredRows
from scrubjay.pitr.job import (
    CONFIRM,
    DIFFERS,
    FAILED,
    FINDINGS_MAX,
    LOAD,
    PLAN,
    PUBLISHED,
    READ,
    RUNNING,
    PartitionJob,
    RestoreJob,
    error_json,
    folder_of,
    next_step,
    note,
    parts_of,
)
from scrubjay.pitr.new_table import NewTable
from scrubjay.pitr.options import TRIES_MAX, RestoreOptions
from scrubjay.pitr.part import unread_of
from scrubjay.pitr.plan import Plan
from scrubjay.pitr.planning import Planning
from scrubjay.pitr.rates import RATES_KEY, learn, rates_of
from scrubjay.pitr.rebuilding import Rebuilding
from scrubjay.pitr.steadily import steadily
from scrubjay.scrubber.report import ScrubFound
from scrubjay.storage.catalogue import TableMeta, as_of
from scrubjay.storage.log.digest import Total
from scrubjay.storage.service_port import Finding, LoadedBase, ServicePort

T = TypeVar("T")


class Restore:
    """Runs one job to its end. `job` is the live state; it is noted through the port at every step. log: hears what took longer than it need have, and why.
    foresee: of `pitr.service.Foresee`."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        options: RestoreOptions,
        job: RestoreJob,
        source: TableMeta,
        *,
        log: Callable[[str], None],
        foresee: Callable[[str, Plan], Awaitable[float | None]] | None = None,
    ) -> None:
        self._env = env
        self._port = port
        self._archive = archive
        self._options, self._foresee = options, foresee
        self.job = job
        self.progress: dict[str, Any] = {"phase": job.phase}
        self._proven: dict[str, Total] = {}
        self._reading: dict[str, Mapping[str, Any]] = {}
        self._rows: dict[str, RestoredRows] = {}
        self._loaded: dict[str, LoadedBase] = {}
        source = as_of(source, job.at_us)
        self._planning = Planning(env, port, archive, options, source, at_us=job.at_us, unread=unread_of(source, job.part))
        self._rebuilding = Rebuilding(port, archive, self._planning, cut=last_stamp_at(job.at_us), met=self._met, now_us=env.clock.wall_us)
        self._target = NewTable(env, port, archive, job.target_meta, log=log)
        self._saving = Gate(env.tasks)

    async def run(self) -> RestoreJob:
        """One life of the restore, from its first step. Ends as published, differs or failed; raises nothing but cancellation and our own bugs."""
        job = self.job
        job.state, job.error, job.finished_us = RUNNING, None, None
        began = self._env.clock.boot_us()
        try:
            await self._steadily(self._target.create)
            job.phase = CONFIRM if self._target.published else PLAN
            await self._phase(PLAN, READ, self._plan)
            await self._phase(READ, LOAD, self._read)
            await self._phase(LOAD, CONFIRM, self._load)
            if job.phase == CONFIRM:
                await self._confirm()
        except ScrubjayError as error:
            job.state = FAILED
            step = next_step(error, source=job.source_name, target=job.target, named=bool(error.fields.get("damage")))
            job.error = error_json(error, asked=f"restore of {job.source_name} to {job.target}, phase {job.phase}", next_step=step)
        job.seconds["total"] = job.seconds.get("total", 0.0) + (self._env.clock.boot_us() - began) / 1e6
        job.finished_us = self._env.clock.wall_us()
        await self._note_end()
        return job

    async def _note_end(self) -> None:
        """The end is noted if it can be; if not, the next start finds the job as it was last noted and carries on."""
        try:
            await self._steadily(self._save)
        except ScrubjayError as error:
            if self.job.error is None and self.job.state != PUBLISHED:
                self.job.error = error_json(error, asked="noting the end of the restore", next_step="it is noted at the next start")
            return
        if self.job.state == PUBLISHED:
            self._archive.discard(folder_of(self.job.target_id))
            if not any(part.lacking for part in self.job.partitions):  # else most of the time went into waiting for a node
                await self._learn()

    async def _phase(self, phase: str, following: str, work: Callable[[], Awaitable[None]]) -> None:
        if self.job.phase != phase:
            return
        self._tell(phase, 0)
        began = self._env.clock.boot_us()
        try:
            await work()
        finally:
            self._spent(phase, began)
        self.job.phase = following
        await self._steadily(self._save)

    # ------------------------------------------------------------------ steps

    async def _plan(self) -> None:
        plan = await self._planning.once({}) if not self.job.beyond_latest else await self._planning.beyond()
        self._rebuilding.take(plan)
        noted = {part.target: part for part in self.job.partitions}
        self.job.partitions = parts_of(plan, self._planning.source, self.job.target_meta)
        for part in self.job.partitions:
            known = noted.get(part.target)
            if known is not None:
                part.sum, part.rows, part.base, part.copies, part.lacking = known.sum, known.rows, known.base, known.copies, known.lacking
                part.of_sum, part.of_rows = known.of_sum, known.of_rows
        foreseen = None if self._foresee is None else await self._foresee(self.job.source_id, plan)
        self.job.predicted_seconds, self.job.forks = plan.predicted_seconds if foreseen is None else foreseen, plan.forks

    async def _read(self) -> None:
        await in_parallel(self._env.tasks, self._read_one, self.job.partitions, lanes=self._options.lanes, name="restore read")

    async def _read_one(self, part: PartitionJob) -> None:
        rows = await self._rebuild(part)
        info = self._target.info(part.target)
        if part.base is None:
            part.base = await self._archive.upload_base(self._planning.source, self.job.target_meta, info, rows, at_us=self.job.at_us)
        part.sum, part.rows = rows.total.hex, rows.total.rows
        if rows.of is not None:
            part.of_sum, part.of_rows = rows.of.hex, rows.of.rows
        self._proven[part.target], self._rows[part.target] = rows.total, rows
        await self._steadily(self._save)
        self._tell(READ, len(self._proven))

    async def _rebuild(self, part: PartitionJob) -> RestoredRows:
        source = next(info for info in self._planning.source.partitions if info.partition_id == part.source)
        rows = await self._rebuilding.rows(source, path=self._path(part), part=self.job.part, progress=partial(self._tell_read, part))
        known = part.total
        if known is not None and rows.total != known:
            raise Corrupt(
                "the same cut was rebuilt to another state", what="rows", partition=part.source, expected=known.hex, found=rows.total.hex
            )
        return rows

    def _met(self, found: Finding) -> None:
        if len(self.job.findings) < FINDINGS_MAX and not any(known["object"] == found.object for known in self.job.findings):
            self.job.findings.append(ScrubFound(found).as_json())

    async def _load(self) -> None:
        await in_parallel(self._env.tasks, self._load_one, self.job.partitions, lanes=self._options.lanes, name="restore load")

    async def _load_one(self, part: PartitionJob) -> None:
        rows, path = self._rows[part.target], self._path(part)
        loaded = await self._target.load(part.target, path, rows.total, tree=rows.tree, treeless=rows.treeless)
        self._loaded[part.target], copies = loaded, loaded.copies
        part.copies = {node: (copies[node].hex, copies[node].rows) for node in sorted(copies)}
        part.lacking = {node: str(error) for node, error in sorted(loaded.lacking.items())}
        await self._steadily(self._save)
        self._archive.loaded(path)
        self._tell(LOAD, len(self._loaded))

    async def _confirm(self) -> None:
        """Publish if, and only if, every replica of every partition that could be reached, a quorum at least, recomputed, in this life, the digest and row count that the rebuild proved."""
        self._tell(CONFIRM, 0)
        began = self._env.clock.boot_us()
        if self._target.published:
            await self._publish()
            return
        wrong = [fault for part in self.job.partitions for fault in self._faults(part)]
        if wrong:
            self.job.state = DIFFERS
            self.job.error = {
                "code": "DigestsDiffer",
                "message": "what was loaded is not what was read: not published",
                "asked": f"restore of {self.job.source_name} to {self.job.target}",
                "found": "; ".join(wrong),
                "next": f"scrubjay restore cancel {self.job.target}, then restore again",
            }
        else:
            await self._publish()
        self._spent(CONFIRM, began)

    def _faults(self, part: PartitionJob) -> list[str]:
        return self._target.faults(part.target, self._proven[part.target], self._loaded.get(part.target, LoadedBase({}, {})))

    async def _publish(self) -> None:
        await self._target.publish()
        self.job.phase = self.job.state = PUBLISHED

    # ------------------------------------------------------------------ helpers

    def _path(self, part: PartitionJob) -> str:
        return self._archive.rows_path(self.job.target_id, part.target)

    async def _save(self) -> None:
        """One at a time: notes are compare-and-set, and two partitions that end at once must not take each other for a stranger."""
        async with self._saving:
            await note(self._port, self.job.key, self.job.as_notes())

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        return await steadily(self._env, call, tries=TRIES_MAX)

    async def _learn(self) -> None:
        """Rates are a nicety: if another restore notes its own at this moment, or the store is busy, the old ones stay."""
        seconds = self.job.seconds
        rates = learn(
            rates_of(self._port),
            raw=sum(part.raw for part in self.job.partitions),
            workers=min(self._options.lanes, len(self.job.partitions)),
            read_seconds=seconds.get(READ, 0.0),
            load_seconds=seconds.get(LOAD, 0.0),
            total_seconds=seconds.get("total", 0.0),
        )
        with suppress(ScrubjayError):
            await note(self._port, RATES_KEY, dict(rates._asdict()))

    def _spent(self, phase: str, began_us: int) -> None:
        self.job.seconds[phase] = self.job.seconds.get(phase, 0.0) + (self._env.clock.boot_us() - began_us) / 1e6

    def done(self) -> dict[str, tuple[float, float]]:
        """By the source's partitions: how much of it is read, and how much is loaded, 0 to 1. Of reading the log half is for what is written then."""
        found = {}
        for part in self.job.partitions:
            facts = self._reading.get(part.target, {})
            read = (facts.get("raw_bytes", 0) / part.raw if part.raw else 0.0) / 2
            if part.target in self._proven:
                read = 1.0
            elif facts.get("rows"):
                read = max(read, 0.5)
            found[part.source] = min(1.0, read), float(part.target in self._loaded)
        return found

    def _tell_read(self, part: PartitionJob, facts: Mapping[str, Any]) -> None:
        """What the rebuild of one partition has read or written so far."""
        self._reading[part.target] = facts
        moved = {name: facts[name] for name in ("raw_bytes", "rows") if name in facts}
        self.progress = {**{name: value for name, value in self.progress.items() if name not in ("raw_bytes", "rows")}, **moved}

    def _tell(self, phase: str, done: int) -> None:
        self.progress = {"phase": phase, "done": done, "total": len(self.job.target_meta.partitions), "unit": "partitions"}
