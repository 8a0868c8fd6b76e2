"""Where a partition is cut in two: the boundary between two partition keys that is nearest to half of what lies there (ADR 0078). Pure.

One walk over the rows, in key order, tells: nobody has to know beforehand how much there is, and what is remembered of it is bounded.
"""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.storage.items.keys import HASH_BYTES

GRAINS = 1024
"""Boundaries closer together than this part of what was walked over may be forgotten, so a cut lies within it of the nearest."""


class CutPoint(NamedTuple):
    """cut: the hash of the first partition key that goes right. left, total: weight below it, and of all."""

    cut: bytes
    left: int
    total: int


class SplitPoint:
    """Takes rows in key order. grains: see GRAINS; four times as many boundaries are remembered at most.

    Invariants: 1 boundaries rise, in weight too. 2 between two neighbours that are remembered lies at most a grain of the weight, or one partition key."""

    def __init__(self, grains: int = GRAINS) -> None:
        self._grains = grains
        self._boundaries: list[tuple[int, bytes]] = []
        """Weight in front of a partition key, and its hash."""
        self._hash = b""
        self._weight = 0

    def add(self, key: bytes, weight: int) -> None:
        """The next row. key: of storage. weight: its bytes, or 1 where rows are counted."""
        hash_ = key[:HASH_BYTES]
        if hash_ != self._hash:
            assert hash_ > self._hash, "rows come in key order"
            if self._hash:
                self._boundaries.append((self._weight, hash_))
                if len(self._boundaries) > 4 * self._grains:
                    self._thin()
            self._hash = hash_
        self._weight += weight

    def _thin(self) -> None:
        """Forget each that is not needed to come within a grain of it."""
        grain, kept, last = self._weight // self._grains, list[tuple[int, bytes]](), 0
        ahead = [*self._boundaries[1:], (self._weight + grain + 1, b"")]
        for one, after in zip(self._boundaries, ahead, strict=True):
            if after[0] - last > grain:
                kept.append(one)
                last = one[0]
        self._boundaries = kept

    def nearest(self) -> CutPoint | None:
        """None: all is of one partition key, or nothing is there: it cannot be divided."""
        if not self._boundaries:
            return None
        left, cut = min(self._boundaries, key=lambda one: abs(2 * one[0] - self._weight))
        return CutPoint(cut, left, self._weight)

    def check_invariants(self) -> None:
        """Programmer errors only."""
        assert len(self._boundaries) <= 4 * self._grains
        assert all(one < other for one, other in zip(self._boundaries, self._boundaries[1:], strict=False))
