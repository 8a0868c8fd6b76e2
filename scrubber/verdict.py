"""The three verdicts and how they add up. What could not be compared is `unverified`; it is never `match`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """match: compared whole and equal. unverified: not compared (a reason stands beside it). mismatch: a difference or rot was found."""

    MATCH = "match"
    UNVERIFIED = "unverified"
    MISMATCH = "mismatch"


_RANK = {Verdict.MATCH: 0, Verdict.UNVERIFIED: 1, Verdict.MISMATCH: 2}
_EXIT = {Verdict.MATCH: 0, Verdict.UNVERIFIED: 3, Verdict.MISMATCH: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of all. Nothing at all was compared: unverified."""
    found = max(verdicts, key=_RANK.__getitem__, default=None)
    return Verdict.UNVERIFIED if found is None else found


def exit_code(verdict: Verdict) -> int:
    """Exit code of INTERFACE section 1: 0 match, 2 mismatch, 3 unverified."""
    return _EXIT[verdict]
