"""`scrubjay status`: the one verb for a tired person. Is everything well, and if not, what is wrong and which page says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, plural, second_of, seconds, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall, no_options

SHOWN_MAX = 20
"""Problems shown to a person; what stops tables comes first."""


def _run(call: VerbCall) -> Result:
    document = call.client().get("status")
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = _archive(document["archive"])
    lines += ["", *columns(("node", "zone", "state", "leads", "log", "of", "disk free"), [_node(node) for node in document["nodes"]])]
    if document["tables"]:
        head = ("table", "health", "behind", "last scrub", "verdict")
        lines += ["", *columns(head, [_table(table) for table in sorted(document["tables"], key=_worst_first)])]
    lines += [
        "",
        document["health"] if not document["problems"] else f"{document['health']}: {plural(len(document['problems']), 'problem')}",
    ]
    if document["ledger"]["rebuilt"]:
        lines += wrapped(
            f"the ledger was lost and rebuilt at {second_of(document['ledger']['rebuilt'])}: the next verify reads all again", rest="  "
        )
    if document["durability"] == "waits":
        lines += wrapped("another durability process works; this one waits, and takes over when it is not heard of any more", rest="  ")
    lines += [
        f"{one['job']} is paused since {second_of(one['since'])}: scrubjay schedule resume {one['job']}" for one in document["paused"]
    ]
    for problem in document["problems"][:SHOWN_MAX]:
        lines += wrapped(problem["what"], first="  ", rest="    ")
        lines.append(f"    since {second_of(problem['since'])}, see {problem['runbook']}")
    if len(document["problems"]) > SHOWN_MAX:
        lines.append(f"  and {len(document['problems']) - SHOWN_MAX} more: --json lists them all")
    return lines


def _archive(archive: Mapping[str, Any]) -> list[str]:
    word = "reachable"
    if archive["present"] is False:
        word = "GONE"
    elif archive["fenced"]:
        word = "FENCED"
    elif not archive["reachable"]:
        word = "NOT REACHABLE"
    pace = plural(archive["requests_per_minute"], "request")
    lines = wrapped(f"archive {archive['url']}: {word}, {pace} a minute", rest="  ")
    for one in archive.get("archives") or ():
        lines += wrapped(f"{one['url']}: {', '.join(_half(one))}", first="  ", rest="    ")
    return lines


def _half(one: Mapping[str, Any]) -> list[str]:
    """One of two archives, in words."""
    found = ["decides"] if one["decides"] else []
    found.append("reachable" if one["reachable"] else "NOT REACHABLE")
    if one["lacking"] or not one["compared"]:
        found.append(f"lacks {plural(one['lacking'], 'object')}{'' if one['compared'] else ' and is not compared yet'}")
    else:
        found.append("lacks nothing")
    if one["differ"]:
        found.append(f"{plural(one['differ'], 'object')} DIFFER")
    return found


def _node(node: Mapping[str, Any]) -> tuple[object, ...]:
    free = None if node["disk_free_bytes"] is None else human_size(node["disk_free_bytes"])
    return (
        node["node"],
        node["zone"],
        node["state"],
        node["leaders"],
        human_size(node["wal_bytes"]),
        human_size(node["wal_limit_bytes"]),
        free,
    )


def _table(table: Mapping[str, Any]) -> tuple[object, ...]:
    scrub = None if table["last_scrub"] is None else second_of(table["last_scrub"])
    return table["table"], table["health"], seconds(table["lag_seconds"]), scrub, table["last_verdict"]


def _worst_first(table: Mapping[str, Any]) -> tuple[bool, str]:
    return table["health"] == "ok", table["table"]


VERB = Verb(
    words=("status",),
    summary="say whether everything is well, what is wrong since when, and which runbook says what to do",
    example=("scrubjay status", "scrubjay status --json"),
    exits={
        0: "all well",
        1: "the cluster cannot be asked",
        2: "rot, a hole, a fork or a lost archive is outstanding",
        3: "a node, a copy or the archive is not as it should be, or something is not proven in time",
    },
    template={
        "health": None,
        "nodes": [],
        "tables": [],
        "archive": None,
        "problems": [],
        "paused": [],
        "drills": None,
        "ledger": None,
        "durability": None,
    },
    options=no_options,
    run=_run,
    render=_render,
)
