"""One replica of one partition: Sequence Paxos with leases, pure and synchronous. Messages and ticks in, one `Ready` out.

    step / tick / on_liveness / propose  ->  ready() until None  ->  shell queues, syncs  ->  persisted(token) -> messages, and ready() again

Pipelining: `ready()` may be called again before `persisted()` of earlier tokens; frames go to the WAL in the order given. `persisted(token)` means every
token up to it is synced.

Invariants (check_invariants): 1 given <= min(chosen, synced last); 2 applied <= given; 3 chosen <= last; 4 accepted <= promised; 5 leading implies promised = accepted = own, not resigned;
6 synced last <= last; 7 what is chosen on a leader was acknowledged by a quorum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.errors import Corrupt
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Lsn, Member, PartitionId, Stamp, ballot_owner
from scrubjay.storage.consensus.acceptor import NONE
from scrubjay.storage.consensus.leading import Leader
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.messages import (
    Accept,
    Accepted,
    AskHealth,
    Behind,
    Chosen,
    Fetch,
    Fetched,
    Health,
    Leads,
    PartitionMessage,
    Prepare,
    Promise,
    Question,
    Refused,
    Resign,
    Resigned,
    Snapshot,
    Stage,
)
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Envelope, GroupState, LogReader, Now, Ready
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal

__all__ = ["Group"]


class Group(Leader):
    """The state machine. Everything that may raise is said at `step`; the rest is pure bookkeeping."""

    def __init__(
        self,
        *,
        partition: PartitionId,
        me: Member,
        members: tuple[Member, ...],
        state: GroupState,
        log: LogReader,
        liveness: Liveness,
        clock: HybridClock,
        options: ConsensusOptions,
        jitter: Callable[[], float],
    ) -> None:
        """jitter: uniform in [0, 1), a stream of this group's own. Call `tick` once soon after: `deadline()` is 0 until then."""
        super().__init__(
            partition=partition,
            me=me,
            members=members,
            state=state,
            log=log,
            liveness=liveness,
            clock=clock,
            options=options,
            jitter=jitter,
        )
        self._started = False
        self._handlers: dict[type, Callable[[Member, Any, Now], object]] = {
            Accept: self._on_accept,
            Accepted: self._on_accepted,
            Prepare: self._on_prepare,
            Promise: self._on_promise,
            Refused: self._on_refused,
            Fetch: self._on_fetch,
            Fetched: self._on_fetched,
            Stage: self._on_stage,
            Behind: self._on_behind,
            Chosen: self._on_chosen,
            Resign: self._on_resign,
            Resigned: self._on_resigned_at,
            Question: self._on_question,
            Leads: self._on_leads,
            AskHealth: self._on_ask_health,
            Health: self._on_health,
            Snapshot: self._on_snapshot,
        }

    # --- events ---

    def step(self, sender: int, message: PartitionMessage, now: Now) -> None:
        """A message from node `sender`. Raises Corrupt (records of the message, or of the log that had to be read, fail a check); state is unchanged then."""
        self._now = now
        member = self._by_node.get(sender)
        if member is None or sender == self.me.node:
            return
        before = self.promised, self.accepted
        self._handlers[type(message)](member, message, now)
        if (self.promised, self.accepted) != before:
            self._watch_owner(now)

    def tick(self, now: Now) -> None:
        """Time passed; call at or after `deadline()`."""
        self._now = now
        if not self._started:
            self._started = True
            self._election_at = None
            self._begin(now)
        self._tick_campaign(now)
        self._tick_leader(now)

    def deadline(self) -> int | None:
        """Boot clock at which `tick` is due; None: nothing to wait for, an idle group costs nothing."""
        due: int | None = None
        for at in (
            self._election_at,
            self._campaign_at,
            self._question_at,
            self._resign_at,
            self._retry_at,
            self._lease_at,
            self._handover_at,
        ):
            if at is not None and (due is None or at < due):
                due = at
        return due

    def on_liveness(self, now: Now) -> None:
        """Support, credit or epoch of a member's node changed (`Liveness.changed`)."""
        self._now = now
        if self.leading:
            self._leader_on_liveness(now)
        else:
            self._watch_owner(now)
        if self._resigning and self._resign_at is None:
            self._resign_at = now.boot_us

    def set_vote(self, may_vote: bool, now: Now | None = None) -> None:
        """False: the log may have lost something synced, or is damaged: no promise, no acceptance, no candidacy; a leadership ends."""
        now = self._now = now or self._now
        self.may_vote = may_vote
        if not may_vote:
            self.resign(now)
        self._watch_owner(now)

    def set_lead(self, may_lead: bool, now: Now) -> None:
        """False: this copy must not serve (its tree is suspect), so it does not campaign; a leadership ends. It votes on."""
        self._now = now
        self.may_lead = may_lead
        if not may_lead:
            self.resign(now)
        self._watch_owner(now)

    def _on_resigned_at(self, sender: Member, message: Resigned, now: Now) -> None:
        self._on_resigned(sender, message)

    def _on_chosen(self, sender: Member, message: Chosen, now: Now) -> None:
        """The leader says how far its log is chosen; if ours does not reach there, say where we stand."""
        if message.ballot != self.promised or ballot_owner(self.promised) != sender or not self.may_vote:
            return
        if self.accepted != message.ballot:
            self._answer_behind(sender, now)
            return
        self._learn(message.last)
        if message.last > self.log.last:
            self._answer_accepted(sender, now, gap=True)

    def _on_snapshot(self, sender: Member, message: Snapshot, now: Now) -> None:
        if message.ballot == self.promised and message.lsn > self.chosen:
            self._install_from = sender

    # --- the shell's reports ---

    def ready(self) -> Ready | None:
        """What is to be done now, None if nothing. Raises Corrupt if the log cannot be read; what was queued before is given first, whatever the log holds:
        later tokens say of it that it is synced.
        """
        if self.leading:
            self._pump()
            self._tell_chosen()
        chosen: tuple[Record, ...] = ()
        damage: Corrupt | None = None
        try:
            chosen = self._take_chosen()
        except Corrupt as error:
            damage = error
        token, frames = self._take_frames()
        send, self._send_now = tuple(self._send_now), []
        if not (frames or send or chosen or self._elected or self._deposed or self._snapshots or self._install_from):
            if damage is not None:
                raise damage
            return None
        ready = Ready(token, frames, send, chosen, self._elected, self._deposed, tuple(self._snapshots), self._install_from)
        self._elected = None
        self._deposed = False
        self._snapshots = []
        self._install_from = None
        return ready

    def _tell_chosen(self) -> None:
        """Followers that no Accept told: the node's next message does."""
        nodes: tuple[int, ...] = ()
        for peer in self._peers.values():
            if peer.told < self.chosen:
                peer.told = self.chosen
                nodes += (peer.member.node,)
        if nodes:
            self.liveness.chosen_moved(self.partition, self.promised, self.chosen, peers=nodes, now=self._now)

    def _take_chosen(self) -> tuple[Record, ...]:
        end = min(self.chosen, self._synced_last)
        if end <= self._given:
            return ()
        records = tuple(self.log.read(self._given + 1, end + 1, max_bytes=self.options.chosen_bytes))
        assert records[0].lsn == self._given + 1
        self._given = records[-1].lsn
        return records

    def persisted(self, token: int) -> list[Envelope]:
        """Everything up to `token` is synced. Returns the messages that may leave now; call `ready()` afterwards."""
        out: list[Envelope] = []
        queue = self._outstanding
        while queue and queue[0].token <= token:
            pending = queue.popleft()
            out += pending.messages
            if pending.accepted == self.accepted and pending.last > self._synced_last:
                self._synced_last = pending.last
            if pending.promises:
                self._on_own_promise(pending.promises)
            if pending.elects and self._campaign is not None and self._campaign.ballot == pending.elects:
                self._lead(pending.elects, self._campaign)
        if self.leading:
            self._advance_chosen()
        return out

    def applied_to(self, lsn: Lsn) -> None:
        """The shell applied up to here; memory below is let go once followers have it or it is more than they are worth."""
        assert self.applied <= lsn <= self._given
        self.applied = lsn
        keep = lsn
        if self.leading and self.log.memory_bytes <= self.options.tail_bytes:
            for peer in self._peers.values():
                keep = min(keep, peer.acked)
        self.log.forget(Lsn(keep + 1))

    def installed(self, lsn: Lsn, stamp: Stamp, now: Now | None = None) -> None:
        """A snapshot at `lsn` replaced the shell's state: the log restarts at lsn + 1 unless it reaches further. stamp: of the record at `lsn`."""
        now = self._now = now or self._now
        assert not self.leading
        assert lsn > self.applied
        self._save(wal.Install(self.partition, lsn, self.accepted))
        self._staging = None
        if self.log.last <= lsn:
            self.log.restart(lsn)
            self._synced_last = lsn
        else:
            self.log.first = max(self.log.first, Lsn(lsn + 1))
            self.log.forget(Lsn(lsn + 1))
            self._synced_last = max(self._synced_last, lsn)
        self.chosen = max(self.chosen, lsn)
        self.applied = self._given = lsn
        self._applied_stamp = stamp
        self.clock.merge(stamp, now.wall_us)
        if self.promised != NONE and ballot_owner(self.promised).node != self.me.node and self.may_vote:
            owner = self._by_node[ballot_owner(self.promised).node]
            if self.accepted == self.promised:
                self._answer_accepted(owner, now, gap=True)
            else:
                self._answer_behind(owner, now)

    def check_invariants(self) -> None:
        """Raises AssertionError on the first that does not hold (numbers in the module's docstring)."""
        assert self._given <= min(self.chosen, self._synced_last), "invariant 1"
        assert self.applied <= self._given, "invariant 2"
        assert self.chosen <= self.log.last, "invariant 3"
        assert self.accepted <= self.promised, "invariant 4"
        if self.leading:
            assert self.promised == self.accepted != self.resigned, "invariant 5"
            assert ballot_owner(self.promised) == self.me, "invariant 5"
            assert self.chosen <= max(self._quorum_accepted(), self._own_from - 1), "invariant 7"
        assert self._synced_last <= self.log.last, "invariant 6"
        self.log.check_invariants()
