"""A node in this process behind its port, and one that could not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.base.env import Tasks, Timer
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node.node import Node
from scrubjay.storage.node.port import ASK_WAIT_S, Done, NodeStatus, ReplicaFacts, Request, StalledOf, failure_of, node_down, too_late
from scrubjay.storage.node.port_server import NodeServer


class Once:
    """One request and the time it may take: `done` hears of its answer or of the delay, whichever is first. request: its kind."""

    __slots__ = ("_done", "_timer", "request")

    def __init__(self, tasks: Tasks, name: NodeName, request: str, done: Done[Any], timeout_s: float) -> None:
        self.request = request
        self._done: Done[Any] | None = done
        self._timer: Timer = tasks.call_later(timeout_s, lambda: self(too_late(name, request, timeout_s)))

    @property
    def over(self) -> bool:
        return self._done is None

    def __call__(self, answer: Any) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._timer.cancel()
            done(answer)


class LocalNode:
    """Values are handed over as they are: nothing is encoded or copied, and a data request is the node's own method. server: the same node, for who asks in frames."""

    def __init__(self, node: Node) -> None:
        self._tasks, self.server = node.env.tasks, NodeServer(node)
        self.write, self.read, self.read_range = node.requests.write, node.requests.read, node.requests.read_range
        self.name, self.number = node.name, node.number

    def status(self) -> NodeStatus:
        return self.server.status()

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        return self.server.facts(partition)

    def all_facts(self) -> tuple[ReplicaFacts, ...]:
        return self.server.all_facts()

    def stalled(self) -> Sequence[StalledOf]:
        return self.server.stalled()

    def applied(self, partition: PartitionId) -> Lsn:
        return self.server.applied(partition)

    def check_invariants(self) -> None:
        """See NodeServer."""
        self.server.check_invariants()

    def ask(self, request: Request, done: Done[Any], *, timeout_s: float = ASK_WAIT_S) -> None:
        self.server.ask(request, Once(self._tasks, self.name, type(request).__name__, done, timeout_s))


class AbsentNode:
    """A node that could not start, or that must stay out: it stands in the cluster's list of nodes so that it is seen, and so that everybody else goes on
    without it. failed: why."""

    def __init__(self, *, name: NodeName, number: int, failed: ScrubjayError) -> None:
        self.name, self.number, self.failed = name, number, failed

    def write(self, partition: PartitionId, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        del partition, command
        done(node_down(self.name))

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Done[ReadAnswer]) -> None:
        del partition, key, consistent, min_lsn
        done(node_down(self.name))

    def read_range(self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Done[RangeAnswer]) -> None:
        del partition, request, min_lsn
        done(node_down(self.name))

    def status(self) -> NodeStatus:
        return NodeStatus(self.name, self.number, started=False, failed=failure_of(self.failed), can=NEWEST)

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        del partition
        return None

    def all_facts(self) -> tuple[ReplicaFacts, ...]:
        return ()

    def stalled(self) -> Sequence[StalledOf]:
        return ()

    def applied(self, partition: PartitionId) -> Lsn:
        del partition
        return Lsn(0)

    def ask(self, request: Request, done: Done[Any], *, timeout_s: float = ASK_WAIT_S) -> None:
        del request, timeout_s
        done(node_down(self.name))
