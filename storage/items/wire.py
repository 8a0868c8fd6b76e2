"""DynamoDB JSON to values and back.

Input is what a JSON decoder returns (dict, list, str, bool, int, float, None). Two kinds of fault, and the first wins whatever the order in the text:
a wrong JSON shape is a SerializationError, a value that DynamoDB refuses an ItemError. The happy path checks both in one pass; only a failure pays
for the second pass that decides which fault is told.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from scrubjay.storage.items.encoding import VERSION, WHOLE, bad_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.numbers import canonical
from scrubjay.storage.items.values import NESTING_MAX, Item, Value, make_set

EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
SEVERAL = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
_INVALID = "One or more parameter values were invalid: "
NULL_FALSE = _INVALID + "Null attribute value types must have the value of true"
TOO_DEEP = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
_NAME_BYTES_MAX = 65535
_NO_NAME = "Empty attribute name"
NAME_TOO_LONG = f"Attribute name is too large, must be less than {_NAME_BYTES_MAX + 1} bytes"

_ATTRIBUTE_VALUE = "com.amazonaws.dynamodb.v20120810.AttributeValue"
_STRUCT_EXPECTED = "Unexpected value type in payload"
_JSON_DEPTH_MAX = 2 * NESTING_MAX + 64
"""Levels looked at when a shape fault is searched for; deeper input has been refused for its nesting."""


# --- from JSON -----------------------------------------------------------------------------------------------------------------------------


def item_from_json(obj: object, where: str = "Item") -> Item:
    """The item in a JSON object of attribute values. where: the request member, for the shape error.

    Raises SerializationError, ItemError.
    """
    try:
        if type(obj) is not dict:
            raise _NotHappy
        item: Item = {}
        for name, wrapped in obj.items():
            ((kind, payload),) = wrapped.items()
            if kind == "S" and type(payload) is str:
                if not payload.isascii():
                    payload.encode()
                item[name] = (kind, payload)
            else:
                item[name] = _READ[kind](payload, 1)
            if len(name) > _NAME_BYTES_MAX or not name or not name.isascii():
                check_name(name)
    except (_NotHappy, KeyError, ValueError, AttributeError, TypeError, RecursionError):
        return _item_slow(obj)
    except ItemError:
        check_item_shape(obj)
        _check_named(obj)
        raise
    return item


def _check_named(obj: Any) -> None:
    """Raise ItemError if an attribute has no name: it is told before what is wrong with any value."""
    if "" in obj:
        raise ItemError(_NO_NAME) from None


def value_from_json(obj: object) -> Value:
    """One attribute value. Raises SerializationError, ItemError."""
    try:
        return _value(obj, 1)
    except (_NotHappy, KeyError, ValueError, AttributeError, TypeError, RecursionError):
        check_value_shape(obj)
        return _value_slow(obj, 1)
    except ItemError:
        check_value_shape(obj)
        raise


class _NotHappy(Exception):
    """The input is not what a sound client sends: leave the fast path."""


def _value(obj: Any, depth: int) -> Value:
    ((kind, payload),) = obj.items()
    return _READ[kind](payload, depth)


def _read_string(payload: Any, depth: int) -> Value:
    if type(payload) is not str:
        raise _NotHappy
    if not payload.isascii():
        payload.encode()
    return "S", payload


def _read_number(payload: Any, depth: int) -> Value:
    if type(payload) is not str:
        raise _NotHappy
    return "N", canonical(payload)


def _read_binary(payload: Any, depth: int) -> Value:
    return "B", _base64(payload)


def _read_bool(payload: Any, depth: int) -> Value:
    if type(payload) is not bool:
        raise _NotHappy
    return "BOOL", payload


def _read_null(payload: Any, depth: int) -> Value:
    if type(payload) is not bool:
        raise _NotHappy
    if not payload:
        raise ItemError(NULL_FALSE)
    return "NULL", True


def _read_map(payload: Any, depth: int) -> Value:
    if type(payload) is not dict:
        raise _NotHappy
    if depth >= NESTING_MAX and payload:
        raise ItemError(TOO_DEEP)
    members: Item = {}
    for name, wrapped in payload.items():
        members[name] = _value(wrapped, depth + 1)
        if len(name) > _NAME_BYTES_MAX or not name.isascii():
            check_name(name)
    return "M", members


def _read_list(payload: Any, depth: int) -> Value:
    if type(payload) is not list:
        raise _NotHappy
    if depth >= NESTING_MAX and payload:
        raise ItemError(TOO_DEEP)
    return "L", tuple([_value(wrapped, depth + 1) for wrapped in payload])


def _read_string_set(payload: Any, depth: int) -> Value:
    if type(payload) is not list:
        raise _NotHappy
    if not payload:
        raise ItemError(_INVALID + "An string set  may not be empty")
    for element in payload:
        if type(element) is not str:
            raise _NotHappy
        if not element.isascii():
            element.encode()
    value = make_set("SS", payload)
    if len(value[1]) != len(payload):
        raise ItemError(f"{_INVALID}Input collection [{', '.join(payload)}] contains duplicates.")
    return value


def _read_number_set(payload: Any, depth: int) -> Value:
    if type(payload) is not list:
        raise _NotHappy
    if not payload:
        raise ItemError(_INVALID + "An number set  may not be empty")
    for element in payload:
        if type(element) is not str:
            raise _NotHappy
    value = make_set("NS", [canonical(element) for element in payload])
    if len(value[1]) != len(payload):
        raise ItemError("Input collection contains duplicates")
    return value


def _read_binary_set(payload: Any, depth: int) -> Value:
    if type(payload) is not list:
        raise _NotHappy
    if not payload:
        raise ItemError(_INVALID + "Binary sets should not be empty")
    elements = [_base64(element) for element in payload]
    value = make_set("BS", elements)
    if len(value[1]) != len(payload):
        raise ItemError(f"{_INVALID}Input collection [{', '.join(payload)}]of type BS contains duplicates.")
    return value


_READ: dict[str, Callable[[Any, int], Value]] = {
    "S": _read_string,
    "N": _read_number,
    "B": _read_binary,
    "SS": _read_string_set,
    "NS": _read_number_set,
    "BS": _read_binary_set,
    "M": _read_map,
    "L": _read_list,
    "NULL": _read_null,
    "BOOL": _read_bool,
}


def _base64(payload: Any) -> bytes:
    if type(payload) is not str:
        raise _NotHappy
    data = binascii.a2b_base64(payload, strict_mode=True)
    if payload.endswith("=") and binascii.b2a_base64(data, newline=False).decode("ascii") != payload:
        raise _NotHappy
    return data


# --- the slow path: which fault is it ----------------------------------------------------------------------------------------------------------


def _item_slow(obj: object) -> Item:
    check_item_shape(obj)
    assert isinstance(obj, dict)
    _check_named(obj)
    item: Item = {}
    for name, wrapped in obj.items():
        check_name(name)
        item[name] = _value_slow(wrapped, 1)
    return item


def _value_slow(obj: Any, depth: int) -> Value:
    """As `_value`, for an object whose shape is right: unknown and null members are as good as absent, as for AWS."""
    known = {kind: payload for kind, payload in (obj or {}).items() if kind in _READ and payload is not None}
    if not known:
        raise ItemError(EMPTY)
    values = [_read_slow(kind, payload, depth) for kind, payload in known.items()]
    if len(values) > 1:
        raise ItemError(SEVERAL)
    return values[0]


def _read_slow(kind: str, payload: Any, depth: int) -> Value:
    if kind in ("M", "L") and depth >= NESTING_MAX and payload:
        raise ItemError(TOO_DEEP)
    if kind in ("BOOL", "NULL") and isinstance(payload, str):
        payload = _BOOLEAN_TEXTS[payload.lower()]
    if kind == "M":
        members: Item = {}
        for name, wrapped in payload.items():
            members[check_name(name, empty=True)] = _value_slow(wrapped, depth + 1)
        return "M", members
    if kind == "L":
        return "L", tuple([_value_slow(wrapped, depth + 1) for wrapped in payload])
    try:
        return _READ[kind](payload, depth)
    except UnicodeEncodeError:
        raise SerializationError("Unable to parse the text of a string: it has half a surrogate pair") from None


def check_name(name: str, *, empty: bool = False) -> str:
    """name, if it may name an attribute. Raises ItemError."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise SerializationError("Unable to parse the text of a string: it has half a surrogate pair") from None
    if size > _NAME_BYTES_MAX:
        raise ItemError(NAME_TOO_LONG)
    if not name and not empty:
        raise ItemError(_NO_NAME)
    return name


# --- shapes --------------------------------------------------------------------------------------------------------------------------------


def check_item_shape(obj: object) -> None:
    """Raise the SerializationError of the first place in a map of attribute values that has the wrong JSON shape, if any."""
    _check_map(obj, "Unexpected field type", 0)


def check_value_shape(obj: object, *, expected: str = _STRUCT_EXPECTED) -> None:
    """As `check_item_shape`, for one attribute value. expected: what is said of a scalar in its place."""
    _check_struct(obj, expected, 0)


def _check_map(obj: object, expected: str, depth: int) -> None:
    if isinstance(obj, list):
        raise SerializationError(f"Unrecognized collection type java.util.Map<java.lang.String, {_ATTRIBUTE_VALUE}>")
    if not isinstance(obj, dict):
        raise SerializationError(expected)
    for wrapped in obj.values():
        _check_struct(wrapped, _STRUCT_EXPECTED, depth + 1)


def _check_struct(obj: object, expected: str, depth: int) -> None:
    if obj is None or depth > _JSON_DEPTH_MAX:
        return
    if isinstance(obj, list):
        raise SerializationError(f"Unrecognized collection type class {_ATTRIBUTE_VALUE}")
    if not isinstance(obj, dict):
        raise SerializationError(expected)
    for kind, payload in obj.items():
        if payload is not None:
            _check_payload(kind, payload, depth)


def _check_payload(kind: str, payload: object, depth: int) -> None:
    if kind in ("S", "N"):
        check_string_shape(payload)
    elif kind == "B":
        _check_blob_shape(payload)
    elif kind in ("BOOL", "NULL"):
        check_boolean_shape(payload)
    elif kind == "M":
        _check_map(payload, "Unexpected field type", depth + 1)
    elif kind in ("SS", "NS", "BS", "L"):
        if isinstance(payload, dict):
            raise SerializationError("Start of structure or map found where not expected")
        if not isinstance(payload, list):
            raise SerializationError("Unexpected field type")
        for element in payload:
            if kind == "L":
                _check_struct(element, _STRUCT_EXPECTED, depth + 1)
            elif kind == "BS":
                _check_blob_shape(element)
            else:
                check_string_shape(element)


def json_token(obj: object) -> str:
    """What AWS's parser calls a JSON scalar."""
    if obj is True:
        return "TRUE_VALUE"
    if obj is False:
        return "FALSE_VALUE"
    if obj is None:
        return "NULL_VALUE"
    if isinstance(obj, int):
        return "NUMBER_VALUE"
    if isinstance(obj, float):
        return "DECIMAL_VALUE"
    return "STRING_VALUE"


def check_string_shape(obj: object) -> None:
    """Raise the SerializationError AWS gives where a string is wanted."""
    if isinstance(obj, str):
        return
    _check_scalar(obj, "java.lang.String")
    raise SerializationError(f"{json_token(obj)} cannot be converted to String")


def check_boolean_shape(obj: object) -> None:
    """Raise the SerializationError AWS gives where a boolean is wanted."""
    if isinstance(obj, bool):
        return
    _check_scalar(obj, "java.lang.Boolean")
    if isinstance(obj, str):
        if obj.lower() in _BOOLEAN_TEXTS:
            return
        raise SerializationError("Unexpected token received from parser")
    raise SerializationError(f"{json_token(obj)} cannot be converted to Boolean")


_BOOLEAN_TEXTS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""Strings that AWS's parser takes for a boolean."""


def check_integer_shape(obj: object, java: str = "Integer") -> None:
    """Raise the SerializationError AWS gives where a whole number is wanted. java: Integer or Long."""
    if isinstance(obj, (int, float)) and not isinstance(obj, bool):
        return
    _check_scalar(obj, f"java.lang.{java}")
    raise SerializationError(f"{json_token(obj)} cannot be converted to {java}")


def _check_scalar(obj: object, java: str) -> None:
    if isinstance(obj, list):
        raise SerializationError(f"Unrecognized collection type class {java}")
    if isinstance(obj, dict):
        raise SerializationError("Start of structure or map found where not expected")


_BASE64 = {character: index for index, character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


def _check_blob_shape(obj: object) -> None:
    if isinstance(obj, (list, dict)):
        _check_scalar(obj, "java.nio.ByteBuffer")
    if not isinstance(obj, str):
        raise SerializationError("only base-64-encoded strings are convertible to bytes")
    if len(obj) % 4:
        raise SerializationError(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(obj)}")
    padding = 2 if obj.endswith("==") else 1 if obj.endswith("=") else 0
    if padding:
        last = obj[-padding - 1 : -padding]
        if _BASE64.get(last, 0) & (0x03 if padding == 1 else 0x0F):
            raise SerializationError("Invalid last non-pad Base64 character dectected")
    for character in obj[: len(obj) - padding]:
        if character not in _BASE64:
            raise SerializationError(f"Invalid base 64 character: '{character}'")


# --- to JSON -------------------------------------------------------------------------------------------------------------------------------


def value_to_json(value: Value) -> dict[str, Any]:
    """One value as DynamoDB JSON; binaries as base64 text."""
    kind, payload = value
    if kind == "B":
        return {kind: binascii.b2a_base64(payload, newline=False).decode("ascii")}
    if kind == "M":
        return {kind: item_to_json(payload)}
    if kind == "L":
        return {kind: [value_to_json(element) for element in payload]}
    if kind == "BS":
        return {kind: [binascii.b2a_base64(element, newline=False).decode("ascii") for element in payload]}
    if kind in ("SS", "NS"):
        return {kind: list(payload)}
    return {kind: payload}


def item_to_json(item: Item) -> dict[str, Any]:
    """An item as DynamoDB JSON."""
    return {name: {value[0]: value[1]} if value[0] in ("S", "N", "BOOL") else value_to_json(value) for name, value in item.items()}


def item_bytes_to_json(data: bytes | memoryview) -> dict[str, Any]:
    """Canonical item bytes as a JSON-able object, without building values. Binaries stay `bytes`, which msgspec's JSON encoder writes as base64.

    Raises Corrupt on bytes that are no item.
    """
    if len(data) < 2 or data[0] != VERSION:
        raise bad_item("version unknown", data)
    try:
        return WHOLE.decode(data[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise bad_item(str(fault), data) from None
