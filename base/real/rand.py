"""The machine's randomness behind `base.env.Rand`."""

from __future__ import annotations

import os
import random
import uuid


class RealRand:
    """Every value from the operating system's generator: nothing is seeded, nothing repeats after a fork or a snapshot of the machine."""

    def __init__(self) -> None:
        self._system = random.SystemRandom()

    def u64(self) -> int:
        """64 random bits."""
        return int.from_bytes(os.urandom(8), "little")

    def uuid(self) -> str:
        """A fresh random UUID, canonical text."""
        return str(uuid.uuid4())

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high]."""
        return self._system.uniform(low, high)
