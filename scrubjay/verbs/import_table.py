"""`scrubjay import`: a new table from an export, or from files as DynamoDB's own import takes them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import facts, plural
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

_FORMATS = ("dynamodb-json", "csv", "parquet")
_TYPES = ("S", "N", "B")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", metavar="URL", help="an export, the place it was written to, a folder of files, or one file: file:///… or s3://bucket/…"
    )
    parser.add_argument("--table", metavar="NEW", required=True, help="name of the new table")
    parser.add_argument(
        "--key",
        metavar="HASH[,RANGE]",
        help="its key, each with its type if it cannot be seen: id:S,at:N; default: that of the exported table",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="of files that are no export; default: dynamodb-json; csv has a header, and strings but for the key; of parquet every column is an attribute",
    )


def key_of(text: str | None) -> list[tuple[str, str | None]]:
    """`id`, `id:S`, `id,at:N`: (name, type or None) each. None: none."""
    found: list[tuple[str, str | None]] = []
    for one in text.split(",") if text else ():
        name, colon, kind = one.rpartition(":")
        found.append((name, kind) if colon and kind in _TYPES else (one, None))
    return found


def _run(call: VerbCall) -> Result:
    request = {
        "url": call.option("url"),
        "table": call.option("table"),
        "key": key_of(call.option("key")),
        "format": call.option("format"),
    }
    client = call.client()
    document = client.post("import", request)
    call.log(f"import {document['import']} of {document['from']} to {document['table']}")
    with call.progress() as progress:
        document = client.wait("import/status", {"id": document["import"]}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    done = document["state"] == "completed"
    compared = "equal to what was exported" if document["expected_digest"] is not None else "there was none to compare it with"
    return facts(
        {
            str(document["state"]): document["import"],
            "of": document["from"],
            "to": document["table"],
            "key": ", ".join(f"{one['name']} ({one['type']})" for one in document["key"] or ()),
            "holds": f"{plural(document['rows'], 'row')} of {plural(document['files'], 'file')}, {human_size(document['bytes'])}"
            if done
            else None,
            "digest": f"{document['digest']}, {compared}" if done else None,
        }
    )


VERB = Verb(
    words=("import",),
    summary="make a new table of an export, or of files",
    example=(
        "scrubjay import s3://bucket/prefix --table cities2",
        "scrubjay import file:///data/cities.csv --table cities --key id:S --format csv",
    ),
    exits={
        0: "the table is there; every copy holds what was read, and what an export says of its digest is true",
        1: "failed, or the cluster or the place cannot be reached; there is no new table",
        2: "a file is not what its manifest says, or what was read is not what was exported; there is no new table",
        4: "refused: the table exists, nothing is there to be imported, a line is no item (file and line are named), or four are under way",
    },
    template={
        "import": None,
        "table": None,
        "table_id": None,
        "from": None,
        "export": None,
        "key": [],
        "state": None,
        "files": None,
        "bytes": None,
        "rows": None,
        "digest": None,
        "expected_digest": None,
        "verdict": None,
        "started": None,
        "finished": None,
        "progress": None,
    },
    options=_options,
    run=_run,
    render=_render,
    interrupted="the import goes on in the server; the same command attaches to it",
)
