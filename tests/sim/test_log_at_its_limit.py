"""A log at its limit, all nodes killed at any step, and started: the first strong read of each acknowledged write that is answered finds it.

The store is away, so nothing leaves the logs: clients fill them until writes are refused. Then every node and the control part die at one event of the world, with or without
the power, and come again on what is there; each node is asked strongly for every acknowledged write from the first moment on, by itself and not by way of a router. It happens
thrice in a life: writes go on being tried at the limit in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.whole.cluster import WholeCluster
from scrubjay.sim.whole.commands import key_of
from scrubjay.sim.whole.run import CONSENSUS, STORAGE
from scrubjay.sim.world import World
from scrubjay.storage.commands.values import PutCommand, ReadAnswer, WriteAnswer
from scrubjay.storage.items.encoding import encode_item
from tests.sim.story import SECOND, Story

FILE = 1 << 14
FILES = 6
WRITERS = 6
KILLS = 3
PAUSE_S = 0.02
PROBE_US = 2_000
"""So often every node is asked for one more of the acknowledged writes."""
ALONE_S = 4.0
STEPS = (60, 600, 4_000)
"""So many events of the world after an acknowledgement or the first refusal, one of which is the last before the kill: some milliseconds to half a second."""


def _large(key: int) -> bytes:
    return encode_item({"k": ("S", f"key-{key}"), "v": ("S", "x" * (1_500 + key % 7 * 100))})


class Life:
    """One cluster through its kills. acknowledged: keys of writes answered well. refused: of those that were not. found: strong reads that were answered since the last start."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.draw = self.world.stream("kills")
        storage = replace(STORAGE, checkpoint_bytes=8 << 20, checkpoint_interval_us=self.draw.choice((400_000, 5_000_000)))
        self.cluster = WholeCluster(
            self.world, storage=storage, consensus=CONSENSUS, wal_file_bytes=FILE, wal_limit_bytes=FILES * FILE, checkpoint_s=0.02
        )
        self.story = Story(self.world, self.cluster)
        self.acknowledged: list[int] = []
        self.refused = 0
        self.next_key = 0
        self.writing = False

    def run(self) -> None:
        self._do(self.story.begin, seconds=30)
        for _ in range(WRITERS):
            self.story.env.tasks.spawn(self._write(), name="writer")
        for _ in range(KILLS):
            self._slow_disk()
            self.writing = True
            if self.draw.chance(0.7):
                self._until(lambda: any(node.full for node in self.cluster.nodes()))
            else:
                self._until(self._after(self.draw.between(1, 8)))
            self._steps(self.draw.between(0, self.draw.choice(STEPS)))
            self.writing = False
            self._kill(power=self.draw.chance(0.5))
            self._until(lambda: self.cluster.ready)

    def _slow_disk(self) -> None:
        """One log lags behind the others."""
        for host in self.cluster.hosts:
            host.disk.faults.sync_us = (150, 1_500)
        self.draw.choice(self.cluster.hosts).disk.faults.sync_us = self.draw.choice(((150, 1_500), (5_000, 20_000), (50_000, 200_000)))

    def _after(self, count: int) -> Callable[[], bool]:
        """So many more writes are acknowledged, or there is no room for them."""
        wanted = len(self.acknowledged) + count
        return lambda: len(self.acknowledged) >= wanted or any(node.full for node in self.cluster.nodes())

    # ------------------------------------------------------------------ time

    def _do(self, work: Callable[[], Any], *, seconds: float) -> None:
        task = self.story.env.tasks.spawn(work(), name="step")
        assert self.world.run(until_us=self.world.now + int(seconds * SECOND), stop=task.done)
        task.result()

    def _until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        assert self.world.run(until_us=self.world.now + int(seconds * SECOND), stop=holds), "it did not come about in time"

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self.world.step()

    # ------------------------------------------------------------------ clients

    async def _write(self) -> None:
        tasks = self.story.env.tasks
        while True:
            if not (self.writing and self.cluster.ready):
                await tasks.sleep(PAUSE_S)
                continue
            self.next_key += 1
            key = self.next_key
            command = PutCommand(key_of(key), encode_item({"k": ("S", f"key-{key}")}), _large(key), blind=True)
            answer = tasks.future()

            def answered(value: Any, key: int = key, answer: Any = answer) -> None:
                if isinstance(value, WriteAnswer):
                    self.acknowledged.append(key)
                else:
                    self.refused += 1
                if not answer.done():
                    answer.set_result(value)

            self.cluster.store.write(self.story.table(), command, answered)
            end = self.world.now + 12 * SECOND
            while not answer.done() and self.world.now < end:  # whoever was to answer may have been killed
                await tasks.sleep(PAUSE_S)
            if not (answer.done() and isinstance(answer.result(), WriteAnswer)):
                await tasks.sleep(PAUSE_S)

    # ------------------------------------------------------------------ what befalls it

    def _kill(self, *, power: bool) -> None:
        everybody = (*self.cluster.hosts, self.cluster.control)
        for host in everybody:
            host.crash(power=power)
        late = self.draw.choice((None, *self.cluster.hosts))
        """A quorum without this one must know everything. That it can serve is not said: of two logs that are full one may lack what the other and this one have."""
        for host in everybody:
            if host is not late:
                host.start()
        if late is not None:
            self._read_all(patience_s=ALONE_S)
            late.start()
        self._read_all()

    def _read_all(self, *, patience_s: float | None = None) -> None:
        """Ask all nodes, all the time, until every acknowledged write was found once by whoever says that it may answer. patience_s: or until then."""
        wanted = {key: _large(key) for key in self.acknowledged}
        left = list(wanted)
        partition = PartitionId(self.story.partition)

        def probe() -> None:
            for node in self.cluster.nodes():
                if left:
                    ask(node, left[self.world.events % len(left)])
            if left:
                self.world.after(PROBE_US, probe)

        def ask(node: Any, key: int) -> None:
            def answered(answer: Any) -> None:
                if isinstance(answer, ReadAnswer):
                    assert answer.item == wanted[key], f"key {key} was acknowledged, and {node.name} does not find it at {answer.lsn}"
                    if key in left:
                        left.remove(key)

            node.requests.read(partition, key_of(key), consistent=True, min_lsn=Lsn(0), done=answered)

        probe()
        if patience_s is None:
            self._until(lambda: not left)
        else:
            self.world.run(until_us=self.world.now + int(patience_s * SECOND), stop=lambda: not left)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_acknowledged_is_found_by_the_first_strong_read(seed: int) -> None:
    life = Life(seed)
    life.run()
    assert any(state == "full" for *_, state, _ in life.cluster.states), "the log was never at its limit"


@pytest.mark.parametrize("seed", [2029, 2041])
def test_a_log_without_room_for_its_end_twice_changes_hands(seed: int) -> None:
    """Members that died with different accepted ballots: whoever adopts must not need room for what it has, or nobody ever leads again who could make room."""
    Life(seed).run()
