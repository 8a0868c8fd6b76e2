"""Both tree engines behind one face for tests: callbacks become results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.worker_process import WorkerProcess
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.btree.lmdb_engine import LmdbEngine

T = TypeVar("T")
P = PartitionId("00000000-0000-4000-8000-00000000000a")


class Bench:
    """An engine with a loop of its own. `run(engine.open, partition)` waits for the callback and returns or raises its result."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loop = asyncio.new_event_loop()
        self.disk = RealDisk(root, self.loop.call_soon_threadsafe)
        self.workers: list[WorkerProcess] = []
        self.engine: TreeEngine = LmdbEngine(str(root), self.disk, self._spawn)

    def _spawn(self, module: str, arguments: Any, *, on_data: Any, on_exit: Any) -> WorkerProcess:
        worker = WorkerProcess(module, arguments, on_data=on_data, on_exit=on_exit, loop=self.loop)
        self.workers.append(worker)
        return worker

    def start(self, call: Callable[..., None], *arguments: Any, **options: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(result: Any) -> None:
            if not future.done():
                future.set_result(result)

        call(*arguments, **options, done=done)
        return future

    def wait(self, future: asyncio.Future[Any]) -> Any:
        result = self.loop.run_until_complete(asyncio.wait_for(future, 20))
        if isinstance(result, ScrubjayError):
            raise result
        return result

    def run(self, call: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        return self.wait(self.start(call, *arguments, **options))

    def close(self) -> None:
        self.engine.close()
        self.disk.close()
        self.loop.close()
