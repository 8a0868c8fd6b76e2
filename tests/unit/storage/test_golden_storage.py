"""Golden files of what a replica commits, of statements between nodes, and of metadata."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.storage.catalogue import FinalSeal, KeyAttribute, KeySchema, PartitionInfo, TableMeta, Throughput, TimeToLive
from scrubjay.storage.control.metadata import metadata_write
from scrubjay.storage.log.digest import RangeDigest
from scrubjay.storage.node import talk as talk
from scrubjay.storage.replica import EXTRA_VERSION, ReplicaExtra
from scrubjay.storage.replica.segments import OwnSegment, SegmentFacts, Statement
from tests.fixtures.golden import Golden

STATEMENT = Statement(1, 9, bytes(range(32)), bytes(range(16)), 3, bytes(reversed(range(32))))
PARTITION = "00000000-0000-4000-8000-00000000000a"


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
