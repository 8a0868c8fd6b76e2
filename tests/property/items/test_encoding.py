"""The item encoding: round trips, one item one byte string, damage never misread as something it is not."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt
from scrubjay.storage.items.encoding import decode_item, decode_value, encode_item, encode_value
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.size import item_size, value_size
from scrubjay.storage.items.values import Item, Value
from scrubjay.storage.items.wire import item_bytes_to_json, item_from_json, item_to_json, value_from_json, value_to_json
from tests.property.items.strategies import items, plain_json, values


@given(items)
def test_round_trip(item: Item) -> None:
    data = encode_item(item)
    assert decode_item(data) == item
    assert decode_item(memoryview(data)) == item
    assert encode_item(decode_item(data)) == data


@given(values)
def test_value_round_trip(value: Value) -> None:
    assert decode_value(encode_value(value)) == value
    assert value_to_json(value) == plain_json(value)
    assert value_from_json(plain_json(value)) == value


@pytest.mark.slow
@given(items, st.randoms(use_true_random=False))
def test_order_of_insertion_does_not_matter(item: Item, random: Any) -> None:
    def shuffled(obj: Any) -> Any:
        if isinstance(obj, dict):
            entries = [(name, shuffled(one)) for name, one in obj.items()]
            random.shuffle(entries)
            return dict(entries)
        if isinstance(obj, list):
            return [shuffled(one) for one in obj]
        return obj

    def shuffled_sets(obj: Any) -> Any:
        if isinstance(obj, dict):
            return {
                name: random.sample(one, len(one)) if name in ("SS", "NS", "BS") and isinstance(one, list) else shuffled_sets(one)
                for name, one in obj.items()
            }
        if isinstance(obj, list):
            return [shuffled_sets(one) for one in obj]
        return obj

    sent = shuffled({name: shuffled_sets(plain_json(value)) for name, value in item.items()})
    assert encode_item(item_from_json(sent)) == encode_item(item)


@pytest.mark.slow
@given(items, items)
def test_equal_items_and_only_they_have_equal_bytes(one: Item, two: Item) -> None:
    assert (encode_item(one) == encode_item(two)) == (one == two)


@pytest.mark.slow
@given(items)
def test_names_lie_sorted_by_their_utf8_bytes(item: Item) -> None:
    found = list(msgspec.msgpack.decode(encode_item(item)[1:]))
    assert [name.encode() for name in found] == sorted(name.encode() for name in item)


@pytest.mark.slow
@given(items)
def test_json_from_bytes_is_the_json_of_the_item(item: Item) -> None:
    shown = msgspec.json.decode(msgspec.json.encode(item_bytes_to_json(encode_item(item))))
    assert shown == item_to_json(item) == {name: plain_json(value) for name, value in item.items()}
    assert item_from_json(shown) == item


@given(st.binary(max_size=60))
def test_foreign_bytes_are_corrupt_or_an_item(data: bytes) -> None:
    for candidate in (data, b"\x01" + data):
        try:
            item = decode_item(candidate)
        except Corrupt:
            continue
        assert decode_item(encode_item(item)) == item


@pytest.mark.slow
@given(items.filter(bool), st.data())
def test_a_changed_byte_is_corrupt_or_another_item(item: Item, data: st.DataObject) -> None:
    encoded = bytearray(encode_item(item))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode_item(bytes(encoded))
    except Corrupt:
        return
    # The encoding carries no checksum of its own: rows do. It must still be a sound item.
    assert decode_item(encode_item(changed)) == changed


def naive_size(value: Value) -> int:
    kind, payload = value
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "S":
        return len(payload.encode())
    if kind == "B":
        return len(payload)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + naive_size(one) for name, one in payload.items())
    if kind == "L":
        return 3 + sum(1 + naive_size(one) for one in payload)
    if kind == "N":
        return naive_number(payload)
    return sum(naive_size((kind[0], one)) for one in payload)


def naive_number(text: str) -> int:
    """Count digit by digit: those with a digit other than zero at or before them and at or behind them, on each side of the point."""
    sides = [0, 0]
    for at, character in enumerate(text):
        if character.isdigit() and text[: at + 1].strip("-.0") and text[at:].strip("-.0"):
            sides["." in text[:at]] += 1
    return 1 + (sides[0] + 1) // 2 + (sides[1] + 1) // 2 + text.startswith("-")


@pytest.mark.slow
@given(items)
def test_size(item: Item) -> None:
    assert item_size(item) == sum(len(name.encode()) + naive_size(value) for name, value in item.items())
    for value in item.values():
        assert value_size(value) == naive_size(value)


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(max_size=6),
            st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode()),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "M", "L", "X", "name"]), inner, max_size=3),
        ),
        max_leaves=12,
    )
)
def test_any_json_becomes_an_item_or_a_refusal(obj: Any) -> None:
    for candidate in (obj, {"a": obj}):
        try:
            item = item_from_json(candidate)
        except ItemError:
            pass
        else:
            assert decode_item(encode_item(item)) == item
            assert item_from_json(item_to_json(item)) == item
