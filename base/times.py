"""Times as text: RFC 3339, as INTERFACE prints and takes them. Inside the system a time is an integer of microseconds since the Unix epoch.

Formats of their own stay where they are defined: the compact time in an archive's object names (`archiver/format/layout.py`) and the one that a signature
carries (`storage/api/sigv4.py`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from scrubjay.base.errors import Invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = -62_135_596_800_000_000
"""The first microsecond of the year 1."""
_LAST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})?")


def utc_text(us: int) -> str:
    """`2026-03-01T02:15:00.000000Z`: UTC, always six digits of fraction. A time no calendar has (a wild number in a request) becomes the nearest one that it has."""
    seconds, fraction = divmod(min(max(us, FIRST_US), _LAST_US), 1_000_000)
    return f"{_whole_second(seconds)}.{fraction:06d}Z"


def utc_text_or_none(us: int | None) -> str | None:
    return None if us is None else utc_text(us)


@lru_cache(maxsize=64)
def _whole_second(seconds: int) -> str:
    """Kept: the answers of one second share it."""
    return (EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def parse_time(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time with `Z` or an offset. Raises Invalid, naming what was asked and an example of what is understood.

    A time without either is refused, for at 2 a.m. nobody knows whose clock was meant. Digits below the microsecond must be zero.
    """
    match = _TIME.fullmatch(text.strip())
    example = "write for example 2026-03-01T02:15:00Z or 2026-03-01T03:15:00.250000+01:00"
    if match is None:
        raise Invalid("not an RFC 3339 time", asked=text, found="another shape", next=example)
    if match[4] is None:
        raise Invalid("a time needs Z or an offset", asked=text, found="neither", next=example)
    fraction = (match[3] or "").ljust(9, "0")
    if fraction[6:].strip("0"):
        raise Invalid("times go to the microsecond", asked=text, found="more digits", next=example)
    try:
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}" + ("+00:00" if match[4] in "Zz" else match[4]))
        micros = (whole - EPOCH) // timedelta(microseconds=1) + int(fraction[:6])
    except (ValueError, OverflowError) as error:
        raise Invalid("no such time", asked=text, found=str(error), next=example) from None
    if micros < 0:
        raise Invalid("no such time here", asked=text, found="before 1970", next=example)
    return micros
