"""Rebuild against the model: random histories, random cuts, random bases; and the window's latest is always restorable."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.archiver.coverage import coverage
from scrubjay.archiver.facts import Closed, CoverageFacts, Start
from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.archiver.read.rows import rows_of
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn
from scrubjay.storage.log.record import Effect, Op, RecordKind, Seal
from tests.unit.archiver.sample import Sample, total_of
from tests.unit.archiver.test_archive_rebuild import archive, make_base, rows


def random_history(rng: random.Random) -> Sample:
    """Few keys, so that most are overwritten and deleted often; bookkeeping in between; empty segments too."""
    sample = Sample(seed=rng.randrange(1 << 30), keys=rng.choice((1, 5, 40)))
    sample.append(RecordKind.SCHEMA, b"{}")
    sample.seal(reason=Seal.SCHEMA)
    for _ in range(rng.randrange(1, 6)):
        for _ in range(rng.randrange(0, 15)):
            if rng.random() < 0.15:
                sample.append(RecordKind.NOOP, b"")
            elif rng.random() < 0.1:
                sample.write([Effect(Op.DELETE, key, b"k") for key in sorted(sample.state)[:5]])
            else:
                sample.random_write()
        sample.seal()
    return sample


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_history_any_cut_any_base(rng: random.Random) -> None:
    sample = random_history(rng)
    loop, store, disk = archive(sample)
    base = make_base(loop, store, disk, sample, rng.randrange(len(sample.segments))) if rng.random() < 0.6 else None
    low = base.lsn if base else 0
    manifests = [one for one in sample.manifests() if one.first > low]
    for _ in range(5):
        lsn = rng.randrange(max(low, 1), sample.lsn + 1)
        stamp = sample.records[lsn - 1].stamp
        cut = Cut(lsn=Lsn(lsn)) if rng.random() < 0.5 else Cut(stamp=stamp)
        done = loop.run(rebuild(store, disk, base=base, segments=manifests, cut=cut, output="out", work="w"))
        assert rows(disk) == sample.states[lsn]
        assert done.total == total_of(sample.states[lsn])
        assert done.applied == lsn


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_one_damaged_object_never_gives_a_wrong_result(rng: random.Random) -> None:
    """Whatever one bit, cut, loss or swap does to what a rebuild reads: it fails, or the result is right all the same."""
    sample = random_history(rng)
    loop, store, disk = archive(sample)
    base = make_base(loop, store, disk, sample, len(sample.segments) // 2) if rng.random() < 0.5 else None
    manifests = [one for one in sample.manifests() if one.first > (base.lsn if base else 0)]
    victims = [key for key in sorted(store.objects) if key.endswith(".seg") or "rows-" in key]
    key = rng.choice(victims)
    data = store.objects[key]
    at = rng.randrange(len(data))
    damage = rng.randrange(4)
    if damage == 0:
        store.objects[key] = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    elif damage == 1:
        store.objects[key] = data[:at]
    elif damage == 2:
        del store.objects[key]
    else:
        store.objects[key] = store.objects[rng.choice(victims)]
    try:
        loop.run(rebuild(store, disk, base=base, segments=manifests, cut=Cut(), output="out", work="w"))
    except (Corrupt, Missing):
        assert "out" not in disk.files
        return
    assert rows(disk) == sample.state


@pytest.mark.slow
@given(st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_every_moment_of_a_proven_window_can_be_restored(rng: random.Random) -> None:
    """With segments lost at random: what the window says is restorable is, and equals the model."""
    sample = random_history(rng)
    loop, store, disk = archive(sample)
    bases = [make_base(loop, store, disk, sample, number) for number in range(1, len(sample.segments)) if rng.random() < 0.3]
    kept = [one for one in sample.manifests() if rng.random() < 0.85]
    closed = [Closed(sample.stamp + (rng.randrange(1, 10_000) << 12), sample.lsn, sample.lsn, sample.chain)] if rng.random() < 0.7 else []
    starts = [Start(base.lsn, base.stamp, base.chain, base.total.state) for base in bases]
    window = coverage(CoverageFacts(sample.partition, [row.span() for one in kept for row in rows_of(one)], starts, closed)).window
    if window.earliest_us is None or window.latest_us is None:
        return
    assert window.earliest_us <= window.latest_us
    for _ in range(6):
        at_us = rng.choice((window.latest_us, window.earliest_us, rng.randint(window.earliest_us, window.latest_us)))
        if any((hole.from_us or 0) < at_us and (hole.to_us is None or at_us < hole.to_us) for hole in window.holes):
            continue
        cut = last_stamp_at(at_us)
        base = max((one for one in bases if one.stamp <= cut), key=lambda one: one.lsn, default=None)
        segments = [one for one in kept if one.first > (base.lsn if base else 0)]
        done = loop.run(rebuild(store, disk, base=base, segments=segments, cut=Cut(stamp=cut), output="out", work="w"))
        expected = max((one.lsn for one in sample.records if one.stamp <= cut), default=0)
        assert rows(disk) == sample.states[expected], (at_us, done)
