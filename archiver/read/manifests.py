"""The manifests of one partition out of a listing: which objects can be used, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scrubjay.archiver.branches import disowned
from scrubjay.archiver.facts import Span
from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.day import covers, joined
from scrubjay.archiver.format.expired import decode_expired
from scrubjay.archiver.format.fault import Fault, said_of
from scrubjay.archiver.format.layout import (
    BaseKey,
    ExpiredKey,
    SegmentKey,
    build,
    parse,
)
from scrubjay.archiver.format.manifest import SegmentManifest, decode_manifest, place
from scrubjay.archiver.read.epochs import Epochs
from scrubjay.archiver.read.keyfilters import KeyFilters
from scrubjay.archiver.read.names import PARALLEL, Names
from scrubjay.archiver.read.objects import pack_by_itself
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import BaseEntry, Beginning, SegmentRow, SegmentRows, base_entry, beginning_of, rows_of
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Missing, NoKey
from scrubjay.base.together import in_parallel

PACKED = 1 << 32
"""Above every generation: what is in a pack is replaced by it, whichever it is of."""


class Begun(NamedTuple):
    """given_up: see PartitionIndex. problems: what is wrong with words that might have counted."""

    beginning: Beginning | None
    given_up: tuple[tuple[int, bytes], ...]
    problems: list[Fault]


class ManifestReader:
    """Reads the manifests of one partition."""

    def __init__(self, store: ObjectStore, cluster: str, tasks: Tasks | None, filters: KeyFilters | None = None) -> None:
        """filters: told of every manifest that goes into the rows of a log."""
        self._store = store
        self._filters = filters
        self._cluster = cluster
        self._tasks = tasks
        self.epochs = Epochs(store, cluster)

    async def manifest(self, key: SegmentKey) -> SegmentManifest | Fault:
        """Read one segment manifest. Raises Unavailable."""
        where = build(key._replace(manifest=True))
        try:
            found = decode_manifest(await self._store.get(where), where=where)
        except (Corrupt, Missing, NoKey) as error:
            return Fault(error.kind, where, key.first, said_of(error), key.last)
        return await self._claimed(found, where)

    async def _claimed(self, found: SegmentManifest, where: str) -> SegmentManifest | Fault:
        """Unless somebody wrote it, or one of its parts, in an epoch that was not his."""
        for epoch, owner in dict.fromkeys((one.epoch, one.owner) for one in (found, *found.each())):
            fault = await self.epochs.fault(epoch, owner)
            if fault is not None:
                return Fault(FORGED, where, found.first, fault, found.last)
        return found

    async def pack(self, key: SegmentKey) -> SegmentManifest | Fault | None:
        """What a pack whose manifest is gone or bad says of itself; None: it is no pack, or does not check. Raises Unavailable."""
        found = await pack_by_itself(self._store, key)
        return None if found is None else await self._claimed(found, build(key._replace(manifest=False)))

    async def base(self, key: BaseKey, sizes: Mapping[str, int]) -> BaseManifest | Fault:
        """Read one base manifest; sizes: of the listed objects, for its parts. Raises Unavailable."""
        where = build(key._replace(part=None))
        try:
            found = decode_base(await self._store.get(where), where=where)
        except (Corrupt, Missing, NoKey) as error:
            return Fault(error.kind, where, None, said_of(error))
        for part, sums in enumerate(found.parts):
            name = build(found.key(part))
            if sizes.get(name) != sums.size:
                return Fault(UNREADABLE if name in sizes else HOLE, name, None, "a part of a base is gone or has the wrong size")
        fault = await self.epochs.fault(found.epoch, found.owner)
        return found if fault is None else Fault(FORGED, where, None, fault)

    async def beginning(self, names: Names, index: PartitionIndex, rows: SegmentRows) -> Begun:
        """What was taken away, by the furthest sound object in `expired/` that is of the history which counts (`branches.disowned`); and what is wrong with
        those above it. The index's own, read before, is sound even if its object is gone by now. rows: of the log as read so far; the manifests that touch
        the LSN are added. Raises Unavailable."""
        problems: list[Fault] = []
        given_up: list[tuple[int, bytes]] = []
        known = index.beginning
        places = {(key.lsn, key.generation) for key in map(parse, names.expired) if isinstance(key, ExpiredKey)}
        if known is not None:
            places.add((known.lsn, known.generation))
        for lsn, generation in sorted(places, reverse=True):
            if known is not None and (lsn, generation) == (known.lsn, known.generation):
                word = known
            else:
                found = await self._word(ExpiredKey(self._cluster, names.table, names.partition, lsn, generation))
                if isinstance(found, Fault):
                    problems.append(found)
                    continue
                word = found
            if not await self._disowned(word, names, index, rows):
                return Begun(word, tuple(given_up), [one for one in problems if not _replaced(one, word)])
            if word.chain is not None:
                given_up.append((word.lsn, word.chain))
        return Begun(None, tuple(given_up), problems)

    async def _word(self, key: ExpiredKey) -> Beginning | Fault:
        where = build(key)
        try:
            found = decode_expired(await self._store.get(where), where=where)
        except (Corrupt, Missing, NoKey) as error:
            return Fault(error.kind, where, None, said_of(error))
        fault = await self.epochs.fault(found.epoch, found.owner)
        return beginning_of(found) if fault is None else Fault(FORGED, where, None, fault)

    async def _disowned(self, word: Beginning, names: Names, index: PartitionIndex, rows: SegmentRows) -> bool:
        """Costs the manifests that touch the LSN, one as a rule; where these are of two histories, all behind it."""
        manifests = [key for key in map(parse, names.log) if isinstance(key, SegmentKey) and key.manifest and key.last >= word.lsn]
        near = [key for key in manifests if key.first <= word.lsn + 1]
        spans = await self._spans(near, names, rows)
        if len({span.chain_before for span in spans if span.last > word.lsn}) > 1:
            spans = await self._spans(manifests, names, rows)
        return disowned(index.judged(spans, (), word)._replace(given_up=()), chain=word.chain, epoch=word.epoch)

    async def _spans(self, keys: Sequence[SegmentKey], names: Names, rows: SegmentRows) -> list[Span]:
        wanted = {name for key in keys for name in (build(key), build(key.twin()))}
        await self.log({name: size for name, size in names.log.items() if name in wanted}, rows)
        idents = {(key.first, key.last, key.sha16) for key in keys}
        return [row.span() for row in rows if ((key := row.key("", "", "")).first, key.last, key.sha16) in idents]

    async def table_name(self, names: Names) -> str | None:
        """The table's name, by the newest manifest of a log or base that can be read. Raises Unavailable."""
        for name in reversed([*names.base, *names.log]):
            key = parse(name)
            found: SegmentManifest | BaseManifest | Fault | None = None
            if isinstance(key, SegmentKey) and key.manifest:
                found = await self.manifest(key)
            elif isinstance(key, BaseKey) and key.part is None:
                found = await self.base(key, names.base)
            if isinstance(found, SegmentManifest | BaseManifest):
                return found.table_name
        return None

    async def log(self, sizes: Mapping[str, int], rows: SegmentRows) -> tuple[list[SegmentRow], list[Fault], str]:
        """Add to `rows` what a listing of `log/` has and they lack. Returns what was added, what cannot be used, and the table's name if any was read.

        A manifest whose segment is not there, or has another size, is a problem and no row. One of a pack that is gone or bad is a problem too; its parts
        are read from the pack itself where nothing else holds them.
        """
        problems: list[Fault] = []
        keys = [key for key in map(parse, sizes) if isinstance(key, SegmentKey)]
        wanted = [key for key in keys if key.manifest and not rows.has(key)]
        bare = [key for key in keys if not key.manifest and build(key.twin()) not in sizes and not rows.has(key)]
        added: list[SegmentRow] = []
        table_name = ""
        for start in range(0, len(wanted), 64):
            some = wanted[start : start + 64]
            read = await in_parallel(self._tasks, self.manifest, some, lanes=PARALLEL, name="read manifests")
            for key, found in zip(some, read, strict=True):
                manifest = _of_one(usable(key, found, sizes), rows)
                if isinstance(manifest, Fault):
                    problems.append(manifest)
                    if manifest.object == build(key) and build(key.twin()) in sizes:
                        bare.append(key.twin())
                else:
                    added += self._add(manifest, rows)
                    table_name = manifest.table_name
        for key in _nowhere_else(bare, rows):
            told = await self.pack(key)
            told = None if told is None else _of_one(told, rows)
            if isinstance(told, Fault):
                problems.append(told)
            elif told is not None:
                if build(key.twin()) not in sizes:
                    problems.append(
                        Fault(HOLE, build(key.twin()), key.first, "the pack's manifest is gone; its parts are read from itself", key.last)
                    )
                added += self._add(told, rows)
                table_name = told.table_name
        return added, superseded(problems, rows), table_name

    def _add(self, manifest: SegmentManifest, rows: SegmentRows) -> list[SegmentRow]:
        if self._filters is not None:
            self._filters.note(manifest)
        found = rows_of(manifest)
        rows.place = rows.place or place(manifest)
        for row in found:
            rows.add(row)
        return found

    async def bases(self, sizes: Mapping[str, int], known: Sequence[BaseEntry]) -> tuple[list[BaseEntry], list[Fault], str]:
        """Usable bases out of a listing of `base/`: all parts there, highest generation of each LSN and content, rising. known: read before."""
        best: dict[tuple[int, str, bytes], BaseEntry] = {}
        problems: list[Fault] = []
        table_name = ""
        folders: dict[tuple[int, int, str], list[str]] = {}
        for name in sizes:
            key = parse(name)
            if isinstance(key, BaseKey):
                folders.setdefault((key.lsn, key.generation, key.sha16), []).append(name)
        read = {(one.lsn, one.generation, one.sha16): one for one in known}
        for ident, names in folders.items():
            key = parse(names[0])
            assert isinstance(key, BaseKey)
            where = build(key._replace(part=None))
            if where not in sizes:
                continue  # rows without a manifest: an upload that did not finish, worth nothing and harmless
            entry = read.get(ident)
            parts = [sizes[name] for name in names if name != where]
            if entry is None or len(parts) != entry.parts or sum(parts) != entry.size:
                found = await self.base(key, sizes)
                if isinstance(found, Fault):
                    problems.append(found)
                    continue
                entry, table_name = base_entry(found), found.table_name
            same = best.get((entry.lsn, entry.sha16, entry.chain))
            if same is None or same.generation < entry.generation:
                best[entry.lsn, entry.sha16, entry.chain] = entry
        return [best[ident] for ident in sorted(best)], problems, table_name


def _replaced(problem: Fault, by: Beginning) -> bool:
    """A lower generation of the same statement is evidence, not news."""
    key = parse(problem.object)
    return isinstance(key, ExpiredKey) and key.lsn == by.lsn and key.generation < by.generation


def usable(key: SegmentKey, found: SegmentManifest | Fault, sizes: Mapping[str, int]) -> SegmentManifest | Fault:
    """The manifest that was read of `key` if its segment is listed with the size that it says, else what is wrong. sizes: of the listed objects."""
    if isinstance(found, Fault):
        return found
    data = build(key.twin())
    if data not in sizes:
        return Fault(HOLE, data, key.first, "the segment object is gone, its manifest is there", key.last)
    if sizes[data] != found.stored.size:
        detail = f"{sizes[data]} bytes where its manifest says {found.stored.size}"
        return Fault(UNREADABLE, data, key.first, detail, key.last)
    return found


def _of_one(found: SegmentManifest | Fault, rows: SegmentRows) -> SegmentManifest | Fault:
    """Unless it says of how the partition began something else than the manifests that were read before: the chain does not cover that, and coverage rests on it."""
    if isinstance(found, Fault) or rows.place is None or rows.place.born == found.born:
        return found
    detail = "it says of how the partition began something else than other manifests of its log"
    return Fault(FORGED, build(found.key().twin()), found.first, detail, found.last)


def _nowhere_else(keys: Sequence[SegmentKey], rows: SegmentRows) -> list[SegmentKey]:
    """Those of the objects some of whose records are in no row. An upload that is not finished is among them, one at a time."""
    spans = joined(sorted((row.first, row.last) for row in rows))
    return [key for key in keys if not covers(spans, key.first, key.last)]


def superseded(problems: Sequence[Fault], rows: SegmentRows) -> list[Fault]:
    """Without those that a higher good generation of the same range and content, or a pack, has replaced: these are evidence, not news."""
    good: dict[tuple[int, int, str], int] = {}
    for row in rows:
        ident = (row.first, row.last, row.sha16)
        good[ident] = PACKED if row.pack else max(row.generation, good.get(ident, 0))
        if row.pack:
            first, last, generation, sha16 = row.pack
            good[first, last, sha16] = max(generation, good.get((first, last, sha16), 0))
    left = []
    for problem in problems:
        key = parse(problem.object)
        if not (isinstance(key, SegmentKey) and good.get((key.first, key.last, key.sha16), 0) > key.generation):
            left.append(problem)
    return left
