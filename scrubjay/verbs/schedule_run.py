"""`scrubjay schedule run`: a job now, as it would run by itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", metavar="JOB", help="as `schedule list` names it: scrub, verify, base, expire, compact, drill:restore-random"
    )


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("schedule/run", {"job": call.option("job")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    last = document["last"]
    why = f", cut: {last['why']}" if last["why"] else ""
    return [f"{document['job']}: {last['verdict']}, {last['done']} partitions done, {last['left']} left{why}, in {last['seconds']:.1f} s"]


VERB = Verb(
    words=("schedule", "run"),
    summary="run a job of the schedule now: with its rate and budget, going on where it stopped, even if it is paused",
    example=("scrubjay schedule run scrub",),
    exits={
        0: "done whole, and all of it matched, or nothing was due",
        1: "the cluster cannot be reached, or the run failed",
        2: "a mismatch was found: scrubjay scrub history",
        3: "something is left for the next run, or stayed unverified",
        4: "another durability process runs it",
    },
    template={"job": None, "last": None},
    options=_options,
    run=_run,
    render=_render,
    interrupted="the run goes on in the server: scrubjay schedule list shows it",
)
