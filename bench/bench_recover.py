"""How fast a cluster comes back from its archive alone, and how well that was predicted: `recover --plan`, then `recover`, of tables of random items.

    .venv/bin/python -m bench.bench_recover [--mib 64] [--item-bytes 1000] [--tables 1] [--partitions 2] [--runs 1] [--bases] [--folder DIR]

With --bases the rows are imported: all is read from bases, and nothing from the log. Fills its own server below a temporary folder (--folder: there, kept, and filled only once) and stops it; only its archive is read then, as often as --runs says. Prints one JSON
object a run. `predicted_off_percent`: how far what `--plan` said just before was from what it took; `predicted_by_itself_off_percent`: what the run said at its beginning. `rows_mb_per_s`: keys
and items of all tables, once, over the time from start to end of the command. `cpu_s`: user and system time of it and its workers; where the machine does other things too, that says more.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.bench_durability import off_percent
from bench.bench_requests import call
from bench.bench_timetravel import import_items

CONNECTIONS = 8
BATCH = 25


async def fill(port: int, options: argparse.Namespace) -> None:
    rand = random.Random(1)
    words = [base64.b64encode(rand.randbytes(options.item_bytes // 8)).decode()[: options.item_bytes // 8] for _ in range(4_000)]
    count = options.mib * (1 << 20) // options.item_bytes // options.tables
    for table in (f"bench-{number}" for number in range(options.tables)):
        schema: dict[str, object] = {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        }
        await call(port, "CreateTable", {"TableName": table, "BillingMode": "PAY_PER_REQUEST", **schema})
        await call(port, "DescribeTable", {"TableName": table})
        batches = iter(range(0, count, BATCH))

        async def connection(table: str = table, batches: Any = batches) -> None:
            for first in batches:
                puts: Any = [
                    {"PutRequest": {"Item": {"id": {"S": f"k{number:09d}"}, "v": {"S": "".join(rand.choices(words, k=8))}}}}
                    for number in range(first, min(first + BATCH, count))
                ]
                while puts:
                    answer: Any = await call(port, "BatchWriteItem", {"RequestItems": {table: puts}})
                    puts = answer.get("UnprocessedItems", {table: puts}).get(table, [])

        await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


def scrubjay(*words: str) -> list[str]:
    return [sys.executable, "-m", "scrubjay", *words]


def archived(folder: Path, options: argparse.Namespace) -> None:
    """A server's life: filled, and stopped, which archives the rest."""
    command = [
        *scrubjay("serve", "--dev", "--data", str(folder / "data"), "--archive", f"file://{folder}/archive", "--port", "0"),
        "--stop-timeout",
        "300s",
    ]
    settings = {"SCRUBJAY_LOG": "error", "SCRUBJAY_TABLES_INITIAL_PARTITIONS": str(options.partitions)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            if options.bases:
                count = options.mib * (1 << 20) // options.item_bytes // options.tables
                for table in (f"bench-{number}" for number in range(options.tables)):
                    import_items(f"http://127.0.0.1:{port}", count, folder, table=table, item_bytes=options.item_bytes)
            else:
                uvloop.run(fill(port, options))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(400)
    shutil.rmtree(folder / "data")


def recovered(folder: Path, *words: str) -> tuple[dict[str, Any], float, float]:
    """The report; seconds by the clock; seconds of CPU of the command and its workers."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = scrubjay("recover", "--archive", f"file://{folder}/archive", "--data", str(folder / "new"), "--json", *words)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout), took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    if not (folder / "archive").exists():
        archived(folder, options)
    shutil.rmtree(folder / "new", ignore_errors=True)
    plan, plan_s, _ = recovered(folder, "--plan")
    report, took, cpu = recovered(folder)
    rows = sum(table["rows"] for table in report["tables"])
    size = rows * (options.item_bytes + 30)
    return {
        "rows": rows,
        "rows_mb": round(size / 1e6),
        "seconds": round(took, 2),
        "rows_mb_per_s": round(size / 1e6 / took, 2),
        "cpu_s": round(cpu, 2),
        "rows_mb_per_cpu_s": round(size / 1e6 / cpu, 2),
        "plan_s": round(plan_s, 2),
        "predicted_s": plan["predicted_seconds"],
        "recover_s": report["seconds"]["recover"],
        "predicted_off_percent": off_percent(plan["predicted_seconds"], report["seconds"]["recover"]),
        "predicted_by_itself_s": report["predicted_seconds"],
        "predicted_by_itself_off_percent": off_percent(report["predicted_seconds"], report["seconds"]["recover"]),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--item-bytes", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--bases", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        for _ in range(options.runs):
            asked = {name: str(value) for name, value in vars(options).items()}
            print(json.dumps({"asked": asked, **measure(folder, options)}, indent=2), flush=True)


if __name__ == "__main__":
    main()
