"""`scrubjay restore run`: restore to a new table. The work runs in the server; this waits for it."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.restore_target import RUN_TEMPLATE, state_lines, target_options, target_request, wait_options


def _options(parser: argparse.ArgumentParser) -> None:
    target_options(parser)
    wait_options(parser)


def _run(call: VerbCall) -> Result:
    client = call.client()
    document = client.post("restore/run", target_request(call))
    call.log(f"restore of {document.get('table')} to {call.option('to')} as of {document.get('at')}")
    if call.option("wait"):
        with call.progress() as progress:
            document = client.wait("restore/status", {"to": call.option("to")}, progress)
    return int(document["exit"]), document


VERB = Verb(
    words=("restore", "run"),
    summary="restore a table as of a moment to a new table; published only once its digests agree",
    example=("scrubjay restore run --table cities --to cities-good --at 2026-03-01T02:14:59Z",),
    exits={
        0: "restored, digests agree, published",
        1: "failed, or the cluster cannot be reached, or no such table",
        2: "the digests of what was read and what was loaded differ, or the archive is damaged there (`findings`): not published; or published, but the archive holds two histories of it (`forks`)",
        3: "running (--no-wait)",
        4: "refused, nothing written: outside the proven window, the new table exists, or an unfinished restore to it has another `at`",
    },
    template=RUN_TEMPLATE,
    options=_options,
    run=_run,
    render=state_lines,
    interrupted="the restore goes on in the server: scrubjay restore status NEW shows it, the same restore run attaches again",
)
