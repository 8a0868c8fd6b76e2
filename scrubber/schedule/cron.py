"""When a job fires, and when its window is open. Pure: the time is an argument. The fields of cron are understood by APScheduler's trigger, which is asked for the next
fire after a moment and nothing else; it is imported when it is first asked, so that whoever asks nothing pays nothing.

Two things are as in cron and not as in APScheduler: days of the week are numbered from Sunday, and a fixed hour that a clock shows twice in autumn fires once.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scrubjay.base.errors import Invalid
from scrubjay.base.times import EPOCH
from scrubjay.scrubber.schedule.settings import JobSettings, window_minutes

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NUMBERED = re.compile(r"([0-7])(?:-([0-7]))?(?:/([1-7]))?")
_FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week")
_MICROSECOND = timedelta(microseconds=1)
_FIRES_MAX = 4
"""Ambiguous hours are skipped; there are never more in a row."""


def check(settings: JobSettings) -> None:
    """Raises Invalid, saying which part is not understood."""
    if next_fire(settings, 0) is None:
        raise Invalid("a schedule that never fires", asked=settings.cron, found="no such day", next="write for example '0 2 * * *'")
    if settings.window is not None:
        window_minutes(settings.window)


def next_fire(settings: JobSettings, after_us: int) -> int | None:
    """The first fire after that moment; None: there is none."""
    trigger, often = _trigger(settings.cron, settings.timezone)
    for _ in range(_FIRES_MAX):
        found: datetime | None = trigger.get_next_fire_time(None, EPOCH + timedelta(microseconds=after_us + 1))
        if found is None:
            return None
        after_us = (found - EPOCH) // _MICROSECOND
        if often or not found.fold:
            return after_us
    return after_us


def in_window(settings: JobSettings, now_us: int) -> bool:
    if settings.window is None:
        return True
    begin, end = window_minutes(settings.window)
    local = _local(settings, now_us)
    minute = local.hour * 60 + local.minute
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def window_end(settings: JobSettings, now_us: int) -> int | None:
    """When the window that is open now closes; None: never."""
    return None if settings.window is None else _next_at(settings, now_us, window_minutes(settings.window)[1])


def window_begin(settings: JobSettings, now_us: int) -> int:
    """When the window opens next; now if it is open."""
    return (
        now_us if settings.window is None or in_window(settings, now_us) else _next_at(settings, now_us, window_minutes(settings.window)[0])
    )


def _next_at(settings: JobSettings, now_us: int, minutes: int) -> int:
    """The next moment after now at which the zone's clock shows so many minutes of the day; where it shows them not at all, the moment it jumps over them."""
    local = _local(settings, now_us)
    for days in range(3):
        day = local.date() + timedelta(days=days)
        at = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=local.tzinfo)
        at_us = (at - EPOCH) // _MICROSECOND
        if at_us > now_us:
            return at_us
    raise AssertionError("a day has every minute")


def _local(settings: JobSettings, now_us: int) -> datetime:
    return (EPOCH + timedelta(microseconds=now_us)).astimezone(_zone(settings.timezone))


@lru_cache(maxsize=16)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            "no such time zone", asked=name, found="no zone of that name", next="give a name of the tz database: UTC, Europe/Berlin"
        ) from None


@lru_cache(maxsize=64)
def _trigger(cron: str, timezone: str) -> tuple[Any, bool]:
    """The trigger, and whether it fires in every hour. Raises Invalid."""
    from apscheduler.triggers.cron import CronTrigger

    fields = cron.split()
    example = "five fields (minute hour day month weekday), or six with seconds first: '0 2 * * *'"
    if len(fields) not in (5, 6):
        raise Invalid("not a cron expression", asked=cron, found=f"{len(fields)} fields", next=example)
    six = ["0", *fields] if len(fields) == 5 else fields
    if six[3] != "*" and six[5] != "*":
        raise Invalid(
            "a day of the month and of the week at once", asked=cron, found="cron reads it as either, others as both", next=example
        )
    six[5] = ",".join(_weekdays(part) for part in six[5].lower().split(","))
    try:
        trigger = CronTrigger(**dict(zip(_FIELDS, six, strict=True)), timezone=_zone(timezone))
    except (ValueError, TypeError) as error:
        raise Invalid("not a cron expression", asked=cron, found=str(error), next=example) from None
    return trigger, six[2].startswith("*")


def _weekdays(part: str) -> str:
    """Numbers, from Sunday, as names: what a number means differs from library to library."""
    match = _NUMBERED.fullmatch(part)
    if match is None:
        return part
    first = int(match[1])
    last = int(match[2]) if match[2] else 6 if match[3] else first
    if last < first:
        raise Invalid("weekdays that end before they begin", asked=part, found=f"{first} to {last}", next="write 5-7 or fri,sat,sun")
    return ",".join(_DAYS[day % 7] for day in range(first, last + 1, int(match[3] or 1)))
