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
    """Records [first_lsn, last_lsn] of a partition are not in the archive: moments between from_us and to_us (None: nothing before / after is
    restorable either) cannot be restored."""

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
    """Moments [low, high] (stamps) that one start and the log behind it can restore. reach: last LSN of that log."""

    low: int
    high: int
    reach: int


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
    runs = _runs(log, sorted(starts), closed)
    if not runs:
        return Window(None, None, tuple(_holes(partition, log, runs, sorted(starts))))
    return Window(
        first_micros(runs[0].low), last_micros(max(run.high for run in runs)), tuple(_holes(partition, log, runs, sorted(starts)))
    )


def _runs(log: Sequence[Span], starts: Sequence[Start], closed: Sequence[Closed]) -> list[_Run]:
    at = {span.first: span for span in log}
    begin = [Start(0, 0, chains.START)] if 1 in at and not needs_base(at[1]) else []
    runs: list[_Run] = []
    for start in sorted({*begin, *starts}):
        lsn, chain, low, high = start.lsn, start.chain, start.stamp, start.stamp
        if start.lsn == 0:
            if 1 not in at:
                continue
            low = high = at[1].first_stamp
        while (span := at.get(lsn + 1)) is not None and span.chain_before == chain:
            lsn, chain = span.last, span.chain
            high = max(high, span.closed)
        high = max([high, *(point.closed for point in closed if point.last_content <= lsn)])
        # A start of LSN 0 with nothing closed behind it proves nothing; a base proves its own moment.
        if start.lsn or high > low:
            runs.append(_Run(low, high, lsn))
    return _joined(runs)


def _joined(runs: Sequence[_Run]) -> list[_Run]:
    """Overlapping runs as one, rising."""
    found: list[_Run] = []
    for run in sorted(runs):
        if found and run.low <= found[-1].high + 1:
            last = found.pop()
            run = _Run(last.low, max(last.high, run.high), max(last.reach, run.reach))
        found.append(run)
    return found


def _holes(partition: str, log: Sequence[Span], runs: Sequence[_Run], starts: Sequence[Start]) -> list[Hole]:
    """Absent LSN ranges between usable segments (and before the first, if nothing starts there) that keep moments from being restored."""
    holes: list[Hole] = []
    # Expiry takes a log away from its beginning, up to a base; a gap further on is a hole even where a base bridges it.
    floor = min((start.lsn for start in starts), default=0)
    floor = min([floor, *(span.first - 1 for span in log)])
    if log and log[0].first == 1 and needs_base(log[0]) and not any(start.lsn == 0 for start in starts):
        holes.append(Hole(partition, 0, 0, None, _next_low(runs, log[0].first_stamp)))
    expected = floor + 1
    before: Span | None = None
    for span in log:
        if span.last < expected:
            continue
        broken = before is not None and span.first == expected and span.chain_before != before.chain
        if span.first > expected or broken:
            low = None if before is None else stamp_micros(before.last_stamp)
            last = span.first - 1 if span.first > expected else span.last
            first = min(span.first, expected)
            holes.append(Hole(partition, first, last, low, _next_low(runs, span.first_stamp)))
        expected, before = span.last + 1, span
    return holes


def _next_low(runs: Sequence[_Run], stamp: int) -> int | None:
    """The first restorable moment at or after a hole's far side, None if there is none."""
    return next((first_micros(max(run.low, stamp)) for run in runs if run.high >= stamp), None)


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
