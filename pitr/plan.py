"""The restore plan: which base and which segments rebuild every partition as of the target, what that reads, and how long it will take. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scrubjay.archiver.coverage import coverage, path_to
from scrubjay.archiver.facts import CoverageFacts, Fork, Span, Start
from scrubjay.archiver.format.layout import BaseKey, parse
from scrubjay.archiver.read.inherited import Inheritance
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.pitr.rates import Rates, predict
from scrubjay.storage.catalogue import TableMeta

FORKED = "Forked"
"""Code of an answer that is whole, and of one of two histories."""
FOR_GOOD = Stamp((1 << 63) - 1)
"""Closed timestamp of a log that takes nothing more."""


class PlannedSegment(NamedTuple):
    """One archived segment, as its manifest says. stored, raw: bytes. object: key of the object that holds it: a pack holds several."""

    span: Span
    stored: int
    raw: int
    object: str

    @property
    def first(self) -> Lsn:
        return Lsn(self.span.first)

    @property
    def last(self) -> Lsn:
        return Lsn(self.span.last)

    @property
    def first_stamp(self) -> Stamp:
        return Stamp(self.span.first_stamp)

    @property
    def last_stamp(self) -> Stamp:
        return Stamp(self.span.last_stamp)

    @property
    def closed(self) -> Stamp:
        """Closed timestamp of its seal (0: none)."""
        return Stamp(self.span.closed)

    @property
    def chain(self) -> bytes:
        """The chain value behind it."""
        return self.span.chain


class BaseFacts(NamedTuple):
    """One verified base snapshot. objects: how many it consists of. rows, stored, raw: of all. made: it is no base of the archive, but what a child of a split inherits, made of its parent's
    (object is "" then)."""

    start: Start
    stored: int
    raw: int
    rows: int
    objects: int
    object: str
    made: Inheritance | None = None

    @property
    def asked(self) -> str | dict[str, Any]:
        """As a job is told."""
        return self.object if self.made is None else self.made.argument()

    @property
    def bases(self) -> list[str]:
        """Keys of the base manifests that are read for it."""
        return [self.object] if self.made is None else [name for name in self.made.objects() if isinstance(parse(name), BaseKey)]

    @property
    def lsn(self) -> Lsn:
        """The state after this record."""
        return Lsn(self.start.lsn)

    @property
    def stamp(self) -> Stamp:
        """Of the record at `lsn`."""
        return Stamp(self.start.stamp)


class PartitionHistory(NamedTuple):
    """What the archive holds of one partition. segments: those of the history that counts, rising. bases: those to begin with. lo, hi: its range as of the target.

    closed: (closed timestamp, LSN) known from somebody who is trusted, a leader: no content above that LSN carries, or will carry, a stamp at or below it.
    facts: what the archive itself says, of these segments and bases: `archiver.coverage` decides by it.
    """

    partition: PartitionId
    lo: str
    hi: str
    bases: tuple[BaseFacts, ...]
    segments: tuple[PlannedSegment, ...]
    closed: tuple[tuple[Stamp, Lsn], ...]
    facts: CoverageFacts


class PartitionPlan(NamedTuple):
    """base: None if the log is read from LSN 1. forks: where the log of what is read has two histories; it is the one that counts that is read. bytes: stored bytes to fetch. from_lsn..to_lsn: what is read, both inclusive; to_lsn is the seal
    closed at or after the cut, or the last there is (from_lsn > to_lsn: the base alone)."""

    partition: PartitionId
    base: BaseFacts | None
    segments: tuple[PlannedSegment, ...]
    bytes: int
    raw: int
    requests: int
    from_lsn: Lsn
    to_lsn: Lsn
    forks: tuple[Fork, ...] = ()

    @property
    def raw_base(self) -> int:
        """Of `raw` what is of the base: stored bytes."""
        return 0 if self.base is None else self.base.raw

    @property
    def raw_log(self) -> int:
        return self.raw - self.raw_base

    def objects(self) -> list[str]:
        """Keys of the objects that hold the segments, each once, rising."""
        return distinct(self.segments)

    @property
    def base_lsn(self) -> Lsn:
        return self.base.lsn if self.base is not None else Lsn(0)

    def as_json(self) -> dict[str, Any]:
        return {
            "partition": self.partition,
            "base_lsn": self.base_lsn,
            "segments": len(self.segments),
            "bytes": self.bytes,
            "requests": self.requests,
            "from_lsn": self.from_lsn,
            "to_lsn": self.to_lsn,
        }


def nothing_of(partition: PartitionId) -> PartitionPlan:
    """The plan of a partition of which nothing is wanted: nothing is read, and no rows come out."""
    return PartitionPlan(partition, None, (), 0, 0, 0, Lsn(1), Lsn(0))


def distinct(some: Iterable[PlannedSegment | BaseFacts]) -> list[str]:
    """Object keys, each once, in their order."""
    return list(dict.fromkeys(one.object for one in some))


@dataclass(frozen=True, slots=True)
class Plan:
    """at_us: inclusive. predicted_seconds: by `rates`, with `workers` partitions at a time."""

    at_us: int
    cut: Stamp
    partitions: tuple[PartitionPlan, ...]
    bytes: int
    requests: int
    predicted_seconds: float
    rates: Rates
    workers: int

    @property
    def forks(self) -> list[dict[str, Any]]:
        """As they are printed."""
        return [fork_json(fork) for part in self.partitions for fork in part.forks]


def fork_json(fork: Fork) -> dict[str, Any]:
    return {"partition": fork.partition, "first_lsn": fork.first_lsn, "epochs": list(fork.epochs)}


def forked_error(forks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The `error` of an answer that has all it asked for, of a log that has two histories. forks: as `fork_json` has them."""
    shown = "; ".join(f"partition {one['partition']} from LSN {one['first_lsn']} on, epochs {one['epochs']}" for one in forks[:3])
    return {
        "code": FORKED,
        "message": "two processes wrote different histories of the same records; what comes back is that of the later owner",
        "asked": "one history",
        "found": shown,
        "next": "runbooks/archive-fenced.md says how it comes about; what only the other history holds is in this archive, and in nothing that was made of it",
    }


def plan_partition(history: PartitionHistory, cut: Stamp, *, preview: bool = False) -> PartitionPlan:
    """The newest base at or before the cut, and every segment above it up to the first whose seal is closed at or after the cut.

    That seal says that nothing at or before the cut can follow it, and the rebuild is checked against the digest agreed there. Where no seal says so (a table
    that rests), everything there is is read, and a closed timestamp from `closed/` or a leader must say it, of an LSN that was read.
    preview: the archive need not reach the cut yet (the leaders will be asked to seal first).
    Raises Missing (lsn: the first absent one) on a hole between the base and the cut, Unavailable if the archive does not reach the cut.
    """
    usable = dict.fromkeys(base.start for base in history.bases)
    without = [start for start in history.facts.starts if start not in usable]
    known = coverage(history.facts)
    path = path_to(history.facts, known, stamp=cut, without=without, said=history.closed, preview=preview)
    segments = {segment.span: segment for segment in history.segments}
    chosen = [segments[span] for span in path.spans]
    base = next((one for one in history.bases if one.start == path.start), None)
    floor, expected = base.lsn if base is not None else 0, path.reach + 1
    stored = sum(segment.stored for segment in chosen) + (base.stored if base is not None else 0)
    raw = sum(segment.raw for segment in chosen) + (base.raw if base is not None else 0)
    requests = 2 * len(distinct(chosen)) + (base.objects if base is not None else 0)
    forks = tuple(fork for fork in known.forks if fork.first_lsn < expected)
    return PartitionPlan(history.partition, base, tuple(chosen), stored, raw, requests, Lsn(floor + 1), Lsn(expected - 1), forks)


def plan_table(
    histories: Sequence[PartitionHistory],
    *,
    at_us: int,
    cut: Stamp,
    rates: Rates,
    workers: int,
    preview: bool = False,
    unread: Collection[PartitionId] = (),
) -> Plan:
    """The plan of a whole table. workers: partitions rebuilt at once. unread: partitions of which nothing is wanted. Raises Missing, Unavailable."""
    parts = tuple(
        nothing_of(history.partition) if history.partition in unread else plan_partition(history, cut, preview=preview)
        for history in sorted(histories, key=lambda one: one.lo)
    )
    seconds = predict([part.raw for part in parts], rates, workers=workers)
    return Plan(at_us, cut, parts, sum(part.bytes for part in parts), sum(part.requests for part in parts), seconds, rates, workers)


def with_closed(history: PartitionHistory, closed: Mapping[PartitionId, tuple[Stamp, Lsn]]) -> PartitionHistory:
    """A closed timestamp that is known from a leader, or from the noted plan, beside what the archive itself tells."""
    said = closed.get(history.partition)
    return history if said is None else history._replace(closed=(*history.closed, said))


def ends_reached(source: TableMeta, histories: Sequence[PartitionHistory]) -> dict[PartitionId, tuple[Stamp, Lsn]]:
    """Of a dropped table, the partitions whose log the archive holds at its very end: closed for good there, at any time. Pure.

    Raises Corrupt if the archive has another end there than the catalogue: another history, which proves nothing about this table.
    """
    finals = {final.partition_id: final for final in source.finals}
    found: dict[PartitionId, tuple[Stamp, Lsn]] = {}
    for history in histories:
        final = finals.get(history.partition)
        last = history.segments[-1] if history.segments else None
        if final is None or last is None or last.last < final.lsn:
            continue
        if last.last != final.lsn or last.chain.hex() != final.chain:
            raise Corrupt(
                "the archive ends otherwise than the dropped table did",
                what="chain", partition=history.partition, lsn=final.lsn, where=last.object, expected=final.chain, found=last.chain.hex(),
            )  # fmt: skip
        found[history.partition] = (FOR_GOOD, Lsn(final.lsn))
    return found
