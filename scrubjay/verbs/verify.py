"""`scrubjay verify`: read the archive alone and prove it whole."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.output import USAGE, VerbFailure
from scrubjay.text import count, facts, without
from scrubjay.units import human_size, parse_duration
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.finding_lines import finding_lines

LEVELS = ("listed", "objects", "records", "replayed")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--archive", metavar="URL", help="verify this archive without a server: a dead cluster's bucket, or a copy")
    parser.add_argument("--cluster", metavar="C", help="with --archive: which cluster's, if several wrote below the URL")
    parser.add_argument("--table", metavar="T", help="name or id; default: every table and the metadata group")
    parser.add_argument("--level", choices=LEVELS, default="records", help="how deep (default: records)")
    parser.add_argument("--budget", metavar="10m", help="stop after this long (exit 3); default: none")
    parser.add_argument("--max-age", metavar="7d", help="skip objects proven at this level within this time; default: 0s")


def _run(call: VerbCall) -> Result:
    archive = call.option("archive")
    if call.option("cluster") and not archive:
        raise VerbFailure(
            "--cluster goes with --archive", code="Usage", exit_code=USAGE, found="--cluster alone", next_step="scrubjay verify -h"
        )
    request = {
        "table": call.option("table"),
        "level": call.option("level"),
        "budget_us": parse_duration(call.option("budget")) if call.option("budget") else None,
        "max_age_us": parse_duration(call.option("max_age")) if call.option("max_age") else 0,
    }
    with call.progress() as progress:
        if archive:
            from scrubjay.offline import verify_archive

            document = verify_archive(call.config(), archive, cluster=call.option("cluster"), request=request, progress=progress)
        else:
            document = call.client().run_job("verify", request, progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    objects = document["objects"]
    reason = f" ({document['reason']})" if document["reason"] else ""
    unseen = "not compared: no cluster was asked, so the loss of a partition's newest objects cannot be seen"
    return [
        *finding_lines(document["findings"]),
        *facts(
            {
                "archive": document["url"],
                "without": without(document),
                "cluster": document["cluster"],
                "objects": f"{count(objects['checked'])} checked, {count(objects['skipped_fresh'])} skipped as fresh, {count(objects['failed'])} failed",
                "read": human_size(document["bytes"]),
                "end": unseen if document["end_checked"] is False else None,
            }
        ),
        f"verdict {document['verdict']}{reason}",
    ]


VERB = Verb(
    words=("verify",),
    summary="read the archive alone, and prove that it is whole",
    example=("scrubjay verify --level records", "scrubjay verify --archive s3://bucket/prefix --json"),
    exits={
        0: "everything asked for was read and is whole",
        1: "the cluster or the object store cannot be reached, or no such table",
        2: "something is damaged, lost or forged: see the findings",
        3: "incomplete: the budget is spent, or something could not be read",
    },
    template={
        "verdict": None,
        "url": None,
        "away": None,
        "cluster": None,
        "level": None,
        "reason": None,
        "left": None,
        "objects": {"checked": None, "skipped_fresh": None, "failed": None},
        "bytes": None,
        "end_checked": None,
        "seconds": None,
        "findings": [],
    },
    options=_options,
    run=_run,
    render=_render,
)
