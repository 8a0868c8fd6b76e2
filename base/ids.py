"""The identifiers of the system, one type each, so that none is mistaken for another.

128-bit ids (cluster, table, partition) are canonical lower-case UUID text; binary formats carry their 16 raw bytes.
They are minted once through the `Rand` port and never reused.
"""

from __future__ import annotations

import uuid
from typing import NamedTuple, NewType

ClusterId = NewType("ClusterId", str)
TableId = NewType("TableId", str)
PartitionId = NewType("PartitionId", str)
NodeName = NewType("NodeName", str)
"""The name of a storage node, for example ``n1``: also its folder below ``DIR/nodes``."""

Lsn = NewType("Lsn", int)
"""Slot of a record in its partition's log: 1, 2, 3, ... without holes. 0 means "before the first record"."""

Stamp = NewType("Stamp", int)
"""Hybrid logical clock value, 64 bit: microseconds since the epoch << 12 | counter. See `base.hlc`."""

Ballot = NewType("Ballot", int)
"""64 bit: round << 32 | node number << 16 | incarnation. 0 is "none"; greater wins. See `ballot()`."""


TRANSACTION_ID_BYTES = 16
"""Of an attempt at a transaction: random."""
TRANSACTION_TOKEN_BYTES_MAX = 64
"""Of a transaction's name in the ledger."""


class Member(NamedTuple):
    """A voting member of a replication group: a node and the incarnation of its log. Amnesia costs the incarnation."""

    node: int
    incarnation: int


def ballot(round_: int, member: Member) -> Ballot:
    """Pack a ballot. round_ >= 1; node and incarnation fit 16 bits."""
    assert 1 <= round_ < 1 << 32
    assert 0 <= member.node < 1 << 16
    assert 0 <= member.incarnation < 1 << 16
    return Ballot(round_ << 32 | member.node << 16 | member.incarnation)


def ballot_round(value: Ballot) -> int:
    """The round of a ballot; 0 for "none"."""
    return value >> 32


def ballot_owner(value: Ballot) -> Member:
    """The member that alone may lead under this ballot."""
    return Member((value >> 16) & 0xFFFF, value & 0xFFFF)


def uuid_bytes(text: str) -> bytes:
    """The 16 raw bytes of a UUID text. Raises ValueError if it is none."""
    return uuid.UUID(text).bytes


def uuid_text(raw: bytes) -> str:
    """Canonical text of 16 raw bytes."""
    return str(uuid.UUID(bytes=bytes(raw)))
