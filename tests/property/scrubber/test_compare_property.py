"""The comparison against brute force over random divergences: every planted one is found and named, clean copies raise nothing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base.checksum import row_hash
from scrubjay.base.ids import Lsn
from scrubjay.scrubber.compare import differences_in, ranges_to_descend
from scrubjay.scrubber.conclude import Comparison, conclude
from scrubjay.scrubber.evidence import Absentee, DifferenceKind, Ruling, Side
from scrubjay.scrubber.verdict import Verdict
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.log.digest import RangeDigest

LO, HI = bytes(16), None
NODES = ("n1", "n2", "n3")
BAD = 0

Copy = dict[bytes, int]


def key_of(number: int) -> bytes:
    return row_hash(b"key", number.to_bytes(4, "big")).to_bytes(16, "big") + b"s"


def side_of(name: str, rows: Copy) -> Side:
    digest = RangeDigest(LO, HI)
    for key, value in rows.items():
        if value != BAD:
            digest.add(key, value)
    return Side(name, digest, bad=tuple(sorted(key for key, value in rows.items() if value == BAD)))


def facts_of(rows: Copy, digest: RangeDigest, index: int) -> list[RowFact]:
    return [RowFact(key, value, Lsn(7)) for key, value in sorted(rows.items()) if digest.range_of(key) == index]


def compare(copies: dict[str, Copy], reference: Copy, absent: tuple[Absentee, ...] = ()) -> Comparison:
    sides = [side_of(name, rows) for name, rows in copies.items()]
    truth = side_of("archive", reference).digest
    differences = []
    for index in ranges_to_descend(sides, truth):
        facts = {name: facts_of(rows, truth, index) for name, rows in copies.items()}
        differences += differences_in(facts, facts_of(reference, truth, index))
    return conclude(sides, absent, truth, differences)


def plant(rng: random.Random, rows: Copy, faults: int) -> None:
    for _ in range(faults):
        keys = sorted(rows)
        match rng.choice(("different", "lacking", "extra", "unreadable")):
            case "different" if keys:
                rows[rng.choice(keys)] = rng.getrandbits(128) | 1
            case "lacking" if keys:
                del rows[rng.choice(keys)]
            case "unreadable" if keys:
                rows[rng.choice(keys)] = BAD
            case _:
                rows[key_of(rng.randrange(10_000, 20_000))] = rng.getrandbits(128) | 1


def expected_kind(held: int | None, truth: int | None) -> DifferenceKind | None:
    if held == truth:
        return None
    if held is None:
        return DifferenceKind.LACKING
    if held == BAD:
        return DifferenceKind.UNREADABLE
    return DifferenceKind.EXTRA if truth is None else DifferenceKind.DIFFERENT


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 48), rows=st.integers(0, 60), faulty=st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_every_divergence_from_the_reference_is_named(seed: int, rows: int, faulty: list[int]) -> None:
    rng = random.Random(seed)
    reference = {key_of(n): rng.getrandbits(128) | 1 for n in range(rows)}
    copies = {name: dict(reference) for name in NODES}
    for name, faults in zip(NODES, faulty, strict=True):
        plant(rng, copies[name], faults)
    outcome = compare(copies, reference)
    wanted = set()
    for name in NODES:
        for key in sorted(reference.keys() | copies[name].keys()):
            kind = expected_kind(copies[name].get(key), reference.get(key))
            if kind is not None:
                wanted.add((name, key, kind))
    if any(one.ruling is Ruling.ARCHIVE for one in outcome.differences):
        agreed = {one.key for one in outcome.differences if one.ruling is Ruling.ARCHIVE}
        wanted = {one for one in wanted if one[1] not in agreed}
    named = {(one.copy, one.key, one.kind) for one in outcome.differences if one.ruling is not Ruling.ARCHIVE}
    assert named <= wanted
    folded = [one for one in outcome.differences if one.detail]
    assert len(wanted - named) == len(folded), "only an unreadable stray may be folded, and only into a finding that tells of it"
    assert all(kind is DifferenceKind.UNREADABLE and key not in reference for _, key, kind in wanted - named)
    assert (outcome.verdict is Verdict.MATCH) == (not wanted and not any(one.ruling is Ruling.ARCHIVE for one in outcome.differences))
    for copy in outcome.copies:
        if copy.kind == "storage" and copy.verdict is Verdict.MATCH:
            assert copies[copy.copy] == reference
        elif copy.kind == "storage":
            assert copies[copy.copy] != reference


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 48), rows=st.integers(1, 60), faults=st.integers(1, 8))
def test_one_bad_copy_is_healed_and_no_other(seed: int, rows: int, faults: int) -> None:
    rng = random.Random(seed)
    reference = {key_of(n): rng.getrandbits(128) | 1 for n in range(rows)}
    copies = {name: dict(reference) for name in NODES}
    plant(rng, copies["n2"], faults)
    outcome = compare(copies, reference)
    assert outcome.heal == (("n2",) if copies["n2"] != reference else ())
    assert [copy.verdict for copy in outcome.copies if copy.copy != "n2"] == [Verdict.MATCH] * 3


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 48), rows=st.integers(1, 60), faults=st.integers(1, 8))
def test_copies_that_agree_against_the_archive_are_not_touched(seed: int, rows: int, faults: int) -> None:
    rng = random.Random(seed)
    live = {key_of(n): rng.getrandbits(128) | 1 for n in range(rows)}
    reference = dict(live)
    plant(rng, reference, faults)
    reference = {key: value for key, value in reference.items() if value != BAD}
    outcome = compare({name: dict(live) for name in NODES}, reference)
    if reference == live:
        assert outcome.verdict is Verdict.MATCH
        return
    assert outcome.verdict is Verdict.MISMATCH
    assert outcome.heal == ()
    assert {one.copy for one in outcome.differences} == {"archive"}
    assert {one.key for one in outcome.differences} == {
        key for key in live.keys() | reference.keys() if live.get(key) != reference.get(key)
    }


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 48), rows=st.integers(0, 300))
def test_clean_copies_match(seed: int, rows: int) -> None:
    rng = random.Random(seed)
    reference = {key_of(n): rng.getrandbits(128) | 1 for n in range(rows)}
    outcome = compare({name: dict(reference) for name in NODES}, reference)
    assert (outcome.verdict, outcome.differences, outcome.heal) == (Verdict.MATCH, (), ())
