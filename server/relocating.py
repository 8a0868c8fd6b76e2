"""`scrubjay cluster join`, `drain` and `remove`: which nodes are members of the cluster, and where copies are, while tables go on (ADR 0077).

The catalogue says which nodes are members and which of them leave (`NodeMember`), and of each partition on which nodes it has copies (`PartitionInfo.hosts`); the groups' own CONFIGs say who
votes. From these alone follows what is left to be done, a step at a time (`next_move`, pure): there are no notes and no job. Whoever works for the cluster does it, after any stop, and so
does the next one.

A copy that goes from one node to another: the catalogue says that another node makes it; once its log is begun, that it has it; it is added as a learner, let vote when it is whole; who leads
on the node that leaves hands over; the member there is removed; the catalogue says so, and the copy goes. Between any two of these whoever dies leaves a group with a quorum of copies that have
all that was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import NodeName, PartitionId, TableId
from scrubjay.server.balance import ROOM
from scrubjay.server.control import Control
from scrubjay.server.copy_moves import SETTLED, Layout, Move, besides, made_anew, with_copy, without
from scrubjay.server.filling import Filling
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.process_talk import Asker, AskNode, IdentityTold, NodeTold, ask
from scrubjay.server.replacing import IN_USE, identity_told, members_of, next_step
from scrubjay.server.standing_in import LOG_KEPT_US, NOBODY, grows, lets_go, next_stand_in, only_stands_by
from scrubjay.storage.catalogue import DRAINING, MEMBER, REMOVED, NodeMember, PartitionInfo, TableMeta, index_tables
from scrubjay.storage.cluster_version import BALANCING, MOVING, STANDING_IN
from scrubjay.storage.consensus.membership import quorum_of
from scrubjay.storage.control.placement import COPIES, loads
from scrubjay.storage.log.configuration import Configuration, CopyKind, MemberPlace, Vote
from scrubjay.storage.node.port import ChangeMembers, Fine, NodePort, RemoveMember, ReplicaFacts, asked

ROUND_S = 0.25
"""Between two rounds while something is left."""
REST_S = 2.0
"""Between two looks while nothing is."""
LANES = 2
"""Partitions that are on their way at a time: what a copy costs its leader and the archive is paid by clients."""
TELL_S = 5.0
LET_IN_S = 10.0
"""How long `join` waits for the node to be let in by the others, and to be the member that it was made."""


def next_move(
    info: PartitionInfo,
    configuration: Configuration,
    placed: Layout,
    *,
    leader: ReplicaFacts,
    copies: Mapping[int, ReplicaFacts],
    lost: Collection[int] = (),
    given_up: Collection[int] = (),
) -> Move:
    """The next step that brings a partition's copies where they belong. configuration: by which its leader goes. copies: by node number. lost: numbers of nodes that have not answered for too long. given_up: of those whose
    copy is waited for no longer (`server.filling`). Pure."""
    turned = turned_back(info, configuration, placed, {*lost, *given_up})
    if turned is not None:
        return Move("its copy stays: the node that was to take it does not", turned)
    for number in given_up:
        if number in info.goes or _may_be_back(info, number, copies):
            continue
        site = placed.another(info, number)
        if site is not None and site.up:  # what it has of the copy goes like any, and its place in the group, if it has one yet
            return Move("another node takes it: the one that was to cannot", msgspec.structs.replace(info, goes=(*info.goes, number)))
    for number in info.goes:
        place = configuration.place(number)
        if (place is None or place.vote is Vote.GONE) and not placed.leaves(number):
            return Move("its copy goes", without(info, number))  # first of all: its node may be the only one that can take the next
    for number in info.fresh:
        copy = copies.get(number)
        if placed.let_go(info, number):
            place = configuration.place(number)
            if place is not None and place.vote is not Vote.GONE:
                continue  # of a half, whose node was away when a split made it: it is a member, and leaves as one
            return Move("its new copy is given up", without(info, number))
        if copy is not None and copy.up and copy.logged and copy.incarnation == placed.wanted(info, number).incarnation:
            return Move("its log begins", msgspec.structs.replace(info, fresh=besides(info.fresh, number)))
        return Move("its node makes the copy", tell=number)
    staying = [number for number in placed.storage(info) if not placed.let_go(info, number)]
    leaving = [number for number in info.nodes if placed.let_go(info, number)]
    for number in staying:
        wanted = placed.wanted(info, number)
        if not leaving and MemberPlace(wanted, CopyKind.STORAGE, Vote.VOTES) in configuration.places:
            continue  # whether it is there just now is not asked: nothing is taken from anybody
        there = configuration.place(number)
        if there is not None and there.vote is Vote.GONE and there.member.incarnation >= wanted.incarnation:
            # Its removal was asked for, and not chosen yet, when it was decided that it stays.
            return Move("it was removed, and comes back as the next member", made_anew(info, wanted, configuration))
        copy = copies.get(number)
        if (
            MemberPlace(wanted, CopyKind.LOG, Vote.VOTES) in configuration.places
            or MemberPlace(wanted, CopyKind.LOG, Vote.LEARNER) in configuration.places
            or (copy is not None and copy.tree == "log")  # no CONFIG names it yet, or calls it what it is to be
        ):
            return grows(info, number, leader=leader, copy=copy)
        step = next_step(wanted, configuration, leader=leader, copy=copy)
        if step.left:
            request = None if step.incarnation is None else ChangeMembers(info.partition_id, number, step.incarnation, wanted.incarnation)
            return Move(step.left, request=request)
    if len(staying) < COPIES:
        site = placed.target(info)
        if site is not None and site.up:
            return Move("another node takes it", with_copy(info, site.member, configuration), begins=True)
        number = placed.grower(info)
        if number:  # no other node is there: the one that has the log makes the tree too
            return Move("the node that has the log takes it", msgspec.structs.replace(info, logs=besides(info.logs, number)), begins=True)
        if leaving and not may_shrink(staying, leaving, placed):
            if site is not None:
                return Move("the node that could take it is out")
            return Move(
                "the nodes that could take it have no room for it" if placed.lacks_room(info) else "no node is there that could take it"
            )
    for number in leaving:
        place = configuration.place(number)
        if place is None or place.vote is Vote.GONE:
            return Move("its copy goes", without(info, number))
        return Move("its member is removed", request=RemoveMember(info.partition_id, number, tuple(leaving), place.member.incarnation))
    for place in configuration.places:
        if place.vote is Vote.LEARNER and place.member.node not in info.nodes:
            # Its copy was given up after it had been asked to learn, and before that was chosen.
            return Move(
                "a member without a copy is removed",
                request=RemoveMember(info.partition_id, place.member.node, (), place.member.incarnation),
            )
    return SETTLED


def turned_back(info: PartitionInfo, configuration: Configuration, placed: Layout, lost: Collection[int]) -> PartitionInfo | None:
    """The partition with a copy that was to go staying in the place of one that does not come: its node leaves, or is lost before that copy votes. None: nothing is turned back, or a zone would be lost by it
    that is not lost anyhow: of a copy that never voted, or of a node that was removed and nobody can take the place of. A copy that was to come somewhere and does not is none that could stay. Pure."""
    staying = [number for number in placed.storage(info) if number not in info.goes]
    for number in info.goes:
        place = configuration.place(number)
        if placed.leaves(number) or number in info.logs or place is None or place.vote is Vote.GONE:
            continue
        if number in placed.declined and place.vote is not Vote.VOTES:
            continue
        for taker in staying:
            there = configuration.place(taker)
            votes = there is not None and there.vote is Vote.VOTES
            if not placed.leaves(taker) and (votes or taker not in lost):
                continue
            kept = [one for one in staying if one != taker]
            if placed.leaves(taker) and sum(not placed.let_go(info, one) for one in staying) >= COPIES:
                continue  # another takes its place already
            # Who rests has voted, and a log stands in for it.
            never_voted = there is None or (there.vote is Vote.LEARNER and not info.logs)
            nothing_lost = never_voted or (placed.removed(taker) and placed.target(info) is None)
            if nothing_lost or placed.apart([*kept, number]) >= placed.apart(staying):
                goes = besides(info.goes, number)
                return msgspec.structs.replace(info, goes=goes if placed.leaves(taker) else (*goes, taker))
    return None


def _may_be_back(info: PartitionInfo, number: int, copies: Mapping[int, ReplicaFacts]) -> bool:
    """The node is away, and may have a copy that is worth something; that it is gone for good a person says."""
    copy = copies.get(number)
    return number not in info.fresh and (copy is None or not copy.up)


def may_shrink(staying: Collection[int], leaving: Collection[int], placed: Layout) -> bool:
    """A partition may do with fewer copies than it should: a node was removed that nobody takes the place of."""
    gone = [number for number in leaving if placed.removed(number)]
    return len(gone) == len(leaving) and len(staying) >= COPIES - 1


def partitions_of(control: Control) -> Iterator[tuple[TableId, TableMeta, PartitionInfo]]:
    """(the table that the catalogue has, it or its index's, a partition) of all that may have copies."""
    for table in (control.system, *list(control.metadata.tables.values())):
        if table.status == "DROPPED" and table.archived_at is not None:
            continue
        for one in (table, *index_tables(table)):
            for info in one.partitions:
                yield table.table_id, one, info


class Relocating:
    """net: to the nodes' processes. works: whether this process works for the cluster. stand_in_us: a node that has not answered for so long is lost, and another stands in for its copies; 0: none
    ever does. logs_kept_us: so long a log that nobody needs stands by. free: of a node's disk, bytes, None: not known; of which low_bytes stay free.

    More than 25 methods, more than 15 fields: three verbs, what they share, and the steps of the round that sees to all of them, with what each of these goes by."""

    def __init__(
        self,
        env: Env,
        net: Asker,
        control: Control,
        *,
        works: Callable[[], bool],
        log: Callable[[str], None],
        stand_in_us: int = 0,
        free: Callable[[NodeName], int | None] = lambda _: None,
        low_bytes: int = 0,
        logs_kept_us: int = LOG_KEPT_US,
    ) -> None:
        self._env, self._net, self._control, self._works, self._log = env, net, control, works, log
        self._stand_in_us, self._logs_kept_us = stand_in_us, logs_kept_us
        self._stand_by_us: dict[PartitionId, int] = {}
        """Of each partition beside which a log only stands by: since when, boot time."""
        self._free, self._low_bytes = free, low_bytes
        self._down_us: dict[NodeName, int] = {}
        """Of each member that does not answer: since when, boot time."""
        self.short: dict[str, str] = {}
        """Partitions that have fewer voters than they should, as a node is lost: why no log replica votes yet."""
        self.stood_in = 0
        """Log replicas that this process let vote in the place of a lost member."""
        self._task: Task[None] | None = None
        self.left: dict[NodeName, dict[str, str]] = {}
        """Of each node that leaves: the partitions that it has copies of still, and why."""
        self._open = True
        """The last round left something to be done."""
        self._said: dict[NodeName, bool] = {}
        self.filling = Filling()
        """Who is waited for no longer."""

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._run, name="relocating")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # ------------------------------------------------------------------ join

    async def join(self, node: str, progress: ProgressSink) -> Report:
        """The node is a member from now on. Asked again: nothing happens. Raises Invalid (no such node), Unsafe (refused), Unavailable."""
        name, began_us = await self._asked(node), self._env.clock.boot_us()
        number = self._control.ports[name].number
        member = self._control.metadata.standing(name, number)
        told = await identity_told(self._env, self._net, name)
        if member is None or member.state == REMOVED:
            member = await self._begin(name, member, told)
        elif member.state == DRAINING:
            raise Unsafe(
                "this node is being drained", node=name, next="remove it once it is drained; then it may join again, with an empty folder"
            )
        elif (told.out and told.incarnation >= member.incarnation) or member.id not in ("", told.id):
            raise Unsafe(
                "this node is a member, and stays out",
                node=name,
                why=told.out or "its folder is another one",
                next="see runbooks/node-out-of-service.md",
            )
        give_up_us = self._env.clock.boot_us() + int(LET_IN_S * 6e6)
        while not self._there(name, member):
            progress({"phase": "joining", "done": 0, "total": 1, "left": "its process starts as the member that it was made"})
            if self._env.clock.boot_us() >= give_up_us:
                raise Unavailable("the node is a member, and its process is not there yet", node=name, next="ask again")
            await self._env.tasks.sleep(ROUND_S)
        seconds = round((self._env.clock.boot_us() - began_us) / 1e6, 3)
        return {"exit": 0, "node": name, "incarnation": member.incarnation, "zone": self._control.zones.get(name), "seconds": seconds}

    async def _begin(self, name: NodeName, before: NodeMember | None, told: IdentityTold) -> NodeMember:
        """The catalogue makes this folder a member. Raises Unsafe, Unavailable."""
        if not told.id or (told.out and not told.fresh) or (before is not None and (before.id == told.id or not told.fresh)):
            raise Unsafe(
                "the node's folder is not empty: what lies in it is of a member that must not speak again",
                node=name,
                why=told.out or "it was removed",
                next="stop it, move its data folder away, start it with an empty one, and ask again",
            )
        self._follows()
        await self._let_in(name)
        known = told.incarnation if before is None else max(before.incarnation, told.incarnation)
        known = max(known, self._control.metadata.spoke_as(self._control.ports[name].number))
        incarnation = known + 1 if before is not None or told.out else known
        member = NodeMember(self._control.ports[name].number, incarnation, told.id, self._env.clock.wall_us())
        await self._put(name, member)
        self._log(f"{name} is a member of the cluster from now on, as incarnation {incarnation}")
        return member

    async def _let_in(self, name: NodeName) -> None:
        """Every member that is up must know the node, or its groups would wait for each other. Raises Unsafe: one does not."""
        give_up_us = self._env.clock.boot_us() + int(LET_IN_S * 1e6)
        while True:
            told = await ask(self._env.tasks, self._net, name, AskNode(), NodeTold, timeout_s=TELL_S)
            up = {other for other in self._control.members() if self._control.ports[other].status().failed is None}
            lost = sorted((link.peer, link.error) for link in told.links if link.peer in up and link.peer != name)
            if not lost:
                return
            if self._env.clock.boot_us() >= give_up_us:
                raise Unsafe(
                    "a member does not let this node in",
                    node=name,
                    other=lost[0][0],
                    why=lost[0][1],
                    next="its process must have been started with a file that names the node: restart it with that, and ask again",
                )
            await self._env.tasks.sleep(ROUND_S)

    def _there(self, name: NodeName, member: NodeMember) -> bool:
        status = self._control.ports[name].status()
        return status.failed is None and status.started and status.incarnation == member.incarnation

    # ------------------------------------------------------------------ drain

    async def drain(self, node: str, progress: ProgressSink) -> Report:
        """The node's copies go to others; returns when none is left there. Asked again: waits for it. Raises Invalid, Unsafe (refused), Unavailable."""
        name, began_us = await self._asked(node), self._env.clock.boot_us()
        member = self._member(name)
        if member.state == MEMBER:
            self._follows()
            self._check_room(name, member)
            member = msgspec.structs.replace(member, state=DRAINING)
            await self._put(name, member)
            self._log(f"{name} is being drained: its copies go to other nodes")
        await self._until_left(name, member, progress)
        seconds = round((self._env.clock.boot_us() - began_us) / 1e6, 3)
        return {"exit": 0, "node": name, "left": 0, "seconds": seconds}

    def _check_room(self, name: NodeName, member: NodeMember) -> None:
        """Others can take every copy, and no partition loses a zone by it. Raises Unsafe."""
        placed = self._placed({member.number: msgspec.structs.replace(member, state=DRAINING)})
        for _, one, info in partitions_of(self._control):
            if member.number not in info.nodes or one.status not in IN_USE:
                continue
            size = self._size(info.partition_id)
            while self._staying(info, placed) < COPIES:  # as many as it lacks then: others may leave too, and have no copy elsewhere yet
                site = placed.target(info)
                grower = placed.grower(info)
                if (site is None or not site.up) and not grower:
                    why = "no other node can take a copy of a partition" if site is None else "the node that could take its copies is out"
                    raise Unsafe(
                        "no other node has room for a copy of a partition" if placed.lacks_room(info) else why,
                        node=name,
                        table=one.name,
                        partition=info.partition_id,
                        zone=self._control.zones.get(name),
                        bytes=size,
                        next="join another node of that zone: scrubjay cluster join",
                    )
                taker = grower if site is None or not site.up else site.member.node
                if taker in placed.room:  # it stays there, and the next comes beside it
                    placed = placed._replace(room={**placed.room, taker: max(0, placed.room[taker] - size)})
                placed = placed._replace(load={**placed.load, taker: placed.load.get(taker, 0) + 1})
                if site is None or not site.up:
                    info = msgspec.structs.replace(info, logs=besides(info.logs, grower))
                else:
                    info = msgspec.structs.replace(info, hosts=(*info.nodes, site.member.node))

    def _staying(self, info: PartitionInfo, placed: Layout) -> int:
        """How many storage replicas of a partition stay where they are, or would."""
        leader = self._control.fleet.leader(info.partition_id)
        turned = None if leader is None or not info.goes else turned_back(info, members_of(info, leader), placed, ())
        return sum(not placed.let_go(turned or info, number) for number in placed.storage(info))

    # ------------------------------------------------------------------ remove

    async def remove(self, node: str, progress: ProgressSink) -> Report:
        """The node is a member no more. Asked again: waits for it. Raises Invalid, Unsafe (refused), Unavailable."""
        name, began_us = await self._asked(node), self._env.clock.boot_us()
        member = self._control.metadata.standing(name, self._control.ports[name].number)
        if member is None:
            raise Invalid("this node is no member of the cluster", asked=node, next="scrubjay cluster status lists those that are")
        if member.state != REMOVED:
            self._follows(besides=name)
            drained = member.state == DRAINING and not self._left_on(name, member)
            if not drained:
                self._check_quorums(name, member)
            member = msgspec.structs.replace(member, state=REMOVED)
            await self._put(name, member)
            self._log(f"{name} is no member of the cluster any more")
        await self._until_left(name, member, progress)
        seconds = round((self._env.clock.boot_us() - began_us) / 1e6, 3)
        return {"exit": 0, "node": name, "incarnation": member.incarnation, "seconds": seconds}

    def _check_quorums(self, name: NodeName, member: NodeMember) -> None:
        """Every group goes on without that node, now and once it is out. Raises Unsafe."""
        for _, one, info in partitions_of(self._control):
            if one.status not in IN_USE or member.number not in info.nodes:
                continue
            leader = self._control.fleet.leader(info.partition_id)
            fields = {"node": name, "table": one.name, "partition": info.partition_id, "next": f"scrubjay cluster drain {name}"}
            if leader is None:
                raise Unsafe("a group has no leader: it is not known who is left", **fields)
            voters = [place.member for place in members_of(info, leader).places if place.vote is Vote.VOTES]
            others = [voter for voter in voters if voter.node != member.number]
            up = [facts for facts in self._control.fleet.facts(info.partition_id) if facts.up and facts.vote == "votes"]
            numbers = {self._control.ports[facts.node].number for facts in up}
            whole = sum(voter.node in numbers for voter in others)
            if not others or whole < quorum_of(len(voters)) or whole < quorum_of(len(others)):
                raise Unsafe("a quorum of a group would be lost", **fields)

    # ------------------------------------------------------------------ what the verbs share

    async def _asked(self, node: str) -> NodeName:
        """Raises Invalid, Unavailable."""
        name = NodeName(node)
        if name not in self._control.ports:
            raise Invalid("there is no such node", asked=node, found=", ".join(self._control.ports), next="give one of them")
        if not self._works():
            raise Unavailable(
                "another durability process works for this cluster", node=node, next="ask that one, or wait until this one has taken over"
            )
        await self._control.metadata.newest()
        return name

    def _member(self, name: NodeName) -> NodeMember:
        """Raises Invalid."""
        member = self._control.metadata.standing(name, self._control.ports[name].number)
        if member is None or member.state == REMOVED:
            raise Invalid("this node is no member of the cluster", asked=name, next="scrubjay cluster status lists those that are")
        return member

    def _follows(self, *, besides: NodeName | None = None) -> None:
        """Every member's release knows members that did not found their groups. Raises Unsafe."""
        self._control.store.version.allow(MOVING, besides=besides)

    async def _put(self, name: NodeName, member: NodeMember) -> None:
        try:
            await self._control.metadata.put_node(name, member)
        except Conflict as error:
            raise Unavailable("the node was changed by somebody else just now", node=name, next="ask again") from error
        self._open = True

    async def _until_left(self, name: NodeName, member: NodeMember, progress: ProgressSink) -> None:
        """Until nothing is left on a node that leaves. Raises Unavailable."""
        total = max(1, len(self._left_on(name, member)))
        while left := self._left_on(name, member):
            partition = next(iter(left))
            why = self.left.get(name, {}).get(partition, left[partition])
            progress({"phase": "moving", "done": max(0, total - len(left)), "total": total, "left": f"{partition}: {why}"})
            await self._env.tasks.sleep(ROUND_S)
            if not self._works():
                raise Unavailable("another durability process goes on with it", node=name)
            if self._control.metadata.standing(name, member.number) != member:
                raise Unavailable("the node was changed by somebody else meanwhile", node=name, next="ask again")

    def _left_on(self, name: NodeName, member: NodeMember) -> dict[str, str]:
        """Partitions of which a copy is on that node, by the catalogue, or as it tells itself; and why, in a word."""
        left: dict[str, str] = {
            info.partition_id: f"{one.name} is {one.status}" for _, one, info in partitions_of(self._control) if member.number in info.nodes
        }
        if member.state != REMOVED:
            for facts in self._control.ports[name].all_facts():
                if facts.up:
                    left.setdefault(facts.partition, "its copy goes")
        return left

    # ------------------------------------------------------------------ what is moved though its node stays

    def layout(self) -> Layout:
        """Where copies are and may go, as of now."""
        return self._placed()

    async def begin(self, table_id: TableId, info: PartitionInfo, *, source: int, target: int) -> bool:
        """Have the copy on one node go to another, the way every copy goes; table_id: as in `partitions_of`. False: the partition is another by now, or the node is out. Raises Conflict, Unavailable, Corrupt."""
        leader = self._control.fleet.leader(info.partition_id)
        site = next((site for site in self._placed().sites if site.member.node == target and site.up), None)
        if leader is None or site is None:
            return False
        if target in info.fresh:
            return False  # its log, which is to stand by, has not begun
        # Who has the log already, and stands by, makes the tree too.
        after = (
            msgspec.structs.replace(info, logs=besides(info.logs, target))
            if target in info.logs
            else with_copy(info, site.member, members_of(info, leader))
        )
        begun = await self._say(table_id, info, msgspec.structs.replace(after, goes=(*after.goes, source)))
        self._open = self._open or begun
        return begun

    # ------------------------------------------------------------------ seeing to it

    async def _run(self) -> None:
        while True:
            if self._works():
                await self._round()
            else:
                self.filling.look((), (), self._env.clock.boot_us())
            await self._env.tasks.sleep(ROUND_S if self._works() and (self._open or self._down_us) else REST_S)

    def _placed(self, besides: Mapping[int, NodeMember] | None = None) -> Layout:
        """besides: as if that were what the catalogue says of them."""
        control = self._control
        metadata = control.metadata
        standing = {name: metadata.standing(name, node.number) for name, node in control.ports.items()}
        members = {member.number: member for member in (*standing.values(), *metadata.nodes.values()) if member is not None}
        members.update(besides or {})
        sites = [control.site(name, members[node.number]) for name, node in control.ports.items() if node.number in members]
        return Layout(
            members,
            [site for site in sites if members[site.member.node].state == MEMBER],
            {site.member.node: site.zone for site in sites},
            loads([control.system, *metadata.tables.values()]),
            self._room(),
            self._size,
            frozenset(self.filling.declined),
        )

    def _size(self, partition: PartitionId) -> int:
        """Bytes of a partition's items, as far as some copy says."""
        return max([facts.size for facts in self._control.fleet.facts(partition)], default=0)

    def _room(self) -> dict[int, int]:
        """Of each node that says it: bytes of its disk that may be filled, beside what is on its way to it."""
        found = {}
        for name, node in self._control.ports.items():
            free = self._free(name)
            if free is not None:
                found[node.number] = free - self._low_bytes
        if not found:
            return found
        for _, one, info in partitions_of(self._control):
            if one.status in IN_USE and (info.fresh or len(info.nodes) > COPIES):
                for number in info.nodes:
                    if number not in found or number in info.logs or number in info.goes:
                        continue
                    facts = self._node(number).facts(info.partition_id)
                    if facts is None or facts.tree != "ok":
                        found[number] -= ROOM * self._size(info.partition_id)
        return {number: max(0, room) for number, room in found.items()}

    def _lost(self) -> set[int]:
        """Numbers of members whose nodes have not answered for too long."""
        now_us, control = self._env.clock.boot_us(), self._control
        down = {name for name in control.members() if control.ports[name].status().failed is not None}
        self._down_us = {name: self._down_us.get(name, now_us) for name in control.ports if name in down}
        long = self._stand_in_us
        return {control.ports[name].number for name, since_us in self._down_us.items() if long and now_us - since_us >= long}

    async def _round(self) -> None:
        lost = self._lost()
        self.short = {}
        full = [node.number for node in self._control.ports.values() if node.status().full]
        placed = self._placed()
        going = {
            info.partition_id
            for _, one, info in partitions_of(self._control)
            if one.status in IN_USE and any(placed.let_go(info, number) for number in info.nodes)
        }
        self.filling.look(going, full, self._env.clock.boot_us())
        known = {info.partition_id for _, _, info in partitions_of(self._control)}
        self._stand_by_us = {partition: since_us for partition, since_us in self._stand_by_us.items() if partition in known}
        placed = placed._replace(declined=frozenset(self.filling.declined))
        leaving = {name: member for name, member in self._control.metadata.nodes.items() if member.state != MEMBER}
        found: dict[NodeName, dict[str, str]] = {name: {} for name in leaving}
        # What only evens out takes no lane from what a person asked for, or a lost node needs.
        moving = [info for _, one, info in partitions_of(self._control) if one.status in IN_USE]
        moving = [info for info in moving if not info.goes or any(placed.leaves(number) for number in info.nodes)]
        lanes = LANES - sum(len(placed.storage(info)) > COPIES for info in moving)
        open_ = False
        for table_id, one, info in list(partitions_of(self._control)):
            move = self._move(one, info, placed, lost)
            if not move.left:
                continue
            open_ = True
            for name, member in leaving.items():
                if member.number in info.nodes:
                    found[name][info.partition_id] = move.left
            begins = (
                move.begins and len(placed.storage(info)) <= COPIES
            )  # else it has its lane: two of its copies leave, and neither can before both have others
            if not begins or lanes > 0:
                lanes -= begins
                why = await self._carry_out(table_id, one, info, move)
                for name in found:
                    if why and info.partition_id in found[name]:
                        found[name][info.partition_id] = why
                if move.info is not None:
                    placed = self._placed()  # who holds how much has changed
        self.left, self._open = found, open_
        for name, left in found.items():
            if not left and not self._said.get(name, False):
                self._log(f"{name} has no copy of any partition any more")
            self._said[name] = not left

    def _move(self, one: TableMeta, info: PartitionInfo, placed: Layout, lost: set[int]) -> Move:
        if (
            lost.isdisjoint(info.nodes)
            and all(not placed.leaves(number) for number in info.nodes)
            and len(info.nodes) == COPIES
            and not info.fresh
            and not info.hosts
        ):
            return SETTLED  # as it was founded: nothing is asked of it
        if one.status not in IN_USE or one.status == "CREATING" or (one.restore_of is not None and one.restore_of.in_progress):
            waits = any(placed.leaves(number) for number in info.nodes)
            return Move(f"{one.name} is {one.status}") if waits else SETTLED
        leader = self._control.fleet.leader(info.partition_id)
        if leader is None:
            return Move("the group has no leader")
        copies = {self._control.ports[facts.node].number: facts for facts in self._control.fleet.facts(info.partition_id)}
        try:
            configuration = members_of(info, leader)
            if (self._stand_in_us or info.logs) and self._follow_logs():
                stands_in = next_stand_in(info, configuration, placed, lost=lost, leader=leader, copies=copies)
                if stands_in.left:
                    self.short[info.partition_id] = stands_in.left
                if stands_in.left and stands_in.left != NOBODY:
                    return stands_in
            given_up = self._given_up(one, info, configuration, placed, leader, copies)
            move = next_move(info, configuration, placed, leader=leader, copies=copies, lost=lost, given_up=given_up)
            if not move.left and self._stands_by_long(one, info, configuration, placed, lost, copies):
                return lets_go(info, configuration)
            return move
        except ScrubjayError as error:
            return Move(str(error))

    def _stands_by_long(
        self,
        one: TableMeta,
        info: PartitionInfo,
        configuration: Configuration,
        placed: Layout,
        lost: Collection[int],
        copies: Mapping[int, ReplicaFacts],
    ) -> bool:
        """For how long is remembered by this process alone: the next one that works for the cluster waits as long again."""
        needed = not only_stands_by(info, configuration, placed, lost=lost, copies=copies)
        needed = needed or not isinstance(one.split, msgspec.UnsetType)  # its halves are to have the log too
        if needed or self._control.store.version.lacks(BALANCING):  # older processes do not know of a log that comes back as another member
            self._stand_by_us.pop(info.partition_id, None)
            return False
        now_us = self._env.clock.boot_us()
        return now_us - self._stand_by_us.setdefault(info.partition_id, now_us) >= self._logs_kept_us

    def _given_up(
        self,
        one: TableMeta,
        info: PartitionInfo,
        configuration: Configuration,
        placed: Layout,
        leader: ReplicaFacts,
        copies: Mapping[int, ReplicaFacts],
    ) -> list[int]:
        """Numbers of the nodes whose copy is waited for no longer: nobody waits for what evens out, or another node can take it."""
        besides = {number for number in info.nodes if placed.let_go(info, number)}
        if not besides:
            return []
        if not info.goes:
            if self._control.store.version.lacks(BALANCING):
                return []  # older processes do not know of a copy that goes though its node stays
            besides.update(
                number for number in placed.storage(info) if _may_be_back(info, number, copies) or placed.another(info, number) is None
            )
        known = {number: declined.partition for number, declined in self.filling.declined.items()}
        now_us = self._env.clock.boot_us()
        found = self.filling.given_up(info, configuration, leader=leader, copies=copies, now_us=now_us, besides=besides)
        for number, why in found.items():
            if known.get(number) != info.partition_id:
                name = next((name for name, node in self._control.ports.items() if node.number == number), f"node {number}")
                self._log(f"{one.name}: {name} is not waited for any longer to take a copy of partition {info.partition_id}: {why}")
        return sorted(found)

    def _follow_logs(self) -> bool:
        """Every member that is up knows log replicas that follow changes of members."""
        return not self._control.store.version.lacks(STANDING_IN)

    async def _carry_out(self, table_id: TableId, one: TableMeta, info: PartitionInfo, move: Move) -> str:
        """Why it could not be done now, "": it was, or was asked for."""
        try:
            if move.info is not None:
                await self._say(table_id, info, move.info)
            elif move.request is not None:
                leader = self._control.fleet.leader(info.partition_id)
                if leader is None:
                    return "the group has no leader"
                request: Any = move.request
                node = self._node(move.at) if move.at else self._control.ports[leader.node]
                await asked(self._env.tasks, node, request, Fine, timeout_s=TELL_S)
                self.stood_in += isinstance(request, ChangeMembers) and not request.incarnation and request.node in info.logs
            elif move.tell:
                node = self._node(move.tell)
                facts = node.facts(info.partition_id)
                lacks = facts is None or any(member[0] == node.number and facts.incarnation < member[1] for member in info.again)
                if node.status().failed is None and lacks:
                    self._control.fleet.host_on(node, self._table(table_id))
        except Missing:
            return ""  # its table is dropped: nothing is written any more
        except ScrubjayError as error:
            return str(error)
        return ""

    def _node(self, number: int) -> NodePort:
        return next(node for node in self._control.ports.values() if node.number == number)

    def _table(self, table_id: TableId) -> TableMeta:
        control = self._control
        return control.system if table_id == control.system.table_id else control.metadata.tables[table_id]

    async def _say(self, table_id: TableId, before: PartitionInfo, after: PartitionInfo) -> bool:
        """Have the catalogue say where the copies are, and tell the nodes that it concerns. False: it says something else by now. Raises Conflict, Unavailable."""
        control = self._control
        if not await control.metadata.put_partition(table_id, before, after):
            return False
        table = self._table(table_id)
        for node in control.ports.values():
            if (node.number in before.nodes) != (node.number in after.nodes):
                control.fleet.host_on(node, table)
        return True
