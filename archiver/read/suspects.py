"""Objects of the archive that somebody read and found bad: kept, named in status, and not used, until they check again (each look reads them anew)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from scrubjay.archiver.format.base import decode_base
from scrubjay.archiver.format.closed import decode_closed
from scrubjay.archiver.format.former import decode_former
from scrubjay.archiver.format.identity import decode_epoch, decode_identity
from scrubjay.archiver.format.layout import BaseKey, ClosedKey, EpochKey, FormerKey, IdentityKey, SegmentKey, build, parse
from scrubjay.archiver.format.manifest import decode_manifest
from scrubjay.archiver.read.check import SegmentToCheck, check_segments
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, NoKey

LEVELS = ("listed", "objects", "records", "replayed")
"""Of a verification, each containing the one before."""
SUSPECTS_MAX = 1000
"""Remembered at a time; a verify names all of them."""
LOOKS_MAX = 32
"""Read anew in one look."""


class Suspect(NamedTuple):
    """kind: unreadable | hole | forged. level: of the check that failed; one that is `forged` is believed again only after a check at that level."""

    kind: str
    detail: str
    level: str


class Suspects:
    """By object key."""

    def __init__(self) -> None:
        self.by_object: dict[str, Suspect] = {}
        self.changes = 0
        """Goes up with every change: whoever keeps them over restarts keeps them again."""

    def add(self, name: str, suspect: Suspect) -> None:
        if self.by_object.get(name) != suspect and (name in self.by_object or len(self.by_object) < SUSPECTS_MAX):
            self.by_object[name] = suspect
            self.changes += 1

    def drop(self, name: str) -> None:
        if self.by_object.pop(name, None) is not None:
            self.changes += 1

    def passed(self, names: Iterable[str], level: str) -> None:
        """These were read and are good, by a check at `level`."""
        for name in names:
            suspect = self.by_object.get(name)
            if suspect is not None and LEVELS.index(level) >= LEVELS.index(suspect.level):
                self.drop(name)

    def of(self, table: str, partition: str) -> dict[str, Suspect]:
        found = {}
        for name, suspect in self.by_object.items():
            key = parse(name)
            if isinstance(key, SegmentKey | BaseKey) and (key.table, key.partition) == (table, partition):
                found[name] = suspect
        return found

    def elsewhere(self) -> dict[str, Suspect]:
        """Those of no partition."""
        return {name: one for name, one in self.by_object.items() if not isinstance(parse(name), SegmentKey | BaseKey)}

    async def look(self, store: ObjectStore) -> None:
        """Read again what may be sound by now, the ones not looked at for longest first. Raises Unavailable."""
        again = [name for name, one in self.by_object.items() if one.kind != FORGED][:LOOKS_MAX]
        for name in again:
            sound = await _is_sound(store, name)
            suspect = self.by_object.pop(name, None)
            if sound:
                self.changes += 1
            elif suspect is not None:
                self.by_object[name] = suspect  # last, so that the others have their turn


async def _is_sound(store: ObjectStore, name: str) -> bool:
    """The object is there and its bytes are what they should be."""
    key = parse(name)
    try:
        if isinstance(key, SegmentKey):
            where = build(key._replace(manifest=True))
            manifest = decode_manifest(await store.get(where), where=where)
            return key.manifest or not await check_segments(store, [SegmentToCheck(manifest, 0)], deep=True)
        if isinstance(key, BaseKey):
            where = build(key._replace(part=None))
            base = decode_base(await store.get(where), where=where)
            if key.part is not None:
                base.parts[key.part].check(await store.get(name), what="base", where=name)
            return True
        data = await store.get(name)
        if isinstance(key, ClosedKey):
            decode_closed(data, where=name)
        elif isinstance(key, EpochKey):
            decode_epoch(data, where=name)
        elif isinstance(key, FormerKey):
            decode_former(data, where=name)
        elif isinstance(key, IdentityKey):
            decode_identity(data, where=name)
    except (Corrupt, Missing, NoKey, IndexError):
        return False
    return True
