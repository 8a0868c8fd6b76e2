"""History, diff and undo of one table on a real `serve --dev`, beside a restore of the same table to the same moment.

    .venv/bin/python -m bench.bench_timetravel [--items 100000] [--bad 9490] [--partitions 2] [--folder DIR]

Imports items of 900 bytes, spoils some of them through the API, then times the command line's verbs as a user would (a process each, seal and archive included where an end is `now`).
Prints one JSON object. With --items 1100000 the archive holds 1 GB: the history's first line is to come within a second (`history_limit_1_s`, of a key that was written long ago and
again just now; `--bad 1100000` undoes all of it), and the diff of two moments to take less time than one restore (`diff_s_of_a_restore`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.bench_durability import BATCH, ITEM_BYTES, call, off_percent, verb
from scrubjay.base.times import utc_text

FILES = 8


async def _spoil(port: int, bad: int) -> str:
    """Overwrite the first `bad` items. The moment before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began_us = time.time_ns() // 1000
    await asyncio.sleep(0.05)
    for first in range(0, bad, BATCH):
        puts = [
            {"PutRequest": {"Item": {"id": {"S": f"k{number:09d}"}, "v": {"S": "bad"}}}} for number in range(first, min(bad, first + BATCH))
        ]
        while puts:
            answer = await call(reader, writer, "BatchWriteItem", {"RequestItems": {"bench": puts}})
            puts = answer.get("UnprocessedItems", {}).get("bench", [])
    writer.close()
    return utc_text(began_us)


def import_items(endpoint: str, items: int, folder: Path, *, table: str = "bench", item_bytes: int = ITEM_BYTES) -> None:
    """The table as an import makes it: rows that are no records of its log."""
    draw = random.Random(1)
    words = [f"{draw.getrandbits(40):010x}" for _ in range(500)]
    files = folder / "items"
    files.mkdir()
    for part in range(FILES):
        with open(files / f"{part}.csv", "w") as file:
            file.write("id,v\n")
            file.writelines(
                f"k{number:09d},{' '.join(draw.choices(words, k=max(1, item_bytes // 11)))}\n" for number in range(part, items, FILES)
            )
    verb(endpoint, "import", f"file://{files}", "--table", table, "--key", "id:S", "--format", "csv")
    shutil.rmtree(files)


def measure(port: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    endpoint = f"http://127.0.0.1:{port}"
    items, bad = options.items, options.bad
    if not (folder / "loaded").exists():
        import_items(endpoint, items, folder)
        (folder / "loaded").touch()
    good = uvloop.run(_spoil(port, bad))
    key = json.dumps({"id": {"S": "k000000000"}})
    sealing, _ = verb(endpoint, "history", "bench", "--key", key, "--limit", "1")
    first, told = verb(endpoint, "history", "bench", "--key", key, "--limit", "1", "--to", good)
    whole, all_of_it = verb(endpoint, "history", "bench", "--key", key)
    spoilt, _ = verb(endpoint, "diff", "bench", "--from", good, "--to", "now")
    diff, compared = verb(endpoint, "diff", "bench", "--from", good, "--to", "now", "--output", str(folder / "changes"))
    plan, _ = verb(endpoint, "undo", "bench", "--from", good, "--to", compared["to"])
    undo, undone = verb(endpoint, "undo", "bench", "--from", good, "--to", compared["to"], "--confirm")
    foreseen = verb(endpoint, "restore", "plan", "--table", "bench", "--to", "bench2", "--at", good)[1]["predicted_seconds"]
    restore, restored = verb(endpoint, "restore", "run", "--table", "bench", "--to", "bench2", "--at", good)
    assert compared["totals"]["changed"] == undone["totals"]["restored"] == bad, (compared["totals"], undone["totals"])
    return {
        "items": items,
        "raw_mb": round(items * ITEM_BYTES / 1e6, 1),
        "history_of_now_s": round(sealing, 2),
        "history_limit_1_s": round(first, 2),
        "history_read": told["read"],
        "history_whole_s": round(whole, 2),
        "history_whole_read": all_of_it["read"],
        "diff_first_s": round(spoilt, 2),
        "diff_s": round(diff, 2),
        "undo_plan_s": round(plan, 2),
        "undo_s": round(undo, 2),
        "undo_items_per_second": round(bad / undo),
        "restore_s": round(restore, 2),
        "restore_predicted_s": foreseen,
        "restore_predicted_off_percent": off_percent(foreseen, restored["seconds"]["total"]),
        "diff_s_of_a_restore": round(diff / restore, 2),
        "load_average": os.getloadavg()[0],
        "restore_phases": restored["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--bad", type=int, default=9490)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "scrubjay", "serve", "--dev", "--data", f"{folder}/data", "--port", "0"]
        command += ["--set", f"tables.initial_partitions={options.partitions}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCRUBJAY_LOG": "error"}) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            try:
                print(json.dumps(measure(port, options, folder), indent=2))
            finally:
                server.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
