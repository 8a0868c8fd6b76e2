"""Numbers: canonical text, refusals, arithmetic at the edges, key bytes."""

from __future__ import annotations

import pytest

from scrubjay.storage.items import numbers
from scrubjay.storage.items.errors import ItemError

NINES = "9" * 38


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.000", "0"),
        ("0e125", "0"),
        ("0.0e126", "0"),
        ("-0e-130", "0"),
        ("0." + "0" * 200, "0"),
        ("+3", "3"),
        ("0001.23", "1.23"),
        (".123", "0.123"),
        ("5.", "5"),
        ("1e+5", "100000"),
        ("-17.4E37", "-174" + "0" * 36),
        ("-0015.789e6", "-15789000"),
        ("1" * 38 + "0" * 88, "1" * 38 + "0" * 88),
        ("0000012345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("-00001.23456789012345678901234567890123456780000", "-1.2345678901234567890123456789012345678"),
        ("0009.99999999999999999999999999999999999990000e125", NINES + "0" * 88),
        ("0001.000e-130", "0." + "0" * 129 + "1"),
        ("-1e125", "-1" + "0" * 125),
        ("1.5e-130", "0." + "0" * 129 + "15"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert numbers.canonical(text) == canonical
    assert numbers.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The parameter cannot be converted to a numeric value"),
        *[
            (bad, f"The parameter cannot be converted to a numeric value: {bad}")
            for bad in ("b", "NaN", "-Infinity", " 1", "1 ", "e5", ".", "1e", "--1", "٣", "1_0")
        ],
        *[
            (far, f"The parameter cannot be converted to a numeric value: {far}")
            for far in ("1e9223372036854775808", "1e-9223372036854775809", "0e9223372036854775808", "1e" + "9" * 400)
        ],
        ("1" * 39, "Attempting to store more than 38 significant digits in a Number"),
        ("-1.23456789012345678901234567890123456789", "Attempting to store more than 38 significant digits in a Number"),
        *[
            (big, "Number overflow. Attempting to store a number with magnitude larger than supported range")
            for big in ("1e126", "-1e126", "11e125", "1e100000000", "1e2147483648", "1e9223372036854775807", "0e126", "-0e126", "00e1000")
        ],
        *[
            (tiny, "Number underflow. Attempting to store a number with magnitude smaller than supported range")
            for tiny in ("1e-131", "-1e-131", "0.9e-130", "1e-99999999999", "1e-9223372036854775808", "0e-131", "0.0e-130")
        ],
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ItemError) as fault:
        numbers.canonical(text)
    assert fault.value.message == message


def test_sums_are_exact_or_refused() -> None:
    assert numbers.add("1", "10000000000000000000000") == "10000000000000000000001"
    assert numbers.subtract("10000000000000000000000", "1") == "9999999999999999999999"
    assert numbers.add("0.1", "0.2") == "0.3"
    assert numbers.subtract("5", "5") == "0"
    assert numbers.add("-5", "5") == "0"
    for left, right in (("9" + "0" * 125, "9" + "0" * 125), ("1" + "0" * 50, "1"), (NINES, "0.1")):
        with pytest.raises(ItemError) as fault:
            numbers.add(left, right)
        assert fault.value.message == numbers.OVERFLOW
    tiny = numbers.canonical("1.5e-130")
    with pytest.raises(ItemError) as fault:
        numbers.subtract(tiny, numbers.canonical("1e-130"))
    assert fault.value.message == numbers.UNDERFLOW
