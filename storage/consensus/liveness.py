"""Support between pairs of nodes: the ground under every lease of a node's partitions. One object per node, whatever the number of partitions.

A node asks its peers for support once an interval; a grant says "I support your node for D from receipt, under epoch e". An epoch is
(durable boot count << 32 | counter): when a grant has lapsed, the next one has a new epoch. The asker counts a grant from *sending*, on the boot clock,
less the drift bound, so its credit ends before the support it rests on.

Guarantees: (1) an epoch never returns once it has lapsed, over restarts too (the shell syncs the boot count before it makes a Liveness);
(2) credit for an epoch ends before the support under it; (3) a clock acknowledged in a grant is at most the granter's synced reservation, so the granter
never reads less again; (4) after a restart nothing is promised for one full D (`quiet`): support given before it may still be counted on.

It does not know which partition has which leader; groups ask it.
"""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Ballot, Lsn, PartitionId, Stamp
from scrubjay.storage.consensus.messages import Ask, Grant, Moved, NodeMessage
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, Now

_ASKS_KEPT = 4
"""Asks are remembered for this many times D; a grant for an older one is of no use in any case."""
SILENT_ASKS = 3
"""A peer that said nothing since so many asks is silent. Not fewer: of a node that was stopped, the ask before and the one after may wait for answers that it has not read."""
MOVED_MAX = 4096
"""Chosen indexes in one message; the rest waits for the next."""


class Credit(NamedTuple):
    """What a peer granted us. until_us: boot clock, drift already taken off. clock: highest it acknowledged under this epoch.

    offset_us: wall clock minus boot clock when the ask was sent; the credit is void if they move apart.
    """

    epoch: int
    until_us: int
    clock: Stamp
    offset_us: int


NO_CREDIT = Credit(0, 0, Stamp(0), 0)


class _Peer:
    __slots__ = ("asked_us", "boot", "credit", "credited", "epoch", "moved", "sent", "supporting", "unanswered", "until_us")

    def __init__(self) -> None:
        self.boot = 0
        self.epoch = 0
        self.until_us = 0
        self.supporting = False
        self.credit = NO_CREDIT
        self.credited = False
        self.asked_us = -1
        self.unanswered = 0
        """Asks since it said anything."""
        self.moved: dict[PartitionId, tuple[Ballot, Lsn]] = {}
        self.sent: dict[PartitionId, tuple[Ballot, Lsn]] = {}


class Liveness:
    """One node's grants and credits. `version` moves whenever a credit does."""

    def __init__(self, *, me: int, boot_count: int, clock: HybridClock, options: ConsensusOptions, now: Now) -> None:
        """boot_count: durable, one more than before (1 on the very first start). me: this node's number."""
        assert boot_count >= 1
        self.me = me
        self.boot_count = boot_count
        self.options = options
        self.version = 1
        self._clock = clock
        self._counter = 0
        self._peers: dict[int, _Peer] = {}
        self._next_ask_us = now.boot_us
        self._asks: dict[int, int] = {}
        """Boot time of each ask that a grant may still answer -> wall clock minus boot clock when it was sent."""
        self._quiet_until_us = now.boot_us + self._quiet_us()
        self._quiet_told = False
        self._flush_us: int | None = None
        self._changed: dict[int, None] = {}
        self._chosen: list[tuple[int, PartitionId, Ballot, Lsn]] = []
        self.refused_clocks = 0
        """Asks and grants dropped because their clock was too far ahead."""

    # --- rules that the simulator breaks on purpose ---

    def _quiet_us(self) -> int:
        """How long a restarted node promises nothing. A node that never ran before has never supported anybody."""
        return self.options.grant_us if self.boot_count > 1 else 0

    def _new_epoch(self) -> int:
        self._counter += 1
        return self.boot_count << 32 | self._counter

    def _credit_from_us(self, grant: Grant, now: Now) -> int:
        """Credit is counted from the sending of the ask: the support began after that."""
        return grant.sent_us

    def _acknowledge(self, ask: Ask) -> int:
        """Not above the reservation: after a restart the clock goes on from there."""
        return min(ask.clock, self._clock.reservation)

    # --- what groups and the node ask ---

    def watch(self, node: int) -> None:
        """A partition is shared with this node: exchange support with it."""
        if node != self.me and node not in self._peers:
            self._peers[node] = _Peer()

    def quiet(self, now: Now) -> bool:
        """True while this node may not promise or campaign after a restart."""
        return now.boot_us < self._quiet_until_us

    def supports(self, node: int, now: Now) -> int:
        """The epoch under which this node supports `node` now; 0: it does not."""
        peer = self._peers.get(node)
        return peer.epoch if peer is not None and peer.until_us > now.boot_us else 0

    def credit(self, node: int) -> Credit:
        """What `node` last granted; the caller compares `until_us` with its clock."""
        peer = self._peers.get(node)
        return peer.credit if peer is not None else NO_CREDIT

    def credited(self, node: int, now: Now) -> bool:
        """A grant of `node` is live: it can be reached both ways."""
        return self.credit(node).until_us > now.boot_us

    def silent(self, node: int) -> bool:
        """Asked again and again, `node` says nothing at all: it is gone, or this node does not hear it."""
        peer = self._peers.get(node)
        return peer is not None and peer.unanswered >= SILENT_ASKS

    def boot_of(self, node: int) -> int:
        """Boot count that `node` last asked with; 0 if it never asked."""
        peer = self._peers.get(node)
        return peer.boot if peer is not None else 0

    def chosen_moved(self, partition: PartitionId, ballot: Ballot, lsn: Lsn, *, peers: tuple[int, ...], now: Now) -> None:
        """The leader here has chosen up to `lsn`; tell `peers` with the next message."""
        for node in peers:
            self._peers[node].moved[partition] = (ballot, lsn)
        if self._flush_us is None:
            self._flush_us = now.boot_us + self.options.chosen_delay_us

    def take_chosen(self) -> list[tuple[int, PartitionId, Ballot, Lsn]]:
        """(sender, partition, ballot, last) told by peers since the last call; route each as a `Chosen` message."""
        taken, self._chosen = self._chosen, []
        return taken

    def changed(self) -> list[int]:
        """Nodes whose support, credit or epoch changed (renewals do not count) since the last call; their common groups need `on_liveness`."""
        if not self._changed:
            return []
        taken, self._changed = sorted(self._changed), {}
        return taken

    def deadline(self) -> int:
        """When `tick` is due, boot clock."""
        due = self._next_ask_us
        if self._flush_us is not None and self._flush_us < due:
            due = self._flush_us
        if not self._quiet_told and self._quiet_until_us < due:
            due = self._quiet_until_us
        for peer in self._peers.values():
            if peer.supporting and peer.until_us < due:
                due = peer.until_us
            if peer.credited and peer.credit.until_us < due:
                due = peer.credit.until_us
        return due

    # --- events ---

    def tick(self, now: Now) -> list[Envelope]:
        """Send what is due and notice what lapsed."""
        out: list[Envelope] = []
        boot = now.boot_us
        if not self._quiet_told and boot >= self._quiet_until_us:
            self._quiet_told = True
            self._changed.update(dict.fromkeys(self._peers))
            self._changed[self.me] = None
        for node, peer in self._peers.items():
            if peer.supporting and peer.until_us <= boot:
                peer.supporting = False
                self._changed[node] = None
            if peer.credited and peer.credit.until_us <= boot:
                peer.credited = False
                self._changed[node] = None
        if boot >= self._next_ask_us:
            self._next_ask_us = boot + self.options.interval_us
            self._flush_us = None
            stamp = self._own_clock(now)
            self._note_ask(now)
            for node, peer in self._peers.items():
                peer.asked_us = boot
                peer.unanswered += 1
                peer.sent = dict(list(peer.moved.items())[:MOVED_MAX]) if len(peer.moved) > MOVED_MAX else dict(peer.moved)
                moved = tuple((partition, *value) for partition, value in peer.sent.items())
                out.append(Envelope(node, Ask(self.boot_count, boot, stamp, moved)))
        elif self._flush_us is not None and boot >= self._flush_us:
            self._flush_us = None
            # Kept until a grant acknowledges the Ask that repeats them.
            for node, peer in self._peers.items():
                if peer.moved:
                    moved = tuple((partition, *value) for partition, value in list(peer.moved.items())[:MOVED_MAX])
                    out.append(Envelope(node, Moved(moved)))
        return out

    def _note_ask(self, now: Now) -> None:
        """A grant answers one ask, and says nothing of how the clocks stood at another."""
        for sent_us in [sent_us for sent_us in self._asks if sent_us + _ASKS_KEPT * self.options.grant_us <= now.boot_us]:
            del self._asks[sent_us]
        self._asks[now.boot_us] = now.wall_us - now.boot_us

    def _own_clock(self, now: Now) -> Stamp:
        """The clock as it leaves in an ask. It is taken over here too, so that no later stamp of ours falls below it if the wall clock steps back."""
        stamp = self._clock.read(now.wall_us)
        self._clock.merge(stamp, now.wall_us)
        return stamp

    def step(self, sender: int, message: NodeMessage, now: Now) -> list[Envelope]:
        """A message of a peer's Liveness."""
        self.watch(sender)
        peer = self._peers.get(sender)
        if peer is None:
            return []
        peer.unanswered = 0
        if isinstance(message, Ask):
            return self._on_ask(sender, peer, message, now)
        if isinstance(message, Grant):
            self._on_grant(sender, peer, message, now)
        elif isinstance(message, Moved):
            self._take_moved(sender, message.chosen)
        return []

    def _take_moved(self, sender: int, moved: tuple[tuple[str, int, int], ...]) -> None:
        self._chosen += [(sender, PartitionId(partition), Ballot(ballot), Lsn(last)) for partition, ballot, last in moved]

    def _on_ask(self, sender: int, peer: _Peer, ask: Ask, now: Now) -> list[Envelope]:
        if ask.boot < peer.boot:
            return []
        if not self._clock.merge(Stamp(ask.clock), now.wall_us):
            self.refused_clocks += 1
            return []
        if ask.boot > peer.boot:
            peer.boot = ask.boot
            self._changed[sender] = None
        if peer.until_us <= now.boot_us:
            peer.epoch = self._new_epoch()
            self._changed[sender] = None
        peer.until_us = now.boot_us + self.options.grant_us
        peer.supporting = True
        if ask.chosen:
            self._take_moved(sender, ask.chosen)
        return [Envelope(sender, Grant(ask.boot, ask.sent_us, peer.epoch, self._acknowledge(ask), self._clock.read(now.wall_us)))]

    def _on_grant(self, sender: int, peer: _Peer, grant: Grant, now: Now) -> None:
        if grant.boot != self.boot_count:
            return
        offset_us = self._asks.get(grant.sent_us)
        if offset_us is None:
            return  # no ask of this life, or one so old that its grant is over
        if not self._clock.merge(Stamp(grant.clock), now.wall_us):
            self.refused_clocks += 1
            return
        if grant.sent_us == peer.asked_us and peer.sent:
            for partition, value in peer.sent.items():
                if peer.moved.get(partition) == value:
                    del peer.moved[partition]
            peer.sent = {}
        until = self._credit_from_us(grant, now) + self.options.grant_us - self.options.drift_us
        old = peer.credit
        if old.epoch > grant.epoch or (old.epoch == grant.epoch and old.until_us > until) or until <= now.boot_us:
            return
        clock = max(grant.acknowledged, old.clock) if old.epoch == grant.epoch else grant.acknowledged
        peer.credit = Credit(grant.epoch, until, Stamp(clock), offset_us)
        self.version += 1
        if not peer.credited or old.epoch != grant.epoch:
            peer.credited = True
            self._changed[sender] = None
