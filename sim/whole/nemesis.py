"""What goes wrong in the profile "whole". Each seed draws some kinds; every strike is counted.

Faults stay within what the cluster claims to survive: rot, amnesia and lost disks hit one node of a run (its `victim`), never two, and no log is taken while
another copy waits for a heal (`sim.whole.copies`); clocks stay within what may be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.server.node import RunningNode
from scrubjay.server.stop import planned_stop
from scrubjay.sim.events import Life
from scrubjay.sim.rand import Stream
from scrubjay.sim.whole.clients import Clients, Said
from scrubjay.sim.whole.cluster import NAMES, Clocks, WholeCluster
from scrubjay.sim.whole.copies import Copies
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.btree.memory_engine import MemoryTrees

SECOND = 1_000_000
SKEW_US = 120_000
"""No machine's wall clock is further off than this."""
DISCIPLINE_S = 2.0
"""Between two times that a wall clock is put right: less than leases take for a jump, by the rates that are drawn."""
STOP_S = 6.0

KINDS = (
    "crash",
    "power",
    "cut",
    "isolate",
    "blackout",
    "lossy",
    "flips",
    "store",
    "store-down",
    "rot",
    "slow-disk",
    "pause",
    "jump",
    "sync-error",
    "full-disk",
    "wal-rot",
    "amnesia",
    "empty-disk",
    "stop",
    "control",
)
COUNTED = (
    "skew",
    "frames flipped",
    "frames lost",
    "frames doubled",
    "syncs failed",
    "restarts after a failure",
    "writes without room",
    "tables made",
    "tables dropped",
    "weak reads",
    "requests lost",
)
"""What must have been met too in the seeds of a CI run, though it is no strike."""


def draw_clocks(draw: Stream) -> dict[str, Clocks]:
    """Offsets and rates of the machines; true clocks in a part of the seeds."""
    if draw.chance(0.35):
        return {}
    return {name: Clocks(draw.between(-SKEW_US, SKEW_US), draw.between(-2_000, 2_000)) for name in (*NAMES, "control")}


class Nemesis:
    """count: told of every strike. archived: says which acknowledged write is not in the archive, "" if none. kinds: those of this seed.

    More than 25 methods: a fault each.
    """

    def __init__(
        self,
        world: World,
        cluster: WholeCluster,
        clients: Clients,
        clocks: dict[str, Clocks],
        count: Callable[[str], None],
        archived: Callable[[list[Said]], Awaitable[str]],
    ) -> None:
        self._archived = archived
        self._world, self._cluster, self._clients, self._count = world, cluster, clients, count
        self._draw = world.stream("nemesis")
        self.kinds = [kind for kind in KINDS if self._draw.chance(0.4)] or ["crash"]
        self.victim: NodeName | None = None
        self._copies = Copies(cluster)
        self.broken = ""
        """A promise that was found broken while striking."""
        self._offsets = {host.name: clocks[host.name].offset_us if host.name in clocks else 0 for host in (*cluster.hosts, cluster.control)}
        self._over = False
        self._mending: dict[NodeName, Life] = {}

    # ------------------------------------------------------------------ the run of it

    async def strike(self) -> None:
        kind = self._draw.choice(self.kinds)
        handler: Callable[[], None] | Callable[[], Awaitable[None]] = getattr(self, f"_{kind.replace('-', '_')}")
        waiting = handler()
        if waiting is not None:
            await waiting

    async def mend_failed(self) -> None:
        """Somebody restarts what stopped by itself: a node whose disk failed, a node that refused to start."""
        while not self._over:
            await self._cluster.env.tasks.sleep(0.25)
            for host in self._cluster.hosts:
                life: RunningNode | None = host.process
                if life is not None and life.node.failed is not None and self._mending.get(host.name) is not host.life:
                    self._mending[host.name] = host.life
                    self._count("restarts after a failure")
                    self._world.after(
                        self._draw.between(300, 2_500) * 1000, partial(self._restart, host, host.life, power=self._draw.chance(0.5))
                    )

    async def keep_clocks(self) -> None:
        """The wall clocks of machines that run for minutes stay as far apart as what they were set to, whatever their rates: without end, for a run may last long after its faults."""
        while True:
            await self._cluster.env.tasks.sleep(DISCIPLINE_S)
            for host in (*self._cluster.hosts, self._cluster.control):
                host.clock.discipline()

    def end(self) -> None:
        """Faults off: everything that was broken by the world is whole again, and every machine runs."""
        self._over = True
        world, cluster = self._world, self._cluster
        world.net.heal()
        world.net.faults.loss = world.net.faults.duplicate = world.net.faults.flip = 0.0
        cluster.archive.faults = type(cluster.archive.faults)()
        for host in (*cluster.hosts, cluster.control):
            host.disk.faults.slow = host.disk.faults.sync_error = 0.0
            host.disk.capacity = 1 << 34
            host.life.resume()
            life = host.process
            if isinstance(life, RunningNode) and life.node.failed is not None:
                host.crash(power=False)
            self._start(host)

    def counts(self) -> dict[str, int]:
        """What only the machines know."""
        net, disks = self._world.net, [host.disk for host in self._cluster.hosts]
        return {
            "frames flipped": net.flipped,
            "frames lost": net.lost,
            "frames doubled": net.doubled,
            "syncs failed": sum(disk.sync_errors for disk in disks),
            "writes torn": sum(disk.torn for disk in disks),
            "folder entries lost": sum(disk.entries_lost for disk in disks),
            "writes without room": sum(disk.refused for disk in disks),
        }

    # ------------------------------------------------------------------ machines

    def _host(self) -> WorldHost:
        return self._draw.choice(self._cluster.hosts)

    def _start(self, host: WorldHost) -> None:
        if not host.up:
            host.start()

    def _restart(self, host: WorldHost, life: Life, *, power: bool) -> None:
        if host.up and host.life is life:
            host.crash(power=power)
            self._start(host)

    def _crash(self) -> None:
        self._kill(self._host(), power=False)

    def _power(self) -> None:
        self._kill(self._host(), power=True)

    def _kill(self, host: WorldHost, *, power: bool) -> None:
        if host.up:
            self._count("power" if power else "crash")
            host.crash(power=power)
            self._world.after(self._draw.between(20, 3_000) * 1000, partial(self._start, host))

    def _blackout(self) -> None:
        """The power of the whole room: what was not synced is gone everywhere at once."""
        self._count("blackout")
        for host in (*self._cluster.hosts, self._cluster.control):
            if host.up:
                host.crash(power=True)
            self._world.after(self._draw.between(20, 1_500) * 1000, partial(self._start, host))
        self._clients.hang_up()

    def _control(self) -> None:
        """The machine of router, store and services dies and comes again; nodes go on."""
        control = self._cluster.control
        if control.up:
            self._count("control")
            control.crash(power=self._draw.chance(0.5))
            self._clients.hang_up()
            self._world.after(self._draw.between(20, 2_000) * 1000, partial(self._start, control))

    def _pause(self) -> None:
        """A process stops for a while and knows nothing of it."""
        host = self._host() if self._draw.chance(0.8) else self._cluster.control
        if host.up:
            self._count("pause")
            life = host.life
            life.pause()
            self._world.note(f"{host.name} pauses")
            self._world.after(self._draw.between(100, 3_000) * 1000, life.resume)

    def _jump(self) -> None:
        """Somebody sets a wall clock, within what may be; the boot clock knows nothing of it."""
        host = self._draw.choice([*self._cluster.hosts, self._cluster.control])
        to = self._draw.between(-SKEW_US, SKEW_US)
        self._count("jump")
        self._world.note(f"{host.name} clock jumps {to - self._offsets[host.name]}")
        host.clock.jump(to - self._offsets[host.name])
        self._offsets[host.name] = to

    # ------------------------------------------------------------------ network and store

    def _cut(self) -> None:
        self._count("cut")
        name, other = self._draw.sample(list(NAMES), 2)
        self._world.net.cut_link(name, other)
        if self._draw.chance(0.6):
            self._world.net.cut_link(other, name)
        self._world.after(self._draw.between(300, 4_000) * 1000, self._world.net.heal)

    def _isolate(self) -> None:
        self._count("isolate")
        leaders = [node.name for node in self._cluster.nodes() for replica in node.replicas.values() if replica.term is not None]
        leader = leaders[0] if leaders else self._host().name
        for peer in [name for name in NAMES if name != leader]:
            self._world.net.cut_link(leader, peer)
            self._world.net.cut_link(peer, leader)
        self._world.after(self._draw.between(1_500, 6_000) * 1000, self._world.net.heal)

    def _lossy(self) -> None:
        self._count("lossy")
        faults = self._world.net.faults
        faults.loss = 0.0 if faults.loss else 0.04
        faults.duplicate = faults.loss

    def _flips(self) -> None:
        self._count("flips")
        faults = self._world.net.faults
        faults.flip = 0.0 if faults.flip else 0.03

    def _store(self) -> None:
        self._count("store")
        faults = self._cluster.archive.faults
        on = not faults.throttled
        faults.throttled = faults.timeout_after = faults.timeout_before = 0.1 if on else 0.0

    def _store_down(self) -> None:
        self._count("store-down")
        self._cluster.archive.faults.down = True
        self._world.after(self._draw.between(500, 6_000) * 1000, self._store_up)

    def _store_up(self) -> None:
        self._cluster.archive.faults.down = False

    # ------------------------------------------------------------------ disks

    def _slow_disk(self) -> None:
        self._count("slow-disk")
        disk = self._host().disk
        disk.faults.slow = 0.0 if disk.faults.slow else 0.1

    def _sync_error(self) -> None:
        """The next sync of one node fails: the node must stop using its disk."""
        host = self._host()
        if host.up and not host.disk.faults.sync_error:
            self._count("sync-error")
            host.disk.faults.sync_error = 1.0
            self._world.after(self._draw.between(5, 300) * 1000, partial(self._sync_again, host))

    def _sync_again(self, host: WorldHost) -> None:
        host.disk.faults.sync_error = 0.0

    def _full_disk(self) -> None:
        host = self._host()
        if host.disk.capacity == 1 << 34:
            self._count("full-disk")
            disk = host.disk
            disk.capacity = disk.capacity - disk.free_bytes() + self._draw.between(0, 60_000)
            self._world.note(f"{host.name} disk full")
            self._world.after(self._draw.between(500, 6_000) * 1000, partial(self._room, host))

    def _room(self, host: WorldHost) -> None:
        host.disk.capacity = 1 << 34

    def _falls(self, name: NodeName) -> bool:
        """Whether this node may lose what was durable: it is the one of the run that does."""
        if self.victim is None:
            self.victim = name
        return self.victim == name

    def _rot(self) -> None:
        """One replica's tree rots: bits of values, rows that vanish, rows that come back, a page header; often the leader's, whose rows are read most."""
        draw, cluster = self._draw, self._cluster
        table = self._clients.table()
        if table is None:
            return
        info = draw.choice(table.partitions)
        leader = cluster.leader(PartitionId(info.partition_id))
        name = leader.node.name if leader is not None and draw.chance(0.7) else self._host().name
        trees = cluster.trees[name]
        content = trees.trees.get(PartitionId(info.partition_id))
        if content is None or not content.rows or not self._falls(name):
            return
        for key in draw.sample(list(content.rows), min(3, len(content.rows))):
            if draw.chance(0.7):
                hit = trees.flip_row(info.partition_id, key, draw.between(0, len(content.rows[key]) * 8 - 1))
            else:
                hit = trees.lose_row(info.partition_id, key)
            if hit:
                self._count("rot")
                self._world.note(f"rot {name} {info.partition_id} {key.hex()}")

    def _lose(self, kind: str, hit: Callable[[WorldHost], bool]) -> None:
        """Strike the victim's disk while its machine is off; not while another copy still needs healing, for then that would be a second fault at once."""
        log_node = self._cluster.log_node
        if log_node is not None:
            # Nothing is archived on the digest of one storage replica: whoever loses its log has to be the one that keeps nothing else.
            host = self._cluster.hosts[log_node - 1]
        else:
            host = self._host() if self.victim is None else next(one for one in self._cluster.hosts if one.name == self.victim)
        if not host.up or not host.disk.paths():
            return
        unhealed = self._copies.unhealed(without=host.name)
        if unhealed:
            self._count("losses put off")
            self._world.note(f"{kind} {host.name} is put off: {unhealed} is not healed")
            return
        if not self._falls(host.name):
            return
        host.crash(power=True)
        if hit(host):
            self._count(kind)
            self._world.note(f"{kind} {host.name}")
        self._world.after(self._draw.between(20, 1_000) * 1000, partial(self._start, host))

    def _wal_rot(self) -> None:
        """Bits of the log flip."""

        def hit(host: WorldHost) -> bool:
            path = self._draw.choice([path for path in host.disk.paths() if path.startswith("wal/")] or [""])
            flipped = [host.disk.flip_bit(path, end=host.disk.used(path)) for _ in range(self._draw.between(1, 3))]
            return flipped[0] is not None

        self._lose("wal-rot", hit)

    def _amnesia(self) -> None:
        """The end of the log that was synced is not there any more."""

        def hit(host: WorldHost) -> bool:
            paths = [path for path in host.disk.paths() if path.startswith("wal/") and host.disk.used(path)]
            return bool(paths) and host.disk.lose_end(self._draw.choice(paths))

        self._lose("amnesia", hit)

    def _empty_disk(self) -> None:
        """A new disk: nothing of the node is left."""

        def hit(host: WorldHost) -> bool:
            host.disk.wipe()
            self._cluster.trees[host.name] = MemoryTrees()
            return True

        self._lose("empty-disk", hit)

    # ------------------------------------------------------------------ a planned stop

    async def _stop(self) -> None:
        """The whole server stops as it should, and starts again. What it says is archived must be."""
        cluster = self._cluster
        if not cluster.ready or not all(host.up for host in cluster.hosts) or cluster.store.unhosted():
            return
        self._count("stop")
        said = list(self._clients.said)
        env = cluster.control.env
        agents = [agent for _, agent in sorted(cluster.agents.items())]
        deadline = env.clock.boot_us() + int(STOP_S * 1e6)
        left: int | None = None
        try:
            left = await cluster.ask(
                planned_stop(
                    env,
                    cluster.store,
                    agents,
                    quiet=cluster.durability.quiet,
                    deadline_us=deadline,
                    log=lambda line: self._world.note(line),
                ),
                seconds=STOP_S * 2,
            )
        except ScrubjayError as error:
            self._world.note(f"the stop was cut short: {error}")
        for host in (*cluster.hosts, cluster.control):
            life = host.process
            if isinstance(life, RunningNode):
                life.node.stop()
            host.crash(power=False)
            self._world.after(self._draw.between(20, 500) * 1000, partial(self._start, host))
        self._clients.hang_up()
        if left == 0:
            self._count("stops that archived everything")
            missing = await self._archived(said)
            if missing:
                self.broken = f"the stop said that everything is archived: {missing}"
