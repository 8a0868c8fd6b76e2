"""`scrubjay serve`: a whole cluster in one process (`--dev`), or one role of a cluster of several (`--role`)."""

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


ROLES = ("node", "router", "durability")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dev", action="store_true", help="everything in one process: three storage nodes in three zones, metadata, router, durability"
    )
    parser.add_argument(
        "--role",
        metavar="ROLE",
        help="one process of the cluster that --config describes: `node` (each routes, too), `router` or `durability`",
    )
    parser.add_argument("--name", metavar="NAME", help="with --role node or router: which of [nodes] or [routers]")
    parser.add_argument(
        "--no-router", action="store_true", default=None, help="with --role node: it stores and does not answer the DynamoDB API"
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
    role = call.option("role")
    if bool(call.option("dev")) == (role is not None):
        found = "both --dev and --role" if role is not None else "neither --dev nor --role"
        step = "scrubjay serve --dev, or scrubjay serve --config FILE --role node --name NAME"
        raise VerbFailure("say how to serve", code="Usage", exit_code=USAGE, asked="scrubjay serve", found=found, next_step=step)
    if role is not None:
        return _run_role(call, str(role))
    if call.option("no_router"):
        raise VerbFailure(
            "only a node of several processes can leave routing to others",
            code="Usage",
            exit_code=USAGE,
            asked="--no-router with --dev",
            found="one process, which everybody asks",
            next_step="leave it out",
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


def _run_role(call: VerbCall, role: str) -> Result:
    """One process of a cluster: its folder and addresses are the file's. Raises Invalid."""
    from scrubjay.serving.plan import node_of, placed, plan_of, router_of

    if role not in ROLES:
        asked, step = f"--role {role}", f"one of {', '.join(ROLES)}"
        raise VerbFailure("there is no such role", code="Usage", exit_code=USAGE, asked=asked, found="no such role", next_step=step)
    for name in ("data", "port", "listen", "archive"):
        if call.option(name) is not None:
            asked, step = (
                f"--{name} with --role",
                f"write it into the file: nodes.NAME.{name}, routers.NAME.{name}, durability.{name} or archive.url",
            )
            raise VerbFailure("the file says so", code="Usage", exit_code=USAGE, asked=asked, found=str(call.option(name)), next_step=step)
    if call.option("no_router") and role != "node":
        raise VerbFailure(
            "only a node can leave routing to others",
            code="Usage",
            exit_code=USAGE,
            asked=f"--no-router with --role {role}",
            found="no storage node",
            next_step="leave it out",
        )
    options = {name: call.option(name.partition(".")[2]) for name in ("serve.auth", "serve.insecure_listen", "serve.stop_timeout")}
    config = call.config(options)
    plan = plan_of(config)
    if role == "node":
        node = node_of(plan, call.option("name"))
        config = placed(config, data=plan.data[node], listen=plan.api[node])
        served: tuple[str, str | None, bool] = role, node, not call.option("no_router")
    elif role == "router":
        router = router_of(plan, call.option("name"))
        data, listen = plan.routers[router]
        config = placed(config, data=data, listen=listen)
        served = role, router, True
    else:
        if call.option("name") is not None:
            raise VerbFailure(
                "only nodes and routers have a name",
                code="Usage",
                exit_code=USAGE,
                asked=f"--name {call.option('name')}",
                found=f"--role {role}",
                next_step="leave it out",
            )
        config = placed(config, data=plan.durability_data, listen=plan.durability)
        served = role, None, True
    with told_in_a_folder_at_rest_of(config):
        _check(config)
    if not call.json:
        return _serve(config, served), None
    with contextlib.redirect_stdout(_JsonReady(sys.stdout)):
        return _serve(config, served), None


def told_in_a_folder_at_rest_of(config: Config) -> contextlib.AbstractContextManager[None]:
    from scrubjay.serving.refused import told_in_a_folder_at_rest

    return told_in_a_folder_at_rest(config.serve.data, config)


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


def _serve(config: Config, role: tuple[str, str | None, bool] | None = None) -> int:
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
            if role is not None:
                from scrubjay.serving.role import serve_role

                return serve_role(config, lock, *role)
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
        "scrubjay serve --config cluster.toml --role node --name n1",
        "scrubjay serve --config cluster.toml --role router --name r1",
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
