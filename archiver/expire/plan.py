"""What retention may take away: pure, printable. A run does only what a plan made at that very moment says.

Of a partition everything up to one base may go: the newest at or before the oldest moment that somebody still needs, from which the log goes on without a
hole to its end (`archiver.coverage.may_go` says which). What is needed: every moment since `keep_from_us`, what a restore under way reads, what is pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.archiver.coverage import first_micros, may_go
from scrubjay.archiver.expire.locks import LATE_US, LockBook, unlocked_at, unlocked_upto
from scrubjay.archiver.facts import Coverage, Window
from scrubjay.archiver.format.day import day_of
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, ExpiredKey, IndexKey, SegmentKey, build, parse, partition_prefix
from scrubjay.archiver.format.pin import BackupPin
from scrubjay.archiver.read.names import Names
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.read.rows import BaseEntry, Beginning
from scrubjay.base.env import Recalled
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.times import utc_text

DAY_US = 86_400_000_000
KEEP_MIN_US, KEEP_MAX_US = DAY_US, 35 * DAY_US
CLOSED_KEPT = 32
"""Of each node's closed objects so many of the newest stay, however old: twice what a verify reads of a node that went long ago."""

UNPROVEN = Window(None, None, ())

NOTHING: Mapping[str, Recalled] = {}

RESTORE, PIN, PROOF, ARCHIVE, LOCK, CHANGED, HEIR = "restore", "pin", "proof", "archive", "lock", "changed", "heir"
"""What holds something back: a restore under way; a pin; that no base was proven; that not two members have attested; the store refuses to delete;
that things changed while it was looked at; that what it became at a split rests on it."""


class Need(NamedTuple):
    """Somebody needs every moment of a table from at_us on. table: id, None: of every table. by: restore | pin."""

    table: str | None
    at_us: int
    by: str
    name: str


def pin_need(pin: BackupPin) -> Need:
    """Every moment of its table from a backup's on."""
    return Need(pin.table.table_id, pin.at_us, PIN, f"{pin.name} ({pin.id})")


def concerns(need: Need, wanted: Wanted) -> bool:
    """It needs moments of that partition. Behind its end a partition that was split has none: its heirs keep theirs, and what they rest on with them."""
    behind = bool(wanted.heirs) and wanted.dropped_at_us is not None and need.at_us > wanted.dropped_at_us
    return need.table in (None, wanted.table) and not behind


class Held(NamedTuple):
    """Why less goes than age alone allows. until_us: until when, by a lock that was foreseen; objects, bytes: what goes then."""

    by: str
    name: str
    detail: str
    until_us: int | None = None
    objects: int = 0
    bytes: int = 0


class Locks(NamedTuple):
    """What is known of the store's locks, and the time now by the clock on the wall: by it they end."""

    book: LockBook
    now_us: int


class Wanted(NamedTuple):
    """A partition as the cluster knows it. archived: LSN up to which two members attested. keep_us: the table's retention. dropped_at_us: and final_lsn,
    final_stamp, of its last seal, once all of its partitions were archived to their ends. abandoned: it was never anybody's table (a restore that was cancelled),
    so that it has no last seal: whatever lies there goes. heirs: of one that was split the two that go on from its end: it is needed until their own beginnings were taken away, and no moment behind its end
    (dropped_at_us, then) is its."""

    table: str
    table_name: str
    partition: str
    archived: int
    keep_us: int
    dropped_at_us: int | None = None
    final_lsn: int | None = None
    final_stamp: int = 0
    abandoned: bool = False
    heirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartPlan:
    """lsn: up to which the partition goes by this plan, 0: its beginning stays where it is. base: on which the rest will stand, None with whole: nothing is
    to stay. objects: key and size of what goes, in the order in which it must. window: as it is. earliest_us: where it will begin. refused: why nothing of
    it may go although it is old."""

    wanted: Wanted
    keep_from_us: int
    lsn: int = 0
    base: BaseEntry | None = None
    whole: bool = False
    objects: tuple[tuple[str, int], ...] = ()
    held: tuple[Held, ...] = ()
    refused: str | None = None
    window: Window = UNPROVEN
    earliest_us: int | None = None

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.objects)


def plan_partition(
    wanted: Wanted,
    index: PartitionIndex,
    names: Names,
    *,
    now_us: int,
    holds: Sequence[Need] = (),
    over: Mapping[str, Recalled] = NOTHING,
    locks: Locks | None = None,
    found: Coverage | None = None,
) -> PartPlan:
    """What of one partition may go now. names: listed after `index` was read. holds: of any table. over: what stands over objects of it: while it does, what is
    read of them is one rule of the bucket away from being gone, and nothing is taken away that might have to stand in for it. locks: of a store that locks; None:
    nothing is locked. found: the coverage of `index`, worked out here if nobody has. What is locked is needed until its lock ends: nothing is said of it, and nothing tried."""
    plan = _plan_partition(wanted, index, names, found or index.coverage(), now_us=now_us, holds=holds, locks=locks)
    if not over or plan.whole or plan.refused is not None or not (plan.lsn or plan.objects):
        return plan
    name, one = next(iter(over.items()))
    more = f", and {len(over) - 1} more" if len(over) > 1 else ""
    return PartPlan(
        plan.wanted,
        plan.keep_from_us,
        held=plan.held,
        refused=f"{name}: {one.detail}{more}",
        window=plan.window,
        earliest_us=plan.window.earliest_us,
    )


def _plan_partition(
    wanted: Wanted, index: PartitionIndex, names: Names, found: Coverage, *, now_us: int, holds: Sequence[Need], locks: Locks | None
) -> PartPlan:
    keep_from_us = now_us - wanted.keep_us
    mine = [one for one in holds if concerns(one, wanted)]
    if wanted.abandoned:
        # At least 1: a restore's first base is at LSN 0, and of a log that never began nothing else can be said than that all of it went.
        wanted = wanted._replace(final_lsn=max([1, found.end, *(_last_of(name) for name in (*names.log, *names.base))]))
    resting: list[Held] = []
    if wanted.dropped_at_us is not None and wanted.dropped_at_us < keep_from_us:
        resting = _resting(wanted, index)
        if not resting:
            return _plan_dropped(wanted, index, names, found, keep_from_us, mine, locks)
    said = index.beginning.lsn if index.beginning is not None else 0
    begun = index.born.lsn if index.born is not None else 0
    floor = max(said, begun)
    if wanted.archived < said:
        # Either it is not known yet how far this cluster's log was archived, or somebody with another log said so: what lies below may be all there is of ours.
        detail = f"the history is said to begin at LSN {said}; two members have attested the log up to LSN {wanted.archived}"
        held = [Held(ARCHIVE, "", detail)]
        return PartPlan(wanted, keep_from_us, held=tuple(held), window=found.window, earliest_us=found.window.earliest_us)
    by_age = may_go(found, keep_from_us=keep_from_us)
    needed_us = min([keep_from_us, *(one.at_us for one in mine)])
    lsn = may_go(found, keep_from_us=needed_us, upto=wanted.archived)
    held = [*resting, *(_held(wanted, found, mine, by_age) if lsn < by_age and by_age > floor else [])]
    unlocked = lsn
    if locks is not None and lsn > floor:
        upto = unlocked_upto(found, locks.book, _prefix(index), now_us=locks.now_us)
        unlocked = min(lsn, may_go(found, keep_from_us=needed_us, upto=min(wanted.archived, upto)))
        if unlocked < lsn:
            held.append(_locked(index, names, found, Beginning(lsn, 1 << 30, False, None, keep_from_us, None, 0), floor, unlocked, locks))
    refused = None
    if by_age <= floor and any(stamp_micros(Stamp(span.last_stamp)) < keep_from_us for span in found.thread):
        refused = _refusal(index, found)
        if refused is None and by_age in (0, begun):
            detail = f"no verified base at or before {utc_text(keep_from_us)}: a scrub that matches makes one"
            held.append(Held(PROOF, "", detail))
    lsn = unlocked if unlocked > floor else 0
    # Of the history that counts: beside it, at the same LSN, a base of another one may lie.
    base = next((one for one in index.bases if one.lsn == max(lsn, floor) and one.start() in found.starts), None) if lsn or floor else None
    if base is None:
        return PartPlan(wanted, keep_from_us, held=tuple(held), refused=refused, window=found.window, earliest_us=found.window.earliest_us)
    # What an earlier run left over goes as well, unless somebody came to need it before he could see that it is gone.
    begins_us = first_micros(base.stamp)
    needing = [one for one in mine if one.at_us < begins_us]
    held += [Held(one.by, one.name, f"needs {utc_text(one.at_us)}; what is left over below stays") for one in needing if not lsn]
    beginning = Beginning(base.lsn, 1 << 30, False, None, keep_from_us, base.chain, base.epoch)
    objects = () if needing else _going(names, beginning, index.beginning)
    objects, left = _unlocked(objects, locks)
    return PartPlan(
        wanted,
        keep_from_us,
        lsn,
        base,
        False,
        objects,
        (*held, *left),
        refused,
        found.window,
        max(begins_us, found.window.earliest_us or 0),
    )


def _prefix(index: PartitionIndex) -> str:
    return partition_prefix(index.cluster, index.table, index.partition)


def _locked(index: PartitionIndex, names: Names, found: Coverage, beginning: Beginning, floor: int, unlocked: int, locks: Locks) -> Held:
    """What would go up to `beginning`, if the store did not hold what lies above `unlocked`."""
    until_us = unlocked_at(found, locks.book, _prefix(index), beginning.lsn)
    below = Beginning(max(floor, unlocked), 1 << 30, False, None, 0, None, 0)
    some = [size for one in (names.log, names.base) for name, size in one.items() if beginning.took(name) and not below.took(name)]
    return _held_by_lock(until_us, len(some), sum(some))


def _held_by_lock(until_us: int, objects: int, bytes_: int) -> Held:
    until = f"the store keeps {objects} objects, {bytes_} bytes, locked until {utc_text(until_us)}: they go then"
    return Held(LOCK, "", until, until_us, objects, bytes_)


def _unlocked(objects: tuple[tuple[str, int], ...], locks: Locks | None) -> tuple[tuple[tuple[str, int], ...], list[Held]]:
    """Without those of which the store has said that it keeps them for longer."""
    if locks is None:
        return objects, []
    ends = {name: until_us for name, _ in objects if (until_us := locks.book.until(name)) > locks.now_us}
    if not ends:
        return objects, []
    some = [size for name, size in objects if name in ends]
    return tuple(one for one in objects if one[0] not in ends), [_held_by_lock(max(ends.values()), len(some), sum(some))]


def _plan_dropped(
    wanted: Wanted,
    index: PartitionIndex,
    names: Names,
    found: Coverage,
    keep_from_us: int,
    holds: Sequence[Need],
    locks: Locks | None,
) -> PartPlan:
    """The window of a dropped table has ended: all of it goes, whatever it is like."""
    held = [Held(one.by, one.name, f"needs {utc_text(one.at_us)}") for one in holds]
    if wanted.final_lsn is None:
        held.append(Held(ARCHIVE, "", "the end of the dropped table's log is not archived yet"))
    refused = None
    if wanted.final_lsn is not None and found.end > wanted.final_lsn:
        refused = f"the archive holds records up to LSN {found.end} of a log that ended at {wanted.final_lsn}"
    if locks is not None and wanted.final_lsn is not None and not held:
        put_us = max(wanted.dropped_at_us or 0, stamp_micros(Stamp(wanted.final_stamp))) + locks.book.locks_us + LATE_US
        until_us = max(put_us, unlocked_at(found, locks.book, _prefix(index), wanted.final_lsn))
        some = (*names.log.values(), *names.base.values())
        if until_us > locks.now_us and some:
            held.append(_held_by_lock(until_us, len(some), sum(some)))
    if held or refused is not None or wanted.final_lsn is None:
        return PartPlan(wanted, keep_from_us, held=tuple(held), refused=refused, window=found.window, earliest_us=found.window.earliest_us)
    beginning = Beginning(wanted.final_lsn, 1 << 30, True, None, keep_from_us, None, 0)
    said = index.beginning is not None and index.beginning.whole and index.beginning.lsn >= wanted.final_lsn
    if wanted.abandoned and not names.log and not names.base:
        said = True  # nothing was put there, or nothing is left: there is nothing to be said
    objects = _going(names, beginning, index.beginning)
    return PartPlan(wanted, keep_from_us, 0 if said else wanted.final_lsn, None, True, objects, window=found.window)


def _resting(wanted: Wanted, index: PartitionIndex) -> list[Held]:
    """Those that a partition became at a split, as long as their logs begin where its own ends: until they have a base of their own that was proven, and what lies in front of that was said to be gone."""
    held = []
    for heir in wanted.heirs:
        one = index.kin.get((wanted.table, heir))
        begins = None if one is None or one.beginning is None else one.beginning
        if begins is None or begins.lsn < (wanted.final_lsn or 0) + int(not begins.whole):
            held.append(
                Held(HEIR, heir, f"partition {heir} goes on from its end, and has no proven base of its own yet in front of what must stay")
            )
    return held


def _last_of(name: str) -> int:
    """The last LSN that an object of a partition is about."""
    key = parse(name)
    return key.last if isinstance(key, SegmentKey) else key.lsn if isinstance(key, BaseKey) else 0


def _held(wanted: Wanted, found: Coverage, holds: Sequence[Need], by_age: int) -> list[Held]:
    """What keeps the partition from going as far as its age allows."""
    held = [Held(one.by, one.name, f"needs {utc_text(one.at_us)}") for one in holds if may_go(found, keep_from_us=one.at_us) < by_age]
    if wanted.archived < by_age:
        held.append(Held(ARCHIVE, "", f"two members have attested the log up to LSN {wanted.archived}, the base is at {by_age}"))
    return held


def _refusal(index: PartitionIndex, found: Coverage) -> str | None:
    """Why old history must stay: without it, or behind it, something inside the window could not be restored."""
    if found.forks:
        return f"two histories from LSN {found.forks[0].first_lsn} on"
    for hole in found.window.holes:
        if hole.no_key is not None:
            where = f"the base at LSN {hole.first_lsn}" if hole.base else f"records {hole.first_lsn} to {hole.last_lsn}"
            return f"{where} cannot be read: {hole.no_key}"
        return (
            f"the base at LSN {hole.first_lsn} is gone"
            if hole.base
            else f"records {hole.first_lsn} to {hole.last_lsn} are not in the archive"
        )
    for problem in index.problems:
        if isinstance(parse(problem.object), BaseKey):
            return f"a base cannot be used: {problem.object}: {problem.detail}"
    return None


def _going(names: Names, beginning: Beginning, said: Beginning | None) -> tuple[tuple[str, int], ...]:
    """Manifests first, so that no manifest is ever there whose rows or records are gone; then these; then older words about what went. `said` itself stays
    as long as it is the last word."""
    manifests: list[tuple[str, int]] = []
    bodies: list[tuple[str, int]] = []
    for name, size in (*names.base.items(), *names.log.items()):
        if beginning.took(name):
            key = parse(name)
            first = key.manifest if isinstance(key, SegmentKey) else isinstance(key, BaseKey) and key.part is None
            (manifests if first else bodies).append((name, size))
    older = [
        (name, size)
        for name, size in names.expired.items()
        if said is not None and isinstance(key := parse(name), ExpiredKey) and (key.lsn, key.generation) < (said.lsn, said.generation)
    ]
    return (*manifests, *bodies, *older)


def plan_index(listed: Mapping[str, int], *, keep_from_us: int, now_us: int) -> tuple[tuple[str, int], ...]:
    """Objects of the daily index that may go if what should be there was told again since: of days older than every window, and of days that are not yet (a clock
    ran ahead: they would stay for ever)."""
    until, tomorrow = day_of(max(0, keep_from_us)), day_of(now_us + DAY_US)
    return tuple(
        (name, size)
        for name, size in listed.items()
        if isinstance(key := parse(name), IndexKey) and (key.day < until or key.day > tomorrow)
    )


def plan_closed(listed: Mapping[str, int], *, keep_from_us: int, now_us: int) -> tuple[tuple[str, int], ...]:
    """Closed objects that may go: older than every window, and not among the newest of their node. What they say the later ones say too, of every partition
    that has had a leader since. listed: all closed objects, or all of each node up to some time and its newest."""
    by_node: dict[str, list[ClosedKey]] = {}
    for name in listed:
        key = parse(name)
        # What claims to be of later than now stands for nothing: it is no newest one.
        if isinstance(key, ClosedKey) and key.time_us <= now_us:
            by_node.setdefault(key.node, []).append(key)
    old = [
        key for some in by_node.values() for key in sorted(some, key=lambda one: one.time_us)[:-CLOSED_KEPT] if key.time_us < keep_from_us
    ]
    return tuple((build(key), listed[build(key)]) for key in old)
