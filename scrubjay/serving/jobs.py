"""Where a server's jobs run: in a pool of worker processes beside it, or on a fleet too (`[jobs]`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scrubjay.archiver.compact.make import ANEW_JOB, MAKE_JOB
from scrubjay.archiver.format.layout import ClosedKey, EpochKey, build, parse
from scrubjay.archiver.read.index import ArchiveIndex
from scrubjay.archiver.verify.jobs import CHECK_JOB
from scrubjay.archiver.write.bases import UPLOAD
from scrubjay.archiver.write.settling import PREPARE_JOB
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Jobs, ObjectStore
from scrubjay.base.errors import Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.paired_jobs import PairedJobs
from scrubjay.base.real.fleet_jobs import FleetJobs
from scrubjay.base.real.jobs import WorkerJobs
from scrubjay.base.real.stores import worker_environment
from scrubjay.base.wrap.paired import PairedStore
from scrubjay.config import Config
from scrubjay.pitr.pace import predict_seconds
from scrubjay.pitr.plan import Plan
from scrubjay.pitr.rates import rates_of
from scrubjay.pitr.service import Foresee
from scrubjay.pitr.source import REBUILD, REBUILD_PART
from scrubjay.pitr.timeline.service import DIFF, HISTORY
from scrubjay.recovery_sample import JOB as SAMPLE
from scrubjay.recovery_sample import measured
from scrubjay.scrubber.jobs import REFERENCE, TRACE
from scrubjay.serving.folder import NODES
from scrubjay.storage.btree.beside import TreesHere
from scrubjay.storage.btree.treefile import MAKER
from scrubjay.storage.service_port import ServicePort

TRAVELS = (CHECK_JOB, DIFF, HISTORY, REBUILD, REBUILD_PART, REFERENCE, TRACE)
"""Jobs that a fleet does: they read the archive, however much of it. What leaves this machine (a segment, a base of rows that lie here) is checked here."""


UNHURRIED = (ANEW_JOB, CHECK_JOB, MAKE_JOB, PREPARE_JOB, REFERENCE, TRACE)
"""Those that a night is made of, and the check of a segment on its way to the archive: they keep to a share of a core while requests are served (server/courtesy.py). Somebody
waits for the others, at 2 a.m."""
GIVE_WAY = (*TRAVELS, ANEW_JOB, MAKE_JOB, PREPARE_JOB, UPLOAD, SAMPLE)
"""All that gives way here: packs and bases too, for which no log is kept, and what a restore is foreseen by, which must be as slow as that will be. The check of a segment that is late
(`PREPARE_LATE_JOB`) does not: its log is kept until it is in the archive."""


FORESEE_S = 5.0
"""So long a restore waits for what it will take, and no longer: where a machine is so busy that measuring takes more, what was learnt counts."""


class ServerJobs(Jobs, Protocol):
    """trouble: why the jobs of a fleet cannot be done; None: nothing is known to keep them."""

    @property
    def trouble(self) -> str | None: ...

    async def close(self) -> None: ...

    def share(self, share: float) -> None:
        """How much of a core each process of this machine may use from now on for what nobody waits for. 0 < share <= 1."""
        ...


class PairedServerJobs(PairedJobs):
    """Those of a server that keeps two archives."""

    def __init__(self, inner: ServerJobs, pair: PairedStore) -> None:
        super().__init__(inner, pair, writes=(UPLOAD,))
        self._server_jobs = inner

    @property
    def trouble(self) -> str | None:
        return self._server_jobs.trouble

    def share(self, share: float) -> None:
        self._server_jobs.share(share)

    async def close(self) -> None:
        await self._server_jobs.close()


def open_jobs(folder: Path, config: Config, cluster: str, *, workers: int, settings: Mapping[str, str]) -> ServerJobs:
    """Starts nothing yet. folder: the data folder. settings: of the store, for the workers of this machine; a fleet's have their own. Raises Unavailable: Dask is not installed."""
    local = WorkerJobs(folder, workers=workers, environment=worker_environment(settings), give_way=GIVE_WAY, rest=UNHURRIED)
    if config.jobs.backend == "local":
        return local
    if importlib.util.find_spec("distributed") is None:
        raise Unavailable(
            "Dask is not installed",
            asked="jobs.backend = dask",
            found="no package `distributed`",
            next="pip install 'scrubjay[dask]', here and on the workers",
        )
    return FleetJobs(
        local,
        folder,
        address=config.jobs.address,
        travels=TRAVELS,
        url=config.archive_url,
        cluster=cluster,
        wait_s=config.jobs.wait_us / 1e6,
    )


def trees_of(folder: Path, config: Config) -> TreesHere | None:
    """Where jobs make the trees of new partitions. None: a fleet rebuilds, and its machines are not that of the copies. folder: the data folder."""
    return TreesHere(MAKER, f"{folder}/") if config.jobs.backend == "local" else None


def foreseeing(env: Env, jobs: Jobs, folder: Path, config: Config, port: ServicePort, *, workers: int) -> Foresee | None:
    """How a restore's time is foreseen: by pieces of what it reads, measured when it is asked. None: a fleet rebuilds, whose machines this one does not know. folder: the data folder."""
    if config.jobs.backend != "local":
        return None
    gate = Gate(env.tasks)

    async def foresee(table: str, plan: Plan) -> float | None:
        async with gate:
            work = measured(
                env.tasks, jobs, {table: plan}, url=config.archive_url, root=folder, workers=workers, notes={}, below="tmp/foresee/"
            )
            measuring = env.tasks.spawn(work, name="foresee")
            end_us = env.clock.boot_us() + int(FORESEE_S * 1e6)
            try:
                while not measuring.done() and env.clock.boot_us() < end_us:
                    await env.tasks.sleep(0.05)
                if not measuring.done():
                    return None
                costs = await measuring
            finally:
                measuring.cancel()
        if not costs.samples:
            return None
        learnt = rates_of(port)
        works = [costs.work(table, log=part.raw_log, base=part.raw_base) for part in plan.partitions]
        return predict_seconds([works], costs._replace(fixed=learnt.fixed, each=0.0), workers=workers, lanes=1, copies=len(NODES))

    return foresee


def name_witness(jobs: ServerJobs, store: ObjectStore, index: ArchiveIndex, writer: Writer) -> None:
    """From now on a fleet's workers must see what this process last heard was published, or at least its claim of the archive."""

    async def witness() -> str:
        return await newest_seen(store, index.newest_heard(), writer)

    found = jobs.inner if isinstance(jobs, PairedServerJobs) else jobs
    if isinstance(found, FleetJobs):
        found.witness = witness


async def newest_seen(store: ObjectStore, heard: Sequence[str], writer: Writer) -> str:
    """The youngest of some objects that lies there; "" if none does: that is for a verify to tell of. heard: keys of closed objects. Raises Unavailable."""
    closed = sorted((key for key in map(parse, heard) if isinstance(key, ClosedKey)), key=lambda key: key.time_us)
    names = [build(key) for key in closed[-1:]]
    if not writer.state:
        names.append(build(EpochKey(writer.cluster, writer.attached.epoch)))
    for name in names:
        if await store.head(name) is not None:
            return name
    return ""
