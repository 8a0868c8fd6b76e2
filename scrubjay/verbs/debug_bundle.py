"""`scrubjay debug bundle`: what a maintainer needs, in one file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scrubjay.base.errors import Invalid
from scrubjay.output import DONE, INCOMPLETE
from scrubjay.text import count, facts, wrapped
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall

ENDING = ".tar.gz"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.tar.gz", help="the file to make; one that is there already is left alone")
    parser.add_argument("--data", metavar="DIR", help="data folder (default: the server's, if on this machine, else the configuration's)")


def _run(call: VerbCall) -> Result:
    from scrubjay.debug_bundle import write_bundle

    path = Path(call.option("file"))
    if not path.name.endswith(ENDING) or path.name == ENDING:
        raise Invalid(
            "the file's name ends with .tar.gz", asked=str(path), found=path.name or "no name", next="scrubjay debug bundle FILE.tar.gz"
        )
    data = call.option("data")
    document = write_bundle(path, call.config({"serve.data": data}), call.client(), environ=call.environ, data=data)
    return INCOMPLETE if document["missing"] else DONE, document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = facts(
        {
            "wrote": document["file"],
            "holds": f"{count(len(document['parts']))} parts, {human_size(document['bytes'] or 0)}",
            "server": "asked" if document["server"] else "did not answer",
            "folder": document["folder"],
        }
    )
    for one in document["missing"]:
        lines += wrapped(one["why"], first=f"missing  {one['part']}: ", rest=" " * 9)
    return lines


VERB = Verb(
    words=("debug", "bundle"),
    summary="gather what a maintainer needs into one file, without secrets",
    example=("scrubjay debug bundle scrubjay.tar.gz", "scrubjay debug bundle scrubjay.tar.gz --data DIR --json"),
    exits={
        0: "written, and everything is in it",
        1: "the file cannot be written",
        3: "written, and something is missing: the server does not answer, no data folder is here, or a part was too long; it says what",
        4: "there is a file of that name: nothing was written",
    },
    template={"file": None, "bytes": None, "server": None, "folder": None, "parts": [], "missing": []},
    options=_options,
    run=_run,
    render=_render,
)
