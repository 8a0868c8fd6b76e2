"""Whether a partition could still be led if one machine lost its log: what the nemesis asks before it takes one.

A cluster survives two faults one after the other, with healing between; a copy that its leader's log no longer reaches is a fault until it is healed. While
there is such a copy, the log of another member is the only one besides the leader's that a quorum can be made of.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.server.node import RunningNode
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.world import WorldHost
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, coming, leaving
from scrubjay.storage.node import Node
from scrubjay.storage.replica import LogReplica, Replica


class CopyReach(NamedTuple):
    """One copy as its node knew it last. first: the lowest LSN its log holds. chosen: its log holds all up to here, synced. committed: its durable tree does, of a log replica what it let go of.
    accepted: the ballot its log is of. behind: it waits for a heal."""

    first: int
    chosen: int
    committed: int
    accepted: int
    behind: bool

    def follows(self, leader: CopyReach) -> bool:
        """`leader` could bring this copy to its own log, record by record, whatever lives end before that."""
        agreed = self.chosen if self.accepted == leader.accepted else self.committed
        return not self.behind and leader.first <= agreed + 1


NOTHING = CopyReach(first=1, chosen=0, committed=0, accepted=0, behind=False)
"""A copy that no life of its node has run yet."""


def _reach(replica: LogReplica) -> CopyReach | None:
    """None: its tree is being opened, and what it may say comes with that."""
    group = replica.group
    if group is None:
        return None
    committed = replica.checkpoints.committed if isinstance(replica, Replica) else group.log.first - 1
    return CopyReach(group.log.first, replica.chosen, committed, group.state.accepted, replica.behind)


class Copies:
    """Follows every life of every node, so that a node that is down now is judged by what it knew when it ended."""

    def __init__(self, cluster: WholeCluster) -> None:
        self._cluster = cluster
        self._lives: dict[NodeName, list[Node]] = {host.name: [] for host in cluster.hosts}
        cluster.on_node.append(self._lives_anew)

    def _lives_anew(self, host: WorldHost, life: RunningNode) -> None:
        self._lives[host.name].append(life.node)

    def unhealed(self, without: NodeName) -> str:
        """A copy that could not follow the other one that is left without this node; "" if there is none."""
        left = [name for name in self._lives if name != without]
        for partition in self._partitions(left):
            for name, other in permutations(left, 2):
                if not self._last_known(name, partition).follows(self._last_known(other, partition)):
                    return f"{name} {partition}"
        return ""

    def _partitions(self, nodes: list[NodeName]) -> list[PartitionId]:
        """Those of tables that are there, the metadata group's too, and what was split of them until it is archived, and what it becomes; every one that was ever there, while nobody can say."""
        seen = {partition for name in nodes for node in self._lives[name] for partition in node.members}
        if self._cluster.ready:
            tables = (self._cluster.system, *(table for table in self._cluster.metadata.tables.values() if table.status != "DROPPED"))
            seen &= {PartitionId(info.partition_id) for table in tables for info in copied(table)}
        return sorted(seen)

    def _last_known(self, name: NodeName, partition: PartitionId) -> CopyReach:
        for node in reversed(self._lives[name]):
            replica = node.members.get(partition)
            found = _reach(replica) if replica is not None else None
            if found is not None:
                return found
        return NOTHING


def copied(table: TableMeta) -> tuple[PartitionInfo, ...]:
    """The partitions of a table of which a log may still be needed: also what comes by a split, and what was split until it is archived."""
    return (*table.partitions, *coming(table), *leaving(table))
