"""What a recovery is predicted by: a piece of the archive, read and loaded as it will be; and what counts where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay import recovery_sample
from scrubjay.archiver.format.layout import build
from scrubjay.base.errors import Corrupt, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.base.real.disk import RealDisk
from scrubjay.pitr.plan import PartitionPlan, Plan
from scrubjay.pitr.rates import RATES_KEY, Rates
from scrubjay.recovery_sample import FIXED_S, UNMEASURED, measured, sample_job
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
    }
    answer = archive.loop.run(sample_job(SimJobContext(RealDisk(tmp_path), lambda _: archive.store, None), arguments))
    log = sum(one.raw.size for one in manifests[2:]) if whole else sum(one.raw.size for one in manifests)
    size = archive.base.file.size
    assert answer["raw"] == {None: log, True: log + size, False: size}[whole]
    assert answer["read_s"] > 0
    assert answer["load_s"] > 0
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"
    assert synced == [True], "what others have not written yet is no cost of a sample"


class Answers:
    """Jobs whose outcome is known."""

    def __init__(self, outcome: dict[str, Any] | ScrubjayError) -> None:
        self.outcome = outcome
        self.asked: list[str] = []

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
        self.asked.append(arguments["name"])
        if isinstance(self.outcome, ScrubjayError):
            raise self.outcome
        return self.outcome


def plan(raw: int) -> dict[str, Plan]:
    part = PartitionPlan(PartitionId("p"), None, (), raw, raw, 1, Lsn(1), Lsn(2))
    return {"t": Plan(1, Stamp(1), (part,), raw, 1, 1.0, Rates(), 1)}


def rates(jobs: Answers, raw: int, notes: dict[str, Any]) -> Rates:
    host = LoneHost()
    return host.run(measured(host, jobs, plan(raw), url="", root=Path("/"), workers=2, notes=notes))


def test_what_is_measured_counts_and_else_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_sample, "SAMPLE_BYTES", 1000)
    learnt = {RATES_KEY: {"read": 5, "load": 7, "fixed": 9, "samples": 3}}
    good = {"raw": 900, "read_s": 3.0, "load_s": 9.0}
    jobs = Answers(good)
    assert rates(jobs, 10_000, learnt) == Rates(300, 100, FIXED_S, 1)
    assert jobs.asked == ["sample-0", "sample-1"], "in as many processes as there will be"
    assert rates(Answers(good), 10, learnt) == Rates(5, 21, FIXED_S, 3), "too little is there to measure anything"
    assert rates(Answers(good | {"raw": 10}), 10_000, learnt) == Rates(5, 21, FIXED_S, 3)
    assert rates(Answers(Corrupt("rotten")), 10_000, learnt) == Rates(5, 21, FIXED_S, 3), "what is rotten, recovering itself will say"
    assert rates(Answers(Corrupt("rotten")), 10_000, {}) == UNMEASURED
    assert rates(Answers(Corrupt("rotten")), 10_000, {RATES_KEY: {"speed": 1}}) == UNMEASURED
