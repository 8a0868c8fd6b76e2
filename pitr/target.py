"""From what a user asked for (`--at`, `--minus`, `--before`, `--latest`) to one absolute, inclusive instant, and whether it can be restored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from scrubjay.base.errors import Invalid, Unsafe
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Stamp
from scrubjay.base.times import FIRST_US
from scrubjay.pitr.part import PartAsked


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """Exactly one moment is set: there is no other Asked, so nobody behind the front door checks again. Times in microseconds since the epoch; minus_us counts back
    from the server's clock at receipt. part: which items, None: all. Raises Invalid."""

    at_us: int | None = None
    minus_us: int | None = None
    before_us: int | None = None
    latest: bool = False
    part: PartAsked | None = None

    def __post_init__(self) -> None:
        given = sum((self.at_us is not None, self.minus_us is not None, self.before_us is not None, self.latest))
        if given != 1:
            raise Invalid("exactly one target is needed", asked=f"{given} of --at, --minus, --before, --latest", next="give one of them")


class Bounds(NamedTuple):
    """Between which moments of a table a target may lie: its proven window, microseconds, both inclusive, None until proven. dropped: it lives no more, nothing can be sealed.

    ends_us: of a dropped table whose end is known, its last moment. What lies between latest and that comes with the archive, or it is not given.
    """

    earliest_us: int | None
    latest_us: int | None
    dropped: bool = False
    ends_us: int | None = None


class Reach(NamedTuple):
    """A target that may be restored. beyond_latest: the leaders must seal first (of a table that lives) and the archive must follow."""

    at_us: int
    beyond_latest: bool

    @property
    def cut(self) -> Stamp:
        """Everything with effective time <= cut is in."""
        return last_stamp_at(self.at_us)


def resolve(asked: RestoreTarget, window: Bounds, *, now_us: int) -> int:
    """The absolute instant, inclusive. `--before T` is the last microsecond before T. now_us: the server's clock when the question came.

    Raises Invalid (a moment no calendar has), Unsafe (latest of no window).
    """
    if asked.at_us is not None:
        return asked.at_us
    if asked.minus_us is not None:
        if asked.minus_us < 0:
            raise Invalid("--minus counts back", asked=asked.minus_us, next="give a positive duration")
        if now_us - asked.minus_us < FIRST_US:
            raise Invalid(
                "no calendar goes back that far", asked=f"{asked.minus_us / 86_400e6:.0f} days back", next="give a shorter duration"
            )
        return now_us - asked.minus_us
    if asked.before_us is not None:
        return asked.before_us - 1
    if window.ends_us is not None:
        return window.ends_us
    if window.latest_us is None:
        raise _outside(None, window, "no window is proven yet")
    return window.latest_us


def reach(at_us: int, window: Bounds, *, now_us: int) -> Reach:
    """Whether the instant may be restored. now_us: the server's clock after the window was looked up. Raises Unsafe with the window in its fields (asked, earliest, latest: microseconds or None)."""
    if at_us > max(now_us, window.latest_us or 0):  # what is proven has come, also where the cluster's time is ahead of this clock
        raise _outside(at_us, window, "the moment has not come yet")
    if window.earliest_us is None or window.latest_us is None:
        raise _outside(at_us, window, "no window is proven yet")
    if at_us < window.earliest_us:
        raise _outside(at_us, window, "the moment lies before the window")
    if at_us > window.latest_us and window.dropped and (window.ends_us is None or at_us > window.ends_us):
        raise _outside(at_us, window, "the table was dropped before that moment")
    return Reach(at_us, at_us > window.latest_us)


def _outside(at_us: int | None, window: Bounds, why: str) -> Unsafe:
    return Unsafe(f"outside the restorable window: {why}", asked=at_us, earliest=window.earliest_us, latest=window.latest_us)
