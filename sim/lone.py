"""One host of the simulator alone, for what needs no cluster: its tasks and clock, its disk, its jobs, and a store that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from typing import Any, TypeVar

from scrubjay.base.env import Env, ObjectStore, Task
from scrubjay.sim.clock import WALL_START_US, SimClock
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Life
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.rand import SimRand
from scrubjay.sim.store import SimObject, SimStore, SimStoreClient
from scrubjay.sim.tasks import Cancelled, SimTasks
from scrubjay.sim.world import World

START_US = 1_760_000_000_000_000
"""Wall time at which every host begins."""

T = TypeVar("T")


class _KeptTasks(SimTasks):
    """Keeps the coroutines it was given, so that those of a life that ends can be let go quietly."""

    def __init__(self, world: World, life: Life, clock: SimClock, *, name: str) -> None:
        super().__init__(world, life, clock, name=name)
        self.given: list[Coroutine[Any, Any, Any]] = []

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> Task[T]:
        self.given.append(coro)
        return super().spawn(coro, name=name)


class LoneHost:
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
        self.spawn, self.sleep, self.future = self.tasks.spawn, self.tasks.sleep, self.tasks.future
        self.call_soon, self.call_later = self.tasks.call_soon, self.tasks.call_later

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
        assert self.world.run(until_us=self.world.now + int(limit_s * 1e6), stop=task.done), "waits for ever, or took too long"
        return task.result()

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass. No task may have failed unseen."""
        self.world.run(until_us=self.world.now + int(seconds * 1e6))
        assert not self.failures, self.failures


class _Contents(MutableMapping[str, bytes]):
    """The objects of a store as bytes by key, to read and to change behind its back."""

    def __init__(self, store: SimStore) -> None:
        self._store = store

    def __getitem__(self, key: str) -> bytes:
        return self._store.objects[key].data

    def __setitem__(self, key: str, data: bytes) -> None:
        self._store.objects[key] = SimObject(bytes(data), self._store.world.now, locked_until_us=self._store.lock_end(key))

    def __delitem__(self, key: str) -> None:
        del self._store.objects[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.objects)

    def __len__(self) -> int:
        return len(self._store.objects)


class LoneStore(SimStoreClient):
    """The simulator's store in a world of its own, which answers at once: it may be asked from any loop. objects: what lies in it."""

    def __init__(self) -> None:
        world = World(0)
        store = SimStore(world, "lone")
        super().__init__(store, SimTasks(world, Life(world), SimClock(world), name="store"))
        self.objects: MutableMapping[str, bytes] = _Contents(store)

    async def _begin(self) -> None:
        self._store.begin()

    async def _end(self) -> None:
        self._store.end()


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

    def __init__(self, host: LoneHost, store: ObjectStore, disk: LoneDisk) -> None:
        super().__init__(host.tasks, disk, lambda _url: store)
        self.ran: list[str] = []

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        self.ran.append(job)
        return await super().run(job, arguments, progress=progress)
