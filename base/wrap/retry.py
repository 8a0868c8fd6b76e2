"""Retries. The only place that does: everything else sees a store that either answered or stayed unavailable for a bounded time.

A create whose first answer was lost comes back as Exists when it is sent again. It is then read back: the same bytes mean that it was ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from scrubjay.base.env import Env, ListPage, ObjectInfo, ObjectStore
from scrubjay.base.errors import Corrupt, DiskFull, Exists, Missing, NoKey, Unavailable
from scrubjay.base.older_versions import PassingOn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """attempts: calls in all. The wait before attempt n+1 is drawn from [0, min(base_s * 2^n, cap_s)]. full_attempts: calls in all while the store is full."""

    attempts: int = 5
    base_s: float = 0.1
    cap_s: float = 3.0
    full_attempts: int = 2


class RetryingStore(PassingOn):
    """Retries Unavailable but for NoKey, nothing else. `retries` counts the calls made again."""

    def __init__(self, inner: ObjectStore, env: Env, policy: RetryPolicy | None = None) -> None:
        self.inner = inner
        self.url = inner.url
        self.policy = policy or RetryPolicy()
        self.retries = 0
        self._env = env

    async def _retry(self, call: Callable[[int], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await call(attempt)
            except NoKey:
                raise  # the store has answered; a key does not come by asking again
            except Unavailable as error:
                most = self.policy.full_attempts if isinstance(error, DiskFull) else self.policy.attempts
                if attempt >= most:
                    raise
            self.retries += 1
            most_s = min(self.policy.base_s * 2 ** (attempt - 1), self.policy.cap_s)
            await self._env.tasks.sleep(self._env.rand.uniform(0.0, most_s))
            attempt += 1

    async def put(self, key: str, data: bytes) -> None:
        """As the port, and: a create that was answered late or never is settled by its content. Raises Exists only for other content, or at the first try."""

        async def call(attempt: int) -> None:
            try:
                await self.inner.put(key, data)
            except Exists:
                if attempt == 1:
                    raise
                try:
                    same = await self.inner.get(key) == data
                except Missing as error:
                    raise Unavailable("a create was refused as existing, but nothing is there yet", key=key) from error
                except Corrupt:
                    same = False  # what lies there opens to nobody: it is not ours any more, and who asks for it is told
                if not same:
                    raise

        await self._retry(call)

    async def get(self, key: str) -> bytes:
        return await self._retry(lambda _: self.inner.get(key))

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return await self._retry(lambda _: self.inner.get_range(key, start, end))

    async def head(self, key: str) -> ObjectInfo | None:
        return await self._retry(lambda _: self.inner.head(key))

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        return await self._retry(lambda _: self.inner.list(prefix, after=after, limit=limit))

    async def delete(self, key: str) -> None:
        await self._retry(lambda _: self.inner.delete(key))

    async def uncover(self, prefix: str) -> None:
        await self._retry(lambda _: self.inner.uncover(prefix))

    async def retain(self, key: str, until_us: int) -> int:
        return await self._retry(lambda _: self.inner.retain(key, until_us))
