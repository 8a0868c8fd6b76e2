"""Reading records back from the WAL's files, checked, with a cache; and what is done about those that fail their check.

A record that fails is no longer shown by its replica's extents: from then on it is *damaged* (a hole in the log that `ExtentMap.missing` names), until a
peer's copy is placed there. So damage met while the node runs is known like damage that recovery found. It is told, once, through `told`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from scrubjay.base.errors import Corrupt, Missing, ScrubjayError
from scrubjay.base.ids import Lsn, PartitionId
from scrubjay.storage.log.record import Record, decode_all
from scrubjay.storage.wal.disk_runs import DiskRun
from scrubjay.storage.wal.salvage import salvage
from scrubjay.storage.wal.scan import read_tolerant
from scrubjay.storage.wal.state import Body, ExtentMap, LogState

CACHE_BYTES_MAX = 16 << 20
"""What the decoded extents kept for reads may cost in memory (`cost`)."""
RECORD_COST = 600
"""Bytes a decoded record and its share of the cache take beside its data: most of the memory where records are small."""


def cost(body: Body) -> int:
    """Bytes of memory that a cached body takes, roughly."""
    return body.length + body.count * RECORD_COST


Told = Callable[[PartitionId, ScrubjayError], None]


class Reader:
    """told(partition, error): damage was found; called within the read that finds it."""

    def __init__(self) -> None:
        self.told: Told | None = None
        self._cache: OrderedDict[Body, tuple[Record, ...]] = OrderedDict()
        self._cache_bytes = 0
        self._unused = self._drop
        """The one bound method that all cached bodies share."""

    def read(self, state: LogState, first: Lsn, end: Lsn, *, max_bytes: int, cached: bool = True) -> list[Record]:
        """Log records [first, end) of `state`, checked; at least one, at most about max_bytes. Raises Missing, Corrupt (field lsn)."""
        if first >= end:
            return []
        if first < state.first or end > state.last + 1:
            raise Missing("records are not in the WAL", what=state.partition, lsn=first if first < state.first else state.last + 1)
        return self.shown(state, state.extents, first, end, max_bytes=max_bytes, cached=cached)

    def shown(self, state: LogState, extents: ExtentMap, first: int, end: int, *, max_bytes: int, cached: bool = True) -> list[Record]:
        """As `read`, of the records that `extents` shows."""
        found: list[Record] = []
        at, size = first, 0
        while at < end and size < max_bytes:
            extent = extents.at(at)
            if extent is None:
                if found:
                    break
                raise Corrupt("record is damaged in the WAL", what="wal", partition=state.partition, lsn=at)
            stop = min(extent.end, end)
            try:
                records = self._records(extent.body, at, stop, cached=cached)
            except Corrupt:
                if found:
                    break
                raise
            for record in records:
                found.append(record)
                size += len(record.data)
                if size >= max_bytes:
                    break
            at = stop
        return found

    def runs(self, state: LogState, first: int, end: int) -> list[DiskRun] | None:
        """Where the records [first, end) lie on the disk; None if some do not lie there whole (trimmed, damaged, not written yet): `read` says which.

        Of a body that is wanted in part, at the ends and where a log was cut, the records are read, and found damaged if they are. Raises as they do: Exhausted, Unavailable."""
        found: list[DiskRun] = []
        at = first
        for extent in state.extents.over(first, end):
            if extent.first > at:
                return None
            body, file, stop = extent.body, extent.body.file, min(extent.end, end)
            if file is None or body.records is not None:
                return None
            skipped, length = 0, body.length
            if at > body.base or stop < body.base + body.count:  # a part of it: at the ends of what is asked for, and where a log was cut
                try:
                    records = self._records(body, body.base, body.base + body.count, cached=True)
                except Corrupt:
                    return None
                if len(records) < body.count:
                    return None  # the others are damaged
                sizes = [len(record.data) for record in records]
                skipped = sum(sizes[: at - body.base])
                length = sum(sizes[at - body.base : stop - body.base])
            found.append(DiskRun(file.handle, body.offset + skipped, length))
            at = stop
        return found if at == end else None

    def tell(self, partition: PartitionId, error: ScrubjayError) -> None:
        """Say that the log of a replica has a damaged record."""
        if self.told is not None:
            self.told(partition, error)

    def remember(self, body: Body, records: tuple[Record, ...]) -> None:
        """Keep the records of a body that was just written or read."""
        if body not in self._cache:
            self._cache_bytes += cost(body)
            body.unused = self._unused
        self._cache[body] = records
        while self._cache_bytes > CACHE_BYTES_MAX and len(self._cache) > 1:
            old, _ = self._cache.popitem(last=False)
            self._cache_bytes -= cost(old)

    def _drop(self, body: Body) -> None:
        """Nothing shows `body` any more (trimmed, or its replica is gone): its records go at once, not when the cache is full."""
        if self._cache.pop(body, None) is not None:
            self._cache_bytes -= cost(body)

    def forget(self) -> None:
        """Let the cache go: the next read of everything comes from the disk."""
        self._cache.clear()
        self._cache_bytes = 0

    def _records(self, body: Body, first: int, end: int, *, cached: bool) -> Sequence[Record]:
        """Records [first, end) of a body, from memory or checked from the file. Raises Corrupt (field lsn)."""
        whole = body.records
        if whole is None:
            whole = self._cache.get(body) if cached else None
            if whole is not None:
                self._cache.move_to_end(body)
            else:
                whole = self._load(body)
                if whole is None:
                    return self._salvaged(body, first, end)
        return whole[first - body.base : end - body.base]

    def _load(self, body: Body) -> tuple[Record, ...] | None:
        """All records of a body, read from its file; None if they fail their check twice."""
        assert body.file is not None
        for _ in range(2):  # what fails once may have been spoilt on its way to us
            try:
                data = body.file.handle.pread(body.offset, body.length)
                records = tuple(decode_all(data, owner=body.state.owner, opaque=True))
            except Corrupt:
                continue
            if len(records) == body.count and all(record.lsn == body.base + at for at, record in enumerate(records)):
                self.remember(body, records)
                return records
        return None

    def _salvaged(self, body: Body, first: int, end: int) -> list[Record]:
        """The records [first, end) of a damaged body, up to the first bad one. Every bad one leaves the extents. Raises Corrupt if `first` itself is bad."""
        assert body.file is not None
        state = body.state
        data = read_tolerant(body.file.handle, body.length, start=body.offset)
        good: list[Record] = []
        lowest_bad, lost = 0, False
        for lsn, (_, record) in enumerate(salvage(data, first=body.base, count=body.count, owner=state.owner), body.base):
            if record is None:
                lowest_bad = lowest_bad or lsn
                lost = state.lose(lsn, body) or lost
            elif first <= lsn < end and first + len(good) == lsn:
                good.append(record)
        if not lowest_bad:
            return good  # each checks by itself
        error = Corrupt("record is damaged in the WAL", what="wal", where=body.file.name, partition=state.partition, lsn=lowest_bad)
        if lost:
            self.tell(state.partition, error)
        if not good:
            raise Corrupt(error.message, **{**error.fields, "lsn": first})
        return good
