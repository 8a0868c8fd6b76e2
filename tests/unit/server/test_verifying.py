"""`verify` in the server: what it proves and finds is a run in the ledger, and a ledger that fails costs the memory, never the run."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.base.errors import Unavailable
from scrubjay.scrubber.ledger import READ, VERIFY, WHOLE, Ledger, PartitionProof, Proof
from scrubjay.scrubber.schedule.settings import DAY_US
from scrubjay.scrubber.sqlite_ledger import MEMORY, SqliteLedger
from scrubjay.scrubber.telling import Telling
from scrubjay.server.verifying import SKIP_MAX_US, Pace, VerifyRuns
from scrubjay.sim.whole.cluster import CLUSTER
from scrubjay.storage.catalogue import TableMeta
from tests.unit.control.house import House


class Verifying:
    """A house with an archive, and its verify. lines: of the log."""

    def __init__(self) -> None:
        self.house = House(partitions=2)
        self.table: TableMeta = self.house.create("birds")
        for key in range(20):
            self.house.put(self.table, key, key)
        self.house.until(lambda: self.house.scrub().exit_code == 0, seconds=120)
        self.lines: list[str] = []
        self.telling = Telling(self.lines.append)
        self.ledger = self.house.run(SqliteLedger.open(self.house.env.tasks, MEMORY))

    def verify(self, ledger: Ledger | None = None, **asked: Any) -> dict[str, Any]:
        house = self.house
        runs = VerifyRuns(
            house.env,
            house.client(),
            house.cluster.folder.disk,
            house.jobs(),
            ledger or self.ledger,
            house.cluster.parts,
            ArchiveIndex(house.client(), CLUSTER, tasks=house.env.tasks),
            ahead_us=2_000_000,
            telling=self.telling,
            log=self.lines.append,
        )
        asked = {"tables": None, "level": "records", "budget_us": None, "max_age_us": 0, "progress": lambda _facts: None} | asked
        return dict(house.run(runs.verify(**asked)))

    def proven(self) -> dict[str, tuple[str, int | None]]:
        """Of each partition of users, the verdict and the run of its last verify."""
        here = {info.partition_id for info in self.table.partitions}
        return {one.partition: (one.verdict, one.run) for one in self.house.run(self.ledger.partitions()) if one.partition in here}


@pytest.fixture
def one() -> Verifying:
    return Verifying()


def test_a_verify_is_a_run_with_its_findings_a_line_each_and_a_count(one: Verifying) -> None:
    assert (one.verify()["verdict"], one.lines) == ("match", [])
    archive = one.house.cluster.archive
    rotten = min(key for key in archive.objects if f"t={one.table.table_id}" in key and key.endswith(".seg"))
    data = archive.objects[rotten].data
    archive.objects[rotten].data = data[:-1] + bytes([data[-1] ^ 1])
    report = one.verify()
    assert [(found["object"], found["kind"]) for found in report["findings"]] == [(rotten, "unreadable")]
    newest, first = one.house.run(one.ledger.runs(9, kind=VERIFY))
    assert (newest.verdict, first.verdict) == ("mismatch", "match")
    assert newest.report is not None
    assert newest.report["findings"] == report["findings"], "what a verify found stays readable"
    assert [line for line in one.lines if rotten in line and "unreadable" in line] == one.lines != []
    assert one.telling.found == {("verify", "unreadable"): 1}
    assert one.telling.ended == {("verify", "match"): 1, ("verify", "mismatch"): 1}
    took = one.telling.took["verify"]
    assert (sum(took.counts), took.total_us > 0) == (2, True)
    assert sorted(one.proven().values()) == [("match", newest.id), ("mismatch", newest.id)], "by which run"


class BrokenLedger(SqliteLedger):
    """On a disk that takes nothing and gives nothing."""

    async def _run(self, work: Any, *, writes: bool = False) -> Any:
        raise Unavailable("the ledger cannot be used", why="disk I/O error")


def test_a_ledger_that_fails_does_not_stop_a_verify_and_is_said_once(one: Verifying) -> None:
    broken = one.house.run(BrokenLedger.open(one.house.env.tasks, MEMORY))
    assert one.verify(broken)["verdict"] == "match"
    assert [line for line in one.lines if "the ledger could not be used" in line] == one.lines
    assert len(one.lines) == 1


def test_a_run_that_is_told_to_stop_has_proven_what_it_was_through_with(one: Verifying) -> None:
    whole = one.verify()
    assert (whole["left"], one.house.run(one.ledger.partitions())[0].run) == (0, 1)
    read: list[int] = []

    def stop(bytes_: int) -> str | None:
        read.append(bytes_)
        return "window_over" if bytes_ >= whole["bytes"] // 2 else None

    cut = one.verify(pace=Pace(stop))
    assert (cut["verdict"], cut["reason"], cut["exit"]) == ("unverified", "window_over", 3)
    assert 0 < cut["left"] < 3
    assert 0 < cut["bytes"] < whole["bytes"]
    for asked in range(1, len(read) + 1):
        left, begun = cut_at(one, asked)
        assert 3 - left <= len(begun), "nothing is called looked at that it had not begun to look at"


def cut_at(one: Verifying, asked: int) -> tuple[int, set[str]]:
    """A run that is stopped when it asks for that many-th time whether it must: the partitions left, and those begun."""
    calls, begun = 0, set()

    def stop(_bytes: int) -> str | None:
        nonlocal calls
        calls += 1
        return "paused" if calls >= asked else None

    def progress(facts: dict[str, Any]) -> None:
        if "partition" in facts:
            begun.add(str(facts["partition"]))

    return int(one.verify(pace=Pace(stop), progress=progress)["left"]), begun


def test_a_run_at_a_pace_takes_its_time(one: Verifying) -> None:
    whole = one.verify()
    began = one.house.world.now
    one.verify(pace=Pace(lambda _bytes: None, rate_bytes=whole["bytes"] // 10))
    assert one.house.world.now - began > 5_000_000


def test_a_run_that_is_far_ahead_of_its_pace_ends_when_it_must(one: Verifying) -> None:
    """At a byte a second a wait of hours stands behind the first object, and neither a pause nor the end of the window would be heard."""
    clock, began = one.house.env.clock, one.house.env.clock.boot_us()
    cut = one.verify(pace=Pace(lambda _bytes: "window_over" if clock.boot_us() - began > 30_000_000 else None, rate_bytes=1))
    assert cut["reason"] == "window_over"
    assert 30_000_000 < clock.boot_us() - began < 33_000_000


def test_a_night_begins_with_the_partition_that_was_verified_longest_ago(one: Verifying) -> None:
    """Else the nights that are too short leave out the same ones each time."""
    one.verify()
    here = sorted(info.partition_id for info in one.table.partitions)
    for oldest in here:
        rows = [
            PartitionProof(part, one.table.table_id, "records", 1 if part == oldest else 2, None, "match", False, None, None)
            for part in here
        ]
        one.house.run(one.ledger.verified(rows))
        told: list[dict[str, Any]] = []
        report = one.verify(pace=Pace(lambda _bytes: None), progress=told.append)
        seen = [facts["partition"] for facts in told if facts["phase"] == "log" and facts.get("partition") in here]
        assert (seen[0], report["verdict"], report["left"]) == (oldest, "match", 0)
        assert sorted(seen) == here, "each once"


def test_what_a_clock_that_ran_ahead_proved_is_read_again(one: Verifying) -> None:
    """Else nobody looks at it until that day, and every verify in between is called a match."""
    one.verify()
    objects = one.house.run(one.ledger.known(""))
    ahead_us = one.house.env.clock.wall_us() + 365 * DAY_US
    one.house.run(one.ledger.proved([Proof(key, "records", ahead_us) for key in objects]))
    assert one.verify(max_age_us=SKIP_MAX_US)["objects"]["skipped_fresh"] == 0
    assert one.verify(max_age_us=SKIP_MAX_US)["objects"]["skipped_fresh"] > 0


def test_a_verify_that_skips_what_is_old_does_not_count_as_one_of_its_partitions(one: Verifying) -> None:
    one.verify()
    assert one.verify(max_age_us=SKIP_MAX_US)["objects"]["skipped_fresh"] > 0
    assert {run for _, run in one.proven().values()} == {2}
    one.verify(max_age_us=SKIP_MAX_US + 1)
    assert {run for _, run in one.proven().values()} == {2}


def test_what_skips_more_is_dated_by_the_oldest_that_it_may_have_skipped(one: Verifying) -> None:
    one.verify(max_age_us=SKIP_MAX_US + 1)
    now_us = one.house.env.clock.wall_us()
    found = {(proof.partition, proof.depth): proof.at_us for proof in one.house.run(one.ledger.partitions())}
    assert {(now_us - at_us) // DAY_US for at_us in found.values()} == {5}
    assert (WHOLE, READ) in found
    one.verify()
    whole = {(proof.partition, proof.depth): proof.at_us for proof in one.house.run(one.ledger.partitions())}
    assert all(whole[place] > at_us for place, at_us in found.items())
    one.verify(max_age_us=SKIP_MAX_US + 1)
    assert whole == {(proof.partition, proof.depth): proof.at_us for proof in one.house.run(one.ledger.partitions())}, "the newer stand"


def test_what_is_cut_off_at_its_very_end_or_looks_at_names_alone_does_not_say_that_all_was_read(one: Verifying) -> None:
    asked: list[int] = []
    one.verify(ledger=one.house.run(SqliteLedger.open(one.house.env.tasks, MEMORY)), pace=Pace(asked.append))  # type: ignore[arg-type]
    one.verify(level="listed")
    one.verify(tables=[one.table.table_id])
    left = len(asked)

    def late(_bytes: int) -> str | None:
        nonlocal left
        left -= 1
        return None if left else "budget_spent"

    cut = one.verify(pace=Pace(late))
    assert (cut["reason"], cut["left"]) == ("budget_spent", 1)
    assert not [proof for proof in one.house.run(one.ledger.partitions()) if proof.depth == READ]
    one.verify()
    assert [proof for proof in one.house.run(one.ledger.partitions()) if proof.depth == READ]


def test_a_run_that_reads_for_long_says_that_all_was_read_since_it_began(one: Verifying) -> None:
    bytes_ = one.verify()["bytes"]
    began_us = one.house.env.clock.wall_us()
    one.verify(pace=Pace(lambda _read: None, bytes_ // 10))
    assert one.house.env.clock.wall_us() - began_us > 5_000_000, "it was slow"
    (read,) = [proof for proof in one.house.run(one.ledger.partitions()) if proof.depth == READ]
    assert abs(read.at_us - began_us) < 1_000_000


def test_what_a_verify_found_is_told_by_the_next_scrub_and_counts_once(one: Verifying) -> None:
    """Also what a scrub does not meet by itself: a marker over an object of which the right version is read. It is outstanding until it is gone and a verify says so."""
    house, archive = one.house, one.house.cluster.archive
    hidden = min(key for key in archive.objects if f"t={one.table.table_id}" in key and key.endswith(".seg"))
    gone = archive.objects.pop(hidden)
    report = one.verify()
    assert [(found["object"], found["kind"]) for found in report["findings"]] == [(hidden, "hole")]
    partition = report["findings"][0]["partition"]
    kept = house.cluster.service.findings(partition)
    assert [(found.object, found.kind, found.copy, found.found_by, found.action) for found in kept] == [
        (hidden, "hole", "archive", "verify", "none")
    ]
    archive.objects[hidden] = gone  # and by now nobody can see it
    assert one.verify()["verdict"] == "match"
    told = house.scrub()
    assert told.exit_code == 2, "it happened, and a person should know"
    (found,) = [found.finding for table in told.tables for part in table.partitions for found in part.findings]
    assert (found.object, found.found_by) == (hidden, "verify")
    assert house.cluster.service.findings(partition) == []
    assert house.scrub().exit_code == 0
    assert one.verify()["verdict"] == "match"
    assert "mismatch" not in {verdict for verdict, _ in one.proven().values()}
