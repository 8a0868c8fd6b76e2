"""A simulated object store: create-once, and as unpleasant as a real one may be, within its contract.

Faults: throttling, a timeout before or *after* the effect, a short body, rot, a lost object, a listing that lags. The last three break the store's promise; they are
switched on only where the system must notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from scrubjay.base.env import ListPage, ObjectInfo, Recalled, Tasks
from scrubjay.base.errors import HOLE, UNREADABLE, Corrupt, Exists, Invalid, Missing, Unavailable, Unsafe
from scrubjay.base.older_versions import UNLOCKED, Covered
from scrubjay.sim.clock import WALL_START_US
from scrubjay.sim.events import Events

DELETED = Recalled(HOLE, "deleted: a delete marker stands over version 1")
WRITTEN_OVER = Recalled(UNREADABLE, "written over: version 1 under it is what was put")
_KEY = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")


@dataclass(slots=True)
class StoreFaults:
    """Probabilities per request. down: nothing answers. stale_us: a listing may miss objects younger than this."""

    throttled: float = 0.0
    timeout_before: float = 0.0
    timeout_after: float = 0.0
    short_body: float = 0.0
    down: bool = False
    stale_us: int = 0
    delay_us: tuple[int, int] = (2_000, 30_000)


@dataclass(slots=True)
class SimObject:
    """foreign: put by somebody else, over what was there. locked_until_us: until then, by the store's clock, it cannot be deleted."""

    data: bytes
    made_us: int
    foreign: bool = False
    locked_until_us: int = 0


@dataclass(slots=True)
class StoreRequests:
    """Requests that had their effect, by kind."""

    put: int = 0
    get: int = 0
    head: int = 0
    list: int = 0
    delete: int = 0
    retain: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class SimStore:
    """The store itself; `client(tasks)` is an `ObjectStore` for one process."""

    def __init__(self, world: Events, name: str = "store") -> None:
        self.world = world
        self.name = name
        self.url = f"sim://{name}"
        self.faults = StoreFaults()
        self.requests = StoreRequests()
        self._draw = world.stream(f"store/{name}")
        self.objects: dict[str, SimObject] = {}
        self.versioned = False
        self.lock_us = 0
        """What is put stays locked for so long, pins and the daily index apart."""
        self.wall_us: Callable[[], int] = lambda: world.now + WALL_START_US
        """Its own clock, by which locks end."""
        self.under: dict[str, SimObject] = {}
        """With versions: what was there before somebody else deleted it or wrote over it."""
        self.on_put: Callable[[str], None] | None = None
        """Told of every object at the moment it exists: for checkers."""

    def client(self, tasks: Tasks) -> SimStoreClient:
        return SimStoreClient(self, tasks)

    # --- what the world does to it ---

    def flip_bit(self, key: str) -> None:
        one = self.objects[key]
        at = self._draw.between(0, len(one.data) - 1)
        one.data = one.data[:at] + bytes([one.data[at] ^ 1 << self._draw.between(0, 7)]) + one.data[at + 1 :]

    def lose(self, key: str) -> None:
        """By somebody's deletion: with versions a marker stands over it."""
        lost = self.objects.pop(key)
        if self.versioned:
            self.under[key] = lost

    def write_over(self, key: str, data: bytes) -> None:
        """By somebody else; without versions what was there is gone."""
        if self.versioned:
            self.under[key] = self.objects[key]
        self.objects[key] = SimObject(data, self.world.now, foreign=True)

    def lock_end(self, key: str) -> int:
        """Until when what is put now will be locked; 0: not at all."""
        return self.wall_us() + self.lock_us if self.lock_us and UNLOCKED.fullmatch(key) is None else 0

    def put_back(self, key: str) -> None:
        """What stands over the older version is taken away."""
        self.objects[key] = self.under.pop(key)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    # --- requests: `begin` before the effect, `end` after it ---

    def delay_s(self) -> float:
        return self._draw.between(*self.faults.delay_us) / 1e6

    def _fail(self, kind: str) -> None:
        self.requests.failed[kind] = self.requests.failed.get(kind, 0) + 1
        raise Unavailable(f"store: {kind}", store=self.name)

    def begin(self) -> None:
        if self.faults.down:
            self._fail("down")
        if self._draw.chance(self.faults.throttled):
            self._fail("throttled")
        if self._draw.chance(self.faults.timeout_before):
            self._fail("timeout")

    def end(self) -> None:
        if self._draw.chance(self.faults.timeout_after):
            self._fail("timeout after the effect")

    def shortened(self, data: bytes) -> bytes:
        if data and self._draw.chance(self.faults.short_body):
            return data[: self._draw.between(0, len(data) - 1)]
        return data


class SimStoreClient:
    """base.env.ObjectStore."""

    def __init__(self, store: SimStore, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self.url = store.url
        self._covered = Covered()

    async def _begin(self) -> None:
        await self._tasks.sleep(self._store.delay_s())
        self._store.begin()

    async def _end(self) -> None:
        await self._tasks.sleep(self._store.delay_s())
        self._store.end()

    async def put(self, key: str, data: bytes) -> None:
        if not _KEY.fullmatch(key):
            raise Invalid("not an object key", key=key)
        await self._begin()
        store = self._store
        if key in store.objects:
            await self._end()
            raise Exists("the object is already there", key=key)
        for other in store.objects:
            if other.startswith(key + "/") or key.startswith(other + "/"):
                raise Invalid("one key is a prefix of another", key=key, other=other)
        store.objects[key] = SimObject(bytes(data), store.world.now, locked_until_us=store.lock_end(key))
        if store.on_put is not None:
            store.on_put(key)
        store.requests.put += 1
        store.requests.bytes_in += len(data)
        await self._end()

    async def get(self, key: str) -> bytes:
        await self._begin()
        one = self._seen(key)
        if one is None:
            raise Missing("no such object", what=key)
        self._store.requests.get += 1
        data = self._store.shortened(one.data)
        self._store.requests.bytes_out += len(data)
        await self._end()
        if len(data) != len(one.data):
            raise Unavailable("the body was cut short", key=key)
        return data

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        if not 0 <= start <= end:
            raise Invalid("not a range", start=start, end=end)
        data = (await self.get(key))[start:end]
        if len(data) != end - start:
            raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=start + len(data))
        return data

    async def head(self, key: str) -> ObjectInfo | None:
        await self._begin()
        self._store.requests.head += 1
        one = self._seen(key)
        found = None if one is None else ObjectInfo(key, len(one.data))
        await self._end()
        return found

    def _seen(self, key: str) -> SimObject | None:
        """What is read of a key, and a note if that is an older version."""
        one, under = self._store.objects.get(key), self._store.under.get(key)
        if under is None or (one is not None and not one.foreign):
            self._covered.drop(key)
            return one
        self._covered.note(key, DELETED if one is None else WRITTEN_OVER, len(under.data))
        return under

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        await self._begin()
        store = self._store
        store.requests.list += 1
        youngest = store.world.now - store.faults.stale_us
        keys = [key for key in store.keys(prefix) if key > after and (store.faults.stale_us == 0 or store.objects[key].made_us <= youngest)]
        page = ListPage(tuple([ObjectInfo(key, len(store.objects[key].data)) for key in keys[:limit]]), len(keys) > limit)
        await self._end()
        return self._covered.shown(page, prefix, after=after, limit=limit)

    async def delete(self, key: str) -> None:
        await self._begin()
        self._store.requests.delete += 1
        for one in (self._store.objects.get(key), self._store.under.get(key)):
            if one is not None and one.locked_until_us > self._store.wall_us():
                raise Unsafe("the store keeps the object locked", key=key, error_code="ObjectLocked", until_us=one.locked_until_us)
        self._store.objects.pop(key, None)
        self._store.under.pop(key, None)
        self._covered.drop(key)
        await self._end()

    async def uncover(self, prefix: str) -> None:
        if not self._store.versioned:
            return
        await self._begin()
        self._store.requests.list += 1
        self._covered.replace(prefix, {})
        for key in sorted(self._store.under):
            if key.startswith(prefix):
                self._seen(key)
        await self._end()

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        return self._covered.recalled(prefix)

    def locks_us(self) -> int:
        return self._store.lock_us

    async def retain(self, key: str, until_us: int) -> int:
        if not self._store.lock_us:
            return 0
        await self._begin()
        self._store.requests.retain += 1
        one = self._seen(key)
        if one is None:
            raise Missing("no such object", what=key)
        one.locked_until_us = max(one.locked_until_us, until_us)
        await self._end()
        return one.locked_until_us
