"""`scrubjay backup delete`: from then on retention takes what only the backup kept."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.backup_lines import TEMPLATE, lines, which


def _options(parser: argparse.ArgumentParser) -> None:
    which(parser)
    parser.add_argument("--confirm", action="store_true", help="do it; without, which one it would be")


def _run(call: VerbCall) -> Result:
    document = call.client().post("backup/delete", {"name": call.option("name"), "confirm": bool(call.option("confirm"))})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    if document["deleted"]:
        return lines(document)
    return [*lines(document), "nothing was changed: --confirm deletes it, and the next expire run takes what it alone kept"]


VERB = Verb(
    words=("backup", "delete"),
    summary="delete a backup; without --confirm, say which one",
    example=("scrubjay backup delete before-the-migration --confirm",),
    exits={
        0: "deleted; or, without --confirm, which one it would be",
        1: "the cluster or the object store cannot be reached, or no such backup",
        2: "the backup cannot be read, or none that can be read has that name",
        4: "refused: the store keeps it (a lock), or another cluster writes to the archive",
    },
    template={**TEMPLATE, "deleted": None},
    options=_options,
    run=_run,
    render=_render,
)
