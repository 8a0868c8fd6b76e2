"""Nodes join, are drained and removed, of the real classes: copies go from one node to another while tables are written to, and whatever dies on the way, nothing is lost and all of it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Invalid, Unsafe
from scrubjay.base.ids import Member, NodeName
from scrubjay.scrubber.healer import Healer
from scrubjay.server.relocating import LANES, Relocating
from scrubjay.server.replacing import Replacing
from scrubjay.server.standing_in import LOG_KEPT_US
from scrubjay.sim.events import Life
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.btree.memory_engine import MemoryTrees
from scrubjay.storage.catalogue import DRAINING, REMOVED, PartitionInfo
from scrubjay.storage.control.placement import COPIES
from tests.unit.control.house import House

OLD, NEW = NodeName("n1"), NodeName("n4")


class Yard:
    """A house with a spare node, a healer and one table. keep_log: what is archived stays in the logs. stand_in_us, logs_kept_us: as `Relocating` has it."""

    def __init__(
        self,
        *,
        keep_log: bool = True,
        seed: int = 1,
        partitions: int = 2,
        spares: int = 1,
        stand_in_us: int = 0,
        logs_kept_us: int = LOG_KEPT_US,
    ) -> None:
        storage = replace(STORAGE, keep_log_us=3_600_000_000 if keep_log else 0)
        house = self.house = House(seed, storage=storage, spares=spares, partitions=partitions)
        self.stand_in_us, self.logs_kept_us = stand_in_us, logs_kept_us
        self.table = house.create("t")
        self.lines: list[str] = []
        self.works()

    def works(self) -> None:
        """What a control part runs, that of then included."""
        house = self.house
        Healer(house.env, house.service, house.references(), interval_s=0.5, log=self.lines.append).start()
        parts = house.cluster.parts
        self.replacing = Replacing(house.env, house.cluster.folders, parts, works=lambda: True, log=self.lines.append)
        self.replacing.start()
        self.relocating = Relocating(
            house.env,
            house.cluster.folders,
            parts,
            works=lambda: True,
            log=self.lines.append,
            stand_in_us=self.stand_in_us,
            logs_kept_us=self.logs_kept_us,
        )
        self.relocating.start()

    def stops(self, task: Any) -> None:
        """The control part dies, and with it whoever waited there."""
        task.cancel()
        self.relocating.stop()
        self.replacing.stop()

    def host(self, name: str) -> Any:
        return next(host for host in self.house.cluster.hosts if host.name == name)

    def copies(self, name: str) -> list[str]:
        return sorted(self.host(name).process.node.members)

    def infos(self) -> list[PartitionInfo]:
        metadata = self.house.cluster.metadata
        return [*metadata.system.partitions, *metadata.tables[self.table.table_id].partitions]

    def lose(self, name: NodeName) -> None:
        """Its disk is replaced by an empty one, and it starts."""
        host = self.host(name)
        host.crash(power=True)
        host.disk.attach(Life(self.house.world))
        host.disk.wipe()
        self.house.cluster.trees[name] = MemoryTrees()
        host.start()

    def fill(self, first: int, end: int) -> None:
        for key in range(first, end):
            self.house.put(self.table, key, key)

    def join(self, name: NodeName = NEW) -> Any:
        return self.house.run(self.relocating.join(name, lambda _: None))

    def drain(self, name: NodeName = OLD) -> Any:
        return self.house.run(self.relocating.drain(name, lambda _: None))

    def remove(self, name: NodeName = OLD) -> Any:
        return self.house.run(self.relocating.remove(name, lambda _: None))

    def state(self, name: NodeName) -> str:
        return self.house.cluster.metadata.nodes[name].state


@pytest.mark.slow
@pytest.mark.parametrize("keep_log", [True, False])
def test_a_node_is_drained_and_removed_and_another_has_its_copies(keep_log: bool) -> None:
    yard = Yard(keep_log=keep_log)
    house = yard.house
    yard.fill(0, 60)
    assert yard.copies(NEW) == []
    if not keep_log:
        house.until(
            lambda: all(
                replica.group.log.first > 1 for replica in yard.host("n2").process.node.replicas.values() if replica.table.name == "t"
            )
        )
    joined = yard.join()
    assert (joined["node"], joined["incarnation"], yard.join()["incarnation"]) == (NEW, 1, 1)
    assert yard.copies(NEW) == [], "that a node joins moves nothing"
    assert yard.drain()["left"] == 0
    assert yard.copies(OLD) == []
    assert all(info.nodes == (2, 3, 4) and not info.fresh for info in yard.infos())
    assert len(yard.copies(NEW)) == 3
    yard.fill(60, 90)
    later = house.create("later")
    assert {tuple(info.members) for info in later.partitions} == {(Member(2, 1), Member(3, 1), Member(4, 1))}
    assert yard.state(OLD) == DRAINING
    yard.remove()
    assert (yard.state(OLD), yard.remove()["exit"]) == (REMOVED, 0)
    # It is one of three like any: with one of the others gone, the two that are left serve.
    yard.host("n2").crash(power=False)
    yard.fill(90, 95)
    yard.host("n2").start()
    house.until(lambda: "n2" in {node.name for node in house.cluster.nodes()})
    assert house.rows(yard.table) == {key_of(key): key for key in range(95)}
    assert house.scrub().verdict == "match"
    assert any("healed from the archive" in line for line in yard.lines) is not keep_log


@pytest.mark.slow
def test_who_was_removed_stays_out_and_joins_again_with_an_empty_folder() -> None:
    yard = Yard()
    yard.fill(0, 20)
    yard.join()
    yard.drain()
    yard.remove()
    host = yard.host(OLD)
    host.crash(power=False)
    host.start()
    yard.house.until(lambda: host.process is not None and host.process.node.failed is not None)
    assert "was removed from the cluster" in str(host.process.node.failed)
    with pytest.raises(Unsafe, match="not empty"):
        yard.join(OLD)
    yard.lose(OLD)
    assert yard.join(OLD)["incarnation"] == 2
    yard.house.until(lambda: yard.house.cluster.parts.ports[OLD].status().started)
    assert yard.copies(OLD) == [], "its old places are others'"
    yard.drain(NodeName("n3"))
    assert all(info.nodes == (1, 2, 4) for info in yard.infos())
    yard.fill(20, 30)
    assert yard.house.rows(yard.table) == {key_of(key): key for key in range(30)}
    assert yard.house.scrub().verdict == "match"


def test_what_would_cost_a_zone_or_a_quorum_is_refused_and_nothing_is_written() -> None:
    yard = Yard()
    yard.fill(0, 5)
    with pytest.raises(Unsafe, match="no other node can take"):
        yard.drain()
    with pytest.raises(Invalid, match="no member"):
        yard.drain(NEW)
    with pytest.raises(Invalid, match="no such node"):
        yard.join(NodeName("n9"))
    yard.host("n2").crash(power=False)
    yard.house.until(lambda: all(yard.house.cluster.parts.fleet.leader(info.partition_id) for info in yard.infos()))
    with pytest.raises(Unsafe, match="quorum"):
        yard.remove()
    assert yard.house.cluster.metadata.nodes == {}


def test_two_nodes_are_drained_at_once_and_each_partition_keeps_its_zones() -> None:
    """What comes for both counts, and not the first that comes alone: neither waits for the other for ever, and the second drain is taken though nothing of the first has begun."""
    yard = Yard(spares=2)
    house = yard.house
    yard.fill(0, 20)
    yard.join()
    yard.join(NodeName("n5"))
    first = house.env.tasks.spawn(yard.relocating.drain(OLD, lambda _: None), name="drain")
    house.until(lambda: house.cluster.metadata.nodes.get(OLD) is not None)
    assert any(info.nodes == (1, 2, 3) for info in yard.infos()), "not all of it has begun"
    assert yard.drain(NodeName("n2"))["left"] == 0
    house.until(first.done)
    assert all(info.nodes == (3, 4, 5) and not info.fresh for info in yard.infos())
    assert house.rows(yard.table) == {key_of(key): key for key in range(20)}


def test_two_nodes_leave_and_one_that_could_take_their_copies_is_not_enough() -> None:
    yard = Yard()
    yard.fill(0, 5)
    yard.join()
    yard.house.cluster.parts.zones = dict.fromkeys(yard.house.cluster.parts.ports, "all are in one")
    yard.relocating.stop()
    drained = yard.house.cluster.metadata.standing(OLD, 1)
    assert drained is not None
    yard.house.run(yard.relocating._put(OLD, msgspec.structs.replace(drained, state=DRAINING)))
    with pytest.raises(Unsafe, match="no other node can take"):
        yard.drain(NodeName("n2"))
    assert NodeName("n2") not in yard.house.cluster.metadata.nodes


def test_a_drain_is_refused_where_the_copies_have_no_room_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has, and the other would fill the disk of who has taken the first."""
    yard = Yard()
    yard.fill(0, 20)
    yard.join()
    monkeypatch.setattr(yard.relocating, "_size", lambda partition: 100)
    monkeypatch.setattr(yard.relocating, "_low_bytes", 7)
    # Three copies, and one of them a second time while it comes.
    monkeypatch.setattr(yard.relocating, "_free", {NEW: 7 + 399}.get)
    with pytest.raises(Unsafe, match="no other node has room"):
        yard.drain()
    assert OLD not in yard.house.cluster.metadata.nodes
    monkeypatch.setattr(yard.relocating, "_free", {NEW: 7 + 400}.get)
    assert yard.drain()["left"] == 0
    assert all(info.nodes == (2, 3, 4) for info in yard.infos())


def test_what_is_on_its_way_has_its_room_and_what_has_come_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Yard()
    yard.fill(0, 20)
    yard.join()
    yard.relocating.stop()
    monkeypatch.setattr(yard.relocating, "_free", {NEW: 100_000}.get)
    assert yard.relocating._room() == {4: 100_000}
    info = yard.infos()[-1]
    assert yard.house.run(yard.relocating.begin(yard.table.table_id, info, source=1, target=4))
    size = yard.relocating._size(info.partition_id)
    assert yard.relocating._room() == {4: 100_000 - 2 * size}
    yard.relocating.start()
    yard.house.until(lambda: all(one.nodes != (1, 2, 3, 4) and not one.fresh for one in yard.infos()))
    assert yard.relocating._room() == {4: 100_000}


def test_a_dead_node_is_removed_and_the_next_that_joins_takes_its_place() -> None:
    yard = Yard()
    yard.fill(0, 20)
    yard.host(OLD).crash(power=False)
    yard.house.until(lambda: all(yard.house.cluster.parts.fleet.leader(info.partition_id) for info in yard.infos()))
    yard.remove()
    assert all(info.nodes == (2, 3) for info in yard.infos())
    yard.fill(20, 30)
    yard.join()
    yard.house.until(lambda: all(info.nodes == (2, 3, 4) and not info.fresh for info in yard.infos()))
    yard.house.until(lambda: all(facts.vote == "votes" for facts in yard.house.cluster.parts.ports[NEW].all_facts()))
    yard.host("n3").crash(power=False)
    yard.fill(30, 35)
    yard.host("n3").start()
    yard.house.until(lambda: "n3" in {node.name for node in yard.house.cluster.nodes()})
    assert yard.house.rows(yard.table) == {key_of(key): key for key in range(35)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_whoever_dies_on_the_way_the_drain_ends_and_nothing_is_lost(seed: int) -> None:
    yard = Yard(seed=100 + seed, keep_log=seed % 2 == 0)
    house = yard.house
    yard.fill(0, 20)
    yard.join()
    task = house.env.tasks.spawn(yard.relocating.drain(OLD, lambda _: None), name="drain")
    draw = house.world.stream("deaths")
    key, killed = 20, 0
    while not task.done() or killed < 6:
        house.pass_time(draw.uniform(0.02, 0.4))
        if killed < 6:
            killed += 1
            if draw.chance(0.3):
                yard.stops(task)
                house.restart_control(power=True)
                yard.works()
                task = house.env.tasks.spawn(yard.relocating.drain(OLD, lambda _: None), name="drain")
            else:
                host = draw.choice(house.cluster.hosts)
                host.crash(power=draw.chance(0.5))
                house.pass_time(draw.uniform(0.0, 0.3))
                host.start()
        house.put(yard.table, key, key)
        key += 1
        assert key < 400
    assert task.result()["left"] == 0
    assert yard.copies(OLD) == []
    assert house.rows(yard.table) == {key_of(one): one for one in range(key)}
    house.until(lambda: len(house.cluster.nodes()) == 4)
    assert house.scrub().verdict == "match"


def test_at_most_two_partitions_are_on_their_way() -> None:
    yard = Yard(partitions=6)
    yard.join()
    seen: set[int] = set()
    task = yard.house.env.tasks.spawn(yard.relocating.drain(OLD, lambda _: None), name="drain")
    while not task.done():
        seen.add(sum(len(info.nodes) > COPIES for info in yard.infos()))
        yard.house.pass_time(0.05)
    assert task.result()["left"] == 0
    assert max(seen) == LANES
