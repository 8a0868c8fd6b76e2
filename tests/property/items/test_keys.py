"""Storage keys: byte order is DynamoDB's order, and ranges hold exactly what their operator says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.keys import absolute_bounds, hash_prefix, sort_bounds, sort_bytes, storage_key
from scrubjay.storage.items.values import Value
from tests.property.items.strategies import numbers, texts

SORTS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "S": (texts.filter(bool), str.encode),
    "N": (numbers, Decimal),
    "B": (st.binary(min_size=1, max_size=6), bytes),
}


@st.composite
def sort_values(draw: st.DrawFn, count: int) -> tuple[str, list[Any]]:
    kind = draw(st.sampled_from(sorted(SORTS)))
    near = SORTS[kind][0]
    drawn = [draw(near) for _ in range(count)]
    if kind != "N":
        # make prefixes of each other likely
        drawn = [value if draw(st.booleans()) else drawn[0][: draw(st.integers(1, 3))] + value for value in drawn]
    return kind, drawn


@given(sort_values(2))
def test_byte_order_is_value_order(drawn: tuple[str, list[Any]]) -> None:
    kind, (one, two) = drawn
    order = SORTS[kind][1]
    left, right = sort_bytes((kind, one)), sort_bytes((kind, two))
    assert (left < right) == (order(one) < order(two))
    assert (left == right) == (order(one) == order(two))


@given(sort_values(4), st.sampled_from(["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"]), st.binary(min_size=16, max_size=16))
def test_bounds_hold_what_the_operator_says(drawn: tuple[str, list[Any]], operator: str, prefix: bytes) -> None:
    kind, (key, low, high, _) = drawn
    order = SORTS[kind][1]
    if operator == "begins_with" and kind == "N":
        return
    schema = KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", kind))
    values: list[Value] = [(kind, low), (kind, high)]
    bounds = sort_bounds(schema, operator, values if operator == "BETWEEN" else values[:1])
    start, end = absolute_bounds(prefix, bounds)
    row = prefix + sort_bytes((kind, key))
    wanted = {
        "=": order(key) == order(low),
        "<": order(key) < order(low),
        "<=": order(key) <= order(low),
        ">": order(key) > order(low),
        ">=": order(key) >= order(low),
        "BETWEEN": order(low) <= order(key) <= order(high),
        "begins_with": kind != "N" and key.startswith(low),
    }[operator]
    assert (start <= row and (end is None or row < end)) == wanted


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.binary(max_size=4))
def test_other_partition_keys_stay_outside(prefix: bytes, other: bytes, tail: bytes) -> None:
    start, end = absolute_bounds(prefix, (None, None))
    inside = start <= other + tail and (end is None or other + tail < end)
    assert inside == (prefix == other)


@given(texts.filter(bool), numbers, st.binary(min_size=1, max_size=8))
def test_storage_keys_are_a_hash_and_the_sort_key(text: str, number: str, raw: bytes) -> None:
    schema = KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", "B"))
    key = storage_key(schema, {"p": ("S", text), "s": ("B", raw), "other": ("N", number)})
    assert key == hash_prefix(schema, ("S", text)) + raw
    assert storage_key(KeySchema(KeyAttribute("other", "N")), {"other": ("N", number)}) == hash_prefix(schema, ("N", number))
