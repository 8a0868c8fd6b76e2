"""A log replica stands in for a node that is lost, of the real classes: within seconds, whoever dies next, and rests once the node is back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.pitr.target import RestoreTarget
from scrubjay.server.raising import Raising
from scrubjay.server.standing_in import NOBODY
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.cluster_version import BALANCING
from scrubjay.storage.log.configuration import Configuration, CopyKind, Vote, decode_configuration
from tests.sim.test_relocate import NEW, Yard

AFTER_US = 3_000_000
HALF = bytes([0x80]) + bytes(15)
LOST, OTHER = NodeName("n3"), NodeName("n1")


class Ward(Yard):
    """A yard whose fourth node has joined and holds nothing."""

    def __init__(self, **how: Any) -> None:
        super().__init__(stand_in_us=AFTER_US, partitions=1, **how)
        self.fill(0, 40)
        if not how.get("keep_log", True):
            self.house.until(
                lambda: all(
                    replica.group.log.first > 1 for replica in self.host(OTHER).process.node.replicas.values() if replica.table.name == "t"
                )
            )
        self.join()

    def group(self, info: PartitionInfo) -> Configuration:
        """By which the leader goes, of what is chosen."""
        leader = self.house.cluster.parts.fleet.leader(info.partition_id)
        assert leader is not None
        lsn, payload = leader.configured
        return decode_configuration(payload) if lsn else Configuration(())

    def voters(self, info: PartitionInfo) -> dict[int, CopyKind]:
        return {place.member.node: place.kind for place in self.group(info).places if place.vote is Vote.VOTES}

    def stands(self, *numbers: int) -> bool:
        """These vote in every group."""
        fleet = self.house.cluster.parts.fleet
        return all(fleet.leader(info.partition_id) is not None and sorted(self.voters(info)) == sorted(numbers) for info in self.infos())


@pytest.mark.slow
@pytest.mark.parametrize("keep_log", [True, False])
def test_a_log_replica_stands_in_within_seconds_and_rests_when_the_node_is_back(keep_log: bool) -> None:
    ward = Ward(keep_log=keep_log)
    house = ward.house
    house.pass_time(5)
    assert ward.copies(NEW) == []
    ward.host(LOST).crash(power=False)
    began = house.world.now
    house.until(lambda: ward.stands(1, 2, 4))
    assert house.world.now - began < AFTER_US + 5_000_000, "goal: five seconds after it is known to be lost"
    assert all(ward.voters(info)[4] is CopyKind.LOG for info in ward.infos())
    assert ward.host(NEW).process.node.replicas == {}, "no tree is made"
    ward.fill(40, 60)
    # A second fault: of the two that are left with a tree, one goes. The log and the other are a quorum.
    ward.host(OTHER).crash(power=False)
    ward.fill(60, 70)
    ward.host(OTHER).start()
    house.until(lambda: OTHER in {node.name for node in house.cluster.nodes()})
    ward.host(LOST).start()
    house.until(lambda: ward.stands(1, 2, 3))
    ward.fill(70, 80)
    assert all(info.nodes == (1, 2, 3, 4) and info.logs == (4,) and not info.fresh for info in ward.infos())
    # It stands by, and is there at once the next time.
    ward.host(LOST).crash(power=True)
    house.until(lambda: ward.stands(1, 2, 4))
    ward.host(LOST).start()
    house.until(lambda: ward.stands(1, 2, 3))
    house.pass_time(1)
    assert house.rows(ward.table) == {key_of(key): key for key in range(80)}
    assert house.scrub().verdict == "match"


@pytest.mark.slow
def test_a_partition_beside_which_a_log_stands_by_is_split_and_its_halves_have_the_log_too() -> None:
    ward = Ward()
    house = ward.house
    ward.host(LOST).crash(power=False)
    house.until(lambda: ward.stands(1, 2, 4))
    splits: Any = house.cluster.parts.splits
    (info,) = house.table("t").partitions
    with pytest.raises(Unavailable) as refused:
        house.run(splits.begin(house.table("t"), info, HALF))
    assert refused.value.fields["why"] == "a copy of it does not vote yet", "the lost member rests"
    ward.host(LOST).start()
    house.until(lambda: ward.stands(1, 2, 3))
    house.pass_time(1)
    (info,) = house.table("t").partitions
    assert info.logs == (4,)
    house.run(splits.begin(house.table("t"), info, HALF))
    house.until(lambda: bool(house.table("t").former))
    children = house.table("t").partitions
    assert [(one.nodes, one.logs) for one in children] == [((1, 2, 3, 4), (4,))] * 2
    house.until(lambda: not any(one.fresh for one in house.table("t").partitions))
    house.until(lambda: ward.stands(1, 2, 3))
    ward.fill(40, 60)
    # It is there at once for the halves, too.
    ward.host(OTHER).crash(power=True)
    house.until(lambda: ward.stands(2, 3, 4))
    ward.fill(60, 70)
    ward.host(OTHER).start()
    house.until(lambda: ward.stands(1, 2, 3))
    assert house.rows(house.table("t")) == {key_of(key): key for key in range(70)}
    house.until(lambda: house.scrub().verdict == "match")


def test_a_log_that_nobody_needs_any_more_goes_and_another_member_stands_in_the_next_time() -> None:
    ward = Ward(logs_kept_us=20_000_000)
    house = ward.house
    Raising(house.env, house.cluster.parts, works=lambda: True, log=ward.lines.append).start()
    house.until(lambda: not house.cluster.parts.store.version.lacks(BALANCING))
    for times in (1, 2):
        ward.host(LOST).crash(power=False)
        house.until(lambda: ward.stands(1, 2, 4))
        ward.fill(20 + 20 * times, 40 + 20 * times)
        ward.host(LOST).start()
        house.until(lambda: ward.stands(1, 2, 3))
        house.pass_time(10)
        assert all(info.logs == (4,) for info in ward.infos()), "a node that is lost again soon finds it there"
        house.until(lambda: all(info.nodes == (1, 2, 3) and not info.logs for info in ward.infos()))
        house.until(lambda: ward.copies(NEW) == [])
        places = [place for info in ward.infos() for place in ward.group(info).places if place.member.node == 4]
        assert {(place.member.incarnation, place.vote) for place in places} == {(times, Vote.GONE)}
    assert house.rows(ward.table) == {key_of(key): key for key in range(80)}
    assert house.scrub().verdict == "match"


def test_where_there_is_no_fourth_node_nothing_changes_and_it_is_said() -> None:
    yard = Yard(stand_in_us=AFTER_US, partitions=1)
    yard.fill(0, 10)
    yard.host(LOST).crash(power=False)
    yard.house.until(lambda: bool(yard.relocating.short))
    assert set(yard.relocating.short.values()) == {NOBODY}
    yard.house.pass_time(5)
    assert all(info.nodes == (1, 2, 3) and not info.hosts for info in yard.infos())
    yard.host(LOST).start()
    yard.house.until(lambda: not yard.relocating.short)
    yard.fill(10, 20)


def test_who_is_lost_for_good_is_removed_and_the_one_with_the_log_makes_the_tree() -> None:
    ward = Ward(keep_log=False)
    house = ward.house
    ward.host(LOST).crash(power=True)
    house.until(lambda: ward.stands(1, 2, 4))
    ward.fill(40, 50)
    ward.remove(LOST)
    house.until(lambda: all(info.nodes == (1, 2, 4) and not info.logs for info in ward.infos()))
    house.until(lambda: ward.stands(1, 2, 4) and all(ward.voters(info)[4] is CopyKind.STORAGE for info in ward.infos()))
    ward.fill(50, 60)
    ward.host(OTHER).crash(power=False)
    ward.fill(60, 65)
    ward.host(OTHER).start()
    house.until(lambda: OTHER in {node.name for node in house.cluster.nodes()})
    assert house.rows(ward.table) == {key_of(key): key for key in range(65)}
    assert house.scrub().verdict == "match"


def test_a_log_replica_that_starts_again_knows_who_is_a_member() -> None:
    """Its log lets go of the CONFIG that lets it vote, and it has no tree: a file beside the log says it."""
    ward = Ward(keep_log=False)
    house = ward.house
    ward.host(LOST).crash(power=False)
    house.until(lambda: ward.stands(1, 2, 4))
    partition = ward.infos()[-1].partition_id
    ward.fill(40, 60)
    since = house.cluster.parts.fleet.leader(partition).configured[0]  # type: ignore[union-attr]
    house.until(lambda: ward.host(NEW).process.node.members[partition].group.log.first > since)
    assert ward.host(NEW).process.node.log_members(partition).lsn == since
    ward.host(NEW).crash(power=True)
    ward.host(NEW).start()
    house.until(lambda: NEW in {node.name for node in house.cluster.nodes()})
    log = ward.host(NEW).process.node.members[partition]
    assert (log.state, log.status.vote, log.configured.lsn) == ("log", "votes", since)
    ward.host(OTHER).crash(power=False)
    ward.fill(60, 65)
    for name in (LOST, OTHER):
        ward.host(name).start()
    house.until(lambda: ward.stands(1, 2, 3))
    assert house.rows(ward.table) == {key_of(key): key for key in range(65)}


def test_a_table_is_restored_to_nodes_that_are_up_and_for_one_that_dies_meanwhile_a_log_replica_stands_in() -> None:
    ward = Ward()
    house = ward.house
    house.pass_time(6)
    asked = RestoreTarget(at_us=house.run(house.restore.preparing.look(house.table("t")))[1].latest_us)
    ward.host(LOST).crash(power=False)
    house.until(lambda: ward.stands(1, 2, 4))
    house.run(house.restore.start(house.table("t"), "elsewhere", asked))
    report = house.restored("elsewhere")
    assert (report["state"], report["degraded"]) == ("published", [])
    (info,) = house.table("elsewhere").partitions
    assert info.nodes == (1, 2, 4), "another node of a zone of its own is up"
    assert info.logs == (), "and has the rows: what stands in for the source's member there stands in for nobody here"
    ward.host(LOST).start()
    house.pass_time(5)
    house.run(house.restore.start(house.table("t"), "back", asked))
    assert house.world.run(until_us=house.world.now + 60_000_000, stop=lambda: house.restore.status("back")["phase"] == "read")  # type: ignore[index]
    ward.table = house.table("back")
    (info,) = ward.table.partitions
    (spare,) = {1, 2, 3, 4} - set(info.nodes)
    gone, left = [number for number in info.nodes if number != 1][:2]
    ward.host(f"n{gone}").crash(power=False)
    report = house.restored("back")
    assert (report["state"], [one["node"] for one in report["degraded"]]) == ("published", [f"n{gone}"])
    votes = partial(_votes, ward, info)
    house.until(lambda: votes(1, left, spare))
    ward.fill(100, 110)
    ward.host(f"n{left}").crash(power=False)  # the second fault: the log that stands in and the other one are a quorum
    ward.fill(110, 115)
    ward.host(f"n{left}").start()
    ward.host(f"n{gone}").start()
    house.until(lambda: votes(1, left, gone))
    wanted = {key_of(key): key for key in (*range(40), *range(100, 115))}
    assert house.rows(house.table("back")) == wanted
    house.until(lambda: house.scrub().verdict == "match")


def _votes(ward: Ward, info: PartitionInfo, *numbers: int) -> bool:
    return ward.house.cluster.parts.fleet.leader(info.partition_id) is not None and sorted(ward.voters(info)) == sorted(numbers)
