"""A node as one life of the control part sees it: the node's present life, or a dead one.

Nothing crosses from a life that ended: a dead control part asks nothing and hears nothing, a paused node is asked when it wakes. Every message
goes through its codec: what the simulator proves holds for nodes in processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from scrubjay.base.errors import NotLeader, ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.server.node import RunningNode
from scrubjay.sim.rand import Stream
from scrubjay.sim.world import Host, World
from scrubjay.storage.btree.engine import TreeEngine
from scrubjay.storage.node import Node
from scrubjay.storage.node.port_remote import RemoteNode
from scrubjay.storage.node.port_server import NodeServer
from scrubjay.storage.replica import Replica

_DOWN = NotLeader("node is down")


class Wire:
    """What lies between the control part and the nodes: nothing. See `Rough`."""

    def passage_us(self, data: bytes, *, back: bool) -> int | None:
        """How long a frame is under way; None: it is lost. back: it is an answer."""
        del data, back
        return 0


class Rough(Wire):
    """Frames take their time, up to slow_us, and each is lost with the chance `lost`, on either way. count: how many were."""

    def __init__(self, draw: Stream, *, slow_us: int = 3_000, lost: float = 0.002) -> None:
        self._draw, self._slow_us, self.lost = draw, slow_us, lost
        self.count = 0

    def passage_us(self, data: bytes, *, back: bool) -> int | None:
        del data, back
        if self._draw.chance(self.lost):
            self.count += 1
            return None
        return self._draw.between(0, self._slow_us)


class Door(RemoteNode):
    """host: the node's machine. asker: the control part's, whose present life looks through this door. wire: what lies between them."""

    def __init__(self, world: World, host: Host, number: int, asker: Host, wire: Wire) -> None:
        super().__init__(host.name, number, tasks=asker.env.tasks, send=self._sent, look=self._looked)
        self._world, self._host, self._life, self._wire = world, host, asker.life, wire
        self._free = [0, 0]

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

    def _sent(self, data: bytes) -> bool:
        if not self._life.alive:
            return True
        node = self.node
        if node is None:
            return False
        life = self._host.life
        self._carry(0, data, lambda: life.run(lambda: NodeServer(node).frame(data, node.env.clock, self._replied)))
        return True

    def _replied(self, data: bytes) -> None:
        self._carry(1, data, lambda: self._life.run(partial(self.heard, data)))

    def _carry(self, lane: int, data: bytes, deliver: Callable[[], None]) -> None:
        """lane: 0 to the node, 1 back. Frames of one lane keep their order, as on a connection."""
        passage_us = self._wire.passage_us(data, back=lane == 1)
        if passage_us is None:
            return
        at = max(self._world.now + passage_us, self._free[lane])
        if at == self._world.now:
            deliver()
        else:
            self._free[lane] = at
            self._world.after(at - self._world.now, deliver)

    def _looked(self, data: bytes) -> bytes | None:
        """What a node tells is known here at once, of a paused one too."""
        node = self.node
        if node is None:
            return None
        said: list[bytes] = []
        NodeServer(node).frame(data, node.env.clock, said.append)
        return said[0]
