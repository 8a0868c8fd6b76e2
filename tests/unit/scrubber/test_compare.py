"""Rules of the comparison, one by one."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Lsn
from scrubjay.scrubber.compare import differences_in, ranges_to_descend
from scrubjay.scrubber.conclude import conclude
from scrubjay.scrubber.evidence import UNREADABLE, Absentee, Difference, DifferenceKind, Ruling, Side
from scrubjay.scrubber.judge import who_is_wrong
from scrubjay.scrubber.verdict import Verdict, exit_code, worst
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.log.digest import RangeDigest


def digest(rows: dict[bytes, int]) -> RangeDigest:
    one = RangeDigest(bytes(16), None)
    for key, value in rows.items():
        one.add(key, value)
    return one


KEY = bytes(15) + b"\x01k"
OTHER = b"\xf0" + bytes(15) + b"k"


def fact(value: int, key: bytes = KEY) -> RowFact:
    return RowFact(key, value, Lsn(5))


def test_nothing_compared_is_unverified() -> None:
    assert worst([]) is Verdict.UNVERIFIED
    assert exit_code(worst([Verdict.MATCH, Verdict.UNVERIFIED, Verdict.MISMATCH])) == 2
    assert exit_code(worst([Verdict.MATCH, Verdict.UNVERIFIED])) == 3


@pytest.mark.parametrize(
    ("values", "reference", "expected"),
    [
        ({"n1": 1, "n2": 1, "n3": 1}, 1, None),
        ({"n1": 1, "n2": 2, "n3": 1}, 1, (Ruling.COPY, ("n2",))),
        ({"n1": 1, "n2": UNREADABLE, "n3": 1}, 1, (Ruling.COPY, ("n2",))),
        ({"n1": 1, "n2": UNREADABLE, "n3": UNREADABLE}, 1, (Ruling.COPY, ("n2", "n3"))),
        ({"n1": 1, "n2": 2, "n3": 3}, 1, (Ruling.COPY, ("n2", "n3"))),
        ({"n1": 1, "n2": 2, "n3": 2}, 1, (Ruling.UNDECIDED, ("n2", "n3"))),
        ({"n1": 2, "n2": 2, "n3": 2}, 1, (Ruling.ARCHIVE, ())),
        ({"n1": 2, "n2": 2, "n3": 3}, 1, (Ruling.UNDECIDED, ("n1", "n2", "n3"))),
        ({"n1": 2}, 1, (Ruling.UNDECIDED, ("n1",))),
        ({"n1": UNREADABLE, "n2": UNREADABLE, "n3": UNREADABLE}, 1, (Ruling.UNDECIDED, ("n1", "n2", "n3"))),
        ({"n1": 1, "n2": 1, "n3": 2}, None, (Ruling.PEERS, ("n3",))),
        ({"n1": 1, "n2": 2}, None, (Ruling.UNDECIDED, ("n1", "n2"))),
        ({"n1": 1, "n2": 1, "n3": UNREADABLE}, None, (Ruling.PEERS, ("n3",))),
        ({"n1": 1, "n2": 1}, None, None),
    ],
)
def test_ruling(values: dict[str, int], reference: int | None, expected: object) -> None:
    assert who_is_wrong(values, reference) == expected


def test_no_reference_is_never_match_and_heals_nothing() -> None:
    rows = {KEY: 9}
    sides = [Side("n1", digest(rows)), Side("n2", digest(rows)), Side("n3", digest({}))]
    found = []
    for index in ranges_to_descend(sides, None):
        assert index == 0
        found += differences_in({"n1": [fact(9)], "n2": [fact(9)], "n3": []}, None)
    outcome = conclude(sides, (), None, found, reference_reason="archive_lags")
    assert outcome.verdict is Verdict.MISMATCH
    assert outcome.heal == ()
    assert [(one.kind, one.copy) for one in outcome.differences] == [(DifferenceKind.LACKING, "n3")]
    clean = conclude(sides[:2], (), None, (), reference_reason="archive_lags")
    assert (clean.verdict, clean.reason) == (Verdict.UNVERIFIED, "archive_lags")
    told = [(copy.copy, copy.verdict, copy.reason) for copy in clean.copies]
    assert told == [(name, Verdict.UNVERIFIED, "archive_lags") for name in ("n1", "n2", "archive")]
    told = [(copy.copy, copy.verdict, copy.reason) for copy in outcome.copies]
    assert told == [
        ("n1", Verdict.UNVERIFIED, "archive_lags"),
        ("n2", Verdict.UNVERIFIED, "archive_lags"),
        ("n3", Verdict.MISMATCH, None),
        ("archive", Verdict.UNVERIFIED, "archive_lags"),
    ]


def test_rows_are_counted_beside_their_sum() -> None:
    """The same sum over another number of rows is no match: a sum that comes out right by chance, or was made to, says nothing about how many there are."""
    truth, other = digest({KEY: 9}), digest({KEY: 9})
    other.rows[0] += 1
    sides = [Side("n1", truth), Side("n2", other), Side("n3", truth)]
    assert ranges_to_descend(sides, truth) == [0]
    assert ranges_to_descend([Side("n1", truth)], other) == [0]
    told = {copy.copy: copy.verdict for copy in conclude(sides, (), truth, ()).copies}
    assert told == {"n1": Verdict.MATCH, "n2": Verdict.MISMATCH, "n3": Verdict.MATCH, "archive": Verdict.MATCH}
    told = {copy.copy: copy.verdict for copy in conclude(sides, (), truth, (), unexplained=(0,)).copies}
    assert told["n2"] is Verdict.UNVERIFIED


def test_a_copy_out_of_reach_is_unverified_and_a_rotten_one_is_healed() -> None:
    rows = {KEY: 9}
    sides = [Side("n1", digest(rows)), Side("n2", digest(rows))]
    down = conclude(sides, (Absentee("n3", "storage", "down"),), digest(rows), ())
    assert (down.verdict, down.reason, down.heal) == (Verdict.UNVERIFIED, "down", ())
    rotten = conclude(sides, (Absentee("n3", "storage", "unreadable", rotten=True),), digest(rows), ())
    assert (rotten.verdict, rotten.heal) == (Verdict.MISMATCH, ("n3",))


def test_nothing_is_healed_while_anything_speaks_against_the_reference() -> None:
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 9})), Side("n3", digest({KEY: 9, OTHER: 3}))]
    reference = {KEY: 8}
    found = differences_in({"n1": [fact(9)], "n2": [fact(9)], "n3": [fact(9)]}, [fact(8)])
    found += differences_in({"n1": [], "n2": [], "n3": [fact(3, OTHER)]}, [])
    outcome = conclude(sides, (), digest(reference), found)
    assert {(one.copy, one.kind) for one in outcome.differences} == {("archive", DifferenceKind.DIFFERENT), ("n3", DifferenceKind.EXTRA)}
    assert outcome.heal == ()
    assert all(copy.verdict is not Verdict.MATCH for copy in outcome.copies)


def test_archive_kinds_are_seen_from_the_archive() -> None:
    agree = {"n1": [fact(9)], "n2": [fact(9)]}
    assert differences_in(agree, [])[0].kind is DifferenceKind.LACKING
    assert differences_in({"n1": [], "n2": []}, [fact(9)])[0].kind is DifferenceKind.EXTRA
    assert differences_in(agree, [fact(8)])[0].kind is DifferenceKind.DIFFERENT


def test_a_flipped_key_byte_is_one_finding_with_the_true_key() -> None:
    stray = KEY[:-1] + b"K"
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 9})), Side("n3", digest({}), bad=(stray,))]
    found = differences_in({"n1": [fact(9)], "n2": [fact(9)], "n3": [fact(0, stray)]}, [fact(9)])
    outcome = conclude(sides, (), digest({KEY: 9}), found)
    assert [(one.kind, one.copy, one.key) for one in outcome.differences] == [(DifferenceKind.LACKING, "n3", KEY)]
    assert stray.hex() in outcome.differences[0].detail
    assert outcome.heal == ("n3",)


def test_a_bad_row_that_reads_well_again_is_still_a_finding() -> None:
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 9}), bad=(KEY,))]
    assert ranges_to_descend(sides, digest({KEY: 9})) == [0]
    outcome = conclude(sides, (), digest({KEY: 9}), differences_in({"n1": [fact(9)], "n2": [fact(9)]}, [fact(9)]))
    assert [(one.kind, one.copy) for one in outcome.differences] == [(DifferenceKind.UNREADABLE, "n2")]
    assert outcome.verdict is Verdict.MISMATCH


def test_digests_that_differ_over_equal_rows_are_not_called_a_match() -> None:
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 7}))]
    outcome = conclude(sides, (), digest({KEY: 9}), (), unexplained=(0,))
    assert [(copy.copy, copy.verdict) for copy in outcome.copies][:2] == [("n1", Verdict.MATCH), ("n2", Verdict.UNVERIFIED)]
    assert outcome.reason == "unstable_reads"


def test_structure_faults_are_findings_without_a_key() -> None:
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 9}), structure=("fence at page 3 counts 5 rows, found 4",))]
    outcome = conclude(sides, (), digest({KEY: 9}), ())
    assert outcome.differences == (
        Difference(DifferenceKind.UNREADABLE, "n2", None, None, Ruling.COPY, "fence at page 3 counts 5 rows, found 4"),
    )
    assert outcome.heal == ("n2",)


def test_ranges_beyond_the_bound_still_count() -> None:
    sides = [Side("n1", digest({KEY: 9})), Side("n2", digest({KEY: 9}))]
    outcome = conclude(sides, (), digest({KEY: 8}), (), further={(Ruling.ARCHIVE, "archive")})
    assert (outcome.verdict, outcome.reason) == (Verdict.MISMATCH, "copies_agree_against_archive")
    truth = digest({KEY: 9})
    sides = [Side("n1", truth), Side("n2", digest({KEY: 8})), Side("n3", truth)]
    assert conclude(sides, (), truth, (), further={(Ruling.COPY, "n2")}).heal == ("n2",)
    assert conclude(sides, (), truth, (), further={(Ruling.COPY, "n2"), (Ruling.UNDECIDED, "n2")}).heal == ()


def test_one_undecided_key_anywhere_keeps_every_copy_from_being_healed() -> None:
    truth = digest({KEY: 9, OTHER: 7})
    sides = [Side("n1", digest({KEY: 8, OTHER: 7})), Side("n2", digest({KEY: 9, OTHER: 5})), Side("n3", digest({KEY: 9, OTHER: 5}))]
    outvoted = differences_in({"n1": [fact(8)], "n2": [fact(9)], "n3": [fact(9)]}, [fact(9)])
    undecided = differences_in({"n1": [fact(7, OTHER)], "n2": [fact(5, OTHER)], "n3": [fact(5, OTHER)]}, [fact(7, OTHER)])
    assert {one.ruling for one in outvoted} == {Ruling.COPY}
    assert conclude(sides, (), truth, outvoted).heal == ("n1",)
    assert {one.ruling for one in undecided} == {Ruling.UNDECIDED}
    assert conclude(sides, (), truth, [*outvoted, *undecided]).heal == ()


def test_a_key_at_which_all_copies_agree_against_the_archive_keeps_every_copy_from_being_healed() -> None:
    truth = digest({KEY: 9, OTHER: 6})
    sides = [Side("n1", digest({KEY: 8, OTHER: 7})), Side("n2", digest({KEY: 9, OTHER: 7})), Side("n3", digest({KEY: 9, OTHER: 7}))]
    outvoted = differences_in({"n1": [fact(8)], "n2": [fact(9)], "n3": [fact(9)]}, [fact(9)])
    against = differences_in({name: [fact(7, OTHER)] for name in ("n1", "n2", "n3")}, [fact(6, OTHER)])
    assert conclude(sides, (), truth, [*outvoted, *against]).heal == ()


def test_three_copies_wrong_at_three_keys_are_each_outvoted_there() -> None:
    keys = [KEY, OTHER, b"\x80" + bytes(15) + b"k"]
    truth = dict.fromkeys(keys, 9)
    sides, found = [], []
    for node, key in zip(("n1", "n2", "n3"), keys, strict=True):
        sides.append(Side(node, digest({**truth, key: 4})))
        found += differences_in({name: [fact(4 if name == node else 9, key)] for name in ("n1", "n2", "n3")}, [fact(9, key)])
    outcome = conclude(sides, (), digest(truth), found)
    assert (outcome.verdict, outcome.heal, outcome.reason) == (Verdict.MISMATCH, ("n1", "n2", "n3"), None)


@pytest.mark.parametrize("index", [0, 1, 128, 254, 255])
def test_no_range_is_left_out_when_a_copy_is_called_equal(index: int) -> None:
    """A copy that differs in any one range, the first and the last too, matches nothing, whatever rows were found in it."""
    key = bytes([index]) + bytes(15) + b"k"
    truth = digest({KEY: 9, key: 3} if index else {KEY: 9})
    sides = [Side("n1", truth), Side("n2", digest({KEY: 9, key: 2} if index else {KEY: 2})), Side("n3", truth)]
    assert ranges_to_descend(sides, truth) == [index]
    assert {copy.copy: copy.verdict for copy in conclude(sides, (), truth, ()).copies}["n2"] is Verdict.MISMATCH
    unstable = conclude(sides, (), truth, (), unexplained=(index,))
    assert {copy.copy: copy.verdict for copy in unstable.copies}["n2"] is Verdict.UNVERIFIED


def test_every_side_is_looked_at_both_ways() -> None:
    """Guards the comparison itself: keys only the reference has, and keys only a copy has."""
    found = differences_in({"n1": [fact(1, b"a" * 17)], "n2": []}, [fact(2, b"b" * 17)])
    assert {(one.copy, one.key, one.kind) for one in found} == {
        ("n1", b"a" * 17, DifferenceKind.EXTRA),
        ("archive", b"b" * 17, DifferenceKind.EXTRA),
    }


def test_a_key_that_a_copy_has_twice_has_no_value_there() -> None:
    """Which of its two rows a read would meet nobody can tell, so that one of them is right proves nothing."""
    twice = [fact(9), fact(9)]
    (one,) = differences_in({"n1": twice, "n2": [fact(9)], "n3": [fact(9)]}, [fact(9)])
    assert (one.kind, one.copy, one.ruling) == (DifferenceKind.UNREADABLE, "n1", Ruling.COPY)
    assert differences_in({"n1": [fact(9)], "n2": [fact(9)]}, twice), "nor has it one in the reference"


@pytest.mark.parametrize(
    "stray", [b"k", b"\x7f" + b"\xff" * 14, b"\x00" * 16 + b"k", b"\xf0" + bytes(15)], ids=["short", "15", "below", "above"]
)
def test_a_bad_row_under_a_key_outside_the_partition_is_told_and_stops_nothing(stray: bytes) -> None:
    """Rot in the bytes of a key: no range of the partition is that row's, and the scrub must not end by it."""
    lo, hi = b"\x40" + bytes(15), b"\x80" + bytes(15)
    one = RangeDigest(lo, hi)
    one.add(lo + b"k", 9)
    sides = [Side("n1", one, bad=(stray,)), Side("n2", one), Side("n3", one)]
    assert ranges_to_descend(sides, one) == []
    outcome = conclude(sides, (), one, ())
    assert [(found.copy, found.key, found.kind) for found in outcome.differences] == [("n1", stray, DifferenceKind.UNREADABLE)]
    assert (outcome.verdict, outcome.heal) == (Verdict.MISMATCH, ("n1",))
    inside = [Side("n1", one, bad=(hi[:-1] + b"\x00",))]
    assert ranges_to_descend([Side("n1", one, bad=(lo,)), *inside], one) == [0], "and what begins the range is of it, what ends it is not"


def test_one_range_that_reads_otherwise_each_time_excuses_no_other() -> None:
    truth, other = digest({KEY: 9, OTHER: 3}), digest({KEY: 8, OTHER: 4})
    sides = [Side("n1", truth), Side("n2", other), Side("n3", truth)]
    ranges = ranges_to_descend(sides, truth)
    assert len(ranges) == 2
    for excused, verdict in (
        (ranges, Verdict.UNVERIFIED),
        (ranges[:1], Verdict.MISMATCH),
        (ranges[1:], Verdict.MISMATCH),
        ([], Verdict.MISMATCH),
    ):
        told = {copy.copy: copy.verdict for copy in conclude(sides, (), truth, (), unexplained=excused).copies}
        assert told["n2"] is verdict, excused


def test_a_suspect_in_which_something_is_found_is_told_by_that_alone() -> None:
    rows = digest({KEY: 9})
    sides = [Side("n1", rows, bad=(KEY,), suspect=True), Side("n2", rows, suspect=True), Side("n3", rows)]
    outcome = conclude(sides, (), rows, ())
    assert [(one.copy, one.key) for one in outcome.differences] == [("n1", KEY), ("n2", None)]
    assert outcome.heal == ("n1", "n2")
