"""What nights cost those who are served meanwhile: p50 and p99 of puts and strong gets at a steady pace, with and without jobs of the schedule running, in turns.

    .venv/bin/python -m bench.bench_night [--items 10000] [--per-second 200] [--seconds 10] [--rounds 5] [--loads night,rate,unbound] [--rate 20MiB]
        [--variant NAME=section.key=value]... [--against FOLDER] [--archive file:///somewhere]

Starts its own server in a temporary folder. The load is offered, not as much as goes: each request has its moment, and waiting for an earlier one counts. Who asks for
the scrubs is this process, over a connection of its own: no command is started for each, for its start would cost more than what is measured.

Loads, each with scrub after scrub for as long as it is measured: `night`, as the schedule ships; `rate`, at --rate; `unbound`, without a bound. Prints one JSON object:
the medians of the rounds, the median of each round's ratio to the quiet one beside it, how many bytes of tables and archive a second the scrubs read, the processor
seconds of the server and of all its workers, and the load average of the machine, without which they say little.
variant: another server with that setting, against: one of a folder with another checkout; each is measured in the same rounds as this one.
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
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.bench_requests import call, one, request
from scrubjay.units import parse_size

CONNECTIONS = 16
CRON = "0 2 * * *"
QUIET = "quiet"
POLL_S = 0.05


async def steady(port: int, options: argparse.Namespace) -> dict[str, float]:
    """Half puts, half strong gets; milliseconds from each request's moment to its answer."""
    times: dict[str, list[float]] = {"PutItem": [], "GetItem": []}
    began = time.perf_counter()
    step = CONNECTIONS / options.per_second

    async def connection(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(int(options.seconds / step)):
            due = began + turn * step + number * step / CONNECTIONS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            key = {"id": {"S": f"k{(turn * CONNECTIONS + number) % options.items:08d}"}}
            asked: dict[str, Any] = {"TableName": "bench", "Key": key, "ConsistentRead": True}
            kind = "PutItem" if (turn + number) % 2 else "GetItem"
            if kind == "PutItem":
                asked = {"TableName": "bench", "Item": {**key, "n": {"N": "1"}, "v": {"S": "x" * 840}}}
            writer.write(request(kind, json.dumps(asked).encode()))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r")[0]))
            times[kind].append((time.perf_counter() - due) * 1e3)
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))
    both = sorted(times["PutItem"] + times["GetItem"])
    found = {"p50_ms": statistics.median(both), "p99_ms": both[int(len(both) * 0.99)]}
    for kind, name in (("PutItem", "put"), ("GetItem", "get")):
        found[f"{name}_p99_ms"] = sorted(times[kind])[int(len(times[kind]) * 0.99)]
    return found


async def admin(port: int, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST if there is a body, of the admin API."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = b"" if body is None else json.dumps(body).encode()
    verb = "GET" if body is None else "POST"
    head = f"{verb} /admin/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    found: dict[str, Any] = json.loads(await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r")[0])))
    writer.close()
    if found.get("error"):
        raise SystemExit(f"{path}: {found['error']}")
    return found


@contextlib.asynccontextmanager
async def scrubbing(port: int) -> AsyncIterator[list[float]]:
    """Scrub after scrub. Yields a list that grows by the seconds of each that ended."""
    ended: list[float] = []

    async def again() -> None:
        while True:
            began = time.perf_counter()
            job = (await admin(port, "schedule/run", {"job": "scrub"}))["id"]
            while (await admin(port, f"jobs/{job}")).get("running"):
                await asyncio.sleep(POLL_S)
            ended.append(time.perf_counter() - began)

    task = asyncio.get_running_loop().create_task(again())
    await asyncio.sleep(0.5)
    try:
        yield ended
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def idle(port: int) -> None:
    """Until no run of the schedule is under way."""
    while any(row["running"] for row in (await admin(port, "schedule"))["jobs"]):
        await asyncio.sleep(POLL_S)


def processor_s(pid: int) -> float:
    """Seconds that a process and its living children have used."""
    total = 0.0
    for one_of in [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one_of}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def measured(port: int, pid: int, load: str, options: argparse.Namespace) -> dict[str, float]:
    """One round of a load."""
    if load == QUIET:
        return {**await steady(port, options), "scrubs": 0.0}
    bound = {"night": None, "rate": parse_size(options.rate), "unbound": 1 << 40}[load]
    await admin(port, "schedule/set", {"job": "scrub", "cron": CRON, **({} if bound is None else {"rate_bytes": bound})})
    before = processor_s(pid)
    async with scrubbing(port) as ended:
        found = await steady(port, options)
        found |= {"scrubs": float(len(ended)), "scrub_s": statistics.median(ended) if ended else options.seconds}
    found["processor_s"] = processor_s(pid) - before
    await idle(port)
    return found


async def filled(port: int, options: argparse.Namespace) -> None:
    key = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    await call(port, "CreateTable", {"TableName": "bench", "BillingMode": "PAY_PER_REQUEST", **key})
    while (await call(port, "DescribeTable", {"TableName": "bench"}))["Table"]["TableStatus"] != "ACTIVE":  # type: ignore[index]
        await asyncio.sleep(0.1)
    await one(port, "PutItem", connections=64, seconds=options.items / 3000, item_bytes=900, keys=options.items)
    async with scrubbing(port) as ended:  # its workers are there, its files are warm
        while not ended:
            await asyncio.sleep(POLL_S)
    await idle(port)


async def measure(servers: dict[str, tuple[int, int]], options: argparse.Namespace) -> dict[str, object]:
    for port, _ in servers.values():
        await filled(port, options)
    loads = options.loads.split(",")
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {load: [] for load in (QUIET, *loads)} for name in servers}
    for number in range(options.rounds):
        for name, (port, pid) in sorted(servers.items(), reverse=bool(number % 2)):
            for load in (QUIET, *loads):
                found[name][load].append(await measured(port, pid, load, options))
    return {
        **{name: {load: summed(rows, of_one[QUIET]) for load, rows in of_one.items()} for name, of_one in found.items()},
        "load_average": os.getloadavg()[0],
    }


def summed(rows: list[dict[str, float]], quiet: list[dict[str, float]]) -> dict[str, float]:
    """Medians of the rounds."""
    medians = {field: round(statistics.median(row[field] for row in rows), 2) for field in rows[0]}
    if rows is not quiet:
        for field in ("p50_ms", "p99_ms", "put_p99_ms", "get_p99_ms"):
            ratios = [row[field] / beside[field] for row, beside in zip(rows, quiet, strict=True)]
            medians[f"{field.removesuffix('_ms')}_against_quiet"] = round(statistics.median(ratios), 2)
    return medians


@contextlib.contextmanager
def server(checkout: Path, archive: str | None, setting: str | None = None) -> Iterator[tuple[int, int]]:
    """Port and process id of a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        at = [] if archive is None else ["--archive", archive]
        at += [] if setting is None else ["--set", setting]
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0", *at]
        environment = {**os.environ, "SCRUBJAY_LOG": "error", "PYTHONPATH": str(checkout)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=checkout, env=environment) as process:
            assert process.stdout is not None
            try:
                yield int(process.stdout.readline().rsplit(":", 1)[1]), process.pid
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--per-second", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", default="20MiB")
    parser.add_argument("--loads", default="night,rate,unbound")
    parser.add_argument("--variant", action="append", default=[])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--archive")
    options = parser.parse_args()
    here = Path(__file__).resolve().parent.parent
    with contextlib.ExitStack() as stack:
        servers = {"this": stack.enter_context(server(here, options.archive))}
        for variant in options.variant:
            name, _, setting = variant.partition("=")
            servers[name] = stack.enter_context(server(here, options.archive, setting))
        if options.against is not None:
            servers["against"] = stack.enter_context(server(options.against.resolve(), options.archive))
        print(
            json.dumps(
                {"offered": {name: str(one_of) for name, one_of in vars(options).items()}, **uvloop.run(measure(servers, options))},
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
