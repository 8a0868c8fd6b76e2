"""Streams on a whole cluster of the real parts: where one begins and ends, what is read of it, by whom, and what a copy that was made anew knows of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Invalid, Missing, Unavailable
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.sim.whole.commands import cas, key_of, put
from scrubjay.storage.backend import TransactPart
from scrubjay.storage.catalogue import TableMeta, new_stream
from scrubjay.storage.log import record as records
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.record import RecordKind
from scrubjay.storage.log.stated import SILENT, StreamName, ends_at
from scrubjay.storage.node.errand_messages import ReadLog
from scrubjay.storage.replica import transacting
from tests.unit.control.house import House
from tests.unit.control.test_old_items import changed, leader_of, log_of, stated, stream, told

VIEW = "NEW_AND_OLD_IMAGES"


def turned_on(house: House, name: str) -> TableMeta:
    table = house.table(name)
    streams = (*(table.streams or ()), new_stream(VIEW, house.env.clock.wall_us()))
    house.run(house.cluster.store.update_table(name, {"streams": streams, "status": "UPDATING"}))
    house.until(lambda: house.table(name).status == "ACTIVE")
    return house.table(name)


def turned_off(house: House, name: str) -> TableMeta:
    table = house.table(name)
    assert table.streams
    streams = (*table.streams[:-1], msgspec.structs.replace(table.streams[-1], status="DISABLING", ended_at=house.env.clock.wall_us()))
    house.run(house.cluster.store.update_table(name, {"streams": streams, "status": "UPDATING"}))
    house.until(lambda: house.table(name).status == "ACTIVE")
    return house.table(name)


def shown(house: House, table: TableMeta, at: int, *, known_end: bool = True) -> list[ItemChange]:
    """All that the stream shows, oldest first. at: of the table's streams. known_end: it is read by who knows of its end."""
    assert table.streams
    one = table.streams[at]
    (shard,) = one.shards
    last = shard.last if known_end else None
    found: list[ItemChange] = []
    lsn, position = Lsn(shard.first + 1), 0
    while last is None or lsn <= last:
        page = house.run(
            house.cluster.store.streams.read(
                table.partitions[0],
                lsn,
                position=position,
                last=None if last is None else Lsn(last),
                stream=StreamName(one.label, 0),
                limit=2,
            )
        )
        found += page.changes
        assert page.at_end or page.next > (lsn, position), "every page goes on"
        lsn, position = page.next
        if page.at_end:
            break
    return found


def test_on_and_off_and_on_again_under_writes() -> None:
    house = House(21)
    house.create("t")
    house.put(house.table("t"), 1, 1)
    for turn in (0, 1):
        table = turned_on(house, "t")
        for key in range(3):
            house.put(table, key, 100 * turn + 10 + key)
        table = turned_off(house, "t")
        for key in range(3):
            house.put(table, key, 100 * turn + 20 + key)
    firsts = [told(shown(house, table, at)) for at in (0, 1)]
    assert firsts[0] == [(key_of(0), None, 10), (key_of(1), 1, 11), (key_of(2), None, 12)]
    assert firsts[1] == [(key_of(key), 20 + key, 110 + key) for key in range(3)]
    assert [told(shown(house, table, at, known_end=False)) for at in (0, 1)] == firsts, (
        "whose catalogue is old sees no record of another one"
    )
    assert table.streams
    (ended,) = table.streams[0].shards
    assert ended.last is not None
    page = house.run(house.cluster.store.changes.read(table.partitions[0], Lsn(ended.first + 1), last=Lsn(ended.last)))
    assert (told(page.changes), page.next) == (firsts[0], (ended.last + 1, 0)), "the end alone is enough"
    log = log_of(house, leader_of(house, table.partitions[0].partition_id), table.partitions[0].partition_id)
    end = next(record for record in log if record.lsn == ended.last)
    assert end.kind is RecordKind.SCHEMA
    label = table.streams[0].label
    assert (ends_at(end, StreamName(label, 0)), ends_at(end, StreamName(label, 1 << 40))) == (True, False)


def test_places_within_a_record_go_on() -> None:
    house = House(22)
    house.create("t")
    table = turned_on(house, "t")
    parts = [TransactPart(table, put(key, key, blind=False)) for key in range(5)]  # type: ignore[arg-type]
    done = house.run(house.cluster.store.transact_write(parts, token=None, digest=b"d"))
    assert done.committed
    found = shown(house, table, 0)
    assert told(found) == [(key_of(key), None, key) for key in range(5)]
    assert [(one.lsn, one.position) for one in found] == [(found[0].lsn, position) for position in range(5)]
    lsn, position, size, pages = found[0].lsn, 0, max(one.size for one in found), []
    while lsn == found[0].lsn:
        page = house.run(house.cluster.store.changes.read(table.partitions[0], lsn, position=position, max_bytes=2 * size))
        pages.append([one.position for one in page.changes])
        lsn, position = page.next
    assert pages == [[0, 1], [2, 3], [4]], "of a record with more than a page's bytes a page shows a part"


def test_the_newest_place_is_behind_all_that_was_acknowledged_after_a_restart_too() -> None:
    """A copy that has just come up has applied its last checkpoint, and shows as new what was there before."""
    house = House(29)
    house.create("t")
    table = turned_on(house, "t")
    for key in range(5):
        house.put(table, key, key)
    last = shown(house, table, 0)[-1].lsn
    for host in house.cluster.hosts:
        host.crash(power=True)
    for host in house.cluster.hosts:
        host.start()
    assert house.run(house.cluster.store.streams.position(table.partitions[0])) >= last


def test_a_healed_copy_knows_what_the_log_said_after_a_restart_too() -> None:
    """It is told by a copy that has applied as far; of what was said behind the seal it is told nothing, for it applies that itself."""
    house = House(23)
    house.create("t")
    table = turned_on(house, "t")
    assert table.streams
    first = table.streams[0].shards[0].first
    partition = table.partitions[0].partition_id
    for key in range(6):
        house.put(table, key, key)
    house.checkpointed(table, 6)
    victim = next(host for host in house.cluster.hosts if host.name != leader_of(house, partition))
    house.rot(victim.name, table, 3)
    victim.process.node.members[partition].follow.stated = SILENT  # as on a disk that was empty
    assert house.scrub().exit_code == 2, "found and healed"
    assert victim.process.node.members[partition].stated.lsn == first
    victim.crash(power=True)
    victim.start()
    house.until(lambda: partition in victim.process.node.members and victim.process.node.members[partition].state == "ok")
    assert victim.process.node.members[partition].stated.lsn == first
    assert house.cluster.service._stated(partition, Lsn(first - 1)) is None


def test_a_leader_that_knows_nothing_of_its_log_says_where_a_stream_ends() -> None:
    """Otherwise the stream would end where the log begins, and show nothing."""
    house = House(24)
    table = changed(house, house.create("t").name, stream())
    partition = table.partitions[0].partition_id
    first = stated(house, table)
    house.put(table, 1, 1)
    for host in house.cluster.hosts:
        host.process.node.members[partition].follow.stated = SILENT
    table = house.run(house.cluster.metadata.put_table(msgspec.structs.replace(house.table("t"), streams=(stream(status="DISABLING"),))))
    fleet = house.cluster.parts.fleet
    gone = leader_of(house, partition)
    next(host for host in house.cluster.hosts if host.name == gone).crash(power=True)
    for host in house.cluster.hosts:
        if host.up:
            host.process.node.members[partition].table = table
    leader_of(house, partition)
    fleet.host(table)
    assert stated(house, table) > first


class Deaf:
    """A node's port which says that its log begins behind everything."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def ask(self, request: Any, done: Any, **more: Any) -> None:
        if isinstance(request, ReadLog):
            done(Missing("the log begins behind that", what="record"))
        else:
            self._port.ask(request, done, **more)


def test_what_a_leader_no_longer_has_and_nobody_archived_is_read_of_another_copy() -> None:
    house = House(25)
    house.stop_agents()
    table = changed(house, house.create("t").name, stream())
    first = stated(house, table)
    house.put(table, 1, 1)
    ports = house.cluster.parts.fleet.ports
    leader = leader_of(house, table.partitions[0].partition_id)
    ports[leader] = Deaf(ports[leader])  # type: ignore[assignment]
    page = house.run(house.cluster.store.changes.read(table.partitions[0], Lsn(first + 1)))
    assert told(page.changes) == [(key_of(1), None, 1)]
    for name in list(ports):
        ports[name] = Deaf(ports[name])  # type: ignore[assignment]
    with pytest.raises(Missing):
        house.run(house.cluster.store.changes.read(table.partitions[0], Lsn(first + 1)))


def test_the_beginning_of_the_day_lies_behind_all_that_is_archived_and_older() -> None:
    house = House(26)
    house.stop_agents()
    table = house.create("t")
    info = table.partitions[0]
    house.put(table, 1, 1)
    never = Stamp((1 << 63) - 1)
    streams = house.cluster.store.streams
    assert house.run(streams.since(table, info, never)) == 1, "nothing is archived: nodes have all there is"
    house.start_agents()
    house.until(lambda: house.cluster.parts.fleet.archived(info.partition_id) > 0, seconds=120)
    house.stop_agents()
    archived = house.cluster.parts.fleet.archived(info.partition_id)
    house.put(table, 1, 2)
    assert house.run(streams.since(table, info, never)) == archived + 1
    assert house.run(streams.since(table, info, Stamp(1))) == 1


def test_a_transaction_that_could_not_be_committed_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was there before, its COMMIT would be more than a record can hold: it would hold its items, and keep the log from being sealed, for ever."""
    house = House(27)
    house.create("t")
    table = turned_on(house, "t")
    monkeypatch.setattr(transacting, "COMMIT_BYTES_MAX", 500)

    def write(*commands: Any) -> Any:
        parts = [TransactPart(table, command) for command in commands]
        return house.run(house.cluster.store.transact_write(parts, token=f"t{len(commands)}", digest=b"".join(one.key for one in commands)))

    assert write(put(1, 60, blind=False), put(2, 60, blind=False)).committed
    with pytest.raises(Invalid, match="more than a record can hold"):
        write(cas(1, 60, 61), cas(2, 60, 61), put(3, 60, blind=False))
    house.put(table, 1, 62)
    assert house.rows(table) == {key_of(1): 62, key_of(2): 60}
    encoded = records.encode_effects([records.Effect(records.Op.PUT, b"k", b"body", b"old")])
    assert len(encoded) == records.EFFECT_SIZE_MAX + len(b"k" + b"body" + b"old")


def test_a_copy_that_cannot_be_asked_may_hold_what_the_others_lack() -> None:
    house = House(28)
    house.stop_agents()
    table = changed(house, house.create("t").name, stream())
    first = stated(house, table)
    house.put(table, 1, 1)
    ports = house.cluster.parts.fleet.ports
    leader = leader_of(house, table.partitions[0].partition_id)
    for name in list(ports):
        if name != leader:
            ports[name] = Deaf(ports[name])  # type: ignore[assignment]
    house.cluster.parts.fleet.ports[leader].ask = (  # type: ignore[method-assign]
        lambda request, done, **_: done(Unavailable("away")) if isinstance(request, ReadLog) else None
    )
    with pytest.raises(Unavailable, match="may hold it"):
        house.run(house.cluster.store.changes.read(table.partitions[0], Lsn(first + 1)))
