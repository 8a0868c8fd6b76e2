"""`scrubjay drill report`: a kept report, its signature checked: for people, as JSON, or as a page with the trend."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import count, facts, seconds, wrapped
from scrubjay.verb import Result, Verb, VerbCall

REPORT: Mapping[str, Any] = {
    "id": None,
    "scenario": None,
    "seed": None,
    "started": None,
    "seconds": None,
    "verdict": None,
    "tables": [],
    "rto_seconds": None,
    "rpo_seconds": None,
    "predicted_seconds": None,
    "rows_compared": None,
    "planted": None,
    "detected": None,
    "differences": [],
    "facts": None,
    "steps": [],
    "cluster": None,
    "release": None,
    "public_key": None,
    "signature": None,
}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="which drill's (default: the newest)")
    parser.add_argument(
        "--format", choices=("json", "html"), help="json: as it was signed; html: a page with the trend, nothing outside of it"
    )
    parser.add_argument("--key", metavar="KEY", help="the public key that it must be signed with, as status --json named it (default: any)")


def _run(call: VerbCall) -> Result:
    from scrubjay.drills.page import page
    from scrubjay.drills.report import check

    document = call.client().get("drill/report", {"id": call.option("id")})
    report = document["report"]
    check(report, known=call.option("key"))
    if call.option("format") == "html" and not call.json:
        print(page(report, document["runs"]))
        return 0, None
    if call.option("format") == "json" and not call.json:
        import json

        print(json.dumps(report, indent=2, sort_keys=True))
        return 0, None
    return 0, report


def report_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """A report for people; shared by the verb that makes one."""
    lines = [line for one in document["differences"] for line in wrapped(f"NOT AS IT MUST BE: {one}", rest="  ")]
    said = document["facts"] or {}
    return [
        *lines,
        *facts(
            {
                "drill": f"{document['scenario']}, seed {document['seed']}, {document['id']}",
                "verdict": document["verdict"],
                "tables": ", ".join(document["tables"]) or None,
                "as of": said.get("at"),
                "items compared": count(document["rows_compared"]),
                "and with live copies": None if not said.get("rows_live") else count(said["rows_live"]),
                "faults found": None if not document["planted"] else f"{document['detected']} of {document['planted']}",
                "back after": seconds(document["rto_seconds"]),
                "predicted": seconds(document["predicted_seconds"]),
                "newest not proven": seconds(document["rpo_seconds"]),
                "signed by": document["public_key"],
            }
        ),
        *(f"  {one['step']}: {one['seconds']:.1f} s{'' if one['ok'] else ', CUT OFF'}" for one in document["steps"]),
    ]


def _checked_lines(document: Mapping[str, Any]) -> Sequence[str]:
    return [*report_lines(document), "the signature fits; scrubjay status --json names the key of this cluster"]


VERB = Verb(
    words=("drill", "report"),
    summary="show the report of a drill, its signature checked, or as a page with the trend",
    example=("scrubjay drill report", "scrubjay drill report --format html > drill.html"),
    exits={
        0: "told, and the signature fits",
        1: "the cluster cannot be reached, or no such drill",
        2: "it is not as it was signed, or of another key than --key",
    },
    template=REPORT,
    options=_options,
    run=_run,
    render=_checked_lines,
)
