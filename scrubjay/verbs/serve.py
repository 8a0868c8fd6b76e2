"""`scrubjay serve --dev`: a whole cluster in one process."""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from scrubjay.output import DONE, REFUSED, USAGE, VerbFailure, answer, to_json
from scrubjay.verb import Result, Verb, VerbCall

if TYPE_CHECKING:
    from scrubjay.config import Config


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dev", action="store_true", help="everything in one process: three storage nodes in three zones, metadata, router, durability"
    )
    parser.add_argument("--data", metavar="DIR", help="data folder (default: ./scrubjay-data)")
    parser.add_argument("--port", metavar="N", help="port (default: 8000; 0: a free one)")
    parser.add_argument("--archive", metavar="URL", help="file:///path or s3://bucket/prefix (default: file://DIR/archive)")
    parser.add_argument("--set", metavar="S.KEY=V", action="append", help="any configuration key; may be given often")
    parser.add_argument("--listen", metavar="ADDR", help="address (default: 127.0.0.1); anything but loopback needs --auth")
    parser.add_argument("--auth", action="store_true", default=None, help="check signatures against [auth.keys]")
    parser.add_argument("--insecure-listen", action="store_true", default=None, help="listen beyond loopback without --auth all the same")
    parser.add_argument("--stop-timeout", metavar="30s", help="longest wait for the object store at a planned stop")


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect."""
    import ipaddress

    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _run(call: VerbCall) -> Result:
    if not call.option("dev"):
        raise VerbFailure(
            "say how to serve", code="Usage", exit_code=USAGE, asked="scrubjay serve", found="no --dev", next_step="scrubjay serve --dev"
        )
    options = {
        name: call.option(name.partition(".")[2])
        for name in ("serve.data", "serve.port", "serve.listen", "serve.auth", "serve.insecure_listen", "serve.stop_timeout")
    }
    from scrubjay.serving.refused import told_in_a_folder_at_rest

    with told_in_a_folder_at_rest(options["serve.data"], None):
        config = call.config({**options, "archive.url": call.option("archive")})
    with told_in_a_folder_at_rest(config.serve.data, config):
        _check(config)
    if not call.json:
        return _serve(config), None
    with contextlib.redirect_stdout(_JsonReady(sys.stdout)):
        return _serve(config), None


def _check(config: Config) -> None:
    """What is refused before anything is looked at. Raises VerbFailure."""
    if not is_loopback(config.serve.listen) and not config.serve.auth and not config.serve.insecure_listen:
        raise VerbFailure(
            "refused to serve other machines without authentication",
            code="Unsafe",
            exit_code=REFUSED,
            asked=f"--listen {config.serve.listen}",
            found="no --auth",
            next_step="add --auth with [auth.keys] in the configuration, or say --insecure-listen",
        )
    if config.serve.auth and not config.auth.keys:
        raise VerbFailure(
            "--auth without keys would refuse everybody",
            code="Usage",
            exit_code=USAGE,
            asked="--auth",
            found="no key in auth.keys",
            next_step="put [[auth.keys]] with id, secret and role into the configuration, see docs/CONFIG.md",
        )


def _serve(config: Config) -> int:
    """The lock first: a restarted node keeps quiet for a while from when it is alone, and what takes long (imports, replay) had better happen meanwhile."""
    from scrubjay.base.real.platform import check_platform
    from scrubjay.serving.lock import FolderLock, data_folder
    from scrubjay.serving.refused import told_in

    check_platform()
    lock = FolderLock(data_folder(config.serve.data))
    try:
        # Compiling all of it again is the half of a start; its workers, which are isolated from the environment, keep what they compile too.
        sys.dont_write_bytecode = False
        gc.disable()  # until it is up: what a start makes stays, and walking it again and again is a tenth of the imports
        with told_in(lock.folder, config):
            from scrubjay.serving.dev import serve

            return serve(config, lock)
    finally:
        gc.enable()
        lock.release()


class _JsonReady(io.TextIOBase):
    """Stdout under --json: the one line `ready URL` becomes the one JSON object."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        word, _, url = text.strip().partition(" ")
        if word == "ready":
            self._out.write(to_json(answer(DONE, {"ready": url}, template={})) + "\n")
            self._out.flush()
        return len(text)


def _render(document: Mapping[str, Any]) -> Sequence[str]:
    return []


VERB = Verb(
    words=("serve",),
    summary="serve tables over the DynamoDB API; prints one line `ready http://…` when every partition has a leader",
    example=(
        "scrubjay serve --dev --data ./scrubjay-data --port 8000",
        "scrubjay serve --dev --archive s3://bucket/prefix --set archive.seal_age=5s",
    ),
    exits={
        0: "stopped by SIGTERM or SIGINT; everything acknowledged is archived",
        1: "failed: port taken, object store unreachable",
        3: "stopped, but the store took not everything in time: the rest stays in the WAL",
        4: "refused: data folder in use, foreign archive, store without the guarantees needed, open to the network without --auth",
    },
    template={"ready": None},
    options=_options,
    run=_run,
    render=_render,
    talks_to_cluster=False,
)
