"""Which time counts: a machine that boots with its clock ahead, a cluster that was off for a while, and what neither makes older."""

from __future__ import annotations

import pytest

from scrubjay.archiver.expire.lived import Lived, lived
from scrubjay.archiver.expire.plan import DAY_US, KEEP_MAX_US
from scrubjay.archiver.format.layout import ClosedKey, build, parse
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER, START_US
from tests.unit.archiver.test_expire import check


def saw(*days: float, now: float, nodes: tuple[str, ...] = ("n1",)) -> Lived:
    """What closed objects of these days, in turn of these nodes, witness on that day."""
    world = ExpireWorld()
    for number, day in enumerate(days):
        key = ClosedKey(CLUSTER, nodes[number % len(nodes)], START_US + round(day * DAY_US))
        world.store.objects[build(key)] = b"named so"
    found: Lived = world.loop.run(lived(world.store, CLUSTER, now_us=START_US + round(now * DAY_US), keep_us=KEEP_MAX_US))
    return found


def test_a_time_in_which_somebody_published_every_day_counts() -> None:
    assert saw(*range(100), now=100) == Lived(0)
    assert saw(*range(100), now=100, nodes=("n1", "n2", "n3")) == Lived(0), "whoever it was"
    assert saw(3, 3.5, now=4) == Lived(0)


@pytest.mark.parametrize("leap", [2, 3.5, 9, 40, 69])
def test_a_leap_does_not_count_whatever_was_published_behind_it(leap: float) -> None:
    before = [day / 2 for day in range(160)]
    for behind in ([], [79.5 + leap], [79.5 + leap + day / 4 for day in range(8)]):
        found = saw(*before, *behind, now=80 + leap)
        assert leap * DAY_US <= found.unlived_us + DAY_US // 2
        assert found.unlived_us <= (leap + 2) * DAY_US
        assert found.doubt is None


def test_what_lies_ahead_of_the_clock_is_no_witness() -> None:
    assert 9 * DAY_US <= saw(0, 1, 2, 50, now=12).unlived_us <= 11 * DAY_US
    assert saw(50, now=12).doubt is not None
    assert saw(now=12).doubt is not None


def test_a_leap_of_which_no_beginning_is_seen_is_refused() -> None:
    assert saw(*range(10), now=100).doubt is not None
    assert saw(*range(10), *range(100, 130), now=130).doubt is not None
    assert saw(*range(10), *range(100, 136), now=136) == Lived(0), "it is over once it is older than every window"


@pytest.mark.parametrize("gap", [1.1, 1.5, 1.9])
def test_what_tells_where_a_gap_begins_stays_for_the_next_look(gap: float) -> None:
    """Closed objects go by what is found here: one gap that is seen from inside and missed from in front of it must not leave itself without a beginning."""
    world = ExpireWorld()
    hours = [hour / 24 for hour in range(24 * 10) if not 1 < hour / 24 < 1 + gap]
    at = {START_US + round(day * DAY_US): build(ClosedKey(CLUSTER, "n1", START_US + round(day * DAY_US))) for day in hours}
    world.store.objects.clear()  # the world's own first closed object would be a beginning for ever
    world.store.objects[build(ClosedKey(CLUSTER, "n0", START_US - 20 * DAY_US))] = b"left of a node that went long ago"
    world.store.objects.update(dict.fromkeys(at.values(), b"named so"))
    for step in range(60):
        now_us, keep_us = START_US + round((5.9 + step / 20) * DAY_US), 5 * DAY_US
        found: Lived = world.loop.run(lived(world.store, CLUSTER, now_us=now_us, keep_us=keep_us))
        assert found.doubt is None, step
        for time_us, key in at.items():
            if time_us < now_us - found.unlived_us - keep_us:
                world.store.objects.pop(key, None)


def test_what_is_left_of_a_node_that_went_long_ago_is_no_gap() -> None:
    """Its newest closed objects stay, those of the others went."""
    assert saw(*[day / 8 for day in range(32)], *range(30, 66), now=65) == Lived(0)


def test_a_machine_that_boots_with_its_clock_ahead_takes_nothing_of_the_window() -> None:
    """Its own closed objects stand behind the leap, over any number of restarts."""
    world = ExpireWorld()
    world.days(18, base_every=4)
    right_us = world.now_us
    kept = set(world.keys("log") + world.keys("base"))
    may_go = {key for key, _ in world.plan().outcomes[0].plan.objects}
    for leap in (12, 5):
        world.now_us += leap * DAY_US
        for _ in range(3):
            world.close()
            world.now_us += 60_000_000
        report = world.expire()
        assert report.exit == 0
        assert report.lived.unlived_us >= leap * DAY_US
        assert kept - may_go <= set(world.store.objects)
    ahead = {key for key in world.keys("closed") if parse(key).time_us > right_us}  # type: ignore[union-attr]
    for key in ahead:
        del world.store.objects[key]
    world.now_us = right_us
    world.index = world.new_index()
    check(world)


def test_a_machine_that_is_months_ahead_is_refused_by_name() -> None:
    world = ExpireWorld()
    world.days(18, base_every=4)
    kept = set(world.store.objects)
    world.now_us += 90 * DAY_US
    world.close()
    report = world.expire()
    assert report.exit == 4
    answer = report.as_json()
    assert answer["error"]["code"] == "Unsafe"
    assert "this machine's clock" in answer["error"]["message"]
    assert kept <= set(world.store.objects)


@pytest.mark.parametrize("off", [12, 90])
def test_whoever_confirms_vouches_for_the_clock(off: int) -> None:
    """The cluster was off, and what it wrote before is as old as it is: the plan says what it goes by."""
    world = ExpireWorld()
    world.days(18, base_every=4)
    world.now_us += off * DAY_US
    world.close()
    alone, plan = world.plan(), world.plan(attended=True)
    assert (plan.exit, plan.lived.unlived_us > 0 or plan.lived.doubt is not None) == (0, True)
    assert plan.as_json()["error"] is None
    assert plan.as_json()["clock"] == plan.lived.doubt
    assert len(plan.outcomes[0].plan.objects) > sum(len(one.plan.objects) for one in alone.outcomes)
    done = world.expire(attended=True)
    assert (done.exit, done.outcomes[0].deleted) == (0, len(plan.outcomes[0].plan.objects))
    check(world)


@pytest.mark.slow
def test_after_a_while_off_everything_goes_on_by_itself() -> None:
    world = ExpireWorld()
    world.keep_us = 5 * DAY_US
    world.days(12, base_every=2)
    world.now_us += 6 * DAY_US
    world.close()
    assert world.expire().lived.unlived_us > 0
    world.days(80, writes=1, base_every=10)
    report = world.expire()
    assert report.lived == Lived(0)
    assert report.outcomes[0].deleted > 0
    check(world)


def test_a_leap_that_the_server_saw_ages_nothing_where_nobody_confirms() -> None:
    """One of less than a day leaves no trace in the archive."""
    world = ExpireWorld()
    world.days(11, base_every=1)
    world.idle(2)
    true = world.plan().outcomes[0].plan
    assert true.lsn > 0
    world.now_us += 20 * DAY_US // 24
    assert world.plan(ahead_us=20 * DAY_US // 24).outcomes[0].plan.keep_from_us == true.keep_from_us
    assert world.plan(ahead_us=20 * DAY_US // 24, attended=True).outcomes[0].plan.keep_from_us > true.keep_from_us
