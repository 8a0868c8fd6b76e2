"""For how long writes wait when a partition becomes two: the slowest put of each of n splits, under a steady load, of a real cluster of four processes or of `serve --dev`.

    python -m bench.bench_split [--dev] [--splits 20] [--rate 200] [--items 2000] [--item-bytes 900] [--folder DIR]

A put is sent every 1/rate seconds through the nodes in turn, whether those before were answered or not, and its time counts from when it was due. Meanwhile the largest partition of the table is split, again and
again, with a second of rest in between. A put belongs to a split if it was due between half a second before the command and half a second after its answer.

Prints one JSON object: the slowest put of each split, p50 and p99 of all puts within splits and of those outside, and what the cluster itself says that writes waited. Exit code: 2 if a put failed or is not there at the
end, 3 if the slowest put of some split is beyond the goal (200 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.bench_failover import Address, wait_for_all
from bench.bench_requests import request
from scrubjay.client import AdminClient
from scrubjay.progress import SilentProgress
from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.process import ScrubjayServer

TABLE = "birds"
GOAL_S = 0.2
REST_S = 1.0
AROUND_S = 0.5
PATIENCE_S = 20.0


class Put(NamedTuple):
    """due: monotonic. took: seconds from then on. status: of HTTP, or what went wrong."""

    due: float
    took: float
    status: str


class Load:
    """One put after the other, at a steady rate, on connections that are kept. acked: the highest number acknowledged of each key."""

    def __init__(self, nodes: list[Address], *, items: int, item_bytes: int) -> None:
        self._nodes, self._items, self._filler = nodes, items, "x" * item_bytes
        self._idle: dict[Address, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {node: [] for node in nodes}
        self.puts: list[Put] = []
        self.acked: dict[str, int] = {}
        self._count = 0

    async def run(self, rate: float) -> None:
        kept: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            task = asyncio.create_task(self.put(due))
            kept.add(task)
            task.add_done_callback(kept.discard)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def put(self, due: float) -> None:
        self._count += 1
        count, node = self._count, self._nodes[self._count % len(self._nodes)]
        key = f"k{count % self._items:08d}"
        body = {"TableName": TABLE, "Item": {"k": {"S": key}, "v": {"N": str(count)}, "pad": {"S": self._filler}}}
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await self._sent(node, request("PutItem", json.dumps(body).encode()))
        except (OSError, TimeoutError, EOFError) as error:
            status = type(error).__name__
        self.puts.append(Put(due, time.monotonic() - due, status))
        if status == "200":
            self.acked[key] = max(count, self.acked.get(key, 0))

    async def _sent(self, node: Address, data: bytes) -> str:
        reader, writer = self._idle[node].pop() if self._idle[node] else await asyncio.open_connection(*node)
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._idle[node].append((reader, writer))
        return head.split(b" ", 2)[1].decode()


async def measured(nodes: list[Address], admin: AdminClient, asked: argparse.Namespace) -> tuple[Load, list[tuple[float, float]]]:
    """The load, and when each split began and was over."""
    load = Load(nodes, items=asked.items, item_bytes=asked.item_bytes)
    for at in range(0, asked.items, 50):
        await asyncio.gather(*(load.put(time.monotonic()) for _ in range(at, min(at + 50, asked.items))))
    load.puts.clear()
    going = asyncio.create_task(load.run(asked.rate))
    await asyncio.sleep(3 * REST_S)
    splits = []
    for number in range(asked.splits):
        began = time.monotonic()
        found = await asyncio.to_thread(admin.run_job, "table/split", {"table": TABLE, "at": None}, SilentProgress())
        splits.append((began, time.monotonic()))
        print(f"split {number + 1}: {found['seconds']} s", file=sys.stderr, flush=True)
        await asyncio.sleep(REST_S)
    going.cancel()
    await asyncio.sleep(1.0)
    return load, splits


def report(load: Load, splits: list[tuple[float, float]]) -> dict[str, Any]:
    within = [[put for put in load.puts if began - AROUND_S <= put.due <= ended + AROUND_S] for began, ended in splits]
    known = {put for puts in within for put in puts}
    slowest = [max(put.took for put in puts) for puts in within]
    return {
        "splits": len(splits),
        "puts": len(load.puts),
        "failed": [put.status for put in load.puts if put.status != "200"][:10],
        "slowest_ms": [round(1e3 * seconds) for seconds in slowest],
        "slowest_p50_ms": round(1e3 * statistics.median(slowest)),
        "slowest_worst_ms": round(1e3 * max(slowest)),
        "in_splits_ms": _quantiles([put.took for put in known]),
        "outside_ms": _quantiles([put.took for put in load.puts if put not in known]),
    }


def _quantiles(seconds: list[float]) -> dict[str, float]:
    found = sorted(seconds) or [0.0]
    return {
        name: round(1e3 * found[min(int(len(found) * part), len(found) - 1)], 1)
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }


def lacking(client: Any, load: Load) -> int:
    """How many acknowledged puts are not there, nor a later one of the same key."""
    pages = client.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    found = {item["k"]["S"]: int(item["v"]["N"]) for page in pages for item in page["Items"]}
    return sum(found.get(key, 0) < count for key, count in load.acked.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="one process with three nodes, in place of four processes")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--rate", type=float, default=200.0, metavar="PER_SECOND")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--item-bytes", type=int, default=900)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if asked.dev:
            server = stack.enter_context(ScrubjayServer(folder / "data"))
            client, url, nodes = server.client(), server.url, [("127.0.0.1", server.port)]
            client.create_table(
                TableName=TABLE,
                KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1})
        else:
            cluster = stack.enter_context(ClusterOfProcesses(folder))
            for name in (*NODES, DURABILITY):
                cluster.spawn(name)
            wait_for_all(cluster)
            client, url, nodes = (
                cluster.client(NODES[0]),
                cluster.url(DURABILITY),
                [(cluster.host(name), cluster.api[name]) for name in NODES],
            )
        load, splits = asyncio.run(measured(nodes, AdminClient(url), asked))
        found = report(load, splits) | {"lacking": lacking(client, load)}
        log = server.log if asked.dev else cluster.log(DURABILITY)
        waited = (
            [line.rsplit("writes waited for ", 1)[1].split()[0] for line in log.read_text().splitlines() if "writes waited for" in line]
            if log.exists()
            else []
        )
        print(json.dumps(found | {"said_ms": [round(1e3 * float(one)) for one in waited]}))
    if found["failed"] or found["lacking"]:
        return 2
    return 3 if found["slowest_worst_ms"] > 1e3 * GOAL_S else 0


if __name__ == "__main__":
    sys.exit(main())
