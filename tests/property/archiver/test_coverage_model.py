"""Coverage against a naive model that knows every single LSN: whatever set of objects is lost, the holes are exactly the model's, and a moment counts as
restorable exactly if the model can rebuild it. Exhaustive over the objects, so each single loss is found always."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import pytest

from scrubjay.archiver.coverage import coverage, may_go, path_to
from scrubjay.archiver.facts import Closed, CoverageFacts, Mark, Span, Start
from scrubjay.archiver.lineage import child_facts, inherited
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.split import Born
from tests.unit.archiver.lines import PARTITION, START_US, STEP_US, Line, stamp_at


class Archive(NamedTuple):
    """Everything an archive had before something was lost. end_known: the cluster (or a ledger) remembers what was archived."""

    spans: tuple[Span, ...]
    starts: tuple[Start, ...]
    closed: tuple[Closed, ...]
    expired: int
    end_known: bool

    @property
    def end(self) -> int:
        return self.spans[-1].last


def archive(lasts: Sequence[int], bases: Sequence[int], *, rows: int = 0, expired: int = 0, end_known: bool) -> Archive:
    line = Line(rows).grow(*lasts)
    points = (line.closed(lasts[-1] * STEP_US + 700), line.closed(lasts[1] * STEP_US + 300, last_content=lasts[1] - 1, last_seal=lasts[1]))
    spans = tuple(span for span in line.spans if span.first > expired)
    return Archive(spans, tuple(line.base(lsn) for lsn in bases), points, expired, end_known)


ARCHIVES = {
    "plain": ((2, 5, 9, 10, 14), (5, 10), 0, 0),
    "base at the end": ((1, 4, 6, 9), (6, 9), 0, 0),
    "restored": ((3, 4, 8, 11), (0, 4), 5, 0),
    "expired": ((2, 5, 9, 10, 14), (5, 10), 0, 5),
    "expired, restored": ((2, 5, 9, 14), (5, 9), 3, 5),
}


class Model:
    """What a person with a list of LSNs would say of the objects that are left."""

    def __init__(self, full: Archive, spans: Sequence[Span], starts: Sequence[Start], closed: Sequence[Closed]) -> None:
        self.full, self.spans, self.starts, self.closed = full, spans, starts, closed
        self.present = {lsn for span in spans for lsn in range(span.first, span.last + 1)}
        ends = [full.expired, *(span.last for span in spans), *(start.lsn for start in starts)]
        self.end = full.end if full.end_known else max(ends)
        self.absent = {lsn for lsn in range(full.expired + 1, self.end + 1) if lsn not in self.present}
        first = full.spans[0]
        self.rests = full.expired > 0 or (any(span.first == 1 for span in spans) and first.rests > 0)
        self.base_lost = self.rests and self.end > 0 and not any(start.lsn == full.expired for start in starts)

    def has(self, low: int, high: int) -> bool:
        return all(lsn in self.present for lsn in range(low + 1, high + 1))

    def begins(self) -> list[tuple[int, int]]:
        """(LSN, first moment in microseconds) of everything a rebuild can start from."""
        found = [(start.lsn, start.stamp >> 12) for start in self.starts if start.lsn > 0]
        if 1 in self.present and not self.full.expired and (not self.full.spans[0].rests or any(start.lsn == 0 for start in self.starts)):
            found.append((0, stamp_at(1) >> 12))
        return found

    def restorable(self, at_us: int) -> bool:
        cut = last_stamp_at(at_us)
        for low, since_us in self.begins():
            if at_us < since_us:
                continue
            claims = [(span.closed, span.last) for span in self.spans if span.first > low]
            claims += [(point.closed, max(point.last_content, point.last_seal)) for point in self.closed if self.knows(point)]
            if any(closed >= cut and self.has(low, lsn) for closed, lsn in claims if lsn >= low):
                return True
        return False

    def knows(self, point: Closed) -> bool:
        """The chain value that the point names can be compared with something that is there: a segment on either side, or a base."""
        sides = {span.last for span in self.spans} | {span.first - 1 for span in self.spans} | {start.lsn for start in self.starts}
        return point.last_seal in sides


def losses(full: Archive) -> list[tuple[Sequence[Span], Sequence[Start], Sequence[Closed], str]]:
    """Every subset of what may be lost."""
    things: list[Span | Start | Closed] = [*full.spans, *full.starts, *full.closed]
    found = []
    for count in range(len(things) + 1):
        for lost in combinations(range(len(things)), count):
            kept = [thing for number, thing in enumerate(things) if number not in lost]
            found.append(
                (
                    [one for one in kept if isinstance(one, Span)],
                    [one for one in kept if isinstance(one, Start)],
                    [one for one in kept if isinstance(one, Closed)],
                    f"lost {[things[number] for number in lost]}",
                )
            )
    return found


@pytest.mark.parametrize("end_known", [False, True], ids=["offline", "online"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_whatever_is_lost_the_holes_are_the_models(name: str, end_known: bool) -> None:
    lasts, bases, rows, expired = ARCHIVES[name]
    full = archive(lasts, bases, rows=rows, expired=expired, end_known=end_known)
    marks = (Mark(full.end, full.spans[-1].chain),) if end_known else ()
    for spans, starts, closed, what in losses(full):
        found = coverage(CoverageFacts(PARTITION, spans, starts, closed, marks, expired))
        model = Model(full, spans, starts, closed)
        holes = found.window.holes
        lost = {lsn for hole in holes for lsn in range(hole.first_lsn, hole.last_lsn + 1)} - {expired}
        assert lost == model.absent, what
        assert any(hole.first_lsn == expired for hole in holes) == model.base_lost, what
        assert sum(hole.last_lsn - hole.first_lsn + 1 for hole in holes) == len(lost) + model.base_lost, f"{what}: a record named twice"
        assert found.forks == (), what
        for at_us in range(START_US, START_US + (lasts[-1] + 2) * STEP_US, STEP_US // 4):
            assert counts(found, at_us) == model.restorable(at_us), f"{what}, at {at_us - START_US}"


def counts(found: object, at_us: int) -> bool:
    """In the window and in no hole of it."""
    window = found.window  # type: ignore[attr-defined]
    if window.earliest_us is None or not window.earliest_us <= at_us <= window.latest_us:
        return False
    return not any((hole.from_us is None or hole.from_us < at_us) and (hole.to_us is None or at_us < hole.to_us) for hole in window.holes)


@pytest.mark.parametrize("name", ARCHIVES)
def test_each_single_loss_is_seen(name: str) -> None:
    """Negative control of the model: with the end known, no object's loss leaves the answer as it was, but for a base that the log makes superfluous."""
    lasts, bases, rows, expired = ARCHIVES[name]
    full = archive(lasts, bases, rows=rows, expired=expired, end_known=True)
    marks = (Mark(full.end, full.spans[-1].chain),)
    for span in full.spans:
        kept = [one for one in full.spans if one is not span]
        found = coverage(CoverageFacts(PARTITION, kept, full.starts, full.closed, marks, expired))
        assert [(hole.first_lsn, hole.last_lsn) for hole in found.window.holes] == [(span.first, span.last)]


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_path_is_found_for_what_counts_and_for_nothing_else(name: str) -> None:
    """Plan and window cannot disagree: a moment counts exactly if a plan for it can be made."""
    lasts, bases, rows, expired = ARCHIVES[name]
    full = archive(lasts, bases, rows=rows, expired=expired, end_known=True)
    marks = (Mark(full.end, full.spans[-1].chain),)
    for spans, starts, closed, what in losses(full):
        facts = CoverageFacts(PARTITION, spans, starts, closed, marks, expired)
        found = coverage(facts)
        model = Model(full, spans, starts, closed)
        for at_us in range(START_US + STEP_US, START_US + (lasts[-1] + 2) * STEP_US, STEP_US // 2):
            cut = last_stamp_at(at_us)
            try:
                path = path_to(facts, found, stamp=cut)
            except (Missing, Unavailable):
                assert not counts(found, at_us), f"{what}, at {at_us - START_US}"
                continue
            low = path.start.lsn if path.start is not None else 0
            assert model.has(low, path.reach), what
            assert [span.first for span in path.spans][:1] in ([], [low + 1])
            newest = max((lsn for lsn in range(1, full.end + 1) if stamp_at(lsn) <= cut), default=0)
            assert path.reach >= min(newest, full.end), f"{what}: records at or before the cut are left out"


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_may_go_leaves_every_moment_kept(name: str) -> None:
    lasts, bases, rows, expired = ARCHIVES[name]
    full = archive(lasts, bases, rows=rows, expired=expired, end_known=True)
    facts = CoverageFacts(PARTITION, full.spans, full.starts, full.closed, (Mark(full.end, full.spans[-1].chain),), expired)
    whole = coverage(facts)
    gone = set()
    for keep_us in range(START_US, START_US + (lasts[-1] + 2) * STEP_US, STEP_US // 2):
        upto = may_go(whole, keep_from_us=keep_us)
        gone.add(upto)
        left = facts._replace(
            spans=[span for span in full.spans if span.last > upto],
            starts=[start for start in full.starts if start.lsn >= upto],
            expired=max(expired, upto),
        )
        after = coverage(left)
        assert after.window.holes == ()
        for at_us in range(max(keep_us, START_US + STEP_US), START_US + (lasts[-1] + 2) * STEP_US, STEP_US // 2):
            assert counts(after, at_us) == counts(whole, at_us)
    assert gone >= {lsn for lsn in bases if lsn > expired}, "nothing was ever allowed to go"


@pytest.mark.parametrize("lost", range(5))
def test_nothing_may_go_below_a_hole_or_beside_a_fork(lost: int) -> None:
    line = Line().grow(2, 5, 9, 10, 14)
    starts = (line.base(5), line.base(10))
    kept = [span for number, span in enumerate(line.spans) if number != lost]
    marks = (Mark(14, line.spans[-1].chain),)
    found = coverage(CoverageFacts(PARTITION, kept, starts, (line.closed(15_000),), marks, 0))
    upto = may_go(found, keep_from_us=START_US + 60_000_000)
    assert upto == (0 if line.spans[lost].last > 10 else 10)
    other = line.fork(5, 8, epoch=2)
    forked = coverage(CoverageFacts(PARTITION, {*line.spans, *other.spans}, starts, (), marks, 0))
    assert forked.forks
    assert may_go(forked, keep_from_us=START_US + 60_000_000) == 0


def test_of_two_generations_whatever_is_lost_of_either_costs_what_the_model_says() -> None:
    """A partition that was split and its child: every subset of both archives' objects. The child's moments need the parent's way to its end, or a base of its own."""
    parent = Line().grow(2, 5, 9)
    end = parent.spans[-1]
    born = Born(PartitionId(PARTITION), Lsn(end.last), Stamp(end.last_stamp), end.chain, Total(0, 1))
    child = Line(spans=[end]).grow(12, 15, seed="child")
    del child.spans[0]
    point = child.closed(15 * STEP_US + 700)
    things: list[Span | Start] = [*parent.spans, parent.base(5), *child.spans, child.base(12)]
    seen: set[tuple[bool, bool]] = set()
    for count in range(len(things) + 1):
        for lost in combinations(things, count):
            has = {(type(one), one.last if isinstance(one, Span) else one.lsn) for one in things if one not in lost}
            older = [one for one in parent.spans if one not in lost]
            facts = CoverageFacts(PARTITION, older, [one for one in [parent.base(5)] if one not in lost])
            rests = inherited(born, facts, coverage(facts))
            leads = (Span, 9) in has and ((Start, 5) in has or {(Span, 5), (Span, 2)} <= has)
            assert (rests is not None) == leads, lost
            spans = [one for one in child.spans if one not in lost]
            own = CoverageFacts(
                "child", spans, [one for one in [child.base(12)] if one not in lost], (point,), (Mark(15, child.spans[-1].chain),)
            )
            found = coverage(child_facts(own, born, None if rests is None else rests.start))
            present = {lsn for span in spans for lsn in range(span.first, span.last + 1)}
            holes = {lsn for hole in found.window.holes if not hole.base for lsn in range(hole.first_lsn, hole.last_lsn + 1)}
            assert holes == set(range(10, 16)) - present, lost
            assert any(hole.base and hole.first_lsn == 9 for hole in found.window.holes) == (not leads), lost
            begins = [(9, stamp_at(9))] * leads + [(12, stamp_at(12))] * ((Start, 12) in has)
            claims = [(span.closed, span.last) for span in spans] + [(point.closed, 15)] * ((Span, 15) in has)
            for at_us in range(START_US + 9 * STEP_US, START_US + 17 * STEP_US, STEP_US // 4):
                cut = last_stamp_at(at_us)
                model = any(
                    since <= cut and closed >= cut and low <= lsn and all(one in present for one in range(low + 1, lsn + 1))
                    for low, since in begins
                    for closed, lsn in claims
                    if lsn > low
                )
                assert counts(found, at_us) == model, f"lost {lost}, at {at_us - START_US}"
                seen.add((leads, model))
    assert len(seen) == 4, "the control: with and without the parent there are moments that can be restored, and such that cannot"
