"""`scrubjay backup create`: keep a moment of a table by name."""

from __future__ import annotations

import argparse

from scrubjay.base.times import parse_time
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.backup_lines import TEMPLATE, lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="name or id; it may be a dropped table whose window has not ended")
    parser.add_argument("name", metavar="NAME", help="3 to 255 of a-z, A-Z, 0-9, _ . -; several backups may have one name")
    parser.add_argument("--at", metavar="TIME", help="a moment of the proven window, RFC 3339; default: now, sealed first")


def _run(call: VerbCall) -> Result:
    at = call.option("at")
    request = {"table": call.option("table"), "name": call.option("name"), "at_us": parse_time(at) if at else None}
    with call.progress() as progress:
        document = call.client().run_job("backup/create", request, progress)
    return int(document["exit"]), document


VERB = Verb(
    words=("backup", "create"),
    summary="keep a moment of a table by name, for as long as the backup exists: no copy is made",
    example=("scrubjay backup create cities before-the-migration",),
    exits={
        0: "it is there, and its moment is proven",
        1: "the cluster or the object store cannot be reached, or no such table: nothing was made, or backup list shows it",
        2: "it is there, and the archive is damaged at its moment (`detail`)",
        3: "it is there; the archive does not prove its moment yet (backup show says when it does), or not without a key of encryption that is lacking (`unread`)",
        4: "refused, nothing made: outside the proven window, another cluster writes to the archive, or there are 10,000",
    },
    template=TEMPLATE,
    options=_options,
    run=_run,
    render=lines,
    interrupted="scrubjay backup list shows whether it was made",
)
