"""`serve --role router`: answers the DynamoDB API over the nodes of a cluster, and stores nothing of it.

Order of starting: folder lock; the cluster's ids, from its nodes; the nodes are met; catalogue; HTTP. Where the metadata group has no leader just then, what some copy of it knows is served until it has one.
Its folder holds the cluster's ids, who the nodes are, and its log: an empty one does as well.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.base.env import Env, Future
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.http_forward import HttpForward
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.open_files import Descriptors
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import open_store
from scrubjay.config import Config
from scrubjay.server.admission import ROUTER, Admission
from scrubjay.server.archive import wrapped
from scrubjay.server.finding_sink import FindingSink
from scrubjay.server.health import Heard
from scrubjay.server.peer_nodes import PeerNodes
from scrubjay.server.raising import VersionKept
from scrubjay.serving.archive import settings_of
from scrubjay.serving.cluster import Cluster, Nodes, bring_up, control_over, heard_line, wal_sizes
from scrubjay.serving.connecting import connect, founder_in, learnt, refused_by, replies
from scrubjay.serving.folder import empty_tmp, read_cluster
from scrubjay.serving.listening import announce, listen, settle, stop_signal
from scrubjay.serving.node_surface import NodeApi, NodeDoor, NodeMetrics, NodeView, node_routes
from scrubjay.serving.plan import ClusterPlan
from scrubjay.serving.start import ServerStart, unless_stopped
from scrubjay.serving.surface import keys_of
from scrubjay.serving.version_kept import keep_to, kept_in
from scrubjay.serving.working_parts import unexpected
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.node.identity import Members
from scrubjay.storage.node.port import NodePort

_log = logger("serve")


async def serve_router(
    tasks: AsyncTasks, folder: Path, config: Config, plan: ClusterPlan, name: NodeName, descriptors: Descriptors, start: ServerStart
) -> int:
    """Run until SIGTERM or SIGINT. Returns 0. Raises Unsafe (4), Unavailable (1), Invalid (64)."""
    stop = stop_signal(tasks)
    disk = RealDisk(folder, post=tasks.post)
    kept = kept_in(disk, stop)
    await _serve(tasks, folder, disk, config, plan, name, descriptors, start, stop, kept)
    kept.check()
    return 0


async def _serve(
    tasks: AsyncTasks,
    folder: Path,
    disk: RealDisk,
    config: Config,
    plan: ClusterPlan,
    name: NodeName,
    descriptors: Descriptors,
    start: ServerStart,
    stop: Future[Any],
    kept: VersionKept,
) -> None:
    env = Env(RealClock(), RealRand(), tasks)
    empty_tmp(folder)
    file = read_cluster(disk) or await learnt(env, stop, disk, config, plan, name, ROUTER, refused_by)
    if file is None:
        _log.info("stopped while it waited for the cluster to be founded")
        return
    start.done("founding")
    members = Members(disk, file.cluster_id)

    def refused(peer: NodeName, error: ScrubjayError) -> None:
        refused_by(peer, error)
        kept.refused(error)

    net = await connect(
        env,
        config,
        plan,
        name,
        hello=lambda: Hello(file.cluster_id, ROUTER, name, note=plan.note, can=NEWEST),
        admission=Admission(cluster=file.cluster_id, plan=plan.note, names=plan.names, members=members, version=lambda: kept.number),
        refused=refused,
        listens=False,
    )
    founder = founder_in(env, net, disk, plan, name, file)
    net.answer(replies(founder, lambda: None))
    peers = PeerNodes(env, name, net)
    try:
        ports: dict[NodeName, NodePort] = {node: peers.node(node, number) for number, node in plan.names.items()}
        findings = FindingSink(keeper=lambda: None, heard=heard_line)
        nodes = Nodes({}, {}, {}, members, Heard(), findings, [], wal_sizes(config, descriptors))
        control = control_over(env, disk, config, file, plan.names, ports, founders=plan.founders, zones=plan.zones, alone=False)
        control.store.tables.serves_what_is_known = True
        keep_to(kept, control.metadata, net)
        if await unless_stopped(tasks, stop, bring_up(env, nodes, control, list(ports.values()), start)) is None:
            _log.info("stopped while it started", waited_for="the catalogue")
            return
        cluster = Cluster({}, control, nodes.heard, nodes.sizes, {}, folder, plan.zones)
        store, meter = wrapped(open_store(config.archive_url, settings=settings_of(config), create=False), env)
        control.store.changes.archive = ListedLog(store, file.cluster_id, env.tasks)
        api = DynamoApi(cluster.store, env, keys=keys_of(config), body_bytes_max=config.limits.request_bytes, log=unexpected)
        view = NodeView(env, config, cluster, None, None, meter)
        forward = HttpForward(name, plan.durability.host, plan.durability.port, addresses=net.addresses)
        door = NodeDoor(env, config, cluster_id=lambda: file.cluster_id, forward=forward, log=unexpected)
        routes = node_routes(
            view, NodeMetrics(view, cluster, api, net), cluster, plan, founder, door, lambda: [asdict(one) for one in net.links()], forward
        )
        server = await listen(config, NodeApi(env, api, forward, unexpected), routes, descriptors)
        settle()
        start.done("services")
        tasks.spawn(announce(tasks, control.store, server.port, config.serve.listen, start), name="ready")
        await stop
        _log.info("stopping")
        server.closing = True
        control.store.refuse()
        await server.stop()
        if control.following is not None:
            control.following.stop()
    finally:
        peers.close()
        await net.close()
