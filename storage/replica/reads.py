"""How a replica answers reads: once applied far enough, by whoever may serve them, checked again after the read and before the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn
from scrubjay.storage.btree.engine import Tree
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import IndexRangeAnswer, RangeAnswer, RangeRead, ReadAnswer
from scrubjay.storage.dropped import dropped
from scrubjay.storage.indexes.kept_rows import is_fed
from scrubjay.storage.indexes.kept_rows import item_bytes as projected_bytes
from scrubjay.storage.items.keys import HASH_BYTES, after_prefix, storage_key
from scrubjay.storage.items.local_index import NUMBER_AT, LocalRows, entry_item, entry_prefix, is_entry, item_bytes, items_end
from scrubjay.storage.replica.host import Hosted, ReplicaHost
from scrubjay.storage.replica.overlay import Overlay
from scrubjay.storage.replica.segments import SegmentTracker

PASSED_MAX = 2_000
"""Rows that one answer passes over at most, of those that are not asked for."""
LEAP_AFTER = 8
"""Rows in a row that are not asked for, behind which a look further on is cheaper than the next row."""


class Reading(Hosted, Protocol):
    """What this part asks of its replica."""

    node: ReplicaHost
    lo: bytes
    hi: bytes | None
    overlay: Overlay
    tree: Tree | None
    local: LocalRows | None
    table: TableMeta

    @property
    def segments(self) -> SegmentTracker: ...
    @property
    def archives(self) -> bool: ...
    @property
    def applied(self) -> Lsn: ...

    def find(self, key: bytes) -> bytes | None:
        """The applied version of a key, proven. Raises Corrupt, Unavailable."""
        ...

    def serves(self, *, consistent: bool) -> ScrubjayError | None:
        """None if a read may be answered now, else why not."""
        ...

    def found_rot(self, error: Corrupt, *, found_by: str) -> None: ...


class _Waiter(NamedTuple):
    """lsn: answer once applied this far. until_us: boot time at which it has waited long enough."""

    lsn: Lsn
    until_us: int
    answer: Callable[[ScrubjayError | None], None]


class Reads:
    """The reads of one replica, those that wait included (bounded in number and time)."""

    def __init__(self, replica: Reading) -> None:
        self._replica = replica
        self._waiting: list[_Waiter] = []

    def one(self, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None:
        """min_lsn: answer only once applied that far (a read that another replica could not answer for rot)."""
        replica = self._replica

        def answer(error: ScrubjayError | None) -> None:
            refusal = error or replica.serves(consistent=consistent) or self._ended()
            if refusal is not None:
                done(refusal)
                return
            applied = replica.applied
            try:
                item = replica.find(key)
            except Corrupt as rot:
                replica.found_rot(rot, found_by="read")
                done(Corrupt("rot found while reading", what="row", key=key, applied=applied))
                return
            except Unavailable as lack:
                done(lack)
                return
            late = replica.serves(consistent=consistent)
            done(late if late is not None else ReadAnswer(item, replica.partition, applied))

        self._when_applied(min_lsn, answer)

    def range(self, request: RangeRead, *, min_lsn: Lsn, done: Callable[[RangeAnswer | ScrubjayError], None]) -> None:
        """As `one`, for a range. The answer is at one applied LSN."""
        replica = self._replica

        def answer(error: ScrubjayError | None) -> None:
            refusal = error or replica.serves(consistent=request.consistent)
            if refusal is None and request.start != request.end:  # a read of nothing asks how far the log goes
                refusal = self._ended()
            if refusal is not None:
                done(refusal)
                return
            applied = replica.applied
            try:
                found = self._collect(request) if request.index is None and replica.local is None else self._indexed(request)
            except Corrupt as rot:
                replica.found_rot(rot, found_by="read")
                done(Corrupt("rot found while reading", what="row", applied=applied))
                return
            except Unavailable as lack:
                done(lack)
                return
            late = replica.serves(consistent=request.consistent)
            done(late if late is not None else found)

        self._when_applied(min_lsn, answer)

    def _ended(self) -> ScrubjayError | None:
        """What whoever reads is told behind the log's last SEAL: its name may be another table's by now, and whoever asks here knows the old one still."""
        replica = self._replica
        return dropped(replica.table.name) if replica.segments.facts.ended else None

    def _within(self, request: RangeRead) -> tuple[bytes, bytes | None]:
        """What of the request's range is this partition's."""
        replica = self._replica
        end = request.end if replica.hi is None else (replica.hi if request.end is None else min(request.end, replica.hi))
        return max(request.start, replica.lo), end

    def _collect(self, request: RangeRead) -> RangeAnswer:
        replica = self._replica
        tree = replica.tree
        assert tree is not None
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        start, end = self._within(request)
        if end is not None and start >= end:
            return RangeAnswer(rows, False, replica.partition, replica.applied)
        derived = not replica.archives
        for key, item in replica.overlay.merged(tree, start, end, reverse=request.reverse):
            if derived and is_fed(key):
                continue
            if len(rows) >= request.limit or size >= request.max_bytes:
                return RangeAnswer(rows, True, replica.partition, replica.applied)
            if derived:
                item = projected_bytes(item)
            rows.append((key, item))
            size += len(item)
        return RangeAnswer(rows, False, replica.partition, replica.applied)

    def _indexed(self, request: RangeRead) -> IndexRangeAnswer:
        """The items of a table with local indexes, or the rows of one of these: they lie among each other, by partition key. What is not asked for is passed over, in
        leaps where many lie together; after PASSED_MAX rows the answer says how far it has come."""
        replica = self._replica
        local, index = replica.local, request.index or 0  # who does not know of indexes wants items
        if local is None or index > len(local.indexes):
            raise Unavailable("this copy knows no such index", partition=replica.partition, index=index)
        rows: list[tuple[bytes, bytes]] = []
        size = passed = 0
        start, end = self._within(request)
        resume: bytes | None = None
        more = False
        for key, value in self._leaping(local, index, start, end, reverse=request.reverse):
            if len(rows) >= request.limit or size >= request.max_bytes or passed >= PASSED_MAX:
                more = True
                break
            resume = key
            entry = is_entry(key, value)
            if entry != (index > 0) or (entry and key[NUMBER_AT] != index):
                passed += 1
                continue
            if entry:
                value = self._fetched(local, key, value) if request.fetch else item_bytes(value)
            rows.append((key, value))
            size += len(value)
        return IndexRangeAnswer(rows, more, replica.partition, replica.applied, resume if more else None)

    def _leaping(self, local: LocalRows, index: int, start: bytes, end: bytes | None, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of what lies in [start, end); forward, behind LEAP_AFTER rows in a row that are not asked for, on at the next one that may be."""
        replica = self._replica
        tree = replica.tree
        assert tree is not None
        while end is None or start < end:
            missed = 0
            for key, value in replica.overlay.merged(tree, start, end, reverse=reverse):
                yield key, value
                entry = is_entry(key, value)
                missed = 0 if entry == (index > 0) and (not entry or key[NUMBER_AT] == index) else missed + 1
                further = None if reverse or missed < LEAP_AFTER else _further(local, index, key, entry=entry)
                if further is not None:
                    start = further
                    break
            else:
                return

    def _fetched(self, local: LocalRows, key: bytes, value: bytes) -> bytes:
        """The item that an index row is of. Raises Corrupt if there is none: nothing else makes an index row."""
        item = self._replica.find(storage_key(local.key, entry_item(value)))
        if item is None:
            raise Corrupt("an index row is of no item", what="row", key=key)
        return item

    def _when_applied(self, lsn: Lsn, answer: Callable[[ScrubjayError | None], None]) -> None:
        replica = self._replica
        if replica.applied >= lsn:
            answer(None)
        elif len(self._waiting) >= replica.node.options.reads_waiting_max:
            answer(Unavailable("too many reads wait for this replica", partition=replica.partition))
        else:
            self._waiting.append(_Waiter(lsn, replica.node.boot_us() + replica.node.options.read_wait_us, answer))
            replica.node.arm(replica)

    # ------------------------------------------------------------------ those that wait

    def applied(self) -> None:
        """The replica applied further: answer whoever waited for that."""
        if not self._waiting:
            return
        applied = self._replica.applied
        ready = [waiter for waiter in self._waiting if waiter.lsn <= applied]
        if ready:
            self._waiting = [waiter for waiter in self._waiting if waiter.lsn > applied]
            for waiter in ready:
                waiter.answer(None)

    def deadline(self) -> int | None:
        return min((waiter.until_us for waiter in self._waiting), default=None)

    def expire(self, now_us: int) -> None:
        expired = [waiter for waiter in self._waiting if waiter.until_us <= now_us]
        if expired:
            self._waiting = [waiter for waiter in self._waiting if waiter.until_us > now_us]
            for waiter in expired:
                waiter.answer(
                    Unavailable("replica has not applied far enough", partition=self._replica.partition, applied=self._replica.applied)
                )

    def end(self, error: ScrubjayError) -> None:
        """Nobody is served here any more."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.answer(error)


def _further(local: LocalRows, index: int, key: bytes, *, entry: bool) -> bytes | None:
    """Where the next row that is asked for may lie, behind one that is not; None: it may be the next one."""
    prefix = key[:HASH_BYTES]
    if index == 0:
        return after_prefix(prefix) if entry and items_end(local.key, prefix) is not None else None
    if entry and key[NUMBER_AT] > index:
        return None if items_end(local.key, prefix) is None else after_prefix(prefix)
    wanted = entry_prefix(prefix, index)
    return wanted if wanted > key else None
