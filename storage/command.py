"""Commands: what a router sends to a partition's leader, and what comes back.

The router has done all that needs no state of the partition (HTTP, signature, JSON, validation, parsing and checking of expressions,
canonical bytes). `WriteCommand.evaluate` is the little that needs the item's present state; it is pure and runs on the leader only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from base.errors import ScrubjayError


class Verdict(IntEnum):
    """What evaluation decided. PUT and DELETE propose a record; the others propose nothing and are answered as a strong read."""

    PUT = 1
    DELETE = 2
    UNCHANGED = 3
    CONDITION_FAILED = 4
    REFUSED = 5


class Outcome(NamedTuple):
    """Result of one evaluation.

    old: canonical item before, None if there was none. new: canonical item after (None after a delete; equal to old for UNCHANGED).
    error: for REFUSED, what the router turns into its answer (for example "item size exceeds the maximum").
    """

    verdict: Verdict
    old: bytes | None
    new: bytes | None
    error: Exception | None = None


class WriteCommand(Protocol):
    """A conditional write of one item. key: storage key. key_item: canonical encoding of the key attributes alone.

    blind: neither the decision nor the answer depends on the item's present state, so the leader need not look it up (`old` may then be None).
    """

    key: bytes
    key_item: bytes
    blind: bool

    def evaluate(self, old: bytes | None) -> Outcome:
        """Pure. old: the item's canonical bytes in the leader's speculative state, None if absent. Must not raise."""
        ...


class WriteAnswer(NamedTuple):
    """lsn: the commit LSN (of the last record seen when nothing was proposed). timestamp_us: effective time, None when nothing was proposed."""

    outcome: Outcome
    partition: str
    lsn: int
    timestamp_us: int | None


class ReadAnswer(NamedTuple):
    """item: canonical bytes or None. lsn: the applied LSN the read was served at."""

    item: bytes | None
    partition: str
    lsn: int


@dataclass(frozen=True, slots=True)
class RangeRead:
    """Rows of one partition in key order. Half-open [start, end); end None: to the end of the partition.

    limit: rows at most. max_bytes: stop after the row with which the sum of item bytes reaches this (that row is included). reverse: from the end down.
    """

    start: bytes
    end: bytes | None
    limit: int
    max_bytes: int
    reverse: bool
    consistent: bool


class RangeAnswer(NamedTuple):
    """rows: (storage key, canonical item). more: the range was not exhausted; go on after (before, if reverse) the last row's key."""

    rows: list[tuple[bytes, bytes]]
    more: bool
    partition: str
    lsn: int


Failure = ScrubjayError
"""What a callback gets instead of an answer: NotLeader and Unavailable may be retried by the router, the rest is final."""
