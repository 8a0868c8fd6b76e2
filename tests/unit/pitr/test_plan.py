"""Targets and plans: pure rules, one by one."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from scrubjay.archiver.coverage import coverage
from scrubjay.archiver.facts import CoverageFacts, Mark, Span, Start
from scrubjay.base.errors import Corrupt, Invalid, Missing, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_of
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.base.times import FIRST_US
from scrubjay.pitr.plan import FOR_GOOD, BaseFacts, PartitionHistory, PlannedSegment, ends_reached, plan_partition, plan_table
from scrubjay.pitr.rates import Rates, learn, learn_indexes, predict, predict_indexes, rates_of
from scrubjay.pitr.target import Bounds, RestoreTarget, reach, resolve
from scrubjay.storage.catalogue import FinalSeal, KeyAttribute, KeySchema, TableMeta

WINDOW = Bounds(1_000, 9_000)
PART = PartitionId("p")


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        (RestoreTarget(at_us=5_000), 5_000),
        (RestoreTarget(minus_us=500), 9_500),
        (RestoreTarget(before_us=5_000), 4_999),
        (RestoreTarget(latest=True), 9_000),
    ],
)
def test_targets(asked: RestoreTarget, at: int) -> None:
    assert resolve(asked, WINDOW, now_us=10_000) == at


@pytest.mark.parametrize("given", [{}, {"at_us": 1, "latest": True}, {"minus_us": 5, "before_us": 0}, {"at_us": 0, "before_us": 0}])
def test_there_is_no_target_but_exactly_one(given: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="exactly one target"):
        RestoreTarget(**given)


def test_counting_back_into_the_future_is_refused() -> None:
    with pytest.raises(Invalid):
        resolve(RestoreTarget(minus_us=-5), WINDOW, now_us=10_000)


def test_counting_back_beyond_any_calendar_is_refused() -> None:
    """No time is printed that no calendar has."""
    now_us = FIRST_US + 10
    assert resolve(RestoreTarget(minus_us=10), WINDOW, now_us=now_us) == FIRST_US
    with pytest.raises(Invalid, match="no calendar"):
        resolve(RestoreTarget(minus_us=11), WINDOW, now_us=now_us)


def test_reach() -> None:
    assert not reach(9_000, WINDOW, now_us=10_000).beyond_latest
    assert reach(9_001, WINDOW, now_us=10_000).beyond_latest
    assert reach(10_000, WINDOW, now_us=10_000).beyond_latest
    assert reach(1_000, WINDOW, now_us=10_000).cut == last_stamp_at(1_000)


def test_what_is_proven_has_come_whatever_this_clock_says() -> None:
    """A cluster whose time is ahead of its machine's clock: the window ends in what this clock calls the future."""
    assert not reach(9_000, WINDOW, now_us=5_000).beyond_latest
    with pytest.raises(Unsafe, match="has not come yet"):
        reach(9_001, WINDOW, now_us=5_000)


@pytest.mark.parametrize(
    ("at", "window"),
    [
        (999, WINDOW),
        (10_001, WINDOW),
        (5_000, Bounds(None, None)),
        (9_001, Bounds(1_000, 9_000, dropped=True)),
    ],
)
def test_outside_the_window(at: int, window: Bounds) -> None:
    with pytest.raises(Unsafe) as caught:
        reach(at, window, now_us=10_000)
    assert caught.value.fields["earliest"] == window.earliest_us
    assert caught.value.fields["latest"] == window.latest_us


def test_of_a_dropped_table_what_lies_in_front_of_its_end_comes_with_the_archive() -> None:
    """Its last records may not be archived yet; behind its end there is nothing to wait for."""
    window = Bounds(1_000, 9_000, dropped=True, ends_us=9_500)
    assert reach(9_500, window, now_us=10_000).beyond_latest
    with pytest.raises(Unsafe, match="was dropped before"):
        reach(9_501, window, now_us=10_000)


def test_an_end_is_a_dropped_tables_only_with_its_chain() -> None:
    """An archive that ends at the same LSN with other records proves nothing of this table."""
    source = made_table(FinalSeal(PART, 30, 3_000, link(30).hex(), "00" * 16, 1))
    assert ends_reached(source, [history(SEGMENTS)]) == {PART: (FOR_GOOD, Lsn(30))}
    assert ends_reached(source, [history(SEGMENTS[:2])]) == {}, "not there yet"
    for other in (FinalSeal(PART, 30, 3_000, link(31).hex(), "00" * 16, 1), FinalSeal(PART, 29, 3_000, link(29).hex(), "00" * 16, 1)):
        with pytest.raises(Corrupt, match="ends otherwise"):
            ends_reached(made_table(other), [history(SEGMENTS)])


def test_no_latest_without_a_window() -> None:
    with pytest.raises(Unsafe):
        resolve(RestoreTarget(latest=True), Bounds(None, None), now_us=5)


def made_table(final: FinalSeal) -> TableMeta:
    key = KeySchema(KeyAttribute("pk", "S"))
    return TableMeta(
        table_id=TableId("t"),
        name="orders",
        key=key,
        attributes=(),
        created_at=1,
        status="DROPPED",
        partitions=(),
        dropped_at=3_000,
        finals=(final,),
    )


def link(lsn: int) -> bytes:
    """Stands for the chain value there."""
    return lsn.to_bytes(32, "big")


def segment(first: int, last: int, *, closed: int | None = None) -> PlannedSegment:
    at = stamp_of(last * 100 - 50) if closed is None else closed
    span = Span(
        first, last, stamp_of(first * 100), stamp_of(last * 100), at, last - first, 0, 1, link(first - 1), link(last), link(last)[:24]
    )
    return PlannedSegment(span, 10, 100, f"s{first}")


def base(lsn: int) -> BaseFacts:
    return BaseFacts(Start(lsn, stamp_of(lsn * 100) if lsn else 0, link(lsn), link(lsn)[:24], 1), 5, 50, 1, 2, f"b{lsn}")


def history(
    segments: list[PlannedSegment], bases: tuple[BaseFacts, ...] = (), closed: int = 0, closed_at: int = 0, end: int = 0
) -> PartitionHistory:
    facts = CoverageFacts(PART, [one.span for one in segments], [one.start for one in bases], (), (Mark(end, None),))
    return PartitionHistory(PART, "00" * 16, "", bases, tuple(segments), ((stamp_of(closed), Lsn(closed_at)),), facts)


SEGMENTS = [segment(1, 10), segment(11, 20), segment(21, 30)]


def test_the_newest_base_before_the_cut_and_all_behind_it() -> None:
    plan = plan_partition(history(SEGMENTS, (base(10), base(20))), stamp_of(2_500))
    assert (plan.base_lsn, [one.object for one in plan.segments], plan.from_lsn, plan.to_lsn) == (20, ["s21"], 21, 30)
    plan = plan_partition(history(SEGMENTS, (base(10), base(20))), Stamp(stamp_of(2_000) - 1))
    assert (plan.base_lsn, [one.object for one in plan.segments]) == (10, ["s11", "s21"])
    assert (plan.bytes, plan.requests) == (25, 6)


@pytest.mark.parametrize(
    ("cut", "read"),
    [
        (stamp_of(1_949), ["s1", "s11"]),
        (stamp_of(1_950), ["s1", "s11"]),
        (Stamp(stamp_of(1_950) + 1), ["s1", "s11", "s21"]),
        (stamp_of(2_000), ["s1", "s11", "s21"]),
        (stamp_of(2_050), ["s1", "s11", "s21"]),
        (stamp_of(2_950), ["s1", "s11", "s21"]),
    ],
)
def test_it_is_read_on_to_the_first_seal_closed_at_or_after_the_cut(cut: Stamp, read: list[str]) -> None:
    """Not to the first record beyond it: what that seal's digest says of the state is checked, and that nothing can follow it."""
    assert [one.object for one in plan_partition(history(SEGMENTS), cut).segments] == read


def test_a_cut_at_a_base_reads_on_too_and_needs_no_log_where_none_follows() -> None:
    plan = plan_partition(history(SEGMENTS, (base(20),)), stamp_of(2_000))
    assert ([one.object for one in plan.segments], plan.from_lsn, plan.to_lsn) == (["s21"], 21, 30)
    plan = plan_partition(history(SEGMENTS[:2], (base(20),), closed=2_010, closed_at=20), stamp_of(2_000))
    assert (plan.segments, plan.from_lsn, plan.to_lsn) == ((), 21, 20)


def test_records_beyond_the_cut_do_not_prove_it_without_a_closed_timestamp() -> None:
    late = segment(21, 30, closed=stamp_of(1_500))
    with pytest.raises(Unavailable):
        plan_partition(history([*SEGMENTS[:2], late]), stamp_of(2_500))


@pytest.mark.parametrize(("off", "proven"), [(-4096, False), (-1, False), (0, True), (1, True)])
def test_a_closed_timestamp_proves_up_to_itself_and_no_further(off: int, proven: bool) -> None:
    cut = stamp_of(3_500)
    said = history(SEGMENTS)._replace(closed=((Stamp(cut + off), Lsn(30)),))
    at_seal = history([*SEGMENTS, segment(31, 40, closed=cut + off)])
    if proven:
        assert (plan_partition(said, cut).to_lsn, plan_partition(at_seal, cut).to_lsn) == (30, 40)
        return
    for one in (said, at_seal):
        with pytest.raises(Unavailable):
            plan_partition(one, cut)


@pytest.mark.parametrize(("lost", "cut", "first"), [(1, 2_500, 11), (1, 1_500, 11), (0, 500, 1), (1, 2_050, 11)])
def test_a_hole_is_never_planned_over(lost: int, cut: int, first: int) -> None:
    segments = [one for at, one in enumerate(SEGMENTS) if at != lost]
    with pytest.raises(Missing) as caught:
        plan_partition(history(segments, closed=9_999, closed_at=30), stamp_of(cut))
    assert caught.value.fields["lsn"] == first


@pytest.mark.parametrize("cut", [1_500, 1_990])
def test_what_is_lost_below_a_base_is_a_hole_and_not_a_lag(cut: int) -> None:
    """Nothing is archived behind the base: the archive could seem not to have come as far as the moment asked for."""
    for one in (history(SEGMENTS[:1], (base(20),)), history(SEGMENTS[:1], (), end=20), history(SEGMENTS[:1], (base(20), base(30)))):
        with pytest.raises(Missing) as caught:
            plan_partition(one, stamp_of(cut))
        assert (caught.value.fields["lsn"], caught.value.fields["last"]) in ((11, 20), (11, 30))


@pytest.mark.parametrize("cut", [1_050, 1_500, 1_990])
def test_what_is_closed_behind_a_hole_proves_nothing_in_front_of_it(cut: int) -> None:
    """The log goes on from a base behind the hole, and is closed there long after the moment asked for: that says nothing of the records that are lost."""
    one = history([SEGMENTS[0], SEGMENTS[2]], (base(20),))
    assert len(coverage(one.facts).runs) == 2
    with pytest.raises(Missing) as caught:
        plan_partition(one, stamp_of(cut))
    assert (caught.value.fields["lsn"], caught.value.fields["last"]) == (11, 20)


def test_a_moment_before_a_hole_is_proven_by_the_closed_timestamp_of_an_earlier_seal() -> None:
    segments = [SEGMENTS[0], SEGMENTS[2]]
    with pytest.raises(Missing):
        plan_partition(history(segments, closed=1_040, closed_at=10), stamp_of(1_050))
    assert plan_partition(history(segments, closed=1_060, closed_at=10), stamp_of(1_050)).to_lsn == 10


def test_the_end_of_the_archive_is_proven_by_the_closed_timestamp_or_not_at_all() -> None:
    cut = stamp_of(3_500)
    with pytest.raises(Unavailable):
        plan_partition(history(SEGMENTS), cut)
    with pytest.raises(Unavailable):
        plan_partition(history(SEGMENTS, closed=3_600, closed_at=31), cut)
    assert plan_partition(history(SEGMENTS, closed=3_600, closed_at=29), cut).to_lsn == 30
    assert plan_partition(history(SEGMENTS), cut, preview=True).to_lsn == 30


def test_a_restored_table_begins_with_its_base_at_zero() -> None:
    plan = plan_partition(history([], (base(0),), closed=50), stamp_of(40))
    assert (plan.base_lsn, plan.segments) == (0, ())
    with pytest.raises(Missing):
        plan_partition(history([], closed=50), stamp_of(40))


def test_a_base_inside_a_wider_segment_is_not_begun_with() -> None:
    wide = [segment(1, 10), segment(11, 30)]
    plan = plan_partition(history(wide, (base(10), base(20))), stamp_of(2_500))
    assert (plan.base_lsn, [one.first for one in plan.segments]) == (10, [11])


@pytest.mark.parametrize("seed", range(30))
def test_plans_against_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    segments, first = [], 1
    while first < 60:
        last = first + rng.randrange(1, 10)
        segments.append(segment(first, last))
        first = last + 1
    bases = tuple(base(one.last) for one in segments if rng.random() < 0.3)
    cut = Stamp(stamp_of(rng.randrange(100, first * 100)) + rng.randrange(-1, 2))
    plan = plan_partition(history(segments, bases, closed=10**6, closed_at=first - 1), cut)
    covered = set(range(1, plan.base_lsn + 1)) | {lsn for one in plan.segments for lsn in range(one.first, one.last + 1)}
    needed = {lsn for lsn in range(1, first) if stamp_of(lsn * 100) <= cut}
    assert needed <= covered
    assert plan.base is None or plan.base.stamp <= cut
    assert all(one.closed < cut for one in plan.segments[:-1]), "not read further than the seal that proves it"
    assert not plan.segments or plan.segments[-1].closed >= cut or plan.segments[-1] == segments[-1]


def test_prediction() -> None:
    rates = Rates(100.0, 50.0, 1.0, 1)
    assert predict([100], rates, workers=2) == 1 + 1 + 2
    assert predict([100, 100], rates, workers=2) == 4
    assert predict([100, 100], rates, workers=1) == 7
    assert predict([], rates, workers=2) == 1


def test_rates_move_towards_what_was_measured() -> None:
    first = learn(Rates(), raw=10 << 20, workers=1, read_seconds=1.0, load_seconds=2.0, total_seconds=4.0)
    assert (first.read, first.load, first.fixed, first.samples) == (10 << 20, 5 << 20, 1.0, 1)
    second = learn(first, raw=10 << 20, workers=1, read_seconds=0.5, load_seconds=2.0, total_seconds=4.0)
    assert first.read < second.read < 20 << 20
    small = learn(second, raw=10, workers=1, read_seconds=0.001, load_seconds=0.001, total_seconds=0.5)
    assert (small.read, small.load) == (second.read, second.load)
    assert small.fixed < second.fixed


def test_rates_are_those_of_one_worker() -> None:
    """Else a prediction, which spreads partitions over its workers, would count them twice."""
    alone = learn(Rates(), raw=10 << 20, workers=1, read_seconds=1.0, load_seconds=2.0, total_seconds=4.0)
    four = learn(Rates(), raw=40 << 20, workers=4, read_seconds=1.0, load_seconds=2.0, total_seconds=4.0)
    assert (four.read, four.load, four.fixed) == (alone.read, alone.load, alone.fixed)
    assert predict([10 << 20] * 4, four, workers=4) == 4.0


@pytest.mark.parametrize("notes", [{"speed": 1}, {"read": None}, {"read": "fast"}, {"samples": []}])
def test_rates_that_cannot_be_read_are_the_built_in_ones(notes: dict[str, Any]) -> None:
    """Notes of another release, or spoilt: no restore fails for a prediction."""

    class Port:
        def jobs(self, prefix: str) -> dict[str, Any]:
            return {prefix: notes}

    assert rates_of(cast("Any", Port())) == Rates()


def test_what_indexes_take_moves_towards_what_was_measured() -> None:
    rates = Rates(indexed=1000.0, indexed_fixed=2.0)
    assert predict_indexes(3000, indexes=2, rates=rates) == 2 + 6
    first = learn_indexes(rates, items=3000, indexes=2, seconds=5.0)
    assert (first.indexed, first.indexed_fixed, first.indexed_samples) == (2000.0, 2.0, 1)
    second = learn_indexes(first, items=3000, indexes=2, seconds=4.0)
    assert (second.indexed, second.indexed_samples) == (2300.0, 2)
    small = learn_indexes(second, items=10, indexes=2, seconds=1.0)
    assert (small.indexed, small.indexed_fixed) == (second.indexed, 1.7)
    kept = learn(small, raw=10 << 20, workers=1, read_seconds=1.0, load_seconds=2.0, total_seconds=4.0)
    assert (kept.indexed, kept.indexed_fixed, kept.indexed_samples) == (small.indexed, small.indexed_fixed, 3)


def test_a_plan_adds_up() -> None:
    one, two = history(SEGMENTS), history(SEGMENTS, (base(20),))._replace(partition=PartitionId("q"), lo="80" + "00" * 15)
    plan = plan_table([two, one], at_us=2_500, cut=last_stamp_at(2_500), rates=Rates(), workers=2)
    assert [part.partition for part in plan.partitions] == ["p", "q"]
    assert plan.bytes == sum(part.bytes for part in plan.partitions) == 30 + 15
    assert plan.requests == 6 + 4
