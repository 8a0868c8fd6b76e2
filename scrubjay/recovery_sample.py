"""How fast this machine does what a recovery does, now, measured on a piece of the archive itself: what a prediction goes by.

A few MiB are read, checked, replayed and written as rows and as a tree, that is read back, and its bytes are copied: the same code as later, in as many processes at once as
there will be. It is an estimate, so whatever keeps it from being made is no error: without it the rates count that the parent's restores had measured, or built-in ones.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.read.rebuild import rebuild, segment_keys
from scrubjay.archiver.read.replay import Cut
from scrubjay.base.checksum import row_hashes
from scrubjay.base.env import JobContext, Jobs, Tasks
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.base.real.clock import RealClock
from scrubjay.base.together import gather
from scrubjay.pitr.plan import PartitionPlan, Plan
from scrubjay.pitr.rates import RATES_KEY, Rates
from scrubjay.storage.btree.engine import Row, TreeFile
from scrubjay.storage.btree.lmdb_tree import FILE
from scrubjay.storage.btree.rowfile import RowFileWriter, read_beginning
from scrubjay.storage.btree.treefile import TreeFileWriter, copy_of

SAMPLE_BYTES = 8 << 20
"""Raw bytes of log, or stored bytes of a base, that are measured. Of less than a quarter of it nothing is concluded."""
FIXED_S = 2.2
"""Seconds that a recovery takes whatever its size: a cluster starts, elects, publishes and stops. 2.1 to 2.5 s of 1 MiB on two cores with a load of 3 (bench_recover)."""
UNMEASURED = Rates(read=30e6, load=60e6, fixed=FIXED_S)
"""For two cores that do nothing else."""
COPIES = 3
"""Of the tree of a sample: the median counts. A disk is busy with others now and then."""
BLOCK_ROWS = 256
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
    Answer: raw (bytes, as plans count them), read_s (read, checked, replayed, written as rows and as a tree, that read back), load_s (the tree's bytes for one copy, durable and
    proven): seconds by the clock. Raises what reading raises."""
    store, name = context.store(arguments["url"]), arguments["name"]
    folder = Path(arguments["root"]) / name
    folder.mkdir()
    os.sync()  # what others have not written yet is no cost of this
    try:
        began = _now_s()
        base = None if arguments["base"] is None else decode_base(await store.get(arguments["base"]), where=arguments["base"])
        with closing(TreeFileWriter(folder / "tree", bytes(16))) as tree:
            if base is None or arguments["whole"]:
                rebuilt = await rebuild(
                    store, context.disk, base=base, segments=segment_keys(arguments["segments"]), cut=Cut(None), output=f"{name}/rows",
                    work=f"{name}/base", rebase=True, also=tree.add,
                )  # fmt: skip
                raw = rebuilt.raw_bytes + (0 if base is None else base.file.size)
            else:
                data = await store.get_range(build(base.key(0)), 0, min(SAMPLE_BYTES, base.parts[0].size))
                raw = len(data)
                _rewritten(read_beginning(data), folder / "rows", tree)
            made = tree.finish(bytes(16), None)
        read_s = _now_s() - began
        load_s = statistics.median(_copied(folder / "tree" / FILE, folder / f"copy-{number}", made) for number in range(COPIES))
        return {"raw": raw, "read_s": read_s, "load_s": load_s}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _now_s() -> float:
    return RealClock().boot_us() / 1e6


def _rewritten(rows: Iterable[Row], path: Path, tree: TreeFileWriter) -> None:
    pieces: list[bytes] = []
    writer = RowFileWriter(pieces.append)
    wanted = iter(rows)
    while block := [Row(row.key, Lsn(0), Stamp(0), row.item) for row in islice(wanted, BLOCK_ROWS)]:
        hashes = row_hashes(block)
        writer.add_all(block, hashes)
        tree.add(block, hashes)
    writer.finish()
    path.write_bytes(b"".join(pieces))


def _copied(made: Path, target: Path, facts: TreeFile) -> float:
    """As a node takes one copy. Seconds."""
    began = _now_s()
    copy_of(made, target, size=facts.size, hash_=facts.hash, move=False)
    return _now_s() - began
