"""Locks of the store, as retention sees them: until when they hold as far as is known without asking, what must be locked for longer, and what cannot go yet.

What is put stays locked for as long as the store was told to (`ObjectStore.locks_us`), and nothing is put before the last record in it was stamped: by its LSN
alone it is known of almost every object that its lock holds. Asked for are only those that are needed for longer than that: a base below the window and the log
behind it, what a backup needs, what lies in a window that was lengthened; and, until one run has looked at everything, what was put before the lock was
configured. What the store answered is remembered by ranges, for this process' life.

Pure, but for what it remembers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from scrubjay.archiver.coverage import may_go
from scrubjay.archiver.facts import Coverage, Span
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, EpochKey, ExpiredKey, FormerKey, SegmentKey, parse
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.rows import Beginning
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp

AHEAD_US = 3 * 86_400_000_000
"""A lock that ends within this is extended, if its object is needed for longer: so many nights may be missed. No more than half of what the store locks for."""
LATE_US = 3_600_000_000
"""So long after its last record was stamped an object may be put, for all that is foreseen of when its lock ends: what is put later is tried once, and learned."""
NEAR_US = 3_600_000_000
"""Ends of locks that lie so close together are remembered as one, the earlier."""
RANGES_MAX = 4_096
"""Of one group. Those beyond are not remembered, and asked for again."""
FOREVER = 1 << 62


class LockRange(NamedTuple):
    """Objects at places [lo, hi] were found locked until then, at least."""

    lo: int
    hi: int
    until_us: int


class LockRanges:
    """Of one group, by place, rising; none overlaps another."""

    def __init__(self) -> None:
        self._ranges: list[LockRange] = []

    def note(self, lo: int, hi: int, until_us: int) -> None:
        """What is newer counts."""
        ranges = self._ranges
        first = bisect_left(ranges, lo, key=lambda one: one.hi)
        last = bisect_right(ranges, hi, key=lambda one: one.lo)
        parts = [LockRange(lo, hi, until_us)]
        for one in ranges[first:last]:
            if one.lo < lo:
                parts.insert(0, one._replace(hi=lo - 1))
            if one.hi > hi:
                parts.append(one._replace(lo=hi + 1))
        if len(ranges) + len(parts) - (last - first) <= RANGES_MAX:
            ranges[first:last] = parts

    def until(self, place: int) -> int:
        """0: not known."""
        at = bisect_left(self._ranges, place, key=lambda one: one.hi)
        return self._ranges[at].until_us if at < len(self._ranges) and self._ranges[at].lo <= place else 0

    def first_held(self, now_us: int) -> int | None:
        """The lowest place that is still locked."""
        return next((one.lo for one in self._ranges if one.until_us > now_us), None)

    def last_end(self, upto: int) -> int:
        """When the last lock at a place up to there ends; 0: none is known."""
        return max((one.until_us for one in self._ranges if one.lo <= upto), default=0)

    def forget(self, now_us: int) -> None:
        self._ranges = [one for one in self._ranges if one.until_us > now_us]


class LockBook:
    """What a process knows of the locks of one archive. locks_us: see `ObjectStore.locks_us`, 0: nothing is ever locked. since_us: what was put since then is locked from
    when it was put; None: of nothing is that known."""

    def __init__(self, locks_us: int, *, since_us: int | None = None) -> None:
        self.locks_us, self.since_us = locks_us, since_us
        self._groups: dict[str, LockRanges] = {}

    @property
    def ahead_us(self) -> int:
        return min(AHEAD_US, self.locks_us // 2)

    def of(self, group: str) -> LockRanges:
        """group: a folder of the archive, or the name of what is alone in none."""
        return self._groups.setdefault(group, LockRanges())

    def until(self, name: str) -> int:
        """When the lock of an object ends, as far as the store was asked; 0: not known."""
        group, place = place_of(name)
        found = self._groups.get(group)
        return 0 if found is None else found.until(place)

    def note(self, name: str, until_us: int) -> None:
        group, place = place_of(name)
        self.of(group).note(place, place, until_us)

    def learn(self, found: Sequence[Extend | None]) -> None:
        """What the store said of objects in their order, None: nothing. Neighbours whose locks end near each other become one range."""
        at: tuple[str, int, int, int] | None = None
        for one in (*found, None):
            group, place = place_of(one.name) if one is not None else ("", 0)
            if (
                one is not None
                and at is not None
                and one.joined
                and group == at[0]
                and place >= at[1]
                and abs(one.until_us - at[3]) <= NEAR_US
            ):
                at = (group, at[1], max(place, at[2]), min(one.until_us, at[3]))
                continue
            if at is not None:
                self.of(at[0]).note(*at[1:])
            at = None if one is None else (group, place, place, one.until_us)

    def forget(self, now_us: int) -> None:
        """What has ended by now."""
        for group in list(self._groups):
            self._groups[group].forget(now_us)
            if self._groups[group].first_held(now_us) is None:
                del self._groups[group]


def place_of(name: str) -> tuple[str, int]:
    """The group of an object, and its place in it: of a segment its last LSN, of a base and of a word about what expired its LSN,
    of a closed object its time."""
    key = parse(name)
    if isinstance(key, SegmentKey):
        return name[: name.rindex("/")], key.last
    if isinstance(key, BaseKey):
        return name[: name.index("/base/") + 5], key.lsn
    if isinstance(key, ExpiredKey):
        return name[: name.rindex("/")], key.lsn
    if isinstance(key, ClosedKey):
        return name[: name.rindex("/")], key.time_us
    if isinstance(key, EpochKey | FormerKey):
        return name[: name.rindex("/")], key.number
    return name, 0


# --- when an object is needed no more ---


class NeededUntil(NamedTuple):
    """Of one partition. bases: LSNs, rising, from which the log goes on; from free_us on, of the same number, nothing below that base is needed. pinned: what lies above
    that LSN a backup needs, None: none does. all_us: all of it goes then, None: it is no dropped table's."""

    bases: tuple[int, ...]
    free_us: tuple[int, ...]
    pinned: int | None = None
    all_us: int | None = None

    def of(self, key: SegmentKey | BaseKey) -> int:
        """FOREVER: nobody knows yet."""
        if self.pinned is not None and (key.last > self.pinned if isinstance(key, SegmentKey) else key.lsn >= self.pinned):
            return FOREVER
        if self.all_us is not None:
            return self.all_us
        at = bisect_left(self.bases, key.last) if isinstance(key, SegmentKey) else bisect_right(self.bases, key.lsn)
        return self.free_us[at] if at < len(self.bases) else FOREVER


def needed_until(
    found: Coverage, *, keep_us: int, archived: int, pins: Sequence[int] = (), dropped_at_us: int | None = None
) -> NeededUntil:
    """By the same rule as retention: what lies below a base goes once every moment in front of that base has outlived the window. pins: moments, in microseconds, from which on
    everything is kept by name. With a fork nothing goes (`may_go`)."""
    pinned = min([may_go(found, keep_from_us=at_us, upto=archived) for at_us in pins], default=None)
    if dropped_at_us is not None:
        return NeededUntil((), (), pinned, dropped_at_us + keep_us)
    runs = [run for run in found.runs if 0 < run.start.lsn <= archived and run.reach >= found.end and not found.forks]
    return NeededUntil(tuple(run.start.lsn for run in runs), tuple(run.low_us + keep_us for run in runs), pinned)


def last_at(thread: Sequence[Span], at_us: int) -> int:
    """The last LSN of a segment whose records are all of then or earlier; 0: none."""
    number = bisect_right(thread, at_us, key=lambda span: stamp_micros(Stamp(span.last_stamp)))
    return thread[number - 1].last if number else 0


def first_behind(thread: Sequence[Span], at_us: int) -> int:
    """From that LSN on everything is of later than then, also what lies in no segment of the history that counts."""
    number = bisect_right(thread, at_us, key=lambda span: stamp_micros(Stamp(span.last_stamp)))
    return thread[number].first if number < len(thread) else FOREVER


# --- what must be locked for longer ---


class Extend(NamedTuple):
    """An object that is to be locked until then at least. joined: nothing that stays lies between it and the one before and was left out."""

    name: str
    until_us: int
    joined: bool = False


def to_extend(
    names: Names,
    going: Callable[[str], bool],
    found: Coverage,
    needed: NeededUntil,
    beginning: Beginning | None,
    book: LockBook,
    *,
    now_us: int,
) -> Iterator[Extend]:
    """Objects of one partition that are needed for longer than they are known to be locked, if that ends soon; rising. going: what leaves the archive now. Of what is
    known of when it goes no more is locked than until then; of the rest as if it were put now."""
    if not book.locks_us:
        return
    most_us = now_us + book.locks_us
    known_from = FOREVER if book.since_us is None else first_behind(found.thread, book.since_us)
    due: dict[int, int] = {}
    """By when an object is needed until: from which LSN on its lock, from when it was put, holds until then, or for long."""
    due_us = now_us + book.ahead_us
    behind_all = due[due_us] = max(known_from, first_behind(found.thread, due_us - book.locks_us))
    joined = False
    for name in chain(names.base, names.log):
        key = parse(name)
        if isinstance(key, SegmentKey) and key.first >= behind_all:
            break  # names of the log rise: usually next to none were looked at
        if not isinstance(key, SegmentKey | BaseKey) or (beginning is not None and beginning.took(name)):
            continue
        place = key.last if isinstance(key, SegmentKey) else key.lsn
        end_us = needed.of(key)
        least_us = min(end_us, due_us)
        if least_us <= now_us or going(name):
            continue
        if least_us not in due:
            due[least_us] = max(known_from, first_behind(found.thread, least_us - book.locks_us))
        if place >= due[least_us] or book.until(name) >= least_us:
            joined = False
            continue
        yield Extend(name, min(end_us, most_us), joined)
        joined = True
    if beginning is not None:
        for name in names.expired:
            key = parse(name)
            last_word = isinstance(key, ExpiredKey) and (key.lsn, key.generation) >= (beginning.lsn, beginning.generation)
            if last_word and book.until(name) < due_us:
                yield Extend(name, most_us)


# --- what cannot go yet ---


def unlocked_upto(found: Coverage, book: LockBook, prefix: str, *, now_us: int) -> int:
    """The LSN up to which nothing of a partition is locked any more, as far as is known. prefix: of the partition."""
    upto = last_at(found.thread, now_us - book.locks_us - LATE_US)
    log, base = (book.of(f"{prefix}{folder}").first_held(now_us) for folder in ("log", "base"))
    # A base stays where it is the one on which the rest stands.
    return min([upto, *([log - 1] if log is not None else []), *([base] if base is not None else [])])


def unlocked_at(found: Coverage, book: LockBook, prefix: str, upto: int) -> int:
    """When that will be so of everything up to an LSN."""
    at = bisect_right(found.thread, upto, key=lambda span: span.last)
    put_us = stamp_micros(Stamp(found.thread[at - 1].last_stamp)) + book.locks_us + LATE_US if at else 0
    return max(put_us, book.of(f"{prefix}log").last_end(upto), book.of(f"{prefix}base").last_end(upto - 1))
