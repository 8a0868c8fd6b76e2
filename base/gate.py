"""One at a time."""

from __future__ import annotations

from collections import deque

from scrubjay.base.env import Future, Tasks


class Gate:
    """Lets one coroutine through at a time, in the order they came: `async with gate`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._held = False
        self._waiting: deque[Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self._held:
            turn = self._tasks.future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                self._give_up(turn)
                raise
        self._held = True

    @property
    def free(self) -> bool:
        """Nobody is inside, and nobody waits."""
        return not self._held and not self._waiting

    async def __aexit__(self, *_: object) -> None:
        self._held = False
        self._next()

    def _give_up(self, turn: Future[None]) -> None:
        """A cancelled waiter leaves the queue, or hands on the turn it was given."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif not self._held:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
