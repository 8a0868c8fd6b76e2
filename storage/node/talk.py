"""Messages between nodes that are not consensus: statements about sealed segments, attestations, repair of damaged log records.

They may be lost or doubled; each is idempotent and asked for again. Frame: b"SJS2", masked CRC-32C of the body (u32), body: MessagePack of one
`StorageMessage` list (docs/formats/messages.md).
"""

from __future__ import annotations

import struct

import msgspec

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Corrupt
from scrubjay.storage.replica.segments import Statement

MAGIC = b"SJS2"
_CRC = struct.Struct("<I")


class Say(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The sender's statement on a segment. want: please answer with yours."""

    partition: str
    statement: Statement
    want: bool


class AttestSegment(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The sender holds the archived segment for equal to its own WAL. generation: of the object. read: it read the object back and compared."""

    partition: str
    first: int
    last: int
    raw_sha256: bytes
    generation: int
    read: bool


class AskRecords(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Records [first, end) are damaged in the sender's WAL: please send yours."""

    partition: str
    first: int
    end: int


class Records(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Chosen records, encoded (storage.log.record), in LSN order."""

    partition: str
    records: list[bytes]


class ManifestWritten(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The segment's manifest is in the archive: compare it with your WAL and attest."""

    partition: str
    first: int
    last: int
    raw_sha256: bytes


class Refute(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The sender read the archived segment back and found this generation bad: it must not count as archived. object: key. reason: what is wrong with it."""

    partition: str
    last: int
    generation: int
    object: str
    reason: str


StorageMessage = Say | AttestSegment | AskRecords | Records | ManifestWritten | Refute

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[StorageMessage])


def encode_frame(messages: list[StorageMessage]) -> bytes:
    body = _encoder.encode(messages)
    return MAGIC + _CRC.pack(crc32c_masked(body)) + body


def decode_frame(frame: bytes) -> list[StorageMessage]:
    """Raises Corrupt if magic, checksum or shape is wrong."""
    if frame[:4] != MAGIC or len(frame) < 8:
        raise Corrupt("not a storage frame", what="message")
    body = memoryview(frame)[8:]
    if _CRC.unpack_from(frame, 4)[0] != crc32c_masked(body):
        raise Corrupt("storage frame checksum differs", what="message")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Corrupt("storage frame malformed", what="message", detail=str(error)) from error
