"""The same refusals from a real server process: nothing between the HTTP port and the replicas words them otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_server import ServerAt
from tests.contract.api.error_cases import CASES, TABLE_KEYS, case_id
from tests.contract.api.statement_cases import MEANING, SYNTAX
from tests.fixtures.process import ScrubjayServer


@pytest.fixture(scope="module")
def caller(module_server: ScrubjayServer) -> Iterator[ServerAt]:
    asking = ServerAt(module_server.port)
    for name, (partition, sort) in TABLE_KEYS.items():
        asking.make_table(name, partition, sort)
    for name in TABLE_KEYS:
        asking.wait_active(name)
    yield asking
    for name in TABLE_KEYS:
        assert asking.ok("Scan", {"TableName": name})["Count"] == 0, "a refused request wrote something"


@pytest.mark.parametrize(("request_", "name", "message"), CASES, ids=case_id)
def test_refused_in_the_words_of_dynamodb(caller: ServerAt, request_: tuple[str, Any], name: str, message: str) -> None:
    assert caller.refusal(*request_) == (name, message)


def test_statements_are_refused_in_the_same_words_and_done_on_real_parts(caller: ServerAt) -> None:
    for statement, message in SYNTAX + MEANING:
        if '"num"' not in statement:
            assert caller.refusal("ExecuteStatement", {"Statement": statement}) == ("ValidationException", message)

    def run(statement: str, *parameters: Any, **more: Any) -> Any:
        return caller.ok("ExecuteStatement", {"Statement": statement, **({"Parameters": list(parameters)} if parameters else {}), **more})

    inserts = [
        {"Statement": "INSERT INTO composite VALUE {'pk': ?, 'sk': ?}", "Parameters": [{"S": f"p{number % 4}"}, {"S": f"{number:02d}"}]}
        for number in range(24)
    ]
    assert caller.ok("BatchExecuteStatement", {"Statements": inserts})["Responses"] == [{"TableName": "composite"}] * 24
    assert caller.refusal("ExecuteStatement", inserts[0])[0] == "DuplicateItemException"
    for text, expected in (
        ("SELECT * FROM composite", 24),
        ("SELECT * FROM composite WHERE sk >= '12'", 12),
        ("SELECT * FROM composite WHERE pk IN ['p3', 'p1'] ORDER BY pk DESC, sk DESC", 12),
    ):
        found: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = run(text, ConsistentRead=True, Limit=5, **token)
            found += page["Items"]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert len({(item["pk"]["S"], item["sk"]["S"]) for item in found}) == len(found) == expected
    assert [item["sk"]["S"] for item in found] == [f"{number:02d}" for number in (23, 19, 15, 11, 7, 3, 21, 17, 13, 9, 5, 1)]
    changed = run("UPDATE composite SET n = 1 WHERE pk = 'p0' AND sk = '00' AND n IS MISSING RETURNING ALL NEW *")["Items"]
    assert changed == [{"pk": {"S": "p0"}, "sk": {"S": "00"}, "n": {"N": "1"}}]
    transaction = [
        {"Statement": "EXISTS(SELECT * FROM composite WHERE pk = 'p0' AND sk = '00' AND n = 1)"},
        *[{"Statement": f"DELETE FROM composite WHERE pk = 'p{number % 4}' AND sk = '{number:02d}'"} for number in range(1, 24)],
    ]
    assert caller.ok("ExecuteTransaction", {"TransactStatements": transaction}) == {"Responses": []}
    assert run("DELETE FROM composite WHERE pk = 'p0' AND sk = '00' RETURNING ALL OLD *")["Items"] == changed
