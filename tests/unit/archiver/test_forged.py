"""Manifests, bases and closed objects that are consistent with themselves and false: whoever reads one says so, and nobody restores from it.

Every forgery has good checksums; where the chain covers the fact, its chain value is computed anew as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

import scrubjay.archiver.format.manifest
from scrubjay.archiver.coverage import path_to
from scrubjay.archiver.format import canonical
from scrubjay.archiver.format.base import BaseManifest, encode_base
from scrubjay.archiver.format.closed import ClosedObject, decode_closed, encode_closed
from scrubjay.archiver.format.keyfilter import KeyFilter, key_filter
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest, Sums, decode_manifest, encode_manifest
from scrubjay.archiver.read.check import check_base
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.verify.report import VerifyReport
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import Stamp
from scrubjay.storage.btree.rowfile import RowFileWriter, read_rowfile
from scrubjay.storage.log.digest import Total
from tests.unit.archiver.sample import CLUSTER, START_US, Sample
from tests.unit.archiver.small_archive import SmallArchive
from tests.unit.archiver.test_archive_verify import check, named, without_closed

Change = Callable[[SegmentManifest], SegmentManifest]
SCHEMA = '{"key":{"hash":"zzz"},"attributes":[]}'
COVERED: dict[str, Change] = {
    "first stamp raised": lambda m: replace(m, first_stamp=m.last_stamp - 1),
    "first stamp lowered": lambda m: replace(m, first_stamp=m.first_stamp - 1),
    "last stamp": lambda m: replace(m, last_stamp=m.last_stamp + 1),
    "content counted down": lambda m: replace(m, content=0),
    "content counted up": lambda m: replace(m, content=m.records),
    "closed ten minutes ahead": lambda m: replace(m, closed=m.closed + (600_000_000 << 12)),
    "closed earlier": lambda m: replace(m, closed=m.closed - 1),
    "not closed": lambda m: replace(m, closed=0),
    "another key schema": lambda m: replace(m, schema=SCHEMA),
    "schema nonsense": lambda m: replace(m, schema="nonsense"),
    "range begins later": lambda m: replace(m, lo="f" * 32),
    "range ends earlier": lambda m: replace(m, hi="00" * 15 + "01"),
    "table name": lambda m: replace(m, table_name="other"),
    "reason": lambda m: replace(m, reason=m.reason + 1),
    "tag": lambda m: replace(m, tag=bytes(15) + b"x"),
    "digest": lambda m: replace(m, total=Total(m.total.sum ^ 1, m.total.rows)),
    "row count": lambda m: replace(m, total=Total(m.total.sum, m.total.rows + 1)),
    "digest before": lambda m: replace(m, before=Total(m.before.sum ^ 1, m.before.rows)),
    "chain before": lambda m: replace(m, chain_before=bytes(31) + b"x"),
}
"""Facts that the chain covers."""
LOOSE: dict[str, Change] = {
    "nobody agreed": lambda m: replace(m, members=()),
    "one agreed": lambda m: replace(m, members=(1,)),
    "one agreed twice": lambda m: replace(m, members=(2, 2)),
    "members out of order": lambda m: replace(m, members=(3, 1)),
    "an epoch nobody claimed": lambda m: replace(m, epoch=2),
    "an owner that did not claim it": lambda m: replace(m, owner="0e4e0000-0000-4000-8000-0000000000ff"),
    "stored size": lambda m: replace(m, stored=Sums(m.stored.size + 1, m.stored.crc32c, m.stored.sha256)),
    "stored sum": lambda m: replace(m, stored=Sums(m.stored.size, m.stored.crc32c, "0" * 64)),
    "a range that is no hex": lambda m: replace(m, lo="zz" * 16),
    "a range of half a byte": lambda m: replace(m, hi="f" * 31),
    "a generation that no name holds": lambda m: replace(m, generation=10**12),
    "supersedes itself": lambda m: replace(m, supersedes=(scrubjay.archiver.format.manifest.Superseded(1, "so it says"),)),
}
"""Facts that it does not cover, because honest writers may differ in them."""
FILTERED: dict[str, Change] = {
    "a filter that holds nothing": lambda m: replace(m, keys=key_filter(())),
    "a filter of other keys": lambda m: replace(m, keys=key_filter((b"x" * 16,))),
    "a filter that lacks one bit": lambda m: replace(m, keys=_without_a_bit(m)),
}
"""Facts that follow from the records alone, so that no reader of the records is led astray by them."""
ALL = {**COVERED, **LOOSE}


def _without_a_bit(manifest: SegmentManifest) -> KeyFilter:
    keys = manifest.keys
    assert keys is not None
    at = next(at for at, byte in enumerate(keys.bits) if byte)
    return replace(keys, bits=keys.bits[:at] + bytes([keys.bits[at] & keys.bits[at] - 1]) + keys.bits[at + 1 :])


def forge(archive: SmallArchive, number: int, change: Change, *, rechain: bool) -> str:
    """Change one manifest in place; its object's key. rechain: make its own chain step fit."""
    old = archive.samples[1].manifests()[number]
    lie = change(old)
    if rechain:
        lie = replace(lie, chain=lie.expected_chain())
    where = build(old.key().twin())
    archive.store.objects[where] = encode_manifest(lie)
    return where


def said(report: VerifyReport, where: str) -> bool:
    return where in named(report) or where.replace(".json", ".seg") in named(report)


@pytest.mark.parametrize("number", [0, 2, 3], ids=["first", "middle", "newest"])
@pytest.mark.parametrize("rechain", [False, True], ids=["chain left", "chain made to fit"])
@pytest.mark.parametrize("name", ALL)
def test_a_forged_fact_is_found(name: str, rechain: bool, number: int) -> None:
    archive = SmallArchive()
    if number == 3 and rechain:
        without_closed(archive)  # nobody else names the newest: its own records must
    if number == 0 and name in (
        "first stamp lowered",
        "digest before",
        "content counted down",
        "content counted up",
        "closed earlier",
        "not closed",
    ):
        pytest.skip("the first segment is one SCHEMA record and its SEAL: this is no lie about it, or said by others below")
    where = forge(archive, number, ALL[name], rechain=rechain)
    deep = number == 3 and name in ("digest", "row count", "digest before")
    report = check(archive, level="replayed" if deep else "records")
    assert report.exit == 2
    assert report.findings
    if number == 2 or not rechain:
        assert said(report, where), report.findings


@pytest.mark.parametrize("number", [0, 2, 3], ids=["first", "middle", "newest"])
@pytest.mark.parametrize("name", ALL)
def test_nothing_forged_is_restored(name: str, number: int) -> None:
    """From the index and its path alone, as a restore does: the rows are right, or there is none."""
    archive = without_closed(SmallArchive())
    sample = archive.samples[1]
    forge(archive, number, ALL[name], rechain=True)
    for at in (sample.segments[1], sample.segments[2], sample.segments[3]):
        for cut in (int(at.last_stamp), int(at.first_stamp), int(at.seal.closed)):
            rows = restored(archive, sample, cut)
            if rows is not None:
                lsn = max(one.lsn for one in sample.records if one.stamp <= cut)
                assert rows == sample.states[lsn], (name, cut)


@pytest.mark.parametrize("number", [2, 3], ids=["middle", "newest"])
@pytest.mark.parametrize("name", FILTERED)
def test_a_key_filter_that_lies_is_found_by_reading_the_records(name: str, number: int) -> None:
    """The chain says nothing of it, and a restore does not look at it: but a history would not see what it hides."""
    archive = SmallArchive()
    where = forge(archive, number, FILTERED[name], rechain=False)
    assert check(archive, level="objects").exit == 0
    report = check(archive, level="records")
    assert (report.exit, [(one.kind, one.object) for one in report.findings]) == (2, [("forged", where)])
    archive.store.objects[where] = encode_manifest(replace(archive.samples[1].manifests()[number], keys=None))
    assert check(archive, level="records").exit == 0, "none at all is no lie"


def restored(archive: SmallArchive, sample: Sample, cut: int) -> dict[bytes, bytes] | None:
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 60_000_000))
    found = index.partitions[(sample.table, sample.partition)]
    rows = {row.span(): row for row in found.best()}
    try:
        path = path_to(found.facts(), found.coverage(), stamp=cut)
        keys = [rows[span].key(CLUSTER, sample.table, sample.partition) for span in path.spans]
        archive.loop.run(rebuild(archive.store, archive.disk, base=None, segments=keys, cut=Cut(stamp=Stamp(cut)), output="out", work="w"))
    except (Missing, Corrupt, Unavailable):
        return None
    data = bytes(archive.disk.files["out"])
    return {row.key: row.item for row in read_rowfile(lambda at, length: data[at : at + length], len(data))}


def test_an_honest_archive_is_restored() -> None:
    """Negative control: what the forgeries are measured by does restore."""
    archive = without_closed(SmallArchive())
    sample = archive.samples[1]
    assert restored(archive, sample, int(sample.segments[2].seal.closed)) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"total": Total(5, 5)},
        {"chain": bytes(32)},
        {"stamp": 77},
        {"epoch": 3},
        {"owner": "0e4e0000-0000-4000-8000-0000000000ff"},
    ],
    ids=str,
)
def test_a_forged_base_is_named_and_not_begun_with(change: dict[str, object]) -> None:
    archive = SmallArchive()
    sample = archive.samples[0]
    lie: BaseManifest = replace(archive.base, **change)  # type: ignore[arg-type]
    archive.store.objects[build(lie.key())] = encode_base(lie)
    report = check(archive, level="listed")
    assert (report.exit, named(report)) == (2, [build(lie.key())])
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 60_000_000))
    found = index.partitions[(sample.table, sample.partition)]
    assert found.coverage().starts == ()
    assert found.window().holes == ()


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({"table_name": "other"}, "listed"),
        ({"schema": SCHEMA}, "listed"),
        ({"lo": "01" + "00" * 15}, "listed"),
        ({"hi": "f" * 32}, "listed"),
        ({"supersedes": (scrubjay.archiver.format.manifest.Superseded(1, "so it says"),)}, "listed"),
        ({"file": None}, "objects"),
    ],
    ids=str,
)
def test_what_a_base_says_of_itself_is_compared(change: dict[str, object], level: str) -> None:
    """No chain covers it: the log says whose state it is, and its parts which file they make."""
    archive = SmallArchive()
    base = archive.base
    if "file" in change:
        change = {"file": Sums(base.file.size, base.file.crc32c, base.file.sha256[:16] + "0" * 48)}
    lie: BaseManifest = replace(base, **change)  # type: ignore[arg-type]
    archive.store.objects[build(lie.key())] = encode_base(lie)
    (found,) = check(archive, level=level).findings
    assert (found.kind, found.object) == ("forged", build(lie.key()))


@pytest.mark.parametrize(("lsn", "stamp", "key"), [(99, 0, b""), (0, 1, b""), (0, 0, bytes(15))], ids=["later LSN", "later stamp", "key"])
def test_rows_that_are_not_of_the_base_that_holds_them(lsn: int, stamp: int, key: bytes) -> None:
    """The digest is over keys and items alone: where a row came from, and whether it belongs there, is compared with what the base says."""
    archive = SmallArchive()
    base = archive.base
    read = archive.store.objects[build(base.key(0))]
    made: list[bytes] = []
    writer = RowFileWriter(made.append)
    for number, row in enumerate(read_rowfile(lambda at, length: read[at : at + length], len(read))):
        if not number and key:
            writer.add(key, 1, 1, b"item")
        later = number == 0 and (lsn or stamp)
        writer.add(row.key, lsn if later and lsn else row.lsn, base.stamp + 1 if later and stamp else row.stamp, row.item)
    total = writer.finish()
    rows = b"".join(made)
    lo = "00" * 15 + "01" if key else base.lo
    lie = replace(base, total=total, file=Sums.of(rows), parts=(Sums.of(rows),), lo=lo)
    archive.store.objects[build(lie.key(0))] = rows
    archive.store.objects[build(lie.key())] = encode_base(lie)
    where = build(lie.key())
    faults = archive.loop.run(check_base(archive.store, lie, deep=True))
    assert [(one.kind, one.object) for one in faults] == [("forged", where)]


def test_a_base_at_an_lsn_without_a_seal_is_forged() -> None:
    archive = SmallArchive()
    lie = replace(archive.base, lsn=archive.base.lsn - 1)
    rows = archive.store.objects[build(archive.base.key(0))]
    archive.store.objects[build(lie.key(0))] = rows
    archive.store.objects[build(lie.key())] = encode_base(lie)
    report = check(archive, level="listed")
    assert named(report) == [build(lie.key())]


@pytest.mark.parametrize(
    "change", [{"content": 10**6}, {"members": (1,)}, {"members": (3, 1)}, {"members": (1, 1000)}, {"generation": 2}], ids=str
)
def test_a_manifest_that_cannot_be_true_is_refused_before_its_segment_is_read(change: dict[str, object]) -> None:
    """By its own bytes alone: forged, not unreadable, though its chain value is made to fit."""
    archive = SmallArchive()
    where = forge(archive, 2, lambda m: replace(m, **change), rechain=True)  # type: ignore[arg-type]
    with pytest.raises(Corrupt) as caught:
        decode_manifest(archive.store.objects[where], where=where)
    assert caught.value.kind == "forged"


MALFORMED: dict[str, tuple[str, dict[str, object]]] = {
    "a base of a generation that no name holds": ("/base/", {"generation": 10**12}),
    "a base with a range that is no hex": ("/base/", {"lo": "zz" * 16}),
    "a closed object of a time that no calendar has": ("/closed/", {"time": 1 << 63}),
    "a closed object of a node that no name holds": ("/closed/", {"node": "../n1"}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_fields_that_make_no_name_are_a_finding_and_stop_nobody(name: str) -> None:
    """Sums and form are right, the values are none that an object of ours has: said of that object, and everything else is read."""
    archive = SmallArchive()
    folder, lie = MALFORMED[name]
    where = max(key for key in archive.store.objects if folder in key and key.endswith(".json"))
    fields = json.loads(archive.store.objects[where])
    del fields["checksum"], fields["mac"]
    archive.store.objects[where] = canonical.encode({**fields, **lie})
    report = check(archive, level="listed")
    assert (report.exit, named(report)) == (2, [where])
    assert report.complete
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 60_000_000))
    assert all(one.reach() == sample.lsn for one, sample in zip(index.partitions.values(), archive.samples, strict=True))


def closed_of(archive: SmallArchive) -> ClosedObject:
    where = max(key for key in archive.store.objects if "/closed/" in key)
    return decode_closed(archive.store.objects[where], where=where)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, epoch=9),
        lambda c: replace(c, owner="0e4e0000-0000-4000-8000-0000000000ff"),
        lambda c: replace(c, points=tuple(one._replace(closed=Stamp(stamp_of(START_US + 620_000_000))) for one in c.points)),
        lambda c: replace(c, points=tuple(one._replace(chain=bytes(32)) for one in c.points)),
        lambda c: replace(c, points=tuple(one._replace(last_content=one.last_content - 20) for one in c.points)),
        lambda c: replace(c, points=tuple(one._replace(archived=one.archived + 9) for one in c.points)),
    ],
    ids=["epoch", "owner", "ahead", "chain", "content behind it", "archived further"],
)
def test_a_forged_closed_object_is_found_and_moves_no_window(change: Callable[[ClosedObject], ClosedObject]) -> None:
    archive = SmallArchive()
    honest = closed_of(archive)
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    latest = {key: one.window().latest_us for key, one in index.partitions.items()}
    lie = change(honest)
    archive.store.objects[lie.key()] = encode_closed(lie)
    assert check(archive, level="listed").exit == 2
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    for key, one in index.partitions.items():
        assert (one.window().latest_us or 0) <= (latest[key] or 0)


def test_a_history_forked_in_the_archive_is_status_and_verify() -> None:
    """The log was put back to an earlier seal and went on under the next epoch, with the archive ahead of it."""
    archive = SmallArchive()
    sample = archive.samples[1]
    back = Sample(partition=sample.partition, table=sample.table, seed=sample.seed)
    back.records, back.states, back.segments = sample.records[:], sample.states[:], sample.segments[:]
    keep = sample.segments[1].last
    back.records, back.states, back.segments = back.records[:keep], back.states[: keep + 1], back.segments[:2]
    back.state, back.chain, back.first = dict(back.states[-1]), back.segments[-1].chain, keep + 1
    back.before, back.stamp = back.segments[-1].total, Stamp(sample.stamp + (1_000 << 12))
    for _ in range(3):
        back.random_write()
    segment = back.seal()
    archive.store.objects.update({key: data for key, data in back.objects().items() if f"/{segment.first:016x}-" in key})
    report = check(archive, level="records")
    assert report.exit == 2
    assert any("two histories" in finding.detail for finding in report.findings)
    index = ArchiveIndex(archive.store, CLUSTER, tasks=archive.loop)
    archive.loop.run(index.refresh(now_us=START_US + 30_000_000))
    (fork,) = index.partitions[(sample.table, sample.partition)].summary().forks
    assert (fork.first_lsn, fork.epochs) == (keep + 1, (1,))


def test_stamps_that_go_back_on_a_sound_chain() -> None:
    """Two segments, each sound and chained to each other, whose stamps do not rise: no reader of one of them can tell."""
    archive = without_closed(SmallArchive())
    sample = archive.samples[1]
    sample.stamp = Stamp(sample.segments[-1].first_stamp)
    sample.random_write()
    back = sample.seal()
    archive.store.objects.update(sample.objects())
    for level in ("listed", "records"):
        report = check(archive, level=level)
        assert report.exit == 2
        assert build(sample.manifest(back)[0].key().twin()) in named(report)


@pytest.mark.parametrize(
    "change",
    [lambda m: replace(m, before=Total(m.before.sum ^ 1, m.before.rows)), lambda m: replace(m, schema=SCHEMA)],
    ids=["digest", "schema"],
)
def test_a_digest_that_does_not_go_on_is_seen_from_the_manifests(change: Change) -> None:
    """Of the newest, which nobody follows: no replay is needed, and no record is read."""
    archive = without_closed(SmallArchive())
    where = forge(archive, 3, change, rechain=True)
    assert named(check(archive, level="listed")) == [where]


def test_members_that_do_not_exist() -> None:
    archive = SmallArchive()
    where = forge(archive, 2, lambda m: replace(m, members=(7, 8, 9)), rechain=True)
    assert check(archive).verdict == "match", "alone the archive cannot know how many nodes there are"
    report = check(archive, members=frozenset({1, 2, 3}))
    assert named(report) == [where]


def test_without_the_comparison_with_the_records_the_newest_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control for the newest segment, which nothing else names."""
    monkeypatch.setattr("scrubjay.archiver.read.check.check_against", lambda *_, **__: None)
    archive = without_closed(SmallArchive())
    forge(archive, 3, COVERED["not closed"], rechain=True)
    assert check(archive).verdict == "match"
