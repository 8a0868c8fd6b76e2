"""What goes wrong inside a node, on the real classes in the simulated world: it fails stop, it waits within bounds, it hands over; its peers go on."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Corrupt, DiskFull, Internal, NotLeader, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.btree.memory_engine import MemoryTree
from scrubjay.storage.commands.values import RangeRead, WriteAnswer
from scrubjay.storage.consensus import messages as consensus
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Record, RecordKind, Seal
from scrubjay.storage.node.node import Node
from scrubjay.storage.node.peers import Peers
from scrubjay.storage.node.turn import BACKLOG_BYTES, Turn
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.checkpoints import Checkpoints
from scrubjay.storage.replica.segments import RawHash
from scrubjay.storage.replica.term import Term
from scrubjay.storage.wal.port import Append, Boot
from scrubjay.storage.wal.wal import Wal
from tests.sim.story import Story, tell

# ------------------------------------------------------------------ fail stop


def _breaks(where: str, patch: pytest.MonkeyPatch, victim: Node) -> None:
    """One rule does not hold any more, on one node only."""

    def on(owner: type, name: str, of: Any) -> None:
        real = getattr(owner, name)

        def broken(self: Any, *arguments: Any, **named: Any) -> Any:
            if of(self) is victim:
                raise AssertionError(f"a rule of {where}")
            return real(self, *arguments, **named)

        patch.setattr(owner, name, broken)

    if where == "applying":
        on(Replica, "take_chosen", lambda self: self.node)
    elif where == "a message":
        on(Peers, "after_liveness", lambda self: self._node)
    elif where == "a timer":
        on(Replica, "tick", lambda self: self.node)
    elif where == "a checkpoint's end":
        on(Checkpoints, "_done", lambda self: self._replica.node)
    else:
        on(Turn, "_persisted", lambda self: self._shell)


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("where", ["applying", "a message", "a timer", "a checkpoint's end", "a sync's end"])
def test_a_node_whose_rule_is_broken_fails_stop_and_its_peers_go_on(where: str, leads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        story.cluster.keep_broken = True
        await story.begin()
        await story.must_put(1, 1)
        victim = story.leader().node if leads else story.node(story.followers()[0])
        _breaks(where, monkeypatch, victim)
        await story.put(2, 2)  # answered or unknown; what matters is what follows
        await story.until(lambda: victim.failed is not None)
        assert isinstance(victim.failed, Internal)
        assert isinstance(victim.failed.__cause__, AssertionError)
        await story.until(lambda: story.cluster.leader(story.partition) is not None)
        assert story.leader().node is not victim
        await story.must_put(3, 3)
        assert await story.get(1) == 1
        failed = [(state, reason) for _, name, _, state, reason in story.cluster.states if name == victim.name and state == "failed"]
        assert len(failed) == 1, "said once"
        assert "AssertionError" in failed[0][1]
        assert {(one.kind, one.copy) for one in story.cluster.findings} == {("unreadable", victim.name)}
        before = [int(replica.applied) for replica in victim.replicas.values()]
        await story.sleep(5.0)
        assert [int(replica.applied) for replica in victim.replicas.values()] == before, "it stopped"
        answers: list[Any] = []
        victim.requests.read(story.partition, b"", consistent=False, min_lsn=Lsn(0), done=answers.append)
        assert isinstance(answers[0], NotLeader)

    tell(scene)


def test_requests_that_wait_on_a_node_that_fails_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        story.cluster.keep_broken = True
        await story.begin()
        leader = story.leader()
        heard: list[Any] = []
        leader.read(b"x" * 16, consistent=False, min_lsn=Lsn(leader.applied + 100), done=heard.append)
        leader.write(put(1, 1, blind=True), heard.append)
        leader.node.broken(AssertionError("a rule"))
        assert sorted(type(one).__name__ for one in heard) == ["NotLeader", "Unavailable"]
        assert [one.fields.get("unknown") for one in heard if type(one) is Unavailable] == [True]

    tell(scene)


def test_a_broken_rule_ends_a_run_of_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What production survives is a violation where we look for faults."""

    async def scene(story: Story) -> None:
        await story.begin()
        _breaks("applying", monkeypatch, story.leader().node)
        await story.put(1, 1)
        await story.sleep(1.0)

    with pytest.raises(Internal, match="rule of this node's own was broken"):
        tell(scene)


def test_a_boot_that_cannot_be_made_durable_fails_the_node_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        host = story.host("n2")
        host.crash(power=False)
        real = Wal.queue

        def queue(self: Wal, frame: Any) -> None:
            if isinstance(frame, Boot):
                raise DiskFull("the disk is full")
            real(self, frame)

        monkeypatch.setattr(Wal, "queue", queue)
        told: list[Any] = []
        start = Node.start

        def listening(self: Node, done: Any) -> None:
            start(self, lambda error: (told.append(error), done(error)))

        monkeypatch.setattr(Node, "start", listening)
        host.start()
        await story.sleep(0.5)
        node = host.process.node
        assert told == [node.failed], "whoever starts it is told, and does not wait for ever"
        assert isinstance(node.failed, DiskFull)
        assert not node.started
        await story.must_put(1, 1)

    tell(scene)


def test_a_batch_whose_sync_failed_counts_for_nothing() -> None:
    """Of two members that hear each other one cannot sync: it says so, stops, and nothing is answered on its word."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        name, away = story.followers()
        leader, victim = story.leader(), story.node(name)
        for other in (name, leader.node.name):
            story.world.net.cut_link(away, other)
            story.world.net.cut_link(other, away)
        story.host(name).disk.faults.sync_error = 1.0
        heard: list[Any] = []
        leader.write(put(2, 2, blind=True), heard.append)
        await story.until(lambda: victim.failed is not None or heard)
        assert heard == []
        assert isinstance(victim.failed, Corrupt)
        assert "sync failed" in str(victim.failed)
        await story.sleep(1.0)
        assert not any(isinstance(one, WriteAnswer) for one in heard)

    tell(scene)


# ------------------------------------------------------------------ a full log


class FullLog:
    """One node's log takes no data while `full`, but for the next `room` appends; control frames go on."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.full = True
        self.room = 0
        wal: Any = node.wal
        real = wal.queue

        def queue(frame: Any) -> None:
            if self.full and isinstance(frame, Append):
                if not self.room:
                    raise DiskFull("the WAL is at its limit")
                self.room -= 1
            real(frame)

        patch.setattr(wal, "queue", queue)


def test_a_table_dropped_while_the_log_is_full_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin(table="a")
        other = await story.create("b")
        node = next(n for n in story.cluster.nodes() if n.replicas[story.partition].term is None and n.replicas[other].term is None)
        log = FullLog(node, monkeypatch)
        await story.must_put(1, 1, table="a")
        await story.must_put(1, 1, table="b")
        await story.sleep(0.2)
        assert node.full
        assert {waiting.driven.partition for waiting in node.turn._backlog} >= {story.partition, other}
        for each in story.cluster.nodes():
            each.hosting.forget(story.partition)
        log.full = False
        await story.until(lambda: not node.full)
        for value in range(20):
            await story.must_put(value, value, table="b")
        leader = story.cluster.leader(other)
        assert leader is not None
        await story.until(lambda: node.replicas[other].applied >= leader.applied, seconds=10)
        assert (node.failed, len(node.turn._backlog), node.turn._backlog_bytes) == (None, 0, 0)

    tell(scene)


def test_the_backlog_of_a_full_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that finds no room takes no more records once enough wait, whatever its peers send, and goes on where it stopped."""
    monkeypatch.setattr("scrubjay.storage.node.turn.BACKLOG_BYTES", 2_000)
    assert BACKLOG_BYTES <= 64 << 20

    async def scene(story: Story) -> None:
        await story.begin()
        node = story.node(story.followers()[0])
        log = FullLog(node, monkeypatch)
        for value in range(200):
            await story.must_put(value, value)
        largest = max(
            len(record.data)
            for waiting in node.turn._backlog
            for frame in waiting.frames
            if isinstance(frame, Append)
            for record in frame.records
        )
        assert node.turn.choked
        assert node.turn._backlog_bytes <= 2_000 + 64 * largest
        log.full = False
        await story.until(lambda: node.replicas[story.partition].applied >= story.leader().applied, seconds=20)
        assert not node.full

    tell(scene)


def test_a_log_that_finds_room_for_a_part_goes_on_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What found no room again waits in front of what came after it."""

    async def scene(story: Story) -> None:
        await story.begin()
        node = story.node(story.followers()[0])
        replica = node.replicas[story.partition]
        log = FullLog(node, monkeypatch)
        for value in range(20):
            await story.must_put(value, value)
        assert len(node.turn._backlog) > 6
        for _ in range(3):
            log.room, before = 2, replica.applied
            await story.until(lambda: log.room == 0)
            await story.until(lambda before=before: replica.applied > before)  # type: ignore[misc]
            assert node.full
        log.full = False
        await story.until(lambda: not node.full and replica.applied >= story.leader().applied)
        assert node.failed is None
        assert len(node.turn._backlog) == 0

    tell(scene)


# ------------------------------------------------------------------ a tree that takes no checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [True, False])
def test_writes_are_refused_by_name_while_trees_take_no_checkpoints_and_memory_is_bounded(
    everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = 64 << 10
    options = StorageOptions(**{**{name: getattr(STORAGE, name) for name in STORAGE.__slots__}, "overlay_bytes": bound})
    real = MemoryTree.checkpoint

    async def scene(story: Story) -> None:
        await story.begin()
        victims = story.cluster.nodes() if everywhere else [story.node(story.followers()[0])]
        trees = {id(node.engine) for node in victims}

        def full(self: MemoryTree, changes: Any, state: Any, done: Any) -> None:
            if id(self._engine) in trees:
                self._engine.later(0, lambda: done(DiskFull("the disk is full", what="tree")))
            else:
                real(self, changes, state, done)

        answers: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(MemoryTree, "checkpoint", full)
            for batch in range(30):
                for key in range(100):
                    story.cluster.store.write(story.table(), put(batch * 100 + key, 5, blind=True), answers.append)
                await story.sleep(0.1)
                for node in victims:
                    assert node.replicas[story.partition].overlay.size <= 2 * bound + 4_096
            refused = [one for one in answers if isinstance(one, ScrubjayError)]
            if everywhere:
                assert refused, "nothing was refused"
                assert {type(one) for one in refused} == {DiskFull}
                assert "takes no checkpoints" in str(refused[0])
                assert sum(isinstance(one, WriteAnswer) for one in answers) > 100
            else:
                assert not refused, "one member's tree holds nobody up"
                stuck = victims[0].replicas[story.partition]
                assert stuck.applied < stuck.chosen
                assert stuck.follow._fresh_bytes <= 2 * options.apply_slice_bytes + options.apply_slice_bytes
            said = [reason for *_, reason in story.cluster.states if "checkpoint failed" in reason]
            assert 1 <= len(said) <= 2 * len(victims), "said when it begins, not at every try"
        await story.sleep(5.0)
        await story.must_put(1, 6)
        await story.until(lambda: all(n.replicas[story.partition].applied >= story.leader().applied for n in story.cluster.nodes()))
        assert not any("unreadable" in one.kind for one in story.cluster.findings)

    tell(scene, storage=options)


# ------------------------------------------------------------------ what this version does not know


LATER: dict[str, dict[str, int]] = {
    "kind SPLIT": {"kind": RecordKind.SPLIT},
    "kind PREPARE": {"kind": RecordKind.PREPARE, "count": 1},
    "kind ABORT": {"kind": RecordKind.ABORT},
    "kind 9": {"kind": 9},
    "kind 31": {"kind": 31},
    "kind 255": {"kind": 255},
    "kind NOOP, version 2, flags 0x0": {"version": 2},
    "kind NOOP, version 1, flags 0x8000": {"flags": 0x8000},
    "kind DATA": {"kind": RecordKind.DATA, "count": 1},
    "kind SEAL": {"kind": RecordKind.SEAL},
    "kind ARCHIVED": {"kind": RecordKind.ARCHIVED},
}
"""What a later version may write: how the replica names it, and the header's fields. The payload is none that this version understands.
(A CONFIG is read by the core already; one that it cannot read keeps a log from voting: `tests/unit/consensus/test_membership.py`.)"""


def later(record: Record, *, version: int = records.VERSION, kind: int = RecordKind.NOOP, flags: int = 0, count: int = 0) -> Record:
    """`record` with other words in its header, its checksum right."""
    fields = list(records.HEADER.unpack_from(record.data))
    fields[2:6] = version, kind, flags, count
    data = records.HEADER.pack(*fields) + record.payload
    crc = crc32c_masked(data[8:], crc32c_raw(data[:4]))
    return records.decode(data[:4] + crc.to_bytes(4, "little") + data[8:], opaque=True)


@pytest.mark.parametrize("name", LATER)
def test_a_replica_stops_at_a_record_that_it_does_not_know(name: str) -> None:
    """On the leader, on followers that got it in a message, and at every start from their logs; before any of it is applied, and before what follows it."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        leader = story.leader()
        group = leader.group
        assert group is not None
        at = group.next_lsn
        plain = records.encode(
            owner=leader.owner, lsn=at, stamp=leader.node.stamp(), kind=RecordKind.NOOP, payload=b"what a later version says"
        )
        group.propose((later(plain, **LATER[name]),))
        leader.node.dirty(leader)
        await story.sleep(2.0)
        for node in story.cluster.nodes():
            replica = node.replicas[story.partition]
            assert (replica.state, replica.applied) == ("stopped", at - 1)
            assert f"record {name} at LSN {at} " in replica.reason
            assert replica.group is not None
            assert replica.group.last >= at, "it votes with it"
            assert replica.serves(consistent=False) is not None
        assert isinstance(await story.get(1), ScrubjayError)
        await story.sleep(5.0)
        assert not [one for one in story.cluster.findings if one.partition == story.partition], "it is no rot"
        assert not story.cluster.broken, "the node goes on with its other partitions"
        host = story.host("n1")
        host.crash(power=False)
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.until(lambda: story.replica("n1").state == "stopped")  # again, at every start

    tell(scene)


def test_bad_records_in_a_message_are_not_taken_for_damage_of_the_own_log() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        follower = story.replica(story.followers()[0])
        group = follower.group
        assert group is not None
        leads = story.leader()
        message = consensus.Accept(group.state.promised, int(group.last) + 1, int(group.log.chosen), b"\x40\x00\x00\x00" + bytes(60))
        with pytest.raises(Corrupt) as caught:
            group.step(leads.member.node, message, follower.node.now())
        follower.log_failed(caught.value)
        assert not follower.damaged
        assert group.state.may_vote
        assert not story.cluster.findings
        assert "not taken" in story.cluster.states[-1][-1]

    tell(scene)


# ------------------------------------------------------------------ a planned stop


@pytest.mark.parametrize("seed", range(1, 6))
def test_leadership_moves_before_a_node_stops(seed: int) -> None:
    """No election timeout, no lease that has to lapse: the next write is answered within a few round trips."""

    async def scene(story: Story) -> None:
        await story.begin()
        partitions = [story.partition, *[await story.create(f"t{number}") for number in range(4)]]
        await story.must_put(1, 1)
        leaving = story.leader().node
        await story.ask(lambda done: leaving.departure.hand_over(lambda: done(None), leaving=frozenset({leaving.number})))
        assert not any(replica.term for replica in leaving.replicas.values())
        assert not any(replica.group.state.may_lead for replica in leaving.replicas.values() if replica.group is not None), (
            "it stands no more"
        )
        leaving.stop()
        story.host(leaving.name).crash(power=False)
        began = story.world.now
        for partition in partitions:
            await story.until(lambda partition=partition: story.cluster.leader(partition) is not None)  # type: ignore[misc]
        await story.must_put(2, 2)
        assert story.world.now - began < 300_000, "leases are 2 s, elections begin after 0.4 s"
        assert await story.get(1) == 1

    tell(scene, seed=seed)


def test_nodes_that_all_stop_give_their_partitions_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        nodes = story.cluster.nodes()
        everybody = frozenset(node.number for node in nodes)
        left: list[str] = []
        for node in nodes:
            node.departure.hand_over(lambda node=node: left.append(node.name), leaving=everybody)  # type: ignore[misc]
        await story.until(lambda: len(left) == 3, seconds=1.5)
        groups = [replica.group for node in nodes for replica in node.replicas.values()]
        assert not any(group.leading for group in groups if group is not None)
        await story.sleep(5.0)
        assert not any(group.leading for group in groups if group is not None), "nobody stands again"

    tell(scene)


def test_a_hand_over_that_nobody_takes_ends_in_time() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        leaving = story.leader().node
        for other in story.followers():
            story.world.net.cut_link(leaving.name, other)
        began = story.world.now
        await story.ask(lambda done: leaving.departure.hand_over(lambda: done(None)))
        assert story.world.now - began < 1_500_000
        assert not any(replica.term for replica in leaving.replicas.values())

    tell(scene)


# ------------------------------------------------------------------ what the disk holds


def test_a_statement_is_about_the_disk_not_about_the_cache() -> None:
    """A byte of a follower's log rots while the record is still in every cache: the seal finds it, and a peer gives it back before anything is stated."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        name = story.followers()[0]
        replica = story.replica(name)
        await story.until(lambda: replica.applied >= story.leader().applied)
        record = replica.node.wal.read(story.partition, replica.applied, Lsn(replica.applied + 1))[0]
        assert _flip(story, name, record.data)
        assert replica.node.wal.read(story.partition, record.lsn, Lsn(record.lsn + 1))[0] == record, "the cache is warm"
        done: list[Any] = []
        story.leader().seal(Seal.STOP, bytes(16), done.append)
        await story.until(lambda: done)
        await story.until(lambda: replica.applied >= done[0].lsn)
        assert [(one.copy, one.kind) for one in story.cluster.findings] == [(name, "unreadable")]
        raw = {RawHash().sha256(node.wal, story.partition, Lsn(1), done[0].lsn) for node in story.cluster.nodes()}
        assert len(raw) == 1
        assert not replica.damaged
        assert replica.group is not None
        assert replica.group.state.may_vote

    tell(scene)


def _flip(story: Story, name: str, data: bytes) -> bool:
    for inode in story.host(name).disk._entries.values():
        at = inode.data.find(data)
        if at >= 0:
            inode.data[at + 50] ^= 1
            inode.synced[at + 50] ^= 1
            return True
    return False


# ------------------------------------------------------------------ what a restart, a read and a vote rest on


def test_a_suspicion_outlives_the_process() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        story.replica("n2").suspect("its statement was outvoted")
        await story.sleep(0.5)
        host = story.host("n2")
        host.crash(power=True)
        await story.sleep(0.1)
        host.start()
        await story.until(lambda: len(story.cluster.nodes()) == 3)
        await story.until(lambda: story.replica("n2").group is not None)
        replica = story.replica("n2")
        assert replica.group is not None
        assert (replica.state, replica.group.state.may_vote, replica.group.state.may_lead) == ("suspect", True, False)

    tell(scene)


def test_a_member_with_a_damaged_log_has_no_vote_until_it_is_repaired() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        name = story.followers()[0]
        replica = story.replica(name)
        group = replica.group
        assert group is not None
        for other in ("n1", "n2", "n3"):
            if other != name:
                story.world.net.cut_link(name, other)
                story.world.net.cut_link(other, name)
        record = replica.node.wal.read(story.partition, replica.applied, Lsn(replica.applied + 1))[0]
        assert _flip(story, name, record.data)
        with pytest.raises(Corrupt):
            RawHash().sha256(replica.node.wal, story.partition, record.lsn, record.lsn)
        await story.until(lambda: replica.damaged)
        assert not group.state.may_vote
        await story.sleep(5.0)  # no peer answers: waiting repairs nothing
        assert replica.damaged
        assert not group.state.may_vote
        story.world.net.heal()
        await story.until(lambda: not replica.damaged)
        assert group.state.may_vote
        assert len([one for one in story.cluster.findings if one.copy == name]) == 1, "one fault, one finding"

    tell(scene)


@pytest.mark.parametrize("ranged", [False, True])
def test_a_lease_lost_during_a_read_is_noticed_before_the_answer(ranged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        await story.sleep(3.0)
        leader = story.leader()
        group = leader.group
        assert group is not None
        real_get, real_range = MemoryTree.get, MemoryTree.range

        def lose() -> None:
            group.lease._bounds = (0, 0, 0)

        def get(self: MemoryTree, *arguments: Any, **named: Any) -> Any:
            found = real_get(self, *arguments, **named)
            lose()
            return found

        def rows(self: MemoryTree, *arguments: Any, **named: Any) -> Any:
            yield from real_range(self, *arguments, **named)
            lose()

        monkeypatch.setattr(MemoryTree, "get", get)
        monkeypatch.setattr(MemoryTree, "range", rows)
        heard: list[Any] = []
        if ranged:
            leader.read_range(RangeRead(b"", None, 10, 1 << 20, reverse=False, consistent=True), min_lsn=Lsn(0), done=heard.append)
        else:
            leader.read(key_of(1), consistent=True, min_lsn=Lsn(0), done=heard.append)
        assert [type(one) for one in heard] == [NotLeader]

    tell(scene)


def test_what_is_told_of_a_leader_is_told_anew_when_it_leads_under_another_ballot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else about it need have changed, if it served under neither: it told of the ballot before."""

    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        port = next(host.process.port for host in story.cluster.hosts if host.name == story.leader().node.name)
        state = story.leader().group.state
        monkeypatch.setattr(Term, "serving", lambda self: False)
        before = state.promised
        assert port.facts(story.partition).ballot == before
        state.promised = before + (1 << 16)
        told = port.facts(story.partition).ballot
        state.promised = before
        assert told == before + (1 << 16)

    tell(scene)
