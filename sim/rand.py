"""Seeded randomness: one stream per purpose, so that a draw added in one place does not shift the others."""

from __future__ import annotations

import random  # noqa: TID251  the generator behind every simulated draw: seeded, never the module's own state
import uuid


class Stream(random.Random):
    """A seeded stream with the shapes of draw that fault injection needs."""

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return self.randint(low, high)


def stream(seed: int, purpose: str) -> Stream:
    """The stream of one actor or fault source of a run."""
    return Stream(f"{seed}/{purpose}")


class SimRand:
    """base.env.Rand on a seeded stream."""

    def __init__(self, source: Stream) -> None:
        self._source = source

    def u64(self) -> int:
        return self._source.getrandbits(64)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._source.getrandbits(128), version=4))

    def uniform(self, low: float, high: float) -> float:
        return self._source.uniform(low, high)
