"""Money moved by transactions while machines die: the sum holds in every read of all accounts and at every restored moment. And the checker of such histories, on known-bad ones."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.sim.checkers.transactions import FOREVER, Account, Transaction, check_serializable
from scrubjay.sim.whole.bank import Bank

A: Account = ("t", 1)
B: Account = ("t", 2)


def one(id_: int, reads: dict[Account, int], writes: dict[Account, int], start: int, end: int = FOREVER) -> Transaction:
    return Transaction(id_, reads, writes, start, end, sure=end != FOREVER)


BEGIN = one(1, {A: 0, B: 0}, {A: 1, B: 2}, 0, 1)
BAD = {
    "lost update": [BEGIN, one(2, {A: 1}, {A: 3}, 2, 5), one(3, {A: 1}, {A: 4}, 2, 5)],
    "write skew": [BEGIN, one(2, {A: 1, B: 2}, {A: 3}, 2, 5), one(3, {A: 1, B: 2}, {B: 4}, 2, 5)],
    "half of one": [BEGIN, one(2, {A: 1, B: 2}, {A: 3, B: 4}, 2, 5), one(3, {A: 3, B: 2}, {}, 2, 5)],
    "stale": [BEGIN, one(2, {A: 1}, {A: 3}, 2, 3), one(3, {A: 1}, {}, 4, 5)],
    "from nowhere": [BEGIN, one(2, {A: 9}, {}, 2, 3)],
    "seen before it began": [BEGIN, one(2, {A: 3}, {}, 2, 3), one(3, {A: 1}, {A: 3}, 4, 5)],
    "two readers who disagree": [
        BEGIN,
        one(2, {A: 1}, {A: 3}, 2, 9),
        one(3, {B: 2}, {B: 4}, 2, 9),
        one(4, {A: 3, B: 2}, {}, 2, 9),
        one(5, {A: 1, B: 4}, {}, 2, 9),
    ],
}
GOOD = {
    "one after the other": [BEGIN, one(2, {A: 1, B: 2}, {A: 3}, 2, 3), one(3, {A: 3, B: 2}, {B: 4}, 4, 5), one(4, {A: 3, B: 4}, {}, 6, 7)],
    "at once": [BEGIN, one(2, {A: 1}, {A: 3}, 2, 9), one(3, {A: 1, B: 2}, {}, 2, 9), one(4, {A: 3}, {}, 2, 9)],
    "nobody knows, and nobody saw": [BEGIN, one(2, {A: 1}, {A: 3}, 2), one(3, {A: 1}, {A: 4}, 5, 6)],
    "nobody knew, and it was seen": [BEGIN, one(2, {A: 1}, {A: 3}, 2), one(3, {A: 3}, {}, 50, 60)],
}


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_found(name: str) -> None:
    assert check_serializable(BAD[name])


@pytest.mark.parametrize("name", GOOD)
def test_one_that_some_order_explains_is_none(name: str) -> None:
    assert check_serializable(GOOD[name]) == []


@pytest.mark.slow
def test_a_bank_opens_though_nobody_is_told_of_its_first_transaction() -> None:
    """Seed 9039: its answer was lost, and every further one found the accounts there already."""
    bank = Bank(1, seconds=0, calm=True)
    real, lost = bank.call, []

    async def call(work: Any) -> Any:
        answer = await real(work)
        if lost:
            return answer
        lost.append(answer)
        return Unavailable("the answer was lost", unknown=True)

    bank.call = call  # type: ignore[method-assign]
    outcome = bank.outcome()
    assert outcome.violation == ""
    assert lost[0].committed
    assert outcome.faults["unknown"] == 1


@pytest.mark.slow
def test_the_sum_holds_in_every_read_and_at_every_restored_moment_while_machines_die() -> None:
    outcome = Bank(5, seconds=2).outcome()
    assert outcome.violation == ""
    assert outcome.faults["committed"] > 10
    assert outcome.faults["restored"] > 5
    assert (outcome.seed, outcome.virtual_us > 2_000_000, outcome.events > 1_000) == (5, True, True)
