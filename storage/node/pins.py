"""Copies pinned at a scrub's seal, what is read of them, and the log that is kept for somebody: all of it ends by itself.

A pin is known by its partition and the LSN of the seal, which one scrub asked for; it ends `StorageOptions.pin_timeout_us` after its owner was last heard of, and
`PIN_LIFE_US` after it began. A hold of the log is a lease: it ends LEASE_S after its owner was last heard of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scrubjay.base.env import Future, Timer
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.base.together import settle
from scrubjay.storage.btree.engine import PinnedTree, RowFact, ScanResult
from scrubjay.storage.node.errand_messages import (
    KEYS_BYTES_MAX,
    LEASE_S,
    PAGE_ROWS,
    DigestCopy,
    DigestScanned,
    Fact,
    FoundRow,
    Hold,
    IndexDigestScanned,
    KeepPin,
    PinCopy,
    PinnedRows,
    ReadRow,
    ReleaseHold,
    RowPage,
    Unpin,
)
from scrubjay.storage.node.errands import Note
from scrubjay.storage.node.home import Home
from scrubjay.storage.replica import Replica

HOLDS_MAX = 1000
"""Of one node; whoever wants another asks again."""


@dataclass(slots=True)
class _Held:
    replica: Replica
    lsn: Lsn
    timer: Timer


class Pins:
    """Of one node."""

    def __init__(self, node: Home) -> None:
        self._node = node
        self._holds: dict[tuple[PartitionId, str], _Held] = {}

    # ------------------------------------------------------------------ pins

    async def pin(self, request: PinCopy) -> None:
        """Raises Unavailable, or Corrupt (the tree cannot be opened)."""
        replica = copy_on(self._node, request.partition)
        future: Future[Any] = self._node.env.tasks.future()

        def late() -> None:
            if not future.done():
                future.set_exception(Unavailable("the copy was not pinned in time", node=self._node.name, lsn=request.lsn))

        def done(result: PinnedTree | ScrubjayError) -> None:
            if not future.done():  # else the pin stays for whoever asks again, until its time
                settle(future, result if isinstance(result, ScrubjayError) else None)

        timer = self._node.env.tasks.call_later(request.wait_us / 1e6, late)
        replica.checkpoints.pinned(request.lsn, done)
        try:
            await future
        finally:
            timer.cancel()

    def unpin(self, request: Unpin) -> None:
        replica = self._node.replicas.get(request.partition)
        if replica is not None:
            replica.checkpoints.unpin(request.lsn)

    def keep(self, request: KeepPin) -> None:
        """A scrub may be slow for as long as it costs no write: a node whose log is full gives its pins up, and a copy whose tree takes no checkpoints its own, for
        a pin keeps every page that was replaced since. Raises Unavailable."""
        checkpoints = copy_on(self._node, request.partition).checkpoints
        if self._node.full or checkpoints.failure is not None:
            checkpoints.unpin(request.lsn)
        if not checkpoints.keep_pin(request.lsn, self._node.env.clock.boot_us()):
            raise self._lost("the copy is not pinned any more", request.partition, request.lsn)

    def _lost(self, what: str, partition: PartitionId, lsn: Lsn) -> Unavailable:
        """Field `pin`: this is about the pin, and says nothing about the copy."""
        return Unavailable(what, partition=partition, node=self._node.name, lsn=lsn, pin="lost")

    def _pinned(self, partition: PartitionId, lsn: Lsn) -> tuple[Replica, PinnedTree]:
        replica = copy_on(self._node, partition)
        tree = replica.checkpoints.tree_at(lsn)
        if tree is None:
            raise self._lost("the copy is not pinned (any more)", partition, lsn)
        return replica, tree

    async def _read(self, found: Future[Any], replica: Replica, tree: PinnedTree, lsn: Lsn) -> Any:
        """What was read of a pin that has ended meanwhile may be anything, damage too."""
        outcome: Any
        try:
            outcome = await found
        except ScrubjayError as error:
            outcome = error
        if replica.checkpoints.tree_at(lsn) is not tree:
            raise self._lost("the pin ended while it was read", replica.partition, lsn)
        if isinstance(outcome, ScrubjayError):
            raise outcome
        return outcome

    async def digest(self, request: DigestCopy, note: Note) -> DigestScanned:
        """As slow as the pace that was asked for: bounded by the pin, which ends at its time, and the scan with it."""
        replica, tree = self._pinned(request.partition, request.lsn)
        future: Future[Any] = self._node.env.tasks.future()
        tree.digest(
            replica.lo,
            replica.hi,
            bytes_per_second=request.bytes_per_second,
            done=lambda result: settle(future, result),
            indexed=replica.local is not None,
        )
        found: ScanResult = await self._read(future, replica, tree, request.lsn)
        told = (found.digest.encode(), replica.lo, replica.hi, named(found.bad), found.structure, found.bytes_read)
        return IndexDigestScanned(*told, found.entries) if found.entries else DigestScanned(*told)

    async def rows(self, request: PinnedRows) -> RowPage:
        replica, tree = self._pinned(request.partition, request.lsn)
        future: Future[Any] = self._node.env.tasks.future()
        tree.rows(request.start, request.end, PAGE_ROWS, lambda result: settle(future, result))
        found: list[RowFact] = await self._read(future, replica, tree, request.lsn)
        told = found[: within([fact.key for fact in found])]
        return RowPage(tuple([Fact.of(fact) for fact in told]), more=len(told) < len(found) or len(found) == PAGE_ROWS)

    def item(self, request: ReadRow) -> FoundRow:
        replica = copy_on(self._node, request.partition)
        if replica.tree is None or (request.serving and not replica.status.serves):
            raise Unavailable("this copy names no rows", partition=request.partition, node=self._node.name, state=replica.state)
        return FoundRow(replica.find(request.key))

    # ------------------------------------------------------------------ the log

    def hold(self, request: Hold) -> None:
        """Keep the log above an LSN, or go on keeping it."""
        replica = copy_on(self._node, request.partition)
        name = request.partition, request.lease
        timer = self._node.env.tasks.call_later(LEASE_S, lambda: self._let_go(name))
        before = self._holds.get(name)
        if before is not None and before.replica is replica and before.lsn == request.lsn:
            before.timer.cancel()
            before.timer = timer
            return
        if before is None and len(self._holds) >= HOLDS_MAX:
            timer.cancel()
            raise Unavailable("too much of the log is held for others", node=self._node.name, holds=len(self._holds))
        replica.checkpoints.hold(request.lsn)
        self._let_go(name)
        self._holds[name] = _Held(replica, request.lsn, timer)

    def release(self, request: ReleaseHold) -> None:
        self._let_go((request.partition, request.lease))

    def _let_go(self, name: tuple[PartitionId, str]) -> None:
        held = self._holds.pop(name, None)
        if held is not None:
            held.timer.cancel()
            held.replica.checkpoints.release_hold(held.lsn)


def copy_on(node: Home, partition: PartitionId) -> Replica:
    """Raises Unavailable if it does not run there."""
    replica = node.replicas.get(partition) if node.running else None
    if replica is None:
        raise Unavailable("this copy is down", partition=partition, node=node.name)
    return replica


def within(keys: Sequence[bytes]) -> int:
    """How many of the keys, from the first on, one answer may hold."""
    size = 0
    for count, key in enumerate(keys):
        size += len(key)
        if size > KEYS_BYTES_MAX:
            return count
    return len(keys)


def named(keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """As many of the keys as one answer may name."""
    return tuple(keys[: within(keys)])
