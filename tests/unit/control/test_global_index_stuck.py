"""What would keep a global index from ever being whole again: log that cannot be read, an index beside it that cannot go on, a trouble of another one. And how much of an index a scrub looks at."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.archiver.format.layout import SegmentKey, parse
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.scrubber.verdict import Verdict
from scrubjay.server import health
from scrubjay.server.health import late_indexes
from scrubjay.storage.catalogue import GlobalIndex, TableMeta, index_table
from scrubjay.storage.control.indexing import feeding, proof
from scrubjay.storage.control.indexing import keeper as keeping
from tests.unit.control.house import SECOND, House
from tests.unit.control.test_global_indexes import ATTRIBUTES, BY_COLOUR, BY_NUMBER, Indexed, planted


def behind(house: House) -> Indexed:
    """An index that lacks what only the archive has."""
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    indexed.agrees()
    feeds = house.cluster.parts.feeds
    assert feeds is not None
    feeds.stop()
    indexed.write(40)
    first = indexed.table.partitions[0].partition_id

    def let_go() -> bool:
        indexed.write()
        return all(replica.group.log.first > 40 for node in house.cluster.nodes() if (replica := node.replicas[first]).group is not None)

    house.until(let_go, seconds=300)
    return indexed


def rot_segments(house: House, partition: PartitionId) -> None:
    """Every segment of a partition's log is unreadable."""
    keys = [
        key
        for key in house.cluster.archive.objects
        if isinstance(at := parse(key), SegmentKey) and not at.manifest and at.partition == partition
    ]
    assert keys
    for key in keys:
        house.cluster.archive.flip_bit(key)


@pytest.mark.slow
def test_an_index_whose_log_is_rotten_in_the_archive_is_late_and_then_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "INDEX_LATE_US", 30 * SECOND)
    house = House(51)
    indexed = behind(house)
    feeds, keeper = house.cluster.parts.feeds, house.cluster.parts.keeper
    assert feeds is not None
    assert keeper is not None
    rot_segments(house, indexed.table.partitions[0].partition_id)
    before = indexed.index("by-colour").table_id
    feeds.start()
    house.pass_time(40)
    assert (keeper.rebuilds, indexed.index("by-colour").table_id) == (0, before), "what rots may be mended for a while"
    (late,) = late_indexes(feeds)
    assert "checksum" in late.why or "segment" in late.why
    house.until(lambda: keeper.rebuilds == 1, seconds=60)
    indexed.agrees(seconds=60)
    indexed.write(10)
    indexed.agrees()
    house.until(lambda: late_indexes(feeds) == () and indexed.index("by-colour").table_id != before)
    assert keeper.rebuilds == 1


@pytest.mark.slow
def test_what_cannot_be_read_for_a_while_costs_an_index_nothing_and_the_next_time_has_its_own_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(53)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    indexed.agrees()
    feeds, keeper = house.cluster.parts.feeds, house.cluster.parts.keeper
    assert feeds is not None
    assert keeper is not None
    changes, rotten = house.cluster.store.changes, [False]
    records = changes.records

    async def read(*args: Any, **options: Any) -> Any:
        if rotten[0]:
            raise Corrupt("planted", what="segment")
        return await records(*args, **options)

    monkeypatch.setattr(changes, "records", read)
    for _ in range(2):
        rotten[0] = True
        indexed.write(3)
        house.pass_time(40)
        assert "planted" in feeds.states()[0].why
        rotten[0] = False
        indexed.agrees()
        house.until(lambda: not feeds.states()[0].why)
    assert keeper.rebuilds == 0


def test_log_that_is_rotten_in_the_archive_is_read_of_a_copy_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(55)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    changes = house.cluster.store.changes
    (info,) = indexed.table.partitions
    kept = house.run(changes.records(info, Lsn(2)))
    assert kept.records
    of, asked = changes._of, list[NodeName]()

    async def healed(node: NodeName, *args: Any) -> Any:
        """All but the last one begin further behind."""
        asked.append(node)
        if len(asked) < 3:
            raise Missing("let go of", what="record", lsn=2)
        return await of(node, *args)

    async def rotten(*_args: Any, **_options: Any) -> Any:
        raise Corrupt("planted", what="segment")

    monkeypatch.setattr(changes, "_of", healed)
    monkeypatch.setattr(changes.archive, "read", rotten)
    assert house.run(changes.records(info, Lsn(2))).records[0] == kept.records[0]
    assert len(set(asked)) == 3
    asked.clear()
    monkeypatch.setattr(changes, "_of", lambda *_args: rotten())
    with pytest.raises(Unavailable):
        house.run(changes.records(info, Lsn(2)))


@pytest.mark.slow
def test_how_late_an_index_is_does_not_begin_with_the_process_that_feeds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "CHANGES", 5)
    house = House(57)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    indexed.agrees()
    feeds = house.cluster.parts.feeds
    assert feeds is not None
    feeds.stop()
    indexed.write(30)
    house.pass_time(100)
    feed = feeding.IndexFeed(feeds._parts, indexed.table, indexed.table.partitions[0], indexed.index("by-colour"))
    house.run(feed._begin())
    assert house.run(feed._follow())
    assert feed.view().lag_us > 100 * SECOND
    while house.run(feed._follow()):
        pass
    assert feed.view().lag_us == 0


def test_an_index_that_is_not_whole_and_has_a_bad_copy_begins_anew_though_nobody_can_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "BAD_US", 1_000_000)
    house = House(59)
    indexed = Indexed(house, BY_NUMBER)
    indexed.write(10)
    keeper = house.cluster.parts.keeper
    assert keeper is not None
    filled, unread = keeper.filled, set[str]()

    async def asked(table: TableMeta, index: GlobalIndex) -> bool:
        if not unread:
            unread.add(index.table_id)
        if index.table_id in unread:
            raise Unavailable("nobody leads it")
        return await filled(table, index)

    monkeypatch.setattr(keeper, "filled", asked)
    house.run(house.cluster.store.create_index("indexed", BY_COLOUR, ATTRIBUTES, {}))
    house.until(lambda: bool(unread))
    (info,) = indexed.index("by-colour").partitions
    house.cluster.nodes()[1].replicas[info.partition_id].suspect("planted")
    indexed.active("by-colour")
    indexed.agrees()
    assert keeper.rebuilds == 1
    house.run(house.cluster.store.delete_index("indexed", "by-number"))
    house.until(lambda: len(indexed.table.global_indexes or ()) == 1)


@pytest.mark.slow
def test_an_index_that_is_built_beside_another_and_has_no_leader_for_its_copies_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BAD_US", 1_000_000)
    monkeypatch.setattr(keeping, "AGAIN_US", 2_000_000)
    house = House(61)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(10)
    indexed.agrees()
    feeds, keeper = house.cluster.parts.feeds, house.cluster.parts.keeper
    assert feeds is not None
    assert keeper is not None
    feeds.stop()  # it is not filled yet
    before = indexed.index("by-colour")
    house.run(keeper.rebuild(indexed.table.table_id, "by-colour", "a test asks for it"))
    house.until(lambda: (one := indexed.index("by-colour").next) is not None and one.made)
    following = indexed.index("by-colour").next
    assert following is not None
    (info,) = following.partitions
    house.until(lambda: all(info.partition_id in node.replicas for node in house.cluster.nodes()))
    house.cluster.nodes()[0].replicas[info.partition_id].suspect("planted")
    house.pass_time(8)
    assert indexed.index("by-colour").next == following, "the others go on with it"
    for node in house.cluster.nodes():
        node.replicas[info.partition_id].suspect("planted")
    house.until(lambda: (one := indexed.index("by-colour").next) is not None and one.table_id != following.table_id, seconds=30)
    assert indexed.index("by-colour").table_id == before.table_id  # and is read meanwhile
    feeds.start()
    house.until(lambda: indexed.index("by-colour").table_id != before.table_id)
    indexed.agrees()


@pytest.mark.parametrize("partitions", [1, 3])
def test_all_partitions_of_a_table_look_at_each_row_of_an_index_once(partitions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(63, partitions=partitions)
    indexed = Indexed(house, BY_NUMBER)
    indexed.write(60, keys=40)
    indexed.agrees()
    looked: list[bytes] = []
    ranged = proof._Comparison._range

    async def seen(*args: object) -> object:
        answer = await ranged(*args)  # type: ignore[arg-type]
        looked.extend(key for key, _ in answer.rows)
        return answer

    monkeypatch.setattr(proof._Comparison, "_range", seen)
    prover = house.service.prover
    assert prover is not None
    for info in indexed.table.partitions:
        assert house.run(prover.prove(indexed.table, info)) == []
    assert sorted(looked) == sorted(indexed.rows("by-number"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lacking", "different", "extra"])
def test_a_wrong_row_is_found_by_a_scrub_of_the_table_whichever_partition_has_its_item(fault: str) -> None:
    house = House(65, partitions=3)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(40, keys=30)
    indexed.agrees()
    assert house.scrub().verdict is Verdict.MATCH
    planted(house, indexed, fault)
    report = house.scrub()
    found = [one.finding for table in report.tables for part in table.partitions for one in part.findings]
    assert report.verdict is Verdict.MISMATCH
    assert {(one.kind, one.copy) for one in found} == {(fault, "index by-colour")}
    router, meta = house.cluster.router, index_table(indexed.table, indexed.index("by-colour"))
    assert meta.partitions
    for one in found:
        assert one.storage_key is not None
        its = router.partition_of(indexed.table, one.storage_key).partition_id
        assert (f"of partition {its}" in one.detail) is (its != one.partition)
    indexed.agrees(seconds=120)
    assert house.scrub().verdict is Verdict.MATCH
