"""The data folder as a place, and the lock on it: one process at a time.

Taken before anything heavy is imported: how long a start takes is counted from here.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from scrubjay.base.errors import DiskFull, Invalid, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.folders import make_folder, sync_folder

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""New each time a machine starts, and of that machine alone: a folder that was copied to another, or restored there, is no place of this one."""


def data_folder(text: str) -> Path:
    """The data folder as an absolute path, links followed. Raises Invalid, also for a name that is no UTF-8: it could not be told to workers, nor in JSON."""
    try:
        path = os.path.realpath(text)
        path.encode()
        return Path(path)
    except (OSError, ValueError) as error:
        raise unusable(Path(text), error) from error


_NO_FOLDER = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def unusable(folder: Path, error: OSError | ValueError) -> ScrubjayError:
    """Why `folder` cannot be the data folder."""
    found = (
        "a name that is no UTF-8"
        if isinstance(error, UnicodeError)
        else (error.strerror if isinstance(error, OSError) else None) or str(error)
    )
    facts = {"asked": f"--data {folder}", "found": found}
    if isinstance(error, ValueError) or error.errno in _NO_FOLDER:
        return Invalid("the data folder cannot be a folder", **facts, next="give a folder, or a place where one can be made, with --data")
    if error.errno in _NO_ROOM:
        return DiskFull("no room for the data folder", **facts, next="make room, or give another folder with --data")
    step = "let the user that runs it write there, or give another folder with --data"
    return Unavailable("the data folder cannot be used", **facts, next=step)


class FolderLock:
    """Holds the data folder for this process; the kernel lets go of it when the process ends, however it ends. Raises Unsafe (exit 4) if another process has
    it, Invalid (64) if it cannot be a folder, DiskFull or Unavailable (1) if the system refuses it.

    alone_since_us: boot time at which nobody else could have been serving from the folder any more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            make_folder(folder)
            new = not (folder / "lock").exists()
            self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if new:
                sync_folder(folder)
        except (OSError, ValueError) as error:
            raise unusable(folder, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise unusable(folder, error) from error
            raise Unsafe(
                "the data folder is in use by another process",
                asked=f"--data {folder}",
                found="another process holds its lock",
                next="stop that process, or give another folder with --data",
            ) from error
        self.alone_since_us = RealClock().boot_us()

    @property
    def place(self) -> str:
        """Names this lock as no other is named while this machine is up: whoever else had it is dead. "" if the system does not say."""
        try:
            found = os.fstat(self._file)
            return f"{BOOT_ID.read_text('ascii').strip()}:{found.st_dev:x}:{found.st_ino:x}"
        except (OSError, ValueError):
            return ""

    def release(self) -> None:
        os.close(self._file)
