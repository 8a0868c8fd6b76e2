"""`scrubjay restore plan`: what a restore would read and how long it would take. Changes nothing."""

from __future__ import annotations

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.restore_target import PLAN_TEMPLATE, plan_lines, target_options, target_request


def _run(call: VerbCall) -> Result:
    document = call.client().post("restore/plan", target_request(call))
    return int(document["exit"]), document


VERB = Verb(
    words=("restore", "plan"),
    summary="show what a restore would read, from where, and how long it would take; changes nothing",
    example=("scrubjay restore plan --table cities --to cities-yesterday --minus 1d",),
    exits={
        0: "planned",
        1: "the cluster cannot be reached, or no such table",
        2: "planned, but the archive holds two histories of what would be read (`forks`)",
        4: "refused: outside the proven window, or the new table exists",
    },
    template={**PLAN_TEMPLATE, "predicted_index_seconds": None},
    options=target_options,
    run=_run,
    render=plan_lines,
)
