"""Time to live on a real server, through boto3: what is over goes, over a kill too, and the history and the table's stream say who took it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]


def told_by_stream(client: Any, streams: Any, table: str) -> list[dict[str, Any]]:
    """Every REMOVE in the table's stream, each once."""
    arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    found: list[dict[str, Any]] = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        begin = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        page = streams.get_records(ShardIterator=begin["ShardIterator"])
        while page["Records"]:
            found += [one for one in page["Records"] if one["eventName"] == "REMOVE"]
            page = streams.get_records(ShardIterator=page["NextShardIterator"])
    assert len({one["dynamodb"]["Keys"]["k"]["S"] for one in found}) == len(found), "each once"
    return found


@pytest.mark.timeout(240)
def test_what_is_over_goes_and_a_kill_changes_nothing(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"ttl.every": "1s", "archive.seal_age": "1s", "archive.closed_interval": "1s"})
    make_table(server.port, "sessions")
    client = server.client()
    now = int(time.time())

    def put(name: str, ends: int) -> None:
        client.put_item(TableName="sessions", Item={"k": {"S": name}, "ends": {"N": str(ends)}, "v": {"S": "x"}})

    def names() -> set[str]:
        return {item["k"]["S"] for item in client.scan(TableName="sessions", ConsistentRead=True)["Items"]}

    client.update_table(TableName="sessions", StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    wait_for(lambda: client.describe_table(TableName="sessions")["Table"]["TableStatus"] == "ACTIVE", timeout=60)
    put("stays", now + 86_400)
    put("deleted", now + 86_400)
    client.delete_item(TableName="sessions", Key={"k": {"S": "deleted"}})
    for number in range(20):
        put(f"over-{number}", now - 3600)
    specification: Any = {"Enabled": True, "AttributeName": "ends"}
    assert (
        client.update_time_to_live(TableName="sessions", TimeToLiveSpecification=specification)["TimeToLiveSpecification"] == specification
    )
    wait_for(lambda: names() == {"stays"}, timeout=90)

    server.kill()
    server.start()
    client = server.client()
    told = client.describe_time_to_live(TableName="sessions")["TimeToLiveDescription"]
    assert told == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"}
    put("again", now - 3600)
    wait_for(lambda: names() == {"stays"}, timeout=90)

    streams, gone = server.client("dynamodbstreams"), {"deleted", "again", *(f"over-{number}" for number in range(20))}
    removed: dict[str, dict[str, Any]] = {}

    def all_told() -> bool:
        """A stream may be read from a copy that lacks the last moment."""
        removed.update({one["dynamodb"]["Keys"]["k"]["S"]: one for one in told_by_stream(client, streams, "sessions")})
        return removed.keys() >= gone

    wait_for(all_told, timeout=60)
    assert removed.keys() == gone
    assert "userIdentity" not in removed.pop("deleted"), "a user did that"
    for name, one in removed.items():
        assert one["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        assert one["dynamodb"]["OldImage"] == {"k": {"S": name}, "ends": {"N": str(now - 3600)}, "v": {"S": "x"}}

    answers: list[tuple[int, dict[str, Any]]] = []

    def told_of() -> bool:
        """4 while no window is proven yet, after the start."""
        answers.append(server.cli_json("history", "sessions", "--key", '{"k": {"S": "over-7"}}'))
        return answers[-1][0] != 4

    wait_for(told_of, timeout=60)
    code, history = answers[-1]
    assert code == 0, history
    assert [one["op"] for one in history["versions"]][:2] == ["ttl", "put"]
    code, scrub = server.cli_json("scrub", "run", "--table", "sessions")
    assert (code, scrub["verdict"]) == (0, "match"), scrub
