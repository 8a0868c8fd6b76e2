"""Encryption of an archive, in one place: what lies in the store is sealed (`base/sealed.py`), what is above sees names, sizes and bytes as if it were not.

With keys every object is sealed, and one that is not is not believed: a plain object in an archive that was begun sealed is forged. Without keys a sealed object
is refused by name (NoKey): that a key is lost says nothing about the data. Whether an archive is sealed was decided when it was begun; its identity shows it.

Not hidden: how many objects there are and how large, when they were written, and what their names say (ids, LSNs, times, names of nodes; no table's name).
Not here: what lies on a node's disk.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from scrubjay.base.env import ListPage, ObjectInfo, ObjectStore, Recalled
from scrubjay.base.errors import FORGED, Corrupt, Invalid, Missing, NoKey, ScrubjayError
from scrubjay.base.sealed import MAGIC, OVERHEAD, Keyring, Random, is_sealed, kept_name, listed_from, seal, stem_of, true_name, unseal

T = TypeVar("T")

BESIDE = 16
"""At least so many objects are listed at a time: more than differ in their hash alone."""
WITNESS = "identity"
"""Name, below a cluster's, of the object that shows whether its archive was begun sealed."""


class EncryptedStore:
    """ring None: nothing is sealed, and what is sealed is refused."""

    def __init__(self, inner: ObjectStore, ring: Keyring | None, *, random: Random) -> None:
        self.inner = inner
        self.url = inner.url
        self._ring = ring
        self._random = random

    def close(self) -> None:
        """Let go of what the inner store holds."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()

    async def put(self, key: str, data: bytes) -> None:
        kept = self.kept(key)
        sealed = data if self._ring is None else seal(self._ring, kept, data, random=self._random)
        await self._named(self.inner.put(kept, sealed), key, kept)

    async def get(self, key: str) -> bytes:
        """As the port; raises NoKey too."""
        kept = self.kept(key)
        data = await self._named(self.inner.get(kept), key, kept)
        if self._ring is None and not data.startswith(MAGIC):
            return data  # what is rotten in a plain archive, its own formats say
        if is_sealed(data, where=key):
            return unseal(self._ring, kept, data, where=key)
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            raise Corrupt("a sealed object is cut short", what="seal", where=key, found=len(data))
        raise await self._plain(key)

    async def _plain(self, key: str) -> ScrubjayError:
        """What to say of an object that is not sealed."""
        witness = f"{key.partition('/')[0]}/{WITNESS}"
        plain = key == witness
        if not plain:
            try:
                plain = not is_sealed(await self.inner.get(witness), where=witness)
            except (Corrupt, Missing):
                plain = False  # nothing speaks for it
        if plain:
            return NoKey(
                "the archive was begun without encryption, and keys are configured",
                object=key,
                next="take encryption.keys out to use it as it is; to encrypt, begin a new archive with keys at another URL",
            )
        return Corrupt("a plain object in an encrypted archive", kind=FORGED, what="seal", where=key)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Reads the whole object: nothing of it is believed before all of it is proven."""
        if self._ring is None:
            return await self.inner.get_range(key, start, end)
        if not 0 <= start <= end:
            raise Invalid("not a range", start=start, end=end)
        data = await self.get(key)
        if end > len(data):
            raise Corrupt("the object is shorter than the range", what="object", where=key, expected=end, found=len(data))
        return data[start:end]

    async def head(self, key: str) -> ObjectInfo | None:
        kept = self.kept(key)
        found = await self._named(self.inner.head(kept), key, kept)
        return None if found is None else self._seen(found)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        if self._ring is None:
            return await self.inner.list(prefix, after=after, limit=limit)
        found: list[ObjectInfo] = []
        same: list[ObjectInfo] = []
        """In byte order of the true names those that differ in nothing before the hash lie beside each other under either name: they are put in order together."""
        stem: str | None = None
        at, more = listed_from(after), True
        while more and not found:
            page = await self.inner.list(listed_from(prefix), after=at, limit=max(limit, BESIDE))
            more = page.more and bool(page.objects)
            for kept in page.objects:
                at, info = kept.key, self._seen(kept)
                if not info.key.startswith(prefix):
                    continue
                if same and (stem is None or stem != stem_of(info.key)):
                    found += [one for one in sorted(same) if one.key > after]
                    same = []
                stem = stem_of(info.key)
                same.append(info)
        # What lies beside the last one may be on the store's next page: it comes with ours, which is therefore a little shorter, and costs no request of its own.
        if not more:
            found += [one for one in sorted(same) if one.key > after]
        return ListPage(tuple(found[:limit]), more or len(found) > limit)

    async def delete(self, key: str) -> None:
        kept = self.kept(key)
        await self._named(self.inner.delete(kept), key, kept)

    async def uncover(self, prefix: str) -> None:
        await self.inner.uncover(prefix if self._ring is None else listed_from(prefix))

    def recalled(self, prefix: str) -> dict[str, Recalled]:
        if self._ring is None:
            return self.inner.recalled(prefix)
        found = {true_name(self._ring, kept): one for kept, one in self.inner.recalled(listed_from(prefix)).items()}
        return {key: found[key] for key in sorted(found) if key.startswith(prefix)}

    def locks_us(self) -> int:
        return self.inner.locks_us()

    async def retain(self, key: str, until_us: int) -> int:
        kept = self.kept(key)
        return await self._named(self.inner.retain(kept, until_us), key, kept)

    def kept(self, key: str) -> str:
        """The name under which an object lies in the store."""
        return key if self._ring is None else kept_name(self._ring, key)

    def _seen(self, info: ObjectInfo) -> ObjectInfo:
        if self._ring is None:
            return info
        return ObjectInfo(true_name(self._ring, info.key), max(0, info.size - OVERHEAD))

    async def _named(self, call: Awaitable[T], key: str, kept: str) -> T:
        """An error names the object as its readers do; `kept_as` says under which name it lies."""
        try:
            return await call
        except ScrubjayError as error:
            if kept != key:
                error.fields = {name: key if value == kept else value for name, value in error.fields.items()} | {"kept_as": kept}
            raise
