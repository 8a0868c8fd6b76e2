"""`scrubjay cluster init`: found the cluster that a file describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.verb import Result, Verb, VerbCall, no_options


def _run(call: VerbCall) -> Result:
    from scrubjay.client import AdminClient
    from scrubjay.serving.plan import plan_of

    plan = plan_of(call.config())
    first = plan.names[1]
    document = AdminClient(plan.api[first].url, environ=call.environ).post("cluster/init", {})
    return int(document.get("exit", 0)), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    what = "founded" if document["founded"] else "was founded already"
    return [f"cluster {document['cluster_id']} {what}; its nodes: {', '.join(document['nodes'])}"]


VERB = Verb(
    words=("cluster", "init"),
    summary="found the cluster that --config describes: once, while its nodes are up and their folders empty",
    example=("scrubjay cluster init --config cluster.toml",),
    exits={
        0: "founded, now or before",
        1: "a founding node is not up",
        4: "refused: a folder is another cluster's, or not empty",
    },
    template={"cluster_id": None, "nodes": [], "founded": None},
    options=no_options,
    run=_run,
    render=_render,
)
