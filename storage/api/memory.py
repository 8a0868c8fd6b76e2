"""The store as a plain model in memory: what the router and everything behind it must be indistinguishable from.

One sorted map a partition, one log position a partition, and every version ever written, so that a restore is a replay. Table states move with the
clock: a table is CREATING, UPDATING or DELETING for `delay_us`. Commands and answers go through their codec, unless told otherwise, so that every test of
the API is one of it too. For tests; nothing here is durable and nothing is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import msgspec
from sortedcontainers import SortedDict

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Missing, ScrubjayError, Unsafe
from scrubjay.base.ids import Member, PartitionId, TableId
from scrubjay.storage.backend import ContinuousBackups, TableSpec
from scrubjay.storage.catalogue import PartitionInfo, RestoreOrigin, TableMeta, TableStats
from scrubjay.storage.commands.codec import decode_answer, decode_command, encode_answer, encode_command
from scrubjay.storage.commands.evaluate import evaluate
from scrubjay.storage.commands.values import Decision, RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand

_HASH_SPACE = 1 << 128
_A = TypeVar("_A", WriteAnswer, ReadAnswer, RangeAnswer)


class Version(NamedTuple):
    """One write as the log has it. item: canonical bytes, None for a delete."""

    lsn: int
    timestamp_us: int
    key: bytes
    item: bytes | None


class Partition:
    """rows: storage key to canonical item. history: every write, in order."""

    def __init__(self, info: PartitionInfo) -> None:
        self.info = info
        self.rows: SortedDict[bytes, bytes] = SortedDict()
        self.history: list[Version] = []

    @property
    def lsn(self) -> int:
        return len(self.history)

    def record(self, timestamp_us: int, key: bytes, item: bytes | None) -> None:
        self.history.append(Version(self.lsn + 1, timestamp_us, key, item))
        if item is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = item


class MemoryBackend:
    """Implements `storage.backend.Backend`.

    initial_partitions: of tables created from now on. delay_us: how long a table operation shows. pitr_default: whether new tables have point-in-time
    recovery on. wire: whether commands and answers go through their codec. fail: called before every data access with (table name, storage key or None); an error it returns is the answer.
    """

    def __init__(self, env: Env, *, initial_partitions: int = 1, delay_us: int = 0, pitr_default: bool = True, wire: bool = True) -> None:
        self._env = env
        self.initial_partitions = initial_partitions
        self.delay_us = delay_us
        self.pitr_default = pitr_default
        self._wire = wire
        self.fail: Callable[[str, bytes | None], ScrubjayError | None] = lambda table, key: None
        self._tables: dict[str, TableMeta] = {}
        self._partitions: dict[str, Partition] = {}
        self._until: dict[str, int] = {}
        self._last_us = 0

    # -- time -------------------------------------------------------------------------------------------------------------------------

    def _now_us(self) -> int:
        """Strictly increasing, so that every write has an instant of its own."""
        self._last_us = max(self._last_us + 1, self._env.clock.wall_us())
        return self._last_us

    def _settle(self, name: str) -> TableMeta | None:
        """The table as of now: a finished operation no longer shows."""
        meta = self._tables.get(name)
        if meta is None or self._env.clock.boot_us() < self._until.get(name, 0):
            return meta
        if meta.status == "DELETING":
            del self._tables[name]
            self._until.pop(name, None)
            for info in meta.partitions:
                self._partitions.pop(info.partition_id, None)
            return None
        in_progress = meta.restore_of is not None and meta.restore_of.in_progress
        if meta.status in ("CREATING", "UPDATING") or in_progress:
            origin = meta.restore_of
            if origin is not None and in_progress:
                origin = msgspec.structs.replace(origin, in_progress=False)
            meta = self._tables[name] = msgspec.structs.replace(meta, status="ACTIVE", restore_of=origin)
        return meta

    def _busy(self, meta: TableMeta) -> TableMeta:
        self._tables[meta.name] = meta
        self._until[meta.name] = self._env.clock.boot_us() + self.delay_us
        return meta

    def finish(self, name: str) -> None:
        """What the table is in the middle of is over now, whatever `delay_us` was."""
        self._until.pop(name, None)

    # -- tables -----------------------------------------------------------------------------------------------------------------------

    def table(self, name: str) -> TableMeta | None:
        return self._settle(name)

    def table_names(self) -> Sequence[str]:
        return sorted((name for name in list(self._tables) if self._settle(name) is not None), key=str.encode)

    def stats(self, table: TableMeta) -> TableStats:
        rows = size = 0
        for info in table.partitions:
            partition = self._partitions.get(info.partition_id)
            if partition is not None:
                rows += len(partition.rows)
                size += sum(len(key) + len(item) for key, item in partition.rows.items())
        return TableStats(rows, size)

    def _new_partitions(self) -> tuple[PartitionInfo, ...]:
        count = self.initial_partitions
        bounds = [(index * _HASH_SPACE // count).to_bytes(16, "big").hex() for index in range(count)] + [""]
        infos = []
        for low, high in pairwise(bounds):
            info = PartitionInfo(PartitionId(self._env.rand.uuid()), low, high, (Member(1, 1),))
            self._partitions[info.partition_id] = Partition(info)
            infos.append(info)
        return tuple(infos)

    async def create_table(self, spec: TableSpec) -> TableMeta:
        if self._settle(spec.name) is not None:
            raise Conflict("table exists", table=spec.name)
        now = self._now_us()
        return self._busy(
            TableMeta(
                table_id=TableId(self._env.rand.uuid()),
                name=spec.name,
                status="CREATING",
                key=spec.key,
                attributes=spec.attributes,
                partitions=self._new_partitions(),
                created_at=now,
                billing=spec.billing,
                throughput=spec.throughput,
                deletion_protection=spec.deletion_protection,
                table_class=spec.table_class,
                tags=spec.tags,
                on_demand=spec.on_demand,
                pitr_enabled_at=now if self.pitr_default else None,
            )
        )

    def _owned(self, name: str) -> TableMeta:
        meta = self._settle(name)
        if meta is None:
            raise Missing("no such table", what=name)
        return meta

    async def delete_table(self, name: str) -> TableMeta:
        meta = self._owned(name)
        if meta.status != "ACTIVE":
            raise Conflict("table is not active", table=name, status=meta.status)
        return self._busy(msgspec.structs.replace(meta, status="DELETING"))

    async def update_table(self, name: str, change: dict[str, object]) -> TableMeta:
        meta = self._owned(name)
        if meta.status not in ("ACTIVE", "UPDATING"):
            raise Conflict("table is not active", table=name, status=meta.status)
        status = meta.status if set(change) <= {"tags"} else "UPDATING"
        changes: dict[str, Any] = {**change, "status": status, "version": meta.version + 1}
        updated: TableMeta = msgspec.structs.replace(meta, **changes)
        if status == meta.status:
            self._tables[name] = updated
            return updated
        return self._busy(updated)

    def forget_rows(self, table: TableMeta) -> None:
        """Empty the table and its history, as if it were new: for tests that use one again."""
        for info in table.partitions:
            self._partitions[info.partition_id] = Partition(info)

    # -- point-in-time recovery -------------------------------------------------------------------------------------------------------

    async def set_continuous_backups(self, name: str, *, enabled: bool, days: int | None) -> ContinuousBackups:
        meta = self._owned(name)
        enabled_at = None if not enabled else meta.pitr_enabled_at or self._now_us()
        meta = self._tables[name] = msgspec.structs.replace(meta, pitr_enabled_at=enabled_at, pitr_days=days or meta.pitr_days)
        return self.continuous_backups(meta)

    def continuous_backups(self, table: TableMeta) -> ContinuousBackups:
        if table.pitr_enabled_at is None:
            return ContinuousBackups(False, table.pitr_days, None, None)
        return ContinuousBackups(True, table.pitr_days, max(table.created_at, table.pitr_enabled_at), self._env.clock.wall_us())

    def hurry_window(self, table: TableMeta) -> None:
        """The window is there at once."""

    async def restore_table(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        if self._settle(target) is not None:
            raise Conflict("table exists", table=target)
        backups = self.continuous_backups(source)
        at = self._now_us() if at_us is None else at_us
        if backups.earliest_us is None or at < backups.earliest_us:
            raise Unsafe("outside the window", earliest=backups.earliest_us, latest=backups.latest_us)
        changes: dict[str, Any] = {
            "table_id": TableId(self._env.rand.uuid()),
            "name": target,
            "status": "ACTIVE",
            "partitions": self._new_partitions(),
            "created_at": self._now_us(),
            "tags": (),
            "deletion_protection": False,
            "pitr_enabled_at": self._now_us() if self.pitr_default else None,
            "restore_of": RestoreOrigin(source.table_id, source.name, at, True),
            "version": 1,
            **overrides,
        }
        meta: TableMeta = msgspec.structs.replace(source, **changes)
        for info in source.partitions:
            for version in self._partitions[info.partition_id].history:
                if version.timestamp_us <= at:
                    self._partition(meta, version.key).record(self._now_us(), version.key, version.item)
        return self._busy(meta)

    # -- data -------------------------------------------------------------------------------------------------------------------------

    def _partition(self, table: TableMeta, key: bytes) -> Partition:
        prefix = key[:16].hex()
        for info in table.partitions:
            if info.lo <= prefix and (not info.hi or prefix < info.hi):
                return self._partitions[info.partition_id]
        raise Missing("no partition holds the key", what=table.name)

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None:
        failure = self.fail(table.name, command.key)
        if failure is not None:
            done(failure)
            return
        partition = self._partition(table, command.key)
        sent = decode_command(encode_command(command)) if self._wire else command
        outcome = evaluate(sent, partition.rows.get(sent.key))
        timestamp = None
        if outcome.decision in (Decision.PUT, Decision.DELETE):
            timestamp = self._now_us()
            partition.record(timestamp, sent.key, outcome.new)
        done(self._said(WriteAnswer(outcome, partition.info.partition_id, partition.lsn, timestamp)))

    def _said(self, answer: _A) -> _A:
        """The answer as it is behind a wire."""
        if not self._wire:
            return answer
        said = decode_answer(encode_answer(answer))
        assert isinstance(said, type(answer))
        return said

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        failure = self.fail(table.name, key)
        if failure is not None:
            done(failure)
            return
        partition = self._partition(table, key)
        done(self._said(ReadAnswer(partition.rows.get(key), partition.info.partition_id, partition.lsn)))

    def read_range(
        self,
        table: TableMeta,
        partition: PartitionInfo,
        request: RangeRead,
        done: Callable[[RangeAnswer | ScrubjayError], None],
    ) -> None:
        failure = self.fail(table.name, None)
        if failure is not None:
            done(failure)
            return
        held = self._partitions[partition.partition_id]
        keys = held.rows.irange(request.start, request.end, inclusive=(True, False), reverse=request.reverse)
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        more = False
        for key in keys:
            if len(rows) >= request.limit or size >= request.max_bytes:
                more = True
                break
            rows.append((key, held.rows[key]))
            size += len(held.rows[key])
        done(self._said(RangeAnswer(rows, more, partition.partition_id, held.lsn)))
