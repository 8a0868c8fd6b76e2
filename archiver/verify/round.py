"""One verification under way: what it was asked, its budget, and what it found so far. What checks something gets this, and says here what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.day import taken_in
from scrubjay.archiver.format.layout import (
    BaseKey,
    ExpiredKey,
    SegmentKey,
    parse,
    segment_of,
)
from scrubjay.archiver.read.check import SegmentToCheck
from scrubjay.archiver.read.inherited import Inheritance
from scrubjay.archiver.read.manifests import ManifestReader
from scrubjay.archiver.read.suspects import LEVELS
from scrubjay.archiver.verify.jobs import run_check
from scrubjay.archiver.verify.report import ArchiveFinding, Memory, VerifyOptions, VerifyReport
from scrubjay.base.env import Disk, Jobs, ObjectStore, Tasks
from scrubjay.base.errors import HOLE, NO_KEY, Invalid

FINDINGS_MAX = 10_000
"""More are counted, not listed."""
TOO_MANY = "too_many_findings"
UNREAD_TOLD = 16
"""Keys named in a report's reason."""
CHUNK = 500
"""Objects asked of the ledger at a time."""
Skip = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Those of some object keys that were proven at this level recently enough."""
Proved = Callable[[Sequence[str], Sequence[str]], Awaitable[None]]
"""Told what passed and what failed, object keys."""
Progress = Callable[[dict[str, Any]], None]


class Spent(Exception):
    """The budget is spent, or whoever asked wants no more; its text is the report's reason."""


class Unread(NamedTuple):
    """detail: which key it is, in words."""

    detail: str
    table: str | None
    partition: str | None


class Counts(NamedTuple):
    """What several parts of one verify have looked at, so far."""

    checked: int
    bytes: int


class RoundMark(NamedTuple):
    """findings: how many. failed, unread: keys."""

    findings: int
    failed: tuple[str, ...]
    unread: tuple[str, ...]


class Round:
    """failed: keys of objects that are bad or gone. unread: by key, those under a key of encryption that is not at hand: nothing is known of them. reader: of manifests, and who claimed which epoch.

    More than 15 fields: what every part of one verify is given.
    """

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
        self.store, self.disk, self.cluster, self.options = store, disk, cluster, options
        self.work, self.jobs, self.tasks, self.memory = work, jobs, tasks, memory
        self.reader = ManifestReader(store, cluster, tasks)
        self.failed: dict[str, None] = {}
        self.unread: dict[str, Unread] = {}
        self.unseen: list[ArchiveFinding] = []
        """Findings that rest on what a listing does not show, and on nothing else."""
        self._depth = LEVELS.index(options.level)
        self._now_us = now_us
        self._end_us = None if options.budget_us is None else now_us() + options.budget_us
        self._skip, self._proved, self._progress = skip, proved, progress
        self._parent: Round | None = None
        self._parts: dict[int, Round] = {}
        """Begun and not taken in yet, by their number."""
        self._ended: dict[int, Round] = {}
        self._begun = self._taken = 0

    # --- several partitions at once ---

    def part(self) -> tuple[int, Round]:
        """One more partition is looked at beside others: what it finds is its own until `end_part`. The budget is this round's."""
        part = Round(
            self.store, self.disk, cluster=self.cluster, options=self.options, now_us=self._now_us, work=f"{self.work}.{self._begun}",
            jobs=self.jobs, tasks=self.tasks, skip=self._skip, proved=self._proved, memory=self.memory, progress=self._progress,
        )  # fmt: skip
        part.reader, part._end_us, part._parent = self.reader, self._end_us, self
        number, self._begun = self._begun, self._begun + 1
        self._parts[number] = part
        return number, part

    def end_part(self, number: int) -> None:
        """It ended, well or not: what it found becomes this round's, in the order in which the partitions were begun, whichever ended first."""
        self._ended[number] = self._parts[number]
        while (part := self._ended.pop(self._taken, None)) is not None:
            del self._parts[self._taken]
            self._taken += 1
            self._take_in(part)

    def _take_in(self, part: Round) -> None:
        mine, theirs = self.report, part.report
        mine.checked, mine.bytes = mine.checked + theirs.checked, mine.bytes + theirs.bytes
        mine.skipped_fresh += theirs.skipped_fresh
        mine.covered += theirs.covered
        self.unread |= {key: why for key, why in part.unread.items() if key not in self.failed}
        told = [one for one in theirs.findings if one.object is None or one.object not in self.failed]
        self.failed |= part.failed
        left = FINDINGS_MAX - len(mine.findings)
        mine.findings += told[:left]
        if not theirs.complete or len(told) > left:
            mine.complete, mine.reason = False, mine.reason or theirs.reason or TOO_MANY

    def counts(self) -> Counts:
        """Of this round and all of its parts."""
        whole = self if self._parent is None else self._parent
        rounds = [whole, *whole._parts.values()]
        return Counts(sum(one.report.checked for one in rounds), sum(one.report.bytes for one in rounds))

    def at_least(self, level: str) -> bool:
        return self._depth >= LEVELS.index(level)

    def spend(self) -> None:
        if self._end_us is not None and self._now_us() >= self._end_us:
            raise Spent("budget_spent")
        why = None if self.options.stop is None else self.options.stop(self.counts().bytes)
        if why is not None:
            raise Spent(why)

    def find(
        self,
        kind: str,
        key: str | None,
        detail: str,
        *,
        lsn: int | None = None,
        table: str | None = None,
        partition: str | None = None,
        listed: bool = False,
    ) -> None:
        """listed: nothing says so but a listing, which may lag."""
        if kind == NO_KEY:
            if key is not None and key not in self.failed:
                self.unread.setdefault(key, Unread(detail, table, partition))
            return
        if key is not None:
            if key in self.failed:
                return
            self.failed[key] = None
        if len(self.report.findings) >= FINDINGS_MAX:  # one more is known of and not told: whatever was not named is not proven by this run
            self.report.complete, self.report.reason = False, self.report.reason or TOO_MANY
            return
        parsed = parse(key) if key else None
        segment = segment_of(key) if key else None
        if isinstance(parsed, SegmentKey):
            lsn = parsed.first if lsn is None else lsn
        found = ArchiveFinding(kind, key, lsn, segment, table, partition, detail)
        self.report.findings.append(found)
        if listed:
            self.unseen.append(found)

    def named(self) -> list[str]:
        """Keys of objects that are there, or should be, and that this run could not use: it has told of each."""
        return [*self.failed, *self.unread]

    def unread_of(self, table: str, partition: str) -> bool:
        return any((one.table, one.partition) == (table, partition) for one in self.unread.values())

    def why_unread(self) -> str:
        """Each of the reasons, with how many objects."""
        counts = Counter(one.detail for one in self.unread.values())
        told = [f"{detail}: {count} object{'s' * (count > 1)} could not be read" for detail, count in counts.most_common(UNREAD_TOLD)]
        return "; ".join([*told, *(["and under other keys"] if len(counts) > UNREAD_TOLD else [])])

    def covered(self, prefix: str, took: Callable[[str], bool]) -> None:
        """Objects below a prefix over which something stands: read all the same, and told. took: retention has taken it away."""
        for key, one in self.store.recalled(prefix).items():
            at = parse(key)
            if not took(key):
                mine = at if isinstance(at, SegmentKey | BaseKey | ExpiredKey) else None
                self.find(one.kind, key, one.detail, table=mine and mine.table, partition=mine and mine.partition)

    def elsewhere(self) -> None:
        """The same of objects of no partition."""
        self.covered(f"{self.cluster}/", lambda key: isinstance(parse(key), SegmentKey | BaseKey | ExpiredKey))

    async def fresh(self, keys: Sequence[str]) -> dict[str, None]:
        """Those that need no look in this run."""
        if self._skip is None:
            return {}
        found: dict[str, None] = {}
        for start in range(0, len(keys), CHUNK):
            found |= dict.fromkeys(await self._skip(keys[start : start + CHUNK]))
        self.report.skipped_fresh += len(found)
        return found

    async def tell(self, keys: Sequence[str]) -> None:
        """Report a few objects to the ledger: passed, unless they are known to have failed."""
        if self._proved is not None and keys:
            await self._proved(
                [key for key in keys if key not in self.failed and key not in self.unread], [key for key in keys if key in self.failed]
            )

    def say(self, **facts: Any) -> None:
        if self._progress is not None:
            self._progress({**facts, **self.counts()._asdict()})

    def mark(self) -> RoundMark:
        """Where the findings stand now."""
        return RoundMark(len(self.report.findings), tuple(self.failed), tuple(self.unread))

    def found_since(self, mark: RoundMark) -> bool:
        return self.mark() != mark

    def take_back(self, mark: RoundMark) -> None:
        """What was found since is no finding: retention took it away while it was looked at."""
        count, failed, unread = mark
        self.unread = {key: self.unread[key] for key in unread}
        del self.report.findings[count:]
        self.unseen = [one for one in self.unseen if one in self.report.findings]
        self.failed = dict.fromkeys(failed)

    def look_again(self) -> None:
        """What was found counts no more: all of it is looked at anew."""
        self.take_back(RoundMark(0, (), ()))
        self.report.checked = self.report.skipped_fresh = 0

    def leave_unseen(self) -> None:
        """It was not looked for again: what a listing did not show is not proven to be gone."""
        self.report.findings = [one for one in self.report.findings if one not in self.unseen]
        self.failed = {key: None for key in self.failed if all(one.object != key for one in self.unseen)}
        self.unseen = []

    async def remembered(
        self, prefix: str, listed: Mapping[str, int], table: str | None, partition: str | None, took: Callable[[str], bool]
    ) -> None:
        """Objects that were once proven to be there and are not listed any more. took: whether retention may have taken one away. What a pack took the place of is remembered for
        ever where a run was killed between the delete and the forgetting."""
        if self.memory is not None:
            packed = taken_in(listed)
            for key in await self.memory.objects(prefix):
                if key not in listed and not took(key) and not packed(key) and await self.store.head(key) is None:
                    self.find(HOLE, key, "the object was proven earlier and is gone", table=table, partition=partition)

    async def checked(
        self,
        table: str,
        partition: str,
        *,
        what: str,
        segments: Sequence[SegmentToCheck] = (),
        keys: Sequence[SegmentKey] = (),
        base: BaseManifest | None = None,
        made: Inheritance | None = None,
        follower: BaseManifest | None = None,
        deep: bool = False,
    ) -> None:
        """Run one check, here or in a worker, and note what it found."""
        faults = await run_check(
            self.store,
            self.disk,
            self.jobs,
            what=what,
            segments=segments,
            keys=keys,
            base=base,
            made=made,
            follower=follower,
            deep=deep,
            work=self.work,
        )
        for fault in faults:
            self.find(fault.kind, fault.object, fault.detail, lsn=fault.lsn, table=table, partition=partition)
