"""A deterministic event loop with virtual time, memory disk and memory store: what the archive's coroutines run on in unit tests."""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any

from base.env import Env, File, JobContext, ListPage, ObjectInfo, ObjectStore
from base.errors import Corrupt, Exists, Missing, ScrubjayError


class Cancelled(BaseException):
    """Raised inside a cancelled coroutine."""


class TinyFuture:
    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def done(self) -> bool:
        return self._done

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def set_result(self, value: Any, /) -> None:
        assert not self._done
        self._done, self._value = True, value
        for callback in self._callbacks:
            callback(self)

    def set_exception(self, error: BaseException, /) -> None:
        assert not self._done
        self._done, self._error = True, error
        for callback in self._callbacks:
            callback(self)

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            yield self
        return self.result()


class TinyTask(TinyFuture):
    def __init__(self, loop: TinyLoop, coro: Coroutine[Any, Any, Any], name: str) -> None:
        super().__init__()
        self._loop, self._coro, self.name = loop, coro, name
        self._cancel = False
        loop.call_soon(self._step)

    def cancel(self) -> object:
        if not self._done:
            self._cancel = True
            self._loop.call_soon(self._step)
        return None

    def _step(self) -> None:
        if self._done:
            return
        try:
            if self._cancel:
                self._cancel = False
                waits = self._coro.throw(Cancelled())
            else:
                waits = self._coro.send(None)
        except StopIteration as stop:
            self.set_result(stop.value)
        except Cancelled as error:
            self.set_exception(error)
        except BaseException as error:
            self.set_exception(error)
            if not self._callbacks:
                self._loop.failures.append((self.name, error))
        else:
            woken = [False]

            def wake(_: Any) -> None:
                if not woken[0]:
                    woken[0] = True
                    self._loop.call_soon(self._step)

            waits.add_done_callback(wake)


class TinyTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class TinyLoop:
    """Tasks and Clock. Time jumps to the next timer when nothing is ready."""

    Cancelled = Cancelled

    def __init__(self, seed: int = 0) -> None:
        self.now_us = 1_760_000_000_000_000
        self._heap: list[tuple[int, int, TinyTimer, Callable[[], object]]] = []
        self._count = 0
        self.failures: list[tuple[str, BaseException]] = []
        self.random = random.Random(seed)

    # Clock
    def wall_us(self) -> int:
        return self.now_us

    def boot_us(self) -> int:
        return self.now_us

    # Rand
    def u64(self) -> int:
        return self.random.getrandbits(64)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    # Tasks
    def call_soon(self, callback: Callable[[], object]) -> None:
        self.call_later(0, callback)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TinyTimer:
        timer = TinyTimer()
        self._count += 1
        heapq.heappush(self._heap, (self.now_us + int(seconds * 1e6), self._count, timer, callback))
        return timer

    def future(self) -> Any:
        return TinyFuture()

    def spawn(self, coro: Coroutine[Any, Any, Any], *, name: str) -> Any:
        return TinyTask(self, coro, name)

    def sleep(self, seconds: float) -> Awaitable[None]:
        future = TinyFuture()
        self.call_later(seconds, lambda: future.set_result(None))
        return future

    async def _blocking(self, work: Callable[[], Any]) -> Any:
        return work()

    def blocking(self, work: Callable[[], Any]) -> Awaitable[Any]:
        return self._blocking(work)

    # driving
    def env(self) -> Env:
        return Env(self, self, self)

    def step(self) -> bool:
        if not self._heap:
            return False
        at, _, timer, callback = heapq.heappop(self._heap)
        self.now_us = max(self.now_us, at)
        if not timer.cancelled:
            callback()
        return True

    def run(self, coro: Coroutine[Any, Any, Any], *, limit_s: float = 100_000) -> Any:
        """Run until this coroutine is done; other tasks run along."""
        task = TinyTask(self, coro, "main")
        task.add_done_callback(lambda _: None)
        end = self.now_us + int(limit_s * 1e6)
        while not task.done():
            assert self.step(), "everything waits for ever"
            assert self.now_us <= end, "took too long"
        return task.result()

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now_us + int(seconds * 1e6)
        while self._heap and self._heap[0][0] <= end:
            self.step()
        self.now_us = end
        assert not self.failures, self.failures


class MemoryStore:
    """The object store port on a dict."""

    url = "memory://"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        if key in self.objects:
            raise Exists("there", key=key)
        self.objects[key] = bytes(data)

    async def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise Missing("no such object", what=key)
        return self.objects[key]

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        data = await self.get(key)
        if end > len(data):
            raise Corrupt("short", where=key)
        return data[start:end]

    async def head(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key, len(self.objects[key])) if key in self.objects else None

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return ListPage(tuple(ObjectInfo(key, len(self.objects[key])) for key in keys[:limit]), len(keys) > limit)

    async def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class MemoryFile:
    def __init__(self, data: bytearray) -> None:
        self.data = data

    def pread(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write_sync(
        self, offset: int, chunks: Sequence[bytes | bytearray | memoryview], done: Callable[[ScrubjayError | None], None]
    ) -> None:
        raise AssertionError("not used here")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def sync(self) -> None: ...

    def size(self) -> int:
        return len(self.data)

    def close(self) -> None: ...


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def listdir(self, path: str) -> list[str]:
        return sorted({key[len(path) + 1 :].split("/")[0] for key in self.files if key.startswith(path + "/")})

    def mkdir(self, path: str) -> None: ...

    def open(self, path: str, *, create_size: int | None = None) -> File:
        if create_size is not None:
            assert path not in self.files
            self.files[path] = bytearray(create_size)
        return MemoryFile(self.files[path])

    def exists(self, path: str) -> bool:
        return path in self.files

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def remove(self, path: str) -> None:
        del self.files[path]

    def remove_tree(self, path: str) -> None:
        for key in [key for key in self.files if key.startswith(path)]:
            del self.files[key]

    def sync_dir(self, path: str) -> None: ...

    def create_ahead(self, path: str, size: int, done: Callable[[File | ScrubjayError], None]) -> None:
        raise AssertionError("not used here")

    def rename_sync(self, source: str, target: str, done: Callable[[ScrubjayError | None], None]) -> None:
        raise AssertionError("not used here")

    def remove_sync(self, path: str, done: Callable[[ScrubjayError | None], None]) -> None:
        raise AssertionError("not used here")

    def free_bytes(self) -> int:
        return 1 << 40

    def read_file(self, path: str) -> bytes | None:
        return bytes(self.files[path]) if path in self.files else None

    def write_file(self, path: str, data: bytes) -> None:
        self.files[path] = bytearray(data)


class MemoryJobs:
    """Runs jobs inline."""

    def __init__(self, store: ObjectStore, disk: MemoryDisk) -> None:
        self.disk, self._store = disk, store
        self.ran: list[str] = []

    def store(self, url: str) -> ObjectStore:
        return self._store

    def progress(self, facts: dict[str, Any]) -> None: ...

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        import importlib

        module, _, name = job.partition(":")
        self.ran.append(job)
        context: JobContext = self
        answer: dict[str, Any] = await getattr(importlib.import_module(module), name)(context, arguments)
        return answer
