"""base.env.Tasks on the event heap: futures, and a trampoline for coroutines that await nothing else.

Order is the heap's: a future that is done resumes its waiters by heap events in the order in which they began to wait. A task of a dead life is never resumed.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

from scrubjay.base.env import FallenLoop, Future, Task, Timer
from scrubjay.base.kept_loops import KeptLoops
from scrubjay.sim.clock import SimClock
from scrubjay.sim.events import Events, Life

T = TypeVar("T")


_handed_over: set[int] = set()
"""Which coroutines somebody spawned and have not begun, each by `_which`."""
_forgotten: Callable[[Coroutine[Any, Any, Any]], None] = warnings._warn_unawaited_coroutine  # type: ignore[attr-defined]


def _which(coro: Coroutine[Any, Any, Any]) -> int:
    return id(coro)  # order-free: only asked whether it is there; a reference to the coroutine would keep its world alive


def _warn_of_forgotten(coro: Coroutine[Any, Any, Any]) -> None:
    """A world that is dropped takes coroutines with it that were to begin at its next event: nobody forgot to await those, so nobody is told.

    Asked here, by CPython as it ends a coroutine that never began, because nothing else comes before that for certain: a collection of a circle ends its
    objects in the order in which it met them, and neither a `__del__` of the world nor a weak reference that knows the coroutine needs to be the first.
    """
    if _which(coro) in _handed_over:
        _handed_over.remove(_which(coro))
    else:
        _forgotten(coro)


warnings._warn_unawaited_coroutine = _warn_of_forgotten  # type: ignore[attr-defined]


class Cancelled(BaseException):
    """Raised inside a task that was cancelled, at its await."""


class SimFuture(Generic[T]):
    """base.env.Future."""

    __slots__ = ("_callbacks", "_done", "_error", "_soon", "_value")

    def __init__(self, soon: Callable[[Callable[[], object]], object]) -> None:
        self._soon = soon
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done

    def result(self) -> T:
        assert self._done, "not done"
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def set_result(self, value: T, /) -> None:
        self._finish(value, None)

    def set_exception(self, error: BaseException, /) -> None:
        self._finish(None, error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        assert not self._done, "done already"
        self._done, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._soon(partial(callback, self))

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        if self._done:
            self._soon(lambda: callback(self))
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callbacks = [one for one in self._callbacks if one is not callback]

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            yield self
        return self.result()


class SimTask(Generic[T]):
    """A coroutine on the heap; also a future of its result."""

    def __init__(self, tasks: SimTasks, coro: Coroutine[Any, Any, T], name: str) -> None:
        self.name = name
        self._coro = coro
        self._tasks = tasks
        self._outcome: SimFuture[T] = SimFuture(tasks.call_soon)
        self._waiting: SimFuture[Any] | None = None
        self._cancelling = False
        self._seen = False

    def done(self) -> bool:
        return self._outcome.done()

    def result(self) -> T:
        self._seen = True
        return self._outcome.result()

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        self._seen = True
        self._outcome.add_done_callback(callback)

    def __await__(self) -> Generator[Any, None, T]:
        self._seen = True
        return self._outcome.__await__()

    def cancel(self) -> object:
        if self.done() or self._cancelling:
            return False
        self._cancelling = True
        if self._waiting is not None:
            self._waiting.remove_done_callback(self._wake)
            self._waiting = None
            self._tasks.call_soon(self._step)
        return True

    def _wake(self, future: SimFuture[Any]) -> None:
        if self._waiting is future:
            self._waiting = None
            self._step()

    def _step(self) -> None:
        if self.done():
            return
        try:
            if self._cancelling:
                self._cancelling = False
                awaited = self._coro.throw(Cancelled())
            else:
                awaited = self._coro.send(None)
        except StopIteration as stop:
            self._outcome.set_result(stop.value)
        except Cancelled as error:
            self._seen = True
            self._outcome.set_exception(error)
        except Exception as error:  # noqa: BLE001  the task's outcome, raised where it is awaited
            self._outcome.set_exception(error)
            self._tasks.ended_badly(self, error)
        else:
            assert isinstance(awaited, SimFuture), f"task {self.name} awaits {awaited!r}, which Tasks did not hand out"
            self._waiting = awaited
            awaited.add_done_callback(self._wake)
            if self._cancelling:
                self._cancelling = False
                self.cancel()

    @property
    def unseen(self) -> bool:
        """Nobody has asked for the outcome yet."""
        return not self._seen


class SimTasks:
    """base.env.Tasks for one life. failures: exceptions of tasks nobody awaited within a second (the profile decides whether they fail the run)."""

    Cancelled = Cancelled
    UNSEEN_GRACE_S = 1.0

    def __init__(self, world: Events, life: Life, clock: SimClock, *, name: str) -> None:
        self._world = world
        self._life = life
        self._clock = clock
        self.name = name
        self.failures: list[tuple[str, BaseException]] = []
        self._kept = KeptLoops(self, clock, self._fell)

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._world.after(0, lambda: self._life.run(callback))

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        local_us = max(0, int(seconds * 1e6))
        return self._world.after(self._clock.true_us(local_us), lambda: self._life.run(callback))

    def future(self) -> Future[Any]:
        return SimFuture(self.call_soon)

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        task = SimTask(self, coro, name)
        if self._life.alive:
            _handed_over.add(_which(coro))
            self.call_soon(partial(self._start, task))
        else:
            coro.close()  # what a dead life leaves behind may still want to clean up: nothing of it runs
        return task

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> Task[None]:
        return self._kept.keep(loop, name)

    def fallen(self) -> Sequence[FallenLoop]:
        return self._kept.fallen()

    def _fell(self, name: str, error: BaseException) -> None:
        """It goes on, as in a server; and it is a failure of the run all the same."""
        self._world.note(f"{self.name} loop {name} fell: {error!r}")
        self.failures.append((name, error))

    def _start(self, task: SimTask[Any]) -> None:
        _handed_over.discard(_which(task._coro))
        task._step()

    def sleep(self, seconds: float) -> Awaitable[None]:
        future: SimFuture[None] = SimFuture(self.call_soon)
        self.call_later(seconds, lambda: None if future.done() else future.set_result(None))
        return future

    def blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        """Inline."""
        future: SimFuture[T] = SimFuture(self.call_soon)
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001  raised where it is awaited
            future.set_exception(error)
        return future

    def ended_badly(self, task: SimTask[Any], error: BaseException) -> None:
        def check() -> None:
            if task.unseen:
                self._world.note(f"{self.name} task {task.name} failed unseen: {error!r}")
                self.failures.append((task.name, error))

        self.call_later(self.UNSEEN_GRACE_S, check)
