"""verify of several partitions at once: what it says is what one after the other says, whichever partition ends first; the budget is one, and nothing runs on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.verify.report import VerifyOptions, VerifyReport
from scrubjay.archiver.verify.round import Round
from scrubjay.archiver.verify.run import verify
from scrubjay.base.errors import Unavailable
from scrubjay.sim.lone import LoneJobs
from tests.unit.archiver.sample import CLUSTER, START_US, history, other_partition
from tests.unit.archiver.small_archive import SmallArchive

PARTITIONS = 6


class SlowJobs(LoneJobs):
    """Each job takes as long as chance says. most: jobs at once. works: scratch files in use, each by one job. segments: that were read, by job. fails: raised by the job of that number."""

    def __init__(self, archive: SmallArchive, seed: int) -> None:
        super().__init__(archive.loop, archive.store, archive.disk)
        self._loop, self._draw = archive.loop, random.Random(seed)
        self.now = self.most = 0
        self.works: list[str] = []
        self.segments: list[str] = []
        self.fails: int | None = None

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        assert arguments["work"] not in self.works, "two jobs at once with one scratch file"
        self.works.append(arguments["work"])
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self._loop.tasks.sleep(self._draw.uniform(0.0, 5.0))
            if self.fails is not None and len(self.ran) >= self.fails:
                raise Unavailable("the store is away")
            manifests = [parse(one[0]) for one in arguments["segments"]]
            self.segments += [build(one.twin()) for one in manifests if isinstance(one, SegmentKey)]
            return await super().run(job, arguments, progress=progress)
        finally:
            self.now -= 1
            self.works.remove(arguments["work"])


def wide(*, damage: bool = False) -> SmallArchive:
    """PARTITIONS partitions; two of them with a base. damage: one of several kinds in each but the last."""
    archive = SmallArchive()
    for number in range(2, PARTITIONS):
        archive.samples.append(history(seed=20 + number, segments=3, partition=other_partition(7 + number)))
        archive.store.objects.update(archive.samples[-1].objects())
    archive.add_base(archive.samples[3], 1)
    for number, sample in enumerate(archive.samples[:-1] if damage else []):
        key = build(sample.manifest(sample.segments[1 + number % 3])[0].key())
        if number % 2:
            del archive.store.objects[key]
        else:
            data = archive.store.objects[key]
            archive.store.objects[key] = data[:-1] + bytes([data[-1] ^ 1])
    return archive


def check(archive: SmallArchive, jobs: SlowJobs, *, parallel: int, **named: Any) -> VerifyReport:
    given = {name: named.pop(name) for name in ("skip", "proved", "progress") if name in named}
    options = VerifyOptions(**{"wall_us": lambda: START_US + 60_000_000, "level": "replayed", "parallel": parallel, **named})
    found: VerifyReport = archive.loop.run(
        verify(archive.store, archive.disk, options=options, now_us=archive.loop.boot_us, work="w", jobs=jobs, tasks=archive.loop, **given)
    )
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damage", [False, True])
def test_it_says_what_one_after_the_other_says(damage: bool, seed: int) -> None:
    alone = SlowJobs(archive := wide(damage=damage), seed)
    one = check(archive, alone, parallel=1)
    several = SlowJobs(archive := wide(damage=damage), seed)
    many = check(archive, several, parallel=3)
    assert (alone.most, several.most) == (1, 3), "as many as asked for, and no more"
    assert many.as_json() == one.as_json()
    assert many.covered == one.covered
    assert many.verdict == ("mismatch" if damage else "match")
    assert len({finding.partition for finding in many.findings}) == (PARTITIONS - 1 if damage else 0)


def test_without_workers_it_goes_one_after_the_other() -> None:
    archive = wide()
    options = VerifyOptions(parallel=8, wall_us=lambda: START_US + 60_000_000)
    report = archive.loop.run(
        verify(archive.store, archive.disk, options=options, now_us=archive.loop.boot_us, work="w", tasks=archive.loop)
    )
    assert report.verdict == "match"


def test_a_spent_budget_ends_all_of_them_and_the_next_run_goes_on() -> None:
    archive = wide(damage=True)
    proven: dict[str, None] = {}
    jobs = SlowJobs(archive, 1)
    said: list[dict[str, Any]] = []

    async def skip(keys: Sequence[str]) -> list[str]:
        return [key for key in keys if key in proven]

    async def proved(good: Sequence[str], bad: Sequence[str]) -> None:
        proven.update(dict.fromkeys(good))

    def stop(read: int) -> str | None:
        assert not said or read >= said[-1]["bytes"], "bytes of all that run, and they do not go back"
        return "enough" if len(jobs.ran) >= 5 else None

    asked: dict[str, Any] = {"parallel": 3, "level": "records", "skip": skip, "proved": proved, "progress": said.append}
    report = check(archive, jobs, stop=stop, **asked)
    assert (report.complete, report.reason) == (False, "enough")
    assert jobs.now == 0, "nothing runs on"
    assert 5 <= len(jobs.ran) <= 5 + 3, "those under way end, and no more are begun"
    assert len(report.covered) < PARTITIONS
    assert report.bytes == said[-1]["bytes"] or report.bytes > 0
    again = check(archive, jobs, **asked)
    assert again.complete
    assert again.skipped_fresh > 0
    once = {key for key in jobs.segments if key in proven}
    assert len(once) > PARTITIONS
    assert all(jobs.segments.count(key) == 1 for key in once), "what was proven is not read twice"
    whole = check(archive := wide(damage=True), SlowJobs(archive, 1), parallel=1, level="records")
    assert again.as_json()["findings"] == whole.as_json()["findings"]


def test_a_store_that_goes_away_ends_it_with_nothing_left_running() -> None:
    archive = wide()
    jobs = SlowJobs(archive, 3)
    jobs.fails = 4
    with pytest.raises(Unavailable, match="the store is away"):
        check(archive, jobs, parallel=3)
    archive.loop.run_for(60.0)
    assert jobs.now == 0


def test_the_findings_of_all_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrubjay.archiver.verify.round.FINDINGS_MAX", 3)
    archive = wide(damage=True)
    report = check(archive, SlowJobs(archive, 2), parallel=3, level="records")
    assert (len(report.findings), report.complete, report.reason) == (3, False, "too_many_findings")
    assert report.failed == PARTITIONS - 1
    assert [one.partition for one in report.findings] == sorted([one.partition or "" for one in report.findings])


def test_a_part_takes_back_what_is_its_own_and_ends_in_the_order_in_which_it_began() -> None:
    """What is looked at once more because retention took something away meanwhile does not touch what another found."""
    archive = SmallArchive()
    whole = Round(archive.store, archive.disk, cluster=CLUSTER, options=VerifyOptions(), now_us=archive.loop.boot_us, work="w")
    whole.find("hole", "an epoch", "gone")
    (one, first), (two, second), (three, third) = whole.part(), whole.part(), whole.part()
    assert len({whole.work, first.work, second.work, third.work}) == 4
    before = first.mark()
    first.find("hole", "one", "gone")
    second.find("hole", "two", "gone")
    second.report.covered.append(("t", "2"))
    second.report.bytes += 10
    first.take_back(before)
    first.find("unreadable", "an epoch", "told already")
    third.find("no_key", "three", "which key")
    third.report.bytes += 5
    assert whole.counts().bytes == first.counts().bytes == 15
    whole.end_part(three)
    whole.end_part(two)
    assert [finding.object for finding in whole.report.findings] == ["an epoch"], "they wait for the one that was begun first"
    whole.end_part(one)
    assert [finding.object for finding in whole.report.findings] == ["an epoch", "two"]
    assert whole.report.covered == [("t", "2")]
    assert (list(whole.unread), whole.counts().bytes, whole.report.bytes) == (["three"], 15, 15)
