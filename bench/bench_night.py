"""What nights cost those who are served meanwhile: p50, p99 and p99.9 of puts, strong and weak gets at a steady pace, with and without jobs of the schedule running, in turns.

    .venv/bin/python -m bench.bench_night [--table-size 210MB] [--item-bytes 4000] [--per-second 400] [--seconds 20] [--rounds 3] [--loads night]
        [--rate 20MiB] [--variant NAME=section.key=value]... [--against FOLDER] [--archive file:///somewhere] [--data FOLDER] [--fill]

Starts its own server, in a temporary folder or below --data, which is kept: a second run finds the table there (`--fill`: fills it and measures nothing). The load is offered,
not as much as goes: each request has its moment, and waiting for an earlier one counts. Half are puts, a quarter strong gets, a quarter weak ones. Who asks for the jobs is this
process, over a connection of its own: no command is started for each, for its start would cost more than what is measured.

Loads: `night`, what a night is made of: the schedule's jobs as they ship, one after another as they run when several are due, each once; the round lasts until the last of
them has ended, and the quiet one beside it as long. `scrubs`, scrub after scrub as the schedule ships, for --seconds: with a small table (`--table-size 10MB`) an extreme, for what a
scrub costs however small its partition is comes again and again; `rate`, the same at --rate; `unbound`, without a bound.

Prints one JSON object: the medians of the rounds, the median of each round's ratio to the quiet one beside it and the ratio of the medians, by job and by phase of the scrub what
requests took that fell into it, the processor seconds of the server and of all its workers, and the load average of the machine, without which they say little.
variant: another server with that setting, against: one of a folder with another checkout; each is measured in the same rounds as this one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.bench_requests import call, request
from scrubjay.units import parse_size

CONNECTIONS = 16
CRON = "0 2 * * *"
QUIET = "quiet"
NIGHT = "night"
JOBS = ("scrub", "verify", "expire", "compact")
POLL_S = 0.05
ASK_S = 0.25
"""Between two questions of a night what it is at: each is a request of its own, and a tenth of all is a load that no night has."""
ROUND_S_MAX = 100.0
KINDS = ("put", "strong", "put", "weak")
"""What a connection asks in turn."""


class Took(NamedTuple):
    """due_s: when it was to be sent. ms: from then to its answer."""

    due_s: float
    kind: str
    ms: float


class Offered:
    """Requests at a steady pace, from when it is made until `stop` is set."""

    def __init__(self, port: int, options: argparse.Namespace) -> None:
        self._port, self._options = port, options
        self._items = items_of(options)
        self.began_s = time.perf_counter()
        self.until_s = self.began_s + ROUND_S_MAX
        self.took: list[Took] = []
        self._task = asyncio.get_running_loop().create_task(self._all())

    async def stop(self) -> list[Took]:
        self.until_s = min(self.until_s, time.perf_counter())
        await self._task
        return self.took

    async def _all(self) -> None:
        await asyncio.gather(*(self._connection(number) for number in range(CONNECTIONS)))

    async def _connection(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        step = CONNECTIONS / self._options.per_second
        filler = "x" * (self._options.item_bytes - 60)
        turn = 0
        while (due := self.began_s + turn * step + number * step / CONNECTIONS) < self.until_s:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            kind = KINDS[(turn + number) % len(KINDS)]
            key = {"id": {"S": f"k{(turn * CONNECTIONS + number) * 7919 % self._items:08d}"}}
            asked: dict[str, Any] = {"TableName": "bench", "Key": key, "ConsistentRead": kind == "strong"}
            if kind == "put":
                asked = {"TableName": "bench", "Item": {**key, "n": {"N": "1"}, "v": {"S": filler}}}
            writer.write(request("PutItem" if kind == "put" else "GetItem", json.dumps(asked).encode()))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r")[0]))
            self.took.append(Took(due, kind, (time.perf_counter() - due) * 1e3))
            turn += 1
        writer.close()


def items_of(options: argparse.Namespace) -> int:
    return max(1000, int(parse_size(options.table_size)) // options.item_bytes)


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


def percentiles(took: list[Took]) -> dict[str, float]:
    """Milliseconds: of all, and p99 of each kind."""
    every = sorted(one_of.ms for one_of in took)
    found = {"p50_ms": statistics.median(every), "p99_ms": percentile(every, 0.99), "p999_ms": percentile(every, 0.999)}
    for kind in ("put", "strong", "weak"):
        found[f"{kind}_p99_ms"] = percentile(sorted(one_of.ms for one_of in took if one_of.kind == kind), 0.99)
    return found


async def steady(port: int, options: argparse.Namespace, seconds: float) -> list[Took]:
    offered = Offered(port, options)
    await asyncio.sleep(seconds)
    return await offered.stop()


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


class Marks(NamedTuple):
    """When something new began, rising, and what."""

    at_s: list[float]
    what: list[str]

    def begins(self, what: str) -> None:
        if not self.what or self.what[-1] != what:
            self.at_s.append(time.perf_counter())
            self.what.append(what)

    def at(self, moment_s: float) -> str | None:
        place = bisect_right(self.at_s, moment_s)
        return self.what[place - 1] if place else None


async def night(port: int, options: argparse.Namespace) -> tuple[list[Took], Marks, dict[str, float]]:
    """Each job of the schedule once, and what requests took from the first one's start to the last one's end. How long each took, in seconds."""
    offered, marks, seconds = Offered(port, options), Marks([], []), {}
    for job in JOBS:
        began = time.perf_counter()
        number = (await admin(port, "schedule/run", {"job": job}))["id"]
        marks.begins(job)
        while True:
            await asyncio.sleep(ASK_S)
            told = await admin(port, "scrub/status" if job == "scrub" else f"jobs/{number}")
            if not told.get("running"):
                break
            phase = (told["progress"] or {}).get("phase") if job == "scrub" else None
            marks.begins(f"{job} {str(phase).split()[0]}" if phase else job)
        seconds[f"{job}_s"] = time.perf_counter() - began
    return await offered.stop(), marks, seconds


def in_parts(took: list[Took], marks: Marks) -> dict[str, dict[str, float]]:
    """By what was under way when a request was due."""
    parts: dict[str, list[float]] = {}
    for one_of in took:
        what = marks.at(one_of.due_s)
        if what is not None:
            parts.setdefault(what, []).append(one_of.ms)
    return {
        what: {
            "requests": float(len(times)),
            "p50_ms": statistics.median(times),
            "p99_ms": percentile(sorted(times), 0.99),
            "most_ms": max(times),
        }
        for what, times in parts.items()
    }


class Round(NamedTuple):
    figures: dict[str, float]
    parts: dict[str, dict[str, float]]
    seconds: float


async def measured(port: int, pid: int, load: str, options: argparse.Namespace, seconds: float) -> Round:
    """One round of a load."""
    before, began = processor_s(pid), time.perf_counter()
    if load == QUIET:
        figures = percentiles(await steady(port, options, seconds))
        return Round({**figures, "processor_s": processor_s(pid) - before}, {}, time.perf_counter() - began)
    if load == NIGHT:
        took, marks, by_job = await night(port, options)
        taken = time.perf_counter() - began
        return Round({**percentiles(took), **by_job, "processor_s": processor_s(pid) - before}, in_parts(took, marks), taken)
    bound = {"scrubs": None, "rate": parse_size(options.rate), "unbound": 1 << 40}[load]
    await admin(port, "schedule/set", {"job": "scrub", "cron": CRON, **({} if bound is None else {"rate_bytes": bound})})
    async with scrubbing(port) as ended:
        figures = percentiles(await steady(port, options, options.seconds))
        figures |= {"scrubs": float(len(ended)), "scrub_s": statistics.median(ended) if ended else options.seconds}
    figures["processor_s"] = processor_s(pid) - before
    await idle(port)
    return Round(figures, {}, options.seconds)


async def filled(port: int, options: argparse.Namespace) -> None:
    """The table is there, with each of its items, and one scrub has run: its workers are there, its files are warm."""
    key = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    if "bench" not in (await call(port, "ListTables", {}))["TableNames"]:  # type: ignore[operator]
        await call(port, "CreateTable", {"TableName": "bench", "BillingMode": "PAY_PER_REQUEST", **key})
        while (await call(port, "DescribeTable", {"TableName": "bench"}))["Table"]["TableStatus"] != "ACTIVE":  # type: ignore[index]
            await asyncio.sleep(0.1)
        await every_item(port, options)
    async with scrubbing(port) as ended:
        while not ended:
            await asyncio.sleep(POLL_S)
    await idle(port)


async def every_item(port: int, options: argparse.Namespace) -> None:
    items, filler, at_once = items_of(options), "x" * (options.item_bytes - 60), 25

    async def some(first: int) -> None:
        for start in range(first * at_once, items, CONNECTIONS * at_once):
            left = [
                {"PutRequest": {"Item": {"id": {"S": f"k{at:08d}"}, "n": {"N": "0"}, "v": {"S": filler}}}}
                for at in range(start, min(items, start + at_once))
            ]
            while left:
                answer: dict[str, Any] = await call(port, "BatchWriteItem", {"RequestItems": {"bench": left}})
                left = answer["UnprocessedItems"].get("bench", []) if "UnprocessedItems" in answer else left

    await asyncio.gather(*(some(first) for first in range(CONNECTIONS)))


async def measure(servers: dict[str, tuple[int, int]], options: argparse.Namespace) -> dict[str, object]:
    for port, _ in servers.values():
        await filled(port, options)
    if options.fill:
        return {"filled": items_of(options)}
    loads = options.loads.split(",")
    found: dict[str, dict[str, list[Round]]] = {name: {load: [] for load in (QUIET, *loads)} for name in servers}
    length = dict.fromkeys(servers, options.seconds)
    for number in range(options.rounds):
        for name, (port, pid) in sorted(servers.items(), reverse=bool(number % 2)):
            for load in sorted((*loads, QUIET), reverse=bool(number % 2)):
                one_of = await measured(port, pid, load, options, length[name])
                found[name][load].append(one_of)
                length[name] = one_of.seconds if load == NIGHT else length[name]
    return {
        **{name: {load: summed(rows, of_one[QUIET]) for load, rows in of_one.items()} for name, of_one in found.items()},
        "load_average": os.getloadavg()[0],
    }


def summed(rounds: list[Round], quiet: list[Round]) -> dict[str, Any]:
    """Medians of the rounds."""
    rows, beside = [one_of.figures for one_of in rounds], [one_of.figures for one_of in quiet]
    medians: dict[str, Any] = {field: round(statistics.median(row[field] for row in rows), 2) for field in rows[0]}
    medians["p99_ms_of_rounds"] = [round(row["p99_ms"], 2) for row in rows]
    if rounds is not quiet:
        for field in ("p50_ms", "p99_ms", "p999_ms", "put_p99_ms", "strong_p99_ms", "weak_p99_ms"):
            ratios = [row[field] / other[field] for row, other in zip(rows, beside, strict=True)]
            name = f"{field.removesuffix('_ms')}_against_quiet"
            medians[name] = round(statistics.median(ratios), 2)
            medians[f"{name}_of_medians"] = round(
                statistics.median(row[field] for row in rows) / statistics.median(row[field] for row in beside), 2
            )
        parts = sorted({what for one_of in rounds for what in one_of.parts})
        medians["parts"] = {
            what: {
                field: round(statistics.median(one_of.parts[what][field] for one_of in rounds if what in one_of.parts), 2)
                for field in ("requests", "p50_ms", "p99_ms", "most_ms")
            }
            for what in parts
        }
    return medians


@contextlib.contextmanager
def server(checkout: Path, options: argparse.Namespace, name: str, setting: str | None = None) -> Iterator[tuple[int, int]]:
    """Port and process id of a server of its own. name: of its folder below --data."""
    archive = options.archive
    with contextlib.ExitStack() as stack:
        folder = str(options.data / name) if options.data is not None else stack.enter_context(tempfile.TemporaryDirectory())
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
    parser.add_argument("--table-size", default="210MB")
    parser.add_argument("--item-bytes", type=int, default=4000)
    parser.add_argument("--per-second", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", default="20MiB")
    parser.add_argument("--loads", default=NIGHT)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--variant", action="append", default=[])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--archive")
    options = parser.parse_args()
    here = Path(__file__).resolve().parent.parent
    gc.disable()  # what this process pauses for would count as waiting for an answer
    with contextlib.ExitStack() as stack:
        servers = {"this": stack.enter_context(server(here, options, "this"))}
        for variant in options.variant:
            name, _, setting = variant.partition("=")
            servers[name] = stack.enter_context(server(here, options, name, setting))
        if options.against is not None:
            servers["against"] = stack.enter_context(server(options.against.resolve(), options, "against"))
        print(
            json.dumps(
                {"offered": {name: str(one_of) for name, one_of in vars(options).items()}, **uvloop.run(measure(servers, options))},
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
