"""What goes wrong in the consensus profile: the swarm that a seed turns on, and the nemesis that strikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.sim.group_node import GroupCopy, GroupNode, GroupTree
from scrubjay.sim.group_wal import GroupWal
from scrubjay.sim.rand import Stream
from scrubjay.sim.world import World, WorldHost

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Swarm:
    """What a seed turns on. Each fault is off in about half of the seeds: some bugs only show when little else happens."""

    crashes: bool
    storms: bool
    power: bool
    isolate: bool
    one_way: bool
    pauses: bool
    jumps: bool
    rates: bool
    loss: bool
    duplicates: bool
    slow_net: bool
    slow_disk: bool
    trim: bool
    commands: bool
    amnesia: bool
    swizzle: bool
    squeezes: bool
    ambush: bool
    skew: bool
    plots: bool
    clients: int
    partitions: int
    fault_us: int
    fault_gap_us: int


def draw_swarm(draw: Stream, *, seconds: int) -> Swarm:
    coin = draw.chance
    swarm = Swarm(
        crashes=coin(0.5),
        storms=coin(0.3),
        power=coin(0.5),
        isolate=coin(0.6),
        one_way=coin(0.4),
        pauses=coin(0.3),
        jumps=coin(0.3),
        rates=coin(0.5),
        loss=coin(0.4),
        duplicates=coin(0.4),
        slow_net=coin(0.4),
        slow_disk=coin(0.3),
        trim=coin(0.4),
        commands=coin(0.3),
        amnesia=coin(0.25),
        swizzle=coin(0.4),
        squeezes=coin(0.4),
        ambush=coin(0.4),
        skew=coin(0.3),
        plots=coin(0.4),
        clients=draw.between(1, 6),
        partitions=draw.between(1, 2),
        fault_us=seconds * SECOND,
        fault_gap_us=draw.between(200_000, 2_500_000),
    )
    if draw.chance(0.25):
        # Nothing but scripts: some need an otherwise quiet world.
        quiet = {item.name: False for item in fields(Swarm) if item.type == "bool" and item.name not in {"rates", "skew"}}
        return replace(swarm, **{**quiet, "plots": True})
    return swarm


class ConsensusNemesis:
    """The faults of one run. Subclassed by the run, which owns what they strike.

    More than 25 methods: a fault each.
    """

    def __init__(self, world: World, swarm: Swarm, names: dict[int, NodeName], partitions: tuple[PartitionId, ...]) -> None:
        self.world = world
        self.swarm = swarm
        self.partitions = partitions
        self.faults: dict[str, int] = {}
        self._names = names
        self._wals: dict[NodeName, GroupWal] = {}
        self._trees: dict[NodeName, dict[PartitionId, GroupTree]] = {}
        self._copies: dict[NodeName, dict[PartitionId, GroupCopy]] = {}
        self._old_trees: dict[NodeName, dict[PartitionId, GroupTree]] = {}
        self._faulting = True
        self._ambushes = world.stream("ambush")
        self._afterwards = world.stream("afterwards")
        self._plot_until = 0
        self.hush_until = 0
        """Clients ask nothing before this time."""
        self._plot: Callable[[GroupNode], None] | None = None

    def nodes(self) -> list[GroupNode]:
        """Processes that run."""
        return [host.process for host in self.world.hosts.values() if host.process is not None]

    def _leader_hint(self, partition: PartitionId) -> WorldHost | None:
        for node in self.nodes():
            replica = node.replicas.get(partition)
            if replica is not None and replica.group.leading:
                return node.host
        return None

    def _others(self, leader: WorldHost, partition: PartitionId) -> list[WorldHost]:
        """The two others of the partition; not two: there is no plot to be made."""
        return [host for host in self.world.hosts.values() if host is not leader]

    def _count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def start_nemesis(self) -> None:
        draw, swarm, world = self.world.stream("nemesis"), self.swarm, self.world
        kinds = self._kinds()

        def strike() -> None:
            if not self._faulting:
                return
            if kinds and world.now >= self._plot_until:
                kind = kinds[draw.between(0, len(kinds) - 1)]
                self._count(kind)
                getattr(self, f"_{kind}")(draw)
            world.after(draw.between(swarm.fault_gap_us // 4, swarm.fault_gap_us * 2), strike)

        world.after(draw.between(300_000, 2_000_000), strike)

    def _kinds(self) -> list[str]:
        """Which faults strike in this run; one that is named twice does so twice as often."""
        swarm = self.swarm
        kinds = [
            name
            for name in (
                "crashes",
                "storms",
                "isolate",
                "one_way",
                "pauses",
                "jumps",
                "commands",
                "amnesia",
                "swizzle",
                "squeezes",
                "plots",
            )
            if getattr(swarm, name)
        ]
        return kinds + ["crashes"] * swarm.crashes + ["isolate"] * swarm.isolate

    def _pick(self, draw: Stream) -> WorldHost:
        return self.world.hosts[self._names[draw.between(1, len(self._names))]]

    def _restart_later(self, host: WorldHost, delay_us: int) -> None:
        self.world.after(delay_us, lambda: None if host.up else host.start())

    def _crashes(self, draw: Stream) -> None:
        host = self._pick(draw)
        if host.up:
            host.crash(power=self.swarm.power and draw.chance(0.5))
            self._restart_later(host, draw.between(1_000, 100_000) if draw.chance(0.5) else draw.between(100_000, 3_000_000))

    def _storms(self, draw: Stream) -> None:
        """Fast restarts of several nodes within one lease: what is forgotten over a restart shows here."""
        for host in list(self.world.hosts.values()):
            if draw.chance(0.7):
                self.world.after(draw.between(0, 300_000), lambda host=host: host.crash(power=self.swarm.power) if self._faulting else None)  # type: ignore[misc]
                self._restart_later(host, draw.between(301_000, 600_000))

    def _isolate(self, draw: Stream) -> None:
        host = self._pick(draw)
        for other in self.world.hosts.values():
            if other is not host:
                self._cut(host.name, other.name, draw)
                self._cut(other.name, host.name, draw)

    def _one_way(self, draw: Stream) -> None:
        one, other = self._pick(draw), self._pick(draw)
        if one is not other:
            self._cut(one.name, other.name, draw)
            if draw.chance(0.3):
                self._cut(other.name, one.name, draw)

    def _cut(self, sender: NodeName, receiver: NodeName, draw: Stream, low: int = 100_000, high: int = 4_000_000) -> None:
        self.world.net.cut_link(sender, receiver)
        self.world.after(draw.between(low, high), lambda: self.world.net.cut.pop((sender, receiver), None))

    def _swizzle(self, draw: Stream) -> None:
        """Cut the links of a random subset one by one, heal them in another order."""
        for sender in self.world.hosts.values():
            for receiver in self.world.hosts.values():
                if sender is not receiver and draw.chance(0.5):
                    self.world.after(
                        draw.between(0, 800_000),
                        lambda a=sender.name, b=receiver.name: self._cut(a, b, draw, 200_000, 2_500_000) if self._faulting else None,  # type: ignore[misc]
                    )

    def _ambush(self, node: GroupNode) -> None:
        """A leader is hit while it brings the others to its log."""
        draw = self._ambushes
        plot, self._plot = self._plot, None
        if plot is not None and self._faulting:
            plot(node)
            return
        if not (self._faulting and self.swarm.ambush and draw.chance(0.5)):
            return
        self._count("ambush")
        node.publish()
        host, delay = node.host, draw.between(0, 12_000)
        if draw.chance(0.5):
            self.world.after(delay, lambda: host.crash(power=self.swarm.power) if host.process is node else None)
            self._restart_later(host, delay + draw.between(1_000, 2_500_000))
        else:
            for other in self.world.hosts.values():
                if other is not host and draw.chance(0.8):
                    self.world.after(delay, lambda other=other: self._cut(host.name, other.name, draw))  # type: ignore[misc]
                    self.world.after(delay, lambda other=other: self._cut(other.name, host.name, draw))  # type: ignore[misc]

    def _squeezes(self, draw: Stream) -> None:
        """One follower stops hearing the leader; then the leader is talked away, or the other follower restarts within the lease, or the deaf one campaigns unasked."""
        partition = self.partitions[draw.between(0, len(self.partitions) - 1)]
        leader = self._leader_hint(partition)
        if leader is None:
            return
        others = self._others(leader, partition)
        if len(others) != 2:
            return
        deaf, other = others if draw.chance(0.5) else others[::-1]
        self._cut(leader.name, deaf.name, draw, 1_500_000, 3_000_000)
        if draw.chance(0.5):
            self._cut(deaf.name, leader.name, draw, 1_500_000, 3_000_000)
        way, delay = draw.between(0, 3), draw.between(1_000_000, 1_700_000)

        def strike() -> None:
            if not self._faulting:
                return
            if way == 0:
                other.crash(power=self.swarm.power)
                self._restart_later(other, draw.between(500, 20_000))
            elif way == 1 and leader.process is not None:
                node = leader.process
                node.publish()
                for replica in node.replicas.values():
                    replica.group.resign(node.now())
                node.soon()
            elif way == 2 and deaf.process is not None:
                node = deaf.process
                for replica in node.replicas.values():
                    replica.group.campaign(node.now())
                node.soon()
            elif way == 3:
                leader.crash(power=self.swarm.power)
                self._restart_later(leader, draw.between(500, 3_000_000))

        self.world.after(delay, strike)

    def _plots(self, draw: Stream) -> None:
        """Scripts with the timing left to chance, after the counterexamples that TLC gives for the clock rules."""
        leader = self._leader_hint(self.partitions[0])
        if leader is None:
            return
        others = self._others(leader, self.partitions[0])
        if len(others) != 2:
            return
        # Most plots are left alone until they are over.
        if draw.chance(0.8):
            self._plot_until = self.world.now + 4_000_000
        first, second = others[:: draw.between(0, 1) * 2 - 1]
        plots = (self._plot_early, self._plot_deaf_candidate, self._plot_forgotten, self._plot_amnesia, self._plot_power)
        plots[draw.between(0, len(plots) - 1)](draw, leader, first, second)

    def _plot_early(self, draw: Stream, leader: WorldHost, first: WorldHost, second: WorldHost) -> None:
        """A leader is cut off with records of its own; the next one speaks of closed time and dies before anybody has its log; the first returns."""
        # Clients hold still for a moment, so that the followers know all that is chosen.
        self.hush_until = self.world.now + 120_000

        def cut() -> None:
            for other in (first, second):
                self._cut(leader.name, other.name, draw, 1_600_000, 2_200_000)
                self._cut(other.name, leader.name, draw, 1_600_000, 2_200_000)

        self.world.after(100_000, cut)

        def hit(node: GroupNode) -> None:
            node.publish()
            host = node.host
            self._leave_out(draw, host, 20_000, 50_000)
            self.world.after(draw.between(0, 10_000), lambda: host.crash(power=False))
            self._restart_later(host, 3_500_000)

        self._plot = hit

    def _lift(self, draw: Stream, leader: WorldHost, others: list[WorldHost]) -> None:
        """The leader's wall clock is ahead of the others', within what is allowed."""
        if self.swarm.skew:
            return
        for host, by in [(leader, 750_000), *[(other, -750_000) for other in others]]:
            host.clock.jump(by)
            self.world.after(4_000_000, lambda host=host, by=by: host.clock.jump(-by))  # type: ignore[misc]

    def _plot_deaf_candidate(self, draw: Stream, leader: WorldHost, first: WorldHost, second: WorldHost) -> None:
        """A follower that heard nothing of the leader's clock takes over at the very moment when the other has acknowledged it."""
        self._lift(draw, leader, [first, second])
        self._cut(leader.name, first.name, draw, 2_500_000, 3_000_000)
        self._cut(first.name, leader.name, draw, 2_500_000, 3_000_000)

        def wait() -> None:
            node = leader.process
            if node is None or node.liveness is None:
                return
            # Just after the leader's next ask is answered.
            local = max(0, node.liveness.deadline() - leader.clock.boot_us())
            self.world.after(leader.clock.true_us(local) + draw.between(3_000, 8_000), strike)

        def strike() -> None:
            node = leader.process
            if node is None or not self._faulting:
                return
            node.publish()
            for replica in node.replicas.values():
                replica.group.resign(node.now())
            node.soon()
            self.world.after(5_000, lambda: leader.crash(power=False))
            self._restart_later(leader, 2_000_000)
            for delay in (6_000, 9_000, 15_000):
                self.world.after(delay, take)

        def take() -> None:
            node = first.process
            if node is not None:
                for replica in node.replicas.values():
                    replica.group.campaign(node.now())
                node.soon()

        self.world.after(draw.between(1_300_000, 1_800_000), wait)

    def _plot_forgotten(self, draw: Stream, leader: WorldHost, first: WorldHost, second: WorldHost) -> None:
        """Both followers acknowledge the leader's clock, restart at once, and go on without it."""
        self._lift(draw, leader, [first, second])

        def strike() -> None:
            node = leader.process
            if node is None or not self._faulting:
                return
            node.publish()
            leader.crash(power=False)
            self._restart_later(leader, 4_000_000)
            for host in (first, second):
                host.crash(power=self.swarm.power)
                self._restart_later(host, draw.between(500, 20_000))

        self.world.after(draw.between(900_000, 1_500_000), strike)

    def _leave_out(self, draw: Stream, host: WorldHost, low: int, high: int) -> None:
        """Cut one host off from all others."""
        for other in self.world.hosts.values():
            if other is not host:
                self._cut(host.name, other.name, draw, low, high)
                self._cut(other.name, host.name, draw, low, high)

    def _plot_amnesia(self, draw: Stream, leader: WorldHost, first: WorldHost, second: WorldHost) -> None:
        """What only the leader and one follower have is forgotten by the follower; the leader dies, the other returns."""
        if self._amnesiacs():
            return
        self._remember(first)
        self._leave_out(draw, second, 600_000, 700_000)

        def strike() -> None:
            if self._faulting and not self._amnesiacs() and first.up:
                self._lose_synced(first)
                self._restart_later(first, draw.between(1_000, 20_000))
                leader.crash(power=False)
                self._restart_later(leader, 3_500_000)

        self.world.after(600_000, strike)

    def _plot_power(self, draw: Stream, leader: WorldHost, first: WorldHost, second: WorldHost) -> None:
        """Power fails for two while their disks are slow and the third is away; that one and the old leader may have to go on without the other."""
        self._leave_out(draw, second, 400_000, 500_000)
        for host in (leader, first):
            host.disk.faults.sync_us = (40_000, 150_000)

        def strike() -> None:
            for host in (leader, first):
                host.disk.faults.sync_us = (150, 1_500)
                if self._faulting:
                    host.crash(power=True)
                    self._restart_later(host, draw.between(1_000, 200_000))
            if self._faulting and self._afterwards.chance(0.5):
                self._leave_out(self._afterwards, first, 2_000_000, 2_800_000)

        self.world.after(draw.between(200_000, 400_000), strike)

    def _pauses(self, draw: Stream) -> None:
        host = self._pick(draw)
        life = host.life
        life.pause()
        self.world.note(f"{host.name} pauses")
        self.world.after(draw.between(100_000, 2_500_000), life.resume)

    def _jumps(self, draw: Stream) -> None:
        host = self._pick(draw)
        by = draw.between(-100_000, 100_000) if draw.chance(0.7) else draw.between(-1_500_000, 1_500_000)
        host.clock.jump(by)
        self.world.note(f"{host.name} clock jumps {by}")
        if abs(by) > 100_000:
            self.world.after(draw.between(200_000, 2_000_000), lambda: host.clock.jump(-by))

    def _commands(self, draw: Stream) -> None:
        host = self._pick(draw)
        node = host.process
        if node is None or not host.up:
            return
        node.publish()
        for replica in node.replicas.values():
            if draw.chance(0.5):
                replica.group.resign(node.now())
            else:
                others = replica.group.members.peers
                if others:
                    replica.group.transfer(others[draw.between(0, len(others) - 1)], node.now())
        node.soon()

    def _amnesia(self, draw: Stream) -> None:
        """One node's disk loses synced bytes, once a run: more would be outside what a quorum of two survives."""
        host = self._pick(draw)
        if self._amnesiacs() or not host.up:
            return
        self._lose_synced(host)
        self._restart_later(host, draw.between(50_000, 500_000))

    def _amnesiacs(self) -> bool:
        return any(wal.lost for wal in self._wals.values())

    def _remember(self, host: WorldHost) -> None:
        """What a lying disk may fall back to."""
        self._wals[host.name].remember()
        self._old_trees[host.name] = dict(self._trees[host.name])

    def _lose_synced(self, host: WorldHost) -> None:
        host.crash(power=True)
        wal = self._wals[host.name]
        wal.restart()
        if host.name in self._old_trees and wal.forget_synced():
            self._trees[host.name] = self._old_trees[host.name]
            self.world.note(f"{host.name} lost synced bytes")
