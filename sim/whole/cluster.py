"""Builds the cluster: three node hosts, a control host that never crashes (router, store, services), one object store.

The control host reaches nodes through a `Door` each: calls go to the node's present life, or fail as a dead process would. A node that starts again is
told at once what to host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from base.env import Env
from base.errors import ScrubjayError, Unavailable
from base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, TableId
from sim.store import SimStore
from sim.world import Host, World
from storage.archive_source import NodeLogSource
from storage.btree.memory_engine import MemoryEngine, MemoryTrees
from storage.command import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from storage.consensus.options import ConsensusOptions
from storage.control.metadata import Metadata, metadata_table
from storage.control.router import Router
from storage.control.service import Service
from storage.control.store import Store
from storage.node import Node, NodeEvents
from storage.options import StorageOptions
from storage.replica import Replica
from storage.service_port import Finding
from storage.wal.wal import Wal

NAMES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
MEMBERS = tuple(Member(number, 1) for number in range(1, len(NAMES) + 1))
CLUSTER = ClusterId("00000000-0000-4000-8000-00000000c1c1")
_DOWN = Unavailable("node is down")


class NodeLife:
    """One life of a node's process."""

    def __init__(self, node: Node, wal: Wal, engine: MemoryEngine, source: NodeLogSource) -> None:
        self.node, self.wal, self.engine, self.source = node, wal, engine, source


class Door:
    """A node as the control host sees it: the present life, or a dead one."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self.name = host.name
        self.number = number

    @property
    def node(self) -> Node | None:
        life: NodeLife | None = self._host.process
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
    def engine(self) -> MemoryEngine:
        life: NodeLife | None = self._host.process
        if life is None:
            raise _DOWN
        return life.engine

    def known(self, partition: PartitionId) -> bool:
        node = self.node
        return node is not None and node.known(partition)

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
        self.trees: dict[NodeName, MemoryTrees] = {name: MemoryTrees() for name in NAMES}
        self.archive = SimStore(world)
        self.findings: list[Finding] = []
        self.states: list[tuple[int, str, str, str, str]] = []
        self.on_node: list[Callable[[Host, NodeLife], None]] = []
        self._wal_file_bytes, self._wal_limit_bytes = wal_file_bytes, wal_limit_bytes
        self.control = world.add_host(NodeName("control"), build=lambda host: host)
        self.control.start()
        self.env: Env = self.control.env
        self.hosts = [world.add_host(name, build=self._build) for name in NAMES]
        self.doors: dict[NodeName, Any] = {host.name: Door(host, number) for number, host in enumerate(self.hosts, 1)}
        self.router = Router(self.env, self.doors)
        self.system = metadata_table(
            TableId("00000000-0000-4000-8000-000000000001"),
            PartitionId("00000000-0000-4000-8000-000000000002"),
            members=MEMBERS,
            created_at=1,
        )
        self.metadata = Metadata(self.env, self.router, self.system)
        self.store = Store(
            self.env,
            nodes=self.doors,
            router=self.router,
            metadata=self.metadata,
            members=MEMBERS,
            initial_partitions=initial_partitions,
            pitr_default=True,
        )
        self.service = Service(
            self.env,
            nodes=self.doors,
            store=self.store,
            metadata=self.metadata,
            disk=self.control.disk,
            node_folder=lambda _name, path: path,
            tree_timeout_s=10.0,
        )

    def start(self) -> None:
        """Start every node; `await up()` before using the store."""
        for host in self.hosts:
            host.start()

    async def up(self) -> None:
        """Wait until the metadata group answers and the catalogue is loaded."""
        await self.store.start()

    def _build(self, host: Host) -> NodeLife:
        number = NAMES.index(host.name) + 1
        wal, recovered = Wal.open(
            host.disk,
            "wal",
            file_size=self._wal_file_bytes,
            limit_bytes=self._wal_limit_bytes,
            reserve_bytes=self._wal_file_bytes,
            call_later=host.env.tasks.call_later,
        )
        engine = MemoryEngine(self.trees[host.name], host.env.tasks, self.control.disk, seconds_base=self._checkpoint_s)
        sources: list[NodeLogSource] = []

        def changed(partition: PartitionId) -> None:
            for source in sources:
                source.notify(partition)

        node = Node(
            name=host.name,
            number=number,
            peers={at: name for at, name in enumerate(NAMES, 1) if name != host.name},
            env=host.env,
            network=host.network,
            engine=engine,
            wal=wal,
            recovered=recovered,
            options=self.storage,
            consensus_options=self.consensus,
            events=NodeEvents(finding=self._finding, state=self._state, archive=changed),
            cluster=CLUSTER.encode()[-8:],
        )
        life = NodeLife(node, wal, engine, NodeLogSource(node))
        sources.append(life.source)
        node.start(lambda: self._booted(host, life))
        return life

    def _booted(self, host: Host, life: NodeLife) -> None:
        for table in (self.system, *(self.metadata.tables[key] for key in sorted(self.metadata.tables))):
            awaits = table.restore_of is not None and table.restore_of.in_progress
            if table.status != "DROPPED" or any(life.node.known(info.partition_id) for info in table.partitions):
                for info in table.partitions:
                    life.node.host(table, info, awaits_base=awaits)
        for listener in self.on_node:
            listener(host, life)

    def nodes(self) -> list[Node]:
        """Nodes that run now."""
        return [door.node for door in self.doors.values() if door.node is not None]

    def check_invariants(self) -> None:
        for node in self.nodes():
            for replica in node.replicas.values():
                replica.check_invariants()
                if replica.group is not None:
                    replica.group.check_invariants()

    def _finding(self, node: Node, replica: Replica, **facts: Any) -> None:
        finding = Finding(
            kind=facts["kind"],
            copy=node.name,
            partition=replica.partition,
            key=None,
            storage_key=facts["storage_key"],
            object=None,
            lsn=facts["lsn"],
            segment=None,
            found_by=facts["found_by"],
            action="none",
            detail=facts["detail"],
            at_us=self.env.clock.wall_us(),
        )
        self.world.note(f"finding {node.name} {finding.kind} {finding.found_by} {finding.detail}")
        self.findings.append(finding)
        self.service.note(finding)

    def _state(self, node: Node, replica: Replica | None, state: str, reason: str) -> None:
        where = replica.partition if replica is not None else ""
        self.world.note(f"state {node.name} {where} {state} {reason}")
        self.states.append((self.world.now, node.name, where, state, reason))
