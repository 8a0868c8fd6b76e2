"""Forty nights that are each too short for all of the archive: everything that lies there is read again within the window all the same. And bases, night by night."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.format.layout import BaseKey, ClosedKey, SegmentKey, parse
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.env import Clock, ObjectStore
from scrubjay.scrubber.ledger import READ
from scrubjay.scrubber.schedule.settings import DAY_US, JobSettings
from scrubjay.scrubber.schedule.views import Shift, ShiftOutcome
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.nightly import DEFAULTS, READ_AGAIN_US, turn_us, verify_work
from scrubjay.server.problems import UNREAD_S
from scrubjay.server.verifying import Pace, VerifyRuns
from scrubjay.sim.jobs import SimJobs
from scrubjay.sim.whole.cluster import CLUSTER
from tests.unit.control.house import House
from tests.unit.control.test_drop import dropped

NIGHTS = 40
WINDOW = int(UNREAD_S / 86_400)


class Days:
    """A clock on which days pass while the cluster stands still: a month of an idle cluster need not be simulated."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.days = clock, 0

    def wall_us(self) -> int:
        return self._clock.wall_us() + self.days * DAY_US

    def boot_us(self) -> int:
        return self._clock.boot_us() + self.days * DAY_US


class Noting:
    """A store that notes on which days each object was read."""

    def __init__(self, store: ObjectStore, days: Days, read: dict[str, list[int]]) -> None:
        self._store, self._days, self._read = store, days, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, key: str) -> bytes:
        data = await self._store.get(key)
        self._read.setdefault(key, []).append(self._days.days)
        return data

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        data = await self._store.get_range(key, start, end)
        self._read.setdefault(key, []).append(self._days.days)
        return data


class ShortNights:
    """A house with a live and a dropped table, a base in the middle of each log, and the verify of its schedule. read: the days on which each object was read."""

    def __init__(self) -> None:
        self.house = house = House(partitions=2)
        for name in ("birds", "gone"):
            table = house.create(name)
            for turn in range(3):
                for key in range(12):
                    house.put(table, key, turn)
                house.until(lambda: house.scrub().exit_code == 0, seconds=120)
        self.gone = dropped(house, table).table_id
        house.pass_time(30)
        house.stop_agents()
        self.days = Days(house.env.clock)
        env = replace(house.env, clock=self.days)
        self.read: dict[str, list[int]] = {}
        self.ledger = house.run(SqliteLedger.open(house.env.tasks, MEMORY))
        store: Any = Noting(house.client(), self.days, self.read)
        jobs = SimJobs(house.env.tasks, house.cluster.folder.disk, lambda _url: store)
        control, index = house.cluster.parts, ArchiveIndex(store, CLUSTER, tasks=house.env.tasks)
        runs = VerifyRuns(
            env, store, house.cluster.folder.disk, jobs, self.ledger, control, index,
            ahead_us=2_000_000, telling=Telling(lambda _: None), log=lambda _: None,
        )  # fmt: skip
        self.runs, self.work = runs, verify_work(env, runs, control)
        self.round_us: int | None = None

    def night(self, bytes_: int) -> ShiftOutcome:
        """One run, in a round that goes on until nothing is left."""
        self.days.days += 1
        self.round_us = self.round_us or self.days.wall_us()
        settings = JobSettings("0 4 * * *", DEFAULTS["verify"].within_us)
        shift = Shift(settings, self.round_us, lambda read: "budget_spent" if read >= bytes_ else None)
        outcome = self.house.run(self.work(shift))  # type: ignore[arg-type]
        if outcome.left == 0:
            self.round_us = None
        return outcome

    def read_us(self) -> int | None:
        proofs = self.house.run(self.ledger.partitions())
        return max((proof.at_us for proof in proofs if proof.depth == READ), default=None)


@pytest.mark.slow
def test_everything_in_the_archive_is_read_again_within_the_window_by_nights_that_are_too_short() -> None:
    nights = ShortNights()

    def told(_facts: dict[str, Any]) -> None:
        """Nobody waits."""

    asked: dict[str, Any] = {"tables": None, "level": "records", "budget_us": None, "progress": told}
    whole = nights.house.run(nights.runs.verify(**asked, max_age_us=0))
    again = nights.house.run(nights.runs.verify(**asked, max_age_us=DAY_US))
    nights.read.clear()
    nights.house.run(nights.ledger.forget(nights.house.run(nights.ledger.known(""))))
    budget = again["bytes"] + (whole["bytes"] - again["bytes"]) // 9
    outcomes = [nights.night(budget) for _ in range(NIGHTS)]
    assert sum(outcome.left > 0 for outcome in outcomes) > NIGHTS // 2, "they were too short"
    assert outcomes[0].why == "budget_spent"
    objects = [key for key in nights.house.cluster.archive.objects if isinstance(parse(key), SegmentKey | BaseKey | ClosedKey)]
    assert {type(parse(key)) for key in objects} == {SegmentKey, BaseKey, ClosedKey}
    gaps = {}
    for key in objects:
        days = [0, *nights.read.get(key, [])]
        gaps[key] = max(later - sooner for sooner, later in zip(days, [*days[1:], NIGHTS], strict=True))
    assert max(gaps.values()) <= WINDOW, max(gaps.items(), key=lambda one: one[1])
    read_us = nights.read_us()
    assert read_us is not None
    assert nights.days.wall_us() - read_us < WINDOW * DAY_US, "and that is known"


@pytest.mark.slow
def test_a_run_that_is_cut_in_what_no_table_needs_any_more_has_something_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its round would be through, and the next one would begin anew, and never come to what the catalogue does not know any more."""
    nights, seen = ShortNights(), False
    known = [table for table in nights.house.service.tables() if table.table_id != nights.gone]
    monkeypatch.setattr(nights.house.service, "tables", lambda: known)

    def told(facts: dict[str, Any]) -> None:
        nonlocal seen
        seen = seen or facts.get("table_id") == nights.gone

    pace = Pace(lambda _read: "budget_spent" if seen else None)
    report = nights.house.run(nights.runs.verify(tables=None, level="records", budget_us=None, max_age_us=0, progress=told, pace=pace))
    assert (report["reason"], report["left"]) == ("budget_spent", 1)


@pytest.mark.slow
def test_nights_that_never_come_to_the_end_are_known_for_that() -> None:
    nights = ShortNights()
    for _ in range(3):
        assert nights.night(1).left > 0
    assert nights.read_us() is None


@pytest.mark.parametrize(("days", "wanted"), [(0, 5 * DAY_US), (4, 5 * DAY_US), (9, 9 * DAY_US), (90, READ_AGAIN_US)])
def test_what_had_its_turn_in_this_round_is_not_read_again_before_it_must(days: int, wanted: int) -> None:
    now_us = 1_000 * DAY_US
    assert turn_us(DEFAULTS["verify"], round_us=now_us - days * DAY_US, now_us=now_us) == wanted
    assert READ_AGAIN_US < WINDOW * DAY_US
