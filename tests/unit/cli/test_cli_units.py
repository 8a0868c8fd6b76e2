"""Durations and sizes: what is understood, what is refused, and that output reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Invalid
from scrubjay.units import NUMBER_MAX, SHOWN_MAX, format_duration, format_size, parse_back, parse_duration, parse_size


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


@pytest.mark.parametrize("text", ["9" * 400, "104250", "1" + "0" * 25])
def test_what_is_too_much_for_anybody_is_wrong_usage_and_no_bug(text: str) -> None:
    """A float has no infinity of microseconds, and SQLite no number of more than 64 bits."""
    with pytest.raises(Invalid, match="so long") as refused:
        parse_duration(text + "d")
    assert len(refused.value.fields["asked"]) <= SHOWN_MAX
    with pytest.raises(Invalid, match="so many"):
        parse_size(text + "TiB")
    assert parse_duration("100000d") < parse_duration("104249d") <= NUMBER_MAX
    assert parse_size("8191TiB") <= NUMBER_MAX
