"""The front door's view of the machine's clock. A command is a process shell: it measures how long it waited and pauses between polls."""

from __future__ import annotations

import time  # noqa: TID251 - commands run on a person's clock, outside every simulated component


def monotonic_s() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()


def wall_us() -> int:
    """Microseconds since the epoch, of this machine."""
    return time.time_ns() // 1000


def pause(seconds: float) -> None:
    """Wait. Ctrl-C ends it with KeyboardInterrupt."""
    time.sleep(seconds)
