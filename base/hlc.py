"""Hybrid logical clock: stamps that follow the wall clock, never go back, and never run into a synced reservation.

A stamp is 64 bit: microseconds since the epoch << 12 | counter. The clock is pure: the wall time is an argument.

Reservation: no stamp may leave a node above its *synced* reservation (DESIGN section 5, "Clocks"). The owner calls
`wants_reservation` and writes the answer to the WAL; once synced it calls `reserved` and says how long that took: where syncs take seconds a reservation
reaches further, or it would be over before it is durable and nobody could lead (ADR 0066). After a restart the clock goes on from
max(wall, reservation), so a stamp is never handed out twice.
"""

from __future__ import annotations

from scrubjay.base.errors import Unavailable
from scrubjay.base.ids import Stamp

COUNTER_BITS = 12
_COUNTER_MASK = (1 << COUNTER_BITS) - 1


def stamp_of(micros: int, counter: int = 0) -> Stamp:
    """Stamp of a wall time in microseconds since the epoch."""
    return Stamp(micros << COUNTER_BITS | counter)


def stamp_micros(stamp: int) -> int:
    """Microseconds since the epoch of a stamp (the counter is dropped)."""
    return stamp >> COUNTER_BITS


def last_stamp_at(micros: int) -> Stamp:
    """The greatest stamp within that microsecond: "everything at or before `micros`" is `stamp <= last_stamp_at(micros)`."""
    return Stamp(micros << COUNTER_BITS | _COUNTER_MASK)


class HybridClock:
    """One node's clock.

    latest: the highest stamp issued or merged; never goes back.
    reservation: the highest stamp that may leave this node; moved by `reserved()` after its WAL record is synced.
    slow_us: how long a reservation takes to become durable, as of late. Moved by `reserved()`: up at once, down by an eighth each time.
    """

    RESERVE_AHEAD_US = 1_000_000
    """How far ahead of the wall clock a reservation reaches: a restarted clock runs ahead by up to this, and peers refuse what is more than the offset ahead."""

    RESERVE_AHEAD_MAX_US = 16_000_000
    """The furthest that it reaches where syncs are slow (`reach_us`): a restart waits that long at worst. Reservations that take more than 7.6 s are over before the next is durable."""

    RESERVE_WHEN_BELOW_US = 500_000
    RESERVE_SPARE_US = 400_000
    """The next reservation is asked for so much earlier than one takes to become durable."""

    RESERVE_MARGIN_US = 10_000
    """Room above `latest` while that is ahead of the wall clock. Small, or quick restarts would drive the reservation away from the wall clock."""

    def __init__(self, *, reservation: Stamp = Stamp(0), max_offset_us: int = 500_000) -> None:
        self.latest: Stamp = reservation
        self.reservation: Stamp = reservation
        self.max_offset_us = max_offset_us
        self.slow_us = 0

    @property
    def reach_us(self) -> int:
        """How far ahead of the wall clock a reservation reaches now: over the time that it takes to become durable and, after it, the time that the next one takes."""
        return min(max(self.RESERVE_AHEAD_US, 2 * (self.slow_us + self.RESERVE_SPARE_US)), self.RESERVE_AHEAD_MAX_US)

    def tick(self, wall_us: int) -> Stamp:
        """A new stamp, above every earlier one. Raises Unavailable while the reservation does not cover it."""
        candidate = max(wall_us << COUNTER_BITS, self.latest + 1)
        if candidate > self.reservation:
            raise Unavailable("clock reservation not yet durable", stamp=candidate, reservation=self.reservation)
        self.latest = Stamp(candidate)
        return self.latest

    def read(self, wall_us: int) -> Stamp:
        """The clock as it stands, capped at the reservation: safe to send in a grant or a promise."""
        return Stamp(min(max(wall_us << COUNTER_BITS, self.latest), self.reservation))

    def ahead_us(self, wall_us: int) -> int:
        """How far stamps are ahead of the wall clock, in microseconds (negative: behind). More than RESERVE_AHEAD_US and the offset allowed: a clock ran ahead once."""
        return stamp_micros(self.latest) - wall_us

    def merge(self, other: Stamp, wall_us: int) -> bool:
        """Take over a stamp seen elsewhere. False (and nothing taken) if it is further ahead than `max_offset_us` of the wall clock."""
        if stamp_micros(other) > wall_us + self.max_offset_us:
            return False
        if other > self.latest:
            self.latest = other
        return True

    def wants_reservation(self, wall_us: int) -> Stamp | None:
        """The reservation that should be made durable now, or None while the present one reaches far enough."""
        reach, ahead = stamp_micros(self.reservation), stamp_micros(self.latest)
        below_us = max(self.RESERVE_WHEN_BELOW_US, self.reach_us // 2)
        if reach >= wall_us + below_us and reach >= ahead + self.RESERVE_MARGIN_US:
            return None
        return stamp_of(max(wall_us + self.reach_us, ahead + 2 * self.RESERVE_MARGIN_US))

    def reserved(self, reservation: Stamp, *, took_us: int) -> None:
        """The reservation is synced, `took_us` of boot time after it was wanted."""
        self.slow_us = max(took_us, self.slow_us - self.slow_us // 8)
        if reservation > self.reservation:
            self.reservation = reservation
