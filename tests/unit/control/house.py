"""A whole cluster of the real classes in simulated time, for tests of the control plane: nodes, agents, archive, scrubs, heals, restores.

Everything that is durable survives `restart_control`; nothing else does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.ids import NodeName, TableId
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.service import RestoreService
from scrubjay.pitr.source import ArchiveSource
from scrubjay.scrubber.ledger import Ledger
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.rebuilt import ArchiveReferences
from scrubjay.scrubber.report import ScrubReport
from scrubjay.scrubber.run import scrub
from scrubjay.scrubber.shelves import StoreShelves
from scrubjay.server.node import RunningNode
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, key_of, put, value_of
from scrubjay.sim.whole.door import Wire
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, Throughput
from scrubjay.storage.commands.values import RangeRead, WriteAnswer
from scrubjay.storage.control.service import Service
from scrubjay.storage.options import StorageOptions

T = TypeVar("T")
SECOND = 1_000_000
LIMIT_S = 600


class House:
    """One cluster. partitions: of every table made here. wire: between control part and nodes. spares: nodes that have not joined. split_size: see `open_control`."""

    def __init__(
        self,
        seed: int = 1,
        *,
        partitions: int = 1,
        storage: StorageOptions = STORAGE,
        agent: AgentOptions = AGENT,
        start: bool = True,
        wire: Wire | None = None,
        spares: int = 0,
        split_size: int = 0,
    ) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(
            self.world,
            storage=storage,
            consensus=CONSENSUS,
            initial_partitions=partitions,
            wal_file_bytes=1 << 15,
            wire=wire,
            spares=spares,
            split_size=split_size,
        )
        self.partitions = partitions
        self._agent = agent
        self.cluster.on_node.append(self._start_agent)
        self.agents: dict[NodeName, ArchiveAgent] = {}
        self.lines: list[str] = []
        self._restore: RestoreService | None = None
        self.trees: TreesHere | None = None
        """For restores: where their trees are made; None: every copy loads rows."""
        self.writer = Writer(CLUSTER)
        if start:
            self.run(attach(self.client(), self.env, cluster_id=CLUSTER, folder_is_new=True))
            self.cluster.start()
            self.run(self.cluster.up())
            self._reads_the_archive()
            self.cluster.claim(self.client(), self.writer)
        else:
            self.cluster.control.start()

    # ------------------------------------------------------------------ time

    @property
    def env(self) -> Any:
        return self.cluster.env

    @property
    def service(self) -> Service:
        return self.cluster.service

    def run(self, work: Awaitable[T], *, limit_s: float = LIMIT_S) -> T:
        """The outcome of `work`, in virtual time."""

        async def body() -> T:
            return await work

        task = self.env.tasks.spawn(body(), name="test")
        ended = self.world.run(until_us=self.world.now + int(limit_s * SECOND), stop=task.done)
        assert ended, "the test's work did not end in time"
        found: T = task.result()
        return found

    def pass_time(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))

    def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            assert self.world.now < end, "it did not come about in time"
            self.pass_time(0.05)

    # ------------------------------------------------------------------ life

    def client(self) -> RetryingStore:
        return RetryingStore(self.cluster.archive.client(self.env.tasks), self.env)

    def _start_agent(self, host: WorldHost, life: RunningNode) -> None:
        store = RetryingStore(self.cluster.archive.client(host.env.tasks), host.env)
        self.agents[host.name] = ArchiveAgent(host.env, store, life.source, self.writer, options=self._agent)
        self.agents[host.name].start()

    def _reads_the_archive(self) -> None:
        """What follows logs goes on in the archive where the nodes have let go of them, as in production."""
        self.cluster.store.changes.archive = ListedLog(self.client(), CLUSTER, self.env.tasks)

    def stop_agents(self) -> None:
        """Nothing comes to the archive until `start_agents`."""
        for agent in self.agents.values():
            agent.stop()

    def start_agents(self) -> None:
        for host in self.cluster.hosts:
            if host.up:
                self._start_agent(host, host.process)

    def restart_control(self, *, power: bool = False, up: bool = True) -> None:
        """The process of router, store and services dies and comes again; nodes go on."""
        cluster = self.cluster
        cluster.control.crash(power=power)
        cluster.control.start()
        self._restore = None
        if up:
            self.run(cluster.up())
            self._reads_the_archive()
            cluster.claim(self.client(), self.writer)

    # ------------------------------------------------------------------ tables

    def create(self, name: str) -> TableMeta:
        spec = TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
        self.run(self.cluster.store.create_table(spec))
        self.until(lambda: self.table(name).status == "ACTIVE")
        return self.table(name)

    def table(self, name: str) -> TableMeta:
        found = self.cluster.store.table(name)
        assert found is not None, name
        return found

    def known(self, table_id: str) -> TableMeta:
        found = self.cluster.metadata.tables.get(TableId(table_id))
        assert found is not None, table_id
        return found

    def ask(self, table: TableMeta, key: int, value: int | None) -> Any:
        """A future of the answer to one write."""
        future = self.env.tasks.future()
        self.cluster.store.write(table, put(key, value, blind=False), lambda answer: None if future.done() else future.set_result(answer))
        return future

    def put(self, table: TableMeta, key: int, value: int | None) -> WriteAnswer:
        answer = self.run(self.ask(table, key, value))
        assert isinstance(answer, WriteAnswer), answer
        return answer

    def rows(self, table: TableMeta) -> dict[bytes, int | None]:
        """What the table holds, read strongly."""
        found: dict[bytes, int | None] = {}
        for info in table.partitions:
            future = self.env.tasks.future()
            request = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=True)
            self.cluster.store.read_range(table, info, request, future.set_result)
            answer: Any = self.run(future)
            found |= {key: value_of(item) for key, item in answer.rows}
        return found

    def tree(self, node: str, info: PartitionInfo) -> Any:
        return self.cluster.trees[NodeName(node)].trees[info.partition_id]

    def checkpointed(self, table: TableMeta, keys: int) -> None:
        """Wait until every tree holds `keys` rows, so that rot can be planted in them."""
        self.until(lambda: all(sum(len(self.tree(node, info).rows) for info in table.partitions) >= keys for node in self.cluster.trees))

    def rot(self, node: str, table: TableMeta, key: int, *, bit: int = 77) -> None:
        info = self.cluster.router.partition_of(table, key_of(key))
        assert self.cluster.trees[NodeName(node)].flip_row(info.partition_id, key_of(key), bit)

    # ------------------------------------------------------------------ services

    def jobs(self) -> SimJobs:
        return SimJobs(self.env.tasks, self.cluster.folder.disk, lambda _url: self.client())

    def references(self) -> ArchiveReferences:
        return ArchiveReferences(
            self.env,
            self.jobs(),
            self.cluster.folder.disk,
            StoreShelves(self.client(), ArchiveIndex(self.client(), CLUSTER, tasks=self.env.tasks), self.env.clock),
            url=self.cluster.archive.url,
            writer=self.writer,
            born=self.service.born,
        )

    def scrub(
        self, ledger: Ledger | None = None, *, progress: Callable[[dict[str, Any]], None] | None = None, **options: Any
    ) -> ScrubReport:
        work = scrub(self.env, self.service, self.references(), ledger, ScrubOptions(**options), tables=None, progress=progress)
        return self.run(work)

    @property
    def restore(self) -> RestoreService:
        """The restore service of this life."""
        if self._restore is None:
            index = ArchiveIndex(self.client(), CLUSTER, tasks=self.env.tasks)
            source = ArchiveSource(
                self.env, self.jobs(), self.cluster.folder.disk, index, url=self.cluster.archive.url, writer=self.writer, trees=self.trees
            )
            self._restore = RestoreService(
                self.env, self.service, source, RestoreOptions(archive_wait_s=20.0), max_offset_us=500_000, log=self.lines.append
            )
        return self._restore

    def restored(self, to: str) -> dict[str, Any]:
        """Wait for the end of a restore; its report."""

        def ended() -> bool:
            report = self.restore.status(to)
            return report is not None and report["state"] != "running"

        self.until(ended, seconds=120.0)
        report = self.restore.status(to)
        assert report is not None
        return report
