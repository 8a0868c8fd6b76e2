"""`scrubjay demo`: the whole promise on real data, in under two minutes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="work in this (empty or absent) folder and keep it; default: a temporary one")
    parser.add_argument(
        "--archive", metavar="URL", help="archive to use (default: a folder); s3://bucket/prefix needs the usual AWS variables"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="on a cluster of four processes, one of which is killed on the way; default: on `serve --dev`, one process with everything",
    )
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument(
        "--rows", metavar="N", type=int, help="load only so many cities, the largest first (default: all that fit the time)"
    )


def _run(call: VerbCall) -> Result:
    from scrubjay.demo.run import run_demo

    return run_demo(call)


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    from scrubjay.demo.report import table_lines

    return table_lines(document)


VERB = Verb(
    words=("demo",),
    summary="load real data, break things, and see every promise kept: verify, scrub, heal, restore, compare",
    example=("scrubjay demo", "scrubjay demo --cluster", "scrubjay demo --json"),
    exits={
        0: "everything it claims was checked",
        1: "a step failed",
        2: "a check found a difference that should not be there, or did not find one that was planted",
        3: "a check could not be made",
    },
    template={"checked": None, "steps": [], "rows": None, "source": None, "at": None, "seconds": None, "data": None, "archive": None},
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
    interrupted="nothing is left running; run it again",
)
