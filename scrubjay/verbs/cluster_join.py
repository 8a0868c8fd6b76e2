"""`scrubjay cluster join`: make a node that runs, and is none of those that founded the cluster, a member of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "node", metavar="NODE", help="its name, as in the configuration of every process; its process runs, with an empty data folder"
    )


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("cluster/join", {"node": call.option("node")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    zone = "" if document["zone"] is None else f" in zone {document['zone']}"
    return [
        f"{document['node']} is a member of the cluster{zone}, as incarnation {document['incarnation']}: new partitions may have copies on it"
    ]


VERB = Verb(
    words=("cluster", "join"),
    summary="make a node that did not found the cluster a member of it: new tables, and what others are drained of, may have copies on it",
    example=("scrubjay cluster join n4",),
    exits={
        0: "it is a member; asked again, it was one",
        1: "the node's process, or the cluster, cannot be asked; what was begun goes on",
        4: "refused: a member does not let it in, it is being drained, or its folder is not empty",
        64: "there is no such node",
    },
    template={"node": None, "incarnation": None, "zone": None, "seconds": None},
    options=_options,
    run=_run,
    render=_render,
    interrupted="it goes on in the cluster; the same command waits for it again",
)
