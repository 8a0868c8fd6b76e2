"""`serve --dev`: a whole cluster in one process. Order of starting: folder lock, archive (probe, identity), storage, archiving agents, services, HTTP.
Order of stopping: HTTP refuses new work, open segments are sealed and archived (bounded), agents, storage.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from scrubjay import __version__
from scrubjay.archiver.verify.report import is_gone
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.attach import attach
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.archiver.write.probe import probe
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, ObjectStore
from scrubjay.base.errors import Unavailable, Unsafe
from scrubjay.base.real import log_lines
from scrubjay.base.real.alarm import SchedulerAlarm
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.http_server import HttpServer
from scrubjay.base.real.kept_lines import KeptLines
from scrubjay.base.real.loop import AsyncTasks, run
from scrubjay.base.real.open_files import Descriptors, raise_descriptors, share_out
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import beginning_second, open_store, pair_of
from scrubjay.base.real.webhook import WebhookPosts
from scrubjay.base.together import within
from scrubjay.base.wrap.encrypted import EncryptedStore
from scrubjay.base.wrap.metered import MeteredStore
from scrubjay.base.wrap.paired import SECOND
from scrubjay.base.wrap.retry import RetryingStore
from scrubjay.config import Config
from scrubjay.pitr.options import RestoreOptions
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.secrets_out import Cleaner
from scrubjay.server.archive import claim_archive, start_agents, wrapped
from scrubjay.server.courtesy import Courtesy
from scrubjay.server.durability import Durability, DurabilityOptions, ahead_us, open_durability
from scrubjay.server.health import Health, HealthOptions, Problem
from scrubjay.server.moving import Moves
from scrubjay.server.pair_begin import begin_pair, compare_job, evidence_in, in_both
from scrubjay.server.pairing import PairKeeper, PairOptions
from scrubjay.server.stop import hand_over, planned_stop
from scrubjay.server.webhooks import Webhooks
from scrubjay.serving.cluster import NODES, ZONES, Cluster, open_cluster
from scrubjay.serving.drilling import open_drills
from scrubjay.serving.first_bases import first_bases
from scrubjay.serving.folder import (
    LOG,
    TAKEOVER,
    ClusterFile,
    empty_tmp,
    new_cluster,
    read_cluster,
    read_recover,
    read_takeover,
    refuse_unfinished,
    write_cluster,
)
from scrubjay.serving.jobs import PairedServerJobs, ServerJobs, foreseeing, name_witness, open_jobs, trees_of
from scrubjay.serving.lock import FolderLock
from scrubjay.serving.metrics import Metrics
from scrubjay.serving.start import ServerStart, unless_stopped
from scrubjay.serving.surface import http_limits, keys_of, surface
from scrubjay.storage.api.api import DynamoApi
from scrubjay.store_settings import keyring_of, store_settings

GC_THRESHOLDS = (2_000, 500, 50)
"""Allocations until a young collection, young until a middle one, middle until a full one. The request path leaves no cycles behind, so what a young one meets mostly lives: it costs 1 to 2 us
for each object, and nobody is served meanwhile (ADR 0057)."""
JOB_WORKERS = 2
"""Worker processes for rebuilds, verification and compression: as many as the smallest machine has cores."""
_READY_POLL_S = 0.02
START_PATIENCE_S = 10.0
"""How long a start waits for the store of a cluster that has its archive, before it comes up without it."""

_log = structlog.get_logger(part="serve")
_archive_log = structlog.get_logger(part="archive")
_health_log = structlog.get_logger(part="health")
_durability_log = structlog.get_logger(part="durability")


@dataclass(slots=True)
class Archive:
    """The archive as this process uses it. sealed: the same, not retried. answered: the store did at start. pair: whoever keeps two of them, None: there is one."""

    url: str
    sealed: EncryptedStore
    store: RetryingStore
    meter: MeteredStore
    writer: Writer
    answered: bool
    pair: PairKeeper | None


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
    stop = tasks.future()
    for number in (signal.SIGTERM, signal.SIGINT):
        tasks.on_signal(number, lambda: None if stop.done() else stop.set_result(None))
    env = Env(RealClock(), RealRand(), tasks)
    empty_tmp(folder)
    disk = RealDisk(folder, post=tasks.post)
    refuse_unfinished(disk)
    archive, cluster_file = await _open_archive(env, disk, folder, config)
    taken = read_takeover(disk, cluster_file.cluster_id)
    start.done("archive")
    cluster = await unless_stopped(tasks, stop, open_cluster(tasks, env, folder, config, cluster_file, descriptors, start=start))
    if cluster is None:
        _log.info("stopped while it started", waited_for="the catalogue")
        return 0
    jobs = open_jobs(folder, config, cluster_file.cluster_id, workers=JOB_WORKERS, settings=_store_settings(config))
    if archive.pair is not None:
        jobs = PairedServerJobs(jobs, archive.pair.pair)
        archive.pair.kept_evidence = evidence_in(disk)
    try:
        claiming = await claim_archive(
            env,
            archive.store,
            archive.writer,
            cluster.metadata,
            cluster.sources,
            patience_s=START_PATIENCE_S if archive.answered else 0.0,
            log=_archive_line,
            taken_over=taken.epoch if taken is not None else None,
        )
    except Unsafe:
        await jobs.close()
        cluster.close()
        raise
    if archive.pair is not None:
        archive.pair.reclaim = claiming.reclaim
        archive.pair.start()
    if taken is not None and archive.writer.taken_over >= taken.epoch:
        disk.remove(TAKEOVER)
    bases = first_bases(env, cluster.service, jobs, folder, config, writer=archive.writer, log=_archive_line)
    agents = start_agents(
        env,
        archive.store,
        cluster.sources,
        archive.writer,
        options=AgentOptions(
            parallel=config.archive.uploads,
            closed_interval_s=config.archive.closed_interval_us / 1e6,
            max_offset_us=config.consensus.max_clock_offset_us + config.consensus.clock_ahead_accepted_us,
        ),
        jobs=jobs,
        log=_archive_line,
        first=bases.deliver if bases.owed else None,
    )
    durability = open_durability(
        env,
        disk=RealDisk(folder),
        control=cluster.control,
        store=archive.store,
        meter=archive.meter,
        writer=archive.writer,
        jobs=jobs,
        ledger=await SqliteLedger.open_or_forget(env.tasks, str(folder / "ledger.db")),
        options=durability_options(config)._replace(since_us=cluster_file.created_at, alone=True),
        log=_durability_log.info,
        agents=agents,
        alarm=SchedulerAlarm(),
        trees=trees_of(folder, config),
        foresee=foreseeing(env, jobs, folder, config, cluster.service, workers=JOB_WORKERS),
    )
    name_witness(jobs, archive.store, durability.archive.index, archive.writer)
    if archive.pair is not None:
        durability.schedule.add(compare_job(archive.pair))
        durability.compact.assure = in_both(archive.pair, archive.sealed)
    drills = open_drills(
        env,
        folder,
        cluster,
        durability,
        jobs,
        config,
        cluster_file,
        store=archive.store,
        ahead_us=ahead_us(durability_options(config)),
        log=_durability_log.info,
    )
    webhooks = Webhooks(
        env,
        config.alerts.webhooks,
        WebhookPosts().post,
        secret=config.alerts.secret,
        timeout_s=config.alerts.timeout_us / 1e6,
        facts={"cluster": cluster_file.cluster_id, "version": __version__},
        log=_alert_line,
    )
    webhooks.start()
    health = Health(
        env,
        control=cluster.control,
        heard=cluster.heard,
        agents=agents,
        writer=archive.writer,
        meter=archive.meter,
        index=durability.archive.index,
        ledger=durability.ledger,
        free=cluster.free_bytes,
        options=HealthOptions(
            url=config.archive_url,
            version=__version__,
            zones=ZONES,
            wal_file=cluster.sizes.file,
            wal_limit=cluster.sizes.limit,
            lag_alarm_us=config.archive.lag_alarm_us,
        ),
        log=partial(_problem, webhooks),
        schedule=durability.schedule,
        duty=durability.duty,
        owed=bases.left,
        drills=drills,
        fleet=lambda: jobs.trouble,
        locks=lambda: durability.expire.locks.problem(durability.schedule.views.ended("expire")),
        pair=archive.pair,
    )
    health.start()
    api = DynamoApi(cluster.store, env, keys=keys_of(config), log=_unexpected)

    def share(share: float) -> None:
        jobs.share(share)
        cluster.share(share)
        durability.scrub.share(share)

    courtesy = Courtesy(env, api.answered, share, share=config.jobs.share_percent / 100)
    courtesy.start()
    metrics = Metrics(cluster, api, archive.meter, agents, health, durability, webhooks, drills, read_recover(disk), archive.pair)
    server = HttpServer(
        config.serve.listen,
        config.serve.port,
        api,
        surface(
            env,
            config,
            folder,
            cluster,
            cluster_file,
            archive.url,
            durability,
            Moves(env, archive.pair, archive.writer),
            drills,
            health,
            metrics,
            webhooks,
            _unexpected,
        ),
        limits=http_limits(config, descriptors),
    )
    try:
        await server.start()
    except OSError as error:
        await _close(cluster, claiming, agents, jobs, durability, archive.pair)
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                "the port is taken",
                asked=f"--listen {config.serve.listen} --port {config.serve.port}",
                found=error.strerror or str(error),
                next="give another with --port (0: a free one), or stop what listens there",
            ) from error
        raise Unavailable(
            "cannot listen",
            asked=f"--listen {config.serve.listen} --port {config.serve.port}",
            found=error.strerror or str(error),
            next="give an address of this machine with --listen, and a port this user may take with --port",
        ) from error
    # What is here now lives as long as the process: the collector need not walk it at every full collection, and those may be rarer than by default.
    gc.freeze()
    gc.enable()
    gc.set_threshold(*GC_THRESHOLDS)
    start.done("services")
    tasks.spawn(_announce(tasks, cluster, server.port, config.serve.listen, start), name="ready")
    await stop
    _log.info("stopping")
    server.closing = True
    health.stop()
    courtesy.stop()
    webhooks.stop()
    drills.stop()
    # Nothing is archived any more where another cluster holds our identity: there is nothing to wait for.
    patience_us = config.serve.stop_timeout_us if archive.writer.stopped is None else 0
    deadline = env.clock.boot_us() + patience_us
    left = await planned_stop(env, cluster.store, agents, quiet=durability.quiet, deadline_us=deadline, log=_log.warning)
    await server.stop()
    await hand_over(env, list(cluster.control.ports.values()))
    await _close(cluster, claiming, agents, jobs, durability, archive.pair)
    if left:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"stopped with {left} bytes not archived yet; they stay in the WAL and are archived after the next start\n")
        return 3
    return 0


async def _announce(tasks: AsyncTasks, cluster: Cluster, port: int, listen: str, start: ServerStart) -> None:
    """Print the one line that scripts wait for, once every partition has a leader."""
    while unhosted := cluster.store.unhosted():
        start.waits(f"leaders of {len(unhosted)} partitions, {unhosted[0]} among them")
        await tasks.sleep(_READY_POLL_S)
    start.done("leaders")
    start.ready()
    host = f"[{listen}]" if ":" in listen else listen
    sys.stdout.write(f"ready http://{host}:{port}\n")
    sys.stdout.flush()


async def _close(
    cluster: Cluster,
    claiming: Claiming,
    agents: list[ArchiveAgent],
    jobs: ServerJobs,
    durability: Durability,
    pair: PairKeeper | None,
) -> None:
    await durability.close()
    if pair is not None:
        pair.stop()
    claiming.stop()
    for agent in agents:
        agent.stop()
    await jobs.close()
    cluster.close()


async def _open_archive(env: Env, disk: RealDisk, folder: Path, config: Config) -> tuple[Archive, ClusterFile]:
    """Probe the store and claim the prefix. Raises Unsafe (a store without the guarantees, a foreign archive), Unavailable (a new folder's store is down)."""
    answered = True
    known = read_cluster(disk)
    settings = _store_settings(config)
    if known is None or _second_is_new(known, config):
        settings = beginning_second(settings)
    bare = open_store(config.archive_url, settings=settings, create=known is None or not known.attached)
    store, meter = wrapped(bare, env)
    file = known or new_cluster(env.rand, now_us=env.clock.wall_us())
    if file.second_decides and config.second.url != file.second and config.archive_url != file.second:
        raise Unsafe(
            "the second archive decides, and holds what the first one lacks: it cannot be left out",
            found=f"second.url {config.second.url or 'is not set'}; it was {file.second}",
            next="give it with second.url until the first one has caught up (scrubjay status), or make it the archive with --archive",
        )
    pair = _pair(env, bare, file, config)
    try:
        if pair is not None:
            await begin_pair(env, pair, attached=file.attached, new=_second_is_new(file, config))
        if file.attached:
            await within(env.tasks, _attach(env, store, file), seconds=START_PATIENCE_S, what="the archive does not answer in time")
        else:
            await probe(store, env)
            if known is None:
                write_cluster(disk, file)
            await attach(store, env, cluster_id=file.cluster_id, folder_is_new=True, parent=file.parent)
    except Unavailable as error:
        if not file.attached or (config.second.url and _second_is_new(file, config)):
            raise
        if is_gone(error) and _remembered(config) != file.archive:
            # Another place than last time, and nothing of ours is there: a slip of the pen, not an outage. Where it was last time, it is an archive that went.
            raise Unsafe(
                "this archive is not the data folder's own: nothing of this cluster is there",
                asked=config.archive_url,
                found=f"{error}; last time the archive was {file.archive or 'in the data folder'}",
                next="give its own archive with --archive; to go on with a copy of it elsewhere, copy it there first",
            ) from error
        answered = False
        # A cluster that has its archive must come up while the store is down: writes go on, the WAL keeps what is not archived.
        _log.error("the archive does not answer; starting without it, it is tried again", archive=config.archive_url)
    except Unsafe:
        if known is None and disk.exists("cluster.json"):
            disk.remove("cluster.json")
        raise
    if answered and not (file.attached and file.archive == _remembered(config) and file.second == config.second.url):
        decides = file.second_decides and file.second == config.second.url
        moving = pair is not None and pair.stays
        file = msgspec.structs.replace(
            file, attached=True, archive=_remembered(config), second=config.second.url, second_decides=decides, moving=moving
        )
        write_cluster(disk, file)
    if pair is not None:

        def turned(turn: int) -> None:
            nonlocal file
            if file.second_decides != (turn == SECOND):
                file = msgspec.structs.replace(file, second_decides=turn == SECOND)
                write_cluster(disk, file)

        def stay(stays: int) -> None:
            nonlocal file
            file = msgspec.structs.replace(file, moving=bool(stays))
            write_cluster(disk, file)

        pair.turned, pair.noted_stay = turned, stay
        if pair.pair.turn is not None:
            turned(pair.pair.turn)
    return Archive(config.archive_url, bare, store, meter, Writer(file.cluster_id), answered, pair), file


def _second_is_new(file: ClusterFile, config: Config) -> bool:
    """It was not one of the pair until now: neither the second one, nor the first one that changes places with it."""
    changed_places = bool(file.archive) and (config.archive.url, config.second.url) == (file.second, file.archive)
    return config.second.url != file.second and not changed_places


def _pair(env: Env, store: ObjectStore, file: ClusterFile, config: Config) -> PairKeeper | None:
    found = pair_of(store)
    if found is None:
        return None
    options = PairOptions(decides_after_s=config.second.decides_after_us / 1e6, rate_bytes=config.second.rate_bytes or None)
    keeper = PairKeeper(env, found, cluster=file.cluster_id, options=options, log=_archive_line)
    keeper.stays = file.moving and (file.archive, file.second) == (_remembered(config), config.second.url)
    return keeper


def _remembered(config: Config) -> str:
    """The archive's URL as cluster.json keeps it."""
    return config.archive.url


async def _attach(env: Env, store: ObjectStore, file: ClusterFile) -> None:
    await probe(store, env)
    await attach(store, env, cluster_id=file.cluster_id, folder_is_new=False, parent=file.parent)


def _alert_line(level: str, line: str) -> None:
    getattr(_health_log, level)(line)


def _archive_line(level: str, line: str) -> None:
    getattr(_archive_log, level)(line)


def durability_options(config: Config) -> DurabilityOptions:
    return DurabilityOptions(
        archive_url=config.archive_url,
        lag_alarm_us=config.archive.lag_alarm_us,
        max_offset_us=config.consensus.max_clock_offset_us,
        clock_ahead_us=config.consensus.clock_ahead_accepted_us,
        pitr_default=config.pitr.default,
        scrub=ScrubOptions(
            archive_wait_s=config.scrub.archive_wait_us / 1e6,
            pin_wait_s=config.scrub.pin_wait_us / 1e6,
            heal_wait_s=config.scrub.heal_wait_us / 1e6,
            rate_bytes=config.scrub.rate_bytes or None,
            lanes=config.scrub.parallel,
        ),
        restore=RestoreOptions(archive_wait_s=config.pitr.archive_wait_us / 1e6, lanes=config.pitr.parallel),
    )


def _store_settings(config: Config) -> dict[str, str]:
    return store_settings(config, timeout=str(config.archive.timeout_us / 1e6))


def _problem(webhooks: Webhooks, problem: Problem, over: bool) -> None:
    """One line when something begins to be wrong, one when it is over; and whoever wants to be told is."""
    webhooks.tell(problem, over)
    facts = problem.as_json()
    if over:
        _health_log.info("problem over", **facts)
    else:
        _health_log.error("problem", **facts)


def _unexpected(what: str, error: BaseException) -> None:
    _log.error("unexpected error", what=what, error=repr(error), exc_info=error)


__all__: list[Any] = ["serve"]
