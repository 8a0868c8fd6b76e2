"""Continuous backups of a table, as the API shows and sets them: the restorable window, restores. What proves the window is the durability services' (`server.durability`)."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Missing, Unavailable
from scrubjay.base.ids import TableId
from scrubjay.storage.backend import ContinuousBackups, TableBackups, TableTransfers
from scrubjay.storage.catalogue import SYSTEM_TABLES, TableMeta
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.log.record import Seal

_HURRY_AGAIN_S = 1.0
"""Between two seals of one table for the sake of its first window."""


class DurabilityPort(Protocol):
    """What the store asks of the durability services above it."""

    def window(self, table: TableMeta) -> tuple[int, int] | None:
        """Proven (earliest, latest) in microseconds, None until proven."""
        ...

    def hurry(self) -> None:
        """Somebody waits for a first window: have the archive moved on and looked at soon. May be called often."""
        ...

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta: ...

    @property
    def named(self) -> TableBackups:
        """Backups by name."""
        ...

    @property
    def transfers(self) -> TableTransfers:
        """Exports and imports."""
        ...


class Backups:
    """durability: None until its services run. Methods: see `storage.backend.Backend`."""

    def __init__(self, env: Env, *, fleet: Fleet, metadata: Metadata) -> None:
        self._env, self._fleet, self._metadata = env, fleet, metadata
        self.durability: DurabilityPort | None = None
        self._hurried: set[TableId] = set()

    def shown(self, table: TableMeta) -> ContinuousBackups:
        window = self.durability.window(table) if self.durability is not None else None
        enabled_at = table.pitr_enabled_at
        earliest = latest = None
        if window is not None and enabled_at is not None and window[1] >= enabled_at:
            earliest, latest = max(window[0], enabled_at), window[1]
        return ContinuousBackups(enabled_at is not None, table.pitr_days, earliest, latest)

    def hurry(self, table: TableMeta) -> None:
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
                leader = self._fleet.leader(info.partition_id)
                if leader is not None and leader.content and not leader.sealed:
                    await self._fleet.seal(info.partition_id, Seal.AGE)
            await self._env.tasks.sleep(_HURRY_AGAIN_S)
        except (Unavailable, Missing):
            return  # whoever asked asks again, unless the table is dropped
        finally:
            self._hurried.discard(table.table_id)

    def named(self) -> TableBackups:
        if self.durability is None:
            raise Unavailable("the durability service does not run")
        return self.durability.named

    def transfers(self) -> TableTransfers:
        if self.durability is None:
            raise Unavailable("the durability service does not run")
        return self.durability.transfers

    async def set(self, name: str, *, enabled: bool, days: int | None) -> ContinuousBackups:
        await self._metadata.newest()
        table = self._metadata.by_name(name)
        if table is None:
            raise Missing("no such table", what="table", table=name)
        change: dict[str, Any] = {"pitr_enabled_at": None}
        if enabled:
            change["pitr_enabled_at"] = table.pitr_enabled_at or self._env.clock.wall_us()
        if days is not None:
            change["pitr_days"] = days
        return self.shown(await self._metadata.put_table(msgspec.structs.replace(table, **change)))

    async def restore(self, source: TableMeta, target: str, *, at_us: int | None, overrides: dict[str, object]) -> TableMeta:
        if self.durability is None:
            raise Unavailable("the durability service does not run")
        if self._metadata.by_name(target) is not None or target in SYSTEM_TABLES:
            raise Conflict("table already exists", table=target)
        return await self.durability.restore(source, target, at_us=at_us, overrides=overrides)
