"""Builds the cluster: three node hosts, a control host (router, store, durability services), one object store, and a machine that only looks on.

Every part is started by `server/`, as in production. All of them may die: nodes and the control part each have lives of their own. The data folder that jobs and
tree engines share lies on a disk of its own that keeps everything; findings lie on the control host's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.claim_followed import FollowedClaim
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Future, ObjectStore
from scrubjay.base.errors import Internal, ScrubjayError, Unavailable
from scrubjay.base.ids import ClusterId, Member, NodeName, PartitionId, TableId
from scrubjay.base.sealed import Keyring, true_name
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.pitr.options import RestoreOptions
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.server.admission import why_out
from scrubjay.server.archive import Wrapped, claim_archive, claim_at_work, start_agents, wrapped
from scrubjay.server.balancing import BalanceOptions, Balancing
from scrubjay.server.control import Control, open_control
from scrubjay.server.durability import Durability, DurabilityOptions, open_durability
from scrubjay.server.finding_sink import FindingSink
from scrubjay.server.health import Health, HealthOptions, Heard
from scrubjay.server.node import (
    ClockFault,
    Founding,
    NodeListeners,
    RunningNode,
    WalSizes,
    absent_node,
    join,
    open_node,
    start_node,
)
from scrubjay.server.raising import Raising
from scrubjay.server.relocating import Relocating
from scrubjay.server.replacing import Replacing
from scrubjay.sim.clock import WALL_START_US, SimClock
from scrubjay.sim.disk import SimDisk
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.store import SimStore
from scrubjay.sim.whole.door import Door, Wire
from scrubjay.sim.whole.folders import Folders
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.archive_port import LogSource
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.btree.memory_engine import MemoryEngine, MemoryTrees
from scrubjay.storage.btree.memory_treefile import MAKER
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, WriterNotes, index_remains, index_tables
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.control.metadata import Metadata, metadata_table
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.service import Service
from scrubjay.storage.control.store import Store
from scrubjay.storage.node import Node
from scrubjay.storage.node.archive_source import NodeLogSource
from scrubjay.storage.node.identity import Members, identity_in
from scrubjay.storage.node.port_local import AbsentNode
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica
from scrubjay.storage.service_port import Finding

NAMES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
MEMBERS = tuple(Member(number, 1) for number in range(1, len(NAMES) + 1))
CLUSTER = ClusterId("00000000-0000-4000-8000-00000000c1c1")
_OPERATOR_S = 1.0
_POLL_S = 0.05
_NOTES_S = 5.0
"""How long a node waits for the notes about who writes."""
LOGS_KEPT_US = 10_000_000
"""A log that nobody needs goes sooner than in production: a run lasts for a minute."""
_CLAIM_S = 5.0
"""How long a start of the control part waits for the archive, before it comes up without it."""
_CLOCK_TRY_US = 500_000
LAG_ALARM_US = 60_000_000


@dataclass(slots=True)
class ControlLife:
    """One life of the control part. up: the catalogue is loaded. durability, health: None until its services run."""

    parts: Control
    archive: Wrapped
    writer: Writer
    up: bool = False
    durability: Durability | None = None
    health: Health | None = None
    replacing: Replacing | None = None
    relocating: Relocating | None = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """How far a machine's wall clock is off at the start, and how fast its clocks run."""

    offset_us: int = 0
    rate_ppm: int = 0


def _with_logs(made: Callable[[int], tuple[PartitionInfo, ...]], logs: tuple[int, ...], count: int) -> tuple[PartitionInfo, ...]:
    return tuple(msgspec.structs.replace(info, logs=logs) for info in made(count))


class NotesOverThere:
    """The claim's notes as a node's process has them (`claim_followed`), which in production reads the catalogue by itself: those of a control part, while none is up those that were seen last."""

    def __init__(self, cluster: WholeCluster, env: Env) -> None:
        self._cluster, self._env = cluster, env
        self._seen = WriterNotes()
        self._asked: WorldHost | None = None
        """Who told the newest."""

    @property
    def writer(self) -> WriterNotes:
        self._seen = max([*(host.process.parts.metadata.writer for host in self._up()), self._seen], key=lambda notes: notes.epoch)
        return self._seen

    async def put_writer(self, notes: WriterNotes) -> None:
        await self._ask(lambda metadata: metadata.put_writer(notes))

    async def newest(self) -> None:
        await self._ask(lambda metadata: metadata.newest())

    async def _ask(self, work: Callable[[Metadata], Coroutine[Any, Any, None]]) -> None:
        """Raises Unavailable: no control part is up, or it does not answer."""
        for host in self._up():
            try:
                await self._cluster.ask(work(host.process.parts.metadata), seconds=_NOTES_S, env=self._env, of=host)
                self._asked = host
                return
            except Unavailable:
                continue  # it died meanwhile, or stands still
        raise Unavailable("the catalogue cannot be read")

    def _up(self) -> list[WorldHost]:
        hosts = (self._cluster.control, *self._cluster.others)
        return sorted((host for host in hosts if host.process is not None and host.process.up), key=lambda host: host is not self._asked)


class WholeCluster:
    """clocks: of the machines by name; true ones where none is given. checkpoint_s: how long an operation of a tree's worker takes at least.

    agent: with it every node has an archiving agent, and the control part claims the archive (whose identity must be there) and runs its durability services.
    Without: storage alone. on_node: called with each new life of a node once it may speak. log_node: number of the node whose member of every new partition
    keeps the log alone (nobody in production places log replicas yet); None: there is none. ring: the keys that the archive is encrypted with, None: it is not.
    replaces: whoever runs the cluster replaces a node whose folder is empty, as soon as that may be. spares: nodes that run and have not joined. stand_in_us: as `Relocating` has it. balance_after_us: for so long a node is there before something goes to it to even out what nodes hold, 0: nothing does. second: there is another control part, with durability services, a folder and a ledger of its own, over the same metadata group and archive (`others`).

    More than 15 fields, more than 25 methods: a whole cluster with its machines, wired once.
    """

    def __init__(
        self,
        world: World,
        *,
        storage: StorageOptions | None = None,
        consensus: ConsensusOptions | None = None,
        agent: AgentOptions | None = None,
        clocks: Mapping[str, Clocks] | None = None,
        initial_partitions: int = 1,
        split_size: int = 0,
        wal_file_bytes: int = 1 << 18,
        wal_limit_bytes: int = 64 << 20,
        checkpoint_s: float = 0.002,
        archive_wait_s: float = 60.0,
        wire: Wire | None = None,
        log_node: int | None = None,
        ring: Keyring | None = None,
        second: bool = False,
        replaces: bool = False,
        spares: int = 0,
        stand_in_us: int = 0,
        balance_after_us: int = 0,
    ) -> None:
        self.world = world
        self.names = (*NAMES, *(NodeName(f"n{number}") for number in range(len(NAMES) + 1, len(NAMES) + spares + 1)))
        """Of the nodes, by number; the founding ones first."""
        self._ring, self._seals = ring, world.stream("seals")
        self.log_node = log_node
        self.wire = wire or Wire()
        """Between the control part and the nodes."""
        self.storage = storage or StorageOptions()
        self.consensus = consensus or ConsensusOptions()
        self._agent = agent
        self._wal = WalSizes(wal_file_bytes, wal_limit_bytes, wal_file_bytes)
        self._split_size = split_size
        self._initial_partitions, self._checkpoint_s, self._archive_wait_s = initial_partitions, checkpoint_s, archive_wait_s
        self.trees: dict[NodeName, MemoryTrees] = {name: MemoryTrees() for name in self.names}
        self.archive = SimStore(world)
        self.findings: list[Finding] = []
        self.lines: list[str] = []
        """What a server would have written to its log."""
        self._sink = FindingSink(keeper=lambda: None if self.control.process is None else self.service.note, heard=self._heard_finding)
        self.states: list[tuple[int, str, str, str, str]] = []
        self._heard = Heard()
        self._replaces, self._stand_in_us, self._balance_after_us = replaces, stand_in_us, balance_after_us
        self.agents: dict[NodeName, ArchiveAgent] = {}
        self._running_agents: list[ArchiveAgent] = []
        self.on_node: list[Callable[[WorldHost, RunningNode], None]] = []
        self.releases: dict[NodeName, int] = {}
        """What each node can in its next life, of the cluster's versions; this release's newest where none is given."""
        self.absent: dict[NodeName, AbsentNode] = {}
        """Nodes that stay out, by name."""
        self.broken: list[ScrubjayError] = []
        """Why nodes stopped because a rule of their own did not hold. keep_broken: such a node is left to its peers; else its run ends there."""
        self.keep_broken = False
        self.observer = world.add_host(NodeName("observer"), build=lambda host: host)
        self.folder = world.add_host(NodeName("folder"), build=lambda host: host)
        self.observer.start()
        self.folder.start()
        self.members = Members(self.folder.disk, CLUSTER)
        self.env: Env = self.observer.env
        """Of the machine that looks on: its clock is true and it never dies."""
        self.look = RetryingStore(self.client(self.env), self.env)
        """The archive as that machine sees it."""
        clocks = clocks or {}
        made = {name: SimClock(world, rate_ppm=one.rate_ppm, offset_us=one.offset_us) for name, one in clocks.items()}
        self.hosts = [world.add_host(name, build=self._build, clock=made.get(name)) for name in self.names]
        self.control = world.add_host(NodeName("control"), build=self._build_control, clock=made.get("control"))
        self.others = [world.add_host(NodeName("other"), build=self._build_control)] if second else []
        self._alone = not second
        self.folders = Folders(CLUSTER, self.hosts, self.absent)
        self.system = metadata_table(
            TableId("00000000-0000-4000-8000-000000000001"),
            PartitionId("00000000-0000-4000-8000-000000000002"),
            members=MEMBERS,
            created_at=1,
        )
        self._ledgers: dict[NodeName, SqliteLedger] = {}
        self._sources: dict[NodeName, LogSource] = {}

    # ------------------------------------------------------------------ the present control part

    @property
    def parts(self) -> Control:
        """Raises Unavailable while the control host is down."""
        life: ControlLife | None = self.control.process
        if life is None:
            raise Unavailable("the control part is down")
        return life.parts

    @property
    def router(self) -> Router:
        return self.parts.router

    @property
    def metadata(self) -> Metadata:
        return self.parts.metadata

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def service(self) -> Service:
        return self.parts.service

    @property
    def writer(self) -> Writer:
        """In whose name the control part writes. Raises Unavailable while its host is down."""
        life: ControlLife | None = self.control.process
        if life is None:
            raise Unavailable("the control part is down")
        return life.writer

    @property
    def durability(self) -> Durability:
        """Raises Unavailable until the control part is up."""
        life: ControlLife | None = self.control.process
        if life is None or life.durability is None:
            raise Unavailable("the durability services are not up")
        return life.durability

    @property
    def health(self) -> Health:
        """Raises Unavailable until the control part is up."""
        life: ControlLife | None = self.control.process
        if life is None or life.health is None:
            raise Unavailable("the services are not up")
        return life.health

    @property
    def ready(self) -> bool:
        life: ControlLife | None = self.control.process
        return life is not None and life.up and (self._agent is None or life.durability is not None)

    async def ask(self, work: Coroutine[Any, Any, Any], *, seconds: float, env: Env | None = None, of: WorldHost | None = None) -> Any:
        """Run a coroutine in the control part's life. env: of who asks, None: the machine that looks on. of: another control host. Raises what it raises; Unavailable with `unknown` if that life ends first or the time is up."""
        tasks = (env or self.env).tasks
        outcome: Future[Any] = tasks.future()
        host = of or self.control
        life = host.life

        def settle(task: Any) -> None:
            if outcome.done():
                return
            try:
                outcome.set_result(task.result())
            except ScrubjayError as error:
                outcome.set_exception(error)

        def watch() -> None:
            if outcome.done():
                return
            if not life.alive or self.world.now >= give_up:
                outcome.set_exception(Unavailable("the control part did not answer", unknown=True))
            else:
                tasks.call_later(_POLL_S, watch)

        give_up = self.world.now + int(seconds * 1e6)
        host.env.tasks.spawn(work, name="asked").add_done_callback(settle)  # type: ignore[attr-defined]
        watch()
        return await outcome

    # ------------------------------------------------------------------ lives

    def start(self) -> None:
        """Start every machine; `await up()` before using the store."""
        for host in (*self.hosts, self.control, *self.others):
            host.start()

    async def up(self) -> None:
        """Wait until the control part has loaded the catalogue and its services run."""
        while not self.ready:
            await self.env.tasks.sleep(_POLL_S)

    def _build(self, host: WorldHost) -> RunningNode | None:
        told = NodeListeners(finding=self._sink, state=self._state)
        try:
            life = self._open(host, told)
        except ScrubjayError as error:
            number = self.names.index(host.name) + 1
            self.absent[host.name] = absent_node(name=host.name, number=number, told=told, failed=error)
            if isinstance(error, ClockFault):
                self.world.after(_CLOCK_TRY_US, partial(self._again, host))
            return None
        self.absent.pop(host.name, None)
        life.port.server.can = self.releases.get(host.name, NEWEST)
        start_node(life.node, self.members, lambda error: self._booted(host, life) if error is None else None)
        return life

    def _open(self, host: WorldHost, told: NodeListeners) -> RunningNode:
        engine = partial(
            MemoryEngine, self.trees[host.name], host.env.tasks, host.disk, seconds_base=self._checkpoint_s, tree_files=self.folder.disk
        )
        return open_node(
            name=host.name,
            names=dict(enumerate(self.names, 1)),
            env=host.env,
            disk=host.disk,
            network=host.network,
            engine=engine,
            wal=self._wal,
            options=self.storage,
            consensus=self.consensus,
            founding=Founding(CLUSTER, self.members, host.env.rand.uuid),
            told=told,
        )

    def _again(self, host: WorldHost) -> None:
        if host.up and host.process is None:
            host.crash(power=False)
            host.start()

    def _booted(self, host: WorldHost, life: RunningNode) -> None:
        up = self.control.process is not None
        if up and (why := self._why_out(host)) is not None:
            life.node.fail(why)
            return
        if up and self.control.process.up:
            host_known(life.node, self.metadata.system, self.metadata.tables)
        else:
            _host_system(life.node, self.system)
        join(host.env, self.members, life.node)
        self._sources[host.name] = life.source
        if self._agent is not None:
            store = wrapped(self.client(host.env), host.env).store
            jobs = SimJobs(host.env.tasks, self.folder.disk, lambda _url: store)
            writer = Writer(CLUSTER)
            FollowedClaim(
                host.env,
                store,
                writer,
                NotesOverThere(self, host.env),
                lambda: [life.source],
                log=lambda _level, line: self._told_by(host, line),
            ).start()
            (self.agents[host.name],) = start_agents(
                host.env,
                store,
                {host.name: life.source},
                writer,
                options=self._agent,
                jobs=jobs,
                log=lambda _level, line: self._told(line),
            )
            self._running_agents[:] = [agent for _, agent in sorted(self.agents.items())]
            if up and (services := self.control.process.durability) is not None:
                services.archive.hear(self.agents[host.name])
        for listener in self.on_node:
            listener(host, life)

    def _why_out(self, host: WorldHost) -> ScrubjayError | None:
        """What a node's process finds out when it has read the catalogue (`serving.node_role`)."""
        identity = identity_in(host.disk)
        assert identity is not None
        return why_out(self.metadata.standing(host.name, identity.number), identity)

    def seen_as(self, key: str) -> str:
        """The name by which readers know an object of the archive. key: as it lies there."""
        return key if self._ring is None else true_name(self._ring, key)

    def client(self, env: Env) -> ObjectStore:
        """The archive as one process sees it."""
        return EncryptedStore(self.archive.client(env.tasks), self._ring, random=self._seals.randbytes)

    def _even_out(self, life: ControlLife, relocating: Relocating, env: Env, told: Callable[[str], None]) -> None:
        """What nodes hold and lead, once the cluster's version lets it."""
        Raising(env, life.parts, works=lambda: True, log=told).start()
        options = BalanceOptions(steady_us=self._balance_after_us)
        hosts = self.world.hosts
        life.parts.evens = balancing = Balancing(
            env,
            life.parts,
            relocating,
            options,
            works=lambda: True,
            log=told,
            free=lambda name: hosts[name].disk.free_bytes(),
            scrubbed=() if life.durability is None else life.durability.scrub.at,
        )
        balancing.start()

    def _build_control(self, host: WorldHost) -> ControlLife:
        doors = {one.name: Door(self.world, one, number, host, self.wire) for number, one in enumerate(self.hosts, 1)}
        parts = open_control(
            host.env,
            ports=doors,
            system=self.system,
            disk=host.disk,
            scratch=self._folder_of(host),
            initial_partitions=self._initial_partitions,
            pitr_default=True,
            tree_timeout_s=10.0,
            alone=self._alone,
            log=self._told,
            split_size=self._split_size,
        )
        if self.log_node is not None:
            tables = parts.store.tables
            tables.new_partitions = partial(_with_logs, tables.new_partitions, (self.log_node,))  # type: ignore[method-assign]
        life = ControlLife(parts, wrapped(self.client(host.env), host.env), Writer(CLUSTER))
        parts.store.changes.archive = ListedLog(life.archive.store, CLUSTER, host.env.tasks)
        host.env.tasks.call_soon(lambda: host.env.tasks.spawn(self._control_up(host, life), name="control"))
        return life

    async def _operator(self, replacing: Replacing, env: Env) -> None:
        """Replaces what has to be; what is refused now is asked for again."""
        while True:
            await env.tasks.sleep(_OPERATOR_S)
            for host in self.hosts:
                if self.folders.fresh(host):
                    try:
                        await replacing.replace(host.name, lambda _: None)
                    except ScrubjayError as error:
                        self._told(f"{host.name} cannot be replaced now: {error}")

    async def _control_up(self, host: WorldHost, life: ControlLife) -> None:
        env, folder, told = host.env, self._folder_of(host), self._told if host is self.control else partial(self._told_by, host)
        if host is self.control:
            self._sink.hand_over()
        while True:
            try:
                await life.parts.up()
                break
            except Unavailable:
                await env.tasks.sleep(_POLL_S)
        life.up = True
        if self._agent is None:
            return
        if host.name not in self._ledgers:
            self._ledgers[host.name] = await SqliteLedger.open(self.env.tasks, MEMORY)
        ledger = self._ledgers[host.name]
        store = life.archive.store

        async def claim() -> Claiming:
            return await claim_archive(
                env, store, life.writer, life.parts.metadata, self._sources, patience_s=_CLAIM_S, log=lambda _level, line: told(line)
            )

        if self._alone:
            await claim()
        life.durability = open_durability(
            env,
            disk=folder,
            control=life.parts,
            store=store,
            meter=life.archive.meter,
            writer=life.writer,
            jobs=SimJobs(env.tasks, folder, lambda _url: store),
            trees=TreesHere(MAKER, ""),
            ledger=ledger,
            options=DurabilityOptions(
                archive_url=self.archive.url,
                lag_alarm_us=LAG_ALARM_US,
                max_offset_us=self.storage.max_clock_offset_us,
                pitr_default=True,
                scrub=ScrubOptions(archive_wait_s=self._archive_wait_s),
                restore=RestoreOptions(archive_wait_s=self._archive_wait_s),
                since_us=WALL_START_US,
                alone=self._alone,
            ),
            log=told,
            agents=self._running_agents,
        )
        if len(self.names) > len(NAMES):
            hosts = self.world.hosts
            life.relocating = Relocating(
                env,
                self.folders,
                life.parts,
                works=lambda: True,
                log=told,
                stand_in_us=self._stand_in_us,
                logs_kept_us=LOGS_KEPT_US,
                free=lambda name: hosts[name].disk.free_bytes(),
            )
            life.relocating.start()
            if self._balance_after_us:
                self._even_out(life, life.relocating, env, told)
        if self._replaces or len(self.names) > len(NAMES):  # it tells a folder that joined which member it is
            life.replacing = Replacing(env, self.folders, life.parts, works=lambda: True, log=told)
            life.replacing.start()
        if self._replaces and life.replacing is not None:
            env.tasks.spawn(self._operator(life.replacing, env), name="operator")
        if not self._alone:
            env.tasks.spawn(claim_at_work(env, life.durability.duty, claim, log=lambda _level, line: told(line)), name="claim")
        life.health = Health(
            env,
            control=life.parts,
            heard=self._heard,
            agents=self._running_agents,
            writer=life.writer,
            meter=life.archive.meter,
            index=life.durability.archive.index,
            ledger=ledger,
            free=lambda name: self.world.hosts[name].disk.free_bytes(),
            options=HealthOptions(
                url=self.archive.url,
                version="sim",
                zones={name: name for name in self.names},
                wal_file=self._wal.file,
                wal_limit=self._wal.limit,
                lag_alarm_us=LAG_ALARM_US,
            ),
            schedule=life.durability.schedule,
            duty=life.durability.duty,
            ttl=life.durability.ttl,
            log=lambda problem, over: told(f"problem {problem.found.kind} {problem.found.subject} over={over}"),
        )
        life.health.start()

    def _folder_of(self, host: WorldHost) -> SimDisk:
        """The data folder that a control part works in."""
        return host.disk if host in self.others else self.folder.disk

    def claim(self, store: ObjectStore, writer: Writer) -> None:
        """Claim the archive from the control host, for those who bring their own agents."""
        Claiming(self.control.env, store, writer, self.metadata, self.sources, log=lambda _level, line: self._told(line)).start()

    def sources(self) -> list[NodeLogSource]:
        """Logs of the nodes that run now."""
        return [host.process.source for host in self.hosts if host.process is not None and host.process.node.started]

    def nodes(self) -> list[Node]:
        """Nodes that run now."""
        lives: list[RunningNode | None] = [host.process for host in self.hosts]
        return [life.node for life in lives if life is not None and life.node.started]

    def leader(self, partition: PartitionId) -> Replica | None:
        """The replica that leads and serves now, as it really is: for those who look on."""
        for node in self.nodes():
            replica = node.replicas.get(partition)
            if replica is not None and node.failed is None and replica.serves(consistent=True) is None:
                return replica
        return None

    def check_invariants(self) -> None:
        for host in self.hosts:
            if host.process is not None and host.process.node.started:
                host.process.port.check_invariants()
        for node in self.nodes():
            for replica in node.members.values():
                replica.check_invariants()
                if replica.group is not None:
                    replica.group.check_invariants()

    def _told_by(self, host: WorldHost, line: str) -> None:
        self._told(f"{host.name}: {line}")

    def _told(self, line: str) -> None:
        self.world.note(line)
        self.lines.append(line)

    def _heard_finding(self, finding: Finding) -> None:
        self.world.note(f"finding {finding.copy} {finding.kind} {finding.found_by} {finding.detail}")
        self.findings.append(finding)

    def _state(self, node: NodeName, partition: PartitionId | None, state: str, reason: str) -> None:
        where = partition or ""
        self.world.note(f"state {node} {where} {state} {reason}")
        self.states.append((self.world.now, node, where, state, reason))
        self._heard.told(node, partition, state, reason)
        life: RunningNode | None = next(host.process for host in self.hosts if host.name == node)
        failed = life.node.failed if life is not None else None
        if state == "failed" and isinstance(failed, Internal):
            self.broken.append(failed)
            if not self.keep_broken:
                raise failed


def _host_system(node: Node, system: TableMeta) -> None:
    """A node that starts while nobody has read the catalogue: the metadata group, where the node's log knows it or a founder makes it. Where its copies are by now only the catalogue says
    (`server.control.Control.up`)."""
    (info,) = system.partitions
    if node.hosting.known(info.partition_id) or (node.number in info.nodes and node.joining):
        known = info if node.number in info.nodes else msgspec.structs.replace(info, hosts=tuple(sorted({*info.nodes, node.number})))
        node.hosting.host(msgspec.structs.replace(system, partitions=(known,)), known)


def host_known(node: Node, system: TableMeta, tables: Mapping[Any, TableMeta]) -> None:
    """A node that started again is told what to host: the metadata group and every table, dropped ones, and partitions that were split, only where their log is still known, and until they
    are archived to their end; and what went to other nodes, to forget."""

    def host(table: TableMeta, info: PartitionInfo, *, awaits_base: bool = False) -> None:
        if node.number in info.nodes:
            node.hosting.host(table, info, awaits_base=awaits_base)
        elif node.hosting.known(info.partition_id):
            node.hosting.forget(info.partition_id)

    for table in (system, *(tables[key] for key in sorted(tables))):
        for index in index_tables(table):
            for info in index.partitions:
                host(index, info)
        for info in index_remains(table):
            if node.hosting.known(info.partition_id):
                node.hosting.forget(info.partition_id)
        for owner, former in [(each, former) for each in (table, *index_tables(table)) for former in each.former or ()]:
            if node.hosting.known(former.info.partition_id):
                if former.archived_at is None:
                    host(owner, former.info)
                else:
                    node.hosting.forget(former.info.partition_id)
        awaits = table.restore_of is not None and table.restore_of.in_progress
        if table.archived_at is not None:
            for info in table.partitions:
                if node.hosting.known(info.partition_id):
                    node.hosting.forget(info.partition_id)
        elif table.status != "DROPPED" or any(node.hosting.known(info.partition_id) for info in table.partitions):
            for info in table.partitions:
                host(table, info, awaits_base=awaits)
