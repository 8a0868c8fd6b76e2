"""The files of the WAL that hold nothing: made ahead off the loop, recycled, removed when there are too many (docs/formats/wal.md).

A file is given out under a new, highest id; what an earlier life left in it is refused from then on, because batches carry the id. A recycled file gets its
new name just before the first batch is written into it, in the order of the ids and each name durable before the next: so what a crash leaves of dead
files is always a run that reaches up to the files in use.
"""

from __future__ import annotations

from collections.abc import Callable

from base.env import Disk, File
from base.errors import DiskFull, ScrubjayError
from storage.wal.format import DATA_START
from storage.wal.recover import file_name
from storage.wal.state import WalFile

SPARE_FILES_MAX = 4
"""Free files kept beside those the reserve needs. What more there are, after a long time without trimming, is removed."""
_TEMPORARY = "new.tmp"


class FilePool:
    """free: in the order they are given out. arrived(files, error): a file came (1), or could not be made (0), outside of any call. limit: files of the WAL.

    Invariants: at most one file is being made ahead, at most one is being removed; ids are never used twice.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        *,
        file_size: int,
        limit: int,
        spare: int,
        last_id: int,
        arrived: Callable[[ScrubjayError | None], None],
    ) -> None:
        self.free: list[WalFile] = []
        self.removing = False
        self._disk = disk
        self._directory = directory
        self._file_size = file_size
        self._limit = limit
        self._spare = spare
        self._last_id = last_id
        self._arrived = arrived
        self._coming = 0
        self._closed = False

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def make(self, used: int, *, beyond: bool = False) -> None:
        """Make one file now, while the caller waits. used: files that are not free. beyond: the limit does not count.

        Raises DiskFull at the limit or on a full disk.
        """
        if not beyond and used + len(self.free) + self._coming + self.removing >= self._limit:
            raise DiskFull("the WAL is at its limit", limit_bytes=self._limit * self._file_size)
        temporary = self._path(_TEMPORARY)
        if self._disk.exists(temporary):
            self._disk.remove(temporary)
        handle = self._disk.open(temporary, create_size=self._file_size)
        self._last_id += 1
        name = file_name(self._last_id)
        self._disk.rename(temporary, self._path(name))
        self._disk.sync_dir(self._directory)
        self.free.append(WalFile(self._last_id, name, handle, DATA_START))

    def make_ahead(self, used: int) -> bool:
        """Make one file while others are written, unless one is free or on its way, or the limit is reached. True if that began."""
        if self.free or self._coming or self._closed or used + self._coming + self.removing >= self._limit:
            return False
        self._last_id += 1
        id_, name = self._last_id, file_name(self._last_id)
        self._coming = 1

        def made(outcome: File | ScrubjayError) -> None:
            self._coming = 0
            if isinstance(outcome, ScrubjayError):
                self._arrived(outcome)
            elif self._closed:
                outcome.close()
            else:
                self.free.insert(0, WalFile(id_, name, outcome, DATA_START))
                self._arrived(None)

        self._disk.create_ahead(self._path(name), self._file_size, made)
        return True

    def take(self, above: int) -> WalFile:
        """The next free file, under an id above `above`. If that is a new name (`WalFile.old_name`), `settle` must be called before anything is written."""
        file = self.free.pop(0)
        if file.id <= above:
            self._last_id += 1
            file.old_name = file.name
            file.id, file.name = self._last_id, file_name(self._last_id)
        file.end = DATA_START
        file.stated = False
        return file

    def settle(self, file: WalFile, done: Callable[[ScrubjayError | None], None]) -> None:
        """Give the file its new name on the disk, durably, off the loop; at once if it has it."""
        old, file.old_name = file.old_name, ""
        if not old:
            done(None)
            return
        self._disk.rename_sync(self._path(old), self._path(file.name), done)

    def shrink(self) -> bool:
        """Remove one free file if there are more than are worth keeping. True if that began: the caller counts one free file less."""
        if self.removing or self._closed or len(self.free) <= self._spare:
            return False
        file = min(self.free, key=lambda one: one.id)
        self.free.remove(file)
        self.removing = True

        def removed(error: ScrubjayError | None) -> None:
            self.removing = False
            file.handle.close()
            if error is not None:
                self._arrived(error)

        self._disk.remove_sync(self._path(file.name), removed)
        return True

    def close(self) -> None:
        self._closed = True
        for file in self.free:
            file.handle.close()


def clean(disk: Disk, directory: str) -> None:
    """Remove what a crash left half made, and make the folder's entries durable: a process may have been killed between a rename and its sync."""
    for name in disk.listdir(directory):
        if name == _TEMPORARY or (name.startswith(".") and name.endswith(".new")):
            disk.remove(f"{directory}/{name}")
    disk.sync_dir(directory)
