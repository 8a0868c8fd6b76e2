"""What becomes of what is fed to a partition of an index's table. Pure, total, and run by that partition's leader only, against how far it was fed before.

Every change of a partition of the indexed table is taken exactly once, in the order of its log, whoever sends it and however often: what was taken before is passed over, what does
not continue it is refused. So two that feed at once, a message that comes late or twice, and a feed that begins again further back change nothing. Items that were there
before the index come in pages read of a tree as of an LSN that the feed has not passed: what the log says above that, it says again.
"""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.base.ids import Lsn
from scrubjay.storage.commands.values import FeedCommand
from scrubjay.storage.indexes.kept_rows import Fed


class FeedStep(NamedTuple):
    """fed: as it is then. rows: by key, what is put (None: taken away), the last word on each."""

    fed: Fed
    rows: dict[bytes, bytes | None]


class NotNext(NamedTuple):
    """What was sent does not continue what was taken. It is not taken; whoever sent it goes on from what the answer says."""


def take(command: FeedCommand, fed: Fed | None) -> FeedStep | NotNext | None:
    """fed: how far the partition named was fed, None: not begun. None: nothing of it is new."""
    if command.kind == FeedCommand.BEGIN:
        return FeedStep(Fed(Lsn(command.upto), b""), {}) if fed is None else None
    if fed is None:
        return NotNext()
    if command.kind == FeedCommand.CHANGES:
        return _changes(command, fed)
    return _page(command, fed)


def _changes(command: FeedCommand, fed: Fed) -> FeedStep | NotNext | None:
    if command.upto <= fed.lsn:
        return None
    if command.after > fed.lsn:
        return NotNext()
    return FeedStep(Fed(Lsn(command.upto), fed.cursor), {key: value for lsn, key, value in command.rows if lsn > fed.lsn})


def _page(command: FeedCommand, fed: Fed) -> FeedStep | NotNext | None:
    cursor = fed.cursor
    if cursor is None or (command.next is not None and command.next <= cursor):
        return None
    if command.start > cursor or command.upto < fed.lsn:
        return NotNext()
    return FeedStep(Fed(fed.lsn, command.next), {key: value for _, key, value in command.rows})
