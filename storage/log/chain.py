"""The chain value: a running SHA-256 over every segment since LSN 1 and over everything that a manifest says of it. A lost, reordered or forged segment,
or one altered fact in the middle, breaks it.

    chain(n) = SHA-256("scrubjay chain 2" | place (32) | first | last | first stamp | last stamp | content | raw size | closed (u64 each) | reason (u16)
                       | tag (16) | raw SHA-256 (32) | digest before: sum (16), rows (u64) | digest after: sum (16), rows (u64) | chain(n-1))
    place    = SHA-256("scrubjay place 2" | cluster | table | partition | table name | schema | lo | hi), each as length (u32) and UTF-8

Integers little-endian; before the first segment the chain is 32 zero bytes. `storage` (every member keeps it, and states it) and `archiver` compute it.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from scrubjay.storage.log.digest import Total

START = bytes(32)
_LINK = struct.Struct("<16s32sQQQQQQQH16s32s")
_TOTALS = struct.Struct("<16sQ16sQ")
_MAGIC = b"scrubjay chain 2"
_PLACE_MAGIC = b"scrubjay place 2"
_LENGTH = struct.Struct("<I")


class Link(NamedTuple):
    """What one step covers. place: of `place_of`. content: records that are content. before, total: state digest in front of `first` and at `last`.
    closed, reason, tag: of the SEAL at `last`. All hashes 32 bytes."""

    place: bytes
    first: int
    last: int
    first_stamp: int
    last_stamp: int
    content: int
    raw_size: int
    raw_sha256: bytes
    before: Total
    total: Total
    closed: int
    reason: int
    tag: bytes


def place_of(*, cluster: str, table: str, partition: str, table_name: str, schema: str, lo: str, hi: str) -> bytes:
    """32 bytes that stand for whose log it is: ids as text, attributes as a manifest has them."""
    digest = hashlib.sha256(_PLACE_MAGIC)
    for text in (cluster, table, partition, table_name, schema, lo, hi):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(_LENGTH.pack(len(data)))
        digest.update(data)
    return digest.digest()


def next_chain(before: bytes, link: Link) -> bytes:
    """The chain value after a segment. before: the one in front of it."""
    assert len(before) == 32
    assert len(link.place) == 32
    assert len(link.raw_sha256) == 32
    head = _LINK.pack(
        _MAGIC,
        link.place,
        link.first,
        link.last,
        link.first_stamp,
        link.last_stamp,
        link.content,
        link.raw_size,
        link.closed,
        link.reason,
        link.tag,
        link.raw_sha256,
    )
    totals = _TOTALS.pack(link.before.sum.to_bytes(16, "little"), link.before.rows, link.total.sum.to_bytes(16, "little"), link.total.rows)
    return hashlib.sha256(head + totals + before).digest()
