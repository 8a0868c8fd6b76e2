"""What is due, what comes next, what is overdue: pure rules over a job's note and the time.

A fire is dealt with by one run, whenever that begins: fires that passed meanwhile (the process was down, another job ran, the window was shut, it was paused)
are caught up by that same one. A run that a dead process left is taken up once more, then the next fire counts. One that the store kept from its work is tried again
after a while, in its window, and longer each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from scrubjay.scrubber.schedule.cron import in_window, next_fire, window_begin
from scrubjay.scrubber.schedule.settings import HOUR_US, JobNote, JobSettings

FIRST_US = HOUR_US
"""A cluster younger than this has nothing that could be overdue."""
BACK_US = 2 * HOUR_US
"""A clock that was set back by less runs nothing twice; by more, and what was noted in its future is forgotten."""
TRIES_MAX = 2
RETRIES_MAX = 7
"""A run that meets what passes by itself (the store is away) is tried again so often, in two hours; then the next fire counts."""
MINUTE_US = 60_000_000

NONE, ALIVE, DEAD = "none", "alive", "dead"


class JobView(NamedTuple):
    """run: NONE | ALIVE | DEAD, of `note.run`: whether its process still lives. since_us: from when on the job has been there."""

    name: str
    settings: JobSettings
    note: JobNote
    run: str
    since_us: int


class DueJobs(NamedTuple):
    """due: jobs to run, in order. behind: jobs whose note lies in the future of the clock; it is to be set to now. wake_us: when something may become due."""

    due: tuple[str, ...]
    behind: tuple[str, ...]
    wake_us: int | None


def decide(jobs: Sequence[JobView], now_us: int) -> DueJobs:
    due: list[tuple[int, int, str]] = []
    behind: list[str] = []
    wake: list[int] = []
    for place, job in enumerate(jobs):
        if max(job.note.handled_us or 0, job.note.set_us or 0) > now_us + BACK_US:
            behind.append(job.name)
            continue
        if job.note.paused_us is not None or job.run == ALIVE:
            continue
        at_us = fire_of(job)
        if at_us is None:
            continue
        if at_us > now_us:
            wake.append(at_us)
        elif in_window(job.settings, now_us):
            due.append((at_us, place, job.name))
        else:
            wake.append(window_begin(job.settings, now_us))
    return DueJobs(tuple(name for _, _, name in sorted(due)), tuple(behind), min(wake, default=None))


def fire_of(job: JobView) -> int | None:
    """The first fire that no run has dealt with; in the past if it was missed, or if a dead process left its run; a try that is to come, if that is sooner."""
    note = job.note
    if job.run == DEAD and note.run is not None and note.run.tries < TRIES_MAX:
        return note.run.began_us
    at_us = next_fire(job.settings, since(job))
    return at_us if note.retry is UNSET else min(note.retry.at_us, at_us or note.retry.at_us)


def retry_after_us(count: int) -> int:
    """How long after a run that met what passes by itself it is tried for the `count`th time, from 1: a minute, then twice as long each time, an hour at most."""
    return min(MINUTE_US << (count - 1), HOUR_US)


def since(job: JobView) -> int:
    """Fires up to then do not count."""
    note = job.note
    known = [at for at in (note.handled_us, note.set_us) if at is not None]
    return max(known) if known else job.since_us + FIRST_US


def overdue(job: JobView, now_us: int) -> bool:
    """It is not done whole within the time its settings allow. One that is left in the middle of a round is not done, and takes nothing from the one before it."""
    last = job.note.last
    whole_us = last.at_us if last is not None and last.left == 0 and last.verdict != "failed" else None
    done_us = whole_us if job.note.done_us is UNSET else job.note.done_us
    return now_us - max(job.since_us, done_us or 0) > job.settings.within_us
