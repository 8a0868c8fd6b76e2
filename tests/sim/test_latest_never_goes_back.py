"""What was shown as the latest restorable moment stays restorable: over deaths and starts of every part, `--latest` never means an older moment than before."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from scrubjay.archiver.write.attach import attach
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import put
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.catalogue import TableMeta

SECOND = 1_000_000
TABLE = "kept"
LIVES = 8
T = TypeVar("T")


class Lives:
    """A cluster whose control part dies again and again, now and then with nodes."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.draw = self.world.stream("lives")
        self.cluster = WholeCluster(
            self.world,
            storage=STORAGE,
            consensus=CONSENSUS,
            agent=replace(AGENT, closed_interval_s=self.draw.choice((0.5, 2.0, 8.0))),
            initial_partitions=2,
        )
        self.best = 0
        self.shown = 0
        """How often a window was there to be judged."""
        self.run(attach(self.cluster.look, self.cluster.env, cluster_id=CLUSTER, folder_is_new=True))
        self.cluster.start()
        self.run(self.cluster.up())
        self.run(self.cluster.ask(self.cluster.store.create_table(spec_of(TABLE)), seconds=60.0))

    def run(self, work: Awaitable[T]) -> T:
        async def body() -> T:
            return await work

        task = self.cluster.env.tasks.spawn(body(), name="test")
        assert self.world.run(until_us=self.world.now + 300 * SECOND, stop=task.done), "it did not end in time"
        found: T = task.result()
        return found

    def table(self) -> TableMeta:
        found = self.cluster.store.table(TABLE)
        assert found is not None
        return found

    def live(self, seconds: float) -> None:
        """Write, and look at the window that is shown."""
        end = self.world.now + int(seconds * SECOND)
        while self.world.now < end:
            if self.cluster.ready and self.cluster.store.table(TABLE) is not None:
                key = self.draw.between(0, 50)
                self.cluster.store.write(self.table(), put(key, self.world.now, blind=True), lambda _answer: None)
                self.judge(self.cluster.durability.window(self.table()))
            self.world.run(until_us=self.world.now + SECOND // 10)

    def judge(self, window: tuple[int, int] | None) -> None:
        """None: it is not known yet, and nobody is told an older moment."""
        if window is not None:
            assert window[1] >= self.best, f"{(self.best - window[1]) / 1e6:.3f} s back"
            self.best = window[1]
            self.shown += 1

    def die(self) -> None:
        """The control part; nodes too, now and then, for a while or all at once."""
        power = self.draw.chance(0.5)
        self.cluster.control.crash(power=power)
        gone = [host for host in self.cluster.hosts if self.draw.chance(0.3)]
        for host in gone:
            host.crash(power=power)
        self.world.run(until_us=self.world.now + self.draw.between(0, 12) * SECOND)
        for host in gone:
            host.start()
        self.cluster.control.start()
        self.run(self.cluster.up())

    def asked_at_once(self) -> None:
        """A restore of the latest moment, asked for as soon as anybody answers."""
        looked: Any = self.run(self.cluster.ask(self.cluster.durability.restorer.preparing.look(self.table()), seconds=60.0))
        bounds = looked[1]
        self.judge(None if bounds.latest_us is None else (bounds.earliest_us, bounds.latest_us))
        assert bounds.latest_us is not None or not self.best, "what was proven is proven"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_what_was_the_latest_moment_before_a_death_is_restorable_after_the_start(seed: int) -> None:
    lives = Lives(seed)
    for _ in range(LIVES):
        lives.live(lives.draw.between(1, 8))
        lives.die()
        lives.asked_at_once()
    assert lives.best
    assert lives.shown > LIVES
