"""A node whose disk is replaced by an empty one becomes another member of every group, of the real classes: its copies come from the log, or from the archive where the log was let go of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.base.errors import NotLeader, Unavailable, Unsafe
from scrubjay.base.ids import Lsn, Member, NodeName
from scrubjay.scrubber.healer import Healer
from scrubjay.server.replacing import Replacing
from scrubjay.sim.events import Life
from scrubjay.sim.whole.cluster import NAMES
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.btree.memory_engine import MemoryTrees
from scrubjay.storage.log.configuration import Configuration, Vote, decode_configuration
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.status import LEARNER, VOTES
from tests.unit.control.house import House

LOST = NodeName("n3")
WANTED = Member(3, 2)


class Yard:
    """A house with a healer and one table. keep_log: what is archived stays in the logs."""

    def __init__(self, *, keep_log: bool) -> None:
        house = self.house = House(storage=replace(STORAGE, keep_log_us=3_600_000_000 if keep_log else 0))
        self.table = house.create("t")
        self.partition = self.table.partitions[0].partition_id
        self.lines: list[str] = []
        Healer(house.env, house.service, house.references(), interval_s=0.5, log=self.lines.append).start()
        self.replacing = Replacing(house.env, house.cluster.folders, house.cluster.parts, works=lambda: True, log=self.lines.append)
        self.replacing.start()

    def host(self, name: str = LOST) -> Any:
        return next(host for host in self.house.cluster.hosts if host.name == name)

    def replica(self, name: str = LOST) -> Replica:
        found: Replica = self.host(name).process.node.replicas[self.partition]
        return found

    def lose(self, name: NodeName = LOST) -> None:
        """Its disk is replaced by an empty one, and it starts: it stays out."""
        host = self.host(name)
        host.crash(power=True)
        host.disk.attach(Life(self.house.world))
        host.disk.wipe()
        self.house.cluster.trees[name] = MemoryTrees()
        host.start()

    def fill(self, first: int, end: int) -> None:
        for key in range(first, end):
            self.house.put(self.table, key, key)

    def replaced(self) -> Any:
        return self.house.run(self.replacing.replace(LOST, lambda _: None))


def test_a_folder_that_is_lost_before_it_spoke_as_the_new_member_is_waited_for_by_nobody() -> None:
    """The disk is emptied again between the word of the catalogue and the node's next start: whoever waits is told so, and asks for the folder that is there."""
    yard = Yard(keep_log=True)
    house, metadata = yard.house, yard.house.cluster.metadata
    yard.fill(0, 5)
    yard.lose()
    asked = house.env.tasks.spawn(yard.replacing.replace(LOST, lambda _: None), name="replace")
    house.until(lambda: LOST in metadata.nodes)
    yard.lose()
    house.until(asked.done)
    with pytest.raises(Unavailable, match="not there any more"):
        asked.result()
    assert yard.replaced()["incarnation"] == 3


@pytest.mark.parametrize("keep_log", [True, False])
def test_an_empty_disk_becomes_another_member_and_nothing_is_lost(keep_log: bool) -> None:
    yard = Yard(keep_log=keep_log)
    house = yard.house
    yard.fill(0, 60)
    old = yard.replica()
    house.until(lambda: old.segments.facts.archived > 0 and (keep_log or yard.replica("n1").group.log.first > 1))  # type: ignore[union-attr]
    boots = house.cluster.members.seats[LOST].boots
    yard.lose()
    yard.fill(60, 80)
    done = yard.replaced()
    assert (done["node"], done["incarnation"], done["partitions"]) == (LOST, 2, 2)
    new = yard.replica()
    assert (new.member, new.status.vote, new.status.tree) == (WANTED, VOTES, "ok")
    assert house.cluster.members.seats[LOST].boots > (boots | 0xFFFF), "an epoch never comes again"
    healed = any("healed from the archive" in line for line in yard.lines)
    assert healed is not keep_log, yard.lines
    configuration = decode_configuration(yard.replica("n1").configured.payload)
    place = configuration.place(3)
    assert place is not None
    assert (place.member, place.vote) == (WANTED, Vote.VOTES)
    # It is one of three like any: with one of the others gone the two that are left serve, whoever led.
    yard.host("n1").crash(power=False)
    yard.fill(80, 85)
    yard.host("n1").start()
    house.until(lambda: len(house.cluster.nodes()) == 3)
    yard.host("n2").crash(power=False)
    house.until(lambda: house.cluster.leader(yard.partition) is not None)
    assert house.rows(yard.table) == {key_of(key): key for key in range(85)}
    yard.host("n2").start()
    house.until(lambda: len(house.cluster.nodes()) == 3)
    assert house.scrub().verdict == "match"
    # A start of the member later its group goes by the CONFIGs that its log let go of.
    yard.host().crash(power=False)
    yard.host().start()
    house.until(lambda: len(house.cluster.nodes()) == 3 and yard.partition in yard.host().process.node.replicas)
    house.until(lambda: yard.replica().status.tree == "ok")
    assert (yard.replica().member, yard.replica().status.vote) == (WANTED, VOTES)
    # A table made from now on has it from its beginning.
    later = house.create("later")
    assert WANTED in [Member(*member) for member in later.partitions[0].members]


def test_a_learner_serves_nothing_and_votes_only_once_its_copy_is_whole() -> None:
    yard = Yard(keep_log=True)
    yard.fill(0, 5)
    yard.lose()
    proposed: list[tuple[str, str]] = []
    seen = Replica.configured_by

    def noted(self: Replica, configuration: Configuration, record: Any) -> None:
        if self.partition == yard.partition and self.node.name == LOST:
            heard: list[Any] = []
            self.read(key_of(1), consistent=False, min_lsn=Lsn(0), done=heard.append)
            proposed.append((self.status.vote, type(heard[0]).__name__))
        seen(self, configuration, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replica, "configured_by", noted)
        yard.replaced()
    assert proposed == [(LEARNER, NotLeader.__name__)] * 2, "as a learner it answers no read, not even one that may be old"


def test_who_is_a_member_or_has_something_in_its_folder_is_not_replaced() -> None:
    yard = Yard(keep_log=True)
    with pytest.raises(Unsafe, match="is a member"):
        yard.replaced()
    yard.lose()
    yard.host("n1").crash(power=False)
    with pytest.raises(Unsafe, match="another node is out"):
        yard.replaced()
    yard.host("n1").start()
    yard.house.until(lambda: len(yard.house.cluster.nodes()) == 2)
    yard.house.until(lambda: yard.house.cluster.leader(yard.partition) is not None)
    assert yard.replaced()["incarnation"] == 2
    # The disk is lost once more: the member of then never votes again, another takes its place.
    yard.lose()
    assert yard.replaced()["incarnation"] == 3
    assert yard.replica().member == Member(3, 3)


@pytest.mark.slow
def test_a_tree_that_cannot_be_read_says_nothing_of_members_and_its_copy_leads_nobody_until_it_is_healed() -> None:
    """n1 went by CONFIGs that its log let go of. With its tree they are gone too: it takes nobody for a member rather than the founding ones, of whom one never votes again."""
    yard = Yard(keep_log=False)
    house = yard.house
    yard.fill(0, 60)
    yard.lose()
    yard.fill(60, 90)
    yard.replaced()
    host = yard.host("n1")
    house.until(lambda: all(yard.replica(name).configured == yard.replica(LOST).configured for name in NAMES))
    first = yard.replica("n1").configured.lsn
    end = 90
    while yard.replica("n1").group.log.first <= first + 40:  # type: ignore[union-attr] # what was let go of last is not durable yet
        assert end < 300
        yard.fill(end, end + 10)
        end += 10
        house.pass_time(3.0)
    host.crash(power=False)
    del house.cluster.trees[NodeName("n1")].trees[yard.partition]
    known: list[tuple[str, Configuration]] = []
    start = Replica.start

    def started(self: Replica, group: Any, applied: Lsn) -> None:
        start(self, group, applied)
        if (self.node.name, self.partition) == ("n1", yard.partition):
            known.append((self.status.vote, group.members.configuration))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replica, "start", started)
        host.start()
        house.until(lambda: bool(known))
    assert known[0] == (LEARNER, Configuration(()))
    house.until(lambda: yard.replica("n1").status.tree == "ok", seconds=120.0)
    healed = yard.replica("n1")
    assert healed.status.vote == VOTES
    place = healed.group.members.configuration.place(3)  # type: ignore[union-attr]
    assert place is not None
    assert (place.member, healed.configured.lsn >= first) == (WANTED, True)
    house.until(lambda: house.cluster.leader(yard.partition) is not None)
    assert len(house.rows(yard.table)) == end
    assert house.scrub().verdict in ("match", "mismatch"), "what was found before is told once"
    assert house.scrub().verdict == "match"
