"""How long who gives way rests, by a clock of the test's own."""

from __future__ import annotations

import errno

import pytest

from scrubjay.base.giving_way import REST_MAX_S, STEP_S, Rests


class Hands:
    """A processor's clock. slept: how long it rested, each time."""

    def __init__(self) -> None:
        self.used_s = 5.0
        self.slept: list[float] = []
        self.rests = Rests(used_s=lambda: self.used_s, sleep=self.slept.append)

    def work(self, seconds: float) -> None:
        self.used_s += seconds
        self.rests.rest()


def test_who_has_all_of_a_core_never_rests() -> None:
    hands = Hands()
    hands.work(1.0)
    assert hands.slept == []


def test_of_a_core_no_more_is_used_than_the_share() -> None:
    hands = Hands()
    hands.rests.share = 0.25
    for _ in range(10):
        hands.work(0.004)
    used_s = 0.04
    assert used_s / (used_s + sum(hands.slept)) == pytest.approx(0.25, rel=0.2)
    assert hands.slept[1:] == pytest.approx([0.012] * 9)


def test_what_was_used_before_the_share_was_told_is_not_made_up_for() -> None:
    hands = Hands()
    hands.used_s += 3.0
    hands.rests.share = 0.25
    hands.rests.rest()
    assert hands.slept == pytest.approx([STEP_S * 3])


def test_one_long_step_costs_no_more_than_the_longest_rest() -> None:
    hands = Hands()
    hands.rests.share = 0.25
    hands.work(0.002)
    hands.work(10.0)
    assert hands.slept[-1] == REST_MAX_S


def test_a_rest_that_cannot_be_had_is_no_error_of_the_work() -> None:
    """Under a clock that is set back `time.sleep` can refuse its own deadline: jobs ended with EINVAL."""

    def refused(_seconds: float) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    used = iter([5.0, 5.004, 5.004])
    rests = Rests(used_s=lambda: next(used), sleep=refused)
    rests.share = 0.25
    rests.rest()


def test_a_clock_that_went_back_asks_for_no_rest() -> None:
    hands = Hands()
    hands.rests.share = 0.25
    hands.work(-1.0)
    assert hands.slept == [0.0]
