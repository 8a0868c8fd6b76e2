"""Rot in the trees of all three copies before anything of the partition is archived: no leader is left to say what is archived, and the log alone brings a copy back."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.healer import Healer
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import RangeRead
from scrubjay.storage.replica import segments
from tests.unit.control.house import House

KEYS = range(12)
NODES = {"n1": 1, "n2": 5, "n3": 7}


def suspect_everywhere(house: House, table: TableMeta) -> PartitionId:
    """Its partition: a read has met rot in each copy, at another row of each."""
    (info,) = table.partitions
    for name, key in NODES.items():
        house.rot(name, table, key)
    for node in house.cluster.nodes():
        answers: list[object] = []
        whole = RangeRead(b"", None, 99, 1 << 20, reverse=False, consistent=False)
        node.replicas[info.partition_id].read_range(whole, min_lsn=Lsn(0), done=answers.append)
        house.until(lambda answers=answers: bool(answers))  # type: ignore[misc]
    assert [copy.state for copy in house.service.copies(info.partition_id)] == ["suspect"] * 3
    assert house.service.archived(info.partition_id) == 0
    return info.partition_id


def serves_again(house: House, partition: PartitionId) -> None:
    healer = Healer(house.env, house.service, house.references(), log=house.lines.append)
    house.run(healer.look())
    assert (healer.healed, [copy.state for copy in house.service.copies(partition)]) == (1, ["ok", "suspect", "suspect"]), house.lines


def test_a_copy_is_made_anew_from_its_whole_log() -> None:
    house = House()
    house.stop_agents()
    table = house.create("orders")
    for key in KEYS:
        house.put(table, key, key)
    house.checkpointed(table, len(KEYS))
    partition = suspect_everywhere(house, table)
    serves_again(house, partition)
    assert house.rows(table) == {key_of(key): key for key in KEYS}
    house.put(table, 99, 99)
    house.start_agents()
    report = house.scrub()
    assert (report.exit_code, report.healed) == (2, True), "what was met is told, and the other two are healed"
    assert house.scrub().exit_code == 0
    assert house.rows(table) == {key_of(key): key for key in (*KEYS, 99)}


def test_of_a_restored_table_its_base_is_what_the_log_goes_on_from() -> None:
    house = House()
    table = house.create("orders")
    for key in KEYS:
        house.put(table, key, key)
    house.pass_time(6)
    house.run(house.restore.start(table, "back", RestoreTarget(latest=True)))
    assert house.restored("back")["state"] == "published"
    house.stop_agents()
    back = house.table("back")
    house.put(back, 99, 99)
    house.checkpointed(back, len(KEYS) + 1)
    partition = suspect_everywhere(house, back)
    serves_again(house, partition)
    assert house.rows(back) == {key_of(key): key for key in (*KEYS, 99)}


@pytest.mark.parametrize("leads", [True, False])
def test_rot_between_a_step_of_the_hash_and_the_seal_is_found_before_the_member_attests(
    monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    """The hash that a member states took the record while it was sound, and memory holds it still: only who reads the disk once more can tell."""
    monkeypatch.setattr(segments, "STEP_BYTES", 1)
    house = House()
    house.stop_agents()
    table = house.create("orders")
    (info,) = table.partitions
    for key in KEYS:
        house.put(table, key, key)
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    host = next(host for host in house.cluster.hosts if (host.name == leader.node.name) is leads)
    wal, told = host.process.node.wal, []
    hear = wal._reader.told
    monkeypatch.setattr(wal._reader, "told", lambda partition, error: (told.append(partition), hear(partition, error)))
    replica = host.process.node.replicas[info.partition_id]
    house.until(lambda: replica.segments.facts.content == len(KEYS))
    lsn = replica.segments.facts.first + 3
    extent = wal._states[info.partition_id].extents.at(lsn)
    assert host.disk.flip_bit(f"wal/{extent.body.file.name}", start=extent.body.offset + 60, end=extent.body.offset + 61) is not None
    house.until(lambda: replica.segments.facts.last_seal > lsn)
    assert not told, "nobody has looked yet"
    house.start_agents()
    house.until(lambda: bool(told))
    assert told[0] == info.partition_id
    house.until(lambda: house.service.archived(info.partition_id) > lsn and not wal.damaged(info.partition_id))
    wal.reread(info.partition_id, Lsn(1), Lsn(replica.applied + 1))
    assert house.scrub().exit_code == 2, "what was met is told once"
    assert house.scrub().exit_code == 0
    assert house.rows(table) == {key_of(key): key for key in KEYS}
