"""`scrubjay drill list`: the disasters that can be rehearsed, and how the last rehearsal of each went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, seconds, wrapped
from scrubjay.verb import Result, Verb, VerbCall, no_options


def _run(call: VerbCall) -> Result:
    document = call.client().get("drill")
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = [line for one in document["damaged"] for line in wrapped(f"DAMAGED report {one['report']}: {one['detail']}", rest="  ")]
    lines += columns(("drill", "runs", "last", "verdict", "items", "RTO"), [_row(one) for one in document["scenarios"]])
    for one in document["scenarios"]:
        lines += wrapped(f"{one['scenario']}: {one['summary']}", rest="  ")
    return [*lines, f"reports are signed by {document['public_key']}"] if document["public_key"] else lines


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    last = one["last"] or {}
    at = None if not last else last["started"].partition(".")[0] + "Z"
    return one["scenario"], one["runs"], at, last.get("verdict"), last.get("rows_compared"), seconds(last.get("rto_seconds"))


VERB = Verb(
    words=("drill", "list"),
    summary="show the disasters that can be rehearsed, and how the last rehearsal of each went",
    example=("scrubjay drill list",),
    exits={0: "told, whatever the drills found", 1: "the cluster cannot be reached"},
    template={"scenarios": [], "public_key": None, "damaged": []},
    options=no_options,
    run=_run,
    render=_render,
)
