"""The versions of one key that a segment holds. Pure."""

from __future__ import annotations

from typing import NamedTuple

from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.format.records import check_against, check_records, walk
from scrubjay.base.hlc import stamp_micros
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import Op

PUT, DELETE, TTL, BASE = "put", "delete", "ttl", "base"
_WORDS = {Op.PUT: PUT, Op.DELETE: DELETE, Op.EXPIRE: TTL}


class Version(NamedTuple):
    """at_us: its effective time. item: canonical bytes, None: absent. op: put | delete | ttl (deleted by the service, its time to live had passed) | base (what a base snapshot holds, where no record tells)."""

    lsn: int
    at_us: int
    op: str
    item: bytes | None


def versions_in(manifest: SegmentManifest, raw: bytes, key: bytes, *, where: str) -> list[Version]:
    """Every version of the key in a segment, in LSN order. raw: proven to be the bytes that the manifest names, so a segment in which the key's bytes
    are not does not hold it, and its records need not be looked at. Raises Corrupt."""
    if key not in raw:
        return []
    walked = check_records(raw, partition=manifest.partition, first=manifest.first, last=manifest.last, where=where)
    check_against(walked, manifest, where=where)
    found = []
    for lsn, _, effective, kind, _, start, end in walk(raw, partition=manifest.partition, first=manifest.first, after_stamp=0, where=where):
        if not records.carries_effects(kind) or raw.find(key, start, end) < 0:
            continue
        last = None
        for effect in records.effects(records.decode(raw, start)):
            if effect.key == key:
                last = effect  # of two in one record the later one stands
        if last is not None:
            found.append(Version(lsn, stamp_micros(effective), _WORDS[last.op], None if last.op.is_delete else last.body))
    return found


def item_at(versions: list[Version], at_us: int) -> bytes | None:
    """What the key was at a moment, inclusive. versions: newest first, nothing left out. Pure."""
    return next((one.item for one in versions if one.at_us <= at_us), None)
