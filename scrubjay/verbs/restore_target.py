"""What `restore plan` and `restore run` share: the options of a target, and plans and states for people."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Invalid
from scrubjay.base.times import parse_time
from scrubjay.progress import shown_progress
from scrubjay.text import WIDTH, columns, facts, plural, seconds
from scrubjay.units import human_size, parse_back
from scrubjay.verb import VerbCall
from scrubjay.verbs.finding_lines import finding_lines, fork_lines
from scrubjay.verbs.timeline_options import compact, key_json

KEYS_SHOWN = 8
KEYS_FILE = "KEYS.json"
"""Stands in a line that is to be copied for the file of more keys than these."""

PLAN_TEMPLATE: dict[str, Any] = {
    "table": None,
    "table_id": None,
    "to": None,
    "at": None,
    "max_clock_offset": None,
    "window": {"earliest": None, "latest": None, "holes": []},
    "part": None,
    "forks": [],
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
    "degraded": [],
}


def target_options(parser: argparse.ArgumentParser) -> None:
    """--table, --to and exactly one instant."""
    parser.add_argument("--table", metavar="T", required=True, help="name or id of the table; it may be a dropped one")
    parser.add_argument("--to", metavar="NEW", required=True, help="name of the new table; it must not exist")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--at", metavar="TIME", help="RFC 3339 with Z or an offset; writes acknowledged up to it are in")
    when.add_argument("--minus", metavar="5m", help="so long ago (s, m, h, d), by the server's clock")
    when.add_argument("--before", metavar="TIME", help="as --at, but what happened at that very moment is out")
    when.add_argument("--latest", action="store_true", default=None, help="the end of the proven window")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--keys", metavar="KEY", nargs="+", help="only these items: DynamoDB JSON, or files of it")
    which.add_argument("--prefix", metavar="JSON", help="only items whose key begins so, as DynamoDB JSON")
    parser.add_argument("--where", metavar="EXPRESSION", help="only items that meet it: a Scan's FilterExpression")
    parser.add_argument("--names", metavar="JSON", help="what stands for #names in it")
    parser.add_argument("--values", metavar="JSON", help="what stands for :values in it, as DynamoDB JSON")


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
    part = {
        "keys": None if call.option("keys") is None else [key for word in call.option("keys") for key in _keys_in(word)],
        "prefix": key_json("--prefix", call.option("prefix")),
        "where": call.option("where"),
        "names": key_json("--names", call.option("names")),
        "values": key_json("--values", call.option("values")),
    }
    given = {name: value for name, value in part.items() if value is not None}
    if given:
        request["part"] = given
    return request


def _keys_in(word: str) -> list[dict[str, Any]]:
    """Keys out of a word of the command line: JSON, or a file of it. Raises Invalid."""
    if word.lstrip().startswith("{"):
        return [key_json("--keys", word) or {}]
    try:
        text = word if word.lstrip().startswith("[") else Path(word).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("the keys cannot be read", asked=f"--keys {word}", found=str(error), next="give JSON, or a file of it") from None
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise Invalid("no JSON", asked=f"--keys {word}", found=str(error), next="a JSON list of keys, or one key a line") from None
    if not all(isinstance(one, dict) for one in found):
        raise Invalid("no list of JSON objects", asked=f"--keys {word}", next="a JSON list of keys, or one key a line")
    return list(found)


def plan_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """A plan for people."""
    window = document["window"]
    rows = [
        (part["partition"], part["base_lsn"], part["from_lsn"], part["to_lsn"], part["segments"], human_size(part["bytes"]))
        for part in document["partitions"]
    ]
    return [
        *fork_lines(document),
        *facts(
            {
                "restore": document["table"],
                "to": document["to"],
                "as of": f"{document['at']} (± {document['max_clock_offset']} s between machines)",
                "proven window": f"{window['earliest']} to {window['latest']}",
                "to read": f"{human_size(document['bytes'])} in {plural(document['requests'], 'request')}",
                "predicted": seconds(document["predicted_seconds"]),
                **_index_facts(document),
                "only": _part_text(document["part"]),
            }
        ),
        "",
        *columns(("partition", "base", "from", "to", "segments", "bytes"), rows),
        "",
        *exact_line(document),
    ]


def _index_facts(document: Mapping[str, Any]) -> dict[str, str]:
    """Of a table without global indexes none."""
    foreseen = document.get("predicted_index_seconds")
    return {} if foreseen is None else {"then its indexes": f"{seconds(foreseen)} until they are read; the table is by then"}


def exact_line(document: Mapping[str, Any]) -> Sequence[str]:
    """The command that means this very moment, whatever the words were that named it. Where it is too wide, in lines that a shell takes as one: it is there to
    be copied."""
    words = [
        "scrubjay restore run",
        f"--table {document['table']}",
        f"--to {document['to']}",
        f"--at {document['at']}",
        *_part_words(document),
    ]
    if len(" ".join(words)) <= WIDTH:
        return [" ".join(words)]
    return [f"{words[0]} \\", *(f"  {_joined(word)} \\" for word in words[1:-1]), f"  {_joined(words[-1])}"]


def _joined(words: str) -> str:
    """An option and its value as one word; not that of several values."""
    return words if words.startswith("--keys") else words.replace(" ", "=", 1)


def _part_words(document: Mapping[str, Any]) -> list[str]:
    """The options that name the part, as a shell takes them."""
    part = document["part"] or {}
    found = []
    if part.get("keys") is not None:
        shown = part["keys"]
        found.append("--keys " + (" ".join(shlex.quote(compact(key)) for key in shown) if len(shown) <= KEYS_SHOWN else KEYS_FILE))
    found += [f"--{name} {shlex.quote(compact(part[name]))}" for name in ("prefix", "names", "values") if part.get(name) is not None]
    if part.get("where") is not None:
        found.append(f"--where {shlex.quote(part['where'])}")
    return found


def _part_text(part: Mapping[str, Any] | None) -> str | None:
    if part is None:
        return None
    chosen = [plural(len(part["keys"]), "key")] if part.get("keys") is not None else []
    if part.get("prefix") is not None:
        chosen.append(f"what begins with {compact(part['prefix'])}")
    if part.get("where") is not None:
        chosen.append(f"where {part['where']}")
    return ", ".join(chosen)


def state_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """The state of one restore for people."""
    took = document["seconds"] or {}
    parts = [f"{name} {seconds(took[name])}" for name in ("plan", "read", "load", "confirm", "total") if took.get(name) is not None]
    lines = [*finding_lines(document["findings"], table=document["table"]), *fork_lines(document)]
    lines += facts(
        {
            str(document["state"]): document["to"],
            "from": document["table"],
            "as of": document["at"],
            "only": _part_text(document["part"]),
            "progress": shown_progress(document["progress"]) if document["progress"] else None,
            "took": ", ".join(parts) or None,
        }
    )
    if document["state"] == "running":
        lines += ["this attaches to it:", *exact_line(document)]
    if document["verdict"] is not None:
        lines.append(f"verdict {document['verdict']}: {plural(document['rows'], 'row')}, digest {document['digest']}")
        if document["part"] is not None and document["part"]["of_rows"] is not None:
            lines.append(f"chosen from {plural(document['part']['of_rows'], 'row')}, digest {document['part']['of_digest']}")
    for one in document.get("degraded") or ():
        lines.append(
            f"made without its copy on {one['node']}, which is healed once that can be: partition {one['partition']}: {one['why']}"
        )
    return lines
