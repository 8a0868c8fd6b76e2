"""The small objects of a cluster: identity, epochs, closed timestamps, backups. Each must be there, decode, and fit the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from scrubjay.archiver.facts import Closed
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.fault import Fault, said_of
from scrubjay.archiver.format.former import decode_former
from scrubjay.archiver.format.identity import decode_epoch, decode_identity
from scrubjay.archiver.format.layout import (
    ClosedKey,
    EpochKey,
    FormerKey,
    IdentityKey,
    IndexKey,
    build,
    closed_prefix,
    former_prefix,
    index_prefix,
    parse,
)
from scrubjay.archiver.read.backup_pins import PinReader
from scrubjay.archiver.read.days import Days, read_day
from scrubjay.archiver.read.epochs import closed_fault
from scrubjay.archiver.read.formers import former_names
from scrubjay.archiver.read.names import PARALLEL, list_all
from scrubjay.archiver.read.partition import PartitionIndex
from scrubjay.archiver.verify.round import CHUNK, Round, Spent
from scrubjay.base.errors import FORGED, HOLE, Corrupt, Missing, NoKey
from scrubjay.base.together import in_parallel

EXPIRY_US_MIN = 86_400_000_000
"""No retention is shorter than a day: what is younger than that beside the newest cannot have expired."""
EPOCHS_NAMED = 16
"""Of epochs that are absent in a row so many are looked for and named one by one. A name says any number: what is behind them is told as a range."""
FORMERS_NAMED = 16
"""Of former members that are absent so many are named: a name says any number."""
LISTED_CLOSED = 16
"""At level `listed` so many of each node's newest closed objects are read: the others are named by them, and prove nothing that these do not."""


class SmallObjects:
    """known: what closed objects say of each (table, partition). told: what the daily index does, as far as this run read it."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self.known: dict[tuple[str, str], PartitionIndex] = {}
        self.told = Days()

    async def identity(self) -> None:
        """Identity, every epoch up to the highest, which are claimed in order, each once; and the former members."""
        key = build(IdentityKey(self._round.cluster))
        await self._small(key, lambda data: decode_identity(data, where=key))
        if key in self._round.unread:
            raise Spent(self._round.why_unread())  # it lies under the key that the archive was begun with: nothing else can be read either
        epochs = await list_all(self._round.store, f"{self._round.cluster}/epoch/")
        there = dict.fromkeys(parsed.number for parsed in map(parse, epochs) if isinstance(parsed, EpochKey))
        names: list[str] = []
        expected = 1
        for number in [*sorted(there), *([] if there else [1])]:
            named = min(number, expected + EPOCHS_NAMED)
            names += [build(EpochKey(self._round.cluster, one)) for one in (*range(expected, named), number)]
            if named < number:
                lost = build(EpochKey(self._round.cluster, named))
                self._round.find(HOLE, lost, f"epochs {named} to {number - 1} are not there, and a higher one is")
            expected = number + 1
        for name in names:
            await self._small(name, lambda data, name=name: decode_epoch(data, where=name))  # type: ignore[misc]
        formers = await self._formers()
        await self._round.tell([key, *names, *formers])

    async def _formers(self) -> list[str]:
        """Keys of the former members that are there. They are numbered from 1 on, without a gap, and none is ever deleted: below the highest each has to be there, and so has one that is remembered. Whose folders one named that is gone
        nobody knows any more."""
        formers = await former_names(self._round.store, self._round.cluster)
        for name in formers:
            await self._small(name, lambda data, name=name: decode_former(data, where=name))  # type: ignore[misc]
        there = [key.number for key in map(parse, formers) if isinstance(key, FormerKey)]
        missing = [number for number in range(1, min(max(there, default=0), len(there) + FORMERS_NAMED)) if number not in there]
        for number in missing:
            lost = build(FormerKey(self._round.cluster, number))
            if await self._round.store.head(lost) is None:  # a listing is no snapshot
                self._round.find(
                    HOLE, lost, "the object is gone, and a later one is there: whose folders it keeps out is not known any more"
                )
        await self._round.remembered(former_prefix(self._round.cluster), dict.fromkeys(formers, 0), None, None, lambda _: False)
        return formers

    async def _small(self, key: str, decode: Callable[[bytes], Any]) -> None:
        """A small object that must be there and decode."""
        self._round.spend()
        self._round.report.checked += 1
        try:
            data = await self._round.store.get(key)
            self._round.report.bytes += len(data)
            decode(data)
        except Missing:
            self._round.find(HOLE, key, "the object is gone")
        except (Corrupt, NoKey) as error:
            self._round.find(error.kind, key, said_of(error))

    async def pins(self) -> None:
        """Every backup. One that cannot be read keeps retention from taking anything away, and is none. One that is remembered and not there is gone, unless it was
        deleted meanwhile: then nobody remembers it any more."""
        noted = self._round.options.noted()
        found = await PinReader(self._round.tasks, self._round.store, self._round.cluster).all()
        self._round.report.checked += len(found.pins) + len(found.unread)
        for fault in found.unread:
            self._round.find(fault.kind, fault.object, fault.detail)
        there = {build(pin.key()) for pin in found.pins} | {fault.object for fault in found.unread}
        missed = [key for key in noted if key not in there]
        for key in missed:
            if key in self._round.options.noted() and await self._round.store.head(key) is None:
                self._round.find(HOLE, key, "the pin of a backup is gone: its moment is held only as long as this cluster remembers it")

    async def index(self) -> None:
        """What was told of each day. One that is gone is missed as long as retention cannot have taken it."""
        prefix = index_prefix(self._round.cluster)
        listed = await list_all(self._round.store, prefix)
        names = [name for name in listed if isinstance(parse(name), IndexKey)]
        # What claims to be of later than now stands for nothing: it is no newest one, and beside it nothing is old.
        today_us = self._round.options.wall_us() + self._round.options.ahead_us if self._round.options.wall_us is not None else 1 << 62
        newest = max((day_us for name in names if (day_us := _day_us(name)) <= today_us), default=0)

        def may_go(name: str) -> bool:
            return newest - _day_us(name) >= EXPIRY_US_MIN

        await self._round.remembered(prefix, listed, None, None, may_go)
        fresh = await self._round.fresh(names)
        for name in names:
            if name not in fresh:
                await self._index_one(name, listed[name], may_go=may_go(name))
                await self._round.tell([name])

    async def _index_one(self, name: str, size: int, *, may_go: bool) -> None:
        self._round.spend()
        self._round.report.checked += 1
        now_us = self._round.options.wall_us() if self._round.options.wall_us is not None else None
        found = await read_day(self._round.store, name, self._round.reader.epochs, now_us=now_us, ahead_us=self._round.options.ahead_us)
        if not isinstance(found, Fault):
            self._round.report.bytes += size
            self.told.note_names(found)
        elif found.kind != HOLE or not may_go:
            self._round.find(found.kind, name, found.detail)

    async def closed(self) -> bool:
        """Every closed object (at `listed`: the newest of each node), several at a time. Whether there is any."""
        prefix = closed_prefix(self._round.cluster)
        sizes = await list_all(self._round.store, prefix)
        keys = [key for key in map(parse, sizes) if isinstance(key, ClosedKey)]
        newest: dict[str, list[ClosedKey]] = {}
        for key in keys:
            newest.setdefault(key.node, []).append(key)
        late = {build(key): None for some in newest.values() for key in some[-LISTED_CLOSED:]}
        whole = self._round.at_least("objects") and self._round.options.table is None
        names = [build(key) for key in keys if whole or build(key) in late]
        fresh = await self._round.fresh([name for name in names if name not in late])
        last = {node: some[-1].time_us for node, some in newest.items()}
        if self._round.options.table is None:
            await self._round.remembered(prefix, sizes, None, None, lambda name: _may_have_expired(name, last))
        for start in range(0, len(names), CHUNK):
            self._round.spend()
            some = [name for name in names[start : start + CHUNK] if name not in fresh]
            read = await in_parallel(
                self._round.tasks, lambda name: self._closed_one(name, sizes, last), some, lanes=PARALLEL, name="read closed objects"
            )
            await self._round.tell([name for name, looked in zip(some, read, strict=True) if looked])
            self._round.say(phase="closed")
        return bool(keys)

    async def _closed_one(self, key: str, sizes: Mapping[str, int], newest: Mapping[str, int]) -> bool:
        """One closed object: sound, credible, and the one that it names as the one before it is there, unless that may have expired. False: it has itself
        expired since it was listed."""
        self._round.report.checked += 1
        try:
            data = await self._round.store.get(key)
            self._round.report.bytes += len(data)
            closed = decode_closed(data, where=key)
        except Missing:
            if _may_have_expired(key, newest) and await self._round.store.head(key) is None:
                self._round.report.checked -= 1
                return False
            self._round.find(HOLE, key, "the object is gone")
            return True
        except (Corrupt, NoKey) as error:
            self._round.find(error.kind, key, said_of(error))
            return True
        now_us = self._round.options.wall_us() if self._round.options.wall_us is not None else closed.time_us
        fault = await closed_fault(closed, self._round.reader.epochs, now_us=now_us, ahead_us=self._round.options.ahead_us)
        if fault is not None:
            self._round.find(FORGED, key, fault)
            return True
        if closed.before_us is not None:
            name = build(ClosedKey(closed.cluster, closed.node, closed.before_us))
            if name not in sizes and not _may_have_expired(name, newest) and await self._round.store.head(name) is None:
                self._round.find(HOLE, name, "the closed object is gone; the one after it names it")
        for point in closed.points:
            self._facts_of(point.table, point.partition).note_closed(
                Closed(point.closed, point.last_content, point.last_seal, point.chain, closed.epoch), point.archived
            )
        return True

    def _facts_of(self, table: str, partition: str) -> PartitionIndex:
        key = (table, partition)
        if key not in self.known:
            self.known[key] = PartitionIndex(self._round.cluster, table, partition)
        return self.known[key]


def _day_us(name: str) -> int:
    """Midnight of an index object's day; 0 if no calendar has it."""
    key = parse(name)
    try:
        return int(datetime.strptime(key.day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000 if isinstance(key, IndexKey) else 0
    except ValueError:
        return 0


def _may_have_expired(name: str, newest: Mapping[str, int]) -> bool:
    """A closed object so much older than its node's newest that retention may have taken it away. newest: time of each node's newest."""
    key = parse(name)
    return isinstance(key, ClosedKey) and newest.get(key.node, key.time_us) - key.time_us >= EXPIRY_US_MIN
