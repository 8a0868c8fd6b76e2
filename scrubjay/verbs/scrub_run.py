"""`scrubjay scrub run`: every replica against a reference rebuilt from the archive, at one exact LSN."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, count, plural, seconds, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.finding_lines import finding_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: every table and the metadata group")
    parser.add_argument("--partition", metavar="P", help="id of one partition")


def _run(call: VerbCall) -> Result:
    request = {"table": call.option("table"), "partition": call.option("partition")}
    with call.progress() as progress:
        document = call.client().run_job("scrub", request, progress)
    return int(document["exit"]), document


_WORST = {"mismatch": 0, "unverified": 1, "match": 2}


def _badness(one: Mapping[str, Any]) -> int:
    return _WORST.get(str(one["verdict"]), 0)


def render_scrub(document: Mapping[str, Any]) -> Sequence[str]:
    """A scrub report for people, what is bad first: each partition that is not well with its copies and findings, then a line for each table that is."""
    parts = [(table["table"], part) for table in document["tables"] for part in table["partitions"]]
    good = [(name, part) for name, part in parts if _badness(part) == 2 and not part["findings"]]
    lines: list[str] = []
    for name, part in sorted(parts, key=lambda one: _badness(one[1])):
        if (name, part) not in good:
            lines += [*_partition_lines(name, part), ""]
    for name in dict.fromkeys(name for name, _ in good):
        lines += _good_lines(name, [part for owner, part in good if owner == name])
    totals = document["totals"]
    lines += ["", f"verdict {document['verdict']}; healed: {'yes' if document['healed'] else 'no'}"]
    if totals.get("partitions") is not None:
        took = seconds(totals["seconds"])
        lines.append(
            f"{plural(totals['partitions'], 'partition')}, {plural(totals['rows'], 'row')}, {human_size(totals['bytes'])} in {took}"
        )
    return lines


def _good_lines(table: str, parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for all of a table that is well."""
    rows = sum(max((copy["rows"] or 0 for copy in part["copies"]), default=0) for part in parts)
    copies = max((sum(copy["kind"] != "reference" for copy in part["copies"]) for part in parts), default=0)
    agree = f"{copies} copies agree with the archive"
    return wrapped(f"match: {table}, {plural(len(parts), 'partition')}, {plural(rows, 'row')}, {agree}", rest="  ")


def _partition_lines(table: str, part: Mapping[str, Any]) -> list[str]:
    at = f" at lsn {count(part['lsn'])}" if part["lsn"] is not None else ""
    lines = wrapped(f"{part['verdict']}: {table}{at}{', healed' if part.get('healed') else ''}", rest="  ")
    lines.append(f"  partition {part['partition']}")
    if part["reason"]:
        lines += wrapped(f"reason: {part['reason']}", first="  ", rest="    ")
    copies = sorted(part["copies"], key=_badness)
    if copies:
        rows = [(copy["copy"], copy["kind"], count(copy["rows"]), copy["digest"], copy["verdict"]) for copy in copies]
        lines += columns(("copy", "kind", "rows", "digest", "verdict"), rows, indent="  ")
    for copy in copies:
        if copy.get("reason"):
            lines += wrapped(f"{copy['copy']}: {copy['reason']}", first="  ", rest="    ")
    return [*lines, *finding_lines(part["findings"], table=table)]


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
        "plan": None,
    },
    options=_options,
    run=_run,
    render=render_scrub,
    interrupted="the scrub goes on in the server: scrubjay scrub status shows it",
)
