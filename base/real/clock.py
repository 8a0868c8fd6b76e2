"""The machine's clocks behind `base.env.Clock`."""

from __future__ import annotations

import time


class RealClock:
    """wall_us may jump with the machine's clock; boot_us (CLOCK_BOOTTIME) never goes back and counts suspension."""

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def boot_us(self) -> int:
        """Microseconds since boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
