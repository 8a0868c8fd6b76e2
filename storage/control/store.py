"""The store behind the DynamoDB API: catalogue, table life cycle and data path, as `storage.backend.Backend`.

Runs beside the metadata leader (in `--dev`: in the one process). Table life cycle: a table is written to the metadata group as CREATING, its replicas
are hosted, and it becomes ACTIVE once every partition has a leader that serves. DeleteTable marks DELETING and has every partition sealed for the last
time: its log takes nothing more, so a write that races it lies in the log or is refused. Then DROPPED, with the end of each log in the catalogue: the name
is free, while the replicas and their logs stay until the archive has reached those ends (ADR 0012).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Exhausted, Missing, ScrubjayError, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Member, NodeName, PartitionId, Stamp, TableId
from scrubjay.base.together import settle
from scrubjay.storage.backend import ContinuousBackups, TableSpec
from scrubjay.storage.catalogue import FinalSeal, PartitionInfo, TableMeta, TableStats
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import Router, stopping
from scrubjay.storage.log.record import Record, Seal
from scrubjay.storage.node import Node
from scrubjay.storage.replica import BASE, HEALING, OK, Replica

_POLL_S = 0.02
_DRAIN_POLL_S = 0.5
HEAL_WAIT_S = 1_000.0
"""How long a dropped table's copy is left to a heal under way: longer than any step of one may take (`Service`). The control part that began it may be dead."""
_SEAL_TRIES_S = 0.2
_HURRY_AGAIN_S = 1.0
"""Between two seals of one table for the sake of its first window."""
_SETTLE_US = 1_000_000
SETTLE_S = 2.0
"""How long a planned stop waits for writes under way to be answered before it seals."""
SEAL_WAIT_S = 10.0
"""How long a seal may take to be chosen and applied (a full log, no quorum)."""


class Durability(Protocol):
    """What the store asks of the durability services above it."""

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        """Proven (earliest, latest) in microseconds, None until proven."""
        ...

    def hurry(self) -> None:
        """Somebody waits for a first window: have the archive moved on and looked at soon. May be called often."""
        ...

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta: ...


class Store:
    """members: the storage nodes that every new partition is placed on (node number, incarnation). initial_partitions: for tables created from now on."""

    def __init__(
        self,
        env: Env,
        *,
        nodes: Mapping[NodeName, Node],
        router: Router,
        metadata: Metadata,
        members: tuple[Member, ...],
        initial_partitions: int,
        pitr_default: bool,
    ) -> None:
        self._env, self._nodes, self._router, self.metadata = env, dict(nodes), router, metadata
        self._members = members
        self._initial_partitions = initial_partitions
        self._pitr_default = pitr_default
        self.durability: Durability | None = None
        self._names_taken: set[str] = set()
        self._hurried: set[TableId] = set()
        self._stopping = False

    # ------------------------------------------------------------------ start

    async def start(self, waits: Callable[[str], object] = lambda why: None) -> None:
        """Host every table of the catalogue and go on with what a stop interrupted. The metadata group must be hosted already.

        A start never gives up: as long as nobody leads the metadata group it asks again, and says why through `waits`.

        Raises Exhausted if all that keeps that group from a leader is what this machine has too little of: waiting brings none of it.
        """
        early = self._env.tasks.spawn(self._host_early(), name="host what was known")
        while True:
            try:
                await self.metadata.load()
                break
            except Unavailable as error:
                self._refuse_if_exhausted()
                waits(f"{self.metadata.system.name}: {error}")
        early.cancel()
        for table_id in sorted(self.metadata.tables):
            table = self.metadata.tables[table_id]
            if table.status == "DROPPED":
                self._resume_drain(table)
                continue
            self.host(table)
            if table.status == "CREATING" and table.restore_of is None:
                self._env.tasks.spawn(self._activate(table.table_id), name=f"activate {table.name}")
            elif table.status == "DELETING":
                self._env.tasks.spawn(self._drop(table.table_id), name=f"drop {table.name}")

    def _refuse_if_exhausted(self) -> None:
        for info in self.metadata.system.partitions:
            members = self._members_of(info)
            lacks = [lack for node in members if isinstance(lack := node.lack(info.partition_id), Exhausted)]
            if 2 * len(lacks) > len(members):
                raise lacks[0]

    async def _host_early(self) -> None:
        """Open the trees of the tables that a replica of the metadata group knows by itself, while that group still elects its leader.

        It may be behind: only what a node's own log knows is hosted, and `start` puts right what has changed since.
        """
        try:
            known = await self.metadata.glimpse()
        except ScrubjayError:
            return
        for table in known:
            if table.status == "ACTIVE" and (table.restore_of is None or not table.restore_of.in_progress):
                for info in table.partitions:
                    for node in self._members_of(info):
                        if node.known(info.partition_id) and info.partition_id not in node.replicas:
                            node.host(table, info)

    def host(self, table: TableMeta) -> None:
        """Run the replicas of a table on their nodes."""
        awaits = table.restore_of is not None and table.restore_of.in_progress
        for info in table.partitions:
            for node in self._members_of(info):
                node.host(table, info, awaits_base=awaits)
        if table.absent:
            self._env.tasks.spawn(self._welcome(table.table_id), name=f"late members of {table.name}")

    def without_log(self, table: TableMeta) -> tuple[int, ...]:
        """Numbers of members that hold no durable log of some partition of the table (yet): nobody can have counted on them there."""
        missing: set[int] = set()
        for info in table.partitions:
            for node in self._members_of(info):
                replica = node.replicas.get(info.partition_id)
                if replica is None or not replica.logged:
                    missing.add(node.number)
        return tuple(sorted(missing))

    async def _settled(self, table: TableMeta) -> None:
        """Wait, for a moment, for members that run and have not made their log durable: quorum was faster."""
        give_up = self._env.clock.boot_us() + _SETTLE_US
        down = {node.number for node in self._nodes.values() if node.failed is not None}
        while set(self.without_log(table)) - down and self._env.clock.boot_us() < give_up:
            await self._env.tasks.sleep(_POLL_S)

    async def _welcome(self, table_id: TableId) -> None:
        """Members that were down when the table was made: as soon as their logs are durable, the catalogue never lets them be made again."""
        while not self._stopping:
            table = self.metadata.tables.get(table_id)
            if table is None or not table.absent or table.status == "DROPPED":
                return
            left = tuple(number for number in table.absent if number in self.without_log(table))
            if left != table.absent:
                try:
                    await self.metadata.put_table(msgspec.structs.replace(table, absent=left))
                except (Conflict, Unavailable):
                    continue
            await self._env.tasks.sleep(_DRAIN_POLL_S)

    def _members_of(self, info: PartitionInfo) -> list[Node]:
        numbers = {member[0] for member in info.members}
        return [node for node in self._nodes.values() if node.number in numbers]

    def unhosted(self) -> list[PartitionId]:
        """Partitions without a leader that serves: `serve` is ready when there are none."""
        return [
            info.partition_id
            for table in (self.metadata.system, *self.metadata.tables.values())
            if table.status not in ("DROPPED", "DELETING") and not (table.restore_of is not None and table.restore_of.in_progress)
            for info in table.partitions
            if self.leader(info.partition_id) is None
        ]

    def leader(self, partition: PartitionId) -> Replica | None:
        """The replica that leads and serves, if one does."""
        for node in self._nodes.values():
            replica = node.replicas.get(partition)
            if replica is not None and node.failed is None and replica.serves(consistent=True) is None:
                return replica
        return None

    # ------------------------------------------------------------------ catalogue

    def table(self, name: str) -> TableMeta | None:
        return self.metadata.by_name(name)

    def table_names(self) -> Sequence[str]:
        return sorted((table.name for table in self.metadata.tables.values() if table.status != "DROPPED"), key=lambda name: name.encode())

    def stats(self, table: TableMeta) -> TableStats:
        rows = size = 0
        for info in table.partitions:
            replica = self.leader(info.partition_id)
            if replica is not None:
                rows += replica.total().rows
                size += replica.bytes
        return TableStats(rows, size)

    # ------------------------------------------------------------------ life cycle

    def new_partitions(self, count: int) -> tuple[PartitionInfo, ...]:
        """`count` partitions that split the hash space evenly."""
        edges = [index * (1 << 128) // count for index in range(count)] + [0]
        texts = [f"{edge:032x}" for edge in edges]
        return tuple(
            PartitionInfo(PartitionId(self._env.rand.uuid()), texts[index], texts[index + 1] if index + 1 < count else "", self._members)
            for index in range(count)
        )

    async def create_table(self, spec: TableSpec) -> TableMeta:
        self._check_open()
        if self.metadata.by_name(spec.name) is not None or spec.name in self._names_taken:
            raise Conflict("table already exists", table=spec.name)
        now = self._env.clock.wall_us()
        table = TableMeta(
            table_id=TableId(self._env.rand.uuid()),
            name=spec.name,
            status="CREATING",
            key=spec.key,
            attributes=spec.attributes,
            partitions=self.new_partitions(self._initial_partitions),
            created_at=now,
            billing=spec.billing,
            billing_changed_at=now if spec.billing == "PAY_PER_REQUEST" else None,
            throughput=spec.throughput,
            deletion_protection=spec.deletion_protection,
            table_class=spec.table_class,
            tags=spec.tags,
            on_demand=spec.on_demand,
            pitr_enabled_at=now if self._pitr_default else None,
        )
        return await self.add_table(table)

    async def add_table(self, table: TableMeta) -> TableMeta:
        """Record a table and host its replicas; a plain one is then made ACTIVE. Raises Conflict if the name is taken."""
        if self.metadata.by_name(table.name) is not None or table.name in self._names_taken:
            raise Conflict("table already exists", table=table.name)
        self._names_taken.add(table.name)
        try:
            table = await self.metadata.put_table(table)
        finally:
            self._names_taken.discard(table.name)
        self.host(table)
        if table.restore_of is None:
            self._env.tasks.spawn(self._activate(table.table_id), name=f"activate {table.name}")
        return table

    async def _activate(self, table_id: TableId) -> None:
        table = self.metadata.tables[table_id]
        while any(self.leader(info.partition_id) is None for info in table.partitions):
            if self._stopping:
                return
            await self._env.tasks.sleep(_POLL_S)
        await self._settled(table)
        table = self.metadata.tables[table_id]
        if table.status == "CREATING":
            table = await self.metadata.put_table(msgspec.structs.replace(table, status="ACTIVE", absent=self.without_log(table)))
            if table.absent:
                await self._welcome(table_id)

    async def update_table(self, name: str, change: dict[str, object]) -> TableMeta:
        self._check_open()
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
        table = self.metadata.tables[table_id]
        if table.status == "UPDATING":
            await self.metadata.put_table(msgspec.structs.replace(table, status="ACTIVE"))

    async def delete_table(self, name: str) -> TableMeta:
        self._check_open()
        table = self.metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        if table.status != "ACTIVE":
            raise Conflict("table is being created, updated or deleted", table=name, status=table.status)
        table = await self.metadata.put_table(msgspec.structs.replace(table, status="DELETING"))
        self._env.tasks.spawn(self._drop(table.table_id), name=f"drop {name}")
        return table

    async def _drop(self, table_id: TableId) -> None:
        """End every partition's log, note where, free the name; then wait for the archive. Every step may be taken again after a crash: a log ends once,
        and the catalogue says how far this has come."""
        finals: list[FinalSeal] = []
        for info in self.metadata.tables[table_id].partitions:
            while (final := self._final(info.partition_id)) is None:
                if self._stopping:
                    return
                with suppress(Unavailable, Missing):
                    await self.seal(info.partition_id, Seal.DROP)
                if self._final(info.partition_id) is None:
                    await self._env.tasks.sleep(_SEAL_TRIES_S)
            finals.append(final)
        dropped_at = max(self._env.clock.wall_us(), *(stamp_micros(Stamp(final.stamp)) for final in finals))
        table = await self._put_steadily(table_id, status="DROPPED", dropped_at=dropped_at, finals=tuple(finals))
        if table is not None:
            await self._drain(table)

    def _final(self, partition: PartitionId) -> FinalSeal | None:
        """The end of a partition's log once two members have stated the same of it, or it is archived (which takes as much)."""
        replica = self.leader(partition)
        facts = replica.segments.facts if replica is not None else None
        if replica is None or facts is None or not facts.ended:
            return None
        own = next((own for own in facts.sealed if own.statement.last == facts.ended), None)
        if facts.archived < facts.ended and (own is None or len(replica.segments.agreed(own)[0]) < 2):
            return None
        total = replica.total()
        stamp = own.last_stamp if own is not None else facts.ended_closed
        return FinalSeal(partition, facts.ended, stamp, facts.chain.hex(), total.hex, total.rows)

    async def _put_steadily(self, table_id: TableId, **change: Any) -> TableMeta | None:
        """Change a table of our own; tried again while the metadata group has no leader. None once the store stops."""
        while not self._stopping:
            try:
                return await self.metadata.put_table(msgspec.structs.replace(self.metadata.tables[table_id], **change))
            except (Unavailable, Conflict):
                await self._env.tasks.sleep(_SEAL_TRIES_S)
        return None

    def _resume_drain(self, table: TableMeta) -> None:
        if table.archived_at is not None:
            self._env.tasks.spawn(self._forget(table), name=f"forget {table.name}")
        elif any(node.known(info.partition_id) for info in table.partitions for node in self._members_of(info)):
            self.host(table)
            self._env.tasks.spawn(self._drain(table), name=f"drain {table.name}")

    async def _drain(self, table: TableMeta) -> None:
        """Keep a dropped table's replicas, and their logs, until each log is archived to its end; that is noted before the first replica goes."""
        for final in table.finals:
            while self._archived(final.partition_id) < final.lsn:
                if self._stopping:
                    return
                await self._env.tasks.sleep(_DRAIN_POLL_S)
        gone = await self._put_steadily(table.table_id, archived_at=self._env.clock.wall_us())
        if gone is not None:
            await self._forget(gone)

    def _archived(self, partition: PartitionId) -> int:
        return max(
            (node.replicas[partition].segments.facts.archived for node in self._nodes.values() if partition in node.replicas), default=0
        )

    async def _forget(self, table: TableMeta) -> None:
        """Remove the replicas. One that is being healed is let finish, for a bounded time: its tree is in other hands."""
        give_up = self._env.clock.boot_us() + int(HEAL_WAIT_S * 1e6)
        for info in table.partitions:
            for node in self._members_of(info):
                while (
                    (replica := node.replicas.get(info.partition_id)) is not None
                    and replica.state == HEALING
                    and self._env.clock.boot_us() < give_up
                ):
                    if self._stopping:
                        return
                    await self._env.tasks.sleep(_DRAIN_POLL_S)
                if node.known(info.partition_id):
                    node.forget(info.partition_id)

    async def seal(self, partition: PartitionId, reason: int, tag: bytes = bytes(16)) -> Record:
        """Have the leader propose a SEAL; its record, once applied there. Raises Unavailable."""
        replica = self.leader(partition)
        if replica is None:
            raise Unavailable("no leader serves this partition", partition=partition)
        future = self._env.tasks.future()

        done = partial(settle, future)
        timer = self._env.tasks.call_later(SEAL_WAIT_S, lambda: done(Unavailable("the seal was not applied in time", partition=partition)))
        try:
            replica.seal(reason, tag, done)
            record: Record = await future
        finally:
            timer.cancel()
        return record

    async def stop(self, *, deadline_us: int) -> int:
        """Take no more writes, let those under way end, seal what is open and wait (until boot time `deadline_us`) for the archive. Returns the raw bytes
        left unarchived.

        In that order: a seal that is followed by another write leaves content behind it for a whole seal age. Coordinators that write (restores) have ended.
        """
        self.refuse()
        self._router.closed = True
        until = min(deadline_us, self._env.clock.boot_us() + int(SETTLE_S * 1e6))
        while (
            any(replica.term is not None and replica.term.pending.waiting for replica in self._leaders())
            and self._env.clock.boot_us() < until
        ):
            await self._env.tasks.sleep(_POLL_S)
        while self.unarchived_bytes() and self._env.clock.boot_us() < deadline_us:
            self._seal_what_is_open()
            await self._env.tasks.sleep(_POLL_S)
        return self.unarchived_bytes()

    def _check_open(self) -> None:
        if self._stopping:
            raise stopping()

    def refuse(self) -> None:
        """From now on whoever asks for a change is told to ask again, elsewhere or later; what is under way goes on."""
        self._stopping = True

    def _seal_what_is_open(self) -> None:
        """Have every leader with content behind its last seal propose one, unless it has. Leaders may move: called again until nothing is open."""
        for replica in self._leaders():
            if replica.segments.facts.content and replica.term is not None and replica.term.seal_at is None:
                replica.seal(Seal.STOP, bytes(16), lambda _: None)

    def closed_to_the_end(self) -> bool:
        """Every leader's closed timestamp, as it may be published now, covers its last write."""
        points = [(replica.closed_point(), replica.segments.facts.last_content) for replica in self._leaders()]
        return all(point is not None and point[1] >= last for point, last in points)

    def _leaders(self) -> list[Replica]:
        return [
            replica
            for node in self._nodes.values()
            for _, replica in sorted(node.replicas.items())
            if replica.term is not None and replica.group is not None
        ]

    def unarchived_bytes(self) -> int:
        """Raw bytes, over all partitions, that hold content and have no manifest yet: as whoever leads sees it, else as the furthest replica does, to which
        what is chosen above its applied LSN counts too."""
        furthest: dict[PartitionId, Replica] = {}
        for node in self._nodes.values():
            for partition, replica in node.replicas.items():
                known = furthest.get(partition)
                if replica.state != BASE and (known is None or _further(replica) > _further(known)):
                    furthest[partition] = replica
        return sum(_pending(replica) for replica in furthest.values())

    # ------------------------------------------------------------------ continuous backups

    def continuous_backups(self, table: TableMeta) -> ContinuousBackups:
        window = self.durability.window(table) if self.durability is not None else None
        enabled_at = table.pitr_enabled_at
        earliest = latest = None
        if window is not None and enabled_at is not None and window[1] >= enabled_at:
            earliest, latest = max(window[0], enabled_at), window[1]
        return ContinuousBackups(enabled_at is not None, table.pitr_days, earliest, latest)

    def hurry_window(self, table: TableMeta) -> None:
        if self.durability is None:
            return
        self.durability.hurry()
        if table.table_id not in self._hurried:
            self._hurried.add(table.table_id)
            self._env.tasks.spawn(self._seal_open(table), name=f"first window of {table.name}")

    async def _seal_open(self, table: TableMeta) -> None:
        """Seal what a new table's writes left open: until it is archived it keeps the first window shut, and its age would take `seal_age`."""
        try:
            for info in table.partitions:
                replica = self.leader(info.partition_id)
                if replica is not None and replica.segments.facts.content and not replica.segments.facts.sealed:
                    await self.seal(info.partition_id, Seal.AGE)
            await self._env.tasks.sleep(_HURRY_AGAIN_S)
        except Unavailable:
            return  # whoever asked asks again
        finally:
            self._hurried.discard(table.table_id)

    async def set_continuous_backups(self, name: str, *, enabled: bool, days: int | None) -> ContinuousBackups:
        self._check_open()
        table = self.metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        change: dict[str, Any] = {"pitr_enabled_at": None}
        if enabled:
            change["pitr_enabled_at"] = table.pitr_enabled_at or self._env.clock.wall_us()
        if days is not None:
            change["pitr_days"] = days
        return self.continuous_backups(await self.metadata.put_table(msgspec.structs.replace(table, **change)))

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        self._check_open()
        if self.durability is None:
            raise Unavailable("the durability service does not run")
        if self.metadata.by_name(target) is not None:
            raise Conflict("table already exists", table=target)
        return await self.durability.restore(source, target, at_us=at_us, overrides=overrides)

    # ------------------------------------------------------------------ data

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        if self._stopping:
            done(stopping())
            return
        self._router.write(table, command, done)

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        self._router.read(table, key, consistent=consistent, done=done)

    def read_range(
        self,
        table: TableMeta,
        partition: PartitionInfo,
        request: RangeRead,
        done: Callable[[RangeAnswer | ScrubjayError], None],
    ) -> None:
        del table
        self._router.read_range(partition.partition_id, request, done)


def _further(replica: Replica) -> tuple[bool, bool, int]:
    """Leading, then serving, then applied furthest."""
    return replica.term is not None, replica.state == OK, replica.applied


def _pending(replica: Replica) -> int:
    facts = replica.segments.facts
    behind = replica.chosen > replica.applied and replica.term is None
    return sum(own.raw_size for own in facts.sealed) + (facts.size if facts.content else 0) + int(behind)
