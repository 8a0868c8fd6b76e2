"""A tiny world for coordinators: virtual time, one event heap, nothing real. Runs until the main coroutine ends; what waits for ever is an error."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from base.env import Env

T = TypeVar("T")


class Cancelled(BaseException):
    pass


class FakeFuture:
    def __init__(self, tasks: FakeTasks) -> None:
        self._tasks = tasks
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done

    def result(self) -> Any:
        assert self._done
        if self._error is not None:
            raise self._error
        return self._value

    def set_result(self, value: Any, /) -> None:
        self._finish(value, None)

    def set_exception(self, error: BaseException, /) -> None:
        self._finish(None, error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        assert not self._done
        self._done, self._value, self._error = True, value, error
        for callback in self._callbacks:
            self._tasks.call_soon(lambda callback=callback: callback(self))

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        if self._done:
            self._tasks.call_soon(lambda: callback(self))
        else:
            self._callbacks.append(callback)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            yield self
        return self.result()


class FakeTask(FakeFuture):
    def __init__(self, tasks: FakeTasks, coro: Coroutine[Any, Any, Any], name: str) -> None:
        super().__init__(tasks)
        self.name = name
        self._coro = coro
        self._cancel = False
        tasks.call_soon(lambda: self._step(None))

    def close(self) -> None:
        if not self._done:
            self._done = True
            self._coro.close()

    def cancel(self) -> object:
        if not self._done and not self._cancel:
            self._cancel = True
            self._tasks.call_soon(lambda: self._step(None))
        return None

    def _step(self, woken_by: object) -> None:
        if self._done:
            return
        try:
            waits = self._coro.throw(Cancelled()) if self._cancel else self._coro.send(None)
        except StopIteration as stop:
            self._finish(stop.value, None)
        except (Exception, Cancelled) as error:
            self._finish(None, error)
        else:
            if not self._cancel:
                waits.add_done_callback(self._step)


class FakeTasks:
    """Also the clock: `now_us` is boot and wall time."""

    def __init__(self, start_us: int = 1_700_000_000_000_000) -> None:
        self.now_us = start_us
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._tasks: list[FakeTask] = []

    def kill(self) -> None:
        """The process is gone: nothing of it runs on, and its coroutines are let go quietly."""
        self._heap.clear()
        for task in self._tasks:
            task.close()
        self._heap.clear()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._push(self.now_us, callback)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        live = [True]

        class Handle:
            def cancel(self) -> None:
                live[0] = False

        self._push(self.now_us + round(seconds * 1e6), lambda: callback() if live[0] else None)
        return Handle()

    def _push(self, at: int, callback: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, callback))

    def future(self) -> Any:
        return FakeFuture(self)

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> Any:
        task = FakeTask(self, coro, name)
        self._tasks.append(task)
        return task

    def sleep(self, seconds: float) -> Any:
        future = FakeFuture(self)
        self.call_later(seconds, lambda: future.set_result(None))
        return future

    async def blocking(self, work: Callable[[], T]) -> T:
        await self.sleep(0)
        return work()

    def step(self) -> bool:
        if not self._heap:
            return False
        at, _, callback = heapq.heappop(self._heap)
        self.now_us = max(self.now_us, at)
        callback()
        return True

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        task: Any = self.spawn(coro, name="main")
        while not task.done():
            assert self.step(), "nothing is left to happen, and the coroutine waits"
        result: T = task.result()
        return result

    def drain(self) -> None:
        while self.step():
            pass


class FakeClock:
    def __init__(self, tasks: FakeTasks) -> None:
        self._tasks = tasks

    def wall_us(self) -> int:
        return self._tasks.now_us

    def boot_us(self) -> int:
        return self._tasks.now_us


class FakeRand:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def u64(self) -> int:
        return self._rng.getrandbits(64)

    def uuid(self) -> str:
        import uuid

        return str(uuid.UUID(int=self._rng.getrandbits(128)))

    def uniform(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high)


def fake_env(seed: int = 1) -> tuple[Env, FakeTasks]:
    tasks = FakeTasks()
    return Env(FakeClock(tasks), FakeRand(seed), tasks), tasks  # type: ignore[arg-type]
