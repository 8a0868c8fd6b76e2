"""`scrubjay restore status`: one restore, or all of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.restore_target import RUN_TEMPLATE, state_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("to", metavar="NEW", nargs="?", help="name of the new table; default: all restores the cluster remembers")


def _run(call: VerbCall) -> Result:
    document = call.client().get("restore/status", {"to": call.option("to")})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    if document["to"] is not None:
        return state_lines(document)
    rows = [(one["to"], one["state"], one["table"], one["at"], one["verdict"]) for one in document["restores"]]
    return columns(("to", "state", "from", "at", "verdict"), rows) if rows else ["no restores"]


VERB = Verb(
    words=("restore", "status"),
    summary="show the state of one restore, or of all",
    example=("scrubjay restore status cities-good --json",),
    exits={
        0: "published (of all: none is left in another state)",
        1: "failed, or the cluster cannot be reached, or no such restore",
        2: "the digests differ, or the archive is damaged there: `findings` names it",
        3: "running",
        4: "refused: its name was taken meanwhile, or another cluster writes to the archive",
    },
    template={**RUN_TEMPLATE, "restores": []},
    options=_options,
    run=_run,
    render=_render,
)
