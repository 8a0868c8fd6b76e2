"""A bounded pace: requests in flight and bytes per second over one store, first come first served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from scrubjay.base.env import Env, ListPage, ObjectInfo, ObjectStore
from scrubjay.base.older_versions import PassingOn
from scrubjay.base.places import Places

T = TypeVar("T")

BURST_S = 0.5
"""Seconds of the byte rate that may be spent at once after a pause."""


class LimitedStore(PassingOn):
    """in_flight: requests at a time. bytes_per_second: of content, both ways together; None is no bound."""

    def __init__(self, inner: ObjectStore, env: Env, *, in_flight: int = 8, bytes_per_second: int | None = None) -> None:
        assert bytes_per_second is None or bytes_per_second >= 1
        self.inner = inner
        self.url = inner.url
        self._env = env
        self._places = Places(in_flight, future=env.tasks.future)
        self._rate = bytes_per_second
        self._paid_until_us = 0
        """When the bytes sent so far will have been earned, on the boot clock."""

    async def _pay(self, size: int) -> None:
        if self._rate is None or size == 0:
            return
        now = self._env.clock.boot_us()
        start = max(self._paid_until_us, now - int(BURST_S * 1e6))
        self._paid_until_us = start + size * 1_000_000 // self._rate
        if start > now:
            await self._env.tasks.sleep((start - now) / 1e6)

    async def _within(self, before: int, call: Callable[[], Awaitable[T]], after: Callable[[T], int]) -> T:
        await self._places.take()
        try:
            await self._pay(before)
            answer = await call()
            await self._pay(after(answer))
        finally:
            self._places.give()
        return answer

    async def put(self, key: str, data: bytes) -> None:
        await self._within(len(data), lambda: self.inner.put(key, data), lambda _: 0)

    async def get(self, key: str) -> bytes:
        return await self._within(0, lambda: self.inner.get(key), len)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return await self._within(0, lambda: self.inner.get_range(key, start, end), len)

    async def head(self, key: str) -> ObjectInfo | None:
        return await self._within(0, lambda: self.inner.head(key), lambda _: 0)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        return await self._within(0, lambda: self.inner.list(prefix, after=after, limit=limit), lambda _: 0)

    async def delete(self, key: str) -> None:
        await self._within(0, lambda: self.inner.delete(key), lambda _: 0)
