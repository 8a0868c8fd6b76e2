"""What a client waits for around a table's life, with the settings SDKs and the aws cli come with: one poll, not the 20 s to the second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

AWS = Path(sys.executable).parent / "aws"
SECOND_POLL_S = 20.0
"""When a waiter that did not see the end at once asks again."""


def took(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_default_waiters_and_the_first_window(module_server: ScrubjayServer) -> None:
    client = module_server.client()
    keys: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }

    def create() -> None:
        assert client.create_table(TableName="birds", **keys)["TableDescription"]["TableStatus"] == "CREATING"
        client.get_waiter("table_exists").wait(TableName="birds")
        client.put_item(TableName="birds", Item={"k": {"S": "jay"}})

    def delete() -> None:
        assert client.delete_table(TableName="birds")["TableDescription"]["TableStatus"] == "DELETING"
        client.get_waiter("table_not_exists").wait(TableName="birds")
        assert "birds" not in client.list_tables()["TableNames"]

    for _ in range(2):
        # the name is free again at once
        assert took(create) < SECOND_POLL_S
        backups = client.describe_continuous_backups(TableName="birds")["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert backups["EarliestRestorableDateTime"] <= backups["LatestRestorableDateTime"]
        assert took(delete) < SECOND_POLL_S


@pytest.mark.skipif(not AWS.exists(), reason="awscli is not installed")
def test_the_aws_cli_waits_as_briefly(module_server: ScrubjayServer) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }

    def aws(*arguments: str) -> None:
        command = [str(AWS), "dynamodb", "--endpoint-url", module_server.url, *arguments, "--table-name", "cli"]
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)

    attributes, keys = "AttributeName=k,AttributeType=S", "AttributeName=k,KeyType=HASH"
    aws("create-table", "--attribute-definitions", attributes, "--key-schema", keys, "--billing-mode", "PAY_PER_REQUEST")
    assert took(lambda: aws("wait", "table-exists")) < SECOND_POLL_S
    aws("delete-table")
    assert took(lambda: aws("wait", "table-not-exists")) < SECOND_POLL_S
