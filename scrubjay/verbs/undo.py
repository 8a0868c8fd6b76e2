"""`scrubjay undo`: put back what changed between two moments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import count, wrapped
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.timeline_options import BETWEEN, between_lines, between_options, between_request, compact


def _options(parser: argparse.ArgumentParser) -> None:
    between_options(parser)
    parser.add_argument("--confirm", action="store_true", help="do it; without, what it would do now")


def _run(call: VerbCall) -> Result:
    request = {**between_request(call), "confirm": bool(call.option("confirm"))}
    with call.progress() as progress:
        document = call.client().run_job("undo", request, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    totals = document["totals"]
    lines = [*between_lines(document), ""]
    for one in document["conflicts"]:
        lines += wrapped(f"CONFLICT {compact(one['key'])}: it was written since", rest="  ")
        for label in ("before", "expected", "found"):
            lines += wrapped(compact(one[label]), first=f"  {label + ':':<10}", rest=" " * 12)
    if totals["conflicts"] > len(document["conflicts"]):
        more = totals["conflicts"] - len(document["conflicts"])
        lines.append(f"and {count(more)} more conflicts: --key or --prefix shows them")
    told = ", ".join(f"{count(totals[name])} {name}" for name in ("restored", "deleted", "unchanged", "conflicts"))
    if document["written"]:
        return [*lines, told]
    again = f"scrubjay undo {document['table']} --from {document['from']} --to {document['to']} … --confirm"
    return [*lines, f"it would be: {told}", *wrapped(f"nothing was written; {again} does it", rest="  ")]


VERB = Verb(
    words=("undo",),
    summary="put back what changed between two moments, unless it was written since; without --confirm, say what that is",
    example=(
        "scrubjay undo cities --from 2026-03-01T02:00:00Z --to now",
        "scrubjay undo cities --from 2026-03-01T02:00:00Z --to now --confirm",
    ),
    exits={
        0: "every key that differed is as it was; or the plan, nothing was written",
        1: "the cluster or the archive cannot be reached, or no such table; the same again does what is left",
        2: "the archive is damaged where it was read; nothing was written",
        3: "done, but keys that were written since stay as they are (`conflicts`); or the log forks there (`unproven`)",
        4: "refused, nothing written: a moment lies outside the proven window, or the table is dropped",
    },
    template={
        **BETWEEN,
        "written": None,
        "totals": {"restored": None, "deleted": None, "unchanged": None, "conflicts": None},
        "conflicts": [],
    },
    options=_options,
    run=_run,
    render=_render,
    interrupted="the undo goes on in the server; the same again is safe and does what is left",
)
