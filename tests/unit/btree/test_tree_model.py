"""Trees against a dict, checkpoint by checkpoint; runs and fences against what they must add up to."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base.errors import Corrupt, Internal
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree import fence as fences
from scrubjay.storage.btree import lmdb_tree
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.fence import Fence, hashes_of
from scrubjay.storage.btree.lmdb_tree import TreeReader, TreeWriter

PARTITION = bytes(range(16))


@contextmanager
def new_tree(**options: int) -> Iterator[TreeWriter]:
    folder = Path(tempfile.mkdtemp())
    writer = TreeWriter(str(folder), PARTITION, create=True, sync=False, **{"map_size": 1 << 26, **options})
    try:
        writer.create(TreeState(Lsn(0), Stamp(0), b""))
        yield writer
    finally:
        writer.close()
        shutil.rmtree(folder)


def check(reader: TreeReader, model: dict[bytes, Row], probes: list[bytes]) -> None:
    facts = reader.verify(values=True)
    assert facts.rows == len(model)
    for fence in reader.fences():
        assert fence.rows <= fences.RUN_MAX
    for key in probes:
        assert reader.get(key) == model.get(key)
    ordered = [model[key] for key in sorted(model)]
    assert list(reader.range(b"", None)) == ordered
    assert list(reader.range(b"", None, reverse=True)) == ordered[::-1]
    for start, end in pairwise(probes):
        expected = [row for row in ordered if start <= row.key < end]
        assert list(reader.range(start, end)) == expected
        assert list(reader.range(start, end, reverse=True)) == expected[::-1]


KEYS = st.binary(min_size=1, max_size=3)
STEPS = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=20), max_size=80), max_size=6)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(KEYS, min_size=2, max_size=6))
def test_any_checkpoints_against_a_dict(steps: list[dict[bytes, bytes | None]], probes: list[bytes]) -> None:
    with new_tree() as writer:
        model: dict[bytes, Row] = {}
        for lsn, step in enumerate(steps, 1):
            changes = [Change(key, Lsn(lsn), Stamp(lsn), item) for key, item in sorted(step.items())]
            writer.checkpoint(changes, TreeState(Lsn(lsn), Stamp(lsn), b"%d" % lsn), expected=lsn - 1)
            for key, _, _, item in changes:
                if item is None:
                    model.pop(key, None)
                else:
                    model[key] = Row(key, Lsn(lsn), Stamp(lsn), item)
        with writer.environment.begin() as transaction:
            check(writer.reader(transaction), model, probes)


@pytest.mark.parametrize("seed", range(4))
def test_long_lives_against_a_dict(seed: int) -> None:
    rand = random.Random(seed)
    with new_tree() as writer:
        model: dict[bytes, Row] = {}
        space = [rand.randbytes(16) + b"%d" % n for n in range(1500)]
        for lsn in range(1, 25):
            chosen = sorted(rand.sample(space, rand.choice((1, 10, 400))))
            if lsn % 6 == 5:  # empty a whole stretch, so that runs join
                low = rand.choice(space)
                chosen = sorted(key for key in space if low <= key < low[:1] + b"\xff" * 30)
            changes = [
                Change(key, Lsn(lsn), Stamp(lsn), None if lsn % 6 == 5 or rand.random() < 0.2 else b"%d" % lsn * rand.randrange(9))
                for key in chosen
            ]
            writer.checkpoint(changes, TreeState(Lsn(lsn), Stamp(lsn), b""), expected=lsn - 1)
            for key, _, _, item in changes:
                if item is None:
                    model.pop(key, None)
                else:
                    model[key] = Row(key, Lsn(lsn), Stamp(lsn), item)
        with writer.environment.begin() as transaction:
            check(writer.reader(transaction), model, sorted(rand.sample(space, 30)))


def test_a_full_map_is_doubled() -> None:
    with new_tree(map_size=1 << 17) as writer:
        changes = [Change(b"%05d" % n, Lsn(1), Stamp(1), bytes(1000)) for n in range(1000)]
        writer.checkpoint(changes, TreeState(Lsn(1), Stamp(1), b""), expected=0)
        with writer.environment.begin() as transaction:
            assert writer.reader(transaction).verify(values=True).rows == 1000


def test_a_checkpoint_is_refused_unless_it_continues_and_repeated_without_harm() -> None:
    with new_tree() as writer:
        one = [Change(b"a", Lsn(1), Stamp(1), b"x")]
        state = TreeState(Lsn(1), Stamp(1), b"e")
        writer.checkpoint(one, state, expected=0)
        assert writer.checkpoint(one, state, expected=0).rows == 1
        with pytest.raises(Internal):
            writer.checkpoint(one, TreeState(Lsn(3), Stamp(1), b""), expected=2)


def test_a_checkpoint_over_a_rotted_row_is_refused_and_changes_nothing() -> None:
    with new_tree() as writer:
        writer.checkpoint([Change(b"a", Lsn(1), Stamp(1), b"x"), Change(b"b", Lsn(1), Stamp(1), b"y")], at(1), expected=0)
        with writer.environment.begin(write=True) as transaction:
            transaction.put(b"b", b"\1" * 40, db=writer._databases.rows)
        with pytest.raises(Corrupt):
            writer.checkpoint([Change(b"a", Lsn(2), Stamp(2), b"z"), Change(b"b", Lsn(2), Stamp(2), b"z")], at(2), expected=1)
        assert writer.facts().state == at(1)
        with writer.environment.begin() as transaction:
            assert writer.reader(transaction).get(b"a") == (b"a", 1, 1, b"x")


def at(lsn: int) -> TreeState:
    return TreeState(Lsn(lsn), Stamp(lsn), b"")


@pytest.mark.parametrize("damage", ["lost row", "extra row", "renamed row", "stale row", "lost fence", "stale fence"])
def test_what_a_hash_of_one_row_cannot_see(damage: str) -> None:
    rows = {b"%04d" % n: b"item%d" % n for n in range(300)}
    with new_tree() as writer:
        writer.checkpoint([Change(key, Lsn(1), Stamp(1), item) for key, item in rows.items()], at(1), expected=0)
        with writer.environment.begin() as transaction:
            old_row = transaction.get(b"0150", db=writer._databases.rows)
            fence = writer.reader(transaction).fence_of(b"0150")
            old_fence = transaction.get(fence.start, db=writer._databases.fences)
        writer.checkpoint([Change(b"0150", Lsn(2), Stamp(2), b"new"), Change(b"0151", Lsn(2), Stamp(2), None)], at(2), expected=1)
        with writer.environment.begin(write=True) as transaction:
            db = writer._databases
            match damage:
                case "lost row":
                    transaction.delete(b"0152", db=db.rows)
                case "extra row":
                    transaction.put(b"0151x", lmdb_tree.encode_value(b"0151x", 1, 1, b"planted"), db=db.rows)
                case "renamed row":
                    value = transaction.pop(b"0152", db=db.rows)
                    transaction.put(b"0162x", value, db=db.rows)
                case "stale row":
                    transaction.put(b"0150", old_row, db=db.rows)
                case "lost fence":
                    transaction.delete(fence.start, db=db.fences)
                case "stale fence":
                    transaction.put(fence.start, old_fence, db=db.fences)
        with writer.environment.begin() as transaction:
            reader = writer.reader(transaction)
            with pytest.raises(Corrupt):
                list(reader.range(b"0140", b"0160"))
            with pytest.raises(Corrupt):
                list(reader.range(b"0140", b"0160", reverse=True))
            with pytest.raises(Corrupt):
                reader.verify(values=True)
            if damage == "stale row":
                row = reader.get(b"0150")
                assert row is not None
                assert row.lsn == 1, "the one thing a point hit cannot see (ADR 0003)"
            else:
                with pytest.raises(Corrupt):
                    reader.get(b"0151")


def naive(start: bytes, end: bytes | None, rows: dict[bytes, bytes]) -> Fence:
    return fences.moved(Fence(start, end, 0, 0, 0), added=[hashes_of(key, item) for key, item in rows.items()])


@given(st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=4), max_size=150))
def test_cut_tiles_and_adds_up(rows: dict[bytes, bytes]) -> None:
    ordered = dict(sorted(rows.items()))
    whole = naive(fences.FIRST_START, None, ordered)
    pieces = fences.cut(whole, [hashes_of(key, item) for key, item in ordered.items()])
    assert pieces[0].start == fences.FIRST_START
    assert pieces[-1].end is None
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = fences.joined(joined, piece)
    assert joined == whole
    for piece in pieces:
        inside = {key: item for key, item in ordered.items() if piece.holds(key)}
        assert piece == naive(piece.start, piece.end, inside)
        fences.check_keys(piece, list(inside))
        fences.check_rows(piece, inside.items(), len(inside))


@given(st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_runs_that_do_not_add_up_are_refused(rows: dict[bytes, bytes], data: st.DataObject) -> None:
    ordered = dict(sorted(rows.items()))
    whole = naive(fences.FIRST_START, None, ordered)
    wrong = dict(ordered)
    key = data.draw(st.sampled_from(list(ordered)))
    if data.draw(st.booleans()):
        del wrong[key]
    else:
        wrong[key] = ordered[key] + b"x"
    with pytest.raises(Corrupt):
        fences.check_rows(whole, wrong.items(), len(wrong))
    with pytest.raises(Corrupt):
        fences.cut(whole, [hashes_of(key, item) for key, item in wrong.items()])


def test_joining_over_a_hole_is_refused() -> None:
    with pytest.raises(Corrupt):
        fences.joined(Fence(b"a", b"c", 1, 1, 1), Fence(b"d", None, 1, 1, 1))
    with pytest.raises(Corrupt):
        fences.moved(Fence(b"a", None, 0, 0, 0), removed=[hashes_of(b"b", b"")])
