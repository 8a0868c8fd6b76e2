"""`scrubjay archive status`: the proven window of every table, and what the archive lags and weighs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, count, plural, seconds, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: every table")


def _run(call: VerbCall) -> Result:
    document = call.client().get("archive/status", {"table": call.option("table")})
    return int(document["exit"]), document


def _badness(table: Mapping[str, Any]) -> tuple[object, ...]:
    """Sort key: holes first, then what has no window, then the largest lag."""
    window = table["window"]
    return not window["holes"], window["latest"] is not None, bool(table["dropped_at"]), -(table["lag_seconds"] or 0.0)


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    tables = sorted([*document["tables"], *([document["metadata"]] if document["metadata"] else [])], key=_badness)
    rows = [
        (
            table["table"] + (" (dropped)" if table["dropped_at"] else ""),
            seconds(table["lag_seconds"]),
            human_size(table["unarchived_bytes"]),
            count(table["segments"]),
            count(table["packs"]),
            human_size(table["bytes_stored"]),
            len(table["window"]["holes"]),
        )
        for table in tables
    ]
    lines = [_store_line(document["store"], well=document["exit"] == 0), ""] if document["store"] else []
    lines += [line for table in tables for hole in table["window"]["holes"] for line in _hole_lines(table["table"], hole)]
    for fork in document.get("forks") or ():
        lines += wrapped(f"FORK of partition {fork['partition']} from lsn {fork['first_lsn']} on, epochs {fork['epochs']}", rest="  ")
    for one in document.get("findings") or ():
        lines += wrapped(f"BAD ({one['kind']}) {one['object']}: {one['detail']}", rest="  ")
    for one in document.get("unread") or ():
        lines += wrapped(f"NOT READ: {one['detail']} ({plural(one['objects'], 'object')})", rest="  ")
    lines += columns(("table", "lag", "unarchived", "segments", "packs", "stored", "holes"), rows)
    lines += ["", "can be restored to any moment"]
    for table in tables:
        window = table["window"]
        lines.append(f"  of {table['table']}")
        lines.append(
            f"    earliest {window['earliest']}, latest {window['latest']}" if window["latest"] is not None else "    no proven window yet"
        )
    return lines if tables else [*lines[:2], "no tables"]


def _store_line(store: Mapping[str, Any], *, well: bool) -> str:
    """The store, and what it or an agent could not do last, unless all is well again."""
    state = "reachable" if store["reachable"] else f"NOT REACHABLE: {store['last_error']}"
    if store.get("present") is False:
        state = "the archive that was there is GONE"
    elif store.get("fenced"):
        state = f"FENCED: {store['last_error']}"
    lines = wrapped(f"store {store['url']}: {state}", rest="  ")
    if store["last_error"] and store["reachable"] and not store.get("fenced") and not well:
        lines += wrapped(f"last error{' ' + store['since'] if store.get('since') else ''}: {store['last_error']}", first="  ", rest="  ")
    return "\n".join(lines)


def _hole_lines(table: str, hole: Mapping[str, Any]) -> list[str]:
    return [
        *wrapped(
            f"{'HOLE' if hole.get('no_key') is None else 'NOT READ'} in {table}: lsn {hole['first_lsn']} to {hole['last_lsn']}", rest="  "
        ),
        f"  partition {hole['partition']}",
        f"  {hole['from'] or 'the beginning'} to {hole['to'] or 'the end'}",
    ]


VERB = Verb(
    words=("archive", "status"),
    summary="show each table's proven window [earliest, latest], lag and size of its archive",
    example=("scrubjay archive status --table cities", "scrubjay archive status --json"),
    exits={
        0: "every table has a proven window, without a hole, and its lag is below archive.lag_alarm",
        1: "the cluster or the object store cannot be reached (the report is still printed), or no such table",
        2: "a hole or a fork in a table's history, an object that is known to be bad or gone (`findings`), or an archive that was there and is gone",
        3: "a table without a proven window yet, objects under a key that is not configured (`unread`), agents that cannot work, or lag above archive.lag_alarm",
    },
    template={
        "tables": [],
        "forks": [],
        "findings": [],
        "unread": [],
        "metadata": None,
        "store": {"url": None, "reachable": None, "present": None, "fenced": None, "last_error": None, "since": None, "complete": None},
    },
    options=_options,
    run=_run,
    render=_render,
)
