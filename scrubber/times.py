"""Microseconds since the epoch as INTERFACE prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_text(us: int) -> str:
    """RFC 3339, UTC, always six digits of fraction."""
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_text_or_none(us: int | None) -> str | None:
    return None if us is None else utc_text(us)
