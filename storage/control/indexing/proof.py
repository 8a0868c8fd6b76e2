"""Whether a global index has the rows that its table's items have, both ways, down to the key (ADR 0071).

A pass over the items of one partition looks each of their rows up, a pass over its share of the rows looks each of their items up. Its share are the rows that lie, in the index, in the range of keys that the
partition has in the table: all partitions together have all rows, each once. What differs may have changed in between: it is looked at once more, strongly, when the index has been fed as far as the item was read. What differs then is a fault of the index, or of us: it is told, and the index is built anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, PartitionId, TableId
from scrubjay.base.together import in_parallel, settle
from scrubjay.storage.catalogue import GlobalIndex, PartitionInfo, TableMeta, index_table
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer
from scrubjay.storage.control.indexing.feeding import PAGE_BYTES, PAGE_ROWS, PAGE_WAIT_S, Parts, fed_of
from scrubjay.storage.indexes.kept_rows import Fed, item_bytes
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.items.keys import key_item, storage_key
from scrubjay.storage.items.wire import item_to_json
from scrubjay.storage.log.split import was_split
from scrubjay.storage.node.errand_messages import FindIndexRows, IndexRowsFound
from scrubjay.storage.node.port import asked
from scrubjay.storage.service_port import Finding

LANES = 16
"""Rows that are looked up at once."""
ROWS_PER_SECOND = 5_000
"""Looked at, of items and of rows."""
FAULTS_MAX = 100
"""Of one index, named in one proof: what exceeds them is built anew with them."""
DOUBTS_MAX = 10_000
"""Looked at once more, of items and of rows each: an index that lags far behind differs in as many as were written."""
JUDGE_S = 600.0
"""How long all these looks may take together: each may wait for the feed."""
FED_WAIT_S = 15.0
"""How long a look waits for the index to have been fed far enough."""
POLL_S = 0.1
TRIES = 5
"""Of an item that changes again and again."""
_END = "g"
"""Behind every hexadecimal bound."""


class _Fault(NamedTuple):
    """kind: lacking | different | extra, of the row. key: the item's storage key. partition: that has the item, or would."""

    kind: str
    key: bytes
    partition: PartitionId
    key_attributes: dict[str, Any]


Rebuild = Callable[[TableId, str, str], Awaitable[None]]


class IndexProver:
    """note: where what is found goes. rebuild: has an index of a table built anew, and why."""

    def __init__(self, parts: Parts, *, note: Callable[[Finding], None], rebuild: Rebuild) -> None:
        self._parts, self._note, self._rebuild = parts, note, rebuild

    async def prove(self, table: TableMeta, info: PartitionInfo) -> list[str]:
        """Compare the items of one partition, and its share of the rows, with every index of the table. What differs is noted, of whatever partition the item is: it was found by this one.
        Returns why an index could not be compared, or not all of it."""
        unproven = [await self._prove(table, info, index.name) for index in self._indexes(table)]
        return [why for why in unproven if why]

    def _indexes(self, table: TableMeta) -> Sequence[GlobalIndex]:
        """As they are now: whoever scrubs has known the table for as long as that takes, and an index that was built anew meanwhile has other partitions."""
        return self._parts.metadata.tables.get(table.table_id, table).global_indexes or ()

    async def _prove(self, table: TableMeta, info: PartitionInfo, name: str) -> str:
        """Why an index could not be compared, "": it was, or is gone."""
        why = ""
        for _ in range(TRIES):
            index = next((one for one in self._indexes(table) if one.name == name), None)
            if index is None:
                return ""
            if index.status != "ACTIVE" or index.next is not None:
                return f"index {name} is being built, or removed"
            try:
                faults = await _Comparison(self._parts, table, info, index).run()
            except ScrubjayError as error:
                why = f"index {name}: {error}"
                if self._parts.metadata.any_table(index.table_id) is None:
                    continue  # it gave way to one that was built anew
                return why
            for fault in faults:
                self._note(self._finding(info, index, fault))
            if faults:
                await self._rebuild(table.table_id, name, f"{len(faults)} of its rows are not those of the table's items")
            return ""
        return why

    def _finding(self, info: PartitionInfo, index: GlobalIndex, fault: _Fault) -> Finding:
        where = "" if fault.partition == info.partition_id else f", of an item of partition {fault.partition}"
        return Finding(
            kind=fault.kind,
            copy=f"index {index.name}",
            partition=info.partition_id,
            key=fault.key_attributes,
            storage_key=fault.key,
            object=None,
            lsn=None,
            segment=None,
            found_by="scrub",
            action="none",
            detail=f"row of global index {index.name}{where}; it is built anew",
            at_us=self._parts.env.clock.wall_us(),
        )


class _Comparison:
    """One partition's items, and its share of the rows, against one index."""

    def __init__(self, parts: Parts, table: TableMeta, info: PartitionInfo, index: GlobalIndex) -> None:
        self._parts, self._table, self._info, self._index = parts, table, info, index
        self._target_first = index_table(table, index)
        self._rows = GlobalRows(table.key, index)

    @property
    def _target(self) -> TableMeta:
        """The index's table as it is now: it may be split meanwhile."""
        return self._parts.metadata.known(self._target_first)

    async def run(self) -> list[_Fault]:
        """At most FAULTS_MAX. Raises Unavailable, Corrupt."""
        doubts = dict.fromkeys([*await self._of_items(), *await self._of_rows()])
        found: list[_Fault] = []
        clock = self._parts.env.clock
        end_us = clock.boot_us() + int(JUDGE_S * 1e6)
        looked = 0
        for key, row_key in doubts:
            if clock.boot_us() >= end_us:
                break
            looked += 1
            fault = await self._judged(key, row_key)
            if fault is not None:
                found.append(fault)
                if len(found) >= FAULTS_MAX:
                    break
        if not found and (looked < len(doubts) or len(doubts) >= DOUBTS_MAX):
            raise Unavailable("it lags behind by more than is looked at twice", index=self._index.name)
        return found

    async def _of_items(self) -> list[tuple[bytes, bytes]]:
        """(item's key, row's key) of items whose row was not as it should be."""
        doubts: list[tuple[bytes, bytes]] = []
        start: bytes | None = b""
        while start is not None and len(doubts) < DOUBTS_MAX:
            page = await self._page(start)
            looks = [(key, item_bytes(value)) for _, key, value in page.found]
            stored = await self._many(self._row, [key for key, _ in looks])
            doubts += [(self._item_key(item), key) for (key, item), there in zip(looks, stored, strict=True) if there != item]
            start = page.next
            await self._pause(page.rows)
        return doubts

    async def _of_rows(self) -> list[tuple[bytes, bytes]]:
        """The same of rows of this partition's share that are of no item as it is."""
        doubts: list[tuple[bytes, bytes]] = []
        start: bytes | None = bytes.fromhex(self._info.lo)
        while start is not None and len(doubts) < DOUBTS_MAX:
            place = self._parts.router.partition_of(self._target, start)
            hi = min(place.hi or _END, self._info.hi or _END)
            try:
                page = await self._range(place, start, None if hi == _END else bytes.fromhex(hi))
            except Unavailable as error:
                if was_split(error) and place not in self._target.partitions:
                    continue  # what is left of the range is in its children
                raise
            of = [self._item_key(item) for _, item in page.rows]
            items = await self._many(self._item, of)
            for (key, item), at, there in zip(page.rows, of, items, strict=True):
                if there is None or self._rows.row(at, there) != (key, item):
                    doubts.append((at, key))
            behind = None if hi == (self._info.hi or _END) else bytes.fromhex(hi)
            start = page.rows[-1][0] + b"\x00" if page.more and page.rows else behind
            await self._pause(len(page.rows))
        return doubts

    async def _judged(self, key: bytes, row_key: bytes) -> _Fault | None:
        """What is wrong with a row once the index has been fed as far as its item was read; None: nothing, or no more. Raises Unavailable."""
        source = self._parts.router.partition_of(self._table, key)
        for _ in range(TRIES):
            before = await self._read(self._table, key)
            await self._fed(row_key, source, Lsn(before.lsn))
            stored = await self._row(row_key)
            after = await self._read(self._table, key)
            if after.item != before.item:
                continue
            made = None if after.item is None else self._rows.row(key, after.item)
            wanted = made[1] if made is not None and made[0] == row_key else None
            if stored == wanted:
                return None
            fed = await self._fed_now(row_key, source)
            if fed is None or await self._changed(source, key, Lsn(before.lsn), fed.lsn):
                continue  # the row may be of a version in between, though the item is again as it was
            kind = "lacking" if stored is None else "extra" if wanted is None else "different"
            shown = after.item if after.item is not None else stored
            assert shown is not None
            return _Fault(kind, key, source.partition_id, item_to_json(key_item(self._table.key, decode_item(shown))))
        raise Unavailable("an item changes again and again", partition=source.partition_id)

    async def _fed_now(self, row_key: bytes, source: PartitionInfo) -> Fed | None:
        target = self._target
        return await fed_of(self._parts, target, self._parts.router.partition_of(target, row_key), source.partition_id)

    async def _fed(self, row_key: bytes, source: PartitionInfo, lsn: Lsn) -> None:
        """Wait until the index has taken all of `source` up to `lsn`. Raises Unavailable."""
        clock = self._parts.env.clock
        end_us = clock.boot_us() + int(FED_WAIT_S * 1e6)
        while (fed := await self._fed_now(row_key, source)) is None or fed.lsn < lsn:
            if clock.boot_us() >= end_us:
                raise Unavailable("it has not been fed far enough", index=self._index.name, lsn=lsn, fed=None if fed is None else fed.lsn)
            await self._parts.env.tasks.sleep(POLL_S)

    async def _changed(self, source: PartitionInfo, key: bytes, after: Lsn, upto: Lsn) -> bool:
        """Whether the log of `source` says that an item was changed behind `after`, up to `upto`. Raises Unavailable, Missing, Corrupt."""
        place = Lsn(after + 1), 0
        while place[0] <= upto:
            page = await self._parts.changes.read(source, place[0], position=place[1], last=upto)
            if any(change.key == key for change in page.changes):
                return True
            if page.next == place:
                raise Unavailable("the log cannot be read as far as the index was fed", partition=source.partition_id, lsn=upto)
            place = page.next
        return False

    # ------------------------------------------------------------------ looking

    async def _many(self, look: Callable[[bytes], Coroutine[Any, Any, bytes | None]], keys: Sequence[bytes]) -> list[bytes | None]:
        return await in_parallel(self._parts.env.tasks, look, keys, lanes=LANES, name="prove index") if keys else []

    async def _row(self, key: bytes) -> bytes | None:
        """A row of the index, as the bytes of an item."""
        value = (await self._read(self._target, key)).item
        return None if value is None else item_bytes(value)

    async def _item(self, key: bytes) -> bytes | None:
        return (await self._read(self._table, key)).item

    async def _read(self, table: TableMeta, key: bytes) -> ReadAnswer:
        future = self._parts.env.tasks.future()
        self._parts.router.read(table, key, consistent=True, done=partial(settle, future))
        answer: ReadAnswer = await future
        return answer

    async def _range(self, place: PartitionInfo, start: bytes, end: bytes | None) -> RangeAnswer:
        future = self._parts.env.tasks.future()
        request = RangeRead(start, end, PAGE_ROWS, PAGE_BYTES, reverse=False, consistent=True)
        self._parts.router.read_range(place.partition_id, request, partial(settle, future), table=self._target)
        answer: RangeAnswer = await future
        return answer

    async def _page(self, start: bytes) -> IndexRowsFound:
        """From a good copy. Raises Unavailable: none answers."""
        request = FindIndexRows(self._info.partition_id, start, self._rows.encode(), PAGE_ROWS, PAGE_BYTES)
        last: ScrubjayError | None = None
        for copy in self._parts.fleet.copies(self._info):
            if copy.kind == "storage" and copy.state == "ok":
                try:
                    return await asked(
                        self._parts.env.tasks, self._parts.fleet.ports[copy.node], request, IndexRowsFound, timeout_s=PAGE_WAIT_S
                    )
                except ScrubjayError as error:  # another copy may have it
                    last = error
        raise Unavailable("no copy can be read for the index now", partition=self._info.partition_id, last=str(last))

    async def _pause(self, rows: int) -> None:
        await self._parts.env.tasks.sleep(rows / ROWS_PER_SECOND)

    def _item_key(self, item: bytes) -> bytes:
        """The storage key of the item that a row is of: rows have its key attributes, whatever else is projected."""
        return storage_key(self._table.key, decode_item(item))
