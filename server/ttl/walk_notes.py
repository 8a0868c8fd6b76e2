"""How far the walk over a table's items has come, as it is noted in the metadata group, `job/ttl/<table id>`: whoever works next goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from scrubjay.storage.catalogue import TableMeta, TimeToLive

PREFIX = "ttl/"


class WalkNote(msgspec.Struct, frozen=True, kw_only=True):
    """attribute, changed_at: of the setting that it goes by. began_us: of the walk under way, wall time. clean_us: what was over by then has been seen since; None: nobody knows yet.
    noted_us: when this was written. partition, next: where it goes on: a partition's id, and a storage key in hex; "": with the first partition."""

    attribute: str
    changed_at: int
    began_us: int = 0
    clean_us: int | None = None
    noted_us: int = 0
    partition: str = ""
    next: str = ""


def note_of(jobs: Mapping[str, Any], table: TableMeta, setting: TimeToLive) -> WalkNote:
    """One of another setting, or that is malformed, is as good as none: the walk begins anew, which costs a walk."""
    fresh = WalkNote(attribute=setting.attribute, changed_at=setting.changed_at)
    try:
        note = msgspec.convert(jobs.get(PREFIX + table.table_id, {}), WalkNote)
        bytes.fromhex(note.next)
    except (msgspec.ValidationError, ValueError):
        return fresh
    return note if (note.attribute, note.changed_at) == (setting.attribute, setting.changed_at) else fresh


def newest_us(jobs: Mapping[str, Any]) -> int | None:
    """When a walk of this cluster was last noted, by the wall clock of whoever walked."""
    noted = [note.get("noted_us") for key, note in jobs.items() if key.startswith(PREFIX) and isinstance(note, dict)]
    return max((one for one in noted if isinstance(one, int)), default=None)
