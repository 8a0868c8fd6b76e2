"""A partition that lives for weeks: days of writes in virtual time, its archive, bases made from the archive alone, and retention run over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.expire.plan import DAY_US, Need, Wanted
from scrubjay.archiver.expire.report import ExpireReport
from scrubjay.archiver.expire.run import ExpireParts, Expirer
from scrubjay.archiver.format.base import BaseManifest, decode_base
from scrubjay.archiver.format.closed import ClosedObject, encode_closed
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.identity import Attached, encode_epoch, encode_identity
from scrubjay.archiver.format.layout import EpochKey, IdentityKey, build
from scrubjay.archiver.format.manifest import encode_manifest
from scrubjay.archiver.read.check import check_base
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.bases import upload_base
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import ObjectStore
from scrubjay.base.hlc import last_stamp_at, stamp_of
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.pitr.plan import plan_table
from scrubjay.pitr.rates import Rates
from scrubjay.pitr.source import history_of
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.archive_port import ClosedPoint
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.record import RecordKind, Seal
from tests.unit.archiver.sample import ATTACHED, CLUSTER, OWNER, START_US, Sample, State

NEXT_OWNER = "0e4e0000-0000-4000-8000-00000000000a"
CLOSED_EVERY_US = DAY_US // 4


class ExpireWorld:
    """sample: the truth. now_us: the clock, in front of which everything was written. holds: asked at every look. forgotten: keys that were told gone."""

    def __init__(self, *, seed: int = 5, keys: int = 20) -> None:
        self.loop, self.store, self.disk = LoneHost(start_us=START_US), LoneStore(), LoneDisk()
        self.sample = Sample(seed=seed, keys=keys)
        self.now_us = START_US + 60_000_000
        self.holds: list[Need] = []
        self.forgotten: list[str] = []
        self.untold = False
        self.dropped_at_us: int | None = None
        self.keep_us = 10 * DAY_US
        self.writer = Writer(CLUSTER, ATTACHED)
        self._closed_us: int | None = None
        self.book = LockBook(0)
        objects = self.store.objects
        objects[build(IdentityKey(CLUSTER))] = encode_identity(cluster=CLUSTER, created_us=START_US, parent=None)
        objects[build(EpochKey(CLUSTER, 1))] = encode_epoch(cluster=CLUSTER, epoch=1, owner=OWNER, created_us=START_US)
        self.index = self.new_index()
        self.sample.append(RecordKind.SCHEMA, b"{}")
        self._seal(Seal.SCHEMA)

    def new_index(self) -> ArchiveIndex:
        return ArchiveIndex(self.store, CLUSTER, tasks=self.loop.tasks)

    # --- time and traffic ---

    def days(self, count: int, *, writes: int = 4, base_every: int = 0) -> None:
        """So many days, each with some writes and a segment; a base every `base_every` days (0: none)."""
        for day in range(count):
            begins_us = self.now_us
            for number in range(writes):
                self.sample.stamp = stamp_of(begins_us + number * (DAY_US // (writes + 1)))
                self.sample.random_write()
            self._seal()
            self.now_us = begins_us + DAY_US
            self.close()
            if base_every and day % base_every == base_every - 1:
                self.base()

    def _seal(self, reason: int = Seal.AGE) -> None:
        segment = self.sample.seal(reason=reason)
        made, data = self.sample.manifest(segment)
        self.store.objects[build(made.key())] = data
        self.store.objects[build(made.key().twin())] = encode_manifest(made)

    def idle(self, days: int) -> None:
        for _ in range(days):
            self.now_us += DAY_US
            self.close()

    def close(self) -> None:
        """A closed object, as a leader publishes them."""
        sample = self.sample
        lsn = sample.segments[-1].last if sample.segments else 0
        point = ClosedPoint(
            TableId(sample.table), PartitionId(sample.partition), Stamp(last_stamp_at(self.now_us - 1000)), Lsn(lsn - 1), Lsn(lsn), sample.chain, Lsn(lsn)
        )  # fmt: skip
        writer = sample.attached
        made = ClosedObject(CLUSTER, "n1", self.now_us, writer.epoch, writer.owner, (point,), self._closed_us)
        self._closed_us = self.now_us
        self.store.objects[made.key()] = encode_closed(made)

    def base(self, at: int | None = None) -> BaseManifest:
        """A base at the archive's end, or at the seal with that LSN, made of the archive alone."""
        sample, lsn = self.sample, at or self.sample.segments[-1].last
        self.refresh()
        found = self.index.partitions[sample.table, sample.partition]
        before = max((one for one in found.bases if one.lsn < lsn), key=lambda one: one.lsn, default=None)
        manifest = None
        if before is not None:
            where = build(before.key(CLUSTER, sample.table, sample.partition))
            manifest = decode_base(self.store.objects[where], where=where)
        floor = before.lsn if before is not None else 0
        segments = [row.key(CLUSTER, sample.table, sample.partition) for row in found.best() if row.first > floor]
        done = self.loop.run(
            rebuild(self.store, self.disk, base=manifest, segments=segments, cut=Cut(lsn=Lsn(lsn)), output="rows", work="w")
        )
        facts = sample.facts
        return self.loop.run(
            upload_base(
                self.store, self.disk, "rows", writer=sample.attached, table=sample.table, partition=sample.partition, table_name=facts.table_name,
                schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
            )
        )  # fmt: skip

    def take_over(self, other: ExpireWorld, *, days: int, base_every: int) -> None:
        """A copy of the other's cluster, put back from an older snapshot of the data folder, takes its identity over and writes on for so many days."""
        before = set(self.store.objects)
        self.sample.attached = Attached(CLUSTER, 2, NEXT_OWNER)
        self.sample.rng.seed(f"taken over {self.sample.lsn}")
        self.store.objects[build(EpochKey(CLUSTER, 2))] = encode_epoch(cluster=CLUSTER, epoch=2, owner=NEXT_OWNER, created_us=other.now_us)
        self.now_us = other.now_us
        self.index = self.new_index()
        self.days(days, base_every=base_every)
        other.store.objects.update({key: data for key, data in self.store.objects.items() if key not in before})
        self.store, self.writer = other.store, Writer(CLUSTER, self.sample.attached)
        self.index = self.new_index()

    def lock(self, days: int, *, known: bool = True) -> None:
        """The store locks what is put from now on for so many days. known: that, and since when, is noted."""
        bucket = self.store._store
        bucket.lock_us, bucket.wall_us = days * DAY_US, lambda: self.now_us
        self.book = LockBook(bucket.lock_us, since_us=self.now_us if known else None)

    # --- looking ---

    def archived(self) -> list[KnownArchived]:
        last = self.sample.segments[-1]
        return [KnownArchived(self.sample.table, self.sample.partition, last.last, last.chain)]

    def refresh(self) -> None:
        self.loop.now_us = self.now_us
        self.loop.run(self.index.refresh(now_us=self.now_us, archived=self.archived()))

    def state_at(self, at_us: int) -> State:
        """What the rows were, by the truth."""
        cut = last_stamp_at(at_us)
        return self.sample.states[sum(1 for record in self.sample.records if record.stamp <= cut)]

    def restored(self, at_us: int) -> State:
        """What a restore to that moment gives, from the archive alone, read by a process that has just begun."""
        sample = self.sample
        index = self.new_index()
        self.loop.run(index.refresh(now_us=self.now_us))
        info = PartitionInfo(partition_id=PartitionId(sample.partition), lo=sample.facts.lo, hi=sample.facts.hi, members=())
        history = history_of(info, index.partitions[sample.table, sample.partition])
        plan = plan_table([history], at_us=at_us, cut=Stamp(last_stamp_at(at_us)), rates=Rates(1, 1, 1, 1), workers=1).partitions[0]
        manifest = None
        if plan.base is not None:
            manifest = decode_base(self.loop.run(self.store.get(plan.base.object)), where=plan.base.object)
        keys = segment_keys([one.object for one in plan.segments])
        cut = Cut(stamp=Stamp(last_stamp_at(at_us)))
        self.loop.run(rebuild(self.store, self.disk, base=manifest, segments=keys, cut=cut, output="restored", work="w"))
        file = self.disk.open("restored")
        try:
            return {row.key: row.item for row in read_rowfile(file.pread, file.size())}
        finally:
            file.close()

    def window(self) -> tuple[int | None, int | None]:
        self.refresh()
        found = self.index.partitions.get((self.sample.table, self.sample.partition))
        return (None, None) if found is None else (found.window().earliest_us, found.window().latest_us)

    def verify(self, level: str = "replayed", *, offline: bool = False, noted: Callable[[], Sequence[str]] = tuple) -> VerifyReport:
        options = VerifyOptions(
            level=level,
            cluster=CLUSTER,
            archived=None if offline else self.archived(),
            wall_us=lambda: self.now_us,
            ahead_us=5_000_000,
            noted=noted,
        )
        return self.loop.run(  # type: ignore[no-any-return]
            verify(self.store, self.disk, options=options, now_us=lambda: 0, work="v", tasks=self.loop.tasks)
        )

    # --- retention ---

    def wanted(self) -> Wanted:
        last = self.sample.segments[-1]
        dropped = self.dropped_at_us is not None
        return Wanted(
            self.sample.table, "orders", self.sample.partition, last.last, self.keep_us, self.dropped_at_us, last.last if dropped else None,
            self.sample.stamp if dropped else 0,
        )  # fmt: skip

    def parts(self, store: ObjectStore | None = None) -> ExpireParts:
        at = store or self.store

        async def prove(base: BaseManifest) -> Sequence[Fault]:
            return await check_base(at, base, deep=True)

        async def forget(keys: Sequence[str]) -> None:
            self.forgotten += keys

        async def untold(since_us: int) -> bool:
            return self.untold

        index = self.index if store is None else ArchiveIndex(at, CLUSTER, tasks=self.loop.tasks)
        return ExpireParts(
            env=self.loop.env(), store=at, index=index, writer=self.writer, prove=prove, holds=lambda: list(self.holds),
            archived=self.archived, afresh=lambda one: one._replace(keep_us=max(one.keep_us, self.keep_us)), forget=forget, untold=untold,
            progress=lambda facts: None, locks=self.book,
        )  # fmt: skip

    def plan(self, *, attended: bool = False, ahead_us: int = 0) -> ExpireReport:
        self.loop.now_us = self.now_us
        found: ExpireReport = self.loop.run(
            Expirer(self.parts(), keep_us=None, attended=attended, ahead_us=ahead_us).plan([self.wanted()], closed_keep_us=self.keep_us)
        )
        return found

    def expire(self, store: ObjectStore | None = None, wanted: Sequence[Wanted] | None = None, *, attended: bool = False) -> ExpireReport:
        self.loop.now_us = self.now_us
        found: ExpireReport = self.loop.run(
            Expirer(self.parts(store), keep_us=None, attended=attended).run(wanted or [self.wanted()], closed_keep_us=self.keep_us)
        )
        return found

    def keys(self, what: str) -> list[str]:
        return sorted(key for key in self.store.objects if f"/{what}/" in key)
