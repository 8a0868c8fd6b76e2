"""For how long nobody writes when something befalls a node of a real cluster of four processes: p50 and worst of n, per fault.

    python -m bench.bench_failover [--times 5] [--faults kill,stop,restart] [--folder DIR]

Six writers, each with a boto3 client of default retries behind an address that goes to whichever node takes the connection. A fault
befalls the node that leads the table: `kill` (SIGKILL, and started again once writes are back), `stop` (SIGSTOP for eight seconds),
`restart` (SIGTERM, started again when it is gone). The gap of a fault is the longest time of a writer between two acknowledged writes
around it; one whose connection goes to a node that is stopped waits for that node, or for its own patience. An error that a client does
not get over is counted, and what was acknowledged is read back strongly at the end: exit code 2 if some of it is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.fixtures.cluster import DURABILITY, NODES, ClusterOfProcesses
from tests.fixtures.ports import free_ports
from tests.fixtures.wait import wait_for

TABLE = "birds"
WRITERS = 6
STOPPED_S = 8.0
SETTLE_S = 6.0
"""After a fault, before the next: the node is up again and has caught up."""
PIECE = 64 << 10


class Front(threading.Thread):
    """An address in front of all nodes: each connection goes to the next node that takes it."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        (self.port,) = free_ports(1)
        self._ports, self._turn = ports, 0

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)
        async with server:
            await server.serve_forever()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            self._turn += 1
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", self._ports[self._turn % len(self._ports)])
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
                return
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()


class Writer(threading.Thread):
    """gaps: when an acknowledged write came and how long after the one before. perhaps: what may have been written."""

    def __init__(self, number: int, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._client = client(port)
        self._number, self._ended = number, stop
        self.acked: dict[str, int] = {}
        self.perhaps: dict[str, set[int]] = {}
        self.gaps: list[tuple[float, float]] = []
        self.errors: list[str] = []

    def run(self) -> None:
        count, last = 0, time.monotonic()
        while not self._ended.is_set():
            count += 1
            key = f"{self._number}-{count % 50}"
            try:
                self._client.put_item(TableName=TABLE, Item={"k": {"S": key}, "v": {"N": str(count)}})
            except (ClientError, BotoCoreError) as error:
                self.errors.append(str(error))
                self.perhaps.setdefault(key, set()).add(count)
                continue
            now = time.monotonic()
            self.gaps.append((now, now - last))
            self.acked[key], self.perhaps[key], last = count, set(), now
            time.sleep(0.002)

    def gap(self, since: float, until: float) -> float:
        return max((gap for at, gap in self.gaps if since <= at and at - gap <= until), default=until - since)


def client(port: int) -> boto3.client:  # type: ignore[valid-type,unused-ignore]
    """Of default retries."""
    return boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(connect_timeout=2, read_timeout=15),
    )


def befall(cluster: ClusterOfProcesses, fault: str, name: str) -> None:
    """The fault, and its end: the node is ready again."""
    if fault == "stop":
        cluster.processes[name].send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        cluster.processes[name].send_signal(signal.SIGCONT)
        return
    if fault == "kill":
        cluster.kill(name)
        time.sleep(SETTLE_S)
    elif cluster.stop(name) != 0:
        print(f"{name} left something unarchived", file=sys.stderr)
    cluster.spawn(name)
    cluster.ready(name)


def leader(cluster: ClusterOfProcesses) -> str:
    found: list[str] = []

    def led() -> bool:
        _, status = cluster.cli("cluster", "status")
        found[:] = [one["leader"] for one in status["partitions"] if one["table"] == TABLE and one["leader"]]
        return bool(found)

    wait_for(led, timeout=60)
    return found[0]


def lost(cluster: ClusterOfProcesses, writers: list[Writer]) -> int:
    pages = cluster.client(NODES[0]).get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    found = {item["k"]["S"]: int(item["v"]["N"]) for page in pages for item in page["Items"]}
    return sum(
        found.get(key) != count and found.get(key) not in writer.perhaps[key] for writer in writers for key, count in writer.acked.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--faults", default="kill,stop,restart")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(ClusterOfProcesses(folder))
        for name in (*NODES, DURABILITY):
            cluster.spawn(name)
        wait_for(lambda: cluster.cli("cluster", "init")[0] == 0, timeout=90)
        for name in (*NODES, DURABILITY):
            cluster.ready(name)
        cluster.client("n1").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        cluster.client("n1").get_waiter("table_exists").wait(TableName=TABLE)
        front, stop = Front([cluster.api[name] for name in NODES]), threading.Event()
        front.start()
        time.sleep(0.3)
        writers = [Writer(number, front.port, stop) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(SETTLE_S)
        for fault in asked.faults.split(","):
            worst, half = [], []
            for _ in range(asked.times):
                name, began = leader(cluster), time.monotonic()
                befall(cluster, fault, name)
                time.sleep(SETTLE_S)
                ended = time.monotonic()
                gaps = [writer.gap(began, ended) for writer in writers]
                worst.append(max(gaps))
                half.append(statistics.median(gaps))
            errors = sum(len(writer.errors) for writer in writers)
            told = ", ".join(f"{gap:.2f}" for gap in worst)
            print(
                f"{fault}, n {len(worst)}: half of the writers p50 {statistics.median(half):.2f} s, worst {max(half):.2f} s; "
                f"all p50 {statistics.median(worst):.2f} s, worst {max(worst):.2f} s ({told}); errors of clients so far: {errors}",
                flush=True,
            )
        stop.set()
        for writer in writers:
            writer.join(60)
        missing = lost(cluster, writers)
        print(f"acknowledged {sum(len(writer.gaps) for writer in writers)}, lost or wrong {missing}")
        return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
