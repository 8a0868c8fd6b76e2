"""`scrubjay archive move`: the second archive becomes the one that decides, once it is proven to hold the same."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import facts, plural, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

_TEMPLATE: Mapping[str, Any] = {
    "ran": None,
    "at": None,
    "from": None,
    "to": None,
    "decides": None,
    "stays": None,
    "lacking": None,
    "checked": None,
    "bytes": None,
    "mended": None,
    "differences": [],
}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--confirm", action="store_true", help="do it; without it only how far the new place is")
    parser.add_argument("--back", action="store_true", help="with --confirm: give the move up; the first archive decides again")


def _run(call: VerbCall) -> Result:
    with call.progress() as progress:
        document = call.client().run_job("archive/move", {"confirm": call.option("confirm"), "back": call.option("back")}, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lacking = "not known yet" if document["lacking"] is None else plural(document["lacking"], "object")
    lines = facts({"from": document["from"], "to": document["to"], "decides": document["decides"], "lacking": lacking})
    for one in document["differences"]:
        lines += wrapped(f"DIFFERS ({one['kind']}) {one['object']} in {one['archive']}: {one['detail']}", rest="  ")
    if document["differences"]:
        return [*lines, "nothing was moved"]
    if not document["ran"]:
        return [*lines, "scrubjay archive move --confirm waits until it lacks nothing, compares all of it, and lets it decide"]
    if document["checked"] is None:
        return [*lines, "the first archive decides again as soon as it lacks nothing"]
    same = f"{plural(document['checked'], 'object')} compared, {human_size(document['bytes'])}: the same in both"
    last = f"it decides now. Start the server with archive.url = {document['to']} and without second.url; nothing was taken away from {document['from']}"
    return [*lines, same, *wrapped(last)]


VERB = Verb(
    words=("archive", "move"),
    summary="let the second archive decide for good, once it is proven to hold everything: the archive moves there without a gap",
    example=("scrubjay archive move", "scrubjay archive move --confirm"),
    exits={
        0: "done: it decides, and keeps its turn; or how far it is, and it lacks nothing",
        1: "the cluster or one of the two archives cannot be reached; the next run goes on",
        2: "objects differ and nobody can say which is right: each is named, nothing was moved",
        3: "without --confirm: it lacks something yet",
        4: "there is no second archive",
    },
    template=_TEMPLATE,
    options=_options,
    run=_run,
    render=_render,
    interrupted="the move goes on in the server; it is safe to run it again",
)
