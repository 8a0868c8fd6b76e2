"""The event heap and virtual time.

Everything that happens is a callback on one heap, in the order of (time, sequence number): no thread, no asyncio, no wall clock. A run is a function of
its seed. `EventTrace` hashes what happened, so that two runs can be compared.

A process is a *life*: callbacks of a dead life never run.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from functools import partial
from itertools import count

from scrubjay.sim.rand import Stream, stream


class SimTimer:
    """One heap entry. `cancel` leaves it in the heap, empty."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class EventTrace:
    """A running hash of what happened, and the lines themselves if somebody wants to see them."""

    def __init__(self, show: Callable[[str], object] | None = None) -> None:
        self._hash = hashlib.sha256()
        self._show = show
        self.lines = 0

    def note(self, now: int, what: str) -> None:
        line = f"{now} {what}"
        self.lines += 1
        self._hash.update(line.encode())
        if self._show is not None:
            self._show(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:32]


class Life:
    """One run of a host's process. A dead life runs nothing; a paused one runs it later, in order."""

    def __init__(self, events: Events) -> None:
        self.alive = True
        self._events = events
        self._paused = False
        self._waiting: list[Callable[[], object]] = []

    def run(self, callback: Callable[[], object]) -> None:
        if not self.alive:
            return
        if self._paused:
            self._waiting.append(callback)
        else:
            callback()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._events.after(0, partial(self.run, callback))

    def end(self) -> None:
        self.alive = False
        self._waiting = []


class Events:
    """The heap, true time and the trace of a world. seed: decides everything. now: true microseconds since the start."""

    def __init__(self, seed: int, *, show: Callable[[str], object] | None = None) -> None:
        self.seed = seed
        self.now = 0
        self.events = 0
        self.trace = EventTrace(show)
        self._heap: list[tuple[int, int, SimTimer]] = []
        self._numbers = count(1)
        """Taken in one step: a collection in the middle of `after` may end a dead life's coroutine, whose `finally` asks for a timer too."""
        self._watchers: list[Callable[[str], object]] = []
        self.after_event: Callable[[], None] | None = None
        """Called after every event: the checkers."""

    def stream(self, purpose: str) -> Stream:
        return stream(self.seed, purpose)

    def after(self, delay_us: int, callback: Callable[[], object]) -> SimTimer:
        """Run `callback` in `delay_us` true microseconds, after everything due before or at the same time."""
        timer = SimTimer(callback)
        number = next(self._numbers)
        heapq.heappush(self._heap, (self.now + max(0, delay_us), number, timer))
        return timer

    def note(self, what: str) -> None:
        self.trace.note(self.now, what)
        for watcher in self._watchers:
            watcher(what)

    def step(self) -> bool:
        """Run the next event, and only that one: look at whatever you like between two. False if there is none."""
        while self._heap:
            at, _, timer = heapq.heappop(self._heap)
            if timer.callback is None:
                continue
            self.now = at
            self.events += 1
            timer.callback()
            if self.after_event is not None:
                self.after_event()
            return True
        return False

    def step_until(self, event: str, *, until_us: int) -> str | None:
        """Step until something is noted that holds these words ("n1 crashes", "finding n2"): the line, with the world as it is just then. None: not by then."""
        seen: list[str] = []
        self._watchers.append(seen.append)
        try:
            while self._heap and self._heap[0][0] <= until_us and self.step():
                for line in seen:
                    if event in line:
                        return line
                seen.clear()
        finally:
            self._watchers.pop()
        return None

    @property
    def next_us(self) -> int | None:
        """True time of the next event; None: nothing is left to happen."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, *, until_us: int, stop: Callable[[], bool] | None = None) -> bool:
        """Run events up to `until_us`. True as soon as `stop()` holds after an event; False at the end of the time."""
        heap, check = self._heap, self.after_event
        while heap and heap[0][0] <= until_us:
            at, _, timer = heapq.heappop(heap)
            callback = timer.callback
            if callback is None:
                continue
            self.now = at
            self.events += 1
            callback()
            if check is not None:
                check()
            if stop is not None and stop():
                return True
        self.now = max(self.now, until_us)
        return False
