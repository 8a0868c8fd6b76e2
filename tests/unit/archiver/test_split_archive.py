"""The archive of a partition that was split, and split again: a child is rebuilt at every LSN through its parents, and what the parents lost is a hole of the child's and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.coverage import last_micros
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.layout import AFTER_ALL, SegmentKey, build, log_prefix, parse, partition_prefix
from scrubjay.archiver.format.manifest import encode_manifest
from scrubjay.archiver.read.archive_status import ArchivedTable, table_status
from scrubjay.archiver.read.index import ArchiveIndex, KnownArchived
from scrubjay.archiver.read.inherited import InheritedBase, start_of
from scrubjay.archiver.read.names import Names, names_of
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rebuild import Rebuilt, rebuild, rebuild_job, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.pitr.plan import plan_partition
from scrubjay.pitr.source import history_of
from scrubjay.scrubber.shelves import shelf_of
from scrubjay.sim.jobs import SimJobContext
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.archive_port import SealedSegment
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.digest import Total
from tests.unit.archiver.sample import ATTACHED, CLUSTER, START_US, Sample, State, history, total_of

LATER_US = START_US + 60_000_000


class SplitArchive:
    """A parent, its children, and the children of the right one, each with two segments of its own. Of the parent, and of the right child, a base lies in front of the last segments."""

    def __init__(self, *, seed: int = 5) -> None:
        self.loop, self.store, self.disk = LoneHost(), LoneStore(), LoneDisk()
        self.parent = history(seed=seed, segments=3, writes=8)
        self.left, self.right = self.parent.split()
        self.left.write_segments(2, writes=6)
        self.right.write_segments(2, writes=6)
        self.third, self.fourth = self.right.split("c0" + "00" * 15, seed=10)
        for one in (self.third, self.fourth):
            one.write_segments(2, writes=6)
        self.samples = [self.parent, self.left, self.right, self.third, self.fourth]
        for sample in self.samples:
            self.store.objects.update(sample.objects())

    def index(self) -> ArchiveIndex:
        index = ArchiveIndex(self.store, CLUSTER, tasks=self.loop)
        self.loop.run(index.refresh(now_us=LATER_US))
        return index

    def of(self, sample: Sample, index: ArchiveIndex | None = None) -> PartitionIndex:
        return (index or self.index()).partitions[sample.table, sample.partition]

    def rebuild(self, index: PartitionIndex, cut: Cut, *, output: str = "out") -> Rebuilt:
        made = index.inheritance()
        base = self.loop.run(start_of(self.store, None if made is None else made.argument()))
        keys = [row.key(index.cluster, index.table, index.partition) for row in index.best()]
        return self.loop.run(rebuild(self.store, self.disk, base=base, segments=keys, cut=cut, output=output, work="w"))

    def rows(self, path: str = "out") -> State:
        data = bytes(self.disk.files[path])
        return {row.key: row.item for row in read_rowfile(lambda at, length: data[at : at + length], len(data))}

    def base(self, sample: Sample, number: int) -> BaseManifest:
        """A base at the sample's segment `number`, uploaded."""
        done = self.rebuild(self.of(sample), Cut(lsn=sample.segments[number].last), output="base-rows")
        facts = sample.facts
        return self.loop.run(
            upload_base(
                self.store, self.disk, "base-rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
                schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total, born=sample.born,
            )
        )  # fmt: skip

    def lose(self, sample: Sample, number: int) -> None:
        manifest, _ = sample.manifest(sample.segments[number])
        for key in (manifest.key(), manifest.key().twin()):
            del self.store.objects[build(key)]

    def verify(self, level: str = "replayed") -> VerifyReport:
        options = VerifyOptions(cluster=CLUSTER, level=level)
        return self.loop.run(verify(self.store, self.disk, options=options, now_us=lambda: LATER_US, work="verify", tasks=self.loop))

    def found(self, level: str = "replayed") -> list[tuple[str, str | None]]:
        return [(one.kind, one.partition) for one in self.verify(level).findings if one.partition is not None]


@pytest.mark.parametrize("based", [False, True])
def test_a_child_and_its_child_are_rebuilt_at_every_lsn(based: bool) -> None:
    """based: the parent is read from a base on, and so is the right child, which inherited its own beginning."""
    archive = SplitArchive()
    if based:
        archive.base(archive.parent, 2)
        archive.base(archive.right, 1)
    for sample in (archive.left, archive.third):
        index = archive.of(sample)
        for lsn in range(sample.offset, sample.lsn + 1, 2 if based else 1):
            done = archive.rebuild(index, Cut(lsn=Lsn(lsn)))
            assert archive.rows() == sample.state_at(lsn), lsn
            assert (done.applied, done.total) == (lsn, total_of(sample.state_at(lsn)))
            assert set(archive.disk.files) <= {"out", "base-rows"}, "no scratch is left"
    made = archive.of(archive.third).inheritance()
    assert made is not None
    assert [name for name in made.objects() if "/base/" in name] == [name for name in made.objects()[:1] if based]


def test_windows_go_on_from_one_to_the_next_without_a_hole() -> None:
    archive = SplitArchive()
    index = archive.index()
    for sample in archive.samples:
        found = archive.of(sample, index)
        assert (found.window().holes, found.problems, found.reach(), found.summary().clean) == ((), [], sample.lsn, True)
        assert found.window().earliest_us == stamp_micros(sample.records[0].stamp if sample.born is None else sample.born.stamp)
    assert archive.of(archive.right, index).window().latest_us == archive.of(archive.third, index).window().earliest_us
    report = archive.verify()
    assert [one for one in report.findings if one.partition is not None] == []


def test_a_child_that_is_read_before_its_parents_never_seems_to_lack_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = SplitArchive()
    names = archive_names(archive)
    seen: dict[str, int] = {}
    take = ArchiveIndex._take

    async def youngest_first(*_: Any, **__: Any) -> AsyncIterator[Names]:
        for one in reversed(names):
            yield one

    def taken(self: ArchiveIndex, index: PartitionIndex, draft: PartitionIndex) -> None:
        take(self, index, draft)
        seen[index.partition] = seen.get(index.partition, 0) + 1
        assert not [hole for one in self.partitions.values() for hole in one.window().holes]

    monkeypatch.setattr("scrubjay.archiver.read.index.sweep", youngest_first)
    monkeypatch.setattr(ArchiveIndex, "_take", taken)
    archive.index()
    assert set(seen) == {sample.partition for sample in archive.samples}


class SeenWhileRead:
    """Fails where anything seems to be absent after any step of a look, unless there are `holes`. lists: what was listed. late: of what the next listing lacks all."""

    def __init__(self, archive: SplitArchive, monkeypatch: pytest.MonkeyPatch) -> None:
        self.archive, self.index = archive, ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
        self.lists: list[str] = []
        self.late: list[str] = []
        self.holes = False
        self.all = dict(archive.store.objects)
        take, listing = ArchiveIndex._take, archive.store.list

        def taken(index: ArchiveIndex, partition: PartitionIndex, draft: PartitionIndex) -> None:
            take(index, partition, draft)
            assert self.holes or not [hole for one in index.partitions.values() for hole in one.window().holes]

        async def listed(prefix: str, **fields: Any) -> Any:
            self.lists.append(prefix)
            if prefix in self.late:
                self.late.remove(prefix)
                fields["after"] = prefix + AFTER_ALL
            return await listing(prefix, **fields)

        monkeypatch.setattr(ArchiveIndex, "_take", taken)
        monkeypatch.setattr(archive.store, "list", listed)

    def put(self, *lives: list[SealedSegment]) -> None:
        """Only these segments lie there."""
        self.archive.store.objects.clear()
        for sample, segments in zip(self.archive.samples, lives, strict=False):
            names = {build(key) for one in segments for key in (sample.manifest(one)[0].key(), sample.manifest(one)[0].key().twin())}
            self.archive.store.objects.update({name: self.all[name] for name in names})

    def whole(self) -> list[str]:
        """Which partitions were listed by themselves, whole."""
        prefixes = [partition_prefix(CLUSTER, one.table, one.partition) for one in self.archive.samples]
        return [prefix for prefix in self.lists if prefix in prefixes]

    def known(self, *samples: Sample) -> list[KnownArchived]:
        return [KnownArchived(one.table, one.partition, one.lsn, None) for one in samples]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> SeenWhileRead:
    """The parent has not come to its end in the archive when it is looked at first; then all of it is there, and of its children all that they wrote."""
    found = SeenWhileRead(SplitArchive(), monkeypatch)
    found.put(found.archive.parent.segments[:-1])
    found.archive.loop.run(found.index.refresh(now_us=LATER_US))
    found.archive.store.objects.update(found.all)
    found.lists.clear()
    return found


@pytest.mark.parametrize("which", ["left", "third"])
def test_a_child_that_is_looked_at_alone_does_not_lack_what_its_parent_came_to_since_the_last_look(seen: SeenWhileRead, which: str) -> None:
    """As who packs looks."""
    archive, sample = seen.archive, getattr(seen.archive, which)
    archive.loop.run(seen.index.refresh(now_us=LATER_US, table=sample.table, partition=sample.partition))
    assert archive.of(sample, seen.index).reach() == sample.lsn
    assert seen.whole().count(partition_prefix(CLUSTER, sample.table, sample.partition)) == 1, "nothing of its own seemed to be absent"


def test_a_whole_look_that_comes_to_the_children_first_does_not_miss_the_end_of_their_parents(
    seen: SeenWhileRead, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(reversed(archive_names(seen.archive)))

    async def youngest_first(*_: Any, table: str | None, partition: str | None) -> AsyncIterator[Names]:
        for one in names:
            if partition in (None, one.partition):
                yield one

    monkeypatch.setattr("scrubjay.archiver.read.index.sweep", youngest_first)
    seen.archive.loop.run(seen.index.refresh(now_us=LATER_US))
    assert {one.partition: seen.archive.of(one, seen.index).reach() for one in seen.archive.samples} == {
        one.partition: one.lsn for one in seen.archive.samples
    }


@pytest.mark.parametrize("order", ["parents first", "children first", "children missed"])
def test_a_listing_that_has_a_child_and_not_yet_the_end_of_its_parent_is_no_hole(
    seen: SeenWhileRead, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """It is no snapshot: the parent came to its end after its names were listed, and its child began before those of the child were, or are when it is looked for."""
    archive = seen.archive
    now = archive_names(archive)
    seen.put(archive.parent.segments[:-1])
    old = archive_names(archive)[0]
    archive.store.objects.update(seen.all)
    listing = {"parents first": [old, *now[1:]], "children first": [*now[1:], old], "children missed": [old]}[order]

    async def no_snapshot(*_: Any, table: str | None, partition: str | None) -> AsyncIterator[Names]:
        for one in listing if partition is None else now:
            if partition in (None, one.partition):
                yield one

    monkeypatch.setattr("scrubjay.archiver.read.index.sweep", no_snapshot)
    archive.loop.run(seen.index.refresh(now_us=LATER_US, archived=seen.known(archive.third)))
    assert archive.of(archive.third, seen.index).reach() == archive.third.lsn
    assert archive.of(archive.parent, seen.index).reach() == archive.parent.lsn, "nothing is forgotten that was read"


@pytest.mark.parametrize("late", [False, True])
def test_a_child_that_grew_does_not_lack_its_beginning_though_nobody_told_of_its_parent(seen: SeenWhileRead, late: bool) -> None:
    """The copies of what was split go as soon as the archive has the end of its log: nobody is left who would tell of it. late: the child is not listed at once."""
    archive, child = seen.archive, seen.archive.third
    seen.late = [log_prefix(CLUSTER, child.table, child.partition)] * late
    archive.loop.run(seen.index.follow(now_us=LATER_US, archived=seen.known(child)))
    assert archive.of(child, seen.index).reach() == child.lsn
    assert seen.whole().count(partition_prefix(CLUSTER, child.table, child.partition)) == late, (
        "else nothing of its own seemed to be absent"
    )
    # where all of them are told of, what came before is read first, and nothing as a whole
    seen.lists.clear()
    seen.index.partitions.clear()
    archive.loop.run(seen.index.follow(now_us=LATER_US, archived=seen.known(*reversed(archive.samples))))
    assert archive.of(archive.third, seen.index).reach() == archive.third.lsn
    assert not seen.whole()


def test_a_parent_whose_end_is_lost_is_looked_for_once_in_a_look_however_many_children_lack_it(seen: SeenWhileRead) -> None:
    archive, seen.holes = seen.archive, True
    archive.lose(archive.parent, 4)
    for first in (True, False):  # what is known to be lost is not looked for by each of them
        seen.lists.clear()
        archive.loop.run(seen.index.refresh(now_us=LATER_US))
        assert {one.partition for one in archive.samples if archive.of(one, seen.index).window().holes} == {
            one.partition for one in archive.samples if one is not archive.parent
        }
        again = seen.whole().count(partition_prefix(CLUSTER, archive.parent.table, archive.parent.partition))
        assert (again > 1) if first else (again == 1)


def archive_names(archive: SplitArchive) -> list[Names]:
    """Of each partition, its parents first."""
    return [archive.loop.run(names_of(archive.store, CLUSTER, sample.table, sample.partition)) for sample in archive.samples]


@pytest.mark.parametrize("generation", ["parent", "right"])
def test_what_a_parent_lost_is_a_hole_in_front_of_its_children_until_they_have_bases_of_their_own(generation: str) -> None:
    archive = SplitArchive()
    before = archive.index()
    assert archive.of(archive.third, before).window().earliest_us is not None
    archive.base(archive.fourth, 1)
    lost = archive.parent if generation == "parent" else archive.right
    archive.lose(lost, 2)
    archive.loop.run(before.refresh(now_us=LATER_US))
    for sample in (archive.third, archive.fourth):
        for index in (before, archive.index()):  # what was known is known anew when the parent is
            (hole,) = archive.of(sample, index).window().holes
            assert (hole.base, hole.first_lsn) == (True, sample.offset)
    assert archive.of(archive.third).window().latest_us is None
    fourth = archive.of(archive.fourth).window()
    assert (fourth.earliest_us, fourth.latest_us) == (
        stamp_micros(archive.fourth.segments[1].last_stamp), last_micros(archive.fourth.segments[-1].seal.closed),
    )  # fmt: skip
    assert (archive.of(archive.left).window().holes == ()) == (generation == "right")
    assert {partition for _, partition in archive.found("listed")} >= {lost.partition, archive.third.partition, archive.fourth.partition}
    with pytest.raises(Missing):
        plan_partition(history_of(info_of(archive.third), archive.of(archive.third)), archive.third.segments[1].last_stamp)


def test_a_child_is_judged_anew_once_something_is_learned_of_what_it_came_of() -> None:
    archive = SplitArchive()
    index = archive.index()
    child = archive.of(archive.third, index)
    known = child.summary()
    assert child.summary() is known, "and until then it is kept"
    archive.of(archive.parent, index).learned()
    assert child.summary() is not known


def test_a_row_lies_in_one_half_alone() -> None:
    """At the cut itself, in front of it by the last of its bytes, and behind it."""
    archive = SplitArchive()
    index = archive.index()
    left, right = [
        archive.loop.run(start_of(archive.store, made.argument()))
        for one in (archive.left, archive.right)
        if (made := archive.of(one, index).inheritance()) is not None
    ]
    assert isinstance(left, InheritedBase)
    assert isinstance(right, InheritedBase)
    cut = bytes.fromhex(right.lo)
    before = (int.from_bytes(cut, "big") - 1).to_bytes(len(cut), "big")
    for key, in_left in ((before + b"\xff", True), (cut, False), (cut + b"x", False), (bytes(16), True), (b"\xff" * 16, False)):
        assert (left.holds(key, b""), right.holds(key, b"")) == (in_left, not in_left), key.hex()


def info_of(sample: Sample) -> PartitionInfo:
    return PartitionInfo(sample.facts.partition, sample.lo, sample.hi, ())


def test_a_plan_names_what_is_inherited_and_a_job_makes_it() -> None:
    archive = SplitArchive()
    sample = archive.third
    history_ = history_of(info_of(sample), archive.of(sample))
    plan = plan_partition(history_, sample.segments[1].seal.closed)
    assert plan.base is not None
    assert (plan.base_lsn, plan.base.object, plan.from_lsn) == (sample.offset, "", sample.offset + 1)
    arguments = {
        "url": "memory://",
        "base": plan.base.asked,
        "segments": plan.objects(),
        "stamp": sample.segments[1].seal.closed,
        "output": "out",
        "work": "w",
    }
    context = SimJobContext(archive.disk, lambda url: archive.store, None)  # type: ignore[arg-type,return-value]
    answer = archive.loop.run(rebuild_job(context, {**arguments, "rebase": True}))
    assert archive.rows() == sample.state_at(sample.segments[1].last - 1)
    assert answer["total"]["rows"] == len(archive.rows())
    raw = sum(one.raw_size for generation in (archive.parent, archive.right) for one in generation.segments)
    assert plan.raw == raw + sum(one.raw_size for one in sample.segments[:2])


def test_what_a_child_says_that_it_began_with_must_be_what_its_parent_had() -> None:
    """Every record, digest and chain value of parent and child is as agreed; the child began with other rows than the parent had in its range."""
    archive = SplitArchive()
    sample = archive.left
    assert sample.born is not None
    wrong = Sample(sample.partition, sample.table, 3, {**sample.states[0], b"\x01" * 17: b"more"}, lo=sample.lo, hi=sample.hi)
    wrong = Sample(
        sample.partition, sample.table, 3, wrong.state, lo=sample.lo, hi=sample.hi, born=sample.born._replace(total=total_of(wrong.state))
    )
    wrong.write_segments(2)
    for name in [
        name for name in archive.store.objects if isinstance(key := parse(name), SegmentKey) and key.partition == sample.partition
    ]:
        del archive.store.objects[name]
    archive.store.objects.update(wrong.objects())
    with pytest.raises(Corrupt, match="what a partition began with"):
        archive.rebuild(archive.of(sample), Cut(lsn=wrong.segments[0].last))
    assert "out" not in archive.disk.files
    assert ("forged", sample.partition) in archive.found()
    assert ("forged", sample.partition) not in archive.found("listed"), "only the rows can tell"


def test_a_manifest_that_tells_of_another_beginning_is_not_used_and_one_that_its_records_do_not_bear_out_is_found() -> None:
    archive = SplitArchive()
    sample = archive.left
    assert sample.born is not None
    manifest, _ = sample.manifest(sample.segments[1])
    name = build(manifest.key().twin())
    for lie in (sample.born._replace(total=Total(7, 3)), None):
        archive.store.objects[name] = encode_manifest(replace(manifest, born=lie))
        assert [(one.kind, one.object) for one in archive.of(sample).problems] == [("forged", name)]
        assert ("forged", sample.partition) in archive.found("listed")
    archive.store.objects[name] = encode_manifest(manifest)
    for number, segment in enumerate(sample.segments):  # all of them, as one who writes objects would: the records say otherwise
        lied, _ = sample.manifest(segment)
        lie = sample.born._replace(parent=archive.right.facts.partition)
        archive.store.objects[build(lied.key().twin())] = encode_manifest(replace(lied, born=lie))
        assert number < len(sample.segments)
    assert ("forged", sample.partition) in archive.found("records")


def test_another_history_of_the_parent_gives_the_child_nothing() -> None:
    archive = SplitArchive()
    other = history(seed=5, segments=3, writes=8)
    other.split()
    end, sealed = other.segments[-1], archive.parent.segments[-1]
    assert end.chain == sealed.chain, "the control: the same log"
    archive.lose(archive.parent, 4)
    changed = history(seed=6, segments=3, writes=8)
    changed.split(names=(archive.left.partition, archive.right.partition))
    for name in [
        name for name in archive.store.objects if isinstance(key := parse(name), SegmentKey) and key.partition == archive.parent.partition
    ]:
        del archive.store.objects[name]
    archive.store.objects.update(changed.objects())
    assert archive.of(archive.parent).window().holes == ()
    (hole,) = archive.of(archive.left).window().holes
    assert (hole.base, hole.first_lsn) == (True, archive.left.offset)
    assert segment_keys([]) == []


def of_each_other(archive: SplitArchive) -> None:
    """Every manifest of the left child says that it came of the right one, and the other way round: each is consistent in itself, and nothing bears it out."""
    for one, other in ((archive.left, archive.right), (archive.right, archive.left)):
        assert one.born is not None
        for segment in one.segments:
            manifest, _ = one.manifest(segment)
            lie = replace(manifest, born=one.born._replace(parent=PartitionId(other.partition)))
            archive.store.objects[build(manifest.key().twin())] = encode_manifest(lie)


def test_two_partitions_that_are_said_to_be_each_others_parent_are_a_damaged_lineage_and_nobody_follows_it_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = SplitArchive()
    of_each_other(archive)
    index, looked, refresh = archive.index(), 0, ArchiveIndex._refresh

    async def counted(self: ArchiveIndex, *asked: Any) -> None:
        nonlocal looked
        looked += 1
        assert looked < 20, "it goes on and on"
        await refresh(self, *asked)

    monkeypatch.setattr(ArchiveIndex, "_refresh", counted)
    for sample in (archive.left, archive.third):
        archive.loop.run(index.refresh(now_us=LATER_US, table=sample.table, partition=sample.partition))
    for sample in (archive.left, archive.right):
        found = archive.of(sample, index)
        assert found.misled() is not None
        assert found.inheritance() is None
        (hole,) = found.window().holes
        assert (hole.base, hole.first_lsn) == (True, sample.offset)
        shelf = shelf_of(found, upto=Lsn(sample.lsn))
        assert [one.kind for one in shelf.problems if "damaged lineage" in one.detail] == ["forged"]
        with pytest.raises(Missing):
            plan_partition(history_of(info_of(sample), found), sample.segments[0].last_stamp)
    (hole,) = archive.of(archive.third, index).window().holes
    assert hole.base, "what came of it lacks its beginning too"
    told = table_status(
        index,
        ArchivedTable(archive.left.table, "orders", tuple(one.partition for one in archive.samples)),
        now_us=LATER_US,
    )
    assert told["window"]["holes"]
    for level in ("listed", "records", "replayed"):
        named = [one for one in archive.verify(level).findings if one.detail.startswith("damaged lineage")]
        assert [(one.kind, one.partition) for one in named] == [("forged", one.partition) for one in (archive.left, archive.right)], level
