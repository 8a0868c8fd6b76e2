"""A node before a planned stop: what it leads goes to who can take it soonest."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Timer
from scrubjay.storage.node.home import Home

HAND_OVER_S = 1.0


class Departure:
    """leaving: set once it began, the numbers of the nodes that stop too."""

    def __init__(self, node: Home) -> None:
        self._node = node
        self.leaving: frozenset[int] | None = None
        self._done: list[Callable[[], None]] = []
        self._timer: Timer | None = None

    def hand_over(self, done: Callable[[], None], *, leaving: frozenset[int] = frozenset()) -> None:
        """Every partition led here goes to the follower that can take it soonest, and nothing is led here any more. done, once: that is so, durably; at the
        latest after HAND_OVER_S, when what nobody took is given up for anybody to take. leaving: numbers of nodes that stop too."""
        node = self._node
        self.leaving = leaving
        if not node.running or not node.started:
            done()
            return
        self._done.append(done)
        for _, replica in sorted(node.members.items()):
            replica.leave(leaving)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = node.env.tasks.call_later(HAND_OVER_S, node.guarded(self._give_up_leading))
        node.turn.schedule()

    def _give_up_leading(self) -> None:
        node = self._node
        self._timer = None
        for _, replica in sorted(node.members.items()):
            if replica.group is not None and not replica.stopped:
                replica.group.set_lead(False, node.now())
                node.dirty(replica)
        node.turn.schedule()

    def turned(self) -> None:
        """At the end of each turn: it may be over."""
        if not self._done or any(replica.group is not None and replica.group.leading for replica in self._node.members.values()):
            return
        waiting, self._done = self._done, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for done in waiting:
            self._node.turn.after_sync(done)

    def failed(self) -> None:
        """The node failed: nobody need wait for it."""
        waiting, self._done = self._done, []
        for done in waiting:
            done()
