"""The marks of the log (docs/formats/wal.md, "Mark"): which batch was synced although no later one says so, and which file comes next.

A mark costs a busy log no sync of its own: it is written in front of a batch of the same file and becomes durable with it. Only quiet (there is no next batch),
and a file that is entered before its predecessor names it, cost one.
"""

from __future__ import annotations

from collections.abc import Callable

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.wal.format import MARK_SLOTS, encode_mark
from scrubjay.storage.wal.state import WalFile

Done = Callable[[ScrubjayError | None], None]


class Marks:
    """Of the file that holds the newest synced batch. `following` below: the id of the file that comes next, durable under its name; 0: none is.

    Two slots in turn: a torn mark leaves the one before. So at most one slot is ever unsynced: while one is on its way, or was written and not synced,
    the other is not touched. Invariant: nothing is acknowledged of a batch in a file that a durable mark of the file before does not name.
    """

    def __init__(self) -> None:
        self._file: WalFile | None = None
        self._header = b""
        self._slot = 0
        self._named = 0
        """What a durable mark in `_file` names."""
        self._written = 0
        """What its newest mark names, durable or not."""
        self._any = False
        """There is a mark in `_file`."""
        self._loose = False
        """The newest mark was written and not synced."""
        self._quiet = 0
        """Marks under way by themselves."""

    def recovered(self, file: WalFile, header: bytes, *, slot: int, named: int, any_: bool) -> None:
        """The newest synced batch is this one. slot: where the newest mark of its file lies."""
        self._file, self._header, self._slot = file, header, slot
        self._named = self._written = named
        self._any = any_

    def synced(self, file: WalFile, header: bytes) -> None:
        """A batch of `file` was synced, and with it what was written into that file before."""
        if file is not self._file:
            self._file = file
            self._named = self._written = 0
            self._any = self._loose = False
        elif self._loose:
            self._loose, self._named = False, self._written
        self._header = header

    def before(self, file: WalFile, following: int, done: Done) -> None:
        """Call when a batch is about to be written into `file`; it may be written once `done` was called without an error."""
        if self._file is None:
            done(None)
        elif self._file is not file:
            self._lead_to(file, done)
        else:
            error = self._ride(following)
            done(error)

    def _lead_to(self, file: WalFile, done: Done) -> None:
        """Before anything is acknowledged in `file`, the file before names it: so its loss is noticed."""
        last = self._file
        assert last is not None
        if self._named == file.id or last.unfit:  # what cannot be read is kept as it is: it makes the log doubtful by itself
            done(None)
            return

        def named(error: ScrubjayError | None) -> None:
            if error is None:
                self._named, self._loose = file.id, False
            done(error)

        last.handle.write_sync(self._next_slot(), [self._encode(last, file.id)], named)

    def _ride(self, following: int) -> ScrubjayError | None:
        """Write a mark that the coming batch's sync makes durable, if it says something new."""
        file = self._file
        assert file is not None
        if self._quiet or (self._any and following in (0, self._written)):
            return None
        try:
            file.handle.write(self._next_slot(), self._encode(file, following or self._written))
        except ScrubjayError as error:
            return error
        self._loose = True
        return None

    def quiet(self, following: int, done: Done, *, sync: bool) -> None:
        """Say that the newest batch was synced, since nothing else does. Without `sync` it may be lost in a crash; it cannot be wrong."""
        file = self._file
        assert file is not None
        if not sync:
            done(self._say(file, following))
            return
        self._quiet += 1

        def written(error: ScrubjayError | None) -> None:
            self._quiet -= 1
            if error is None and self._file is file:
                self._named = named
            done(error)

        slot, mark = self._next_slot(), self._encode(file, following or self._written)
        named = self._written
        file.handle.write_sync(slot, [mark], written)

    def _say(self, file: WalFile, following: int) -> ScrubjayError | None:
        try:
            file.handle.write(self._next_slot(), self._encode(file, following or self._written))
        except ScrubjayError as error:
            return error
        self._loose = True
        return None

    def _next_slot(self) -> int:
        if not self._loose:
            self._slot ^= 1
        return MARK_SLOTS[self._slot]

    def _encode(self, file: WalFile, following: int) -> bytes:
        self._written, self._any = following, True
        return encode_mark(self._header, following=following, size=file.size)


__all__ = ["Marks"]
