"""What users set of the parent's schedule, as the new cluster takes it over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from scrubjay.scrubber.schedule.notes import PREFIX
from scrubjay.scrubber.schedule.settings import JobNote


class Schedules(NamedTuple):
    """notes: by key, for the new cluster's metadata group. said: of every job the parent had a note of, whether it comes back as it was set, and why if not."""

    notes: dict[str, dict[str, Any]]
    said: tuple[dict[str, Any], ...]


def carried(jobs: Mapping[str, Mapping[str, Any]]) -> Schedules:
    """jobs: the notes of all coordinators, of the parent's catalogue. Settings and pauses stay. How runs went, and what they had reached, was another cluster's:
    nothing of the new one has been looked at."""
    notes: dict[str, dict[str, Any]] = {}
    said: list[dict[str, Any]] = []
    for key, value in sorted(jobs.items()):
        if not key.startswith(PREFIX):
            continue
        job = key.removeprefix(PREFIX)
        try:
            note = msgspec.convert(value, JobNote)
        except msgspec.ValidationError as error:
            said.append({"job": job, "brought": False, "why": f"its note is malformed: {error}"})
            continue
        if note.settings is not None or note.paused_us is not None:
            notes[key] = msgspec.to_builtins(JobNote(settings=note.settings, set_us=note.set_us, paused_us=note.paused_us))
            said.append({"job": job, "brought": True, "why": None})
    return Schedules(notes, tuple(said))
