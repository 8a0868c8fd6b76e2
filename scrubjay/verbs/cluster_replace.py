"""`scrubjay cluster replace`: make a node that came back with an empty folder another member, in every group."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import plural
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="its name, as in the configuration; its process runs, with an empty data folder")


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("cluster/replace", {"node": call.option("node")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    groups = plural(document["partitions"], "group")
    return [f"{document['node']} is member {document['incarnation']} of its node now, and votes in {groups}; {document['seconds']} s"]


VERB = Verb(
    words=("cluster", "replace"),
    summary="make a node that came back with an empty folder a new member: its copies are made anew, and it votes once they are whole",
    example=("scrubjay cluster replace n3",),
    exits={
        0: "it votes in every group",
        1: "the node's process, or the cluster, cannot be asked; what was begun goes on",
        4: "refused: the node is a member, its folder is not empty, or another node is out",
        64: "there is no such node",
    },
    template={"node": None, "incarnation": None, "partitions": None, "seconds": None},
    options=_options,
    run=_run,
    render=_render,
    interrupted="it goes on in the cluster; the same command waits for it again",
)
