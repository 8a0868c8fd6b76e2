"""Who follows the log of a partition that is split, on real nodes in simulated time: streams close and go on, global indexes are fed to its end and then from both children."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.sim.whole.commands import key_of
from scrubjay.storage.api.streams import part_description, part_id
from scrubjay.storage.catalogue import FinalSeal, SplitIntent, StreamShard, TableMeta, TableStream, every_partition, with_children
from scrubjay.storage.control.indexing.feeding import IndexFeed
from scrubjay.storage.control.streams import turned
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.stated import StreamName
from tests.unit.control.house import House
from tests.unit.control.test_global_indexes import BY_COLOUR, BY_NUMBER, Indexed
from tests.unit.control.test_streams import turned_on

HALF = bytes([0x80]) + bytes(15)


def split(house: House, name: str, *, cut: bytes = HALF, number: int = 0, step: Any = None) -> TableMeta:
    """Until the map names the children; `step` is done all the while."""
    table = house.table(name)
    splits: Any = house.cluster.parts.splits
    house.run(splits.begin(table, table.partitions[number], cut))
    before = len(table.former or ())
    for _ in range(2000):
        if len(house.table(name).former or ()) > before:
            return house.table(name)
        if step is not None:
            step()
        house.pass_time(0.02)
    raise AssertionError(splits.waiting)


def done(house: House, name: str) -> None:
    """Until the copies of all that was split are gone: what is read of them now comes from the archive."""
    house.until(lambda: all(one.archived_at is not None for one in house.table(name).former or ()))


def shown(house: House, table: TableMeta, shard: StreamShard, label: str) -> list[ItemChange]:
    """All that a shard shows by now, oldest first."""
    info = next(one for one in every_partition(table) if one.partition_id == shard.partition_id)
    found: list[ItemChange] = []
    at, last = (Lsn(shard.first + 1), 0), None if shard.last is None else Lsn(shard.last)
    while last is None or at[0] <= last:
        page = house.run(house.cluster.store.streams.read(info, at[0], position=at[1], last=last, stream=StreamName(label, 0)))
        found += page.changes
        at = page.next
        if page.at_end:
            break
    return found


@pytest.mark.slow
def test_a_stream_shows_each_key_in_order_through_two_splits() -> None:
    house = House(31)
    house.create("t")
    turned_on(house, "t")
    written: list[tuple[int, int]] = []

    def step() -> None:
        key, version = len(written) % 12, len(written)
        house.put(house.table("t"), key, version)
        written.append((key, version))

    for _ in range(24):
        step()
    split(house, "t", step=step)
    for _ in range(24):
        step()
    table = split(house, "t", number=1, cut=bytes([0xC0]) + bytes(15), step=step)
    for _ in range(12):
        step()
    assert table.stream is not None
    done(house, "t")
    stream = house.table("t").stream
    assert stream is not None
    first, left, right, third, fourth = stream.shards
    assert (first.last, right.last is None, left.last, third.last, fourth.last) == (left.first, False, None, None, None)
    assert (left.parent, right.parent, third.parent, fourth.parent) == (*[first.partition_id] * 2, *[right.partition_id] * 2)
    told = {
        shard.partition_id: [(one.key, one.new) for one in shown(house, house.table("t"), shard, stream.label)] for shard in stream.shards
    }
    for key in range(12):
        of = [item for shard in stream.shards for at, item in told[shard.partition_id] if at == key_of(key)]
        assert len(of) == sum(one == key for one, _ in written), "each change once"
        assert len(set(of)) == len(of)
    assert sum(map(len, told.values())) == len(written)
    assert all(told.values())
    shards = [part_description(stream, one) for one in stream.shards]
    assert [one.get("ParentShardId") for one in shards] == [None, *[part_id(stream, first)] * 2, *[part_id(stream, right)] * 2]
    assert ["EndingSequenceNumber" in one["SequenceNumberRange"] for one in shards] == [True, False, True, False, False]


@pytest.mark.slow
def test_an_index_is_fed_to_the_end_of_the_parent_and_then_from_both_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody feeds while the partition is split; what is left of its log is fed then, and a row that it took away is away. At the second split the feeds go on."""
    house = House(33)
    indexed = Indexed(house, BY_COLOUR, BY_NUMBER)
    indexed.write(40)
    indexed.agrees()
    follow = IndexFeed._follow

    async def no_follow(self: IndexFeed, until: Lsn | None = None) -> bool:
        return False

    monkeypatch.setattr(IndexFeed, "_follow", no_follow)
    table = split(house, "indexed", step=lambda: indexed.write(2))
    monkeypatch.setattr(IndexFeed, "_follow", follow)
    assert table.former
    for _ in range(4):
        indexed.write(10)
        house.pass_time(0.5)
    indexed.agrees()
    split(house, "indexed", number=1, cut=bytes([0xC0]) + bytes(15), step=lambda: indexed.write(1))
    indexed.write(30)
    indexed.agrees()
    views = house.cluster.parts.feeds.views()
    assert {view.partition for view in views} == {info.partition_id for info in house.table("indexed").partitions}
    assert not any(view.backfilling or view.lost for view in views)
    assert sum(view.rows for view in views) == 0, "no item was put in anew"
    table = house.table("indexed")
    assert table.former
    assert table.global_indexes
    late = IndexFeed(house.cluster.parts.feeds._parts, table, table.former[0].info, table.global_indexes[0])
    begins = house.env.tasks.spawn(late._beginning(), name="of a partition that is no more")
    house.pass_time(1)
    assert not begins.done(), "it falls over nothing: whoever feeds the children ends it"
    begins.cancel()
    done(house, "indexed")


def stream_of(*shards: StreamShard, status: str = "ENABLED") -> TableStream:
    return TableStream(label="l", view="KEYS_ONLY", status=status, created_at=1, shards=shards)


def test_what_a_map_does_to_streams_that_are_on_going_off_and_off() -> None:
    parent, left, right, other = (PartitionId(name) for name in ("p", "l", "r", "o"))
    house = House(34)
    house.create("t")
    base = house.table("t")
    info = msgspec.structs.replace(base.partitions[0], partition_id=parent)
    streams = (
        stream_of(StreamShard(parent, 3, 8), StreamShard(other, 1, 5), status="DISABLED"),
        stream_of(StreamShard(parent, 9), StreamShard(other, 6), status="DISABLING"),
    )
    table = msgspec.structs.replace(
        base, partitions=(info,), streams=streams, split=SplitIntent("0" * 32, parent, "8" + "0" * 31, left, right, 5)
    )
    mapped = with_children(table, FinalSeal(parent, 20, 1 << 40, "", "", 0))
    assert mapped.streams
    assert mapped.streams[0] == streams[0], "it ended before"
    assert mapped.streams[1].shards == (
        StreamShard(parent, 9, 20), StreamShard(left, 20, parent=parent), StreamShard(right, 20, parent=parent), StreamShard(other, 6)
    )  # fmt: skip
    off = turned(mapped, {left: Lsn(21), right: Lsn(22), other: Lsn(30)}, 77)
    assert off.streams
    assert [(one.partition_id, one.last) for one in off.streams[1].shards] == [(parent, 20), (left, 21), (right, 22), (other, 30)]
    dropped = msgspec.structs.replace(
        mapped, status="DROPPED", dropped_at=80, streams=(msgspec.structs.replace(mapped.streams[1], status="ENABLED"),),
        finals=(FinalSeal(left, 40, 1, "", "", 0), FinalSeal(right, 41, 1, "", "", 0), FinalSeal(other, 42, 1, "", "", 0)),
    )  # fmt: skip
    (kept,) = dropped.streams_kept(81)
    assert [one.last for one in kept.shards] == [20, 40, 41, 42]
