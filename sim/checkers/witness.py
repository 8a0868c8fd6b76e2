"""Version witness: every answer names an LSN, so linearizability is a sort and one pass. It trusts the store's LSNs, so it does not stand alone."""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.sim.checkers.history import HistoryOperation, Kind

_READS = (Kind.READ, Kind.WEAK)


def _writes(operation: HistoryOperation) -> bool:
    return operation.kind is Kind.WRITE or (operation.kind is Kind.CAS and operation.ok is not False)


def check_witness(operations: Sequence[HistoryOperation]) -> list[str]:
    """Findings, empty if none. operations: one partition, values unique per key over all writes.

    1 no two writes share an LSN. 2 real time: what starts after an answer is served at that LSN or above (a write: above).
    3 a read at LSN s, weak ones too, returns the last write at or below s; a value of a write without answer is allowed if it could have been there: not before the write
    began, and not again once a write above the LSN at which it was first read replaced it. 4 what a condition expects is read just below the LSN at which it won; one
    that was refused expects something that was not, or need not have been, there.
    """
    findings: list[str] = []
    answered = [one for one in operations if one.answered and one.lsn is not None and one.kind is not Kind.WEAK]
    commits: dict[int, HistoryOperation] = {}
    for one in answered:
        if _writes(one):
            other = commits.get(one.lsn or 0)
            if other is not None:
                findings.append(f"operations {other.id} and {one.id} share LSN {one.lsn}")
            commits[one.lsn or 0] = one
    findings += _real_time(answered)
    by_key: dict[int, list[HistoryOperation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    for key in sorted(by_key):
        findings += _values(by_key[key])
    return findings


def _real_time(answered: list[HistoryOperation]) -> list[str]:
    findings = []
    by_end = sorted(answered, key=lambda one: (one.end, one.id))
    highest, who, at = -1, -1, 0
    for one in sorted(answered, key=lambda one: (one.start, one.id)):
        while at < len(by_end) and by_end[at].end < one.start:
            if (by_end[at].lsn or 0) > highest:
                highest, who = by_end[at].lsn or 0, by_end[at].id
            at += 1
        lsn = one.lsn or 0
        if lsn < highest or (lsn == highest and _writes(one)):
            findings.append(f"operation {one.id} at LSN {lsn} began after operation {who} was answered at LSN {highest}")
    return findings


def _values(operations: list[HistoryOperation]) -> list[str]:
    findings = []
    known = sorted([one for one in operations if _writes(one) and one.answered], key=lambda one: one.lsn or 0)
    writers = {one.value: one for one in known}
    unanswered = _Unanswered(operations)
    for one in operations:
        if not one.answered or one.lsn is None:
            continue
        if one.kind in _READS:
            findings += _saw(one, one.value, one.lsn, known, writers, unanswered)
        elif one.kind is Kind.CAS and one.ok:
            findings += _saw(one, one.expected, one.lsn - 1, known, writers, unanswered)
        elif one.kind is Kind.CAS:
            before = _last(known, one.lsn)
            value = None if before is None else before.value
            others = [other for other in unanswered.values() if other != value]
            if value == one.expected and all(unanswered.fault(other, one, one.lsn, before) for other in others):
                findings.append(f"cas {one.id} was refused at LSN {one.lsn} although the value was {one.expected}")
    return findings


def _saw(
    one: HistoryOperation,
    seen: int | None,
    lsn: int,
    known: list[HistoryOperation],
    writers: dict[int | None, HistoryOperation],
    unanswered: _Unanswered,
) -> list[str]:
    """One operation saw a value at an LSN, or its condition held on it there."""
    what = f"read {one.id} at LSN {lsn} returned" if one.kind in _READS else f"cas {one.id} at LSN {one.lsn} held on"
    before = _last(known, lsn)
    expected = None if before is None else before.value
    if seen == expected:
        return []
    if seen in unanswered.values():
        fault = unanswered.fault(seen, one, lsn, before)
        return [f"{what} {seen}{fault}"] if fault else []
    detail = "nobody wrote it" if seen not in writers and seen is not None else f"the last write below LSN {lsn + 1} is {expected}"
    return [f"{what} {seen}: {detail}"]


class _Unanswered:
    """Writes of one key that had no answer, by their value."""

    def __init__(self, operations: list[HistoryOperation]) -> None:
        self._began: dict[int | None, HistoryOperation] = {}
        self._first_read: dict[int | None, int] = {}
        for one in operations:
            if _writes(one) and not one.answered and (one.value not in self._began or one.start < self._began[one.value].start):
                self._began[one.value] = one
        for one in operations:
            if one.kind in _READS and one.answered and one.lsn is not None and one.value is not None and one.value in self._began:
                self._first_read[one.value] = min(one.lsn, self._first_read.get(one.value, one.lsn))

    def values(self) -> list[int | None]:
        return list(self._began)

    def fault(self, value: int | None, seen_by: HistoryOperation, lsn: int, before: HistoryOperation | None) -> str:
        """Why it cannot have been there at `lsn` for this operation, whose last known write below is `before`; "" if it can."""
        if self._began[value].start > seen_by.end:
            return f" before operation {self._began[value].id} began"
        if before is not None and self._first_read.get(value, lsn) < (before.lsn or 0):
            return f", which was there before LSN {before.lsn} replaced it"
        return ""


def _last(known: list[HistoryOperation], lsn: int) -> HistoryOperation | None:
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if (known[middle].lsn or 0) <= lsn:
            low = middle + 1
        else:
            high = middle
    return known[low - 1] if low else None
