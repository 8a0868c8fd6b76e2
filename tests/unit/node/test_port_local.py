"""A node behind its port in one process, the same node at the other end of frames, and one that could not start: who asks cannot tell, or is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Corrupt, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node import port
from scrubjay.storage.node.archive_source import NodeLogSource
from scrubjay.storage.node.port import NodePort
from scrubjay.storage.node.port_local import AbsentNode, LocalNode
from scrubjay.storage.replica.status import AMNESIAC, BASE, HEALING, OK, SUSPECT
from tests.unit.control.house import House

ALL = RangeRead(b"", None, 10, 1 << 20, reverse=False, consistent=True)


class Both:
    """A leader as its own process sees it (local) and as the control part does (remote)."""

    def __init__(self) -> None:
        self.house = House()
        self.partition = self.house.create("orders").partitions[0].partition_id
        leader = self.house.cluster.leader(self.partition)
        assert leader is not None
        self.node: Any = leader.node
        self.local: NodePort = LocalNode(self.node)
        self.remote = self.house.cluster.parts.ports[NodeName(self.node.name)]

    def answer(self, call: Any) -> Any:
        future = self.house.env.tasks.future()
        call(future.set_result)
        return self.house.run(future)


def test_what_is_told_in_frames_is_what_is_told_in_the_process() -> None:
    both = Both()
    for value in range(3):
        both.house.put(both.house.table("orders"), value, value)
    assert both.remote.status() == both.local.status()
    assert both.remote.facts(both.partition) == both.local.facts(both.partition)
    assert both.remote.all_facts() == both.local.all_facts()
    assert both.remote.applied(both.partition) == both.local.applied(both.partition) > 0
    unknown = PartitionId("00000000-0000-4000-8000-00000000bbbb")
    assert (both.remote.facts(unknown), both.local.facts(unknown)) == (None, None)
    assert (both.remote.applied(unknown), both.local.applied(unknown)) == (0, 0)


def test_a_tree_that_takes_the_place_of_another_at_the_same_lsn_is_told_of() -> None:
    """A copy whose last records were chosen anew is healed: it is applied as far as before, and says something else of its segments."""
    both = Both()
    assert isinstance(both.local, LocalNode)
    replica = both.node.replicas[both.partition]
    before = both.local.facts(both.partition)
    assert before is not None
    replica.segments.facts = msgspec.structs.replace(replica.segments.facts, last_content=before.last_content + 1)
    both.node.arm(replica)
    both.local.check_invariants()
    after = both.local.facts(both.partition)
    assert after is not None
    assert (after.applied, after.last_content) == (before.applied, before.last_content + 1)


def test_nothing_that_is_told_is_older_than_what_it_is_told_of() -> None:
    """A look costs what has moved: what has moved is seen at once, whatever it is."""
    both = Both()
    house, local = both.house, both.local
    assert isinstance(local, LocalNode)
    replica = both.node.replicas[both.partition]
    for value in range(12):
        both.house.put(both.house.table("orders"), value, value)
        local.check_invariants()
        house.pass_time(0.3)
        local.check_invariants()
        assert local.facts(both.partition) is local.facts(both.partition), "nothing has moved"
    for value in (100, 197, 294):  # of one size: nothing but how far it is applied tells them apart
        house.put(house.table("orders"), 100, value)
        house.pass_time(0.3)
        known = local.facts(both.partition)
        assert known is not None
        assert (known.applied, known.chosen) == (replica.applied, replica.chosen)
    before = local.facts(both.partition)
    assert before is not None
    assert before.answers
    replica.note("a word")
    noted = local.facts(both.partition)
    assert noted is not None
    assert (noted.reason, noted.state) == ("a word", before.state), "nothing else has moved"
    replica.note("")
    replica.suspect("a test")
    after = local.facts(both.partition)
    assert after is not None
    assert (after.tree, after.reason, after.answers, after.serves) == (SUSPECT, "a test", False, False)
    house.pass_time(1)
    local.check_invariants()
    assert house.cluster.leader(both.partition) is not replica
    house.cluster.keep_broken = True
    both.node.fail(Corrupt("a test", what="wal"))
    failed = local.facts(both.partition)
    assert failed is not None
    assert not failed.up
    local.check_invariants()


def test_facts_say_who_leads_and_how_far_it_is() -> None:
    both = Both()
    for value in range(3):
        both.house.put(both.house.table("orders"), value, value)
    facts = both.local.facts(both.partition)
    assert facts is not None
    assert (facts.up, facts.leads, facts.answers, facts.serves, facts.logged, facts.state, facts.rows) == (
        True,
        True,
        True,
        True,
        True,
        "ok",
        3,
    )
    assert facts.content == 3 or facts.sealed
    others = [node.facts(both.partition) for node in both.house.cluster.parts.ports.values() if node.name != both.node.name]
    assert [(one.leads, one.answers, one.closed) for one in others if one is not None] == [(False, False, None)] * 2
    both.node.fail(Corrupt("the disk is gone"))
    told = both.local.facts(both.partition)
    assert told is not None
    assert (told.up, told.answers, told.serves) == (False, False, False)
    failed = both.local.status().failed
    assert failed is not None
    assert failed.code == "Corrupt"


@pytest.mark.parametrize("way", ["local", "remote"])
def test_the_data_path_answers_the_same(way: str) -> None:
    both = Both()
    node: NodePort = getattr(both, way)
    written = both.answer(lambda done: node.write(both.partition, put(1, 1, blind=False), done))
    assert isinstance(written, WriteAnswer)
    read = both.answer(lambda done: node.read(both.partition, key_of(1), consistent=True, min_lsn=Lsn(0), done=done))
    assert isinstance(read, ReadAnswer)
    rows = both.answer(lambda done: node.read_range(both.partition, ALL, min_lsn=Lsn(0), done=done))
    assert isinstance(rows, RangeAnswer)
    assert [key for key, _ in rows.rows] == [key_of(1)]
    unknown = PartitionId("00000000-0000-4000-8000-00000000bbbb")
    refused = both.answer(lambda done: node.write(unknown, put(1, 1, blind=False), done))
    assert isinstance(refused, NotLeader)
    assert "unknown" not in refused.fields


@pytest.mark.parametrize("way", ["local", "remote"])
def test_a_request_without_an_answer_ends_in_its_time(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both()
    node: NodePort = getattr(both, way)
    replica = both.node.replicas[both.partition]
    held: list[Any] = []
    monkeypatch.setattr(replica, "seal", lambda reason, tag, done: held.append(done))
    before = both.house.world.now
    heard: list[Any] = []
    node.ask(port.ProposeSeal(both.partition, Seal.AGE, bytes(16)), heard.append, timeout_s=2.0)
    both.house.until(lambda: len(heard) > 0)
    assert isinstance(heard[0], Unavailable)
    assert heard[0].fields["unknown"] is True
    assert 2_000_000 <= both.house.world.now - before < 2_200_000
    held[0](NotLeader("too late"))
    both.house.pass_time(1)
    assert len(heard) == 1


def test_an_absent_node_refuses_everything_and_says_why_it_is_absent() -> None:
    node: NodePort = AbsentNode(name=NodeName("n1"), number=1, failed=Corrupt("folder of another node", what="identity"))
    partition = PartitionId("00000000-0000-4000-8000-000000000001")
    heard: list[ScrubjayError] = []
    node.write(partition, put(1, 1, blind=True), heard.append)  # type: ignore[arg-type]
    node.read(partition, b"k", consistent=False, min_lsn=Lsn(0), done=heard.append)  # type: ignore[arg-type]
    node.read_range(partition, ALL, min_lsn=Lsn(0), done=heard.append)  # type: ignore[arg-type]
    node.ask(port.Forget(partition), heard.append)
    assert [type(one) for one in heard] == [NotLeader] * 4
    failed = node.status().failed
    assert failed is not None
    assert (failed.code, failed.message, failed.fields) == ("Corrupt", "folder of another node", {"what": "identity"})
    assert (node.status().started, node.facts(partition), node.all_facts(), node.applied(partition)) == (False, None, (), 0)


def test_the_words_that_control_reads_are_the_words_of_the_replica() -> None:
    assert (OK, SUSPECT, AMNESIAC, HEALING, BASE) == ("ok", "suspect", "amnesiac", "healing", "base")


def test_a_tree_that_takes_the_place_of_another_at_the_same_lsn_is_told_anew() -> None:
    both = Both()
    local = both.local
    replica = both.node.replicas[both.partition]
    before = local.facts(both.partition)
    assert before is not None
    tracker = replica.segments
    tracker.facts = msgspec.structs.replace(tracker.facts, archived=tracker.facts.archived + 7)
    after = local.facts(both.partition)
    assert after is not None
    assert (after.applied, after.archived) == (before.applied, before.archived + 7)


def test_the_log_of_a_partition_that_was_forgotten_is_not_to_be_read_at_once() -> None:
    both = Both()
    source, gone = NodeLogSource(both.node), PartitionId("00000000-0000-4000-8000-00000000bbbb")
    assert source.read_at_once(both.partition, Lsn(1), Lsn(1)) is not None
    assert source.read_at_once(gone, Lsn(1), Lsn(1)) is None
