"""A reader of a stream by bloop's own stream reader (`bloop.stream`), with nothing of this repository: it runs in an environment of bloop's own (bench/bloop.lock).

    python bench/stream_bloop.py --name NAME --endpoint URL --arn ARN --leases TABLE --log FILE

Merges all shards by time, and keeps its place as one token, which is put into the table of leases after what was read is in FILE (lines as of bench/stream_worker.py, with which it shares
them). Runs until it is killed.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from bloop.exceptions import BloopException
from bloop.session import SessionWrapper
from bloop.stream.coordinator import Coordinator
from stream_worker import CHECKPOINT_S, IDLE_S, Lines, connect

PLACE = {"leaseKey": {"S": "token"}}


class Reader:
    def __init__(self, name: str, endpoint: str, arn: str, table: str, log: str) -> None:
        self._name, self._arn, self._table = name, arn, table
        self._db = connect(endpoint, "dynamodb")
        self._session = SessionWrapper(dynamodb=self._db, dynamodbstreams=connect(endpoint, "dynamodbstreams"))
        self._lines = Lines(log)
        self._lives = 0

    def run(self) -> None:
        while True:
            try:
                self._life()
            except BloopException as error:  # of a request that its retries did not get through: from the token again
                self._lines.add([{"error": type(error).__name__, "worker": self._name}])
                time.sleep(IDLE_S)
            except Exception as error:
                self._lines.add([{"error": type(error).__name__, "worker": self._name}])
                time.sleep(IDLE_S)

    def _life(self) -> None:
        self._lives += 1
        session = f"{self._name}/{self._lives}"
        coordinator = Coordinator(session=self._session, stream_arn=self._arn)
        row = self._db.get_item(TableName=self._table, Key=PLACE, ConsistentRead=True).get("Item")
        coordinator.move_to("trim_horizon" if row is None else json.loads(row["place"]["S"]))
        self._lines.add([{"session": session, "from": "TRIM_HORIZON" if row is None else "token"}])
        noted, beaten, fresh = time.monotonic(), time.monotonic(), False
        while True:
            record = next(coordinator)
            now = time.monotonic()
            if record is not None:
                self._lines.add([line(record, session)])
                fresh = True
            if fresh and (record is None or now - noted >= CHECKPOINT_S):
                self._db.put_item(TableName=self._table, Item={**PLACE, "place": {"S": json.dumps(coordinator.token)}})
                noted, fresh = now, False
            if now - beaten >= 60:
                coordinator.heartbeat()
                beaten = now
            if record is None:
                time.sleep(IDLE_S)


def line(record: dict[str, Any], session: str) -> dict[str, Any]:
    """It says no shard and no identity; a sequence number is of its key's shard all the same."""
    meta = record["meta"]
    return {
        "session": session,
        "shard": "",
        "seq": meta["sequence_number"],
        "event": meta["event"]["type"].upper(),
        "key": record["key"],
        "old": record["old"],
        "new": record["new"],
        "service": None,
        "at": time.time(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("name", "endpoint", "arn", "leases", "log"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    Reader(asked.name, asked.endpoint, asked.arn, asked.leases, asked.log).run()


if __name__ == "__main__":
    main()
