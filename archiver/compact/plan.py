"""Which segments become one pack, and which objects a pack has taken the place of: pure, printable, `now` is an argument. A run does only what a plan made at that moment says.

A table that trickles seals a segment every few minutes, whatever it holds, and each costs two objects for as long as the window is. What a UTC day sealed becomes one pack once the
day is over; segments that are large anyway stay as they are. Whatever cannot be told apart from damage stays as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.archiver.expire.locks import LATE_US
from scrubjay.archiver.expire.plan import DAY_US, NOTHING, Held, Locks
from scrubjay.archiver.facts import Coverage
from scrubjay.archiver.format.day import day_of
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import PARTS_MAX
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.replaced import Replaced, replaced_by_packs
from scrubjay.archiver.read.rows import SegmentRow
from scrubjay.base.env import Recalled
from scrubjay.base.errors import HOLE
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.times import utc_text

SETTLED_US = 6 * 3_600_000_000
"""A day must be over for so long: what was sealed in it is archived, attested, and has been read by a night."""
NARROW_BYTES = 1 << 20
"""Raw bytes from which on a segment is no narrow one."""
PACK_BYTES = 8 << 20
"""Raw bytes of a pack, at most: as a segment."""
LEAST = 4
"""So few segments are not worth a pack."""

LOCK, LEFT = "lock", "left"
"""Why nothing is packed, or what was packed stays: the store locks what is put, for so long that the parts would stay beside their pack for most of their time; or parts of an
earlier pack cannot be deleted."""


class PackedPlace(NamedTuple):
    """A partition as the cluster knows it. archived: LSN up to which two members attested. keep_us: the table's retention."""

    table: str
    table_name: str
    partition: str
    archived: int
    keep_us: int


class Nameless(NamedTuple):
    """A pack whose manifest is gone (bad None) or bad, and why: it is read by what the pack says of itself."""

    pack: SegmentKey
    bad: str | None


@dataclass(frozen=True, slots=True)
class PackPlan:
    """runs: of each pack to be made its segments, rising. replaced: what is left of the parts of packs, and may go. nameless: packs that need a manifest. refused: why nothing
    may be done although there is something. held: what is not done now, and why. packable: segments that are not packed for it."""

    place: PackedPlace
    runs: tuple[tuple[SegmentRow, ...], ...] = ()
    replaced: tuple[Replaced, ...] = ()
    nameless: tuple[Nameless, ...] = ()
    refused: str | None = None
    held: Held | None = None
    packable: int = 0

    @property
    def segments(self) -> int:
        return sum(len(run) for run in self.runs)

    @property
    def raw_bytes(self) -> int:
        return sum(row.raw for run in self.runs for row in run)

    @property
    def saved(self) -> int:
        """Objects fewer, once it is done."""
        return 2 * (self.segments - len(self.runs)) + sum(len(one.objects) for one in self.replaced)


def plan_packs(
    place: PackedPlace,
    index: PartitionIndex,
    names: Names,
    *,
    now_us: int,
    locks: Locks | None = None,
    over: Mapping[str, Recalled] = NOTHING,
) -> PackPlan:
    """What of one partition is to be packed now. names: listed after `index` was read. locks: of a store that locks what is put; None: nothing is locked.
    over: what stands over objects of the partition."""
    found = index.coverage()
    rows = index.rows_of(found.thread)
    runs = tuple(_runs(place, index, names, rows, now_us))
    replaced = tuple(replaced_by_packs(index, names, rows))
    nameless = tuple(_nameless(index, names, rows))
    if not runs and not replaced and not nameless:
        return PackPlan(place)
    if (why := _refusal(found, over)) is not None:
        return PackPlan(place, refused=why, packable=sum(map(len, runs)))
    if locks is None:
        return PackPlan(place, runs, replaced, nameless)
    replaced, held = _unlocked(replaced, rows, locks)
    if runs and 2 * locks.book.locks_us > place.keep_us:
        days, keep = locks.book.locks_us / DAY_US, place.keep_us / DAY_US
        why = f"the store locks what is put for {days:g} days, and it is kept for {keep:g}: parts would lie beside their pack for most of that"
        return PackPlan(place, (), replaced, nameless, held=Held(LOCK, "", why), packable=sum(map(len, runs)))
    return PackPlan(place, runs, replaced, nameless, held=held)


def _unlocked(replaced: Sequence[Replaced], rows: Sequence[SegmentRow], locks: Locks) -> tuple[tuple[Replaced, ...], Held | None]:
    """Without what is still locked, as far as is known; and until when that is, what there is of it."""
    stamps = {(row.first, row.last, row.sha16): row.last_stamp for row in rows}
    book, free, kept, until_us = locks.book, list[Replaced](), list[int](), 0
    for one in replaced:
        may_go = []
        for name, size in one.objects:
            key = parse(name)
            assert isinstance(key, SegmentKey)
            stamped_us = stamp_micros(Stamp(stamps[key.first, key.last, key.sha16]))
            known = book.since_us is not None and stamped_us >= book.since_us
            ends_us = max(book.until(name), stamped_us + book.locks_us + LATE_US if known else 0)
            if ends_us > locks.now_us:
                kept.append(size)
                until_us = max(until_us, ends_us)
            else:
                may_go.append((name, size))
        if may_go:
            free.append(one._replace(objects=tuple(may_go)))
    if not kept:
        return tuple(free), None
    why = f"the store keeps {len(kept)} objects, {sum(kept)} bytes, beside their packs, locked until {utc_text(until_us)}: they go then"
    return tuple(free), Held(LOCK, "", why, until_us, len(kept), sum(kept))


def _nameless(index: PartitionIndex, names: Names, rows: Sequence[SegmentRow]) -> Iterator[Nameless]:
    """Packs that are read by what they say of themselves."""
    bad = {one.object: one.detail for one in index.problems if one.kind != HOLE}
    for pack in dict.fromkeys(row.key(index.cluster, index.table, index.partition) for row in rows if row.pack is not None):
        told = build(pack.twin())
        if told not in names.log or told in bad:
            yield Nameless(pack, bad.get(told) if told in names.log else None)


def _refusal(found: Coverage, over: Mapping[str, Recalled]) -> str | None:
    if found.forks:
        return f"two histories from LSN {found.forks[0].first_lsn} on"
    for name, one in over.items():
        return f"{name}: {one.detail}"
    return None


def _runs(
    place: PackedPlace, index: PartitionIndex, names: Names, rows: Sequence[SegmentRow], now_us: int
) -> Iterator[tuple[SegmentRow, ...]]:
    """Narrow segments of one day, one behind the other, none across a base or a beginning."""
    generations: dict[tuple[int, int], int] = {}
    for key in map(parse, names.log):
        if isinstance(key, SegmentKey) and not key.manifest:
            generations[key.first, key.last] = generations.get((key.first, key.last), 0) + 1
    edges = {base.lsn for base in index.bases} | {lsn for lsn, _ in index.given_up}
    edges |= {index.beginning.lsn} if index.beginning is not None else set()
    run: list[SegmentRow] = []
    for row in rows[:-1]:  # the newest one says where the log ends to whoever compares it with a log
        alone = generations.get((row.first, row.last), 0) == 1  # else others are evidence of what was bad
        narrow = row.pack is None and alone and row.raw < NARROW_BYTES and row.last <= place.archived and _settled(row, now_us)
        if run and not (narrow and _goes_on(run, row) and run[-1].last not in edges):
            if len(run) >= LEAST:
                yield tuple(run)
            run = []
        if narrow:
            run.append(row)
    if len(run) >= LEAST:
        yield tuple(run)


def _goes_on(run: Sequence[SegmentRow], row: SegmentRow) -> bool:
    before = run[-1]
    follows = (before.last + 1, before.chain) == (row.first, row.chain_before)
    fits = sum(one.raw for one in run) + row.raw <= PACK_BYTES and len(run) < PARTS_MAX
    return follows and fits and _day(before) == _day(row)


def _day(row: SegmentRow) -> str:
    return day_of(stamp_micros(Stamp(row.last_stamp)))


def _settled(row: SegmentRow, now_us: int) -> bool:
    return _day(row) < day_of(now_us - SETTLED_US)
