"""One page of a Query or Scan: rows of one or more key ranges, in order, until the limit, a megabyte, or the end.

DynamoDB's rules: `Limit` counts rows before the filter; the row with which the page reaches 1 MB is still in it; a page that ended for either reason
has a LastEvaluatedKey even if nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.api import limits
from scrubjay.storage.api.call import Body, Trace
from scrubjay.storage.api.index_reads import IndexRead
from scrubjay.storage.backend import Backend
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.commands.values import IndexRangeAnswer, RangeAnswer, RangeRead
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.keys import key_item
from scrubjay.storage.items.size import item_size
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_bytes_to_json, item_to_json
from scrubjay.storage.log.split import was_split


class KeyRange(NamedTuple):
    """Storage keys [start, end) of one partition; end None: to its end."""

    partition: PartitionInfo
    start: bytes
    end: bytes | None


def ranges_of(table: TableMeta, start: bytes, end: bytes | None) -> list[KeyRange]:
    """The parts of the partitions that lie in [start, end), in key order."""
    ranges = []
    for partition in table.partitions:
        low = bytes.fromhex(partition.lo)
        high = bytes.fromhex(partition.hi) if partition.hi else None
        first = max(low, start)
        last = high if end is None else end if high is None else min(high, end)
        if last is None or first < last:
            ranges.append(KeyRange(partition, first, last))
    return ranges


class Page:
    """Reads ranges one after another and calls `done(self)` or `done(error)` once.

    Results: items (JSON, unless only counted), count, scanned, last (the key item to go on from, or None), traces, and, if asked to `measure`, size
    (bytes by DynamoDB's count); of an index whose items were fetched that of the index's rows, and fetched: the sizes of the items.

    view: of an index, or of a table with local indexes, what of it is read; it says of which table the ranges are.

    Rows are measured only if that is asked for or the page may be full: the encoding of an item is never shorter than its size.

    More than 15 fields: one request's question, its results and where it stands; it lives as long as the request.
    """

    def __init__(
        self,
        backend: Backend,
        meta: TableMeta,
        ranges: Sequence[KeyRange],
        *,
        limit: int | None,
        reverse: bool,
        consistent: bool,
        condition: Condition | None,
        projection: Projection | None,
        count_only: bool,
        measure: bool,
        done: Callable[[Page | BaseException], None],
        view: IndexRead | None = None,
    ) -> None:
        self.items: list[Body] = []
        self.count = 0
        self.scanned = 0
        self.size = 0
        self.fetched: list[int] = []
        self.last: Item | None = None
        self.traces: list[Trace] = []
        self._backend = backend
        self._meta = meta
        self._ranges = list(ranges)
        self._limit = limit
        self._reverse = reverse
        self._consistent = consistent
        self._condition = condition
        self._projection = projection
        self._count_only = count_only
        self._measuring = measure
        self._unmeasured: list[bytes] = []
        self._unmeasured_bytes = 0
        self._done = done
        self._view = view
        self._at = 0
        self._start = b""
        self._end: bytes | None = None
        self._running = False
        self._waiting = False

    def start(self) -> None:
        if self._ranges:
            self._enter(0)
        self._run()

    def _enter(self, index: int) -> None:
        self._at = index
        if index < len(self._ranges):
            self._start, self._end = self._ranges[index].start, self._ranges[index].end

    def _run(self) -> None:
        """Ask until an answer has to be waited for. A loop, not a recursion: a table may have many empty partitions and answer at once."""
        if self._running:
            return
        self._running = True
        try:
            while not self._waiting:
                if self.last is not None or self._at >= len(self._ranges):
                    self._done(self)
                    return
                self._waiting = True
                rows = limits.RANGE_READ_ROWS if self._limit is None else min(self._limit - self.scanned, limits.RANGE_READ_ROWS)
                request = RangeRead(
                    self._start, self._end, rows, max(1, limits.PAGE_BYTES_MAX - self.size), self._reverse, self._consistent,
                    None if self._view is None else self._view.number, self._view is not None and self._view.fetch,
                )  # fmt: skip
                self._backend.read_range(self._table, self._ranges[self._at].partition, request, self._answered)
        except Exception as error:  # noqa: BLE001 the answer carries it
            self._done(error)
        finally:
            self._running = False

    @property
    def _table(self) -> TableMeta:
        """Whose partitions are read."""
        return self._meta if self._view is None else self._view.table

    def _answered(self, answer: RangeAnswer | ScrubjayError) -> None:
        try:
            if isinstance(answer, ScrubjayError):
                self._go_to_children(answer)
            else:
                self._take(answer)
        except Exception as error:  # noqa: BLE001 the answer carries it
            self._done(error)
            return
        self._waiting = False
        self._run()

    def _go_to_children(self, error: ScrubjayError) -> None:
        """What is left of the range of a partition that was split is in others now. Raises `error` if it is another, or they are not known."""
        parent = self._ranges[self._at].partition
        known = self._backend.known(self._table)
        if not was_split(error) or any(info.partition_id == parent.partition_id for info in known.partitions):
            raise error
        high = bytes.fromhex(parent.hi) if parent.hi else None
        parts = ranges_of(known, self._start, high if self._end is None else self._end)
        self._ranges[self._at : self._at + 1] = reversed(parts) if self._reverse else parts
        self._enter(self._at)

    def _take(self, answer: RangeAnswer) -> None:
        if self.traces and self.traces[-1].partition == answer.partition:
            self.traces[-1] = Trace(answer.partition, max(answer.lsn, self.traces[-1].lsn))
        else:
            self.traces.append(Trace(answer.partition, answer.lsn))
        if not self._measuring:
            self._unmeasured_bytes += sum([len(row) for _, row in answer.rows])
            if self._unmeasured_bytes >= limits.PAGE_BYTES_MAX:
                self._measuring = True
                for row in self._unmeasured:
                    self._measure(decode_item(row))
            else:
                self._unmeasured += [row for _, row in answer.rows]
        condition, projection = self._condition, self._projection
        fetched = self._view if self._view is not None and self._view.fetch else None
        for _, row in answer.rows:
            item = decode_item(row) if self._measuring or condition is not None or projection is not None else None
            self.scanned += 1
            if self._measuring and item is not None:
                self._measure(item)
            if condition is None or condition.evaluate(item if fetched is None or item is None else fetched.projected(item)):
                self.count += 1
                if not self._count_only:
                    self.items.append(
                        item_bytes_to_json(row) if projection is None or item is None else item_to_json(projection.project(item))
                    )
            if self.scanned == self._limit or self.size >= limits.PAGE_BYTES_MAX:
                self.last = self._key_of(decode_item(row) if item is None else item)
                return
        reached = answer.rows[-1][0] if answer.rows else None
        if isinstance(answer, IndexRangeAnswer):
            reached = answer.resume
        if not answer.more or reached is None:
            self._enter(self._at + 1)
        elif self._reverse:
            self._end = reached
        else:
            self._start = reached + b"\x00"

    def _measure(self, item: Item) -> None:
        if self._view is not None and self._view.fetch:
            self.fetched.append(item_size(item))
            item = self._view.projected(item)
        self.size += item_size(item)

    def _key_of(self, item: Item) -> Item:
        return key_item(self._meta.key, item) if self._view is None else self._view.key_of(item)
