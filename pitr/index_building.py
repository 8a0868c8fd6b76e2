"""How long the global indexes of a restored table take to be built, once it is published: predicted beside the restore, and learnt from every table that has them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import ScrubjayError
from scrubjay.pitr.job import RestoreJob, note
from scrubjay.pitr.plan import Plan
from scrubjay.pitr.rates import RATES_KEY, learn_indexes, predict_indexes, rates_of
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.service_port import ServicePort

WATCH_S_MAX = 3600.0
"""A table whose indexes are not there by then teaches nothing of how fast they are built."""
_LOOK_S = 0.1


class IndexBuilding:
    """items: of a table as it is now, 0: nobody knows."""

    def __init__(self, env: Env, port: ServicePort, *, items: Callable[[TableMeta], int]) -> None:
        self._env, self._port, self._items = env, port, items
        self._watching: list[Task[None]] = []

    def predicted(self, source: TableMeta, target: TableMeta, plan: Plan) -> float | None:
        """Seconds from when it is published until all its indexes are read; None: it has none. Of a source that is gone its bases say how many items there were."""
        indexes = len(target.global_indexes or ())
        if not indexes:
            return None
        items = self._items(source) or sum(0 if part.base is None else part.base.rows for part in plan.partitions)
        return predict_indexes(items, indexes=indexes, rates=plan.rates)

    def watch(self, job: RestoreJob) -> None:
        """A table was published now: learn how long its indexes take, if it has any."""
        self._watching = [task for task in self._watching if not task.done()]
        self._watching.append(self._env.tasks.spawn(self._learn(job), name=f"indexes of {job.target}"))

    def stop(self) -> None:
        for task in self._watching:
            task.cancel()
        self._watching.clear()

    async def _learn(self, job: RestoreJob) -> None:
        """Wait until they are read, and note how long that took. A nicety: if that cannot be noted, the old figures stay."""
        indexes, proven = len(job.target_meta.global_indexes or ()), job.proven()
        began_us = self._env.clock.boot_us()
        if not indexes or proven is None:
            return
        while not self._built(job.target_id):
            if self._env.clock.boot_us() - began_us > WATCH_S_MAX * 1e6:
                return
            await self._env.tasks.sleep(_LOOK_S)
        if self._found(job.target_id) is None:
            return
        seconds = (self._env.clock.boot_us() - began_us) / 1e6
        rates = learn_indexes(rates_of(self._port), items=proven.rows, indexes=indexes, seconds=seconds)
        with suppress(ScrubjayError):
            await note(self._port, RATES_KEY, dict(rates._asdict()))

    def _built(self, table_id: str) -> bool:
        """Or there is nothing to wait for any more: the table was dropped, or an index of it removed."""
        table = self._found(table_id)
        return table is None or all(index.status != "CREATING" and not index.backfilling for index in table.global_indexes or ())

    def _found(self, table_id: str) -> TableMeta | None:
        found = next((table for table in self._port.tables() if table.table_id == table_id), None)
        return None if found is None or found.status in ("DELETING", "DROPPED") else found
