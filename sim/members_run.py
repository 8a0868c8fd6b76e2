"""The profile "members": the consensus profile on five nodes, while an operator changes who is a member, disks lose synced bytes, and disks are replaced by empty ones.

The operator is what a catalogue and a person do: it has a node make a copy anew, asks the leader to add it as a learner, to let it vote, to remove a member, and has a node drop
the copy of a removed one. It takes no step after which the members that are whole would be no quorum; what goes wrong meanwhile is the nemesis' business.

Judged on every event, beside what the consensus profile judges: only a storage replica leads, and a member that knows of its removal gives up its ballots.
At the end every member of every partition is whole, votes, and has applied the log.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.ids import Member, NodeName, PartitionId
from scrubjay.sim.checkers.group import GroupViolation
from scrubjay.sim.consensus_faults import SECOND, Swarm
from scrubjay.sim.consensus_run import ConsensusResult, ConsensusRun
from scrubjay.sim.group_node import GroupCopy, GroupNode, GroupReplica
from scrubjay.sim.rand import Stream
from scrubjay.sim.world import WorldHost
from scrubjay.storage.consensus.membership import AddLearner, Change, LetVote, Remove, quorum_of
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote, decode_configuration
from scrubjay.storage.log.record import RecordKind

NOBODY = Configuration(())
UNOWNED_US = 5 * SECOND
"""So long a member that knows of its removal may take to give up its ballots: a sync and a turn, and a pause in between."""


class MembersRun(ConsensusRun):
    """One run. dead: members that have lost their log, and so never vote again.

    More than 25 methods: an operator, the faults that come with him, and what is judged.
    """

    nodes_in_all = 5
    heal_us = 30 * SECOND

    def __init__(
        self,
        seed: int,
        *,
        seconds: int = 20,
        swarm: Swarm | None = None,
        show: Callable[[str], object] | None = None,
        node: type[GroupNode] = GroupNode,
    ) -> None:
        super().__init__(seed, seconds=seconds, swarm=swarm, show=show, node=node)
        self._operator = self.world.stream("operator")
        self._minted = dict.fromkeys(self._names, 1)
        self.dead: set[tuple[PartitionId, Member]] = set()
        self._unowned: dict[tuple[PartitionId, Member], int] = {}
        self._unheard: dict[tuple[NodeName, PartitionId], GroupCopy] = {}
        """The copy that a node was last told to make and has not made yet: its process stands still."""

    def run(self) -> ConsensusResult:
        self._later()
        return super().run()

    # --- the operator ---

    def _later(self) -> None:
        pace = (20_000, 150_000) if not self._faulting else (50_000, 700_000)
        self.world.after(self._operator.between(*pace), self._work)

    def _work(self) -> None:
        draw = self._operator
        partition = self.partitions[draw.between(0, len(self.partitions) - 1)]
        leader = self._leading(partition)
        if leader is not None:
            self._drop_gone(partition, leader)
            for _ in range(draw.between(1, 3) if draw.chance(0.3) else 1):
                self._step(partition, leader)
        self._later()

    def _leading(self, partition: PartitionId) -> GroupReplica | None:
        host = self._leader_hint(partition)
        return None if host is None else host.process.replicas[partition]

    def _step(self, partition: PartitionId, leader: GroupReplica) -> None:
        changes = self._possible(partition, leader)
        if not changes or not leader.group.leading:
            return
        change = changes[self._operator.between(0, len(changes) - 1)]
        if isinstance(change, AddLearner):
            self._make_copy(partition, change.member)
        removed = leader.group.members.peer(change.node) if isinstance(change, Remove) else None
        if leader.node.host.life.alive and leader.change_members(change):
            self._count(type(change).__name__)
            if removed is not None and self._faulting and self._operator.chance(0.4):
                self._lone_leader(leader.node.host, self.world.hosts[self._names[removed.node]])

    def _possible(self, partition: PartitionId, leader: GroupReplica) -> list[Change]:
        """Changes after which those that are whole are a quorum, whatever becomes of the rest."""
        draw, me = self._operator, leader.group.me
        configuration = leader.group.members.configuration
        found: list[Change] = []
        for node in self._names:
            place = configuration.place(node)
            present = place is not None and place.vote is not Vote.GONE
            if node == me.node:
                if draw.chance(0.05) and self._faulting:
                    leader.group.transfer(leader.group.members.peers[0], leader.node.now())
            elif place is not None and present and (partition, place.member) in self.dead:
                found.append(self._fresh(node, place.kind))
            elif place is not None and place.vote is Vote.LEARNER:
                found += [LetVote(node)] * 3
                if self._faulting and draw.chance(0.1):
                    found.append(Remove(node))
            elif present and self._faulting and self._can_spare(partition, configuration, node):
                found.append(Remove(node))
            elif (
                not present
                and self._let_go(leader, node)
                and (len(self._voters(configuration)) < 3 or (self._faulting and draw.chance(0.3)))
            ):
                found.append(self._fresh(node, CopyKind.LOG if self._faulting and draw.chance(0.25) else CopyKind.STORAGE))
        return found

    def _let_go(self, leader: GroupReplica, node: int) -> bool:
        """What is chosen knows of no copy on that node. A removal that is not chosen may be cut off again: whoever made another copy over the old one by then took a log away
        from a member that votes on."""
        place = leader.group.members_chosen.configuration.place(node)
        return place is None or place.vote is Vote.GONE

    def _fresh(self, node: int, kind: CopyKind) -> AddLearner:
        return AddLearner(Member(node, self._minted[node] + 1), kind)

    def _voters(self, configuration: Configuration) -> list[MemberPlace]:
        return [place for place in configuration.places if place.vote is Vote.VOTES]

    def _can_spare(self, partition: PartitionId, configuration: Configuration, node: int) -> bool:
        left = [place for place in self._voters(configuration) if place.member.node != node]
        whole = [place for place in left if (partition, place.member) not in self.dead]
        able = [place for place in whole if place.kind is CopyKind.STORAGE]
        return len(able) >= 2 and len(whole) >= quorum_of(len(left)) and (len(left) >= 3 or self._operator.chance(0.2))

    def _make_copy(self, partition: PartitionId, member: Member) -> None:
        """A node is told to make a copy anew. What it had of the partition was of a member that is dead or gone, or of a learner that no chosen CONFIG names: it is dead from now on."""
        self._minted[member.node] = member.incarnation
        host, copy = self.world.hosts[self._names[member.node]], GroupCopy(member, NOBODY)
        if (before := self._copies[host.name].get(partition)) is not None:
            self.dead.add((partition, before.member))
        if host.process is None:
            self._unheard.pop((host.name, partition), None)
            self._copies[host.name][partition] = copy
            return

        def hears() -> None:
            if self._unheard.get((host.name, partition)) is copy:
                del self._unheard[host.name, partition]
            host.process.host_copy(partition, copy)

        self._unheard[host.name, partition] = copy
        host.life.run(hears)

    def _build(self, host: WorldHost, number: int) -> GroupNode:
        """What its process was told while it stood still, and did not live to do, the catalogue tells the next one."""
        for at in [at for at in self._unheard if at[0] == host.name]:
            self._copies[host.name][at[1]] = self._unheard.pop(at)
        return super()._build(host, number)

    def _drop_gone(self, partition: PartitionId, leader: GroupReplica) -> None:
        """Nodes are told to drop the copies of members that what is chosen calls gone; not one whose place another one takes as soon as its process goes on."""
        for host in self.world.hosts.values():
            copy = self._copies[host.name].get(partition) if (host.name, partition) not in self._unheard else None
            if copy is not None and leader.group.members_chosen.configuration.gone(copy.member) and self._operator.chance(0.3):
                if host.process is None:
                    del self._copies[host.name][partition]
                else:
                    host.life.run(lambda host=host: host.process.drop_copy(partition))  # type: ignore[misc]

    # --- what goes wrong, beside the rest ---

    def _kinds(self) -> list[str]:
        return [*super()._kinds(), "empties", "empties"]

    def _others(self, leader: WorldHost, partition: PartitionId) -> list[WorldHost]:
        replica = leader.process.replicas.get(partition) if leader.process is not None else None
        if replica is None:
            return []
        peers = [member for member in replica.group.members.peers if member in replica.group.members.voters]
        return [self.world.hosts[self._names[member.node]] for member in peers][:2]

    def _ambush(self, node: GroupNode) -> None:
        """Whoever has just come to lead is asked for a change at once, and perhaps cut off with it."""
        super()._ambush(node)
        draw = self._ambushes
        if not self._faulting or not draw.chance(0.5):
            return
        wait, cut = draw.between(0, 4_000), draw.chance(0.5)

        def ask() -> None:
            if node.host.process is not node:
                return
            for partition, replica in node.replicas.items():
                if replica.group.leading:
                    for _ in range(draw.between(1, 2)):
                        self._step(partition, replica)
            if cut:
                self._leave_out(draw, node.host, 400_000, 2_500_000)

        self.world.after(wait, ask)

    def _lone_leader(self, leader: WorldHost, removed: WorldHost) -> None:
        """A leader keeps its link to whom it removed, and loses all others."""

        def cut() -> None:
            for other in self.world.hosts.values():
                if other not in (leader, removed) and self._faulting:
                    self._cut(leader.name, other.name, self._operator, 1_500_000, 3_000_000)
                    self._cut(other.name, leader.name, self._operator, 1_500_000, 3_000_000)

        self.world.after(self._operator.between(5_000, 400_000), cut)

    def _amnesiacs(self) -> bool:
        """A further log that is lost would be more than some membership survives, of which the log of some member still speaks."""
        return not all(self._sound(partition) for partition in self.partitions)

    def _sound(self, partition: PartitionId) -> bool:
        for name in self._names.values():
            copy = self._copies[name].get(partition)
            if copy is None or (partition, copy.member) in self.dead:
                continue
            configuration = self._configuration(name, partition, copy)
            able = [place for place in self._voters(configuration) if place.kind is CopyKind.STORAGE]
            if configuration.places and not configuration.gone(copy.member) and len(able) < 3:
                return False
            if any((partition, place.member) in self.dead for place in configuration.places if place.vote is not Vote.GONE):
                return False
        return True

    def _configuration(self, name: NodeName, partition: PartitionId, copy: GroupCopy) -> Configuration:
        """By which a copy goes, as its log and tree have it."""
        image = self._wals[name].replica(partition)
        for lsn in sorted(image.records, reverse=True):
            if image.records[lsn].kind is RecordKind.CONFIG:
                return decode_configuration(image.records[lsn].payload)
        return decode_configuration((self._trees[name].get(partition) or copy.empty()).members)

    def _lose_synced(self, host: WorldHost) -> None:
        super()._lose_synced(host)
        if self._wals[host.name].lost:
            self.dead |= {(partition, copy.member) for partition, copy in self._copies[host.name].items()}

    def _empties(self, draw: Stream) -> None:
        """A disk is replaced by an empty one. The node comes back under its name, and knows of no copy until it is told to make one."""
        host = self._pick(draw)
        if not host.up or self._amnesiacs():
            return
        host.crash(power=True)
        wal, copies = self._wals[host.name], self._copies[host.name]
        wal.restart()
        self.dead |= {(partition, copy.member) for partition, copy in copies.items()}
        wal.emptied(boot_count=(wal.boot_count | 0xFFFF) + 1)
        self._trees[host.name] = {}
        self._old_trees.pop(host.name, None)
        self._copies[host.name] = self._known_after_loss(copies)
        self.world.note(f"{host.name} has an empty disk")
        self._restart_later(host, draw.between(50_000, 1_500_000))

    def _known_after_loss(self, copies: dict[PartitionId, GroupCopy]) -> dict[PartitionId, GroupCopy]:
        """Which of its copies a node makes anew, unasked, whose disk is empty: none. (The simulator breaks it on purpose.)"""
        return {}

    # --- judged ---

    def _check(self) -> None:
        super()._check()
        for node in self.nodes():
            for partition, replica in node.replicas.items():
                group = replica.group
                if group.leading and not group.members.may_lead(group.me):
                    raise GroupViolation(f"storage leads: {node.host.name} leads and is none by its own log")
                self._check_unowned(node, partition, replica)

    def _check_unowned(self, node: GroupNode, partition: PartitionId, replica: GroupReplica) -> None:
        group, state = replica.group, replica.group.state
        key = (partition, group.me)
        if not group.members_chosen.configuration.gone(group.me) or not state.owns_promised or state.promised == state.resigned:
            self._unowned.pop(key, None)
        elif self.world.now > self._unowned.setdefault(key, self.world.now) + UNOWNED_US:
            raise GroupViolation(f"unowned: {node.host.name} knows of its removal and keeps ballot {state.promised:x}")

    def _settled(self, healed_at: int) -> Callable[[], bool]:
        served = super()._settled(healed_at)
        return lambda: all(self._whole(partition) for partition in self.partitions) and served()

    def _applies(self, partition: PartitionId, target: int) -> bool:
        """Every member has applied the log to there."""
        leader = self._leading(partition)
        if leader is None:
            return False
        for member in leader.group.members.all:
            process = self.world.hosts[self._names[member.node]].process
            replica = process.replicas.get(partition) if process is not None else None
            if replica is None or replica.group.me != member or replica.tree.lsn < target:
                return False
        return True

    def _whole(self, partition: PartitionId) -> bool:
        """Nobody learns, nobody is dead, and there are three at least."""
        leader = self._leading(partition)
        if leader is None or leader.group.members_chosen is not leader.group.members:
            return False
        members = leader.group.members
        return (
            len(members.voters) >= 3
            and members.voters == frozenset(members.all)
            and not any((partition, one) in self.dead for one in members.all)
        )
