"""The node port between processes: nodes of other processes as `NodePort`s, and the node of this one as who answers (docs/formats/peer-wire.md, ADR 0063).

What a node tells of itself is asked for on a beat and kept: `status`, `facts` and `applied` answer at once from that. What is older than STALE_US is not told any more: then the
node counts as out of reach. What is large has a lane of its own, so that it holds up nothing that is small.

A node that is stopped, or cut off, keeps its connection for seconds (`base.peer_link.SILENCE_S`). So that requests do not wait for that, one that says nothing at all for SILENT_US, though asked,
is passed over: reads that wait for it are answered as by a node that is down, and no data request is sent to it, until it says something again. What was sent to it to be written may happen yet:
whoever waits for that hears so after STALE_US.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

from scrubjay.base.env import Env, Task
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.base.peer_wire import Hello
from scrubjay.storage.commands.values import RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node import port
from scrubjay.storage.node.errand_messages import PinnedRows, RowFileChunk
from scrubjay.storage.node.port import ASK_WAIT_S, Done, NodeStatus, ReplicaFacts, Request, failure_of, node_down
from scrubjay.storage.node.port_codec import decode_request, encode_said
from scrubjay.storage.node.port_remote import RemoteNode
from scrubjay.storage.node.port_server import NodeServer

BEAT_S = 0.1
"""Between two looks at a node whose facts are used."""
REPLICAS_PER_BEAT = 200
"""What a look costs grows with the replicas: beyond so many, a beat more passes between two looks."""
EVERYTHING_US = 30_000_000
"""What has moved is asked for; everything, when it was last told so long ago."""
IDLE_BEATS = 10
"""So many beats pass between two looks at one whose facts nobody used since the last, and never more."""
STALE_US = 2_500_000
"""What a node told so long ago counts no more."""
SILENT_US = 400_000
"""A node that was asked so long ago, and has said nothing since, is passed over."""
HELD_UP_US = 250_000
"""Between two beats: so long, and this process was held up itself."""
READS = frozenset(request.__name__ for request in (port.Read, port.Range, port.IndexRange))
WRITES = frozenset({port.Write.__name__})
LARGE_BYTES = 64 << 10
"""A command from that size on goes with what is large."""


_NO_PARTITION = PartitionId("")


class Lane(Protocol):
    """Requests to one peer, over one connection at a time. heard, lost: set by who asks; see `base.real.peer_net.PortLane`."""

    heard: Callable[[bytes | bytearray], None]
    lost: Callable[[], None]

    @property
    def up(self) -> bool: ...

    def send(self, data: bytes) -> bool: ...


class Lanes(Protocol):
    """`base.real.peer_net.PeerNet`, as far as it carries the node port."""

    asked: Callable[[Hello, bytes | bytearray, Callable[[bytes], None]], None] | None

    def lane(self, name: NodeName, *, bulk: bool = False) -> Lane: ...


class PeerNode(RemoteNode):
    """A node of another process. small, bulk: the lanes to it. silent: it is passed over."""

    def __init__(self, env: Env, name: NodeName, number: int, *, small: Lane, bulk: Lane) -> None:
        super().__init__(name, number, tasks=env.tasks, send=small.send, look=self._known)
        self._env, self._small = env, small
        self._bulk = RemoteNode(name, number, tasks=env.tasks, send=bulk.send, look=self._known)
        small.heard, small.lost = self._heard, self._forgotten
        bulk.heard, bulk.lost = self._heard_bulk, self._bulk.lost
        self._facts: dict[PartitionId, ReplicaFacts] = {}
        self._all: tuple[ReplicaFacts, ...] | None = ()
        """All of them in order, None: to be put in order."""
        self._upto = 0
        """`FactsOfReplicas.upto` of what is kept; 0: everything is asked for."""
        self._everything_us = 0
        """When everything was asked for."""
        self._status: NodeStatus | None = None
        self._told_us = 0
        """When what is kept was asked for: it is no older."""
        self._used = True
        self._beats = IDLE_BEATS
        """Since the last look."""
        self._asking = False
        self.silent = False
        self._patient = 0
        """Requests that are answered once something happens: that they are not says nothing of the node."""
        self._owed_us = 0
        """When it was first seen to owe an answer since it said something; 0: it does not."""

    # ------------------------------------------------------------------ requests

    def write(self, partition: PartitionId, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        if self.silent:
            done(node_down(self.name))
        else:
            super().write(partition, command, done)

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Done[ReadAnswer]) -> None:
        if self.silent:
            done(node_down(self.name))
        else:
            super().read(partition, key, consistent=consistent, min_lsn=min_lsn, done=done)

    def read_range(self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Done[RangeAnswer]) -> None:
        if self.silent:
            done(node_down(self.name))
        else:
            super().read_range(partition, request, min_lsn=min_lsn, done=done)

    def ask(self, request: Request, done: Done[Any], *, timeout_s: float = ASK_WAIT_S) -> None:
        if _large(request):
            self._bulk.ask(request, done, timeout_s=timeout_s)
        elif isinstance(request, port.AwaitApplied):
            self._patient += 1
            super().ask(request, partial(self._ended_patience, done), timeout_s=timeout_s)
        else:
            super().ask(request, done, timeout_s=timeout_s)

    def _ended_patience(self, done: Done[Any], answer: Any) -> None:
        self._patient -= 1
        done(answer)

    def _heard(self, data: bytes | bytearray) -> None:
        self.excuse()
        _heard_by(self, data)

    def _heard_bulk(self, data: bytes | bytearray) -> None:
        self.excuse()
        _heard_by(self._bulk, data)

    def _forgotten(self) -> None:
        self._status, self._used, self._upto = None, True, 0
        self.excuse()
        self.lost()

    # ------------------------------------------------------------------ whether it says anything

    def excuse(self) -> None:
        """It owes nothing from now on: it has spoken, its connection is gone, or this process was held up itself."""
        self._owed_us, self.silent = 0, False

    def _watch(self) -> None:
        """On each beat: whether it answers at all. What waits may well take long (a scan, a write without a quorum): it is asked for something else meanwhile, which takes no time."""
        if not self._small.up or not (self.silent or self.waiting > self._patient or self._bulk.waiting):
            return
        now_us = self._env.clock.boot_us()
        if self.silent or not self._asking:  # a look is such a question, and goes to waste over a connection that loses it
            super().ask(port.AskFacts(_NO_PARTITION), lambda answer: None, timeout_s=STALE_US / 1e6)
        self._owed_us = self._owed_us or now_us
        if now_us - self._owed_us >= SILENT_US:
            self.silent = True
            self._answer_for_it(READS, node_down(self.name))
        if now_us - self._owed_us >= STALE_US:
            self._answer_for_it(WRITES, Unavailable("the node has gone silent", node=self.name, unknown=True))

    def _answer_for_it(self, requests: Collection[str], error: ScrubjayError) -> None:
        for node in (self, self._bulk):
            node.pass_over(requests, error)

    # ------------------------------------------------------------------ what it told

    @property
    def _fresh(self) -> bool:
        self._used = True
        return self._status is not None and self._small.up and self._env.clock.boot_us() - self._told_us <= STALE_US

    def status(self) -> NodeStatus:
        if self._fresh:
            assert self._status is not None
            return self._status
        return NodeStatus(self.name, self.number, started=False, failed=failure_of(node_down(self.name)))

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        return self._facts.get(partition) if self._fresh else None

    def all_facts(self) -> tuple[ReplicaFacts, ...]:
        if not self._fresh:
            return ()
        if self._all is None:
            self._all = tuple([one for _, one in sorted(self._facts.items())])
        return self._all

    def applied(self, partition: PartitionId) -> Lsn:
        facts = self._facts.get(partition) if self._fresh else None
        return Lsn(0) if facts is None else facts.applied

    def _known(self, request: Request) -> port.Answer | None:
        if isinstance(request, port.AskStatus):
            return self._status if self._fresh else None
        return port.FactsOfReplicas(self.all_facts())

    # ------------------------------------------------------------------ asking it

    def beat(self) -> None:
        """Every BEAT_S: ask it what it tells of itself, if that is used, or was not asked for a while."""
        self._watch()
        self._beats += 1
        due = min(IDLE_BEATS, 1 + len(self._facts) // REPLICAS_PER_BEAT) if self._used else IDLE_BEATS
        if self._asking or not self._small.up or self._beats < due:
            return
        self._used, self._beats, self._asking = False, 0, True
        asked_us = self._env.clock.boot_us()
        since = self._upto if asked_us - self._everything_us < EVERYTHING_US else 0
        super().ask(port.AskFacts(None, since), partial(self._told, asked_us), timeout_s=STALE_US / 1e6)

    def _told(self, asked_us: int, answer: Any) -> None:
        if not isinstance(answer, port.FactsOfReplicas):
            self._asking = False
            return
        super().ask(port.AskStatus(), partial(self._told_status, asked_us, answer), timeout_s=STALE_US / 1e6)

    def _told_status(self, asked_us: int, told: port.FactsOfReplicas, answer: Any) -> None:
        self._asking = False
        if not isinstance(answer, NodeStatus):
            return
        if not told.since:
            self._facts, self._all, self._everything_us = {one.partition: one for one in told.replicas}, told.replicas, asked_us
        elif told.since != self._upto:
            return  # it goes on from something else than what is kept: the connection was another one's meanwhile
        elif told.replicas or told.gone:
            self._facts.update((one.partition, one) for one in told.replicas)
            for partition in told.gone:
                self._facts.pop(partition, None)
            self._all = None
        self._status, self._told_us, self._upto = answer, asked_us, told.upto


class PeerNodes:
    """Both halves of the node port over a `PeerNet`. Made once; `close` ends the beat."""

    def __init__(self, env: Env, name: NodeName, lanes: Lanes) -> None:
        """name: of this process."""
        self._env, self._name, self._lanes = env, name, lanes
        self._nodes: dict[NodeName, PeerNode] = {}
        self._server: NodeServer | None = None
        self.misunderstood = 0
        """Requests that could not be read: of a newer release, or not of ours."""
        lanes.asked = self._answer
        self._task: Task[None] = env.tasks.keep(self._beat, name="peer-facts")

    def node(self, name: NodeName, number: int) -> PeerNode:
        """A node of another process; the same again for the same name."""
        found = self._nodes.get(name)
        if found is None:
            found = self._nodes[name] = PeerNode(
                self._env, name, number, small=self._lanes.lane(name), bulk=self._lanes.lane(name, bulk=True)
            )
        assert found.number == number
        return found

    def serve(self, server: NodeServer) -> None:
        """From now on requests are answered by this node; before, that it is down."""
        self._server = server

    def _answer(self, asker: Hello, data: bytes | bytearray, reply: Callable[[bytes], None]) -> None:
        del asker
        view = memoryview(data)
        try:
            if self._server is None:
                reply(encode_said(decode_request(view).id, node_down(self._name)))
            else:
                self._server.frame(view, self._env.clock, reply)
        except Corrupt:
            self.misunderstood += 1

    async def _beat(self) -> None:
        beat_us = self._env.clock.boot_us()
        while True:
            now_us = self._env.clock.boot_us()
            for node in list(self._nodes.values()):
                if now_us - beat_us > HELD_UP_US:  # what they said meanwhile has not been read yet
                    node.excuse()
                node.beat()
            beat_us = now_us
            await self._env.tasks.sleep(BEAT_S)

    def close(self) -> None:
        self._task.cancel()


def _heard_by(node: RemoteNode, data: bytes | bytearray) -> None:
    """An answer that cannot be read is none: whoever waits for it hears so when the time is up."""
    try:
        node.heard(memoryview(data))
    except Corrupt:
        return


def _large(request: Request) -> bool:
    """Whether the request, or what it is answered, is large."""
    if isinstance(request, port.Write):
        return len(request.command) >= LARGE_BYTES
    return isinstance(request, RowFileChunk | PinnedRows)
