"""A node as one life of the control part sees it: the node's present life, or a dead one.

Nothing crosses from a life that ended: a dead control part asks nothing and hears nothing, a paused node is asked when it wakes. Every message
goes through its codec: what the simulator proves holds for nodes in processes of their own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from scrubjay.base.errors import NotLeader, ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.server.node import RunningNode
from scrubjay.sim.world import Host
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.node import Node
from scrubjay.storage.node.port_remote import RemoteNode
from scrubjay.storage.node.port_server import NodeServer
from scrubjay.storage.replica import Replica

_DOWN = NotLeader("node is down")


class Door(RemoteNode):
    """host: the node's machine. asker: the control part's, whose present life looks through this door."""

    def __init__(self, host: Host, number: int, asker: Host) -> None:
        super().__init__(host.name, number, tasks=asker.env.tasks, send=self._sent, look=self._looked)
        self._host, self._life = host, asker.life

    @property
    def node(self) -> Node | None:
        life: RunningNode | None = self._host.process
        return life.node if life is not None and life.node.started else None

    @property
    def failed(self) -> ScrubjayError | None:
        node = self.node
        return _DOWN if node is None else node.failed

    @property
    def replicas(self) -> dict[PartitionId, Replica]:
        node = self.node
        return {} if node is None else node.replicas

    @property
    def engine(self) -> TreeEngine:
        life: RunningNode | None = self._host.process
        if life is None:
            raise _DOWN
        return life.engine

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a node: of the present life, or nobody."""
        node = self.node
        if node is None:
            raise _DOWN
        return getattr(node, name)

    def known(self, partition: PartitionId) -> bool:
        node = self.node
        return node is not None and node.known(partition)

    def lack(self, partition: PartitionId) -> ScrubjayError | None:
        node = self.node
        return None if node is None else node.lack(partition)

    def host(self, *arguments: Any, **options: Any) -> Replica | None:
        node = self.node
        return None if node is None else node.host(*arguments, **options)

    def forget(self, partition: PartitionId) -> None:
        node = self.node
        if node is not None:
            node.forget(partition)

    def start_loaded(self, *arguments: Any) -> None:
        node = self.node
        if node is not None:
            node.start_loaded(*arguments)

    def _sent(self, data: bytes) -> bool:
        if not self._life.alive:
            return True
        node = self.node
        if node is None:
            return False
        self._host.life.run(lambda: NodeServer(node).frame(data, node.env.clock, self._replied))
        return True

    def _replied(self, data: bytes) -> None:
        self._life.run(partial(self.heard, data))

    def _looked(self, data: bytes) -> bytes | None:
        """What a node tells is known here at once, of a paused one too."""
        node = self.node
        if node is None:
            return None
        said: list[bytes] = []
        NodeServer(node).frame(data, node.env.clock, said.append)
        return said[0]
