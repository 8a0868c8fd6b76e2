"""The scrub against an archive of real segments, manifests and bases: what is planted in a copy or an object is found, named and, for one copy, healed."""

from __future__ import annotations

from typing import Any

import pytest

from archiver.base import read_base_manifest
from archiver.layout import BaseKey, SegmentKey, build, parse
from archiver.manifest import decode_manifest, encode_manifest
from base.checksum import row_hash
from base.env import Env
from base.errors import Missing
from base.ids import Lsn, NodeName, PartitionId, Stamp, TableId
from scrubber.partition import ScrubOptions
from scrubber.rebuilt import ArchiveReferences, Shelf
from scrubber.report import PartitionReport
from scrubber.run import scrub
from scrubber.verdict import Verdict
from storage import record as records
from storage.control.catalogue import PartitionInfo, TableMeta
from storage.digest import Total
from storage.items.encoding import encode_item
from storage.record import Effect, Op, Seal
from storage.rowfile import read_rowfile
from storage.service_port import SealPoint
from tests.unit.archiver.sample import CLUSTER, Sample
from tests.unit.archiver.tiny_loop import MemoryDisk, MemoryJobs, MemoryStore, TinyLoop
from tests.unit.scrubber.scrub_world import KEY, NODES, CopyModel, FakeStore, key_of, storage_key


class ListedShelves:
    """Every object of a partition, the highest generation of each range."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def shelf(self, table: str, partition: str) -> Shelf:
        bases, segments = [], {}
        for key in sorted(self._store.objects):
            parsed = parse(key)
            if isinstance(parsed, BaseKey) and parsed.partition == partition and parsed.part is None:
                bases.append(await read_base_manifest(self._store, parsed))
            if isinstance(parsed, SegmentKey) and parsed.partition == partition and parsed.manifest:
                segments[parsed.first] = decode_manifest(await self._store.get(key), where=key)
        return Shelf(tuple(bases), tuple(segments[first] for first in sorted(segments)))


class ArchivedStore(FakeStore):
    """Copies follow a Sample's log; each seal is archived with real codecs."""

    def __init__(self, env: Env, table: TableMeta, sample: Sample, objects: MemoryStore, disk: MemoryDisk) -> None:
        super().__init__(env, [table])
        self.sample = sample
        self.objects = objects
        self.disk = disk
        (self.model,) = self.models.values()

    def write(self, number: int, version: int | None) -> int:
        item = encode_item({"pk": ("S", f"p{number}"), "sk": ("N", str(number)), "v": ("N", str(version))})
        key = storage_key(number)
        effect = Effect(Op.DELETE, key, b"") if version is None else Effect(Op.PUT, key, item)
        lsn = self.sample.write([effect]).lsn
        for copy in self.model.copies.values():
            if version is None:
                copy.rows.pop(key, None)
            else:
                copy.rows[key] = (item, lsn)
        return lsn

    def archive(self, reason: int = Seal.AGE) -> None:
        manifest, data = self.sample.manifest(self.sample.seal(reason=reason))
        self.objects.objects[build(manifest.key())] = data
        self.objects.objects[build(manifest.key().twin())] = encode_manifest(manifest)

    async def seal(self, partition: PartitionId, *, reason: int, tag: bytes = bytes(16)) -> SealPoint:
        self.archive(reason)
        self.model.lsn = self.sample.lsn
        return SealPoint(Lsn(self.sample.lsn), self.sample.stamp, Stamp(0))

    async def wait_archived(self, partition: PartitionId, lsn: Lsn, *, timeout_s: float) -> bool:
        return True

    async def heal(
        self, partition: PartitionId, node: NodeName, *, rows: str, lsn: Lsn, stamp: Stamp, total: Total, chain: bytes, reason: str
    ) -> str:
        assert chain == self.sample.chain
        assert stamp == self.sample.stamp
        file = self.disk.open(rows)
        good = {row.key: (row.item, int(row.lsn)) for row in read_rowfile(file.pread, file.size())}
        assert Total(sum(row_hash(key, item) for key, (item, _) in good.items()) % (1 << 128), len(good)) == total
        self.model.copies[node] = CopyModel(rows=good)
        return f"quarantine/{node}"


class World:
    def __init__(self, writes: int = 40) -> None:
        self.loop = TinyLoop()
        self.objects = MemoryStore()
        self.disk = MemoryDisk()
        sample = Sample()
        info = PartitionInfo(PartitionId(sample.partition), "00" * 16, "", ())
        table = TableMeta(
            table_id=TableId(sample.table), name="orders", status="ACTIVE", key=KEY, attributes=(), partitions=(info,), created_at=1
        )
        self.store = ArchivedStore(self.loop.env(), table, sample, self.objects, self.disk)
        sample.append(records.Kind.SCHEMA, b"{}")
        self.store.archive(Seal.SCHEMA)
        self.lsns: dict[int, int] = {}
        for n in range(writes):
            number = (n * 7) % 23
            self.lsns[number] = self.store.write(number, None if n % 9 == 8 else n)
            if n % 8 == 7:
                self.store.archive()
        jobs: Any = MemoryJobs(self.objects, self.disk)
        disk: Any = self.disk
        self.references = ArchiveReferences(self.loop.env(), jobs, disk, ListedShelves(self.objects), url="memory://", cluster=CLUSTER)

    @property
    def copies(self) -> dict[NodeName, CopyModel]:
        return self.store.model.copies

    def present(self) -> int:
        return next(n for n in range(23) if storage_key(n) in self.copies[NODES[0]].rows)

    def absent(self) -> int:
        return next(n for n in range(23) if storage_key(n) not in self.copies[NODES[0]].rows)

    def scrub(self) -> tuple[int, PartitionReport]:
        port: Any = self.store
        report = self.loop.run(scrub(self.loop.env(), port, self.references, None, ScrubOptions()))
        assert not self.disk.listdir("tmp/scrub"), "no file is left behind"
        (part,) = report.tables[0].partitions
        return report.exit_code, part

    def segment_of(self, lsn: int) -> str:
        for key in self.objects.objects:
            parsed = parse(key)
            if isinstance(parsed, SegmentKey) and not parsed.manifest and parsed.first <= lsn <= parsed.last:
                return key
        raise AssertionError(lsn)


def test_clean_then_base_then_clean_from_the_base() -> None:
    world = World()
    code, part = world.scrub()
    assert (code, part.verdict, part.findings) == (0, Verdict.MATCH, ())
    assert part.base in world.objects.objects
    world.store.write(3, 99)
    code, part = world.scrub()
    assert (code, part.base) == (0, None)


@pytest.mark.parametrize("kind", ["different", "lacking", "extra", "unreadable"])
@pytest.mark.parametrize("based", [False, True])
def test_a_fault_is_named_with_its_record_and_segment_and_healed(kind: str, based: bool) -> None:
    world = World()
    if based:
        assert world.scrub()[0] == 0
    number = world.absent() if kind == "extra" else world.present()
    key, copy = storage_key(number), world.copies[NODES[1]]
    if kind == "different":
        copy.rows[key] = (encode_item({"pk": ("S", "x")}), copy.rows[key][1])
    elif kind == "lacking":
        del copy.rows[key]
    elif kind == "extra":
        copy.rows[key] = (encode_item({"pk": ("S", f"p{number}"), "sk": ("N", str(number))}), 3)
    else:
        copy.bad.add(key)
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.kind, found.finding.copy, found.finding.action) == (2, kind, "n2", "healed")
    assert found.finding.key == key_of(number)
    if kind != "extra":
        assert (found.finding.lsn, found.finding.segment) == (world.lsns[number], world.segment_of(world.lsns[number]))
    assert world.scrub()[0] == 0


def test_an_extra_row_is_traced_to_the_delete_that_should_have_removed_it() -> None:
    world = World()
    number = world.present()
    gone = dict(world.copies[NODES[1]].rows)
    lsn = world.store.write(number, None)
    world.copies[NODES[1]].rows = gone
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.kind, found.finding.lsn) == (2, "extra", lsn)
    assert found.finding.segment == world.segment_of(lsn)


@pytest.mark.parametrize("damage", ["flip", "lose", "manifest", "swap"])
def test_damage_in_the_archive_names_the_object(damage: str) -> None:
    world = World()
    target = world.segment_of(12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    objects = world.objects.objects
    named = target
    if damage == "flip":
        data = bytearray(objects[target])
        data[len(data) // 2] ^= 4
        objects[target] = bytes(data)
    elif damage == "lose":
        del objects[target]
    elif damage == "manifest":
        named = build(parsed.twin())
        data = bytearray(objects[named])
        data[len(data) // 2] ^= 4
        objects[named] = bytes(data)
    else:
        objects[target] = objects[world.segment_of(25)]
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.copy, found.finding.object) == (2, "archive", named)
    assert found.finding.kind == {"flip": "unreadable", "lose": "hole", "manifest": "unreadable", "swap": found.finding.kind}[damage]
    assert part.reason == "archive_damaged"
    assert world.store.model.heals == []


def test_a_hole_in_the_log_is_a_hole() -> None:
    world = World()
    target = world.segment_of(12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    for key in (target, build(parsed.twin())):
        del world.objects.objects[key]
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.kind, found.finding.lsn) == (2, "hole", parsed.first)


def test_archive_errors_are_what_the_finding_kinds_rest_on() -> None:
    world = World()
    with pytest.raises(Missing):
        world.loop.run(
            world.references.rebuild(world.store.tables()[0], world.store.tables()[0].partitions[0], until=Lsn(999), progress=None)
        )
