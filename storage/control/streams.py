"""What the API asks of streams beside the catalogue: reading a partition's log, and the end of turning one on or off (ADR 0073)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scrubjay.base.env import Tasks
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId, Stamp
from scrubjay.storage.catalogue import PartitionInfo, StreamShard, TableMeta
from scrubjay.storage.commands.values import RangeAnswer, RangeRead
from scrubjay.storage.control.change_reader import ChangeReader
from scrubjay.storage.control.router import REFUSE_US, Router


def is_turning(table: TableMeta) -> bool:
    """A stream of it is on its way to being on or off."""
    return table.streams is not msgspec.UNSET and bool(table.streams) and table.streams[-1].status in ("ENABLING", "DISABLING")


def over_splits(change: dict[str, object], table: TableMeta) -> dict[str, object]:
    """A change of the table's definition, with what its streams show of partitions as the catalogue has it: whoever asked for the change may not have seen the table's last split."""
    streams = change.get("streams")
    if not isinstance(streams, tuple):
        return change
    known = {one.label: one.shards for one in table.streams or ()}
    return {**change, "streams": tuple([msgspec.structs.replace(one, shards=known.get(one.label, one.shards)) for one in streams])}


def is_stated(table: TableMeta, stated: Mapping[PartitionId, Lsn]) -> bool:
    """Whether `stated` has all that `turned` needs: the table may have other partitions since that was asked for."""
    return not is_turning(table) or all(info.partition_id in stated for info in table.partitions)


def turned(table: TableMeta, stated: dict[PartitionId, Lsn], now_us: int) -> TableMeta:
    """The table with its stream on, or off, as its logs say now. stated: where each of them says so (`Fleet.stated`; see `is_stated`)."""
    if not is_turning(table):
        return table
    assert table.streams
    before = table.streams[-1]
    if before.status == "ENABLING":
        shards = tuple([StreamShard(info.partition_id, int(stated[info.partition_id])) for info in table.partitions])
        after = msgspec.structs.replace(before, status="ENABLED", shards=shards)
    else:
        ended = tuple(
            [msgspec.structs.replace(one, last=int(stated[one.partition_id])) if one.last is None else one for one in before.shards]
        )
        after = msgspec.structs.replace(before, status="DISABLED", shards=ended, ended_at=before.ended_at or now_us)
    return msgspec.structs.replace(table, streams=(*table.streams[:-1], after))


class StreamLogs:
    """See `storage.backend.StreamReads`."""

    def __init__(self, tasks: Tasks, changes: ChangeReader, router: Router) -> None:
        self._tasks, self._changes, self._router = tasks, changes, router
        self.read = changes.read

    async def position(self, info: PartitionInfo) -> Lsn:
        """By a strong read of nothing: any copy has applied something, and after a restart long not all of it."""
        found = self._tasks.future()
        start = bytes.fromhex(info.lo)
        self._router.read_range(
            info.partition_id,
            RangeRead(start, start, limit=1, max_bytes=1, reverse=False, consistent=True),
            found.set_result,
            patience_us=REFUSE_US,
        )
        answer: RangeAnswer | ScrubjayError = await found
        if isinstance(answer, ScrubjayError):
            raise answer
        return Lsn(answer.lsn)

    async def since(self, table: TableMeta, info: PartitionInfo, stamp: Stamp) -> Lsn:
        if self._changes.archive is None:
            raise Unavailable("the archive cannot be read here (yet)", partition=info.partition_id)
        found = await self._changes.archive.first_since(table.table_id, info.partition_id, stamp)
        return Lsn(self._changes.archived(info) + 1) if found is None else found
