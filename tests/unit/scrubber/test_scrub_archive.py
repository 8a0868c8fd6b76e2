"""The scrub against an archive of real segments, manifests and bases: what is planted in a copy or an object is found, named and, for one copy, healed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.archiver.coverage import path_to
from scrubjay.archiver.format.base import decode_base, encode_base
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import decode_manifest, encode_manifest
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.checksum import row_hash
from scrubjay.base.env import Env
from scrubjay.base.errors import Missing
from scrubjay.base.ids import ClusterId, Lsn, NodeName, PartitionId, Stamp, TableId
from scrubjay.scrubber.jobs import TRACE
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.rebuilt import ArchiveReferences
from scrubjay.scrubber.report import PartitionReport
from scrubjay.scrubber.run import scrub
from scrubjay.scrubber.shelves import StoreShelves
from scrubjay.scrubber.verdict import Verdict
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneJobs, LoneStore
from scrubjay.storage.archive_port import facts_of
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.log import record as records
from scrubjay.storage.log.digest import Total
from scrubjay.storage.log.record import Effect, Op, Seal
from scrubjay.storage.service_port import SealPoint
from tests.unit.archiver.sample import ATTACHED, CLUSTER, Sample
from tests.unit.scrubber.scrub_world import KEY, NODES, CopyModel, FakeStore, key_of, storage_key


def manifest_of(segment: str) -> str:
    key = parse(segment)
    assert isinstance(key, SegmentKey)
    return build(key.twin())


class ArchivedStore(FakeStore):
    """Copies follow a Sample's log; each seal is archived with real codecs."""

    def __init__(self, env: Env, table: TableMeta, sample: Sample, objects: LoneStore, disk: LoneDisk) -> None:
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
        self.loop = LoneHost()
        self.objects = LoneStore()
        self.disk = LoneDisk()
        sample = Sample()
        info = PartitionInfo(PartitionId(sample.partition), "00" * 16, "", ())
        table = TableMeta(
            table_id=TableId(sample.table), name="orders", status="ACTIVE", key=KEY, attributes=(), partitions=(info,), created_at=1
        )
        sample.facts = facts_of(ClusterId(CLUSTER), table, info)
        self.store = ArchivedStore(self.loop.env(), table, sample, self.objects, self.disk)
        sample.append(records.RecordKind.SCHEMA, b"{}")
        self.store.archive(Seal.SCHEMA)
        self.lsns: dict[int, int] = {}
        self.remembered: list[str] = []
        for n in range(writes):
            number = (n * 7) % 23
            self.lsns[number] = self.store.write(number, None if n % 9 == 8 else n)
            if n % 8 == 7:
                self.store.archive()
        jobs: Any = LoneJobs(self.loop, self.objects, self.disk)
        disk: Any = self.disk
        self.index = ArchiveIndex(self.objects, CLUSTER, tasks=self.loop)
        self.references = ArchiveReferences(
            self.loop.env(),
            jobs,
            disk,
            StoreShelves(self.objects, self.index, self.loop, known=self.known),
            url="memory://",
            writer=Writer(CLUSTER, ATTACHED),
        )

    async def known(self, prefix: str) -> list[str]:
        return [key for key in self.remembered if key.startswith(prefix)]

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


@pytest.mark.parametrize("damage", ["flip", "lose", "cut", "manifest", "lose manifest", "swap"])
def test_damage_in_the_archive_names_the_object(damage: str) -> None:
    world = World()
    target = world.segment_of(12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    objects = world.objects.objects
    named = build(parsed.twin()) if "manifest" in damage else target
    if damage in ("flip", "manifest"):
        data = bytearray(objects[named])
        data[len(data) // 2] ^= 4
        objects[named] = bytes(data)
    elif damage.startswith("lose"):
        del objects[named]
    elif damage == "cut":
        objects[target] = objects[target][:-10]
    else:
        objects[target] = objects[world.segment_of(25)]
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.copy, found.finding.object) == (2, "archive", named)
    assert found.finding.kind == ("hole" if damage.startswith("lose") else "unreadable")
    assert part.reason == "archive_damaged"
    assert world.store.model.heals == []
    (index,) = world.index.partitions.values()
    assert [(hole.first_lsn, hole.last_lsn) for hole in index.window().holes] == [(parsed.first, parsed.last)], "nobody goes by it any more"
    with pytest.raises(Missing):
        path_to(index.facts(), index.coverage(), stamp=Stamp(world.store.sample.stamp - 1))


def test_a_bad_generation_that_a_scrub_read_is_left_out_of_what_restores_read() -> None:
    world = World()
    target = world.segment_of(12)
    manifest = decode_manifest(world.objects.objects[manifest_of(target)], where=manifest_of(target))
    again = replace(manifest, generation=manifest.generation + 1)
    higher = build(again.key())
    world.objects.objects[build(again.key().twin())] = encode_manifest(again)
    world.objects.objects[higher] = bytes(len(world.objects.objects[target]))
    code, part = world.scrub()
    assert [(one.finding.kind, one.finding.object) for one in part.findings] == [("unreadable", higher)]
    assert code == 2
    (index,) = world.index.partitions.values()
    used = [build(row.key(CLUSTER, index.table, index.partition)) for row in index.best()]
    assert target in used
    assert higher not in used
    assert not index.window().holes


def test_the_search_for_a_record_stops_at_a_kind_of_a_later_version() -> None:
    """The older record would be the wrong answer: what the later kind did to the key is not known."""
    world = World()
    number = world.present()
    world.store.sample.append(records.RecordKind.UNKNOWN, b"{}")
    world.store.archive()
    jobs: Any = LoneJobs(world.loop, world.objects, world.disk)
    names = sorted((key for key in world.objects.objects if key.endswith(".seg")), reverse=True)
    arguments = {"url": "memory://", "keys": [storage_key(number)], "upto": 10**9}
    (place,) = world.loop.run(jobs.run(TRACE, {**arguments, "segments": names[1:]}))["places"]
    assert place[0] == world.lsns[number]
    assert world.loop.run(jobs.run(TRACE, {**arguments, "segments": names}))["places"] == [None]


@pytest.mark.parametrize("remembered", [False, True])
def test_a_hole_in_the_log_names_the_object_that_is_gone(remembered: bool) -> None:
    world = World()
    target = world.segment_of(12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    world.remembered = [target] if remembered else []
    for key in (target, build(parsed.twin())):
        del world.objects.objects[key]
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.kind, found.finding.lsn) == (2, "hole", parsed.first)
    assert found.finding.object is not None
    assert target.startswith(found.finding.object)
    assert (found.finding.object == target) == remembered


def test_a_forged_segment_with_sound_sums_is_named() -> None:
    """Another history of the same records: object and manifest check by themselves, but the chain does not go on."""
    world = World()
    target = world.segment_of(12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    forger = Sample(seed=99)
    forger.append(records.RecordKind.SCHEMA, b"{}")
    forger.seal(reason=Seal.SCHEMA)
    forger.random_write()
    forger.seal(reason=Seal.AGE)
    while forger.lsn + 1 < parsed.first:
        forger.random_write()
        if forger.lsn + 2 == parsed.first:
            forger.seal()
    while forger.lsn + 1 < parsed.last:
        forger.random_write()
    manifest, data = forger.manifest(forger.seal())
    assert (manifest.first, manifest.last) == (parsed.first, parsed.last)
    for key in (target, build(parsed.twin())):
        del world.objects.objects[key]
    world.objects.objects[build(manifest.key())] = data
    world.objects.objects[build(manifest.key().twin())] = encode_manifest(manifest)
    code, part = world.scrub()
    assert code == 2
    assert part.findings
    assert {one.finding.copy for one in part.findings} == {"archive"}
    assert "forged" in {one.finding.kind for one in part.findings}


def test_what_a_rebuild_will_read_is_known_before_it() -> None:
    """From what was seen last; and what nobody has looked at yet is not guessed."""
    world = World()
    (table,) = world.store.tables()
    info = table.partitions[0]
    assert world.references.cost(table, info, until=Lsn(1)) is None
    _, part = world.scrub()
    assert part.lsn is not None
    until = Lsn(part.lsn)
    world.loop.run(world.index.refresh(now_us=world.loop.wall_us()))
    cost = world.references.cost(table, info, until=until)
    reference = world.loop.run(world.references.rebuild(table, info, until=until, progress=None))
    assert cost is not None
    assert (cost.base_lsn, cost.stored, cost.raw) == (reference.base_lsn, reference.bytes, reference.base_raw + reference.log_raw)
    world.references.discard(reference)


@pytest.mark.parametrize("damage", ["flip", "lose", "manifest"])
def test_a_base_that_rotted_is_named_and_done_without(damage: str) -> None:
    world = World()
    code, part = world.scrub()
    assert code == 0
    assert part.base is not None
    objects = world.objects.objects
    rows = next(key for key in objects if isinstance(found := parse(key), BaseKey) and found.part == 0)
    named = part.base if damage == "manifest" else rows
    if damage == "lose":
        del objects[named]
    else:
        data = bytearray(objects[named])
        data[len(data) // 2] ^= 4
        objects[named] = bytes(data)
    code, part = world.scrub()
    (found_one,) = part.findings
    assert (code, found_one.finding.copy, found_one.finding.object, part.reason) == (2, "archive", named, "archive_damaged")
    assert [copy.verdict for copy in part.copies] == [Verdict.MATCH] * 4, "the log alone still proves the copies"


@pytest.mark.parametrize("lie", [{"table_name": "other"}, {"lo": "01" + "00" * 15}, {"total": Total(1, 1)}], ids=str)
def test_a_base_that_is_not_what_it_says_is_named_and_done_without(lie: dict[str, Any]) -> None:
    """All its sums fit. What is false of it, it says itself: the log behind it is not to blame."""
    world = World()
    assert world.scrub()[0] == 0
    world.store.write(3, 99)
    world.store.archive()
    objects = world.objects.objects
    where = next(key for key in objects if isinstance(found := parse(key), BaseKey) and found.part is None)
    base = decode_base(objects[where], where=where)
    if "total" in lie:  # that it is another state than the segment that ends there would be seen from the names alone
        for key in [key for key in objects if isinstance(found := parse(key), SegmentKey) and found.last <= base.lsn]:
            del objects[key]
        lie = {"total": Total(base.total.sum ^ 1, base.total.rows)}
    objects[where] = encode_base(replace(base, **lie))
    code, part = world.scrub()
    assert (code, part.reason) == (2, "archive_damaged")
    assert ("forged", where) in [(one.finding.kind, one.finding.object) for one in part.findings]
    if "total" not in lie:
        assert [copy.verdict for copy in part.copies] == [Verdict.MATCH] * 4, "the log alone still proves the copies"
        assert len(part.findings) == 1


@pytest.mark.parametrize("lose", ["segment", "manifest", "both", "first"])
def test_a_hole_below_the_newest_base_is_seen_by_name(lose: str) -> None:
    """The copies still match: the reference begins with the base. But the history behind it has a hole."""
    world = World()
    assert world.scrub()[0] == 0
    target = world.segment_of(1 if lose == "first" else 12)
    parsed = parse(target)
    assert isinstance(parsed, SegmentKey)
    for key in {"segment": [target], "manifest": [build(parsed.twin())]}.get(lose, [target, build(parsed.twin())]):
        del world.objects.objects[key]
    code, part = world.scrub()
    (found,) = part.findings
    assert (code, found.finding.kind, found.finding.lsn, part.reason) == (2, "hole", parsed.first, "archive_damaged")
    assert found.finding.object is not None
    assert (build(parsed.twin()) if lose == "manifest" else target).startswith(found.finding.object)
    assert [copy.verdict for copy in part.copies] == [Verdict.MATCH] * 4


def test_a_scrub_reads_only_what_is_behind_the_newest_base() -> None:
    world = World(writes=60)
    world.scrub()
    world.store.write(3, 99)
    world.store.archive()
    read: list[str] = []
    get = world.objects.get

    async def counted(key: str) -> bytes:
        read.append(key)
        return await get(key)

    world.objects.get = counted  # type: ignore[method-assign]
    code, _ = world.scrub()
    assert code == 0
    assert len({key for key in read if "/log/" in key}) == 4, "two segments and their manifests"


def test_archive_errors_are_what_the_finding_kinds_rest_on() -> None:
    world = World()
    with pytest.raises(Missing):
        world.loop.run(
            world.references.rebuild(world.store.tables()[0], world.store.tables()[0].partitions[0], until=Lsn(999), progress=None)
        )
