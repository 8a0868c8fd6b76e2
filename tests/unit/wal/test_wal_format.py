"""The bytes of the WAL: pages agree with the code, golden files, flips of headers refused."""

from __future__ import annotations

import struct

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.log import configuration, record, split, transaction
from scrubjay.storage.wal import format as wal_format
from scrubjay.storage.wal.format import BatchHeader, FrameHeader, Type
from scrubjay.storage.wal.port import Adopt, Append, Boot, Create, Install, Promise, Reserve, Resign, SetTree, SetVote
from scrubjay.storage.wal.wal import Wal
from tests.docs.format_tables import assert_layout, parse_tables
from tests.fixtures.golden import Golden
from tests.unit.wal.test_wal import P, commit, records
from tests.unit.wal.wal_disk import Content, MemoryDisk

NAME = "wal/0000000000000001.wal"


@pytest.mark.parametrize(
    ("page", "heading", "layout"),
    [
        ("wal", "Batch header", wal_format.BATCH),
        ("wal", "Frame header", wal_format.FRAME),
        ("record", "Header", record.HEADER),
        ("record", "Effect", record.EFFECT),
        ("record", "Seal payload", record.SEAL_PAYLOAD),
        ("record", "Archived payload", record._ARCHIVED),
        ("record", "Prepare payload", transaction.PREPARE_HEAD),
        ("record", "Abort payload", transaction.ABORT_PAYLOAD),
        ("record", "Split payload", split.SPLIT_PAYLOAD),
        ("record", "Config payload", configuration.CONFIG_HEAD),
        ("record", "Config place", configuration.CONFIG_PLACE),
    ],
)
def test_the_page_says_what_the_code_does(page: str, heading: str, layout: struct.Struct) -> None:
    (table,) = [one for one in parse_tables(f"docs/formats/{page}.md") if one.heading == heading]
    assert_layout(table, layout)


def test_the_mark_is_a_batch_header_with_its_own_checksum() -> None:
    (table,) = [one for one in parse_tables("docs/formats/wal.md") if one.heading == "Mark"]
    assert_layout(table, f"{wal_format.MARK.format}{wal_format.BATCH_SIZE}s")


def life(disk: MemoryDisk) -> None:
    """Every kind of frame, in two commits."""
    wal, _ = Wal.open(disk, "wal", file_size=1 << 14, reserve_bytes=0)
    wal.queue(Boot(2))
    wal.queue(Reserve(Stamp(77)))
    wal.queue(Create(P, Member(1, 3), Lsn(1)))
    wal.queue(Promise(P, Ballot(4)))
    wal.queue(Append(P, Ballot(4), records(1, 4), staged=True))
    wal.queue(Adopt(P, Ballot(4), Lsn(0), Lsn(3)))
    commit(wal)
    wal.queue(Append(P, Ballot(4), records(4, 6), staged=False))
    wal.queue(Resign(P, Ballot(4)))
    wal.queue(SetTree(P, "suspect"))
    wal.queue(SetVote(P, "learner"))
    wal.queue(Install(P, Lsn(2), Ballot(4)))
    commit(wal)


def test_golden_wal(golden: Golden) -> None:
    disk = MemoryDisk()
    life(disk)
    used = bytes(disk.copy().files[NAME].synced).rstrip(b"\0")
    golden.check("v3/wal/life.wal", used)
    found = MemoryDisk()
    content = Content()
    content.synced = bytearray((used if golden.rewrite else golden.read("v3/wal/life.wal")).ljust(1 << 14, b"\0"))
    found.files[NAME] = content
    again, recovered = Wal.open(found, "wal", file_size=1 << 14, reserve_bytes=0)
    assert again.read(P, Lsn(3), Lsn(6)) == list(records(3, 6))
    golden.check_json(
        "v3/wal/life.json",
        {
            "boot_count": recovered.boot_count,
            "reservation": recovered.reservation,
            "replicas": {partition: log._asdict() for partition, log in recovered.replicas.items()},
        },
    )


def flipped(data: bytes) -> list[bytes]:
    images = []
    for bit in range(len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        images.append(bytes(bad))
    return images


def test_every_flip_of_a_header_is_refused() -> None:
    batch = BatchHeader(1, 2, 3, 4096, 5, 6, 7, 8, 9, 10, 11)
    data = wal_format.encode_batch_header(batch)
    assert wal_format.decode_batch_header(data) == batch
    assert not any(wal_format.decode_batch_header(bad) for bad in flipped(data))
    for header, said in ((data, batch), (bytes(wal_format.BATCH_SIZE), None)):
        mark = wal_format.encode_mark(header, following=77, size=1 << 24)
        assert wal_format.decode_mark(mark, 0) == wal_format.SyncMark(said, 77, 1 << 24)
        assert not any(wal_format.decode_mark(bad, 0) for bad in flipped(mark))
    head = wal_format.blank_head(5000)
    assert len(head) == wal_format.DATA_START
    assert [wal_format.decode_mark(head, at) for at in wal_format.MARK_SLOTS] == [wal_format.SyncMark(None, 0, 5000)] * 2
    frame = FrameHeader(Type.ADOPT, 0, 0, 0, bytes(range(16)), 1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 1)
    sealed = wal_format.seal_frame(wal_format.pack_frame(frame, b""), 12)
    back = wal_format.decode_frame_header(sealed, 0, 12)
    assert back is not None
    assert back._replace(body_crc=0) == frame
    assert not any(wal_format.decode_frame_header(bad, 0, 12) for bad in flipped(sealed))
    assert wal_format.decode_frame_header(sealed, 0, 13) is None, "a frame of another batch"


def test_zeros_are_nothing() -> None:
    zeros = bytes(4096)
    assert wal_format.decode_batch_header(zeros) is None
    assert wal_format.decode_mark(zeros, 0) is None
    assert wal_format.decode_frame_header(zeros, 0, 0) is None


def test_golden_records(golden: Golden) -> None:
    owner = bytes(range(8))
    effects = record.encode_effects([record.Effect(record.Op.PUT, b"key", b"item"), record.Effect(record.Op.DELETE, b"key2", b"k")])
    seal = record.encode_seal(record.Seal(Lsn(1), Stamp(9), record.Seal.SCRUB, bytes(range(16))))
    archived = record.encode_archived(record.Archived(Lsn(1), Lsn(3), bytes(range(32)), (1, 3)))
    payloads = [
        (record.RecordKind.SCHEMA, b"{}", 0),
        (record.RecordKind.DATA, effects, 2),
        (record.RecordKind.SEAL, seal, 0),
        (record.RecordKind.NOOP, b"", 0),
        (record.RecordKind.ARCHIVED, archived, 0),
    ]
    data = b"".join(
        record.encode(owner=owner, lsn=lsn, stamp=lsn << 12, kind=kind, payload=payload, count=count).data
        for lsn, (kind, payload, count) in enumerate(payloads, 1)
    )
    golden.check("record/kinds.bin", data)
    decoded = list(record.decode_all(data if golden.rewrite else golden.read("record/kinds.bin"), owner=owner))
    golden.check_json(
        "record/kinds.json",
        [[one.lsn, one.stamp, one.effective, one.kind.name, one.count, one.payload.hex()] for one in decoded],
    )
    assert record.decode_seal(decoded[2]) == record.Seal(Lsn(1), Stamp(9), record.Seal.SCRUB, bytes(range(16)))
    assert record.decode_archived(decoded[4]).members == (1, 3)
    assert [effect.body for effect in record.effects(decoded[1])] == [b"item", b"k"]


def test_golden_record_with_old_items(golden: Golden) -> None:
    """What was there before stands behind each body; empty: nothing was. Nothing of it reaches into the next effect."""
    owner = bytes(range(8))
    wanted = [
        record.Effect(record.Op.PUT, b"key", b"item", b"what it was"),
        record.Effect(record.Op.PUT, b"new", b"item", b""),
        record.Effect(record.Op.DELETE, b"key2", b"k", b"gone"),
        record.Effect(record.Op.EXPIRE, b"key3", b"k", b"over"),
        record.Effect(record.Op.PUT, b"key4", b"nobody asked"),
    ]
    payload = record.encode_effects(wanted)
    data = record.encode(owner=owner, lsn=7, stamp=7 << 12, kind=record.RecordKind.DATA, payload=payload, count=5).data
    golden.check("record/old_items.bin", data)
    decoded = record.decode(golden.read("record/old_items.bin"), owner=owner)
    assert record.effects(decoded) == wanted
    assert [payload[at] for at in (0, 29, 47)] == [0x41, 0x41, 0x42]
    golden.check_json(
        "record/old_items.json",
        [[one.op.name, one.key.hex(), one.body.hex(), None if one.old is None else one.old.hex()] for one in record.effects(decoded)],
    )
    for count, whole in ((5, payload), (4, record.encode_effects(wanted[:4]))):  # the last effect without, and with an old item
        for cut in range(1, len(whole)):
            other = record.encode(owner=owner, lsn=7, stamp=7 << 12, kind=record.RecordKind.DATA, payload=whole[:-cut], count=count)
            with pytest.raises(Corrupt, match=r"effect cut short|effect out of bounds"):
                record.effects(other)


def test_golden_records_of_a_transaction(golden: Golden) -> None:
    owner, id_ = record.owner_tag(bytes(range(16))), bytes(range(16, 32))
    effects = (record.Effect(record.Op.PUT, b"k" * 16, b"item"), record.Effect(record.Op.DELETE, b"l" * 16, b"key"))
    prepared = transaction.Prepared(id_, b"c0123", (b"m" * 17,), effects)
    made = [
        record.encode(owner=owner, lsn=1, stamp=5, kind=record.RecordKind.PREPARE, payload=transaction.encode_prepared(prepared), count=2),
        record.encode(
            owner=owner, lsn=2, stamp=9, kind=record.RecordKind.COMMIT, payload=record.encode_effects(effects), count=2, effective=7
        ),
        record.encode(owner=owner, lsn=3, stamp=11, kind=record.RecordKind.ABORT, payload=transaction.encode_aborted(id_)),
    ]
    golden.check("record/transaction.bin", b"".join(one.data for one in made))
    first, second, third = record.decode_all(
        b"".join(one.data for one in made) if golden.rewrite else golden.read("record/transaction.bin")
    )
    assert transaction.decode_prepared(first) == prepared
    assert (tuple(record.effects(second)), second.effective, second.stamp) == (effects, 7, 9)
    assert transaction.decode_aborted(third) == id_
    golden.check_json(
        "record/transaction.json", [[one.kind.name, one.lsn, one.stamp, one.effective, one.count] for one in (first, second, third)]
    )


def test_golden_record_of_a_split(golden: Golden) -> None:
    left, right = PartitionId("01020304-0506-4708-890a-0b0c0d0e0f10"), PartitionId("11121314-1516-4718-991a-1b1c1d1e1f20")
    said = split.Split(bytes(range(16)), b"\x80" + bytes(15), left, right)
    data = record.encode(
        owner=record.owner_tag(bytes(range(16))), lsn=7, stamp=9, kind=record.RecordKind.SPLIT, payload=split.encode_split(said)
    ).data
    golden.check("record/split.bin", data)
    back = record.decode(data if golden.rewrite else golden.read("record/split.bin"))
    assert (back.kind, split.decode_split(back)) == (record.RecordKind.SPLIT, said)
    golden.check_json("record/split.json", [said.id.hex(), said.cut.hex(), said.left, said.right])
    for wrong in (back.payload[:-1], back.payload + b"\0", b""):
        with pytest.raises(Corrupt, match="wrong size"):
            split.split_from(wrong)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_prepare_that_is_cut_short_is_none(cut: int) -> None:
    prepared = transaction.Prepared(bytes(16), b"c0123", (b"m" * 17,), (record.Effect(record.Op.PUT, b"k" * 16, b"item"),))
    payload = transaction.encode_prepared(prepared)
    short = record.encode(owner=bytes(8), lsn=1, stamp=5, kind=record.RecordKind.PREPARE, payload=payload[:-cut], count=1)
    with pytest.raises(Corrupt):
        transaction.decode_prepared(short)


def test_golden_record_of_what_the_service_did(golden: Golden) -> None:
    """A DELETE with the flag that says so; a flag of anything else is unknown, and whoever meets it stops."""
    owner = bytes(range(8))
    effects = record.encode_effects([record.Effect(record.Op.EXPIRE, b"key", b"k"), record.Effect(record.Op.DELETE, b"key2", b"k")])
    data = record.encode(owner=owner, lsn=7, stamp=7 << 12, kind=record.RecordKind.DATA, payload=effects, count=2).data
    golden.check("record/expire.bin", data)
    decoded = record.decode(golden.read("record/expire.bin"), owner=owner)
    golden.check_json("record/expire.json", [[effect.op.name, effect.key.hex(), effect.body.hex()] for effect in record.effects(decoded)])
    assert [effect.op.is_delete for effect in record.effects(decoded)] == [True, True]
    for op in (0, 3, 0x80, 0x81, 0x22, 0x12, 0xA2):
        other = record.encode(owner=owner, lsn=7, stamp=7 << 12, kind=record.RecordKind.DATA, payload=bytes([op]) + effects[1:], count=2)
        with pytest.raises(Corrupt):
            record.effects(other)
