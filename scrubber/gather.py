"""Running several coroutines of a coordinator at once, bounded, with every error as a value and nothing left running behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from base.env import Task, Tasks
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
