"""Errands: begun once, told again, remembered for a while, bounded."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from scrubjay.base.env import Future
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.sim.world import World
from scrubjay.storage.node.errand_messages import Ended, Healed, Running
from scrubjay.storage.node.errands import ERRANDS_MAX, KEPT_S, Errands, Note

SECOND = 1_000_000


class Place:
    """begun: how often the work was begun. gate: it ends when this does."""

    def __init__(self) -> None:
        self.world = World(1)
        host = self.world.add_host("n1", build=lambda _: None)  # type: ignore[arg-type]
        host.start()
        self.env = host.env
        self.broken: list[Exception] = []
        self.errands = Errands(self.env, broken=self.broken.append)
        self.begun = 0
        self.gate: Future[None] = self.env.tasks.future()

    async def work(self, note: Note) -> Healed:
        self.begun += 1
        note("half way")
        await self.gate
        return Healed()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def body() -> Any:
            try:
                return await work
            except ScrubjayError as error:
                return error

        task = self.env.tasks.spawn(body(), name="test")
        assert self.world.run(until_us=self.world.now + 60 * SECOND, stop=task.done)
        return task.result()

    def pass_time(self, seconds: float) -> None:
        self.world.run(until_us=self.world.now + int(seconds * SECOND))


@pytest.fixture
def place() -> Place:
    return Place()


def test_an_errand_is_begun_once_and_its_note_and_end_are_told_to_whoever_asks_again(place: Place) -> None:
    place.errands.begin("a", place.work)
    place.errands.begin("a", place.work)
    assert place.run(place.errands.look("a", "")) == Running("half way")
    assert place.run(place.errands.look("a", "")) == Running("half way")
    place.gate.set_result(None)
    ended = Ended(Healed(), None)
    assert [place.run(place.errands.look("a", "half way")) for _ in range(2)] == [ended, ended]
    assert place.run(place.errands.look("a", "")) == Running("half way"), "the note is told before the end, also to one who missed it"
    assert place.begun == 1


def test_who_looks_is_answered_after_a_while_though_nothing_is_new(place: Place) -> None:
    place.errands.begin("a", place.work)
    place.run(place.errands.look("a", ""))
    began = place.world.now
    assert place.run(place.errands.look("a", "half way")) == Running("half way")
    assert 1 * SECOND < place.world.now - began < 5 * SECOND


def test_an_outcome_is_forgotten_after_its_time_and_unknown_errands_are_no_riddle(place: Place) -> None:
    place.errands.begin("a", place.work)
    place.gate.set_result(None)
    place.pass_time(KEPT_S + 1)
    assert isinstance(place.run(place.errands.look("a", "")), Unavailable)
    assert len(place.errands) == 0


def test_a_failure_is_told_as_code_and_fields_and_a_bug_stops_the_node(place: Place) -> None:
    async def fails(note: Note) -> Healed:
        raise Corrupt("not what was sent", what="rowfile")

    async def bug(note: Note) -> Healed:
        raise KeyError("ours")

    place.errands.begin("a", fails)
    place.errands.begin("b", bug)
    told = place.run(place.errands.look("a", ""))
    assert (told.outcome, told.failure.code, told.failure.fields) == (None, "Corrupt", {"what": "rowfile"})
    assert place.run(place.errands.look("b", "")).failure.code == "Internal"
    assert [type(one) for one in place.broken] == [KeyError]


def test_no_more_than_so_many_at_once_and_what_has_ended_makes_room(place: Place) -> None:
    async def at_once(note: Note) -> Healed:
        return Healed()

    place.errands.begin("over", at_once)
    place.pass_time(1)
    for number in range(ERRANDS_MAX - 1):
        place.errands.begin(f"{number}", place.work)
    place.errands.begin("one more", place.work)
    with pytest.raises(Unavailable):
        place.errands.begin("too many", place.work)
    assert isinstance(place.run(place.errands.look("over", "")), Unavailable)


def test_an_errand_begun_anew_under_an_id_that_made_room_is_not_forgotten_with_the_old_one(place: Place) -> None:
    place.gate.set_result(None)
    place.errands.begin("a", place.work)
    place.pass_time(1)
    place.gate = place.env.tasks.future()
    for number in range(ERRANDS_MAX):
        place.errands.begin(str(number), place.work)
    place.gate.set_result(None)
    place.pass_time(1)
    place.gate = place.env.tasks.future()
    place.errands.begin("a", place.work)
    place.pass_time(KEPT_S - 1)
    assert place.run(place.errands.look("a", "")) == Running("half way")


def test_what_runs_when_the_node_stops_is_let_go_of(place: Place) -> None:
    let_go: list[str] = []

    async def work(note: Note) -> Healed:
        try:
            return await place.work(note)
        finally:
            let_go.append("it")

    place.errands.begin("a", work)
    place.pass_time(1)
    place.errands.stop()
    place.pass_time(1)
    assert let_go == ["it"]
