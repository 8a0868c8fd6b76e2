"""The rows of global secondary indexes: derived from items, never written by anybody (docs/formats/global-index-row.md).

An index has a table of its own, so a row's key is as one of any table: 16 bytes that place it, made of the index's hash attributes; then a mark, and what orders it: the index's sort
attributes, each in a form that ends by itself. Behind them stands which item it is of, so that items with equal index keys have a row each. Its value is the projected item.

Pure. Whoever holds an item derives the same row: the feed, a backfill, a scrub, and who asks what a write cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import xxhash

from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import VERSION, WHOLE, bad_item, encode_payloads, encode_value
from scrubjay.storage.items.keys import (
    HASH_BYTES,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    absolute_bounds,
    key_attributes,
    sort_bounds,
    sort_bytes,
)
from scrubjay.storage.items.local_index import grouped, tail_of
from scrubjay.storage.items.size import value_size
from scrubjay.storage.items.values import Item, Value

MARK = b"\x01"
"""Byte 16 of a row's key. What else lies in an index's table has another there."""
TAIL_BYTES_MAX = 736
"""Of the item's sort key in a row's key; of a longer one its beginning and a hash stand there."""

_ITEM_BYTE = bytes([VERSION])
_hash = xxhash.xxh3_128_digest


def hash_prefix(values: Sequence[Value]) -> bytes:
    """16 bytes: where the rows of these values of the hash attributes lie. Of one it is what a table has."""
    return _hash(b"".join([encode_value(value) for value in values]))


def _begin(hashed: Sequence[Value], sorted_: Sequence[Value]) -> bytes:
    """What the keys of rows with these values of all hash and the first sort attributes begin with."""
    return b"".join([hash_prefix(hashed), MARK, *[grouped(sort_bytes(value)) for value in sorted_]])


class GlobalRows:
    """Derives the rows of one index. key: of the table it is of."""

    def __init__(self, key: KeySchema, index: GlobalIndex) -> None:
        self.key = key
        self.index = index
        names = [one.name for one in (*key_attributes(key), *index.hash, *index.sort)]
        self.key_names = tuple(dict.fromkeys(names))
        """Attributes of the table's key and the index's, each once."""
        self._names = None if index.projection == "ALL" else frozenset((*names, *index.attributes))

    def encode(self) -> bytes:
        """For a process that has no catalogue: `decode` makes an equal one of it."""
        return msgspec.msgpack.encode((self.key, self.index))

    @staticmethod
    def decode(data: bytes) -> GlobalRows:
        return GlobalRows(*msgspec.msgpack.decode(data, type=tuple[KeySchema, GlobalIndex]))

    def row(self, key: bytes, item: bytes) -> tuple[bytes, bytes] | None:
        """(key, value) of an item's row. key: the item's storage key. None: it has none, as it lacks a key attribute of the index, or has it otherwise than an index's key can be. Raises Corrupt."""
        if item[:1] != _ITEM_BYTE:
            raise bad_item("version unknown", item)
        try:
            payloads: dict[str, dict[str, Any]] = WHOLE.decode(item[1:])
        except msgspec.MsgspecError as fault:
            raise bad_item(str(fault), item) from None
        hashed, sorted_ = _found(payloads, self.index.hash), _found(payloads, self.index.sort)
        if hashed is None or sorted_ is None:
            return None
        if sum(map(value_size, hashed)) > PARTITION_KEY_BYTES_MAX or sum(map(value_size, sorted_)) > SORT_KEY_BYTES_MAX:
            return None
        names = self._names
        body = item[1:] if names is None else encode_payloads({name: one for name, one in payloads.items() if name in names})
        return self._row_key(key, hashed, sorted_), _ITEM_BYTE + body

    def change(self, key: bytes, old: bytes | None, new: bytes | None) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """(rows that go, rows that come), at most one each, by key with its value, as an item changes; a row that stays is in neither, one whose value alone changes in both.
        Raises Corrupt."""
        before = None if old is None else self.row(key, old)
        after = None if new is None else self.row(key, new)
        if before == after:
            return {}, {}
        return {} if before is None else dict([before]), {} if after is None else dict([after])

    def row_key(self, key: bytes, item: Item) -> bytes:
        """The key of the row of an item that has all key attributes of the index. key: the item's storage key."""
        return self._row_key(key, [item[one.name] for one in self.index.hash], [item[one.name] for one in self.index.sort])

    def _row_key(self, key: bytes, hashed: Sequence[Value], sorted_: Sequence[Value]) -> bytes:
        return _begin(hashed, sorted_) + key[:HASH_BYTES] + tail_of(key[HASH_BYTES:], TAIL_BYTES_MAX)

    def bounds(
        self, hashed: Sequence[Value], equal: Sequence[Value] = (), operator: str | None = None, values: Sequence[Value] = ()
    ) -> tuple[bytes, bytes | None]:
        """Keys [start, end) of the rows that a key condition asks for. hashed: of every hash attribute. equal: of the first sort attributes. operator, values: of the next, as
        `keys.sort_bounds`; None: no condition."""
        begin = _begin(hashed, equal)
        if operator is None:
            return absolute_bounds(begin, (None, None))
        attribute = self.index.sort[len(equal)]
        start, end = sort_bounds(KeySchema(attribute, attribute), operator, list(values))
        return absolute_bounds(begin, (None if start is None else grouped(start), None if end is None else grouped(end)))

    def projected(self, item: Item) -> Item:
        """What of an item stands in its row."""
        names = self._names
        return item if names is None else {name: value for name, value in item.items() if name in names}

    def holds(self, names: Sequence[str]) -> bool:
        """Whether rows have all that an item has of these attributes."""
        return self._names is None or self._names.issuperset(names)


def _found(payloads: dict[str, dict[str, Any]], attributes: Sequence[KeyAttribute]) -> list[Value] | None:
    """The values of key attributes; None if one is lacking, of another type, or empty."""
    found: list[Value] = []
    for attribute in attributes:
        wrapped = payloads.get(attribute.name)
        if wrapped is None or not wrapped.get(attribute.type):
            return None
        found.append((attribute.type, wrapped[attribute.type]))
    return found
