"""What is kept in memory of a segment's manifest: a row of 181 bytes in one array per partition, where a decoded manifest and its names take some 2,500."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.archiver.facts import Span, Start
from scrubjay.archiver.format.base import BaseManifest
from scrubjay.archiver.format.expired import ExpiredObject
from scrubjay.archiver.format.layout import (
    BaseKey,
    ExpiredKey,
    SegmentKey,
    parse,
)
from scrubjay.archiver.format.manifest import Place, SegmentManifest, place
from scrubjay.storage.log.digest import Total

_IDENT = struct.Struct(">QQI8s")
"""Big-endian, so that the bytes sort as the numbers do."""
_FACTS = struct.Struct("<QQQQQQQQB32s32s24s")
_SIZE = _IDENT.size + _FACTS.size


class SegmentRow(NamedTuple):
    """A manifest's facts. sha16: first 16 hex digits of the raw SHA-256. stored, raw: bytes. members: how many agreed when it was written."""

    first: int
    last: int
    generation: int
    sha16: str
    first_stamp: int
    last_stamp: int
    closed: int
    content: int
    rests: int
    stored: int
    raw: int
    epoch: int
    members: int
    chain_before: bytes
    chain: bytes
    state: bytes

    def span(self) -> Span:
        return Span(
            self.first, self.last, self.first_stamp, self.last_stamp, self.closed, self.content, self.rests, self.epoch, self.chain_before, self.chain,
            self.state,
        )  # fmt: skip

    def key(self, cluster: str, table: str, partition: str) -> SegmentKey:
        """Key of the segment object."""
        return SegmentKey(cluster, table, partition, self.first, self.last, self.generation, self.sha16, False)


def state_of(total: Total) -> bytes:
    """A state digest as 24 bytes."""
    return total.sum.to_bytes(16, "little") + total.rows.to_bytes(8, "little")


def row_of(manifest: SegmentManifest) -> SegmentRow:
    m = manifest
    return SegmentRow(
        m.first, m.last, m.generation, m.raw.sha256[:16], m.first_stamp, m.last_stamp, m.closed, m.content, m.before.rows, m.stored.size, m.raw.size,
        m.epoch, min(len(m.members), 255), m.chain_before, m.chain, state_of(m.total),
    )  # fmt: skip


class SegmentRows:
    """Rows by (first, last, generation, content), rising. Holds SIZE bytes a row and nothing else."""

    SIZE = _SIZE

    def __init__(self) -> None:
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data) // _SIZE

    def __iter__(self) -> Iterator[SegmentRow]:
        for at in range(0, len(self._data), _SIZE):
            yield self._row(at)

    def __getitem__(self, number: int) -> SegmentRow:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._row(number * _SIZE)

    def extend(self, other: SegmentRows) -> None:
        """Take over a copy of all rows; this one must be empty."""
        assert not self._data
        self._data[:] = other._data

    def has(self, key: SegmentKey) -> bool:
        return self._find(_ident(key.first, key.last, key.generation, key.sha16))[1]

    def add(self, row: SegmentRow) -> None:
        """A row that is there already is replaced."""
        ident = _ident(row.first, row.last, row.generation, row.sha16)
        at, found = self._find(ident)
        self._data[at : at + (_SIZE if found else 0)] = ident + _FACTS.pack(*row[4:])

    def discard(self, key: SegmentKey) -> None:
        at, found = self._find(_ident(key.first, key.last, key.generation, key.sha16))
        if found:
            del self._data[at : at + _SIZE]

    def _row(self, at: int) -> SegmentRow:
        first, last, generation, sha = _IDENT.unpack_from(self._data, at)
        return SegmentRow(first, last, generation, sha.hex(), *_FACTS.unpack_from(self._data, at + _IDENT.size))

    def _find(self, ident: bytes) -> tuple[int, bool]:
        """Offset of the row, or where it belongs."""
        data, low, high = self._data, 0, len(self)
        while low < high:
            middle = (low + high) // 2
            at = middle * _SIZE
            if data[at : at + len(ident)] < ident:
                low = middle + 1
            else:
                high = middle
        at = low * _SIZE
        return at, data[at : at + len(ident)] == ident


def _ident(first: int, last: int, generation: int, sha16: str) -> bytes:
    return _IDENT.pack(first, last, generation, bytes.fromhex(sha16))


class BaseEntry(NamedTuple):
    """A base manifest's facts. size: of the row file; rows: state rows; parts: objects beside the manifest; place: whose state it is."""

    lsn: int
    stamp: int
    chain: bytes
    state: bytes
    epoch: int
    generation: int
    sha16: str
    size: int
    rows: int
    parts: int
    place: Place

    def start(self) -> Start:
        return Start(self.lsn, self.stamp, self.chain, self.state, self.epoch)

    def key(self, cluster: str, table: str, partition: str) -> BaseKey:
        """Key of the manifest."""
        return BaseKey(cluster, table, partition, self.lsn, self.generation, self.sha16, None)


def base_entry(m: BaseManifest) -> BaseEntry:
    return BaseEntry(
        m.lsn, m.stamp, m.chain, state_of(m.total), m.epoch, m.generation, m.file.sha256[:16], m.file.size, m.total.rows, len(m.parts), place(m)
    )  # fmt: skip


class Beginning(NamedTuple):
    """What retention took away: records up to `lsn`, and every base below it; whole: and nothing was to stay. base: key of the base manifest on which the
    rest stands. generation: of the object that says so. chain: the value at `lsn`, None if nothing was to stay. epoch: of who said it."""

    lsn: int
    generation: int
    whole: bool
    base: str | None
    keep_from_us: int
    chain: bytes | None
    epoch: int

    def took(self, name: str) -> bool:
        """An object of this partition that goes, or went."""
        key = parse(name)
        if isinstance(key, SegmentKey):
            return key.last <= self.lsn
        if isinstance(key, BaseKey):
            return key.lsn < self.lsn + int(self.whole)
        return isinstance(key, ExpiredKey) and (key.lsn, key.generation) < (self.lsn, self.generation)


def beginning_of(expired: ExpiredObject) -> Beginning:
    return Beginning(expired.lsn, expired.generation, expired.whole, expired.base, expired.keep_from_us, expired.chain, expired.epoch)
