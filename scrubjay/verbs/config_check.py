"""`scrubjay config check`: would `serve` with this configuration work here?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scrubjay.output import DONE, REFUSED
from scrubjay.text import wrapped
from scrubjay.verb import Result, Verb, VerbCall


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="data folder (default: ./scrubjay-data)")
    parser.add_argument("--port", metavar="N", help="port (default: 8000)")
    parser.add_argument("--archive", metavar="URL", help="file:///path or s3://bucket/prefix (default: file://DIR/archive)")
    parser.add_argument("--listen", metavar="ADDR", help="address (default: 127.0.0.1)")
    parser.add_argument("--set", metavar="S.KEY=V", action="append", help="any configuration key; may be given often")


def _run(call: VerbCall) -> Result:
    from scrubjay.config_check import BAD, check_config

    given = {name: call.option(name.partition(".")[2]) for name in ("serve.data", "serve.port", "serve.listen")}
    config = call.config({**given, "archive.url": call.option("archive")})
    checks = check_config(config)
    refused = any(check.verdict == BAD for check in checks)
    return REFUSED if refused else DONE, {"archive": config.archive_url, "checks": [check._asdict() for check in checks]}


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    lines: list[str] = []
    for check in sorted(document["checks"], key=lambda check: ("failed", "warning", "ok").index(check["verdict"])):
        lines += wrapped(check["found"], first=f"{check['verdict']:<9}{check['check']}: ", rest=" " * 9)
        if check["next"]:
            lines += wrapped(check["next"], first=" " * 9 + "next: ", rest=" " * 9)
    return lines


VERB = Verb(
    words=("config", "check"),
    summary="say whether serve with this configuration would work here; changes nothing",
    example=("scrubjay config check --config FILE", "scrubjay config check --archive s3://bucket/prefix --json"),
    exits={
        0: "it would work (there may be warnings)",
        4: "it would be refused or could not work: store, clock, port, files, memory or disk",
    },
    template={"archive": None, "checks": []},
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
)
