"""The life of tables: hosted, made, changed (ADR 0012 and `storage.control.drops` for their end).

A table is written to the metadata group as CREATING, its replicas are hosted, and it becomes ACTIVE once every partition has a leader that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Exhausted, Internal, Missing, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, Member, PartitionId, TableId
from scrubjay.base.together import within
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import (
    GlobalIndex,
    PartitionInfo,
    ResourcePolicy,
    TableMeta,
    TimeToLive,
    index_table,
    index_tables,
    new_stream,
    unmade,
    with_policy,
)
from scrubjay.storage.control.drops import Drops
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.placement import Site, loads, place
from scrubjay.storage.control.router import stopping
from scrubjay.storage.control.streams import is_stated, is_turning, over_splits, turned
from scrubjay.storage.node.port import NodePort, error_of

_POLL_S = 0.02
_WELCOME_POLL_S = 0.5
_TELL_AGAIN_US = 5_000_000
_SETTLE_US = 1_000_000
_NEWEST_WAIT_S = 1.0
"""For the catalogue as it is now, before one is served that may be behind."""
_SET_TRIES = 5
"""Of a setting that others change at the same time."""


class Tables:
    """More than 25 methods: whatever may become of a table and its indexes but its end. sites: the nodes on which new partitions may be placed, as of now. initial_partitions: for tables created from now on."""

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        metadata: Metadata,
        sites: Callable[[], list[Site]],
        initial_partitions: int,
        pitr_default: bool,
    ) -> None:
        self._env, self._fleet, self.metadata = env, fleet, metadata
        self._sites = sites
        self._initial_partitions = initial_partitions
        self._pitr_default = pitr_default
        self._names_taken: set[str] = set()
        self.drops = Drops(env, fleet=fleet, metadata=metadata, stopping=lambda: self.stopping)
        self.stopping = False
        self.may_host: Callable[[], bool] = lambda: True
        """Whether the node of this process may do what the catalogue, just read, tells it to: it is the member that the catalogue names."""
        self.serves_what_is_known = False
        """A start does not wait for the metadata group's leader: what some copy of it knows is served until `Following` reads it anew."""
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
                if self.serves_what_is_known:
                    await self._load_soon()
                else:
                    await self.metadata.load()
                break
            except Unavailable as error:
                self._refuse_if_exhausted()
                waits(f"{self.metadata.system.name}: {error}")
        early.cancel()
        if self.metadata.alone:
            for node in self._fleet.ports.values():
                self._fleet.host_on(node, self.metadata.system)
            self.take_up()
        elif here is not None and self.may_host():
            self._fleet.host_on(here, self.metadata.system)
            for table_id in sorted(self.metadata.tables):
                self._fleet.host_on(here, self.metadata.tables[table_id])

    async def _load_soon(self) -> None:
        """Raises Unavailable."""
        try:
            await within(self._env.tasks, self.metadata.load(), seconds=_NEWEST_WAIT_S, what="the metadata group has no leader")
        except Unavailable:
            await self.metadata.load_known()

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
            making = any(not index.made and index.status == "CREATING" for index in table.global_indexes or ())
            self._env.tasks.spawn((self._settle_index if making else self._settle_update)(table.table_id), name=f"update {table.name}")
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
        members = self.placed(count)
        return tuple(
            PartitionInfo(PartitionId(self._env.rand.uuid()), texts[index], texts[index + 1] if index + 1 < count else "", members[index])
            for index in range(count)
        )

    def placed(self, count: int) -> list[tuple[Member, ...]]:
        """Who founds the groups of `count` new partitions."""
        sites, load = self._sites(), loads(self.metadata.tables.values())
        found = []
        for _ in range(count):
            found.append(place(sites, load))
            for member in found[-1]:
                load[member.node] = load.get(member.node, 0) + 1
        return found

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
            class_named=spec.class_named or msgspec.UNSET,
            tags=spec.tags,
            on_demand=spec.on_demand,
            pitr_enabled_at=now if self._pitr_default else None,
            local_indexes=spec.local_indexes,
            global_indexes=spec.global_indexes or msgspec.UNSET,
            warm=spec.warm,
            streams=(new_stream(spec.stream_view, now),) if spec.stream_view else msgspec.UNSET,
            policies=(spec.policy,) if spec.policy is not None else msgspec.UNSET,
        )
        return await self.add(table)

    def fresh(self, indexes: Sequence[GlobalIndex] | msgspec.UnsetType) -> tuple[GlobalIndex, ...] | msgspec.UnsetType:
        """The same indexes, with tables of their own that nobody has made yet: of a table that is made, restored or imported."""
        return tuple([self.fresh_index(index) for index in indexes if index.status != "DELETING"]) if indexes else msgspec.UNSET

    def fresh_index(self, index: GlobalIndex) -> GlobalIndex:
        """The same index, with a table of its own that nobody has made yet."""
        return msgspec.structs.replace(
            unmade(index),
            table_id=TableId(self._env.rand.uuid()),
            partitions=self.initial_partitions(),
            created_at=self._env.clock.wall_us(),
        )

    async def add(self, table: TableMeta) -> TableMeta:
        """Record a table and host its replicas; a plain one is then made ACTIVE, one that is restored is returned when its replicas wait for their base.
        Raises Conflict if the name is taken; Unavailable, `unknown`: it may have been recorded, and is gone on with as soon as that is known."""
        # Whatever it was made after: two tables that share an index's table write each other's rows into it, and lose it with the first that is dropped.
        table = msgspec.structs.replace(table, global_indexes=self.fresh(table.global_indexes))
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
                self._fleet.forget_indexes(table)
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
        while any(self._fleet.leader(info.partition_id) is None for one in (table, *index_tables(table)) for info in one.partitions):
            if self.stopping or table_id not in self.metadata.tables:
                return
            await self._env.tasks.sleep(_POLL_S)
        await self.settled(table)
        stated = await self._stated(table_id)

        def active(known: TableMeta) -> TableMeta | None:
            if known.status != "CREATING" or stated is None:
                return None
            known = turned(known, stated, self._env.clock.wall_us())
            # There is nothing yet that would have to be put into its indexes.
            indexes = [
                msgspec.structs.replace(self.made(known, index), status="ACTIVE", backfilling=False) for index in known.global_indexes or ()
            ]
            known = known if not indexes else msgspec.structs.replace(known, global_indexes=tuple(indexes))
            return msgspec.structs.replace(known, status="ACTIVE", absent=self._fleet.without_log(known))

        made = await self.metadata.change(table_id, active, until=lambda: self.stopping)
        if made is not None and made.absent:
            await self._welcome(table_id)

    def made(self, table: TableMeta, index: GlobalIndex) -> GlobalIndex:
        """The index, whose partitions have leaders now; its rows are still to be put in."""
        absent = self._fleet.without_log(index_table(table, index))
        return msgspec.structs.replace(index, made=True, absent=absent, backfilling=index.status == "CREATING")

    async def settled(self, table: TableMeta) -> None:
        """Wait, for a moment, for members that run and have not made their log durable: quorum was faster."""
        give_up = self._env.clock.boot_us() + _SETTLE_US
        down = self._fleet.down()
        tables = (table, *index_tables(table))
        while any(set(self._fleet.without_log(one)) - down for one in tables) and self._env.clock.boot_us() < give_up:
            await self._env.tasks.sleep(_POLL_S)

    # ------------------------------------------------------------------ changed

    async def update(self, name: str, change: dict[str, object]) -> TableMeta:
        """See `storage.backend.Backend.update_table`."""
        table = await self._active(name)
        table = await self.metadata.put_table(msgspec.structs.replace(table, **over_splits(change, table)))
        if table.status == "UPDATING":
            self._env.tasks.spawn(self._settle_update(table.table_id), name=f"update {name}")
        return table

    async def create_index(
        self, name: str, index: GlobalIndex, attributes: tuple[tuple[str, str], ...], change: dict[str, object]
    ) -> TableMeta:
        """See `storage.backend.Backend.create_index`."""
        table = await self._active(name)
        if any(one.name == index.name for one in table.global_indexes or ()):
            raise Conflict("the table has an index of this name", table=name, index=index.name)
        indexes = (*(table.global_indexes or ()), self.fresh_index(index))
        change = {**change, "status": "UPDATING", "global_indexes": indexes, "attributes_now": attributes}
        table = await self.metadata.put_table(msgspec.structs.replace(table, **change))
        self.host(table)
        self._env.tasks.spawn(self._settle_index(table.table_id), name=f"make index {name}/{index.name}")
        return table

    async def delete_index(self, name: str, index: str) -> TableMeta:
        """See `storage.backend.Backend.delete_index`. Its rows go at once; `control.indexing.keeper` takes it out of the catalogue."""
        table = await self._active(name)
        found = tuple([msgspec.structs.replace(one, status="DELETING") if one.name == index else one for one in table.global_indexes or ()])
        if found == (table.global_indexes or ()):
            raise Missing("the table has no such index", what="index", table=name, index=index)
        table = await self.metadata.put_table(msgspec.structs.replace(table, global_indexes=found))
        self.host(table)
        return table

    async def update_indexes(self, name: str, changes: dict[str, dict[str, object]], change: dict[str, object]) -> TableMeta:
        """See `storage.backend.Backend.update_indexes`."""
        table = await self._active(name)
        known = {one.name for one in table.global_indexes or () if one.status != "DELETING"}
        if missing := sorted(changes.keys() - known):
            raise Missing("the table has no such index", what="index", table=name, index=missing[0])
        found = tuple([msgspec.structs.replace(one, **changes.get(one.name, {})) for one in table.global_indexes or ()])
        table = await self.metadata.put_table(msgspec.structs.replace(table, **{**change, "global_indexes": found}))
        if table.status == "UPDATING":
            self._env.tasks.spawn(self._settle_update(table.table_id), name=f"update {name}")
        return table

    async def _active(self, name: str) -> TableMeta:
        """The table, as it is now. Raises Missing, Conflict, Unavailable."""
        self.check_open()
        await self.metadata.newest()
        table = self.metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        if table.status != "ACTIVE":
            raise Conflict("table is not ACTIVE", table=name, status=table.status)
        return table

    async def _settle_index(self, table_id: TableId) -> None:
        """A table is UPDATING until the partitions of its new index have leaders; then its items are put in, and it is ACTIVE meanwhile."""

        def waits(table: TableMeta | None) -> list[GlobalIndex]:
            found = () if table is None else table.global_indexes or ()
            return [index for index in found if not index.made and index.status == "CREATING"]

        while missing := waits(self.metadata.tables.get(table_id)):
            if self.stopping:
                return
            if all(self._fleet.leader(info.partition_id) is not None for index in missing for info in index.partitions):
                table = self.metadata.tables[table_id]
                for index in missing:
                    await self.settled(index_table(table, index))
                break
            await self._env.tasks.sleep(_POLL_S)

        def made(known: TableMeta) -> TableMeta | None:
            names = {index.table_id for index in missing}
            if known.status != "UPDATING" or (is_turning(known) and not names):
                return None
            indexes = [self.made(known, one) if one.table_id in names else one for one in known.global_indexes or ()]
            # Whoever turns a stream on or off ends that: it would find nothing to end in a table that is ACTIVE.
            status = known.status if is_turning(known) else "ACTIVE"
            return msgspec.structs.replace(known, status=status, global_indexes=tuple(indexes))

        await self.metadata.change(table_id, made, until=lambda: self.stopping)

    async def _stated(self, table_id: TableId) -> dict[PartitionId, Lsn] | None:
        """Where its logs say what its definition wants of them, once all do, however long that takes; nothing of a table no stream of which is turned on or off. None: stopping,
        or the table is gone. A leader that could not be reached when it was told is told again. A partition may become two meanwhile: then its halves say it."""
        told_us = 0
        while not self.stopping and (table := self.metadata.tables.get(table_id)) is not None:
            if not is_turning(table):
                return {}
            stated = self._fleet.stated(table)
            if stated is not None:
                return stated
            if told_us + _TELL_AGAIN_US <= self._env.clock.boot_us():
                self._fleet.host(table)
                told_us = self._env.clock.boot_us()
            await self._env.tasks.sleep(_POLL_S)
        return None

    async def _settle_update(self, table_id: TableId) -> None:
        await self._env.tasks.sleep(_POLL_S)
        while (stated := await self._stated(table_id)) is not None:

            def active(known: TableMeta, stated: dict[PartitionId, Lsn] = stated) -> TableMeta | None:
                if known.status != "UPDATING" or not is_stated(known, stated):
                    return None
                return msgspec.structs.replace(turned(known, stated, self._env.clock.wall_us()), status="ACTIVE")

            await self.metadata.change(table_id, active, until=lambda: self.stopping)
            known = self.metadata.tables.get(table_id)
            if known is None or known.status != "UPDATING":
                return
            await self._env.tasks.sleep(_POLL_S)  # a partition has become two since its log was asked

    async def set_time_to_live(self, name: str, decide: Callable[[TableMeta], TimeToLive]) -> TableMeta:
        """See `storage.backend.Backend.set_time_to_live`."""
        return await self._decided(name, lambda table: msgspec.structs.replace(table, ttl=decide(table)))

    async def set_policy(self, name: str, decide: Callable[[TableMeta], ResourcePolicy | None]) -> TableMeta:
        """See `storage.backend.Backend.set_policy`."""

        def changed(table: TableMeta) -> TableMeta:
            policy = decide(table)
            return table if policy is None else with_policy(table, policy)

        return await self._decided(name, changed)

    async def _decided(self, name: str, changed: Callable[[TableMeta], TableMeta]) -> TableMeta:
        """changed: the table as it shall be, of how it is; called again if somebody else changed it meanwhile. Raises Missing, Conflict, and what `changed` raises."""
        self.check_open()
        for left in reversed(range(_SET_TRIES)):
            await self.metadata.newest()
            table = self.metadata.by_name(name)
            if table is None:
                raise Missing("no such table", what="table", table=name)
            wanted = changed(table)
            if wanted is table:
                return table
            try:
                return await self.metadata.put_table(wanted)
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
