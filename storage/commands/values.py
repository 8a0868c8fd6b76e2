"""Commands and answers: what a router sends to a partition's leader, and what comes back. Plain data, by the tables of docs/formats/command.md.

The router has done all that needs no state of the partition (HTTP, signature, JSON, validation, parsing and checking of expressions, canonical bytes,
storage key, sizes). `evaluate.evaluate` is the little that needs the item's present state. Inside one process these values are handed over as they are;
whatever leaves a process goes through `codec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.update import Update

# --- commands ------------------------------------------------------------------------------------------------------------------------------
#
# key: storage key. key_item: canonical encoding of the key attributes alone. condition: None: unconditional.


class PutCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Write `item` (canonical bytes) whole.

    blind: neither the decision nor the answer depends on what was there before, so the leader need not look it up (`old` may then be None). Only
    without a condition.
    """

    key: bytes
    key_item: bytes
    item: bytes
    condition: Condition | None = None
    blind: bool = False


class UpdateCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Apply `update` to the item, or to the bare key if there is none; what only removes makes no item. update None: make sure the item exists."""

    blind: ClassVar[bool] = False

    key: bytes
    key_item: bytes
    update: Update | None
    condition: Condition | None = None


class DeleteCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Remove the item, if it is there."""

    blind: ClassVar[bool] = False

    key: bytes
    key_item: bytes
    condition: Condition | None = None


class SwapCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Compare-and-set of a whole item. expect, new: canonical bytes, None: absent. lsn: of the record that must have written the item as it is: the same value
    written again is another version (None: the value alone counts). The metadata group writes with it, and undos."""

    blind: ClassVar[bool] = False

    key: bytes
    key_item: bytes
    expect: bytes | None
    new: bytes | None
    lsn: int | None = None


class ExpireCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """Remove the item if its `attribute` is still exactly `value` (bytes of `items.encoding.encode_value`) and that time has passed by the leader's clock too. The
    service's own, for items whose time to live is over; the record says so."""

    blind: ClassVar[bool] = False

    key: bytes
    key_item: bytes
    attribute: str
    value: bytes


class FeedCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """What an index's table is fed (`storage.indexes`): the service's own, and all that such a table takes.

    key: where its partition keeps how far the feeding partition has come. kind: BEGIN: at LSN `upto`, unless it has begun. CHANGES: of the records in (`after`, `upto`]. PAGE: of the
    items from storage key `start` on, in front of `next` (None: to the end), as they were at LSN `upto`. rows: (LSN, key, value or None: it goes), in the order of the log.
    """

    blind: ClassVar[bool] = False
    key_item: ClassVar[bytes] = b""
    BEGIN: ClassVar[int] = 0
    CHANGES: ClassVar[int] = 1
    PAGE: ClassVar[int] = 2

    key: bytes
    kind: int
    after: int
    upto: int
    rows: tuple[tuple[int, bytes, bytes | None], ...] = ()
    start: bytes = b""
    next: bytes | None = None


class CheckCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=10):
    """Nothing but a condition, in a transaction."""

    blind: ClassVar[bool] = False

    key: bytes
    key_item: bytes
    condition: Condition


TransactedCommand = PutCommand | UpdateCommand | DeleteCommand | CheckCommand


class PrepareCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """A transaction's part in one partition: evaluated as one, on the state as it is before all of it; locked and logged if every command may be done, else nothing is.

    key: of the first part. id: of this attempt, 16 bytes. token: of the transaction in the ledger. parts: of different keys. whole: there is no other partition and no token: all is done at once,
    in one record, and nothing is locked.
    """

    blind: ClassVar[bool] = True
    condition: ClassVar[None] = None

    key: bytes
    id: bytes
    token: bytes
    parts: tuple[TransactedCommand, ...]
    whole: bool = False


class FinishCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """The decision of a transaction. key: of one of its parts in this partition. effective: stamp that its COMMIT goes by, 0: ABORT. Again: nothing happens."""

    blind: ClassVar[bool] = True
    condition: ClassVar[None] = None

    key: bytes
    id: bytes
    effective: int


class LookCommand(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """Strong reads of several items of one partition at one LSN, with the version of each. key: the first of `keys`."""

    blind: ClassVar[bool] = True
    condition: ClassVar[None] = None

    key: bytes
    keys: tuple[bytes, ...]


TransactCommand = PrepareCommand | FinishCommand | LookCommand
"""What coordinators of transactions ask (`storage.control.transactions`). Answer: TransactAnswer."""
ItemCommand = PutCommand | UpdateCommand | DeleteCommand | SwapCommand | ExpireCommand
"""A conditional write of one item."""
WriteCommand = ItemCommand | TransactCommand | FeedCommand
"""What only a leader does."""


# --- answers -------------------------------------------------------------------------------------------------------------------------------


class Decision(IntEnum):
    """What evaluation decided. PUT and DELETE propose a record; the others propose nothing and are answered as a strong read."""

    PUT = 1
    DELETE = 2
    UNCHANGED = 3
    CONDITION_FAILED = 4
    REFUSED = 5
    LOCKED = 6
    """Of a part of a transaction: another one holds the item."""


class Failure(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """An error as code and fields. code: of the classes of `base.errors`, or what DynamoDB calls it (`storage.items.errors`)."""

    code: str
    message: str
    fields: dict[str, Any] = {}


class Outcome(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Result of one evaluation.

    old: canonical item before, None if there was none. new: canonical item after (None after a delete; equal to old for UNCHANGED).
    error: for REFUSED, what the router turns into its answer (for example "item size exceeds the maximum").
    """

    decision: Decision
    old: bytes | None
    new: bytes | None
    error: Failure | None = None


class WriteAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """lsn: the commit LSN (of the last record seen when nothing was proposed). timestamp_us: effective time, None when nothing was proposed."""

    outcome: Outcome
    partition: str
    lsn: int
    timestamp_us: int | None


class TransactAnswer(WriteAnswer, array_like=True, frozen=True, gc=False, tag=8):
    """Of a command of a transaction; its own outcome is UNCHANGED. outcomes: of each part, or item looked at (`old`: as it is), in their order; none of a FinishCommand. stamp: of the record
    that was proposed, 0: none was. busy: nothing can be prepared just now, for none of the parts' fault. versions: of each item looked at, LSN of the record that made it so.
    """

    outcomes: tuple[Outcome, ...] = ()
    stamp: int = 0
    busy: bool = False
    versions: tuple[int, ...] = ()


class ReadAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """item: canonical bytes or None. lsn: the applied LSN the read was served at."""

    item: bytes | None
    partition: str
    lsn: int


class RangeAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """rows: (storage key, canonical item). more: the range was not exhausted; go on after (before, if reverse) the last row's key."""

    rows: list[tuple[bytes, bytes]]
    more: bool
    partition: str
    lsn: int


class IndexRangeAnswer(RangeAnswer, array_like=True, frozen=True, gc=False, tag=5):
    """Of a table with local indexes. rows: (key in the index, bytes of an item: the projected one, or the whole one if it was to be fetched); of the table itself as in
    a RangeAnswer. resume: the last key that was looked at, whether it is among the rows or not; None: as RangeAnswer says."""

    resume: bytes | None = None


@dataclass(frozen=True, slots=True)
class RangeRead:
    """Rows of one partition in key order. Half-open [start, end); end None: to the end of the partition.

    limit: rows at most. max_bytes: stop after the row with which the sum of item bytes reaches this (that row is included). reverse: from the end down.
    index: None: of a table that has no local indexes. 0: the items of one that has. n: the rows of its local index n. fetch: give the items that these rows are of.
    """

    start: bytes
    end: bytes | None
    limit: int
    max_bytes: int
    reverse: bool
    consistent: bool
    index: int | None = None
    fetch: bool = False


Answer = WriteAnswer | ReadAnswer | RangeAnswer
Said = Answer | ScrubjayError
"""What a callback gets: NotLeader and Unavailable may be retried by the router, other errors are final."""
