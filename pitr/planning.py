"""Planning against the archive as it is now: a target after `latest` first has every leader seal, and waits for the archive to follow. Bounded.

What a plan reads is decided by `pitr.plan`, and there by `archiver.coverage`; here it is only seen to that the archive holds enough to plan by.
"""

from __future__ import annotations

from collections.abc import Collection

from scrubjay.base.env import Env
from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.base.together import in_parallel
from scrubjay.pitr.archive import ArchiveView
from scrubjay.pitr.options import ARCHIVE_LAGS, POLL_S, TRY_AGAIN_S, RestoreOptions
from scrubjay.pitr.plan import PartitionHistory, Plan, ends_reached, plan_table, with_closed
from scrubjay.pitr.rates import rates_of
from scrubjay.storage.catalogue import TableMeta, as_of
from scrubjay.storage.log.record import Seal
from scrubjay.storage.service_port import ServicePort


class Planning:
    """Plans one restore, as often as asked. at_us: inclusive. only: the partitions that are asked about (None: all): what others lack does not matter. unread: partitions of which
    nothing is wanted: they are in the plan with nothing to read, and their leaders are not asked."""

    def __init__(
        self,
        env: Env,
        port: ServicePort,
        archive: ArchiveView,
        options: RestoreOptions,
        source: TableMeta,
        *,
        at_us: int,
        only: Collection[PartitionId] | None = None,
        unread: Collection[PartitionId] = (),
    ) -> None:
        self._env = env
        self._port = port
        self._archive = archive
        self._options = options
        self.source = as_of(source, at_us)
        """As the catalogue had it when it was last asked, with its partitions as of the moment."""
        self._at_us = at_us
        self._cut = last_stamp_at(at_us)
        self._only = only
        self._unread = unread
        self._without: list[str] = []

    def do_without(self, base: str) -> None:
        """That base has rotted: the log behind an older one, or from its beginning, gives the same rows. base: key of its manifest."""
        self._without.append(base)

    async def once(self, closed: dict[PartitionId, tuple[Stamp, Lsn]]) -> Plan:
        """Raises Missing (a hole), Unavailable (the archive does not reach the cut)."""
        self.lives()
        seen = await self._archive.look(self.source)
        asked = [one for one in seen.of(self.source.partitions) if self._only is None or one.partition in self._only]
        closed = {**closed, **ends_reached(self.source, asked)}
        histories = [self._usable(with_closed(history, closed)) for history in asked]
        rates, lanes = rates_of(self._port), self._options.lanes
        return plan_table(histories, at_us=self._at_us, cut=self._cut, rates=rates, workers=lanes, unread=self._unread)

    async def beyond(self) -> Plan:
        """A target after `latest`: by now the archive may have come so far by itself; else the leaders are asked, or the end of a dropped table awaited."""
        try:
            return await self.once({})
        except Unavailable:
            pass
        try:
            if self.lives():
                return await self.once(await self._reach())
        except (Unavailable, Missing):
            if self.lives():
                raise
        return await self._plan_dropped()

    def lives(self) -> bool:
        """Whether the source's leaders may still be asked; it may be deleted while it is restored. Takes over what the catalogue says of it now.

        Raises Unavailable if a split that lay in front of the moment has become known only since: what was begun has other partitions than the table had then."""
        before = self.source
        now = next((table for table in self._port.tables() if table.table_id == before.table_id), None)
        if now is not None:
            self.source = as_of(now, self._at_us)
        if {info.partition_id for info in self.source.partitions} != {info.partition_id for info in before.partitions}:
            raise Unavailable("a partition of the table was split at that very moment", asked=before.name, next="ask once more")
        return self.source.status not in ("DELETING", "DROPPED")

    async def _plan_dropped(self) -> Plan:
        """Raises Unavailable if the end of a dropped table's log does not come to the archive in time."""
        deadline = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        while True:
            try:
                return await self.once({})
            except (Unavailable, Missing) as error:
                if self._env.clock.boot_us() >= deadline:
                    raise Unavailable(
                        "the end of the dropped table is not in the archive",
                        error_code=ARCHIVE_LAGS,
                        reason="archive_lags",
                        **{name: value for name, value in error.fields.items() if name in ("partition", "lsn", "last")},
                    ) from error
                await self._env.tasks.sleep(TRY_AGAIN_S)

    async def _reach(self) -> dict[PartitionId, tuple[Stamp, Lsn]]:
        """Have every partition sealed behind the cut and archived. The closed timestamp of each. Raises Unavailable in time."""
        deadline = self._env.clock.boot_us() + int(self._options.archive_wait_s * 1e6)
        ids = [info.partition_id for info in self.source.partitions if self._only is None or info.partition_id in self._only]
        ids = [one for one in ids if one not in self._unread]
        found = await in_parallel(self._env.tasks, lambda one: self._reach_one(one, deadline), ids, lanes=len(ids), name="restore seal")
        return dict(zip(ids, found, strict=True))

    async def _reach_one(self, partition: PartitionId, deadline_us: int) -> tuple[Stamp, Lsn]:
        while True:
            if not self.lives():
                raise Unavailable("the table was deleted meanwhile", partition=partition)
            point = await self._port.closed_point(partition)
            if point is not None and point[0] >= self._cut:
                break
            if self._env.clock.boot_us() >= deadline_us:
                raise Unavailable("no leader has closed the target's moment in time", error_code=ARCHIVE_LAGS, partition=partition)
            await self._env.tasks.sleep(POLL_S)
        closed, last_content, last_seal = point
        if last_content > last_seal:
            seal = await self._port.seal(partition, reason=Seal.RESTORE)
            last_seal = seal.lsn
        left = max(0.0, (deadline_us - self._env.clock.boot_us()) / 1e6)
        if not await self._port.wait_archived(partition, last_seal, timeout_s=left):
            raise Unavailable(
                "the archive did not reach the target in time",
                error_code=ARCHIVE_LAGS,
                reason="archive_lags",
                partition=partition,
                lsn=last_seal,
            )
        return closed, last_content

    def _usable(self, history: PartitionHistory) -> PartitionHistory:
        return history._replace(bases=tuple(base for base in history.bases if not set(base.bases) & set(self._without)))
