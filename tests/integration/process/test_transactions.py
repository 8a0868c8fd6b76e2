"""Money moves between two tables on a real server, through boto3: killed in the middle, no transaction is ever seen by half, at no moment that is restored, and the streams
of both tables tell each change once, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.fixtures.process import ScrubjayServer
from tests.fixtures.wait import wait_for
from tests.integration.process.load import now_us, proven, rfc3339

Make = Callable[..., ScrubjayServer]
TABLES = ("coins", "notes")
ACCOUNTS, EACH = 6, 100
Account = tuple[str, str]


def move(one: Account, amount: int) -> dict[str, Any]:
    table, key = one
    values = {":amount": {"N": str(amount)}}
    return {
        "Update": {"TableName": table, "Key": {"k": {"S": key}}, "UpdateExpression": "ADD n :amount", "ExpressionAttributeValues": values}
    }


def total(client: Any, names: tuple[str, ...]) -> int:
    return sum(int(item["n"]["N"]) for name in names for item in client.scan(TableName=name, ConsistentRead=True)["Items"])


class Bank(threading.Thread):
    """Moves a coin from one account to another, on and on; receipts: the numbers of those that it was answered."""

    def __init__(self, server: ScrubjayServer, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.receipts: set[str] = set()
        self._client, self._stop_asked, self._random = server.client(tries=1), stop, Random(number)

    def run(self) -> None:
        accounts = [(table, str(number)) for table in TABLES for number in range(ACCOUNTS)]
        turn = 0
        while not self._stop_asked.wait(0.005):
            turn += 1
            one, other = self._random.sample(accounts, 2)
            receipt = f"receipt-{self.number}-{turn}"
            paper = {"Put": {"TableName": "receipts", "Item": {"k": {"S": receipt}}}}
            try:
                self._client.transact_write_items(TransactItems=[move(one, -1), move(other, 1), paper])
            except (ClientError, BotoCoreError):
                continue
            self.receipts.add(receipt)


def replayed(server: ScrubjayServer, table: str) -> dict[str, Any]:
    """What the stream of a table tells from its beginning on. Asserts that each record goes on from the one before."""
    streams = server.client("dynamodbstreams")
    arn = server.client().describe_table(TableName=table)["Table"]["LatestStreamArn"]
    items: dict[str, Any] = {}
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        asked = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = streams.get_shard_iterator(**asked)["ShardIterator"]
        empty = 0
        while empty < 3:  # a page may be empty before the end
            page = streams.get_records(ShardIterator=iterator)
            iterator, empty = page["NextShardIterator"], 0 if page["Records"] else empty + 1
            for record in page["Records"]:
                change = record["dynamodb"]
                key = change["Keys"]["k"]["S"]
                assert change.get("OldImage") == items.get(key), record
                items[key] = change["NewImage"]
    return items


@pytest.mark.timeout(300)
def test_a_kill_in_the_middle_of_transactions_leaves_none_by_half(scrubjay_server: Make) -> None:
    server = scrubjay_server(settings={"archive.seal_age": "1s", "archive.closed_interval": "1s", "tables.initial_partitions": "2"})
    client = server.client()
    definition: Any = {
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
    for table in (*TABLES, "receipts"):
        client.create_table(TableName=table, **definition)
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    for table in TABLES:
        for number in range(ACCOUNTS):
            client.put_item(TableName=table, Item={"k": {"S": str(number)}, "n": {"N": str(EACH)}})
    stop = threading.Event()
    banks = [Bank(server, number, stop) for number in range(3)]
    for bank in banks:
        bank.start()
    wait_for(lambda: sum(len(bank.receipts) for bank in banks) >= 20, timeout=60)
    before = now_us()
    server.kill()
    server.start()
    done = sum(len(bank.receipts) for bank in banks)
    wait_for(lambda: sum(len(bank.receipts) for bank in banks) >= done + 20, timeout=60)
    between = now_us()
    stop.set()
    for bank in banks:
        bank.join(60)
    client = server.client()
    everything = len(TABLES) * ACCOUNTS * EACH
    # What a kill left pending is ended by what the ledger says.
    wait_for(lambda: total(client, TABLES) == everything, timeout=30)
    kept = {item["k"]["S"] for item in client.scan(TableName="receipts", ConsistentRead=True)["Items"]}
    assert set().union(*(bank.receipts for bank in banks)) <= kept
    for table in TABLES:
        assert replayed(server, table) == {item["k"]["S"]: item for item in client.scan(TableName=table, ConsistentRead=True)["Items"]}
    wait_for(lambda: all(proven(server, table, between) for table in TABLES), timeout=90)
    for turn, moment in enumerate((before, between)):
        names = tuple(f"{table}-{turn}" for table in TABLES)
        for table, name in zip(TABLES, names, strict=True):
            code, report = server.cli_json("restore", "run", "--table", table, "--to", name, "--at", rfc3339(moment))
            assert (code, report["verdict"]) == (0, "match"), report
        assert total(client, names) == everything, "half of a transaction"
