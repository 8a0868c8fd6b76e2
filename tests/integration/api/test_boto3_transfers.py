"""Exports and imports as boto3 asks for them, every answer held against the service's model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api_model import check_answer
from tests.api_server import ApiServer
from tests.fixtures.wait import wait_for
from tests.integration.api.test_boto3 import error_of, make


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(backend_options={"delay_us": 30_000}) as started:
        yield started
        assert started.unexpected == []


@pytest.fixture(scope="module")
def client(server: ApiServer) -> Any:
    client = server.client()

    def held(model: Any, http_response: Any, **_: Any) -> None:
        content = http_response.content
        assert check_answer(model.name, http_response.status_code, json.loads(content) if content else None) == []

    client.meta.events.register("after-call.dynamodb", held)
    return client


def described(client: Any, arn: str) -> dict[str, Any]:
    found: dict[str, Any] = client.describe_export(ExportArn=arn)["ExportDescription"]
    return found


@pytest.mark.slow
def test_exports(client: Any, server: ApiServer) -> None:
    name = make(client, "sent", sort=None)
    for number in range(3):
        client.put_item(TableName=name, Item={"pk": {"S": str(number)}})
    table_arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    before = datetime.now(UTC)
    made = client.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="bucket", S3Prefix="some/where", ClientToken="a")[
        "ExportDescription"
    ]
    assert (made["ExportStatus"], "ExportType" in made, made["ExportFormat"]) == ("IN_PROGRESS", False, "DYNAMODB_JSON")
    assert (made["S3Bucket"], made["S3Prefix"], made["S3SseAlgorithm"], made["ClientToken"]) == ("bucket", "some/where", "AES256", "a")
    arn = made["ExportArn"]
    assert arn.startswith(f"{table_arn}/export/")
    wait_for(lambda: described(client, arn)["ExportStatus"] == "COMPLETED", timeout=30)
    done = described(client, arn)
    assert (done["ItemCount"], "ExportManifest" in done, done["EndTime"] >= done["StartTime"]) == (3, True, True)
    again = client.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="bucket", S3Prefix="some/where", ClientToken="a")
    assert again["ExportDescription"]["ExportArn"] == arn
    call = client.export_table_to_point_in_time
    assert error_of(call, TableArn=table_arn, S3Bucket="other", ClientToken="a") == (
        "ExportConflictException",
        "Export conflict: Duplicate request detected with conflicting parameters",
    )
    assert error_of(call, TableArn=table_arn.replace("sent", "absent"), S3Bucket="b1")[0] == "TableNotFoundException"
    code, message = error_of(call, TableArn=table_arn, S3Bucket="b1", ExportTime=before - timedelta(days=90))
    assert (code, message.partition(":")[0]) == ("InvalidExportTimeException", "Export Time is invalid")
    assert error_of(call, TableArn=table_arn, S3Bucket="b1", ExportFormat="ION")[0] == "ValidationException"
    code, message = error_of(call, TableArn=table_arn, S3Bucket="b1", ExportFormat="PARQUET")
    assert code == "ValidationException"
    assert "Value 'PARQUET' at 'exportFormat' failed to satisfy constraint: Member must satisfy enum value set: [" in message
    assert error_of(call, TableArn=table_arn, S3Bucket="b1", ExportType="INCREMENTAL_EXPORT")[0] == "ValidationException"
    assert (
        error_of(call, TableArn=table_arn, S3Bucket="b1", IncrementalExportSpecification={"ExportFromTime": before})[0]
        == "ValidationException"
    )

    span = {"ExportFromTime": before - timedelta(seconds=5), "ExportToTime": before}
    part = call(TableArn=table_arn, S3Bucket="bucket", ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification=span)[
        "ExportDescription"
    ]
    assert part["ExportType"] == "INCREMENTAL_EXPORT"
    assert part["IncrementalExportSpecification"]["ExportViewType"] == "NEW_AND_OLD_IMAGES"
    said = part["IncrementalExportSpecification"]["ExportToTime"] - before
    assert abs(said) < timedelta(milliseconds=2)
    backwards = {"ExportFromTime": before, "ExportToTime": before}
    assert error_of(call, TableArn=table_arn, S3Bucket="b1", ExportType="INCREMENTAL_EXPORT", IncrementalExportSpecification=backwards)[
        0
    ] == ("InvalidExportTimeException")

    whole = call(TableArn=table_arn, S3Bucket="bucket", ExportType="FULL_EXPORT")["ExportDescription"]
    assert (whole["ExportType"], described(client, whole["ExportArn"])["ExportType"]) == ("FULL_EXPORT", "FULL_EXPORT")
    listed = client.list_exports(TableArn=table_arn)["ExportSummaries"]
    newest_first = [whole["ExportArn"], part["ExportArn"], arn]
    kinds = ("FULL_EXPORT", "INCREMENTAL_EXPORT", "FULL_EXPORT")
    assert [(one["ExportArn"], one["ExportType"]) for one in listed] == list(zip(newest_first, kinds, strict=True))
    page = client.list_exports(MaxResults=2)
    rest = client.list_exports(MaxResults=2, NextToken=page["NextToken"])
    assert [one["ExportArn"] for one in page["ExportSummaries"] + rest["ExportSummaries"]] == newest_first
    assert error_of(client.list_imports, NextToken=page["NextToken"])[0] == "ValidationException"
    assert "NextToken" not in rest
    assert client.list_exports(TableArn=table_arn.replace("sent", "other"))["ExportSummaries"] == []
    for wrong in (arn + "0", arn.replace("/sent/", "/other/")):
        assert error_of(client.describe_export, ExportArn=wrong) == (
            "ExportNotFoundException",
            f"Export not found: Export not found: {wrong}",
        )
    assert error_of(client.describe_export, ExportArn=table_arn)[0] == "ValidationException"

    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False})
    assert error_of(call, TableArn=table_arn, S3Bucket="b1")[0] == "PointInTimeRecoveryUnavailableException"
    server.backend.transfers.running_max = 0
    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    assert error_of(call, TableArn=table_arn, S3Bucket="b1")[0] == "LimitExceededException"
    server.backend.transfers.running_max = 4


def test_an_export_outlives_its_table_and_is_none_of_the_next_of_that_name(client: Any) -> None:
    name = make(client, "gone", sort=None)
    table_arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    arn = client.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="bucket")["ExportDescription"]["ExportArn"]
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name)
    for _ in range(2):
        assert client.list_exports(TableArn=table_arn)["ExportSummaries"] == []
        assert arn in [one["ExportArn"] for one in client.list_exports()["ExportSummaries"]]
        assert described(client, arn)["TableArn"] == table_arn
        if client.list_tables()["TableNames"].count(name) == 0:
            make(client, "gone", sort=None)


def test_a_page_holds_ten_unless_asked_otherwise(client: Any, server: ApiServer) -> None:
    server.backend.transfers.running_max = 20
    name = make(client, "many", sort=None)
    table_arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    made = [client.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="bucket") for _ in range(11)]
    page = client.list_exports(TableArn=table_arn)
    rest = client.list_exports(TableArn=table_arn, NextToken=page["NextToken"])
    assert (len(page["ExportSummaries"]), len(rest["ExportSummaries"])) == (10, 1)
    assert [one["ExportArn"] for one in page["ExportSummaries"] + rest["ExportSummaries"]] == [
        one["ExportDescription"]["ExportArn"] for one in reversed(made)
    ]
    server.backend.transfers.running_max = 4


@pytest.mark.slow
def test_imports(client: Any, server: ApiServer) -> None:
    name = make(client, "origin", sort=None)
    table_arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    client.put_item(TableName=name, Item={"pk": {"S": "one"}})
    client.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="full", S3Prefix="p/")

    def table(name: str, **more: Any) -> dict[str, Any]:
        return {
            "TableName": name, "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST", **more,
        }  # fmt: skip

    def asked(name: str, bucket: str = "full", **more: Any) -> dict[str, Any]:
        source = {"S3Bucket": bucket, "S3KeyPrefix": "p"}
        return {"S3BucketSource": source, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": table(name), **more}

    made = client.import_table(**asked("brought", ClientToken="i", InputCompressionType="GZIP"))["ImportTableDescription"]
    assert (made["ImportStatus"], made["InputFormat"], made["InputCompressionType"], made["ErrorCount"]) == (
        "IN_PROGRESS",
        "DYNAMODB_JSON",
        "GZIP",
        0,
    )
    assert made["TableCreationParameters"] == table("brought")
    assert (made["ImportedItemCount"], made["ProcessedItemCount"], "ProcessedSizeBytes" in made, "EndTime" in made) == (0, 0, False, False)
    arn = made["ImportArn"]
    assert arn == f"{made['TableArn']}/import/{arn.rpartition('/')[2]}"

    def status(arn: str) -> dict[str, Any]:
        found: dict[str, Any] = client.describe_import(ImportArn=arn)["ImportTableDescription"]
        return found

    wait_for(lambda: status(arn)["ImportStatus"] == "COMPLETED", timeout=30)
    assert (status(arn)["ImportedItemCount"], status(arn)["ProcessedItemCount"]) == (1, 1)
    again = client.import_table(**asked("brought", ClientToken="i", InputCompressionType="GZIP"))["ImportTableDescription"]
    assert again["ImportArn"] == arn
    call = client.import_table
    assert error_of(call, **asked("brought", ClientToken="i")) == (
        "ImportConflictException",
        "Import conflict: Duplicate request detected with conflicting parameters",
    )
    assert error_of(call, **asked("brought")) == ("ResourceInUseException", "Table already exists: brought")
    assert error_of(call, **asked("other", InputFormat="ION"))[0] == "ValidationException"
    assert error_of(call, **asked("other", InputFormatOptions={"Csv": {"Delimiter": ";"}}))[0] == "ValidationException"
    assert (
        error_of(call, **{**asked("other"), "TableCreationParameters": table("other", BillingMode="PROVISIONED")})[0]
        == "ValidationException"
    )

    bad = call(**asked("bad", "none", InputFormat="CSV", InputFormatOptions={"Csv": {"Delimiter": ";", "HeaderList": ["pk", "a b"]}}))
    bad_arn = bad["ImportTableDescription"]["ImportArn"]
    wait_for(lambda: status(bad_arn)["ImportStatus"] == "FAILED", timeout=30)
    failed = status(bad_arn)
    assert (failed["FailureCode"], failed["ErrorCount"]) == ("ItemValidationError", 1)
    assert (failed["ImportedItemCount"], failed["ProcessedItemCount"]) == (0, 1)
    assert failed["InputFormatOptions"]["Csv"]["HeaderList"] == ["pk", "a b"]

    listed = client.list_imports()["ImportSummaryList"]
    assert [one["ImportArn"] for one in listed] == [bad_arn, arn]
    assert [one["ImportArn"] for one in client.list_imports(TableArn=made["TableArn"])["ImportSummaryList"]] == [arn]
    page = client.list_imports(PageSize=1)
    rest = client.list_imports(PageSize=1, NextToken=page["NextToken"])
    assert [one["ImportArn"] for one in page["ImportSummaryList"] + rest["ImportSummaryList"]] == [bad_arn, arn]
    assert "NextToken" not in rest
    for wrong in (arn + "0", arn.replace("/brought/", "/other/")):
        assert error_of(client.describe_import, ImportArn=wrong) == ("ImportNotFoundException", f"Import not found: {wrong}")
    assert error_of(client.describe_import, ImportArn=table_arn)[0] == "ValidationException"
    server.backend.transfers.running_max = 0
    assert error_of(call, **asked("more"))[0] == "LimitExceededException"
    server.backend.transfers.running_max = 4
