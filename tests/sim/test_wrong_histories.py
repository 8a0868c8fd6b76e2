"""Histories that no store may make, each of another shape: every one is named by the judges that the profile "whole" asks, and its honest twin by none.

A weak read has no bound in time: it may be as late as it likes, but what it shows is what was there at the LSN that it names.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scrubjay.sim.checkers.history import FOREVER, HistoryOperation, Kind
from scrubjay.sim.checkers.linear import check_linear
from scrubjay.sim.checkers.registers import RegisterLedger, compare
from scrubjay.sim.checkers.witness import check_witness

W, R, C, K = Kind.WRITE, Kind.READ, Kind.CAS, Kind.WEAK
Shown = dict[int, int | None]


class Told:
    """What clients did, as sim.whole.clients writes it down: into the history and the ledger. One tick passes at every call and answer."""

    def __init__(self) -> None:
        self.history: list[HistoryOperation] = []
        self.ledger = RegisterLedger()
        self.at = self.ids = 0

    def _tick(self) -> int:
        self.at += 1
        return self.at

    def _id(self) -> int:
        self.ids += 1
        return self.ids

    def write(self, key: int, value: int | None, *, lsn: int | None, client: int = 1) -> None:
        """lsn: None if no answer came."""
        id_, start = self._id(), self._tick()
        self.ledger.sent(key, id_, value)
        if lsn is not None:
            self.ledger.acknowledged(key, id_, lsn)
        self.history.append(HistoryOperation(id_, client, key, W, start, FOREVER if lsn is None else self._tick(), value, lsn=lsn))

    def cas(self, key: int, expected: int | None, value: int, *, lsn: int, ok: bool = True, client: int = 1) -> None:
        id_, start = self._id(), self._tick()
        self.ledger.sent(key, id_, value, compare=True, expected=expected)
        if ok:
            self.ledger.acknowledged(key, id_, lsn)
        else:
            self.ledger.failed(key, id_)
        self.history.append(HistoryOperation(id_, client, key, C, start, self._tick(), value, expected, ok, lsn))

    def read(self, key: int, value: int | None, *, lsn: int, client: int = 2, kind: Kind = R) -> None:
        self.ledger.read(key, value, lsn)
        self.history.append(HistoryOperation(self._id(), client, key, kind, self._tick(), self._tick(), value, lsn=lsn))

    def weak(self, key: int, value: int | None, *, lsn: int) -> None:
        self.read(key, value, lsn=lsn, kind=K)

    def scan(self, shown: Shown, keys: range, *, lsn: int) -> None:
        """A scan is a strong read of every key, absent ones too, at one LSN."""
        start, end = self._tick(), self._tick()
        for key in sorted({*keys, *shown}):
            self.ledger.read(key, shown.get(key), lsn)
            self.history.append(HistoryOperation(self._id(), 3, key, R, start, end, shown.get(key), lsn=lsn))

    def judges(self) -> list[str]:
        """Names of the judges of histories that object."""
        found = ["witness"] if check_witness(self.history) else []
        verdict = check_linear(self.history)
        assert verdict.outcome != "unknown"
        return found + (["linear"] if verdict.outcome == "bad" else [])


def _lost_conditional(told: Told, *, wrong: bool) -> None:
    told.write(1, 10, lsn=1)
    told.cas(1, 10, 11, lsn=2)
    told.read(1, 10 if wrong else 11, lsn=3)


def _conditional_that_won_twice(told: Told, *, wrong: bool) -> None:
    """Two clients count up from the same value, and both are told that they did."""
    told.write(1, 10, lsn=1)
    told.cas(1, 10, 11, lsn=2, client=1)
    told.cas(1, 10, 12, lsn=3, client=2, ok=wrong)
    told.read(1, 12 if wrong else 11, lsn=3)


def _reordered(told: Told, *, wrong: bool) -> None:
    """One client writes twice, one after the other; the first comes out on top."""
    told.write(1, 10, lsn=2 if wrong else 1)
    told.write(1, 11, lsn=1 if wrong else 2)
    told.read(1, 10 if wrong else 11, lsn=2)


def _applied_twice(told: Told, *, wrong: bool) -> None:
    """A write without an answer takes effect, is replaced, and a late duplicate of it takes effect again."""
    told.write(1, 10, lsn=None)
    told.read(1, 10, lsn=1)
    told.cas(1, 10, 11, lsn=2)
    told.read(1, 11, lsn=2)
    told.read(1, 10 if wrong else 11, lsn=3)


def _never_written(told: Told, *, wrong: bool) -> None:
    told.write(1, 10, lsn=1)
    told.read(1, 99 if wrong else 10, lsn=1)


def _of_another_key(told: Told, *, wrong: bool) -> None:
    """The value of one key is shown under another."""
    told.write(1, 10, lsn=1)
    told.write(2, 20, lsn=2)
    told.read(2, 10 if wrong else 20, lsn=2)


def _deleted_and_back(told: Told, *, wrong: bool) -> None:
    """A delete was seen by everybody; a copy that was healed from before it brings the row back."""
    told.write(1, 10, lsn=1)
    told.write(1, None, lsn=2)
    told.read(1, None, lsn=2)
    told.read(1, 10 if wrong else None, lsn=3)


def _scan_that_skips(told: Told, *, wrong: bool) -> None:
    for key in (1, 2, 3):
        told.write(key, key * 10, lsn=key)
    shown: Shown = {key: key * 10 for key in (1, 2, 3)}
    if wrong:
        del shown[2]
    told.scan(shown, range(1, 4), lsn=4)


def _scan_with_a_row_more(told: Told, *, wrong: bool) -> None:
    told.write(1, 10, lsn=1)
    told.scan({1: 10, **({7: 70} if wrong else {})}, range(1, 4), lsn=1)


def _refused_though_it_held(told: Told, *, wrong: bool) -> None:
    """A condition is refused although nothing has touched the key since; another key has a write without an answer."""
    told.write(1, 10, lsn=1)
    told.write(2, 20, lsn=None)
    told.cas(1, 10 if wrong else 9, 11, lsn=1, ok=False)


def _refused_beside_an_open_write(told: Told, *, wrong: bool) -> None:
    """The write without an answer was read below an acknowledged one: it is over, and no reason for a refusal."""
    told.write(1, 10, lsn=None)
    told.read(1, 10, lsn=1)
    told.write(1, 11, lsn=2)
    told.cas(1, 11 if wrong else 10, 12, lsn=2, ok=False)


def _unseen_write_wins_a_condition(told: Told, *, wrong: bool) -> None:
    """A condition holds on a value that nobody ever wrote."""
    told.write(1, 10, lsn=1)
    told.cas(1, 55 if wrong else 10, 11, lsn=2)


BOTH: dict[str, Callable[..., None]] = {
    "a conditional write is lost": _lost_conditional,
    "two conditional writes win from one value": _conditional_that_won_twice,
    "writes of one client change places": _reordered,
    "a write is applied twice": _applied_twice,
    "a value that nobody wrote is read": _never_written,
    "the value of another key is read": _of_another_key,
    "a deleted row comes back after a heal": _deleted_and_back,
    "a scan skips a key": _scan_that_skips,
    "a scan shows a row more": _scan_with_a_row_more,
    "a condition is refused though it held": _refused_though_it_held,
    "a condition is refused for a write that is over": _refused_beside_an_open_write,
    "a condition holds on what was never there": _unseen_write_wins_a_condition,
}


@pytest.mark.parametrize("name", sorted(BOTH))
def test_a_wrong_history_is_named_by_witness_and_black_box(name: str) -> None:
    wrong, honest = Told(), Told()
    BOTH[name](wrong, wrong=True)
    BOTH[name](honest, wrong=False)
    assert wrong.judges() == ["witness", "linear"]
    assert honest.judges() == []


def _weak(told: Told) -> None:
    told.write(1, 10, lsn=1)
    told.write(1, 11, lsn=2)


def test_a_weak_read_may_be_late() -> None:
    told = Told()
    _weak(told)
    told.weak(1, None, lsn=0)
    told.weak(1, 10, lsn=1)
    assert told.judges() == []


@pytest.mark.parametrize(
    ("value", "lsn"), [(10, 2), (11, 1), (None, 1), (99, 2)], ids=["later LSN", "earlier LSN", "row gone", "never written"]
)  # fmt: skip
def test_a_weak_read_shows_what_was_there_at_its_lsn(value: int | None, lsn: int) -> None:
    told = Told()
    _weak(told)
    told.weak(1, value, lsn=lsn)
    assert told.judges() == ["witness"]


# A batch of rows is written between two instants; then one more row. Restores to the instants must hold just that.
BATCH = (2, 3, 4)


def _snapshots() -> tuple[dict[int, list[int | None]], dict[int, list[int | None]]]:
    told = Told()
    told.write(1, 10, lsn=1)
    told.write(8, 80, lsn=2)
    told.write(8, None, lsn=3)
    before = told.ledger.snapshot(range(10))
    for key in BATCH:
        told.write(key, key * 10, lsn=4)
    told.write(1, 11, lsn=5)
    return before, told.ledger.snapshot(range(10))


GOOD_ROWS: Shown = {1: 11, 2: 20, 3: 30, 4: 40}

WRONG_RESTORES: dict[str, Shown] = {
    "one row more": {**GOOD_ROWS, 9: 90},
    "one row less": {key: value for key, value in GOOD_ROWS.items() if key != 3},
    "half a batch": {key: value for key, value in GOOD_ROWS.items() if key not in (3, 4)},
    "one row of before": {**GOOD_ROWS, 1: 10},
    "a row that was deleted": {**GOOD_ROWS, 8: 80},
    "two rows change places": {**GOOD_ROWS, 2: 30, 3: 20},
    "a key outside of what anybody wrote": {**GOOD_ROWS, 5_000: 1},
    "nothing": {},
}


@pytest.mark.parametrize("name", sorted(WRONG_RESTORES))
def test_a_wrong_restore_is_named(name: str) -> None:
    before, after = _snapshots()
    assert compare(after, GOOD_ROWS) == []
    assert compare(before, {1: 10}) == []
    assert compare(after, WRONG_RESTORES[name])
    assert compare(before, GOOD_ROWS), "a cut too late is no cut"
