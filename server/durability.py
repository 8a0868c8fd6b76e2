"""The durability services of a server: archive status and windows, verify, scrub, heal, restore, over one archive, one ledger, one pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from scrubjay.archiver.expire.plan import Need
from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.pitr.backups import BackupService
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.service import Foresee, RestoreService
from scrubjay.pitr.source import ArchiveSource
from scrubjay.pitr.timeline.service import TimelineService
from scrubjay.pitr.transfer.exports import Exports
from scrubjay.pitr.transfer.imports import Imports
from scrubjay.scrubber.daily_index import DailyIndex
from scrubjay.scrubber.healer import Healer
from scrubjay.scrubber.ledger_keeping import LedgerKeeping
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.plan import live
from scrubjay.scrubber.rebuilt import ArchiveReferences
from scrubjay.scrubber.schedule.scheduler import Alarm, Scheduler
from scrubjay.scrubber.schedule.settings import HOUR_US
from scrubjay.scrubber.service import ScrubService
from scrubjay.scrubber.shelves import StoreShelves
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.backups import NamedBackups
from scrubjay.server.compaction import CompactRuns
from scrubjay.server.control import Control
from scrubjay.server.cut_histories import Recoveries
from scrubjay.server.duty import WORKS, Duty
from scrubjay.server.expiry import ExpireRuns
from scrubjay.server.nightly import nightly_jobs, open_schedule
from scrubjay.server.transfers import Transfers
from scrubjay.server.ttl.walker import TtlOptions, TtlWalker
from scrubjay.server.verifying import VerifyRuns
from scrubjay.server.windows import Windows
from scrubjay.storage.api.describe import table_arn
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control.ttl_items import ExpiredItems

Log = Callable[[str], None]
_FORGOTTEN = "what was verified before is not remembered"


class DurabilityOptions(NamedTuple):
    """archive_url: as jobs open it. lag_alarm_us: age of unarchived content that is an alarm. max_offset_us: how far clocks may be apart.
    clock_ahead_us: how far the cluster's time may be ahead of this machine's clock, because somebody said so. since_us: when the cluster was made, 0: not known.
    alone: no other process can work for this cluster (this one holds the lock of the only folder); else they agree on one that does (server/duty.py)."""

    archive_url: str
    lag_alarm_us: int
    max_offset_us: int
    pitr_default: bool
    scrub: ScrubOptions
    restore: RestoreOptions
    clock_ahead_us: int = 0
    since_us: int = 0
    alone: bool = False
    place: str = ""
    ttl: TtlOptions = TtlOptions()


class Durability:
    """archive, verify, scrub, expire, restore, timeline: what the admin API asks. Also what the store asks (storage.control.backups.DurabilityPort).

    More than 15 fields: a service each.
    """

    def __init__(
        self,
        windows: Windows,
        verify_runs: VerifyRuns,
        scrub: ScrubService,
        restore: RestoreService,
        healer: Healer,
        ledger: SqliteLedger,
        agents: Sequence[ArchiveAgent],
        telling: Telling,
        schedule: Scheduler,
        expire: ExpireRuns,
        compact: CompactRuns,
        timeline: TimelineService,
        named: NamedBackups,
        transfers: Transfers,
        duty: Duty,
        ttl: TtlWalker,
        recovered: Recoveries,
    ) -> None:
        self.duty, self.ttl, self._recovered = duty, ttl, recovered
        self.named, self.transfers = named, transfers
        self.telling, self.schedule, self.expire, self.compact = telling, schedule, expire, compact
        self.archive, self.verify, self.scrub, self.restorer, self.timeline = windows, verify_runs, scrub, restore, timeline
        self._healer, self.ledger, self._agents = healer, ledger, agents

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        return self.archive.window(table)

    def hurry(self) -> None:
        """See storage.control.backups.DurabilityPort."""
        hurry(self._agents)

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        return await self.restorer.restore_table(source, target, at_us=at_us, overrides=overrides)

    async def quiet(self) -> None:
        """End what writes by itself; a restore under way is carried on at the next start, or by the process that takes over."""
        self.duty.halt()
        self.schedule.stop()
        self.ttl.stop()
        self._recovered.stop()
        self.expire.stop()
        self._healer.stop()
        await self.restorer.stop()
        await self.transfers.stop()
        await self.duty.leave()

    async def close(self) -> None:
        await self.quiet()
        self.archive.stop()
        await self.ledger.close()


def hurry(agents: Sequence[ArchiveAgent]) -> None:
    for agent in agents:
        agent.closed_soon()


def ahead_us(options: DurabilityOptions) -> int:
    """How far ahead of this clock a timestamp in the archive may be: `max_clock_offset`, what was accepted, and a second for an answer that was slow."""
    return options.max_offset_us + options.clock_ahead_us + 1_000_000


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
    alarm: Alarm | None = None,
    trees: TreesHere | None = None,
    foresee: Foresee | None = None,
) -> Durability:
    """Build the services and start them; what a stop interrupted is resumed. disk: rooted at the data folder, where jobs work too.

    agents: those of this process, which can be asked to publish out of turn. trees: of this machine, where jobs and copies are on it; None: rows of a new table are loaded by each copy. foresee: measures what a restore will take; None: predictions go by
    what was learnt. alarm: what wakes the schedule; None: the timers of `env`.
    """
    telling = Telling(log)
    daily = DailyIndex(env, store, ledger, writer, log=log)
    keeping = LedgerKeeping(
        env, ledger, control.metadata, store, cluster=writer.cluster, tables=control.service.tables, log=log, recall=daily.recall
    )

    def lost(aside: str) -> None:
        log(f"the ledger could not be read and was set aside; {_FORGOTTEN}; kept: {aside}")
        env.tasks.spawn(keeping.rebuild(lost=True), name="ledger")

    def put_back(other: str) -> None:
        beside = f"; the file that was put in its place lies at {other}" if other else ""
        log(f"the ledger's file was deleted or exchanged while it was open, and is written anew: nothing of it is lost{beside}")

    def opened() -> None:
        aside = f"; the file could not be read and was set aside: {ledger.set_aside}" if ledger.set_aside is not None else ""
        log(f"the ledger's file can be opened again: what was noted meanwhile is in it, and what it knew is known{aside}")

    ledger.lost, ledger.put_back, ledger.opened = lost, put_back, opened
    telling.unsound = keeping.unsound
    if ledger.set_aside is not None:
        ledger.lost(ledger.set_aside)
    elif options.since_us and env.clock.wall_us() - options.since_us > HOUR_US:
        env.tasks.spawn(keeping.rebuild(), name="ledger")
    if ledger.trouble is not None:
        log(f"{_FORGOTTEN}, and what is verified now is remembered only by this process until it can be opened: {ledger.trouble}")
    control.store.changes.archive = ListedLog(store, writer.cluster, env.tasks)
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
        born=control.service.born,
    )
    references.sweep()
    scrub = ScrubService(env, control.service, references, ledger, options.scrub, log=log, telling=telling)
    source = ArchiveSource(env, jobs, disk, index, url=options.archive_url, writer=writer, trees=trees)
    restore = RestoreService(
        env,
        control.service,
        source,
        options.restore,
        max_offset_us=options.max_offset_us,
        pitr_default=options.pitr_default,
        log=log,
        ended=partial(telling.over, "restore"),
        foresee=foresee,
        items=lambda table: control.store.stats(table).rows,
    )
    timeline = TimelineService(env, control.service, restore.preparing, source, options.restore, control.store, disk, log=log)
    timeline.sweep()
    backups = BackupService(
        env, control.service, source, store, writer, restore, options.restore,
        hurry=lambda: hurry(agents), given_up=index.suspects.drop, lacks=control.store.version.lacks,
    )  # fmt: skip
    named = NamedBackups(env, backups, stats=control.store.stats, tables=control.service.tables, proven=windows.proven)
    exports = Exports(
        env, control.service, source, jobs, options.restore, restore.preparing, timeline, archive_url=options.archive_url, arn=table_arn,
        log=log, ended=partial(telling.over, "export"),
    )  # fmt: skip
    imports = Imports(
        env,
        control.service,
        source,
        jobs,
        options.restore,
        pitr_default=options.pitr_default,
        log=log,
        ended=partial(telling.over, "import"),
    )
    transfers = Transfers(exports, imports)
    healer = Healer(env, control.service, references, log=log)
    verify_runs = VerifyRuns(
        env,
        store,
        disk,
        jobs,
        ledger,
        control,
        index,
        ahead_us=ahead_us(options),
        telling=telling,
        log=log,
        noted=backups.noted,
        parallel=options.scrub.lanes,
    )

    def needs() -> list[Need]:
        return [*restore.needs(), *timeline.needs(), *backups.needs(), *exports.needs()]

    expire = ExpireRuns(
        env, store, disk, jobs, ledger, control, index, writer, needs=needs, gate=verify_runs.gate, log=log, telling=telling
    )

    compact = CompactRuns(
        env, store, disk, jobs, ledger, control, index, writer, locks=expire.locks.book, gate=verify_runs.gate, log=log, telling=telling
    )

    def base_due() -> frozenset[str]:
        parts = [(table, info) for table in live(control.service.tables()) for info in table.partitions]
        until = control.service.archived
        return frozenset(info.partition_id for table, info in parts if references.base_due(table, info, until=until(info.partition_id)))

    table = nightly_jobs(env, scrub, verify_runs, expire, compact, control, base_due=base_due, keep=keeping.keep, tell=daily.tell)
    schedule = open_schedule(env, control, table, alarm=alarm, since_us=options.since_us, alone=options.alone, log=log)

    walker = TtlWalker(
        env,
        control.metadata,
        control.store,
        ExpiredItems(env, control.fleet, control.store.write),
        expire.leaps,
        control.ports,
        options.ttl,
        log=log,
    )

    recovered = Recoveries(env, store, control.metadata, ledger, cluster=writer.cluster)

    def work() -> None:
        healer.start()
        recovered.start()
        schedule.start()
        walker.start()
        restore.resume_unfinished()
        transfers.resume_unfinished()

    async def begin() -> None:
        await control.metadata.settle()
        await control.metadata.load()  # what the process before this one noted
        control.store.tables.take_up()
        work()

    async def end() -> None:
        schedule.stop()
        walker.stop()
        recovered.stop()
        healer.stop()
        await restore.stop()
        await transfers.stop()

    duty = Duty(env, control.metadata, alone=options.alone, place=options.place, begin=begin, end=end, log=log)
    durability = Durability(
        windows, verify_runs, scrub, restore, healer, ledger, agents, telling, schedule, expire, compact, timeline, named, transfers, duty, walker, recovered
    )  # fmt: skip
    control.store.backups.durability = durability
    control.works = lambda: duty.state == WORKS
    windows.start()
    if options.alone:
        work()
    duty.start()
    return durability
