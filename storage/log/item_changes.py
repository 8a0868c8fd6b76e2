"""Records as changes of items: what was there, what is there now. Pure. Streams and the feeds of global indexes are made of these."""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Op, Record


class ItemChange(NamedTuple):
    """position: of the effect in its record, from 0. key: storage key. old, new: canonical bytes, None: there was, is, no item. service: the service did it by itself: the item's
    time to live had passed."""

    lsn: Lsn
    position: int
    key: bytes
    old: bytes | None
    new: bytes | None
    stamp: Stamp
    service: bool

    @property
    def size(self) -> int:
        """Bytes of key and items, as they are stored."""
        return len(self.key) + len(self.old or b"") + len(self.new or b"")


class ChangesPage(NamedTuple):
    """next: (LSN, position) where the next page begins. upto: up to which LSN the log is known to be applied. stamp: of the last record that was looked at; if there was none, of
    the one at `upto`, 0 if that is not known."""

    changes: list[ItemChange]
    next: tuple[Lsn, int]
    upto: Lsn
    stamp: Stamp

    @property
    def at_end(self) -> bool:
        """Nothing more was applied."""
        return self.next[0] > self.upto


def changes_of(record: Record) -> list[ItemChange]:
    """What a record changed, in order. An effect that left the item as it was is none.

    Raises Corrupt, and Missing (what: old item) if the record does not say what was there before: it is of a time when nobody asked for that.
    """
    if not records.carries_effects(record.kind):
        return []
    found: list[ItemChange] = []
    for position, effect in enumerate(records.effects(record)):
        if effect.old is None:
            raise Missing("the record does not say what was there before", what="old item", lsn=record.lsn)
        old, new = effect.old or None, None if effect.op.is_delete else effect.body
        if old != new:
            found.append(ItemChange(record.lsn, position, effect.key, old, new, record.stamp, effect.op is Op.EXPIRE))
    return found
