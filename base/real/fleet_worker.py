"""The fleet's side of `base.real.fleet_jobs`: what a Dask worker runs for it. Imported by name in the worker's process; nothing of it is pickled but these functions' names.

A job runs in a child process of the worker's (`base.real.jobs`), as it would beside a server: it can be killed, and its memory is gone when it ends. Files lie below
the worker's own scratch folder, `scrubjay/<session>/<run>/`, under the relative names by which jobs know them: each run of a job has a folder of its own, so that one
whose end nobody waited for is never in the way of the next that is asked for the same names. The archive is opened by its URL with the credentials that the worker
finds in its own environment; that it is the same archive is looked at first, so that a worker that was set up wrongly calls nothing lost.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
from distributed import get_worker

from scrubjay.base.checksum import crc32c_raw
from scrubjay.base.errors import Corrupt, Missing, ScrubjayError, Unavailable
from scrubjay.base.real import job_wire
from scrubjay.base.real.fleet_wire import FilePart, FleetAnswer, FleetTask, encode, topic_of, version
from scrubjay.base.real.jobs import WorkerJobs

OWN_FILES = ("output", "work")
"""Arguments of jobs that name files of the run's own: what it makes, and its scratch. `rows` names the file of an earlier run, with that run's folder."""
SESSION_AGE_S = 2 * 86_400.0
"""A session's files that nobody touched for so long are removed: whoever made them is gone."""
_ATTRIBUTE = "scrubjay_host"


class FleetHost:
    """One in each Dask worker's process. root: its scratch folder. slots: jobs at once."""

    def __init__(self, root: Path, *, slots: int, version: str) -> None:
        self._root = root
        self._version = version
        root.mkdir(parents=True, exist_ok=True)
        self._jobs = WorkerJobs(root, workers=slots)
        self._running: dict[tuple[str, str], asyncio.Task[FleetAnswer]] = {}
        """By session and run."""
        self._left: set[str] = set()
        """Sessions that are over: what of theirs waited in Dask's queue is not begun."""
        self._seen: dict[tuple[str, str], str] = {}
        """Archives (URL and cluster) that are there, each with the object that was seen last."""

    async def run(self, task: FleetTask, *, worker: str, tell: Any) -> FleetAnswer:
        """Never raises a ScrubjayError: that is the answer. It can be stopped from its first moment on."""
        work = self._running[task.session, task.id] = asyncio.ensure_future(self._run(task, worker, tell))
        try:
            return await work
        except asyncio.CancelledError:
            stopped = Unavailable("the job was stopped", job=task.job, worker=worker)
            return FleetAnswer(worker=worker, gone=False, answer=job_wire.failure_of(stopped, ""))
        finally:
            self._running.pop((task.session, task.id), None)

    async def _run(self, task: FleetTask, worker: str, tell: Any) -> FleetAnswer:
        try:
            if task.version != self._version:
                raise Unavailable("a worker of the fleet runs another version", worker=worker, expected=task.version, found=self._version)
            if task.session in self._left:
                raise Unavailable("whoever asked for the job has gone", job=task.job)
            rows = task.arguments.get("rows")
            if rows is not None and not self._path(task.session, rows).exists():
                return FleetAnswer(worker=worker, gone=True, answer=None)
            if task.arguments.get("url") == task.archive:
                await self._same_archive(task.archive, task.cluster, task.seen)
            value = await self._in_child(task, tell)
            return FleetAnswer(worker=worker, gone=False, answer=job_wire.JobResult(value))
        except ScrubjayError as error:
            if isinstance(error, Corrupt | Missing) and str(error.fields.get("what", "")).startswith(f"{task.session}/"):
                # Of a file in our scratch: nothing about the archive.
                error = Unavailable("a worker of the fleet could not use its scratch", job=task.job, found=str(error))
            error.fields.setdefault("worker", worker)
            return FleetAnswer(worker=worker, gone=False, answer=job_wire.failure_of(error, ""))

    async def _in_child(self, task: FleetTask, tell: Any) -> dict[str, Any]:
        self._sweep(keep=task.session)
        own = self._path(task.session, task.id)
        arguments = dict(task.arguments)
        kept = False
        try:
            for name in OWN_FILES:
                if arguments.get(name):
                    path = self._path(task.session, f"{task.id}/{arguments[name]}")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    arguments[name] = str(path.relative_to(self._root))
            if arguments.get("rows"):
                arguments["rows"] = str(self._path(task.session, arguments["rows"]).relative_to(self._root))
            value = await self._jobs.run(task.job, arguments, progress=tell)
            kept = bool(arguments.get("output"))
            return value
        finally:
            if not kept:
                shutil.rmtree(own, ignore_errors=True)

    def stop(self, session: str, run: str) -> None:
        """Nobody waits for a run any more: end it in the middle, or remove what it made."""
        work = self._running.get((session, run))
        if work is None or not work.cancel():
            shutil.rmtree(self._path(session, run), ignore_errors=True)

    async def _same_archive(self, url: str, cluster: str, seen: str) -> None:
        """Raises Unavailable if what lies at `url` for this worker does not hold the cluster (another server, other credentials, a folder of another machine), or not what
        was written a moment ago: a copy of it, from before."""
        if self._seen.get((url, cluster)) == seen:
            return
        from scrubjay.base.real.stores import handed_on, open_store

        store = open_store(url, settings=handed_on(), create=False)
        try:
            await store.get(f"{cluster}/identity")
        except Corrupt:
            pass  # it is there, and whoever reads it for what it says is told
        except Missing as error:
            raise Unavailable(
                "a worker of the fleet sees another archive at this URL", url=url, cluster=cluster, found=str(error)
            ) from error
        if seen and await store.head(seen) is None:
            raise Unavailable("a worker of the fleet sees an older copy of the archive at this URL", url=url, cluster=cluster, lacks=seen)
        self._seen[url, cluster] = seen

    async def close(self) -> None:
        """End its child processes."""
        await self._jobs.close()

    def read(self, session: str, path: str, offset: int, length: int) -> FilePart | None:
        """Part of a file; None if it is not there."""
        try:
            with self._path(session, path).open("rb") as file:
                file.seek(offset)
                data = file.read(length)
                return FilePart(os.fstat(file.fileno()).st_size, data, crc32c_raw(data))
        except FileNotFoundError:
            return None

    async def leave(self, session: str) -> None:
        """A session is over: end what runs of it, and remove its files."""
        self._left.add(session)
        running = [work for (of, _), work in self._running.items() if of == session]
        for work in running:
            work.cancel()
        if running:
            await asyncio.wait(running)
        shutil.rmtree(self._root / session, ignore_errors=True)

    def _path(self, session: str, path: str) -> Path:
        """Raises Unavailable for a name that leads out of the session's folder."""
        folder = self._root / session
        found = folder / path
        if ".." in found.parts or not found.is_relative_to(folder) or "/" in session:
            raise Unavailable("a file's name leads out of its session", session=session, path=path)
        return found

    def _sweep(self, *, keep: str) -> None:
        oldest = time.time() - SESSION_AGE_S
        for folder in self._root.iterdir():
            if folder.name != keep and folder.is_dir() and _newest(folder) < oldest:
                shutil.rmtree(folder, ignore_errors=True)


def _newest(folder: Path) -> float:
    """When anything in the folder was last changed."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        try:
            newest = max(newest, path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return newest


# --- what is run by name in a Dask worker ---


def _host_of(worker: Any) -> FleetHost:
    found: FleetHost | None = getattr(worker, _ATTRIBUTE, None)
    if found is None:
        found = FleetHost(Path(worker.local_directory) / "scrubjay", slots=worker.state.nthreads, version=version())
        setattr(worker, _ATTRIBUTE, found)
    return found


async def run_task(data: bytes) -> bytes:
    """A FleetTask in msgpack to its FleetAnswer in msgpack. Runs on the worker's loop; the work is done in a child process."""
    task = msgspec.msgpack.decode(data, type=FleetTask)
    worker = get_worker()

    def tell(facts: dict[str, Any]) -> None:
        worker.log_event(topic_of(task.session), {"id": task.id, "facts": facts})

    return encode(await _host_of(worker).run(task, worker=worker.address, tell=tell))


async def stop_run(session: str, run: str, *, dask_worker: Any) -> None:
    """dask_worker: given by Dask to what is run beside its tasks."""
    _host_of(dask_worker).stop(session, run)


async def read_file(session: str, path: str, offset: int, length: int, *, dask_worker: Any) -> bytes:
    """A FilePart in msgpack; nothing if the file is not there."""
    chunk = _host_of(dask_worker).read(session, path, offset, length)
    return b"" if chunk is None else encode(chunk)


async def leave(session: str, *, dask_worker: Any) -> None:
    await _host_of(dask_worker).leave(session)
