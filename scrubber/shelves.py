"""What a scrub looks up in the archive of one partition: which base and which log rebuild it, and what is absent. `archiver.coverage` decides; this asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from scrubjay.archiver.coverage import coverage, path_to, untold
from scrubjay.archiver.facts import Coverage, Mark, Start
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, is_of_base, log_prefix, parse
from scrubjay.archiver.format.manifest import PartitionPlace
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.inherited import Inheritance
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import BaseEntry, SegmentRow, objects_of
from scrubjay.base.env import Clock, ObjectStore
from scrubjay.base.errors import FORGED, HOLE, Missing
from scrubjay.base.ids import Lsn
from scrubjay.storage.log.split import Born

Known = Callable[[str], Awaitable[list[str]]]
"""Object keys that begin with a prefix and were once proven to be there (the ledger's memory)."""


class ShelfBase(NamedTuple):
    """A base and the key of its manifest."""

    entry: BaseEntry
    key: BaseKey

    @property
    def lsn(self) -> Lsn | None:
        return Lsn(self.entry.lsn)

    @property
    def stamp(self) -> int:
        return self.entry.stamp

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return self.entry.size

    @property
    def asked(self) -> str:
        """As a job is told."""
        return build(self.key)

    def objects(self) -> list[str]:
        """Manifest and parts."""
        return [build(self.key), *(build(self.key._replace(part=part)) for part in range(self.entry.parts))]

    def base_at(self, name: str) -> str | None:
        """Key of the base manifest that the object `name` belongs to, if that is read here."""
        return build(self.key) if is_of_base(name, self.key) else None


class ShelfInherited(NamedTuple):
    """What a child of a split rests on. It is no base of its own: the first one is due. stamp: of the parent's last SEAL. size: bytes to fetch of the parent."""

    made: Inheritance
    stamp: int
    size: int
    lsn: None = None

    @property
    def asked(self) -> dict[str, Any]:
        """As a job is told."""
        return self.made.argument()

    def objects(self) -> list[str]:
        """Those of the parent that are read, but for the parts of its base."""
        return self.made.objects()

    def base_at(self, name: str) -> str | None:
        """Key of the base manifest that the object `name` belongs to, if that is read here."""
        bases = (key for key in map(parse, self.objects()) if isinstance(key, BaseKey))
        return next((build(key) for key in bases if is_of_base(name, key)), None)


class ShelfSegment(NamedTuple):
    """A segment and the key of the object that holds it: a pack holds several."""

    row: SegmentRow
    key: SegmentKey


class Shelf(NamedTuple):
    """How to rebuild a partition to an LSN: the base to begin with (None: the log's beginning), the segments behind it. problems: objects that are there and
    cannot be used. gaps: absent LSN ranges of the whole log up to there, (first, last). astray: keys of objects that belong to no history that counts. born: how the partition began."""

    base: ShelfBase | ShelfInherited | None
    segments: tuple[ShelfSegment, ...]
    problems: tuple[Fault, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()
    astray: tuple[str, ...] = ()
    born: Born | None = None

    def objects(self) -> list[SegmentKey]:
        """That hold the segments, each once."""
        return list(dict.fromkeys(one.key for one in self.segments))


class Shelves(Protocol):
    """Raises Unavailable."""

    async def shelf(
        self, table: str, partition: str, *, upto: Lsn, without: tuple[str, ...] = (), told: PartitionPlace | None = None
    ) -> Shelf:
        """By a new look. A hole in front of `upto` ends the segments. without: object keys of base manifests not to use. told: what a child's manifests would say, while there are none: that of its
        beginning the parent's archive proves, or nothing leads there."""
        ...

    def seen(self, table: str, partition: str, *, upto: Lsn) -> Shelf | None:
        """As of the last look; None: there was none, or it saw nothing. Never raises."""
        ...

    async def names(self, table: str, partition: str) -> list[SegmentKey]:
        """Every segment object that counts, rising; as of the last look."""
        ...

    async def lost(self, table: str, partition: str, *, first: int, last: int | None) -> str:
        """The key that the object with the record `first` should have; as much of it as can be known. last: the LSN before the next segment."""
        ...

    def distrust(self, damage: Fault) -> None:
        """An object was read and is bad, or was listed and is gone: no restore and no window may go by it until it is sound again. Never raises."""
        ...


class StoreShelves:
    """Shelves from the index that the whole process shares. known: of the ledger, for the names of what is gone."""

    def __init__(self, store: ObjectStore, index: ArchiveIndex, clock: Clock, *, known: Known | None = None) -> None:
        self._store, self._index, self._clock = store, index, clock
        self._known = known

    async def shelf(
        self, table: str, partition: str, *, upto: Lsn, without: tuple[str, ...] = (), told: PartitionPlace | None = None
    ) -> Shelf:
        await self._index.refresh(now_us=self._clock.wall_us(), table=table, partition=partition)
        index = self._index.partitions.get((table, partition))
        if told is not None and told.born is not None and (index is None or index.place is None):
            await self._index.refresh(now_us=self._clock.wall_us(), table=table, partition=told.born.parent)
            index = PartitionIndex(self._index.cluster, table, partition, kin=self._index.partitions)
            index.rows.place = told
        return Shelf(None, (), (), ((1, upto),) if upto else ()) if index is None else shelf_of(index, upto=upto, without=without)

    def seen(self, table: str, partition: str, *, upto: Lsn) -> Shelf | None:
        index = self._index.partitions.get((table, partition))
        return None if index is None else shelf_of(index, upto=upto)

    async def names(self, table: str, partition: str) -> list[SegmentKey]:
        index = self._index.partitions.get((table, partition))
        if index is None:
            return []
        return objects_of(index.rows_of(index.coverage().thread), self._index.cluster, table, partition)

    async def lost(self, table: str, partition: str, *, first: int, last: int | None) -> str:
        prefix = f"{log_prefix(self._index.cluster, table, partition)}{first:016x}-"
        for key in map(parse, await list_all(self._store, prefix)):
            if isinstance(key, SegmentKey):
                return build(key.twin())
        if self._known is not None:
            remembered = [name for name in await self._known(prefix) if isinstance(key := parse(name), SegmentKey) and not key.manifest]
            if remembered:
                return remembered[-1]
        return prefix if last is None else f"{prefix}{last:016x}"

    def distrust(self, damage: Fault) -> None:
        self._index.distrust([damage.object], kind=damage.kind, detail=damage.detail)


def shelf_of(index: PartitionIndex, *, upto: Lsn, without: tuple[str, ...] = ()) -> Shelf:
    """What `archiver.coverage` says of the partition, as objects to read. Pure."""
    facts = index.facts()
    facts = facts._replace(marks=[*facts.marks, Mark(upto, None)])  # the cluster says that it is archived up to there
    found = coverage(facts)
    where = (index.cluster, index.table, index.partition)
    left = tuple(one.start() for one in index.bases if build(one.key(*where)) in without)
    told = [(one.lsn, one.last) for one in index.problems if one.lsn is not None and one.last is not None]
    begun = None if index.born is None else index.born.lsn
    holes = [hole for hole in found.window.holes if hole.first_lsn <= upto and not (hole.base and hole.first_lsn == begun)]
    gaps = [(hole.first_lsn, min(hole.last_lsn, upto)) for hole in holes]
    try:
        path = path_to(facts, found, lsn=upto, without=left)
        start, spans = path.start, path.spans
    except Missing:
        start, spans = None, found.thread
    segments = index.rows_of([one for one in spans if one.first <= upto])
    return Shelf(
        _base_of(index, start),
        tuple(ShelfSegment(row, row.key(*where)) for row in segments),
        (*index.problems, *_inherited_faults(index, found)),
        tuple(rest for gap in gaps if (rest := untold(gap, told)) is not None),
        tuple(build(key) for key, _ in index.astray(found)),
        index.born,
    )


def _base_of(index: PartitionIndex, start: Start | None) -> ShelfBase | ShelfInherited | None:
    """What the log goes on from: a base of its own, or what the partition inherits."""
    bases = [one for one in index.bases if one.start() == start]
    if bases:
        return ShelfBase(bases[-1], bases[-1].key(index.cluster, index.table, index.partition))
    made = None if start is None else index.inheritance()
    return None if made is None or start is None else ShelfInherited(made, start.stamp, index.inherited_cost().stored)


def _inherited_faults(index: PartitionIndex, found: Coverage) -> list[Fault]:
    """Why a child of a split cannot be rebuilt from its beginning on: what its parent's archive lacks."""
    born = index.born
    if born is None or not any(hole.base and hole.first_lsn == born.lsn for hole in found.window.holes):
        return []
    prefix = log_prefix(index.cluster, index.table, born.parent)
    misled = index.misled()
    if misled is not None:
        return [Fault(FORGED, prefix, None, f"damaged lineage: {misled}")]
    parent = index.parent
    if parent is None:
        return [Fault(HOLE, prefix, None, "the log of the partition that this one came of at a split is not in the archive")]
    holes = [one for one in parent.coverage().window.holes if one.first_lsn <= born.lsn and one.no_key is None]
    detail = "records {} to {} of the partition that this one came of at a split are not in the archive"
    lost = [Fault(HOLE, f"{prefix}{one.first_lsn:016x}", None, detail.format(one.first_lsn, one.last_lsn)) for one in holes]
    return [*parent.problems, *(one for one in lost if not any(bad.object.startswith(one.object) for bad in parent.problems))]


def fault_at(problems: tuple[Fault, ...], lsn: int) -> Fault | None:
    """The fault that keeps record `lsn` from being read, if one is known."""
    return next((one for one in problems if one.lsn is not None and one.last is not None and one.lsn <= lsn <= one.last), None)
