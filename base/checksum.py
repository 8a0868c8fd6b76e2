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
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Protocol

import xxhash

PIECE_BYTES = 256 << 10
"""So much of a large buffer goes into a library at once: whoever gives way rests between two calls and never in one (`base/giving_way.py`)."""
_MASK_DELTA = 0xA282EAD8
_LENGTH = struct.Struct("<I")


def _function() -> Callable[[bytes | memoryview, int], int]:
    """`crc32c.crc32c`, without what its package loads besides: a command line and, to know its own version, importlib.metadata and email, a quarter of a worker's start."""
    package = PathFinder.find_spec("crc32c")
    spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        from crc32c import crc32c

        return crc32c
    extension = module_from_spec(spec)
    spec.loader.exec_module(extension)
    found: Callable[[bytes | memoryview, int], int] = extension.crc32c
    return found


_crc32c = _function()


class Sha256(Protocol):
    """What hashlib gives."""

    def update(self, data: memoryview, /) -> None: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


def crc32c_masked(data: bytes | memoryview, start: int = 0) -> int:
    """Masked CRC-32C of `data`. start: an *unmasked* CRC to continue from (see `crc32c_raw`)."""
    crc = crc32c_raw(data, start)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c_raw(data: bytes | memoryview, start: int = 0) -> int:
    """Plain CRC-32C (Castagnoli), continuable; what S3 calls CRC32C."""
    if len(data) <= PIECE_BYTES:
        return _crc32c(data, start)
    for piece in pieces(data):
        start = _crc32c(piece, start)
    return start


def pieces(data: bytes | memoryview) -> Iterator[memoryview]:
    """All of it, `PIECE_BYTES` at a time."""
    view = memoryview(data)
    for at in range(0, len(view), PIECE_BYTES):
        yield view[at : at + PIECE_BYTES]


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
    return sha256_of(data).hexdigest()


def sha256_of(*parts: bytes | memoryview) -> Sha256:
    """SHA-256 of some bytes and those that follow them, in pieces."""
    whole = hashlib.sha256()
    for part in parts:
        feed(whole, part)
    return whole


def feed(whole: Sha256, data: bytes | memoryview) -> None:
    """More of what is summed up, in pieces."""
    for piece in pieces(data):
        whole.update(piece)
