"""The node port: all that others may ask of a storage node, as values (docs/formats/node-port.md, ADR 0021).

Control, servers and everything above know nodes by this module alone. What they hold is a `NodePort`; behind it stands the node itself in the same
process (`storage.node.port_local`) or one at the other end of a connection (`storage.node.port_remote`), and nobody can tell. Requests and answers are
structs without behaviour. An error is a code, a message and fields. No message names a path of a file system.

Three ways to ask:
    write, read, read_range     the data path: a call each, nothing is wrapped or encoded in one process
    status, facts, applied      what the node has told of itself: answered at once, from what is known
    ask                         everything else: a request, and one answer within a time limit
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from scrubjay.base.env import Tasks
from scrubjay.base.errors import Internal, NotLeader, ScrubjayError, Unavailable, from_code
from scrubjay.base.ids import Lsn, NodeName, PartitionId, Stamp, TableId
from scrubjay.base.together import settle
from scrubjay.storage.catalogue import FinalSeal, PartitionInfo, TableMeta
from scrubjay.storage.commands.values import Failure, RangeAnswer, RangeRead, ReadAnswer, WriteAnswer, WriteCommand
from scrubjay.storage.log.stated import Stated
from scrubjay.storage.node import errand_messages

A = TypeVar("A")

DATA_WAIT_S = 30.0
"""How long a write or a read may stay without any answer, when the node is in another process. Longer than a node keeps one (`StorageOptions.write_wait_us`):
who waits so long has lost the node, or its answer."""
ASK_WAIT_S = 10.0
"""As DATA_WAIT_S, for a request that says nothing else."""


# --- requests ------------------------------------------------------------------------------------------------------------------------------


class Write(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A command (docs/formats/command.md) for the partition's leader. Answer: Answered."""

    partition: PartitionId
    command: bytes


class Read(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """One item. consistent: of the leader, its lease held. min_lsn: by a replica that has applied so far. Answer: Answered."""

    partition: PartitionId
    key: bytes
    consistent: bool
    min_lsn: Lsn


class Range(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Rows in key order: see RangeRead. Answer: Answered."""

    partition: PartitionId
    start: bytes
    end: bytes | None
    limit: int
    max_bytes: int
    reverse: bool
    consistent: bool
    min_lsn: Lsn


class AskStatus(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Answer: NodeStatus."""


class AskFacts(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """partition: None: of every replica. since: `upto` of an answer to such a question: only what has moved since; 0: everything. Answer: FactsOfReplicas."""

    partition: PartitionId | None
    since: int = 0


class ProposeSeal(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """Propose a SEAL; answered once it is applied. reason: `storage.log.record.Seal`. tag: 16 bytes. Answer: Sealed, or NotLeader, Unavailable, Missing
    (the log takes nothing more)."""

    partition: PartitionId
    reason: int
    tag: bytes


class Host(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """Run the replica of a partition, made anew or as it was; again: take over what the catalogue says now. awaits_base: do nothing until a base is loaded.
    only_known: only if the node's log knows it, or it runs. parent: of a partition that a split is to make, as long as the catalogue does not have it among the table's: it begins
    with what PrepareSplit makes here, and does nothing until then. Answer: HostedHere."""

    table: TableMeta
    info: PartitionInfo
    awaits_base: bool = False
    only_known: bool = False
    parent: PartitionId | None = None


class Forget(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """Remove the replica for good, or what is there of it. version: of the table by which its copy is elsewhere: nothing happens if the copy here was told of a later one,
    for it may have come back; 0: it comes back by none. A Host by an earlier version that comes later begins nothing. Answer: Fine."""

    partition: PartitionId
    version: int = 0


class HandOver(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """Before the node stops: what it leads goes to who can take it soonest. leaving: numbers of nodes that stop too. Answer: Fine, when it leads nothing
    any more, durably."""

    leaving: tuple[int, ...]


class IndexRange(Range, array_like=True, frozen=True, gc=False, tag=10):
    """As Range, of a table with local indexes: see RangeRead. Answer: Answered."""

    index: int = 0
    fetch: bool = False


class ChangeMembers(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=12):
    """Propose a CONFIG that changes the place of one node. incarnation: of the member that becomes a learner there, in the place of an older one if there is one; 0: the learner there is let vote.
    learner: of the latter: the incarnation of the member that is meant, and nobody else who has come in its place; 0: whoever is there. Answer: Fine, when it is proposed; Unavailable: not now (no leader here, a change under way, a learner that does not hold the log yet); Invalid: never."""

    partition: PartitionId
    node: int
    incarnation: int
    learner: int = 0


class RemoveMember(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=13):
    """Propose a CONFIG after which nobody on that node is a member. A leader that is asked to remove itself hands over first. leaving: numbers of nodes that are not to lead in its place.
    incarnation: of the member that is meant: nobody else who has come in its place; 0: whoever is there.
    Answer: Fine, when it is proposed; Unavailable: not now (no leader here, a change under way, it hands over); Invalid: never."""

    partition: PartitionId
    node: int
    leaving: tuple[int, ...]
    incarnation: int = 0


class SplitPartition(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=32):
    """End the partition's log with a SPLIT, stamped above `after` (the stamp of the intent in the catalogue), and its SEAL. id, cut: 16 bytes each. Answer: Sealed, once that SEAL is
    applied at the leader; NotLeader; Unavailable: not now, or, with the field `split` (id in hex), the log ends in that split already, or is about to; Invalid: never."""

    partition: PartitionId
    id: bytes
    cut: bytes
    left: PartitionId
    right: PartitionId
    after: Stamp


class ChangePlace(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=30):
    """Propose a CONFIG that changes the place of one node, as a log replica stands in (ADR 0080). word: LOG_LEARNS: a log replica of that incarnation becomes a learner there; RESTS: the voter there
    learns again; GROWS: the log replica there is a storage replica. incarnation: of the latter two: of the member that is meant, 0: whoever is there. Answer: as ChangeMembers."""

    partition: PartitionId
    node: int
    word: str
    incarnation: int = 0


LOG_LEARNS, RESTS, GROWS = "log learns", "rests", "grows"


class BeginLog(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=31):
    """To the node of a log replica: its log begins anew behind `lsn`, up to which everything is archived. configured: LSN and payload of the last CONFIG that is chosen, up to there or later.
    Answer: Fine, also where the log reaches further; Unavailable: it runs none, or leads."""

    partition: PartitionId
    lsn: Lsn
    configured: tuple[Lsn, bytes]


class GrowTree(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=34):
    """To the node of a log replica: it becomes a storage replica without a tree, which waits for a heal. Answer: Fine, also where it is one; Unavailable: it runs none."""

    partition: PartitionId


class GiveLead(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=35):
    """To the leader: hand over to the member on `node`, and go on following. Answer: Fine, when that has begun; Unavailable: not now (no leader here, that member cannot take it soon)."""

    partition: PartitionId
    node: int


class AwaitApplied(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=14):
    """To hear that a replica has applied more than up to `lsn`: answered as soon as it has, or once `wait_us` have gone by. Answer: FactsOfReplicas, of it as it is then; of none if the node runs none by then;
    Unavailable: too many wait here."""

    partition: PartitionId
    lsn: Lsn
    wait_us: int


Request = (
    Write
    | Read
    | Range
    | AskStatus
    | AskFacts
    | ProposeSeal
    | Host
    | Forget
    | HandOver
    | IndexRange
    | ChangeMembers
    | RemoveMember
    | SplitPartition
    | ChangePlace
    | BeginLog
    | GrowTree
    | GiveLead
    | AwaitApplied
    | errand_messages.Request
)


# --- answers -------------------------------------------------------------------------------------------------------------------------------


class Answered(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A data answer (docs/formats/command.md), or the error that stands for one."""

    answer: bytes


class NodeStatus(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """A node as it is. failed: why it runs no more, or None. full: its log refuses writes. joining: never a member before, not yet done with its logs. states: how many
    replicas are in each state. leaders: how many of them lead. wal_used: bytes on disk in use. reserved_us: wall time its stamps may reach. offset_us: how
    far clocks may be apart, and what slow syncs add to how far a reservation reaches. incarnation: of the member that it is.
    configures: its release follows changes of members; removes: and may have members that did not found their groups; splits: and follows partitions that split;
    stands_in: and log replicas that follow changes of members. can: the newest number of the cluster's version that its process can (`storage.cluster_version`), 0: its release knows none;
    the four before it say the same to older ones. guests: of processes that are no nodes and are connected to it, the same by name.
    stopping: it gives its leads away before it stops, and takes none."""

    name: NodeName
    number: int
    started: bool
    failed: Failure | None = None
    full: bool = False
    joining: bool = False
    boots: int = 0
    states: dict[str, int] = {}
    leaders: int = 0
    wal_used: int = 0
    reserved_us: int = 0
    offset_us: int = 0
    incarnation: int = 1
    configures: bool = False
    removes: bool = False
    splits: bool = False
    stands_in: bool = False
    can: int = 0
    guests: dict[str, int] = {}
    stopping: bool = False

    @property
    def replicas(self) -> int:
        """How many it runs."""
        return sum(self.states.values())


class ReplicaFacts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A replica as it is.

    state: in one word; tree, vote, reason: see `storage.replica.status`. logged: its log is durable. lack: what the machine lacks to open its tree, or None.
    up: its node has not failed. serves: answers weak reads. answers: leads, and answers strong ones. leads: leads, if without a lease just now. usable: is applied to, can be pinned.
    behind: lacks log that no member has any more.
    rows, size: of its state, keys and items (bytes). waiting: answers that wait for a record. sealing: a SEAL is proposed and not applied yet.
    archived, archived_chain: up to where its log is archived, and the chain value there if it is known still ("" if not, else as bytes).
    content: records with content behind the last SEAL. last_content: LSN of the newest. last_seal: LSN. sealed: segments that wait for the archive.
    unarchived: raw bytes, sealed or open with content, that have no manifest. archived_by: how many archived segments 1, 2, 3 members attested.
    final: the end of the log of a dropped table or of a partition that was split, once two members have stated the same of it or it is archived. ended, ended_closed: LSN and closed stamp of
    the log's last SEAL, 0 while it goes on. closed: (closed stamp, last content LSN below it, last SEAL) as may be published now, or None; as of
    before in what is told because it moved, or was told once and has not moved since. indexes: rows and size of each local index. stated: what its log said last of the table, as of `applied` (`storage.log.stated`): version of the definition, LSN, whether the effects behind
    that carry the old item, and whose stream they are; None: nothing. configured: LSN and payload of the last CONFIG that it applied, LSN 0: none. incarnation: of the
    member that it is. stalled: of a leader, transactions that are pending too long: id, token, one of the keys that it locks. ballot: of a leader, under which it leads; else 0.
    split: payload of the SPLIT that it has applied (`storage.log.split.split_from`), b"": none. born: how a partition began that a split made (`storage.log.split.decode_born`), b"": it
    began with its table, or has not begun here.
    """

    node: NodeName
    partition: PartitionId
    table: TableId
    state: str
    tree: str
    vote: str
    reason: str
    logged: bool
    lack: Failure | None
    up: bool
    serves: bool
    answers: bool
    leads: bool
    usable: bool
    behind: bool
    applied: Lsn
    chosen: Lsn
    rows: int
    size: int
    waiting: int
    sealing: bool
    archived: Lsn
    archived_chain: bytes
    content: int
    last_content: Lsn
    last_content_stamp: int
    last_seal: Lsn
    sealed: int
    unarchived: int
    archived_by: tuple[int, int, int]
    final: FinalSeal | None
    ended: Lsn
    ended_closed: int
    closed: tuple[int, Lsn, Lsn] | None
    indexes: tuple[tuple[int, int], ...] = ()
    stated: Stated | None = None
    configured: tuple[Lsn, bytes] = (Lsn(0), b"")
    incarnation: int = 1
    stalled: tuple[tuple[bytes, bytes, bytes], ...] = ()
    ballot: int = 0
    split: bytes = b""
    born: bytes = b""


class FactsOfReplicas(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Of the replica asked for, or of all by partition; none if the node runs none.

    upto: what moves from now on has greater numbers, in one life of the node; 0: it was not asked for all, or does not count. since: not 0: only of those that have moved since
    that number, in any order; gone: and these it runs no more.
    """

    replicas: tuple[ReplicaFacts, ...]
    upto: int = 0
    since: int = 0
    gone: tuple[PartitionId, ...] = ()


class StalledOf(NamedTuple):
    """A transaction that is pending too long. id: of its attempt. key: one of those that it locks."""

    partition: PartitionId
    table: TableId
    id: bytes
    token: bytes
    key: bytes


def stalled_of(replicas: Iterable[ReplicaFacts]) -> list[StalledOf]:
    """Of the leaders among them."""
    return [StalledOf(one.partition, one.table, *each) for one in replicas if one.leads for each in one.stalled]


class Sealed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """The SEAL that was applied. closed: the closed timestamp in it."""

    lsn: Lsn
    stamp: int
    closed: int


class HostedHere(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """here: it runs on this node now. False: it is gone for good, or (only_known) not known."""

    here: bool


class Fine(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """It is done."""


Answer = Answered | NodeStatus | FactsOfReplicas | Sealed | HostedHere | Fine | errand_messages.Answer
"""An error comes in the place of any of them, as a Failure (tag 4, docs/formats/command.md)."""


# --- who is asked --------------------------------------------------------------------------------------------------------------------------

Done = Callable[[A | ScrubjayError], None]
"""Called exactly once, perhaps at once."""


class NodePort(Protocol):
    """A node as everybody else sees it."""

    @property
    def name(self) -> NodeName: ...

    @property
    def number(self) -> int: ...

    def write(self, partition: PartitionId, command: WriteCommand, done: Done[WriteAnswer]) -> None:
        """NotLeader and other Unavailable: not proposed, unless the field `unknown` says that it may have been."""
        ...

    def read(self, partition: PartitionId, key: bytes, *, consistent: bool, min_lsn: Lsn, done: Done[ReadAnswer]) -> None: ...

    def read_range(self, partition: PartitionId, request: RangeRead, *, min_lsn: Lsn, done: Done[RangeAnswer]) -> None: ...

    def status(self) -> NodeStatus:
        """What the node last told; of one that cannot be reached: that it is down (`failed`)."""
        ...

    def facts(self, partition: PartitionId) -> ReplicaFacts | None:
        """What the node last told of its replica; None if it runs none, or cannot be reached. A failed node tells of its replicas still."""
        ...

    def all_facts(self) -> tuple[ReplicaFacts, ...]:
        """Of every replica, by partition."""
        ...

    def stalled(self) -> Sequence[StalledOf]:
        """The transactions that are pending too long, of the replicas that lead there."""
        ...

    def applied(self, partition: PartitionId) -> Lsn:
        """How far its replica is known to have applied; 0 if it runs none. Cheap: asked for each read."""
        ...

    def ask(self, request: Request, done: Done[Any], *, timeout_s: float = ASK_WAIT_S) -> None:
        """done: with the answer that belongs to the request, or an error; with Unavailable (field `unknown`) if none came in time."""
        ...


async def asked(tasks: Tasks, port: NodePort, request: Request, expect: type[A], *, timeout_s: float = ASK_WAIT_S) -> A:
    """The answer to a request, which must be an `expect`. Raises what the node answers, and Unavailable if nothing comes in time."""
    future = tasks.future()
    port.ask(request, partial(settle, future), timeout_s=timeout_s)
    answer = await future
    if not isinstance(answer, expect):
        raise Internal("a node answered something else", node=port.name, request=type(request).__name__, answer=type(answer).__name__)
    return answer


def failure_of(error: ScrubjayError) -> Failure:
    """An error as it crosses."""
    return Failure(error.code, error.message, error.fields)


def error_of(failure: Failure) -> ScrubjayError:
    """The other way."""
    return from_code(failure.code, failure.message, failure.fields)


def node_down(name: NodeName) -> NotLeader:
    """Whoever asks goes on to another node, and does not wait for this one."""
    return NotLeader("node is down", node=name)


def too_late(name: NodeName, request: str, seconds: float) -> Unavailable:
    """No answer in time: what was asked for may happen yet."""
    return Unavailable("the node did not answer in time", node=name, request=request, seconds=seconds, unknown=True)
