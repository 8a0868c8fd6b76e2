"""How a storage replica applies what is chosen: effects to overlay and state digest, segments as every replica, checkpoints in between.

The rows of local indexes, and the sizes of item collections, are derived here, from the item before and after, on every copy alike (ADR 0069). They stand in the tree and in no digest of this copy: what proves them is
a scrub, which derives them from the archive. A table without local indexes knows nothing of all that.

Invariants (check_invariants), beside those of following: 1 the digest's row counts are not negative, unless it is void. 2 nor are those of the indexes. 3 those of `PendingTransactions`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Invalid, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.btree.engine import TreeState
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.items.local_index import NUMBER_AT, LocalRows, decode_size, encode_size, grown_by
from scrubjay.storage.log import record as records
from scrubjay.storage.log.configuration import decode_configuration
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.log.record import Effect, Op, Record, RecordKind, Seal
from scrubjay.storage.log.split import Split, check_split, decode_born, encode_split, split_from
from scrubjay.storage.log.stated import SILENT
from scrubjay.storage.log.transaction import PendingTransactions, decode_aborted, decode_prepared
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.follow import Follow, Followed
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.segments import SegmentFacts
from scrubjay.storage.replica.state import (
    UNCONFIGURED,
    BornExtra,
    encode_extra,
    pending_of,
    version_of,
)

RETRY_US = 200_000
"""Pause before a record is applied again that the machine did not let us apply."""


class Applied(Followed, Protocol):
    """What applying asks of its replica."""

    lo: bytes
    hi: bytes | None
    owner: bytes
    overlay: Overlay
    checkpoints: Checkpoints
    local: LocalRows | None

    def find(self, key: bytes, *, proven: bool = True) -> bytes | None: ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...

    def key_applied(self, key: bytes, lsn: Lsn) -> None:
        """The effect of `lsn` on this key is applied."""
        ...

    def transaction_applied(self, id_: bytes) -> None:
        """A transaction is pending from here on, or has ended."""
        ...

    def reached(self, lsn: Lsn) -> None:
        """All up to `lsn` is applied: whoever waits for it is answered."""
        ...


class Apply(Follow):
    """digest: of all items as of `lsn`. size: bytes of keys and items. index_sizes: [rows, bytes] of each local index. configured: who is a member. transactions: pending as of `lsn`. newest_delete: LSN above which nothing was deleted. born: how the partition began, if a split made it. void: a row that rotted was overwritten, so what the
    digest should be is unknown and nothing is stated until the copy is healed."""

    _replica: Applied
    _digests = True

    def __init__(self, replica: Applied) -> None:
        super().__init__(replica)
        self.digest = RangeDigest(replica.lo, replica.hi)
        self.size = 0
        self.index_sizes: list[list[int]] = self._no_sizes()
        self.configured = UNCONFIGURED
        self.transactions = PendingTransactions()
        self.newest_delete = Lsn(0)
        self.void = False
        self.born = b""

    def _no_sizes(self) -> list[list[int]]:
        local = self._replica.local
        return [] if local is None else [[0, 0] for _ in local.indexes]

    def load(self, state: TreeState) -> None:
        """Go on from a tree's state. Raises Corrupt if what it holds beside the rows is malformed."""
        replica = self._replica
        digest, size, facts, configured = RangeDigest(replica.lo, replica.hi), 0, SegmentFacts(), UNCONFIGURED
        transactions = PendingTransactions()
        split, born = None, self.born
        stated = (
            self.stated if self.stated.lsn <= state.applied else SILENT
        )  # a tree that a heal made says nothing of it; what was known here is as true as it was
        sizes = self._no_sizes()
        if state.extra:
            try:
                extra = msgspec.msgpack.decode(state.extra, type=BornExtra)
                if extra.configured.lsn:
                    decode_configuration(extra.configured.payload)
            except msgspec.MsgspecError as error:
                raise Corrupt("replica state in the tree is malformed", what="tree", partition=replica.partition) from error
            if extra.version != version_of(configured=extra.configured.lsn > 0, split=bool(extra.split), born=bool(extra.born)):
                raise Corrupt("replica state has an unknown version", what="tree", found=extra.version)
            digest.load(extra.digest)
            size, facts, configured = extra.size, extra.segments, extra.configured
            stated = extra.stated or stated
            for one, (rows, bytes_) in zip(sizes, extra.indexes, strict=False):
                one[:] = rows, bytes_
            transactions = pending_of(extra.pending, replica.owner)
            split = split_from(extra.split) if extra.split else None
            decode_born(extra.born)
            born = extra.born or born
        replica.overlay.clear()
        self.digest, self.size, self.index_sizes = digest, size, sizes
        self.stated, self.configured, self.transactions, self.split = stated, configured, transactions, split
        self.born = born
        self.newest_delete = state.applied
        self.restart(state.applied, state.stamp, facts)
        replica.checkpoints.restart(state.applied)

    def extra(self) -> bytes:
        """What is committed beside the rows, as of `lsn`."""
        facts, transactions = self.segments.facts, self.transactions
        split = b"" if self.split is None else encode_split(self.split)
        return encode_extra(
            self.digest, self.size, facts, self.sizes, self.stated, self.configured, transactions.encode(), split, self.born
        )

    @property
    def sizes(self) -> Sizes:
        return tuple([(rows, size) for rows, size in self.index_sizes])

    # ------------------------------------------------------------------ what following leaves to it

    def _must_wait(self, record: Record) -> bool:
        """The tree must take a checkpoint before this is applied."""
        overlay, options = self._replica.overlay, self._replica.node.options
        return overlay.size > 2 * options.overlay_bytes or (
            record.kind is RecordKind.SEAL and len(overlay.frozen) >= options.frozen_layers_max
        )

    def _has_room(self) -> bool:
        return self._replica.overlay.size <= 2 * self._replica.node.options.overlay_bytes

    def _check_locks(self, record: Record, effects: list[Effect]) -> None:
        """What is pending at a SEAL would be unknown to every copy that begins behind it; a write of what is locked would be lost under the COMMIT, or read by nobody."""
        pending = self.transactions
        if record.kind is RecordKind.COMMIT:
            pending.expect(record, effects)
        elif pending.locks and (record.kind is RecordKind.SEAL or any(effect.key in pending.locks for effect in effects)):
            raise Corrupt("a transaction is pending that this record leaves no room for", what="record", lsn=record.lsn)

    def _check_split(self, record: Record, split: Split) -> None:
        """The children begin without locks, and where this one's range is cut."""
        replica = self._replica
        if self.transactions.locks:
            raise Corrupt("a transaction is pending at a SPLIT", what="record", lsn=record.lsn)
        try:
            check_split(split, parent=replica.partition, lo=replica.lo, hi=replica.hi)
        except Invalid as error:
            raise Corrupt(f"a SPLIT that divides nothing: {error}", what="record", lsn=record.lsn) from error

    def _transact(self, record: Record) -> None:
        if record.kind is RecordKind.PREPARE:
            prepared = decode_prepared(record)
            self.transactions.prepare(record, prepared)
        else:
            prepared = self.transactions.abort(record, decode_aborted(record))
        self._replica.transaction_applied(prepared.id)

    def _effects(self, record: Record, effects: list[Effect], now_us: int) -> bool:
        try:
            for effect in effects:
                self._effect(effect, record)
        except Unavailable as error:
            # Only the first effect can meet it, before anything was changed: the tree rested and the machine does not let it be opened now.
            replica = self._replica
            replica.node.log_state(replica, replica.state, f"applying waits: {error}")
            replica.repair.until_us = now_us + RETRY_US
            return False
        if record.kind is RecordKind.COMMIT:
            self._replica.transaction_applied(self.transactions.commit(effects).id)
        return True

    def inherit(self, record: Record) -> None:
        """Take from a record of the partition that this one comes of what lies in its own range. Taken already: nothing happens. Raises Unavailable: not now, and nothing was changed."""
        if record.lsn <= self.lsn:
            return
        if records.carries_effects(record.kind):
            for effect in records.effects(record):
                if self.digest.holds(effect.key):
                    self._effect(effect, record)
        self.lsn, self.stamp = record.lsn, record.stamp
        self.chosen = max(self.chosen, record.lsn)
        self._replica.node.stirred(self._replica.partition)

    def _effect(self, effect: Effect, record: Record) -> None:
        replica, key, digest = self._replica, effect.key, self.digest
        try:
            old = replica.find(key, proven=False)
        except Corrupt as error:
            replica.found_rot(error, found_by="read")
            self.void = True
            old = None
        # Before anything is changed, as it may have to wait too.
        collection = None if replica.local is None else self._collection(replica.local, key)
        if old is not None:
            digest.remove(key, row_hash(key, old))
            self.size -= len(key) + len(old)
        if effect.op is Op.PUT:
            digest.add(key, row_hash(key, effect.body))
            self.size += len(key) + len(effect.body)
            replica.overlay.put(key, record.lsn, record.stamp, effect.body)
        else:
            replica.overlay.put(key, record.lsn, record.stamp, None)
            self.newest_delete = record.lsn
        if replica.local is not None:
            assert collection is not None
            self._index(replica.local, key, old, effect.body if effect.op is Op.PUT else None, collection, record)
        replica.key_applied(key, record.lsn)

    def _collection(self, local: LocalRows, key: bytes) -> int:
        """How large the item collection of a key is, in bytes. Raises Unavailable."""
        try:
            return decode_size(self._replica.find(local.size_key(key), proven=False))
        except Corrupt as error:
            self._replica.found_rot(error, found_by="read")
            return 0

    def _index(self, local: LocalRows, key: bytes, old: bytes | None, new: bytes | None, collection: int, record: Record) -> None:
        """collection: its size in bytes before."""
        gone, come = local.change(key, old, new)
        grown = grown_by(old, new, gone, come)
        if grown:
            # Of a copy that rotted it may come to less than nothing; its next scrub says so.
            whole = collection + grown
            self._replica.overlay.put(local.size_key(key), record.lsn, record.stamp, encode_size(whole) if whole > 0 else None)
        for at, value in gone.items():
            size = self.index_sizes[at[NUMBER_AT] - 1]
            size[0] -= 1
            size[1] -= len(at) + len(value)
            if at not in come:
                self._replica.overlay.put(at, record.lsn, record.stamp, None)
        for at, value in come.items():
            size = self.index_sizes[at[NUMBER_AT] - 1]
            size[0] += 1
            size[1] += len(at) + len(value)
            self._replica.overlay.put(at, record.lsn, record.stamp, value)

    def _counted(self, record: Record, since_us: int, *, idle: bool) -> None:
        super()._counted(record, since_us, idle=idle)
        self._replica.checkpoints.touched(since_us, idle=idle)

    def _total(self) -> Total:
        return self.digest.total()

    def _cut(self, record: Record, seal: Seal, now_us: int) -> None:
        if seal.reason == Seal.SCRUB:
            self._replica.checkpoints.scrub_seal(record, now_us)

    def _reached(self) -> None:
        self._replica.reached(self.lsn)

    def check_invariants(self) -> None:
        super().check_invariants()
        self.transactions.check_invariants()
        assert self.void or min(self.digest.rows) >= 0
        assert self.void or all(rows >= 0 and size >= 0 for rows, size in self.index_sizes), self.index_sizes
