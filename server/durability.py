"""The durability services of a server: archive status and windows, verify, scrub, heal, restore, over one archive, one ledger, one pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.gate import Gate
from scrubjay.base.ids import TableId
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.service import RestoreService
from scrubjay.pitr.source import ArchiveSource
from scrubjay.scrubber.healer import Healer
from scrubjay.scrubber.ledger import WHOLE, PartitionProof, Proof
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.rebuilt import ArchiveReferences
from scrubjay.scrubber.service import ScrubService
from scrubjay.scrubber.shelves import StoreShelves
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.windows import Windows, archived_here
from scrubjay.storage.catalogue import TableMeta

VERIFY_WORK = "tmp/verify"

Log = Callable[[str], None]


class DurabilityOptions(NamedTuple):
    """archive_url: as jobs open it. lag_alarm_us: age of unarchived content that is an alarm. max_offset_us: how far clocks may be apart.
    clock_ahead_us: how far the cluster's time may be ahead of this machine's clock, because somebody said so."""

    archive_url: str
    lag_alarm_us: int
    max_offset_us: int
    pitr_default: bool
    scrub: ScrubOptions
    restore: RestoreOptions
    clock_ahead_us: int = 0


class VerifyRuns:
    """`verify` against the server: the ledger remembers, and the archive's end is compared with the cluster's archived LSNs."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        disk: Disk,
        jobs: Jobs,
        ledger: SqliteLedger,
        control: Control,
        index: ArchiveIndex,
        options: DurabilityOptions,
    ) -> None:
        self._env, self._store, self._disk, self._jobs = env, store, disk, jobs
        self._ledger, self._control, self._index, self._options = ledger, control, index, options
        self._gate = Gate(env.tasks)

    async def verify(
        self, *, tables: Sequence[TableId] | None, level: str, budget_us: int | None, max_age_us: int, progress: ProgressSink
    ) -> Report:
        """See server.ports.VerifyPort. One run at a time."""
        async with self._gate:
            self._disk.mkdir(VERIFY_WORK)
            try:
                began = self._env.clock.boot_us()
                reports: list[VerifyReport] = []
                for table in (None,) if tables is None else tables:
                    left = None if budget_us is None else max(0, budget_us - (self._env.clock.boot_us() - began))
                    reports.append(await self._one(table, level, left, max_age_us, progress))
            finally:
                self._disk.remove_tree(VERIFY_WORK)
        return _merged(reports)

    async def _one(self, table: TableId | None, level: str, budget_us: int | None, max_age_us: int, progress: ProgressSink) -> VerifyReport:
        archived = [one for one in archived_here(self._control) if table in (None, one.table)]

        async def skip(objects: Sequence[str]) -> list[str]:
            if max_age_us <= 0:
                return []
            return await self._ledger.skip(objects, level=level, since_us=self._env.clock.wall_us() - max_age_us)

        async def proved(passed: Sequence[str], failed: Sequence[str]) -> None:
            at_us = self._env.clock.wall_us()
            if passed:
                self._index.trust(passed, level=level)
                await self._ledger.proved([Proof(key, level, at_us) for key in passed])
            if failed:
                self._index.distrust(failed, level=level)
                await self._ledger.failed(failed)

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
                members=frozenset(node.number for node in self._control.ports.values()),
                wall_us=self._env.clock.wall_us(),
                ahead_us=ahead_us(self._options),
            ),
            now_us=self._env.clock.boot_us,
            work=f"{VERIFY_WORK}/base",
            jobs=self._jobs,
            tasks=self._env.tasks,
            skip=skip,
            proved=proved,
            memory=LedgerMemory(self._ledger),
            progress=progress,
        )
        for finding in report.findings:
            if finding.object is not None:
                self._index.distrust([finding.object], kind=finding.kind, detail=finding.detail, level=level)
        tables = [one for one in self._control.service.tables() if table in (None, one.table_id)]
        await self._ledger.verified(verdicts(report, tables, whole=table is None, at_us=self._env.clock.wall_us()))
        return report


def verdicts(report: VerifyReport, tables: Sequence[TableMeta], *, whole: bool, at_us: int) -> list[PartitionProof]:
    """What the ledger keeps of a verify: a verdict for each partition it covered. Of one that was cut off, only what it found. Pure.

    tables: those it covered. whole: it covered everything, so what belongs to none of their partitions is told of as WHOLE.
    """
    if report.reason == "archive_gone":
        return []  # that is a fact of its own, and says nothing about objects that are out of sight
    places = {(table.table_id, info.partition_id) for table in tables for info in table.partitions}
    bad = {(finding.table, finding.partition) for finding in report.findings}
    proofs = []
    for table_id, partition in sorted(places):
        if (table_id, partition) in bad or (table_id, None) in bad:
            proofs.append(PartitionProof(partition, table_id, report.level, at_us, None, "mismatch", False, None, None))
        elif report.complete:
            proofs.append(PartitionProof(partition, table_id, report.level, at_us, None, "match", False, None, None))
    known = {table.table_id for table in tables}
    elsewhere = any(place not in places and not (place[1] is None and place[0] in known) for place in bad)
    if whole and (elsewhere or report.complete):
        proofs.append(PartitionProof(WHOLE, "", report.level, at_us, None, "mismatch" if elsewhere else "match", False, None, None))
    return proofs


class LedgerMemory:
    """scrubjay.archiver.verify.report.Memory: what the ledger remembers."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    async def partitions(self, cluster: str) -> list[tuple[str, str]]:
        return await self._ledger.known_partitions(cluster)

    async def objects(self, prefix: str) -> list[str]:
        return await self._ledger.known(prefix)


def ahead_us(options: DurabilityOptions) -> int:
    """How far ahead of this clock a timestamp in the archive may be: `max_clock_offset`, what was accepted, and a second for an answer that was slow."""
    return options.max_offset_us + options.clock_ahead_us + 1_000_000


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


class Durability:
    """archive, verify, scrub, restore: what the admin API asks. Also what the store asks (storage.control.backups.DurabilityPort)."""

    def __init__(
        self,
        windows: Windows,
        verify_runs: VerifyRuns,
        scrub: ScrubService,
        restore: RestoreService,
        healer: Healer,
        ledger: SqliteLedger,
        agents: Sequence[ArchiveAgent],
    ) -> None:
        self.archive, self.verify, self.scrub, self.restorer = windows, verify_runs, scrub, restore
        self._healer, self.ledger, self._agents = healer, ledger, agents

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        return self.archive.window(table)

    def hurry(self) -> None:
        """See storage.control.backups.DurabilityPort."""
        for agent in self._agents:
            agent.closed_soon()

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        return await self.restorer.restore_table(source, target, at_us=at_us, overrides=overrides)

    async def quiet(self) -> None:
        """End what writes by itself; a restore under way is carried on at the next start."""
        self._healer.stop()
        await self.restorer.stop()

    async def close(self) -> None:
        await self.quiet()
        self.archive.stop()
        await self.ledger.close()


def open_durability(
    env: Env,
    *,
    disk: Disk,
    control: Control,
    store: ObjectStore,
    meter: MeteredStore,
    writer: Writer,
    jobs: Jobs,
    ledger: SqliteLedger,
    options: DurabilityOptions,
    log: Log,
    agents: Sequence[ArchiveAgent] = (),
) -> Durability:
    """Build the services and start them; what a stop interrupted is resumed. disk: rooted at the data folder, where jobs work too.

    agents: those of this process, which can be asked to publish out of turn.
    """
    if ledger.set_aside is not None:
        log(f"the ledger could not be read and was set aside; what was verified before is not remembered; kept: {ledger.set_aside}")
    index = ArchiveIndex(store, writer.cluster, tasks=env.tasks, ahead_us=ahead_us(options))
    windows = Windows(env, store, index, meter, url=options.archive_url, lag_alarm_us=options.lag_alarm_us, log=log)
    windows.book = ledger
    windows.watch(control, agents)
    references = ArchiveReferences(
        env,
        jobs,
        disk,
        StoreShelves(store, index, env.clock, known=ledger.known),
        url=options.archive_url,
        writer=writer,
    )
    references.sweep()
    scrub = ScrubService(env, control.service, references, ledger, options.scrub, log=log)
    restore = RestoreService(
        env,
        control.service,
        ArchiveSource(env, jobs, disk, index, url=options.archive_url, writer=writer),
        options.restore,
        max_offset_us=options.max_offset_us,
        pitr_default=options.pitr_default,
        log=log,
    )
    healer = Healer(env, control.service, references, log=log)
    verify_runs = VerifyRuns(env, store, disk, jobs, ledger, control, index, options)
    durability = Durability(windows, verify_runs, scrub, restore, healer, ledger, agents)
    control.store.backups.durability = durability
    windows.start()
    healer.start()
    restore.resume_unfinished()
    return durability
