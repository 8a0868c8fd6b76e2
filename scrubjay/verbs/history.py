"""`scrubjay history`: what an item was, version by version."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.text import count, wrapped
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.timeline_options import BETWEEN, between_lines, compact, end_us, key_json, table_option


def _options(parser: argparse.ArgumentParser) -> None:
    table_option(parser)
    parser.add_argument("--key", metavar="JSON", required=True, help="the item's key attributes as DynamoDB JSON")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="only versions from then on (RFC 3339); default: all that is kept")
    parser.add_argument("--to", metavar="TIME", help="only versions up to then, or now (the default)")
    parser.add_argument("--limit", metavar="N", type=int, default=1000, help="the newest so many (default: 1000)")


def _run(call: VerbCall) -> Result:
    begin = call.option("from_")
    request = {
        "table": call.option("table"),
        "key": key_json("--key", call.option("key")),
        "from_us": None if begin is None else parse_time(begin),
        "to_us": end_us(call.option("to")),
        "limit": call.option("limit"),
    }
    with call.progress() as progress:
        document = call.client().run_job("history", request, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = [*between_lines(document), f"key            {compact(document['key'])}", ""]
    for one in document["versions"]:
        lines += wrapped(f"{one['at']} {one['op']:<6} lsn {one['lsn']} {compact(one['item'])}", rest="  ")
    if not document["versions"]:
        lines.append("no version in this range")
    if document["more"]:
        lines.append("and older ones: --limit, or --to with the oldest time above")
    read = document["read"]
    lines.append(
        f"read {count(read['segments'])} of {count(read['of'])} objects; {count(read['skipped'])} do not hold it, by their key filters"
    )
    return lines


VERB = Verb(
    words=("history",),
    summary="show what an item was, newest version first: when it was good, and what became of it",
    example=("""scrubjay history cities --key '{"id": {"S": "oslo"}}' --limit 5""",),
    exits={
        0: "told, and nothing in the range is missing",
        1: "the cluster or the archive cannot be reached, or no such table",
        3: "told, but a hole, damage or an end that is not proven yet lies in the range (`unproven`)",
        4: "refused: the range lies outside the proven window",
    },
    template={
        **BETWEEN,
        "key": None,
        "versions": [],
        "more": None,
        "read": {"segments": None, "skipped": None, "of": None, "raw_bytes": None},
    },
    options=_options,
    run=_run,
    render=_render,
)
