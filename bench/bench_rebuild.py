"""How fast one worker rebuilds: raw log bytes per second, from segment objects to a row file.

    .venv/bin/python -m bench.bench_rebuild [--segments 8] [--item 900] [--base]
    .venv/bin/python -m bench.bench_rebuild --peak [--segments 8] [--item 900] [--held 8]

No store and no disk in the way (both in memory): what is measured is decompression, checks, merge and the row file. Goal: > 125 MB/s raw per worker.
With --peak: the largest memory of a process that rebuilds the first half and all of an archive of ever new keys in a folder, holding --held MiB of net changes, and holding all.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import tempfile
import time
from pathlib import Path

from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.ids import Lsn
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.stores import open_store
from scrubjay.sim.lone import LoneDisk, LoneHost, LoneStore
from scrubjay.storage.log.record import Effect, Op
from tests.unit.archiver.sample import ATTACHED, Sample

SEGMENT_BYTES = 8 << 20


def fill(sample: Sample, segments: int, item_bytes: int, keys: int, *, puts: int = 1) -> None:
    """Segments of puts, so many a record; half of every item is text that compresses, half is not."""
    text = b'{"name":{"S":"scrub jay"},"place":{"S":"oak wood"},"count":{"N":"17"}}' * 20
    states = sample.states
    for _ in range(segments):
        size = 0
        while size < SEGMENT_BYTES:
            effects = []
            for _ in range(puts):
                key = hashlib.md5(sample.rng.randrange(keys).to_bytes(4, "big")).digest() + b"\x01sort"
                effects.append(Effect(Op.PUT, key, sample.rng.randbytes(item_bytes // 2) + text[: item_bytes - item_bytes // 2]))
            size += len(sample.write(effects).data)
            states.clear()  # the model keeps every state; here nobody asks for it
        sample.seal()


def most_kib() -> int:
    """The most memory that this process had (VmHWM). Not `ru_maxrss`: that is inherited from whoever started it."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


def peak(folder: str, segments: int, held_mib: int) -> None:
    """In a process of its own: rebuild the first segments of a folder's archive, and print what it took."""

    async def whole(tasks: AsyncTasks) -> None:
        store = open_store(f"file://{folder}/archive", create=False)
        names = sorted(path.relative_to(f"{folder}/archive").as_posix() for path in Path(folder).glob("archive/**/*.seg"))
        disk = RealDisk(Path(folder) / "work")
        before, cpu = most_kib(), time.process_time()
        done = await rebuild(
            store,
            disk,
            base=None,
            segments=segment_keys(names[:segments]),
            cut=Cut(),
            output="rows",
            work="w",
            held_bytes_max=held_mib << 20,
        )
        most, cpu = most_kib(), time.process_time() - cpu
        print(
            f"{held_mib:5} MiB held: {done.raw_bytes / 1e6:.0f} MB raw, {done.total.rows} rows: peak {most / 1024:.0f} MiB,"
            f" {before / 1024:.0f} before; {cpu:.2f} CPU seconds",
            flush=True,
        )

    run(whole)


def peaks(sample: Sample, held_mib: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in sample.objects().items():
            path = Path(folder, "archive", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for held in (held_mib, 1 << 20):
            for segments in (len(sample.segments) // 2, len(sample.segments)):
                child = multiprocessing.get_context("spawn").Process(target=peak, args=(folder, segments, held))
                child.start()
                child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--item", type=int, default=900)
    parser.add_argument("--keys", type=int, default=40_000)
    parser.add_argument("--base", action="store_true", help="start from a base snapshot of the first half")
    parser.add_argument("--peak", action="store_true", help="memory, of two sizes")
    parser.add_argument("--held", type=int, default=8, help="with --peak: MiB of net changes in memory")
    options = parser.parse_args()
    sample = Sample(seed=1)
    if options.peak:
        fill(sample, options.segments, options.item, 1 << 30, puts=50)
        peaks(sample, options.held)
        return
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
