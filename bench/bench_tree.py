"""Tree figures for ADR 0003: hit, miss and range with and without fences, checkpoints with and without, bulk load, verification at open.

    python bench/bench_tree.py [rows] [folder]

Prints one line per figure; medians of 3. Values are 1 KB items, keys 16-byte hashes plus 11 bytes of sort key.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scrubjay.base.checksum import row_hash
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.btree.engine import Change, Row, TreeState
from scrubjay.storage.btree.lmdb_tree import TreeWriter
from scrubjay.storage.btree.row import encode_value

PARTITION = bytes(range(16))


def timed(name: str, count: int, work: Callable[[], object], *, repeat: int = 3) -> float:
    times, cpus = [], []
    for _ in range(repeat):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
    seconds, cpu = statistics.median(times), statistics.median(cpus)
    print(f"{name:58s} {seconds / count * 1e6:9.2f} us each {count / seconds:12,.0f}/s; CPU {cpu / count * 1e6:8.2f} us each", flush=True)
    return seconds


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    folder = Path(tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else None))
    rand = random.Random(1)
    keys = sorted(rand.randbytes(16) + f"sort-{i:06d}".encode() for i in range(rows))
    item = rand.randbytes(1000)
    writer = TreeWriter(str(folder / "btree"), PARTITION, create=True, sync=False)
    state = TreeState(Lsn(1), Stamp(1), b"")
    timed(
        "bulk load with fences",
        rows,
        lambda: writer.load([([Row(k, Lsn(1), Stamp(1), item) for k in keys], [row_hash(k, item) for k in keys])], state),
        repeat=1,
    )
    writer.close()
    writer = TreeWriter(str(folder / "btree"), PARTITION)
    print(f"file: {(folder / 'btree' / 'data.mdb').stat().st_size / rows:.0f} bytes a row; facts {writer.facts()[1:3]}")
    with writer.environment.begin() as txn:
        reader = writer.reader(txn)
        some = rand.sample(keys, 20_000)
        absent = [rand.randbytes(16) + b"nothing" for _ in range(5_000)]
        get = txn.get
        db = writer._databases.rows
        timed("get, unchecked", len(some), lambda: [get(k, None, db) for k in some])
        timed("get, row hash checked (a hit)", len(some), lambda: [reader.get(k) for k in some])
        timed("miss, unchecked", len(absent), lambda: [get(k, None, db) for k in absent])
        timed("miss, absence proven by the run's keys", len(absent), lambda: [reader.get(k) for k in absent])
        timed("miss, proven by whole rows of the run (rejected)", 1000, lambda: [reader.rows_of(reader.fence_of(k)) for k in absent[:1000]])
        full = 50_000
        bound = keys[full] if full < rows else None
        timed("range, unchecked, per row", min(full, rows), lambda: list(reader.raw_rows(keys[0], bound)))
        timed("range, checked, per row", min(full, rows), lambda: list(reader.range(keys[0], bound)))
        timed(
            "range of 10 rows, checked, per range",
            1000,
            lambda: [list(reader.range(k, keys[min(rows - 1, keys.index(k) + 10)])) for k in keys[:1000]],
        )
        timed("verify at open, keys only, per row", rows, lambda: reader.verify(values=False), repeat=1)
        timed("verify at open, every row, per row", rows, lambda: reader.verify(values=True), repeat=1)
    lsn = [1]

    def checkpoint(chosen: list[bytes]) -> None:
        lsn[0] += 1
        changes = [Change(k, Lsn(lsn[0]), Stamp(lsn[0]), item) for k in sorted(chosen)]
        writer.checkpoint(changes, TreeState(Lsn(lsn[0]), Stamp(1), b""), expected=lsn[0] - 1)

    def bare(chosen: list[bytes]) -> None:
        with writer.environment.begin(write=True) as txn:
            for key in sorted(chosen):
                txn.put(key, encode_value(key, 5, 5, item), db=writer._databases.rows)

    for count in (1_000, 10_000):
        timed(f"checkpoint of {count} random overwrites, fences", count, lambda count=count: checkpoint(rand.sample(keys, count)))
        timed(
            f"checkpoint of {count} random new rows, fences",
            count,
            lambda count=count: checkpoint([rand.randbytes(27) for _ in range(count)]),
        )
        start = rows // 3
        timed(f"checkpoint of {count} neighbouring overwrites, fences", count, lambda count=count: checkpoint(keys[start : start + count]))
        fresh = rand.randbytes(16)
        timed(
            f"checkpoint of {count} new rows of one key, fences",
            count,
            lambda count=count: checkpoint([fresh + lsn[0].to_bytes(4, "big") + n.to_bytes(4, "big") for n in range(count)]),
        )
    for count in (1_000, 10_000):
        timed(f"checkpoint of {count} random overwrites, rows only", count, lambda count=count: bare(rand.sample(keys, count)))
    writer.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
