"""Coverage: what an archive proves of one partition. One pure function that status, verify, plan, scrub, retention and recover all ask (DESIGN section 6).

A moment T can be restored if there is a start at or before T (the empty partition, or a base snapshot), every segment from the start on is there and
chained to it, and the log is *closed* at T or above: a closed timestamp C naming L says that every content record stamped <= C has an LSN <= L, so once
the contiguous log reaches L nothing at or before C can be missing. Without a closed timestamp an archive's end proves nothing about the time behind it.

A record is absent (a hole) if it was ever archived, as far as anybody knows, and no segment on the one history that counts holds it. A base never hides
a hole below it; only an `expired/` object says that a beginning was taken away. What is known of the end: segments and bases that are there, names that
are listed, closed points, and marks: what the cluster or a ledger knows to have been archived.

One history counts. Segments are tied together by the chain alone. Where the log forks, the branch with the highest epoch counts, then the one that marks,
bases and closed points vouch for, then the longer; the other is reported. Nothing is proven across two histories: a closed point or a base counts only if
it names the chain value that the history has at its LSN. Where two neighbours do not fit each other, what nobody vouches for is doubtful and counts as absent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from scrubjay.archiver.branches import first_of, given_up, history
from scrubjay.archiver.facts import Closed, Coverage, CoverageFacts, Fork, Hole, Path, RestorableRun, Span, Start, Window
from scrubjay.base.errors import NO_KEY, Missing, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.storage.log import chain as chains


def first_micros(stamp: int) -> int:
    """The first microsecond T such that everything up to `stamp` is at or before T."""
    return stamp_micros(stamp)


def last_micros(stamp: int) -> int:
    """The last microsecond T all of which lies at or below `stamp`."""
    micros = stamp_micros(stamp)
    return micros if last_stamp_at(micros) <= stamp else micros - 1


def coverage(facts: CoverageFacts) -> Coverage:
    """What the facts prove of one partition. Pure; at most O(n log n)."""
    thread, forks, astray = history(facts)
    at = {span.last: span for span in thread}
    behind = {span.first - 1: span for span in thread}
    starts: list[Start] = []
    lowest = facts.expired + int(facts.gone)
    lost = given_up(facts)
    for start in sorted(set(facts.starts)):
        if start.lsn < lowest or (start.lsn, start.chain) in lost or not _on(start, at, behind, thread):
            if start.lsn >= lowest:
                astray.append(start)
            continue
        starts.append(start)
    closed, forked = _closed(facts, thread, starts)
    forks = _joined([*forks, *forked])
    astray += [point for point in facts.closed if point not in closed and _contradicts(point, thread)]
    runs = _runs(facts, behind, starts, closed)
    end = max([facts.expired, *(span.last for span in facts.spans), *(start.lsn for start in starts), *(mark.lsn for mark in facts.marks)])
    holes = tuple(_holes(facts, thread, runs, starts, end))
    shown = [run for run in runs if run.low_us <= run.high_us]
    window = Window(min(run.low_us for run in shown), max(run.high_us for run in shown), holes) if shown else Window(None, None, holes)
    return Coverage(window, tuple(forks), tuple(thread), tuple(runs), tuple(starts), tuple(astray), end)


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


# --- one history ---


def _on(start: Start, at: dict[int, Span], behind: dict[int, Span], thread: Sequence[Span]) -> bool:
    """The base is a state of the history that counts, as far as its neighbours can tell."""
    before, after = at.get(start.lsn), behind.get(start.lsn)
    if before is not None:
        return (before.chain, before.state, before.last_stamp) == (start.chain, start.state, start.stamp)
    number = bisect_right(thread, start.lsn, key=first_of)
    if number and thread[number - 1].last > start.lsn:
        return False  # no seal there: no base was ever made in the middle of a segment
    if start.lsn == 0 and start.chain != chains.START:
        return False
    # What is in front of it expired: what goes on from it must fit, in time and in rows too.
    return after is None or ((after.chain_before, after.rests) == (start.chain, start.rows()) and after.first_stamp > start.stamp)


def _contradicts(point: Closed, thread: Sequence[Span]) -> Span | None:
    """The segment that a closed point cannot have known: it has another chain value, or content behind the point that the point says cannot be."""
    number = bisect_right(thread, point.last_seal, key=first_of)
    before = thread[number - 1] if number else None
    if before is not None and before.last == point.last_seal and before.chain != point.chain:
        return before
    if number < len(thread) and thread[number].first == point.last_seal + 1 and thread[number].chain_before != point.chain:
        return thread[number]
    for number in range(bisect_right(thread, point.last_content, key=first_of), len(thread)):
        if thread[number].content:
            return thread[number] if thread[number].last_stamp <= point.closed else None
    return None


def _closed(facts: CoverageFacts, thread: Sequence[Span], starts: Sequence[Start]) -> tuple[list[Closed], list[Fork]]:
    """The closed points of the history that counts, and where the others say that there is another."""
    nodes: dict[tuple[int, bytes], None] = {(0, chains.START): None}
    nodes |= {(span.last, span.chain): None for span in thread}
    nodes |= {(span.first - 1, span.chain_before): None for span in thread}
    nodes |= {(start.lsn, start.chain): None for start in starts}
    good: list[Closed] = []
    forks: list[Fork] = []
    for point in facts.closed:
        other = _contradicts(point, thread)
        if other is not None:
            epochs = tuple(sorted({other.epoch, point.epoch}))
            forks.append(Fork(facts.partition, other.first, epochs))
        elif (point.last_seal, point.chain) in nodes:
            good.append(point)
    return good, forks


def _joined(forks: Sequence[Fork]) -> list[Fork]:
    """One for each place, rising."""
    epochs: dict[tuple[str, int], set[int]] = {}
    for fork in forks:
        epochs.setdefault((fork.partition, fork.first_lsn), set()).update(fork.epochs)
    return [Fork(partition, first, tuple(sorted(some))) for (partition, first), some in sorted(epochs.items())]


# --- what it proves ---


def _runs(facts: CoverageFacts, behind: dict[int, Span], starts: Sequence[Start], closed: Sequence[Closed]) -> list[RestorableRun]:
    """One for every start, rising."""
    first = behind.get(0)
    begin = [Start(0, 0, chains.START, b"")] if first is not None and not first.rests and not facts.expired else []
    runs: list[RestorableRun] = []
    known: dict[int, int] = {}
    for start in [*begin, *(one for one in starts if not (begin and one.lsn == 0))]:
        lsn, low = start.lsn, start.stamp
        if start.lsn == 0:
            if first is None or first.chain_before != start.chain:
                continue
            low = first.first_stamp  # before its first record there was no table
        if runs and runs[-1].reach >= lsn and lsn in known:
            reach, top = runs[-1].reach, runs[-1].closed  # it goes on where the last one goes on
        else:
            chain, top = start.chain, 0
            while (span := behind.get(lsn)) is not None and span.chain_before == chain:
                lsn, chain = span.last, span.chain
                known[lsn] = lsn
                top = max(top, span.closed if span.closed <= facts.credible else 0)
            reach = lsn
            points = (point.closed for point in closed if point.last_content <= reach and point.last_seal <= reach)
            top = max([top, *(one for one in points if one <= facts.credible)])
        runs.append(RestorableRun(start, reach, first_micros(low), last_micros(top), top))
    return runs


def _holes(facts: CoverageFacts, thread: Sequence[Span], runs: Sequence[RestorableRun], starts: Sequence[Start], end: int) -> list[Hole]:
    """Absent LSN ranges, each with the moments that they cost. A base inside a range divides it: its own moment can be restored."""
    holes: list[Hole] = []
    bases = sorted({start.lsn for start in starts})
    if facts.gone and end <= facts.expired:
        return []  # all of it was taken away
    rests = facts.expired > 0 or any(span.first == 1 and span.rests for span in thread)
    if rests and facts.expired not in bases and end > 0:
        no_key = dict(facts.unread_bases).get(facts.expired)
        holes.append(_hole(facts.partition, facts.expired, facts.expired, runs)._replace(base=True, no_key=no_key))
    expected = facts.expired + 1
    ranges: list[tuple[int, int]] = []
    for span in thread:
        if span.first > expected:
            ranges.append((expected, span.first - 1))
        expected = max(expected, span.last + 1)
    if expected <= end:
        ranges.append((expected, end))
    for low, high in ranges:
        marks = [lsn for lsn in bases if low <= lsn < high]
        for first, last in zip([low, *(lsn + 1 for lsn in marks)], [*marks, high], strict=True):
            holes.append(_hole(facts.partition, first, last, runs)._replace(no_key=_no_key(facts, first, last)))
    return holes


def _no_key(facts: CoverageFacts, first: int, last: int) -> str | None:
    """What is said of the key under which all of an absent range lies; None: some of it lies nowhere."""
    if untold((first, last), [(low, high) for low, high, _ in facts.unread]) is not None:
        return None
    return next(detail for low, high, detail in facts.unread if low <= first <= high)


def _hole(partition: str, first: int, last: int, runs: Sequence[RestorableRun]) -> Hole:
    """from_us: the last restorable moment in front of it, to_us: the first one behind it."""
    shown = [run for run in runs if run.low_us <= run.high_us]
    low = max((run.high_us for run in shown if run.reach < max(first, 1)), default=None)
    high = min((run.low_us for run in shown if run.start.lsn >= last and run.start.lsn > 0), default=None)
    return Hole(partition, first, last, low, high)


# --- how to get there ---


def path_to(
    facts: CoverageFacts,
    found: Coverage,
    *,
    stamp: int | None = None,
    lsn: int | None = None,
    without: Sequence[Start] = (),
    said: Sequence[tuple[int, int]] = (),
    preview: bool = False,
) -> Path:
    """How to rebuild the partition as of a cut, inclusive: by stamp, or at an LSN. The newest start at or before it, and the segments from there on, up to the
    first whose seal lies at the LSN or behind it, or is closed at the stamp or above: nothing at or before the cut can follow that one.

    Where no seal says so (a table that rests) a closed point must say it, of an LSN that is read. without: bases not to use. said: closed timestamps with their
    LSN from a leader of this very log. preview: the archive need not reach the cut yet. Raises Missing (lsn: the first absent one, last) on a hole in front of the cut, Unavailable if the archive does not reach it.
    """
    assert (stamp is None) != (lsn is None)
    usable = [
        start for start in found.starts if start not in without and (start.stamp <= stamp if stamp is not None else start.lsn <= (lsn or 0))
    ]
    start = max(usable, key=lambda one: one.lsn, default=None)
    floor = start.lsn if start is not None else 0
    if start is None and (facts.expired or any(span.first == 1 and span.rests for span in found.thread)):
        no_key = dict(facts.unread_bases).get(facts.expired)
        raise _missing(
            no_key, "the base that the log rests on is not in the archive", what="base", partition=facts.partition, lsn=facts.expired
        )
    spans: list[Span] = []
    expected = floor + 1
    hole: tuple[int, int] | None = None
    closed = 0
    for span in found.thread:
        if span.last <= floor or (lsn is not None and expected > lsn) or (stamp is not None and closed >= stamp):
            continue
        if span.first > expected:
            hole = (expected, span.first - 1)
            break
        spans.append(span)
        expected = span.last + 1
        closed = max(closed, span.closed if span.closed <= facts.credible else 0)
    if lsn is not None and expected <= lsn:
        raise _absent(facts, hole or (expected, found.end)) if expected <= found.end else _short(facts, expected)
    claims = [(run.closed, run.reach) for run in found.runs if run.reach == expected - 1] + [one for one in said if one[1] < expected]
    if stamp is not None and closed < stamp and not any(claim >= stamp for claim, _ in claims):
        if hole is not None or expected <= found.end:
            raise _absent(facts, hole or (expected, found.end))
        if not preview:
            raise _short(facts, expected)
    if stamp is not None and start is None and not spans and not preview:
        raise Missing("no history at or before the target", what="segment", partition=facts.partition, lsn=1)
    return Path(start, tuple(spans), expected - 1)


def _absent(facts: CoverageFacts, hole: tuple[int, int]) -> Missing:
    no_key = _no_key(facts, hole[0], hole[0])  # of what is read first nobody knows whether it is gone
    return _missing(no_key, "a hole in the archived log", what="segment", partition=facts.partition, lsn=hole[0], last=hole[1])


def _missing(no_key: str | None, message: str, **fields: Any) -> Missing:
    """no_key: what is said of the key that is lacking where nothing else is."""
    return Missing(message, **fields) if no_key is None else Missing(no_key, **fields, kind=NO_KEY)


def _short(facts: CoverageFacts, lsn: int) -> Unavailable:
    return Unavailable("the archive does not reach the target", partition=facts.partition, lsn=lsn)


def untold(gap: tuple[int, int], told: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """What is left of an absent range of LSNs behind the ranges at its beginning that are told of otherwise; None if nothing is."""
    at, last = gap
    for low, high in sorted(told):
        if low <= at <= high:
            at = high + 1
    return (at, last) if at <= last else None


def may_go(found: Coverage, *, keep_from_us: int, upto: int | None = None) -> int:
    """The last LSN up to which the log, and bases below it, may be deleted so that every moment from `keep_from_us` on stays restorable; 0: nothing.

    That is the newest base at or before it from which the log goes on without a hole to its end. With a fork, or a hole behind the base, nothing may go.
    upto: no base above this LSN (nobody has attested more).
    """
    if found.forks:
        return 0
    candidates = [run.start.lsn for run in found.runs if run.start.lsn > 0 and run.low_us <= keep_from_us and run.reach >= found.end]
    return max((lsn for lsn in candidates if upto is None or lsn <= upto), default=0)
