"""Several things at once: every outcome arrives, in order; nothing runs on behind the back of whoever gave up; nothing waits without need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.together import gather, in_parallel, settle, within
from scrubjay.sim.lone import LoneHost


@pytest.fixture
def host() -> Iterator[LoneHost]:
    host = LoneHost()
    yield host
    host.run_for(10)  # and nothing failed unseen


class _Work:
    """Coroutines that take `seconds` each; who began, who came to an end, and how many at once."""

    def __init__(self, host: LoneHost, *, seconds: float = 1.0) -> None:
        self.host, self.seconds = host, seconds
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most = 0
        self._now = 0

    async def __call__(self, number: int) -> int:
        self.begun.append(number)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self.host.sleep(self.seconds / (number + 1))  # later ones are quicker
        finally:
            self._now -= 1
        self.ended.append(number)
        return number * 10


async def _missing() -> int:
    raise Missing("not there", key="k")


async def _broken() -> int:
    raise ValueError("a rule of ours")


def test_all_at_once_in_order_with_errors_as_values(host: LoneHost) -> None:
    work = _Work(host)
    first, second, third = host.run(gather(host.tasks, [work(0), _missing(), work(1)], name="three"))
    assert (first, third, work.most) == (0, 10, 2)
    assert isinstance(second, Missing)
    assert work.ended == [1, 0]


def test_a_broken_rule_ends_what_runs_beside_it(host: LoneHost) -> None:
    work = _Work(host)
    with pytest.raises(ValueError, match="a rule of ours"):
        host.run(gather(host.tasks, [_broken(), work(0)], name="two"))
    host.run_for(2)
    assert work.begun == [0]
    assert work.ended == []


def test_a_list_is_worked_off_in_lanes_and_comes_back_in_order(host: LoneHost) -> None:
    work = _Work(host)
    assert host.run(in_parallel(host.tasks, work, range(7), lanes=3, name="seven")) == [0, 10, 20, 30, 40, 50, 60]
    assert work.most == 3
    assert work.ended != sorted(work.ended)
    assert host.run(in_parallel(host.tasks, work, [], lanes=3, name="none")) == []


def test_without_tasks_one_after_the_other(host: LoneHost) -> None:
    work = _Work(host)
    assert host.run(in_parallel(None, work, range(3), lanes=3, name="three")) == [0, 10, 20]
    assert work.most == 1


def test_the_first_error_of_a_list_ends_the_rest_at_once(host: LoneHost) -> None:
    work = _Work(host, seconds=100.0)

    async def one(number: int) -> int:
        return await _missing() if number == 1 else await work(number)

    before = host.now_us
    with pytest.raises(Missing):
        host.run(in_parallel(host.tasks, one, range(9), lanes=2, name="nine"))
    assert host.now_us - before < 1_000_000
    host.run_for(200)
    assert work.begun == [0]
    assert work.ended == []


def test_whoever_waits_too_long_is_told_and_the_work_ends(host: LoneHost) -> None:
    work = _Work(host, seconds=100.0)
    with pytest.raises(Unavailable) as caught:
        host.run(within(host.tasks, work(0), seconds=2.0, what="it does not answer"))
    assert caught.value.fields == {"waited_seconds": 2.0}
    host.run_for(200)
    assert work.ended == []


@pytest.mark.parametrize(("broken", "kind"), [(_missing, Missing), (_broken, ValueError)])
def test_an_error_is_raised_when_it_happens_and_not_when_the_time_is_up(host: LoneHost, broken: object, kind: type[Exception]) -> None:
    before = host.now_us
    with pytest.raises(kind):
        host.run(within(host.tasks, broken(), seconds=60.0, what="never said"))  # type: ignore[operator]
    assert host.now_us - before < 1_000_000
    assert host.run(within(host.tasks, _Work(host)(4), seconds=60.0, what="never said")) == 40


class _Pin:
    released = 0

    def release(self) -> None:
        self.released += 1


def test_the_first_outcome_counts_and_a_late_one_lets_go_of_what_it_holds(host: LoneHost) -> None:
    future, pin = host.tasks.future(), _Pin()
    settle(future, 1)
    settle(future, Missing("too late"))
    settle(future, pin)
    assert (future.result(), pin.released) == (1, 1)
    failed = host.tasks.future()
    settle(failed, Missing("not there"))
    with pytest.raises(Missing):
        failed.result()
    kept = host.tasks.future()
    settle(kept, pin)
    assert (kept.result(), pin.released) == (pin, 1)
