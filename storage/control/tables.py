"""The life of tables: hosted, made, changed (ADR 0012 and `storage.control.drops` for their end).

A table is written to the metadata group as CREATING, its replicas are hosted, and it becomes ACTIVE once every partition has a leader that serves.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Exhausted, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, TimeToLive
from scrubjay.storage.control.drops import Drops
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import stopping
from scrubjay.storage.node.port import NodePort, error_of

_POLL_S = 0.02
_WELCOME_POLL_S = 0.5
_TELL_AGAIN_US = 5_000_000
_SETTLE_US = 1_000_000
_SET_TRIES = 5
"""Of a setting that others change at the same time."""


class Tables:
    """members: the storage nodes that every new partition is placed on (node number, incarnation). initial_partitions: for tables created from now on."""

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        metadata: Metadata,
        members: tuple[Member, ...],
        initial_partitions: int,
        pitr_default: bool,
    ) -> None:
        self._env, self._fleet, self.metadata = env, fleet, metadata
        self._members = members
        self._initial_partitions = initial_partitions
        self._pitr_default = pitr_default
        self._names_taken: set[str] = set()
        self.drops = Drops(env, fleet=fleet, metadata=metadata, stopping=lambda: self.stopping)
        self.stopping = False
        metadata.on_learned.append(self._learned)

    # ------------------------------------------------------------------ start

    async def start(self, waits: Callable[[str], object] = lambda why: None, *, here: NodePort | None = None) -> None:
        """Load the catalogue; alone, take it up. The metadata group must be hosted already. here: the node of this process, where there are several: it is told what to host.

        A start never gives up: as long as nobody leads the metadata group it asks again, and says why through `waits`.

        Raises Exhausted if all that keeps that group from a leader is what this machine has too little of: waiting brings none of it.
        """
        early = self._env.tasks.spawn(self._host_early(here), name="host what was known")
        while True:
            try:
                await self.metadata.load()
                break
            except Unavailable as error:
                self._refuse_if_exhausted()
                waits(f"{self.metadata.system.name}: {error}")
        early.cancel()
        if self.metadata.alone:
            self.take_up()
        elif here is not None:
            for table_id in sorted(self.metadata.tables):
                self._fleet.host_on(here, self.metadata.tables[table_id])

    def take_up(self) -> None:
        """Host every table of the catalogue and go on with what a stop, or the death of another process, interrupted."""
        for table_id in sorted(self.metadata.tables):
            table = self.metadata.tables[table_id]
            if table.status == "DROPPED":
                self.drops.resume(table)
            elif (
                self.metadata.alone or table.status != "CREATING" or table.restore_of is not None
            ):  # one may be made just now: `storage.control.following`
                self.host(table)
                self.go_on(table)

    def go_on(self, table: TableMeta) -> None:
        """With what somebody began: it is done by whoever comes first, and once."""
        if table.status == "CREATING" and table.restore_of is None:
            self._env.tasks.spawn(self._activate(table.table_id), name=f"activate {table.name}")
        elif table.status == "UPDATING":
            self._env.tasks.spawn(self._settle_update(table.table_id), name=f"update {table.name}")
        elif table.status == "DELETING":
            self.drops.begin(table)

    def _refuse_if_exhausted(self) -> None:
        for info in self.metadata.system.partitions:
            members = self._fleet.members(info)
            facts = [node.facts(info.partition_id) for node in members]
            lacks = [error_of(one.lack) for one in facts if one is not None and one.lack is not None]
            exhausted = [lack for lack in lacks if isinstance(lack, Exhausted)]
            if 2 * len(exhausted) > len(members):
                raise exhausted[0]

    async def _host_early(self, here: NodePort | None) -> None:
        """Open the trees of the tables that a replica of the metadata group knows by itself, while that group still elects its leader.

        It may be behind: only what a node's own log knows is hosted, and `start` puts right what has changed since.
        """
        try:
            known = await self.metadata.glimpse()
        except ScrubjayError:
            return
        for table in known:
            if table.status == "ACTIVE" and (table.restore_of is None or not table.restore_of.in_progress):
                if self.metadata.alone:
                    self._fleet.host(table, only_known=True)
                elif here is not None:
                    self._fleet.host_on(here, table, only_known=True)

    def host(self, table: TableMeta) -> None:
        """Run the replicas of a table on their nodes."""
        self._fleet.host(table)
        if table.absent:
            self._env.tasks.spawn(self._welcome(table.table_id), name=f"late members of {table.name}")

    async def _welcome(self, table_id: TableId) -> None:
        """Members that were down when the table was made: as soon as their logs are durable, the catalogue never lets them be made again."""
        told_us = self._env.clock.boot_us()
        while not self.stopping:
            table = self.metadata.tables.get(table_id)
            if table is None or not table.absent or table.status == "DROPPED":
                return
            if self._env.clock.boot_us() - told_us >= _TELL_AGAIN_US:
                # One that could not be reached when it was told what to host, and has gone on all the while, is told by nobody else.
                told_us = self._env.clock.boot_us()
                self._fleet.host(table)
            left = tuple(number for number in table.absent if number in self._fleet.without_log(table))
            if left != table.absent:
                try:
                    await self.metadata.put_table(msgspec.structs.replace(table, absent=left))
                except (Conflict, Unavailable):
                    continue
            await self._env.tasks.sleep(_WELCOME_POLL_S)

    def unhosted(self) -> list[PartitionId]:
        """Partitions without a leader that serves: `serve` is ready when there are none."""
        return [
            info.partition_id
            for table in (self.metadata.system, *self.metadata.tables.values())
            if table.status not in ("DROPPED", "DELETING") and not (table.restore_of is not None and table.restore_of.in_progress)
            for info in table.partitions
            if self._fleet.leader(info.partition_id) is None
        ]

    # ------------------------------------------------------------------ made

    def new_partitions(self, count: int) -> tuple[PartitionInfo, ...]:
        """`count` partitions that split the hash space evenly."""
        edges = [index * (1 << 128) // count for index in range(count)] + [0]
        texts = [f"{edge:032x}" for edge in edges]
        return tuple(
            PartitionInfo(PartitionId(self._env.rand.uuid()), texts[index], texts[index + 1] if index + 1 < count else "", self._members)
            for index in range(count)
        )

    def initial_partitions(self) -> tuple[PartitionInfo, ...]:
        return self.new_partitions(self._initial_partitions)

    async def create(self, spec: TableSpec) -> TableMeta:
        """See `storage.backend.Backend.create_table`."""
        self.check_open()
        await self.metadata.newest()
        if self.metadata.by_name(spec.name) is not None or spec.name in self._names_taken:
            raise Conflict("table already exists", table=spec.name)
        now = self._env.clock.wall_us()
        table = TableMeta(
            table_id=TableId(self._env.rand.uuid()),
            name=spec.name,
            status="CREATING",
            key=spec.key,
            attributes=spec.attributes,
            partitions=self.initial_partitions(),
            created_at=now,
            billing=spec.billing,
            billing_changed_at=now if spec.billing == "PAY_PER_REQUEST" else None,
            throughput=spec.throughput,
            deletion_protection=spec.deletion_protection,
            table_class=spec.table_class,
            tags=spec.tags,
            on_demand=spec.on_demand,
            pitr_enabled_at=now if self._pitr_default else None,
            local_indexes=spec.local_indexes,
        )
        return await self.add(table)

    async def add(self, table: TableMeta) -> TableMeta:
        """Record a table and host its replicas; a plain one is then made ACTIVE, one that is restored is returned when its replicas wait for their base.
        Raises Conflict if the name is taken; Unavailable, `unknown`: it may have been recorded, and is gone on with as soon as that is known."""
        await self.metadata.settle()  # a table that may have been made has its name
        if self.metadata.by_name(table.name) is not None or table.name in self._names_taken:
            raise Conflict("table already exists", table=table.name)
        self._names_taken.add(table.name)
        try:
            table = await self.metadata.put_table(table)
            await self._has_its_name(table)
        finally:
            self._names_taken.discard(table.name)
        if table.restore_of is None:
            self._begin(table)
        else:
            await self._fleet.host(table)
        return table

    async def _has_its_name(self, table: TableMeta) -> None:
        """Two processes may have made a table of one name, neither knowing of the other's: at most one keeps it, and no other is ever served.

        Whoever has written reads what all have written: of two, one at least sees the other. The one with the higher id gives way at once; the other one waits until
        that has happened, or until it turns out that the higher one did not see it and goes on. Raises Conflict, Unavailable (`unknown`: it is gone on with).
        """
        while not self.metadata.alone:
            try:
                await self.metadata.load()
            except Unavailable as error:
                error.fields["unknown"] = True
                raise
            others = [one for one in self.metadata.tables.values() if one.name == table.name and one.table_id != table.table_id]
            others = [one for one in others if one.status != "DROPPED"]
            if not others:
                return
            if any(one.status != "CREATING" or one.table_id < table.table_id for one in others):
                await self.metadata.remove_table(table.table_id)
                for info in table.partitions:
                    for node in self._fleet.members(info):
                        self._fleet.forget(info.partition_id, node)
                raise Conflict("table already exists", table=table.name)
            await self._env.tasks.sleep(_POLL_S)

    def _begin(self, table: TableMeta) -> None:
        self.host(table)
        self._env.tasks.spawn(self._activate(table.table_id), name=f"activate {table.name}")

    def _learned(self, table: TableMeta) -> None:
        """The log holds a table in this state, though whoever wanted it so was not told: it is gone on with from here, not at the next start."""
        if table.status == "CREATING" and table.restore_of is None:
            self._begin(table)
        else:
            self.go_on(table)

    async def _activate(self, table_id: TableId) -> None:
        table = self.metadata.tables[table_id]
        while any(self._fleet.leader(info.partition_id) is None for info in table.partitions):
            if self.stopping or table_id not in self.metadata.tables:
                return
            await self._env.tasks.sleep(_POLL_S)
        await self._settled(table)

        def active(known: TableMeta) -> TableMeta | None:
            absent = self._fleet.without_log(known)
            return msgspec.structs.replace(known, status="ACTIVE", absent=absent) if known.status == "CREATING" else None

        made = await self.metadata.change(table_id, active, until=lambda: self.stopping)
        if made is not None and made.absent:
            await self._welcome(table_id)

    async def _settled(self, table: TableMeta) -> None:
        """Wait, for a moment, for members that run and have not made their log durable: quorum was faster."""
        give_up = self._env.clock.boot_us() + _SETTLE_US
        down = self._fleet.down()
        while set(self._fleet.without_log(table)) - down and self._env.clock.boot_us() < give_up:
            await self._env.tasks.sleep(_POLL_S)

    # ------------------------------------------------------------------ changed

    async def update(self, name: str, change: dict[str, object]) -> TableMeta:
        """See `storage.backend.Backend.update_table`."""
        self.check_open()
        await self.metadata.newest()
        table = self.metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        if table.status != "ACTIVE":
            raise Conflict("table is not ACTIVE", table=name, status=table.status)
        table = await self.metadata.put_table(msgspec.structs.replace(table, **change))
        if table.status == "UPDATING":
            self._env.tasks.spawn(self._settle_update(table.table_id), name=f"update {name}")
        return table

    async def _settle_update(self, table_id: TableId) -> None:
        await self._env.tasks.sleep(_POLL_S)

        def active(known: TableMeta) -> TableMeta | None:
            return msgspec.structs.replace(known, status="ACTIVE") if known.status == "UPDATING" else None

        await self.metadata.change(table_id, active, until=lambda: self.stopping)

    async def set_time_to_live(self, name: str, decide: Callable[[TableMeta], TimeToLive]) -> TableMeta:
        """See `storage.backend.Backend.set_time_to_live`."""
        self.check_open()
        for left in reversed(range(_SET_TRIES)):
            await self.metadata.newest()
            table = self.metadata.by_name(name)
            if table is None:
                raise Missing("no such table", what="table", table=name)
            try:
                return await self.metadata.put_table(msgspec.structs.replace(table, ttl=decide(table)))
            except Conflict:
                if not left:
                    raise
        raise Internal("unreachable")

    async def delete(self, name: str) -> TableMeta:
        """See `storage.backend.Backend.delete_table`."""
        self.check_open()
        await self.metadata.newest()
        table = self.metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        if table.status != "ACTIVE":
            raise Conflict("table is being created, updated or deleted", table=name, status=table.status)
        table = await self.metadata.put_table(msgspec.structs.replace(table, status="DELETING"))
        self.drops.begin(table)
        return table

    # ------------------------------------------------------------------ stopping

    def check_open(self) -> None:
        """Raises Unavailable once the store stops."""
        if self.stopping:
            raise stopping()
