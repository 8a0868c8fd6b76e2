"""`scrubjay backup restore`: a backup to a new table. A restore like any other: `restore status|resume|cancel` know it."""

from __future__ import annotations

import argparse

from scrubjay.verb import Result, Verb, VerbCall
from scrubjay.verbs.backup_lines import which
from scrubjay.verbs.restore_target import RUN_TEMPLATE, state_lines, wait_options


def _options(parser: argparse.ArgumentParser) -> None:
    which(parser)
    parser.add_argument("--to", metavar="NEW", required=True, help="name of the new table; it must not exist")
    wait_options(parser)


def _run(call: VerbCall) -> Result:
    client, to = call.client(), call.option("to")
    document = client.post("backup/restore", {"name": call.option("name"), "to": to})
    named = {name: document.get(name) for name in ("backup", "backup_id")}
    call.log(f"restore of {document.get('backup')} to {to}, {document.get('table')} as of {document.get('at')}")
    if call.option("wait"):
        with call.progress() as progress:
            document = {**client.wait("restore/status", {"to": to}, progress), **named}
    return int(document["exit"]), document


VERB = Verb(
    words=("backup", "restore"),
    summary="restore a backup to a new table, with the settings that the table had then",
    example=("scrubjay backup restore before-the-migration --to cities-good",),
    exits={
        0: "restored, digests agree, published",
        1: "failed, or the cluster cannot be reached, or no such backup",
        2: "the digests of what was read and what was loaded differ, or the archive is damaged there (`findings`): not published",
        3: "running (--no-wait)",
        4: "refused, nothing written: the new table exists, or an unfinished restore to it is of another moment",
    },
    template={"backup": None, "backup_id": None, **RUN_TEMPLATE},
    options=_options,
    run=_run,
    render=state_lines,
    interrupted="the restore goes on in the server: scrubjay restore status NEW shows it, the same backup restore attaches again",
)
