"""`rot`: what is planted in a copy of a real archive is found and named, a verify that does not look is found out, and the archive is as it was."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.verify.report import ArchiveFinding
from scrubjay.archiver.verify.run import verify
from scrubjay.drills.contents import FOLDER
from scrubjay.drills.rot import KINDS, Rot
from scrubjay.sim.jobs import SimJobs
from tests.unit.drills.drill_house import DrillHouse


@pytest.fixture
def house() -> DrillHouse:
    return DrillHouse()


def restored(house: DrillHouse) -> None:
    """A table that was restored: its archive begins with a base."""
    report = house.drill(house.drills(), 1)
    assert report["verdict"] == "match", report["error"]
    house.pass_time(20)


@pytest.mark.slow
def test_every_kind_is_found_in_a_copy_and_the_archive_is_as_it_was(house: DrillHouse) -> None:
    restored(house)
    house.stop_agents()
    before = {key: one.data for key, one in house.cluster.archive.objects.items()}
    for seed in range(3):
        report = house.drill(house.drills(), seed, "rot")
        assert (report["verdict"], report["planted"], report["detected"]) == ("match", 4, 4), report["differences"] or report["error"]
        assert set(report["facts"]["found_seconds"]) == set(KINDS)
    assert {key: one.data for key, one in house.cluster.archive.objects.items()} == before
    assert house.cluster.folder.disk.listdir(FOLDER) == []
    assert all(sorted(one.objects) == sorted(before) for one in house.copies.values()), "what was planted was put right again"


def test_objects_that_are_large_are_read_by_workers(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.drills.rot.OBJECT_HERE_BYTES_MAX", 100)
    asked: list[str] = []
    run = SimJobs.run

    async def counted(self: SimJobs, job: str, *rest: Any, **options: Any) -> Any:
        asked.append(job)
        return await run(self, job, *rest, **options)

    monkeypatch.setattr(SimJobs, "run", counted)
    report = house.drill(house.drills(), 1, "rot")
    assert (report["verdict"], report["planted"] == report["detected"]) == ("match", True)
    assert asked
    asked.clear()
    monkeypatch.setattr("scrubjay.drills.rot.OBJECT_HERE_BYTES_MAX", 64 << 10)
    assert house.drill(house.drills(), 1, "rot")["verdict"] == "match"
    assert asked == [], "small ones are not worth the way"


def test_a_verify_that_does_not_look_is_found_out(house: DrillHouse) -> None:
    report = house.drill(house.drills(level="listed"), 1, "rot")
    assert (report["verdict"], report["exit"]) == ("mismatch", 2)
    assert report["detected"] < report["planted"]
    assert any("segment" in one and "was not found" in one for one in report["differences"])
    (told,) = house.drills().worse()
    assert told.found


def test_a_verify_that_blames_what_is_well_is_found_out(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    async def blames(*arguments: Any, **options: Any) -> Any:
        report = await verify(*arguments, **options)
        if report.findings:
            report.findings.append(ArchiveFinding("hole", "c/of/another", None, None, "t", "another", "it was never there"))
        return report

    monkeypatch.setattr("scrubjay.drills.rot.verify", blames)
    report = house.drill(house.drills(), 1, "rot")
    assert (report["verdict"], report["planted"] - report["detected"]) == ("mismatch", 0)
    assert report["facts"]["false_alarms"] == report["planted"] > 0
    assert all("c/of/another" in one for one in report["differences"])


def test_damage_that_was_there_before_is_no_match(house: DrillHouse) -> None:
    segment = next(key for key in sorted(house.cluster.archive.objects) if key.endswith(".seg"))
    house.cluster.archive.flip_bit(segment)
    report = house.drill(house.drills(), 1, "rot")
    assert (report["verdict"], report["planted"]) == ("mismatch", 0)
    assert any(segment in one for one in report["differences"])


def test_what_a_killed_drill_left_goes_with_the_next_start(house: DrillHouse) -> None:
    """A folder as one that was killed in the middle of it leaves it; what is not a drill's stays."""
    disk = house.cluster.folder.disk
    disk.mkdir(f"{FOLDER}/rot-00000000-0000-4000-8000-000000000000")
    disk.mkdir(f"{FOLDER}/of-another")
    life = house.drills()
    life.start()
    house.until(lambda: not any(name.startswith("rot-") for name in disk.listdir(FOLDER)), seconds=10)
    assert disk.listdir(FOLDER) == ["of-another"]


def test_an_archive_that_has_no_room_is_not_copied(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.drills.rot.COPY_BYTES_MAX", 1000)
    report = house.drill(house.drills(), 1, "rot")
    assert (report["verdict"], house.copies and all(not one.objects for one in house.copies.values())) == ("unverified", True)
    assert "no room" in report["error"]["message"]
    assert Rot.name == report["scenario"]
