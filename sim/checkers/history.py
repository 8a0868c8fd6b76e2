"""What clients did and saw: the input of every history checker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

FOREVER = 1 << 62
"""End of an operation that was never answered: it may take effect at any later time, or never."""


class Kind(Enum):
    """WRITE sets a value. READ returns one (None: absent). CAS sets `value` if the present one equals `expected`; ok says whether it did.

    WEAK is a read that may be late: bound to the LSN that it names, not to time; only the witness judges it.
    """

    WRITE = "write"
    READ = "read"
    CAS = "cas"
    WEAK = "weak"


@dataclass(frozen=True, slots=True)
class HistoryOperation:
    """One operation of one client on one key. Times are true microseconds.

    start, end: call and answer; FOREVER if no answer came (effect unknown). value: written, or read. ok: for CAS, None if unknown.
    lsn: what the answer named: the commit LSN, or the LSN that a read or a refused CAS was served at; None if there was no answer.
    Operations that certainly had no effect are left out of a history.
    """

    id: int
    client: int
    key: int
    kind: Kind
    start: int
    end: int
    value: int | None = None
    expected: int | None = None
    ok: bool | None = None
    lsn: int | None = None

    @property
    def answered(self) -> bool:
        return self.end < FOREVER


def resolved(operations: Sequence[HistoryOperation]) -> list[HistoryOperation]:
    """The same history with less left open, for a judge whose work doubles with each unanswered write: one whose value somebody saw took effect before whoever saw it
    first was answered, and one whose value nobody ever saw may as well not have been (but for a key where a CAS was refused: that may have been its doing).

    Pure; a history is linearizable if and only if what this returns is. Raises ValueError if a value (but None, which is left as it is) was written twice to a key.
    """
    by_key: dict[int, list[HistoryOperation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    return [left for of_key in by_key.values() for left in _resolved_of(of_key)]


def _resolved_of(operations: Sequence[HistoryOperation]) -> Iterable[HistoryOperation]:
    written = [one.value for one in operations if one.kind in (Kind.WRITE, Kind.CAS) and one.value is not None]
    if len(set(written)) != len(written):
        raise ValueError("a value was written twice to one key")
    refused = any(one.kind is Kind.CAS and one.ok is False for one in operations)
    seen: dict[int | None, int] = {}
    """Values that somebody saw, with the end of who saw it first."""
    for one in operations:
        if one.answered and (one.kind is Kind.READ or (one.kind is Kind.CAS and one.ok)):
            value = one.value if one.kind is Kind.READ else one.expected
            seen[value] = min(one.end, seen.get(value, FOREVER))
    open_ = {one.value: one for one in operations if not one.answered and one.kind is not Kind.READ and one.value is not None}
    turn = [value for value in seen if value in open_]
    while turn:  # a CAS without an answer that took effect saw what it expected
        one = open_[turn.pop()]
        end = seen[one.value]
        if one.kind is Kind.CAS and end < seen.get(one.expected, FOREVER):
            seen[one.expected] = end
            if one.expected in open_:
                turn.append(one.expected)
    for one in operations:
        if one.answered or one.kind is Kind.READ or one.value is None:
            yield one
        elif one.value in seen:
            yield replace(one, end=max(one.start, seen[one.value]), ok=True if one.kind is Kind.CAS else one.ok)
        elif refused:
            yield one
