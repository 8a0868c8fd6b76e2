"""`restore-random`, over real replicas and a real archive: what it proves, what it must not let pass, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.drills.against import against_live
from scrubjay.drills.contents import RESTORED, SPARE_BYTES, Compared, Contents
from scrubjay.drills.report import check
from scrubjay.drills.restore_random import MOMENTS_MAX, NOTES
from scrubjay.pitr.service import RestoreService
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.schedule.cron import check as check_settings
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome
from scrubjay.serving.families import Exposition
from scrubjay.serving.metrics import tell_drills
from scrubjay.storage.btree.engine import RowFact
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.test_local_indexes import filled
from tests.unit.drills.drill_house import DrillHouse


@pytest.fixture
def house() -> DrillHouse:
    return DrillHouse()


def test_a_moment_is_restored_compared_and_nothing_of_it_stays(house: DrillHouse) -> None:
    drills = house.drills()
    assert drills.listed()["public_key"] is None, "no key before the first report"
    with pytest.raises(Unavailable) as none:
        drills.report(None)
    assert none.value.fields["error_code"] == "ResourceNotFound", "that there is none yet is no mismatch"
    before = house.rows(house.birds)
    reports = [house.drill(drills, seed) for seed in (1, 2, 3)]
    assert [one["verdict"] for one in reports] == ["match"] * 3, [one["error"] or one["differences"] for one in reports]
    assert max(one["rows_compared"] for one in reports) == 20
    assert max(one["facts"]["rows_live"] for one in reports) > 0, "the live copies were asked too"
    assert len({one["facts"]["at"] for one in reports}) == 3
    assert all(one["rto_seconds"] > 0 and one["rpo_seconds"] >= 0 and one["predicted_seconds"] > 0 for one in reports)
    assert [step["step"] for step in reports[0]["steps"]] == ["sweep", "choose", "restore", "compare", "drop"]
    assert house.rows(house.birds) == before, "the live table is as it was"
    assert (house.scratch(), house.service.jobs(NOTES)) == ([], {})
    assert house.cluster.folder.disk.listdir("tmp/drills") == []
    assert drills.ended == {"match": 3}
    assert sum(drills.took.counts) == 3
    assert abs(drills.took.total_us / 1e6 - sum(one["seconds"] for one in reports)) < 0.01
    out = Exposition()
    tell_drills(out, drills.last())
    told = {sample.name: sample for family in out.families() for sample in family.samples}
    assert {sample.labels["scenario"] for sample in told.values()} == {"restore-random"}
    assert told["scrubjay_drill_rto_seconds"].value == reports[-1]["rto_seconds"], "of the newest"
    assert told["scrubjay_drill_last_verdict"].value == 0
    assert len(told) == 6
    assert drills.key_trouble() is None
    for one in reports:
        check({name: value for name, value in one.items() if name != "exit"})


@pytest.mark.slow
def test_a_table_with_local_indexes_is_rehearsed_row_by_row(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copies hold index rows among the items; a worker that did not know of them would call each of them extra."""
    model = filled(house, name="indexed", writes=40)
    house.pass_time(20)
    monkeypatch.setattr(
        "scrubjay.drills.contents.ranges_to_descend", lambda _sides, digest: [n for n, rows in enumerate(digest.rows) if rows]
    )
    reports = [
        house.run(house.drills().run("restore-random", seed=seed, tables=[house.table("indexed")], progress=lambda _: None))
        for seed in (1, 2, 3)
    ]
    assert [one["verdict"] for one in reports] == ["match"] * 3, [one["error"] or one["differences"] for one in reports]
    assert max(one["rows_compared"] for one in reports) > len(model.items), "index rows too"


def test_no_copy_stays_pinned_and_no_log_stays_held(house: DrillHouse) -> None:
    """Every replica pins at a scrub's seal and holds its log: those that no drill reads would for ten minutes, and a busy table's log would fill."""
    assert house.drill(house.drills(), 1)["verdict"] == "match"
    house.pass_time(1)
    assert house.held(house.birds) == [([], [])] * 6


def test_a_drill_is_not_what_fills_the_disk(house: DrillHouse) -> None:
    disk = house.cluster.folder.disk
    roomy, disk.capacity = disk.capacity, SPARE_BYTES + 1000
    report = house.drill(house.drills(), 1)
    assert (report["verdict"], report["tables"]) == ("unverified", ["birds"])
    assert "no room" in report["error"]["message"]
    assert "needed_bytes=" in report["error"]["found"]
    assert [step["step"] for step in report["steps"]] == ["sweep", "choose"], "no table was made"
    disk.capacity = roomy
    assert house.drill(house.drills(), 1)["verdict"] == "match"


def test_a_difference_that_was_found_before_an_error_counts(house: DrillHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Compared(3, ["restored: lacking key 00"])]

    async def compared(*_: Any) -> Any:
        if answers:
            return answers.pop()
        raise Unavailable("the pin ended while it was read")

    monkeypatch.setattr(Contents, "compare", compared)
    monkeypatch.setattr("scrubjay.drills.contents.TRIES_MAX", 2)
    monkeypatch.setattr(Contents, "compare_live", compared)
    report = house.drill(house.drills(), 1)
    assert (report["verdict"], report["exit"], report["differences"]) == ("mismatch", 2, ["restored: lacking key 00"])
    assert (report["tables"], report["rows_compared"]) == (["birds"], 3)
    assert report["facts"]["at"].endswith("Z"), "which moment it was"
    assert "the pin ended" in report["error"]["message"]
    assert house.scratch() == []


@pytest.mark.parametrize(("error", "verdict"), [(Corrupt("the tree cannot be opened"), "mismatch"), (Unavailable("it is down"), "match")])
def test_a_live_copy_that_is_rotten_is_not_one_that_is_away(
    house: DrillHouse, monkeypatch: pytest.MonkeyPatch, error: ScrubjayError, verdict: str
) -> None:
    monkeypatch.setattr("scrubjay.drills.contents.TRIES_MAX", 2)
    live = {info.partition_id for info in house.birds.partitions}
    pin = house.service.pin

    async def refused(partition: Any, *where: Any, **options: Any) -> Any:
        if partition in live:
            raise error
        return await pin(partition, *where, **options)

    monkeypatch.setattr(house.service, "pin", refused)
    report = house.drill(house.drills(), 2)
    assert report["verdict"] == verdict
    assert verdict == "mismatch" or report["facts"]["partitions_without_live_copy"] == 2
    assert house.scratch() == []


def test_a_row_file_of_our_own_that_is_damaged_says_nothing_about_the_archive(house: DrillHouse) -> None:
    contents, disk = house.contents(), house.cluster.folder.disk
    at_us = house.run(contents.window(house.birds)).latest_us
    assert at_us is not None
    expected = house.run(contents.expected(house.birds, house.birds.partitions[0], at_us=at_us))
    asked = [(b"", None)], [[]], RESTORED
    assert house.run(contents.ruled(expected, *asked)).differences
    disk.write_file(expected.rows, b"rot")
    with pytest.raises(Unavailable):
        house.run(contents.ruled(expected, *asked))
    contents.discard(expected)
    with pytest.raises(Unavailable):
        house.run(contents.ruled(expected, *asked))


class WrongMoment:
    """A restore that gives another moment than the one that was asked for: the drill must say so."""

    def __init__(self, restores: RestoreService, at_us: int) -> None:
        self._restores, self._at_us = restores, at_us

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget) -> dict[str, Any]:
        return await self._restores.start(source, to, RestoreTarget(at_us=self._at_us))

    def status(self, to: str) -> dict[str, Any] | None:
        return self._restores.status(to)

    async def cancel(self, to: str) -> dict[str, Any]:
        return await self._restores.cancel(to)


class SlowRestores(WrongMoment):
    """A restore of the right moment that takes a minute."""

    def __init__(self, house: DrillHouse) -> None:
        super().__init__(house.restore, 0)
        self._tasks = house.env.tasks

    async def start(self, source: TableMeta, to: str, asked: RestoreTarget) -> dict[str, Any]:
        await self._tasks.sleep(60.0)
        return await self._restores.start(source, to, asked)


def test_what_would_be_lost_does_not_grow_with_the_drill(house: DrillHouse) -> None:
    report = house.drill(house.drills(restores=SlowRestores(house)), 1)
    assert report["verdict"] == "match"
    assert report["rpo_seconds"] < 45 < 60 <= report["seconds"]


def test_a_restore_that_gives_another_moment_is_found_out(house: DrillHouse) -> None:
    latest_us = house.env.clock.wall_us() - 5_000_000
    for seed in (1, 2, 3):
        report = house.drill(house.drills(restores=WrongMoment(house.restore, latest_us)), seed)
        if report["verdict"] == "mismatch":
            break
    assert (report["verdict"], report["exit"]) == ("mismatch", 2)
    assert any(one.startswith("restored: ") for one in report["differences"])
    (told,) = house.drills().worse()
    assert told.found
    assert house.scratch() == []
    assert house.drill(house.drills(), 4)["verdict"] == "match"
    assert house.drills().worse() == [], "a drill that matches again ends it"


@pytest.mark.parametrize("step", ["restore", "compare", "drop"])
def test_killed_at_any_step_it_is_swept_at_the_next_start(house: DrillHouse, step: str) -> None:
    phases: list[str] = []
    drills = house.drills()
    house.env.tasks.spawn(drills.run("restore-random", seed=5, progress=lambda facts: phases.append(facts["phase"])), name="drill")
    house.until(lambda: step in phases)
    house.restart_control()
    assert house.service.jobs(NOTES) or step == "drop"
    house.restore.resume_unfinished()
    life = house.drills()
    life.start()
    house.until(lambda: not house.service.jobs(NOTES) and not house.scratch())
    house.pass_time(5)
    assert house.scratch() == []
    assert house.drill(life, 6)["verdict"] == "match"


def test_what_a_drill_could_not_take_away_goes_soon_afterwards_and_not_with_the_next_drill(
    house: DrillHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop, away = house.cluster.store.delete_table, [True]

    async def refused(name: str) -> Any:
        if away:
            raise Unavailable("no leader")
        return await drop(name)

    monkeypatch.setattr(house.cluster.store, "delete_table", refused)
    drills = house.drills()
    report = house.drill(drills, 1)
    assert (report["verdict"], len(house.scratch())) == ("unverified", 1)
    assert "could not be dropped" in report["error"]["message"]
    away.clear()
    house.until(lambda: not house.service.jobs(NOTES) and not house.scratch(), seconds=60)
    assert drills.listed()["scenarios"][0]["runs"] == 1, "nobody ran another"


def test_by_the_schedule_it_runs_where_there_is_something_to_rehearse_it_on(house: DrillHouse) -> None:
    drills = house.drills()
    job = drills.weekly("restore-random")
    shift = Shift(job.default, 0, lambda _bytes: None)
    assert house.run(job.work(shift)) == ShiftOutcome("match", 1, 0)
    assert house.run(job.work(shift._replace(stop=lambda _bytes: "paused"))) == ShiftOutcome("unverified", 0, 1, "paused")
    house.run(house.cluster.store.delete_table("birds"))
    house.pass_time(5)
    assert house.run(job.work(shift)) == ShiftOutcome("nothing_due", 0, 0)
    assert drills.listed()["scenarios"][0]["runs"] == 1, "only the first was a drill"
    check_settings(job.default)


@pytest.mark.slow
def test_a_table_without_items_is_no_alarm_on_sundays() -> None:
    house = DrillHouse(rows=0)
    drills = house.drills()
    job = drills.weekly("restore-random")
    assert house.run(job.work(Shift(job.default, 0, lambda _bytes: None))) == ShiftOutcome("nothing_due", 0, 0)
    assert (drills.listed()["scenarios"][0]["runs"], drills.worse()) == (0, [])
    assert house.drill(drills, 1)["verdict"] == "unverified", "who asked is told that nothing was proven"


@pytest.mark.slow
def test_where_the_table_was_empty_a_later_moment_is_drawn() -> None:
    """A table that got its first item a moment ago: most moments of its window prove nothing."""
    house = DrillHouse(rows=0)
    for key in range(5):
        house.put(house.birds, key, key)
    house.pass_time(10)
    drills = house.drills()
    reports = [house.drill(drills, seed) for seed in (1, 2, 3)]
    assert [(one["verdict"], one["rows_compared"]) for one in reports] == [("match", 5)] * 3, [one["error"] for one in reports]
    tries = [[step["step"] for step in one["steps"]].count("restore") for one in reports]
    assert 1 < max(tries) <= MOMENTS_MAX
    assert (house.scratch(), house.service.jobs(NOTES), house.held(house.birds)) == ([], {}, [([], [])] * 6)


def test_a_pause_ends_a_drill_under_way_and_nothing_of_it_stays(house: DrillHouse) -> None:
    """The window closes while it restores: no report, no alarm, no scratch table."""
    drills = house.drills()
    job = drills.weekly("restore-random")
    until_us = house.env.clock.boot_us() + 500_000
    shift = Shift(job.default, 0, lambda _bytes: "window" if house.env.clock.boot_us() > until_us else None)
    assert house.run(job.work(shift)) == ShiftOutcome("unverified", 0, 1, "window")
    assert (house.scratch(), house.service.jobs(NOTES), drills.listed()["scenarios"][0]["runs"]) == ([], {}, 0)
    assert drills.ended == {"cut_off": 1}
    assert drills.took.total_us >= 500_000
    assert house.held(house.birds) == [([], [])] * 6


def test_without_a_proven_window_nothing_is_claimed() -> None:
    house = DrillHouse(rows=0)
    house.stop_agents()
    house.run(house.cluster.store.delete_table("birds"))
    house.create("fresh")
    report = house.drill(house.drills(), 1)
    assert (report["verdict"], report["exit"], report["rows_compared"]) == ("unverified", 3, 0)
    assert "no moment to restore" in report["error"]["message"]
    (told,) = house.drills().worse()
    assert not told.found


def test_what_the_live_copy_says_of_a_moment() -> None:
    """A row that was written since, or is gone, says nothing; every other must be the same."""
    applied = Lsn(10)
    expected = [RowFact(b"a", 1, Lsn(0)), RowFact(b"b", 2, Lsn(0)), RowFact(b"gone", 3, Lsn(0))]
    live = [RowFact(b"a", 1, Lsn(4)), RowFact(b"b", 9, Lsn(11)), RowFact(b"late", 5, Lsn(12)), RowFact(b"old", 7, Lsn(10))]
    said, held = against_live(expected, live, applied)
    assert [row.key for row in said] == [b"a"]
    assert [row.key for row in held] == [b"a", b"old"], "one that was there then and that the archive does not have is held against it"


def test_a_report_is_as_it_was_signed(house: DrillHouse) -> None:
    report = {name: value for name, value in house.drill(house.drills(), 1).items() if name != "exit"}
    check(report)
    check(report, known=report["public_key"])
    with pytest.raises(Corrupt):
        check(report, known="of another")
    for name, value in (("verdict", "mismatch"), ("rows_compared", 1), ("seed", 2)):
        with pytest.raises(Corrupt):
            check({**report, name: value})
    book = "drills/reports"
    disk = house.cluster.folder.disk
    (kept,) = disk.listdir(book)
    disk.write_file(f"{book}/{kept}", (disk.read_file(f"{book}/{kept}") or b"").replace(b'"match"', b'"mismatch"'))
    assert house.drills().listed()["scenarios"][0]["runs"] == 0
    assert any("left out" in line for line in house.lines)
