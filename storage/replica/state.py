"""What a replica commits beside its rows, and how a tree that was loaded starts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from scrubjay.base.errors import Invalid
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import EMPTY, TreeState
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.log.stated import SILENT, Stated
from scrubjay.storage.log.transaction import PendingTransactions, decode_prepared
from scrubjay.storage.replica.segments import SegmentFacts

EXTRA_VERSION = 2
"""Of `ReplicaExtra`: 2 since the chain covers every fact of a segment."""
CONFIGURED_VERSION = 3
"""Of `ConfiguredExtra`. A release that would go by the founding members does not open such a tree."""
SPLIT_VERSION = 4
"""Of `SplitExtra`. A release that would go on writing does not open such a tree."""
BORN_VERSION = 5
"""Of `BornExtra`. A release that would not say in the log how it began does not open such a tree."""


def version_of(*, configured: bool, split: bool, born: bool = False) -> int:
    """Of what is kept beside a tree. configured: it says who is a member. split: and into what the partition was split. born: and of what it was made by a split."""
    return BORN_VERSION if born else SPLIT_VERSION if split else CONFIGURED_VERSION if configured else EXTRA_VERSION


class Configured(NamedTuple):
    """Who is a member by the last CONFIG that was applied, or that a heal was told of. lsn: of that record, 0: none, the founding members are. payload: of it."""

    lsn: Lsn
    payload: bytes


UNCONFIGURED = Configured(Lsn(0), b"")


class ReplicaExtra(msgspec.Struct, array_like=True):
    """What a replica commits beside its rows (TreeState.extra, MessagePack). version: of this layout."""

    version: int
    digest: bytes
    size: int
    segments: SegmentFacts


class IndexedExtra(ReplicaExtra, array_like=True):
    """Of a table with local indexes. indexes: (rows, bytes) of each; ones that are not there have none."""

    indexes: Sizes = ()


class StatedExtra(IndexedExtra, array_like=True):
    """Of a log that has said something of its table. stated: the newest of it."""

    stated: Stated | None = None


class ConfiguredExtra(StatedExtra, array_like=True):
    """Of a copy whose members are not the founding ones. configured: see Configured."""

    configured: Configured = UNCONFIGURED


class TransactingExtra(ConfiguredExtra, array_like=True):
    """While transactions are pending. pending: their PREPAREs, as they stand in the log, oldest first."""

    pending: tuple[bytes, ...] = ()


class SplitExtra(TransactingExtra, array_like=True):
    """Of a partition that was split. split: payload of the SPLIT."""

    split: bytes = b""


class BornExtra(SplitExtra, array_like=True):
    """Of a partition that a split made. born: `storage.log.split.encode_born`."""

    born: bytes = b""


def pending_of(pending: Sequence[bytes], owner: bytes) -> PendingTransactions:
    """Raises Corrupt: no such PREPAREs are kept beside a tree."""
    found = PendingTransactions()
    for data in pending:
        record = records.decode(data, owner=owner)
        found.prepare(record, decode_prepared(record))
    return found


def encode_extra(
    digest: RangeDigest,
    size: int,
    facts: SegmentFacts,
    indexes: Sizes,
    stated: Stated = SILENT,
    configured: Configured = UNCONFIGURED,
    pending: tuple[bytes, ...] = (),
    split: bytes = b"",
    born: bytes = b"",
) -> bytes:
    """indexes: none: as a table without local indexes has it. stated: silent: as a log has it that has said nothing. configured: UNCONFIGURED: as a copy among the founding members has it.
    pending: none: as where no transaction is. split: empty: as of a partition that was not split. born: empty: as of one that no split made."""
    told = stated if stated.version else None
    version = version_of(configured=configured.lsn > 0, split=bool(split), born=bool(born))
    if born:
        return msgspec.msgpack.encode(BornExtra(version, digest.encode(), size, facts, indexes, told, configured, pending, split, born))
    if split:
        return msgspec.msgpack.encode(SplitExtra(version, digest.encode(), size, facts, indexes, told, configured, pending, split))
    if pending:
        return msgspec.msgpack.encode(TransactingExtra(version, digest.encode(), size, facts, indexes, told, configured, pending))
    if configured.lsn:
        return msgspec.msgpack.encode(ConfiguredExtra(version, digest.encode(), size, facts, indexes, told, configured))
    if told is not None:
        return msgspec.msgpack.encode(StatedExtra(EXTRA_VERSION, digest.encode(), size, facts, indexes, told))
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
    configured: Configured = UNCONFIGURED,
    stated: Stated = SILENT,
    split: bytes = b"",
    born: bytes = b"",
) -> TreeState:
    """The tree state of a copy rebuilt at the seal `lsn`. ended_closed: set if that is the log's last seal. indexes: see IndexedExtra. configured: as of there, or later. stated: what
    the log said last up to there. split: payload of the SPLIT in front of that last seal. born: how the partition began."""
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
    return TreeState(lsn, stamp, encode_extra(digest, size, facts, indexes, stated, configured, split=split, born=born))
