"""Handing leadership over: no more proposals, and when the heir has the whole log and all of it is chosen, resign in its favour."""

from __future__ import annotations

from scrubjay.base.ids import Member
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.consensus.resignation import Resignation


class Handover:
    """A leader's last act, given up after campaign_us."""

    __slots__ = ("_resignation", "_state")

    def __init__(self, state: GroupState, resignation: Resignation) -> None:
        self._state = state
        self._resignation = resignation

    @property
    def under_way(self) -> bool:
        leadership = self._state.leadership
        return leadership is not None and leadership.handover != 0

    def transfer(self, to: Member, now: Now) -> None:
        """Hand leadership to `to`, a peer that may lead. Nothing happens if we do not lead."""
        leadership = self._state.leadership
        if leadership is not None and to in self._state.members.peers and self._state.members.may_lead(to):
            leadership.handover = to.node
            leadership.handover_at = now.boot_us + self._state.options.campaign_us
            self.maybe_resign()

    def successor(self, now: Now, *, besides: frozenset[int]) -> Member | None:
        """The follower that could take over soonest: one that hears and is heard, has our log, and lacks least of it. besides: node numbers that must not."""
        leadership = self._state.leadership
        if leadership is None:
            return None
        liveness = self._state.liveness
        able = [
            follower
            for follower in leadership.followers.values()
            if follower.adopted
            and self._state.members.may_lead(follower.member)
            and follower.member.node not in besides
            and liveness.credited(follower.member.node, now)
        ]
        return max(able, key=lambda follower: (follower.acked, -follower.member.node)).member if able else None

    def maybe_resign(self) -> None:
        """If the heir has everything, it may lead."""
        leadership, log = self._state.leadership, self._state.log
        if leadership is None or not leadership.handover:
            return
        heir = leadership.followers[leadership.handover]
        if log.chosen == log.last == heir.acked and heir.adopted:
            self._resignation.resign(self._state.now, successor=heir.member.node)

    def tick(self, now: Now) -> None:
        """It took too long: go on leading."""
        leadership = self._state.leadership
        if leadership is not None and leadership.handover_at is not None and leadership.handover_at <= now.boot_us:
            leadership.handover_at = None
            leadership.handover = 0
