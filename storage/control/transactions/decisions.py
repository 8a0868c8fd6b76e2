"""Where transactions are decided: rows of a system table, one by each token (docs/formats/transactions.md).

A row is there before anything is prepared under its attempt, and is written by compare-and-set alone. No row, or one of another attempt: that attempt never commits. A row that says `commit` stays until its
COMMIT is everywhere, and from then on for as long as a token is remembered: then it goes by its time to live, as does one that was begun and whose coordinator died.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.env import Env
from scrubjay.base.errors import Conflict, Corrupt, Unavailable
from scrubjay.base.gate import Gate
from scrubjay.base.hlc import last_stamp_at
from scrubjay.base.ids import TableId
from scrubjay.base.together import settle
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import LEDGER_TABLE, KeyAttribute, KeySchema, TableMeta, Throughput, TimeToLive
from scrubjay.storage.commands.values import Decision, ReadAnswer, SwapCommand
from scrubjay.storage.control.metadata import Metadata
from scrubjay.storage.control.router import REFUSE_US, Router
from scrubjay.storage.control.swapping import swap
from scrubjay.storage.control.tables import Tables
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.keys import storage_key

KEPT_US = 600_000_000
"""How long a token is remembered once its transaction is done."""
BEGUN, COMMIT = "begun", "commit"
UNNAMED = "-"
"""What the name of a transaction without a token begins with: nobody can ask for it again, so it is forgotten at once."""
SCHEMA = KeySchema(KeyAttribute("token", "S"))
_EXPIRES = "expires"
_TRIES = 8
_POLL_S = 0.02
_WAIT_US = 10_000_000
"""How long the table may take to be there, the first time."""


_SKEW_US = 1_000_000
"""How far the clock of who began a transaction may have been ahead of the moment that the row was recovered to."""


class LockedKey(NamedTuple):
    """One of the keys that a transaction locks in a partition: by it the partition is found."""

    table: TableId
    key: bytes


class Entry(msgspec.Struct, frozen=True):
    """A transaction. attempt: 16 bytes. digest: of what it asks for. at_us: when this attempt began. effective: stamp of its COMMIT. places: one of each partition, of one that is decided. done_us: since when
    its COMMIT is everywhere, 0: that is not known."""

    token: str
    attempt: bytes
    digest: bytes
    state: str
    at_us: int
    effective: int = 0
    places: tuple[LockedKey, ...] = ()
    done_us: int = 0


class Left(Enum):
    """What a row says that came out of an archive, as it was at one moment. A decision is written some milliseconds after the time that it makes effective, so at a moment in between the items are
    written and the row is not. UNKNOWN: so it may be. NEVER: decided, and effective only after that moment: nowhere."""

    UNKNOWN = "unknown"
    NEVER = "never"


def encode_entry(entry: Entry) -> bytes:
    item: dict[str, Any] = {
        "token": ("S", entry.token),
        "attempt": ("B", entry.attempt),
        "digest": ("B", entry.digest),
        "state": ("S", entry.state),
        "at": ("N", str(entry.at_us)),
    }
    if entry.state == COMMIT:
        item["effective"] = ("N", str(entry.effective))
        item["places"] = ("L", tuple([("M", {"table": ("S", place.table), "key": ("B", place.key)}) for place in entry.places]))
    if entry.done_us:
        item["done"] = ("N", str(entry.done_us))
    if entry.done_us or entry.state == BEGUN:  # one that is only begun may go at any time: that says the same as giving it up
        item[_EXPIRES] = ("N", str(((entry.done_us or entry.at_us) + KEPT_US) // 1_000_000 + 1))
    return encode_item(item)


def decode_entry(data: bytes) -> Entry:
    """Raises Corrupt: it is no row of the ledger."""
    try:
        item = decode_item(data)
        return Entry(
            item["token"][1],
            item["attempt"][1],
            item["digest"][1],
            item["state"][1],
            int(item["at"][1]),
            int(item["effective"][1]) if "effective" in item else 0,
            tuple([LockedKey(TableId(one[1]["table"][1]), one[1]["key"][1]) for one in item["places"][1]]) if "places" in item else (),
            int(item["done"][1]) if "done" in item else 0,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Corrupt("a row of the ledger is malformed", what="ledger") from error


class TransactionLedger:
    """The table, and compare-and-set in it."""

    def __init__(self, env: Env, router: Router, metadata: Metadata, tables: Tables) -> None:
        self._env, self._router, self._metadata, self._tables = env, router, metadata, tables
        self._making = Gate(env.tasks)

    def known(self) -> TableMeta | None:
        """The table if it is there."""
        table = self._metadata.by_name(LEDGER_TABLE)
        return table if table is not None and table.status in ("ACTIVE", "UPDATING") else None

    async def table(self) -> TableMeta:
        """Made when the first transaction wants it. Raises Unavailable."""
        table = self.known()
        if table is not None and table.ttl_attribute is not None:
            return table
        async with self._making:
            give_up_us = self._env.clock.boot_us() + _WAIT_US
            while True:
                table = self._metadata.by_name(LEDGER_TABLE)
                try:
                    if table is None:
                        await self._tables.create(
                            TableSpec(
                                name=LEDGER_TABLE,
                                key=SCHEMA,
                                attributes=(("token", "S"),),
                                billing="PAY_PER_REQUEST",
                                throughput=Throughput(),
                                deletion_protection=True,
                            )
                        )
                    elif table.status in ("ACTIVE", "UPDATING"):
                        if table.ttl_attribute is not None:
                            return table
                        await self._tables.set_time_to_live(LEDGER_TABLE, lambda _: TimeToLive(True, _EXPIRES, self._env.clock.wall_us()))
                        continue
                except Conflict:
                    pass  # another process makes it
                if self._env.clock.boot_us() >= give_up_us:
                    raise Unavailable("the ledger of transactions is not there yet")
                await self._env.tasks.sleep(_POLL_S)
                await self._metadata.newest()

    def left_by_recovery(self, entry: Entry) -> Left | None:
        """None: the row says how it is, since it was written here, or decided and effective by the moment that this cluster was recovered to."""
        table = self.known()
        if table is None or table.restore_of is None or entry.at_us > table.restore_of.at + _SKEW_US:
            return None
        if entry.state == BEGUN:
            return Left.UNKNOWN
        return Left.NEVER if entry.effective > last_stamp_at(table.restore_of.at) else None

    async def read(self, token: str) -> Entry | None:
        """As it is, by a strong read. Raises Unavailable, Corrupt."""
        table = await self.table()
        future = self._env.tasks.future()
        self._router.read(table, _key(token), consistent=True, done=partial(settle, future), patience_us=REFUSE_US)
        answer: ReadAnswer = await future
        return None if answer.item is None else decode_entry(answer.item)

    async def swap(self, token: str, expect: Entry | None, new: Entry | None) -> Entry | None:
        """What stands there afterwards: `new`, or what somebody else made of it. A swap whose outcome is unknown is tried again until it is known, or Unavailable (`unknown`) says that it may yet happen."""
        table = await self.table()
        old, bytes_ = (None if one is None else encode_entry(one) for one in (expect, new))
        command = SwapCommand(_key(token), encode_item({"token": ("S", token)}), old, bytes_)
        answer = await swap(self._env, self._router, table, command, tries=_TRIES, patience_us=REFUSE_US)
        if answer.outcome.decision is not Decision.CONDITION_FAILED:
            return new
        return None if answer.outcome.old is None else decode_entry(answer.outcome.old)


def _key(token: str) -> bytes:
    return storage_key(SCHEMA, {"token": ("S", token)})
