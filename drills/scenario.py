"""What a scenario is given, and how it tells what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from scrubjay.base.env import Clock
from scrubjay.base.errors import Unavailable
from scrubjay.drills.report import DrillOutcome
from scrubjay.storage.catalogue import TableMeta

DIFFERENCES_MAX = 20


class CutOff(Unavailable):
    """The schedule wants the drill to end here: its window closes, its budget is spent, it is paused. That is no fault of anything."""


Progress = Callable[[dict[str, Any]], None]
Stop = Callable[[], str | None]


def go_on() -> str | None:
    """Nobody cuts it off."""
    return None


class Dice:
    """Choices that one seed gives again (splitmix64)."""

    def __init__(self, seed: int) -> None:
        self._state = seed & (2**64 - 1)

    def below(self, bound: int) -> int:
        """0 to bound - 1. bound: at least 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return (mixed ^ (mixed >> 31)) % bound


class DrillStep(NamedTuple):
    """seconds: how long it took. ok: it was done whole."""

    step: str
    seconds: float
    ok: bool


class Steps:
    """The steps so far. tell: whoever waits."""

    def __init__(self, clock: Clock, tell: Progress) -> None:
        self._clock, self._tell = clock, tell
        self.done: list[DrillStep] = []

    def told(self, facts: dict[str, Any]) -> None:
        """What a job says on its way."""
        self._tell(facts)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time it and keep it, however it ends."""
        self._tell({"phase": name})
        began_us, ok = self._clock.boot_us(), False
        try:
            yield
            ok = True
        finally:
            self.done.append(DrillStep(name, round((self._clock.boot_us() - began_us) / 1e6, 3), ok))


@dataclass(frozen=True, slots=True)
class Drill:
    """One run. tables: those to choose from, none: any. outcome: what is found, as it is found: what was found before an error counts. stop: why it must end here,
    None: it goes on. faults: how many to plant of each kind, None: the scenario's own choice."""

    id: str
    seed: int
    tables: Sequence[TableMeta]
    steps: Steps
    dice: Dice
    outcome: DrillOutcome
    stop: Stop = go_on
    faults: int | None = None

    def go_on(self) -> None:
        """Asked wherever it may be cut off. Raises CutOff."""
        why = self.stop()
        if why is not None:
            raise CutOff("the drill was cut off", why=why)

    def differ(self, found: Sequence[str]) -> None:
        """Keep what is not as it must be, up to DIFFERENCES_MAX, before anything else can go wrong."""
        self.outcome.differences += found[: max(0, DIFFERENCES_MAX - len(self.outcome.differences))]


class Scenario(Protocol):
    """name: as typed. summary: for `drill list`. needs: what it uses beside the archive, in words."""

    name: str
    summary: str

    def due(self) -> Awaitable[bool]:
        """There is something to rehearse it on: asked before a run that nobody asked for. Raises ScrubjayError."""
        ...

    def run(self, drill: Drill) -> Awaitable[DrillOutcome]:
        """Raises ScrubjayError: it could not be carried out, and nothing is proven."""
        ...

    def sweep(self) -> Awaitable[int]:
        """Take away what interrupted drills have left; how many things. Raises Unavailable."""
        ...
