"""An alarm clock on APScheduler: rings at a moment of the wall clock, on the loop it was made on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from scrubjay.base.times import EPOCH

_JOB = "alarm"


class SchedulerAlarm:
    """One alarm at a time. The moment may have passed: then it rings at once."""

    def __init__(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # what rings says so itself
        self._scheduler: Any = AsyncIOScheduler(timezone="UTC")
        self._scheduler.start()

    def at(self, wall_us: int, ring: Callable[[], None]) -> None:
        self._scheduler.add_job(
            _ringer(ring),
            "date",
            run_date=EPOCH + timedelta(microseconds=wall_us),
            id=_JOB,
            replace_existing=True,
            misfire_grace_time=None,
            max_instances=1,
        )

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _ringer(ring: Callable[[], None]) -> Callable[[], Any]:
    """A coroutine function: APScheduler runs those on the loop, all else in a thread."""

    async def rung() -> None:
        ring()

    return rung
