"""Whether anybody listens at an address."""

from __future__ import annotations

import asyncio


async def answers(host: str, port: int, *, timeout_s: float) -> bool:
    """A connection is taken within that time. False says little: a cut looks the same."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout_s)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
