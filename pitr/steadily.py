"""Asking again while the store says "later": leaders move, nodes restart, a worker dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from scrubjay.base.env import Tasks
from scrubjay.base.errors import Unavailable
from scrubjay.pitr.options import TRY_AGAIN_S

T = TypeVar("T")


async def steadily(tasks: Tasks, call: Callable[[], Awaitable[T]], *, tries: int) -> T:
    """The outcome of a call that may be made so often. Raises the last Unavailable."""
    for _ in range(tries - 1):
        try:
            return await call()
        except Unavailable:
            await tasks.sleep(TRY_AGAIN_S)
    return await call()
