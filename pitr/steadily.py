"""Asking again while the store says "later": leaders move, nodes restart, a worker dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.pitr.options import PATIENCE_S, TRY_AGAIN_S

T = TypeVar("T")


async def steadily(env: Env, call: Callable[[], Awaitable[T]], *, tries: int) -> T:
    """The outcome of a call that may be made so often, but none is begun PATIENCE_S after the first was in vain: one that itself waits for a leader would be made for minutes while there is no quorum. Raises the last Unavailable."""
    end_us: int | None = None
    for _ in range(tries - 1):
        try:
            return await call()
        except Unavailable:
            now_us = env.clock.boot_us()
            end_us = now_us + int(PATIENCE_S * 1e6) if end_us is None else end_us
            if now_us >= end_us:
                raise
            await env.tasks.sleep(TRY_AGAIN_S)
    return await call()
