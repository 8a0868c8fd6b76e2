"""Who carries a split on: on the real control part, log and catalogue, with nodes that say of a partition what a split makes them say. What nodes do for a split themselves is tried elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Invalid, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, Member, NodeName, PartitionId
from scrubjay.storage.catalogue import LEDGER_TABLE, FinalSeal, PartitionInfo, SplitIntent, TableMeta
from scrubjay.storage.commands.values import WriteAnswer
from scrubjay.storage.control.splits import LEFT_MAX, Splits, TreesMade, keeps_from, short_of, voters_of
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, encode_configuration
from scrubjay.storage.log.split import Split, encode_split, split_away
from scrubjay.storage.node import errand_messages as messages
from scrubjay.storage.node import port
from scrubjay.storage.node.port import NodePort, ReplicaFacts, failure_of
from tests.unit.control.house import SECOND, House

HALF = bytes([0x80]) + bytes(15)


class Script:
    """What the nodes say. left: records that the children's trees lack, by node; lacks: nodes without a copy to make them of; splits: their release follows splits. lost: the answer to the question
    for SPLIT gets lost; begins: the children begin; stated: two members have stated the end of the parent's log."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.left: dict[NodeName, int] = {}
        self.lacks: set[NodeName] = set()
        self.splits = self.begins = self.stated = True
        self.lost = False
        self.late: set[NodeName] = set()
        """Nodes on which the children do not begin."""
        self.split: Split | None = None
        self.after = self.known_until = 0
        self.asked = 0
        self.parent = PartitionId("")
        self.end: FinalSeal | None = None
        self.hosted: set[tuple[NodeName, PartitionId]] = set()
        self.healed: set[NodeName] = set()
        self.healed_early = False
        self.silent = False
        self.wrap()

    def wrap(self) -> None:
        """Of a control part that has just begun."""
        parts = self.house.cluster.parts
        for name, node in list(parts.fleet.ports.items()):
            parts.fleet.ports[name] = parts.router.nodes[name] = Scripted(node, self)

    def restart(self) -> None:
        self.house.restart_control(up=False)
        self.wrap()
        self.house.run(self.house.cluster.up())

    def on_split(self, request: port.SplitPartition, done: Callable[[Any], None]) -> None:
        self.asked += 1
        system = self.house.cluster.metadata.system.partitions[0].partition_id
        self.known_until = max(facts.last_content_stamp for facts in self.house.cluster.parts.fleet.facts(system))
        found = Split(request.id, request.cut, request.left, request.right)
        if self.split is None:
            facts = self.house.cluster.parts.fleet.facts(request.partition)
            self.after, self.parent = request.after, request.partition
            last = max(facts, key=lambda one: one.applied)
            self.end = FinalSeal(request.partition, last.applied, int(request.after) + 1, "0c" * 32, "0d" * 16, last.rows)
            self.split = found
        assert self.split == found, "asked for again, it is the same one"
        if self.lost:
            done(Unavailable("the node did not answer in time", unknown=True))
        else:
            assert self.end is not None
            done(port.Sealed(self.end.lsn, self.end.stamp, self.end.stamp))  # type: ignore[arg-type]


class Scripted:
    """A node of the script."""

    def __init__(self, node: NodePort, script: Script) -> None:
        self._node, self._script = node, script
        self._outcomes: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def status(self) -> port.NodeStatus:
        return msgspec.structs.replace(self._node.status(), can=0, splits=self._script.splits)

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        return self._told(self._node.facts(partition))

    def _told(self, facts: ReplicaFacts | None) -> ReplicaFacts | None:
        script = self._script
        if facts is None or script.split is None or facts.partition != script.parent:
            return facts
        return msgspec.structs.replace(
            facts,
            split=encode_split(script.split),
            answers=False,
            final=script.end if script.stated else None,
            ended=0 if script.end is None else script.end.lsn,
        )

    def write(self, partition: PartitionId, command: Any, done: Callable[[Any], None]) -> None:
        script = self._script
        if script.split is not None and partition == script.parent:
            done(split_away(partition, script.split))
        else:
            self._node.write(partition, command, done)

    def ask(self, request: Any, done: Callable[[Any], None], *, timeout_s: float = 10.0) -> None:
        script = self._script
        if isinstance(request, messages.Begin) and isinstance(request.errand, messages.PrepareSplit):
            self._outcomes[request.id] = self._prepare(request.errand)
            done(port.Fine())
        elif isinstance(request, messages.Look) and request.id in self._outcomes:
            done(self._outcomes.pop(request.id))
        elif isinstance(request, port.SplitPartition) and script.silent:
            script.on_split(request, lambda _: None)
            late = Unavailable("the node did not answer in time", unknown=True)
            script.house.env.tasks.call_later(timeout_s, lambda: done(late))
        elif isinstance(request, port.SplitPartition):
            script.on_split(request, done)
        elif isinstance(request, port.AskFacts) and request.partition == script.parent:
            told = self.facts(request.partition)
            done(port.FactsOfReplicas(() if told is None else (told,)))
        elif isinstance(request, port.Host) and request.parent is not None:
            script.hosted.add((self._node.name, request.info.partition_id))
            done(port.HostedHere(True))
        elif (
            isinstance(request, port.Host)
            and self._node.name in script.late
            and (self._node.name, request.info.partition_id) in script.hosted
        ):
            done(port.HostedHere(True))  # it is there, and waits for the errand
        else:
            self._node.ask(request, done, timeout_s=timeout_s)

    def _prepare(self, errand: messages.PrepareSplit) -> messages.Ended:
        script, name = self._script, self._node.name
        if name in script.lacks and not errand.heal:
            return messages.Ended(None, failure_of(Unavailable("no copy to make them of", heal=True)))
        if errand.heal:
            script.healed.add(name)
            serve = [script.house.cluster.parts.fleet.leader(child.partition_id) for child in (errand.left, errand.right)]
            script.healed_early = script.healed_early or None in serve
        begun = script.split is not None and script.begins and name not in script.late
        if begun:
            table = msgspec.structs.replace(errand.table, status="CREATING", split=msgspec.UNSET)
            for child in (errand.left, errand.right):
                self._node.ask(port.Host(table, child), lambda _: None)
        return messages.Ended(messages.SplitPrepared(script.left.get(name, 0), begun), None)


class Told:
    """A house with a table and its script."""

    def __init__(self) -> None:
        self.house = House()
        self.script = Script(self.house)
        self.table = self.house.create("orders")
        (self.info,) = self.table.partitions

    @property
    def splits(self) -> Splits:
        found: Splits | None = self.house.cluster.parts.splits
        assert found is not None
        return found

    @property
    def now(self) -> TableMeta:
        return self.house.known(self.table.table_id)

    def begin(self, cut: bytes = HALF) -> SplitIntent:
        return self.house.run(self.splits.begin(self.now, self.info, cut))

    def mapped(self) -> tuple[PartitionInfo, ...]:
        self.house.until(lambda: bool(self.now.former))
        return self.now.partitions

    def waits(self) -> str:
        self.house.until(lambda: self.table.table_id in self.splits.waiting)
        return self.splits.waiting[self.table.table_id]


def test_a_partition_becomes_two_while_it_is_written_to() -> None:
    told = Told()
    house, script = told.house, told.script
    house.stop_agents()
    house.cluster.control.clock.jump(-50_000)
    split = told.begin()
    answers: list[Any] = []
    number = 0
    while len(answers) < 60 or not told.now.former:
        number += 1
        answers.append(house.ask(told.now, number % 12, number))
        house.pass_time(0.02)
    house.until(lambda: all(answer.done() for answer in answers))
    assert all(isinstance(answer.result(), WriteAnswer) for answer in answers), "no write fails"
    assert {answer.result().partition for answer in answers} == {told.info.partition_id, split.left, split.right}
    assert [(info.partition_id, info.lo, info.hi) for info in told.now.partitions] == [
        (split.left, told.info.lo, HALF.hex()),
        (split.right, HALF.hex(), ""),
    ]
    assert told.now.split is msgspec.UNSET
    assert script.after >= script.known_until > 0, "SPLIT is stamped behind the intent, however far a clock is ahead"
    assert stamp_micros(script.after) >= split.began_at
    assert {partition for _, partition in script.hosted} == {split.left, split.right}
    (former,) = told.now.former or ()
    assert (former.info, former.final, former.archived_at) == (told.info, script.end, None)
    assert told.splits.counts == {"begun": 1, "done": 1}
    assert sum(told.splits.pauses.counts) == 1
    assert told.splits.pauses.max_us < 2_000_000
    assert not [key for key in house.cluster.metadata.jobs if key.startswith("split/")], "its notes go with it"
    house.pass_time(2)
    assert all(node.facts(told.info.partition_id) is not None for node in house.cluster.parts.fleet.ports.values()), "the archive lacks it"
    house.start_agents()
    house.until(lambda: (told.now.former or ())[0].archived_at is not None)
    house.until(lambda: all(node.facts(told.info.partition_id) is None for node in house.cluster.parts.fleet.ports.values()))


def test_what_is_no_split_is_refused() -> None:
    told = Told()
    for cut in (bytes(16), bytes(15)):
        with pytest.raises(Invalid):
            told.begin(cut)
    told.script.splits = False
    with pytest.raises(Unavailable) as older:
        told.begin()
    assert older.value.fields["why"] == "to split a partition needs version 4 of every node, n1 can 3"
    told.script.splits, told.script.left = True, dict.fromkeys(told.script.house.cluster.parts.fleet.ports, LEFT_MAX + 1)
    told.begin()
    with pytest.raises(Conflict, match="is being split"):
        told.begin()


def test_a_copy_that_heard_of_nothing_until_the_map_was_written_begins_then() -> None:
    told = Told()
    house, script = told.house, told.script
    house.stop_agents()
    script.late = {NodeName("n3")}
    told.begin()
    assert [info.fresh for info in told.mapped()] == [(3,), (3,)]
    house.pass_time(2)
    with pytest.raises(Unavailable) as refused:
        house.run(told.splits.begin(told.now, told.now.partitions[0], bytes([0x40]) + bytes(15)))
    assert "being made" in refused.value.fields["why"]
    script.late.clear()
    house.until(lambda: [info.fresh for info in told.now.partitions] == [(), ()])


def test_tables_of_the_system_are_not_split() -> None:
    told = Told()
    told.house.cluster.metadata.tables[told.table.table_id] = msgspec.structs.replace(told.table, name=LEDGER_TABLE)
    with pytest.raises(Invalid, match="table of the system"):
        told.house.run(told.splits.begin(told.table, told.info, HALF))


def test_a_split_waits_for_trees_and_goes_on_after_any_stop() -> None:
    """The control part dies while it waits, after SPLIT, and before the copies are gone."""
    told = Told()
    house, script = told.house, told.script
    house.stop_agents()
    script.left = dict.fromkeys(house.cluster.parts.fleet.ports, LEFT_MAX + 1)
    split = told.begin()
    assert "lack 501 records" in told.waits()
    script.left = dict.fromkeys(script.left, LEFT_MAX + 2)
    house.until(lambda: "lack 502 records" in told.waits())
    assert len([line for line in house.cluster.lines if "waits: the children's trees lack" in line]) == 1, "it is said once"
    house.pass_time(1)
    assert script.asked == 0
    assert house.put(told.now, 1, 1).partition == told.info.partition_id, "it goes on as ever"
    script.restart()
    script.begins, script.lost, script.left = False, True, {}
    house.until(lambda: script.asked > 0)
    house.pass_time(1)
    assert not told.now.former, "the children do not serve"
    script.restart()
    house.pass_time(1)
    assert "leader" in told.waits()
    script.begins = True
    script.stated = False
    house.until(lambda: "stated" in told.waits())
    script.stated = True
    assert [info.partition_id for info in told.mapped()] == [split.left, split.right]
    script.restart()
    house.start_agents()
    house.until(lambda: (told.now.former or ())[0].archived_at is not None)
    house.until(lambda: all(node.facts(told.info.partition_id) is None for node in house.cluster.parts.fleet.ports.values()))


def test_a_leader_that_ends_its_log_and_is_heard_no_more_is_not_waited_for() -> None:
    """Stress seeds 50018 and 50043: its node died between the SPLIT and the answer, the others led the halves, and writes waited for 12 s: for the map."""
    told = Told()
    told.script.silent = True
    told.begin()
    told.house.until(lambda: told.script.asked > 0)
    began_us = told.house.world.now
    told.mapped()
    assert told.house.world.now - began_us < 3 * SECOND


@pytest.mark.slow
def test_a_member_without_a_copy_is_healed_when_the_others_serve() -> None:
    told = Told()
    told.script.lacks = {NodeName(next(iter(told.house.cluster.parts.fleet.ports)))}
    told.begin()
    told.mapped()
    assert told.script.lacks <= told.script.healed
    assert not told.script.healed_early


def test_a_node_that_is_away_may_begin_its_copies_of_the_children_when_it_is_back() -> None:
    """Nobody can have counted on logs that it never had; nobody else may make one that is lost."""
    told = Told()
    house = told.house
    away = house.cluster.hosts[2]
    away.crash(power=False)
    house.pass_time(5)
    told.begin()
    assert [info.fresh for info in told.mapped()] == [(3,), (3,)]
    away.start()
    house.until(lambda: all(info.fresh == () for info in told.now.partitions))
    assert all(house.cluster.parts.fleet.ports[away.name].facts(info.partition_id).logged for info in told.now.partitions)  # type: ignore[union-attr]


def test_a_copy_that_is_healed_at_the_end_of_a_log_hears_in_which_split_it_ended() -> None:
    told = Told()
    told.script.begins = False
    told.begin()
    told.house.until(lambda: told.script.split is not None)
    end, service = told.script.end, told.house.service
    assert end is not None
    assert told.script.split is not None
    assert service._split(told.info.partition_id, Lsn(end.lsn)) == encode_split(told.script.split)
    assert service._split(told.info.partition_id, Lsn(end.lsn - 1)) == b"", "one that is healed in front of it learns of it from the log"


def test_a_table_that_is_dropped_while_its_split_waits_is_gone() -> None:
    told = Told()
    house, script = told.house, told.script
    script.left = dict.fromkeys(house.cluster.parts.fleet.ports, LEFT_MAX + 1)
    told.begin()
    told.waits()
    house.run(house.cluster.store.delete_table("orders"))
    house.until(lambda: told.now.status == "DROPPED")
    assert told.now.split is msgspec.UNSET
    assert [final.partition_id for final in told.now.finals] == [told.info.partition_id]
    script.left = {}
    house.pass_time(5)
    assert (script.asked, told.now.former) == (0, msgspec.UNSET)
    assert not [key for key in house.cluster.metadata.jobs if key.startswith("split/")], "nor are its notes"


def test_the_notes_of_a_split_stay_while_it_is_under_way() -> None:
    told = Told()
    house, script = told.house, told.script
    script.left = dict.fromkeys(house.cluster.parts.fleet.ports, LEFT_MAX + 1)
    told.begin()
    told.waits()
    house.pass_time(5)
    assert [key for key in house.cluster.metadata.jobs if key.startswith("split/")] == [f"split/{told.info.partition_id}"]


def test_a_table_that_is_dropped_behind_its_split_ends_with_the_children() -> None:
    told = Told()
    house, script = told.house, told.script
    script.begins = False
    split = told.begin()
    house.until(lambda: script.asked > 0)
    house.run(house.cluster.store.delete_table("orders"))
    house.pass_time(2)
    assert told.now.status == "DELETING"
    script.begins = True
    house.until(lambda: told.now.status == "DROPPED")
    assert [final.partition_id for final in told.now.finals] == [split.left, split.right]
    house.until(lambda: (told.now.former or ())[0].archived_at is not None)


@pytest.mark.parametrize(
    ("prepared", "nodes", "logs", "short"),
    [
        ({1: TreesMade(0, False), 2: TreesMade(0, False), 3: TreesMade(0, False)}, 3, (), ""),
        ({1: TreesMade(0, False), 2: TreesMade(LEFT_MAX, False)}, 3, (), ""),
        ({1: TreesMade(0, False), 2: TreesMade(LEFT_MAX + 1, False)}, 3, (), "lack"),
        ({1: TreesMade(0, False), 2: TreesMade(0, False), 3: TreesMade(LEFT_MAX + 1, False)}, 3, (), "lack"),
        ({1: TreesMade(0, False), 2: TreesMade(0, False), 3: TreesMade(0, False, lacks=True)}, 3, (), ""),
        ({1: TreesMade(0, False), 2: TreesMade(0, False, lacks=True), 3: TreesMade(0, False, lacks=True)}, 3, (), "1 of 3"),
        ({1: TreesMade(0, False), 2: TreesMade(0, False)}, 5, (), "2 of 5"),
        ({1: TreesMade(0, False)}, 1, (), ""),
        ({1: TreesMade(0, False), 2: TreesMade(0, False)}, 3, (3,), ""),
        ({1: TreesMade(0, False), 2: TreesMade(LEFT_MAX + 1, False, why="no room")}, 3, (), "cannot be made on node 2: no room"),
    ],
)
def test_how_far_the_childrens_trees_have_to_be(prepared: dict[int, TreesMade], nodes: int, logs: tuple[int, ...], short: str) -> None:
    info = PartitionInfo(PartitionId("p"), "0" * 32, "", (), logs=logs, hosts=tuple(range(1, nodes + 1)))
    assert short in short_of(prepared, info, nodes)
    assert bool(short) == bool(short_of(prepared, info, nodes))


def test_a_log_that_stands_by_counts_for_no_majority() -> None:
    info = PartitionInfo(PartitionId("p"), "0" * 32, "", (), logs=(4,), hosts=(1, 2, 3, 4))
    prepared = {1: TreesMade(0, False), 2: TreesMade(0, False)}
    assert short_of(prepared, info, 3) == ""
    assert short_of(prepared, info, 4).startswith("2 of 3 storage members")


def test_a_partition_waits_while_one_of_its_members_does_not_vote() -> None:
    """Its children would have a member that learns from nobody: the parent's configuration is carried over as it is."""
    told = Told()
    fleet = told.house.cluster.parts.fleet
    leader = fleet.leader(told.info.partition_id)
    assert leader is not None
    for vote, why in ((Vote.VOTES, ""), (Vote.LEARNER, "a copy of it does not vote yet")):
        places = tuple([MemberPlace(Member(number, 1), CopyKind.STORAGE, vote if number == 3 else Vote.VOTES) for number in (1, 2, 3)])
        one = msgspec.structs.replace(leader, configured=(Lsn(7), encode_configuration(Configuration(places))))
        assert keeps_from(told.table, told.info, one, lacks="") == why
        assert keeps_from(told.table, told.info, one, lacks="older") == "older"
        assert voters_of(told.info, one) == 2 + (vote is Vote.VOTES)
        assert keeps_from(told.table, msgspec.structs.replace(told.info, logs=(3,)), one, lacks="") == "", (
            "a log that stands by is a learner for good"
        )
    assert voters_of(told.info, None) == 3
