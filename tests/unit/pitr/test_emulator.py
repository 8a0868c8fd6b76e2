"""What was exported goes into an emulator of DynamoDB (moto, in this process), as its users load it, and what that gives out again is the same table by its digest. No network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from scrubjay.pitr.transfer.aws_layout import ExportSummary, manifests
from scrubjay.pitr.transfer.formats import JsonItems
from scrubjay.storage.log.digest import Total
from tests.fixtures.wait import wait_for
from tests.unit.pitr import test_export_files
from tests.unit.pitr.test_export_files import ID, KEY, exported, items
from tests.unit.pitr.test_exports import TO
from tests.unit.pitr.test_imports import Importing
from tests.unit.pitr.timeline_world import made

COUNT = 60
TYPED = (("pk", "S"), ("sk", "N"))
TABLE: dict[str, Any] = {
    "TableName": "birds",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}],
    "BillingMode": "PAY_PER_REQUEST",
}
WHOLE = ExportSummary(
    id=ID, table="birds", table_id="id", arn="arn:aws:dynamodb:us-east-1:000000000000:table/birds", format="dynamodb-json", at_us=1_760_000_000_000_000,
    from_us=None, view="NEW_IMAGE", started_us=1_760_000_000_000_000, ended_us=1_760_000_000_000_000, place=TO, digest="", key=list(TYPED),
)  # fmt: skip


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield boto3.client("dynamodb")


@pytest.fixture
def importing() -> Importing:
    return Importing(made(3, partitions=3))


def sent(importing: Importing) -> Total:
    """An export of items of every type, in the place."""
    store = importing.place
    files, total = exported(items(COUNT), store, JsonItems(KEY))
    for key, data in manifests(WHOLE._replace(digest=total.hex), files):
        store.objects[key] = data
    return total


def lines_in(importing: Importing) -> list[dict[str, Any]]:
    files = [data for key, data in importing.place.objects.items() if key.endswith(".json.gz")]
    return [json.loads(line)["Item"] for data in files for line in gzip.decompress(data).splitlines()]


def as_sent(value: dict[str, Any], change: Any) -> dict[str, Any]:
    """A value of DynamoDB JSON with its binaries changed: boto3 takes and gives bytes where the text has base64."""
    ((kind, payload),) = value.items()
    if kind == "B":
        return {kind: change(payload)}
    if kind == "BS":
        return {kind: [change(one) for one in payload]}
    if kind == "L":
        return {kind: [as_sent(one, change) for one in payload]}
    if kind == "M":
        return {kind: {name: as_sent(one, change) for name, one in payload.items()}}
    return {kind: payload}


def comes_back(importing: Importing, data: bytes, total: Total) -> dict[str, Any]:
    importing.place.objects.clear()
    importing.put(back=data)
    report = importing.imported(key=TYPED)
    assert (report["state"], report["rows"], report["digest"]) == ("completed", COUNT, total.hex), report
    return report


@pytest.mark.slow
def test_by_its_own_import_and_export(importing: Importing, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto's reader of JSON loses lines with an escaped quote in them; by writes they are all there.
    monkeypatch.setattr(test_export_files, "PAD", "p\u00e4d\u2028, ")
    total = sent(importing)
    s3 = boto3.client("s3")
    for key, data in importing.place.objects.items():
        s3.put_object(Bucket="bucket", Key=f"whole/{key}", Body=data)
    source = {"S3Bucket": "bucket", "S3KeyPrefix": f"whole/AWSDynamoDB/{ID}/data/"}
    arn = emulator.import_table(
        S3BucketSource=source, InputFormat="DYNAMODB_JSON", InputCompressionType="GZIP", TableCreationParameters=TABLE
    )["ImportTableDescription"]["ImportArn"]

    def brought() -> dict[str, Any]:
        found: dict[str, Any] = emulator.describe_import(ImportArn=arn)["ImportTableDescription"]
        return found

    wait_for(lambda: brought()["ImportStatus"] != "IN_PROGRESS", timeout=30)
    assert (brought()["ImportStatus"], brought()["ImportedItemCount"]) == ("COMPLETED", COUNT), brought()

    table_arn = emulator.describe_table(TableName="birds")["Table"]["TableArn"]
    emulator.update_continuous_backups(TableName="birds", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    made_ = emulator.export_table_to_point_in_time(TableArn=table_arn, S3Bucket="bucket", S3Prefix="back")["ExportDescription"]["ExportArn"]
    wait_for(lambda: emulator.describe_export(ExportArn=made_)["ExportDescription"]["ExportStatus"] == "COMPLETED", timeout=30)
    (there,) = s3.list_objects_v2(Bucket="bucket", Prefix="back/")["Contents"]
    comes_back(importing, s3.get_object(Bucket="bucket", Key=there["Key"])["Body"].read(), total)


def test_by_writes_and_a_scan(importing: Importing, emulator: Any) -> None:
    total = sent(importing)
    emulator.create_table(**TABLE)
    puts = [{"PutRequest": {"Item": as_sent({"M": item}, base64.b64decode)["M"]}} for item in lines_in(importing)]
    for at in range(0, len(puts), 25):
        assert emulator.batch_write_item(RequestItems={"birds": puts[at : at + 25]})["UnprocessedItems"] == {}
    pages = emulator.get_paginator("scan").paginate(TableName="birds", PaginationConfig={"PageSize": 7})
    back = [as_sent({"M": item}, lambda data: base64.b64encode(data).decode())["M"] for page in pages for item in page["Items"]]
    data = gzip.compress("".join(json.dumps({"Item": item}) + "\n" for item in back).encode())
    comes_back(importing, data, total)


def test_an_emulator_that_changes_an_item_is_seen(importing: Importing, emulator: Any) -> None:
    """The control of the two above: one number in one item is another digest."""
    total = sent(importing)
    there = lines_in(importing)
    there[7] = {**there[7], "number": {"N": "-1500000000000000000000000000001"}}
    with pytest.raises(AssertionError, match=total.hex):
        comes_back(importing, gzip.compress("".join(json.dumps({"Item": item}) + "\n" for item in there).encode()), total)
