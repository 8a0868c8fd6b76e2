"""The profile "consensus": three nodes with real groups, leases and clocks on the reduced WAL, under everything a seed turns on.

Two phases: faults on, safety judged after every event; then faults off, and within ten virtual seconds every partition must have a leader that answers and
all members that may vote must have applied the same log. Then the clients' histories are judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scrubjay.base.ids import Member, NodeName, PartitionId
from scrubjay.sim.checkers.group import GroupChecker, GroupViolation
from scrubjay.sim.checkers.history import FOREVER, HistoryOperation
from scrubjay.sim.checkers.history import Kind as OperationKind
from scrubjay.sim.checkers.ledger import DurabilityLedger
from scrubjay.sim.checkers.linear import check_linear
from scrubjay.sim.checkers.witness import check_witness
from scrubjay.sim.clock import SimClock
from scrubjay.sim.consensus_faults import SECOND, ConsensusNemesis, Swarm, draw_swarm
from scrubjay.sim.group_node import GroupCopy, GroupNode, GroupRequest, decode_write
from scrubjay.sim.group_wal import GroupWal
from scrubjay.sim.rand import Stream
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.log.configuration import founding
from scrubjay.storage.log.record import RecordKind

NODES = 3
HEAL_US = 10 * SECOND
CLIENT_TIMEOUT_US = 2 * SECOND
MAX_OFFSET_US = 2_000_000
OPTIONS = ConsensusOptions(
    grant_us=1_000_000,
    interval_us=200_000,
    drift_us=10_000,
    election_us=150_000,
    campaign_us=800_000,
    retry_us=250_000,
    resign_after_us=2_000_000,
    batch_bytes=600,
    inflight_bytes=4_000,
    window_bytes=6_000,
    tail_bytes=2_000,
)
"""Shorter times than in production, so that more happens in a virtual second; small bounds, so that they are met."""


@dataclass
class ConsensusResult:
    """Outcome of a run. violation: "" if all held. unknown: keys whose history could not be judged in the step limit."""

    seed: int
    swarm: Swarm
    violation: str = ""
    digest: str = ""
    virtual_us: int = 0
    events: int = 0
    acknowledged: int = 0
    chosen: int = 0
    elections: int = 0
    changes: int = 0
    publications: int = 0
    operations: int = 0
    unknown: int = 0
    healed_us: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def replay(self) -> str:
        return f"python -m scrubjay.sim run --profile consensus --seed {self.seed} --trace"


class ConsensusRun(ConsensusNemesis):
    """One run. nodes_in_all: of which the first three are members of every partition to begin with. heal_us: in which all must be well once the faults have ended."""

    nodes_in_all = NODES
    heal_us = HEAL_US

    def __init__(
        self,
        seed: int,
        *,
        seconds: int = 20,
        swarm: Swarm | None = None,
        show: Callable[[str], object] | None = None,
        node: type[GroupNode] = GroupNode,
    ) -> None:
        world = World(seed, show=show)
        swarm = swarm or draw_swarm(world.stream("swarm"), seconds=seconds)
        names = {number: NodeName(f"n{number}") for number in range(1, self.nodes_in_all + 1)}
        partitions = tuple([PartitionId(f"{index:08x}-0000-4000-8000-000000000000") for index in range(1, swarm.partitions + 1)])
        super().__init__(world, swarm, names, partitions)
        world.note(repr(dataclasses.astuple(swarm)))
        self.result = ConsensusResult(seed, swarm, faults=self.faults)
        self.checkers = {partition: GroupChecker() for partition in partitions}
        self.ledgers = {partition: DurabilityLedger() for partition in partitions}
        self.history: dict[PartitionId, list[HistoryOperation]] = {partition: [] for partition in partitions}
        self._node = node
        self._operation = 0
        self._open: dict[int, Callable[[], None]] = {}
        self._served: dict[PartitionId, int] = {}
        self._make_hosts()
        self.world.after_event = self._check

    # --- the cluster ---

    def _make_hosts(self) -> None:
        draw, swarm, world = self.world.stream("hosts"), self.swarm, self.world
        faults = world.net.faults
        faults.loss = 0.05 if swarm.loss else 0.0
        faults.duplicate = 0.05 if swarm.duplicates else 0.0
        faults.slow = 0.03 if swarm.slow_net else 0.0
        for number, name in self._names.items():
            rate = draw.between(-2_000, 2_000) if swarm.rates else 0
            clock = SimClock(world, rate_ppm=rate, offset_us=self._offset(draw))
            host = world.add_host(name, build=lambda host, number=number: self._build(host, number), clock=clock)  # type: ignore[misc]
            host.disk.faults.slow = 0.02 if swarm.slow_disk else 0.0
            self._wals[name] = GroupWal(host)
            self._trees[name] = {}
            self._copies[name] = self._founding_copies(number)
            world.after(draw.between(0, 200_000), host.start)

    def _founding_copies(self, number: int) -> dict[PartitionId, GroupCopy]:
        members = tuple([Member(one, 1) for one in range(1, NODES + 1)])
        return {partition: GroupCopy(Member(number, 1), founding(members)) for partition in self.partitions} if number <= NODES else {}

    def _offset(self, draw: Stream) -> int:
        if self.swarm.skew:
            return 900_000 if draw.chance(0.4) else -900_000
        return draw.between(-200_000, 200_000)

    def _build(self, host: WorldHost, number: int) -> GroupNode:
        node = self._node(
            host,
            number=number,
            names=self._names,
            copies=self._copies[host.name],
            wal_=self._wals[host.name],
            trees=self._trees[host.name],
            options=OPTIONS,
            checkers=self.checkers,
            max_offset_us=MAX_OFFSET_US,
        )
        node.on_elected = self._ambush
        return node

    def _check(self) -> None:
        """After every event: one lease per partition, and its holder has all that is chosen."""
        nodes = self.nodes()
        for partition in self.partitions:
            holders = []
            for node in nodes:
                replica = node.replicas.get(partition)
                if replica is not None and replica.group.leading and replica.group.lease.held(node.now()):
                    holders.append((node.host.name, replica.group.last))
            if holders:
                self.checkers[partition].leases(holders)

    # --- clients ---

    def _client(self, client: int) -> None:
        draw = self.world.stream(f"client/{client}")
        world = self.world

        def next_() -> None:
            world.after(draw.between(5_000, 60_000), ask)

        def ask() -> None:
            if world.now < self.hush_until:
                next_()
                return
            self._operation += 1
            id_ = self._operation
            partition = self.partitions[draw.between(0, len(self.partitions) - 1)]
            # Keys rotate, so that no key's history outgrows the black-box checker.
            key = draw.between(0, 2) + 10 * (world.now // (4 * SECOND))
            kind = ("write", "write", "cas", "read")[draw.between(0, 3)]
            host = world.hosts[self._names[draw.between(1, self.nodes_in_all)]]
            leader = self._leader_hint(partition)
            if leader is not None and draw.chance(0.8):
                host = leader
            seen = [one.value for one in self.history[partition][-6:] if one.key == key]
            expected = seen[-1] if seen and draw.chance(0.7) else None
            start = world.now
            settled = False
            if kind != "read":
                self.ledgers[partition].sent(id_)

            def record(end: int, value: int | None, ok: bool | None, lsn: int | None) -> None:
                self.history[partition].append(
                    HistoryOperation(id_, client, key, OperationKind(kind), start, end, value, expected if kind == "cas" else None, ok, lsn)
                )

            def answered(outcome: str, value: int | None, lsn: int | None) -> None:
                # The answer travels, so the client learns of it later than the node said it.
                world.after(draw.between(100, 2_000), lambda: settle(outcome, value, lsn))

            def settle(outcome: str, value: int | None, lsn: int | None) -> None:
                nonlocal settled
                if settled:
                    return
                settled = True
                del self._open[id_]
                if outcome == "ok":
                    if kind != "read":
                        self.ledgers[partition].acknowledged(id_, lsn or 0)
                        self.result.acknowledged += 1
                        self._served[partition] = world.now
                    record(world.now, value, True, lsn)
                elif outcome == "refused":
                    self.ledgers[partition].failed(id_)
                    record(world.now, id_, False, lsn)
                elif outcome == "retry":
                    if kind != "read":
                        self.ledgers[partition].failed(id_)
                elif kind != "read":
                    record(FOREVER, id_, None, None)
                next_()

            self._open[id_] = lambda: settle("unknown", None, None)

            def deliver() -> None:
                if settled or host.process is None:
                    return
                request = GroupRequest(id_, kind, key, id_, expected, answered)
                host.life.run(lambda: host.process.submit(partition, request))

            world.after(draw.between(100, 2_000), deliver)
            world.after(CLIENT_TIMEOUT_US, lambda: settle("unknown", None, None))

        next_()

    def _housekeeping(self) -> None:
        draw, world = self.world.stream("housekeeping"), self.world

        def work() -> None:
            for host in world.hosts.values():
                node = host.process
                if node is None:
                    continue
                if draw.chance(0.5):
                    host.life.run(node.publish)
                if draw.chance(0.1):
                    host.life.run(lambda node=node: node.checkpoint(trim=self.swarm.trim))  # type: ignore[misc]
                if draw.chance(0.03):
                    self._remember(host)
            world.after(draw.between(20_000, 150_000), work)

        world.after(500_000, work)

    # --- the run ---

    def run(self) -> ConsensusResult:
        world, result = self.world, self.result
        for client in range(self.swarm.clients):
            self._client(client)
        self.start_nemesis()
        self._housekeeping()
        try:
            world.run(until_us=self.swarm.fault_us)
            self._heal()
            healed_at = world.now
            if not world.run(until_us=healed_at + self.heal_us, stop=self._settled(healed_at)):
                raise GroupViolation(f"liveness: no progress within {self.heal_us // SECOND} s after all faults ended: {self._state()}")
            result.healed_us = world.now - healed_at
            self._judge()
        except AssertionError as error:
            result.violation = str(error) or f"assertion {error.__traceback__ and _where(error)}"
            world.note(f"VIOLATION {result.violation}")
        result.digest = world.trace.digest
        result.virtual_us = world.now
        result.events = world.events
        result.chosen = sum([len(checker.log) for checker in self.checkers.values()])
        result.changes = sum([record.kind is RecordKind.CONFIG for checker in self.checkers.values() for record in checker.log])
        result.publications = sum([checker.publications for checker in self.checkers.values()])
        net = world.net
        for name, count in (("frames lost", net.lost), ("frames doubled", net.doubled), ("frames slow", net.slowed)):
            result.faults[name] = count
        return result

    def _heal(self) -> None:
        world = self.world
        self._faulting = False
        world.net.heal()
        world.net.faults.loss = world.net.faults.duplicate = world.net.faults.slow = 0.0
        for host in world.hosts.values():
            host.disk.faults.slow = 0.0
            host.life.resume()
            if not host.up:
                host.start()

    def _settled(self, healed_at: int) -> Callable[[], bool]:
        """All partitions served a write after the healing, and all members that vote have applied it, at one moment."""
        last_look = 0

        def settled() -> bool:
            nonlocal last_look
            if self.world.now < last_look + 20_000 or any(
                self._served.get(partition, 0) <= healed_at + SECOND for partition in self.partitions
            ):
                return False
            last_look = self.world.now
            for partition in self.partitions:
                target = len(self.checkers[partition].log) - 20
                if not self._applies(partition, target):
                    return False
            return len(self.nodes()) == self.nodes_in_all

        return settled

    def _applies(self, partition: PartitionId, target: int) -> bool:
        """Every member that votes has applied the log to there."""
        replicas = [node.replicas.get(partition) for node in self.nodes()]
        return all(replica is not None and (not replica.group.state.may_vote or replica.tree.lsn >= target) for replica in replicas)

    def _state(self) -> str:
        words = []
        for node in self.nodes():
            for partition in self.partitions:
                replica = node.replicas.get(partition)
                if replica is not None:
                    group = replica.group
                    words.append(
                        f"{node.host.name}: leading {group.leading} promised {group.state.promised:x} accepted {group.state.accepted:x} resigned {group.state.resigned:x} "
                        f"last {group.last} chosen {group.log.chosen} applied {replica.tree.lsn}"
                    )
        return "; ".join(words)

    def _judge(self) -> None:
        result = self.result
        for end_unanswered in list(self._open.values()):
            end_unanswered()
        for partition in self.partitions:
            checker = self.checkers[partition]
            for node in self.nodes():
                replica = node.replicas.get(partition)
                if replica is not None and replica.tree.chain != checker.chains[replica.tree.lsn]:
                    raise GroupViolation(f"state: {node.host.name} applied another log up to LSN {replica.tree.lsn}")
            findings = self.ledgers[partition].check(_writes_of(checker))
            history = self.history[partition]
            findings += check_witness(history)
            if findings:
                raise GroupViolation(f"history: {findings[0]} ({len(findings)} in all)")
            verdict = check_linear(history, steps_max=200_000)
            result.operations += len(history)
            if verdict.outcome == "bad":
                raise GroupViolation(f"not linearizable: key {verdict.key}")
            result.unknown += verdict.outcome == "unknown"


def _writes_of(checker: GroupChecker) -> dict[int, int]:
    found = {}
    for record in checker.log:
        if record.kind is RecordKind.CONFIG:
            continue
        write = decode_write(record)
        if write.id:
            found[int(record.lsn)] = write.id
    return found


def _where(error: BaseException) -> str:
    trace: Any = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
