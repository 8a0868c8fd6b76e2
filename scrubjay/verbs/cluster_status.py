"""`scrubjay cluster status`: every node, and every copy of every partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall, no_options


def _run(call: VerbCall) -> Result:
    document = call.client().get("cluster/status")
    return int(document.get("exit", 0)), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines = [
        f"node {node['node']:<12} zone {node['zone'] or '-':<8} {node['state']:<9} leads {node['leaders']} of {node['replicas']}"
        + (f"  {node['failed']}" if node["failed"] else "")
        for node in document["nodes"]
    ]
    for one in document["partitions"]:
        copies = ", ".join(
            f"{copy['node']} {copy['state']}" + (f" (lacks {copy['lag']})" if copy["lag"] else "") for copy in one["members"]
        )
        lines.append(f"{one['table']} {one['partition']}  leader {one['leader'] or 'none'}  {copies}")
        if one["recovered"] is not None:
            cut = one["recovered"]
            proven = f"; proven equal to the archive since {cut['proven']}" if cut["proven"] else ""
            lines.append(
                f"  its quorum was lost: recovered from {cut['from']} behind LSN {cut['kept_to']} at {cut['at']}; what was acknowledged behind that then may be lost{proven}"
            )
    balance = document["balance"]
    if balance is not None:
        lines += [
            f"{one['table']} {one['partition']}  its copy on {one['from']} goes to {one['to'] or 'another node'}: {one['left']}"
            for one in balance["moving"]
        ]
        lines += [
            f"{one['node']} could not take a copy of {one['partition']}, and is given none for {one['seconds']} s: {one['why']}"
            for one in balance.get("declined", ())
        ]
        lines += [f"no {what} are evened out: {balance[what]}" for what in ("copies", "leaders") if balance[what]]
    version = document["version"]
    if version is not None:
        lines.append(
            f"version {version['version']}" + (f" of {version['newest']}; {'; '.join(version['holds'])}" if version["holds"] else "")
        )
    if document["catalogue"]:
        lines.append(f"the catalogue cannot be read now: {document['catalogue']}")
    return lines


VERB = Verb(
    words=("cluster", "status"),
    summary="nodes, partitions, leaders and copies, as the process that is asked knows them",
    example=("scrubjay cluster status --endpoint http://127.0.0.1:8001",),
    exits={
        0: "every partition has a leader, and every copy is whole",
        1: "the cluster cannot be asked",
        3: "a node or a copy is not well, or a partition has no leader",
    },
    template={"nodes": [], "partitions": [], "version": None, "balance": None, "catalogue": None},
    options=no_options,
    run=_run,
    render=_render,
)
