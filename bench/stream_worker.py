"""A worker of a stream's readers as the Kinesis client library has them, with nothing of this repository: leases of shards in a table, checkpoints in them, parents before children.

    python bench/stream_worker.py --name NAME --endpoint URL --arn ARN --leases TABLE --log FILE [--lease-s 4]

A lease is a row for each shard: its owner, a counter that the owner moves, and the checkpoint. One whose counter stands still for `--lease-s` is anybody's; who has more than its share takes
no more. What is read is written to FILE, a line of JSON for each record, before it is checkpointed; so a worker that is killed leaves what it read, and another one reads again what was not
checkpointed yet: at least once, as there. Runs until it is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

END = "SHARD_END"
BEGINNING = "TRIM_HORIZON"
SYNC_S = 1.0
"""Between two looks at leases and shards."""
CHECKPOINT_S = 0.5
IDLE_S = 0.1
RECORDS = 200
"""Asked for at once."""


def connect(endpoint: str, service: str) -> Any:
    """Of default retries."""
    return boto3.client(  # type: ignore[call-overload,unused-ignore]
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(connect_timeout=2, read_timeout=15),
    )


class Lines:
    """What this worker leaves behind: a call of the system for each batch, so that a kill takes none of it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, lines: list[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(line, sort_keys=True).encode() + b"\n" for line in lines)
        while data:
            data = data[os.write(self._file, data) :]


def shown(record: dict[str, Any], session: str, shard: str) -> dict[str, Any]:
    """The line of a record."""
    change = record["dynamodb"]
    return {
        "session": session,
        "shard": shard,
        "seq": change["SequenceNumber"],
        "event": record["eventName"],
        "key": change["Keys"],
        "old": change.get("OldImage"),
        "new": change.get("NewImage"),
        "service": record.get("userIdentity", {}).get("PrincipalId"),
        "at": time.time(),
    }


class Held:
    """A lease of ours. last: sequence number read last; done: its shard was read to its end."""

    def __init__(self, shard: str, counter: int, checkpoint: str, session: str) -> None:
        self.shard, self.counter, self.session = shard, counter, session
        self.checkpoint = self.last = checkpoint
        self.iterator: str | None = None
        self.done = False
        self.noted = time.monotonic()


class Worker:
    def __init__(self, name: str, endpoint: str, arn: str, leases: str, log: str, lease_s: float) -> None:
        self._name, self._arn, self._table, self._lease_s = name, arn, leases, lease_s
        self._db, self._streams = connect(endpoint, "dynamodb"), connect(endpoint, "dynamodbstreams")
        self._lines = Lines(log)
        self._held: dict[str, Held] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        """Of each lease the counter, and since when it stands there."""
        self._sessions = 0

    def run(self) -> None:
        synced = 0.0
        while True:
            try:
                if time.monotonic() - synced >= SYNC_S:
                    self._sync()
                    synced = time.monotonic()
                read = [self._read(held) for held in list(self._held.values())]
            except (ClientError, BotoCoreError) as error:
                code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
                self._lines.add([{"error": code, "worker": self._name, "words": str(error)[:300]}])
                read = []
            if not any(read):
                time.sleep(IDLE_S)

    # ------------------------------------------------------------------ leases

    def _sync(self) -> None:
        known = {row["leaseKey"]["S"]: row for row in self._rows()}
        for shard in self._shards():
            if shard["ShardId"] not in known:
                row = {
                    "leaseKey": {"S": shard["ShardId"]},
                    "leaseOwner": {"S": ""},
                    "leaseCounter": {"N": "0"},
                    "checkpoint": {"S": BEGINNING},
                }
                row["parent"] = {"S": shard.get("ParentShardId", "")}
                self._maybe(self._db.put_item, Item=row, ConditionExpression="attribute_not_exists(leaseKey)")
                known[shard["ShardId"]] = row
        for held in list(self._held.values()):
            self._renew(held)
        now, open_ = time.monotonic(), []
        for name, row in known.items():
            counter = int(row["leaseCounter"]["N"])
            if self._seen.get(name, (None, 0.0))[0] != counter:
                self._seen[name] = counter, now
            parent = known.get(row["parent"]["S"])
            if row["checkpoint"]["S"] != END and (parent is None or parent["checkpoint"]["S"] == END):
                open_.append(row)
        owners = {row["leaseOwner"]["S"] for row in open_ if not self._is_free(row, now)} | {self._name}
        share = -(-len(open_) // len(owners))
        for row in open_:
            if len(self._held) < share and row["leaseKey"]["S"] not in self._held and self._is_free(row, now):
                self._take(row)

    def _is_free(self, row: dict[str, Any], now: float) -> bool:
        return not row["leaseOwner"]["S"] or now - self._seen[row["leaseKey"]["S"]][1] >= self._lease_s

    def _rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in self._db.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            found += page["Items"]
        return found

    def _shards(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            page = self._streams.describe_stream(StreamArn=self._arn, Limit=2, **more)["StreamDescription"]
            found += page["Shards"]
            if "LastEvaluatedShardId" not in page:
                return found
            more = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}

    def _take(self, row: dict[str, Any]) -> None:
        shard, counter = row["leaseKey"]["S"], int(row["leaseCounter"]["N"])
        if self._change(shard, counter, "SET #o = :me", {":me": {"S": self._name}}, owner=row["leaseOwner"]["S"]):
            self._sessions += 1
            session = f"{self._name}/{self._sessions}"
            self._held[shard] = Held(shard, counter + 1, row["checkpoint"]["S"], session)
            self._lines.add([{"session": session, "shard": shard, "from": row["checkpoint"]["S"], "owner": row["leaseOwner"]["S"]}])

    def _renew(self, held: Held) -> None:
        if self._change(held.shard, held.counter, "SET", {}, owner=self._name):
            held.counter += 1
        else:
            del self._held[held.shard]

    def _checkpoint(self, held: Held, at: str) -> None:
        if self._change(held.shard, held.counter, "SET checkpoint = :c", {":c": {"S": at}}, owner=self._name):
            held.counter += 1
            held.checkpoint, held.noted = at, time.monotonic()
        else:
            del self._held[held.shard]

    def _change(self, shard: str, counter: int, what: str, values: dict[str, Any], *, owner: str) -> bool:
        """Move the counter on, if nobody else did."""
        return self._maybe(
            self._db.update_item,
            Key={"leaseKey": {"S": shard}},
            UpdateExpression=f"{what}{' ' if what == 'SET' else ', '}#n = :next",
            ConditionExpression="#o = :owner AND #n = :now",
            ExpressionAttributeNames={"#o": "leaseOwner", "#n": "leaseCounter"},
            ExpressionAttributeValues={
                ":owner": {"S": owner},
                ":now": {"N": str(counter)},
                ":next": {"N": str(counter + 1)},
                **values,
            },
        )

    def _maybe(self, call: Any, **arguments: Any) -> bool:
        """False: its condition failed."""
        try:
            call(TableName=self._table, **arguments)
        except self._db.exceptions.ConditionalCheckFailedException:
            return False
        return True

    # ------------------------------------------------------------------ records

    def _read(self, held: Held) -> int:
        if held.done:
            self._checkpoint(held, END)
            self._held.pop(held.shard, None)
            return 1
        try:
            if held.iterator is None:
                held.iterator = self._iterator(held)
            page = self._streams.get_records(ShardIterator=held.iterator, Limit=RECORDS)
        except self._streams.exceptions.ExpiredIteratorException:
            held.iterator = None
            return 1
        except self._streams.exceptions.TrimmedDataAccessException as error:
            self._lines.add([{"fault": f"trimmed: {error}", "shard": held.shard, "last": held.last}])
            raise
        records = page["Records"]
        self._lines.add([shown(record, held.session, held.shard) for record in records])
        if records:
            held.last = records[-1]["dynamodb"]["SequenceNumber"]
        held.iterator = page.get("NextShardIterator")
        held.done = held.iterator is None
        if held.last != held.checkpoint and time.monotonic() - held.noted >= CHECKPOINT_S:
            self._checkpoint(held, held.last)
        return len(records)

    def _iterator(self, held: Held) -> str:
        asked: dict[str, Any] = {"StreamArn": self._arn, "ShardId": held.shard}
        if held.last == BEGINNING:
            asked["ShardIteratorType"] = BEGINNING
        else:
            asked |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": held.last}
        found: str = self._streams.get_shard_iterator(**asked)["ShardIterator"]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("name", "endpoint", "arn", "leases", "log"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--lease-s", type=float, default=4.0)
    asked = parser.parse_args()
    Worker(asked.name, asked.endpoint, asked.arn, asked.leases, asked.log, asked.lease_s).run()


if __name__ == "__main__":
    main()
