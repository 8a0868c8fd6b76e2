"""How long who gives way rests, and how often it is looked at, by clocks of the test's own: that of its processor and that of the room."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from scrubjay.base.giving_way import LOOK_MAX_S, REST_MAX_S, STEP_S, WAITING, Rests

SHARE = 0.25


class Machine:
    """A core that a process which gives way has whenever it wants it. on_core_s: the longest that it had it at a time. slept, looks: each rest, and when it was looked at."""

    def __init__(self) -> None:
        self.now_s, self.used_s = 100.0, 5.0
        self.slept: list[float] = []
        self.looks: list[float] = []
        self.on_core_s = self._since_s = 0.0
        self._alarm_s: float | None = None
        self.rests = Rests(used_s=lambda: self.used_s, sleep=self._sleep, alarm=self._set)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        self._since_s = 0.0

    def _set(self, seconds: float) -> None:
        self._alarm_s = self.now_s + seconds if seconds else None

    def spend(self, seconds: float, *, of_core: bool) -> None:
        """Works, or waits for something else, so long; whatever it is, it is looked at when the alarm says."""
        left = seconds
        while left > 1e-12:
            step = left if self._alarm_s is None else min(left, max(0.0, self._alarm_s - self.now_s))
            self.now_s += step
            left -= step
            if of_core:
                self.used_s += step
                self._since_s += step
                self.on_core_s = max(self.on_core_s, self._since_s)
            else:
                self._since_s = 0.0
            if self._alarm_s is not None and self.now_s >= self._alarm_s - 1e-12:
                self._alarm_s = None
                self.looks.append(self.now_s)
                self.rests.strike()

    def work(self, seconds: float) -> None:
        self.spend(seconds, of_core=True)


def resting() -> Machine:
    machine = Machine()
    machine.rests.told(SHARE)
    machine.rests.bind(bound=True)
    return machine


def test_who_has_all_of_a_core_never_rests_and_is_never_looked_at() -> None:
    machine = Machine()
    machine.rests.bind(bound=True)
    began_s = machine.now_s
    machine.work(1.0)
    assert (machine.slept, machine.looks) == ([], [])
    assert machine.now_s - began_s == pytest.approx(1.0)


def test_while_somebody_is_served_a_scan_takes_its_share_of_a_core_a_step_at_a_time_and_ends() -> None:
    machine = resting()
    began_s = machine.now_s
    machine.work(1.0)
    assert 1.0 / (machine.now_s - began_s) == pytest.approx(SHARE, rel=0.01), "no more than its share, and no less: it ends"
    assert machine.on_core_s <= STEP_S * 1.001, "nobody waits for a core longer than a step"
    assert STEP_S <= 0.001, "a tick of the kernel, 4 ms, was too long"


def test_a_scan_goes_at_full_speed_from_when_nobody_is_served_and_rests_again_when_somebody_is() -> None:
    machine = resting()
    machine.work(0.1)
    machine.rests.told(1.0)
    rests, looks, began_s = len(machine.slept), len(machine.looks), machine.now_s
    machine.work(2.0)
    assert machine.now_s - began_s == pytest.approx(2.0)
    assert (len(machine.slept), len(machine.looks)) == (rests, looks)
    machine.rests.told(SHARE)
    machine.work(STEP_S)
    assert machine.slept[-1] == pytest.approx(STEP_S * 3), "what was used before is not made up for"


def test_what_somebody_waits_for_does_not_rest_whatever_the_share() -> None:
    machine = Machine()
    machine.rests.told(SHARE)
    machine.work(1.0)
    assert (machine.slept, machine.looks, machine.rests.share) == ([], [], 1.0)
    machine.rests.bind(bound=True)
    machine.work(0.1)
    assert machine.rests.share == SHARE
    rests = len(machine.slept)
    assert rests > 50
    machine.rests.bind(bound=False)
    machine.work(1.0)
    assert len(machine.slept) == rests


def test_who_waits_for_something_else_is_looked_at_ever_less_often_and_what_it_used_is_not_forgotten() -> None:
    machine = resting()
    machine.work(STEP_S * 4)
    rests = len(machine.slept)
    machine.spend(1.0, of_core=False)
    assert len(machine.slept) == rests, "a wait asks for no rest"
    assert machine.looks[-1] - machine.looks[-2] == pytest.approx(LOOK_MAX_S)
    for _ in range(40):  # of each look too little for a rest
        machine.spend(LOOK_MAX_S, of_core=False)
        machine.work(STEP_S * WAITING / 4)
    assert sum(machine.slept[rests:]) == pytest.approx(STEP_S * WAITING / 4 * 40 * 3, rel=0.2)
    machine.work(LOOK_MAX_S)
    machine.on_core_s = 0.0
    machine.work(0.1)
    assert machine.on_core_s <= STEP_S * 1.001, "who works again is looked at after each step again"


def test_one_long_step_costs_no_more_than_the_longest_rest() -> None:
    machine = resting()
    machine.work(STEP_S)
    machine.used_s += 10.0  # in a library that does not come back
    machine.work(STEP_S)
    assert machine.slept[-1] == REST_MAX_S


def test_a_rest_that_cannot_be_had_is_no_error_of_the_work_and_the_next_is_asked_for() -> None:
    """Under a clock that is set back `time.sleep` can refuse its own deadline: jobs ended with EINVAL."""

    def refused(_seconds: float) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    used, alarms = iter([5.0, 5.004, 5.004]), list[float]()
    rests = Rests(used_s=lambda: next(used), sleep=refused, alarm=alarms.append)
    rests.told(SHARE)
    rests.bind(bound=True)
    rests.strike()
    assert alarms[-2:] == [STEP_S, STEP_S]


def test_a_clock_that_went_back_asks_for_no_rest() -> None:
    machine = resting()
    machine.work(STEP_S * 2)
    machine.used_s -= 1.0
    machine.rests.strike()
    assert all(one >= 0.0 for one in machine.slept)


def test_a_process_that_ends_while_it_is_looked_at_ends_as_it_would() -> None:
    """Of an interpreter on its way out the alarm was the end: "Alarm clock", and no exit status of its own."""
    says = """
import atexit, signal
from scrubjay.base.giving_way import give_way
atexit.register(lambda: print(signal.getitimer(signal.ITIMER_REAL)[0]))  # the first to come is the last to go
rests = give_way()
rests.told(0.5)
rests.bind(bound=True)
print(signal.getitimer(signal.ITIMER_REAL)[0] > 0.0)
"""
    done = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "0.0"]), done.stderr
