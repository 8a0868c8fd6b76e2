"""The network: frames are lost, delayed, doubled, reordered, cut off one way or both; never altered unless `flip` says so (the codec's CRC must catch that)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scrubjay.base.ids import NodeName
from scrubjay.sim.events import Events, Life


@dataclass(slots=True)
class NetFaults:
    """Probabilities per frame. delay_us: usual range; slow_us: range of the frames that are slow."""

    loss: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    flip: float = 0.0
    delay_us: tuple[int, int] = (100, 1_500)
    slow_us: tuple[int, int] = (5_000, 3_000_000)


class Net:
    """All links. cut: ordered pairs (from, to) that carry nothing."""

    def __init__(self, world: Events) -> None:
        self._world = world
        self._draw = world.stream("net")
        self._ports: dict[NodeName, SimNetwork] = {}
        self.faults = NetFaults()
        self.cut: dict[tuple[NodeName, NodeName], None] = {}
        self.sent = self.lost = self.doubled = self.slowed = self.flipped = 0

    def port(self, name: NodeName, life: Life) -> SimNetwork:
        """A fresh port of `name` for one life of its process; the one before goes silent."""
        port = SimNetwork(self, name, life)
        self._ports[name] = port
        return port

    def cut_link(self, sender: NodeName, receiver: NodeName) -> None:
        self.cut[sender, receiver] = None
        self._world.note(f"cut {sender}->{receiver}")

    def heal(self) -> None:
        """All links whole again; probabilities of faults stay."""
        self.cut.clear()
        self._world.note("links heal")

    def carry(self, sender: NodeName, receiver: NodeName, frame: bytes) -> None:
        self.sent += 1
        draw, faults = self._draw, self.faults
        if (sender, receiver) in self.cut or draw.random() < faults.loss:
            self.lost += 1
            return
        copies = 1
        if faults.duplicate and draw.random() < faults.duplicate:
            copies = 2
            self.doubled += 1
        for _ in range(copies):
            low, high = faults.delay_us
            if faults.slow and draw.random() < faults.slow:
                low, high = faults.slow_us
                self.slowed += 1
            data = frame
            if faults.flip and draw.random() < faults.flip:
                self.flipped += 1
                at = draw.between(0, len(frame) - 1)
                data = frame[:at] + bytes([frame[at] ^ 1 << draw.between(0, 7)]) + frame[at + 1 :]
            self._world.after(draw.between(low, high), partial(self._deliver, sender, receiver, data))

    def _deliver(self, sender: NodeName, receiver: NodeName, frame: bytes) -> None:
        port = self._ports.get(receiver)
        if port is not None and port.receive is not None:
            self._world.note(f"{sender}->{receiver} {len(frame)} {zlib.crc32(frame):08x}")
            receive = port.receive
            port.life.run(lambda: receive(sender, frame))


class SimNetwork:
    """scrubjay.base.env.Network: one host's port in one life."""

    def __init__(self, net: Net, name: NodeName, life: Life) -> None:
        self._net = net
        self.name = name
        self.life = life
        self.receive: Callable[[NodeName, bytes], None] | None = None

    def send(self, to: NodeName, frame: bytes) -> None:
        if self.life.alive:
            self._net.carry(self.name, to, frame)

    def listen(self, receive: Callable[[NodeName, bytes], None]) -> None:
        self.receive = receive
