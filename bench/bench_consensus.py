"""The consensus core alone: one leader and two followers in one process, every frame encoded, checked and decoded, no disk.

    python -m bench.bench_consensus [--rounds N]

Prints the median CPU time (this process's, so a busy machine disturbs it little) of a record in batches of 40 and of a batch of one: proposed, accepted,
answered and chosen at all three. Records have 950 bytes.
"""

from __future__ import annotations

import argparse
import statistics
import time

from scrubjay.base.hlc import HybridClock, stamp_of
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, uuid_bytes
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.group_config import GroupConfig, GroupStart
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.membership import Membership
from scrubjay.storage.consensus.messages import Chosen, NodeMessage, PartitionMessage, decode_frame, encode_frame
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.record import Record, RecordKind, encode, owner_tag

PARTITION = PartitionId("11111111-2222-4333-8444-555555555555")
OWNER = owner_tag(uuid_bytes(PARTITION))
CLUSTER = b"bench..."
WALL = 1_800_000_000_000_000
MEMBERS = tuple(Member(number, 1) for number in (1, 2, 3))
RECORD = 950


class NoReader:
    """Everything that is asked for is in memory."""

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        raise AssertionError((first, end))


class Peer:
    """A node with one group. boxes: what waits to leave, per receiver."""

    def __init__(self, number: int, now: Now, options: ConsensusOptions) -> None:
        self.number = number
        self.clock = HybridClock(reservation=stamp_of(WALL + 10**12), max_offset_us=500_000)
        self.clock.latest = stamp_of(1)  # it began long ago
        self.liveness = Liveness(me=number, boot_count=1, clock=self.clock, options=options, now=now)
        self.group = Group(
            GroupConfig(
                partition=PARTITION,
                members=Membership(Member(number, 1), MEMBERS),
                start=GroupStart(Ballot(0), Ballot(0), Ballot(0), Lsn(1), Lsn(0), Lsn(0)),
                reader=NoReader(),
                liveness=self.liveness,
                clock=self.clock,
                options=options,
                jitter=lambda: 0.1 * number,
            )
        )
        self.boxes: dict[int, tuple[list[NodeMessage], list[tuple[PartitionId, PartitionMessage]]]] = {
            member.node: ([], []) for member in MEMBERS if member.node != number
        }

    def post(self, envelopes: object) -> None:
        for to, message in envelopes:  # type: ignore[attr-defined]
            if type(message).__name__ in {"Ask", "Grant", "Moved"}:
                self.boxes[to][0].append(message)
            else:
                self.boxes[to][1].append((PARTITION, message))

    def turn(self) -> None:
        """Carry out what the group wants, with a sync that takes no time."""
        while (ready := self.group.ready()) is not None:
            self.post(ready.send_now)
            if ready.chosen:
                self.group.applied_to(ready.chosen[-1].lsn)
            if ready.token:
                self.post(self.group.persisted(ready.token))


class World:
    def __init__(self) -> None:
        options = ConsensusOptions()
        self.now = Now(1_000_000, WALL)
        self.peers = {number: Peer(number, self.now, options) for number in (1, 2, 3)}

    def settle(self) -> None:
        """One frame per pair and round, until nobody has anything to say."""
        busy = True
        while busy:
            busy = False
            for peer in self.peers.values():
                for to, (node, groups) in peer.boxes.items():
                    if node or groups:
                        busy = True
                        frame = encode_frame(cluster=CLUSTER, sender=peer.number, node=node, groups=groups)
                        node.clear()
                        groups.clear()
                        self._take(self.peers[to], frame)

    def _take(self, peer: Peer, frame: bytes) -> None:
        content = decode_frame(frame, cluster=CLUSTER)
        for node_message in content.node:
            peer.post(peer.liveness.step(content.sender, node_message, self.now))
        for _, message in content.groups:
            peer.group.step(content.sender, message, self.now)
        self._after(peer)

    def _after(self, peer: Peer) -> None:
        for sender, _, ballot, lsn in peer.liveness.take_chosen():
            peer.group.step(sender, Chosen(ballot, lsn), self.now)
        if peer.liveness.changed():
            peer.group.on_liveness(self.now)
        peer.turn()

    def advance(self, by_us: int) -> None:
        for _ in range(by_us // 25_000):
            self.now = Now(self.now.boot_us + 25_000, self.now.wall_us + 25_000)
            for peer in self.peers.values():
                if peer.liveness.deadline() <= self.now.boot_us:
                    peer.post(peer.liveness.tick(self.now))
                due = peer.group.deadline()
                if due is not None and due <= self.now.boot_us:
                    peer.group.tick(self.now)
                self._after(peer)
            self.settle()

    def leader(self) -> Peer:
        while True:
            for peer in self.peers.values():
                if peer.group.can_propose(RECORD, self.now):
                    return peer
            self.advance(100_000)

    def make(self, leader: Peer, count: int) -> list[Record]:
        return [
            encode(
                owner=OWNER,
                lsn=leader.group.next_lsn + at,
                stamp=leader.clock.tick(self.now.wall_us),
                kind=RecordKind.DATA,
                payload=bytes(RECORD),
            )
            for at in range(count)
        ]


def measure(world: World, *, batch: int, batches: int) -> float:
    """CPU microseconds per batch."""
    leader = world.leader()
    spent = 0
    for _ in range(batches):
        records = world.make(leader, batch)
        assert leader.group.can_propose(batch * RECORD, world.now)
        began = time.process_time_ns()
        leader.group.propose(records)
        leader.turn()
        world.settle()
        spent += time.process_time_ns() - began
    world.advance(500_000)
    for peer in world.peers.values():
        assert peer.group.last == leader.group.last
    return spent / 1000 / batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    world = World()
    measure(world, batch=40, batches=50)
    many = [measure(world, batch=40, batches=250) / 40 for _ in range(rounds)]
    one = [measure(world, batch=1, batches=2000) for _ in range(rounds)]
    print(f"batches of 40: {statistics.median(many):.2f} us a record (fastest {min(many):.2f})")
    print(f"a batch of one: {statistics.median(one):.1f} us (fastest {min(one):.1f})")


if __name__ == "__main__":
    main()
