"""Durations and sizes: what is understood, what is refused, and that output reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Invalid
from scrubjay.units import format_duration, format_size, parse_back, parse_duration, parse_size


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
