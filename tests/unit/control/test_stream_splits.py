"""A stream of a table whose partitions become two: while it is turned on and off, and read by its lineage afterwards."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.whole.commands import key_of, value_of
from scrubjay.storage.catalogue import TableMeta, TableStream, every_partition, new_stream
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.stated import StreamName
from tests.unit.control.house import House
from tests.unit.control.test_split_whole import HALF, KEYS, Writing

QUARTER = bytes([0x40]) + bytes(15)


def followed(house: House, table: TableMeta, stream: TableStream) -> list[tuple[PartitionId, ItemChange]]:
    """All that it shows, as one reads it who begins with a shard once its parent is read to the end."""
    found: list[tuple[PartitionId, ItemChange]] = []
    left = list(stream.shards)
    while left:
        shard = next(one for one in left if one.parent not in {other.partition_id for other in left})
        left.remove(shard)
        info = next(one for one in every_partition(table) if one.partition_id == shard.partition_id)
        lsn, position, last = Lsn(shard.first + 1), 0, shard.last
        while last is None or lsn <= last:
            name = StreamName(stream.label, table.version if stream.on else 0)
            until = None if last is None else Lsn(last)
            page = house.run(house.cluster.store.streams.read(info, lsn, position=position, last=until, stream=name, limit=7))
            found += [(shard.partition_id, change) for change in page.changes]
            lsn, position = page.next
            if page.at_end:
                break
        assert last is None or lsn > last, "whoever reads on comes to the end of one that is closed, and goes on with its children"
    return found


def check(writing: Writing, stream: TableStream, *, asked: int) -> int:
    """Of each item its changes are a chain, and every acknowledged write of what the stream shows is there, once: up to a record from which on the log says that it is off, and that is none of the first
    `asked` writes. How many changes there are."""
    found = followed(writing.house, writing.now, stream)
    items: dict[bytes, int | None] = {}
    ends: dict[PartitionId, int] = {}
    for partition, change in found:
        if change.key in items:
            assert value_of(change.old) == items[change.key], change
        items[change.key] = value_of(change.new)
        assert ends.get(partition, 0) < change.lsn, "in order, none twice"
        ends[partition] = change.lsn
    told = {(partition, change.lsn, change.key, value_of(change.new)) for partition, change in found}
    span = {shard.partition_id: (shard.first, shard.last or 1 << 62) for shard in stream.shards}
    for number, (_, key, value, answer) in enumerate(writing.asked):
        said = answer.result()
        first, last = span.get(said.partition, (0, 0))
        if first < said.lsn < last and (number < asked or said.lsn < ends.get(said.partition, 0)):
            assert (said.partition, said.lsn, key_of(key), value) in told, (number, said)
    return len(found)


@pytest.mark.slow
def test_a_partition_becomes_two_while_a_stream_is_turned_on_and_off(monkeypatch: Any) -> None:
    """What the logs say is asked of partitions that are others by the time that the catalogue takes it down."""
    writing = Writing()
    house, fleet = writing.house, writing.house.cluster.parts.fleet
    real, answers = fleet.stated, list[Any]()

    def late(table: TableMeta) -> Any:
        """Nothing until the split is in the catalogue; then at first what was so before it."""
        if len(writing.now.former or ()) < splits:
            if (found := real(table)) is not None:
                answers[:] = [found]
            return None
        return answers.pop() if answers else real(table)

    monkeypatch.setattr(fleet, "stated", late)
    now_us = house.env.clock.wall_us
    for splits, cut, status in ((1, HALF, "ENABLED"), (2, QUARTER, "DISABLED")):
        asked = len(writing.asked)
        streams = writing.now.streams or ()
        if status == "ENABLED":
            streams = (new_stream("NEW_AND_OLD_IMAGES", now_us()),)
        else:
            streams = (*streams[:-1], msgspec.structs.replace(streams[-1], status="DISABLING", ended_at=now_us()))
        house.run(house.cluster.store.update_table("orders", {"streams": streams, "status": "UPDATING"}))
        house.run(writing.splits.begin(writing.now, writing.now.partitions[0], cut))
        writing.write_until(lambda: writing.now.status == "ACTIVE")
        assert len(writing.now.former or ()) == splits
        assert [one.status for one in writing.now.streams or ()] == [status]
        for _ in range(KEYS):
            writing.step()
    writing.check()
    (stream,) = writing.now.streams or ()
    assert [one.last is not None for one in stream.shards] == [True] * 4, "the first two, and what one of them became"
    assert check(writing, stream, asked=asked) >= KEYS


def test_a_stream_goes_on_in_the_halves_of_halves_over_fail_overs() -> None:
    """Off and on again in between: two streams, each with what was written while it was on."""
    writing = Writing()
    house = writing.house
    now_us = house.env.clock.wall_us

    def turn(*streams: TableStream) -> None:
        house.run(house.cluster.store.update_table("orders", {"streams": streams, "status": "UPDATING"}))
        writing.write_until(lambda: writing.now.status == "ACTIVE")

    turn(new_stream("NEW_AND_OLD_IMAGES", now_us()))
    writing.begin()
    writing.mapped()
    for _ in range(KEYS):
        writing.step()
    leader = next(host for host in house.cluster.hosts if host.name == writing.led_by(writing.now.partitions[0]))
    house.run(writing.splits.begin(writing.now, writing.now.partitions[0], QUARTER))
    leader.crash(power=True)
    house.pass_time(4)
    leader.start()
    writing.write_until(lambda: len(writing.now.former or ()) == 2)
    (first,) = writing.now.streams or ()
    assert [len([one for one in first.shards if one.parent == shard.partition_id]) for shard in first.shards] == [2, 2, 0, 0, 0]
    asked = len(writing.asked)
    turn(msgspec.structs.replace(first, status="DISABLING", ended_at=now_us()))
    for _ in range(KEYS):
        writing.step()
    turn(*(writing.now.streams or ()), new_stream("KEYS_ONLY", now_us()))
    for _ in range(KEYS):
        writing.step()
    writing.check()
    first, second = writing.now.streams or ()
    assert (first.status, second.status) == ("DISABLED", "ENABLED")
    assert check(writing, first, asked=asked) > KEYS
    assert KEYS <= check(writing, second, asked=len(writing.asked)) < 2 * KEYS
    house.until(writing.gone)  # what was split is read of the archive by now
    assert check(writing, first, asked=asked) > KEYS


def test_whoever_turns_a_stream_off_without_having_seen_the_last_split_takes_no_shard_away() -> None:
    writing = Writing()
    house = writing.house
    now_us = house.env.clock.wall_us
    on = new_stream("NEW_AND_OLD_IMAGES", now_us())
    house.run(house.cluster.store.update_table("orders", {"streams": (on,), "status": "UPDATING"}))
    writing.write_until(lambda: writing.now.status == "ACTIVE")
    (seen,) = writing.now.streams or ()
    writing.begin()
    writing.mapped()
    off = msgspec.structs.replace(seen, status="DISABLING", ended_at=now_us())
    asked = len(writing.asked)
    house.run(house.cluster.store.update_table("orders", {"streams": (off,), "status": "UPDATING"}))
    writing.write_until(lambda: writing.now.status == "ACTIVE")
    writing.check()
    (stream,) = writing.now.streams or ()
    assert (stream.status, len(stream.shards)) == ("DISABLED", 3)
    assert all(one.last is not None for one in stream.shards)
    assert check(writing, stream, asked=asked) > 0
