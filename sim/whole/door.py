"""A node as one life of the control part sees it: the node's present life, or a dead one.

Nothing crosses from a life that ended: a dead control part asks nothing and hears nothing, a paused node is asked when it wakes. Every message
goes through its codec: what the simulator proves holds for nodes in processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from scrubjay.server.node import RunningNode
from scrubjay.sim.rand import Stream
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.node import Node
from scrubjay.storage.node.port import Answer, Request
from scrubjay.storage.node.port_codec import encode_request
from scrubjay.storage.node.port_remote import RemoteNode, told


class Wire:
    """What lies between the control part and the nodes: nothing. See `Rough`. stale_us: so old may be what a node told last."""

    stale_us = 0

    def passage_us(self, data: bytes, *, back: bool) -> int | None:
        """How long a frame is under way; None: it is lost. back: it is an answer."""
        del data, back
        return 0


class Rough(Wire):
    """Frames take their time, up to slow_us, and each is lost with the chance `lost`, on either way. What nodes tell of themselves is old news. count: how many frames were lost."""

    def __init__(self, draw: Stream, *, slow_us: int = 3_000, lost: float = 0.002) -> None:
        self._draw, self._slow_us, self.lost = draw, slow_us, lost
        self.stale_us = 50_000
        self.count = 0

    def mend(self) -> None:
        """From now on nothing is lost, and news is fresh."""
        self.lost, self.stale_us = 0.0, 0

    def passage_us(self, data: bytes, *, back: bool) -> int | None:
        del data, back
        if self._draw.chance(self.lost):
            self.count += 1
            return None
        return self._draw.between(0, self._slow_us)


class Door(RemoteNode):
    """host: the node's machine. asker: the control part's, whose present life looks through this door. wire: what lies between them."""

    def __init__(self, world: World, host: WorldHost, number: int, asker: WorldHost, wire: Wire) -> None:
        super().__init__(host.name, number, tasks=asker.env.tasks, send=self._sent, look=self._looked)
        self._world, self._host, self._life, self._wire = world, host, asker.life, wire
        self._free = [0, 0]
        self._told: dict[Request, tuple[int, Node | None, Answer | None]] = {}
        """By what was looked for: when a node told it, which life of it, and what."""

    @property
    def running(self) -> RunningNode | None:
        """The node's present life, once it may speak."""
        life: RunningNode | None = self._host.process
        return life if life is not None and life.node.started else None

    def _sent(self, data: bytes) -> bool:
        if not self._life.alive:
            return True
        running = self.running
        if running is None:
            return False
        life, server, clock = self._host.life, running.port.server, running.node.env.clock
        self._carry(0, data, lambda: life.run(lambda: server.frame(data, clock, self._replied)))
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

    def _looked(self, request: Request) -> Answer | None:
        """What a node tells is known here at once, or a while later; of a paused one too."""
        running, now = self.running, self._world.now
        if running is None:
            return None
        at, of, known = self._told.get(request, (0, None, None))
        if of is running.node and now - at < self._wire.stale_us:
            return known
        said: list[bytes] = []
        running.port.server.frame(encode_request(0, 0, request), running.node.env.clock, said.append)
        known = told(said[0])
        self._told[request] = now, running.node, known
        return known
