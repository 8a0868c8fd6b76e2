"""Times, durations and sizes: what is understood, what is refused, and that output reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import Invalid
from scrubjay.units import format_duration, format_size, format_time, parse_back, parse_duration, parse_size, parse_time


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


@given(st.integers(min_value=0, max_value=250_000_000_000_000_000))
def test_a_printed_time_reads_back(micros: int) -> None:
    assert parse_time(format_time(micros)) == micros


@given(st.integers(min_value=0, max_value=10**15))
def test_durations_and_sizes_read_back(number: int) -> None:
    assert parse_duration(format_duration(number)) == number
    assert parse_size(format_size(number)) == number


@pytest.mark.parametrize(("text", "micros"), [("5m", 300_000_000), ("90s", 90_000_000), ("2h", 7_200_000_000), ("7d", 604_800_000_000)])
def test_minus(text: str, micros: int) -> None:
    assert parse_back(text) == micros


@pytest.mark.parametrize("text", ["5", "m", "-5m", "1.5h", "5 min", "5M", ""])
def test_other_spans_are_wrong_usage(text: str) -> None:
    with pytest.raises(Invalid):
        parse_back(text)
