"""What a recovery is predicted by: a piece of the archive, read and loaded as it will be; and what counts where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay import recovery_sample
from scrubjay.archiver.facts import Span, Start
from scrubjay.archiver.format.layout import build
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.base.real.disk import RealDisk
from scrubjay.config import Config
from scrubjay.pitr.pace import Costs, StepCost
from scrubjay.pitr.plan import BaseFacts, PartitionPlan, Plan, PlannedSegment
from scrubjay.pitr.rates import RATES_KEY, Rates
from scrubjay.pitr.source import REBUILD
from scrubjay.recovery_sample import (
    COPIES,
    COPIES_MAX,
    EACH_S,
    FIXED_S,
    JOB,
    OF_BASES,
    OF_LOG,
    START_JOB,
    START_MAX_S,
    STARTS,
    measured,
    pieces_of,
    sample_job,
)
from scrubjay.serving.jobs import FORESEE_S, GIVE_WAY, foreseeing
from scrubjay.sim.jobs import SimJobContext
from scrubjay.sim.lone import LoneHost
from tests.unit.archiver.small_archive import SmallArchive

Progress = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def archive() -> SmallArchive:
    return SmallArchive()


@pytest.mark.parametrize("whole", [None, True, False])
def test_a_piece_is_read_and_loaded(archive: SmallArchive, tmp_path: Path, whole: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """whole: of the base. None: the log from its beginning."""
    synced: list[bool] = []
    monkeypatch.setattr(recovery_sample.os, "sync", lambda: synced.append((tmp_path / "one").exists()))
    sample = archive.samples[0]
    manifests = sample.manifests()
    arguments = {
        "url": "",
        "root": str(tmp_path),
        "name": "one",
        "base": None if whole is None else build(archive.base.key()),
        "whole": bool(whole),
        "segments": [build(one.key()) for one in (manifests if whole is None else manifests[2:] if whole else [])],
        "copies": 2,
    }
    answer = archive.loop.run(sample_job(SimJobContext(RealDisk(tmp_path), lambda _: archive.store, None), arguments))
    log = sum(one.raw.size for one in manifests[2:]) if whole else sum(one.raw.size for one in manifests)
    size = archive.base.file.size
    assert answer["raw"] == {None: log, True: log + size, False: size}[whole]
    assert answer["read_s"] > 0
    assert answer["copy_s"] > 0
    assert answer["sync_s"] > 0
    assert answer["hash_s"] > 0
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"
    assert synced == [True], "what others have not written yet is no cost of a sample"


class Answers:
    """Jobs whose outcome is known."""

    def __init__(self, outcome: dict[str, Any] | ScrubjayError) -> None:
        self.outcome = outcome
        self.asked: list[dict[str, Any]] = []
        self.started = 0

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
        if job == START_JOB:
            self.started += 1
            return {}
        self.asked.append(arguments)
        if isinstance(self.outcome, ScrubjayError):
            raise self.outcome
        return self.outcome


def segment(number: int, raw: int) -> PlannedSegment:
    span = Span(number, number, 1, 1, 1, 1, 0, 1, bytes(32), bytes(32), bytes(24))
    return PlannedSegment(span, raw // 2, raw, f"segment-{number}")


def part(log: int, base: int = 0) -> PartitionPlan:
    """Of a log of many segments, upon a base."""
    facts = None if not base else BaseFacts(Start(0, 0, bytes(32), bytes(24)), base, base, 1, 2, f"base-{base}")
    segments = tuple(segment(number, log // 10) for number in range(10)) if log else ()
    return PartitionPlan(PartitionId("p"), facts, segments, log, log + base, 1, Lsn(1), Lsn(2))


def plan(*parts: PartitionPlan) -> Plan:
    return Plan(1, Stamp(1), parts, sum(one.raw for one in parts), 1, 1.0, Rates(), 1)


def costs(jobs: Answers, plans: dict[str, Plan], notes: dict[str, Any] | None = None) -> Costs:
    host = LoneHost()
    return host.run(measured(host, jobs, plans, url="", root=Path("/"), workers=2, notes=notes or {}))


GOOD = {"raw": 900, "read_s": 3.0, "copy_s": 9.0, "sync_s": 1.8, "hash_s": 0.9}
MEASURED = StepCost(3 / 900, 9 / 900, 1.8 / 900, 0.9 / 900)


def test_what_is_measured_counts_and_else_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_sample, "SAMPLE_BYTES", 1000)
    learnt = {RATES_KEY: {"read": 5, "load": 7, "fixed": 9, "samples": 3}}
    jobs = Answers(GOOD)
    found = costs(jobs, {"t": plan(part(10_000))}, learnt)
    assert found.of["t", False] == pytest.approx(MEASURED)
    assert found.other[0] == pytest.approx(MEASURED)
    assert FIXED_S <= found.fixed < FIXED_S + STARTS * START_MAX_S
    assert (found.each, found.samples) == (EACH_S, 1)
    assert [one["name"] for one in jobs.asked] == ["sample-0-0", "sample-0-1"], "in as many processes as there will be"
    assert jobs.started == 2
    monkeypatch.setattr(recovery_sample, "_now_s", lambda: 7.0)
    known = costs(Answers(GOOD), {"t": plan(part(10))}, learnt)
    assert (known.of, known.samples, known.other[0].read) == ({}, 3, 1 / 5), "too little is there to measure anything"
    assert sum(known.other[0][1:]) == pytest.approx(1 / 21)
    for outcome in (GOOD | {"raw": 10}, Corrupt("rotten")):  # what is rotten, recovering itself will say
        assert costs(Answers(outcome), {"t": plan(part(10_000))}, learnt) == known
        for notes in ({}, {RATES_KEY: {"speed": 1}}, {RATES_KEY: {"read": 0, "load": 0}}):
            built_in = costs(Answers(outcome), {"t": plan(part(10_000))}, notes)
            assert (built_in.of, built_in.other, built_in.samples) == ({}, (OF_LOG, OF_BASES), 0)


def test_bases_and_logs_of_the_largest_tables_are_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_sample, "SAMPLE_BYTES", 1000)
    monkeypatch.setattr(recovery_sample, "PIECE_FOR_BYTES", 1000)
    plans = {
        "logs": plan(part(4000), part(5000)),
        "bases": plan(part(0, 70_000), part(300, 80_000)),
        "both": plan(part(3000, 500)),
        "small": plan(part(100, 10)),
    }
    assert [(one.table, one.of_base, one.size, one.part.raw) for one in pieces_of(plans)] == [
        ("bases", True, 150_000, 80_300),
        ("logs", False, 9000, 5000),
        ("both", False, 3000, 3500),
        ("both", True, 500, 3500),
    ], "of the one with most of it"
    jobs = Answers(GOOD)
    found = costs(jobs, plans)
    asked = [(one["base"], one["whole"], one["segments"]) for one in jobs.asked[::2]]
    assert asked[0] == ("base-80000", False, [])
    assert asked[1] == (None, True, ["segment-0", "segment-1"]), "as much of it as a sample is"
    assert asked[2][:2] == ("base-500", True)
    assert set(found.of) == {("bases", True), ("logs", False), ("both", False), ("both", True)}
    few = Answers(GOOD)
    monkeypatch.setattr(recovery_sample, "PIECE_FOR_BYTES", 100_000)
    found = costs(few, plans)
    assert set(found.of) == {("bases", True)}, "of so little one is enough"
    assert found.other[1] == pytest.approx(MEASURED)
    assert found.other[0].read == pytest.approx(MEASURED.read * OF_LOG.read / OF_BASES.read), "a log costs what it does beside a base"


def test_of_more_that_is_to_be_written_more_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk takes much for a while, and then less."""
    monkeypatch.setattr(recovery_sample, "SAMPLE_BYTES", 1000)
    for raw, copies in ((10_000, COPIES), (512_000, 8), (10_000_000, COPIES_MAX)):
        jobs = Answers(GOOD)
        costs(jobs, {"t": plan(part(raw))})
        assert {one["copies"] for one in jobs.asked} == {copies}


def test_where_everything_starts_slowly_all_of_it_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    for took, counted in ((0.5, 0.5), (2.0, 2.0), (100.0, START_MAX_S)):
        times = iter((0.0, took))
        monkeypatch.setattr(recovery_sample, "_now_s", lambda times=times: next(times))
        found = costs(Answers(GOOD), {})
        assert (found.fixed, found.each) == pytest.approx((FIXED_S + STARTS * counted, EACH_S), abs=1e-3)


def test_what_a_restore_is_foreseen_by_gives_way_as_the_restore_does() -> None:
    """Else it is measured beside a load that the restore waits for."""
    assert {REBUILD, JOB} <= set(GIVE_WAY)


def test_a_restore_waits_for_what_it_will_take_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is too busy to measure it begins all the same."""
    monkeypatch.setattr(recovery_sample, "SAMPLE_BYTES", 1000)
    host = LoneHost()
    env = host.env()
    gone: list[str] = []

    class Busy:
        async def run(self, job: str, arguments: dict[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
            try:
                await env.tasks.sleep(1000.0)
            finally:
                gone.append(job)
            return {}

    foresee = foreseeing(env, Busy(), Path("/"), Config(), None, workers=2)  # type: ignore[arg-type]
    assert foresee is not None
    began_us = env.clock.boot_us()
    assert host.run(foresee("t", plan(part(10_000)))) is None
    assert FORESEE_S <= (env.clock.boot_us() - began_us) / 1e6 < FORESEE_S + 1

    async def a_moment() -> None:
        await env.tasks.sleep(0.01)

    host.run(a_moment())
    assert gone == [START_JOB] * 2, "and nobody goes on with it"
