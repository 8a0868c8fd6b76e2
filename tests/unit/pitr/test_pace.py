"""How long a recovery takes, by its steps: what adds up, and what goes on at once."""

from __future__ import annotations

import pytest

from scrubjay.pitr.pace import WEIGHT, Costs, StepCost, Work, predict_seconds, seconds_left

COSTS = Costs({}, (StepCost(1, 1, 1, 1), StepCost(2, 2, 2, 2)), 1.0, 0.5, 1)
ONE = Work(read=10, copy=1, sync=2, hash=1)


def seconds(*tables: list[Work], workers: int = 2, lanes: int = 2, copies: int = 3) -> float:
    return predict_seconds(tables, COSTS, workers=workers, lanes=lanes, copies=copies) - 1.0 - 0.5 * sum(bool(one) for one in tables)


def test_one_partition_is_read_by_one_then_two_copies_are_made_at_once_and_the_last_takes_the_file() -> None:
    assert seconds() == 0
    assert seconds([]) == 0, "a table without content takes nothing"
    # two sync at once, as when it was measured; the last one has the disk to itself
    assert seconds([ONE]) == 10 + (1 + 2 + 1) + (2 / 2 + 1)
    assert seconds([ONE], copies=1) == 10 + (2 / 2 + 1)
    # one worker: one core, and each step of the two copies is in the other's way
    assert seconds([ONE], workers=1) == 10 + (2 + 4 + 2) + (2 + 1)


def test_partitions_are_read_side_by_side_and_copied_when_all_are_read() -> None:
    assert seconds([ONE, Work(4, 0, 0, 0)]) == 10 + (1 + 2 + 1) + (2 / 2 + 1), "the small one waits for the large one"
    assert seconds([Work(10, 0, 0, 0)] * 3) == 20
    assert seconds([Work(10, 0, 0, 0), Work(4, 0, 0, 0), Work(5, 0, 0, 0)]) == 10, "the largest first"


def test_what_one_table_waits_for_the_disk_another_reads() -> None:
    table = [Work(read=10, copy=0, sync=5, hash=0)]
    assert seconds(table, table, lanes=2, workers=1) < seconds(table, table, lanes=1, workers=1)
    slow = [Work(read=0, copy=0, sync=6, hash=0)]
    busy = [Work(read=9, copy=0, sync=0, hash=0)]
    # 6 s for two copies and 3 s for the last, while the other table is read
    assert seconds(slow, busy) == 9
    assert seconds(slow, busy, lanes=1) == 18


def test_a_node_takes_one_copy_at_a_time() -> None:
    """A hundred partitions do not sync a hundred times faster, nor wait for each other's cores more than there are."""
    many = [Work(read=1, copy=0, sync=0, hash=1)] * 100
    assert seconds(many) == pytest.approx(50 + 150, rel=0.03)


@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("tables", [1, 3])
def test_no_less_than_the_work_and_no_more_than_one_after_the_other(tables: int, partitions: int) -> None:
    table = [Work(3, 1, 2, 1)] * partitions
    work = tables * partitions * (3 + 2 * 1 + 3 * 1)
    took = seconds(*[table] * tables)
    assert took >= max(work / 2, tables * partitions * 3 * 2 / 2)
    assert took <= work + tables * partitions * 3 * 2


def test_log_and_base_cost_their_own_and_what_was_not_measured_counts_as_others() -> None:
    costs = Costs({("t", True): StepCost(5, 0, 0, 0)}, (StepCost(1, 2, 3, 4), StepCost(10, 20, 30, 40)), 0, 0, 1)
    assert costs.work("t", log=2, base=3) == Work(2 + 15, 4, 6, 8)
    assert costs.work("other", log=2, base=3) == Work(32, 64, 96, 128)


def test_what_is_left_follows_the_pace_that_it_has() -> None:
    assert seconds_left(100, done=0.0, elapsed_s=0) == 100
    assert seconds_left(100, done=0.5, elapsed_s=50) == 50
    assert seconds_left(100, done=1.0, elapsed_s=70) == 0
    slow = seconds_left(100, done=0.5, elapsed_s=100)
    assert slow == pytest.approx(50 * (100 * WEIGHT + 100) / (100 * WEIGHT + 50))
    assert 80 < slow < 100, "twice as slow: what is left takes nearly twice as long"
    assert seconds_left(100, done=0.0, elapsed_s=30) > 100, "nothing is done yet, though time went by"
    assert seconds_left(0, done=0.0, elapsed_s=3) == 0
