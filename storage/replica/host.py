"""What a replica may ask of the node that runs it, and what a node may ask of a replica: all that either knows of the other's class.

`storage.node.node.Node` is the host, in production and in the simulator; nothing in this room imports anything of `storage.node`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol

from scrubjay.base.env import Env
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import ClusterId, Lsn, Member, NodeName, PartitionId, Stamp
from scrubjay.storage.consensus.group import Group
from scrubjay.storage.consensus.ready import Now
from scrubjay.storage.log.record import Record
from scrubjay.storage.options import StorageOptions
from scrubjay.storage.replica.segments import Statement
from scrubjay.storage.wal.port import Frame, WalLog

P = ParamSpec("P")


class Driven(Protocol):
    """A replica as the turn drives it. group: None until it runs. stopped: it is gone from this node; nothing of it is carried out any more."""

    partition: PartitionId

    @property
    def group(self) -> Group | None: ...
    @property
    def stopped(self) -> bool: ...

    def elected(self) -> None:
        """Adoption is done: a record of the own ballot must be proposed."""
        ...

    def deposed(self) -> None: ...

    def take_chosen(self, chosen: tuple[Record, ...]) -> None:
        """Records chosen and in this member's own synced log, gap-free."""
        ...

    def install_from(self, leader: Member) -> None:
        """The leader's log no longer reaches back to what this replica lacks."""
        ...

    def log_failed(self, error: Corrupt) -> None:
        """A record of its log, or one that came in a message, fails its check."""
        ...

    def drained(self) -> None:
        """Everything its group wanted is carried out: its deadline may have moved."""
        ...


class Hosted(Driven, Protocol):
    """A replica as its node runs it."""

    def deadline(self) -> int | None:
        """Boot time in microseconds at which `tick` has something to do, None if never."""
        ...

    def tick(self) -> None:
        """Do what is due."""
        ...

    def apply_ready(self) -> None:
        """Apply what is chosen, in order, as far as it goes now."""
        ...


class ReplicaHost(Protocol):
    """The node of a replica. full: its log takes no new data. leaving: set once it is about to stop, the numbers of the nodes that stop too.

    More than 25 methods: it is all that a replica and its parts ask of their node."""

    @property
    def name(self) -> NodeName: ...
    @property
    def cluster_id(self) -> ClusterId: ...
    @property
    def env(self) -> Env: ...
    @property
    def options(self) -> StorageOptions: ...
    @property
    def wal(self) -> WalLog: ...
    @property
    def full(self) -> bool: ...
    @property
    def leaving(self) -> frozenset[int] | None: ...

    def now(self) -> Now: ...
    def boot_us(self) -> int: ...

    def stamp(self) -> Stamp:
        """A new stamp. Raises Unavailable while the clock's reservation is not durable."""
        ...

    def heard(self, stamp: Stamp) -> bool:
        """Every stamp from now on is above this one. False: it is too far ahead of this machine's clock."""
        ...

    # the turn

    def dirty(self, replica: Driven) -> None:
        """Something happened in this group: look at its Ready at the end of the turn."""
        ...

    def run_turn(self, replica: Driven) -> None:
        """Carry out what this group wants at once: what it persists stands in the log before whatever is queued next."""
        ...

    def soon(self, replica: Hosted) -> None:
        """Go on applying in a later turn."""
        ...

    def arm(self, replica: Hosted) -> None:
        """The replica's deadline may have moved."""
        ...

    def queue_control(self, frame: Frame, synced: Callable[[], None] | None = None) -> None:
        """A frame that is no record; `synced` runs once it is durable."""
        ...

    def guarded(self, work: Callable[P, object]) -> Callable[P, None]:
        """`work` as a callback from outside: an exception that escapes it fails the node."""
        ...

    def keep_log_members(self, partition: PartitionId, lsn: Lsn, payload: bytes) -> None:
        """Durably: the copy here is a log replica, and who is a member by the CONFIG at `lsn` (0: none). Raises DiskFull, Unavailable."""
        ...

    def note_configured(self) -> None:
        """Durably: from now on a tree of this node may hold who is a member. Raises DiskFull, Unavailable."""
        ...

    # the other members

    def say_statement(self, partition: PartitionId, statement: Statement, *, want: bool, to: Sequence[int] | None = None) -> None:
        """to: node numbers, None: every peer. want: theirs is asked for."""
        ...

    def ask_repair(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        """Ask the peers for the records [first, end)."""
        ...

    def hint(self, leader: Member | None) -> NodeName | None: ...

    # the world

    def archive_changed(self, partition: PartitionId) -> None:
        """A segment became agreed, refuted or archived."""
        ...

    def stirred(self, partition: PartitionId) -> None:
        """Something may be told of a replica that was not so before."""
        ...

    def log_state(self, replica: Hosted | None, state: str, reason: str) -> None: ...

    def finding(
        self,
        replica: Hosted,
        *,
        kind: str,
        found_by: str,
        storage_key: bytes | None = None,
        lsn: Lsn | None = None,
        detail: str = "",
        object: str | None = None,  # noqa: A002 - it is the finding's field
    ) -> None:
        """object: the fault is the archive's, in the object with this key; None: this node's copy is at fault."""
        ...
