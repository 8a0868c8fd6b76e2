"""Which copy goes to another node, and which lead to another copy, so that nodes hold and lead alike (ADR 0086). Pure.

A copy weighs the bytes of its items and what any copy costs; a lead weighs one. A node holds more than it should where another could take something of it and would still hold no more than it: only such
a move is made, from the one that holds most to the one that holds least. So every move makes the two more alike, nothing is ever worth moving back, and all comes to rest (`tests/property/server/test_balance_property.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from scrubjay.base.ids import PartitionId

COPY_BYTES = 16 << 20
"""What a copy weighs beside its items: a log, a tree and messages, however little is in it."""
ROOM = 2
"""Times its bytes that a copy needs on the node's disk while it comes."""
SHARE = 10
"""Nodes that are apart by less than one such part of what they hold on average are alike."""


class NodePlace(NamedTuple):
    """A node. keeps: why nothing goes to it now, "": it takes. free: bytes of its disk that may be filled, None: not known, and not asked for."""

    number: int
    zone: str
    keeps: str = ""
    free: int | None = None


class HeldPartition(NamedTuple):
    """A partition. nodes: those with a storage replica, once what is on its way has arrived. size: bytes of its items. stays: why its copies stay where they are, "": one may go. leader: node that leads, 0: none.
    heirs: nodes whose copy could lead instead right now; none: its lead stays."""

    partition: PartitionId
    nodes: tuple[int, ...]
    size: int
    stays: str
    leader: int
    heirs: tuple[int, ...] = ()

    @property
    def weight(self) -> int:
        return self.size + COPY_BYTES


class CopyMove(NamedTuple):
    """The copy on `source` goes to `target`. apart: by how much they differ in weight, before."""

    partition: PartitionId
    source: int
    target: int
    apart: int


class LeadMove(NamedTuple):
    """Who leads on `source` hands over to the copy on `target`. apart: by how many leads they differ, before."""

    partition: PartitionId
    source: int
    target: int
    apart: int


def weights(places: Iterable[NodePlace], held: Iterable[HeldPartition]) -> dict[int, int]:
    """What each node holds, by number."""
    found = {place.number: 0 for place in places}
    for one in held:
        for number in one.nodes:
            if number in found:
                found[number] += one.weight
    return found


def leads(places: Iterable[NodePlace], held: Iterable[HeldPartition]) -> dict[int, int]:
    """How many partitions each node leads, by number."""
    found = {place.number: 0 for place in places}
    for one in held:
        if one.leader in found:
            found[one.leader] += 1
    return found


def plan_copies(places: Sequence[NodePlace], held: Sequence[HeldPartition], *, most: int) -> list[CopyMove]:
    """At most `most` moves, of as many partitions, the one that evens out most first. No partition is in fewer zones afterwards, and none has two copies on a node."""
    moves: list[CopyMove] = []
    left, places = list(held), list(places)
    while len(moves) < most and (move := _next_copy(places, left)) is not None:
        moves.append(move)
        size = next(one.size for one in left if one.partition == move.partition)
        places = [with_less(place, size) if place.number == move.target else place for place in places]
        left = [_moved(one, move) if one.partition == move.partition else one for one in left]
    return moves


def plan_leads(places: Sequence[NodePlace], held: Sequence[HeldPartition], *, most: int) -> list[LeadMove]:
    """At most `most` leads that are handed over, of as many partitions."""
    moves: list[LeadMove] = []
    left = list(held)
    while len(moves) < most and (move := _next_lead(places, left)) is not None:
        moves.append(move)
        left = [one._replace(leader=move.target, heirs=()) if one.partition == move.partition else one for one in left]
    return moves


def with_less(place: NodePlace, size: int) -> NodePlace:
    """The node with a copy of that size, in bytes, on its way to it: it comes as a file first, and then as a tree."""
    return place if place.free is None else place._replace(free=max(0, place.free - ROOM * size))


def _moved(one: HeldPartition, move: CopyMove) -> HeldPartition:
    nodes = (*[number for number in one.nodes if number != move.source], move.target)
    return one._replace(nodes=tuple(sorted(nodes)), stays="its copy is on its way")


def _next_copy(places: Sequence[NodePlace], held: Sequence[HeldPartition]) -> CopyMove | None:
    load = weights(places, held)
    zones = {place.number: place.zone for place in places}
    on: dict[int, list[HeldPartition]] = {number: [] for number in load}
    for one in held:
        for number in one.nodes if not one.stays else ():
            if number in on:
                on[number].append(one)
    for source, target, apart in _pairs(places, load, least=sum(load.values()) / (SHARE * max(1, len(load)))):
        fit = [
            one for one in on[source] if 2 * one.weight <= apart and _takes(target, one) and _apart_still(one, source, target.number, zones)
        ]
        if fit:  # the largest evens out most; of like ones, one that the source does not lead costs nobody a hand-over
            best = max(fit, key=lambda one: (one.weight, one.leader != source, one.partition))
            return CopyMove(best.partition, source, target.number, apart)
    return None


def _next_lead(places: Sequence[NodePlace], held: Sequence[HeldPartition]) -> LeadMove | None:
    load = leads(places, held)
    for source, target, apart in _pairs(places, load, least=max(2.0, sum(load.values()) / (SHARE * max(1, len(load))))):
        fit = [one for one in held if one.leader == source and target.number in one.heirs]
        if fit:
            best = min(fit, key=lambda one: (one.size, one.partition))
            return LeadMove(best.partition, source, target.number, apart)
    return None


def _pairs(places: Sequence[NodePlace], load: Mapping[int, int], *, least: float) -> Iterator[tuple[int, NodePlace, int]]:
    """Who gives, who takes, and by how much they differ: those that differ most first."""
    takers = [place for place in places if not place.keeps]
    found = [(load[source] - load[target.number], source, target) for source in load for target in takers]
    found = [each for each in found if each[0] >= least and each[0] > 0]
    for apart, source, target in sorted(found, key=lambda each: (-each[0], each[1], each[2].number)):
        yield source, target, apart


def _takes(target: NodePlace, one: HeldPartition) -> bool:
    return target.number not in one.nodes and (target.free is None or ROOM * one.size <= target.free)


def _apart_still(one: HeldPartition, source: int, target: int, zones: Mapping[int, str]) -> bool:
    """The partition is in no fewer zones with the copy on the target. A node of no known zone is in one of its own."""
    before = {zones.get(number, str(number)) for number in one.nodes}
    after = {zones.get(number, str(number)) for number in (*one.nodes, target) if number != source}
    return len(after) >= len(before)
