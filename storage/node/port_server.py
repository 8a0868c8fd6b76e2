"""The port's half in the node's process: a request becomes calls on the node and its replicas, what they say becomes an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from scrubjay.base.env import Clock, Timer
from scrubjay.base.errors import Corrupt, Internal, Invalid, ScrubjayError, Unavailable
from scrubjay.base.hlc import HybridClock
from scrubjay.base.ids import Lsn, Member, PartitionId
from scrubjay.storage.cluster_version import CONFIGURES, NEWEST, NUMBERED, REMOVES, SPLITS, STANDS_IN
from scrubjay.storage.commands.codec import decode_command, encode_answer
from scrubjay.storage.commands.values import RangeRead
from scrubjay.storage.consensus.membership import AddLearner, Change, Grow, LetVote, Remove, Rest
from scrubjay.storage.log.configuration import CopyKind
from scrubjay.storage.log.record import SEAL_TAG_BYTES, Record, Seal, decode_seal
from scrubjay.storage.log.split import Split
from scrubjay.storage.node import port
from scrubjay.storage.node.moved_facts import MovedFacts
from scrubjay.storage.node.node import Node
from scrubjay.storage.node.port_codec import decode_request, encode_said
from scrubjay.storage.replica import LOG, Configured

SPLIT_BYTES = 16
"""Of a split's id, and of the hash at which it cuts."""

FORGOTTEN_MAX = 10_000
"""Partitions of which it is known that their copy here was removed. A word that is on its way gets here, or is lost, within seconds."""
FOR_GOOD = 1 << 62

AWAITING_MAX, AWAIT_US_MAX = 1_000, 60_000_000
"""Who waits, at once, to hear of replicas here, and for how long at most."""

Answered = Callable[[Any], None]


class _Awaiting(NamedTuple):
    """Who wants to hear that a replica has applied more than up to `lsn`. timer: until which it waits."""

    lsn: Lsn
    done: Answered
    timer: Timer


class NodeServer:
    """node: of this process. Requests come in as values (`ask`) or as frames (`frame`). can: see NodeStatus; guests: asks for those who are connected."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.can = NEWEST
        self.guests: Callable[[], dict[str, int]] = dict
        self.told = True
        """The process of this node has had it host, and forget, what the catalogue says in this life. Until then nobody elsewhere has it begin anything: what was forgotten here is not remembered over a start, and their word
        may be old."""
        self.telling = MovedFacts(node)
        self._handlers: dict[type[Any], Callable[[Any, Answered], None]] = {
            port.AskStatus: lambda _, done: done(self.status()),
            port.AskFacts: self._facts,
            port.ProposeSeal: self._seal,
            port.SplitPartition: self._split,
            port.Host: self._host,
            port.Forget: self._forget,
            port.HandOver: self._hand_over,
            port.ChangeMembers: self._change_members,
            port.RemoveMember: self._remove_member,
            port.ChangePlace: self._change_place,
            port.BeginLog: self._begin_log,
            port.GrowTree: self._grow_tree,
            port.GiveLead: self._give_lead,
            port.AwaitApplied: self._await_applied,
        }
        self._awaiting: dict[PartitionId, list[_Awaiting]] = {}
        self._forgotten: dict[PartitionId, int] = {}
        """By which version of its table a copy was last removed here, the latest last: a word from before it may be on its way still."""
        node.on_stir.append(self._stirred)

    # ------------------------------------------------------------------ being asked

    def ask(self, request: port.Request, done: Answered) -> None:
        """done, at most once: the answer, or a ScrubjayError."""
        if self.node.services.answers(request):
            self.node.services.ask(request, lambda answer: done(port.Fine() if answer is None else answer))
            return
        handler = self._handlers.get(type(request))
        if handler is None:
            done(Internal("nobody here answers this request", request=type(request).__name__))
            return
        try:
            handler(request, done)
        except ScrubjayError as error:
            done(error)

    def frame(self, data: bytes | memoryview, clock: Clock, reply: Callable[[bytes], None]) -> None:
        """A request as bytes; its answer as bytes to `reply`, unless whoever asked has given up by then. Raises Corrupt: nothing tells whom to answer."""
        asked = decode_request(data)
        until = clock.boot_us() + asked.left_us

        def said(answer: Callable[[], Any]) -> None:
            if clock.boot_us() <= until:
                reply(_said(asked.id, answer))

        def answered(answer: Any) -> None:
            said(lambda: answer)

        def data_answered(answer: Any) -> None:
            said(lambda: port.Answered(encode_answer(answer)))

        request, requests = asked.request, self.node.requests
        if isinstance(request, port.Write):
            try:
                command = decode_command(request.command)
            except Corrupt as error:
                data_answered(error)
            else:
                requests.write(request.partition, command, data_answered)
        elif isinstance(request, port.Read):
            requests.read(request.partition, request.key, consistent=request.consistent, min_lsn=request.min_lsn, done=data_answered)
        elif isinstance(request, port.Range):
            rows = RangeRead(
                request.start, request.end, request.limit, request.max_bytes, reverse=request.reverse, consistent=request.consistent
            )
            if isinstance(request, port.IndexRange):
                rows = replace(rows, index=request.index, fetch=request.fetch)
            requests.read_range(request.partition, rows, min_lsn=request.min_lsn, done=data_answered)
        elif isinstance(request, port.Host) and not self.told:
            answered(Unavailable("this node has not been told yet what the catalogue says", node=self.node.name))
        else:
            self.ask(request, answered)

    # ------------------------------------------------------------------ telling

    def status(self) -> port.NodeStatus:
        node = self.node
        states, leaders = self.telling.sums()
        return port.NodeStatus(
            node.name,
            node.number,
            node.started,
            None if node.failed is None else port.failure_of(node.failed),
            full=node.full,
            joining=node.joining,
            boots=node.boot_count,
            states=states,
            leaders=leaders,
            wal_used=node.wal.used if node.failed is None else 0,
            reserved_us=node.pulse.clock.reservation >> 12,
            offset_us=node.options.max_clock_offset_us + node.pulse.clock.reach_us - HybridClock.RESERVE_AHEAD_US,
            incarnation=node.incarnation,
            configures=self.can >= CONFIGURES,
            removes=self.can >= REMOVES,
            splits=self.can >= SPLITS,
            stands_in=self.can >= STANDS_IN,
            can=self.can if self.can >= NUMBERED else 0,
            guests=self.guests(),
            stopping=node.departure.leaving is not None,
        )

    def facts(self, partition: PartitionId) -> port.ReplicaFacts | None:
        return self.telling.facts(partition)

    def all_facts(self) -> tuple[port.ReplicaFacts, ...]:
        return self.telling.all()

    def stalled(self) -> list[port.StalledOf]:
        return self.telling.stalled()

    def applied(self, partition: PartitionId) -> Lsn:
        replica = self.node.members.get(partition)
        return Lsn(0) if replica is None else replica.applied

    def _facts(self, request: port.AskFacts, done: Answered) -> None:
        if request.partition is None:
            done(self.telling.since(request.since))
        else:
            one = self.facts(request.partition)
            done(port.FactsOfReplicas(() if one is None else (one,)))

    def _await_applied(self, request: port.AwaitApplied, done: Answered) -> None:
        if self.applied(request.partition) > request.lsn:
            self._facts(port.AskFacts(request.partition), done)
            return
        if sum(map(len, self._awaiting.values())) >= AWAITING_MAX:
            done(Unavailable("too many wait to hear of replicas of this node", node=self.node.name))
            return
        waiting = self._awaiting.setdefault(request.partition, [])
        tasks = self.node.env.tasks

        def late() -> None:
            waiting.remove(awaiting)
            if not waiting and self._awaiting.get(request.partition) is waiting:
                del self._awaiting[request.partition]
            self._facts(port.AskFacts(request.partition), done)

        awaiting = _Awaiting(request.lsn, done, tasks.call_later(min(request.wait_us, AWAIT_US_MAX) / 1e6, self.node.guarded(late)))
        waiting.append(awaiting)

    def _stirred(self, partition: PartitionId) -> None:
        """Something may have happened to a replica, or it is here no more."""
        waiting = self._awaiting.get(partition)
        if not waiting:
            return
        applied = self.applied(partition)
        for one in [one for one in waiting if applied > one.lsn]:
            waiting.remove(one)
            one.timer.cancel()
            self._facts(port.AskFacts(partition), one.done)
        if not waiting:
            del self._awaiting[partition]

    def check_invariants(self) -> None:
        """See MovedFacts."""
        self.telling.check_invariants()

    # ------------------------------------------------------------------ doing

    def _seal(self, request: port.ProposeSeal, done: Answered) -> None:
        if request.reason not in Seal.REASONS or len(request.tag) != SEAL_TAG_BYTES:
            raise Invalid("no such seal", reason=request.reason, tag=request.tag.hex())
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        else:
            replica.seal(request.reason, request.tag, _sealed(done))

    def _split(self, request: port.SplitPartition, done: Answered) -> None:
        if len(request.id) != SPLIT_BYTES or len(request.cut) != SPLIT_BYTES:
            raise Invalid("no such split", id=request.id.hex(), cut=request.cut.hex())
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        elif not self.node.heard(request.after):
            done(Unavailable("the split was asked for by a clock that is too far ahead of this one", partition=request.partition))
        else:
            replica.end_in_split(Split(request.id, request.cut, request.left, request.right), _sealed(done))

    def _change_members(self, request: port.ChangeMembers, done: Answered) -> None:
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
            return
        change: Change = LetVote(request.node, request.learner)
        if request.incarnation:
            change = AddLearner(Member(request.node, request.incarnation), CopyKind.STORAGE)
        replica.change_members(change)
        done(port.Fine())

    def _remove_member(self, request: port.RemoveMember, done: Answered) -> None:
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
        elif request.node != self.node.number:
            replica.change_members(Remove(request.node, request.incarnation))
            done(port.Fine())
        elif request.incarnation not in (0, replica.member.incarnation):
            raise Invalid("another member is on that node by now", node=request.node, asked=request.incarnation)
        else:
            replica.gives_way(frozenset(request.leaving))
            done(Unavailable("it hands over to another member first", partition=request.partition, node=self.node.name))

    def _change_place(self, request: port.ChangePlace, done: Answered) -> None:
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
            return
        changes: dict[str, Change] = {
            port.LOG_LEARNS: AddLearner(Member(request.node, request.incarnation), CopyKind.LOG),
            port.RESTS: Rest(request.node, request.incarnation),
            port.GROWS: Grow(request.node, request.incarnation),
        }
        if request.word not in changes:
            raise Invalid("no such change of a place", word=request.word)
        replica.change_members(changes[request.word])
        done(port.Fine())

    def _begin_log(self, request: port.BeginLog, done: Answered) -> None:
        replica = self.node.members.get(request.partition)
        if replica is None:
            raise Unavailable("this node runs no such replica", partition=request.partition, node=self.node.name)
        if replica.status.tree != LOG:
            raise Invalid("this copy has a tree: its log begins behind that alone", partition=request.partition, node=self.node.name)
        replica.begin_behind(request.lsn, Configured(*request.configured))
        done(port.Fine())

    def _grow_tree(self, request: port.GrowTree, done: Answered) -> None:
        self.node.hosting.grow(request.partition)
        done(port.Fine())

    def _give_lead(self, request: port.GiveLead, done: Answered) -> None:
        replica = self.node.requests.replica(request.partition)
        if isinstance(replica, ScrubjayError):
            done(replica)
            return
        replica.gives_lead(request.node)
        done(port.Fine())

    def _host(self, request: port.Host, done: Answered) -> None:
        node, partition = self.node, request.info.partition_id
        present = node.members.get(partition)
        if present is not None and present.table.version > request.table.version:
            done(port.HostedHere(here=True))  # told again, late: what the catalogue said then is not what it says now
        elif request.table.version < self._forgotten.get(partition, 0):
            # so late that its copy has gone meanwhile: what it would begin nobody would ever ask for, or remove
            done(port.HostedHere(here=False))
        elif request.only_known and not node.hosting.known(partition):
            done(port.HostedHere(here=False))
        else:
            replica = node.hosting.host(request.table, request.info, awaits_base=request.awaits_base, coming=request.parent is not None)
            done(port.HostedHere(here=replica is not None))

    def _forget(self, request: port.Forget, done: Answered) -> None:
        present = self.node.members.get(request.partition)
        if not request.version or present is None or present.table.version <= request.version:
            self._note_forgotten(request.partition, request.version or FOR_GOOD)
            if self.node.hosting.known(request.partition):
                self.node.hosting.forget(request.partition)
        done(port.Fine())

    def _note_forgotten(self, partition: PartitionId, version: int) -> None:
        self._forgotten[partition] = max(version, self._forgotten.pop(partition, 0))
        if len(self._forgotten) > FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    def _hand_over(self, request: port.HandOver, done: Answered) -> None:
        self.node.departure.hand_over(lambda: done(port.Fine()), leaving=frozenset(request.leaving))


def _sealed(done: Answered) -> Callable[[Record | ScrubjayError], None]:
    """Tells the SEAL that was applied, or why there is none."""

    def sealed(record: Record | ScrubjayError) -> None:
        done(record if isinstance(record, ScrubjayError) else port.Sealed(record.lsn, record.stamp, decode_seal(record).closed))

    return sealed


def _said(id_: int, answer: Callable[[], Any]) -> bytes:
    """The frame of an answer. One that fits into none is an answer too: what was asked for has been done, and the node that did it goes on."""
    try:
        return encode_said(id_, answer())
    except Invalid as error:
        return encode_said(id_, Unavailable("the answer does not fit into a message", cause=str(error), unknown=True))
