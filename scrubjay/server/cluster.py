"""The storage part of `--dev`: three nodes in three zones in one process, metadata group, router, store, and the store as the services see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from base.env import Env
from base.errors import Unsafe
from base.ids import Member, NodeName, PartitionId, uuid_bytes
from base.real.disk import RealDisk
from base.real.loop import AsyncTasks
from base.real.net import LocalHub
from base.real.worker_process import WorkerProcess
from scrubjay.config import Config
from scrubjay.server.folder import ClusterFile
from storage.archive_source import NodeLogSource
from storage.btree.lmdb_engine import LmdbEngine
from storage.consensus.messages import cluster_tag
from storage.consensus.options import ConsensusOptions
from storage.control.metadata import Metadata, metadata_table
from storage.control.router import Router
from storage.control.service import Service
from storage.control.store import Store
from storage.node import Node, NodeEvents
from storage.options import StorageOptions
from storage.replica import Replica
from storage.service_port import Finding
from storage.wal.wal import Wal

NODES = (NodeName("n1"), NodeName("n2"), NodeName("n3"))
"""One node per zone; node numbers are 1, 2, 3 in this order."""

_log = structlog.get_logger(part="node")


@dataclass(slots=True)
class Cluster:
    """Everything of storage in this process. `close` in reverse order of making."""

    nodes: dict[NodeName, Node]
    sources: dict[NodeName, NodeLogSource]
    wals: dict[NodeName, Wal]
    engines: dict[NodeName, LmdbEngine]
    router: Router
    metadata: Metadata
    store: Store
    service: Service
    disks: dict[NodeName, RealDisk] = field(default_factory=dict)

    def close(self) -> None:
        for node in self.nodes.values():
            node.stop()
        for engine in self.engines.values():
            engine.close()
        for wal in self.wals.values():
            wal.close()


def storage_options(config: Config) -> StorageOptions:
    return StorageOptions(
        checkpoint_interval_us=config.storage.checkpoint_age_us,
        checkpoint_bytes=config.storage.checkpoint_bytes,
        seal_bytes=config.archive.segment_bytes,
        seal_age_us=config.archive.seal_age_us,
        max_clock_offset_us=config.consensus.max_clock_offset_us,
    )


def consensus_options(config: Config) -> ConsensusOptions:
    return ConsensusOptions(grant_us=config.consensus.lease_us, interval_us=config.consensus.support_interval_us)


async def open_cluster(tasks: AsyncTasks, env: Env, folder: Path, config: Config, cluster: ClusterFile) -> Cluster:
    """Recover the nodes from their folders, start them and load the catalogue.

    Raises Unsafe if a node's clock reservation lies further ahead of the wall clock than `consensus.max_clock_offset` allows.
    """
    hub = LocalHub(tasks)
    members = tuple(Member(number, 1) for number in range(1, len(NODES) + 1))
    system = metadata_table(cluster.metadata_table_id, cluster.metadata_partition_id, members=members, created_at=cluster.created_at)
    nodes: dict[NodeName, Node] = {}
    sources: dict[NodeName, NodeLogSource] = {}
    wals: dict[NodeName, Wal] = {}
    engines: dict[NodeName, LmdbEngine] = {}
    disks: dict[NodeName, RealDisk] = {}
    services: list[Service] = []
    for number, name in enumerate(NODES, 1):
        root = folder / "nodes" / name
        root.mkdir(parents=True, exist_ok=True)
        disk = RealDisk(root, post=tasks.post)
        wal, recovered = Wal.open(
            disk,
            "wal",
            file_size=config.storage.wal_file_bytes,
            limit_bytes=config.storage.wal_limit_bytes,
            reserve_bytes=config.storage.wal_reserve_bytes,
            call_later=tasks.call_later,
        )
        _check_clock(env, name, recovered.reservation >> 12, config)
        engine = LmdbEngine(str(root), disk, partial(WorkerProcess, loop=tasks.loop))
        events = NodeEvents(
            finding=_finding_sink(env, services),
            state=_state_sink(),
            archive=_archive_sink(sources, name),
        )
        node = Node(
            name=name,
            number=number,
            peers={at: peer for at, peer in enumerate(NODES, 1) if peer != name},
            env=env,
            network=hub.attach(name),
            engine=engine,
            wal=wal,
            recovered=recovered,
            options=storage_options(config),
            consensus_options=consensus_options(config),
            events=events,
            cluster=cluster_tag(uuid_bytes(cluster.cluster_id)),
        )
        nodes[name], wals[name], engines[name], disks[name] = node, wal, engine, disk
        sources[name] = NodeLogSource(node)
    for node in nodes.values():
        booted = tasks.future()
        node.start(lambda booted=booted: booted.set_result(None))  # type: ignore[misc]
        await booted
    router = Router(env, nodes)
    metadata = Metadata(env, router, system)
    store = Store(
        env,
        nodes=nodes,
        router=router,
        metadata=metadata,
        members=members,
        initial_partitions=config.tables.initial_partitions,
        pitr_default=config.pitr.default,
    )
    service = Service(
        env,
        nodes=nodes,
        store=store,
        metadata=metadata,
        disk=RealDisk(folder, post=tasks.post),
        node_folder=lambda _name, path: str(folder / path),
    )
    services.append(service)
    store.host(system)
    await store.start()
    return Cluster(nodes, sources, wals, engines, router, metadata, store, service, disks)


def _check_clock(env: Env, name: NodeName, reservation_us: int, config: Config) -> None:
    ahead = reservation_us - env.clock.wall_us()
    # A reservation reaches up to 3 s ahead by itself (base.hlc); only what goes beyond that and the allowed offset says that a clock was set back.
    allowed = 3_000_000 + config.consensus.max_clock_offset_us
    if ahead > allowed:
        raise Unsafe(
            "this machine's clock is behind what the node has already promised; set the clock right and start again",
            node=name,
            ahead_seconds=round(ahead / 1e6, 3),
            allowed_seconds=allowed / 1e6,
        )


def _finding_sink(env: Env, services: list[Service]) -> Callable[..., None]:
    def sink(node: Node, replica: Replica, **facts: Any) -> None:
        finding = Finding(
            kind=facts["kind"],
            copy=node.name,
            partition=replica.partition,
            key=None,
            storage_key=facts["storage_key"],
            object=None,
            lsn=facts["lsn"],
            segment=None,
            found_by=facts["found_by"],
            action="none",
            detail=facts["detail"],
            at_us=env.clock.wall_us(),
        )
        _log.warning("finding", node=node.name, partition=replica.partition, kind=finding.kind, by=finding.found_by, detail=finding.detail)
        for service in services:
            env.tasks.call_soon(lambda: service.note(finding))  # noqa: B023 - one service, and the list does not change any more

    return sink


def _state_sink() -> Callable[..., None]:
    def sink(node: Node, replica: Replica | None, state: str, reason: str) -> None:
        _log.warning("state", node=node.name, partition=replica.partition if replica is not None else None, state=state, reason=reason)

    return sink


def _archive_sink(sources: dict[NodeName, NodeLogSource], name: NodeName) -> Callable[[PartitionId], None]:
    def sink(partition: PartitionId) -> None:
        source = sources.get(name)
        if source is not None:
            source.notify(partition)

    return sink
