"""What differs between two states of a partition, each given as its rows in key order. Pure, and nothing is held but one row of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Counted:
    """Of the selected keys: added, removed, changed, same."""

    def __init__(self) -> None:
        self.added = self.removed = self.changed = self.same = 0

    def as_dict(self) -> dict[str, int]:
        return {"added": self.added, "removed": self.removed, "changed": self.changed, "same": self.same}


def changes(
    before: Iterator[Row],
    after: Iterator[Row],
    *,
    selection: Selection,
    removed_by: Callable[[bytes], tuple[int, int] | None],
    counted: Counted,
) -> Iterator[Altered]:
    """Run it to its end: both streams are proven only then. removed_by: (lsn, stamp) of the delete of a key that is not in `after`, None if not known."""
    old, new = next(before, None), next(after, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.key < new.key):
            assert old is not None
            if selection.holds(old.key):
                counted.removed += 1
                yield Altered(old.key, old.item, None, *(removed_by(old.key) or (None, None)))
            old = next(before, None)
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
