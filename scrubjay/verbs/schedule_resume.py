"""`scrubjay schedule resume`: a paused job runs by itself again."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.schedule_list import render_jobs


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="scrub, verify, base, expire, compact or drill:restore-random; default: every job"
    )


def _run(call: VerbCall) -> Result:
    document = call.client().post("schedule/pause", {"job": call.option("job"), "paused": False})
    return 0, {**document, "exit": 0}


VERB = Verb(
    words=(
        "schedule",
        "resume",
    ),
    summary="let a job, or every job, run by itself again; what was missed is caught up once",
    example=("scrubjay schedule resume",),
    exits={0: "resumed", 1: "the cluster cannot be reached"},
    template={"jobs": []},
    options=_options,
    run=_run,
    render=render_jobs,
)
