"""The restorable window, proven: pure functions over what the archive is known to hold.

A moment T of a partition can be restored if there is a start at or before T (the empty partition, or a base snapshot), every segment from the start on is
there, and the log is *closed* at T or above: a closed timestamp C naming L says that every content record stamped <= C has an LSN <= L, so once the
contiguous log reaches L nothing at or before C can be missing. Without a closed timestamp an archive's end proves nothing about the time behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from base.hlc import last_stamp_at, stamp_micros
from storage import chain as chains


class Span(NamedTuple):
    """One usable segment: object and manifest are there. closed: closed timestamp in its SEAL (0: none). rows: state rows at `last`. content: content records."""

    first: int
    last: int
    first_stamp: int
    last_stamp: int
    closed: int
    rows: int
    content: int
    chain_before: bytes
    chain: bytes


class Start(NamedTuple):
    """A verified base snapshot. lsn 0: the first state of a restored table."""

    lsn: int
    stamp: int
    chain: bytes


class Closed(NamedTuple):
    closed: int
    last_content: int


class Hole(NamedTuple):
    """Records [first_lsn, last_lsn] of a partition are not in the archive: moments between from_us and to_us, both exclusive (None: nothing before /
    behind it can be restored either), are lost."""

    partition: str
    first_lsn: int
    last_lsn: int
    from_us: int | None
    to_us: int | None


class Window(NamedTuple):
    """Microseconds since the epoch, both inclusive; None until proven. holes: what is absent in between, and behind."""

    earliest_us: int | None
    latest_us: int | None
    holes: tuple[Hole, ...]


class _Run(NamedTuple):
    """Moments [low_us, high_us] that one start and the contiguous log behind it can restore. start, reach: LSN of the start, last LSN of that log."""

    start: int
    reach: int
    low_us: int
    high_us: int


def first_micros(stamp: int) -> int:
    """The first microsecond T such that everything up to `stamp` is at or before T."""
    return stamp_micros(stamp)


def last_micros(stamp: int) -> int:
    """The last microsecond T all of which lies at or below `stamp`."""
    micros = stamp_micros(stamp)
    return micros if last_stamp_at(micros) <= stamp else micros - 1


def needs_base(first: Span) -> bool:
    """The log's first segment already has rows that no record of it made: a restored table, which rests on its base at LSN 0."""
    return first.first == 1 and first.rows > 0 and first.content <= 1


def window_of(partition: str, *, spans: Sequence[Span], starts: Sequence[Start], closed: Sequence[Closed]) -> Window:
    """The window of one partition. spans: usable segments, any order, at most one per first LSN. Pure."""
    log = sorted(spans)
    runs = _runs(log, starts, closed)
    holes = tuple(_holes(partition, log, runs, starts))
    if not runs:
        return Window(None, None, holes)
    return Window(min(run.low_us for run in runs), max(run.high_us for run in runs), holes)


def _runs(log: Sequence[Span], starts: Sequence[Start], closed: Sequence[Closed]) -> list[_Run]:
    """One per start that can restore any moment, rising."""
    at = {span.first: span for span in log}
    begin = [Start(0, 0, chains.START)] if 1 in at and not needs_base(at[1]) else []
    runs: list[_Run] = []
    for start in sorted({*begin, *starts}):
        lsn, chain, low, high = start.lsn, start.chain, start.stamp, start.stamp
        if start.lsn == 0:
            if 1 not in at:
                continue
            low = high = at[1].first_stamp  # before its first record there was no table
        while (span := at.get(lsn + 1)) is not None and span.chain_before == chain:
            lsn, chain = span.last, span.chain
            high = max(high, span.closed)
        high = max([high, *(point.closed for point in closed if point.last_content <= lsn)])
        run = _Run(start.lsn, lsn, first_micros(low), last_micros(high))
        if run.low_us <= run.high_us:
            runs.append(run)
    return runs


def _holes(partition: str, log: Sequence[Span], runs: Sequence[_Run], starts: Sequence[Start]) -> list[Hole]:
    """Absent LSN ranges, each with the moments that they cost. A base inside a range divides it: its own moment can be restored."""
    holes: list[Hole] = []
    if log and log[0].first == 1 and needs_base(log[0]) and not any(start.lsn == 0 for start in starts):
        holes.append(_hole(partition, 0, 0, runs))
    bases = sorted(start.lsn for start in starts)
    # Expiry takes a log away from its beginning, up to a base; a gap further on is a hole even where a base bridges it.
    expected = min([bases[0] if bases else 0, *(span.first - 1 for span in log)]) + 1
    before: Span | None = None
    for span in log:
        if span.last < expected:
            continue
        if span.first > expected:
            marks = [lsn for lsn in bases if expected <= lsn < span.first - 1]
            for first, last in zip([expected, *(lsn + 1 for lsn in marks)], [*marks, span.first - 1], strict=True):
                holes.append(_hole(partition, first, last, runs))
        elif before is not None and span.first == expected and span.chain_before != before.chain:
            holes.append(_hole(partition, span.first, span.last, runs))
        expected, before = span.last + 1, span
    return holes


def _hole(partition: str, first: int, last: int, runs: Sequence[_Run]) -> Hole:
    """from_us: the last restorable moment in front of it, to_us: the first one behind it."""
    low = max((run.high_us for run in runs if run.reach < first), default=None)
    high = min((run.low_us for run in runs if run.start >= last and run.start > 0), default=None)
    return Hole(partition, first, last, low, high)


def table_window(windows: Sequence[Window]) -> Window:
    """A table's window: every moment that all of its partitions can restore. None as long as one of them proves nothing."""
    holes = tuple(hole for window in windows for hole in window.holes)
    if not windows or any(window.earliest_us is None or window.latest_us is None for window in windows):
        return Window(None, None, holes)
    earliest = max(window.earliest_us for window in windows if window.earliest_us is not None)
    latest = min(window.latest_us for window in windows if window.latest_us is not None)
    if latest < earliest:
        return Window(None, None, holes)
    return Window(earliest, latest, holes)
