"""Brings the items and changes of one partition of a table into one of its global indexes.

How far it has come lies in the index itself, in each of its partitions, and moves with the rows in one record: whoever feeds next, wherever, goes on from there, and what is sent twice
or by two changes nothing (`storage.indexes.feed`). So nothing is kept here that a death would lose, and no log is held: what a node has let go of is read from the archive.

An index that was not fed before begins where the log begins to say what was there before each change. Items that were there already are put in page by page, each page as of a
checkpoint that the feed has not passed; between two pages the feed goes on up to that checkpoint. At a bounded pace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt, Internal, Missing, NoKey, ScrubjayError, Unavailable, from_code
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import Lsn, NodeName, PartitionId, uuid_bytes
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import GlobalIndex, PartitionInfo, TableMeta, index_table, parent_of
from scrubjay.storage.commands.values import Decision, FeedCommand, ReadAnswer, WriteAnswer
from scrubjay.storage.control.change_reader import ChangeReader
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import Router
from scrubjay.storage.indexes.kept_rows import Fed, fed_key, stored
from scrubjay.storage.items.global_index import GlobalRows
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.record import owner_tag
from scrubjay.storage.node.errand_messages import FindIndexRows, IndexRowsFound
from scrubjay.storage.node.port import asked

LOOK_S = 0.02
"""Between two looks whether a partition has changed; no request leaves for them."""
LOOKS_PER_SECOND = 5_000
"""Of all feeds of a process together: what hundreds of indexes cost while nothing is written does not grow with their number, but how soon they are seen to."""
WAIT_S = 0.1
"""Until it is looked again for what is not there yet: a leader, a checkpoint."""
RETRY_S, RETRY_MAX_S = 0.1, 2.0
UNREAD_US = 60_000_000
"""Log that is there and cannot be read, rotten or under a key that is not at hand, is as good as gone after this time: what keeps it may be mended until then."""
PAGE_ROWS = 500
"""Items looked at for one page of a backfill; PAGE_BYTES: and their bytes."""
PAGE_BYTES = 512 << 10
PAGE_WAIT_S = 10.0
"""A page is read in a worker that gives way to whoever is served."""
CHANGES = 500
"""Changes sent at once."""
QUIET_LSN = 4_000
"""Records without a row for the index after which it is noted all the same how far it is fed: a feed that begins again reads no more than these in vain."""

QUIET_US = 2_000_000
"""The same after this time, once there is nothing more to send."""


class Parts(NamedTuple):
    """What a feed works with. rows_per_second: of a backfill."""

    env: Env
    router: Router
    fleet: Fleet
    metadata: Metadata
    changes: ChangeReader
    rows_per_second: int


class FeedView(NamedTuple):
    """A feed as it is. lag_us: how old the newest change is that the index may lack. backfilling: items are still put in. rows: put in so by this process. trouble: why it does not
    go on now, "": it does. lost: the log it needs is nowhere any more, or cannot be read."""

    table: TableMeta
    partition: PartitionId
    into: GlobalIndex
    lag_us: int
    backfilling: bool
    rows: int
    trouble: str
    lost: bool


class IndexFeed:
    """table, info, index: what is fed from where to where. pause_s: until it looks again whether there is something new. `run` goes on until it is cancelled, or until the log that it needs is nowhere any more or cannot be read: then only a new index helps.

    More than 15 fields, and more than 25 methods: from where, into what, and how far it has come; of an index that is filled or followed, and of what splits of either make of that."""

    def __init__(
        self, parts: Parts, table: TableMeta, info: PartitionInfo, index: GlobalIndex, pause_s: Callable[[], float] = lambda: LOOK_S
    ) -> None:
        self._parts, self._table, self._info, self._index = parts, table, info, index
        self._pause_s = pause_s
        self._target = index_table(table, index)
        self._rows = GlobalRows(table.key, index)
        self._definition = self._rows.encode()
        self._owner = owner_tag(uuid_bytes(info.partition_id))
        self._fed: dict[PartitionId, Fed] = {}
        """How far each partition of the index has been fed, as it said last."""
        self._parent: tuple[IndexFeed, dict[PartitionId, Fed | None]] | None = None
        """Of a partition that a split made, while it begins: the one that it came of, and how far that was fed."""
        self._read = Lsn(0)
        """Up to there the log was read, and what it said sent."""
        self._fresh_us = parts.env.clock.wall_us()
        """The index has all that was changed before this time, if `placed`; else since when it is not known what it lacks."""
        self._placed = False
        self._filled = self._noted_us = 0
        self._filling = False
        """Items are still to be put in, as far as was known last."""
        self._trouble = ""
        self._lost = False
        self._unread_us: int | None = None
        """Since when (boot time) the log cannot be read."""

    def view(self) -> FeedView:
        lag_us = max(0, self._parts.env.clock.wall_us() - self._fresh_us)
        return FeedView(self._table, self._info.partition_id, self._index, lag_us, self._filling, self._filled, self._trouble, self._lost)

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        tasks, pause_s = self._parts.env.tasks, RETRY_S
        while True:
            self._look_at_map()
            try:
                if len(self._fed) < len(self._target.partitions):
                    await self._begin()
                    continue  # what was in its way may be there still
                if any(fed.cursor is not None for fed in self._fed.values()):
                    await self._fill()
                elif not await self._follow():
                    await tasks.sleep(self._pause_s())
                self._trouble, pause_s, self._unread_us = "", RETRY_S, None
            except Missing as error:
                self._trouble, self._lost = str(error), True
                return
            except ScrubjayError as error:
                self._trouble = str(error)
                if isinstance(error, (Corrupt, NoKey)) and self._is_unread():
                    self._lost = True
                    return
                self._fed.clear()  # whatever came of what was sent last: the index knows
                await tasks.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _is_unread(self) -> bool:
        """It has been so for as long as it may."""
        now_us = self._parts.env.clock.boot_us()
        if self._unread_us is None:
            self._unread_us = now_us
        return now_us - self._unread_us >= UNREAD_US

    def _look_at_map(self) -> None:
        """The index's partitions may have become others: begin with those."""
        known = self._parts.metadata.known(self._target)
        if known.partitions != self._target.partitions:
            self._target = known
            self._fed.clear()

    async def _begin(self) -> None:
        """Ask each partition of the index how far it has been fed; begin where none was."""
        found: dict[PartitionId, Fed] = {}
        self._parent = None
        # From the highest on: what a half that begins looks at lies below it (`_as_before`), and must not be from after the split.
        for info, fed in reversed(await self._spread()):
            if fed is None:
                fed = await self._inherit(info)
            if fed is None:
                fed = await self._send(info, FeedCommand(self._key(info), FeedCommand.BEGIN, 0, await self._beginning()))
            found[info.partition_id] = fed
        self._fed = found
        self._filling = any(fed.cursor is not None for fed in found.values())
        self._read = min(fed.lsn for fed in found.values())

    async def _spread(self) -> list[tuple[PartitionInfo, Fed | None]]:
        """Of each partition of the index how far it has been fed from this one; None: it was not. Nothing may be fed to any of them before that is known of all (ADR 0087): what one lacks that a split made, it
        begins as that is at the lowest key of what was split, which is another's, and goes on there with the first row."""
        target = self._parts.metadata.known(self._target)
        if target.partitions != self._target.partitions:
            raise Unavailable("the index was split meanwhile", index=self._index.name)
        return [(info, await self._known(info) or await self._as_before(info)) for info in target.partitions]

    async def _as_before(self, place: PartitionInfo) -> Fed | None:
        """Begin a partition of the index that a split made as far as what was split had been fed; None: nothing that it came of was."""
        at = place
        while (former := parent_of(self._target, at.partition_id)) is not None:
            if former.info.lo != at.lo and (before := await self._known(former.info)) is not None:
                # Who began it since it was asked may have gone on in the other half: then that says nothing of this one.
                return await self._known(place) or await self._begin_as(place, before)
            at = former.info
        return None

    async def _begin_as(self, place: PartitionInfo, before: Fed) -> Fed:
        """Whoever dies in between puts items in once more."""
        fed = await self._send(place, FeedCommand(self._key(place), FeedCommand.BEGIN, 0, before.lsn))
        if before.cursor != b"" and fed.cursor == b"" and fed.lsn == before.lsn:
            # All of its items in front of that, or all, are there: its own are among them.
            fed = await self._send(place, FeedCommand(self._key(place), FeedCommand.PAGE, 0, before.lsn, next=before.cursor))
        return fed

    async def _inherit(self, place: PartitionInfo) -> Fed | None:
        """Begin as the partition that this one came of at a split, once a partition of the index has all of that one's log (ADR 0078): the log goes on behind it. None: it came of none, or that partition of
        the index was not fed from it either. Raises as `run` does."""
        table = self._parts.metadata.tables.get(self._table.table_id, self._table)
        former = parent_of(table, self._info.partition_id)
        if former is None:
            return None
        if self._parent is None:
            parent = IndexFeed(self._parts, table, former.info, self._index)
            parent._target = self._target
            self._parent = parent, {info.partition_id: fed for info, fed in await parent._spread()}
        parent, known = self._parent
        before = known[place.partition_id] or await parent._inherit(place)
        if before is None:
            return None
        end = Lsn(former.final.lsn)
        before = await parent._end(place, before, end)
        return await self._begin_as(place, Fed(end, None if before.cursor is None else b""))

    async def _end(self, place: PartitionInfo, fed: Fed, end: Lsn) -> Fed:
        """Feed a log that has ended, from node or archive, to one partition of the index. How far that has come then; items that are still to be put in are put in from the children."""
        while fed.lsn < end:
            first = Lsn(fed.lsn + 1)
            page = await self._parts.changes.read(self._info, first, limit=CHANGES, last=end)
            upto = Lsn(page.next[0] - 1)
            changes = [
                one for one in page.changes if one.lsn <= upto
            ]  # what is here of a record that the page ends within waits for the rest
            if page.next[1] and upto < first:
                upto, changes = await self._whole(first)
            if upto < first:
                raise Unavailable(
                    "the log of a partition that was split cannot be read to its end now", partition=self._info.partition_id, lsn=first
                )
            rows = tuple([row for at, row in self._rows_of(changes) if at == place.partition_id])
            fed = await self._send(place, FeedCommand(self._key(place), FeedCommand.CHANGES, fed.lsn, min(upto, end), rows))
        return fed

    async def _beginning(self) -> Lsn:
        """The LSN of a checkpoint behind which the log says what was there before each change: what lies below is in the items that are put in. Waits until its leader has said so."""
        while True:
            table = self._parts.metadata.tables.get(self._table.table_id)
            stated = None if table is None else self._parts.fleet.stated(table)
            behind = (
                None if stated is None else stated.get(self._info.partition_id)
            )  # it may have been split meanwhile: then who feeds its children is another
            page = None if behind is None else await self._page(b"", behind, rows=1)
            if page is not None:
                return page.lsn
            await self._parts.env.tasks.sleep(WAIT_S)

    # ------------------------------------------------------------------ the log

    async def _follow(self, until: Lsn | None = None) -> bool:
        """Send the next changes, up to `until` if given. False: there are none (yet)."""
        env, first = self._parts.env, Lsn(self._read + 1)
        now_us = env.clock.wall_us()
        if self._applied() < first:
            self._fresh(now_us)
            return await self._note_quiet()
        page = await self._parts.changes.read(self._info, first, limit=CHANGES)
        upto, changes = Lsn(page.next[0] - (page.next[1] == 0)), page.changes
        if page.next[1]:
            # The page ends within a record, which is sent as a whole: what of it is here waits for the rest.
            upto = Lsn(page.next[0] - 1)
            changes = [change for change in changes if change.lsn <= upto]
            if upto < first:
                upto, changes = await self._whole(first)
        if until is not None and upto > until:
            upto, changes = until, [change for change in changes if change.lsn <= until]
        if upto < first:
            self._fresh(now_us)
            return False
        await self._send_changes(upto, changes)
        self._read = upto
        self._fresh(now_us if page.at_end and until is None else stamp_micros(page.stamp))
        return True

    def _fresh(self, now_us: int) -> None:
        """The index has all that was changed before `now_us`."""
        self._fresh_us = max(self._fresh_us, now_us) if self._placed else now_us
        self._placed = True

    async def _note_quiet(self) -> bool:
        """Note how far the index is fed though there was no row for it: who compares it with its table waits for that. Now and then. False: nothing is to be noted."""
        now_us = self._parts.env.clock.boot_us()
        behind = [info for info in self._target.partitions if self._fed[info.partition_id].lsn < self._read]
        if not behind or now_us - self._noted_us < QUIET_US:
            return False
        self._noted_us = now_us
        for info in behind:
            fed = self._fed[info.partition_id]
            await self._send(info, FeedCommand(self._key(info), FeedCommand.CHANGES, fed.lsn, self._read))
        return True

    async def _whole(self, lsn: Lsn) -> tuple[Lsn, list[ItemChange]]:
        """All changes of one record that has more than a page."""
        found: list[ItemChange] = []
        place = lsn, 0
        while place[0] == lsn:
            page = await self._parts.changes.read(self._info, lsn, position=place[1], limit=CHANGES)
            found += [change for change in page.changes if change.lsn == lsn]
            place = page.next
        return lsn, found

    def _applied(self) -> Lsn:
        partition = self._info.partition_id
        return max((node.applied(partition) for node in self._parts.fleet.members(self._info)), default=Lsn(0))

    async def _send_changes(self, upto: Lsn, changes: Sequence[ItemChange]) -> None:
        rows: dict[PartitionId, list[tuple[int, bytes, bytes | None]]] = {info.partition_id: [] for info in self._target.partitions}
        for place, row in self._rows_of(changes):
            rows[place].append(row)
        for info in self._target.partitions:
            fed, its = self._fed[info.partition_id], rows[info.partition_id]
            if its or upto - fed.lsn >= QUIET_LSN or fed.cursor is not None:
                await self._send(info, FeedCommand(self._key(info), FeedCommand.CHANGES, fed.lsn, max(upto, fed.lsn), tuple(its)))

    def _rows_of(self, changes: Sequence[ItemChange]) -> Iterator[tuple[PartitionId, tuple[int, bytes, bytes | None]]]:
        """What changes do to the index, and in which of its partitions."""
        for change in changes:
            gone, come = self._rows.change(change.key, change.old, change.new)
            for key in gone:
                if key not in come:
                    yield self._place(key), (change.lsn, key, None)
            for key, item in come.items():
                yield self._place(key), (change.lsn, key, stored(self._owner, change.lsn, item))

    # ------------------------------------------------------------------ items that were there before

    async def _fill(self) -> None:
        """One page of items, and the log up to where the page was read."""
        clock, tasks = self._parts.env.clock, self._parts.env.tasks
        began_us = clock.boot_us()
        start = min(fed.cursor for fed in self._fed.values() if fed.cursor is not None)
        floor = max(fed.lsn for fed in self._fed.values())
        page = await self._page(start, floor)
        if page is None:
            await tasks.sleep(WAIT_S)
            return
        rows: dict[PartitionId, list[tuple[int, bytes, bytes | None]]] = {info.partition_id: [] for info in self._target.partitions}
        for lsn, key, value in page.found:
            rows[self._place(key)].append((lsn, key, value))
        for info in self._target.partitions:
            if self._fed[info.partition_id].cursor is not None:
                its = tuple(rows[info.partition_id])
                await self._send(info, FeedCommand(self._key(info), FeedCommand.PAGE, 0, page.lsn, its, start, page.next))
        self._filled += page.rows
        self._filling = any(fed.cursor is not None for fed in self._fed.values())
        while self._read < page.lsn and await self._follow(page.lsn):
            pass
        pause_us = page.rows * 1_000_000 // self._parts.rows_per_second - (clock.boot_us() - began_us)
        if pause_us > 0 and page.next is not None:
            await tasks.sleep(pause_us / 1e6)

    async def _page(self, start: bytes, floor: Lsn, *, rows: int | None = None) -> IndexRowsFound | None:
        """From a good copy, rather one that does not lead. None: the checkpoints of all of them lie below `floor` yet. Raises Unavailable: none answers."""
        request = FindIndexRows(self._info.partition_id, start, self._definition, rows or PAGE_ROWS, PAGE_BYTES)
        last: ScrubjayError | None = None
        found: IndexRowsFound | None = None
        for name in self._copies():
            try:
                found = await asked(self._parts.env.tasks, self._parts.fleet.ports[name], request, IndexRowsFound, timeout_s=PAGE_WAIT_S)
            except ScrubjayError as error:  # another copy may have it
                last = error
                continue
            if found.lsn >= floor:
                return found
        if found is None:
            raise Unavailable("no copy can be read for the index now", partition=self._info.partition_id, last=str(last))
        return None

    def _copies(self) -> list[NodeName]:
        leader = self._parts.fleet.leader(self._info.partition_id)
        leads = None if leader is None else leader.node
        good = [copy.node for copy in self._parts.fleet.copies(self._info) if copy.kind == "storage" and copy.state == "ok"]
        return sorted(good, key=lambda name: name == leads)

    # ------------------------------------------------------------------ the index

    def _key(self, info: PartitionInfo) -> bytes:
        return fed_key(bytes.fromhex(info.lo), self._info.partition_id)

    def _place(self, key: bytes) -> PartitionId:
        return self._parts.router.partition_of(self._target, key).partition_id

    async def _known(self, info: PartitionInfo) -> Fed | None:
        return await fed_of(self._parts, self._target, info, self._info.partition_id)

    async def _send(self, info: PartitionInfo, command: FeedCommand) -> Fed:
        """How far that partition of the index has been fed then. Raises Unavailable, and Conflict where what was sent does not continue what it has."""
        future = self._parts.env.tasks.future()
        self._parts.router.write(self._target, command, partial(settle, future))
        answer: WriteAnswer = await future
        outcome = answer.outcome
        if outcome.error is not None:
            raise from_code(outcome.error.code, outcome.error.message, outcome.error.fields)
        if outcome.decision is Decision.CONDITION_FAILED:
            raise Unavailable("another has fed this index meanwhile, or less than was thought", index=self._index.name)
        if outcome.new is None:
            raise Internal("an index took what it was fed and says nothing", index=self._index.name)
        fed = self._fed[info.partition_id] = Fed.decode(outcome.new)
        return fed


async def fed_of(parts: Parts, target: TableMeta, info: PartitionInfo, source: PartitionId) -> Fed | None:
    """How far a partition of an index has been fed from `source`, strongly; None: not begun. Raises Unavailable, Corrupt."""
    future = parts.env.tasks.future()
    parts.router.read(target, fed_key(bytes.fromhex(info.lo), source), consistent=True, done=partial(settle, future))
    answer: ReadAnswer = await future
    return None if answer.item is None else Fed.decode(answer.item)


def fed_rows(owner: TableMeta, target: TableMeta) -> int:
    """How many rows of an index's internal table say how far it was fed. Pure; what left the catalogue is not counted."""
    return len(owner.partitions) * len(target.partitions)
