"""A disk that keeps synced and unsynced bytes apart.

Power loss keeps, of what was not synced, nothing, a prefix of the writes, or a random subset of 512-byte sectors (a write may be torn); directory entries that were not
synced come back as they were or as they became, each by itself; a folder that was moved or removed may be back with all that is in it until its parent is synced. A failed sync drops its pages and leaves
them looking clean: the next process that opens the file reads them, and may sync it again, until power loss takes them. Rot flips bits of synced bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scrubjay.base.env import File
from scrubjay.base.errors import Corrupt, DiskFull, Exists, Missing, ScrubjayError
from scrubjay.sim.events import Events, Life

SECTOR = 512


@dataclass(slots=True)
class DiskFaults:
    """sync_us: how long a sync takes. slow, slow_us: some take much longer. sync_error: probability that a sync fails."""

    sync_us: tuple[int, int] = (150, 1_500)
    slow: float = 0.0
    slow_us: tuple[int, int] = (20_000, 400_000)
    sync_error: float = 0.0


class _Inode:
    __slots__ = ("broken", "data", "pending", "synced", "unreadable")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.synced = bytearray(size)
        self.pending: list[tuple[int, bytes]] = []
        self.broken = False
        self.unreadable: list[tuple[int, int]] = []


def _apply(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


class SimFile:
    """base.env.File."""

    def __init__(self, disk: SimDisk, path: str, inode: _Inode, life: Life | None) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._life = life

    def pread(self, offset: int, length: int) -> bytes:
        for start, end in self._inode.unreadable:
            if offset < end and start < offset + length:
                raise Corrupt("read failed", what="file", where=f"{self._path}:{offset}")
        return bytes(self._inode.data[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._disk.check_alive(self._life)
        self._disk.charge(max(0, offset + len(data) - len(self._inode.data)))
        raw = bytes(data)
        _apply(self._inode.data, offset, raw)
        self._inode.pending.append((offset, raw))

    def sync(self) -> None:
        self._disk.check_alive(self._life)
        error = self._sync(len(self._inode.pending))
        if error is not None:
            raise error

    def _sync(self, count: int) -> ScrubjayError | None:
        inode = self._inode
        if inode.broken or self._disk.draws_sync_error():
            # Pages are dropped and look clean: a second sync "succeeds" on a real disk, so the file must not be written again.
            inode.broken = True
            del inode.pending[:count]
            return Corrupt("sync failed", what="file", where=self._path)
        for offset, data in inode.pending[:count]:
            _apply(inode.synced, offset, data)
        del inode.pending[:count]
        return None

    def write_sync(
        self, offset: int, chunks: Sequence[bytes | bytearray | memoryview], done: Callable[[ScrubjayError | None], None]
    ) -> None:
        life = self._life
        assert life is not None
        error: ScrubjayError | None = None
        try:
            self.write(offset, b"".join(chunks))
        except DiskFull as full:
            error = full
        mark = self._inode.pending[-1] if self._inode.pending else None

        def finish() -> None:
            outcome = error
            if outcome is None and life.alive:
                # Covers what was written up to this call; later writes may have come meanwhile.
                pending = self._inode.pending
                count = next((place + 1 for place, write in enumerate(pending) if write is mark), 0)
                outcome = self._sync(count)
            life.run(lambda: done(outcome))

        self._disk.world.after(self._disk.sync_time_us(), finish)

    def size(self) -> int:
        return len(self._inode.data)

    def close(self) -> None:
        """Nothing to let go of."""


class SimDisk:
    """base.env.Disk. It outlives the processes; `attach` gives it to the next one.

    More than 25 methods, more than 15 fields: the port of a disk, twice (now and durable), and the faults that strike it with their counts.
    """

    def __init__(self, world: Events, name: str, *, capacity: int) -> None:
        self.world = world
        self.name = name
        self.capacity = capacity
        self.faults = DiskFaults()
        self._draw = world.stream(name)
        self._entries: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._folders: dict[str, None] = {"": None}
        self._durable_folders: dict[str, None] = {"": None}
        self._life: Life | None = None
        self.syncs = self.sync_errors = self.torn = 0
        self.entries_lost = self.refused = 0
        self._folder_busy_until = 0

    # --- what the world does to it ---

    def attach(self, life: Life) -> None:
        """Another process: it opens every file anew, and what a failed sync left behind looks clean to it."""
        self._life = life
        for inode in self._entries.values():
            inode.broken = False

    def check_alive(self, life: Life | None) -> None:
        assert life is None or life.alive, f"{self.name}: a dead process writes"

    def sync_time_us(self) -> int:
        self.syncs += 1
        low, high = self.faults.sync_us
        if self.faults.slow and self._draw.chance(self.faults.slow):
            low, high = self.faults.slow_us
        return self._draw.between(low, high)

    def draws_sync_error(self) -> bool:
        if self.faults.sync_error and self._draw.chance(self.faults.sync_error):
            self.sync_errors += 1
            return True
        return False

    def charge(self, growth: int) -> None:
        if growth > self.free_bytes():
            self.refused += 1
            raise DiskFull("no space left", disk=self.name)

    def power_loss(self) -> None:
        """Keep what was synced, and of the rest what chance keeps."""
        draw = self._draw
        entries: dict[str, _Inode] = {}
        self._lose_folders()
        for path in sorted({**self._durable, **self._entries}):
            now, then = self._entries.get(path), self._durable.get(path)
            kept = now if now is then or draw.chance(0.5) else then
            self.entries_lost += now is not None and kept is not now
            if kept is not None and path.rpartition("/")[0] in self._folders:
                entries[path] = kept
        for inode in dict.fromkeys(entries.values()):
            self._lose(inode)
        self._entries = entries
        self._durable = dict(entries)

    def _lose_folders(self) -> None:
        """Each folder is as it was or as it became; what lies in one that is gone is gone too."""
        kept: dict[str, None] = {"": None}
        for path in sorted({**self._durable_folders, **self._folders}):
            now, then = path in self._folders, path in self._durable_folders
            there = now if now is then or self._draw.chance(0.5) else then
            self.entries_lost += now and not there
            if path and there and path.rpartition("/")[0] in kept:
                kept[path] = None
        self._folders, self._durable_folders = kept, dict(kept)

    def _lose(self, inode: _Inode) -> None:
        draw, pending = self._draw, inode.pending
        if pending:
            mode = draw.between(0, 3)
            if mode == 1:
                for offset, data in pending:
                    _apply(inode.synced, offset, data)
            elif mode == 2:
                for offset, data in pending[: draw.between(0, len(pending))]:
                    _apply(inode.synced, offset, data)
            elif mode == 3:
                self.torn += 1
                self._tear(inode)
        inode.pending = []
        inode.data = bytearray(inode.synced)

    def _tear(self, inode: _Inode) -> None:
        """Each 512-byte sector of each write is kept or lost by itself."""
        for offset, data in inode.pending:
            at = offset
            while at < offset + len(data):
                end = min((at // SECTOR + 1) * SECTOR, offset + len(data))
                if self._draw.chance(0.5):
                    _apply(inode.synced, at, data[at - offset : end - offset])
                at = end

    def flip_bit(self, path: str, *, start: int = 0, end: int | None = None) -> int | None:
        """Rot: flip one bit of the file's bytes [start, end). Returns the offset, None if there is nothing to flip."""
        inode = self._entries.get(path)
        stop = min(len(inode.data), end if end is not None else 1 << 62) if inode is not None else 0
        if inode is None or stop <= start:
            return None
        at = self._draw.between(start, stop - 1)
        bit = 1 << self._draw.between(0, 7)
        inode.data[at] ^= bit
        if at < len(inode.synced):
            inode.synced[at] ^= bit
        return at

    def make_unreadable(self, path: str, start: int, end: int) -> None:
        """Reads that touch [start, end) fail from now on."""
        self._entries[path].unreadable.append((start, end))

    def used(self, path: str) -> int:
        """Bytes of a file up to the last that is not zero."""
        inode = self._entries.get(path)
        return 0 if inode is None else len(bytes(inode.data).rstrip(b"\0"))

    def lose_end(self, path: str) -> bool:
        """A broken disk: from some byte on, what was synced is zeros. False if there is nothing to lose."""
        used = self.used(path)
        if not used:
            return False
        inode, start = self._entries[path], self._draw.between(0, used - 1)
        for data in (inode.data, inode.synced):
            data[start:] = bytes(len(data) - start) if len(data) > start else b""
        return True

    def paths(self) -> list[str]:
        return sorted(self._entries)

    def wipe(self) -> None:
        """A new, empty disk."""
        self._entries, self._durable, self._folders, self._durable_folders = {}, {}, {"": None}, {"": None}

    # --- base.env.Disk ---

    def listdir(self, path: str) -> list[str]:
        prefix = f"{path.rstrip('/')}/" if path not in {"", "."} else ""
        names = {
            one[len(prefix) :].split("/", 1)[0]: None
            for one in (*self._entries, *self._folders)
            if one.startswith(prefix) and one != prefix
        }
        return sorted(name for name in names if name)

    def mkdir(self, path: str) -> None:
        parts = path.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self._folders["/".join(parts[:count])] = self._durable_folders["/".join(parts[:count])] = None

    def open(self, path: str, *, create_size: int | None = None, head: bytes = b"") -> SimFile:
        inode = self._entries.get(path)
        if create_size is not None:
            if inode is not None:
                raise Exists("file is there", key=path)
            self._need_folder(path)
            self.charge(create_size)
            inode = self._entries[path] = _Inode(create_size)
            inode.data[: len(head)] = inode.synced[: len(head)] = head
        if inode is None:
            raise Missing("no such file", what=path)
        return SimFile(self, path, inode, self._life)

    def _need_folder(self, path: str) -> None:
        if path.rpartition("/")[0] not in self._folders:
            raise Missing("no such folder", what=path.rpartition("/")[0])

    def exists(self, path: str) -> bool:
        return path in self._entries or path.rstrip("/") in self._folders

    def rename(self, source: str, target: str) -> None:
        self._need_folder(target)
        if source in self._entries:
            self._entries[target] = self._entries.pop(source)
            return
        if source not in self._folders:
            raise Missing("no such file", what=source)
        for path in [one for one in self._entries if one.startswith(source + "/")]:
            self._entries[target + path[len(source) :]] = self._entries.pop(path)
        for path in [one for one in self._folders if one == source or one.startswith(source + "/")]:
            self._folders[target + path[len(source) :]] = self._folders.pop(path)

    def remove(self, path: str) -> None:
        self._entries.pop(path, None)

    def remove_tree(self, path: str) -> None:
        for one in [one for one in self._entries if one == path or one.startswith(path + "/")]:
            del self._entries[one]
        for one in [one for one in self._folders if one == path or one.startswith(path + "/")]:
            del self._folders[one]

    def sync_dir(self, path: str) -> None:
        """Entries directly inside `path` are durable as they are now."""
        folder = "" if path in {"", "."} else path.rstrip("/")
        for one in sorted({**self._entries, **self._durable}):
            if one.rpartition("/")[0] == folder:
                inode = self._entries.get(one)
                if inode is None:
                    self._durable.pop(one, None)
                else:
                    self._durable[one] = inode
        for one in sorted({**self._folders, **self._durable_folders}):
            if one and one.rpartition("/")[0] == folder:
                if one in self._folders:
                    self._durable_folders[one] = None
                else:
                    self._durable_folders.pop(one, None)

    def create_ahead(self, path: str, size: int, done: Callable[[File | ScrubjayError], None], *, head: bytes = b"") -> None:
        life = self._life
        assert life is not None
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.new"
        self._entries[temporary] = _Inode(self._draw.between(0, min(size, self.free_bytes())))  # half made, if the process dies now

        def finish() -> None:
            if not life.alive:
                return
            self._entries.pop(temporary, None)
            outcome: File | ScrubjayError
            try:
                outcome = self.open(path, create_size=size, head=head)
                self.sync_dir(folder)
            except ScrubjayError as error:
                outcome = error
            # The process may die when the file is there and nobody has been told.
            self.world.after(self._draw.between(0, 2_000), lambda: life.run(lambda: done(outcome)))

        self.world.after(self.sync_time_us() * 8, finish)

    def rename_sync(self, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        self._change_folder(lambda: self.rename(source, target), target, done)

    def remove_sync(self, path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        self._change_folder(lambda: self.remove(path), path, done)

    def _change_folder(self, change: Callable[[], None], path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        """One after another, each durable before the next; the process may die when it is done and nobody has been told."""
        life = self._life
        assert life is not None

        def finish() -> None:
            if not life.alive:
                return
            outcome: ScrubjayError | None = None
            try:
                change()
                self.sync_dir(path.rpartition("/")[0])
            except ScrubjayError as error:
                outcome = error
            self.world.after(self._draw.between(0, 500), lambda: life.run(lambda: done(outcome)))

        self._folder_busy_until = max(self._folder_busy_until + 1, self.world.now + self.sync_time_us())
        self.world.after(self._folder_busy_until - self.world.now, finish)

    def free_bytes(self) -> int:
        return max(0, self.capacity - sum([len(inode.data) for inode in self._entries.values()]))

    def read_file(self, path: str) -> bytes | None:
        inode = self._entries.get(path)
        return None if inode is None else SimFile(self, path, inode, self._life).pread(0, len(inode.data))

    def write_file(self, path: str, data: bytes) -> None:
        self._need_folder(path)
        self.charge(len(data))
        inode = _Inode(0)
        inode.data[:] = data
        inode.synced[:] = data
        self._entries[path] = self._durable[path] = inode
