"""The chain value: a running SHA-256 over the canonical content of every segment since LSN 1. A lost, reordered or forged segment breaks it.

chain(n) = SHA-256("scrubjay chain 1" | partition id (16) | first (u64) | last (u64) | raw SHA-256 (32) | digest sum (16) | rows (u64) | chain(n-1)),
integers little-endian; before the first segment the chain is 32 zero bytes. Both `storage` (every member keeps it) and `archiver` compute it.
"""

from __future__ import annotations

import hashlib
import struct

from storage.digest import Total

START = bytes(32)
_HEAD = struct.Struct("<16s16sQQ")
_MAGIC = b"scrubjay chain 1"


def next_chain(before: bytes, *, partition_raw: bytes, first: int, last: int, raw_sha256: bytes, total: Total) -> bytes:
    """The chain value after segment [first, last]. partition_raw: 16 raw bytes of the partition id; all hashes 32 bytes."""
    assert len(before) == 32
    assert len(raw_sha256) == 32
    head = _HEAD.pack(_MAGIC, partition_raw, first, last)
    return hashlib.sha256(head + raw_sha256 + total.sum.to_bytes(16, "little") + struct.pack("<Q", total.rows) + before).digest()
