"""The hybrid clock: it rises, keeps below what is durable, and goes on from there after a restart."""

from __future__ import annotations

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import HybridClock, stamp_micros, stamp_of
from scrubjay.base.ids import Stamp

WALL = 1_800_000_000_000_000


def clock(reserved_us: int = 1_000_000) -> HybridClock:
    made = HybridClock(max_offset_us=500_000)
    made.reserved(stamp_of(WALL + reserved_us), took_us=0)
    return made


def test_stamps_rise_within_one_microsecond_and_when_the_wall_clock_steps_back() -> None:
    made = clock()
    stamps = [made.tick(wall) for wall in (WALL, WALL, WALL + 5, WALL - 100_000, WALL + 5)]
    assert stamps == sorted(set(stamps))
    assert stamp_micros(stamps[0]) == WALL


def test_no_stamp_leaves_above_what_is_durable() -> None:
    made = clock(reserved_us=10)
    assert made.tick(WALL + 9)
    with pytest.raises(Unavailable):
        made.tick(WALL + 11)
    assert made.read(WALL + 1_000) == made.reservation, "nor is one named in a grant"
    made.reserved(stamp_of(WALL + 5), took_us=0)
    assert made.reservation == stamp_of(WALL + 10), "a reservation never shrinks"


def test_a_restarted_clock_goes_on_behind_its_reservation() -> None:
    again = HybridClock(reservation=stamp_of(WALL + 700_000), max_offset_us=500_000)
    with pytest.raises(Unavailable):
        again.tick(WALL)
    again.reserved(stamp_of(WALL + 2_000_000), took_us=0)
    assert again.tick(WALL) > stamp_of(WALL + 700_000)


def test_a_stamp_seen_elsewhere_raises_the_clock_and_never_lowers_it() -> None:
    made = clock()
    seen = stamp_of(WALL + 400_000)
    assert made.merge(seen, WALL)
    assert made.merge(stamp_of(WALL - 5), WALL)
    assert made.tick(WALL) > seen
    assert not made.merge(stamp_of(WALL + 500_001), WALL), "too far ahead"
    assert made.latest < stamp_of(WALL + 500_001)


def test_what_is_wanted_reaches_beyond_the_wall_clock_and_beyond_the_latest_stamp() -> None:
    made = HybridClock()
    assert made.wants_reservation(WALL) == stamp_of(WALL + HybridClock.RESERVE_AHEAD_US)
    made.reserved(stamp_of(WALL + HybridClock.RESERVE_AHEAD_US), took_us=0)
    assert made.wants_reservation(WALL) is None
    assert made.wants_reservation(WALL + HybridClock.RESERVE_AHEAD_US - HybridClock.RESERVE_WHEN_BELOW_US + 1) is not None
    made.latest = Stamp(made.reservation - 1)
    wanted = made.wants_reservation(WALL)
    assert wanted is not None
    assert wanted > made.reservation


def test_a_reservation_reaches_over_what_a_sync_takes_twice_and_comes_near_again() -> None:
    made = HybridClock()
    made.reserved(stamp_of(WALL + 1_000_000), took_us=HybridClock.RESERVE_AHEAD_US // 10)
    assert made.reach_us == HybridClock.RESERVE_AHEAD_US, "an ordinary sync changes nothing"
    made.reserved(stamp_of(WALL), took_us=6_000_000)
    wanted = made.wants_reservation(WALL)
    assert wanted == stamp_of(WALL + made.reach_us)
    made.reserved(stamp_of(WALL + made.reach_us), took_us=6_000_000)
    durable = WALL + 6_000_000
    assert made.tick(durable), "it is not over when it is durable"
    assert made.wants_reservation(durable) is None
    late = WALL + made.reach_us - 6_000_000
    assert made.wants_reservation(late) is not None, "and the next one is asked for early enough"
    made.reserved(stamp_of(WALL), took_us=60_000_000)
    assert made.reach_us == HybridClock.RESERVE_AHEAD_MAX_US, "a restart never waits longer than that"
    for _ in range(60):
        made.reserved(stamp_of(WALL), took_us=0)
    assert made.reach_us == HybridClock.RESERVE_AHEAD_US
