"""Attribute values and items as the rest of the store sees them.

A value is a pair (type, payload), never changed once made:

    "S"    str                              "N"    canonical number text (see storage.items.numbers)
    "B"    bytes                            "BOOL" bool
    "NULL" True
    "SS"   tuple of str, by UTF-8 bytes     "NS"   tuple of canonical number texts, by numeric value
    "BS"   tuple of bytes, by bytes         (sets: at least one element, no duplicates)
    "M"    dict of name to value            "L"    tuple of values

Because the payloads are canonical, two values are equal for DynamoDB exactly when they are equal for Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scrubjay.storage.items.numbers import sort_key

Value = tuple[str, Any]
Item = dict[str, Value]

TYPES = ("S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL")
SET_TYPES = {"SS": "S", "NS": "N", "BS": "B"}
"""Set type to the type of its elements."""
NESTING_MAX = 32
"""Levels an attribute may have; a scalar, set or empty container is one level, a map or list one more than its deepest element."""


def make_set(kind: str, elements: Iterable[Any]) -> Value:
    """The set value of `kind` with `elements` (duplicates dropped, order made canonical). elements: payloads of the element type, not empty."""
    unique = dict.fromkeys(elements)
    return kind, tuple(sorted(unique, key=sort_key) if kind == "NS" else sorted(unique))


def is_deeper_than(value: Value, levels: int) -> bool:
    """Whether `value` has more than `levels` levels (see NESTING_MAX)."""
    if levels <= 0:
        return True
    kind, payload = value
    if kind == "M":
        return any(is_deeper_than(child, levels - 1) for child in payload.values())
    if kind == "L":
        return any(is_deeper_than(child, levels - 1) for child in payload)
    return False
