"""`scrubjay schedule pause`: a job, or every job, does not run by itself until it is resumed."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.schedule_list import render_jobs


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="scrub, verify, base, expire, compact or drill:restore-random; default: every job"
    )


def _run(call: VerbCall) -> Result:
    document = call.client().post("schedule/pause", {"job": call.option("job"), "paused": True})
    return 0, {**document, "exit": 0}


VERB = Verb(
    words=(
        "schedule",
        "pause",
    ),
    summary="keep a job, or every job, from running by itself; a run under way ends after the partition it is at",
    example=("scrubjay schedule pause",),
    exits={0: "paused, over restarts too", 1: "the cluster cannot be reached"},
    template={"jobs": []},
    options=_options,
    run=_run,
    render=render_jobs,
)
