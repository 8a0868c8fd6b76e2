"""`verify`: prove an archive from its objects alone (INTERFACE section 3). It reads, never writes, and never says "good" of what it did not look at.

Levels, each with all of the ones before it:
- `listed`: names, sizes, no hole in the LSNs, every manifest and closed object read and checked, the chain followed from the first segment to the last;
- `objects`: every object downloaded, its size, CRC-32C and SHA-256 those of its manifest, every frame's own checksum;
- `records`: every record's checksum, owner, order and stamps, and that manifest and records say the same; rows of bases against their digest;
- `replayed`: every partition rebuilt, the agreed digest of every seal and the digest of every base proven.

Not seen offline: the loss of a partition's newest objects, to which nothing refers (`end_checked` false). With `ends` (the cluster's archived LSNs) they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archiver.base import BaseManifest
from archiver.closed import decode_closed
from archiver.identity import clusters, decode_epoch, decode_identity
from archiver.index import Shelf, ShelfReader, list_all, partitions_of, span_of
from archiver.layout import (
    BaseKey,
    ClosedKey,
    EpochKey,
    IdentityKey,
    SegmentKey,
    base_prefix,
    build,
    closed_prefix,
    log_prefix,
    parse,
    partition_prefix,
)
from archiver.manifest import SegmentManifest
from archiver.verify_jobs import Item, batches, run_check
from archiver.window import needs_base
from base.env import Disk, Jobs, ObjectStore
from base.errors import Corrupt, Invalid, Missing
from storage import chain as chains

LEVELS = ("listed", "objects", "records", "replayed")
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
Known = Callable[[str], Awaitable[list[str]]]
"""Object keys that begin with a prefix and were once proven to be there (a ledger's memory)."""
Progress = Callable[[dict[str, Any]], None]


class Finding(NamedTuple):
    """kind: `unreadable` (its bytes fail a check) | `hole` (it is gone; `object` is the name it should have, null if that cannot be known) | `forged` (its
    sums fit, its content does not). table, partition: None outside a partition. lsn: first record concerned."""

    kind: str
    object: str | None
    lsn: int | None
    segment: str | None
    table: str | None
    partition: str | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        """With the fields that every finding has (INTERFACE section 3)."""
        return {
            "kind": self.kind,
            "copy": "archive",
            "key": None,
            "object": self.object,
            "lsn": self.lsn,
            "segment": self.segment,
            "found_by": "verify",
            "action": "none",
            "partition": self.partition,
            "table_id": self.table,
            "detail": self.detail,
        }


@dataclass(slots=True)
class VerifyReport:
    """complete: everything asked for was looked at (the budget was not spent). verdict: match | mismatch | unverified."""

    cluster: str
    level: str
    end_checked: bool
    checked: int = 0
    skipped_fresh: int = 0
    failed: int = 0
    bytes: int = 0
    complete: bool = True
    reason: str | None = None
    findings: list[Finding] = field(default_factory=list)
    dropped_findings: int = 0

    @property
    def verdict(self) -> str:
        if self.findings:
            return "mismatch"
        return "match" if self.complete else "unverified"

    @property
    def exit(self) -> int:
        return {"match": 0, "mismatch": 2, "unverified": 3}[self.verdict]

    def as_json(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "level": self.level,
            "verdict": self.verdict,
            "reason": self.reason,
            "objects": {"checked": self.checked, "skipped_fresh": self.skipped_fresh, "failed": self.failed},
            "bytes": self.bytes,
            "end_checked": self.end_checked,
            "findings": [finding.as_json() for finding in self.findings],
            "exit": self.exit,
        }


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """cluster: None picks the one there is. table: id, None for all. budget_us: of the clock that `now_us` reads; None: no end.

    ends: archived LSN per partition as the cluster says; None: offline. tables: per partition its table id, for ends of partitions without any object.
    """

    level: str = "records"
    cluster: str | None = None
    table: str | None = None
    budget_us: int | None = None
    ends: Mapping[str, int] | None = None
    tables: Mapping[str, str] | None = None


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
    """One run. Sequential on purpose: a bounded pace, one segment in memory."""

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
        skip: Skip | None = None,
        proved: Proved | None = None,
        known: Known | None = None,
        progress: Progress | None = None,
    ) -> None:
        """work: a scratch path on `disk`. now_us: for the budget; any clock that does not go back."""
        if options.level not in LEVELS:
            raise Invalid("unknown level", asked=options.level, found=list(LEVELS))
        self.report = VerifyReport(cluster, options.level, end_checked=options.ends is not None)
        self._store = store
        self._disk = disk
        self._cluster = cluster
        self._options = options
        self._depth = LEVELS.index(options.level)
        self._now_us = now_us
        self._end_us = None if options.budget_us is None else now_us() + options.budget_us
        self._work = work
        self._jobs = jobs
        self._skip = skip
        self._proved = proved
        self._known = known
        self._progress = progress
        self._failed: dict[str, None] = {}

    async def run(self) -> VerifyReport:
        """Raises Unavailable if the store does not answer; everything else ends up in the report."""
        try:
            if self._options.table is None:
                await self._identity()
            present = await partitions_of(self._store, self._cluster)
            wanted = dict.fromkeys(present)
            if self._options.ends is not None:
                tables = self._options.tables or {}
                wanted |= dict.fromkeys((tables.get(partition, ""), partition) for partition in self._options.ends if partition in tables)
            for table, partition in sorted(wanted):
                if self._options.table is None or table == self._options.table:
                    await self._partition(table, partition)
            if self._options.table is None:
                await self._closed()
        except _Spent:
            self.report.complete, self.report.reason = False, "budget_spent"
        self.report.failed = len(self._failed)
        return self.report

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
            self._progress({"objects": self.report.checked, "bytes": self.report.bytes, "findings": len(self.report.findings), **facts})

    # --- what is not in a partition ---

    async def _identity(self) -> None:
        key = build(IdentityKey(self._cluster))
        await self._small(key, lambda data: decode_identity(data, where=key))
        epochs = await list_all(self._store, f"{self._cluster}/epoch/")
        numbers = sorted(parsed.number for parsed in map(parse, epochs) if isinstance(parsed, EpochKey))
        for number in range(1, (numbers[-1] if numbers else 1) + 1):
            await self._epoch(build(EpochKey(self._cluster, number)))

    async def _epoch(self, key: str) -> None:
        await self._small(key, lambda data: decode_epoch(data, where=key))

    async def _small(self, key: str, decode: Callable[[bytes], object]) -> None:
        """One small object that must be there and decode."""
        self._spend()
        self.report.checked += 1
        try:
            data = await self._store.get(key)
            self.report.bytes += len(data)
            decode(data)
        except Missing:
            self._find("hole", key, "the object is gone")
        except Corrupt as error:
            self._find("unreadable", key, str(error))

    async def _closed(self) -> None:
        prefix = closed_prefix(self._cluster)
        sizes = await list_all(self._store, prefix)
        await self._remembered(prefix, sizes, None, None)
        keys = [key for key in sizes if isinstance(parse(key), ClosedKey)]
        fresh = await self._fresh(keys)
        newest: dict[str, int] = {parsed.node: parsed.time_us for parsed in map(parse, keys) if isinstance(parsed, ClosedKey)}
        for start in range(0, len(keys), CHUNK):
            some = [key for key in keys[start : start + CHUNK] if key not in fresh]
            for key in some:
                await self._closed_one(key, sizes, newest)
            await self._tell(some)
            self._say(phase="closed")

    async def _closed_one(self, key: str, sizes: Mapping[str, int], newest: Mapping[str, int]) -> None:
        """One closed object, and that the one it names as the one before it is there, unless it may have expired."""

        def look(data: bytes) -> None:
            closed = decode_closed(data, where=key)
            if closed.before_us is not None and newest[closed.node] - closed.before_us < EXPIRY_US_MIN:
                name = build(ClosedKey(closed.cluster, closed.node, closed.before_us))
                if name not in sizes:
                    self._find("hole", name, "the closed object is gone; the one after it names it")

        await self._small(key, look)

    async def _remembered(self, prefix: str, listed: Mapping[str, int], table: str | None, partition: str | None) -> None:
        """Objects that were once proven to be there and are not listed any more."""
        if self._known is not None:
            for key in await self._known(prefix):
                if key not in listed:
                    self._find("hole", key, "the object was proven earlier and is gone", table=table, partition=partition)

    # --- one partition ---

    async def _partition(self, table: str, partition: str) -> None:
        self._spend()
        self._say(phase="log", table_id=table, partition=partition)
        reader = ShelfReader(self._store, self._cluster, None)
        log = await list_all(self._store, log_prefix(self._cluster, table, partition))
        segments, problems = await reader.log(log, {})
        base_sizes = await list_all(self._store, base_prefix(self._cluster, table, partition))
        bases, more = await reader.bases(base_sizes)
        shelf = Shelf(tuple(bases), tuple(segments[first] for first in sorted(segments)), (*problems, *more))
        self.report.checked += sum(1 for key in log if key.endswith(".json")) + sum(
            1 for key in base_sizes if key.endswith("manifest.json")
        )
        for problem in shelf.problems:
            self._find(problem.kind, problem.object, problem.detail, lsn=problem.first, table=table, partition=partition)
        self._orphans(log, shelf, table, partition)
        await self._orphan_rows(base_sizes, table, partition)
        await self._remembered(partition_prefix(self._cluster, table, partition), {**log, **base_sizes}, table, partition)
        self._holes(shelf, table, partition)
        self._end(shelf, table, partition)
        if self._at_least("objects"):
            await self._objects(shelf, table, partition)
        else:
            await self._tell([build(one.key().twin()) for one in shelf.segments])
        if self._at_least("replayed") and (shelf.segments or shelf.bases):
            await self._replay(shelf, table, partition)

    def _orphans(self, log: Mapping[str, int], shelf: Shelf, table: str, partition: str) -> None:
        """A segment object without its manifest, in front of segments that have one: the manifest is gone (agents archive in order)."""
        last = shelf.segments[-1].last if shelf.segments else 0
        for name in log:
            key = parse(name)
            if isinstance(key, SegmentKey) and not key.manifest and build(key.twin()) not in log:
                covered = any(one.first <= key.first and key.last <= one.last for one in shelf.segments)
                ends = self._options.ends or {}
                if not covered and (key.first <= last or key.last <= ends.get(partition, 0)):
                    where = build(key.twin())
                    self._find("hole", where, "the manifest is gone, its segment is there", lsn=key.first, table=table, partition=partition)

    async def _orphan_rows(self, sizes: Mapping[str, int], table: str, partition: str) -> None:
        """Rows of a base that are complete (their hash is in their name) but have no manifest: it is gone. Incomplete ones are an upload cut off."""
        folders: dict[str, list[BaseKey]] = {}
        for key in map(parse, sizes):
            if isinstance(key, BaseKey) and key.part is not None and build(key._replace(part=None)) not in sizes:
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
                self._find(
                    "hole", where, "the base's manifest is gone, its rows are there", lsn=keys[0].lsn, table=table, partition=partition
                )

    def _holes(self, shelf: Shelf, table: str, partition: str) -> None:
        """No LSN absent, the chain unbroken, every base on the chain."""
        lowest = min((base.lsn for base in shelf.bases), default=None)
        # Expiry takes a log away from its beginning, up to a base; a gap further on is a hole even where a base bridges it.
        floor = lowest if lowest is not None else 0
        expected, before = min([floor, *(one.first - 1 for one in shelf.segments)]) + 1, None
        chain_at = {0: chains.START}
        if shelf.segments and shelf.segments[0].first == 1:
            first = shelf.segments[0]
            if first.chain_before != chains.START:
                self._forged(first, "the first segment's chain does not start at the start", table, partition)
            if lowest != 0 and needs_base(span_of(first)):
                detail = "the base at LSN 0, on which this restored table rests, is gone"
                self._find("hole", _base_name(self._cluster, table, partition), detail, lsn=0, table=table, partition=partition)
        for manifest in shelf.segments:
            if manifest.first > expected and manifest.last >= expected:
                self._hole(expected, manifest.first - 1, shelf, table, partition)
            if before is not None and manifest.first == before.last + 1:
                if manifest.chain_before != before.chain:
                    self._forged(manifest, "the chain is broken in front of this segment", table, partition)
                elif manifest.first_stamp <= before.last_stamp:
                    self._forged(manifest, "stamps go back in front of this segment", table, partition)
            chain_at[manifest.first - 1] = manifest.chain_before
            chain_at[manifest.last] = manifest.chain
            expected, before = max(expected, manifest.last + 1), manifest
        totals = {manifest.last: manifest.total for manifest in shelf.segments}
        for base in shelf.bases:
            wrong = chain_at.get(base.lsn, base.chain) != base.chain or totals.get(base.lsn, base.total) != base.total
            if wrong:
                self._find("forged", build(base.key()), "the base is not on the chain", lsn=base.lsn, table=table, partition=partition)

    def _hole(self, first: int, last: int, shelf: Shelf, table: str, partition: str) -> None:
        """Records [first, last] are absent. What is known of lost objects was said already; here the rest, one finding for the range."""
        told = [
            problem
            for problem in shelf.problems
            if problem.first is not None and problem.last is not None and problem.object in self._failed
        ]
        covered = sorted((problem.first or 0, problem.last or 0) for problem in told)
        orphans = [key for key in map(parse, self._failed) if isinstance(key, SegmentKey) and key.partition == partition]
        covered += [(key.first, key.last) for key in orphans]
        at = first
        for low, high in sorted(covered):
            if low <= at <= high:
                at = high + 1
        if at <= last:
            self._find("hole", None, f"records {at} to {last} are not in the archive", lsn=at, table=table, partition=partition)

    def _forged(self, manifest: SegmentManifest, detail: str, table: str, partition: str) -> None:
        self._find("forged", build(manifest.key().twin()), detail, lsn=manifest.first, table=table, partition=partition)

    def _end(self, shelf: Shelf, table: str, partition: str) -> None:
        if self._options.ends is None or partition not in self._options.ends:
            return
        end = self._options.ends[partition]
        last = max([0, *(one.last for one in shelf.segments), *(base.lsn for base in shelf.bases)])
        known = [problem.last for problem in shelf.problems if problem.last is not None]
        orphans = [key.last for key in map(parse, self._failed) if isinstance(key, SegmentKey) and key.partition == partition]
        reach = max([last, *known, *orphans])
        if reach < end:
            self._find(
                "hole", None, f"records {last + 1} to {end} were archived and are gone", lsn=last + 1, table=table, partition=partition
            )

    async def _objects(self, shelf: Shelf, table: str, partition: str) -> None:
        names = [build(one.key()) for one in shelf.segments]
        fresh = await self._fresh(names)
        items: list[Item] = []
        before: SegmentManifest | None = None
        for name, manifest in zip(names, shelf.segments, strict=True):
            follows = before is not None and before.last + 1 == manifest.first
            if name not in fresh:
                items.append(Item(manifest, before.last_stamp if before is not None and follows else 0))
            before = manifest
        for batch in batches(items, count=1 if self._jobs is None else BATCH, size=BATCH_BYTES):
            self._spend()
            await self._checked(table, partition, what="segments", segments=batch, deep=self._at_least("records"))
            self.report.checked += len(batch)
            self.report.bytes += sum(item.manifest.stored.size for item in batch)
            await self._tell([build(item.manifest.key()) for item in batch])
            self._say(phase="objects", table_id=table, partition=partition)
        for base in shelf.bases:
            names = [build(base.key(part)) for part in range(len(base.parts))]
            if len(await self._fresh(names)) < len(names):
                self._spend()
                await self._checked(table, partition, what="base", base=base, deep=self._at_least("records"))
                self.report.checked += len(names)
                self.report.bytes += base.file.size
                await self._tell(names)

    async def _replay(self, shelf: Shelf, table: str, partition: str) -> None:
        """Rebuild from every start to the next one and to the end: each seal's digest, and that each base is what the log before it gives."""
        starts: list[BaseManifest | None] = [*shelf.bases]
        if shelf.segments and shelf.segments[0].first == 1 and not any(base.lsn == 0 for base in shelf.bases):
            starts.insert(0, None)
        for base, follower in zip(starts, [*starts[1:], None], strict=True):
            self._spend()
            low = base.lsn if base is not None else 0
            run = _contiguous(shelf.segments, low, follower.lsn if follower is not None else None)
            items = [Item(manifest, 0) for manifest in run]
            await self._checked(table, partition, what="replay", segments=items, base=base, follower=follower)
            self._say(phase="replay", table_id=table, partition=partition)

    async def _checked(
        self,
        table: str,
        partition: str,
        *,
        what: str,
        segments: Sequence[Item] = (),
        base: BaseManifest | None = None,
        follower: BaseManifest | None = None,
        deep: bool = False,
    ) -> None:
        """Run one check, here or in a worker, and note what it found."""
        faults = await run_check(
            self._store, self._disk, self._jobs, what=what, segments=segments, base=base, follower=follower, deep=deep, work=self._work
        )
        for kind, key, lsn, detail in faults:
            self._find(kind, key, detail, lsn=lsn, table=table, partition=partition)


def _contiguous(segments: Sequence[SegmentManifest], low: int, high: int | None) -> list[SegmentManifest]:
    """The segments that go on from LSN `low` without a hole, up to `high`."""
    found: list[SegmentManifest] = []
    expected = low + 1
    for manifest in segments:
        if manifest.first == expected and (high is None or manifest.last <= high):
            found.append(manifest)
            expected = manifest.last + 1
    return found


def _base_name(cluster: str, table: str, partition: str) -> str:
    """As much of a lost base's name as can be known: its folder's beginning."""
    return f"{base_prefix(cluster, table, partition)}{0:016x}"


async def verify(
    store: ObjectStore,
    disk: Disk,
    *,
    options: VerifyOptions,
    now_us: Callable[[], int],
    work: str,
    jobs: Jobs | None = None,
    skip: Skip | None = None,
    proved: Proved | None = None,
    known: Known | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Verify one cluster's archive. jobs: worker processes for whatever loops over records; None: all in this process (the command line's own).

    Raises Invalid (which cluster, unknown level), Unavailable (the store)."""
    cluster = await pick_cluster(store, options.cluster)
    verifier = Verifier(
        store,
        disk,
        cluster=cluster,
        options=options,
        now_us=now_us,
        work=work,
        jobs=jobs,
        skip=skip,
        proved=proved,
        known=known,
        progress=progress,
    )
    return await verifier.run()
