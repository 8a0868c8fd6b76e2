"""The life that exports and imports share: begun once however often the same is asked for, noted, carried on after a restart, stopped, told of, and forgotten when it is old.

What one of them does, and what becomes of it at its end, is its own (`TransferSteps`). The rules here:

1. A job is noted before anybody hears its id; one whose noting was not answered is seen through, for it may stand there.
2. Two that ask for the same get the same job: by the API's token, or by the same words while it runs.
3. Noted as running and run by nobody, it is told as failed: whoever waited for it would wait for ever. The same words, or the next start, carry it on. A process that waits
   while another works (`server/duty.py`) takes what it does not run itself for that one's: running, and not to be begun here too.
4. What it left on the disk goes with it, whatever came of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.gate import Gate
from scrubjay.pitr.archive import RestoreArchive
from scrubjay.pitr.job import error_json, note
from scrubjay.pitr.steadily import steadily
from scrubjay.storage.service_port import ServicePort

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"
"""States of a job."""
VERSION = 1
"""Of the notes."""
RUNNING_MAX = 4
"""At a time, of each kind. Each has up to `lanes` partitions in work."""
KEPT_MAX = 50
"""Ended ones that are remembered, of each kind."""
TRIES_MAX = 3
"""Of one step, while what fails is that something is not there now (a worker that died, a place that does not answer)."""
Report = dict[str, Any]
Log = Callable[[str], None]
Progress = dict[str, Any]
T = TypeVar("T")


class TransferAsked(Protocol):
    """What was asked for. token: of the API's call; two with one are one."""

    @property
    def token(self) -> str | None: ...


class TransferJob(msgspec.Struct, kw_only=True):
    """What is remembered of both. ended_us: see each. files, bytes, rows, digest: of what was proven. exit: of a failed one."""

    version: int = VERSION
    id: str
    created_us: int
    state: str = RUNNING
    ended_us: int | None = None
    files: int | None = None
    bytes: int | None = None
    rows: int | None = None
    digest: str | None = None
    error: dict[str, Any] | None = None
    exit: int = 0

    def as_notes(self) -> dict[str, Any]:
        notes: dict[str, Any] = msgspec.to_builtins(self)
        return notes

    @classmethod
    def load(cls, notes: dict[str, Any]) -> Self | None:
        """None if they are of another version or malformed: such notes are left as they are."""
        try:
            job = msgspec.convert(notes, cls)
        except msgspec.ValidationError:
            return None
        return job if job.version == VERSION else None


class KeptTransfer(Protocol):
    """A TransferJob of one kind."""

    id: str
    created_us: int
    state: str
    error: dict[str, Any] | None
    exit: int

    @property
    def token(self) -> str | None:
        """Of the API's call that asked for it."""
        ...

    def words(self) -> tuple[str, str]:
        """What was asked for, and what to do when it failed: for a person."""
        ...

    def report(self, progress: Progress | None) -> Report: ...

    def as_notes(self) -> dict[str, Any]: ...

    @classmethod
    def load(cls, notes: dict[str, Any]) -> Self | None: ...


def fail(job: KeptTransfer, error: ScrubjayError) -> None:
    """It is not called failed before that is noted (`TransferSteps.end`)."""
    job.exit = error.exit_code
    asked, next_step = job.words()
    job.error = error_json(error, asked=asked, next_step=next_step)


J = TypeVar("J", bound=KeptTransfer)
Done = TypeVar("Done", bound=KeptTransfer, contravariant=True)


class TransferSteps(Protocol[Done]):
    """What one kind does in a life."""

    async def work(self, job: Done, progress: Progress) -> None:
        """All of it, from the beginning. Raises ScrubjayError: it failed."""
        ...

    async def end(self, job: Done) -> None:
        """Note how it ended, and take away what must not stay of a failed one. May be called again by a later life. Raises ScrubjayError: not now."""
        ...

    def folder(self, job: Done) -> str:
        """Of its files, below the data folder."""
        ...


class RunningTransfers(Generic[J]):
    """All jobs of one kind. word: export | import. ended: told the state of each that ends, and the microseconds since it was asked for."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: RestoreArchive,
        kind: type[J],
        steps: TransferSteps[J],
        *,
        word: str,
        log: Log,
        ended: Callable[[str, int], object] | None,
    ) -> None:
        self._env, self._port, self._archive, self._kind, self._steps = env, port, archive, kind, steps
        self.word, self.prefix, self._log, self._ended = word, f"{word}/", log, ended
        self._live: dict[str, tuple[J, Task[None], Progress]] = {}
        self._starting = Gate(env.tasks)
        self._saving = Gate(env.tasks)
        self._waits = True
        """What is noted as running and was not begun here is another process' until this one takes over (`resume_unfinished`)."""
        self._begun: set[str] = set()
        """In this life."""

    # ------------------------------------------------------------------ life of the server

    def resume_unfinished(self) -> int:
        """At start, or when this process takes over: carry on with every one that was running when a process ended. Returns how many."""
        self._waits = False
        found = [job for job in self.jobs() if job.state == RUNNING and job.id not in self._live]
        for job in found:
            self.spawn(job)
        return len(found)

    async def stop(self) -> None:
        """End them; their notes stay, and the next start carries on."""
        self._waits = True
        self._begun.clear()
        for _, task, _ in list(self._live.values()):
            task.cancel()
            while not task.done():
                await self._env.tasks.sleep(0.01)

    # ------------------------------------------------------------------ what is asked

    async def begin(self, asked: TransferAsked, *, same: Callable[[J], bool], by_words: bool, make: Callable[[], Awaitable[J]]) -> J:
        """The job that was begun by the same, carried on if nothing runs of it; else what `make` notes, one at a time.

        same: whether a job was asked for by these very words. by_words: whether words without a token mean the one that runs.
        Raises Unsafe (too many run), Conflict (the token was of another), and what `make` raises.
        """
        async with self._starting:
            earlier = self._earlier(asked.token, same, by_words=by_words)
            if earlier is not None:
                if earlier.state == RUNNING and earlier.id not in self._live and not self._elsewhere(earlier):
                    self.spawn(earlier)  # its end could not be noted, or that it began came to light later
                return earlier
            if len(self._live) >= RUNNING_MAX:
                raise Unsafe(f"too many {self.word}s are under way", found=len(self._live), next="wait for them", error_code="TooMany")
            job = await make()
            self.spawn(job)
            return job

    def _earlier(self, token: str | None, same: Callable[[J], bool], *, by_words: bool) -> J | None:
        for job in self.jobs():
            if token is not None and job.token == token:
                if not same(job):
                    raise Conflict(f"that token was of another {self.word}", asked=token, found=job.id, error_code="TokenTaken")
                return job
            if token is None and by_words and job.state == RUNNING and job.error is None and same(job):
                return job
        return None

    def jobs(self) -> list[J]:
        """Every one that is remembered or runs, oldest first."""
        noted = [job for notes in self._port.jobs(self.prefix).values() if (job := self._kind.load(notes)) is not None]
        found = {job.id: job for job in (*noted, *(live for live, _, _ in self._live.values()))}
        return [found[id_] for id_ in sorted(found)]

    def unread(self) -> list[str]:
        """Keys of notes that are of another version: they may stand for one that runs."""
        return [key for key, notes in self._port.jobs(self.prefix).items() if self._kind.load(notes) is None]

    def find(self, id_: str) -> J | None:
        return next((job for job in self.jobs() if job.id == id_), None)

    def _elsewhere(self, job: J) -> bool:
        """One that runs, as far as anybody here knows, is the process' that works."""
        return self._waits and job.id not in self._begun

    def report(self, job: J) -> Report:
        live = self._live.get(job.id)
        if live is None and job.state == RUNNING and not self._elsewhere(job):
            job = copy(job)
            job.state = FAILED
            if job.error is None:
                fail(job, Unavailable("what came of it could not be noted", next="the same command carries it on, or the next start"))
        return job.report(live[2] if live is not None else None)

    # ------------------------------------------------------------------ one of them

    def spawn(self, job: J) -> None:
        progress: Progress = {"phase": "plan"}
        self._begun.add(job.id)
        self._live[job.id] = (job, self._env.tasks.spawn(self._run(job, progress), name=f"{self.word} {job.id}"), progress)

    async def _run(self, job: J, progress: Progress) -> None:
        try:
            try:
                if job.error is None:  # else an earlier life failed, and only the end of it is left to be done
                    await self._steps.work(job, progress)
            except ScrubjayError as error:
                fail(job, error)
            try:
                await self._steps.end(job)
                await self._forget_old()
            except ScrubjayError as error:
                self._log(f"the end of {self.word} {job.id} could not be noted, the next start does: {error}")
            self._log(f"{self.word} {job.id} {job.words()[0]}: {job.state}")
            if self._ended is not None:
                self._ended(job.state, self._env.clock.wall_us() - job.created_us)
        finally:
            self._live.pop(job.id, None)
            self.discard(job)

    def discard(self, job: J) -> None:
        """Its files. Where they cannot be removed it is said, and nothing else waits for it."""
        try:
            self._archive.discard(self._steps.folder(job))
        except ScrubjayError as error:
            self._log(f"the files of {self.word} {job.id} could not be removed: {error}")

    async def _forget_old(self) -> None:
        over = [one for one in self.jobs() if one.state != RUNNING]
        for old in over[: max(0, len(over) - KEPT_MAX)]:
            await self.forget(old)

    async def save(self, job: J) -> None:
        """One at a time: notes are compare-and-set, and two partitions that end at once must not take each other for a stranger. Raises Unavailable, Conflict."""
        async with self._saving:
            await note(self._port, self.prefix + job.id, job.as_notes())

    async def forget(self, job: J) -> None:
        """Raises Unavailable, Conflict."""
        await note(self._port, self.prefix + job.id, None)

    async def again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Every call given here may be made twice."""
        return await steadily(self._env, call, tries=TRIES_MAX)
