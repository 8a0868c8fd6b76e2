"""Which keys a segment's records can hold: a Bloom filter beside the facts of its manifest, so that an item's history reads no segment in vain.

A key that is in the records is never said to be absent. One that is not is said to be possible with probability (1 - e^(-hashes * count / bits)) ** hashes, `false_positives`.
The filter follows from the records alone, to the bit: every honest writer makes the same one, and `verify` makes it again from the records.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from scrubjay.archiver.format.fields import Fields
from scrubjay.base.checksum import key_hash

BITS_PER_KEY = 10
HASHES_MAX = 5
BYTES_MAX = 32 << 10
"""Of one filter: a manifest stays small. More than 26,214 keys share it, at fewer bits each."""
BYTES_MIN = 32
"""Of one with a key in it: among fewer bits the places of one key follow each other too closely for the rate below to hold."""
LEAST_BITS_PER_KEY = 2
"""With fewer a filter says next to nothing (39 of 100 strange keys would be possible), and there is none."""
_LN2 = math.log(2)
_LOW = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """count: distinct keys in it. hashes: bits set for each. bits: empty if there is no key, bit n is bit n % 8 of byte n // 8."""

    count: int
    hashes: int
    bits: bytes

    def may_hold(self, key: bytes) -> bool:
        """False: no record of the segment touches it."""
        bits, size = self.bits, 8 * len(self.bits)
        return bool(bits) and all(bits[at >> 3] >> (at & 7) & 1 for at in _places(key, self.hashes, size))

    @property
    def false_positives(self) -> float:
        """How probable it is that a key which is not in it is said to be possible."""
        if not self.bits:
            return 0.0
        return float((1 - math.exp(-self.hashes * self.count / (8 * len(self.bits)))) ** self.hashes)

    def fields(self) -> dict[str, Any]:
        return {"count": self.count, "hashes": self.hashes, "bits": base64.b64encode(self.bits).decode("ascii")}

    @classmethod
    def read(cls, fields: Fields) -> KeyFilter:
        """Raises Corrupt."""
        fields.only("count", "hashes", "bits")
        count = fields.integer("count")
        try:
            bits = base64.b64decode(fields.text("bits"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise fields.bad("bits") from error
        if len(bits) != _size(count):
            raise fields.bad("bits")
        return cls(count, fields.integer("hashes", low=1, high=HASHES_MAX), bits)


def key_filter(keys: Collection[bytes]) -> KeyFilter | None:
    """The filter of distinct keys; None if they are too many for one that would say something."""
    count = len(keys)
    size = _size(count)
    if 8 * size < LEAST_BITS_PER_KEY * count:
        return None
    hashes = max(1, min(HASHES_MAX, round(8 * size / max(count, 1) * _LN2)))
    bits = bytearray(size)
    places = 8 * size
    for key in keys:
        for at in _places(key, hashes, places):
            bits[at >> 3] |= 1 << (at & 7)
    return KeyFilter(count, hashes, bytes(bits))


def _size(count: int) -> int:
    """Bytes of the filter of so many keys."""
    return min(BYTES_MAX, max(BYTES_MIN, -(-count * BITS_PER_KEY // 8))) if count else 0


def _places(key: bytes, hashes: int, size: int) -> list[int]:
    """The key's bits among `size` of them: a first place, and an odd step from one to the next."""
    hash_ = key_hash(key)
    at, step = (hash_ & _LOW) % size, (hash_ >> 64 | 1) % size
    found = [at]
    for _ in range(hashes - 1):
        at += step
        if at >= size:
            at -= size
        found.append(at)
    return found
