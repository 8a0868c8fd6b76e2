"""What the processes of a cluster ask each other beside consensus and the node port: who founded them, and what a node has found and published (docs/formats/process-talk.md).

Small requests over `PeerNet.ask`: a version byte, then MessagePack. Bytes that cannot be understood raise Corrupt and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from scrubjay.base.env import Tasks
from scrubjay.base.errors import ScrubjayError, Unavailable
from scrubjay.base.ids import ClusterId, NodeName, PartitionId, TableId
from scrubjay.base.packed import packed, unpacked

VERSION = 1
BYTES_MAX = 4 << 20
T = TypeVar("T")


class Founded(msgspec.Struct, array_like=True, frozen=True):
    """A cluster as it was founded. nodes: by number, from 1 on. created_at: microseconds."""

    cluster_id: ClusterId
    metadata_table_id: TableId
    metadata_partition_id: PartitionId
    created_at: int
    nodes: tuple[NodeName, ...]


class AskFounded(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Which cluster do you belong to? Answer: FoundedHere."""


class Found(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Belong to this cluster, durably. Answer: FoundedHere; an error if it belongs to another one, or its folder is not empty."""

    cluster: Founded


class AskNews(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """What was found and published? life, after: of the last answer; "" and 0 at first. kept: findings of the last answer that are durable with whoever asks: they may be forgotten.
    Answer: News."""

    life: str
    after: int
    kept: tuple[FindingTold, ...] = ()


class AskNode(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """How is your machine, and whom do you not reach? Answer: NodeTold."""


class AskIdentity(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """Which folder has your node, and does it stay out? Answer: IdentityTold."""


class Renew(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """The catalogue has made the folder `id` this incarnation of its node: be that member. Of the durability process alone. Answer: IdentityTold; an error if it is another folder, or not an empty one."""

    id: str
    incarnation: int


class FindingTold(msgspec.Struct, array_like=True, frozen=True):
    """`storage.service_port.Finding`, field for field."""

    kind: str
    copy: str
    partition: str
    key: dict[str, Any] | None
    storage_key: bytes | None
    object: str | None
    lsn: int | None
    segment: str | None
    found_by: str
    action: str
    detail: str
    at_us: int
    evidence: str | None


class FoundedHere(msgspec.Struct, array_like=True, frozen=True, tag=65):
    """cluster: None: not founded yet. empty: nothing of a node lies in its folder."""

    cluster: Founded | None
    empty: bool


class News(msgspec.Struct, array_like=True, frozen=True, tag=66):
    """life: of the process that tells, new in each. after: for the next question. closed: objects of closed timestamps (docs/formats/closed.md) that its agent published, by key; moved: partitions
    of which more is archived; findings: those that nobody has taken over yet."""

    life: str
    after: int
    closed: tuple[tuple[str, bytes], ...]
    moved: tuple[PartitionId, ...]
    findings: tuple[FindingTold, ...]


class LinkDown(msgspec.Struct, array_like=True, frozen=True):
    """A peer that a process dials and is not connected to, over some channel. down_s: for how long. error: why, as far as it knows."""

    peer: NodeName
    channel: str
    down_s: float
    error: str


class IndexLate(msgspec.Struct, array_like=True, frozen=True):
    """A global index that lacks changes of partitions that a node leads. lag_s: how old the newest is. why: "": it goes on."""

    table: str
    table_id: TableId
    index: str
    lag_s: float
    why: str


class NodeTold(msgspec.Struct, array_like=True, frozen=True, tag=67):
    """free_bytes: of its disk, None: it does not say. agent: what its archiving agent cannot do, "": nothing. links: those that are down."""

    free_bytes: int | None
    agent: str
    links: tuple[LinkDown, ...]


class NodeToldLate(NodeTold, array_like=True, frozen=True, tag=68):
    """Of a node that feeds global indexes which are late."""

    indexes: tuple[IndexLate, ...] = ()


class IdentityTold(msgspec.Struct, array_like=True, frozen=True, tag=69):
    """id, incarnation: of the folder's identity; "": it has none. fresh: no member ever spoke from it. out: why its node stays out, "": it does not."""

    id: str
    incarnation: int
    fresh: bool
    out: str


Question = AskFounded | Found | AskNews | AskNode | AskIdentity | Renew
Answer = FoundedHere | News | NodeTold | NodeToldLate | IdentityTold
_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Question | Answer) -> bytes:
    """Raises Invalid: too large."""
    return packed(message, version=VERSION, what="process talk", limit=BYTES_MAX)


def decode_question(data: bytes) -> Question:
    return unpacked(_questions, data, version=VERSION, what="process talk", limit=BYTES_MAX)


def decode_answer(data: bytes) -> Answer:
    return unpacked(_answers, data, version=VERSION, what="process talk", limit=BYTES_MAX)


class Asker(Protocol):
    """`base.real.peer_net.PeerNet`, as far as processes ask each other."""

    def ask(self, name: NodeName, body: bytes, done: Callable[[bytes | ScrubjayError], None], *, timeout_s: float = 10.0) -> None: ...


async def ask(tasks: Tasks, net: Asker, name: NodeName, question: Question, expect: type[T], *, timeout_s: float = 10.0) -> T:
    """Raises what the other process answers; Unavailable if it cannot be reached, or answers something else; Corrupt."""
    future = tasks.future()
    net.ask(name, encode(question), lambda outcome: None if future.done() else future.set_result(outcome), timeout_s=timeout_s)
    outcome: bytes | ScrubjayError = await future
    if isinstance(outcome, ScrubjayError):
        raise outcome
    answer = decode_answer(outcome)
    if not isinstance(answer, expect):
        raise Unavailable("a process answered something else", process=name, answer=type(answer).__name__)
    return answer
