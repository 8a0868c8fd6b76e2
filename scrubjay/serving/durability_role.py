"""`serve --role durability`: scrub, verify, restore, retention and the schedule of a cluster, over nodes in other processes; the admin API, and the DynamoDB API beside it.

Of several such processes one works and claims the archive (`server.duty`); the others wait. Order of starting: folder lock; the cluster's ids, from its nodes; the nodes are met;
catalogue; archive; services; HTTP. While it is not there tables go on, and nothing new is claimed, scrubbed or expired.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName, PartitionId
from scrubjay.base.peer_wire import Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.open_files import Descriptors
from scrubjay.base.real.rand import RealRand
from scrubjay.config import Config
from scrubjay.server.admission import DURABILITY, Admission
from scrubjay.server.finding_sink import FindingSink
from scrubjay.server.health import Heard
from scrubjay.server.news import NewsReader
from scrubjay.server.peer_nodes import PeerNodes
from scrubjay.server.raising import VersionKept
from scrubjay.serving.archive import open_archive
from scrubjay.serving.cluster import Cluster, Nodes, bring_up, control_over, heard_line, wal_sizes
from scrubjay.serving.connecting import connect, founder_in, learnt, refused_by, replies
from scrubjay.serving.folder import empty_tmp, read_cluster, read_takeover, refuse_unfinished
from scrubjay.serving.listening import announce, listen, settle, stop_signal
from scrubjay.serving.plan import ClusterPlan
from scrubjay.serving.start import ServerStart, unless_stopped
from scrubjay.serving.version_kept import keep_to, kept_in
from scrubjay.serving.working_parts import open_services
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.control.service import Service
from scrubjay.storage.node.identity import Members
from scrubjay.storage.node.port import NodePort

NAME = NodeName("durability")
"""What this process is called among the others, and in its certificate."""

_log = logger("serve")


async def serve_durability(
    tasks: AsyncTasks, folder: Path, config: Config, plan: ClusterPlan, descriptors: Descriptors, start: ServerStart, *, place: str
) -> int:
    """Run until SIGTERM or SIGINT. place: of the folder's lock. Returns 0. Raises Unsafe (4), Unavailable (1), Invalid (64)."""
    stop = stop_signal(tasks)
    disk = RealDisk(folder, post=tasks.post)
    kept = kept_in(disk, stop)
    await _serve(tasks, folder, disk, config, plan, descriptors, start, stop, kept, place=place)
    kept.check()
    return 0


async def _serve(
    tasks: AsyncTasks,
    folder: Path,
    disk: RealDisk,
    config: Config,
    plan: ClusterPlan,
    descriptors: Descriptors,
    start: ServerStart,
    stop: Future[Any],
    kept: VersionKept,
    *,
    place: str,
) -> None:
    env = Env(RealClock(), RealRand(), tasks)
    empty_tmp(folder)
    refuse_unfinished(disk)
    known = read_cluster(disk) or await learnt(env, stop, disk, config, plan, NAME, DURABILITY, refused_by)
    if known is None:
        _log.info("stopped while it waited for the cluster to be founded")
        return
    start.done("founding")
    members = Members(disk, known.cluster_id)
    admission = Admission(cluster=known.cluster_id, plan=plan.note, names=plan.names, members=members, version=lambda: kept.number)
    cluster_id = known.cluster_id

    def refused(peer: NodeName, error: ScrubjayError) -> None:
        refused_by(peer, error)
        kept.refused(error)

    net = await connect(
        env,
        config,
        plan,
        NAME,
        hello=lambda: Hello(cluster_id, DURABILITY, NAME, note=plan.note, can=NEWEST),
        admission=admission,
        refused=refused,
        listens=False,
    )
    founder = founder_in(env, net, disk, plan, NAME, known)
    net.answer(replies(founder, lambda: None))
    peers = PeerNodes(env, NAME, net)
    try:
        archive, file = await open_archive(env, disk, config)
        taken = read_takeover(disk, file.cluster_id)
        start.done("archive")
        ports = {name: peers.node(name, number) for number, name in plan.names.items()}
        keepers: list[Service] = []
        heard = HeardOf(ports)
        findings = FindingSink(keeper=lambda: keepers[0].note if keepers else None, heard=heard_line)
        nodes = Nodes({}, {}, {}, members, heard, findings, keepers, wal_sizes(config, descriptors))
        control = control_over(env, disk, config, file, plan.names, ports, founders=plan.founders, zones=plan.zones, alone=False)
        keep_to(kept, control.metadata, net)
        if await unless_stopped(tasks, stop, bring_up(env, nodes, control, list(ports.values()), start)) is None:
            _log.info("stopped while it started", waited_for="the catalogue")
            return
        cluster = Cluster({}, control, heard, nodes.sizes, {}, folder, plan.zones)
        services = await open_services(env, folder, disk, config, cluster, file, archive, taken=taken, alone=False, place=place, net=net)
        reader = NewsReader(
            env,
            net,
            list(ports),
            published=services.durability.archive.index.heard,
            moved=services.durability.archive.note_moved,
            note=findings,
        )
        cluster.told = reader.told
        reader.start()
        try:
            server = await listen(config, services.api, services.routes, descriptors)
        except Unavailable:
            reader.stop()
            await services.close()
            raise
        settle()
        start.done("services")
        tasks.spawn(announce(tasks, control.store, server.port, config.serve.listen, start), name="ready")
        await stop
        _log.info("stopping")
        server.closing = True
        reader.stop()
        services.quiet()
        control.store.refuse()
        await services.durability.quiet()
        await server.stop()
        if control.following is not None:
            control.following.stop()
        await services.close()
    finally:
        peers.close()
        await net.close()


class HeardOf(Heard):
    """Why nodes and copies of other processes are as they are: as they tell with their facts."""

    def __init__(self, ports: Mapping[NodeName, NodePort]) -> None:
        super().__init__()
        self._ports = ports

    def why(self, node: str, partition: str | None) -> str:
        if partition is None or NodeName(node) not in self._ports:
            return ""
        facts = self._ports[NodeName(node)].facts(PartitionId(partition))
        return "" if facts is None else facts.reason
