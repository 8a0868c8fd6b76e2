"""The arithmetic of majorities."""

from __future__ import annotations

from collections.abc import Iterable


def quorum_of(members: int) -> int:
    """Smallest number of members that any other such set meets."""
    assert members >= 1
    return members // 2 + 1


def reached(values: Iterable[int], members: int) -> int:
    """The highest value that a quorum has reached; members that said nothing count as 0.

    values: one per member that said something, for example the last LSN it accepted.
    """
    ranked = sorted(values, reverse=True)
    need = quorum_of(members)
    return ranked[need - 1] if len(ranked) >= need else 0
