"""What is refused, in whose words: every case of `error_cases`, over the plain model of the store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_server import ApiServer
from tests.contract.api.error_cases import CASES, case_id
from tests.contract.api.item_cases import INVALID, PUTS, get, put, query, scan
from tests.contract.api.recovery_cases import DENIED, FOREIGN, HASH, ID


@pytest.mark.parametrize(("request_", "name", "message"), CASES, ids=case_id)
def test_refused_in_the_words_of_dynamodb(server: ApiServer, request_: tuple[str, Any], name: str, message: str) -> None:
    assert server.refusal(*request_) == (name, message)


def test_a_put_that_is_refused_writes_nothing(server: ApiServer) -> None:
    for request, _, _ in PUTS:
        server.refusal(*request)
    assert server.ok(*scan())["Count"] == 0


def test_fractions_where_whole_numbers_are_wanted_are_cut(server: ApiServer) -> None:
    assert server.ok(*query(Limit=1.9))["Count"] == 0


def test_words_that_mean_a_boolean_are_taken(server: ApiServer) -> None:
    assert server.ok(*get(ConsistentRead="TRUE")) == {}
    assert server.refusal(*put(item={"pk": {"BOOL": "yes"}}))[1] == INVALID + "Type mismatch for key pk expected: S actual: BOOL"


def test_unknown_members_and_nulls_are_as_good_as_absent(server: ApiServer) -> None:
    assert server.ok("DescribeTable", {"TableName": "hash", "Nonsense": 1, "Other": None})["Table"]["TableName"] == "hash"


def test_old_key_conditions_go_together_with_expressions(server: ApiServer) -> None:
    old = {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "nobody"}]}}
    assert server.ok(*query(KeyConditions=old, ProjectionExpression="pk"))["Count"] == 0
    filtered = query(KeyConditions=old, FilterExpression="a = :v")
    filtered[1]["ExpressionAttributeValues"] = {":v": {"S": "x"}}
    assert server.ok(*filtered)["Count"] == 0


def test_a_table_may_be_named_by_its_arn(server: ApiServer) -> None:
    arn = server.ok("DescribeTable", {"TableName": "hash"})["Table"]["TableArn"]
    assert arn == "arn:aws:dynamodb:us-east-1:000000000000:table/hash"
    assert server.ok(*get(arn)) == {}


@pytest.mark.parametrize(
    ("operation", "member", "kind"), [("DescribeExport", "ExportArn", "export"), ("DescribeImport", "ImportArn", "import")]
)
def test_an_export_and_an_import_are_of_this_account(server: ApiServer, operation: str, member: str, kind: str) -> None:
    assert server.refusal(operation, {member: f"{FOREIGN}/{kind}/{ID}"}) == DENIED
    assert server.refusal(operation, {member: f"{HASH}/{kind}/{ID}"})[0] == f"{kind.capitalize()}NotFoundException"
