"""Coverage, case by case: windows, holes below and above bases, forks, what counts when things contradict each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.coverage import coverage, may_go, path_to, table_window
from scrubjay.archiver.facts import Coverage, CoverageFacts, Fork, Hole, Mark, Span, Start, Window
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.hlc import stamp_of
from tests.unit.archiver.lines import PARTITION, START_US, STEP_US, Line, stamp_at, without

LATE_US = 60_000_000


def look(
    line: Line, *, spans: list[Span] | None = None, starts: tuple[Start, ...] = (), closed_at: int | None = LATE_US, end: bool = False
) -> Coverage:
    points = (line.closed(closed_at),) if closed_at is not None else ()
    marks = (Mark(line.spans[-1].last, line.spans[-1].chain),) if end else ()
    return coverage(CoverageFacts(PARTITION, line.spans if spans is None else spans, starts, points, marks))


def ranges(found: Coverage) -> list[tuple[int, int]]:
    return [(hole.first_lsn, hole.last_lsn) for hole in found.window.holes]


def us(lsn: int) -> int:
    return START_US + lsn * STEP_US


def test_from_the_first_record_to_the_last_closed_timestamp() -> None:
    found = look(Line().grow(2, 5, 9))
    assert found.window == Window(us(1), START_US + LATE_US - 1, ())
    assert found.reach() == 9


def test_a_closed_timestamp_beyond_the_archived_end_proves_nothing() -> None:
    line = Line().grow(2, 5, 9)
    beyond = line.closed(LATE_US)._replace(last_content=10)
    found = coverage(CoverageFacts(PARTITION, line.spans, (), (beyond,)))
    assert found.window.latest_us == us(9) - 1
    assert found.forks == ()


def test_nothing_closed_is_no_window() -> None:
    line = Line().grow(2)
    spans = [span._replace(closed=0) for span in line.spans]
    assert coverage(CoverageFacts(PARTITION, spans)).window == Window(None, None, ())


def test_no_object_at_all() -> None:
    assert coverage(CoverageFacts(PARTITION)).window == Window(None, None, ())
    gone = coverage(CoverageFacts(PARTITION, marks=(Mark(9, None),)))
    assert gone.window == Window(None, None, (Hole(PARTITION, 1, 9, None, None),))


def test_a_hole_ends_what_is_proven() -> None:
    line = Line().grow(2, 5, 9)
    found = look(line, spans=without(line.spans, 5))
    assert found.window.holes == (Hole(PARTITION, 3, 5, us(2) - 1, None),)
    assert found.window.latest_us == us(2) - 1


@pytest.mark.parametrize("lost", [(5,), (9,), (5, 9), (2,), (2, 5, 9)])
def test_a_base_hides_no_hole_below_it(lost: tuple[int, ...]) -> None:
    """The newest segments below a base, its beginning, the middle, all of it."""
    line = Line().grow(2, 5, 9)
    kept = without(line.spans, *lost)
    found = look(line, spans=kept, starts=(line.base(9),))
    absent = sorted({lsn for span in line.spans if span.last in lost for lsn in range(span.first, span.last + 1)})
    assert [lsn for first, last in ranges(found) for lsn in range(first, last + 1)] == absent
    assert found.window.latest_us == START_US + LATE_US - 1, "the base's own history goes on"
    cut = stamp_at(absent[0])
    with pytest.raises(Missing) as caught:
        path_to(CoverageFacts(PARTITION, kept, (line.base(9),)), found, stamp=cut)
    assert caught.value.fields["lsn"] == absent[0]


def test_only_an_expired_object_makes_a_beginning_no_hole() -> None:
    line = Line().grow(2, 5, 9)
    spans = without(line.spans, 2, 5)
    assert ranges(look(line, spans=spans, starts=(line.base(5),))) == [(1, 5)]
    found = coverage(CoverageFacts(PARTITION, spans, (line.base(5),), (line.closed(LATE_US),), expired=5))
    assert found.window == Window(us(5), START_US + LATE_US - 1, ())
    lost = coverage(CoverageFacts(PARTITION, spans, (), (line.closed(LATE_US),), expired=5))
    assert ranges(lost) == [(5, 5)], "the log begins behind its base: that is gone"
    assert lost.window.latest_us is None
    short = coverage(CoverageFacts(PARTITION, spans, (line.base(5),), (), expired=2))
    assert ranges(short) == [(2, 2), (3, 5)]


def test_a_restored_table_rests_on_its_base() -> None:
    line = Line(rows=3).grow(2, 5)
    lost = look(line)
    assert lost.window == Window(None, None, (Hole(PARTITION, 0, 0, None, None, True),))
    assert look(line, starts=(line.base(0),)).window == Window(us(1), START_US + LATE_US - 1, ())
    with pytest.raises(Missing):
        path_to(CoverageFacts(PARTITION, line.spans), lost, stamp=stamp_at(5))


def test_a_lost_tail_is_a_hole_if_anybody_remembers_it() -> None:
    line = Line().grow(2, 5, 9)
    kept = without(line.spans, 9)
    assert ranges(look(line, spans=kept, closed_at=None)) == []
    assert ranges(look(line, spans=kept, closed_at=None, end=True)) == [(6, 9)]
    assert ranges(look(line, spans=kept, closed_at=None, starts=(line.base(9),))) == [(6, 9)]


# --- forks ---


def test_a_fork_is_reported_and_the_highest_epoch_is_followed() -> None:
    old = Line().grow(2, 5, 9, 14)
    new = old.fork(5, 8, epoch=2)
    found = coverage(CoverageFacts(PARTITION, {*old.spans, *new.spans}, (), (new.closed(LATE_US),)))
    assert found.forks == (Fork(PARTITION, 6, (1, 2)),)
    assert [span.last for span in found.thread] == [2, 5, 8]
    assert found.window.latest_us == START_US + LATE_US - 1
    assert {span.last for span in found.astray if isinstance(span, Span)} == {9, 14}


def test_the_branch_that_holds_the_highest_epoch_counts_wherever_it_holds_it() -> None:
    """The longer branch has one epoch, the other's first segment the same: what was written last decides."""
    old = Line().grow(2, 5, 9, 14)
    new = old.fork(5, 8, epoch=1).grow(10, epoch=3)
    found = coverage(CoverageFacts(PARTITION, {*old.spans, *new.spans}))
    assert [span.last for span in found.thread] == [2, 5, 8, 10]
    assert found.forks == (Fork(PARTITION, 6, (1, 3)),)


def test_a_closed_point_whose_seal_cannot_be_compared_proves_nothing() -> None:
    """Its last seal lies where the history has none: whose it is nobody can tell."""
    line = Line().grow(2, 5, 9)
    point = line.closed(LATE_US)._replace(last_seal=4, chain=bytes(31) + b"x")
    found = coverage(CoverageFacts(PARTITION, line.spans, (), (point,)))
    assert found.window.latest_us == us(9) - 1


@pytest.mark.parametrize("ahead", [1, 600_000_000 << 12])
def test_a_timestamp_that_cannot_be_true_yet_closes_nothing(ahead: int) -> None:
    line = Line().grow(2, 5)
    credible = stamp_at(5) + 100
    honest = line.closed(LATE_US)._replace(closed=credible)
    point = honest._replace(closed=credible + ahead)
    claimed = [line.spans[0], line.spans[1]._replace(closed=credible + ahead)]
    for facts in (CoverageFacts(PARTITION, line.spans, (), (honest, point)), CoverageFacts(PARTITION, claimed, (), (honest,))):
        found = coverage(facts._replace(credible=credible))
        assert max(run.closed for run in found.runs) == credible
        with pytest.raises(Unavailable):
            path_to(facts._replace(credible=credible), found, stamp=credible + 1)


def test_a_closed_point_of_the_other_history_proves_nothing() -> None:
    """The log was put back to LSN 5 and nothing was written since: its leader says that nothing at or before now lies behind 5, the archive has more."""
    ahead = Line().grow(2, 5, 9)
    back = Line(spans=ahead.spans[:2])
    back.epoch = 2
    found = coverage(CoverageFacts(PARTITION, ahead.spans, (), (back.closed(LATE_US),)))
    assert found.forks == (Fork(PARTITION, 6, (1, 2)),)
    assert found.window.latest_us == us(9) - 1, "only what the segments say themselves"


def test_a_closed_point_with_another_chain_value_proves_nothing() -> None:
    line = Line().grow(2, 5, 9)
    other = line.fork(2, 5, 9, epoch=2)
    found = coverage(CoverageFacts(PARTITION, line.spans, (), (other.closed(LATE_US),)))
    assert [fork.first_lsn for fork in found.forks] == [6]
    assert found.window.latest_us == us(9) - 1
    behind = coverage(CoverageFacts(PARTITION, without(line.spans, 5), (line.base(5),), (other.closed(LATE_US, last_seal=5),)))
    assert behind.forks == (Fork(PARTITION, 6, (1, 2)),)


@pytest.mark.parametrize("lost", [(8,), (8, 12)])
def test_a_branch_cut_off_from_where_it_left_is_not_mixed_with_the_other(lost: tuple[int, ...]) -> None:
    old = Line().grow(2, 5, 9, 14)
    new = old.fork(5, 8, 12, 16, epoch=2)
    spans = {*old.spans, *without(new.spans, *lost)}
    found = coverage(CoverageFacts(PARTITION, spans, (), (new.closed(LATE_US),)))
    assert found.forks
    assert found.forks[0].epochs == (1, 2)
    threads = [{span for span in found.thread if span.last > 5} <= set(line.spans) for line in (old, new)]
    assert any(threads), "segments of two histories"
    assert all(hole.first_lsn <= lost[0] for hole in found.window.holes)
    assert found.window.holes


def test_without_epochs_the_branch_that_is_vouched_for_counts() -> None:
    """A segment of another content under the same range, its own sums sound, put beside the newest one."""
    line = Line().grow(2, 5, 9)
    forged = line.fork(5, 9, epoch=1, seed="forged")
    for seed in ("forged", "forged again", "once more"):
        forged = line.fork(5, 9, epoch=1, seed=seed)
        spans = {*line.spans, *forged.spans}
        for facts in (
            CoverageFacts(PARTITION, spans, (), (line.closed(LATE_US),)),
            CoverageFacts(PARTITION, spans, (), (), (Mark(9, line.spans[-1].chain),)),
            CoverageFacts(PARTITION, spans, (line.base(9),)),
        ):
            found = coverage(facts)
            assert found.thread == tuple(line.spans)
            assert found.forks == (Fork(PARTITION, 6, (1,)),)


# --- what does not fit ---


def test_a_forged_segment_in_the_middle_is_the_one_that_nobody_follows() -> None:
    line = Line().grow(2, 5, 9, 14)
    forged = line.fork(2, 5, epoch=1).spans[-1]
    found = coverage(CoverageFacts(PARTITION, [line.spans[0], forged, *line.spans[2:]], (), (line.closed(LATE_US),)))
    assert forged in found.astray
    assert ranges(found) == [(3, 5)]
    assert found.window.latest_us == us(2) - 1


def test_a_forged_segment_that_continues_nothing() -> None:
    line = Line().grow(2, 5, 9, 14)
    wrong = replace(line.fork(2, 5, epoch=1), epoch=1).spans[-1]._replace(chain_before=bytes(31) + b"x")
    found = coverage(CoverageFacts(PARTITION, [line.spans[0], wrong, *line.spans[2:]], (), (line.closed(LATE_US),)))
    assert wrong in found.astray
    assert 5 not in [span.last for span in found.thread]
    assert (3, 5) in ranges(found) or ranges(found) == [(1, 5)]


def test_the_newest_segment_forged_is_denied_by_whoever_knows_the_end() -> None:
    line = Line().grow(2, 5, 9)
    forged = line.fork(5, 9, epoch=1)
    found = coverage(CoverageFacts(PARTITION, forged.spans, (), (), (Mark(9, line.spans[-1].chain),)))
    assert ranges(found) == [(6, 9)]
    assert found.astray == (forged.spans[-1],)
    point = coverage(CoverageFacts(PARTITION, forged.spans, (), (line.closed(LATE_US),)))
    assert point.forks == (Fork(PARTITION, 6, (1,)),)
    assert point.window.latest_us == us(9) - 1


@pytest.mark.parametrize(
    "lie", [{"chain": bytes(32)}, {"state": bytes(24)}, {"stamp": stamp_at(8)}, {"lsn": 7}, {"lsn": 0, "chain": bytes(31) + b"1"}]
)
def test_a_base_that_is_no_state_of_the_history_is_not_begun_with(lie: dict[str, object]) -> None:
    line = Line().grow(2, 5, 9)
    base = line.base(5)._replace(**lie)  # type: ignore[arg-type]
    found = look(line, starts=(base,))
    assert found.starts == ()
    assert base in found.astray
    assert path_to(CoverageFacts(PARTITION, line.spans, (base,)), found, stamp=stamp_at(9)).start is None


@pytest.mark.parametrize("lie", [{"chain": bytes(32)}, {"stamp": stamp_at(7)}, {"state": bytes(24)}], ids=["chain", "stamp", "rows"])
def test_a_base_in_front_of_the_first_segment_must_be_what_that_continues(lie: dict[str, Any]) -> None:
    line = Line().grow(2, 5, 9)
    spans = without(line.spans, 2, 5)
    honest = CoverageFacts(PARTITION, spans, (line.base(5),), (line.closed(LATE_US),), expired=5)
    assert coverage(honest).window.holes == ()
    facts = honest._replace(starts=(line.base(5)._replace(**lie),))
    assert coverage(facts).window == Window(None, None, (Hole(PARTITION, 5, 5, None, None, True),))


# --- paths ---


def test_the_newest_base_at_or_before_the_cut() -> None:
    line = Line().grow(2, 5, 9, 14)
    facts = CoverageFacts(PARTITION, line.spans, (line.base(5), line.base(9)), (line.closed(LATE_US),))
    found = coverage(facts)
    path = path_to(facts, found, stamp=stamp_at(10))
    assert path.start == line.base(9)
    assert [span.last for span in path.spans] == [14]
    assert path_to(facts, found, lsn=9) == (line.base(9), (), 9)
    assert path_to(facts, found, lsn=9, without=(line.base(9),)).start == line.base(5)
    assert path_to(facts, found, stamp=stamp_at(9) - 1).start == line.base(5)


def test_beyond_the_end_is_unavailable_and_not_a_hole() -> None:
    line = Line().grow(2, 5)
    facts = CoverageFacts(PARTITION, line.spans, (), (line.closed(6_000),))
    found = coverage(facts)
    with pytest.raises(Unavailable):
        path_to(facts, found, stamp=stamp_of(START_US + 6_001))
    assert path_to(facts, found, stamp=stamp_of(START_US + 6_001), preview=True).reach == 5
    assert path_to(facts, found, stamp=stamp_of(START_US + 6_000)).reach == 5
    with pytest.raises(Unavailable):
        path_to(facts, found, lsn=6)
    known = facts._replace(marks=(Mark(6, None),))
    with pytest.raises(Missing):
        path_to(known, coverage(known), lsn=6)


def test_a_table_is_what_all_partitions_can_restore() -> None:
    assert table_window([Window(5, 90, ()), Window(10, 80, ())]) == Window(10, 80, ())
    assert table_window([Window(5, 90, ()), Window(None, None, ())]) == Window(None, None, ())
    assert table_window([Window(5, 9, ()), Window(10, 80, ())]) == Window(None, None, ())
    assert table_window([]) == Window(None, None, ())


def test_with_two_histories_nothing_may_go() -> None:
    """The history that counts is whole and has a base: what the other one is worth is not for retention to say."""
    line = Line().grow(2, 5, 9)
    other = line.fork(5, 8, 20, epoch=2)
    facts = CoverageFacts(PARTITION, tuple({*line.spans, *other.spans}), (line.base(5),), ())
    found = coverage(facts)
    assert (len(found.forks), found.reach(), found.end) == (1, 20, 20)
    assert may_go(found, keep_from_us=START_US + LATE_US) == 0
    alone = coverage(facts._replace(spans=tuple(other.spans)))
    assert may_go(alone, keep_from_us=START_US + LATE_US) == 5
