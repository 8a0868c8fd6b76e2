"""Verify, scrub and restore of one table on a real `serve --dev`, in raw MB/s (key and item bytes of the table's log or rows).

    .venv/bin/python -m bench.bench_durability [--megabytes 100] [--partitions 2]

Loads items of 900 bytes over raw HTTP, waits until everything is archived, then times the command line's verbs as a user would, a restore beside what its plan
predicted. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import uvloop

from bench.bench_requests import request

ITEM_BYTES = 900
BATCH = 25
CONNECTIONS = 8


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    writer.write(request(operation, json.dumps(body).encode()))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r")[0])
    answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    return answer


async def load_items(port: int, items: int) -> float:
    """Seconds for `items` puts in batches over CONNECTIONS connections."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await call(
        reader,
        writer,
        "CreateTable",
        {
            "TableName": "bench",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    while (await call(reader, writer, "DescribeTable", {"TableName": "bench"}))["Table"]["TableStatus"] != "ACTIVE":
        await asyncio.sleep(0.1)
    draw = random.Random(1)
    words = [f"{draw.getrandbits(40):010x}" for _ in range(500)]
    numbers = iter(range(items))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            batch = [number for _, number in zip(range(BATCH), numbers, strict=False)]
            if not batch:
                writer.close()
                return
            puts = [
                {"PutRequest": {"Item": {"id": {"S": f"k{number:09d}"}, "v": {"S": " ".join(draw.choices(words, k=ITEM_BYTES // 11))}}}}
                for number in batch
            ]
            while puts:
                answer = await call(reader, writer, "BatchWriteItem", {"RequestItems": {"bench": puts}})
                puts = answer.get("UnprocessedItems", {}).get("bench", [])

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


def verb(endpoint: str, *words: str) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "scrubjay", *words, "--endpoint", endpoint, "--json"], capture_output=True, text=True)
    took = time.perf_counter() - began
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, answer
    return took, answer


def off_percent(foreseen: float | None, took: float) -> float | None:
    """How far a prediction was from what it took, in percent of that; below 0: it took longer. None: nothing was predicted."""
    return None if foreseen is None else round(100 * (foreseen - took) / took, 1)


def measure(port: int, megabytes: int) -> dict[str, Any]:
    items = megabytes * 1_000_000 // ITEM_BYTES
    endpoint = f"http://127.0.0.1:{port}"
    load = uvloop.run(load_items(port, items))
    began = time.perf_counter()
    while True:
        status = json.loads(
            subprocess.run(
                [sys.executable, "-m", "scrubjay", "archive", "status", "--endpoint", endpoint, "--json"], capture_output=True
            ).stdout
        )
        if status["tables"] and status["tables"][0]["unarchived_bytes"] == 0:
            break
        time.sleep(0.2)
    caught_up = time.perf_counter() - began
    raw = status["tables"][0]["bytes_raw"] / 1e6
    verify, _ = verb(endpoint, "verify", "--table", "bench")
    replay, _ = verb(endpoint, "verify", "--table", "bench", "--level", "replayed")
    scrub, scrubbed = verb(endpoint, "scrub", "run", "--table", "bench")
    foreseen = verb(endpoint, "restore", "plan", "--table", "bench", "--to", "bench2", "--latest")[1]["predicted_seconds"]
    restore, restored = verb(endpoint, "restore", "run", "--table", "bench", "--to", "bench2", "--latest")
    return {
        "items": items,
        "raw_mb": round(raw, 1),
        "stored_mb": round(status["tables"][0]["bytes_stored"] / 1e6, 1),
        "load": {"seconds": round(load, 1), "items_per_second": round(items / load), "raw_mb_s": round(raw / load, 1)},
        "archive_after_load_s": round(caught_up, 1),
        "archive_mb_s": round(raw / (load + caught_up), 1),
        "verify_records": {"seconds": round(verify, 1), "raw_mb_s": round(raw / verify, 1)},
        "verify_replayed": {"seconds": round(replay, 1), "raw_mb_s": round(raw / replay, 1)},
        "scrub": {"seconds": round(scrub, 1), "raw_mb_s": round(raw / scrub, 1), "totals": scrubbed["totals"]},
        "restore": {
            "seconds": round(restore, 1),
            "predicted_seconds": foreseen,
            "predicted_off_percent": off_percent(foreseen, restored["seconds"]["total"]),
            "raw_mb_s": round(raw / restore, 1),
            "phases": restored["seconds"],
            "rows": restored["rows"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0"]
        command += ["--set", f"tables.initial_partitions={options.partitions}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCRUBJAY_LOG": "error"}) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            try:
                print(json.dumps(measure(port, options.megabytes), indent=2))
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)


if __name__ == "__main__":
    main()
