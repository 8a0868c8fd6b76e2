"""The node (`storage.node.node.Node`) as its own parts need it, beside what its replicas do."""

from __future__ import annotations

from typing import Protocol

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.node.deadlines import Deadlines
from scrubjay.storage.node.turn import Turn
from scrubjay.storage.replica import Configured, LogReplica, Replica
from scrubjay.storage.replica.host import ReplicaHost


class Home(ReplicaHost, Protocol):
    """boot_count: of this life. joining: it never was a member before. started: its boot is durable, it may speak. failed: why it does nothing any more.
    incarnation: of the member that it is. configured: a tree of it may hold who is a member. members: what runs here. replicas: of them the storage replicas."""

    number: int
    incarnation: int
    configured: bool
    boot_count: int
    joining: bool
    started: bool
    stopping: bool
    failed: ScrubjayError | None
    engine: TreeEngine
    deadlines: Deadlines
    turn: Turn
    members: dict[PartitionId, LogReplica]
    replicas: dict[PartitionId, Replica]

    @property
    def running(self) -> bool:
        """It neither failed nor stops."""
        ...

    def log_members(self, partition: PartitionId) -> Configured | None:
        """What a log replica here keeps; None: the copy of this partition is none. Raises Corrupt."""
        ...

    def forget_log_members(self, partition: PartitionId) -> None:
        """The copy here, if any, is no log replica. Durably."""
        ...

    def broken(self, error: Exception) -> None:
        """Something failed that nobody expected to: the node stops, with a finding."""
        ...
