"""`file://`: create-once objects in a folder, with the guarantees of a good object store.

An object is written under a temporary name, synced, hard-linked to its own name (which fails if the name is taken), and the folders above it are
synced: it exists whole and durable, or not at all. Temporary files live in `.tmp/` and are never listed; names that begin with a dot are refused.
Not covered: rot of the medium (the archive's own checksums find it) and a folder shared over a file system without atomic `link`.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NoReturn, TypeVar

from scrubjay.base.env import ListPage, ObjectInfo
from scrubjay.base.errors import Corrupt, DiskFull, Exists, Invalid, Missing, Unavailable, Unsafe
from scrubjay.base.older_versions import OneVersion
from scrubjay.base.real.folders import make_folder, sync_folder
from scrubjay.base.real.open_files import thread_limit

T = TypeVar("T")

KEY = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")
KEY_BYTES_MAX = 900
THREADS = 8
TEMPORARY = ".tmp"
TEMPORARY_AGE_S_MAX = 3600
"""A temporary file older than this was left by a process that died, and is removed."""
FOLDER_TRIES = 10
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_key(key: str) -> str:
    """`key` itself. Raises Invalid if it is no object key of ours."""
    if len(key) > KEY_BYTES_MAX or not KEY.fullmatch(key):
        raise Invalid("not an object key", key=key)
    return key


def _gone(root: Path, key: str) -> Unavailable:
    return Unavailable(
        "the archive's folder is not there",
        key=key,
        error_code="ArchiveGone",
        cause=str(root),
        next="put it back where it was (is its disk mounted?); no restart is needed",
    )


def _raise(error: OSError, key: str, *, writing: bool) -> NoReturn:
    if error.errno in _FULL:
        raise DiskFull("the archive's file system is full", key=key) from error
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) and not writing:
        raise Missing("no such object", what=key) from error
    if error.errno == errno.EIO and not writing:
        raise Corrupt("the medium cannot read the object", what="object", where=key) from error
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        raise Unavailable(
            "the archive's folder refuses us",
            key=key,
            error_code="StoreNotWritable" if writing else "StoreNotReadable",
            cause=str(error),
            next="mount it for writing, or give the server's user the right to it; no restart is needed",
        ) from error
    raise Unavailable("the archive's folder cannot be used", key=key, cause=str(error)) from error


class LocalStore(OneVersion):
    """One folder as an `ObjectStore`. Work runs in a few threads of its own, so a slow disk never blocks the loop.

    Its objects are regular files: what else lies there (a pipe, a device, a socket) is none.
    A folder that was there and is not any more (moved away, not mounted) is Unavailable, code ArchiveGone: never empty, and never made anew."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """create: a folder that is not there is a new archive, made by the first `put`. Else it must be there."""
        self.root = root
        self._known = not create
        self.url = root.absolute().as_uri()
        self._pool: ThreadPoolExecutor | None = None
        self._numbers = itertools.count()
        self._swept = False
        self._lock = threading.Lock()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="archive-file")
        with thread_limit():
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        return await future

    def close(self) -> None:
        """Let the threads go. The store may still be used: it makes new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    async def put(self, key: str, data: bytes) -> None:
        check_key(key)
        await self._run(lambda: self._put(key, data))

    async def get(self, key: str) -> bytes:
        check_key(key)
        return await self._run(lambda: self._read(key, 0, None))

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        check_key(key)
        if not 0 <= start <= end:
            raise Invalid("not a range", start=start, end=end)
        data = await self._run(lambda: self._read(key, start, end - start))
        if len(data) != end - start:
            raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=start + len(data))
        return data

    async def head(self, key: str) -> ObjectInfo | None:
        check_key(key)
        return await self._run(lambda: self._head(key))

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        return await self._run(lambda: self._list(prefix, after, limit))

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._run(lambda: self._delete(key))

    # --- on a thread ---

    def _look(self, key: str) -> None:
        """Raises Unavailable (ArchiveGone) if the folder must be there and is not."""
        if self.root.is_dir():
            self._known = True
        elif self._known:
            raise _gone(self.root, key)

    def _put(self, key: str, data: bytes) -> None:
        target = self.root / key
        temporary = self.root / TEMPORARY / f"{os.getpid()}-{next(self._numbers)}-{secrets.token_hex(8)}"
        try:
            self._look(key)
            self._sweep()
            self._known = True
            try:
                self._write(temporary, data)
                self._link(temporary, target)
            except FileExistsError:
                if target.is_dir():
                    raise Invalid("the key is a folder of other objects", key=key) from None
                # Whoever won may not have synced the folder yet; who is told "exists" may rely on it.
                sync_folder(target.parent)
                raise Exists("the object is already there", key=key) from None
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(target.parent)
        except NotADirectoryError as error:
            raise Invalid("another object is a prefix of the key", key=key) from error
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self._look(key)  # it went meanwhile
            if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise Unsafe("the file system has no hard links: create-once cannot be kept", key=key) from error
            _raise(error, key, writing=True)

    def _write(self, path: Path, data: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def _link(self, temporary: Path, target: Path) -> None:
        """Give the object its name; a folder that a deletion just took away is made again."""
        for _ in range(FOLDER_TRIES - 1):
            try:
                self._make_folders(target.parent)
                os.link(temporary, target)
            except FileNotFoundError:
                continue
            return
        self._make_folders(target.parent)
        os.link(temporary, target)

    def _make_folders(self, folder: Path) -> None:
        """Never the archive's own folder: one that goes between the look and this would be made anew, and written into."""
        missing = []
        while folder != self.root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            sync_folder(new.parent)

    def _sweep(self) -> None:
        """Once per process: make `.tmp/` (and a new archive's own folder, durably), remove what a dead writer left there."""
        with self._lock:
            folder = self.root / TEMPORARY
            if self._swept and folder.is_dir():
                return
            if not self._known:
                make_folder(self.root)
            folder.mkdir(exist_ok=True)
            oldest = time.time() - TEMPORARY_AGE_S_MAX
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):  # another process writes here too, and its object has got its name meanwhile
                    if entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink()
            self._swept = True

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        try:
            self._look(key)
            with open(self.root / key, "rb", opener=_at_once) as file:
                if not S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Missing("no such object", what=key)
                if start:
                    file.seek(start)
                return file.read() if length is None else file.read(length)
        except OSError as error:
            self._look(key)
            _raise(error, key, writing=False)

    def _head(self, key: str) -> ObjectInfo | None:
        path = self.root / key
        try:
            self._look(key)
            facts = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._look(key)
            return None
        except OSError as error:
            _raise(error, key, writing=False)
        return ObjectInfo(key, facts.st_size) if S_ISREG(facts.st_mode) else None

    def _list(self, prefix: str, after: str, limit: int) -> ListPage:
        found: list[ObjectInfo] = []
        try:
            self._look(prefix)
            for key, path in _walk(self.root, "", prefix, after):
                if len(found) == limit:
                    return ListPage(tuple(found), True)
                try:
                    facts = Path(path).stat()
                except FileNotFoundError:
                    continue  # deleted between the listing and now
                if S_ISREG(facts.st_mode):
                    found.append(ObjectInfo(key, facts.st_size))
            self._look(prefix)  # a folder that went meanwhile would read as "nothing more"
        except OSError as error:
            _raise(error, prefix, writing=False)
        return ListPage(tuple(found), False)

    def _delete(self, key: str) -> None:
        path = self.root / key
        try:
            self._look(key)
            path.unlink(missing_ok=True)
            folder = path.parent
            while folder != self.root and folder.is_dir():
                sync_folder(folder)
                folder.rmdir()  # an object store has no empty folders; fails with ENOTEMPTY where others are left
                folder = folder.parent
        except (NotADirectoryError, FileNotFoundError):
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                _raise(error, key, writing=True)
        self._look(key)  # where the folder went away meanwhile, what was not there may be there all the same


def _at_once(path: str, flags: int) -> int:
    """A pipe that nobody writes to would be waited for without end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _walk(folder: Path, base: str, prefix: str, after: str) -> Iterator[tuple[str, str]]:
    """Keys below `folder` (whose own key is `base`) in byte order: a folder sorts as its name with the slash behind it."""
    try:
        entries = [(entry.name + "/" if entry.is_dir() else entry.name, entry.path) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, path in sorted(entries):
        if name.startswith("."):
            continue
        key = base + name
        if name.endswith("/"):
            inside = key.startswith(prefix) or prefix.startswith(key)
            if inside and (key > after or after.startswith(key)):
                yield from _walk(Path(path), key, prefix, after)
        elif key.startswith(prefix) and key > after:
            yield key, path
