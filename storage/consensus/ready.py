"""The values that pass between a group and its shell. They hold no behaviour.

Durability order is data: what `Ready.persist` holds must be in the WAL, in that order, and synced before the messages that `Group.persisted` hands out leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from scrubjay.base.ids import Ballot, Lsn, Member
from scrubjay.storage.consensus.messages import NodeMessage, PartitionMessage
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal.port import Frame


class Now(NamedTuple):
    """One reading of both clocks, microseconds. boot_us measures leases, wall_us feeds the hybrid clock."""

    boot_us: int
    wall_us: int


class Envelope(NamedTuple):
    """to: node number. message: of one partition, or of the node itself when it comes from `Liveness`."""

    to: int
    message: PartitionMessage | NodeMessage


class LogReader(Protocol):
    """Reads records back that are no longer in memory."""

    def read(self, first: Lsn, end: Lsn, *, max_bytes: int) -> list[Record]:
        """Log records [first, end), queued ones included; at least one, at most about max_bytes. Raises Missing (trimmed), Corrupt."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """Work for the shell, in this order: queue `persist` to the WAL, send `send_now`, apply `chosen`; call `Group.persisted(token)` after the sync.

    token: rises by one with each Ready that persists something; 0 when `persist` is empty (no call of `persisted` is due).
    send_now: says nothing that a crash could make untrue.
    chosen: gap-free from the last record given; each is in this member's own synced log.
    elected: leadership began under this ballot; the shell must propose NOOP now (SCHEMA on an empty log).
    deposed: leadership ended; proposals that are not chosen yet may or may not survive.
    install_from: on a follower, the leader that told it to fetch a snapshot.
    """

    token: int
    persist: tuple[Frame, ...]
    send_now: tuple[Envelope, ...]
    chosen: tuple[Record, ...]
    elected: Ballot | None
    deposed: bool
    install_from: Member | None
