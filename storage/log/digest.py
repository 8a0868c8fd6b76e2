"""State digests: an order-independent sum (mod 2^128) of row hashes with a row count, per fixed sub-range of a partition.

A partition owns the storage keys whose first 16 bytes lie in [lo, hi) (hi None: to the end). Its range is cut into 256 equal sub-ranges.
Sums, never XOR: duplicates must not cancel. `add`/`remove` keep the digest at apply; a scrub recomputes it from the bytes in the tree.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.base.errors import Corrupt

RANGES = 256
MASK = (1 << 128) - 1
_SPAN = 1 << 128


class Total(NamedTuple):
    """Digest of a whole partition: sum of row hashes mod 2^128, and the row count."""

    sum: int
    rows: int

    @property
    def hex(self) -> str:
        """32 hex digits of the sum."""
        return f"{self.sum:032x}"

    @property
    def state(self) -> bytes:
        """16 bytes of the sum and 8 of the rows, little-endian."""
        return self.sum.to_bytes(16, "little") + self.rows.to_bytes(8, "little")


class RangeDigest:
    """The digest of one partition, mutable. sums and rows have one entry per sub-range."""

    __slots__ = ("_lo", "_width", "rows", "sums")

    def __init__(self, lo: bytes, hi: bytes | None) -> None:
        """lo, hi: 16-byte bounds of the partition's hash range, half-open; hi None is 2^128."""
        self._lo = int.from_bytes(lo, "big")
        self._width = (int.from_bytes(hi, "big") if hi is not None else _SPAN) - self._lo
        assert self._width > 0
        self.sums = [0] * RANGES
        self.rows = [0] * RANGES

    def range_of(self, key: bytes) -> int:
        """Sub-range index of a storage key. Raises Corrupt if the key is outside the partition."""
        at = int.from_bytes(key[:16], "big") - self._lo
        if not 0 <= at < self._width:
            raise Corrupt("key outside the partition's range", what="row", key=key.hex())
        return at * RANGES // self._width

    def holds(self, key: bytes) -> bool:
        """The key lies in the partition's range."""
        return 0 <= int.from_bytes(key[:16], "big") - self._lo < self._width

    def bounds(self, index: int) -> tuple[bytes, bytes | None]:
        """Half-open 16-byte key bounds of sub-range `index`; the second is None at the end of the key space."""
        low = self._lo + -(-index * self._width // RANGES)
        high = self._lo + -(-(index + 1) * self._width // RANGES)
        return low.to_bytes(16, "big"), None if high >= _SPAN else high.to_bytes(16, "big")

    def add(self, key: bytes, hash_: int) -> None:
        index = self.range_of(key)
        self.sums[index] = (self.sums[index] + hash_) & MASK
        self.rows[index] += 1

    def add_rising(self, keys: Sequence[bytes], hashes: Sequence[int]) -> None:
        """`add` of many rows whose keys rise, all of them in the partition's range, without a call for each. Raises Corrupt if the first one is outside."""
        at, count = 0, len(keys)
        while at < count:
            index = self.range_of(keys[at])
            _, end = self.bounds(index)
            stop = count if end is None else bisect_left(keys, end, at)
            self.sums[index] = (self.sums[index] + sum(hashes[at:stop])) & MASK
            self.rows[index] += stop - at
            at = stop

    def remove(self, key: bytes, hash_: int) -> None:
        index = self.range_of(key)
        self.sums[index] = (self.sums[index] - hash_) & MASK
        self.rows[index] -= 1

    def total(self) -> Total:
        return Total(sum(self.sums) & MASK, sum(self.rows))

    def encode(self) -> bytes:
        """256 times 16-byte sum and u64 rows, little-endian: 6,144 bytes."""
        return b"".join(total.to_bytes(16, "little") + _ROWS.pack(rows) for total, rows in zip(self.sums, self.rows, strict=True))

    def load(self, data: bytes) -> None:
        """Take over what `encode` made. Raises Corrupt on a wrong size."""
        if len(data) != RANGES * 24:
            raise Corrupt("digest vector has the wrong size", what="digest", found=len(data))
        for index in range(RANGES):
            at = index * 24
            self.sums[index] = int.from_bytes(data[at : at + 16], "little")
            self.rows[index] = _ROWS.unpack_from(data, at + 16)[0]

    def copy(self) -> RangeDigest:
        other = RangeDigest.__new__(RangeDigest)
        other._lo, other._width = self._lo, self._width
        other.sums, other.rows = self.sums.copy(), self.rows.copy()
        return other


_ROWS = struct.Struct("<Q")
