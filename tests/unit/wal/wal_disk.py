"""A disk in memory for WAL tests: what was synced and what was not are apart, and a test decides what of the unsynced survives a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from scrubjay.base.env import File
from scrubjay.base.errors import Corrupt, DiskFull, ScrubjayError
from scrubjay.storage.wal.wal import Wal

Buffer = bytes | bytearray | memoryview


class Content:
    def __init__(self, size: int = 0) -> None:
        self.synced = bytearray(size)
        self.pending: list[tuple[int, bytes]] = []

    def view(self) -> bytearray:
        data = bytearray(self.synced)
        for offset, chunk in self.pending:
            data[offset : offset + len(chunk)] = chunk
        return data


class MemoryFile:
    def __init__(self, disk: MemoryDisk, content: Content) -> None:
        self.disk = disk
        self.content = content

    def pread(self, offset: int, length: int) -> bytes:
        if not self.content.pending:
            return bytes(self.content.synced[offset : offset + length])
        return bytes(self.content.view()[offset : offset + length])

    def write(self, offset: int, data: Buffer) -> None:
        self.content.pending.append((offset, bytes(data)))

    def sync(self) -> None:
        if self.disk.fail_sync:
            raise Corrupt("sync failed")
        self.content.synced = self.content.view()
        self.content.pending = []

    def write_sync(self, offset: int, chunks: Sequence[Buffer], done: Callable[[ScrubjayError | None], None]) -> None:
        self.write(offset, b"".join(bytes(chunk) for chunk in chunks))
        self.disk.syncs += 1
        if self.disk.fail_sync:
            done(Corrupt("sync failed"))
            return
        if self.disk.hold:
            self.disk.held.append((self, done))
            return
        self.sync()
        done(None)

    def size(self) -> int:
        return len(self.content.synced)

    def close(self) -> None:
        pass


class MemoryDisk:
    """hold: write_sync is not finished until `finish`. hold_ahead: neither is create_ahead until `finish_ahead`. limit: bytes of all files."""

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}
        self.hold = False
        self.held: list[tuple[MemoryFile, Callable[[ScrubjayError | None], None]]] = []
        self.fail_sync = False
        self.limit = 1 << 40
        self.hold_ahead = False
        self.held_ahead: list[tuple[str, int, Callable[[File | ScrubjayError], None], bytes]] = []
        self.ahead = 0
        """Files asked for ahead."""
        self.made_at_once = 0
        """Files made while the caller waits."""
        self.syncs = 0

    def finish(self) -> None:
        held, self.held = self.held, []
        for file, done in held:
            file.sync()
            done(None)

    def after_crash(self, keep: Callable[[str, Content], Iterable[tuple[int, bytes]]] = lambda name, content: ()) -> MemoryDisk:
        """The disk as found after a power loss. keep: what of a file's unsynced writes made it to the platter."""
        disk = MemoryDisk()
        for name, content in self.files.items():
            found = Content()
            found.synced = bytearray(content.synced)
            for offset, chunk in keep(name, content):
                found.synced[offset : offset + len(chunk)] = chunk
            disk.files[name] = found
        return disk

    def without_dead(self, wal: Wal) -> MemoryDisk:
        """As `copy`, and what is free was recycled or removed: the oldest file there is holds something the log needs."""
        disk = self.copy()
        for file in wal._pool.free:
            if file.id < wal._files[-1].id:
                disk.remove(f"wal/{file.name}")
        return disk

    def copy(self) -> MemoryDisk:
        """As found after a process kill: everything written is there."""
        return self.after_crash(lambda name, content: content.pending)

    def listdir(self, path: str) -> list[str]:
        return sorted(name[len(path) + 1 :] for name in self.files if name.startswith(path + "/"))

    def mkdir(self, path: str) -> None:
        pass

    def open(self, path: str, *, create_size: int | None = None, head: bytes = b"") -> MemoryFile:
        if create_size is not None:
            self.made_at_once += 1
            assert path not in self.files
            if sum(len(content.synced) for content in self.files.values()) + create_size > self.limit:
                raise DiskFull("no room")
            self.files[path] = Content(create_size)
            self.files[path].synced[: len(head)] = head
        return MemoryFile(self, self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def remove(self, path: str) -> None:
        del self.files[path]

    def remove_tree(self, path: str) -> None:
        for name in [name for name in self.files if name.startswith(path + "/")]:
            del self.files[name]

    def sync_dir(self, path: str) -> None:
        pass

    def create_ahead(self, path: str, size: int, done: Callable[[File | ScrubjayError], None], *, head: bytes = b"") -> None:
        self.ahead += 1
        if self.hold_ahead:
            self.held_ahead.append((path, size, done, head))
            return
        self.made_at_once -= 1
        try:
            done(self.open(path, create_size=size, head=head))
        except DiskFull as error:
            done(error)

    def finish_ahead(self) -> None:
        held, self.held_ahead, self.hold_ahead = self.held_ahead, [], False
        for path, size, done, head in held:
            self.create_ahead(path, size, done, head=head)

    def rename_sync(self, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        self.rename(source, target)
        done(None)

    def remove_sync(self, path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        self.remove(path)
        done(None)

    def free_bytes(self) -> int:
        return 1 << 40

    def read_file(self, path: str) -> bytes | None:
        return bytes(self.files[path].view()) if path in self.files else None

    def write_file(self, path: str, data: bytes) -> None:
        content = Content()
        content.synced = bytearray(data)
        self.files[path] = content
