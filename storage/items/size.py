"""Item sizes as AWS counts them, in bytes: names and values, names and strings in UTF-8.

S, SS, B, BS   bytes of the text or binary (sets: the sum)
N, NS          base-100 digits, aligned at the decimal point, plus 1, plus 1 if negative (zero: 1)
BOOL, NULL     1
M, L           3, plus 1 per element, plus the elements (and their names)
"""

from __future__ import annotations

from typing import Any

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.values import Item, Value

ITEM_SIZE_MAX = 400 * 1024
"""Bytes."""
TRANSACTION_SIZE_MAX = 4 * 1024 * 1024
"""Bytes of all items that one transaction writes, or reads."""
ITEM_ENCODED_BYTES_MAX = 8 << 20
"""Bytes of an item's canonical encoding, which a record of at most 16 MiB must hold. Only numbers far from the decimal point come near: DynamoDB counts
1e125 as 2 bytes, written out it has 126."""
ITEM_TOO_LARGE = "Item size has exceeded the maximum allowed size"
UPDATE_TOO_LARGE = "Item size to update has exceeded the maximum allowed size"


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
    """Bytes of a canonical number. Zeros at either end are not significant: 100 and 0.01 have one digit, 100.5 three and one."""
    if text == "0":
        return 1
    negative = text[0] == "-"
    if "." not in text:
        return (len(text.rstrip("0")) - negative + 1) // 2 + 1 + negative
    whole, _, fraction = text[negative:].partition(".")
    if whole == "0":
        return (len(fraction.lstrip("0")) + 1) // 2 + 1 + negative
    return (len(whole) + 1) // 2 + (len(fraction) + 1) // 2 + 1 + negative


def check_encoded_size(data: bytes, *, update: bool = False) -> None:
    """Raise ItemError if an item's canonical bytes are more than a record can hold. update: as for `check_item_size`."""
    if len(data) > ITEM_ENCODED_BYTES_MAX:
        raise ItemError(UPDATE_TOO_LARGE if update else ITEM_TOO_LARGE)


def check_item_size(item: Item, *, update: bool = False) -> None:
    """Raise ItemError if the item is larger than 400 KB. update: the item is the outcome of an update (AWS words it differently)."""
    if item_size(item) > ITEM_SIZE_MAX:
        raise ItemError(UPDATE_TOO_LARGE if update else ITEM_TOO_LARGE)
