"""`scrubjay table split`: one partition of a table, or of a global index, becomes two, while it is written to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.timeline_options import key_json


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name or id of the table")
    parser.add_argument("--index", metavar="INDEX", help="name of a global index: one of its partitions; default: one of the table's own")
    parser.add_argument(
        "--at",
        metavar="JSON-KEY",
        help="a partition key, of the table or of that index, as DynamoDB JSON: it goes right, with all whose hash is higher; default: the largest partition, at half of its bytes",
    )


def _run(call: VerbCall) -> Result:
    request = {"table": call.option("table"), "at": key_json("--at", call.option("at"))}
    if call.option("index"):
        request["index"] = call.option("index")
    with call.progress() as progress:
        document = call.client().run_job("table/split", request, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"{document['table']}{'/' + document['index'] if document.get('index') else ''}: partition {document['partition']} is two now; {document['seconds']} s",
        f"  left   {document['left']}",
        f"  right  {document['right']}  from {document['cut']} on",
    ]


VERB = Verb(
    words=("table", "split"),
    summary="one partition of a table, or of a global index, becomes two, while it is written to",
    example=("""scrubjay table split cities --at '{"id": {"S": "oslo"}}'""", "scrubjay table split cities --index by-country"),
    exits={
        0: "both halves serve",
        1: "not now, and why; what was begun goes on",
        4: "the cluster's version is too low for it, and which process is to be exchanged",
        64: "there is no such table or index, or nowhere to cut it",
    },
    template={
        "table": None,
        "table_id": None,
        "index": None,
        "partition": None,
        "cut": None,
        "left": None,
        "right": None,
        "lsn": None,
        "seconds": None,
    },
    options=_options,
    run=_run,
    render=_render,
    interrupted="it goes on in the cluster: scrubjay table partitions shows how far it is",
)
