"""Rebuild: equal to the model at every LSN and instant, and nothing bad gets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import scrubjay.archiver.read.replay
from scrubjay.archiver.format.base import BaseManifest, encode_base
from scrubjay.archiver.format.fault import object_of
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest, Sums, Superseded, encode_manifest
from scrubjay.archiver.format.records import check_records
from scrubjay.archiver.read.net_changes import Runs
from scrubjay.archiver.read.rebuild import as_answer, from_answer, rebuild, rebuild_job
from scrubjay.archiver.read.replay import HELD_BYTES_MAX, ArchiveReplay, Cut
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.checksum import row_hashes
from scrubjay.base.errors import Corrupt, Invalid, Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.pitr.timeline.versions import versions_in
from scrubjay.sim.jobs import SimJobContext
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import MASK, Total
from scrubjay.storage.log.record import Effect, Op, RecordKind
from tests.unit.archiver.sample import ATTACHED, START_US, Sample, history, total_of


def archive(sample: Sample) -> tuple[LoneHost, LoneStore, LoneDisk]:
    store = LoneStore()
    store.objects.update(sample.objects())
    return LoneHost(), store, LoneDisk()


def rows(disk: LoneDisk, path: str = "out") -> dict[bytes, bytes]:
    data = bytes(disk.files[path])
    return {row.key: row.item for row in read_rowfile(lambda at, length: data[at : at + length], len(data))}


def make_base(loop: LoneHost, store: LoneStore, disk: LoneDisk, sample: Sample, segment_index: int) -> BaseManifest:
    segment = sample.segments[segment_index]
    done = loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=segment.last), output="base-rows", work="w"))
    facts = sample.facts
    return loop.run(
        upload_base(
            store, disk, "base-rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
            schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
        )
    )  # fmt: skip


@pytest.mark.parametrize("held", [HELD_BYTES_MAX, 9000, 1])
@pytest.mark.parametrize("with_base", [False, True])
def test_every_lsn_and_instant(with_base: bool, held: int) -> None:
    """held: what is more than that goes into runs on the disk; with 1 every segment is one, with 9000 the first ones are and the rest is in memory."""
    sample = history(seed=3, segments=4, writes=9)
    loop, store, disk = archive(sample)
    base = make_base(loop, store, disk, sample, 2) if with_base else None
    low = base.lsn if base else 0
    manifests = [one for one in sample.manifests() if one.first > low]
    for lsn in range(max(low, 1), sample.lsn + 1):
        stamp = sample.records[lsn - 1].stamp
        for cut in (Cut(lsn=Lsn(lsn)), Cut(stamp=stamp), Cut(stamp=Stamp(stamp + 5))):
            done = loop.run(rebuild(store, disk, base=base, segments=manifests, cut=cut, output="out", work="w", held_bytes_max=held))
            assert rows(disk) == sample.states[lsn]
            assert done.total == total_of(sample.states[lsn])
            assert (done.applied, done.stamp) == (lsn, stamp)
            assert done.proven >= lsn
            assert set(disk.files) <= {"out", "base-rows"}, "no scratch is left"


def test_rows_carry_where_they_came_from_unless_rebased() -> None:
    sample = history(seed=5)
    loop, store, disk = archive(sample)
    loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w"))
    data = bytes(disk.files["out"])
    for row in read_rowfile(lambda at, length: data[at : at + length], len(data)):
        assert sample.records[row.lsn - 1].stamp == row.stamp
        assert row.item in sample.records[row.lsn - 1].data
    loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w", rebase=True))
    data = bytes(disk.files["out"])
    assert {(row.lsn, row.stamp) for row in read_rowfile(lambda at, length: data[at : at + length], len(data))} == {(0, 0)}


def test_reads_nothing_behind_the_seal_after_the_cut() -> None:
    sample = history(seed=5, segments=4)
    loop, store, disk = archive(sample)
    third = sample.segments[2]
    for segment in sample.segments[3:]:
        del store.objects[build(sample.manifest(segment)[0].key())]
    done = loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=Lsn(third.first + 1)), output="out", work="w"))
    assert done.proven == third.last
    assert not done.exact
    closed = third.seal.closed
    done = loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(stamp=closed), output="out", work="w"))
    assert done.proven == third.last
    with pytest.raises(Missing):
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(stamp=Stamp(closed + 1)), output="out", work="w"))


def test_a_seal_behind_the_cut_is_checked_too() -> None:
    """A restore reads on to the seal that is closed at or after its cut: a digest there that does not follow from what was read stops it."""
    sample = Sample(seed=5)
    sample.append(RecordKind.SCHEMA, b"{}")
    for closed in (0, 0, 0, None):
        for _ in range(9):
            sample.random_write()
        sample.seal(closed=closed)
    loop, store, disk = archive(sample)
    manifests = sample.manifests()
    cut = Cut(stamp=Stamp(sample.segments[1].last_stamp))
    total = manifests[2].total
    forged = replace(manifests[2], total=Total(total.sum ^ 1, total.rows))
    done = loop.run(rebuild(store, disk, base=None, segments=manifests, cut=cut, output="out", work="w"))
    assert (done.proven, done.applied) == (manifests[3].last, manifests[1].last)
    with pytest.raises(Corrupt):
        loop.run(rebuild(store, disk, base=None, segments=[*manifests[:2], forged], cut=cut, output="out", work="w"))


@pytest.mark.parametrize("which", range(4))
def test_a_broken_chain_stops_a_rebuild(which: int) -> None:
    """Whatever gave the engine its segments: one that does not continue the chain of what was read is not merged."""
    sample = history(seed=5, segments=3)
    loop, store, disk = archive(sample)
    manifests = sample.manifests()
    manifests[which] = replace(manifests[which], chain_before=bytes(31) + b"x")
    with pytest.raises(Corrupt) as caught:
        loop.run(rebuild(store, disk, base=None, segments=manifests, cut=Cut(), output="out", work="w"))
    assert caught.value.fields["lsn"] == manifests[which].first
    assert "out" not in disk.files


@pytest.mark.parametrize("held", [HELD_BYTES_MAX, 1])
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("fact", ["before", "total"])
def test_every_seal_is_checked_the_last_one_too(which: int, fact: str, held: int) -> None:
    sample = history(seed=5, segments=3)
    loop, store, disk = archive(sample)
    manifests = sample.manifests()
    said = getattr(manifests[which], fact)
    manifests[which] = replace(manifests[which], **{fact: Total(said.sum ^ 1, said.rows)})
    with pytest.raises(Corrupt) as caught:
        loop.run(rebuild(store, disk, base=None, segments=manifests, cut=Cut(), output="out", work="w", held_bytes_max=held))
    assert caught.value.fields["what"] == "digest"
    assert not disk.files, "neither rows nor runs are left"


def test_what_is_held_in_memory_is_bounded_and_what_is_more_is_on_the_disk() -> None:
    """Deterministic twin of the peaks that bench_rebuild shows. The bytes of the result are the same however much was held."""
    sample = history(seed=9, segments=20, writes=10)
    loop, store, disk = archive(sample)
    held: list[tuple[int, int]] = []
    found = {}
    for most in (HELD_BYTES_MAX, 10_000, 1):
        runs = Runs(disk, "w")
        replay = ArchiveReplay(partition=sample.partition, base=None, cut=Cut(), runs=runs, held_bytes_max=most)
        peak = 0
        for manifest, segment in zip(sample.manifests(), sample.segments, strict=True):
            replay.feed(manifest, sample.raw(segment), where="k")
            peak = max(peak, replay.keys)
        held.append((len(runs), peak))
        runs.remove()
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w", held_bytes_max=most))
        found[most] = bytes(disk.files["out"])
    (whole_runs, whole), (some_runs, some), (all_runs, few) = held
    assert (whole_runs, all_runs) == (0, len(sample.segments) - 1), "the first one has no keys"
    assert 1 < some_runs < all_runs
    assert whole > some > few
    assert few == 0
    assert len(set(found.values())) == 1


def test_a_scratch_file_that_does_not_hold_what_was_written_makes_no_rows() -> None:
    """A run's rows are hashed again on their way out, so the agreed digest is compared with what will be written, and not with what was read before."""
    sample = history(seed=9, segments=6)
    disk = LoneDisk()
    replay = ArchiveReplay(partition=sample.partition, base=None, cut=Cut(), runs=Runs(disk, "w"), held_bytes_max=1)
    for manifest, segment in zip(sample.manifests(), sample.segments, strict=True):
        replay.feed(manifest, sample.raw(segment), where="k")
    newest = max(disk.files, key=lambda name: int(name.rpartition("-")[2]))
    file = disk.open(newest)
    data = file.pread(0, file.size())
    item = next(item for item in sample.state.values() if len(item) > 8 and item in data)
    at = data.index(item) + len(item) - 1
    file.write(at, bytes([data[at] ^ 1]))
    total = sum_ = 0
    for block, hashes in replay.merge(iter(())):
        assert hashes == row_hashes(block)
        total, sum_ = total + len(block), sum_ + sum(hashes)
    with pytest.raises(Corrupt):
        replay.finish(Total(sum_ & MASK, total))


@pytest.mark.parametrize("off", [Total(1, 0), Total(0, 1)])
def test_the_rows_that_were_written_are_compared_with_the_agreed_digest(off: Total) -> None:
    sample = history(seed=5, segments=2)
    replay = ArchiveReplay(partition=sample.partition, base=None, cut=Cut())
    for manifest in sample.manifests():
        replay.feed(manifest, sample.raw(next(one for one in sample.segments if one.first == manifest.first)), where="k")
    list(replay.merge(iter(())))
    good = total_of(sample.state)
    replay.finish(good)
    with pytest.raises(Corrupt):
        replay.finish(Total(good.sum ^ off.sum, good.rows + off.rows))


def test_another_generation_of_the_same_content_is_read_instead_of_a_rotted_one() -> None:
    sample = history(seed=5, segments=3)
    loop, store, disk = archive(sample)
    good, data = sample.manifest(sample.segments[2])
    second, data2 = sample.manifest(sample.segments[2], generation=2)
    second = replace(second, supersedes=(Superseded(1, "one GET came back damaged"),))
    store.objects[build(second.key())] = data2[: len(data2) // 2] + bytes([data2[len(data2) // 2] ^ 1]) + data2[len(data2) // 2 + 1 :]
    store.objects[build(second.key().twin())] = encode_manifest(second)
    keys = [one.key() for one in sample.manifests()]
    keys[2] = second.key()
    done = loop.run(rebuild(store, disk, base=None, segments=keys, cut=Cut(), output="out", work="w"))
    assert rows(disk) == sample.state
    assert [(one.kind, one.object) for one in done.spoilt] == [("unreadable", build(second.key()))]
    for name in (build(second.key()), build(second.key().twin())):
        kept = store.objects.pop(name)
        done = loop.run(rebuild(store, disk, base=None, segments=keys, cut=Cut(), output="out", work="w"))
        assert [one.kind for one in done.spoilt] == ["hole"]
        store.objects[name] = kept
    store.objects[build(good.key())] = data[:-1]
    with pytest.raises(Corrupt) as caught:
        loop.run(rebuild(store, disk, base=None, segments=keys, cut=Cut(), output="out", work="w"))
    assert caught.value.fields["where"] == build(second.key())


def test_a_hole_names_its_first_lsn() -> None:
    sample = history()
    loop, store, disk = archive(sample)
    manifests = sample.manifests()
    gone = manifests.pop(2)
    with pytest.raises(Missing) as caught:
        loop.run(rebuild(store, disk, base=None, segments=manifests, cut=Cut(), output="out", work="w"))
    assert caught.value.fields["lsn"] == gone.first
    assert "out" not in disk.files


def test_a_cut_behind_the_end_is_a_hole() -> None:
    sample = history()
    loop, store, disk = archive(sample)
    with pytest.raises(Missing) as caught:
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=Lsn(sample.lsn + 1)), output="out", work="w"))
    assert caught.value.fields["lsn"] == sample.lsn + 1


def test_a_lost_segment_object_is_missing() -> None:
    sample = history()
    loop, store, disk = archive(sample)
    lost = sample.manifests()[1]
    del store.objects[build(lost.key())]
    with pytest.raises(Missing) as caught:
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w"))
    assert caught.value.fields["what"] == build(lost.key())


def test_a_cut_before_the_base_is_refused() -> None:
    sample = history()
    loop, store, disk = archive(sample)
    base = make_base(loop, store, disk, sample, 2)
    for cut in (Cut(lsn=Lsn(base.lsn - 1)), Cut(stamp=Stamp(base.stamp - 1))):
        with pytest.raises(Invalid):
            loop.run(rebuild(store, disk, base=base, segments=[], cut=cut, output="out", work="w"))


def lying(sample: Sample, index: int, change: dict[str, object]) -> list[SegmentManifest]:
    """Manifests in which one says something else, with the chain after it made to fit."""
    found, before = [], None
    for number, manifest in enumerate(sample.manifests()):
        changed = replace(manifest, **change) if number == index else manifest  # type: ignore[arg-type]
        if before is not None:
            changed = replace(changed, chain_before=before)
        changed = replace(changed, chain=changed.expected_chain())
        before = changed.chain
        found.append(changed)
    return found


def test_a_lied_digest_is_found() -> None:
    sample = history()
    loop, store, disk = archive(sample)
    segment = sample.segments[2]
    wrong = segment.total._replace(sum=segment.total.sum ^ 1)
    with pytest.raises(Corrupt) as caught:
        loop.run(rebuild(store, disk, base=None, segments=lying(sample, 2, {"total": wrong}), cut=Cut(), output="out", work="w"))
    assert caught.value.fields["lsn"] == segment.last
    assert "out" not in disk.files


def test_without_the_seal_check_the_lie_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the test above has teeth only because of this check."""
    monkeypatch.setattr(
        scrubjay.archiver.read.replay.ArchiveReplay,
        "_check_seals",
        lambda self, base, taken: setattr(self, "_result", self._passed[-1].total),
    )
    sample = history()
    loop, store, disk = archive(sample)
    segment = sample.segments[2]
    wrong = segment.total._replace(sum=segment.total.sum ^ 1)
    loop.run(rebuild(store, disk, base=None, segments=lying(sample, 2, {"total": wrong}), cut=Cut(), output="out", work="w"))


def test_a_base_that_is_not_the_log_state_is_found() -> None:
    """A base whose rows differ from what the log gives (but whose own sums fit) is not what the next segment goes on from."""
    sample = history(seed=9, segments=5)
    loop, store, disk = archive(sample)
    good = make_base(loop, store, disk, sample, 2)
    older = sample.segments[1]
    loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=older.last), output="old-rows", work="w"))
    facts = sample.facts
    forged = loop.run(
        upload_base(
            store, disk, "old-rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
            schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=good.lsn, stamp=good.stamp, chain=good.chain, total=older.total,
        )
    )  # fmt: skip
    tail = [one for one in sample.manifests() if one.first > good.lsn]
    with pytest.raises(Corrupt) as caught:
        loop.run(rebuild(store, disk, base=forged, segments=tail, cut=Cut(), output="out", work="w"))
    assert object_of(caught.value) == build(forged.key()), "and not the segment behind it, which is sound"


def test_a_base_whose_rows_are_not_its_digest_is_not_built_upon() -> None:
    """With no log behind it nothing else would tell."""
    sample = history(seed=9, segments=5)
    loop, store, disk = archive(sample)
    good = make_base(loop, store, disk, sample, 2)
    older, facts = sample.segments[1], sample.facts
    loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=older.last), output="old-rows", work="w"))
    lied = loop.run(
        upload_base(
            store, disk, "old-rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
            schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=good.lsn, stamp=good.stamp, chain=good.chain, total=good.total,
        )
    )  # fmt: skip
    with pytest.raises(Corrupt, match="rows differ from its digest"):
        loop.run(rebuild(store, disk, base=lied, segments=[], cut=Cut(lsn=good.lsn), output="out", work="w"))


def renamed(store: LoneStore, base: BaseManifest, **changes: Any) -> BaseManifest:
    """The base with other words in its manifest, under the name that these make."""
    lie = replace(base, **changes)
    for part in range(len(base.parts)):
        store.objects[build(lie.key(part))] = store.objects[build(base.key(part))]
    store.objects[build(lie.key())] = encode_base(lie)
    return lie


def test_a_base_that_lies_of_itself_is_to_blame_and_not_the_log_behind_it() -> None:
    sample = history(seed=9, segments=5)
    loop, store, disk = archive(sample)
    good = make_base(loop, store, disk, sample, 2)
    tail = [one for one in sample.manifests() if one.first > good.lsn]
    rows_of = store.objects[build(good.key(0))]
    spoilt = rows_of[:40] + bytes([rows_of[40] ^ 1]) + rows_of[41:]
    lies = {
        "place": renamed(store, good, schema="{}"),
        "digest": renamed(store, good, total=Total(good.total.sum ^ 1, good.total.rows)),
        "later": renamed(store, good, stamp=sample.segments[1].last_stamp),
        "no row file": replace(good, file=Sums.of(spoilt), parts=(Sums.of(spoilt),)),
    }
    for name, lie in lies.items():
        if name == "no row file":
            store.objects[build(lie.key(0))] = spoilt
        store.objects[build(lie.key())] = encode_base(lie)
        with pytest.raises(Corrupt) as caught:
            loop.run(rebuild(store, disk, base=lie, segments=tail, cut=Cut(), output="out", work="w"))
        assert (caught.value.kind, object_of(caught.value)) == ("forged", build(lie.key())), name
        assert {"out", "w"}.isdisjoint(disk.files)


def test_the_first_state_of_a_restored_table() -> None:
    """Base at LSN 0, then a log that starts at 1."""
    source = history(seed=11)
    loop, store, disk = archive(source)
    loop.run(rebuild(store, disk, base=None, segments=source.manifests(), cut=Cut(), output="rows", work="w", rebase=True))
    restored = history(seed=12, partition="9a471710-0000-4000-8000-000000000009", start=source.state)
    store.objects.update(restored.objects())

    base = loop.run(
        upload_base(
            store, disk, "rows", writer=ATTACHED, table=restored.table, partition=restored.partition, table_name=restored.facts.table_name, schema=restored.facts.schema,
            lo=restored.facts.lo, hi=restored.facts.hi, lsn=0, stamp=0, chain=chains.START, total=total_of(source.state),
        )
    )  # fmt: skip
    done = loop.run(rebuild(store, disk, base=base, segments=restored.manifests(), cut=Cut(), output="out", work="w"))
    assert rows(disk) == restored.state
    assert done.exact
    assert done.chain == restored.chain


def test_as_a_job() -> None:
    sample = history(seed=13)
    loop, store, disk = archive(sample)
    context = SimJobContext(disk, lambda _url: store, None)
    base = make_base(loop, store, disk, sample, 1)
    arguments = {
        "url": store.url,
        "base": build(base.key()),
        "segments": [build(one.key()) for one in sample.manifests() if one.first > base.lsn],
        "stamp": sample.records[30].stamp,
        "output": "out",
        "work": "w",
    }
    done = from_answer(loop.run(rebuild_job(context, arguments)))
    assert rows(disk) == sample.states[31]
    assert done.total == total_of(sample.states[31])


def test_a_base_is_uploaded_once_and_a_spoilt_one_gets_a_new_generation() -> None:
    sample = history(seed=14)
    loop, store, disk = archive(sample)
    first = make_base(loop, store, disk, sample, 1)
    again = make_base(loop, store, disk, sample, 1)
    assert again == first
    store.objects[build(first.key(0))] = b"rot"
    third = make_base(loop, store, disk, sample, 1)
    assert third.generation == 2
    assert third.supersedes[0].generation == 1
    assert encode_base(third) == store.objects[build(third.key())]


def test_stamps_are_what_the_sample_says() -> None:
    sample = history()
    manifest = sample.manifests()[0]
    assert manifest.first_stamp >> 12 > START_US
    assert encode_manifest(manifest)


def test_a_record_of_an_unknown_kind_stops_a_rebuild() -> None:
    """To pass over it would be to restore something else than the log says."""
    sample = history(seed=5, segments=1, writes=4)
    sample.append(RecordKind.UNKNOWN, b"what a later version says")
    sample.random_write()
    sample.seal()
    loop, store, disk = archive(sample)
    with pytest.raises(Corrupt, match="unknown"):
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w"))


def test_a_part_is_chosen_from_a_proven_whole() -> None:
    """What is left out is proven as what is written is: here a base's rows that are not what its manifest says."""
    sample = history(seed=9, segments=5)
    loop, store, disk = archive(sample)
    wanted = frozenset(sorted(sample.state)[::2])

    def chosen(key: bytes, item: bytes) -> bool:
        return key in wanted

    base = make_base(loop, store, disk, sample, 2)
    log = [one for one in sample.manifests() if one.first > base.lsn]
    done = loop.run(rebuild(store, disk, base=base, segments=log, cut=Cut(), output="out", work="w", chosen=chosen))
    part = {key: item for key, item in sample.state.items() if key in wanted}
    assert 0 < len(part) < len(sample.state)
    assert (rows(disk), done.total, done.of) == (part, total_of(part), total_of(sample.state))
    again = from_answer(as_answer(done))
    assert (again.total, again.of) == (done.total, done.of)
    older, facts = sample.segments[1], sample.facts
    loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(lsn=older.last), output="old-rows", work="w"))
    lied = loop.run(
        upload_base(
            store, disk, "old-rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name,
            schema=facts.schema, lo=facts.lo, hi=facts.hi, lsn=base.lsn, stamp=base.stamp, chain=base.chain, total=base.total,
        )
    )  # fmt: skip
    with pytest.raises(Corrupt, match="rows differ from its digest"):
        loop.run(rebuild(store, disk, base=lied, segments=[], cut=Cut(lsn=base.lsn), output="out", work="w", chosen=chosen))


@pytest.mark.parametrize("lasting", [True, False])
def test_rows_that_are_thrown_away_again_are_not_synced_and_those_of_a_restore_are(lasting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = history(seed=3, segments=4, writes=9)
    loop, store, disk = archive(sample)
    base = make_base(loop, store, disk, sample, 2)
    synced: list[str] = []
    monkeypatch.setattr(type(disk.open("base-rows")), "sync", lambda _file: synced.append("file"))
    monkeypatch.setattr(type(disk), "sync_dir", lambda _disk, path: synced.append("folder"))
    manifests = [one for one in sample.manifests() if one.first > base.lsn]
    loop.run(rebuild(store, disk, base=base, segments=manifests, cut=Cut(), output="out", work="w", lasting=lasting))
    assert synced == (["file", "folder"] if lasting else [])
    assert rows(disk)


def test_old_items_change_nothing_of_a_rebuild_and_their_keys_are_found() -> None:
    sample = Sample(seed=11, old_items=True)
    for _ in range(3):
        for _ in range(12):
            sample.random_write()
        sample.seal()
    loop, store, disk = archive(sample)
    done = loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w"))
    assert rows(disk) == sample.state
    assert done.total == total_of(sample.state)
    for manifest in sample.manifests():
        raw = sample.raw(sample.segments[sample.manifests().index(manifest)])
        effects = [one for record in records.decode_all(raw) if record.count for one in records.effects(record)]
        assert {one.old is None for one in effects} == {False}
        walked = check_records(raw, partition=sample.partition, first=manifest.first, last=manifest.last, where="sample")
        assert walked.keys == {one.key for one in effects}
        for effect in effects:
            last = next(one for one in reversed(effects) if one.key == effect.key)
            versions = versions_in(manifest, raw, effect.key, where="sample")
            assert versions[-1].item == (None if last.op.is_delete else last.body)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("change", [1, -1, 1 << 20])
def test_an_old_item_that_does_not_fit_is_refused(many: bool, change: int) -> None:
    sample = Sample(seed=11, old_items=True)
    effects = [Effect(Op.PUT, bytes(16) + b"k", b"item", b"before")]
    payload = bytearray(records.encode_effects(effects * (2 if many else 1)))
    at = payload.index(b"before") - 4
    payload[at : at + 4] = (6 + change).to_bytes(4, "little")
    sample.append(RecordKind.DATA, bytes(payload), len(effects) * (2 if many else 1))
    sample.seal()
    loop, store, disk = archive(sample)
    with pytest.raises(Corrupt, match="effect"):
        loop.run(rebuild(store, disk, base=None, segments=sample.manifests(), cut=Cut(), output="out", work="w"))
