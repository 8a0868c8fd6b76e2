"""What a log says of itself in its SCHEMA records: whether the effects behind one carry the old item, and whose stream they are (ADR 0073).

The catalogue says what is wanted; the log says from which record on it is so. A leader goes by the newer of the two, by the version of the table's definition, so one whose
catalogue is old goes on as its log says. A log of a table of which nobody ever wanted old items says nothing.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from scrubjay.base.errors import Corrupt
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.log.record import Record, RecordKind

MEMBER = "definition"
"""Of the SCHEMA record's JSON."""
_MARK = f'"{MEMBER}":'.encode()


class Stated(msgspec.Struct, frozen=True, array_like=True):
    """version: of the table's definition it was said of, 0: nothing was said yet. lsn: of the SCHEMA record. old_items: every effect behind it carries the old item. stream:
    label of the stream that the records behind it belong to, "": of none."""

    version: int = 0
    lsn: int = 0
    old_items: bool = False
    stream: str = ""

    def follows(self, table: TableMeta) -> bool:
        """Nothing has to be said: it is as the table's definition wants it, or was said of a newer one. A log of which nobody knows what it said, of a table that has or had streams, says it
        (again): where a stream ends is where its log says so."""
        if not self.version and table.streams:
            return False
        return table.version <= self.version or (table.keeps_old, table.stream_label) == (self.old_items, self.stream)


SILENT = Stated()


class StreamName(NamedTuple):
    """label: of a stream. known: up to which version of the table's definition it is known to be on: what a log says of one that is not newer ends nothing, it was said by a leader whose
    catalogue was old."""

    label: str
    known: int


def ends_at(record: Record, stream: StreamName) -> bool:
    """The log says there that what follows belongs to another stream, or to none. Raises Corrupt."""
    said = stated_in(record) if record.kind is RecordKind.SCHEMA else None
    return said is not None and said.stream != stream.label and said.version > stream.known


def definition_of(table: TableMeta) -> dict[str, Any]:
    """What a SCHEMA record says of the table's definition, as JSON has it."""
    return {"old_items": table.keeps_old, "stream": table.stream_label, "version": table.version}


def stated_in(record: Record) -> Stated | None:
    """What a SCHEMA record says, None: nothing. Raises Corrupt."""
    if _MARK not in record.payload:
        return None
    try:
        said = json.loads(record.payload)[MEMBER]
        return msgspec.convert([said["version"], int(record.lsn), said["old_items"], said["stream"]], Stated)
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # a ValidationError of msgspec is a ValueError
        raise Corrupt("what a SCHEMA record says of the table's definition cannot be read", what="record", lsn=record.lsn) from error
