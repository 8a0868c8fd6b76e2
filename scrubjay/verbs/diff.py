"""`scrubjay diff`: what changed in a table between two moments."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scrubjay.client import AdminClient
from scrubjay.text import count, wrapped
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.timeline_options import BETWEEN, between_lines, between_options, between_request, compact


def _options(parser: argparse.ArgumentParser) -> None:
    between_options(parser)
    parser.add_argument("--output", metavar="FILE", help="write the changes there as lines of JSON instead; it appears once it is whole")


def _run(call: VerbCall) -> Result:
    client = call.client()
    with call.progress() as progress:
        document = client.run_job("diff", between_request(call), progress)
        if not document.get("result"):
            return int(document["exit"]), document
        found = _changes(client, document.pop("result"))
        output = call.option("output")
        if output is None:
            document["changes"] = list(found)
        else:
            _write(output, found)
            document["output"] = output
    return int(document["exit"]), document


def _changes(client: AdminClient, result: str) -> Iterator[dict[str, Any]]:
    """Every change, page by page."""
    at: str | None = ""
    while at is not None:
        page = client.get("diff/changes", {"result": result, "at": at})
        yield from page["changes"]
        at = page["next"]


def _write(path: str, found: Iterator[dict[str, Any]]) -> None:
    part = Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    totals = document["totals"]
    lines = [*between_lines(document), ""]
    for one in document["changes"]:
        lines += wrapped(f"{compact(one['key'])} {one['at'] or '-'} lsn {one['lsn'] or '-'}", rest="  ")
        lines += wrapped(compact(one["before"]), first="  - ", rest="    ")
        lines += wrapped(compact(one["after"]), first="  + ", rest="    ")
    lines.append(", ".join(f"{count(totals[name])} {name}" for name in ("added", "removed", "changed", "same")))
    if document["output"]:
        lines.append(f"written to {document['output']}")
    return lines


VERB = Verb(
    words=("diff",),
    summary="show what changed in a table between two moments",
    example=("scrubjay diff cities --from 2026-03-01T02:00:00Z --to now --output FILE",),
    exits={
        0: "told, and both moments are proven",
        1: "the cluster or the archive cannot be reached, or no such table",
        2: "the archive is damaged where it was read",
        3: "told, but the log forks there: of the history that counts (`unproven`)",
        4: "refused: a moment lies outside the proven window",
    },
    template={
        **BETWEEN,
        "partitions": [],
        "totals": {"added": None, "removed": None, "changed": None, "same": None},
        "bytes": None,
        "changes": [],
        "output": None,
    },
    options=_options,
    run=_run,
    render=_render,
)
