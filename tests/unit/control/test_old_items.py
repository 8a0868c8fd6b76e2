"""Records that carry the item that was there before, on a whole cluster of the real parts: from which record on, through fail-over, by a leader whose catalogue is old; and what changed,
read from the log of nodes and, behind that, of the archive."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.sim.whole.commands import key_of, put, value_of
from scrubjay.storage.catalogue import TableMeta, TableStream
from scrubjay.storage.log import record as records
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.record import RecordKind
from scrubjay.storage.node.errand_messages import LogRead, ReadLog
from scrubjay.storage.node.port import asked
from tests.unit.control.house import House


def changed(house: House, name: str, stream: TableStream | None) -> TableMeta:
    """The table with this stream put into the catalogue, and its nodes told."""
    table = house.run(house.cluster.metadata.put_table(msgspec.structs.replace(house.table(name), streams=(stream,) if stream else ())))
    house.cluster.store.tables.host(table)
    return table


def stated(house: House, table: TableMeta) -> Lsn:
    house.until(lambda: house.cluster.parts.fleet.stated(table) is not None)
    found = house.cluster.parts.fleet.stated(table)
    assert found is not None
    return found[table.partitions[0].partition_id]


def stream(label: str = "one", status: str = "ENABLING") -> TableStream:
    return TableStream(label=label, view="NEW_AND_OLD_IMAGES", status=status, created_at=1)


def read(house: House, table: TableMeta, first: int, *, limit: int = 3, max_bytes: int = 400) -> list[ItemChange]:
    """All changes from an LSN on, by small pages; every page goes on where the last one ended."""
    found: list[ItemChange] = []
    lsn, position = Lsn(first), 0
    while True:
        page = house.run(house.cluster.store.changes.read(table.partitions[0], lsn, position=position, limit=limit, max_bytes=max_bytes))
        assert len(page.changes) <= limit
        found += page.changes
        lsn, position = page.next
        if page.at_end:
            return found


def told(changes: list[ItemChange]) -> list[tuple[bytes, int | None, int | None]]:
    """Key, value before, value after."""
    return [(one.key, one.old and value_of(one.old), one.new and value_of(one.new)) for one in changes]


def leader_of(house: House, partition: PartitionId) -> NodeName:
    house.until(lambda: house.cluster.parts.fleet.leader(partition) is not None)
    leader = house.cluster.parts.fleet.leader(partition)
    assert leader is not None
    return leader.node


def log_of(house: House, node: NodeName, partition: PartitionId, first: int = 1) -> list[records.Record]:
    read: LogRead = house.run(
        asked(house.env.tasks, house.cluster.parts.fleet.ports[node], ReadLog(partition, Lsn(first), 1 << 22), LogRead)
    )
    return [records.decode(one) for one in read.records]


def test_from_the_record_that_says_so_until_the_one_that_takes_it_back() -> None:
    house = House(3)
    house.stop_agents()
    table = house.create("t")
    partition = table.partitions[0].partition_id
    house.put(table, 1, 10)
    house.put(table, 2, 20)
    before = house.cluster.parts.fleet.leader(partition)
    assert before is not None
    assert before.stated is None
    with pytest.raises(Missing, match="what was there before"):
        read(house, table, 1)
    table = changed(house, "t", stream())
    first = stated(house, table)
    for key, value in ((1, 11), (1, 11), (2, None), (3, 30), (3, None), (4, None)):
        house.put(table, key, value)
    assert told(read(house, table, first)) == [
        (key_of(1), 10, 11),  # and not the one that changed nothing
        (key_of(2), 20, None),
        (key_of(3), None, 30),
        (key_of(3), 30, None),
    ]
    found = log_of(house, leader_of(house, partition), partition)
    assert found[first - 1].kind is RecordKind.SCHEMA
    assert [one.old for record in found[:first] if record.kind is RecordKind.DATA for one in records.effects(record)] == [None, None]
    again = changed(house, "t", stream(status="ENABLED"))  # the definition is another, what the log says of it is not
    house.put(again, 5, 50)
    assert stated(house, again) == first
    table = changed(house, "t", None)
    last = stated(house, table)
    assert last > first
    house.put(table, 1, 12)
    after = [
        effect
        for record in log_of(house, leader_of(house, partition), partition, last)
        if record.count
        for effect in records.effects(record)
    ]
    assert [effect.old for effect in after] == [None]
    assert house.rows(table) == {key_of(1): 12, key_of(5): 50}


def test_a_new_leader_goes_on_and_one_whose_catalogue_is_old_goes_by_the_log() -> None:
    house = House(4)
    table = changed(house, house.create("t").name, stream())
    partition, model = table.partitions[0].partition_id, []
    first = stated(house, table)
    old = msgspec.structs.replace(table, streams=(), version=table.version - 1)
    values: dict[int, int] = {}
    for turn in range(3):
        for key in range(4):
            value = 100 * turn + key
            house.put(table, key, value)
            model.append((key_of(key), values.get(key), value))
            values[key] = value
        gone = leader_of(house, partition)
        host = next(host for host in house.cluster.hosts if host.name == gone)
        host.crash(power=True)
        for other in house.cluster.hosts:
            if other.up:
                replica = other.process.node.members[partition]
                replica.table = old  # as of a node that was cut off from the metadata group
        leader_of(house, partition)
        house.put(table, 0, -turn - 1)
        model.append((key_of(0), values[0], -turn - 1))
        values[0] = -turn - 1
        host.start()
        house.pass_time(5)
    assert told(read(house, table, first)) == model


def test_what_nodes_let_go_of_comes_from_the_archive_and_nothing_twice() -> None:
    house = House(5)
    table = changed(house, house.create("t").name, stream())
    info, model = table.partitions[0], []
    first = stated(house, table)
    for value in range(60):
        house.put(table, value % 7, value)
        model.append((key_of(value % 7), value - 7 if value >= 7 else None, value))
        if value % 10 == 0:
            house.pass_time(3)
    ports = house.cluster.parts.fleet.ports

    def trimmed() -> bool:
        firsts = [host.process.node.members[info.partition_id].group.log.first for host in house.cluster.hosts]
        return bool(min(firsts) > first + 20)

    house.until(trimmed, seconds=300)
    with pytest.raises(Missing):
        house.run(asked(house.env.tasks, ports[NodeName("n1")], ReadLog(info.partition_id, Lsn(first + 1), 1 << 20), LogRead))
    found = read(house, table, first)
    assert told(found) == model
    places: list[Any] = [(one.lsn, one.position) for one in found]
    assert places == sorted(set(places))
    assert told(read(house, table, found[31].lsn)) == model[31:]


def test_a_restored_copy_and_a_restart_know_what_the_log_said() -> None:
    house = House(6)
    table = changed(house, house.create("t").name, stream())
    first = stated(house, table)
    house.put(table, 1, 1)
    partition = table.partitions[0].partition_id
    house.until(
        lambda: all(host.process.node.members[partition].segments.facts.archived > first for host in house.cluster.hosts), seconds=120
    )
    for host in house.cluster.hosts:
        host.crash(power=True)
        host.start()
    house.pass_time(5)
    house.restart_control()
    assert stated(house, house.table("t")) == first
    house.put(house.table("t"), 1, 2)
    assert told(read(house, table, first + 1))[-1] == (key_of(1), 1, 2)


def test_a_put_that_asks_for_nothing_carries_the_old_item() -> None:
    """The leader looks at what was there, though whoever put it did not ask."""
    house = House(8)
    table = changed(house, house.create("t").name, stream())
    first = stated(house, table)
    for value in (1, 2):
        future = house.env.tasks.future()
        house.cluster.store.write(table, put(1, value, blind=True), future.set_result)
        house.run(future)
    assert told(read(house, table, first)) == [(key_of(1), None, 1), (key_of(1), 1, 2)]
