"""The archived records of any partition, for who reads a log on that no node holds any more (`storage.archive_port.ArchivedLog`): a stream, the feed of an index.

Finds objects by their names alone, so it needs no index of the archive and runs in any process: names sort by LSN, and a name says which LSNs its object holds. The
bytes of a segment are proven to be those that its manifest names, and each record by its checksum, its owner and its LSN.

It runs on a node's own loop, so what is long is done off it (sums, decompression, manifests) or in steps with everybody else's turn in between (what walks over records). Memory: the segments
read last, up to KEPT_BYTES, and of OPENINGS_MAX that are on their way object and records; whoever reads on gets a segment once, and so do several who read one partition.
"""

from __future__ import annotations

import struct
from array import array
from collections import OrderedDict
from typing import NamedTuple

from scrubjay.archiver.format.layout import SegmentKey, build, log_prefix, parse
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.read.objects import Extremes, fetch_span, read_segment
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import FORGED, Corrupt, Missing, NoKey
from scrubjay.base.gate import Gate
from scrubjay.base.ids import Lsn, PartitionId, Stamp, TableId, uuid_bytes
from scrubjay.base.places import Places
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Record

KEPT_BYTES = 64 << 20
"""Of segments that are kept; the one read last is kept however large it is."""
OPENINGS_MAX = 2
"""Segments that are fetched and opened at once; the others wait their turn."""
STEP_RECORDS = 256
"""So many are walked over before others have their turn: about a millisecond."""
BACK_FACTOR = 8
"""How much further back each look for the object goes that holds an LSN."""
_LENGTH = struct.Struct("<I")


class _Opened(NamedTuple):
    """A segment, a pack, or a part of one. starts: where each record begins in `raw`, from LSN `first` on."""

    first: int
    raw: bytes
    starts: array[int]

    @property
    def last(self) -> int:
        return self.first + len(self.starts) - 1

    @property
    def size(self) -> int:
        return len(self.raw) + self.starts.itemsize * len(self.starts)


class ListedLog:
    """store: of the archive, as this process reads it. cluster: whose archive it is. tasks: of the loop that it is used on."""

    def __init__(self, store: ObjectStore, cluster: str, tasks: Tasks) -> None:
        self._store, self._cluster, self._tasks = store, cluster, tasks
        self._kept: OrderedDict[tuple[PartitionId, int], _Opened] = OrderedDict()
        self._places = Places(OPENINGS_MAX, future=tasks.future)
        self._gates: dict[PartitionId, Gate] = {}
        """Of partitions of which somebody opens a segment: who wants the same one finds it open."""

    async def read(self, table: TableId, partition: PartitionId, first: Lsn, *, bytes_max: int) -> list[Record]:
        """See the port."""
        piece = self._known(partition, first) or await self._opened(table, partition, first)
        owner = records.owner_tag(uuid_bytes(partition))
        found: list[Record] = []
        size = 0
        for lsn in range(first, piece.last + 1):
            record = records.decode(piece.raw, piece.starts[lsn - piece.first], owner=owner)
            if record.lsn != lsn:
                raise Corrupt("record out of order", kind=FORGED, what="segment", lsn=lsn, found=record.lsn)
            found.append(record)
            size += len(record.data)
            if size >= bytes_max:
                break
            if len(found) % STEP_RECORDS == 0:
                await self._tasks.sleep(0)
        return found

    async def first_since(self, table: TableId, partition: PartitionId, stamp: Stamp) -> Lsn | None:
        """See the port: the beginning of the segment that holds it. Bisected by names and heads: about two requests for each bit of the newest LSN."""

        async def behind(lsn: int) -> Extremes | None:
            """Of the first segment that begins at `lsn` or behind it; None: there is none."""
            key = await self._next(table, partition, lsn)
            return None if key is None else await fetch_span(self._store, key, off=self._tasks.blocking)

        # What begins at `low` or in front of it ends before `stamp`, and not behind `end`; the search ends with the first of which that is not so.
        low, high, end = 0, 1, 0
        while (span := await behind(high)) is not None and span.last_stamp < stamp:
            low, high, end = span.first, 2 * span.last, max(end, span.last)
        while high - low > 1:
            middle = (low + high) // 2
            span = await behind(middle)
            if span is not None and span.last_stamp < stamp:
                low, end = max(middle, span.first), max(end, span.last)
            else:
                high = middle
        span = await behind(high)
        if span is None:
            return Lsn(end + 1) if end else None
        # Where they do not join, what lies between is in a pack whose parts are not all gone, and begins further in front.
        return Lsn(min(span.first, end + 1) if end else span.first)

    # ------------------------------------------------------------------

    def _known(self, partition: PartitionId, lsn: int) -> _Opened | None:
        for key, piece in self._kept.items():
            if key[0] == partition and piece.first <= lsn <= piece.last:
                self._kept.move_to_end(key)
                return piece
        return None

    async def _opened(self, table: TableId, partition: PartitionId, lsn: Lsn) -> _Opened:
        """Read the object that holds `lsn`, and keep it. Raises Missing (none does), Corrupt, Unavailable."""
        gate = self._gates.setdefault(partition, Gate(self._tasks))
        try:
            async with gate:
                piece = self._known(partition, lsn)
                if piece is not None:
                    return piece
                await self._places.take()
                try:
                    piece = await self._open(table, partition, lsn)
                finally:
                    self._places.give()
        finally:
            if gate.free:
                self._gates.pop(partition, None)
        if not piece.first <= lsn <= piece.last:
            raise Corrupt("an object of the archive does not hold what its name says", kind=FORGED, what="segment", lsn=lsn)
        self._keep(partition, piece)
        return piece

    async def _open(self, table: TableId, partition: PartitionId, lsn: Lsn) -> _Opened:
        error: Corrupt | Missing | NoKey | None = None
        for key in await self._holding(table, partition, lsn):
            try:
                manifest, raw, _ = await read_segment(self._store, key, off=self._tasks.blocking)
                return _Opened(manifest.first, raw, await self._starts(manifest, raw))
            except (
                Corrupt,
                Missing,
                NoKey,
            ) as bad:  # another object may hold the same records: a segment beside the pack that it was put into
                error = bad
        raise error if error is not None else Missing("the archive does not hold this record", what="segment", lsn=lsn)

    def _keep(self, partition: PartitionId, piece: _Opened) -> None:
        self._kept[partition, piece.first] = piece
        self._kept.move_to_end((partition, piece.first))
        size = sum(one.size for one in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            size -= gone.size

    async def _starts(self, manifest: SegmentManifest, raw: bytes) -> array[int]:
        """Where each record begins. Raises Corrupt unless they are as many as the manifest says, one behind the other."""
        found = array("I")
        at, end = 0, len(raw)
        while at + records.HEADER_SIZE <= end:
            found.append(at)
            at += max(int(_LENGTH.unpack_from(raw, at)[0]), records.HEADER_SIZE)
            if len(found) % STEP_RECORDS == 0:
                await self._tasks.sleep(0)
        if at != end or len(found) != manifest.last - manifest.first + 1:
            where = build(manifest.key())
            raise Corrupt(
                "a segment's records are not those that its manifest names", kind=FORGED, what="segment", where=where, lsn=manifest.first
            )
        return found

    async def _holding(self, table: str, partition: str, lsn: int) -> list[SegmentKey]:
        """Segments that hold `lsn` by their names; looks further and further in front of it for where they begin."""
        back = 0
        while True:
            begin = max(lsn - back, 0)
            found: list[SegmentKey] = []
            after = f"{log_prefix(self._cluster, table, partition)}{begin:016x}"
            while True:
                page = await self._store.list(log_prefix(self._cluster, table, partition), after=after)
                keys = [key for info in page.objects if isinstance(key := parse(info.key), SegmentKey)]
                found += [key for key in keys if key.manifest and key.first <= lsn <= key.last]
                if not page.more or not page.objects or (keys and keys[-1].first > lsn):
                    break
                after = page.objects[-1].key
            if found or begin == 0:
                return [key.twin() for key in sorted(found, key=lambda key: (key.last - key.first, -key.generation))]
            back = BACK_FACTOR * back + BACK_FACTOR

    async def _next(self, table: str, partition: str, lsn: int) -> SegmentKey | None:
        """Of the segments that begin at `lsn` or behind it the first."""
        prefix = log_prefix(self._cluster, table, partition)
        after = f"{prefix}{lsn:016x}"
        while True:
            page = await self._store.list(prefix, after=after, limit=10)
            for info in page.objects:
                key = parse(info.key)
                if isinstance(key, SegmentKey) and key.manifest:
                    return key
            if not page.more or not page.objects:
                return None
            after = page.objects[-1].key
