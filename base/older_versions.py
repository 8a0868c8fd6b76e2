"""What a store that keeps more than the newest content of a key adds to `base.env.ObjectStore`: for stores that keep one, for wrappers, and what is known of what
stands over an object.

Two classes to inherit from, so that a store without versions and a wrapper that does not care need no code: `OneVersion` and `PassingOn`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping

from scrubjay.base.env import ListPage, ObjectInfo, ObjectStore, Recalled

UNLOCKED = re.compile(r"probe/.*|settle|[^/]+/(pins|index)/.*")
"""Keys that no store of ours locks: what a probe makes and removes, backups' pins, which their owner may delete at any time, and what can be made again."""
KNOWN_MAX = 100_000
"""Objects under something that are known at a time, some 300 bytes each. Those beyond are absent, as in a bucket without versions."""


class OneVersion:
    """A store in which what is deleted or written over is gone, and that locks nothing."""

    async def uncover(self, prefix: str) -> None:
        return None

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        return {}

    def locks_us(self) -> int:
        return 0

    async def retain(self, key: str, until_us: int) -> int:
        return 0


class PassingOn:
    """A wrapper whose keys are its inner store's own."""

    inner: ObjectStore

    async def uncover(self, prefix: str) -> None:
        await self.inner.uncover(prefix)

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        return self.inner.recalled(prefix)

    def locks_us(self) -> int:
        return self.inner.locks_us()

    async def retain(self, key: str, until_us: int) -> int:
        return await self.inner.retain(key, until_us)


class Covered:
    """Objects over which something stands, by key, with the size of the version that is read."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Recalled, int]] = {}
        self._rising: list[str] | None = []

    def note(self, key: str, said: Recalled, size: int) -> None:
        if key not in self._found:
            if len(self._found) >= KNOWN_MAX:
                return
            self._rising = None
        self._found[key] = (said, size)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def drop(self, key: str) -> None:
        """Nothing stands over it, or it is gone."""
        if self._found.pop(key, None) is not None:
            self._rising = None

    def replace(self, prefix: str, found: Mapping[str, tuple[Recalled, int]], *, doubtful: Collection[str] = ()) -> None:
        """All that there are below a prefix, but for those that are still to be looked at."""
        for key in list(self._below(prefix)):
            if key not in found and key not in doubtful:
                self.drop(key)
        for key, (said, size) in found.items():
            self.note(key, said, size)

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        return {key: self._found[key][0] for key in self._below(prefix)}

    def shown(self, page: ListPage, prefix: str, *, after: str, limit: int) -> ListPage:
        """A page of the store's listing as if nothing stood over anything."""
        if not self._found:
            return page
        last = page.objects[-1].key if page.more and page.objects else None
        found = {info.key: info for info in page.objects}
        for key in self._below(prefix, after):
            if last is not None and key > last:
                break
            found[key] = ObjectInfo(key, self._found[key][1])
        rising = [found[key] for key in sorted(found)]
        return ListPage(tuple(rising[:limit]), page.more or len(rising) > limit)

    def _below(self, prefix: str, after: str = "") -> Iterator[str]:
        if self._rising is None:
            self._rising = sorted(self._found)
        rising = self._rising
        for at in range(bisect_left(rising, max(prefix, after)), len(rising)):
            if not rising[at].startswith(prefix):
                return
            if rising[at] > after:
                yield rising[at]
