"""The rules of one replica and its node that a run of seeds can miss: what an answer waits for, what is checked again before it leaves, what is stated, given
away or led by whom. On the real classes in the simulated world."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Missing, NotLeader
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.whole.commands import cas, key_of, put
from scrubjay.storage.btree.memory_engine import MemoryTree
from scrubjay.storage.commands.values import Decision, ReadAnswer, WriteAnswer
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node.post import Post
from scrubjay.storage.node.talk import AskRecords
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.term import Term
from tests.sim.story import Story, tell
from tests.sim.test_node_faults import FullLog


def group_of(replica: Replica) -> Group:
    assert replica.group is not None
    return replica.group


def test_a_batch_whose_sync_failed_is_acknowledged_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three members are there, and the disk of one of them fails: the write must not be called done."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        away, failing = story.followers()
        story.host(away).crash(power=False)
        disk = story.host(failing).disk
        real = SimDisk.draws_sync_error
        monkeypatch.setattr(SimDisk, "draws_sync_error", lambda self: self is disk or real(self))
        answer = await story.put(2, 2)
        assert not isinstance(answer, WriteAnswer)
        assert story.node(failing).failed is not None

    tell(scene)


def test_an_answer_that_proposed_nothing_waits_for_what_it_rests_on() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        leader = story.leader()
        heard: list[Any] = []
        leader.write(put(1, 1, blind=True), heard.append)
        leader.write(cas(1, None, 5), heard.append)
        assert heard == [], "it was decided on a write that is not chosen yet"
        await story.until(lambda: len(heard) == 2)
        assert [one.outcome.decision for one in heard] == [Decision.PUT, Decision.CONDITION_FAILED]

    tell(scene)


@pytest.mark.parametrize("lost", ["lease", "leadership"])
def test_an_answer_that_proposed_nothing_needs_the_lease_and_the_same_leadership_at_its_end(lost: str) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        leader = story.leader()
        group, term = group_of(leader), leader.term
        assert term is not None
        heard: list[Any] = []
        leader.write(put(1, 1, blind=True), lambda _: None)
        leader.write(put(99, None, blind=False), heard.append)
        if lost == "lease":
            group.lease._bounds, group.lease._version = (0, 0, 0), leader.node.pulse.liveness.version
        else:
            leader.term = Term(leader, group)
        term.pending.answer_to(group.last)
        assert [type(one) for one in heard] == [NotLeader]

    tell(scene)


def test_conditions_see_what_was_proposed_before_them() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        leader = story.leader()
        heard: list[Any] = []
        for expected, value in ((None, 5), (5, 6), (6, 7)):
            leader.write(cas(1, expected, value), heard.append)
        await story.until(lambda: len(heard) == 3)
        assert [one.outcome.decision for one in heard] == [Decision.PUT] * 3
        assert await story.get(1) == 7

    tell(scene)


def test_a_read_waits_until_the_replica_has_applied_so_far() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        follower = story.replica(story.followers()[0])
        heard: list[Any] = []
        follower.read(key_of(1), consistent=False, min_lsn=Lsn(follower.applied + 1), done=heard.append)
        await story.sleep(0.2)
        assert heard == []
        await story.must_put(1, 1)
        await story.until(lambda: heard)
        assert isinstance(heard[0], ReadAnswer)
        assert heard[0].item is not None

    tell(scene)


def test_that_a_key_is_absent_is_proven_before_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        asked: list[bool] = []
        real = MemoryTree.get

        def get(self: MemoryTree, key: bytes, *, proven: bool = True) -> Any:
            asked.append(proven)
            return real(self, key, proven=proven)

        monkeypatch.setattr(MemoryTree, "get", get)
        assert await story.get(404) is None
        assert asked == [True]

    tell(scene)


def test_a_log_that_ended_takes_no_content_under_this_leader_or_the_next() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        leader = story.leader()
        sealed: list[Any] = []
        leader.seal(Seal.DROP, bytes(16), sealed.append)
        heard: list[Any] = []
        leader.write(put(2, 2, blind=True), heard.append)
        assert [type(one) for one in heard] == [Missing], "the last seal is proposed, no more"
        await story.until(lambda: sealed)
        leader.node.hosting.replicas[story.partition].leave(frozenset())
        await story.until(lambda: story.cluster.leader(story.partition) not in (None, leader))
        story.leader().write(put(3, 3, blind=True), heard.append)
        assert [type(one) for one in heard] == [Missing, Missing]
        story.leader().seal(Seal.STOP, bytes(16), heard.append)
        assert [type(one) for one in heard] == [Missing] * 3

    tell(scene)


def test_what_an_overwritten_rotten_row_was_is_not_guessed_and_nothing_is_stated() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        for key in range(4):
            await story.must_put(key, key)
        name = story.followers()[0]
        tree = story.cluster.trees[name]
        await story.until(lambda: len(tree.trees[story.partition].rows) >= 4)
        replica = story.replica(name)
        assert tree.flip_row(story.partition, key_of(1), 77)
        await story.must_put(1, 100)
        await story.until(lambda: replica.digest_void)
        sealed: list[Any] = []
        story.leader().seal(Seal.STOP, bytes(16), sealed.append)
        await story.until(lambda: sealed)
        await story.until(lambda: replica.applied >= sealed[0].lsn)
        await story.sleep(2.5)
        said = story.leader().segments._others[int(sealed[0].lsn)]
        assert replica.member.node not in said
        assert len(said) == 1, "the other follower did"

    tell(scene)


def test_a_copy_that_does_not_serve_gives_an_election_up() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        leader = story.leader()
        leader.status.move_tree("suspect", "rot, found while it was being elected")
        leader.term = None
        leader.elected()
        assert leader.term is None
        assert not group_of(leader).leading
        await story.until(lambda: story.cluster.leader(story.partition) not in (None, leader))

    tell(scene)


def test_peers_are_given_only_records_that_are_chosen() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        leader = story.leader()
        node = leader.node
        await story.sleep(0.5)
        leader.write(put(2, 2, blind=True), lambda _: None)
        node.turn.run()
        group = group_of(leader)
        assert group.last == leader.applied + 1
        node.peers._answer_records(2, leader, AskRecords(story.partition, int(leader.applied) + 1, int(group.last) + 1))
        assert not node.peers.boxes._talk
        node.peers._answer_records(2, leader, AskRecords(story.partition, int(leader.applied), int(group.last) + 1))
        ((said,),) = node.peers.boxes._talk.values()
        assert len(said.records) == 1  # type: ignore[union-attr]

    tell(scene)


def test_no_stamp_rests_on_a_reservation_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        node = story.node("n1")
        await story.sleep(0.3)
        before = node.pulse.clock.reservation
        monkeypatch.setattr(node.pulse.clock, "wants_reservation", lambda _wall: Stamp(before + 4096))
        node.pulse.reserve()
        assert node.pulse.clock.reservation == before
        await story.until(lambda: node.pulse.clock.reservation >= before + 4096)

    tell(scene)


def test_what_found_no_room_in_the_log_is_acknowledged_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three logs are full: nothing is chosen until one of them has room."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        logs = [FullLog(story.node(name), monkeypatch) for name in story.followers()]
        heard: list[Any] = []
        story.leader().write(put(2, 2, blind=True), heard.append)
        await story.sleep(3.0)
        assert heard == []
        logs[0].full = False
        await story.until(lambda: heard)
        assert isinstance(heard[0], WriteAnswer)

    tell(scene)


def test_a_node_says_nothing_before_its_boot_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        node = story.node("n1")
        sent: list[Post] = []
        with monkeypatch.context() as patch:
            patch.setattr(Post, "send", lambda self: sent.append(self))
            node.started = False
            node.send()
            assert sent == []
            node.started = True
            node.send()
            assert sent == [node.peers.boxes]

    tell(scene)
