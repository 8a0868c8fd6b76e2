"""What the simulated clients send: whole-item writes and compare-and-set of one number, on real items and keys."""

from __future__ import annotations

from storage.command import Outcome, Verdict
from storage.control.catalogue import KeyAttribute, KeySchema
from storage.items.encoding import decode_item, encode_item
from storage.items.keys import storage_key

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


class Put:
    """Write `value`, or delete the key if it is None."""

    def __init__(self, key: int, value: int | None, *, blind: bool) -> None:
        self.key = key_of(key)
        self.key_item = encode_item({"k": ("S", f"key-{key}")})
        self.blind = blind and value is not None
        self._new = None if value is None else item_of(key, value)

    def evaluate(self, old: bytes | None) -> Outcome:
        if self._new is None:
            return Outcome(Verdict.UNCHANGED if old is None else Verdict.DELETE, old, None)
        return Outcome(Verdict.PUT, old, self._new)


class Cas:
    """Write `value` if the key's value is `expected` (None: absent)."""

    blind = False

    def __init__(self, key: int, expected: int | None, value: int) -> None:
        self.key = key_of(key)
        self.key_item = encode_item({"k": ("S", f"key-{key}")})
        self._expected = expected
        self._new = item_of(key, value)

    def evaluate(self, old: bytes | None) -> Outcome:
        if value_of(old) != self._expected:
            return Outcome(Verdict.CONDITION_FAILED, old, old)
        return Outcome(Verdict.PUT, old, self._new)
