"""A walk over a table's items for those whose time to live is over: seconds per million items, in the worker that walks them for a node, with a real tree.

    .venv/bin/python -m bench.bench_ttl [--items 200000] [--bytes 400] [--over 0.01]

Once without a pace, as fast as one core goes, and once at the pace that is configured by default. Prints one JSON object. No item is taken away: what that costs is a write
each (`bench.bench_api`).
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from scrubjay.base.ids import Lsn, Stamp
from scrubjay.server.ttl.walker import PAGE_FOUND, PAGE_ROWS, TtlOptions
from scrubjay.storage.btree.engine import Change, ExpiredPage, ExpiredWanted, TreeState
from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Item
from tests.unit.btree.engines import Bench, P

SCHEMA = KeySchema(KeyAttribute("k", "S"))
NOW_S = 1_800_000_000
BATCH = 20_000


def fill(bench: Bench, items: int, item_bytes: int, over: float) -> Any:
    """A tree of such items, every one of them with a time."""
    draw = random.Random(1)
    tree = bench.run(bench.engine.create, P)
    rows: list[tuple[bytes, bytes]] = []
    for number in range(items):
        ends = NOW_S - 3600 if draw.random() < over else NOW_S + 3600
        item: Item = {"k": ("S", f"item-{number}"), "ends": ("N", str(ends)), "v": ("S", "x" * item_bytes)}
        rows.append((storage_key(SCHEMA, item), encode_item(item)))
    for lsn, at in enumerate(range(0, items, BATCH), start=1):
        changes = [Change(key, Lsn(lsn), Stamp(lsn), item) for key, item in sorted(rows[at : at + BATCH])]
        bench.run(tree.checkpoint, changes, TreeState(Lsn(lsn), Stamp(lsn), b""))
    return tree


def walk(bench: Bench, tree: Any, rows_per_second: int | None) -> tuple[float, int]:
    """Seconds, and how many were over."""
    began, found, start = time.perf_counter(), 0, b""
    while True:
        pin = bench.run(tree.pin, tree.state.applied)
        wanted = ExpiredWanted(SCHEMA, "ends", NOW_S, PAGE_ROWS, PAGE_FOUND)
        page: ExpiredPage = bench.run(pin.expired, start, wanted, rows_per_second=rows_per_second)
        pin.release()
        found += len(page.found)
        if page.next is None:
            return time.perf_counter() - began, found
        start = page.next


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--bytes", type=int, default=400)
    parser.add_argument("--over", type=float, default=0.01)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            tree = fill(bench, asked.items, asked.bytes, asked.over)
            report: dict[str, Any] = {"items": asked.items, "bytes": asked.bytes, "over": asked.over}
            for name, pace in (("unbounded", None), ("paced", TtlOptions().rows_per_second)):
                seconds, found = walk(bench, tree, pace)
                report[name] = {"seconds_per_million": round(seconds * 1e6 / asked.items, 2), "found": found}
            print(json.dumps(report))
        finally:
            bench.close()


if __name__ == "__main__":
    main()
