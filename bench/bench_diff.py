"""What a comparison of two moments costs one worker: of a partition that was imported and then spoilt here and there, with the base read whole, and with those of its rows alone that the log touches.

    .venv/bin/python -m bench.bench_diff [--items 200000] [--bad 1700] [--item-bytes 900] [--runs 3] [--folder DIR]

The archive lies in a folder (--folder: there, kept, and filled only once). Prints a line a run and way: seconds by the clock, of processor time, and what differs.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.layout import BaseKey, SegmentKey, build, parse
from scrubjay.archiver.write.bases import upload_base
from scrubjay.base.env import Disk, ObjectStore
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.stores import open_store
from scrubjay.pitr.timeline import jobs
from scrubjay.storage.btree.rowfile import RowFileWriter
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.log import chain as chains
from scrubjay.storage.log.record import Effect, Op
from tests.unit.archiver.sample import ATTACHED, Sample, total_of

PUTS = 100
"""A record."""


class Context:
    """base.env.JobContext of this process."""

    def __init__(self, disk: Disk, store: ObjectStore) -> None:
        self.disk, self._store = disk, store

    def store(self, url: str) -> ObjectStore:
        return self._store

    place = store

    def progress(self, facts: dict[str, Any]) -> None:
        """Nobody looks."""


def key_of(number: int) -> bytes:
    return hashlib.md5(number.to_bytes(4, "big")).digest() + b"\x01"


def item_of(number: int, draw: random.Random, words: list[str], size: int) -> bytes:
    return encode_item({"id": ("S", f"k{number:09d}"), "v": ("S", " ".join(draw.choices(words, k=size // 11)))})


async def fill(folder: Path, options: argparse.Namespace) -> None:
    store, disk = open_store(f"file://{folder}/archive", create=True), RealDisk(folder)
    draw = random.Random(1)
    words = [f"{draw.getrandbits(40):010x}" for _ in range(500)]
    state = {key_of(number): item_of(number, draw, words, options.item_bytes) for number in range(options.items)}
    sample = Sample(start_state=state)
    with open(folder / "rows", "wb") as file:
        writer = RowFileWriter(lambda data: (file.write(data), None)[1])
        for key in sorted(state):
            writer.add(key, 0, 0, state[key])
        writer.finish()
    facts = sample.facts
    await upload_base(
        store, disk, "rows", writer=ATTACHED, table=sample.table, partition=sample.partition, table_name=facts.table_name, schema=facts.schema,
        lo=facts.lo, hi=facts.hi, lsn=0, stamp=0, chain=chains.START, total=total_of(state),
    )  # fmt: skip
    (folder / "rows").unlink()
    for first in range(0, options.bad, PUTS):
        sample.states.clear()
        some = range(first, min(first + PUTS, options.bad))
        sample.write([Effect(Op.PUT, key_of(number), encode_item({"id": ("S", f"k{number:09d}"), "v": ("S", "bad")})) for number in some])
    sample.seal()
    for name, data in sample.objects().items():
        await store.put(name, data)


async def measure(folder: Path, options: argparse.Namespace) -> None:
    store, disk = open_store(f"file://{folder}/archive", create=False), RealDisk(folder / "work")
    names = sorted(path.relative_to(folder / "archive").as_posix() for path in (folder / "archive").rglob("*") if path.is_file())
    base = next(name for name in names if isinstance(key := parse(name), BaseKey) and key.part is None)
    segments = [name for name in names if isinstance(key := parse(name), SegmentKey) and not key.manifest]
    manifest = decode_base(await store.get(base), where=base)
    sides = {
        "before": {"partition": manifest.partition, "base": build(manifest.key()), "segments": segments, "cut": 1},
        "after": {"partition": manifest.partition, "base": base, "segments": segments, "cut": (1 << 63) - 1},
    }
    asked = {
        "url": "",
        **sides,
        "shared": True,
        "low": "",
        "high": None,
        "names": ["id"],
        "form": jobs.KEPT,
    }
    for _ in range(options.runs):
        for way, rows in (("whole", 1 << 60), ("touched", jobs.TOUCHED_PER_ROW)):
            jobs.TOUCHED_PER_ROW, was = rows, jobs.TOUCHED_PER_ROW
            began, cpu = time.perf_counter(), time.process_time()
            answer = await jobs.diff_job(Context(disk, store), {**asked, "output": "changes", "work": "base"})
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            jobs.TOUCHED_PER_ROW = was
            disk.remove("changes")
            print(f"{way:8} {took:6.2f} s, {cpu:6.2f} s of processor time: {answer['totals']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--bad", type=int, default=1_700)
    parser.add_argument("--item-bytes", type=int, default=900)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        if not (folder / "archive").exists():
            asyncio.run(fill(folder, options))
        (folder / "work").mkdir(exist_ok=True)
        asyncio.run(measure(folder, options))


if __name__ == "__main__":
    main()
