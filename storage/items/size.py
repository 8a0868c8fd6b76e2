"""Item sizes as AWS counts them, in bytes: names and values, names and strings in UTF-8.

S, SS, B, BS   bytes of the text or binary (sets: the sum)
N, NS          base-100 digits, aligned at the decimal point, plus 1, plus 1 if negative (zero: 1)
BOOL, NULL     1
M, L           3, plus 1 per element, plus the elements (and their names)
"""

from __future__ import annotations

from typing import Any

from storage.items.errors import ItemError
from storage.items.numbers import parts
from storage.items.values import Item, Value

ITEM_SIZE_MAX = 400 * 1024
"""Bytes."""
ITEM_TOO_LARGE = "Item size has exceeded the maximum allowed size"
UPDATE_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"
_NUMBER_SIZE_MAX = 21


def item_size(item: Item) -> int:
    """Bytes of an item."""
    total = 0
    for name, (kind, payload) in item.items():
        total += len(name) if name.isascii() else len(name.encode())
        if kind == "S":
            total += len(payload) if payload.isascii() else len(payload.encode())
        else:
            total += payload_size(kind, payload)
    return total


def value_size(value: Value) -> int:
    """Bytes of one value."""
    return payload_size(value[0], value[1])


def payload_size(kind: str, payload: Any) -> int:
    """Bytes of a payload of type `kind`."""
    if kind == "S":
        return len(payload) if payload.isascii() else len(payload.encode())
    if kind == "N":
        return number_size(payload)
    if kind == "B":
        return len(payload)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "M":
        return 3 + len(payload) + item_size(payload)
    if kind == "L":
        return 3 + len(payload) + sum([payload_size(k, p) for k, p in payload])
    return sum([payload_size(kind[0], element) for element in payload])


def number_size(text: str) -> int:
    """Bytes of a canonical number."""
    if text.isdigit() and text[-1] != "0":
        return (len(text) + 1) // 2 + 1
    negative, digits, point = parts(text)
    if not digits:
        return 1
    # The first base-100 digit holds one decimal digit alone when an odd number of them stands before the point.
    pairs = (len(digits) + (point & 1) + 1) // 2
    return min(pairs + 1 + negative, _NUMBER_SIZE_MAX)


def check_item_size(item: Item, *, update: bool = False) -> None:
    """Raise ItemError if the item is larger than 400 KB. update: the item is the outcome of an update (AWS words it differently)."""
    if item_size(item) > ITEM_SIZE_MAX:
        raise ItemError(UPDATE_TOO_LARGE if update else ITEM_TOO_LARGE)
