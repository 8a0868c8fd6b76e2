"""How fast this machine does what a recovery does, now, measured on a piece of the archive itself: what a prediction goes by.

A few MiB are read, checked, replayed and loaded into a scratch tree, and that is read back: the same code as later, in as many processes at once as there will
be. It is an estimate, so whatever keeps it from being made is no error: without it the rates count that the parent's restores had measured, or built-in ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.env import JobContext, Jobs, Tasks
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.real.clock import RealClock
from scrubjay.base.together import gather
from scrubjay.pitr.plan import PartitionPlan, Plan
from scrubjay.pitr.rates import RATES_KEY, Rates
from scrubjay.storage.btree.engine import EMPTY, Row
from scrubjay.storage.btree.lmdb_tree import TreeReader, TreeWriter, open_databases, open_environment
from scrubjay.storage.btree.rowfile import RowFileWriter, read_beginning, read_blocks
from scrubjay.storage.btree.scan import scan_digest

SAMPLE_BYTES = 8 << 20
"""Raw bytes of log, or stored bytes of a base, that are measured. Of less than a quarter of it nothing is concluded."""
FIXED_S = 2.2
"""Seconds that a recovery takes whatever its size: a cluster starts, elects, publishes and stops. 2.1 to 2.5 s of 1 MiB on two cores with a load of 3 (bench_recover)."""
UNMEASURED = Rates(read=30e6, load=60e6, fixed=FIXED_S)
"""For two cores that do nothing else."""
JOB = "scrubjay.recovery_sample:sample_job"


async def measured(
    tasks: Tasks, jobs: Jobs, plans: Mapping[str, Plan], *, url: str, root: Path, workers: int, notes: Mapping[str, Any]
) -> Rates:
    """Rates of this machine. root: the scratch folder that the workers' disk is rooted at. notes: of the parent's coordinators."""
    known = _learnt(notes)
    parts = [part for plan in plans.values() for part in plan.partitions]
    piece = max(parts, key=lambda part: part.raw, default=None)
    if piece is None or piece.raw < SAMPLE_BYTES // 4:
        return known
    arguments = {"url": url, "root": str(root), **_beginning(piece)}
    answers = await gather(tasks, [jobs.run(JOB, {**arguments, "name": f"sample-{number}"}) for number in range(workers)], name="measure")
    found = [one for one in answers if not isinstance(one, ScrubjayError)]
    if len(found) < len(answers):
        return known
    raw = sum(one["raw"] for one in found)
    read_s, load_s = sum(one["read_s"] for one in found), sum(one["load_s"] for one in found)
    if raw < len(found) * SAMPLE_BYTES // 4 or not read_s or not load_s:
        return known
    return Rates(read=raw / read_s, load=raw / load_s, fixed=FIXED_S, samples=1)


def _learnt(notes: Mapping[str, Any]) -> Rates:
    """What the parent's restores had measured of all three copies, as of one; else the built-in figures. fixed is this process's own."""
    try:
        found = Rates(**notes[RATES_KEY])
        return Rates(float(found.read), 3 * float(found.load), FIXED_S, int(found.samples))
    except (KeyError, TypeError, ValueError):
        return UNMEASURED


def _beginning(part: PartitionPlan) -> dict[str, Any]:
    """What to read of it: the first of its segments, unless they rest on a base that is most of it."""
    if part.base is not None and part.base.raw > SAMPLE_BYTES:
        return {"base": part.base.object, "whole": False, "segments": []}
    chosen, raw = [], 0
    for segment in part.segments:
        if raw >= SAMPLE_BYTES:
            break
        chosen.append(segment.object)
        raw += segment.raw
    return {"base": None if part.base is None else part.base.object, "whole": True, "segments": chosen}


async def sample_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url, root, name (of a scratch folder below it), base (key of a manifest, or None), whole (or only its beginning), segments (keys).
    Answer: raw (bytes, as plans count them), read_s, load_s (seconds by the clock). Raises what reading raises."""
    store, name = context.store(arguments["url"]), arguments["name"]
    folder = Path(arguments["root"]) / name
    folder.mkdir()
    try:
        began = _now_s()
        base = None if arguments["base"] is None else decode_base(await store.get(arguments["base"]), where=arguments["base"])
        if base is None or arguments["whole"]:
            rebuilt = await rebuild(
                store, context.disk, base=base, segments=segment_keys(arguments["segments"]), cut=Cut(None), output=f"{name}/rows",
                work=f"{name}/base", rebase=True,
            )  # fmt: skip
            raw = rebuilt.raw_bytes + (0 if base is None else base.file.size)
        else:
            data = await store.get_range(build(base.key(0)), 0, min(SAMPLE_BYTES, base.parts[0].size))
            raw = len(data)
            _rewritten(read_beginning(data), folder / "rows")
        read = _now_s()
        _loaded(folder / "rows", folder / "tree")
        return {"raw": raw, "read_s": read - began, "load_s": _now_s() - read}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _now_s() -> float:
    return RealClock().boot_us() / 1e6


def _rewritten(rows: Iterable[Row], path: Path) -> None:
    pieces: list[bytes] = []
    writer = RowFileWriter(pieces.append)
    for row in rows:
        writer.add(row.key, 0, 0, row.item)
    writer.finish()
    path.write_bytes(b"".join(pieces))


def _loaded(path: Path, tree: Path) -> None:
    """As a node loads one copy and reads it back."""
    tree.mkdir()
    writer = TreeWriter(str(tree), bytes(16), sync=False, create=True)
    try:
        writer.load(_blocks(path), EMPTY)
        writer.environment.sync(True)
    finally:
        writer.close()
    environment = open_environment(str(tree), write=False)
    try:
        databases = open_databases(environment, create=False)
        with environment.begin() as transaction:
            for _ in scan_digest(TreeReader(transaction, databases, bytes(16)), bytes(16), None):
                pass
    finally:
        environment.close()


def _blocks(path: Path) -> Iterator[tuple[list[Row], list[int]]]:
    descriptor = os.open(path, os.O_RDONLY)
    read: Callable[[int, int], bytes] = lambda offset, length: os.pread(descriptor, length, offset)  # noqa: E731
    try:
        yield from read_blocks(read, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
