"""What one cluster's archive holds, in memory, from listings and manifests: facts for `archiver.coverage`, a fixed number of bytes for every segment.

A manifest is immutable, so one that was read and was good is not read again (what happens to its bytes later is `verify`'s to find); one that was bad is
looked at again each time. Of every LSN range and content the highest generation counts whose manifest decodes and whose segment object is listed with the
size that the manifest says. What is there and cannot be used is kept as a problem, named by its key, and never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from scrubjay.archiver.facts import Closed, Mark
from scrubjay.archiver.format.closed import ClosedObject, decode_closed
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import (
    BaseKey,
    ClosedKey,
    ExpiredKey,
    SegmentKey,
    build,
    closed_prefix,
    log_prefix,
    parse,
    partition_prefix,
)
from scrubjay.archiver.read.epochs import closed_fault
from scrubjay.archiver.read.keyfilters import KeyFilters
from scrubjay.archiver.read.manifests import ManifestReader, superseded
from scrubjay.archiver.read.names import Names, closed_nodes, closed_until, list_all, names_of, newest_closed, sweep
from scrubjay.archiver.read.older import OlderClosed
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import SegmentRow
from scrubjay.archiver.read.suspects import LOOKS_MAX, Suspect, Suspects
from scrubjay.base.env import ObjectStore, Recalled, Tasks
from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Missing, NoKey
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import stamp_of

CLOSED_COLD_READ = 4
"""At the first look so many of the newest closed objects of each node are read."""
AHEAD_US = 5_000_000
"""No clock that wrote to an archive may be further ahead of the reader's than this (`max_clock_offset` and what a slow answer takes)."""


class KnownArchived(NamedTuple):
    """What the cluster itself knows: the table's partition was archived up to `lsn`. chain: the value there, None if not known."""

    table: str
    partition: str
    lsn: int
    chain: bytes | None


class _Look(NamedTuple):
    """One look. credible: the highest closed timestamp that can be true by now. ends, told: by (table, partition), what the cluster, and closed objects, said before it began
    to be archived. parents: partitions that were read in it by a listing of their own, because a child seemed to lack its beginning."""

    credible: int
    ends: Mapping[tuple[str, str], KnownArchived]
    told: Mapping[tuple[str, str], int]
    parents: dict[tuple[str, str], None]
    reading: dict[tuple[str, str], None]
    """A child, its parent and so on, whose reading has begun and is not over."""


class ArchiveIndex:
    """The whole of one cluster's archive. `refresh` before use; `partitions` by (table, partition). One per process; one look at a time.

    More than 25 methods: what agents and nodes tell it, one each, beside the looks of its own.
    """

    def __init__(self, store: ObjectStore, cluster: str, *, tasks: Tasks, ahead_us: int = AHEAD_US) -> None:
        self._store = store
        self.cluster = cluster
        self.ahead_us = ahead_us
        self.filters = KeyFilters(store, tasks)
        self._reader = ManifestReader(store, cluster, tasks, self.filters)
        self._gate = Gate(tasks)
        self._closed_seen: dict[str, str] = {}
        """By node, the newest closed object known to have been there."""
        self._closed_read: dict[str, str] = {}
        """By node, the closed object up to which they were read. Not what is seen: the ledger knows names of an earlier life, and what an agent publishes
        first may say less than what lies before it."""
        self._older = OlderClosed(store, cluster)
        self._again = ("", "")
        self.suspects = Suspects()
        self.partitions: dict[tuple[str, str], PartitionIndex] = {}

    async def refresh(
        self, *, now_us: int, table: str | None = None, partition: str | None = None, archived: Sequence[KnownArchived] = ()
    ) -> None:
        """Look at everything, or at one table or partition of it: names are listed anew (so what was deleted is missed), good manifests are not read again.

        archived: what the cluster knew before this call to be archived: it must be there. Raises Unavailable; what was seen until then is kept.
        """
        async with self._gate:
            await self._refresh(now_us, table, partition, archived)
            seen = {partition}
            while table is not None and partition is not None and (index := self.partitions.get((table, partition))) is not None:
                partition = index.rests_on()
                if partition is None or partition in seen:  # a lineage that leads back to itself: `PartitionIndex.misled`
                    break
                seen.add(partition)
                await self._refresh(now_us, table, partition, archived)

    async def _refresh(self, now_us: int, table: str | None, partition: str | None, archived: Sequence[KnownArchived]) -> None:
        await self._reader.epochs.read()
        await self._read_closed(now_us)
        if table is None:
            await self.check_closed(list(self._closed_seen))
        await self.suspects.look(self._store)
        look = self._look(now_us, archived)
        missed = {key: None for key in self.partitions if table in (None, key[0]) and partition in (None, key[1])}
        missed |= {key: None for key in look.ends if table in (None, key[0]) and partition in (None, key[1])}
        async for names in sweep(self._store, self.cluster, table=table, partition=partition):
            key = (names.table, names.partition)
            missed.pop(key, None)
            if key not in look.parents:  # else these names are the older ones: its end may not be among them
                await self._read(self._at(*key), names, look)
        for key in missed:
            await self._read(self._at(*key), Names(*key), look)
            found = self.partitions[key]
            if found.mark is None and not found.told and not found.closed:
                del self.partitions[key]
        await self._older.seek(self.partitions.values, lambda key: self._read_one(key, now_us))

    def _look(self, now_us: int, archived: Sequence[KnownArchived]) -> _Look:
        """One that begins now."""
        ends = {(one.table, one.partition): one for one in archived}
        return _Look(stamp_of(now_us + self.ahead_us), ends, {key: index.told for key, index in self.partitions.items()}, {}, {})

    async def follow(self, *, now_us: int, archived: Sequence[KnownArchived] = ()) -> None:
        """The cheap look: logs that the cluster says have grown, and nothing else; no request while none has. A deletion goes unseen until `refresh`."""
        credible = stamp_of(now_us + self.ahead_us)
        for index in self.partitions.values():
            index.believe(credible)
        grown = [one for one in archived if one.lsn > self._known_end(one)]
        if not grown:
            return
        async with self._gate:
            look = self._look(now_us, grown)
            for one in sorted(grown, key=lambda one: one.lsn):  # the end of a parent lies below all of its children's
                index = self._at(one.table, one.partition)
                index.believe(credible)
                await self._read_tail(index, Mark(one.lsn, one.chain), look)

    async def look_again(self, *, now_us: int, archived: Sequence[KnownArchived] = (), limit: int = 8) -> None:
        """Look anew at partitions of which something is absent or bad, at most `limit` of them, in turn: what was put back is seen. No request if there are
        none. Raises Unavailable."""
        async with self._gate:
            await self.suspects.look(self._store)
            await self._covered_elsewhere()
            bad = [key for key, index in sorted(self.partitions.items()) if index.damaged() or self.found_of(*key)]
            turn = list(dict.fromkeys([*[key for key in bad if key > self._again], *bad]))[:limit]
            look = self._look(now_us, archived)
            for key in turn:
                self._again = key
                await self._read(self._at(*key), await names_of(self._store, self.cluster, *key), look)

    def _known_end(self, one: KnownArchived) -> int:
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
        look = self._look(now_us, ())
        for index in list(self.partitions.values()):
            index.believe(look.credible)
            if index.closed and index.closed[-1].last_seal > index.reach():
                await self._read_tail(index, None, look)

    def heard(self, closed: ClosedObject) -> None:
        """A closed object that an agent of this process has just published."""
        node, read = closed.node, parse(self._closed_read.get(closed.node, ""))
        key = build(ClosedKey(closed.cluster, node, closed.time_us))
        self._closed_seen[node] = max(self._closed_seen.get(node, ""), key)
        if isinstance(read, ClosedKey) and read.time_us == closed.before_us:
            self._closed_read[node] = key
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
            if key is None or name in self._store.recalled(name):
                continue  # of the latter what was put is read: it is told of, and used
            self.suspects.add(name, suspect)
            if isinstance(key, SegmentKey | BaseKey) and (index := self.partitions.get((key.table, key.partition))) is not None:
                index.forget()
                self._leave_out(index)

    def found_of(self, table: str, partition: str) -> dict[str, Suspect | Recalled]:
        """What is wrong with objects of a partition: those that are not used, and those of which an older version is."""
        return {**self.covered_of(table, partition), **self.suspects.of(table, partition)}

    def covered_of(self, table: str, partition: str) -> dict[str, Recalled]:
        """Objects of a partition of which an older version is read."""
        over = self._store.recalled(partition_prefix(self.cluster, table, partition))
        index = self.partitions.get((table, partition))
        took = index.beginning.took if index is not None and index.beginning is not None else None
        return {name: one for name, one in over.items() if took is None or not took(name)}

    def found_elsewhere(self) -> dict[str, Suspect | Recalled]:
        """The same of objects of no partition."""
        over = self._store.recalled(f"{self.cluster}/")
        return {
            name: one for name, one in over.items() if not isinstance(parse(name), SegmentKey | BaseKey | ExpiredKey)
        } | self.suspects.elsewhere()

    async def _covered_elsewhere(self) -> None:
        """Read again what something stood over, of objects of no partition. Raises Unavailable."""
        over = [name for name in self._store.recalled(f"{self.cluster}/") if not isinstance(parse(name), SegmentKey | BaseKey | ExpiredKey)]
        for name in over[:LOOKS_MAX]:
            with suppress(Corrupt, Missing, NoKey):
                await self._store.get(name)

    def trust(self, names: Iterable[str], *, level: str) -> None:
        """These were read and are good, by a check at `level`."""
        self.suspects.passed(names, level)

    def _leave_out(self, index: PartitionIndex) -> list[Fault]:
        """Take out of a partition what is known to be bad; what a higher good generation has replaced is no news any more."""
        problems = []
        for name, suspect in self.suspects.of(index.table, index.partition).items():
            key = parse(name)
            if index.beginning is not None and index.beginning.took(name):
                self.suspects.drop(name)  # it went, good or bad
                continue
            if isinstance(key, SegmentKey):
                if not (key.manifest and suspect.kind != FORGED and index.rows.packed(key)):  # of a pack the object says the same
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
            self.partitions[key] = PartitionIndex(self.cluster, table, partition, kin=self.partitions)
        return self.partitions[key]

    async def _read(self, index: PartitionIndex, names: Names, look: _Look) -> None:
        """Everything of one partition, by a listing made after `look` began. What it seems to lack is looked for once more, by a listing of
        this partition alone: a listing is no snapshot, and a read can fail once."""
        key = (index.table, index.partition)
        end, told = look.ends.get(key), look.told.get(key, 0)
        index.believe(look.credible)
        draft = await self._drafted(index, names, end, told)
        await self._parent_first(draft, index, look)
        if draft.worse_than(index):
            told = index.told
            again = await names_of(self._store, self.cluster, index.table, index.partition)
            draft = await self._drafted(index, again, end, told)
            await self._parent_first(draft, index, look)
        self._take(index, await self._uncovered(index, draft, end))

    async def _parent_first(self, child: PartitionIndex, before: PartitionIndex, look: _Look) -> None:
        """What a child of a split rests on is judged with it, by a listing that is no older than the child's own: it would seem to lack its beginning, at every start, and wherever its parent
        came to its end since that was read last. child: as it was read now; before: as it was known. Raises Unavailable."""
        parent = child.rests_on()
        if parent is None or child.inherits() is not None:
            return
        key = (child.table, parent)
        if key in look.parents and before.rests_on() is not None and before.inherits() is None:
            return  # known to lack it, and looked for
        if key in look.reading:
            return  # a lineage that leads back to itself: `PartitionIndex.misled`
        names = await names_of(self._store, self.cluster, *key)
        if names.size():
            look.parents[key] = look.reading[key] = None
            await self._read(self._at(*key), names, look)
            del look.reading[key]

    async def _uncovered(self, index: PartitionIndex, draft: PartitionIndex, end: KnownArchived | None) -> PartitionIndex:
        """What is absent or bad may lie under a delete marker or somebody else's bytes: looked for where anything is. `draft` again, with what was found."""
        prefix = partition_prefix(self.cluster, index.table, index.partition)
        known = self._store.recalled(prefix)
        if not known and not draft.damaged():
            return draft
        await self._store.uncover(prefix)
        if not known and not self._store.recalled(prefix):
            return draft
        told = index.told
        names = await names_of(self._store, self.cluster, index.table, index.partition)
        return await self._drafted(index, names, end, told)

    def _take(self, index: PartitionIndex, draft: PartitionIndex) -> None:
        """Without what is known to be bad, also what somebody met while this was read."""
        known = self._leave_out(draft)
        if known:
            bad = {problem.object for problem in draft.problems}
            draft.problems += [problem for problem in known if problem.object not in bad]
            draft.forget()
        index.take(draft)

    async def _drafted(self, index: PartitionIndex, names: Names, end: KnownArchived | None, told: int) -> PartitionIndex:
        draft = index.draft()
        if end is not None:
            draft.mark = Mark(end.lsn, end.chain)
        draft.beginning, draft.given_up, unread = await self._reader.beginning(names, draft, draft.rows)
        draft.stored_bytes = names.size()
        if draft.beginning is not None:
            names = names.without(draft.beginning.took)
        for problem in index.problems:
            if isinstance(bad := parse(problem.object), SegmentKey):
                draft.rows.discard(bad)  # a pack that was read by itself: whether its manifest is still bad
        sizes: dict[SegmentKey, int] = {}
        for row in draft.rows:
            key = row.key(self.cluster, index.table, index.partition)
            sizes[key] = sizes.get(key, 0) + row.stored
        for key, size in sizes.items():
            if build(key.twin()) not in names.log or names.log.get(build(key)) != size:
                draft.rows.discard(key)
        _, problems, name = await self._reader.log(names.log, draft.rows)
        draft.bases, more, base_name = await self._reader.bases(names.base, draft.bases)
        draft.problems = [*unread, *problems, *more]
        draft.named, draft.listed_told = _named(names.log), told
        draft.table_name = name or draft.table_name or base_name
        draft.forget()
        return draft

    async def _read_tail(self, index: PartitionIndex, mark: Mark | None, look: _Look) -> None:
        """What was archived behind the contiguous log that is known: costs as much as there is new. What seems absent is looked for once more, among all
        names of the partition: a restored table's first segment rests on a base, which is no part of the log."""
        draft = await self._drafted_tail(index, mark)
        await self._parent_first(draft, index, look)
        if draft.worse_than(index):
            told = index.told
            names = await names_of(self._store, self.cluster, index.table, index.partition)
            end = KnownArchived(index.table, index.partition, mark.lsn, mark.chain) if mark is not None else None
            again = await self._drafted(index, names, end, told)
            await self._parent_first(again, index, look)
            draft = await self._uncovered(index, again, end)
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
        for node in await closed_nodes(self._store, self.cluster):
            read = self._closed_read.get(node)
            keys = await (
                newest_closed(self._store, self.cluster, node, now_us=now_us, ahead_us=self.ahead_us, count=CLOSED_COLD_READ)
                if read is None
                else self._closed_after(node, read, now_us + self.ahead_us)
            )
            for key in keys:
                await self._read_one(key, now_us)
                # Not before: one that the store did not give is read again.
                self._closed_read[node] = max(self._closed_read.get(node, ""), key)
                self._closed_seen[node] = max(self._closed_seen.get(node, ""), key)
                if read is None:
                    self._older.begun(key)

    async def _read_one(self, key: str, now_us: int) -> None:
        """What one closed object says. One that cannot be believed says nothing: verify names it, and a later one says more. Raises Unavailable."""
        try:
            closed = decode_closed(await self._store.get(key), where=key)
            if await self.closed_fault(closed, now_us=now_us) is None:
                self.heard(closed)
        except (Corrupt, Missing, NoKey):
            pass

    async def closed_fault(self, closed: ClosedObject, *, now_us: int) -> str | None:
        """Why a closed object, sound in itself, is not to be believed."""
        return await closed_fault(closed, self._reader.epochs, now_us=now_us, ahead_us=self.ahead_us)

    async def _closed_after(self, node: str, after: str, until_us: int) -> list[str]:
        return closed_until(await list_all(self._store, closed_prefix(self.cluster, node), after=after), until_us)


def _named(sizes: Mapping[str, int]) -> int:
    """The last LSN that the name of a listed manifest claims."""
    return max((key.last for key in map(parse, sizes) if isinstance(key, SegmentKey) and key.manifest), default=0)


def _is_new(name: str, added: Sequence[SegmentRow], index: PartitionIndex) -> bool:
    """The object belongs to a segment that was added just now."""
    key = parse(name)
    return isinstance(key, SegmentKey) and any(
        row.key(key.cluster, key.table, key.partition) == key._replace(manifest=False) for row in added
    )
