"""`scrubjay cluster takeover`: let this data folder go on as the writer of its archive."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--archive", metavar="URL", required=True, help="the archive whose writer it shall be")
    parser.add_argument(
        "--data", metavar="DIR", default="./scrubjay-data", help="the stopped data folder that shall go on (default: ./scrubjay-data)"
    )
    parser.add_argument("--confirm", action="store_true", help="do it; without, only say what it would do")


def _run(call: VerbCall) -> Result:
    from scrubjay.takeover import take_over

    document = take_over(call.config(), call.option("archive"), data=call.option("data"), confirm=bool(call.option("confirm")))
    return 0, document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    epoch = document["gives_up_to_epoch"]
    done = document["confirmed"]
    return [
        f"cluster   {document['cluster']}",
        f"archive   {document['url']}",
        f"data      {document['data']}",
        *(f"epoch     {claim['epoch']} claimed by {claim['owner']}" for claim in document["epochs"]),
        f"{'At its next start' if done else 'With --confirm'} this folder claims epoch {epoch + 1} and goes on from what it holds.",
        "Records that only the archive holds, from epochs up to " + f"{epoch}, stay there as a branch that is reported as a fork.",
        "Every other copy of this cluster is fenced by it. Stop them first.",
    ]


VERB = Verb(
    words=("cluster", "takeover"),
    summary="let this data folder go on as its archive's writer, after it was fenced or put back",
    example=("scrubjay cluster takeover --archive s3://bucket/prefix --data DIR --confirm",),
    exits={
        0: "said, or with --confirm decided: it takes effect at the folder's next start",
        1: "the object store cannot be reached",
        4: "refused: the folder is being served, or the archive is not its own",
    },
    template={"cluster": None, "url": None, "data": None, "epochs": [], "gives_up_to_epoch": None, "confirmed": None},
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
)
