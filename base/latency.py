"""How long calls and runs took, as a histogram in powers of two: cheap enough for every request, wide enough for a night."""

from __future__ import annotations

from dataclasses import dataclass, field

BUCKETS = 40
"""Bucket n counts what took less than 2^n microseconds (the last one: all that took longer than three days)."""


@dataclass(slots=True)
class Latency:
    """counts: see BUCKETS. total_us, max_us: of all calls."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    total_us: int = 0
    max_us: int = 0

    def took(self, us: int) -> None:
        """One more call. us: microseconds; what a clock that was set back makes of it counts as none."""
        us = max(us, 0)
        self.counts[min(us.bit_length(), BUCKETS - 1)] += 1
        self.total_us += us
        self.max_us = max(self.max_us, us)
