"""`base.env.Jobs` on worker processes: whatever loops in Python over many items runs there, so the node's loop stays quick (DESIGN section 5).

A pool of at most `workers` children (as many more of those that give way), started when first needed and kept. One job per worker at a time; at most `QUEUE_MAX` callers wait, more are
refused. Cancelling a caller kills its worker: a job is therefore written so that being cut off anywhere is safe. A worker that dies in a job
ends it with Unavailable; the next job gets a fresh one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Invalid, Unavailable
from scrubjay.base.frames import FrameReader
from scrubjay.base.places import Places
from scrubjay.base.real import job_wire
from scrubjay.base.real.job_worker import GIVES_WAY
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.worker_process import WorkerProcess
from scrubjay.base.together import settle

QUEUE_MAX = 256
PART_BYTES = 512 << 10
"""Of an argument that go into one frame: longer ones travel in parts, between which the loop serves others."""

_log = logger("jobs")


class _Worker:
    """One child process and the one job that it is given at a time."""

    def __init__(self, folder: str, environment: dict[str, str] | None, *, gives_way: bool) -> None:
        """Raises the typed error of what the machine lacks."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._frames = FrameReader()
        self._outcome: asyncio.Future[job_wire.JobResult | job_wire.JobFailure] | None = None
        self._progress: Callable[[dict[str, Any]], None] | None = None
        self._job = ""
        self.between_jobs = True
        """It has answered all that it was asked, and so may be asked again."""
        self.gone: asyncio.Future[int] = loop.create_future()
        """The exit status, once it has ended."""
        self.gives_way = gives_way
        arguments = [folder, str(os.getpid()), *([GIVES_WAY] if gives_way else [])]
        self.process = WorkerProcess(
            "scrubjay.base.real.job_worker", arguments, on_data=self._hear, on_exit=self._ended, environment=environment
        )

    def share(self, share: float) -> None:
        """How much of a core it may use for what nobody waits for."""
        self.process.send(job_wire.encode(job_wire.JobShare(share)))

    async def run(self, request: job_wire.JobRequest, progress: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
        """One job, to its outcome. Raises what the job or `progress` raised, or Unavailable if the process died."""
        if self.gone.done():
            raise self._died(request.job, self.gone.result())
        self._job, self._progress = request.job, progress
        outcome = self._outcome = self._loop.create_future()
        long = {name: value for name, value in request.arguments.items() if isinstance(value, bytes) and len(value) > PART_BYTES}
        if (size := sum(map(len, long.values()))) > job_wire.FRAME_BYTES_MAX:
            raise Invalid("job frame too large", size=size, limit=job_wire.FRAME_BYTES_MAX)
        frame = job_wire.encode(
            job_wire.JobRequest(request.job, {name: value for name, value in request.arguments.items() if name not in long}, request.rests)
        )
        self.between_jobs = False
        for name, value in long.items():
            whole = memoryview(value)
            for at in range(0, len(value), PART_BYTES):
                self.process.send(job_wire.encode(job_wire.JobPart(name, bytes(whole[at : at + PART_BYTES]))))
                await asyncio.sleep(0)
        self.process.send(frame)
        answer: job_wire.JobResult | job_wire.JobFailure = await outcome
        if isinstance(answer, job_wire.JobFailure):
            raise job_wire.error_of(answer)
        return answer.value

    def _hear(self, data: bytes) -> None:
        outcome = self._outcome
        if outcome is None or outcome.done():
            return
        try:
            for body in self._frames.feed(data):
                answer = job_wire.decode_answer(body)
                if not isinstance(answer, job_wire.JobProgress):
                    self.between_jobs = True
                    settle(outcome, answer)
                elif self._progress is not None:
                    self._progress(answer.facts)
        except Exception as error:  # noqa: BLE001  raised where the outcome is awaited
            settle(outcome, error)

    def _ended(self, status: int) -> None:
        self.gone.set_result(status)
        if self._outcome is not None:
            settle(self._outcome, self._died(self._job, status))

    def _died(self, job: str, status: int) -> Unavailable:
        return Unavailable("the worker process died", job=job, status=status)

    async def kill(self) -> None:
        """End the process at once, and wait until it has gone."""
        self.process.kill()
        await asyncio.shield(self.gone)


class WorkerJobs:
    """Use inside the loop's thread. folder: the data folder, root of the jobs' `Disk`. workers: how many jobs at once (0 < workers). give_way: names of those that give
    way to whoever serves (`base.giving_way`), in processes of their own: what gave way once cannot be called back. rest: names of those among them that nobody waits for,
    which keep to a share of a core (`share`)."""

    def __init__(
        self,
        folder: str | Path,
        *,
        workers: int = 2,
        environment: dict[str, str] | None = None,
        give_way: Collection[str] = (),
        rest: Collection[str] = (),
    ) -> None:
        self._folder = str(folder)
        self._environment = environment
        self._places = Places(workers, future=lambda: asyncio.get_running_loop().create_future(), waiting_max=QUEUE_MAX)
        self._give_way = frozenset(give_way)
        self._rest = frozenset(rest)
        self._share = 1.0
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}
        self._closed = False
        self.trouble: str | None = None
        """None: processes of this machine are either there, or whoever asks is told."""

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """See `base.env.Jobs.run`. Raises Unavailable when the queue is full, the worker died, or the pool is closed."""
        await self._places.take()
        try:
            if self._closed:
                raise Unavailable("the worker pool is closed", job=job)
            worker = self._worker(gives_way=job in self._give_way)
            self._busy[worker.process.pid] = worker
            try:
                return await worker.run(job_wire.JobRequest(job, arguments, job in self._rest), progress)
            finally:
                # Cancelled, or a callback of ours raised, whatever it raised: then the worker is in the middle of a job.
                del self._busy[worker.process.pid]
                if worker.between_jobs and worker.process.alive and not self._closed:
                    self._idle.append(worker)
                else:
                    await asyncio.shield(worker.kill())
        finally:
            self._places.give()

    def share(self, share: float) -> None:
        """How much of a core each process may use from now on for jobs that rest, those under way too. 0 < share <= 1."""
        self._share = share
        for worker in [*self._idle, *self._busy.values()]:
            if worker.gives_way:
                worker.share(share)

    async def bring(self, path: str) -> None:
        """Jobs of this pool write into the data folder: what they made is here."""

    def drop(self, path: str) -> None:
        """See `bring`: what they made is removed by whoever asked for it."""

    def _worker(self, *, gives_way: bool) -> _Worker:
        for worker in [one for one in self._idle if one.gives_way is gives_way]:
            self._idle.remove(worker)
            if worker.process.alive:
                return worker
            _log.warning("idle worker was gone")
        fresh = _Worker(self._folder, self._environment, gives_way=gives_way)
        if gives_way:
            fresh.share(self._share)
        return fresh

    async def close(self) -> None:
        """End all workers at once: whatever a job does is safe to cut off. Busy ones' jobs raise Unavailable."""
        self._closed = True
        idle, self._idle = self._idle, []
        for worker in [*idle, *self._busy.values()]:
            await worker.kill()
