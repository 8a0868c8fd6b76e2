"""Waiting for what may hang, no longer than a person would."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from base.env import Tasks
from base.errors import ScrubjayError, Unavailable

T = TypeVar("T")


async def within(tasks: Tasks, work: Coroutine[Any, Any, T], *, seconds: float, what: str) -> T:
    """The outcome of `work`, which is cancelled after `seconds`. Raises Unavailable(`what`) then."""
    outcome = tasks.future()

    async def run() -> None:
        try:
            result = await work
        except ScrubjayError as error:
            if not outcome.done():
                outcome.set_exception(error)
        else:
            if not outcome.done():
                outcome.set_result(result)

    def give_up() -> None:
        if not outcome.done():
            outcome.set_exception(Unavailable(what, waited_seconds=seconds))

    task = tasks.spawn(run(), name=what)
    timer = tasks.call_later(seconds, give_up)
    try:
        found: T = await outcome
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
    return found
