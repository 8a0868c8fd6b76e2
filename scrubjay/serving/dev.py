"""`serve --dev`: a whole cluster in one process. Order of starting: folder lock, archive (probe, identity), storage, archiving agents, services, HTTP.
Order of stopping: HTTP refuses new work, open segments are sealed and archived (bounded), agents, storage.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from scrubjay.base.env import Env
from scrubjay.base.errors import Unavailable
from scrubjay.base.real import log_lines
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.kept_lines import KeptLines
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import Descriptors, raise_descriptors, share_out
from scrubjay.base.real.rand import RealRand
from scrubjay.config import Config
from scrubjay.secrets_out import Cleaner
from scrubjay.server.stop import hand_over, planned_stop
from scrubjay.serving.archive import open_archive
from scrubjay.serving.cluster import open_cluster
from scrubjay.serving.folder import LOG, NODES, empty_tmp, read_takeover, refuse_unfinished
from scrubjay.serving.listening import announce, listen, settle, stop_signal
from scrubjay.serving.lock import FolderLock
from scrubjay.serving.start import ServerStart, unless_stopped
from scrubjay.serving.version_kept import keep_to, kept_in
from scrubjay.serving.working_parts import open_services
from scrubjay.store_settings import keyring_of

_log = logger("serve")


def serve(config: Config, lock: FolderLock) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code: 0, or 3 if something stayed unarchived. Raises Unsafe (4), Unavailable (1). lock: of the data folder."""
    log_lines.setup(os.environ.get("SCRUBJAY_LOG") or "info", kept=KeptLines(lock.folder / LOG), clean=Cleaner(config, os.environ).clean)
    start = ServerStart(RealClock(), _log.info, alone_since_us=lock.alone_since_us)
    start.done("import")
    if keyring_of(config) is not None:  # before the loop runs: a command may take its time
        start.done("keys")
    descriptors = share_out(raise_descriptors(), nodes=len(NODES))
    return run(lambda tasks: _serve(tasks, lock.folder, config, descriptors, start))


async def _serve(tasks: AsyncTasks, folder: Path, config: Config, descriptors: Descriptors, start: ServerStart) -> int:
    stop = stop_signal(tasks)
    env = Env(RealClock(), RealRand(), tasks)
    empty_tmp(folder)
    disk = RealDisk(folder, post=tasks.post)
    refuse_unfinished(disk)
    kept = kept_in(disk, stop)
    archive, cluster_file = await open_archive(env, disk, config)
    taken = read_takeover(disk, cluster_file.cluster_id)
    start.done("archive")
    cluster = await unless_stopped(tasks, stop, open_cluster(tasks, env, folder, config, cluster_file, descriptors, start=start))
    if cluster is None:
        _log.info("stopped while it started", waited_for="the catalogue")
        return 0
    keep_to(kept, cluster.control.metadata, None)
    kept.learn(cluster.control.metadata.version)
    services = await open_services(env, folder, disk, config, cluster, cluster_file, archive, taken=taken)
    try:
        server = await listen(config, services.api, services.routes, descriptors)
    except Unavailable:
        await services.close()
        raise
    settle()
    start.done("services")
    tasks.spawn(announce(tasks, cluster.store, server.port, config.serve.listen, start), name="ready")
    await stop
    _log.info("stopping")
    server.closing = True
    services.quiet()
    # Nothing is archived any more where another cluster holds our identity: there is nothing to wait for.
    patience_us = config.serve.stop_timeout_us if archive.writer.stopped is None else 0
    deadline = env.clock.boot_us() + patience_us
    left = await planned_stop(env, cluster.store, services.agents, quiet=services.durability.quiet, deadline_us=deadline, log=_log.warning)
    await server.stop()
    await hand_over(env, list(cluster.control.ports.values()))
    await services.close()
    if left:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"stopped with {left} bytes not archived yet; they stay in the WAL and are archived after the next start\n")
        return 3
    kept.check()
    return 0
