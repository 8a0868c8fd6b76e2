"""`scrubjay cluster recover-quorum`: groups whose quorum is lost for good go on from one node's log."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import plural
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="NAME", required=True, help="the node that is left: run this on its machine, its process stopped")
    parser.add_argument(
        "--lost", metavar="NODE", action="append", required=True, help="a node whose folder will never come back; may be given often"
    )
    parser.add_argument("--plan", action="store_true", help="only say what it would do, and what may be lost (as without --confirm)")
    parser.add_argument(
        "--confirm", action="store_true", help="do it; what the lost nodes alone had is given up, and their folders never count again"
    )


def _run(call: VerbCall) -> Result:
    from scrubjay.quorum_recovery import recover_lost_quorum

    confirm = bool(call.option("confirm")) and not call.option("plan")
    document = recover_lost_quorum(call.config(), call.option("name"), call.option("lost"), confirm=confirm)
    return int(document["exit"]), document


def _group_lines(one: Mapping[str, Any]) -> list[str]:
    head = f"{one['table']}, partition {one['partition']}: {one['standing']}" + (f" ({one['why']})" if one["why"] else "")
    if one["standing"] != "lost":
        return [head]
    log = one["log"]
    held = f"its log here ends at LSN {log['last']}, known chosen up to {log['known_chosen']}; the archive ends at {one['archived']}"
    taken = f"; {plural(one['from_archive'], 'record')} come from the archive" if one["from_archive"] else ""
    sure = f", of which {one['lost_for_certain']} certainly were" if one["lost_for_certain"] else ""
    return [
        head + f"; voted: {', '.join(one['voters'])}",
        f"  {held}{taken}",
        f"  goes on behind LSN {one['kept_to']}: what was acknowledged with a higher LSN{sure} is lost",
    ]


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    done = document["confirmed"]
    lost = ", ".join(one["node"] for one in document["lost"])
    lines = [f"cluster   {document['cluster']}", f"archive   {document['url']}", f"goes on   {document['survivor']}", f"lost      {lost}"]
    for one in document["partitions"]:
        lines += _group_lines(one)
    if document["unknown"]:
        lines.append(f"{plural(len(document['unknown']), 'log')} of this node the catalogue does not name: they stay as they are")
    groups = plural(document["recovers"], "group")
    if document["refused"]:
        lines.append(f"REFUSED: {plural(document['refused'], 'group')} cannot be recovered from this node; nothing was changed")
    elif not document["recovers"]:
        lines.append("No group here lacks its quorum: nothing to be done.")
    elif done:
        lines.append(
            f"Done: {groups} go on from {document['survivor']} alone (recovery {document['number']}). Start it, then join nodes with empty folders."
        )
    else:
        lines.append(
            f"With --confirm {groups} go on from {document['survivor']} alone, and the folders of {lost} never count again, wherever they are."
        )
    return lines


VERB = Verb(
    words=("cluster", "recover-quorum"),
    summary="let groups whose quorum is lost for good go on from the one node that is left; says what may be lost",
    example=("scrubjay cluster recover-quorum --name n1 --lost n2 --lost n3 --plan",),
    exits={
        0: "said, or with --confirm done: it takes effect when the node is started; asked again, nothing was left to be done",
        1: "the archive cannot be reached: what may be lost cannot be told, and nothing is changed",
        3: "as 0, and of some partition in use no copy is left here",
        4: "refused, nothing was changed: the node or the durability process runs, a lost node answers, or a group cannot be recovered from this node (the report says which and why)",
        64: "there is no such node",
    },
    template={
        "cluster": None,
        "url": None,
        "survivor": None,
        "lost": [],
        "partitions": [],
        "unknown": [],
        "recovers": None,
        "refused": None,
        "left": None,
        "confirmed": None,
        "number": None,
        "at": None,
    },
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
    interrupted="what was done stays done; the same command goes on with it",
)
