"""What is kept of a job of the schedule: how it is set, and how its runs went. JSON in the metadata group, under `job/schedule/<name>`."""

from __future__ import annotations

import re

import msgspec

from scrubjay.base.errors import Invalid

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class JobSettings(msgspec.Struct, frozen=True):
    """cron: five fields, or six with seconds first. timezone: IANA name. window: `HH:MM-HH:MM` of that zone, outside of which nothing runs; it may span midnight.
    rate_bytes: per second and node. budget_us, budget_bytes: of one run. within_us: what the job proves must not be older than this."""

    cron: str
    within_us: int
    timezone: str = "UTC"
    window: str | None = None
    rate_bytes: int | None = None
    budget_us: int | None = None
    budget_bytes: int | None = None


class JobRun(msgspec.Struct, frozen=True):
    """A run under way. owner: the process, new in each of its lives. beat: rises while it lives. tries: lives that began this run."""

    owner: str
    began_us: int
    beat: int = 0
    tries: int = 1


class LastRun(msgspec.Struct, frozen=True):
    """at_us: when it ended. done, left: partitions. why: it ended before all was done, or failed; None: it did not."""

    at_us: int
    verdict: str
    seconds: float
    done: int
    left: int
    why: str | None = None


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run before met what passes by itself. at_us: when it is tried again. count: how often it was, with that one. spent_us, spent_bytes: of the budget, by that
    run and the tries before it."""

    at_us: int
    count: int
    spent_us: int = 0
    spent_bytes: int = 0


class JobNote(msgspec.Struct, frozen=True):
    """Everything of a job that outlives a process. settings None: the defaults. set_us: when they were set. handled_us: fires up to then are dealt with.
    round_us: when the round began that the last run did not finish; what was looked at since has had its turn. retry: unset, there is none to come.
    done_us: when a run last ended with nothing left; unset: none did."""

    settings: JobSettings | None = None
    set_us: int | None = None
    paused_us: int | None = None
    handled_us: int | None = None
    round_us: int | None = None
    run: JobRun | None = None
    last: LastRun | None = None
    retry: Retry | msgspec.UnsetType = msgspec.UNSET
    done_us: int | msgspec.UnsetType = msgspec.UNSET


def window_minutes(window: str) -> tuple[int, int]:
    """Begin and end of a window in minutes of the day. Raises Invalid."""
    match = _WINDOW.fullmatch(window)
    if match is None:
        raise Invalid("not a window", asked=window, found="another shape", next="write for example 01:00-05:00")
    begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if begin == end:
        raise Invalid("a window of no length", asked=window, found="it ends when it begins", next="write for example 01:00-05:00")
    return begin, end
