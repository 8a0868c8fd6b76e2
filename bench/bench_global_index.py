"""A server with a table that has a global index beside one that has none: what a write costs each, and how old the index's rows are, in one run.

    .venv/bin/python -m bench.bench_global_index [--writers 4] [--seconds 20] [--pause-ms 20]
    .venv/bin/python -m bench.bench_global_index --backfill 1000000 [--writers 4] [--pause-ms 20]

Writers put items of 400 bytes into both tables in turn, each waiting so long between two writes. Beside them a reader writes a marker and asks the index for it until it is there. Prints one JSON object: median
and p99 of writes by table (ms), and of the markers' lag (ms). A ratio of one run; what else runs on the machine is in all of it.

--backfill: a table of so many items of some 100 bytes gets an index: how long until it is ACTIVE, and what single writes to the table cost before and meanwhile. Loading takes most of the time, a million some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.fixtures.process import ScrubjayServer

KEYS: Any = [{"AttributeName": "k", "KeyType": "HASH"}]
INDEX: Any = [{"IndexName": "by-c", "KeySchema": [{"AttributeName": "c", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}]


def create(client: Any, name: str, *, indexed: bool) -> None:
    attributes = [{"AttributeName": one, "AttributeType": "S"} for one in (("k", "c") if indexed else ("k",))]
    more = {"GlobalSecondaryIndexes": INDEX} if indexed else {}
    client.create_table(TableName=name, KeySchema=KEYS, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST", **more)
    while client.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
        time.sleep(0.1)


def quantiles(found: list[float]) -> dict[str, float]:
    found = sorted(found)
    return {
        "count": len(found),
        "median_ms": round(statistics.median(found) * 1e3, 2),
        "p99_ms": round(found[len(found) * 99 // 100] * 1e3, 2),
    }


def load(server: ScrubjayServer, items: int, writers: int) -> None:
    """Put the items in, 25 at a time."""

    def fill(writer: int) -> None:
        client = server.client()
        for first in range(writer * 25, items, writers * 25):
            left: Any = {
                "filled": [
                    {"PutRequest": {"Item": {"k": {"S": f"i{number}"}, "c": {"S": f"c{number % 5_000}"}, "v": {"S": "x" * 60}}}}
                    for number in range(first, min(first + 25, items))
                ]
            }
            while left:
                left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def backfill(items: int, *, writers: int, pause_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = ScrubjayServer(Path(folder) / "data")
        server.start()
        try:
            client = server.client()
            create(client, "filled", indexed=False)
            began = time.monotonic()
            load(server, items, writers)
            loaded_s = time.monotonic() - began
            took: list[float] = []

            def write() -> None:
                start = time.perf_counter()
                client.put_item(TableName="filled", Item={"k": {"S": f"beside-{len(took)}"}, "c": {"S": "beside"}})
                took.append(time.perf_counter() - start)
                time.sleep(pause_s)

            for _ in range(200):
                write()
            before, took = took, []
            update = {"Create": {**INDEX[0]}}
            attributes = [{"AttributeName": one, "AttributeType": "S"} for one in ("k", "c")]
            client.update_table(TableName="filled", AttributeDefinitions=attributes, GlobalSecondaryIndexUpdates=[update])
            began = time.monotonic()
            while client.describe_table(TableName="filled")["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] != "ACTIVE":
                write()
            filled_s = time.monotonic() - began
        finally:
            server.kill()
    return {
        "items": items,
        "load_s": round(loaded_s, 1),
        "backfill_s": round(filled_s, 1),
        "items_per_s": round(items / filled_s),
        "writes_before": quantiles(before),
        "writes_meanwhile": quantiles(took),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bench_global_index", description="What a global index costs, and how far behind it is."
    )
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pause-ms", type=float, default=20.0)
    parser.add_argument("--backfill", type=int, metavar="ITEMS", help="of a table that gets an index afterwards, instead of all else")
    asked = parser.parse_args()
    if asked.backfill is not None:
        print(json.dumps(backfill(asked.backfill, writers=asked.writers, pause_s=asked.pause_ms / 1e3)))
        return 0
    took: dict[str, list[float]] = {"plain": [], "indexed": []}
    lags: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        server = ScrubjayServer(Path(folder) / "data")
        server.start()
        try:
            client = server.client()
            create(client, "plain", indexed=False)
            create(client, "indexed", indexed=True)
            end = time.monotonic() + asked.seconds

            def write(writer: int) -> None:
                mine, number = server.client(), 0
                while time.monotonic() < end:
                    number += 1
                    name = ("plain", "indexed")[number % 2]
                    item = {"k": {"S": f"{writer}-{number % 2000}"}, "c": {"S": f"c{number % 50}"}, "v": {"S": "x" * 400}}
                    began = time.perf_counter()
                    mine.put_item(TableName=name, Item=item)
                    took[name].append(time.perf_counter() - began)
                    time.sleep(asked.pause_ms / 1e3)

            writers = [threading.Thread(target=write, args=(number,)) for number in range(asked.writers)]
            for thread in writers:
                thread.start()
            number = 0
            while time.monotonic() < end:
                number += 1
                value = {":c": {"S": f"marker-{number}"}}
                client.put_item(TableName="indexed", Item={"k": {"S": "marker"}, "c": value[":c"]})
                began = time.perf_counter()
                while not client.query(
                    TableName="indexed", IndexName="by-c", KeyConditionExpression="c = :c", ExpressionAttributeValues=value
                )["Items"]:
                    pass
                lags.append(time.perf_counter() - began)
            for thread in writers:
                thread.join()
        finally:
            server.kill()
    print(json.dumps({**{name: quantiles(found) for name, found in took.items()}, "lag": quantiles(lags)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
