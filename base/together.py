"""Several things at once, for coordinators: run all, run a list a few at a time, wait no longer than this, wait for a callback. Nothing is left running
behind, no error is lost, and none waits for a time-out that it did not cause."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, TypeVar

from scrubjay.base.env import Future, Task, Tasks
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.gate import Gate

T = TypeVar("T")
A = TypeVar("A")


async def gather(tasks: Tasks, work: Sequence[Coroutine[Any, Any, T]], *, name: str) -> list[T | ScrubjayError]:
    """Run all at once; results in order, a ScrubjayError as the value. Any other exception, and cancellation, cancels the rest and goes on up."""
    running: list[Task[T | ScrubjayError]] = [tasks.spawn(_caught(one), name=name) for one in work]
    try:
        return [await one for one in running]
    finally:
        _end(running)
        for one in work:
            if getcoroutinestate(one) == CORO_CREATED:
                one.close()  # it was cancelled before its first step: nobody forgot to await it


async def in_parallel(
    tasks: Tasks | None, work: Callable[[A], Coroutine[Any, Any, T]], items: Sequence[A], *, lanes: int, name: str
) -> list[T]:
    """work(item) for every item, at most `lanes` at once; results in the order of `items`. The first exception cancels the rest and goes on up.

    Without tasks (in a job, which has a process to itself): one after the other.
    """
    if tasks is None:
        return [await work(item) for item in items]
    results: dict[int, T] = {}
    queue = iter(list(enumerate(items)))
    over = tasks.future()

    async def lane() -> None:
        try:
            for index, item in queue:
                results[index] = await work(item)
        except Exception as error:  # noqa: BLE001  raised below, once: a sibling's is no exception that nobody awaited
            if not over.done():
                over.set_exception(error)
        else:
            if len(results) == len(items) and not over.done():
                over.set_result(None)

    running = [tasks.spawn(lane(), name=name) for _ in range(max(1, min(lanes, len(items))))]
    try:
        await over
    finally:
        _end(running)
    return [results[index] for index in range(len(items))]


async def in_lanes(
    tasks: Tasks | None, work: Callable[[A], Coroutine[Any, Any, None]], items: AsyncIterator[A], *, lanes: int, name: str
) -> None:
    """work(item) for every item as they come, at most `lanes` at once: the next is asked for only when a lane is free. The first exception cancels the rest and goes on
    up. Without tasks, or in one lane: one after the other."""
    if tasks is None or lanes <= 1:
        async for item in items:
            await work(item)
        return
    gate = Gate(tasks)

    async def drained() -> None:
        while True:
            async with gate:
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            await work(item)

    await in_parallel(tasks, lambda _: drained(), range(lanes), lanes=lanes, name=name)


async def within(tasks: Tasks, work: Coroutine[Any, Any, T], *, seconds: float, what: str) -> T:
    """The outcome of `work`, which is cancelled after `seconds`. Raises Unavailable(`what`) then."""
    outcome = tasks.future()

    async def run() -> None:
        try:
            result = await work
        except Exception as error:  # noqa: BLE001  raised where the outcome is awaited
            settle(outcome, error)
        else:
            settle(outcome, result)

    task = tasks.spawn(run(), name=what)
    timer = tasks.call_later(seconds, lambda: settle(outcome, Unavailable(what, waited_seconds=seconds)))
    try:
        found: T = await outcome
    finally:
        timer.cancel()
        _end([task])
    return found


def settle(future: Future[Any], outcome: object) -> None:
    """Hand the outcome of a callback to whoever awaits `future`: an exception is raised there. The first outcome counts.

    A later one is dropped, because whoever waited has given up; what holds something (a pin: it has `release`) lets go of it then.
    """
    if future.done():
        release = getattr(outcome, "release", None)
        if release is not None:
            release()
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def _caught(work: Coroutine[Any, Any, T]) -> T | ScrubjayError:
    try:
        return await work
    except ScrubjayError as error:
        return error


def _end(running: Sequence[Task[Any]]) -> None:
    for one in running:
        if not one.done():
            one.cancel()
