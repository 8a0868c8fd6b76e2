"""What a drill does in a worker process: rows of a copy with those that the archive gave. The comparison is the scrub's (`scrubber.compare`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.base.env import JobContext
from scrubjay.base.ids import Lsn
from scrubjay.drills.scenario import DIFFERENCES_MAX
from scrubjay.scrubber.compare import differences_in
from scrubjay.scrubber.jobs import facts_job, facts_of
from scrubjay.storage.btree.engine import RowFact

AGAINST = "scrubjay.drills.against:against_job"


async def against_job(context: JobContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: rows (path of a row file), ranges ([start, end or None], rising), found (per range, [key, hash, lsn] as `facts_job` has them), applied (an LSN: what was
    written above it says nothing; None: all counts), what (whose rows they are, in words), indexing (as of `facts_job`: index rows are among those found).

    Answer: rows (keys that both sides were asked for), differences (in words, bounded). Raises Corrupt, Missing: of the row file.
    """
    applied, what = arguments["applied"], arguments["what"]
    truths = facts_of(await facts_job(context, {name: arguments[name] for name in ("rows", "ranges", "indexing")}))
    founds = facts_of({"facts": arguments["found"]})
    rows, differences = 0, []
    for expected, found in zip(truths, founds, strict=True):
        said, held = (expected, found) if applied is None else against_live(expected, found, Lsn(applied))
        rows += len({row.key for row in (*said, *held)})
        differences += [f"{what}: {one.kind.value} key {(one.key or b'').hex()}" for one in differences_in({what: held}, said)]
        del differences[DIFFERENCES_MAX:]
    return {"rows": rows, "differences": differences}


def against_live(expected: Sequence[RowFact], live: Sequence[RowFact], applied: Lsn) -> tuple[list[RowFact], list[RowFact]]:
    """What both sides say of the moment: the expected rows that none has touched since, and live rows that no record above `applied` wrote. Pure.

    A row that is gone from the live copy may have been deleted since: what the live copy lacks says nothing.
    """
    newer = {row.key for row in live if row.lsn > applied}
    held = {row.key for row in live}
    return [row for row in expected if row.key in held and row.key not in newer], [row for row in live if row.lsn <= applied]
