"""Exports over a real archive: what lies there is what the table held, or what changed; nothing is called an export before it is proven; killed anywhere, it ends."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from scrubjay.base.errors import Conflict, Corrupt, Invalid, Unavailable, Unsafe
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.times import parse_time
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.transfer import running
from scrubjay.pitr.transfer.export_notes import ExportAsked, ExportJob
from scrubjay.pitr.transfer.exports import Exports, check_asked
from scrubjay.sim.lone import LoneJobs, LoneStore
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.wire import item_from_json
from tests.fixtures.golden import Golden
from tests.unit.pitr.restore_world import Rows, total_of
from tests.unit.pitr.test_restore_archive import window
from tests.unit.pitr.timeline_world import TimelineWorld, key_of, made
from tests.unit.scrubber.scrub_world import KEY

TO = "s3://b/whole"
PREFIX = "export/"


class Place(LoneJobs):
    """Jobs over the archive's store and the place of exports. cut: told of each job, it may raise."""

    def __init__(self, world: TimelineWorld, place: LoneStore) -> None:
        disk: Any = world.disk
        super().__init__(world.loop, place, disk)
        self.cut: Callable[[str], None] = lambda _job: None
        self.forged: str | None = None

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Any = None) -> dict[str, Any]:
        self.cut(job)
        answer = await super().run(job, arguments, progress=progress)
        return {**answer, "sum": self.forged} if self.forged is not None and "export_job" in job else answer


class Exporting:
    """A world with an archive, a place, and the exports of one life of the server."""

    def __init__(self, world: TimelineWorld) -> None:
        self.world, self.place = world, LoneStore()
        self.start_again()

    def start_again(self) -> None:
        world: Any = self.world
        self.jobs = Place(self.world, self.place)
        self.ended: list[str] = []
        self.took_us: list[int] = []
        self.exports = Exports(
            world.env, world, world.source_archive, self.jobs, RestoreOptions(archive_wait_s=10.0, lanes=2), world.service.preparing, world.timeline,
            archive_url="s3://b/archive", arn=lambda name: f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}", log=world.lines.append,
            ended=self._over,
        )  # fmt: skip

    def _over(self, state: str, us: int) -> None:
        self.ended.append(state)
        self.took_us.append(us)

    def asked(self, **fields: Any) -> ExportAsked:
        return ExportAsked(**{"url": TO, "format": "dynamodb-json", **fields})

    def start(self, **fields: Any) -> ExportJob:
        job: ExportJob = self.world.run(self.exports.start(self.world.source, self.asked(**fields)))
        return job

    def done(self, **fields: Any) -> dict[str, Any]:
        job = self.start(**fields)
        self.world.finish()
        return self.exports.running.report(self.exports.running.find(job.id) or job)

    def lines(self, report: dict[str, Any]) -> list[dict[str, Any]]:
        """What its files hold, by way of its manifests."""
        summary = json.loads(self.place.objects[report["manifest"]])
        listed = self.place.objects[summary["manifestFilesS3Key"].removeprefix("whole/")].splitlines()
        found = []
        for one in map(json.loads, listed):
            data = self.place.objects[one["dataFileS3Key"].removeprefix("whole/")]
            lines = gzip.decompress(data).splitlines()
            assert one["itemCount"] == len(lines)
            found += [json.loads(line) for line in lines]
        assert summary["itemCount"] == len(found)
        return found

    def rows(self, report: dict[str, Any]) -> Rows:
        items = [item_from_json(line["Item"]) for line in self.lines(report)]
        return {storage_key(KEY, item): encode_item(item) for item in items}


@pytest.fixture
def exporting() -> Exporting:
    return Exporting(made(3, partitions=3))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_exported_is_what_was_there(seed: int) -> None:
    world = made(seed, partitions=seed % 3 + 1)
    exporting = Exporting(world)
    low, high = window(world)
    for at_us in (low, random.Random(seed).randint(low, high), high, None):
        report = exporting.done(at_us=at_us)
        assert report["state"] == "completed", report
        rows = world.model(parse_time(report["at"]))
        assert exporting.rows(report) == rows
        assert (report["rows"], report["digest"], report["verdict"]) == (len(rows), total_of(rows).hex, "match")
        ours = json.loads(exporting.place.objects[report["manifest"].replace("summary", "scrubjay")])
        assert (ours["digest"], ours["rows"], ours["key"]) == (report["digest"], len(rows), [["pk", "S"], ["sk", "N"]])
    assert exporting.ended == ["completed"] * 4
    assert all(us > 0 for us in exporting.took_us)
    assert 0 <= exporting.took_us[-1] - (parse_time(report["finished"]) - parse_time(report["started"])) < 1_000_000, "and its note"
    assert exporting.exports.needs() == []
    assert not world.disk.files


@pytest.mark.parametrize("seed", range(4))
def test_an_incremental_export_leads_from_one_state_to_the_other(seed: int) -> None:
    rng = random.Random(seed)
    world = made(seed, partitions=seed % 3 + 1)
    exporting = Exporting(world)
    low, high = window(world)
    first, second = sorted((rng.randint(low, high), rng.randint(low, high)))
    report = exporting.done(from_us=first, at_us=second)
    assert (report["state"], report["verdict"]) == ("completed", "match"), report
    rows = dict(world.model(first))
    records = {stamp_micros(one.stamp) for sample in world.samples.values() for one in sample.records}
    lines = exporting.lines(report)
    for line in lines:
        key = key_of(int(line["Keys"]["sk"]["N"]))
        old, new = (encode_item(item_from_json(line[name])) if name in line else None for name in ("OldImage", "NewImage"))
        assert rows.pop(key, None) == old
        if new is not None:
            rows[key] = new
        micros = int(line["Metadata"]["WriteTimestampMicros"]["N"])
        assert first < micros <= second
        assert micros in records
    assert rows == world.model(second)
    assert report["rows"] == len(lines)
    alone = exporting.done(from_us=first, at_us=second, view="NEW_IMAGE")
    assert [{name: value for name, value in line.items() if name != "OldImage"} for line in lines] == exporting.lines(alone)
    assert not world.disk.files


def test_what_it_reads_is_said_for_as_long_as_it_reads(exporting: Exporting) -> None:
    low, high = window(exporting.world)
    said: list[list[int]] = []
    exporting.jobs.cut = lambda _job: said.append([need.at_us for need in exporting.exports.needs()])
    exporting.done(at_us=high)
    exporting.done(from_us=low, at_us=high)
    assert said
    assert set(map(tuple, said)) == {(high,), (low,)}
    assert exporting.exports.needs() == []
    exporting.world.notes[PREFIX + "of-another-version"] = {"version": 99}
    assert [(need.table, need.at_us) for need in exporting.exports.needs()] == [(None, 0)]


def test_what_cannot_be_is_refused_and_nothing_is_noted(exporting: Exporting) -> None:
    low, high = window(exporting.world)
    for error, fields in (
        (Unsafe, {"at_us": 1}), (Unsafe, {"at_us": high, "from_us": 1}), (Invalid, {"at_us": low, "from_us": high}),
        (Unsafe, {"url": "s3://b/archive"}), (Unsafe, {"url": "s3://b/archive/below/"}), (Invalid, {"url": "/tmp/x"}), (Invalid, {"url": "s3:///x"}),
        (Invalid, {"url": "file://host/x"}), (Invalid, {"format": "ion"}), (Invalid, {"format": "csv", "from_us": low, "at_us": high}),
    ):  # fmt: skip
        with pytest.raises(error):
            exporting.start(**fields)
    assert exporting.world.jobs(PREFIX) == {}
    assert exporting.exports.needs() == []
    assert not exporting.place.objects


@pytest.mark.parametrize(
    ("url", "archive_url"),
    [
        ("s3://b//archive", "s3://b/archive"), ("s3://b/archive//x", "s3://b/archive/"), ("s3://b/x", "s3://b"), ("file:///d//archive/x", "file:///d/archive"),
        ("file:///d/x/../archive", "file:///d/archive"), ("file:///d/%61rchive", "file:///d/archive"), ("file://localhost/d/archive", "file:///d/archive/"),
    ],
)  # fmt: skip
def test_however_it_is_spelled_nothing_is_exported_into_the_archive(url: str, archive_url: str) -> None:
    with pytest.raises(Unsafe, match="the archive of this cluster"):
        check_asked(ExportAsked(url=url, format="dynamodb-json"), archive_url)
    for beside in ("s3://b/archives", "s3://archive/b", "file:///d/archives", "file:///b/archive"):
        check_asked(ExportAsked(url=beside, format="dynamodb-json"), "s3://b/archive")
        check_asked(ExportAsked(url=beside, format="dynamodb-json"), "file:///d/archive")


@pytest.mark.parametrize("stands", [True, False])
def test_a_start_of_unknown_outcome_is_seen_through(exporting: Exporting, stands: bool) -> None:
    """Whoever asked is told that nobody knows; whatever the notes say in the end, somebody works at it, and retention knows until it ends."""
    _, high = window(exporting.world)
    put = exporting.world.save_job

    async def unknown(key: str, job: dict[str, Any] | None) -> None:
        exporting.world.save_job = put  # type: ignore[method-assign]
        if stands:
            await put(key, job)
        raise Unavailable("nobody knows", unknown=True)

    exporting.world.save_job = unknown  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="nobody knows"):
        exporting.start(at_us=high)
    assert [need.at_us for need in exporting.exports.needs()] == [high]
    (job,) = exporting.exports.running.jobs()
    assert exporting.start(at_us=high).id == job.id
    exporting.world.finish()
    assert [one["state"] for one in exporting.world.jobs(PREFIX).values()] == ["completed"]
    assert exporting.exports.needs() == []


def test_one_whose_end_could_not_be_noted_is_not_waited_for_and_the_same_words_carry_it_on(exporting: Exporting) -> None:
    _, high = window(exporting.world)
    put = exporting.world.save_job

    async def away(key: str, job: dict[str, Any] | None) -> None:
        if job is not None and job["state"] != "running":
            raise Unavailable("no leader")
        await put(key, job)

    exporting.world.save_job = away  # type: ignore[method-assign]
    report = exporting.done(at_us=high)
    assert (report["running"], report["state"], report["exit"], report["manifest"]) == (False, "failed", 1, None)
    assert "the same command" in report["error"]["next"]
    assert [need.at_us for need in exporting.exports.needs()] == [high], "it may be carried on"
    exporting.world.save_job = put  # type: ignore[method-assign]
    again = exporting.done(at_us=high)
    assert (again["export"], again["state"]) == (report["export"], "completed")
    assert exporting.exports.needs() == []


def test_row_files_that_cannot_be_removed_are_told_and_keep_nothing_else(exporting: Exporting) -> None:
    discard = exporting.world.source_archive.discard

    def refused(path: str) -> None:
        if not path.endswith(".rows"):
            raise Unavailable("the folder is busy")
        discard(path)

    exporting.world.source_archive.discard = refused  # type: ignore[method-assign]
    assert exporting.done()["state"] == "completed"
    assert any("could not be removed: " in line for line in exporting.world.lines)


def test_the_same_words_attach_while_it_runs_and_a_token_for_good(exporting: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    _, high = window(exporting.world)
    first = exporting.start(at_us=high)
    assert exporting.start(at_us=high).id == first.id
    assert exporting.start(at_us=high - 1).id != first.id
    token = exporting.start(at_us=high, token="t")
    assert token.id != first.id
    with pytest.raises(Conflict, match="another export"):
        exporting.start(at_us=high - 1, token="t")
    monkeypatch.setattr(running, "RUNNING_MAX", 1)
    with pytest.raises(Unsafe, match="too many"):
        exporting.start(at_us=high - 3)
    exporting.world.finish()
    assert exporting.start(at_us=high, token="t").id == token.id
    assert exporting.start(at_us=high).id != first.id, "that one is done"


def test_another_content_is_no_export_and_no_summary_is_put(exporting: Exporting) -> None:
    exporting.jobs.forged = "0" * 32
    report = exporting.done()
    assert (report["state"], report["exit"], report["error"]["code"], report["verdict"]) == ("failed", 2, "Corrupt", "unverified")
    assert exporting.place.objects
    assert not any("manifest" in key for key in exporting.place.objects)
    assert exporting.ended == ["failed"]
    assert not exporting.world.disk.files


def test_a_rebuild_that_is_not_proven_to_its_end_is_no_export(exporting: Exporting) -> None:
    rebuild = exporting.world.source_archive.rebuild

    async def short(*args: Any, **named: Any) -> Any:
        rows = await rebuild(*args, **named)
        return rows._replace(proven=rows.proven - 1)

    exporting.world.source_archive.rebuild = short  # type: ignore[method-assign]
    report = exporting.done()
    assert (report["state"], report["exit"]) == ("failed", 2)
    assert "seal that proves it" in report["error"]["message"]


def test_a_base_that_rotted_is_done_without_as_a_restore_does(exporting: Exporting) -> None:
    world = exporting.world
    _, high = window(world)
    parts = [key for key in world.objects.objects if "/base/" in key and "/rows-" in key]
    assert parts
    for key in parts:
        data = bytearray(world.objects.objects[key])
        data[len(data) // 2] ^= 1
        world.objects.objects[key] = bytes(data)
    report = exporting.done(at_us=high)
    assert (report["state"], report["verdict"]) == ("completed", "match"), report
    assert exporting.rows(report) == world.model(high)
    assert {one.object for one in world.found} <= set(parts)
    assert world.found, "it is told with what scrubs find"
    assert any("met damage in the archive" in line for line in world.lines)


def test_what_is_away_for_a_moment_is_tried_again_and_for_long_is_told(exporting: Exporting) -> None:
    left = [2]

    def away(job: str) -> None:
        if "export_job" in job and left[0]:
            left[0] -= 1
            raise Unavailable("the worker process died")

    exporting.jobs.cut = away
    assert exporting.done()["state"] == "completed"
    left[0] = 10**6
    report = exporting.done()
    assert (report["state"], report["exit"], report["error"]["code"]) == ("failed", 1, "Unavailable")


def test_a_folder_that_is_not_there_is_the_place_and_not_the_archive(exporting: Exporting) -> None:
    def away(job: str) -> None:
        if "put" in job:
            raise Unavailable("the archive's folder is not there", error_code="ArchiveGone", cause="/mnt/out", next="put it back")

    exporting.jobs.cut = away
    report = exporting.done()
    assert (report["state"], report["exit"], report["error"]["code"]) == ("failed", 1, "FolderMissing")
    assert "archive" not in report["error"]["message"]
    assert "make it" in report["error"]["next"]


def test_killed_anywhere_it_is_carried_on_under_its_id_and_proven() -> None:
    """Before each job, and once more in the second life."""
    count = 0
    while True:
        world = made(2, partitions=2)
        exporting = Exporting(world)
        _, high = window(world)
        left = [count]

        def kill(_job: str, left: list[int] = left, world: TimelineWorld = world) -> None:
            left[0] -= 1
            if left[0] < 0:
                world.loop.kill()

        exporting.jobs.cut = kill
        job = exporting.start(at_us=high)
        world.finish()
        alive = left[0] >= 0
        if not alive:
            assert world.notes[PREFIX + job.id]["state"] == "running"
            world.restart()
            exporting.start_again()
            assert exporting.exports.running.resume_unfinished() == 1
            world.finish()
        report = exporting.exports.running.report(exporting.exports.running.find(job.id) or job)
        assert report["state"] == "completed", (count, report)
        assert exporting.rows(report) == world.model(high)
        assert not world.disk.files
        if alive:
            break
        count += 1
    assert count == 4


def test_a_summary_that_was_put_before_a_kill_stays_the_summary(exporting: Exporting) -> None:
    """When it ended is noted before the manifests say it: a second life says the same."""
    _, high = window(exporting.world)
    put = exporting.world.save_job
    ends: list[str] = []

    async def lost(key: str, job: dict[str, Any] | None) -> None:
        if job is not None and job["state"] != "running":
            ends.append(job["state"])
            exporting.world.loop.kill()
        await put(key, job)

    exporting.world.save_job = lost  # type: ignore[method-assign]
    job = exporting.start(at_us=high)
    exporting.world.finish()
    assert ends == ["completed"]
    before = {key: data for key, data in exporting.place.objects.items() if "manifest" in key}
    assert len(before) == 5
    exporting.world.save_job = put  # type: ignore[method-assign]
    exporting.world.restart()
    exporting.world.now_us += 60_000_000
    exporting.start_again()
    exporting.exports.running.resume_unfinished()
    exporting.world.finish()
    found = exporting.exports.running.find(job.id)
    assert found is not None
    assert found.state == "completed"
    assert {key: data for key, data in exporting.place.objects.items() if "manifest" in key} == before


def test_stopped_it_goes_on_at_the_next_start_and_old_ones_are_forgotten(exporting: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "KEPT_MAX", 2)
    job = exporting.start()
    exporting.world.run(exporting.exports.running.stop())
    assert exporting.world.notes[PREFIX + job.id]["state"] == "running"
    exporting.world.restart()
    exporting.start_again()
    exporting.exports.running.resume_unfinished()
    exporting.world.finish()
    others = [exporting.done()["export"] for _ in range(3)]
    assert [one.id for one in exporting.exports.running.jobs()] == others[-2:]


def test_damage_in_the_archive_fails_it_by_name(exporting: Exporting) -> None:
    sample = next(iter(exporting.world.samples.values()))
    _, name = exporting.world.objects_of(sample)[-1]
    data = bytearray(exporting.world.objects.objects[name])
    data[len(data) // 2] ^= 1
    exporting.world.objects.objects[name] = bytes(data)
    report = exporting.done(at_us=window(exporting.world)[1])
    assert (report["state"], report["exit"]) == ("failed", 2)
    assert name in str(report["error"]["found"])
    assert Corrupt.code == report["error"]["code"]


@pytest.mark.parametrize("name", ["running", "completed", "failed"])
def test_golden_notes(golden: Golden, name: str) -> None:
    asked = ExportAsked(url="s3://bucket/deep", format="dynamodb-json", at_us=1_760_000_000_000_000)
    if name == "failed":
        asked = ExportAsked(
            url="file:///srv/out",
            format="dynamodb-json",
            from_us=1_759_000_000_000_000,
            view="NEW_IMAGE",
            token="t",
            echo={"S3Bucket": "b"},
        )
    job = ExportJob(
        id="01760000000123-00c0ffee", source_id="00000000-0000-4000-8000-000000000001", source_name="orders", asked=asked,
        at_us=1_760_000_000_000_000, created_us=1_760_000_000_123_000,
    )  # fmt: skip
    if name != "running":
        job.ended_us = 1_760_000_009_000_000
    if name == "completed":
        job.state, job.files, job.bytes, job.rows, job.digest = "completed", 2, 99, 3, "ab" * 16
    if name == "failed":
        running.fail(job, Corrupt("rot", what="segment", where="c/seg"))
        job.state = running.FAILED
    golden.check_json(f"v3/transfer-jobs/export-{name}.json", job.as_notes())
    read = ExportJob.load(json.loads(golden.read(f"v3/transfer-jobs/export-{name}.json")))
    assert read == job
    golden.check_json(f"v3/transfer-jobs/export-{name}.report.json", job.report({"phase": "plan"} if name == "running" else None))
    assert ExportJob.load({**job.as_notes(), "version": 2}) is None
    assert ExportJob.load({**job.as_notes(), "state": 7}) is None
    assert ExportJob.load({**job.as_notes(), "later": "field"}) == job
