"""`base.env.Tasks` on asyncio (uvloop): one loop, one thread, plus a bounded set of threads for calls that let the GIL go.

Guarantees: a spawned coroutine is never collected while it runs; an exception that nobody asked for is logged under the task's name within
`UNSEEN_GRACE_S`, also while somebody still holds the task; callbacks that raise are logged and do not stop the loop.
Not covered: fairness. What loops long in Python belongs into `base.env.Jobs`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import uvloop

from scrubjay.base.env import FallenLoop, Future, Task, Timer
from scrubjay.base.kept_loops import KeptLoops
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.open_files import thread_limit

T = TypeVar("T")

BLOCKING_THREADS_MAX = 8
UNSEEN_GRACE_S = 1.0
"""How long an exception may wait for somebody to await its task before it is logged."""
CANCEL_AGAIN_S = 5.0
"""A task that runs on though it was cancelled is cancelled again: a time limit that ends at the same moment can take the place of the one cancellation there was."""

_log = logger("loop")


class RealTask(Generic[T]):
    """A running coroutine; knows whether anybody ever asked for its outcome."""

    __slots__ = ("_seen", "_task", "name")

    def __init__(self, task: asyncio.Task[T], name: str) -> None:
        self._task = task
        self._seen = False
        self.name = name

    def done(self) -> bool:
        return self._task.done()

    def cancel(self) -> object:
        """Raises `AsyncTasks.Cancelled` at the coroutine's next await."""
        return self._task.cancel()

    def result(self) -> T:
        self._seen = True
        return self._task.result()

    def __await__(self) -> Generator[Any, None, T]:
        self._seen = True
        return self._task.__await__()

    def log_if_unseen(self) -> None:
        """Log the exception that ended the task unless somebody has awaited it by now."""
        error = self._task.exception()
        if error is not None and not self._seen:
            self._seen = True
            _log.error("task failed", task=self.name, error=repr(error), exc_info=error)


class AsyncTasks:
    """`Tasks` on a running asyncio loop. Make it inside the loop's thread (see `run`); `close()` ends what still runs."""

    Cancelled = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.get_running_loop()
        # Strong references: the loop itself keeps only weak ones, and a collected task vanishes half-way.
        self._running: dict[asyncio.Task[Any], RealTask[Any]] = {}
        self._kept = KeptLoops(self, RealClock(), _fell)
        self._threads = ThreadPoolExecutor(max_workers=BLOCKING_THREADS_MAX, thread_name_prefix="blocking")

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run after the present turn."""
        self.loop.call_soon(callback)

    def post(self, callback: Callable[[], None]) -> None:
        """`call_soon` from another thread."""
        self.loop.call_soon_threadsafe(callback)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return self.loop.call_later(seconds, callback)

    def future(self) -> Future[Any]:
        return self.loop.create_future()

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> RealTask[T]:
        """Run a coroutine. An exception nobody awaits is logged under `name`, never lost."""
        inner = self.loop.create_task(coro, name=name)
        task = RealTask(inner, name)
        self._running[inner] = task
        inner.add_done_callback(self._ended)
        return task

    def _ended(self, inner: asyncio.Task[Any]) -> None:
        task = self._running.pop(inner)
        # exception() also marks it retrieved, so asyncio does not report it a second time when it is collected.
        if not inner.cancelled() and inner.exception() is not None:
            if self.loop.is_closed():
                task.log_if_unseen()
            else:
                self.loop.call_later(UNSEEN_GRACE_S, task.log_if_unseen)

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> Task[None]:
        return self._kept.keep(loop, name)

    def fallen(self) -> Sequence[FallenLoop]:
        return self._kept.fallen()

    def sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)

    def blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run `work` in one of `BLOCKING_THREADS_MAX` threads."""
        with thread_limit():
            return self.loop.run_in_executor(self._threads, work)

    def on_signal(self, number: signal.Signals, callback: Callable[[], object]) -> None:
        """Run `callback` on the loop when the process gets the signal."""
        self.loop.add_signal_handler(number, callback)

    async def close(self) -> None:
        """Cancel what still runs, wait for it, and end the threads. Exceptions that nobody awaited are logged."""
        waiting = list(self._running.items())
        left = {inner for inner, _task in waiting}
        while left:
            for inner in left:
                inner.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        for inner, task in waiting:
            if not inner.cancelled():
                task.log_if_unseen()
        self._threads.shutdown(wait=True)


def _fell(name: str, error: BaseException) -> None:
    _log.error("a loop fell over a bug and is taken up again", loop=name, error=repr(error), exc_info=error)


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _log.error("callback failed", what=context.get("message"), error=repr(error), exc_info=error)


def run(main: Callable[[AsyncTasks], Coroutine[Any, Any, T]]) -> T:
    """Run `main(tasks)` on a fresh uvloop until it returns; everything it spawned and left is cancelled then.

    Not for use inside a running loop. KeyboardInterrupt cancels `main` first, then comes out here.
    """

    async def whole() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_loop_error)
        tasks = AsyncTasks(loop)
        try:
            return await main(tasks)
        finally:
            await tasks.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())
