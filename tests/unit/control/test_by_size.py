"""What is split by itself for its size, and what is not, on real nodes in simulated time; and the rules that keep a split from beginning."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.storage.catalogue import DRAINING, REMOVED, NodeMember, RestoreOrigin, SplitIntent, TableMeta
from scrubjay.storage.cluster_version import SPLITTING
from scrubjay.storage.control import by_size
from scrubjay.storage.control.by_size import APART_US, LOOK_S, ONE_KEY, SplitsBySize, keeps_whole, rests
from scrubjay.storage.node.errand_messages import room_to_split
from tests.unit.control.house import House
from tests.unit.control.test_splits import Script

SIZE = 2_000
WIDE = 96
"""A value whose item has about 150 bytes with its keys."""


class Grown:
    """keys: of the one table, of one partition."""

    def __init__(self, keys: int = 20, *, size: int = SIZE) -> None:
        self.house = House(split_size=size)
        self.table = self.house.create("orders")
        self.fill(range(keys))

    def fill(self, keys: range) -> None:
        answers = [self.house.ask(self.now, key, WIDE) for key in keys]
        for answer in answers:
            self.house.run(answer)

    @property
    def now(self) -> TableMeta:
        return self.house.known(self.table.table_id)

    @property
    def by_size(self) -> SplitsBySize:
        found: SplitsBySize | None = self.house.cluster.parts.by_size
        assert found is not None
        return found

    def why(self) -> list[str]:
        return [one.why for one in self.by_size.large.get(self.table.table_id, ())]

    def lines(self, text: str) -> list[str]:
        return [line for line in self.house.cluster.lines if text in line]

    def rests(self) -> str:
        parts = self.house.cluster.parts
        return rests(parts.fleet, parts.metadata)

    def keeps(self, table: TableMeta | None = None, *, later_us: int = 0) -> str:
        table = table or self.now
        lacks = self.house.cluster.store.version.lacks(SPLITTING)
        now_us = self.house.env.clock.wall_us() + later_us
        return keeps_whole(self.house.cluster.parts.fleet, table, table.partitions[0], lacks=lacks, now_us=now_us)


@pytest.mark.slow
def test_what_has_grown_too_large_is_split_and_its_halves_not_before_a_while_if_they_grow_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_size, "APART_US", 20_000_000)
    grown = Grown()
    house = grown.house
    house.until(lambda: bool(grown.now.former))
    assert len(grown.now.partitions) == 2
    grown.fill(range(20, 40))
    house.pass_time(2 * LOOK_S)
    assert len(grown.now.former or ()) == 1, "one table is not split twice so soon"
    assert set(grown.why()) == {"another partition of the table was split less than a minute ago"}
    house.until(lambda: len(grown.now.former or ()) == 3)
    closed_us = [one.closed_us for one in grown.now.former or ()]
    assert min(after - before for before, after in pairwise(closed_us)) >= by_size.APART_US
    house.pass_time(3 * LOOK_S)
    assert len(grown.now.partitions) == 4, "halves lie below what is split: it comes to rest"
    assert grown.by_size.begun == 3
    assert grown.by_size.large == {}
    assert len(house.rows(grown.now)) == 40


def test_one_partition_key_is_not_divided_which_is_said_once_and_looked_at_again_when_it_has_doubled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks: list[Any] = []
    find_cut = by_size.find_cut

    async def counted(*of: Any) -> Any:
        walks.append(of)
        return await find_cut(*of)

    monkeypatch.setattr(by_size, "find_cut", counted)
    grown = Grown(1, size=100)
    house = grown.house
    house.until(lambda: bool(walks))
    house.pass_time(10 * LOOK_S)
    assert len(walks) == 1, "it is not walked over for ever"
    assert len(grown.lines(ONE_KEY)) == 1
    (why,) = grown.why()
    assert why.startswith(ONE_KEY)
    grown.by_size.stop()
    grown.fill(range(1, 2))
    house.pass_time(2)  # a walk sees what the last checkpoint has
    grown.by_size.start()
    house.until(lambda: bool(grown.now.former))
    assert len(grown.now.partitions) == 2


@pytest.mark.parametrize("meanwhile", ["another process works", "a restore began", "a node filled up"])
def test_what_changed_while_a_copy_was_walked_over_keeps_the_split_from_beginning(monkeypatch: pytest.MonkeyPatch, meanwhile: str) -> None:
    """A walk over ten gigabytes takes minutes."""
    walks: list[Any] = []
    find_cut, at_rest = by_size.find_cut, by_size.rests

    async def walked(*of: Any) -> Any:
        found = await find_cut(*of)
        walks.append(found)
        return found

    monkeypatch.setattr(by_size, "find_cut", walked)
    grown = Grown(size=1 << 30)
    looks = SplitsBySize(
        grown.house.env,
        fleet=grown.house.cluster.parts.fleet,
        metadata=grown.house.cluster.parts.metadata,
        splits=grown.house.cluster.parts.splits,
        size=SIZE,
        works=lambda: not (walks and meanwhile == "another process works"),
        log=grown.house.lines.append,
    )
    monkeypatch.setattr(
        by_size, "rests", lambda *of: at_rest(*of) or ("a restore runs" if walks and meanwhile == "a restore began" else "")
    )
    looks.free = lambda _: 0 if walks and meanwhile == "a node filled up" else None
    grown.house.pass_time(2)  # a walk sees what the last checkpoint has
    grown.house.run(looks.look())
    assert walks
    assert walks[0].cut
    assert (grown.now.split, looks.begun) == (msgspec.UNSET, 0)


def test_a_cut_that_leaves_nearly_all_on_one_side_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lopsided(*_: Any) -> Any:
        return by_size.CutFound(bytes([0x80]) + bytes(15), 1_000, 1_060)

    monkeypatch.setattr(by_size, "find_cut", lopsided)
    grown = Grown()
    grown.house.pass_time(3 * LOOK_S)
    assert grown.now.former is msgspec.UNSET
    assert grown.why()[0].startswith(ONE_KEY)


def test_whoever_takes_over_goes_on_and_begins_nothing_twice() -> None:
    grown = Grown()
    house = grown.house
    house.until(lambda: grown.now.split is not msgspec.UNSET or bool(grown.now.former))
    house.restart_control(power=True)
    house.until(lambda: bool(grown.now.former))
    house.pass_time(20)
    assert len(grown.now.former or ()) == 1
    assert len(grown.now.partitions) == 2


def test_nothing_begins_while_the_cluster_is_not_at_rest() -> None:
    grown = Grown(4)
    house = grown.house
    metadata = house.cluster.parts.metadata
    assert grown.rests() == ""
    house.cluster.hosts[2].crash(power=True)
    house.pass_time(1.5)
    assert grown.rests() == "node n3 is out"
    assert grown.keeps() == "2 of its copies are whole, 3 have to be"
    metadata.nodes[NodeName("n3")] = NodeMember(3, 1, "", 0, REMOVED)
    assert grown.rests() == "", "who is no member is not waited for"
    del metadata.nodes[NodeName("n3")]
    house.cluster.hosts[2].start()
    house.run(metadata.put_node(NodeName("n2"), NodeMember(2, 1, "", 0, DRAINING)))
    house.until(lambda: grown.keeps() == "")
    grown.fill(range(4, 20))
    house.pass_time(3 * LOOK_S)
    assert grown.now.split is msgspec.UNSET
    assert grown.why() == [grown.rests()] == ["node n2 is being drained"]
    house.run(metadata.put_node(NodeName("n2"), NodeMember(2, 1, "", 0)))
    house.until(lambda: bool(grown.now.former))
    table = grown.now
    restored = msgspec.structs.replace(
        table, table_id=TableId("t" * 8), name="again", restore_of=RestoreOrigin(table.table_id, table.name, 0, in_progress=True)
    )
    metadata.tables[restored.table_id] = restored
    assert grown.rests() == "table again is being restored"
    del metadata.tables[restored.table_id]
    assert grown.keeps() == "another partition of the table was split less than a minute ago"
    assert grown.keeps(later_us=APART_US) == ""
    assert grown.keeps(msgspec.structs.replace(table, status="DELETING"), later_us=APART_US) == "the table is DELETING"


def test_a_node_without_room_for_the_halves_is_waited_for_which_is_said_once() -> None:
    grown = Grown()
    free: dict[str, int | None] = {"n1": None, "n2": room_to_split(1 << 20), "n3": 1_000}
    grown.by_size.free = lambda name: free[name]
    grown.house.pass_time(4 * LOOK_S)
    assert grown.now.split is msgspec.UNSET
    assert not grown.now.former
    (why,) = grown.why()
    assert why.startswith("node n3 has 1000 bytes free, the halves need ")
    assert len(grown.lines("node n3 has")) == 1
    free["n3"] = 64 << 20
    grown.house.pass_time(LOOK_S)
    assert grown.why()[0].startswith("node n3 has"), "twice its bytes beside what must stay free"
    free["n3"] = room_to_split(1 << 20)
    grown.house.until(lambda: bool(grown.now.former))
    assert len(grown.lines("node n3 has")) == 1


def test_so_many_are_under_way_at_a_time_and_older_releases_see_none() -> None:
    grown = Grown(4)
    house = grown.house
    metadata, table = house.cluster.parts.metadata, grown.now
    other = house.create("other")
    intent = SplitIntent("0a" * 16, other.partitions[0].partition_id, "80" + "00" * 15, PartitionId("l"), PartitionId("r"), 0)
    going = [msgspec.structs.replace(other, table_id=TableId(f"t{number}"), split=intent) for number in range(2)]
    metadata.tables.update({one.table_id: one for one in going})
    assert grown.rests() == "2 other splits are under way"
    del metadata.tables[going[1].table_id]
    assert grown.rests() == ""
    del metadata.tables[going[0].table_id]
    assert grown.keeps(going[0]) == ""
    assert grown.keeps(msgspec.structs.replace(table, split=intent)) == "another partition of the table is being split"
    script = Script(house)
    script.splits = False
    assert grown.keeps() == "to split a partition needs version 4 of every node, n1 can 3"
    script.splits = True


def test_whoever_does_not_work_for_the_cluster_begins_nothing() -> None:
    grown = Grown(4)
    house, parts = grown.house, grown.house.cluster.parts
    works = [False]
    idle = SplitsBySize(
        house.env, fleet=parts.fleet, metadata=parts.metadata, splits=parts.splits, size=100, works=lambda: works[0], log=lambda _: None
    )
    idle.start()
    house.pass_time(2 * LOOK_S)
    assert (idle.large, idle.begun) == ({}, 0)
    works[0] = True
    house.pass_time(2 * LOOK_S)
    assert idle.begun == 1
    idle.stop()
