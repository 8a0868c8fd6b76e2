"""base.env.Jobs in the simulator: the job runs inline, as a task of the life that asked for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from scrubjay.base.env import Disk, ObjectStore, Tasks


class SimJobContext:
    """base.env.JobContext. stores: makes the client for a url."""

    def __init__(self, disk: Disk, stores: Callable[[str], ObjectStore], progress: Callable[[dict[str, Any]], None] | None) -> None:
        self.disk = disk
        self._stores = stores
        self._progress = progress

    def store(self, url: str) -> ObjectStore:
        return self._stores(url)

    def place(self, url: str) -> ObjectStore:
        return self._stores(url)

    def progress(self, facts: dict[str, Any]) -> None:
        if self._progress is not None:
            self._progress(facts)


class SimJobs:
    """disk: rooted at the data folder. stores: url -> client."""

    def __init__(self, tasks: Tasks, disk: Disk, stores: Callable[[str], ObjectStore]) -> None:
        self._tasks = tasks
        self._disk = disk
        self._stores = stores

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        module, _, name = job.partition(":")
        work = getattr(importlib.import_module(module), name)
        await self._tasks.sleep(0.001)
        result: dict[str, Any] = await self._tasks.spawn(work(SimJobContext(self._disk, self._stores, progress), arguments), name=job)
        return result

    async def bring(self, path: str) -> None:
        """What jobs make is on the disk of whoever asked."""

    def drop(self, path: str) -> None:
        """See `bring`."""
