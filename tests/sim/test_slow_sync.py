"""A machine so slow that a sync takes most of a second, or seconds: campaigns whose promises come too late are given longer, and reservations of the clock reach
further, so that somebody leads in the end."""

from __future__ import annotations

import pytest

from scrubjay.base.hlc import HybridClock, stamp_micros
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.world import World
from tests.sim.story import SECOND

SYNC_US = (700_000, 950_000)
"""A promise waits for the sync of the batch before it, then for its own: more than the 1.5 s that a first campaign lasts."""
SECONDS_US = (1_000_000, 3_000_000)
"""A reservation of one second is over before it is durable."""


def slow_cluster(seed: int, sync_us: tuple[int, int]) -> tuple[World, WholeCluster]:
    world = World(seed)
    cluster = WholeCluster(world)
    for host in cluster.hosts:
        host.disk.faults.sync_us = sync_us
    cluster.start()
    return world, cluster


@pytest.mark.parametrize("seed", range(3))
def test_somebody_leads_though_every_sync_takes_most_of_a_second(seed: int) -> None:
    world, cluster = slow_cluster(seed, SYNC_US)
    assert world.run(until_us=120 * SECOND, stop=lambda: cluster.ready), "nobody led the metadata group in two minutes"


@pytest.mark.parametrize("seed", range(3))
def test_somebody_leads_though_every_sync_takes_seconds_goes_on_and_leads_again_after_power_was_lost(seed: int) -> None:
    world, cluster = slow_cluster(seed, SECONDS_US)
    assert world.run(until_us=240 * SECOND, stop=lambda: cluster.ready), "nobody led the metadata group in four minutes"
    (partition,) = [one.partition_id for one in cluster.system.partitions]
    served = 0
    for _ in range(100):
        world.run(until_us=world.now + SECOND // 2)
        served += cluster.leader(partition) is not None
    assert served >= 95, "reservations follow each other without a gap"
    for host in cluster.hosts:
        host.crash(power=True)
    for host in cluster.hosts:
        host.start()
    assert cluster.leader(partition) is None
    assert world.run(until_us=world.now + 240 * SECOND, stop=lambda: cluster.leader(partition) is not None), (
        "nobody led again in four minutes"
    )


def test_once_syncs_are_quick_again_reservations_come_near() -> None:
    world, cluster = slow_cluster(0, SECONDS_US)
    assert world.run(until_us=240 * SECOND, stop=lambda: cluster.ready)
    (clock, *_) = [node.pulse.clock for node in cluster.nodes()]
    assert clock.reach_us > 2 * HybridClock.RESERVE_AHEAD_US
    for host in cluster.hosts:
        host.disk.faults.sync_us = (100, 1000)
    world.run(until_us=world.now + 120 * SECOND)
    assert clock.reach_us == HybridClock.RESERVE_AHEAD_US
    assert stamp_micros(clock.reservation) - world.hosts[cluster.hosts[0].name].clock.wall_us() <= HybridClock.RESERVE_AHEAD_US
