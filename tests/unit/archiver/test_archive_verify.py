"""verify: every object of a small archive damaged in every way is found and named, and a good archive is found good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import scrubjay.archiver.read.objects
import scrubjay.archiver.verify.partition
from scrubjay.archiver.format.former import Former, FormerMember, encode_former
from scrubjay.archiver.format.layout import BaseKey, EpochKey, IdentityKey, SegmentKey, build, former_prefix, parse
from scrubjay.archiver.format.manifest import Sums, decode_manifest, encode_manifest
from scrubjay.archiver.format.segment import SegmentHead, encode_segment
from scrubjay.archiver.read.suspects import LEVELS
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.run import verify
from scrubjay.archiver.verify.small import EPOCHS_NAMED
from scrubjay.base.env import ListPage
from scrubjay.base.errors import Invalid, Unavailable
from scrubjay.sim.lone import LoneJobs
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import HEADER_SIZE
from tests.unit.archiver.sample import CLUSTER, OWNER, START_US
from tests.unit.archiver.small_archive import SmallArchive

KEYS = sorted(SmallArchive().store.objects)
OTHER = "0c1a5e00-0000-4000-8000-0000000000ff"


class Remembered:
    """archiver.verify.run.Memory over a list of keys."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    async def partitions(self, cluster: str) -> list[tuple[str, str]]:
        parsed = [key for key in map(parse, self.keys) if isinstance(key, SegmentKey | BaseKey)]
        return sorted({(key.table, key.partition) for key in parsed if key.cluster == cluster})

    async def objects(self, prefix: str) -> list[str]:
        return [key for key in self.keys if key.startswith(prefix)]


def check(archive: SmallArchive, *, jobs: bool = False, known: list[str] | None = None, **options: object) -> VerifyReport:
    return archive.loop.run(
        verify(
            archive.store,
            archive.disk,
            options=VerifyOptions(**{"wall_us": lambda: START_US + 60_000_000, **options}),  # type: ignore[arg-type]
            now_us=archive.loop.boot_us,
            work="verify-work",
            jobs=LoneJobs(archive.loop, archive.store, archive.disk) if jobs else None,
            tasks=archive.loop if jobs else None,
            memory=Remembered(known) if known is not None else None,
        )
    )


def named(report: VerifyReport) -> list[str]:
    return [finding.object or "" for finding in report.findings]


def short(key: str) -> str:
    return key.split("/", 1)[1][-60:]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("jobs", [False, True])
def test_a_good_archive_is_found_good(level: str, jobs: bool) -> None:
    archive = SmallArchive()
    report = check(archive, jobs=jobs, level=level, archived=archive.archived(), cluster=CLUSTER)
    assert report.findings == []
    assert (report.verdict, report.exit, report.end_checked) == ("match", 0, True)
    segments = sum(len(sample.segments) for sample in archive.samples)
    whole = level != "listed"
    assert report.checked == 2 + 2 + segments * (1 + whole) + 1 + whole
    assert check(archive).end_checked is False


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS, ids=short)
def test_a_flipped_bit_anywhere_is_found_and_named(key: str) -> None:
    archive = SmallArchive()
    data = archive.store.objects[key]
    places = sorted({0, 3, 9, 20, 70, len(data) // 3, len(data) // 2, len(data) - 40, len(data) - 5, len(data) - 1})
    for place in places:
        for bit in (0, 6):
            archive.store.objects[key] = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
            report = check(archive)
            assert report.exit == 2, (place, bit)
            assert key in named(report), (place, bit, report.findings)


@pytest.mark.parametrize("key", KEYS, ids=short)
def test_a_truncated_or_grown_object_is_found_and_named(key: str) -> None:
    archive = SmallArchive()
    data = archive.store.objects[key]
    for wrong in (b"", data[:1], data[: len(data) // 2], data[:-1], data + b"\0", data + data):
        archive.store.objects[key] = wrong
        report = check(archive)
        assert report.exit == 2
        assert key in named(report)


def test_what_one_listing_missed_is_looked_for_again_before_it_is_called_gone() -> None:
    """Any one name: the listing is no snapshot of a folder into which objects are linked."""
    archive = SmallArchive()
    whole = archive.store.list
    missed: list[str] = []

    async def list_(prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        page = await whole(prefix, after=after, limit=limit)
        left = tuple(one for one in page.objects if one.key != key)
        if missed or len(left) == len(page.objects):
            return page
        missed.append(prefix)
        return ListPage(left, page.more)

    archive.store.list = list_  # type: ignore[method-assign]
    for key in KEYS:
        missed.clear()
        report = check(archive, level="listed", archived=archive.archived(), cluster=CLUSTER, known=KEYS)
        assert report.findings == [], key


@pytest.mark.parametrize("lacks", ["tail", "middle", "manifest", "everything"])
@pytest.mark.parametrize(
    ("lag_s", "budget_s", "verdict", "covered"),
    [(3, None, "match", 2), (1_000, None, "mismatch", 2), (1_000, 4, "unverified", 1)],
    ids=["lags", "gone", "budget"],
)
def test_what_nothing_but_a_listing_calls_gone_is_looked_for_once_more_later(
    lacks: str, lag_s: int, budget_s: int | None, verdict: str, covered: int
) -> None:
    """Seed 14000: a pack was not listed yet, its parts were deleted, and a hole was told of that was none. What was not looked for again is not proven to be gone."""
    archive = SmallArchive()
    sample = archive.samples[0]
    hidden = {key for key in KEYS if isinstance(at := parse(key), SegmentKey | BaseKey) and at.partition == sample.partition}
    if lacks != "everything":
        first = sample.segments[-1 if lacks == "tail" else 1].first
        hidden = {
            key for key in hidden if isinstance(at := parse(key), SegmentKey) and at.first == first and (at.manifest or lacks != "manifest")
        }
    began, whole = archive.loop.boot_us(), archive.store.list

    async def list_(prefix: str, *, after: str = "", limit: int = 1000) -> ListPage:
        page = await whole(prefix, after=after, limit=limit)
        late = archive.loop.boot_us() - began < lag_s * 1_000_000
        return ListPage(tuple([one for one in page.objects if not (late and one.key in hidden)]), page.more)

    archive.store.list = list_  # type: ignore[method-assign]
    budget_us = None if budget_s is None else budget_s * 1_000_000
    report = check(archive, jobs=True, level="listed", archived=archive.archived(), cluster=CLUSTER, budget_us=budget_us)
    assert (report.verdict, len(report.covered)) == (verdict, covered)
    assert (report.complete, report.reason) == ((False, "budget_spent") if budget_s else (True, None))
    assert len(report.findings) == (verdict == "mismatch")
    assert report.failed == len([one for one in report.findings if one.object is not None])


def test_a_size_that_is_not_the_manifests_is_seen_by_names_alone() -> None:
    for name in (key for key in KEYS if key.endswith(".seg")):
        archive = SmallArchive()
        archive.store.objects[name] += b"\0"
        report = check(archive, level="listed")
        assert named(report) == [name]
        assert "bytes where its manifest says" in report.findings[0].detail


def is_unseen(key: str) -> bool:
    """What no archive can know to have lost: a node's newest closed object."""
    return key == max(name for name in KEYS if "/closed/" in name)


@pytest.mark.parametrize("key", KEYS, ids=short)
def test_a_deleted_object_is_found_and_named(key: str) -> None:
    archive = SmallArchive()
    del archive.store.objects[key]
    report = check(archive)
    if is_unseen(key):
        assert report.verdict == "match"
        report = check(archive, archived=archive.archived(), cluster=CLUSTER, known=KEYS)
    assert report.exit == 2
    assert key in named(report)
    assert all(finding.kind == "hole" for finding in report.findings)


def without_closed(archive: SmallArchive) -> SmallArchive:
    for key in [key for key in archive.store.objects if "/closed/" in key]:
        del archive.store.objects[key]
    return archive


def test_what_was_proven_once_is_missed_later() -> None:
    """A ledger remembers what a dead listing cannot: here nothing else does, neither the cluster nor a closed object."""
    archive = without_closed(SmallArchive())
    mine = [key for key in KEYS if archive.samples[1].partition in key]
    for key in mine:
        del archive.store.objects[key]
    assert check(archive).verdict == "match"
    for _ in range(2):
        report = check(archive, known=mine)
        assert report.exit == 2
        assert set(mine) <= set(named(report))


def test_closed_objects_remember_what_was_archived() -> None:
    """Offline: a lost tail, a lost partition, a lost table, all without anybody's word."""
    archive = SmallArchive()
    tail = archive.samples[1].segments[-2:]
    names = [
        build(key) for one in tail for key in (archive.samples[1].manifest(one)[0].key(), archive.samples[1].manifest(one)[0].key().twin())
    ]
    for lost in (names, [key for key in KEYS if archive.samples[1].partition in key], [key for key in KEYS if "/t=" in key]):
        archive = SmallArchive()
        for key in lost:
            del archive.store.objects[key]
        report = check(archive)
        assert report.exit == 2
        assert {finding.kind for finding in report.findings} == {"hole"}
        assert report.end_checked is False


def test_all_closed_objects_gone() -> None:
    """The cluster's process knows what it published; offline a cluster that archived for minutes must have some."""
    archive = without_closed(SmallArchive())
    gone = [key for key in KEYS if "/closed/" in key]
    assert named(check(archive, archived=archive.archived(), cluster=CLUSTER, expected=gone[-1:])) == gone[-1:]
    assert set(named(check(archive, known=KEYS))) == set(gone)
    assert check(archive).verdict == "match", "a cluster that lived for seconds may have published none"
    late = archive.samples[1]
    late.stamp = late.stamp + (400_000_000 << 12)  # type: ignore[assignment]
    late.random_write()
    late.seal()
    archive.store.objects.update(late.objects())
    assert named(check(archive, wall_us=lambda: START_US + 500_000_000)) == [f"{CLUSTER}/closed/"]


def test_what_was_published_while_a_verify_went_on_is_not_ahead_of_it() -> None:
    """On a slow store the first closed object is read long after the run began."""
    archive = SmallArchive()
    times = iter(range(START_US - 5_000_000, START_US + 3_600_000_000, 15_000_000))
    report = check(archive, wall_us=lambda: next(times), ahead_us=1_500_000)
    assert (report.verdict, named(report)) == ("match", [])
    assert next(times) > START_US + 30_000_000, "the clock was asked"
    forged = check(archive, wall_us=lambda: START_US + 1_000_000, ahead_us=1_500_000)
    assert set(named(forged)) == {key for key in KEYS if "/closed/" in key}, "ahead of any clock it is no less untrue"


def test_an_archive_that_is_gone_is_a_finding_and_no_usage_error() -> None:
    archive = SmallArchive()
    ends = archive.archived()
    archive.store.objects.clear()
    report = check(archive, archived=ends, cluster=CLUSTER)
    assert report.exit == 2
    assert {finding.partition for finding in report.findings} >= {one.partition for one in ends}
    assert f"{CLUSTER}/identity" in named(report)


@pytest.mark.parametrize("code", ["ArchiveGone", "BucketMissing", "SlowDown"])
def test_a_place_that_is_not_there_any_more_is_a_finding_online(code: str) -> None:
    archive = SmallArchive()

    async def gone(*_: object, **__: object) -> None:
        raise Unavailable("it is not there", error_code=code)

    archive.store.get = archive.store.list = archive.store.head = gone  # type: ignore[assignment, method-assign]
    if code == "SlowDown":
        with pytest.raises(Unavailable):
            check(archive, archived=archive.archived(), cluster=CLUSTER)
        return
    report = check(archive, archived=archive.archived(), cluster=CLUSTER)
    assert (report.exit, report.reason) == (2, "archive_gone")
    assert named(report) == [f"{CLUSTER}/identity"]
    with pytest.raises(Unavailable):
        check(archive, cluster=CLUSTER)


def test_an_old_closed_object_may_have_expired() -> None:
    archive = SmallArchive()
    from scrubjay.archiver.format.closed import ClosedObject, encode_closed

    late = ClosedObject(CLUSTER, "n9", 200_000_000_000, 1, OWNER, (), 100_000_000_000)
    archive.store.objects[late.key()] = encode_closed(late)
    assert check(archive).verdict == "match"
    young = ClosedObject(CLUSTER, "n9", 300_000_000_000, 1, OWNER, (), 290_000_000_000)
    archive.store.objects[young.key()] = encode_closed(young)
    assert [finding.kind for finding in check(archive).findings] == ["hole"]


def test_an_upload_of_a_base_cut_off_is_no_finding() -> None:
    archive = SmallArchive()
    (rows,) = [key for key in KEYS if key.endswith("rows-000000")]
    folder = rows.rpartition("/")[0]
    del archive.store.objects[folder + "/manifest.json"]
    archive.store.objects[rows] = archive.store.objects[rows][:-1]
    assert check(archive).verdict == "match"


def test_rows_of_a_base_that_rotted_beside_a_manifest_that_is_gone_end_no_verify() -> None:
    """They are not what their name says, as an upload that was cut off: the rest is looked at, and the segment that rotted too is named."""
    archive = SmallArchive()
    (rows,) = [key for key in KEYS if key.endswith("rows-000000")]
    segment = build(archive.samples[1].manifests()[1].key())
    del archive.store.objects[rows.rpartition("/")[0] + "/manifest.json"]
    for key in (rows, segment):
        data = archive.store.objects[key]
        archive.store.objects[key] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    assert named(check(archive)) == [segment]


@pytest.mark.parametrize("level", LEVELS)
def test_listed_sees_deletion_at_every_level(level: str) -> None:
    archive = SmallArchive()
    middle = archive.samples[1].manifest(archive.samples[1].segments[1])[0]
    for key in (build(middle.key()), build(middle.key().twin())):
        del archive.store.objects[key]
    report = check(archive, level=level)
    assert [(finding.kind, finding.lsn, finding.object) for finding in report.findings][:1] == [("hole", middle.first, None)]
    assert f"records {middle.first} to {middle.last}" in report.findings[0].detail


def test_swapped_objects_are_found_and_both_named() -> None:
    segments = [key for key in KEYS if key.endswith(".seg")]
    manifests = [key for key in KEYS if key.endswith(".json") and "/log/" in key]
    for keys in (segments, manifests):
        for one in range(0, len(keys) - 1, 2):
            archive = SmallArchive()
            objects = archive.store.objects
            a, b = keys[one], keys[one + 1]
            objects[a], objects[b] = objects[b], objects[a]
            assert {a, b} <= set(named(check(archive)))


def test_a_renamed_object_is_found() -> None:
    archive = SmallArchive()
    manifest = archive.samples[0].manifest(archive.samples[0].segments[1])[0]
    for key in (manifest.key(), manifest.key().twin()):
        archive.store.objects[build(key._replace(first=key.first + 1))] = archive.store.objects.pop(build(key))
    report = check(archive)
    assert report.exit == 2
    assert any(finding.lsn == manifest.first and finding.kind == "hole" for finding in report.findings)
    assert build(manifest.key().twin()._replace(first=manifest.first + 1)) in named(report)


def test_an_epoch_of_any_number_ends_a_verify_with_findings() -> None:
    """A name alone: the epochs in front of it, which are not there, cannot be looked for one by one."""
    archive = SmallArchive()
    far = build(EpochKey(CLUSTER, (1 << 64) - 1))
    archive.store.objects[far] = b"junk"
    report = check(archive, level="listed")
    assert report.exit == 2
    assert far in named(report)
    assert len(report.findings) == EPOCHS_NAMED + 2
    assert build(EpochKey(CLUSTER, 2)) in named(report)


def test_a_whole_forged_segment_breaks_the_chain() -> None:
    """Records, segment, manifest and every checksum made to fit each other: only the chain tells."""
    archive = SmallArchive()
    sample = archive.samples[1]
    segment = sample.segments[1]
    old = sample.manifest(segment)[0]
    victim = sample.records[segment.first]
    data = bytearray(victim.data)
    data[-1] ^= 1
    forged = records.encode(
        owner=bytes(data[16:24]),
        lsn=victim.lsn,
        stamp=victim.stamp,
        kind=victim.kind,
        payload=bytes(data[HEADER_SIZE:]),
        count=victim.count,
    )
    raw = sample.raw(segment).replace(victim.data, forged.data)
    head = SegmentHead(CLUSTER, old.table, old.partition, old.first, old.last, old.first_stamp, old.last_stamp, old.records, 1)
    stored = encode_segment(head, raw)
    lie = replace(old, raw=Sums.of(raw), stored=Sums.of(stored))
    lie = replace(lie, chain=lie.expected_chain())
    for key in (old.key(), old.key().twin()):
        del archive.store.objects[build(key)]
    archive.store.objects[build(lie.key())] = stored
    archive.store.objects[build(lie.key().twin())] = encode_manifest(lie)
    report = check(archive, level="listed")
    assert [finding.kind for finding in report.findings] == ["forged"]
    assert named(report) == [build(lie.key().twin())], "the one that nobody follows"


@pytest.mark.parametrize("jobs", [False, True])
def test_a_lied_digest_needs_a_replay(jobs: bool) -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    before = None
    for number, manifest in enumerate(sample.manifests()):
        name = build(manifest.key().twin())
        changed = replace(manifest, chain_before=before) if before is not None else manifest
        if number == 2:
            changed = replace(changed, total=changed.total._replace(sum=changed.total.sum ^ 5))
        changed = replace(changed, chain=changed.expected_chain())
        if number == 3:
            changed = replace(changed, before=changed.before._replace(sum=changed.before.sum ^ 5))
            changed = replace(changed, chain=changed.expected_chain())
        before = changed.chain
        archive.store.objects[name] = encode_manifest(changed)
    assert check(archive).exit == 2, "closed objects name another chain value at the end"
    without_closed(archive)
    assert check(archive).verdict == "match"
    report = check(archive, level="replayed", jobs=jobs)
    assert [finding.kind for finding in report.findings] == ["forged"]
    assert report.findings[0].lsn == sample.segments[2].last


def test_a_base_off_the_chain_is_forged() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    good = archive.add_base(sample, 1)
    from scrubjay.archiver.format.base import encode_base

    lie = replace(good, chain=bytes(32))
    archive.store.objects[build(good.key())] = encode_base(lie)
    report = check(archive, level="listed")
    assert named(report) == [build(good.key())]
    assert report.findings[0].kind == "forged"


@pytest.mark.parametrize("short", [1, 2, 5])
def test_a_lost_end_is_seen_with_the_clusters_word(short: int) -> None:
    """However little is lost: a single record behind the last one that is there."""
    archive = without_closed(SmallArchive())
    sample = archive.samples[1]
    assert check(archive, archived=archive.archived(), cluster=CLUSTER).verdict == "match"
    ends = [one._replace(lsn=one.lsn + short, chain=None) if one.partition == sample.partition else one for one in archive.archived()]
    report = check(archive, archived=ends, cluster=CLUSTER)
    assert [(finding.kind, finding.lsn, finding.partition) for finding in report.findings] == [("hole", sample.lsn + 1, sample.partition)]


def test_a_lost_partition_is_seen_with_the_clusters_word() -> None:
    archive = without_closed(SmallArchive())
    sample = archive.samples[1]
    for key in [key for key in archive.store.objects if sample.partition in key]:
        del archive.store.objects[key]
    assert check(archive).verdict == "match"
    report = check(archive, archived=archive.archived(), cluster=CLUSTER)
    assert [(finding.kind, finding.lsn, finding.partition) for finding in report.findings] == [("hole", 1, sample.partition)]


def test_a_superseded_bad_object_is_evidence_and_no_finding() -> None:
    archive = SmallArchive()
    sample = archive.samples[1]
    manifest, data = sample.manifest(sample.segments[1])
    archive.store.objects[build(manifest.key())] = data[:-1]
    second, data2 = sample.manifest(sample.segments[1], generation=2)
    from scrubjay.archiver.format.manifest import Superseded

    second = replace(second, supersedes=(Superseded(1, "cut short"),))
    archive.store.objects[build(second.key())] = data2
    archive.store.objects[build(second.key().twin())] = encode_manifest(second)
    assert check(archive, level="replayed").verdict == "match"


def test_foreign_objects_are_ignored() -> None:
    archive = SmallArchive()
    archive.store.objects["notes.txt"] = b"mine"
    archive.store.objects[f"{CLUSTER}/t=x/readme"] = b"mine"
    archive.store.objects["probe/left/0001"] = b"left by a probe that was killed"
    assert check(archive).verdict == "match"


def test_which_cluster() -> None:
    archive = SmallArchive()
    archive.store.objects[build(IdentityKey(OTHER))] = b"x"
    with pytest.raises(Invalid) as caught:
        check(archive)
    assert caught.value.fields["found"] == [CLUSTER, OTHER]
    assert check(archive, cluster=CLUSTER).verdict == "match"
    with pytest.raises(Invalid):
        check(archive, cluster="0c1a5e00-0000-4000-8000-0000000000ee")
    archive.store.objects.clear()
    with pytest.raises(Invalid):
        check(archive)


def test_one_table_only() -> None:
    archive = SmallArchive()
    key = build(archive.samples[0].manifest(archive.samples[0].segments[0])[0].key())
    archive.store.objects[key] = b"rot"
    assert check(archive, table="7ab1e000-0000-4000-8000-00000000000f").verdict == "match"
    assert check(archive, table=archive.samples[0].table).exit == 2


def test_a_spent_budget_is_unverified_never_green() -> None:
    archive = SmallArchive()
    ticks = [0]

    def clock() -> int:
        ticks[0] += 100
        return ticks[0]

    report = archive.loop.run(verify(archive.store, archive.disk, options=VerifyOptions(budget_us=900), now_us=clock, work="w"))
    assert (report.verdict, report.exit, report.reason) == ("unverified", 3, "budget_spent")


def test_what_was_proven_lately_is_skipped_and_said_so() -> None:
    archive = SmallArchive()
    proven: dict[str, None] = {}
    failed: list[str] = []

    async def skip(keys: object) -> list[str]:
        return [key for key in keys if key in proven]  # type: ignore[attr-defined]

    async def proved(good: object, bad: object) -> None:
        proven.update(dict.fromkeys(good))  # type: ignore[call-overload]
        failed.extend(bad)  # type: ignore[call-overload]

    bad = build(archive.samples[0].manifest(archive.samples[0].segments[2])[0].key())
    good = archive.store.objects[bad]
    archive.store.objects[bad] = good[:-9] + b"x" + good[-8:]

    def run() -> VerifyReport:
        return archive.loop.run(
            verify(archive.store, archive.disk, options=VerifyOptions(), now_us=archive.loop.boot_us, work="w", skip=skip, proved=proved)
        )

    first = run()
    assert first.exit == 2
    assert failed == [bad]
    second = run()
    assert second.exit == 2, "what failed is looked at again"
    segments = sum(len(sample.segments) for sample in archive.samples)
    assert second.skipped_fresh == segments - 1 + 1, "each node's newest closed objects are always read: they say what must be there"
    archive.store.objects[bad] = good
    assert run().exit == 0


def test_findings_have_every_field_of_the_interface() -> None:
    archive = SmallArchive()
    key = build(archive.samples[0].manifest(archive.samples[0].segments[1])[0].key())
    archive.store.objects[key] = archive.store.objects[key][:-1]
    finding = check(archive).as_json()["findings"][0]
    assert {name: finding[name] for name in ("kind", "copy", "key", "object", "lsn", "segment", "found_by", "action")} == {
        "kind": "unreadable",
        "copy": "archive",
        "key": None,
        "object": key,
        "lsn": 3,
        "segment": key,
        "found_by": "verify",
        "action": "none",
    }


def test_without_the_content_check_a_flip_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the flips above are found because objects are compared with their manifests and their own sums."""
    good = dict(SmallArchive().store.objects)
    monkeypatch.setattr(
        scrubjay.archiver.read.objects,
        "open_segment",
        lambda manifest, data: scrubjay.archiver.read.objects.decode_segment(good[build(manifest.key())], where="").raw,
    )
    archive = SmallArchive()
    key = build(archive.samples[0].manifest(archive.samples[0].segments[1])[0].key())
    data = archive.store.objects[key]
    archive.store.objects[key] = data[:200] + bytes([data[200] ^ 1]) + data[201:]
    assert check(archive).verdict == "match"


def test_without_the_chain_check_a_forgery_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control for the forged segment."""
    monkeypatch.setattr(scrubjay.archiver.verify.partition.PartitionCheck, "_strays", lambda *_: None)
    with pytest.raises(AssertionError):
        test_a_whole_forged_segment_breaks_the_chain()


def test_decoding_a_manifest_needs_its_own_name() -> None:
    archive = SmallArchive()
    manifest = archive.samples[0].manifests()[0]
    name = build(manifest.key().twin())
    assert decode_manifest(archive.store.objects[name], where=name) == manifest


@pytest.mark.parametrize("level", ["objects", "replayed"])
def test_a_rotted_manifest_is_unreadable_and_a_lying_one_is_forged(level: str) -> None:
    """The kind comes with the error that was raised, whoever reads: one word for one fault."""
    for lie, kind in ((False, "unreadable"), (True, "forged")):
        archive = SmallArchive()
        objects = archive.store.objects
        manifest = archive.samples[0].manifests()[1]
        name = build(manifest.key().twin())
        data = objects[name]
        at = data.index(b'"records"') + 1
        objects[name] = (
            encode_manifest(replace(manifest, last_stamp=manifest.first_stamp - 1)) if lie else data[:at] + b"R" + data[at + 1 :]
        )
        found = {finding.kind for finding in check(archive, level=level).findings if finding.object == name}
        assert found == {kind}


def test_more_findings_than_a_report_holds_make_it_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not named is not proven either: nothing that such a run covers is called a match."""
    monkeypatch.setattr("scrubjay.archiver.verify.round.FINDINGS_MAX", 1)
    archive = SmallArchive()
    damaged = [key for key in KEYS if key.endswith(".seg")][:2]
    for at, key in enumerate(damaged, 1):
        data = archive.store.objects[key]
        archive.store.objects[key] = data[:-1] + bytes([data[-1] ^ 1])
        report = check(archive)
        assert (len(report.findings), report.failed) == (1, at)
        assert (report.verdict, report.exit) == ("mismatch", 2)
        assert (report.complete, report.reason) == ((True, None), (False, "too_many_findings"))[at > 1]


def test_former_members_are_looked_at_and_told_of_like_identity_and_epochs() -> None:
    archive, passed = SmallArchive(), list[str]()
    former = Former(CLUSTER, 1, "n1", 1, (FormerMember("n2", "", 1),), ())
    junk = former_prefix(CLUSTER) + "README"
    before = check(archive).checked
    archive.store.objects.update({junk: b"of people", former.key(): encode_former(former)})

    async def proved(good: Sequence[str], _bad: Sequence[str]) -> None:
        passed.extend(good)

    options = VerifyOptions(wall_us=lambda: START_US + 60_000_000)
    report = archive.loop.run(
        verify(archive.store, archive.disk, options=options, now_us=archive.loop.boot_us, work="verify-work", proved=proved)
    )
    assert (report.findings, report.checked) == ([], before + 1)
    assert (former.key() in passed, junk in passed) == (True, False)
    archive.store.objects[former.key()] = b"rot"
    assert named(check(archive)) == [former.key()]


def test_former_members_that_are_gone_are_missed_where_a_later_one_is_there_or_they_are_remembered() -> None:
    """They are numbered from 1 on and never deleted: who was named by one that is gone would be let in again."""
    archive = SmallArchive()
    formers = [Former(CLUSTER, number, "n1", number, (FormerMember("n2", "", number),), ()) for number in (1, 2, 3)]
    archive.store.objects.update({one.key(): encode_former(one) for one in formers})
    assert check(archive).findings == []
    for one in formers[:2]:
        data = archive.store.objects.pop(one.key())
        (found,) = check(archive, level="listed").findings
        assert (found.kind, found.object) == ("hole", one.key())
        archive.store.objects[one.key()] = data
    del archive.store.objects[formers[2].key()]
    assert check(archive).findings == [], "the last one: nothing in the archive tells of it"
    far = Former(CLUSTER, 1 << 12, "n1", 9, (), ())
    archive.store.objects[far.key()] = encode_former(far)
    assert 1 < len(check(archive).findings) <= 16, "a name says any number"
