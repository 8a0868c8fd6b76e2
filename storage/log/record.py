"""Log records: the one byte form that goes to the wire, the WAL and the archive alike (docs/formats/record.md).

A record's identity is (LSN, stamp, kind, payload), fixed when it is first proposed. Ballots are no part of it. The bytes made by `encode` are the
"inner bytes" of every WAL frame and are concatenated, unchanged, into segments.

Layout, little-endian, 48-byte header then payload:

    0  u32  length      whole record, header included
    4  u32  crc         masked CRC-32C over bytes [0,4) and [8,length)
    8  u8   version     1; in every version the header's fields lie where they lie here
    9  u8   kind        see Kind
    10 u16  flags       0; an unknown flag stops the reader
    12 u32  count       number of effects in the payload (0 for kinds without)
    16 8B   owner       first 8 bytes of the partition id: a record in the wrong log is refused
    24 u64  lsn
    32 u64  stamp
    40 u64  effective   what a restore cut goes by; equals stamp except for COMMIT
    48 ...  payload

Effects payload (of the kinds in `carries_effects`): `count` times  u8 op (1 PUT, 2 DELETE) | u16 key length | u32 body length | key | body, and behind
it, if op has the bit OLD_ITEM, u32 length | old item. key: storage key. body: canonical item for PUT, canonical map of the key attributes alone for DELETE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, Stamp

VERSION = 1
HEADER = struct.Struct("<IIBBHI8sQQQ")
HEADER_SIZE = HEADER.size
EFFECT = struct.Struct("<BHI")
_U32 = struct.Struct("<I")
OLD_ITEM = 0x40
"""Bit of an effect's op: the item that was there before stands behind the body."""
EFFECT_SIZE_MAX = EFFECT.size + _U32.size
"""Of an effect with its old item, but for key, body and that item."""
RECORD_SIZE_MAX = 16 << 20
"""Bytes. Larger lengths are damage, refused before any allocation."""

assert HEADER_SIZE == 48


class RecordKind(IntEnum):
    """Record kinds. 1-15 are content, 16-31 bookkeeping. An unknown kind stops the reader.

    UNKNOWN is no number of any record: it is what a record of a kind, version or flag that this version does not know is carried as (`decode`, opaque).
    """

    UNKNOWN = 0
    DATA = 1
    SCHEMA = 2
    SPLIT = 3
    CONFIG = 4
    PREPARE = 5
    COMMIT = 6
    ABORT = 7
    NOOP = 16
    SEAL = 17
    ARCHIVED = 18

    @property
    def is_content(self) -> bool:
        """Content opens the seal timer and moves the restorable window; bookkeeping does neither."""
        return self < 16


WITH_EFFECTS = frozenset({RecordKind.DATA, RecordKind.COMMIT})
"""Kinds whose payload is effects that change the state where the record stands."""


def carries_effects(kind: int) -> bool:
    """Whether records of this kind change items: their payload is effects."""
    return kind in WITH_EFFECTS


class Op(IntEnum):
    """What an effect does, and in the upper bits of the byte how it came about. EXPIRE: a DELETE that nobody asked for: the item's time to live had passed."""

    PUT = 1
    DELETE = 2
    EXPIRE = 2 | 0x80

    @property
    def is_delete(self) -> bool:
        return self is not Op.PUT


class Effect(NamedTuple):
    """One resolved effect. body: canonical item (PUT) or canonical key attributes (DELETE, EXPIRE). old: canonical bytes of the item that was there before, empty: there was
    none; None: the record does not say (nobody asked for the old items of this table then)."""

    op: Op
    key: bytes
    body: bytes
    old: bytes | None = None


class Record(NamedTuple):
    """A decoded header with the whole record's bytes beside it. `data` is exactly what was encoded."""

    lsn: Lsn
    stamp: Stamp
    effective: Stamp
    kind: RecordKind
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls on a record
    data: bytes

    @property
    def payload(self) -> bytes:
        return self.data[HEADER_SIZE:]


KINDS: dict[int, RecordKind] = {int(kind): kind for kind in RecordKind if kind is not RecordKind.UNKNOWN}
"""The kinds that this version can name, by number."""
_OPS: dict[int, Op] = {int(op): op for op in Op}


def owner_tag(partition_raw: bytes) -> bytes:
    """The 8 bytes by which a record names its partition. partition_raw: 16 raw id bytes."""
    return partition_raw[:8]


def encode(*, owner: bytes, lsn: int, stamp: int, kind: RecordKind, payload: bytes, count: int = 0, effective: int | None = None) -> Record:
    """Build a record. owner: 8 bytes from `owner_tag`."""
    length = HEADER_SIZE + len(payload)
    assert length <= RECORD_SIZE_MAX, length
    eff = stamp if effective is None else effective
    head = HEADER.pack(length, 0, VERSION, kind, 0, count, owner, lsn, stamp, eff)
    crc = crc32c_masked(payload, crc32c_raw(head[8:], crc32c_raw(head[:4])))
    data = head[:4] + _U32.pack(crc) + head[8:] + payload
    return Record(Lsn(lsn), Stamp(stamp), Stamp(eff), kind, count, data)


def decode(buffer: bytes | memoryview, offset: int = 0, *, owner: bytes | None = None, opaque: bool = False) -> Record:
    """Read and check the record at `offset`. owner: 8 bytes to insist on. opaque: what a later version wrote is no fault of the bytes, it comes out as
    `Kind.UNKNOWN`, for those who carry records and do not read them: a log votes with it, is kept and repaired with it, and its replica stops before it.

    Raises Corrupt (short, bad checksum, wrong owner; unless opaque an unknown version, kind or flag).
    """
    if len(buffer) - offset < HEADER_SIZE:
        raise Corrupt("record cut short", what="record", where=offset, found=len(buffer) - offset)
    length, crc, version, kind, flags, count, tag, lsn, stamp, effective = HEADER.unpack_from(buffer, offset)
    if length < HEADER_SIZE or length > RECORD_SIZE_MAX or len(buffer) - offset < length:
        raise Corrupt("record length out of bounds", what="record", where=offset, found=length)
    data = bytes(buffer[offset : offset + length])
    if crc32c_masked(memoryview(data)[8:], crc32c_raw(data[:4])) != crc:
        raise Corrupt("record checksum differs", what="record", where=offset, lsn=lsn)
    known = KINDS.get(kind, RecordKind.UNKNOWN) if version == VERSION and flags == 0 else RecordKind.UNKNOWN
    if known is RecordKind.UNKNOWN and not opaque:
        raise Corrupt("record version, kind or flag unknown", what="record", where=offset, version=version, record_kind=kind, flags=flags)
    if owner is not None and tag != owner:
        raise Corrupt("record belongs to another partition", what="record", where=offset, lsn=lsn, expected=owner.hex(), found=tag.hex())
    return Record(Lsn(lsn), Stamp(stamp), Stamp(effective), known, count, data)


def decode_all(buffer: bytes | memoryview, *, owner: bytes | None = None, opaque: bool = False) -> Iterator[Record]:
    """Every record of a concatenation, in order. opaque: as in `decode`. Raises Corrupt at the first that fails."""
    offset, end = 0, len(buffer)
    while offset < end:
        record = decode(buffer, offset, owner=owner, opaque=opaque)
        yield record
        offset += len(record.data)


def named(record: Record) -> str:
    """What a record says that it is, in words: for one that is carried and not understood."""
    _, _, version, kind, flags, *_ = HEADER.unpack_from(record.data)
    known = KINDS.get(kind)
    word = f"kind {kind if known is None else known.name}"
    return word if version == VERSION and flags == 0 else f"{word}, version {version}, flags {flags:#x}"


def encode_effects(effects: Sequence[Effect]) -> bytes:
    """Payload of a record of a kind with effects."""
    parts: list[bytes] = []
    for op, key, body, old in effects:
        if old is None:
            parts += (EFFECT.pack(op, len(key), len(body)), key, body)
        else:
            parts += (EFFECT.pack(op | OLD_ITEM, len(key), len(body)), key, body, _U32.pack(len(old)), old)
    return b"".join(parts)


def behind_old(data: bytes, at: int, end: int) -> int:
    """Where an effect ends whose old item begins, with its length, at `at`; beyond `end` if it does not fit."""
    return end + 1 if end - at < _U32.size else at + _U32.size + int(_U32.unpack_from(data, at)[0])


def effects(record: Record) -> list[Effect]:
    """The effects of a record of a kind that has some, in order. Raises Corrupt if the payload does not hold exactly `count`."""
    return effects_from(record, HEADER_SIZE)


def effects_from(record: Record, offset: int) -> list[Effect]:
    """As `effects`, of a payload in which they begin at `offset` of the record."""
    data, end = record.data, len(record.data)
    found: list[Effect] = []
    for _ in range(record.count):
        if end - offset < EFFECT.size:
            raise Corrupt("effect cut short", what="record", lsn=record.lsn)
        op, key_length, body_length = EFFECT.unpack_from(data, offset)
        offset += EFFECT.size
        middle, stop = offset + key_length, offset + key_length + body_length
        known = _OPS.get(op & ~OLD_ITEM)
        last = stop if not op & OLD_ITEM else behind_old(data, stop, end)
        if last > end or known is None:
            raise Corrupt("effect out of bounds or unknown", what="record", lsn=record.lsn, op=op)
        old = None if last == stop else data[stop + _U32.size : last]
        found.append(Effect(known, data[offset:middle], data[middle:stop], old))
        offset = last
    if offset != end:
        raise Corrupt("bytes behind the last effect", what="record", lsn=record.lsn)
    return found


@dataclass(frozen=True, slots=True)
class Seal:
    """Payload of SEAL: the segment [first, this record's LSN] ends here.

    closed: closed timestamp published with it (0: none). reason: why it was cut. tag: 16 bytes that name the scrub that asked, zeros otherwise.
    """

    first: Lsn
    closed: Stamp
    reason: int
    tag: bytes

    AGE: ClassVar[int] = 0
    SIZE: ClassVar[int] = 1
    SCRUB: ClassVar[int] = 2
    STOP: ClassVar[int] = 3
    SCHEMA: ClassVar[int] = 4
    RESTORE: ClassVar[int] = 5
    DROP: ClassVar[int] = 6
    SPLIT: ClassVar[int] = 7
    REASONS: ClassVar[range] = range(7)
    """Those for which a SEAL is asked for. SPLIT follows a record of that kind, and nothing else does."""
    LAST: ClassVar[frozenset[int]] = frozenset({DROP, SPLIT})
    """Behind these the log takes nothing more but bookkeeping."""


SEAL_PAYLOAD = struct.Struct("<QQHHI16s")
SEAL_TAG_BYTES = 16


def encode_seal(seal: Seal) -> bytes:
    return SEAL_PAYLOAD.pack(seal.first, seal.closed, seal.reason, 0, 0, seal.tag)


def decode_seal(record: Record) -> Seal:
    """Raises Corrupt if the payload is malformed."""
    if len(record.data) != HEADER_SIZE + SEAL_PAYLOAD.size:
        raise Corrupt("seal payload has the wrong size", what="record", lsn=record.lsn)
    first, closed, reason, zero, zero2, tag = SEAL_PAYLOAD.unpack_from(record.data, HEADER_SIZE)
    if zero or zero2 or not 1 <= first <= record.lsn:
        raise Corrupt("seal payload malformed", what="record", lsn=record.lsn)
    return Seal(Lsn(first), Stamp(closed), reason, tag)


class Archived(NamedTuple):
    """Payload of ARCHIVED: the segment [first, last] has its manifest in the archive; `members` (node numbers, rising) attested it."""

    first: Lsn
    last: Lsn
    raw_sha256: bytes
    members: tuple[int, ...]


_ARCHIVED = struct.Struct("<QQ32sHHI")


def encode_archived(archived: Archived) -> bytes:
    head = _ARCHIVED.pack(archived.first, archived.last, archived.raw_sha256, len(archived.members), 0, 0)
    return head + struct.pack(f"<{len(archived.members)}H", *archived.members)


def decode_archived(record: Record) -> Archived:
    """Raises Corrupt if the payload is malformed."""
    payload = record.payload
    if len(payload) < _ARCHIVED.size:
        raise Corrupt("archived payload cut short", what="record", lsn=record.lsn)
    first, last, sha, members, zero, zero2 = _ARCHIVED.unpack_from(payload)
    if zero or zero2 or len(payload) != _ARCHIVED.size + 2 * members or not 1 <= first <= last:
        raise Corrupt("archived payload malformed", what="record", lsn=record.lsn)
    return Archived(Lsn(first), Lsn(last), sha, struct.unpack_from(f"<{members}H", payload, _ARCHIVED.size))
