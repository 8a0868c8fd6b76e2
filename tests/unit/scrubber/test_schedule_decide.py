"""What is due, and what is overdue, under every kind of time: rules over values, no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec import UNSET

from scrubjay.base.errors import Invalid
from scrubjay.scrubber.plan import Target, of_round
from scrubjay.scrubber.schedule.cron import check, in_window, next_fire, window_begin, window_end
from scrubjay.scrubber.schedule.decide import (
    ALIVE,
    BACK_US,
    DEAD,
    FIRST_US,
    MINUTE_US,
    NONE,
    RETRIES_MAX,
    TRIES_MAX,
    JobView,
    decide,
    overdue,
)
from scrubjay.scrubber.schedule.scheduler import after
from scrubjay.scrubber.schedule.settings import DAY_US, HOUR_US, JobNote, JobRun, JobSettings, LastRun, Retry
from scrubjay.scrubber.schedule.views import ShiftOutcome
from scrubjay.server.nightly import DEFAULTS, skipped_us
from tests.fixtures.golden import Golden
from tests.unit.scrubber.scrub_world import table_of
from tests.unit.scrubber.test_scrub_plan import proof

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def utc(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).strftime("%m-%d %H:%M:%S")


NIGHTLY = JobSettings("0 2 * * *", 2 * DAY_US)
MADE = at("2026-03-01 12:00")


def view(
    note: JobNote | None = None, *, settings: JobSettings = NIGHTLY, run: str = NONE, name: str = "scrub", since_us: int = MADE
) -> JobView:
    return JobView(name, settings, note or JobNote(), run, since_us)


def fires(settings: JobSettings, after: str, count: int, zone: str = "UTC") -> list[str | None]:
    found, moment = [], at(after, zone)
    for _ in range(count):
        fire = next_fire(settings, moment)
        assert fire is not None
        assert fire > moment
        found.append(utc(fire))
        moment = fire
    return found


def test_a_fresh_cluster_waits_for_its_first_night() -> None:
    assert decide([view()], MADE).due == ()
    assert utc(decide([view()], MADE).wake_us) == "03-02 02:00:00"
    assert decide([view()], at("2026-03-02 01:59:59")).due == ()
    assert decide([view()], at("2026-03-02 02:00")).due == ("scrub",)


def test_one_that_is_made_just_before_the_hour_is_left_alone_that_night() -> None:
    since_us = at("2026-03-02 01:30")
    assert decide([view(since_us=since_us)], at("2026-03-02 02:00:01")).due == ()
    assert since_us + FIRST_US > at("2026-03-02 02:00")
    assert decide([view(since_us=since_us)], at("2026-03-03 02:00")).due == ("scrub",)


def test_three_days_down_are_caught_up_once() -> None:
    note = JobNote(handled_us=at("2026-03-02 02:00"))
    now_us = at("2026-03-05 09:00")
    assert decide([view(note)], now_us).due == ("scrub",)
    after = JobNote(handled_us=now_us)
    assert decide([view(after)], now_us + 1).due == ()
    assert utc(decide([view(after)], now_us + 1).wake_us) == "03-06 02:00:00"


def test_who_is_due_longer_comes_first_and_equals_in_the_order_of_the_jobs() -> None:
    jobs = [view(settings=JobSettings("0 4 * * *", DAY_US), name="late"), view(), view(name="verify")]
    assert decide(jobs, at("2026-03-02 05:00")).due == ("scrub", "verify", "late")


def test_a_paused_job_is_not_due_and_is_caught_up_when_it_is_resumed() -> None:
    paused = JobNote(handled_us=at("2026-03-02 02:00"), paused_us=at("2026-03-02 12:00"))
    assert decide([view(paused)], at("2026-03-04 09:00")) == ((), (), None)
    assert decide([view(JobNote(handled_us=paused.handled_us))], at("2026-03-04 09:00")).due == ("scrub",)


def test_outside_its_window_it_waits_for_the_window() -> None:
    settings = JobSettings("0 2 * * *", DAY_US, window="01:00-05:00")
    missed = view(JobNote(handled_us=at("2026-03-02 02:00")), settings=settings)
    found = decide([missed], at("2026-03-04 09:00"))
    assert (found.due, utc(found.wake_us)) == ((), "03-05 01:00:00")
    assert decide([missed], at("2026-03-05 01:00")).due == ("scrub",)
    assert decide([missed], at("2026-03-05 05:00")).due == ()


def test_a_run_that_lives_is_not_begun_again_and_one_that_died_is_taken_up_once() -> None:
    run = JobRun("x", at("2026-03-02 02:00"))
    note = JobNote(handled_us=run.began_us, run=run)
    now_us = at("2026-03-02 03:00")
    assert decide([view(note, run=ALIVE)], now_us).due == ()
    assert decide([view(note, run=DEAD)], now_us).due == ("scrub",)
    again = JobNote(handled_us=now_us, run=JobRun("y", now_us, tries=TRIES_MAX))
    assert decide([view(again, run=DEAD)], now_us + HOUR_US).due == (), "what kills its process is not begun for ever"
    assert decide([view(again, run=DEAD)], at("2026-03-03 02:00")).due == ("scrub",)


def test_a_clock_set_back_a_little_runs_nothing_twice_and_one_set_back_far_stops_nothing() -> None:
    handled = at("2026-03-02 02:00:01")
    assert decide([view(JobNote(handled_us=handled))], at("2026-03-02 01:30")).due == ()
    assert decide([view(JobNote(handled_us=handled))], at("2026-03-02 02:00")).due == (), "the same night"
    ahead = JobNote(handled_us=at("2027-03-02 02:00"))
    now_us = at("2026-03-02 12:00")
    found = decide([view(ahead)], now_us)
    assert (found.due, found.behind) == ((), ("scrub",))
    assert decide([view(JobNote(handled_us=now_us))], at("2026-03-03 02:00")).due == ("scrub",)
    assert decide([view(JobNote(set_us=at("2027-03-02 02:00")))], now_us).behind == ("scrub",), (
        "or it is set, and does nothing until that day"
    )
    edge = JobNote(handled_us=now_us + BACK_US)
    assert decide([view(edge)], now_us).behind == ()


def test_a_clock_that_jumps_ahead_is_one_run() -> None:
    note = JobNote(handled_us=at("2026-03-02 02:00"))
    now_us = at("2036-01-01 00:00")
    assert decide([view(note)], now_us).due == ("scrub",)
    assert decide([view(JobNote(handled_us=now_us))], now_us + 1).due == ()


def test_the_hour_that_is_not_there_fires_once_and_the_one_that_comes_twice_too() -> None:
    half = JobSettings("30 2 * * *", DAY_US, timezone=BERLIN)
    assert fires(half, "2026-03-28 12:00", 3) == ["03-29 01:30:00", "03-30 00:30:00", "03-31 00:30:00"]
    assert fires(half, "2026-10-24 12:00", 3) == ["10-25 00:30:00", "10-26 01:30:00", "10-27 01:30:00"]
    hourly = JobSettings("30 * * * *", DAY_US, timezone=BERLIN)
    assert fires(hourly, "2026-10-24 23:45", 4) == ["10-25 00:30:00", "10-25 01:30:00", "10-25 02:30:00", "10-25 03:30:00"]


def test_a_window_is_of_the_clock_on_the_wall_on_every_day() -> None:
    night = JobSettings("0 2 * * *", DAY_US, timezone=BERLIN, window="22:00-05:00")
    for day in ("2026-01-10", "2026-07-10"):
        assert [in_window(night, at(f"{day} {hour}", BERLIN)) for hour in ("21:59", "22:00", "04:59", "05:00")] == [
            False,
            True,
            True,
            False,
        ]
        assert window_end(night, at(f"{day} 23:00", BERLIN)) == at(f"{day[:-2]}11 05:00", BERLIN)
        assert window_begin(night, at(f"{day} 12:00", BERLIN)) == at(f"{day} 22:00", BERLIN)
    gap = JobSettings("0 2 * * *", DAY_US, timezone=BERLIN, window="02:30-05:00")
    opens = window_begin(gap, at("2026-03-28 23:00"))
    assert in_window(gap, opens + HOUR_US), "a window that begins in the hour that is not there still opens"
    assert window_end(gap, opens) is not None


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("0 2 * * 0", ["03-08 02:00:00", "03-15 02:00:00"]),
        ("0 2 * * 7", ["03-08 02:00:00", "03-15 02:00:00"]),
        ("0 2 * * 5-7", ["03-06 02:00:00", "03-07 02:00:00", "03-08 02:00:00"]),
        ("0 2 * * mon", ["03-02 02:00:00", "03-09 02:00:00"]),
        ("*/20 * * * * *", ["03-01 12:00:20", "03-01 12:00:40", "03-01 12:01:00"]),
        ("15 3 1 * *", ["04-01 03:15:00"]),
    ],
)
def test_fields_mean_what_they_mean_in_cron(cron: str, found: list[str]) -> None:
    assert fires(JobSettings(cron, DAY_US), "2026-03-01 12:00", len(found)) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"cron": "0 2 * *"},
        {"cron": "61 2 * * *"},
        {"cron": "0 2 30 2 *"},
        {"cron": "0 2 1 * mon"},
        {"cron": "0 2 * * 5-1"},
        {"cron": "@daily"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"window": "1-5"},
        {"window": "01:00-01:00"},
    ],
    ids=str,
)
def test_what_is_not_understood_is_refused(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"cron": "0 2 * * *", "within_us": DAY_US} | wrong
    with pytest.raises(Invalid):
        check(JobSettings(**fields))


def test_the_defaults_are_sound_and_reread_every_object_in_a_week() -> None:
    for settings in DEFAULTS.values():
        check(settings)
    verify = DEFAULTS["verify"]
    assert verify.within_us == 7 * DAY_US
    assert skipped_us(verify) + 2 * DAY_US <= verify.within_us, "read again in good time, were a night to fail"
    assert skipped_us(JobSettings("* * * * *", HOUR_US)) < HOUR_US


def test_overdue_is_what_was_not_done_whole_in_time() -> None:
    done = LastRun(at("2026-03-02 03:00"), "match", 1.0, 3, 0)
    assert not overdue(view(), MADE + 2 * DAY_US)
    assert overdue(view(), MADE + 2 * DAY_US + 1)
    assert not overdue(view(JobNote(last=done)), at("2026-03-04 03:00"))
    assert overdue(view(JobNote(last=done)), at("2026-03-04 03:01"))
    for cut in (LastRun(done.at_us, "match", 1.0, 3, 2), LastRun(done.at_us, "failed", 1.0, 0, 0)):
        assert overdue(view(JobNote(last=cut)), at("2026-03-04 03:00")), "it is not done"


def test_a_run_that_fails_after_one_that_was_whole_takes_nothing_from_it() -> None:
    """A job paused in the middle of its second night was called overdue since the cluster was made."""
    began = at("2026-03-02 02:00")
    whole = after(JobNote(), ShiftOutcome("match", 3, 0), LastRun(began, "match", 1.0, 3, 0))
    for outcome in (ShiftOutcome("match", 1, 2, "paused"), ShiftOutcome("failed", 0, 0, "down", again=True)):
        note = after(whole, outcome, LastRun(began + DAY_US, outcome.verdict, 1.0, outcome.done, outcome.left, outcome.why))
        assert note.done_us == began
        assert not overdue(view(note), began + 2 * DAY_US)
        assert overdue(view(note), began + 2 * DAY_US + 1)


def test_tries_of_one_night_share_its_budget() -> None:
    note = after(JobNote(), ShiftOutcome("unverified", 3, 2, "archive_away", again=True), LastRun(5, "unverified", 1.0, 3, 2), spent=(7, 9))
    assert note.retry == Retry(5 + MINUTE_US, 1, 7, 9)


def test_a_round_takes_the_least_recently_looked_at_first_and_each_once() -> None:
    table = table_of(1, 4)
    targets = [Target(table, info) for info in table.partitions]
    ids = [one.info.partition_id for one in targets]
    proofs = [proof(ids[0], 50, "unverified"), proof(ids[1], 20), proof(ids[2], 90), proof(ids[3], 30, "mismatch")]
    assert [ids.index(one.info.partition_id) for one in of_round(targets, proofs, round_us=60, now_us=100)] == [1, 3, 0]
    assert [ids.index(one.info.partition_id) for one in of_round(targets, proofs[1:], round_us=60, now_us=100)] == [0, 1, 3], (
        "never looked at"
    )
    assert of_round(targets, proofs, round_us=10, now_us=100) == [], "one that is never matched has its turn as well"


def test_looks_dated_in_the_future_count_for_nothing() -> None:
    table = table_of(1, 2)
    targets = [Target(table, info) for info in table.partitions]
    ids = [one.info.partition_id for one in targets]
    proofs = [proof(ids[0], 50), proof(ids[1], 1_000)]
    assert [one.info.partition_id for one in of_round(targets, proofs, round_us=60, now_us=100)] == [ids[1], ids[0]]


def test_what_the_store_kept_from_its_work_is_tried_again_in_its_window_longer_each_time_and_not_for_ever() -> None:
    settings = JobSettings("0 2 * * *", DAY_US, window="01:00-05:00")
    began = at("2026-03-02 02:00")
    note = JobNote(handled_us=began, round_us=began)
    away = ShiftOutcome("unverified", 3, 2, "archive_away", again=True)
    pauses = []
    for count in range(1, RETRIES_MAX + 1):
        now_us = at("2026-03-02 02:10")
        note = after(note, away, LastRun(now_us, "unverified", 1.0, 3, 2, "archive_away"))
        assert note.retry is not UNSET
        assert (note.retry.count, note.round_us) == (count, began), "the round goes on"
        assert decide([view(note, settings=settings)], note.retry.at_us).due == ("scrub",)
        assert decide([view(note, settings=settings)], note.retry.at_us - 1).wake_us == note.retry.at_us
        pauses.append((note.retry.at_us - now_us) // MINUTE_US)
    assert pauses == [1, 2, 4, 8, 16, 32, 60]
    late = view(note, settings=settings)
    assert decide([late], at("2026-03-02 05:00")).due == ()
    assert utc(decide([late], at("2026-03-02 05:00")).wake_us) == "03-03 01:00:00"
    given_up = after(note, away, LastRun(began, "unverified", 1.0, 3, 2, "archive_away"))
    assert (given_up.retry, given_up.round_us) == (UNSET, None), "the next night begins with what was looked at longest ago"
    assert utc(decide([view(given_up, settings=settings)], began).wake_us) == "03-03 02:00:00"
    failed = after(note, ShiftOutcome("failed", 0, 0, "down", again=True), LastRun(began, "failed", 1.0, 0, 0, "down"))
    assert (failed.retry, failed.round_us) == (UNSET, began), "nothing was looked at"
    assert after(note, ShiftOutcome("match", 5, 0), LastRun(began, "match", 1.0, 5, 0)).retry is UNSET


def test_a_second_try_takes_what_stayed_unverified_behind_what_had_no_turn() -> None:
    table = table_of(1, 3)
    targets = [Target(table, info) for info in table.partitions]
    ids = [info.partition_id for info in table.partitions]
    proofs = [proof(ids[0], 70, verdict="unverified"), proof(ids[1], 71)]
    assert [one.info.partition_id for one in of_round(targets, proofs, round_us=60, now_us=100)] == [ids[2]]
    assert [one.info.partition_id for one in of_round(targets, proofs, round_us=60, now_us=100, again=True)] == [ids[2], ids[0]]
    only = of_round(targets, proofs, round_us=60, now_us=100, again=True, only={ids[0]})
    assert [one.info.partition_id for one in only] == [ids[0]], "what the store kept it from, and no more"


@pytest.mark.parametrize("name", ["running", "set", "new", "retried"])
def test_golden_notes(golden: Golden, name: str) -> None:
    """A note as it was first written is read by every later version."""
    written = GOLDEN[name]
    golden.check_json(f"v3/schedule/{name}.json", msgspec.to_builtins(written))
    assert msgspec.json.decode(golden.read(f"v3/schedule/{name}.json"), type=JobNote) == written


GOLDEN = {
    "retried": JobNote(
        handled_us=MADE, round_us=MADE, last=LastRun(MADE, "unverified", 1.5, 3, 2, "archive_away"), retry=Retry(MADE + 5, 3)
    ),
    "new": JobNote(),
    "set": JobNote(JobSettings("0 2 * * *", DAY_US, BERLIN, "01:00-05:00", 20 << 20, 7_200_000_000, 50 << 30), set_us=5, paused_us=7),
    "running": JobNote(
        handled_us=MADE,
        round_us=MADE,
        run=JobRun("00000000-0000-4000-8000-000000000007", MADE, 3, 2),
        last=LastRun(MADE, "match", 1.5, 3, 2, "paused"),
    ),
}
