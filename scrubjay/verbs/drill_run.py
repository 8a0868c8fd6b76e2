"""`scrubjay drill run`: rehearse a disaster now. The work runs in the server, on scratch tables; no live table is written to."""

from __future__ import annotations

import argparse

from scrubjay.base.errors import Invalid
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.drill_report import REPORT, report_lines

_BOUNDS = {"seed": (0, (1 << 53) - 1), "faults": (1, 10_000)}
"""As the server has them (docs/ADMIN.md)."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="scrubjay drill list names them")
    parser.add_argument(
        "--table", metavar="T", action="append", help="a table to choose from, by name or id; may be given often; default: any"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="draw as the drill of that seed did (default: a new one, told in the report)")
    parser.add_argument(
        "--faults", metavar="N", type=int, help="plant so many of each kind, up to 10000 (rot, lying-store; default: a few)"
    )


def _run(call: VerbCall) -> Result:
    request = {
        "scenario": call.option("name"),
        "tables": call.option("table") or [],
        "seed": call.option("seed"),
        "faults": call.option("faults"),
    }
    for name, (least, most) in _BOUNDS.items():
        number = call.option(name)
        if number is not None and not least <= number <= most:
            raise Invalid("out of its bounds", asked=f"--{name} {number}", found=f"{least} to {most}", next=f"give a --{name} between them")
    with call.progress() as progress:
        document = call.client().run_job("drill/run", request, progress)
    return int(document["exit"]), document


VERB = Verb(
    words=("drill", "run"),
    summary="rehearse a disaster now, compare every item, and keep a signed report",
    example=("scrubjay drill run restore-random", "scrubjay drill run restore-random --table cities --seed 7"),
    exits={
        0: "what came back is what it must be, item by item",
        1: "the cluster cannot be reached, or no such table",
        2: "something is not as it must be, or planted damage was not found: runbooks/drill-failed.md",
        3: "it could not be carried out, so nothing is proven",
    },
    template=REPORT,
    options=_options,
    run=_run,
    render=report_lines,
    interrupted="the drill goes on in the server: scrubjay drill report shows it once it has ended",
)
