"""Microseconds since the epoch as INTERFACE prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = -62_135_596_800_000_000
"""The first microsecond of the year 1."""
_LAST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""


def utc_text(us: int) -> str:
    """RFC 3339, UTC, always six digits of fraction. A time no calendar has (a wild number in a request) becomes the nearest one that it has."""
    bounded = min(max(us, FIRST_US), _LAST_US)
    return (_EPOCH + timedelta(microseconds=bounded)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc_text_or_none(us: int | None) -> str | None:
    return None if us is None else utc_text(us)
