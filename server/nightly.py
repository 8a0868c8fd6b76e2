"""The jobs of the schedule, in one table (`nightly_jobs`): name, settings until it is set, and what a run does, which is what a person would run, at the pace that was set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scrubjay.base.env import Env, Timer
from scrubjay.base.errors import ScrubjayError
from scrubjay.scrubber.options import Turns
from scrubjay.scrubber.schedule.notes import ScheduleBook
from scrubjay.scrubber.schedule.scheduler import Alarm, Scheduler
from scrubjay.scrubber.schedule.settings import DAY_US, HOUR_US, JobSettings
from scrubjay.scrubber.schedule.views import NightJob, Shift, ShiftOutcome, Work
from scrubjay.scrubber.service import ScrubService
from scrubjay.server.compaction import CompactRuns, compact_work
from scrubjay.server.control import Control
from scrubjay.server.expiry import ExpireRuns, expire_work
from scrubjay.server.verifying import SKIP_MAX_US, Pace, VerifyRuns

Log = Callable[[str], None]
BaseDue = Callable[[], frozenset[str]]

DEFAULTS = {
    "scrub": JobSettings(cron="0 2 * * *", within_us=2 * DAY_US),
    "verify": JobSettings(cron="0 4 * * *", within_us=7 * DAY_US, budget_us=2 * HOUR_US),
    "base": JobSettings(cron="30 6 * * *", within_us=7 * DAY_US),
    "expire": JobSettings(cron="0 7 * * *", within_us=3 * DAY_US),
    "compact": JobSettings(cron="30 7 * * *", within_us=7 * DAY_US, budget_us=2 * HOUR_US),
}
"""Right without a file."""


def nightly_jobs(
    env: Env,
    scrub: ScrubService,
    verify: VerifyRuns,
    expire: ExpireRuns,
    compact: CompactRuns,
    control: Control,
    *,
    base_due: BaseDue,
    keep: Callable[[], Awaitable[None]],
    tell: Callable[[], Awaitable[None]],
) -> list[NightJob]:
    """In the order in which they run when several are due. base_due: of which partitions the archive needs a new base. keep: after each that the ledger remembers, has what it says kept elsewhere too. tell: after a verify, has what was there today told to the archive. A new job is a line here, its settings in DEFAULTS, and a function that makes its Work."""
    works = {"scrub": scrub_work(scrub), "verify": verify_work(env, verify, control), "base": base_work(scrub, base_due)}
    works["verify"] = kept(works["verify"], tell)
    works = {name: kept(work, keep) for name, work in works.items()} | {"expire": expire_work(expire), "compact": compact_work(compact)}
    return [NightJob(name, DEFAULTS[name], work) for name, work in works.items()]


STORE_AWAY = ("archive_unreachable", "archive_lags")
"""Reasons of a partition that could not be compared which pass with the store's bad hour."""
STORE_WHY = (None, "archive_away")


class TaskAlarm:
    """An alarm on the timers that coordinators have: what the simulator wakes by."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._timer: Timer | None = None

    def at(self, wall_us: int, ring: Callable[[], None]) -> None:
        self.stop()
        self._timer = self._env.tasks.call_later(max(0, wall_us - self._env.clock.wall_us()) / 1e6, ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def kept(work: Work, keep: Callable[[], Awaitable[None]]) -> Work:
    async def whole(shift: Shift) -> ShiftOutcome:
        """One that is cut off by the stop of its process writes nothing more: the log is about to be sealed."""
        try:
            outcome = await work(shift)
        except ScrubjayError:
            await keep()
            raise
        await keep()
        return outcome

    return whole


def scrub_work(scrub: ScrubService) -> Work:
    away: frozenset[str] | None = None
    """What the store kept the last run of this process from; None: not known."""

    async def work(shift: Shift) -> ShiftOutcome:
        """A try after a run that the store kept from its work looks once more at that, and not at what stays unverified for another reason."""
        nonlocal away
        only = None if not shift.again or away is None else away
        away = None
        report = await scrub.run(turns=Turns(shift.round_us, shift.stop, shift.again, only), rate_bytes=shift.settings.rate_bytes)
        outcome = scrub_outcome(report)
        away = away_in(report) if outcome.again and report["cut"] is None else None
        return outcome

    return work


def base_work(scrub: ScrubService, due: BaseDue) -> Work:
    """A base is a reference that matched: those partitions are scrubbed whose log since the last base is worth one, and no others."""

    async def work(shift: Shift) -> ShiftOutcome:
        turns = Turns(shift.round_us, shift.stop, shift.again, due())
        return scrub_outcome(await scrub.run(turns=turns, rate_bytes=shift.settings.rate_bytes))

    return work


def away_in(report: dict[str, Any]) -> frozenset[str]:
    """Partitions that the archive's absence kept from being compared. Pure."""
    parts = [part for table in report["tables"] for part in table["partitions"]]
    return frozenset(part["partition"] for part in parts if part["verdict"] == "unverified" and part["reason"] in STORE_AWAY)


def scrub_outcome(report: dict[str, Any]) -> ShiftOutcome:
    """What came of a scrub of the schedule. A partition that the archive's absence kept from being compared is not done. Pure."""
    if report["plan"] is None:
        return ShiftOutcome("nothing_due", 0, 0)
    parts = [part for table in report["tables"] for part in table["partitions"]]
    away = len(away_in(report))
    return ShiftOutcome(
        str(report["verdict"]), len(parts) - away, int(report["left"]) + away, report["cut"] or STORE_WHY[away > 0], away > 0
    )


def skipped_us(settings: JobSettings) -> int:
    """A nightly verify leaves out what was proven within so long: two nights before it would be too old, it is read again."""
    early = 2 * DAY_US if settings.within_us >= 3 * DAY_US else settings.within_us // 2
    return min(settings.within_us - early, SKIP_MAX_US)


READ_AGAIN_US = 28 * DAY_US
"""A round of verifies that takes longer than this reads again what it read first, though it is not through: all is to be read within the window of 35 days."""


def turn_us(settings: JobSettings, *, round_us: int, now_us: int) -> int:
    """What was read within so long has had its turn: it is fresh, or was read in this round. A night that is too short for all of it goes on where the last one
    stopped, and not with what has become old meanwhile: else what comes last would never be read. Pure."""
    return max(skipped_us(settings), min(now_us - round_us, READ_AGAIN_US))


def verify_work(env: Env, verify: VerifyRuns, control: Control) -> Work:
    async def work(shift: Shift) -> ShiftOutcome:
        def untold(_facts: dict[str, Any]) -> None:
            """Nobody waits."""

        pace = Pace(shift.stop, shift.settings.rate_bytes)
        age_us = turn_us(shift.settings, round_us=shift.round_us, now_us=env.clock.wall_us())
        report = await verify.verify(tables=None, level="records", budget_us=None, max_age_us=age_us, progress=untold, pace=pace)
        places = sum(len(table.partitions) for table in control.service.tables())
        return ShiftOutcome(str(report["verdict"]), max(0, places - report["left"]), report["left"], report["reason"])

    return work


def open_schedule(
    env: Env, control: Control, table: Sequence[NightJob], *, alarm: Alarm | None, since_us: int, alone: bool, log: Log
) -> Scheduler:
    """alarm None: the timers of `env`. since_us, alone: see Scheduler."""
    book = ScheduleBook(control.metadata)
    return Scheduler(env, book, table, alarm=alarm or TaskAlarm(env), since_us=since_us, alone=alone, log=log)
