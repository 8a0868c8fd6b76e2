"""Two whole control parts, each with router, durability services, folder and ledger of its own, over one metadata group and one archive: one works, the other says so and waits, and
takes over when the first dies, whatever it was at."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.writer import UNKNOWN
from scrubjay.base.errors import Unsafe
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.settings import DAY_US, JobSettings
from scrubjay.server.durability import Durability
from scrubjay.server.duty import BEAT_S, STALE_US, WAITS, WORKS
from scrubjay.server.health import Health
from scrubjay.sim.whole.churn import spec_of
from scrubjay.sim.whole.cluster import CLUSTER, WholeCluster
from scrubjay.sim.whole.commands import put
from scrubjay.sim.whole.run import AGENT, CONSENSUS, STORAGE
from scrubjay.sim.world import World, WorldHost
from scrubjay.storage.catalogue import TableMeta

SECOND = 1_000_000
TABLE = "twice"
OFTEN = JobSettings("*/30 * * * * *", DAY_US)
TAKEN_S = STALE_US / 1e6 + 2 * BEAT_S


class Pair:
    """first, other: their control hosts."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.cluster = WholeCluster(
            self.world, storage=STORAGE, consensus=CONSENSUS, agent=AGENT, wal_file_bytes=1 << 15, archive_wait_s=20.0, second=True
        )
        self.first, (self.other,) = self.cluster.control, self.cluster.others
        self.run(self.cluster.env, attach(self.cluster.look, self.cluster.env, cluster_id=CLUSTER, folder_is_new=True))
        for host in (*self.cluster.hosts, self.first):
            host.start()
        self.run(self.cluster.env, self.cluster.up())
        self.until(lambda: self.state(self.first) == WORKS)
        self.run(self.first.env, self.cluster.store.create_table(spec_of(TABLE)))
        self.until(lambda: not self.cluster.store.unhosted())
        answers: list[Any] = []
        for key in range(12):
            self.cluster.store.write(self.table(), put(key, key, blind=True), answers.append)
            self.until(lambda key=key: len(answers) > key)  # type: ignore[misc]
        self.other.start()
        self.until(lambda: self.state(self.other) is not None)

    def table(self) -> TableMeta:
        table = self.cluster.store.table(TABLE)
        assert table is not None
        return table

    def run(self, env: Any, work: Coroutine[Any, Any, Any]) -> Any:
        """In the life of one machine."""
        task = env.tasks.spawn(work, name="test")
        assert self.world.run(until_us=self.world.now + 900 * SECOND, stop=task.done), "it did not end in time"
        return task.result()

    def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        end = self.world.now + int(seconds * SECOND)
        while not holds():
            assert self.world.now < end, "it did not come about in time: " + "; ".join(self.cluster.lines[-5:])
            self.pass_time(0.05)

    def pass_time(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))

    def state(self, host: WorldHost) -> str | None:
        """None: its services are not up."""
        life = host.process
        return None if life is None or life.durability is None else life.durability.duty.state

    def of(self, host: WorldHost) -> Durability:
        found: Durability = host.process.durability
        return found

    def health(self, host: WorldHost) -> Any:
        """What `status` of that process says."""
        found: Health = host.process.health
        return self.run(host.env, found.status())

    def said(self, words: str) -> list[str]:
        return [line for line in self.cluster.lines if words in line]

    def begins(self, host: WorldHost) -> int:
        """Scrubs that a process has begun."""
        return len([line for line in self.said("scrub begins") if line.startswith("other: ") == (host is self.other)])

    def often(self) -> None:
        self.run(self.first.env, self.of(self.first).schedule.set("scrub", OFTEN))


@pytest.mark.slow
def test_one_works_and_the_other_says_so_and_waits() -> None:
    pair = Pair()
    pair.often()
    pair.pass_time(240.0)
    assert (pair.state(pair.first), pair.state(pair.other)) == (WORKS, WAITS)
    assert pair.said("another durability process") == ["other: another durability process works; this one waits"]
    assert pair.begins(pair.first) >= 3
    assert pair.begins(pair.other) == 0
    assert pair.health(pair.first)["durability"] == WORKS
    assert pair.health(pair.other)["durability"] == WAITS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_the_other_takes_over_after_a_kill_at_any_step_and_the_work_goes_on(seed: int) -> None:
    """The first is killed at a drawn moment of a scrub: sealing, pinning, reading, noting, or behind it. Back again, it waits."""
    pair = Pair(seed)
    pair.often()
    pair.until(lambda: pair.begins(pair.first) > 0, seconds=90.0)
    pair.pass_time(pair.world.stream("kill").between(0, 1_500) / 1000)
    pair.first.crash(power=bool(seed % 2))
    killed_us = pair.world.now
    pair.until(lambda: pair.state(pair.other) == WORKS, seconds=TAKEN_S)
    assert pair.world.now - killed_us >= STALE_US - BEAT_S * SECOND, "the first may still have lived"
    pair.until(lambda: bool(pair.said("other: scrub ended: match")), seconds=300.0)
    before = pair.begins(pair.first)
    pair.first.start()
    pair.until(lambda: pair.state(pair.first) is not None)
    others = pair.begins(pair.other)
    pair.pass_time(120.0)
    assert (pair.state(pair.first), pair.state(pair.other)) == (WAITS, WORKS)
    assert pair.begins(pair.first) == before
    assert pair.begins(pair.other) > others


@pytest.mark.slow
def test_a_restore_that_a_killed_process_left_is_carried_on_by_the_other_and_by_it_alone() -> None:
    pair = Pair()
    first = pair.of(pair.first)
    pair.until(lambda: first.window(pair.table()) is not None)
    asked = first.restore(pair.table(), "back", at_us=None, overrides={})
    pair.run(pair.first.env, asked)
    assert (first.restorer.status("back") or {})["state"] == "running"
    pair.first.crash(power=False)
    pair.until(lambda: pair.state(pair.other) == WORKS, seconds=TAKEN_S)
    pair.until(lambda: (pair.of(pair.other).restorer.status("back") or {}).get("state") == "published", seconds=300.0)
    pair.pass_time(5.0)
    assert len(pair.said("restore of twice to back")) == 1


@pytest.mark.slow
def test_who_waits_carries_on_nothing_that_the_first_is_at() -> None:
    """It starts while a restore of the first is under way, and reads of it in the metadata: that is the first one's, for as long as it lives."""
    pair = Pair()
    first = pair.of(pair.first)
    pair.until(lambda: first.window(pair.table()) is not None)
    pair.other.crash(power=False)
    pair.run(pair.first.env, first.restore(pair.table(), "back", at_us=None, overrides={}))
    pair.other.start()
    pair.until(lambda: pair.state(pair.other) is not None)
    assert (first.restorer.status("back") or {})["state"] == "running", "it is over too soon to prove anything"
    assert pair.state(pair.other) == WAITS
    waiting = pair.of(pair.other).restorer
    assert (waiting.status("back") or {})["state"] == "running", "nothing failed: the other process is at it"
    assert pair.run(pair.other.env, waiting.resume("back"))["state"] == "running"
    again = waiting.start(pair.table(), "back", RestoreTarget(latest=True))
    assert pair.run(pair.other.env, again)["state"] == "running", "the same words, asked of the wrong one"
    with pytest.raises(Unsafe, match="another durability process runs it"):
        pair.run(pair.other.env, waiting.cancel("back"))
    pair.until(lambda: (first.restorer.status("back") or {}).get("state") == "published", seconds=300.0)
    pair.pass_time(60.0)
    assert not pair.said("other: restore"), "it has carried on with it too"


@pytest.mark.slow
def test_who_was_paused_takes_nobody_for_a_stranger_and_claims_anew_when_it_works_again() -> None:
    """It would be told of its successor's claim by the archive, before it has read in the metadata whose that is; and two of one cluster would write under one epoch."""
    pair = Pair()
    first, other = pair.first.process, pair.other.process
    pair.first.life.pause()
    pair.until(lambda: pair.state(pair.other) == WORKS and not other.writer.state, seconds=TAKEN_S)
    pair.cluster.archive.faults.delay_us = (1_000, 1_000)
    pair.first.life.resume()
    pair.until(lambda: pair.state(pair.first) == WAITS)
    pair.pass_time(40.0)
    assert first.writer.state == UNKNOWN, "who waits writes nothing"
    assert [agent.writer.attached.epoch for agent in pair.cluster.agents.values()] == [2] * 3
    pair.other.crash(power=False)
    pair.until(lambda: pair.state(pair.first) == WORKS, seconds=TAKEN_S)
    pair.pass_time(20.0)
    assert first.writer.attached.epoch == 3
    assert [agent.writer.attached.epoch for agent in pair.cluster.agents.values()] == [3] * 3


def test_a_planned_stop_hands_over_at_once() -> None:
    pair = Pair()
    pair.run(pair.first.env, pair.of(pair.first).quiet())
    pair.until(lambda: pair.state(pair.other) == WORKS, seconds=2 * BEAT_S)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_what_one_packed_half_the_other_packs_on_and_two_at_once_make_the_same(seed: int) -> None:
    """The first is killed at a drawn moment of a run of compaction, the other goes on; then both do it at once, as one that was stalled and does not know."""
    pair = Pair(seed)
    answers: list[Any] = []
    for key in range(6):
        pair.pass_time(STORAGE.seal_age_us / SECOND + 0.2)
        pair.cluster.store.write(pair.table(), put(key, key + 100, blind=True), answers.append)
    pair.until(lambda: len(answers) == 6)
    pair.until(lambda: not pair.cluster.store.unarchived_bytes())
    for host in pair.world.hosts.values():
        host.clock.jump(2 * 86_400_000_000)

    def packs(host: WorldHost, *, confirm: bool = True) -> Any:
        return pair.of(host).compact.compact(tables=None, confirm=confirm, progress=lambda _facts: None)

    plan = pair.run(pair.first.env, packs(pair.first, confirm=False))
    assert plan["totals"]["segments"] >= 5, plan
    pair.first.env.tasks.spawn(packs(pair.first), name="packs")
    pair.pass_time(pair.world.stream("kill").between(0, 1_500) / 1000)
    pair.first.crash(power=bool(seed % 2))
    pair.until(lambda: pair.state(pair.other) == WORKS, seconds=TAKEN_S)
    pair.first.start()
    pair.until(lambda: pair.state(pair.first) is not None)
    pair.until(lambda: not pair.other.process.writer.state)
    pair.first.process.writer.claimed(pair.other.process.writer.attached)  # one that was stalled still writes under what it claimed
    both = [host.env.tasks.spawn(packs(host), name="packs") for host in (pair.first, pair.other)]
    pair.until(lambda: all(one.done() for one in both), seconds=300.0)
    exits = sorted(one.result()["exit"] for one in both)
    assert exits[0] == 0, [one.result() for one in both]
    left = pair.run(pair.other.env, packs(pair.other))
    assert left["exit"] == 0, left
    left = pair.run(pair.other.env, packs(pair.other, confirm=False))
    assert (left["totals"]["objects_saved"], left["totals"]["unnamed"]) == (0, 0), left
    verify = pair.of(pair.other).verify.verify(tables=None, level="replayed", budget_us=None, max_age_us=0, progress=lambda _facts: None)
    report = pair.run(pair.other.env, verify)
    assert report["verdict"] == "match", report
