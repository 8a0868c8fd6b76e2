"""`verify` as the server keeps it: one run at a time, remembered by the ledger, the archive's end compared with the cluster's archived LSNs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.report import ArchiveFinding, VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.ids import TableId
from scrubjay.scrubber.evidence import ARCHIVE
from scrubjay.scrubber.ledger import LEVELS, READ, VERIFY, WHOLE, Ledger, PartitionProof, Proof, level_rank
from scrubjay.scrubber.telling import Telling
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.windows import archived_here
from scrubjay.storage.catalogue import TableMeta, every_partition
from scrubjay.storage.service_port import Finding

VERIFY_WORK = "tmp/verify"
PACE_LEAST_S = 0.001
"""A wait that is shorter than the clock can tell is no wait."""
PACE_S = 1.0
"""A run that is ahead of its pace waits no longer than this before it asks again whether it must end: behind a large object the wait is long."""
SKIP_MAX_US = 5 * 86_400_000_000
"""A proof of a partition by a verify that skipped what was proven longer ago than this is dated by the oldest that it may have skipped, and not by its end: else a
partition could be called verified for ever."""

T = TypeVar("T")
Log = Callable[[str], None]


class Pace(NamedTuple):
    """How a run must go that nobody waits for. stop(bytes read): why it must end here, None: it goes on. rate_bytes: per second, None: no bound."""

    stop: Callable[[int], str | None]
    rate_bytes: int | None = None


class VerifyRuns:
    """`verify` against the server. A ledger that cannot be used costs the memory of the run, never the run: the log says so."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        disk: Disk,
        jobs: Jobs,
        ledger: Ledger,
        control: Control,
        index: ArchiveIndex,
        *,
        ahead_us: int,
        telling: Telling,
        log: Log,
        noted: Callable[[], Sequence[str]] = tuple,
        parallel: int = 1,
    ) -> None:
        """parallel: partitions looked at at once. ahead_us: how far ahead of this clock a timestamp in the archive may be. noted: keys of the backups' pins that this cluster remembers."""
        self._env, self._store, self._disk, self._jobs = env, store, disk, jobs
        self._ledger, self._control, self._index, self._ahead_us = ledger, control, index, ahead_us
        self._telling, self._log, self._noted = telling, log, noted
        self._parallel = parallel
        self.gate = Gate(env.tasks)

    async def verify(
        self,
        *,
        tables: Sequence[TableId] | None,
        level: str,
        budget_us: int | None,
        max_age_us: int,
        progress: ProgressSink,
        pace: Pace | None = None,
    ) -> Report:
        """See server.ports.VerifyPort. One run at a time. `left`: partitions of which it cannot say that it looked at all; at least 1 if anything is left."""
        async with self.gate:
            memory = _Memory(self._ledger, self._log)
            self._disk.mkdir(VERIFY_WORK)
            began, started_us = self._env.clock.boot_us(), self._env.clock.wall_us()
            run = await memory.told(self._ledger.begin_run(started_us, kind=VERIFY), None)
            try:
                reports: list[VerifyReport] = []
                left = 0
                for table in (None,) if tables is None else tables:
                    rest_us = None if budget_us is None else max(0, budget_us - (self._env.clock.boot_us() - began))
                    report = await self._one(table, level, rest_us, max_age_us, progress, pace, memory, run)
                    reports.append(report)
                    # What belongs to no table that is there (a dropped one, closed objects) is left too: a round is through when all is read.
                    left += 0 if report.complete else max(1, len(self._places(table) - {*report.covered}))
            finally:
                self._disk.remove_tree(VERIFY_WORK)
            merged: Report = {**_merged(reports), "left": left}
            self._telling.tell(VERIFY, merged, self._env.clock.boot_us() - began)
            if run is not None:
                finished_us = self._env.clock.wall_us()
                ended = self._ledger.end_run(run, finished_us=finished_us, verdict=str(merged["verdict"]), healed=False, report=merged)
                await memory.told(ended, None)
        return merged

    def _tables(self, table: TableId | None) -> list[TableMeta]:
        return [one for one in self._control.service.tables() if table in (None, one.table_id)]

    def _places(self, table: TableId | None) -> set[tuple[str, str]]:
        return {(one.table_id, info.partition_id) for one in self._tables(table) for info in every_partition(one)}

    async def _oldest_first(self, table: TableId | None, memory: _Memory) -> list[tuple[str, str]]:
        """Partitions, the one verified longest ago first: a night that is too short for all of them must not leave out the same ones each time. What is dated later
        than now was dated by a clock that ran ahead."""
        now_us = self._env.clock.wall_us()
        at: dict[str, int] = {}
        for proof in await memory.told(self._ledger.partitions(), []):
            if proof.depth in LEVELS and proof.at_us <= now_us:
                at[proof.partition] = max(proof.at_us, at.get(proof.partition, 0))
        return sorted(self._places(table), key=lambda place: (at.get(place[1], -1), place))

    async def _one(
        self,
        table: TableId | None,
        level: str,
        budget_us: int | None,
        max_age_us: int,
        progress: ProgressSink,
        pace: Pace | None,
        memory: _Memory,
        run: int | None,
    ) -> VerifyReport:
        archived = [one for one in archived_here(self._control) if table in (None, one.table)]
        began, read, started_us = self._env.clock.boot_us(), 0, self._env.clock.wall_us()

        def tell(facts: Report) -> None:
            nonlocal read
            read = int(facts.get("bytes", read))
            progress(facts)

        async def skip(objects: Sequence[str]) -> list[str]:
            if max_age_us <= 0:
                return []
            now_us = self._env.clock.wall_us()
            return await memory.told(self._ledger.skip(objects, level=level, since_us=now_us - max_age_us, until_us=now_us), [])

        async def proved(passed: Sequence[str], failed: Sequence[str]) -> None:
            at_us = self._env.clock.wall_us()
            if passed:
                self._index.trust(passed, level=level)
                await memory.told(self._ledger.proved([Proof(key, level, at_us, run) for key in passed]), None)
            if failed:
                self._index.distrust(failed, level=level)
                await memory.told(self._ledger.failed(failed), None)
            while pace is not None and pace.rate_bytes is not None and pace.stop(read) is None:
                ahead_s = read / pace.rate_bytes - (self._env.clock.boot_us() - began) / 1e6
                if ahead_s <= 0:
                    break
                await self._env.tasks.sleep(min(max(ahead_s, PACE_LEAST_S), PACE_S))

        report = await verify(
            self._store,
            self._disk,
            options=VerifyOptions(
                level=level,
                cluster=self._index.cluster,
                table=table,
                budget_us=budget_us,
                archived=archived,
                expected=self._index.newest_heard(),
                members=frozenset(
                    [node.number for node in self._control.ports.values()]
                    + [member.number for member in self._control.metadata.nodes.values()]  # one that was removed may be in no file any more
                ),
                wall_us=self._env.clock.wall_us,
                ahead_us=self._ahead_us,
                stop=None if pace is None else pace.stop,
                first=() if pace is None else await self._oldest_first(table, memory),
                noted=self._noted,
                parallel=self._parallel,
            ),
            now_us=self._env.clock.boot_us,
            work=f"{VERIFY_WORK}/base",
            jobs=self._jobs,
            tasks=self._env.tasks,
            skip=skip,
            proved=proved,
            memory=memory,
            progress=tell,
        )
        for finding in report.findings:
            if finding.object is not None:
                self._index.distrust([finding.object], kind=finding.kind, detail=finding.detail, level=level)
            if finding.partition is not None:
                self._control.service.note(_outside_a_scrub(finding, finding.partition, self._env.clock.wall_us()))
        await self._remember(report, table, started_us - max_age_us, max_age_us, memory, run)
        return report

    async def _remember(
        self, report: VerifyReport, table: TableId | None, since_us: int, max_age_us: int, memory: _Memory, run: int | None
    ) -> None:
        """A proof for each partition. since_us: before that nothing was read that the run reckons with; it read for hours, and skipped what was fresh when it began.
        One that says match is dated as READ is, where what was skipped may be old, and takes the place of no newer one."""
        now_us = self._env.clock.wall_us()
        proofs = verdicts(report, self._tables(table), whole=table is None, at_us=now_us, run=run)
        if max_age_us > SKIP_MAX_US:
            proofs = [proof._replace(at_us=since_us) if proof.verdict == "match" else proof for proof in proofs]
        if table is None and report.complete and level_rank(report.level) >= level_rank("objects"):
            proofs.append(PartitionProof(WHOLE, "", READ, since_us, None, report.verdict, False, None, None, run))
        known = await memory.told(self._ledger.partitions(), [])
        newer = {(one.partition, one.depth) for one in known if since_us < one.at_us <= now_us}
        dated = [one for one in proofs if one.at_us == now_us or (one.partition, one.depth) not in newer]
        await memory.told(self._ledger.verified(dated), None)


def _outside_a_scrub(found: ArchiveFinding, partition: str, at_us: int) -> Finding:
    """As it is kept until a scrub of the partition tells of it. Pure."""
    return Finding(
        found.kind, ARCHIVE, partition, None, None, found.object, found.lsn, found.segment, VERIFY, "none", found.detail, at_us
    )  # fmt: skip


def verdicts(report: VerifyReport, tables: Sequence[TableMeta], *, whole: bool, at_us: int, run: int | None = None) -> list[PartitionProof]:
    """What the ledger keeps of a verify: a verdict for each partition it covered. Of one that was cut off, what it found, and those it had looked at whole. Pure.

    tables: those it covered. whole: it covered everything, so what belongs to none of their partitions is told of as WHOLE.
    """
    if report.reason == "archive_gone":
        return []  # that is a fact of its own, and says nothing about objects that are out of sight
    places = {(table.table_id, info.partition_id) for table in tables for info in every_partition(table)}
    bad = {(finding.table, finding.partition) for finding in report.findings}
    proofs = []
    for table_id, partition in sorted(places):
        if (table_id, partition) in bad or (table_id, None) in bad:
            proofs.append(PartitionProof(partition, table_id, report.level, at_us, None, "mismatch", False, None, None, run))
        elif report.complete or (table_id, partition) in report.covered:
            proofs.append(PartitionProof(partition, table_id, report.level, at_us, None, "match", False, None, None, run))
    known = {table.table_id for table in tables}
    elsewhere = any(place not in places and not (place[1] is None and place[0] in known) for place in bad)
    if whole and (elsewhere or report.complete):
        proofs.append(PartitionProof(WHOLE, "", report.level, at_us, None, "mismatch" if elsewhere else "match", False, None, None, run))
    return proofs


class _Memory:
    """scrubjay.archiver.verify.report.Memory: what the ledger remembers, for one run. The first trouble with the ledger is one line."""

    def __init__(self, ledger: Ledger, log: Log) -> None:
        self._ledger, self._log = ledger, log
        self._said = False

    async def told(self, work: Awaitable[T], instead: T) -> T:
        """What the ledger answers; `instead` if it cannot be used."""
        try:
            return await work
        except Unavailable as error:
            if not self._said:
                self._log(f"the ledger could not be used, this verify is remembered only in part: {error}")
            self._said = True
            return instead

    async def partitions(self, cluster: str) -> list[tuple[str, str]]:
        return await self.told(self._ledger.known_partitions(cluster), [])

    async def objects(self, prefix: str) -> list[str]:
        return await self.told(self._ledger.known(prefix), [])


def _merged(reports: Sequence[VerifyReport]) -> Report:
    """One report of several runs: sums, the worst verdict."""
    merged = reports[0]
    for other in reports[1:]:
        merged.checked += other.checked
        merged.skipped_fresh += other.skipped_fresh
        merged.failed += other.failed
        merged.bytes += other.bytes
        merged.findings += other.findings
        merged.complete = merged.complete and other.complete
        merged.reason = merged.reason or other.reason
    return {**merged.as_json(), "error": None}
