"""The checksums in use, each with its one purpose.

- `crc32c_masked`: records, frames, segments: fast, finds every burst up to 32 bits. Masked (rotated and offset) so that a CRC over
  bytes that contain a CRC is not degenerate, and so that zero bytes never check as valid.
- `row_hash`: 128-bit xxh3 of (key, item), the unit of state digests. Finds faults, not attackers.
- `key_hash`: 128-bit xxh3 of a storage key, for key filters.
- `sha256_hex`: content identity of archived objects.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import crc32c as _crc32c
import xxhash

_MASK_DELTA = 0xA282EAD8
_LENGTH = struct.Struct("<I")


def crc32c_masked(data: bytes | memoryview, start: int = 0) -> int:
    """Masked CRC-32C of `data`. start: an *unmasked* CRC to continue from (see `crc32c_raw`)."""
    crc = _crc32c.crc32c(data, start)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c_raw(data: bytes | memoryview, start: int = 0) -> int:
    """Plain CRC-32C (Castagnoli), continuable; what S3 calls CRC32C."""
    return _crc32c.crc32c(data, start)


def row_hash(key: bytes, item: bytes) -> int:
    """128-bit hash of one row, framed so that (key, item) is unambiguous. key: storage key; item: canonical encoding."""
    return xxhash.xxh3_128_intdigest(_LENGTH.pack(len(key)) + key + item)


def row_hashes(rows: Iterable[tuple[bytes, int, int, bytes]]) -> list[int]:
    """`row_hash` of each of many rows (key, lsn, stamp, item), without a call for each."""
    pack, digest = _LENGTH.pack, xxhash.xxh3_128_intdigest
    return [digest(pack(len(key)) + key + item) for key, _, _, item in rows]


def key_hash(key: bytes) -> int:
    """128-bit hash of a storage key, from which the places in a segment's key filter follow. Written into manifests: it never changes."""
    return xxhash.xxh3_128_intdigest(key)


def sha256_hex(data: bytes | memoryview) -> str:
    """SHA-256, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
