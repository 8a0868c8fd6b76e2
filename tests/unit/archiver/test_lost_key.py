"""One key of several is lost: what lies under it cannot be read, is told of with the key's id and called nothing else; everything beside it goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scrubjay.archiver.coverage import path_to
from scrubjay.archiver.expire.plan import _refusal
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, EpochKey, IdentityKey, SegmentKey, build, parse
from scrubjay.archiver.read.archive_status import ArchivedTable, StoreFacts, archive_status
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.objects import read_segment
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.base.errors import NO_KEY, Missing, NoKey
from tests.unit.archiver import small_archive, test_archive_agent, test_archive_claiming
from tests.unit.archiver.sample import CLUSTER, START_US, TABLE, history, other_partition
from tests.unit.archiver.sealed_lone import SealedLone
from tests.unit.archiver.small_archive import SmallArchive
from tests.unit.archiver.test_archive_agent import Bench, FakeSource, complete
from tests.unit.scrubber import test_scrub_archive

KEYS = sorted(SmallArchive().store.objects)
READ = [key for key in KEYS if parse(key) != IdentityKey(CLUSTER)]
ID = "2027"


@pytest.fixture(autouse=True)
def _sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (small_archive, test_archive_agent, test_archive_claiming, test_scrub_archive):
        monkeypatch.setattr(module, "LoneStore", SealedLone)


def store_of(archive: SmallArchive) -> SealedLone:
    store: object = archive.store
    assert isinstance(store, SealedLone)
    return store


class Told:
    """What a verify told the ledger."""

    def __init__(self) -> None:
        self.passed: dict[str, None] = {}
        self.failed: dict[str, None] = {}

    async def proved(self, passed: Sequence[str], failed: Sequence[str]) -> None:
        self.passed |= dict.fromkeys(passed)
        self.failed |= dict.fromkeys(failed)


def check(archive: SmallArchive, level: str = "replayed") -> tuple[VerifyReport, Told]:
    told = Told()
    options = VerifyOptions(level=level, cluster=CLUSTER, archived=archive.archived(), wall_us=lambda: START_US + 60_000_000)
    report = archive.loop.run(
        verify(archive.store, archive.disk, options=options, now_us=archive.loop.boot_us, work="w", proved=told.proved)
    )
    return report, told


@pytest.mark.parametrize("key", READ, ids=lambda key: key.split("/", 1)[1][-50:])
def test_verify_looks_at_the_rest_and_names_the_key(key: str) -> None:
    archive = SmallArchive()
    store_of(archive).lock(key)
    report, told = check(archive)
    assert (report.verdict, report.findings) == ("unverified", [])
    assert report.reason == f"the archive is encrypted under key {ID}, which is not configured: 1 object could not be read"
    assert key not in told.passed
    assert key not in told.failed
    at = parse(key)
    others = {
        (sample.table, sample.partition)
        for sample in archive.samples
        if not (isinstance(at, SegmentKey | BaseKey) and at.partition == sample.partition)
    }
    assert {*report.covered} == others, "and the partition that it is of was not looked at whole"


def test_rot_beside_it_is_found() -> None:
    archive = SmallArchive()
    locked, rotted = (build(sample.manifests()[1].key()) for sample in archive.samples)
    store_of(archive).lock(locked)
    data = archive.store.objects[rotted]
    archive.store.objects[rotted] = data[:-1] + bytes([data[-1] ^ 1])
    report, told = check(archive)
    assert (report.verdict, [one.object for one in report.findings]) == ("mismatch", [rotted])
    assert {*told.failed} == {rotted}
    assert ID in str(report.reason)


def test_another_generation_under_a_key_that_is_there_is_read_instead() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    first, second = (sample.manifest(sample.segments[1], generation=number) for number in (1, 2))
    for made, data in (first, second):
        archive.store.objects.setdefault(build(made.key()), data)
    store_of(archive).lock(build(second[0].key()))
    manifest, raw, spoilt = archive.loop.run(read_segment(archive.store, second[0]))
    assert (manifest, raw, spoilt) == (first[0], sample.raw(sample.segments[1]), [])
    store_of(archive).lock(build(first[0].key()))
    with pytest.raises(NoKey, match=ID):
        archive.loop.run(read_segment(archive.store, second[0]))


def test_status_tells_it_apart_from_a_hole_until_the_key_is_back() -> None:
    archive = SmallArchive()
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    sample = archive.samples[0]
    locked = build(sample.manifests()[1].key().twin())
    tables = [ArchivedTable(TABLE, "t", tuple(one.partition for one in archive.samples))]

    def status() -> tuple[int, list[dict[str, object]], int]:
        now_us = START_US + 31_000_000
        archive.loop.run(index.refresh(now_us=now_us))
        said = archive_status(index, tables=tables, store=StoreFacts("mem:", reachable=True), now_us=now_us, lag_alarm_s=1e9)
        assert said["findings"] == []
        return said["exit"], said["unread"], len(said["tables"][0]["window"]["holes"])

    store_of(archive).lock(locked)
    unread = {"detail": f"the archive is encrypted under key {ID}, which is not configured", "objects": 1}
    assert status() == (3, [unread], 1), "that stretch cannot be restored, and nobody says that it is gone"
    partition = index.partitions[sample.table, sample.partition]
    (hole,) = partition.window().holes
    assert hole.no_key == unread["detail"]
    assert partition.lost() == []
    with pytest.raises(Missing, match=f"under key {ID}") as refused:
        path_to(partition.facts(), partition.coverage(), lsn=hole.first_lsn)
    assert refused.value.kind == NO_KEY
    assert f"cannot be read: the archive is encrypted under key {ID}" in str(_refusal(partition, partition.coverage()))
    other = index.partitions[sample.table, archive.samples[1].partition]
    assert other.window().latest_us is not None, "and nothing is lacking beside it"
    gone = build(sample.manifests()[3].key())
    data = archive.store.objects.pop(gone)
    assert status()[0] == 2, "a hole is one all the same"
    assert [hole.no_key is None for hole in partition.window().holes] == [False, True]
    archive.store.objects[gone] = data
    archive.store.objects[locked] = archive.store.objects.sound[locked]
    assert status() == (0, [], 0)
    assert index.suspects.by_object == {}


@pytest.mark.parametrize("kind", [ClosedKey, EpochKey])
def test_a_look_goes_on_behind_a_small_object_that_it_cannot_read(kind: type) -> None:
    archive = SmallArchive()
    for key in KEYS:
        if isinstance(parse(key), kind):
            store_of(archive).lock(key)
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 31_000_000))
    assert all(found.reach() == sample.lsn for sample, found in zip(archive.samples, index.partitions.values(), strict=True))


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("ending", [".seg", ".json"])
def test_a_partition_waits_alone_for_its_key(leads: bool, ending: str) -> None:
    bench = Bench()
    samples = [history(segments=2), history(seed=2, segments=2, partition=other_partition(3))]
    memory: object = bench.memory
    assert isinstance(memory, SealedLone)
    memory.objects.update(samples[0].objects())
    locked = build(samples[0].manifests()[1].key()).replace(".seg", ending)
    memory.lock(locked)
    source = FakeSource(1, samples, leads=leads)
    agent = bench.agent(source)
    bench.loop.run_for(90)
    state = agent.state()
    assert source.archived_lsn[samples[1].partition] == samples[1].lsn, "the other partition is archived"  # type: ignore[index]
    assert state.reachable
    assert source.findings == []
    assert {one.generation for one in bench.segment_keys()} == {1}, "nothing is written anew"
    assert state.trouble is not None
    assert ID in state.trouble.error
    assert [one.partition for one in state.queue] == [samples[0].partition]
    memory.objects[locked] = memory.objects.sound[locked]
    bench.loop.run_for(200)
    assert complete(bench, samples[0])
    assert agent.state().trouble is None


def test_a_claim_does_not_wait_for_a_partition_whose_end_cannot_be_read() -> None:
    """That one is compared before its first upload, which waits; the others are not held up."""
    world, book, sample = test_archive_claiming.World(), test_archive_claiming.MemoryBook(), history(segments=2)
    life = world.life(book, sample).start()
    world.loop.run_for(20)
    life.stop()
    store: object = world.memory
    assert isinstance(store, SealedLone)
    before = world.segments()
    ends = [key for key in before if f"-{sample.lsn:016x}." in key]
    for key in ends:
        store.lock(key)
    archived = sample.lsn
    test_archive_claiming.write(sample)
    life = world.life(book, sample)
    life.source.archived_lsn = dict.fromkeys(life.source.archived_lsn, archived)
    life.start()
    world.loop.run_for(60)
    assert [one.epoch for one in world.epochs()] == [1, 2]
    assert life.writer.state == ""
    assert world.segments() == before
    trouble = life.agent.state().trouble
    assert trouble is not None
    assert ID in trouble.error
    for key in ends:
        store.objects[key] = store.objects.sound[key]
    world.loop.run_for(120)
    assert life.source.archived_lsn[sample.partition] == sample.lsn  # type: ignore[index]


@pytest.mark.parametrize("what", ["segment", "manifest", "base"])
def test_a_scrub_that_cannot_read_its_reference_is_unverified_and_finds_nothing(what: str) -> None:
    world = test_scrub_archive.World()
    store: object = world.objects
    assert isinstance(store, SealedLone)
    if what == "base":
        code, part = world.scrub()
        assert part.base is not None
        for key in [key for key in store.objects if isinstance(at := parse(key), SegmentKey) and at.last <= part.lsn]:
            del store.objects[key]  # retention's, but for its word: nothing else can be built upon
        store.lock(part.base)
    else:
        target = world.segment_of(12)
        store.lock(target if what == "segment" else test_scrub_archive.manifest_of(target))
    code, part = world.scrub()
    assert (code, part.reason, part.findings) == (3, "archive_no_key", ())
    assert all(not one.suspects.by_object for one in [world.index])
    assert world.store.model.heals == []
