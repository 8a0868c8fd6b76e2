"""`base.env.Jobs` on a fleet: jobs go as tasks to the workers of a Dask cluster (`[jobs] backend = "dask"`), which may stand on other machines.

Only jobs that are told to travel do: those that read the archive and make a file or an answer. A task says which job, names of objects and numbers, and nothing of
this machine: no path, no credentials. The file a job makes (`output`) stays with the worker that made it. Jobs that read it (`rows`) follow it there; `bring` fetches
it when this process needs it. If its worker is gone, the job that made it is run again elsewhere and must come to the same answer.

A worker that dies in a job: Dask runs the job again on another one. Jobs are written so that being cut off anywhere is safe. Without a scheduler, or without a
worker for `wait_s`, a job ends with Unavailable, and `trouble` says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import CancelledError as TaskLost
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from scrubjay.base.checksum import crc32c_raw
from scrubjay.base.errors import Unavailable
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real import job_wire
from scrubjay.base.real.fleet_wire import FilePart, FleetAnswer, FleetTask, encode, topic_of, version
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.log_lines import logger

CONNECT_S = 10.0
CHUNK_BYTES = 4 << 20
POLL_S = 1.0
CALLS_MAX = 5
"""Times that one worker is asked for part of a file."""
REMAKE_MAX = 3
"""Times that one file is made again because its worker is gone, before whoever needs it is told."""
CLOSE_S = 5.0
WATCH_S = 30.0
"""Between two looks whether a fleet that was away is back, while no job asks."""

_log = logger("fleet")


class _Made(NamedTuple):
    """A file that a job made. worker: address of the one that has it. run: of the job, which its folder there is named after."""

    job: str
    arguments: dict[str, Any]
    worker: str
    run: str
    answer: dict[str, Any]

    def there(self) -> str:
        """The file as its worker knows it."""
        return f"{self.run}/{self.arguments['output']}"


class _Done(NamedTuple):
    """What a task came to. worker: who ran it. run: its id."""

    worker: str
    run: str
    answer: dict[str, Any]


class _WorkerGone(Exception):
    """The one worker that could have done it is not there any more, or has lost the file."""


class FleetJobs:
    """Use inside the loop's thread. More than 15 fields: where to, what is on its way, what lies where, and why not. local: for the jobs that do not travel; they work as without a fleet. folder: the data folder, where `bring` puts files.

    address: of the Dask scheduler. travels: names of the jobs that go there, if what they read is the archive at `url`, in which the workers must find `cluster`.
    """

    def __init__(
        self,
        local: WorkerJobs,
        folder: str | Path,
        *,
        address: str,
        travels: Collection[str],
        url: str,
        cluster: str,
        wait_s: float = 30.0,
    ) -> None:
        self.address = address
        self.trouble: str | None = None
        """Why the fleet did not take the last job; None: it did, or was not asked yet."""
        self._local = local
        self._folder = Path(folder)
        self._travels = frozenset(travels)
        self._url, self._cluster = url, cluster
        self._wait_s = wait_s
        self._session = str(uuid4())
        self._made: dict[str, _Made] = {}
        self._remaking: dict[str, asyncio.Lock] = {}
        self._progress: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._client: Any = None
        """`distributed.Client`, once it was needed; Dask is imported then and not before."""
        self._connecting = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False
        self._alone: tuple[float, float] | None = None
        """Since when there has been no worker, and when that was seen last."""
        self._watching: asyncio.Task[None] | None = None
        self.witness: Callable[[], Awaitable[str]] = _nobody
        """Names an object that lies in the archive now, the younger the better: a worker that lacks it sees a copy from before. Raises Unavailable."""

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """See `base.env.Jobs.run`."""
        rows = arguments.get("rows")
        if rows in self._made:
            if arguments.get("url", self._url) != self._url and str(arguments["url"]).startswith("file:"):
                await self.bring(rows)  # a folder of this machine
                return await self._local.run(job, arguments, progress=progress)
            return await self._where_rows_are(rows, job, arguments, progress)
        if job not in self._travels or arguments.get("url") != self._url:
            return await self._local.run(job, arguments, progress=progress)
        done = await self._task(job, arguments, progress, worker=None)
        if output := arguments.get("output"):
            self.drop(output)
            self._made[output] = _Made(job, arguments, *done)
        return done.answer

    async def bring(self, path: str) -> None:
        """See `base.env.Jobs.bring`."""
        tries = 0
        while (made := self._made.get(path)) is not None:
            try:
                await self._fetch(made, path)
            except _WorkerGone:
                tries += 1
                await self._remake(path, made, tries)
            else:
                return

    def drop(self, path: str) -> None:
        """See `base.env.Jobs.drop`."""
        for one in [one for one in self._made if one == path or one.startswith(path + "/")]:
            self._remaking.pop(one, None)
            self._later(self._drop(self._made.pop(one)))

    def share(self, share: float) -> None:
        """Of what runs on this machine; a fleet's workers serve nobody else."""
        self._local.share(share)

    async def close(self) -> None:
        """End it: tasks under way end with Unavailable, and the workers remove this session's files, if they can be asked within `CLOSE_S`."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            from scrubjay.base.real.fleet_worker import leave

            with contextlib.suppress(Exception):  # whatever keeps the workers from it: they sweep old sessions themselves
                async with asyncio.timeout(CLOSE_S):
                    await client.run(leave, self._session, on_error="ignore")
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await client.close()
        for task in tuple(self._background):
            task.cancel()
        await self._local.close()

    # --- where files are ---

    async def _where_rows_are(
        self, rows: str, job: str, arguments: dict[str, Any], progress: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        tries = 0
        while True:
            made = self._made.get(rows)
            if made is None:
                raise Unavailable("the file was dropped", job=job, path=rows)
            try:
                return (await self._task(job, {**arguments, "rows": made.there()}, progress, worker=made.worker)).answer
            except _WorkerGone:
                tries += 1
                await self._remake(rows, made, tries)

    async def _remake(self, path: str, lost: _Made, tries: int) -> None:
        """Run the job that made a file once more, elsewhere. One at a time for each file: others find it made. Raises Unavailable."""
        async with self._remaking.setdefault(path, asyncio.Lock()):
            if self._made.get(path) is not lost:
                return
            if tries > REMAKE_MAX:
                raise Unavailable("the workers that hold a job's file go away again and again", job=lost.job, path=path)
            _log.warning("the worker that held a job's file is gone; it is made again", job=lost.job, worker=lost.worker)
            done = await self._task(lost.job, lost.arguments, None, worker=None)
            made = _Made(lost.job, lost.arguments, *done)
            if done.answer != lost.answer:
                self._later(self._drop(made))
                raise Unavailable("a job's file was made again, and is another than before", job=lost.job, path=path)
            if self._made.get(path) is lost:
                self._made[path] = made
            else:  # dropped meanwhile
                self._later(self._drop(made))

    async def _fetch(self, made: _Made, path: str) -> None:
        from scrubjay.base.real.fleet_worker import read_file

        target = self._folder / path
        part = target.with_name(target.name + ".part")
        offset = 0
        try:
            with _os_errors(path):
                await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
                file = await asyncio.to_thread(part.open, "wb")
            with file:
                while True:
                    data = await self._call(made.worker, read_file, self._session, made.there(), offset, CHUNK_BYTES)
                    if not data:
                        raise _WorkerGone
                    chunk = msgspec.msgpack.decode(data, type=FilePart)
                    if crc32c_raw(chunk.data) != chunk.crc or (not chunk.data and offset < chunk.size):
                        raise Unavailable("a file of the fleet's did not arrive as it was sent", path=path, worker=made.worker)
                    with _os_errors(path):
                        await asyncio.to_thread(file.write, chunk.data)
                    offset += len(chunk.data)
                    if offset >= chunk.size:
                        break
            with _os_errors(path):
                await asyncio.to_thread(part.replace, target)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _drop(self, made: _Made) -> None:
        from scrubjay.base.real.fleet_worker import stop_run

        with contextlib.suppress(_WorkerGone, Unavailable):
            await self._call(made.worker, stop_run, self._session, made.run)

    # --- tasks ---

    async def _task(
        self, job: str, arguments: dict[str, Any], progress: Callable[[dict[str, Any]], None] | None, *, worker: str | None
    ) -> _Done:
        """One job. worker: the only one that may run it. Raises what the job raised, Unavailable, _WorkerGone."""
        client = await self._connected()
        from scrubjay.base.real.fleet_worker import run_task

        task = FleetTask(
            id=str(uuid4()), session=self._session, version=version(), archive=self._url, cluster=self._cluster, seen=await self.witness(), job=job,
            arguments=arguments,
        )  # fmt: skip
        if progress is not None:
            self._progress[task.id] = progress
        pinned = {} if worker is None else {"workers": [worker], "allow_other_workers": False}
        future = client.submit(run_task, encode(task), key=f"scrubjay-{task.id}", pure=False, **pinned)
        waiting = asyncio.ensure_future(_result(future))
        try:
            while not (await asyncio.wait({waiting}, timeout=POLL_S))[0]:
                present = await self._workers(client)
                if worker is not None and worker not in present:
                    raise _WorkerGone
                if self._alone_for_s(present) >= self._wait_s:
                    raise self._away("no worker of the fleet is there", job=job, address=self.address)
            answer = msgspec.msgpack.decode(await self._outcome(waiting, job), type=FleetAnswer)
        finally:
            self._progress.pop(task.id, None)
            if not waiting.done():
                waiting.cancel()
                self._later(self._stop(client, future, task.id))
            else:
                future.release()
        self.trouble = None
        if answer.gone or answer.answer is None:
            raise _WorkerGone
        if isinstance(answer.answer, job_wire.JobFailure):
            raise job_wire.error_of(answer.answer)
        assert isinstance(answer.answer, job_wire.JobResult)
        return _Done(answer.worker, task.id, answer.answer.value)

    async def _outcome(self, waiting: asyncio.Future[bytes], job: str) -> bytes:
        """What a task that has ended gave. Raises Unavailable: the fleet's own trouble."""
        try:
            return waiting.result()
        except (Exception, asyncio.CancelledError, TaskLost) as error:  # Dask's own have no common class
            raise self._away("the fleet did not end a job", job=job, found=f"{type(error).__name__}: {error}") from error

    async def _stop(self, client: Any, future: Any, task_id: str) -> None:
        """Nobody waits for the task any more. It may end on its own at just this time: what it made is wanted by nobody either."""
        from scrubjay.base.real.fleet_worker import stop_run

        with contextlib.suppress(Exception):  # a scheduler that is away runs nothing for us either
            async with asyncio.timeout(CONNECT_S):
                await future.cancel()
                await client.run(stop_run, self._session, task_id, on_error="ignore")

    async def _call(self, worker: str, function: Any, *arguments: Any) -> Any:
        """Ask one worker at once, whatever it works at. Raises _WorkerGone, Unavailable."""
        for left in reversed(range(CALLS_MAX)):
            client = await self._connected()
            if worker not in await self._workers(client):
                raise _WorkerGone
            try:
                async with asyncio.timeout(CONNECT_S):
                    return (await client.run(function, *arguments, workers=[worker]))[worker]
            except Exception as error:
                if not left:
                    raise self._away(
                        "a worker of the fleet did not answer", worker=worker, found=f"{type(error).__name__}: {error}"
                    ) from error
            await asyncio.sleep(POLL_S)  # one that died is told of by the scheduler a moment later
        raise AssertionError

    async def _workers(self, client: Any) -> list[str]:
        """Addresses of the workers that the scheduler has now."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return list((await client.scheduler.identity(n_workers=-1))["workers"])
        except Exception as error:
            raise self._away(
                "the fleet's scheduler does not answer", address=self.address, found=f"{type(error).__name__}: {error}"
            ) from error

    def _alone_for_s(self, present: list[str]) -> float:
        """For how long no worker has been there, whichever job looked: what comes after the first that waited in vain need not wait as long again."""
        now = time.monotonic()
        if present:
            self._alone = None
            return 0.0
        if self._alone is None or now - self._alone[1] > self._wait_s:  # nobody looked meanwhile: it is not known that there was none
            self._alone = now, now
        self._alone = self._alone[0], now
        return now - self._alone[0]

    async def _connected(self) -> Any:
        """Raises Unavailable."""
        async with self._connecting:
            if self._closed:
                raise Unavailable("the fleet is closed")
            if self._client is not None and self._client.status == "running":
                return self._client
            distributed = importlib.import_module("distributed")
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said here, once
            old, self._client = self._client, None
            if old is not None:
                self._later(_close(old))
            client = distributed.Client(self.address, asynchronous=True, timeout=CONNECT_S, set_as_default=False)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await client
                client.subscribe_topic(topic_of(self._session), self._hear)
            except BaseException as error:  # also when whoever asked gives up: one that is half made goes on trying by itself
                self._later(_close(client))
                if not isinstance(error, Exception):
                    raise
                found = f"{type(error).__name__}: {error}"
                raise self._away("the fleet's scheduler does not answer", address=self.address, found=found) from error
            self._client = client
            return client

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        said = event[1]
        if (progress := self._progress.get(said["id"])) is not None:
            progress(said["facts"])

    def _away(self, message: str, **fields: Any) -> Unavailable:
        """An error of the fleet's own, remembered; the first of a row is a line in the log."""
        error = Unavailable(message, **fields)
        if self.trouble is None:
            _log.warning(message, **fields)
        self.trouble = str(error)
        if self._watching is None and not self._closed:
            self._watching = asyncio.ensure_future(self._watch())
            self._background.add(self._watching)
            self._watching.add_done_callback(self._background.discard)
        return error

    async def _watch(self) -> None:
        """Until the fleet is there again: else it would be called away until the next night asks it for something."""
        try:
            while self.trouble is not None and not self._closed:
                await asyncio.sleep(WATCH_S)
                with contextlib.suppress(Unavailable):
                    if self.trouble is not None and await self._workers(await self._connected()):
                        self.trouble = None
        finally:
            self._watching = None

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _nobody() -> str:
    return ""


async def _result(future: Any) -> bytes:
    found: bytes = await future
    return found


async def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            await client.close()


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Raises the typed error of what this machine lacks."""
    try:
        yield
    except OSError as error:
        said = error_of_os(error.errno, what=path, action="bring a file from the fleet")
        if isinstance(said, Unavailable):
            raise said from error
        raise Unavailable(
            "this machine could not keep a file of the fleet's", what=path, found=str(error)
        ) from error  # no fact about the archive
