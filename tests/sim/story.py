"""Stories in the simulated world: a coroutine that drives a whole cluster of the real classes, step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, key_of, put, value_of
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import KeySchema, LocalIndex, TableMeta, Throughput
from scrubjay.storage.commands.values import ReadAnswer, WriteAnswer
from scrubjay.storage.node import Node
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica

SECOND = 1_000_000


class Story:
    """One cluster with one table `t`. partition: of that table."""

    def __init__(self, world: World, cluster: WholeCluster) -> None:
        self.world, self.cluster, self.env = world, cluster, cluster.env
        self.partition = PartitionId("")

    async def begin(self, *, table: str = "t") -> None:
        self.cluster.start()
        await self.cluster.up()
        self.partition = await self.create(table)
        await self.sleep(0.5)

    async def create(self, name: str, *indexes: LocalIndex, key: KeySchema = SCHEMA) -> PartitionId:
        spec = TableSpec(
            name=name,
            key=key,
            attributes=(("k", "S"),),
            billing="PAY_PER_REQUEST",
            throughput=Throughput(),
            local_indexes=indexes or msgspec.UNSET,
        )
        await self.cluster.store.create_table(spec)
        await self.until(lambda: self.table(name).status == "ACTIVE")
        return self.table(name).partitions[0].partition_id

    def table(self, name: str = "t") -> TableMeta:
        found = self.cluster.store.table(name)
        assert found is not None
        return found

    async def sleep(self, seconds: float) -> None:
        await self.env.tasks.sleep(seconds)

    async def until(self, holds: Callable[[], Any], *, seconds: float = 30.0) -> None:
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            assert self.world.now < end, "it did not come about in time"
            await self.sleep(0.02)

    async def ask(self, call: Callable[[Callable[[Any], None]], None]) -> Any:
        future = self.env.tasks.future()
        call(lambda answer: None if future.done() else future.set_result(answer))
        return await future

    async def put(self, key: int, value: int, *, table: str = "t") -> Any:
        return await self.ask(lambda done: self.cluster.store.write(self.table(table), put(key, value, blind=True), done))

    async def must_put(self, key: int, value: int, *, table: str = "t") -> None:
        answer = await self.put(key, value, table=table)
        assert isinstance(answer, WriteAnswer), answer

    async def get(self, key: int, *, table: str = "t") -> Any:
        """The value read strongly (None: absent), or the error."""
        answer = await self.ask(lambda done: self.cluster.store.read(self.table(table), key_of(key), consistent=True, done=done))
        return (None if answer.item is None else value_of(answer.item)) if isinstance(answer, ReadAnswer) else answer

    def leader(self) -> Replica:
        found = self.cluster.leader(self.partition)
        assert found is not None
        return found

    def replica(self, name: str, partition: PartitionId | None = None) -> Replica:
        return self.node(name).replicas[partition or self.partition]

    def node(self, name: str) -> Node:
        return next(node for node in self.cluster.nodes() if node.name == name)

    def host(self, name: str) -> WorldHost:
        return next(host for host in self.cluster.hosts if host.name == name)

    def followers(self) -> list[NodeName]:
        leads = self.leader().node.name
        return [host.name for host in self.cluster.hosts if host.name != leads]


def tell(story: Callable[[Story], Awaitable[None]], *, seed: int = 1, seconds: int = 120, storage: StorageOptions | None = None) -> Story:
    """Run the story to its end."""
    world = World(seed)
    told = Story(world, WholeCluster(world, storage=storage))

    async def body() -> None:
        await story(told)

    task = told.env.tasks.spawn(body(), name="story")
    ended = world.run(until_us=seconds * SECOND, stop=task.done)
    assert ended, "the story did not end"
    task.result()
    return told
