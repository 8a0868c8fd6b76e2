"""The checked, gap-free record stream of one partition: every record from `first` on, in LSN order, or an error that names what is absent or bad."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest, check_follows
from scrubjay.archiver.format.records import walk
from scrubjay.archiver.read.check import check_deeply
from scrubjay.archiver.read.objects import read_segment
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import Missing
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Record


async def read_records(
    store: ObjectStore, segments: Sequence[SegmentManifest], *, first: int, last: int | None = None
) -> AsyncIterator[Record]:
    """Records [first, last] (last None: to the end of the segments). segments: one partition, rising.

    Raises Missing (lsn: the first absent), Corrupt (where: object key), Unavailable. A segment is proven whole before its first record comes out.
    """
    expected, before = first, None
    for wanted in segments:
        manifest = wanted
        if manifest.last < expected:
            continue
        if last is not None and expected > last:
            return
        if manifest.first > expected:
            raise Missing("hole in the log", what="segment", lsn=expected)
        where = build(manifest.key())
        if before is not None:
            check_follows(before, manifest, where=build(manifest.key().twin()))
        manifest, raw, _ = await read_segment(store, manifest)
        check_deeply(manifest, raw)
        for part, piece in manifest.pieces(raw):
            for lsn, _, _, _, _, start, _ in walk(piece, partition=part.partition, first=part.first, after_stamp=0, where=where):
                if lsn >= expected and (last is None or lsn <= last):
                    yield records.decode(piece, start)
        expected, before = manifest.last + 1, manifest
    if last is not None and expected <= last:
        raise Missing("the log ends early", what="segment", lsn=expected)
