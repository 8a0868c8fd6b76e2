"""Golden files of the archive's formats, and the field tables of their pages against the code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scrubjay.archiver.format import base, closed, expired, identity, pin, segment
from scrubjay.archiver.format.base import BaseManifest, BaseOrigin, decode_base, encode_base
from scrubjay.archiver.format.closed import ClosedObject, decode_closed, encode_closed
from scrubjay.archiver.format.expired import ExpiredObject, decode_expired, encode_expired
from scrubjay.archiver.format.former import CutGroup, Former, FormerMember, decode_former, encode_former
from scrubjay.archiver.format.identity import Attached
from scrubjay.archiver.format.layout import BaseKey, EpochKey, FormerKey, IdentityKey, build
from scrubjay.archiver.format.manifest import Sums, Superseded, decode_manifest, encode_manifest
from scrubjay.archiver.format.pin import BackupPin, PinEnd, decode_pin, encode_pin
from scrubjay.archiver.format.segment import SegmentHead, decode_segment, encode_segment
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId
from scrubjay.storage.archive_port import ClosedPoint
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta, Throughput
from scrubjay.storage.log.digest import Total
from tests.docs.format_tables import assert_layout, find_table
from tests.fixtures.golden import Golden
from tests.unit.archiver.sample import CLUSTER, OWNER, PARTITION, START_US, TABLE, history


def plain(value: Any) -> Any:
    """A decoded object as JSON. Without `born` where there is none: manifests were written before there were splits."""
    if isinstance(value, bytes):
        return value.hex()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {name: one for name, one in fields.items() if name != "born" or one is not None}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def test_field_tables() -> None:
    page = "docs/formats/segment.md"
    assert_layout(find_table(page, "Header"), segment.HEADER)
    assert_layout(find_table(page, "Frame"), segment.FRAME)
    assert_layout(find_table(page, "Trailer"), segment.TRAILER)


def test_segment_and_manifest(golden: Golden) -> None:
    sample = history(seed=42, segments=2, writes=5)
    manifest, _ = sample.manifest(sample.segments[1])
    data = golden.path("v2/archive/segment.seg")
    if golden.rewrite or not data.exists():
        golden.check("v2/archive/segment.seg", sample.manifest(sample.segments[1])[1])
    stored = golden.read("v2/archive/segment.seg")
    # Compressed bytes may differ from one zstd to the next; what they decode to may not.
    found = decode_segment(stored, where="golden")
    assert found.raw == sample.raw(sample.segments[1])
    golden.check_json("v2/archive/segment.json", plain(found.head) | {"raw": found.raw.hex(), "raw_sha256": found.raw_sha256.hex()})
    manifest = dataclasses.replace(
        manifest, stored=Sums.of(stored), supersedes=(Superseded(1, "segment frame checksum differs"),), generation=2
    )
    assert manifest.keys is not None
    golden.check("v2/archive/manifest-keys.json", encode_manifest(manifest))
    golden.check_json("v2/archive/manifest-keys.decoded.json", plain(manifest))
    manifest = dataclasses.replace(manifest, keys=None)  # as it was before there were filters
    golden.check("v2/archive/manifest.json", encode_manifest(manifest))
    again = decode_manifest(golden.read("v2/archive/manifest.json"), where=build(manifest.key().twin()))
    assert again == manifest
    golden.check_json("v2/archive/manifest.decoded.json", plain(again))


def test_manifests_of_a_child(golden: Golden) -> None:
    """Of a partition that came of a split: how it began stands in every one (ADR 0078)."""
    parent = history(seed=42, segments=2, writes=5)
    child, _ = parent.split(names=("9a471710-0000-4000-8000-00000000000a", "9a471710-0000-4000-8000-00000000000b"))
    manifest = dataclasses.replace(child.manifest(child.segments[0])[0], stored=Sums(300, "01234567", "ab" * 32))
    golden.check("v2/archive/manifest-child.json", encode_manifest(manifest))
    again = decode_manifest(golden.read("v2/archive/manifest-child.json"), where=build(manifest.key().twin()))
    assert again == manifest
    assert again.born == child.born
    golden.check_json("v2/archive/manifest-child.decoded.json", plain(again))
    made = BaseManifest(
        cluster=CLUSTER, table=TABLE, partition=child.partition, table_name="orders", schema='{"key":{}}', lo=child.lo, hi=child.hi, lsn=manifest.last,
        stamp=manifest.last_stamp, chain=manifest.chain, total=manifest.total, file=Sums(17, "deadbeef", "ef" * 32), parts=(Sums(17, "deadbeef", "ef" * 32),),
        generation=1, epoch=1, owner=OWNER, born=child.born,
    )  # fmt: skip
    golden.check("v2/archive/base-child.json", encode_base(made))
    assert decode_base(golden.read("v2/archive/base-child.json"), where=build(made.key())) == made
    born = child.born
    assert born is not None
    lies = [
        born._replace(lsn=Lsn(born.lsn + 1)), born._replace(chain=bytes(32)), born._replace(total=Total(1, born.total.rows)),
        born._replace(parent=PartitionId(child.partition)), born._replace(stamp=manifest.first_stamp),
    ]  # fmt: skip
    for lie in lies:
        with pytest.raises(Corrupt):
            decode_manifest(encode_manifest(dataclasses.replace(manifest, born=lie)), where=build(manifest.key().twin()))
    for lie in (born._replace(lsn=Lsn(made.lsn + 1)), born._replace(lsn=Lsn(made.lsn))):
        with pytest.raises(Corrupt):
            decode_base(encode_base(dataclasses.replace(made, born=lie)), where=build(made.key()))


def test_what_is_not_compressed_never_changes(golden: Golden) -> None:
    """Header and trailer are ours to the byte."""
    stored = golden.read("v2/archive/segment.seg")
    found = decode_segment(stored, where="golden")
    now = encode_segment(SegmentHead(*found.head), found.raw)
    assert now[: segment.HEADER.size] == stored[: segment.HEADER.size]
    assert now[-segment.TRAILER.size :] == stored[-segment.TRAILER.size :]


def test_base(golden: Golden) -> None:
    parts = (Sums(33554432, "01234567", "ab" * 32), Sums(17, "89abcdef", "cd" * 32))
    made = BaseManifest(
        cluster=CLUSTER, table=TABLE, partition=PARTITION, table_name="ördérs", schema='{"key":{}}', lo="00" * 16, hi="80" + "00" * 15, lsn=0, stamp=0,
        chain=bytes(32), total=Total(1 << 127, 12), file=Sums(33554449, "deadbeef", "ef" * 32), parts=parts, generation=1, epoch=3, owner=OWNER,
        origin=BaseOrigin(CLUSTER, TABLE, (PARTITION,), START_US),
    )  # fmt: skip
    golden.check("v2/archive/base.json", encode_base(made))
    again = decode_base(golden.read("v2/archive/base.json"), where=build(made.key()))
    assert again == made
    golden.check_json("v2/archive/base.decoded.json", plain(again))
    assert base.VERSION == 2


def test_closed(golden: Golden) -> None:
    points = (ClosedPoint(TableId(TABLE), PartitionId(PARTITION), Stamp((START_US << 12) + 7), Lsn(12), Lsn(15), bytes(range(32)), Lsn(9)),)
    made = ClosedObject(CLUSTER, "n1", START_US + 123_456, 2, OWNER, points, START_US)
    golden.check("v2/archive/closed.json", encode_closed(made))
    again = decode_closed(golden.read("v2/archive/closed.json"), where=made.key())
    assert again == made
    golden.check_json("v2/archive/closed.decoded.json", plain(again))
    assert closed.VERSION == 2


def test_identity_and_epoch(golden: Golden) -> None:
    golden.check("v2/archive/identity.json", identity.encode_identity(cluster=CLUSTER, created_us=START_US, parent=TABLE))
    golden.check("v2/archive/epoch.json", identity.encode_epoch(cluster=CLUSTER, epoch=3, owner=PARTITION, created_us=START_US))
    assert identity.decode_identity(golden.read("v2/archive/identity.json"), where=build(IdentityKey(CLUSTER))) == CLUSTER
    assert identity.decode_epoch(golden.read("v2/archive/epoch.json"), where=build(EpochKey(CLUSTER, 3))) == Attached(CLUSTER, 3, PARTITION)


def test_former_members(golden: Golden) -> None:
    members = (FormerMember("n2", OWNER, 1), FormerMember("n3", "", 2))
    made = Former(CLUSTER, 1, "n1", START_US, members, (CutGroup(TABLE, PARTITION, 40, 31),))
    golden.check("v2/archive/former.json", encode_former(made))
    read = decode_former(golden.read("v2/archive/former.json"), where=build(FormerKey(CLUSTER, 1)))
    assert read == made
    assert [one.names("n2", OWNER, 1) for one in members] == [True, False]
    assert [members[0].names(*folder) for folder in (("n2", TABLE, 1), ("n3", OWNER, 1), ("n2", OWNER, 2))] == [False, False, False]
    assert [members[1].names("n3", TABLE, incarnation) for incarnation in (1, 2, 3)] == [True, True, False], (
        "any folder of it, but a later member's"
    )
    with pytest.raises(Corrupt, match="under another object's name"):
        decode_former(encode_former(made), where=build(FormerKey(CLUSTER, 2)))


def test_expired(golden: Golden) -> None:
    base_key = BaseKey(CLUSTER, TABLE, PARTITION, 15, 1, "ab" * 8, None)
    made = ExpiredObject(
        cluster=CLUSTER, table=TABLE, partition=PARTITION, table_name="ördérs", lsn=15, stamp=(START_US << 12) + 7, chain=bytes(range(32)), base=build(base_key),
        reason="retention", keep_from_us=START_US + 5, at_us=START_US + 9, objects=12, bytes=3456, generation=2, epoch=3, owner=OWNER,
    )  # fmt: skip
    whole = dataclasses.replace(made, chain=None, base=None, reason="dropped")
    for name, one in (("expired", made), ("expired-dropped", whole)):
        golden.check(f"v3/archive/{name}.json", encode_expired(one))
        again = decode_expired(golden.read(f"v3/archive/{name}.json"), where=build(one.key()))
        assert again == one
        golden.check_json(f"v3/archive/{name}.decoded.json", plain(again))
    assert expired.VERSION == 1
    for wrong in (
        dataclasses.replace(made, chain=None), dataclasses.replace(made, base=None), dataclasses.replace(made, reason="why not"),
        dataclasses.replace(made, base=build(base_key._replace(lsn=14))), dataclasses.replace(made, lsn=16), dataclasses.replace(whole, chain=bytes(32)),
    ):  # fmt: skip
        with pytest.raises(Corrupt):
            decode_expired(encode_expired(wrong), where=build(made.key()))


def test_pin(golden: Golden) -> None:
    key = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sört", "N"))
    halves = (
        PartitionInfo(PartitionId(PARTITION), "00" * 16, "80" + "00" * 15, ()),
        PartitionInfo(PartitionId(OWNER), "80" + "00" * 15, "", ()),
    )
    table = TableMeta(
        table_id=TableId(TABLE), name="orders", status="ACTIVE", key=key, attributes=(("pk", "S"), ("sört", "N")), partitions=halves, created_at=START_US,
        throughput=Throughput(5, 7), table_class="STANDARD_INFREQUENT_ACCESS",
    )  # fmt: skip
    made = BackupPin(
        cluster=CLUSTER, id="01760000000123-00c0ffee", name="before.the-migration", at_us=START_US + 123_456, created_us=START_US + 123_999, table=table,
        rows=12, bytes=3456, epoch=3, owner=OWNER,
    )  # fmt: skip
    small = dataclasses.replace(
        made,
        table=msgspec.structs.replace(
            table, key=KeySchema(key.partition), partitions=(PartitionInfo(PartitionId(PARTITION), "00" * 16, "", ()),), billing="PAY_PER_REQUEST",
            throughput=Throughput(), on_demand=Throughput(-1, 40), table_class="STANDARD",
        ),
    )  # fmt: skip
    ended = dataclasses.replace(
        made, ends=(PinEnd(PartitionId(OWNER), Lsn(1 << 40), "0f" * 32), PinEnd(PartitionId(PARTITION), Lsn(17), "ab" * 32))
    )
    shown = dataclasses.replace(ended, stream="NEW_AND_OLD_IMAGES", ttl="läuft_ab")
    for name, one in (("pin-ends", ended), ("pin-late", small), ("pin-features", shown)):
        golden.check(f"v3/archive/{name}.json", encode_pin(one))
        assert decode_pin(golden.read(f"v3/archive/{name}.json"), where=build(one.key())) == one
    for name, one in (("pin", made), ("pin-on-demand", small)):
        assert decode_pin(golden.read(f"v3/archive/{name}.json"), where=build(one.key())) == one, "a pin of version 1 is read on"
    assert pin.VERSION == 3
    assert [json.loads(encode_pin(one))["version"] for one in (ended, small, shown, dataclasses.replace(shown, ttl=""))] == [2, 2, 3, 3]
    no_type = KeySchema(KeyAttribute("pk", "X"))
    for wrong in (
        dataclasses.replace(made, id="01760000000124-00c0ffee"), dataclasses.replace(made, epoch=0), dataclasses.replace(made, stream="EVERYTHING"),
        dataclasses.replace(ended, ends=ended.ends[:1] if ended.ends else None), dataclasses.replace(ended, ends=ended.ends[::-1] if ended.ends else None),
        dataclasses.replace(made, ends=(PinEnd(PartitionId(OWNER), Lsn(18), "0f" * 32), PinEnd(PartitionId(PARTITION), Lsn(17), "ab" * 31))),
        *(dataclasses.replace(made, table=msgspec.structs.replace(table, **change)) for change in (
            {"partitions": ()}, {"key": no_type}, {"billing": "FREE"}, {"throughput": Throughput(-2, 1)}, {"table_id": "orders"},
        )),
    ):  # fmt: skip
        with pytest.raises(Corrupt):
            decode_pin(encode_pin(wrong), where=build(made.key()))


def test_version_1_is_refused_by_name(golden: Golden) -> None:
    """Nothing was released in version 1: its objects are refused, saying which version they have and which one this release reads."""
    sample = history(seed=42, segments=2, writes=5)
    manifest = build(sample.manifest(sample.segments[1], 2)[0].key().twin())
    decoders: dict[str, Callable[[bytes], object]] = {
        "manifest.json": lambda data: decode_manifest(data, where=manifest),
        "base.json": lambda data: decode_base(data, where="x"),
        "closed.json": lambda data: decode_closed(data, where="x"),
        "identity.json": lambda data: identity.decode_identity(data, where=build(IdentityKey(CLUSTER))),
        "epoch.json": lambda data: identity.decode_epoch(data, where=build(EpochKey(CLUSTER, 3))),
    }
    for name, decode in decoders.items():
        with pytest.raises(Corrupt, match="has version 1, this release reads version 2"):
            decode(golden.read(f"v1/archive/{name}"))
    with pytest.raises(Corrupt, match="version 1"):
        decode_segment(golden.read("v1/archive/segment.seg"), where="x")
