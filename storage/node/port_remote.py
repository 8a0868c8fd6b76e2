"""A node at the other end of a connection, behind its port: requests leave as frames with ids and deadlines, answers find back by their id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from scrubjay.base.env import Tasks
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable
from scrubjay.base.ids import Lsn, NodeName, PartitionId
from scrubjay.storage.commands.codec import decode_answer, encode_command
from scrubjay.storage.commands.values import Failure, RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.node import port
from scrubjay.storage.node.port import ASK_WAIT_S, DATA_WAIT_S, Done, NodeStatus, ReplicaFacts, Request, error_of, failure_of, node_down
from scrubjay.storage.node.port_codec import decode_said, encode_request
from scrubjay.storage.node.port_local import Once

A = TypeVar("A")


class RemoteNode:
    """send: a frame to the node; False if it cannot be reached now. look: what the node last told in answer to a request (None: it cannot be reached), without asking it.

    What comes back goes to `heard`; that the connection ended, to `lost`. A frame may be lost, either way: whoever asked hears so when its time is up. Frames are never sent again here, and an
    answer that comes too late, or twice, is dropped.
    """

    def __init__(
        self, name: NodeName, number: int, *, tasks: Tasks, send: Callable[[bytes], bool], look: Callable[[Request], port.Answer | None]
    ) -> None:
        self.name, self.number = name, number
        self._tasks, self._send, self._look = tasks, send, look
        self._last = 0
        self._waiting: dict[int, Once] = {}

    @property
    def waiting(self) -> int:
        """Requests without an answer yet."""
        return len(self._waiting)

    # ------------------------------------------------------------------ requests

    def write(self, partition: PartitionId, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        try:
            request = port.Write(partition, encode_command(command))
        except ScrubjayError as error:
            done(error)
        else:
            self.ask(request, _only(WriteAnswer, done), timeout_s=DATA_WAIT_S)

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Done[ReadAnswer]) -> None:
        self.ask(port.Read(partition, key, consistent, min_lsn), _only(ReadAnswer, done), timeout_s=DATA_WAIT_S)

    def read_range(self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Done[RangeAnswer]) -> None:
        asked = (partition, request.start, request.end, request.limit, request.max_bytes, request.reverse, request.consistent, min_lsn)
        sent = port.Range(*asked) if request.index is None else port.IndexRange(*asked, request.index, request.fetch)
        self.ask(sent, _only(RangeAnswer, done), timeout_s=DATA_WAIT_S)

    def ask(self, request: Request, done: Done[Any], *, timeout_s: float = ASK_WAIT_S) -> None:
        self._last += 1
        id_ = self._last
        try:
            data = encode_request(id_, int(timeout_s * 1e6), request)
        except ScrubjayError as error:
            done(error)
            return
        self._waiting[id_] = Once(self._tasks, self.name, type(request).__name__, partial(self._ended, id_, done), timeout_s)
        if not self._send(data):
            self._waiting[id_](node_down(self.name))

    def _ended(self, id_: int, done: Done[Any], answer: Any) -> None:
        del self._waiting[id_]
        done(answer)

    def heard(self, data: bytes | memoryview) -> None:
        """A frame from the node. Raises Corrupt if it is no answer."""
        said = decode_said(data)
        once = self._waiting.get(said.id)
        if once is not None:
            once(_opened(said.answer))

    def lost(self) -> None:
        """The connection ended: no answer to what was asked so far will come, though it may have been heard."""
        for once in list(self._waiting.values()):
            once(Unavailable("the connection to the node ended before its answer", node=self.name, unknown=True))

    def pass_over(self, requests: Collection[str], error: ScrubjayError) -> None:
        """Answer those that wait with an error. requests: names of their kinds. What is said of them later is dropped."""
        for once in [once for once in self._waiting.values() if once.request in requests]:
            once(error)

    # ------------------------------------------------------------------ what it told

    def status(self) -> NodeStatus:
        found = self._look(port.AskStatus())
        if isinstance(found, NodeStatus):
            return found
        return NodeStatus(self.name, self.number, started=False, failed=failure_of(node_down(self.name)))

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        found = self._look(port.AskFacts(partition))
        return found.replicas[0] if isinstance(found, port.FactsOfReplicas) and found.replicas else None

    def all_facts(self) -> tuple[ReplicaFacts, ...]:
        found = self._look(port.AskFacts(None))
        return found.replicas if isinstance(found, port.FactsOfReplicas) else ()

    def stalled(self) -> Sequence[port.StalledOf]:
        return port.stalled_of(self.all_facts())

    def applied(self, partition: PartitionId) -> Lsn:
        facts = self.facts(partition)
        return Lsn(0) if facts is None else facts.applied


def told(data: bytes) -> port.Answer | None:
    """A frame of the node as `look` has it: None of one that cannot be understood, and of a failure: neither can be reached."""
    try:
        answer = decode_said(data).answer
    except Corrupt:
        return None
    return None if isinstance(answer, Failure) else answer


def _only(expect: type[A], done: Done[A]) -> Done[A]:
    """What answers a data request is an `expect`, or an error: anything else says nothing about what became of it."""

    def answered(answer: Any) -> None:
        if isinstance(answer, expect | ScrubjayError):
            done(answer)
        else:
            done(Unavailable("a node answered something else", answer=type(answer).__name__, unknown=True))

    return answered


def _opened(answer: port.Answer | Failure) -> Any:
    """As whoever asked wants it: data answers out of their bytes, failures as errors."""
    if isinstance(answer, Failure):
        return error_of(answer)
    if not isinstance(answer, port.Answered):
        return answer
    try:
        return decode_answer(answer.answer)
    except Corrupt as error:
        return Unavailable("a node's answer cannot be read", cause=str(error), unknown=True)
