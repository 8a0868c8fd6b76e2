"""The control part of a server: router, metadata group, store, and the store as the services see it, over nodes that may be anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scrubjay.base.env import Disk, Env
from scrubjay.base.ids import Member, NodeName
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.service import Service
from scrubjay.storage.control.store import Store
from scrubjay.storage.node.port import NodePort


@dataclass(slots=True)
class Control:
    """`await up()` before the store is used. ports: of every storage node by name."""

    ports: Mapping[NodeName, NodePort]
    system: TableMeta
    fleet: Fleet
    router: Router
    metadata: Metadata
    store: Store
    service: Service

    async def up(self, waits: Callable[[str], object] = lambda why: None) -> None:
        """Host the metadata group, wait until it answers, however long that takes, load the catalogue and host every table. waits: told why it waits still."""
        self.store.tables.host(self.system)
        await self.store.tables.start(waits)


def open_control(
    env: Env,
    *,
    ports: Mapping[NodeName, NodePort],
    system: TableMeta,
    members: tuple[Member, ...],
    disk: Disk,
    scratch: Disk,
    initial_partitions: int,
    pitr_default: bool,
    tree_timeout_s: float = 900.0,
) -> Control:
    """ports: see Control. system: the metadata group. disk: where findings are kept. scratch: the folder
    below which the row files of this process's coordinators lie."""
    fleet = Fleet(env, ports)
    router = Router(env, ports)
    metadata = Metadata(env, router, system)
    store = Store(
        env,
        fleet=fleet,
        router=router,
        metadata=metadata,
        members=members,
        initial_partitions=initial_partitions,
        pitr_default=pitr_default,
    )
    service = Service(
        env,
        fleet=fleet,
        tables=store.tables,
        metadata=metadata,
        disk=disk,
        scratch=scratch,
        tree_timeout_s=tree_timeout_s,
    )
    return Control(ports, system, fleet, router, metadata, store, service)
