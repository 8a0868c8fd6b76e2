"""Requests that met a partition that was split, while the catalogue does not name its children yet (ADR 0078): they go on as soon as it does.

Of several processes each asks the metadata group for that one table, again and again while somebody waits; one that is alone hears of it when it writes it. The metadata group's load goes by
how many processes wait, not by how many requests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from scrubjay.base.env import Env, Timer
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import TableId
from scrubjay.storage.catalogue import TableMeta

ASK_S = 0.02
"""Between two questions for a table's newest map."""


class KnownTables(Protocol):
    """What a router knows of the tables it is given requests for (`storage.control.metadata`)."""

    alone: bool

    def known(self, table: TableMeta) -> TableMeta:
        """The same table, or index's table, as it is known now; as it is, if it is not known any more."""
        ...

    def gone(self, table: TableMeta) -> bool:
        """Whether the table, or the one that the index is of, is known to be no more."""
        ...

    async def fetch_table(self, table_id: TableId) -> None:
        """Read one table's item, strongly. Raises ScrubjayError."""
        ...


class _Waiting:
    """One request that waits. timer: ends its wait."""

    __slots__ = ("go_on", "timer")

    def __init__(self, go_on: Callable[[], object]) -> None:
        self.go_on = go_on
        self.timer: Timer | None = None


class MapWaits:
    """catalogue: None: whoever waits waits for nothing but its time."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.catalogue: KnownTables | None = None
        self._waiting: dict[TableId, dict[_Waiting, None]] = {}
        self._asked: set[TableId] = set()

    def known(self, table: TableMeta) -> TableMeta:
        """The table as it is known now."""
        return table if self.catalogue is None else self.catalogue.known(table)

    def gone(self, table: TableMeta) -> bool:
        """Whether it is known that nobody will ever answer for this table."""
        return self.catalogue is not None and self.catalogue.gone(table)

    def add(self, table: TableMeta, until_us: int, go_on: Callable[[], object]) -> None:
        """go_on: called once, when the table has changed or at `until_us` (boot time), whichever comes first."""
        table_id = _owner(table)
        # A clock of its own: the question that is under way may have no answer for longer than this one may wait.
        left_us = max(0, until_us - self._env.clock.boot_us())
        waiting = _Waiting(go_on)
        waiting.timer = self._env.tasks.call_later(left_us / 1e6, partial(self._late, table_id, waiting))
        self._waiting.setdefault(table_id, {})[waiting] = None
        if table_id not in self._asked:
            self._asked.add(table_id)
            self._env.tasks.spawn(self._ask(table_id), name="map of a table that is split")

    def heard(self, table: TableMeta) -> None:
        """A table was written, or read anew."""
        if table.table_id in self._waiting:
            # not from within: whoever changed the catalogue is not done with it
            self._env.tasks.call_later(0.0, lambda: self._wake(table.table_id))

    def _wake(self, table_id: TableId) -> None:
        for waiting in self._waiting.pop(table_id, ()):
            if waiting.timer is not None:
                waiting.timer.cancel()
            waiting.go_on()

    def _late(self, table_id: TableId, waiting: _Waiting) -> None:
        others = self._waiting[table_id]
        del others[waiting]
        if not others:
            del self._waiting[table_id]
        waiting.go_on()

    async def _ask(self, table_id: TableId) -> None:
        try:
            while table_id in self._waiting:
                if self.catalogue is not None and not self.catalogue.alone:
                    with suppress(ScrubjayError):  # whoever waits has a time of its own
                        await self.catalogue.fetch_table(table_id)
                await self._env.tasks.sleep(ASK_S)
        finally:
            self._asked.discard(table_id)


def _owner(table: TableMeta) -> TableId:
    """Whose item in the catalogue says where the partitions are."""
    return table.index_of.table_id if table.index_of else table.table_id
