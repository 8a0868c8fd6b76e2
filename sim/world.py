"""A world: the events, the network, and the hosts that live in it.

A host is a machine: a clock, a disk that survives, a port to the network. Its process is a life (`sim/events.py`): `crash` ends the life, `start` builds
the process anew on the same disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrubjay.base.env import Env
from scrubjay.base.ids import NodeName
from scrubjay.sim.clock import SimClock
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.events import Events, Life
from scrubjay.sim.net import Net, SimNetwork
from scrubjay.sim.rand import SimRand
from scrubjay.sim.tasks import SimTasks


class World(Events):
    """Events with a network and hosts."""

    def __init__(self, seed: int, *, show: Callable[[str], object] | None = None) -> None:
        super().__init__(seed, show=show)
        self.net = Net(self)
        self.hosts: dict[NodeName, WorldHost] = {}

    def add_host(
        self, name: NodeName, *, build: Callable[[WorldHost], Any], clock: SimClock | None = None, disk_bytes: int = 1 << 34
    ) -> WorldHost:
        """A machine with an empty disk; `build(host)` makes its process at each start."""
        host = WorldHost(self, name, build, clock or SimClock(self), disk_bytes)
        self.hosts[name] = host
        return host


class WorldHost:
    """A machine of the world. process: what `build` returned, None while it is down."""

    def __init__(self, world: World, name: NodeName, build: Callable[[WorldHost], Any], clock: SimClock, disk_bytes: int) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        self.starts = 0
        self.disk = SimDisk(world, f"{name}/disk", capacity=disk_bytes)
        self._build = build
        self.process: Any = None
        self.life = Life(world)
        self.life.end()
        self.env = self._env()
        self.network: SimNetwork = world.net.port(name, self.life)

    def _env(self) -> Env:
        tasks = SimTasks(self.world, self.life, self.clock, name=self.name)
        return Env(self.clock, SimRand(self.world.stream(f"{self.name}/rand/{self.starts}")), tasks)

    @property
    def up(self) -> bool:
        return self.life.alive

    def start(self) -> None:
        """Start the process on what the disk holds."""
        assert not self.life.alive
        self.starts += 1
        self.life = Life(self.world)
        self.env = self._env()
        self.disk.attach(self.life)
        self.network = self.world.net.port(self.name, self.life)
        self.world.note(f"{self.name} starts")
        self.process = self._build(self)

    def crash(self, *, power: bool) -> None:
        """End the process. power: the machine too: unsynced bytes are lost in part, and the boot clock begins anew."""
        if not self.life.alive:
            return
        self.world.note(f"{self.name} crashes power={power}")
        self.life.end()
        self.process = None
        if power:
            self.disk.power_loss()
            self.clock.reboot()
