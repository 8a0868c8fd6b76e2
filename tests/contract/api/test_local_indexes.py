"""Local secondary indexes through the API: definitions and descriptions, what is refused in whose words, pages and their keys, what is fetched, capacity to the unit, collections."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_server import ApiServer
from tests.contract.api.item_cases import INVALID, V
from tests.contract.api.table_cases import definitions, schema, table
from tests.fixtures.api_calls import ApiCalls
from tests.fixtures.local_index_model import LocalIndexModel
from tests.fixtures.local_index_model import create as create_modelled
from tests.fixtures.wait import wait_for
from tests.model.in_process import InProcess

ALL = {"ProjectionType": "ALL"}


def local(name: str, *keys: str, projection: Any = None) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": schema(*keys), "Projection": ALL if projection is None else projection}


def indexed(*indexes: dict[str, Any], names: tuple[str, ...] = ("pk", "sk", "at"), **more: Any) -> tuple[str, dict[str, Any]]:
    return table(
        AttributeDefinitions=definitions(*names), KeySchema=schema("pk:HASH", "sk:RANGE"), LocalSecondaryIndexes=list(indexes), **more
    )


AT = ("pk:HASH", "at:RANGE")
UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
REFUSED = [
    (indexed(), INVALID + "List of LocalSecondaryIndexes is empty"),
    (
        table(LocalSecondaryIndexes=[local("by-at", *AT)]),
        INVALID + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
    ),
    (
        indexed(local("by-at", "pk:HASH", "other:RANGE")),
        INVALID
        + "Some index key attributes are not defined in AttributeDefinitions. Keys: [pk, other], AttributeDefinitions: [pk, sk, at]",
    ),
    (indexed(local("by-at", "pk:HASH", "pk:RANGE")), "Both the Hash Key and the Range Key element in the KeySchema have the same name"),
    (indexed(local("by-at", "pk:RANGE", "at:RANGE")), "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    (indexed(local("by-at", "pk:HASH", "at:HASH")), "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"),
    (indexed(local("by-at", "pk:HASH")), INVALID + "Index KeySchema does not have a range key for index: by-at"),
    (
        indexed(local("by-at", "at:HASH", "pk:RANGE")),
        INVALID + "Index KeySchema does not have the same leading hash key as table KeySchema for index: by-at. "
        "index hash key: at, table hash key: pk",
    ),
    (indexed(local("by-at", *AT, projection={})), INVALID + "Unknown ProjectionType: null"),
    (
        indexed(local("by-at", *AT, projection={"ProjectionType": "KEYS_ONLY", "NonKeyAttributes": ["x"]})),
        INVALID + "ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified",
    ),
    (
        indexed(local("by-at", *AT, projection={"ProjectionType": "INCLUDE"})),
        INVALID + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
    ),
    (indexed(local("by-at", *AT), local("by-at", *AT)), INVALID + "Duplicate index name: by-at"),
    (
        indexed(*(local(f"by-at-{number}", *AT) for number in range(6))),
        INVALID + "Number of LocalSecondaryIndexes exceeds per-table limit of 5",
    ),
    (
        indexed(local("by-at", *AT), names=("pk", "sk", "at", "more")),
        INVALID + "Some AttributeDefinitions are not used. AttributeDefinitions: [pk, sk, at, more], keys used: [pk, sk, at]",
    ),
    (
        indexed(local("by-at", *AT), GlobalSecondaryIndexes=[local("by-at", *AT)]),
        INVALID + "Duplicate index name: by-at",
    ),
    (
        indexed(local("by-at", *AT, projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x", "y", "x"]})),
        INVALID + "Duplicate element in NonKeyAttributes: x",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=[message[-40:] for _, message in REFUSED])
def test_definitions_that_are_refused(server: ApiServer, request_: tuple[str, Any], message: str) -> None:
    assert server.refusal(*request_) == (V, message)


def test_projected_attributes_are_counted_over_all_indexes(server: ApiServer) -> None:
    def including(count: int) -> list[dict[str, Any]]:
        projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": [f"a{number}" for number in range(count)]}
        return [local(f"by-at-{number}", *AT, projection=projection) for number in range(5)]

    gsi = {**local("elsewhere", *AT, projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["one"]}), "ProvisionedThroughput": UNITS}
    name, message = server.refusal(*indexed(*including(20), GlobalSecondaryIndexes=[gsi]))
    assert (name, "exceeds the per-table limit of 100" in str(message)) == (V, True)
    server.ok(*indexed(*including(20)))


@pytest.fixture
def orders(server: ApiServer) -> Iterator[ApiServer]:
    """A table with an index of each projection, and four items of which three are in them."""
    more = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}
    server.ok(
        "CreateTable",
        {
            "TableName": "orders",
            "AttributeDefinitions": [*definitions("pk", "sk"), {"AttributeName": "at", "AttributeType": "N"}],
            "KeySchema": schema("pk:HASH", "sk:RANGE"),
            "LocalSecondaryIndexes": [
                local("all", *AT),
                local("keys", *AT, projection={"ProjectionType": "KEYS_ONLY"}),
                local("some", *AT, projection=more),
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    server.wait_active("orders")
    for number, at in enumerate((30, 10, None, 20)):
        item = {"pk": {"S": "p"}, "sk": {"S": f"s{number}"}, "x": {"S": "x"}, "y": {"S": "y"}}
        server.ok("PutItem", {"TableName": "orders", "Item": item if at is None else {**item, "at": {"N": str(at)}}})
    yield server
    server.ok("DeleteTable", {"TableName": "orders"})
    wait_for(lambda: "orders" not in server.ok("ListTables", {})["TableNames"], timeout=30)


def asked(index: str | None, **more: Any) -> dict[str, Any]:
    return {
        "TableName": "orders",
        "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": {":p": {"S": "p"}},
        **({} if index is None else {"IndexName": index}),
        **more,
    }


def sks(answer: dict[str, Any]) -> list[str]:
    return [item["sk"]["S"] for item in answer["Items"]]


def test_a_description_says_what_was_made_and_how_much_is_in_it(orders: ApiServer) -> None:
    shown = orders.ok("DescribeTable", {"TableName": "orders"})["Table"]
    assert shown["ItemCount"] == 4
    some = shown["LocalSecondaryIndexes"][2]
    size = some.pop("IndexSizeBytes")
    assert some == {
        "IndexName": "some",
        "KeySchema": schema(*AT),
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        "ItemCount": 3,
        "IndexArn": f"{shown['TableArn']}/index/some",
    }
    assert size > 0
    assert {one["AttributeName"] for one in shown["AttributeDefinitions"]} == {"pk", "sk", "at"}


def test_an_index_is_read_in_its_order_and_holds_what_has_its_key(orders: ApiServer) -> None:
    assert sks(orders.ok("Query", asked("all"))) == ["s1", "s3", "s0"]
    assert sks(orders.ok("Query", asked("all", ScanIndexForward=False, ConsistentRead=True))) == ["s0", "s3", "s1"]
    assert sks(orders.ok("Query", asked(None))) == ["s0", "s1", "s2", "s3"]
    assert sks(orders.ok("Scan", {"TableName": "orders", "IndexName": "keys"})) == ["s1", "s3", "s0"]
    assert sks(orders.ok("Scan", {"TableName": "orders"})) == ["s0", "s1", "s2", "s3"]
    request = asked("keys", ConsistentRead=True)
    request["KeyConditionExpression"] += " AND #at BETWEEN :a AND :b"
    request["ExpressionAttributeNames"] = {"#at": "at"}
    request["ExpressionAttributeValues"] |= {":a": {"N": "10"}, ":b": {"N": "2E1"}}
    assert sks(orders.ok("Query", request)) == ["s1", "s3"]


def test_what_an_item_shows_of_itself(orders: ApiServer) -> None:
    def names(index: str, **more: Any) -> set[str]:
        answer = orders.ok("Query", asked(index, **more))
        return set(answer["Items"][0])

    whole = {"pk", "sk", "at", "x", "y"}
    assert names("all") == whole
    assert names("keys") == {"pk", "sk", "at"}
    assert names("some", Select="ALL_PROJECTED_ATTRIBUTES") == {"pk", "sk", "at", "x"}
    assert names("some", Select="ALL_ATTRIBUTES") == whole
    assert names("keys", ProjectionExpression="y, sk") == {"y", "sk"}
    assert names("keys", ProjectionExpression="y", FilterExpression="sk = :s", ExpressionAttributeValues=BOTH) == {"y"}
    count = orders.ok("Query", asked("some", Select="COUNT", FilterExpression="attribute_not_exists(x)"))
    assert (count["Count"], count["ScannedCount"], "Items" in count) == (0, 3, False)


BOTH = {":p": {"S": "p"}, ":s": {"S": "s0"}}
UNPROJECTED = INVALID + "Secondary index keys does not project one or more filter attributes: [y]"


@pytest.mark.parametrize(
    "more",
    [
        {"FilterExpression": "y = :p"},
        {"FilterExpression": "attribute_not_exists(y.z)"},
        {"FilterExpression": "y = :p", "Select": "ALL_ATTRIBUTES"},
        {"FilterExpression": "y = :p", "Select": "SPECIFIC_ATTRIBUTES", "ProjectionExpression": "y"},
    ],
)
def test_a_query_filters_by_what_the_index_has_whatever_it_shows(orders: ApiServer, more: dict[str, Any]) -> None:
    assert orders.refusal("Query", asked("keys", **more)) == (V, UNPROJECTED)
    assert orders.ok("Query", asked("all", **more))["ScannedCount"] == 3
    legacy = {
        "TableName": "orders",
        "IndexName": "keys",
        "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p"}]}},
        "QueryFilter": {"y": {"ComparisonOperator": "NOT_NULL"}},
    }
    assert orders.refusal("Query", legacy) == (V, UNPROJECTED)


def test_a_scan_filters_by_what_its_rows_have(orders: ApiServer) -> None:
    """Whether or not the items are read for what is shown: what the index has not is not there."""
    scan = {"TableName": "orders", "IndexName": "keys"}
    for shown in ({}, {"Select": "ALL_ATTRIBUTES"}, {"ProjectionExpression": "sk, y"}):
        counts = [
            orders.ok("Scan", {**scan, **shown, "FilterExpression": one})["Count"]
            for one in ("attribute_exists(y)", "attribute_not_exists(y)")
        ]
        assert counts == [0, 3]
    for shown, names in (({"Select": "ALL_ATTRIBUTES"}, {"pk", "sk", "at", "x", "y"}), ({"ProjectionExpression": "sk, y"}, {"sk", "y"})):
        found = orders.ok("Scan", {**scan, **shown, "FilterExpression": "sk = :s", "ExpressionAttributeValues": {":s": {"S": "s0"}}})
        assert [set(item) for item in found["Items"]] == [names]


def test_pages_go_on_from_the_keys_of_index_and_table(orders: ApiServer) -> None:
    first = orders.ok("Query", asked("keys", Limit=2))
    assert first["LastEvaluatedKey"] == {"pk": {"S": "p"}, "sk": {"S": "s3"}, "at": {"N": "20"}}
    assert sks(orders.ok("Query", asked("keys", ExclusiveStartKey=first["LastEvaluatedKey"]))) == ["s0"]
    back = asked("keys", ExclusiveStartKey=first["LastEvaluatedKey"], ScanIndexForward=False)
    assert sks(orders.ok("Query", back)) == ["s1"]
    scanned = {"TableName": "orders", "IndexName": "some", "ExclusiveStartKey": first["LastEvaluatedKey"]}
    assert sks(orders.ok("Scan", scanned)) == ["s0"]


BAD = "The provided starting key is invalid"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"pk": {"S": "p"}, "sk": {"S": "s3"}}, BAD),
        ({"pk": {"S": "p"}, "sk": {"S": "s3"}, "at": {"S": "20"}}, BAD),
        ({"pk": {"S": "p"}, "sk": {"S": "s3"}, "at": {"N": "20"}, "x": {"S": "x"}}, BAD),
        ({"pk": {"S": "q"}, "sk": {"S": "s3"}, "at": {"N": "20"}}, "The provided starting key is outside query boundaries based on provided conditions"),
    ],
)  # fmt: skip
def test_starting_keys_that_are_refused(orders: ApiServer, key: dict[str, Any], message: str) -> None:
    assert orders.refusal("Query", asked("all", ExclusiveStartKey=key)) == (V, message)


def test_requests_that_are_refused(orders: ApiServer) -> None:
    assert orders.refusal("Query", asked("nothing")) == (V, "The table does not have the specified index: nothing")
    assert (
        orders.refusal("Scan", {"TableName": "orders", "IndexName": "nothing"})[1] == "The table does not have the specified index: nothing"
    )
    request = asked("all")
    request["KeyConditionExpression"] += " AND sk = :p"
    assert orders.refusal("Query", request) == (V, "Query condition missed key schema element: at")
    filtered = asked("all", FilterExpression="#at > :p", ExpressionAttributeNames={"#at": "at"})
    assert "Primary key attribute: at" in str(orders.refusal("Query", filtered)[1])
    assert sks(orders.ok("Query", asked("all", FilterExpression="sk <> :p"))) == ["s1", "s3", "s0"], "no key of this index"
    outside = asked("all", ExclusiveStartKey={"pk": {"S": "p"}, "sk": {"S": "s3"}, "at": {"N": "20"}})
    outside["KeyConditionExpression"] += " AND #at > :n"
    outside["ExpressionAttributeNames"] = {"#at": "at"}
    outside["ExpressionAttributeValues"][":n"] = {"N": "25"}
    assert orders.refusal("Query", outside) == (V, "The provided starting key does not match the range key predicate")
    outside["ExclusiveStartKey"]["pk"] = {"S": "q"}
    assert orders.refusal("Query", outside) == (V, "The provided starting key does not match the range key predicate"), "that comes first"
    outside["ExclusiveStartKey"]["at"] = {"N": "30"}
    assert orders.refusal("Query", outside) == (V, "The query can return at most one row and cannot be restarted")


def test_a_local_index_is_not_changed(orders: ApiServer) -> None:
    for action, word in (("Delete", "delete"), ("Update", "update")):
        asked_ = {"TableName": "orders", "GlobalSecondaryIndexUpdates": [{action: {"IndexName": "keys"}}]}
        assert orders.refusal("UpdateTable", asked_) == (V, f"Cannot {word} an index that is not a GlobalSecondaryIndex: keys")


WRONG = INVALID + "Type mismatch for Index Key at Expected: N Actual: S IndexName: all"


def test_what_cannot_be_a_key_of_an_index_is_not_written(orders: ApiServer) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "new"}, "at": {"S": "soon"}}
    key = {name: item[name] for name in ("pk", "sk")}
    assert orders.refusal("PutItem", {"TableName": "orders", "Item": item}) == (V, WRONG)
    assert orders.refusal("BatchWriteItem", {"RequestItems": {"orders": [{"PutRequest": {"Item": item}}]}}) == (V, WRONG)
    update = {"TableName": "orders", "Key": key, "ExpressionAttributeNames": {"#at": "at"}}
    given = {**update, "UpdateExpression": "SET #at = :v", "ExpressionAttributeValues": {":v": {"S": "soon"}}}
    assert orders.refusal("UpdateItem", given) == (V, WRONG)
    computed = {**given, "UpdateExpression": "SET #at = if_not_exists(zz, :v)"}
    assert (
        orders.refusal("UpdateItem", computed)[1] == "The update expression attempted to update the secondary index key to unsupported type"
    )
    inside = {**update, "UpdateExpression": "SET #at.y = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}}
    assert "are not allowed: IndexKey: at" in str(orders.refusal("UpdateItem", inside)[1])
    assert "Item" not in orders.ok("GetItem", {"TableName": "orders", "Key": key, "ConsistentRead": True})
    assert orders.ok("Query", asked("all"))["Count"] == 3


def units(answer: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    """In all, of the table, of each index."""
    consumed = answer["ConsumedCapacity"]
    per = {name: one["CapacityUnits"] for name, one in consumed.get("LocalSecondaryIndexes", {}).items()}
    return consumed["CapacityUnits"], consumed["Table"]["CapacityUnits"], per


def test_capacity_of_reads(orders: ApiServer) -> None:
    strong: dict[str, Any] = {"ReturnConsumedCapacity": "INDEXES", "ConsistentRead": True}
    assert units(orders.ok("Query", asked("keys", **strong))) == (1, 0, {"keys": 1})
    assert units(orders.ok("Query", asked("keys", **{**strong, "ConsistentRead": False}))) == (0.5, 0, {"keys": 0.5})
    assert units(orders.ok("Query", asked("keys", Select="ALL_ATTRIBUTES", **strong))) == (4, 3, {"keys": 1})
    assert units(orders.ok("Query", asked("all", Select="ALL_ATTRIBUTES", **strong))) == (1, 0, {"all": 1})
    assert units(orders.ok("Query", asked(None, **strong))) == (1, 1, {})
    total = orders.ok("Query", asked("keys", Select="ALL_ATTRIBUTES", ReturnConsumedCapacity="TOTAL"))["ConsumedCapacity"]
    assert total == {"TableName": "orders", "CapacityUnits": 2}


def test_capacity_of_writes(orders: ApiServer) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "w"}, "at": {"N": "1"}, "y": {"S": "y" * 1500}}
    put: dict[str, Any] = {"TableName": "orders", "ReturnConsumedCapacity": "INDEXES"}
    assert units(orders.ok("PutItem", {**put, "Item": item})) == (6, 2, {"all": 2, "keys": 1, "some": 1})
    assert units(orders.ok("PutItem", {**put, "Item": item})) == (2, 2, {}), "what an index has stays as it is"
    moved = {**item, "at": {"N": "2"}}
    assert units(orders.ok("PutItem", {**put, "Item": moved})) == (10, 2, {"all": 4, "keys": 2, "some": 2})
    other = {**moved, "x": {"S": "x"}}
    assert units(orders.ok("PutItem", {**put, "Item": other})) == (5, 2, {"all": 2, "some": 1})
    key = {name: item[name] for name in ("pk", "sk")}
    gone = {**put, "Key": key, "UpdateExpression": "REMOVE #at", "ExpressionAttributeNames": {"#at": "at"}}
    assert units(orders.ok("UpdateItem", gone)) == (6, 2, {"all": 2, "keys": 1, "some": 1})
    assert units(orders.ok("DeleteItem", {**put, "Key": key})) == (2, 2, {})
    batch = {"RequestItems": {"orders": [{"PutRequest": {"Item": item}}]}, "ReturnConsumedCapacity": "INDEXES"}
    (consumed,) = orders.ok("BatchWriteItem", batch)["ConsumedCapacity"]
    assert units({"ConsumedCapacity": consumed}) == (6, 2, {"all": 2, "keys": 1, "some": 1})


def test_item_collections_are_told_of_where_there_are_local_indexes(orders: ApiServer) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "w"}}
    expected = {"ItemCollectionKey": {"pk": {"S": "p"}}, "SizeEstimateRangeGB": [0.0, 1.0]}
    wanted = {"TableName": "orders", "ReturnItemCollectionMetrics": "SIZE"}
    assert orders.ok("PutItem", {**wanted, "Item": item})["ItemCollectionMetrics"] == expected
    assert orders.ok("UpdateItem", {**wanted, "Key": item})["ItemCollectionMetrics"] == expected
    assert orders.ok("DeleteItem", {**wanted, "Key": item})["ItemCollectionMetrics"] == expected
    requests = [{"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": sk}}}} for sk in "ab"]
    answer = orders.ok("BatchWriteItem", {"RequestItems": {"orders": requests}, "ReturnItemCollectionMetrics": "SIZE"})
    assert answer["ItemCollectionMetrics"] == {"orders": [expected]}
    plain = orders.ok("PutItem", {"TableName": "composite", "Item": item, "ReturnItemCollectionMetrics": "SIZE"})
    assert "ItemCollectionMetrics" not in plain


def test_a_backup_tells_of_the_indexes_and_a_restore_takes_those_that_are_named(orders: ApiServer) -> None:
    arn = orders.ok("CreateBackup", {"TableName": "orders", "BackupName": "one"})["BackupDetails"]["BackupArn"]
    described = orders.ok("DescribeBackup", {"BackupArn": arn})["BackupDescription"]
    infos = described["SourceTableFeatureDetails"]["LocalSecondaryIndexes"]
    assert [info["IndexName"] for info in infos] == ["all", "keys", "some"]
    wrong = [{**infos[0], "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["y"]}}]
    assert (
        orders.refusal("RestoreTableFromBackup", {"TargetTableName": "again", "BackupArn": arn, "LocalSecondaryIndexOverride": wrong})[0]
        == V
    )


@pytest.mark.parametrize("sort_type", ["S", "B"])
def test_many_sequences_against_a_plain_model(sort_type: str) -> None:
    subject = InProcess(partitions=2)
    calls = ApiCalls(subject.backend, subject.backend._env)
    for seed in range(5):
        name = f"modelled-{seed}"
        create_modelled(calls, name, sort_type=sort_type)
        subject.backend._settle(name)
        model = LocalIndexModel(calls, name, random.Random(seed), sort_type=sort_type)
        for _ in range(20):
            model.write()
            model.check()
        model.check_all()
