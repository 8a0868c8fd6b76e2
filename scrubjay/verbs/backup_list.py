"""`scrubjay backup list`: every backup, oldest first."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.errors import NO_KEY
from scrubjay.text import columns, wrapped
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="T", help="name or id; default: of every table")


def _run(call: VerbCall) -> Result:
    document = call.client().get("backup/list", {"table": call.option("table")})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    shown = [*document["backups"], *document["lost"]]
    rows = [(one["backup"], one["table"], one["at"], one["state"], one["backup_id"]) for one in shown]
    found = columns(("backup", "of", "as of", "state", "id"), rows) if rows else ["no backups"]
    wrong = [f"{'NOT READ' if one['kind'] == NO_KEY else 'UNREADABLE'}: {one['object']}: {one['detail']}" for one in document["unread"]]
    wrong += [f"LOST: {one['backup_id']}: {one['detail']}" for one in document["lost"]]
    return [*found, *(line for one in wrong for line in wrapped(one, rest="  "))]


VERB = Verb(
    words=("backup", "list"),
    summary="list the backups, oldest first, and whether each can be restored",
    example=("scrubjay backup list --table cities",),
    exits={
        0: "the list",
        1: "the cluster or the object store cannot be reached, or no such table",
        2: "something among them cannot be read (`unread`): nobody knows what it keeps, and retention takes nothing away; or a pin was there and is gone (`lost`)",
        3: "the same (`unread`), and nothing but a key of the archive's encryption is lacking",
    },
    template={"backups": [], "unread": [], "lost": []},
    options=_options,
    run=_run,
    render=_render,
)
