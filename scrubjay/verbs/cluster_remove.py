"""`scrubjay cluster remove`: take a node out of the cluster for good."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="its name, as in the configuration; it may be down")


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("cluster/remove", {"node": call.option("node")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    return [f"{document['node']} is no member of the cluster any more: its folder stays out; {document['seconds']} s"]


VERB = Verb(
    words=("cluster", "remove"),
    summary="take a node out of the cluster: its folder stays out for good; to come back, it joins with an empty one",
    example=("scrubjay cluster remove n1",),
    exits={
        0: "it is no member, and no group counts it; asked again, it was none",
        1: "the cluster cannot be asked; what was begun goes on",
        4: "refused: it is not drained, and a quorum would be lost",
        64: "there is no such node, or it never was a member",
    },
    template={"node": None, "incarnation": None, "seconds": None},
    options=_options,
    run=_run,
    render=_render,
    interrupted="it goes on in the cluster; the same command waits for it again",
)
