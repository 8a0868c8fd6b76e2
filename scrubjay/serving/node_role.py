"""`serve --role node`: one storage node of a cluster, its archiving agent, and a router that answers the API.

Order of starting: folder lock; founded (`cluster init`); the node's log; the other processes are met, and who this node says it is, is compared with what they know; the node speaks;
catalogue; agent; HTTP. Order of stopping: HTTP refuses new work, what the log holds is archived (bounded), leadership is handed over, agent, node.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scrubjay.archiver.read.archived_log import ListedLog
from scrubjay.archiver.write.agent import ArchiveAgent
from scrubjay.archiver.write.claim_followed import FollowedClaim
from scrubjay.archiver.write.writer import Writer
from scrubjay.base.env import Env, Future
from scrubjay.base.errors import ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import NodeName
from scrubjay.base.peer_wire import Hello
from scrubjay.base.real.clock import RealClock
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.http_forward import HttpForward
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.open_files import Descriptors
from scrubjay.base.real.peer_net import PeerNet
from scrubjay.base.real.rand import RealRand
from scrubjay.base.real.stores import open_store
from scrubjay.base.versioned import decode_versioned
from scrubjay.config import Config
from scrubjay.server.admission import NODE, ROUTER, Admission, must_stay_out, why_out
from scrubjay.server.archive import start_agents, wrapped
from scrubjay.server.control import Control
from scrubjay.server.former_watch import FormerWatch
from scrubjay.server.health import late_indexes
from scrubjay.server.news import NodeNews
from scrubjay.server.peer_nodes import PeerNodes
from scrubjay.server.process_talk import IdentityTold, NodeTold, NodeToldLate, Renew
from scrubjay.server.raising import VersionKept, guests_of
from scrubjay.server.stop import hand_over, others_go_on
from scrubjay.serving.archive import archive_line, settings_of
from scrubjay.serving.cluster import Cluster, Nodes, bring_up, control_over, open_nodes
from scrubjay.serving.connecting import connect, file_of, founder_in, replies, stranger
from scrubjay.serving.folder import ClusterFile, empty_tmp, read_cluster
from scrubjay.serving.jobs import open_jobs
from scrubjay.serving.links import links_down
from scrubjay.serving.listening import announce, listen, settle, stop_signal
from scrubjay.serving.node_surface import NodeApi, NodeDoor, NodeMetrics, NodeView, founding_routes, node_routes, not_founded, not_routing
from scrubjay.serving.plan import ClusterPlan
from scrubjay.serving.start import ServerStart, unless_stopped
from scrubjay.serving.surface import keys_of
from scrubjay.serving.version_kept import keep_to, kept_in
from scrubjay.serving.working_parts import agent_options, unexpected
from scrubjay.storage.api.api import DynamoApi
from scrubjay.storage.cluster_version import NEWEST
from scrubjay.storage.node.identity import IDENTITY_FILE, Identity, identify, renew
from scrubjay.storage.node.port import error_of

JOB_WORKERS = 1
"""For the compression of what the agent uploads."""
_MEET_POLL_S = 0.05

_log = logger("serve")


async def serve_node(
    tasks: AsyncTasks,
    folder: Path,
    config: Config,
    plan: ClusterPlan,
    name: NodeName,
    descriptors: Descriptors,
    start: ServerStart,
    *,
    routes: bool = True,
) -> int:
    """Run until SIGTERM or SIGINT. routes: it answers the DynamoDB API, too. Returns the exit code: 0, or 3 if something stayed unarchived. Raises Unsafe (4), Unavailable (1), Invalid (64)."""
    stop = stop_signal(tasks)
    disk = RealDisk(folder, post=tasks.post)
    kept = kept_in(disk, stop)
    code = await _serve(tasks, folder, disk, config, plan, name, descriptors, start, stop, kept, routes=routes)
    kept.check()
    return code


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
    *,
    routes: bool,
) -> int:
    env = Env(RealClock(), RealRand(), tasks)
    empty_tmp(folder)
    file = await _founded(env, tasks, stop, disk, config, plan, name, descriptors, start)
    if file is None:
        _log.info("stopped while it waited to be founded")
        return 0
    while True:
        life = NodeLife(env, tasks, folder, disk, config, plan, name, file, descriptors, start, kept, routes=routes)
        over = _either(tasks, stop, life.renewed)
        up = await unless_stopped(tasks, over, life.up())
        if up is not None:
            await over
        if stop.done():
            break
        _log.info("this node is another member from now on, and starts as such", node=name)
        await life.end()
    if up is None or kept.over:
        _log.info("stopped while it started" if up is None else "stopping: this release is too old for the cluster")
        await life.end()
        return 0
    _log.info("stopping")
    left = await life.leave()
    if left:
        with contextlib.suppress(OSError):
            sys.stderr.write(
                f"stopped with {left} bytes not archived yet; they stay in the log, and on the other nodes, and are archived by those or after the next start\n"
            )
        return 3
    return 0


def _either(tasks: AsyncTasks, one: Future[Any], other: Future[Any]) -> Future[Any]:
    """Resolves with whichever is first."""
    either: Future[Any] = tasks.future()

    def over(_: Any) -> None:
        if not either.done():
            either.set_result(None)

    one.add_done_callback(over)
    other.add_done_callback(over)
    return either


async def _founded(
    env: Env,
    tasks: AsyncTasks,
    stop: Future[Any],
    disk: RealDisk,
    config: Config,
    plan: ClusterPlan,
    name: NodeName,
    descriptors: Descriptors,
    start: ServerStart,
) -> ClusterFile | None:
    """The cluster that this folder belongs to; a new folder waits for it, answering that it does. None: stopped first."""
    known = read_cluster(disk)
    if known is not None:
        return known
    admission = Admission(cluster=None, plan=plan.note, names=plan.names, members=None)
    net = await connect(
        env,
        config,
        plan,
        name,
        hello=lambda: stranger(NODE, name, plan),
        admission=admission,
        refused=lambda peer, error: None,
        listens=True,
    )
    founder = founder_in(env, net, disk, plan, name, None)
    net.answer(replies(founder, lambda: None))
    door = NodeDoor(env, config, cluster_id=lambda: "", forward=None, log=unexpected)
    server = await listen(config, not_founded(), founding_routes(founder, door), descriptors)
    _log.info("this node is not initialised; it waits for scrubjay cluster init", node=name)
    try:
        founded = await unless_stopped(tasks, stop, founder.follow())
        # Whoever asked for the founding at this node is answered before the connections are made anew.
        await server.stop()
        await env.tasks.sleep(_MEET_POLL_S)
    finally:
        await net.close()
    start.done("founding")
    return None if founded is None else file_of(founded)


class NodeLife:
    """From the log to the last answer. Parts are made in `up`, and closed as far as they were made.

    More than 15 fields: what the process was started with, and what it has made so far.
    """

    def __init__(
        self,
        env: Env,
        tasks: AsyncTasks,
        folder: Path,
        disk: RealDisk,
        config: Config,
        plan: ClusterPlan,
        name: NodeName,
        file: ClusterFile,
        descriptors: Descriptors,
        start: ServerStart,
        kept: VersionKept,
        *,
        routes: bool,
    ) -> None:
        self._routes, self._kept = routes, kept
        self._env, self._tasks, self._folder, self._disk, self._config = env, tasks, folder, disk, config
        self._plan, self._name, self._file, self._descriptors, self._start = plan, name, file, descriptors, start
        self._number = next(number for number, one in plan.names.items() if one == name)
        self._closing: list[Any] = []
        """What has to be closed, in the order in which it was made."""
        self._identity: Identity | None = None
        self._nodes: Nodes | None = None
        self._news: NodeNews | None = None
        self._server: Any = None
        self._cluster: Cluster | None = None
        self._control: Control | None = None
        self._writer: Writer | None = None
        self._agents: list[ArchiveAgent] = []
        self._net: PeerNet | None = None
        self.renewed: Future[Any] = tasks.future()
        """Resolved when this folder was made another member: it starts anew as that."""

    async def up(self) -> bool:
        env, config, plan, start = self._env, self._config, self._plan, self._start
        network = _LateNetwork()
        nodes = self._nodes = open_nodes(
            self._tasks,
            env,
            self._folder,
            config,
            self._file.cluster_id,
            self._descriptors,
            names=plan.names,
            here=(self._name,),
            network=lambda _: network,
            start=start,
        )
        self._closing.append(nodes.close)
        if self._name in nodes.running:
            self._identity = _identity(nodes.disks[self._name])
        admission = Admission(
            cluster=self._file.cluster_id, plan=plan.note, names=plan.names, members=nodes.members, version=lambda: self._kept.number
        )
        net = await connect(env, config, plan, self._name, hello=self._hello, admission=admission, refused=self._refused, listens=True)
        self._closing.append(net.close)
        network.now(net)
        founder = founder_in(env, net, self._disk, plan, self._name, self._file)
        net.answer(replies(founder, lambda: self._news, self._state, self._identity_told))
        peers = PeerNodes(env, self._name, net)
        self._closing.append(peers.close)
        others = {other: peers.node(other, number) for number, other in plan.names.items() if other != self._name}
        if self._name in nodes.running:
            server = nodes.running[self._name].port.server
            server.guests = lambda: guests_of(net.connected())
            server.told = False
            peers.serve(server)
            await self._met_by_all(net, nodes)
        store, meter = wrapped(open_store(config.archive_url, settings=settings_of(config), create=False), env)
        if self._identity is not None:
            former = FormerWatch(env, store, self._identity, self._former)
            await former.begin()
            former.start()
            self._closing.append(former.stop)
        await nodes.boot(self._tasks)
        start.done("boot")
        here = nodes.ports[self._name]
        control = control_over(
            env,
            self._disk,
            config,
            self._file,
            plan.names,
            {**others, self._name: here},
            founders=plan.founders,
            zones=plan.zones,
            alone=False,
            here=here,
        )
        control.store.tables.may_host = self._may_host
        self._control = control
        keep_to(self._kept, control.metadata, net)
        await bring_up(env, nodes, control, list(others.values()), start)
        if self._name in nodes.running:
            nodes.running[self._name].port.server.told = True
        cluster = self._cluster = Cluster(nodes.running, control, nodes.heard, nodes.sizes, nodes.disks, self._folder, plan.zones)
        if control.following is not None:
            self._closing.append(control.following.stop)
        control.store.changes.archive = ListedLog(store, self._file.cluster_id, env.tasks)
        writer = self._writer = Writer(self._file.cluster_id)
        jobs = open_jobs(self._folder, config, self._file.cluster_id, workers=JOB_WORKERS, settings=settings_of(config))
        self._closing.append(jobs.close)
        claim = FollowedClaim(env, store, writer, control.metadata, lambda: list(cluster.sources.values()), log=archive_line)
        claim.start()
        self._closing.append(claim.stop)
        agents = start_agents(env, store, cluster.sources, writer, options=agent_options(config), jobs=jobs, log=archive_line)
        self._closing += [agent.stop for agent in agents]
        self._agents, self._net = agents, net
        kept = control.service.found
        news = self._news = NodeNews(env.rand.uuid(), findings=kept.all, forget=kept.forget)
        for agent in agents:
            agent.published, agent.moved = news.published, news.moved
        api = DynamoApi(cluster.store, env, keys=keys_of(config), body_bytes_max=config.limits.request_bytes, log=unexpected)
        view = NodeView(env, config, cluster, here, writer, meter)
        forward = HttpForward(self._name, plan.durability.host, plan.durability.port, addresses=net.addresses)
        door = NodeDoor(env, config, cluster_id=lambda: self._file.cluster_id, forward=forward, log=unexpected)
        routes = node_routes(
            view, NodeMetrics(view, cluster, api, net), cluster, plan, founder, door, lambda: [asdict(one) for one in net.links()], forward
        )
        served = NodeApi(env, api, forward, unexpected) if self._routes else not_routing(self._name)
        self._server = await listen(config, served, routes, self._descriptors)
        settle()
        start.done("services")
        self._tasks.spawn(announce(self._tasks, cluster.store, self._server.port, config.serve.listen, start), name="ready")
        return True

    async def leave(self) -> int:
        """A planned stop: requests under way are answered, what the log holds is archived, what this node leads goes to others. Returns the raw bytes of tables left unarchived.

        It leads until the archive has its log: where all nodes stop at once, somebody has to.
        """
        assert self._cluster is not None
        assert self._writer is not None
        cluster, here = self._cluster, self._cluster.control.ports[self._name]
        # Nothing is archived any more where another cluster holds our identity: there is nothing to wait for.
        patience_us = self._config.serve.stop_timeout_us if self._writer.stopped is None else 0
        deadline = self._env.clock.boot_us() + patience_us
        self._server.closing = True
        cluster.store.refuse()
        await self._server.stop()
        system = cluster.control.system.table_id
        left = await others_go_on(self._env, cluster.store, here, system=system, deadline_us=deadline)
        await hand_over(self._env, [here])
        await self.close()
        return left

    async def end(self) -> None:
        """It led nothing and stored nothing: a node that stays out."""
        if self._server is not None:
            self._server.closing = True
            await self._server.stop()
        await self.close()

    async def close(self) -> None:
        for close in reversed(self._closing):
            waits = close()
            if waits is not None:
                await waits
        self._closing.clear()

    # ------------------------------------------------------------------ who this node is

    def _hello(self) -> Hello:
        """What this process says of itself. A node that failed, or stays out, speaks for its member no more: its process goes on as a router."""
        running = None if self._nodes is None else self._nodes.running.get(self._name)
        if running is None or self._identity is None or running.node.failed is not None:
            return Hello(self._file.cluster_id, ROUTER, self._name, note=self._plan.note, can=NEWEST)
        node, identity = running.node, self._identity
        boots = node.boot_count if node.started else node.boot_count - 1
        return Hello(
            self._file.cluster_id,
            NODE,
            self._name,
            self._number,
            identity.id,
            identity.incarnation,
            boots,
            int(node.pulse.clock.reservation),
            joined=not node.joining,
            note=self._plan.note,
            can=NEWEST,
        )

    def _identity_told(self, renewed: Renew | None) -> IdentityTold:
        """Which folder this is; and what becomes of it, if the catalogue made it another member. Raises Unsafe, Corrupt, DiskFull."""
        if self._nodes is None:
            raise Unavailable("this node has not been read yet", node=self._name)
        disk = RealDisk(self._folder / "nodes" / self._name, post=self._tasks.post)
        running = self._nodes.running.get(self._name)
        failed = self._nodes.ports[self._name].status().failed
        identity = identify(
            disk,
            cluster_id=self._file.cluster_id,
            node=self._name,
            number=self._number,
            mint=self._env.rand.uuid(),
            now_us=self._env.clock.wall_us(),
        )
        if identity is None:
            return IdentityTold("", 0, False, "" if failed is None else failed.message)
        fresh = failed is not None and (running is None or not running.node.hosting.begun)
        if running is None:
            fresh = not disk.listdir("wal")
        told = IdentityTold(identity.id, identity.incarnation, fresh, "" if failed is None else str(error_of(failed)))
        if renewed is None or renewed.incarnation == identity.incarnation:
            return told
        if (renewed.id, fresh) != (identity.id, True) or renewed.incarnation < identity.incarnation:
            raise Unsafe(
                "this folder is not the one that was made a member", node=self._name, asked=renewed.id, found=identity.id, fresh=fresh
            )
        renew(disk, identity, renewed.incarnation)
        if not self.renewed.done():
            self.renewed.set_result(None)
        return told

    def _may_host(self) -> bool:
        """This folder is the member that the catalogue, just read, has in its name. If the catalogue knows better who the node is, the node stops: it stays out."""
        running = None if self._nodes is None else self._nodes.running.get(self._name)
        if running is None or self._identity is None or self._control is None or running.node.failed is not None:
            return False
        why = why_out(self._control.metadata.standing(self._name, self._number), self._identity)
        if why is not None:
            _log.error("this node stays out", node=self._name, says="the catalogue", why=str(why))
            running.node.fail(why)
        return why is None

    def _state(self) -> NodeTold | None:
        """How this machine is, for whoever works for the cluster."""
        if self._cluster is None or self._net is None:
            return None
        trouble = next((state.trouble.error for state in (agent.state() for agent in self._agents) if state.trouble is not None), "")
        late = late_indexes(self._cluster.control.feeds)
        told = self._cluster.free_bytes(self._name), trouble, links_down(self._net)
        return NodeToldLate(*told, late) if late else NodeTold(*told)

    def _refused(self, peer: NodeName, error: ScrubjayError) -> None:
        """Another process does not let this one in. If it knows better who this node is, the node stops; if this release is too old, the process does."""
        self._kept.refused(error)
        running = None if self._nodes is None else self._nodes.running.get(self._name)
        if must_stay_out(error) and running is not None and running.node.failed is None:
            _log.error("this node stays out", node=self._name, says=peer, why=str(error))
            running.node.fail(error)

    def _former(self, why: ScrubjayError) -> None:
        """The archive says that this folder is of a former membership."""
        running = None if self._nodes is None else self._nodes.running.get(self._name)
        if running is not None and running.node.failed is None:
            _log.error("this node stays out", node=self._name, says="the archive", why=str(why))
            running.node.fail(why)

    async def _met_by_all(self, net: PeerNet, nodes: Nodes) -> None:
        """A founding node that never spoke waits until every other one has let it in: one of them may know another under its name. One that is to join speaks for nobody until the catalogue
        has its folder as the member's."""
        node = nodes.running[self._name].node
        if not node.joining or not node.fresh or self._number not in self._plan.founders:
            return
        while node.failed is None:
            met = {one.name for one in net.links() if one.up and one.outward}
            missing = [name for name in self._plan.founding if name != self._name and name not in met]
            if not missing:
                return
            self._start.waits(f"{', '.join(missing)}: a new node is let in by all members")
            await self._env.tasks.sleep(_MEET_POLL_S)


class _LateNetwork:
    """The network of a node that is made before its process is connected: who the node is has to be known first."""

    def __init__(self) -> None:
        self._net: PeerNet | None = None
        self._receive: Any = None

    def now(self, net: PeerNet) -> None:
        self._net = net
        net.network.listen(self._receive)

    def send(self, to: NodeName, frame: bytes) -> None:
        if self._net is not None:
            self._net.network.send(to, frame)

    def listen(self, receive: Any) -> None:
        self._receive = receive


def _identity(disk: RealDisk) -> Identity:
    """Of a node whose folder was let in. Raises Corrupt."""
    data = disk.read_file(IDENTITY_FILE)
    assert data is not None
    return decode_versioned(data, Identity, version=1, what="the node's identity", name=IDENTITY_FILE)
