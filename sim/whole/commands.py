"""What the simulated clients send: whole-item writes and compare-and-set of one number, on real items and keys."""

from __future__ import annotations

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.commands.values import DeleteCommand, PutCommand, WriteCommand
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.tree import And, Compare, FunctionNode, Not, PathNode, ValueNode
from scrubjay.storage.items.keys import storage_key

SCHEMA = KeySchema(KeyAttribute("k", "S"))


def key_of(key: int) -> bytes:
    """Storage key of the simulated key number `key`."""
    return storage_key(SCHEMA, {"k": ("S", f"key-{key}")})


def item_of(key: int, value: int) -> bytes:
    return encode_item({"k": ("S", f"key-{key}"), "v": ("S", str(value)), "pad": ("S", "x" * (value % 97))})


def number_of(item: bytes) -> int:
    """The number of the key in an item."""
    key = decode_item(item)["k"][1]
    assert isinstance(key, str)
    return int(key.removeprefix("key-"))


def value_of(item: bytes | None) -> int | None:
    """The number in an item; None if there is none. Raises AssertionError if any byte of the item is not what was written."""
    if item is None:
        return None
    text = decode_item(item)["v"][1]
    assert isinstance(text, str)
    key = decode_item(item)["k"][1]
    assert isinstance(key, str)
    assert item == item_of(int(key.removeprefix("key-")), int(text)), "a wrong byte was served"
    return int(text)


def put(key: int, value: int | None, *, blind: bool) -> WriteCommand:
    """Write `value`, or delete the key if it is None."""
    key_item = encode_item({"k": ("S", f"key-{key}")})
    if value is None:
        return DeleteCommand(key_of(key), key_item)
    return PutCommand(key_of(key), key_item, item_of(key, value), blind=blind)


def cas(key: int, expected: int | None, value: int) -> WriteCommand:
    """Write `value` if the key's value is `expected` (None: absent)."""
    there = FunctionNode("attribute_exists", (PathNode(("k",)),))
    same = Compare("=", PathNode(("v",)), ValueNode(("S", str(expected))))
    condition = Condition(Not(there) if expected is None else And((there, same)))
    return PutCommand(key_of(key), encode_item({"k": ("S", f"key-{key}")}), item_of(key, value), condition)
