"""Bytes of the write-ahead log (docs/formats/wal.md): file layout, batch header, frame header, mark. Pure codec.

A file is MARKS (two copies of one mark, in the first 4 KiB) followed by batches, each at a multiple of `ALIGN`. A batch is a header and frames; a frame
is a header and a body, padded to 8 bytes. The body of an Append frame is the concatenation of its records' bytes, unchanged.

Every frame header carries its partition's whole control state *after* the frame and a running number `nth`, so that a lost frame is noticed by the next one
and its effect on the control state is known again. Every batch header carries what belongs to the node (boot count, clock reservation).

What is intact and not understood (a version, a type, a flag or a word that this code does not know) is no damage: decoding raises Unsafe, which names it,
and the reader stops. What is not intact decodes to None.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

from scrubjay.base.checksum import crc32c_masked, crc32c_raw
from scrubjay.base.errors import Unsafe
from scrubjay.storage.log.record import HEADER_SIZE as RECORD_HEADER_SIZE

VERSION = 3
ALIGN = 512
"""Bytes. Batches start at multiples of it, so a write never touches a sector that holds synced bytes."""
DATA_START = 4096
MARK_SLOTS = (0, 2048)

BATCH_MAGIC = b"SJWB"
MARK_MAGIC = b"SJWM"
FRAME_MAGIC = 0x4653

BATCH = struct.Struct("<4sHHIIQQQIIQQQQQ")
"""magic, version, flags, header crc, body crc, file id, sequence, offset, length, frames, previous file id, previous end, partitions, boot count, reservation."""
BATCH_SIZE = BATCH.size
FRAME = struct.Struct("<HBBIII16sQQQQQQQQIBBH")
"""magic, type, flags, header crc, body length, body crc, partition, nth, ballot, a, b, promised, accepted, resigned, last, member, tree, vote, reserved."""
FRAME_SIZE = FRAME.size
MARK = struct.Struct("<4sIQQ")
"""magic, crc, following, size; then a batch header."""
MARK_SIZE = MARK.size + BATCH_SIZE
_U64 = struct.Struct("<Q")
_U32 = struct.Struct("<I")
_FRAME_MAGIC = FRAME_MAGIC.to_bytes(2, "little")
NODE = bytes(16)
"""In place of a partition id: the frame belongs to the node."""

assert BATCH_SIZE == 88
assert FRAME_SIZE == 104


class Type(IntEnum):
    BOOT = 1
    RESERVE = 2
    CREATE = 3
    PROMISE = 4
    APPEND = 5
    ADOPT = 6
    RESIGN = 7
    INSTALL = 8
    TREE = 9
    VOTE = 10
    DROP = 11
    TRIM = 12
    STATE = 13


STAGED = 1
PLACE = 2
"""Append only: the same records at a new place (copied forward, or a peer's copy in place of a damaged one). Neither the log nor what is staged grows."""
TREES = ("ok", "opening", "suspect", "healing", "base")
"""The durable word for a replica's tree, by its number in a frame. Independent of the vote."""
VOTES = ("votes", "learner", "amnesiac")
"""The durable word for a replica's log, by its number in a frame. "amnesiac" is for good: it ends with the member (Create, Drop)."""

_FLAGS = STAGED | PLACE
_TYPES: dict[int, Type] = {int(kind): kind for kind in Type}


class BatchHeader(NamedTuple):
    """file, offset: where it was meant to lie. previous_file, previous_end: the synced end of the batch before it. partitions: 64-bit set of `bit_of`."""

    body_crc: int
    file: int
    sequence: int
    offset: int
    length: int
    frames: int
    previous_file: int
    previous_end: int
    partitions: int
    boot_count: int
    reservation: int

    @property
    def end(self) -> int:
        """First offset behind the batch, padding included."""
        return align(self.offset + BATCH_SIZE + self.length)


class FrameHeader(NamedTuple):
    """a, b: by type (docs/formats/wal.md). promised..vote: the partition's control state after this frame; tree, vote: index into TREES, VOTES."""

    type: Type
    flags: int
    body_length: int
    body_crc: int
    partition: bytes
    nth: int
    ballot: int
    a: int
    b: int
    promised: int
    accepted: int
    resigned: int
    last: int
    member: int
    tree: int
    vote: int

    @property
    def size(self) -> int:
        """Bytes of the frame with its padding."""
        return FRAME_SIZE + pad8(self.body_length)


def align(offset: int) -> int:
    """The next multiple of ALIGN."""
    return (offset + ALIGN - 1) // ALIGN * ALIGN


def pad8(length: int) -> int:
    return (length + 7) & ~7


def bit_of(partition: bytes) -> int:
    """The bit of a partition in `BatchHeader.partitions`."""
    return 1 << ((partition[0] ^ partition[15]) & 63)


def encode_batch_header(header: BatchHeader) -> bytes:
    head = BATCH.pack(BATCH_MAGIC, VERSION, 0, 0, *header)
    crc = crc32c_masked(head[12:], crc32c_raw(head[:8]))
    return head[:8] + crc.to_bytes(4, "little") + head[12:]


def decode_batch_header(data: bytes | memoryview, at: int = 0, *, file: int | None = None, offset: int | None = None) -> BatchHeader | None:
    """None unless magic and checksum are right, and file id and offset, where they are given, are these: else it is of an earlier life of the file.

    Raises Unsafe for an intact header of another version or with unknown flags.
    """
    if len(data) - at < BATCH_SIZE:
        return None
    fields = BATCH.unpack_from(data, at)
    if fields[0] != BATCH_MAGIC or (file is not None and fields[5] != file) or (offset is not None and fields[7] != offset):
        return None
    head = data[at : at + BATCH_SIZE]
    if crc32c_masked(head[12:], crc32c_raw(head[:8])) != fields[3]:
        return None
    if fields[1] != VERSION:
        raise Unsafe("the log was written in another format version", what="wal", file=fields[5], found=fields[1], expected=VERSION)
    if fields[2]:
        raise Unsafe("the log holds a batch with unknown flags", what="wal", file=fields[5], offset=fields[7], flags=fields[2])
    return BatchHeader._make(fields[4:])


def pack_frame(header: FrameHeader, body: bytes) -> bytes:
    """A frame header whose checksum is still zero. body_length and body_crc of `header` are ignored and computed."""
    return FRAME.pack(FRAME_MAGIC, header.type, header.flags, 0, len(body), crc32c_masked(body), *header[4:], 0)


def seal_frame(packed: bytes, sequence: int) -> bytes:
    """Put the checksum into a packed frame header. It is bound to the batch's sequence number, so a frame of an earlier life of the file fails it."""
    crc = crc32c_masked(packed[8:], crc32c_raw(packed[:4], crc32c_raw(_U64.pack(sequence))))
    return packed[:4] + crc.to_bytes(4, "little") + packed[8:]


def decode_frame_header(data: bytes | memoryview, at: int, sequence: int) -> FrameHeader | None:
    """None unless magic and header checksum (for that batch) are right. The body is not looked at.

    Raises Unsafe for an intact header with a type, a flag or a word that is unknown here.
    """
    if len(data) - at < FRAME_SIZE:
        return None
    head = data[at : at + FRAME_SIZE]
    if (
        head[:2] != _FRAME_MAGIC
        or crc32c_masked(head[8:], crc32c_raw(head[:4], crc32c_raw(_U64.pack(sequence)))) != _U32.unpack_from(head, 4)[0]
    ):
        return None
    return header_of(FRAME.unpack(head), sequence)


def header_of(fields: tuple[Any, ...], sequence: int) -> FrameHeader | None:
    """The header with these fields (`FRAME`), whose bytes are known to be intact. None, and Unsafe, as `decode_frame_header`."""
    header = FrameHeader(_TYPES.get(fields[1], Type.STATE), fields[2], *fields[4:-1])
    kind = header.type
    known = fields[1] in _TYPES and (header.partition == NODE) == (kind is Type.BOOT or kind is Type.RESERVE)
    flagged = header.flags & ~_FLAGS or (header.flags and kind is not Type.APPEND)
    if not known or flagged or header.tree >= len(TREES) or header.vote >= len(VOTES) or fields[-1]:
        raise Unsafe(
            "the log holds a frame that this version does not know",
            what="wal",
            type=fields[1],
            flags=header.flags,
            tree=header.tree,
            vote=header.vote,
            reserved=fields[-1],
            batch=sequence,
        )
    if kind is Type.APPEND and header.b * RECORD_HEADER_SIZE > header.body_length:
        return None  # more records than the body can hold: never loop over such a count
    return header


class SyncMark(NamedTuple):
    """What a mark slot says. header: this batch was synced; None in a blank. following: id of the file that comes next, which is durable under its name; 0: not
    settled. size: bytes of the file, as it was made."""

    header: BatchHeader | None
    following: int
    size: int


def encode_mark(header: bytes, *, following: int, size: int) -> bytes:
    """The mark "this batch was synced": a second copy of its header, written only after the sync. header: encoded batch header, or zeros for a blank."""
    rest = MARK.pack(MARK_MAGIC, 0, following, size)[8:] + header
    return MARK_MAGIC + crc32c_masked(rest).to_bytes(4, "little") + rest


def blank_head(size: int) -> bytes:
    """What a file of `size` bytes is made with: a blank in both slots. So a slot that holds nothing is no slot of ours."""
    blank = encode_mark(bytes(BATCH_SIZE), following=0, size=size)
    return b"".join([blank.ljust(end - start, b"\0") for start, end in zip(MARK_SLOTS, (*MARK_SLOTS[1:], DATA_START), strict=True)])


def decode_mark(data: bytes, at: int) -> SyncMark | None:
    """What a slot says, or None if it cannot be read. Raises Unsafe, as `decode_batch_header`."""
    if len(data) - at < MARK_SIZE:
        return None
    magic, crc, following, size = MARK.unpack_from(data, at)
    if magic != MARK_MAGIC or crc32c_masked(data[at + 8 : at + MARK_SIZE]) != crc:
        return None
    header = data[at + MARK.size : at + MARK_SIZE]
    if not any(header):
        return SyncMark(None, following, size)
    decoded = decode_batch_header(header)
    return SyncMark(decoded, following, size) if decoded is not None else None
