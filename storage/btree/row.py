"""One row's value in the tree (docs/formats/tree.md): a header with a hash over everything the row says, then the item bytes as they are.

    0  u8  version   1
    1  u8  flags     0
    2  u64 hash      xxh3_64 over lsn | stamp | item | key | u16 key length
    10 u64 lsn
    18 u64 stamp
    26 ... item

The hash covers the key, so a value under another key fails as a flipped bit does. It is checked on every read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Row

VERSION = 1
HEADER = struct.Struct("<BBQQQ")
HEADER_SIZE = HEADER.size
_HASHED_FROM = 10
_TAIL = struct.Struct("<QQ")
_KEY_LENGTH = struct.Struct("<H")
_FRAME = struct.Struct("<I")
"""As `base.checksum.row_hash` frames the key; a test holds the two against each other."""
KEY_BYTES_MAX = 1978
"""What an LMDB 1.0 page of 4 KiB can hold as a key."""

assert HEADER_SIZE == 26

_unpack = HEADER.unpack_from
_length = _KEY_LENGTH.pack


def encode_value(key: bytes, lsn: int, stamp: int, item: bytes) -> bytes:
    """The value stored under `key`. 1 to KEY_BYTES_MAX key bytes."""
    tail = _TAIL.pack(lsn, stamp) + item
    return HEADER.pack(VERSION, 0, xxh3_64_intdigest(tail + key + _length(len(key))), lsn, stamp) + item


def encode_values(rows: Iterable[Row]) -> list[tuple[bytes, bytes]]:
    """(key, value) of each of many rows: `encode_value` without a call for each."""
    pack, tail_of, hash_of, length = HEADER.pack, _TAIL.pack, xxh3_64_intdigest, _length
    return [
        (key, pack(VERSION, 0, hash_of(tail_of(lsn, stamp) + item + key + length(len(key))), lsn, stamp) + item)
        for key, lsn, stamp, item in rows
    ]


def decode_value(key: bytes, value: bytes) -> Row:
    """Check and unpack. Raises Corrupt (field key, in hex) if the row is not exactly what was written under this key."""
    if len(value) < HEADER_SIZE:
        raise corrupt_row(key, "row cut short")
    version, flags, hash_, lsn, stamp = _unpack(value)
    if xxh3_64_intdigest(value[_HASHED_FROM:] + key + _length(len(key))) != hash_:
        raise corrupt_row(key, "row hash differs")
    if version != VERSION or flags:
        raise corrupt_row(key, "row version or flag unknown")
    return Row(key, lsn, stamp, value[HEADER_SIZE:])


def checked_hashes(values: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """The row hash of each of many (key, value); 0 where `decode_value` raises."""
    unpack, hash_of, length, framed, row_hash_of = _unpack, xxh3_64_intdigest, _length, _FRAME.pack, xxh3_128_intdigest
    hashes: list[int] = []
    for key, value in values:
        if len(value) >= HEADER_SIZE:
            version, flags, hash_, _, _ = unpack(value)
            if hash_of(value[_HASHED_FROM:] + key + length(len(key))) == hash_ and version == VERSION and not flags:
                hashes.append(row_hash_of(framed(len(key)) + key + value[HEADER_SIZE:]))
                continue
        hashes.append(0)
    return hashes


def corrupt_row(key: bytes, message: str) -> Corrupt:
    return Corrupt(message, what="row", key=key.hex())


def lsn_of(value: bytes) -> Lsn:
    """What the header says of the LSN, unchecked; 0 if there is no header."""
    return Lsn(_unpack(value)[3]) if len(value) >= HEADER_SIZE else Lsn(0)


__all__ = [
    "HEADER",
    "HEADER_SIZE",
    "KEY_BYTES_MAX",
    "Lsn",
    "Stamp",
    "checked_hashes",
    "corrupt_row",
    "decode_value",
    "encode_value",
    "encode_values",
    "lsn_of",
]
