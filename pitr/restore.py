"""A restore to a new table: a coordinator that may be killed at any point and run again from its notes.

Order, and why a crash between any two steps is harmless:

1. notes (phase plan), then the target table: a target without notes cannot exist; notes without a target are carried on by making it.
2. plan: a target after `latest` first has every leader seal and waits for the archive. The plan is noted before anything is read.
3. read: each partition is rebuilt once, its rows become the first base of the new table's own archive; noted with the digest the rebuild proved.
   Run again, it gives the same bytes under the same names.
4. load: every replica loads that row file; the digest each recomputed from its own bytes is noted.
5. confirm: every copy of every partition equals, by digest and row count, what the rebuild proved; only then is the table published. One that differs is
   never published.

Notes say what was begun, never what is true: a life that carries on plans, rebuilds and recomputes everything anew. What was noted is compared with that,
and spares only what is made once (ids, the target, objects, loaded trees).

It never writes into an existing table: the target's ids are minted for this restore and its name is taken by a create that fails if it is owned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from scrubjay.archiver.format.fault import Fault
from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import RestoreArchive, RestoredRows, TableArchive
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
    next_step,
    note,
)
from scrubjay.pitr.plan import BaseFacts, History, PartitionPlan, Plan, Rates, learn, plan_table
from scrubjay.scrubber.evidence import ARCHIVE
from scrubjay.scrubber.report import Found
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import Finding, ServicePort

T = TypeVar("T")

RATES_KEY = "restore-rates"
POLL_S = 0.1
TRIES_MAX = 20
TRY_AGAIN_S = 0.5
ARCHIVE_LAGS = "ArchiveLags"
"""Code of the error when all that lacks is the archive's arrival: nothing is wrong, and nothing is proven."""
FOR_GOOD = Stamp((1 << 63) - 1)
"""Closed timestamp of a log that takes nothing more."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """archive_wait_s: how long a target after `latest` waits for leaders and archive. lanes: partitions at once."""

    archive_wait_s: float = 60.0
    lanes: int = 2


class Restore:
    """Runs one job to its end. `job` is the live state; it is noted through the port at every step."""

    def __init__(
        self, env: Env, port: ServicePort, archive: RestoreArchive, options: RestoreOptions, job: RestoreJob, source: TableMeta
    ) -> None:
        self._env = env
        self._port = port
        self._archive = archive
        self._options = options
        self.job = job
        self._source = source
        self._cut = last_stamp_at(job.at_us)
        self.progress: dict[str, Any] = {"phase": job.phase}
        self._plans: dict[str, PartitionPlan] = {}
        self._proven: dict[str, Total] = {}
        self._copies: dict[str, dict[NodeName, Total]] = {}
        self._rotted: list[str] = []
        self._saving = Gate(env.tasks)

    async def run(self) -> RestoreJob:
        """One life of the restore, from its first step. Ends as published, differs or failed; raises nothing but cancellation and our own bugs."""
        job = self.job
        job.state, job.error, job.finished_us = RUNNING, None, None
        began = self._env.clock.boot_us()
        try:
            await self._create()
            job.phase = CONFIRM if self._is_published() else PLAN
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

    async def _create(self) -> None:
        """Make the target unless an earlier run of this job has."""
        found = self._target()
        if found is None:
            await self._port.create_restoring(self.job.target_meta)
        elif found.name != self.job.target or found.restore_of is None:
            raise Conflict("the target's id belongs to another table", table=found.name)

    async def _plan(self) -> None:
        plan = await self._plan_once({}) if not self.job.beyond_latest else await self._plan_beyond()
        self._plans = {part.partition: part for part in plan.partitions}
        noted = {part.target: part for part in self.job.partitions}
        self.job.partitions = parts_of(plan, self._source, self.job.target_meta)
        for part in self.job.partitions:
            known = noted.get(part.target)
            if known is not None:
                part.sum, part.rows, part.base, part.copies = known.sum, known.rows, known.base, known.copies
        self.job.predicted_seconds = plan.predicted_seconds

    async def _plan_once(self, closed: dict[PartitionId, tuple[Stamp, Lsn]]) -> Plan:
        """Raises Missing (a hole), Unavailable (the archive does not reach the cut)."""
        self._lives()
        seen = await self._archive.look(self._source)
        closed = {**closed, **ends_reached(self._source, seen)}
        histories = [self._usable(with_closed(history, closed)) for history in seen.histories]
        return plan_table(histories, at_us=self.job.at_us, cut=self._cut, rates=self._rates(), workers=self._options.lanes)

    async def _plan_beyond(self) -> Plan:
        """A target after `latest`: by now the archive may have come so far by itself; else the leaders are asked, or the end of a dropped table awaited."""
        try:
            return await self._plan_once({})
        except Unavailable:
            pass
        try:
            if self._lives():
                return await self._plan_once(await self._reach())
        except (Unavailable, Missing):
            if self._lives():
                raise
        return await self._plan_dropped()

    def _lives(self) -> bool:
        """Whether the source's leaders may still be asked; it may be deleted while it is restored. Takes over what the catalogue says of it now."""
        self._source = next((table for table in self._port.tables() if table.table_id == self._source.table_id), self._source)
        return self._source.status not in ("DELETING", "DROPPED")

    async def _plan_dropped(self) -> Plan:
        """Raises Unavailable if the end of a dropped table's log does not come to the archive in time."""
        deadline = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        while True:
            try:
                return await self._plan_once({})
            except (Unavailable, Missing) as error:
                if self._env.clock.boot_us() >= deadline:
                    raise Unavailable(
                        "the end of the dropped table is not in the archive",
                        error_code=ARCHIVE_LAGS,
                        reason="archive_lags",
                        **{name: value for name, value in error.fields.items() if name in ("partition", "lsn", "last")},
                    ) from error
                await self._env.tasks.sleep(TRY_AGAIN_S)

    async def _reach(self) -> dict[PartitionId, tuple[Stamp, Lsn]]:
        """Have every partition sealed behind the cut and archived. The closed timestamp of each. Raises Unavailable in time."""
        deadline = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        ids = [info.partition_id for info in self._source.partitions]
        found = await in_parallel(self._env.tasks, lambda one: self._reach_one(one, deadline), ids, lanes=len(ids), name="restore seal")
        return dict(zip(ids, found, strict=True))

    async def _reach_one(self, partition: PartitionId, deadline_us: int) -> tuple[Stamp, Lsn]:
        while True:
            if not self._lives():
                raise Unavailable("the table was deleted meanwhile", partition=partition)
            point = self._port.closed_point(partition)
            if point is not None and point[0] >= self._cut:
                break
            if self._env.clock.boot_us() >= deadline_us:
                raise Unavailable("no leader has closed the target's moment in time", error_code=ARCHIVE_LAGS, partition=partition)
            await self._env.tasks.sleep(POLL_S)
        closed, last_content, last_seal = point
        if last_content > last_seal:
            seal = await self._port.seal(partition, reason=Seal.RESTORE)
            last_seal = seal.lsn
        left = max(0.0, (deadline_us - self._env.clock.boot_us()) / 1e6)
        if not await self._port.wait_archived(partition, last_seal, timeout_s=left):
            raise Unavailable(
                "the archive did not reach the target in time",
                error_code=ARCHIVE_LAGS,
                reason="archive_lags",
                partition=partition,
                lsn=last_seal,
            )
        return closed, last_content

    async def _read(self) -> None:
        await in_parallel(self._env.tasks, self._read_one, self.job.partitions, lanes=self._options.lanes, name="restore read")

    async def _read_one(self, part: PartitionJob) -> None:
        rows = await self._rebuild(part)
        info = self._info(part.target)
        if part.base is None:
            part.base = await self._archive.upload_base(self._source, self.job.target_meta, info, rows, at_us=self.job.at_us)
        part.sum, part.rows = rows.total.hex, rows.total.rows
        self._proven[part.target] = rows.total
        await self._steadily(self._save)
        self._tell(READ, len(self._proven))

    async def _rebuild(self, part: PartitionJob) -> RestoredRows:
        source = next(info for info in self._source.partitions if info.partition_id == part.source)
        while True:
            plan = self._plans[part.source]
            try:
                rows = await self._archive.rebuild(
                    self._source, source, plan, cut=self._cut, path=self._path(part), progress=self._tell_read
                )
            except (Corrupt, Missing) as error:
                self._met(part, error.fields.get("damage", ()))
                if plan.base is None or not _is_of(error, plan.base):
                    raise
                self._rotted.append(plan.base.object)  # the log behind an older base, or from its beginning, gives the same rows
                again = await self._plan_once({PartitionId(one.source): (self._cut, Lsn(one.to_lsn)) for one in self.job.partitions})
                self._plans = {one.partition: one for one in again.partitions}
            else:
                self._met(part, rows.damage)
                break
        if rows.proven < plan.to_lsn:
            raise Corrupt("the rebuild ended before the seal that proves it", what="rows", lsn=plan.to_lsn, found=rows.proven)
        known = part.total
        if known is not None and rows.total != known:
            raise Corrupt(
                "the same cut was rebuilt to another state", what="rows", partition=part.source, expected=known.hex, found=rows.total.hex
            )
        return rows

    def _met(self, part: PartitionJob, damage: Sequence[Fault]) -> None:
        """Keep what was found bad in the archive: in the notes, and of a table that scrubs still cover with what they tell next."""
        for one in damage:
            object_ = one.object
            segment = object_ if "/log/" in object_ else None
            found = Finding(
                one.kind, ARCHIVE, part.source, None, None, object_, one.lsn, segment, "read", "none", one.detail, self._env.clock.wall_us()
            )
            if self._lives():
                self._port.note(found)
            if len(self.job.findings) < FINDINGS_MAX and not any(known["object"] == object_ for known in self.job.findings):
                self.job.findings.append(Found(found).as_json())

    def _usable(self, history: History) -> History:
        return history._replace(bases=tuple(base for base in history.bases if base.object not in self._rotted))

    async def _load(self) -> None:
        await in_parallel(self._env.tasks, self._load_one, self.job.partitions, lanes=self._options.lanes, name="restore load")

    async def _load_one(self, part: PartitionJob) -> None:
        total = self._proven[part.target]
        path = self._path(part)
        target = PartitionId(part.target)
        try:
            copies = await self._steadily(lambda: self._port.load_base(target, rows=path, total=total))
        except Corrupt:
            self._archive.discard(path)
            raise
        self._copies[part.target] = copies
        part.copies = {node: (copies[node].hex, copies[node].rows) for node in sorted(copies)}
        await self._steadily(self._save)
        self._archive.discard(path)
        self._tell(LOAD, len(self._copies))

    async def _confirm(self) -> None:
        """Publish if, and only if, every replica of every partition recomputed, in this life, the digest and row count that the rebuild proved."""
        self._tell(CONFIRM, 0)
        began = self._env.clock.boot_us()
        if self._is_published():
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
        """What keeps a partition from being proven. Raises Unavailable if a replica gave no digest."""
        copies = self._copies.get(part.target, {})
        members = len(self._info(part.target).members)
        if len(copies) < members:
            raise Unavailable("not every replica has loaded its rows", partition=part.target, expected=members, found=len(copies))
        return faults_of(part.target, self._proven[part.target], copies)

    async def _publish(self) -> None:
        found = self._target()
        if found is None:
            raise Unavailable("the target is gone", error_code="ResourceNotFound", table=self.job.target)
        if not self._is_published():
            await self._steadily(lambda: self._port.publish(found.table_id))
        self.job.phase = self.job.state = PUBLISHED

    def _is_published(self) -> bool:
        """An earlier life confirmed and published it and died before it noted so: by now it may have been written to."""
        found = self._target()
        return found is not None and found.restore_of is not None and not found.restore_of.in_progress

    # ------------------------------------------------------------------ helpers

    def _target(self) -> TableMeta | None:
        return next((table for table in self._port.tables() if table.table_id == self.job.target_id), None)

    def _info(self, partition: str) -> PartitionInfo:
        return next(info for info in self.job.target_meta.partitions if info.partition_id == partition)

    def _path(self, part: PartitionJob) -> str:
        return f"{folder_of(self.job.target_id)}/{part.target}.rows"

    async def _save(self) -> None:
        """One at a time: notes are compare-and-set, and two partitions that end at once must not take each other for a stranger."""
        async with self._saving:
            await note(self._port, self.job.key, self.job.as_notes())

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try again while the store says "later": leaders move, nodes restart. Every call given here may be made twice. Raises the last Unavailable."""
        for _ in range(TRIES_MAX - 1):
            try:
                return await call()
            except Unavailable:
                await self._env.tasks.sleep(TRY_AGAIN_S)
        return await call()

    def _rates(self) -> Rates:
        return rates_of(self._port)

    async def _learn(self) -> None:
        """Rates are a nicety: if another restore notes its own at this moment, or the store is busy, the old ones stay."""
        seconds = self.job.seconds
        rates = learn(
            self._rates(),
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

    def _tell_read(self, facts: Mapping[str, Any]) -> None:
        """What the rebuild of one partition has read or written so far."""
        moved = {name: facts[name] for name in ("raw_bytes", "rows") if name in facts}
        self.progress = {**{name: value for name, value in self.progress.items() if name not in ("raw_bytes", "rows")}, **moved}

    def _tell(self, phase: str, done: int) -> None:
        self.progress = {"phase": phase, "done": done, "total": len(self.job.target_meta.partitions), "unit": "partitions"}


def faults_of(partition: str, proven: Total, copies: Mapping[NodeName, Total]) -> list[str]:
    """The copies that are not what the rebuild proved, by digest or by row count. Pure."""
    return [
        f"{partition} on {node}: {found.rows} rows, {found.hex} instead of {proven.rows} rows, {proven.hex}"
        for node, found in sorted(copies.items())
        if found.sum != proven.sum or found.rows != proven.rows
    ]


def ends_reached(source: TableMeta, seen: TableArchive) -> dict[PartitionId, tuple[Stamp, Lsn]]:
    """Of a dropped table, the partitions whose log the archive holds at its very end: closed for good there, at any time. Pure.

    Raises Corrupt if the archive has another end there than the catalogue: another history, which proves nothing about this table.
    """
    finals = {final.partition_id: final for final in source.finals}
    found: dict[PartitionId, tuple[Stamp, Lsn]] = {}
    for history in seen.histories:
        final = finals.get(history.partition)
        last = history.segments[-1] if history.segments else None
        if final is None or last is None or last.last < final.lsn:
            continue
        if last.last != final.lsn or last.chain.hex() != final.chain:
            raise Corrupt(
                "the archive ends otherwise than the dropped table did",
                what="chain", partition=history.partition, lsn=final.lsn, where=last.object, expected=final.chain, found=last.chain.hex(),
            )  # fmt: skip
        found[history.partition] = (FOR_GOOD, Lsn(final.lsn))
    return found


def folder_of(target_id: str) -> str:
    """Where the row files of a restore lie, below the data folder."""
    return f"tmp/restore/{target_id}"


def rates_of(port: ServicePort) -> Rates:
    """The rates learnt from earlier restores, or the built-in ones."""
    notes = port.jobs(RATES_KEY).get(RATES_KEY)
    try:
        return Rates() if notes is None else Rates(**{name: type(getattr(Rates(), name))(value) for name, value in notes.items()})
    except (TypeError, ValueError, AttributeError):
        return Rates()


def parts_of(plan: Plan, source: TableMeta, target: TableMeta) -> list[PartitionJob]:
    """Each source partition with the target's partition of the same range."""
    targets = {info.lo: info for info in target.partitions}
    sources = {info.partition_id: info for info in source.partitions}
    return [_part_of(part, targets[sources[part.partition].lo]) for part in plan.partitions]


def _is_of(error: ScrubjayError, base: BaseFacts) -> bool:
    """The error names an object of that base."""
    folder = base.object.rpartition("/")[0] + "/"
    return any(str(error.fields.get(name, "")).startswith(folder) for name in ("where", "what"))


def _part_of(plan: PartitionPlan, target: PartitionInfo) -> PartitionJob:
    return PartitionJob(
        source=plan.partition,
        target=target.partition_id,
        base_lsn=plan.base_lsn,
        segments=len(plan.segments),
        bytes=plan.bytes,
        raw=plan.raw,
        requests=plan.requests,
        from_lsn=plan.from_lsn,
        to_lsn=plan.to_lsn,
    )


def with_closed(history: History, closed: dict[PartitionId, tuple[Stamp, Lsn]]) -> History:
    """A closed timestamp that is known from a leader, or from the noted plan, beside what the archive itself tells."""
    said = closed.get(history.partition)
    return history if said is None else history._replace(closed=(*history.closed, said))
