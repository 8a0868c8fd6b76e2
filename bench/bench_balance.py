"""What becomes of a cluster that grows: three node processes with a dozen tables are joined by three more, while clients write with what boto3 tries again by itself.

    python -m bench.bench_balance [--tables 12] [--items 1500] [--item-bytes 900] [--writers 2] [--after 10s] [--patience 300] [--folder DIR]

Prints who holds and leads how much before the join, each time that it changes, and at rest, and one JSON object at the end: seconds from the last join until all rested, and the slowest put before, meanwhile and afterwards.
`--off`: the negative control, with nothing evened out. Exit code: 2 if a client saw an error or something acknowledged is not there, 3 if nodes of one zone do not hold alike, or no one node leads more than two above another, at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.wait import wait_for

JOIN = {"n4": "z0", "n5": "z1", "n6": "z2"}
QUIET_S = 12.0
"""Nothing has moved for so long: it rests."""


class Stand(NamedTuple):
    """By node: copies, and leads."""

    held: dict[str, int]
    led: dict[str, int]
    moving: tuple[str, ...]
    why: tuple[str | None, str | None]

    def __str__(self) -> str:
        return (
            " ".join(f"{node}:{self.held[node]}/{self.led[node]}" for node in sorted(self.held))
            + f"  {', '.join(self.moving)} {' '.join(each for each in self.why if each)}"
        )


class Writer(threading.Thread):
    """Puts ever higher numbers under keys of its own into every table in turn, through the founding nodes in turn."""

    def __init__(self, cluster: ClusterOfProcesses, tables: list[str], number: int) -> None:
        super().__init__(daemon=True)
        self._clients = [cluster.client(name, tries=10) for name in NODES]
        self._tables, self._number = tables, number
        self.done = False
        self.acked: dict[tuple[str, str], int] = {}
        self.errors: list[str] = []
        self.took: list[tuple[float, float]] = []

    def run(self) -> None:
        count = 0
        while not self.done:
            count += 1
            table, key = self._tables[count % len(self._tables)], f"w{self._number}-{count % 40}"
            began = time.monotonic()
            try:
                self._clients[count % len(self._clients)].put_item(TableName=table, Item={"k": {"S": key}, "v": {"N": str(count)}})
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            else:
                self.acked[table, key] = count
            self.took.append((began, time.monotonic() - began))
            time.sleep(0.01)


def stand(cluster: ClusterOfProcesses) -> Stand:
    status = cluster.asked("cluster/status")
    held: Counter[str] = Counter({one["node"]: 0 for one in status["nodes"]})
    led: Counter[str] = Counter({one["node"]: 0 for one in status["nodes"]})
    for one in status["partitions"]:
        held.update(copy["node"] for copy in one["members"])
        led.update([] if one["leader"] is None else [one["leader"]])
    balance = status["balance"]
    return Stand(
        dict(held),
        dict(led),
        tuple([f"{one['from']} to {one['to']}: {one['left']}" for one in balance["moving"]]),
        (balance["copies"], balance["leaders"]),
    )


def fill(cluster: ClusterOfProcesses, tables: list[str], items: int, item_bytes: int) -> None:
    client = cluster.client("n1")
    for table in tables:
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    for table in tables:
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
        for first in range(0, items, 25):
            puts = [
                {"PutRequest": {"Item": {"k": {"S": f"k{key}"}, "pad": {"S": "x" * item_bytes}}}}
                for key in range(first, min(items, first + 25))
            ]
            while puts:
                puts = client.batch_write_item(RequestItems={table: puts})["UnprocessedItems"].get(table, [])


def rests(cluster: ClusterOfProcesses, patience_s: float) -> tuple[Stand, float]:
    """How all stands once nothing has moved for a while, and when the last move was seen (monotonic)."""
    last, at, until = stand(cluster), time.monotonic(), time.monotonic() + patience_s
    while time.monotonic() < until:
        time.sleep(0.5)
        now = stand(cluster)
        if now[:3] != last[:3]:
            print(f"{time.monotonic() - until + patience_s:6.1f} s  {now}", flush=True)
            last, at = now, time.monotonic()
        elif not now.moving and not any(now.why) and time.monotonic() - at >= QUIET_S:
            break
        last = now
    return last, at


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=12)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--item-bytes", type=int, default=900)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--after", default="10s")
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--off", action="store_true")
    parser.add_argument("--folder")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return _run(given, Path(folder))


def _run(given: argparse.Namespace, folder: Path) -> int:
    tables = [f"t{number:02}" for number in range(given.tables)]
    off = "balance_copies = false\nbalance_leaders = false\n" if given.off else ""
    with ClusterOfProcesses(
        folder, spares=JOIN, settings="[tables]\ninitial_partitions = 1\n", balance_after=given.after, cluster_settings=off
    ) as cluster:
        for name in (*NODES, DURABILITY):
            cluster.spawn(name)
        wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=60)
        for name in (*NODES, DURABILITY):
            cluster.ready(name)
        fill(cluster, tables, given.items, given.item_bytes)
        before, _ = rests(cluster, given.patience / 3)
        print(f"before    {before}", flush=True)
        writers = [Writer(cluster, tables, number) for number in range(given.writers)]
        for writer in writers:
            writer.start()
        time.sleep(5)
        for name in JOIN:
            cluster.spawn(name)
        for name in JOIN:
            code, told = cluster.cli("cluster", "join", name)
            assert code == 0, told
        joined = time.monotonic()
        print("joined    ", ", ".join(JOIN), flush=True)
        after, at = rests(cluster, given.patience)
        print(f"at rest   {after}", flush=True)
        rested = max(at, joined)
        time.sleep(3)
        for writer in writers:
            writer.done = True
        for writer in writers:
            writer.join()
        errors = [error for writer in writers for error in writer.errors]
        lost = _lost(cluster, tables, writers, given.items)
        took = [each for writer in writers for each in writer.took]
        slowest = {
            name: round(max((took_s for began, took_s in took if first <= began < end), default=0.0), 3)
            for name, first, end in (("before", 0.0, joined), ("meanwhile", joined, rested), ("afterwards", rested, float("inf")))
        }
        report: dict[str, Any] = {
            "held": {"before": before.held, "after": after.held},
            "led": {"before": before.led, "after": after.led},
            "seconds": round(rested - joined, 1),
            "puts": len(took),
            "slowest_put_s": slowest,
            "errors": errors[:5],
            "lost": lost[:5],
        }
        print(json.dumps(report))
        pairs = zip(NODES, JOIN, strict=True)
        alike = (
            all(abs(after.held[old] - after.held[new]) <= 2 for old, new in pairs)
            and max(after.led.values()) - min(after.led.values()) <= 2
        )
        return 2 if errors or lost else 0 if alike else 3


def _lost(cluster: ClusterOfProcesses, tables: list[str], writers: list[Writer], items: int) -> list[str]:
    """What was acknowledged and is not there, read strongly through a node that joined."""
    client, found = cluster.client("n5"), []
    for writer in writers:
        for (table, key), count in writer.acked.items():
            item = client.get_item(TableName=table, Key={"k": {"S": key}}, ConsistentRead=True).get("Item")
            if item is None or int(item["v"]["N"]) < count:
                found.append(f"{table} {key} {count}")
    for table in tables:
        pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, ProjectionExpression="k")
        keys = {item["k"]["S"] for page in pages for item in page["Items"]}
        found += [f"{table} k{number}" for number in range(items) if f"k{number}" not in keys]
    return found


if __name__ == "__main__":
    sys.exit(main())
