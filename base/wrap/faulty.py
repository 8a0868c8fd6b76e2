"""A store that misbehaves on demand, for tests. Every fault is one the real ones have shown."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Env, ListPage, ObjectInfo, ObjectStore
from scrubjay.base.errors import DiskFull, Missing, ScrubjayError, Unavailable
from scrubjay.base.older_versions import PassingOn

Fault = Callable[[str, str], ScrubjayError | None]
"""fault(verb, key): the error to raise before anything happens, or None."""


class FaultyStore(PassingOn):
    """Switches, all off at first.

    down: every call fails. full: puts fail with DiskFull. slow_s: every call takes this long. lose_answers: so many puts take effect and then fail.
    flip: bytes of an object are damaged on their way back, flip(key, data) -> data. denied: keys that are said not to be there, in
    listings too. fault: decides call by call. calls: (verb, key) of all calls so far.
    """

    def __init__(self, inner: ObjectStore, env: Env) -> None:
        self.inner = inner
        self.url = inner.url
        self.down = False
        self.full = False
        self.slow_s = 0.0
        self.lose_answers = 0
        self.fault: Fault | None = None
        self.flip: Callable[[str, bytes], bytes] | None = None
        self.denied: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self._env = env

    async def _before(self, verb: str, key: str) -> None:
        self.calls.append((verb, key))
        if self.slow_s:
            await self._env.tasks.sleep(self.slow_s)
        if self.down:
            raise Unavailable("the store is down", key=key)
        if key in self.denied and verb in ("get", "get_range"):
            raise Missing("no such object", key=key)
        if self.fault is not None and (error := self.fault(verb, key)) is not None:
            raise error

    async def put(self, key: str, data: bytes) -> None:
        await self._before("put", key)
        if self.full:
            raise DiskFull("the store is full", key=key)
        await self.inner.put(key, data)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("timed out after the effect", key=key)

    async def get(self, key: str) -> bytes:
        await self._before("get", key)
        data = await self.inner.get(key)
        return data if self.flip is None else self.flip(key, data)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        await self._before("get_range", key)
        if self.flip is None:
            return await self.inner.get_range(key, start, end)
        return self.flip(key, await self.inner.get(key))[start:end]

    async def head(self, key: str) -> ObjectInfo | None:
        await self._before("head", key)
        return None if key in self.denied else await self.inner.head(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        await self._before("list", prefix)
        page = await self.inner.list(prefix, after=after, limit=limit)
        return page._replace(objects=type(page.objects)(one for one in page.objects if one.key not in self.denied)) if self.denied else page

    async def delete(self, key: str) -> None:
        await self._before("delete", key)
        await self.inner.delete(key)
