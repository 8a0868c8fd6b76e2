"""Which objects of the archive tell of a partition at two moments, and of one key between them. Pure: `archiver.coverage` chooses, here it is put together."""

from __future__ import annotations

from typing import Any, NamedTuple

from scrubjay.archiver.coverage import coverage
from scrubjay.archiver.facts import Hole
from scrubjay.archiver.read.archive_status import hole_json
from scrubjay.base.errors import NO_KEY
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Stamp
from scrubjay.base.times import utc_text
from scrubjay.pitr.plan import BaseFacts, PartitionHistory, PartitionPlan, PlannedSegment, distinct, plan_partition, with_closed
from scrubjay.storage.catalogue import PartitionInfo


class TwoPaths(NamedTuple):
    """How a partition is rebuilt as of both moments. shared: both from one base, so that every object is read once and the log between is seen whole. within: the earlier state is of what it came of at
    a split since, of which only this one's range counts; None: of the partition itself."""

    partition: str
    before: PartitionPlan
    after: PartitionPlan
    shared: bool
    within: PartitionInfo | None = None

    @property
    def bytes(self) -> int:
        return self.after.bytes + (0 if self.shared else self.before.bytes)

    def as_json(self) -> dict[str, Any]:
        return {"partition": self.partition, "before": self.before.as_json(), "after": self.after.as_json()}


def two_paths(history: PartitionHistory, after: PartitionPlan, *, before_cut: Stamp, after_cut: Stamp) -> TwoPaths:
    """after: the plan of the later moment. Its end proves the earlier one too: nothing at or before either cut lies behind it.

    The later state is rebuilt from the earlier one's base where the log between is whole; a hole between two bases costs only that. Raises Missing, Unavailable.
    """
    before = plan_partition(with_closed(history, {history.partition: (after_cut, after.to_lsn)}), before_cut)
    if before.base == after.base:
        return TwoPaths(history.partition, before, after, True)
    between = tuple(one for one in history.segments if before.base_lsn < one.last <= after.to_lsn)
    expected = before.base_lsn + 1
    for one in between:
        if one.first != expected:
            return TwoPaths(history.partition, before, after, False)
        expected = one.last + 1
    if expected != after.to_lsn + 1:
        return TwoPaths(history.partition, before, after, False)
    base = before.base
    joined = PartitionPlan(
        history.partition,
        base,
        between,
        sum(one.stored for one in between) + (base.stored if base is not None else 0),
        sum(one.raw for one in between) + (base.raw if base is not None else 0),
        2 * len(distinct(between)) + (base.objects if base is not None else 0),
        before.from_lsn,
        after.to_lsn,
    )
    return TwoPaths(history.partition, before, joined, True)


def newest_first(history: PartitionHistory, *, from_us: int, upto_lsn: int | None, to_cut: Stamp) -> list[PlannedSegment | BaseFacts]:
    """What may hold a key's versions with effective times from `from_us` to the cut, newest first: segments, and the base below each gap that the log rests on.

    upto_lsn: the last record that can lie at or before the cut (None: not known; then every segment that begins before it). A base tells what a key was where no
    record does: behind a hole, or behind what retention took away.
    """
    bases = {int(one.lsn): one for one in history.bases}
    found: list[PlannedSegment | BaseFacts] = []
    expected = 1
    for one in history.segments:
        base = bases.get(one.span.first - 1) if one.span.first != expected or one.span.first == 1 else None
        expected = one.span.last + 1
        if base is not None and base.made is None and base.stamp <= to_cut and stamp_micros(one.last_stamp) >= from_us:
            found.append(base)
        if (one.first > upto_lsn) if upto_lsn is not None else (one.first_stamp > to_cut):
            break
        if stamp_micros(one.last_stamp) >= from_us:
            found.append(one)
    if not history.segments and history.bases and history.bases[-1].made is None and history.bases[-1].stamp <= to_cut:
        found.append(history.bases[-1])
    return found[::-1]


def holes_in(history: PartitionHistory, holes: tuple[Hole, ...], *, from_us: int, to_us: int) -> list[dict[str, Any]]:
    """The holes of this partition that lie in the range of moments, as `unproven[]` says them."""
    return [
        {"reason": "hole" if one.no_key is None else NO_KEY, **hole_json(one), "object": None}
        for one in holes
        if one.partition == history.partition
        and (one.to_us is None or one.to_us > from_us)
        and (one.from_us is None or one.from_us < to_us)
    ]


def forks_in(history: PartitionHistory) -> list[dict[str, Any]]:
    """Where the partition's log forks: what is told is of the history that counts (`archiver.coverage`), and another one says otherwise from there on."""
    return [
        {**unproven("fork", history.partition, from_us=None, to_us=None), "first_lsn": fork.first_lsn, "epochs": list(fork.epochs)}
        for fork in coverage(history.facts).forks
    ]


def unproven(reason: str, partition: str, *, from_us: int | None, to_us: int | None, object: str | None = None) -> dict[str, Any]:  # noqa: A002
    """A part of the range of which nothing is proven. reason: hole | no_key | archive_lags | expired | fork | damaged (object: what is). LSNs are not known of it."""
    return {
        "reason": reason,
        "partition": partition,
        "first_lsn": None,
        "last_lsn": None,
        "from": None if from_us is None else utc_text(from_us),
        "to": None if to_us is None else utc_text(to_us),
        "object": object,
    }
