"""Builds the cluster: three node hosts, a control host that never crashes (router, store, services), one object store.

The control host reaches nodes through a `Door` each: calls go to the node's present life, or fail as a dead process would. A node that starts again is
told at once what to host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from archiver.claiming import Claiming
from archiver.writer import Writer
from base.env import Env, ObjectStore
from base.errors import Internal, NotLeader, ScrubjayError
from base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, TableId
from server.control import open_control
from server.node import Founding, RunningNode, Told, WalSizes, absent_node, host_known, join, open_node, start_node
from sim.store import SimStore
from sim.world import Host, World
from storage.archive_source import NodeLogSource
from storage.btree.engine import TreeEngine
from storage.btree.memory_engine import MemoryEngine, MemoryTrees
from storage.command import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from storage.consensus.options import ConsensusOptions
from storage.control.metadata import Metadata, metadata_table
from storage.control.router import Router
from storage.control.service import Service
from storage.control.store import Store
from storage.node import Node
from storage.node.absent import AbsentNode
from storage.node.identity import Members
from storage.options import StorageOptions
from storage.replica import Replica
from storage.service_port import Finding

NAMES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
MEMBERS = tuple(Member(number, 1) for number in range(1, len(NAMES) + 1))
CLUSTER = ClusterId("00000000-0000-4000-8000-00000000c1c1")
_DOWN = NotLeader("node is down")


class Door:
    """A node as the control host sees it: the present life, or a dead one."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self.name = host.name
        self.number = number

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

    def queue_control(self, *arguments: Any) -> None:
        node = self.node
        if node is None:
            raise _DOWN
        node.queue_control(*arguments)

    def start_loaded(self, *arguments: Any) -> None:
        node = self.node
        if node is not None:
            node.start_loaded(*arguments)

    def write(self, partition: PartitionId, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        node = self.node
        if node is None:
            done(_DOWN)
        else:
            node.write(partition, command, done)

    def read(
        self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]
    ) -> None:
        node = self.node
        if node is None:
            done(_DOWN)
        else:
            node.read(partition, key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(
        self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]
    ) -> None:
        node = self.node
        if node is None:
            done(_DOWN)
        else:
            node.read_range(partition, request, min_lsn=min_lsn, done=done)


class WholeCluster:
    """world: may already hold faults. on_node: called with each new life of a node (agents are started there)."""

    def __init__(
        self,
        world: World,
        *,
        storage: StorageOptions | None = None,
        consensus: ConsensusOptions | None = None,
        initial_partitions: int = 1,
        wal_file_bytes: int = 1 << 18,
        wal_limit_bytes: int = 64 << 20,
        checkpoint_s: float = 0.002,
    ) -> None:
        """checkpoint_s: how long an operation of a tree's worker takes at least."""
        self._checkpoint_s = checkpoint_s
        self.world = world
        self.storage = storage or StorageOptions()
        self.consensus = consensus or ConsensusOptions()
        self.broken: list[ScrubjayError] = []
        """Why nodes stopped because a rule of their own did not hold. keep_broken: such a node is left to its peers; else its run ends there."""
        self.keep_broken = False
        self.trees: dict[NodeName, MemoryTrees] = {name: MemoryTrees() for name in NAMES}
        self.archive = SimStore(world)
        self.findings: list[Finding] = []
        self.states: list[tuple[int, str, str, str, str]] = []
        self.on_node: list[Callable[[Host, RunningNode], None]] = []
        self.absent: dict[NodeName, AbsentNode] = {}
        """Nodes that stay out, by name."""
        self._wal_file_bytes, self._wal_limit_bytes = wal_file_bytes, wal_limit_bytes
        self.control = world.add_host(NodeName("control"), build=lambda host: host)
        self.control.start()
        self.env: Env = self.control.env
        self.members = Members(self.control.disk, CLUSTER)
        self.hosts = [world.add_host(name, build=self._build) for name in NAMES]
        self.doors: dict[NodeName, Any] = {host.name: Door(host, number) for number, host in enumerate(self.hosts, 1)}
        self.system = metadata_table(
            TableId("00000000-0000-4000-8000-000000000001"),
            PartitionId("00000000-0000-4000-8000-000000000002"),
            members=MEMBERS,
            created_at=1,
        )
        self.parts = open_control(
            self.env,
            nodes=self.doors,
            system=self.system,
            members=MEMBERS,
            disk=self.control.disk,
            node_folder=lambda _name, path: path,
            initial_partitions=initial_partitions,
            pitr_default=True,
            tree_timeout_s=10.0,
        )

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

    def start(self) -> None:
        """Start every node; `await up()` before using the store."""
        for host in self.hosts:
            host.start()

    async def up(self) -> None:
        """Wait until the metadata group answers and the catalogue is loaded."""
        await self.parts.up()

    def _build(self, host: Host) -> RunningNode | None:
        engine = partial(MemoryEngine, self.trees[host.name], host.env.tasks, self.control.disk, seconds_base=self._checkpoint_s)
        told = Told(finding=self._finding, state=self._state)
        try:
            life = self._open(host, engine, told)
        except ScrubjayError as error:
            number = NAMES.index(host.name) + 1
            self.absent[host.name] = absent_node(name=host.name, number=number, env=host.env, told=told, failed=error)
            return None
        self.absent.pop(host.name, None)
        start_node(life.node, self.members, lambda error: self._booted(host, life) if error is None else None)
        return life

    def _open(self, host: Host, engine: Callable[[], TreeEngine], told: Told) -> RunningNode:
        return open_node(
            name=host.name,
            names=dict(enumerate(NAMES, 1)),
            env=host.env,
            disk=host.disk,
            network=host.network,
            engine=engine,
            wal=WalSizes(self._wal_file_bytes, self._wal_limit_bytes, self._wal_file_bytes),
            options=self.storage,
            consensus=self.consensus,
            founding=Founding(CLUSTER, self.members, host.env.rand.uuid),
            told=told,
        )

    def _booted(self, host: Host, life: RunningNode) -> None:
        host_known(life.node, self.system, self.metadata.tables)
        join(host.env, self.members, life.node)
        for listener in self.on_node:
            listener(host, life)

    def claim(self, store: ObjectStore, writer: Writer) -> None:
        """Claim the archive from the control host, as `serve` does beside the metadata leader."""
        Claiming(self.env, store, writer, self.metadata, self.sources, log=lambda _level, line: self.world.note(line)).start()

    def sources(self) -> list[NodeLogSource]:
        """Logs of the nodes that run now."""
        return [host.process.source for host in self.hosts if host.process is not None and host.process.node.started]

    def nodes(self) -> list[Node]:
        """Nodes that run now."""
        return [door.node for door in self.doors.values() if door.node is not None]

    def check_invariants(self) -> None:
        for node in self.nodes():
            for replica in node.replicas.values():
                replica.check_invariants()
                if replica.group is not None:
                    replica.group.check_invariants()

    def _finding(self, finding: Finding) -> None:
        self.world.note(f"finding {finding.copy} {finding.kind} {finding.found_by} {finding.detail}")
        self.findings.append(finding)
        self.service.note(finding)

    def _state(self, node: NodeName, partition: PartitionId | None, state: str, reason: str) -> None:
        where = partition or ""
        self.world.note(f"state {node} {where} {state} {reason}")
        self.states.append((self.world.now, node, where, state, reason))
        life: RunningNode | None = next(host.process for host in self.hosts if host.name == node)
        failed = life.node.failed if life is not None else None
        if state == "failed" and isinstance(failed, Internal):
            self.broken.append(failed)
            if not self.keep_broken:
                raise failed
