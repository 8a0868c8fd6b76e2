"""Putting back: for every key that differs, what it had before, by a compare-and-set that the partition's leader decides.

A write is taken only where the item still is what it was at the later moment, written by the same record: the same value written again since is another version.
What somebody wrote since stays, and is named; what an earlier run put back is found as it should be and left alone. So a run may be cut off anywhere, and the same
run again does what is left. Only of an absence no record is kept: a key that came and went again since is absent, as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from scrubjay.base.env import Tasks
from scrubjay.base.errors import Corrupt, ScrubjayError, Unavailable, from_code
from scrubjay.base.together import in_parallel, settle
from scrubjay.pitr.timeline.jobs import images_of
from scrubjay.storage.btree.engine import Row
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import Decision, ReadAnswer, SwapCommand, WriteAnswer, WriteCommand
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.keys import key_item
from scrubjay.storage.items.wire import item_bytes_to_json

LANES = 64
"""Writes under way at once."""
BATCH = 512
BATCH_BYTES = 8 << 20
"""Rows read ahead of them, and their bytes: whichever comes first. A row holds two items."""
TRIES = 5
"""Of a write whose outcome nobody could tell."""
CONFLICTS_SHOWN = 1000
CONFLICT_BYTES = 8 << 20
"""So many, or so large, are named one by one; all are counted."""

RESTORED, DELETED, UNCHANGED, CONFLICT = "restored", "deleted", "unchanged", "conflicts"


class LiveTable(Protocol):
    """A live table, as the router reaches it (storage.control.store)."""

    def write(self, table: TableMeta, command: WriteCommand, done: Callable[[WriteAnswer | ScrubjayError], None]) -> None: ...

    def read(self, table: TableMeta, key: bytes, *, consistent: bool, done: Callable[[ReadAnswer | ScrubjayError], None]) -> None: ...


class Clash(NamedTuple):
    """A key that was written since. after: what it was at the later moment; found: what it is."""

    key: bytes
    before: bytes | None
    after: bytes | None
    found: bytes | None

    def as_json(self, names: list[str]) -> dict[str, Any]:
        images = {name: None if item is None else item_bytes_to_json(item) for name, item in self._asdict().items() if name != "key"}
        some = images["after"] or images["before"] or {}
        return {
            "key": {name: some.get(name) for name in names},
            "before": images["before"],
            "expected": images["after"],
            "found": images["found"],
        }


class Undone:
    """What became of the keys so far. conflicts: the first CONFLICTS_SHOWN of them, as long as their items come to less than CONFLICT_BYTES."""

    def __init__(self) -> None:
        self.totals = {RESTORED: 0, DELETED: 0, UNCHANGED: 0, CONFLICT: 0}
        self.conflicts: list[Clash] = []
        self._bytes = 0

    def note(self, outcome: str, conflict: Clash | None) -> None:
        self.totals[outcome] += 1
        if conflict is not None and len(self.conflicts) < CONFLICTS_SHOWN and self._bytes < CONFLICT_BYTES:
            self.conflicts.append(conflict)
            self._bytes += sum(len(item or b"") for item in (conflict.before, conflict.after, conflict.found))


class Undo:
    """One table. confirm False: nothing is written, and what would become of each key now is said."""

    def __init__(self, tasks: Tasks, writer: LiveTable, table: TableMeta, *, confirm: bool) -> None:
        self._tasks, self._writer, self._table, self._confirm = tasks, writer, table, confirm
        self.done = Undone()

    async def put_back(self, rows: Iterator[Row], progress: Callable[[dict[str, Any]], None]) -> None:
        """rows: in the form `jobs.KEPT`. Raises Unavailable (what was done so far is in `done`), Corrupt."""
        for batch in _batches(rows):
            await in_parallel(self._tasks, self._one, batch, lanes=LANES, name="undo")
            progress({"phase": "put back" if self._confirm else "look", "done": sum(self.done.totals.values()), "unit": "items"})

    async def _one(self, row: Row) -> None:
        before, after = images_of(row)
        outcome, found = await (self._swap(row, before, after) if self._confirm else self._would(row.key, before, after))
        self.done.note(outcome, Clash(row.key, before, after, found) if outcome == CONFLICT else None)

    async def _swap(self, row: Row, before: bytes | None, after: bytes | None) -> tuple[str, bytes | None]:
        """Raises Unavailable, also if nobody can tell what became of it."""
        lsn = row.lsn if row.lsn and after is not None else None  # of an absence no record is kept
        command = SwapCommand(row.key, self._key_item(before, after), after, before, lsn)
        unknown = False
        for _ in range(TRIES):
            future = self._tasks.future()
            self._writer.write(self._table, command, partial(settle, future))
            try:
                answer: WriteAnswer = await future
            except ScrubjayError as error:
                if not error.fields.get("unknown"):
                    raise
                unknown = True  # it may have happened: then it finds what it wrote
                continue
            return self._told(answer, before, after, tried=unknown)
        raise Unavailable("a write has no known outcome", table=self._table.name, tries=TRIES)

    def _told(self, answer: WriteAnswer, before: bytes | None, after: bytes | None, *, tried: bool) -> tuple[str, bytes | None]:
        outcome = answer.outcome
        if outcome.decision in (Decision.PUT, Decision.DELETE):
            return _put_back(before), before
        if outcome.error is not None:
            raise from_code(outcome.error.code, outcome.error.message, outcome.error.fields)
        return (_put_back(before) if tried else UNCHANGED, before) if outcome.old == before else (CONFLICT, outcome.old)

    async def _would(self, key: bytes, before: bytes | None, after: bytes | None) -> tuple[str, bytes | None]:
        future = self._tasks.future()
        self._writer.read(self._table, key, consistent=True, done=partial(settle, future))
        answer: ReadAnswer = await future
        if answer.item == after:
            return _put_back(before), after
        return (UNCHANGED, before) if answer.item == before else (CONFLICT, answer.item)

    def _key_item(self, before: bytes | None, after: bytes | None) -> bytes:
        """Canonical key attributes. Raises Corrupt (a kept row)."""
        item = before if before is not None else after
        if item is None:
            raise Corrupt("a kept change changes nothing", what="rowfile")
        try:
            return encode_item(key_item(self._table.key, decode_item(item)))
        except (KeyError, msgspec.MsgspecError) as error:
            raise Corrupt("a kept item has not the table's key", what="item") from error


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.item)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _put_back(before: bytes | None) -> str:
    return DELETED if before is None else RESTORED
