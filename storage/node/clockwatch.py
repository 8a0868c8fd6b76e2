"""Notices that the cluster's stamps and this machine's clock have come apart.

A wall clock that jumps ahead carries the stamps with it; set back, it leaves them behind, and every peer refuses a clock so far ahead: nothing is served until
the wall clock has caught up. The same, for seconds, after a restart of a node whose syncs were slow: it goes on from a reservation that reached far (ADR 0066).
That must be seen, with its name and its ways out (runbooks/clock-ahead.md).
"""

from __future__ import annotations

from scrubjay.base.hlc import HybridClock


class ClockWatch:
    """fault: what is wrong, or "". allowed_us: how far ahead of the wall clock peers accept a stamp."""

    def __init__(self, clock: HybridClock, *, allowed_us: int) -> None:
        self._clock = clock
        self._allowed_us = allowed_us
        self.fault = ""

    def look(self, wall_us: int) -> bool:
        """Compare. True if there is a fault now and was none, or the other way round."""
        ahead_us = self._clock.ahead_us(wall_us)
        wrong = ahead_us > self._allowed_us + HybridClock.RESERVE_AHEAD_US
        changed = wrong != bool(self.fault)
        if wrong:
            self.fault = (
                f"the cluster's time is {ahead_us / 1e6:.1f} s ahead of this machine's clock (allowed {self._allowed_us / 1e6:g} s): "
                "the clock was ahead and was set back, or syncs were slow before the last start; nothing is served until it has caught up"
            )
        else:
            self.fault = ""
        return changed
