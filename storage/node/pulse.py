"""A node's time: its clock and how far ahead it may stamp, what it grants its peers and they it (liveness), and the timer of both."""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.env import Timer
from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Stamp
from scrubjay.storage.consensus.liveness import Liveness
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.node.clockwatch import ClockWatch
from scrubjay.storage.node.deadlines import PAUSE_MIN_US
from scrubjay.storage.node.home import Home
from scrubjay.storage.wal.port import Recovered, Reserve


class Pulse:
    """clock: of stamps, durable ahead of time. liveness: towards each peer. options: of consensus."""

    def __init__(self, node: Home, *, recovered: Recovered, options: ConsensusOptions, alone_since_us: int | None) -> None:
        """alone_since_us: see Node."""
        self._node = node
        self.options = options
        allowed_us = node.options.max_clock_offset_us + node.options.clock_ahead_accepted_us
        self.clock = HybridClock(reservation=recovered.reservation, max_offset_us=allowed_us)
        self._watch = ClockWatch(self.clock, allowed_us=allowed_us)
        now = node.now()
        began = now if alone_since_us is None else Now(min(alone_since_us, now.boot_us), now.wall_us)
        self.liveness = Liveness(me=node.number, boot_count=node.boot_count, clock=self.clock, options=options, now=began)
        self._timer: Timer | None = None
        self._at = 0
        self._reserving = Stamp(0)
        self.on_beat: Callable[[Now], None] = lambda now: None
        """Says what is due to the peers (`Peers.beat`)."""

    def stamp(self) -> Stamp:
        """A new stamp. Raises Unavailable while the reservation is not durable."""
        try:
            return self.clock.tick(self._node.env.clock.wall_us())
        except Unavailable:
            self.reserve()
            raise

    def reserve(self) -> None:
        """Make durable, ahead of time, how far stamps may go."""
        if self._reserving > self.clock.reservation:
            return  # one at a time: while it syncs the wall clock moves on, and every turn would want another
        want = self.clock.wants_reservation(self._node.env.clock.wall_us())
        if want is not None:
            self._reserving = want
            began_us = self._node.boot_us()
            self._node.queue_control(Reserve(want), lambda: self.clock.reserved(want, took_us=self._node.boot_us() - began_us))

    def tick(self) -> None:
        """A beat: look at the clock, say what is due to the peers, look at what they have said."""
        node = self._node
        self._timer = None
        if not node.running:
            return
        now = node.now()
        if self._watch.look(now.wall_us):
            node.log_state(None, "clock" if self._watch.fault else "ok", self._watch.fault or "the clock has caught up")
        self.reserve()
        self.on_beat(now)
        node.turn.schedule()
        self.arm()

    def arm(self) -> None:
        """The next beat may have moved."""
        node = self._node
        if not node.started or not node.running:
            return
        at = self.liveness.deadline()
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        wait_us = max(PAUSE_MIN_US, at - node.boot_us())
        self._timer = node.env.tasks.call_later(wait_us / 1e6, node.guarded(self.tick))

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
