"""How a worker process gives way to whoever serves: behind it in line for a core and a disk, and at rest for most of the time while somebody is served.

It rests in small steps, whatever it is at: a timer of the processor time that it uses interrupts it after `STEP_S`, and it sleeps for as long as its share asks. So nobody
who serves waits for a core longer than a step, whichever scheduler the machine has. A step ends between two bytecodes: no lock of a library is held while it sleeps.

Only the `main` of a worker process uses this (it lies outside `base/real` for the same reason as `base/worker.py`).
"""

from __future__ import annotations

import os
import select
import signal
import time  # noqa: TID251  (the processor time of a process of its own, which no clock of ours has)
from collections.abc import Callable
from contextlib import suppress

NICE = 10
"""Of a busy core a node's process gets some nine tenths beside one of these, and what they read of a disk is read behind it (Linux derives one priority from the other). Never so low
that a busy machine would not let them end."""
STEP_S = 0.002
"""Of processor time between two rests; the kernel may make it one of its ticks."""
REST_MAX_S = 0.25
"""What one step can cost, however long a library held on to it."""


def _pause(seconds: float) -> None:
    """By a wait that counts from now: `time.sleep` has a deadline on the monotonic clock, which a stepped clock of a guest (or a faked one) can put below zero."""
    select.select((), (), (), seconds)


class Rests:
    """share: of a core that this process may use, 0 < share <= 1; 1: it never rests."""

    def __init__(self, *, used_s: Callable[[], float] = time.process_time, sleep: Callable[[float], object] = _pause) -> None:
        self._used_s, self._sleep = used_s, sleep
        self._upto_s = used_s()
        self._share = self.share = 1.0

    def rest(self) -> None:
        """As long as what was used since the last call asks for. What was used under another share counts as used under the present one, a step at most."""
        used_s = self._used_s() - self._upto_s
        if self.share < 1.0:
            if self._share != self.share:
                used_s = min(used_s, STEP_S)
            with suppress(OSError):  # a rest that cannot be had is no error of the work that it interrupts
                self._sleep(max(0.0, min(REST_MAX_S, used_s * (1.0 / self.share - 1.0))))
        self._share, self._upto_s = self.share, self._used_s()


def give_way() -> Rests:
    """From now on this process gives way; what it returns is told how much."""
    os.nice(NICE)
    rests = Rests()
    signal.signal(signal.SIGPROF, lambda _number, _frame: rests.rest())
    signal.setitimer(signal.ITIMER_PROF, STEP_S, STEP_S)
    return rests
