"""The segment object: the raw bytes of the records [first, last] of one partition, compressed (docs/formats/segment.md).

Header, frames, trailer; little-endian. Every frame has its own lengths and checksum, the trailer names CRC-32C and SHA-256 of the raw bytes. What is
inside the raw bytes is `storage.log.record`'s business: this codec only guarantees that they come back as they went in. A pack (docs/formats/pack.md) is the
same with a directory between header and frames, of which it is guaranteed as well.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import zstandard

from scrubjay.base.checksum import crc32c_masked, crc32c_raw, sha256_of
from scrubjay.base.errors import FORGED, Corrupt
from scrubjay.base.ids import uuid_bytes, uuid_text

MAGIC = b"SJsegmnt"
END_MAGIC = b"SJsegend"
VERSION = 2
PACK_VERSION = 3
ZSTD = 1
HEADER = struct.Struct("<8sHBBI16s16s16sQQQQIIQI8sI")
PLACE = struct.Struct("<II")
"""Of the directory: size and checksum, where a plain segment has eight zero bytes."""
FRAME = struct.Struct("<III")
TRAILER = struct.Struct("<8sIIQ32s4sI")
FRAME_RAW_BYTES = 512 << 10
"""Raw bytes per frame, the last one of a segment less."""
FRAME_RAW_BYTES_MAX = 1 << 20
RAW_BYTES_MAX = 64 << 20
"""A segment is cut at 8 MiB and one record may be 16 MiB; more than this is damage, refused before any allocation."""
DIRECTORY_BYTES_MAX = 8 << 20
LEVEL = 1
_CRC = struct.Struct("<I")

assert HEADER.size == 128
assert TRAILER.size == 64


class SegmentHead(NamedTuple):
    """What a segment says of itself. Stamps are 64-bit hybrid clock values."""

    cluster: str
    table: str
    partition: str
    first: int
    last: int
    first_stamp: int
    last_stamp: int
    records: int
    generation: int


class Segment(NamedTuple):
    """directory: of a pack, what it says of its parts; else empty."""

    head: SegmentHead
    raw: bytes
    raw_sha256: bytes
    directory: bytes = b""


class Top(NamedTuple):
    """What the first 128 bytes say. directory_size, directory_crc: of a pack; else 0."""

    head: SegmentHead
    frames: int
    raw_size: int
    directory_size: int = 0
    directory_crc: int = 0


def encode_segment(head: SegmentHead, raw: bytes, *, directory: bytes = b"", level: int = LEVEL) -> bytes:
    """The object's bytes. Pure; about 13 ms for 8 MiB, most of it outside the GIL. directory: makes it a pack."""
    assert 0 < len(raw) <= RAW_BYTES_MAX
    assert len(directory) <= DIRECTORY_BYTES_MAX
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
    frames: list[bytes] = []
    view = memoryview(raw)
    for start in range(0, len(raw), FRAME_RAW_BYTES):
        piece = view[start : start + FRAME_RAW_BYTES]
        body = compressor.compress(piece)
        lengths = struct.pack("<II", len(body), len(piece))
        frames += (lengths, _CRC.pack(crc32c_masked(body, crc32c_raw(lengths))), body)
    ids = (uuid_bytes(head.cluster), uuid_bytes(head.table), uuid_bytes(head.partition))
    span = (head.first, head.last, head.first_stamp, head.last_stamp)
    version, place = (PACK_VERSION, PLACE.pack(len(directory), crc32c_masked(directory))) if directory else (VERSION, bytes(8))
    top = HEADER.pack(
        MAGIC, version, ZSTD, 0, HEADER.size, *ids, *span, head.records, len(frames) // 3, len(raw), head.generation, place, 0
    )[:-4]
    end = TRAILER.pack(END_MAGIC, len(frames) // 3, crc32c_raw(raw), len(raw), sha256_of(raw).digest(), bytes(4), 0)[:-4]
    return b"".join((top, _CRC.pack(crc32c_masked(top)), directory, *frames, end, _CRC.pack(crc32c_masked(end))))


def decode_head(data: bytes, *, where: str) -> Top:
    """The first 128 bytes. Raises Corrupt."""
    if len(data) < HEADER.size:
        raise Corrupt("segment cut short", what="segment", where=where, found=len(data))
    magic, version, compression, encryption, size, cluster, table, partition, *rest = HEADER.unpack_from(data)
    first, last, first_stamp, last_stamp, records, frames, raw_size, generation, zero, crc = rest
    if magic != MAGIC:
        raise Corrupt("not a segment", what="segment", where=where, found=magic.hex())
    if crc32c_masked(memoryview(data)[: HEADER.size - 4]) != crc:
        raise Corrupt("segment header checksum differs", what="segment", where=where)
    if version not in (VERSION, PACK_VERSION):
        raise Corrupt(
            f"segment has version {version}, this release reads version {VERSION} and {PACK_VERSION}",
            what="segment",
            where=where,
            found=version,
        )
    place = PLACE.unpack(zero) if version == PACK_VERSION else (0, 0)
    if version == PACK_VERSION and not 1 <= place[0] <= DIRECTORY_BYTES_MAX:
        raise Corrupt("pack's directory out of bounds", what="segment", where=where, found=place[0])
    if (compression, encryption, size) != (ZSTD, 0, HEADER.size) or (version == VERSION and zero != bytes(8)):
        raise Corrupt("segment compression or flag unknown", what="segment", where=where, compression=compression)
    if not 1 <= first <= last or not 1 <= raw_size <= RAW_BYTES_MAX or records != last - first + 1:
        raise Corrupt("segment header out of bounds", what="segment", where=where, first=first, last=last, records=records)
    head = SegmentHead(
        uuid_text(cluster), uuid_text(table), uuid_text(partition), first, last, first_stamp, last_stamp, records, generation
    )
    return Top(head, frames, raw_size, *place)


def decode_segment(data: bytes, *, where: str) -> Segment:
    """Head and raw bytes, every checksum checked. where: object key, for the error. Raises Corrupt."""
    head, frames, raw_size, directory_size, directory_crc = decode_head(data, where=where)
    end_at = len(data) - TRAILER.size
    if end_at < HEADER.size:
        raise Corrupt("segment cut short", what="segment", where=where, found=len(data))
    magic, count, raw_crc, raw_size_again, raw_sha, zero, crc = TRAILER.unpack_from(data, end_at)
    if magic != END_MAGIC or crc32c_masked(memoryview(data)[end_at:-4]) != crc or zero != bytes(4):
        raise Corrupt("segment has no valid trailer", what="segment", where=where)
    if count != frames or raw_size_again != raw_size:
        raise Corrupt("segment header and trailer differ", kind=FORGED, what="segment", where=where)
    view = memoryview(data)
    offset, left = HEADER.size + directory_size, raw_size
    directory = bytes(view[HEADER.size : offset])
    if offset > end_at or (directory and crc32c_masked(directory) != directory_crc):
        raise Corrupt("pack's directory checksum differs", what="segment", where=where)
    decompressor = zstandard.ZstdDecompressor()
    pieces = []
    for number in range(frames):
        if end_at - offset < FRAME.size:
            raise Corrupt("segment frame cut short", what="segment", where=where, frame=number)
        stored, raw_length, frame_crc = FRAME.unpack_from(data, offset)
        body_at = offset + FRAME.size
        if stored > end_at - body_at or not 1 <= raw_length <= min(FRAME_RAW_BYTES_MAX, left):
            raise Corrupt("segment frame out of bounds", what="segment", where=where, frame=number)
        body = view[body_at : body_at + stored]
        if crc32c_masked(body, crc32c_raw(view[offset : offset + 8])) != frame_crc:
            raise Corrupt("segment frame checksum differs", what="segment", where=where, frame=number)
        try:
            if zstandard.frame_content_size(bytes(body[:18])) != raw_length:
                raise Corrupt("segment frame has the wrong raw length", what="segment", where=where, frame=number)
            piece = decompressor.decompress(body, max_output_size=raw_length)
        except zstandard.ZstdError as error:
            raise Corrupt("segment frame does not decompress", what="segment", where=where, frame=number) from error
        if len(piece) != raw_length:
            raise Corrupt("segment frame has the wrong raw length", what="segment", where=where, frame=number)
        pieces.append(piece)
        offset, left = body_at + stored, left - raw_length
    if offset != end_at or left:
        raise Corrupt("segment frames and sizes differ", kind=FORGED, what="segment", where=where)
    raw = b"".join(pieces)
    digest = sha256_of(raw).digest()
    if crc32c_raw(raw) != raw_crc or digest != raw_sha:
        raise Corrupt("segment raw checksum differs", what="segment", where=where, expected=raw_sha.hex(), found=digest.hex())
    return Segment(head, raw, digest, directory)
