"""To whom this member is bound: while its node supports the owner of the promised ballot, or within D of a restart, it promises nobody else anything."""

from __future__ import annotations

from scrubjay.base.ids import Member, ballot_owner
from scrubjay.storage.consensus.group_state import GroupState
from scrubjay.storage.consensus.lease import Lease
from scrubjay.storage.consensus.outbox import NONE
from scrubjay.storage.consensus.ready import Now


class Allegiance:
    """Judges it from the promised ballot and the node's grants."""

    __slots__ = ("_lease", "_state")

    def __init__(self, state: GroupState, lease: Lease) -> None:
        self._state = state
        self._lease = lease

    def owner_supported(self, now: Now) -> bool:
        """This node still supports the owner of the promised ballot, and that owner has not resigned it. Of our own ballot: we hold the lease."""
        state = self._state
        if state.promised in {NONE, state.resigned}:
            return False
        owner = ballot_owner(state.promised)
        if owner.node == state.members.me.node:
            return self._lease.held(now)
        return state.liveness.supports(owner.node, now) != 0

    def bound_against(self, candidate: Member, now: Now) -> bool:
        """May not promise `candidate` a ballot now. (A method of its own: the simulator breaks it on purpose.)"""
        if self._state.liveness.quiet(now):
            return True
        return self.owner_supported(now) and ballot_owner(self._state.promised).node != candidate.node

    def epoch_named(self, node: int, now: Now) -> int:
        """The epoch named in an answer to a ballot of `node`'s member: under which this node supports it, 0 if it does not."""
        return self._state.liveness.supports(node, now)
