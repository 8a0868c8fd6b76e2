"""A cluster that grows uses what joined, of the real classes: copies and leads go to nodes that have less, while tables are written to, and whatever dies on the way nothing is lost and all of it comes to rest."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import msgspec
import pytest

from scrubjay.base.errors import Corrupt, Invalid, Unavailable
from scrubjay.base.ids import Member, NodeName
from scrubjay.server import filling
from scrubjay.server.balancing import BalanceOptions, Balancing, balance_report, copies_moving
from scrubjay.server.raising import Raising
from scrubjay.server.relocating import LANES
from scrubjay.server.replacing import members_of
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.cluster_version import BALANCES, BALANCING
from scrubjay.storage.control.placement import COPIES
from scrubjay.storage.log.configuration import Vote
from scrubjay.storage.node.port import RESTS, ChangeMembers, ChangePlace, Fine, RemoveMember, asked
from tests.sim.test_relocate import OLD, Yard

STEADY_US = 1_000_000
FOURTH = NodeName("n4")


class Grounds(Yard):
    """A yard whose nodes come to hold and lead alike. zones: of the nodes, a letter each."""

    def __init__(
        self, *, zones: str = "abca", seed: int = 1, partitions: int = 6, copies: bool = True, leads: bool = True, stand_in_us: int = 0
    ) -> None:
        self.zones = {NodeName(f"n{number}"): zone for number, zone in enumerate(zones, 1)}
        self.options = BalanceOptions(copies, leads, STEADY_US)
        super().__init__(seed=seed, partitions=partitions, spares=len(zones) - 3, stand_in_us=stand_in_us)

    def works(self) -> None:
        super().works()
        parts = self.house.cluster.parts
        parts.zones = self.zones
        self.raising = Raising(self.house.env, parts, works=lambda: True, log=self.lines.append)
        self.raising.start()
        self.balancing = Balancing(self.house.env, parts, self.relocating, self.options, works=lambda: True, log=self.lines.append)
        parts.evens = self.balancing
        self.balancing.start()

    def dies(self) -> None:
        """The control part, and all that works for the cluster."""
        for part in (self.balancing, self.raising, self.relocating, self.replacing):
            part.stop()
        self.house.restart_control(power=True)
        self.works()

    def held(self) -> Counter[int]:
        """How many copies of the table each node has."""
        return Counter(number for info in self.table_infos() for number in info.nodes)

    def led(self) -> Counter[str]:
        leaders = [self.house.cluster.parts.fleet.leader(info.partition_id) for info in self.infos()]
        return Counter(str(leader.node) for leader in leaders if leader is not None)

    def table_infos(self) -> list[PartitionInfo]:
        return list(self.house.cluster.metadata.tables[self.table.table_id].partitions)

    def settled(self) -> bool:
        return all(len(info.nodes) == COPIES and not info.fresh and not info.goes for info in self.infos())

    def rests(self, *, seconds: float = 120.0) -> None:
        """Until nothing moves, and nothing has begun for a while."""
        quiet = 0
        before: object = None
        for _ in range(int(seconds / 0.5)):
            self.house.pass_time(0.5)
            now = self.balancing.counts.copy(), self.settled(), self.balancing.why
            quiet = quiet + 1 if now == before and self.settled() and not self.balancing.why else 0
            before = now
            if quiet > 14:
                return
        raise AssertionError(f"it does not come to rest: {balance_report(self.house.cluster.parts)}, {self.held()}, {self.led()}")


@pytest.mark.slow
def test_who_joins_is_given_copies_and_leads_and_all_comes_to_rest() -> None:
    grounds = Grounds()
    house = grounds.house
    grounds.fill(0, 60)
    grounds.rests()
    assert grounds.held() == {1: 6, 2: 6, 3: 6}
    led = grounds.led()
    assert max(led.values()) - min(led.values()) <= 1, led
    grounds.join()
    key, ways = 60, 0
    for _ in range(100):
        house.pass_time(0.1)
        house.put(grounds.table, key, key)
        key += 1
        ways = max(ways, sum(bool(info.goes) for info in grounds.infos()))
    grounds.rests()
    assert 1 <= ways <= LANES
    # Zone a has two nodes now, and its copies are shared among them; the others have all theirs still. The metadata group stays.
    assert grounds.held() == {1: 3, 2: 6, 3: 6, 4: 3}
    assert grounds.infos()[0].nodes == (1, 2, 3)
    assert all(len({grounds.zones[NodeName(f"n{number}")] for number in info.nodes}) == 3 for info in grounds.infos())
    assert grounds.balancing.counts["copies"] == 3
    led = grounds.led()
    assert max(led.values()) - min(led.values()) <= 2, led
    assert len(led) == 4
    assert sum("goes to n4" in line for line in grounds.lines) == 3
    assert house.rows(grounds.table) == {key_of(one): one for one in range(key)}
    assert house.scrub().verdict == "match"


@pytest.mark.slow
def test_who_took_copies_is_drained_and_they_come_back_where_they_were_as_other_members() -> None:
    """No member comes back under its id; a node that stays has none but the one. And what is lost afterwards is replaced above all of them."""
    grounds = Grounds(partitions=4)
    house = grounds.house
    grounds.fill(0, 30)
    grounds.join()
    grounds.rests()
    assert grounds.held()[4] == 2
    went = [info.partition_id for info in grounds.table_infos() if 4 in info.nodes]
    assert grounds.drain(FOURTH)["left"] == 0
    back = {info.partition_id: info for info in grounds.table_infos()}
    assert all(back[partition].nodes == (1, 2, 3) and back[partition].again == (Member(1, 2),) for partition in went)
    assert all(house.cluster.parts.ports[NodeName("n1")].facts(partition).incarnation == 2 for partition in went)  # type: ignore[union-attr]
    grounds.host("n1").crash(power=True)
    grounds.fill(30, 40)
    grounds.host("n1").start()
    house.until(lambda: "n1" in {node.name for node in house.cluster.nodes()})
    house.until(lambda: all(facts.vote == "votes" for facts in house.cluster.parts.ports[NodeName("n1")].all_facts()))
    grounds.remove(FOURTH)
    grounds.lose(NodeName("n1"))
    house.until(lambda: house.cluster.parts.ports[NodeName("n1")].status().failed is not None)
    replaced = house.run(grounds.replacing.replace(NodeName("n1"), lambda _: None))
    assert replaced["incarnation"] == 3, "the lost folder has spoken as 1 and as 2"
    grounds.fill(40, 50)
    grounds.host("n2").crash(power=False)
    grounds.fill(50, 55)
    grounds.host("n2").start()
    house.until(lambda: len(house.cluster.nodes()) == 4 - 1 or "n2" in {node.name for node in house.cluster.nodes()})
    assert house.rows(grounds.table) == {key_of(one): one for one in range(55)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_whoever_dies_on_the_way_it_comes_to_rest_and_nothing_is_lost(seed: int) -> None:
    grounds = Grounds(seed=300 + seed, partitions=4, stand_in_us=2_500_000)
    house = grounds.house
    grounds.fill(0, 20)
    grounds.join()
    draw = house.world.stream("deaths")
    key = 20
    for _ in range(8):
        house.pass_time(draw.uniform(0.3, 3.0))
        if draw.chance(0.3):
            grounds.dies()
        else:
            host = draw.choice(house.cluster.hosts)
            host.crash(power=draw.chance(0.5))
            house.pass_time(draw.uniform(0.0, 4.0))
            host.start()
        house.put(grounds.table, key, key)
        key += 1
    house.until(lambda: len(house.cluster.nodes()) == 4)
    house.until(lambda: all(not info.goes and not info.fresh for info in grounds.infos()))
    assert house.rows(grounds.table) == {key_of(one): one for one in range(key)}
    assert house.scrub().verdict == "match"


@pytest.mark.slow
def test_a_node_that_is_lost_before_it_has_the_copy_does_not_hold_it_up() -> None:
    grounds = Grounds(partitions=4, stand_in_us=2_500_000, leads=False)
    house = grounds.house
    grounds.fill(0, 20)
    grounds.join()
    house.until(lambda: any(info.goes for info in grounds.infos()))
    grounds.host(FOURTH).crash(power=False)
    house.until(lambda: not any(info.goes or info.fresh for info in grounds.infos()))
    grounds.fill(20, 30)
    for info in grounds.table_infos():
        whole = [number for number in info.nodes if number not in info.logs]
        assert len(whole) == COPIES, info
    grounds.host(FOURTH).start()
    house.until(lambda: "n4" in {node.name for node in house.cluster.nodes()})
    grounds.rests()
    assert grounds.held()[4] == 2
    assert house.rows(grounds.table) == {key_of(one): one for one in range(30)}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["its folder refuses", "its copy cannot be brought", "its log is full"])
def test_a_node_that_is_up_and_cannot_take_the_copy_is_waited_for_no_longer(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grounds = Grounds(partitions=4, leads=False)
    house, node = grounds.house, grounds.host(FOURTH).process.node
    monkeypatch.setattr(filling, "WAIT_US", 15_000_000)
    grounds.fill(0, 20)
    refused = Unavailable("no room here")
    engine = node.engine
    if what == "its folder refuses":
        monkeypatch.setattr(engine, "create", lambda partition, done: done(refused))
    elif what == "its copy cannot be brought":
        monkeypatch.setattr(engine, "create", lambda partition, done: done(Corrupt("its tree is gone")))
        monkeypatch.setattr(engine, "load", lambda partition, path, state, done, **_: done(refused))
    else:
        monkeypatch.setattr(engine, "create", lambda partition, done: done(refused))
        monkeypatch.setattr(filling, "WAIT_US", 10**15)
    grounds.join()
    house.until(lambda: any(info.goes for info in grounds.infos()))
    if what == "its log is full":
        node.turn.full = True
    house.until(lambda: not any(info.goes or info.fresh for info in grounds.infos()))
    assert grounds.held() == {1: 4, 2: 4, 3: 4}
    house.until(lambda: grounds.copies(FOURTH) == [])  # the place is free again
    (declined,) = balance_report(house.cluster.parts)["declined"]
    assert declined["node"] == "n4"
    assert (declined["why"] == "its log is full") is (what == "its log is full"), declined
    assert 3500 < declined["seconds"] <= 3600
    said = [line for line in grounds.lines if "is not waited for any longer" in line]
    assert 1 <= len(said) <= 2, said
    house.pass_time(10)
    assert grounds.balancing.counts["copies"] == 2, "it is not tried again at once"
    # After a while it is, and it can now.
    monkeypatch.undo()
    node.turn.full = False
    grounds.relocating.filling.declined.clear()
    house.until(lambda: grounds.held()[4] == 2)
    house.until(grounds.settled)
    assert house.rows(grounds.table) == {key_of(one): one for one in range(20)}


@pytest.mark.parametrize("what", ["its folder refuses", "its copy cannot be brought"])
def test_a_drain_whose_taker_is_up_and_cannot_take_the_copy_ends_with_another(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grounds = Grounds(zones="abcaa", partitions=2, copies=False, leads=False)
    house, node = grounds.house, grounds.host(FOURTH).process.node
    monkeypatch.setattr(filling, "WAIT_US", 5_000_000)
    grounds.fill(0, 20)
    refused = Unavailable("no room here")
    engine = node.engine
    if what == "its folder refuses":
        monkeypatch.setattr(engine, "create", lambda partition, done: done(refused))
    else:
        monkeypatch.setattr(engine, "create", lambda partition, done: done(Corrupt("its tree is gone")))
        monkeypatch.setattr(engine, "load", lambda partition, path, state, done, **_: done(refused))
    grounds.join()
    grounds.join(NodeName("n5"))
    house.until(lambda: not house.cluster.parts.store.version.lacks(BALANCING))
    assert grounds.drain()["left"] == 0
    house.until(lambda: all(info.nodes == (2, 3, 5) and not info.fresh and not info.goes for info in grounds.infos()))
    house.until(lambda: grounds.copies(FOURTH) == grounds.copies(OLD) == [])
    assert any("n4 is not waited for any longer" in line for line in grounds.lines)
    assert house.rows(grounds.table) == {key_of(one): one for one in range(20)}


def test_who_was_removed_when_it_was_decided_that_it_stays_comes_back_as_the_next_member() -> None:
    """The CONFIG that removed it was on its way when the node that had taken its copy was to be drained."""
    grounds = Grounds(partitions=1, copies=False, leads=False)
    house, fleet, metadata = grounds.house, grounds.house.cluster.parts.fleet, grounds.house.cluster.metadata

    def votes(number: int) -> Vote | None:
        (info,) = grounds.table_infos()
        leader = fleet.leader(info.partition_id)
        place = None if leader is None else members_of(info, leader).place(number)
        return None if place is None else place.vote

    grounds.fill(0, 20)
    grounds.join()
    (before,) = grounds.table_infos()
    house.run(grounds.relocating.begin(grounds.table.table_id, before, source=1, target=4))
    house.until(lambda: votes(4) is Vote.VOTES)
    grounds.relocating.stop()
    while votes(1) is not Vote.GONE:
        (info,) = grounds.table_infos()
        leader = fleet.leader(info.partition_id)
        if leader is not None:
            with suppress(Unavailable):  # it hands over first
                request = RemoveMember(info.partition_id, 1, (1,))
                house.run(asked(house.env.tasks, house.cluster.parts.ports[leader.node], request, Fine, timeout_s=5.0))
        house.pass_time(0.3)
    (info,) = grounds.table_infos()
    assert house.run(metadata.put_partition(grounds.table.table_id, info, msgspec.structs.replace(info, goes=(4,))))
    grounds.fill(20, 30)
    grounds.relocating.start()
    house.until(grounds.settled)
    (after,) = grounds.table_infos()
    assert (after.nodes, after.again) == ((1, 2, 3), (Member(1, 2),))
    assert [votes(number) for number in (1, 2, 3, 4)] == [Vote.VOTES, Vote.VOTES, Vote.VOTES, Vote.GONE]
    # What was asked for while the other member was there, and comes only now, does not mean this one.
    leader = fleet.leader(after.partition_id)
    assert leader is not None
    for late in (
        RemoveMember(after.partition_id, 1, (1,), 1),
        ChangePlace(after.partition_id, 1, RESTS, 1),
        ChangeMembers(after.partition_id, 1, 0, 1),
    ):
        if leader.node != "n1" or isinstance(late, RemoveMember):
            with pytest.raises(Invalid, match="another member"):
                house.run(asked(house.env.tasks, house.cluster.parts.ports[leader.node], late, Fine, timeout_s=5.0))
    house.pass_time(1)
    assert votes(1) is Vote.VOTES
    assert house.rows(grounds.table) == {key_of(one): one for one in range(30)}
    assert house.scrub().verdict == "match"


def test_what_nobody_leads_just_now_weighs_what_it_did_and_what_is_dropped_takes_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    grounds = Grounds(partitions=2, copies=False)
    grounds.fill(0, 20)
    grounds.house.pass_time(2)
    parts, placed = grounds.house.cluster.parts, grounds.relocating.layout()
    table, info = parts.metadata.tables[grounds.table.table_id], grounds.table_infos()[0]
    before = grounds.balancing._held(table, info, placed)
    monkeypatch.setattr(parts.fleet, "leader", lambda partition: None)
    now = grounds.balancing._held(table, info, placed)
    assert before is not None
    assert now is not None
    assert (now.size, now.stays, now.leader) == (before.size, "it has no leader", 0)
    assert before.size > 0
    on = msgspec.structs.replace(info, hosts=(1, 2, 3, 4), goes=(1,))
    for status, moves in (("ACTIVE", 1), ("DELETING", 0), ("DROPPED", 0)):
        changed = msgspec.structs.replace(table, status=status, partitions=(on, *table.partitions[1:]))
        monkeypatch.setitem(parts.metadata.tables, table.table_id, changed)
        assert len(copies_moving(parts)) == moves, status


def test_turned_off_nothing_moves_and_it_says_so() -> None:
    grounds = Grounds(copies=False, partitions=3)
    grounds.join()
    grounds.house.pass_time(10)
    assert grounds.held() == {1: 3, 2: 3, 3: 3}
    assert balance_report(grounds.house.cluster.parts)["copies"] == "it is turned off"
    assert balance_report(grounds.house.cluster.parts)["moving"] == []


@pytest.mark.slow
def test_a_node_that_leads_nothing_after_a_restart_leads_again() -> None:
    grounds = Grounds(zones="abca", copies=False, partitions=6)
    house = grounds.house
    grounds.fill(0, 10)
    for name in ("n1", "n2"):
        grounds.host(name).crash(power=False)
        house.until(lambda: all(house.cluster.parts.fleet.leader(info.partition_id) is not None for info in grounds.infos()))
        grounds.host(name).start()
        house.until(lambda name=name: name in {node.name for node in house.cluster.nodes()})  # type: ignore[misc]
    house.pass_time(25)
    led = grounds.led()
    assert len(led) == 3
    assert max(led.values()) - min(led.values()) <= 2, led
    grounds.fill(10, 20)
    before = grounds.balancing.counts["leads"]
    house.pass_time(10)
    assert grounds.balancing.counts["leads"] == before, "it is at rest"
    assert house.rows(grounds.table) == {key_of(one): one for one in range(20)}


@pytest.mark.slow
def test_who_does_not_take_a_lead_is_not_asked_again_and_again() -> None:
    """It is about to stop, or its clock is behind: all that is known of its copies says that they could lead."""
    grounds = Grounds(zones="abc", copies=False, partitions=6)
    house = grounds.house
    grounds.fill(0, 10)
    grounds.host("n3").crash(power=False)
    house.until(lambda: all(house.cluster.parts.fleet.leader(info.partition_id) is not None for info in grounds.infos()))
    grounds.host("n3").start()
    house.until(lambda: "n3" in {node.name for node in house.cluster.nodes()})
    node = grounds.host("n3").process.node
    house.until(lambda: all(replica.group is not None for replica in node.members.values()))
    for replica in node.members.values():
        replica.group.set_lead(False, node.now())
    before = grounds.balancing.counts["leads"]
    house.pass_time(40)
    assert grounds.led()["n3"] == 0
    assert 0 < grounds.balancing.counts["leads"] - before <= 9, "six to it, and what these did to the others"
    for replica in node.members.values():
        replica.group.set_lead(True, node.now())
    house.until(lambda: grounds.led()["n3"] > 0)


def test_who_is_about_to_stop_is_given_no_lead() -> None:
    grounds = Grounds(zones="abc", copies=False, partitions=6)
    house = grounds.house
    grounds.fill(0, 10)
    node = grounds.host("n3").process.node
    node.departure.hand_over(lambda: None, leaving=frozenset())
    house.until(lambda: grounds.led()["n3"] == 0)
    said = len(grounds.lines)
    house.pass_time(20)
    assert house.cluster.parts.ports[NodeName("n3")].status().stopping
    assert grounds.led()["n3"] == 0
    assert not any("n3 leads partition" in line for line in grounds.lines[said:])


@pytest.mark.slow
def test_what_is_on_its_way_to_a_node_has_its_room_there(monkeypatch: pytest.MonkeyPatch) -> None:
    grounds = Grounds(partitions=4, leads=False)
    house = grounds.house
    grounds.fill(0, 20)
    node = grounds.host(FOURTH).process.node
    monkeypatch.setattr(node.engine, "create", lambda partition, done: done(Unavailable("no room here")))
    grounds.join()
    house.until(lambda: any(info.goes for info in grounds.infos()))
    monkeypatch.setattr(grounds.balancing, "_free", lambda name: 10_000)
    moving = [info for info in grounds.infos() if info.goes]
    (place,) = [place for place in grounds.balancing._places(grounds.relocating.layout()) if place.number == 4]
    need = sum(2 * grounds.balancing._size(info) for info in moving)
    assert need > 0
    assert place.free == 10_000 - need


@pytest.mark.slow
def test_a_partition_beside_which_a_log_stands_by_is_moved_too_and_who_has_the_log_makes_the_tree() -> None:
    """After an outage logs stand by for good: what they belong to would never be evened out again."""
    grounds = Grounds(partitions=4, stand_in_us=2_500_000)
    house = grounds.house
    grounds.fill(0, 20)
    grounds.balancing._scrubbed = {info.partition_id for info in grounds.table_infos()}
    grounds.join()
    grounds.host("n2").crash(power=False)
    house.until(lambda: all(info.logs == (4,) for info in grounds.table_infos()))
    grounds.host("n2").start()
    house.until(lambda: "n2" in {node.name for node in house.cluster.nodes()})
    house.pass_time(10)
    assert grounds.balancing.counts["copies"] == 0
    grounds.balancing._scrubbed = set()
    house.until(lambda: any(info.goes for info in grounds.infos()))
    (moving, *_) = balance_report(house.cluster.parts)["moving"]
    assert (moving["from"], moving["to"]) == ("n1", "n4")
    house.until(lambda: grounds.balancing.counts["copies"] == 2 and all(not info.goes and not info.fresh for info in grounds.infos()))
    house.pass_time(10)
    found = sorted((info.nodes, info.logs) for info in grounds.table_infos())
    assert found == [((1, 2, 3, 4), (4,))] * 2 + [((2, 3, 4), ())] * 2
    assert grounds.balancing.counts["copies"] == 2, "it is at rest"
    grounds.fill(20, 30)
    assert house.rows(grounds.table) == {key_of(one): one for one in range(30)}
    assert house.scrub().verdict == "match"


@pytest.mark.slow
def test_what_is_not_well_or_not_there_long_enough_is_given_nothing() -> None:
    grounds = Grounds(partitions=3, stand_in_us=2_500_000)
    house = grounds.house
    grounds.fill(0, 10)
    grounds.rests()
    house.pass_time(1)
    # A scrub that looks at a partition keeps its copies where they are.
    looks = {info.partition_id for info in grounds.table_infos()}
    grounds.balancing._scrubbed = looks
    grounds.join()
    house.pass_time(8)
    assert grounds.held() == {1: 3, 2: 3, 3: 3}
    grounds.balancing._scrubbed = set()
    # So does an older process that may come back: nobody there knows what `goes` means.
    grounds.raising.stop()
    note, metadata = house.cluster.metadata.version, house.cluster.metadata
    metadata.version = msgspec.structs.replace(note, number=BALANCES - 1)
    house.pass_time(8)
    assert "version 7" in grounds.balancing.why
    metadata.version = note
    # And a node that came back just now: it is given nothing for a while, whatever it lacks.
    grounds.balancing._options = grounds.options._replace(steady_us=20_000_000)
    grounds.host(FOURTH).crash(power=False)
    house.pass_time(0.5)
    grounds.host(FOURTH).start()
    house.pass_time(8)
    assert grounds.held() == {1: 3, 2: 3, 3: 3}
    house.until(lambda: grounds.held()[4] > 0)
    house.until(grounds.settled)
    # A copy that is not whole is put right first, and a partition with a log that stands by stays.
    grounds.host("n2").crash(power=False)
    house.until(lambda: all(info.logs for info in grounds.table_infos() if 2 in info.nodes and 4 not in info.nodes))
    assert grounds.balancing.why == "node n2 is out"
    grounds.host("n2").start()
    house.until(lambda: grounds.balancing.why == "")
    before = grounds.balancing.counts["copies"]
    house.pass_time(30)
    assert all(4 in info.nodes for info in grounds.table_infos())
    assert grounds.balancing.counts["copies"] == before


@pytest.mark.slow
def test_a_copy_on_its_way_is_none_of_those_that_count() -> None:
    """It is no fault that it is not whole, and nothing to be compared: at each moment those that count are whole, or two and not less."""
    grounds = Grounds(partitions=2, leads=False)
    house, fleet = grounds.house, grounds.house.cluster.parts.fleet
    grounds.fill(0, 20)
    grounds.rests()
    grounds.join()
    seen: set[int] = set()
    for _ in range(600):
        house.pass_time(0.01)
        for info in grounds.table_infos():
            assert all(copy.state == "ok" for copy in fleet.copies(info) if copy.state != "behind"), (info, fleet.copies(info))
            counted = [node.number for node, _ in fleet.counted(info)]
            assert not set(info.goes).intersection(counted)
            leader = fleet.leader(info.partition_id)
            if leader is not None and info.goes:
                voters = [place.member.node for place in members_of(info, leader).places if place.vote is Vote.VOTES]
                assert set(counted) <= set(voters)
            seen.add(len(counted))
    assert grounds.balancing.counts["copies"] == 1
    assert seen == {2, 3}
