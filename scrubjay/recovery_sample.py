"""How fast this machine does what a recovery does, now, measured on pieces of the archive itself: what a prediction goes by.

A few MiB are read, checked, replayed and written as rows and as a tree, that is read back, and its bytes are copied: the same code as later, in as many processes at once as
there will be; of each table that is much of it, of its base and of its log apart. Starting those processes tells how fast anything starts here. It is an estimate, so whatever keeps a piece from being
measured is no error: other pieces count for it, without any the rates that the parent's restores had measured, or built-in ones.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from scrubjay.pitr.pace import Costs, StepCost
from scrubjay.pitr.plan import PartitionPlan, Plan
from scrubjay.pitr.rates import RATES_KEY, Rates
from scrubjay.storage.btree.engine import Row, TreeFile
from scrubjay.storage.btree.lmdb_tree import FILE
from scrubjay.storage.btree.rowfile import RowFileWriter, read_beginning
from scrubjay.storage.btree.treefile import TreeFileWriter, copied, proven, synced

SAMPLE_BYTES = 8 << 20
"""Raw bytes of log, or stored bytes of a base, that are measured. Of less than a quarter of it nothing is concluded."""
PIECES_MAX = 4
PIECE_FOR_BYTES = 64 << 20
"""One piece is measured for so much that is to be read, and at least one."""
FIXED_S = 1.0
"""Seconds that a recovery takes whatever its size and wherever it runs: its groups elect, publish and stop."""
STARTS = 1.9
"""More: so many times what the processes of a sample take to start. Those of the recovery start as they do, and so do the nodes."""
START_MAX_S = 5.0
"""What takes longer to start waits for something else."""
START_S = 0.6
"""Where it could not be measured."""
EACH_S = 0.2
"""More for each table."""
COPIES, COPIES_MAX = 3, 12
"""Of the tree of a sample: the median counts of what a core does, the mean of the disk. A disk is busy with others now and then, and takes much for a while and then less: of more that is to be
written more is tried."""
TRIED = 32
"""One part in so many of what will be written, all processes together."""
JOB = "scrubjay.recovery_sample:sample_job"
START_JOB = "scrubjay.recovery_sample:start_job"
OF_LOG, OF_BASES = StepCost(1 / 30e6, 1 / 400e6, 1 / 300e6, 1 / 2e9), StepCost(1 / 15e6, 1 / 200e6, 1 / 150e6, 1 / 1e9)
"""For two cores that do nothing else. A base is counted by its stored bytes: half as many."""


class Specimen(NamedTuple):
    """What stands for the bases (of_base), or the log, of one table. size: bytes of all that; part: the partition that has most of it."""

    size: int
    table: str
    of_base: bool
    part: PartitionPlan


async def measured(
    tasks: Tasks, jobs: Jobs, plans: Mapping[str, Plan], *, url: str, root: Path, workers: int, notes: Mapping[str, Any], below: str = ""
) -> Costs:
    """Costs on this machine. plans: by table. root: the folder that the workers' disk is rooted at. below: in front of the names of scratch folders there. notes: of the parent's coordinators."""
    began = _now_s()
    started = await gather(tasks, [jobs.run(START_JOB, {}) for _ in range(workers)], name="start")
    start = START_S if any(isinstance(one, ScrubjayError) for one in started) else min(START_MAX_S, _now_s() - began)
    fixed, each = round(FIXED_S + STARTS * start, 3), EACH_S
    raw = sum(part.raw for plan in plans.values() for part in plan.partitions)
    found: dict[tuple[str, bool], StepCost] = {}
    for number, piece in enumerate(pieces_of(plans)[: max(1, min(PIECES_MAX, raw // PIECE_FOR_BYTES))]):
        copies = min(COPIES_MAX, max(COPIES, raw // TRIED // workers // SAMPLE_BYTES))
        asked = {"url": url, "root": str(root), "copies": copies, **_beginning(piece)}
        answers = await gather(
            tasks, [jobs.run(JOB, {**asked, "name": f"{below}sample-{number}-{lane}"}) for lane in range(workers)], name="measure"
        )
        cost = _cost([one for one in answers if not isinstance(one, ScrubjayError)])
        if cost is not None and len(answers) == sum(not isinstance(one, ScrubjayError) for one in answers):
            found[piece.table, piece.of_base] = cost
    if not found:
        return _learnt(notes, fixed=fixed, each=each)
    return Costs(found, (_other(found, of_base=False), _other(found, of_base=True)), fixed, each, len(found))


def pieces_of(plans: Mapping[str, Plan]) -> list[Specimen]:
    """Of which there is enough to measure, the largest first. Pure."""
    found = []
    for table, plan in plans.items():
        for of_base in (False, True):
            sizes = [(part.raw_base if of_base else part.raw_log, part) for part in plan.partitions]
            # A log upon a large base is not rebuilt without it.
            sizes = [(size, part) for size, part in sizes if size >= SAMPLE_BYTES // 4 and (of_base or part.raw_base <= SAMPLE_BYTES)]
            if sizes:
                found.append(Specimen(sum(size for size, _ in sizes), table, of_base, max(sizes, key=lambda one: one[0])[1]))
    return sorted(found, key=lambda one: (-one.size, one.table, one.of_base))


def _cost(answers: Sequence[Mapping[str, Any]]) -> StepCost | None:
    """None: too little was measured."""
    raw = sum(one["raw"] for one in answers)
    if not answers or raw < len(answers) * SAMPLE_BYTES // 4:
        return None
    return StepCost(*(sum(one[name] for one in answers) / raw for name in ("read_s", "copy_s", "sync_s", "hash_s")))


def _other(found: Mapping[tuple[str, bool], StepCost], *, of_base: bool) -> StepCost:
    """What was not measured: as what was, of its own kind if there is some."""
    same = [cost for (_, of), cost in found.items() if of is of_base]
    if same:
        return StepCost(*(statistics.mean(costs) for costs in zip(*same, strict=True)))
    others = list(found.values())
    mine, theirs = (OF_BASES, OF_LOG) if of_base else (OF_LOG, OF_BASES)
    return StepCost(
        *(statistics.mean(costs) * one / other for costs, one, other in zip(zip(*others, strict=True), mine, theirs, strict=True))
    )


def _learnt(notes: Mapping[str, Any], *, fixed: float, each: float) -> Costs:
    """What the parent's restores had measured of all three copies, as of one; else the built-in figures."""
    try:
        known = Rates(**notes[RATES_KEY])
        load = 1 / (3 * float(known.load))
        cost = StepCost(1 / float(known.read), load / 4, load / 2, load / 4)
        return Costs({}, (cost, cost), fixed, each, int(known.samples))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return Costs({}, (OF_LOG, OF_BASES), fixed, each, 0)


def _beginning(piece: Specimen) -> dict[str, Any]:
    """What to read of it: the beginning of its base, or the first of its segments and a small base that they rest on."""
    part = piece.part
    if piece.of_base:
        assert part.base is not None
        return {"base": part.base.object, "whole": False, "segments": []}
    chosen, raw = [], 0
    for segment in part.segments:
        if raw >= SAMPLE_BYTES:
            break
        if segment.object not in chosen:
            chosen.append(segment.object)
        raw += segment.raw
    return {"base": None if part.base is None else part.base.object, "whole": True, "segments": chosen}


async def start_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Nothing: its process has started."""
    return {}


async def sample_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: url, root, name (of a scratch folder below it), base (key of a manifest, or None), whole (or only its beginning), segments (keys), copies (to be made).
    Answer: raw (bytes, as plans count them), and in seconds by the clock read_s (read, checked, replayed, written as rows and as a tree, that read back), and of the tree's bytes for one copy
    copy_s, sync_s (durable), hash_s (proven). Raises what reading raises."""
    store, name = context.store(arguments["url"]), arguments["name"]
    folder = Path(arguments["root"]) / name
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    folder.mkdir(parents=True)
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
        copies = [_copied(folder / "tree" / FILE, folder / f"copy-{number}", made) for number in range(arguments["copies"])]
        copy_s, sync_s, hash_s = zip(*copies, strict=True)
        return {
            "raw": raw,
            "read_s": read_s,
            "copy_s": statistics.median(copy_s),
            "sync_s": statistics.mean(sync_s),
            "hash_s": statistics.median(hash_s),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _now_s() -> float:
    return RealClock().boot_us() / 1e6


def _rewritten(blocks: Iterable[list[Row]], path: Path, tree: TreeFileWriter) -> None:
    pieces: list[bytes] = []
    writer = RowFileWriter(pieces.append)
    for rows in blocks:
        block, hashes = [Row(row.key, Lsn(0), Stamp(0), row.item) for row in rows], row_hashes(rows)
        writer.add_all(block, hashes)
        tree.add(block, hashes)
    writer.finish()
    path.write_bytes(b"".join(pieces))


def _copied(made: Path, target: Path, facts: TreeFile) -> tuple[float, float, float]:
    """As a node takes one copy. Seconds: copied, synced, proven."""
    times = [_now_s()]
    steps = (partial(copied, made, target), partial(synced, target), partial(proven, target, size=facts.size, hash_=facts.hash))
    for step in steps:
        step()
        times.append(_now_s())
    return times[1] - times[0], times[2] - times[1], times[3] - times[2]
