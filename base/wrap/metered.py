"""Counts what is asked of a store: requests by result, bytes and time, by verb. What an archive costs is part of its design, so it is measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from scrubjay.base.env import Env, ListPage, ObjectInfo, ObjectStore
from scrubjay.base.errors import Exists, Missing, NoKey, ScrubjayError, Unavailable
from scrubjay.base.latency import Latency
from scrubjay.base.older_versions import PassingOn

T = TypeVar("T")

VERBS = ("put", "get", "get_range", "head", "list", "delete")
OK, EXISTS, MISSING, LOCKED, ERROR = "ok", "exists", "missing", "locked", "error"
RESULTS = (OK, EXISTS, MISSING, LOCKED, ERROR)
"""How a request ended. EXISTS: a conditional put lost, as the store was asked to refuse it; MISSING: there is no such object; LOCKED: an object lock keeps what
was to be deleted. All of these are answers, not errors."""

STALLED_US = 10_000_000


@dataclass(slots=True)
class VerbStats:
    """requests: all that were sent. ended: those that ended, by result. bytes: content sent or received."""

    requests: int = 0
    bytes: int = 0
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))
    latency: Latency = field(default_factory=Latency)


class StoreState(NamedTuple):
    """What is known of the store without asking it. since_us (wall clock), last_error, code: of the trouble that lasts, None while there is none.
    code: the error's `error_code` or class code."""

    reachable: bool
    last_error: str | None
    code: str | None
    since_us: int | None
    requests_per_minute: int


def _in_words(error: Unavailable) -> str:
    """For people: a cause with a name of its own needs no quotation of what a library said."""
    cause = error.fields.get("found") or (None if "error_code" in error.fields else error.fields.get("cause"))
    return f"{error.message}: {cause}" if cause else error.message


def _result(error: ScrubjayError) -> str:
    if isinstance(error, Exists):
        return EXISTS
    if error.fields.get("error_code") == "ObjectLocked":
        return LOCKED
    return MISSING if isinstance(error, Missing) else ERROR


class MeteredStore(PassingOn):
    """stats by verb; `state` says how it stands with the store: by the latest answer (Exists and Missing are answers, not errors), and by answers that do not
    come: a request without an answer for STALLED_US, and no other one answered since it was sent, is a store that does not answer.

    Trouble is over when a request is answered that was sent after it was met: one that was under way meanwhile may have been answered before, and is only told
    late. What a store may answer without being asked (`uncover` and `retain` where there are neither versions nor locks) says nothing of it."""

    def __init__(self, inner: ObjectStore, env: Env) -> None:
        self.inner = inner
        self.url = inner.url
        self.stats: dict[str, VerbStats] = {verb: VerbStats() for verb in VERBS}
        self._env = env
        self._error: Unavailable | None = None
        self._error_since_us = 0
        self._sent_before = 0
        """How many requests had been sent when the trouble that lasts was last met."""
        self._sent = 0
        self._answered_us = 0
        self._waiting: dict[int, int] = {}
        """Requests under way: number -> boot time it was sent at, in that order."""
        self._minutes: deque[tuple[int, int]] = deque(maxlen=2)
        """(minute of the boot clock, requests in it)"""

    def state(self) -> StoreState:
        per_minute = self._per_minute()
        if self._error is not None:
            code = str(self._error.fields.get("error_code", self._error.code))
            told = _in_words(self._error)
            return StoreState(False, told, code, self._error_since_us, per_minute)
        boot_us = self._env.clock.boot_us()
        oldest = next(iter(self._waiting.values()), boot_us)
        if boot_us - oldest > STALLED_US and self._answered_us <= oldest:
            since_us = self._env.clock.wall_us() - (boot_us - oldest)
            return StoreState(False, "the store does not answer", "Unavailable", since_us, per_minute)
        return StoreState(True, None, None, None, per_minute)

    @property
    def reachable(self) -> bool:
        return self.state().reachable

    @property
    def last_error(self) -> str | None:
        return self.state().last_error

    def _per_minute(self) -> int:
        """Requests of the last full minute, or of this one if it has more."""
        minute = self._env.clock.boot_us() // 60_000_000
        return max((count for at, count in self._minutes if at in (minute, minute - 1)), default=0)

    def _count(self, stats: VerbStats, start: int) -> None:
        stats.requests += 1
        minute = start // 60_000_000
        if self._minutes and self._minutes[-1][0] == minute:
            minute, count = self._minutes.pop()
            self._minutes.append((minute, count + 1))
        else:
            self._minutes.append((minute, 1))

    def _answered(self, number: int, error: Unavailable | None) -> None:
        """number: of the request."""
        if error is not None:
            self._error_since_us = self._error_since_us if self._error is not None else self._env.clock.wall_us()
            self._error = error
            self._sent_before = self._sent
        elif number > self._sent_before:
            self._error = None
        self._answered_us = self._env.clock.boot_us()

    async def _measure(self, verb: str, call: Callable[[], Awaitable[T]], size: Callable[[T], int], *, asks: bool = True) -> T:
        """asks: the store cannot answer without being asked."""
        stats = self.stats[verb]
        start = self._env.clock.boot_us()
        self._count(stats, start)
        self._sent += 1
        number = self._sent
        self._waiting[number] = start
        try:
            answer = await call()
        except ScrubjayError as error:
            stats.ended[_result(error)] += 1
            self._answered(number, error if isinstance(error, Unavailable) and not isinstance(error, NoKey) else None)
            raise
        finally:
            del self._waiting[number]
            stats.latency.took(self._env.clock.boot_us() - start)
        stats.ended[OK] += 1
        if asks:
            self._answered(number, None)
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

    async def uncover(self, prefix: str) -> None:
        await self._measure("list", lambda: self.inner.uncover(prefix), lambda _: 0, asks=False)

    async def retain(self, key: str, until_us: int) -> int:
        return await self._measure("head", lambda: self.inner.retain(key, until_us), lambda _: 0, asks=False)
