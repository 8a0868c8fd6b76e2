"""Giving a ballot up: durably, then told to every member until it answers, and confirmed to whoever asks.

A ballot that is owned by a live node and led by nobody would bind the members that promised it, so a campaign that fails, a leadership that ends and a restart
each end with a Resign.
"""

from __future__ import annotations

from scrubjay.base.ids import Ballot, Member, ballot_owner, ballot_round
from scrubjay.storage.consensus.election import Election
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.messages import Leads, Question, Resign, Resigned
from scrubjay.storage.consensus.ready import Envelope, Now
from scrubjay.storage.wal import port as wal


def resigned_for_good(sender: int, message: Question, me: int) -> list[Envelope]:
    """What is answered to whoever is bound to a ballot of a member that has no group here: it acts under none that it had. Its log is gone, or its copy is, which was removed; or its tree cannot be opened now, and its group
    resigns all that is of an earlier life before anything else.

    sender: number of the node that asks. me: of the one that was asked. Nothing is durable: that the log is not there is, and says the same at every start.
    """
    asked = Ballot(message.ballot)
    return [Envelope(sender, Resign(asked, 0))] if ballot_owner(asked).node == me else []


class Resignation:
    """telling: nodes that have not answered yet. told: the ballot of ours that they are told of; what another gave up meanwhile is not ours to tell. at: boot clock at which they are told again."""

    __slots__ = ("_election", "_state", "_telling", "_told", "at")

    def __init__(self, state: GroupState, election: Election) -> None:
        self._state = state
        self._election = election
        self._telling: dict[int, None] = {}
        self._told = Ballot(0)
        self.at: int | None = None

    def resign(self, now: Now, *, successor: int = 0) -> None:
        """Durably stop acting under our ballot (leading or campaigning), then tell the members. Nothing happens without one.

        successor: node number that should campaign at once, 0 for any.
        """
        state = self._state
        if not state.owns_promised or state.promised == state.resigned:
            return
        if state.leadership is not None:
            state.leadership = None
            state.out.deposed = True
        else:
            self._election.failed()
        state.campaign = None
        state.out.forget_candidacy()
        self._give_up(state.promised)
        self._tell_all(now.boot_us + state.options.retry_us)
        for peer in state.members.peers:
            state.out.answer(peer.node, Resign(state.promised, successor))
        self._election.arm_after_defeat(now)

    def resign_after_restart(self, now: Now) -> None:
        """Give up, for all to know, what we led or wanted to lead before the restart."""
        state = self._state
        if state.owns_promised:
            if state.promised != state.resigned:
                self.resign(now)
            else:
                self._tell_all(now.boot_us)

    def remove(self, now: Now) -> None:
        """What is chosen says that this is no member any more: it acts under no ballot again, and whoever is bound to one of ours is told."""
        state = self._state
        if not state.removed:
            self.resign(now)
            state.removed = True
            self._election.watch_owner(now)

    def note(self, given_up: Ballot) -> None:
        """A member's own note, durable: the owner of that ballot never acts under it again."""
        if given_up != self._state.resigned:
            self._give_up(given_up)

    def superseded(self) -> None:
        """A new ballot of ours says more than the resignation of the old one."""
        self._telling = {}
        self.at = None

    def on_resigned(self, sender: Member, message: Resigned, now: Now) -> None:
        """A member took note."""
        if message.ballot == self._told:
            self._telling.pop(sender.node, None)
            if not self._telling:
                self.at = None

    def on_question(self, sender: Member, message: Question, now: Now) -> None:
        """Somebody is bound to a ballot of ours. If we do not act under it, say so: durably, once."""
        state = self._state
        asked = Ballot(message.ballot)
        if ballot_owner(asked).node != state.members.me.node:
            return
        if asked == state.promised and (state.leadership is not None or state.campaign is not None):
            state.out.send(sender.node, Leads(asked, state.liveness.boot_count))
            return
        if asked == state.promised and asked != state.resigned:
            self.resign(now)
        elif asked < state.promised or asked == state.resigned:
            state.out.answer(sender.node, Resign(asked, 0))
        elif asked > state.promised:
            # We do not know that ballot any more (a lost log). It must never be used again.
            self._election.seen_round = max(self._election.seen_round, ballot_round(asked))
            self._give_up(asked)
            state.out.answer(sender.node, Resign(asked, 0))

    def on_liveness(self, now: Now) -> None:
        """A member may be within reach again: tell it now."""
        if self._telling and self.at is None:
            self.at = now.boot_us

    def tick(self, now: Now) -> None:
        """Tell those again that have not answered and can be reached; the others wait for `on_liveness`."""
        if self.at is None or self.at > now.boot_us:
            return
        state = self._state
        self.at = None
        for node in self._telling:
            if state.liveness.credited(node, now):
                state.out.answer(node, Resign(self._told, 0))
                self.at = now.boot_us + state.options.retry_us

    def _give_up(self, ballot: Ballot) -> None:
        self._state.resigned = ballot
        self._state.out.save(wal.Resign(self._state.partition, ballot))

    def _tell_all(self, at: int) -> None:
        self._told = self._state.promised
        self._telling = dict.fromkeys([peer.node for peer in self._state.members.peers])
        self.at = at
