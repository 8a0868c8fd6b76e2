"""From any start nodes come to hold and lead alike, in a bounded number of moves, and nothing ever moves back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrubjay.base.ids import PartitionId
from scrubjay.server.balance import COPY_BYTES, SHARE, CopyMove, HeldPartition, LeadMove, NodePlace, leads, plan_copies, plan_leads, weights
from scrubjay.storage.control.placement import COPIES


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[NodePlace], list[HeldPartition]]:
    """Nodes in some zones, some of which take nothing, and partitions anywhere on them: sizes from nothing to many times what a copy weighs."""
    nodes = draw(st.integers(COPIES, 9))
    zones = draw(st.integers(1, 4))
    keeps = draw(st.sets(st.integers(1, nodes), max_size=2))
    free = draw(st.sampled_from([None, 0, 40 * COPY_BYTES]))
    places = [NodePlace(number, f"z{number % zones}", "full" if number in keeps else "", free) for number in range(1, nodes + 1)]
    held = []
    for at in range(draw(st.integers(0, 24))):
        on = tuple(sorted(draw(st.sets(st.integers(1, min(nodes, COPIES + draw(st.integers(0, 6)))), min_size=COPIES, max_size=COPIES))))
        size = draw(st.sampled_from([0, 1000, COPY_BYTES // 2, COPY_BYTES, 7 * COPY_BYTES, 100 * COPY_BYTES]))
        stays = draw(st.sampled_from(["", "", "", "it is being split"]))
        held.append(HeldPartition(PartitionId(f"p{at:02}"), on, size, stays, draw(st.sampled_from(on)), on))
    return places, held


def square(load: dict[int, int]) -> int:
    return sum(each * each for each in load.values())


def zones_of(places: list[NodePlace], one: HeldPartition) -> int:
    return len({place.zone for place in places if place.number in one.nodes})


def moved(one: HeldPartition, move: CopyMove) -> HeldPartition:
    assert move.source in one.nodes
    assert move.target not in one.nodes, "two copies of a partition on one node"
    return one._replace(nodes=tuple(sorted([*[number for number in one.nodes if number != move.source], move.target])))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(clusters(), st.integers(1, 3))
def test_copies_come_to_rest_and_never_go_back(cluster: tuple[list[NodePlace], list[HeldPartition]], most: int) -> None:
    places, held = cluster
    known = {one.partition: one for one in held}
    by_number = {place.number: place for place in places}
    left: set[tuple[PartitionId, int]] = set()
    before, rounds = square(weights(places, held)), 0
    bound = before // (2 * COPY_BYTES * COPY_BYTES) + 1
    while moves := plan_copies(places, list(known.values()), most=most):
        coming: dict[int, int] = {}
        assert len({move.partition for move in moves}) == len(moves) <= most
        for move in moves:
            one = known[move.partition]
            target = by_number[move.target]
            assert not one.stays
            assert not target.keeps
            coming[target.number] = coming.get(target.number, 0) + 2 * one.size
            assert target.free is None or coming[target.number] <= target.free, "none of them is there yet"
            after = moved(one, move)
            assert zones_of(places, after) >= zones_of(places, one)
            left.add((move.partition, move.source))
            assert (move.partition, move.target) not in left, "it goes back to a node that it came from"
            known[move.partition] = after
        now = square(weights(places, known.values()))
        assert now <= before - 2 * COPY_BYTES * COPY_BYTES * len(moves), "every move evens out something"
        before, rounds = now, rounds + 1
        assert rounds <= bound
    load = weights(places, known.values())
    mean = sum(load.values()) / len(load)
    for one in known.values():  # at rest: what could still go would leave its node with less than the other, or they are alike
        for source in one.nodes:
            for target in places:
                fit = (
                    not one.stays
                    and not target.keeps
                    and target.number not in one.nodes
                    and (target.free is None or 2 * one.size <= target.free)
                )
                if fit and zones_of(places, moved(one, CopyMove(one.partition, source, target.number, 0))) >= zones_of(places, one):
                    apart = load[source] - load[target.number]
                    assert 2 * one.weight > apart or apart < mean / SHARE


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(clusters())
def test_leads_come_to_rest_and_never_go_back(cluster: tuple[list[NodePlace], list[HeldPartition]]) -> None:
    places, held = cluster
    known = {one.partition: one for one in held}
    seen: set[tuple[PartitionId, int]] = set()
    steps = 0
    while moves := plan_leads(places, list(known.values()), most=2):
        assert len({move.partition for move in moves}) == len(moves) <= 2
        for move in moves:
            _lead(known, move)
            seen.add((move.partition, move.source))
            assert (move.partition, move.target) not in seen, "it goes back to a node that it came from"
            steps += 1
    assert steps <= len(held) * COPIES
    load = leads(places, known.values())
    takes = {place.number for place in places if not place.keeps}
    least = max(2.0, sum(load.values()) / len(load) / SHARE)
    assert all(load[one.leader] - load[heir] < least for one in known.values() for heir in one.heirs if heir in takes)


def _lead(known: dict[PartitionId, HeldPartition], move: LeadMove) -> None:
    one = known[move.partition]
    assert one.leader == move.source
    assert move.target in one.heirs
    known[move.partition] = one._replace(leader=move.target)
