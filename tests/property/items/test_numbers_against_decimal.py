"""Numbers against Python's decimal module."""

from __future__ import annotations

from decimal import Context, Decimal

from hypothesis import assume, example, given
from hypothesis import strategies as st

from scrubjay.storage.items import numbers
from scrubjay.storage.items.errors import ItemError
from tests.property.items.strategies import decimals

EXACT = Context(prec=400)


def fits(value: Decimal) -> bool:
    """What DynamoDB stores, in decimal's words."""
    value = value.normalize(EXACT)
    return not value or (len(value.as_tuple().digits) <= 38 and -130 <= value.adjusted() <= 125)


def zero_in_range(text: str, value: Decimal) -> bool:
    """DynamoDB judges a zero by the exponent it is written with, if it is written with one."""
    return bool(value) or "e" not in text.lower() or -130 <= value.adjusted() <= 125


def plain(value: Decimal) -> str:
    """The text AWS returns, in decimal's words."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@given(st.from_regex(r"[+-]?([0-9]{1,45}(\.[0-9]{0,45})?|\.[0-9]{1,45})([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example("0e999")
@example("0.0e126")
@example("0e126")
@example("0e-131")
@example("9" * 38 + "0" * 88)
@example("1" + "0" * 37 + "1")
def test_text_means_what_decimal_says(text: str) -> None:
    value = Decimal(text)
    try:
        canonical = numbers.canonical(text)
    except ItemError:
        assert not fits(value) or not zero_in_range(text, value)
    else:
        assert fits(value)
        assert zero_in_range(text, value)
        assert canonical == plain(value)
        assert numbers.canonical(canonical) == canonical


@given(st.text(max_size=12))
def test_other_text_is_refused_in_words(text: str) -> None:
    try:
        numbers.canonical(text)
    except ItemError:
        return
    assert Decimal(text) == Decimal(numbers.canonical(text))


@given(decimals(), decimals())
def test_order(left: Decimal, right: Decimal) -> None:
    one, two = plain(left), plain(right)
    expected = (left > right) - (left < right)
    assert numbers.compare(one, two) == expected
    one_key, two_key = numbers.order_bytes(one), numbers.order_bytes(two)
    assert (one_key > two_key) - (one_key < two_key) == expected
    assert len(one_key) <= 22


@given(decimals(), st.integers(-3, 3))
def test_close_numbers_keep_their_order(value: Decimal, steps: int) -> None:
    other = value + Decimal(steps).scaleb(value.adjusted() - 37, EXACT) if value else Decimal(steps)
    assume(fits(other))
    one, two = numbers.order_bytes(plain(value)), numbers.order_bytes(plain(other))
    assert (one > two) - (one < two) == (value > other) - (value < other)


@given(decimals(), decimals())
def test_sums_and_differences(left: Decimal, right: Decimal) -> None:
    for ours, exact in ((numbers.add, EXACT.add(left, right)), (numbers.subtract, EXACT.subtract(left, right))):
        try:
            result = ours(plain(left), plain(right))
        except ItemError:
            assert not fits(exact)
        else:
            assert fits(exact)
            assert result == plain(exact)
