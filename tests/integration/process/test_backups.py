"""Backups by name on a real server: made while it is written to, kept over a kill and over the table's deletion, restored through boto3 and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]


def items(client: Any, table: str) -> dict[str, str]:
    found = client.scan(TableName=table, ConsistentRead=True)["Items"]
    return {item["k"]["S"]: item["v"]["S"] for item in found}


@pytest.mark.timeout(300)
def test_backups_outlive_a_kill_and_their_table(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"archive.closed_interval": "1s", "tables.initial_partitions": "2"})
    make_table(server.port, "birds")
    client = server.client()
    first = {f"bird-{number}": "first" for number in range(20)}
    for key, value in first.items():
        client.put_item(TableName="birds", Item={"k": {"S": key}, "v": {"S": value}})
    # Nothing is waited for: whatever was acknowledged is in, and what comes later is not.
    arn = client.create_backup(TableName="birds", BackupName="quarter")["BackupDetails"]["BackupArn"]
    client.put_item(TableName="birds", Item={"k": {"S": "bird-0"}, "v": {"S": "second"}})
    server.kill()
    server.start()
    client = server.client()
    code, made = server.cli_json("backup", "create", "birds", "quarter")
    assert (code, made["state"], made["rows"]) == (0, "available", 20), made
    assert server.cli_json("backup", "show", "quarter")[0] == 64, "two have that name"
    code, shown = server.cli_json("backup", "show", made["backup_id"])
    assert (code, shown["at"], shown["table"]) == (0, made["at"], "birds")
    assert shown["ends"] == made["ends"]
    for end in shown["ends"] or ():  # null where the archive was late
        names = f"t=*/p={end['partition']}/log/*-{end['lsn']:016x}.*.json"
        assert end["chain"] in {json.loads(path.read_bytes())["chain"] for path in (server.data / "archive").rglob(names)}
    client.delete_table(TableName="birds")
    code, listed = server.cli_json("backup", "list")
    assert (code, [one["backup_id"] for one in listed["backups"]]) == (0, [arn.rpartition("/")[2], made["backup_id"]])
    wait_for(
        lambda: client.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "AVAILABLE",
        timeout=60,
    )
    client.get_waiter("table_not_exists").wait(TableName="birds", WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    restored = client.restore_table_from_backup(TargetTableName="birds", BackupArn=arn)["TableDescription"]
    assert restored["RestoreSummary"]["SourceBackupArn"] == arn
    code, answer = server.cli_json("backup", "restore", made["backup_id"], "--to", "later")
    assert code == 0, answer
    assert (answer["backup"], answer["verdict"], answer["rows"]) == ("quarter", "match", 20)
    assert items(client, "later") == {**first, "bird-0": "second"}
    wait_for(lambda: client.describe_table(TableName="birds")["Table"]["TableStatus"] == "ACTIVE", timeout=60)
    assert items(client, "birds") == first

    code, kept = server.cli_json("backup", "delete", made["backup_id"])
    assert (code, kept["deleted"]) == (0, False), "without --confirm it only says which"
    assert server.cli_json("backup", "delete", made["backup_id"], "--confirm")[0] == 0
    client.delete_backup(BackupArn=arn)
    with pytest.raises(ClientError) as gone:
        client.describe_backup(BackupArn=arn)
    assert gone.value.response["Error"]["Code"] == "BackupNotFoundException"
    assert server.cli_json("backup", "list")[1]["backups"] == []
    assert server.cli_json("backup", "show", made["backup_id"])[0] == 1
