"""`scrubjay scrub status`: the running scrub and the result of the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.progress import shown_progress
from scrubjay.text import wrapped
from scrubjay.verb import Result, Verb, VerbCall, no_options
from scrubjay.verbs.scrub_run import render_scrub


def _run(call: VerbCall) -> Result:
    document = call.client().get("scrub/status")
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = []
    if document["running"]:
        facts = document["progress"] or {}
        lines += wrapped(f"running since {document['started']}: {shown_progress(facts)}", rest="  ")
    if document["last"] is None:
        return [*lines, "no scrub has finished since the server started"]
    return [*lines, f"last scrub finished {document['finished']}", "", *render_scrub(document["last"])]


VERB = Verb(
    words=("scrub", "status"),
    summary="show the running scrub and the result of the last one",
    example=("scrubjay scrub status --json",),
    exits={
        0: "the last scrub matched",
        1: "the cluster cannot be reached, or the last scrub failed",
        2: "the last scrub found a mismatch",
        3: "none has finished yet, one is running, or the last left something unverified",
    },
    template={"running": None, "started": None, "finished": None, "progress": None, "last": None},
    options=no_options,
    run=_run,
    render=_render,
)
