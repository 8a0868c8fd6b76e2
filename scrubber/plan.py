"""The plan of a scrub: which partitions, in which order, which copies of each are read and why others are not, and what it will cost. Pure and printable.

`scrubber.run` carries it out. A plan says what is known when a run begins: a partition's copies are looked at again when its turn comes, by the same rule
(`why_not_scanned`). Where a pass finds a copy that may be healed, one more pass follows, with a seal and a reference of its own: that is not foreseen here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.base.times import utc_text_or_none
from scrubjay.scrubber.evidence import SUSPECT, Absentee
from scrubjay.scrubber.ledger import MATCHED, SCRUB, PartitionProof, matched
from scrubjay.scrubber.reference import Cost
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.service_port import Copy

SCRUBBED = ("ACTIVE", "UPDATING")
"""Table states whose partitions have replicas that serve."""


@dataclass(frozen=True, slots=True)
class Target:
    table: TableMeta
    info: PartitionInfo


class PlannedPartition(NamedTuple):
    """copies: nodes whose copy is pinned at the seal and read whole. left_out: copies that are not, and why. cost: of the reference, as the archive was last
    seen; None: nothing of it is known yet. matched_us: when it was last proven equal, None: never."""

    target: Target
    copies: tuple[NodeName, ...]
    left_out: tuple[Absentee, ...]
    cost: Cost | None
    matched_us: int | None

    @property
    def reference_bytes(self) -> int:
        """Stored bytes to fetch from the archive; 0 if not known."""
        return 0 if self.cost is None else self.cost.stored

    @property
    def copy_bytes(self) -> int:
        """Bytes of rows to read from the copies, estimated: each holds what the base and the log above it hold. 0 if not known."""
        return 0 if self.cost is None else self.cost.raw * len(self.copies)

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.target.table.name,
            "partition": self.target.info.partition_id,
            "copies": list(self.copies),
            "left_out": [{"copy": one.copy, "reason": one.reason} for one in self.left_out],
            "base_lsn": None if self.cost is None else self.cost.base_lsn,
            "segments": None if self.cost is None else self.cost.segments,
            "reference_bytes": None if self.cost is None else self.cost.stored,
            "copy_bytes": None if self.cost is None else self.copy_bytes,
            "last_matched": utc_text_or_none(self.matched_us),
        }


@dataclass(frozen=True, slots=True)
class ScrubPlan:
    """parts: in the order in which they are begun, `lanes` at a time. One seal and one reference each."""

    parts: tuple[PlannedPartition, ...]
    lanes: int

    @property
    def copies(self) -> int:
        return sum(len(one.copies) for one in self.parts)

    @property
    def bytes(self) -> int:
        """From archive and copies, as far as it is known."""
        return sum(one.reference_bytes + one.copy_bytes for one in self.parts)

    def as_json(self) -> dict[str, Any]:
        return {
            "partitions": [one.as_json() for one in self.parts],
            "lanes": self.lanes,
            "seals": len(self.parts),
            "references": len(self.parts),
            "copies": self.copies,
            "bytes": self.bytes,
        }

    def __str__(self) -> str:
        """One line."""
        left_out = [f"{one.copy} of {part.target.info.partition_id} ({one.reason})" for part in self.parts for one in part.left_out]
        without = f"; not read: {', '.join(left_out)}" if left_out else ""
        return (
            f"{len(self.parts)} partitions, {self.lanes} at a time: {len(self.parts)} seals, {self.copies} copies to read, {len(self.parts)} references to rebuild, "
            f"about {self.bytes} bytes{without}"
        )


def plan_scrub(
    targets: Sequence[Target],
    proofs: Sequence[PartitionProof],
    *,
    copies: Mapping[PartitionId, Sequence[Copy]],
    costs: Mapping[PartitionId, Cost],
    lanes: int,
    as_given: bool = False,
) -> ScrubPlan:
    """proofs: of the ledger, any. copies: of every target, as they are now. costs: of those whose archive has been seen. as_given: the targets are in order."""
    proven = last_matched(proofs)
    ordered = targets if as_given else order(targets, proofs)
    return ScrubPlan(tuple(_planned(one, proven, copies, costs) for one in ordered), lanes)


def _planned(
    target: Target, proven: Mapping[str, int], copies: Mapping[PartitionId, Sequence[Copy]], costs: Mapping[PartitionId, Cost]
) -> PlannedPartition:
    partition = target.info.partition_id
    here = sorted(copies[partition], key=lambda one: one.number)
    missed = [(copy.node, why_not_scanned(copy)) for copy in here]
    return PlannedPartition(
        target,
        tuple(node for node, why in missed if why is None),
        tuple(why for _, why in missed if why is not None),
        costs.get(partition),
        proven.get(partition),
    )


def why_not_scanned(copy: Copy) -> Absentee | None:
    """Why a copy cannot be scanned; None if it can."""
    if copy.kind != "storage":
        return Absentee(copy.node, copy.kind, "log_not_read")
    if copy.state == "ok" or (copy.state == SUSPECT and copy.scannable):
        return None
    return Absentee(copy.node, copy.kind, copy.state, rotten=copy.state == SUSPECT)


def last_matched(proofs: Sequence[PartitionProof]) -> dict[str, int]:
    """When each partition was last proven equal to its reference, or healed to be so."""
    found: dict[str, int] = {}
    for proof in proofs:
        if proof.depth in (SCRUB, MATCHED) and matched(proof):
            found[proof.partition] = max(proof.at_us, found.get(proof.partition, proof.at_us))
    return found


def order(targets: Sequence[Target], proofs: Sequence[PartitionProof]) -> list[Target]:
    """The least recently matched first; those never matched before all others."""
    proven = last_matched(proofs)
    return sorted(targets, key=lambda one: (proven.get(one.info.partition_id, -1), one.table.table_id, one.info.lo))


def of_round(
    targets: Sequence[Target],
    proofs: Sequence[PartitionProof],
    *,
    round_us: int,
    now_us: int,
    again: bool = False,
    only: Collection[str] | None = None,
) -> list[Target]:
    """Those that were not looked at since `round_us`, whatever came of it, the least recently looked at first: one that is never matched must not take every
    night. A look that is dated later than now was made by a clock that ran ahead, and says nothing. again: those that stayed unverified too, behind the others. only: no partitions but these; None: any."""
    looked = {proof.partition: proof.at_us for proof in proofs if proof.depth == SCRUB and proof.at_us <= now_us}
    open_ = {proof.partition for proof in proofs if proof.depth == SCRUB and proof.verdict == "unverified"} if again else set[str]()
    wanted = [one for one in targets if only is None or one.info.partition_id in only]
    left = [one for one in wanted if looked.get(one.info.partition_id, -1) < round_us or one.info.partition_id in open_]
    return sorted(left, key=lambda one: (looked.get(one.info.partition_id, -1), one.table.table_id, one.info.lo))


def choose(tables: Sequence[TableMeta], *, chosen: Sequence[str] | None, partition: str | None) -> list[Target]:
    """The partitions a run covers. chosen: ids or names of live tables, None: all.

    Raises Unavailable with error_code ResourceNotFound: no such live table, or no such partition in what was chosen.
    """
    here = live(tables)
    for name in chosen or ():
        if not any(name in (one.table_id, one.name) for one in here):
            raise Unavailable("no such table", error_code="ResourceNotFound", asked=name, found="no live table has that name or id")
    wanted = [one for one in here if chosen is None or one.table_id in chosen or one.name in chosen]
    targets = [Target(one, info) for one in wanted for info in one.partitions if partition in (None, info.partition_id)]
    if partition is not None and not targets:
        raise Unavailable("no such partition", error_code="ResourceNotFound", asked=partition, found="no live table chosen has it")
    return targets


def live(tables: Sequence[TableMeta]) -> list[TableMeta]:
    """Those whose partitions are compared."""
    return [one for one in tables if one.status in SCRUBBED and (one.restore_of is None or not one.restore_of.in_progress)]
