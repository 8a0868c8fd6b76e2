"""Nodes come to hold and lead alike: what a node that joined is given, and what one leads again after a restart (ADR 0086).

Whoever works for the cluster looks, decides by `server.balance`, and says what is to go: of a copy in the catalogue, from which on `server.relocating` moves it as any other, through the end of any process; of a
lead to who leads. Nothing of it is remembered beyond this process, and what was begun needs nobody to know that it was. Nobody waits for it, so it waits for everybody: nothing begins while a node is out, is
drained or came back just now, a copy is not whole, a table is restored, or splits are under way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.base.kept_loops import KeptLoop
from scrubjay.server.balance import CopyMove, HeldPartition, LeadMove, NodePlace, plan_copies, plan_leads, with_less
from scrubjay.server.control import Control
from scrubjay.server.copy_moves import Layout
from scrubjay.server.ports import Report
from scrubjay.server.relocating import LANES, Relocating, partitions_of
from scrubjay.server.replacing import IN_USE, members_of
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.cluster_version import BALANCING
from scrubjay.storage.control.by_size import rests
from scrubjay.storage.control.placement import COPIES
from scrubjay.storage.control.splits import keeps_from
from scrubjay.storage.log.configuration import CopyKind, Vote
from scrubjay.storage.node.port import Fine, GiveLead, ReplicaFacts, asked

LOOK_S = 2.0
"""Between two looks. Each hands over LEADS_AT_ONCE leads at most."""
LEADS_AT_ONCE = 2
LAG_MAX = 1_000
"""So many records whoever is to lead may lack: writes wait until it has them."""
TELL_S = 5.0
DECLINED_US = 60_000_000
DECLINES_MAX = 3
"""So long nobody is given a lead who took none of those that it was given at so many looks: it stops, or its clock keeps it from leading, and each try is a pause for writes."""
OFF = "it is turned off"
NOT_HERE = "this process does not work for the cluster"


class BalanceOptions(NamedTuple):
    """copies, leads: whether they are evened out. steady_us: for so long a node has to be there before anything goes to it. low_bytes: of its disk that nothing is moved onto."""

    copies: bool = True
    leads: bool = True
    steady_us: int = 60_000_000
    low_bytes: int = 0


class Moving(NamedTuple):
    """A copy on its way. target: None: none is to have it any more. left: what is still to be done, in words."""

    table: str
    partition: PartitionId
    source: NodeName
    target: NodeName | None
    left: str


def copies_moving(control: Control) -> list[Moving]:
    """Copies that go though their node stays, as the catalogue and the groups have them."""
    names = {node.number: name for name, node in control.ports.items()}
    found = []
    for _, one, info in partitions_of(control):
        if not info.goes or info.goes[0] not in names or one.status not in IN_USE:
            continue  # of a table that is dropped nothing goes any more
        target, left = _target(control, info)
        found.append(Moving(one.name, info.partition_id, names[info.goes[0]], names.get(target), left))
    return found


def _target(control: Control, info: PartitionInfo) -> tuple[int, str]:
    """Number of the node that takes the copy, 0: it cannot be told; and what is still to be done."""
    if info.fresh:
        return info.fresh[0], "the new copy is begun"
    leader = control.fleet.leader(info.partition_id)
    if leader is None:
        return 0, "the group has no leader"
    try:
        places = {number: members_of(info, leader).place(number) for number in info.nodes}
    except ScrubjayError as error:
        return 0, str(error)
    going = places.get(info.goes[0])
    if going is None or going.vote is Vote.GONE:
        return 0, "the old copy is removed"
    others = [number for number in info.nodes if number not in info.goes and number not in info.logs]
    founders = [member[0] for member in info.members]
    zones = {node.number: control.zones.get(name) for name, node in control.ports.items()}
    came = sorted(others, key=lambda number: (number in founders, zones.get(number) != zones.get(info.goes[0])))
    learns = [number for number in others if (place := places[number]) is None or place.vote is not Vote.VOTES]
    if learns:
        return learns[0], "the new copy is filled"
    return came[0] if came else 0, "the old copy is to leave the group"


def balance_report(control: Control) -> Report:
    """Of `cluster status`: what moves, and why nothing more does, as far as this process knows."""
    moving = [
        {"table": one.table, "partition": one.partition, "from": one.source, "to": one.target, "left": one.left}
        for one in copies_moving(control)
    ]
    evens = control.evens
    return {
        "moving": moving,
        "copies": None if evens is None else evens.why or None,
        "leaders": None if evens is None else evens.why_leads or None,
        "declined": [] if evens is None else evens.declined(),
    }


class _Takers:
    """gave: who was given which lead at the last look, by number of its node. declined: until when, boot time, a node is given none."""

    def __init__(self) -> None:
        self.gave: dict[PartitionId, int] = {}
        self.declined: dict[int, int] = {}
        self._declines: dict[int, int] = {}
        """At how many looks one after the other a node took none."""

    def look(self, control: Control, now_us: int) -> None:
        """Who took what it was given."""
        self.declined = {number: until_us for number, until_us in self.declined.items() if now_us < until_us}
        leaders = [control.fleet.leader(partition) for partition in self.gave]
        took = {control.ports[leader.node].number for leader in leaders if leader is not None}
        for number in sorted(set(self.gave.values())):
            self._declines[number] = 0 if number in took else self._declines.get(number, 0) + 1
            if self._declines[number] >= DECLINES_MAX:
                self.declined[number], self._declines[number] = now_us + DECLINED_US, 0
        self.gave = {}


class Balancing:
    """works: whether this process works for the cluster. free: of a node's disk, bytes, None: not known. scrubbed: partitions whose copies are compared just now. log: hears what a server's log is to say.

    why: why no copy begins to move, and why_leads: why no lead is handed over, now; "": nothing keeps it. counts: what this process did, by kind: "copies" that began to move, "leads" handed over."""

    def __init__(
        self,
        env: Env,
        control: Control,
        relocating: Relocating,
        options: BalanceOptions,
        *,
        works: Callable[[], bool],
        log: Callable[[str], None],
        free: Callable[[NodeName], int | None] = lambda _: None,
        scrubbed: Collection[PartitionId] = (),
    ) -> None:
        self._env, self._control, self._relocating, self._options = env, control, relocating, options
        self._works, self._log, self._free, self._scrubbed = works, log, free, scrubbed
        self._loop = KeptLoop(self._env.tasks, self._run, name="balancing")
        self._seen: dict[NodeName, tuple[int, int]] = {}
        """Of each node that is there: how often it had started, and since when that is so, boot time."""
        self._takers = _Takers()
        self.why = self.why_leads = NOT_HERE
        self.counts = {"copies": 0, "leads": 0}

    def start(self) -> None:
        if self._options.copies or self._options.leads:
            self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    async def _run(self) -> None:
        while True:
            if self._works():
                await self.look()
            else:
                self._seen = {}
                self.why = self.why_leads = NOT_HERE
            await self._env.tasks.sleep(LOOK_S)

    async def look(self) -> None:
        """One look, and what follows from it."""
        self._notice()
        self._takers.look(self._control, self._env.clock.boot_us())
        lacks = self._control.store.version.lacks(BALANCING) or rests(self._control.fleet, self._control.metadata)
        self.why = (lacks or self._waits()) if self._options.copies else OFF
        self.why_leads = lacks if self._options.leads else OFF
        if self.why and self.why_leads:
            return
        placed = self._relocating.layout()
        known = {info.partition_id: (table_id, one, info) for table_id, one, info in partitions_of(self._control)}
        held = [held for _, one, info in known.values() if (held := self._held(one, info, placed)) is not None]
        places = self._places(placed)
        if not self.why:
            lanes = LANES - len(copies_moving(self._control))
            for move in plan_copies(places, held, most=lanes):
                await self._move(*known[move.partition], move)
                held = [each for each in held if each.partition != move.partition]
        if not self.why_leads:
            for lead in plan_leads(places, held, most=LEADS_AT_ONCE):
                await self._give(known[lead.partition][1], lead)

    def declined(self) -> list[Report]:
        """Nodes that could not take a copy, and are given none for a while: which, of what, why, and for how many seconds still."""
        now_us, found = self._env.clock.boot_us(), self._relocating.filling.declined
        return [
            {
                "node": self._name(number),
                "partition": one.partition,
                "why": one.why,
                "seconds": max(0, (one.until_us - now_us) // 1_000_000),
            }
            for number, one in sorted(found.items())
        ]

    # ------------------------------------------------------------------ what is known

    def _notice(self) -> None:
        """Since when each node is there, in its present life."""
        now_us = self._env.clock.boot_us()
        seen: dict[NodeName, tuple[int, int]] = {}
        for name, node in self._control.ports.items():
            status = node.status()
            if status.failed is None and status.started:
                before = self._seen.get(name)
                seen[name] = before if before is not None and before[0] == status.boots else (status.boots, now_us)
        self._seen = seen

    def _waits(self) -> str:
        """Why no copy begins to move anywhere, "": one may."""
        control = self._control
        if len(copies_moving(control)) >= LANES:
            return f"{LANES} copies are on their way"
        for _, one, info in partitions_of(control):
            if info.goes or one.status not in ("ACTIVE", "UPDATING"):
                continue
            if info.fresh:
                return f"a copy of {one.name} is made on another node"
            unfit = next((copy for copy in control.fleet.copies(info) if copy.state != "ok"), None)
            if unfit is not None:
                return f"a copy of {one.name} is {unfit.state} on {unfit.node}: that is put right first"
        return ""

    def _places(self, placed: Layout) -> list[NodePlace]:
        """Every node that is a member."""
        now_us, places, arriving = self._env.clock.boot_us(), [], self._arriving(placed)
        names = {node.number: name for name, node in self._control.ports.items()}
        for number, name in names.items():
            if number not in placed.members or placed.leaves(number):
                continue
            status, seen, free = self._control.ports[name].status(), self._seen.get(name), self._free(name)
            keeps = "it stops" if status.stopping else "full" if status.full else ""
            if seen is None or now_us - seen[1] < self._options.steady_us:
                keeps = "it came up just now"
            if number in self._relocating.filling.declined:
                keeps = "it could not take a copy"
            room = None if free is None else max(0, free - self._options.low_bytes)
            place = NodePlace(number, placed.zones.get(number, str(number)), keeps, room)
            for size in arriving.get(number, ()):
                place = with_less(place, size)
            places.append(place)
        return places

    def _arriving(self, placed: Layout) -> dict[int, list[int]]:
        """By number of the node that takes them: bytes of the copies that are on their way."""
        found: dict[int, list[int]] = {}
        for _, one, info in partitions_of(self._control):
            if info.goes and one.status in IN_USE:
                for number in placed.storage(info):
                    if number not in info.goes and self._control.fleet.on_its_way(info, number):
                        found.setdefault(number, []).append(self._size(info))
        return found

    def _size(self, info: PartitionInfo) -> int:
        """Bytes of a partition's items. Where nobody leads for a moment it weighs what it did: else whoever holds it would be given more, and later give it back."""
        leader = self._control.fleet.leader(info.partition_id)
        return max([facts.size for facts in self._control.fleet.facts(info.partition_id)], default=0) if leader is None else leader.size

    def _held(self, one: TableMeta, info: PartitionInfo, placed: Layout) -> HeldPartition | None:
        """None: its copies are on their way out, and count for nobody."""
        if one.status not in ("CREATING", "ACTIVE", "UPDATING"):
            return None
        leader = self._control.fleet.leader(info.partition_id)
        nodes = tuple([number for number in placed.storage(info) if not placed.let_go(info, number)])
        leads = 0 if leader is None else self._control.ports[leader.node].number
        stays = self._stays(one, info, leader)
        heirs = () if stays or leader is None else tuple(self._heirs(info, leader))
        return HeldPartition(info.partition_id, nodes, self._size(info), stays, leads, heirs)

    def _stays(self, one: TableMeta, info: PartitionInfo, leader: ReplicaFacts | None) -> str:
        """Why the partition's copies, and its lead, stay where they are now, "": they may go."""
        if one.table_id == self._control.system.table_id:
            return "the metadata group stays where it is"
        if info.partition_id in self._scrubbed:
            return "its copies are compared just now"
        why = keeps_from(one, info, leader, lacks="")
        if why or leader is None:
            return why
        if one.status != "ACTIVE" or not isinstance(one.split, msgspec.UnsetType):
            return f"the table is {one.status}, or is being split"
        storage = {number for number in info.nodes if number not in info.logs}
        if len(storage) != COPIES:
            return "it has others than three storage replicas"
        try:
            places = members_of(info, leader).places
        except ScrubjayError as error:
            return str(error)
        voters = {place.member.node for place in places if place.vote is Vote.VOTES and place.kind is CopyKind.STORAGE}
        if voters != storage:  # a log that stands by is in nobody's way
            return "one of its members does not vote"
        copies = [copy for copy in self._control.fleet.copies(info) if copy.state == "ok"]
        if len(copies) != COPIES:
            return "not all of its copies are whole"
        return ""

    def _heirs(self, info: PartitionInfo, leader: ReplicaFacts) -> Iterator[int]:
        """Who could lead soon: it votes, serves and lacks little, and takes what it is given."""
        for node in self._control.fleet.members(info):
            if node.number in self._takers.declined:
                continue
            copy = node.facts(info.partition_id)
            fit = copy is not None and copy.node != leader.node and copy.up and copy.usable and copy.vote == "votes" and copy.tree == "ok"
            if copy is not None and fit and copy.applied + LAG_MAX >= leader.applied:
                yield node.number

    def _name(self, number: int) -> NodeName | None:
        return next((name for name, node in self._control.ports.items() if node.number == number), None)

    # ------------------------------------------------------------------ what follows

    async def _move(self, table_id: TableId, one: TableMeta, info: PartitionInfo, move: CopyMove) -> None:
        try:
            begun = await self._relocating.begin(table_id, info, source=move.source, target=move.target)
        except ScrubjayError:
            return  # the next look sees
        if begun:
            self.counts["copies"] += 1
            self._log(
                f"{one.name}: the copy of partition {info.partition_id} on {self._name(move.source)} goes to {self._name(move.target)}, which holds {move.apart >> 20} MiB less"
            )

    async def _give(self, one: TableMeta, move: LeadMove) -> None:
        name = self._name(move.source)
        if name is None:
            return
        try:
            await asked(self._env.tasks, self._control.ports[name], GiveLead(move.partition, move.target), Fine, timeout_s=TELL_S)
        except ScrubjayError:
            return  # the next look sees
        self._takers.gave[move.partition] = move.target
        self.counts["leads"] += 1
        self._log(
            f"{one.name}: {self._name(move.target)} leads partition {move.partition} in the place of {name}, which leads {move.apart} more"
        )
