"""What `restore plan` and `restore run` share: the options of a target, and plans and states for people."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.progress import shown_progress
from scrubjay.text import WIDTH, columns, facts, plural, seconds
from scrubjay.units import human_size, parse_back
from scrubjay.verb import VerbCall
from scrubjay.verbs.finding_lines import finding_lines

PLAN_TEMPLATE: dict[str, Any] = {
    "table": None,
    "table_id": None,
    "to": None,
    "at": None,
    "max_clock_offset": None,
    "window": {"earliest": None, "latest": None, "holes": []},
    "partitions": [],
    "bytes": None,
    "requests": None,
    "predicted_seconds": None,
}
RUN_TEMPLATE: dict[str, Any] = {
    **PLAN_TEMPLATE,
    "state": None,
    "rows": None,
    "digest": None,
    "verdict": None,
    "seconds": {"plan": None, "read": None, "load": None, "confirm": None, "total": None},
    "progress": None,
    "findings": [],
}


def target_options(parser: argparse.ArgumentParser) -> None:
    """--table, --to and exactly one instant."""
    parser.add_argument("--table", metavar="T", required=True, help="name or id of the table to bring back; it may be a dropped one")
    parser.add_argument("--to", metavar="NEW", required=True, help="name of the new table; it must not exist")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--at", metavar="TIME", help="RFC 3339 with Z or an offset; writes acknowledged up to it are in")
    when.add_argument("--minus", metavar="5m", help="so long ago (s, m, h, d), counted from the server's clock")
    when.add_argument("--before", metavar="TIME", help="as --at, but what happened at that very moment is out")
    when.add_argument("--latest", action="store_true", default=None, help="the end of the proven window")


def wait_options(parser: argparse.ArgumentParser) -> None:
    """--wait (default) or --no-wait."""
    wait = parser.add_mutually_exclusive_group()
    wait.add_argument("--wait", action="store_true", default=True, help="wait until it is published (default); Ctrl-C detaches")
    wait.add_argument("--no-wait", dest="wait", action="store_false", help="start it and exit 3 with state running")


def target_request(call: VerbCall) -> dict[str, Any]:
    """The request body. Raises Invalid on a time without offset and the like."""
    request: dict[str, Any] = {"table": call.option("table"), "to": call.option("to")}
    if call.option("at") is not None:
        request["at_us"] = parse_time(call.option("at"))
    elif call.option("before") is not None:
        request["before_us"] = parse_time(call.option("before"))
    elif call.option("minus") is not None:
        request["minus_us"] = parse_back(call.option("minus"))
    else:
        request["latest"] = True
    return request


def plan_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """A plan for people."""
    window = document["window"]
    rows = [
        (part["partition"], part["base_lsn"], part["from_lsn"], part["to_lsn"], part["segments"], human_size(part["bytes"]))
        for part in document["partitions"]
    ]
    return [
        *facts(
            {
                "restore": document["table"],
                "to": document["to"],
                "as of": f"{document['at']} (± {document['max_clock_offset']} s between machines)",
                "proven window": f"{window['earliest']} to {window['latest']}",
                "to read": f"{human_size(document['bytes'])} in {plural(document['requests'], 'request')}",
                "predicted": seconds(document["predicted_seconds"]),
            }
        ),
        "",
        *columns(("partition", "base", "from", "to", "segments", "bytes"), rows),
        "",
        *exact_line(document),
    ]


def exact_line(document: Mapping[str, Any]) -> Sequence[str]:
    """The command that means this very moment, whatever the words were that named it. Where it is too wide, in lines that a shell takes as one: it is there to
    be copied."""
    words = ("scrubjay restore run", f"--table {document['table']}", f"--to {document['to']}", f"--at {document['at']}")
    if len(" ".join(words)) <= WIDTH:
        return [" ".join(words)]
    return [f"{words[0]} \\", *(f"  {word.replace(' ', '=')} \\" for word in words[1:-1]), f"  {words[-1]}"]


def state_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """The state of one restore for people."""
    took = document["seconds"] or {}
    parts = [f"{name} {seconds(took[name])}" for name in ("plan", "read", "load", "confirm", "total") if took.get(name) is not None]
    lines = finding_lines(document["findings"], table=document["table"])
    lines += facts(
        {
            str(document["state"]): document["to"],
            "from": document["table"],
            "as of": document["at"],
            "progress": shown_progress(document["progress"]) if document["progress"] else None,
            "took": ", ".join(parts) or None,
        }
    )
    if document["state"] == "running":
        lines += ["this attaches to it:", *exact_line(document)]
    if document["verdict"] is not None:
        lines.append(f"verdict {document['verdict']}: {plural(document['rows'], 'row')}, digest {document['digest']}")
    return lines
