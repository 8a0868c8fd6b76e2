"""What global indexes met on the way: a stop, a stream that is turned on meanwhile, an item that goes to and fro, and more of them than can be looked at all the time."""

from __future__ import annotations

import pytest

from scrubjay.base.ids import Lsn, NodeName
from scrubjay.scrubber.verdict import Verdict
from scrubjay.server.stop import LAST_WORDS_S
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, new_stream
from scrubjay.storage.commands.values import PutCommand, WriteAnswer
from scrubjay.storage.control.indexing import feeding, proof
from scrubjay.storage.control.indexing import keeper as keeping
from scrubjay.storage.control.streams import is_turning
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.items.keys import key_item, storage_key
from scrubjay.storage.items.values import Item
from tests.unit.control.house import House
from tests.unit.control.test_global_indexes import ATTRIBUTES, BY_COLOUR, KEY, Indexed
from tests.unit.control.test_stop import stop


def test_a_planned_stop_waits_for_no_word_of_an_index_that_nobody_archives() -> None:
    house = House(33)
    tables = [Indexed(house, BY_COLOUR, name=name) for name in ("indexed", "dropped")]
    for indexed in tables:
        indexed.write(10)
        indexed.agrees()
    house.run(house.cluster.store.delete_table("dropped"))  # its index is there until its logs have ended
    left, seconds = stop(house)
    assert left == 0
    assert seconds < LAST_WORDS_S / 2
    assert not any("not closed" in line for line in house.lines)


def test_a_stream_that_is_turned_on_while_an_index_is_filled_comes_on() -> None:
    house = House(35)
    indexed = Indexed(house)
    indexed.write(10)
    keeper = house.cluster.parts.keeper
    assert keeper is not None
    house.run(house.cluster.store.create_index("indexed", BY_COLOUR, ATTRIBUTES, {}))
    house.until(lambda: indexed.table.status == "ACTIVE")
    stream = new_stream("NEW_IMAGE", house.env.clock.wall_us())
    table = house.run(house.cluster.store.update_table("indexed", {"streams": (stream,), "status": "UPDATING"}))
    house.run(keeper._change(table, indexed.index("by-colour"), absent=()))  # whatever it notes of the index just then
    assert (indexed.table.status, is_turning(indexed.table)) == ("UPDATING", True)
    house.until(lambda: indexed.table.status == "ACTIVE")
    assert indexed.table.streams
    assert indexed.table.streams[-1].status == "ENABLED"
    indexed.active("by-colour")
    indexed.agrees()


def coloured(colour: str) -> Item:
    return {"k": ("S", "k1"), "c": ("S", colour), "n": ("N", "1")}


def test_an_item_that_goes_to_and_fro_while_it_is_compared_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as it was when the row was looked at, and the row is as it was in between."""
    house = House(37)
    indexed = Indexed(house, BY_COLOUR)
    (info,) = indexed.table.partitions

    async def put(colour: str) -> None:
        item = coloured(colour)
        key = storage_key(KEY, item)
        future = house.env.tasks.future()
        house.cluster.store.write(indexed.table, PutCommand(key, encode_item(key_item(KEY, item)), encode_item(item)), future.set_result)
        assert isinstance(await future, WriteAnswer)
        indexed.items[key] = item

    house.run(put("red"))
    indexed.agrees()
    parts = house.cluster.parts.feeds
    assert parts is not None
    comparison = proof._Comparison(parts._parts, indexed.table, info, indexed.index("by-colour"))
    key = storage_key(KEY, coloured("red"))
    made = GlobalRows(KEY, indexed.index("by-colour")).row(key, encode_item(coloured("red")))
    assert made is not None
    waited, looked, times = comparison._fed, comparison._row, [0]

    async def fed(place: PartitionInfo, source: PartitionInfo, lsn: Lsn) -> None:
        times[0] += 1
        if times[0] == 1:  # between the first look at the item and the look at the row
            await put("blue")
            await waited(place, source, Lsn(lsn + 1))
        await waited(place, source, lsn)

    async def row(at: bytes) -> bytes | None:
        found = await looked(at)
        if times[0] == 1:  # and before the second look at the item
            await put("red")
        return found

    monkeypatch.setattr(comparison, "_fed", fed)
    monkeypatch.setattr(comparison, "_row", row)
    assert house.run(comparison._judged(key, made[0])) is None
    assert times[0] > 1  # it was looked at again


def test_an_index_far_behind_is_not_compared_rather_than_remembered_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "DOUBTS_MAX", 3)
    monkeypatch.setattr(proof, "PAGE_ROWS", 2)
    house = House(39)
    indexed = Indexed(house, BY_COLOUR)
    feeds = house.cluster.parts.feeds
    prover = house.service.prover
    assert feeds is not None
    assert prover is not None
    indexed.write(40)
    indexed.agrees()
    (info,) = indexed.table.partitions
    comparison = proof._Comparison(feeds._parts, indexed.table, info, indexed.index("by-colour"))
    feeds.stop()
    indexed.write(60)
    house.pass_time(3)  # and a checkpoint
    assert 3 <= len(house.run(comparison._of_items())) <= 4
    proving = house.env.tasks.spawn(prover.prove(indexed.table, info), name="prove")
    house.pass_time(1)  # it has looked at all that it will
    feeds.start()
    house.until(proving.done)
    (why,) = proving.result()
    assert "lags behind" in why
    house.pass_time(3)
    assert house.run(prover.prove(indexed.table, info)) == []


def test_while_an_index_is_compared_no_log_is_kept_and_a_copy_to_be_healed_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(45)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(20)
    indexed.agrees()
    (info,) = indexed.table.partitions
    prover = house.service.prover
    assert prover is not None
    prove, held = prover.prove, list[int]()

    async def watched(table: TableMeta, part: PartitionInfo) -> list[str]:
        await house.env.tasks.sleep(0.5)
        held.append(sum(len(node.replicas[info.partition_id].checkpoints._holds) for node in house.cluster.nodes()))
        return await prove(table, part)

    monkeypatch.setattr(prover, "prove", watched)
    assert house.scrub().verdict is Verdict.MATCH
    assert held == [0]
    key = max(house.tree("n2", info).rows)
    assert house.cluster.trees[NodeName("n2")].flip_row(info.partition_id, key, 77)
    report = house.scrub()
    assert report.healed
    assert any("healed first" in line for line in report.notes)
    assert house.scrub().verdict is Verdict.MATCH
    assert held == [0, 0]


def test_hundreds_of_feeds_together_look_no_more_often_than_a_few_would() -> None:
    house = House(41)
    indexed = Indexed(house, BY_COLOUR)
    indexed.agrees()
    feeds = house.cluster.parts.feeds
    assert feeds is not None
    house.until(lambda: len(feeds._running) == 1)
    assert feeds.pause_s() == feeding.LOOK_S
    ((_, running),) = feeds._running.items()
    monkeyed = dict.fromkeys(range(1_000), running)
    feeds._running, kept = monkeyed, feeds._running  # type: ignore[assignment]
    try:
        assert feeds.pause_s() == 1_000 / feeding.LOOKS_PER_SECOND
        assert running[0]._pause_s() == feeds.pause_s()
    finally:
        feeds._running = kept


@pytest.mark.slow
def test_an_index_with_copies_that_go_bad_again_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BAD_US", 1_000_000)
    house = House(43)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    indexed.agrees()
    keeper = house.cluster.parts.keeper
    assert keeper is not None

    def spoil() -> str:
        before = indexed.index("by-colour")
        (info,) = before.partitions
        node = next(one for one in house.cluster.hosts if one.name == "n2").process.node
        house.until(lambda: info.partition_id in node.replicas)
        node.replicas[info.partition_id].suspect("planted")
        return before.table_id

    before = spoil()
    house.until(lambda: indexed.index("by-colour").table_id != before, seconds=60)
    again = spoil()
    house.pass_time(20)
    assert (indexed.index("by-colour").table_id, keeper.rebuilds) == (again, 1)
    house.until(lambda: indexed.index("by-colour").table_id != again, seconds=150)
    indexed.agrees()
