"""`scrubjay expire run`: take away what has outlived its retention."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.expire_options import TEMPLATE, ask, options, render


def _options(parser: argparse.ArgumentParser) -> None:
    options(parser)
    parser.add_argument("--confirm", action="store_true", help="do it; without, the plan")


def _run(call: VerbCall) -> Result:
    return ask(call, confirm=bool(call.option("confirm")))


VERB = Verb(
    words=("expire", "run"),
    summary="take away what has outlived its retention; without --confirm, say what that is",
    example=("scrubjay expire run --confirm",),
    exits={
        0: "done: nothing that may go is left; or the plan",
        1: "the cluster or the object store cannot be reached, or no such table; what went is said, the next run goes on",
        3: "something that was to go is still there: the store refused to delete it, or a restore came to need it; or the store did not lock for longer what must stay",
        4: "something old must stay: a hole or a fork behind it, a base that is not sound; --keep is less than a table's own retention; or nobody knows whether the clock is right",
    },
    template=TEMPLATE,
    options=_options,
    run=_run,
    render=render,
    interrupted="the run goes on in the server; it is safe to run it again",
)
