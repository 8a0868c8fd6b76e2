"""Drills on a cluster of their own: what their jobs say becomes the report, a folder goes whatever comes, and a store can lie in the ways that are rehearsed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.real.disk import RealDisk
from scrubjay.drills.contents import FOLDER
from scrubjay.drills.report import DrillOutcome
from scrubjay.drills.scenario import Dice, DrillStep
from scrubjay.drills.scratch import ScratchPlace, ScratchScenario, answer_of
from scrubjay.scratch.lying_store import LIES, liar, referred
from scrubjay.scratch.mortal import start
from scrubjay.scratch.rehearsal import Rehearsal, rehearse
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome
from scrubjay.sim.store import SimStore
from scrubjay.sim.world import World
from tests.fixtures.wait import wait_for
from tests.unit.drills.drill_house import DrillHouse


@pytest.fixture(scope="module")
def house() -> DrillHouse:
    return DrillHouse()


class Own:
    """A process that answers so."""

    def __init__(self, house: DrillHouse, outcome: DrillOutcome, error: str | None = None) -> None:
        self._house, self._outcome, self._error = house, outcome, error
        self.asked: dict[str, Any] = {}

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        self.asked = {"job": job, **arguments}
        assert self._house.cluster.folder.disk.listdir(FOLDER), "its folder is the note of it"
        assert progress is not None
        await self._house.env.tasks.sleep(1.0)
        progress({"phase": "load"})
        return answer_of(self._outcome, [DrillStep("load", 1.0, ok=True)], self._error)


def drill(house: DrillHouse, own: Own, *, faults: int | None = None) -> dict[str, Any]:
    drills = house.with_scenarios(scenario(house, own))
    report: dict[str, Any] = house.run(drills.run("clone", seed=7, faults=faults, progress=lambda _facts: None))
    assert house.cluster.folder.disk.listdir(FOLDER) == []
    return report


def scenario(house: DrillHouse, own: Own) -> ScratchScenario:
    place = ScratchPlace(house.env, own, house.cluster.folder.disk, root="/data")
    return ScratchScenario(place, name="clone", summary="for this test", job="the job")


def test_what_a_job_says_is_the_report(house: DrillHouse) -> None:
    own = Own(house, DrillOutcome(rto_seconds=5.5, rows_compared=3, planted=2, detected=2, facts={"lost": "n2"}))
    report = drill(house, own, faults=9)
    assert (own.asked["job"], own.asked["seed"], own.asked["faults"]) == ("the job", 7, 9)
    assert own.asked["folder"].startswith(f"/data/{FOLDER}/clone-")
    assert (report["verdict"], report["rto_seconds"], report["rows_compared"], report["facts"]) == ("match", 5.5, 3, {"lost": "n2"})
    assert [one["step"] for one in report["steps"]] == ["sweep", "load"]


@pytest.mark.parametrize(
    ("outcome", "error", "verdict"),
    [
        (DrillOutcome(planted=2, detected=1), None, "mismatch"),
        (DrillOutcome(rows_compared=1, differences=["a write is lost"]), "the server left", "mismatch"),
        (DrillOutcome(rows_compared=1), "the server left", "unverified"),
    ],
)
def test_a_job_that_did_not_come_to_its_end_proves_nothing_and_hides_nothing(
    house: DrillHouse, outcome: DrillOutcome, error: str | None, verdict: str
) -> None:
    report = drill(house, Own(house, outcome, error))
    assert (report["verdict"], (report["error"] or {}).get("message")) == (verdict, error)


def test_a_window_that_closes_ends_the_job(house: DrillHouse) -> None:
    drills = house.with_scenarios(scenario(house, Own(house, DrillOutcome(rows_compared=1))))
    job = drills.weekly("clone")
    until_us = house.env.clock.boot_us() + 500_000
    shift = Shift(job.default, 0, lambda _bytes: "window" if house.env.clock.boot_us() > until_us else None)
    assert house.run(job.work(shift)) == ShiftOutcome("unverified", 0, 1, "window")
    assert house.cluster.folder.disk.listdir(FOLDER) == []


def test_the_schedule_does_not_wait_for_a_drill_by_hand(house: DrillHouse) -> None:
    """It may take hours, and the scrub of the night comes after."""
    drills = house.with_scenarios(scenario(house, Own(house, DrillOutcome(rows_compared=1))))
    job = drills.weekly("clone")
    house.env.tasks.spawn(drills.run("clone", progress=lambda _facts: None), name="by hand")
    shift = Shift(job.default, 0, lambda _bytes: None)
    assert house.run(job.work(shift)) == ShiftOutcome("unverified", 0, 1, "another_drill", again=True)
    house.pass_time(2)
    assert house.run(job.work(shift)).verdict == "match"


class Context:
    """A job's own, in this process."""

    def __init__(self, folder: Path) -> None:
        self.disk = RealDisk(folder)

    def store(self, url: str) -> ObjectStore:
        raise AssertionError(url)

    def progress(self, facts: dict[str, Any]) -> None:
        """Nobody waits."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Corrupt("recover ended with 2", what="archive"), ["lost", "recover ended with 2"]),
        (Missing("a hole", what="segment"), ["lost", "a hole"]),
        (Unavailable("the server left"), ["lost"]),
        (OSError(28, "no space"), ["lost"]),
        (KeyError("a bug"), ["lost"]),
    ],
    ids=["corrupt", "missing", "unavailable", "machine", "bug"],
)
def test_what_ends_a_rehearsal_hushes_up_nothing(tmp_path: Path, error: Exception, said: list[str]) -> None:
    """What was found stands, and content that is damaged is a finding of its own: `recover` that ends with 2 must not look like a machine that was busy."""

    def work(rehearsal: Rehearsal) -> None:
        rehearsal.expect(False, "lost")
        raise error

    answer = rehearse(Context(tmp_path), {"folder": str(tmp_path), "seed": 1, "faults": None}, work)
    assert [one.partition(" (")[0] for one in answer["differences"]] == said
    assert answer["error"]


def test_a_child_keeps_all_that_it_makes_in_the_folder_of_the_drill(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = start(["--version"], environment={"TMPDIR": "/elsewhere"}, out=out, log=out, folder=tmp_path)
    try:
        # The kernel closes the pipe that Popen waits for a moment before it tells of the new environment.
        told = Path(f"/proc/{process.pid}/environ")
        wait_for(told.read_bytes, timeout=10)
        environment = told.read_bytes().split(b"\0")
    finally:
        process.kill()
        process.wait()
    assert [one for one in environment if one.startswith(b"TMPDIR=")] == [f"TMPDIR={tmp_path}".encode()]


def test_a_store_lies_about_one_object_alone(house: DrillHouse) -> None:
    """Each lie changes what is given of that key, and of no other; the store itself is as it was."""
    store = SimStore(World(1), "lies").client(house.env.tasks)
    keys = ["a/1.seg", "a/2.seg", "a/3.seg"]
    for key in keys:
        house.run(store.put(key, key.encode() * 9))
    for lie in LIES:
        false = house.run(liar(store, house.env, lie, keys[1], keys, Dice(1)))
        for key in (keys[0], keys[2]):
            assert house.run(false.get(key)) == key.encode() * 9
        listed = [one.key for one in house.run(false.list("")).objects]
        if lie == "denied":
            assert listed == [keys[0], keys[2]]
            assert house.run(false.head(keys[1])) is None
            with pytest.raises(Missing):
                house.run(false.get(keys[1]))
        else:
            assert listed == keys
            assert house.run(false.get(keys[1])) != keys[1].encode() * 9
    assert house.run(store.get(keys[1])) == keys[1].encode() * 9


def test_the_newest_objects_of_a_partition_are_not_lied_about(house: DrillHouse) -> None:
    keys = sorted(house.cluster.archive.objects)
    chosen = referred(keys)
    assert set(chosen) < set(keys)
    segments = [one for one in keys if one.endswith(".seg")]
    assert not {
        max(one for one in segments if one.rpartition("/")[0] == folder) for folder in {s.rpartition("/")[0] for s in segments}
    } & set(chosen)


def test_a_place_without_room_is_refused(house: DrillHouse) -> None:
    place = ScratchPlace(house.env, Own(house, DrillOutcome()), house.cluster.folder.disk, root="/data")
    place.check_room(1000)
    with pytest.raises(Unavailable):
        place.check_room(1 << 60)
