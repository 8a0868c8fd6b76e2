"""Whole objects against what their manifests say: bytes, records, rows. Loops over records and rows: for worker processes, or a bounded few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.fault import Fault, fault_of
from scrubjay.archiver.format.layout import build
from scrubjay.archiver.format.manifest import SegmentManifest
from scrubjay.archiver.format.records import check_against, check_keys, check_records
from scrubjay.archiver.read.objects import fetch_segment, not_its_file
from scrubjay.base.checksum import row_hash, sha256_hex, sha256_of
from scrubjay.base.env import ObjectStore
from scrubjay.base.errors import FORGED, Corrupt, Missing, NoKey
from scrubjay.storage.btree.rowfile import read_rowfile
from scrubjay.storage.log.digest import MASK, Total


class SegmentToCheck(NamedTuple):
    """A segment to check. after_stamp: stamp of the last record before it, 0 if unknown."""

    manifest: SegmentManifest
    after_stamp: int


async def check_segments(store: ObjectStore, items: Sequence[SegmentToCheck], *, deep: bool) -> list[Fault]:
    """Every object against its manifest; deep: every record too. Raises Unavailable."""
    faults: list[Fault] = []
    for manifest, after_stamp in items:
        where = build(manifest.key())
        try:
            raw = await fetch_segment(store, manifest)
            if deep:
                check_deeply(manifest, raw, after_stamp=after_stamp)
        except (Missing, Corrupt, NoKey) as error:
            faults.append(fault_of(error, where=where, lsn=manifest.first))
    return faults


def check_deeply(manifest: SegmentManifest, raw: bytes, *, after_stamp: int = 0) -> None:
    """Every record of a segment, or of every part of a pack, and that the manifest says of them what they are. raw: the bytes that the manifest names. Raises Corrupt."""
    where, told = build(manifest.key()), build(manifest.key().twin())
    keys: set[bytes] = set()
    for part, piece in manifest.pieces(raw):
        if part is not manifest and sha256_hex(piece) != part.raw.sha256:
            raise Corrupt(
                "a part's records are not those that its manifest names", kind=FORGED, what="segment", where=where, lsn=part.first
            )
        span = check_records(piece, partition=part.partition, first=part.first, last=part.last, where=where, after_stamp=after_stamp)
        check_against(span, part, where=told)
        after_stamp = part.last_stamp
        keys |= span.keys
    check_keys(keys, manifest, where=told)


class _Parts:
    """The parts of a base as one file. Reads come in rising order, so the part that holds the last one is found at once."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts
        self.size = sum(len(part) for part in parts)

    def pread(self, offset: int, length: int) -> bytes:
        found, start = [], 0
        for part in self._parts:
            low, high = max(offset - start, 0), offset + length - start
            if high > 0 and low < len(part):
                found.append(part[low : min(high, len(part))])
            start += len(part)
        return b"".join(found)


async def check_base(store: ObjectStore, base: BaseManifest, *, deep: bool) -> list[Fault]:
    """Every part against the manifest; deep: the rows against its digest too. Holds the base's stored bytes in memory. Raises Unavailable."""
    faults: list[Fault] = []
    parts: list[bytes] = []
    for number, sums in enumerate(base.parts):
        where = build(base.key(number))
        try:
            data = await store.get(where)
            sums.check(data, what="base", where=where)
            parts.append(data)
        except (Missing, Corrupt, NoKey) as error:
            faults.append(fault_of(error, where=where, lsn=base.lsn))
    if faults:
        return faults
    where = build(base.key())
    if sha256_of(*parts).hexdigest() != base.file.sha256:
        return [fault_of(not_its_file(base), lsn=base.lsn)]
    if not deep:
        return []
    try:
        why = _why_not(_Parts(parts), base)
    except Corrupt as error:
        why = f"its rows do not check: {error}"  # though every sum fits
    return [Fault(FORGED, where, base.lsn, why)] if why else []


def _why_not(parts: _Parts, base: BaseManifest) -> str:
    """Why the rows are not what the manifest says of them; empty if they are. Raises Corrupt."""
    lo, hi = bytes.fromhex(base.lo), bytes.fromhex(base.hi)
    sum_, rows = 0, 0
    for row in read_rowfile(parts.pread, parts.size):
        if row.key < lo or (hi and row.key >= hi):
            return "the base holds a row outside the range that it names"
        if row.lsn > base.lsn or row.stamp > base.stamp:
            return "the base holds a row of a later record than the one it is the state after"
        sum_ += row_hash(row.key, row.item)
        rows += 1
    return "" if Total(sum_ & MASK, rows) == base.total else "the base's rows differ from its digest"
