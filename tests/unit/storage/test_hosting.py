"""How a node opens its replicas when the machine gets in the way: on the real node in the simulated world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scrubjay.base.errors import DiskFull, Exhausted, ScrubjayError, Unavailable
from scrubjay.base.ids import PartitionId
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, key_of, put, value_of
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.btree.memory_engine import MemoryEngine, MemoryTree
from scrubjay.storage.catalogue import Throughput
from scrubjay.storage.commands.values import ReadAnswer, WriteAnswer

SECOND = 1_000_000


def run(seed: int, story: Callable[[World, WholeCluster], Awaitable[None]], *, seconds: int = 120) -> WholeCluster:
    world = World(seed)
    cluster = WholeCluster(world)
    task = cluster.env.tasks.spawn(story(world, cluster), name="story")
    world.run(until_us=seconds * SECOND, stop=task.done)
    assert task.done(), "the story did not end"
    task.result()
    return cluster


async def create(cluster: WholeCluster, name: str = "t") -> PartitionId:
    await cluster.store.create_table(
        TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
    )
    table = cluster.store.table(name)
    assert table is not None
    return table.partitions[0].partition_id


async def ask(cluster: WholeCluster, call: Callable[[Callable[[Any], None]], None]) -> Any:
    future = cluster.env.tasks.future()
    call(lambda answer: None if future.done() else future.set_result(answer))
    return await future


async def hosted(cluster: WholeCluster) -> None:
    while cluster.store.unhosted():
        await cluster.env.tasks.sleep(0.05)


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("durable_first", ["tree", "log"])
def test_a_power_loss_while_a_table_is_made_is_no_rot(seed: int, durable_first: str) -> None:
    """Whichever of the tree and the log's Create reached the disk alone, the copy is as good as new."""

    async def story(world: World, cluster: WholeCluster) -> None:
        cluster.start()
        await cluster.up()
        host = cluster.hosts[1]
        if durable_first == "tree":
            host.disk.faults.slow, host.disk.faults.slow_us = 1.0, (40_000, 60_000)
        partition = await create(cluster)
        await cluster.env.tasks.sleep(0.01)
        host.crash(power=True)
        host.disk.faults.slow = 0.0
        if durable_first == "log":
            cluster.trees[host.name].trees.pop(partition, None)
        await cluster.env.tasks.sleep(0.1)
        host.start()
        await cluster.env.tasks.sleep(15.0)
        assert {node.name: (node.replicas[partition].state, node.replicas[partition].reason) for node in cluster.nodes()} == {
            "n1": ("ok", ""),
            "n2": ("ok", ""),
            "n3": ("ok", ""),
        }
        assert cluster.findings == []

    run(seed, story)


@pytest.mark.parametrize(
    "lack", [Exhausted("no more memory"), Exhausted("no more descriptors"), DiskFull("full"), Unavailable("the storage worker died")]
)
def test_a_tree_that_the_machine_does_not_let_us_open_is_opened_later(lack: ScrubjayError, monkeypatch: pytest.MonkeyPatch) -> None:
    """On all three nodes at once: nothing is served meanwhile, nothing is called rot, nothing is kept, and everything comes back by itself."""

    async def story(world: World, cluster: WholeCluster) -> None:
        cluster.start()
        await cluster.up()
        partition = await create(cluster)
        await hosted(cluster)
        table = cluster.store.table("t")
        assert table is not None
        assert isinstance(await ask(cluster, lambda done: cluster.store.write(table, put(1, 7, blind=True), done)), WriteAnswer)
        for host in cluster.hosts:
            host.crash(power=False)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryEngine, "open", lambda self, _, done: self.later(0, lambda: done(lack)))
            for host in cluster.hosts:
                host.start()
            await cluster.env.tasks.sleep(12.0)
            assert [node.hosting.blocked[partition] for node in cluster.nodes()] == [lack] * 3
            assert all("tried again" in reason for *_, state, reason in cluster.states if "cannot be opened now" in reason)
        await cluster.env.tasks.sleep(8.0)
        await hosted(cluster)
        answer = await ask(cluster, lambda done: cluster.store.read(table, key_of(1), consistent=True, done=done))
        assert isinstance(answer, ReadAnswer)
        assert value_of(answer.item) == 7
        assert cluster.findings == []
        assert all(not node.hosting.blocked and node.replicas[partition].state == "ok" for node in cluster.nodes())

    run(3, story)


def test_a_read_that_the_machine_does_not_let_us_do_says_so_and_a_record_is_applied_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resting tree that cannot be opened again: the request fails by name, applying waits, nobody is suspect."""
    short = Exhausted("the machine has no more file descriptors of this process")

    async def story(world: World, cluster: WholeCluster) -> None:
        cluster.start()
        await cluster.up()
        partition = await create(cluster)
        await hosted(cluster)
        table = cluster.store.table("t")
        assert table is not None
        assert isinstance(await ask(cluster, lambda done: cluster.store.write(table, put(1, 7, blind=True), done)), WriteAnswer)
        await cluster.env.tasks.sleep(5.0)  # it goes down in a checkpoint: reads need the tree
        leader = cluster.leader(partition)
        assert leader is not None
        replica = leader.node.replicas[partition] if hasattr(leader, "node") else leader.replicas[partition]

        def refuse(self: MemoryTree, key: bytes, *, proven: bool = True) -> Row | None:
            raise short

        with monkeypatch.context() as patch:
            patch.setattr(MemoryTree, "get", refuse)
            answers: list[Any] = []
            replica.read(key_of(1), consistent=True, min_lsn=replica.applied, done=answers.append)
            assert answers == [short]
            written: list[Any] = []
            cluster.store.write(table, put(2, 8, blind=True), written.append)
            await cluster.env.tasks.sleep(1.0)
            assert not any(isinstance(one, WriteAnswer) for one in written), "nothing that is not applied is answered"
        await cluster.env.tasks.sleep(3.0)
        answer = await ask(cluster, lambda done: cluster.store.read(table, key_of(2), consistent=True, done=done))
        assert isinstance(answer, ReadAnswer)
        assert value_of(answer.item) == 8
        assert cluster.findings == []
        assert {node.replicas[partition].state for node in cluster.nodes()} == {"ok"}

    run(5, story)


def test_a_tree_whose_state_is_malformed_is_suspect_and_takes_no_node_down() -> None:
    """Rot in what lies beside the rows: the copy waits for its heal, and nothing is applied to the tree that was closed."""

    async def story(world: World, cluster: WholeCluster) -> None:
        cluster.start()
        await cluster.up()
        partition = await create(cluster)
        await hosted(cluster)
        for number in range(3):
            await ask(cluster, lambda done, n=number: cluster.router.write(cluster.store.table("t"), put(n, n, blind=True), done))
        host = cluster.hosts[0]
        await cluster.env.tasks.sleep(3.0)
        host.crash(power=False)
        content = cluster.trees[host.name].trees[partition]
        assert content.state.applied > 0
        content.state = content.state._replace(extra=content.state.extra[:-3])
        host.start()
        while host.process is None or partition not in host.process.node.replicas:
            await cluster.env.tasks.sleep(0.05)
        await cluster.env.tasks.sleep(2.0)
        node = host.process.node
        assert node.failed is None
        assert node.replicas[partition].state == "suspect"
        assert "malformed" in node.replicas[partition].reason

    run(1, story)
