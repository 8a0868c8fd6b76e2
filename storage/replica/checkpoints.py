"""How a replica's overlay goes down to its tree, and how a copy is pinned for a scrub.

A checkpoint is one durable transaction: a frozen layer and the tree state it leads to. One runs at a time; a scrub seal freezes a layer at exactly its
LSN and, once that is committed, has the tree pinned before the next checkpoint may run. What checkpoints make durable decides what the WAL may let go:
records are kept back to the checkpoint *before* the last one, and until they are archived, and above every held LSN; and for `keep_log_us` more where there is
room, since whoever leads is asked for them by a member that was away.

Invariants: committed_before <= committed <= frozen_at; at most one checkpoint or pin runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import PinnedTree, Tree, TreeState
from scrubjay.storage.log.record import Record
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.kept_log import KeptLog
from scrubjay.storage.replica.overlay import FrozenLayer, Overlay, layer_changes
from scrubjay.storage.replica.segments import SegmentTracker

RETRY_US = 1_000_000
"""Pause before a checkpoint that failed (a full disk) is tried again."""
PIN_LIFE_US = 24 * 3600 * 1_000_000
"""A pin ends then, whoever wants it still: a tree that is pinned keeps every page that was replaced since."""
STALE_SCRUB_US = 120_000_000
"""A scrub seal older than this (a replay after a restart or a heal) is nobody's any more: it is not pinned."""


class SealPin(NamedTuple):
    """A tree pinned at a scrub seal, or the wait for it. held: the log above it is held too. ends_us: at the latest, however often it is kept on."""

    tree: PinnedTree | None
    waiters: list[Callable[[PinnedTree | ScrubjayError], None]]
    until_us: int
    ends_us: int
    held: bool


class Checkpointed(Hosted, Protocol):
    """What this part asks of its replica."""

    node: ReplicaHost
    overlay: Overlay
    tree: Tree | None

    @property
    def state(self) -> str: ...
    @property
    def usable(self) -> bool: ...
    @property
    def applied(self) -> Lsn: ...
    @property
    def chosen(self) -> Lsn: ...
    @property
    def stamp(self) -> Stamp: ...
    @property
    def archives(self) -> bool: ...
    @property
    def segments(self) -> SegmentTracker: ...

    def extra(self) -> bytes:
        """What is committed beside the rows, as of `applied`."""
        ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...

    def give_up_tree(self) -> None:
        """The tree can follow the log no further."""
        ...


class Checkpoints:
    """frozen_at: applied LSN of the newest frozen layer. committed, committed_before: of the last two checkpoints. Times on the boot clock."""

    def __init__(self, replica: Checkpointed) -> None:
        self._replica = replica
        self.frozen_at = Lsn(0)
        self.committed = Lsn(0)
        self.committed_before = Lsn(0)
        self._first_before = 1
        """Where the open segment started as of `committed_before`: a restart from there seals that segment again and reads it back whole."""
        self._firsts: dict[int, int] = {0: 1}
        """The same for every layer frozen since, by its applied LSN."""
        self._dirty_at_us: int | None = None
        self._idle_dirty_at_us: int | None = None
        self._running = False
        self._retry_at_us: int | None = None
        self.failure: ScrubjayError | None = None
        """Why the last checkpoint failed; None since one succeeded."""
        self._tree_life = 0
        self._pins: dict[int, SealPin] = {}
        self._holds: dict[int, int] = {}
        options = replica.node.options
        self.kept = KeptLog(options.keep_log_us if replica.archives else options.keep_index_log_us)

    # ------------------------------------------------------------------ when

    def restart(self, applied: Lsn) -> None:
        """A tree was opened or replaced; its state is at `applied`."""
        self._tree_life += 1
        self._running = False
        self.frozen_at = self.committed = self.committed_before = applied
        self._first_before = self._replica.segments.facts.first
        self._firsts = {applied: self._first_before}
        self.kept.restart(applied, self._replica.node.boot_us())
        self._dirty_at_us = self._idle_dirty_at_us = self._retry_at_us = None

    def touched(self, now_us: int, *, idle: bool) -> None:
        """Something was applied. idle: bookkeeping alone, which may wait longer."""
        if idle:
            if self._idle_dirty_at_us is None:
                self._idle_dirty_at_us = now_us
        elif self._dirty_at_us is None:
            self._dirty_at_us = now_us

    def deadline(self) -> int | None:
        if self._running:
            return None
        if self._retry_at_us is not None:
            return self._retry_at_us
        options = self._replica.node.options
        if self._dirty_at_us is not None:
            return self._dirty_at_us + options.checkpoint_interval_us
        if self._idle_dirty_at_us is not None:
            # The log is let go back to the checkpoint before the last: where room is short, what was archived is not kept waiting for that.
            full = self._replica.node.full
            return self._idle_dirty_at_us + (options.checkpoint_interval_us if full else options.checkpoint_idle_interval_us)
        return None

    def tick(self, now_us: int) -> None:
        """Checkpoint if it is time."""
        replica = self._replica
        options, overlay = replica.node.options, replica.overlay
        if self._running or overlay.frozen:
            self._next()
            return
        due = self.deadline()
        if (overlay.active_bytes >= options.checkpoint_bytes or (due is not None and due <= now_us)) and replica.applied > self.frozen_at:
            self.freeze(pin=False)

    def freeze(self, *, pin: bool) -> None:
        """Close the overlay's active layer at `applied` and send it down."""
        replica = self._replica
        replica.overlay.freeze(TreeState(replica.applied, replica.stamp, replica.extra()), pin=pin)
        self.frozen_at = replica.applied
        self._firsts[replica.applied] = replica.segments.facts.first
        self._dirty_at_us = self._idle_dirty_at_us = None
        self._next()

    # ------------------------------------------------------------------ one at a time

    def _next(self) -> None:
        replica = self._replica
        tree = replica.tree
        if self._running or not replica.overlay.frozen or tree is None or not replica.usable:
            return
        if self._retry_at_us is not None and replica.node.boot_us() < self._retry_at_us:
            return
        self._retry_at_us = None
        layer = replica.overlay.frozen[0]
        self._running = True
        life = self._tree_life

        def done(result: ScrubjayError | None) -> None:
            if life == self._tree_life:
                self._done(layer, result)

        tree.checkpoint(layer_changes(layer), layer.state, replica.node.guarded(done))

    def _done(self, layer: FrozenLayer, result: ScrubjayError | None) -> None:
        replica = self._replica
        self._running = False
        if isinstance(result, Corrupt):
            replica.found_rot(result, found_by="read")
            replica.give_up_tree()
            return
        if result is not None:
            if str(result) != str(self.failure):
                replica.node.log_state(replica, replica.state, f"checkpoint failed, is tried again: {result}")
            self.failure = result
            self._retry_at_us = replica.node.boot_us() + RETRY_US
            replica.node.arm(replica)
            return
        if self.failure is not None:
            replica.node.log_state(replica, replica.state, "the tree takes checkpoints again")
            self.failure = None
        replica.overlay.committed()
        self.committed_before, self.committed = self.committed, layer.state.applied
        self._first_before = self._firsts.get(self.committed_before, self._first_before)
        self._firsts = {applied: first for applied, first in self._firsts.items() if applied >= self.committed}
        self.kept.took(self.committed, replica.node.boot_us())
        self.trim()
        if layer.pin:
            self._pin(layer)
        else:
            self._after()

    def _after(self) -> None:
        self._next()
        if self._replica.applied < self._replica.chosen:
            self._replica.apply_ready()
        self._replica.node.arm(self._replica)

    def abandon(self) -> None:
        """The tree is let go: nothing that runs on it matters any more."""
        self._tree_life += 1
        self._running = False
        for lsn in sorted(self._pins):
            self.unpin(Lsn(lsn))

    # ------------------------------------------------------------------ pins

    def scrub_seal(self, record: Record, now_us: int) -> None:
        """A SEAL marked for scrub was applied: freeze exactly here and pin what gets committed."""
        replica = self._replica
        lsn = record.lsn
        if lsn not in self._pins and stamp_micros(record.stamp) < replica.node.env.clock.wall_us() - STALE_SCRUB_US:
            return
        waiters = self._pins[lsn].waiters if lsn in self._pins else []
        self._pins[lsn] = self._begun(waiters, held=True)
        self.hold(lsn)
        self.freeze(pin=True)

    def _pin(self, layer: FrozenLayer) -> None:
        replica = self._replica
        tree = replica.tree
        assert tree is not None
        self._running = True
        lsn = layer.state.applied
        life = self._tree_life

        def done(result: PinnedTree | ScrubjayError) -> None:
            if life == self._tree_life:
                self._running = False
            pin = self._pins.get(lsn)
            if isinstance(result, ScrubjayError):
                for waiter in pin.waiters if pin is not None else ():
                    waiter(result)
                if pin is not None:
                    self._pins[lsn] = pin._replace(waiters=[])
                    self.unpin(lsn)
            elif pin is None or life != self._tree_life:
                result.release()
            else:
                self._pins[lsn] = pin._replace(tree=result, waiters=[])
                for waiter in pin.waiters:
                    waiter(result)
            if life == self._tree_life:
                self._after()

        tree.pin(lsn, replica.node.guarded(done))

    def pinned(self, lsn: Lsn, done: Callable[[PinnedTree | ScrubjayError], None]) -> None:
        """The tree pinned at the scrub seal `lsn`, as soon as it is. done(Unavailable) if this replica will not have it."""
        replica = self._replica
        pin = self._pins.get(lsn)
        if pin is None:
            if replica.usable and replica.tree is not None and replica.tree.state.applied == lsn and not self._running:
                # A copy healed to exactly this seal: what its tree holds is what is asked for, whatever was applied above it since.
                self._pins[lsn] = self._begun([done], held=False)
                self._pin(FrozenLayer(replica.overlay.active, replica.tree.state, pin=True))
            elif replica.usable and replica.applied < lsn:
                self._pins[lsn] = self._begun([done], held=False)
                replica.node.arm(replica)
            else:
                done(Unavailable("no snapshot is pinned at this LSN", partition=replica.partition, lsn=lsn, state=replica.state))
        elif pin.tree is not None:
            done(pin.tree)
        else:
            pin.waiters.append(done)

    def _begun(self, waiters: list[Callable[[PinnedTree | ScrubjayError], None]], *, held: bool) -> SealPin:
        node = self._replica.node
        now_us = node.boot_us()
        return SealPin(None, waiters, now_us + node.options.pin_timeout_us, now_us + PIN_LIFE_US, held)

    def keep_pin(self, lsn: Lsn, now_us: int) -> bool:
        """Whoever wants it is there still. False: there is no such pin any more."""
        pin = self._pins.get(lsn)
        if pin is not None:
            self._pins[lsn] = pin._replace(until_us=min(now_us + self._replica.node.options.pin_timeout_us, pin.ends_us))
        return pin is not None

    def tree_at(self, lsn: Lsn) -> PinnedTree | None:
        """The tree that is pinned at `lsn`; None if none is, yet or any more."""
        pin = self._pins.get(lsn)
        return None if pin is None else pin.tree

    def unpin(self, lsn: Lsn) -> None:
        """Let go of a pinned snapshot and of the log it held back."""
        pin = self._pins.pop(lsn, None)
        if pin is None:
            return
        if pin.tree is not None:
            pin.tree.release()
        for waiter in pin.waiters:
            waiter(Unavailable("the copy is no longer pinned", partition=self._replica.partition, lsn=lsn))
        if pin.held:
            self.release_hold(lsn)

    def pin_deadline(self) -> int | None:
        return min((pin.until_us for pin in self._pins.values()), default=None)

    def expire_pins(self, now_us: int) -> None:
        """A scrub that went away must not hold the log for ever."""
        for lsn in [lsn for lsn, pin in self._pins.items() if pin.until_us <= now_us]:
            self.unpin(Lsn(lsn))

    # ------------------------------------------------------------------ what the WAL may let go

    def hold(self, lsn: Lsn) -> None:
        """Keep the log above `lsn`: a heal may start from there."""
        self._holds[lsn] = self._holds.get(lsn, 0) + 1

    def release_hold(self, lsn: Lsn) -> None:
        count = self._holds.get(lsn, 0) - 1
        if count > 0:
            self._holds[lsn] = count
        else:
            self._holds.pop(lsn, None)
        self.trim()

    def trim(self) -> None:
        """Tell the WAL what this replica needs no more: applied durably (one checkpoint back) *and* archived, and not held; and applied by its group, behind which a healed tree, or one whose log was
        lost, may be ahead for a moment."""
        replica = self._replica
        if replica.stopped:
            return  # forgotten: the WAL knows it no more
        if replica.group is None:
            return
        below = min(self._needed_from(), replica.group.applied + 1)
        if below > 1:
            replica.node.wal.trim(replica.partition, Lsn(below))
            replica.group.trimmed(Lsn(below))

    def check_invariants(self) -> None:
        """Programmer errors only."""
        assert self.committed_before <= self.committed <= self.frozen_at, (self.committed_before, self.committed, self.frozen_at)

    def _needed_from(self) -> int:
        """The lowest LSN whose record this replica may still need."""
        node = self._replica.node
        kept = self.kept.first(node.boot_us(), room=not node.full and node.wal.ample())
        facts = self._replica.segments.facts
        needed = min(kept, self.committed_before + 1, self._first_before, facts.archived + 1)
        if facts.ended:
            needed = min(needed, facts.ended)  # what goes on from a log's last SEAL asks for its stamp
        return min(needed, min(self._holds) + 1) if self._holds else needed

    def let_go(self, now_us: int) -> None:
        """Trim if what was kept for a member that may be away need not be any more."""
        due = self.kept.deadline()
        if due is not None and due <= now_us:
            self.trim()
