"""Tables with everything, under load while releases run together: a global index, a stream, a time to live, splits, and transactions over two tables.

What is judged at the end: what each key holds is what was acknowledged last; the index has the table's items; of each key the records of the stream are a chain, over every split, and end at the table's state; no transaction
was seen by half, none acknowledged is lost, and the sum of all accounts is what it was, at each noted moment that is restored too; what is over was taken; a backup that was made at any time is listed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.integration.process.load import now_us, rfc3339

FINCHES, INDEX = "finches", "by-flock"
FLOCKS, KEYS = 7, 60
COINS, NOTES, RECEIPTS = "coins", "notes", "receipts"
ACCOUNTS, EACH = 6, 100
PACE_S = 0.02
EMPTY = 3
"""So many pages without a record in a row are the end of what a shard has by now."""
SETTINGS = '[ttl]\nevery = "2s"\n'
_OVER = {"N": str(int(time.time()) - 3600)}
Account = tuple[str, str]


def make(client: Any) -> None:
    """The tables, ACTIVE, the accounts filled, and a time to live on `FINCHES`."""
    streamed = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
    index = {"IndexName": INDEX, "KeySchema": [{"AttributeName": "flock", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    more: dict[str, Any] = {FINCHES: streamed | {"GlobalSecondaryIndexes": [index]}, COINS: streamed, NOTES: {}, RECEIPTS: {}}
    for table, given in more.items():
        names = ["k", "flock"] if table == FINCHES else ["k"]
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            BillingMode="PAY_PER_REQUEST",
            **given,
        )
    for table in more:
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    client.update_time_to_live(TableName=FINCHES, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"})
    for table, name in accounts():
        client.put_item(TableName=table, Item={"k": {"S": name}, "n": {"N": str(EACH)}})


def accounts() -> list[Account]:
    return [(table, str(number)) for table in (COINS, NOTES) for number in range(ACCOUNTS)]


class Keeper(threading.Thread):
    """Puts, updates and deletes items of `FINCHES`, and puts some that are over already. held: what was acknowledged last under each key, None: nothing. unsure: keys of which the last answer was an error."""

    def __init__(self, client: Any, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._client, self._ended = client, stop
        self.count = 0
        self.errors: list[str] = []
        self.held: dict[str, str | None] = {}
        self.unsure: set[str] = set()

    def run(self) -> None:
        turn = 0
        while not self._ended.wait(PACE_S):
            turn += 1
            key = f"f-{turn % KEYS}"
            try:
                self.held[key] = self._write(turn, key)
            except (ClientError, BotoCoreError) as error:
                self.errors.append(f"{key}: {error}")
                self.unsure.add(key)
                continue
            self.unsure.discard(key)
            self.count += 1

    def _write(self, turn: int, key: str) -> str | None:
        """What the key holds by it."""
        name, value = {"k": {"S": key}}, str(turn)
        if turn % 11 == 0:
            self._client.delete_item(TableName=FINCHES, Key=name)
            return None
        flock = {"S": f"flock {turn % FLOCKS}"}
        if turn % 3 == 0:
            self._client.update_item(
                TableName=FINCHES,
                Key=name,
                UpdateExpression="SET v = :v, flock = :f",
                ExpressionAttributeValues={":v": {"N": value}, ":f": flock},
            )
            return value
        if turn % 7 == 0:
            over = {"k": {"S": f"over-{turn}"}, "v": {"N": value}, "flock": flock, "until": _OVER}
            self._client.put_item(TableName=FINCHES, Item=over)
        self._client.put_item(TableName=FINCHES, Item={**name, "v": {"N": value}, "flock": flock})
        return value


class Banker(threading.Thread):
    """Moves a coin from one account to another, and looks at all of them at once. receipts: of what was acknowledged. halves: sums that were seen and are none."""

    def __init__(self, number: int, client: Any, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._number, self._client, self._ended, self._random = number, client, stop, Random(number)
        self.receipts: set[str] = set()
        self.looked = 0
        self.errors: list[str] = []
        self.halves: list[int] = []

    @property
    def count(self) -> int:
        return len(self.receipts)

    def run(self) -> None:
        turn = 0
        while not self._ended.wait(PACE_S):
            turn += 1
            act: Callable[[int], None] = self._look if turn % 4 == 0 else self._move
            try:
                act(turn)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":  # another banker was at the same account
                    self.errors.append(str(error))
            except BotoCoreError as error:
                self.errors.append(str(error))

    def _move(self, turn: int) -> None:
        one, other = self._random.sample(accounts(), 2)
        receipt = f"{self._number}-{turn}"
        paper = {"Put": {"TableName": RECEIPTS, "Item": {"k": {"S": receipt}}}}
        self._client.transact_write_items(TransactItems=[_by(one, -1), _by(other, 1), paper])
        self.receipts.add(receipt)

    def _look(self, _: int) -> None:
        asked = [{"Get": {"TableName": table, "Key": {"k": {"S": name}}}} for table, name in accounts()]
        found = self._client.transact_get_items(TransactItems=asked)["Responses"]
        total = sum(int(one["Item"]["n"]["N"]) for one in found)
        self.looked += 1
        if total != EACH * len(accounts()):
            self.halves.append(total)


def _by(account: Account, amount: int) -> dict[str, Any]:
    table, name = account
    values = {":amount": {"N": str(amount)}}
    return {
        "Update": {"TableName": table, "Key": {"k": {"S": name}}, "UpdateExpression": "ADD n :amount", "ExpressionAttributeValues": values}
    }


class Tables:
    """The load on them. connect: a client of everything behind one address, for a service of AWS."""

    def __init__(self, cluster: ClusterOfProcesses, connect: Callable[[str], Any], stop: threading.Event) -> None:
        self._cluster, self._connect = cluster, connect
        make(cluster.client(NODES[0]))
        self.keeper = Keeper(connect("dynamodb"), stop)
        self.bankers = [Banker(number, connect("dynamodb"), stop) for number in range(2)]
        self.threads = (self.keeper, *self.bankers)
        self.splits = 0
        self._moments: list[int] = []
        self._backups: list[str] = []

    def note(self) -> list[str]:
        """A moment to which the accounts are restored in the end, and a backup: each release lists all that there are. Why not, if not."""
        self._moments.append(now_us())
        made = self._cluster.client(NODES[0]).create_backup(TableName=FINCHES, BackupName=f"backup-{len(self._backups)}")
        self._backups.append(made["BackupDetails"]["BackupArn"])
        wrong = []
        for name in NODES:
            found = self._cluster.client(name).list_backups(TableName=FINCHES)["BackupSummaries"]
            listed = sorted(one["BackupArn"] for one in found)
            wrong += [] if listed == sorted(self._backups) else [f"{name} lists {listed} of {len(self._backups)} backups"]
        code, told = self._cluster.cli("backup", "list")
        return wrong + ([] if code == 0 else [f"backup list ended with {code}: {told['unread']} {told['lost']}"])

    def restored(self) -> list[str]:
        """What the accounts held at each noted moment that differs from the sum of all."""
        wrong = []
        for turn, moment in enumerate(self._moments):
            total = 0
            for table in (COINS, NOTES):
                name = f"{table}-{turn}"
                code, told = self._cluster.cli("restore", "run", "--table", table, "--to", name, "--at", rfc3339(moment), timeout=180)
                if (code, told.get("verdict")) != (0, "match"):
                    wrong.append(f"restore of {table} to {rfc3339(moment)} ended with {code}: {told}")
                else:
                    total += sum(int(one["n"]["N"]) for one in _all(self._cluster.client(NODES[0]), name))
            if total != EACH * len(accounts()):
                wrong.append(f"at {rfc3339(moment)} the accounts held {total}")
        return wrong

    def split(self, table: str) -> list[str]:
        """By hand, at half. Why not, if not."""
        code, found = self._cluster.cli("table", "split", table)
        self.splits += code == 0
        return [] if code == 0 else [f"table split {table} ended with {code}: {found}"]

    def split_index(self, *, goes: bool) -> list[str]:
        """goes: whether the cluster's version lets it; else it has to be refused with 4."""
        code, found = self._cluster.cli("table", "split", FINCHES, "--index", INDEX, at=DURABILITY)
        return [] if code == (0 if goes else 4) else [f"the split of an index ended with {code}: {found}"]

    def wrong(self) -> list[str]:
        """What is not as it must be, once nobody writes."""
        client = self._cluster.client(NODES[0])
        until = time.monotonic() + 60
        while (found := self._found(client)) and time.monotonic() < until:  # an index follows, and what is over is taken by and by
            time.sleep(1)
        return found

    def _found(self, client: Any) -> list[str]:
        items = {one["k"]["S"]: one for one in _all(client, FINCHES)}
        found = [
            f"{key} holds {items.get(key)}, acknowledged {value}"
            for key, value in self.keeper.held.items()
            if key not in self.keeper.unsure and (items[key]["v"]["N"] if key in items else None) != value
        ]
        found += [f"{key} is over, and there" for key in items if key.startswith("over-")]
        indexed = {one["k"]["S"]: one for one in _all(client, FINCHES, IndexName=INDEX)}
        found += [f"the index differs from the table: {sorted({*indexed} ^ {*items})}"] if indexed != items else []
        told, broken = self.streamed(FINCHES)
        found += broken + ([f"the stream ends at another state: {sorted({*told} ^ {*items})}"] if told != items else [])
        total = sum(int(one["n"]["N"]) for table in (COINS, NOTES) for one in _all(client, table))
        found += [f"the accounts hold {total}"] if total != EACH * len(accounts()) else []
        found += [f"a transaction was seen by half: {banker.halves[:3]}" for banker in self.bankers if banker.halves]
        kept = {one["k"]["S"] for one in _all(client, RECEIPTS)}
        lost = sorted(one for banker in self.bankers for one in banker.receipts if one not in kept)
        return found + ([f"{len(lost)} transactions are lost: {lost[:3]}"] if lost else [])

    def streamed(self, table: str) -> tuple[dict[str, Any], list[str]]:
        """What a table's stream says that there is, from its beginning on; and records that do not go on from the one before."""
        streams, arn = (
            self._connect("dynamodbstreams"),
            self._cluster.client(NODES[0]).describe_table(TableName=table)["Table"]["LatestStreamArn"],
        )
        left = _shards(streams, arn)
        items: dict[str, Any] = {}
        broken: list[str] = []
        while left:
            # A half is read once what it came of is.
            shard = next(one for one in left if one.get("ParentShardId") not in {other["ShardId"] for other in left})
            left.remove(shard)
            for record in _records(streams, arn, shard["ShardId"]):
                change = record["dynamodb"]
                key = change["Keys"]["k"]["S"]
                if change.get("OldImage") != items.get(key):
                    broken.append(f"of {key} {change['SequenceNumber']} has {change.get('OldImage')}, the one before {items.get(key)}")
                items[key] = change.get("NewImage")
        return {key: item for key, item in items.items() if item is not None}, broken[:3]


def _shards(streams: Any, arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    asked = {"StreamArn": arn}
    while True:
        page = streams.describe_stream(**asked)["StreamDescription"]
        found += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            return found
        asked["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]


def _records(streams: Any, arn: str, shard: str) -> list[dict[str, Any]]:
    """All that a shard has."""
    found: list[dict[str, Any]] = []
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    empty = 0
    while iterator is not None and empty < EMPTY:
        page = streams.get_records(ShardIterator=iterator)
        found += page["Records"]
        iterator, empty = page.get("NextShardIterator"), 0 if page["Records"] else empty + 1
    return found


def _all(client: Any, table: str, **more: Any) -> list[dict[str, Any]]:
    strong = {} if more else {"ConsistentRead": True}
    return [item for page in client.get_paginator("scan").paginate(TableName=table, **strong, **more) for item in page["Items"]]
