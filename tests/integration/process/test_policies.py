"""Fine-grained access with a real process and boto3: a policy is put, allows and denies by attributes, is there after a restart, and is deleted. The archive is encrypted, which is no claim about tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.fixtures.process import ScrubjayServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(200)]

TABLE = "flights"
ARN = f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}"
DESK = "arn:aws:iam::000000000000:user/desk"
KEYS = '[{id="local", secret="local", role="admin"}, {id="desk", secret="d", role="policy"}]'
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": DESK},
            "Action": ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:PartiQLSelect"],
            "Resource": ARN,
            "Condition": {
                "ForAllValues:StringEquals": {"dynamodb:Attributes": ["number", "gate", "airline"]},
                "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES", "dynamodb:ReturnValues": ["NONE", "UPDATED_NEW"]},
            },
        }
    ],
}


def test_who_may_see_some_attributes_sees_no_others(scrubjay_server: Callable[..., ScrubjayServer]) -> None:
    server = scrubjay_server(
        settings={"auth.keys": KEYS, "encryption.keys": "first=env:FIRST_KEY"}, env={"FIRST_KEY": "11" * 32}, arguments=["--auth"]
    )
    owner = server.client()
    desk = boto3.client("dynamodb", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="desk", aws_secret_access_key="d")
    definition: dict[str, Any] = {
        "TableName": TABLE,
        "KeySchema": [{"AttributeName": "number", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "number", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    with pytest.raises(ClientError, match="SSESpecification"):
        owner.create_table(**definition, SSESpecification={"Enabled": True})
    owner.create_table(**definition)
    owner.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert "SSEDescription" not in owner.describe_table(TableName=TABLE)["Table"]
    key = {"number": {"S": "SJ1"}}
    owner.put_item(TableName=TABLE, Item={**key, "gate": {"S": "A1"}, "pilot": {"S": "Ann"}})

    def told(call: Callable[..., Any], **asked: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(TableName=TABLE, **asked)
        error = caught.value.response["Error"]
        assert (error["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDeniedException", 400)
        return str(error["Message"])

    silent = f"User: {DESK} is not authorized to perform: dynamodb:{{0}} on resource: {ARN} because no resource-based policy allows the dynamodb:{{0}} action"
    assert told(desk.get_item, Key=key, ProjectionExpression="gate") == silent.format("GetItem")
    owner.put_resource_policy(ResourceArn=ARN, Policy=json.dumps(POLICY))
    for life in range(2):
        assert desk.get_item(TableName=TABLE, Key=key, ProjectionExpression="gate")["Item"] == {"gate": {"S": "A1"}}
        by_number = {
            "KeyConditionExpression": "#n = :n",
            "ExpressionAttributeNames": {"#n": "number"},
            "ExpressionAttributeValues": {":n": key["number"]},
        }
        assert desk.query(TableName=TABLE, ProjectionExpression="gate", **by_number)["Count"] == 1
        selected = desk.execute_statement(Statement=f"SELECT gate FROM {TABLE} WHERE \"number\" = 'SJ1'")
        assert selected["Items"] == [{"gate": {"S": "A1"}}]
        changed = {"UpdateExpression": "SET gate = :g", "ExpressionAttributeValues": {":g": {"S": "A1"}}}
        desk.update_item(TableName=TABLE, Key=key, **changed)

        assert told(desk.get_item, Key=key, ProjectionExpression="gate, pilot") == silent.format("GetItem")
        assert told(desk.get_item, Key=key) == silent.format("GetItem"), "all of an item is more than that"
        assert told(desk.query, ProjectionExpression="gate", FilterExpression="attribute_exists(pilot)", **by_number) == silent.format(
            "Query"
        )
        assert told(desk.update_item, Key=key, ReturnValues="ALL_NEW", **changed) == silent.format("UpdateItem")
        assert told(desk.scan, ProjectionExpression="gate") == silent.format("Scan")
        if life == 0:
            server.kill()
            server.start()

    shut = {"Effect": "Deny", "Principal": {"AWS": DESK}, "Action": "dynamodb:*", "Resource": ARN}
    owner.put_resource_policy(ResourceArn=ARN, Policy=json.dumps({**POLICY, "Statement": [*POLICY["Statement"], shut]}))
    explicit = (
        f"User: {DESK} is not authorized to perform: dynamodb:GetItem on resource: {ARN} with an explicit deny in a resource-based policy"
    )
    assert told(desk.get_item, Key=key, ProjectionExpression="gate") == explicit
    owner.delete_resource_policy(ResourceArn=ARN)
    assert told(desk.get_item, Key=key, ProjectionExpression="gate") == silent.format("GetItem")
    with pytest.raises(ClientError, match="PolicyNotFoundException"):
        owner.get_resource_policy(ResourceArn=ARN)
