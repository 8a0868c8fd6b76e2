"""Running several coroutines of a coordinator at once, bounded, with every error as a value and nothing left running behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from base.env import Future, Task, Tasks
from base.errors import ScrubjayError

T = TypeVar("T")
A = TypeVar("A")


async def settle(tasks: Tasks, work: Sequence[Coroutine[Any, Any, T]], *, name: str) -> list[T | ScrubjayError]:
    """Run all at once; results in order, a ScrubjayError as the value. Any other exception, and cancellation, cancels the rest and goes on up."""
    running: list[Task[T | ScrubjayError]] = [tasks.spawn(_caught(one), name=name) for one in work]
    try:
        return [await one for one in running]
    finally:
        for one in running:
            if not one.done():
                one.cancel()


async def in_lanes(tasks: Tasks, work: Callable[[A], Coroutine[Any, Any, T]], items: Sequence[A], *, lanes: int, name: str) -> list[T]:
    """work(item) for every item, at most `lanes` at once; results in the order of `items`. The first exception cancels the rest."""
    results: dict[int, T] = {}
    queue = iter(list(enumerate(items)))

    async def lane() -> None:
        for index, item in queue:
            results[index] = await work(item)

    running = [tasks.spawn(lane(), name=name) for _ in range(max(1, min(lanes, len(items))))]
    try:
        for one in running:
            await one
    finally:
        for one in running:
            if not one.done():
                one.cancel()
    return [results[index] for index in range(len(items))]


async def _caught(work: Coroutine[Any, Any, T]) -> T | ScrubjayError:
    try:
        return await work
    except ScrubjayError as error:
        return error


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
