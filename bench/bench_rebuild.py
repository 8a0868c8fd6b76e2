"""How fast one worker rebuilds: raw log bytes per second, from segment objects to a row file.

    .venv/bin/python bench/bench_rebuild.py [--segments 8] [--item 900] [--base]

No store and no disk in the way (both in memory): what is measured is decompression, checks, merge and the row file. Goal: > 125 MB/s raw per worker.
"""

from __future__ import annotations

import argparse
import hashlib
import time

from scrubjay.archiver.read.rebuild import rebuild
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.ids import Lsn
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.log.record import Effect, Op
from tests.unit.archiver.sample import ATTACHED, Sample

SEGMENT_BYTES = 8 << 20


def fill(sample: Sample, segments: int, item_bytes: int, keys: int) -> None:
    """Segments of single puts; half of every item is text that compresses, half is not."""
    text = b'{"name":{"S":"scrub jay"},"place":{"S":"oak wood"},"count":{"N":"17"}}' * 20
    states = sample.states
    for _ in range(segments):
        size = 0
        while size < SEGMENT_BYTES:
            key = hashlib.md5(sample.rng.randrange(keys).to_bytes(4, "big")).digest() + b"\x01sort"
            item = sample.rng.randbytes(item_bytes // 2) + text[: item_bytes - item_bytes // 2]
            size += len(sample.write([Effect(Op.PUT, key, item)]).data)
            states.clear()  # the model keeps every state; here nobody asks for it
        sample.seal()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--item", type=int, default=900)
    parser.add_argument("--keys", type=int, default=40_000)
    parser.add_argument("--base", action="store_true", help="start from a base snapshot of the first half")
    options = parser.parse_args()
    sample = Sample(seed=1)
    fill(sample, options.segments, options.item, options.keys)
    loop, store, disk = LoneHost(), LoneStore(), LoneDisk()
    store.objects.update(sample.objects())
    manifests, base = sample.manifests(), None
    if options.base:
        from scrubjay.archiver.write.bases import upload_base

        half = manifests[len(manifests) // 2 - 1]
        done = loop.run(rebuild(store, disk, base=None, segments=manifests, cut=Cut(lsn=Lsn(half.last)), output="rows", work="w"))
        base = loop.run(
            upload_base(
                store, disk, "rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=sample.facts.table_name, schema=sample.facts.schema,
                lo=sample.facts.lo, hi=sample.facts.hi, lsn=done.applied, stamp=done.stamp, chain=done.chain, total=done.total,
            )
        )  # fmt: skip
        manifests = [one for one in manifests if one.first > base.lsn]
    for _ in range(3):
        started, cpu = time.perf_counter(), time.process_time()
        done = loop.run(rebuild(store, disk, base=base, segments=manifests, cut=Cut(), output="out", work="w"))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(
            f"{done.raw_bytes / 1e6:.1f} MB raw, {done.records} records, {done.total.rows} rows: {wall:.2f} s, {done.raw_bytes / 1e6 / wall:.0f} MB/s"
            f" ({done.raw_bytes / 1e6 / cpu:.0f} MB per CPU second), {done.records / wall / 1e3:.0f}k records/s"
        )


if __name__ == "__main__":
    main()
