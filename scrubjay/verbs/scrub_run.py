"""`scrubjay scrub run`: every replica against a reference rebuilt from the archive, at one exact LSN."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.output import columns
from scrubjay.verb import Call, Result, Verb
from scrubjay.verbs.findings import finding_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: every table and the metadata group")
    parser.add_argument("--partition", metavar="P", help="id of one partition")


def _run(call: Call) -> Result:
    request = {"table": call.option("table"), "partition": call.option("partition")}
    with call.progress() as progress:
        document = call.client().run_job("scrub", request, progress)
    return int(document["exit"]), document


def render_scrub(document: Mapping[str, Any]) -> Sequence[str]:
    """A scrub report for people: a row per copy, then the findings."""
    rows: list[tuple[object, ...]] = []
    findings: list[Mapping[str, Any]] = []
    for table in document["tables"]:
        for part in table["partitions"]:
            place = (table["table"], part["partition"], part["lsn"])
            rows += [(*place, copy["copy"], copy["kind"], copy["rows"], copy["digest"], copy["verdict"]) for copy in part["copies"]]
            if not part["copies"] or part["reason"]:
                rows.append((*place, "-", "-", "-", part["reason"], part["verdict"]))
            findings += part["findings"]
    lines = columns(("table", "partition", "lsn", "copy", "kind", "rows", "digest", "verdict"), rows)
    totals = document["totals"]
    lines += ["", f"verdict {document['verdict']}; healed: {document['healed']}"]
    if totals.get("partitions") is not None:
        lines.append(f"{totals['partitions']} partitions, {totals['rows']} rows, {totals['bytes']} bytes in {totals['seconds']:.1f} s")
    return [*lines, *finding_lines(findings)]


VERB = Verb(
    words=("scrub", "run"),
    summary="compare every replica with one rebuilt from the archive alone, heal what rotted, and say so",
    example=("scrubjay scrub run --table cities",),
    exits={
        0: "all copies and the reference match",
        1: "the cluster cannot be reached, or no such table or partition",
        2: "something differed, even if it was healed in this run",
        3: "a copy, a partition or the reference could not be compared",
    },
    template={
        "verdict": None,
        "healed": None,
        "tables": [],
        "totals": {"partitions": None, "rows": None, "bytes": None, "seconds": None},
    },
    options=_options,
    run=_run,
    render=render_scrub,
    interrupted="the scrub goes on in the server: scrubjay scrub status shows it",
)
