"""The ports through which everything above `base.real` meets the world.

Two styles, and only these (docs/adr/0002-two-styles.md):
- *state machines* (consensus, replica, WAL, node) are synchronous: calls in, callbacks out, never a coroutine;
- *coordinators* (archive agent, scrub, restore, table life cycle) are coroutines that await nothing but what `Tasks` hands out, so the
  simulator can run them from its own event heap. They never import asyncio.

`base.real` implements the ports on asyncio, files and S3; `sim` implements them on virtual time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Clock(Protocol):
    """Time. Integers in microseconds, so that a run replays exactly."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch; may jump."""
        ...

    def boot_us(self) -> int:
        """CLOCK_BOOTTIME in microseconds: never goes back, counts suspension. Leases are measured on it."""
        ...


class Rand(Protocol):
    """Randomness and ids."""

    def u64(self) -> int: ...

    def uuid(self) -> str:
        """A fresh random UUID, canonical text."""
        ...

    def uniform(self, low: float, high: float) -> float: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Future(Protocol[T]):
    """A value that comes later. Awaitable once or often; the first result or exception set wins, later ones must not be set (`done()` tells)."""

    def done(self) -> bool: ...
    def result(self) -> T: ...
    def set_result(self, value: T, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...
    def add_done_callback(self, callback: Callable[[Any], object], /) -> None: ...
    def __await__(self) -> Generator[Any, None, T]: ...


class Task(Protocol[T_co]):
    """A running coroutine. `cancel()` raises `Tasks.Cancelled` at its next await."""

    def done(self) -> bool: ...
    def cancel(self) -> object: ...
    def result(self) -> T_co: ...
    def __await__(self) -> Generator[Any, None, T_co]: ...


class FallenLoop(NamedTuple):
    """A loop that met a bug and was taken up again. error: the latest. since_us: of the first, on the wall clock. times: how often it fell since."""

    name: str
    error: str
    since_us: int
    times: int


class Tasks(Protocol):
    """Who runs what when. One thread: nothing here needs a lock."""

    @property
    def Cancelled(self) -> type[BaseException]:  # noqa: N802  a class
        """What is raised in a coroutine whose task is cancelled."""
        ...

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run after the present turn."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...

    def future(self) -> Future[Any]: ...

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        """Run a coroutine. An exception nobody awaits is logged under `name`, never lost."""
        ...

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> Task[None]:
        """Run a loop that goes on for as long as the process: if it falls over a bug it is told of, and taken up again (`base.kept_loops`). name: no other's."""
        ...

    def fallen(self) -> Sequence[FallenLoop]:
        """Kept loops that fell and do not go well yet."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]: ...

    def blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run `work` off the loop (a thread). Only for calls that let the GIL go for long (sync, hash of >= 1 MiB, zstd). The simulator runs it inline."""
        ...


class File(Protocol):
    """One open file. Offsets and lengths in bytes."""

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes unless the file ends before. Raises Corrupt on an I/O error (EIO)."""
        ...

    def write_sync(
        self, offset: int, chunks: Sequence[bytes | bytearray | memoryview], done: Callable[[ScrubjayError | None], None]
    ) -> None:
        """Write `chunks` one after another from `offset`, then make them durable (fdatasync), off the loop; `done` runs on the loop, once.

        done(None): durable. done(DiskFull | Corrupt): nothing is known about the range; after a failed *sync* the file must not be written again.
        """
        ...

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write at once, not durable until `sync`. Raises DiskFull or Corrupt."""
        ...

    def sync(self) -> None:
        """fdatasync, on the caller's thread. Raises Corrupt; the file must not be written again after that."""
        ...

    def size(self) -> int: ...
    def close(self) -> None: ...


class Disk(Protocol):
    """A node's own folder. Paths are relative, with forward slashes. Directory entries are durable only after `sync_dir`."""

    def listdir(self, path: str) -> list[str]:
        """Names, sorted. Empty if the folder does not exist."""
        ...

    def mkdir(self, path: str) -> None:
        """With parents; no error if it exists. Durable when it returns."""
        ...

    def open(self, path: str, *, create_size: int | None = None, head: bytes = b"") -> File:
        """Open for reading and writing. create_size: the file must not exist; it is made with that many real zero bytes (not a hole), synced.

        head: a new file begins with these bytes, at most create_size, in place of zeros.
        """
        ...

    def exists(self, path: str) -> bool: ...
    def rename(self, source: str, target: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def remove_tree(self, path: str) -> None: ...
    def sync_dir(self, path: str) -> None: ...

    def create_ahead(self, path: str, size: int, done: Callable[[File | ScrubjayError], None], *, head: bytes = b"") -> None:
        """Make a file as `open` with create_size and head does, off the loop and beside the `write_sync`s; `done` runs on the loop, once.

        Under `path` it appears whole and durable or not at all; a crash may leave `.<name>.new` behind. done(Exists) if `path` is there, else as `open`.
        """
        ...

    def rename_sync(self, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        """Rename a file and make that durable, off the loop, in order with `write_sync`, `rename_sync` and `remove_sync`; `done` runs on the loop, once."""
        ...

    def remove_sync(self, path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        """Remove a file and make that durable, like `rename_sync`. No error if it is not there."""
        ...

    def free_bytes(self) -> int: ...

    def read_file(self, path: str) -> bytes | None:
        """Whole content, None if it does not exist."""
        ...

    def write_file(self, path: str, data: bytes) -> None:
        """Atomic and durable: temporary name, sync, rename, sync of the folder."""
        ...


class Network(Protocol):
    """Frames between nodes: may be lost, delayed, doubled or reordered across reconnects, never altered (the codec checks a CRC)."""

    def send(self, to: NodeName, frame: bytes) -> None:
        """Never blocks, never raises; drops when the peer is gone or its queue bound is reached."""
        ...

    def listen(self, receive: Callable[[NodeName, bytes], None]) -> None:
        """Register the one receiver: receive(sender, frame)."""
        ...


class ObjectInfo(NamedTuple):
    key: str
    size: int


class ListPage(NamedTuple):
    """objects in ascending key order (by UTF-8 bytes); `more` if another page follows after the last key."""

    objects: tuple[ObjectInfo, ...]
    more: bool


class Recalled(NamedTuple):
    """An object that was deleted or written over, and of which an older version is read. kind: hole | unreadable (`base.errors`). detail: names the version."""

    kind: str
    detail: str


class ObjectStore(Protocol):
    """Create-once objects under one root. Keys use [A-Za-z0-9._=/-] and no key is a '/'-prefix of another.

    Errors: Exists (create lost), Missing (no such key), Unavailable (retry later), Unsafe (the store lacks a guarantee), Corrupt (bytes failed a check).
    """

    url: str

    async def put(self, key: str, data: bytes) -> None:
        """Create `key` with a content checksum that the store verifies. Raises Exists if it is there. Durable when it returns."""
        ...

    async def get(self, key: str) -> bytes: ...

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes [start, end). Raises Corrupt if fewer come."""
        ...

    async def head(self, key: str) -> ObjectInfo | None: ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        """Keys that start with `prefix` and are greater than `after`, in byte order, at most `limit`: a page may
        be shorter though `more` follow."""
        ...

    async def delete(self, key: str) -> None:
        """No error if it is not there. All versions of it go. Raises Unsafe (`error_code` ObjectLocked) if the store keeps it locked: it stays."""
        ...

    # A store without versions and locks inherits the following from `base.older_versions.OneVersion`, a wrapper from `PassingOn`.

    async def uncover(self, prefix: str) -> None:
        """Look for objects that were deleted or written over by others and of which the version that was put is there: from now on `list` shows them as they
        were put. Costs a listing on a store that keeps versions, nothing elsewhere. `head`, `get` and `get_range` need no such look. Raises Unavailable."""
        ...

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        """By key, what is wrong with those objects below a prefix of which an older version is, or would be, read. As far as `uncover` or a read has seen; asks nothing."""
        ...

    def locks_us(self) -> int:
        """What is put stays locked for so long; 0: this store locks nothing. Pins, the daily index and what a probe makes are never locked."""
        ...

    async def retain(self, key: str, until_us: int) -> int:
        """The version that was put stays locked until then (wall clock) at least, if this store locks; never shorter than before. Returns until when it is
        locked, 0: it is not. A moment that has passed asks, and changes nothing. Raises Missing."""
        ...


@dataclass(frozen=True, slots=True)
class Env:
    """What every stateful thing above `base.real` is given."""

    clock: Clock
    rand: Rand
    tasks: Tasks


class JobContext(Protocol):
    """What a job is given in its worker process (or inline, in the simulator)."""

    disk: Disk
    """Rooted at the data folder."""

    def store(self, url: str) -> ObjectStore:
        """The archive at `url`, sealed if it is."""
        ...

    def place(self, url: str) -> ObjectStore:
        """A store that is no archive of ours: what others shall read is put there as it is, whatever keys the archive has."""
        ...

    def progress(self, facts: dict[str, Any]) -> None:
        """Small, JSON-able; rate-limited by the receiver."""
        ...


class Jobs(Protocol):
    """Runs whatever loops in Python over many items in worker processes, never in the node's process."""

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """job: "package.module:function", an `async def function(context: JobContext, arguments: dict) -> dict`; arguments and result are msgpack-able.

        A ScrubjayError raised by the job arrives as the same class with the same fields. A worker that dies: Unavailable.
        `output` names the file that a job makes, `rows` one that an earlier job made, `work` its scratch, all below the data folder. A file stays where the job
        ran, which need not be this machine: later jobs find it there, and `bring` fetches it.
        """
        ...

    async def bring(self, path: str) -> None:
        """The file that a job made as `output` lies below this process's data folder when it returns. Raises Unavailable."""
        ...

    def drop(self, path: str) -> None:
        """The file that a job made, or all in a folder, is wanted no more where the job ran. What `bring` fetched is the caller's to remove. No error if no job made it."""
        ...
