"""Loops that run for as long as the process does. A bug in one of them must not be its quiet end: that would be seen days later, by what it has not done since.
It is told, it is a problem that `status` shows, and the loop is taken up again, later each time.

Errors that a loop foresees (`ScrubjayError`) are its own to deal with; what comes out of it here is a bug, whatever its class.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from scrubjay.base.env import Clock, FallenLoop, Task, Tasks

AGAIN_S = 1.0
AGAIN_MAX_S = 60.0
"""Between a fall and the next try: doubled from the first to the second for as long as none of them goes well."""
WELL_US = 60_000_000
"""A loop that has run for so long since it fell goes well again."""


class KeptLoops:
    """told(name, error): of every fall; that of one kind over and over too, no more than once in AGAIN_MAX_S in the long run."""

    def __init__(self, tasks: Tasks, clock: Clock, told: Callable[[str, BaseException], object]) -> None:
        self._tasks, self._clock, self._told = tasks, clock, told
        self._fallen: dict[str, tuple[FallenLoop, int]] = {}
        """By name, with the boot time of the last fall."""

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> Task[None]:
        return self._tasks.spawn(self._run(loop, name), name=name)

    def fallen(self) -> list[FallenLoop]:
        """Those that fell and do not go well yet."""
        return [one for one, _ in self._lately(self._clock.boot_us()).values()]

    def _lately(self, now_us: int) -> dict[str, tuple[FallenLoop, int]]:
        self._fallen = {name: one for name, one in self._fallen.items() if now_us - one[1] < WELL_US + int(AGAIN_MAX_S * 1e6)}
        return self._fallen

    async def _run(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        pause_s = AGAIN_S
        while True:
            began_us = self._clock.boot_us()
            try:
                await loop()
            except Exception as error:  # noqa: BLE001  whatever it is, it must be seen and must not be the end
                now_us = self._clock.boot_us()
                if now_us - began_us >= WELL_US:
                    pause_s = AGAIN_S
                before = self._lately(now_us).get(name)
                since_us, times = (before[0].since_us, before[0].times) if before is not None else (self._clock.wall_us(), 0)
                self._fallen[name] = (FallenLoop(name, repr(error), since_us, times + 1), now_us)
                self._told(name, error)
            else:
                return
            await self._tasks.sleep(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MAX_S)


class KeptLoop:
    """One loop, kept from `start` to `stop`. Started twice it runs once; it may be started again."""

    def __init__(self, tasks: Tasks, loop: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        self._tasks, self._loop, self._name = tasks, loop, name
        self._task: Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = self._tasks.keep(self._loop, name=self._name)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
