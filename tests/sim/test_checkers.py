"""Every checker flags every known-bad history, and nothing in the good ones."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Stamp
from scrubjay.sim.checkers.group import GroupChecker, GroupViolation, chain
from scrubjay.sim.checkers.history import FOREVER, HistoryOperation, Kind, resolved
from scrubjay.sim.checkers.ledger import DurabilityLedger
from scrubjay.sim.checkers.linear import check_linear
from scrubjay.sim.checkers.registers import RegisterLedger, compare
from scrubjay.sim.checkers.witness import check_witness
from scrubjay.sim.rand import stream
from scrubjay.storage.log.record import Record, RecordKind, encode

W, R, C = Kind.WRITE, Kind.READ, Kind.CAS


def op(
    id_: int,
    kind: Kind,
    start: int,
    end: int,
    value: int | None = None,
    *,
    lsn: int | None = None,
    expected: int | None = None,
    ok: bool | None = True,
    key: int = 0,
) -> HistoryOperation:
    return HistoryOperation(id_, id_, key, kind, start, end, value, expected, ok, lsn)


GOOD = {
    "empty": [],
    "one after another": [op(1, W, 0, 1, 1, lsn=1), op(2, R, 2, 3, 1, lsn=1), op(3, W, 4, 5, 2, lsn=2), op(4, R, 6, 7, 2, lsn=2)],
    "absent before the first": [op(1, R, 0, 1, None, lsn=0), op(2, W, 2, 3, 1, lsn=1)],
    "overlapping writes, either order": [op(1, W, 0, 10, 1, lsn=2), op(2, W, 0, 10, 2, lsn=1), op(3, R, 11, 12, 1, lsn=2)],
    "a read beside a write may see either": [op(1, W, 0, 10, 1, lsn=1), op(2, R, 1, 2, None, lsn=0), op(3, R, 3, 4, 1, lsn=1)],
    "no answer, took effect": [op(1, W, 0, FOREVER, 1), op(2, R, 50, 51, 1, lsn=1)],
    "no answer, no effect": [op(1, W, 0, FOREVER, 1), op(2, R, 50, 51, None, lsn=0)],
    "no answer, late effect": [op(1, W, 0, FOREVER, 1), op(2, R, 5, 6, None, lsn=0), op(3, R, 7, 8, 1, lsn=1)],
    "cas from absent": [op(1, C, 0, 1, 1, lsn=1, expected=None), op(2, C, 2, 3, 2, lsn=2, expected=1), op(3, R, 4, 5, 2, lsn=2)],
    "cas refused": [op(1, W, 0, 1, 1, lsn=1), op(2, C, 2, 3, 9, lsn=1, expected=7, ok=False), op(3, R, 4, 5, 1, lsn=1)],
    "keys are apart": [op(1, W, 0, 1, 1, lsn=1), op(2, R, 2, 3, None, lsn=1, key=5)],
}

BAD_BOTH = {
    "stale read": [op(1, W, 0, 1, 1, lsn=1), op(2, W, 2, 3, 2, lsn=2), op(3, R, 4, 5, 1, lsn=1)],
    "lost write": [op(1, W, 0, 1, 1, lsn=1), op(2, R, 2, 3, None, lsn=0)],
    "value from nowhere": [op(1, R, 0, 1, 9, lsn=1)],
    "value from the future": [op(1, R, 0, 1, 1, lsn=1), op(2, W, 2, 3, 1, lsn=1)],
    "a read that goes back": [op(1, W, 0, 1, 1, lsn=1), op(2, W, 2, 20, 2, lsn=2), op(3, R, 3, 4, 2, lsn=2), op(4, R, 5, 6, 1, lsn=1)],
    "unanswered write seen before it began": [op(1, R, 0, 1, 5, lsn=1), op(2, W, 2, FOREVER, 5)],
    "two readers disagree on the order": [
        op(1, W, 0, 10, 1, lsn=1), op(2, W, 0, 10, 2, lsn=2), op(3, R, 11, 12, 2, lsn=2), op(4, R, 13, 14, 1, lsn=1),
    ],
    "cas refused though the value was right": [op(1, W, 0, 1, 1, lsn=1), op(2, C, 2, 3, 9, lsn=1, expected=1, ok=False)],
    "cas on a value that was gone": [op(1, W, 0, 1, 1, lsn=1), op(2, W, 2, 3, 2, lsn=2), op(3, C, 4, 5, 3, lsn=1, expected=1)],
    "write answered after a later one, seen reversed": [op(1, W, 0, 1, 1, lsn=2), op(2, W, 2, 3, 2, lsn=1), op(3, R, 4, 5, 1, lsn=2)],
}  # fmt: skip

BAD_WITNESS = {
    "two writes share an LSN": [op(1, W, 0, 10, 1, lsn=1), op(2, W, 0, 10, 2, lsn=1)],
    "a write at the LSN of an answered one": [op(1, W, 0, 1, 1, lsn=3), op(2, W, 2, 3, 2, lsn=3)],
    "a read served below an answer": [op(1, W, 0, 1, 1, lsn=3), op(2, R, 2, 3, 1, lsn=2)],
    "an unanswered write is read, replaced, and read again": [
        op(1, W, 0, FOREVER, 1), op(2, R, 1, 2, 1, lsn=1), op(3, W, 3, 4, 2, lsn=2), op(4, R, 5, 6, 1, lsn=2),
    ],
    "a read that names the wrong version": [op(1, W, 0, 10, 1, lsn=1), op(2, W, 0, 10, 2, lsn=2), op(3, R, 11, 12, 1, lsn=2)],
}  # fmt: skip

BAD_LINEAR = {
    "two conditional writes win from one value": [
        op(1, W, 0, 1, 1), op(2, C, 2, 10, 2, expected=1), op(3, C, 2, 10, 3, expected=1),
    ],
    "an unanswered write is seen, then not, then seen": [
        op(1, W, 0, FOREVER, 1), op(2, W, 0, 1, 2), op(3, R, 2, 3, 1), op(4, R, 4, 5, 2), op(5, R, 6, 7, 1),
    ],
    "a refused cas that must have seen its value": [op(1, C, 0, 1, 1, expected=None, ok=False)],
    "a successful cas nobody could allow": [op(1, C, 0, 1, 1, expected=4)],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_histories_pass(name: str) -> None:
    assert check_witness(GOOD[name]) == []
    assert check_linear(GOOD[name]).outcome == "ok"


@pytest.mark.parametrize("name", sorted({**BAD_BOTH, **BAD_WITNESS}))
def test_the_witness_flags(name: str) -> None:
    assert check_witness({**BAD_BOTH, **BAD_WITNESS}[name])


@pytest.mark.parametrize("name", sorted({**BAD_BOTH, **BAD_LINEAR}))
def test_the_black_box_flags(name: str) -> None:
    assert check_linear({**BAD_BOTH, **BAD_LINEAR}[name]).outcome == "bad"
    assert check_linear(resolved({**BAD_BOTH, **BAD_LINEAR}[name])).outcome == "bad"


def test_what_is_resolved_has_an_order_if_and_only_if_it_had_one() -> None:
    """Small histories by chance, half of their writes unanswered: what nobody saw is left out, what somebody saw is bound, and the verdict is what it was."""
    random, verdicts, less = stream(11, "resolved"), {"ok": 0, "bad": 0}, 0
    for _ in range(4_000):
        history: list[HistoryOperation] = []
        for id_ in range(1, random.randrange(3, 8)):
            kind = random.choice([W, W, R, R, C])
            start = random.randrange(12)
            unanswered = kind is not R and random.random() < 0.5
            end = FOREVER if unanswered else start + random.randrange(1, 6)
            value = random.choice([None, *range(1, 8)]) if kind is R else id_
            expected = random.choice([None, *range(1, 8)]) if kind is C else None
            ok = None if unanswered or kind is not C else random.random() < 0.7
            history.append(op(id_, kind, start, end, value, expected=expected, ok=ok))
        left = resolved(history)
        assert check_linear(left).outcome == check_linear(history).outcome, history
        verdicts[check_linear(history).outcome] += 1
        less += sum(not one.answered for one in left) < sum(not one.answered for one in history)
    assert min(verdicts.values()) > 400, verdicts
    assert less > 1_000


def test_a_value_that_was_written_twice_cannot_be_resolved() -> None:
    with pytest.raises(ValueError, match="twice"):
        resolved([op(1, W, 0, 1, 1), op(2, W, 2, 3, 1)])


def test_beyond_the_step_limit_the_verdict_is_unknown_never_ok() -> None:
    many = [op(number, W, 0, 1_000, number) for number in range(1, 30)] + [op(99, R, 2_000, 2_001, 999)]
    verdict = check_linear(many, steps_max=5_000)
    assert verdict.outcome == "unknown"
    assert verdict.key == 0


def _atomic_history(seed: int, count: int) -> list[HistoryOperation]:
    """A history of a real register: each operation takes effect at a moment between its call and its answer."""
    draw = stream(seed, "history")
    points = sorted((draw.between(0, 400), number) for number in range(count))
    value: int | None = None
    lsn, found = 0, []
    for at, number in points:
        start, end = at - draw.between(0, 20), at + draw.between(0, 20)
        kind = (W, R, C)[draw.between(0, 2)]
        if kind is R:
            found.append(op(number, R, start, end, value, lsn=lsn))
        elif kind is W:
            lsn, value = lsn + 1, 1_000 + number
            found.append(op(number, W, start, end if draw.chance(0.8) else FOREVER, value, lsn=lsn))
        else:
            expected = value if draw.chance(0.6) else 7
            ok = expected == value
            if ok:
                lsn, value = lsn + 1, 1_000 + number
            found.append(op(number, C, start, end, 1_000 + number, lsn=lsn, expected=expected, ok=ok))
    return found


def test_random_atomic_histories_pass_and_shifted_reads_are_noticed() -> None:
    noticed = 0
    for seed in range(60):
        history = _atomic_history(seed, 24)
        assert check_linear(history).outcome == "ok", seed
        assert check_witness(history) == [], seed
        late = max((one.end for one in history if one.answered), default=0) + 100
        last = [one for one in history if one.kind is not R and one.ok]
        if len(last) >= 2:
            stale = op(900, R, late, late + 1, 123_456, lsn=10_000)
            noticed += check_linear([*history, stale]).outcome == "bad" and bool(check_witness([*history, stale]))
    assert noticed > 40


def _record(lsn: int, stamp: int, body: bytes = b"") -> Record:
    return encode(owner=bytes(8), lsn=lsn, stamp=stamp, kind=RecordKind.DATA, payload=body)


def test_group_agreement_order_rising_and_rests() -> None:
    checker = GroupChecker()
    first = _record(1, 10)
    checker.applied("n1", first, None)
    checker.applied("n2", first, None)
    for bad, rests, word in (
        (_record(1, 10, b"x"), None, "agreement"),
        (_record(3, 30), None, "order"),
        (_record(2, 10), None, "rising"),
        (_record(2, 20), bytes(16), "rests"),
    ):
        with pytest.raises(GroupViolation, match=word):
            checker.applied("n2", bad, rests)
    checker.applied("n2", _record(2, 20), chain(bytes(16), first.data))


def test_group_closed_timestamps() -> None:
    checker = GroupChecker()
    checker.applied("n1", _record(1, 10), None)
    checker.closed("n1", 15, 1)
    with pytest.raises(GroupViolation, match="closed"):
        checker.applied("n1", _record(2, 15), None)
    checker.applied("n1", _record(2, 16), None)
    with pytest.raises(GroupViolation, match="closed"):
        checker.closed("n1", 16, 1)
    checker.closed("n1", 40, 3)
    checker.applied("n1", _record(3, 30), None)
    with pytest.raises(GroupViolation, match="closed"):
        checker.applied("n1", _record(4, 40), None)


def test_group_leases() -> None:
    checker = GroupChecker()
    checker.applied("n1", _record(1, 10), None)
    checker.leases([("n1", 1)])
    with pytest.raises(GroupViolation, match="one lease"):
        checker.leases([("n1", 1), ("n2", 1)])
    with pytest.raises(GroupViolation, match="fresh"):
        checker.leases([("n2", 0)])
    assert Stamp(0) == 0


def test_the_ledger_flags_lost_moved_doubled_failed_and_foreign_writes() -> None:
    ledger = DurabilityLedger()
    for id_ in (1, 2, 3):
        ledger.sent(id_)
    ledger.acknowledged(1, 5)
    ledger.failed(2)
    assert ledger.check({5: 1}) == []
    assert ledger.check({5: 1, 6: 3}) == [], "no answer: either"
    for log, word in (
        ({}, "lost"),
        ({7: 1}, "is at LSN"),
        ({5: 1, 6: 1}, "twice"),
        ({5: 1, 6: 2}, "not done"),
        ({5: 1, 6: 77}, "never sent"),
    ):
        assert any(word in finding for finding in ledger.check(log)), word


DELETED = [op(1, W, 0, 1, 1, lsn=1), op(2, W, 2, 3, None, lsn=2)]
WRITTEN = [op(1, W, 0, 1, 1, lsn=1), op(2, W, 2, 3, 2, lsn=2)]
PLANTED = {
    "lost write": (WRITTEN, 0, None),
    "stale read": (WRITTEN, 0, 1),
    "extra key": (WRITTEN, 5, 9),
    "resurrected delete": (DELETED, 0, 1),
}
"""What was done; and what a last read of a key then shows, which no checker may let pass."""


def _ledger(history: list[HistoryOperation]) -> RegisterLedger:
    ledger = RegisterLedger()
    for one in history:
        ledger.sent(one.key, one.id, one.value, compare=one.kind is C, expected=one.expected)
        if one.lsn is not None:
            ledger.acknowledged(one.key, one.id, one.lsn)
    return ledger


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_every_checker_flags_what_is_planted_at_the_end(name: str) -> None:
    history, key, shown = PLANTED[name]
    end = [*history, op(99, R, 10, 11, shown, lsn=2, key=key)]
    assert check_linear(history).outcome == "ok"
    assert check_linear(end).outcome == "bad"
    assert check_witness(history) == []
    assert check_witness(end)
    ledger = _ledger(history)
    good = {0: history[-1].value}
    assert ledger.check(good) == []
    assert ledger.check({**good, key: shown})
    assert compare({0: [history[-1].value]}, {**good, key: shown})


def test_the_log_ledger_flags_what_is_planted_in_a_log() -> None:
    ledger = DurabilityLedger()
    ledger.sent(1)
    ledger.acknowledged(1, 5)
    assert ledger.check({5: 1}) == []
    assert ledger.check({})  # lost
    assert ledger.check({5: 1, 6: 2})  # extra
    assert ledger.check({5: 1, 7: 1})  # there again


def test_the_register_ledger_allows_the_last_acknowledged_write_by_lsn_and_what_has_no_answer() -> None:
    ledger = RegisterLedger()
    assert ledger.allowed(0) == [None]
    for id_, lsn in ((1, 7), (2, 6)):  # the second was acknowledged later and lies lower in the log
        ledger.sent(0, id_, id_)
        ledger.acknowledged(0, id_, lsn)
    assert ledger.allowed(0) == [1]
    ledger.sent(0, 3, 3)
    assert ledger.allowed(0) == [1, 3]
    ledger.failed(0, 3)
    assert ledger.allowed(0) == [1]
    assert ledger.check({0: 3}) == ["key 0 holds 3; acknowledged or possible: [1]"]
    assert ledger.check({}) == ["key 0 is absent; acknowledged or possible: [1]"]
    assert ledger.check({0: 1, 4: 8}) == ["key 4 holds 8 and should not be there"]


def test_the_register_ledger_excludes_an_unanswered_write_that_was_read_below_a_later_one() -> None:
    ledger = RegisterLedger()
    ledger.sent(0, 1, 1)
    ledger.read(0, 1, 4)
    assert ledger.allowed(0) == [None, 1]
    ledger.sent(0, 2, 2)
    ledger.acknowledged(0, 2, 5)
    assert ledger.allowed(0) == [2], "it took effect at LSN 4, and once"


def test_the_register_ledger_follows_unanswered_conditional_writes() -> None:
    ledger = RegisterLedger()
    ledger.sent(0, 1, 1)
    ledger.acknowledged(0, 1, 1)
    ledger.sent(0, 2, 2, compare=True, expected=9)
    assert ledger.allowed(0) == [1], "what it expects was never there"
    ledger.sent(0, 3, 3, compare=True, expected=4)
    ledger.sent(0, 4, 4, compare=True, expected=1)
    assert ledger.allowed(0) == [1, 4, 3]
