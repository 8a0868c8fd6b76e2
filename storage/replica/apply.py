"""How a storage replica applies what is chosen: effects to overlay and state digest, segments as every replica, checkpoints in between.

The rows of local indexes are derived here, from the item before and after, on every copy alike (ADR 0069). They stand in the tree and in no digest of this copy: what proves them is
a scrub, which derives them from the archive. A table without local indexes knows nothing of all that.

Invariants (check_invariants), beside those of following: 1 the digest's row counts are not negative, unless it is void. 2 nor are those of the indexes.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from scrubjay.base.checksum import row_hash
from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.btree.engine import TreeState
from scrubjay.storage.btree.index_rows import Sizes
from scrubjay.storage.items.local_index import NUMBER_AT, LocalRows
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.log.record import Effect, Op, Record, RecordKind, Seal
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.follow import Follow, Followed
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.segments import SegmentFacts
from scrubjay.storage.replica.state import EXTRA_VERSION, IndexedExtra, encode_extra

RETRY_US = 200_000
"""Pause before a record is applied again that the machine did not let us apply."""


class Applied(Followed, Protocol):
    """What applying asks of its replica."""

    lo: bytes
    hi: bytes | None
    overlay: Overlay
    checkpoints: Checkpoints
    local: LocalRows | None

    def find(self, key: bytes, *, proven: bool = True) -> bytes | None: ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...

    def key_applied(self, key: bytes, lsn: Lsn) -> None:
        """The effect of `lsn` on this key is applied."""
        ...

    def reached(self, lsn: Lsn) -> None:
        """All up to `lsn` is applied: whoever waits for it is answered."""
        ...


class Apply(Follow):
    """digest: of all items as of `lsn`. size: bytes of keys and items. index_sizes: [rows, bytes] of each local index. void: a row that rotted was overwritten, so what the digest should be is unknown and
    nothing is stated until the copy is healed."""

    _replica: Applied
    _digests = True

    def __init__(self, replica: Applied) -> None:
        super().__init__(replica)
        self.digest = RangeDigest(replica.lo, replica.hi)
        self.size = 0
        self.index_sizes: list[list[int]] = self._no_sizes()
        self.void = False

    def _no_sizes(self) -> list[list[int]]:
        local = self._replica.local
        return [] if local is None else [[0, 0] for _ in local.indexes]

    def load(self, state: TreeState) -> None:
        """Go on from a tree's state. Raises Corrupt if what it holds beside the rows is malformed."""
        replica = self._replica
        digest, size, facts = RangeDigest(replica.lo, replica.hi), 0, SegmentFacts()
        sizes = self._no_sizes()
        if state.extra:
            try:
                extra = msgspec.msgpack.decode(state.extra, type=IndexedExtra)
            except msgspec.MsgspecError as error:
                raise Corrupt("replica state in the tree is malformed", what="tree", partition=replica.partition) from error
            if extra.version != EXTRA_VERSION:
                raise Corrupt("replica state has an unknown version", what="tree", found=extra.version)
            digest.load(extra.digest)
            size, facts = extra.size, extra.segments
            for one, (rows, bytes_) in zip(sizes, extra.indexes, strict=False):
                one[:] = rows, bytes_
        replica.overlay.clear()
        self.digest, self.size, self.index_sizes = digest, size, sizes
        self.restart(state.applied, state.stamp, facts)
        replica.checkpoints.restart(state.applied)

    def extra(self) -> bytes:
        """What is committed beside the rows, as of `lsn`."""
        return encode_extra(self.digest, self.size, self.segments.facts, self.sizes)

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
        return True

    def _effect(self, effect: Effect, record: Record) -> None:
        replica, key, digest = self._replica, effect.key, self.digest
        try:
            old = replica.find(key, proven=False)
        except Corrupt as error:
            replica.found_rot(error, found_by="read")
            self.void = True
            old = None
        if old is not None:
            digest.remove(key, row_hash(key, old))
            self.size -= len(key) + len(old)
        if effect.op is Op.PUT:
            digest.add(key, row_hash(key, effect.body))
            self.size += len(key) + len(effect.body)
            replica.overlay.put(key, record.lsn, record.stamp, effect.body)
        else:
            replica.overlay.put(key, record.lsn, record.stamp, None)
        if replica.local is not None:
            self._index(replica.local, key, old, effect.body if effect.op is Op.PUT else None, record)
        replica.key_applied(key, record.lsn)

    def _index(self, local: LocalRows, key: bytes, old: bytes | None, new: bytes | None, record: Record) -> None:
        gone, come = local.change(key, old, new)
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
        assert self.void or min(self.digest.rows) >= 0
        assert self.void or all(rows >= 0 and size >= 0 for rows, size in self.index_sizes), self.index_sizes
