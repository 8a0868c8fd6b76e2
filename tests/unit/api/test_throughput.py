"""How often provisioned throughput was decreased on one day."""

from __future__ import annotations

from scrubjay.storage.api.throughput import DAY_US, decreases_after, decreases_today
from scrubjay.storage.catalogue import Throughput


def test_decreases_are_those_of_one_day_in_utc() -> None:
    five, four = Throughput(5, 5), Throughput(4, 9)
    late = 20 * DAY_US - 1
    assert decreases_after(five, 0, (None, None), four, late) == 1, "one of both is enough"
    assert decreases_after(four, 1, (None, late - 5), five, late) == 2
    assert decreases_after(Throughput(4, 5), 1, (None, late - 5), five, late) == 1, "no decrease"
    assert decreases_after(five, 3, (None, late), four, late + 1) == 1, "the next day counts anew"
    assert decreases_today(3, (None, late), late) == 3
    assert decreases_today(3, (None, late), late + 1) == 0
    assert decreases_today(0, (late, None), late) == 0
