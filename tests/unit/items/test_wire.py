"""DynamoDB JSON: what it becomes, what is refused with which text, and which of two faults is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.wire import item_bytes_to_json, item_from_json, item_to_json, value_from_json, value_to_json

ALL_TYPES: dict[str, Any] = {
    "s": {"S": "text"},
    "empty": {"S": ""},
    "n": {"N": "-56.789"},
    "b": {"B": "Yg=="},
    "no": {"BOOL": False},
    "null": {"NULL": True},
    "ss": {"SS": ["a", "ü"]},
    "ns": {"NS": ["-1", "9", "10"]},
    "bs": {"BS": ["Yg==", "Yw=="]},
    "l": {"L": [{"S": "a"}, {"N": "1"}, {"B": "Yg=="}, {"L": []}, {"M": {}}, {"SS": ["x"]}]},
    "m": {"M": {"": {"S": "the empty name, inside"}, "d": {"M": {"e": {"L": [{"NULL": True}]}}}}},
}


def test_all_types_there_and_back() -> None:
    item = item_from_json(ALL_TYPES)
    assert item["ns"] == ("NS", ("-1", "9", "10"))
    assert item_to_json(item) == ALL_TYPES
    assert {name: value_to_json(value) for name, value in item.items()} == ALL_TYPES
    assert msgspec.json.decode(msgspec.json.encode(item_bytes_to_json(encode_item(item)))) == ALL_TYPES


def test_values_become_canonical() -> None:
    assert value_from_json({"NS": ["10", "9.0", "1e-1"]}) == ("NS", ("0.1", "9", "10"))
    assert value_from_json({"SS": ["b", "\U00010000", "\uff61", "a"]}) == ("SS", ("a", "b", "\uff61", "\U00010000"))
    assert value_from_json({"BS": ["/w==", "AA=="]}) == ("BS", (b"\x00", b"\xff"))
    assert value_from_json({"SS": ["a", ""]}) == ("SS", ("", "a"))
    assert value_from_json({"BS": ["AA==", ""]}) == ("BS", (b"", b"\x00"))
    assert value_from_json({"L": [{"N": "1.0"}]}) == ("L", (("N", "1"),))


EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
SEVERAL = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
INVALID = "One or more parameter values were invalid: "

REFUSED: list[tuple[Any, str]] = [
    ({}, EMPTY),
    (None, EMPTY),
    ({"a": ""}, EMPTY),
    ({"S": None}, EMPTY),
    ({"M": {"a": {}}}, EMPTY),
    ({"L": [{}]}, EMPTY),
    ({"L": [{"a": {}}]}, EMPTY),
    ({"S": "a", "N": "1"}, SEVERAL),
    ({"S": "", "N": ""}, "The parameter cannot be converted to a numeric value"),
    ({"S": "a", "N": "b"}, "The parameter cannot be converted to a numeric value: b"),
    ({"NULL": False}, INVALID + "Null attribute value types must have the value of true"),
    ({"NULL": "no"}, INVALID + "Null attribute value types must have the value of true"),
    ({"SS": []}, INVALID + "An string set  may not be empty"),
    ({"NS": []}, INVALID + "An number set  may not be empty"),
    ({"BS": []}, INVALID + "Binary sets should not be empty"),
    ({"SS": ["", "a", ""]}, INVALID + "Input collection [, a, ] contains duplicates."),
    ({"BS": ["", ""]}, INVALID + "Input collection [, ]of type BS contains duplicates."),
    ({"SS": ["a", "a"]}, INVALID + "Input collection [a, a] contains duplicates."),
    ({"BS": ["Yg==", "Yg=="]}, INVALID + "Input collection [Yg==, Yg==]of type BS contains duplicates."),
    ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
    ({"NS": ["1", ""]}, "The parameter cannot be converted to a numeric value"),
    ({"NS": ["1", "b", "a"]}, "The parameter cannot be converted to a numeric value: b"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused_values(value: Any, message: str) -> None:
    for call in (lambda: item_from_json({"a": value}), lambda: value_from_json(value), lambda: value_from_json({"L": [value]})):
        with pytest.raises(ItemError) as fault:
            call()
        assert fault.value.message == message
        assert fault.value.code == "ValidationException"


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused_expression_values_say_where(value: Any, message: str) -> None:
    with pytest.raises(ItemError) as fault:
        Placeholders.from_json(None, {":ok": {"S": "a"}, ":b": value})
    assert fault.value.message == f"ExpressionAttributeValues contains invalid value: {message} for key :b"


def wrapped(levels: int, inner: Any) -> Any:
    for level in range(levels):
        inner = {"L": [inner]} if level % 2 else {"M": {"a": inner}}
    return inner


def test_nesting() -> None:
    too_deep = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
    item_from_json({"a": wrapped(31, {"S": "x"})})
    item_from_json({"a": wrapped(31, {"L": []})})
    for value in (wrapped(32, {"S": "x"}), wrapped(32, {"L": []}), wrapped(400, {"S": "x"})):
        with pytest.raises(ItemError) as fault:
            item_from_json({"a": value})
        assert fault.value.message == too_deep
        with pytest.raises(ItemError) as fault:
            Placeholders.from_json(None, {":a": value})
        assert fault.value.message == too_deep


BLOB = "only base-64-encoded strings are convertible to bytes"
SHAPES: list[tuple[Any, str]] = [
    ({"S": True}, "TRUE_VALUE cannot be converted to String"),
    ({"S": False}, "FALSE_VALUE cannot be converted to String"),
    ({"S": 23}, "NUMBER_VALUE cannot be converted to String"),
    ({"N": 34.56}, "DECIMAL_VALUE cannot be converted to String"),
    ({"N": []}, "Unrecognized collection type class java.lang.String"),
    ({"S": {}}, "Start of structure or map found where not expected"),
    ({"B": 23}, BLOB),
    ({"B": True}, BLOB),
    ({"B": []}, "Unrecognized collection type class java.nio.ByteBuffer"),
    ({"B": {}}, "Start of structure or map found where not expected"),
    ({"B": "23456"}, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
    ({"B": "=+/="}, "Invalid last non-pad Base64 character dectected"),
    ({"B": "+/+="}, "Invalid last non-pad Base64 character dectected"),
    ({"B": "YW%h"}, "Invalid base 64 character: '%'"),
    ({"BOOL": "23"}, "Unexpected token received from parser"),
    ({"BOOL": 23}, "NUMBER_VALUE cannot be converted to Boolean"),
    ({"NULL": 34.56}, "DECIMAL_VALUE cannot be converted to Boolean"),
    ({"BOOL": []}, "Unrecognized collection type class java.lang.Boolean"),
    ({"BOOL": {}}, "Start of structure or map found where not expected"),
    ({"SS": "23"}, "Unexpected field type"),
    ({"SS": {}}, "Start of structure or map found where not expected"),
    ({"SS": [1]}, "NUMBER_VALUE cannot be converted to String"),
    ({"BS": [True]}, BLOB),
    ({"L": True}, "Unexpected field type"),
    ({"L": ["a"]}, "Unexpected value type in payload"),
    ({"L": [[]]}, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"),
    ({"L": [{"BS": "a"}]}, "Unexpected field type"),
    ({"M": 1}, "Unexpected field type"),
    ({"M": []}, "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"),
    ({"M": {"a": "x"}}, "Unexpected value type in payload"),
    ("x", "Unexpected value type in payload"),
    (7, "Unexpected value type in payload"),
    ([], "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"),
]


@pytest.mark.parametrize(("value", "message"), SHAPES)
def test_wrong_shapes_win_over_wrong_values(value: Any, message: str) -> None:
    for item in ({"a": value}, {"bad": {"N": "x"}, "a": value}, {"bad": {"SS": []}, "two": {"S": "", "N": "1"}, "a": value}):
        with pytest.raises(SerializationError) as fault:
            item_from_json(item)
        assert fault.value.message == message
        assert fault.value.code == "SerializationException"


@pytest.mark.parametrize("item", ["x", 3, None, True])
def test_an_item_is_an_object(item: Any) -> None:
    with pytest.raises(SerializationError, match="Unexpected field type"):
        item_from_json(item)


def test_leniencies_of_the_service() -> None:
    assert item_from_json({"a": {"S": "x", "N": None, "unknown": [1]}}) == {"a": ("S", "x")}
    assert value_from_json({"BOOL": "no"}) == ("BOOL", False)
    assert value_from_json({"BOOL": "True"}) == ("BOOL", True)
    assert value_from_json({"NULL": "yes"}) == ("NULL", True)


def test_half_a_surrogate_pair_is_refused() -> None:
    for item in ({"a": {"S": "\ud800"}}, {"\udfff": {"S": "a"}}, {"a": {"SS": ["\ud800"]}}, {"a": {"M": {"\ud800": {"S": ""}}}}):
        with pytest.raises(SerializationError):
            item_from_json(item)


def test_names() -> None:
    item_from_json({"n" * 65535: {"S": ""}, "ü" * 32767: {"S": ""}})
    for name in ("n" * 65536, "ü" * 32768):
        for item in ({name: {"S": ""}}, {"a": {"M": {name: {"S": ""}}}}):
            with pytest.raises(ItemError) as fault:
                item_from_json(item)
            assert fault.value.message == "Attribute name is too large, must be less than 65536 bytes"
    with pytest.raises(ItemError):
        item_from_json({"": {"S": ""}})


def test_damaged_bytes_are_corrupt() -> None:
    for data in (b"", b"\x01", b"\x02\x80", b"\x01\x81", b"\x01\x81\xa1a\xa1b", b"\x01\x80\x80"):
        with pytest.raises(Corrupt):
            item_bytes_to_json(data)
