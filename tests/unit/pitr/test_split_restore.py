"""Restores and time travel across splits, over real segments: at every moment around a split, and through two generations, against the model of the same history."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.lineage import window_across
from scrubjay.base.errors import Corrupt, Unavailable, Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import ClusterId, PartitionId
from scrubjay.base.times import parse_time
from scrubjay.pitr.planning import Planning
from scrubjay.pitr.recover.parent import Parent
from scrubjay.pitr.target import RestoreTarget
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.catalogue import FinalSeal, PartitionInfo, SplitIntent, TableMeta, as_of, coming, splits_of, with_children
from scrubjay.storage.log.record import Record, RecordKind
from tests.unit.archiver.sample import CLUSTER, Sample
from tests.unit.pitr.restore_world import Rows
from tests.unit.pitr.test_restore_archive import restore, window
from tests.unit.pitr.test_timeline import diff, history, patched, undo
from tests.unit.pitr.timeline_world import KEYS, TimelineWorld, key_of


class SplitWorld(TimelineWorld):
    """ended: samples of the partitions that were split, by id. `samples` are those that live."""

    def __init__(self, partitions: int = 1, seed: int = 1) -> None:
        self.ended: dict[PartitionId, Sample] = {}
        super().__init__(partitions, seed)

    def split(self, info: PartitionInfo) -> int:
        """In the middle of its range, archived with the children's first segments. Returns the last microsecond of its history."""
        low, high = int(info.lo, 16), int(info.hi, 16) if info.hi else 1 << 128
        cut = f"{(low + high) // 2:032x}"
        ids = [PartitionId(f"9a471710-0000-4000-8000-{len(self.ended):04d}0000000{side}") for side in (1, 2)]
        parent = self.samples.pop(info.partition_id)
        self.ended[info.partition_id] = parent
        self.catch_up(parent)
        before = len(parent.segments)
        children = parent.split(cut, names=ids)
        table = msgspec.structs.replace(
            self.source, split=SplitIntent(f"{len(self.ended):032x}", info.partition_id, cut, ids[0], ids[1], self.now_us)
        )
        infos = coming(table)
        end = parent.segments[-1]
        self.note(
            with_children(table, FinalSeal(info.partition_id, end.last, end.last_stamp, end.chain.hex(), end.total.hex, end.total.rows))
        )
        for segment in parent.segments[before:]:
            self.archive(parent, segment)
        for child, its in zip(children, infos, strict=True):
            assert child.facts == facts_of(ClusterId(CLUSTER), self.source, its, born=child.born)
            self.samples[its.partition_id] = child
            for segment in child.segments:
                self.archive(child, segment)
        self.now_us = max(self.now_us, *(stamp_micros(child.stamp) + 1 for child in children))
        return stamp_micros(end.last_stamp)

    def records_of(self, sample: Sample) -> list[Record]:
        before = [] if sample.born is None else self.records_of(self.ended[sample.born.parent])
        return [*before, *sample.records]

    def note(self, table: TableMeta) -> None:
        self.source = self.metas[table.table_id] = table

    def model(self, at_us: int) -> Rows:
        rows: Rows = {}
        for info in as_of(self.source, at_us).partitions:
            sample = self.samples.get(info.partition_id) or self.ended[info.partition_id]
            lsn = max((one.lsn for one in sample.records if one.effective <= last_stamp_at(at_us)), default=sample.offset)
            rows.update(sample.state_at(lsn))
        return rows

    def lose(self, partition: PartitionId, number: int) -> None:
        sample = self.samples.get(partition) or self.ended[partition]
        for _, name in [self.objects_of(sample)[number]]:
            del self.objects.objects[name]
            key = parse(name)
            assert isinstance(key, SegmentKey)
            del self.objects.objects[build(key.twin())]


def split_world(seed: int, *, steps: int = 40) -> tuple[SplitWorld, list[int]]:
    """A table of one partition that is split, and its right child again. With it the last microseconds of the two that were split."""
    rng = random.Random(seed)
    world = SplitWorld(1, seed)
    world.write(rng, steps)
    ends = []
    for number in (0, -1):
        ends.append(world.split(world.source.partitions[number]))
        world.write(rng, steps)
    world.seal_all()
    return world, ends


def moments(ends: list[int]) -> list[int]:
    return [end + shift for end in ends for shift in (-1, 0, 1)]


def test_a_table_is_restored_to_before_at_and_after_a_split() -> None:
    world, ends = split_world(3)
    low, high = window(world)
    assert low < ends[0] < ends[1] < high
    for number, at in enumerate([low, *moments(ends), high]):
        report = restore(world, RestoreTarget(at_us=at), f"new{number}")
        assert (report["state"], report["verdict"]) == ("published", "match"), report["error"]
        assert world.restored(report["to_id"]) == world.model(at)
        before = sum(at > end for end in ends)
        assert len(world.metas[report["to_id"]].partitions) == 1 + before, "it has the partitions that the table had"
        assert not world.metas[report["to_id"]].former


def test_the_window_ends_with_the_parent_until_both_children_prove_more_and_a_hole_in_the_parent_is_the_tables() -> None:
    world, ends = split_world(4)
    seen = world.run(world.source_archive.look(world.source))
    assert seen.window.holes == ()
    assert len(seen.histories) == 5
    (left,) = [info.partition_id for info in world.source.partitions if not int(info.lo, 16)]
    objects = dict(world.objects.objects)
    for _, name in world.objects_of(world.samples[left]):
        del world.objects.objects[name]
        del world.objects.objects[name.removesuffix(".seg") + ".json"]
    assert world.run(world.source_archive.look(world.source)).window.latest_us == ends[0], "of one child nothing is there yet"
    world.objects.objects.clear()
    world.objects.objects.update(objects)
    parent = next(iter(world.ended))
    world.lose(parent, -1)
    found = world.run(world.source_archive.look(world.source)).window
    assert found.earliest_us is None or found.latest_us is None or not found.earliest_us <= ends[0] <= found.latest_us
    assert {hole.partition for hole in found.holes} >= {left}
    with pytest.raises((Unsafe, Unavailable)):
        world.run(world.service.plan(world.source, "new", RestoreTarget(at_us=ends[0])))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_diff_history_and_undo_go_across_splits(seed: int) -> None:
    world, ends = split_world(seed)
    low, high = window(world)
    places = sorted([low, ends[0] - 1, ends[0], ends[0] + 1, ends[1] + 1, high])
    for first, second in [*pairwise(places), (low, high), (ends[0] - 1, high), (low, ends[1] + 1)]:
        report, changes = diff(world, first, second)
        before, after = world.model(first), world.model(second)
        assert patched(before, changes) == after, (first, second)
        assert report["totals"]["same"] == sum(before.get(key) == item for key, item in after.items())
    for number in range(KEYS):
        told = [(one["lsn"], parse_time(one["at"])) for one in history(world, number, from_us=low, to_us=high)["versions"]]
        wrote = [
            (one.lsn, stamp_micros(one.stamp))
            for sample in (*world.ended.values(), *world.samples.values())
            for one in sample.records
            if one.kind == RecordKind.DATA and key_of(number) in one.data and stamp_micros(one.stamp) <= high
        ]
        assert told == sorted(wrote, reverse=True), number
    undo(world, ends[0] - 1, None)
    assert world.live() == world.model(ends[0] - 1)


def test_an_export_and_a_backup_see_the_table_as_it_was() -> None:
    """What both go by: plans as of a moment."""
    world, ends = split_world(5)
    for at in moments(ends):
        world_: Any = world
        planning = Planning(world.env, world_, world.source_archive, world.service._options, world.source, at_us=at)
        plan = world.run(planning.beyond())
        assert [one.partition for one in plan.partitions] == [info.partition_id for info in as_of(world.source, at).partitions]


def test_a_split_that_becomes_known_while_a_restore_is_planned_is_said() -> None:
    world, _ = split_world(6)
    now = world.source
    (last,) = [former for former in now.former or () if former.info.partition_id == now.former[-1].info.partition_id]  # type: ignore[index,union-attr]
    children = {last.split.left, last.split.right}
    earlier = msgspec.structs.replace(
        now,
        partitions=(*[info for info in now.partitions if info.partition_id not in children], last.info),
        former=tuple(one for one in now.former or () if one is not last),
    )
    world_: Any = world
    planning = Planning(world.env, world_, world.source_archive, world.service._options, earlier, at_us=last.closed_us + 1)
    with pytest.raises(Unavailable, match="split at that very moment"):
        world.run(planning.once({}))
    assert window_across({}, splits_of(now)).latest_us is None


def test_a_recovery_goes_by_the_logs_where_the_catalogue_had_not_heard_yet() -> None:
    """As of a moment behind SPLIT at which the map still named the parent: the children hold what was written then. Before it, the parent."""
    world, ends = split_world(7)
    now = world.source
    assert now.former
    last = now.former[-1]
    children = {last.split.left, last.split.right}
    heard = (*[info for info in now.partitions if info.partition_id not in children], last.info)
    earlier = msgspec.structs.replace(now, partitions=heard, former=now.former[:-1], split=last.split)
    disk: Any = world.disk
    parent = Parent(world.env, world.objects, disk, CLUSTER, ahead_us=5_000_000)
    world.run(parent.index.refresh(now_us=world.now_us + 10_000_000))
    assert parent._split_by(earlier, ends[1]) == earlier
    by_logs = parent._split_by(earlier, ends[1] + 1)
    assert {info.partition_id for info in by_logs.partitions} == {info.partition_id for info in now.partitions}
    assert not by_logs.split
    for info in by_logs.partitions:
        world.run(parent.check_schema(by_logs, info, None))
    lied = msgspec.structs.replace(by_logs, attributes=(("other", "S"),))
    with pytest.raises(Corrupt, match="different things"):
        world.run(parent.check_schema(lied, by_logs.partitions[0], None))
