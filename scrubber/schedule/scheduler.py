"""The coordinator of the schedule: wakes, decides, runs what is due, one job at a time, and keeps how it went.

Several processes may do so over the same notes: who writes its run into the note runs it; the others say so and wait, and take it up when its owner's beat has
stopped. Their clocks are not compared: a waiter measures on its own how long the beat has stood still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec import UNSET

from scrubjay.base.env import Clock, Env, Future, Task
from scrubjay.base.errors import Conflict, Corrupt, ScrubjayError, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.times import utc_text_or_none
from scrubjay.scrubber.schedule.cron import check, next_fire, window_end
from scrubjay.scrubber.schedule.decide import ALIVE, RETRIES_MAX, TRIES_MAX, JobView, decide, retry_after_us, since
from scrubjay.scrubber.schedule.notes import ScheduleBook
from scrubjay.scrubber.schedule.settings import JobNote, JobRun, JobSettings, LastRun, Retry
from scrubjay.scrubber.schedule.views import JobViews, NightJob, Report, Shift, ShiftOutcome, last_json

LOOK_S = 60.0
"""Between two looks at the clock, whatever the alarm does: a clock that jumps ahead is noticed this soon."""
BEAT_S = 30.0
SOON_S = 5.0
"""Between two tries when the metadata group does not answer."""
END_TRIES = 12
"""How often it is tried to note how a run ended; after that it is one that was left, and is taken up again."""

Log = Callable[[str], None]


class Alarm(Protocol):
    """Rings once at a moment of the wall clock, as well as it can; a new one takes the place of the old."""

    def at(self, wall_us: int, ring: Callable[[], None]) -> None: ...
    def stop(self) -> None: ...


class Scheduler:
    """jobs, since_us, alone: see JobViews."""

    def __init__(
        self, env: Env, book: ScheduleBook, jobs: Sequence[NightJob], *, alarm: Alarm, since_us: int, alone: bool, log: Log
    ) -> None:
        self._env, self._book, self._alarm, self._log = env, book, alarm, log
        self.views = JobViews(env, book, jobs, since_us=since_us, alone=alone, log=log)
        self._gate = Gate(env.tasks)
        self._bell: Future[None] = env.tasks.future()
        self._task: Task[None] | None = None
        self._said: str | None = None
        self._bad: set[str] = set()

    def add(self, job: NightJob) -> None:
        """A job that a room above brings along. Before the schedule first looks."""
        self.views.jobs[job.name] = job

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._follow, name="schedule")

    def stop(self) -> None:
        """A run under way is cut off; the next life takes it up."""
        self._alarm.stop()
        if self._task is not None:
            self._task.cancel()

    # ------------------------------------------------------------------ by the clock

    async def _follow(self) -> None:
        while True:
            pause_s = LOOK_S
            try:
                for job in await self._look():
                    await self._turn(job)
                self._said = None
            except ScrubjayError as error:
                pause_s = SOON_S
                if self._said != error.code:
                    self._log(f"the schedule cannot go on: {error}")
                self._said = error.code
            await self._sleep(pause_s)

    async def _look(self) -> tuple[str, ...]:
        """Jobs that are due."""
        now_us = self._env.clock.wall_us()
        views = []
        for job in self.views.jobs:
            try:
                views.append(await self.views.seen(job))
            except Corrupt as error:
                if job not in self._bad:
                    self._log(f"{job} is left out of the schedule until it is set anew: {error}")
                self._bad.add(job)
        found = decide(views, now_us)
        for job in found.behind:
            self._log(f"the clock was set back: what is noted of {job} is dated later than now")
            await self._book.change(job, lambda note: _dated(note, now_us))
        if found.wake_us is not None:
            self._alarm.at(found.wake_us, self._ring)
        return found.due

    async def _sleep(self, seconds: float) -> None:
        timer = self._env.tasks.call_later(seconds, self._ring)
        try:
            await self._bell
        finally:
            timer.cancel()
        self._bell = self._env.tasks.future()

    def _ring(self) -> None:
        if not self._bell.done():
            self._bell.set_result(None)

    async def _turn(self, job: str) -> None:
        """Run what is due, unless somebody else came first."""
        async with self._gate:
            view = await self.views.seen(job)
            if job not in decide([view], self._env.clock.wall_us()).due:
                return
            await self._run(view)

    # ------------------------------------------------------------------ a run

    async def _run(self, view: JobView, *, by_hand: bool = False) -> LastRun | None:
        """Claim it, do it, keep how it went. None: another process has it."""
        self.views.at = view.name
        try:
            return await self._carry_out(view, by_hand=by_hand)
        finally:
            self.views.at = None

    async def _carry_out(self, view: JobView, *, by_hand: bool) -> LastRun | None:
        job, began_us, boot_us = view.name, self._env.clock.wall_us(), self._env.clock.boot_us()
        me = self.views.owner = self.views.owner or self._env.rand.uuid()
        dead = view.note.run

        def claim(note: JobNote) -> JobNote | None:
            if note.run != dead or (note.handled_us != view.note.handled_us and not by_hand):
                return None  # another took it, or has done it
            tries = dead.tries + 1 if dead is not None and dead.tries < TRIES_MAX else 1
            round_us = began_us if note.round_us is None or note.round_us > began_us else note.round_us
            return msgspec.structs.replace(note, handled_us=began_us, round_us=round_us, run=JobRun(me, began_us, 0, tries))

        claimed = await self._book.change(job, claim)
        if claimed is None:
            self.views.look(job)
            return None
        before = None if claimed.retry is UNSET else claimed.retry
        closes_us = None if by_hand else window_end(view.settings, began_us)
        paused_us = claimed.paused_us

        def paused() -> bool:
            return self.views.paused_us(job) not in (None, paused_us)

        window_us = None if closes_us is None else closes_us - began_us
        fire_us = next_fire(view.settings, since(view))
        # A try that is late for the next night (the window was shut, the process was down) is that night's run, and has its budget.
        anew = by_hand or (fire_us is not None and fire_us <= began_us)
        watch = _Watch(self._env.clock, view.settings, window_us, paused, before=None if anew else before)
        beats = self._env.tasks.keep(partial(self._beat, job, me, watch), name=f"beat of {job}")
        self._log(f"{job} begins, by the schedule '{view.settings.cron}'")
        assert claimed.round_us is not None
        try:
            outcome = await self.views.jobs[job].work(Shift(view.settings, claimed.round_us, watch.stop, before is not None))
        except ScrubjayError as error:
            outcome = ShiftOutcome("failed", 0, 0, str(error), again=isinstance(error, Unavailable))
        finally:
            beats.cancel()
        seconds = round((self._env.clock.boot_us() - boot_us) / 1e6, 3)
        last = LastRun(self._env.clock.wall_us(), outcome.verdict, seconds, outcome.done, outcome.left, outcome.why)

        def ended(note: JobNote) -> JobNote | None:
            if note.run is None or note.run.owner != me:
                return None  # we were taken for dead, and another goes on
            return after(note, outcome, last, spent=watch.spent())

        await _note_end(self._env, self._book, job, ended)
        why = f", cut: {outcome.why}" if outcome.why else ""
        self._log(f"{job} ended: {outcome.verdict}, {outcome.done} partitions done, {outcome.left} left{why}")
        tried = self._book.note(job).retry
        if tried is not UNSET and outcome.again:
            self._log(f"{job} is tried again at {utc_text_or_none(tried.at_us)}: what kept it passes by itself")
        return last

    async def _beat(self, job: str, me: str, watch: _Watch) -> None:
        """Tell the others that it lives, and hear from the note that it was paused, or taken from us."""

        def beat(note: JobNote) -> JobNote | None:
            watch.lost = note.run is None or note.run.owner != me
            if note.run is None or watch.lost:
                return None
            return msgspec.structs.replace(note, run=msgspec.structs.replace(note.run, beat=note.run.beat + 1))

        while True:
            await self._env.tasks.sleep(BEAT_S)
            try:
                await self._book.change(job, beat)
            except ScrubjayError as error:
                self._log(f"the run of {job} cannot be noted: {error}")

    # ------------------------------------------------------------------ by hand

    async def run_now(self, job: str) -> Report:
        """`schedule run`: at once, whatever the clock, window or a pause say; waits for a run under way here. Raises Conflict: another process runs it."""
        self.views.known(job)
        async with self._gate:
            view = await self.views.seen(job)
            if view.run == ALIVE:
                raise Conflict("another durability process runs this job", job=job)
            last = await self._run(view, by_hand=True)
        if last is None:
            raise Conflict("another durability process runs this job", job=job)
        code = {"match": 0, "done": 0, "nothing_due": 0, "mismatch": 2, "failed": 1, "refused": 4}.get(last.verdict, 3)
        return {"exit": 3 if code == 0 and last.left else code, "error": None, "job": job, "last": last_json(last)}

    async def set(self, job: str, settings: JobSettings) -> Report:
        """Raises Invalid."""
        self.views.known(job)
        check(settings)
        now_us = self._env.clock.wall_us()
        await self._book.change(job, lambda note: msgspec.structs.replace(note, settings=settings, set_us=now_us), anew=True)
        self._bad.discard(job)
        self._ring()
        return self.views.listed([job])

    async def pause(self, job: str | None, *, paused: bool) -> Report:
        """None: every job. A run under way ends after what it is at; resumed, it goes on where it stopped."""
        names = list(self.views.jobs) if job is None else [job]
        now_us = self._env.clock.wall_us()

        def change(note: JobNote) -> JobNote | None:
            if (note.paused_us is not None) == paused:
                return None
            return msgspec.structs.replace(note, paused_us=now_us if paused else None)

        for name in names:
            self.views.known(name)
            try:
                await self._book.change(name, change)
            except Corrupt:
                if job is not None:
                    raise  # of all jobs, one that is left out does not run anyway
        self._ring()
        return self.views.listed(names)


async def _note_end(env: Env, book: ScheduleBook, job: str, ended: Callable[[JobNote], JobNote | None]) -> None:
    """The metadata group may be without a leader just then. Raises Unavailable in the end."""
    for left in reversed(range(END_TRIES)):
        try:
            await book.change(job, ended)
        except Unavailable:
            if not left:
                raise
            await env.tasks.sleep(SOON_S)
        else:
            return


def _dated(note: JobNote, now_us: int) -> JobNote:
    """Nothing in it is dated later than now."""
    return msgspec.structs.replace(note, handled_us=now_us, retry=UNSET, set_us=None if note.set_us is None else min(note.set_us, now_us))


def after(note: JobNote, outcome: ShiftOutcome, last: LastRun, *, spent: tuple[int, int] = (0, 0)) -> JobNote:
    """The note of a job whose run has ended. spent: microseconds and bytes of its budget, tries before it included: one night has one budget. What passes by itself is tried again, so often and no more; then the round is over, so that the next night begins with
    what was looked at longest ago. Pure."""
    count = (0 if note.retry is UNSET else note.retry.count) + 1
    if outcome.again and count <= RETRIES_MAX:
        retry = Retry(last.at_us + retry_after_us(count), count, *spent)
        return msgspec.structs.replace(note, run=None, last=last, retry=retry)
    over = outcome.verdict != "failed" and (outcome.left == 0 or outcome.again)
    done_us = last.at_us if outcome.verdict != "failed" and outcome.left == 0 else note.done_us
    return msgspec.structs.replace(note, run=None, last=last, retry=UNSET, round_us=None if over else note.round_us, done_us=done_us)


class _Watch:
    """Why a run must end before it is done: asked between two partitions. before: it tries again what a run before it was kept from, with what that left of the budget."""

    def __init__(
        self, clock: Clock, settings: JobSettings, window_us: int | None, paused: Callable[[], bool], *, before: Retry | None
    ) -> None:
        self._clock, self._settings, self._window_us, self._paused = clock, settings, window_us, paused
        self._boot_us = clock.boot_us()
        self._before = (0, 0) if before is None else (before.spent_us, before.spent_bytes)
        self._bytes = 0
        self.lost = False

    def spent(self) -> tuple[int, int]:
        """Microseconds and bytes of the budget."""
        return self._before[0] + self._clock.boot_us() - self._boot_us, self._before[1] + self._bytes

    def stop(self, bytes_: int) -> str | None:
        gone_us, self._bytes = self._clock.boot_us() - self._boot_us, bytes_
        if self.lost:
            return "taken_over"
        if self._paused():
            return "paused"
        if self._window_us is not None and gone_us >= self._window_us:
            return "window_over"
        budget_us, budget_bytes = self._settings.budget_us, self._settings.budget_bytes
        all_us, all_bytes = self.spent()
        spent = (budget_us is not None and all_us >= budget_us) or (budget_bytes is not None and all_bytes >= budget_bytes)
        return "budget_spent" if spent else None
