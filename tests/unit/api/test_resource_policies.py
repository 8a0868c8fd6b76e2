"""Resource policies over the API: attached, shown, removed; and, with keys to check signatures against, what they deny and allow of every operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scrubjay.storage.api.guard import GUARDED
from scrubjay.storage.api.operations import OPERATIONS, STREAM_OPERATIONS
from scrubjay.storage.api.sigv4 import ROLE_ADMIN, ROLE_DATA, ROLE_POLICY, AccessKey
from tests.api_server import ApiServer

ACCOUNT = "000000000000"
ARN = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/tab"
KEYS = {
    "boss": AccessKey("s1", ROLE_ADMIN),
    "clerk": AccessKey("s2", ROLE_DATA),
    "guest": AccessKey("s3", ROLE_POLICY),
}
ALL = {**OPERATIONS, **STREAM_OPERATIONS}


def arn_of(user: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:user/{user}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect: str, user: str, action: Any = "dynamodb:*", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"AWS": arn_of(user)}, "Action": action, "Resource": "*", **members}


class Office:
    """A server that knows its callers, and a table with everything that a policy can speak of."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.clients = {
            (user, service): server.client(service=service, key=user, secret=key.secret, config={"parameter_validation": False})
            for user, key in KEYS.items()
            for service in ("dynamodb", "dynamodbstreams")
        }
        self.boss = self.clients["boss", "dynamodb"]
        self.boss.create_table(
            TableName="tab",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[
                {"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
            ],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
        )
        self.boss.put_item(TableName="tab", Item={"pk": {"S": "ann"}, "g": {"N": "5"}})
        self.stream = self.boss.describe_table(TableName="tab")["Table"]["LatestStreamArn"]
        told = self.clients["boss", "dynamodbstreams"].describe_stream(StreamArn=self.stream)["StreamDescription"]
        self.part = told["Shards"][0]["ShardId"]
        self.iterator = self.clients["boss", "dynamodbstreams"].get_shard_iterator(
            StreamArn=self.stream, ShardId=self.part, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def call(self, user: str, operation: str, body: dict[str, Any]) -> Any:
        service = "dynamodb" if operation in OPERATIONS else "dynamodbstreams"
        return self.clients[user, service]._make_api_call(operation, body)

    def refusal(self, user: str, operation: str, body: dict[str, Any]) -> tuple[str, str]:
        """Error name and message, ("", "") if it was done."""
        try:
            self.call(user, operation, body)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        return "", ""

    def attach(self, text: str, *, arn: str = ARN) -> None:
        self.boss.put_resource_policy(ResourceArn=arn, Policy=text, ConfirmRemoveSelfResourceAccess=True)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with ApiServer(keys=KEYS) as server:
        yield Office(server)
        assert server.unexpected == []


@pytest.fixture(autouse=True)
def bare(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "office" in request.fixturenames:
        office = request.getfixturevalue("office")
        for arn in (ARN, office.stream):
            office.boss.delete_resource_policy(ResourceArn=arn)


# --- attached, shown, removed --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server
        assert server.unexpected == []


def test_a_policy_is_shown_as_it_is_kept_until_it_is_removed(open_server: ApiServer) -> None:
    ask = open_server.ok
    open_server.make_table("kept")
    named = {"ResourceArn": ARN.replace("/tab", "/kept")}
    deny = policy(statement("Deny", "ann", ["dynamodb:GetItem"]))
    assert ask("DeleteResourcePolicy", named) == {}
    first = ask("PutResourcePolicy", {**named, "Policy": deny, "ExpectedRevisionId": "NO_POLICY"})["RevisionId"]
    assert first.isdigit()
    shown = ask("GetResourcePolicy", named)
    assert json.loads(shown["Policy"])["Statement"][0]["Action"] == "dynamodb:GetItem"
    assert shown["RevisionId"] == first
    # the same in other words changes nothing
    assert ask("PutResourcePolicy", {**named, "Policy": json.dumps(json.loads(deny), indent=2)})["RevisionId"] == first
    other = policy(statement("Deny", "ann", "dynamodb:PutItem"))
    name, message = open_server.refusal("PutResourcePolicy", {**named, "Policy": other, "ExpectedRevisionId": "NO_POLICY"})
    assert name == "PolicyNotFoundException"
    assert message == (
        "Resource-based policy not found for the provided ResourceArn: Requested policy update expecting none to be present for table kept, "
        f"but a policy exists with revision id {first}."
    )
    second = ask("PutResourcePolicy", {**named, "Policy": other, "ExpectedRevisionId": first})["RevisionId"]
    assert int(second) > int(first)
    stale = (
        f"Resource-based policy not found for the provided ResourceArn: Requested update for policy with revision id {first}, "
        f"but the policy associated to target table kept has revision id {second}."
    )
    assert open_server.refusal("PutResourcePolicy", {**named, "Policy": deny, "ExpectedRevisionId": first}) == (
        "PolicyNotFoundException",
        stale,
    )
    assert open_server.refusal("DeleteResourcePolicy", {**named, "ExpectedRevisionId": first}) == ("PolicyNotFoundException", stale)
    assert ask("DeleteResourcePolicy", {**named, "ExpectedRevisionId": second}) == {"RevisionId": second}
    assert open_server.refusal("GetResourcePolicy", named)[0] == "PolicyNotFoundException"
    # of one that is gone the answer tells when it went
    gone = ask("DeleteResourcePolicy", named)["RevisionId"]
    assert int(gone) > int(second)
    assert ask("DeleteResourcePolicy", named) == {"RevisionId": gone}
    third = ask("PutResourcePolicy", {**named, "Policy": deny, "ExpectedRevisionId": "NO_POLICY"})["RevisionId"]
    assert int(third) > int(gone)


def test_a_table_may_be_made_with_one(open_server: ApiServer) -> None:
    text = policy(statement("Deny", "ann", "dynamodb:GetItem"))
    open_server.make_table("made", ResourcePolicy=text)
    assert json.loads(open_server.ok("GetResourcePolicy", {"ResourceArn": ARN.replace("/tab", "/made")})["Policy"]) == json.loads(text)
    bad = {"TableName": "bad", "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST"}
    assert open_server.refusal(
        "CreateTable", {**bad, "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "ResourcePolicy": "{}"}
    ) == (
        "ValidationException",
        "One or more parameter values were invalid: Invalid policy document: Syntax error at position (1,3)",
    )


def test_nothing_is_enforced_where_nobody_is_known(open_server: ApiServer) -> None:
    open_server.make_table("open")
    everybody = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:*", "Resource": "*"}
    named = {"ResourceArn": ARN.replace("/tab", "/open"), "Policy": policy(everybody), "ConfirmRemoveSelfResourceAccess": True}
    open_server.ok("PutResourcePolicy", named)
    open_server.ok("PutItem", {"TableName": "open", "Item": {"pk": {"S": "a"}}})
    assert json.loads(open_server.ok("GetResourcePolicy", {"ResourceArn": named["ResourceArn"]})["Policy"])["Statement"] == [everybody]


def test_who_would_be_locked_out_has_to_confirm_it(open_server: ApiServer, office: Office) -> None:
    locked = ("AccessDeniedException", "The new resource policy will not allow you to update the resource policy in the future.")
    open_server.make_table("locked")
    for effect in ({"Principal": "*"}, {"Principal": {"AWS": arn_of("test")}}):
        asked = {"ResourceArn": ARN.replace("/tab", "/locked"), "Policy": policy({**statement("Deny", "test", "dynamodb:Put*"), **effect})}
        assert open_server.refusal("PutResourcePolicy", asked) == locked
        assert open_server.refusal("PutResourcePolicy", {**asked, "ConfirmRemoveSelfResourceAccess": False}) == locked
    open_server.ok("PutResourcePolicy", {**asked, "ConfirmRemoveSelfResourceAccess": True})
    # it is about who asks
    assert office.refusal("clerk", "PutResourcePolicy", {"ResourceArn": ARN, "Policy": policy(statement("Deny", "clerk"))}) == locked
    assert office.refusal("boss", "PutResourcePolicy", {"ResourceArn": ARN, "Policy": policy(statement("Deny", "clerk"))}) == ("", "")


def test_a_name_that_is_no_key_is_nobody(office: Office) -> None:
    asked = {"ResourceArn": ARN, "Policy": policy(statement("Deny", "stranger"))}
    assert office.refusal("boss", "PutResourcePolicy", asked) == (
        "ValidationException",
        "One or more parameter values were invalid: Invalid principal in policy document.",
    )


# --- what it denies ------------------------------------------------------------------------------------------------------------------------


def requests(office: Office) -> dict[str, list[dict[str, Any]]]:
    """Of every operation that asks a policy, requests on the table; each would be done, or is refused for another reason."""
    key, table = {"pk": {"S": "ann"}}, {"TableName": "tab"}
    write = {"Put": {**table, "Item": key}}
    check = {"ConditionCheck": {**table, "Key": key, "ConditionExpression": "attribute_exists(pk)"}}
    insert = {"Statement": "INSERT INTO tab VALUE {'pk': 'new'}"}
    select = {"Statement": "SELECT * FROM tab WHERE pk = 'ann'"}
    exists = {"Statement": "EXISTS(SELECT * FROM tab WHERE pk = 'ann' AND g = 5)"}
    update = {"Statement": "UPDATE tab SET a = 1 WHERE pk = 'ann'"}
    delete = {"Statement": "DELETE FROM tab WHERE pk = 'absent'"}
    stream = {"StreamArn": office.stream}
    kinesis = {**table, "StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/k"}
    ttl = {"Enabled": False, "AttributeName": "a"}
    return {
        "BatchGetItem": [{"RequestItems": {"tab": {"Keys": [key]}}}],
        "BatchWriteItem": [{"RequestItems": {"tab": [{"PutRequest": {"Item": key}}]}}],
        "CreateBackup": [{**table, "BackupName": "bak"}],
        "DeleteItem": [{**table, "Key": {"pk": {"S": "absent"}}}],
        "DeleteResourcePolicy": [
            {"ResourceArn": ARN, "ExpectedRevisionId": "1"},
            {"ResourceArn": office.stream, "ExpectedRevisionId": "1"},
        ],
        "DeleteTable": [table],
        "DescribeContinuousBackups": [table],
        "DescribeContributorInsights": [table],
        "DescribeKinesisStreamingDestination": [table],
        "DescribeStream": [stream],
        "DescribeTable": [table, {"TableName": ARN}],
        "DescribeTableReplicaAutoScaling": [table],
        "DescribeTimeToLive": [table],
        "DisableKinesisStreamingDestination": [kinesis],
        "EnableKinesisStreamingDestination": [kinesis],
        "ExecuteStatement": [
            insert,
            select,
            update,
            delete,
            {"Statement": 'SELECT * FROM "tab"."by-g"'},
            {"Statement": "SELECT * FROM tab"},
        ],
        "ExecuteTransaction": [{"TransactStatements": [one]} for one in (insert, select, update, delete)]
        + [{"TransactStatements": [delete, exists]}],
        "ExportTableToPointInTime": [{"TableArn": ARN, "S3Bucket": "bucket"}],
        "GetItem": [{**table, "Key": key}],
        "GetRecords": [{"ShardIterator": office.iterator}],
        "GetResourcePolicy": [{"ResourceArn": ARN}, {"ResourceArn": office.stream}],
        "GetShardIterator": [{**stream, "ShardId": office.part, "ShardIteratorType": "LATEST"}],
        "ListTagsOfResource": [{"ResourceArn": ARN}],
        "PutItem": [{**table, "Item": key}, {**table, "Item": key, "ReturnValues": "ALL_OLD"}],
        "PutResourcePolicy": [
            {"ResourceArn": arn, "Policy": policy(statement("Deny", "boss", action)), "ConfirmRemoveSelfResourceAccess": True}
            for arn, action in ((ARN, "dynamodb:GetItem"), (office.stream, "dynamodb:GetRecords"))
        ],
        "Query": [
            {**table, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "ann"}}},
            {**table, "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"N": "5"}}},
        ],
        "RestoreTableToPointInTime": [{"SourceTableName": "tab", "TargetTableName": "new", "UseLatestRestorableTime": True}],
        "Scan": [table, {**table, "IndexName": "by-g"}],
        "TagResource": [{"ResourceArn": ARN, "Tags": [{"Key": "a", "Value": "b"}]}],
        "TransactGetItems": [{"TransactItems": [{"Get": {**table, "Key": key}}]}],
        "TransactWriteItems": [
            {"TransactItems": [one]}
            for one in (
                write,
                check,
                {"Delete": {**table, "Key": {"pk": {"S": "absent"}}}},
                {"Update": {**table, "Key": key, "UpdateExpression": "SET a = pk"}},
            )
        ],
        "UntagResource": [{"ResourceArn": ARN, "TagKeys": ["a"]}],
        "UpdateContinuousBackups": [{**table, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}],
        "UpdateContributorInsights": [{**table, "ContributorInsightsAction": "DISABLE"}],
        "UpdateItem": [{**table, "Key": key}],
        "UpdateKinesisStreamingDestination": [kinesis],
        "UpdateTable": [{**table, "DeletionProtectionEnabled": False}],
        "UpdateTableReplicaAutoScaling": [table],
        "UpdateTimeToLive": [{**table, "TimeToLiveSpecification": ttl}],
    }


OF_PARTIQL = ("ExecuteStatement", "ExecuteTransaction")
ASKING = (*sorted(GUARDED - {"BatchExecuteStatement"}), "CreateBackup", "ExportTableToPointInTime", "RestoreTableToPointInTime")


@pytest.mark.parametrize("operation", ASKING)
def test_a_deny_is_asked_by_every_operation_on_a_table(office: Office, operation: str) -> None:
    for arn, actions in ((ARN, "dynamodb:*"), (office.stream, "dynamodb:*")):
        office.attach(policy(statement("Deny", "clerk", actions)), arn=arn)
    for body in requests(office)[operation]:
        name, message = office.refusal("clerk", operation, body)
        assert name == "AccessDeniedException", body
        assert message.startswith(f"User: {arn_of('clerk')} is not authorized to perform: dynamodb:")
        assert message.endswith(" with an explicit deny in a resource-based policy")
        if operation not in (*OF_PARTIQL, "TransactWriteItems", "TransactGetItems"):
            assert f"perform: dynamodb:{operation} on resource: arn:aws:dynamodb:" in message
        if operation not in ("DeleteTable", "PutResourcePolicy"):
            assert office.refusal("boss", operation, body)[0] != "AccessDeniedException", "it is about somebody else"


@pytest.mark.parametrize("operation", sorted(ALL))
def test_who_may_only_do_what_a_policy_allows_may_do_nothing_else(office: Office, operation: str) -> None:
    for body in requests(office).get(operation, [{}]):
        if operation == "BatchExecuteStatement":
            continue
        name, message = office.refusal("guest", operation, body)
        assert name == "AccessDeniedException", body
        assert " because no resource-based policy allows the dynamodb:" in message
        if "TableName" in body:
            # nor hears what is not there
            absent = {**body, "TableName": "absent"}
            assert office.refusal("guest", operation, absent)[0] == "AccessDeniedException"


@pytest.mark.parametrize("operation", sorted(GUARDED - {"BatchExecuteStatement", "DeleteTable", "PutResourcePolicy"}))
def test_what_a_policy_allows_may_be_done(office: Office, operation: str) -> None:
    for arn in (ARN, office.stream):
        office.attach(policy(statement("Allow", "guest")), arn=arn)
    for body in requests(office)[operation]:
        assert office.refusal("guest", operation, body)[0] != "AccessDeniedException", body


def test_statements_of_a_batch_are_denied_one_by_one(office: Office) -> None:
    office.attach(policy(statement("Deny", "clerk", "dynamodb:PartiQLInsert"), statement("Allow", "guest", "dynamodb:PartiQLUpdate")))
    batch = {"Statements": [{"Statement": f"INSERT INTO tab VALUE {{'pk': '{name}'}}"} for name in ("i1", "i2")]}
    batch["Statements"].append({"Statement": "UPDATE tab SET a = 1 WHERE pk = 'ann'"})
    for user in ("clerk", "guest"):
        answer = office.call(user, "BatchExecuteStatement", batch)["Responses"]
        assert [one.get("Error", {}).get("Code") for one in answer] == ["AccessDenied", "AccessDenied", None]


# --- for which items, indexes and parameters -----------------------------------------------------------------------------------------------


def test_items_by_their_partition_key(office: Office) -> None:
    """Of the table, of an index, of batches and transactions: one key that is another's is enough."""
    own = {"Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}", "5"]}}}
    actions = [f"dynamodb:{one}" for one in ("*Item", "Query")]
    office.attach(policy(statement("Allow", "guest", actions, **own)))
    mine, theirs = {"pk": {"S": "guest"}}, {"pk": {"S": "ann"}}

    def done(operation: str, body: dict[str, Any]) -> bool:
        name, message = office.refusal("guest", operation, body)
        assert name in ("", "AccessDeniedException"), message
        return not name

    for key, expected in ((mine, True), (theirs, False)):
        assert done("PutItem", {"TableName": "tab", "Item": key}) is expected
        assert done("GetItem", {"TableName": "tab", "Key": key}) is expected
        assert done("UpdateItem", {"TableName": "tab", "Key": key}) is expected
        assert done("BatchGetItem", {"RequestItems": {"tab": {"Keys": [mine] + [key] * (key != mine)}}}) is expected
        puts = [{"PutRequest": {"Item": one}} for one in ([mine] if key == mine else [mine, key])]
        assert done("BatchWriteItem", {"RequestItems": {"tab": puts}}) is expected
        check = {"ConditionCheck": {"TableName": "tab", "Key": key, "ConditionExpression": "attribute_exists(pk)"}}
        assert done("TransactWriteItems", {"TransactItems": [check]}) is expected
        assert done("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "tab", "Key": key}}]}) is expected
        values = {":p": key["pk"]}
        assert done("Query", {"TableName": "tab", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": values}) is expected
        old = {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [key["pk"]]}}
        assert done("Query", {"TableName": "tab", "KeyConditions": old}) is expected
    for number, expected in (("5", True), ("5.0", True), ("6", False)):
        values = {":g": {"N": number}}
        asked = {"TableName": "tab", "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": values}
        assert done("Query", asked) is expected


def test_items_that_statements_reach(office: Office) -> None:
    """By the WHERE, in every alternative of it. One that pins no key, or is none, may reach any: it is not allowed, and denied."""
    own = {"Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["mine", "5"]}}}
    others = {"Condition": {"StringEquals": {"dynamodb:LeadingKeys": "other"}}}
    office.attach(policy(statement("Allow", "guest", "dynamodb:Parti*", **own), statement("Deny", "clerk", "dynamodb:Parti*", **others)))
    for text, allowed, not_denied in (
        ("SELECT * FROM tab WHERE pk = 'mine'", True, True),
        ("SELECT * FROM tab WHERE pk IN ['mine', 'ann']", False, True),
        ("SELECT * FROM tab WHERE pk = 'mine' OR pk = 'other'", False, False),
        ("SELECT * FROM tab WHERE g = 5", False, False),
        ("SELECT * FROM tab", False, False),
        ('SELECT * FROM "tab"."by-g" WHERE g = 5', True, True),
        ('SELECT * FROM "tab"."by-g" WHERE g = 6', False, True),
        ("INSERT INTO tab VALUE {'pk': 'mine'}", True, True),
        ("UPDATE tab SET a = 1 WHERE pk = 'mine'", True, True),
        ("UPDATE tab SET a = 1 WHERE pk = 'other'", False, False),
        ("UPDATE tab SET a = 1 WHERE a = 1", False, False),
        ("DELETE FROM tab WHERE pk = 'mine'", True, True),
        ("DELETE FROM tab WHERE pk = 'other'", False, False),
    ):
        if text.startswith("INSERT"):
            office.boss.delete_item(TableName="tab", Key={"pk": {"S": "mine"}})
        name, message = office.refusal("guest", "ExecuteStatement", {"Statement": text})
        assert (name == "", name in ("", "AccessDeniedException")) == (allowed, True), (text, message)
        if text.startswith("INSERT"):
            office.boss.delete_item(TableName="tab", Key={"pk": {"S": "mine"}})
        name, message = office.refusal("clerk", "ExecuteStatement", {"Statement": text})
        # who is not denied may find that there is nothing to update, or no key to do it by
        assert (name != "AccessDeniedException") is not_denied, (text, message)
        if text.startswith("DELETE"):
            continue
        office.boss.put_item(TableName="tab", Item={"pk": {"S": "mine"}})


def test_a_statement_that_scans_is_denied_where_scans_are(office: Office) -> None:
    office.attach(policy(statement("Deny", "clerk", "dynamodb:PartiQLSelect", Condition={"Bool": {"dynamodb:FullTableScan": ["true"]}})))
    for text, expected in (
        ("SELECT * FROM tab", True),
        ("SELECT * FROM tab WHERE g = 1", True),
        ("SELECT * FROM tab WHERE pk = 'a'", False),
    ):
        assert (office.refusal("clerk", "ExecuteStatement", {"Statement": text})[0] == "AccessDeniedException") is expected


EVERY_NAME = [
    ("PutItem", {"Item": {"HIDDEN": {"S": "1"}}}),
    ("PutItem", {"Item": {}, "ConditionExpression": "attribute_not_exists(HIDDEN)"}),
    ("PutItem", {"Item": {}, "Expected": {"HIDDEN": {"Exists": False}}}),
    ("GetItem", {"ProjectionExpression": "pk, #x.y[0]", "ExpressionAttributeNames": {"#x": "HIDDEN"}}),
    ("GetItem", {"AttributesToGet": ["HIDDEN"]}),
    ("DeleteItem", {"ConditionExpression": "NOT size(HIDDEN) > :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}),
    ("UpdateItem", {"UpdateExpression": "SET HIDDEN = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}),
    ("UpdateItem", {"UpdateExpression": "SET a = if_not_exists(HIDDEN, :n)", "ExpressionAttributeValues": {":n": {"N": "1"}}}),
    ("UpdateItem", {"UpdateExpression": "REMOVE HIDDEN[1]"}),
    ("UpdateItem", {"AttributeUpdates": {"HIDDEN": {"Action": "DELETE"}}}),
    ("UpdateItem", {"UpdateExpression": "REMOVE a", "ConditionExpression": "a = HIDDEN"}),
    ("Query", {"FilterExpression": "HIDDEN = :p"}),
    ("Query", {"ProjectionExpression": "HIDDEN"}),
    ("Scan", {"FilterExpression": "attribute_exists(HIDDEN)"}),
    ("Scan", {"ScanFilter": {"HIDDEN": {"ComparisonOperator": "NOT_NULL"}}}),
    ("Scan", {"AttributesToGet": ["HIDDEN"]}),
    ("BatchGetItem", {"ProjectionExpression": "HIDDEN"}),
    ("BatchWriteItem", {"Item": {"HIDDEN": {"S": "1"}}}),
    ("TransactGetItems", {"ProjectionExpression": "HIDDEN"}),
    ("Put", {"Item": {"HIDDEN": {"S": "1"}}}),
    ("Update", {"UpdateExpression": "REMOVE HIDDEN"}),
    ("Delete", {"ConditionExpression": "attribute_not_exists(HIDDEN)"}),
    ("ConditionCheck", {"ConditionExpression": "attribute_not_exists(HIDDEN)"}),
    ("SELECT HIDDEN FROM tab WHERE pk = 'at'", {}),
    ("SELECT a FROM tab WHERE HIDDEN = 1", {}),
    ("SELECT a FROM tab WHERE pk = 'at' AND HIDDEN[0].y = 1", {}),
    ("INSERT INTO tab VALUE {'pk': 'new', 'HIDDEN': 1}", {}),
    ("UPDATE tab SET HIDDEN = 1 WHERE pk = 'at'", {}),
    ("UPDATE tab SET a = HIDDEN WHERE pk = 'at'", {}),
    ("UPDATE tab REMOVE a WHERE pk = 'at' AND HIDDEN = 1", {}),
    ("DELETE FROM tab WHERE pk = 'at' AND HIDDEN = 1", {}),
    ("EXISTS(SELECT * FROM tab WHERE pk = 'at' AND HIDDEN IS MISSING)", {}),
]
"""Each operation, or part of one, with every place in which it may name an attribute: HIDDEN."""


def naming(operation: str, members: dict[str, Any], *, name: str) -> tuple[str, dict[str, Any]]:
    """The request, with `name` for HIDDEN."""
    operation, members = json.loads(json.dumps([operation, members]).replace("HIDDEN", name))
    key = {"pk": {"S": "at"}}
    if " " in operation:
        if operation.startswith("EXISTS"):
            return "ExecuteTransaction", {"TransactStatements": [{"Statement": operation}]}
        return "ExecuteStatement", {"Statement": operation}
    whole = {"Item": {**key, **members.pop("Item")}} if "Item" in members else {"Key": key}
    if operation == "BatchGetItem":
        return operation, {"RequestItems": {"tab": {"Keys": [key], **members}}}
    if operation == "BatchWriteItem":
        return operation, {"RequestItems": {"tab": [{"PutRequest": whole}]}}
    if operation == "TransactGetItems":
        return operation, {"TransactItems": [{"Get": {"TableName": "tab", "Key": key, **members}}]}
    if operation in ("Put", "Update", "Delete", "ConditionCheck"):
        return "TransactWriteItems", {"TransactItems": [{operation: {"TableName": "tab", **whole, **members}}]}
    if operation == "Query":
        members = {**members, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "at"}}}
        return operation, {"TableName": "tab", **members}
    return operation, {"TableName": "tab", **({} if operation == "Scan" else whole), **members}


@pytest.mark.parametrize(("operation", "members"), EVERY_NAME, ids=[f"{one}-{json.dumps(two)}" for one, two in EVERY_NAME])
def test_attributes_by_every_name_of_a_request(office: Office, operation: str, members: dict[str, Any]) -> None:
    """Whatever an attribute is named for, an Allow that does not list it does not hold, and a Deny that does applies."""
    listed = {"Condition": {"ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "a", "b"]}}}
    hidden = {"Condition": {"ForAnyValue:StringEquals": {"dynamodb:Attributes": ["x"]}}}
    office.attach(policy(statement("Allow", "guest", **listed), statement("Deny", "clerk", **hidden)))
    asked, body = naming(operation, members, name="x")
    for user in ("guest", "clerk"):
        office.boss.put_item(TableName="tab", Item={"pk": {"S": "at"}})
        assert office.refusal(user, asked, body)[0] == "AccessDeniedException"
    asked, body = naming(operation, members, name="b")
    for user in ("guest", "clerk"):
        office.boss.put_item(TableName="tab", Item={"pk": {"S": "at"}})
        office.boss.delete_item(TableName="tab", Key={"pk": {"S": "new"}})
        assert "AccessDenied" not in office.refusal(user, asked, body)[0]


def test_key_attributes_are_always_named(office: Office) -> None:
    """Those of the table, and of the index that is read: nothing is reached without them."""
    for listed, on_table, on_index in ((["a"], False, False), (["a", "pk"], True, False), (["a", "pk", "g"], True, True)):
        office.attach(policy(statement("Allow", "guest", Condition={"ForAllValues:StringEquals": {"dynamodb:Attributes": listed}})))
        asked = {"TableName": "tab", "ProjectionExpression": "a"}
        assert (office.refusal("guest", "Scan", asked)[0] == "") is on_table
        assert (office.refusal("guest", "Scan", {**asked, "IndexName": "by-g"})[0] == "") is on_index


def test_what_is_shown_is_known_without_being_said(office: Office) -> None:
    """A read that projects nothing shows everything, of an index all that it has; a write shows what its ReturnValues say, or what it wants if its condition fails."""
    narrow = {
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES", "dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]}
    }
    office.attach(policy(statement("Allow", "guest", Condition=narrow)))
    key = {"pk": {"S": "ann"}}
    for operation, body in (
        ("GetItem", {"TableName": "tab", "Key": key}),
        ("Scan", {"TableName": "tab"}),
        ("Scan", {"TableName": "tab", "IndexName": "by-g"}),
        ("Query", {"TableName": "tab", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": key["pk"]}}),
        ("BatchGetItem", {"RequestItems": {"tab": {"Keys": [key]}}}),
        ("TransactGetItems", {"TransactItems": [{"Get": {"TableName": "tab", "Key": key}}]}),
        ("ExecuteStatement", {"Statement": "SELECT * FROM tab WHERE pk = 'ann'"}),
        ("Scan", {"TableName": "tab", "Select": "COUNT"}),
        ("PutItem", {"TableName": "tab", "Item": key, "ReturnValues": "ALL_OLD"}),
        ("UpdateItem", {"TableName": "tab", "Key": key, "ReturnValues": "ALL_NEW"}),
        (
            "DeleteItem",
            {"TableName": "tab", "Key": key, "ConditionExpression": "a = pk", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"},
        ),
        (
            "TransactWriteItems",
            {
                "TransactItems": [
                    {
                        "ConditionCheck": {
                            "TableName": "tab",
                            "Key": key,
                            "ConditionExpression": "a = pk",
                            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                        }
                    }
                ]
            },
        ),
        ("ExecuteStatement", {"Statement": "UPDATE tab SET a = 1 WHERE pk = 'ann' RETURNING ALL NEW *"}),
        ("ExecuteStatement", {"Statement": "DELETE FROM tab WHERE pk = 'ann' RETURNING ALL OLD *"}),
        (
            "ExecuteStatement",
            {"Statement": "UPDATE tab SET a = 1 WHERE pk = 'ann' AND a = 7", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"},
        ),
        ("ExecuteStatement", {"Statement": "INSERT INTO tab VALUE {'pk': 'ann'}", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}),
    ):
        assert office.refusal("guest", operation, body)[0] == "AccessDeniedException", body
    for operation, body in (
        ("GetItem", {"TableName": "tab", "Key": key, "ProjectionExpression": "g"}),
        ("Scan", {"TableName": "tab", "AttributesToGet": ["g"]}),
        ("ExecuteStatement", {"Statement": "SELECT g FROM tab WHERE pk = 'ann'"}),
        ("UpdateItem", {"TableName": "tab", "Key": key, "ReturnValues": "UPDATED_NEW"}),
        ("PutItem", {"TableName": "tab", "Item": key}),
        ("ExecuteStatement", {"Statement": "UPDATE tab SET a = 1 WHERE pk = 'ann' RETURNING MODIFIED NEW *"}),
    ):
        assert office.refusal("guest", operation, body) == ("", ""), body


def test_an_index_is_a_resource_of_its_own(office: Office) -> None:
    office.attach(policy(statement("Deny", "clerk", "dynamodb:*", Resource=f"{ARN}/index/*")))
    values = {":g": {"N": "5"}}
    for operation, body in (
        ("Scan", {"IndexName": "by-g"}),
        ("Query", {"IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": values}),
    ):
        name, message = office.refusal("clerk", operation, {"TableName": "tab", **body})
        assert (name, f"on resource: {ARN}/index/by-g with" in message) == ("AccessDeniedException", True)
    assert office.refusal("clerk", "ExecuteStatement", {"Statement": 'SELECT * FROM "tab"."by-g"'})[0] == "AccessDeniedException"
    assert office.refusal("clerk", "Scan", {"TableName": "tab"}) == ("", "")


def test_parameters_and_what_a_request_is_a_part_of(office: Office) -> None:
    counting = {"Condition": {"StringNotEquals": {"dynamodb:Select": "COUNT"}}}
    within = {"Condition": {"StringEquals": {"dynamodb:EnclosingOperation": "TransactWriteItems"}}}
    office.attach(policy(statement("Deny", "clerk", "dynamodb:Scan", **counting), statement("Deny", "clerk", "dynamodb:PutItem", **within)))
    assert office.refusal("clerk", "Scan", {"TableName": "tab"})[0] == "AccessDeniedException"
    assert office.refusal("clerk", "Scan", {"TableName": "tab", "Select": "COUNT"}) == ("", "")
    put = {"TableName": "tab", "Item": {"pk": {"S": "ann"}}}
    assert office.refusal("clerk", "PutItem", put) == ("", "")
    assert office.refusal("clerk", "TransactWriteItems", {"TransactItems": [{"Put": put}]})[0] == "AccessDeniedException"
    assert office.refusal("clerk", "BatchWriteItem", {"RequestItems": {"tab": [{"PutRequest": {"Item": put["Item"]}}]}}) == ("", "")


def test_an_administrator_can_always_open_what_is_shut(office: Office) -> None:
    everybody = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:*", "Resource": "*"}
    office.attach(policy(everybody))
    for user in KEYS:
        assert office.refusal(user, "GetItem", {"TableName": "tab", "Key": {"pk": {"S": "ann"}}})[0] == "AccessDeniedException"
        assert office.refusal(user, "PutResourcePolicy", {"ResourceArn": ARN, "Policy": policy(everybody)})[0] == "AccessDeniedException"
    for user in ("clerk", "guest"):
        assert office.refusal(user, "DeleteResourcePolicy", {"ResourceArn": ARN})[0] == "AccessDeniedException"
    assert office.refusal("boss", "DeleteResourcePolicy", {"ResourceArn": ARN}) == ("", "")
    assert office.refusal("clerk", "GetItem", {"TableName": "tab", "Key": {"pk": {"S": "ann"}}}) == ("", "")


def test_a_table_has_its_policy_and_its_stream_another(office: Office) -> None:
    office.attach(policy(statement("Deny", "clerk")))
    assert office.refusal("clerk", "DescribeStream", {"StreamArn": office.stream}) == ("", "")
    office.attach(policy(statement("Deny", "clerk", "dynamodb:GetRecords")), arn=office.stream)
    assert office.refusal("clerk", "DescribeStream", {"StreamArn": office.stream}) == ("", "")
    assert office.refusal("clerk", "GetRecords", {"ShardIterator": office.iterator})[0] == "AccessDeniedException"
    assert (
        office.boss.get_resource_policy(ResourceArn=ARN)["Policy"] != office.boss.get_resource_policy(ResourceArn=office.stream)["Policy"]
    )
