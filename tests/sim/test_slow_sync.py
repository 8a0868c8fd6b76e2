"""A machine so slow that a sync takes most of a second: campaigns whose promises come too late are given longer, so that somebody leads in the end."""

from __future__ import annotations

import pytest

from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.world import World
from tests.sim.story import SECOND

SYNC_US = (700_000, 950_000)
"""A promise waits for the sync of the batch before it, then for its own: more than the 1.5 s that a first campaign lasts."""


@pytest.mark.parametrize("seed", range(3))
def test_somebody_leads_though_every_sync_takes_most_of_a_second(seed: int) -> None:
    world = World(seed)
    cluster = WholeCluster(world)
    for host in cluster.hosts:
        host.disk.faults.sync_us = SYNC_US
    cluster.start()
    assert world.run(until_us=120 * SECOND, stop=lambda: cluster.ready), "nobody led the metadata group in two minutes"
