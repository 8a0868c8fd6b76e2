"""Objects of the archive that somebody read and found bad: kept, named in status, and not used, until they check again (each look reads them anew)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archiver.base import decode_base
from archiver.closed import decode_closed
from archiver.identity import decode_epoch, decode_identity
from archiver.layout import BaseKey, ClosedKey, EpochKey, IdentityKey, SegmentKey, build, parse
from archiver.manifest import decode_manifest
from archiver.verify_jobs import Item, check_segments
from base.env import ObjectStore
from base.errors import Corrupt, Missing

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

    def add(self, name: str, suspect: Suspect) -> None:
        if name in self.by_object or len(self.by_object) < SUSPECTS_MAX:
            self.by_object[name] = suspect

    def passed(self, names: Iterable[str], level: str) -> None:
        """These were read and are good, by a check at `level`."""
        for name in names:
            suspect = self.by_object.get(name)
            if suspect is not None and LEVELS.index(level) >= LEVELS.index(suspect.level):
                del self.by_object[name]

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
        """Read again what may be sound by now, the oldest first. Raises Unavailable."""
        again = [name for name, one in self.by_object.items() if one.kind != "forged"][:LOOKS_MAX]
        for name in again:
            suspect = self.by_object.pop(name)
            try:
                sound = await _is_sound(store, name)
            except BaseException:
                self.by_object[name] = suspect
                raise
            if not sound:
                self.by_object[name] = suspect


async def _is_sound(store: ObjectStore, name: str) -> bool:
    """The object is there and its bytes are what they should be."""
    key = parse(name)
    try:
        if isinstance(key, SegmentKey):
            where = build(key._replace(manifest=True))
            manifest = decode_manifest(await store.get(where), where=where)
            return key.manifest or not await check_segments(store, [Item(manifest, 0)], deep=True)
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
        elif isinstance(key, IdentityKey):
            decode_identity(data, where=name)
    except (Corrupt, Missing, IndexError):
        return False
    return True
