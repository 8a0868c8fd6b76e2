"""The front door's view of the machine's clock: a command measures how long it waited and pauses between polls."""

from __future__ import annotations

import threading

from scrubjay.base.real.clock import RealClock

_CLOCK = RealClock()


def monotonic_s() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return _CLOCK.boot_us() / 1_000_000


def wall_us() -> int:
    """Microseconds since the epoch, of this machine."""
    return _CLOCK.wall_us()


def pause(seconds: float) -> None:
    """Wait. Ctrl-C ends it with KeyboardInterrupt."""
    threading.Event().wait(seconds)
