"""Becoming leader: the healthy-leader question, phase 1, and adoption of the best log. Whether and when is `election`'s to say.

A candidate adopts, whole, the log with the highest accepted ballot (then the longest) of its promise quorum: it fetches what it lacks, stages it, writes one ADOPT and leads only
when that is synced. A campaign that fails ends with Resign, or a live node that never leads would bind the members that promised it.
"""

from __future__ import annotations

from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot, ballot_owner, ballot_round
from scrubjay.storage.consensus.acceptor import Acceptor
from scrubjay.storage.consensus.adoption import adopt, stage
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.follower import Standing
from scrubjay.storage.consensus.group_state import Campaign, GroupState, Piece, Staging
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.messages import AskHealth, Fetch, Fetched, LogHealth, Prepare, Promise, Refused, Resign, Resigned
from scrubjay.storage.consensus.outbox import NONE
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.consensus.resignation import Resignation
from scrubjay.storage.log.configuration import decode_configuration

_FETCHES_MAX = 3
"""So many times a piece is asked for again before the campaign is given up."""


class Campaigner:
    """A member's part as a candidate."""

    __slots__ = ("_acceptor", "_allegiance", "_deaf", "_election", "_nonce", "_resignation", "_state")

    def __init__(self, state: GroupState, allegiance: Allegiance, election: Election, resignation: Resignation, acceptor: Acceptor) -> None:
        self._state = state
        self._allegiance = allegiance
        self._election = election
        self._resignation = resignation
        self._acceptor = acceptor
        self._nonce = 0
        self._deaf: set[Member] = set()

    # --- the healthy-leader question ---

    def tick_election(self, now: Now) -> None:
        """The wait before a campaign is over."""
        election = self._election
        if election.at is not None and election.at <= now.boot_us:
            election.at = None
            if election.may_campaign(now):
                self._ask_health(now)
            else:
                election.watch_owner(now)

    def _ask_health(self, now: Now) -> None:
        """Gray failures: before a campaign, ask whether others still hear the leader."""
        state = self._state
        if not (self._nonce and self._election.eager):  # an answer to an earlier question is as good, and may take longer than the next one
            self._nonce += 1
            self._deaf = set()
        self._election.arm_after_asking(now)
        for peer in state.members.peers:
            state.out.send(peer.node, AskHealth(state.promised, self._nonce, state.members.me.incarnation))
        if state.members.enough(()):
            self.campaign(now)

    def on_ask_health(self, sender: Member, message: AskHealth, now: Now) -> None:
        """Somebody thinks of a campaign."""
        state = self._state
        hears = (
            self._allegiance.owner_supported(now) and ballot_owner(state.promised).node != sender.node and state.promised >= message.ballot
        )
        if hears:
            self._election.doubt_owner(now)
        elif state.campaign is not None:
            # Two campaigns undo each other, and ours has begun: its Prepare waits for the sync of our own promise, or was lost on its way there.
            hears = True
            if state.campaign.own and sender.node in state.campaign.asked and sender not in state.campaign.answers:
                state.out.answer(sender.node, Prepare(state.campaign.ballot))
        # Nobody waits for the better log of a member that will not stand itself: what it has is adopted from it.
        stands = state.may_lead and state.votes and state.members.leads
        accepted, last = (state.accepted, state.log.last) if stands else (NONE, Lsn(0))
        state.out.send(sender.node, LogHealth(message.nonce, state.promised, hears, accepted, last))

    def on_health(self, sender: Member, message: LogHealth, now: Now) -> None:
        """A quorum that does not hear the leader either, us included, lets us campaign."""
        state = self._state
        if message.nonce != self._nonce or not self._election.may_campaign(now):
            return
        self._saw(message.promised)
        if message.hears:
            return
        if (message.accepted, message.last) > (state.accepted, state.log.last) and self._election.defer(now):
            self._nonce += 1
            return
        self._deaf.add(sender)
        if state.members.enough(self._deaf):
            self.campaign(now)

    # --- phase 1 ---

    def campaign(self, now: Now) -> None:
        """Begin phase 1 under a fresh ballot. Nothing happens if `Election.may_campaign` says no."""
        if not self._election.may_campaign(now):
            return
        state, election = self._state, self._election
        election.seen_round = max(ballot_round(state.promised), election.seen_round) + 1
        own = ballot(election.seen_round, state.members.me)
        self._resignation.superseded()
        election.begun()
        self._acceptor.promise(own)
        state.out.promises = own
        state.campaign = Campaign(own, now.boot_us + election.patience_us())
        self._ask(state.campaign, state.members)

    def _ask(self, campaign: Campaign, members: Membership) -> None:
        """Ask those of them that were not asked yet for a promise."""
        for peer in members.peers:
            if peer.node not in campaign.asked:
                campaign.asked.add(peer.node)
                self._state.out.answer(peer.node, Prepare(campaign.ballot))

    def on_own_promise(self, own: Ballot) -> None:
        """Our own promise is synced."""
        campaign = self._state.campaign
        if campaign is not None and campaign.ballot == own:
            campaign.own = True
            self._maybe_adopt(campaign)

    def _merge_promise_clock(self, clock: int, now: Now) -> bool:
        """Promises carry clocks: what we propose is stamped above every timestamp that a member of the quorum acknowledged. (The simulator breaks it on purpose.)"""
        return self._state.take_clock(Stamp(clock), now)

    def on_promise(self, sender: Member, message: Promise, now: Now) -> None:
        """A member promised us."""
        campaign = self._state.campaign
        if campaign is None or message.ballot != campaign.ballot or message.voter != sender.incarnation:
            return
        if not self._merge_promise_clock(message.clock, now):
            return
        state = self._state
        known = state.memberships.chosen(state.log.chosen)
        campaign.members[sender] = Membership(known.me, decode_configuration(message.members)) if message.members else known
        campaign.answers[sender] = Standing(
            Ballot(message.accepted), Lsn(message.first), Lsn(message.last), Lsn(message.chosen), message.epoch
        )
        self._maybe_adopt(campaign)

    def on_refused(self, sender: Member, message: Refused, now: Now) -> None:
        """A member does not take our ballot: it promised a higher one, or is bound."""
        state = self._state
        if message.ballot != state.promised or ballot_owner(state.promised) != state.members.me:
            return
        self._saw(message.promised)
        campaign = state.campaign
        if message.promised > message.ballot:
            self._resignation.resign(now)
        elif campaign is not None:
            campaign.refused.add(sender.node)
            if self._members_of(campaign).hopeless(campaign.refused):
                self._resignation.resign(now)

    def on_resign(self, sender: Member, message: Resign, now: Now) -> None:
        """The owner of a ballot gave it up: nobody is bound to it, and who is named successor campaigns at once."""
        state = self._state
        given_up = Ballot(message.ballot)
        if ballot_owner(given_up).node != sender.node:
            return
        if given_up == state.promised or (given_up > state.resigned and state.promised != state.resigned):
            self._resignation.note(given_up)
            if given_up == state.promised and state.leadership is None and state.campaign is None:
                if message.successor == state.members.me.node:
                    self.campaign(now)
                else:
                    self._election.arm(now, factor=2.0 if message.successor else 1.0)
        state.out.answer(sender.node, Resigned(given_up))

    def tick_campaign(self, now: Now) -> None:
        """A campaign took too long, or a piece did not come."""
        campaign = self._state.campaign
        if campaign is None or campaign.at is None or campaign.at > now.boot_us:
            return
        campaign.retries += 1
        if campaign.fetching and campaign.retries <= _FETCHES_MAX:
            self._next_piece(campaign)
        else:
            self._resignation.resign(now)

    def _saw(self, promised: int) -> None:
        self._election.seen_round = max(self._election.seen_round, ballot_round(Ballot(promised)))

    def _leads_by(self, members: Membership) -> bool:
        """This member may lead by these. (The simulator breaks it on purpose.)"""
        return members.leads

    # --- adoption, on the candidate ---

    def _plan_adoption(self, campaign: Campaign) -> tuple[Ballot, Lsn, list[Piece]]:
        """Source ballot, cut and pieces: the whole log with the highest accepted ballot, then the longest; our own wins a tie. (The simulator breaks it on purpose.)"""
        state, log = self._state, self._state.log
        best, where = self._best(campaign)
        if where == state.members.me:
            return state.accepted, log.last, []
        cut_at = log.last if best.accepted == state.accepted else log.chosen
        assert best.last >= cut_at
        pieces = [Piece(where, best.accepted, Lsn(cut_at + 1), best.last)] if best.last > cut_at else []
        return best.accepted, cut_at, pieces

    def _best(self, campaign: Campaign) -> tuple[Standing, Member]:
        """The best log so far, and whose it is."""
        state, log = self._state, self._state.log
        best, where = Standing(state.accepted, log.first, log.last, log.chosen, 0), state.members.me
        for member, standing in campaign.answers.items():
            if (standing.accepted, standing.last) > (best.accepted, best.last):
                best, where = standing, member
        return best, where

    def _members_of(self, campaign: Campaign) -> Membership:
        """By whose rules this campaign is won: what the log says that would be adopted now. (The simulator breaks it on purpose.)"""
        return campaign.members.get(self._best(campaign)[1], self._state.members)

    def _maybe_adopt(self, campaign: Campaign) -> None:
        if campaign.fetching or not campaign.own:
            return
        members = self._members_of(campaign)
        if not self._leads_by(members):
            # The log of others, which we would have to adopt, says that we are nobody who leads.
            self._resignation.resign(self._state.now)
            return
        self._ask(campaign, members)
        if not members.enough(campaign.answers.keys()):
            return
        campaign.fetching = True
        campaign.source, cut_at, campaign.pieces = self._plan_adoption(campaign)
        campaign.staging = Staging(campaign.ballot, cut_at)
        self._state.staging = None
        self._next_piece(campaign)

    def _next_piece(self, campaign: Campaign) -> None:
        state, staging = self._state, campaign.staging
        assert staging is not None
        while campaign.pieces and campaign.pieces[0].last <= staging.last:
            campaign.pieces.pop(0)
        if campaign.pieces:
            piece = campaign.pieces[0]
            first = max(piece.first, Lsn(staging.last + 1))
            state.out.send(piece.source.node, Fetch(campaign.ballot, piece.accepted, first, piece.last))
            campaign.at = state.now.boot_us + state.options.retry_us
            return
        adopt(state, staging)
        state.out.elects = campaign.ballot
        campaign.at = None

    def on_fetched(self, sender: Member, message: Fetched, now: Now) -> None:
        """Records of the log that we adopt."""
        state, campaign = self._state, self._state.campaign
        if campaign is None or message.ballot != campaign.ballot or not campaign.pieces or campaign.staging is None:
            return
        if message.missing:
            # It trimmed what we lack: we are too far behind to lead. We need a snapshot, from whoever leads next.
            self._election.failed(hopeless=True)
            self._resignation.resign(now)
            return
        records = state.decode(message.first, message.records)
        staging = campaign.staging
        if message.first > staging.last + 1 or not records or records[-1].lsn <= staging.last:
            return
        if not state.take_stamp(records, now):
            self._resignation.resign(now)
            return
        campaign.retries = 0
        stage(state, staging, records)
        self._next_piece(campaign)
