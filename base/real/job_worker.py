"""A worker process: runs one job after another for `base.real.jobs`, and never outlives the process that started it.

Started as `base.real.job_worker FOLDER PARENT [gives-way]`, isolated (base.real.child). Messages: `base.real.job_wire`. A process like all our workers (`base/worker.py`).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from scrubjay.base.env import Disk, Env, ObjectStore, Tasks
from scrubjay.base.errors import Invalid
from scrubjay.base.giving_way import Rests, give_way
from scrubjay.base.paired_jobs import MET, TURN
from scrubjay.base.real import job_wire, log_lines
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.base.worker import answer, become_worker, commands
from scrubjay.base.wrap.paired import PairedStore
from scrubjay.base.wrap.retry import RetryingStore

PROGRESS_INTERVAL_S = 0.05
GIVES_WAY = "gives-way"


class WorkerContext:
    """`base.env.JobContext` of one job."""

    def __init__(self, folder: str, send: Callable[[job_wire.Answer], None], tasks: Tasks, *, turn: int | None = None) -> None:
        """turn: which of two archives decides, None: nobody said."""
        self._turn = turn
        self.disk: Disk = RealDisk(Path(folder))
        self._send = send
        self._env = Env(RealClock(), RealRand(), tasks)
        self._stores: dict[str, ObjectStore] = {}
        self._places: dict[str, ObjectStore] = {}
        self._pairs: list[PairedStore] = []
        self._last_progress = 0.0

    def store(self, url: str) -> ObjectStore:
        """The store at `url`, opened once per job; retries what is unavailable for a while."""
        from scrubjay.base.real.stores import handed_on, open_store, pair_of  # heavy, and most jobs need no store

        if url not in self._stores:
            opened = open_store(url, settings=handed_on(), create=False)
            if (pair := pair_of(opened)) is not None:
                pair.turn = self._turn
                self._pairs.append(pair)
            self._stores[url] = RetryingStore(opened, self._env)
        return self._stores[url]

    def met(self) -> dict[str, Any]:
        """What the job's answer says beside its own, to whoever keeps the two archives."""
        return {MET: self._pairs[0].met()} if self._pairs and self._turn is not None else {}

    def place(self, url: str) -> ObjectStore:
        """As `store`, and never sealed."""
        from scrubjay.base.real.stores import KEYS, bare_store, handed_on

        if url not in self._places:
            settings = {name: value for name, value in handed_on().items() if name != KEYS}
            self._places[url] = RetryingStore(bare_store(url, settings=settings, create=False), self._env)
        return self._places[url]

    def progress(self, facts: dict[str, Any]) -> None:
        """Tell the parent; more often than every `PROGRESS_INTERVAL_S` is dropped here, before it costs anybody anything."""
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_INTERVAL_S:
            self._last_progress = now
            self._send(job_wire.JobProgress(facts))


def find(job: str) -> Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]:
    """The function named "package.module:function". Raises Invalid if there is none."""
    module, _, name = job.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Invalid("no such job", job=job, found=str(error)) from error
    if not callable(function):
        raise Invalid("no such job", job=job, found=type(function).__name__)
    found: Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]] = function
    return found


def _read_requests(inbox: queue.SimpleQueue[job_wire.JobRequest], rests: Rests | None) -> None:
    """Thread: feed the inbox. End of file means that the parent is gone or has dropped us: leave without ceremony, mid-job too."""
    parts: dict[str, list[bytes]] = {}
    try:
        for body in commands():
            request = job_wire.decode_request(body)
            if isinstance(request, job_wire.JobShare):
                if rests is not None:
                    rests.told(request.share)
            elif isinstance(request, job_wire.JobPart):
                parts.setdefault(request.name, []).append(request.data)
            else:
                request.arguments |= {name: b"".join(pieces) for name, pieces in parts.items()}
                parts = {}
                inbox.put(request)
    finally:
        os._exit(0)


def run_one(request: job_wire.JobRequest, folder: str, send: Callable[[job_wire.Answer], None]) -> job_wire.Answer:
    """Run a job to its outcome. Never raises: what goes wrong is the outcome."""
    try:
        function = find(request.job)

        async def whole() -> dict[str, Any]:
            tasks = AsyncTasks()
            try:
                arguments = dict(request.arguments)
                context = WorkerContext(folder, send, tasks, turn=arguments.pop(TURN, None))
                return {**await function(context, arguments), **context.met()}
            finally:
                await tasks.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return job_wire.JobResult(runner.run(whole()))
    except Exception as error:  # noqa: BLE001  the boundary: every error of a job becomes its answer
        return job_wire.failure_of(error, traceback.format_exc())


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    folder, parent, *way = arguments
    answers = become_worker(int(parent))
    rests = give_way() if way == [GIVES_WAY] else None
    log_lines.setup()
    lock = threading.Lock()

    def send(outcome: job_wire.Answer) -> None:
        try:
            frame = job_wire.encode(outcome)
        except Exception as error:  # noqa: BLE001  an answer that cannot travel must still be answered
            frame = job_wire.encode(job_wire.failure_of(error, traceback.format_exc()))
        with lock:
            answer(answers, frame)

    inbox: queue.SimpleQueue[job_wire.JobRequest] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(inbox, rests), daemon=True, name="requests").start()
    while True:
        request = inbox.get()
        if rests is not None:
            rests.bind(bound=request.rests)
        try:
            send(run_one(request, folder, send))
        except BrokenPipeError:
            os._exit(0)
        if rests is not None:
            rests.bind(bound=False)
        del request
        gc.collect()  # a job's frames can be large, and the next one may be hours away


if __name__ == "__main__":
    main(sys.argv[1:])
