"""What a scrub costs those who are served meanwhile: p50 and p99 of puts and strong gets at a steady pace, with and without a scheduled scrub running, in turns.

    .venv/bin/python -m bench.bench_night [--items 20000] [--per-second 200] [--seconds 8] [--rounds 3] [--rate 20MiB]

Starts its own server in a temporary folder. The load is offered, not as much as goes: each request has its moment, and waiting for an earlier one counts. Prints one
JSON object: quiet, a scrub without a bound, one at --rate; the median of the rounds, and the load average of the machine, without which they say little.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

from bench.bench_requests import call, one, request

CONNECTIONS = 16


async def steady(port: int, options: argparse.Namespace) -> dict[str, float]:
    """Half puts, half strong gets; milliseconds from each request's moment to its answer."""
    times: list[float] = []
    began = time.perf_counter()
    step = CONNECTIONS / options.per_second

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(int(options.seconds / step)):
            due = began + turn * step + number * step / CONNECTIONS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            key = {"id": {"S": f"k{(turn * CONNECTIONS + number) % options.items:08d}"}}
            asked: dict[str, Any] = {"TableName": "bench", "Key": key, "ConsistentRead": True}
            if turn % 2:
                asked = {"TableName": "bench", "Item": {**key, "n": {"N": "1"}, "v": {"S": "x" * 840}}}
            writer.write(request("PutItem" if turn % 2 else "GetItem", json.dumps(asked).encode()))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r")[0]))
            times.append((time.perf_counter() - due) * 1e3)
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))
    times.sort()
    return {"p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)]}


async def cli(port: int, *words: str) -> None:
    command = [sys.executable, "-m", "scrubjay", *words, "--endpoint", f"http://127.0.0.1:{port}", "--quiet"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    try:
        await process.wait()
    finally:
        if process.returncode is None:  # whoever measures has seen enough
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def scrubbing(port: int) -> AsyncIterator[list[int]]:
    """Scrub after scrub. Yields a list that grows by one with each that ended."""
    ended: list[int] = []

    async def again() -> None:
        while True:
            await cli(port, "schedule", "run", "scrub")
            ended.append(1)

    task = asyncio.get_running_loop().create_task(again())
    await asyncio.sleep(1)
    try:
        yield ended
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def measure(port: int, options: argparse.Namespace) -> dict[str, object]:
    key = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    await call(port, "CreateTable", {"TableName": "bench", "BillingMode": "PAY_PER_REQUEST", **key})
    while (await call(port, "DescribeTable", {"TableName": "bench"}))["Table"]["TableStatus"] != "ACTIVE":  # type: ignore[index]
        await asyncio.sleep(0.1)
    await one(port, "PutItem", connections=64, seconds=options.items / 3000, item_bytes=900, keys=options.items)
    found: dict[str, list[dict[str, float]]] = {"quiet": [], "scrub": [], "scrub at rate": []}
    scrubs = 0
    for _ in range(options.rounds):
        found["quiet"].append(await steady(port, options))
        for name, bound in (("scrub", ()), ("scrub at rate", ("--rate", options.rate))):
            await cli(port, "schedule", "set", "scrub", "0 2 * * *", *bound)
            async with scrubbing(port) as ended:
                found[name].append(await steady(port, options))
                scrubs += len(ended)
    medians = {
        name: {field: round(statistics.median(row[field] for row in rows), 2) for field in ("p50_ms", "p99_ms")}
        for name, rows in found.items()
    }
    quiet = medians["quiet"]["p99_ms"]
    ratios = {name: round(medians[name]["p99_ms"] / quiet, 2) for name in ("scrub", "scrub at rate")}
    return {"median": medians, "p99_against_quiet": ratios, "scrubs_ended": scrubs, "load_average": os.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--per-second", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", default="20MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCRUBJAY_LOG": "error"}) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            try:
                print(json.dumps({"offered": vars(options), **uvloop.run(measure(port, options))}, indent=2))
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(60)


if __name__ == "__main__":
    main()
