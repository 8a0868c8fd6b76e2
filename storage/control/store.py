"""The store behind the DynamoDB API, as `storage.backend.Backend`: catalogue, life of tables (`tables`, `drops`), continuous backups (`backups`), data path
(`router`), and the planned stop. Runs beside the metadata leader (in `--dev`: in the one process); knows nodes by their ports alone (`fleet`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, ScrubjayError
from scrubjay.base.ids import PartitionId
from scrubjay.storage.backend import ContinuousBackups, TableBackups, TableSpec, TableTransfers, Transacted, TransactPart, TransactRead
from scrubjay.storage.catalogue import (
    LEDGER_TABLE,
    SYSTEM_TABLES,
    GlobalIndex,
    PartitionInfo,
    ResourcePolicy,
    TableMeta,
    TableStats,
    TimeToLive,
    index_remains,
    index_table,
    index_tables,
    placed,
)
from scrubjay.storage.cluster_version import EXPIRING, GLOBAL_INDEXES, POLICIES, STREAMS, TRANSACTIONS, policy_feature
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.control.backups import Backups
from scrubjay.storage.control.change_reader import ChangeReader
from scrubjay.storage.control.feature_gate import ClusterVersion
from scrubjay.storage.control.fleet import Fleet, leaders, unarchived
from scrubjay.storage.control.indexing.feeding import fed_rows
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.newest import Newest
from scrubjay.storage.control.placement import Site
from scrubjay.storage.control.router import REFUSE_US, Router, stopping
from scrubjay.storage.control.streams import StreamLogs
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.control.transactions.coordinator import Coordinator
from scrubjay.storage.control.transactions.decisions import TransactionLedger
from scrubjay.storage.indexes.kept_rows import FED_BYTES, ROW_EXTRA_BYTES
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node import port
from scrubjay.storage.node.port import ReplicaFacts

_POLL_S = 0.02
SETTLE_S = 2.0
"""How long a planned stop waits for writes under way to be answered before it seals."""


class Store:
    """More than 25 methods: it is all of `storage.backend.Backend` over its parts. tables: the life of tables. backups: continuous backups. changes: reads what changed from the logs. newest: makes what is known of the catalogue as new as a request. version: what the cluster may write. sites, initial_partitions: see Tables."""

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        router: Router,
        metadata: Metadata,
        sites: Callable[[], list[Site]],
        initial_partitions: int,
        pitr_default: bool,
    ) -> None:
        self._env, self._fleet, self._router, self.metadata = env, fleet, router, metadata
        self.tables = Tables(
            env, fleet=fleet, metadata=metadata, sites=sites, initial_partitions=initial_partitions, pitr_default=pitr_default
        )
        self.version = ClusterVersion(metadata, fleet.ports)
        self.backups = Backups(env, fleet=fleet, metadata=metadata)
        self.changes = ChangeReader(env, fleet, metadata)
        self.transactions = Coordinator(env, router, metadata, TransactionLedger(env, router, metadata, self.tables))
        self.streams = StreamLogs(env.tasks, self.changes, router)
        self.newest = Newest(env, metadata)

    # ------------------------------------------------------------------ catalogue

    @property
    def alone(self) -> bool:
        return self.metadata.alone

    def table(self, name: str) -> TableMeta | None:
        return None if name == LEDGER_TABLE else self.metadata.by_name(name)

    def table_names(self) -> Sequence[str]:
        names = (table.name for table in self.metadata.tables.values() if table.status != "DROPPED" and table.name != LEDGER_TABLE)
        return sorted(names, key=lambda name: name.encode())

    def streamed_tables(self) -> Sequence[TableMeta]:
        return sorted(
            (table for table in self.metadata.tables.values() if table.streams), key=lambda table: (table.name.encode(), table.table_id)
        )

    def stats(self, table: TableMeta) -> TableStats:
        rows = size = 0
        indexes = [[0, 0] for _ in table.local_indexes or ()]
        for info in table.partitions:
            leader = self._fleet.leader(info.partition_id)
            if leader is not None:
                rows += leader.rows
                size += leader.size
                for total, (more, bytes_) in zip(indexes, leader.indexes, strict=False):
                    total[0] += more
                    total[1] += bytes_
        if table.index_of:
            sources = fed_rows(self.metadata.tables[table.index_of.table_id], table)
            rows = max(0, rows - sources)
            size = max(0, size - sources * FED_BYTES - rows * ROW_EXTRA_BYTES)
        return TableStats(rows, size, tuple([(one, bytes_) for one, bytes_ in indexes]))

    async def create_table(self, spec: TableSpec) -> TableMeta:
        if spec.name in SYSTEM_TABLES:
            raise Conflict("table already exists", table=spec.name)
        if spec.stream_view:
            self.version.need(STREAMS)
        if spec.global_indexes:  # UNSET is false
            self.version.need(GLOBAL_INDEXES)
        if spec.policy is not None:
            self.version.need(policy_feature(spec.policy.text))
        return await self.tables.create(spec)

    async def update_table(self, name: str, change: dict[str, object]) -> TableMeta:
        if "streams" in change:
            self.version.need(STREAMS)
        return await self.tables.update(name, change)

    async def create_index(
        self, name: str, index: GlobalIndex, attributes: tuple[tuple[str, str], ...], change: dict[str, object]
    ) -> TableMeta:
        self.version.need(GLOBAL_INDEXES)
        return await self.tables.create_index(name, index, attributes, change)

    async def delete_index(self, name: str, index: str) -> TableMeta:
        return await self.tables.delete_index(name, index)

    async def update_indexes(self, name: str, changes: dict[str, dict[str, object]], change: dict[str, object]) -> TableMeta:
        return await self.tables.update_indexes(name, changes, change)

    def index_table(self, table: TableMeta, index: str) -> TableMeta | None:
        found = next((one for one in table.global_indexes or () if one.name == index and one.status != "DELETING"), None)
        return None if found is None else index_table(table, found)

    async def set_time_to_live(self, name: str, decide: Callable[[TableMeta], TimeToLive]) -> TableMeta:
        self.version.need(EXPIRING)
        return await self.tables.set_time_to_live(name, decide)

    async def set_policy(self, name: str, decide: Callable[[TableMeta], ResourcePolicy | None]) -> TableMeta:
        self.version.need(POLICIES)

        def decided(table: TableMeta) -> ResourcePolicy | None:
            policy = decide(table)
            if policy is not None:
                self.version.need(policy_feature(policy.text))
            return policy

        return await self.tables.set_policy(name, decided)

    async def delete_table(self, name: str) -> TableMeta:
        return await self.tables.delete(name)

    # ------------------------------------------------------------------ backups

    def continuous_backups(self, table: TableMeta) -> ContinuousBackups:
        return self.backups.shown(table)

    def hurry_window(self, table: TableMeta) -> None:
        self.backups.hurry(table)

    async def set_continuous_backups(self, name: str, *, enabled: bool, days: int | None) -> ContinuousBackups:
        self.tables.check_open()
        return await self.backups.set(name, enabled=enabled, days=days)

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        self.tables.check_open()
        return await self.backups.restore(source, target, at_us=at_us, overrides=overrides)

    def table_backups(self) -> TableBackups:
        self.tables.check_open()
        return self.backups.named()

    def table_transfers(self) -> TableTransfers:
        self.tables.check_open()
        return self.backups.transfers()

    # ------------------------------------------------------------------ data

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        if self.tables.stopping:
            done(stopping())
            return
        self._router.write(table, command, done, patience_us=REFUSE_US)

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        self._router.read(table, key, consistent=consistent, done=done, patience_us=REFUSE_US)

    def read_range(
        self,
        table: TableMeta,
        partition: PartitionInfo,
        request: RangeRead,
        done: Callable[[RangeAnswer | ScrubjayError], None],
    ) -> None:
        self._router.read_range(partition.partition_id, request, done, table=table, patience_us=REFUSE_US)

    def known(self, table: TableMeta) -> TableMeta:
        return self.metadata.known(table)

    async def transact_write(self, parts: Sequence[TransactPart], *, token: str | None, digest: bytes) -> Transacted:
        self.tables.check_open()
        self.version.need(TRANSACTIONS)
        return await self.transactions.write(parts, token=token, digest=digest)

    async def transact_read(self, keys: Sequence[tuple[TableMeta, bytes]]) -> TransactRead:
        return await self.transactions.read(keys)

    # ------------------------------------------------------------------ partitions

    def leader(self, partition: PartitionId) -> ReplicaFacts | None:
        """The replica that leads and serves, if one does."""
        return self._fleet.leader(partition)

    async def seal(self, partition: PartitionId, reason: int, tag: bytes = bytes(16)) -> port.Sealed:
        """Have the leader propose a SEAL; it, once applied there. Raises Unavailable."""
        return await self._fleet.seal(partition, reason, tag)

    def unhosted(self) -> list[PartitionId]:
        """Partitions without a leader that serves: `serve` is ready when there are none."""
        return self.tables.unhosted()

    def derived(self) -> frozenset[PartitionId]:
        """Partitions of global indexes, of those that are on their way out too: no archive has their logs."""
        found = frozenset[PartitionId]()
        for table in self.metadata.tables.values():
            if table.global_indexes or table.gone:
                found |= {info.partition_id for one in index_tables(table) for info in placed(one)}
                found |= {info.partition_id for info in index_remains(table)}
        return found

    def unarchived_bytes(self) -> int:
        """Raw bytes, over all partitions, that hold content and have no manifest yet."""
        return unarchived(self._fleet.all_facts())

    # ------------------------------------------------------------------ stopping

    def refuse(self) -> None:
        """From now on whoever asks for a change is told to ask again, elsewhere or later; what is under way goes on."""
        self.tables.stopping = self.transactions.closed = True

    async def stop(self, *, deadline_us: int) -> int:
        """Take no more writes, let those under way end, seal what is open and wait (until boot time `deadline_us`) for the archive. Returns the raw bytes
        left unarchived.

        In that order: a seal that is followed by another write leaves content behind it for a whole seal age. Coordinators that write (restores) have ended.
        """
        self.refuse()
        clock, look = self._env.clock, self._fleet.look
        until = min(deadline_us, clock.boot_us() + int(SETTLE_S * 1e6))
        while self.transactions.active and clock.boot_us() < until:  # what is prepared is ended by who prepared it, or late by another
            await self._env.tasks.sleep(_POLL_S)
        self._router.closed = True
        while any(one.waiting for one in leaders(await look())) and clock.boot_us() < until:
            await self._env.tasks.sleep(_POLL_S)
        while unarchived(facts := await look()) and clock.boot_us() < deadline_us:
            self.seal_open(facts)
            await self._env.tasks.sleep(_POLL_S)
        return unarchived(facts)

    def seal_open(self, facts: Iterable[ReplicaFacts]) -> None:
        """Have every leader of these with content behind its last seal propose one, unless it has. Leaders may move: called again until nothing is open."""
        for one in leaders(facts):
            if one.content and not one.sealing:
                self._fleet.ports[one.node].ask(port.ProposeSeal(one.partition, Seal.STOP, bytes(16)), lambda _: None)

    async def look(self) -> list[ReplicaFacts]:
        """Every replica as it is now (storage.control.fleet)."""
        return await self._fleet.look()
