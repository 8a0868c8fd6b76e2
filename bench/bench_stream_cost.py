"""What a stream costs who writes: puts on a table without one, with one of keys and with one of both images, in turns on one server. Or what single writes pay for what was added since an older
checkout: puts on a table without a stream, in turns on its server and on one of this.

    .venv/bin/python -m bench.bench_stream_cost [--connections 8] [--seconds 4] [--rounds 5] [--item-bytes 900] [--keys 2000] [--against FOLDER]

Each server is a process of its own in a temporary folder, idle while another one is measured. A round measures every series once, in an order that turns with the rounds; what is told is the
median over the rounds, and of each round's ratio to the table without a stream on this checkout. against: a folder with another checkout; then each server has that one table and no
other, for what was written to others shortly before is archived meanwhile: beside two more tables the same code measured against itself was 0.83 times as fast. Keys are few, so nearly every put replaces an item and its record has an old one. One JSON object; exit code 2 if a put failed.

Takes (3 or, against another, 2) x rounds x seconds, and some 20 s to start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.bench_requests import call, one

PLAIN = "plain"
VIEWS = {PLAIN: None, "keys": "KEYS_ONLY", "images": "NEW_AND_OLD_IMAGES"}
AGAINST = "against"
FIGURES = ("per_second", "p50_ms", "p99_ms")
WARM_S = 2.0


@contextlib.contextmanager
def server(checkout: Path) -> Iterator[int]:
    """Port of a server of a checkout. Killed in the end: nothing of it is kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", folder, "--port", "0"]
        environment = {**os.environ, "SCRUBJAY_LOG": "error", "PYTHONPATH": str(checkout)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=checkout, env=environment) as process:
            assert process.stdout is not None
            try:
                yield int(process.stdout.readline().rsplit(":", 1)[1])
            finally:
                process.kill()


async def make(port: int, table: str, view: str | None) -> None:
    body: dict[str, Any] = {
        "TableName": table,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if view is not None:
        body["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": view}
    await call(port, "CreateTable", body)
    while (await call(port, "DescribeTable", {"TableName": table}))["Table"]["TableStatus"] != "ACTIVE":  # type: ignore[index]
        await asyncio.sleep(0.1)


async def measure(here: int, there: int | None, options: argparse.Namespace) -> dict[str, Any]:
    """here, there: ports of this checkout's server and of the older one's."""
    shape = {"connections": options.connections, "item_bytes": options.item_bytes, "keys": options.keys}
    views = VIEWS if there is None else {PLAIN: None}
    series = {name: (here, name) for name in views}
    for name, view in views.items():
        await make(here, name, view)
    if there is not None:
        await make(there, PLAIN, None)
        series[AGAINST] = (there, PLAIN)
    for port, table in series.values():
        await one(port, "PutItem", seconds=WARM_S, table=table, **shape)
    rounds: list[dict[str, dict[str, float]]] = []
    names = list(series)
    for number in range(options.rounds):
        turn = number % len(names)
        took: dict[str, dict[str, float]] = {}
        for name in names[turn:] + names[:turn]:
            port, table = series[name]
            took[name] = await one(port, "PutItem", seconds=options.seconds, table=table, **shape)
        rounds.append(took)
    told: dict[str, Any] = {
        name: {figure: statistics.median(took[name][figure] for took in rounds) for figure in FIGURES} for name in series
    }
    for name in series:
        if name != PLAIN:
            told[name]["to_plain"] = {
                figure: round(statistics.median(took[name][figure] / took[PLAIN][figure] for took in rounds), 3) for figure in FIGURES
            }
    return {
        "shape": {**shape, "seconds": options.seconds, "rounds": options.rounds},
        **told,
        "errors": sum(one_of["errors"] for took in rounds for one_of in took.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--item-bytes", type=int, default=900)
    parser.add_argument("--keys", type=int, default=2_000)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    checkout = Path(__file__).resolve().parent.parent
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(server(checkout))
        there = None if options.against is None else stack.enter_context(server(options.against.resolve()))
        told = uvloop.run(measure(here, there, options))
    print(json.dumps(told, indent=2))
    return 2 if told["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
