"""`scrubjay scrub history`: the scrubs that were, newest first, each with what it found."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.text import plural, second_of, seconds, wrapped
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.finding_lines import finding_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id: only runs that covered it, and what they found in it")
    parser.add_argument("--since", metavar="TIME", help="only runs that began then or later (RFC 3339)")
    parser.add_argument("--limit", metavar="N", type=int, default=50, help="runs told of at most (default: 50)")


def _run(call: VerbCall) -> Result:
    since = call.option("since")
    asked = {
        "table": call.option("table"),
        "since_us": None if since is None else str(parse_time(since)),
        "limit": str(call.option("limit")),
    }
    document = call.client().get("scrub/history", {key: value for key, value in asked.items() if value is not None})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines: list[str] = []
    for run in document["runs"]:
        totals = run["totals"] or {}
        took = f" in {seconds(totals['seconds'])}" if totals.get("seconds") is not None else ""
        covered = plural(len(run["tables"]), "table")
        word = f"{run['verdict']}{', healed' if run['healed'] else ''}" if run["finished"] else "cut off: its process ended first"
        lines += wrapped(f"{run['started']} {word}; {covered}{took}", rest="  ")
        lines += [f"  {line}" for line in finding_lines(run["findings"])]
    lines = lines or ["no scrub is remembered"]
    if document["more"]:
        lines.append("and older ones: --limit")
    if document["rebuilt"]:
        at = second_of(document["rebuilt"])
        lines += wrapped(
            f"the ledger was lost and rebuilt at {at}: of what was before, it knows what the nights had told the archive", rest="  "
        )
    return lines


VERB = Verb(
    words=("scrub", "history"),
    summary="show the scrubs that were, newest first, each with what it found",
    example=("scrubjay scrub history --table cities --since 2026-03-01T00:00:00Z",),
    exits={0: "told, whatever the runs found", 1: "the cluster cannot be reached, or no such table"},
    template={"runs": [], "more": None, "rebuilt": None},
    options=_options,
    run=_run,
    render=_render,
)
