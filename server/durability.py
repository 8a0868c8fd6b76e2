"""The durability services of a server: archive status and windows, verify, scrub, heal, restore, over one archive, one ledger, one pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from archiver.agent import ArchiveAgent
from archiver.identity import Writer
from archiver.index import ArchiveIndex
from archiver.status import StoreFacts, TableFacts, archive_status, window_of_table
from archiver.verify import VerifyOptions, VerifyReport, verify
from base.env import Disk, Env, Jobs, ObjectStore, Task
from base.errors import ScrubjayError, Unavailable
from base.ids import PartitionId, TableId
from base.wrap.metered import MeteredStore
from pitr.restore import RestoreOptions
from pitr.service import RestoreService
from pitr.source import ArchiveSource
from scrubber.gather import Gate
from scrubber.healer import Healer
from scrubber.ledger import Proof, SqliteLedger
from scrubber.partition import ScrubOptions
from scrubber.rebuilt import ArchiveReferences
from scrubber.service import ScrubService
from scrubber.shelves import StoreShelves
from server.control import Control
from server.patience import within
from server.ports import ProgressSink, Report
from storage.control.catalogue import TableMeta

FOLLOW_S = 2.0
"""Between two cheap looks at the archive, which move the windows that the API shows."""
HURRY_S = 0.75
"""The same while somebody waits for a new table's first window: a little longer than an agent takes to publish (CLOSED_SOON_S)."""
STATUS_PATIENCE_S = 10.0
"""How long `archive status` waits for the store before it reports what was known last, and that the store does not answer."""
VERIFY_WORK = "tmp/verify"

Log = Callable[[str], None]


class DurabilityOptions(NamedTuple):
    """archive_url: as jobs open it. lag_alarm_us: age of unarchived content that is an alarm. max_offset_us: how far clocks may be apart."""

    archive_url: str
    lag_alarm_us: int
    max_offset_us: int
    pitr_default: bool
    scrub: ScrubOptions
    restore: RestoreOptions


class Windows:
    """Proven windows, kept up by following the archive. One look at a time."""

    def __init__(self, env: Env, store: ObjectStore, cluster: str, meter: MeteredStore, options: DurabilityOptions, log: Log) -> None:
        self._env, self._url, self._meter, self._lag_alarm_us, self._log = env, options.archive_url, meter, options.lag_alarm_us, log
        self.index = ArchiveIndex(store, cluster, tasks=env.tasks)
        self._gate = Gate(env.tasks)
        self._task: Task[None] | None = None
        self._seen = False
        self._hurried: Task[None] | None = None
        self.control: Control | None = None

    def start(self) -> None:
        self._task = self._env.tasks.spawn(self._follow(), name="windows")

    def stop(self) -> None:
        for task in (self._task, self._hurried):
            if task is not None:
                task.cancel()

    def hurry(self) -> None:
        """Look at the archive again after HURRY_S, not at the end of the pause."""
        if self._hurried is None and self._seen:
            self._hurried = self._env.tasks.spawn(self._look_soon(), name="windows, soon")

    async def _look_soon(self) -> None:
        try:
            await self._env.tasks.sleep(HURRY_S)
            async with self._gate:
                await self.index.follow(now_us=self._env.clock.wall_us())
        except ScrubjayError as error:
            self._log(f"the archive could not be followed: {error}")
        finally:
            self._hurried = None

    async def _follow(self) -> None:
        while True:
            try:
                async with self._gate:
                    now_us = self._env.clock.wall_us()
                    if self._seen:
                        await self.index.follow(now_us=now_us)
                    else:
                        await self.index.refresh(now_us=now_us)
                        self._seen = True
            except ScrubjayError as error:
                self._log(f"the archive could not be followed: {error}")
            await self._env.tasks.sleep(FOLLOW_S)

    async def _refresh(self) -> None:
        async with self._gate:
            await self.index.refresh(now_us=self._env.clock.wall_us())
            self._seen = True

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        """See storage.control.store.Durability."""
        found = window_of_table(self.index, _facts(table, None))
        if found.earliest_us is None or found.latest_us is None:
            return None
        return found.earliest_us, found.latest_us

    async def status(self, tables: Sequence[TableMeta]) -> Report:
        """`archive status`, from a fresh look."""
        reachable, last_error = True, None
        try:
            await within(self._env.tasks, self._refresh(), seconds=STATUS_PATIENCE_S, what="the object store does not answer in time")
        except Unavailable as error:
            reachable, last_error = False, str(error)
        except ScrubjayError as error:
            last_error = str(error)
        return archive_status(
            self.index,
            tables=[_facts(table, self.control) for table in tables],
            store=StoreFacts(self._url, reachable, last_error or self._meter.last_error),
            now_us=self._env.clock.wall_us(),
            lag_alarm_s=self._lag_alarm_us / 1e6,
        )


def _facts(table: TableMeta, control: Control | None) -> TableFacts:
    partitions = tuple(info.partition_id for info in table.partitions)
    if control is None:
        return TableFacts(table.table_id, table.name, partitions, table.dropped_at)
    unarchived = 0
    counts = {1: 0, 2: 0, 3: 0}
    known = False
    for partition in partitions:
        replicas = [node.replicas[partition] for node in control.nodes.values() if partition in node.replicas]
        if replicas:
            known = True
            best = max(replicas, key=lambda replica: (replica.segments.facts.archived, sum(replica.segments.facts.counts)))
            facts = best.segments.facts
            unarchived += sum(own.raw_size for own in facts.sealed) + (facts.size if facts.content else 0)
            for number in (1, 2, 3):
                counts[number] += facts.counts[number - 1]
    return TableFacts(table.table_id, table.name, partitions, table.dropped_at, unarchived, counts if known else None)


class VerifyRuns:
    """`verify` against the server: the ledger remembers, and the archive's end is compared with the cluster's archived LSNs."""

    def __init__(
        self, env: Env, store: ObjectStore, disk: Disk, jobs: Jobs, ledger: SqliteLedger, control: Control, cluster_id: str
    ) -> None:
        self._env, self._store, self._disk, self._jobs = env, store, disk, jobs
        self._ledger, self._control, self._cluster_id = ledger, control, cluster_id
        self._gate = Gate(env.tasks)

    async def verify(
        self, *, tables: Sequence[TableId] | None, level: str, budget_us: int | None, max_age_us: int, progress: ProgressSink
    ) -> Report:
        """See server.ports.VerifyService. One run at a time."""
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
        ends, owners = self._ends(table)

        async def skip(objects: Sequence[str]) -> list[str]:
            if max_age_us <= 0:
                return []
            return await self._ledger.skip(objects, level=level, since_us=self._env.clock.wall_us() - max_age_us)

        async def proved(passed: Sequence[str], failed: Sequence[str]) -> None:
            at_us = self._env.clock.wall_us()
            if passed:
                await self._ledger.proved([Proof(key, level, at_us) for key in passed])
            if failed:
                await self._ledger.failed(failed)

        return await verify(
            self._store,
            self._disk,
            options=VerifyOptions(level=level, cluster=self._cluster_id, table=table, budget_us=budget_us, ends=ends, tables=owners),
            now_us=self._env.clock.boot_us,
            work=f"{VERIFY_WORK}/base",
            jobs=self._jobs,
            skip=skip,
            proved=proved,
            progress=progress,
        )

    def _ends(self, table: TableId | None) -> tuple[dict[str, int], dict[str, str]]:
        """Archived LSN per partition that this process still hosts, and the table of each."""
        ends: dict[str, int] = {}
        owners: dict[str, str] = {}
        for meta in self._control.service.tables():
            for info in meta.partitions if table in (None, meta.table_id) else ():
                if any(info.partition_id in node.replicas for node in self._control.nodes.values()):
                    ends[info.partition_id] = self._control.service.archived(PartitionId(info.partition_id))
                    owners[info.partition_id] = meta.table_id
        return ends, owners


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
    """archive, verify, scrub, restore: what the admin API asks. Also what the store asks (storage.control.store.Durability)."""

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
        self._healer, self._ledger, self._agents = healer, ledger, agents

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        return self.archive.window(table)

    def hurry(self) -> None:
        """See storage.control.store.Durability."""
        for agent in self._agents:
            agent.closed_soon()
        self.archive.hurry()

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        return await self.restorer.restore_table(source, target, at_us=at_us, overrides=overrides)

    async def close(self) -> None:
        self._healer.stop()
        self.archive.stop()
        await self.restorer.stop()
        await self._ledger.close()


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
    windows = Windows(env, store, writer.cluster, meter, options, log)
    windows.control = control
    references = ArchiveReferences(
        env,
        jobs,
        disk,
        StoreShelves(store, writer.cluster, env.tasks, known=ledger.known),
        url=options.archive_url,
        writer=writer,
    )
    references.sweep()
    scrub = ScrubService(env, control.service, references, ledger, options.scrub, log=log)
    restore = RestoreService(
        env,
        control.service,
        ArchiveSource(env, jobs, disk, ArchiveIndex(store, writer.cluster, tasks=env.tasks), url=options.archive_url, writer=writer),
        options.restore,
        max_offset_us=options.max_offset_us,
        pitr_default=options.pitr_default,
        log=log,
    )
    healer = Healer(env, control.service, references, log=log)
    verify_runs = VerifyRuns(env, store, disk, jobs, ledger, control, writer.cluster)
    durability = Durability(windows, verify_runs, scrub, restore, healer, ledger, agents)
    control.store.durability = durability
    windows.start()
    healer.start()
    restore.resume_unfinished()
    return durability
