"""What `history`, `diff` and `undo` share: the ends of a range of moments, keys as JSON, and how they read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.errors import Invalid
from scrubjay.base.times import parse_time
from scrubjay.client import typed
from scrubjay.text import facts, wrapped
from scrubjay.verb import VerbCall

NOW = "now"
BETWEEN: dict[str, Any] = {
    "table": None,
    "table_id": None,
    "from": None,
    "to": None,
    "window": {"earliest": None, "latest": None, "holes": []},
    "unproven": [],
}


def table_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name or id of the table")


def between_options(parser: argparse.ArgumentParser) -> None:
    """--from and --to, both needed, and which keys."""
    table_option(parser)
    parser.add_argument(
        "--from", dest="from_", metavar="TIME", required=True, help="the earlier moment, RFC 3339; writes acknowledged up to it are in"
    )
    parser.add_argument("--to", metavar="TIME", required=True, help="the later moment, the same way, or now")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--key", metavar="JSON", help="only this item: all its key attributes as DynamoDB JSON")
    which.add_argument(
        "--prefix",
        metavar="JSON",
        help="only these items: the partition key, and it may be the beginning of the sort key, as DynamoDB JSON",
    )


def between_request(call: VerbCall) -> dict[str, Any]:
    """Raises Invalid."""
    return {
        "table": call.option("table"),
        "from_us": parse_time(call.option("from_")),
        "to_us": end_us(call.option("to")),
        "key": key_json("--key", call.option("key")),
        "prefix": key_json("--prefix", call.option("prefix")),
    }


def end_us(text: str | None) -> int | None:
    """None: now, by the server's clock. Raises Invalid."""
    return None if text is None or text == NOW else parse_time(text)


def key_json(option: str, text: str | None) -> dict[str, Any] | None:
    """Raises Invalid."""
    if text is None:
        return None
    try:
        found = json.loads(typed(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Invalid("no JSON object", asked=f"{option} {text}", next=f"""write for example {option} '{{"pk": {{"S": "a"}}}}'""")
    return found


def between_lines(document: Mapping[str, Any]) -> list[str]:
    window = document["window"]
    return facts(
        {
            "table": document["table"],
            "from": document["from"],
            "to": document["to"],
            "proven window": f"{window['earliest']} to {window['latest']}" if window["latest"] else None,
        }
    ) + [line for one in document["unproven"] for line in unproven_lines(one)]


def unproven_lines(one: Mapping[str, Any]) -> Sequence[str]:
    """A part of what was asked for of which nothing is proven."""
    last = one["last_lsn"] if one["last_lsn"] is not None else "the end"
    where = one["object"] or (f"LSN {one['first_lsn']} to {last}" if one["first_lsn"] is not None else "")
    text = f"UNPROVEN: {one['reason']}, partition {one['partition']} {where}, between {one['from'] or 'the beginning'} and {one['to'] or 'the end'}"
    return wrapped(text, rest="  ")


def compact(value: Any) -> str:
    """JSON on one line; a dash for nothing."""
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
