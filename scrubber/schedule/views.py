"""The jobs of the schedule as this process sees them: their notes, whether a run under way lives, and how all of that is told (`schedule list`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, Invalid
from scrubjay.base.times import utc_text_or_none
from scrubjay.scrubber.schedule.decide import ALIVE, DEAD, NONE, JobView, fire_of, overdue
from scrubjay.scrubber.schedule.notes import ScheduleBook
from scrubjay.scrubber.schedule.settings import JobNote, JobRun, JobSettings, LastRun

STALE_US = 120_000_000
"""A run whose beat stands still for so long, on the clock of whoever waits, is nobody's."""

Report = dict[str, Any]
Log = Callable[[str], None]


class Shift(NamedTuple):
    """How a run goes. round_us: what was looked at since has had its turn. stop(bytes read): why it must end here, None: it goes on. again: the run before met what
    passes by itself, and this one is to look once more at what that kept it from."""

    settings: JobSettings
    round_us: int
    stop: Callable[[int], str | None]
    again: bool = False


class ShiftOutcome(NamedTuple):
    """verdict: match | mismatch | unverified | failed | nothing_due; of what proves nothing done | incomplete | refused. done, left: partitions. why: it ended early. again: what it met passes by itself (the store was
    away): another try in a while is worth it."""

    verdict: str
    done: int
    left: int
    why: str | None = None
    again: bool = False


Work = Callable[[Shift], Awaitable[ShiftOutcome]]


class NightJob(NamedTuple):
    """default: its settings until it is set. work: one run of it."""

    name: str
    default: JobSettings
    work: Work


class JobViews:
    """jobs: in the order in which they run when several are due. since_us: when the cluster was made. alone: no other process can run jobs of this cluster, so a run
    that is not ours is a dead one's."""

    def __init__(self, env: Env, book: ScheduleBook, jobs: Sequence[NightJob], *, since_us: int, alone: bool, log: Log) -> None:
        self._env, self._book, self._log = env, book, log
        self.jobs = {job.name: job for job in jobs}
        self.since_us, self._alone = since_us, alone
        self.owner: str | None = None
        """This process, in the notes of runs; None: it has not run anything yet."""
        self.at: str | None = None
        """The job that this process runs now. A note alone does not say so: its end may be what could not be noted."""
        self._others: dict[str, tuple[str, int, int]] = {}
        """Of each job that another runs: owner, beat, and since when on our boot clock that is so."""

    # ------------------------------------------------------------------ one job

    async def seen(self, job: str) -> JobView:
        """A job as it is now; another's run is looked at anew. Raises Corrupt, Unavailable."""
        note = self._book.note(job)
        if note.run is not None and note.run.owner != self.owner and not self._alone:
            note = await self._book.fresh(job)
        return self._view(job, note)

    def look(self, job: str) -> JobView:
        """As it was last read. Raises Corrupt."""
        return self._view(job, self._book.note(job))

    def _view(self, job: str, note: JobNote) -> JobView:
        return JobView(job, note.settings or self.jobs[job].default, note, self._state(job, note.run), self.since_us)

    def _state(self, job: str, run: JobRun | None) -> str:
        if run is None:
            self._others.pop(job, None)
            return NONE
        if run.owner == self.owner:
            return ALIVE if job == self.at else DEAD
        if self._alone:
            return DEAD
        now_us = self._env.clock.boot_us()
        owner, beat, since_us = self._others.get(job, ("", 0, 0))
        if owner != run.owner:
            self._log(f"another durability process runs {job}; this one waits")
        if (owner, beat) != (run.owner, run.beat):
            self._others[job] = run.owner, run.beat, now_us
            return ALIVE
        return DEAD if now_us - since_us > STALE_US else ALIVE

    def known(self, job: str) -> None:
        """Raises Invalid: there is no such job."""
        if job not in self.jobs:
            raise Invalid("no such job", asked=job, found=", ".join(self.jobs), next="scrubjay schedule list")

    # ------------------------------------------------------------------ for others

    def default(self, job: str) -> JobSettings:
        """Raises Invalid: there is no such job."""
        self.known(job)
        return self.jobs[job].default

    def settings(self, job: str) -> JobSettings:
        return self._note(job).settings or self.jobs[job].default

    def ended(self, job: str) -> LastRun | None:
        """Its last run; None: there was none, there is no such job, or it is tried again by itself."""
        note = self._note(job)
        return note.last if job in self.jobs and note.retry is UNSET else None

    def paused_us(self, job: str) -> int | None:
        """Since when it is paused; None: it is not."""
        return self._note(job).paused_us

    def paused(self) -> list[Report]:
        """Jobs that are, and since when."""
        notes = {job: self.paused_us(job) for job in self.jobs}
        return [{"job": job, "since": utc_text_or_none(since_us)} for job, since_us in notes.items() if since_us is not None]

    def _note(self, job: str) -> JobNote:
        """One that is malformed is as good as none, for whoever cannot wait until it is set anew."""
        try:
            return self._book.note(job)
        except Corrupt:
            return JobNote()

    def listed(self, names: list[str] | None = None) -> Report:
        """`schedule list`. exit 3: a job is overdue, or left out."""
        now_us = self._env.clock.wall_us()
        rows = [self._row(job, now_us) for job in names or self.jobs]
        return {"exit": 3 if any(row["overdue"] or row["left_out"] for row in rows) else 0, "error": None, "jobs": rows}

    def _row(self, job: str, now_us: int) -> Report:
        left_out: str | None = None
        try:
            view = self.look(job)
        except Corrupt as error:
            left_out = str(error)
            view = self._view(job, JobNote())
        note, settings = view.note, view.settings
        at_us = None if note.paused_us is not None or left_out is not None else fire_of(view)
        return {
            "job": job,
            "cron": settings.cron,
            "timezone": settings.timezone,
            "window": settings.window,
            "rate_bytes": settings.rate_bytes,
            "budget_seconds": None if settings.budget_us is None else settings.budget_us / 1e6,
            "budget_bytes": settings.budget_bytes,
            "within_seconds": settings.within_us / 1e6,
            "next": utc_text_or_none(at_us),
            "running": utc_text_or_none(note.run.began_us if note.run is not None and view.run == ALIVE else None),
            "paused": utc_text_or_none(note.paused_us),
            "last": None if note.last is None else last_json(note.last),
            "retries": 0 if note.retry is UNSET else note.retry.count,
            "overdue": overdue(view, now_us),
            "left_out": left_out,
        }


def last_json(last: LastRun) -> Report:
    return {
        "at": utc_text_or_none(last.at_us),
        "verdict": last.verdict,
        "seconds": last.seconds,
        "done": last.done,
        "left": last.left,
        "why": last.why,
    }
