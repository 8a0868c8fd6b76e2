"""Counts what is asked of a store: requests, errors, bytes and time, by verb. What an archive costs is part of its design, so it is measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from base.env import Env, ListPage, ObjectInfo, ObjectStore
from base.errors import ScrubjayError, Unavailable

T = TypeVar("T")

VERBS = ("put", "get", "get_range", "head", "list", "delete")
BUCKETS = 24
"""Latency buckets: bucket n counts calls that took less than 2^n microseconds (the last one: all longer)."""


@dataclass(slots=True)
class VerbStats:
    """requests includes failed ones. bytes: content sent or received. total_us, max_us: time of all calls. latency: see BUCKETS."""

    requests: int = 0
    errors: int = 0
    bytes: int = 0
    total_us: int = 0
    max_us: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)


class MeteredStore:
    """stats by verb; last_error and reachable say how the latest call that asked the store ended (Exists and Missing are answers, not errors)."""

    def __init__(self, inner: ObjectStore, env: Env) -> None:
        self.inner = inner
        self.url = inner.url
        self.stats: dict[str, VerbStats] = {verb: VerbStats() for verb in VERBS}
        self.reachable = True
        self.last_error: str | None = None
        self._env = env

    async def _measure(self, verb: str, call: Callable[[], Awaitable[T]], size: Callable[[T], int]) -> T:
        stats = self.stats[verb]
        stats.requests += 1
        start = self._env.clock.boot_us()
        try:
            answer = await call()
        except ScrubjayError as error:
            stats.errors += 1
            if isinstance(error, Unavailable):
                self.reachable, self.last_error = False, str(error)
            else:
                self.reachable = True
            raise
        finally:
            took = max(self._env.clock.boot_us() - start, 0)
            stats.total_us += took
            stats.max_us = max(stats.max_us, took)
            stats.latency[min(took.bit_length(), BUCKETS - 1)] += 1
        self.reachable = True
        stats.bytes += size(answer)
        return answer

    async def put(self, key: str, data: bytes) -> None:
        await self._measure("put", lambda: self.inner.put(key, data), lambda _: len(data))

    async def get(self, key: str) -> bytes:
        return await self._measure("get", lambda: self.inner.get(key), len)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return await self._measure("get_range", lambda: self.inner.get_range(key, start, end), len)

    async def head(self, key: str) -> ObjectInfo | None:
        return await self._measure("head", lambda: self.inner.head(key), lambda _: 0)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        return await self._measure("list", lambda: self.inner.list(prefix, after=after, limit=limit), lambda _: 0)

    async def delete(self, key: str) -> None:
        await self._measure("delete", lambda: self.inner.delete(key), lambda _: 0)
