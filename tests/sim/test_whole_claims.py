"""Who writes to the archive while the control part dies and comes again beside nodes that go on: nobody takes a claim of this cluster for another's."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.write.attach import attach
from scrubjay.base.env import Env
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import put
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World

SECOND = 1_000_000
LIVES = 4
SLOW_US = 400_000
"""Of a request to the store, there and back: a look of an agent spans the next claim."""


@pytest.mark.slow
def test_a_node_that_looks_while_the_control_part_claims_again_is_fenced_by_nobody() -> None:
    """The nodes once shared the claim of whichever control part lived: a look that the one before had begun asked the dead one's notes."""
    world = World(1)
    cluster = WholeCluster(world, storage=STORAGE, consensus=CONSENSUS, agent=AGENT)

    async def run(env: Env) -> None:
        await attach(cluster.look, env, cluster_id=CLUSTER, folder_is_new=True)
        cluster.start()
        await cluster.up()
        await cluster.store.create_table(spec_of("busy"))
        while cluster.store.unhosted():
            await env.tasks.sleep(0.1)
        cluster.archive.faults.delay_us = (SLOW_US, SLOW_US)
        for life in range(1, LIVES + 1):
            answers: list[Any] = []
            while cluster.writer.state or any(
                agent.writer.state or agent.writer.attached.epoch != life for agent in cluster.agents.values()
            ):
                table = cluster.store.table("busy")
                assert table is not None
                cluster.store.write(table, put(1, len(answers), blind=True), answers.append)
                await env.tasks.sleep(0.1)
                assert world.now < 120 * life * SECOND, [agent.writer.state for agent in cluster.agents.values()]
            cluster.control.crash(power=False)
            cluster.control.start()
            await cluster.up()

    main = cluster.env.tasks.spawn(run(cluster.env), name="main")
    assert world.run(until_us=900 * SECOND, stop=main.done)
    main.result()
    assert not [line for line in cluster.lines if "fenced" in line]
