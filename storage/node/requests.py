"""Data requests on their way to a replica of this node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scrubjay.base.errors import NotLeader, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node.home import Home
from scrubjay.storage.node.port import node_down
from scrubjay.storage.replica import Replica


class Requests:
    """done, everywhere: called once, perhaps at once. blocked: why trees cannot be opened now."""

    def __init__(self, node: Home, blocked: Mapping[PartitionId, ScrubjayError]) -> None:
        self._node, self._blocked = node, blocked

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        replica = self.replica(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.write(command, done)

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        replica = self.replica(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read(key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        replica = self.replica(partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.read_range(request, min_lsn=min_lsn, done=done)

    def replica(self, partition: PartitionId) -> Replica | ScrubjayError:
        """The replica that may be asked, or why there is none."""
        node = self._node
        if not node.running:
            return node_down(node.name)
        replica = node.replicas.get(partition)
        if replica is None or replica.group is None:
            lack = self._blocked.get(partition)
            reason = "no such replica here (yet)" if lack is None else f"its tree cannot be opened now: {lack}"
            return NotLeader(reason, partition=partition, node=node.name)
        return replica
