"""What happens while a run of retention goes on: a retention is raised, the clock leaps, a restore begins or ends, somebody else verifies; and what others have said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.expire.plan import ARCHIVE, CHANGED, DAY_US, RESTORE, Need, PartPlan, Wanted
from scrubjay.archiver.expire.report import ExpireReport, PartOutcome
from scrubjay.archiver.expire.run import Expirer
from scrubjay.archiver.format.base import decode_base, encode_base
from scrubjay.archiver.format.layout import build, parse
from scrubjay.base.env import ListPage, ObjectStore
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.test_expire import Watched, check, one

ELSEWHERE = "11111111-2222-4333-8444-555555555555"
"""A partition of which nothing is in the archive: its turn comes first."""


def in_turn(world: ExpireWorld, then: Callable[[], None], *, closed_keep_us: int | None = None) -> ExpireReport:
    """A run over two partitions; `then` between them."""

    def progress(facts: dict[str, object]) -> None:
        if (facts["phase"], facts["done"]) == ("expire", 1):
            then()

    world.loop.now_us = world.now_us
    wanted: list[Wanted] = [world.wanted()._replace(partition=ELSEWHERE), world.wanted()]
    run = Expirer(replace(world.parts(), progress=progress), keep_us=None, attended=False).run(wanted, closed_keep_us=closed_keep_us)
    found: ExpireReport = world.loop.run(run)
    return found


def before_the_word(world: ExpireWorld, then: Callable[[], None]) -> ExpireReport:
    """A run in which `then` happens after the last look in front of the word, while it is asked whether this cluster still writes here."""

    async def assure(_store: ObjectStore) -> None:
        if not world.keys("expired"):
            then()

    world.writer.assure = assure
    return world.expire()


def test_a_retention_raised_while_others_have_their_turn_is_kept() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.keep_us = 2 * DAY_US
    assert one(world.plan()).lsn, "it would go"

    def raised() -> None:
        world.keep_us = 17 * DAY_US

    assert in_turn(world, raised).exit == 0
    assert not world.keys("expired")
    check(world)


def test_a_retention_raised_in_front_of_the_word_is_kept() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.keep_us = 2 * DAY_US

    def raised() -> None:
        world.keep_us = 17 * DAY_US

    report = before_the_word(world, raised)
    assert [held.by for held in report.outcomes[0].held] == [CHANGED]
    assert report.exit == 3
    assert not world.keys("expired")
    check(world)


def test_a_restore_that_begins_in_front_of_the_word_keeps_the_beginning() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    needed = world.now_us - 13 * DAY_US
    report = before_the_word(world, lambda: world.holds.append(Need(world.sample.table, needed, RESTORE, "copy")))
    assert report.exit == 3
    assert not world.keys("expired"), "the restore looks again, and must find what it planned by"
    assert world.restored(needed) == world.state_at(needed)


def test_a_clock_that_leaps_while_a_run_goes_on_ages_nothing() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)

    def leap() -> None:
        world.loop.now_us += 30 * DAY_US

    report = in_turn(world, leap)
    assert report.outcomes[1].deleted > 0
    check(world)


def test_a_clock_that_leaps_takes_no_closed_object_of_the_window() -> None:
    world = ExpireWorld()
    world.days(3)
    world.idle(60)
    world.keep_us = 40 * DAY_US
    young = [key for key in world.keys("closed") if parse(key).time_us >= world.now_us - world.keep_us]  # type: ignore[union-attr]

    def leap() -> None:
        world.loop.now_us += 30 * DAY_US

    assert in_turn(world, leap, closed_keep_us=world.keep_us).closed_deleted > 0
    assert set(young) <= set(world.keys("closed"))


@pytest.mark.slow
def test_a_need_that_ends_while_it_is_said_what_goes_is_no_fault_of_the_archive() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.holds = [Need(world.sample.table, world.now_us - 13 * DAY_US, RESTORE, "copy")]

    class Ends(Watched):
        async def put(self, key: str, data: bytes) -> None:
            world.holds = []
            await super().put(key, data)

    report = world.expire(Ends(world, []))
    assert ([held.by for held in report.outcomes[0].held], report.exit) == ([CHANGED], 3)
    check(world)
    again = world.expire()
    assert again.exit == 0
    assert again.outcomes[0].deleted > 0
    check(world)


def test_a_beginning_behind_what_this_cluster_archived_takes_nothing() -> None:
    """A copy of the cluster went on, took its own old history away, and was given up: what lies below may be the log that counts."""
    world = ExpireWorld()
    world.days(18, base_every=4)
    saved = {key: world.store.objects[key] for key in world.keys("log")[:6]}
    world.expire()
    world.store.objects.update(saved)
    begins = world.index.partitions[world.sample.table, world.sample.partition].beginning
    assert begins is not None
    report = world.expire(wanted=[world.wanted()._replace(archived=begins.lsn - 1)])
    assert [held.by for held in one(report).held] == [ARCHIVE]
    assert report.outcomes[0].deleted == 0
    assert set(saved) <= set(world.store.objects)


def other_base(world: ExpireWorld, plan: PartPlan) -> None:
    """A base at the same LSN, sound in itself, of another history."""
    assert plan.base is not None
    objects = world.store.objects
    where = build(plan.base.key(CLUSTER, world.sample.table, world.sample.partition))
    manifest = decode_base(objects[where], where=where)
    other = replace(manifest, chain=bytes(32), generation=2)
    for part in range(len(manifest.parts)):
        objects[build(other.key(part))] = objects[build(manifest.key(part))]
    objects[build(other.key())] = encode_base(other)


def test_the_rest_stands_on_the_base_of_the_history_that_counts() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    plan = one(world.plan())
    other_base(world, plan)
    assert one(world.plan()).base == plan.base


def test_a_log_of_which_nothing_is_left_goes_on_and_may_be_dropped() -> None:
    world = ExpireWorld()
    world.days(5, base_every=5)
    world.idle(12)
    assert world.expire().exit == 0
    assert world.keys("log") == []
    check(world)
    kept = dict(world.store.objects)
    world.days(2)
    check(world)

    dropped = ExpireWorld()
    dropped.days(5, base_every=5)
    dropped.idle(12)
    dropped.expire()
    assert set(dropped.store.objects) == set(kept)
    dropped.dropped_at_us = dropped.now_us
    dropped.idle(11)
    assert dropped.expire().exit == 0
    assert dropped.keys("base") == []
    assert dropped.index.partitions[dropped.sample.table, dropped.sample.partition].gone(), "it was said of the same LSN, twice"
    for offline in (False, True):
        assert dropped.verify(offline=offline).findings == []


def test_a_closed_object_that_the_store_refuses_to_delete_is_told() -> None:
    world = ExpireWorld()
    world.days(3)
    world.idle(60)
    store = Watched(world, [])
    store.locked = {world.keys("closed")[0]}
    report = world.expire(store)
    assert report.closed_deleted == len(report.closed) - 1
    assert report.exit == 3
    again = world.expire()
    assert (again.closed_deleted, again.exit) == (1, 0)


class Listed(Watched):
    """Some objects are there when they are listed, and gone when they are read."""

    async def list(self, prefix: str, **how: Any) -> ListPage:
        page = await super().list(prefix, **how)
        if "/closed/" in prefix:
            for key in self.locked:
                self.objects.pop(key, None)
        return page


def test_a_closed_object_that_expires_while_somebody_verifies_is_no_hole() -> None:
    for back, found in ((10, False), (1, True)):
        world = ExpireWorld()
        world.days(18)
        world.now_us += DAY_US // 4
        world.close()
        store = Listed(world, [])
        store.objects = world.store.objects
        lost = world.keys("closed")[-1 - back]
        store.locked = {lost}
        world.store = store
        report = world.verify("records", offline=True)
        assert lost not in store.objects
        assert [(one.kind, one.object) for one in report.findings] == ([("hole", lost)] if found else [])


def test_a_store_that_does_not_answer_is_told_before_what_is_refused() -> None:
    report = ExpireReport(0, None, True)
    plan = PartPlan(ExpireWorld().wanted(), 0, refused="two histories")
    report.outcomes = [PartOutcome(plan), PartOutcome(plan, error="the store does not answer")]
    assert report.exit == 1
    assert report.as_json()["error"]["code"] == "Unavailable"
    report.outcomes.pop()
    assert report.exit == 4
