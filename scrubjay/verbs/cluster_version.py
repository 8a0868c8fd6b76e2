"""`scrubjay cluster version`: what the cluster may write, what each process can, what keeps the one from the other; and whether it is held."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--hold", action="store_true", help="leave it as it is, whatever the processes can: the way back to the release before stays open"
    )
    change.add_argument(
        "--release", action="store_true", help="hold it no longer: it is raised once every process can more, and never lowered"
    )


def _run(call: VerbCall) -> Result:
    if call.option("hold") or call.option("release"):
        document = call.client().post("cluster/version", {"held": bool(call.option("hold"))})
    else:
        document = call.client().get("cluster/version")
    return int(document.get("exit", 0)), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    rows = [(one["name"], one["role"], "away" if one["can"] is None else str(one["can"])) for one in document["processes"]]
    lines = [f"version {document['version']}, of {document['newest']} that this release can", *columns(("process", "role", "can"), rows)]
    if document["held"]:
        lines.append(f"held since {document['held']}: scrubjay cluster version --release ends that")
    return lines + [f"not raised: {why}" for why in document["holds"]]


VERB = Verb(
    words=("cluster", "version"),
    summary="the cluster's version: what may be written, what each process can, and what holds it; --hold before an upgrade keeps the way back open",
    example=("scrubjay cluster version", "scrubjay cluster version --hold", "scrubjay cluster version --release"),
    exits={
        0: "shown; or held, or held no longer",
        1: "the cluster cannot be asked, or nothing can be noted now (no leader)",
    },
    template={"version": None, "newest": None, "held": None, "holds": [], "processes": []},
    options=_options,
    run=_run,
    render=_render,
)
