"""What a group is given when it is made: one typed configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Ballot, Lsn, PartitionId, Stamp
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import LogReader


class GroupStart(NamedTuple):
    """What a replica recovered, with which its group starts. The log holds first..last (last == first - 1: none); applied (known chosen) <= last.

    stamp: stamp of the record at `applied` as the tree knows it, for a log that no longer holds it; 0 if unknown.
    """

    promised: Ballot
    accepted: Ballot
    resigned: Ballot
    first: Lsn
    last: Lsn
    applied: Lsn
    stamp: Stamp = Stamp(0)


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """members: as of `start.applied`, seen by this replica. reader: of records that are no longer in memory. liveness, clock: the node's own, shared by its groups. jitter: uniform in [0, 1), a stream of this
    group's own. heir: this member led what the group was made of, and should lead it first: the others are about to begin, and leave it the time (`Election`)."""

    partition: PartitionId
    members: Membership
    start: GroupStart
    reader: LogReader
    liveness: Liveness
    clock: HybridClock
    options: ConsensusOptions
    jitter: Callable[[], float]
    heir: bool = False

    def __post_init__(self) -> None:
        assert self.start.first <= self.start.applied + 1
        assert self.start.applied <= self.start.last
