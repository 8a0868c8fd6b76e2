"""Golden files of what a replica commits, of statements between nodes, and of metadata."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Member, PartitionId, Stamp, TableId
from scrubjay.storage.catalogue import (
    FinalSeal,
    FormerPartition,
    GlobalIndex,
    KeyAttribute,
    KeySchema,
    PartitionInfo,
    SplitIntent,
    TableMeta,
    Throughput,
    TimeToLive,
    halves,
    index_tables,
)
from scrubjay.storage.control.metadata import metadata_write
from scrubjay.storage.log.digest import RangeDigest, Total
from scrubjay.storage.log.record import Effect, Op, RecordKind, encode, owner_tag
from scrubjay.storage.log.split import Born, encode_born
from scrubjay.storage.log.stated import SILENT, Stated
from scrubjay.storage.log.transaction import PendingTransactions, Prepared, encode_prepared
from scrubjay.storage.node import talk as talk
from scrubjay.storage.replica import EXTRA_VERSION, ReplicaExtra
from scrubjay.storage.replica.segments import OwnSegment, SegmentFacts, Statement
from scrubjay.storage.replica.state import UNCONFIGURED, BornExtra, SplitExtra, StatedExtra, TransactingExtra, encode_extra, pending_of
from tests.fixtures.golden import Golden

STATEMENT = Statement(1, 9, bytes(range(32)), bytes(range(16)), 3, bytes(reversed(range(32))))
PARTITION = "00000000-0000-4000-8000-00000000000a"
CHILD = [PartitionId(f"00000000-0000-4000-8000-00000000000{digit}") for digit in "bcde"]


def test_replica_state(golden: Golden) -> None:
    digest = RangeDigest(bytes(16), None)
    digest.add(bytes(16), 5)
    digest.add(b"\xff" * 16, 7)
    own = OwnSegment(STATEMENT, 4096, 8192, 9, 7, 1234, 4000, 2, bytes(16), bytes(32), bytes(range(16)), 5)
    facts = SegmentFacts(
        10, 77, 1, 1, 8193, bytes(range(32)), 0, 10, 8193, 9, [own], [1, 0, 2], [(4, 3)], bytes(range(16)), 3, 9, 8191, 1, bytes(32)
    )
    data = msgspec.msgpack.encode(ReplicaExtra(EXTRA_VERSION, digest.encode(), 99, facts))
    golden.check("v2/replica/state.bin", data)
    back = msgspec.msgpack.decode(golden.read("v2/replica/state.bin"), type=ReplicaExtra)
    assert back.segments == facts
    assert back.digest == digest.encode()
    golden.check_json(
        "v2/replica/state.json",
        {"version": back.version, "size": back.size, "digest_rows": sum(digest.rows), "segments": msgspec.to_builtins(back.segments)},
    )


def test_replica_state_of_a_log_that_said_something(golden: Golden) -> None:
    digest = RangeDigest(bytes(16), None)
    stated = Stated(7, 1234, True, "2026-11-27T22:00:00.000")
    data = encode_extra(digest, 99, SegmentFacts(), (), stated)
    golden.check("v2/replica/stated.bin", data)
    back = msgspec.msgpack.decode(golden.read("v2/replica/stated.bin"), type=StatedExtra)
    assert (back.stated, back.size, back.indexes) == (stated, 99, ())
    golden.check_json("v2/replica/stated.json", {"version": back.version, "size": back.size, "stated": msgspec.to_builtins(back.stated)})
    assert msgspec.msgpack.decode(golden.read("v2/replica/state.bin"), type=StatedExtra).stated is None


def test_replica_state_while_a_transaction_is_pending(golden: Golden) -> None:
    digest = RangeDigest(bytes(16), None)
    owner = owner_tag(bytes(range(16)))
    prepared = Prepared(bytes(range(16)), b"c0123", (b"k" * 17,), (Effect(Op.PUT, b"k" * 16, b"item"),))
    record = encode(owner=owner, lsn=7, stamp=8193, kind=RecordKind.PREPARE, payload=encode_prepared(prepared), count=1)
    pending = PendingTransactions()
    pending.prepare(record, prepared)
    golden.check("v2/replica/pending.bin", encode_extra(digest, 99, SegmentFacts(), (), SILENT, UNCONFIGURED, pending.encode()))
    back = msgspec.msgpack.decode(golden.read("v2/replica/pending.bin"), type=TransactingExtra)
    assert pending_of(back.pending, owner).of == pending.of
    golden.check_json("v2/replica/pending.json", {"version": back.version, "pending": [one.hex() for one in back.pending]})
    assert encode_extra(digest, 99, SegmentFacts(), ()) == encode_extra(digest, 99, SegmentFacts(), (), SILENT, UNCONFIGURED, ()), (
        "as it was before there were any"
    )


def test_replica_state_of_a_partition_that_was_split(golden: Golden) -> None:
    digest = RangeDigest(bytes(16), None)
    payload = bytes(range(64))
    data = encode_extra(digest, 99, SegmentFacts(ended=12, ended_closed=4095), (), SILENT, UNCONFIGURED, (), payload)
    golden.check("v2/replica/split.bin", data)
    back = msgspec.msgpack.decode(golden.read("v2/replica/split.bin"), type=SplitExtra)
    assert (back.version, back.split, back.segments.ended, back.pending) == (4, payload, 12, ())
    golden.check_json("v2/replica/split.json", {"version": back.version, "split": back.split.hex(), "ended": back.segments.ended})
    assert msgspec.msgpack.decode(golden.read("v2/replica/pending.bin"), type=SplitExtra).split == b""


def test_replica_state_of_a_partition_that_a_split_made(golden: Golden) -> None:
    born = encode_born(Born(PARTITION, Lsn(7), Stamp(1 << 62), bytes(range(32)), Total(1 << 127, 3)))
    digest = RangeDigest(bytes(16), None)
    golden.check("v2/replica/born.bin", encode_extra(digest, 99, SegmentFacts(first=8), (), SILENT, UNCONFIGURED, (), b"", born))
    back = msgspec.msgpack.decode(golden.read("v2/replica/born.bin"), type=BornExtra)
    assert (back.version, back.born, back.segments.first, back.split) == (5, born, 8, b"")
    golden.check_json("v2/replica/born.json", {"version": back.version, "born": back.born.decode()})
    assert msgspec.msgpack.decode(golden.read("v2/replica/split.bin"), type=BornExtra).born == b""


def test_statement_frame(golden: Golden) -> None:
    said: list[talk.StorageMessage] = [
        talk.Say(PARTITION, STATEMENT, want=True),
        talk.AttestSegment(PARTITION, 1, 9, bytes(32), 2, True),
        talk.AskRecords(PARTITION, 3, 5),
        talk.Records(PARTITION, [b"record"]),
        talk.ManifestWritten(PARTITION, 1, 9, bytes(32)),
        talk.Refute(PARTITION, 9, 1, "c/t=t/p=p/log/x.seg", "cut short"),
    ]
    golden.check("v2/statements/frame.bin", talk.encode_frame(said))
    assert talk.decode_frame(golden.read("v2/statements/frame.bin")) == said
    golden.check_json("v2/statements/frame.json", [msgspec.to_builtins(one) for one in said])


@pytest.mark.parametrize("at", [0, 4, 8, 30])
def test_a_damaged_statement_frame_is_dropped(at: int) -> None:
    data = bytearray(talk.encode_frame([talk.AskRecords(PARTITION, 3, 5)]))
    data[at] ^= 1
    with pytest.raises(Corrupt):
        talk.decode_frame(bytes(data))


def test_table_item(golden: Golden) -> None:
    table = TableMeta(
        table_id=TableId("00000000-0000-4000-8000-000000000001"),
        name="birds",
        status="ACTIVE",
        key=KeySchema(KeyAttribute("family", "S"), KeyAttribute("name", "S")),
        attributes=(("family", "S"), ("name", "S")),
        partitions=(PartitionInfo(PartitionId(PARTITION), "0" * 32, "", (Member(1, 1), Member(2, 1), Member(3, 1))),),
        created_at=1_800_000_000_000_000,
        throughput=Throughput(5, 5),
        finals=(FinalSeal(PartitionId(PARTITION), 77, 1_800_000_000_000_000 << 12, "0c" * 32, "0d" * 16, 12),),
        archived_at=1_800_000_000_000_001,
    )
    text = msgspec.json.encode(table).decode()
    write = metadata_write(f"table/{table.table_id}", expect=None, value=text)
    assert write.new is not None
    golden.check("v2/metadata/table.bin", write.new)
    golden.check_json("v2/metadata/table.json", msgspec.json.decode(text))
    assert msgspec.json.decode(golden.read("v2/metadata/table.json"), type=TableMeta) == table
    assert "ttl" not in msgspec.json.decode(text), "as it was before there was one"

    timed = msgspec.structs.replace(table, ttl=TimeToLive(True, "ends", 1_800_000_000_000_002))
    write = metadata_write(f"table/{table.table_id}", expect=None, value=msgspec.json.encode(timed).decode())
    assert write.new is not None
    golden.check("v2/metadata/table_ttl.bin", write.new)
    golden.check_json("v2/metadata/table_ttl.json", msgspec.to_builtins(timed))
    assert msgspec.json.decode(golden.read("v2/metadata/table_ttl.json"), type=TableMeta) == timed

    parent = FormerPartition(
        msgspec.structs.replace(table.partitions[0], hosts=(1, 2, 4)),
        table.finals[0],
        SplitIntent("0e" * 16, PartitionId(PARTITION), "80" + "0" * 30, CHILD[0], CHILD[1], 5),
    )
    intent = SplitIntent("0f" * 16, CHILD[0], "40" + "0" * 30, CHILD[2], CHILD[3], 1_800_000_000_000_003)
    split = msgspec.structs.replace(table, partitions=halves(parent.info, parent.split), former=(parent,), split=intent)
    write = metadata_write(f"table/{table.table_id}", expect=None, value=msgspec.json.encode(split).decode())
    assert write.new is not None
    golden.check("v2/metadata/table_split.bin", write.new)
    golden.check_json("v2/metadata/table_split.json", msgspec.to_builtins(split))
    assert msgspec.json.decode(golden.read("v2/metadata/table_split.json"), type=TableMeta) == split
    assert not {"split", "former"} & msgspec.json.decode(text).keys(), "as it was before anything was split"

    index = GlobalIndex(
        name="by-colour",
        hash=(KeyAttribute("colour", "S"),),
        table_id=TableId("00000000-0000-4000-8000-000000000009"),
        status="ACTIVE",
        created_at=1_800_000_000_000_004,
        made=True,
        partitions=halves(parent.info, parent.split),
        former=(parent,),
        split=intent,
    )
    indexed = msgspec.structs.replace(table, global_indexes=(index,))
    write = metadata_write(f"table/{table.table_id}", expect=None, value=msgspec.json.encode(indexed).decode())
    assert write.new is not None
    golden.check("v2/metadata/table_index_split.bin", write.new)
    golden.check_json("v2/metadata/table_index_split.json", msgspec.to_builtins(indexed))
    back = msgspec.json.decode(golden.read("v2/metadata/table_index_split.json"), type=TableMeta)
    assert back == indexed
    (inner,) = index_tables(back)
    assert (inner.split, inner.former, inner.partitions) == (intent, (parent,), index.partitions)
