"""What a server tells while the store is away: a handful of lines when that begins and when it is over, and none between, though agents, windows, schedule and
health try all the while. So an hour of it is no more than these minutes."""

from __future__ import annotations

from functools import partial

import pytest

from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.base.env import Env
from scrubjay.base.together import settle
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, put
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import Throughput

SECOND = 1_000_000
SOON_S, LONG_S = 150, 300
"""Until all of it has been noticed, and until the store is back."""


class Outage:
    """Two tables, one of which is written to every twenty seconds, and the store is away for LONG_S. soon: lines of the first SOON_S, late: of the rest; after:
    once it is back. asked: requests that failed."""

    def __init__(self) -> None:
        self.world = World(1)
        self.cluster = WholeCluster(self.world, agent=AgentOptions(), wal_file_bytes=1 << 20)
        self.asked = 0
        self.soon: list[str] = []
        self.late: list[str] = []
        self.after: list[str] = []
        main = self.cluster.env.tasks.spawn(self._main(self.cluster.env), name="outage")
        self.world.run(until_us=3_600 * SECOND, stop=main.done)
        main.result()

    async def _main(self, env: Env) -> None:
        cluster = self.cluster
        await attach(cluster.look, env, cluster_id=CLUSTER, folder_is_new=True)
        cluster.start()
        await cluster.up()
        for name in ("busy", "idle"):
            await cluster.store.create_table(
                TableSpec(name=name, key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
            )
        while cluster.store.unhosted() or any(table.status != "ACTIVE" for table in cluster.metadata.tables.values()):
            await env.tasks.sleep(0.5)
        await self._write(env, 120)
        assert cluster.health.view().health == "ok"
        cluster.archive.faults.down = True
        self.soon = await self._lines(env, SOON_S)
        self.late = await self._lines(env, LONG_S - SOON_S)
        self.asked = sum(cluster.archive.requests.failed.values())
        cluster.archive.faults.down = False
        self.after = await self._lines(env, 120)
        assert cluster.health.view().health == "ok"

    async def _lines(self, env: Env, seconds: int) -> list[str]:
        """What is told while it is written to for so long."""
        self.cluster.lines.clear()
        await self._write(env, seconds)
        return list(self.cluster.lines)

    async def _write(self, env: Env, seconds: int) -> None:
        table = self.cluster.store.table("busy")
        assert table is not None
        end_us = self.world.now + seconds * SECOND
        while self.world.now < end_us:
            answer = env.tasks.future()
            self.cluster.store.write(table, put(1, self.world.now, blind=True), partial(settle, answer))
            await answer
            await env.tasks.sleep(min(20.0, (end_us - self.world.now) / SECOND + 0.001))


@pytest.mark.slow
def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over() -> None:
    outage = Outage()
    assert outage.asked > 200
    assert outage.late == []
    assert sum("archive-unreachable" in line and "over=False" in line for line in outage.soon) == 1
    assert sum("archive-unreachable" in line and "over=True" in line for line in outage.after) == 1
    assert not any("archive-agent" in line for line in outage.after), "what an agent could not do it does next"
    for node in ("n1", "n2", "n3"):
        assert sum(line.startswith(f"{node}: cannot archive") for line in outage.soon) == 1
        assert sum(line.startswith(f"{node}: archiving goes on") for line in outage.after) == 1
    assert len(outage.soon) <= 8, outage.soon
    assert len(outage.after) <= 8, outage.after
