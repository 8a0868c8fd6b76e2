"""What a scrub looks up in the archive of one partition, and no more: the bases, and the log behind the newest of them.

A partition with a long log has many manifests; those below the newest base are `verify`'s business, so a scrub lists and reads only what is behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from archiver.base import BaseManifest
from archiver.index import Problem, Shelf, ShelfReader, list_all
from archiver.layout import BaseKey, SegmentKey, base_prefix, build, log_prefix, parse
from base.env import ObjectStore, Tasks
from base.ids import Lsn

Known = Callable[[str], Awaitable[list[str]]]
"""Object keys that begin with a prefix and were once proven to be there (the ledger's memory)."""


class Shelves(Protocol):
    """Raises Unavailable."""

    async def shelf(self, table: str, partition: str, *, upto: Lsn, without: tuple[str, ...] = ()) -> Shelf:
        """The newest usable base at or below `upto` (none, or one), and the segments behind it. without: object keys of base manifests not to use."""
        ...

    async def gaps(self, table: str, partition: str, *, upto: Lsn) -> list[tuple[int, int, str]]:
        """Ranges of the whole log up to `upto` that no listed segment with its manifest covers: (first, last, key of what is gone). By names alone."""
        ...

    async def names(self, table: str, partition: str) -> list[SegmentKey]:
        """Every segment object listed, rising; of each range the highest generation."""
        ...

    async def lost(self, table: str, partition: str, *, first: int, last: int | None) -> str:
        """The key that the object with the record `first` should have; as much of it as can be known. last: the LSN before the next segment."""
        ...


class StoreShelves:
    """Shelves from listings of the store. known: of the ledger, for the names of what is gone."""

    def __init__(self, store: ObjectStore, cluster: str, tasks: Tasks, *, known: Known | None = None) -> None:
        self._store = store
        self._cluster = cluster
        self._reader = ShelfReader(store, cluster, tasks)
        self._known = known

    async def shelf(self, table: str, partition: str, *, upto: Lsn, without: tuple[str, ...] = ()) -> Shelf:
        bases, problems = await self._reader.bases(await list_all(self._store, base_prefix(self._cluster, table, partition)))
        usable = [base for base in bases if base.lsn <= upto and build(base.key()) not in without]
        base = usable[-1] if usable else None
        prefix = log_prefix(self._cluster, table, partition)
        floor = base.lsn if base is not None else 0
        sizes = await list_all(self._store, prefix, after=f"{prefix}{floor + 1:016x}")
        if floor and not _continues(sizes, floor, upto):
            # Nothing takes the log up right behind the base: it may lie inside a wider segment. Then the log is read from its beginning.
            base, sizes = _unstraddled(usable, await list_all(self._store, prefix))
        segments, more = await self._reader.log({name: size for name, size in sizes.items() if _begins(name) <= upto}, {})
        return Shelf(() if base is None else (base,), tuple(segments[first] for first in sorted(segments)), (*problems, *more))

    async def gaps(self, table: str, partition: str, *, upto: Lsn) -> list[tuple[int, int, str]]:
        bases = [
            key for key in map(parse, await list_all(self._store, base_prefix(self._cluster, table, partition))) if isinstance(key, BaseKey)
        ]
        missing = uncovered(await self.names(table, partition), floors={key.lsn for key in bases}, upto=upto)
        return [(first, last, await self.lost(table, partition, first=first, last=last)) for first, last in missing]

    async def names(self, table: str, partition: str) -> list[SegmentKey]:
        listed = await list_all(self._store, log_prefix(self._cluster, table, partition))
        best: dict[tuple[int, int], SegmentKey] = {}
        for key in map(parse, listed):
            if isinstance(key, SegmentKey) and not key.manifest and build(key.twin()) in listed:
                known = best.get((key.first, key.last))
                if known is None or known.generation < key.generation:
                    best[key.first, key.last] = key
        return [best[span] for span in sorted(best)]

    async def lost(self, table: str, partition: str, *, first: int, last: int | None) -> str:
        prefix = f"{log_prefix(self._cluster, table, partition)}{first:016x}-"
        for key in map(parse, await list_all(self._store, prefix)):
            if isinstance(key, SegmentKey):
                return build(key.twin())
        if self._known is not None:
            remembered = [name for name in await self._known(prefix) if name.endswith(".seg")]
            if remembered:
                return remembered[-1]
        return prefix if last is None else f"{prefix}{last:016x}"


def uncovered(names: Sequence[SegmentKey], *, floors: set[int], upto: int) -> list[tuple[int, int]]:
    """LSN ranges up to `upto` between (and before) the segments. floors: LSNs of bases: a log that begins right behind one was expired up to there. Pure."""
    found: list[tuple[int, int]] = []
    expected = names[0].first if names and names[0].first - 1 in floors else 1
    for key in names:
        if key.first > expected:
            found.append((expected, min(key.first - 1, upto)))
        expected = max(expected, key.last + 1)
    if expected <= upto:
        found.append((expected, upto))
    return [(first, last) for first, last in found if first <= upto]


def _begins(name: str) -> int:
    key = parse(name)
    return key.first if isinstance(key, SegmentKey) else 0


def _continues(sizes: dict[str, int], floor: int, upto: Lsn) -> bool:
    """The log behind a base begins right behind it, or nothing is asked of it."""
    return floor >= upto or any(_begins(name) == floor + 1 for name in sizes)


def _unstraddled(bases: list[BaseManifest], sizes: dict[str, int]) -> tuple[BaseManifest | None, dict[str, int]]:
    """The newest base at whose end a segment begins or none lies across, and the names behind it."""
    keys = [key for key in map(parse, sizes) if isinstance(key, SegmentKey)]
    for base in reversed(bases):
        if not any(key.first <= base.lsn < key.last for key in keys):
            return base, {name: size for name, size in sizes.items() if _begins(name) > base.lsn}
    return None, sizes


def problem_at(problems: tuple[Problem, ...], lsn: int) -> Problem | None:
    """The problem that keeps record `lsn` from being read, if one is known."""
    return next((one for one in problems if one.first is not None and one.last is not None and one.first <= lsn <= one.last), None)
