"""The nemesis keeps to what a cluster claims to survive: two faults one after the other, with healing between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.archiver.write.attach import attach
from scrubjay.base.ids import PartitionId
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.sim.whole.commands import put
from scrubjay.sim.whole.copies import Copies, CopyReach
from scrubjay.sim.whole.run import TABLE, WholeRun
from scrubjay.storage.catalogue import TableMeta

SECOND = 1_000_000


class Staged:
    """One cluster with one table, and the nemesis of its run, which strikes when the test says so."""

    def __init__(self) -> None:
        self.run = WholeRun(1, calm=True)
        self.cluster, self.nemesis = self.run.cluster, self.run.nemesis
        self.nemesis.kinds = ["amnesia"]

    @property
    def table(self) -> TableMeta:
        found = self.cluster.store.table(TABLE)
        assert found is not None
        return found

    @property
    def partition(self) -> PartitionId:
        return PartitionId(self.table.partitions[0].partition_id)

    async def begin(self) -> None:
        await attach(self.cluster.look, self.cluster.env, cluster_id=CLUSTER, folder_is_new=True)
        self.cluster.start()
        await self.cluster.up()
        await self.cluster.ask(self.cluster.store.create_table(spec_of(TABLE)), seconds=60.0)
        await self.until(lambda: self.cluster.leader(self.partition) is not None)

    async def until(self, holds: Callable[[], bool]) -> None:
        end = self.run.world.now + 60 * SECOND
        key = 0
        while not holds():
            assert self.run.world.now < end, "it did not come about in time"
            self.cluster.store.write(self.table, put(key % 5, key, blind=True), lambda _answer: None)
            key += 1
            await self.cluster.env.tasks.sleep(0.02)

    async def left_behind(self) -> tuple[Any, Any]:
        """One copy is down, and what it lacks is in no log any more; the nemesis has its eye on another. (the host that is away, the victim)."""
        await self.begin()
        leader = self.cluster.leader(self.partition)
        assert leader is not None
        away, victim = [host for host in self.cluster.hosts if host.name != leader.node.name]
        self.nemesis.victim = victim.name
        group = away.process.node.replicas[self.partition].group
        away.crash(power=True)
        await self.until(lambda: leader.group is not None and leader.group.log.first > group.log.last + 1)
        return away, victim

    def states(self) -> set[str]:
        """Of the copies of all partitions; writes go on all the while."""
        partitions = (*self.cluster.system.partitions, *self.table.partitions)
        return {copy.state for info in partitions for copy in self.cluster.service.copies(PartitionId(info.partition_id))}

    def struck(self) -> tuple[int, int]:
        return self.run.result.faults.get("amnesia", 0), self.run.result.faults.get("losses put off", 0)


@pytest.mark.slow
def test_no_log_is_taken_while_another_copy_is_left_behind() -> None:
    staged = Staged()
    cluster, nemesis = staged.cluster, staged.nemesis

    async def body() -> None:
        away, victim = await staged.left_behind()
        await nemesis.strike()
        assert staged.struck() == (0, 1), "it is down, and what it lacks is in no log any more"
        away.start()
        await staged.until(lambda: "behind" in staged.states())
        await nemesis.strike()
        assert staged.struck() == (0, 2)
        assert victim.up
        await staged.until(lambda: staged.states() == {"ok"})
        await nemesis.strike()
        assert staged.struck() == (1, 2), "healed: the next fault may come"

    task = cluster.env.tasks.spawn(body(), name="staged")
    assert staged.run.world.run(until_us=300 * SECOND, stop=task.done), "the story did not end"
    task.result()


@pytest.mark.parametrize(
    ("copy", "follows"),
    [
        (CopyReach(first=1, chosen=9, committed=3, accepted=7, behind=False), True),
        (CopyReach(first=1, chosen=8, committed=8, accepted=7, behind=False), False),
        (CopyReach(first=1, chosen=9, committed=3, accepted=6, behind=False), False),
        (CopyReach(first=1, chosen=9, committed=9, accepted=6, behind=False), True),
        (CopyReach(first=1, chosen=9, committed=9, accepted=7, behind=True), False),
    ],
    ids=["reaches", "a record short", "of another ballot and not in its tree", "of another ballot and in its tree", "waits for a heal"],
)
def test_whom_a_log_reaches(copy: CopyReach, *, follows: bool) -> None:
    assert copy.follows(CopyReach(first=10, chosen=20, committed=18, accepted=7, behind=False)) is follows


def test_it_is_that_rule_alone_which_puts_the_loss_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the metadata group's log is taken for good while another copy of it is left behind, no quorum can be led, and nobody heals who is behind."""
    monkeypatch.setattr(Copies, "unhealed", lambda _copies, without: "")
    staged = Staged()
    cluster, nemesis = staged.cluster, staged.nemesis

    async def body() -> None:
        await staged.left_behind()
        await nemesis.strike()
        assert staged.struck() == (1, 0)

    task = cluster.env.tasks.spawn(body(), name="staged")
    assert staged.run.world.run(until_us=300 * SECOND, stop=task.done), "the story did not end"
    task.result()


def test_wall_clocks_stay_as_far_apart_as_they_were_set_whatever_their_rates() -> None:
    """A run that takes minutes to converge had them drift beyond what nodes accept of each other: one got no leases any more, and fell behind."""
    staged = Staged()
    world, hosts = staged.run.world, staged.cluster.hosts
    hosts[0].clock.jump(100_000)
    for host, ppm in zip(hosts, (2_000, -2_000), strict=False):
        host.clock._rate += ppm
    boot = hosts[0].clock.boot_us()
    staged.cluster.env.tasks.spawn(staged.nemesis.keep_clocks(), name="clocks")
    world.run(until_us=600 * SECOND)
    off = [host.clock.wall_us() - staged.cluster.env.clock.wall_us() for host in hosts]
    assert 100_000 <= off[0] <= 105_000
    assert -5_000 <= off[1] <= 0
    assert off[2] == 0
    assert hosts[0].clock.boot_us() - boot == 601_200_000
