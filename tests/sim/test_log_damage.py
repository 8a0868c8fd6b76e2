"""Damage in the log that is met while a node runs: its replica does not vote until the records came back and were read from the disk again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, put
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import Throughput
from scrubjay.storage.node.peers import Peers

S = 1_000_000


def damaged_while_running(patch: pytest.MonkeyPatch, seed: int) -> None:
    """A leader's record rots after it was let go of in memory; a follower that was away needs it; first no peer's answer arrives, then they do."""
    world = World(seed)
    cluster = WholeCluster(world)
    env = cluster.env
    take = Peers._take_records

    async def ask(start: Callable[[Callable[[Any], None]], None]) -> Any:
        future = env.tasks.future()
        start(lambda answer: None if future.done() else future.set_result(answer))
        return await future

    async def main() -> None:
        cluster.start()
        await cluster.up()
        await cluster.store.create_table(
            TableSpec(name="t", key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
        )
        while cluster.store.unhosted():
            await env.tasks.sleep(0.05)
        table = cluster.store.table("t")
        assert table is not None
        partition = table.partitions[0].partition_id
        leading = cluster.leader(partition)
        assert leading is not None
        lead = leading.node
        slow = next(node for node in cluster.nodes() if node is not lead)
        host = next(host for host in cluster.hosts if host.name == lead.name)
        for other in cluster.nodes():
            if other is not slow:
                world.net.cut_link(slow.name, other.name)
                world.net.cut_link(other.name, slow.name)
        for value in range(20):
            await ask(lambda done, value=value: cluster.store.write(table, put(value, value, blind=True), done))  # type: ignore[misc]
        await env.tasks.sleep(2.0)
        replica = lead.replicas[partition]
        assert replica.group is not None
        extent = lead.wal._states[partition].extents.at(10)  # type: ignore[attr-defined]
        host.disk.flip_bit(f"wal/{extent.body.file.name}", start=extent.body.offset + 60, end=extent.body.offset + 61)
        lead.wal._reader.forget()  # type: ignore[attr-defined]
        replica.group.log._records.clear()
        replica.group.log._base = Lsn(replica.group.log.last + 1)
        replica.group.log.memory_bytes = 0
        patch.setattr(Peers, "_take_records", lambda peers, replica, message: None)
        world.net.heal()
        await env.tasks.sleep(7.0)
        assert replica.damaged
        assert not replica.group.state.may_vote
        assert lead.wal.damaged(partition), "known, though recovery had nothing to do with it"
        with pytest.raises(Corrupt):
            lead.wal.read(partition, Lsn(extent.first), Lsn(extent.first + 1))
        patch.setattr(Peers, "_take_records", take)
        for _ in range(100):
            if not replica.damaged:
                break
            await env.tasks.sleep(0.1)
        assert not replica.damaged
        assert replica.group.state.may_vote
        assert lead.wal.damaged(partition) == ()
        lead.wal.reread(partition, Lsn(1), Lsn(replica.group.log.last + 1))

    task = env.tasks.spawn(main(), name="main")
    world.run(until_us=120 * S, stop=task.done)
    task.result()


def test_damage_met_while_running_keeps_the_vote_away_until_the_records_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged_while_running(monkeypatch, 1)


def test_negative_control_a_repair_that_is_believed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    from scrubjay.storage.replica.repair import Repair

    monkeypatch.setattr(Repair, "_still_damaged", lambda repair: ())
    with pytest.raises(AssertionError):
        damaged_while_running(monkeypatch, 1)
