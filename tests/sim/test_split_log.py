"""How a partition's log ends in a SPLIT (ADR 0078): what may still come in front of it, what never comes behind it, and who finishes what a leader began. On the real classes in the
simulated world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Invalid, NotLeader, Unavailable
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.sim.whole.commands import key_of, put
from scrubjay.storage.catalogue import new_stream
from scrubjay.storage.commands.values import PrepareCommand, PutCommand, ReadAnswer, WriteAnswer
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Op, Record, RecordKind, Seal
from scrubjay.storage.log.split import Split, decode_split, encode_split
from scrubjay.storage.log.transaction import Prepared, encode_prepared
from scrubjay.storage.node.errand_messages import Heal, Sum
from scrubjay.storage.replica import Replica
from scrubjay.storage.replica.status import STOPPED
from scrubjay.storage.replica.term import Term
from tests.sim.story import Story, tell

LEFT, RIGHT = PartitionId("11111111-1111-4111-8111-111111111111"), PartitionId("22222222-2222-4222-8222-222222222222")
SPLIT = Split(bytes(range(16)), b"\x80" + bytes(15), LEFT, RIGHT)


def log_of(replica: Replica, first: int = 1) -> list[Record]:
    return list(replica.node.wal.read(replica.partition, Lsn(first), Lsn(replica.applied + 1), max_bytes=1 << 20))


def who_leads(story: Story) -> Replica:
    """Also of a partition that answers nothing more."""
    return next(copy for node in story.cluster.nodes() if (copy := node.replicas.get(story.partition)) is not None and copy.leads)


async def ended_everywhere(story: Story) -> None:
    copies = [story.replica(host.name) for host in story.cluster.hosts]
    await story.until(lambda: all(copy.segments.facts.ended for copy in copies))


def test_split_and_its_seal_are_the_end_of_the_log_on_every_copy() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        heard: list[Any] = []
        sealed: list[Any] = []
        leader = story.leader()
        leader.write(put(1, 1, blind=True), heard.append)
        leader.end_in_split(SPLIT, sealed.append)
        leader.write(put(2, 2, blind=True), heard.append)
        assert [type(one) for one in heard] == [Unavailable], "what comes behind it is refused at once"
        assert heard[0].fields["split"] == SPLIT.id.hex()
        assert not heard[0].fields.get("unknown")
        await story.until(lambda: sealed and len(heard) == 2)
        assert isinstance(heard[1], WriteAnswer), "what was proposed in front of it is acknowledged"
        await ended_everywhere(story)
        for host in story.cluster.hosts:
            copy = story.replica(host.name)
            log = log_of(copy)
            at = next(number for number, record in enumerate(log) if record.kind is RecordKind.SPLIT)
            assert decode_split(log[at]) == SPLIT == copy.split
            assert [record.kind for record in log[at + 1 :] if record.kind not in (RecordKind.ARCHIVED, RecordKind.NOOP)] == [
                RecordKind.SEAL
            ]
            seal = records.decode_seal(log[at + 1])
            assert (seal.reason, seal.closed) == (Seal.SPLIT, last_stamp_at(stamp_micros(Stamp(log[at + 1].stamp))))
            assert copy.segments.facts.ended == log[at + 1].lsn == sealed[0].lsn
            assert log[at - 1].kind is RecordKind.DATA

    tell(scene)


def test_a_partition_that_was_split_answers_nothing_more() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        sealed: list[Any] = []
        story.leader().end_in_split(SPLIT, sealed.append)
        await story.until(lambda: sealed)
        await ended_everywhere(story)
        heard: list[Any] = []
        leader = who_leads(story)
        leader.read(key_of(1), consistent=True, min_lsn=Lsn(0), done=heard.append)
        for name in [host.name for host in story.cluster.hosts if host.name != leader.node.name]:
            story.replica(name).read(key_of(1), consistent=False, min_lsn=Lsn(0), done=heard.append)
        leader.seal(Seal.STOP, bytes(16), heard.append)
        leader.seal(Seal.DROP, bytes(16), heard.append)
        leader.end_in_split(SPLIT, heard.append)
        assert [(type(one), one.fields["split"]) for one in heard] == [(Unavailable, SPLIT.id.hex())] * 6
        await story.sleep(12.0)
        assert who_leads(story).segments.facts.ended == sealed[0].lsn, "nor does age seal it again"

    tell(scene)


def test_the_next_leader_gives_a_split_the_seal_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        old = story.leader()
        real = Term._propose_seal
        lacks_room = True
        monkeypatch.setattr(Term, "_propose_seal", lambda self, *rest: None if lacks_room else real(self, *rest))
        heard: list[Any] = []
        old.end_in_split(SPLIT, heard.append)
        assert [type(one) for one in heard] == [Unavailable]
        await story.until(lambda: all(story.replica(host.name).split is not None for host in story.cluster.hosts))
        assert not old.segments.facts.ended
        story.host(old.node.name).crash(power=False)
        await story.until(lambda: any(node.replicas[story.partition].leads for node in story.cluster.nodes() if node is not old.node))
        leader = who_leads(story)
        group, late = leader.group, list[Any]()
        assert group is not None
        at = group.next_lsn
        leader.write(put(2, 2, blind=True), late.append)
        assert [type(one) for one in late] == [Unavailable], "it takes no content either"
        leader.told(replace(leader.table, version=leader.table.version + 1, streams=(new_stream("NEW_IMAGE", 1),)), leader.info)
        assert group.next_lsn == at, "nor does it say there what its table is from now on"
        lacks_room = False
        await story.until(lambda: who_leads(story).segments.facts.ended > 0)
        kinds = [record.kind for record in log_of(who_leads(story))]
        assert kinds.count(RecordKind.SPLIT) == 1

    tell(scene)


def test_a_leader_that_could_not_seal_its_split_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        refused: list[int] = []
        real = Term._propose_seal

        def once(self: Term, reason: int, *rest: Any) -> Lsn | None:
            if reason == Seal.SPLIT and not refused:
                refused.append(reason)
                return None
            return real(self, reason, *rest)

        monkeypatch.setattr(Term, "_propose_seal", once)
        heard: list[Any] = []
        leader, began_us = story.leader(), story.world.now
        leader.end_in_split(SPLIT, heard.append)
        leader.write(put(1, 1, blind=True), heard.append)
        assert [one.fields.get("split") for one in heard] == [None, SPLIT.id.hex()], "what is proposed is not taken back"
        await story.until(lambda: leader.segments.facts.ended)
        assert refused == [Seal.SPLIT]
        assert story.world.now - began_us < 100_000, "whoever waits for the children waits for this"

    tell(scene)


def test_what_is_refused_changes_nothing() -> None:
    """A split waits for what is pending, as a seal does; it has to divide something; and only the leader begins it."""

    async def scene(story: Story) -> None:
        await story.begin()
        leader = story.leader()
        heard: list[Any] = []
        part = put(1, 1, blind=True)
        assert isinstance(part, PutCommand)
        for wrong in (SPLIT._replace(cut=leader.lo), SPLIT._replace(right=LEFT), SPLIT._replace(left=story.partition)):
            leader.end_in_split(wrong, heard.append)
        story.replica(story.followers()[0]).end_in_split(SPLIT, heard.append)
        assert [type(one) for one in heard] == [Invalid] * 3 + [NotLeader]
        answers: list[Any] = []
        leader.write(PrepareCommand(part.key, bytes(range(16)), b"token", (part,)), answers.append)
        await story.until(lambda: answers)
        leader.end_in_split(SPLIT, heard.append)
        assert isinstance(heard[-1], Unavailable)
        assert "transaction" in str(heard[-1])
        assert leader.split is None
        assert isinstance(await story.put(2, 2), WriteAnswer), "the partition goes on meanwhile"

    tell(scene)


def test_a_copy_that_starts_again_knows_that_it_was_split() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        story.leader().end_in_split(SPLIT, lambda _: None)
        await ended_everywhere(story)
        name = next(host.name for host in story.cluster.hosts if host.name != who_leads(story).node.name)
        copy = story.replica(name)
        await story.until(lambda: copy.checkpoints.committed >= copy.segments.facts.ended)
        story.host(name).crash(power=True)
        story.host(name).start()
        again = story.cluster.nodes
        await story.until(
            lambda: any(node.name == name and (one := node.replicas.get(story.partition)) and one.status.serves for node in again())
        )
        assert story.replica(name) is not copy
        assert story.replica(name).split == SPLIT
        heard: list[Any] = []
        story.replica(name).read(key_of(1), consistent=False, min_lsn=Lsn(0), done=heard.append)
        await story.until(lambda: heard)
        assert not isinstance(heard[0], ReadAnswer)

    tell(scene)


def test_a_copy_that_is_healed_at_the_end_knows_that_it_was_split() -> None:
    async def scene(story: Story) -> None:
        await story.begin()
        await story.must_put(1, 1)
        story.leader().end_in_split(SPLIT, lambda _: None)
        await ended_everywhere(story)
        leader = who_leads(story)
        whole, facts = story.node(leader.node.name), leader.segments.facts
        await story.until(lambda: leader.checkpoints.committed >= facts.ended)
        tree = leader.tree
        assert tree is not None
        pin = await story.ask(lambda done: tree.pin(tree.state.applied, done))
        await story.ask(lambda done: pin.dump("spool/half", done))
        data = whole.services.spool._disk.read_file("spool/half")
        name = next(host.name for host in story.cluster.hosts if host.name != leader.node.name)
        services, copy = story.node(name).services, story.replica(name)
        spooled = services.spool.receive(len(data))
        await services.spool.chunk(spooled, 0, data, crc32c_masked(data))
        copy.suspect("of this test")
        total, seal = Sum.of(leader.total()), log_of(leader, facts.ended)[0]
        heal = Heal(story.partition, spooled, seal.lsn, seal.stamp, total, facts.chain, Lsn(0), Stamp(facts.ended_closed), "rot")
        await services.healing.heal(replace(heal, split=encode_split(SPLIT)), lambda _: None)
        assert copy.split == SPLIT
        heard: list[Any] = []
        copy.read(key_of(1), consistent=False, min_lsn=Lsn(0), done=heard.append)
        await story.until(lambda: heard)
        assert heard[0].fields["split"] == SPLIT.id.hex(), "and not that its table was dropped"

    tell(scene)


def content(leader: Replica, group: Group, behind: int = 0) -> Record:
    item = put(9, 9, blind=True)
    payload = records.encode_effects([records.Effect(Op.PUT, item.key, b"")])
    return records.encode(
        owner=leader.owner, lsn=group.next_lsn + behind, stamp=leader.node.stamp(), kind=RecordKind.DATA, payload=payload, count=1
    )


def a_seal(leader: Replica, group: Group, reason: int, behind: int = 0) -> Record:
    seal = records.encode_seal(Seal(Lsn(leader.segments.facts.first), Stamp(0), reason, bytes(16)))
    return records.encode(owner=leader.owner, lsn=group.next_lsn + behind, stamp=leader.node.stamp(), kind=RecordKind.SEAL, payload=seal)


def a_prepare(leader: Replica, group: Group) -> Record:
    prepared = Prepared(bytes(range(16)), b"token", (key_of(1),), ())
    return records.encode(
        owner=leader.owner, lsn=group.next_lsn, stamp=leader.node.stamp(), kind=RecordKind.PREPARE, payload=encode_prepared(prepared)
    )


def a_split(leader: Replica, group: Group, split: Split, behind: int = 0) -> Record:
    return records.encode(
        owner=leader.owner, lsn=group.next_lsn + behind, stamp=leader.node.stamp(), kind=RecordKind.SPLIT, payload=encode_split(split)
    )


def test_a_log_that_no_leader_writes_stops_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To go on would be to serve something that the children do not have, or the other way round."""
    wrong: dict[str, Callable[[Replica, Group], tuple[Record, ...]]] = {
        "content-behind": lambda leader, group: (a_split(leader, group, SPLIT), content(leader, group, 1)),
        "another-seal": lambda leader, group: (a_split(leader, group, SPLIT), a_seal(leader, group, Seal.AGE, 1)),
        "seal-alone": lambda leader, group: (a_seal(leader, group, Seal.SPLIT),),
        "over-pending": lambda leader, group: (a_prepare(leader, group), a_split(leader, group, SPLIT, 1)),
        "twice": lambda leader, group: (a_split(leader, group, SPLIT), a_split(leader, group, SPLIT, 1)),
        "out-of-range": lambda leader, group: (a_split(leader, group, SPLIT._replace(cut=leader.lo)),),
    }

    async def scene(story: Story) -> None:
        await story.begin()
        monkeypatch.setattr(Term, "_owes_end", lambda self: False)
        partitions = [await story.create(name) for name in wrong]
        await story.sleep(0.5)
        for partition, make in zip(partitions, wrong.values(), strict=True):
            leader = story.cluster.leader(partition)
            assert leader is not None
            assert leader.group is not None
            leader.group.propose(make(leader, leader.group))
            leader.node.dirty(leader)
        copies = [story.replica(host.name, partition) for partition in partitions for host in story.cluster.hosts]
        await story.until(lambda: all(copy.status.tree == STOPPED for copy in copies))

    tell(scene)
