"""A bounded number of places, first come first served: whoever finds none waits for one to be handed over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from scrubjay.base.env import Future
from scrubjay.base.errors import Unavailable


class _Turn:
    """given: the place is its caller's, perhaps before the caller knows."""

    __slots__ = ("future", "given")

    def __init__(self, future: Future[None]) -> None:
        self.future = future
        self.given = False


class Places:
    """free: how many there are. future: makes one of the loop that these run on. waiting_max: callers that may wait; None: as many as come."""

    def __init__(self, free: int, *, future: Callable[[], Future[None]], waiting_max: int | None = None) -> None:
        assert free >= 1
        self._free = free
        self._future = future
        self._waiting_max = waiting_max
        self._waiting: deque[_Turn] = deque()

    async def take(self) -> None:
        """Returns with a place: `give` it back. Raises Unavailable: too many wait already."""
        if self._free:
            self._free -= 1
            return
        if self._waiting_max is not None and len(self._waiting) >= self._waiting_max:
            raise Unavailable("too many wait for a place", limit=self._waiting_max)
        turn = _Turn(self._future())
        self._waiting.append(turn)
        try:
            await turn.future
        except BaseException:
            if turn.given:
                self.give()  # cancelled with the place already ours: hand it on
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def give(self) -> None:
        """To who has waited longest, if anybody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.future.done():  # else cancelled, and its caller has not run since
                turn.given = True
                turn.future.set_result(None)
                return
        self._free += 1
