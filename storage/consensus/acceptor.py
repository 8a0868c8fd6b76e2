"""A member's part: what it promises, which records it accepts, and where it says its log stands. All of it is answered after the sync that covers it.

Rules kept here: records are accepted in LSN order only; one accepted ballot for the whole log; that ballot moves by one ADOPT frame, written after every staged record;
no promise to others while this node supports the owner of the promised ballot, or within D of a restart (`allegiance`).
"""

from __future__ import annotations

from scrubjay.base.ids import Ballot, Lsn, Member, ballot_owner
from scrubjay.storage.consensus.adoption import adopt, stage
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.group_state import GroupState, Staging
from scrubjay.storage.consensus.messages import Accept, Accepted, Behind, Chosen, Fetch, Fetched, Prepare, Promise, Refused, Snapshot, Stage
from scrubjay.storage.consensus.outbox import NONE
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.consensus.resignation import Resignation
from scrubjay.storage.log.configuration import encode_configuration
from scrubjay.storage.wal import port as wal


class Acceptor:
    """Answers candidates and leaders."""

    __slots__ = ("_allegiance", "_election", "_resignation", "_state")

    def __init__(self, state: GroupState, allegiance: Allegiance, election: Election, resignation: Resignation) -> None:
        self._state = state
        self._allegiance = allegiance
        self._election = election
        self._resignation = resignation

    # --- votes ---

    def promise(self, ballot: Ballot) -> None:
        """The promised ballot rises; what was staged for the one before is nothing under this one."""
        state = self._state
        assert ballot > state.promised
        state.promised = ballot
        state.staging = None
        state.out.save(wal.Promise(state.partition, ballot))

    def _follow(self, sender: Member, ballot: Ballot, now: Now) -> bool:
        """A message of the owner of `ballot` that asks for our vote came. True: `ballot` is our promised ballot now."""
        state = self._state
        if not state.votes or ballot_owner(ballot) != sender:
            return False
        if ballot < state.promised:
            state.out.answer(sender.node, Refused(ballot, state.promised, False))
            return False
        if ballot > state.promised:
            if self._allegiance.bound_against(sender, now):
                state.out.answer(sender.node, Refused(ballot, state.promised, True))
                self._election.doubt_owner(now)
                return False
            # Stop acting under a ballot of our own, before a higher one is promised to another.
            self._resignation.resign(now)
            self.promise(ballot)
        return True

    def on_prepare(self, sender: Member, message: Prepare, now: Now) -> None:
        """A candidate asks for a promise."""
        state = self._state
        ballot = Ballot(message.ballot)
        if not self._follow(sender, ballot, now) or state.accepted == ballot:
            return
        epoch = self._allegiance.epoch_named(sender.node, now)
        clock = state.clock.read(now.wall_us)
        log = state.log
        state.out.answer(
            sender.node,
            Promise(
                ballot,
                state.members.me.incarnation,
                epoch,
                clock,
                state.accepted,
                log.first,
                log.last,
                log.chosen,
                encode_configuration(state.members.configuration),
            ),
        )

    def on_fetch(self, sender: Member, message: Fetch, now: Now) -> None:
        """A candidate that we promised adopts our log: frozen as long as the promise stands."""
        state = self._state
        if message.ballot != state.promised or message.accepted != state.accepted or message.last > state.log.last:
            return
        if message.first < state.log.first:
            state.out.send(sender.node, Fetched(message.ballot, message.first, True, b""))
            return
        records = state.log.read(message.first, message.last + 1, max_bytes=state.options.batch_bytes)
        state.out.answer(sender.node, Fetched(message.ballot, message.first, False, b"".join([record.data for record in records])))

    # --- a log that takes the place of ours ---

    def on_stage(self, sender: Member, message: Stage, now: Now) -> None:
        """A piece of the log that a leader adopted."""
        state = self._state
        records = state.decode(message.first, message.records)
        if not state.take_stamp(records, now) or not self._follow(sender, Ballot(message.ballot), now):
            return
        if state.accepted == message.ballot:
            self._answer_accepted(sender, now, gap=False)
            return
        if not self._cut_is_safe(message):
            self._answer_behind(sender, now)
            return
        staging = state.staging
        if staging is None or staging.cut_at != message.cut_at:
            staging = state.staging = Staging(Ballot(message.ballot), Lsn(message.cut_at))
        if message.first > staging.last + 1:
            self._answer_behind(sender, now)
            return
        stage(state, staging, records)
        if self._adoption_complete(staging, message):
            adopt(state, staging)
            self._answer_accepted(sender, now, gap=False)
        else:
            self._answer_behind(sender, now)

    def _cut_is_safe(self, message: Stage) -> bool:
        """Up to cut_at our log is the leader's: what is chosen is, and what shares the accepted ballot of the log it adopted."""
        log = self._state.log
        same = self._state.accepted == message.source and message.cut_at <= log.last
        return log.chosen <= message.cut_at and (same or message.cut_at == log.chosen) and message.cut_at <= message.adopted_last

    def _adoption_complete(self, staging: Staging, message: Stage) -> bool:
        """ADOPT is written only when every record up to the leader's adopted last LSN is staged. (The simulator breaks it on purpose.)"""
        return staging.last == message.adopted_last

    # --- records that continue it ---

    def on_accept(self, sender: Member, message: Accept, now: Now) -> None:
        """Records of the leader whose ballot our log has adopted, or its question where we stand."""
        state = self._state
        records = state.decode(message.first, message.records)
        if not state.take_stamp(records, now) or not self._follow(sender, Ballot(message.ballot), now):
            return
        if state.accepted != message.ballot:
            self._answer_behind(sender, now)
            return
        log = state.log
        last = log.last
        gap = message.first > last + 1
        if not gap and records and records[-1].lsn > last:
            # The same ballot never names two records of one LSN: what we have is what came again.
            fresh = records[last + 1 - message.first :] if message.first <= last else records
            memberships = state.memberships.read(fresh)
            log.append(fresh)
            state.out.append(fresh, state.accepted)
            if memberships:
                state.memberships.extend(memberships)
                state.members_moved()
        self._answer_accepted(sender, now, gap=gap)
        log.learn(message.chosen)

    def on_chosen(self, sender: Member, message: Chosen, now: Now) -> None:
        """The leader says how far its log is chosen; if ours does not reach there, say where we stand."""
        state = self._state
        if message.ballot != state.promised or ballot_owner(state.promised) != sender or not state.votes:
            return
        if state.accepted != message.ballot:
            self._answer_behind(sender, now)
            return
        state.log.learn(message.last)
        if message.last > state.log.last:
            self._answer_accepted(sender, now, gap=True)

    def on_snapshot(self, sender: Member, message: Snapshot, now: Now) -> None:
        """The leader's log begins after what we lack."""
        if message.ballot == self._state.promised and message.lsn > self._state.log.chosen:
            self._state.out.install_from = sender

    # --- where our log stands ---

    def tell_standing(self, now: Now) -> None:
        """Our log changed by something else than the leader's messages: say so to the owner of our ballot."""
        state = self._state
        if state.promised == NONE or not state.votes:
            return
        owner = ballot_owner(state.promised)
        if owner.node != state.members.me.node:
            if state.accepted == state.promised:
                self._answer_accepted(owner, now, gap=True)
            else:
                self._answer_behind(owner, now)

    def _answer_accepted(self, leader: Member, now: Now, *, gap: bool) -> None:
        state = self._state
        epoch = self._allegiance.epoch_named(leader.node, now)
        state.out.answer(leader.node, Accepted(state.accepted, state.members.me.incarnation, epoch, state.log.last, gap))

    def _answer_behind(self, leader: Member, now: Now) -> None:
        state = self._state
        log, staging = state.log, state.staging
        cut_at, staged = (staging.cut_at, staging.last) if staging is not None else (0, 0)
        epoch = self._allegiance.epoch_named(leader.node, now)
        state.out.answer(
            leader.node,
            Behind(state.promised, state.members.me.incarnation, epoch, state.accepted, log.first, log.last, log.chosen, cut_at, staged),
        )
