"""`base.env.Disk` on a folder of the machine: pread, pwritev, fdatasync, one committing thread per disk.

Guarantees: `write_sync` runs off the loop and comes back on it (through `post`); writes of one disk are done in the order they were asked for. Once a
write or sync of a file failed, that file refuses further writes (a second fdatasync after a failed one may succeed with nothing on the platter).
Not covered: a disk that says it synced and did not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from scrubjay.base.env import File
from scrubjay.base.errors import Corrupt, Exhausted, Internal, ScrubjayError, Unavailable
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real.folders import make_folder, sync_folder
from scrubjay.base.real.open_files import thread_limit
from scrubjay.base.real.turns import short_turns

Post = Callable[[Callable[[], None]], None]
Buffer = bytes | bytearray | memoryview

IOV_MAX = 1024
"""Buffers per pwritev call."""
_ZEROS = bytes(1 << 20)
AHEAD_SYNC_BYTES = 2 << 20
"""A file made ahead is synced in steps of so many bytes, so that a commit never waits on the platter for a whole file of zeros."""


def error_of(error: OSError, *, path: str, action: str) -> ScrubjayError:
    """What a failed system call means to its caller (base.oserrors)."""
    return error_of_os(error.errno, what=path, action=action)


def write_fully(descriptor: int, offset: int, chunks: Sequence[Buffer]) -> None:
    """pwritev until everything is written; short writes go on where they stopped. Raises OSError."""
    views = [memoryview(chunk).cast("B") for chunk in chunks if len(chunk)]
    at = 0
    while at < len(views):
        written = os.pwritev(descriptor, views[at : at + IOV_MAX], offset)
        if written == 0:
            raise OSError(errno.EIO, "nothing was written")
        offset += written
        while written:
            if written >= len(views[at]):
                written -= len(views[at])
                at += 1
            else:
                views[at] = views[at][written:]
                written = 0


class RealFile:
    """One open file of a `RealDisk`."""

    def __init__(self, disk: RealDisk, path: str, descriptor: int) -> None:
        self._disk = disk
        self._path = path
        self._descriptor = descriptor
        self._failed: ScrubjayError | None = None

    def pread(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        try:
            while length > 0:
                part = os.pread(self._descriptor, length, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                length -= len(part)
        except OSError as error:
            raise error_of(error, path=self._path, action="read") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write_sync(self, offset: int, chunks: Sequence[Buffer], done: Callable[[ScrubjayError | None], None]) -> None:
        self._disk.submit(lambda: self._write_sync(offset, chunks), done)

    def _write_sync(self, offset: int, chunks: Sequence[Buffer]) -> None:
        self._check()
        try:
            write_fully(self._descriptor, offset, chunks)
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failed = error_of(error, path=self._path, action="write and sync")
            raise self._failed from error

    def write(self, offset: int, data: Buffer) -> None:
        self._check()
        try:
            write_fully(self._descriptor, offset, [data])
        except OSError as error:
            self._failed = error_of(error, path=self._path, action="write")
            raise self._failed from error

    def sync(self) -> None:
        self._check()
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failed = Corrupt(f"sync failed: {error.strerror}", what=self._path, errno=error.errno)
            raise self._failed from error

    def _check(self) -> None:
        if self._failed is not None:
            raise Corrupt(
                "a write or sync of this file failed before; it is not written any more", what=self._path, cause=str(self._failed)
            )

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RealDisk:
    """The folder `root`, made if it is absent.

    post: brings a callback onto the loop's thread (`loop.call_soon_threadsafe`). Without it `write_sync` works at once, on the caller's thread: for
    worker processes and tools that have no loop.
    """

    def __init__(self, root: Path, post: Post | None = None) -> None:
        self._root = Path(root)
        self._post = post
        self._worker: _Worker | None = None
        self._ahead: _Worker | None = None
        try:
            make_folder(self._root)
        except OSError as error:
            raise error_of(error, path=str(self._root), action="mkdir") from error

    def _at(self, path: str) -> Path:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise Unavailable("path leaves the folder", what=path)
        return self._root.joinpath(*parts)

    def submit(self, work: Callable[[], None], done: Callable[[ScrubjayError | None], None]) -> None:
        """Run `work` in the committing thread; `done` on the loop with None or the ScrubjayError it raised."""
        if self._post is None:
            done(_outcome(work))
            return
        try:
            self._worker = self._worker or _Worker(self._post, "disk")
        except Exhausted as error:
            done(error)
            return
        self._worker.put(work, done)

    def listdir(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self._at(path).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise error_of(error, path=path, action="list") from error

    def mkdir(self, path: str) -> None:
        try:
            make_folder(self._at(path))
        except OSError as error:
            raise error_of(error, path=path, action="mkdir") from error

    def open(self, path: str, *, create_size: int | None = None, head: bytes = b"") -> File:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create_size is not None else 0)
        try:
            descriptor = os.open(self._at(path), flags, 0o644)
        except OSError as error:
            raise error_of(error, path=path, action="open") from error
        if create_size:
            try:
                write_fully(descriptor, 0, [head])
                for offset in range(len(head), create_size, len(_ZEROS)):
                    write_fully(descriptor, offset, [memoryview(_ZEROS)[: create_size - offset]])
                os.fsync(descriptor)
            except OSError as error:
                os.close(descriptor)
                self._at(path).unlink(missing_ok=True)
                raise error_of(error, path=path, action="create") from error
        return RealFile(self, path, descriptor)

    def create_ahead(self, path: str, size: int, done: Callable[[File | ScrubjayError], None], *, head: bytes = b"") -> None:
        made: list[File] = []

        def finish(error: ScrubjayError | None) -> None:
            done(error if error is not None else made[0])

        def work() -> None:
            made.append(self._create_ahead(path, size, head))

        if self._post is None:
            finish(_outcome(work))
            return
        try:
            self._ahead = self._ahead or _Worker(self._post, "disk-ahead")
        except Exhausted as error:
            finish(error)
            return
        self._ahead.put(work, finish)

    def _create_ahead(self, path: str, size: int, head: bytes) -> RealFile:
        target = self._at(path)
        temporary = target.with_name(f".{target.name}.new")
        descriptor = -1
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            write_fully(descriptor, 0, [head])
            for offset in range(len(head), size, AHEAD_SYNC_BYTES):
                end = min(size, offset + AHEAD_SYNC_BYTES)
                write_fully(descriptor, offset, [memoryview(_ZEROS)[: end - at] for at in range(offset, end, len(_ZEROS))])
                os.fdatasync(descriptor)
            os.fsync(descriptor)
            if target.exists():
                raise FileExistsError(errno.EEXIST, "file exists")
            temporary.rename(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if descriptor >= 0:
                os.close(descriptor)
            raise error_of(error, path=path, action="create") from error
        file = RealFile(self, path, descriptor)
        try:
            self.sync_dir(path.rpartition("/")[0])
        except ScrubjayError:
            file.close()
            raise
        return file

    def rename_sync(self, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        def work() -> None:
            self.rename(source, target)
            self.sync_dir(target.rpartition("/")[0])

        self.submit(work, done)

    def remove_sync(self, path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        def work() -> None:
            self.remove(path)
            self.sync_dir(path.rpartition("/")[0])

        self.submit(work, done)

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def rename(self, source: str, target: str) -> None:
        try:
            self._at(source).rename(self._at(target))
        except OSError as error:
            raise error_of(error, path=source, action="rename") from error

    def remove(self, path: str) -> None:
        try:
            self._at(path).unlink(missing_ok=True)
        except OSError as error:
            raise error_of(error, path=path, action="remove") from error

    def remove_tree(self, path: str) -> None:
        try:
            shutil.rmtree(self._at(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise error_of(error, path=path, action="remove") from error

    def sync_dir(self, path: str) -> None:
        try:
            sync_folder(self._at(path))
        except OSError as error:
            raise error_of(error, path=path, action="sync folder") from error

    def free_bytes(self) -> int:
        facts = os.statvfs(self._root)
        return facts.f_bavail * facts.f_frsize

    def read_file(self, path: str) -> bytes | None:
        try:
            return self._at(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise error_of(error, path=path, action="read") from error

    def write_file(self, path: str, data: bytes) -> None:
        target = self._at(path)
        temporary = target.with_name(f".{target.name}.new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                write_fully(descriptor, 0, [data])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise error_of(error, path=path, action="write") from error
        self.sync_dir(path.rpartition("/")[0])

    def close(self) -> None:
        """Wait for what is under way; no callback comes after that is posted."""
        for worker in (self._worker, self._ahead):
            if worker is not None:
                worker.stop()
        self._worker = self._ahead = None


Job = tuple[Callable[[], None], Callable[[ScrubjayError | None], None]]


class _Worker:
    """One thread that does one thing after another and says so through `post`. A thread pool's futures and locks cost a small commit more than its bytes."""

    def __init__(self, post: Post, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=_serve, args=(self._jobs, post), name=name, daemon=True)
        with thread_limit():
            self._thread.start()
        weakref.finalize(self, self._jobs.put, None)  # the thread ends with its disk, also with one nobody closed

    def put(self, work: Callable[[], None], done: Callable[[ScrubjayError | None], None]) -> None:
        self._jobs.put((work, done))

    def stop(self) -> None:
        """Wait for what is under way."""
        self._jobs.put(None)
        self._thread.join()


def _serve(jobs: SimpleQueue[Job | None], post: Post) -> None:
    short_turns()  # whoever waits for a sync waits for this thread too
    while (job := jobs.get()) is not None:
        work, done = job
        try:
            outcome = _outcome(work)
        except Exception as error:  # noqa: BLE001 - a bug: whoever waits must hear of it, and the thread must live for the others
            outcome = Internal("work on the disk broke", cause=repr(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is going down, nobody waits
            post(partial(done, outcome))
        del job, work, done, outcome  # nothing of a finished job is kept alive by the wait for the next


def _outcome(work: Callable[[], None]) -> ScrubjayError | None:
    try:
        work()
    except ScrubjayError as error:
        return error
    return None
