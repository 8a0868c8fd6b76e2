"""A global index on a real server, through boto3: killed while it is fed and while another one is filled, it comes to what the items say, and a scrub proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import make_table

Make = Callable[..., ScrubjayServer]
DEFINED: Any = [{"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "c", "AttributeType": "S"}]


def create(name: str) -> Any:
    keys = [{"AttributeName": "c", "KeyType": "HASH"}]
    return [{"Create": {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}}]


@pytest.mark.timeout(300)
def test_an_index_survives_kills_while_it_is_filled_and_fed(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"archive.seal_age": "1s", "archive.closed_interval": "1s"})
    make_table(server.port, "birds")
    client = server.client()
    items: dict[str, Any] = {}

    def put(first: int, last: int) -> None:
        for number in range(first, last):
            item = {"k": {"S": f"k{number % 30}"}, "c": {"S": f"c{number % 4}"}, "v": {"S": str(number)}}
            client.put_item(TableName="birds", Item=item)
            items[item["k"]["S"]] = item

    def status() -> dict[str, Any]:
        found = client.describe_table(TableName="birds")["Table"].get("GlobalSecondaryIndexes", [])
        return {index["IndexName"]: index["IndexStatus"] for index in found}

    def agrees(name: str) -> bool:
        found = client.scan(TableName="birds", IndexName=name)["Items"]
        return {item["k"]["S"]: item for item in found} == items and len(found) == len(items)

    put(0, 40)
    client.update_table(TableName="birds", AttributeDefinitions=DEFINED, GlobalSecondaryIndexUpdates=create("by-c"))
    server.kill()
    server.start()
    client = server.client()
    put(40, 60)
    wait_for(lambda: status() == {"by-c": "ACTIVE"}, timeout=90)
    put(60, 80)
    server.kill()
    server.start()
    client = server.client()
    put(80, 90)
    wait_for(lambda: agrees("by-c"), timeout=90)
    code, scrub = server.cli_json("scrub", "run", "--table", "birds")
    assert (code, scrub["verdict"]) == (0, "match"), scrub
