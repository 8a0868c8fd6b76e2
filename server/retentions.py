"""Which retention counts when nobody looks. A longer one does at once. A shorter one is told for `GRACE_US` before a run of the schedule goes by it: a slip
through the API takes no history away overnight. Whoever confirms `expire run` has seen its plan, and it counts from then on.

What counts is noted in the metadata group, `retention/<table id>`; without a note the longest does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from scrubjay.archiver.expire.plan import DAY_US, KEEP_MAX_US, KEEP_MIN_US
from scrubjay.base.times import utc_text
from scrubjay.scrubber.schedule.notes import Notes
from scrubjay.storage.catalogue import TableMeta

PREFIX = "retention/"
GRACE_US = 3 * DAY_US


class RetentionNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """keep_us: what counts. shorter_us: what the table was told since, and since_us: when a run first saw that."""

    keep_us: int = KEEP_MAX_US
    shorter_us: int | None = None
    since_us: int | None = None


class Shortened(NamedTuple):
    """A table was told to keep less than what counts. since_us None: no run of the schedule has seen it yet, so that the grace has not begun."""

    counts_us: int
    told_us: int
    since_us: int | None

    def as_json(self) -> dict[str, Any]:
        ends_us = None if self.since_us is None else self.since_us + GRACE_US
        return {
            "keeps_seconds": self.counts_us // 1_000_000,
            "told_seconds": self.told_us // 1_000_000,
            "until": None if ends_us is None else utc_text(ends_us),
        }


def own_retention_us(table: TableMeta) -> int:
    """How far back a table is to be kept: its RecoveryPeriodInDays, 35 unless it was told otherwise, never outside of 1 to 35."""
    return min(max(table.pitr_days * DAY_US, KEEP_MIN_US), KEEP_MAX_US)


def settled(note: RetentionNote, told_us: int, *, now_us: int, dated_us: int) -> RetentionNote:
    """The note after a run of the schedule has seen what the table is told now. dated_us: now, less what nobody saw pass: that is no grace. Pure."""
    if told_us >= note.keep_us:
        return RetentionNote(told_us)
    if note.shorter_us != told_us or note.since_us is None or note.since_us > now_us:
        return RetentionNote(note.keep_us, told_us, now_us)
    return RetentionNote(told_us) if dated_us - note.since_us >= GRACE_US else note


class Retentions:
    """What counts for each table, over the notes that this process knows."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def keep_us(self, table: TableMeta) -> int:
        """What counts where nobody looks: never less than the table is told."""
        return max(own_retention_us(table), self._note(table).keep_us)

    def shortened(self, table: TableMeta) -> Shortened | None:
        note, told_us = self._note(table), own_retention_us(table)
        if told_us >= note.keep_us:
            return None
        return Shortened(note.keep_us, told_us, note.since_us if note.shorter_us == told_us else None)

    async def settle(self, tables: Sequence[TableMeta], *, now_us: int, dated_us: int) -> list[tuple[TableMeta, Shortened]]:
        """What a run of the schedule sees is noted, and counts from the next one on. Returns what is shorter since it last looked. Raises Unavailable, Conflict."""
        begun = []
        for table in tables:
            note = self._note(table)
            after = settled(note, own_retention_us(table), now_us=now_us, dated_us=dated_us)
            await self._write(table, after)
            if after.since_us is not None and after != note:
                begun.append((table, Shortened(after.keep_us, own_retention_us(table), after.since_us)))
        return begun

    async def confirm(self, tables: Sequence[TableMeta]) -> None:
        """Somebody has seen the plan of these tables' own retentions, and confirmed it. Raises Unavailable, Conflict."""
        for table in tables:
            await self._write(table, RetentionNote(own_retention_us(table)))

    async def forget(self, table: TableMeta) -> None:
        """It leaves the catalogue. Raises Unavailable, Conflict."""
        await self._write(table, RetentionNote())

    async def _write(self, table: TableMeta, note: RetentionNote) -> None:
        if note != self._note(table):
            await self._notes.put_job(PREFIX + table.table_id, None if note == RetentionNote() else msgspec.to_builtins(note))

    def _note(self, table: TableMeta) -> RetentionNote:
        """One that is malformed is as good as none: then the longest counts."""
        try:
            return msgspec.convert(self._notes.jobs.get(PREFIX + table.table_id, {}), RetentionNote)
        except msgspec.ValidationError:
            return RetentionNote()
