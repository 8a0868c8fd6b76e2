"""What `expire plan` and `expire run` share: options, the call, and how a plan reads."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns, count, plural, wrapped
from scrubjay.units import human_size, parse_duration
from scrubjay.verb import Result, VerbCall

TEMPLATE: Mapping[str, Any] = {
    "ran": None,
    "at": None,
    "unlived_seconds": None,
    "clock": None,
    "tables": [],
    "closed": {"objects": None, "bytes": None, "deleted": None},
    "foreign": [],
    "locks": None,
    "evidence": {"trees": None, "old": []},
    "cut": None,
    "left": None,
    "totals": {"objects": None, "bytes": None, "deleted": None, "freed": None},
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: every table, the metadata group, and old closed objects")
    parser.add_argument(
        "--keep", metavar="35d", help="keep every moment since then; default: each table's own retention, 35d unless it was changed"
    )


def ask(call: VerbCall, *, confirm: bool) -> Result:
    keep = call.option("keep")
    request = {"table": call.option("table"), "keep_us": parse_duration(keep) if keep else None, "confirm": confirm}
    with call.progress() as progress:
        document = call.client().run_job("expire", request, progress)
    return int(document["exit"]), document


def render(document: Mapping[str, Any]) -> Sequence[str]:
    """What goes, table by table; then why anything stays."""
    tables, totals, ran = document["tables"], document["totals"], document["ran"]
    goes = "went" if ran else "may go"
    rows = [
        (
            one["table"] + (" (dropped)" if one["dropped_at"] else ""),
            count(one["deleted"] if ran else one["objects"]),
            human_size(one["bytes"]),
            one["window"]["earliest"] or "-",
            one["window_after"]["earliest"] or "-",
        )
        for one in tables
    ]
    lines = list(columns(("table", goes, "bytes", "window begins", "then"), rows))
    for one in tables:
        if one["refused"]:
            lines += wrapped(f"REFUSED: {one['table']}: {one['refused']}", rest="  ")
        for held in one["held"]:
            lines += wrapped(
                f"held: {one['table']}, by {' '.join(word for word in (held['by'], held['name']) if word)}: {held['detail']}", rest="  "
            )
        if one["shortened"]:
            lines += wrapped(_shortened(one["table"], one["shortened"]), rest="  ")
    if document["unlived_seconds"]:
        lines += wrapped(
            f"{document['unlived_seconds'] / 86_400:.1f} days in which nobody published anything: the cluster was off, or this machine's clock leapt (then nothing"
            " of this is old)",
            rest="  ",
        )
    if document["clock"]:
        lines += wrapped(f"see to the clock before anything is confirmed: {document['clock']}", rest="  ")
    closed = document["closed"]
    if closed["objects"]:
        lines.append(f"closed objects: {plural(closed['objects'], 'object')}, {human_size(closed['bytes'])}")
    for path in document["evidence"]["old"]:
        lines += wrapped(f"evidence, older than its findings: {path}", rest="  ")
    if document["foreign"]:
        lines += wrapped(f"not in the catalogue, and left alone: {', '.join(document['foreign'])}", rest="  ")
    locks = document["locks"]
    if locks is not None and locks["error"]:
        lines += wrapped(
            f"NOT LOCKED: {locks['due'] - locks['asked'] + locks['failed']} objects that must stay: {locks['error']}", rest="  "
        )
    elif locks is not None and locks["due"]:
        done = "were locked for longer" if ran else "are locked for longer by the next run"
        lines.append(f"{plural(locks['due'], 'object')} that must stay {done}")
    if ran:
        return [*lines, f"{plural(totals['deleted'], 'object')} deleted"]
    return [
        *lines,
        f"{plural(totals['objects'], 'object')}, {human_size(totals['bytes'])} may go{'' if document['error'] else '; scrubjay expire run --confirm takes them away'}",
    ]


def _shortened(table: str, facts: Mapping[str, Any]) -> str:
    days, before = (facts[name] / 86_400 for name in ("told_seconds", "keeps_seconds"))
    until = f"until {facts['until']}" if facts["until"] else "for three days from its next run on"
    return f"{table} is to keep {days:g} days: the schedule goes by the {before:g} before {until}; expire run --confirm goes by the {days:g} at once"
