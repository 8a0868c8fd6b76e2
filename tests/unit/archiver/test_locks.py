"""Retention over a store that locks: what must stay is always locked, nothing that is locked is tried in vain, and what may go goes once its lock has ended."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrubjay.archiver.expire.locks import FOREVER, Extend, LockBook, LockRanges, NeededUntil
from scrubjay.archiver.expire.plan import DAY_US, LOCK, PIN
from scrubjay.archiver.expire.report import DONE, INCOMPLETE, REFUSED, ExpireReport
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, parse
from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import stamp_of
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.test_pins import pinned


def needed(world: ExpireWorld, oldest_us: int) -> list[str]:
    """Objects without which a moment since then cannot be restored, by the truth and the names alone."""
    begun = sum(1 for one in world.sample.records if one.stamp <= stamp_of(oldest_us))
    bases = [key.lsn for key in map(parse, world.keys("base")) if isinstance(key, BaseKey) and key.lsn <= begun]
    base = max(bases, default=0)
    found = [name for name in world.keys("base") if isinstance(key := parse(name), BaseKey) and key.lsn == base]
    return found + [name for name in world.keys("log") if isinstance(key := parse(name), SegmentKey) and key.last > base]


def assert_locked(world: ExpireWorld, oldest_us: int) -> None:
    bucket = world.store._store
    for name in needed(world, oldest_us):
        assert bucket.objects[name].locked_until_us > world.now_us, f"{name} is needed and not locked"


def foreseen(report: ExpireReport) -> list[int]:
    return [held.until_us or 0 for one in report.outcomes for held in one.plan.held if held.by == LOCK]


@pytest.mark.slow
@pytest.mark.parametrize("base_every", [1, 5, 20])
def test_100_days_of_a_window_of_eight_in_a_store_that_locks(base_every: int) -> None:
    """As many windows as 400 days are of 35. Nights without one refusal: what is needed is locked, what goes is not, and no more is stored than the lock asks for."""
    world = ExpireWorld(seed=11, keys=20)
    world.keep_us = 8 * DAY_US
    world.lock(11)
    draw = random.Random(7)
    spent = world.store._store.requests
    deleted = 0
    for day in range(1, 101):
        world.days(1, writes=1, base_every=base_every if base_every == 1 else 0)
        if base_every > 1 and day % base_every == 0:
            world.base()
        plan = world.plan() if day % 5 == 0 else None
        report = world.expire()
        assert report.exit == DONE, report.as_json()
        assert not any(one.held for one in report.outcomes), "something was tried in vain"
        if plan is not None:
            assert len(plan.outcomes[0].plan.objects) == report.outcomes[0].deleted
            assert foreseen(plan) == foreseen(report)
        deleted += report.outcomes[0].deleted
        if day % 5 == 0 and day > base_every:
            assert_locked(world, world.now_us - world.keep_us)
        if day % 20 == 0:
            earliest, latest = world.window()
            assert earliest is not None
            assert latest is not None
            oldest = max(world.now_us - world.keep_us, earliest)
            assert earliest <= world.now_us - world.keep_us or day <= 2 * base_every
            for at_us in (oldest, draw.randrange(oldest, latest), latest):
                assert world.restored(at_us) == world.state_at(at_us)
    days = {1: 13, 5: 18, 20: 35}[base_every]
    assert len(world.keys("log")) <= 2 * (days + 1)
    assert deleted >= 100
    assert len(world.keys("closed")) <= 32 + 11
    assert len(world.keys("expired")) <= 14
    # For identity, epoch and the last word now and then, and of each object that is needed for longer than its first lock once in a lock.
    assert spent.retain <= {1: 400, 5: 600, 20: 800}[base_every]


@pytest.mark.slow
def test_what_lies_below_the_window_stays_locked_and_is_asked_about_once_in_a_lock() -> None:
    world = ExpireWorld()
    world.lock(8)
    world.keep_us = 5 * DAY_US
    world.days(10, base_every=5)
    world.expire()
    begun = world.store._store.requests.retain
    objects = len(world.keys("log")) + len(world.keys("base"))
    for _ in range(40):
        world.idle(1)
        assert world.expire().exit == DONE
        assert_locked(world, world.now_us - world.keep_us)
    asked = world.store._store.requests.retain - begun
    assert asked <= (objects + 4) * (40 / 5 + 1)
    world.days(1)
    world.base()
    world.idle(5)
    (until,) = foreseen(world.expire())
    before = world.window()[0]
    assert before is not None
    while world.now_us + DAY_US < until:
        world.idle(1)
        assert foreseen(world.expire()) == [until]
    assert world.window()[0] == before, "it can be restored for as long as it is there"
    world.idle(1)
    report = world.expire()
    assert (report.exit, foreseen(report)) == (DONE, [])
    assert report.outcomes[0].deleted > 0, "it goes when the plan said"


@pytest.mark.slow
def test_what_a_backup_needs_stays_locked_until_the_backup_is_deleted() -> None:
    world = ExpireWorld()
    world.lock(13)
    world.days(13, base_every=4)
    at_us = world.now_us - 2 * DAY_US
    then = world.state_at(at_us)
    where = pinned(world, at_us)
    for _ in range(12):
        world.days(5, writes=2, base_every=5)
        report = world.expire()
        assert report.exit == DONE
        assert_locked(world, at_us)
    assert {one.by for one in report.outcomes[0].plan.held} >= {PIN}
    assert world.restored(at_us) == then
    del world.store.objects[where]
    plan = world.plan()
    until = foreseen(plan)
    assert plan.exit == DONE
    assert len(until) == 1
    assert world.now_us < until[0] <= world.now_us + 14 * DAY_US
    held = plan.as_json()["tables"][0]["held"][-1]
    assert held["by"] == LOCK
    assert held["until"] is not None
    assert held["objects"] > 10
    world.idle((until[0] - world.now_us) // DAY_US + 1)
    report = world.expire()
    assert (report.exit, foreseen(report)) == (DONE, [])
    assert report.outcomes[0].deleted >= held["objects"]


def test_a_window_that_was_lengthened_is_locked_to_its_end() -> None:
    world = ExpireWorld()
    world.lock(6)
    world.keep_us = 3 * DAY_US
    world.days(5, base_every=2)
    world.expire()
    world.keep_us = 20 * DAY_US
    oldest_us = world.now_us - 3 * DAY_US
    for _ in range(15):
        world.days(1, base_every=1)
        assert world.expire().exit == DONE
        assert_locked(world, oldest_us)


def test_what_was_put_before_there_was_a_lock_is_locked_by_the_first_run() -> None:
    world = ExpireWorld()
    world.days(6, base_every=3)
    world.lock(13, known=False)
    report = world.expire()
    assert report.locks is not None
    assert report.locks.complete
    assert report.locks.asked >= len(world.keys("log"))
    assert_locked(world, world.now_us - world.keep_us)
    identity = next(name for name in world.store.objects if name.endswith("/identity"))
    assert world.store._store.objects[identity].locked_until_us > world.now_us
    asked = report.locks.asked
    again = world.expire()
    assert again.locks is not None
    assert again.locks.asked < asked / 4, "what was learned is not asked again"


def test_a_store_that_does_not_lock_is_told_and_retention_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ExpireWorld()
    world.lock(6, known=False)
    world.days(5, base_every=5)
    world.days(3)

    async def refuse(key: str, until_us: int) -> int:
        raise Unavailable("the object store refuses the credentials", key=key, error_code="CredentialsRefused")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "retain", refuse)
        report = world.expire()
    assert report.exit == INCOMPLETE
    assert report.locks is not None
    assert report.locks.error is not None
    assert "refuses the credentials" in report.locks.error
    assert report.locks.failed <= 8, "a store that refuses is not asked of every object"
    assert not report.locks.complete
    assert report.as_json()["locks"]["due"] > 16
    assert world.expire().exit == DONE
    assert_locked(world, world.now_us - world.keep_us)


def test_in_doubt_about_the_clock_nothing_goes_and_locks_are_extended_all_the_same() -> None:
    world = ExpireWorld()
    world.lock(6)
    world.keep_us = 3 * DAY_US
    world.days(4, base_every=4)
    for key in world.keys("closed"):
        del world.store._store.objects[key]
    world.now_us += 4 * DAY_US
    report = world.expire()
    assert report.exit == REFUSED
    assert report.doubted
    assert_locked(world, world.now_us - world.keep_us)
    assert report.locks is not None
    assert report.locks.asked > 0


def test_a_refusal_that_was_not_foreseen_is_tried_once() -> None:
    world = ExpireWorld()
    world.lock(3)
    world.keep_us = 3 * DAY_US
    world.days(12, base_every=3)
    bucket = world.store._store
    some = world.keys("log")[2:5]
    for key in some:
        bucket.objects[key].locked_until_us = world.now_us + 3 * DAY_US  # somebody locked it by hand
    report = world.expire()
    assert report.exit == INCOMPLETE
    assert {one.name for one in report.outcomes[0].held} == set(some)
    tried = bucket.requests.delete
    again = world.expire()
    assert again.exit == DONE
    assert bucket.requests.delete == tried
    (until,) = foreseen(again)
    assert until == world.now_us + 3 * DAY_US
    world.idle(4)
    assert world.expire().exit == DONE
    assert not set(some) & set(world.store.objects)


def test_a_dropped_table_goes_when_its_locks_have_ended() -> None:
    world = ExpireWorld()
    world.lock(15)
    world.days(4, base_every=2)
    world.dropped_at_us = world.now_us
    world.idle(11)
    report = world.expire()
    (until,) = foreseen(report)
    assert report.exit == DONE
    assert report.outcomes[0].deleted == 0
    assert world.now_us < until <= world.now_us + 5 * DAY_US
    assert not report.outcomes[0].nothing_left
    world.idle((until - world.now_us) // DAY_US + 1)
    report = world.expire()
    assert (report.exit, foreseen(report)) == (DONE, [])
    assert report.outcomes[0].deleted > 0
    assert not world.keys("log")
    assert world.expire().outcomes[0].nothing_left


def test_no_more_is_locked_than_until_what_is_known_of_its_end() -> None:
    """A base in the window says when what lies below it goes: locked until then, and not for a whole lock more."""
    world = ExpireWorld()
    world.lock(6)
    world.keep_us = 10 * DAY_US
    for _ in range(10):
        world.days(1, base_every=1)
        world.expire()
    bucket = world.store._store
    ends = [bucket.objects[key].locked_until_us for key in world.keys("log")[:8]]
    assert max(ends) <= world.now_us + 4 * DAY_US + DAY_US // 2


@pytest.mark.parametrize(
    ("key", "until"),
    [
        (SegmentKey("c", "t", "p", 1, 10, 1, "0" * 16, False), 100),
        (SegmentKey("c", "t", "p", 11, 20, 1, "0" * 16, False), 200),
        (SegmentKey("c", "t", "p", 21, 30, 1, "0" * 16, True), FOREVER),
        (BaseKey("c", "t", "p", 10, 1, "0" * 16, None), 200),
        (BaseKey("c", "t", "p", 20, 1, "0" * 16, 3), FOREVER),
        (BaseKey("c", "t", "p", 5, 1, "0" * 16, 3), 100),
    ],
)
def test_when_an_object_is_needed_no_more(key: SegmentKey | BaseKey, until: int) -> None:
    needed_until = NeededUntil((10, 20), (100, 200))
    assert needed_until.of(key) == until
    assert needed_until._replace(pinned=0).of(key) == FOREVER
    assert needed_until._replace(all_us=7).of(key) == 7
    place = key.last if isinstance(key, SegmentKey) else key.lsn
    by_pin = needed_until._replace(pinned=10).of(key)
    assert (by_pin == FOREVER) == (place > 10 or until == FOREVER or (isinstance(key, BaseKey) and place == 10))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 9)), max_size=20), st.integers(0, 45))
def test_ranges_are_a_map_from_places(notes: list[tuple[int, int, int]], upto: int) -> None:
    ranges, model = LockRanges(), {}
    for lo, more, until in notes:
        ranges.note(lo, lo + more, until)
        model.update(dict.fromkeys(range(lo, lo + more + 1), until))
    assert {place: ranges.until(place) for place in range(45)} == {place: model.get(place, 0) for place in range(45)}
    assert ranges.first_held(5) == min((place for place, until in model.items() if until > 5), default=None)
    assert ranges.last_end(upto) == max((until for place, until in model.items() if place <= upto), default=0)
    ranges.forget(5)
    assert {place: ranges.until(place) for place in range(45)} == {
        place: model[place] if model.get(place, 0) > 5 else 0 for place in range(45)
    }


def test_only_neighbours_become_one_range() -> None:
    book = LockBook(100)

    def log(last: int) -> str:
        return f"{'0' * 8}-0000-0000-0000-{'0' * 12}/t={'0' * 8}-0000-0000-0000-{'0' * 12}/p={'0' * 8}-0000-0000-0000-{'0' * 12}/log/{last:016x}-{last:016x}.1.{'0' * 16}.seg"

    book.learn([Extend(log(1), 9), Extend(log(3), 8, True), Extend(log(5), 8, False), None, Extend(log(9), 7, True)])
    assert [book.until(log(place)) for place in range(1, 11)] == [8, 8, 8, 0, 8, 0, 0, 0, 7, 0]
