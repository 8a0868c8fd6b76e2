"""A worker process: runs one job after another for `base.real.jobs`, and never outlives the process that started it.

Started as `python -m base.real.job_worker FOLDER`. Frames (`base.real.job_wire`) come on standard input and leave on the descriptor that was
standard output; anything a job prints goes to standard error instead. Two ropes tie it to its parent: PR_SET_PDEATHSIG (the kernel kills it
at once, also from a tight loop) and end of file on standard input.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import uvloop

from scrubjay.base.env import Disk, Env, ObjectStore, Tasks
from scrubjay.base.errors import Internal, Invalid
from scrubjay.base.real import job_wire, log
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.rand import RealRand
from scrubjay.base.wrap.retry import RetryingStore

PROGRESS_INTERVAL_S = 0.05
_PR_SET_PDEATHSIG = 1


class WorkerContext:
    """`base.env.JobContext` of one job."""

    def __init__(self, folder: str, send: Callable[[job_wire.Answer], None], tasks: Tasks) -> None:
        self.disk: Disk = RealDisk(Path(folder))
        self._send = send
        self._env = Env(RealClock(), RealRand(), tasks)
        self._stores: dict[str, ObjectStore] = {}
        self._last_progress = 0.0

    def store(self, url: str) -> ObjectStore:
        """The store at `url`, opened once per job; retries what is unavailable for a while."""
        from scrubjay.base.real.stores import handed_on, open_store  # heavy, and most jobs need no store

        if url not in self._stores:
            self._stores[url] = RetryingStore(open_store(url, settings=handed_on(), create=False), self._env)
        return self._stores[url]

    def progress(self, facts: dict[str, Any]) -> None:
        """Tell the parent; more often than every `PROGRESS_INTERVAL_S` is dropped here, before it costs anybody anything."""
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_INTERVAL_S:
            self._last_progress = now
            self._send(job_wire.Progress(facts))


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


def tie_to_parent() -> None:
    """Have the kernel kill this process when its parent dies. Leaves at once if the parent is gone already."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise Internal("prctl(PR_SET_PDEATHSIG) failed", errno=ctypes.get_errno())
    if os.getppid() != parent:
        os._exit(1)


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """`size` bytes, or fewer at end of file."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read_requests(stream: IO[bytes], inbox: queue.SimpleQueue[job_wire.Request]) -> None:
    """Thread: feed the inbox. End of file means that the parent is gone or has dropped us: leave without ceremony, mid-job too."""
    while True:
        head = _read_exactly(stream, job_wire.LENGTH.size)
        if len(head) < job_wire.LENGTH.size:
            os._exit(0)
        (length,) = job_wire.LENGTH.unpack(head)
        body = _read_exactly(stream, length)
        if len(body) < length:
            os._exit(0)
        inbox.put(job_wire.decode_request(body))


def run_one(request: job_wire.Request, folder: str, send: Callable[[job_wire.Answer], None]) -> job_wire.Answer:
    """Run a job to its outcome. Never raises: what goes wrong is the outcome."""
    try:
        function = find(request.job)

        async def whole() -> dict[str, Any]:
            tasks = AsyncTasks()
            try:
                return await function(WorkerContext(folder, send, tasks), request.arguments)
            finally:
                await tasks.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return job_wire.Result(runner.run(whole()))
    except Exception as error:  # noqa: BLE001  the boundary: every error of a job becomes its answer
        return job_wire.failure_of(error, traceback.format_exc())


def main() -> None:
    """Serve until standard input ends."""
    tie_to_parent()
    # The parent decides about our end: a Ctrl-C in the terminal reaches the whole group, but state must be left by the parent's order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    log.setup()
    lock = threading.Lock()

    def send(answer: job_wire.Answer) -> None:
        try:
            frame = job_wire.encode(answer)
        except Exception as error:  # noqa: BLE001  an answer that cannot travel must still be answered
            frame = job_wire.encode(job_wire.failure_of(error, traceback.format_exc()))
        with lock:
            out.write(frame)
            out.flush()

    inbox: queue.SimpleQueue[job_wire.Request] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(sys.stdin.buffer, inbox), daemon=True, name="requests").start()
    while True:
        request = inbox.get()
        try:
            send(run_one(request, sys.argv[1], send))
        except BrokenPipeError:
            os._exit(0)
        del request
        gc.collect()  # a job's frames can be large, and the next one may be hours away


if __name__ == "__main__":
    main()
