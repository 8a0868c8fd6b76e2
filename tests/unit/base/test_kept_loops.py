"""Loops that must go on: what falls over a bug is told, shown, taken up again, and is over once it goes well."""

from __future__ import annotations

import pytest

from scrubjay.base.env import FallenLoop
from scrubjay.base.errors import Unavailable
from scrubjay.base.kept_loops import AGAIN_MAX_S, KeptLoop
from scrubjay.sim.lone import LoneHost


class Loop:
    """Falls at each of its next `bugs` tries, then goes on. tries: boot times in seconds."""

    def __init__(self, host: LoneHost, bugs: int) -> None:
        self.host, self.bugs = host, bugs
        self.tries: list[float] = []

    async def run(self) -> None:
        self.tries.append(round(self.host.boot_us() / 1e6, 3))
        if self.bugs:
            self.bugs -= 1
            raise KeyError(self.bugs)
        await self.host.tasks.sleep(1e6)


def pass_time(host: LoneHost, seconds: float) -> None:
    host.world.run(until_us=host.world.now + int(seconds * 1e6))


def test_a_loop_that_falls_is_told_of_and_taken_up_again_later_each_time() -> None:
    host = LoneHost()
    loop = Loop(host, bugs=9)
    host.tasks.keep(loop.run, name="looks")
    began_us = host.wall_us()
    pass_time(host, 240)
    pauses = [round(after - before) for before, after in zip(loop.tries, loop.tries[1:], strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert host.tasks.fallen() == [FallenLoop("looks", "KeyError(0)", began_us, 9)]
    assert [name for name, _ in host.failures] == ["looks"] * 9, "in the simulator every fall is a failure of the run"
    pass_time(host, AGAIN_MAX_S + 61)
    assert host.tasks.fallen() == []


def test_after_a_good_while_the_next_fall_is_a_first_one() -> None:
    host = LoneHost()
    loop = Loop(host, bugs=3)

    async def rare() -> None:
        await host.tasks.sleep(600)
        await loop.run()

    host.tasks.keep(rare, name="rare")
    pass_time(host, 700)
    (fallen,) = host.tasks.fallen()
    assert (fallen.times, loop.tries[0] + 100) == (1, pytest.approx(host.boot_us() / 1e6, abs=1))
    pass_time(host, 600)
    (again,) = host.tasks.fallen()
    assert again.times == 1
    assert loop.tries[1] - loop.tries[0] == pytest.approx(601, abs=0.5)


def test_a_foreseen_error_that_a_loop_let_out_is_a_bug_too() -> None:
    host = LoneHost()

    async def careless() -> None:
        raise Unavailable("nobody answers")

    host.tasks.keep(careless, name="careless")
    pass_time(host, 0.5)
    assert [one.name for one in host.tasks.fallen()] == ["careless"]


def test_one_that_ends_or_is_cancelled_is_not_taken_up_again() -> None:
    host = LoneHost()
    runs: list[str] = []

    async def ends() -> None:
        runs.append("ends")

    async def goes_on() -> None:
        runs.append("goes on")
        await host.tasks.sleep(1e6)

    ended = host.tasks.keep(ends, name="ends")
    cancelled = host.tasks.keep(goes_on, name="goes on")
    pass_time(host, 1)
    cancelled.cancel()
    pass_time(host, 300)
    assert (ended.done(), cancelled.done()) == (True, True)
    assert runs == ["ends", "goes on"]
    assert host.tasks.fallen() == []


def test_a_loop_that_is_started_twice_runs_once_and_may_be_started_again() -> None:
    host = LoneHost()
    loop = Loop(host, bugs=0)
    one = KeptLoop(host.tasks, loop.run, name="looks")
    one.start()
    one.start()
    pass_time(host, 5)
    assert len(loop.tries) == 1
    one.stop()
    one.stop()
    one.start()
    pass_time(host, 5)
    assert len(loop.tries) == 2


def test_a_loop_that_was_stopped_is_not_taken_up_again() -> None:
    host = LoneHost()
    loop = Loop(host, bugs=99)
    one = KeptLoop(host.tasks, loop.run, name="looks")
    one.start()
    pass_time(host, 5)
    tried = len(loop.tries)
    assert tried > 1
    one.stop()
    pass_time(host, 100)
    assert len(loop.tries) == tried
