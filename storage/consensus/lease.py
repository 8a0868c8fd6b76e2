"""The leader's lease, judged here alone: no other member can lead before it ends.

It is made of grants between nodes (`liveness`): a member backs the leader while its grant is live and it has answered our ballot under the epoch of that grant.
The lease lasts as long as a quorum does, and is void while wall and boot clock of this node have moved apart since the asks were sent.

Rules that the simulator breaks on purpose are methods of their own.
"""

from __future__ import annotations

from scrubjay.storage.consensus.follower import Follower
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.liveness import Credit
from scrubjay.storage.consensus.ready import Now

_FAR = 1 << 62
_VOID = (0, 0, 0)


class Lease:
    """bounds: (boot clock at which it ends, lowest and highest wall minus boot clock that it bears), as computed at a version of Liveness."""

    __slots__ = ("_bounds", "_state", "_version")

    def __init__(self, state: GroupState) -> None:
        self._state = state
        self._version = 0
        self._bounds = _VOID

    def held(self, now: Now) -> bool:
        """No other member can lead until after `now`. Check it after the read, before the answer."""
        state = self._state
        if state.leadership is None:
            return False
        if self._version != state.liveness.version:
            self._compute(now)
        until, lowest, highest = self._bounds
        return now.boot_us < until and lowest <= now.wall_us - now.boot_us <= highest

    def serving(self, now: Now) -> bool:
        """May answer strong reads: lease held and a record of the own ballot applied, so everything chosen before is."""
        leadership = self._state.leadership
        return leadership is not None and self._state.log.applied >= leadership.own_from and self.held(now)

    def answered_anew(self) -> None:
        """A member named another epoch, leadership began, or the members changed: what was computed before does not count."""
        self._version = 0

    def backers(self, now: Now) -> list[Credit]:
        """Live credits of confirmed voters, the longest first."""
        found = []
        leadership = self._state.leadership
        if leadership is not None:
            for follower in leadership.followers.values():
                credit = self._state.liveness.credit(follower.member.node)
                if follower.votes and credit.until_us > now.boot_us and self._confirmed(follower, credit):
                    found.append(credit)
        found.sort(key=lambda credit: -credit.until_us)
        return found

    def _confirmed(self, follower: Follower, credit: Credit) -> bool:
        """The epoch that the member last named when answering our ballot is the epoch of its grant."""
        return follower.answered != 0 and follower.answered == credit.epoch

    def _compute(self, now: Now) -> None:
        state = self._state
        self._version = state.liveness.version
        need = state.members.backers
        if need == 0:
            self._bounds = (_FAR, -_FAR, _FAR)
            return
        backers = self.backers(now)[:need]
        if len(backers) < need:
            self._bounds = _VOID
            return
        offsets = [credit.offset_us for credit in backers]
        drift = state.options.drift_us
        # Void if wall and boot clocks moved apart since the asks were sent: one of them cannot be trusted.
        self._bounds = (backers[-1].until_us, max(offsets) - drift, min(offsets) + drift)
