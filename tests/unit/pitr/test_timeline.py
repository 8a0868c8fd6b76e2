"""Time travel over real segments and bases: against the model of the same history, at every cut, with holes, rot, conflicts and cuts in the middle."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.facts import CoverageFacts, Hole
from scrubjay.archiver.format.base import decode_base, encode_base
from scrubjay.archiver.format.layout import BaseKey, build, parse
from scrubjay.archiver.format.manifest import decode_manifest, encode_manifest
from scrubjay.archiver.read import touched
from scrubjay.archiver.read.keyfilters import ENTRY_BYTES, KeyFilters
from scrubjay.archiver.read.replay import ArchiveReplay
from scrubjay.base.errors import Corrupt, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import PartitionId
from scrubjay.base.times import parse_time, utc_text
from scrubjay.pitr.plan import PartitionHistory
from scrubjay.pitr.selection import EVERYTHING, Selection, beginning, one_key
from scrubjay.pitr.timeline import jobs, results
from scrubjay.pitr.timeline import undo as undoing
from scrubjay.pitr.timeline.what_to_read import holes_in, newest_first
from scrubjay.storage.btree import rowfile
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.catalogue import FinalSeal, KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.wire import item_from_json
from scrubjay.storage.log.record import Effect, Op
from tests.unit.pitr.test_restore_archive import window
from tests.unit.pitr.timeline_world import KEYS, TimelineWorld, item_of, key_json, key_of, made
from tests.unit.scrubber.scrub_world import KEY

Rows = dict[bytes, bytes]


def quiet(facts: dict[str, Any]) -> None:
    """Progress nobody looks at."""


def diff(world: TimelineWorld, from_us: int, to_us: int | None, **which: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    asked = {"key": None, "prefix": None, **which}
    report = world.run(world.timeline.diff(world.source, from_us=from_us, to_us=to_us, progress=quiet, **asked))
    lines: list[bytes] = []
    at: str | None = ""
    while at is not None:
        more, at = world.timeline.changes(report["result"], at)
        lines += more
    return report, [json.loads(line) for line in lines]


def history(world: TimelineWorld, number: int, **asked: Any) -> dict[str, Any]:
    asked = {"from_us": None, "to_us": None, "limit": 1000, **asked}
    report: dict[str, Any] = world.run(world.timeline.history(world.source, key=key_json(number), progress=quiet, **asked))
    return report


def undo(world: TimelineWorld, from_us: int, to_us: int | None, *, confirm: bool = True, **which: Any) -> dict[str, Any]:
    asked = {"key": None, "prefix": None, **which}
    report: dict[str, Any] = world.run(
        world.timeline.undo(world.source, from_us=from_us, to_us=to_us, confirm=confirm, progress=quiet, **asked)
    )
    return report


def stored(item: dict[str, Any] | None) -> bytes | None:
    return None if item is None else encode_item(item_from_json(item))


def patched(rows: Rows, changes: list[dict[str, Any]]) -> Rows:
    """The rows with the changes applied, each of which must have found what it says."""
    rows = dict(rows)
    for one in changes:
        number = int(one["key"]["sk"]["N"])
        assert one["key"] == key_json(number)
        key, after = key_of(number), stored(one["after"])
        assert rows.get(key) == stored(one["before"])
        if after is None:
            del rows[key]
        else:
            rows[key] = after
    return rows


# --- diff ---


@pytest.mark.parametrize("seed", range(8))
def test_a_diff_leads_from_one_state_to_the_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all changes in memory, some of them, and none; of the base all rows, and those alone that the log touches."""
    monkeypatch.setattr(jobs, "HELD_BYTES", [jobs.HELD_BYTES, 6000, 1][seed % 3])
    monkeypatch.setattr(jobs, "TOUCHED_PER_ROW", [0, jobs.TOUCHED_PER_ROW, 1000][seed // 2 % 3])
    rng = random.Random(seed)
    world = made(seed, partitions=seed % 3 + 1)
    world.write(rng, 10)  # not archived yet
    low, high = window(world)
    for _ in range(3):
        first, second = sorted((rng.randint(low, high), rng.randint(low, world.now_us)))
        report, changes = diff(world, first, second)
        before, after = world.model(first), world.model(second)
        assert patched(before, changes) == after
        keys = [key_of(int(one["key"]["sk"]["N"])) for one in changes]
        assert keys == sorted(keys)
        totals = report["totals"]
        assert totals["added"] + totals["removed"] + totals["changed"] == len(changes)
        assert totals["same"] == sum(before.get(key) == item for key, item in after.items())
        records = {(sample.partition, one.lsn): one for sample in world.samples.values() for one in sample.records}
        for key, one in zip(keys, changes, strict=True):
            record = records[world.sample_of(key).partition, one["lsn"]]
            assert utc_text(stamp_micros(record.stamp)) == one["at"]
            assert key in record.data
            assert first < parse_time(one["at"]) <= second
    assert {name.rpartition("/")[0] for name in world.disk.files} <= {f"{results.FOLDER}/{one}" for one in world.timeline._results._kept}
    assert not [name for name in world.disk.files if ".run-" in name], "scratch of a comparison goes with it"


@pytest.mark.parametrize("held", [jobs.HELD_BYTES, 1])
def test_of_a_base_only_what_the_log_touches_is_read(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is counted is as it would be of all: of the whole table, of one key, and of those that begin alike."""
    monkeypatch.setattr(jobs, "HELD_BYTES", held)
    monkeypatch.setattr(rowfile, "BLOCK_BYTES", 100)
    world = TimelineWorld(partitions=1)
    for number in range(KEYS):
        world.put(number, 1)
    (sample,) = world.samples.values()
    world.seal_one(sample)
    world.snapshot(sample)
    low = world.now_us
    changed, key = [2, 3], key_json(2)
    world.put(2, 9)
    world.put(3, None)
    world.put(7, 1)  # as it was
    world.seal_all()
    high = window(world)[1]
    fetched: list[int] = []
    get_range = world.objects.get_range

    async def watched(name: str, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return await get_range(name, start, end)

    monkeypatch.setattr(world.objects, "get_range", watched)
    alike = {"pk": key["pk"]}
    selections: list[dict[str, Any]] = [{}, {"key": key}, {"prefix": alike}, {"key": key_json(5)}]
    monkeypatch.setattr(jobs, "TOUCHED_PER_ROW", 10**9)
    whole = [diff(world, low, high, **which) for which in selections]
    assert not fetched
    monkeypatch.setattr(jobs, "TOUCHED_PER_ROW", 2)
    monkeypatch.setattr(touched, "GAP_BYTES", 0)
    some = [diff(world, low, high, **which) for which in selections]
    assert [(report["totals"], changes) for report, changes in some] == [(report["totals"], changes) for report, changes in whole]
    assert some[0][0]["totals"] == {"added": 0, "removed": 1, "changed": 1, "same": KEYS - len(changed)}
    assert some[3][0]["totals"]["same"] == 1
    (size,) = [
        len(data)
        for name, data in world.objects.objects.items()
        if isinstance(of_base := parse(name), BaseKey) and of_base.part is not None
    ]
    assert fetched
    assert sum(fetched) / len(selections) < size, "blocks that hold none of the keys are not read"


@pytest.mark.parametrize("how", ["lacking", "altered"])
def test_rows_of_a_base_that_are_not_its_own_are_no_difference(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests of the seals say that they are wrong, and the base is read whole."""
    world = TimelineWorld(partitions=1)
    for number in range(KEYS):
        world.put(number, 1)
    (sample,) = world.samples.values()
    world.seal_one(sample)
    world.snapshot(sample)
    low = world.now_us
    world.put(2, 9)
    world.put(3, None)
    world.seal_all()
    high = window(world)[1]
    good = diff(world, low, high)
    tried = []

    def rows_of_block(*arguments: Any) -> list[Row]:
        tried.append(how)
        rows = rowfile.rows_of_block(*arguments)
        at = next(at for at, row in enumerate(rows) if row.key == key_of(2))
        return rows[:at] + [rows[at]._replace(item=encode_item(item_of(2, 5)))] * (how == "altered") + rows[at + 1 :]

    monkeypatch.setattr(touched, "rows_of_block", rows_of_block)
    report, changes = diff(world, low, high)
    assert tried
    assert (report["totals"], changes) == (good[0]["totals"], good[1])


def test_what_a_diff_holds_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the log between the two moments changes."""
    most = 0
    feed = ArchiveReplay.feed

    def fed(replay: ArchiveReplay, *arguments: Any, **more: Any) -> None:
        nonlocal most
        feed(replay, *arguments, **more)
        most = max(most, replay.keys)

    monkeypatch.setattr(ArchiveReplay, "feed", fed)
    world = made(4, partitions=1)
    low, high = window(world)
    _, changes = diff(world, low, high)
    assert most > KEYS // 2
    most = 0
    monkeypatch.setattr(jobs, "HELD_BYTES", 1)
    assert diff(world, low, high)[1] == changes
    assert most == 0


@pytest.mark.parametrize("kind", ["rotten", "lying", "gone"])
def test_a_base_that_is_no_good_is_done_without(kind: str) -> None:
    """The log tells the same, from an older base or from its beginning."""
    world = made(1, partitions=1, steps=60)
    (sample,) = world.samples.values()
    world.snapshot(sample)
    low = world.now_us
    for number in range(4):
        world.put(number, 7)
    world.seal_all()
    high = window(world)[1]
    good = diff(world, low, high)
    (part,) = good[0]["partitions"]
    assert part["before"]["base_lsn"] > 0
    for name in [one for one in world.objects.objects if isinstance(parse(one), BaseKey)]:
        key = parse(name)
        assert isinstance(key, BaseKey)
        if key.lsn != part["before"]["base_lsn"]:
            continue
        data = world.objects.objects[name]
        if kind == "lying" and key.part is None:
            manifest = decode_base(data, where=name)
            world.objects.objects[name] = encode_base(replace(manifest, total=manifest.total._replace(sum=manifest.total.sum ^ 1)))
        elif kind == "rotten" and key.part is not None:
            world.objects.objects[name] = data[:-1] + bytes([data[-1] ^ 1])
        elif kind == "gone" and key.part is not None:
            del world.objects.objects[name]
    report, changes = diff(world, low, high)
    assert (report["exit"], changes) == (0, good[1])
    assert report["partitions"][0]["before"]["base_lsn"] < part["before"]["base_lsn"]
    assert undo(world, low, high)["totals"]["restored"] == sum(one["before"] is not None for one in changes)
    segments = world.objects_of(sample)
    data = world.objects.objects[segments[-1][1]]
    world.objects.objects[segments[-1][1]] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises((Corrupt, Missing)):
        diff(world, low, high)
    assert {name.rpartition("/")[0] for name in world.disk.files} <= {f"{results.FOLDER}/{one}" for one in world.timeline._results._kept}


def test_one_key_and_those_that_begin_alike() -> None:
    world = made(3)
    low, high = window(world)
    _, everything = diff(world, low, high)
    assert len(everything) > 6
    some = everything[0]["key"]
    assert [one["key"] for one in diff(world, low, high, key=some)[1]] == [some]
    found = diff(world, low, high, prefix={"pk": some["pk"]})[1]
    assert found == [one for one in everything if one["key"]["pk"] == some["pk"]]
    with pytest.raises(Invalid):
        diff(world, low, high, key=some, prefix={"pk": some["pk"]})
    with pytest.raises(Invalid, match="not a key"):
        diff(world, low, high, key={"pk": {"S": "a"}})


def test_where_the_log_between_is_not_whole_both_moments_are_still_compared() -> None:
    """A hole between two bases: what was deleted in it is seen, only its record is not."""
    world = made(1, partitions=1, steps=30)
    (sample,) = world.samples.values()
    for number in range(KEYS):
        world.put(number, 1)
    first = stamp_micros(sample.stamp) - 1  # what the seal closes
    world.seal_one(sample)
    world.snapshot(sample)
    world.put(3, None)
    world.put(4, 9)
    world.seal_one(sample)
    gone = world.objects_of(sample)[-1][0]
    world.seal_one(sample)
    world.snapshot(sample)
    second = world.now_us
    world.put(5, 8)
    world.seal_all()
    del world.objects.objects[build(gone)]
    del world.objects.objects[build(gone.twin())]
    report, changes = diff(world, first, second)
    assert report["exit"] == 0
    assert patched(world.model(first), changes) == world.model(second)
    assert [one["lsn"] for one in changes if one["after"] is None] == [None]


def test_what_no_window_holds_is_refused_with_the_window() -> None:
    world = made()
    low, high = window(world)
    for first, second, kind in ((low - 1, high, Unsafe), (high, low, Invalid), (low, world.now_us + 10**9, Unsafe)):
        for ask in (diff, undo):
            with pytest.raises(kind) as refused:
                ask(world, first, second)
            assert refused.value.fields["body"]["window"]["earliest"] == utc_text(low)
    assert not world.disk.files, "nothing is left behind"


def test_a_damaged_segment_is_no_difference() -> None:
    world = made(2, partitions=2)
    sample = list(world.samples.values())[-1]  # the other partition has written its part by then
    low, high = window(world)
    _, name = world.objects_of(sample)[2]
    data = bytearray(world.objects.objects[name])
    data[len(data) // 2] ^= 1
    world.objects.objects[name] = bytes(data)
    for number in range(KEYS):
        world.put(number, None)
    world.seal_all()
    with pytest.raises(ScrubjayError) as damaged:
        diff(world, low, high)
    assert damaged.value.exit_code == 2
    assert not world.disk.files
    assert world.timeline.needs() == []


def test_pages_of_a_result_and_how_long_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAGE_BYTES", 100)
    world = made(4)
    low, high = window(world)
    first, changes = diff(world, low, high)
    assert len(changes) == sum(first["totals"][name] for name in ("added", "removed", "changed")) > 5
    for _ in range(results.KEPT):
        diff(world, low, high)
    with pytest.raises(Unavailable, match="no such result"):
        world.timeline.changes(first["result"], "")
    with pytest.raises(Unavailable):
        world.timeline.changes("..", "")
    world.restart()
    assert not world.disk.files, "another life's are swept"


def test_what_is_being_read_is_told_to_retention() -> None:
    world = made(5)
    low, high = window(world)
    told: list[Any] = []

    def progress(facts: dict[str, Any]) -> None:
        told.extend(world.timeline.needs())

    which: dict[str, Any] = {"key": None, "prefix": None}
    world.run(world.timeline.diff(world.source, from_us=low, to_us=high, progress=progress, **which))
    assert {(one.table, one.at_us) for one in told} == {(world.source.table_id, low)}
    assert world.timeline.needs() == []


# --- history ---


@pytest.mark.parametrize("seed", range(3))
def test_a_history_folded_is_the_state_at_every_moment(seed: int) -> None:
    rng = random.Random(seed)
    world = made(seed, partitions=seed % 3 + 1)
    world.write(rng, 10)
    for number in range(0, KEYS, 3):
        report = history(world, number)
        versions = report["versions"]
        sample = world.sample_of(key_of(number))
        written = [one for one in sample.records if key_of(number) in one.data]
        assert [one["lsn"] for one in versions] == [one.lsn for one in written][::-1], "every version, newest first"
        assert (report["exit"], report["unproven"], report["more"]) == (0, [], False)
        for one in versions:
            assert one["object"] in world.objects.objects
            assert (one["op"] == "delete") == (one["item"] is None)
        for at in (*(parse_time(one["at"]) for one in versions), *(parse_time(one["at"]) - 1 for one in versions)):
            now = next((stored(one["item"]) for one in versions if parse_time(one["at"]) <= at), None)
            assert now == world.model(at).get(key_of(number))


def test_a_part_of_a_history_reads_a_part_of_the_segments() -> None:
    world = made(5, partitions=1, steps=120)
    whole = history(world, 1)["versions"]
    first, last = parse_time(whole[4]["at"]), parse_time(whole[1]["at"])
    report = history(world, 1, from_us=first, to_us=last)
    assert report["versions"] == whole[1:5]
    assert report["read"]["segments"] < len(world.objects_of(next(iter(world.samples.values())))) // 2
    newest = history(world, 1, limit=2)
    assert (newest["versions"], newest["more"]) == (whole[:2], True)
    assert newest["read"]["segments"] < report["read"]["of"] + 20
    with pytest.raises(Invalid):
        history(world, 1, limit=0)
    with pytest.raises(Invalid, match="ends before"):
        history(world, 1, from_us=last, to_us=first)


def test_an_answer_has_a_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = made(5, partitions=1, steps=160)
    end = window(world)[1]
    whole = history(world, 1, to_us=end)["versions"]
    sizes = [len(stored(one["item"]) or b"") for one in whole]
    assert len(whole) > 4
    for room in (1, sum(sizes[:3])):
        monkeypatch.setattr(jobs, "ANSWER_BYTES_MAX", room)
        report = history(world, 1, to_us=end)
        told = len(report["versions"])
        assert (report["versions"], report["more"]) == (whole[:told], True)
        assert told == 1 or sum(sizes[:told]) <= room


def test_segments_that_cannot_hold_the_key_are_not_read() -> None:
    """By the filters in their manifests: with them, and in an archive from before there were any, a history is the same."""
    world = made(5, partitions=1, steps=160)
    end = window(world)[1]
    segments = len(world.objects_of(next(iter(world.samples.values()))))
    told = {number: history(world, number, to_us=end) for number in range(0, KEYS, 4)}
    gets: list[str] = []
    get = world.objects.get

    async def watched(key: str) -> bytes:
        gets.append(key)
        return await get(key)

    world.objects.get = watched  # type: ignore[method-assign]
    for number, report in told.items():
        holding = {one["object"] for one in report["versions"]}
        read = report["read"]
        assert read["segments"] + read["skipped"] == read["of"]
        assert len(holding) <= read["segments"] <= len(holding) + 2, "a false alarm in a hundred"
        assert read["skipped"] > segments // 3
        gets.clear()
        history(world, number, to_us=end)
        assert len([one for one in gets if one.endswith(".seg")]) == read["segments"]
        assert len([one for one in gets if one.endswith(".json") and "/log/" in one]) <= read["segments"], "filters are kept"
    for key, _ in world.objects_of(next(iter(world.samples.values()))):
        where = build(key.twin())
        plain = replace(decode_manifest(world.objects.objects[where], where=where), keys=None)
        world.objects.objects[where] = encode_manifest(plain)
    world.restart()
    for number, report in told.items():
        again = history(world, number, to_us=end)
        assert (again["versions"], again["exit"]) == (report["versions"], 0)
        assert (again["read"]["segments"], again["read"]["skipped"]) == (again["read"]["of"], 0)


def test_what_keeps_a_filter_from_being_read_skips_nothing() -> None:
    world = made(5, partitions=1, steps=120)
    end = window(world)[1]
    (sample,) = world.samples.values()
    whole = history(world, 1, to_us=end)
    where = build(world.objects_of(sample)[-1][0].twin())
    key = key_of(1)
    segments = [one for one, _ in world.objects_of(sample)][::-1]
    fresh = KeyFilters(world.objects, world.env.tasks)
    absent = world.run(fresh.without(key, segments))
    assert len(absent) == whole["read"]["skipped"]
    world.objects.objects[where] = world.objects.objects[where][:-2]
    fresh = KeyFilters(world.objects, world.env.tasks)
    assert world.run(fresh.without(key, segments)) == absent - {segments[0]}
    small = KeyFilters(world.objects, world.env.tasks, bytes_kept=5 * ENTRY_BYTES)
    assert world.run(small.without(key, segments)) == absent - {segments[0]}
    assert len(small._kept) <= 5


def test_what_a_lost_key_keeps_shut_is_no_hole() -> None:
    facts = CoverageFacts("p", unread=[(5, 9, "under key 2027")])
    history = PartitionHistory(PartitionId("p"), "0" * 32, "", (), (), (), facts)
    holes = (Hole("p", 1, 4, None, None), Hole("p", 5, 9, None, None, no_key="under key 2027"))
    assert [(one["reason"], one["no_key"]) for one in holes_in(history, holes, from_us=0, to_us=9)] == [
        ("hole", None),
        ("no_key", "under key 2027"),
    ]


def test_a_hole_and_rot_are_said_and_the_rest_is_told() -> None:
    world = made(6, partitions=1, steps=120)
    (sample,) = world.samples.values()
    end = window(world)[1]
    whole = history(world, 1, to_us=end)["versions"]
    names = {name: key for key, name in world.objects_of(sample)}
    rotten = whole[0]["object"]
    world.objects.objects[rotten] = world.objects.objects[rotten][:-1] + b"x"
    lost = names[next(one["object"] for one in whole if one["object"] != rotten)]
    del world.objects.objects[build(lost)]
    del world.objects.objects[build(lost.twin())]
    world.restart()
    report = history(world, 1, to_us=end)
    assert report["exit"] == 3
    reasons = {one["reason"] for one in report["unproven"]}
    assert reasons == {"hole", "damaged"}
    assert {one["object"] for one in report["unproven"] if one["reason"] == "damaged"} == {rotten}
    assert next(one for one in report["unproven"] if one["reason"] == "hole")["first_lsn"] == lost.first
    expected = [one for one in whole if one["object"] not in (rotten, build(lost))]
    assert [one for one in report["versions"] if one["op"] != "base"] == expected


def test_a_base_tells_what_the_log_in_front_of_it_does_not() -> None:
    world = made(7, partitions=1, steps=60)
    (sample,) = world.samples.values()
    world.put(1, 5)
    world.put(2, None)
    world.seal_one(sample)
    world.snapshot(sample)
    at = sample.lsn
    world.put(1, 6)
    world.put(7, 1)
    world.seal_all()
    end = window(world)[1]
    wrote = next(one for one in reversed(sample.records[:at]) if key_of(1) in one.data)
    for key, name in world.objects_of(sample):
        if key.last <= at:
            del world.objects.objects[name]
            del world.objects.objects[build(key.twin())]
    world.restart()
    report = history(world, 1, to_us=end)
    assert report["exit"] == 3, "the beginning is gone and nobody said that it was to go"
    put, base = report["versions"]
    assert (put["op"], base["op"]) == ("put", "base")
    assert (base["lsn"], base["at"], base["item"]["v"]) == (wrote.lsn, utc_text(stamp_micros(wrote.stamp)), {"N": "5"})
    assert isinstance(parse(base["object"]), BaseKey)
    assert history(world, 2, to_us=end)["versions"] == []


def test_where_the_log_forks_is_said() -> None:
    """What is told is of the history that counts: the other one is there too, and says otherwise."""
    world = made(6, partitions=1, steps=60)
    (sample,) = world.samples.values()
    low = window(world)[0]
    other = copy.deepcopy(sample)
    for branch, version in ((sample, 1), (other, 2)):
        branch.write([Effect(Op.PUT, key_of(1), encode_item(item_of(1, version)))])
    first = sample.first
    world.archive(other, other.seal(agreed=(1, 2)))
    world.seal_one(sample)
    world.seal_one(sample)
    end = window(world)[1]
    for report in (history(world, 1, to_us=end), diff(world, low, end)[0], undo(world, low, end, confirm=False)):
        assert report["exit"] == 3
        assert [(one["reason"], one["first_lsn"]) for one in report["unproven"]] == [("fork", first)]


def test_an_end_that_does_not_come_to_the_archive_is_unproven() -> None:
    world = made(8)
    world.put(1, 77)
    world.archive_stuck = True

    async def never(partition: Any, lsn: Any, *, timeout_s: float) -> bool:
        await world.env.tasks.sleep(timeout_s)
        return False

    world.wait_archived = never  # type: ignore[method-assign]
    report = history(world, 1)
    assert report["exit"] == 3
    assert [one["reason"] for one in report["unproven"]] == ["archive_lags"]
    assert all(one["item"] is None or one["item"]["v"] != {"N": "77"} for one in report["versions"])


def test_what_another_partition_lacks_hides_nothing_of_this_key() -> None:
    world = made(9, partitions=2)
    holed = world.samples[min(world.source.partitions, key=lambda one: one.lo).partition_id]
    mine = next(number for number in range(KEYS) if world.sample_of(key_of(number)) is not holed)
    theirs = next(number for number in range(KEYS) if world.sample_of(key_of(number)) is holed)
    before = window(world)[1]
    world.put(theirs, 3)
    world.seal_one(holed)
    gone = world.objects_of(holed)[-1][0]
    world.put(theirs, 4)
    world.seal_one(holed)
    del world.objects.objects[build(gone)]
    del world.objects.objects[build(gone.twin())]
    world.restart()
    world.put(mine, 77)  # not archived yet
    report = history(world, mine)
    assert (report["exit"], report["unproven"], report["versions"][0]["item"]["v"]) == (0, [], {"N": "77"})
    _, (change,) = diff(world, before, None, key=key_json(mine))
    assert change["after"]["v"] == {"N": "77"}
    report = history(world, theirs)
    assert report["exit"] == 3
    assert [one["reason"] for one in report["unproven"]] == ["archive_lags", "hole"], "nor is it known what came behind the hole"


def test_a_base_is_read_though_the_log_behind_it_begins_after_the_moment() -> None:
    world = made(7, partitions=1)
    (sample,) = world.samples.values()
    world.seal_one(sample)
    world.snapshot(sample)
    at, moment = sample.lsn, stamp_micros(sample.stamp)
    world.put(1, 6)
    world.seal_all()
    for key, name in world.objects_of(sample):
        if key.last <= at:
            del world.objects.objects[name]
            del world.objects.objects[build(key.twin())]
    world.restart()
    (found,) = world.run(world.source_archive.look(world.source)).histories
    for upto in (at, None):
        (base,) = newest_first(found, from_us=0, upto_lsn=upto, to_cut=last_stamp_at(moment))
        key = parse(base.object)
        assert isinstance(key, BaseKey)
        assert key.lsn == at


def test_the_now_of_a_dropped_table_is_its_last_moment() -> None:
    world = made(4)
    low = window(world)[0]
    whole = history(world, 1)["versions"]
    _, changes = diff(world, low, None)
    world.seal_all()
    finals = tuple(
        FinalSeal(info.partition_id, sample.lsn, sample.stamp, sample.chain.hex(), sample.before.hex, sample.before.rows)
        for info in world.source.partitions
        for sample in (world.samples[info.partition_id],)
    )
    world.now_us += 1000
    world.source = msgspec.structs.replace(world.source, status="DROPPED", dropped_at=world.now_us, finals=finals)
    world.metas[world.source.table_id] = world.source
    world.now_us += 60_000_000
    end = utc_text(max(stamp_micros(one.stamp) for one in finals))
    report = history(world, 1)
    assert (report["exit"], report["to"], report["versions"]) == (0, end, whole)
    report, found = diff(world, low, None)
    assert (report["to"], found) == (end, changes)
    with pytest.raises(Unsafe, match="dropped"):
        undo(world, low, None)
    assert world.timeline.needs() == []


# --- undo ---


def bad_job(world: TimelineWorld) -> tuple[int, int]:
    """Half the table is spoilt: before, and behind it."""
    world.now_us += 1000
    first = world.now_us
    for number in range(0, KEYS, 2):
        world.put(number, None if number % 3 == 0 else 666)
    world.put(KEYS + 1, 666)
    second = world.now_us
    world.now_us += 400_000
    return first, second


@pytest.mark.parametrize("seed", range(2))
def test_an_undo_puts_back_what_was_there(seed: int) -> None:
    world = made(seed, partitions=seed % 2 + 1)
    before = world.live()
    first, second = bad_job(world)
    spoilt = world.live()
    planned = undo(world, first, second, confirm=False)
    assert (planned["exit"], planned["written"], world.live(), world.writes) == (0, False, spoilt, 0)
    done = undo(world, first, second)
    assert world.live() == before
    assert (done["exit"], done["totals"], done["conflicts"]) == (0, planned["totals"], [])
    assert done["totals"]["deleted"] >= 1
    assert done["totals"]["restored"] + done["totals"]["deleted"] == world.writes > 5
    again = undo(world, first, second)
    assert (again["exit"], again["totals"]["unchanged"], world.live()) == (0, world.writes, before)
    assert not world.disk.files
    assert [line for line in world.lines if line.startswith("undo of")], "it is noted in the server's log"


def test_what_was_written_since_stays() -> None:
    world = made(1)
    before = world.live()
    first, second = bad_job(world)
    world.put(2, 1000)
    planned = undo(world, first, second, confirm=False)
    assert (planned["exit"], planned["totals"]["conflicts"]) == (0, 1)
    report = undo(world, first, second)
    assert report["exit"] == 3
    assert report["totals"]["conflicts"] == 1
    (conflict,) = report["conflicts"]
    assert conflict["key"] == key_json(2)
    assert (conflict["expected"]["v"], conflict["found"]["v"]) == ({"N": "666"}, {"N": "1000"})
    assert stored(conflict["before"]) == before.get(key_of(2))
    live = world.live()
    assert live.pop(key_of(2)) != before.pop(key_of(2), None)
    assert live == before


def test_the_same_value_written_again_since_stays() -> None:
    """Who wrote it meant it: that it is what it was at the later moment does not make it that version."""
    world = made(1)
    first, second = bad_job(world)
    world.put(2, 666)
    world.put(4, 5)
    world.put(4, 666)
    spoilt = world.live()
    report = undo(world, first, second)
    assert (report["exit"], report["totals"]["conflicts"]) == (3, 2)
    assert [one["key"] for one in report["conflicts"]] == sorted(map(key_json, (2, 4)), key=lambda one: key_of(int(one["sk"]["N"])))
    assert all(one["expected"] == one["found"] for one in report["conflicts"])
    live = world.live()
    assert {key for key, item in live.items() if item == spoilt.get(key)} >= {key_of(2), key_of(4)}
    again = undo(world, first, second)
    assert (again["totals"]["conflicts"], again["totals"]["restored"]) == (2, 0)


def test_an_undo_that_was_cut_off_is_finished_by_the_next() -> None:
    world = made(2)
    before = world.live()
    first, second = bad_job(world)
    world.give_up_after = 4
    with pytest.raises(Unavailable) as cut:
        undo(world, first, second)
    assert sum(cut.value.fields["body"]["totals"].values()) == 4
    assert world.live() != before
    world.give_up_after = None
    report = undo(world, first, second)
    assert (report["exit"], report["totals"]["unchanged"]) == (0, 4)
    assert world.live() == before
    assert not world.disk.files


def test_a_write_that_nobody_told_of_is_not_a_conflict() -> None:
    world = made(3)
    before = world.live()
    first, second = bad_job(world)
    planned = undo(world, first, second, confirm=False)
    world.unknown = 3
    report = undo(world, first, second)
    assert (report["exit"], report["totals"]) == (0, planned["totals"])
    assert world.live() == before


def test_what_an_undo_holds_of_large_items_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoing, "BATCH_BYTES", 1)
    monkeypatch.setattr(undoing, "CONFLICT_BYTES", 1)
    world = made(1)
    first, second = bad_job(world)
    world.put(2, 1000)
    world.put(4, 1000)
    told: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"key": None, "prefix": None, "confirm": True}
    report = world.run(world.timeline.undo(world.source, from_us=first, to_us=second, progress=told.append, **asked))
    assert (report["exit"], report["totals"]["conflicts"], len(report["conflicts"])) == (3, 2, 1), "all are counted"
    steps = [facts["done"] for facts in told if facts["phase"] == "put back"]
    assert steps == list(range(1, sum(report["totals"].values()) + 1)), "one row at a time"


def test_only_what_was_chosen_is_put_back() -> None:
    world = made(4)
    first, second = bad_job(world)
    spoilt = world.live()
    report = undo(world, first, second, prefix={"pk": {"S": "p2"}})
    changed = {key for key in {*spoilt, *world.live()} if spoilt.get(key) != world.live().get(key)}
    assert changed
    assert changed <= {key_of(number) for number in range(KEYS) if number % 6 == 2}
    assert report["totals"]["restored"] + report["totals"]["deleted"] == len(changed)


# --- keys ---


def test_ranges_of_keys() -> None:
    text = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
    low, high = beginning(text, {"pk": {"S": "a"}, "sk": {"S": "2026-"}})
    assert high is not None
    assert (low[16:], high) == (b"2026-", low[:-1] + b".")
    assert Selection(low, high).holds(low + b"11")
    assert not Selection(low, high).holds(low[:16] + b"2027")
    one = one_key(text, {"pk": {"S": "a"}, "sk": {"S": "2026-"}})
    assert one.holds(low)
    assert not one.holds(low + b"1")
    for asked in (
        {},
        {"pk": {"N": "1"}},
        {"pk": {"S": ""}},
        {"pk": {"S": "a"}, "x": {"S": "a"}},
        {"pk": 7},
        {"pk": {"S": "a"}, "sk": {"N": "1"}},
    ):
        with pytest.raises(Invalid):
            beginning(text, asked)
    with pytest.raises(Invalid, match="not a key") as refused:
        beginning(KEY, {"pk": {"S": "a"}, "sk": {"N": "1"}})
    assert json.loads(refused.value.fields["asked"]) == {"pk": {"S": "a"}, "sk": {"N": "1"}}, "as it was asked, and can be asked again"
    world = made(1, partitions=3, steps=1)
    assert len(EVERYTHING.among(world.source.partitions)) == 3
    (info,) = one_key(KEY, key_json(1)).among(world.source.partitions)
    assert info.partition_id == world.sample_of(key_of(1)).partition
