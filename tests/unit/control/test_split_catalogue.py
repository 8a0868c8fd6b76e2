"""What the catalogue says of partitions that are split: which two come, who was there at a moment, where copies may be."""

from __future__ import annotations

import msgspec
import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.base.hlc import stamp_of
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.server.expiry import forget_past
from scrubjay.storage.catalogue import (
    FinalSeal,
    KeyAttribute,
    KeySchema,
    PartitionInfo,
    SplitIntent,
    StreamShard,
    TableMeta,
    TableStream,
    coming,
    definition_anew,
    leaving,
    parent_of,
    partitions_at,
    with_children,
    without_past,
)
from tests.unit.control.house import House

FOUNDERS = (Member(1, 1), Member(2, 1), Member(3, 1))
HALF, QUARTER = "80" + "0" * 30, "40" + "0" * 30


def named(letter: str) -> PartitionId:
    return PartitionId(f"{letter * 8}-0000-4000-8000-000000000000")


A, B, C, D, E = map(named, "abcde")


def info_of(partition: PartitionId, lo: str, hi: str) -> PartitionInfo:
    return PartitionInfo(partition, lo, hi, FOUNDERS, logs=(3,), hosts=(1, 2, 3, 4), fresh=(4,))


def table_of(*partitions: PartitionInfo) -> TableMeta:
    return TableMeta(
        table_id=TableId("00000000-0000-4000-8000-000000000001"),
        name="birds",
        status="ACTIVE",
        key=KeySchema(KeyAttribute("p", "S")),
        attributes=(("p", "S"),),
        partitions=partitions,
        created_at=1,
    )


def intent(parent: PartitionId, cut: str, left: PartitionId, right: PartitionId) -> SplitIntent:
    return SplitIntent("0f" * 16, parent, cut, left, right, 7)


def ended(partition: PartitionId, at_us: int) -> FinalSeal:
    return FinalSeal(partition, 40, stamp_of(at_us, 9), "0c" * 32, "0d" * 16, 12)


ONE = table_of(info_of(A, "0" * 32, ""))
MEANT = msgspec.structs.replace(ONE, split=intent(A, HALF, B, C))
TWO = with_children(MEANT, ended(A, 1_000))
THREE = with_children(msgspec.structs.replace(TWO, split=intent(B, QUARTER, D, E)), ended(B, 2_000))


def ids(partitions: tuple[PartitionInfo, ...]) -> list[PartitionId]:
    return [info.partition_id for info in partitions]


def test_children_have_their_parents_copies_and_a_part_of_its_range_each() -> None:
    assert coming(ONE) == ()
    assert coming(MEANT) == (info_of(B, "0" * 32, HALF), info_of(C, HALF, ""))
    moved = msgspec.structs.replace(MEANT, partitions=(msgspec.structs.replace(MEANT.partitions[0], hosts=(1, 2, 4), fresh=()),))
    assert [info.nodes for info in coming(moved)] == [(1, 2, 4), (1, 2, 4)], "a copy that moves meanwhile takes them with it"


def test_children_take_their_parents_place_in_the_order_of_ranges() -> None:
    assert ids(TWO.partitions) == [B, C]
    assert ids(THREE.partitions) == [D, E, C]
    assert [(info.lo, info.hi) for info in THREE.partitions] == [("0" * 32, QUARTER), (QUARTER, HALF), (HALF, "")]
    assert THREE.split is msgspec.UNSET
    assert [former.info.partition_id for former in THREE.former or ()] == [A, B]


@pytest.mark.parametrize(
    ("at_us", "found"),
    [(0, [A]), (1_000, [A]), (1_001, [B, C]), (2_000, [B, C]), (2_001, [D, E, C])],
)
def test_a_moment_has_the_partitions_whose_history_reaches_it(at_us: int, found: list[PartitionId]) -> None:
    """The microsecond of the last SEAL is the parent's to its end."""
    assert ids(partitions_at(THREE, at_us)) == found


def test_a_split_that_waits_changes_nothing_of_who_is_there() -> None:
    assert ids(partitions_at(MEANT, 5_000)) == [A]


def test_who_was_split_into_whom() -> None:
    parents = [parent_of(THREE, partition) for partition in (A, B, C, D, E)]
    assert [None if former is None else former.info.partition_id for former in parents] == [None, A, A, B, B]


def test_copies_of_a_parent_may_be_there_until_its_log_is_archived() -> None:
    assert ids(leaving(TWO)) == [A]
    assert TWO.former
    gone = msgspec.structs.replace(TWO, former=(msgspec.structs.replace(TWO.former[0], archived_at=3_000),))
    assert leaving(gone) == ()


def test_what_was_split_leaves_the_catalogue_when_nothing_of_it_is_left_to_be_asked_for_the_oldest_first() -> None:
    assert THREE.former
    settled = tuple([msgspec.structs.replace(info, fresh=()) for info in THREE.partitions])
    archived = tuple([msgspec.structs.replace(one, archived_at=3_000) for one in THREE.former])
    table = msgspec.structs.replace(THREE, partitions=settled, former=archived)

    def left(table: TableMeta, *gone: PartitionId) -> list[PartitionId] | None:
        changed = without_past(table, gone)
        return None if changed is None else [one.info.partition_id for one in changed.former or ()]

    assert left(table) is None
    assert left(table, A) == [B]
    assert left(table, B) is None, "a moment before the first split is looked up through the second"
    assert left(table, A, B) == []
    assert left(msgspec.structs.replace(table, partitions=THREE.partitions), A) is None, "a copy of a child may begin its log behind it"
    assert left(msgspec.structs.replace(table, former=THREE.former), A) is None
    shown = TableStream(label="s", view="KEYS_ONLY", status="ENABLED", created_at=1, shards=(StreamShard(A, 0),))
    assert left(msgspec.structs.replace(table, streams=(shown,)), A) is None


def test_retention_takes_what_was_split_out_of_the_catalogue() -> None:
    house, told = House(), list[str]()
    table = house.create("orders")
    (parent,) = table.partitions
    metadata = house.cluster.metadata
    meant = msgspec.structs.replace(table, split=intent(parent.partition_id, HALF, B, C))
    former = msgspec.structs.replace((with_children(meant, ended(parent.partition_id, 1_000)).former or ())[0], archived_at=2)
    house.run(metadata.put_table(msgspec.structs.replace(table, former=(former,))))
    house.run(forget_past(metadata, table, [B], told.append))
    assert (len(metadata.tables[table.table_id].former or ()), told) == (1, [])
    house.run(forget_past(metadata, table, [parent.partition_id], told.append))
    house.restart_control()
    assert house.known(table.table_id).former is msgspec.UNSET
    assert told == ["orders: 1 partitions that were split have left the archive and the catalogue"]


def test_a_table_that_is_made_after_another_has_no_past() -> None:
    anew = definition_anew(msgspec.structs.replace(THREE, split=intent(C, "c" * 32, A, B)))
    assert (anew.split, anew.former) == (msgspec.UNSET, msgspec.UNSET)


def test_whose_partition_it_is_is_known_of_those_that_come_and_go() -> None:
    house = House()
    table = house.create("orders")
    (parent,) = table.partitions
    metadata = house.cluster.metadata
    with pytest.raises(Unavailable, match="no such partition"):
        metadata.place(B)
    meant = house.run(metadata.put_table(msgspec.structs.replace(table, split=intent(parent.partition_id, HALF, B, C))))
    assert metadata.place(C) == (meant, coming(meant)[1])
    split = house.run(metadata.put_table(with_children(meant, ended(parent.partition_id, 1_000))))
    assert metadata.place(parent.partition_id) == (split, parent)
    assert metadata.place(B) == (split, split.partitions[0])
    house.restart_control()
    assert house.cluster.metadata.place(parent.partition_id)[1] == parent, "and as the catalogue is read anew"
