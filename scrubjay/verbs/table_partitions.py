"""`scrubjay table partitions`: the partitions of a table and of its global indexes, what is being split, and what was."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, count
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

_HASH_SHOWN = 8


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name or id of the table")


def _run(call: VerbCall) -> Result:
    document = call.client().get("table/partitions", {"table": call.option("table")})
    return int(document.get("exit", 0)), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = _lines(document)
    for index in document.get("indexes", ()):
        lines += ["", f"global index {index['index']}, made {index['made']}", *_lines(index)]
    return lines


def _lines(document: Mapping[str, Any]) -> list[str]:
    rows = []
    for one in document["partitions"]:
        copies = ", ".join(f"{name} {state}" for name, state in one["copies"].items())
        items = "-" if one["items"] is None else count(one["items"])
        size = "-" if one["bytes"] is None else human_size(one["bytes"])
        rows.append((one["partition"], one["lo"][:_HASH_SHOWN], one["leader"] or "none", items, size, copies))
    lines = list(columns(("partition", "from", "leader", "items", "size", "copies"), rows))
    lines += [f"{one['partition']} is large, and is not split yet: {one['waits']}" for one in document["partitions"] if one.get("waits")]
    split = document["split"]
    if split is not None:
        lines.append(f"{split['partition']} is to be split at {split['cut'][:_HASH_SHOWN]}, since {split['began']}")
        if split["waits"]:
            lines.append(f"  it waits: {split['waits']}  (runbooks/node-out-of-service.md)")
    lines += [f"{one['partition']} was split at {one['until']} into {one['left']} and {one['right']}" for one in document["former"]]
    return lines


VERB = Verb(
    words=("table", "partitions"),
    summary="the partitions of a table and of its global indexes, what is being split, and what was",
    example=("scrubjay table partitions cities",),
    exits={
        0: "shown",
        1: "the cluster cannot be asked, or there is no such table",
    },
    template={"table": None, "table_id": None, "partitions": [], "split": None, "former": [], "indexes": []},
    options=_options,
    run=_run,
    render=_render,
)
