"""Closed timestamps: what a leader may say of the stamps that are still to come. Rules that the simulator breaks on purpose are methods of their own."""

from __future__ import annotations

from scrubjay.base.ids import Stamp
from scrubjay.storage.consensus.group_state import GroupState, Leadership
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.ready import Now


class ClosedTime:
    """Judges it from the lease, the grants' clocks and what is not chosen yet."""

    __slots__ = ("_lease", "_state")

    def __init__(self, state: GroupState, lease: Lease) -> None:
        self._state = state
        self._lease = lease

    def closed(self, now: Now, *, in_seal: bool = False) -> Stamp | None:
        """The highest C for which "closed at C" may be said now: no record that is ever chosen beyond the ones meant carries a stamp <= C. None: nothing may be said.

        The ones meant are those chosen so far; in_seal: those proposed so far, for a SEAL that is proposed in the same turn (it is chosen only if they are).
        """
        leadership = self._state.leadership
        if leadership is None or not self._closes_under_lease(now) or not self._own_log_accepted(leadership):
            return None
        clock = self._closable_clock(now)
        if not in_seal and self._state.log.chosen < self._state.log.last:
            clock = Stamp(min(clock, self._first_unchosen_stamp(leadership) - 1))
        return clock if clock > 0 else None

    def _closes_under_lease(self, now: Now) -> bool:
        return self._lease.held(now)

    def _own_log_accepted(self, leadership: Leadership) -> bool:
        """A quorum has our log as its own, under our ballot."""
        return self._state.members.enough([follower.member for follower in leadership.followers.values() if follower.adopted])

    def _closable_clock(self, now: Now) -> Stamp:
        """Any later leader needs a promise from somebody whose clock is at least this: the lowest clock acknowledged by the best quorum that backs us."""
        clock = self._state.clock
        own = clock.read(now.wall_us)
        need = self._state.members.backers
        if need == 0:
            clock.merge(own, now.wall_us)
            return own
        clocks = sorted([credit.clock for credit in self._lease.backers(now)], reverse=True)
        return min(own, clocks[need - 1]) if len(clocks) >= need else Stamp(0)

    def _first_unchosen_stamp(self, leadership: Leadership) -> int:
        log = self._state.log
        if log.chosen < leadership.adopted_last:
            return log.read(log.chosen + 1, log.chosen + 2, max_bytes=1)[0].stamp
        for last, _, stamp in leadership.window:
            if last > log.chosen:
                return stamp  # first record of a batch whose end is not chosen: never too high
        raise AssertionError
