"""One partition: what is listed, what is absent, what fits nowhere, its bases, and its replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scrubjay.archiver.coverage import untold
from scrubjay.archiver.facts import Coverage, Mark, Span, Start
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.day import covers, joined, missed
from scrubjay.archiver.format.fault import Fault, object_of, said_of
from scrubjay.archiver.format.layout import (
    BaseKey,
    SegmentKey,
    base_prefix,
    build,
    parse,
    partition_prefix,
)
from scrubjay.archiver.read.names import Names, list_all, names_of, seems_whole
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import SegmentRows, objects_of
from scrubjay.archiver.verify.log import LogCheck
from scrubjay.archiver.verify.round import Round
from scrubjay.base.checksum import feed, sha256_of
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing, NoKey
from scrubjay.base.hlc import stamp_of

LOOKS_MAX = 4
"""Looks at one partition whose beginning is taken away meanwhile, again and again."""


class PartitionCheck:
    """log: of the partition at hand."""

    def __init__(self, round_: Round, log: LogCheck) -> None:
        self._round = round_
        self._log = log

    async def run(self, names: Names, index: PartitionIndex, told: Iterable[str] = ()) -> None:
        """index: what closed objects say of it already. told: names of it that the daily index tells, as often as they are asked for. Where retention took more away while this was read, or segments were packed, what was found is looked for once more."""
        for _ in range(LOOKS_MAX):
            before = self._round.mark()
            await self._run(names, index, told)
            if not self._round.found_since(before):
                return
            seen, names = names, await names_of(self._round.store, self._round.cluster, names.table, names.partition)
            begun = await self._round.reader.beginning(names, index, SegmentRows())
            if begun.beginning == index.beginning and not _packed(seen, names):
                return
            self._round.take_back(before)
            index = index.emptied()

    async def _run(self, names: Names, index: PartitionIndex, told: Iterable[str]) -> None:
        self._round.spend()
        table, partition = names.table, names.partition
        self._round.say(phase="log", table_id=table, partition=partition)
        if self._round.options.wall_us is not None:
            index.credible = stamp_of(self._round.options.wall_us() + self._round.options.ahead_us)
        for end in self._round.options.archived or ():
            if (end.table, end.partition) == (table, partition):
                index.mark = Mark(end.lsn, end.chain)
        names, unread = await self._begun(names, index)
        begin = index.beginning.lsn if index.beginning is not None else 0
        if unread or not seems_whole(names, begin=begin, end=max(index.told, index.mark.lsn if index.mark is not None else 0)):
            names, unread = await self._begun(await names_of(self._round.store, self._round.cluster, table, partition), index)
        index.listed_told = index.told
        prefix = partition_prefix(self._round.cluster, table, partition)
        self._round.covered(prefix, _nothing if index.beginning is None else index.beginning.took)
        problems = await self._log.run(names, index)
        index.bases, more, _ = await self._round.reader.bases(names.base, [])
        if more:
            again, unread = await self._begun(await names_of(self._round.store, self._round.cluster, table, partition), index)
            names.base = again.base
            index.bases, more, _ = await self._round.reader.bases(names.base, index.bases)
        keys = [parse(name) for name in (*names.log, *names.base)]
        self._round.report.checked += sum(key.part is None if isinstance(key, BaseKey) else getattr(key, "manifest", False) for key in keys)
        for problem in (*unread, *problems, *more):
            self._round.find(problem.kind, problem.object, problem.detail, lsn=problem.lsn, table=table, partition=partition)
        await self._look_at_parents(index)
        index.named = max([0, *(key.last for key in map(parse, names.log) if isinstance(key, SegmentKey) and key.manifest)])
        found = index.coverage()
        await self._orphans(names, found)
        await self._orphan_rows(names, index)
        listed, took = {**names.log, **names.base}, index.beginning.took if index.beginning is not None else _nothing
        await self._round.remembered(partition_prefix(self._round.cluster, table, partition), listed, table, partition, took)
        for key in missed((name for name in told if not took(name)), listed):
            if await self._round.store.head(key) is None:
                self._round.find(HOLE, key, "the daily index tells of the object, and it is gone", table=table, partition=partition)
        self._lineage(index)
        self._strays(index, found)
        self._holes(index, found)
        await self._bases(index)
        if self._round.at_least("replayed") and (found.thread or found.starts):
            await self._replay(index, found)

    async def _look_at_parents(self, index: PartitionIndex) -> None:
        """What a child of a split rests on lies with its parent, of which every manifest is read once more: what is wrong there is found when the parent has its turn."""
        kin: dict[tuple[str, str], PartitionIndex] = {}
        at = index
        while (needed := at.rests_on()) is not None and (index.table, needed) not in kin:
            self._round.spend()
            parent = PartitionIndex(self._round.cluster, index.table, needed, credible=index.credible, kin=kin)
            names, _ = await self._begun(await names_of(self._round.store, self._round.cluster, index.table, needed), parent)
            await self._round.reader.log(names.log, parent.rows)
            parent.bases, _, _ = await self._round.reader.bases(names.base, [])
            kin[index.table, needed] = at = parent
        index.kin = kin

    async def _begun(self, names: Names, index: PartitionIndex) -> tuple[Names, list[Fault]]:
        """The names behind what retention took away; and what is wrong with the objects that say so."""
        index.beginning, index.given_up, unread = await self._round.reader.beginning(names, index, SegmentRows())
        if index.beginning is None:
            return names, unread
        return names.without(index.beginning.took), unread

    async def _bases(self, index: PartitionIndex) -> None:
        """Every base by content."""
        for entry in index.bases:
            key = entry.key(self._round.cluster, index.table, index.partition)
            if self._log.place is not None and entry.place != self._log.place:
                detail = "the base names another table, schema or range than the log"
                self._round.find(FORGED, build(key), detail, lsn=entry.lsn, table=index.table, partition=index.partition)
            await self._round.tell([build(key)])
            if not self._round.at_least("objects"):
                continue
            names = [build(key._replace(part=part)) for part in range(entry.parts)]
            if len(await self._round.fresh(names)) < len(names):
                self._round.spend()
                base = await self._base(key)
                if base is not None:
                    await self._round.checked(index.table, index.partition, what="base", base=base, deep=self._round.at_least("records"))
                    self._round.report.checked += len(names)
                    self._round.report.bytes += base.file.size
                    await self._round.tell(names)

    async def _base(self, key: BaseKey) -> BaseManifest | None:
        """A base's manifest, read again: it is not kept. None and a finding if it is bad by now."""
        found = await self._round.reader.base(key, await list_all(self._round.store, key.folder()))
        if isinstance(found, BaseManifest):
            return found
        self._round.find(found.kind, found.object, found.detail, lsn=key.lsn, table=key.table, partition=key.partition)
        return None

    async def _orphans(self, names: Names, found: Coverage) -> None:
        """A segment object without its manifest where the log goes on, or was archived: the manifest is gone (agents archive in order), unless it is asked for by its name and there.
        One of a pack whose parts are all in others is a pack that was not finished."""
        last = max([found.end, *(span.last for span in found.thread)])
        there = joined(sorted((span.first, span.last) for span in found.thread))
        for name in names.log:
            key = parse(name)
            bare = isinstance(key, SegmentKey) and not key.manifest and build(key.twin()) not in names.log
            if bare and isinstance(key, SegmentKey) and not covers(there, key.first, key.last) and key.first <= last:
                detail = "the manifest is gone, its segment is there"
                if await self._round.store.head(build(key.twin())) is None:
                    self._round.find(HOLE, build(key.twin()), detail, lsn=key.first, table=names.table, partition=names.partition)

    async def _orphan_rows(self, names: Names, index: PartitionIndex) -> None:
        """Rows of a base that are complete (their hash is in their name) but have no manifest: it is gone. Incomplete ones are an upload cut off, and so may these be
        where a later base stands, or where who remembers what was proven never saw a manifest: nothing rests on it then, or coverage says so."""
        if self._round.memory is not None:
            return
        newest = max((entry.lsn for entry in index.bases), default=-1)
        folders: dict[str, list[BaseKey]] = {}
        for key in map(parse, names.base):
            if isinstance(key, BaseKey) and key.part is not None and key.lsn >= newest and build(key._replace(part=None)) not in names.base:
                folders.setdefault(key.folder(), []).append(key)
        for keys in folders.values():
            self._round.spend()
            whole = sha256_of()
            try:
                for key in keys:
                    feed(whole, await self._round.store.get(build(key)))
            except (Missing, Corrupt):
                continue  # not what its name says
            except NoKey as error:
                self._round.find(error.kind, object_of(error), said_of(error), table=names.table, partition=names.partition)
                continue
            where = build(keys[0]._replace(part=None))
            # Looked at again: a manifest that came meanwhile ends an upload that was under way.
            if whole.hexdigest()[:16] == keys[0].sha16 and await self._round.store.head(where) is None:
                detail = "the base's manifest is gone, its rows are there"
                self._round.find(HOLE, where, detail, lsn=keys[0].lsn, table=names.table, partition=names.partition)

    def _holes(self, index: PartitionIndex, found: Coverage) -> None:
        """What coverage calls absent. What is known of lost objects was said already; here the rest, one finding for each range."""
        table, partition = index.table, index.partition
        for hole in found.window.holes:
            if hole.base:
                named = f"{base_prefix(self._round.cluster, table, partition)}{hole.first_lsn:016x}"
                if not any(key.startswith(named) for key in self._round.named()):
                    detail = f"the base at LSN {hole.first_lsn}, on which this log rests, is gone"
                    if index.born is not None and index.born.lsn == hole.first_lsn:
                        detail = (
                            f"what this log goes on from, the state of partition {index.born.parent} at LSN {hole.first_lsn}, cannot be had"
                        )
                    self._round.find(HOLE, named, detail, lsn=hole.first_lsn, table=table, partition=partition, listed=True)
                continue
            told = sorted(
                (key.first, key.last)
                for key in map(parse, self._round.named())
                if isinstance(key, SegmentKey) and key.partition == partition
            )
            left = untold((hole.first_lsn, hole.last_lsn), told)
            if left is not None:
                at = left[0]
                why = "are not in the archive" if any(span.first > hole.last_lsn for span in found.thread) else "were archived and are gone"
                detail = f"records {at} to {hole.last_lsn} {why}"
                self._round.find(HOLE, None, detail, lsn=at, table=table, partition=partition, listed=True)

    def _lineage(self, index: PartitionIndex) -> None:
        """A partition cannot go on from one that began no earlier: then manifests of one of them lie, and nothing is followed."""
        why = index.misled()
        if why is not None and index.born is not None:
            self._round.find(FORGED, None, f"damaged lineage: {why}", lsn=index.born.lsn, table=index.table, partition=index.partition)

    def _strays(self, index: PartitionIndex, found: Coverage) -> None:
        """Forks, and what fits nowhere."""
        for key, _ in index.astray(found):
            if isinstance(key, SegmentKey):
                name, lsn, detail = build(key.twin()), key.first, "it does not fit the chain of the history that counts"
            else:
                name, lsn, detail = build(key), key.lsn, "the base is not on the chain of the history that counts"
            self._round.find(FORGED, name, detail, lsn=lsn, table=index.table, partition=index.partition)
        for fork in found.forks:
            detail = f"two histories from LSN {fork.first_lsn} on, epochs {', '.join(map(str, fork.epochs))}"
            self._round.find(FORGED, None, detail, lsn=fork.first_lsn, table=index.table, partition=index.partition)

    async def _replay(self, index: PartitionIndex, found: Coverage) -> None:
        """Rebuild from every start to the next one and to the end: each seal's digest, and that each base is what the log before it gives."""
        where = (self._round.cluster, index.table, index.partition)
        entries = {entry.start(): entry for entry in index.bases}
        begins: list[Start | None] = [*found.starts]
        if found.thread and found.thread[0].first == 1 and not any(start.lsn == 0 for start in found.starts):
            begins.insert(0, None)
        for start, follower in zip(begins, [*begins, None][1:], strict=True):
            self._round.spend()
            low, high = start.lsn if start is not None else 0, follower.lsn if follower is not None else None
            keys = objects_of(index.rows_of(_contiguous(found.thread, low, high)), *where)
            made = index.inheritance() if start is not None and start not in entries else None
            base = await self._base(entries[start].key(*where)) if start is not None and made is None else None
            after = await self._base(entries[follower].key(*where)) if follower is not None else None
            if (start is None or made is not None or base is not None) and (keys or base is not None):
                await self._round.checked(index.table, index.partition, what="replay", keys=keys, base=base, made=made, follower=after)
            self._round.say(phase="replay", table_id=index.table, partition=index.partition)


def _packed(before: Names, now: Names) -> bool:
    """Some of the segments that were listed lie in packs by now."""
    gone = [name for name in before.log if name not in now.log and name.endswith(".seg")]
    return len(missed(gone, now.log)) < len(gone)


def _nothing(_name: str) -> bool:
    """Retention has taken nothing away."""
    return False


def _contiguous(thread: Sequence[Span], low: int, high: int | None) -> list[Span]:
    """The segments that go on from LSN `low` without a hole, up to `high`."""
    found: list[Span] = []
    expected = low + 1
    for span in thread:
        if span.first == expected and (high is None or span.last <= high):
            found.append(span)
            expected = span.last + 1
    return found
