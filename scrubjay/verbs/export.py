"""`scrubjay export`: a table as of a moment, or what changed between two, into files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.text import facts, plural
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

_FORMATS = ("dynamodb-json", "csv", "parquet")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name or id; it may be a dropped table whose window has not ended")
    parser.add_argument(
        "--to", metavar="URL", required=True, help="file:///folder (of the server's machine, and there) or s3://bucket/prefix"
    )
    parser.add_argument("--at", metavar="TIME", help="a moment of the proven window, RFC 3339, inclusive; default: now")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="only what changed behind this moment, with the item before and after")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default=_FORMATS[0],
        help="default: dynamodb-json; csv carries scalars alone, as text; parquet wants scrubjay[parquet] on the server",
    )


def _run(call: VerbCall) -> Result:
    at, from_ = call.option("at"), call.option("from_")
    request = {
        "table": call.option("table"),
        "url": call.option("to"),
        "format": call.option("format"),
        "at_us": parse_time(at) if at else None,
        "from_us": parse_time(from_) if from_ else None,
    }
    client = call.client()
    document = client.post("export", request)
    call.log(f"export {document['export']} of {document['table']} as of {document['at']}")
    with call.progress() as progress:
        document = client.wait("export/status", {"id": document["export"]}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    return facts(
        {
            str(document["state"]): document["export"],
            "of": document["table"],
            "from": document["from"],
            "as of": document["at"],
            "to": document["to"],
            "manifest": document["manifest"],
            "holds": f"{plural(document['rows'], 'row')} in {plural(document['files'], 'file')}, {human_size(document['bytes'])}"
            if document["manifest"]
            else None,
            "digest": document["digest"],
        }
    )


VERB = Verb(
    words=("export",),
    summary="write a table, or what changed in it, to files",
    example=("scrubjay export cities --to s3://bucket/prefix --at 2026-03-01T02:15:00Z",),
    exits={
        0: "written, read back, and its digest is the one that the archive proves",
        1: "failed, or the cluster or the place cannot be reached, or no such table; there is no summary, so it is no export",
        2: "the archive is damaged where it was read, or the place does not hold what was put there",
        4: "refused: outside the proven window, the place is the archive, the format cannot carry an item, or four are under way",
    },
    template={
        "export": None,
        "table": None,
        "table_id": None,
        "at": None,
        "from": None,
        "to": None,
        "format": None,
        "state": None,
        "manifest": None,
        "files": None,
        "bytes": None,
        "rows": None,
        "digest": None,
        "verdict": None,
        "started": None,
        "finished": None,
        "progress": None,
    },
    options=_options,
    run=_run,
    render=_render,
    interrupted="the export goes on in the server; with the same --at, the same command attaches to it",
)
