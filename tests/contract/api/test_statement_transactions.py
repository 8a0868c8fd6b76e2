"""ExecuteTransaction: statements that are done together or not at all, what each of them may be, and why one that was cancelled was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_server import ApiServer

FAILED = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
NONE = {"Code": "None"}
NEEDS_KEY = "Select statements within ExecuteTransaction must specify the primary key in the where clause."
EXISTS = "EXISTS() must contain a single item read with additional condition"
MULTIPLE = "Transaction request cannot include multiple operations on one item"


def request(*statements: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"TransactStatements": [{"Statement": one} if isinstance(one, str) else one for one in statements], **more}


def put(server: ApiServer, key: str, **item: Any) -> None:
    server.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": key}, **item}})


def get(server: ApiServer, key: str) -> Any:
    return server.ok("GetItem", {"TableName": "hash", "Key": {"pk": {"S": key}}, "ConsistentRead": True}).get("Item")


def test_writes_are_done_together(server: ApiServer) -> None:
    for key in ("tx-up", "tx-del", "tx-seen", "tx-from"):
        put(server, key, n={"N": "1"})
    answer = server.ok(
        "ExecuteTransaction",
        request(
            {"Statement": "INSERT INTO hash VALUE {'pk': ?, 'a': [1]}", "Parameters": [{"S": "tx-new"}]},
            "UPDATE hash SET n = n + 1, ss = set_add(ss, <<'t'>>) WHERE pk = 'tx-up' AND n = 1",
            "FROM hash WHERE pk = 'tx-from' AND attribute_not_exists(x) SET c = 1",
            "DELETE FROM hash WHERE pk = 'tx-del'",
            "EXISTS(SELECT * FROM hash WHERE pk = 'tx-seen' AND n = 1)",
        ),
    )
    assert answer == {"Responses": []}
    assert get(server, "tx-new") == {"pk": {"S": "tx-new"}, "a": {"L": [{"N": "1"}]}}
    assert get(server, "tx-up") == {"pk": {"S": "tx-up"}, "n": {"N": "2"}, "ss": {"SS": ["t"]}}
    assert get(server, "tx-from")["c"] == {"N": "1"}
    assert get(server, "tx-del") is None


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO hash VALUE {'pk': 'tx-there'}", {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}),
        ("UPDATE hash SET a = 1 WHERE pk = 'tx-nobody'", FAILED),
        ("DELETE FROM hash WHERE pk = 'tx-there' AND n = 2", FAILED),
        ("EXISTS(SELECT * FROM hash WHERE pk = 'tx-there' AND n = 2)", FAILED),
        ("EXISTS(SELECT * FROM hash WHERE pk = 'tx-nobody' AND n IS NOT MISSING)", FAILED),
        ("UPDATE hash SET n = n + 'x' WHERE pk = 'tx-there'", None),
    ],
)
def test_one_that_fails_cancels_all(server: ApiServer, statement: str, reason: Any) -> None:
    put(server, "tx-there", n={"N": "1"})
    status, answer = server.ask("ExecuteTransaction", request("INSERT INTO hash VALUE {'pk': 'tx-never'}", statement))
    assert status == 400
    assert get(server, "tx-never") is None
    assert get(server, "tx-there") == {"pk": {"S": "tx-there"}, "n": {"N": "1"}}
    if reason is not None:
        assert answer["__type"].endswith("TransactionCanceledException")
        assert answer["CancellationReasons"] == [NONE, reason]


def test_the_item_that_failed_is_shown_where_it_is_asked_for(server: ApiServer) -> None:
    put(server, "tx-shown", n={"N": "1"})
    failing = {"Statement": "DELETE FROM hash WHERE pk = 'tx-shown' AND n = 2", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    _, answer = server.ask("ExecuteTransaction", request(failing))
    assert answer["CancellationReasons"] == [{**FAILED, "Item": {"pk": {"S": "tx-shown"}, "n": {"N": "1"}}}]


def test_reads_are_of_one_moment_and_by_whole_keys(server: ApiServer) -> None:
    put(server, "tx-read", n={"N": "1"}, m={"M": {"x": {"N": "2"}}})
    answer = server.ok(
        "ExecuteTransaction",
        request(
            "SELECT m.x FROM hash WHERE pk = 'tx-read'",
            {"Statement": "SELECT * FROM hash WHERE pk = ?", "Parameters": [{"S": "tx-nobody"}]},
            ReturnConsumedCapacity="TOTAL",
        ),
    )
    assert answer["Responses"] == [{"Item": {"x": {"N": "2"}}}, {}]
    assert answer["ConsumedCapacity"] == [{"TableName": "hash", "CapacityUnits": 4.0, "ReadCapacityUnits": 4.0}]


def test_a_token_makes_two_calls_one(server: ApiServer) -> None:
    put(server, "tx-once", n={"N": "0"})
    asked = request("UPDATE hash SET n = n + 1 WHERE pk = 'tx-once'", ClientRequestToken="tx-token", ReturnConsumedCapacity="TOTAL")
    assert server.ok("ExecuteTransaction", asked)["ConsumedCapacity"] == [
        {"TableName": "hash", "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}
    ]
    assert server.ok("ExecuteTransaction", asked)["ConsumedCapacity"] == [
        {"TableName": "hash", "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}
    ]
    assert get(server, "tx-once")["n"] == {"N": "1"}
    other = request("UPDATE hash SET n = n + 2 WHERE pk = 'tx-once'", ClientRequestToken="tx-token")
    assert server.refusal("ExecuteTransaction", other)[0] == "IdempotentParameterMismatchException"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM hash WHERE", "Statement wasn't well formed, can't be processed: Unexpected term"),
        ("SELECT * FROM hash", NEEDS_KEY),
        ("SELECT * FROM hash WHERE pk = 'a' AND attribute_exists(b)", NEEDS_KEY),
        ("UPDATE hash SET a = 1 WHERE pk = 'x' RETURNING ALL NEW *", "RETURNING clause is not supported in ExecuteTransaction."),
        ("DELETE FROM hash WHERE pk = 'x' RETURNING ALL OLD *", "RETURNING clause is not supported in ExecuteTransaction."),
        ("EXISTS(SELECT * FROM hash WHERE pk = 'x')", EXISTS),
        ("EXISTS(SELECT * FROM hash WHERE a = 1)", EXISTS),
        ("EXISTS(SELECT * FROM hash)", EXISTS),
        ("SELECT * FROM hash WHERE pk = ?", "Number of parameters in request and statement don't match."),
        (
            "SELECT * FROM composite WHERE pk IN ['a', 'a'] AND sk = '1'",
            "Overlapping conditions with range keys are not supported in where clause",
        ),
    ],
)
def test_what_a_statement_of_a_transaction_may_be(server: ApiServer, statement: str, message: str) -> None:
    said = server.refusal("ExecuteTransaction", request("SELECT * FROM hash WHERE pk = 'first'", statement))
    assert said == ("ValidationException", f"Validation failed in TransactStatements[1]: {message}")


def test_what_a_transaction_may_be(server: ApiServer) -> None:
    select, insert = "SELECT * FROM hash WHERE pk = 'x'", "INSERT INTO hash VALUE {'pk': 'tx-mixed'}"
    mixed = "The entire transaction must consist of either read statements or write statements, you cannot mix both in one transaction."
    assert server.refusal("ExecuteTransaction", request(select, insert)) == ("ValidationException", mixed)
    assert get(server, "tx-mixed") is None
    assert server.refusal("ExecuteTransaction", request(select, select)) == ("ValidationException", MULTIPLE)
    assert server.refusal("ExecuteTransaction", request(insert, "DELETE FROM hash WHERE pk = 'tx-mixed'")) == (
        "ValidationException",
        MULTIPLE,
    )
    assert server.refusal("ExecuteTransaction", request("SELECT * FROM absent WHERE pk = 'x'"))[0] == "ResourceNotFoundException"
    for statements in ([], [select] * 101):
        assert server.refusal("ExecuteTransaction", request(*statements))[0] == "ValidationException"
