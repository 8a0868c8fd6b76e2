"""`verify`: prove an archive from its objects alone (INTERFACE section 3). It reads, never writes, and never says "good" of what it did not look at.

Levels, each with all of the ones before it:
- `listed`: names, sizes, every manifest and each node's newest closed objects read and checked, no hole, no fork, the chain followed from the first segment;
- `objects`: every object downloaded, its size, CRC-32C and SHA-256 those of its manifest, every frame's own checksum; every closed object;
- `records`: every record's checksum, owner, order and stamps, and that manifest and records say the same; rows of bases against their digest;
- `replayed`: every partition rebuilt, the agreed digest of every seal and the digest of every base proven.

What should be there is known from names and manifests, from closed objects (which say up to where each log was archived when they were published, so a lost
tail, table or dropped table is a hole here too), from what the daily index names (from level `objects` on), and online from the cluster's own ends and the
ledger. What nothing but a listing says is gone is looked for once more, LISTING_LAG_S later, before anybody is told; where the budget does not reach that far it is unverified. Not seen offline: the loss of what was archived after the last closed object that is left, and after the last night (`end_checked` false).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

from scrubjay.archiver.format.layout import (
    IdentityKey,
    build,
    closed_prefix,
    tables_prefix,
)
from scrubjay.archiver.read.names import Names, clusters_for, names_of, sweep
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.verify.log import LogCheck
from scrubjay.archiver.verify.partition import PartitionCheck
from scrubjay.archiver.verify.report import Memory, VerifyOptions, VerifyReport, is_gone
from scrubjay.archiver.verify.round import Progress, Proved, Round, Skip, Spent
from scrubjay.archiver.verify.small import SmallObjects
from scrubjay.base.env import Disk, Jobs, ObjectStore, Tasks
from scrubjay.base.errors import HOLE, Invalid, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.together import in_lanes

LISTING_LAG_S = 5.0
"""What nothing says is gone but a listing is looked for once more so long after: a listing that lags would have it by then. Stores whose listings lag are refused (`archiver.write.probe`), as far as
that can be seen."""
SILENT_US = 300_000_000
"""A cluster that archived for longer than this has published closed objects: that there is none at all means that they are gone."""


async def pick_cluster(store: ObjectStore, cluster: str | None) -> str:
    """The cluster to look at. Raises Invalid if there is none, several, or not the one asked for."""
    present = await clusters_for(store, cluster)
    if cluster is not None:
        if cluster not in present:
            raise Invalid("the archive holds no such cluster", asked=cluster, found=present)
        return cluster
    if not present:
        raise Invalid("the archive holds no cluster", archive=store.url)
    if len(present) > 1:
        raise Invalid("the archive holds several clusters: name one with --cluster", found=present)
    return present[0]


class _Look(NamedTuple):
    """At one partition. number: of its part. known: what closed objects say of it. told: names of it that the daily index tells."""

    table: str
    partition: str
    number: int
    part: Round
    known: PartitionIndex
    told: Iterable[str]


class ArchiveVerifier:
    """One run. A few partitions at a time (`VerifyOptions.parallel`, where there are workers): a bounded pace, and in memory, for each of these, a row for each segment
    and a handful of manifests."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self._small = SmallObjects(round_)
        self._stamps: list[tuple[int, int]] = []
        """First and last one met in the log of each partition."""
        self._spent: Spent | None = None
        self._unseen: list[_Look] = []
        """At partitions of which nothing but a listing says that something is gone."""

    async def run(self) -> VerifyReport:
        """Raises Unavailable if the store does not answer; everything else ends up in the report, also (online) that the archive's place is gone."""
        cluster, table = self._round.cluster, self._round.options.table
        try:
            # Whatever stands over an object: what is under it is looked at like everything else, and that it is there is told.
            await self._round.store.uncover(f"{cluster}/" if table is None else f"{tables_prefix(cluster)}{table}/")
            if table is None:
                self._round.elsewhere()
                await self._small.identity()
                await self._small.pins()
                if self._round.at_least("objects"):
                    await self._small.index()
            await self._round.reader.epochs.read()
            closed = await self._small.closed()
            await self._partitions()
            if self._round.options.table is None and not closed and self._stamps:
                low, high = stamp_micros(Stamp(min(self._stamps)[0])), stamp_micros(Stamp(max(last for _, last in self._stamps)))
                if high - low > SILENT_US:
                    self._round.find(
                        HOLE,
                        closed_prefix(self._round.cluster),
                        "not one closed object is left of a cluster that published them for minutes",
                    )
            for key in self._round.options.expected:
                if self._round.options.table is None and key not in self._round.named() and await self._round.store.head(key) is None:
                    self._round.find(HOLE, key, "the object was written and is gone")
        except Spent as spent:
            self._round.report.complete, self._round.report.reason = False, self._round.report.reason or str(spent)
        except Unavailable as error:
            if self._round.options.archived is None or not is_gone(error):
                raise
            self._round.find(HOLE, build(IdentityKey(self._round.cluster)), f"the archive was here and is gone: {error}")
            self._round.report.complete, self._round.report.reason = False, "archive_gone"
        if self._round.unread:
            self._round.report.complete, self._round.report.reason = False, self._round.report.reason or self._round.why_unread()
        self._round.report.failed = len(self._round.failed)
        return self._round.report

    async def _partitions(self) -> None:
        """Those that are listed, and those that somebody knows of. Where the budget ends, those under way end at their next step, and no more are begun."""
        lanes = self._round.options.parallel if self._round.jobs is not None else 1
        await in_lanes(self._round.tasks, self._one, self._wanted(), lanes=lanes, name="verify")
        if self._unseen and self._round.tasks is not None and self._spent is None:
            await self._round.tasks.sleep(LISTING_LAG_S)
            await in_lanes(self._round.tasks, self._again, self._lacking(), lanes=lanes, name="verify again")
        for look in self._unseen:
            look.part.leave_unseen()
            self._ended(look, whole=False)
        if self._spent is not None:
            raise self._spent

    async def _wanted(self) -> AsyncIterator[Names]:
        wanted = self._round.options.table
        missed = dict.fromkeys((one.table, one.partition) for one in self._round.options.archived or () if one.lsn > 0)
        missed |= {key: None for key, facts in self._small.known.items() if facts.told}
        missed |= dict.fromkeys(self._small.told.names)
        if self._round.memory is not None:
            missed |= dict.fromkeys(await self._round.memory.partitions(self._round.cluster))
        first = dict.fromkeys(at for at in self._round.options.first if wanted in (None, at[0]))
        for table, partition in first:
            names = await names_of(self._round.store, self._round.cluster, table, partition)
            if names.log or names.base or names.expired or (table, partition) in missed:
                yield names
        async for names in sweep(self._round.store, self._round.cluster, table=wanted):
            missed.pop((names.table, names.partition), None)
            if (names.table, names.partition) not in first:
                yield names
        for table, partition in sorted(missed):
            if wanted in (None, table) and (table, partition) not in first:
                yield Names(table, partition)

    async def _one(self, names: Names) -> None:
        at = (names.table, names.partition)
        index = self._small.known.pop(at, None) or PartitionIndex(self._round.cluster, *at)
        told = self._small.told.names.pop(at, ())
        number, part = self._round.part()
        look = _Look(*at, number, part, index, told)
        whole = await self._look(look, names)
        if part.unseen and self._round.tasks is not None:
            self._unseen.append(look)
        else:
            self._ended(look, whole=whole)

    async def _lacking(self) -> AsyncIterator[_Look]:
        while self._unseen and self._spent is None:
            try:
                self._round.spend()
            except Spent as spent:
                self._spent = spent
                return
            yield self._unseen.pop(0)

    async def _again(self, look: _Look) -> None:
        look.part.look_again()
        names = await names_of(self._round.store, self._round.cluster, look.table, look.partition)
        self._ended(look, whole=await self._look(look._replace(known=look.known.emptied()), names))

    async def _look(self, look: _Look, names: Names) -> bool:
        """Whether it came to its end."""
        log = LogCheck(look.part)
        try:
            await PartitionCheck(look.part, log).run(names, look.known, look.told)
        except Spent as spent:
            self._spent = self._spent or spent
            return False
        finally:
            if log.stamps is not None:
                self._stamps.append(log.stamps)
        return True

    def _ended(self, look: _Look, *, whole: bool) -> None:
        """What was found of it is told; and that it was looked at whole, if it was."""
        at, part = (look.table, look.partition), look.part
        if whole and part.report.complete and not part.unread_of(*at):
            part.report.covered.append(at)
        self._round.end_part(look.number)


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
    round_ = Round(
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
    return await ArchiveVerifier(round_).run()
