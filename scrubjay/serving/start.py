"""How far a start is: a log line for each step that takes long, and one at the end that says where the time went."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from scrubjay.base.env import Clock, Future, Tasks
from scrubjay.base.ids import NodeName

T = TypeVar("T")

SAY_EVERY_US = 2_000_000
"""A start that is busy says at least this often how far it is."""


class ServerStart:
    """alone_since_us: boot time at which this process got the data folder. log(event, **facts): a line for people, at info."""

    def __init__(self, clock: Clock, log: Callable[..., object], *, alone_since_us: int) -> None:
        self.alone_since_us = alone_since_us
        self._clock = clock
        self._log = log
        self._parts: dict[str, float] = {}
        self._last_us = self._said_us = alone_since_us

    def done(self, part: str) -> None:
        """A part of the start is over; it began when the one before ended."""
        now = self._clock.boot_us()
        self._parts[f"{part}_ms"] = round((now - self._last_us) / 1e3, 1)
        self._last_us = now

    def replayed(self, node: NodeName, done: int, size: int) -> None:
        """The log of a node is read so far, in bytes."""
        self._say("reading the log", node=node, read_mb=round(done / 1e6), of_mb=round(size / 1e6))

    def waits(self, why: str) -> None:
        """Something is waited for, for as long as it takes."""
        self._say("starting", waits_for=why)

    def _say(self, event: str, **facts: Any) -> None:
        now = self._clock.boot_us()
        if now - self._said_us >= SAY_EVERY_US:
            self._said_us = now
            self._log(event, seconds=round((now - self.alone_since_us) / 1e6, 1), **facts)

    def ready(self) -> None:
        """The last line of a start: milliseconds of each part, and in all."""
        self._log("started", **self._parts, all_ms=round((self._clock.boot_us() - self.alone_since_us) / 1e3, 1))


async def unless_stopped(tasks: Tasks, stop: Future[Any], work: Coroutine[Any, Any, T]) -> T | None:
    """The outcome of `work`, or None if `stop` came first: then `work` is cancelled. A start that waits must still be stopped by a signal."""
    either = tasks.future()

    def over(_: Any) -> None:
        if not either.done():
            either.set_result(None)

    async def whole() -> T:
        try:
            return await work
        finally:
            over(None)

    stop.add_done_callback(over)
    task = tasks.spawn(whole(), name="start")
    await either
    if stop.done():
        task.cancel()
        return None
    return await task
