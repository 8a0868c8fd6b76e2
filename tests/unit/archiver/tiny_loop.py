"""The simulator's tasks, disk and jobs for one host alone, and a store in memory: what coroutines of the archive, scrubs and restores run on in unit tests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from base.env import Env, ListPage, ObjectInfo, ObjectStore, Task
from base.errors import Corrupt, Exists, Missing
from sim.clock import WALL_START_US, SimClock
from sim.disk import SimDisk
from sim.jobs import SimJobs
from sim.rand import SimRand
from sim.tasks import Cancelled, SimTasks
from sim.world import Life, World

START_US = 1_760_000_000_000_000
"""Wall time at which every loop begins."""


T = TypeVar("T")


class _KeptTasks(SimTasks):
    """Keeps the coroutines it was given, so that those of a life that ends can be let go quietly."""

    def __init__(self, world: World, life: Life, clock: SimClock, *, name: str) -> None:
        super().__init__(world, life, clock, name=name)
        self.given: list[Coroutine[Any, Any, Any]] = []

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        self.given.append(coro)
        return super().spawn(coro, name=name)


class TinyLoop:
    """One host of the simulator without a disk or a network: its clock, its random numbers and its tasks, and a way to wait for a coroutine."""

    Cancelled = Cancelled

    def __init__(self, seed: int = 0, *, start_us: int = START_US) -> None:
        """start_us: wall time at its beginning."""
        self.world = World(seed)
        self.random = self.world.stream("test")
        self.clock = clock = SimClock(self.world, offset_us=start_us - WALL_START_US)
        self._life = Life(self.world)
        self.tasks = _KeptTasks(self.world, self._life, clock, name="test")
        self._env = Env(clock, SimRand(self.world.stream("rand")), self.tasks)
        self.failures = self.tasks.failures
        self.wall_us, self.boot_us = clock.wall_us, clock.boot_us
        self.spawn, self.sleep, self.call_soon = self.tasks.spawn, self.tasks.sleep, self.tasks.call_soon

    @property
    def now_us(self) -> int:
        return self.wall_us()

    @now_us.setter
    def now_us(self, value: int) -> None:
        """The wall clock is put there; what waits goes on waiting as long as before."""
        self.clock.jump(value - self.wall_us())

    def env(self) -> Env:
        return self._env

    def drain(self) -> None:
        """Until nothing is left to happen."""
        while (due := self.world.next_us) is not None:
            self.world.run(until_us=due)

    def kill(self) -> None:
        """The process is gone: nothing of it runs on."""
        self._life.end()
        for coro in self.tasks.given:
            coro.close()

    def run(self, coro: Coroutine[Any, Any, Any], *, limit_s: float = 100_000) -> Any:
        """Run until this coroutine is done; other tasks run along."""
        task = self.tasks.spawn(coro, name="main")
        task.add_done_callback(lambda _: None)
        assert self.world.run(until_us=self.world.now + int(limit_s * 1e6), stop=task.done), "waits for ever, or took too long"
        return task.result()

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass. No task may have failed unseen."""
        self.world.run(until_us=self.world.now + int(seconds * 1e6))
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


class LoneDisk(SimDisk):
    """The simulator's disk of a machine that never stops, in a world of its own. `put` and `files` are what lies on it, by path."""

    def __init__(self) -> None:
        world = World(0)
        super().__init__(world, "disk", capacity=1 << 34)
        self.attach(Life(world))

    @property
    def files(self) -> dict[str, bytes]:
        return {path: self.read_file(path) or b"" for path in self.paths()}


class LoneJobs(SimJobs):
    """The simulator's jobs over one store, whatever url they name. ran: their names."""

    def __init__(self, loop: TinyLoop, store: ObjectStore, disk: LoneDisk) -> None:
        super().__init__(loop.tasks, disk, lambda _url: store)
        self.ran: list[str] = []

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        self.ran.append(job)
        return await super().run(job, arguments, progress=progress)
