"""TransactWriteItems and TransactGetItems through the API: what is refused in whose words, every item's reason, tokens, capacity to the unit. The texts are those of recorded answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scrubjay.base.errors import Conflict, Invalid
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.keys import storage_key
from tests.api_server import ApiServer

HASH_KEY = KeySchema(KeyAttribute("pk", "S"))
Request = dict[str, Any]


def put(key: str, *, table: str = "hash", **more: Any) -> Request:
    return {"Put": {"TableName": table, "Item": {"pk": {"S": key}, "v": {"S": "new"}}, **more}}


def key(pk: Any, *, table: str = "hash", **more: Any) -> Request:
    return {"TableName": table, "Key": {"pk": pk if isinstance(pk, dict) else {"S": pk}}, **more}


def update(pk: Any, expression: str = "SET v = :v", **more: Any) -> Request:
    values = {"ExpressionAttributeValues": {":v": {"S": "x"}}} if ":v" in expression else {}
    return {"Update": key(pk, UpdateExpression=expression, **values, **more)}


def delete(pk: Any, **more: Any) -> Request:
    return {"Delete": key(pk, **more)}


def check(pk: Any, condition: str = "attribute_exists(pk)", **more: Any) -> Request:
    return {"ConditionCheck": key(pk, ConditionExpression=condition, **more)}


def get(pk: Any, **more: Any) -> Request:
    return {"Get": key(pk, **more)}


ONE = "1 validation error detected: "
LENGTH = ONE + "Value at 'TransactItems' failed to satisfy constraint: Member must have length "
EMPTY = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"
UNUSED = "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}"
VALUE = {"ExpressionAttributeValues": {":v": {"S": "x"}}}


def bad_name(path: str) -> str:
    return (
        ONE + f"Value 'bad!name' at 'transactItems.{path}.tableName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    )


REFUSED: list[tuple[str, list[Request], str]] = [
    ("TransactWriteItems", [], LENGTH + "greater than or equal to 1"),
    ("TransactGetItems", [], LENGTH + "greater than or equal to 1"),
    ("TransactWriteItems", [put(f"k{number}") for number in range(101)], LENGTH + "less than or equal to 100"),
    ("TransactGetItems", [get(f"k{number}") for number in range(101)], LENGTH + "less than or equal to 100"),
    ("TransactWriteItems", [put("a"), put("a")], "Transaction request cannot include multiple operations on one item"),
    ("TransactWriteItems", [put("a"), check("a")], "Transaction request cannot include multiple operations on one item"),
    ("TransactGetItems", [get("a"), get("a")], "Transaction request cannot include multiple operations on one item"),
    ("TransactWriteItems", [{}], "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request"),
    ("TransactWriteItems", [{**put("a"), **delete("b")}], "TransactItems can only contain one of Check, Put, Update or Delete"),
    ("TransactWriteItems", [put("a", table="bad!name")], bad_name("1.member.put")),
    ("TransactWriteItems", [put("a"), {"Update": {**update("b")["Update"], "TableName": "bad!name"}}], bad_name("2.member.update")),
    ("TransactWriteItems", [{"Delete": key("a", table="bad!name")}], bad_name("1.member.delete")),
    (
        "TransactWriteItems",
        [{"ConditionCheck": {**check("a")["ConditionCheck"], "TableName": "bad!name"}}],
        bad_name("1.member.conditionCheck"),
    ),
    ("TransactWriteItems", [put("")], EMPTY),
    ("TransactWriteItems", [update("")], EMPTY),
    ("TransactWriteItems", [delete("")], EMPTY),
    ("TransactWriteItems", [check("")], EMPTY),
    ("TransactWriteItems", [put("a", ConditionExpression="")], "Invalid ConditionExpression: The expression can not be empty;"),
    ("TransactWriteItems", [check("a", "")], "Invalid ConditionExpression: The expression can not be empty;"),
    ("TransactWriteItems", [check("a", "attribute_not_exists(")], 'Invalid ConditionExpression: Syntax error; token: "<EOF>", near: "("'),
    ("TransactWriteItems", [check("a", **VALUE)], UNUSED),
    ("TransactWriteItems", [put("a", ConditionExpression="attribute_exists(pk)", **VALUE)], UNUSED),
    ("TransactWriteItems", [delete("a", ConditionExpression="attribute_exists(pk)", **VALUE)], UNUSED),
]


@pytest.mark.parametrize(("operation", "items", "message"), REFUSED)
def test_what_is_no_transaction_is_refused_before_anything_is_done(
    server: ApiServer, operation: str, items: list[Request], message: str
) -> None:
    assert server.refusal(operation, {"TransactItems": items}) == ("ValidationException", message)


def test_a_table_that_is_not_there(server: ApiServer) -> None:
    asked = {"TransactItems": [put("a"), put("a", table="absent")]}
    assert server.refusal("TransactWriteItems", asked) == ("ResourceNotFoundException", "Requested resource not found")


def cancelled(server: ApiServer, items: list[Request], *, operation: str = "TransactWriteItems", **more: Any) -> list[Any]:
    """The reasons of a transaction that must be cancelled."""
    status, answer = server.ask(operation, {"TransactItems": items, **more})
    assert status == 400, answer
    assert answer["__type"] == "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    reasons: list[Any] = answer["CancellationReasons"]
    codes = ", ".join(one["Code"] for one in reasons)
    assert answer["Message"] == f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return reasons


MISMATCH = "The provided key element does not match the schema"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"Put": {"TableName": "hash", "Item": {"pk": {"N": "5"}}}},
            "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N",
        ),
        *[(make(value), MISMATCH) for make in (update, delete, check) for value in ({"N": "5"}, {"L": [{"S": "x"}]})],
    ],
)
def test_a_key_of_another_type_is_the_reason_of_its_item(server: ApiServer, item: Request, message: str) -> None:
    assert cancelled(server, [put("fine"), item]) == [{"Code": "None"}, {"Code": "ValidationError", "Message": message}]
    assert server.ok("GetItem", key("fine")) == {}, "none of it was done"


def test_of_several_items_that_are_nothing_of_their_table_the_first_is_told(server: ApiServer) -> None:
    numbered = [put("fine"), update({"N": "5"}), put("absent", ConditionExpression="attribute_exists(pk)"), delete({"N": "6"})]
    none = {"Code": "None"}
    assert cancelled(server, numbered) == [none, {"Code": "ValidationError", "Message": MISMATCH}, none, none]
    status, answer = server.ask("TransactWriteItems", {"TransactItems": [*numbered, delete({"S": ""})]})
    assert (status, answer["__type"].partition("#")[2]) == (400, "ValidationException"), "an empty key is said of the whole request"


@pytest.fixture
def filled(server: ApiServer) -> ApiServer:
    for name in ("a", "b"):
        server.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": name}, "v": {"S": "old"}, "n": {"N": "1"}}})
    for name in ("c", "fresh"):
        server.ok("DeleteItem", key(name))
    return server


def test_every_item_has_its_reason_and_its_old_item_if_that_is_asked_for(filled: ApiServer) -> None:
    absent = "attribute_not_exists(pk)"
    items = [
        put("fresh", ConditionExpression=absent),
        put("a", ConditionExpression=absent, ReturnValuesOnConditionCheckFailure="ALL_OLD"),
        delete("b", ConditionExpression=absent),
        check("c", ReturnValuesOnConditionCheckFailure="ALL_OLD"),
        {"Update": key("d", UpdateExpression="SET v = w + :v", ExpressionAttributeValues={":v": {"N": "1"}})},
    ]
    failed = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
    assert cancelled(filled, items) == [
        {"Code": "None"},
        {**failed, "Item": {"pk": {"S": "a"}, "v": {"S": "old"}, "n": {"N": "1"}}},
        failed,
        failed,
        {"Code": "ValidationError", "Message": "The provided expression refers to an attribute that does not exist in the item"},
    ]
    assert filled.ok("GetItem", key("fresh")) == {}


def test_all_of_it_is_done_and_read_across_tables(filled: ApiServer) -> None:
    other = {"Put": {"TableName": "composite", "Item": {"pk": {"S": "p"}, "sk": {"S": "s"}}}}
    items = [put("fresh"), update("a"), delete("b"), check("c", "attribute_not_exists(pk)"), other]
    assert filled.ok("TransactWriteItems", {"TransactItems": items}) == {}
    reads = [get("fresh"), get("a", ProjectionExpression="v"), get("b"), {"Get": {"TableName": "composite", "Key": other["Put"]["Item"]}}]
    found = filled.ok("TransactGetItems", {"TransactItems": reads, "ReturnConsumedCapacity": "TOTAL"})
    assert found["Responses"] == [
        {"Item": {"pk": {"S": "fresh"}, "v": {"S": "new"}}},
        {"Item": {"v": {"S": "x"}}},
        {},
        {"Item": {"pk": {"S": "p"}, "sk": {"S": "s"}}},
    ]
    assert found["ConsumedCapacity"] == [
        {"TableName": "hash", "CapacityUnits": 6.0, "ReadCapacityUnits": 6.0},
        {"TableName": "composite", "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0},
    ]


def test_a_transaction_costs_twice_what_its_writes_cost(filled: ApiServer) -> None:
    large = {"Put": {"TableName": "hash", "Item": {"pk": {"S": "c"}, "v": {"S": "x" * 1500}}}}
    items = [large, delete("a"), check("b")]
    asked = {"TransactItems": items, "ReturnConsumedCapacity": "INDEXES", "ClientRequestToken": "costs"}
    units = {"CapacityUnits": 8.0, "WriteCapacityUnits": 8.0}
    assert filled.ok("TransactWriteItems", asked)["ConsumedCapacity"] == [{"TableName": "hash", **units, "Table": units}]
    repeated = {"TableName": "hash", "CapacityUnits": 6.0, "ReadCapacityUnits": 6.0}
    assert filled.ok("TransactWriteItems", {**asked, "ReturnConsumedCapacity": "TOTAL"})["ConsumedCapacity"] == [repeated]


def test_a_token_is_for_one_request(filled: ApiServer) -> None:
    asked = {"TransactItems": [update("a", "SET n = n + :v")], "ClientRequestToken": "once"}
    asked["TransactItems"][0]["Update"]["ExpressionAttributeValues"] = {":v": {"N": "1"}}
    assert filled.ok("TransactWriteItems", asked) == {}
    assert filled.ok("TransactWriteItems", asked) == {}
    assert filled.ok("GetItem", key("a"))["Item"]["n"] == {"N": "2"}, "done once"
    name, _ = filled.refusal("TransactWriteItems", {**asked, "TransactItems": [delete("a")]})
    assert name == "IdempotentParameterMismatchException"
    long = (
        ONE + f"Value '{'t' * 37}' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to 36"
    )
    assert filled.refusal("TransactWriteItems", {**asked, "ClientRequestToken": "t" * 37}) == ("ValidationException", long)


@pytest.fixture
def held(filled: ApiServer) -> Iterator[ApiServer]:
    """A transaction holds item a."""
    place = ("hash", storage_key(HASH_KEY, {"pk": ("S", "a")}))
    filled.backend.held.add(place)
    yield filled
    filled.backend.held.discard(place)


ONGOING = "Transaction is ongoing for the item"
WHERE = "WHERE pk = 'a'"


def test_who_meets_a_transaction_is_told(held: ApiServer) -> None:
    ongoing = {"Code": "TransactionConflict", "Message": ONGOING}
    assert cancelled(held, [put("a"), put("b")]) == [ongoing, {"Code": "None"}]
    assert cancelled(held, [get("b"), get("a")], operation="TransactGetItems") == [{"Code": "None"}, ongoing]
    batch = {"RequestItems": {"hash": [{"PutRequest": {"Item": {"pk": {"S": name}}}} for name in ("a", "b")]}}
    assert held.ok("BatchWriteItem", batch)["UnprocessedItems"] == {"hash": batch["RequestItems"]["hash"][:1]}


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "a"}}}),
        ("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(pk)"}),
        ("UpdateItem", update("a")["Update"]),
        ("UpdateItem", key("a")),
        ("DeleteItem", key("a")),
        ("DeleteItem", key("a", ConditionExpression="attribute_not_exists(pk)")),
        *[
            ("ExecuteStatement", {"Statement": statement})
            for statement in ("INSERT INTO hash VALUE {'pk': 'a'}", f"UPDATE hash SET v = 'x' {WHERE}", f"DELETE FROM hash {WHERE}")
        ],
    ],
)
def test_a_single_write_that_meets_a_transaction_is_refused_whatever_its_condition(held: ApiServer, operation: str, asked: Request) -> None:
    assert held.refusal(operation, asked) == ("TransactionConflictException", ONGOING)


def test_statements_that_meet_a_transaction_are_told_as_requests_are(held: ApiServer) -> None:
    statements = [{"Statement": f"UPDATE hash SET v = 'x' WHERE pk = '{name}'"} for name in ("a", "b")]
    first, second = held.ok("BatchExecuteStatement", {"Statements": statements})["Responses"]
    assert first["Error"] == {"Code": "TransactionConflict", "Message": ONGOING}
    assert "Error" not in second
    ongoing, none = {"Code": "TransactionConflict", "Message": ONGOING}, {"Code": "None"}
    for text in ("SELECT * FROM hash WHERE pk = '{}'", "DELETE FROM hash WHERE pk = '{}'"):
        status, answer = held.ask("ExecuteTransaction", {"TransactStatements": [{"Statement": text.format(name)} for name in ("b", "a")]})
        assert (status, answer["CancellationReasons"]) == (400, [none, ongoing])


def test_reads_see_what_is_committed_while_a_transaction_is_under_way(held: ApiServer) -> None:
    item = {"pk": {"S": "a"}, "v": {"S": "old"}, "n": {"N": "1"}}
    for consistent in (True, False):
        assert held.ok("GetItem", key("a", ConsistentRead=consistent))["Item"] == item
        wanted = {"Keys": [{"pk": {"S": "a"}}], "ConsistentRead": consistent}
        assert held.ok("BatchGetItem", {"RequestItems": {"hash": wanted}})["Responses"] == {"hash": [item]}
        values = {"KeyConditionExpression": "pk = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}
        assert held.ok("Query", {"TableName": "hash", **values, "ConsistentRead": consistent})["Items"] == [item]
        assert item in held.ok("Scan", {"TableName": "hash", "ConsistentRead": consistent})["Items"]
        assert held.ok("ExecuteStatement", {"Statement": f"SELECT * FROM hash {WHERE}", "ConsistentRead": consistent})["Items"] == [item]


def test_one_whose_token_is_in_use_just_now_is_told_to_come_again(filled: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def under_way(*parts: object, **asked: object) -> None:
        raise Conflict("the transaction is in progress", transaction="in_progress")

    monkeypatch.setattr(filled.backend, "transact_write", under_way)
    statements = [{"Statement": f"DELETE FROM hash {WHERE}"}]
    for operation, asked in (
        ("TransactWriteItems", {"TransactItems": [put("a")]}),
        ("ExecuteTransaction", {"TransactStatements": statements}),
    ):
        assert filled.refusal(operation, {**asked, "ClientRequestToken": "now"}) == (
            "TransactionInProgressException",
            "Transaction from previous request is still in progress",
        )


def test_a_token_is_of_what_is_done_and_not_of_how_it_is_told(filled: ApiServer) -> None:
    """Across both ways to ask for a transaction."""
    asked = {"TransactItems": [put("a")], "ClientRequestToken": "told"}
    assert filled.ok("TransactWriteItems", asked) == {}
    assert "ConsumedCapacity" in filled.ok("TransactWriteItems", {**asked, "ReturnConsumedCapacity": "TOTAL"})
    assert filled.ok("TransactWriteItems", {**asked, "ReturnItemCollectionMetrics": "SIZE"}) == {}
    for operation, other in (
        ("TransactWriteItems", {"TransactItems": [put("b")]}),
        ("TransactWriteItems", {"TransactItems": [put("a"), put("b")]}),
        ("TransactWriteItems", {"TransactItems": [put("a", ReturnValuesOnConditionCheckFailure="ALL_OLD")]}),
        ("ExecuteTransaction", {"TransactStatements": [{"Statement": f"DELETE FROM hash {WHERE}"}]}),
    ):
        assert filled.refusal(operation, {**other, "ClientRequestToken": "told"})[0] == "IdempotentParameterMismatchException"
    failing = {"TransactItems": [put("a", ConditionExpression="attribute_not_exists(pk)")], "ClientRequestToken": "failed"}
    for _ in range(2):
        assert filled.refusal("TransactWriteItems", failing)[0] == "TransactionCanceledException"
    assert filled.ok("TransactWriteItems", {**asked, "ClientRequestToken": "failed"}) == {}, "one that was cancelled is not remembered"


def test_more_than_4_mb_is_too_much(filled: ApiServer) -> None:
    items = [{"Put": {"TableName": "hash", "Item": {"pk": {"S": f"k{number}"}, "v": {"S": "x" * 390_000}}}} for number in range(11)]
    large = ("ValidationException", "Transaction payload size cannot exceed 4 MB")
    assert filled.refusal("TransactWriteItems", {"TransactItems": items}) == large
    inserts = [
        {"Statement": f"INSERT INTO hash VALUE {{'pk': 'k{number}', 'v': ?}}", "Parameters": [{"S": "x" * 390_000}]} for number in range(11)
    ]
    assert filled.refusal("ExecuteTransaction", {"TransactStatements": inserts}) == large
    items[0]["Put"]["Item"]["v"]["S"] = "x" * 410_000
    assert cancelled(filled, items[:2])[0] == {"Code": "ValidationError", "Message": "Item size has exceeded the maximum allowed size"}


def test_more_than_4_mb_is_too_much_to_read(filled: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    large = "The aggregate size of the items in the transaction exceeds 4 MB"
    for number in range(11):
        filled.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": f"k{number}"}, "v": {"S": "x" * 390_000}}})
    asked = {"TransactItems": [get(f"k{number}") for number in range(11)]}
    assert filled.refusal("TransactGetItems", asked) == ("ValidationException", large)
    assert len(filled.ok("TransactGetItems", {"TransactItems": asked["TransactItems"][:10]})["Responses"]) == 10
    statements = [{"Statement": f"SELECT * FROM \"hash\" WHERE pk = 'k{number}'"} for number in range(11)]
    assert filled.refusal("ExecuteTransaction", {"TransactStatements": statements}) == ("ValidationException", large)
    written = {
        "TransactItems": [put(f"k{number}") for number in range(11)],
        "ClientRequestToken": "large",
        "ReturnConsumedCapacity": "TOTAL",
    }
    filled.ok("TransactWriteItems", written)
    for number in range(11):
        filled.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": f"k{number}"}, "v": {"S": "x" * 390_000}}})
    again = filled.ok("TransactWriteItems", written)["ConsumedCapacity"]
    assert [one["ReadCapacityUnits"] for one in again] == [11 * 2 * 96.0], (
        "it was done: what its items are by now is no reason to refuse it"
    )

    async def too_large(keys: object) -> None:
        raise Invalid("a partition does not read as much", transaction="too_large")

    monkeypatch.setattr(filled.backend, "transact_read", too_large)
    assert filled.refusal("TransactGetItems", {"TransactItems": [get("a")]}) == ("ValidationException", large)
