"""One pass from end to end with the aws cli as the only client of the data and of its restore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import now_us, proven, rfc3339

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AWS = Path(sys.executable).parent / "aws"


@pytest.mark.skipif(not AWS.exists(), reason="awscli is not installed")
def test_a_table_written_damaged_and_restored(scrubjay_server: Callable[..., ScrubjayServer]) -> None:
    server = scrubjay_server(settings={"archive.seal_age": "1s", "archive.closed_interval": "1s"})
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }

    def aws(*arguments: str, code: int = 0) -> Any:
        command = [str(AWS), "dynamodb", "--endpoint-url", server.url, "--output", "json", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() and code == 0 else done.stderr

    birds = ("--table-name", "birds")
    aws(
        *("create-table", *birds, "--billing-mode", "PAY_PER_REQUEST"),
        *("--attribute-definitions", "AttributeName=k,AttributeType=S", "AttributeName=n,AttributeType=N"),
        *("--key-schema", "AttributeName=k,KeyType=HASH", "AttributeName=n,KeyType=RANGE"),
    )
    aws("wait", "table-exists", *birds)
    requests = [{"PutRequest": {"Item": {"k": {"S": "jay"}, "n": {"N": str(number)}, "seeds": {"N": "10"}}}} for number in range(25)]
    assert aws("batch-write-item", "--request-items", json.dumps({"birds": requests}))["UnprocessedItems"] == {}
    key = ("--key", '{"k": {"S": "jay"}, "n": {"N": "3"}}')
    changed = aws(
        *("update-item", *birds, *key, "--return-values", "ALL_NEW", "--update-expression", "ADD seeds :more"),
        *("--expression-attribute-values", '{":more": {"N": "5"}}'),
    )
    assert changed["Attributes"]["seeds"] == {"N": "15"}
    assert "ConditionalCheckFailed" in aws(
        "delete-item", *birds, *key, "--condition-expression", "seeds < :x", "--expression-attribute-values", '{":x": {"N": "5"}}', code=255
    )
    good = aws("scan", *birds, "--consistent-read")
    assert good["Count"] == 25

    # SDKs send whole seconds: the restore goes to the first full second after the last good write.
    good_us = (now_us() // 1_000_000 + 1) * 1_000_000
    good_time = rfc3339(good_us)
    wait_for(lambda: proven(server, "birds", good_us), timeout=60)
    shown = aws("describe-continuous-backups", *birds)["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert shown["EarliestRestorableDateTime"] <= shown["LatestRestorableDateTime"]
    aws("delete-item", *birds, *key)
    aws("update-item", *birds, "--key", '{"k": {"S": "jay"}, "n": {"N": "4"}}', "--update-expression", "REMOVE seeds")
    assert aws("scan", *birds)["Count"] == 24

    made = aws(
        *("restore-table-to-point-in-time", "--source-table-name", "birds", "--target-table-name", "birds-again"),
        *("--restore-date-time", good_time),
    )
    assert made["TableDescription"]["TableStatus"] == "CREATING"
    aws("wait", "table-exists", "--table-name", "birds-again")
    again = aws("scan", "--table-name", "birds-again", "--consistent-read")
    order = lambda item: int(item["n"]["N"])  # noqa: E731
    assert sorted(again["Items"], key=order) == sorted(good["Items"], key=order)
    page = aws("query", "--table-name", "birds-again", "--key-condition-expression", "k = :k AND n BETWEEN :a AND :b",
               "--expression-attribute-values", '{":k": {"S": "jay"}, ":a": {"N": "2"}, ":b": {"N": "11"}}', "--page-size", "3")  # fmt: skip
    assert [item["n"]["N"] for item in page["Items"]] == [str(number) for number in range(2, 12)]
    assert "ResourceInUse" in aws("create-table", "--cli-input-json", json.dumps({
        "TableName": "birds-again", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}]}), code=255)  # fmt: skip
    aws("delete-table", *birds)
    aws("wait", "table-not-exists", *birds)
    assert aws("list-tables")["TableNames"] == ["birds-again"]
    assert server.cli_json("scrub", "run")[0] == 0
    assert server.stop() == 0
