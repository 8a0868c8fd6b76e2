"""The rows of local secondary indexes: derived from items, never written by anybody (docs/formats/index-row.md, ADR 0069).

A row's key begins with the 16 bytes of its item's, so that it lies in the same partition; then a mark that no other row of the table has in common with it, the number of the index, the
index's sort key in a form that ends by itself, and the item's own sort key. Its value is the projected item behind a version byte of its own: no index row is taken for an item.

In front of the rows of all indexes lies one that says how large the item collection is: the items of the partition key and their rows. It is derived as they are, and proven with them.

Pure. Whoever holds items derives the same rows: every copy when it applies a record or loads a row file, and a scrub from what it rebuilt out of the archive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import xxhash

from scrubjay.base.errors import Corrupt
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, LocalIndex
from scrubjay.storage.items.encoding import VERSION, WHOLE, bad_item, decode_item, encode_payloads
from scrubjay.storage.items.keys import HASH_BYTES, SORT_KEY_BYTES_MAX, sort_bounds, sort_bytes
from scrubjay.storage.items.size import item_size, value_size
from scrubjay.storage.items.values import Item, Value

MARK = 0xFF
"""Byte 16 of an index row's key. No sort key that is a string or a number begins with it."""
NUMBER_AT = HASH_BYTES + 1
SIZE_NUMBER = 0
"""In the place of the number of an index: how large the item collection is."""
ENTRY_VERSION = 2
"""First byte of an index row's value; an item's is 1."""
COLLECTION_FULL = "ItemCollectionSizeLimitExceededException"
COLLECTION_FULL_MESSAGE = "Collection size exceeded."
GROUP_BYTES = 8
TAIL_BYTES_MAX = 768
"""Of the item's sort key in an index row's key; of a longer one its beginning and a hash stand there."""
_PLAIN_BYTES = SORT_KEY_BYTES_MAX + 1
"""An index row's key behind the hash is at least so long where the item's sort key is binary: no item's is."""

_ENTRY_BYTE = bytes([ENTRY_VERSION])
_ITEM_BYTE = bytes([VERSION])
_SIZE = struct.Struct(">BQ")


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


def tail_of(sort: bytes, limit: int) -> bytes:
    """An item's sort key at the end of an index row's key; of one longer than `limit` its beginning, a hash, and ff."""
    return sort if len(sort) <= limit else sort[: limit - 16] + xxhash.xxh3_128_digest(sort) + b"\xff"


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
        tail = tail_of(key[HASH_BYTES:], TAIL_BYTES_MAX)
        whole = entry_prefix(key[:HASH_BYTES], number) + grouped(sort_bytes(value)) + tail
        return self._filled(whole, len(tail))

    def _filled(self, key: bytes, tail_bytes: int) -> bytes:
        return key.ljust(HASH_BYTES + _PLAIN_BYTES, b"\x00") + tail_bytes.to_bytes(2, "big") if self._binary else key

    def size_key(self, key: bytes) -> bytes:
        """Of the row that says how large an item collection is. key: of any row in it, or its first 16 bytes."""
        return self._filled(entry_prefix(key[:HASH_BYTES], SIZE_NUMBER), 0)

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

    def projected(self, number: int, item: Item) -> Item:
        """What of an item stands in its row of index `number` (from 1)."""
        names = self._names[number - 1]
        return item if names is None else {name: value for name, value in item.items() if name in names}

    def holds(self, number: int, names: Sequence[str]) -> bool:
        """Whether the rows of index `number` (from 1) have all that an item has of these attributes."""
        projected = self._names[number - 1]
        return projected is None or projected.issuperset(names)


# --- the size of a collection --------------------------------------------------------------------------------------------------------------


def collection_bytes(item: bytes | None, rows: Iterable[bytes]) -> int:
    """What an item adds to the size of its collection. rows: values of its index rows. As they are stored without their keys, which is never less than AWS counts."""
    return (0 if item is None else len(item)) + sum(map(len, rows))


def grown_by(old: bytes | None, new: bytes | None, gone: Mapping[bytes, bytes], come: Mapping[bytes, bytes]) -> int:
    """By how many bytes a collection grows as an item changes. gone, come: as of `LocalRows.change`."""
    return collection_bytes(new, come.values()) - collection_bytes(old, gone.values())


def encode_size(size: int) -> bytes:
    """The value of the row that says how large a collection is, in bytes; an empty one has none."""
    return _SIZE.pack(ENTRY_VERSION, size)


def decode_size(value: bytes | None) -> int:
    """Raises Corrupt."""
    if value is None:
        return 0
    if len(value) != _SIZE.size or value[0] != ENTRY_VERSION:
        raise Corrupt("the size of an item collection is malformed", what="item", found=len(value))
    return int(_SIZE.unpack(value)[1])


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


def row_units(before: tuple[bytes, bytes] | None, after: tuple[bytes, bytes] | None) -> Units | None:
    """What became of one index's row: (key, value) that went and that came, of a local index or a global one. None: nothing."""
    if before is None and after is None:
        return None
    sizes = [None if row is None else item_size(decode_item(as_item(row[1]))) for row in (before, after)]
    return Units(sizes[0], sizes[1], before is not None and after is not None and before[0] != after[0])


def units_of(local: LocalRows, key: bytes, old: bytes | None, new: bytes | None) -> dict[str, Units]:
    """What a write did to each index that it touched, by name."""
    gone, come = local.change(key, old, new)
    found: dict[str, Units] = {}
    for number, index in enumerate(local.indexes, 1):
        before, after = (next((row for row in rows.items() if row[0][NUMBER_AT] == number), None) for rows in (gone, come))
        units = row_units(before, after)
        if units is not None:
            found[index.name] = units
    return found


def index_schema(key: KeySchema, index: LocalIndex) -> KeySchema:
    """The key by which a local index is asked: the table's partition key, and its own sort key."""
    return KeySchema(key.partition, KeyAttribute(index.sort.name, index.sort.type))
