"""What differs between two archives is a finding like any other that is made outside a scrub."""

from __future__ import annotations

import uuid

from scrubjay.archiver.format.layout import EpochKey, SegmentKey, build
from scrubjay.base.ids import PartitionId, TableId
from scrubjay.server.pair_begin import findings_in
from scrubjay.server.pairing import PairDifference
from scrubjay.sim.lone import LoneHost
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, PartitionInfo, TableMeta
from scrubjay.storage.service_port import Finding

CLUSTER = str(uuid.UUID(int=1))
EPOCH = build(EpochKey(CLUSTER, 3))


def test_a_difference_is_kept_with_the_findings_of_the_partition_whose_scrub_tells_of_it() -> None:
    host, kept = LoneHost(), list[Finding]()
    system, live, dropped = (
        TableMeta(
            table_id=TableId(str(uuid.UUID(int=number))), name=f"birds-{number}", status=status, key=KeySchema(KeyAttribute("pk", "S")), attributes=(),
            partitions=(PartitionInfo(PartitionId(str(uuid.UUID(int=number + 1))), "00" * 16, "", ()),), created_at=1,
        )
        for number, status in ((10, "ACTIVE"), (20, "ACTIVE"), (30, "DROPPED"))
    )  # fmt: skip

    class TwoTables:
        def __init__(self) -> None:
            self.system = system

        def place(self, partition: PartitionId) -> tuple[TableMeta, PartitionInfo]:
            return next((one, one.partitions[0]) for one in (live, dropped) if one.partitions[0].partition_id == partition)

    noted = findings_in(host.env(), TwoTables(), kept.append)
    whose = [(one.table_id, one.partitions[0].partition_id) for one in (live, dropped)]
    segments = [build(SegmentKey(CLUSTER, table, partition, 1, 5, 1, "ab" * 8, False)) for table, partition in whose]
    for key, mended in ((segments[0], True), (segments[1], False), (EPOCH, False)):
        noted(PairDifference("sim://one", key, "unreadable", "not what was put"), mended)
    mine, other = whose[0][1], system.partitions[0].partition_id
    assert [(one.partition, one.object, one.segment, one.action) for one in kept] == [
        (mine, segments[0], segments[0], "healed"),
        (other, segments[1], segments[1], "none"),
        (other, EPOCH, None, "none"),
    ], "a dropped table is scrubbed no more, and an epoch is of no partition"
    assert {(one.kind, one.copy, one.found_by, one.key, one.at_us) for one in kept} == {
        ("unreadable", "archive", "agent", None, host.clock.wall_us())
    }
    assert "sim://one" in kept[0].detail
