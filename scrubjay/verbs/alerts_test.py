"""`scrubjay alerts test`: does whoever should be told hear us?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.text import columns
from scrubjay.verb import Result, Verb, VerbCall, no_options


def _run(call: VerbCall) -> Result:
    document = call.client().post("alerts/test", {})
    return int(document["exit"]), document


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    rows = [
        (one["webhook"], one["status"], f"{one['seconds']:.3f} s", one["error"] or "took it", one["waiting"])
        for one in document["webhooks"]
    ]
    return columns(("webhook", "status", "after", "", "waiting"), rows)


VERB = Verb(
    words=("alerts", "test"),
    summary="send one test notice to every configured webhook and show what came back",
    example=("scrubjay alerts test",),
    exits={0: "every webhook took it", 1: "the cluster cannot be reached, or has no webhook", 3: "a webhook did not take it"},
    template={"webhooks": []},
    options=no_options,
    run=_run,
    render=_render,
)
