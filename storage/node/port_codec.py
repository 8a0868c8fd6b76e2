"""Messages of the node port as bytes (docs/formats/node-port.md): a version byte, then MessagePack.

Nothing here runs inside one process. Bytes that no encoder can have made raise Corrupt and nothing else. There is no checksum: what carries these bytes
between processes has one.
"""

from __future__ import annotations

import msgspec

from scrubjay.base.errors import ScrubjayError
from scrubjay.base.packed import malformed, packed, unpacked
from scrubjay.storage.commands.codec import ANSWER_BYTES_MAX, COMMAND_BYTES_MAX
from scrubjay.storage.commands.values import Failure
from scrubjay.storage.node.port import Answer, Request, failure_of

VERSION = 1
ENVELOPE_BYTES = 1 << 12
MESSAGE_BYTES_MAX = max(COMMAND_BYTES_MAX, ANSWER_BYTES_MAX) + ENVELOPE_BYTES
"""Bytes: the largest command or answer, and what is around it."""


class AskedFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request on its way. id: of one asker's life, never used twice in it. left_us: how long the asker still waits, microseconds from when it was sent."""

    id: int
    left_us: int
    request: Request


class SaidFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An answer on its way. id: of the request."""

    id: int
    answer: Answer | Failure


_requests: msgspec.msgpack.Decoder[AskedFrame] = msgspec.msgpack.Decoder(AskedFrame)
_answers: msgspec.msgpack.Decoder[SaidFrame] = msgspec.msgpack.Decoder(SaidFrame)


def encode_request(id_: int, left_us: int, request: Request) -> bytes:
    """Raises Invalid if it is too large, or no data."""
    return packed(AskedFrame(id_, left_us, request), version=VERSION, what="request", limit=MESSAGE_BYTES_MAX)


def decode_request(data: bytes | memoryview) -> AskedFrame:
    """Raises Corrupt."""
    asked = unpacked(_requests, data, version=VERSION, what="request", limit=MESSAGE_BYTES_MAX)
    if asked.id < 0 or asked.left_us < 0:
        raise malformed("request", "id or time left", min(asked.id, asked.left_us))
    return asked


def encode_said(id_: int, answer: Answer | ScrubjayError) -> bytes:
    """As `encode_request`."""
    said = SaidFrame(id_, failure_of(answer) if isinstance(answer, ScrubjayError) else answer)
    return packed(said, version=VERSION, what="answer", limit=MESSAGE_BYTES_MAX)


def decode_said(data: bytes | memoryview) -> SaidFrame:
    """Raises Corrupt."""
    return unpacked(_answers, data, version=VERSION, what="answer", limit=MESSAGE_BYTES_MAX)
