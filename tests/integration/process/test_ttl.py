"""Time to live on a real server, through boto3: what is over goes, over a kill too, and the history says who took it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]


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

    put("stays", now + 86_400)
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

    code, history = server.cli_json("history", "sessions", "--key", '{"k": {"S": "over-7"}}')
    assert code == 0, history
    assert [one["op"] for one in history["versions"]][:2] == ["ttl", "put"]
    code, scrub = server.cli_json("scrub", "run", "--table", "sessions")
    assert (code, scrub["verdict"]) == (0, "match"), scrub
