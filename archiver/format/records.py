"""The check of a segment's records, in one fast pass: owner, checksum, kind, LSN order without a hole, stamps rising, one SEAL and it is the last; and that
its manifest says of them what they are.

Loops in Python over every record: runs in worker processes, never in a node's own (about 2 us a record).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import NamedTuple

from scrubjay.archiver.format.keyfilter import KeyFilter, key_filter
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.base.ids import uuid_bytes
from scrubjay.storage.log import record as records
from scrubjay.storage.log.record import EFFECT, HEADER, HEADER_SIZE, RECORD_SIZE_MAX, RecordKind, Seal
from scrubjay.storage.log.split import born_facts

_KINDS = frozenset(records.KINDS)
_SEAL = int(RecordKind.SEAL)
_SCHEMA = int(RecordKind.SCHEMA)
_WITH_EFFECTS = frozenset(map(int, records.WITH_EFFECTS))
_KEY_LENGTH = HEADER_SIZE + 1
"""Offset of its length, two bytes."""
_KEY = HEADER_SIZE + EFFECT.size
"""Offset of the key of a record's first effect."""
BORN = "born"
"""Member of the SCHEMA record with which a child's log begins."""
PLACE_SIZE = 16
"""Bytes of a storage key that say where in the key space it lies."""


class RecordsWalked(NamedTuple):
    """What a pass over a segment's records found. content: records that are content. seal: payload of the last record. low, high: lowest and highest place
    of the records' (first) keys, empty if none has one. schema: payload of a SCHEMA record, empty if there is none. keys: that the records touch, all of them.
    opening: payload of the first record if that is SCHEMA, else empty; None: nobody looked."""

    first: int
    last: int
    first_stamp: int
    last_stamp: int
    content: int
    seal: Seal
    low: bytes = b""
    high: bytes = b""
    schema: bytes = b""
    keys: frozenset[bytes] = frozenset()
    opening: bytes | None = None

    def filter(self) -> KeyFilter | None:
        """Of these keys. A loop over them: about 1.5 us each."""
        return key_filter(self.keys)


Place = tuple[int, int, int, int, int, int, int]
"""One record in a segment's raw bytes: (lsn, stamp, effective, kind, effects, start, end), [start, end) half-open. A plain tuple: a million are made."""


def walk(raw: bytes, *, partition: str, first: int, after_stamp: int, where: str) -> Iterator[Place]:
    """Every record's place, checked. first: LSN of the first. after_stamp: stamps must be above it and rise. Raises Corrupt (where, lsn, offset)."""
    owner = records.owner_tag(uuid_bytes(partition))
    view = memoryview(raw)
    unpack, kinds, version_known = HEADER.unpack_from, _KINDS, records.VERSION
    heads: dict[int, int] = {}
    """Checksum of the first four bytes, the length, by length."""
    offset, end, lsn, stamp = 0, len(raw), first, after_stamp
    while offset < end:
        if end - offset < HEADER_SIZE:
            raise Corrupt("record cut short", what="segment", where=where, offset=offset)
        length, crc, version, kind, flags, effects, tag, found, at, effective = unpack(raw, offset)
        stop = offset + length
        if length < HEADER_SIZE or length > RECORD_SIZE_MAX or stop > end:
            raise Corrupt("record length out of bounds", what="segment", where=where, offset=offset, lsn=lsn)
        head = heads.get(length)
        if head is None:
            head = heads[length] = crc32c_raw(view[offset : offset + 4])
        if crc32c_masked(view[offset + 8 : stop], head) != crc:
            raise Corrupt("record checksum differs", what="segment", where=where, offset=offset, lsn=lsn)
        if version != version_known or flags or kind not in kinds:
            raise Corrupt("record version, kind or flag unknown", what="segment", where=where, offset=offset, lsn=lsn, record_kind=kind)
        if tag != owner:
            raise Corrupt("record belongs to another partition", kind=FORGED, what="segment", where=where, offset=offset, lsn=lsn)
        if found != lsn:
            raise Corrupt("record out of order", kind=FORGED, what="segment", where=where, offset=offset, expected=lsn, found=found)
        if at <= stamp:
            raise Corrupt("record's stamp does not rise", kind=FORGED, what="segment", where=where, offset=offset, lsn=lsn)
        yield (lsn, at, effective, kind, effects, offset, stop)
        offset, lsn, stamp = stop, lsn + 1, at


def check_records(raw: bytes, *, partition: str, first: int, last: int, where: str, after_stamp: int = 0) -> RecordsWalked:
    """Check all records of one segment. Raises Corrupt."""
    content, first_stamp, lsn, stamp, kind, begin = 0, 0, first - 1, 0, 0, 0
    low, high, schema, opening = b"", b"", b"", b""
    keys: set[bytes] = set()
    for lsn, stamp, _, kind, effects, begin, end in walk(raw, partition=partition, first=first, after_stamp=after_stamp, where=where):
        if not first_stamp:
            first_stamp = stamp
        if kind < 16:
            content += 1
            if kind in _WITH_EFFECTS:
                if effects == 1 and end - begin >= _KEY:
                    keys.add(raw[begin + _KEY : begin + _KEY + (raw[begin + _KEY_LENGTH] | raw[begin + _KEY_LENGTH + 1] << 8)])
                else:
                    keys.update(_keys(raw, begin + HEADER_SIZE, end, effects))
            if kind in _WITH_EFFECTS and end - begin >= _KEY + PLACE_SIZE:
                place = raw[begin + _KEY : begin + _KEY + PLACE_SIZE]
                if not low or place < low:
                    low = place
                if place > high:
                    high = place
        elif kind == _SEAL and lsn != last:
            raise Corrupt("a seal lies inside the segment", kind=FORGED, what="segment", where=where, lsn=lsn)
        if kind == _SCHEMA:
            schema = raw[begin + HEADER_SIZE : end]
            if lsn == first:
                opening = schema
    if lsn != last:
        raise Corrupt("segment ends at another LSN", kind=FORGED, what="segment", where=where, expected=last, found=lsn)
    if kind != _SEAL:
        raise Corrupt("the segment's last record is no seal", kind=FORGED, what="segment", where=where, lsn=last)
    seal = seal_of(raw, begin, first=first, where=where)
    return RecordsWalked(first, last, first_stamp, stamp, content, seal, low, high, schema, frozenset(keys), opening)


def _keys(raw: bytes, at: int, end: int, effects: int) -> Iterator[bytes]:
    """Keys of a record's effects, which begin at `at`. A payload that does not hold them is for whoever replays it to find."""
    for _ in range(effects):
        if end - at < EFFECT.size:
            return
        op, key, body = EFFECT.unpack_from(raw, at)
        at += EFFECT.size
        yield raw[at : at + key]
        at += key + body
        if op & records.OLD_ITEM:
            at = records.behind_old(raw, at, end)


def seal_of(raw: bytes, begin: int, *, first: int, where: str) -> Seal:
    """The SEAL whose record begins at `begin`. Raises Corrupt unless it seals the segment that begins with `first`."""
    seal = records.decode_seal(records.decode(raw, begin))
    if seal.first != first:
        raise Corrupt("the seal names another first record", kind=FORGED, what="segment", where=where, expected=first, found=seal.first)
    return seal


def check_against(span: RecordsWalked, manifest: SegmentManifest, *, where: str) -> None:
    """Raises Corrupt (what: manifest) unless the manifest says of the records what they are: range, stamps, count, seal, keys in range, schema."""
    said = (manifest.first, manifest.last, manifest.first_stamp, manifest.last_stamp, manifest.content)
    if said != span[:5]:
        raise Corrupt("manifest and records differ", kind=FORGED, what="manifest", where=where, expected=list(span[:5]), found=list(said))
    if (manifest.closed, manifest.reason, manifest.tag) != (span.seal.closed, span.seal.reason, span.seal.tag):
        raise Corrupt("manifest and seal differ", kind=FORGED, what="manifest", where=where, lsn=manifest.last)
    lo, hi = bytes.fromhex(manifest.lo), bytes.fromhex(manifest.hi)
    if span.low and (span.low < lo or (hi and span.high >= hi)):
        raise Corrupt("manifest names another range than the records' keys", kind=FORGED, what="manifest", where=where, lsn=manifest.first)
    if span.schema:
        _check_schema(span.schema, manifest, where=where)
    if span.opening is not None and manifest.first == (1 if manifest.born is None else manifest.born.lsn + 1):
        _check_born(span.opening, manifest, where=where)


def check_keys(keys: Collection[bytes], manifest: SegmentManifest, *, where: str) -> None:
    """Raises Corrupt (what: manifest) unless the manifest's key filter, if it has one, is that of the records' keys. The chain does not cover it: one that lacks a key
    would hide that key's versions from a history, and nothing else would tell."""
    if manifest.keys is not None and manifest.keys != key_filter(keys):
        raise Corrupt("manifest's key filter is not that of the records", kind=FORGED, what="manifest", where=where, lsn=manifest.first)


def _check_schema(payload: bytes, manifest: SegmentManifest, *, where: str) -> None:
    """Raises Corrupt unless a SCHEMA record says of its partition what the manifest says: ids, name, range, key and attributes."""
    try:
        record, said = json.loads(payload), json.loads(manifest.schema)
    except (ValueError, RecursionError) as error:
        raise Corrupt("the schema is no JSON", what="manifest", where=where, lsn=manifest.first) from error
    if not isinstance(record, dict) or not isinstance(said, dict):
        raise Corrupt("the schema is no JSON object", what="manifest", where=where, lsn=manifest.first)
    facts = {
        "table_id": manifest.table,
        "partition_id": manifest.partition,
        "name": manifest.table_name,
        "lo": manifest.lo,
        "hi": manifest.hi,
        "key": said.get("key"),
        "attributes": said.get("attributes"),
    }
    for name, value in facts.items():
        if name in record and record[name] != value:
            raise Corrupt("manifest and SCHEMA record differ", kind=FORGED, what="manifest", where=where, lsn=manifest.first, field=name)


def _check_born(opening: bytes, manifest: SegmentManifest, *, where: str) -> None:
    """Raises Corrupt unless the record with which a partition's log begins says of how that began what the manifest says."""
    try:
        record = json.loads(opening) if opening else {}
    except (ValueError, RecursionError) as error:
        raise Corrupt("the schema is no JSON", what="manifest", where=where, lsn=manifest.first) from error
    said = record.get(BORN) if isinstance(record, dict) else None
    if said != (None if manifest.born is None else born_facts(manifest.born)):
        raise Corrupt("manifest and SCHEMA record differ", kind=FORGED, what="manifest", where=where, lsn=manifest.first, field=BORN)
