"""Since when what is put into the archive is known to be locked, over restarts: a note in the metadata group, `locks`. Written once a run of retention has looked at everything
that lay there before; it counts only for as long as the store locks for the same time. Without it the next run asks of every object that is needed, and writes it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from scrubjay.archiver.expire.locks import LockBook
from scrubjay.archiver.expire.report import ExpireReport, LockOutcome
from scrubjay.base.errors import ScrubjayError
from scrubjay.scrubber.schedule.notes import Notes
from scrubjay.scrubber.schedule.settings import LastRun

KEY = "locks"
UNLOCKED = "unlocked"
"""What a run of the schedule is called that could not extend the locks of what must stay."""


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


class LockWatch:
    """What became of the locks of what must stay. extended, failed: objects, since this process began."""

    def __init__(self, notes: LockNotes, locks_us: Callable[[], int], log: Callable[[str], None]) -> None:
        self._notes, self._locks_us, self._log = notes, locks_us, log
        self._book: LockBook | None = None
        self._trouble: str | None = None
        self._looked = False
        self.extended = self.failed = 0

    def book(self) -> LockBook:
        """Of this process. Made at the first run: by then the notes have been read."""
        if self._book is None:
            self._book = self._notes.book(self._locks_us())
        return self._book

    def problem(self, last: LastRun | None) -> str | None:
        """Why what must stay could not be locked for longer; None: it was, or the store locks nothing. last: the last run of the schedule, for a process that has not run yet."""
        if self._looked:
            return self._trouble
        return last.why if last is not None and last.verdict == UNLOCKED else None

    async def over(self, locks: LockOutcome | None, report: ExpireReport | None, *, whole: bool) -> None:
        """After a run. whole: it went over every table."""
        try:
            if locks is None:
                await self._notes.unlocked()
                return
            self._looked, self._trouble = True, locks.error
            self.extended += locks.asked - locks.failed
            self.failed += locks.failed
            if locks.error is not None:
                self._log(f"{locks.due - locks.asked + locks.failed} objects that must stay could not be locked for longer: {locks.error}")
            if whole and report is not None and locks.complete and report.complete:
                await self._notes.looked(self.book(), since_us=report.now_us)
        except ScrubjayError as error:
            self._log(f"what is known of the store's locks could not be noted, the next life looks at all again: {error}")
