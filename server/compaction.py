"""Compaction as a server runs it: over its catalogue, one run at a time, never beside a verify or a run of retention of its own (`archiver.compact` says what it does)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scrubjay.archiver.compact.plan import PackedPlace
from scrubjay.archiver.compact.report import DONE, FAILED, FOUND, INCOMPLETE, REFUSED
from scrubjay.archiver.compact.run import Assure, Compactor, CompactParts, one_archive
from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Disk, Env, Jobs, ObjectStore
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.gate import Gate
from scrubjay.base.ids import TableId
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome, Work
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.retentions import own_retention_us
from scrubjay.server.windows import archived_here
from scrubjay.storage.catalogue import every_partition

COMPACT_WORDS = {DONE: "done", FAILED: "failed", FOUND: "mismatch", INCOMPLETE: "incomplete", REFUSED: "refused"}
"""What a run's exit code is called where runs are counted."""


@dataclass(slots=True)
class Packed:
    """Since the start: packs made, segments in them, objects that went for them, and packs whose manifest was gone or bad and was written anew. unpacked: segments that the last run
    over every table could have packed and did not, None: none has gone over all of them."""

    made: int = 0
    packed: int = 0
    deleted: int = 0
    named: int = 0
    unpacked: int | None = None

    @property
    def saved(self) -> int:
        """Objects fewer."""
        return self.deleted - 2 * self.made

    def add(self, totals: Mapping[str, int]) -> None:
        """A run's."""
        self.made += totals["made"]
        self.packed += totals["packed"]
        self.deleted += totals["deleted"]
        self.named += totals["named"]


class CompactRuns:
    """locks: what is known of the store's locks. gate: held by a verify, and by a run of retention, while it reads."""

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
        locks: Callable[[], LockBook],
        gate: Gate,
        log: Callable[[str], None],
        telling: Telling,
    ) -> None:
        self._env, self._store, self._disk, self._jobs = env, store, disk, jobs
        self._ledger, self._control, self._index, self._writer = ledger, control, index, writer
        self._locks, self._gate, self._log, self._telling = locks, gate, log, telling
        self._cut_at: tuple[str, str] | None = None
        """Where the last run of the schedule was cut off: table and partition."""
        self.assure: Assure = one_archive
        self.done = Packed()

    async def compact(self, *, tables: Sequence[TableId] | None, confirm: bool, progress: ProgressSink) -> Report:
        """See server.ports.CompactPort."""
        async with self._gate:
            began_us = self._env.clock.boot_us()
            compactor = Compactor(self._parts(progress))
            if not confirm:
                return (await compactor.plan(self._places(tables))).as_json()
            return self._over((await compactor.run(self._places(tables))).as_json(), began_us, whole=tables is None)

    async def nightly(self, shift: Shift) -> Report:
        """A run of the schedule. Where it was cut off the next one begins. Raises Fenced, Unavailable."""

        def untold(_facts: dict[str, Any]) -> None:
            """Nobody waits."""

        async with self._gate:
            began_us = self._env.clock.boot_us()
            places = self._places(None)
            first = next((number for number, one in enumerate(places) if (one.table, one.partition) == self._cut_at), 0)
            report = await Compactor(self._parts(untold), stop=shift.stop).run([*places[first:], *places[:first]])
            self._cut_at = (report.left[0].table, report.left[0].partition) if report.left else None
            return self._over(report.as_json(), began_us, whole=True)

    def _places(self, tables: Sequence[TableId] | None) -> list[PackedPlace]:
        archived = {(one.table, one.partition): one.lsn for one in archived_here(self._control)}
        return [
            PackedPlace(
                table.table_id, table.name, info.partition_id, archived.get((table.table_id, info.partition_id), 0), own_retention_us(table)
            )
            for table in self._control.service.tables()
            if tables is None or table.table_id in tables
            for info in every_partition(table)
        ]

    def _parts(self, progress: ProgressSink) -> CompactParts:
        return CompactParts(
            env=self._env, store=self._store, disk=self._disk, jobs=self._jobs, index=self._index, writer=self._writer, locks=self._locks(),
            archived=lambda: archived_here(self._control), forget=self._forget, progress=progress,
            assure=self.assure,
        )  # fmt: skip

    def _over(self, answer: Report, began_us: int, *, whole: bool) -> Report:
        """Told. began_us: of the run, on the boot clock. whole: it was to go over every table."""
        totals = answer["totals"]
        if whole and not answer["left"]:
            self.done.unpacked = totals["segments"] - totals["packed"] + totals["not_packed"]
        self.done.add(totals)
        self._telling.over("compact", COMPACT_WORDS[int(answer["exit"])], self._env.clock.boot_us() - began_us)
        why = f"; {answer['error']['message']}" if answer["error"] else ""
        self._log(
            f"packed {totals['packed']} segments into {totals['made']} packs, {totals['deleted']} objects deleted; exit {answer['exit']}{why}"
            + (f"; {totals['named']} packs had no sound manifest and have one again" if totals["named"] else "")
            + "".join(f"; {one['table']}: {told}" for one in answer["tables"] for told in _told(one))
        )
        return answer

    async def _forget(self, keys: Sequence[str]) -> None:
        try:
            await self._ledger.forget(keys)
        except ScrubjayError as error:
            self._log(f"the ledger goes on remembering what was packed: {error}")


def _told(table: Report) -> list[str]:
    """What somebody should know of a table's run."""
    found = [f"{one['kind']} in {one['object']}, {one['detail']}" for one in table["findings"]]
    return [
        *([table["refused"]] if table["refused"] else []),
        *found,
        *(f"held by {one['by']}: {one['detail']}" for one in table["held"][:1]),
    ]


# --- by the schedule ---


def compact_work(compact: CompactRuns) -> Work:
    async def work(shift: Shift) -> ShiftOutcome:
        return compact_outcome(await compact.nightly(shift))

    return work


def compact_outcome(report: Report) -> ShiftOutcome:
    """What came of a run of the schedule. Pure."""
    word, why = COMPACT_WORDS[int(report["exit"])], report["cut"]
    bad = [told for one in report["tables"] for told in _told(one)]
    if report["exit"] == DONE and not (report["totals"]["deleted"] or report["totals"]["made"] or report["totals"]["named"]):
        word = "nothing_due"
    if report["error"] is not None:
        why = report["error"]["message"]
    elif report["exit"] != DONE:
        why = next(iter(bad), "the store kept what was to go")
    elif bad and why is None:
        why = bad[0]
    return ShiftOutcome(word, len(report["tables"]), report["left"], why, report["exit"] == FAILED)
