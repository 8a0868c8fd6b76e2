"""What differs between two states of a partition, each given in key order: its rows, and of the later one what the log deleted. Pure, and nothing is held but one row of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.pitr.selection import Selection
from scrubjay.storage.btree.engine import Row


class Altered(NamedTuple):
    """before, after: canonical items, one of them may be None (absent). lsn, stamp: of the record that made it `after`, None where the log between is not whole."""

    key: bytes
    before: bytes | None
    after: bytes | None
    lsn: int | None
    stamp: int | None


class Deleted(NamedTuple):
    """That a record deleted a key, and none wrote it since."""

    key: bytes
    lsn: int
    stamp: int


class Counted:
    """Of the selected keys: added, removed, changed, same."""

    def __init__(self) -> None:
        self.added = self.removed = self.changed = self.same = 0

    def as_dict(self) -> dict[str, int]:
        return {"added": self.added, "removed": self.removed, "changed": self.changed, "same": self.same}


def changes(
    before: Iterator[Row],
    after: Iterator[Row | Deleted],
    *,
    selection: Selection,
    counted: Counted,
) -> Iterator[Altered]:
    """Run it to its end: both streams are proven only then."""
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.key < new.key):
            assert old is not None
            if selection.holds(old.key):
                counted.removed += 1
                yield Altered(old.key, old.item, None, None, None)
            old = next(before, None)
        elif isinstance(new, Deleted):
            if old is not None and old.key == new.key:
                if selection.holds(old.key):
                    counted.removed += 1
                    yield Altered(old.key, old.item, None, new.lsn, new.stamp)
                old = next(before, None)
            new = next(after, None)
        elif old is None or new.key < old.key:
            if selection.holds(new.key):
                counted.added += 1
                yield Altered(new.key, None, new.item, new.lsn, new.stamp)
            new = next(after, None)
        else:
            if selection.holds(new.key):
                if old.item == new.item:
                    counted.same += 1
                else:
                    counted.changed += 1
                    yield Altered(new.key, old.item, new.item, new.lsn, new.stamp)
            old, new = next(before, None), next(after, None)
