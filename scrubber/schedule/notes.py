"""The schedule's notes in the metadata group. Every change is made on what is there now: whoever lost against another process reads again and changes that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from scrubjay.base.errors import Conflict, Corrupt, Invalid, Unavailable
from scrubjay.scrubber.schedule.cron import check
from scrubjay.scrubber.schedule.settings import JobNote, JobSettings

PREFIX = "schedule/"
_TRIES = 5


class Notes(Protocol):
    """The notes of coordinators that the metadata group keeps (storage.control.metadata.Metadata)."""

    jobs: dict[str, dict[str, Any]]

    async def put_job(self, key: str, job: dict[str, Any] | None) -> None:
        """Raises Conflict if someone else wrote it meanwhile, Unavailable."""
        ...

    async def fetch_job(self, key: str) -> dict[str, Any] | None:
        """As it is now, strongly; `jobs` has it then. Raises Unavailable."""
        ...


class ScheduleBook:
    """What this process knows of the notes: as it last read or wrote each."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def note(self, job: str) -> JobNote:
        """Raises Corrupt."""
        return _decoded(job, self._notes.jobs.get(PREFIX + job))

    async def fresh(self, job: str) -> JobNote:
        """Read anew. Raises Unavailable, Corrupt."""
        return _decoded(job, await self._notes.fetch_job(PREFIX + job))

    async def change(self, job: str, change: Callable[[JobNote], JobNote | None], *, anew: bool = False) -> JobNote | None:
        """Write what `change` makes of the note; None from it: nothing is to be changed (any more). anew: of a malformed note nothing is kept. Raises Unavailable, Corrupt."""
        try:
            note = self.note(job)
        except Corrupt:
            if not anew:
                raise
            note = JobNote()
        for _ in range(_TRIES):
            changed = change(note)
            if changed is None:
                return None
            try:
                await self._notes.put_job(PREFIX + job, msgspec.to_builtins(changed))
            except Conflict:
                note = await self.fresh(job)
            else:
                return changed
        raise Unavailable("the schedule is changed by others all the time", job=job)


def _decoded(job: str, value: Mapping[str, Any] | None) -> JobNote:
    if value is None:
        return JobNote()
    try:
        note = msgspec.convert(value, JobNote)
        if note.settings is not None:
            _understood(note.settings)
    except (msgspec.ValidationError, Invalid) as error:
        raise Corrupt("a job of the schedule is malformed", what="schedule", job=job, why=str(error)) from None
    return note


@lru_cache(maxsize=64)
def _understood(settings: JobSettings) -> None:
    """Settings that were sound where they were set need not be here: this machine may not know their time zone. Raises Invalid."""
    check(settings)
