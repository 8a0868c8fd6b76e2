"""Whether a node may start by the clock of its machine: what it reserved because its syncs were slow keeps nobody out, a clock that was set back does."""

from __future__ import annotations

import pytest

from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import NodeName
from scrubjay.server.node import ClockFault, check_clock
from scrubjay.sim.world import World
from scrubjay.storage.options import StorageOptions


def test_a_node_whose_syncs_were_slow_starts_again_at_once_and_one_whose_clock_was_set_back_does_not() -> None:
    env = World(0).add_host(NodeName("n1"), build=lambda host: None).env
    reached = env.clock.wall_us() + HybridClock.RESERVE_AHEAD_MAX_US
    check_clock(env, NodeName("n1"), reached, StorageOptions())
    with pytest.raises(ClockFault, match="behind what the node has already promised"):
        check_clock(env, NodeName("n1"), reached + 5_000_000, StorageOptions())
