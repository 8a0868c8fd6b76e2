"""The drills of a server, and the key that signs their reports: `DIR/drills/key`, made at first use, readable by nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scrubjay import __version__
from scrubjay.base.env import Env, Jobs, ObjectStore
from scrubjay.base.oserrors import error_of_os
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.stores import open_store, worker_environment
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.drills.contents import Contents
from scrubjay.drills.kept import DrillBook
from scrubjay.drills.lose_cluster import LoseCluster
from scrubjay.drills.report import DrillSigner, new_secret
from scrubjay.drills.restore_random import RestoreRandom
from scrubjay.drills.rot import Replicas, Rot
from scrubjay.drills.runs import Drills
from scrubjay.drills.scenario import Scenario
from scrubjay.drills.scratch import ScratchPlace, ScratchScenario
from scrubjay.scratch import access_keys, clone, lost_nodes, lying_store, recovered, rotten
from scrubjay.server.durability import Durability
from scrubjay.serving.cluster import Cluster
from scrubjay.serving.folder import ClusterFile
from scrubjay.store_settings import store_settings

KEY = "drills/key"
SECRET_BYTES = 32
SCRATCH = (
    ("lose-node", "destroy a node's folder of a scratch cluster; it must serve, archive and lose nothing", lost_nodes.NODE_JOB),
    ("lose-zone", "take a zone's folder of a scratch cluster away, and give it back; all must be equal again", lost_nodes.ZONE_JOB),
    ("lying-store", "let the store of a scratch archive lie in three ways; verify must see every lie", lying_store.JOB),
    ("clone", "serve a copied data folder beside its original; one must be refused or fenced", clone.JOB),
)
"""Name, summary and job of those that need nothing of the live cluster."""

Log = Callable[[str], None]


class KeyFile:
    """`drills.report.KeptSecret` in a file. One that cannot be understood is set aside: what was signed with it can still be checked, by its public half."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder, self._log = folder, log
        self._disk = RealDisk(folder)

    def read(self) -> bytes | None:
        kept = self._disk.read_file(KEY)
        if kept is None:
            return None
        try:
            secret = bytes.fromhex(kept.decode("ascii").strip())
        except ValueError:
            secret = b""
        if len(secret) == SECRET_BYTES:
            return secret
        self._disk.rename(KEY, f"{KEY}.bad")
        self._log(f"the key of the drills is not one; it was set aside as {KEY}.bad, and reports are signed with a new one from now on")
        return None

    def make(self) -> bytes:
        secret = new_secret()
        self._disk.mkdir(KEY.rpartition("/")[0])
        path = self._folder / f"{KEY}.new"
        try:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, secret.hex().encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise error_of_os(error.errno, what=KEY, action="keep the key of the drills") from error
        self._disk.rename(f"{KEY}.new", KEY)
        self._disk.sync_dir(KEY.rpartition("/")[0])
        return secret


class OwnProcess:
    """`base.env.Jobs`: each in a worker process of its own, which ends with it, and with it all that it started. Nobody else's job waits behind a drill's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    async def run(self, job: str, arguments: dict[str, Any], *, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        pool = WorkerJobs(self._folder, workers=1, environment=self._environment)
        try:
            return await pool.run(job, arguments, progress=progress)
        finally:
            await pool.close()

    async def bring(self, path: str) -> None:
        """What the process made is in the data folder."""

    def drop(self, path: str) -> None:
        """See `bring`."""


def open_drills(
    env: Env,
    folder: Path,
    cluster: Cluster,
    durability: Durability,
    jobs: Jobs,
    config: Config,
    file: ClusterFile,
    *,
    store: ObjectStore,
    ahead_us: int,
    log: Log,
) -> Drills:
    """Build them and sweep what an earlier life left behind. store: of the archive. ahead_us: how far ahead of this clock a timestamp in it may be."""
    disk = RealDisk(folder)
    contents = Contents(
        env, cluster.service, durability.archive.index, jobs, disk, url=config.archive_url, rate_bytes=config.scrub.rate_bytes or None
    )
    settings = store_settings(config)
    own = OwnProcess(folder, {**worker_environment(settings), **access_keys.for_the_worker(config)})
    place = ScratchPlace(env, own, disk, root=str(folder))

    def copies(place: str) -> ObjectStore:
        # Sealed as the archive is, and read by the same workers with the same keys.
        return RetryingStore(open_store((folder / place).as_uri(), settings=settings), env)

    scenarios: list[Scenario] = [
        RestoreRandom(env, cluster.service, durability.restorer, contents, drop=cluster.store.delete_table),
        Rot(env, store, copies, jobs, disk, cluster=file.cluster_id, ahead_us=ahead_us, replicas=Replicas(place, rotten.JOB)),
        LoseCluster(env, cluster.service, contents, place, url=config.archive_url, cluster=file.cluster_id, jobs=recovered.JOBS),
        *(ScratchScenario(place, name=name, summary=summary, job=job) for name, summary, job in SCRATCH),
    ]
    facts = {"cluster": file.cluster_id, "release": __version__}

    def live() -> set[str]:
        return {table.name for table in cluster.service.tables() if table.dropped_at is None}

    drills = Drills(env, DrillBook(disk, log=log), DrillSigner(KeyFile(folder, log)), scenarios, facts=facts, live=live, log=log)
    durability.schedule.add(drills.weekly(RestoreRandom.name))
    drills.start()
    return drills
