"""PartiQL through the API: what is refused in whose words, what each statement does and answers, pages and tokens, indexes, capacity, batches."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.api_server import ApiServer
from tests.contract.api.statement_cases import MEANING, NO_KEY, NOT_WELL_FORMED, OURS, PARAMETERS, SYNTAX

ROW = {
    "pk": {"S": "row"},
    "ss": {"SS": ["a", "b", "c"]},
    "ns": {"NS": ["1", "2"]},
    "s": {"S": "str"},
    "nul": {"NULL": True},
    "flag": {"BOOL": True},
}


@pytest.fixture(scope="module")
def db(server: ApiServer) -> ApiServer:
    server.make_table("num", "pk:N")
    return server


def run(db: ApiServer, statement: str, *parameters: Any, **more: Any) -> Any:
    return db.ok("ExecuteStatement", {"Statement": statement, **({"Parameters": list(parameters)} if parameters else {}), **more})


def items(db: ApiServer, statement: str, *parameters: Any, **more: Any) -> list[Any]:
    found: list[Any] = run(db, statement, *parameters, **more)["Items"]
    return found


def refused(db: ApiServer, statement: str, *parameters: Any, **more: Any) -> str | None:
    body = {"Statement": statement, **({"Parameters": list(parameters)} if parameters else {}), **more}
    name, message = db.refusal("ExecuteStatement", body)
    return f"{name}: {message}"


def put(db: ApiServer, table: str, **item: Any) -> None:
    db.ok("PutItem", {"TableName": table, "Item": item})


def get(db: ApiServer, table: str, **key: Any) -> Any:
    return db.ok("GetItem", {"TableName": table, "Key": key, "ConsistentRead": True}).get("Item")


# -- what is refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statement", "message"), SYNTAX + MEANING + OURS)
def test_what_is_refused_in_whose_words(db: ApiServer, statement: str, message: str) -> None:
    assert refused(db, statement) == f"ValidationException: {message}"


def test_parameters_are_counted_and_read(db: ApiServer) -> None:
    assert refused(db, "SELECT * FROM hash WHERE pk = 'x'", {"S": "x"}) == f"ValidationException: {PARAMETERS}"
    assert refused(db, "SELECT * FROM hash WHERE pk = ? AND a = ?", {"S": "x"}) == f"ValidationException: {PARAMETERS}"
    wrong = "The parameter cannot be converted to a numeric value: 1e99999999999"
    assert refused(db, "SELECT * FROM hash WHERE pk = ?", {"N": "1e99999999999"}) == f"ValidationException: {wrong}"
    assert refused(db, "SELECT * FROM hash WHERE attribute_exists(?)", {"S": "ss"}) == (
        "ValidationException: Operator or function requires a document path; operator or function: attribute_exists"
    )
    assert refused(db, "SELECT * FROM hash WHERE pk = '?'", {"S": "x"}) == f"ValidationException: {PARAMETERS}"


def test_the_operand_type_is_told_before_the_table_is_looked_for(db: ApiServer) -> None:
    wrong = "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL"
    assert refused(db, "SELECT pk FROM absent WHERE pk = ? AND val < ?", {"S": "x"}, {"BOOL": True}) == f"ValidationException: {wrong}"
    assert refused(db, "SELECT pk FROM absent WHERE pk = 'x'") == "ResourceNotFoundException: Requested resource not found"
    assert refused(db, "FROM absent WHERE pk = 'x' SET c = 1") == "ResourceNotFoundException: Requested resource not found"


def test_the_length_of_a_statement_is_bounded(db: ApiServer) -> None:
    assert items(db, "SELECT * FROM hash WHERE pk = 'never'" + " " * 8155) == []
    assert "Member must have length less than or equal to 8192" in str(refused(db, "SELECT * FROM hash WHERE pk = 'never'" + " " * 8156))
    assert "Member must have length greater than or equal to 1" in str(refused(db, ""))
    for deep in ("(" * 8000, "SELECT * FROM hash WHERE " + "(" * 4000 + "a = 1" + ")" * 4000 + ";", "[" * 8192, "NOT " * 2048, "-" * 8192):
        status, _ = db.ask("ExecuteStatement", {"Statement": deep})
        assert status in (200, 400)


# -- insert -------------------------------------------------------------------------------------------------------------------------------


def test_insert_writes_every_type_and_never_twice(db: ApiServer) -> None:
    text = (
        "INSERT INTO \"hash\" VALUE {'pk': 'ins', 'n': -.5e1, 't': true, 'f': FALSE, 'z': null, 'l': [1, 'x', {'y': []}], 'm': {'a': {'b': ''}}, "
        "'ss': <<'b', 'a'>>, 'ns': <<2, 1>>, 'q': 'it''s', 'b': ?, 'bs': <<?>>}"
    )
    assert items(db, text, {"B": "AQ=="}, {"B": "Ag=="}) == []
    assert get(db, "hash", pk={"S": "ins"}) == {
        "pk": {"S": "ins"},
        "n": {"N": "-5"},
        "t": {"BOOL": True},
        "f": {"BOOL": False},
        "z": {"NULL": True},
        "l": {"L": [{"N": "1"}, {"S": "x"}, {"M": {"y": {"L": []}}}]},
        "m": {"M": {"a": {"M": {"b": {"S": ""}}}}},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "q": {"S": "it's"},
        "b": {"B": "AQ=="},
        "bs": {"BS": ["Ag=="]},
    }
    assert refused(db, "INSERT INTO hash VALUE {'pk': 'ins'}") == "DuplicateItemException: Duplicate primary key exists in table"
    assert get(db, "hash", pk={"S": "ins"})["n"] == {"N": "-5"}
    assert items(db, "DELETE FROM hash WHERE pk = 'ins'") == []
    assert items(db, "INSERT INTO hash VALUE ?", {"M": {"pk": {"S": "ins"}, "a": {"N": "1"}}}) == []
    assert get(db, "hash", pk={"S": "ins"}) == {"pk": {"S": "ins"}, "a": {"N": "1"}}


# -- where --------------------------------------------------------------------------------------------------------------------------------

HOLDS = [
    "attribute_exists(ss)",
    "attribute_not_exists(nope)",
    "NOT attribute_exists(nope)",
    "ATTRIBUTE_EXISTS(ss)",
    "(attribute_exists(nope) OR attribute_exists(ss))",
    "attribute_exists(ss) = true",
    "attribute_exists(nope) <> true",
    'attribute_exists("ss")',
    "size(s) = 3",
    "attribute_type(ss, 'SS')",
    "nul IS NULL",
    "s IS NOT NULL",
    "flag IS BOOL",
    "s IS STRING",
    "s IS NOT MISSING",
    "nope IS MISSING",
    "ss = <<'c', 'b', 'a'>>",
    "contains(ss, 'a')",
    "begins_with(s, 'st')",
    "NOT begins_with(s, 'tr')",
    "s != 'x' AND 'str' = s",
    "s BETWEEN 'sta' AND 'sts'",
    "s NOT BETWEEN 'a' AND 'b'",
    "s IN ('x', 'str')",
    "s NOT IN ['x']",
    "nope IS MISSING AND (s = 'x' OR flag = true)",
]


@pytest.mark.parametrize("condition", HOLDS)
def test_a_condition_holds_and_its_denial_does_not(db: ApiServer, condition: str) -> None:
    put(db, "hash", **ROW)
    assert items(db, f"SELECT * FROM hash WHERE pk = 'row' AND {condition}") == [ROW]
    assert items(db, f"SELECT * FROM hash WHERE pk = 'row' AND NOT ({condition})") == []


def test_numbers_comments_and_names(db: ApiServer) -> None:
    for number in ("7310000", "7.3", "-7.3"):
        put(db, "num", pk={"N": number})
    for literal in ("7.31e6", "7.31E6", "7.31e+6", "731e4", "73100000e-1"):
        assert items(db, f'SELECT * FROM "num" WHERE pk = {literal}') == [{"pk": {"N": "7310000"}}]
    assert items(db, 'SELECT * FROM "num" WHERE pk = .73e1 -- a note') == [{"pk": {"N": "7.3"}}]
    assert items(db, '-- a note\nSELECT * FROM "num" /* a\n* note */\nWHERE pk = -.73e1;') == [{"pk": {"N": "-7.3"}}]
    put(db, "hash", pk={"S": "named"}, value={"S": "v"}, old={"N": "1"}, **{'a"b': {"N": "2"}, "x.y": {"N": "3"}})
    chosen = 'SELECT "value", old, "a""b", "x.y" FROM hash WHERE pk = \'named\''
    assert items(db, chosen) == [{"value": {"S": "v"}, "old": {"N": "1"}, 'a"b': {"N": "2"}, "x.y": {"N": "3"}}]


def test_columns_are_called_by_the_last_name_of_their_path(db: ApiServer) -> None:
    put(db, "hash", pk={"S": "deep"}, m={"M": {"n": {"M": {"x": {"S": "deep"}}}}}, l={"L": [{"N": "1"}, {"N": "2"}]})
    assert items(db, "SELECT m.n.x, l[1], m['n'], nope FROM hash WHERE pk = 'deep'") == [
        {"x": {"S": "deep"}, "l[1]": {"N": "2"}, "n": {"M": {"x": {"S": "deep"}}}}
    ]


# -- what is read -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(db: ApiServer) -> ApiServer:
    for partition in "abc":
        for sort in range(1, 6):
            put(db, "numeric", pk={"S": partition}, sk={"N": str(sort)}, even={"BOOL": sort % 2 == 0})
    return db


def keys(found: list[Any]) -> list[str]:
    return [f"{item['pk']['S']}{item['sk']['N']}" for item in found]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("pk = 'a'", "a1 a2 a3 a4 a5"),
        ("pk = 'a' ORDER BY sk DESC", "a5 a4 a3 a2 a1"),
        ("pk = 'a' ORDER BY pk DESC, sk ASC", "a1 a2 a3 a4 a5"),
        ("pk = 'a' AND sk > 3", "a4 a5"),
        ("pk = 'a' AND 3 > sk", "a1 a2"),
        ("pk = 'a' AND sk >= 3 AND sk < 5", "a3 a4"),
        ("pk = 'a' AND sk > 0 AND sk = 2", "a2"),
        ("pk = 'a' AND sk BETWEEN 2 AND 3", "a2 a3"),
        ("pk = 'a' AND sk = 4", "a4"),
        ("pk = 'a' AND sk = 4 AND even = false", ""),
        ("pk = 'a' AND even = true", "a2 a4"),
        ("pk = 'a' AND sk IN [5, 1, 3]", "a1 a3 a5"),
        ("pk IN ['c', 'a'] AND sk = 1", "a1 c1"),
        ("pk IN ['c', 'a'] AND sk < 2 ORDER BY pk DESC", "c1 a1"),
        ("pk = 'b' AND sk = 1 OR pk = 'a' AND sk > 4", "a5 b1"),
        ("(pk = 'a' OR pk = 'b') AND (sk = 1 OR sk = 5)", "a1 a5 b1 b5"),
        ("(pk = 'a' OR pk = 'b') AND (sk = 1 OR sk = 5) ORDER BY pk DESC, sk DESC", "b5 b1 a5 a1"),
        ("(pk = 'a' OR pk = 'b') AND (sk = 1 OR sk = 5) ORDER BY pk DESC", "b1 b5 a1 a5"),
        ("pk = 'a' AND NOT sk = 1 OR pk = 'a' AND sk = 2", "a2 a3 a4 a5"),
        ("pk = 'a' AND sk <> 1 OR pk = 'a' AND sk = 2", "a2 a3 a4 a5"),
        ("pk = 'a' AND NOT sk IN [1, 3] OR pk = 'a' AND sk = 2", "a2 a4 a5"),
        ("pk = 'a' OR pk = 'a' AND NOT sk = 1", "a1 a2 a3 a4 a5"),
        ("pk = 'nobody'", ""),
    ],
)
def test_a_pinned_partition_key_is_a_query(rows: ApiServer, where: str, expected: str) -> None:
    answer = run(rows, f'SELECT * FROM "numeric" WHERE {where}', ReturnConsumedCapacity="TOTAL", ConsistentRead=True)
    assert keys(answer["Items"]) == expected.split()
    assert answer["ConsumedCapacity"] == {"TableName": "numeric", "CapacityUnits": 1.0}
    # page by page it is the same
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = run(rows, f'SELECT * FROM "numeric" WHERE {where}', Limit=1, **token)
        assert len(page["Items"]) <= 1
        found += keys(page["Items"])
        assert found == expected.split()[: len(found)]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == expected.split()


@pytest.mark.parametrize(
    "where",
    ["", "WHERE pk > 'a'", "WHERE even = true", "WHERE pk = 'a' OR even = true", "WHERE NOT pk = 'a'", "WHERE sk = 1", "WHERE pk > 1"],
)
def test_everything_else_is_a_scan(rows: ApiServer, where: str) -> None:
    condition = {"": "attribute_exists(pk)", "WHERE pk > 1": "pk > :one"}.get(
        where, where[6:].replace("'a'", ":a").replace("true", ":t").replace("= 1", "= :one")
    )
    values = {name: value for name, value in ((":a", {"S": "a"}), (":t", {"BOOL": True}), (":one", {"N": "1"})) if name in condition}
    request = {"TableName": "numeric", "FilterExpression": condition, **({"ExpressionAttributeValues": values} if values else {})}
    same = rows.ok("Scan", {**request, "ReturnConsumedCapacity": "TOTAL"})
    answer = run(rows, f'SELECT * FROM "numeric" {where}', ReturnConsumedCapacity="TOTAL")
    assert answer["Items"] == same["Items"]
    assert answer["ConsumedCapacity"] == same["ConsumedCapacity"]
    first = run(rows, f'SELECT * FROM "numeric" {where}', Limit=7)
    rest = items(rows, f'SELECT * FROM "numeric" {where}', NextToken=first["NextToken"])
    assert first["Items"] + rest == same["Items"]
    assert first["LastEvaluatedKey"] == rows.ok("Scan", {**request, "Limit": 7})["LastEvaluatedKey"]


def test_a_token_is_of_its_statement_alone(rows: ApiServer) -> None:
    token = run(rows, 'SELECT * FROM "numeric" WHERE pk = ?', {"S": "a"}, Limit=2)["NextToken"]
    assert keys(items(rows, 'SELECT * FROM "numeric" WHERE pk = ?', {"S": "a"}, NextToken=token)) == ["a3", "a4", "a5"]
    other = "ValidationException: NextToken does not match request"
    assert refused(rows, 'SELECT * FROM "numeric" WHERE pk = ?', {"S": "b"}, NextToken=token) == other
    assert refused(rows, 'SELECT * FROM "numeric" WHERE pk =  ?', {"S": "a"}, NextToken=token) == other
    for bad in ("garbage", "!", token[:-8], "AQ==", token[:30] + "AAAA"):
        assert str(refused(rows, 'SELECT * FROM "numeric" WHERE pk = ?', {"S": "a"}, NextToken=bad)).startswith("ValidationException: ")
    assert refused(rows, 'SELECT * FROM "numeric"', NextToken="garbage!") == "ValidationException: Invalid NextToken"


# -- update and delete --------------------------------------------------------------------------------------------------------------------


def test_update_changes_what_is_there_and_makes_nothing(db: ApiServer) -> None:
    put(db, "hash", pk={"S": "up"}, a={"N": "1"}, b={"S": "bee"}, l={"L": [{"S": "x"}]}, m={"M": {"x": {"N": "1"}}})
    text = "UPDATE hash SET a = a + 2, c = b SET l = list_append(l, ['y']) SET m.y = ?, d = 5 - a REMOVE b WHERE pk = 'up' AND a = 1 RETURNING ALL NEW *"
    assert items(db, text, {"BOOL": True}) == [
        {
            "pk": {"S": "up"},
            "a": {"N": "3"},
            "c": {"S": "bee"},
            "d": {"N": "4"},
            "l": {"L": [{"S": "x"}, {"S": "y"}]},
            "m": {"M": {"x": {"N": "1"}, "y": {"BOOL": True}}},
        }
    ]
    failed = "ConditionalCheckFailedException: The conditional request failed"
    assert refused(db, "UPDATE hash SET a = 9 WHERE pk = 'up' AND a = 1") == failed
    assert refused(db, "UPDATE hash SET a = 9 WHERE pk = 'ghost'") == failed
    assert refused(db, "UPDATE hash SET ss = set_add(ss, <<'x'>>) WHERE pk = 'ghost'") == failed
    assert refused(db, "UPDATE hash SET a = 9 WHERE pk = 'ghost' AND attribute_not_exists(pk)") == failed
    assert get(db, "hash", pk={"S": "ghost"}) is None
    assert items(db, "from hash where pk = ? AND a = 3 set e = ? remove a", {"S": "up"}, {"N": "7"}) == []
    assert get(db, "hash", pk={"S": "up"})["e"] == {"N": "7"}
    status, answer = db.ask(
        "ExecuteStatement", {"Statement": "DELETE FROM hash WHERE pk = 'up' AND e = 1", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    )
    assert (status, answer["Item"]["e"]) == (400, {"N": "7"})


@pytest.mark.parametrize(
    ("action", "returning", "expected"),
    [
        ("SET tags[0] = 'x'", "MODIFIED NEW", {"tags": {"L": [{"S": "x"}]}}),
        ("SET tags[2] = 'y', tags[0] = 'x'", "MODIFIED OLD", {"tags": {"L": [{"S": "a"}, {"S": "c"}]}}),
        ("SET tags[5] = 'z'", "MODIFIED NEW", None),
        ("REMOVE tags[1]", "MODIFIED NEW", {"tags": {"L": [{"S": "c"}]}}),
        ("REMOVE tags[2]", "MODIFIED NEW", None),
        ("SET m.x = 2", "MODIFIED NEW", {"m": {"M": {"x": {"N": "2"}}}}),
        ("SET fresh = 1", "MODIFIED OLD", None),
        (
            "SET n = 2",
            "ALL OLD",
            {
                "pk": {"S": "ret"},
                "n": {"N": "1"},
                "m": {"M": {"x": {"N": "1"}, "y": {"N": "1"}}},
                "tags": {"L": [{"S": "a"}, {"S": "b"}, {"S": "c"}]},
            },
        ),
    ],
)
def test_returning(db: ApiServer, action: str, returning: str, expected: Any) -> None:
    put(
        db,
        "hash",
        pk={"S": "ret"},
        n={"N": "1"},
        m={"M": {"x": {"N": "1"}, "y": {"N": "1"}}},
        tags={"L": [{"S": "a"}, {"S": "b"}, {"S": "c"}]},
    )
    assert items(db, f"UPDATE hash {action} WHERE pk = 'ret' RETURNING {returning} *") == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("action", "name", "expected"),
    [
        ("ss = set_add(ss, <<'0', 'z'>>)", "ss", {"SS": ["0", "a", "b", "c", "z"]}),
        ("ss = SET_ADD(ss, <<'a'>>)", "ss", {"SS": ["a", "b", "c"]}),
        ("nss = set_add(nss, <<'x'>>)", "nss", {"SS": ["x"]}),
        ("ns = set_delete(ns, <<2>>)", "ns", {"NS": ["1"]}),
        ("ss = set_delete(ss, <<'a', 'b', 'c'>>)", "ss", None),
        ("nss = set_delete(nss, <<'a'>>)", "nss", None),
    ],
)
def test_sets(db: ApiServer, action: str, name: str, expected: Any) -> None:
    put(db, "hash", **ROW)
    assert items(db, f"UPDATE hash SET {action} WHERE pk = 'row'") == []
    assert get(db, "hash", pk=ROW["pk"]).get(name) == expected


def test_a_set_of_another_type_is_told_by_the_item(db: ApiServer) -> None:
    put(db, "hash", **ROW)
    wrong = "ValidationException: An operand in the update expression has an incorrect data type"
    for action in ("ss = set_add(ss, <<1>>)", "s = set_add(s, <<'x'>>)", "ss = set_delete(ss, <<1>>)"):
        assert refused(db, f"UPDATE hash SET {action} WHERE pk = 'row'") == wrong


def test_delete(db: ApiServer) -> None:
    put(db, "hash", pk={"S": "del"}, a={"N": "1"})
    failed = "ConditionalCheckFailedException: The conditional request failed"
    assert refused(db, "DELETE FROM hash WHERE pk = 'del' AND a = 2") == failed
    assert refused(db, "DELETE FROM hash WHERE pk = 'del' AND attribute_exists(nope)") == failed
    assert items(db, "DELETE FROM hash WHERE pk = 'del' AND a = 1 RETURNING ALL OLD *") == [{"pk": {"S": "del"}, "a": {"N": "1"}}]
    assert items(db, "DELETE FROM hash WHERE pk = 'del' AND a = 1 RETURNING ALL OLD *") == []
    assert items(db, "DELETE FROM hash WHERE pk = 'del' AND a = 1") == []


def test_capacity_of_writes(db: ApiServer) -> None:
    long = {"S": "x" * 1500}
    assert (
        run(db, "INSERT INTO hash VALUE {'pk': 'cap', 'x': ?}", long, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"]
        == 2
    )
    assert run(db, "UPDATE hash REMOVE x WHERE pk = 'cap'", ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"] == {
        "TableName": "hash",
        "CapacityUnits": 2.0,
        "Table": {"CapacityUnits": 2.0},
    }
    assert run(db, "DELETE FROM hash WHERE pk = 'cap'", ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"] == 1
    assert run(db, "SELECT * FROM hash WHERE pk = 'cap'", ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"] == 0.5
    assert "ConsumedCapacity" not in run(db, "SELECT * FROM hash WHERE pk = 'cap'")


# -- indexes ------------------------------------------------------------------------------------------------------------------------------


def test_a_local_index_is_read_in_its_order(db: ApiServer) -> None:
    index = {
        "IndexName": "by-at",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    definitions = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "at")]
    db.make_table("indexed", "pk:S", "sk:S", AttributeDefinitions=definitions, LocalSecondaryIndexes=[index])
    for sort, at in (("1", "z"), ("2", "y"), ("3", "x"), ("4", None)):
        put(db, "indexed", pk={"S": "p"}, sk={"S": sort}, other={"S": sort}, **({} if at is None else {"at": {"S": at}}))
    select = 'SELECT sk FROM "indexed"."by-at" WHERE pk = \'p\''
    assert [item["sk"]["S"] for item in items(db, select)] == ["3", "2", "1"]
    assert [item["sk"]["S"] for item in items(db, select + ' ORDER BY "at" DESC')] == ["1", "2", "3"]
    assert [item["sk"]["S"] for item in items(db, select + " AND \"at\" >= 'y'")] == ["2", "1"]
    first = run(db, select, Limit=2)
    assert [item["sk"]["S"] for item in items(db, select, NextToken=first["NextToken"])] == ["1"]
    assert items(db, 'SELECT * FROM "indexed"."by-at" WHERE pk = \'p\' AND "at" = \'x\'') == [
        {"pk": {"S": "p"}, "sk": {"S": "3"}, "at": {"S": "x"}}
    ]
    assert items(db, 'SELECT other FROM "indexed"."by-at" WHERE pk = \'p\' AND "at" = \'x\'') == [{"other": {"S": "3"}}]
    absent = "One or more parameter values were invalid: Secondary index by-at does not project one or more filter attributes: [other]"
    assert refused(db, select + " AND other = '3'") == f"ValidationException: {absent}"
    assert refused(db, select + " AND NOT other = '9'") == f"ValidationException: {absent}"
    assert items(db, 'SELECT * FROM "indexed"."by-at" WHERE other = \'3\'') == [], "a scan finds that its rows have it not"
    either = "SELECT sk FROM \"indexed\".\"by-at\" WHERE (pk = 'p' AND \"at\" = 'x' AND other = '3') OR (pk = 'p' AND \"at\" = 'y')"
    assert [item["sk"]["S"] for item in items(db, either)] == ["2"]
    assert [item["sk"]["S"] for item in items(db, "SELECT sk FROM indexed WHERE pk = 'p'")] == ["1", "2", "3", "4"]
    wrong = "One or more parameter values were invalid: Type mismatch for Index Key at Expected: S Actual: N IndexName: by-at"
    assert refused(db, "INSERT INTO indexed VALUE {'pk': 'p', 'sk': '9', 'at': 1}") == f"ValidationException: {wrong}"
    capacity = run(db, select, ReturnConsumedCapacity="INDEXES", ConsistentRead=True)["ConsumedCapacity"]
    assert capacity["LocalSecondaryIndexes"] == {"by-at": {"CapacityUnits": 1.0}}


# -- batches ------------------------------------------------------------------------------------------------------------------------------


def batch(db: ApiServer, *statements: str | dict[str, Any], **more: Any) -> Any:
    return db.ok(
        "BatchExecuteStatement", {"Statements": [{"Statement": one} if isinstance(one, str) else one for one in statements], **more}
    )


def test_a_batch_of_reads(db: ApiServer) -> None:
    put(db, "hash", pk={"S": "one"}, a={"N": "1"})
    needs_key = "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
    answer = batch(
        db,
        "SELECT a FROM hash WHERE pk = 'one'",
        {"Statement": "SELECT * FROM hash WHERE pk = ?", "Parameters": [{"S": "nobody"}], "ConsistentRead": True},
        "SELECT * FROM absent WHERE pk = 'x'",
        "SLECT * FROM hash WHERE pk = 'x'",
        "SELECT * FROM hash WHERE",
        "SELECT * FROM hash WHERE pk = 'one' AND attribute_exists(a)",
        "SELECT * FROM hash",
        ReturnConsumedCapacity="TOTAL",
    )
    assert answer["Responses"] == [
        {"TableName": "hash", "Item": {"a": {"N": "1"}}},
        {"TableName": "hash"},
        {"Error": {"Code": "ResourceNotFound", "Message": "Requested resource not found"}},
        {"Error": {"Code": "ValidationError", "Message": NOT_WELL_FORMED + "Expected data manipulation"}},
        {"Error": {"Code": "ValidationError", "Message": NOT_WELL_FORMED + "Unexpected term"}},
        {"Error": {"Code": "ValidationError", "Message": needs_key}},
        {"Error": {"Code": "ValidationError", "Message": needs_key}},
    ]
    assert answer["ConsumedCapacity"] == [{"TableName": "hash", "CapacityUnits": 1.5}]


def test_a_batch_of_writes(db: ApiServer) -> None:
    put(db, "hash", pk={"S": "two"}, a={"N": "1"})
    answer = batch(
        db,
        "INSERT INTO hash VALUE {'pk': 'two'}",
        {"Statement": "UPDATE hash SET a = 9 WHERE pk = 'two' AND a = 7", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"},
        "UPDATE hash SET a = 2 WHERE pk = 'two' RETURNING MODIFIED NEW *",
        "UPDATE hash REMOVE a WHERE pk = 'two' RETURNING MODIFIED NEW *",
        "DELETE FROM hash WHERE pk = 'two' RETURNING MODIFIED OLD *",
        "DELETE FROM hash WHERE a = 1",
        "DELETE FROM hash WHERE pk = 'two' RETURNING ALL OLD *",
    )
    assert answer["Responses"] == [
        {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}, "TableName": "hash"},
        {
            "Error": {
                "Code": "ConditionalCheckFailed",
                "Message": "The conditional request failed",
                "Item": {"pk": {"S": "two"}, "a": {"N": "1"}},
            },
            "TableName": "hash",
        },
        {"TableName": "hash", "Item": {"a": {"N": "2"}}},
        {"TableName": "hash"},
        {
            "Error": {
                "Code": "ValidationError",
                "Message": "Invalid returning clause: RETURNING MODIFIED OLD *. Only RETURNING ALL OLD * is allowed in DELETE statements.",
            }
        },
        {"Error": {"Code": "ValidationError", "Message": NO_KEY}},
        {"TableName": "hash", "Item": {"pk": {"S": "two"}}},
    ]
    assert get(db, "hash", pk={"S": "two"}) is None


def test_what_a_batch_may_be(db: ApiServer) -> None:
    select, insert = {"Statement": "SELECT * FROM hash WHERE pk = 'x'"}, {"Statement": "INSERT INTO hash VALUE {'pk': 'mixed'}"}
    name, message = db.refusal("BatchExecuteStatement", {"Statements": [select, insert]})
    assert name == "ValidationException"
    assert message == "The entire batch must consist of either read statements or write statements, you cannot mix both in one batch."
    assert get(db, "hash", pk={"S": "mixed"}) is None
    for statements in ([], [select] * 26):
        assert db.refusal("BatchExecuteStatement", {"Statements": statements})[0] == "ValidationException"
    assert len(batch(db, *["SELECT * FROM hash WHERE pk = 'x'"] * 25)["Responses"]) == 25
    # read bit by bit, a large one says the same
    large = [
        {"Statement": "INSERT INTO hash VALUE {'pk': ?, 'x': ?}", "Parameters": [{"S": f"large{number}"}, {"S": "x" * 300_000}]}
        for number in range(5)
    ]
    assert batch(db, *large)["Responses"] == [{"TableName": "hash"}] * 5
    assert [one["Error"]["Code"] for one in batch(db, *large)["Responses"]] == ["DuplicateItem"] * 5


def test_a_client_library_pages_by_itself(rows: ApiServer) -> None:
    client = rows.client()
    found = []
    token: dict[str, str] = {}
    while True:
        page = client.execute_statement(Statement='SELECT * FROM "numeric" WHERE pk = ?', Parameters=[{"S": "b"}], Limit=2, **token)
        found += page["Items"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert keys(found) == ["b1", "b2", "b3", "b4", "b5"]
    client.execute_statement(Statement="INSERT INTO hash VALUE {'pk': 'boto', 'b': ?}", Parameters=[{"B": b"\x00\xff"}])
    with pytest.raises(ClientError, match="DuplicateItemException"):
        client.execute_statement(Statement="INSERT INTO hash VALUE {'pk': 'boto'}")
    assert client.batch_execute_statement(Statements=[{"Statement": "SELECT b FROM hash WHERE pk = 'boto'"}])["Responses"][0]["Item"] == {
        "b": {"B": b"\x00\xff"}
    }


def test_a_key_that_is_named_twice_is_a_condition(db: ApiServer) -> None:
    for key in ("twice", "other"):
        put(db, "hash", pk={"S": key}, a={"N": "1"})
    assert refused(db, "UPDATE hash SET a = 2 WHERE pk = 'twice' AND pk = 'other'") == (
        "ConditionalCheckFailedException: The conditional request failed"
    )
    assert [get(db, "hash", pk={"S": key})["a"] for key in ("twice", "other")] == [{"N": "1"}] * 2
    assert items(db, "SELECT * FROM hash WHERE pk = 'twice' AND pk = 'other'") == []
