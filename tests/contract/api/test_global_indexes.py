"""Global secondary indexes through the API: definitions and descriptions, what is refused in whose words, reads with their pages and keys, capacity to the unit, what is made and removed of
them later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_server import ApiServer
from tests.contract.api.item_cases import INVALID, V
from tests.contract.api.table_cases import definitions, schema, table
from tests.fixtures.api_calls import ApiCalls
from tests.fixtures.global_index_model import GlobalIndexModel
from tests.fixtures.global_index_model import create as create_modelled
from tests.fixtures.wait import wait_for
from tests.model.in_process import InProcess

ALL = {"ProjectionType": "ALL"}
KEYS = {"ProjectionType": "KEYS_ONLY"}
FREE = {"BillingMode": "PAY_PER_REQUEST", "ProvisionedThroughput": None}
UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
G = ("g:HASH", "at:RANGE")
LIMIT, BUSY, MISSING = "LimitExceededException", "ResourceInUseException", "ResourceNotFoundException"
IN_USE = "Attempt to change a resource which is still in use: "


def index(name: str, *keys: str, projection: Any = None, **more: Any) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": schema(*keys), "Projection": ALL if projection is None else projection, **more}


def indexed(*indexes: dict[str, Any], names: tuple[str, ...] = ("pk", "g", "at"), **more: Any) -> tuple[str, dict[str, Any]]:
    return table(AttributeDefinitions=definitions(*names), GlobalSecondaryIndexes=list(indexes), **{**FREE, **more})


def including(*names: str) -> dict[str, Any]:
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(names)}


MANY = ("a", "b", "c", "d", "e")
REFUSED = [
    (indexed(names=("pk",)), INVALID + "List of GlobalSecondaryIndexes is empty"),
    (
        indexed(index("by-g", "g:HASH", "other:RANGE")),
        INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: [g, other], AttributeDefinitions: [pk, g, at]",
    ),
    (
        indexed(index("by-g", *G), names=("pk", "g", "at", "more")),
        INVALID + "Some AttributeDefinitions are not used. AttributeDefinitions: [pk, g, at, more], keys used: [pk, g, at]",
    ),
    (
        indexed(index("by-g", "g:HASH", projection={}), index("by-g", "g:HASH")),
        INVALID + "Some AttributeDefinitions are not used. AttributeDefinitions: [pk, g, at], keys used: [pk, g]",
    ),
    (indexed(index("by-g", "at:RANGE", "g:HASH")), "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    (indexed(index("by-g", "at:RANGE")), "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
    (indexed(index("by-g", "g:HASH", "g:RANGE")), "Both the Hash Key and the Range Key element in the KeySchema have the same name"),
    (indexed(index("by-g", "g:HASH", "at:RANGE", "g:RANGE")), "The KeySchema contains multiple key attributes with the same name"),
    (indexed(index("by-g", "g:HASH", "g:HASH")), "The KeySchema contains multiple key attributes with the same name"),
    (
        indexed(index("by-g", "g:HASH", "at:RANGE", "pk:HASH")),
        INVALID + "All HASH key attributes must precede RANGE key attributes in the KeySchema",
    ),
    (
        indexed(index("many", *[f"{name}:HASH" for name in MANY]), names=("pk", *MANY)),
        INVALID + "The KeySchema exceeds the maximum allowed number of HASH key attributes",
    ),
    (
        indexed(index("many", "pk:HASH", *[f"{name}:RANGE" for name in MANY]), names=("pk", *MANY)),
        INVALID + "The KeySchema exceeds the maximum allowed number of RANGE key attributes",
    ),
    (indexed(index("by-g", *G, projection={})), INVALID + "Unknown ProjectionType: null"),
    (
        indexed(index("by-g", *G, projection={**ALL, "NonKeyAttributes": ["x"]})),
        INVALID + "ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    (
        indexed(index("by-g", *G, projection={"ProjectionType": "INCLUDE"})),
        INVALID + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
    ),
    (indexed(index("by-g", *G, projection=including("x", "x"))), INVALID + "Duplicate element in NonKeyAttributes: x"),
    (indexed(index("by-g", *G), index("by-g", *G)), INVALID + "Duplicate index name: by-g"),
    (
        indexed(*[index(f"by-g-{number}", *G) for number in range(21)]),
        INVALID + "GlobalSecondaryIndex count exceeds the per-table limit of 20",
    ),
    (
        indexed(*[index(f"by-g-{number}", *G, projection=including(*[f"a{one}" for one in range(20 if number else 1)])) for number in range(6)]),
        INVALID + "Number of attributes projected into all indexes exceeds the per-table limit of 100",
    ),
    (
        indexed(index("by-g", *G, ProvisionedThroughput=UNITS)),
        INVALID + "ProvisionedThroughput should not be specified for index: by-g when BillingMode is PAY_PER_REQUEST",
    ),
    (
        indexed(index("by-g", *G), BillingMode=None, ProvisionedThroughput=UNITS),
        INVALID + "ProvisionedThroughput is not specified for index: by-g",
    ),
    (
        indexed(
            index("by-g", *G, ProvisionedThroughput=UNITS, OnDemandThroughput={"MaxReadRequestUnits": 1}), BillingMode=None, ProvisionedThroughput=UNITS
        ),
        INVALID + "MaxReadRequestUnits for OnDemandThroughput for index: by-g cannot be specified when table BillingMode is PROVISIONED.",
    ),
    (
        indexed(index("by-g", *G, OnDemandThroughput={"MaxWriteRequestUnits": 0})),
        INVALID + "Requested MaxWriteRequestUnits for OnDemandThroughput for index : by-g is outside of valid range",
    ),
    (
        indexed(index("by-g", *G, WarmThroughput={"ReadUnitsPerSecond": 11_999})),
        INVALID + "Requested ReadUnitsPerSecond for WarmThroughput for index by-g is lower than initial throughput for OnDemand. See: "
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial",
    ),
    (
        indexed(index("by-g", *G), names=("pk", "g", "at", "g")),
        "Attribute Name is duplicated: g",
    ),
    (
        indexed(index("by-g", *G, ProvisionedThroughput={**UNITS, "WriteCapacityUnits": 10**12 + 1}), BillingMode="PROVISIONED", ProvisionedThroughput=UNITS),
        f"Given value {10**12 + 1} for WriteCapacityUnits is out of bounds for index by-g",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_definitions_that_are_refused(server: ApiServer, request_: tuple[str, Any], message: str) -> None:
    assert server.refusal(*request_) == (V, message)


def test_twenty_indexes_and_keys_of_eight_attributes_are_made(server: ApiServer) -> None:
    names = tuple("abcdefgh")
    keys = [f"{name}:HASH" for name in names[:4]] + [f"{name}:RANGE" for name in names[4:]]
    asked = [index("eight", *keys), *[index(f"by-{number}", "a:HASH", projection=KEYS) for number in range(19)]]
    shown = server.ok(*indexed(*asked, names=("pk", *names), TableName="twenty"))["TableDescription"]["GlobalSecondaryIndexes"]
    assert [one["IndexName"] for one in shown] == [one["IndexName"] for one in asked]
    assert shown[0]["KeySchema"] == schema(*keys)


@pytest.fixture
def orders(server: ApiServer) -> Iterator[ApiServer]:
    """A table with an index of each projection, and five items of which three are in the indexes under one key and one under another."""
    server.ok(
        "CreateTable",
        {
            "TableName": "orders-g",
            "AttributeDefinitions": [*definitions("pk", "sk", "g"), {"AttributeName": "at", "AttributeType": "N"}],
            "KeySchema": schema("pk:HASH", "sk:RANGE"),
            "GlobalSecondaryIndexes": [
                index("all", *G),
                index("keys", *G, projection=KEYS),
                index("some", "g:HASH", projection=including("x")),
                index("parts", "g:HASH", "pk:HASH", "at:RANGE", "sk:RANGE", projection=KEYS),
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    server.wait_active("orders-g")
    for number, (pk, g, at) in enumerate((("p", "g", 30), ("q", "g", 10), ("p", "g", None), ("r", "g", 10), ("p", "h", 20))):
        item = {"pk": {"S": pk}, "sk": {"S": f"s{number}"}, "g": {"S": g}, "x": {"S": "x"}, "y": {"S": "y"}}
        server.ok("PutItem", {"TableName": "orders-g", "Item": item if at is None else {**item, "at": {"N": str(at)}}})
    yield server
    server.ok("DeleteTable", {"TableName": "orders-g"})
    wait_for(lambda: "orders-g" not in server.ok("ListTables", {})["TableNames"], timeout=30)


def asked(name: str, **more: Any) -> dict[str, Any]:
    values = {":g": {"S": "g"}, **more.pop("values", {})}
    condition = "g = :g" + more.pop("also", "")
    return {"TableName": "orders-g", "IndexName": name, "KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}


def sks(answer: dict[str, Any]) -> list[str]:
    return [item["sk"]["S"] for item in answer["Items"]]


def test_a_description_says_what_was_made_and_how_much_is_in_it(orders: ApiServer) -> None:
    shown = orders.ok("DescribeTable", {"TableName": "orders-g"})["Table"]
    assert shown["WarmThroughput"] == {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"}
    some = shown["GlobalSecondaryIndexes"][2]
    size = some.pop("IndexSizeBytes")
    assert some == {
        "IndexName": "some",
        "KeySchema": schema("g:HASH"),
        "Projection": including("x"),
        "IndexStatus": "ACTIVE",
        "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "ItemCount": 5,
        "IndexArn": f"{shown['TableArn']}/index/some",
        "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"},
    }
    assert size > 0
    assert shown["GlobalSecondaryIndexes"][0]["ItemCount"] == 4


def test_an_index_is_read_in_its_order_and_holds_what_has_its_keys(orders: ApiServer) -> None:
    found = sks(orders.ok("Query", asked("all")))
    assert sorted(found[:2]) == ["s1", "s3"], "of equal keys, in an order of their own"
    assert found[2:] == ["s0"]
    assert sks(orders.ok("Query", asked("all", ScanIndexForward=False))) == found[::-1]
    assert sks(
        orders.ok("Query", asked("keys", also=" AND #at > :n", values={":n": {"N": "10"}}, ExpressionAttributeNames={"#at": "at"}))
    ) == ["s0"]
    assert sorted(sks(orders.ok("Query", asked("some")))) == ["s0", "s1", "s2", "s3"]
    assert sorted(sks(orders.ok("Scan", {"TableName": "orders-g", "IndexName": "keys"}))) == ["s0", "s1", "s3", "s4"]
    segments = [
        sks(orders.ok("Scan", {"TableName": "orders-g", "IndexName": "some", "Segment": one, "TotalSegments": 3})) for one in range(3)
    ]
    assert sorted([sk for one in segments for sk in one]) == ["s0", "s1", "s2", "s3", "s4"]


def test_what_an_item_shows_of_itself(orders: ApiServer) -> None:
    def names(name: str, **more: Any) -> set[str]:
        answer = orders.ok("Query", asked(name, **more))
        return set(answer["Items"][0])

    whole = {"pk", "sk", "g", "at", "x", "y"}
    assert names("all") == names("all", Select="ALL_ATTRIBUTES") == whole
    assert names("keys") == {"pk", "sk", "g", "at"}
    assert names("some", Select="ALL_PROJECTED_ATTRIBUTES") == {"pk", "sk", "g", "x"}
    assert names("some", ProjectionExpression="x, sk") == {"x", "sk"}
    count = orders.ok("Query", asked("some", Select="COUNT", FilterExpression="attribute_exists(x)"))
    assert (count["Count"], count["ScannedCount"], "Items" in count) == (4, 4, False)


def test_pages_go_on_from_the_keys_of_index_and_table(orders: ApiServer) -> None:
    whole = sks(orders.ok("Query", asked("keys")))
    first = orders.ok("Query", asked("keys", Limit=1))
    last = first["LastEvaluatedKey"]
    assert set(last) == {"pk", "sk", "g", "at"}
    assert sks(first) + sks(orders.ok("Query", asked("keys", ExclusiveStartKey=last))) == whole
    assert sks(orders.ok("Query", asked("keys", ExclusiveStartKey=last, ScanIndexForward=False))) == []
    found: list[str] = []
    request: dict[str, Any] = {"TableName": "orders-g", "IndexName": "parts", "Limit": 1}
    for _ in range(6):
        answer = orders.ok("Scan", request)
        found += sks(answer)
        if "LastEvaluatedKey" not in answer:
            break
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    assert sorted(found) == ["s0", "s1", "s3", "s4"]


BAD = "The provided starting key is invalid"
START = {"pk": {"S": "p"}, "sk": {"S": "s3"}, "g": {"S": "g"}, "at": {"N": "20"}}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({name: START[name] for name in ("pk", "sk")}, BAD),
        ({name: START[name] for name in ("g", "at")}, BAD),
        ({**START, "at": {"S": "20"}}, BAD),
        ({**START, "x": {"S": "x"}}, BAD),
        ({**START, "g": {"S": "h"}}, "The provided starting key is outside query boundaries based on provided conditions"),
    ],
)
def test_starting_keys_that_are_refused(orders: ApiServer, key: dict[str, Any], message: str) -> None:
    assert orders.refusal("Query", asked("all", ExclusiveStartKey=key)) == (V, message)


def test_a_starting_key_may_be_of_no_item(orders: ApiServer) -> None:
    assert sks(orders.ok("Query", asked("all", ExclusiveStartKey=START))) == ["s0"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (asked("all", ConsistentRead=True), "Consistent reads are not supported on global secondary indexes"),
        (asked("nothing"), "The table does not have the specified index: nothing"),
        (
            asked("keys", Select="ALL_ATTRIBUTES"),
            INVALID + "Select type ALL_ATTRIBUTES is not supported for global secondary index keys because its projection type is not ALL",
        ),
        (asked("some", ProjectionExpression="x, y.z, zz"), INVALID + "Global secondary index some does not project [y, zz]"),
        (
            asked("some", FilterExpression="attribute_exists(y)"),
            INVALID + "Secondary index some does not project one or more filter attributes: [y]",
        ),
        (asked("all", also=" AND sk = :g"), "Query condition missed key schema element: at"),
        (
            asked("all", FilterExpression="#at > :g", ExpressionAttributeNames={"#at": "at"}),
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: at",
        ),
        (asked("parts"), "Query condition missed key schema element: pk"),
        (
            asked("parts", also=" AND pk = :g AND sk = :g"),
            "RANGE key attributes at must have equality conditions specified in the query because a condition is present on key attribute sk",
        ),
        (
            asked("parts", also=" AND pk > :g AND #at > :n", values={":n": {"N": "1"}}, ExpressionAttributeNames={"#at": "at"}),
            "Query key condition not supported",
        ),
        (
            asked("parts", also=" AND pk = :g AND #at > :n AND sk = :g", values={":n": {"N": "1"}}, ExpressionAttributeNames={"#at": "at"}),
            "RANGE key attributes at must have equality conditions specified in the query because a condition is present on key attribute sk",
        ),
        (
            asked("all", also=" AND pk = :g AND sk = :g"),
            "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)",
        ),
    ],
    ids=["strong", "no-such", "whole", "projection", "filter", "other-key", "key-in-filter", "hash-lacks", "gap", "hash-range", "range-first", "many"],
)  # fmt: skip
def test_reads_that_are_refused(orders: ApiServer, request_: dict[str, Any], message: str) -> None:
    assert orders.refusal("Query", request_) == (V, message)


def test_a_scan_filters_by_what_its_rows_have(orders: ApiServer) -> None:
    scan = {"TableName": "orders-g", "IndexName": "some", "FilterExpression": "attribute_not_exists(y)"}
    assert (orders.ok("Scan", scan)["Count"], orders.ok("Scan", {**scan, "FilterExpression": "attribute_exists(y)"})["Count"]) == (5, 0)


NEEDS_KEY = "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
SEVERAL = "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE keys."


def test_statements_read_global_indexes(orders: ApiServer) -> None:
    def run(text: str, **more: Any) -> list[str]:
        return sks(orders.ok("ExecuteStatement", {"Statement": text, **more}))

    assert run('SELECT * FROM "orders-g"."all" WHERE g = \'g\' AND "at" > 10') == ["s0"]
    assert run('SELECT sk FROM "orders-g"."all" WHERE g = \'g\' ORDER BY "at" DESC')[0] == "s0"
    assert sorted(run('SELECT sk FROM "orders-g"."keys"')) == ["s0", "s1", "s3", "s4"]
    for text, more, message in (
        ('SELECT y FROM "orders-g"."some" WHERE g = \'g\'', {}, INVALID + "Global secondary index some does not project [y]"),
        (
            "SELECT sk FROM \"orders-g\".\"some\" WHERE g = 'g' AND y = 'y'",
            {},
            INVALID + "Secondary index some does not project one or more filter attributes: [y]",
        ),
        (
            'SELECT sk FROM "orders-g"."some" WHERE g = \'g\'',
            {"ConsistentRead": True},
            "Strongly consistent read is not supported on Global Secondary Indexes",
        ),
        ('SELECT * FROM "orders-g"."parts" WHERE g = 5', {}, SEVERAL),
        ('SELECT COUNT(*) FROM "orders-g"."parts"', {}, SEVERAL),
        ('SELECT * FROM "orders-g"."parts" WHERE', {}, "Statement wasn't well formed, can't be processed: Unexpected term"),
    ):
        assert orders.refusal("ExecuteStatement", {"Statement": text, **more}) == (V, message)
    # of a batch only the statement fails that reads such an index, ahead of the rule that a batch names keys
    statements = [
        'SELECT * FROM "orders-g"."all" WHERE g = \'g\'',
        'SELECT * FROM "orders-g"."parts" WHERE g = \'g\'',
        "SELECT pk FROM \"orders-g\" WHERE pk = 'p' AND sk = 's0'",
    ]
    answer = orders.ok("BatchExecuteStatement", {"Statements": [{"Statement": text} for text in statements]})["Responses"]
    assert [one.get("Error", {}).get("Message") for one in answer] == [NEEDS_KEY, SEVERAL, None]


def test_statements_page_through_a_global_index(orders: ApiServer) -> None:
    text, found, token = 'SELECT sk FROM "orders-g"."all" WHERE g = \'g\' ORDER BY "at" DESC', [], dict[str, str]()
    whole = orders.ok("ExecuteStatement", {"Statement": text})["Items"]
    while True:
        page = orders.ok("ExecuteStatement", {"Statement": text, "Limit": 1, "ReturnConsumedCapacity": "INDEXES", **token})
        assert set(page["ConsumedCapacity"]["GlobalSecondaryIndexes"]) == {"all"}
        found += page["Items"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == whole
    assert len(whole) > 1


def test_keys_of_several_attributes_are_asked_from_the_left(orders: ApiServer) -> None:
    named = {"ExpressionAttributeNames": {"#at": "at"}}
    p = {":p": {"S": "p"}}
    assert sks(orders.ok("Query", asked("parts", also=" AND pk = :p", values=p))) == ["s0"]
    assert sks(orders.ok("Query", asked("parts", also=" AND pk = :p AND #at < :n", values={**p, ":n": {"N": "30"}}, **named))) == []
    equal = asked(
        "parts", also=" AND pk = :p AND #at = :n AND begins_with(sk, :s)", values={**p, ":n": {"N": "3E1"}, ":s": {"S": "s"}}, **named
    )
    assert sks(orders.ok("Query", equal)) == ["s0"]
    legacy = {
        "TableName": "orders-g",
        "IndexName": "all",
        "KeyConditions": {
            "g": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "g"}]},
            "at": {"ComparisonOperator": "GT", "AttributeValueList": [{"N": "10"}]},
        },
    }
    assert sks(orders.ok("Query", legacy)) == ["s0"]


def test_what_cannot_be_a_key_of_an_index_is_not_written(orders: ApiServer) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "new"}, "g": {"S": "g"}, "at": {"S": "soon"}}
    wrong = INVALID + "Type mismatch for Index Key at Expected: N Actual: S IndexName: all"
    assert orders.refusal("PutItem", {"TableName": "orders-g", "Item": item}) == (V, wrong)
    assert orders.refusal("BatchWriteItem", {"RequestItems": {"orders-g": [{"PutRequest": {"Item": item}}]}}) == (V, wrong)
    long = {**item, "at": {"N": "1"}, "g": {"S": "g" * 2049}}
    assert orders.refusal("PutItem", {"TableName": "orders-g", "Item": long}) == (
        V,
        INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes",
    )
    empty = {**item, "at": {"N": "1"}, "g": {"S": ""}}
    assert orders.refusal("PutItem", {"TableName": "orders-g", "Item": empty})[1] == (
        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute "
        "cannot contain an empty string value. IndexName: all, IndexKey: g"
    )
    key = {name: item[name] for name in ("pk", "sk")}
    computed = {
        "TableName": "orders-g", "Key": key, "UpdateExpression": "SET g = if_not_exists(zz, :v)", "ExpressionAttributeValues": {":v": {"N": "1"}},
    }  # fmt: skip
    assert (
        orders.refusal("UpdateItem", computed)[1] == "The update expression attempted to update the secondary index key to unsupported type"
    )
    assert "Item" not in orders.ok("GetItem", {"TableName": "orders-g", "Key": key, "ConsistentRead": True})


def units(answer: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    """In all, of the table, of each index."""
    consumed = answer["ConsumedCapacity"]
    assert "LocalSecondaryIndexes" not in consumed
    per = {name: one["CapacityUnits"] for name, one in consumed.get("GlobalSecondaryIndexes", {}).items()}
    return consumed["CapacityUnits"], consumed["Table"]["CapacityUnits"], per


def test_capacity_of_reads(orders: ApiServer) -> None:
    assert units(orders.ok("Query", asked("all", ReturnConsumedCapacity="INDEXES"))) == (0.5, 0, {"all": 0.5})
    scan = {"TableName": "orders-g", "IndexName": "some", "ReturnConsumedCapacity": "INDEXES"}
    assert units(orders.ok("Scan", scan)) == (0.5, 0, {"some": 0.5})
    assert orders.ok("Query", asked("all", ReturnConsumedCapacity="TOTAL"))["ConsumedCapacity"] == {
        "TableName": "orders-g",
        "CapacityUnits": 0.5,
    }


def test_capacity_of_writes(orders: ApiServer) -> None:
    """By the size of the row that is projected: one write where it is made, changed or taken away, two where its key changes."""
    item = {"pk": {"S": "p"}, "sk": {"S": "w"}, "g": {"S": "w"}, "at": {"N": "1"}, "x": {"S": "x"}, "y": {"S": "y" * 1500}}
    put: dict[str, Any] = {"TableName": "orders-g", "ReturnConsumedCapacity": "INDEXES"}
    all_four = {"all": 2, "keys": 1, "some": 1, "parts": 1}
    assert units(orders.ok("PutItem", {**put, "Item": item})) == (7, 2, all_four)
    assert units(orders.ok("PutItem", {**put, "Item": item})) == (2, 2, {}), "what an index has stays as it is"
    longer = {**item, "y": {"S": "y" * 2500}}
    assert units(orders.ok("PutItem", {**put, "Item": longer})) == (6, 3, {"all": 3}), "the longer of before and after"
    moved = {**longer, "at": {"N": "2"}}
    assert units(orders.ok("PutItem", {**put, "Item": moved})) == (13, 3, {"all": 6, "keys": 2, "parts": 2})
    other = {**moved, "x": {"S": "xx"}}
    assert units(orders.ok("PutItem", {**put, "Item": other})) == (7, 3, {"all": 3, "some": 1})
    key = {name: item[name] for name in ("pk", "sk")}
    sparse = {**put, "Key": key, "UpdateExpression": "REMOVE #at", "ExpressionAttributeNames": {"#at": "at"}}
    assert units(orders.ok("UpdateItem", sparse)) == (8, 3, {"all": 3, "keys": 1, "parts": 1})
    assert units(orders.ok("DeleteItem", {**put, "Key": key})) == (4, 3, {"some": 1})
    batch = {"RequestItems": {"orders-g": [{"PutRequest": {"Item": item}}]}, "ReturnConsumedCapacity": "INDEXES"}
    (consumed,) = orders.ok("BatchWriteItem", batch)["ConsumedCapacity"]
    assert units({"ConsumedCapacity": consumed}) == (7, 2, all_four)
    answer = orders.ok("DeleteItem", {**put, "Key": key, "ReturnItemCollectionMetrics": "SIZE"})
    assert units(answer) == (7, 2, all_four)
    assert "ItemCollectionMetrics" not in answer


def test_a_backup_tells_of_the_indexes_and_a_restore_takes_those_that_are_named(orders: ApiServer) -> None:
    arn = orders.ok("CreateBackup", {"TableName": "orders-g", "BackupName": "one"})["BackupDetails"]["BackupArn"]
    described = orders.ok("DescribeBackup", {"BackupArn": arn})["BackupDescription"]
    infos = described["SourceTableFeatureDetails"]["GlobalSecondaryIndexes"]
    assert [info["IndexName"] for info in infos] == ["all", "keys", "some", "parts"]
    assert infos[2]["Projection"] == including("x")
    restore = {"TargetTableName": "again-g", "BackupArn": arn}

    def given(number: int, **more: Any) -> dict[str, Any]:
        return {name: infos[number][name] for name in ("IndexName", "KeySchema", "Projection")} | more

    wrong = [given(0, Projection=KEYS, KeySchema=schema("at:HASH"))]
    assert orders.refusal("RestoreTableFromBackup", {**restore, "GlobalSecondaryIndexOverride": wrong}) == (
        V,
        "Invalid Request: Index all does not match a secondary index that existed in the source table and cannot be created during the restore operation",
    )
    twice = {**restore, "GlobalSecondaryIndexOverride": [given(1), given(1)]}
    assert "Index keys does not match" in str(orders.refusal("RestoreTableFromBackup", twice)[1])
    billed = {**restore, "GlobalSecondaryIndexOverride": [given(1, ProvisionedThroughput=UNITS)]}
    assert orders.refusal("RestoreTableFromBackup", billed) == (
        V,
        "Invalid Request: Cannot override ProvisionedThroughput if BillingMode is overridden to PAY_PER_REQUEST for index keys",
    )
    provisioned = {**restore, "BillingModeOverride": "PROVISIONED", "ProvisionedThroughputOverride": UNITS}
    assert orders.refusal("RestoreTableFromBackup", provisioned)[1] == "Invalid Request: Must specify provisioned throughput for index all"
    named = {**restore, "GlobalSecondaryIndexOverride": [given(2, IndexName="renamed")]}
    orders.ok("RestoreTableFromBackup", named)
    wait_for(lambda: orders.ok("DescribeTable", {"TableName": "again-g"})["Table"]["TableStatus"] == "ACTIVE", timeout=30)
    shown = orders.ok("DescribeTable", {"TableName": "again-g"})["Table"]
    assert [one["IndexName"] for one in shown["GlobalSecondaryIndexes"]] == ["renamed"]
    assert {one["AttributeName"] for one in shown["AttributeDefinitions"]} == {"pk", "sk", "g"}
    found = orders.ok("Query", {**asked("renamed"), "TableName": "again-g"})
    assert sorted(sks(found)) == ["s0", "s1", "s2", "s3"]
    orders.ok("DeleteTable", {"TableName": "again-g"})


# --- changed later ------------------------------------------------------------------------------------------------------------------------


class Later:
    """A table in an API of its own, whose time and backfills go on as told."""

    def __init__(self, *indexes: dict[str, Any], names: tuple[str, ...], **more: Any) -> None:
        self.subject = InProcess(partitions=2)
        self.backend = self.subject.backend
        self.calls = ApiCalls(self.backend, self.backend._env)
        request = {**FREE, **more}
        given = {name: value for name, value in request.items() if value is not None}
        if indexes:
            given["GlobalSecondaryIndexes"] = list(indexes)
        self.calls.ok(
            "CreateTable", TableName="later", AttributeDefinitions=definitions("pk", *names), KeySchema=schema("pk:HASH"), **given
        )
        self.backend._settle("later")
        for number in range(6):
            self.calls.ok("PutItem", TableName="later", Item={"pk": {"S": str(number)}, "a": {"S": "a" if number % 2 else "b"}})

    def update(self, *updates: dict[str, Any], **more: Any) -> dict[str, Any]:
        answer = self.calls.ok("UpdateTable", TableName="later", GlobalSecondaryIndexUpdates=list(updates), **more)
        shown: dict[str, Any] = answer["TableDescription"]
        return shown

    def refused(self, *updates: dict[str, Any], **more: Any) -> tuple[str, str]:
        if updates:
            more["GlobalSecondaryIndexUpdates"] = list(updates)
        status, answer = self.calls.ask("UpdateTable", TableName="later", **more)
        assert status == 400, answer
        return answer["__type"].rpartition("#")[2], answer["message"]

    def described(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.calls.ok("DescribeTable", TableName="later")["Table"]
        return shown

    def statuses(self) -> dict[str, tuple[str, bool | None]]:
        return {
            one["IndexName"]: (one["IndexStatus"], one.get("Backfilling")) for one in self.described().get("GlobalSecondaryIndexes", ())
        }

    def count(self, name: str) -> int:
        answer = self.calls.ok(
            "Query", TableName="later", IndexName=name, KeyConditionExpression="a = :a", ExpressionAttributeValues={":a": {"S": "a"}}
        )
        return int(answer["Count"])


BY_A = {"Create": index("by-a", "a:HASH")}
A = {"AttributeDefinitions": definitions("a")}


def test_an_index_is_made_of_a_table_that_is_there_and_removed_again() -> None:
    later = Later(names=())
    later.backend.backfill_waits = True
    answer = later.update(BY_A, **A)
    assert (answer["TableStatus"], answer["GlobalSecondaryIndexes"][0]["IndexStatus"]) == ("UPDATING", "CREATING")
    assert answer["GlobalSecondaryIndexes"][0]["Backfilling"] is False
    later.backend._settle("later")
    assert (later.described()["TableStatus"], later.statuses()) == ("ACTIVE", {"by-a": ("CREATING", True)})
    assert {one["AttributeName"] for one in later.described()["AttributeDefinitions"]} == {"pk", "a"}
    read = {"TableName": "later", "IndexName": "by-a"}
    assert later.calls.refusal("Scan", **read) == "Cannot read from backfilling global secondary index: by-a"
    assert later.refused({"Create": index("other", "b:HASH")}, AttributeDefinitions=definitions("b")) == (
        LIMIT,
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
    )
    status, answer = later.calls.ask("DeleteTable", TableName="later")
    assert (status, answer["message"]) == (400, IN_USE + "Cannot delete table while indexes are being created, updated, or deleted.")
    wrong = {"pk": {"S": "new"}, "a": {"N": "1"}}
    assert "Type mismatch for Index Key a" in later.calls.refusal("PutItem", TableName="later", Item=wrong), "from the first moment"
    later.backend.fill_index("later", "by-a")
    assert later.statuses() == {"by-a": ("ACTIVE", None)}
    assert later.count("by-a") == 3
    answer = later.update({"Delete": {"IndexName": "by-a"}})
    assert (answer["TableStatus"], answer["GlobalSecondaryIndexes"][0]["IndexStatus"]) == ("UPDATING", "DELETING")
    later.backend._settle("later")
    shown = later.described()
    assert "GlobalSecondaryIndexes" not in shown
    assert [one["AttributeName"] for one in shown["AttributeDefinitions"]] == ["pk"]
    later.calls.ok("PutItem", TableName="later", Item=wrong)
    assert later.calls.refusal("Scan", **read) == "The table does not have the specified index: by-a"
    later.calls.ok("DeleteTable", TableName="later")


def test_an_index_that_waits_for_its_items_may_be_removed() -> None:
    later = Later(names=())
    later.backend.backfill_waits = True
    later.backend.delay_us = 60_000_000
    later.update(BY_A, **A)
    gone = {"Delete": {"IndexName": "by-a"}}
    name, message = later.refused(gone)
    assert (name, "Index creation is in resource allocation phase" in message) == (BUSY, True)
    later.backend.finish("later")
    later.backend.delay_us = 0
    later.update(gone)
    later.backend._settle("later")
    assert later.statuses() == {}


REDEFINED = INVALID + "Attributes cannot be redefined. Please check that your attribute has the same type as previously defined. "
PAID = {"BillingMode": None, "ProvisionedThroughput": UNITS}
TEN = {"ReadCapacityUnits": 10, "WriteCapacityUnits": 10}


@pytest.mark.parametrize(
    ("updates", "more", "name", "message"),
    [
        ([{"Create": index("by-a", "a:HASH")}], A, V, "Attempting to create an index which already exists"),
        ([{"Create": index("new", "a:HASH")}], {}, V, INVALID + "AttributeDefinitions is not specified for index: new"),
        (
            [{"Create": index("new", "b:HASH")}], A, V,
            INVALID + "Some index key attributes are not defined in AttributeDefinitions. Keys: [b], AttributeDefinitions: [pk, a]",
        ),
        (
            [{"Create": index("new", "a:HASH")}], {"AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "N"}]}, V,
            REDEFINED + "Existing schema: Schema:[SchemaElement: key{a:S:HASH}] New schema: Schema:[SchemaElement: key{a:N:HASH}]",
        ),
        (
            [{"Create": index("new", "a:HASH", "pk:RANGE")}],
            {"AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}, {"AttributeName": "pk", "AttributeType": "B"}]}, V,
            REDEFINED + "Existing schema: Schema:[SchemaElement: key{pk:S:HASH}] "
            "New schema: Schema:[SchemaElement: key{a:S:HASH}, SchemaElement: key{pk:B:RANGE}]",
        ),
        ([{"Create": index("new", "a:HASH", projection={})}], A, V, INVALID + "Unknown ProjectionType: null"),
        ([{"Create": index("new", "a:HASH")}], A, V, INVALID + "Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: new"),
        (
            [{"Create": index("new", "a:HASH")}], {**A, "BillingMode": "PROVISIONED", "ProvisionedThroughput": TEN}, V,
            INVALID + "You cannot create or delete index while updating table IOPS",
        ),
        (
            [{"Delete": {"IndexName": "by-a"}}], {"DeletionProtectionEnabled": True}, V,
            INVALID + "DeletionProtection modification must be the only operation in the request",
        ),
        (
            [{"Delete": {"IndexName": "by-a"}}, {"Create": index("new", "a:HASH")}], A, LIMIT,
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        ),
        (
            [{"Delete": {"IndexName": "ghost"}}, {"Delete": {"IndexName": "wraith"}}], {}, LIMIT,
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        ),
        ([{"Delete": {"IndexName": "ghost"}}], {}, MISSING, "Requested resource not found: Index ghost for table later"),
        (
            [{"Update": {"IndexName": "by-a", "ProvisionedThroughput": UNITS}}], {}, V,
            ("The provisioned throughput for the index by-a will not change. The requested value equals the current value. Current ReadCapacityUnits "
            "provisioned for index by-a: 5. Requested ReadCapacityUnits: 5. Current WriteCapacityUnits provisioned for index by-a: 5. Requested "
            "WriteCapacityUnits: 5. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."),
        ),
        (
            [{"Update": {"IndexName": "by-a", "ProvisionedThroughput": {**UNITS, "ReadCapacityUnits": 10**12 + 1}}}], {}, V,
            f"Given value {10**12 + 1} for ReadCapacityUnits is out of bounds for index by-a",
        ),
        (
            [{"Update": {"IndexName": "by-a", "WarmThroughput": {"ReadUnitsPerSecond": 4}}}], {}, V,
            INVALID + "Requested ReadUnitsPerSecond for WarmThroughput for index by-a is lower than current WarmThroughput, decreasing WarmThroughput is not supported",
        ),
    ],
    ids=["exists", "undefined", "lacking", "otherwise", "own-key-otherwise", "projection", "unpaid", "with-units", "with-protection", "two", "two-ghosts", "ghost", "same", "boundless", "colder"],
)  # fmt: skip
def test_updates_that_are_refused(updates: list[dict[str, Any]], more: dict[str, Any], name: str, message: str) -> None:
    later = Later(index("by-a", "a:HASH", ProvisionedThroughput=UNITS), names=("a",), **PAID)
    assert later.refused(*updates, **more) == (name, message)
    assert later.statuses() == {"by-a": ("ACTIVE", None)}


def test_what_is_no_key_of_the_new_index_is_not_defined_anew() -> None:
    later = Later(index("by-a", "a:HASH"), names=("a",))
    given = [{"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "N"), ("b", "S"), ("c", "B"))]
    later.update({"Create": index("by-b", "b:HASH")}, AttributeDefinitions=given)
    later.backend._settle("later")
    shown = {one["AttributeName"]: one["AttributeType"] for one in later.described()["AttributeDefinitions"]}
    assert shown == {"pk": "S", "a": "S", "b": "S"}
    later.calls.ok("PutItem", TableName="later", Item={"pk": {"S": "p"}, "b": {"S": "b"}, "c": {"N": "1"}})


def test_the_twenty_first_index_is_over_the_limit() -> None:
    later = Later(*[index(f"by-a-{number}", "a:HASH") for number in range(20)], names=("a",))
    assert later.refused(BY_A, **A) == (
        LIMIT,
        "Subscriber limit exceeded: Number of global secondary indexes exceeds per-table limit of 20",
    )


def test_throughput_of_an_index_changes_and_the_answer_shows_it_from_before() -> None:
    later = Later(index("by-a", "a:HASH", ProvisionedThroughput=UNITS), names=("a",), **PAID)
    answer = later.update({"Update": {"IndexName": "by-a", "ProvisionedThroughput": TEN}})
    shown = answer["GlobalSecondaryIndexes"][0]
    assert (shown["IndexStatus"], shown["ProvisionedThroughput"]["ReadCapacityUnits"]) == ("UPDATING", 5)
    shown = later.described()["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]
    assert (shown["ReadCapacityUnits"], "LastIncreaseDateTime" in shown, "LastDecreaseDateTime" in shown) == (10, True, False)
    assert shown["NumberOfDecreasesToday"] == 0
    later.update({"Update": {"IndexName": "by-a", "ProvisionedThroughput": UNITS}})
    later.update({"Update": {"IndexName": "by-a", "ProvisionedThroughput": TEN}})
    assert later.described()["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 1
    assert later.described()["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 0
    warm = later.update({"Update": {"IndexName": "by-a", "WarmThroughput": {"ReadUnitsPerSecond": 100}}})
    del warm
    assert later.described()["GlobalSecondaryIndexes"][0]["WarmThroughput"] == {
        "ReadUnitsPerSecond": 100,
        "WriteUnitsPerSecond": 10,
        "Status": "ACTIVE",
    }


def test_a_table_that_is_billed_otherwise_takes_its_indexes_along() -> None:
    later = Later(index("by-a", "a:HASH", OnDemandThroughput={"MaxReadRequestUnits": 50}), names=("a",))
    assert later.described()["GlobalSecondaryIndexes"][0]["OnDemandThroughput"] == {"MaxReadRequestUnits": 50}
    paid: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}
    assert later.refused(**paid) == (V, INVALID + "ProvisionedThroughput must be specified for index: by-a")
    units_ = {"Update": {"IndexName": "by-a", "ProvisionedThroughput": UNITS}}
    assert later.refused(units_) == (
        V,
        INVALID
        + "The only Updates for index: by-a when TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput",
    )
    later.update(units_, **paid)
    later.backend._settle("later")
    shown = later.described()["GlobalSecondaryIndexes"][0]
    assert (shown["ProvisionedThroughput"]["ReadCapacityUnits"], "OnDemandThroughput" in shown) == (5, False)
    later.calls.ok("UpdateTable", TableName="later", BillingMode="PAY_PER_REQUEST")
    later.backend._settle("later")
    assert later.described()["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["ReadCapacityUnits"] == 0


def test_table_warm_throughput_is_kept_and_never_less() -> None:
    later = Later(names=(), WarmThroughput={"ReadUnitsPerSecond": 13_000})
    assert later.described()["WarmThroughput"] == {"ReadUnitsPerSecond": 13_000, "WriteUnitsPerSecond": 4_000, "Status": "ACTIVE"}
    assert later.refused(WarmThroughput={"ReadUnitsPerSecond": 12_000}) == (
        V,
        INVALID
        + "Requested ReadUnitsPerSecond for WarmThroughput for table is lower than current WarmThroughput, decreasing WarmThroughput is not supported",
    )


@pytest.mark.parametrize("partitions", [1, 3])
def test_many_sequences_against_a_plain_model(partitions: int) -> None:
    subject = InProcess(partitions=partitions)
    calls = ApiCalls(subject.backend, subject.backend._env)
    for seed in range(4):
        name = f"modelled-{seed}"
        create_modelled(calls, name)
        subject.backend._settle(name)
        model = GlobalIndexModel(calls, name, random.Random(seed))
        for _ in range(25):
            model.write()
            model.check()
        model.check_all()
