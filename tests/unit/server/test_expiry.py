"""Which retention counts, when a leap of the clock is over, and what a run of the schedule comes to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.archiver.expire.plan import DAY_US, KEEP_MAX_US
from scrubjay.scrubber.schedule.views import ShiftOutcome
from scrubjay.server.expiry import expire_outcome
from scrubjay.server.leaps import NOTE, SETTLE_US, LeapWatch
from scrubjay.server.lock_notes import LockNotes
from scrubjay.server.quarantine import SetAside, parted
from scrubjay.server.retentions import GRACE_US, PREFIX, RetentionNote, Retentions, Shortened, own_retention_us, settled
from scrubjay.sim.clock import SimClock
from scrubjay.sim.lone import LoneDisk
from scrubjay.storage.catalogue import TableMeta
from tests.unit.cli.fakes import table

HOUR_US = 3_600_000_000
WEEKS_US = 42 * DAY_US


class Time:
    """True time, in microseconds, as a clock of the simulator reads it."""

    now = 0


def watched(rate_ppm: int = 0) -> tuple[Time, SimClock, LeapWatch]:
    time = Time()
    clock = SimClock(time, rate_ppm=rate_ppm)
    return time, clock, LeapWatch(clock)


class NotesHere:
    """The notes of the metadata group, without the group."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}

    async def put_job(self, key: str, job: dict[str, Any] | None) -> None:
        if job is None:
            del self.jobs[key]
        else:
            self.jobs[key] = job


def done(work: Any) -> Any:
    """What comes of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def settle(retentions: Retentions, table: TableMeta, now_us: int) -> list[tuple[TableMeta, Shortened]]:
    """A run of the schedule, of which nobody doubts the time."""
    found: list[tuple[TableMeta, Shortened]] = done(retentions.settle([table], now_us=now_us, dated_us=now_us))
    return found


@pytest.mark.parametrize(("days", "kept"), [(35, 35), (7, 7), (1, 1), (0, 1), (400, 35)])
def test_a_table_keeps_what_it_was_told_between_1_and_35_days(days: int, kept: int) -> None:
    assert own_retention_us(msgspec.structs.replace(table("cities", 1), pitr_days=days)) == kept * DAY_US


# --- a retention that was shortened ---


def test_a_shorter_retention_counts_once_its_grace_is_over_and_a_longer_one_at_once() -> None:
    notes = NotesHere()
    retentions = Retentions(notes)
    told = msgspec.structs.replace(table("cities", 1), pitr_days=1)
    assert retentions.keep_us(told) == 35 * DAY_US, "before any run has seen it"
    assert retentions.shortened(told).as_json() == {"keeps_seconds": 35 * 86400, "told_seconds": 86400, "until": None}  # type: ignore[union-attr]
    begun = settle(retentions, told, DAY_US)
    assert [(one.name, shortened.since_us) for one, shortened in begun] == [("cities", DAY_US)]
    assert settle(retentions, told, 2 * DAY_US) == [], "told once"
    assert Retentions(notes).keep_us(told) == 35 * DAY_US, "over a restart too"
    settle(retentions, told, DAY_US + GRACE_US - 1)
    assert retentions.keep_us(told) == 35 * DAY_US
    settle(retentions, told, DAY_US + GRACE_US)
    assert retentions.keep_us(told) == DAY_US
    assert retentions.shortened(told) is None
    longer = msgspec.structs.replace(told, pitr_days=20)
    assert retentions.keep_us(longer) == 20 * DAY_US
    settle(retentions, longer, 9 * DAY_US)
    assert retentions.keep_us(told) == 20 * DAY_US, "and from there on it is the one that a shorter one waits for"
    settle(retentions, msgspec.structs.replace(told, pitr_days=35), 9 * DAY_US)
    assert notes.jobs == {}, "the longest needs no note"


def test_a_slip_that_is_taken_back_or_changed_begins_a_new_grace() -> None:
    seen = settled(RetentionNote(), DAY_US, now_us=100, dated_us=100)
    assert seen == RetentionNote(KEEP_MAX_US, DAY_US, 100)
    assert settled(seen, KEEP_MAX_US, now_us=200, dated_us=200) == RetentionNote()
    assert settled(seen, 2 * DAY_US, now_us=100 + GRACE_US, dated_us=100 + GRACE_US) == RetentionNote(
        KEEP_MAX_US, 2 * DAY_US, 100 + GRACE_US
    )
    assert settled(seen, DAY_US, now_us=50, dated_us=50) == RetentionNote(KEEP_MAX_US, DAY_US, 50), (
        "what is dated later than now says nothing"
    )


def test_time_that_nobody_saw_pass_is_no_grace() -> None:
    """A machine that boots with its clock days ahead, or was off: nobody could read what was told."""
    seen = settled(RetentionNote(), DAY_US, now_us=100, dated_us=100)
    assert settled(seen, DAY_US, now_us=100 + 9 * DAY_US, dated_us=100 + GRACE_US - 1) == seen
    assert settled(seen, DAY_US, now_us=100 + 9 * DAY_US, dated_us=100 + GRACE_US) == RetentionNote(DAY_US)


def test_a_table_that_leaves_the_catalogue_leaves_no_note() -> None:
    notes = NotesHere()
    told = msgspec.structs.replace(table("cities", 1), pitr_days=1)
    settle(Retentions(notes), told, DAY_US)
    assert list(notes.jobs) == [PREFIX + told.table_id]
    done(Retentions(notes).forget(told))
    assert notes.jobs == {}


def test_who_confirms_a_run_confirms_the_retention_of_its_tables() -> None:
    retentions = Retentions(NotesHere())
    told, other = (msgspec.structs.replace(table(name, number), pitr_days=1) for number, name in enumerate(("cities", "birds"), 1))
    done(retentions.confirm([told]))
    assert (retentions.keep_us(told), retentions.keep_us(other)) == (DAY_US, 35 * DAY_US)


def test_a_note_that_is_malformed_shortens_nothing() -> None:
    notes = NotesHere()
    told = msgspec.structs.replace(table("cities", 1), pitr_days=1)
    notes.jobs[PREFIX + told.table_id] = {"keep_us": "a day"}
    assert Retentions(notes).keep_us(told) == 35 * DAY_US


# --- a clock that leapt ---


@pytest.mark.parametrize("leap_us", [WEEKS_US, -WEEKS_US, 61_000_000, -61_000_000])
def test_a_leap_is_told_until_it_has_settled_and_then_is_over_by_itself(leap_us: int) -> None:
    time, clock, leaps = watched()
    time.now = HOUR_US
    clock.jump(leap_us)
    leaps.look()
    assert leaps.doubt is not None
    assert f"{leap_us / 1e6:+.0f} s" in leaps.doubt
    time.now += SETTLE_US - 1
    leaps.look()
    assert leaps.doubt is not None
    time.now += 1
    leaps.look()
    assert leaps.doubt is None


def test_what_seems_older_by_a_leap_seems_so_until_it_has_left_every_window() -> None:
    time, clock, leaps = watched()
    clock.jump(3 * HOUR_US)
    leaps.look()
    clock.jump(2 * HOUR_US)
    leaps.look()
    assert leaps.ahead_us == 5 * HOUR_US
    time.now += KEEP_MAX_US
    leaps.look()
    assert leaps.ahead_us == 5 * HOUR_US
    time.now += 1
    leaps.look()
    assert leaps.ahead_us == 0
    clock.jump(-HOUR_US)
    leaps.look()
    assert leaps.ahead_us == 0, "a clock that was set back makes nothing older"


def test_a_clock_that_goes_wrong_slowly_has_not_leapt() -> None:
    """Two clocks that drift apart by a minute a month: over a year that is no leap."""
    time, clock, leaps = watched()
    for _ in range(400):
        time.now += DAY_US
        clock.jump(2_000_000)
        leaps.look()
    assert (leaps.doubt, leaps.ahead_us) == (None, 0)


def test_a_leap_is_known_to_the_next_process_and_over_when_it_would_have_been() -> None:
    time, clock, _ = watched()
    disk = LoneDisk()
    leaps = LeapWatch(clock, disk)
    leaps.look()
    assert not disk.exists(NOTE), "nothing is noted of a clock that goes right"
    clock.jump(3 * HOUR_US)
    leaps.look()
    time.now += HOUR_US
    said = leaps.doubt
    assert said is not None
    again = LeapWatch(clock, disk)
    assert (again.doubt, again.ahead_us) == (said, 3 * HOUR_US)
    clock.jump(HOUR_US)
    again.look()
    time.now += SETTLE_US
    assert (LeapWatch(clock, disk).doubt, LeapWatch(clock, disk).ahead_us) == (None, 4 * HOUR_US)
    time.now += KEEP_MAX_US
    last = LeapWatch(clock, disk)
    last.look()
    assert (last.ahead_us, disk.exists(NOTE)) == (0, False)


def test_a_clock_that_was_set_right_while_nobody_ran_is_doubted_from_now_on() -> None:
    time, clock, _ = watched()
    disk = LoneDisk()
    leaps = LeapWatch(clock, disk)
    clock.jump(WEEKS_US)
    leaps.look()
    time.now += HOUR_US
    clock.jump(-WEEKS_US)
    again = LeapWatch(clock, disk)
    time.now += SETTLE_US - 1
    assert again.doubt is not None
    time.now += 1
    assert again.doubt is None


def test_a_note_of_a_leap_that_cannot_be_read_is_doubted_and_one_that_cannot_be_written_is_written_later() -> None:
    time, clock, _ = watched()
    disk = LoneDisk()
    disk.write_file(NOTE, b"{")
    assert LeapWatch(clock, disk).doubt is not None
    disk = LoneDisk()
    leaps = LeapWatch(clock, disk)
    clock.jump(HOUR_US)
    free, disk.capacity = disk.capacity, 0
    leaps.look()
    assert leaps.doubt is not None
    assert not disk.exists(NOTE)
    disk.capacity = free
    time.now += 1
    leaps.look()
    assert LeapWatch(clock, disk).doubt == leaps.doubt


# --- what a run came to ---


def report(
    exit_code: int, *, deleted: int = 0, refused: str | None = None, error: str | None = None, left: int = 0, unlocked: str | None = None
) -> dict[str, Any]:
    parts = [{"refused": refused, "error": error}, {"refused": None, "error": None}]
    return {
        "exit": exit_code,
        "error": None if error is None else {"message": error},
        "tables": [{"table": "cities", "refused": refused, "held": [], "partitions": parts}],
        "totals": {"deleted": deleted},
        "cut": "window_over" if left else None,
        "left": left,
        "locks": None if unlocked is None else {"due": 9, "asked": 8, "failed": 2, "error": unlocked},
    }


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (report(0), ShiftOutcome("nothing_due", 2, 0)),
        (report(0, deleted=7), ShiftOutcome("done", 2, 0)),
        (report(0, deleted=7, left=3), ShiftOutcome("done", 2, 3, "window_over")),
        (report(4, refused="two histories"), ShiftOutcome("refused", 1, 1, "cities: two histories")),
        (report(4, error="a pin cannot be read"), ShiftOutcome("refused", 1, 1, "a pin cannot be read")),
        (report(1, error="connection refused"), ShiftOutcome("failed", 1, 1, "connection refused", True)),
        (report(3, deleted=7), ShiftOutcome("incomplete", 2, 0, "the store kept what was to go")),
        (report(3, unlocked="refused"), ShiftOutcome("unlocked", 1, 1, "2 objects that must stay could not be locked for longer: refused")),
        (report(4, refused="two histories", unlocked="refused"), ShiftOutcome("refused", 1, 1, "cities: two histories")),
    ],
)
def test_what_a_run_of_the_schedule_came_to(found: dict[str, Any], outcome: ShiftOutcome) -> None:
    assert expire_outcome(found) == outcome


# --- locks ---


def test_since_when_everything_is_locked_is_known_over_a_restart_as_long_as_the_lock_is_the_same() -> None:
    notes = NotesHere()
    book = LockNotes(notes).book(10 * DAY_US)
    assert book.since_us is None
    done(LockNotes(notes).looked(book, since_us=5))
    done(LockNotes(notes).looked(book, since_us=7))
    assert book.since_us == 5, "what was known since then goes on"
    assert LockNotes(notes).book(10 * DAY_US).since_us == 5
    assert LockNotes(notes).book(11 * DAY_US).since_us is None
    notes.jobs["locks"] = {"keep_us": "many"}
    assert LockNotes(notes).book(10 * DAY_US).since_us is None
    done(LockNotes(notes).unlocked())
    assert notes.jobs == {}
    done(LockNotes(notes).unlocked())


# --- evidence ---


def test_evidence_goes_when_it_was_seen_for_longer_than_findings_are_kept() -> None:
    disk = LoneDisk()
    evidence = SetAside(disk)
    for name in ("p-1", "p-2"):
        disk.mkdir(f"nodes/n1/quarantine/{name}")
        disk.write_file(f"nodes/n1/quarantine/{name}/data.mdb", b"rotten")
    assert evidence.look(now_us=DAY_US, dated_us=DAY_US) == (2, ())
    assert not disk.exists("nodes/n1/quarantine.json"), "a plan notes nothing"
    evidence.age(now_us=DAY_US, dated_us=DAY_US)
    disk.mkdir("nodes/n1/quarantine/p-3")
    last_us = DAY_US + KEEP_MAX_US
    assert SetAside(disk).age(now_us=last_us, dated_us=last_us).old == ()
    assert evidence.age(now_us=last_us + 9, dated_us=last_us).old == (), "time that nobody saw ages nothing"
    assert SetAside(disk).age(now_us=last_us + 1, dated_us=last_us + 1) == (3, ("nodes/n1/quarantine/p-1", "nodes/n1/quarantine/p-2"))
    assert disk.listdir("nodes/n1/quarantine") == ["p-3"]
    assert evidence.age(now_us=last_us + 2, dated_us=last_us + 2) == (1, ())


def test_a_tree_that_is_known_from_the_future_or_bears_the_name_of_one_that_went_is_new() -> None:
    assert parted(["p-1"], {"p-1": 50, "p-2": 1}, now_us=40, dated_us=40) == ([], {"p-1": 40})
    disk = LoneDisk()
    disk.mkdir("nodes/n1/quarantine/p-1")
    disk.write_file("nodes/n1/quarantine.json", b"not a note")
    assert SetAside(disk).age(now_us=100 * DAY_US, dated_us=100 * DAY_US).old == ()
    gone_us = 136 * DAY_US
    assert len(SetAside(disk).age(now_us=gone_us, dated_us=gone_us).old) == 1
    disk.mkdir("nodes/n1/quarantine/p-1")
    assert SetAside(disk).age(now_us=gone_us, dated_us=gone_us).old == ()


def test_trees_that_somebody_moved_away_leave_no_time_to_those_that_bear_their_names_later() -> None:
    disk = LoneDisk()
    disk.mkdir("nodes/n1/quarantine/p-1")
    SetAside(disk).age(now_us=DAY_US, dated_us=DAY_US)
    disk.remove_tree("nodes/n1/quarantine/p-1")
    SetAside(disk).age(now_us=2 * DAY_US, dated_us=2 * DAY_US)
    disk.mkdir("nodes/n1/quarantine/p-1")
    late_us = 3 * DAY_US + KEEP_MAX_US
    assert SetAside(disk).age(now_us=late_us, dated_us=late_us).old == ()
    assert disk.listdir("nodes/n1/quarantine") == ["p-1"]


def test_evidence_of_an_open_finding_stays_until_it_is_closed() -> None:
    disk, path = LoneDisk(), "nodes/n1/quarantine/p-1"
    disk.mkdir(path)
    SetAside(disk).age(now_us=0, dated_us=0)
    late_us = KEEP_MAX_US + 1
    assert SetAside(disk).age(now_us=late_us, dated_us=late_us, needed={path}) == (1, ())
    assert SetAside(disk).age(now_us=late_us, dated_us=late_us).old == (path,), "its age was not forgotten"
