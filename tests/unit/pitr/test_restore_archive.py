"""Restores from an archive of real segments and bases, through the real index, window, plan, rebuild and base upload."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from scrubjay.admin import restore_answer
from scrubjay.archiver.format.layout import SegmentKey, build, parse
from scrubjay.archiver.format.manifest import encode_manifest
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.bases import upload_base
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.errors import Unsafe
from scrubjay.base.hlc import last_stamp_at, stamp_micros
from scrubjay.base.ids import ClusterId, Lsn, NodeName, PartitionId, Stamp
from scrubjay.pitr.options import RestoreOptions
from scrubjay.pitr.service import RestoreService
from scrubjay.pitr.source import ArchiveSource
from scrubjay.pitr.target import RestoreTarget
from scrubjay.sim.lone import LoneDisk, LoneJobs, LoneStore
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.engine import TreeFile
from scrubjay.storage.btree.rowfile import RowFileWriter, read_rowfile
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Effect, Op, RecordKind, Seal
from scrubjay.storage.service_port import LoadedBase, SealPoint, Told
from tests.unit.archiver.sample import ATTACHED, CLUSTER, Sample
from tests.unit.pitr.restore_world import Killed, RestoreWorld, Rows, total_of
from tests.unit.scrubber.scrub_world import NODES, item_of, storage_key


class ArchivedWorld(RestoreWorld):
    """The source's partitions are Samples; everything archived is real bytes in the simulator's store."""

    def __init__(self, partitions: int = 2, seed: int = 1) -> None:
        self.objects = LoneStore()
        self.disk = LoneDisk()
        self.samples: dict[PartitionId, Sample] = {}
        super().__init__(partitions, seed)
        for info in self.source.partitions:
            sample = Sample(partition=info.partition_id, table=self.source.table_id, seed=seed)
            sample.facts = facts_of(ClusterId(CLUSTER), self.source, info)
            sample.stamp = Stamp(self.now_us << 12)
            self.samples[info.partition_id] = sample
            sample.append(RecordKind.SCHEMA, b"{}")
            self.now_us += 1000
            self.seal_one(sample, Seal.SCHEMA)

    def restart(self) -> RestoreService:
        super().restart()
        jobs: Any = LoneJobs(self.loop, self.objects, self.disk)
        disk: Any = self.disk
        source = ArchiveSource(
            self.env,
            jobs,
            disk,
            ArchiveIndex(self.objects, CLUSTER, tasks=self.env.tasks),
            url="memory://",
            writer=Writer(CLUSTER, ATTACHED),
        )
        self.source_archive = source
        world: Any = self
        options = RestoreOptions(archive_wait_s=10.0, lanes=2)
        self.service = RestoreService(self.env, world, source, options, max_offset_us=500_000, log=self.lines.append)
        return self.service

    def seal_one(self, sample: Sample, reason: int = Seal.AGE, *, archive: bool = True) -> None:
        self.catch_up(sample)
        segment = sample.seal(reason=reason)
        self.now_us = max(self.now_us, stamp_micros(sample.stamp) + 1)
        if archive:
            self.archive(sample, segment)

    def archive(self, sample: Sample, segment: Any) -> None:
        manifest, data = sample.manifest(segment)
        self.objects.objects[build(manifest.key())] = data
        self.objects.objects[build(manifest.key().twin())] = encode_manifest(manifest)

    def catch_up(self, sample: Sample) -> None:
        """The sample's clock follows the world's."""
        sample.stamp = Stamp(max(sample.stamp, (self.now_us << 12) - (1000 << 12)))

    def write(self, rng: random.Random, steps: int) -> None:
        for step in range(steps):
            self.now_us += rng.randrange(1, 5000)
            number = rng.randrange(30)
            key = storage_key(number)
            sample = next(
                self.samples[info.partition_id]
                for info in self.source.partitions
                if bytes.fromhex(info.lo) <= key[:16] and (not info.hi or key[:16] < bytes.fromhex(info.hi))
            )
            self.catch_up(sample)
            delete = rng.random() < 0.25
            sample.write([Effect(Op.DELETE, key, b"") if delete else Effect(Op.PUT, key, item_of(number, step))])
            self.now_us = max(self.now_us, stamp_micros(sample.stamp) + 1)
            if rng.random() < 0.2:
                self.seal_one(sample)

    def seal_all(self, rng: random.Random | None = None) -> None:
        for sample in self.samples.values():
            self.seal_one(sample)

    def model(self, at_us: int) -> Rows:
        rows: Rows = {}
        for sample in self.samples.values():
            lsn = max((one.lsn for one in sample.records if one.effective <= last_stamp_at(at_us)), default=0)
            rows.update(sample.states[lsn])
        return rows

    # ServicePort

    async def closed_point(self, partition: PartitionId) -> tuple[Stamp, Lsn, Lsn] | None:
        sample = self.samples[partition]
        content = [one.lsn for one in sample.records if one.kind.is_content]
        return Stamp((self.now_us - 200_000) << 12), Lsn(content[-1]), Lsn(sample.first - 1)

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        sample = self.samples[partition]
        self.seal_one(sample, reason, archive=False)
        return SealPoint(Lsn(sample.lsn), sample.stamp, Stamp(0))

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        await self.env.tasks.sleep(0.1)
        for segment in self.samples[partition].segments:
            if segment.last <= lsn:
                self.archive(self.samples[partition], segment)
        return True

    async def load_base(
        self,
        partition: PartitionId,
        *,
        rows: str,
        total: Total,
        tree: TreeFile | None = None,
        told: Told | None = None,
        done: Collection[NodeName] = (),
    ) -> LoadedBase:
        self.changing()
        file = self.disk.open(rows)
        loaded = list(read_rowfile(file.pread, file.size()))
        assert all((row.lsn, row.stamp) == (0, 0) for row in loaded), "a new table's rows were written by no record of its own"
        copies = self.copies.setdefault(partition, {})
        for node in NODES:
            copies.setdefault(node, {row.key: row.item for row in loaded})
        self.changing()
        return LoadedBase({node: total_of(copy) for node, copy in copies.items()}, {})


def archived(seed: int = 1, partitions: int = 2, steps: int = 60) -> ArchivedWorld:
    world = ArchivedWorld(partitions, seed)
    world.write(random.Random(seed), steps)
    world.seal_all()
    return world


def window(world: ArchivedWorld) -> tuple[int, int]:
    found = world.run(world.source_archive.look(world.source)).window
    assert found.earliest_us is not None
    assert found.latest_us is not None
    return found.earliest_us, found.latest_us


def restore(world: ArchivedWorld, asked: RestoreTarget, to: str = "new") -> dict[str, Any]:
    world.run(world.service.start(world.source, to, asked))
    world.finish()
    report: dict[str, Any] | None = world.service.status(to)
    assert report is not None
    return report


def test_where_the_log_forks_a_restore_says_so_and_one_before_it_does_not() -> None:
    """Two histories of the same records: what is restored is of the one that counts, published, and the answer is 2 and says where the other one begins."""
    world = archived(6, partitions=1)
    (sample,) = world.samples.values()
    before = window(world)[1]
    assert restore(world, RestoreTarget(at_us=before), "early")["forks"] == []
    other = copy.deepcopy(sample)
    for branch, version in ((sample, 1), (other, 2)):
        world.catch_up(branch)
        branch.write([Effect(Op.PUT, storage_key(1), item_of(1, version))])
    first = sample.first
    world.archive(other, other.seal(agreed=(1, 2)))
    world.seal_one(sample)
    world.seal_one(sample)
    target = RestoreTarget(at_us=window(world)[1])
    plan = world.run(world.service.plan(world.source, "other", target))
    fork = {"partition": sample.partition, "first_lsn": first, "epochs": plan["forks"][0]["epochs"]}
    assert (plan["exit"], plan["forks"], plan["error"]["code"]) == (2, [fork], "Forked")
    report = restore_answer(restore(world, target))
    assert (report["state"], report["verdict"], report["exit"], report["forks"]) == ("published", "match", 2, [fork])
    assert report["error"]["code"] == "Forked"
    assert str(first) in report["error"]["found"]
    assert world.restored(report["to_id"])[storage_key(1)] == item_of(1, 1)
    world.restart()
    assert restore_answer(world.service.status("new") or {})["exit"] == 2, "its notes say so too"
    early = world.service.status("early")
    assert early is not None
    assert (restore_answer(early)["exit"], early["error"]) == (0, None)
    plan = world.run(world.service.plan(world.source, "another", RestoreTarget(at_us=before)))
    assert (plan["exit"], plan["forks"], plan["error"]) == (0, [], None)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_restored_is_what_was_there(seed: int) -> None:
    rng = random.Random(seed)
    world = archived(seed, partitions=seed % 3 + 1)
    at = rng.randint(*window(world))
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["verdict"]) == ("published", "match"), report["error"]
    expected, found = world.model(at), world.restored(report["to_id"])
    assert (found.keys() - expected.keys(), expected.keys() - found.keys()) == (set(), set())
    assert found == expected
    assert report["digest"] == total_of(expected).hex
    assert not world.disk.files, "no file is left behind"
    assert report["bytes"] > 0
    assert report["requests"] > 0


def test_every_instant_around_one_record() -> None:
    world = archived()
    sample = max(world.samples.values(), key=lambda one: one.lsn)
    middle = [one for one in sample.records if one.kind == RecordKind.DATA][10]
    for number, at in enumerate(range(stamp_micros(middle.stamp) - 1, stamp_micros(middle.stamp) + 2)):
        report = restore(world, RestoreTarget(at_us=at), to=f"new{number}")
        assert world.restored(report["to_id"]) == world.model(at)
    assert world.model(stamp_micros(middle.stamp) - 1) != world.model(stamp_micros(middle.stamp))


def test_beyond_latest() -> None:
    world = archived()
    sample = next(iter(world.samples.values()))
    key = next(storage_key(n) for n in range(30) if storage_key(n) in sample.state)
    world.now_us += 500_000
    world.catch_up(sample)
    sample.write([Effect(Op.DELETE, key, b"")])
    world.now_us = at = stamp_micros(sample.stamp) + 5
    world.now_us += 100_000
    assert at > window(world)[1]
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["beyond_latest"]) == ("published", True), report["error"]
    assert key not in world.restored(report["to_id"])
    assert world.restored(report["to_id"]) == world.model(at)


def test_a_restored_table_can_be_restored_from_its_first_moment() -> None:
    """Its history begins with its base at LSN 0."""
    world = archived()
    at = window(world)[1]
    report = restore(world, RestoreTarget(at_us=at))
    first = world.restored(report["to_id"])
    world.source = world.metas[report["to_id"]]
    for info in world.source.partitions:
        rows = {key: item for key, item in first.items() if info.lo <= key[:16].hex() and (not info.hi or key[:16].hex() < info.hi)}
        sample = Sample(partition=info.partition_id, table=world.source.table_id, start_state=rows)
        sample.facts = facts_of(ClusterId(CLUSTER), world.source, info)
        sample.stamp = Stamp(world.now_us << 12)
        world.samples = {
            **{name: one for name, one in world.samples.items() if one.table == world.source.table_id},
            info.partition_id: sample,
        }
        sample.append(RecordKind.SCHEMA, b"{}")
        world.now_us = stamp_micros(sample.stamp) + 1
        world.seal_one(sample, Seal.SCHEMA)
    world.write(random.Random(3), 30)
    world.seal_all()
    earliest, latest = window(world)
    for to, moment in (("second", earliest), ("third", (earliest + latest) // 2), ("fourth", latest)):
        again = restore(world, RestoreTarget(at_us=moment), to=to)
        assert again["state"] == "published", again["error"]
        assert world.restored(again["to_id"]) == world.model(moment)
    assert world.model(earliest) == first


def test_a_hole_is_outside_the_window_and_named() -> None:
    world = archived(partitions=1)
    sample = next(iter(world.samples.values()))
    gone = sample.segments[len(sample.segments) // 2]
    for key in list(world.objects.objects):
        parsed = parse(key)
        if isinstance(parsed, SegmentKey) and parsed.first == gone.first:
            del world.objects.objects[key]
    at = stamp_micros(gone.last_stamp)
    with pytest.raises(Unsafe) as caught:
        world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    assert caught.value.fields["body"]["window"]["holes"][0]["first_lsn"] == gone.first
    assert restore(world, RestoreTarget(at_us=window(world)[1]))["state"] == "published"


def test_a_rotted_segment_fails_the_restore_and_publishes_nothing() -> None:
    world = archived(partitions=1)
    (sample,) = world.samples.values()
    lsn = max(one.lsn for one in sample.records if one.kind == RecordKind.DATA)
    target = next(build(made.key()) for made in sample.manifests() if made.first <= lsn <= made.last)
    sound = world.objects.objects[target]
    data = bytearray(sound)
    data[len(data) // 2] ^= 1
    world.objects.objects[target] = bytes(data)
    at = window(world)[1]
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], report["error"]["code"]) == ("failed", "Corrupt")
    assert target in report["error"]["found"]
    assert report["error"]["next"].startswith(f"scrubjay verify --table {world.source.name} ")
    assert world.published == []
    assert [(one["kind"], one["copy"], one["object"], one["found_by"]) for one in report["findings"]] == [
        ("unreadable", "archive", target, "read")
    ]
    assert [one.object for one in world.found] == [target], "the next scrub of the table tells of it too"
    assert restore_answer(report)["exit"] == 2
    world.restart()
    world.service.resume_unfinished()
    assert world.service.status("new") is not None
    assert world.service.status("new")["findings"] == report["findings"], "noted, over a restart"  # type: ignore[index]
    world.objects.objects[target] = sound
    world.now_us += 60_000_000
    world.run(world.service.resume("new"))
    world.finish()
    report = world.service.status("new") or {}
    assert (report["state"], restore_answer(report)["exit"], report["error"]) == ("published", 0, None)
    assert [one["object"] for one in report["findings"]] == [target], "what was met on the way stays told"
    assert world.restored(report["to_id"]) == world.model(at)


def test_a_segment_whose_object_is_gone_fails_the_restore_as_a_hole() -> None:
    world = archived(partitions=1)
    at = window(world)[1]
    world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
    target = next(build(made.key()) for made in world.samples[world.source.partitions[0].partition_id].manifests())
    world.kill_at = None
    del world.objects.objects[target]
    world.finish()
    report = world.service.status("new")
    assert report is not None
    assert (report["state"], restore_answer(report)["exit"]) == ("failed", 2), report["error"]
    assert world.published == []


def test_a_bad_generation_is_done_without_and_told_of() -> None:
    world = archived(partitions=1)
    (sample,) = world.samples.values()
    lsn = max(one.lsn for one in sample.records if one.kind == RecordKind.DATA)
    made = next(made for made in sample.manifests() if made.first <= lsn <= made.last)
    target = build(made.key())
    higher = made.key()._replace(generation=made.generation + 1)
    world.objects.objects[build(higher.twin())] = encode_manifest(replace(made, generation=higher.generation))
    world.objects.objects[build(higher)] = bytes(len(world.objects.objects[target]))
    at = window(world)[1]
    report = restore(world, RestoreTarget(at_us=at))
    assert (report["state"], restore_answer(report)["exit"]) == ("published", 0), report["error"]
    assert world.restored(report["to_id"]) == world.model(at)
    assert [one["object"] for one in report["findings"]] == [build(higher)]
    assert [one.object for one in world.found] == [build(higher)]


@pytest.mark.parametrize("point", range(1, 40, 3))
def test_killed_anywhere_it_is_carried_on_with_the_same_objects(point: int) -> None:
    world = archived()
    at = window(world)[1]
    world.kill_at = world.changes + point
    try:
        restore(world, RestoreTarget(at_us=at))
    except Killed:
        world.kill_at = None
        world.restart()
        world.service.resume_unfinished()
        if world.service.status("new") is None:
            world.run(world.service.start(world.source, "new", RestoreTarget(at_us=at)))
        world.finish()
    report = world.service.status("new")
    assert report is not None
    assert report["state"] == "published", report["error"]
    assert world.restored(report["to_id"]) == world.model(at)
    bases = [key for key in world.objects.objects if f"t={report['to_id']}" in key and key.endswith("manifest.json")]
    assert len(bases) == len(world.source.partitions), "one base per partition, however often it was begun"


@pytest.mark.parametrize("damage", ["flip", "lose"])
def test_a_base_that_rotted_is_done_without(damage: str) -> None:
    world = archived(partitions=1)
    at = window(world)[1]
    first = restore(world, RestoreTarget(at_us=at))
    world.source = world.metas[first["to_id"]]
    before = world.restored(first["to_id"])
    (info,) = world.source.partitions
    sample = Sample(partition=info.partition_id, table=world.source.table_id, start_state=before)
    sample.facts = facts_of(ClusterId(CLUSTER), world.source, info)
    sample.stamp = Stamp(world.now_us << 12)
    world.samples = {info.partition_id: sample}
    sample.append(RecordKind.SCHEMA, b"{}")
    world.seal_one(sample, Seal.SCHEMA)
    world.write(random.Random(3), 20)
    world.seal_all()
    later = write_base(world, sample)
    world.write(random.Random(4), 20)
    world.seal_all()
    part = later.replace("manifest.json", "rows-000000")
    if damage == "flip":
        data = bytearray(world.objects.objects[part])
        data[len(data) // 2] ^= 1
        world.objects.objects[part] = bytes(data)
    else:
        del world.objects.objects[part]
    moment = window(world)[1]
    report = restore(world, RestoreTarget(at_us=moment), to="second")
    assert report["state"] == "published", report["error"]
    assert world.restored(report["to_id"]) == world.model(moment)


def write_base(world: ArchivedWorld, sample: Sample) -> str:
    """What a scrub would: a base snapshot of the partition as it is now."""
    disk: Any = world.disk
    parts: list[bytes] = []
    writer = RowFileWriter(parts.append)
    for key in sorted(sample.state):
        writer.add(key, 1, 1, sample.state[key])
    total = writer.finish()
    world.disk.write_file("base", b"".join(parts))
    made = world.run(
        upload_base(
            world.objects,
            disk,
            "base",
            writer=ATTACHED,
            table=sample.table,
            partition=sample.partition,
            table_name=sample.facts.table_name,
            schema=sample.facts.schema,
            lo=sample.facts.lo,
            hi=sample.facts.hi,
            lsn=sample.lsn,
            stamp=sample.stamp,
            chain=sample.chain,
            total=total,
        )
    )
    world.disk.remove("base")
    return build(made.key())


def test_the_dropped_source_of_a_job_is_still_found() -> None:
    world = archived()
    dropped = msgspec.structs.replace(world.source, status="DROPPED", dropped_at=world.now_us)
    world.metas[dropped.table_id] = world.source = dropped
    report = restore(world, RestoreTarget(at_us=window(world)[1]), to="back")
    assert report["state"] == "published"
