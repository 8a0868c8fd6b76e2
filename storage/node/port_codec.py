"""Messages of the node port as bytes (docs/formats/node-port.md): a version byte, then MessagePack.

Nothing here runs inside one process. Bytes that no encoder can have made raise Corrupt and nothing else. There is no checksum: what carries these bytes
between processes has one.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from scrubjay.base.errors import Corrupt, Invalid, ScrubjayError
from scrubjay.storage.commands.codec import ANSWER_BYTES_MAX, COMMAND_BYTES_MAX
from scrubjay.storage.commands.values import Failure
from scrubjay.storage.node.port import Answer, Request, failure_of

VERSION = 1
_VERSION_BYTE = bytes([VERSION])
ENVELOPE_BYTES = 1 << 12
MESSAGE_BYTES_MAX = max(COMMAND_BYTES_MAX, ANSWER_BYTES_MAX) + ENVELOPE_BYTES
"""Bytes: the largest command or answer, and what is around it."""

_T = TypeVar("_T")


class AskedFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request on its way. id: of one asker's life, never used twice in it. left_us: how long the asker still waits, microseconds from when it was sent."""

    id: int
    left_us: int
    request: Request


class SaidFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An answer on its way. id: of the request."""

    id: int
    answer: Answer | Failure


_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
"""Fields of errors that are no data are said as text."""
_requests: msgspec.msgpack.Decoder[AskedFrame] = msgspec.msgpack.Decoder(AskedFrame)
_answers: msgspec.msgpack.Decoder[SaidFrame] = msgspec.msgpack.Decoder(SaidFrame)


def encode_request(id_: int, left_us: int, request: Request) -> bytes:
    """Raises Invalid if it is too large, or no data."""
    return _encoded(AskedFrame(id_, left_us, request), "request")


def decode_request(data: bytes | memoryview) -> AskedFrame:
    """Raises Corrupt."""
    asked = _decoded(_requests, data, "request")
    if asked.id < 0 or asked.left_us < 0:
        raise _bad("request", "id or time left", min(asked.id, asked.left_us))
    return asked


def encode_said(id_: int, answer: Answer | ScrubjayError) -> bytes:
    """As `encode_request`."""
    return _encoded(SaidFrame(id_, failure_of(answer) if isinstance(answer, ScrubjayError) else answer), "answer")


def decode_said(data: bytes | memoryview) -> SaidFrame:
    """Raises Corrupt."""
    return _decoded(_answers, data, "answer")


def _encoded(value: AskedFrame | SaidFrame, what: str) -> bytes:
    try:
        data = _VERSION_BYTE + _encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"{what} is no data", what=what, why=repr(error)) from error
    if len(data) > MESSAGE_BYTES_MAX:
        raise Invalid(f"{what} too large", what=what, size=len(data), limit=MESSAGE_BYTES_MAX)
    return data


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes | memoryview, what: str) -> _T:
    if len(data) > MESSAGE_BYTES_MAX:
        raise _bad(what, "size", len(data))
    if len(data) < 2 or data[0] != VERSION:
        raise _bad(what, "version", data[0] if len(data) else None)
    try:
        return decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _bad(what, "structure", str(error)) from None


def _bad(what: str, why: str, found: object) -> Corrupt:
    return Corrupt(f"{what} malformed: {why}", what=what, found=found)
