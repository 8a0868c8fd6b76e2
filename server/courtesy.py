"""Nights give way (ADR 0057): while requests are served, what nobody waits for is told to keep to a share of a core; while none are, it may have all of it."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Env, Task

LOOK_S = 0.25
"""Between two looks: the first requests after a rest meet a night at full pace for so long."""
HOLD_S = 10.0
"""Nobody was served for so long: a night need not be careful any more."""


class Courtesy:
    """answered: how many requests were answered so far. tell: hears the share of a core, at the start and at each change. share: while somebody is served."""

    def __init__(self, env: Env, answered: Callable[[], int], tell: Callable[[float], None], *, share: float) -> None:
        self._env, self._answered, self._tell, self._share = env, answered, tell, share
        self._seen = answered()
        self._served_us: int | None = None
        """When somebody was last seen to be served; None: nobody was, or so long ago that it does not count."""
        self._task: Task[None] | None = None

    def start(self) -> None:
        self._tell(self.share)
        self._task = self._env.tasks.keep(self._follow, name="courtesy")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def share(self) -> float:
        """What is allowed now."""
        return 1.0 if self._served_us is None else self._share

    async def _follow(self) -> None:
        while True:
            await self._env.tasks.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        before, now_us, answered = self.share, self._env.clock.boot_us(), self._answered()
        if answered != self._seen:
            self._seen, self._served_us = answered, now_us
        elif self._served_us is not None and now_us - self._served_us > HOLD_S * 1e6:
            self._served_us = None
        if self.share != before:
            self._tell(self.share)
