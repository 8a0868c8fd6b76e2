"""`scrubjay restore resume`: take up an unfinished restore."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.restore_target import RUN_TEMPLATE, state_lines, wait_options


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("to", metavar="NEW", help="name of the new table")
    wait_options(parser)


def _run(call: VerbCall) -> Result:
    client = call.client()
    document = client.post("restore/resume", {"to": call.option("to")})
    if call.option("wait"):
        with call.progress() as progress:
            document = client.wait("restore/status", {"to": call.option("to")}, progress)
    return int(document["exit"]), document


VERB = Verb(
    words=("restore", "resume"),
    summary="take up an unfinished restore where it stopped, and wait for it",
    example=("scrubjay restore resume cities-good",),
    exits={
        0: "published",
        1: "failed, or the cluster cannot be reached, or no such restore",
        2: "the digests differ: not published, or the archive is damaged there: `findings` names it",
        3: "running (--no-wait)",
        4: "refused: its name was taken meanwhile, or another cluster writes to the archive",
    },
    template=RUN_TEMPLATE,
    options=_options,
    run=_run,
    render=state_lines,
    interrupted="the restore goes on in the server: scrubjay restore status NEW shows it",
)
