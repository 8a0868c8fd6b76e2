"""`scrubjay recover`: the whole cluster from its archive alone."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.base.times import parse_time
from scrubjay.text import columns, count, facts, plural, seconds, without
from scrubjay.units import human_size
from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.finding_lines import finding_lines, fork_lines


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--archive", metavar="URL", required=True, help="the archive of the cluster that is gone; it is only read")
    parser.add_argument("--cluster", metavar="C", help="which cluster's, if several wrote below the URL")
    parser.add_argument("--data", metavar="DIR", required=True, help="the new data folder; it must be empty, or half of this recovery")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", help="RFC 3339 with Z or an offset; every table as of that moment")
    when.add_argument("--latest", action="store_true", help="the latest moment proven for all tables (default)")
    parser.add_argument("--table", metavar="T", action="append", help="only this table, by name or id; may be given often")
    parser.add_argument("--plan", action="store_true", help="only say what it would do, and how long it would take; writes nothing")


def _run(call: VerbCall) -> Result:
    from scrubjay.recovery import RecoverRequest, recover

    asked = RecoverRequest(
        call.option("archive"),
        call.option("cluster"),
        parse_time(call.option("at")) if call.option("at") else None,
        tuple(sorted(set(call.option("table") or ()))),
    )
    with call.progress() as progress:
        document = recover(call.config(), asked, data=call.option("data"), plan_only=bool(call.option("plan")), progress=progress)
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    took = document["seconds"] or {}
    kept = len(document["backups"]) + len(document["backups_unread"])
    done = took.get("recover") is not None
    rows = [
        (
            one["table"],
            one["partitions"],
            human_size(one["bytes"]),
            one["state"],
            None if one["rows"] is None else count(one["rows"]),
            one["verdict"],
        )
        for one in document["tables"]
    ]
    lines = finding_lines(document["findings"])
    lines += [
        f"{'HOLE' if one.get('no_key') is None else 'NOT READ'} in {one['table']}, partition {one['partition']}, LSN {one['first_lsn']} to {one['last_lsn']}"
        for one in document["holes"]
    ]
    lines += fork_lines(document)
    lines += facts(
        {
            "recover" if not done else "recovered": f"{plural(len(rows), 'table')} of cluster {document['parent']}",
            "from": document["url"],
            "without": without(document),
            "to": f"{document['data']}" + (f", cluster {document['cluster']}" if document["cluster"] else ""),
            "as of": document["at"],
            "to read": f"{human_size(document['bytes'])} in {plural(document['requests'], 'request')}",
            "predicted": seconds(document["predicted_seconds"]),
            "took": seconds(took["recover"]) if done else None,
            "left out": ", ".join(f"{one['table']} ({one['why']})" for one in document["left_out"]) or None,
            "schedule": ", ".join(one["job"] if one["brought"] else f"{one['job']} NOT ({one['why']})" for one in document["schedules"])
            or None,
            "backups": f"{plural(kept, 'backup')} {'stays' if kept == 1 else 'stay'} in the archive of {document['parent']}: --table with --at brings one into another folder (--json: which)"
            if kept
            else None,
            "end": "not compared: no cluster was asked, so the loss of a partition's newest objects cannot be seen",
            "what works": None if document["works_at"] is None else f"--at {document['works_at']} into another folder",
        }
    )
    lines += ["", *columns(("table", "partitions", "bytes", "state", "rows", "verdict"), rows)]
    if done and document["exit"] == 0:
        lines += [
            "",
            f"scrubjay serve --dev --data {shlex.quote(document['data'])} serves them; say with --archive where it shall archive.",
        ]
    return lines


VERB = Verb(
    words=("recover",),
    summary="make a new cluster, with every table, from an archive alone",
    example=(
        "scrubjay recover --archive s3://bucket/prefix --data ./recovered --plan",
        "scrubjay recover --archive s3://bucket/prefix --data ./recovered",
    ),
    exits={
        0: "every table is there, as of one moment, and its digests agree",
        1: "the object store cannot be reached, no such cluster or table in it, or the machine failed",
        2: "a hole or damage in the archive: which table, partition, LSNs, and which --at would work; or all is there, but the archive holds two histories of it (`forks`)",
        4: "refused: the data folder is not empty, nothing proves that moment, or a key of the archive's encryption is lacking",
    },
    template={
        "parent": None,
        "cluster": None,
        "url": None,
        "away": None,
        "data": None,
        "at": None,
        "tables": [],
        "left_out": [],
        "bytes": None,
        "raw_bytes": None,
        "requests": None,
        "predicted_seconds": None,
        "rates": None,
        "seconds": {"plan": None, "recover": None, "total": None},
        "holes": [],
        "forks": [],
        "schedules": [],
        "backups": [],
        "backups_unread": [],
        "end_checked": None,
        "works_at": None,
        "findings": [],
    },
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
    interrupted="the same command again goes on where it stopped",
)
