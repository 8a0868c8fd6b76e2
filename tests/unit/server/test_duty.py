"""Who works, by notes of the test's own and simulated clocks: who is cut off from the notes stops before another begins."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Conflict, Unavailable
from scrubjay.base.ids import NodeName
from scrubjay.server.duty import BEAT_S, KEY, STALE_US, UNSURE_US, WAITS, WORKS, Duty
from scrubjay.sim.world import World

SECOND = 1_000_000


class Book:
    """One item and who wrote it last; each process remembers what it last saw."""

    def __init__(self) -> None:
        self.value: dict[str, Any] | None = None
        self.version = 0


class BookNotes:
    """A process's view of the book. away: it cannot be reached, and nothing is heard of it."""

    def __init__(self, book: Book) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self._book, self._seen = book, 0
        self.away = False

    async def put_job(self, key: str, job: dict[str, Any] | None) -> None:
        self._reach()
        if self._seen != self._book.version:
            raise Conflict("somebody wrote it meanwhile")
        self._book.value, self._book.version = job, self._book.version + 1
        self.follow()

    async def fetch_job(self, key: str) -> dict[str, Any] | None:
        self._reach()
        self.follow()
        return self._book.value

    def follow(self) -> None:
        """The whole catalogue is read, as it is whenever it has moved (`storage.control.following`)."""
        self._seen = self._book.version
        self.jobs = {} if self._book.value is None else {KEY: self._book.value}

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("no leader")


class Process:
    def __init__(self, world: World, name: str, book: Book, *, alone: bool = False, place: str = "") -> None:
        self.world, self.name = world, name
        self.host = world.add_host(NodeName(name), build=lambda host: host)
        self.host.start()
        self.notes = BookNotes(book)
        self.lines: list[str] = []
        self.at_work: list[tuple[int, bool]] = []
        """When it began and ended to work."""

        async def begin() -> None:
            self.at_work.append((world.now, True))

        async def end() -> None:
            self.at_work.append((world.now, False))

        self.duty = Duty(self.host.env, self.notes, alone=alone, place=place, begin=begin, end=end, log=self.lines.append)
        self.duty.start()


class Two:
    def __init__(self) -> None:
        self.world, self.book = World(1), Book()
        self.first = Process(self.world, "first", self.book)
        self.wait(1.0)
        self.other = Process(self.world, "other", self.book)
        self.wait(BEAT_S)

    def wait(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))

    def states(self) -> tuple[str, str]:
        return self.first.duty.state, self.other.duty.state


def test_one_works_for_as_long_as_it_lives() -> None:
    two = Two()
    two.wait(3_600.0)
    assert two.states() == (WORKS, WAITS)
    assert [works for _, works in two.first.at_work] == [True]
    assert two.other.lines == ["another durability process works; this one waits"]


def test_who_cannot_note_that_it_works_stops_before_another_begins_and_waits_when_it_is_back() -> None:
    two = Two()
    cut_us = two.world.now
    two.first.notes.away = True
    two.wait(STALE_US / 1e6 + 3 * BEAT_S)
    assert two.states() == (WAITS, WORKS)
    ended_us, began_us = two.first.at_work[-1][0], two.other.at_work[-1][0]
    assert cut_us < ended_us < began_us
    assert began_us - ended_us > 10 * SECOND
    two.first.notes.away = False
    two.wait(3 * BEAT_S)
    assert two.states() == (WAITS, WORKS)
    assert "another durability process has taken over" in two.first.lines


@pytest.mark.parametrize("stops", [False, True], ids=["renews", "stops"])
def test_who_was_paused_leaves_the_work_to_who_took_over_though_it_has_read_the_catalogue_since(stops: bool) -> None:
    """What stands there was read behind its back: written over, the other one would write over it again, and both would work."""
    two = Two()
    two.first.host.life.pause()
    two.wait(STALE_US / 1e6 + 3 * BEAT_S)
    assert two.states() == (WORKS, WORKS), "it does not know yet"
    two.first.notes.follow()
    if stops:
        left = two.other.host.env.tasks.spawn(two.first.duty.leave(), name="leave")
        two.wait(1.0)
        assert left.done()
        assert two.other.notes.jobs[KEY] == two.book.value
    two.first.host.life.resume()
    two.wait(3 * BEAT_S)
    assert two.states()[1] == WORKS
    assert len(two.other.at_work) == 1
    if not stops:
        assert two.states() == (WAITS, WORKS)
        assert "another durability process has taken over" in two.first.lines


def test_a_short_time_without_notes_changes_nothing() -> None:
    two = Two()
    two.first.notes.away = True
    two.wait(UNSURE_US / 1e6 - BEAT_S - 5.0)
    two.first.notes.away = False
    two.wait(300.0)
    assert two.states() == (WORKS, WAITS)
    assert [works for _, works in two.first.at_work] == [True]


def test_who_dies_is_followed_once_its_note_has_stood_still_for_long_enough() -> None:
    two = Two()
    two.first.host.crash(power=False)
    died_us = two.world.now
    two.wait(STALE_US / 1e6 + 3 * BEAT_S)
    assert two.other.duty.state == WORKS
    assert two.other.at_work[-1][0] - died_us > STALE_US - BEAT_S * SECOND


def test_the_next_life_with_the_same_folder_goes_on_at_once_and_one_with_another_waits() -> None:
    world, book = World(1), Book()
    first = Process(world, "first", book, place="boot:1:7")
    world.run(until_us=SECOND)
    first.host.crash(power=False)
    other = Process(world, "other", book, place="boot:1:8")
    nowhere = Process(world, "nowhere", book)
    world.run(until_us=3 * SECOND)
    assert (other.duty.state, nowhere.duty.state) == (WAITS, WAITS)
    again = Process(world, "again", book, place="boot:1:7")
    world.run(until_us=4 * SECOND)
    assert again.duty.state == WORKS
    assert again.lines == ["the durability process that worked with this folder before is gone: this one goes on"]
    world.run(until_us=world.now + STALE_US * 2)
    assert (again.duty.state, other.duty.state, nowhere.duty.state) == (WORKS, WAITS, WAITS)


def test_two_processes_of_which_nobody_knows_the_place_are_not_taken_for_one() -> None:
    world, book = World(1), Book()
    first = Process(world, "first", book)
    world.run(until_us=SECOND)
    other = Process(world, "other", book)
    world.run(until_us=10 * SECOND)
    assert (first.duty.state, other.duty.state) == (WORKS, WAITS)


def test_who_stops_by_plan_is_followed_at_once() -> None:
    two = Two()
    task = two.first.host.env.tasks.spawn(two.first.duty.leave(), name="leave")
    two.wait(1.0)
    assert task.done()
    assert two.book.value is None
    two.wait(BEAT_S)
    assert two.other.duty.state == WORKS


def test_a_note_that_is_not_understood_is_somebodys_until_it_has_stood_still() -> None:
    world, book = World(1), Book()
    book.value = {"what": "of another version"}
    process = Process(world, "first", book)
    world.run(until_us=int(STALE_US / 2))
    assert process.duty.state == WAITS
    world.run(until_us=STALE_US + int(3 * BEAT_S * SECOND))
    assert process.duty.state == WORKS


def test_one_that_is_alone_works_and_notes_nothing() -> None:
    world, book = World(1), Book()
    process = Process(world, "only", book, alone=True)
    world.run(until_us=600 * SECOND)
    assert process.duty.state == WORKS
    assert (book.value, book.version, process.at_work) == (None, 0, [])
