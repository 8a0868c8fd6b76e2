"""Retention as a server runs it: over its catalogue, one run at a time, never beside a verify of its own. By hand a person sees the plan and vouches for it
(`expire`); by the schedule nobody does (`nightly`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from scrubjay.archiver.expire.plan import DAY_US, KEEP_MAX_US, Need, Wanted
from scrubjay.archiver.expire.report import DONE, FAILED, INCOMPLETE, REFUSED, ExpireReport
from scrubjay.archiver.expire.run import ExpireParts, Expirer
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.jobs import run_check
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.pitr.abandoned import PREFIX as ABANDONED
from scrubjay.pitr.abandoned import load_abandoned
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome, Work
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.control import Control
from scrubjay.server.leaps import LeapWatch
from scrubjay.server.lock_notes import UNLOCKED, LockNotes, LockWatch
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.quarantine import AgedTrees, SetAside
from scrubjay.server.retentions import Retentions, own_retention_us
from scrubjay.server.windows import archived_here
from scrubjay.storage.catalogue import METADATA_TABLE, TableMeta, every_partition, without_past
from scrubjay.storage.control.metadata import Metadata

WORDS = {DONE: "done", FAILED: "failed", INCOMPLETE: "incomplete", REFUSED: "refused"}
"""What a run's exit code is called where runs are counted."""


class ExpireRuns:
    """needs: what restores read, asked before every delete; never waits. gate: held by a verify while it reads.

    More than 15 fields: all that says what is needed, how old it is, and who is told, is wired here once.
    """

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        disk: Disk,
        jobs: Jobs,
        ledger: SqliteLedger,
        control: Control,
        index: ArchiveIndex,
        writer: Writer,
        *,
        needs: Callable[[], Sequence[Need]],
        gate: Gate,
        log: Callable[[str], None],
        telling: Telling,
    ) -> None:
        self._telling = telling
        self._env, self._store, self._disk, self._jobs = env, store, disk, jobs
        self._ledger, self._control, self._index, self._writer = ledger, control, index, writer
        self._needs, self._gate, self._log = needs, gate, log
        self._leaps = LeapWatch(env.clock, disk)
        self._retentions = Retentions(control.metadata)
        self.locks = LockWatch(LockNotes(control.metadata), store.locks_us, log)
        self._cut_at: Wanted | None = None
        """Where the last run of the schedule was cut off."""
        self._leaps.begin(env.tasks)

    @property
    def leaps(self) -> LeapWatch:
        """What is known of this machine's clock, for whoever else calls anything old."""
        return self._leaps

    def stop(self) -> None:
        """Look at the clock no more."""
        self._leaps.stop()

    async def expire(self, *, tables: Sequence[TableId] | None, keep_us: int | None, confirm: bool, progress: ProgressSink) -> Report:
        """See server.ports.ExpirePort."""
        wanted = self._wanted(tables, keep_us)
        async with self._gate:
            began_us = self._env.clock.boot_us()
            expirer = Expirer(self._parts(progress), keep_us=keep_us, attended=True)
            closed_keep_us = _closed_keep_us(wanted) if tables is None else None
            if not confirm:
                report = await expirer.plan(wanted, closed_keep_us=closed_keep_us)
                return self._by_this_clock(self._told(report.as_json(), await self._aged(report, act=False)))
            self._check_clock()
            if keep_us is None:
                await self._retentions.confirm(self._tables(tables))
            report = await expirer.run(wanted, closed_keep_us=closed_keep_us)
            await self.locks.over(report.locks, report, whole=tables is None)
            return await self._over(report, began_us)

    async def nightly(self, shift: Shift) -> Report:
        """A run that nobody looks at: it goes by what it is sure of. Where it was cut off the next one begins. Raises Unsafe (the clock has leapt), Fenced, Unavailable."""

        def untold(_facts: dict[str, Any]) -> None:
            """Nobody waits."""

        async with self._gate:
            began_us = self._env.clock.boot_us()
            wanted = [one._replace(keep_us=self._keeps_us(one)) for one in self._wanted(None, None)]
            try:
                self._check_clock()
            except Unsafe:
                # Nothing is old by such a clock. But no store takes requests of one that is far off: what it locks further it locks rightly.
                expirer = Expirer(self._parts(untold), keep_us=None, attended=False, stop=shift.stop)
                await self.locks.over(await expirer.keep_locked(wanted, closed_keep_us=_closed_keep_us(wanted)), None, whole=False)
                raise
            first = next((number for number, one in enumerate(wanted) if self._same_place(one)), 0)
            expirer = Expirer(self._parts(untold), keep_us=None, attended=False, ahead_us=self._leaps.ahead_us, stop=shift.stop)
            report = await expirer.run([*wanted[first:], *wanted[:first]], closed_keep_us=_closed_keep_us(wanted))
            self._cut_at = report.left[0] if report.left else None
            await self.locks.over(report.locks, report, whole=True)
            if not report.doubted:  # by a time that nobody vouches for no grace begins, and none ends
                await self._settle(report)
            return await self._over(report, began_us)

    async def _settle(self, report: ExpireReport) -> None:
        """Retentions that were shortened, as this run saw them. One that cannot be noted now is noted by the next run, and what counted before counts till then."""
        try:
            begun = await self._retentions.settle(self._tables(None), now_us=report.now_us, dated_us=report.dated_us)
        except ScrubjayError as error:
            self._log(f"what tables are told to keep could not be noted: {error}")
            return
        for table, shortened in begun:
            told, counts = shortened.told_us / DAY_US, shortened.counts_us / DAY_US
            self._log(
                f"{table.name} is to keep {told:g} days: what the {counts:g} before asked for stays until {shortened.as_json()['until']},"
                " unless expire run is confirmed"
            )

    def _parts(self, progress: ProgressSink) -> ExpireParts:
        return ExpireParts(
            env=self._env, store=self._store, index=self._index, writer=self._writer, prove=self._prove, holds=self._needs,
            archived=lambda: archived_here(self._control), afresh=self._afresh, forget=self._forget, untold=self._untold,
            progress=progress, locks=self.locks.book(),
        )  # fmt: skip

    async def _over(self, report: ExpireReport, began_us: int) -> Report:
        """What is no object of the archive goes too; then it is told. began_us: of the run, on the boot clock."""
        answer = report.as_json()
        try:
            await self._forget_tables(report)
            aged = await self._aged(report, act=not report.doubted)
            for path in aged.old if not report.doubted else ():
                self._log(f"evidence is older than its findings and went: {path}")
        except ScrubjayError as error:
            self._log(f"what is no object of the archive goes with the next run: {error}")
            aged = await self._aged(report, act=False)
        self._telling.over("expire", WORDS[int(answer["exit"])], self._env.clock.boot_us() - began_us)
        why = f"; {answer['error']['message']}" if answer["error"] else ""
        self._log(
            f"expired {answer['totals']['deleted']} objects, {answer['totals']['freed']} bytes; exit {answer['exit']}{why}"
            + "".join(f"; {one['table']}: {one['refused']}" for one in answer["tables"] if one["refused"])
        )
        return self._told(answer, aged)

    async def _aged(self, report: ExpireReport, *, act: bool) -> AgedTrees:
        """Trees set aside; what an open finding names stays. Off the loop: a tree of gigabytes takes its time. Raises DiskFull where it is to act."""
        places = [info.partition_id for table in self._tables(None) for info in table.partitions]
        needed = {found.evidence for place in places for found in self._control.service.findings(place) if found.evidence is not None}
        trees = SetAside(self._disk)
        work = trees.age if act else trees.look
        return await self._env.tasks.blocking(lambda: work(now_us=report.now_us, dated_us=report.dated_us, needed=needed))

    async def _forget_tables(self, report: ExpireReport) -> None:
        """Dropped tables of which the archive holds nothing any more leave the catalogue, and so do the notes of restores that were cancelled. Raises Unavailable, Conflict."""
        empty: dict[str, set[str]] = {}
        for outcome in report.outcomes:
            if outcome.nothing_left:
                empty.setdefault(outcome.plan.wanted.table, set()).add(outcome.plan.wanted.partition)
        for table in self._tables(list(map(TableId, empty))):
            if table.status == "DROPPED" and {info.partition_id for info in every_partition(table)} <= empty[table.table_id]:
                await self._retentions.forget(table)
                await self._control.metadata.remove_table(table.table_id)
                self._log(f"{table.name}, dropped, has left the archive and the catalogue")
            elif table.status != "DROPPED":
                await forget_past(self._control.metadata, table, empty[table.table_id], self._log)
        given_up: dict[str, set[str]] = {}
        for one in self._abandoned():
            given_up.setdefault(one.table, set()).add(one.partition)
        for table_id, partitions in given_up.items():
            if partitions <= empty.get(table_id, set()):
                await self._control.metadata.put_job(ABANDONED + table_id, None)

    def _told(self, answer: Report, aged: AgedTrees) -> Report:
        """With what is not visible in the archive: evidence, and which tables were told to keep less than what counts."""
        answer["evidence"] = aged.as_json()
        shortened = {table.table_id: self._retentions.shortened(table) for table in self._tables(None)}
        for one in answer["tables"]:
            found = shortened.get(one["table_id"])
            one["shortened"] = None if found is None else found.as_json()
        return answer

    def _by_this_clock(self, answer: Report) -> Report:
        """A plan that no run would carry out now is refused as the run is, and shows what would go all the same."""
        try:
            self._check_clock()
        except Unsafe as error:
            told = {"code": error.code, "message": error.message, "asked": None, "found": None, "next": error.fields["next"]}
            answer |= {"clock": error.message, "exit": answer["exit"] or REFUSED, "error": answer["error"] or told}
        return answer

    def _check_clock(self) -> None:
        self._leaps.look()
        if self._leaps.doubt is not None:
            raise Unsafe(self._leaps.doubt, next="see to the clock; if it is right, nothing is to be done: this ends by itself")

    def _tables(self, asked: Sequence[TableId] | None) -> list[TableMeta]:
        return [table for table in self._control.service.tables() if asked is None or table.table_id in asked]

    def _keeps_us(self, wanted: Wanted) -> int:
        """What counts where nobody looks."""
        table = next((one for one in self._tables(None) if one.table_id == wanted.table), None)
        return wanted.keep_us if table is None else max(wanted.keep_us, self._retentions.keep_us(table))

    def _same_place(self, wanted: Wanted) -> bool:
        return self._cut_at is not None and (wanted.table, wanted.partition) == (self._cut_at.table, self._cut_at.partition)

    def _wanted(self, tables: Sequence[TableId] | None, keep_us: int | None) -> list[Wanted]:
        """Every partition of the tables as the catalogue has them. The metadata group keeps what it keeps, whatever is asked of the tables: a recovery to any
        of their moments needs it. Raises Unsafe if less is to be kept than a table's own retention."""
        archived = {(one.table, one.partition): one.lsn for one in archived_here(self._control)}
        wanted = []
        for table in self._tables(tables):
            own_us = own_retention_us(table)
            if keep_us is not None and keep_us < own_us and table.name != METADATA_TABLE:
                raise Unsafe(
                    "less than the table's own retention: its window would shrink",
                    asked=f"--keep {keep_us / DAY_US:g}d",
                    found=f"{table.name} keeps {own_us / DAY_US:g} days",
                    next="UpdateContinuousBackups with RecoveryPeriodInDays changes a table's retention",
                )
            keeps_us = max(keep_us or 0, own_us)
            finals = {final.partition_id: final for final in table.finals} if table.archived_at is not None else {}
            for info in table.partitions:
                final = finals.get(info.partition_id)
                wanted.append(
                    Wanted(
                        table.table_id, table.name, info.partition_id, archived.get((table.table_id, info.partition_id), 0), keeps_us,
                        table.dropped_at, final.lsn if final is not None else None, final.stamp if final is not None else 0,
                    )
                )  # fmt: skip
            for former in table.former or ():
                final_lsn = former.final.lsn if former.archived_at is not None else None
                wanted.append(
                    Wanted(
                        table.table_id, table.name, former.info.partition_id, archived.get((table.table_id, former.info.partition_id), 0),
                        keeps_us, former.closed_us, final_lsn, former.final.stamp, heirs=(former.split.left, former.split.right),
                    )
                )  # fmt: skip
        return wanted if tables is not None else [*wanted, *self._abandoned()]

    def _abandoned(self) -> list[Wanted]:
        """What cancelled restores left behind. A table that the catalogue has is never among them."""
        known = {table.table_id for table in self._tables(None)}
        found = []
        for key, notes in sorted(self._control.metadata.jobs.items()):
            table, given_up = key.removeprefix(ABANDONED), load_abandoned(notes) if key.startswith(ABANDONED) else None
            if given_up is not None and table not in known:
                name, at_us = given_up.name, given_up.at_us
                found += [Wanted(table, name, one, 0, KEEP_MAX_US, at_us, abandoned=True) for one in given_up.partitions]
        return found

    def _afresh(self, wanted: Wanted) -> Wanted | None:
        """Kept for as long as the catalogue says by now, if that is longer: a retention may be raised while a run goes on."""
        table = next((one for one in self._tables(None) if one.table_id == wanted.table), None)
        if (table is None) is not wanted.abandoned:
            return None
        if table is None:
            return wanted
        return wanted._replace(keep_us=max(wanted.keep_us, own_retention_us(table)))

    async def _prove(self, base: BaseManifest) -> Sequence[Fault]:
        """In a worker process: it reads every row."""
        return await run_check(self._store, self._disk, self._jobs, what="base", base=base, deep=True)

    async def _untold(self, since_us: int) -> bool:
        """A ledger that cannot be asked knows of nothing that was told."""
        try:
            return await self._ledger.untold(self._index.cluster, since_us=since_us, now_us=self._env.clock.wall_us())
        except ScrubjayError as error:
            self._log(f"the daily index stays as it is, the ledger does not say what was told: {error}")
            return True

    async def _forget(self, keys: Sequence[str]) -> None:
        try:
            await self._ledger.forget(keys)
        except ScrubjayError as error:
            self._log(f"the ledger goes on remembering what has expired: {error}")


async def forget_past(metadata: Metadata, table: TableMeta, empty: Collection[str], log: Callable[[str], None]) -> None:
    """Former partitions of a table of which the archive holds nothing any more leave the catalogue. empty: such partitions. Raises Unavailable, Conflict."""
    known = metadata.tables.get(table.table_id)
    changed = None if known is None else without_past(known, [PartitionId(one) for one in empty])
    if known is not None and changed is not None:
        await metadata.put_table(changed)
        log(
            f"{table.name}: {len(known.former or ()) - len(changed.former or ())} partitions that were split have left the archive and the catalogue"
        )


def _closed_keep_us(wanted: Sequence[Wanted]) -> int:
    """Closed objects are of all tables: the longest retention of any."""
    return max((one.keep_us for one in wanted), default=KEEP_MAX_US)


# --- by the schedule ---


def expire_work(expire: ExpireRuns) -> Work:
    async def work(shift: Shift) -> ShiftOutcome:
        try:
            return expire_outcome(await expire.nightly(shift))
        except Unsafe as error:
            return ShiftOutcome(WORDS[REFUSED], 0, 1, str(error))

    return work


def expire_outcome(report: Report) -> ShiftOutcome:
    """What came of a run of the schedule. What was refused is not done: if that lasts, the job is overdue. What the store kept for now goes later. Pure."""
    parts = [part for table in report["tables"] for part in table["partitions"]]
    bad = sum(part["refused"] is not None or part["error"] is not None for part in parts)
    word, why = WORDS[int(report["exit"])], report["cut"]
    if report["exit"] == DONE and not report["totals"]["deleted"]:
        word = "nothing_due"
    if report["error"] is not None:
        why, bad = report["error"]["message"], max(bad, 1)
    elif report["exit"] in (INCOMPLETE, REFUSED):
        refused = [f"{one['table']}: {one['refused']}" for one in report["tables"] if one["refused"]]
        held = [f"{one['table']}: {held['by']} {held['name']}: {held['detail']}" for one in report["tables"] for held in one["held"]]
        why = next(iter([*refused, *held]), "the store kept what was to go")
    if report["locks"] is not None and report["locks"]["error"] is not None and report["exit"] == INCOMPLETE:
        word, bad = UNLOCKED, max(bad, 1)
        why = f"{report['locks']['failed']} objects that must stay could not be locked for longer: {report['locks']['error']}"
    return ShiftOutcome(word, len(parts) - bad if len(parts) > bad else 0, bad + report["left"], why, report["exit"] == FAILED)
