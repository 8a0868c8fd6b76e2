"""Packs as objects, and how they are read: bytes and manifest, what lies about its parts, rot in object, manifest and one part, a manifest that is lost, a part that is gone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrubjay.archiver.compact.make import Made, make_pack
from scrubjay.archiver.format import canonical, segment
from scrubjay.archiver.format.day import missed
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import PackManifest, Sums, decode_directory, decode_manifest, directory_of, encode_manifest
from scrubjay.archiver.format.segment import decode_segment
from scrubjay.archiver.read.check import SegmentToCheck, check_segments
from scrubjay.archiver.read.names import list_all
from scrubjay.archiver.read.objects import read_segment
from scrubjay.archiver.read.reader import read_records
from scrubjay.base.errors import Corrupt, Missing
from scrubjay.storage.log.record import Record
from tests.fixtures.golden import Golden
from tests.unit.archiver.compact_world import CompactWorld
from tests.unit.archiver.sample import ATTACHED, history
from tests.unit.archiver.small_archive import SmallArchive
from tests.unit.archiver.test_archive_golden import plain


def made(segments: int = 5, *, generation: int = 1) -> tuple[SmallArchive, Made]:
    """The first partition of a small archive, its segments but the last in one pack."""
    archive = SmallArchive(segments=segments)
    keys = [one.key() for one in archive.samples[0].manifests()[:-1]]
    return archive, archive.loop.run(make_pack(archive.store, keys, writer=ATTACHED, node="n1", generation=generation))


def test_pack_golden(golden: Golden) -> None:
    sample = history(seed=43, segments=3, writes=4)
    archive = SmallArchive(segments=1)
    archive.store.objects.update(sample.objects())
    keys = [one.key() for one in sample.manifests()]
    found = archive.loop.run(make_pack(archive.store, keys, writer=ATTACHED, node="n1", generation=1))
    if golden.rewrite or not golden.path("v3/archive/pack.seg").exists():
        golden.check("v3/archive/pack.seg", found.data)
    stored = golden.read("v3/archive/pack.seg")
    # Compressed bytes may differ from one zstd to the next; what they decode to may not.
    there = decode_segment(stored, where="golden")
    assert there.raw == b"".join(sample.raw(one) for one in sample.segments)
    assert there.directory == directory_of(found.manifest)
    golden.check("v3/archive/pack-directory.json", there.directory)
    manifest = dataclasses.replace(
        found.manifest,
        stored=Sums.of(stored),
        parts=tuple(dataclasses.replace(one, stored=Sums.of(stored)) for one in found.manifest.parts),
    )
    golden.check("v3/archive/pack.json", encode_manifest(manifest))
    again = decode_manifest(golden.read("v3/archive/pack.json"), where=build(manifest.key().twin()))
    assert again == manifest
    assert decode_directory(there.directory, stored=Sums.of(stored), where=build(manifest.key())) == manifest
    golden.check_json("v3/archive/pack.decoded.json", plain(again))


def test_the_page_says_where_the_directory_is() -> None:
    page = Path("docs/formats/pack.md").read_text()
    at = [int(line.split("|")[1]) for line in page.splitlines() if line.startswith("| 1")]
    assert at == [segment.HEADER.size - 12, segment.HEADER.size - 8]
    _, pack = made()
    for name in json.loads(encode_manifest(pack.manifest))["parts"][0]:
        assert f"`{name}`" in page
    top = segment.decode_head(pack.data, where="x")
    assert pack.data[segment.HEADER.size : segment.HEADER.size + top.directory_size] == directory_of(pack.manifest)


def test_a_pack_is_read_as_its_parts() -> None:
    archive, pack = made()
    sample = archive.samples[0]
    assert [(one.first, one.last, one.chain) for one in pack.manifest.each()] == [
        (one.first, one.last, one.chain) for one in sample.segments[:-1]
    ]
    raw = decode_segment(pack.data, where="x").raw
    assert [piece for _, piece in pack.manifest.pieces(raw)] == [sample.raw(one) for one in sample.segments[:-1]]
    put(archive, pack)

    async def all_of() -> list[Record]:
        return [one async for one in read_records(archive.store, [pack.manifest, sample.manifests()[-1]], first=3)]

    assert archive.loop.run(all_of()) == sample.records[2:]
    assert archive.loop.run(check_segments(archive.store, [SegmentToCheck(pack.manifest, 0)], deep=True)) == []


def put(archive: SmallArchive, pack: Made) -> None:
    archive.store.objects[build(pack.manifest.key())] = pack.data
    archive.store.objects[build(pack.manifest.key().twin())] = encode_manifest(pack.manifest)


def lies(fields: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """Ways in which a manifest of a pack can say what is not true, each consistent in itself but for the chain or the sums."""
    parts = fields["parts"]

    def content() -> None:
        parts[1]["content"] -= 1
        fields["content"] -= 1

    def swapped() -> None:
        parts[1]["raw"]["sha256"], parts[2]["raw"]["sha256"] = parts[2]["raw"]["sha256"], parts[1]["raw"]["sha256"]

    def fewer() -> None:
        del parts[1]

    def longer() -> None:
        parts[1]["last"] += 1

    def back() -> None:
        parts[2]["first_stamp"] = parts[1]["first_stamp"]

    def state() -> None:
        parts[1]["digest"]["rows"] += 1

    def closed() -> None:
        parts[1]["seal"]["closed"] = "0" * 16

    def alone() -> None:
        parts[1]["members"] = [1]

    def sum_() -> None:
        fields["content"] += 1

    def end() -> None:
        fields["digest"]["after"]["rows"] += 1

    def one() -> None:
        del parts[1:]

    return {f.__name__: f for f in (content, swapped, fewer, longer, back, state, closed, alone, sum_, end, one)}


@pytest.mark.parametrize("lie", ["content", "swapped", "fewer", "longer", "back", "state", "closed", "alone", "sum_", "end", "one"])
def test_what_a_pack_says_of_its_parts_cannot_be_altered(lie: str) -> None:
    _, pack = made()
    where = build(pack.manifest.key().twin())
    fields = json.loads(encode_manifest(pack.manifest))
    del fields["checksum"], fields["mac"]
    decode_manifest(canonical.encode(fields), where=where)  # negative control: as it is
    lies(fields)[lie]()
    with pytest.raises(Corrupt):
        decode_manifest(canonical.encode(fields), where=where)


def test_every_bit_of_a_pack_is_under_a_checksum() -> None:
    _, pack = made()
    size = segment.HEADER.size + len(directory_of(pack.manifest))
    for at in [*range(0, size, 7), *range(size, len(pack.data), 11), len(pack.data) - 1]:
        spoilt = bytearray(pack.data)
        spoilt[at] ^= 4
        with pytest.raises(Corrupt):
            decode_segment(bytes(spoilt), where="x")


def test_a_part_that_holds_other_records_is_found_by_reading_them() -> None:
    """The sums of the object are right, and so is the pack's raw hash: the parts' own hashes are not of these bytes."""
    archive, pack = made()
    parts = list(pack.manifest.parts)
    first = dataclasses.replace(parts[1], raw=dataclasses.replace(parts[1].raw, sha256="f" * 64))
    forged = dataclasses.replace(pack.manifest, parts=(parts[0], first, *parts[2:]))
    put(archive, pack)
    found = archive.loop.run(check_segments(archive.store, [SegmentToCheck(forged, 0)], deep=True))
    assert [(one.kind, one.lsn) for one in found] == [("forged", parts[1].first)]


# --- in an archive ---


def compacted(*, days: int = 3, per_day: int = 6) -> CompactWorld:
    world = CompactWorld()
    world.trickle(days, per_day=per_day)
    assert world.compact().exit == 0
    return world


def test_rot_in_a_pack_is_found_and_named() -> None:
    world = compacted()
    objects = world.store.objects
    for pack in world.packs():
        for name in (build(pack.key()), build(pack.key().twin())):
            sound = objects[name]
            for at in (9, len(sound) // 2, len(sound) - 3):
                objects[name] = sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :]
                for level in ("objects", "replayed"):
                    assert name in {one.object for one in world.verify(level).findings}, f"{name}, byte {at}, {level}"
            objects[name] = sound
    assert world.verify().findings == []


def test_a_lost_pack_is_a_hole_with_its_name() -> None:
    world = compacted()
    pack = world.packs()[0]
    sound = {name: world.store.objects.pop(name) for name in (build(pack.key()), build(pack.key().twin()))}
    holes = world.coverage().window.holes
    assert [(one.first_lsn, one.last_lsn) for one in holes] == [(pack.first, pack.last)]
    findings = world.verify(noted=lambda: [build(pack.key())]).findings
    assert findings
    assert {one.kind for one in findings} == {"hole"}
    world.store.objects.update(sound)
    assert world.verify().findings == []


@pytest.mark.parametrize("how", ["lost", "rotten"])
def test_a_pack_without_its_manifest_names_its_parts_itself(how: str) -> None:
    world = compacted()
    before = world.coverage()
    pack = world.packs()[0]
    told = build(pack.key().twin())
    sound = world.store.objects.pop(told)
    if how == "rotten":
        world.store.objects[told] = sound[:50] + b"x" + sound[51:]
    index = world.new_index()
    for _ in range(2):  # a second look goes on saying it
        world.loop.run(index.refresh(now_us=world.now_us, archived=world.archived()))
        found = index.partitions[world.sample.table, world.sample.partition]
        assert found.coverage() == before
        assert [one.object for one in found.problems] == [told]
    for at_us in (world.now_us - 1000, world.now_us - 2 * 86_400_000_000 - 7_000_000):
        assert world.restored(at_us) == world.state_at(at_us)
    assert {one.object for one in world.verify().findings} == {told}
    if how == "lost":
        world.store.objects[told] = sound
        world.loop.run(index.refresh(now_us=world.now_us, archived=world.archived()))
        assert not index.partitions[world.sample.table, world.sample.partition].problems


def test_a_reader_whose_segment_was_packed_meanwhile_finds_it_in_the_pack() -> None:
    world = CompactWorld()
    world.trickle(3, per_day=6)
    keys = [one.key() for one in world.sample.manifests()]
    manifests = world.sample.manifests()
    assert world.compact().exit == 0
    for wanted in (*keys, *manifests):
        manifest, raw, bad = world.loop.run(read_segment(world.store, wanted))
        one = next(sealed for sealed in world.sample.segments if sealed.first == manifest.first)
        assert (manifest.last, manifest.chain, raw, bad) == (one.last, one.chain, world.sample.raw(one), [])
    pack = world.packs()[0]
    with pytest.raises(Missing):  # negative control: of other content, or of no pack
        world.loop.run(read_segment(world.store, pack.parts[0].own_key()._replace(sha16="0" * 16)))
    del world.store.objects[build(pack.key())]
    with pytest.raises(Missing):
        world.loop.run(read_segment(world.store, keys[1]))


def test_one_row_of_a_pack_is_as_the_segment_was() -> None:
    world = CompactWorld()
    world.trickle(2, per_day=6)
    before = {(row.first, row.last): row for row in world.afresh().rows}
    assert world.compact().exit == 0
    after = world.afresh()
    for row in after.rows:
        assert row._replace(pack=None, stored=0) == before[row.first, row.last]._replace(stored=0)
    sizes = {name: size for name, size in world.loop.run(list_all(world.store, "")).items() if name.endswith(".seg")}
    assert sum(row.stored for row in after.rows) == sum(sizes.values())
    assert missed([build(one.key()) for one in world.sample.manifests()], dict.fromkeys(world.keys("log"), 0)) == []


def test_a_restore_reads_a_pack_once_and_skips_what_it_needs_not() -> None:
    """Also across a base that came to lie inside a pack: rows of every part are there."""
    world = CompactWorld()
    world.trickle(3, per_day=6)
    inside = world.sample.segments[9]
    assert world.compact().exit == 0
    assert isinstance(world.packs()[0], PackManifest)
    assert any(one.first <= inside.first and inside.last < one.last for one in world.packs()), "it lies inside one"
    world.base(inside.last)
    assert not world.coverage().astray
    assert world.verify().findings == []
    for number in (8, 9, 10, 14):
        sealed = world.sample.segments[number]
        at_us = sealed.last_stamp >> 12
        assert world.restored(at_us) == world.state_at(at_us)
