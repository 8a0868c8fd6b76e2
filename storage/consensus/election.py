"""Whether and when this member campaigns. It follows a live leader without any timer; else it asks the owner of its ballot what is the matter, or waits a
random time and campaigns (`campaign`)."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.ids import Ballot, Member, ballot_owner, ballot_round
from scrubjay.storage.consensus.allegiance import Allegiance
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.messages import Leads, Question
from scrubjay.storage.consensus.outbox import NONE
from scrubjay.storage.consensus.ready import Now

_BACKOFF_MAX = 4
_PROMISES_IN_TURN = 4
"""A campaign is given as long as so many reservations of the clock took to become durable: its own promise, that of another, whose disk may be slower, and some more."""
_OWNER_FIRST = 0.05
"""Part of the usual wait after which a member campaigns whose ballot is the last that was owned, or that led what its group was made of."""


class Election:
    """at: boot clock at which to think of a campaign. question_at: at which the owner is asked. seen_round: highest round of any ballot heard of. asks: see `heir` of `GroupConfig`: so often it asks the others
    without the usual wait in between, as long as nobody has had a ballot here: they may not have begun."""

    __slots__ = (
        "_allegiance",
        "_asks",
        "_deferred",
        "_doubt",
        "_failures",
        "_jitter",
        "_state",
        "_watched",
        "at",
        "question_at",
        "seen_round",
    )

    def __init__(self, state: GroupState, allegiance: Allegiance, jitter: Callable[[], float], *, asks: int = 0) -> None:
        self._state = state
        self._allegiance = allegiance
        self._jitter = jitter
        self._asks = asks
        self._failures = 0
        self._deferred = False
        self._doubt = False
        self._watched: tuple[Ballot, int] = (state.promised, 0)
        self.seen_round = max(ballot_round(state.promised), ballot_round(state.resigned))
        self.at: int | None = 0
        self.question_at: int | None = None

    # --- whether ---

    def may_campaign(self, now: Now) -> bool:
        """It has a vote and a copy fit to serve, neither leads nor campaigns, is bound to nobody, and a victory would bring a lease."""
        state = self._state
        return (
            state.votes
            and state.may_lead
            and state.members.leads
            and state.leadership is None
            and state.campaign is None
            and not state.liveness.quiet(now)
            and not self._allegiance.owner_supported(now)
            and self._reachable_quorum(now)
        )

    def _reachable_quorum(self, now: Now) -> bool:
        """Enough members grant us support that a lease could follow a victory."""
        state = self._state
        return state.members.enough([peer for peer in state.members.peers if state.liveness.credited(peer.node, now)])

    @property
    def eager(self) -> bool:
        """The others are asked again and again, for they may not have begun."""
        return self._asks > 0 and self._state.promised == NONE

    # --- when ---

    def arm(self, now: Now, *, factor: float = 1.0) -> None:
        """Think of a campaign after a random wait, `factor` times the usual one."""
        wait = self._state.options.election_us * factor * (0.25 + self._jitter())
        self.at = now.boot_us + int(wait)

    def arm_after_asking(self, now: Now) -> None:
        """The others are asked for the leader's health: think again if their answers do not suffice."""
        if self.eager:
            self._asks -= 1
            self.arm(now, factor=_OWNER_FIRST)
            return
        self.at = now.boot_us + int(self._state.options.election_us * (1.0 + self._jitter()))

    def patience_us(self) -> int:
        """How long a campaign may gather promises: as long as two take to become durable, ours and then theirs, and twice as long after each campaign that came to nothing.
        A promise leaves when it is synced, behind the batch before it: campaigns shorter than that never end well, and nobody would lead for as long as the disks, or the machine, are slow."""
        options = self._state.options
        return max(options.campaign_us << self._failures, _PROMISES_IN_TURN * self._state.clock.slow_us)

    def arm_after_defeat(self, now: Now) -> None:
        """A ballot of ours was given up: the longer, the more campaigns failed in a row."""
        self.arm(now, factor=2.0 * (1 << self._failures))

    def defer(self, now: Now) -> bool:
        """Leave a member with the better log the first try, once. False: it had it."""
        if self._deferred:
            return False
        self._deferred = True
        self.arm(now, factor=3.0)
        return True

    def failed(self, *, hopeless: bool = False) -> None:
        """A campaign came to nothing. hopeless: this member is too far behind to lead."""
        self._failures = _BACKOFF_MAX if hopeless else min(self._failures + 1, _BACKOFF_MAX)

    def begun(self) -> None:
        """A campaign began: it has its own clock."""
        self.at = self.question_at = None

    def won(self) -> None:
        """Leadership began."""
        self.at = self.question_at = None
        self._failures = 0
        self._deferred = False

    # --- whom this member follows ---

    def watch_owner(self, now: Now) -> None:
        """Arm what a follower needs: nothing while it follows a live leader, else a question to the owner or a campaign."""
        state = self._state
        if state.leadership is not None or state.campaign is not None:
            return
        if state.promised != NONE:
            watched = (state.promised, state.liveness.boot_of(ballot_owner(state.promised).node))
            if watched != self._watched:
                # The owner's node restarted: whatever it was, it does not act under that ballot any more, unless we learnt of the restart late.
                self._doubt = watched[0] == self._watched[0]
                self._watched = watched
        if not state.votes:
            self.at = self.question_at = None
        elif self._allegiance.owner_supported(now):
            self.at = None
            self._deferred = False
            if state.accepted == state.promised and not self._doubt:
                self.question_at = None
            elif self.question_at is None:
                self.question_at = now.boot_us + state.options.retry_us
        else:
            self.question_at = None
            if self.at is None and self.may_campaign(now):
                # After a restart of all, whoever led campaigns first: its log is as long as any, and the others need not get in its way.
                mine = state.promised not in {NONE, state.resigned} and ballot_owner(state.promised) == state.members.me
                self.arm(now, factor=_OWNER_FIRST if mine or self.eager else 1.0)

    def doubt_owner(self, now: Now) -> None:
        """Somebody acts as if the owner of our promised ballot did not: ask the owner."""
        if self._state.leadership is None and not self._doubt and self._allegiance.owner_supported(now):
            self._doubt = True
            self.question_at = now.boot_us

    def on_leads(self, sender: Member, message: Leads, now: Now) -> None:
        """The owner says that it acts under its ballot; its word from before a restart does not count."""
        if message.ballot == self._state.promised and message.boot >= self._state.liveness.boot_of(sender.node):
            self._doubt = False
            self.watch_owner(now)

    def tick_question(self, now: Now) -> None:
        """Ask the owner, if that is due."""
        if self.question_at is not None and self.question_at <= now.boot_us:
            self.question_at = None
            state = self._state
            if self._allegiance.owner_supported(now) and (self._doubt or state.accepted != state.promised):
                state.out.send(ballot_owner(state.promised).node, Question(state.promised))
            self.watch_owner(now)
