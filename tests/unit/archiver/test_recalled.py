"""In a bucket with versions: an object that somebody deleted or wrote over is told of by name, and what was put is what is used, until it is put back."""

from __future__ import annotations

import pytest

from scrubjay.archiver.expire.plan import DAY_US
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, parse
from scrubjay.archiver.read.archive_status import ArchivedTable, StoreFacts, archive_status
from scrubjay.archiver.read.names import clusters_for
from scrubjay.archiver.read.suspects import LEVELS
from scrubjay.base.errors import HOLE, UNREADABLE
from tests.unit.archiver.expire_world import ExpireWorld
from tests.unit.archiver.sample import CLUSTER
from tests.unit.archiver.small_archive import SmallArchive
from tests.unit.archiver.test_archive_verify import KEYS, check, named, short

JUNK = b"somebody else's"


def cover(store: object, key: str, how: str) -> None:
    bucket = store._store  # type: ignore[attr-defined]
    bucket.versioned = True
    if how == "deleted":
        bucket.lose(key)
    else:
        bucket.write_over(key, JUNK)


@pytest.mark.parametrize("how", ["deleted", "written over"])
@pytest.mark.parametrize("key", KEYS, ids=short)
def test_what_stands_over_an_object_is_found_and_named_and_nothing_else_is(key: str, how: str) -> None:
    archive = SmallArchive()
    cover(archive.store, key, how)
    for level in LEVELS:
        report = check(archive, level=level)
        assert [(one.object, one.kind, one.detail.partition(":")[0]) for one in report.findings] == [
            (key, HOLE if how == "deleted" else UNREADABLE, how)
        ]
        assert (report.verdict, report.exit, report.complete) == ("mismatch", 2, True)
        at = parse(key)
        if isinstance(at, SegmentKey | BaseKey):
            assert (report.findings[0].table, report.findings[0].partition) == (at.table, at.partition)
    archive.store._store.put_back(key)
    assert check(archive).verdict == "match"


def test_without_versions_what_is_gone_is_gone() -> None:
    archive = SmallArchive()
    archive.store._store.lose(KEYS[0])
    finding = check(archive, cluster=CLUSTER).findings[0]
    assert finding.object == KEYS[0]
    assert not finding.detail.startswith("deleted: ")


def test_a_whole_archive_that_was_deleted_is_read() -> None:
    archive = SmallArchive()
    keys = sorted(archive.store.objects)
    for key in keys:
        cover(archive.store, key, "deleted")
    assert archive.loop.run(clusters_for(archive.store, CLUSTER)) == [CLUSTER]
    assert archive.loop.run(clusters_for(archive.store, "another")) == [CLUSTER]
    archive.store._covered.replace("", {})
    report = check(archive, level="replayed")
    assert sorted(named(report)) == keys
    assert {one.kind for one in report.findings} == {HOLE}


def status(world: ExpireWorld) -> dict[str, object]:
    world.refresh()
    table = ArchivedTable(world.sample.table, "orders", (world.sample.partition,))
    store = StoreFacts("memory://", reachable=True, present=True)
    return archive_status(world.index, tables=[table], store=store, now_us=world.now_us, lag_alarm_s=1e9)


@pytest.mark.parametrize("how", ["deleted", "written over"])
def test_a_window_has_no_hole_where_a_version_is_read_and_status_says_so(how: str) -> None:
    world = ExpireWorld()
    world.days(6, base_every=3)
    before = status(world)
    assert before["exit"] == 0
    logs = world.keys("log")
    chosen = [*logs[4:8], *world.keys("base")[:1]]  # two segments with their manifests, and a base's manifest or rows
    for key in chosen:
        cover(world.store, key, how)
    world.index = world.new_index() if how == "deleted" else world.index
    said = status(world)
    if how == "written over":  # a manifest that was read and was good is not read again: its bytes are verify's to find
        report = world.verify("objects")
        assert sorted(named(report)) == sorted(chosen)
        for finding in report.findings:
            world.index.distrust([finding.object or ""], kind=finding.kind, detail=finding.detail)
        assert not world.index.suspects.by_object, "what is read all the same is no suspect"
        said = status(world)
    assert said["exit"] == 2
    assert sorted(one["object"] for one in said["findings"]) == sorted(chosen)  # type: ignore[attr-defined]
    assert {one["detail"].partition(":")[0] for one in said["findings"]} == {how}  # type: ignore[attr-defined]
    tables, as_before = said["tables"], before["tables"]
    assert tables[0]["window"] == as_before[0]["window"]  # type: ignore[index]
    at_us = world.now_us - 3 * DAY_US // 2
    assert world.restored(at_us) == world.state_at(at_us)
    for key in chosen:
        world.store._store.put_back(key)
    after = status(world)
    assert (after["exit"], after["findings"]) == (0, [])


@pytest.mark.parametrize("how", ["deleted", "written over"])
def test_retention_takes_nothing_away_where_something_stands_over_an_object(how: str) -> None:
    world = ExpireWorld()
    world.days(16, base_every=4)
    key = world.keys("log")[-1]
    cover(world.store, key, how)
    before = sorted(world.store.objects)
    assert world.plan().exit == 4
    report = world.expire()
    assert report.exit == 4
    refused = report.outcomes[0].plan.refused
    assert refused is not None
    assert refused.startswith(f"{key}: {how}: ")
    assert sorted(world.store.objects) == before
    world.store._store.put_back(key)
    report = world.expire()
    assert report.exit == 0
    assert report.outcomes[0].deleted > 0
