"""Values that cross processes: a version byte, then MessagePack. One wording of what can be wrong with such bytes, whoever sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from scrubjay.base.errors import Corrupt, Invalid

T = TypeVar("T")
V = TypeVar("V")

_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
"""Fields of errors that are no data are said as text."""
_FAULTS = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


def packed(value: V, *, version: int, what: str, limit: int, outward: Callable[[V], Any] | None = None) -> bytes:
    """outward: makes plain data of it first. limit: bytes at most. Raises Invalid: more than that, or nothing that MessagePack can hold."""
    try:
        data = bytes([version]) + _encode(value if outward is None else outward(value))
    except _FAULTS as error:
        raise Invalid(f"{what} is no data", what=what, why=repr(error)) from error
    if len(data) > limit:
        raise Invalid(f"{what} too large", what=what, size=len(data), limit=limit)
    return data


def unpacked(decoder: msgspec.msgpack.Decoder[T], data: bytes | memoryview, *, version: int, what: str, limit: int) -> T:
    """Raises Corrupt, and nothing else, whatever the bytes are."""
    if len(data) > limit:
        raise malformed(what, "size", len(data))
    if len(data) < 2 or data[0] != version:
        raise malformed(what, "version", data[0] if len(data) else None)
    try:
        return decoder.decode(memoryview(data)[1:])
    except _FAULTS as error:
        raise malformed(what, "structure", str(error)) from None


def malformed(what: str, why: str, found: object) -> Corrupt:
    """Bytes that no encoder of ours can have made."""
    return Corrupt(f"{what} malformed: {why}", what=what, found=found)
