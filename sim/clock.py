"""A host's clocks: they run at a rate of their own, the wall clock has an offset that may jump."""

from __future__ import annotations

from typing import Protocol

MILLION = 1_000_000
WALL_START_US = 1_800_000_000_000_000
BOOT_START_US = 5_000_000


class TrueTime(Protocol):
    now: int


class SimClock:
    """base.env.Clock. rate_ppm: how much faster than true time, parts per million. offset_us: wall clock ahead of true time."""

    def __init__(self, world: TrueTime, *, rate_ppm: int = 0, offset_us: int = 0) -> None:
        self._world = world
        self._rate = MILLION + rate_ppm
        self._wall_base = WALL_START_US + offset_us
        self._boot_base = BOOT_START_US
        self._disciplined = 0
        """What was taken back of the wall clock so far."""

    def _elapsed(self) -> int:
        return self._world.now * self._rate // MILLION

    def wall_us(self) -> int:
        return self._wall_base + self._elapsed()

    def boot_us(self) -> int:
        return self._boot_base + self._elapsed()

    def jump(self, by_us: int) -> None:
        """Somebody set the wall clock."""
        self._wall_base += by_us

    def discipline(self) -> None:
        """Somebody keeps the wall clock in time, as NTP does: what its rate has made of it since the last time is taken back. What it is off by, and the boot clock, stay."""
        drifted = self._elapsed() - self._world.now
        self.jump(self._disciplined - drifted)
        self._disciplined = drifted

    def reboot(self) -> None:
        """The machine restarts: its boot clock begins anew, at some small value."""
        self._boot_base = BOOT_START_US - self._elapsed()

    def true_us(self, local_us: int) -> int:
        """True time that passes while this clock advances by `local_us`, rounded up."""
        return -(-local_us * MILLION // self._rate)
