"""Index rows in a tree: derived as a row file is loaded, told apart as a tree is scanned (docs/formats/index-row.md, ADR 0069).

A row file holds items alone. Whoever makes a tree of one derives the rows of the table's local indexes from it; whoever scans a tree keeps the digest of the items apart from that of
the index rows, so that a state digest says the same of a copy whatever indexes its table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.items.keys import HASH_BYTES
from scrubjay.storage.items.local_index import NUMBER_AT, SIZE_NUMBER, LocalRows, collection_bytes, encode_size
from scrubjay.storage.log.digest import MASK, RangeDigest

Sizes = tuple[tuple[int, int], ...]
"""(rows, bytes of keys and values) of each local index, by number from 1."""


class CollectionSizes:
    """The row that says how large an item collection is, of items that come in key order: due once the last of its items came."""

    def __init__(self, local: LocalRows) -> None:
        self._local = local
        self._last: Row | None = None
        self._size = 0

    def add(self, row: Row, made: Sequence[tuple[bytes, bytes]]) -> Row | None:
        """The next item, and the index rows made of it. The row of the collection before, if this item begins another."""
        last = self._last
        ended = self.finish() if last is not None and last.key[:HASH_BYTES] != row.key[:HASH_BYTES] else None
        self._last = row
        self._size += collection_bytes(row.item, [value for _, value in made])
        return ended

    def finish(self) -> Row | None:
        """That of the last collection; None: there was no item."""
        last, size = self._last, self._size
        self._last, self._size = None, 0
        return None if last is None else Row(self._local.size_key(last.key), last.lsn, last.stamp, encode_size(size))


class IndexTally:
    """The index rows of a scan. digest: over them alone. sizes: see Sizes; shorter where the last indexes have no rows."""

    def __init__(self, lo: bytes, hi: bytes | None) -> None:
        self.digest = RangeDigest(lo, hi)
        self._sizes: dict[int, list[int]] = {}

    def add(self, key: bytes, value: bytes, hash_: int) -> None:
        """value: of the row, as item bytes. Raises Corrupt if the key is outside the range."""
        self.digest.add(key, hash_)
        size = self._sizes.setdefault(key[NUMBER_AT], [0, 0])
        size[0] += 1
        size[1] += len(key) + len(value)

    @property
    def sizes(self) -> Sizes:
        first = SIZE_NUMBER + 1
        return tuple(
            [(rows, size) for rows, size in (self._sizes.get(one, (0, 0)) for one in range(first, max(self._sizes, default=0) + 1))]
        )

    @property
    def size(self) -> int:
        return sum(size for _, size in self._sizes.values())

    def encode(self) -> bytes:
        """Nothing if there are no index rows."""
        return msgspec.msgpack.encode((self.digest.encode(), self._sizes)) if self._sizes else b""

    def load(self, data: bytes) -> None:
        """Take over what `encode` made. Raises Corrupt."""
        if data:
            try:
                digest, self._sizes = msgspec.msgpack.decode(data, type=tuple[bytes, dict[int, list[int]]])
            except msgspec.MsgspecError as error:
                raise Corrupt("the tally of index rows is malformed", what="digest") from error
            self.digest.load(digest)


def whole_digest(items: RangeDigest, index: RangeDigest | None) -> RangeDigest:
    """Over items and index rows together."""
    if index is None:
        return items
    whole = items.copy()
    whole.sums = [(one + other) & MASK for one, other in zip(items.sums, index.sums, strict=True)]
    whole.rows = [one + other for one, other in zip(items.rows, index.rows, strict=True)]
    return whole


class Deriving:
    """Puts the index rows of a table among its items, which come in key order. Memory: the index rows of one partition key; of a binary sort key its items too."""

    def __init__(self, local: LocalRows) -> None:
        self._local = local
        self._apart = local.key.sort is not None and local.key.sort.type != "B"
        self._prefix = b""
        self._held: list[tuple[Row, int]] = []
        self._collections = CollectionSizes(local)

    def add(self, rows: Sequence[Row], hashes: Sequence[int]) -> tuple[list[Row], list[int]]:
        """The next items, their keys rising; what can be given out by now. Raises Corrupt (no item)."""
        out: list[tuple[Row, int]] = []
        for row, hash_ in zip(rows, hashes, strict=True):
            made = self._local.rows(row.key, row.item)
            ended = self._collections.add(row, made)
            if row.key[:HASH_BYTES] != self._prefix:
                out += self._group(ended)
                self._prefix = row.key[:HASH_BYTES]
            (out if self._apart else self._held).append((row, hash_))
            self._held += [(Row(key, row.lsn, row.stamp, value), row_hash(key, value)) for key, value in made]
        return [row for row, _ in out], [hash_ for _, hash_ in out]

    def finish(self) -> tuple[list[Row], list[int]]:
        """The rest."""
        out = self._group(self._collections.finish())
        return [row for row, _ in out], [hash_ for _, hash_ in out]

    def _group(self, size: Row | None) -> list[tuple[Row, int]]:
        if size is not None:
            self._held.append((size, row_hash(size.key, size.item)))
        out, self._held = sorted(self._held, key=lambda one: one[0].key), []
        return out


def with_index_rows(
    blocks: Iterable[tuple[Sequence[Row], Sequence[int]]], local: LocalRows | None
) -> Iterator[tuple[Sequence[Row], Sequence[int]]]:
    """Blocks of items and their hashes, with the index rows among them; local None: as they are. Raises Corrupt, and what the blocks raise."""
    if local is None:
        yield from blocks
        return
    deriving = Deriving(local)
    for rows, hashes in blocks:
        yield deriving.add(rows, hashes)
    yield deriving.finish()


def index_tally(rows: Iterable[Row], local: LocalRows, lo: bytes, hi: bytes | None) -> IndexTally:
    """Of the index rows that these items have, which come in key order. Raises Corrupt."""
    tally, collections = IndexTally(lo, hi), CollectionSizes(local)

    def add(size: Row | None) -> None:
        if size is not None:
            tally.add(size.key, size.item, row_hash(size.key, size.item))

    for row in rows:
        made = local.rows(row.key, row.item)
        add(collections.add(row, made))
        for key, value in made:
            tally.add(key, value, row_hash(key, value))
    add(collections.finish())
    return tally
