"""`scrubjay scrub resume`: the nightly scrub runs again."""

from __future__ import annotations

from scrubjay.verb import Result, Verb, VerbCall, no_options
from scrubjay.verbs.schedule_list import render_jobs


def _run(call: VerbCall) -> Result:
    document = call.client().post("schedule/pause", {"job": "scrub", "paused": False})
    return 0, {**document, "exit": 0}


VERB = Verb(
    words=(
        "scrub",
        "resume",
    ),
    summary="let the nightly scrub run again: it goes on where it stopped, and what was missed is caught up once",
    example=("scrubjay scrub resume",),
    exits={0: "resumed", 1: "the cluster cannot be reached"},
    template={"jobs": []},
    options=no_options,
    run=_run,
    render=render_jobs,
)
