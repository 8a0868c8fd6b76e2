"""`scrubjay cluster replace NODE`: a node that came back with an empty folder becomes another member, in every group, while tables go on (ADR 0075).

The catalogue gives the folder the next incarnation of its node, once and for that folder alone. From then on whoever works for the cluster sees to it, and goes on with it after any stop:
the node's process is told, and starts as the new member, which makes its copies anew; in each group one CONFIG puts it, as a learner, in the place of the member that was; when its copy is
whole and has what was written meanwhile, another CONFIG lets it vote. What is left is read from the groups themselves, so that there is nothing to be noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Conflict, Invalid, Missing, ScrubjayError, Unavailable, Unsafe
from scrubjay.base.ids import Member, NodeName
from scrubjay.server.control import Control
from scrubjay.server.ports import ProgressSink, Report
from scrubjay.server.process_talk import Asker, AskIdentity, IdentityTold, Renew, ask
from scrubjay.storage.catalogue import MEMBER, REMOVED, NodeMember, PartitionInfo, TableMeta, index_tables
from scrubjay.storage.cluster_version import REPLACING
from scrubjay.storage.log.configuration import Configuration, CopyKind, Vote, decode_configuration, founding
from scrubjay.storage.node.port import ChangeMembers, Fine, ReplicaFacts, asked, error_of

ROUND_S = 0.25
"""Between two rounds while something is left."""
REST_S = 2.0
"""Between two looks while nothing is."""
LAG_MAX = 1_000
"""So many records a learner's copy may lack when it is let vote."""
TELL_S = 5.0
CONNECT_S = 10.0
"""How long a verb waits for a connection to the node that it is about."""
IN_USE = ("CREATING", "ACTIVE", "UPDATING")


class NextStep(NamedTuple):
    """What is to be done about one copy. incarnation: as in `ChangeMembers`, None: nothing now. left: why the copy does not vote as the new member, "": it does."""

    incarnation: int | None
    left: str


DONE = NextStep(None, "")


def members_of(info: PartitionInfo, facts: ReplicaFacts) -> Configuration:
    """Who is a member of a group, as far as that copy has applied. Raises Corrupt."""
    lsn, payload = facts.configured
    return decode_configuration(payload) if lsn else founding(tuple([Member(*member) for member in info.members]), logs=tuple(info.logs))


def next_step(wanted: Member, configuration: Configuration, *, leader: ReplicaFacts, copy: ReplicaFacts | None) -> NextStep:
    """What brings `wanted` into the group, where it goes by `configuration`. copy: on its node. Pure."""
    place = configuration.place(wanted.node)
    if place is not None and place.member.incarnation > wanted.incarnation:
        return DONE
    there = copy is not None and copy.up and copy.incarnation == wanted.incarnation and copy.logged
    if place is None or place.member != wanted:
        return NextStep(wanted.incarnation, "its log begins") if there else NextStep(None, "its node makes the copy")
    if place.kind is CopyKind.LOG:
        return NextStep(None, "the group takes it for a log replica")  # it grows: see `server.relocating`
    if place.vote is Vote.VOTES:
        return (
            DONE
            if there and copy is not None and copy.vote == "votes" and copy.tree == "ok"
            else NextStep(None, "it has not heard yet that it votes")
        )
    if place.vote is Vote.GONE:
        return NextStep(None, "it was removed")
    if not there or copy is None or copy.tree != "ok" or copy.behind or copy.vote != "learner":
        return NextStep(None, "its copy is not whole yet" if copy is None else f"its copy is {copy.state}, {copy.vote}")
    if copy.applied + LAG_MAX < leader.applied:
        return NextStep(None, f"it lacks {leader.applied - copy.applied} records")
    return NextStep(0, "it learns")


async def identity_told(env: Env, net: Asker, name: NodeName) -> IdentityTold:
    """Which folder a node's process has. Raises Unavailable if it cannot be asked, for longer than a connection takes to be made to one that has just come back."""
    give_up_us = env.clock.boot_us() + int(CONNECT_S * 1e6)
    while True:
        try:
            return await ask(env.tasks, net, name, AskIdentity(), IdentityTold, timeout_s=TELL_S)
        except Unavailable as error:
            if env.clock.boot_us() >= give_up_us:
                raise Unavailable(
                    "the node's process cannot be asked",
                    node=name,
                    cause=str(error),
                    next="start it, with an empty data folder, and ask again",
                ) from error
        await env.tasks.sleep(ROUND_S)


class Replacing:
    """net: to the nodes' processes. works: whether this process works for the cluster."""

    def __init__(self, env: Env, net: Asker, control: Control, *, works: Callable[[], bool], log: Callable[[str], None]) -> None:
        self._env, self._net, self._control, self._works, self._log = env, net, control, works, log
        self._task: Task[None] | None = None
        self.left: dict[NodeName, dict[str, str]] = {}
        """Of each node that is being replaced: the groups in which it does not vote yet, and why."""
        self._done: set[tuple[NodeName, int]] = set()
        """Members of which all was found done by the last round."""
        self._elsewhere: set[tuple[NodeName, int]] = set()
        """Members whose node has another folder by now than the one that was made this member."""

    def start(self) -> None:
        self._task = self._env.tasks.keep(self._run, name="replacing")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    # ------------------------------------------------------------------ the verb

    async def replace(self, node: str, progress: ProgressSink) -> Report:
        """Begin, or find it begun, and wait until it is done. Raises Invalid (no such node), Unsafe (refused), Unavailable."""
        name = NodeName(node)
        port = self._control.ports.get(name)
        if port is None:
            raise Invalid("there is no such node", asked=node, found=", ".join(self._control.ports), next="give one of them")
        if not self._works():
            raise Unavailable(
                "another durability process works for this cluster", node=node, next="ask that one, or wait until this one has taken over"
            )
        began_us = self._env.clock.boot_us()
        metadata = self._control.metadata
        await metadata.newest()
        member = metadata.nodes.get(name)
        told = await identity_told(self._env, self._net, name)
        if member is None or told.id != member.id:
            member = await self._begin(name, told)
        self._done.discard((name, member.incarnation))
        self._elsewhere.discard((name, member.incarnation))
        groups = sum(1 for _ in self._groups())
        while (name, member.incarnation) not in self._done:
            left = self.left.get(name, {})
            progress(
                {
                    "phase": "replacing",
                    "done": max(0, groups - len(left)),
                    "total": groups,
                    **({"left": next(iter(left.values()))} if left else {}),
                }
            )
            await self._env.tasks.sleep(ROUND_S)
            if not self._works():
                raise Unavailable("another durability process goes on with it", node=node)
            if metadata.nodes.get(name) != member:
                raise Unavailable("another folder was made this node meanwhile", node=node, next="ask again")
            if (name, member.incarnation) in self._elsewhere:
                raise Unavailable(
                    "the folder that was made this node is not there any more", node=node, next="ask again, for the one that is"
                )
        return {
            "exit": 0,
            "node": name,
            "incarnation": member.incarnation,
            "partitions": sum(1 for _ in self._groups()),
            "seconds": round((self._env.clock.boot_us() - began_us) / 1e6, 3),
        }

    async def _begin(self, name: NodeName, told: IdentityTold) -> NodeMember:
        """The catalogue makes this folder the next member. Raises Unsafe, Unavailable."""
        standing = self._control.metadata.standing(name, self._control.ports[name].number)
        if standing is None or standing.state != MEMBER:
            raise Unsafe(
                "this node is no member of the cluster, or leaves it",
                node=name,
                next="scrubjay cluster remove, if it is being drained, and with an empty folder scrubjay cluster join",
            )
        for first, groups in self.left.items():
            if first != name and groups:
                raise Unsafe(
                    "another node is being replaced: one after the other",
                    node=name,
                    other=first,
                    left=len(groups),
                    next=f"wait until it votes in every group: scrubjay cluster replace {first}",
                )
        if not told.out:
            raise Unsafe(
                "this node is a member, with the folder that it joined with",
                node=name,
                next="nothing is to be replaced; an empty folder in its place would be",
            )
        if not told.fresh or not told.id:
            raise Unsafe(
                "the node's folder is not empty: what lies in it is of a member that must not speak again",
                node=name,
                why=told.out,
                next="stop it, move its data folder away, and start it with an empty one; or put back the folder that it joined with",
            )
        for other in self._control.members():
            status = self._control.ports[other].status()
            if other != name and (status.failed is not None or not status.started):
                why = "it starts" if status.failed is None else str(error_of(status.failed))
                raise Unsafe("another node is out: while a node is replaced the others must all be there", node=name, out=other, why=why)
        self._control.store.version.allow(REPLACING, besides=name, node=name)
        metadata = self._control.metadata
        before = metadata.nodes.get(name)
        if before is not None and before.id == told.id:
            return before  # somebody else asked at the same time: one word for one folder
        known = before.incarnation if before is not None else 1
        incarnation = 1 + max(known, told.incarnation, metadata.spoke_as(self._control.ports[name].number))
        member = NodeMember(self._control.ports[name].number, incarnation, told.id, self._env.clock.wall_us())
        try:
            await metadata.put_node(name, member)
        except Conflict as error:
            raise Unavailable("the node was replaced by somebody else just now", node=name, next="ask again") from error
        self._log(f"{name} is replaced: its empty folder is member {incarnation} of that node from now on")
        return member

    # ------------------------------------------------------------------ seeing to it

    async def _run(self) -> None:
        while True:
            if self._works():
                await self._round()
            open_ = self._works() and any((name, one.incarnation) not in self._done for name, one in self._members())
            await self._env.tasks.sleep(ROUND_S if open_ else REST_S)

    def _members(self) -> list[tuple[NodeName, NodeMember]]:
        """Those that are not as they were founded. One that was removed is told nothing."""
        known = sorted(self._control.metadata.nodes.items())
        return [(name, member) for name, member in known if member.state != REMOVED and name in self._control.ports]

    def _groups(self) -> Iterator[tuple[TableMeta, PartitionInfo]]:
        for table in (self._control.system, *list(self._control.metadata.tables.values())):
            if table.status in IN_USE:
                for one in (
                    table,
                    *index_tables(table),
                ):  # a copy of an index that its log left behind is not healed: the index is built anew, among the members of then
                    for info in one.partitions:
                        yield one, info

    async def _round(self) -> None:
        for name, member in self._members():
            left = self.left[name] = {}
            await self._tell(name, member)
            for _, info in list(self._groups()):
                why = await self._one(name, member, info)
                if why:
                    left[info.partition_id] = why
            if left:
                self._done.discard((name, member.incarnation))
            elif (name, member.incarnation) not in self._done:
                self._done.add((name, member.incarnation))
                self._log(f"{name} is member {member.incarnation} in every group")

    async def _tell(self, name: NodeName, member: NodeMember) -> None:
        """Have the node's process be that member. What does not reach it is told again."""
        status = self._control.ports[name].status()
        if status.failed is None and status.incarnation == member.incarnation:
            return
        try:
            told = await ask(self._env.tasks, self._net, name, Renew(member.id, member.incarnation), IdentityTold, timeout_s=TELL_S)
        except ScrubjayError:
            return
        if told.id != member.id:
            self._elsewhere.add((name, member.incarnation))

    async def _one(self, name: NodeName, member: NodeMember, info: PartitionInfo) -> str:
        """Why the member does not vote in this group yet, "" if it does, or has no copy of it."""
        if member.number not in info.nodes or member.number in info.fresh or member.number in info.logs:
            return ""  # a log replica that lost its log is let learn when it has to stand in
        fleet, partition = self._control.fleet, info.partition_id
        leader = fleet.leader(partition)
        if leader is None:
            return "the group has no leader"
        wanted = info.member_on(member.number, member.incarnation)
        copy = self._control.ports[name].facts(partition)
        try:
            step = next_step(wanted, members_of(info, leader), leader=leader, copy=copy)
        except ScrubjayError as error:
            return str(error)
        if step.incarnation is not None:
            request: Any = ChangeMembers(partition, member.number, step.incarnation, wanted.incarnation)
            try:
                await asked(self._env.tasks, self._control.ports[leader.node], request, Fine, timeout_s=TELL_S)
            except Missing:
                return ""  # its table is dropped: nothing is written any more, and what was is in the archive or on its way
            except ScrubjayError as error:
                return str(error)
        return step.left
