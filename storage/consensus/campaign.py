"""Becoming leader: the healthy-leader question, phase 1, adoption of the best log, and resignation.

A candidate adopts, whole, the log with the highest accepted ballot (then the longest) of its promise quorum: it fetches what it lacks, stages it, writes one ADOPT and leads only
when that is synced. A campaign that fails ends with Resign, or a live node that never leads would bind the members that promised it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from scrubjay.base.ids import Ballot, Lsn, Member, Stamp, ballot, ballot_owner, ballot_round
from scrubjay.storage.consensus.acceptor import NONE, Acceptor, Staging
from scrubjay.storage.consensus.messages import (
    AskHealth,
    Fetch,
    Fetched,
    Health,
    Leads,
    Prepare,
    Promise,
    Question,
    Refused,
    Resign,
    Resigned,
)
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.wal import port as wal

BACKOFF_MAX = 4
OWNER_FIRST = 0.05
"""Part of the usual wait after which a member campaigns whose ballot is the last that was owned."""


class Piece(NamedTuple):
    """Part of an adoption: records [first, last] of the log that `source` accepted under `accepted`."""

    source: Member
    accepted: Ballot
    first: Lsn
    last: Lsn


class Standing(NamedTuple):
    """Where a member's log stood when it promised."""

    accepted: Ballot
    first: Lsn
    last: Lsn
    chosen: Lsn
    epoch: int


class Campaign:
    """One campaign. own: our own promise is synced. fetching: the quorum is complete, its best log is being fetched."""

    __slots__ = ("answers", "ballot", "fetching", "own", "pieces", "refused", "retries", "source", "staging")

    def __init__(self, ballot_: Ballot) -> None:
        self.ballot = ballot_
        self.own = False
        self.answers: dict[Member, Standing] = {}
        self.refused: set[int] = set()
        self.fetching = False
        self.pieces: list[Piece] = []
        self.source = NONE
        self.staging: Staging | None = None
        self.retries = 0


class Campaigner(Acceptor):
    """Adds candidacy to the acceptor."""

    def __init__(self, *, jitter: Callable[[], float], **acceptor: Any) -> None:
        super().__init__(**acceptor)
        self.leading = False
        self._jitter = jitter
        self._campaign: Campaign | None = None
        self._failures = 0
        self._seen_round = max(ballot_round(self.promised), ballot_round(self.resigned))
        self._nonce = 0
        self._deaf: set[int] = set()
        self._deferred = False
        self._doubt = False
        self._watched: tuple[Ballot, int] = (self.promised, 0)
        self._resigning: dict[int, None] = {}
        self._election_at: int | None = 0
        self._campaign_at: int | None = None
        self._question_at: int | None = None
        self._resign_at: int | None = None
        self._deposed = False

    # --- whom do we follow ---

    @property
    def ballot(self) -> Ballot:
        """The promised ballot: our own when leading."""
        return self.promised

    @property
    def leader(self) -> Member | None:
        """The member best known to lead, None if there is none."""
        if self.leading:
            return self.me
        if self.promised == NONE or self.promised == self.resigned or self.accepted != self.promised:
            return None
        owner = ballot_owner(self.promised)
        return None if owner.node == self.me.node else owner

    def _reachable_quorum(self, now: Now) -> bool:
        """Enough members grant us support that a lease could follow a victory."""
        return 1 + sum([self.liveness.credited(peer.node, now) for peer in self.peers]) >= self.quorum

    def _may_campaign(self, now: Now) -> bool:
        return (
            self.may_vote
            and self.may_lead
            and not self.leading
            and self._campaign is None
            and not self.liveness.quiet(now)
            and not self._owner_supported(now)
            and self._reachable_quorum(now)
        )

    def _arm_election(self, now: Now, *, factor: float = 1.0) -> None:
        wait = self.options.election_us * factor * (0.25 + self._jitter())
        self._election_at = now.boot_us + int(wait)

    def _watch_owner(self, now: Now) -> None:
        """Arm what a follower needs: nothing while it follows a live leader, else a question to the owner or a campaign."""
        if self.leading or self._campaign is not None:
            return
        if self.promised != NONE:
            owner = ballot_owner(self.promised)
            watched = (self.promised, self.liveness.boot_of(owner.node))
            if watched != self._watched:
                # The owner's node restarted: whatever it was, it does not act under that ballot any more, unless we learnt of the restart late.
                self._doubt = watched[0] == self._watched[0]
                self._watched = watched
        if not self.may_vote:
            self._election_at = self._question_at = None
        elif self._owner_supported(now):
            self._election_at = None
            self._deferred = False
            if self.accepted == self.promised and not self._doubt:
                self._question_at = None
            elif self._question_at is None:
                self._question_at = now.boot_us + self.options.retry_us
        else:
            self._question_at = None
            if self._election_at is None and self._may_campaign(now):
                # After a restart of all, whoever led campaigns first: its log is as long as any, and the others need not get in its way.
                mine = self.promised != NONE and ballot_owner(self.promised) == self.me and self.promised != self.resigned
                self._arm_election(now, factor=OWNER_FIRST if mine else 1.0)

    # --- the healthy-leader question ---

    def _ask_health(self, now: Now) -> None:
        """Gray failures: before a campaign, ask whether others still hear the leader."""
        self._nonce += 1
        self._deaf = set()
        self._election_at = now.boot_us + int(self.options.election_us * (1.0 + self._jitter()))
        for peer in self.peers:
            self._send(peer.node, AskHealth(self.promised, self._nonce))
        if not self.peers:
            self.campaign(now)

    def _on_ask_health(self, sender: Member, message: AskHealth, now: Now) -> None:
        hears = self._owner_supported(now) and ballot_owner(self.promised).node != sender.node and self.promised >= message.ballot
        if hears:
            self._doubt_owner(now)
        self._send(sender.node, Health(message.nonce, self.promised, hears, self.accepted, self.log.last))

    def _on_health(self, sender: Member, message: Health, now: Now) -> None:
        if message.nonce != self._nonce or not self._may_campaign(now):
            return
        self._seen_round = max(self._seen_round, ballot_round(Ballot(message.promised)))
        if message.hears:
            return
        if (message.accepted, message.last) > (self.accepted, self.log.last) and not self._deferred:
            # Its log is better: leave it the first try, once, and campaign only if it does not.
            self._deferred = True
            self._nonce += 1
            self._arm_election(now, factor=3.0)
            return
        self._deaf.add(sender.node)
        if 1 + len(self._deaf) >= self.quorum:
            self.campaign(now)

    # --- phase 1 ---

    def campaign(self, now: Now) -> None:
        """Begin phase 1 under a fresh ballot. Nothing happens if it may not (quiet time, bound to a live owner, no quorum within reach)."""
        if not self._may_campaign(now):
            return
        round_ = max(ballot_round(self.promised), self._seen_round) + 1
        own = ballot(round_, self.me)
        self._seen_round = round_
        self._resigning = {}
        self._resign_at = self._election_at = self._question_at = None
        self._promise(own)
        self._promises = own
        self._campaign = Campaign(own)
        self._campaign_at = now.boot_us + self.options.campaign_us
        for peer in self.peers:
            self._answer(peer.node, Prepare(own))

    def _on_own_promise(self, own: Ballot) -> None:
        campaign = self._campaign
        if campaign is not None and campaign.ballot == own:
            campaign.own = True
            self._maybe_adopt(campaign)

    def _merge_promise_clock(self, clock: int, now: Now) -> bool:
        """Promises carry clocks: what we propose is stamped above every timestamp that a member of the quorum acknowledged."""
        return self.clock.merge(Stamp(clock), now.wall_us)

    def _on_promise(self, sender: Member, message: Promise, now: Now) -> None:
        campaign = self._campaign
        if campaign is None or message.ballot != campaign.ballot or message.voter != sender.incarnation:
            return
        if not self._merge_promise_clock(message.clock, now):
            self.clock_refusals += 1
            return
        campaign.answers[sender] = Standing(
            Ballot(message.accepted), Lsn(message.first), Lsn(message.last), Lsn(message.chosen), message.epoch
        )
        self._maybe_adopt(campaign)

    def _on_refused(self, sender: Member, message: Refused, now: Now) -> None:
        if message.ballot != self.promised or ballot_owner(self.promised) != self.me:
            return
        self._seen_round = max(self._seen_round, ballot_round(Ballot(message.promised)))
        campaign = self._campaign
        if message.promised > message.ballot:
            self.resign(now)
        elif campaign is not None:
            campaign.refused.add(sender.node)
            if len(self.members) - len(campaign.refused) < self.quorum:
                self.resign(now)

    # --- adoption, on the candidate ---

    def _plan_adoption(self, campaign: Campaign) -> tuple[Ballot, Lsn, list[Piece]]:
        """Source ballot, cut and pieces: the whole log with the highest accepted ballot, then the longest; our own wins a tie."""
        mine = Standing(self.accepted, self.log.first, self.log.last, self.chosen, 0)
        best, where = mine, self.me
        for member, standing in campaign.answers.items():
            if (standing.accepted, standing.last) > (best.accepted, best.last):
                best, where = standing, member
        if where == self.me:
            return self.accepted, self.log.last, []
        cut_at = self.log.last if best.accepted == self.accepted else self.chosen
        assert best.last >= cut_at
        pieces = [Piece(where, best.accepted, Lsn(cut_at + 1), best.last)] if best.last > cut_at else []
        return best.accepted, cut_at, pieces

    def _maybe_adopt(self, campaign: Campaign) -> None:
        if campaign.fetching or not campaign.own or 1 + len(campaign.answers) < self.quorum:
            return
        campaign.fetching = True
        campaign.source, cut_at, campaign.pieces = self._plan_adoption(campaign)
        campaign.staging = Staging(campaign.ballot, cut_at)
        self._staging = None
        self._next_piece(campaign)

    def _next_piece(self, campaign: Campaign) -> None:
        staging = campaign.staging
        assert staging is not None
        while campaign.pieces and campaign.pieces[0].last <= staging.last:
            campaign.pieces.pop(0)
        if campaign.pieces:
            piece = campaign.pieces[0]
            first = max(piece.first, Lsn(staging.last + 1))
            self._send(piece.source.node, Fetch(campaign.ballot, piece.accepted, first, piece.last))
            self._campaign_at = self._now.boot_us + self.options.retry_us
            return
        self._adopt(staging)
        self._elects = campaign.ballot
        self._campaign_at = None

    def _on_fetched(self, sender: Member, message: Fetched, now: Now) -> None:
        campaign = self._campaign
        if campaign is None or message.ballot != campaign.ballot or not campaign.pieces or campaign.staging is None:
            return
        if message.missing:
            # It trimmed what we lack: we are too far behind to lead. We need a snapshot, from whoever leads next.
            self._failures = BACKOFF_MAX
            self.resign(now)
            return
        records = self._decode(message.first, message.records)
        staging = campaign.staging
        if message.first > staging.last + 1 or not records or records[-1].lsn <= staging.last:
            return
        if not self._take_stamp(records, now):
            self.resign(now)
            return
        campaign.retries = 0
        self._stage(staging, records)
        self._next_piece(campaign)

    # --- resignation ---

    def resign(self, now: Now, *, successor: int = 0) -> None:
        """Durably stop acting under our ballot (leading or campaigning), then tell the members. Nothing happens without one.

        successor: node number that should campaign at once, 0 for any.
        """
        if self.promised == NONE or ballot_owner(self.promised).node != self.me.node or self.promised == self.resigned:
            return
        if self.leading:
            self.leading = False
            self._deposed = True
            self._stop_leading()
        else:
            self._failures = min(self._failures + 1, BACKOFF_MAX)
        self._campaign = None
        self._campaign_at = None
        self._elects = self._promises = NONE
        for pending in self._outstanding:
            pending.elects = pending.promises = NONE
        self.resigned = self.promised
        self._save(wal.Resign(self.partition, self.promised))
        self._resigning = dict.fromkeys([peer.node for peer in self.peers])
        self._resign_at = now.boot_us + self.options.retry_us
        for peer in self.peers:
            self._answer(peer.node, Resign(self.promised, successor))
        self._arm_election(now, factor=2.0 * (1 << self._failures))

    def _stop_leading(self) -> None:
        """The leader's part forgets its state."""

    def _stand_down(self, now: Now) -> None:
        self.resign(now)

    def _on_resign(self, sender: Member, message: Resign, now: Now) -> None:
        given_up = Ballot(message.ballot)
        if ballot_owner(given_up).node != sender.node:
            return
        if given_up == self.promised or (given_up > self.resigned and self.promised != self.resigned):
            if given_up != self.resigned:
                self.resigned = given_up
                self._save(wal.Resign(self.partition, given_up))
            if given_up == self.promised and not self.leading and self._campaign is None:
                if message.successor == self.me.node:
                    self.campaign(now)
                else:
                    self._arm_election(now, factor=2.0 if message.successor else 1.0)
        self._answer(sender.node, Resigned(given_up))

    def _on_resigned(self, sender: Member, message: Resigned) -> None:
        if message.ballot == self.resigned:
            self._resigning.pop(sender.node, None)
            if not self._resigning:
                self._resign_at = None

    def _on_question(self, sender: Member, message: Question, now: Now) -> None:
        """Somebody is bound to a ballot of ours. If we do not act under it, say so: durably, once."""
        asked = Ballot(message.ballot)
        if ballot_owner(asked).node != self.me.node:
            return
        if asked == self.promised and (self.leading or self._campaign is not None):
            self._send(sender.node, Leads(asked, self.liveness.boot_count))
            return
        if asked == self.promised and asked != self.resigned:
            self.resign(now)
        elif asked < self.promised or asked == self.resigned:
            self._answer(sender.node, Resign(asked, 0))
        elif asked > self.promised:
            # We do not know that ballot any more (a lost log). It must never be used again.
            self._seen_round = max(self._seen_round, ballot_round(asked))
            self.resigned = asked
            self._save(wal.Resign(self.partition, asked))
            self._answer(sender.node, Resign(asked, 0))

    def _on_leads(self, sender: Member, message: Leads, now: Now) -> None:
        if message.ballot == self.promised and message.boot >= self.liveness.boot_of(sender.node):
            self._doubt = False
            self._watch_owner(now)

    # --- timers ---

    def _begin(self, now: Now) -> None:
        """First tick: give up, for all to know, what we led or wanted to lead before the restart."""
        if ballot_owner(self.promised).node == self.me.node and self.promised != NONE:
            if self.promised != self.resigned:
                self.resign(now)
            else:
                self._resigning = dict.fromkeys([peer.node for peer in self.peers])
                self._resign_at = now.boot_us
        self._watch_owner(now)

    def _doubt_owner(self, now: Now) -> None:
        if not self.leading and not self._doubt and self._owner_supported(now):
            self._doubt = True
            self._question_at = now.boot_us

    def _tick_campaign(self, now: Now) -> None:
        at = now.boot_us
        if self._election_at is not None and self._election_at <= at:
            self._election_at = None
            if self._may_campaign(now):
                self._ask_health(now)
            else:
                self._watch_owner(now)
        if self._campaign_at is not None and self._campaign_at <= at:
            campaign = self._campaign
            assert campaign is not None
            campaign.retries += 1
            if campaign.fetching and campaign.retries <= 3:
                self._next_piece(campaign)
            else:
                self.resign(now)
        if self._question_at is not None and self._question_at <= at:
            self._question_at = None
            if self._owner_supported(now) and (self._doubt or self.accepted != self.promised):
                self._send(ballot_owner(self.promised).node, Question(self.promised))
            self._watch_owner(now)
        if self._resign_at is not None and self._resign_at <= at:
            self._resign_at = None
            for node in self._resigning:
                if self.liveness.credited(node, now):
                    self._answer(node, Resign(self.resigned, 0))
                    self._resign_at = at + self.options.retry_us
