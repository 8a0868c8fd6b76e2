"""What is proven of a partition's children goes back through it (ADR 0078): histories by hand, as coverage sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.archiver.coverage import coverage, path_to
from scrubjay.archiver.facts import CoverageFacts, Window
from scrubjay.archiver.lineage import Inherited, child_facts, inherited, joined
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born
from tests.unit.archiver.lines import PARTITION, START_US, STEP_US, Line, stamp_at, without

CHILD = "9a471710-0000-4000-8000-000000000004"
ROWS = Total(0, 1)
LATE_US = 60_000_000


def parent_line() -> Line:
    return Line().grow(2, 5, 9)


def born_of(line: Line) -> Born:
    end = line.spans[-1]
    return Born(PartitionId(PARTITION), Lsn(end.last), Stamp(end.last_stamp), end.chain, ROWS)


def child_line(parent: Line, *lasts: int) -> Line:
    """A log that goes on where the parent's ends."""
    line = Line(spans=[parent.spans[-1]]).grow(*lasts, seed="child")
    del line.spans[0]
    return line


def looked(line: Line, facts: CoverageFacts | None = None) -> Inherited | None:
    known = CoverageFacts(PARTITION, line.spans) if facts is None else facts
    return inherited(born_of(parent_line()), known, coverage(known))


def us(lsn: int) -> int:
    return START_US + lsn * STEP_US


def test_a_childs_window_begins_where_its_parent_ended_and_both_are_one() -> None:
    parent = parent_line()
    before = coverage(CoverageFacts(PARTITION, parent.spans))
    start = looked(parent)
    assert start is not None
    child = child_line(parent, 12, 15)
    facts = child_facts(CoverageFacts(CHILD, child.spans, (), (child.closed(LATE_US),)), born_of(parent), start.start)
    found = coverage(facts)
    assert found.window == Window(us(9), START_US + LATE_US - 1, ())
    path = path_to(facts, found, stamp=stamp_at(12))
    assert (path.start, [span.last for span in path.spans]) == (start.start, [12, 15])
    assert [span.last for span in start.path.spans] == [2, 5, 9]
    whole = joined(before.window._replace(latest_us=us(9)), [found.window, found.window])
    assert whole == Window(us(1), START_US + LATE_US - 1, ())


def test_a_parent_that_lost_its_end_is_a_hole_in_front_of_the_child_until_the_child_has_a_base_of_its_own() -> None:
    parent = parent_line()
    assert looked(parent, CoverageFacts(PARTITION, without(parent.spans, 9))) is None
    assert looked(parent, CoverageFacts(PARTITION, without(parent.spans, 5))) is None, "nor with a hole in the middle"
    child, born = child_line(parent, 12), born_of(parent)
    plain = CoverageFacts(CHILD, child.spans, (), (child.closed(LATE_US),))
    facts = child_facts(plain, born, None)
    found = coverage(facts)
    assert [(hole.first_lsn, hole.base) for hole in found.window.holes] == [(9, True)]
    assert found.window.latest_us is None
    with pytest.raises(Missing):
        path_to(facts, found, stamp=stamp_at(12))
    own = parent.base(9)._replace(state=ROWS.state, epoch=7)
    mended = coverage(child_facts(plain._replace(starts=(own,)), born, None))
    assert mended.window == Window(us(9), START_US + LATE_US - 1, ())
    other = looked(parent)
    assert other is not None
    assert coverage(child_facts(plain._replace(starts=(own,)), born, other.start)).starts == (own,), (
        "its own stands before what it inherits"
    )


def test_another_history_of_the_parent_proves_nothing_of_the_child() -> None:
    parent = parent_line()
    assert looked(parent.fork(5, 9, epoch=2)) is None
    assert looked(parent.fork(5, 7, 9, epoch=2)) is None
    later = parent_line()
    later.spans[-1] = later.spans[-1]._replace(last_stamp=stamp_at(10))
    assert looked(later) is None


def test_a_base_at_the_parents_end_is_enough() -> None:
    parent = parent_line()
    found = looked(parent, CoverageFacts(PARTITION, [], (parent.base(9),), expired=9))
    assert found is not None
    assert (found.path.start, found.path.spans, found.start.state) == (parent.base(9), (), ROWS.state)


def test_what_retention_took_of_the_child_is_no_hole_and_what_it_inherited_counts_no_more() -> None:
    parent, child = parent_line(), child_line(parent_line(), 12, 15)
    start = looked(parent)
    assert start is not None
    facts = CoverageFacts(CHILD, without(child.spans, 12), (child.base(12),), (child.closed(LATE_US),), expired=12)
    found = coverage(child_facts(facts, born_of(parent), start.start))
    assert found.starts == (child.base(12),)
    assert found.window == Window(us(12), START_US + LATE_US - 1, ())


def test_what_is_restorable_ends_with_the_parent_while_a_child_proves_nothing() -> None:
    parent, left, nothing = Window(10, 50, ()), Window(50, 90, ()), Window(None, None, ())
    assert joined(parent, [left, nothing]) == parent
    assert joined(parent, [left, left._replace(latest_us=70)]) == Window(10, 70, ())
    assert joined(parent, [left, left._replace(earliest_us=52)]) == Window(52, 90, ()), "a gap: only what lies behind it goes on to now"
    assert joined(parent._replace(latest_us=51), [left, left._replace(earliest_us=52)]) == Window(10, 90, ())
    assert joined(nothing, [left, left]) == left


@pytest.mark.slow
@given(st.sets(st.sampled_from((2, 5, 9))), st.sets(st.sampled_from((2, 5, 9))))
def test_a_child_inherits_exactly_what_its_parent_can_be_rebuilt_to(lost: set[int], bases: set[int]) -> None:
    parent = parent_line()
    facts = CoverageFacts(PARTITION, without(parent.spans, *lost), tuple([parent.base(lsn) for lsn in sorted(bases)]))
    found = coverage(facts)
    reachable = 9 in bases or (9 not in lost and (5 in bases or (5 not in lost and (2 in bases or 2 not in lost))))
    got = inherited(born_of(parent), facts, found)
    assert (got is not None) == reachable
    if not reachable:
        with pytest.raises((Missing, Unavailable)):
            path_to(facts, found, lsn=9)
