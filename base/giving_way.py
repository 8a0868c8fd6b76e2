"""How a worker process gives way to whoever serves: behind it in line for a core and a disk, and at rest for most of the time while somebody is served.

It rests in small steps, whatever it is at: a timer looks at what it used of the processor every `STEP_S`, and it sleeps for as long as its share asks. So nobody who serves waits
for a core longer than a step, whichever scheduler the machine has. A step ends between two bytecodes: no lock of a library is held while it sleeps; so a call into a library
must not be given more than it does in a step or two (`base/checksum.py` goes through large buffers in pieces).

The timer counts time that passes. Those that count what a process used strike at a tick of the kernel, 4 ms apart, and a request that meets a step on each of its way's wake-ups
waited for as many ticks (ADR 0065).

Only the `main` of a worker process uses this (it lies outside `base/real` for the same reason as `base/worker.py`).
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import time  # noqa: TID251  (the processor time of a process of its own, which no clock of ours has)
from collections.abc import Callable
from contextlib import suppress

NICE = 10
"""Of a busy core a node's process gets some nine tenths beside one of these, and what they read of a disk is read behind it (Linux derives one priority from the other). Never so low
that a busy machine would not let them end."""
STEP_S = 0.0005
"""Between two looks, and so of a core between two rests."""
WAITING = 0.2
"""Who used less of a step than this waits for something else: looks become rarer, ..."""
LOOK_MAX_S = 0.004
"""... down to this, so that a wait costs next to nothing."""
REST_MAX_S = 0.25
"""What one step can cost, however long a library held on to it."""


def _pause(seconds: float) -> None:
    """By a wait that counts from now: `time.sleep` has a deadline on the monotonic clock, which a stepped clock of a guest (or a faked one) can put below zero."""
    select.select((), (), (), seconds)


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Rests:
    """What a process that gives way may use of a core: all of it, or, for work that nobody waits for, the share that it is told.

    alarm(seconds): calls `strike` once, so much later, unless it is called again before; 0: never. Calls may come from any thread, `strike` from one.
    """

    def __init__(
        self,
        *,
        used_s: Callable[[], float] = time.process_time,
        sleep: Callable[[float], object] = _pause,
        alarm: Callable[[float], object] = _alarm,
    ) -> None:
        self._used_s, self._sleep, self._alarm = used_s, sleep, alarm
        self._upto_s = used_s()
        self._told = 1.0
        self._bound = False
        self._rested_share = 1.0
        self._look_s = STEP_S

    @property
    def share(self) -> float:
        """What it may use now, 0 < share <= 1; 1: it never rests."""
        return self._told if self._bound else 1.0

    def told(self, share: float) -> None:
        """What work may use that nobody waits for, that under way too. 0 < share <= 1."""
        self._told = share
        self._rested_share = 1.0
        self._begin_looking()

    def bind(self, *, bound: bool) -> None:
        """Whether nobody waits for what is done from now on."""
        if bound is not self._bound:
            self._bound = bound
            self._begin_looking()

    def _begin_looking(self) -> None:
        """And never a look at a process that may use all: it would cost whoever waits for it, or a machine that rests."""
        self._alarm(STEP_S if self.share < 1.0 else 0.0)

    def strike(self) -> None:
        """The alarm: rests if the share asks for it, and sets the next one."""
        share = self.share
        used_s = self._used_s() - self._upto_s
        if share < 1.0 and self._rested_share == share and used_s < STEP_S * WAITING:
            self._look_s = min(self._look_s * 2.0, LOOK_MAX_S)  # and what was used counts for the next rest
        else:
            self._look_s = STEP_S
            self._rest(used_s, share)
        if self.share < 1.0:
            self._alarm(self._look_s)

    def _rest(self, used_s: float, share: float) -> None:
        """As long as what was used since the last rest asks for. What was used under another share counts as used under the present one, a step at most."""
        if share < 1.0:
            if self._rested_share != share:
                used_s = min(used_s, STEP_S)
            with suppress(OSError):  # a rest that cannot be had is no error of the work that it interrupts
                self._sleep(max(0.0, min(REST_MAX_S, used_s * (1.0 / share - 1.0))))
        self._rested_share, self._upto_s = share, self._used_s()


def give_way() -> Rests:
    """From now on this process gives way; what it returns is told how much."""
    os.nice(NICE)
    rests = Rests()
    atexit.register(rests.bind, bound=False)  # an interpreter that is on its way out answers no alarm: it would be ended by it
    signal.signal(signal.SIGALRM, lambda _number, _frame: rests.strike())
    signal.siginterrupt(signal.SIGALRM, False)  # a library's read is gone on with, and not ended
    return rests
