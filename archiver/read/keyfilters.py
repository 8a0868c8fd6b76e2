"""Which segments may hold a key, by the filters in their manifests: kept in memory while there is room, read from the store else.

A reader that is told "no" does not read the segment. Whatever keeps a filter from being read (the store, a manifest gone or bad) means "maybe": whoever then
reads the segment meets it, and says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from scrubjay.archiver.format.keyfilter import KeyFilter
from scrubjay.archiver.format.layout import SegmentKey, build
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.read.names import PARALLEL
from scrubjay.archiver.read.objects import fetch_manifest
from scrubjay.base.env import ObjectStore, Tasks
from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.together import in_parallel

BYTES_KEPT = 64 << 20
"""Of all filters kept, with ENTRY_BYTES for each."""
ENTRY_BYTES = 400
"""What one takes in memory beside its bits."""
READ_MAX = 2048
"""Manifests read for one question, the newest; for older segments the answer is "maybe"."""


class KeyFilters:
    """Of one archive. The filters kept are those used last; manifests are immutable, so none is ever stale."""

    def __init__(self, store: ObjectStore, tasks: Tasks | None, *, bytes_kept: int = BYTES_KEPT) -> None:
        self._store, self._tasks, self._room = store, tasks, bytes_kept
        self._kept: OrderedDict[str, KeyFilter | None] = OrderedDict()

    def note(self, manifest: SegmentManifest) -> None:
        """A manifest that was read and is good."""
        name = build(manifest.key())
        if name in self._kept:
            return
        self._kept[name] = manifest.keys
        self._room -= _size(manifest.keys)
        while self._room < 0:
            _, old = self._kept.popitem(last=False)
            self._room += _size(old)

    async def without(self, key: bytes, segments: Sequence[SegmentKey]) -> set[SegmentKey]:
        """Those of the segments, newest first, whose records do not touch the key. Reads the manifests of which nothing is kept."""
        unknown = [one for one in segments if build(one) not in self._kept][:READ_MAX]
        found = dict(
            zip(unknown, await in_parallel(self._tasks, self._read, unknown, lanes=PARALLEL, name="read key filters"), strict=True)
        )
        absent = set()
        for one in segments:
            name = build(one)
            if name in self._kept:
                self._kept.move_to_end(name)
            keys = self._kept.get(name, found.get(one))
            if keys is not None and not keys.may_hold(key):
                absent.add(one)
        return absent

    async def _read(self, key: SegmentKey) -> KeyFilter | None:
        try:
            manifest = await fetch_manifest(self._store, key)
        except (Corrupt, Missing, Unavailable):
            return None
        self.note(manifest)
        return manifest.keys


def _size(keys: KeyFilter | None) -> int:
    return ENTRY_BYTES + (0 if keys is None else len(keys.bits))
