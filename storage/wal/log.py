"""The WAL port: frames, recovered state and the operations a node uses (docs/formats/wal.md).

One WAL per node serves all its replicas, so that one sync serves the waiting records of every partition. `storage.wal.wal.Wal` implements this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from base.errors import ScrubjayError
from base.ids import Ballot, Lsn, Member, PartitionId, Stamp
from storage.record import Record


class Boot(NamedTuple):
    """The node started: count rises by one each time. Part of every epoch."""

    count: int  # type: ignore[assignment]


class Reserve(NamedTuple):
    """Clock reservation: no stamp above it leaves the node before the next one is synced."""

    reservation: Stamp


class Create(NamedTuple):
    """A replica exists on this node. first: the LSN its log starts at (1, or above a loaded base)."""

    partition: PartitionId
    member: Member
    first: Lsn


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


class Suspect(NamedTuple):
    """A state that must survive a restart. state: "tree" (suspect copy), "log" (amnesiac) or "" (cleared)."""

    partition: PartitionId
    state: str


class Drop(NamedTuple):
    """The replica is gone from this node."""

    partition: PartitionId


Frame = Boot | Reserve | Create | Promise | Append | Adopt | Resign | Install | Suspect | Drop


class ReplicaLog(NamedTuple):
    """One replica as recovered. first..last: the log's records that are in the WAL (last == first - 1: none). amnesia: why synced bytes may be lost, or ""."""

    partition: PartitionId
    member: Member
    promised: Ballot
    accepted: Ballot
    resigned: Ballot
    first: Lsn
    last: Lsn
    suspect: str
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

    def commit(self, done: Callable[[ScrubjayError | None], None]) -> bool:
        """Write and sync what is queued as one batch, off the loop. False (done is not called) if nothing is queued or a commit is under way."""
        ...

    @property
    def committing(self) -> bool: ...

    @property
    def queued(self) -> int:
        """Frames waiting for the next commit."""
        ...

    def read(self, partition: PartitionId, first: Lsn, end: Lsn, *, max_bytes: int = 1 << 30) -> list[Record]:
        """Log records [first, end), synced or queued, checked. At least one, at most about max_bytes. Raises Missing (trimmed or never there), Corrupt."""
        ...

    def trim(self, partition: PartitionId, below: Lsn) -> None:
        """Records below this LSN are not needed any more; files that nothing pins are recycled."""
        ...

    def usage(self) -> WalUsage: ...

    def damaged(self, partition: PartitionId) -> tuple[tuple[Lsn, Lsn], ...]:
        """Ranges of log records (first, last) that fail their check and are not repaired yet."""
        ...

    def repair(self, partition: PartitionId, records: Sequence[Record]) -> None:
        """Replace damaged records in the middle by a peer's copies (same LSN, stamp and bytes length rules); queued like an Append."""
        ...

    def close(self) -> None: ...
