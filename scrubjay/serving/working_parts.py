"""What a process that works for a whole cluster runs beside its storage: the archive's claim and agents, durability services, drills, notices, health, metrics, the API.

`--dev` runs it beside its three nodes, `--role durability` beside nodes in other processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scrubjay import __version__
from scrubjay.admin import NodeVerb
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.agent_state import AgentOptions
from scrubjay.archiver.write.claiming import Claiming
from scrubjay.base.env import Env
from scrubjay.base.errors import Unsafe
from scrubjay.base.http_values import Handler
from scrubjay.base.real.alarm import SchedulerAlarm
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.real.webhook import WebhookPosts
from scrubjay.config import Config
from scrubjay.drills.runs import Drills
from scrubjay.pitr.options import RestoreOptions
from scrubjay.scrubber.options import ScrubOptions
from scrubjay.scrubber.sqlite_ledger import SqliteLedger
from scrubjay.server.archive import claim_archive, claim_at_work, start_agents
from scrubjay.server.balancing import BalanceOptions, Balancing
from scrubjay.server.courtesy import Courtesy
from scrubjay.server.durability import Durability, DurabilityOptions, ahead_us, open_durability
from scrubjay.server.duty import WORKS
from scrubjay.server.health import Health, HealthOptions, Problem
from scrubjay.server.moving import Moves
from scrubjay.server.pair_begin import compare_job, evidence_in, findings_in, in_both
from scrubjay.server.problems import DISK_LOW_FILES
from scrubjay.server.raising import Raising
from scrubjay.server.relocating import Relocating
from scrubjay.server.replacing import Replacing
from scrubjay.server.table_splits import TableSplits
from scrubjay.server.ttl.walker import TtlOptions
from scrubjay.server.webhooks import Webhooks
from scrubjay.serving.archive import START_PATIENCE_S, Archive, archive_line, settings_of
from scrubjay.serving.cluster import Cluster
from scrubjay.serving.drilling import open_drills
from scrubjay.serving.first_bases import first_bases
from scrubjay.serving.folder import TAKEOVER, ClusterFile, Takeover, read_recover
from scrubjay.serving.jobs import PairedServerJobs, ServerJobs, foreseeing, name_witness, open_jobs, trees_of
from scrubjay.serving.metrics import Metrics
from scrubjay.serving.surface import keys_of, surface
from scrubjay.storage.api.api import DynamoApi

JOB_WORKERS = 2
"""Worker processes for rebuilds, verification and compression: as many as the smallest machine has cores."""

_log = logger("serve")
_health_log = logger("health")
_durability_log = logger("durability")


@dataclass(slots=True)
class WorkingParts:
    """routes: what HTTP answers beside the API, by path prefix."""

    cluster: Cluster
    archive: Archive
    jobs: ServerJobs
    claims: list[Claiming]
    agents: list[ArchiveAgent]
    durability: Durability
    drills: Drills
    webhooks: Webhooks
    health: Health
    courtesy: Courtesy
    api: DynamoApi
    routes: Mapping[str, Handler]
    replacing: Replacing | None = None
    relocating: Relocating | None = None
    raising: Raising | None = None
    balancing: Balancing | None = None

    def quiet(self) -> None:
        """What looks on and tells ends, before a stop."""
        for part in (self.balancing, self.replacing, self.relocating, self.raising):
            if part is not None:
                part.stop()
        self.health.stop()
        self.courtesy.stop()
        self.webhooks.stop()
        self.drills.stop()

    async def close(self) -> None:
        """All of it, and the cluster below it."""
        await self.durability.close()
        if self.archive.pair is not None:
            self.archive.pair.stop()
        for claiming in self.claims:
            claiming.stop()
        for agent in self.agents:
            agent.stop()
        await self.jobs.close()
        self.cluster.close()


async def open_services(
    env: Env,
    folder: Path,
    disk: RealDisk,
    config: Config,
    cluster: Cluster,
    file: ClusterFile,
    archive: Archive,
    *,
    taken: Takeover | None = None,
    alone: bool = True,
    place: str = "",
    net: PeerNet | None = None,
) -> WorkingParts:
    """Start them. disk: of the folder, with writes in threads. taken: a takeover that this start carries out. alone: no other process works for this cluster; else they agree on
    one that does, and that one claims the archive. place: of the folder's lock. net: to the other processes, None: there are none.

    Raises Unsafe if the log does not continue the archive, or its keys are not at hand; the cluster is closed then.
    """
    jobs = open_jobs(folder, config, file.cluster_id, workers=JOB_WORKERS, settings=settings_of(config))
    if archive.pair is not None:
        jobs = PairedServerJobs(jobs, archive.pair.pair)
        archive.pair.kept_evidence = evidence_in(disk)
        archive.pair.noted = findings_in(env, cluster.metadata, cluster.service.note)
    claims: list[Claiming] = []

    async def claim() -> Claiming:
        claiming = await claim_archive(
            env,
            archive.store,
            archive.writer,
            cluster.metadata,
            cluster.sources,
            patience_s=START_PATIENCE_S if archive.answered else 0.0,
            log=archive_line,
            taken_over=taken.epoch if taken is not None else None,
        )
        claims.append(claiming)
        if archive.pair is not None:
            archive.pair.reclaim = claiming.reclaim
            archive.pair.start()
        return claiming

    if alone:
        try:
            await claim()
        except Unsafe:
            await jobs.close()
            cluster.close()
            raise
    if taken is not None and archive.writer.taken_over >= taken.epoch:
        disk.remove(TAKEOVER)
    bases = first_bases(env, cluster.service, jobs, folder, config, writer=archive.writer, log=archive_line)
    agents = start_agents(
        env,
        archive.store,
        cluster.sources,
        archive.writer,
        options=agent_options(config),
        jobs=jobs,
        log=archive_line,
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
        options=durability_options(config)._replace(since_us=file.created_at, alone=alone, place=place),
        log=_durability_log.info,
        agents=agents,
        alarm=SchedulerAlarm(),
        trees=trees_of(folder, config) if alone else None,  # nodes of other processes take no files of this folder
        foresee=foreseeing(env, jobs, folder, config, cluster.service, workers=JOB_WORKERS),
    )
    if not alone:
        env.tasks.spawn(claim_at_work(env, durability.duty, claim, log=archive_line), name="claim at work")
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
        file,
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
        facts={"cluster": file.cluster_id, "version": __version__},
        log=_alert_line,
    )
    webhooks.start()
    if cluster.control.by_size is not None:
        cluster.control.by_size.free = cluster.free_bytes
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
        told=lambda name: cluster.told(name),
        options=HealthOptions(
            url=config.archive_url,
            version=__version__,
            zones=cluster.zones,
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
        ttl=durability.ttl,
    )
    health.start()
    api = DynamoApi(cluster.store, env, keys=keys_of(config), body_bytes_max=config.limits.request_bytes, log=unexpected)

    def share(share: float) -> None:
        jobs.share(share)
        cluster.share(share)
        durability.scrub.share(share)
        durability.ttl.share(share)

    courtesy = Courtesy(env, api.answered, share, share=config.jobs.share_percent / 100)
    courtesy.start()
    replacing = relocating = balancing = None
    node_verbs: dict[str, NodeVerb] = {}

    def works() -> bool:
        return durability.duty.state == WORKS

    raising = Raising(env, cluster.control, works=works, log=_durability_log.info)
    raising.start()
    if net is not None:
        replacing = Replacing(env, net, cluster.control, works=works, log=_durability_log.info)
        replacing.start()
        relocating = Relocating(
            env,
            net,
            cluster.control,
            works=works,
            log=_durability_log.info,
            stand_in_us=config.cluster.stand_in_after_us,
            free=cluster.free_bytes,
            low_bytes=DISK_LOW_FILES * cluster.sizes.file,
        )
        relocating.start()
        balancing = Balancing(
            env,
            cluster.control,
            relocating,
            BalanceOptions(
                copies=config.cluster.balance_copies,
                leads=config.cluster.balance_leaders,
                steady_us=config.cluster.balance_after_us,
                low_bytes=DISK_LOW_FILES * cluster.sizes.file,
            ),
            works=works,
            log=_durability_log.info,
            free=cluster.free_bytes,
            scrubbed=durability.scrub.at,
        )
        cluster.control.evens = balancing
        balancing.start()
        node_verbs = {
            "replace": replacing.replace,
            "join": relocating.join,
            "drain": relocating.drain,
            "remove": relocating.remove,
        }
    metrics = Metrics(cluster, api, archive.meter, agents, health, durability, webhooks, drills, read_recover(disk), archive.pair, net)
    routes = surface(
        env,
        config,
        folder,
        cluster,
        file,
        archive.url,
        durability,
        Moves(env, archive.pair, archive.writer),
        drills,
        health,
        metrics,
        webhooks,
        unexpected,
        node_verbs,
        TableSplits(env, cluster.control, works=lambda: net is None or durability.duty.state == WORKS),
    )
    return WorkingParts(
        cluster,
        archive,
        jobs,
        claims,
        agents,
        durability,
        drills,
        webhooks,
        health,
        courtesy,
        api,
        routes,
        replacing,
        relocating,
        raising,
        balancing,
    )


def agent_options(config: Config) -> AgentOptions:
    return AgentOptions(
        parallel=config.archive.uploads,
        closed_interval_s=config.archive.closed_interval_us / 1e6,
        max_offset_us=config.consensus.max_clock_offset_us + config.consensus.clock_ahead_accepted_us,
    )


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
        ttl=TtlOptions(config.ttl.every_us, config.ttl.rows_per_second, config.ttl.deletes_per_second),
    )


def _alert_line(level: str, line: str) -> None:
    getattr(_health_log, level)(line)


def _problem(webhooks: Webhooks, problem: Problem, over: bool) -> None:
    """One line when something begins to be wrong, one when it is over; and whoever wants to be told is."""
    webhooks.tell(problem, over)
    facts = problem.as_json()
    if over:
        _health_log.info("problem over", **facts)
    else:
        _health_log.error("problem", **facts)


def unexpected(what: str, error: BaseException) -> None:
    _log.error("unexpected error", what=what, error=repr(error), exc_info=error)
