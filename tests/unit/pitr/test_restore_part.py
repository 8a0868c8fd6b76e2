"""Restores of a part of a table: the rows that a model would choose, proven against the whole that they were chosen from; carried on after a death; refused where it is no part."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.base.errors import Conflict, Invalid
from scrubjay.pitr.part import ASKED_BYTES_MAX, PartAsked, part_of, unread_of
from scrubjay.pitr.target import RestoreTarget
from scrubjay.storage.catalogue import PartitionInfo
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.values import Item
from tests.unit.pitr.restore_world import Killed, Rows, total_of
from tests.unit.pitr.test_restore_archive import restore, window
from tests.unit.pitr.timeline_world import KEYS, TimelineWorld, key_json, key_of, made
from tests.unit.scrubber.scrub_world import KEY

BIG = {"where": "v > :v AND begins_with(#p, :p)", "names": {"#p": "pk"}, "values": {":v": {"N": "1"}, ":p": {"S": "p"}}}
PARTS: dict[str, tuple[dict[str, Any], Callable[[int, Item], bool]]] = {
    "keys": ({"keys": [key_json(number) for number in (1, 5, 8, 999)]}, lambda number, item: number in (1, 5, 8)),
    "prefix": ({"prefix": {"pk": {"S": "p3"}}}, lambda number, item: number % 6 == 3),
    "where": (BIG, lambda number, item: int(str(item["v"][1])) > 1),
    "nothing": ({"where": "attribute_exists(gone)"}, lambda number, item: False),
    "everything": ({"where": "attribute_exists(v)"}, lambda number, item: True),
    "both": ({"prefix": {"pk": {"S": "p1"}}, **BIG}, lambda number, item: number % 6 == 1 and int(str(item["v"][1])) > 1),
    "keys where": (
        {"keys": [key_json(number) for number in range(9)], **BIG},
        lambda number, item: number < 9 and int(str(item["v"][1])) > 1,
    ),
}


def chosen(rows: Rows, wanted: Callable[[int, Item], bool]) -> Rows:
    numbers = {key_of(number): number for number in range(KEYS)}
    return {key: item for key, item in rows.items() if wanted(numbers[key], decode_item(item))}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PARTS)
def test_the_rows_of_a_part_are_those_that_a_model_chooses(name: str, seed: int) -> None:
    rng = random.Random(seed)
    world = made(seed, partitions=seed % 3 + 1)
    asked, wanted = PARTS[name]
    at = rng.randint(*window(world))
    report = restore(world, RestoreTarget(at_us=at, part=PartAsked(**asked)))
    model = world.model(at)
    read = [info for info in world.source.partitions if info.partition_id not in unread_of(world.source, PartAsked(**asked))]
    whole = {key: item for key, item in model.items() if any(holds(info, key) for info in read)}
    expected = chosen(model, wanted)
    assert (report["state"], report["verdict"]) == ("published", "match"), report["error"]
    assert world.restored(report["to_id"]) == expected
    assert (report["rows"], report["digest"]) == (len(expected), total_of(expected).hex)
    assert report["part"] == {**asked, "of_rows": len(whole), "of_digest": total_of(whole).hex}
    assert not world.disk.files


def holds(info: PartitionInfo, key: bytes) -> bool:
    return bytes.fromhex(info.lo) <= key[:16] and (not info.hi or key[:16] < bytes.fromhex(info.hi))


@pytest.mark.parametrize("name", ["keys", "prefix", "where"])
def test_only_the_partitions_that_can_hold_a_part_are_read(name: str) -> None:
    """By the segments that are fetched. Of a condition alone nobody knows where its items lie: all is read."""
    world = made(7, partitions=4)
    asked = {"keys": {"keys": [key_json(2)]}, "prefix": {"prefix": {"pk": {"S": "p2"}}}, "where": BIG}[name]
    at = window(world)[1]
    (one,) = [info for info in world.source.partitions if holds(info, key_of(2))]
    fetched: list[str] = []
    get = world.objects.get

    async def counted(key: str) -> bytes:
        fetched.append(key)
        return await get(key)

    world.objects.get = counted  # type: ignore[method-assign]
    target = RestoreTarget(at_us=at, part=PartAsked(**asked))
    plan = world.run(world.service.plan(world.source, "new", target))
    report = restore(world, target)
    segments = [key for text in fetched if isinstance(key := parse(text), SegmentKey) and not key.manifest]
    read = {key.partition for key in segments}
    assert report["state"] == "published", report["error"]
    expected = {
        key: item
        for key, item in world.model(at).items()
        if (key == key_of(2) if name == "keys" else name == "prefix" and key[:16] == key_of(2)[:16])
    }
    if name == "where":
        assert read == {info.partition_id for info in world.source.partitions}
        assert plan["requests"] == report["requests"] > 2 * len(segments) / 4
        return
    assert expected, "there is something to find"
    assert world.restored(report["to_id"]) == expected
    assert read == {one.partition_id}
    assert [part["requests"] for part in plan["partitions"] if part["partition"] != one.partition_id] == [0, 0, 0]
    assert plan["requests"] == report["requests"] >= 2 * len(segments)
    assert report["part"]["of_rows"] == len([key for key in world.model(at) if holds(one, key)])


def test_the_leader_of_a_partition_that_is_not_read_is_not_asked() -> None:
    """A moment behind `latest`: only who may hold some of it has to seal, and to come to the archive."""
    world = made(7, partitions=4)
    for number in range(KEYS):
        world.put(number, 77)
    world.now_us += 1
    before = {partition: len(sample.segments) for partition, sample in world.samples.items()}
    report = restore(world, RestoreTarget(at_us=world.now_us, part=PartAsked(keys=[key_json(2)])))
    assert (report["state"], report["beyond_latest"]) == ("published", True), report["error"]
    assert decode_item(world.restored(report["to_id"])[key_of(2)])["v"] == ("N", "77")
    (one,) = [info.partition_id for info in world.source.partitions if holds(info, key_of(2))]
    assert [partition for partition, sample in world.samples.items() if len(sample.segments) > before[partition]] == [one]


def test_a_whole_restore_has_no_part() -> None:
    world = made(2)
    assert restore(world, RestoreTarget(at_us=window(world)[1]))["part"] is None
    plan = world.run(world.service.plan(world.source, "other", RestoreTarget(latest=True, part=PartAsked(**BIG))))
    assert plan["part"] == {**BIG, "of_rows": None, "of_digest": None}


@pytest.mark.parametrize("point", range(1, 24, 2))
def test_killed_at_any_point_the_same_part_is_carried_on(point: int) -> None:
    world = made(4)
    at = window(world)[1]
    asked, wanted = PARTS["both"]
    world.kill_at = world.changes + point
    with suppress(Killed):
        restore(world, RestoreTarget(at_us=at, part=PartAsked(**asked)))
    world.kill_at = None
    world.restart()
    world.service.resume_unfinished()
    world.finish()
    report = world.service.status("new")
    if report is None:  # it died before anything was noted
        report = restore(world, RestoreTarget(at_us=at, part=PartAsked(**asked)))
    assert report["state"] == "published"
    assert world.restored(report["to_id"]) == chosen(world.model(at), wanted)


def test_another_part_of_the_same_moment_is_another_restore() -> None:
    world = made(4)
    at = window(world)[1]
    first = restore(world, RestoreTarget(at_us=at, part=PartAsked(**BIG)))
    assert restore(world, RestoreTarget(at_us=at, part=PartAsked(**BIG)))["to_id"] == first["to_id"]
    for other in (None, PartAsked(where="attribute_exists(v)")):
        with pytest.raises(Conflict, match="another source, moment or part"):
            restore(world, RestoreTarget(at_us=at, part=other))


BAD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "two at once": {"keys": [key_json(1)], "prefix": {"pk": {"S": "p1"}}},
    "no keys": {"keys": []},
    "half a key": {"keys": [{"pk": {"S": "p1"}}]},
    "a key of another type": {"keys": [{"pk": {"N": "1"}, "sk": {"N": "1"}}]},
    "a prefix of the sort key alone": {"prefix": {"sk": {"N": "1"}}},
    "no expression": {"where": "v >"},
    "an empty one": {"where": ""},
    "a value that is not given": {"where": "v > :v"},
    "a value that is not used": {"where": "attribute_exists(v)", "values": {":v": {"N": "1"}}},
    "a value of no type": {"where": "v > :v", "values": {":v": 1}},
    "no values": {"where": "attribute_exists(v)", "values": {}},
    "values without an expression": {"prefix": {"pk": {"S": "p1"}}, "values": {":v": {"N": "1"}}},
    "too much": {"keys": [key_json(number) for number in range(ASKED_BYTES_MAX // 20)]},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_part_is_refused_before_anything_is_written(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        part_of(KEY, PartAsked(**BAD[name]))
    if name in ("half a key", "values without an expression"):
        assert isinstance(json.loads(refused.value.fields["asked"]), dict), "as it was asked, and can be asked again"
    if name == "half a key":
        world = made(1, steps=10)
        before = dict(world.metas)
        with pytest.raises(Invalid):
            world.run(world.service.start(world.source, "new", RestoreTarget(latest=True, part=PartAsked(**BAD[name]))))
        assert (world.metas, world.notes) == (before, {})


def test_a_rotten_whole_gives_no_part() -> None:
    """Every row is proven, also those that nobody asked for."""
    world: TimelineWorld = made(5, partitions=1)
    at = window(world)[1]
    for name in [one for one in world.objects.objects if isinstance(parse(one), BaseKey)]:
        del world.objects.objects[name]
    key, _ = world.objects_of(next(iter(world.samples.values())))[2]
    data = world.objects.objects[build(key)]
    world.objects.objects[build(key)] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    report = restore(world, RestoreTarget(at_us=at, part=PartAsked(keys=[key_json(1)])))
    assert report["state"] == "failed"
    assert [one["object"] for one in report["findings"]] == [build(key)]
