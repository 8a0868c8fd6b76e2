"""The control part of a server: router, metadata group, store, and the store as the services see it, over nodes that may be anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from scrubjay.base.env import Disk, Env
from scrubjay.base.ids import Member, NodeName
from scrubjay.storage.catalogue import MEMBER, REMOVED, NodeMember, TableMeta
from scrubjay.storage.control.by_size import SplitsBySize
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.following import Following
from scrubjay.storage.control.indexing.feeding import Parts
from scrubjay.storage.control.indexing.feeds import IndexFeeds
from scrubjay.storage.control.indexing.keeper import IndexKeeper
from scrubjay.storage.control.indexing.proof import IndexProver
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.placement import Site
from scrubjay.storage.control.router import Router
from scrubjay.storage.control.service import Service
from scrubjay.storage.control.splits import Splits
from scrubjay.storage.control.store import Store
from scrubjay.storage.control.transactions.resolver import PendingResolver
from scrubjay.storage.control.transactions.sweeping import LedgerSweep
from scrubjay.storage.node.port import NodePort

BACKFILL_ROWS_PER_SECOND = 20_000
"""Items of a partition that are put into an index that is built."""


class Evens(Protocol):
    """`server.balancing.Balancing`, as others see it. why, why_leads: why no copy begins to move, and no lead is handed over. counts: what was done since the start. declined: nodes that are given no copy
    for a while, as they could not take one."""

    why: str
    why_leads: str
    counts: dict[str, int]

    def declined(self) -> list[dict[str, Any]]: ...


@dataclass(slots=True)
class Control:
    """`await up()` before the store is used. ports: of every storage node that the configuration names; who of them is a member the catalogue says. zones: of them; one that is in none is in
    one of its own."""

    env: Env
    ports: Mapping[NodeName, NodePort]
    fleet: Fleet
    router: Router
    metadata: Metadata
    store: Store
    service: Service
    here: NodePort | None = None
    zones: Mapping[NodeName, str] = field(default_factory=dict)
    feeds: IndexFeeds | None = None
    """What brings changes into global indexes, where this process does that: from `up` on."""
    keeper: IndexKeeper | None = None
    splits: Splits | None = None
    """What carries on splits of partitions, where this process works for the cluster: from `up` on."""
    by_size: SplitsBySize | None = None
    """What begins splits of partitions that have grown too large, there."""
    following: Following | None = None
    """Of one process of several, from `up` on."""
    resolver: PendingResolver | None = None
    """Ends what transactions leave pending on the nodes of this process; from `up` on."""
    sweep: LedgerSweep | None = None
    """Notes as done what a coordinator did not; from `up` on."""
    told: Callable[[str], None] = lambda line: None
    """Hears what a server's log is to say of that."""
    evens: Evens | None = None
    """Evens out what nodes hold and lead, where this process does that."""
    works: Callable[[], bool] = lambda: False
    """Whether this process works for the cluster (`server.duty`): whoever knows sets it."""

    @property
    def system(self) -> TableMeta:
        """The metadata group, with its copies where they are now."""
        return self.metadata.system

    def members(self) -> dict[NodeName, NodeMember]:
        """The nodes of the cluster, in the order of `ports`: those that founded it or joined, and were not removed."""
        known = {name: self.metadata.standing(name, node.number) for name, node in self.ports.items()}
        return {name: member for name, member in known.items() if member is not None and member.state != REMOVED}

    def sites(self) -> list[Site]:
        """The nodes on which a new copy may be placed, as of now."""
        return [self.site(name, member) for name, member in self.members().items() if member.state == MEMBER]

    def site(self, name: NodeName, member: NodeMember) -> Site:
        """A node as placement sees it."""
        status = self.ports[name].status()
        up = status.failed is None and status.started
        return Site(Member(member.number, member.incarnation), self.zones.get(name, f"alone {name}"), up)

    async def up(self, waits: Callable[[str], object] = lambda why: None) -> None:
        """Host the metadata group, wait until it answers, however long that takes, load the catalogue and host every table; of several processes each does so on the node that it
        has, and follows the catalogue from then on. waits: told why it waits still."""
        for node in self.ports.values() if self.metadata.alone else [] if self.here is None else [self.here]:
            self._host_system(node)
        await self.store.tables.start(waits, here=self.here)
        nodes = self.ports if self.metadata.alone else {} if self.here is None else {self.here.name: self.here}
        self.resolver = PendingResolver(self.env, self.metadata, self.store.transactions, nodes, log=lambda line: self.told(line))
        self.resolver.start()
        self.sweep = LedgerSweep(self.env, self.router, self.store.transactions, nodes, log=lambda line: self.told(line))
        self.sweep.start()
        if not self.metadata.alone:
            tables = self.store.tables
            self.following = Following(
                self.env, fleet=self.fleet, metadata=self.metadata, tables=tables, here=self.here, works=lambda: self.works()
            )
            self.following.start()
        if self.feeds is not None:
            self.feeds.start()
        if self.keeper is not None:
            self.keeper.start()
        if self.splits is not None:
            self.splits.start()
        if self.by_size is not None:
            self.by_size.start()

    def _host_system(self, node: NodePort) -> None:
        """Before the catalogue is read: the group that keeps it, where a node's log knows it, or a founder makes it. Where its copies are by now only the catalogue says."""
        info = self.system.partitions[0]
        founds = node.number in info.nodes
        known = msgspec.structs.replace(info, hosts=tuple(sorted({*info.nodes, node.number})))
        system = msgspec.structs.replace(self.system, partitions=(known,))
        status = node.status()
        # One that stays out begins nothing: its folder must be as empty as it came, to be made another member.
        self.fleet.host_on(node, system, only_known=not (founds and status.joining and status.failed is None))

    def quiet(self) -> None:
        """This process stops: what its indexes lack is brought by whoever leads next, and a split goes on where it stands."""
        for part in (self.feeds, self.keeper, self.by_size, self.splits):
            if part is not None:
                part.stop()


def open_control(
    env: Env,
    *,
    ports: Mapping[NodeName, NodePort],
    system: TableMeta,
    disk: Disk,
    scratch: Disk,
    initial_partitions: int,
    pitr_default: bool,
    tree_timeout_s: float = 900.0,
    alone: bool = True,
    here: NodePort | None = None,
    zones: Mapping[NodeName, str] | None = None,
    log: Callable[[str], None] = lambda line: None,
    split_size: int = 0,
) -> Control:
    """split_size: bytes of items from which on a partition is split by itself, 0: none ever is. alone: no other process changes the catalogue. here: the node of this process, where there are several. ports, zones: see Control. system: the metadata group as it was founded. disk: where findings are kept. scratch: the folder
    below which the row files of this process's coordinators lie."""
    fleet = Fleet(env, ports)
    router = Router(env, ports)
    metadata = Metadata(env, router, system, alone=alone)
    store = Store(
        env,
        fleet=fleet,
        router=router,
        metadata=metadata,
        sites=lambda: control.sites(),
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
    control = Control(env, ports, fleet, router, metadata, store, service, here, dict(zones or {}))
    parts = Parts(env, router, fleet, metadata, store.changes, BACKFILL_ROWS_PER_SECOND)
    keeper = control.keeper = IndexKeeper(parts, store.tables, works=lambda: alone or control.works(), log=log)
    service.prover = IndexProver(parts, note=service.note, rebuild=keeper.rebuild)
    splits = control.splits = Splits(
        env,
        fleet=fleet,
        metadata=metadata,
        stopping=lambda: store.tables.stopping,
        works=lambda: alone or control.works(),
        log=log,
    )
    control.by_size = SplitsBySize(
        env,
        fleet=fleet,
        metadata=metadata,
        splits=splits,
        size=split_size,
        works=lambda: not store.tables.stopping and (alone or control.works()),
        log=log,
    )
    if alone or here is not None:
        control.feeds = IndexFeeds(parts, here=here, lost=keeper.replace_lost)
    return control
