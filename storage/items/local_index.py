"""The rows of local secondary indexes: derived from items, never written by anybody (docs/formats/index-row.md, ADR 0069).

A row's key begins with the 16 bytes of its item's, so that it lies in the same partition; then a mark that no other row of the table has in common with it, the number of the index, the
index's sort key in a form that ends by itself, and the item's own sort key. Its value is the projected item behind a version byte of its own: no index row is taken for an item.

Pure. Whoever holds items derives the same rows: every copy when it applies a record or loads a row file, and a scrub from what it rebuilt out of the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import xxhash

from scrubjay.base.errors import Corrupt
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, LocalIndex
from scrubjay.storage.items.encoding import VERSION, WHOLE, bad_item, decode_item, encode_payloads
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.keys import HASH_BYTES, SORT_KEY_BYTES_MAX, SORT_KEY_TOO_LONG, check_not_empty, sort_bounds, sort_bytes
from scrubjay.storage.items.size import item_size, value_size
from scrubjay.storage.items.values import Item, Value

MARK = 0xFF
"""Byte 16 of an index row's key. No sort key that is a string or a number begins with it."""
NUMBER_AT = HASH_BYTES + 1
ENTRY_VERSION = 2
"""First byte of an index row's value; an item's is 1."""
GROUP_BYTES = 8
TAIL_BYTES_MAX = 768
"""Of the item's sort key in an index row's key; of a longer one its beginning and a hash stand there."""
_TAIL_HEAD = TAIL_BYTES_MAX - 16
_PLAIN_BYTES = SORT_KEY_BYTES_MAX + 1
"""An index row's key behind the hash is at least so long where the item's sort key is binary: no item's is."""

_ENTRY_BYTE = bytes([ENTRY_VERSION])
_ITEM_BYTE = bytes([VERSION])
_WORDS = "One or more parameter values were invalid: "
_EMPTY = "One or more parameter values are not valid. "


# --- keys ----------------------------------------------------------------------------------------------------------------------------------


def grouped(data: bytes) -> bytes:
    """`data` in groups of eight bytes, each with how many of them count; 9: more follow. In the order of `data`, and no one begins with another."""
    parts: list[bytes] = []
    at, size = 0, len(data)
    while size - at > GROUP_BYTES:
        parts += (data[at : at + GROUP_BYTES], b"\x09")
        at += GROUP_BYTES
    last = data[at:]
    parts += (last.ljust(GROUP_BYTES, b"\x00"), bytes([len(last)]))
    return b"".join(parts)


def is_entry(key: bytes, value: bytes) -> bool:
    """Whether a row of a tree is an index row. value: item bytes."""
    return key[HASH_BYTES:NUMBER_AT] == b"\xff" and value[:1] == _ENTRY_BYTE


def entry_prefix(prefix: bytes, number: int) -> bytes:
    """What the keys of all rows of index `number` (from 1) under one partition key begin with. prefix: its 16 bytes."""
    return prefix + bytes((MARK, number))


def entry_bounds(index: LocalIndex, number: int, prefix: bytes, operator: str | None, values: Sequence[Value]) -> tuple[bytes, bytes]:
    """Keys [start, end) of the rows of one index that a condition on its sort key asks for, as `keys.sort_bounds`."""
    begin = entry_prefix(prefix, number)
    start, end = sort_bounds(KeySchema(index.sort, index.sort), operator, list(values))
    return begin if start is None else begin + grouped(start), begin[:-1] + bytes([number + 1]) if end is None else begin + grouped(end)


def items_end(schema: KeySchema, prefix: bytes) -> bytes | None:
    """Where the items of one partition key end and their index rows begin; None where they may lie among each other."""
    return None if schema.sort is None or schema.sort.type == "B" else prefix + bytes([MARK])


def _tail(sort: bytes) -> bytes:
    return sort if len(sort) <= TAIL_BYTES_MAX else sort[:_TAIL_HEAD] + xxhash.xxh3_128_digest(sort) + b"\xff"


class LocalRows:
    """Derives the rows of a table's local indexes. key: of the table, with a sort key."""

    def __init__(self, key: KeySchema, indexes: Sequence[LocalIndex]) -> None:
        assert key.sort is not None
        self.key = key
        self.indexes = tuple(indexes)
        self._binary = key.sort.type == "B"
        keys = (key.partition.name, key.sort.name)
        self._names = [
            None if index.projection == "ALL" else frozenset((*keys, index.sort.name, *index.attributes)) for index in self.indexes
        ]

    @classmethod
    def of_table(cls, key: KeySchema, indexes: Sequence[LocalIndex] | msgspec.UnsetType) -> LocalRows | None:
        """None of a table that has no local index."""
        return cls(key, indexes) if indexes else None

    def encode(self) -> bytes:
        """For a process that has no catalogue: `decode` makes an equal one of it."""
        return msgspec.msgpack.encode((self.key, self.indexes))

    @staticmethod
    def decode(data: bytes) -> LocalRows | None:
        """None of no bytes: no local indexes."""
        if not data:
            return None
        key, indexes = msgspec.msgpack.decode(data, type=tuple[KeySchema, tuple[LocalIndex, ...]])
        return LocalRows(key, indexes)

    def entry_key(self, number: int, key: bytes, value: Value) -> bytes:
        """The key of the row of index `number` (from 1). key: the item's storage key. value: of the index's sort key."""
        tail = _tail(key[HASH_BYTES:])
        whole = entry_prefix(key[:HASH_BYTES], number) + grouped(sort_bytes(value)) + tail
        if self._binary:
            whole = whole.ljust(HASH_BYTES + _PLAIN_BYTES, b"\x00") + len(tail).to_bytes(2, "big")
        return whole

    def rows(self, key: bytes, item: bytes) -> list[tuple[bytes, bytes]]:
        """(key, value) of every index row of an item, in the order of the indexes: an item without an index's sort key has none in it. Raises Corrupt."""
        if item[:1] != _ITEM_BYTE:
            raise bad_item("version unknown", item)
        try:
            payloads: dict[str, dict[str, Any]] = WHOLE.decode(item[1:])
        except msgspec.MsgspecError as fault:
            raise bad_item(str(fault), item) from None
        found: list[tuple[bytes, bytes]] = []
        for number, (index, names) in enumerate(zip(self.indexes, self._names, strict=True), 1):
            wrapped = payloads.get(index.sort.name)
            if wrapped is None or index.sort.type not in wrapped:
                continue
            value = (index.sort.type, wrapped[index.sort.type])
            if value[1] and value_size(value) <= SORT_KEY_BYTES_MAX:
                body = item[1:] if names is None else encode_payloads({name: one for name, one in payloads.items() if name in names})
                found.append((self.entry_key(number, key, value), _ENTRY_BYTE + body))
        return found

    def change(self, key: bytes, old: bytes | None, new: bytes | None) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """(rows that go, rows that come), each by key with its value, as an item changes; a row that stays is in neither, one whose value alone changes in both.
        Raises Corrupt."""
        before = {} if old is None else dict(self.rows(key, old))
        after = {} if new is None else dict(self.rows(key, new))
        gone = {at: value for at, value in before.items() if after.get(at) != value}
        return gone, {at: value for at, value in after.items() if before.get(at) != value}

    def check_put(self, item: Item) -> None:
        """Raises ItemError if an item to be put has what cannot be an index's sort key."""
        for index in self.indexes:
            value = item.get(index.sort.name)
            if value is None:
                continue
            name, kind = index.sort.name, index.sort.type
            if value[0] != kind:
                raise ItemError(f"{_WORDS}Type mismatch for Index Key {name} Expected: {kind} Actual: {value[0]} IndexName: {index.name}")
            if kind != "N" and not value[1]:
                word = "string" if kind == "S" else "binary"
                raise ItemError(
                    f"{_EMPTY}A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an "
                    f"empty {word} value. IndexName: {index.name}, IndexKey: {name}"
                )
            if value_size(value) > SORT_KEY_BYTES_MAX:
                raise ItemError(SORT_KEY_TOO_LONG)

    def check_updated(self, new: bytes) -> None:
        """As `check_put`, of what an update comes to, in the words for that."""
        item = decode_item(new)
        for index in self.indexes:
            value = item.get(index.sort.name)
            if value is None:
                continue
            if value[0] != index.sort.type:
                raise ItemError("The update expression attempted to update the secondary index key to unsupported type")
            try:
                check_not_empty(index.sort.name, value)
            except ItemError:
                word = "string" if value[0] == "S" else "binary"
                raise ItemError(
                    f"{_EMPTY}The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a "
                    f"key attribute cannot contain an empty {word} value."
                ) from None
            if value_size(value) > SORT_KEY_BYTES_MAX:
                raise ItemError("The update expression attempted to update the secondary index key beyond allowed size limits")

    def projected(self, number: int, item: Item) -> Item:
        """What of an item stands in its row of index `number` (from 1)."""
        names = self._names[number - 1]
        return item if names is None else {name: value for name, value in item.items() if name in names}

    def holds(self, number: int, names: Sequence[str]) -> bool:
        """Whether the rows of index `number` (from 1) have all that an item has of these attributes."""
        projected = self._names[number - 1]
        return projected is None or projected.issuperset(names)


# --- values --------------------------------------------------------------------------------------------------------------------------------


def entry_item(value: bytes) -> Item:
    """The projected item in an index row's value. Raises Corrupt."""
    return decode_item(item_bytes(value))


def item_bytes(value: bytes) -> bytes:
    """An index row's value as the bytes of an item. Raises Corrupt."""
    if value[:1] != _ENTRY_BYTE:
        raise Corrupt("index row malformed", what="item", found=len(value))
    return _ITEM_BYTE + value[1:]


def as_item(value: bytes) -> bytes:
    """A row's value as the bytes of an item, whatever row it is. For naming a row."""
    return _ITEM_BYTE + value[1:] if value[:1] == _ENTRY_BYTE else value


class Units(NamedTuple):
    """sizes: of one index's row before and after a write, as AWS counts them; None: there was none. moved: its key is another."""

    before: int | None
    after: int | None
    moved: bool


def units_of(local: LocalRows, key: bytes, old: bytes | None, new: bytes | None) -> dict[str, Units]:
    """What a write did to each index that it touched, by name."""
    gone, come = local.change(key, old, new)
    found: dict[str, Units] = {}
    for number, index in enumerate(local.indexes, 1):
        before = next(((at, value) for at, value in gone.items() if at[NUMBER_AT] == number), None)
        after = next(((at, value) for at, value in come.items() if at[NUMBER_AT] == number), None)
        if before is not None or after is not None:
            sizes = [None if one is None else item_size(entry_item(one[1])) for one in (before, after)]
            found[index.name] = Units(sizes[0], sizes[1], before is not None and after is not None and before[0] != after[0])
    return found


def index_schema(key: KeySchema, index: LocalIndex) -> KeySchema:
    """The key by which a local index is asked: the table's partition key, and its own sort key."""
    return KeySchema(key.partition, KeyAttribute(index.sort.name, index.sort.type))
