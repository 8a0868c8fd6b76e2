"""What a node tells of its replicas to who has heard before: what has moved, and nothing else; all, to who has not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt, Unavailable
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.storage.node import moved_facts, port
from scrubjay.storage.node.moved_facts import MovedFacts
from scrubjay.storage.replica.status import SUSPECT
from scrubjay.storage.replica.transacting import Transacting
from tests.unit.control.house import House

TABLES = ("crows", "gulls", "orders")


class Told:
    """A node that leads one of some tables, and what an asker keeps of what it told. moved: by look, the replicas that were told of."""

    def __init__(self) -> None:
        self.house = House()
        self.of = {name: self.house.create(name).partitions[0].partition_id for name in TABLES}
        leader = self.house.cluster.leader(self.of["orders"])
        assert leader is not None
        self.node: Any = leader.node
        self.telling = MovedFacts(self.node)
        self.kept: dict[PartitionId, port.ReplicaFacts] = {}
        self.upto = 0
        self.house.pass_time(2)
        self.ask()

    def ask(self) -> port.FactsOfReplicas:
        """As `server.peer_nodes` keeps it; compared with what is there."""
        said = self.telling.since(self.upto)
        self.kept = {**(self.kept if said.since else {}), **{one.partition: one for one in said.replicas}}
        for gone in said.gone:
            self.kept.pop(gone, None)
        self.upto = said.upto
        assert self.quiet(self.kept.values()) == self.quiet(MovedFacts(self.node).all())
        return said

    def quiet(self, facts: Any) -> dict[PartitionId, port.ReplicaFacts]:
        """But for the closed timestamps, which move with the clock."""
        return {one.partition: msgspec.structs.replace(one, closed=None) for one in facts}

    def moved(self) -> set[PartitionId]:
        said = self.ask()
        assert said.since, "it was told all"
        return {one.partition for one in said.replicas}


def test_who_asks_first_is_told_all_and_then_what_has_moved() -> None:
    told = Told()
    assert set(told.kept) >= set(told.of.values())
    told.house.pass_time(0.3)
    assert told.moved() <= {told.house.cluster.parts.system.partitions[0].partition_id}, "nobody writes to the tables"
    told.house.put(told.house.table("orders"), 1, 1)
    told.house.pass_time(0.3)
    moved = told.moved()
    assert told.of["orders"] in moved
    assert not moved & {told.of["crows"], told.of["gulls"]}


@pytest.mark.slow
def test_each_asker_hears_what_moved_since_it_heard_last() -> None:
    told = Told()
    before = told.upto
    told.house.put(told.house.table("orders"), 1, 1)
    told.house.pass_time(0.3)
    assert told.of["orders"] in told.moved()
    late = told.telling.since(before)
    assert (late.since, told.of["orders"] in {one.partition for one in late.replicas}) == (before, True)


@pytest.mark.parametrize("number", [0, 1, -1, 1 << 62])
def test_a_number_that_is_none_of_this_life_is_answered_with_all(number: int) -> None:
    told = Told()
    said = told.telling.since(number)
    assert (said.since, {one.partition for one in said.replicas}) == (0, set(told.kept))


def test_what_the_node_runs_no_more_is_told_as_gone_and_as_there_again() -> None:
    told = Told()
    crows = told.of["crows"]
    replica = told.node.members.pop(crows)
    assert told.ask().gone == (crows,)
    assert crows not in told.kept
    assert told.ask().gone == ()
    told.node.members[crows] = replica
    assert crows in told.moved()
    before = told.upto
    told.node.members.pop(crows)
    told.telling.look()
    told.node.members[crows] = replica
    said = told.telling.since(before)
    assert (said.gone, [one.partition for one in said.replicas]) == ((), [crows])


def test_who_heard_before_those_that_are_forgotten_is_told_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved_facts, "GONE_MAX", 1)
    told = Told()
    before = told.upto
    for name in ("crows", "gulls"):
        told.node.members.pop(told.of[name])
        told.telling.look()
    assert told.telling.since(before).since == 0
    told.ask()


def test_a_lease_that_is_void_is_told_though_nothing_is_done_with_the_replica() -> None:
    """A wall clock that jumps voids it at once; no timer is due then."""
    told = Told()
    orders = told.of["orders"]
    assert told.kept[orders].answers
    clock = next(host.clock for host in told.house.cluster.hosts if host.name == told.node.name)
    clock.jump(60_000_000)
    assert not told.node.members[orders].term.serving()
    assert orders in told.moved()
    assert not told.kept[orders].answers


def test_what_pends_is_looked_at_until_it_pends_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    orders = told.of["orders"]
    monkeypatch.setattr(Transacting, "any", property(lambda one: one._replica.partition == orders))
    late: list[tuple[bytes, bytes, bytes]] = []
    monkeypatch.setattr(moved_facts, "_stalled", lambda term: tuple(late))
    assert told.telling.stalled() == []
    late.append((b"id", b"token", b"key"))
    assert told.telling.stalled() == [port.StalledOf(orders, told.kept[orders].table, b"id", b"token", b"key")]


def test_what_keeps_a_tree_from_being_opened_is_told() -> None:
    told = Told()
    told.node.replicas[told.of["crows"]].note("a word")
    assert told.moved() == {told.of["crows"]}
    told.node.replicas[told.of["gulls"]].status.move_tree(SUSPECT, "a test")
    assert told.moved() == {told.of["gulls"]}


@pytest.mark.parametrize("what", ["give_up_tree", "left_behind"])
def test_a_suspect_copy_that_follows_no_more_is_told_of(what: str) -> None:
    """Seed 17008: its state stayed what it was, so it was shown as one that a scrub compares, and no heal began."""
    told = Told()
    crows = told.of["crows"]
    replica = told.node.replicas[crows]
    replica.suspect("a test")
    assert told.moved() == {crows}
    assert told.kept[crows].usable
    getattr(replica, what)()
    assert told.moved() == {crows}
    assert not told.kept[crows].usable


def test_a_node_that_fails_tells_of_all_its_replicas() -> None:
    told = Told()
    told.house.cluster.keep_broken = True
    told.node.fail(Corrupt("a test", what="wal"))
    assert told.moved() == set(told.kept)
    assert not any(one.up for one in told.kept.values())


def test_why_a_tree_cannot_be_opened_is_told_and_that_it_can() -> None:
    told = Told()
    crows = told.of["crows"]
    told.node.hosting.blocked[crows] = Unavailable("no descriptors")
    assert crows in told.moved()
    told.node.hosting.blocked.pop(crows)
    assert crows in told.moved()
    assert told.kept[crows].lack is None


def test_states_and_leaders_are_counted() -> None:
    told = Told()
    states, leaders = told.telling.sums()
    assert states == {"ok": len(told.node.members)}
    assert leaders == sum(replica.term is not None for replica in told.node.members.values()) > 0
    told.node.replicas[told.of["crows"]].suspect("a test")
    states, _ = told.telling.sums()
    assert (states["ok"], states["suspect"]) == (len(told.node.members) - 1, 1)
    assert told.house.cluster.parts.ports[NodeName(told.node.name)].status().states == states
