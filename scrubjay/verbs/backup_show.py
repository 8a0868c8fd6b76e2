"""`scrubjay backup show`: one backup, by a new look at the archive."""

from __future__ import annotations

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.backup_lines import TEMPLATE, lines, which


def _run(call: VerbCall) -> Result:
    document = call.client().get("backup/show", {"name": call.option("name")})
    return int(document["exit"]), document


VERB = Verb(
    words=("backup", "show"),
    summary="show one backup, and whether the archive proves its moment",
    example=("scrubjay backup show before-the-migration",),
    exits={
        0: "it can be restored",
        1: "the cluster or the object store cannot be reached, or no such backup",
        2: "the archive is damaged at its moment (`detail`), or the backup itself cannot be read",
        3: "the archive does not prove its moment yet, or not without a key of encryption that is lacking (`unread`)",
    },
    template=TEMPLATE,
    options=which,
    run=_run,
    render=lines,
)
