"""The storage part of a process, on the real disk, loop and trees: its nodes (`--dev`: three in three zones; a cluster: one, or none), and the control part over all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scrubjay.base.env import Env, Network
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import ClusterId, Member, NodeName, PartitionId
from scrubjay.base.real.disk import RealDisk
from scrubjay.base.real.log_lines import logger
from scrubjay.base.real.loop import AsyncTasks
from scrubjay.base.real.net import LocalHub
from scrubjay.base.real.open_files import Descriptors
from scrubjay.base.real.worker_process import WorkerProcess
from scrubjay.config import Config
from scrubjay.server.control import Control, open_control
from scrubjay.server.finding_sink import FindingSink
from scrubjay.server.health import Heard
from scrubjay.server.node import (
    ClockFault,
    Founding,
    NodeListeners,
    RunningNode,
    WalSizes,
    absent_node,
    join,
    keep_noting,
    open_node,
    start_node,
)
from scrubjay.server.process_talk import NodeTold
from scrubjay.serving.folder import NODES, ClusterFile
from scrubjay.serving.start import ServerStart
from scrubjay.storage.btree.beside import FOLDER as TREES
from scrubjay.storage.btree.lmdb_engine import READERS_OPEN_MAX, LmdbEngine
from scrubjay.storage.catalogue import INCARNATION_FIRST, TableMeta
from scrubjay.storage.consensus.options import ConsensusOptions
from scrubjay.storage.control.metadata import Metadata, metadata_table
from scrubjay.storage.control.service import Service
from scrubjay.storage.control.store import Store
from scrubjay.storage.node.archive_source import NodeLogSource
from scrubjay.storage.node.identity import Members
from scrubjay.storage.node.port import NodePort, error_of
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.service_port import Finding
from scrubjay.storage.wal.wal import Wal

QUARANTINE_LOOK = 1_000
"""Trees of a quarantine that are looked at to tell how much it holds."""
_log = logger("node")


ZONES = {name: f"z{number}" for number, name in enumerate(NODES, 1)}


class Quarantine(NamedTuple):
    """What a node has set aside. bytes: on disk; a tree is a file or a folder of files."""

    trees: int
    bytes: int


@dataclass(slots=True)
class Cluster:
    """Everything of storage in this process. `close` in reverse order of making."""

    running: dict[NodeName, RunningNode]
    """The nodes that could be opened. `control.ports`: of every node of the cluster."""
    control: Control
    heard: Heard
    sizes: WalSizes
    disks: dict[NodeName, RealDisk] = field(default_factory=dict)
    folder: Path = Path()
    zones: Mapping[NodeName, str] = field(default_factory=dict)
    told: Callable[[NodeName], NodeTold | None] = lambda _: None
    """Of nodes in other processes, how their machines are."""

    @property
    def sources(self) -> dict[NodeName, NodeLogSource]:
        return {name: one.source for name, one in self.running.items()}

    @property
    def wals(self) -> dict[NodeName, Wal]:
        return {name: one.wal for name, one in self.running.items()}

    @property
    def store(self) -> Store:
        return self.control.store

    @property
    def service(self) -> Service:
        return self.control.service

    @property
    def metadata(self) -> Metadata:
        return self.control.metadata

    def free_bytes(self, name: NodeName) -> int | None:
        """Of the node's disk; None if it does not say (it is gone)."""
        if name not in self.disks:
            told = self.told(name)
            return None if told is None else told.free_bytes
        try:
            return self.disks[name].free_bytes()
        except (OSError, ScrubjayError, KeyError):
            return None

    def quarantine(self, name: NodeName) -> Quarantine:
        """Of a node; nothing if its disk does not say."""
        place = self.folder / "nodes" / name / "quarantine"
        try:
            trees = sorted(place.iterdir())[:QUARANTINE_LOOK]
            return Quarantine(len(trees), sum(file.stat().st_size for tree in trees for file in [tree, *tree.glob("*")] if file.is_file()))
        except OSError:
            return Quarantine(0, 0)

    def share(self, share: float) -> None:
        """How much of a core each node's scans may use from now on that nobody waits for. 0 < share <= 1."""
        for one in self.running.values():
            if isinstance(one.engine, LmdbEngine):
                one.engine.share(share)

    def close(self) -> None:
        for one in self.running.values():
            one.node.stop()
        for one in self.running.values():
            one.close()


def storage_options(config: Config) -> StorageOptions:
    return StorageOptions(
        checkpoint_interval_us=config.storage.checkpoint_age_us,
        checkpoint_bytes=config.storage.checkpoint_bytes,
        keep_log_us=config.storage.keep_log_us,
        item_collection_bytes_max=config.storage.item_collection_limit_bytes,
        seal_bytes=config.archive.segment_bytes,
        seal_age_us=config.archive.seal_age_us,
        seal_age_max_us=config.archive.seal_age_max_us,
        max_clock_offset_us=config.consensus.max_clock_offset_us,
        clock_ahead_accepted_us=config.consensus.clock_ahead_accepted_us,
    )


def consensus_options(config: Config) -> ConsensusOptions:
    return ConsensusOptions(grant_us=config.consensus.lease_us, interval_us=config.consensus.support_interval_us)


def wal_sizes(config: Config, descriptors: Descriptors) -> WalSizes:
    """Every file of a log is open: a log has at most as many as the process has descriptors for."""
    storage = config.storage
    limit = min(storage.wal_limit_bytes, descriptors.wal_files_per_node * storage.wal_file_bytes)
    if limit < storage.wal_limit_bytes:
        _log.warning(
            "the log is bounded by file descriptors", wal_limit=storage.wal_limit_bytes, bounded=limit, descriptors=descriptors.limit
        )
    return WalSizes(storage.wal_file_bytes, limit, storage.wal_reserve_bytes)


@dataclass(slots=True)
class Nodes:
    """The storage nodes of one process, recovered. running: those that could be opened. ports: of all of them. keepers: the service that keeps what they find, once there is one."""

    running: dict[NodeName, RunningNode]
    ports: dict[NodeName, NodePort]
    disks: dict[NodeName, RealDisk]
    members: Members
    heard: Heard
    findings: FindingSink
    keepers: list[Service]
    sizes: WalSizes

    async def boot(self, tasks: AsyncTasks) -> None:
        """Let them speak, and wait until they may or have failed."""
        booted = [tasks.future() for _ in self.running]
        for one, synced in zip(self.running.values(), booted, strict=True):
            start_node(one.node, self.members, synced.set_result)
        for synced in booted:
            await synced
        behind = self.members.copy_to({name: disk for name, disk in self.disks.items() if self.running[name].node.running})
        if behind:
            _log.warning("a node's folder takes no copy of the list of members", nodes=behind)

    def close(self) -> None:
        for one in self.running.values():
            one.node.stop()
            one.close()


def open_nodes(
    tasks: AsyncTasks,
    env: Env,
    folder: Path,
    config: Config,
    cluster_id: ClusterId,
    descriptors: Descriptors,
    *,
    names: Mapping[int, NodeName],
    here: Collection[NodeName],
    network: Callable[[NodeName], Network],
    start: ServerStart,
) -> Nodes:
    """Recover nodes from their folders below `folder`. names: every node of the cluster by its number. here: those of this process. network: of each of them.

    A node whose folder cannot be opened, or that must stay out, is a failed one. Raises Unsafe if a node's clock reservation lies further ahead of the wall clock than is allowed
    (server.node.check_clock).
    """
    home = RealDisk(folder, post=tasks.post)
    founding = Founding(cluster_id, Members(home, cluster_id), env.rand.uuid)
    if founding.members.recall({name: partial(RealDisk, folder / "nodes" / name, tasks.post) for name in here}):
        _log.warning("the list of members was gone; it was written anew from the nodes' folders")
    keepers: list[Service] = []
    heard = Heard()
    findings = FindingSink(keeper=lambda: keepers[0].note if keepers else None, heard=heard_line)
    nodes = Nodes({}, {}, {}, founding.members, heard, findings, keepers, wal_sizes(config, descriptors))
    told = NodeListeners(finding=findings, state=partial(_state, heard))
    for number, name in names.items():
        if name not in here:
            continue
        root = folder / "nodes" / name
        try:
            disk = RealDisk(root, post=tasks.post)
            nodes.running[name] = open_node(
                name=name,
                names=names,
                env=env,
                disk=disk,
                network=network(name),
                engine=partial(
                    LmdbEngine,
                    str(root),
                    disk,
                    partial(WorkerProcess, loop=tasks.loop),
                    trees=str(folder / TREES),
                    readers_open_max=min(READERS_OPEN_MAX, descriptors.trees_per_node),
                ),
                wal=nodes.sizes,
                options=storage_options(config),
                consensus=consensus_options(config),
                founding=founding,
                told=told,
                replayed=partial(start.replayed, name),
                alone_since_us=start.alone_since_us,
            )
        except ClockFault:
            raise
        except ScrubjayError as error:
            nodes.ports[name] = absent_node(name=name, number=number, told=told, failed=error)
        else:
            nodes.ports[name], nodes.disks[name] = nodes.running[name].port, disk
    start.done("replay")
    return nodes


def system_table(cluster: ClusterFile, founders: Collection[int]) -> TableMeta:
    """The metadata group as the cluster was founded: a copy on each founding node. founders: their numbers."""
    members = tuple(Member(number, INCARNATION_FIRST) for number in founders)
    return metadata_table(cluster.metadata_table_id, cluster.metadata_partition_id, members=members, created_at=cluster.created_at)


def control_over(
    env: Env,
    home: RealDisk,
    config: Config,
    cluster: ClusterFile,
    names: Mapping[int, NodeName],
    ports: Mapping[NodeName, NodePort],
    *,
    founders: Collection[int],
    zones: Mapping[NodeName, str],
    alone: bool,
    here: NodePort | None = None,
) -> Control:
    """The control part over all nodes. home: the data folder. names: of every node of the configuration by its number. founders: numbers of those that found the cluster. alone, here, zones: see
    server.control.open_control."""
    return open_control(
        env,
        ports={name: ports[name] for name in names.values()},
        system=system_table(cluster, founders),
        disk=home,
        scratch=home,
        initial_partitions=config.tables.initial_partitions,
        pitr_default=config.pitr.default,
        alone=alone,
        here=here,
        zones=zones,
        log=_log.info,
        split_size=config.tables.split_size_bytes,
    )


async def bring_up(env: Env, nodes: Nodes, control: Control, peers: Sequence[NodePort], start: ServerStart) -> bool:
    """Keep what the nodes find, load the catalogue, have it hosted, and note from then on how far every node has come. peers: nodes of other processes. True: it is up
    (`start.unless_stopped` has None for a stop)."""
    nodes.keepers.append(control.service)
    nodes.findings.hand_over()
    if control.service.found.trouble is not None:
        _log.warning("findings", trouble=control.service.found.trouble)
    control.told = lambda line: _log.warning("transactions", told=line)
    await control.up(start.waits)
    start.done("catalogue")
    running = [one.node for one in nodes.running.values()]
    for node in running:
        join(env, nodes.members, node)
    keep_noting(env, nodes.members, running, peers)
    return True


async def open_cluster(
    tasks: AsyncTasks, env: Env, folder: Path, config: Config, cluster: ClusterFile, descriptors: Descriptors, *, start: ServerStart
) -> Cluster:
    """All nodes in this process. descriptors: what this process may use. start: hears how far it is.

    A node whose folder cannot be opened, or that must stay out, is part of the cluster as a failed one: the others serve. Raises Unavailable if no majority
    came up, Unsafe if a node's clock is wrong (see `open_nodes`).
    """
    names = dict(enumerate(NODES, 1))
    hub = LocalHub(tasks)
    nodes = open_nodes(
        tasks, env, folder, config, cluster.cluster_id, descriptors, names=names, here=NODES, network=hub.attach, start=start
    )
    await nodes.boot(tasks)
    start.done("boot")
    bad = {name: str(error_of(failed)) for name, port in nodes.ports.items() if (failed := port.status().failed) is not None}
    if 2 * len(bad) >= len(NODES):
        nodes.close()
        step = "put right what is said of each node: with two of the three it serves (runbooks/node-out-of-service.md)"
        raise Unavailable("too few nodes came up to serve", **bad, next=step)
    control = control_over(
        env, RealDisk(folder, post=tasks.post), config, cluster, names, nodes.ports, founders=tuple(names), zones=ZONES, alone=True
    )
    await bring_up(env, nodes, control, (), start)
    return Cluster(nodes.running, control, nodes.heard, nodes.sizes, nodes.disks, folder, ZONES)


def heard_line(finding: Finding) -> None:
    _log.warning("finding", node=finding.copy, partition=finding.partition, kind=finding.kind, by=finding.found_by, detail=finding.detail)


def _state(heard: Heard, node: NodeName, partition: PartitionId | None, state: str, reason: str) -> None:
    heard.told(node, partition, state, reason)
    _log.warning("state", node=node, partition=partition, state=state, reason=reason)
