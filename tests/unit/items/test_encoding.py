"""The canonical item encoding: golden bytes, canonicity, and damage."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.storage.items.encoding import decode_item, decode_value, encode_item, encode_value
from scrubjay.storage.items.wire import item_from_json, item_to_json
from tests.fixtures.golden import Golden

GOLDEN_ITEMS: dict[str, Any] = {
    "empty": {},
    "scalars": {
        "pk": {"S": "Aube-sur-Ill\u00e9 \U0001f426"},
        "sk": {"N": "-12.5"},
        "blob": {"B": "AP8Q"},
        "yes": {"BOOL": True},
        "no": {"BOOL": False},
        "nothing": {"NULL": True},
    },
    "sets": {
        "ss": {"SS": ["b", "a", "\uff61", "\U00010000"]},
        "ns": {"NS": ["10", "9", "-0.5", "1e3"]},
        "bs": {"BS": ["/w==", "AA==", "AAE="]},
    },
    "documents": {
        "m": {"M": {"z": {"L": [{"S": "1"}, {"M": {}}, {"L": []}]}, "a": {"N": "0"}}},
        "l": {"L": [{"BOOL": True}, {"NULL": True}]},
    },
    "numbers": {
        f"n{at}": {"N": text} for at, text in enumerate(["0", "1e125", "-9.9999999999999999999999999999999999999e125", "1e-130", "100"])
    },
    "long": {"s": {"S": "x" * 300}, "b": {"B": "QUJD" * 100}, **{f"a{at:02d}": {"N": str(at)} for at in range(20)}},
}


@pytest.mark.parametrize("name", GOLDEN_ITEMS)
def test_golden(golden: Golden, name: str) -> None:
    item = item_from_json(GOLDEN_ITEMS[name])
    data = encode_item(item)
    golden.check(f"item/{name}.bin", data)
    stored = decode_item(golden.read(f"item/{name}.bin"))
    assert stored == item
    golden.check_json(f"item/{name}.json", item_to_json(stored))


def test_equal_items_have_equal_bytes_whatever_their_history() -> None:
    one = item_from_json({"b": {"NS": ["1.0", "20"]}, "a": {"M": {"y": {"SS": ["q", "p"]}, "x": {"N": "1e1"}}}})
    two = item_from_json({"a": {"M": {"x": {"N": "10.00"}, "y": {"SS": ["p", "q"]}}}, "b": {"NS": ["2e1", "1"]}})
    assert one == two
    assert encode_item(one) == encode_item(two)


def test_strings_and_binaries_lie_raw_in_the_bytes() -> None:
    data = encode_item({"s": ("S", "Zürich"), "b": ("B", b"\x00\xffraw")})
    assert "Zürich".encode() in data
    assert b"\x00\xffraw" in data


def test_one_value() -> None:
    for value in (("S", "a"), ("N", "1"), ("B", b"\x00"), ("M", {"a": ("L", (("NULL", True),))})):
        assert decode_value(encode_value(value)) == value
    with pytest.raises(Corrupt):
        decode_value(b"\x81\xa1S\x01")


def _encoded(obj: object) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(obj)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x00\x80",
        b"\x02\x80",
        b"\x01\x80\x80",
        b"\x01\xc1",
        b"\x01\x81\xa1a\x81\xa1S\xa5cut",
        b"\x01\x81\xa1a\x81\xa1S\xa2\xff\xff",
        _encoded([1]),
        _encoded({"a": "S"}),
        _encoded({"a": {}}),
        _encoded({"a": {"S": "x", "N": "1"}}),
        _encoded({"a": {"X": "x"}}),
        _encoded({"a": {"S": 1}}),
        _encoded({"a": {"S": b"x"}}),
        _encoded({"a": {"N": 1}}),
        _encoded({"a": {"B": "x"}}),
        _encoded({"a": {"BOOL": 1}}),
        _encoded({"a": {"SS": []}}),
        _encoded({"a": {"SS": ["a", 1]}}),
        _encoded({"a": {"SS": "ab"}}),
        _encoded({"a": {"L": {}}}),
        _encoded({"a": {"L": [["S", "x"]]}}),
        _encoded({"a": {"M": [1]}}),
        _encoded({"a": {"M": {"b": 1}}}),
        _encoded({1: {"S": "x"}}),
    ],
)
def test_damage_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_item(data)


def test_every_cut_is_corrupt() -> None:
    data = encode_item(item_from_json(GOLDEN_ITEMS["documents"]))
    for end in range(len(data)):
        with pytest.raises(Corrupt):
            decode_item(data[:end])
    assert decode_item(memoryview(data)) == decode_item(data)


def test_bytes_of_another_order_or_length_form_are_not_canonical() -> None:
    for data, canonical in (
        (encode_item({"a": ("S", "x"), "b": ("S", "y")}), True),
        (_encoded({"b": {"S": "y"}, "a": {"S": "x"}}), False),
        (b"\x01\xde\x00\x00", False),
    ):
        assert (encode_item(decode_item(data)) == data) is canonical


def test_json_text_never_becomes_a_float() -> None:
    item = item_from_json(json.loads('{"n": {"N": "0.1000000000000000055511151231257827"}}'))
    assert decode_item(encode_item(item))["n"] == ("N", "0.1000000000000000055511151231257827")
