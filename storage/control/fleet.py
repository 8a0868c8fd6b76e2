"""The storage nodes as the control part sees them: who has a copy of a partition, who leads it, what they are told together.

What nodes have told of themselves is read at once (`storage.node.port`: facts); whoever must not act on an old answer awaits `look`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.env import Env, Future
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import PartitionInfo, TableMeta, coming, index_remains, index_tables, placed
from scrubjay.storage.log.configuration import Vote, decode_configuration
from scrubjay.storage.log.stated import SILENT
from scrubjay.storage.node import port
from scrubjay.storage.node.port import NodePort, ReplicaFacts, asked
from scrubjay.storage.service_port import Copy

LOOK_WAIT_S = 1.0
"""How long `look` waits for a node before it takes what that one told last."""
AWAITED_US = 5_000_000
"""Nodes are asked once a second who leads what: by then of a new table they have told."""
TELL_WAIT_S = 5.0
TELLS_MAX = 5
"""How often a node is told to host or forget a replica while no answer comes. A node that starts is told what to host anyhow."""
SEAL_WAIT_S = 10.0
"""How long a seal may take to be chosen and applied (a full log, no quorum)."""


class Order(NamedTuple):
    """What a node is to do with a replica. done: its answer, or an error."""

    node: NodePort
    partition: PartitionId
    request: port.Request
    done: Callable[[Any], None]


class Fleet:
    """ports: every storage node by name."""

    def __init__(self, env: Env, ports: Mapping[NodeName, NodePort]) -> None:
        self._env = env
        self.ports = dict(ports)
        self._orders: dict[tuple[NodeName, PartitionId], Order] = {}
        """The newest order for a replica on a node, while it is not carried out: an older one that got lost is not given again."""
        self._led: set[PartitionId] = set()

    # ------------------------------------------------------------------ what is known

    def members(self, info: PartitionInfo) -> list[NodePort]:
        numbers = info.nodes
        return [node for node in self.ports.values() if node.number in numbers]

    def facts(self, partition: PartitionId) -> list[ReplicaFacts]:
        """Of every copy that some node runs, a failed node's too."""
        return [facts for node in self.ports.values() if (facts := node.facts(partition)) is not None]

    def all_facts(self) -> list[ReplicaFacts]:
        return [facts for node in self.ports.values() for facts in node.all_facts()]

    def leader(self, partition: PartitionId) -> ReplicaFacts | None:
        """The replica that leads and serves, if one does."""
        found = next((facts for facts in self.facts(partition) if facts.answers), None)
        if found is not None:
            self._led.add(partition)
        return found

    def awaited(self, table: TableMeta, partition: PartitionId, now_us: int) -> bool:
        """It was just made, and no node has told yet who leads it: that is up to a second old, and its requests have their answers meanwhile. One that was led as far as is known here is not
        awaited, however new it is."""
        return now_us - table.created_at <= AWAITED_US and self.leader(partition) is None and partition not in self._led

    def stated(self, table: TableMeta) -> dict[PartitionId, Lsn] | None:
        """Of each partition the LSN of the SCHEMA record from which on its log is as this definition of the table wants it (`storage.log.stated`); None while a leader has not
        said so, or is not there."""
        found: dict[PartitionId, Lsn] = {}
        for info in table.partitions:
            leader = self.leader(info.partition_id)
            said = SILENT if leader is None or leader.stated is None else leader.stated
            if leader is None or not said.follows(table) or (said.old_items, said.stream) != (table.keeps_old, table.stream_label):
                return None
            found[info.partition_id] = Lsn(said.lsn)
        return found

    def archived(self, partition: PartitionId) -> Lsn:
        return Lsn(max((facts.archived for facts in self.facts(partition)), default=0))

    def down(self) -> set[int]:
        """Numbers of nodes that failed, or cannot be reached."""
        return {node.number for node in self.ports.values() if node.status().failed is not None}

    def without_log(self, table: TableMeta) -> tuple[int, ...]:
        """Numbers of members that hold no durable log of some partition of the table (yet): nobody can have counted on them there."""
        missing = {
            node.number
            for info in table.partitions
            for node in self.members(info)
            if (facts := node.facts(info.partition_id)) is None or not facts.logged
        }
        return tuple(sorted(missing))

    def copies(self, info: PartitionInfo) -> list[Copy]:
        """But for log replicas that stand by: what nobody counts on is neither compared nor a fault. A copy that goes is none any more; one that comes is there to be healed once it has begun."""
        counted = [node.number for node, _ in self.counted(info)]
        found = [(node.number, copy_of(node, node.facts(info.partition_id))) for node in self.members(info) if node.number not in info.goes]
        return [copy for number, copy in found if number in counted or (number not in info.logs and copy.state != "down")]

    def counted(self, info: PartitionInfo) -> list[tuple[NodePort, ReplicaFacts | None]]:
        """The members whose copies count, with what they told last: storage replicas, and log replicas that vote; none that is on its way."""
        known = [(node, node.facts(info.partition_id)) for node in self.members(info)]
        return [
            (node, facts)
            for node, facts in known
            if not self.on_its_way(info, node.number) and (node.number not in info.logs or (facts is not None and facts.vote != "learner"))
        ]

    def on_its_way(self, info: PartitionInfo, number: int) -> bool:
        """The partition's copy on that node goes to another, or comes in the place of such a one and does not vote yet. A log that stands by does neither."""
        if number in info.logs:
            return False
        if not info.goes or number in info.goes or number in info.fresh:
            return bool(info.goes)
        leader = self.leader(info.partition_id)
        if leader is None:
            return False
        lsn, payload = leader.configured
        voters = [member[0] for member in info.members]
        if lsn:
            try:
                voters = [place.member.node for place in decode_configuration(payload).places if place.vote is Vote.VOTES]
            except Corrupt:
                return False  # the copy that cannot be read says so itself
        return number not in voters

    # ------------------------------------------------------------------ asking

    async def look(self) -> list[ReplicaFacts]:
        """Every replica as it is now. Of a node that does not answer in time: as it told last."""
        looks = [(node, self._ask(node, port.AskFacts(None), LOOK_WAIT_S)) for node in self.ports.values()]
        found: list[ReplicaFacts] = []
        for node, look in looks:
            answer = await look
            found.extend(answer.replicas if isinstance(answer, port.FactsOfReplicas) else node.all_facts())
        return found

    async def closed(self, partition: PartitionId) -> tuple[int, Lsn, Lsn] | None:
        """What may be published as closed (`ReplicaFacts.closed`), asked of the leader: it moves with the clock, so what was told last says little. None: there is none, or no answer."""
        leader = self.leader(partition)
        if leader is None:
            return None
        answer = await self._ask(self.ports[leader.node], port.AskFacts(partition), LOOK_WAIT_S)
        return next((one.closed for one in answer.replicas), None) if isinstance(answer, port.FactsOfReplicas) else None

    def host(self, table: TableMeta, *, only_known: bool = False) -> Future[bool]:
        """Run the replicas of a table on their nodes. Resolves when all members have answered or were given up: whether some replica runs now."""
        awaits = table.restore_of is not None and table.restore_of.in_progress
        orders: list[tuple[NodePort, PartitionId, port.Request]] = [
            (node, info.partition_id, port.Host(table, info, awaits_base=awaits, only_known=only_known))
            for info in table.partitions
            for node in self.members(info)
        ]
        orders += [order for node in self.ports.values() for order in self._split_orders(node, table, only_known=only_known)]
        for node in self.ports.values():
            orders += self._index_orders(node, table, only_known=only_known)
        return self._tell(orders)

    def _split_orders(self, node: NodePort, table: TableMeta, *, only_known: bool) -> list[tuple[NodePort, PartitionId, port.Request]]:
        """What a node is to do with the partitions of a table that come and go by splits: have those that come wait for their trees, keep those that were split until the archive has their
        logs, and remove them then."""
        orders: list[tuple[NodePort, PartitionId, port.Request]] = []
        if not isinstance(table.split, msgspec.UnsetType) and table.status != "DROPPED":
            parent = table.split.parent
            orders += [
                (node, info.partition_id, port.Host(table, info, only_known=only_known, parent=parent))
                for info in coming(table)
                if node in self.members(info)
            ]
        for former in table.former or ():
            if node in self.members(former.info):
                partition = former.info.partition_id
                if former.archived_at is None:
                    orders.append((node, partition, port.Host(table, former.info, only_known=True)))
                elif not only_known:
                    orders.append((node, partition, port.Forget(partition)))
        return orders

    def _index_orders(self, node: NodePort, table: TableMeta, *, only_known: bool) -> list[tuple[NodePort, PartitionId, port.Request]]:
        """What a node is to do with the indexes of a table: run its copies of those that are there, remove those of others."""
        orders: list[tuple[NodePort, PartitionId, port.Request]] = []
        for index in index_tables(table):
            orders += [
                (node, info.partition_id, port.Host(index, info, only_known=only_known))
                for info in index.partitions
                if node in self.members(info)
            ]
            orders += self._split_orders(node, index, only_known=only_known)
        return orders + [
            (node, info.partition_id, port.Forget(info.partition_id)) for info in index_remains(table) if node in self.members(info)
        ]

    def forget_indexes(self, table: TableMeta) -> None:
        """Remove every copy of every index of a table that is not any more."""
        for index in index_tables(table):
            for info in placed(index):
                for node in self.members(info):
                    self.forget(info.partition_id, node)

    def host_on(self, node: NodePort, table: TableMeta, *, only_known: bool = False) -> Future[bool]:
        """Have one node run its replicas of a table as the catalogue has it, and remove those that went to other nodes. A dropped one: those whose log it still knows, until it is archived to
        its end; then they go. only_known: what the catalogue says may be old: nothing is begun, and nothing removed."""
        infos = [info for info in table.partitions if node in self.members(info)]
        orders = self._index_orders(node, table, only_known=only_known) + self._split_orders(node, table, only_known=only_known)
        if not only_known:
            orders += [
                (node, info.partition_id, port.Forget(info.partition_id, one.version))
                for one in (table, *index_tables(table))
                for info in one.partitions
                if info.hosts and node.number not in info.hosts
            ]
        if table.archived_at is not None:
            return self._tell([*((node, info.partition_id, port.Forget(info.partition_id)) for info in infos), *orders])
        awaits = table.restore_of is not None and table.restore_of.in_progress
        known = only_known or table.status == "DROPPED"
        hosts = ((node, info.partition_id, port.Host(table, info, awaits_base=awaits, only_known=known)) for info in infos)
        return self._tell([*hosts, *orders])

    def forget(self, partition: PartitionId, node: NodePort) -> Future[bool]:
        """Remove a replica for good."""
        return self._tell([(node, partition, port.Forget(partition))])

    async def seal(self, partition: PartitionId, reason: int, tag: bytes = bytes(16)) -> port.Sealed:
        """Have the leader propose a SEAL; it, once applied there. Raises Unavailable."""
        leader = self.leader(partition)
        if leader is None:
            raise Unavailable("no leader serves this partition", partition=partition)
        request = port.ProposeSeal(partition, reason, tag)
        return await asked(self._env.tasks, self.ports[leader.node], request, port.Sealed, timeout_s=SEAL_WAIT_S)

    def _ask(self, node: NodePort, request: port.Request, timeout_s: float) -> Future[Any]:
        """The answer, or the error, as the future's value."""
        future = self._env.tasks.future()
        node.ask(request, lambda answer: None if future.done() else future.set_result(answer), timeout_s=timeout_s)
        return future

    def _tell(self, orders: Iterable[tuple[NodePort, PartitionId, port.Request]]) -> Future[bool]:
        future = self._env.tasks.future()
        left = 1
        here = False

        def answered(answer: Any) -> None:
            nonlocal left, here
            left -= 1
            here = here or (isinstance(answer, port.HostedHere) and answer.here)
            if not left:
                settle(future, here)

        for node, partition, request in orders:
            left += 1
            self._insist(Order(node, partition, request, answered), TELLS_MAX)
        answered(None)
        return future

    def _insist(self, order: Order, tries: int) -> None:
        """Ask until there is an answer: to host and to forget may be told twice. Bounded; a node that is down is not waited for."""
        place = order.node.name, order.partition
        self._orders[place] = order

        def heard(answer: Any) -> None:
            newest = self._orders.get(place) is order
            lost = isinstance(answer, ScrubjayError) and bool(answer.fields.get("unknown"))
            if newest and lost and tries > 1:
                self._insist(order, tries - 1)
                return
            if newest:
                del self._orders[place]
            order.done(answer)

        order.node.ask(order.request, heard, timeout_s=TELL_WAIT_S)


def copy_of(node: NodePort, facts: ReplicaFacts | None) -> Copy:
    """A copy as the durability services see it."""
    if facts is None or not facts.up:
        return Copy(node.name, node.number, "storage", "down", Lsn(0), scannable=False)
    if facts.tree == "log":
        state = {"votes": "ok", "learner": "ok", "amnesiac": "amnesiac"}.get(facts.vote, "down")
        return Copy(node.name, node.number, "log", state, facts.applied, scannable=False)
    state = facts.state if facts.state in ("ok", "suspect", "amnesiac", "healing") else "down"
    state = "behind" if facts.behind and state in ("suspect", "healing") else state
    return Copy(node.name, node.number, "storage", state, facts.applied, facts.usable)


def leaders(facts: Iterable[ReplicaFacts]) -> list[ReplicaFacts]:
    """Those that lead, if without a lease just now."""
    return [one for one in facts if one.leads]


def unarchived(facts: Iterable[ReplicaFacts]) -> int:
    """Raw bytes, over all partitions, that hold content and have no manifest yet: as whoever leads sees it, else as the furthest replica does, to which
    what is chosen above its applied LSN counts too."""
    furthest: dict[PartitionId, ReplicaFacts] = {}
    for one in facts:
        known = furthest.get(one.partition)
        if one.state != "base" and (known is None or _reach(one) > _reach(known)):
            furthest[one.partition] = one
    return sum(one.unarchived + int(one.chosen > one.applied and not one.leads) for one in furthest.values())


def _reach(facts: ReplicaFacts) -> tuple[bool, bool, int]:
    """Leading, then serving, then applied furthest."""
    return facts.leads, facts.state == "ok", facts.applied
