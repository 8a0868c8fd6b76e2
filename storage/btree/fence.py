"""Fences: what must be in the tree, so that an absence can be proven (ADR 0003). Pure mathematics of runs.

The key space is tiled by runs [start, end) of about 32 rows. A fence says of one run how many rows it has, the sum of their key hashes and the sum of
their row hashes (`base.checksum.row_hash`), both mod 2^128. Sums are only ever moved by differences, so damage never vanishes by a write beside it; when
a run is cut into several the rows must first add up to its fence.

Fence value, little-endian:

    0  u8   version   1
    1  u8   flags     1: the last run, it has no end
    2  u16  end length
    4  u32  rows
    8  16B  key sum
    24 16B  row sum
    40 u64  hash      xxh3_64 over bytes 0..40 | end | start | u16 start length
    48 ...  end
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt
from scrubjay.storage.log.digest import MASK

VERSION = 1
LAST = 1
HEADER = struct.Struct("<BBHI16s16sQ")
HEADER_SIZE = HEADER.size
_HASHED = 40
_U16 = struct.Struct("<H")

FIRST_START = b"\0"
"""Start of the first run: no key sorts below it."""
RUN_TARGET = 32
RUN_MAX = 64
RUN_MIN = 8
"""Rows: runs are cut above RUN_MAX into pieces of RUN_TARGET, and join their neighbour below RUN_MIN if both together hold at most RUN_TARGET."""

assert HEADER_SIZE == 48


class Fence(NamedTuple):
    """One run [start, end), end None: to the end of the key space."""

    start: bytes
    end: bytes | None
    rows: int
    key_sum: int
    row_sum: int

    def holds(self, key: bytes) -> bool:
        return self.start <= key and (self.end is None or key < self.end)


class RowHashes(NamedTuple):
    """What one row adds to its run's sums."""

    key: bytes
    key_hash: int
    row_hash: int


EMPTY_TREE = Fence(FIRST_START, None, 0, 0, 0)


def hashes_of(key: bytes, item: bytes) -> RowHashes:
    return RowHashes(key, key_hash(key), row_hash(key, item))


def key_hash(key: bytes) -> int:
    return xxh3_128_intdigest(key)


def encode_fence(fence: Fence) -> bytes:
    """The value stored under `fence.start`."""
    end = fence.end or b""
    head = HEADER.pack(
        VERSION,
        LAST if fence.end is None else 0,
        len(end),
        fence.rows,
        fence.key_sum.to_bytes(16, "little"),
        fence.row_sum.to_bytes(16, "little"),
        0,
    )[:_HASHED]
    return head + xxh3_64_intdigest(head + end + fence.start + _U16.pack(len(fence.start))).to_bytes(8, "little") + end


def decode_fence(start: bytes, value: bytes) -> Fence:
    """Check and unpack. Raises Corrupt."""
    if len(value) < HEADER_SIZE:
        raise corrupt_fence(start, "fence cut short")
    version, flags, end_length, rows, key_sum, row_sum, hash_ = HEADER.unpack_from(value)
    end = value[HEADER_SIZE:]
    if xxh3_64_intdigest(value[:_HASHED] + end + start + _U16.pack(len(start))) != hash_:
        raise corrupt_fence(start, "fence hash differs")
    if version != VERSION or flags & ~LAST or end_length != len(end) or bool(flags & LAST) != (not end):
        raise corrupt_fence(start, "fence version or flag unknown")
    return Fence(start, end or None, rows, int.from_bytes(key_sum, "little"), int.from_bytes(row_sum, "little"))


def corrupt_fence(start: bytes, message: str) -> Corrupt:
    return Corrupt(message, what="fence", key=start.hex())


def check_keys(fence: Fence, keys: Sequence[bytes]) -> None:
    """The keys found in a run are all there must be. Raises Corrupt."""
    if len(keys) != fence.rows:
        raise corrupt_fence(fence.start, f"run has {len(keys)} rows, its fence says {fence.rows}")
    if sum(map(xxh3_128_intdigest, keys)) & MASK != fence.key_sum:
        raise corrupt_fence(fence.start, "keys do not add up to their fence")


def check_rows(fence: Fence, rows: Iterable[tuple[bytes, bytes]], count: int) -> None:
    """(key, item) of a run add up to its fence. Raises Corrupt."""
    if count != fence.rows:
        raise corrupt_fence(fence.start, f"run has {count} rows, its fence says {fence.rows}")
    if sum([row_hash(key, item) for key, item in rows]) & MASK != fence.row_sum:
        raise corrupt_fence(fence.start, "rows do not add up to their fence")


def moved(fence: Fence, *, removed: Iterable[RowHashes] = (), added: Iterable[RowHashes] = ()) -> Fence:
    """The fence after rows left and came. Raises Corrupt if more leave than there were."""
    rows, keys, sums = fence.rows, fence.key_sum, fence.row_sum
    for row in removed:
        rows, keys, sums = rows - 1, keys - row.key_hash, sums - row.row_hash
    for row in added:
        rows, keys, sums = rows + 1, keys + row.key_hash, sums + row.row_hash
    if rows < 0:
        raise corrupt_fence(fence.start, "more rows left a run than it had")
    return Fence(fence.start, fence.end, rows, keys & MASK, sums & MASK)


def cut(fence: Fence, rows: Sequence[RowHashes]) -> list[Fence]:
    """A run cut into pieces of RUN_TARGET. rows: all of it, in key order. Raises Corrupt unless they add up to the fence."""
    if len(rows) != fence.rows or sum(row.key_hash for row in rows) & MASK != fence.key_sum:
        raise corrupt_fence(fence.start, "keys of a run to be cut do not add up to its fence")
    if sum(row.row_hash for row in rows) & MASK != fence.row_sum:
        raise corrupt_fence(fence.start, "rows of a run to be cut do not add up to its fence")
    pieces: list[Fence] = []
    start = fence.start
    for at in range(0, len(rows), RUN_TARGET):
        stop = at + RUN_TARGET
        part = rows[at:stop]
        end = rows[stop].key if stop < len(rows) else fence.end
        pieces.append(Fence(start, end, len(part), sum(row.key_hash for row in part) & MASK, sum(row.row_hash for row in part) & MASK))
        if end is not None:
            start = end
    return pieces or [fence]


def joined(left: Fence, right: Fence) -> Fence:
    """Two neighbouring runs as one. Raises Corrupt if there is a hole between them."""
    if left.end != right.start:
        raise corrupt_fence(left.start, "the next fence is missing")
    return Fence(
        left.start, right.end, left.rows + right.rows, (left.key_sum + right.key_sum) & MASK, (left.row_sum + right.row_sum) & MASK
    )
