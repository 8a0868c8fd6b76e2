"""Since when what is put into the archive is known to be locked, over restarts: a note in the metadata group, `locks`. Written once a run of retention has looked at everything
that lay there before; it counts only for as long as the store locks for the same time. Without it the next run asks of every object that is needed, and writes it."""

from __future__ import annotations

import msgspec

from scrubjay.archiver.expire.locks import LockBook
from scrubjay.scrubber.schedule.notes import Notes

KEY = "locks"


class LockNote(msgspec.Struct, frozen=True):
    """keep_us: what the store locked for. since_us: what was put since then is locked from when it was put."""

    keep_us: int
    since_us: int


class LockNotes:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def book(self, locks_us: int) -> LockBook:
        """What is known when a process begins."""
        note = self._note()
        return LockBook(locks_us, since_us=note.since_us if note is not None and note.keep_us == locks_us else None)

    async def looked(self, book: LockBook, *, since_us: int) -> None:
        """A run that began then has looked at everything. Raises Unavailable, Conflict."""
        if book.since_us is None:
            await self._notes.put_job(KEY, msgspec.to_builtins(LockNote(book.locks_us, since_us)))
            book.since_us = since_us

    async def unlocked(self) -> None:
        """What is put now is not locked: of nothing that lies there when that changes is anything known. Raises Unavailable, Conflict."""
        if KEY in self._notes.jobs:
            await self._notes.put_job(KEY, None)

    def _note(self) -> LockNote | None:
        """One that is malformed is as good as none."""
        try:
            return msgspec.convert(self._notes.jobs[KEY], LockNote)
        except (KeyError, msgspec.ValidationError):
            return None
