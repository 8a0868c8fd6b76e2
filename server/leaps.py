"""Whether this machine's wall clock leapt since the server began, by the boot clock, which does not."""

from __future__ import annotations

from scrubjay.archiver.expire.plan import KEEP_MAX_US
from scrubjay.base.env import Clock
from scrubjay.base.times import utc_text

LEAP_US = 60_000_000
"""So much more or less than the time that passed between two looks the wall clock may have gone on."""
SETTLE_US = 20 * 3_600_000_000
"""For so long after a leap was seen nothing is taken away: whoever looks after the machine has a day, and the run of the next night goes on by itself."""


class LeapWatch:
    """`look()` before anything is called old. A leap is dated by the look that sees it: later than it was, never earlier."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = (clock.wall_us(), clock.boot_us())
        self._ahead_us, self._leap_us = 0, 0
        self._seen: tuple[int, int] | None = None

    def look(self) -> None:
        wall_us, boot_us = self._clock.wall_us(), self._clock.boot_us()
        leap_us = (wall_us - self._last[0]) - (boot_us - self._last[1])
        self._last = (wall_us, boot_us)
        if self._seen is not None and boot_us - self._seen[1] > KEEP_MAX_US:
            self._seen, self._ahead_us = None, 0  # what was dated before it has left every window
        if abs(leap_us) > LEAP_US:
            self._leap_us, self._ahead_us, self._seen = leap_us, self._ahead_us + leap_us, (wall_us, boot_us)

    @property
    def ahead_us(self) -> int:
        """So much older than it is what was dated before the leaps seems by now; until all of that has left every window."""
        return max(0, self._ahead_us)

    @property
    def doubt(self) -> str | None:
        """Why nothing may be called old for now, and until when; None: nothing speaks against the clock."""
        if self._seen is None or self._clock.boot_us() - self._seen[1] >= SETTLE_US:
            return None
        wall_us = self._seen[0]
        return (
            f"this machine's clock leapt by {self._leap_us / 1e6:+.0f} s, as was seen at {utc_text(wall_us)}: until {utc_text(wall_us + SETTLE_US)}"
            " nothing is called old"
        )
