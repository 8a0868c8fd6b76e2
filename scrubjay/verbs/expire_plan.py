"""`scrubjay expire plan`: what retention would take away."""

from __future__ import annotations

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.expire_options import TEMPLATE, ask, options, render


def _run(call: VerbCall) -> Result:
    return ask(call, confirm=False)


VERB = Verb(
    words=("expire", "plan"),
    summary="show what has outlived its retention: what may go, what is held and by what, and the window after",
    example=("scrubjay expire plan", "scrubjay expire plan --table cities --keep 35d"),
    exits={
        0: "the plan; nothing was changed",
        1: "the cluster or the object store cannot be reached, or no such table",
        4: "something old must stay: a hole or a fork behind it, a base that is not sound; --keep is less than a table's own retention; or nobody knows whether the clock is right",
    },
    template=TEMPLATE,
    options=options,
    run=_run,
    render=render,
)
