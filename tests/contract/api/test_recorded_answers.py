"""What was recorded of the service in 2026 beside the texts of `error_cases`: empty structures, quotas, payloads, the order in which things are told and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_server import ApiServer
from tests.contract.api.item_cases import INVALID, ONE, V
from tests.contract.api.table_cases import definitions, schema, table
from tests.contract.api.test_global_indexes import FREE, index, indexed

LIMIT = "LimitExceededException"
MORE = "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
NO_WARM = INVALID + "WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond specified for index: "
ONLY = INVALID + "The only Updates for index: by-g when TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
NOTHING = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, "
    "MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required"
)
SHORT = " must be at least 3 characters long and at most 255 characters long"
HASH = "arn:aws:dynamodb:us-east-1:000000000000:table/hash"


@pytest.fixture(scope="module")
def indexes(server: ApiServer) -> str:
    operation, body = indexed(index("by-g", "g:HASH"), names=("pk", "g"), TableName="with-index")
    server.ok(operation, body)
    return "with-index"


@pytest.fixture(scope="module", autouse=True)
def provisioned(server: ApiServer) -> None:
    server.ok(*table(TableName="provisioned"))


def update(name: str = "hash", **more: Any) -> tuple[str, dict[str, Any]]:
    return "UpdateTable", {"TableName": name, **more}


def update_index(name: str, **more: Any) -> list[dict[str, Any]]:
    return [{"Update": {"IndexName": name, **more}}]


REFUSED = [
    (("DescribeBackup", {"BackupArn": ""}), "Invalid Backup ARN"),
    (("DeleteBackup", {"BackupArn": "arn"}), "Invalid Backup ARN"),
    (("ExportTableToPointInTime", {"TableArn": "", "S3Bucket": "bucket"}), "Invalid TableArn: Invalid Table ARN"),
    (
        ("ExportTableToPointInTime", {"TableArn": HASH, "S3Bucket": ""}),
        (
            f"{ONE}Value '' at 's3Bucket' failed to satisfy constraint: Member must satisfy regular expression pattern: "
            r"^[a-z0-9A-Z]+[\.\-\w]*[a-z0-9A-Z]+$"
        ),
    ),
    (("RestoreTableFromBackup", {"BackupArn": f"{HASH}/backup/01", "TargetTableName": ""}), "TableName" + SHORT),
    (
        ("RestoreTableFromBackup", {"BackupArn": f"{HASH}/backup/01", "TargetTableName": "a b"}),
        f"{ONE}Value 'a b' at 'targetTableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
    ),
    (("DescribeContributorInsights", {"TableName": "hash", "IndexName": ""}), "IndexName" + SHORT),
    (
        ("UpdateContributorInsights", {"TableName": "hash", "ContributorInsightsAction": "ENABLE", "ContributorInsightsMode": ""}),
        (
            f"{ONE}Value '' at 'contributorInsightsMode' failed to satisfy constraint: Member must satisfy enum value set: "
            "[THROTTLED_KEYS, ACCESSED_AND_THROTTLED_KEYS]"
        ),
    ),
    (("DescribeGlobalTable", {"GlobalTableName": ""}), "TableName" + SHORT),
    (("DescribeGlobalTableSettings", {"GlobalTableName": "n" * 256}), "TableName" + SHORT),
    (("UpdateGlobalTable", {"GlobalTableName": "hash", "ReplicaUpdates": [{}]}), "One or more parameter values were invalid"),
    (
        table(SSESpecification={"Enabled": True, "KMSMasterKeyId": ""}),
        f"{ONE}Value '' at 'sSESpecification.kMSMasterKeyId' failed to satisfy constraint: Member must have length greater than or equal to 1",
    ),
    (update(GlobalSecondaryIndexUpdates=update_index("ghost", WarmThroughput={})), NO_WARM + "ghost"),
    (
        update("absent", TableClass="STANDARD", GlobalSecondaryIndexUpdates=update_index("ghost", WarmThroughput={})),
        NO_WARM + "ghost",
    ),
    (update(ReplicaUpdates=[{}]), "There are no actions specified in the Replica Update Action of the request."),
    (update(ReplicaUpdates=[{"Create": {}}]), "One or more parameter values were invalid"),
    (
        update(ReplicaUpdates=[{"Update": {}}]),
        f"{ONE}Value null at 'replicaUpdates.1.member.update.regionName' failed to satisfy constraint: Member must not be null",
    ),
    (update(MultiRegionConsistency="STRONG"), NOTHING.replace(" MultiRegionConsistency,", "")),
    (update(GlobalTableWitnessUpdates=[{"Create": {"RegionName": ""}}]), NOTHING),
    (
        update("provisioned", OnDemandThroughput={"MaxReadRequestUnits": 5}),
        INVALID + "MaxReadRequestUnits for OnDemandThroughput cannot be specified when the table BillingMode is PROVISIONED",
    ),
    (
        table(OnDemandThroughput={"MaxReadRequestUnits": 5}),
        INVALID + "MaxReadRequestUnits for OnDemandThroughput cannot be specified when table BillingMode is PROVISIONED.",
    ),
    (
        ("ListTagsOfResource", {"ResourceArn": "arn:aws:s3:::bucket"}),
        INVALID + "Provided Arn is not a DynamoDB resource arn: arn:aws:s3:::bucket",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=lambda value: value[0] if isinstance(value, tuple) else None)
def test_refused_as_recorded(server: ApiServer, request_: tuple[str, Any], message: str) -> None:
    assert server.refusal(*request_) == (V, message)


@pytest.mark.parametrize(
    "more", [{}, {"OnDemandThroughput": {}}, {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}]
)
def test_an_update_of_an_index_says_what_is_to_change(server: ApiServer, indexes: str, more: dict[str, Any]) -> None:
    asked = {"TableName": indexes, "GlobalSecondaryIndexUpdates": update_index("by-g", **more)}
    assert server.refusal("UpdateTable", asked) == (V, ONLY)


def test_empty_throughput_beside_a_change_is_as_good_as_none(server: ApiServer) -> None:
    assert server.ok(*update(WarmThroughput={}, OnDemandThroughput={}, TableClass="STANDARD"))
    assert server.refusal(*update(WarmThroughput={})) == (V, NOTHING)


# -- quotas ----------------------------------------------------------------------------------------------------------------------------


def test_a_table_has_at_most_the_quota_of_an_account(server: ApiServer, indexes: str) -> None:
    many = {"ReadCapacityUnits": 40_000, "WriteCapacityUnits": 40_001}
    asked = f"The requested WriteCapacityUnits, 40001, is above the per table maximum for the account in us-east-1. Per table maximum: 40000. {MORE}"
    assert server.refusal(*table(ProvisionedThroughput=many)) == (LIMIT, asked)
    assert server.refusal(*update("provisioned", ProvisionedThroughput=many)) == (LIMIT, asked)
    refused = table(**FREE, OnDemandThroughput={"MaxReadRequestUnits": 40_001})
    exceeds = "Subscriber limit exceeded: Requested {} for {} exceeds TableMax{}CapacityUnits of the account in region us-east-1"
    assert server.refusal(*refused) == (LIMIT, exceeds.format("MaxReadRequestUnits", "OnDemandThroughput for table", "Read"))
    warm = {"TableName": indexes, "WarmThroughput": {"WriteUnitsPerSecond": 40_001}}
    assert server.refusal("UpdateTable", warm) == (LIMIT, exceeds.format("WriteUnitsPerSecond", "WarmThroughput for table", "Write"))
    # all else is told first
    assert server.refusal(*table(TableName="hash", ProvisionedThroughput=many))[0] == LIMIT
    assert server.refusal(*table(ProvisionedThroughput=many, KeySchema=schema("other:HASH")))[0] == V


def test_an_index_has_at_most_the_quota_of_an_account(server: ApiServer, indexes: str) -> None:
    units, many = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}, {"ReadCapacityUnits": 40_001, "WriteCapacityUnits": 1}
    made = indexed(
        index("by-g", "g:HASH", ProvisionedThroughput=many), names=("pk", "g"), BillingMode="PROVISIONED", ProvisionedThroughput=units
    )
    asked = (
        "The requested ReadCapacityUnits for index by-g, 40001, is above the per index maximum for the account in us-east-1. "
        f"Per index maximum: 40000. {MORE}"
    )
    assert server.refusal(*made) == (LIMIT, asked)
    exceeds = "Subscriber limit exceeded: Requested {} exceeds TableMaxReadCapacityUnits of the account in region us-east-1"
    warm = update_index("by-g", WarmThroughput={"ReadUnitsPerSecond": 40_001})
    refused = server.refusal("UpdateTable", {"TableName": indexes, "GlobalSecondaryIndexUpdates": warm})
    assert refused == (LIMIT, exceeds.format("ReadUnitsPerSecond for WarmThroughput for index by-g"))
    more = index("more", "other:HASH", OnDemandThroughput={"MaxReadRequestUnits": 40_001})
    refused = server.refusal(
        "UpdateTable",
        {"TableName": indexes, "AttributeDefinitions": definitions("other"), "GlobalSecondaryIndexUpdates": [{"Create": more}]},
    )
    assert refused == (LIMIT, exceeds.format("MaxReadRequestUnits for OnDemandThroughput for index : more"))


# -- on-demand ceilings ----------------------------------------------------------------------------------------------------------------


def test_a_ceiling_that_is_not_asked_for_stays_and_one_that_is_taken_away_is_shown_no_more(server: ApiServer) -> None:
    server.ok(*table(TableName="ceilings", **FREE))

    def changed(**ceilings: int) -> tuple[Any, Any]:
        answer = server.ok(*update("ceilings", OnDemandThroughput=ceilings))["TableDescription"]
        return answer.get("OnDemandThroughput"), server.ok("DescribeTable", {"TableName": "ceilings"})["Table"].get("OnDemandThroughput")

    both = {"MaxReadRequestUnits": 1000, "MaxWriteRequestUnits": 500}
    assert changed(**both) == (both, both)
    assert changed(MaxReadRequestUnits=2000)[1] == {**both, "MaxReadRequestUnits": 2000}
    assert changed(MaxReadRequestUnits=-1) == ({**both, "MaxReadRequestUnits": -1}, {"MaxWriteRequestUnits": 500})
    assert changed(MaxWriteRequestUnits=-1) == ({"MaxWriteRequestUnits": -1}, None)


# -- what is shown ---------------------------------------------------------------------------------------------------------------------


def test_a_new_table_tells_of_its_warmth_where_that_was_asked_for(server: ApiServer) -> None:
    described = server.ok(*indexed(index("by-g", "g:HASH"), names=("pk", "g"), TableName="cold"))["TableDescription"]
    assert "WarmThroughput" not in described
    assert "WarmThroughput" not in described["GlobalSecondaryIndexes"][0]
    warm = server.ok(*table(TableName="warm", **FREE, WarmThroughput={"ReadUnitsPerSecond": 12_001}))["TableDescription"]
    assert warm["WarmThroughput"] == {"ReadUnitsPerSecond": 12_001, "WriteUnitsPerSecond": 4_000, "Status": "UPDATING"}
    assert server.ok("DescribeTable", {"TableName": "cold"})["Table"]["WarmThroughput"]["Status"] == "ACTIVE"


def test_attributes_are_shown_by_name_and_indexes_as_they_were_asked_for(server: ApiServer) -> None:
    projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["zz", "aa"]}
    asked = indexed(
        index("z-index", "z:HASH", projection=projection), index("a-index", "a:HASH"), names=("z", "pk", "a"), TableName="by-name"
    )
    for described in (server.ok(*asked)["TableDescription"], server.ok("DescribeTable", {"TableName": "by-name"})["Table"]):
        assert [one["AttributeName"] for one in described["AttributeDefinitions"]] == ["a", "pk", "z"]
        assert [one["IndexName"] for one in described["GlobalSecondaryIndexes"]] == ["z-index", "a-index"]
        assert described["GlobalSecondaryIndexes"][0]["Projection"]["NonKeyAttributes"] == ["aa", "zz"]


def test_a_failed_condition_that_shows_its_item_says_so_in_another_member(server: ApiServer) -> None:
    server.ok("PutItem", {"TableName": "hash", "Item": {"pk": {"S": "shown"}}})
    put = {"TableName": "hash", "Item": {"pk": {"S": "shown"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    failed = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}
    assert server.ask("PutItem", put)[1] == {**failed, "message": "The conditional request failed"}
    shown = server.ask("PutItem", {**put, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})[1]
    assert shown == {**failed, "Message": "The conditional request failed", "Item": {"pk": {"S": "shown"}}}


# -- transactions ----------------------------------------------------------------------------------------------------------------------


def test_an_empty_key_of_an_index_is_a_fault_of_the_whole_transaction(server: ApiServer, indexes: str) -> None:
    def refused(value: dict[str, str]) -> tuple[str, str | None]:
        put = {"TableName": indexes, "Item": {"pk": {"S": "x"}, "g": value}}
        return server.refusal("TransactWriteItems", {"TransactItems": [{"Put": put}]})

    empty = (
        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. "
        "The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by-g, IndexKey: g"
    )
    assert refused({"S": ""}) == (V, empty)
    assert refused({"N": "1"})[0] == "TransactionCanceledException"


def test_a_transaction_brings_at_most_four_megabytes(server: ApiServer) -> None:
    """0.3 s of CPU: it takes that many bytes."""
    big = {"S": "x" * 390_000}

    def updates(count: int) -> dict[str, Any]:
        one = {"TableName": "hash", "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": big}}
        return {"TransactItems": [{"Update": {**one, "Key": {"pk": {"S": f"u{at}"}}}} for at in range(count)]}

    def statements(count: int) -> dict[str, Any]:
        one = {"Statement": 'UPDATE "hash" SET a = ? WHERE pk = ?'}
        return {"TransactStatements": [{**one, "Parameters": [big, {"S": f"u{at}"}]} for at in range(count)]}

    large = (V, "Transaction payload size cannot exceed 4 MB")
    assert server.refusal("TransactWriteItems", updates(11)) == large
    assert server.refusal("ExecuteTransaction", statements(11)) == large
    server.ok("TransactWriteItems", updates(10))
    # what is removed may be as large as it likes
    removed = [{"Delete": {"TableName": "hash", "Key": {"pk": {"S": f"u{at}"}}}} for at in range(10)]
    server.ok("TransactWriteItems", {"TransactItems": removed})


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


NAMELESS = {"pk": {"S": "a"}, "": {"S": "x"}}
DEEP_KEY = {"TableName": "no-table", "Key": {"pk": deep(100)}}
LONG = "a = :v" + " AND a = :v" * 373
V_VALUE = {"ExpressionAttributeValues": {":v": {"S": "x"}}}


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"Put": {"TableName": "no-table", "Item": NAMELESS}}, "Empty attribute name"),
        ({"Put": {"TableName": "no-table", "Item": {"d": deep(100), **NAMELESS}}}, "Empty attribute name"),
        (
            {"Delete": {**DEEP_KEY, "ConditionExpression": "a = = b"}},
            'Invalid ConditionExpression: Syntax error; token: "=", near: "= = b"',
        ),
        (
            {"Delete": {**DEEP_KEY, "ConditionExpression": LONG, **V_VALUE}},
            "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: 4109",
        ),
        (
            {"Update": {**DEEP_KEY, "UpdateExpression": "SET " + ", ".join([f"a{at} = :v" for at in range(500)]), **V_VALUE}},
            "Invalid UpdateExpression: Expression size has exceeded the maximum allowed size;",
        ),
        (
            {"ConditionCheck": {**DEEP_KEY, "ConditionExpression": "attribute_exists(a)"}},
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
        ),
    ],
)
def test_what_is_told_first_of_an_action(server: ApiServer, action: dict[str, Any], message: str) -> None:
    assert server.refusal("TransactWriteItems", {"TransactItems": [action]}) == (V, message)


def test_a_token_that_is_too_long_is_told_before_the_enums(server: ApiServer) -> None:
    asked = {"TransactItems": [{"Put": {"TableName": "hash", "Item": {"pk": {"S": "a"}}}}], "ReturnConsumedCapacity": "BOGUS"}
    kind, message = server.refusal("TransactWriteItems", {**asked, "ClientRequestToken": "x" * 37})
    assert (kind, str(message).startswith(f"2 validation errors detected: Value '{'x' * 37}' at 'clientRequestToken'")) == (V, True)


# -- UpdateTable's answer --------------------------------------------------------------------------------------------------------------


def warm(shown: dict[str, Any]) -> tuple[int, int, str]:
    units = shown["WarmThroughput"]
    return units["ReadUnitsPerSecond"], units["WriteUnitsPerSecond"], units["Status"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"DeletionProtectionEnabled": True}, "ACTIVE"),
        ({"DeletionProtectionEnabled": False}, "ACTIVE"),
        ({"OnDemandThroughput": {"MaxReadRequestUnits": 7}}, "ACTIVE"),
        ({"WarmThroughput": {"ReadUnitsPerSecond": 12001}}, "ACTIVE"),
        ({"BillingMode": "PAY_PER_REQUEST"}, "UPDATING"),
        ({"TableClass": "STANDARD"}, "UPDATING"),
    ],
)
def test_only_some_changes_keep_a_table_busy(server: ApiServer, indexes: str, more: dict[str, Any], status: str) -> None:
    assert server.ok(*update(indexes, **more))["TableDescription"]["TableStatus"] == status
    assert server.ok("DescribeTable", {"TableName": indexes})["Table"]["TableStatus"] == "ACTIVE"


def test_what_is_to_be_warm_is_shown_once_it_is(server: ApiServer) -> None:
    operation, body = indexed(index("by-g", "g:HASH"), names=("pk", "g"), TableName="warmed")
    server.ok(operation, body)
    told = server.ok(*update("warmed", WarmThroughput={"ReadUnitsPerSecond": 13_000}))["TableDescription"]
    assert warm(told) == (12_000, 4_000, "UPDATING")
    more = update_index("by-g", WarmThroughput={"WriteUnitsPerSecond": 5_000})
    told = server.ok(*update("warmed", GlobalSecondaryIndexUpdates=more))["TableDescription"]
    (one,) = told["GlobalSecondaryIndexes"]
    assert (told["TableStatus"], one["IndexStatus"], warm(one), warm(told)) == (
        "ACTIVE",
        "ACTIVE",
        (12_000, 4_000, "UPDATING"),
        (13_000, 4_000, "ACTIVE"),
    )
    shown = server.ok("DescribeTable", {"TableName": "warmed"})["Table"]
    assert (warm(shown), warm(shown["GlobalSecondaryIndexes"][0])) == ((13_000, 4_000, "ACTIVE"), (12_000, 5_000, "ACTIVE"))


def test_a_table_and_an_index_get_no_colder(server: ApiServer) -> None:
    units = [{"ReadCapacityUnits": at, "WriteCapacityUnits": at} for at in range(10)]
    one = {**index("by-g", "g:HASH"), "ProvisionedThroughput": units[5]}
    server.ok(
        *table(
            TableName="cooled",
            AttributeDefinitions=definitions("pk", "g"),
            GlobalSecondaryIndexes=[one],
            ProvisionedThroughput=units[5],
        )
    )

    def changed(**more: Any) -> list[tuple[int, int, str]]:
        told = server.ok(*update("cooled", **more))["TableDescription"]
        shown = server.ok("DescribeTable", {"TableName": "cooled"})["Table"]
        return [warm(told), *[warm(one) for one in (shown, shown["GlobalSecondaryIndexes"][0])]]

    def to(at: int) -> dict[str, Any]:
        return {"ProvisionedThroughput": units[at], "GlobalSecondaryIndexUpdates": update_index("by-g", ProvisionedThroughput=units[at])}

    assert changed(**to(2)) == [(5, 5, "ACTIVE")] * 3
    assert changed(**to(8)) == [(5, 5, "ACTIVE"), (8, 8, "ACTIVE"), (8, 8, "ACTIVE")]
    assert changed(BillingMode="PAY_PER_REQUEST")[1:] == [(12_000, 4_000, "ACTIVE")] * 2
    assert changed(BillingMode="PROVISIONED", **to(1)) == [(12_000, 4_000, "ACTIVE")] * 3
    colder = {"ReadUnitsPerSecond": 11_999}
    assert "is lower than current WarmThroughput" in str(server.refusal(*update("cooled", WarmThroughput=colder))[1])


# -- a table that is being restored ----------------------------------------------------------------------------------------------------

NOT_YET = "Requested resource not found: Table: target not found"
POLICY = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture(scope="module")
def restoring() -> Iterator[ApiServer]:
    """Of a table `source` a restore to `target` has begun, and does not end."""
    with ApiServer(backend_options={"delay_us": 3_600_000_000}) as server:
        server.ok(*table(TableName="source"))
        server.backend.finish("source")
        server.ok("RestoreTableToPointInTime", {"SourceTableName": "source", "TargetTableName": "target", "UseLatestRestorableTime": True})
        yield server


@pytest.mark.parametrize(
    "request_",
    [
        update("target", DeletionProtectionEnabled=True),
        ("UpdateTimeToLive", {"TableName": "target", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "a"}}),
        ("DescribeTimeToLive", {"TableName": "target"}),
        ("DescribeContributorInsights", {"TableName": "target"}),
        ("GetResourcePolicy", {"ResourceArn": HASH.replace("hash", "target")}),
        ("PutResourcePolicy", {"ResourceArn": HASH.replace("hash", "target"), "Policy": POLICY}),
    ],
    ids=lambda request: request[0],
)
def test_a_table_that_is_being_restored_is_not_there_yet(restoring: ApiServer, request_: tuple[str, Any]) -> None:
    assert restoring.refusal(*request_) == ("ResourceNotFoundException", NOT_YET)


@pytest.mark.parametrize("request_", [("TagResource", {"Tags": [{"Key": "a", "Value": "b"}]}), ("ListTagsOfResource", {})])
def test_it_has_no_tags_either(restoring: ApiServer, request_: tuple[str, Any]) -> None:
    operation, body = request_
    kind, message = restoring.refusal(operation, {"ResourceArn": HASH.replace("hash", "target"), **body})
    assert (kind, str(message)[-len("table/target not found") :]) == ("ResourceNotFoundException", "table/target not found")


@pytest.mark.parametrize(
    "request_",
    [
        ("DescribeContinuousBackups", {}),
        ("UpdateContinuousBackups", {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}),
        ("CreateBackup", {"BackupName": "early"}),
    ],
    ids=lambda request: request[0],
)
def test_it_has_no_backups_either(restoring: ApiServer, request_: tuple[str, Any]) -> None:
    operation, body = request_
    assert restoring.refusal(operation, {"TableName": "target", **body}) == ("TableNotFoundException", "Table not found: target")


def test_but_its_name_is_taken_and_it_is_described(restoring: ApiServer) -> None:
    assert restoring.ok("DescribeTable", {"TableName": "target"})["Table"]["TableStatus"] == "CREATING"
    assert restoring.refusal(*table(TableName="target")) == ("ResourceInUseException", "Table is being used: target")
    assert restoring.refusal("DeleteTable", {"TableName": "target"})[0] == "ResourceInUseException"
    assert restoring.refusal(*table(TableName="source")) == ("ResourceInUseException", "Table already exists: source")
