"""One replica of one partition: Sequence Paxos with leases, pure and synchronous. Messages and ticks in, one `Ready` out.

    step / tick / on_liveness / propose  ->  ready() until None  ->  shell queues, syncs  ->  persisted(token) -> messages, and ready() again

Pipelining: `ready()` may be called again before `persisted()` of earlier tokens; frames go to the WAL in the order given. `persisted(token)` means every
token up to it is synced.

Invariants (check_invariants): applied <= given <= min(chosen, synced); chosen <= last; synced <= last; accepted <= promised; leading implies promised = accepted =
own, not resigned; what is chosen on a leader was acknowledged by a quorum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot_owner
from scrubjay.storage.consensus.acceptor import Acceptor
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.campaign import Campaigner
from scrubjay.storage.consensus.closed import ClosedTime
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.group_config import GroupConfig
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.handover import Handover
from scrubjay.storage.consensus.leading import Leader
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.membership import Change, Membership
from scrubjay.storage.consensus.messages import (
    Accept,
    Accepted,
    AskHealth,
    Behind,
    Chosen,
    Fetch,
    Fetched,
    Leads,
    LogHealth,
    PartitionMessage,
    Prepare,
    Promise,
    Question,
    Refused,
    Removed,
    Resign,
    Resigned,
    Snapshot,
    Stage,
)
from scrubjay.storage.consensus.ready import Envelope, Now, Ready
from scrubjay.storage.consensus.replication import Replication
from scrubjay.storage.consensus.resignation import Resignation
from scrubjay.storage.log.configuration import Configuration
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal import port as wal

_HEIR_ASKS = 50
"""So often a member that should lead a new group first asks the others, one after the other, before it waits as any does."""
_ANSWERS = frozenset({Promise, Accepted, Behind})
"""Say the incarnation of the member that sends them."""
_OF_OWNERS = frozenset({Prepare, Fetch, Stage, Accept, Chosen, Snapshot, Leads})
"""Are sent by the owner of their ballot."""


class Group:
    """Wires the roles to one `GroupState` and is all that a shell sees of them: events come in by methods, facts are read from `state`, `log` and `lease`.

    More than 25 methods, more than 15 fields: it is the face; most methods are one line that hands an event to a role, and a field is a role.
    """

    def __init__(self, config: GroupConfig) -> None:
        """Call `tick` once soon after: `deadline()` is 0 until then."""
        self.partition = config.partition
        self.me = config.members.me
        self.state = state = GroupState(config)
        self.log = state.log
        self.lease = Lease(state)
        self._closed = ClosedTime(state, self.lease)
        allegiance = Allegiance(state, self.lease)
        self._election = Election(state, allegiance, config.jitter, asks=_HEIR_ASKS if config.heir else 0)
        self._resignation = Resignation(state, self._election)
        acceptor = self._acceptor = Acceptor(state, allegiance, self._election, self._resignation)
        self._campaigner = Campaigner(state, allegiance, self._election, self._resignation, acceptor)
        self._handover = Handover(state, self._resignation)
        self._replication = Replication(state)
        self._leader = Leader(state, self.lease, self._election, self._resignation, self._handover, self._replication)
        self._started = False
        self._handlers: dict[type, Callable[[Member, Any, Now], None]] = {
            Accept: acceptor.on_accept,
            Accepted: self._leader.on_accepted,
            Prepare: acceptor.on_prepare,
            Promise: self._campaigner.on_promise,
            Refused: self._campaigner.on_refused,
            Fetch: acceptor.on_fetch,
            Fetched: self._campaigner.on_fetched,
            Stage: acceptor.on_stage,
            Behind: self._leader.on_behind,
            Chosen: acceptor.on_chosen,
            Resign: self._campaigner.on_resign,
            Resigned: self._resignation.on_resigned,
            Question: self._resignation.on_question,
            Leads: self._election.on_leads,
            AskHealth: self._campaigner.on_ask_health,
            LogHealth: self._campaigner.on_health,
            Snapshot: acceptor.on_snapshot,
            Removed: self._on_removed,
        }
        for peer in config.members.peers:
            config.liveness.watch(peer.node)
        state.read_members()
        self._unread_told = False
        self._settled: Membership | None = None

    # --- what is read from outside ---

    @property
    def members(self) -> Membership:
        """As of the end of the log: by whom this member goes."""
        return self.state.members

    @property
    def members_chosen(self) -> Membership:
        """The last of the log that is known chosen."""
        return self.state.memberships.chosen(self.log.chosen)

    @property
    def leading(self) -> bool:
        return self.state.leadership is not None

    @property
    def leader(self) -> Member | None:
        """The member best known to lead, None if there is none."""
        return self.state.leader

    @property
    def ballot(self) -> Ballot:
        """The promised ballot: our own when leading."""
        return self.state.promised

    @property
    def last(self) -> Lsn:
        """Last LSN accepted here (queued, not necessarily synced)."""
        return self.log.last

    @property
    def applied(self) -> Lsn:
        """Last LSN that the shell said it applied."""
        return self.log.applied

    @property
    def next_lsn(self) -> Lsn:
        return Lsn(self.log.last + 1)

    # --- events ---

    def step(self, sender: int, message: PartitionMessage, now: Now) -> None:
        """A message from node `sender`. Raises Corrupt (records of the message, or of the log that had to be read, fail a check); state is unchanged then."""
        state = self.state
        state.now = now
        member = self._who(sender, message)
        if sender == self.me.node or (member not in state.members.all and self._was_removed(member, message)):
            return
        promised, accepted = state.promised, state.accepted
        self._handlers[type(message)](member, message, now)
        if state.promised != promised or state.accepted != accepted:
            self._election.watch_owner(now)

    def _who(self, sender: int, message: PartitionMessage) -> Member:
        """Which member of that node speaks: it need not be one that our log knows, which may lack the CONFIG that names it. Incarnation 0: it does not say."""
        known, kind, incarnation = self.state.members.peer(sender), type(message), 0
        if kind in _ANSWERS:
            incarnation = message.voter  # type: ignore[union-attr]
        elif kind in _OF_OWNERS and ballot_owner(message.ballot).node == sender:  # type: ignore[union-attr,arg-type]
            incarnation = ballot_owner(message.ballot).incarnation  # type: ignore[union-attr,arg-type]
        elif kind is AskHealth:
            incarnation = message.incarnation  # type: ignore[union-attr]
        if known is not None and incarnation in (0, known.incarnation):
            return known
        return Member(sender, incarnation)

    def _was_removed(self, member: Member, message: PartitionMessage) -> bool:
        """What is chosen says that the sender is no member, for good: nothing that it says counts, and it is told."""
        if not member.incarnation or isinstance(message, Resign | Resigned | Removed) or not self.members_chosen.configuration.gone(member):
            return False
        self.state.out.send(member.node, Removed(member.incarnation, self.members_chosen.lsn))
        return True

    def _on_removed(self, sender: Member, message: Removed, now: Now) -> None:
        """We are told so. Only what is chosen makes anybody say it."""
        if message.incarnation == self.me.incarnation:
            self._resignation.remove(now)

    def tick(self, now: Now) -> None:
        """Time passed; call at or after `deadline()`."""
        self.state.now = now
        if not self._started:
            self._started = True
            self._election.at = None
            self._resignation.resign_after_restart(now)
            self._election.watch_owner(now)
        self._campaigner.tick_election(now)
        self._campaigner.tick_campaign(now)
        self._election.tick_question(now)
        self._resignation.tick(now)
        self._leader.tick(now)

    def deadline(self) -> int | None:
        """Boot clock at which `tick` is due; None: nothing to wait for, an idle group costs nothing."""
        campaign, leadership = self.state.campaign, self.state.leadership
        due: tuple[int | None, ...] = (self._election.at, self._election.question_at, self._resignation.at)
        if campaign is not None:
            due += (campaign.at,)
        if leadership is not None:
            due += (leadership.retry_at, leadership.lease_at, leadership.handover_at)
        return min([at for at in due if at is not None], default=None)

    def on_liveness(self, now: Now) -> None:
        """Support, credit or epoch of a member's node changed (`Liveness.changed`)."""
        self.state.now = now
        leadership = self.state.leadership
        if leadership is not None:
            self._leader.on_liveness(leadership, now)
        else:
            self._election.watch_owner(now)
        self._resignation.on_liveness(now)

    def set_vote(self, may_vote: bool, now: Now | None = None) -> None:
        """False: the log may have lost something synced, or is damaged: no promise, no acceptance, no candidacy; a leadership ends."""
        now = self.state.now = now or self.state.now
        self.state.may_vote = may_vote
        if not may_vote:
            self._resignation.resign(now)
        elif self.state.unread is not None:
            self.state.read_members()
            self._unread_told = False
        self._election.watch_owner(now)

    def set_lead(self, may_lead: bool, now: Now) -> None:
        """False: this copy must not serve (its tree is suspect), so it does not campaign; a leadership ends. It votes on."""
        self.state.now = now
        self.state.may_lead = may_lead
        if not may_lead:
            self._resignation.resign(now)
        self._election.watch_owner(now)

    def campaign(self, now: Now) -> None:
        """Campaign at once, if this member may (`Election.may_campaign`)."""
        self._campaigner.campaign(now)

    def resign(self, now: Now) -> None:
        """Give our ballot up, if we lead or campaign under it."""
        self._resignation.resign(now)

    # --- leading ---

    def can_propose(self, size: int, now: Now) -> bool:
        """See Leader."""
        return self._leader.can_propose(size, now)

    def propose(self, records: Sequence[Record]) -> None:
        """See Leader."""
        self._leader.propose(records)

    def serving(self, now: Now) -> bool:
        """May answer strong reads."""
        return self.lease.serving(now)

    def closed(self, now: Now, *, in_seal: bool = False) -> Stamp | None:
        """See ClosedTime."""
        return self._closed.closed(now, in_seal=in_seal)

    def transfer(self, to: Member, now: Now) -> None:
        """Hand leadership to `to`: no more proposals; when it has the whole log and all is chosen, resign in its favour. Given up after campaign_us."""
        self._handover.transfer(to, now)

    @property
    def handing_over(self) -> bool:
        return self._handover.under_way

    def successor(self, now: Now, *, besides: frozenset[int]) -> Member | None:
        """The follower that could take over soonest, none on the nodes `besides`."""
        return self._handover.successor(now, besides=besides)

    def plan_members(self, change: Change, now: Now) -> Configuration:
        """See Leader."""
        return self._leader.plan_members(change, now)

    # --- the shell's reports ---

    def ready(self) -> Ready | None:
        """What is to be done now, None if nothing. Raises Corrupt if the log cannot be read; what was queued before is given first, whatever the log holds:
        later tokens say of it that it is synced.
        """
        state, out = self.state, self.state.out
        leadership = state.leadership
        if leadership is not None:
            self._replication.pump(leadership)
            self._replication.tell_chosen(leadership)
        chosen: tuple[Record, ...] = ()
        damage: Corrupt | None = None
        try:
            chosen = self.log.take_chosen(state.options.chosen_bytes)
        except Corrupt as error:
            damage = error
        if damage is None and state.unread is not None and not self._unread_told:
            self._unread_told, damage = True, state.unread
        if (settled := self.members_chosen) is not self._settled:
            self._settled = settled
            if settled.configuration.gone(self.me):
                self._resignation.remove(state.now)
        token, frames = out.close_batch(state.accepted, self.log.last)
        send = out.take_send_now()
        elected = leadership.ballot if leadership is not None and not leadership.announced else None
        if not (frames or send or chosen or elected or out.deposed or out.install_from):
            if damage is not None:
                raise damage
            return None
        if leadership is not None:
            leadership.announced = True
        ready = Ready(token, frames, send, chosen, elected, out.deposed, out.install_from)
        out.deposed = False
        out.install_from = None
        return ready

    def persisted(self, token: int) -> list[Envelope]:
        """Everything up to `token` is synced. Returns the messages that may leave now; call `ready()` afterwards."""
        state, log = self.state, self.log
        messages: list[Envelope] = []
        while (pending := state.out.pop_synced(token)) is not None:
            messages += pending.messages
            if pending.accepted == state.accepted and pending.last > log.synced:
                log.synced = pending.last
            if pending.promises:
                self._campaigner.on_own_promise(pending.promises)
            if pending.elects and state.campaign is not None and state.campaign.ballot == pending.elects:
                self._leader.lead(state.campaign)
        self._leader.advance_chosen()
        return messages

    def applied_to(self, lsn: Lsn) -> None:
        """The shell applied up to here; memory below is let go once followers have it or it is more than they are worth."""
        assert self.log.applied <= lsn <= self.log.given
        self.log.applied = lsn
        self.state.memberships.settle(lsn)
        self.log.forget(self._leader.keep_from(lsn))

    def trimmed(self, below: Lsn) -> None:
        """The WAL no longer holds records below this LSN."""
        self.log.trim(below)

    def installed(
        self, lsn: Lsn, stamp: Stamp, now: Now | None = None, *, members: Configuration | None = None, members_lsn: Lsn | None = None
    ) -> None:
        """A snapshot at `lsn` replaced the shell's state: the log restarts at lsn + 1 unless it reaches further. stamp: of the record at `lsn`. members: who is
        one there, or later, by a CONFIG that is chosen; None if no CONFIG up to there says anything else than is known. members_lsn: of that CONFIG, if it lies beyond `lsn`."""
        state = self.state
        now = state.now = now or state.now
        assert state.leadership is None
        state.out.save(wal.Install(self.partition, lsn, state.accepted))
        state.install(lsn, stamp, members, lsn if members_lsn is None else members_lsn)
        if state.unread is not None:
            state.read_members()
        state.clock.merge(stamp, now.wall_us)
        self._acceptor.tell_standing(now)

    def check_invariants(self) -> None:
        """Raises AssertionError on the first that does not hold."""
        assert self.state.accepted <= self.state.promised, "accepted more than promised"
        assert self.state.leadership is None or ballot_owner(self.ballot) == self.me, "leads under another's ballot"
        self._leader.check_invariants()
        self.log.check_invariants()
