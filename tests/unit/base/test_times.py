"""RFC 3339: what is printed reads back, what is read goes to the microsecond, and what is not a time is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Invalid
from scrubjay.base.times import parse_time, utc_text, utc_text_or_none


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T02:15:00Z", 1_772_331_300_000_000),
        ("2026-03-01T03:15:00+01:00", 1_772_331_300_000_000),
        ("2026-03-01t02:15:00.25z", 1_772_331_300_250_000),
        ("2026-03-01T02:15:00.000001Z", 1_772_331_300_000_001),
        ("2026-03-01T02:15:00.000001000Z", 1_772_331_300_000_001),
    ],
)
def test_times_are_read_to_the_microsecond(text: str, micros: int) -> None:
    assert parse_time(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T02:15:00",
        "2026-03-01",
        "yesterday",
        "",
        "2026-02-30T00:00:00Z",
        "2026-03-01T02:15:00.0000001Z",
        "1969-12-31T23:59:59Z",
        "2026-03-01T25:00:00Z",
        "1772331300",
    ],
)
def test_other_times_are_wrong_usage(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_time(text)
    assert caught.value.exit_code == 64
    assert caught.value.fields["next"]


@given(st.integers(min_value=0, max_value=253_402_300_799_999_999))
def test_a_printed_time_reads_back(micros: int) -> None:
    assert parse_time(utc_text(micros)) == micros


def test_times_are_printed_to_the_microsecond() -> None:
    assert utc_text(1_760_000_000_000_007) == "2025-10-09T08:53:20.000007Z"
    assert utc_text(-1) == "1969-12-31T23:59:59.999999Z"
    assert (utc_text_or_none(None), utc_text_or_none(0)) == (None, "1970-01-01T00:00:00.000000Z")


def test_a_time_that_no_calendar_has_becomes_the_nearest_one_that_it_has() -> None:
    assert utc_text(1 << 63) == "9999-12-31T23:59:59.999999Z"
    assert utc_text(-(1 << 63)) == "0001-01-01T00:00:00.000000Z"
