"""Retention as a server runs it: over its catalogue, one run at a time, never beside a verify of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.archiver.expire.plan import DAY_US, KEEP_MAX_US, KEEP_MIN_US, Need, Wanted
from scrubjay.archiver.expire.run import ExpireParts, Expirer
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.jobs import run_check
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import ScrubjayError, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.base.ids import TableId
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.windows import archived_here
from scrubjay.storage.catalogue import METADATA_TABLE, TableMeta

WORDS = {0: "done", 1: "failed", 2: "mismatch", 3: "incomplete", 4: "refused"}
"""What a run's exit code is called where runs are counted."""
LEAP_US = 60_000_000
"""So much more or less than the time that passed the clock may have gone on since the start: one that leaps does not tell how old anything is."""


class ExpireRuns:
    """needs: what restores read, asked before every delete; never waits. gate: held by a verify while it reads."""

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
        self._began = (env.clock.wall_us(), env.clock.boot_us())

    async def expire(self, *, tables: Sequence[TableId] | None, keep_us: int | None, confirm: bool, progress: ProgressSink) -> Report:
        """See server.ports.ExpirePort."""
        wanted = self._wanted(tables, keep_us)
        closed_keep_us = max((one.keep_us for one in wanted), default=KEEP_MAX_US) if tables is None else None
        parts = ExpireParts(
            env=self._env, store=self._store, index=self._index, writer=self._writer, prove=self._prove, holds=self._needs,
            archived=lambda: archived_here(self._control), afresh=self._afresh, forget=self._forget, progress=progress,
        )  # fmt: skip
        async with self._gate:
            expirer = Expirer(parts, keep_us=keep_us, attended=True)
            if not confirm:
                return (await expirer.plan(wanted, closed_keep_us=closed_keep_us)).as_json()
            self._check_clock()
            report = await expirer.run(wanted, closed_keep_us=closed_keep_us)
        answer = report.as_json()
        self._telling.over("expire", WORDS[int(answer["exit"])])
        self._log(
            f"expired {answer['totals']['deleted']} objects, {answer['totals']['freed']} bytes; exit {answer['exit']}"
            + "".join(f"; {one['table']}: {one['refused']}" for one in answer["tables"] if one["refused"])
        )
        return answer

    def _check_clock(self) -> None:
        wall, boot = self._env.clock.wall_us() - self._began[0], self._env.clock.boot_us() - self._began[1]
        if abs(wall - boot) > LEAP_US:
            raise Unsafe(
                "this machine's clock has leapt since the server began: nobody can tell how old anything is",
                found=f"{(wall - boot) / 1e6:+.0f} s",
                next="see to the clock, then start the server again",
            )

    def _wanted(self, tables: Sequence[TableId] | None, keep_us: int | None) -> list[Wanted]:
        """Every partition of the tables as the catalogue has them. The metadata group keeps what it keeps, whatever is asked of the tables: a recovery to any
        of their moments needs it. Raises Unsafe if less is to be kept than a table's own retention."""
        archived = {(one.table, one.partition): one.lsn for one in archived_here(self._control)}
        wanted = []
        for table in self._control.service.tables():
            if tables is not None and table.table_id not in tables:
                continue
            own_us = own_retention_us(table)
            if keep_us is not None and keep_us < own_us and table.name != METADATA_TABLE:
                raise Unsafe(
                    "less than the table's own retention: its window would shrink",
                    asked=f"--keep {keep_us / DAY_US:g}d",
                    found=f"{table.name} keeps {own_us / DAY_US:g} days",
                    next="UpdateContinuousBackups with RecoveryPeriodInDays changes a table's retention",
                )
            finals = {final.partition_id: final for final in table.finals} if table.archived_at is not None else {}
            for info in table.partitions:
                final = finals.get(info.partition_id)
                wanted.append(
                    Wanted(
                        table.table_id, table.name, info.partition_id, archived.get((table.table_id, info.partition_id), 0), max(keep_us or 0, own_us),
                        table.dropped_at, final.lsn if final is not None else None, final.stamp if final is not None else 0,
                    )
                )  # fmt: skip
        return wanted

    def _afresh(self, wanted: Wanted) -> Wanted | None:
        """Kept for as long as the catalogue says by now, if that is longer: a retention may be raised while a run goes on."""
        table = next((one for one in self._control.service.tables() if one.table_id == wanted.table), None)
        if table is None:
            return None
        return wanted._replace(keep_us=max(wanted.keep_us, own_retention_us(table)))

    async def _prove(self, base: BaseManifest) -> Sequence[Fault]:
        """In a worker process: it reads every row."""
        return await run_check(self._store, self._disk, self._jobs, what="base", base=base, deep=True)

    async def _forget(self, keys: Sequence[str]) -> None:
        try:
            await self._ledger.forget(keys)
        except ScrubjayError as error:
            self._log(f"the ledger goes on remembering what has expired: {error}")


def own_retention_us(table: TableMeta) -> int:
    """How far back a table is kept: its RecoveryPeriodInDays, 35 unless it was told otherwise, never outside of 1 to 35."""
    return min(max(table.pitr_days * DAY_US, KEEP_MIN_US), KEEP_MAX_US)
