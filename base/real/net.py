"""`base.env.Network` inside one process (`--dev`), delivered by the loop as bytes between nodes, with bounded queues.

Frames are never delivered inside `send`: a state machine that sends must not be entered again before it has returned. What a peer has not
taken yet is bounded in frames and bytes; beyond that frames are dropped and counted, as a real network would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from scrubjay.base.env import Tasks
from scrubjay.base.ids import NodeName

QUEUE_FRAMES_MAX = 65_536
QUEUE_BYTES_MAX = 64 << 20


class LocalNetwork:
    """One node's end of a `LocalHub`. dropped: frames lost because a bound was reached or nobody listened."""

    def __init__(self, hub: LocalHub, node: NodeName) -> None:
        self.node = node
        self.dropped = 0
        self._hub = hub
        self._receive: Callable[[NodeName, bytes], None] | None = None
        self._inbox: deque[tuple[NodeName, bytes]] = deque()
        self._inbox_bytes = 0
        self._draining = False

    def send(self, to: NodeName, frame: bytes) -> None:
        """Queue `frame` for the peer's next turn. Never blocks, never raises."""
        peer = self._hub.peers.get(to)
        if peer is None or not peer.offer(self.node, frame):
            self.dropped += 1

    def listen(self, receive: Callable[[NodeName, bytes], None]) -> None:
        """Register the one receiver: receive(sender, frame)."""
        self._receive = receive

    def offer(self, sender: NodeName, frame: bytes) -> bool:
        """Take a frame into the inbox. False if a bound is reached."""
        if len(self._inbox) >= QUEUE_FRAMES_MAX or self._inbox_bytes + len(frame) > QUEUE_BYTES_MAX:
            return False
        self._inbox.append((sender, bytes(frame)))
        self._inbox_bytes += len(frame)
        if not self._draining:
            self._draining = True
            self._hub.tasks.call_soon(self._drain)
        return True

    def _drain(self) -> None:
        """Deliver what has arrived by now; what arrives meanwhile waits for the next turn, so no pair of nodes can hold the loop."""
        try:
            for _ in range(len(self._inbox)):
                sender, frame = self._inbox.popleft()
                self._inbox_bytes -= len(frame)
                if self._receive is None:
                    self.dropped += 1
                else:
                    self._receive(sender, frame)
        finally:
            # Also after a receiver raised: the frames behind the one it choked on still get their turn.
            self._draining = bool(self._inbox)
            if self._draining:
                self._hub.tasks.call_soon(self._drain)

    def close(self) -> None:
        """Leave the hub: frames to this node are dropped from now on."""
        self._hub.peers.pop(self.node, None)
        self._receive = None
        self._inbox.clear()
        self._inbox_bytes = 0


class LocalHub:
    """The nodes of one process. `attach` each once."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.peers: dict[NodeName, LocalNetwork] = {}

    def attach(self, node: NodeName) -> LocalNetwork:
        """A node's network. The name must be free."""
        assert node not in self.peers
        self.peers[node] = LocalNetwork(self, node)
        return self.peers[node]
