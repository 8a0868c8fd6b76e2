"""Which segments become one pack, and which objects a pack has taken the place of: pure, printable, `now` is an argument. A run does only what a plan made at that moment says.

A table that trickles seals a segment every few minutes, whatever it holds, and each costs two objects for as long as the window is. What a UTC day sealed becomes one pack once the
day is over; segments that are large anyway stay as they are. Whatever cannot be told apart from damage stays as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.archiver.expire.plan import NOTHING
from scrubjay.archiver.facts import Coverage
from scrubjay.archiver.format.day import day_of
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import PARTS_MAX
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import SegmentRow
from scrubjay.base.env import Recalled
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp

SETTLED_US = 6 * 3_600_000_000
"""A day must be over for so long: what was sealed in it is archived, attested, and has been read by a night."""
NARROW_BYTES = 1 << 20
"""Raw bytes from which on a segment is no narrow one."""
PACK_BYTES = 8 << 20
"""Raw bytes of a pack, at most: as a segment."""
LEAST = 4
"""So few segments are not worth a pack."""

LOCK, LEFT = "lock", "left"
"""Why nothing is packed: the store locks what is put, so that the parts would stay beside their pack; or parts of an earlier pack cannot be deleted."""


class PackedPlace(NamedTuple):
    """A partition as the cluster knows it. archived: LSN up to which two members attested."""

    table: str
    table_name: str
    partition: str
    archived: int


class Replaced(NamedTuple):
    """A pack that is there, and objects that it took the place of and that still lie there: key and size, manifests first."""

    pack: SegmentKey
    objects: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PackPlan:
    """runs: of each pack to be made its segments, rising. replaced: what is left of the parts of packs. refused: why nothing may be done although there is something.
    held: why it is not done now."""

    place: PackedPlace
    runs: tuple[tuple[SegmentRow, ...], ...] = ()
    replaced: tuple[Replaced, ...] = ()
    refused: str | None = None
    held: tuple[str, str] | None = None

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
    place: PackedPlace, index: PartitionIndex, names: Names, *, now_us: int, locked: bool = False, over: Mapping[str, Recalled] = NOTHING
) -> PackPlan:
    """What of one partition is to be packed now. names: listed after `index` was read. locked: the store locks what is put. over: what stands over objects of the partition."""
    found = index.coverage()
    rows = index.rows_of(found.thread)
    runs = tuple(_runs(place, index, names, rows, now_us))
    replaced = tuple(_replaced(index, names, rows))
    if not runs and not replaced:
        return PackPlan(place)
    if (why := _refusal(found, over)) is not None:
        return PackPlan(place, refused=why)
    if locked:
        return PackPlan(
            place, replaced=replaced, held=(LOCK, "the store locks what is put: the parts could not be deleted beside their pack")
        )
    return PackPlan(place, runs, replaced)


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


def _replaced(index: PartitionIndex, names: Names, rows: Sequence[SegmentRow]) -> Iterator[Replaced]:
    """Objects of their own of segments that count in a pack with a manifest. What says something else of the same records is no such object: it stays."""
    packs: dict[tuple[int, int, str], SegmentKey] = {}
    for row in rows:
        if row.pack is not None:
            packs[row.first, row.last, row.sha16] = row.key(index.cluster, index.table, index.partition)
    own = {row[:4]: row.chain for row in index.rows if row.pack is None}
    counts = {(row.first, row.last, row.sha16): row.chain for row in rows}
    found: dict[SegmentKey, list[tuple[str, int]]] = {}
    for name, size in names.log.items():
        key = parse(name)
        if not isinstance(key, SegmentKey) or (pack := packs.get((key.first, key.last, key.sha16))) is None:
            continue
        ident = (key.first, key.last, key.sha16)
        if build(pack.twin()) in names.log and own.get(key[3:7], counts[ident]) == counts[ident]:
            found.setdefault(pack, []).append((name, size))
    for pack, objects in found.items():
        yield Replaced(pack, tuple(sorted(objects, key=lambda one: (not one[0].endswith(".json"), one[0]))))
