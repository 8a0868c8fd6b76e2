"""How large item collections are and may become, on a whole cluster of the real parts: to the byte at the limit, by every way to write, through whatever happens to a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrubjay.base.errors import Unavailable
from scrubjay.scrubber.verdict import Verdict
from scrubjay.sim.whole.run import STORAGE
from scrubjay.storage.api import item_collections
from scrubjay.storage.commands.values import Decision, Outcome
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.local_index import decode_size, encode_size
from scrubjay.storage.replica import collection_limit
from tests.fixtures.local_index_model import LocalIndexModel, create
from tests.unit.control.house import House
from tests.unit.control.test_local_indexes import BAD, derived_of, filled, local_of, of, sized, sizes_of, sizes_wanted, target_of_now

LIMIT = 4_000
FULL = "ItemCollectionSizeLimitExceededException"


def limited(seed: int, *, partitions: int = 1) -> tuple[House, LocalIndexModel]:
    """A table whose collections may have LIMIT bytes; that of p has nearly as many."""
    house = House(seed, partitions=partitions, storage=replace(STORAGE, item_collection_bytes_max=LIMIT))
    model = filled(house, writes=0)
    for number in range(3):
        put(model, number, 500)
    fill(house, model)
    return house, model


def item_of(number: int, size: int, pk: str = "p", *, indexed: bool = True) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": f"s{number}"}, "x": {"S": "x" * size}, **({"n": {"N": "1"}} if indexed else {})}


def put(model: LocalIndexModel, number: int, size: int, pk: str = "p", *, indexed: bool = True) -> None:
    item = item_of(number, size, pk, indexed=indexed)
    model.calls.ok("PutItem", TableName=model.name, Item=item)
    model.items[pk, f"s{number}"] = item


def refused(model: LocalIndexModel, operation: str, **request: Any) -> dict[str, Any]:
    status, answer = model.calls.ask(operation, **request)
    assert status == 400, answer
    return answer


def left(house: House, model: LocalIndexModel) -> int:
    """Bytes of room that the collection of p has."""
    table = house.table(model.name)
    return LIMIT - sizes_wanted(model, table)[local_of(table).size_key(storage_key(table.key, {"pk": ("S", "p"), "sk": ("S", "")}))]


def fill(house: House, model: LocalIndexModel) -> None:
    """To the last byte but one: an item that is in no index."""
    put(model, 9, 600, indexed=False)
    put(model, 9, 600 + left(house, model) - 1, indexed=False)
    assert left(house, model) == 1


def test_a_collection_may_have_so_many_bytes_and_not_one_more() -> None:
    house, model = limited(71)
    x = len(model.items["p", "s9"]["x"]["S"])
    answer = refused(model, "PutItem", TableName=model.name, Item=item_of(9, x + 2, indexed=False))
    assert (answer["__type"].split("#")[1], answer["message"]) == (FULL, "Collection size exceeded.")
    put(model, 9, x + 1, indexed=False)  # what there is room for
    assert left(house, model) == 0
    sized(house, model)
    put(model, 9, x + 1, indexed=False)  # not larger
    put(model, 0, 300)
    put(model, 0, 200, pk="q")  # another collection
    sized(house, model)
    model.calls.ok("DeleteItem", TableName=model.name, Key={"pk": {"S": "q"}, "sk": {"S": "s0"}})
    del model.items["q", "s0"]  # nothing is left of it
    model.calls.ok("DeleteItem", TableName=model.name, Key={"pk": {"S": "p"}, "sk": {"S": "s1"}})
    del model.items["p", "s1"]
    put(model, 5, 400)
    sized(house, model)
    assert house.scrub().verdict is Verdict.MATCH


def test_what_is_over_the_limit_already_may_become_smaller() -> None:
    """The limit was lowered, or writes at once went over it."""
    house = House(85)
    table = house.table(filled(house, writes=0).name)
    key, find = storage_key(table.key, {"pk": ("S", "p"), "sk": ("S", "a")}), lambda _: encode_size(LIMIT)
    sizes = [encode_item({"pk": ("S", "p"), "sk": ("S", "a"), "x": ("S", "x" * size)}) for size in (10, 20, 30)]
    for new, decision in zip(sizes, (Decision.PUT, Decision.PUT, Decision.REFUSED), strict=True):
        limit = collection_limit.CollectionLimit(local_of(table), key, limit=LIMIT - 500, find=find)
        assert limit.passed(key, sizes[1], Outcome(Decision.PUT, sizes[1], new)).decision is decision


def test_whatever_writes_is_refused_by_name_and_nothing_of_it_happens() -> None:
    house, model = limited(73)
    calls, name, grown = model.calls, model.name, "y" * 400
    key = {"pk": {"S": "p"}, "sk": {"S": "s0"}}
    update = {"Key": key, "UpdateExpression": "SET y = :y", "ExpressionAttributeValues": {":y": {"S": grown}}}
    assert refused(model, "UpdateItem", TableName=name, **update)["__type"].endswith(FULL)
    other = {"PutRequest": {"Item": item_of(1, 10, pk="q")}}
    batch = {name: [{"PutRequest": {"Item": item_of(7, 400)}}, other]}
    assert refused(model, "BatchWriteItem", RequestItems=batch)["__type"].endswith(FULL)
    model.items["q", "s1"] = other["PutRequest"]["Item"]
    parts = [{"Put": {"TableName": name, "Item": item_of(1, 20, pk="r")}}, {"Update": {"TableName": name, **update}}]
    answer = refused(model, "TransactWriteItems", TransactItems=parts)
    assert [one["Code"] for one in answer["CancellationReasons"]] == ["None", "ItemCollectionSizeLimitExceeded"]
    statement = {"Statement": f"INSERT INTO \"{name}\" VALUE {{'pk': 'p', 'sk': 'new', 'x': '{grown}'}}"}
    assert refused(model, "ExecuteStatement", **statement)["__type"].endswith(FULL)
    (one,) = calls.ok("BatchExecuteStatement", Statements=[statement])["Responses"]
    assert one["Error"]["Code"] == "ItemCollectionSizeLimitExceeded"
    sized(house, model)
    model.check_all()


def test_the_parts_of_a_transaction_are_counted_together() -> None:
    house, model = limited(75)
    model.calls.ok("DeleteItem", TableName=model.name, Key={"pk": {"S": "p"}, "sk": {"S": "s0"}})
    del model.items["p", "s0"]
    parts = [{"Put": {"TableName": model.name, "Item": item_of(number, 250)}} for number in (20, 21, 22)]
    answer = refused(model, "TransactWriteItems", TransactItems=parts)
    reasons = [one["Code"] for one in answer["CancellationReasons"]]
    assert reasons[0] == "None"
    assert "ItemCollectionSizeLimitExceeded" in reasons
    free = {"Delete": {"TableName": model.name, "Key": {"pk": {"S": "p"}, "sk": {"S": "s1"}}}}
    model.calls.ok("TransactWriteItems", TransactItems=[free, *parts])
    del model.items["p", "s1"]
    model.items |= {("p", f"s{number}"): item_of(number, 250) for number in (20, 21, 22)}
    sized(house, model)


def test_it_holds_after_a_fail_over_a_restart_a_heal_and_a_restore() -> None:
    house, model = limited(77)
    (info,) = house.table(model.name).partitions
    leader = house.cluster.leader(info.partition_id)
    assert leader is not None
    more = {"TableName": model.name, "Item": item_of(30, 400)}
    host = next(one for one in house.cluster.hosts if one.name == leader.node.name)
    host.crash(power=True)
    assert refused(model, "PutItem", **more)["__type"].endswith(FULL)
    host.start()
    for one in house.cluster.hosts:
        one.crash(power=True)
    for one in house.cluster.hosts:
        one.start()
    house.restart_control(power=True)
    model.calls = of(house)
    assert refused(model, "PutItem", **more)["__type"].endswith(FULL)
    sized(house, model)
    assert house.cluster.trees[BAD].flip_row(info.partition_id, min(derived_of(house, BAD, house.table(model.name))), 77)
    assert house.scrub().healed
    sized(house, model)
    house.pass_time(20)
    house.run(house.restore.start(house.table(model.name), "restored", target_of_now(), overrides={}))
    assert house.restored("restored")["state"] == "published"
    sized(house, model, "restored")
    assert refused(model, "PutItem", **{**more, "TableName": "restored"})["__type"].endswith(FULL)


def test_a_wrong_size_is_found_by_a_scrub_and_healed() -> None:
    house = House(79)
    model = filled(house, writes=8)
    sized(house, model)
    table = house.table(model.name)
    (info,) = table.partitions
    key, size = min(sizes_of(house, BAD, table).items())
    house.tree(BAD, info).put(key, 1, 1, encode_size(size + 1))
    report = house.scrub()
    found = [one.finding for one_table in report.tables for part in one_table.partitions for one in part.findings]
    assert [(one.kind, one.copy, one.detail) for one in found] == [("different", BAD, "the size of an item collection")]
    sized(house, model)
    assert house.scrub().verdict is Verdict.MATCH


def test_metrics_tell_in_which_gigabyte_a_collection_is(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(81)
    model = filled(house, writes=0)
    item = item_of(0, 1_200)
    asked = {"TableName": model.name, "ReturnItemCollectionMetrics": "SIZE"}
    model.calls.ok("PutItem", TableName=model.name, Item=item_of(0, 3_000, pk="q"))
    monkeypatch.setattr(item_collections, "_GB", 1_000)
    metrics = model.calls.ok("PutItem", **asked, Item=item)["ItemCollectionMetrics"]
    assert metrics == {"ItemCollectionKey": {"pk": {"S": "p"}}, "SizeEstimateRangeGB": [2.0, 3.0]}
    batch = {model.name: [{"PutRequest": {"Item": item_of(number, 500)}} for number in (1, 2)]}
    (one,) = model.calls.ok("BatchWriteItem", RequestItems=batch, ReturnItemCollectionMetrics="SIZE")["ItemCollectionMetrics"][model.name]
    assert one["SizeEstimateRangeGB"] == [4.0, 5.0]
    parts = [
        {"Put": {"TableName": model.name, "Item": item_of(3, 800)}},
        {"Delete": {"TableName": model.name, "Key": {"pk": {"S": "q"}, "sk": {"S": "s0"}}}},
    ]
    found = model.calls.ok("TransactWriteItems", TransactItems=parts, ReturnItemCollectionMetrics="SIZE")["ItemCollectionMetrics"][
        model.name
    ]
    assert [(one["ItemCollectionKey"]["pk"]["S"], one["SizeEstimateRangeGB"]) for one in found] == [("p", [6.0, 7.0]), ("q", [0.0, 1.0])]
    monkeypatch.setattr(house.cluster.store, "read", lambda *_args, done, **_more: done(Unavailable("planted")))
    lower, upper = model.calls.ok("PutItem", **asked, Item=item)["ItemCollectionMetrics"]["SizeEstimateRangeGB"]
    assert (lower, upper >= 6) == (0.0, True), "what is surely true"


def test_a_table_without_local_indexes_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(83)
    table = house.create("plain")

    def asked(*_args: object, **_more: object) -> None:
        raise AssertionError("asked how large a collection is")

    monkeypatch.setattr(collection_limit.CollectionLimit, "__init__", asked)
    house.put(table, 1, 1)
    calls = of(house)
    create(calls, "indexed")
    house.until(lambda: house.table("indexed").status == "ACTIVE")
    with pytest.raises(AssertionError):
        calls.ok("PutItem", TableName="indexed", Item=item_of(1, 1))
    assert decode_size(None) == 0
