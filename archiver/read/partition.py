"""What the archive holds of one partition: the facts that `archiver.coverage` judges, and what it judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scrubjay.archiver.coverage import coverage
from scrubjay.archiver.facts import Closed, Coverage, CoverageFacts, Fork, Hole, Mark, Span, Start, Window
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import PartitionPlace
from scrubjay.archiver.lineage import Inherited, child_facts, inherited
from scrubjay.archiver.read.inherited import Inheritance
from scrubjay.archiver.read.rows import BaseEntry, Beginning, SegmentRow, SegmentRows, objects_of
from scrubjay.base.errors import NO_KEY
from scrubjay.base.hlc import stamp_of
from scrubjay.storage.log.split import Born

EARLIER = stamp_of(900_000_000)
"""So much earlier a look may have begun (a quarter of an hour, as stamps differ). A bound that is lower still is that of a clock that was set back."""
CLOSED_KEPT = 16
"""Closed points of different LSNs remembered per partition: enough to find one that the archive has reached while it lags."""


class Summary(NamedTuple):
    """What a partition's coverage comes to. clean: no hole, no fork, nothing astray: what is archived next can be judged from the end alone."""

    window: Window
    forks: tuple[Fork, ...]
    reach: int
    end: int
    tip: Start | None
    clean: bool


class InheritedCost(NamedTuple):
    """stored: bytes to fetch. raw: what they hold. requests: to the store."""

    stored: int
    raw: int
    requests: int


@dataclass(slots=True)
class PartitionIndex:
    """One partition. rows: manifests of usable segments, also lower generations and other histories. bases: usable ones, rising. closed: newest points, rising.
    marks: the end as others know it. stored_bytes: of every listed object.

    More than 25 methods: what is learned of it, what is judged of it, and what it inherits, small ones each.
    """

    cluster: str
    table: str
    partition: str
    table_name: str = ""
    rows: SegmentRows = field(default_factory=SegmentRows)
    bases: list[BaseEntry] = field(default_factory=list)
    stored_bytes: int = 0
    problems: list[Fault] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    mark: Mark | None = None
    """From the cluster, or what names alone say."""
    named: int = 0
    """Last LSN that the name of a manifest claims."""
    told: int = 0
    """Archived LSN that a closed object tells of."""
    listed_told: int = 0
    """What `told` was before the last listing began. What was archived later is not in that listing and is no hole."""
    credible: int = (1 << 64) - 1
    beginning: Beginning | None = None
    """What retention took away; what is left over below it is no row, no base and no problem."""
    given_up: tuple[tuple[int, bytes], ...] = ()
    """(LSN, chain value) up to which others took their history away, which is not the one that counts."""
    kin: Mapping[tuple[str, str], PartitionIndex] = field(default_factory=dict, repr=False)
    """Others of the same archive, by table and partition: a child of a split rests on its parent (ADR 0078)."""
    _summary: Summary | None = None
    _rests: tuple[Summary, Born, Inherited | None] | None = None
    """What it inherits, as long as the parent has this summary."""
    _rested: Summary | None = None
    """The parent's when the own one was worked out."""

    @property
    def place(self) -> PartitionPlace | None:
        """What its manifests say of it; None: none was read."""
        return self.rows.place or (self.bases[0].place if self.bases else None)

    @property
    def born(self) -> Born | None:
        """How it began; None: with LSN 1, or nobody has said."""
        return None if self.place is None else self.place.born

    @property
    def parent(self) -> PartitionIndex | None:
        """The partition that it came of at a split; None: of none, or nothing is known of that, or it cannot be that one (`misled`). From one to the next the LSN at which a log begins falls: whoever follows comes to an end."""
        return None if self.misled() is not None else self._named_parent

    @property
    def _named_parent(self) -> PartitionIndex | None:
        born = self.born
        return None if born is None else self.kin.get((self.table, born.parent))

    def misled(self) -> str | None:
        """Why what its manifests say of how it began cannot be: the partition that they name ended no later than it began itself. Such a lineage may lead back to where it came from. None: it can be."""
        born, named = self.born, self._named_parent
        before = None if named is None else named.born
        if born is None or before is None or before.lsn < born.lsn:
            return None
        return f"it is said to go on behind LSN {born.lsn} of partition {born.parent}, which is said to have begun behind LSN {before.lsn} of partition {before.parent}"

    def rests_on(self) -> str | None:
        """The parent, as long as what is proven of a child hangs on that; None: it is no child, has a base where it began, or that beginning was taken away."""
        born = self.born
        if born is None or any(base.lsn == born.lsn for base in self.bases):
            return None
        return born.parent if self.beginning is None or self.beginning.lsn <= born.lsn else None

    def inherits(self) -> Inherited | None:
        """What a child's log rests on; None: it is no child, or the parent's archive does not lead there. Kept until something is learned of the parent."""
        born, parent = self.born, self.parent
        if born is None or parent is None:
            return None
        summary = parent.summary()
        if self._rests is None or self._rests[0] is not summary or self._rests[1] != born:
            facts = parent.facts()
            self._rests = summary, born, inherited(born, facts, coverage(facts))
        return self._rests[2]

    def inheritance(self) -> Inheritance | None:
        """How what it inherits is made; None: it inherits nothing that can be had."""
        rests, parent, place = self.inherits(), self.parent, self.place
        if rests is None or parent is None or place is None:
            return None
        where = (parent.cluster, parent.table, parent.partition)
        start = rests.path.start
        own = next((one for one in parent.bases if one.start() == start), None)
        base = build(own.key(*where)) if own is not None else None if start is None else parent.inheritance()
        segments = objects_of(parent.rows_of(rests.path.spans), *where)
        return Inheritance(self.cluster, self.table, self.partition, place, base, tuple(build(one) for one in segments))

    def inherited_cost(self) -> InheritedCost:
        """Of making what it inherits; nothing if it inherits nothing."""
        rests, parent = self.inherits(), self.parent
        if rests is None or parent is None:
            return InheritedCost(0, 0, 0)
        start = rests.path.start
        rows = parent.rows_of(rests.path.spans)
        own = next((one for one in parent.bases if one.start() == start), None)
        before = (
            InheritedCost(own.size, own.size, own.parts + 1)
            if own is not None
            else parent.inherited_cost()
            if start is not None
            else InheritedCost(0, 0, 0)
        )
        objects = len(objects_of(rows, parent.cluster, parent.table, parent.partition))
        return InheritedCost(
            before.stored + sum(row.stored for row in rows), before.raw + sum(row.raw for row in rows), before.requests + 2 * objects
        )

    def best(self) -> list[SegmentRow]:
        """Of each range and content the highest generation, rising."""
        found: list[SegmentRow] = []
        for row in self.rows:
            if found and found[-1][:2] == row[:2] and found[-1].chain == row.chain:
                found[-1] = row
            else:
                found.append(row)
        return found

    def rows_of(self, spans: Iterable[Span]) -> list[SegmentRow]:
        """The segments that coverage means by `spans`, in their order; of each the highest generation. Rows of one pack lie in one object (`objects_of`)."""
        rows = {row.span(): row for row in self.best()}
        return [rows[span] for span in spans]

    def astray(self, found: Coverage) -> list[tuple[SegmentKey | BaseKey, Span | Start]]:
        """What is there and fits nowhere: objects of segments and manifests of bases."""
        where = (self.cluster, self.table, self.partition)
        rows = {row.span(): row.key(*where) for row in self.best()}
        bases = {base.start(): base.key(*where) for base in self.bases}
        lost: list[tuple[SegmentKey | BaseKey, Span | Start]] = []
        for one in found.astray:
            if isinstance(one, Span) and one in rows:
                lost.append((rows[one], one))
            elif isinstance(one, Start) and one in bases:
                lost.append((bases[one], one))
        return lost

    def facts(self) -> CoverageFacts:
        """What coverage is asked: of a child with what it inherits."""
        own, born = self.own_facts(), self.born
        if born is None:
            return own
        rests = self.inherits()
        return child_facts(own, born, None if rests is None else rests.start)

    def own_facts(self) -> CoverageFacts:
        """What its own objects say, and what others say of it."""
        return self.judged([row.span() for row in self.best()], [base.start() for base in self.bases], self.beginning)

    def judged(self, spans: Sequence[Span], starts: Sequence[Start], beginning: Beginning | None) -> CoverageFacts:
        """These segments and bases, with what others say of the partition, if that is where it begins."""
        marks = [Mark(self.named, None), Mark(self.listed_told, None)]
        if self.mark is not None:
            marks.append(self.mark)
        lsn, gone = (beginning.lsn, beginning.whole) if beginning is not None else (0, False)
        unread = [(one.lsn, one.last, one.detail) for one in self.unread() if one.lsn is not None and one.last is not None]
        bases = [(key.lsn, one.detail) for one in self.unread() if isinstance(key := parse(one.object), BaseKey)]
        return CoverageFacts(self.partition, spans, starts, self.closed, marks, lsn, gone, self.given_up, self.credible, unread, bases)

    def gone(self) -> bool:
        """All of it was taken away, as it should be: nothing is there, and nothing is amiss."""
        return self.beginning is not None and self.beginning.whole and self.summary().end <= self.beginning.lsn

    def coverage(self) -> Coverage:
        """Anew, from everything: some 10 microseconds a segment. Not kept."""
        return coverage(self.facts())

    def summary(self) -> Summary:
        """Kept until something is learned, of its parent too."""
        line = [self]
        while (parent := line[-1].parent) is not None:
            line.append(parent)
        rests: Summary | None = None
        for one in reversed(line):  # the oldest first: each asks for what the one before it came to
            if one._summary is None or one._rested is not rests:
                one._summary, one._rested = _summary(one.coverage()), rests
            rests = one._summary
        assert rests is not None
        return rests

    def window(self) -> Window:
        return self.summary().window

    def reach(self) -> int:
        """Last LSN of the contiguous log from its lowest start (0: nothing)."""
        return self.summary().reach

    def learned(self, rows: Sequence[SegmentRow] = ()) -> None:
        """Something was added: rows behind the reach that were put into `rows` just now, or a closed point. Judged from the end, if everything before fits."""
        old = None if self._summary is None else self.summary()
        self._summary = None
        if old is None:
            return
        if not old.clean or old.tip is None or old.window.latest_us is None:
            return
        lsn = old.reach
        closed = [point for point in self.closed if point.last_seal >= lsn]
        marks = [mark for mark in (self.mark, Mark(self.named, None), Mark(self.listed_told, None)) if mark is not None and mark.lsn > lsn]
        found = coverage(
            CoverageFacts(self.partition, [row.span() for row in rows], [old.tip], closed, marks, expired=lsn, credible=self.credible)
        )
        new = _summary(found)
        if new.clean:
            latest = max(old.window.latest_us, new.window.latest_us or 0)
            self._summary = new._replace(window=Window(old.window.earliest_us, latest, ()))

    def note_closed(self, point: Closed, archived: int = 0) -> None:
        """A closed point seen in `closed/` or heard from a leader. One is kept for each place in the log, the one with the highest timestamp."""
        self.told = max(self.told, archived)
        place = (point.last_content, point.last_seal, point.chain)
        same = next((one for one in self.closed if (one.last_content, one.last_seal, one.chain) == place), None)
        if same is not None and same.closed >= point.closed:
            return
        if same is not None:
            self.closed.remove(same)
        self.closed = sorted([*self.closed, point])
        if len(self.closed) > CLOSED_KEPT:
            del self.closed[1 : len(self.closed) - CLOSED_KEPT + 1]
        self.learned()

    def believe(self, credible: int) -> None:
        """The clock went on: what was ahead of it may be true by now. A look that began before another one, and ends after it, takes nothing back."""
        if credible < self.credible <= credible + EARLIER:
            return
        if any(point.closed > self.credible for point in self.closed):
            self._summary = None
        self.credible = credible

    def forget(self) -> None:
        """The summary is worked out anew when it is asked for."""
        self._summary = None

    def draft(self) -> PartitionIndex:
        """A copy to read into: until `take`, whoever asks sees the state before, never half a look."""
        rows = SegmentRows()
        rows.extend(self.rows)
        return replace(self, rows=rows, bases=list(self.bases), problems=list(self.problems), closed=list(self.closed))

    def emptied(self) -> PartitionIndex:
        """Only what others say of it, and what was taken away: to be read from the start."""
        return PartitionIndex(
            self.cluster, self.table, self.partition, closed=list(self.closed), mark=self.mark, told=self.told, credible=self.credible,
            beginning=self.beginning, given_up=self.given_up, kin=self.kin,
        )  # fmt: skip

    def take(self, draft: PartitionIndex) -> None:
        """What was read into `draft`. Closed points heard since it was made stay."""
        self.rows, self.bases, self.problems, self.stored_bytes = draft.rows, draft.bases, draft.problems, draft.stored_bytes
        self.beginning, self.given_up = draft.beginning, draft.given_up
        self.mark, self.named, self.listed_told, self.table_name = draft.mark, draft.named, draft.listed_told, draft.table_name
        self._summary = draft._summary if self.closed == draft.closed and self.credible == draft.credible else None
        self._rested = draft._rested

    def unread(self) -> list[Fault]:
        """Objects under a key of encryption that is not at hand: whether they are sound nobody can tell."""
        return [one for one in self.problems if one.kind == NO_KEY]

    def lost(self) -> list[Hole]:
        """The holes of its window that have no such object in them: what is absent there is gone."""
        return [hole for hole in self.window().holes if hole.no_key is None]

    def damaged(self) -> bool:
        """Something of it is absent, bad or forked."""
        found = self.summary()
        return bool(self.problems or found.window.holes or found.forks)

    def worse_than(self, before: PartitionIndex) -> bool:
        """Something is absent or bad that was not before: to be looked at again before anybody is told."""
        bad = {(one.object, one.kind) for one in before.problems}
        if any((one.object, one.kind) not in bad for one in self.problems):
            return True
        known, found = before.summary(), self.summary()
        return any(hole not in known.window.holes for hole in found.window.holes) or any(fork not in known.forks for fork in found.forks)


def _summary(found: Coverage) -> Summary:
    reach = found.reach()
    last = found.thread[-1] if found.thread and found.thread[-1].last == reach else None
    tip = Start(last.last, last.last_stamp, last.chain, last.state, last.epoch) if last is not None else None
    if tip is None and found.runs and found.runs[0].start.lsn == reach > 0:
        tip = found.runs[0].start
    clean = not found.window.holes and not found.forks and not found.astray and reach == found.end
    return Summary(found.window, found.forks, reach, found.end, tip, clean)
