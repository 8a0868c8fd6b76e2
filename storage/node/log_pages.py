"""What a copy's log holds, page by page, as far as it is applied: all of that is chosen, so no page ever shows what could be taken back."""

from __future__ import annotations

from scrubjay.base.errors import Missing, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.node.errand_messages import LogRead, ReadLog
from scrubjay.storage.node.home import Home

PAGE_BYTES_MAX = 256 << 10
"""Of one page, but for its last record: it is read on the node's own loop."""


class LogPages:
    """Of one node."""

    def __init__(self, node: Home) -> None:
        self._node = node

    def read(self, request: ReadLog) -> LogRead:
        """See `errand_messages.ReadLog`. Nothing is read where nothing new is."""
        replica = self._node.members.get(request.partition)
        if replica is None or replica.stopped or replica.group is None:
            raise Unavailable("no copy of this partition runs here", partition=request.partition, node=self._node.name)
        first, applied = Lsn(max(request.first, 1)), replica.applied
        if first > applied:
            return LogRead((), applied, replica.stamp)
        if first < replica.group.log.first:
            raise Missing("the log begins behind that", what="record", lsn=first, first=replica.group.log.first)
        bytes_max = min(max(request.bytes_max, 1), PAGE_BYTES_MAX)
        records = self._node.wal.read(request.partition, first, Lsn(applied + 1), max_bytes=bytes_max)
        if not records or records[0].lsn != first:
            raise Missing("hole in the log", what="record", lsn=first)
        return LogRead(tuple([record.data for record in records]), applied, replica.stamp)
