"""Copies that are to come and do not: who is waited for no longer, so that the copy that was to go stays, or comes to another node (ADR 0086).

A node that is up, and whose copy gets no further for too long, or whose log is full meanwhile, is as one that is lost before its copy votes: what only evens out is turned back, what a node that leaves has goes to
another node if there is one, and for a while nothing more goes there. For how long a copy has got no further is remembered by this process alone: the next one that works for the cluster waits as long again, and no longer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from scrubjay.base.ids import PartitionId
from scrubjay.server.replacing import LAG_MAX
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.log.configuration import Configuration, Vote
from scrubjay.storage.node.port import ReplicaFacts

WAIT_US = 600_000_000
"""So long a copy may get no further: come nearer to the leader than it ever was."""
BYTES_PER_S = 1 << 20
"""And as much longer as it takes at that pace to bring all of it: nothing is told of a copy while it is brought."""
FULL_US = 10_000_000
"""So long the log of its node may be full: what makes room in it takes less, where anything does."""
DECLINED_US = 3_600_000_000
"""So long nothing goes to a node that was waited for in vain."""


class Declined(NamedTuple):
    """A node that could not take a copy. until_us: boot time up to which it is given none."""

    partition: PartitionId
    why: str
    until_us: int


class _Reached(NamedTuple):
    """How many records a copy lacked when it was nearest to its leader, and since when, boot time."""

    lacks: int
    since_us: int


class Filling:
    """declined: nodes that are given nothing by what evens out, by number."""

    def __init__(self) -> None:
        self.declined: dict[int, Declined] = {}
        self._reached: dict[tuple[PartitionId, int], _Reached] = {}
        self._full_us: dict[int, int] = {}
        """Since when the log of a node has been full."""

    def look(self, going: Collection[PartitionId], full: Collection[int], now_us: int) -> None:
        """Before a round. going: partitions of which a copy goes to another node. full: numbers of nodes whose log is full."""
        self._reached = {key: reached for key, reached in self._reached.items() if key[0] in going}
        self._full_us = {number: self._full_us.get(number, now_us) for number in full}
        self.declined = {number: one for number, one in self.declined.items() if now_us < one.until_us}

    def given_up(
        self,
        info: PartitionInfo,
        configuration: Configuration,
        *,
        leader: ReplicaFacts,
        copies: Mapping[int, ReplicaFacts],
        now_us: int,
        besides: Collection[int] = (),
    ) -> dict[int, str]:
        """Of a partition of which a copy goes: the nodes whose copy does not vote and is waited for no longer, and why. copies: by node number. besides: numbers of nodes that nobody waits for, or that nobody could
        take the place of."""
        found: dict[int, str] = {}
        for number in info.nodes:
            place = configuration.place(number)
            if number in besides or number in info.logs or (place is not None and place.vote is Vote.VOTES):
                self._reached.pop((info.partition_id, number), None)
                continue
            if number in self._full_us and now_us - self._full_us[number] >= FULL_US:
                found[number] = "its log is full"
            elif self._waits_too_long(info.partition_id, number, leader, copies.get(number), now_us):
                copy = copies.get(number)
                found[number] = (
                    "it does not begin it"
                    if copy is None or not copy.up
                    else f"its copy is {copy.state}: {copy.reason or 'it gets no further'}"
                )
        for number, why in found.items():
            self.declined[number] = Declined(info.partition_id, why, now_us + DECLINED_US)
        return found

    def _waits_too_long(self, partition: PartitionId, number: int, leader: ReplicaFacts, copy: ReplicaFacts | None, now_us: int) -> bool:
        begun = copy is not None and copy.up and copy.logged
        lacks = max(0, leader.applied - copy.applied) if begun and copy is not None else leader.applied + 1
        if begun and copy is not None and copy.tree == "ok" and not copy.behind and lacks <= LAG_MAX:
            self._reached.pop((partition, number), None)  # what keeps it from voting is not its own
            return False
        reached = self._reached.get((partition, number))
        if reached is None or lacks < reached.lacks:
            reached = self._reached[partition, number] = _Reached(lacks, now_us)
        return now_us - reached.since_us >= WAIT_US + leader.size * 1_000_000 // BYTES_PER_S
