"""What answers show and leave out, where AWS is particular about it."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from tests.api_server import ApiServer
from tests.contract.api.table_cases import ARN

UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}


def units(description: dict[str, Any]) -> tuple[int, int]:
    return description["ProvisionedThroughput"]["ReadCapacityUnits"], description["ProvisionedThroughput"]["WriteCapacityUnits"]


def test_delete_table_does_not_show_what_the_table_was_made_of(server: ApiServer) -> None:
    keys = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    server.make_table(
        "short-lived",
        "pk:S",
        "sk:S",
        LocalSecondaryIndexes=[{"IndexName": "near", **keys}],
        GlobalSecondaryIndexes=[{"IndexName": "far", **keys}],
    )
    gone = server.ok("DeleteTable", {"TableName": "short-lived"})["TableDescription"]
    assert (gone["TableName"], gone["TableStatus"]) == ("short-lived", "DELETING")
    assert not {"AttributeDefinitions", "CreationDateTime", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes"} & set(gone)
    assert {"TableArn", "TableId", "ItemCount", "TableSizeBytes", "ProvisionedThroughput"} <= set(gone)


def test_update_table_still_shows_the_old_throughput(server: ApiServer) -> None:
    server.ok(
        "CreateTable",
        {
            "TableName": "rated",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "ProvisionedThroughput": UNITS,
        },
    )
    wanted = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 3}
    answer = server.ok("UpdateTable", {"TableName": "rated", "ProvisionedThroughput": wanted})["TableDescription"]
    assert (answer["TableStatus"], units(answer)) == ("UPDATING", (5, 6))
    assert "LastIncreaseDateTime" not in answer["ProvisionedThroughput"]
    described = server.ok("DescribeTable", {"TableName": "rated"})["Table"]
    assert units(described) == (7, 3)
    assert {"LastIncreaseDateTime", "LastDecreaseDateTime"} <= set(described["ProvisionedThroughput"])
    assert described["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 1
    for read, decreases in ((6, 2), (8, 2), (1, 3)):
        server.ok("UpdateTable", {"TableName": "rated", "ProvisionedThroughput": {"ReadCapacityUnits": read, "WriteCapacityUnits": 3}})
        shown = server.ok("DescribeTable", {"TableName": "rated"})["Table"]["ProvisionedThroughput"]
        assert shown["NumberOfDecreasesToday"] == decreases


def test_when_it_was_last_billed_by_request_is_told_for_ever(server: ApiServer) -> None:
    """And not when it ceased to be."""
    server.make_table("billed", BillingMode="PAY_PER_REQUEST")
    first = server.ok("DescribeTable", {"TableName": "billed"})["Table"]["BillingModeSummary"]
    server.ok("UpdateTable", {"TableName": "billed", "BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS})
    second = server.ok("DescribeTable", {"TableName": "billed"})["Table"]["BillingModeSummary"]
    assert second == {**first, "BillingMode": "PROVISIONED"}
    server.ok("UpdateTable", {"TableName": "billed", "BillingMode": "PAY_PER_REQUEST"})
    third = server.ok("DescribeTable", {"TableName": "billed"})["Table"]["BillingModeSummary"]
    assert third["LastUpdateToPayPerRequestDateTime"] > first["LastUpdateToPayPerRequestDateTime"]


def test_a_protected_table_is_not_deleted(server: ApiServer) -> None:
    server.make_table("guarded", DeletionProtectionEnabled=True)
    assert server.refusal("DeleteTable", {"TableName": "guarded"}) == (
        "ValidationException",
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
    )


def test_a_denied_access_has_its_text_in_a_member_with_a_capital(server: ApiServer) -> None:
    other = ARN.replace("000000000000", "999999999999") + "hash"
    for operation, request in (
        ("PutItem", {"TableName": other, "Item": {"pk": {"S": "a"}}}),
        ("ListTagsOfResource", {"ResourceArn": other}),
    ):
        status, body = server.ask(operation, request)
        assert (status, sorted(body)) == (400, ["Message", "__type"])


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "scrubjay.example:9", "dynamodb.eu-west-1.amazonaws.com"])
def test_the_health_page_names_the_host_that_was_asked(server: ApiServer, host: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    assert connection.getresponse().read() == f"healthy: {host} ".encode()
    connection.close()


def test_tags_may_hold_letters_of_any_script_and_a_few_signs(server: ApiServer) -> None:
    tags = [{"Key": "Größe 東京_.:/=+-@9", "Value": "ключ 1"}, {"Key": "empty", "Value": ""}, {"Key": "k" * 128, "Value": "v" * 256}]
    server.make_table("labelled", Tags=tags)
    assert server.ok("ListTagsOfResource", {"ResourceArn": ARN + "labelled"})["Tags"] == sorted(tags, key=lambda tag: tag["Key"])


def test_what_is_refused_of_several_tags_sets_none(server: ApiServer) -> None:
    server.make_table("untouched", Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(50)])
    for tags in (
        [{"Key": "k0", "Value": "new"}, {"Key": "k!", "Value": "v"}],
        [{"Key": "k0", "Value": "new"}, {"Key": "k50", "Value": "v"}],
    ):
        assert server.refusal("TagResource", {"ResourceArn": ARN + "untouched", "Tags": tags})[0] == "ValidationException"
    kept = {tag["Key"]: tag["Value"] for tag in server.ok("ListTagsOfResource", {"ResourceArn": ARN + "untouched"})["Tags"]}
    assert kept == {f"k{number}": "v" for number in range(50)}


def test_a_name_of_65535_bytes_is_taken_everywhere(server: ApiServer) -> None:
    name, value = "n" * 65_535, {"S": "a"}
    key = {"pk": {"S": "long"}}
    server.ok("UpdateItem", {"TableName": "hash", "Key": key, "AttributeUpdates": {name: {"Value": value}}})
    asked = {"TableName": "hash", "Key": key, "AttributesToGet": [name]}
    assert server.ok("GetItem", asked) == {"Item": {name: value}}
    server.ok("DeleteItem", {"TableName": "hash", "Key": key, "Expected": {name: {"Value": value}}})


def test_what_no_table_has_is_answered_as_to_an_account_without_it(server: ApiServer) -> None:
    """Terraform, controllers and consoles ask all of this before they do anything."""
    named = {"TableName": "hash"}
    by_arn = {"TableName": ARN + "hash"}
    for request in (named, by_arn):
        assert server.ok("DescribeTimeToLive", request) == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
        assert server.ok("DescribeContributorInsights", request) == named | {"ContributorInsightsStatus": "DISABLED"}
        assert server.ok("DescribeKinesisStreamingDestination", request) == named | {"KinesisDataStreamDestinations": []}
    disabled = server.ok("UpdateContributorInsights", named | {"ContributorInsightsAction": "DISABLE"})
    assert disabled == named | {"ContributorInsightsStatus": "DISABLED"}
    assert server.ok("ListContributorInsights", {}) == server.ok("ListContributorInsights", named) == {"ContributorInsightsSummaries": []}
    assert server.ok("DeleteResourcePolicy", {"ResourceArn": ARN + "hash"}) == {}
    assert server.ok("ListGlobalTables", {"RegionName": "us-east-1", "Limit": 1}) == {"GlobalTables": []}


@pytest.mark.slow
def test_a_period_is_forgotten_when_recovery_is_turned_off(server: ApiServer) -> None:
    server.make_table("periods")

    def period(**specification: Any) -> int | None:
        server.ok("UpdateContinuousBackups", {"TableName": "periods", "PointInTimeRecoverySpecification": specification})
        shown = server.ok("DescribeContinuousBackups", {"TableName": "periods"})["ContinuousBackupsDescription"]
        days: int | None = shown["PointInTimeRecoveryDescription"].get("RecoveryPeriodInDays")
        return days

    assert period(PointInTimeRecoveryEnabled=True) == 35
    assert period(PointInTimeRecoveryEnabled=True, RecoveryPeriodInDays=7) == 7
    assert period(PointInTimeRecoveryEnabled=True) == 7
    assert period(PointInTimeRecoveryEnabled=False) is None
    assert period(PointInTimeRecoveryEnabled=True) == 35


def test_a_backup_tells_of_the_stream_and_the_time_to_live_that_the_table_had(server: ApiServer) -> None:
    server.make_table("told", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    server.make_table("plain")
    server.wait_active("told")
    server.ok("UpdateTimeToLive", {"TableName": "told", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "until"}})

    def features(name: str) -> Any:
        arn = server.ok("CreateBackup", {"TableName": name, "BackupName": "once"})["BackupDetails"]["BackupArn"]
        return server.ok("DescribeBackup", {"BackupArn": arn})["BackupDescription"]["SourceTableFeatureDetails"]

    assert features("told") == {
        "StreamDescription": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"},
    }
    assert features("plain") == {}


def test_the_class_of_a_table_is_shown_if_it_was_named(server: ApiServer) -> None:
    shown = {}
    for name, asked in (("unnamed", {}), ("usual", {"TableClass": "STANDARD"}), ("rare", {"TableClass": "STANDARD_INFREQUENT_ACCESS"})):
        server.make_table(name, **asked)
        shown[name] = server.ok("DescribeTable", {"TableName": name})["Table"].get("TableClassSummary")
    assert shown == {"unnamed": None, "usual": {"TableClass": "STANDARD"}, "rare": {"TableClass": "STANDARD_INFREQUENT_ACCESS"}}
