"""Whose folders are of a former membership, as the archive says (`archiver.format.former`)."""

from __future__ import annotations

from scrubjay.archiver.format.former import Former, decode_former
from scrubjay.archiver.format.layout import FormerKey, build, former_prefix, parse
from scrubjay.archiver.read.names import list_all
from scrubjay.base.env import ObjectStore


class FormersSeen:
    """Every recovery of a lost quorum, for whoever looks again and again: a listing at first, and then one question whether there is another."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        self._store, self._cluster = store, cluster
        self._found: list[Former] | None = None

    async def look(self) -> list[Former]:
        """All of them, rising. Raises as `formers`."""
        if self._found is None or await self._store.head(build(FormerKey(self._cluster, self._next))) is not None:
            self._found = await formers(self._store, self._cluster)
        return list(self._found)

    @property
    def _next(self) -> int:
        return self._found[-1].number + 1 if self._found else 1


async def formers(store: ObjectStore, cluster: str) -> list[Former]:
    """Every recovery of a lost quorum, rising: one request where there was none. Raises Unavailable, Corrupt (one cannot be read: whom it names is not known), Missing (listed and gone)."""
    return [decode_former(await store.get(name), where=name) for name in await former_names(store, cluster)]


async def former_names(store: ObjectStore, cluster: str) -> list[str]:
    """Their keys, rising. Raises Unavailable."""
    return [name for name in await list_all(store, former_prefix(cluster)) if isinstance(parse(name), FormerKey)]
