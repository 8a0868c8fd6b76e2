"""What a replica commits beside its rows, and how a tree that was loaded starts out."""

from __future__ import annotations

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import EMPTY, TreeState
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.replica.segments import SegmentFacts

EXTRA_VERSION = 2
"""Of `ReplicaExtra`: 2 since the chain covers every fact of a segment."""


class ReplicaExtra(msgspec.Struct, array_like=True):
    """What a replica commits beside its rows (TreeState.extra, MessagePack). version: of this layout."""

    version: int
    digest: bytes
    size: int
    segments: SegmentFacts


class IndexedExtra(ReplicaExtra, array_like=True):
    """Of a table with local indexes. indexes: (rows, bytes) of each; ones that are not there have none."""

    indexes: Sizes = ()


def encode_extra(digest: RangeDigest, size: int, facts: SegmentFacts, indexes: Sizes) -> bytes:
    """indexes: none: as a table without local indexes has it."""
    if indexes:
        return msgspec.msgpack.encode(IndexedExtra(EXTRA_VERSION, digest.encode(), size, facts, indexes))
    return msgspec.msgpack.encode(ReplicaExtra(EXTRA_VERSION, digest.encode(), size, facts))


def base_state(digest: RangeDigest, size: int, indexes: Sizes = ()) -> TreeState:
    """The tree state of a base loaded at LSN 0: rows without a log, so the first segment starts at LSN 1. size: key and item bytes. indexes: see IndexedExtra."""
    total = digest.total()
    if total.rows == 0:
        return EMPTY
    facts = SegmentFacts(sum=total.sum.to_bytes(16, "little"), rows=total.rows)
    return TreeState(Lsn(0), Stamp(0), encode_extra(digest, size, facts, indexes))


def healed_state(
    digest: RangeDigest,
    size: int,
    *,
    lsn: Lsn,
    stamp: Stamp,
    chain: bytes,
    archived: Lsn,
    ended_closed: Stamp | None = None,
    indexes: Sizes = (),
) -> TreeState:
    """The tree state of a copy rebuilt at the seal `lsn`. ended_closed: set if that is the log's last seal. indexes: see IndexedExtra."""
    if lsn < 1:
        raise Invalid("a heal starts from a seal", lsn=lsn)
    total = digest.total()
    facts = SegmentFacts(
        first=lsn + 1,
        chain=chain,
        archived=archived,
        last_seal=lsn,
        last_content=lsn,
        last_content_stamp=stamp,
        sum=total.sum.to_bytes(16, "little"),
        rows=total.rows,
        archived_chain=chain if archived == lsn else b"",
    )
    if ended_closed is not None:
        facts.ended, facts.ended_closed = lsn, ended_closed
    return TreeState(lsn, stamp, encode_extra(digest, size, facts, indexes))
