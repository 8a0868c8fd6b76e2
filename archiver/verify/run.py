"""`verify`: prove an archive from its objects alone (INTERFACE section 3). It reads, never writes, and never says "good" of what it did not look at.

Levels, each with all of the ones before it:
- `listed`: names, sizes, every manifest and each node's newest closed objects read and checked, no hole, no fork, the chain followed from the first segment;
- `objects`: every object downloaded, its size, CRC-32C and SHA-256 those of its manifest, every frame's own checksum; every closed object;
- `records`: every record's checksum, owner, order and stamps, and that manifest and records say the same; rows of bases against their digest;
- `replayed`: every partition rebuilt, the agreed digest of every seal and the digest of every base proven.

What should be there is known from names and manifests, from closed objects (which say up to where each log was archived when they were published, so a lost
tail, table or dropped table is a hole here too), and online from the cluster's own ends and the ledger. Not seen offline: the loss of what was archived
after the last closed object that is left (`end_checked` false).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from scrubjay.archiver.coverage import Closed, Coverage, Mark, Span, Start
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.identity import decode_epoch, decode_identity
from scrubjay.archiver.format.layout import (
    BaseKey,
    ClosedKey,
    EpochKey,
    IdentityKey,
    SegmentKey,
    base_prefix,
    build,
    closed_prefix,
    parse,
    partition_prefix,
)
from scrubjay.archiver.format.manifest import SegmentManifest, place
from scrubjay.archiver.read.check import Item
from scrubjay.archiver.read.epochs import closed_fault
from scrubjay.archiver.read.manifests import ManifestReader, superseded
from scrubjay.archiver.read.names import PARALLEL, Names, clusters, list_all, names_of, seems_whole, sweep
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import row_of
from scrubjay.archiver.verify.jobs import batches, run_check
from scrubjay.archiver.verify.report import LEVELS, Finding, Memory, VerifyOptions, VerifyReport, is_gone
from scrubjay.base.env import Disk, Jobs, ObjectStore, Tasks
from scrubjay.base.errors import FORGED, HOLE, UNREADABLE, Corrupt, Invalid, Missing, Unavailable
from scrubjay.base.hlc import stamp_micros, stamp_of
from scrubjay.base.together import in_parallel

FINDINGS_MAX = 10_000
"""More are counted, not listed."""
EXPIRY_US_MIN = 86_400_000_000
"""No retention is shorter than a day: what is younger than that beside the newest cannot have expired."""
CHUNK = 500
"""Objects asked of the ledger at a time."""
BATCH = 16
"""Segments that one worker is given at a time, at most BATCH_BYTES stored."""
BATCH_BYTES = 64 << 20

Skip = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Those of some object keys that were proven at this level recently enough."""
Proved = Callable[[Sequence[str], Sequence[str]], Awaitable[None]]
"""Told what passed and what failed, object keys."""
LISTED_CLOSED = 16
"""At level `listed` so many of each node's newest closed objects are read: the others are named by them, and prove nothing that these do not."""
SILENT_US = 300_000_000
"""A cluster that archived for longer than this has published closed objects: that there is none at all means that they are gone."""
Progress = Callable[[dict[str, Any]], None]


async def pick_cluster(store: ObjectStore, cluster: str | None) -> str:
    """The cluster to look at. Raises Invalid if there is none, several, or not the one asked for."""
    present = await clusters(store)
    if cluster is not None:
        if cluster not in present:
            raise Invalid("the archive holds no such cluster", asked=cluster, found=present)
        return cluster
    if not present:
        raise Invalid("the archive holds no cluster", archive=store.url)
    if len(present) > 1:
        raise Invalid("the archive holds several clusters: name one with --cluster", found=present)
    return present[0]


class _Spent(Exception):
    """The budget is spent."""


class Verifier:
    """One run. One partition at a time on purpose: a bounded pace, and in memory a row for each segment and a handful of manifests."""

    def __init__(
        self,
        store: ObjectStore,
        disk: Disk,
        *,
        cluster: str,
        options: VerifyOptions,
        now_us: Callable[[], int],
        work: str,
        jobs: Jobs | None = None,
        tasks: Tasks | None = None,
        skip: Skip | None = None,
        proved: Proved | None = None,
        memory: Memory | None = None,
        progress: Progress | None = None,
    ) -> None:
        """work: a scratch path on `disk`. now_us: for the budget; any clock that does not go back. tasks: to read several small objects at once."""
        if options.level not in LEVELS:
            raise Invalid("unknown level", asked=options.level, found=list(LEVELS))
        self.report = VerifyReport(cluster, options.level, end_checked=options.archived is not None)
        self._store = store
        self._disk = disk
        self._cluster = cluster
        self._options = options
        self._depth = LEVELS.index(options.level)
        self._now_us = now_us
        self._end_us = None if options.budget_us is None else now_us() + options.budget_us
        self._work = work
        self._jobs = jobs
        self._tasks = tasks
        self._skip = skip
        self._proved = proved
        self._memory = memory
        self._progress = progress
        self._failed: dict[str, None] = {}
        self._reader = ManifestReader(store, cluster, tasks)
        self._closed_facts: dict[tuple[str, str], PartitionIndex] = {}
        self._stamps: tuple[int, int] | None = None
        """First and last stamp met in the whole archive."""

    async def run(self) -> VerifyReport:
        """Raises Unavailable if the store does not answer; everything else ends up in the report, also (online) that the archive's place is gone."""
        try:
            if self._options.table is None:
                await self._identity()
            await self._reader.epochs.read()
            closed = await self._closed()
            await self._partitions()
            if self._options.table is None and not closed and self._stamps is not None:
                low, high = (stamp_micros(stamp) for stamp in self._stamps)
                if high - low > SILENT_US:
                    self._find(
                        HOLE, closed_prefix(self._cluster), "not one closed object is left of a cluster that published them for minutes"
                    )
            for key in self._options.expected:
                if self._options.table is None and key not in self._failed and await self._store.head(key) is None:
                    self._find(HOLE, key, "the object was written and is gone")
        except _Spent:
            self.report.complete, self.report.reason = False, "budget_spent"
        except Unavailable as error:
            if self._options.archived is None or not is_gone(error):
                raise
            self._find(HOLE, build(IdentityKey(self._cluster)), f"the archive was here and is gone: {error}")
            self.report.complete, self.report.reason = False, "archive_gone"
        self.report.failed = len(self._failed)
        return self.report

    async def _partitions(self) -> None:
        """Those that are listed, and those that somebody knows of."""
        wanted = self._options.table
        missed = dict.fromkeys((one.table, one.partition) for one in self._options.archived or () if one.lsn > 0)
        missed |= {key: None for key, facts in self._closed_facts.items() if facts.told}
        if self._memory is not None:
            missed |= dict.fromkeys(await self._memory.partitions(self._cluster))
        async for names in sweep(self._store, self._cluster, table=wanted):
            missed.pop((names.table, names.partition), None)
            await self._partition(names)
        for table, partition in sorted(missed):
            if wanted in (None, table):
                await self._partition(Names(table, partition))

    # --- helpers ---

    def _at_least(self, level: str) -> bool:
        return self._depth >= LEVELS.index(level)

    def _spend(self) -> None:
        if self._end_us is not None and self._now_us() >= self._end_us:
            raise _Spent

    def _find(
        self, kind: str, key: str | None, detail: str, *, lsn: int | None = None, table: str | None = None, partition: str | None = None
    ) -> None:
        if key is not None:
            if key in self._failed:
                return
            self._failed[key] = None
        if len(self.report.findings) >= FINDINGS_MAX:
            self.report.dropped_findings += 1
            return
        parsed = parse(key) if key else None
        segment = None
        if isinstance(parsed, SegmentKey):
            segment = build(parsed._replace(manifest=False))
            lsn = parsed.first if lsn is None else lsn
        self.report.findings.append(Finding(kind, key, lsn, segment, table, partition, detail))

    async def _fresh(self, keys: Sequence[str]) -> dict[str, None]:
        """Those that need no look in this run."""
        if self._skip is None:
            return {}
        found: dict[str, None] = {}
        for start in range(0, len(keys), CHUNK):
            found |= dict.fromkeys(await self._skip(keys[start : start + CHUNK]))
        self.report.skipped_fresh += len(found)
        return found

    async def _tell(self, keys: Sequence[str]) -> None:
        """Report a few objects to the ledger: passed, unless they are known to have failed."""
        if self._proved is not None and keys:
            await self._proved([key for key in keys if key not in self._failed], [key for key in keys if key in self._failed])

    def _say(self, **facts: Any) -> None:
        if self._progress is not None:
            self._progress({**facts, "checked": self.report.checked, "bytes": self.report.bytes})

    # --- identity, epochs, closed ---

    async def _identity(self) -> None:
        """Identity, and every epoch up to the highest: they are claimed in order, each once."""
        key = build(IdentityKey(self._cluster))
        await self._small(key, lambda data: decode_identity(data, where=key))
        epochs = await list_all(self._store, f"{self._cluster}/epoch/")
        numbers = sorted(parsed.number for parsed in map(parse, epochs) if isinstance(parsed, EpochKey))
        names = [build(EpochKey(self._cluster, number)) for number in range(1, max([1, *numbers]) + 1)]
        for name in names:
            await self._small(name, lambda data, name=name: decode_epoch(data, where=name))  # type: ignore[misc]
        await self._tell([key, *names])

    async def _small(self, key: str, decode: Callable[[bytes], Any]) -> None:
        """A small object that must be there and decode."""
        self._spend()
        self.report.checked += 1
        try:
            data = await self._store.get(key)
            self.report.bytes += len(data)
            decode(data)
        except Missing:
            self._find(HOLE, key, "the object is gone")
        except Corrupt as error:
            self._find(error.kind, key, str(error))

    async def _closed(self) -> bool:
        """Every closed object (at `listed`: the newest of each node), several at a time. Whether there is any."""
        prefix = closed_prefix(self._cluster)
        sizes = await list_all(self._store, prefix)
        keys = [key for key in map(parse, sizes) if isinstance(key, ClosedKey)]
        newest: dict[str, list[ClosedKey]] = {}
        for key in keys:
            newest.setdefault(key.node, []).append(key)
        late = {build(key): None for some in newest.values() for key in some[-LISTED_CLOSED:]}
        whole = self._at_least("objects") and self._options.table is None
        names = [build(key) for key in keys if whole or build(key) in late]
        fresh = await self._fresh([name for name in names if name not in late])
        if self._options.table is None:
            await self._remembered(prefix, sizes, None, None)
        last = {node: some[-1].time_us for node, some in newest.items()}
        for start in range(0, len(names), CHUNK):
            self._spend()
            some = [name for name in names[start : start + CHUNK] if name not in fresh]
            await in_parallel(
                self._tasks, lambda name: self._closed_one(name, sizes, last), some, lanes=PARALLEL, name="read closed objects"
            )
            await self._tell(some)
            self._say(phase="closed")
        return bool(keys)

    async def _closed_one(self, key: str, sizes: Mapping[str, int], newest: Mapping[str, int]) -> None:
        """One closed object: sound, credible, and the one that it names as the one before it is there, unless that may have expired."""
        self.report.checked += 1
        try:
            data = await self._store.get(key)
            self.report.bytes += len(data)
            closed = decode_closed(data, where=key)
        except Missing:
            return self._find(HOLE, key, "the object is gone")
        except Corrupt as error:
            return self._find(error.kind, key, str(error))
        now_us = self._options.wall_us if self._options.wall_us is not None else closed.time_us
        fault = await closed_fault(closed, self._reader.epochs, now_us=now_us, ahead_us=self._options.ahead_us)
        if fault is not None:
            return self._find(FORGED, key, fault)
        if closed.before_us is not None and newest[closed.node] - closed.before_us < EXPIRY_US_MIN:
            name = build(ClosedKey(closed.cluster, closed.node, closed.before_us))
            if name not in sizes and await self._store.head(name) is None:
                self._find(HOLE, name, "the closed object is gone; the one after it names it")
        for point in closed.points:
            self._facts_of(point.table, point.partition).note_closed(
                Closed(point.closed, point.last_content, point.last_seal, point.chain, closed.epoch), point.archived
            )
        return None

    def _facts_of(self, table: str, partition: str) -> PartitionIndex:
        key = (table, partition)
        if key not in self._closed_facts:
            self._closed_facts[key] = PartitionIndex(self._cluster, table, partition)
        return self._closed_facts[key]

    async def _remembered(self, prefix: str, listed: Mapping[str, int], table: str | None, partition: str | None) -> None:
        """Objects that were once proven to be there and are not listed any more."""
        if self._memory is not None:
            for key in await self._memory.objects(prefix):
                if key not in listed and await self._store.head(key) is None:
                    self._find(HOLE, key, "the object was proven earlier and is gone", table=table, partition=partition)

    # --- one partition ---

    async def _partition(self, names: Names) -> None:
        self._spend()
        table, partition = names.table, names.partition
        self._say(phase="log", table_id=table, partition=partition)
        index = self._closed_facts.pop((table, partition), None) or PartitionIndex(self._cluster, table, partition)
        if self._options.wall_us is not None:
            index.credible = stamp_of(self._options.wall_us + self._options.ahead_us)
        for end in self._options.archived or ():
            if (end.table, end.partition) == (table, partition):
                index.mark = Mark(end.lsn, end.chain)
        if not seems_whole(names, end=max(index.told, index.mark.lsn if index.mark is not None else 0)):
            names = await names_of(self._store, self._cluster, table, partition)
        index.listed_told = index.told
        problems = await self._log(names, index)
        index.bases, more, _ = await self._reader.bases(names.base, [])
        if more:
            names.base = (await names_of(self._store, self._cluster, table, partition)).base
            index.bases, more, _ = await self._reader.bases(names.base, index.bases)
        self.report.checked += sum(1 for key in names.log if key.endswith(".json")) + sum(
            1 for key in names.base if key.endswith("manifest.json")
        )
        for problem in (*problems, *more):
            self._find(problem.kind, problem.object, problem.detail, lsn=problem.lsn, table=table, partition=partition)
        index.named = max([0, *(key.last for key in map(parse, names.log) if isinstance(key, SegmentKey) and key.manifest)])
        found = index.coverage()
        self._orphans(names, found)
        await self._orphan_rows(names)
        await self._remembered(partition_prefix(self._cluster, table, partition), {**names.log, **names.base}, table, partition)
        self._strays(index, found)
        self._holes(index, found)
        await self._bases(index)
        if self._at_least("replayed") and (found.thread or found.starts):
            await self._replay(index, found)

    async def _log(self, names: Names, index: PartitionIndex) -> list[Fault]:
        """Every manifest, and at deeper levels the segments beside them. Of a range and content the highest generation that verifies is looked into."""
        groups: dict[tuple[int, int, str], list[SegmentKey]] = {}
        for key in map(parse, names.log):
            if isinstance(key, SegmentKey) and key.manifest:
                groups.setdefault((key.first, key.last, key.sha16), []).append(key)
        problems: list[Fault] = []
        order = sorted(groups)
        before: SegmentManifest | None = None
        for start in range(0, len(order), BATCH * 4):
            self._spend()
            keys = [key for ident in order[start : start + BATCH * 4] for key in groups[ident]]
            read = await in_parallel(self._tasks, self._reader.manifest, keys, lanes=PARALLEL, name="read manifests")
            found = dict(zip(keys, read, strict=True))
            items: list[Item] = []
            for ident in order[start : start + BATCH * 4]:
                best, bad = _best(groups[ident], found, names.log)
                problems += bad
                if best is None:
                    continue
                index.rows.add(row_of(best))
                if self._options.members is not None and not self._options.members.issuperset(best.members):
                    detail = f"agreed by members {list(best.members)}, of whom not all exist"
                    problems.append(Fault(FORGED, build(best.key().twin()), best.first, detail, best.last))
                low, high = self._stamps or (best.first_stamp, best.last_stamp)
                self._stamps = (min(low, best.first_stamp), max(high, best.last_stamp))
                follows = before is not None and (before.last + 1, before.chain) == (best.first, best.chain_before)
                items.append(Item(best, before.last_stamp if before is not None and follows else 0))
                if before is not None and follows and place(before) != place(best):
                    detail = "it names another table, schema or range than the segment before"
                    problems.append(Fault(FORGED, build(best.key().twin()), best.first, detail, best.last))
                if before is not None and follows and best.first_stamp <= before.last_stamp:
                    problems.append(
                        Fault(FORGED, build(best.key().twin()), best.first, "stamps go back in front of this segment", best.last)
                    )
                before = best
            await self._objects(items, names.table, names.partition)
        return superseded(problems, index.rows)

    async def _objects(self, items: Sequence[Item], table: str, partition: str) -> None:
        """Segments of one stretch, by content; the manifests beside them were read."""
        await self._tell([build(item.manifest.key().twin()) for item in items])
        if not self._at_least("objects"):
            return
        fresh = await self._fresh([build(item.manifest.key()) for item in items])
        wanted = [item for item in items if build(item.manifest.key()) not in fresh]
        for batch in batches(wanted, count=1 if self._jobs is None else BATCH, size=BATCH_BYTES):
            self._spend()
            await self._checked(table, partition, what="segments", segments=batch, deep=self._at_least("records"))
            self.report.checked += len(batch)
            self.report.bytes += sum(item.manifest.stored.size for item in batch)
            await self._tell([build(item.manifest.key()) for item in batch])
            self._say(phase="objects", table_id=table, partition=partition)

    async def _bases(self, index: PartitionIndex) -> None:
        """Every base by content."""
        for entry in index.bases:
            key = entry.key(self._cluster, index.table, index.partition)
            await self._tell([build(key)])
            if not self._at_least("objects"):
                continue
            names = [build(key._replace(part=part)) for part in range(entry.parts)]
            if len(await self._fresh(names)) < len(names):
                self._spend()
                base = await self._base(key)
                if base is not None:
                    await self._checked(index.table, index.partition, what="base", base=base, deep=self._at_least("records"))
                    self.report.checked += len(names)
                    self.report.bytes += base.file.size
                    await self._tell(names)

    async def _base(self, key: BaseKey) -> BaseManifest | None:
        """A base's manifest, read again: it is not kept. None and a finding if it is bad by now."""
        found = await self._reader.base(key, await list_all(self._store, key.folder()))
        if isinstance(found, BaseManifest):
            return found
        self._find(found.kind, found.object, found.detail, lsn=key.lsn, table=key.table, partition=key.partition)
        return None

    def _orphans(self, names: Names, found: Coverage) -> None:
        """A segment object without its manifest where the log goes on, or was archived: the manifest is gone (agents archive in order)."""
        last = max([found.end, *(span.last for span in found.thread)])
        for name in names.log:
            key = parse(name)
            if isinstance(key, SegmentKey) and not key.manifest and build(key.twin()) not in names.log:
                covered = any(one.first <= key.first and key.last <= one.last for one in found.thread)
                if not covered and key.first <= last:
                    self._find(
                        HOLE,
                        build(key.twin()),
                        "the manifest is gone, its segment is there",
                        lsn=key.first,
                        table=names.table,
                        partition=names.partition,
                    )

    async def _orphan_rows(self, names: Names) -> None:
        """Rows of a base that are complete (their hash is in their name) but have no manifest: it is gone. Incomplete ones are an upload cut off."""
        folders: dict[str, list[BaseKey]] = {}
        for key in map(parse, names.base):
            if isinstance(key, BaseKey) and key.part is not None and build(key._replace(part=None)) not in names.base:
                folders.setdefault(key.folder(), []).append(key)
        for keys in folders.values():
            self._spend()
            whole = hashlib.sha256()
            try:
                for key in keys:
                    whole.update(await self._store.get(build(key)))
            except Missing:
                continue
            where = build(keys[0]._replace(part=None))
            # Looked at again: a manifest that came meanwhile ends an upload that was under way.
            if whole.hexdigest()[:16] == keys[0].sha16 and await self._store.head(where) is None:
                detail = "the base's manifest is gone, its rows are there"
                self._find(HOLE, where, detail, lsn=keys[0].lsn, table=names.table, partition=names.partition)

    def _holes(self, index: PartitionIndex, found: Coverage) -> None:
        """What coverage calls absent. What is known of lost objects was said already; here the rest, one finding for each range."""
        table, partition = index.table, index.partition
        for hole in found.window.holes:
            if hole.base:
                named = f"{base_prefix(self._cluster, table, partition)}{hole.first_lsn:016x}"
                if not any(key.startswith(named) for key in self._failed):
                    detail = f"the base at LSN {hole.first_lsn}, on which this log rests, is gone"
                    self._find(HOLE, named, detail, lsn=hole.first_lsn, table=table, partition=partition)
                continue
            told = sorted(
                (key.first, key.last) for key in map(parse, self._failed) if isinstance(key, SegmentKey) and key.partition == partition
            )
            at = hole.first_lsn
            for low, high in told:
                if low <= at <= high:
                    at = high + 1
            if at <= hole.last_lsn:
                why = "are not in the archive" if any(span.first > hole.last_lsn for span in found.thread) else "were archived and are gone"
                self._find(HOLE, None, f"records {at} to {hole.last_lsn} {why}", lsn=at, table=table, partition=partition)

    def _strays(self, index: PartitionIndex, found: Coverage) -> None:
        """Forks, and what fits nowhere."""
        where = (self._cluster, index.table, index.partition)
        rows = {row.span(): row for row in index.best()}
        for one in found.astray:
            if isinstance(one, Span):
                name = build(rows[one].key(*where).twin())
                detail = "it does not fit the chain of the history that counts"
                self._find(FORGED, name, detail, lsn=one.first, table=index.table, partition=index.partition)
            elif isinstance(one, Start):
                for entry in index.bases:
                    if entry.start() == one:
                        detail = "the base is not on the chain of the history that counts"
                        self._find(FORGED, build(entry.key(*where)), detail, lsn=one.lsn, table=index.table, partition=index.partition)
        for fork in found.forks:
            detail = f"two histories from LSN {fork.first_lsn} on, epochs {', '.join(map(str, fork.epochs))}"
            self._find(FORGED, None, detail, lsn=fork.first_lsn, table=index.table, partition=index.partition)

    async def _replay(self, index: PartitionIndex, found: Coverage) -> None:
        """Rebuild from every start to the next one and to the end: each seal's digest, and that each base is what the log before it gives."""
        where = (self._cluster, index.table, index.partition)
        rows = {row.span(): row for row in index.best()}
        entries = {entry.start(): entry for entry in index.bases}
        begins: list[Start | None] = [*found.starts]
        if found.thread and found.thread[0].first == 1 and not any(start.lsn == 0 for start in found.starts):
            begins.insert(0, None)
        for start, follower in zip(begins, [*begins[1:], None], strict=True):
            self._spend()
            low, high = start.lsn if start is not None else 0, follower.lsn if follower is not None else None
            keys = [rows[span].key(*where) for span in _contiguous(found.thread, low, high)]
            base = await self._base(entries[start].key(*where)) if start is not None else None
            after = await self._base(entries[follower].key(*where)) if follower is not None else None
            if (start is None or base is not None) and (keys or base is not None):
                await self._checked(index.table, index.partition, what="replay", keys=keys, base=base, follower=after)
            self._say(phase="replay", table_id=index.table, partition=index.partition)

    async def _checked(
        self,
        table: str,
        partition: str,
        *,
        what: str,
        segments: Sequence[Item] = (),
        keys: Sequence[SegmentKey] = (),
        base: BaseManifest | None = None,
        follower: BaseManifest | None = None,
        deep: bool = False,
    ) -> None:
        """Run one check, here or in a worker, and note what it found."""
        faults = await run_check(
            self._store,
            self._disk,
            self._jobs,
            what=what,
            segments=segments,
            keys=keys,
            base=base,
            follower=follower,
            deep=deep,
            work=self._work,
        )
        for fault in faults:
            self._find(fault.kind, fault.object, fault.detail, lsn=fault.lsn, table=table, partition=partition)


def _best(
    group: Sequence[SegmentKey], found: Mapping[SegmentKey, SegmentManifest | Fault], sizes: Mapping[str, int]
) -> tuple[SegmentManifest | None, list[Fault]]:
    """The highest generation of one range and content that can be used, and what is wrong with those above it."""
    problems: list[Fault] = []
    for key in sorted(group, key=lambda one: -one.generation):
        one, data = found[key], build(key.twin())
        if isinstance(one, Fault):
            problems.append(one)
        elif data not in sizes:
            problems.append(Fault(HOLE, data, key.first, "the segment object is gone, its manifest is there", key.last))
        elif sizes[data] != one.stored.size:
            detail = f"{sizes[data]} bytes where its manifest says {one.stored.size}"
            problems.append(Fault(UNREADABLE, data, key.first, detail, key.last))
        else:
            return one, problems
    return None, problems


def _contiguous(thread: Sequence[Span], low: int, high: int | None) -> list[Span]:
    """The segments that go on from LSN `low` without a hole, up to `high`."""
    found: list[Span] = []
    expected = low + 1
    for span in thread:
        if span.first == expected and (high is None or span.last <= high):
            found.append(span)
            expected = span.last + 1
    return found


async def verify(
    store: ObjectStore,
    disk: Disk,
    *,
    options: VerifyOptions,
    now_us: Callable[[], int],
    work: str,
    jobs: Jobs | None = None,
    tasks: Tasks | None = None,
    skip: Skip | None = None,
    proved: Proved | None = None,
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Verify one cluster's archive. jobs: worker processes for whatever loops over records; None: all in this process (the command line's own).

    Online (`options.archived`) an archive that is gone is a finding. Raises Invalid (which cluster, unknown level), Unavailable (the store)."""
    if options.archived is not None and options.cluster is not None:
        cluster = options.cluster
    else:
        cluster = await pick_cluster(store, options.cluster)
    verifier = Verifier(
        store,
        disk,
        cluster=cluster,
        options=options,
        now_us=now_us,
        work=work,
        jobs=jobs,
        tasks=tasks,
        skip=skip,
        proved=proved,
        memory=memory,
        progress=progress,
    )
    return await verifier.run()


__all__ = ["LEVELS", "Finding", "Memory", "VerifyOptions", "VerifyReport", "pick_cluster", "verify"]
