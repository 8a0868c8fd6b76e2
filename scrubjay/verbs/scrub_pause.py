"""`scrubjay scrub pause`: nothing is scrubbed by itself until it is resumed."""

from __future__ import annotations

from scrubjay.verb import Result, Verb, VerbCall, no_options
from scrubjay.verbs.schedule_list import render_jobs


def _run(call: VerbCall) -> Result:
    document = call.client().post("schedule/pause", {"job": "scrub", "paused": True})
    return 0, {**document, "exit": 0}


VERB = Verb(
    words=(
        "scrub",
        "pause",
    ),
    summary="keep the nightly scrub from running; one under way ends after the partition it is at; 'scrub run' by hand still works",
    example=("scrubjay scrub pause",),
    exits={0: "paused, over restarts too", 1: "the cluster cannot be reached"},
    template={"jobs": []},
    options=no_options,
    run=_run,
    render=render_jobs,
)
