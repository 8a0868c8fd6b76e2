"""boto3's client and resource, waiters and paginators, as an application uses them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from scrubjay.storage.api import sigv4
from tests.api_model import check_answer
from tests.api_server import ApiCaller, ApiServer, ServerAt
from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for


@pytest.fixture(scope="module", params=["one-partition", "five-partitions", pytest.param("process", marks=pytest.mark.process)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiCaller]:
    """The API over the in-memory store, and a server process."""
    if request.param == "process":
        real = ScrubjayServer(
            tmp_path_factory.mktemp("boto3") / "data",
            settings={"tables.initial_partitions": "2", "archive.seal_age": "1s", "archive.closed_interval": "1s"},
        )
        request.node.stash.setdefault(ScrubjayServer.STARTED, []).append(real)
        with real:
            yield ServerAt(real.port)
        return
    with ApiServer(backend_options={"initial_partitions": 1 if request.param == "one-partition" else 5, "delay_us": 30_000}) as started:
        yield started
        assert started.unexpected == []


@pytest.fixture(scope="module")
def client(server: ApiCaller) -> Any:
    client = server.client()

    def hold_against_the_model(parsed: Any, model: Any, http_response: Any, **_: Any) -> None:
        content = http_response.content
        assert check_answer(model.name, http_response.status_code, json.loads(content) if content else None) == []

    client.meta.events.register(
        "after-call.dynamodb", lambda parsed, model, http_response, **_: hold_against_the_model(parsed, model, http_response)
    )
    return client


WAIT = {"Delay": 0.02, "MaxAttempts": 1500}


def make(client: Any, name: str, *, sort: str | None = "N", **options: Any) -> str:
    definitions = [{"AttributeName": "pk", "AttributeType": "S"}]
    schema = [{"AttributeName": "pk", "KeyType": "HASH"}]
    if sort is not None:
        definitions.append({"AttributeName": "sk", "AttributeType": sort})
        schema.append({"AttributeName": "sk", "KeyType": "RANGE"})
    answer = client.create_table(
        TableName=name, AttributeDefinitions=definitions, KeySchema=schema, **({"BillingMode": "PAY_PER_REQUEST"} | options)
    )
    assert answer["TableDescription"]["TableStatus"] == "CREATING"
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    return name


def error_of(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def restore(client: Any, **arguments: Any) -> Any:
    """RestoreTableToPointInTime, once the table's window reaches far enough."""
    answers: list[Any] = []

    def started() -> bool:
        answers.append(client.restore_table_to_point_in_time(**arguments))
        return True

    wait_for(started, timeout=30, ignoring=(client.exceptions.InvalidRestoreTimeException,))
    return answers[-1]


@contextlib.contextmanager
def held(server: ApiCaller, name: str) -> Iterator[None]:
    """The state that a table is put into within stays until the end, then it is over. Of the table in memory; a real server's is over when it is, perhaps at once."""
    if not isinstance(server, ApiServer):
        yield
        return
    delay_us, server.backend.delay_us = server.backend.delay_us, 3_600_000_000
    try:
        yield
    finally:
        server.backend.delay_us = delay_us
    server.call(lambda: server.backend.finish(name))


def test_the_life_of_a_table(client: Any, server: ApiCaller) -> None:
    name = make(client, "life")
    described = client.describe_table(TableName=name)["Table"]
    assert described["TableStatus"] == "ACTIVE"
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["ProvisionedThroughput"]["ReadCapacityUnits"] == 0
    assert described["DeletionProtectionEnabled"] is False
    assert described["ItemCount"] == 0
    assert client.describe_table(TableName=described["TableArn"])["Table"]["TableId"] == described["TableId"]
    with held(server, name):
        updated = client.update_table(TableName=name, TableClass="STANDARD_INFREQUENT_ACCESS")
        assert updated["TableDescription"]["TableStatus"] == "UPDATING"
        if isinstance(server, ApiServer):
            assert error_of(client.update_table, TableName=name, TableClass="STANDARD") == (
                "ResourceInUseException",
                "Attempt to change a resource which is still in use: Table is being updated: life",
            )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    client.update_table(TableName=name, DeletionProtectionEnabled=True)
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    described = client.describe_table(TableName=name)["Table"]
    assert described["DeletionProtectionEnabled"] is True
    assert described["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    code, message = error_of(client.delete_table, TableName=name)
    assert code == "ValidationException"
    assert "protected against deletion" in message
    client.update_table(TableName=name, DeletionProtectionEnabled=False)
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    assert client.delete_table(TableName=name)["TableDescription"]["TableStatus"] == "DELETING"
    assert error_of(client.put_item, TableName=name, Item={"pk": {"S": "a"}, "sk": {"N": "1"}})[0] == "ResourceNotFoundException"
    client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig=WAIT)
    assert name not in client.list_tables()["TableNames"]


def test_throughput_and_billing(client: Any) -> None:
    name = make(client, "billing", BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})
    before = client.describe_table(TableName=name)["Table"]
    assert before["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert "BillingModeSummary" not in before
    assert (
        error_of(client.update_table, TableName=name, ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})[0]
        == "ValidationException"
    )
    client.update_table(TableName=name, ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 3})
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    changed = client.describe_table(TableName=name)["Table"]["ProvisionedThroughput"]
    assert (changed["ReadCapacityUnits"], changed["WriteCapacityUnits"]) == (7, 3)
    assert "LastIncreaseDateTime" in changed
    assert "LastDecreaseDateTime" in changed
    client.update_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", OnDemandThroughput={"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5}
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    table = client.describe_table(TableName=name)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["OnDemandThroughput"] == {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5}


def test_listing_pages(client: Any) -> None:
    names = [make(client, f"list-{index}", sort=None) for index in range(5)]
    pages = list(client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 2}))
    listed = [name for page in pages for name in page["TableNames"]]
    assert [name for name in listed if name in names] == names
    assert all(len(page["TableNames"]) <= 2 for page in pages)


def test_tags(client: Any) -> None:
    name = make(client, "tagged", sort=None, Tags=[{"Key": "z", "Value": "1"}])
    arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "env", "Value": "test"}, {"Key": "z", "Value": "2"}])
    tags = {tag["Key"]: tag["Value"] for tag in client.list_tags_of_resource(ResourceArn=arn)["Tags"]}
    assert tags == {"env": "test", "z": "2"}
    client.untag_resource(ResourceArn=arn, TagKeys=["z"])
    assert client.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "env", "Value": "test"}]
    assert error_of(client.list_tags_of_resource, ResourceArn=arn.replace("table/tagged", "table/absent"))[0] == "ResourceNotFoundException"
    other = "arn:aws:dynamodb:us-east-1:999999999999:table/tagged"
    assert error_of(client.list_tags_of_resource, ResourceArn=other)[0] == "AccessDeniedException"


def test_limits_and_endpoints(client: Any, server: ApiCaller) -> None:
    assert client.describe_limits()["TableMaxWriteCapacityUnits"] == 40_000
    assert client.describe_endpoints()["Endpoints"][0]["Address"] == f"127.0.0.1:{server.port}"


EVERY_TYPE = {
    "pk": {"S": "é😀"},
    "sk": {"N": "1"},
    "n": {"N": "-12345678901234567890.123456789012345678"},
    "b": {"B": b"\x00\xff"},
    "t": {"BOOL": False},
    "z": {"NULL": True},
    "l": {"L": [{"S": ""}, {"L": []}, {"M": {}}]},
    "m": {"M": {"": {"S": "empty name inside"}, "x": {"BS": [b"", b"a"]}}},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": [b"\x01", b"\x02"]},
}


def test_every_type_comes_back(client: Any) -> None:
    name = make(client, "types")
    item = {**EVERY_TYPE, "m": {"M": {"x": {"BS": [b"a"]}}}}
    client.put_item(TableName=name, Item=item)
    assert client.get_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]}, ConsistentRead=True)["Item"] == item
    assert client.scan(TableName=name)["Items"] == [item]


def test_return_values(client: Any) -> None:
    name = make(client, "returns", sort=None)
    key = {"pk": {"S": "k"}}
    assert "Attributes" not in client.put_item(TableName=name, Item={**key, "a": {"N": "1"}}, ReturnValues="ALL_OLD")
    old = client.put_item(TableName=name, Item={**key, "a": {"N": "2"}, "b": {"S": "x"}}, ReturnValues="ALL_OLD")["Attributes"]
    assert old == {**key, "a": {"N": "1"}}
    expected = {
        "ALL_OLD": {**key, "a": {"N": "2"}, "b": {"S": "x"}},
        "UPDATED_OLD": {"a": {"N": "3"}},
        "ALL_NEW": {**key, "a": {"N": "5"}, "b": {"S": "x"}},
        "UPDATED_NEW": {"a": {"N": "6"}},
    }
    for wanted, attributes in expected.items():
        answer = client.update_item(
            TableName=name,
            Key=key,
            UpdateExpression="SET a = a + :one REMOVE gone",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues=wanted,
        )
        assert answer["Attributes"] == attributes
    assert client.delete_item(TableName=name, Key=key, ReturnValues="ALL_OLD")["Attributes"]["a"] == {"N": "6"}
    assert "Attributes" not in client.delete_item(TableName=name, Key=key, ReturnValues="ALL_OLD")
    fresh = client.update_item(TableName=name, Key=key, ReturnValues="ALL_NEW")
    assert fresh["Attributes"] == key


def test_a_failed_condition_may_show_the_item(client: Any) -> None:
    name = make(client, "conditions", sort=None)
    item = {"pk": {"S": "k"}, "a": {"N": "1"}}
    client.put_item(TableName=name, Item=item)
    arguments: dict[str, Any] = {
        "TableName": name,
        "Key": {"pk": {"S": "k"}},
        "ConditionExpression": "a > :five",
        "ExpressionAttributeValues": {":five": {"N": "5"}},
    }
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as caught:
        client.delete_item(**arguments, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert caught.value.response["Item"] == item
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as caught:
        client.delete_item(**arguments)
    assert "Item" not in caught.value.response


def test_consumed_capacity(client: Any) -> None:
    name = make(client, "capacity")
    item = {"pk": {"S": "k"}, "sk": {"N": "1"}, "x": {"S": "x" * 5000}}
    put = client.put_item(TableName=name, Item=item, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
    assert put == {"TableName": name, "CapacityUnits": 5.0, "Table": {"CapacityUnits": 5.0}}
    smaller = client.put_item(TableName=name, Item={**item, "x": {"S": ""}}, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]
    assert smaller == {"TableName": name, "CapacityUnits": 5.0}
    client.put_item(TableName=name, Item=item)
    key = {"pk": {"S": "k"}, "sk": {"N": "1"}}
    for consistent, units in ((True, 2.0), (False, 1.0)):
        got = client.get_item(TableName=name, Key=key, ConsistentRead=consistent, ReturnConsumedCapacity="TOTAL")
        assert got["ConsumedCapacity"]["CapacityUnits"] == units
        found = client.query(
            TableName=name,
            KeyConditionExpression="pk = :k",
            FilterExpression="attribute_not_exists(x)",
            ExpressionAttributeValues={":k": {"S": "k"}},
            ConsistentRead=consistent,
            ReturnConsumedCapacity="TOTAL",
        )
        assert (found["Count"], found["ScannedCount"], found["ConsumedCapacity"]["CapacityUnits"]) == (0, 1, units)
    absent = client.get_item(TableName=name, Key={**key, "sk": {"N": "2"}}, ReturnConsumedCapacity="TOTAL")
    assert absent["ConsumedCapacity"]["CapacityUnits"] == 0.5
    batch = client.batch_get_item(RequestItems={name: {"Keys": [key, {**key, "sk": {"N": "2"}}]}}, ReturnConsumedCapacity="TOTAL")
    assert batch["ConsumedCapacity"] == [{"TableName": name, "CapacityUnits": 1.5}]
    assert "ConsumedCapacity" not in client.get_item(TableName=name, Key=key, ReturnConsumedCapacity="NONE")


def test_query_forwards_backwards_and_in_pages(client: Any) -> None:
    name = make(client, "query")
    for index in range(25):
        client.put_item(TableName=name, Item={"pk": {"S": "k"}, "sk": {"N": str(index - 10)}, "odd": {"BOOL": bool(index % 2)}})
        client.put_item(TableName=name, Item={"pk": {"S": "other"}, "sk": {"N": str(index)}})
    base: dict[str, Any] = {"TableName": name, "ExpressionAttributeValues": {":k": {"S": "k"}, ":lo": {"N": "-5"}, ":hi": {"N": "9.5"}}}
    base["KeyConditionExpression"] = "pk = :k AND sk BETWEEN :lo AND :hi"
    for forward in (True, False):
        pages = list(client.get_paginator("query").paginate(**base, ScanIndexForward=forward, PaginationConfig={"PageSize": 4}))
        found = [int(item["sk"]["N"]) for page in pages for item in page["Items"]]
        assert found == (list(range(-5, 10)) if forward else list(range(9, -6, -1)))
        assert all(page["ScannedCount"] <= 4 for page in pages)
    filtered = client.query(
        **base | {"ExpressionAttributeValues": {**base["ExpressionAttributeValues"], ":t": {"BOOL": True}}},
        FilterExpression="odd = :t",
        Limit=4,
    )
    assert (filtered["Count"], filtered["ScannedCount"]) == (2, 4)
    assert filtered["LastEvaluatedKey"] == {"pk": {"S": "k"}, "sk": {"N": "-2"}}
    counted = client.query(**base, Select="COUNT")
    assert counted["Count"] == 15
    assert "Items" not in counted
    exact = client.query(**base, Limit=15)
    assert exact["Count"] == 15
    assert "LastEvaluatedKey" in exact


def test_pages_end_at_a_megabyte(client: Any) -> None:
    name = make(client, "megabyte")
    for index in range(20):
        client.put_item(TableName=name, Item={"pk": {"S": "k"}, "sk": {"N": str(index)}, "x": {"S": "x" * 60_000}})
    first = client.query(TableName=name, KeyConditionExpression="pk = :k", ExpressionAttributeValues={":k": {"S": "k"}})
    assert first["Count"] == 18
    second = client.query(
        TableName=name,
        KeyConditionExpression="pk = :k",
        ExpressionAttributeValues={":k": {"S": "k"}},
        ExclusiveStartKey=first["LastEvaluatedKey"],
    )
    assert second["Count"] == 2
    assert "LastEvaluatedKey" not in second
    assert sum(page["Count"] for page in client.get_paginator("scan").paginate(TableName=name)) == 20


@pytest.mark.parametrize("segments", [1, 3, 8])
def test_parallel_scans_see_everything_once(client: Any, segments: int) -> None:
    name = f"segments-{segments}"
    make(client, name, sort=None)
    client_batches = [
        [{"PutRequest": {"Item": {"pk": {"S": f"key-{start + index}"}}}} for index in range(25)] for start in range(0, 100, 25)
    ]
    for batch in client_batches:
        assert client.batch_write_item(RequestItems={name: batch})["UnprocessedItems"] == {}
    seen: list[str] = []
    for segment in range(segments):
        pages = client.get_paginator("scan").paginate(
            TableName=name, Segment=segment, TotalSegments=segments, PaginationConfig={"PageSize": 7}
        )
        seen += [item["pk"]["S"] for page in pages for item in page["Items"]]
    assert sorted(seen) == sorted(f"key-{index}" for index in range(100))


def test_a_start_key_of_another_segment_is_refused(client: Any) -> None:
    name = make(client, "wrong-segment", sort=None)
    keys = [{"pk": {"S": f"k{index}"}} for index in range(20)]
    for key in keys:
        client.put_item(TableName=name, Item=key)
    mine = client.scan(TableName=name, Segment=0, TotalSegments=2)["Items"]
    assert mine
    assert error_of(client.scan, TableName=name, Segment=1, TotalSegments=2, ExclusiveStartKey=mine[0]) == (
        "ValidationException",
        (
            "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "
            "TotalSegments: 2 Segment: 1"
        ),
    )


def test_legacy_parameters(client: Any) -> None:
    name = make(client, "legacy")
    key = {"pk": {"S": "k"}, "sk": {"N": "1"}}
    client.put_item(TableName=name, Item={**key, "a": {"N": "1"}, "s": {"SS": ["x", "y"]}}, Expected={"pk": {"Exists": False}})
    assert error_of(client.put_item, TableName=name, Item=key, Expected={"pk": {"Exists": False}})[0] == "ConditionalCheckFailedException"
    answer = client.update_item(
        TableName=name,
        Key=key,
        AttributeUpdates={
            "a": {"Action": "ADD", "Value": {"N": "4"}},
            "s": {"Action": "DELETE", "Value": {"SS": ["x"]}},
            "new": {"Value": {"S": "put"}},
            "gone": {"Action": "DELETE"},
        },
        Expected={"a": {"ComparisonOperator": "LT", "AttributeValueList": [{"N": "2"}]}, "zz": {"ComparisonOperator": "NOT_NULL"}},
        ConditionalOperator="OR",
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"] == {**key, "a": {"N": "5"}, "s": {"SS": ["y"]}, "new": {"S": "put"}}
    conditions = {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "k"}]}}
    found = client.query(
        TableName=name,
        KeyConditions={**conditions, "sk": {"ComparisonOperator": "GE", "AttributeValueList": [{"N": "1"}]}},
        QueryFilter={"new": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [{"S": "pu"}]}},
        AttributesToGet=["a", "pk"],
    )
    assert found["Items"] == [{"a": {"N": "5"}, "pk": {"S": "k"}}]
    assert (
        client.scan(TableName=name, ScanFilter={"s": {"ComparisonOperator": "CONTAINS", "AttributeValueList": [{"S": "y"}]}})["Count"] == 1
    )


def test_batches(client: Any) -> None:
    one, two = make(client, "batch-one", sort=None), make(client, "batch-two", sort=None)
    requests = {
        one: [{"PutRequest": {"Item": {"pk": {"S": f"a{index}"}, "x": {"N": str(index)}}}} for index in range(15)],
        two: [{"PutRequest": {"Item": {"pk": {"S": f"b{index}"}}}} for index in range(10)],
    }
    written = client.batch_write_item(RequestItems=requests, ReturnConsumedCapacity="TOTAL")
    assert {part["TableName"]: part["CapacityUnits"] for part in written["ConsumedCapacity"]} == {one: 15.0, two: 10.0}
    keys = [{"pk": {"S": f"a{index}"}} for index in range(20)]
    read = client.batch_get_item(
        RequestItems={
            one: {"Keys": keys, "ProjectionExpression": "#x", "ExpressionAttributeNames": {"#x": "x"}},
            two: {"Keys": [{"pk": {"S": "b1"}}], "ConsistentRead": True},
        }
    )
    assert sorted(int(item["x"]["N"]) for item in read["Responses"][one]) == list(range(15))
    assert read["Responses"][two] == [{"pk": {"S": "b1"}}]
    client.batch_write_item(RequestItems={one: [{"DeleteRequest": {"Key": key}} for key in keys]})
    assert client.scan(TableName=one)["Count"] == 0


@pytest.mark.slow
def test_a_batch_read_ends_at_sixteen_megabytes(client: Any) -> None:
    name = make(client, "batch-large", sort=None)
    keys = [{"pk": {"S": f"k{index}"}} for index in range(45)]
    for key in keys:
        client.put_item(TableName=name, Item={**key, "x": {"S": "x" * 400_000}})
    read = client.batch_get_item(RequestItems={name: {"Keys": keys}})
    left = read["UnprocessedKeys"][name]["Keys"]
    assert len(read["Responses"][name]) + len(left) == 45
    assert len(read["Responses"][name]) == 16 * 1024 * 1024 // 400_003
    rest = client.batch_get_item(RequestItems=read["UnprocessedKeys"])
    assert len(rest["Responses"][name]) == len(left)


def test_the_resource_with_its_own_expressions(server: ApiCaller, client: Any) -> None:
    make(client, "resource", sort="S")
    table = server.resource().Table("resource")
    with table.batch_writer() as batch:
        for index in range(60):
            batch.put_item(Item={"pk": "k", "sk": f"{index:03}", "n": Decimal("1.5") * index, "tags": {"a", "b"}, "raw": b"\x01"})
    found = table.query(
        KeyConditionExpression=Key("pk").eq("k") & Key("sk").begins_with("01"),
        FilterExpression=Attr("n").gt(16) & Attr("tags").contains("a"),
        ProjectionExpression="#s, n",
        ExpressionAttributeNames={"#s": "sk"},
    )
    assert [item["sk"] for item in found["Items"]] == [f"{index:03}" for index in range(11, 20)]
    assert found["Items"][0]["n"] == Decimal("16.5")
    assert table.item_count == 60


@pytest.mark.slow
def test_point_in_time_recovery(client: Any, server: ApiCaller) -> None:
    name = make(client, "recovery", sort=None)
    written = server.post("PutItem", {"TableName": name, "Item": {"pk": {"S": "kept"}}})
    moment = datetime.fromisoformat(written.headers["x-scrubjay-timestamp"])
    client.put_item(TableName=name, Item={"pk": {"S": "bad"}})
    client.delete_item(TableName=name, Key={"pk": {"S": "kept"}})
    described = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert described["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    # fractions of a second are honoured on the wire; SDKs cut them off
    request = {"SourceTableName": name, "TargetTableName": "recovered", "RestoreDateTime": moment.timestamp() + 0.0000004}
    answers: list[Any] = []

    def started() -> bool:
        status, answer = server.ask("RestoreTableToPointInTime", request)
        assert status == 200 or "InvalidRestoreTimeException" in answer["__type"], answer
        answers.append(answer)
        return status == 200

    with held(server, "recovered"):
        wait_for(started, timeout=30)
        answer = answers[-1]
        assert answer["TableDescription"]["TableStatus"] == "CREATING"
        assert answer["TableDescription"]["RestoreSummary"]["RestoreInProgress"] is True
        assert error_of(client.scan, TableName="recovered")[0] == "ResourceNotFoundException"
    client.get_waiter("table_exists").wait(TableName="recovered", WaiterConfig=WAIT)
    assert client.scan(TableName="recovered")["Items"] == [{"pk": {"S": "kept"}}]
    summary = client.describe_table(TableName="recovered")["Table"]["RestoreSummary"]
    assert summary["RestoreInProgress"] is False
    assert summary["SourceTableArn"].endswith(":table/recovery")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert error_of(client.restore_table_to_point_in_time, SourceTableName=name, TargetTableName="later", RestoreDateTime=tomorrow)[0] == (
        "InvalidRestoreTimeException"
    )
    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False})
    assert error_of(client.restore_table_to_point_in_time, SourceTableName=name, TargetTableName="later", UseLatestRestorableTime=True)[
        0
    ] == ("PointInTimeRecoveryUnavailableException")
    changed = client.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    )["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert changed["RecoveryPeriodInDays"] == 7


def test_a_restore_with_other_settings(client: Any) -> None:
    name = make(client, "settings", sort=None)
    arn = client.describe_table(TableName=name)["Table"]["TableArn"]
    restore(
        client,
        SourceTableArn=arn,
        TargetTableName="settings-new",
        UseLatestRestorableTime=True,
        BillingModeOverride="PROVISIONED",
        ProvisionedThroughputOverride={"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
        GlobalSecondaryIndexOverride=[],
        LocalSecondaryIndexOverride=[],
    )
    client.get_waiter("table_exists").wait(TableName="settings-new", WaiterConfig=WAIT)
    table = client.describe_table(TableName="settings-new")["Table"]
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 4


def test_a_local_index_is_read_and_restored(client: Any, server: ApiCaller) -> None:
    index = {"KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]}
    indexes = [
        {"IndexName": "whole", **index, "Projection": {"ProjectionType": "ALL"}},
        {"IndexName": "keys", **index, "Projection": {"ProjectionType": "KEYS_ONLY"}},
    ]
    name = "sorted-twice"
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in (("pk", "S"), ("sk", "S"), ("at", "N"))],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=indexes,
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    table = server.resource().Table(name)
    with table.batch_writer() as batch:
        for number in range(30):
            at = {} if number % 3 == 0 else {"at": Decimal(100 - number)}
            batch.put_item(Item={"pk": "p", "sk": f"s{number:02d}", "x": "y" * 40, **at})
    pages = client.get_paginator("query").paginate(
        TableName=name, IndexName="keys", ConsistentRead=True, PaginationConfig={"PageSize": 7},
        KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p"}},
    )  # fmt: skip
    found = [item["sk"]["S"] for page in pages for item in page["Items"]]
    assert found == [f"s{number:02d}" for number in reversed(range(30)) if number % 3]
    late = table.query(IndexName="whole", KeyConditionExpression=Key("pk").eq("p") & Key("at").lt(75), ConsistentRead=True)
    assert [item["sk"] for item in late["Items"]] == ["s29", "s28", "s26"]
    restore(
        client,
        SourceTableName=name,
        TargetTableName="sorted-once",
        RestoreDateTime=datetime.now(UTC),
        LocalSecondaryIndexOverride=indexes[1:],
    )
    client.get_waiter("table_exists").wait(TableName="sorted-once", WaiterConfig=WAIT)
    described = client.describe_table(TableName="sorted-once")["Table"]
    assert [(one["IndexName"], one["ItemCount"]) for one in described["LocalSecondaryIndexes"]] == [("keys", 20)]
    again = client.scan(TableName="sorted-once", IndexName="keys", ConsistentRead=True)
    assert [item["sk"]["S"] for item in again["Items"]] == found


def test_a_global_index_is_made_filled_read_restored_and_removed(client: Any, server: ApiCaller) -> None:
    by_day = {
        "IndexName": "by-day",
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
    }
    keys = [{"AttributeName": key, "AttributeType": kind} for key, kind in (("pk", "S"), ("day", "S"), ("at", "N"))]
    name = "by-days"
    client.create_table(
        TableName=name,
        AttributeDefinitions=keys,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[by_day],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)
    table = server.resource().Table(name)
    with table.batch_writer() as batch:
        for number in range(30):
            at = {} if number % 3 == 0 else {"at": Decimal(number)}
            batch.put_item(Item={"pk": f"p{number:02d}", "day": f"d{number % 2}", "x": "x", "y": "y", **at})

    def days(of: str, index: str = "by-day") -> list[str]:
        pages = client.get_paginator("query").paginate(
            TableName=of, IndexName=index, ScanIndexForward=False, PaginationConfig={"PageSize": 4},
            KeyConditionExpression="#d = :d", ExpressionAttributeNames={"#d": "day"}, ExpressionAttributeValues={":d": {"S": "d1"}},
        )  # fmt: skip
        return [item["pk"]["S"] for page in pages for item in page["Items"]]

    expected = [f"p{number:02d}" for number in reversed(range(30)) if number % 2 and number % 3]
    wait_for(lambda: days(name) == expected, timeout=60)
    assert set(client.scan(TableName=name, IndexName="by-day", Limit=1)["Items"][0]) == {"pk", "day", "at", "x"}
    code, message = error_of(client.scan, TableName=name, IndexName="by-day", ConsistentRead=True)
    assert (code, message) == ("ValidationException", "Consistent reads are not supported on global secondary indexes")

    def index_of(of: str, index: str) -> Any:
        described = client.describe_table(TableName=of)["Table"]
        return next((one for one in described.get("GlobalSecondaryIndexes", ()) if one["IndexName"] == index), None)

    by_x = {"IndexName": "by-x", "KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}
    made = client.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "x", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": by_x}],
    )["TableDescription"]
    assert (made["TableStatus"], made["GlobalSecondaryIndexes"][1]["IndexStatus"]) == ("UPDATING", "CREATING")
    wait_for(lambda: index_of(name, "by-x")["IndexStatus"] == "ACTIVE", timeout=60)
    wait_for(lambda: client.scan(TableName=name, IndexName="by-x", Select="COUNT")["Count"] == 30, timeout=60)
    assert error_of(client.put_item, TableName=name, Item={"pk": {"S": "new"}, "x": {"N": "1"}})[0] == "ValidationException"
    restore(
        client,
        SourceTableName=name,
        TargetTableName="by-days-again",
        RestoreDateTime=datetime.now(UTC),
        GlobalSecondaryIndexOverride=[{**by_day, "IndexName": "renamed"}],
    )
    client.get_waiter("table_exists").wait(TableName="by-days-again", WaiterConfig=WAIT)
    wait_for(lambda: index_of("by-days-again", "renamed")["IndexStatus"] == "ACTIVE", timeout=60)
    wait_for(lambda: days("by-days-again", "renamed") == expected, timeout=60)
    assert index_of("by-days-again", "by-day") is None
    client.put_item(TableName="by-days-again", Item={"pk": {"S": "again"}, "day": {"S": "d1"}, "at": {"N": "99"}, "x": {"S": "x"}})
    wait_for(lambda: days("by-days-again", "renamed") == ["again", *expected], timeout=60)
    client.delete_table(TableName="by-days-again")
    client.get_waiter("table_not_exists").wait(TableName="by-days-again", WaiterConfig=WAIT)
    assert days(name) == expected, "the rows of each are its own, and go with it alone"
    client.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-x"}}])
    wait_for(lambda: index_of(name, "by-x") is None, timeout=60)
    assert {one["AttributeName"] for one in client.describe_table(TableName=name)["Table"]["AttributeDefinitions"]} == {"pk", "day", "at"}
    assert days(name) == expected


def test_backups_by_name(client: Any) -> None:
    name = make(client, "backed", sort=None)
    before = {"TableName": name, "Item": {"pk": {"S": "kept"}, "v": {"N": "1"}}}
    client.put_item(**before)
    made = client.create_backup(TableName=name, BackupName="quarter")["BackupDetails"]
    client.put_item(TableName=name, Item={"pk": {"S": "kept"}, "v": {"N": "2"}})
    assert (made["BackupName"], made["BackupStatus"], made["BackupType"]) == ("quarter", "CREATING", "USER")
    arn = made["BackupArn"]
    assert f":table/{name}/backup/" in arn
    second = client.create_backup(TableName=name, BackupName="quarter")["BackupDetails"]["BackupArn"]
    assert second != arn, "names are not unique"
    wait_for(
        lambda: client.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "AVAILABLE",
        timeout=30,
    )
    source = client.describe_backup(BackupArn=arn)["BackupDescription"]["SourceTableDetails"]
    assert (source["TableName"], source["ItemCount"], source["BillingMode"]) == (name, 1, "PAY_PER_REQUEST")
    size = client.describe_table(TableName=name)["Table"]["TableSizeBytes"]
    assert made["BackupSizeBytes"] == source["TableSizeBytes"] == size > 0
    assert source["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]

    listed = client.list_backups(TableName=name)["BackupSummaries"]
    assert [one["BackupArn"] for one in listed] == [arn, second]
    assert [one["BackupSizeBytes"] for one in listed] == [size, size]
    page = client.list_backups(TableName=name, Limit=1)
    assert page["LastEvaluatedBackupArn"] == arn
    rest = client.list_backups(TableName=name, Limit=1, ExclusiveStartBackupArn=arn)
    assert [one["BackupArn"] for one in rest["BackupSummaries"]] == [second]
    assert "LastEvaluatedBackupArn" not in rest
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for nothing in ({"TimeRangeLowerBound": tomorrow}, {"TimeRangeUpperBound": tomorrow - timedelta(days=2)}, {"BackupType": "SYSTEM"}):
        assert client.list_backups(TableName=name, **nothing)["BackupSummaries"] == []
    assert len(client.list_backups(TableName=name, TimeRangeUpperBound=tomorrow, BackupType="ALL")["BackupSummaries"]) == 2

    assert error_of(client.restore_table_from_backup, BackupArn=arn, TargetTableName=name) == (
        "TableAlreadyExistsException",
        f"Table already exists: {name}",
    )
    restored = client.restore_table_from_backup(
        BackupArn=arn,
        TargetTableName="backed-again",
        BillingModeOverride="PROVISIONED",
        ProvisionedThroughputOverride={"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
    )["TableDescription"]
    assert restored["RestoreSummary"]["SourceBackupArn"] == arn
    assert restored["RestoreSummary"]["RestoreInProgress"] is True
    client.get_waiter("table_exists").wait(TableName="backed-again", WaiterConfig=WAIT)
    assert client.scan(TableName="backed-again", ConsistentRead=True)["Items"] == [before["Item"]]
    table = client.describe_table(TableName="backed-again")["Table"]
    assert (table["ProvisionedThroughput"]["WriteCapacityUnits"], table["RestoreSummary"]["SourceBackupArn"]) == (4, arn)

    assert client.delete_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "DELETED"
    for call in (client.describe_backup, client.delete_backup):
        assert error_of(call, BackupArn=arn) == ("BackupNotFoundException", f"Backup not found: {arn}")
    assert error_of(client.describe_backup, BackupArn=second.replace("/backed/", "/other/"))[0] == "BackupNotFoundException"
    assert error_of(client.create_backup, TableName="absent", BackupName="quarter")[0] == "TableNotFoundException"
    assert [one["BackupArn"] for one in client.list_backups(TableName=name)["BackupSummaries"]] == [second]


def test_with_keys_only_signed_requests_pass() -> None:
    keys = {"AKID": sigv4.AccessKey("secret", "data"), "TEMP": sigv4.AccessKey("secret2", "data", "token")}
    with ApiServer(keys=keys) as guarded:
        assert guarded.client(key="AKID", secret="secret").list_tables()["TableNames"] == []
        temporary = guarded.client(key="TEMP", secret="secret2", aws_session_token="token")
        assert temporary.list_tables()["TableNames"] == []
        assert error_of(guarded.client(key="AKID", secret="wrong").list_tables)[0] == "InvalidSignatureException"
        assert error_of(guarded.client(key="OTHER", secret="secret").list_tables)[0] == "UnrecognizedClientException"
        assert guarded.refusal("ListTables", {})[0] == "InvalidSignatureException"
