"""What the node port costs a write: µs of CPU of the call that proposes it, asked of the node itself, of its port in the same process, and through frames.

    python -m bench.bench_port [--rounds 21]

A leader of the simulated cluster (real node, replica and log); the ways take turns, forth and back, so that what the machine does besides hits all of them. Median of
the rounds, with the best. Beside it: what a look at a replica's facts costs while little moves.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from scrubjay.base.ids import NodeName
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import SCHEMA, put
from scrubjay.sim.world import World
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import Throughput
from scrubjay.storage.node.port_local import LocalNode

COUNT = 100
SECOND = 1_000_000


class Leader:
    """A table of one partition, and whoever leads it."""

    def __init__(self) -> None:
        self.world = World(1)
        self.cluster = WholeCluster(self.world)
        self.cluster.start()
        self.run(self.cluster.up)
        spec = TableSpec(name="t", key=SCHEMA, attributes=(("k", "S"),), billing="PAY_PER_REQUEST", throughput=Throughput())
        self.run(lambda: self.cluster.store.create_table(spec))
        table = self.cluster.store.table("t")
        assert table is not None
        self.partition = table.partitions[0].partition_id
        self.world.run(until_us=self.world.now + 2 * SECOND)
        leader = self.cluster.leader(self.partition)
        assert leader is not None
        self.node: Any = leader.node
        self.door = self.cluster.parts.ports[NodeName(self.node.name)]

    def run(self, work: Callable[[], Any]) -> None:
        task = self.cluster.env.tasks.spawn(work(), name="bench")
        self.world.run(until_us=self.world.now + 60 * SECOND, stop=task.done)
        task.result()

    def micros(self, step: Callable[[int], object]) -> float:
        """Per call. What the calls set off runs afterwards, untimed."""
        began = time.process_time()
        for number in range(COUNT):
            step(number)
        took = time.process_time() - began
        self.world.run(until_us=self.world.now + SECOND)
        return took / COUNT * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    leader = Leader()
    local, answers = LocalNode(leader.node), list[Any]()
    follower = LocalNode(next(node for node in leader.cluster.nodes() if node is not leader.node))
    commands = [put(number % 12, number, blind=True) for number in range(COUNT)]
    ways: dict[str, Callable[[int], object]] = {
        "write, of the node": lambda at: leader.node.requests.write(leader.partition, commands[at], answers.append),
        "write, of its port": lambda at: local.write(leader.partition, commands[at], answers.append),
        "write, in frames": lambda at: leader.door.write(leader.partition, commands[at], answers.append),
        "facts, of a leader": lambda _: local.facts(leader.partition),
        "facts, of a follower": lambda _: follower.facts(leader.partition),
        "facts, in frames": lambda _: leader.door.facts(leader.partition),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(options.rounds):
        for name, step in list(ways.items())[:: -1 if round_ % 2 else 1]:
            took[name].append(leader.micros(step))
    for name, found in took.items():
        print(f"{name:22} median {statistics.median(found):6.1f} µs   best {min(found):6.1f} µs")


if __name__ == "__main__":
    main()
