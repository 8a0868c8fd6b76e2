"""The control part of a server: router, metadata group, store, and the store as the services see it, over nodes that may be anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scrubjay.base.env import Disk, Env
from scrubjay.base.ids import Member, NodeName
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.following import Following
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.service import Service
from scrubjay.storage.control.store import Store
from scrubjay.storage.node.port import NodePort


@dataclass(slots=True)
class Control:
    """`await up()` before the store is used. ports: of every storage node by name."""

    env: Env
    ports: Mapping[NodeName, NodePort]
    system: TableMeta
    fleet: Fleet
    router: Router
    metadata: Metadata
    store: Store
    service: Service
    here: NodePort | None = None
    following: Following | None = None
    """Of one process of several, from `up` on."""
    works: Callable[[], bool] = lambda: False
    """Whether this process works for the cluster (`server.duty`): whoever knows sets it."""

    async def up(self, waits: Callable[[str], object] = lambda why: None) -> None:
        """Host the metadata group, wait until it answers, however long that takes, load the catalogue and host every table; of several processes each does so on the node that it
        has, and follows the catalogue from then on. waits: told why it waits still."""
        if self.metadata.alone:
            self.store.tables.host(self.system)
        elif self.here is not None:
            self.fleet.host_on(self.here, self.system)
        await self.store.tables.start(waits, here=self.here)
        if not self.metadata.alone:
            tables = self.store.tables
            self.following = Following(
                self.env, fleet=self.fleet, metadata=self.metadata, tables=tables, here=self.here, works=lambda: self.works()
            )
            self.following.start()


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
    alone: bool = True,
    here: NodePort | None = None,
) -> Control:
    """alone: no other process changes the catalogue. here: the node of this process, where there are several. ports: see Control. system: the metadata group. disk: where findings are kept. scratch: the folder
    below which the row files of this process's coordinators lie."""
    fleet = Fleet(env, ports)
    router = Router(env, ports)
    metadata = Metadata(env, router, system, alone=alone)
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
    return Control(env, ports, system, fleet, router, metadata, store, service, here)
