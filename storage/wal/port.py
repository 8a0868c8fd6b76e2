"""The WAL port: frames, recovered state and the operations a node uses (docs/formats/wal.md).

One WAL per node serves all its replicas, so that one sync serves the waiting records of every partition. `storage.wal.wal.Wal` implements this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal.disk_runs import DiskRun


class Boot(NamedTuple):
    """The node started: count rises by one each time. Part of every epoch."""

    count: int  # type: ignore[assignment]


class Reserve(NamedTuple):
    """Clock reservation: no stamp above it leaves the node before the next one is synced."""

    reservation: Stamp


class Create(NamedTuple):
    """A replica exists on this node. first: the LSN its log starts at (1, or above a loaded base). vote: "votes" or "learner". Nothing of an earlier member counts."""

    partition: PartitionId
    member: Member
    first: Lsn
    vote: str = "votes"


class Promise(NamedTuple):
    partition: PartitionId
    ballot: Ballot


class Append(NamedTuple):
    """Records accepted under the log's accepted ballot; the first continues the log. staged: belongs to an adoption under way (ballot names it), not yet log."""

    partition: PartitionId
    ballot: Ballot
    records: tuple[Record, ...]
    staged: bool


class Adopt(NamedTuple):
    """The log changes hands in one record: everything above cut_at is dropped, the staged records cut_at+1..adopted_last of `ballot` become log, accepted ballot = ballot."""

    partition: PartitionId
    ballot: Ballot
    cut_at: Lsn
    adopted_last: Lsn


class Resign(NamedTuple):
    partition: PartitionId
    ballot: Ballot


class Install(NamedTuple):
    """The tree was replaced by a snapshot at `lsn`: the log restarts at lsn + 1 unless it already reaches further and keeps its records above."""

    partition: PartitionId
    lsn: Lsn
    ballot: Ballot


class SetTree(NamedTuple):
    """What must survive a restart of the replica's *tree*: one of `storage.wal.format.TREES`. Says nothing of the vote."""

    partition: PartitionId
    word: str


class SetVote(NamedTuple):
    """What must survive a restart of the replica's *log*: one of `storage.wal.format.VOTES`. Says nothing of the tree. "amnesiac" is never taken back."""

    partition: PartitionId
    word: str


class Drop(NamedTuple):
    """The replica is gone from this node."""

    partition: PartitionId


Frame = Boot | Reserve | Create | Promise | Append | Adopt | Resign | Install | SetTree | SetVote | Drop


class ReplicaLog(NamedTuple):
    """One replica as recovered. first..last: the log's records that are in the WAL (last == first - 1: none).

    tree, vote: the two durable words (`SetTree`, `SetVote`). vote is "amnesiac" whenever `amnesia` says why synced bytes may be lost; else that is "".
    """

    partition: PartitionId
    member: Member
    promised: Ballot
    accepted: Ballot
    resigned: Ballot
    first: Lsn
    last: Lsn
    tree: str
    vote: str
    amnesia: str
    damaged: tuple[tuple[Lsn, Lsn], ...]


class Recovered(NamedTuple):
    boot_count: int
    reservation: Stamp
    replicas: dict[PartitionId, ReplicaLog]


class WalUsage(NamedTuple):
    """bytes on disk in use and free for recycling; pinned: bytes per partition that cannot be recycled yet."""

    used: int
    recycled: int
    pinned: dict[PartitionId, int]


class WalLog(Protocol):
    def queue(self, frame: Frame) -> None:
        """Put a frame into the next batch. Raises DiskFull for Append beyond the limit (control frames have a reserve), Corrupt after a failed sync.

        Before that, an Append that eats into the reserve is taken and makes `short` true: what was proposed, and the bookkeeping that frees room again
        (ARCHIVED, a new ballot's first record), must find a place; new data must not be proposed.
        """
        ...

    @property
    def short(self) -> bool:
        """The last Append had to be taken out of the reserve."""
        ...

    def roomy(self) -> bool:
        """Whether there is room for data beside the reserve now. Makes files where they may be made."""
        ...

    def ample(self) -> bool:
        """Less than a quarter of the limit is in use: what is not needed may stay a while."""
        ...

    def commit(self, done: Callable[[ScrubjayError | None], None]) -> bool:
        """Write and sync what is queued as one batch, off the loop. False (done is not called) if nothing is queued or a commit is under way."""
        ...

    @property
    def committing(self) -> bool: ...

    @property
    def queued(self) -> int:
        """Frames waiting for the next commit."""
        ...

    def read(self, partition: PartitionId, first: Lsn, end: Lsn, *, max_bytes: int = 1 << 30, cached: bool = True) -> list[Record]:
        """Log records [first, end), synced or queued, checked. At least one, at most about max_bytes. cached False: what is synced is read from the disk, past every cache.
        Raises Missing (trimmed or never there), Corrupt."""
        ...

    def runs(self, partition: PartitionId, first: Lsn, end: Lsn) -> list[DiskRun] | None:
        """Where the log records [first, end) lie on the disk, in their order, for `disk_runs.read_runs`; None if some of them do not lie there whole: `read` says which, and why.
        What may be trimmed meanwhile may be overwritten meanwhile."""
        ...

    def trim(self, partition: PartitionId, below: Lsn) -> None:
        """Records below this LSN are not needed any more; files that nothing pins are recycled."""
        ...

    @property
    def used(self) -> int:
        """Bytes on disk in use."""
        ...

    def usage(self) -> WalUsage: ...

    def reread(self, partition: PartitionId, first: Lsn, end: Lsn) -> None:
        """Read what the log holds of [first, end) from the disk, past every cache, and check it. Raises Corrupt: then it is `damaged` again."""
        ...

    def on_damage(self, told: Callable[[PartitionId, ScrubjayError], None]) -> None:
        """Who hears of damage that a read, or copying forward, met: told(partition, error with field lsn), in the midst of that; it must not use the log at once."""
        ...

    def damaged(self, partition: PartitionId) -> tuple[tuple[Lsn, Lsn], ...]:
        """Ranges of log records (first, last), both included, that failed their check (in recovery or in any read since) and are not repaired yet."""
        ...

    def repair(self, partition: PartitionId, records: Sequence[Record]) -> None:
        """Replace damaged records in the middle by a peer's copies (same LSN, stamp and bytes length rules); queued like an Append."""
        ...

    def close(self) -> None: ...
