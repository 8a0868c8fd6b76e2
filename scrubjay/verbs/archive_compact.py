"""`scrubjay archive compact`: many small segments become one pack."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, count, plural, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

_TEMPLATE: Mapping[str, Any] = {
    "ran": None,
    "at": None,
    "tables": [],
    "cut": None,
    "left": None,
    "totals": {
        "segments": None,
        "packs": None,
        "raw_bytes": None,
        "objects_saved": None,
        "made": None,
        "packed": None,
        "named": None,
        "unnamed": None,
        "not_packed": None,
        "deleted": None,
        "freed": None,
    },
}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", nargs="?", help="name or id; default: every table and the metadata group")
    parser.add_argument("--plan", action="store_true", help="say what would be packed; nothing is changed")


def _run(call: VerbCall) -> Result:
    request = {"table": call.option("table"), "confirm": not call.option("plan")}
    with call.progress() as progress:
        document = call.client().run_job("archive/compact", request, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    ran = document["ran"]
    rows = [
        (one["table"], count(one["packed" if ran else "segments"]), count(one["made" if ran else "packs"]), human_size(one["raw_bytes"]))
        for one in document["tables"]
    ]
    lines = list(columns(("table", "segments", "packs", "records"), rows))
    for one in document["tables"]:
        for found in one["findings"]:
            lines += wrapped(f"BAD ({found['kind']}) {found['object']}: {found['detail']}", rest="  ")
        if one["refused"]:
            lines += wrapped(f"REFUSED: {one['table']}: {one['refused']}", rest="  ")
        for held in one["held"]:
            lines += wrapped(f"held: {one['table']}, by {' '.join(filter(None, (held['by'], held['name'])))}: {held['detail']}", rest="  ")
    totals = document["totals"]
    if ran and totals["named"]:
        lines.append(f"{plural(totals['named'], 'pack')} had no sound manifest; it was written anew, from the pack")
    if not ran and totals["unnamed"]:
        lines.append(f"{plural(totals['unnamed'], 'pack')} without a sound manifest, which is to be written anew")
    if ran:
        return [*lines, f"{plural(totals['deleted'], 'object')} deleted, {plural(totals['made'], 'pack')} made"]
    return [
        *lines,
        f"{plural(totals['objects_saved'], 'object')} fewer; scrubjay archive compact does it, and so does the schedule each day",
    ]


VERB = Verb(
    words=("archive", "compact"),
    summary="put the small segments of days that are over into one object each; every record stays as it was agreed",
    example=("scrubjay archive compact --plan", "scrubjay archive compact cities"),
    exits={
        0: "done, or the plan",
        1: "the cluster or the object store cannot be reached, or no such table; the next run goes on",
        2: "an object that was read is bad: it is named, and stays as it is",
        3: "what was packed cannot be deleted: the store keeps it",
        4: "a table has two histories, or something stands over one of its objects: nothing of it is packed",
    },
    template=_TEMPLATE,
    options=_options,
    run=_run,
    render=_render,
    interrupted="the run goes on in the server; it is safe to run it again",
)
