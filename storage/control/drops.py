"""The end of tables. DeleteTable marks DELETING and has every partition sealed for the last time: its log takes nothing more, so a write that races it lies in
the log or is refused. Then DROPPED, with the end of each log in the catalogue: the name is free, while the replicas and their logs stay until the archive
has reached those ends (ADR 0012).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import PartitionId, Stamp, TableId
from scrubjay.storage.catalogue import FinalSeal, TableMeta, coming, index_remains
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.log.record import Seal
from scrubjay.storage.node.port import NodePort

_POLL_S = 0.5
_TRIES_S = 0.2
HEAL_WAIT_S = 1_000.0
"""How long a dropped table's copy is left to a heal under way: longer than any step of one may take (`Service`). The control part that began it may be dead."""


class Drops:
    """stopping: whether the store stops; what is under way then goes on at the next start."""

    def __init__(self, env: Env, *, fleet: Fleet, metadata: Metadata, stopping: Callable[[], bool]) -> None:
        self._env, self._fleet, self._metadata, self._stopping = env, fleet, metadata, stopping
        self._begun: set[TableId] = set()

    def begin(self, table: TableMeta) -> None:
        """A table is DELETING: drop it, or go on."""
        if table.table_id in self._begun:
            return
        self._begun.add(table.table_id)
        self._env.tasks.spawn(self._drop(table.table_id), name=f"drop {table.name}")

    def resume(self, table: TableMeta) -> None:
        """After a start: a DROPPED table whose replicas may still be there."""
        self._forget_indexes(table)
        if table.archived_at is not None:
            self._env.tasks.spawn(self._forget(table), name=f"forget {table.name}")
        else:
            self._env.tasks.spawn(self._resume_drain(table), name=f"drain {table.name}")

    async def _drop(self, table_id: TableId) -> None:
        """End every partition's log, note where, free the name; then wait for the archive. Every step may be taken again after a crash: a log ends once,
        and the catalogue says how far this has come."""
        found: dict[PartitionId, FinalSeal] = {}
        while waiting := [info for info in self._metadata.tables[table_id].partitions if info.partition_id not in found]:
            info = waiting[0]  # one that was split just before has nobody that leads it: its children come in its place, and are ended
            final = self.final(info.partition_id)
            if final is not None:
                found[info.partition_id] = final
                continue
            if self._stopping():
                return
            with suppress(Unavailable, Missing):
                await self._fleet.seal(info.partition_id, Seal.DROP)
            if self.final(info.partition_id) is None:
                await self._env.tasks.sleep(_TRIES_S)
        ended = self._metadata.tables[table_id]
        finals = [found[info.partition_id] for info in ended.partitions]
        never = coming(ended)  # the parent's log ended otherwise: no SPLIT comes any more
        dropped_at = max(self._env.clock.wall_us(), *(stamp_micros(Stamp(final.stamp)) for final in finals))
        table = await self._note(
            table_id,
            lambda known: known.status == "DROPPED",
            status="DROPPED",
            dropped_at=dropped_at,
            finals=tuple(finals),
            split=msgspec.UNSET,
        )
        for info in never:
            for node in self._fleet.members(info):
                self._fleet.forget(info.partition_id, node)
        if table is not None:
            self._forget_indexes(table)
            await self._drain(table)

    def _forget_indexes(self, table: TableMeta) -> None:
        """What is derived of a table that is gone has nobody to wait for."""
        for info in index_remains(table):
            for node in self._fleet.members(info):
                self._fleet.forget(info.partition_id, node)

    def final(self, partition: PartitionId) -> FinalSeal | None:
        """The end of a partition's log, as its leader may tell it (`ReplicaFacts.final`). None of one that was split: that is not the end of its table."""
        leader = self._fleet.leader(partition)
        return None if leader is None or leader.split else leader.final

    async def _note(self, table_id: TableId, done: Callable[[TableMeta], bool], **change: Any) -> TableMeta | None:
        """Change a table, unless somebody else has done it already; the table then. None once the store stops."""
        await self._metadata.change(
            table_id, lambda known: None if done(known) else msgspec.structs.replace(known, **change), until=self._stopping
        )
        table = self._metadata.tables.get(table_id)
        return table if table is not None and done(table) else None

    async def _resume_drain(self, table: TableMeta) -> None:
        if await self._fleet.host(table, only_known=True):
            await self._drain(table)

    async def _drain(self, table: TableMeta) -> None:
        """Keep a dropped table's replicas, and their logs, until each log is archived to its end; that is noted before the first replica goes."""
        for final in table.finals:
            while self._fleet.archived(final.partition_id) < final.lsn:
                if self._stopping():
                    return
                await self._env.tasks.sleep(_POLL_S)
        gone = await self._note(table.table_id, lambda known: known.archived_at is not None, archived_at=self._env.clock.wall_us())
        if gone is not None:
            await self._forget(gone)

    async def _forget(self, table: TableMeta) -> None:
        """Remove the replicas. One that is being healed is let finish, for a bounded time: its tree is in other hands."""
        give_up = self._env.clock.boot_us() + int(HEAL_WAIT_S * 1e6)
        for info in table.partitions:
            for node in self._fleet.members(info):
                while self._healing(node, info.partition_id) and self._env.clock.boot_us() < give_up:
                    if self._stopping():
                        return
                    await self._env.tasks.sleep(_POLL_S)
                self._fleet.forget(info.partition_id, node)

    @staticmethod
    def _healing(node: NodePort, partition: PartitionId) -> bool:
        facts = node.facts(partition)
        return facts is not None and facts.state == "healing"
