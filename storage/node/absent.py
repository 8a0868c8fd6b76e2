"""A node that could not start, or that must stay out: it answers as a failed one does, and holds nothing."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Env
from scrubjay.base.errors import NotLeader, ScrubjayError
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.btree.engine import Tree
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node.node import Node
from scrubjay.storage.replica import Replica


class AbsentNode(Node):
    """failed: why. It stands in the cluster's list of nodes so that it is seen, and so that everybody else goes on without it."""

    def __init__(self, *, name: NodeName, number: int, env: Env, failed: ScrubjayError) -> None:
        # Not Node's own: there is no log, no tree and no network to run on.
        self.name, self.number, self.env = name, number, env
        self.failed = failed
        self.replicas = {}
        self.started = False
        self.stopping = False
        self.joining = False
        self.boot_count = 0

    @property
    def full(self) -> bool:
        return False

    def start(self, done: Callable[[ScrubjayError | None], None]) -> None:
        done(self.failed)

    def stop(self) -> None:
        self.stopping = True

    def hand_over(self, done: Callable[[], None], *, leaving: frozenset[int] = frozenset()) -> None:
        done()

    def known(self, partition: PartitionId) -> bool:
        return False

    def host(self, table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> Replica | None:
        return None

    def start_loaded(self, replica: Replica, tree: Tree) -> None:
        tree.close()

    def forget(self, partition: PartitionId) -> None:
        """Nothing is here."""

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        done(self._down())

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        done(self._down())

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        done(self._down())

    def _down(self) -> NotLeader:
        return NotLeader("node is down", node=self.name)
