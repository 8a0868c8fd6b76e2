"""Planted bugs that no drawn fault brings to light: worlds that are led, step by step, to where each bites.

A story returns the promise that was broken, "" if all held. It holds without the bug, or it proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.base.ids import PartitionId
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import key_of, put, value_of
from scrubjay.sim.world import World
from scrubjay.storage.commands.values import ReadAnswer, WriteAnswer
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica import Replica

SECOND = 1_000_000
TABLE = "told"
PATIENCE_S = 60
BLACKOUTS = 20


class _Told:
    """One cluster with one table, and agents that archive it."""

    def __init__(self, seed: int, *, storage: StorageOptions, consensus: ConsensusOptions, agent: AgentOptions) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(self.world, storage=storage, consensus=consensus, agent=agent)

    @property
    def partition(self) -> PartitionId:
        table = self.cluster.store.table(TABLE)
        assert table is not None
        return table.partitions[0].partition_id

    def replicas(self) -> list[Replica]:
        return [node.replicas[self.partition] for node in self.cluster.nodes() if self.partition in node.replicas]

    def until(self, holds: Callable[[], bool | int], *, seconds: float = PATIENCE_S) -> bool:
        """One event of the world after another, until it has come about."""
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            if self.world.now >= end or not self.world.step():
                return False
        return True

    def begin(self) -> None:
        cluster, tasks = self.cluster, self.cluster.env.tasks

        async def founded() -> None:
            await attach(cluster.look, cluster.env, cluster_id=CLUSTER, folder_is_new=True)
            cluster.start()
            await cluster.up()
            await cluster.ask(cluster.store.create_table(spec_of(TABLE)), seconds=PATIENCE_S)

        task = tasks.spawn(founded(), name="founded")
        assert self.until(task.done), "the table was not made"
        task.result()
        assert self.comes_to_be_archived(), "nothing is archived"

    def put(self, key: int, value: int) -> int:
        """LSN of the acknowledged write."""
        answers: list[Any] = []
        table = self.cluster.store.table(TABLE)
        assert table is not None
        self.cluster.store.write(table, put(key, value, blind=True), answers.append)
        assert self.until(lambda: bool(answers)), "the write was not answered"
        assert isinstance(answers[0], WriteAnswer), answers[0]
        return answers[0].lsn

    def get(self, key: int) -> int | None:
        """The value of a key by a strong read, asked again until somebody serves it."""
        table = self.cluster.store.table(TABLE)
        assert table is not None
        for _ in range(PATIENCE_S):
            answers: list[Any] = []
            self.cluster.store.read(table, key_of(key), consistent=True, done=answers.append)
            assert self.until(answers.__len__), "the read was not answered"
            if isinstance(answers[0], ReadAnswer):
                return value_of(answers[0].item)
        raise AssertionError("nobody serves reads")

    def archived(self, lsn: int = 1) -> bool:
        """What lies in the archive reaches so far without a hole, by a new look at all of it."""
        index = ArchiveIndex(self.cluster.look, CLUSTER, tasks=self.cluster.env.tasks)
        look = self.cluster.env.tasks.spawn(index.refresh(now_us=self.cluster.env.clock.wall_us()), name="look")
        assert self.until(look.done)
        look.result()
        return any(found.partition == self.partition and found.reach() >= lsn for found in index.partitions.values())

    def comes_to_be_archived(self, lsn: int = 1) -> bool:
        end = self.world.now + PATIENCE_S * SECOND
        while not self.archived(lsn):
            if self.world.now >= end:
                return False
            self.world.run(until_us=self.world.now + SECOND)
        return True


def waiting_segments_outlast_a_blackout(seed: int, *, storage: StorageOptions, consensus: ConsensusOptions, agent: AgentOptions) -> str:
    """The store is down; a segment is sealed and the checkpoint behind it is durable on every member; the power of the whole room fails. The segment is still
    archived once the store is back."""
    told = _Told(seed, storage=storage, consensus=consensus, agent=agent)
    told.begin()
    cluster = told.cluster
    cluster.archive.faults.down = True
    lsn = told.put(1, 1)

    def sealed_and_committed() -> bool:
        found = told.replicas()
        return len(found) == len(cluster.hosts) and all(
            replica.segments.facts.sealed and lsn <= replica.segments.facts.sealed[-1].statement.last <= replica.checkpoints.committed
            for replica in found
        )

    assert told.until(sealed_and_committed), "it was never sealed and committed"
    for host in cluster.hosts:
        host.crash(power=True)
    for host in cluster.hosts:
        host.start()
    cluster.archive.faults.down = False
    told.put(2, 2)
    return (
        ""
        if told.comes_to_be_archived(lsn)
        else f"LSN {lsn}, acknowledged and sealed, is not archived {PATIENCE_S} s after the store came back"
    )


def what_was_acknowledged_outlasts_a_blackout(
    seed: int, *, storage: StorageOptions, consensus: ConsensusOptions, agent: AgentOptions
) -> str:
    """Syncs are slow, and the power of the whole room fails at the very event that acknowledges a write. Once it is back, the write is there."""
    told = _Told(seed, storage=storage, consensus=consensus, agent=agent)
    told.begin()
    for number in range(BLACKOUTS):
        for host in told.cluster.hosts:
            host.disk.faults.slow = 1.0
        told.put(number, number)
        for host in told.cluster.hosts:
            host.disk.faults.slow = 0.0
            host.crash(power=True)
        for host in told.cluster.hosts:
            host.start()
        found = told.get(number)
        if found != number:
            return f"write {number}, acknowledged as the power failed, reads as {found} afterwards"
    return ""


def a_strong_read_asks_whoever_leads_now(seed: int, *, storage: StorageOptions, consensus: ConsensusOptions, agent: AgentOptions) -> str:
    """The leader is cut off from the other nodes, not from the router, which knows no other, and it is stopped, or it would see that nobody answers it. Those elect another, a write is acknowledged
    there, and whoever reads through the router sees it when the first one goes on."""
    told = _Told(seed, storage=storage, consensus=consensus, agent=agent)
    told.begin()
    told.put(1, 1)
    router, network = told.cluster.router, told.world.net
    old = router.leader(told.partition)
    assert old is not None
    told.until(lambda: False, seconds=3)
    stopped = next(host for host in told.cluster.hosts if host.name == old).life
    stopped.pause()
    for name in told.cluster.names:
        if name != old:
            network.cut_link(old, name)
            network.cut_link(name, old)
    others = [router.nodes[name] for name in told.cluster.names if name != old]

    def acknowledged() -> bool:
        answers: list[Any] = []
        for node in others:
            node.write(told.partition, put(1, 2, blind=True), answers.append)
        assert told.until(lambda: len(answers) == len(others)), "the write was not answered"
        return any(isinstance(answer, WriteAnswer) for answer in answers)

    assert told.until(acknowledged), "the others elected nobody"
    stopped.resume()
    found = told.get(1)
    return "" if found == 2 else f"value 2 is acknowledged, and a strong read answers {found}: a leader that was replaced"


STORIES: Mapping[str, Callable[..., str]] = {
    "read-without-lease": a_strong_read_asks_whoever_leads_now,
    "sealed-forgotten": waiting_segments_outlast_a_blackout,
    "messages-before-sync": what_was_acknowledged_outlasts_a_blackout,
}
"""By the name of the planted bug that each brings to light."""
