"""Long work inside the server: started by one request, polled by others. Results are kept until they are crowded out; they do not survive the process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import Internal, ScrubjayError, Unavailable
from scrubjay.output import VerbFailure, failure_of
from scrubjay.server.ports import ProgressSink, Report

RUNNING_MAX = 16
KEPT_MAX = 64

Log = Callable[[str, BaseException], None]
Work = Callable[[ProgressSink], Awaitable[Report]]


@dataclass(slots=True)
class Job:
    """One piece of work. started_us, finished_us: wall clock. Exactly one of result and failure is set once finished_us is."""

    id: str
    kind: str
    started_us: int
    ended: Future[None]
    progress: dict[str, Any] = field(default_factory=dict)
    finished_us: int | None = None
    result: Report | None = None
    failure: VerbFailure | None = None


class JobBoard:
    """The jobs of one server. Jobs of one `lane` run one after another, in the order they came."""

    def __init__(self, env: Env, *, log: Log) -> None:
        self._env = env
        self._log = log
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lanes: dict[str, Job] = {}

    def start(self, kind: str, work: Work, *, lane: str | None = None) -> Job:
        """Begin. Raises Unavailable while RUNNING_MAX jobs run."""
        running = sum(job.finished_us is None for job in self._jobs.values())
        if running >= RUNNING_MAX:
            raise Unavailable("too many jobs are running", asked=f"another {kind}", found=f"{running} running", next="wait for them")
        job = Job(self._env.rand.uuid(), kind, self._env.clock.wall_us(), self._env.tasks.future())
        before = self._lanes.get(lane) if lane else None
        if lane:
            self._lanes[lane] = job
        self._jobs[job.id] = job
        self._forget_old()
        self._env.tasks.spawn(self._run(job, work, before), name=f"job {kind}")
        return job

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    async def _run(self, job: Job, work: Work, before: Job | None) -> None:
        if before is not None and before.finished_us is None:
            job.progress = {"phase": f"waiting for the {before.kind} that runs"}
            await before.ended
        try:
            job.result = await work(job.progress.update)
        except VerbFailure as failure:
            job.failure = failure
        except ScrubjayError as error:
            job.failure = failure_of(error, asked=job.kind)
        except Exception as error:  # noqa: BLE001 - a bug in one job is its result; the server and the other jobs go on
            self._log(job.kind, error)
            job.failure = failure_of(Internal("a bug in the server", kind=type(error).__name__, detail=str(error)), asked=job.kind)
        finally:
            job.finished_us = self._env.clock.wall_us()
            job.ended.set_result(None)

    def _forget_old(self) -> None:
        for job in [job for job in self._jobs.values() if job.finished_us is not None][: max(0, len(self._jobs) - KEPT_MAX)]:
            del self._jobs[job.id]
