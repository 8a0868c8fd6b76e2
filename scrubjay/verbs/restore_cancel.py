"""`scrubjay restore cancel`: give up an unpublished restore and remove its target."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.restore_target import RUN_TEMPLATE, state_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("to", metavar="NEW", help="name of the new table")


def _run(call: VerbCall) -> Result:
    document = call.client().post("restore/cancel", {"to": call.option("to")})
    return int(document["exit"]), document


VERB = Verb(
    words=("restore", "cancel"),
    summary="stop a restore that is not published and remove its target; a published table is never touched",
    example=("scrubjay restore cancel cities-good",),
    exits={
        0: "cancelled, the target is gone",
        1: "the cluster cannot be reached, or no such restore",
        4: "refused: it is published",
    },
    template=RUN_TEMPLATE,
    options=_options,
    run=_run,
    render=state_lines,
)
