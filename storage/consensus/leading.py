"""A leader's part: it proposes, counts what a quorum accepted, keeps its table of followers from their answers, and resigns when its lease is long gone.

What it sends is `replication`'s, the lease `lease`'s, closed timestamps `closed`'s, the end of it `resignation`'s and `handover`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Ballot, Lsn, Member
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.follower import STAGING, STREAMING, Follower, Standing
from scrubjay.storage.consensus.group_state import Campaign, GroupState, Leadership
from scrubjay.storage.consensus.handover import Handover
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.membership import Change, LetVote, Membership, changed, check_step
from scrubjay.storage.consensus.messages import Accepted, Behind, Removed
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.consensus.replication import Replication
from scrubjay.storage.consensus.resignation import Resignation
from scrubjay.storage.log.configuration import Configuration
from scrubjay.storage.log.record import Record


class Leader:
    """Does nothing while `GroupState.leadership` is None."""

    __slots__ = ("_election", "_handover", "_lease", "_replication", "_resignation", "_state")

    def __init__(
        self, state: GroupState, lease: Lease, election: Election, resignation: Resignation, handover: Handover, replication: Replication
    ) -> None:
        self._state = state
        self._lease = lease
        self._election = election
        self._resignation = resignation
        self._handover = handover
        self._replication = replication

    # --- beginning ---

    def lead(self, campaign: Campaign) -> None:
        """Our ADOPT is synced: leadership begins. Raises Corrupt."""
        state, ballot = self._state, campaign.ballot
        assert state.promised == ballot
        assert state.accepted == ballot
        now = state.now
        stamp = state.last_stamp()
        if not state.take_clock(stamp, now):
            self._resignation.resign(now)
            return
        state.campaign = None
        self._election.won()
        self._lease.answered_anew()
        leadership = state.leadership = Leadership(
            campaign, state.members, last=state.log.last, stamp=stamp, lease_at=now.boot_us + state.options.resign_after_us
        )
        for member, standing in campaign.answers.items():
            follower = leadership.followers.get(member.node)
            if follower is None or follower.member != member:
                continue
            follower.answered = standing.epoch
            follower.stage_from(standing, source=leadership.source, adopted_last=leadership.adopted_last)
        self.advance_chosen()

    # --- proposing ---

    def can_propose(self, size: int, now: Now) -> bool:
        """Leading, lease held, not handing over, and `size` more bytes fit the window of what is proposed and not chosen."""
        leadership = self._state.leadership
        if leadership is None or leadership.handover or not self._lease.held(now):
            return False
        return leadership.window_bytes == 0 or leadership.window_bytes + size <= self._state.options.window_bytes

    def propose(self, records: Sequence[Record]) -> None:
        """Append to the log and replicate. Records are encoded, LSNs go on from `next_lsn`, stamps rise. They count when they come back in `Ready.chosen`."""
        state = self._state
        leadership = state.leadership
        assert leadership is not None
        assert records[0].lsn == state.log.last + 1
        stamp, size = leadership.stamp, 0
        for record in records:
            assert record.stamp > stamp
            stamp = record.stamp
            size += len(record.data)
        memberships = state.memberships.read(records)
        leadership.stamp = stamp
        leadership.window.append((records[-1].lsn, size, records[0].stamp))
        leadership.window_bytes += size
        state.log.append(records, size)
        state.out.append(records, state.accepted)
        for membership in memberships:
            self._check_step(membership.configuration)
            self._change_members(leadership, membership)
        if state.members.backers == 0:
            self.advance_chosen()

    def advance_chosen(self) -> None:
        """What a quorum has accepted under our ballot is chosen, the whole log up to there."""
        leadership, log = self._state.leadership, self._state.log
        if leadership is None:
            return
        chosen = self._quorum_accepted(leadership)
        if chosen > log.chosen:
            log.chosen = Lsn(chosen)
            if leadership.leaving:
                self._tell_removed(leadership)
            window = leadership.window
            while window and window[0][0] <= chosen:
                leadership.window_bytes -= window.popleft()[1]
        if leadership.handover:
            self._handover.maybe_resign()

    def _quorum_accepted(self, leadership: Leadership) -> int:
        """Own vote counts when it is synced, like any other. (The simulator breaks it on purpose.)"""
        marks: list[int] = [follower.acked for follower in leadership.followers.values() if follower.adopted and follower.votes]
        marks.append(self._state.log.synced)
        return self._state.members.reached(marks)

    # --- members ---

    def plan_members(self, change: Change, now: Now) -> Configuration:
        """The payload's value of the CONFIG that makes this change, to be proposed at once.

        Raises Unavailable (not now: try again), Invalid (never: there is nothing to change, or it is our own place).
        """
        state, leadership = self._state, self._state.leadership
        after = changed(state.members.configuration, change)
        self._check_step(after)
        if leadership is None or not self._lease.held(now) or leadership.handover:
            raise Unavailable("this member does not lead", partition=state.partition)
        if not self._own_chosen(leadership):
            raise Unavailable("no record of this leader's ballot is chosen yet", partition=state.partition)
        if not self._settled():
            raise Unavailable("a change of members is under way", partition=state.partition)
        if isinstance(change, LetVote) and not self._caught_up(leadership, change.node):
            raise Unavailable("the learner does not hold the log yet", partition=state.partition, node=change.node)
        return after

    def _check_step(self, after: Configuration) -> None:
        """One place changes, and not our own. (The simulator breaks it on purpose.)"""
        check_step(self._state.members.configuration, after, leader=self._state.members.me)

    def _own_chosen(self, leadership: Leadership) -> bool:
        """A record of our own ballot is chosen, so no log with a CONFIG that ours lacks wins any more. (The simulator breaks it on purpose.)"""
        return self._state.log.chosen >= leadership.own_from

    def _settled(self) -> bool:
        """Every CONFIG of our log is chosen. (The simulator breaks it on purpose.)"""
        return self._state.log.chosen >= self._state.members.lsn

    def _caught_up(self, leadership: Leadership, node: int) -> bool:
        """The learner holds the log through the CONFIG that named it, and lacks little of what came since: its vote would not be waited for."""
        state, follower = self._state, leadership.followers[node]
        return (
            follower.adopted
            and follower.acked >= state.members.lsn
            and follower.acked + state.options.learner_lag >= state.log.chosen
            and state.liveness.credited(node, now=state.now)
        )

    def _change_members(self, leadership: Leadership, membership: Membership) -> None:
        """A CONFIG is in our log: from here on its members count."""
        state, followers = self._state, leadership.followers
        state.memberships.extend([membership])
        state.members_moved()
        for node, follower in list(followers.items()):
            if follower.member not in membership.peers:
                del followers[node]
                leadership.leaving[follower.member] = membership.lsn
        for member in membership.peers:
            if member.node not in followers:
                followers[member.node] = Follower(member, votes=False)
            followers[member.node].votes = member in membership.voters
        self._lease.answered_anew()
        leadership.lease_at = leadership.lease_at or state.now.boot_us + state.options.resign_after_us

    def _tell_removed(self, leadership: Leadership) -> None:
        """A removal is chosen: whom it concerns need not find out by asking."""
        state = self._state
        for member, lsn in list(leadership.leaving.items()):
            if lsn <= state.log.chosen:
                del leadership.leaving[member]
                if state.members.configuration.gone(member):
                    state.out.send(member.node, Removed(member.incarnation, lsn))

    # --- answers ---

    def _answerer(self, sender: Member, ballot: int, voter: int) -> Follower | None:
        """Whose answer to our ballot this is; None: it answers another, or comes from another incarnation."""
        leadership = self._state.leadership
        if leadership is None or ballot != leadership.ballot or voter != sender.incarnation:
            return None
        follower = leadership.followers.get(sender.node)
        return follower if follower is not None and follower.member == sender else None

    def on_accepted(self, sender: Member, message: Accepted, now: Now) -> None:
        """A follower's log is ours, under our ballot, up to `last`, synced."""
        follower = self._answerer(sender, message.ballot, message.voter)
        if follower is None or message.last > self._state.log.last:
            return
        if follower.state != STREAMING:
            follower.stream_from(Lsn(message.last))
            progress = True
        else:
            progress = follower.acknowledge(Lsn(message.last))
            if not progress and message.gap and follower.may_rewind(now.boot_us):
                follower.rewound_us = now.boot_us
                follower.next = Lsn(follower.acked + 1)
                follower.ground()
        follower.land(message.last)
        self._heard(follower, message.epoch, now, progress=progress)
        self.advance_chosen()

    def on_behind(self, sender: Member, message: Behind, now: Now) -> None:
        """A follower promised our ballot, and its log has not adopted it."""
        follower = self._answerer(sender, message.ballot, message.voter)
        leadership = self._state.leadership
        if follower is None or leadership is None or follower.adopted:
            return
        progress = follower.state != STAGING
        if message.staged and follower.state == STAGING and message.cut_at == follower.cut_at:
            progress = bool(follower.flying) and follower.flying[0][0] <= message.staged
            follower.land(message.staged)
            follower.next = Lsn(max(follower.next, message.staged + 1))
        elif follower.state == STAGING and (
            (follower.flying and message.chosen <= follower.cut_at) or not follower.may_rewind(now.boot_us)
        ):
            pass  # an answer from before the first piece arrived: the timer sends again if it was lost
        else:
            follower.rewound_us = now.boot_us
            standing = Standing(Ballot(message.accepted), Lsn(message.first), Lsn(message.last), Lsn(message.chosen), message.epoch)
            follower.stage_from(standing, source=leadership.source, adopted_last=leadership.adopted_last)
        self._heard(follower, message.epoch, now, progress=progress)

    def _heard(self, follower: Follower, epoch: int, now: Now, *, progress: bool) -> None:
        follower.parked = False
        if epoch > follower.answered:
            follower.answered = epoch
            self._lease.answered_anew()
        follower.owed = bool(follower.flying) or follower.state == STAGING
        if progress:
            follower.sent_us = now.boot_us
        self._maybe_confirm(follower, now)

    def _maybe_confirm(self, follower: Follower, now: Now) -> None:
        """After an epoch moved, ask once more: a member's answer counts only under the epoch of its live grant."""
        credit = self._state.liveness.credit(follower.member.node)
        if credit.until_us > now.boot_us and credit.epoch != follower.answered and credit.epoch != follower.asked:
            follower.asked = credit.epoch
            follower.ask_again = True

    # --- timers and liveness ---

    def tick(self, now: Now) -> None:
        """Answers overdue, a lease missed for too long, a hand-over that does not come about."""
        leadership = self._state.leadership
        if leadership is None:
            return
        self._replication.tick(leadership, now)
        if leadership.lease_at is not None and leadership.lease_at <= now.boot_us:
            leadership.lease_at = None
            if not self._lease.held(now):
                # Heard by nobody, or hearing nobody: others may do better, and stay bound to us until we say so.
                self._resignation.resign(now)
        self._handover.tick(now)

    def on_liveness(self, leadership: Leadership, now: Now) -> None:
        """Grants changed: followers that can be reached again, and the lease."""
        for follower in leadership.followers.values():
            if self._state.liveness.credited(follower.member.node, now):
                if follower.parked:
                    follower.parked = False
                    follower.owed = False
                    follower.rewind()
                self._maybe_confirm(follower, now)
        if self._lease.held(now):
            leadership.lease_at = None
        elif self._hears_nobody():
            # What we say may well be heard, and our asks bind whoever could lead instead: the lease will not come back, so there is nothing to wait for.
            leadership.lease_at = now.boot_us
        elif leadership.lease_at is None:
            leadership.lease_at = now.boot_us + self._state.options.resign_after_us

    def _hears_nobody(self) -> bool:
        """So many members are silent that the others are no quorum with us."""
        members, liveness = self._state.members, self._state.liveness
        return not members.enough([peer for peer in members.peers if not liveness.silent(peer.node)])

    # --- memory ---

    def keep_from(self, lsn: Lsn) -> Lsn:
        """First LSN to keep in memory when `lsn` is applied: what followers still lack, if that is not more than they are worth."""
        leadership, log = self._state.leadership, self._state.log
        keep = lsn
        if leadership is not None and log.memory_bytes <= self._state.options.tail_bytes:
            for follower in leadership.followers.values():
                keep = min(keep, follower.acked)
        return Lsn(keep + 1)

    def check_invariants(self) -> None:
        """Raises AssertionError."""
        state, leadership = self._state, self._state.leadership
        if leadership is not None:
            assert leadership.ballot == state.promised == state.accepted != state.resigned, "leads under a ballot that is not its own"
            assert state.leader == state.members.me
            if state.log.chosen >= state.members.lsn:  # before that, what an earlier membership chose need not be with a quorum of this one
                assert state.log.chosen <= max(self._quorum_accepted(leadership), leadership.own_from - 1), "chosen without a quorum"
