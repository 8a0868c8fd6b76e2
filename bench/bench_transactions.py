"""What a transaction costs beside the single writes that it replaces: N items over two tables by one TransactWriteItems, and by N PutItems at once, on one server in turn.

    .venv/bin/python -m bench.bench_transactions [--items 4] [--clients 1 16] [--seconds 3] [--rounds 3] [--item-bytes 400]

Each client waits for all of one unit (N items) before it begins the next; no two clients write the same item. Starts its own `serve --dev`, whose writes are durable on three nodes, with two partitions by table.
The two kinds take turns, `rounds` times. Prints one JSON object: units per second and their median and p99 (ms) by kind and clients, and the ratios of the two kinds; "cost" is the units per second of the
single writes over those of transactions. Three is the most that is allowed. A ratio of one run: what else runs on the machine is in both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import uvloop

from bench.bench_requests import call, request

TABLES = ("left", "right")


class Wire:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, operation: str, body: dict[str, Any]) -> None:
        """Raises RuntimeError for anything but success."""
        self._writer.write(request(operation, json.dumps(body).encode()))
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        said = await self._reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r")[0]))
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(said.decode(errors="replace"))

    def close(self) -> None:
        self._writer.close()


def unit_of(client: int, turn: int, items: int, item_bytes: int) -> list[tuple[str, dict[str, Any]]]:
    """(table, item) of each write: spread over the tables, and by their keys over the partitions."""
    filler = {"S": "x" * item_bytes}
    return [(TABLES[at % len(TABLES)], {"k": {"S": f"{client}-{turn % 500}-{at}"}, "v": filler}) for at in range(items)]


async def worker(port: int, client: int, kind: str, until: float, options: argparse.Namespace, took: list[float]) -> None:
    wires = [await Wire.open(port) for _ in range(options.items if kind == "single" else 1)]
    turn = 0
    while time.perf_counter() < until:
        turn += 1
        unit = unit_of(client, turn, options.items, options.item_bytes)
        began = time.perf_counter()
        if kind == "single":
            await asyncio.gather(
                *[wire.ask("PutItem", {"TableName": name, "Item": item}) for wire, (name, item) in zip(wires, unit, strict=True)]
            )
        else:
            await wires[0].ask("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": name, "Item": item}} for name, item in unit]})
        took.append(time.perf_counter() - began)
    for wire in wires:
        wire.close()


async def measure(port: int, options: argparse.Namespace) -> dict[str, Any]:
    for name in TABLES:
        keys = {
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        }
        await call(port, "CreateTable", {"TableName": name, "BillingMode": "PAY_PER_REQUEST", **keys})
        while (await call(port, "DescribeTable", {"TableName": name}))["Table"]["TableStatus"] != "ACTIVE":  # type: ignore[index]
            await asyncio.sleep(0.1)
    for kind in ("single", "transaction"):  # the ledger is made by the first one
        await worker(port, 0, kind, time.perf_counter() + 0.5, options, [])
    found: dict[str, Any] = {"shape": {name: getattr(options, name) for name in ("items", "seconds", "rounds", "item_bytes")}}
    for clients in options.clients:
        took: dict[str, list[float]] = {"single": [], "transaction": []}
        seconds = dict.fromkeys(took, 0.0)
        for _ in range(options.rounds):
            for kind, times in took.items():
                began = time.perf_counter()
                until = began + options.seconds
                await asyncio.gather(*[worker(port, client, kind, until, options, times) for client in range(clients)])
                seconds[kind] += time.perf_counter() - began
        said: dict[str, Any] = {}
        for kind, times in took.items():
            times.sort()
            said[kind] = {
                "units_per_second": round(len(times) / seconds[kind], 1),
                "p50_ms": round(statistics.median(times) * 1e3, 2),
                "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 2),
            }
        one, other = said["single"], said["transaction"]
        said["cost"] = round(one["units_per_second"] / other["units_per_second"], 2)
        said["p50_ratio"] = round(other["p50_ms"] / one["p50_ms"], 2)
        found[f"{clients} clients"] = said
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bench_transactions", description="What a transaction costs beside single writes."
    )
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--item-bytes", type=int, default=400)
    parser.add_argument("--port", type=int, default=0, help="of a server that runs already")
    options = parser.parse_args()
    if options.port:
        print(json.dumps(uvloop.run(measure(options.port, options)), indent=2))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0"]
        environment = {**os.environ, "SCRUBJAY_LOG": "error", "SCRUBJAY_TABLES_INITIAL_PARTITIONS": "2"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            try:
                print(json.dumps(uvloop.run(measure(port, options)), indent=2))
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
