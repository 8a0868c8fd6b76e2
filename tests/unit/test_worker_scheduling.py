"""Which xdist worker takes which test: every test once, those of one file together where they share servers, and the spare worker none that starts any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fixtures.schedule import HouseScheduling, is_spare

SERVERS = [f"tests/integration/process/test_{file}.py::test_{number}" for file in "abc" for number in range(4)]
RUNBOOKS = [f"tests/integration/runbooks/test_runbooks.py::test_it[{number}]" for number in range(5)]
REAL = [f"tests/unit/real/test_jobs.py::test_{number}" for number in range(3)]
PLAIN = [f"tests/unit/test_{file}.py::test_{number}" for file in "ab" for number in range(6)]


@dataclass(frozen=True)
class Gateway:
    id: str


@dataclass(frozen=True)
class Options:
    loadscopereorder: bool = False


class NotingWorker:
    """In place of a worker process: notes what it is told to run."""

    def __init__(self, number: int) -> None:
        self.gateway = Gateway(f"gw{number}")
        self.shutting_down = False
        self.waiting: list[int] = []
        self.ran: list[str] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class AskedConfig:
    """The little that the scheduler asks pytest's for."""

    def __init__(self, workers: int, spare: int) -> None:
        self.option = Options()
        self._values: dict[str, Any] = {"tx": ["popen"] * workers, "spare": spare}

    def getvalue(self, name: str) -> Any:
        return self._values[name]


def run(collected: list[str], *, workers: int, spare: int, pace: Sequence[int]) -> list[NotingWorker]:
    """All of them, to the end. pace: how many tests each worker ends in a round."""
    made = [NotingWorker(number) for number in range(workers)]
    scheduling: Any = HouseScheduling(AskedConfig(workers, spare), None)  # type: ignore[arg-type]
    for worker in made:
        scheduling.add_node(worker)
    for worker in made:
        scheduling.add_node_collection(worker, collected)
    scheduling.schedule()
    for _ in range(1000):
        for worker, steps in zip(made, pace, strict=True):
            for _ in range(steps):
                # as xdist's worker: the last that it knows of waits until it hears what comes next, or that nothing does
                if len(worker.waiting) > (0 if worker.shutting_down else 1):
                    done = worker.waiting.pop(0)
                    worker.ran.append(collected[done])
                    scheduling.mark_test_complete(worker, done)
        if all(worker.shutting_down and not worker.waiting for worker in made):
            return made
    raise AssertionError(f"never over: {[(worker.gateway.id, worker.shutting_down, worker.waiting) for worker in made]}")


@pytest.mark.parametrize("pace", [(1, 1, 1), (1, 1, 5), (3, 2, 1)])
def test_a_spare_worker_starts_no_server_and_every_test_runs_once(pace: tuple[int, int, int]) -> None:
    collected = [*SERVERS, *RUNBOOKS, *REAL, *PLAIN]
    first, second, spare = run(collected, workers=3, spare=1, pace=pace)
    assert sorted(first.ran + second.ran + spare.ran) == sorted(collected)
    assert spare.ran
    assert not set(spare.ran) & {*SERVERS, *RUNBOOKS, *REAL}
    assert spare.ran[0] == PLAIN[0], "what is first in order is first there, too"
    for file in "abc":
        taken = [{name for name in worker.ran if f"/test_{file}.py" in name and name in SERVERS} for worker in (first, second)]
        assert sorted(map(len, taken)) == [0, 4], "one worker for a file with servers"
    assert all(any(name in RUNBOOKS for name in worker.ran) for worker in (first, second)), "runbooks are divided"


def test_with_nothing_for_it_a_spare_worker_ends_at_once() -> None:
    *_, spare = run(SERVERS, workers=3, spare=1, pace=(1, 1, 1))
    assert spare.ran == []
    assert spare.shutting_down


def test_without_spare_ones_every_worker_takes_everything() -> None:
    both = run([*SERVERS, *PLAIN], workers=2, spare=0, pace=(1, 1))
    assert all(set(worker.ran) & set(SERVERS) and set(worker.ran) & set(PLAIN) for worker in both)


def test_which_worker_is_spare() -> None:
    assert [is_spare(f"gw{number}", workers=3, spare=1) for number in range(4)] == [False, False, True, False]
    assert [is_spare(f"gw{number}", workers=2, spare=2) for number in range(2)] == [False, True]
    assert not is_spare("gw0", workers=1, spare=1)
