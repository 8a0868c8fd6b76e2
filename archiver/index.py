"""What one cluster's archive holds, in memory, from listings and manifests. Manifests are immutable, so each is read once.

Of every LSN range the highest generation counts whose manifest verifies and whose segment object is listed with the size that the manifest says. What is
there and does not verify is kept as a problem, named by its key, and never used.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from archiver.base import BaseManifest, decode_base
from archiver.closed import decode_closed, newest_closed
from archiver.layout import (
    AFTER_ALL,
    BaseKey,
    ClosedKey,
    SegmentKey,
    base_prefix,
    build,
    closed_prefix,
    log_prefix,
    parse,
    tables_prefix,
)
from archiver.manifest import SegmentManifest, decode_manifest
from archiver.window import Closed, Span, Start, Window, window_of
from base.env import ObjectStore, Tasks
from base.errors import Corrupt, Missing
from storage.archive_port import ClosedPoint

T = TypeVar("T")

PARALLEL = 8
"""Manifests read at a time."""
CLOSED_KEPT = 64
"""Closed points remembered per partition: enough to find one that the archive has reached while it lags."""
CLOSED_COLD_READ = 4
"""At the first look so many of the newest closed objects of each node are read."""


class Problem(NamedTuple):
    """An object that cannot be used. kind: `unreadable` (rot), `forged` (sums fit, content does not), `hole` (it is gone)."""

    object: str
    kind: str
    detail: str
    first: int | None
    last: int | None


class Shelf(NamedTuple):
    """What the archive holds of one partition, rising by LSN; of each range the highest generation that verifies."""

    bases: tuple[BaseManifest, ...]
    segments: tuple[SegmentManifest, ...]
    problems: tuple[Problem, ...] = ()


class Entry(NamedTuple):
    """A manifest's facts that the index keeps (a few hundred bytes). members: how many agreed when it was written. stored, raw: bytes."""

    key: SegmentKey
    span: Span
    stored: int
    raw: int
    members: int
    table_name: str


@dataclass(slots=True)
class PartitionIndex:
    """One partition. entries: usable segments by first LSN. sizes: every listed log object. closed: newest closed points, rising."""

    table: str
    partition: str
    table_name: str = ""
    entries: dict[int, Entry] = field(default_factory=dict)
    bases: list[BaseManifest] = field(default_factory=list)
    base_bytes: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    closed: list[ClosedPoint] = field(default_factory=list)
    known: dict[str, SegmentManifest | Problem] = field(default_factory=dict)
    """Manifests read so far, by key."""

    def reach(self) -> int:
        """Last LSN of the contiguous log from its lowest start (0: nothing)."""
        lsn = min((base.lsn for base in self.bases), default=0)
        while (entry := self.entries.get(lsn + 1)) is not None:
            lsn = entry.span.last
        return lsn

    def window(self) -> Window:
        return window_of(
            self.partition,
            spans=[entry.span for entry in self.entries.values()],
            starts=[Start(base.lsn, base.stamp, base.chain) for base in self.bases],
            closed=[Closed(point.closed, point.last_content) for point in self.closed],
        )

    def note_closed(self, point: ClosedPoint) -> None:
        """A closed point seen in `closed/` or heard from a leader."""
        if self.closed and point.closed <= self.closed[-1].closed:
            return
        self.closed.append(point)
        if len(self.closed) > CLOSED_KEPT:
            del self.closed[1 : len(self.closed) - CLOSED_KEPT + 1]


def span_of(manifest: SegmentManifest) -> Span:
    return Span(
        manifest.first,
        manifest.last,
        manifest.first_stamp,
        manifest.last_stamp,
        manifest.closed,
        manifest.total.rows,
        manifest.content,
        manifest.chain_before,
        manifest.chain,
    )


def _entry(manifest: SegmentManifest) -> Entry:
    return Entry(manifest.key(), span_of(manifest), manifest.stored.size, manifest.raw.size, len(manifest.members), manifest.table_name)


async def list_all(store: ObjectStore, prefix: str, *, after: str = "") -> dict[str, int]:
    """Every key below a prefix with its size, in byte order."""
    found: dict[str, int] = {}
    while True:
        page = await store.list(prefix, after=after)
        for info in page.objects:
            found[info.key] = info.size
            after = info.key
        if not page.more or not page.objects:
            return found


async def partitions_of(store: ObjectStore, cluster: str) -> list[tuple[str, str]]:
    """(table, partition) of every partition with an object, sorted; one request for each."""
    found: list[tuple[str, str]] = []
    prefix, after = tables_prefix(cluster), ""
    while True:
        page = await store.list(prefix, after=after, limit=50)
        for info in page.objects:
            after = info.key
            key = parse(info.key)
            if isinstance(key, SegmentKey | BaseKey):
                found.append((key.table, key.partition))
                after = f"{cluster}/t={key.table}/p={key.partition}/{AFTER_ALL}"
                break
        else:
            if not page.more:
                return found


async def in_parallel(tasks: Tasks | None, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]], name: str) -> list[T]:
    """Results in order, PARALLEL at a time. Without tasks (in a worker process): one after the other. The first error is raised after its batch ended."""
    if tasks is None:
        return [await call() for call in calls]
    results: list[T] = []
    for start in range(0, len(calls), PARALLEL):
        running = [tasks.spawn(_outcome(call), name=name) for call in calls[start : start + PARALLEL]]
        outcomes = [await one for one in running]
        for value, error in outcomes:
            if error is not None:
                raise error
            results.append(value)
    return results


async def _outcome(call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[Any, BaseException | None]:
    """Value or error, so that a failed sibling is never an exception that nobody awaited."""
    try:
        return await call(), None
    except Exception as error:  # noqa: BLE001 - handed to in_parallel, which raises it
        return None, error


async def _manifest(store: ObjectStore, key: SegmentKey) -> SegmentManifest | Problem:
    where = build(key._replace(manifest=True))
    try:
        return decode_manifest(await store.get(where), where=where)
    except Corrupt as error:
        return Problem(where, "unreadable", str(error), key.first, key.last)
    except Missing as error:
        return Problem(where, "hole", str(error), key.first, key.last)


def choose_order(keys: Sequence[SegmentKey]) -> list[list[SegmentKey]]:
    """Candidates by LSN range and content, each with its highest generation first; ranges rising, the wider one of two first."""
    groups: dict[tuple[int, int, str], list[SegmentKey]] = {}
    for key in keys:
        groups.setdefault((key.first, -key.last, key.sha16), []).append(key)
    return [sorted(groups[name], key=lambda key: -key.generation) for name in sorted(groups)]


class ShelfReader:
    """Reads one partition's shelf. `known` manifests (by key of the manifest object) are not read again."""

    def __init__(self, store: ObjectStore, cluster: str, tasks: Tasks | None) -> None:
        self._store = store
        self._cluster = cluster
        self._tasks = tasks

    async def log(
        self, sizes: dict[str, int], known: dict[str, SegmentManifest | Problem]
    ) -> tuple[dict[int, SegmentManifest], list[Problem]]:
        """Usable segments by first LSN out of a listing of `log/`, and what cannot be used. `known` is added to."""
        keys = [key for key in map(parse, sizes) if isinstance(key, SegmentKey)]
        present = {build(key) for key in keys}
        for name in [name for name, found in known.items() if isinstance(found, Problem) and found.kind == "hole"]:
            del known[name]  # listed, then not found: look again
        for name in [name for name, found in known.items() if isinstance(found, Problem) and found.kind == "hole"]:
            del known[name]  # was listed and then not found: look again
        wanted = [key for key in keys if key.manifest and build(key) not in known]
        calls = [_bind(_manifest, self._store, key) for key in wanted]
        for key, found in zip(wanted, await in_parallel(self._tasks, calls, "read manifests"), strict=True):
            known[build(key)] = found
        problems: list[Problem] = []
        candidates: dict[int, list[SegmentManifest]] = {}
        for group in choose_order(sorted({key._replace(manifest=True) for key in keys}, reverse=True)):
            usable, bad = _best(group, present, sizes, known)
            problems += bad
            if usable is not None:
                candidates.setdefault(usable.first, []).append(usable)
        return _thread(candidates, problems), problems

    async def bases(self, sizes: dict[str, int]) -> tuple[list[BaseManifest], list[Problem]]:
        """Usable bases out of a listing of `base/`: all parts there, highest generation of each LSN."""
        best: dict[int, BaseManifest] = {}
        problems: list[Problem] = []
        folders: dict[str, BaseKey] = {}
        for key in map(parse, sizes):
            if isinstance(key, BaseKey):
                folders.setdefault(key.folder(), key._replace(part=None))
        for key in folders.values():
            where = build(key)
            if where not in sizes:
                continue  # rows without a manifest: an upload that did not finish, worth nothing and harmless
            try:
                manifest = decode_base(await self._store.get(where), where=where)
            except (Corrupt, Missing) as error:
                problems.append(Problem(where, "unreadable" if isinstance(error, Corrupt) else "hole", str(error), None, key.lsn))
                continue
            lost = [
                build(manifest.key(part)) for part, sums in enumerate(manifest.parts) if sizes.get(build(manifest.key(part))) != sums.size
            ]
            for name in lost:
                kind = "unreadable" if name in sizes else "hole"
                problems.append(Problem(name, kind, "a part of a base is gone or has the wrong size", None, key.lsn))
            known = best.get(manifest.lsn)
            if not lost and (known is None or known.generation < manifest.generation):
                best[manifest.lsn] = manifest
        return [best[lsn] for lsn in sorted(best)], problems

    async def shelf(self, table: str, partition: str) -> Shelf:
        """List and read one partition anew. Raises Unavailable."""
        sizes = await list_all(self._store, log_prefix(self._cluster, table, partition))
        segments, problems = await self.log(sizes, {})
        bases, more = await self.bases(await list_all(self._store, base_prefix(self._cluster, table, partition)))
        return Shelf(tuple(bases), tuple(segments[first] for first in sorted(segments)), (*problems, *more))


def _bind(function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> Callable[[], Coroutine[Any, Any, T]]:
    return lambda: function(*arguments)


def _best(
    group: Sequence[SegmentKey], present: set[str], sizes: dict[str, int], known: dict[str, SegmentManifest | Problem]
) -> tuple[SegmentManifest | None, list[Problem]]:
    """The highest generation of one range that can be used, and what is wrong with those above it. Those below it are evidence, no problem."""
    problems: list[Problem] = []
    for key in group:
        name, data = build(key), build(key.twin())
        found = known.get(name)
        if name not in present or found is None:
            continue  # a segment without its manifest: an upload under way or cut off, not archived
        if isinstance(found, Problem):
            problems.append(found)
        elif data not in present:
            problems.append(Problem(data, "hole", "the segment object is gone, its manifest is there", key.first, key.last))
        elif sizes[data] != found.stored.size:
            problems.append(
                Problem(data, "unreadable", f"{sizes[data]} bytes where its manifest says {found.stored.size}", key.first, key.last)
            )
        else:
            return found, problems
    return None, problems


def _thread(candidates: dict[int, list[SegmentManifest]], problems: list[Problem]) -> dict[int, SegmentManifest]:
    """One segment per first LSN: where two different ones claim the same records, the one that continues the chain."""
    chosen: dict[int, SegmentManifest] = {}
    before: SegmentManifest | None = None
    for first in sorted(candidates):
        some = candidates[first]
        if before is not None and first <= before.last:
            continue  # inside a wider segment that was chosen already
        fitting = [one for one in some if before is None or before.last + 1 != first or one.chain_before == before.chain]
        best = (fitting or some)[0]
        problems += [
            Problem(build(other.key().twin()), "forged", "another history of the same records, outside the chain", other.first, other.last)
            for other in some
            if other is not best and (other.chain_before != best.chain_before or other.last == best.last)
        ]
        chosen[first] = before = best
    return chosen


class ArchiveIndex:
    """The whole of one cluster's archive. `refresh` before use; `partitions` by (table, partition)."""

    def __init__(self, store: ObjectStore, cluster: str, *, tasks: Tasks | None = None) -> None:
        self._store = store
        self.cluster = cluster
        self._tasks = tasks
        self._reader = ShelfReader(store, cluster, tasks)
        self._closed_seen: dict[str, str] = {}
        self.partitions: dict[tuple[str, str], PartitionIndex] = {}

    async def refresh(self, *, now_us: int, table: str | None = None) -> None:
        """Look at everything: names are listed anew (so what was deleted is missed), manifests that are known are not read again. Raises Unavailable."""
        await self._read_closed(now_us)
        present = await partitions_of(self._store, self.cluster)
        for key in [key for key in self.partitions if key not in dict.fromkeys(present) and not self.partitions[key].closed]:
            del self.partitions[key]
        for key in sorted({*present, *self.partitions}):
            if table is None or key[0] == table:
                await self._read_partition(self._at(*key))

    async def follow(self, *, now_us: int) -> None:
        """The cheap look: new `closed/` objects, and the logs that they say have grown. A deletion goes unseen until the next `refresh`."""
        await self._read_closed(now_us)
        for index in list(self.partitions.values()):
            if index.closed and index.closed[-1].last_seal > index.reach():
                await self._read_tail(index)

    def _at(self, table: str, partition: str) -> PartitionIndex:
        return self.partitions.setdefault((table, partition), PartitionIndex(table, partition))

    async def _read_partition(self, index: PartitionIndex) -> None:
        """Everything of one partition, by a new listing."""
        prefix = log_prefix(self.cluster, index.table, index.partition)
        index.sizes = await list_all(self._store, prefix)
        index.known = {name: found for name, found in index.known.items() if name in index.sizes}
        segments, problems = await self._reader.log(index.sizes, index.known)
        index.entries = {first: _entry(one) for first, one in segments.items()}
        base_sizes = await list_all(self._store, base_prefix(self.cluster, index.table, index.partition))
        index.bases, more = await self._reader.bases(base_sizes)
        index.base_bytes = sum(base_sizes.values())
        index.problems = [*problems, *more]
        newest = index.entries[max(index.entries)].table_name if index.entries else ""
        index.table_name = newest or next((base.table_name for base in reversed(index.bases)), index.table_name)

    async def _read_tail(self, index: PartitionIndex) -> None:
        """What was archived behind the contiguous log that is known: costs as much as there is new."""
        reach = index.reach()
        last = index.entries.get(max((first for first in index.entries if first <= reach), default=0))
        prefix = log_prefix(self.cluster, index.table, index.partition)
        listed = await list_all(self._store, prefix, after=build(last.key) if last is not None else "")
        index.sizes |= listed
        segments, problems = await self._reader.log(listed, index.known)
        index.entries |= {first: _entry(one) for first, one in segments.items()}
        index.problems += [problem for problem in problems if problem not in index.problems]
        for one in segments.values():
            index.table_name = one.table_name

    async def _read_closed(self, now_us: int) -> None:
        for node in await self._closed_nodes():
            seen = self._closed_seen.get(node)
            keys = await (
                newest_closed(self._store, self.cluster, node, now_us=now_us, count=CLOSED_COLD_READ)
                if seen is None
                else self._closed_after(node, seen)
            )
            for key in keys:
                try:
                    closed = decode_closed(await self._store.get(key), where=key)
                except (Corrupt, Missing):
                    continue  # verify names it; a later one says more
                finally:
                    self._closed_seen[node] = key
                for point in closed.points:
                    self._at(point.table, point.partition).note_closed(point)

    async def _closed_nodes(self) -> list[str]:
        found: list[str] = []
        prefix, after = closed_prefix(self.cluster), ""
        while True:
            page = await self._store.list(prefix, after=after, limit=10)
            for info in page.objects:
                after = info.key
                key = parse(info.key)
                if isinstance(key, ClosedKey):
                    found.append(key.node)
                    after = closed_prefix(self.cluster, key.node) + AFTER_ALL
                    break
            else:
                if not page.more:
                    return found

    async def _closed_after(self, node: str, after: str) -> list[str]:
        return list(await list_all(self._store, closed_prefix(self.cluster, node), after=after))
