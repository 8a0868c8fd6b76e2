"""A follower as its leader sees it: where its log stood, what it was sent, what it answered. `replication` sends, `leading` takes the answers.

A follower is in one of four states: UNKNOWN (probed), STAGING (its log is being replaced in pieces), STREAMING (its log has adopted our ballot), SNAPSHOT (our
log no longer reaches back to what it lacks). A follower whose node grants us nothing is parked: no timer runs for it until `on_liveness`.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from scrubjay.base.ids import Ballot, Lsn, Member

UNKNOWN, STAGING, STREAMING, SNAPSHOT = range(4)
REWIND_US = 50_000
"""A follower is not sent the same again sooner than this, whatever it answers."""


class Standing(NamedTuple):
    """Where a member's log stood when it promised, or when it said that it is behind. epoch: under which it supports our node."""

    accepted: Ballot
    first: Lsn
    last: Lsn
    chosen: Lsn
    epoch: int


class Follower:
    """One row of the leader's table.

    next: first LSN not sent yet. cut_at, target: the adoption under way (Stage.cut_at, Stage.adopted_last). acked: last LSN it accepted under our ballot, synced.
    adopted: its log is ours, under our ballot. answered: epoch it last named (0: none). asked: epoch for which it was asked anew. ask_again: the question where
    it stands is due. votes: its answers count (learners follow, and theirs do not). owed: it owes an answer since sent_us. told: chosen index it was last told. flying: (last LSN, bytes) of unanswered messages.

    More than 15 fields: all that a leader knows of one follower is one row.
    """

    __slots__ = (
        "acked",
        "adopted",
        "answered",
        "ask_again",
        "asked",
        "cut_at",
        "flying",
        "flying_bytes",
        "member",
        "next",
        "owed",
        "parked",
        "rewound_us",
        "sent_us",
        "state",
        "target",
        "told",
        "votes",
    )

    def __init__(self, member: Member, *, votes: bool) -> None:
        self.member = member
        self.votes = votes
        self.state = UNKNOWN
        self.next: Lsn = Lsn(0)
        self.acked: Lsn = Lsn(0)
        self.cut_at: Lsn = Lsn(0)
        self.target: Lsn = Lsn(0)
        self.adopted = False
        self.answered = 0
        self.asked = 0
        self.ask_again = True
        self.owed = False
        self.sent_us = 0
        self.rewound_us = -REWIND_US
        self.parked = False
        self.told: Lsn = Lsn(0)
        self.flying: deque[tuple[int, int]] = deque()
        self.flying_bytes = 0

    def stage_from(self, standing: Standing, *, source: Ballot, adopted_last: Lsn) -> None:
        """Begin to replace its log by the adopted one, which its leader took from the log accepted under `source` and which ends at `adopted_last`.

        Where the two agree: up to the end of its log if that has the accepted ballot which we adopted, else up to what it knows chosen.
        """
        same = standing.accepted == source != 0
        cut_at = min(standing.last, adopted_last) if same else standing.chosen
        self.state = STAGING
        self.cut_at = Lsn(max(cut_at, standing.chosen))
        # A snapshot may have brought it beyond what we adopted: what is chosen there is our log too.
        self.target = max(adopted_last, self.cut_at)
        self.next = Lsn(self.cut_at + 1)
        self.ask_again = self.cut_at == self.target
        self.ground()

    def stream_from(self, last: Lsn) -> None:
        """It has adopted our ballot; its log is ours up to `last`, synced."""
        self.state = STREAMING
        self.adopted = True
        self.next = Lsn(last + 1)
        self.acked = last
        self.ground()

    def acknowledge(self, last: Lsn) -> bool:
        """Its log reaches to `last` now. False: that is nothing new."""
        if last <= self.acked:
            return False
        self.acked = last
        if self.next <= last:
            self.next = Lsn(last + 1)
        return True

    def may_rewind(self, now_us: int) -> bool:
        """Long enough since it was last sent the same again."""
        return now_us - self.rewound_us >= REWIND_US

    def rewind(self) -> None:
        """Send again what was not answered: all of it, or the question where it stands."""
        self.ground()
        self.ask_again = True
        if self.state == STREAMING:
            self.next = Lsn(self.acked + 1)
        elif self.state == STAGING:
            self.next = Lsn(self.cut_at + 1)
        else:
            self.state = UNKNOWN

    def fly(self, last: int, size: int) -> None:
        """Records up to `last` are on their way, `size` bytes of them in this message."""
        self.next = Lsn(last + 1)
        self.flying.append((last, size))
        self.flying_bytes += size

    def land(self, last: int) -> None:
        """What was sent up to here is answered."""
        while self.flying and self.flying[0][0] <= last:
            self.flying_bytes -= self.flying.popleft()[1]

    def ground(self) -> None:
        """Nothing is on its way any more, as far as we count."""
        self.flying.clear()
        self.flying_bytes = 0
