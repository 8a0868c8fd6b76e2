"""Local secondary indexes on a whole cluster of the real parts: answers against a plain model through checkpoints, restarts and fail-overs; a scrub proves the rows of an index against
the archive, and heals; a restore derives them anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from scrubjay.base.ids import NodeName
from scrubjay.pitr.target import RestoreTarget
from scrubjay.scrubber.verdict import Verdict
from scrubjay.storage.api.index_definitions import index_overrides
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.btree.memory_treefile import MAKER
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import RangeRead
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.local_index import NUMBER_AT, SIZE_NUMBER, LocalRows, decode_size, is_entry
from scrubjay.storage.items.wire import item_from_json
from scrubjay.storage.replica import reads
from tests.fixtures.api_calls import ApiCalls
from tests.fixtures.local_index_model import INDEXES, LocalIndexModel, create
from tests.unit.control.house import House

BAD = NodeName("n2")


def of(house: House) -> ApiCalls:
    return ApiCalls(house.cluster.store, house.env, wait=house.until)


def filled(house: House, *, name: str = "indexed", seed: int = 1, writes: int = 60, sort_type: str = "S") -> LocalIndexModel:
    calls = of(house)
    create(calls, name, sort_type=sort_type)
    house.until(lambda: house.table(name).status == "ACTIVE")
    model = LocalIndexModel(calls, name, random.Random(seed), sort_type=sort_type)
    for _ in range(writes):
        model.write()
    return model


def local_of(table: TableMeta) -> LocalRows:
    local = LocalRows.of_table(table.key, table.local_indexes)
    assert local is not None
    return local


def rows_of(house: House, node: str, table: TableMeta) -> dict[bytes, bytes]:
    """The rows of indexes in a copy's tree, as item bytes by key."""
    return {key: value for key, value in derived_of(house, node, table).items() if key[NUMBER_AT] != SIZE_NUMBER}


def derived_of(house: House, node: str, table: TableMeta) -> dict[bytes, bytes]:
    """The same, and the sizes of item collections."""
    return {key: value[26:] for info in table.partitions for key, value in house.tree(node, info).rows.items() if is_entry(key, value[26:])}


def sizes_of(house: House, node: str, table: TableMeta) -> dict[bytes, int]:
    """Bytes of item collections in a copy's tree, by their key."""
    return {key: decode_size(value) for key, value in derived_of(house, node, table).items() if key[NUMBER_AT] == SIZE_NUMBER}


def sizes_wanted(model: LocalIndexModel, table: TableMeta) -> dict[bytes, int]:
    """What they must be by the items that there are."""
    local, found = local_of(table), dict[bytes, int]()
    for shown in model.items.values():
        item = encode_item(item_from_json(shown))
        key = house_key(local, item)
        size = len(item) + sum(len(value) for _, value in local.rows(key, item))
        at = local.size_key(key)
        found[at] = found.get(at, 0) + size
    return found


def sized(house: House, model: LocalIndexModel, name: str = "") -> None:
    """Every copy comes to say how large the item collections are."""
    table = house.table(name or model.name)
    wanted = sizes_wanted(model, table)
    house.until(lambda: all(sizes_of(house, node, table) == wanted for node in house.cluster.trees), seconds=120)


def settled(house: House, model: LocalIndexModel) -> TableMeta:
    """Every copy's tree holds all that was written."""
    table = house.table(model.name)
    wanted = sum(model.sizes().values())
    house.until(lambda: all(len(rows_of(house, node, table)) == wanted for node in house.cluster.trees), seconds=120)
    return table


@pytest.mark.parametrize("sort_type", ["S", "B"])
def test_answers_are_those_of_a_plain_model(sort_type: str) -> None:
    house = House(3, partitions=2)
    model = filled(house, seed=5, writes=20, sort_type=sort_type)
    for step in range(16):
        model.write()
        model.check()
        if step == 8:
            settled(house, model)
            sized(house, model)
    model.check_all()
    sized(house, model)
    table = settled(house, model)
    model.check_all()
    found: set[bytes] = set()
    for info in table.partitions:  # who does not know of indexes gets items
        future = house.env.tasks.future()
        whole = RangeRead(b"", None, 10_000, 1 << 30, reverse=False, consistent=True)
        house.cluster.store.read_range(table, info, whole, future.set_result)
        found |= {item for _, item in house.run(future).rows}
    assert len(found) == len(model.items)
    assert all(item[:1] == b"\x01" for item in found)
    stats = house.cluster.store.stats(table)
    assert dict(zip(INDEXES, [rows for rows, _ in stats.indexes], strict=True)) == model.sizes()
    assert stats.rows == len(model.items)
    report = house.scrub()
    assert report.verdict is Verdict.MATCH, report


def planted(house: House, table: TableMeta, fault: str) -> None:
    """One index row of one copy is wrong, missing or extra, and its tree knows of nothing: what a fault of ours would look like."""
    key, value = min(rows_of(house, BAD, table).items())
    info = next(info for info in table.partitions if key in house.tree(BAD, info).rows)
    tree = house.tree(BAD, info)
    if fault == "missing":
        tree.remove(key)
    elif fault == "wrong":
        tree.put(key, 1, 1, b"\x02" + encode_item({"pk": ("S", "p"), "sk": ("S", "a"), "n": ("N", "77")})[1:])
    else:
        tree.put(key + b"\x00", 1, 1, value)


@pytest.mark.parametrize("fault", ["missing", "wrong", "extra"])
def test_a_scrub_finds_an_index_row_that_is_not_its_items_and_heals_the_copy(fault: str) -> None:
    house = House(7)
    model = filled(house, seed=9, writes=15)
    table = settled(house, model)
    good = rows_of(house, "n1", table)
    planted(house, table, fault)
    assert rows_of(house, BAD, table) != good
    report = house.scrub()
    (partition,) = [part for one in report.tables for part in one.partitions if one.table == table.name]
    kinds = {(one.finding.kind, one.finding.copy) for one in partition.findings}
    assert kinds == {({"missing": "lacking", "wrong": "different", "extra": "extra"}[fault], BAD)}
    assert all("row of local index" in one.finding.detail for one in partition.findings)
    house.until(lambda: rows_of(house, BAD, table) == good)
    assert house.scrub().verdict is Verdict.MATCH
    model.check_all()


def test_an_index_row_of_no_item_is_found_as_it_is_read() -> None:
    house = House(8)
    model = filled(house, seed=4, writes=12)
    table = settled(house, model)
    (info,) = table.partitions
    local = local_of(table)
    ghost = encode_item({"pk": ("S", "p"), "sk": ("S", "nobody"), "s": ("S", "b")})
    for node in house.cluster.trees:
        for key, value in local.rows(house_key(local, ghost), ghost):
            house.tree(node, info).put(key, 1, 1, value)
    status, _ = model.calls.ask(
        "Query", TableName=model.name, IndexName="by-s", Select="ALL_ATTRIBUTES", ConsistentRead=True,
        KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p"}},
    )  # fmt: skip
    assert status == 500, "rather no answer than a row of nothing"
    assert any(finding.kind == "unreadable" for finding in house.service.findings(info.partition_id))


def house_key(local: LocalRows, item: bytes) -> bytes:
    return storage_key(local.key, decode_item(item))


@pytest.mark.parametrize("kept", [None, ["by-s", "by-n"]])
def test_a_restore_derives_the_indexes_that_are_asked_for(kept: list[str] | None) -> None:
    house = House(11)
    model = filled(house, seed=2, writes=15)
    calls = model.calls
    shown = calls.ok("DescribeTable", TableName=model.name)["Table"]["LocalSecondaryIndexes"]
    override: dict[str, Any] = {}
    if kept is not None:
        names = ("IndexName", "KeySchema", "Projection")
        override["LocalSecondaryIndexOverride"] = [{name: one[name] for name in names} for one in shown if one["IndexName"] in kept]
    house.pass_time(30)
    source = house.table(model.name)
    overrides = overrides_of(override, source)
    house.run(house.restore.start(source, "restored", target_of_now(), overrides=overrides))
    assert house.restored("restored")["state"] == "published"
    restored = house.table("restored")
    names_kept = [index.name for index in restored.local_indexes or ()]
    assert names_kept == [name for name in INDEXES if kept is None or name in kept]
    wanted = model.sizes()
    assert [rows for rows, _ in house.cluster.store.stats(restored).indexes] == [wanted[name] for name in names_kept]
    sized(house, model, "restored")
    assert house.scrub().verdict is Verdict.MATCH


def test_a_tree_made_for_all_copies_is_not_taken_by_a_table_with_indexes() -> None:
    house = House(12)
    house.trees = TreesHere(MAKER, "")
    model = filled(house, seed=3, writes=12)
    house.pass_time(30)
    house.run(house.restore.start(house.table(model.name), "restored", target_of_now(), overrides={}))
    assert house.restored("restored")["state"] == "published"
    restored = house.table("restored")
    assert {
        index.name: rows for index, (rows, _) in zip(restored.local_indexes or (), house.cluster.store.stats(restored).indexes, strict=True)
    } == model.sizes()
    assert house.scrub().verdict is Verdict.MATCH


def test_a_scan_of_a_sparse_index_goes_on_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that has passed over so many rows ends without having found one, and says how far it came."""
    monkeypatch.setattr(reads, "PASSED_MAX", 5)
    house = House(13)
    calls = of(house)
    create(calls, "sparse")
    house.until(lambda: house.table("sparse").status == "ACTIVE")
    for number in range(40):
        item = {"pk": {"S": f"p{number // 4}"}, "sk": {"S": f"s{number}"}, **({"n": {"N": "1"}} if number in (2, 20) else {})}
        calls.ok("PutItem", TableName="sparse", Item=item)
    found = calls.ok("Scan", TableName="sparse", IndexName="by-n", ConsistentRead=True)
    assert (found["ScannedCount"], {item["sk"]["S"] for item in found["Items"]}) == (2, {"s2", "s20"})
    assert calls.ok("Scan", TableName="sparse", IndexName="by-s", ConsistentRead=True)["ScannedCount"] == 0
    assert calls.ok("Scan", TableName="sparse", ConsistentRead=True)["ScannedCount"] == 40


def overrides_of(data: dict[str, Any], source: TableMeta) -> dict[str, object]:
    return index_overrides(data, source, source.billing)


def target_of_now() -> Any:
    return RestoreTarget(latest=True)
