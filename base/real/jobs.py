"""`base.env.Jobs` on worker processes: whatever loops in Python over many items runs there, so the node's loop stays quick (DESIGN section 5).

A pool of at most `workers` children, started when first needed and kept. One job per worker at a time; at most `QUEUE_MAX` callers wait, more are
refused. Cancelling a caller kills its worker: a job is therefore written so that being cut off anywhere is safe. A worker that dies in a job
ends it with Unavailable; the next job gets a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real import job_wire
from scrubjay.base.real.child import interpreter_arguments

QUEUE_MAX = 256
STOP_TIMEOUT_S = 2.0
READ_BUFFER_BYTES = 1 << 20

_log = structlog.get_logger(part="jobs")


class _Worker:
    """One child process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._in = process.stdin
        self._out = process.stdout

    async def run(self, request: job_wire.Request, progress: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
        """One job, to its outcome. Raises what the job raised, or Unavailable if the process died."""
        try:
            self._in.write(job_wire.encode(request))
            await self._in.drain()
            while True:
                (length,) = job_wire.LENGTH.unpack(await self._out.readexactly(job_wire.LENGTH.size))
                answer = job_wire.decode_answer(await self._out.readexactly(length))
                if isinstance(answer, job_wire.Result):
                    return answer.value
                if isinstance(answer, job_wire.Failure):
                    raise job_wire.error_of(answer)
                if progress is not None:
                    progress(answer.facts)
        except (asyncio.IncompleteReadError, ConnectionError, struct.error) as error:
            status = await self.kill()
            raise Unavailable("the worker process died", job=request.job, status=status) from error

    async def kill(self) -> int:
        """End the process at once; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()

    async def stop(self) -> None:
        """End an idle process: close its input and wait."""
        self._in.close()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            await self.kill()

    @property
    def alive(self) -> bool:
        return self.process.returncode is None


class WorkerJobs:
    """Use inside the loop's thread. folder: the data folder, root of the jobs' `Disk`. workers: how many processes at most (0 < workers)."""

    def __init__(self, folder: str | Path, *, workers: int = 2, environment: dict[str, str] | None = None) -> None:
        assert workers > 0
        self._folder = str(folder)
        self._environment = environment
        self._free = workers
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """See `base.env.Jobs.run`. Raises Unavailable when the queue is full, the worker died, or the pool is closed."""
        await self._take_slot()
        try:
            if self._closed:
                raise Unavailable("the worker pool is closed", job=job)
            worker = await self._worker()
            self._busy[worker.process.pid] = worker
            reusable = False
            try:
                value = await worker.run(job_wire.Request(job, arguments), progress)
                reusable = True
                return value
            except ScrubjayError:
                reusable = worker.alive
                raise
            finally:
                # Cancelled, or a callback of ours raised: the worker is in an unknown state in the middle of a job.
                del self._busy[worker.process.pid]
                if reusable and worker.alive and not self._closed:
                    self._idle.append(worker)
                else:
                    await asyncio.shield(worker.kill())
        finally:
            self._give_slot()

    async def _take_slot(self) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        if len(self._waiting) >= QUEUE_MAX:
            raise Unavailable("too many jobs wait for a worker", limit=QUEUE_MAX)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_slot()  # the slot was handed over in the same turn: pass it on
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _give_slot(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            _log.warning("idle worker was gone", status=worker.process.returncode)
        try:
            process = await asyncio.create_subprocess_exec(
                *interpreter_arguments("scrubjay.base.real.job_worker", [self._folder]),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=self._environment,
                limit=READ_BUFFER_BYTES,
            )
        except OSError as error:
            raise error_of_os(error.errno, what="job worker", action="start a worker process") from error
        return _Worker(process)

    async def close(self) -> None:
        """End all workers: idle ones by closing their input, busy ones by force. Their jobs raise Unavailable."""
        self._closed = True
        idle, self._idle = self._idle, []
        for worker in idle:
            await worker.stop()
        for worker in list(self._busy.values()):
            await worker.kill()
