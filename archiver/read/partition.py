"""What the archive holds of one partition: the facts that `archiver.coverage` judges, and what it judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from scrubjay.archiver.coverage import coverage
from scrubjay.archiver.facts import Closed, Coverage, CoverageFacts, Fork, Hole, Mark, Span, Start, Window
from scrubjay.archiver.format.fault import Fault
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, parse
from scrubjay.archiver.read.rows import BaseEntry, Beginning, SegmentRow, SegmentRows
from scrubjay.base.errors import NO_KEY
from scrubjay.base.hlc import stamp_of

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


@dataclass(slots=True)
class PartitionIndex:
    """One partition. rows: manifests of usable segments, also lower generations and other histories. bases: usable ones, rising. closed: newest points, rising.
    marks: the end as others know it. stored_bytes: of every listed object."""

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
    _summary: Summary | None = None

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
        """Kept until something is learned."""
        if self._summary is None:
            self._summary = _summary(self.coverage())
        return self._summary

    def window(self) -> Window:
        return self.summary().window

    def reach(self) -> int:
        """Last LSN of the contiguous log from its lowest start (0: nothing)."""
        return self.summary().reach

    def learned(self, rows: Sequence[SegmentRow] = ()) -> None:
        """Something was added: rows behind the reach that were put into `rows` just now, or a closed point. Judged from the end, if everything before fits."""
        old = self._summary
        if old is None:
            return
        self._summary = None
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
            beginning=self.beginning, given_up=self.given_up,
        )  # fmt: skip

    def take(self, draft: PartitionIndex) -> None:
        """What was read into `draft`. Closed points heard since it was made stay."""
        self.rows, self.bases, self.problems, self.stored_bytes = draft.rows, draft.bases, draft.problems, draft.stored_bytes
        self.beginning, self.given_up = draft.beginning, draft.given_up
        self.mark, self.named, self.listed_told, self.table_name = draft.mark, draft.named, draft.listed_told, draft.table_name
        self._summary = draft._summary if self.closed == draft.closed and self.credible == draft.credible else None

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
