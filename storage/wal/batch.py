"""Frames that wait for their batch, and a batch on its way to the disk."""

from __future__ import annotations

from collections.abc import Sequence

from scrubjay.base.checksum import crc32c_masked
from scrubjay.storage.log.record import Record
from scrubjay.storage.wal.format import BATCH_SIZE, FRAME_SIZE, BatchHeader, align, encode_batch_header, pad8, seal_frame
from scrubjay.storage.wal.state import Body, WalFile


class Queued:
    """A frame waiting for its batch."""

    __slots__ = ("bit", "body", "data", "head")

    def __init__(self, head: bytes, data: bytes, body: Body | None, bit: int) -> None:
        self.head = head
        self.data = data
        self.body = body
        self.bit = bit

    @property
    def size(self) -> int:
        return FRAME_SIZE + pad8(len(self.data))


class Batch:
    """A batch on its way to the disk. bodies: with their offsets in the file."""

    __slots__ = ("bits", "bodies", "file", "length", "offset", "parts")

    def __init__(self, file: WalFile) -> None:
        self.file = file
        self.offset = file.end
        self.parts: list[Queued] = []
        self.length = 0
        self.bits = 0
        self.bodies: list[Body] = []

    def room(self, file_size: int) -> int:
        return file_size - self.offset - BATCH_SIZE - self.length

    @property
    def end(self) -> int:
        """Offset behind it, aligned."""
        return align(self.offset + BATCH_SIZE + self.length)

    def add(self, item: Queued) -> None:
        if item.body is not None:
            item.body.place(self.file, self.offset + BATCH_SIZE + self.length + FRAME_SIZE)
            self.bodies.append(item.body)
        self.parts.append(item)
        self.length += item.size
        self.bits |= item.bit

    def encode(
        self, *, sequence: int, previous_file: int, previous_end: int, boot_count: int, reservation: int
    ) -> tuple[bytes, bytes, bytes]:
        """(header, frames, zeros up to the alignment)."""
        pieces: list[bytes] = []
        for item in self.parts:
            pieces += (seal_frame(item.head, sequence), item.data, bytes(-len(item.data) & 7))
        body = b"".join(pieces)
        header = encode_batch_header(
            BatchHeader(
                crc32c_masked(body),
                self.file.id,
                sequence,
                self.offset,
                len(body),
                len(self.parts),
                previous_file,
                previous_end,
                self.bits,
                boot_count,
                reservation,
            )
        )
        return header, body, bytes(align(BATCH_SIZE + len(body)) - BATCH_SIZE - len(body))


def split(records: Sequence[Record], limit: int) -> list[tuple[tuple[Record, ...], bytes]]:
    """Records in runs of at most `limit` bytes (a single record may be longer), each with its bytes."""
    data = b"".join([one.data for one in records])
    if len(data) <= limit:
        return [(tuple(records), data)]
    runs: list[tuple[tuple[Record, ...], bytes]] = []
    start = size = 0
    for index, record in enumerate(records):
        if size and size + len(record.data) > limit:
            runs.append((tuple(records[start:index]), b"".join([one.data for one in records[start:index]])))
            start, size = index, 0
        size += len(record.data)
    runs.append((tuple(records[start:]), b"".join([one.data for one in records[start:]])))
    return runs
