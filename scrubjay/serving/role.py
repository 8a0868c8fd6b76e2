"""A process of a cluster, once its folder is locked."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any

from scrubjay.base.ids import NodeName
from scrubjay.base.real import log_lines
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.kept_lines import KeptLines
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import raise_descriptors, share_out
from scrubjay.config import Config
from scrubjay.secrets_out import Cleaner
from scrubjay.server.admission import NODE, ROUTER
from scrubjay.serving.durability_role import serve_durability
from scrubjay.serving.folder import LOG
from scrubjay.serving.lock import FolderLock
from scrubjay.serving.node_role import serve_node
from scrubjay.serving.plan import plan_of
from scrubjay.serving.router_role import serve_router
from scrubjay.serving.start import ServerStart
from scrubjay.store_settings import keyring_of

_log = logger("serve")


def serve_role(config: Config, lock: FolderLock, role: str, name: str | None, routes: bool) -> int:
    """Run until SIGTERM or SIGINT. role: node | router | durability. name: of the node or router. routes: a node answers the DynamoDB API, too. Returns the exit code. Raises Unsafe (4), Unavailable (1), Invalid (64)."""
    log_lines.setup(os.environ.get("SCRUBJAY_LOG") or "info", kept=KeptLines(lock.folder / LOG), clean=Cleaner(config, os.environ).clean)
    start = ServerStart(RealClock(), _log.info, alone_since_us=lock.alone_since_us)
    start.done("import")
    if keyring_of(config) is not None:  # before the loop runs: a command may take its time
        start.done("keys")
    descriptors = share_out(raise_descriptors(), nodes=1)
    plan = plan_of(config)

    def main(tasks: AsyncTasks) -> Coroutine[Any, Any, int]:
        if name is None:
            return serve_durability(tasks, lock.folder, config, plan, descriptors, start, place=lock.place)
        if role == ROUTER:
            return serve_router(tasks, lock.folder, config, plan, NodeName(name), descriptors, start)
        return serve_node(tasks, lock.folder, config, plan, NodeName(name), descriptors, start, routes=routes)

    assert (role in (NODE, ROUTER)) == (name is not None)
    return run(main)
