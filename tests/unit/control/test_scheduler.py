"""The schedule over the real metadata group, in simulated time: what runs when, by which of two processes, over pauses, cuts and deaths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Corrupt, Invalid, Unavailable, Unsafe
from scrubjay.scrubber.options import ScrubOptions, Turns
from scrubjay.scrubber.schedule.notes import ScheduleBook
from scrubjay.scrubber.schedule.scheduler import END_TRIES, SOON_S, Scheduler
from scrubjay.scrubber.schedule.settings import DAY_US, JobNote, JobSettings
from scrubjay.scrubber.schedule.views import STALE_US, NightJob, Shift, ShiftOutcome, Work
from scrubjay.scrubber.service import ScrubService
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.server.nightly import DEFAULTS, TaskAlarm, base_work, kept, scrub_outcome, scrub_work
from scrubjay.storage.control.metadata import Metadata
from tests.unit.control.house import House

OFTEN = JobSettings("*/10 * * * * *", DAY_US)


class Nights:
    """Processes of one cluster, each with its own view of the metadata. ran: (process, job), as they began."""

    def __init__(self, partitions: int = 1) -> None:
        self.house = House(partitions=partitions)
        self.ran: list[str] = []
        self.lines: list[str] = []
        self.busy_s = 0.5

    def process(self, name: str, *, alone: bool = False, work: Work | None = None) -> Scheduler:
        metadata = Metadata(self.house.env, self.house.cluster.router, self.house.cluster.system)
        self.house.run(metadata.load())

        async def busy(shift: Shift) -> ShiftOutcome:
            """Ten partitions, as long each as `busy_s`."""
            self.ran.append(name)
            for done in range(10):
                why = shift.stop(done)
                if why is not None:
                    return ShiftOutcome("match", done, 10 - done, why)
                await self.house.env.tasks.sleep(self.busy_s / 10)
            return ShiftOutcome("match", 10, 0)

        return Scheduler(
            self.house.env,
            ScheduleBook(metadata),
            [NightJob("scrub", DEFAULTS["scrub"], work or busy)],
            alarm=TaskAlarm(self.house.env),
            since_us=self.house.env.clock.wall_us(),
            alone=alone,
            log=lambda line: self.lines.append(f"{name}: {line}"),
        )

    def said(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]

    def row(self, process: Scheduler) -> dict[str, Any]:
        (row,) = process.views.listed()["jobs"]
        return dict(row)

    def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        self.house.until(holds, seconds=seconds)


@pytest.fixture
def nights() -> Nights:
    return Nights()


def test_a_fresh_cluster_does_nothing_and_writes_nothing(nights: Nights) -> None:
    quiet = nights.process("a", alone=True)
    quiet.start()
    nights.house.pass_time(65)
    assert (nights.ran, nights.lines) == ([], [])
    assert nights.house.cluster.metadata.jobs == {}, "an idle cluster costs no record"
    row = nights.row(quiet)
    assert (row["next"], row["last"], row["overdue"]) == ("2027-01-16T02:00:00.000000Z", None, False)


def test_a_job_runs_by_the_clock_and_what_a_dead_process_missed_is_caught_up_once(nights: Nights) -> None:
    first = nights.process("a", alone=True)
    first.start()
    nights.house.run(first.set("scrub", OFTEN))
    nights.until(lambda: nights.row(first)["last"] is not None)
    assert nights.ran == ["a"]
    last = nights.row(first)["last"]
    assert last | {"at": "", "seconds": 0.5} == {"at": "", "verdict": "match", "seconds": 0.5, "done": 10, "left": 0, "why": None}
    assert 0.5 <= last["seconds"] < 0.6
    first.stop()
    nights.house.pass_time(35)
    second = nights.process("b", alone=True)
    nights.house.run(second.set("scrub", OFTEN))
    third = nights.process("c", alone=True)
    assert nights.row(third)["last"]["verdict"] == "match", "kept in the metadata group"
    nights.house.pass_time(15)
    third.start()
    nights.house.pass_time(4)
    assert nights.ran == ["a", "c"], "at once, and once"


def test_a_run_whose_process_dies_is_taken_up_once_by_its_next_life(nights: Nights) -> None:
    nights.busy_s = 30.0
    first = nights.process("a", alone=True)
    first.start()
    nights.house.run(first.set("scrub", JobSettings("0 * * * * *", DAY_US)))
    nights.until(lambda: nights.ran == ["a"], seconds=65)
    nights.house.pass_time(1)
    first.stop()
    second = nights.process("b", alone=True)
    second.start()
    nights.house.pass_time(1)
    assert nights.ran == ["a", "b"]
    second.stop()
    third = nights.process("c", alone=True)
    third.start()
    nights.house.pass_time(5)
    assert nights.ran == ["a", "b"], "what kills its process twice waits for its hour"
    nights.until(lambda: nights.ran == ["a", "b", "c"], seconds=65)


@pytest.mark.slow
def test_of_two_processes_one_works_and_the_other_says_so_waits_and_takes_over_when_it_dies(nights: Nights) -> None:
    nights.busy_s = 40.0
    first, second = nights.process("a"), nights.process("b")
    nights.house.run(first.set("scrub", JobSettings("0 0 * * * *", DAY_US)))
    nights.house.run(second.pause("scrub", paused=False))
    for process in (first, second):
        process.start()
    running = nights.house.env.tasks.spawn(first.run_now("scrub"), name="by hand")
    nights.house.pass_time(1)
    with pytest.raises(Conflict):
        nights.house.run(second.run_now("scrub"))
    assert len(nights.said("b: another durability process runs scrub")) == 1
    nights.house.pass_time(35)
    running.cancel()
    first.stop()
    nights.house.pass_time(90)
    assert nights.ran == ["a"], "a beat that was late is no death, though a look has found it as it was"
    nights.until(lambda: nights.ran == ["a", "b"], seconds=STALE_US / 1e6 + 130)
    nights.until(lambda: nights.row(second)["last"] is not None)
    assert nights.row(second)["last"]["left"] == 0
    assert len(nights.said("b: another durability process runs scrub")) == 1


def test_two_processes_that_wake_at_once_run_it_once(nights: Nights) -> None:
    first, second = nights.process("a"), nights.process("b")
    nights.house.run(first.set("scrub", JobSettings("0 * * * * *", DAY_US)))
    second = nights.process("b")
    for process in (first, second):
        process.start()
    nights.until(lambda: len(nights.ran) > 0, seconds=65)
    nights.house.pass_time(20)
    assert len(nights.ran) == 1


def test_who_looks_once_another_has_done_it_does_not_do_it_again(nights: Nights) -> None:
    first = nights.process("a")
    nights.house.run(first.set("scrub", JobSettings("0 * * * * *", DAY_US)))
    late = nights.process("b")
    first.start()
    nights.until(lambda: nights.row(first)["last"] is not None, seconds=65)
    late.start()
    nights.house.pass_time(5)
    assert nights.ran == ["a"], "what it remembers is from before that run"


class Leaderless:
    """The metadata group takes no writes while `down`."""

    def __init__(self, nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
        self.down = False
        go_on = nights.house.cluster.router.write

        def write(table: Any, command: Any, done: Any, **named: Any) -> None:
            if self.down:
                done(Unavailable("no leader for this partition in time"))
            else:
                go_on(table, command, done, **named)

        monkeypatch.setattr(nights.house.cluster.router, "write", write)


def test_a_run_that_ends_while_nothing_can_be_noted_is_noted_later(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    group, process = Leaderless(nights, monkeypatch), nights.process("a", alone=True)
    process.start()
    nights.house.run(process.set("scrub", JobSettings("0 * * * * *", DAY_US)))
    nights.until(lambda: nights.ran == ["a"], seconds=65)
    group.down = True
    nights.house.pass_time(20)
    assert nights.row(process)["running"] is not None
    group.down = False
    nights.until(lambda: nights.row(process)["last"] is not None, seconds=10)
    assert (nights.ran, nights.row(process)["last"]["verdict"], nights.row(process)["running"]) == (["a"], "match", None)


def test_a_run_whose_end_is_never_noted_is_taken_up_again_by_the_same_process(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note says that we run it, for ever: nothing would be scrubbed any more until the next start."""
    group, process = Leaderless(nights, monkeypatch), nights.process("a", alone=True)
    process.start()
    nights.house.run(process.set("scrub", JobSettings("0 0 * * * *", DAY_US)))
    hand = nights.house.env.tasks.spawn(process.run_now("scrub"), name="by hand")
    nights.until(lambda: nights.ran == ["a"])
    group.down = True
    nights.until(hand.done, seconds=END_TRIES * SOON_S + 10)
    with pytest.raises(Unavailable):
        hand.result()
    assert nights.row(process)["running"] is None
    group.down = False
    nights.until(lambda: nights.row(process)["last"] is not None, seconds=70)
    assert nights.ran == ["a", "a"]


def test_a_bug_in_a_job_is_told_and_is_not_the_end_of_the_schedule(nights: Nights) -> None:
    async def breaks_once(_shift: Shift) -> ShiftOutcome:
        nights.ran.append("broken" if not nights.ran else "sound")
        if nights.ran == ["broken"]:
            raise KeyError("found_by")
        return ShiftOutcome("match", 10, 0)

    process = nights.process("a", alone=True, work=breaks_once)
    process.start()
    nights.house.run(process.set("scrub", JobSettings("0 * * * * *", DAY_US)))
    nights.until(lambda: nights.row(process)["last"] is not None, seconds=140)
    assert nights.ran == ["broken", "sound"]
    assert [(name, type(error)) for name, error in nights.house.env.tasks.failures] == [("schedule", KeyError)]


def test_settings_that_were_set_by_a_clock_that_ran_ahead_do_not_wait_for_that_day(nights: Nights) -> None:
    note = JobNote(OFTEN, set_us=nights.house.env.clock.wall_us() + 365 * DAY_US)
    nights.house.run(nights.house.cluster.metadata.put_job("schedule/scrub", msgspec.to_builtins(note)))
    nights.process("a", alone=True).start()
    nights.until(lambda: nights.ran == ["a"], seconds=80)
    assert len(nights.said("the clock was set back")) == 1


def test_a_pause_ends_a_run_is_kept_and_is_no_bar_to_a_hand(nights: Nights) -> None:
    nights.busy_s = 5.0
    first = nights.process("a", alone=True)
    first.start()
    nights.house.run(first.set("scrub", OFTEN))
    nights.until(lambda: nights.ran == ["a"])
    nights.house.pass_time(1)
    nights.house.run(first.pause("scrub", paused=True))
    nights.until(lambda: nights.row(first)["last"] is not None)
    last = nights.row(first)["last"]
    assert (last["why"], last["done"] + last["left"]) == ("paused", 10)
    assert 0 < last["done"] < 10
    first.stop()
    second = nights.process("b", alone=True)
    second.start()
    nights.house.pass_time(25)
    assert (nights.ran, nights.row(second)["next"], nights.row(second)["paused"] is not None) == (["a"], None, True)
    report = nights.house.run(second.run_now("scrub"))
    assert (report["exit"], report["last"]["left"], nights.ran) == (0, 0, ["a", "b"])
    nights.house.run(second.pause(None, paused=False))
    nights.until(lambda: nights.ran == ["a", "b", "b"], seconds=20)


def test_a_run_that_fails_is_kept_as_that_and_said(nights: Nights) -> None:
    async def fails(_shift: Shift) -> ShiftOutcome:
        raise Unavailable("the store is down")

    process = nights.process("a", alone=True, work=fails)
    report = nights.house.run(process.run_now("scrub"))
    assert (report["exit"], report["last"]["verdict"]) == (1, "failed")
    assert "the store is down" in report["last"]["why"]
    assert nights.said("scrub ended: failed")
    with pytest.raises(Invalid):
        nights.house.run(process.run_now("drill:rot"))
    with pytest.raises(Invalid):
        nights.house.run(process.set("scrub", JobSettings("nightly", DAY_US)))


@pytest.mark.parametrize(
    "note", [{"handled_us": "yesterday"}, {"settings": {"cron": "0 2 * * *", "within_us": DAY_US, "timezone": "Mars/Olympus"}}]
)
def test_a_note_that_is_malformed_stops_nothing_else(nights: Nights, note: dict[str, Any]) -> None:
    """Or that was sound where it was set, and not on this machine."""
    nights.house.run(nights.house.cluster.metadata.put_job("schedule/scrub", note))
    process = nights.process("a", alone=True)
    process.start()
    nights.house.pass_time(200)
    assert len(nights.said("is left out of the schedule")) == 1
    assert nights.said("cannot go on") == []
    listed = process.views.listed()
    assert (listed["exit"], "malformed" in listed["jobs"][0]["left_out"], listed["jobs"][0]["next"]) == (3, True, None)
    nights.house.run(process.pause(None, paused=True))
    with pytest.raises(Corrupt):
        nights.house.run(process.pause("scrub", paused=True))
    nights.house.run(process.set("scrub", OFTEN))
    assert nights.row(process)["left_out"] is None
    nights.until(lambda: nights.ran == ["a"])


@pytest.mark.slow
def test_what_the_store_kept_from_its_work_is_tried_again_the_same_night(nights: Nights) -> None:
    begun: list[tuple[int, bool]] = []

    async def away(shift: Shift) -> ShiftOutcome:
        begun.append((nights.house.env.clock.wall_us(), shift.again))
        if len(begun) < 3:
            raise Unavailable("the store is down")
        return ShiftOutcome("match", 10, 0)

    process = nights.process("a", alone=True, work=away)
    process.start()
    nights.house.run(process.set("scrub", JobSettings("2 * * * *", DAY_US)))
    nights.until(lambda: len(begun) == 2, seconds=300)
    nights.house.pass_time(1)
    assert (nights.row(process)["retries"], nights.row(process)["last"]["verdict"]) == (2, "failed")
    assert len(nights.said("is tried again at")) == 2
    nights.until(lambda: len(begun) == 3, seconds=200)
    nights.house.pass_time(1)
    pauses = [(later[0] - sooner[0]) // 1_000_000 for sooner, later in itertools.pairwise(begun)]
    assert all(wanted <= pause <= wanted + 61 for pause, wanted in zip(pauses, (60, 120), strict=True)), pauses
    assert [again for _, again in begun] == [False, True, True]
    assert (nights.row(process)["retries"], nights.row(process)["last"]["verdict"]) == (0, "match")


def test_tries_of_one_night_have_one_budget(nights: Nights) -> None:
    """An hour's budget was eight hours, where the store was away for two."""
    asked: list[str | None] = []

    async def away(shift: Shift) -> ShiftOutcome:
        why = shift.stop(60)
        asked.append(why)
        return ShiftOutcome("unverified", 1, 1, why or "archive_away", again=True)

    process = nights.process("a", alone=True, work=away)
    process.start()
    nights.house.run(process.set("scrub", JobSettings("2 * * * *", DAY_US, budget_bytes=100)))
    nights.until(lambda: len(asked) == 2, seconds=300)
    assert asked == [None, "budget_spent"]
    assert nights.house.run(process.run_now("scrub"))["last"]["why"] == "archive_away", "a hand has a budget of its own"


def test_a_try_that_is_late_for_the_next_night_has_the_budget_of_that_night(nights: Nights) -> None:
    """The process was down, or the window shut: a night was lost that ended before it began."""
    asked: list[tuple[bool, str | None]] = []

    async def away(shift: Shift) -> ShiftOutcome:
        why = shift.stop(60)
        asked.append((shift.again, why))
        return ShiftOutcome("unverified", 1, 1, why or "archive_away", again=True)

    process = nights.process("a", alone=True, work=away)
    nights.house.run(process.set("scrub", JobSettings("*/10 * * * * *", DAY_US, budget_bytes=100)))
    nights.house.run(process.run_now("scrub"))
    assert nights.row(process)["retries"] == 1
    process.start()
    nights.until(lambda: len(asked) > 1, seconds=30)
    process.stop()
    assert asked == [(False, None), (True, None)]


def test_a_bug_in_one_job_keeps_no_other_from_its_night(nights: Nights) -> None:
    async def breaks(_shift: Shift) -> ShiftOutcome:
        nights.ran.append("broken")
        raise KeyError("found_by")

    async def sound(_shift: Shift) -> ShiftOutcome:
        nights.ran.append("sound")
        return ShiftOutcome("match", 1, 0)

    process = nights.process("a", alone=True, work=breaks)
    process.add(NightJob("verify", DEFAULTS["verify"], sound))
    process.start()
    for job in ("scrub", "verify"):
        nights.house.run(process.set(job, JobSettings("0 * * * * *", DAY_US)))
    nights.until(lambda: nights.ran[-1:] == ["sound"], seconds=75)
    assert nights.ran == ["broken", "broken", "sound"], "taken up once more, then the others have their turn"


def test_what_a_run_proved_is_kept_when_it_ends_and_not_by_one_that_is_cut_off(nights: Nights) -> None:
    """At a stop the log is about to be sealed: nothing more is written then."""
    written: list[str] = []

    async def keep() -> None:
        written.append("kept")

    async def failing(shift: Shift) -> ShiftOutcome:
        raise Unavailable("the store is down")

    async def slow(shift: Shift) -> ShiftOutcome:
        await nights.house.env.tasks.sleep(10)
        return ShiftOutcome("match", 1, 0)

    shift = Shift(OFTEN, 0, lambda _: None)
    with pytest.raises(Unavailable):
        nights.house.run(kept(failing, keep)(shift))
    assert written == ["kept"]
    assert nights.house.run(kept(slow, keep)(shift)).verdict == "match"
    assert written == ["kept"] * 2
    running = nights.house.env.tasks.spawn(kept(slow, keep)(shift), name="shift")  # type: ignore[arg-type]
    nights.house.pass_time(1)
    running.cancel()
    nights.house.pass_time(1)
    assert (running.done(), written) == (True, ["kept"] * 2)


def test_what_is_no_matter_of_time_is_not_tried_again(nights: Nights) -> None:
    async def broken(_shift: Shift) -> ShiftOutcome:
        raise Unsafe("this clock has leapt")

    process = nights.process("a", alone=True, work=broken)
    nights.house.run(process.run_now("scrub"))
    assert (nights.row(process)["retries"], nights.row(process)["last"]["verdict"]) == (0, "failed")


def test_partitions_that_the_store_kept_from_being_compared_are_done_when_it_is_back_and_nothing_due_is_said_as_that() -> None:
    nights = Nights(partitions=2)
    house = nights.house
    table = house.create("birds")
    for key in range(20):
        house.put(table, key, key)
    house.checkpointed(table, 20)
    ledger = house.run(SqliteLedger.open(house.env.tasks, MEMORY))
    scrub = ScrubService(
        house.env, house.service, house.references(), ledger, ScrubOptions(lanes=1, archive_wait_s=2.0), log=nights.lines.append
    )
    process = nights.process("a", alone=True, work=scrub_work(scrub))
    house.run(process.set("scrub", JobSettings("0 2 * * *", DAY_US)))
    house.stop_agents()
    report = house.run(process.run_now("scrub"))
    assert (report["exit"], report["last"] | {"at": "", "seconds": 0}) == (
        3,
        {"at": "", "verdict": "unverified", "seconds": 0, "done": 0, "left": 3, "why": "archive_away"},
    )
    assert nights.row(process)["retries"] == 1
    house.start_agents()
    report = house.run(process.run_now("scrub"))
    assert (report["exit"], report["last"]["done"], report["last"]["left"]) == (0, 3, 0)
    runs = house.run(ledger.runs(10))
    turns = Turns(house.env.clock.wall_us() - 3600 * 1_000_000, lambda _: None)
    before = house.run(scrub.status())
    empty = scrub_outcome(house.run(scrub.run(turns=turns)))
    assert (empty.verdict, empty.left) == ("nothing_due", 0)
    assert (house.run(ledger.runs(10)), house.run(scrub.status())) == (runs, before), "it leaves no trace"


class Scrubs(NamedTuple):
    """What a ScrubService is asked, and answers."""

    asked: list[Turns]
    answers: list[dict[str, Any]]

    async def run(self, *, turns: Turns, rate_bytes: int | None) -> dict[str, Any]:
        self.asked.append(turns)
        return self.answers.pop(0)


def test_a_try_takes_what_the_store_kept_it_from_and_no_more(nights: Nights) -> None:
    def answer(**reasons: str) -> dict[str, Any]:
        parts = [{"partition": at, "verdict": "unverified", "reason": why} for at, why in reasons.items()]
        return {"plan": {}, "verdict": "unverified", "tables": [{"partitions": parts}], "left": 0, "cut": None}

    scrubs = Scrubs(
        [], [answer(p1="archive_lags", p2="copies_disagree"), answer(p1="archive_lags"), answer(p1="copies_disagree"), answer()]
    )
    work = scrub_work(scrubs)  # type: ignore[arg-type]
    for again in (False, True, True, False):
        nights.house.run(work(Shift(OFTEN, 0, lambda _: None, again)))
    assert [turns.only for turns in scrubs.asked] == [None, {"p1"}, {"p1"}, None]


def test_the_job_base_makes_a_base_where_the_log_is_worth_one_and_nowhere_else() -> None:
    nights = Nights(partitions=2)
    house = nights.house
    table = house.create("birds")
    for key in range(40):
        house.put(table, key, key)
    house.checkpointed(table, 40)
    house.until(lambda: all(house.service.archived(info.partition_id) >= 2 for info in table.partitions))
    references = house.references()
    scrub = ScrubService(house.env, house.service, references, None, ScrubOptions(lanes=1), log=nights.lines.append)

    def due() -> frozenset[str]:
        parts = [info for info in table.partitions if references.base_due(table, info, until=house.service.archived(info.partition_id))]
        return frozenset(info.partition_id for info in parts)

    def bases() -> list[str]:
        return sorted({key.split("/p=")[1][:36] for key in house.cluster.archive.objects if "/base/" in key})

    def look() -> None:
        for info in table.partitions:
            house.run(references._shelves.shelf(table.table_id, info.partition_id, upto=house.service.archived(info.partition_id)))

    assert due() == frozenset(), "nothing is known of the archive yet"
    look()
    wanted = sorted(info.partition_id for info in table.partitions)
    assert (sorted(due()), bases()) == (wanted, [])
    process = nights.process("a", alone=True, work=base_work(scrub, due))
    last = house.run(process.run_now("scrub"))["last"]
    assert (last["verdict"], last["done"], last["left"]) == ("match", 2, 0)
    look()
    assert (sorted(bases()), due()) == (wanted, frozenset()), "and not of the metadata group"
    before = dict(house.cluster.archive.objects)
    assert house.run(process.run_now("scrub"))["last"]["verdict"] == "nothing_due"
    assert [key for key in house.cluster.archive.objects if key not in before and "/base/" in key] == []


def test_a_scrub_cut_by_its_budget_goes_on_where_it_stopped() -> None:
    nights = Nights(partitions=4)
    house = nights.house
    table = house.create("birds")
    for key in range(40):
        house.put(table, key, key)
    house.checkpointed(table, 40)
    ledger = house.run(SqliteLedger.open(house.env.tasks, MEMORY))
    scrub = ScrubService(house.env, house.service, house.references(), ledger, ScrubOptions(lanes=1), log=nights.lines.append)
    process = nights.process("a", alone=True, work=scrub_work(scrub))
    house.run(process.set("scrub", JobSettings("0 2 * * *", DAY_US, budget_bytes=1)))
    seen: list[str] = []
    for left in (4, 3, 2, 1, 0):
        report = house.run(process.run_now("scrub"))
        assert (report["last"]["done"], report["last"]["left"]) == (1, left)
        assert (report["exit"], report["last"]["why"]) == ((3, "budget_spent") if left else (0, None))
        (newest,) = house.run(ledger.runs(1))
        assert newest.report is not None
        seen += [part["partition"] for one in newest.report["tables"] for part in one["partitions"]]
    assert len(set(seen)) == 5, "each of them once: four of the table and the metadata group's"
    assert house.run(process.run_now("scrub"))["last"]["left"] == 4, "the next round begins"
    (newest,) = house.run(ledger.runs(1))
    assert newest.report is not None
    assert newest.report["tables"][0]["partitions"][0]["partition"] == seen[0], "with the one looked at longest ago"
