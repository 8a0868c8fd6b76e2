"""When people are told of a problem: once when it begins, and once when it has stayed away for a while. What comes and goes is one problem that lasts, and the
longer it does so the longer it must stay away: an hour of it is a handful of lines, and no phone rings every minute.

`status`, `/healthz` and metrics are not held back by this: they say what is so now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from scrubjay.base.env import Clock

AWAY_S = 2.0
"""A problem that stays away for so long is over."""
AWAY_MAX_S = 256.0
"""Four times as long up to this, each time it comes back within STEADY_S of its end."""
STEADY_S = 3_600.0
KEPT_MAX = 4_096
"""Problems that came back are remembered until so many are."""
Place = TypeVar("Place")
What = TypeVar("What")


@dataclass(slots=True)
class _Told(Generic[What]):
    """gone_us: since when it is away, on the boot clock; None: it is there."""

    what: What
    gone_us: int | None = None


class Changes(Generic[Place, What]):
    """tell(what, over) is called once for each change. Times are of the boot clock: a wall clock that is set ends no problem."""

    def __init__(self, clock: Clock, tell: Callable[[What, bool], object]) -> None:
        self._clock, self._tell = clock, tell
        self._told: dict[Place, _Told[What]] = {}
        self._ended: dict[Place, tuple[int, float]] = {}
        """When it was over, and for how long it had to stay away for that."""

    def __contains__(self, place: Place) -> bool:
        """It was told of and is not called over yet."""
        return place in self._told

    def look(self, shown: Mapping[Place, What]) -> None:
        """What is wrong now."""
        now_us = self._clock.boot_us()
        for place, what in shown.items():
            if place not in self._told:
                self._told[place] = _Told(what)
                self._tell(what, False)
            else:
                self._told[place].gone_us = None
        for place in [place for place in self._told if place not in shown]:
            told = self._told[place]
            if told.gone_us is None:
                told.gone_us = now_us
            away_s = self._away_s(place, told.gone_us)
            if now_us - told.gone_us >= away_s * 1e6:
                del self._told[place]
                self._note(place, now_us, away_s)
                self._tell(told.what, True)

    def _away_s(self, place: Place, now_us: int) -> float:
        ended_us, before_s = self._ended.get(place, (0, 0.0))
        if not before_s or now_us - ended_us > STEADY_S * 1e6:
            return AWAY_S
        return min(4 * before_s, AWAY_MAX_S)

    def _note(self, place: Place, now_us: int, away_s: float) -> None:
        self._ended.pop(place, None)
        self._ended[place] = (now_us, away_s)  # the last is the newest
        if len(self._ended) > KEPT_MAX:
            del self._ended[next(iter(self._ended))]
