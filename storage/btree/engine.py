"""The engine port: one B-tree per storage replica, below a replica's in-memory overlay.

A tree holds rows `(key, lsn, stamp, item)` and one `TreeState`, always changed together in one durable transaction. Every row a tree gives out was
checked; so was every *absence* (ADR 0003): where bytes or structure have rotted the call raises Corrupt, it never answers with less than there was.
Implementations: `storage.btree.lmdb_engine` (LMDB, one storage worker process per node is the only writer) and `storage.btree.memory_engine`
(a model with durable and volatile state, for the simulator). Callbacks run on the loop, exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.btree.split_point import CutPoint
from scrubjay.storage.catalogue import KeySchema
from scrubjay.storage.log.digest import RangeDigest, Total

T = TypeVar("T")
Done = Callable[[T | ScrubjayError], None]


class Row(NamedTuple):
    """A checked row. lsn, stamp: of the record that wrote it (0 in rows that came with a restored base)."""

    key: bytes
    lsn: Lsn
    stamp: Stamp
    item: bytes


class Change(NamedTuple):
    """One key's newest version since the last checkpoint. item None: deleted."""

    key: bytes
    lsn: Lsn
    stamp: Stamp
    item: bytes | None


class TreeState(NamedTuple):
    """What is committed with the rows. applied: the last LSN whose effects are all in. extra: the replica's own durable facts, opaque here."""

    applied: Lsn
    stamp: Stamp
    extra: bytes


class TreeFile(NamedTuple):
    """A tree that was made and read back for all copies of a new partition on one machine (`storage.btree.treefile`). size: of the file, bytes. hash: xxh3_128 over
    all of them. digest: `RangeDigest.encode()` of the rows that were read back. item_bytes: of their keys and values."""

    size: int
    hash: bytes
    digest: bytes
    item_bytes: int


EMPTY = TreeState(Lsn(0), Stamp(0), b"")


class Tree(Protocol):
    """One replica's tree as its node reads it: a snapshot as of the last checkpoint."""

    @property
    def state(self) -> TreeState: ...

    def get(self, key: bytes, *, proven: bool = True) -> Row | None:
        """Raises Corrupt (field `key`) when the row, or the proof that there is none, fails its check.

        proven False: a row that is there is checked all the same, but an absence is taken as found. Only for keeping the digest at apply: a row that
        vanished makes the digest differ from the other members', which the next seal shows. Never for an answer.
        """
        ...

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        """Rows with start <= key < end in key order (descending if reverse). Raises Corrupt before giving out a row whose neighbourhood fails."""
        ...

    def checkpoint(self, changes: Sequence[Change], state: TreeState, done: Done[None]) -> None:
        """Commit `changes` (ascending keys) and `state` durably, off the loop. One at a time. After done(None) reads see them."""
        ...

    def pin(self, applied: Lsn, done: Done[PinnedTree], *, hurry: bool = False) -> None:
        """Pin the last checkpoint for a scan by another process. hurry: a copy waits for it to serve; else the scan gives way to whoever is served. done(Corrupt | Unavailable) if its state is not at `applied`."""
        ...

    def close(self) -> None: ...


class PinnedTree(Protocol):
    """A snapshot of a tree at exactly one LSN, scanned from the file's bytes outside the node's process. Release it."""

    def digest(self, lo: bytes, hi: bytes | None, *, bytes_per_second: int | None, done: Done[ScanResult], indexed: bool = False) -> None:
        """Recompute the range digest of hash range [lo, hi) from the bytes; never stops at a bad row. indexed: of a table with local indexes, whose rows are told apart."""
        ...

    def rows(self, start: bytes, end: bytes | None, limit: int, done: Done[list[RowFact]]) -> None:
        """What is there in a key range, good or not (for descending from a range to its keys): its first rows, at most `limit`."""
        ...

    def expired(self, start: bytes, wanted: ExpiredWanted, done: Done[ExpiredPage], *, rows_per_second: int | None) -> None:
        """Items whose time to live is over, from a key on: one page, at that pace."""
        ...

    def index_rows(self, start: bytes, wanted: IndexWanted, done: Done[IndexPage]) -> None:
        """Rows of a global index for the items from a key on: one page. Corrupt: a row fails its check."""
        ...

    def cut(self, done: Done[CutPoint | None]) -> None:
        """Where it is cut in two halves, by bytes, between two partition keys, index rows counted too; None: all is of one, or nothing is there. Corrupt if any row is bad."""
        ...

    def dump(self, path: str, done: Done[Total], *, start: bytes = b"", end: bytes | None = None) -> None:
        """Write the items with start <= key < end as a row file (storage.btree.rowfile) at `path` below the node's folder. Corrupt if any row there is bad."""
        ...

    def release(self) -> None: ...


class ScanResult(NamedTuple):
    """digest: over the items that checked. bad: keys (as found) whose row failed. structure: findings about fences and pages, as text. entries: of the index rows that
    checked, `storage.btree.index_rows.IndexTally.encode()`; nothing: there are none."""

    digest: RangeDigest
    bad: tuple[bytes, ...]
    structure: tuple[str, ...]
    bytes_read: int
    entries: bytes = b""


class RowFact(NamedTuple):
    """key as found, hash (base.checksum.row_hash) and lsn of a row; hash 0 if it is unreadable."""

    key: bytes
    hash: int
    lsn: Lsn


class ExpiredWanted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """schema: of the table. attribute: holds the time. now_s: seconds since the epoch, of a clock that is trusted. rows: looked at in one page, found: named in it, at most."""

    schema: KeySchema
    attribute: str
    now_s: int
    rows: int
    found: int


class ExpiredItem(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """key: storage key. key_item: canonical bytes of the key attributes. value: the time as the item has it, bytes of `items.encoding.encode_value`."""

    key: bytes
    key_item: bytes
    value: bytes


class ExpiredPage(NamedTuple):
    """next: where the next page begins; None: that was the end of the tree. rows: how many were looked at."""

    found: tuple[ExpiredItem, ...]
    next: bytes | None
    rows: int


class IndexWanted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """definition: `GlobalRows.encode()`. owner: names the partition (`log.record.owner_tag`). rows, size: looked at in one page, their bytes, at most."""

    definition: bytes
    owner: bytes
    rows: int
    size: int


class IndexPage(NamedTuple):
    """found: (LSN that wrote the item, key, value) of rows of the index. next, rows: as of ExpiredPage."""

    found: tuple[tuple[int, bytes, bytes], ...]
    next: bytes | None
    rows: int


class TreeEngine(Protocol):
    """All trees of one node, below `replicas/<partition>/btree/`."""

    def create(self, partition: PartitionId, done: Done[Tree]) -> None:
        """A new, empty tree with state EMPTY. Raises through done: Exists."""
        ...

    def open(self, partition: PartitionId, done: Done[Tree]) -> None:
        """Verify the structure in the worker (behind an "opening" marker), then open. done(Missing | Corrupt): the tree is suspect."""
        ...

    def load(self, partition: PartitionId, path: str, state: TreeState, done: Done[Tree], *, indexing: bytes = b"") -> None:
        """Bulk-load a row file into a new tree that replaces any present one atomically. indexing: `LocalRows.encode()`, whose rows are derived; nothing: no local
        indexes. Raises through done: Corrupt (row file), Exists if open."""
        ...

    def adopt(self, partition: PartitionId, made: TreeFile, done: Done[Tree], *, last: bool) -> None:
        """As `load`, with state EMPTY: a tree of bytes of its own, proven to be those that `made` tells of. last: no other copy will ask for it. Raises through done: Missing (no such
        file on this machine), Corrupt (other bytes), Exists if open."""
        ...

    def set_aside(self, partition: PartitionId, reason: str) -> str:
        """Move a tree to `quarantine/`; returns its new path. It is evidence and is never opened again.

        One that is open is closed: whoever held it is gone (a control part that died while it loaded the tree).
        """
        ...

    def drop(self, partition: PartitionId) -> None:
        """Remove a tree for good: its table was dropped and is archived. One that is open is closed, as in `set_aside`."""
        ...

    def close(self) -> None: ...
