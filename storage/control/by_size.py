"""Which partition, of a table or of a global index, is split by itself, for it has grown beyond `tables.split_size` (ADR 0078, 12): whoever works for the cluster looks, and begins one after the other. `Splits` carries them on.

Nothing is remembered beyond this process: what is too large the leaders say, what is under way and when a table was split last the catalogue. Whoever takes over looks anew. A split by itself waits
for nothing that a person waits for: while a node is out, a copy is missing or made, a restore runs, a node is drained or has no room for the halves, none begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Invalid, ScrubjayError, Unavailable
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.storage.catalogue import DRAINING, REMOVED, SYSTEM_TABLES, PartitionInfo, TableMeta, index_tables
from scrubjay.storage.control.asking import Asking
from scrubjay.storage.control.fleet import Fleet
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.placement import COPIES
from scrubjay.storage.control.splits import IN_USE, Splits, keeps_from
from scrubjay.storage.node.errand_messages import CutFound, FindCut, room_to_split

LOOK_S = 5.0
"""Between two looks."""
APART_US = 60_000_000
"""Between the last split of a table and the next that begins by itself."""
UNDER_WAY_MAX = 2
"""Splits on their way in the whole cluster, by whomever asked for, above which none begins by itself: each copies a partition on three nodes."""
LEAST_SHARE = 16
"""The smaller half must have such a part of the bytes: else all is copied, and what is left is as large as it was."""
GROWN = 2
"""A partition that could not be divided is looked at again when it is so many times as large."""
ONE_KEY = "it cannot be divided: nearly all of it is of one partition key"
NO_ROOM = "a node has no room"
FIND_S = 900.0
"""The longest a node may take to walk over its copy."""


class Large(NamedTuple):
    """A partition beyond the size at which it is split, bytes of items. why: it is not split just now, "": it is next, or being split."""

    partition: PartitionId
    size: int
    why: str


async def find_cut(asking: Asking, fleet: Fleet, partition: PartitionId) -> CutFound:
    """Where a copy of a partition is cut in halves; `cut` is empty where it cannot be: all of it is of one partition key, or it is empty. Raises what the last copy that was asked
    answers, Unavailable: no copy can be read."""
    leader = fleet.leader(partition)
    # its leader has clients to serve
    usable = [one for one in fleet.facts(partition) if one.up and one.usable and one.tree == "ok"]
    usable.sort(key=lambda one: leader is not None and one.node == leader.node)
    last: ScrubjayError = Unavailable("no copy of the partition can be read now", partition=partition)
    for one in usable:
        try:
            return await asking.errand(one.node, FindCut(partition), CutFound)
        except ScrubjayError as error:
            last = error
    raise last


def rests(fleet: Fleet, metadata: Metadata) -> str:
    """Why no split begins by itself anywhere in the cluster now, "": one may."""
    tables = metadata.tables.values()
    under_way = sum(
        not isinstance(one.split, msgspec.UnsetType)
        for table in tables
        if table.status != "DROPPED"
        for one in (table, *index_tables(table))
    )
    if under_way >= UNDER_WAY_MAX:
        return f"{under_way} other splits are under way"
    restored = next((table.name for table in tables if table.restore_of is not None and table.restore_of.in_progress), None)
    if restored is not None:
        return f"table {restored} is being restored"
    for name, node in fleet.ports.items():
        member = metadata.standing(name, node.number)
        if member is None or member.state == REMOVED:
            continue
        if member.state == DRAINING:
            return f"node {name} is being drained"
        status = node.status()
        if status.failed is not None or not status.started:
            return f"node {name} is out"
    return ""


def keeps_whole(fleet: Fleet, table: TableMeta, info: PartitionInfo, *, lacks: str, now_us: int) -> str:
    """Why a partition that is too large is not split by itself now, "": nothing keeps it. lacks: see `keeps_from`. now_us: wall clock."""
    if not isinstance(table.split, msgspec.UnsetType):
        return "" if table.split.parent == info.partition_id else "another partition of the table is being split"
    last_us = max((former.closed_us for former in table.former or ()), default=0)
    if now_us - last_us < APART_US:
        return "another partition of the table was split less than a minute ago"
    why = keeps_from(table, info, fleet.leader(info.partition_id), lacks=lacks)
    if why:
        return why
    whole = [copy for copy in fleet.copies(info) if copy.kind == "storage" and copy.state == "ok"]
    if len(whole) < COPIES:
        return f"{len(whole)} of its copies are whole, {COPIES} have to be"
    return ""


def room_for(fleet: Fleet, info: PartitionInfo, size: int, free: Callable[[NodeName], int | None]) -> str:
    """Which member has no room for the halves of a partition beside itself, "": each has, as far as is known. free: bytes on the disk of a node, None: it does not say. Pure."""
    need = room_to_split(size)
    for node in fleet.members(info):
        room = None if node.number in info.logs else free(node.name)
        if room is not None and room < need:
            return f"node {node.name} has {room} bytes free, the halves need {need} there"
    return ""


class SplitsBySize:
    """free: see `room_for`; nobody says it where it is not given. size: bytes of items from which on a partition is split, 0: none ever is. works: whether this process works for the cluster. log: hears what a server's log is to say.

    begun: how many this process began. large: of each table that has some, what is beyond the size, as of the last look."""

    def __init__(
        self,
        env: Env,
        *,
        fleet: Fleet,
        metadata: Metadata,
        splits: Splits,
        size: int,
        works: Callable[[], bool],
        log: Callable[[str], None],
    ) -> None:
        self._env, self._fleet, self._metadata, self._splits = env, fleet, metadata, splits
        self._size, self._works, self._log = size, works, log
        self._asking = Asking(env, fleet.ports, limit_s=FIND_S)
        self._loop = KeptLoop(self._env.tasks, self._run, name="splits by size")
        self._whole: dict[PartitionId, int] = {}
        """Partitions that could not be divided, and the size from which on it is tried again."""
        self._failed: dict[PartitionId, str] = {}
        """Partitions of which the last try failed, and why."""
        self.free: Callable[[NodeName], int | None] = lambda _: None
        self.begun = 0
        self.large: dict[TableId, list[Large]] = {}

    def start(self) -> None:
        if self._size:
            self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        while True:
            if self._works():
                await self.look()
            else:
                self.large = {}
            await self._env.tasks.sleep(LOOK_S)

    async def look(self) -> None:
        """One look: what is too large, and the first that nothing keeps is begun to be split."""
        tables = self._tables()
        found = {table.table_id: large for table in tables if (large := self._large(table))}
        self._forget([one.partition for large in found.values() for one in large])
        why = rests(self._fleet, self._metadata) if found else ""
        self.large = {id_: [one._replace(why=one.why or why) for one in large] for id_, large in found.items()}
        free = [table for table in tables if isinstance(table.split, msgspec.UnsetType)]
        ready = [(one, table) for table in free for one in self.large.get(table.table_id, ()) if not one.why]
        if ready:
            one, table = max(ready, key=lambda each: (each[0].size, each[0].partition))
            await self._begin(table, next(info for info in table.partitions if info.partition_id == one.partition), one.size)

    def _tables(self) -> list[TableMeta]:
        """Indexes' internal tables too."""
        tables = [table for table in self._metadata.tables.values() if table.status in IN_USE and table.name not in SYSTEM_TABLES]
        return [one for table in tables for one in (table, *index_tables(table)) if one.status in IN_USE]

    def _large(self, table: TableMeta) -> list[Large]:
        """By their ranges. A leader that does not answer says nothing of its size: there are others to speak of that."""
        leaders = [(info, self._fleet.leader(info.partition_id)) for info in table.partitions]
        now_us = self._env.clock.wall_us()
        return [
            Large(info.partition_id, leader.size, self._why(table, info, leader.size, now_us))
            for info, leader in leaders
            if leader is not None and leader.size >= self._size
        ]

    def _why(self, table: TableMeta, info: PartitionInfo, size: int, now_us: int) -> str:
        again = self._whole.get(info.partition_id, 0)
        if size < again:
            return f"{ONE_KEY}; it is looked at again from {again} bytes on"
        why = keeps_whole(self._fleet, table, info, lacks=self._splits.lacks(table), now_us=now_us)
        if why or not isinstance(table.split, msgspec.UnsetType):
            return why
        short = room_for(self._fleet, info, size, self.free)
        if short and self._failed.get(info.partition_id) != NO_ROOM:
            self._failed[info.partition_id] = NO_ROOM
            self._log(f"{table.name}: partition {info.partition_id} has {size} bytes, and is not split now: {short}")
        return short

    def _forget(self, partitions: Iterable[PartitionId]) -> None:
        """What is not too large any more, or not there."""
        known = set(partitions)
        for noted in (self._whole, self._failed):
            for partition in [one for one in noted if one not in known]:
                del noted[partition]

    async def _begin(self, table: TableMeta, info: PartitionInfo, size: int) -> None:
        partition = info.partition_id
        try:
            found = await find_cut(self._asking, self._fleet, partition)
            if not found.cut or LEAST_SHARE * min(found.left, found.total - found.left) < found.total:
                if partition not in self._whole:
                    self._log(f"{table.name}: partition {partition} has {size} bytes, and is not split: {ONE_KEY}")
                self._whole[partition] = GROWN * size
                return
            # the walk took its time
            if self._works() and not rests(self._fleet, self._metadata) and not room_for(self._fleet, info, size, self.free):
                await self._splits.begin(table, info, found.cut)
                self.begun += 1
            self._failed.pop(partition, None)
        except (Conflict, Invalid):
            return  # the table, or the partition, is another by now: the next look sees
        except ScrubjayError as error:
            if self._failed.get(partition) != error.message:
                self._failed[partition] = error.message
                self._log(f"{table.name}: partition {partition} has {size} bytes, and is not split now: {error}")
