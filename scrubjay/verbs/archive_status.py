"""`scrubjay archive status`: the proven window of every table, and what the archive lags and weighs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.output import columns
from scrubjay.units import human_size
from scrubjay.verb import Call, Result, Verb


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: every table")


def _run(call: Call) -> Result:
    document = call.client().get("archive/status", {"table": call.option("table")})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    rows = []
    holes = []
    for table in [*document["tables"], *([document["metadata"]] if document["metadata"] else [])]:
        window = table["window"]
        lag = table["lag_seconds"]
        rows.append(
            (
                table["table"] + (" (dropped)" if table["dropped_at"] else ""),
                window["earliest"],
                window["latest"],
                "-" if lag is None else f"{lag:.1f} s",
                human_size(table["unarchived_bytes"]),
                table["segments"],
                human_size(table["bytes_stored"]),
                len(window["holes"]),
            )
        )
        holes += [
            f"HOLE in {table['table']}, partition {hole['partition']}: lsn {hole['first_lsn']} to {hole['last_lsn']} ({hole['from']} to {hole['to']})"
            for hole in window["holes"]
        ]
    lines = columns(("table", "earliest", "latest", "lag", "unarchived", "segments", "stored", "holes"), rows)
    store = document["store"]
    if store:
        reach = "reachable" if store["reachable"] else f"NOT REACHABLE: {store['last_error']}"
        lines += ["", f"store {store['url']}: {reach}"]
    return [*lines, *holes]


VERB = Verb(
    words=("archive", "status"),
    summary="show each table's proven window [earliest, latest], lag and size of its archive",
    example=("scrubjay archive status --table cities", "scrubjay archive status --json"),
    exits={
        0: "every table has a proven window, without a hole, and its lag is below archive.lag_alarm",
        1: "the cluster or the object store cannot be reached (the report is still printed), or no such table",
        2: "a hole in a table's history",
        3: "a table without a proven window yet, or lag above archive.lag_alarm",
    },
    template={"tables": [], "metadata": None, "store": {"url": None, "reachable": None, "last_error": None}},
    options=_options,
    run=_run,
    render=_render,
)
