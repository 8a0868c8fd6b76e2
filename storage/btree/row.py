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

from xxhash import xxh3_64_intdigest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Row

VERSION = 1
HEADER = struct.Struct("<BBQQQ")
HEADER_SIZE = HEADER.size
_HASHED_FROM = 10
_TAIL = struct.Struct("<QQ")
_KEY_LENGTH = struct.Struct("<H")
KEY_BYTES_MAX = 1978
"""What an LMDB 1.0 page of 4 KiB can hold as a key."""

assert HEADER_SIZE == 26

_unpack = HEADER.unpack_from
_length = _KEY_LENGTH.pack


def encode_value(key: bytes, lsn: int, stamp: int, item: bytes) -> bytes:
    """The value stored under `key`. 1 to KEY_BYTES_MAX key bytes."""
    tail = _TAIL.pack(lsn, stamp) + item
    return HEADER.pack(VERSION, 0, xxh3_64_intdigest(tail + key + _length(len(key))), lsn, stamp) + item


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


def corrupt_row(key: bytes, message: str) -> Corrupt:
    return Corrupt(message, what="row", key=key.hex())


def lsn_of(value: bytes) -> Lsn:
    """What the header says of the LSN, unchecked; 0 if there is no header."""
    return Lsn(_unpack(value)[3]) if len(value) >= HEADER_SIZE else Lsn(0)


__all__ = ["HEADER", "HEADER_SIZE", "KEY_BYTES_MAX", "Lsn", "Stamp", "corrupt_row", "decode_value", "encode_value", "lsn_of"]
