"""Version witness: every answer names an LSN, so linearizability is a sort and one pass. It trusts the store's LSNs, so it does not stand alone."""

from __future__ import annotations

from collections.abc import Sequence

from sim.checkers.history import Kind, Operation

_READS = (Kind.READ, Kind.WEAK)


def _writes(operation: Operation) -> bool:
    return operation.kind is Kind.WRITE or (operation.kind is Kind.CAS and operation.ok is not False)


def check_witness(operations: Sequence[Operation]) -> list[str]:
    """Findings, empty if none. operations: one partition, values unique per key over all writes.

    1 no two writes share an LSN. 2 real time: what starts after an answer is served at that LSN or above (a write: above).
    3 a read at LSN s, weak ones too, returns the last write at or below s; a value of a write without answer is allowed if it could have been there: not before the write
    began, and not again once a write above the LSN at which it was first read replaced it.
    """
    findings: list[str] = []
    answered = [one for one in operations if one.answered and one.lsn is not None and one.kind is not Kind.WEAK]
    commits: dict[int, Operation] = {}
    for one in answered:
        if _writes(one):
            other = commits.get(one.lsn or 0)
            if other is not None:
                findings.append(f"operations {other.id} and {one.id} share LSN {one.lsn}")
            commits[one.lsn or 0] = one
    findings += _real_time(answered)
    by_key: dict[int, list[Operation]] = {}
    for one in operations:
        by_key.setdefault(one.key, []).append(one)
    for key in sorted(by_key):
        findings += _values(by_key[key])
    return findings


def _real_time(answered: list[Operation]) -> list[str]:
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


def _values(operations: list[Operation]) -> list[str]:
    findings = []
    known = sorted([one for one in operations if _writes(one) and one.answered], key=lambda one: one.lsn or 0)
    unknown = {one.value: one for one in operations if _writes(one) and not one.answered}
    writers = {one.value: one for one in known}
    first_read: dict[int | None, int] = {}
    for one in operations:
        if one.kind in _READS and one.answered and one.lsn is not None and one.value is not None and one.value in unknown:
            first_read[one.value] = min(one.lsn, first_read.get(one.value, one.lsn))
    for read in operations:
        if not read.answered or read.lsn is None:
            continue
        if read.kind in _READS:
            seen = read.value
        elif read.kind is Kind.CAS and read.ok is False:
            before = _last(known, read.lsn)
            if before is not None and before.value == read.expected and not unknown:
                findings.append(f"cas {read.id} was refused at LSN {read.lsn} although the value was {read.expected}")
            continue
        else:
            continue
        before = _last(known, read.lsn)
        expected = None if before is None else before.value
        if seen == expected:
            continue
        if seen in unknown:
            if unknown[seen].start > read.end:
                findings.append(f"read {read.id} returned {seen} before operation {unknown[seen].id} began")
            elif before is not None and first_read.get(seen, read.lsn) < (before.lsn or 0):
                findings.append(f"read {read.id} at LSN {read.lsn} returned {seen}, which was there before LSN {before.lsn} replaced it")
            continue
        writer = writers.get(seen)
        detail = "nobody wrote it" if writer is None and seen is not None else f"the last write below LSN {read.lsn} is {expected}"
        findings.append(f"read {read.id} at LSN {read.lsn} returned {seen}: {detail}")
    return findings


def _last(known: list[Operation], lsn: int) -> Operation | None:
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if (known[middle].lsn or 0) <= lsn:
            low = middle + 1
        else:
            high = middle
    return known[low - 1] if low else None
