"""`scrubjay cluster drain`: move every copy of a node to other nodes, while tables go on."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="its name, as in the configuration; it may be down")


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("cluster/drain", {"node": call.option("node")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    return [f"{document['node']} has no copy of any partition any more, and gets none; {document['seconds']} s"]


VERB = Verb(
    words=("cluster", "drain"),
    summary="move every copy of a node to other nodes, while tables go on; it leads nothing, and gets no copy from then on",
    example=("scrubjay cluster drain n1",),
    exits={
        0: "no copy is left there",
        1: "the cluster cannot be asked; what was begun goes on",
        4: "refused: no other node can take a copy without a zone less",
        64: "there is no such node, or it is no member",
    },
    template={"node": None, "left": None, "seconds": None},
    options=_options,
    run=_run,
    render=_render,
    interrupted="it goes on in the cluster; the same command waits for it again",
)
