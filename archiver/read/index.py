"""What one cluster's archive holds, in memory, from listings and manifests: facts for `archiver.coverage`, a fixed number of bytes for every segment.

A manifest is immutable, so one that was read and was good is not read again (what happens to its bytes later is `verify`'s to find); one that was bad is
looked at again each time. Of every LSN range and content the highest generation counts whose manifest decodes and whose segment object is listed with the
size that the manifest says. What is there and cannot be used is kept as a problem, named by its key, and never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scrubjay.archiver.coverage import Closed, Coverage, Facts, Fork, Mark, Start, Window, coverage
from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.closed import ClosedObject, decode_closed, newest_closed
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.identity import decode_epoch
from scrubjay.archiver.format.layout import (
    AFTER_ALL,
    BaseKey,
    ClosedKey,
    EpochKey,
    SegmentKey,
    build,
    closed_prefix,
    epoch_prefix,
    log_prefix,
    parse,
)
from scrubjay.archiver.format.manifest import SegmentManifest, decode_manifest
from scrubjay.archiver.read.names import PARALLEL, Names, list_all, names_of, sweep
from scrubjay.archiver.read.rows import Row, Rows, row_of, state_of
from scrubjay.archiver.read.suspects import Suspect, Suspects
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Missing
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import stamp_micros, stamp_of
from scrubjay.base.together import in_parallel

CLOSED_KEPT = 16
"""Closed points of different LSNs remembered per partition: enough to find one that the archive has reached while it lags."""
CLOSED_COLD_READ = 4
"""At the first look so many of the newest closed objects of each node are read."""
AHEAD_US = 5_000_000
"""No clock that wrote to an archive may be further ahead of the reader's than this (`max_clock_offset` and what a slow answer takes)."""


class BaseEntry(NamedTuple):
    """A base manifest's facts. size: of the row file; rows: state rows; parts: objects beside the manifest."""

    lsn: int
    stamp: int
    chain: bytes
    state: bytes
    epoch: int
    generation: int
    sha16: str
    size: int
    rows: int
    parts: int

    def start(self) -> Start:
        return Start(self.lsn, self.stamp, self.chain, self.state, self.epoch)

    def key(self, cluster: str, table: str, partition: str) -> BaseKey:
        """Key of the manifest."""
        return BaseKey(cluster, table, partition, self.lsn, self.generation, self.sha16, None)


def base_entry(m: BaseManifest) -> BaseEntry:
    return BaseEntry(
        m.lsn, m.stamp, m.chain, state_of(m.total), m.epoch, m.generation, m.file.sha256[:16], m.file.size, m.total.rows, len(m.parts)
    )  # fmt: skip


class Summary(NamedTuple):
    """What a partition's coverage comes to. clean: no hole, no fork, nothing astray: what is archived next can be judged from the end alone."""

    window: Window
    forks: tuple[Fork, ...]
    reach: int
    end: int
    tip: Start | None
    clean: bool


class Archived(NamedTuple):
    """What the cluster itself knows: the table's partition was archived up to `lsn`. chain: the value there, None if not known."""

    table: str
    partition: str
    lsn: int
    chain: bytes | None


@dataclass(slots=True)
class PartitionIndex:
    """One partition. rows: manifests of usable segments, also lower generations and other histories. bases: usable ones, rising. closed: newest points, rising.
    marks: the end as others know it. stored_bytes: of every listed object."""

    cluster: str
    table: str
    partition: str
    table_name: str = ""
    rows: Rows = field(default_factory=Rows)
    bases: list[BaseEntry] = field(default_factory=list)
    stored_bytes: int = 0
    problems: list[Fault] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    mark: Mark | None = None
    """From the cluster, or what names alone say."""
    named: int = 0
    """Last LSN that the name of a manifest claims."""
    told: int = 0
    """Archived LSN that a closed object tells of."""
    listed_told: int = 0
    """What `told` was before the last listing began. What was archived later is not in that listing and is no hole."""
    credible: int = (1 << 64) - 1
    _summary: Summary | None = None

    def best(self) -> list[Row]:
        """Of each range and content the highest generation, rising."""
        found: list[Row] = []
        for row in self.rows:
            if found and found[-1][:2] == row[:2] and found[-1].chain == row.chain:
                found[-1] = row
            else:
                found.append(row)
        return found

    def facts(self) -> Facts:
        marks = [Mark(self.named, None), Mark(self.listed_told, None)]
        if self.mark is not None:
            marks.append(self.mark)
        return Facts(
            self.partition, [row.span() for row in self.best()], [base.start() for base in self.bases], self.closed, marks, credible=self.credible
        )  # fmt: skip

    def coverage(self) -> Coverage:
        """Anew, from everything: some 10 microseconds a segment. Not kept."""
        return coverage(self.facts())

    def summary(self) -> Summary:
        """Kept until something is learned."""
        if self._summary is None:
            self._summary = _summary(self.coverage())
        return self._summary

    def window(self) -> Window:
        return self.summary().window

    def reach(self) -> int:
        """Last LSN of the contiguous log from its lowest start (0: nothing)."""
        return self.summary().reach

    def learned(self, rows: Sequence[Row] = ()) -> None:
        """Something was added: rows behind the reach that were put into `rows` just now, or a closed point. Judged from the end, if everything before fits."""
        old = self._summary
        if old is None:
            return
        self._summary = None
        if not old.clean or old.tip is None or old.window.latest_us is None:
            return
        lsn = old.reach
        closed = [point for point in self.closed if point.last_seal >= lsn]
        marks = [mark for mark in (self.mark, Mark(self.named, None), Mark(self.listed_told, None)) if mark is not None and mark.lsn > lsn]
        found = coverage(Facts(self.partition, [row.span() for row in rows], [old.tip], closed, marks, expired=lsn, credible=self.credible))
        new = _summary(found)
        if new.clean:
            latest = max(old.window.latest_us, new.window.latest_us or 0)
            self._summary = new._replace(window=Window(old.window.earliest_us, latest, ()))

    def note_closed(self, point: Closed, archived: int = 0) -> None:
        """A closed point seen in `closed/` or heard from a leader. One is kept for each place in the log, the one with the highest timestamp."""
        self.told = max(self.told, archived)
        place = (point.last_content, point.last_seal, point.chain)
        same = next((one for one in self.closed if (one.last_content, one.last_seal, one.chain) == place), None)
        if same is not None and same.closed >= point.closed:
            return
        if same is not None:
            self.closed.remove(same)
        self.closed = sorted([*self.closed, point])
        if len(self.closed) > CLOSED_KEPT:
            del self.closed[1 : len(self.closed) - CLOSED_KEPT + 1]
        self.learned()

    def believe(self, credible: int) -> None:
        """The clock went on: what was ahead of it may be true by now."""
        if any(point.closed > self.credible for point in self.closed):
            self._summary = None
        self.credible = credible

    def forget(self) -> None:
        """The summary is worked out anew when it is asked for."""
        self._summary = None

    def draft(self) -> PartitionIndex:
        """A copy to read into: until `take`, whoever asks sees the state before, never half a look."""
        rows = Rows()
        rows.extend(self.rows)
        return replace(self, rows=rows, bases=list(self.bases), problems=list(self.problems), closed=list(self.closed))

    def take(self, draft: PartitionIndex) -> None:
        """What was read into `draft`. Closed points heard since it was made stay."""
        self.rows, self.bases, self.problems, self.stored_bytes = draft.rows, draft.bases, draft.problems, draft.stored_bytes
        self.mark, self.named, self.listed_told, self.table_name = draft.mark, draft.named, draft.listed_told, draft.table_name
        self._summary = draft._summary if self.closed == draft.closed and self.credible == draft.credible else None

    def damaged(self) -> bool:
        """Something of it is absent, bad or forked."""
        found = self.summary()
        return bool(self.problems or found.window.holes or found.forks)

    def worse_than(self, before: PartitionIndex) -> bool:
        """Something is absent or bad that was not before: to be looked at again before anybody is told."""
        bad = {(one.object, one.kind) for one in before.problems}
        if any((one.object, one.kind) not in bad for one in self.problems):
            return True
        known, found = before.summary(), self.summary()
        return any(hole not in known.window.holes for hole in found.window.holes) or any(fork not in known.forks for fork in found.forks)


def _summary(found: Coverage) -> Summary:
    reach = found.reach()
    last = found.thread[-1] if found.thread and found.thread[-1].last == reach else None
    tip = Start(last.last, last.last_stamp, last.chain, last.state, last.epoch) if last is not None else None
    if tip is None and found.runs and found.runs[0].start.lsn == reach > 0:
        tip = found.runs[0].start
    clean = not found.window.holes and not found.forks and not found.astray and reach == found.end
    return Summary(found.window, found.forks, reach, found.end, tip, clean)


class Epochs:
    """Who claimed which epoch. What is written in the name of an epoch that somebody else claimed, or nobody yet, is forged."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        self._store = store
        self._cluster = cluster
        self._owners: dict[int, str | None] = {}

    async def read(self) -> None:
        """Look for new ones. An epoch object that cannot be read speaks for nobody and against nobody. Raises Unavailable."""
        for name in await list_all(self._store, epoch_prefix(self._cluster)):
            key = parse(name)
            if isinstance(key, EpochKey) and self._owners.get(key.number) is None:
                try:
                    self._owners[key.number] = decode_epoch(await self._store.get(name), where=name).owner
                except (Corrupt, Missing):
                    self._owners[key.number] = None

    async def fault(self, epoch: int, owner: str) -> str | None:
        """Why something written by `owner` in `epoch` is not to be believed."""
        if epoch > max(self._owners, default=0):
            await self.read()
        known = self._owners.get(epoch)
        if known is not None and known != owner:
            return f"written in the name of epoch {epoch} by somebody who did not claim it"
        if epoch > max(self._owners, default=epoch):
            return f"written in the name of epoch {epoch}, which nobody claimed"
        return None


class ShelfReader:
    """Reads the manifests of one partition."""

    def __init__(self, store: ObjectStore, cluster: str, tasks: Tasks | None) -> None:
        self._store = store
        self._cluster = cluster
        self._tasks = tasks
        self.epochs = Epochs(store, cluster)

    async def manifest(self, key: SegmentKey) -> SegmentManifest | Fault:
        """Read one segment manifest. Raises Unavailable."""
        where = build(key._replace(manifest=True))
        try:
            found = decode_manifest(await self._store.get(where), where=where)
        except (Corrupt, Missing) as error:
            return Fault(error.kind, where, key.first, str(error), key.last)
        fault = await self.epochs.fault(found.epoch, found.owner)
        return found if fault is None else Fault(FORGED, where, key.first, fault, key.last)

    async def base(self, key: BaseKey, sizes: Mapping[str, int]) -> BaseManifest | Fault:
        """Read one base manifest; sizes: of the listed objects, for its parts. Raises Unavailable."""
        where = build(key._replace(part=None))
        try:
            found = decode_base(await self._store.get(where), where=where)
        except (Corrupt, Missing) as error:
            return Fault(error.kind, where, None, str(error))
        for part, sums in enumerate(found.parts):
            name = build(found.key(part))
            if sizes.get(name) != sums.size:
                return Fault(UNREADABLE if name in sizes else HOLE, name, None, "a part of a base is gone or has the wrong size")
        fault = await self.epochs.fault(found.epoch, found.owner)
        return found if fault is None else Fault(FORGED, where, None, fault)

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

    async def log(self, sizes: Mapping[str, int], rows: Rows) -> tuple[list[Row], list[Fault], str]:
        """Add to `rows` what a listing of `log/` has and they lack. Returns what was added, what cannot be used, and the table's name if any was read.

        A manifest whose segment is not there, or has another size, is a problem and no row.
        """
        problems: list[Fault] = []
        wanted: list[SegmentKey] = []
        for name in sizes:
            key = parse(name)
            if isinstance(key, SegmentKey) and key.manifest and not rows.has(key):
                wanted.append(key)
        added: list[Row] = []
        table_name = ""
        for start in range(0, len(wanted), 64):
            some = wanted[start : start + 64]
            read = await in_parallel(self._tasks, self.manifest, some, lanes=PARALLEL, name="read manifests")
            for key, found in zip(some, read, strict=True):
                data = build(key.twin())
                if isinstance(found, Fault):
                    problems.append(found)
                elif data not in sizes:
                    problems.append(Fault(HOLE, data, key.first, "the segment object is gone, its manifest is there", key.last))
                elif sizes[data] != found.stored.size:
                    detail = f"{sizes[data]} bytes where its manifest says {found.stored.size}"
                    problems.append(Fault(UNREADABLE, data, key.first, detail, key.last))
                else:
                    row = row_of(found)
                    rows.add(row)
                    added.append(row)
                    table_name = found.table_name
        return added, superseded(problems, rows), table_name

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


def superseded(problems: Sequence[Fault], rows: Rows) -> list[Fault]:
    """Without those that a higher good generation of the same range and content has replaced: these are evidence, not news."""
    good: dict[tuple[int, int, str], int] = {}
    for row in rows:
        good[row.first, row.last, row.sha16] = row.generation
    left = []
    for problem in problems:
        key = parse(problem.object)
        if not (isinstance(key, SegmentKey) and good.get((key.first, key.last, key.sha16), 0) > key.generation):
            left.append(problem)
    return left


class ArchiveIndex:
    """The whole of one cluster's archive. `refresh` before use; `partitions` by (table, partition). One per process; one look at a time."""

    def __init__(self, store: ObjectStore, cluster: str, *, tasks: Tasks, ahead_us: int = AHEAD_US) -> None:
        self._store = store
        self.cluster = cluster
        self.ahead_us = ahead_us
        self._reader = ShelfReader(store, cluster, tasks)
        self._gate = Gate(tasks)
        self._closed_seen: dict[str, str] = {}
        self._again = ("", "")
        self.suspects = Suspects()
        self.partitions: dict[tuple[str, str], PartitionIndex] = {}

    async def refresh(
        self, *, now_us: int, table: str | None = None, partition: str | None = None, archived: Sequence[Archived] = ()
    ) -> None:
        """Look at everything, or at one table or partition of it: names are listed anew (so what was deleted is missed), good manifests are not read again.

        archived: what the cluster knew before this call to be archived: it must be there. Raises Unavailable; what was seen until then is kept.
        """
        async with self._gate:
            await self._refresh(now_us, table, partition, archived)

    async def _refresh(self, now_us: int, table: str | None, partition: str | None, archived: Sequence[Archived]) -> None:
        await self._reader.epochs.read()
        await self._read_closed(now_us)
        if table is None:
            await self.check_closed(list(self._closed_seen))
        await self.suspects.look(self._store)
        credible = stamp_of(now_us + self.ahead_us)
        ends = {(one.table, one.partition): one for one in archived}
        told = {key: index.told for key, index in self.partitions.items()}
        missed = {key: None for key in self.partitions if table in (None, key[0]) and partition in (None, key[1])}
        missed |= {key: None for key in ends if table in (None, key[0]) and partition in (None, key[1])}
        async for names in sweep(self._store, self.cluster, table=table, partition=partition):
            key = (names.table, names.partition)
            missed.pop(key, None)
            await self._read(self._at(*key), names, credible, ends.get(key), told.get(key, 0))
        for key in missed:
            await self._read(self._at(*key), Names(*key), credible, ends.get(key), told.get(key, 0))
            found = self.partitions[key]
            if found.mark is None and not found.told and not found.closed:
                del self.partitions[key]

    async def follow(self, *, now_us: int, archived: Sequence[Archived] = ()) -> None:
        """The cheap look: logs that the cluster says have grown, and nothing else; no request while none has. A deletion goes unseen until `refresh`."""
        credible = stamp_of(now_us + self.ahead_us)
        for index in self.partitions.values():
            index.believe(credible)
        grown = [one for one in archived if one.lsn > self._known_end(one)]
        if not grown:
            return
        async with self._gate:
            for one in grown:
                index = self._at(one.table, one.partition)
                index.believe(credible)
                await self._read_tail(index, Mark(one.lsn, one.chain))

    async def look_again(self, *, now_us: int, archived: Sequence[Archived] = (), limit: int = 8) -> None:
        """Look anew at partitions of which something is absent or bad, at most `limit` of them, in turn: what was put back is seen. No request if there are
        none. Raises Unavailable."""
        async with self._gate:
            await self.suspects.look(self._store)
            bad = [key for key, index in sorted(self.partitions.items()) if index.damaged() or self.suspects.of(*key)]
            turn = list(dict.fromkeys([*[key for key in bad if key > self._again], *bad]))[:limit]
            ends = {(one.table, one.partition): one for one in archived}
            for key in turn:
                self._again = key
                index = self._at(*key)
                told = index.told
                names = await names_of(self._store, self.cluster, *key)
                await self._read(index, names, stamp_of(now_us + self.ahead_us), ends.get(key), told)

    def _known_end(self, one: Archived) -> int:
        index = self.partitions.get((one.table, one.partition))
        if index is None:
            return 0
        return max(index.reach(), index.mark.lsn if index.mark is not None else 0)

    async def listen(self, *, now_us: int) -> None:
        """Read the `closed/` objects that are new, and the logs that they say have grown. For whoever is not told by the agents themselves."""
        async with self._gate:
            await self._listen(now_us)

    async def _listen(self, now_us: int) -> None:
        await self._read_closed(now_us)
        for index in list(self.partitions.values()):
            index.believe(stamp_of(now_us + self.ahead_us))
            if index.closed and index.closed[-1].last_seal > index.reach():
                await self._read_tail(index, None)

    def heard(self, closed: ClosedObject) -> None:
        """A closed object that an agent of this process has just published."""
        key = build(ClosedKey(closed.cluster, closed.node, closed.time_us))
        self._closed_seen[closed.node] = max(self._closed_seen.get(closed.node, ""), key)
        for point in closed.points:
            found = Closed(point.closed, point.last_content, point.last_seal, point.chain, closed.epoch)
            self._at(point.table, point.partition).note_closed(found, point.archived)

    def distrust(
        self, names: Iterable[str], *, kind: str = UNREADABLE, detail: str = "its bytes do not check", level: str = "records"
    ) -> None:
        """Somebody read these objects and they did not check (or were not there): named by status and not used until they are sound again."""
        self.remember({name: Suspect(kind, detail, level) for name in names})

    def remember(self, suspects: Mapping[str, Suspect]) -> None:
        """Objects that were found bad, now or before a restart."""
        for name, suspect in suspects.items():
            key = parse(name)
            if key is None:
                continue
            self.suspects.add(name, suspect)
            if isinstance(key, SegmentKey | BaseKey) and (index := self.partitions.get((key.table, key.partition))) is not None:
                index.forget()
                self._leave_out(index)

    def trust(self, names: Iterable[str], *, level: str) -> None:
        """These were read and are good, by a check at `level`."""
        self.suspects.passed(names, level)

    def _leave_out(self, index: PartitionIndex) -> list[Fault]:
        """Take out of a partition what is known to be bad; what a higher good generation has replaced is no news any more."""
        problems = []
        for name, suspect in self.suspects.of(index.table, index.partition).items():
            key = parse(name)
            if isinstance(key, SegmentKey):
                index.rows.discard(key)
                problems.append(Fault(suspect.kind, name, key.first, suspect.detail, key.last))
            elif isinstance(key, BaseKey):
                ident = (key.lsn, key.generation, key.sha16)
                index.bases = [one for one in index.bases if (one.lsn, one.generation, one.sha16) != ident]
                problems.append(Fault(suspect.kind, name, None, suspect.detail))
        left = superseded(problems, index.rows)
        for problem in problems:
            if problem not in left:
                self.suspects.drop(problem.object)
        return left

    async def check_closed(self, nodes: Iterable[str]) -> None:
        """Whether the newest closed object of these nodes that this process knows of is still there: a request each. Raises Unavailable."""
        for node in nodes:
            key = self._closed_seen.get(node)
            # Asked twice: one answer alone is no proof.
            if key is not None and await self._store.head(key) is None and await self._store.head(key) is None:
                self.distrust([key], kind=HOLE, detail="the object was written and is gone", level="listed")

    def expect_closed(self, key: str) -> None:
        """A closed object that was there in an earlier life of this process."""
        parsed = parse(key)
        if isinstance(parsed, ClosedKey):
            self._closed_seen.setdefault(parsed.node, key)

    def newest_heard(self) -> list[str]:
        """Keys of the newest closed object of each node that this process knows of."""
        return sorted(self._closed_seen.values())

    def _at(self, table: str, partition: str) -> PartitionIndex:
        key = (table, partition)
        if key not in self.partitions:
            self.partitions[key] = PartitionIndex(self.cluster, table, partition)
        return self.partitions[key]

    async def _read(self, index: PartitionIndex, names: Names, credible: int, end: Archived | None, told: int) -> None:
        """Everything of one partition, by a listing made after `end` and `told` were known. What it seems to lack is looked for once more, by a listing of
        this partition alone: a listing is no snapshot, and a read can fail once."""
        index.believe(credible)
        draft = await self._drafted(index, names, end, told)
        if draft.worse_than(index):
            told = index.told
            again = await names_of(self._store, self.cluster, index.table, index.partition)
            draft = await self._drafted(index, again, end, told)
        self._take(index, draft)

    def _take(self, index: PartitionIndex, draft: PartitionIndex) -> None:
        """Without what is known to be bad, also what somebody met while this was read."""
        known = self._leave_out(draft)
        if known:
            bad = {problem.object for problem in draft.problems}
            draft.problems += [problem for problem in known if problem.object not in bad]
            draft.forget()
        index.take(draft)

    async def _drafted(self, index: PartitionIndex, names: Names, end: Archived | None, told: int) -> PartitionIndex:
        draft = index.draft()
        for row in list(draft.rows):
            key = row.key(self.cluster, index.table, index.partition)
            if build(key.twin()) not in names.log or names.log.get(build(key)) != row.stored:
                draft.rows.discard(key)
        _, problems, name = await self._reader.log(names.log, draft.rows)
        draft.bases, more, base_name = await self._reader.bases(names.base, draft.bases)
        draft.problems = [*problems, *more]
        draft.stored_bytes = sum(names.log.values()) + sum(names.base.values())
        draft.named, draft.listed_told = _named(names.log), told
        if end is not None:
            draft.mark = Mark(end.lsn, end.chain)
        draft.table_name = name or draft.table_name or base_name
        draft.forget()
        return draft

    async def _read_tail(self, index: PartitionIndex, mark: Mark | None) -> None:
        """What was archived behind the contiguous log that is known: costs as much as there is new. What seems absent is looked for once more, among all
        names of the partition: a restored table's first segment rests on a base, which is no part of the log."""
        draft = await self._drafted_tail(index, mark)
        if draft.worse_than(index):
            told = index.told
            names = await names_of(self._store, self.cluster, index.table, index.partition)
            end = Archived(index.table, index.partition, mark.lsn, mark.chain) if mark is not None else None
            draft = await self._drafted(index, names, end, told)
        self._take(index, draft)

    async def _drafted_tail(self, index: PartitionIndex, mark: Mark | None) -> PartitionIndex:
        told = index.told
        prefix = log_prefix(self.cluster, index.table, index.partition)
        listed = await list_all(self._store, prefix, after=f"{prefix}{index.reach() + 1:016x}")
        draft = index.draft()
        added, problems, name = await self._reader.log(listed, draft.rows)
        draft.stored_bytes += sum(size for size_name, size in listed.items() if _is_new(size_name, added, draft))
        draft.named, draft.listed_told = max(draft.named, _named(listed)), told
        draft.problems += [problem for problem in problems if problem not in draft.problems]
        draft.table_name = name or draft.table_name
        draft.mark = mark or draft.mark
        draft.learned(added)
        return draft

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
                if await self.closed_fault(closed, now_us=now_us) is None:
                    self.heard(closed)

    async def closed_fault(self, closed: ClosedObject, *, now_us: int) -> str | None:
        """Why a closed object, sound in itself, is not to be believed."""
        return await closed_fault(closed, self._reader.epochs, now_us=now_us, ahead_us=self.ahead_us)

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


async def closed_fault(closed: ClosedObject, epochs: Epochs, *, now_us: int, ahead_us: int) -> str | None:
    """Why a closed object, sound in itself, is not to be believed: written in somebody else's name, or ahead of the clock."""
    fault = await epochs.fault(closed.epoch, closed.owner)
    if fault is not None:
        return fault
    if closed.time_us > now_us + ahead_us:
        return f"published {(closed.time_us - now_us) / 1e6:.0f} s ahead of this clock"
    worst = max((point.closed for point in closed.points), default=0)
    if stamp_micros(worst) > closed.time_us + ahead_us:
        return f"a closed timestamp {(stamp_micros(worst) - closed.time_us) / 1e6:.0f} s ahead of the clock that published it"
    return None


def _named(sizes: Mapping[str, int]) -> int:
    """The last LSN that the name of a listed manifest claims."""
    return max((key.last for key in map(parse, sizes) if isinstance(key, SegmentKey) and key.manifest), default=0)


def _is_new(name: str, added: Sequence[Row], index: PartitionIndex) -> bool:
    """The object belongs to a segment that was added just now."""
    key = parse(name)
    return isinstance(key, SegmentKey) and any(
        (row.first, row.last, row.generation) == (key.first, key.last, key.generation) for row in added
    )


__all__ = ["ArchiveIndex", "Archived", "BaseEntry", "PartitionIndex", "ShelfReader", "closed_fault"]
