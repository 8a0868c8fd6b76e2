"""The files of the WAL that hold nothing: made ahead off the loop, recycled, removed when there are too many (docs/formats/wal.md).

A file is given out under a new, highest id; what an earlier life left in it is refused from then on, because batches carry the id. A recycled file gets its
new name when it is the next in line, at the latest before the first batch is written into it, in the order of the ids and each name durable before the next:
so what a crash leaves of dead files is always a run that reaches up to the files in use. The next in line stays the next: a mark may have named it.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Disk, File
from scrubjay.base.errors import Corrupt, DiskFull, ScrubjayError
from scrubjay.storage.wal.format import DATA_START, blank_head
from scrubjay.storage.wal.recover import file_name
from scrubjay.storage.wal.state import WalFile

SPARE_FILES_MAX = 4
"""Free files kept beside those the reserve needs. What more there are, after a long time without trimming, is removed."""
_TEMPORARY = "new.tmp"


Done = Callable[[ScrubjayError | None], None]


class FilePool:
    """free: in the order they are given out. arrived(files, error): a file came (1), or could not be made (0), outside of any call. limit: files of the WAL.

    Invariants: at most one file is being made ahead, at most one that was free is being removed, at most one gets a new name; ids are never used twice.
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
        self.removing = 0
        self._disk = disk
        self._directory = directory
        self._file_size = file_size
        self._limit = limit
        self._spare = spare
        self._last_id = last_id
        self._arrived = arrived
        self._coming = 0
        self._closed = False
        self._settling: WalFile | None = None
        self._awaited: Done | None = None

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
        handle = self._disk.open(temporary, create_size=self._file_size, head=blank_head(self._file_size))
        self._last_id += 1
        name = file_name(self._last_id)
        self._disk.rename(temporary, self._path(name))
        self._disk.sync_dir(self._directory)
        self.free.append(WalFile(self._last_id, name, handle, DATA_START, self._file_size))

    def within(self, used: int) -> int:
        """How many more files may be used until the limit is reached; below 0: it is passed. used: files that are not free."""
        return self._limit - used

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
                self.free.append(WalFile(id_, name, outcome, DATA_START, self._file_size))
                self._arrived(None)

        self._disk.create_ahead(self._path(name), self._file_size, made, head=blank_head(self._file_size))
        return True

    def take(self, above: int) -> WalFile:
        """The next free file, under an id above `above`. If that is a new name (`WalFile.old_name`), `settle` must be called before anything is written."""
        file = self.free.pop(0)
        if file.id <= above:
            self._rename(file)
        file.end = DATA_START
        file.stated = False
        return file

    def _rename(self, file: WalFile) -> None:
        self._last_id += 1
        file.old_name = file.name
        file.id, file.name = self._last_id, file_name(self._last_id)

    def following(self, above: int) -> int:
        """The id of the next in line, if it is above `above` and durable under its name; else 0."""
        file = self.free[0] if self.free else None
        return file.id if file is not None and file.id > above and not file.old_name else 0

    def lead(self, id_: int) -> None:
        """Let this file be the next in line, if it is free: a mark names it."""
        self.free.sort(key=lambda file: file.id != id_)

    def settle_ahead(self, above: int) -> None:
        """Give the next in line the name that it will be written under, beside the commits. An error is told by `arrived`."""
        if not self.free or self._closed or self.free[0].id > above:
            return
        self._rename(self.free[0])
        self._settle(self.free[0])

    def settle(self, file: WalFile, done: Done) -> None:
        """Give the file its new name on the disk, durably, off the loop; at once if it has it."""
        if not file.old_name:
            done(None)
            return
        self._awaited = done
        if self._settling is not file:
            self._settle(file)

    def _settle(self, file: WalFile) -> None:
        self._settling = file

        def settled(error: ScrubjayError | None) -> None:
            self._settling = None
            if error is None:
                file.old_name = ""
            done, self._awaited = self._awaited, None
            if done is not None:
                done(error)
            elif error is not None:  # which of its names it has is not known
                self._arrived(Corrupt("a file of the WAL could not be renamed", what="wal", where=file.name, cause=str(error)))

        self._disk.rename_sync(self._path(file.old_name), self._path(file.name), settled)

    def shrink(self, above: int) -> bool:
        """Remove one free file if there are more than are worth keeping. True if that began: the caller counts one free file less."""
        if self.removing or self._closed or len(self.free) <= self._spare:
            return False
        named = self.free[0].id > above  # or is being renamed: it stays
        file = min(self.free[named:], key=lambda one: one.id)
        self.free.remove(file)
        self.remove(file)
        return True

    def remove(self, file: WalFile) -> None:
        """Take a file that is neither free nor in use off the disk."""
        self.removing += 1

        def removed(error: ScrubjayError | None) -> None:
            self.removing -= 1
            file.handle.close()
            if error is not None:
                self._arrived(error)

        self._disk.remove_sync(self._path(file.name), removed)

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
