"""Global secondary indexes on a whole cluster of the real parts: rows against what the items say, through deaths of leaders and of the control part, with logs that only the archive has;
made later, built anew, removed, restored."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from scrubjay.base.errors import Conflict, Missing
from scrubjay.base.ids import NodeName, TableId, uuid_bytes
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.verdict import Verdict
from scrubjay.server import control, health
from scrubjay.server.health import late_indexes
from scrubjay.storage.api.describe import table_description
from scrubjay.storage.backend import TableSpec, TransactPart
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema, TableMeta, TableStats, Throughput, index_table, index_tables
from scrubjay.storage.commands.values import DeleteCommand, PutCommand, RangeRead, WriteAnswer
from scrubjay.storage.control.indexing import feeding
from scrubjay.storage.control.indexing import keeper as keeping
from scrubjay.storage.indexes.kept_rows import stored
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.items.keys import key_item, storage_key
from scrubjay.storage.items.values import Item
from scrubjay.storage.log.record import owner_tag
from tests.unit.control.house import SECOND, House

KEY = KeySchema(KeyAttribute("k", "S"))
BY_COLOUR = GlobalIndex(name="by-colour", hash=(KeyAttribute("c", "S"),), sort=(KeyAttribute("n", "N"),))
BY_NUMBER = GlobalIndex(name="by-number", hash=(KeyAttribute("n", "N"),), projection="KEYS_ONLY")
ATTRIBUTES = (("k", "S"), ("c", "S"), ("n", "N"))


class Indexed:
    """A table of a house with global indexes, and what its items are."""

    def __init__(self, house: House, *indexes: GlobalIndex, seed: int = 1, name: str = "indexed") -> None:
        self.house, self.name = house, name
        self.items: dict[bytes, Item] = {}
        self._draw = random.Random(seed)
        spec = TableSpec(
            name=name,
            key=KEY,
            attributes=ATTRIBUTES if indexes else ATTRIBUTES[:1],
            billing="PAY_PER_REQUEST",
            throughput=Throughput(),
            global_indexes=indexes or msgspec.UNSET,
        )
        house.run(house.cluster.store.create_table(spec))
        house.until(lambda: self.table.status == "ACTIVE")

    @property
    def table(self) -> TableMeta:
        return self.house.table(self.name)

    def index(self, name: str) -> GlobalIndex:
        return next(one for one in self.table.global_indexes or () if one.name == name)

    def write(self, count: int = 1, *, keys: int = 20) -> None:
        for _ in range(count):
            draw = self._draw
            item: Item = {"k": ("S", f"k{draw.randrange(keys)}")}
            if draw.random() < 0.8:
                item["c"] = ("S", draw.choice(["red", "green", "blue"]))
            if draw.random() < 0.8:
                item["n"] = ("N", str(draw.randrange(5)))
            item["x"] = ("S", "x" * draw.randrange(30))
            key = storage_key(KEY, item)
            command: Any = PutCommand(key, encode_item(key_item(KEY, item)), encode_item(item), blind=True)
            if draw.random() < 0.2:
                command = DeleteCommand(key, command.key_item)
                self.items.pop(key, None)
            else:
                self.items[key] = item
            future = self.house.env.tasks.future()
            self.house.cluster.store.write(self.table, command, future.set_result)
            answer = self.house.run(future)
            assert isinstance(answer, WriteAnswer), answer

    def wanted(self, name: str) -> dict[bytes, bytes]:
        rows = GlobalRows(KEY, self.index(name))
        made = [rows.row(key, encode_item(item)) for key, item in self.items.items()]
        return dict([one for one in made if one is not None])

    def rows(self, name: str) -> dict[bytes, bytes]:
        """What the index holds, read strongly."""
        house, meta = self.house, index_table(self.table, self.index(name))
        found: dict[bytes, bytes] = {}
        for info in meta.partitions:
            future = house.env.tasks.future()
            request = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=True)
            house.cluster.store.read_range(meta, info, request, future.set_result)
            answer: Any = house.run(future)
            found |= dict(answer.rows)
        return found

    def agrees(self, *names: str, seconds: float = 60.0) -> None:
        names = names or tuple(one.name for one in self.table.global_indexes or ())
        assert names
        for name in names:
            self.house.until(lambda name=name: self.rows(name) == self.wanted(name), seconds=seconds)  # type: ignore[misc]

    def active(self, name: str, *, seconds: float = 60.0) -> None:
        self.house.until(lambda: self.index(name).status == "ACTIVE" and not self.index(name).backfilling, seconds=seconds)


def hosted(house: House) -> set[str]:
    return {partition for node in house.cluster.nodes() for partition in node.members}


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 3])
def test_rows_are_those_of_the_items_and_nobody_else_sees_the_tables_they_lie_in(partitions: int) -> None:
    house = House(3, partitions=partitions)
    heard: set[str] = set()
    for source in house.cluster.sources():
        source.subscribe(heard.add)
    indexed = Indexed(house, BY_COLOUR, BY_NUMBER)
    assert [one.status for one in indexed.table.global_indexes or ()] == ["ACTIVE", "ACTIVE"]
    indexed.write(30)
    indexed.agrees()  # filled
    indexed.write(15)
    indexed.agrees()  # and fed
    assert house.cluster.store.table_names() == ["indexed"]
    assert len(house.service.tables()) == 2  # it, and the metadata group
    rows = indexed.rows("by-colour")
    assert all(item[:1] == b"\x01" for item in rows.values())
    assert {"k", "n"} == {name for item in indexed.rows("by-number").values() for name in decode_item(item)}
    stats = house.cluster.store.stats(index_table(indexed.table, indexed.index("by-colour")))
    assert (stats.rows, stats.bytes) == (len(rows), sum(len(key) + len(item) for key, item in rows.items()))
    house.pass_time(10)
    ids = {one.table_id: [info.partition_id for info in one.partitions] for one in (indexed.table, *index_tables(indexed.table))}
    archived = {id_ for id_ in ids if any(f"t={id_}/" in key for key in house.cluster.archive.objects)}
    assert archived == {indexed.table.table_id}
    agents = heard | {partition for source in house.cluster.sources() for partition in (*source.partitions(), *source.hosted())}
    assert agents >= set(ids[indexed.table.table_id])
    assert not agents & {partition for one in index_tables(indexed.table) for partition in ids[one.table_id]}
    for partition in (one for found in ids.values() for one in found):  # the logs are let go of all the same
        leader = house.cluster.leader(partition)
        assert leader is not None
        assert leader.segments.facts.archived > 1


def test_a_feed_survives_the_death_of_every_part_it_needs() -> None:
    house = House(5, partitions=2)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(10)
    places = [indexed.table.partitions[0].partition_id, indexed.index("by-colour").partitions[0].partition_id]
    for partition in places:
        leader = house.cluster.leader(partition)
        assert leader is not None
        host = next(one for one in house.cluster.hosts if one.name == leader.node.name)
        host.crash(power=True)
        indexed.write(10)
        host.start()
        indexed.write(5)
        indexed.agrees()
    house.restart_control(power=True)
    indexed.write(10)
    indexed.agrees()


def test_what_the_logs_let_go_of_is_read_from_the_archive() -> None:
    house = House(7)
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
    feeds.start()
    indexed.agrees(seconds=120)
    assert house.cluster.parts.keeper is not None
    assert house.cluster.parts.keeper.rebuilds == 0


def test_an_index_made_later_gets_the_items_that_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "PAGE_ROWS", 7)
    house = House(9, partitions=2)
    indexed = Indexed(house)
    indexed.write(120, keys=60)
    with pytest.raises(Missing):
        house.run(house.cluster.store.delete_index("indexed", "by-colour"))
    made = house.run(house.cluster.store.create_index("indexed", BY_COLOUR, ATTRIBUTES, {}))
    assert (made.status, [one.status for one in made.global_indexes or ()]) == ("UPDATING", ["CREATING"])
    with pytest.raises(Conflict):
        house.run(house.cluster.store.create_index("indexed", BY_COLOUR, ATTRIBUTES, {}))
    house.until(lambda: indexed.table.status == "ACTIVE")
    indexed.write(40, keys=60)
    leader = house.cluster.leader(indexed.table.partitions[0].partition_id)
    assert leader is not None
    next(one for one in house.cluster.hosts if one.name == leader.node.name).crash(power=True)
    indexed.write(20, keys=60)
    house.restart_control(power=True)
    for host in house.cluster.hosts:
        if not host.up:
            host.start()
    indexed.write(20, keys=60)
    indexed.active("by-colour", seconds=120)
    indexed.agrees()
    assert indexed.table.shown_attributes == ATTRIBUTES


def test_a_removed_index_and_those_of_a_removed_table_leave_nothing_behind() -> None:
    house = House(11)
    indexed = Indexed(house, BY_COLOUR, BY_NUMBER)
    indexed.write(10)
    colour = {info.partition_id for info in indexed.index("by-colour").partitions}
    number = {info.partition_id for info in indexed.index("by-number").partitions}
    away = house.cluster.hosts[2]
    away.crash(power=True)
    house.run(house.cluster.store.delete_index("indexed", "by-colour"))
    house.until(lambda: [one.name for one in indexed.table.global_indexes or ()] == ["by-number"])
    assert indexed.table.shown_attributes == (("k", "S"), ("n", "N"))
    house.until(lambda: not colour & hosted(house))
    house.pass_time(10)
    assert indexed.table.gone  # one node is still to be told
    away.start()
    house.until(lambda: not indexed.table.gone)
    assert not any(colour & host.process.node.hosting._logs.keys() for host in house.cluster.hosts)
    indexed.write(10)
    indexed.agrees()
    house.run(house.cluster.store.delete_table("indexed"))
    house.until(lambda: not number & hosted(house))


def test_an_index_with_a_bad_copy_is_built_anew_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BAD_US", 1_000_000)
    monkeypatch.setattr(feeding, "PAGE_ROWS", 2)
    monkeypatch.setattr(control, "BACKFILL_ROWS_PER_SECOND", 4)  # some seconds, so that it is seen whether it is waited for
    house = House(13)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(30)
    indexed.agrees()
    before = indexed.index("by-colour")
    (info,) = before.partitions
    house.until(lambda: all(len(house.tree(node, info).rows) > len(indexed.items) // 2 for node in house.cluster.trees))
    key = max(house.tree("n2", info).rows)
    assert house.cluster.trees[NodeName("n2")].flip_row(info.partition_id, key, 77)
    host = next(one for one in house.cluster.hosts if one.name == "n2")
    replica = host.process.node.replicas[info.partition_id]
    replica.suspect("planted")
    house.until(lambda: indexed.index("by-colour").table_id != before.table_id, seconds=120)
    assert indexed.rows("by-colour") == indexed.wanted("by-colour")  # it did not give way before the new one was whole
    assert indexed.index("by-colour").status == "ACTIVE"
    indexed.write(10)
    indexed.agrees()
    house.until(lambda: info.partition_id not in hosted(house))
    assert any("built anew" in line for line in house.cluster.lines)


def test_a_table_without_a_global_index_has_no_word_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(15)
    plain = Indexed(house)
    seen: list[object] = []
    monkeypatch.setattr(feeding.IndexFeed, "__init__", lambda *args: seen.append(args))
    plain.write(20)
    house.pass_time(5)
    assert not seen
    assert b"global_indexes" not in msgspec.json.encode(plain.table)
    assert not any(record_shows_old(house, plain))


def record_shows_old(house: House, indexed: Indexed) -> list[bool]:
    partition = indexed.table.partitions[0].partition_id
    leader = house.cluster.leader(partition)
    assert leader is not None
    return [leader.stated.old_items]


@pytest.mark.slow
@pytest.mark.parametrize("renamed", [None, "by-colour", "else"])
def test_a_restore_builds_the_indexes_that_the_new_table_has(renamed: str | None) -> None:
    """In tables of their own, also where a request names those of the source: the first to be dropped takes nothing of the other's."""
    house = House(17, partitions=2)
    indexed = Indexed(house, BY_COLOUR, BY_NUMBER)
    indexed.write(40)
    house.run(house.cluster.store.delete_index("indexed", "by-number"))
    house.until(lambda: len(indexed.table.global_indexes or ()) == 1)
    house.pass_time(10)
    overrides: dict[str, object] = {}
    if renamed is not None:
        overrides["global_indexes"] = tuple([msgspec.structs.replace(one, name=renamed) for one in indexed.table.global_indexes or ()])
    report = house.run(house.restore.start(indexed.table, "restored", RestoreTarget(latest=True), overrides=overrides))
    assert report["state"] == "running"
    assert house.restored("restored")["state"] == "published"
    old, indexed.name = indexed.table, "restored"
    named = renamed or "by-colour"
    assert shown(indexed) == ("CREATING", True, False)  # it serves, and who waits for ACTIVE is told when its indexes can be read too
    assert [one.name for one in indexed.table.global_indexes or ()] == [named]
    assert {one.table_id for one in index_tables(indexed.table)}.isdisjoint({one.table_id for one in index_tables(old)})
    assert (indexed.table.attributes, indexed.table.attributes_now) == ((("k", "S"), ("c", "S"), ("n", "N")), msgspec.UNSET)
    indexed.active(named)
    assert shown(indexed) == ("ACTIVE", False, False)
    indexed.agrees()
    of_old = dict(indexed.items)
    restored_at = indexed.table.restore_of
    assert restored_at is not None
    later = msgspec.structs.replace(indexed.index(named), name="later", status="CREATING", created_at=restored_at.published_at + 1)
    assert not restored_at.brings(later)  # what is added later is a change of a table that is there
    indexed.write(10)
    indexed.agrees()
    house.run(house.cluster.store.delete_table("restored"))
    house.pass_time(5)
    assert house.known(old.table_id).global_indexes == old.global_indexes
    indexed.name, indexed.items = "indexed", of_old
    indexed.write(10)
    indexed.agrees()


def shown(indexed: Indexed) -> tuple[str, bool, bool]:
    """TableStatus and RestoreInProgress, and whether it is refused to be read."""
    told = table_description(indexed.table, TableStats(0, 0), "arn", now_us=0, index_stats=[TableStats(0, 0)])
    return told["TableStatus"], told["RestoreSummary"]["RestoreInProgress"], indexed.table.status != "ACTIVE"


def test_no_table_is_made_with_the_index_tables_of_another() -> None:
    house = House(18)
    indexed = Indexed(house, BY_COLOUR)
    tables = house.cluster.store.tables
    twin = msgspec.structs.replace(
        indexed.table, table_id=TableId(house.env.rand.uuid()), name="twin", status="CREATING", partitions=tables.initial_partitions()
    )
    made = house.run(tables.add(twin))
    (of_twin,), (of_other,) = index_tables(made), index_tables(indexed.table)
    assert of_twin.table_id != of_other.table_id
    assert {one.partition_id for one in of_twin.partitions}.isdisjoint({one.partition_id for one in of_other.partitions})


def test_a_lag_is_told_and_is_over_when_the_index_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "INDEX_LATE_US", 3 * SECOND)
    house = House(19)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(5)
    indexed.agrees()
    feeds = house.cluster.parts.feeds
    assert feeds is not None
    house.until(lambda: feeds.states()[0].lag_us < SECOND)
    assert late_indexes(feeds) == ()
    (info,) = indexed.index("by-colour").partitions
    for node in house.cluster.nodes():  # nobody leads the index
        replica = node.replicas[info.partition_id]
        assert replica.group is not None
        replica.group.set_lead(False, node.now())
        node.dirty(replica)
    began = house.world.now
    indexed.write(3)  # writes wait for nothing
    assert house.world.now - began < SECOND
    house.pass_time(5)
    (state,) = feeds.states()
    assert state.lag_us > 3 * SECOND
    (late,) = late_indexes(feeds)
    assert (late.table, late.index, late.why) == ("indexed", "by-colour", state.why)
    for node in house.cluster.nodes():
        replica = node.replicas[info.partition_id]
        assert replica.group is not None
        replica.group.set_lead(True, node.now())
        node.dirty(replica)
    indexed.agrees()
    house.until(lambda: feeds.states()[0].lag_us < SECOND and not feeds.states()[0].why)
    assert late_indexes(feeds) == ()


def planted(house: House, indexed: Indexed, fault: str) -> bytes:
    """One row of an index is wrong, missing or extra on every copy, whose trees know of nothing: what a fault of ours would look like. Its key."""
    meta = index_table(indexed.table, indexed.index("by-colour"))
    wanted = indexed.wanted("by-colour")
    house.until(
        lambda: all(sum(len(house.tree(node, info).rows) for info in meta.partitions) > len(wanted) for node in house.cluster.trees)
    )
    key = min(wanted)
    info = house.cluster.router.partition_of(meta, key)
    owner = owner_tag(uuid_bytes(indexed.table.partitions[0].partition_id))
    for node in house.cluster.trees:
        tree = house.tree(node, info)
        if fault == "lacking":
            tree.remove(key)
        elif fault == "different":
            tree.put(key, 1, 1, stored(owner, 1, encode_item({**decode_item(wanted[key]), "x": ("S", "forged")})))
        else:
            ghost: Item = {"k": ("S", "nobody"), "c": ("S", "red"), "n": ("N", "7")}
            row = GlobalRows(KEY, indexed.index("by-colour")).row(storage_key(KEY, ghost), encode_item(ghost))
            assert row is not None
            info = house.cluster.router.partition_of(meta, row[0])
            house.tree(node, info).put(row[0], 1, 1, stored(owner, 1, row[1]))
    return key


@pytest.mark.parametrize("fault", ["lacking", "different", "extra"])
def test_a_scrub_finds_a_row_of_an_index_that_is_not_its_items_and_has_the_index_built_anew(fault: str) -> None:
    house = House(23)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(12)
    indexed.agrees()
    assert house.scrub().verdict is Verdict.MATCH
    planted(house, indexed, fault)
    assert indexed.rows("by-colour") != indexed.wanted("by-colour")
    before = indexed.index("by-colour").table_id
    report = house.scrub()
    found = [one.finding for table in report.tables for part in table.partitions for one in part.findings]
    assert report.verdict is Verdict.MISMATCH
    assert [(one.kind, one.copy, one.found_by) for one in found] == [(fault, "index by-colour", "scrub")]
    assert found[0].key is not None
    house.until(lambda: indexed.index("by-colour").table_id != before, seconds=120)
    indexed.agrees()
    assert house.scrub().verdict is Verdict.MATCH


def test_a_scrub_is_no_match_while_an_index_cannot_be_compared_and_writes_are_no_fault() -> None:
    house = House(25)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(10)
    indexed.agrees()
    feeds = house.cluster.parts.feeds
    assert feeds is not None
    feeds.stop()
    indexed.write(5)
    assert indexed.rows("by-colour") != indexed.wanted("by-colour")
    report = house.scrub()
    (part,) = [part for table in report.tables for part in table.partitions if table.table == "indexed"]
    assert (part.verdict, part.reason) == (Verdict.UNVERIFIED, "index_not_compared")
    assert not part.findings
    feeds.start()
    indexed.agrees()
    assert house.scrub().verdict is Verdict.MATCH


@pytest.mark.slow
def test_what_a_transaction_writes_over_partitions_comes_to_the_index_too() -> None:
    house = House(31, partitions=2)
    indexed = Indexed(house, BY_COLOUR)
    indexed.write(15)
    indexed.agrees()
    parts: list[TransactPart] = []
    for number in range(6):
        item: Item = {"k": ("S", f"k{number}"), "c": ("S", "violet"), "n": ("N", str(number))}
        key = storage_key(KEY, item)
        bare = encode_item(key_item(KEY, item))
        if number == 5:
            parts.append(TransactPart(indexed.table, DeleteCommand(key, bare)))
            indexed.items.pop(key, None)
        else:
            parts.append(TransactPart(indexed.table, PutCommand(key, bare, encode_item(item))))
            indexed.items[key] = item
    done = house.run(house.cluster.store.transact_write(parts, token=None, digest=bytes(16)))
    assert done.committed
    indexed.agrees()
    assert sum(b"violet" in item for item in indexed.rows("by-colour").values()) == 5
