"""What is kept in memory of a segment's manifest: a row of 209 bytes in one array per partition, where a decoded manifest and its names take some 2,500.

A pack has a row for each of its parts, with the facts that the part had as an object of its own: what coverage is asked about does not change when a segment
is packed. Where both are there the one in the pack counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
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
from scrubjay.archiver.format.manifest import PartitionPlace, PartManifest, SegmentManifest, place

_IDENT = struct.Struct(">QQI8s")
"""Big-endian, so that the bytes sort as the numbers do."""
_FACTS = struct.Struct("<QQQQQQQQB32s32s24s")
_NO_PACK = bytes(_IDENT.size)
_SIZE = 2 * _IDENT.size + _FACTS.size


class SegmentRow(NamedTuple):
    """A manifest's facts, of a pack those of one part. sha16: first 16 hex digits of the raw SHA-256. stored, raw: bytes, of the pack's object this part's share.
    members: how many agreed when it was written. pack: range, generation and sha16 of the pack that it is in, None: it is an object of its own."""

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
    pack: tuple[int, int, int, str] | None = None

    def span(self) -> Span:
        return Span(
            self.first, self.last, self.first_stamp, self.last_stamp, self.closed, self.content, self.rests, self.epoch, self.chain_before, self.chain,
            self.state,
        )  # fmt: skip

    def key(self, cluster: str, table: str, partition: str) -> SegmentKey:
        """Key of the object that holds the records."""
        first, last, generation, sha16 = self.pack or self[:4]
        return SegmentKey(cluster, table, partition, first, last, generation, sha16, False)


def rows_of(manifest: SegmentManifest) -> list[SegmentRow]:
    """One row, of a pack one for each part. What an object has of bytes is shared out among them, so that their sum is its size."""
    found, raw, told = [], 0, 0
    for m in manifest.each():
        raw += m.raw.size
        share = manifest.stored.size * raw // manifest.raw.size - told
        told += share
        pack = _place(m.key()) if isinstance(m, PartManifest) else None
        row = SegmentRow(
            m.first, m.last, m.generation, m.raw.sha256[:16], m.first_stamp, m.last_stamp, m.closed, m.content, m.before.rows, share, m.raw.size,
            m.epoch, min(len(m.members), 255), m.chain_before, m.chain, m.total.state, pack,
        )  # fmt: skip
        found.append(row)
    return found


def _place(key: SegmentKey) -> tuple[int, int, int, str]:
    return key.first, key.last, key.generation, key.sha16


def objects_of(rows: Iterable[SegmentRow], cluster: str, table: str, partition: str) -> list[SegmentKey]:
    """Keys of the objects that hold these rows, each once, in their order."""
    return list(dict.fromkeys(row.key(cluster, table, partition) for row in rows))


class SegmentRows:
    """Rows by (first, last, generation, content), rising. Holds SIZE bytes a row and nothing else."""

    SIZE = _SIZE

    def __init__(self) -> None:
        self._data = bytearray()
        self.place: PartitionPlace | None = None
        """What the log's manifests say of the partition: the first that was read."""

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
        self.place = other.place

    def has(self, key: SegmentKey) -> bool:
        """The object is a row, or several."""
        return next(self._of(key), None) is not None

    def packed(self, key: SegmentKey) -> bool:
        """The object is a pack."""
        at = next(self._of(key), None)
        return at is not None and self._row(at).pack is not None

    def add(self, row: SegmentRow) -> None:
        """A row that is there already is replaced."""
        ident = _ident(row.first, row.last, row.generation, row.sha16) + (_ident(*row.pack) if row.pack else _NO_PACK)
        at, found = self._find(ident)
        self._data[at : at + (_SIZE if found else 0)] = ident + _FACTS.pack(*row[4:16])

    def discard(self, key: SegmentKey) -> None:
        """All rows of that object."""
        for at in reversed([*self._of(key)]):
            del self._data[at : at + _SIZE]

    def _of(self, key: SegmentKey) -> Iterator[int]:
        """Offsets of an object's rows, rising."""
        object_ = _ident(*_place(key))
        at, found = self._find(object_ + _NO_PACK)
        if found:
            yield at
            return
        at, _ = self._find(_IDENT.pack(key.first, 0, 0, bytes(8)) + _NO_PACK)
        while at < len(self._data) and _IDENT.unpack_from(self._data, at)[0] <= key.last:
            if self._data[at + _IDENT.size : at + 2 * _IDENT.size] == object_:
                yield at
            at += _SIZE

    def _row(self, at: int) -> SegmentRow:
        first, last, generation, sha = _IDENT.unpack_from(self._data, at)
        low, high, number, pack_sha = _IDENT.unpack_from(self._data, at + _IDENT.size)
        facts = _FACTS.unpack_from(self._data, at + 2 * _IDENT.size)
        return SegmentRow(first, last, generation, sha.hex(), *facts, (low, high, number, pack_sha.hex()) if number else None)  # type: ignore[call-arg]

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
    place: PartitionPlace

    def start(self) -> Start:
        return Start(self.lsn, self.stamp, self.chain, self.state, self.epoch)

    def key(self, cluster: str, table: str, partition: str) -> BaseKey:
        """Key of the manifest."""
        return BaseKey(cluster, table, partition, self.lsn, self.generation, self.sha16, None)


def base_entry(m: BaseManifest) -> BaseEntry:
    return BaseEntry(
        m.lsn, m.stamp, m.chain, m.total.state, m.epoch, m.generation, m.file.sha256[:16], m.file.size, m.total.rows, len(m.parts), place(m)
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
