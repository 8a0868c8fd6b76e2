"""Who is told of what, and how often: what comes and goes is one problem that lasts."""

from __future__ import annotations

from scrubjay.base.steady import AWAY_MAX_S, AWAY_S, KEPT_MAX, STEADY_S, Changes
from scrubjay.sim.lone import LoneHost


class World:
    """told: (what, over, second)."""

    def __init__(self) -> None:
        self.host = LoneHost()
        self.clock = self.host.env().clock
        self.began_us = self.clock.boot_us()
        self.told: list[tuple[str, bool, float]] = []
        self.changes: Changes[str, str] = Changes(self.clock, self._tell)

    def _tell(self, what: str, over: bool) -> None:
        self.told.append((what, over, (self.clock.boot_us() - self.began_us) / 1e6))

    def look(self, seconds: float, *wrong: str) -> None:
        """Look once a second for so long, with this wrong."""
        for _ in range(round(seconds)):
            self.changes.look({one: one for one in wrong})
            self.host.run_for(1)


def test_one_line_when_it_begins_and_one_when_it_has_stayed_away() -> None:
    world = World()
    world.look(100, "full")
    world.look(100)
    assert world.told == [("full", False, 0), ("full", True, 100 + AWAY_S)]
    world.look(10, "full")
    assert world.told[2:] == [("full", False, 200)], "it is told at once that it is back"


def test_what_goes_for_a_moment_has_not_ended() -> None:
    world = World()
    for _ in range(100):
        world.look(3, "full")
        world.look(1)
    assert world.told == [("full", False, 0)]
    assert "full" in world.changes
    world.look(20)
    assert [over for _, over, _ in world.told] == [False, True]
    assert "full" not in world.changes


def test_an_hour_of_coming_and_going_is_a_handful_of_lines() -> None:
    """Also where it stays away for longer than it need: that grows each time."""
    world = World()
    for _ in range(60):
        world.look(30, "away")
        world.look(30, "other")
    world.look(2 * AWAY_MAX_S)
    told = [over for what, over, _ in world.told if what == "away"]
    assert told == [False, True] * (len(told) // 2)
    assert len(told) <= 12, world.told


def test_one_that_was_steady_for_long_is_over_soon_again() -> None:
    world = World()
    for _ in range(4):
        world.look(5, "full")
        world.look(20)
    world.look(STEADY_S + 100)
    began = len(world.told)
    world.look(10, "full")
    world.look(20)
    (_, _, first), (_, _, second) = world.told[began:]
    assert second - first == 10 + AWAY_S


def test_problems_do_not_wait_for_each_other_and_what_is_remembered_of_them_is_bounded() -> None:
    world = World()
    world.look(5, "one", "two")
    world.look(5, "two")
    assert [(what, over) for what, over, _ in world.told] == [("one", False), ("two", False), ("one", True)]
    for at in range(0, 2 * KEPT_MAX, 512):
        world.look(1, *(str(number) for number in range(at, at + 512)))
    world.look(10)
    assert len(world.changes._ended) == KEPT_MAX
