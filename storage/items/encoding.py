"""The canonical item encoding (docs/formats/item.md): DynamoDB JSON in MessagePack, binaries raw, behind a version byte.

Equal items have equal bytes: names are sorted by UTF-8 bytes, sets and numbers are in normal form already, and MessagePack heads take their
shortest form. Strings lie as raw UTF-8 and binaries raw.
"""

from __future__ import annotations

from typing import Any

import msgspec

from scrubjay.base.errors import Corrupt
from scrubjay.storage.items.values import Item, Value

VERSION = 1
_VERSION_BYTE = bytes([VERSION])

_ENCODER = msgspec.msgpack.Encoder(order="sorted")
_encode = _ENCODER.encode
WHOLE: msgspec.msgpack.Decoder[dict[str, dict[str, Any]]] = msgspec.msgpack.Decoder(dict[str, dict[str, Any]])
"""Decodes what stands behind the version byte."""
_ONE: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])
_decode = WHOLE.decode

_PLAIN: dict[str, type] = {"S": str, "N": str, "B": bytes, "BOOL": bool, "NULL": bool}
"""Types whose payload is the same in the encoding and in a value."""


def bad_item(why: str, data: bytes | memoryview) -> Corrupt:
    """The error for bytes that are no canonical item."""
    return Corrupt("item bytes malformed", what="item", why=why, found=len(data))


def encode_item(item: Item) -> bytes:
    """Canonical bytes of an item."""
    return _VERSION_BYTE + _encode(
        {name: {kind: payload} if kind in _PLAIN else {kind: _outward(kind, payload)} for name, (kind, payload) in item.items()}
    )


def encode_value(value: Value) -> bytes:
    """Canonical bytes of one value, without a version byte (for hashing)."""
    kind, payload = value
    return _encode({kind: payload if kind in _PLAIN else _outward(kind, payload)})


def encode_payloads(payloads: dict[str, dict[str, Any]]) -> bytes:
    """Canonical bytes, without the version byte, of some of what `WHOLE` decoded: payloads as they lie in the encoding."""
    return _encode(payloads)


def _outward(kind: str, payload: Any) -> Any:
    if kind == "M":
        return {name: {k: p if k in _PLAIN else _outward(k, p)} for name, (k, p) in payload.items()}
    if kind == "L":
        return [{k: p if k in _PLAIN else _outward(k, p)} for k, p in payload]
    return payload


def decode_item(data: bytes | memoryview) -> Item:
    """The item in canonical bytes. Raises Corrupt on anything `encode_item` cannot have made, as far as types and structure tell."""
    if len(data) < 2 or data[0] != VERSION:
        raise bad_item("version unknown", data)
    item: Item = {}
    try:
        for name, wrapped in _decode(data[1:]).items():
            (pair,) = wrapped.items()
            kind, payload = pair
            if _PLAIN.get(kind) is type(payload):
                item[name] = pair
            else:
                item[name] = _inward(kind, payload)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, RecursionError) as fault:
        raise bad_item(str(fault), data) from None
    return item


def decode_value(data: bytes | memoryview) -> Value:
    """The value in the bytes of `encode_value`. Raises Corrupt."""
    try:
        ((kind, payload),) = _ONE.decode(data).items()
        return (kind, payload) if _PLAIN.get(kind) is type(payload) else _inward(kind, payload)
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, RecursionError) as fault:
        raise bad_item(str(fault), data) from None


def _inward(kind: str, payload: Any) -> Value:
    if kind == "M":
        return "M", {name: _wrapped(wrapped) for name, wrapped in payload.items()}
    if kind == "L" and type(payload) is list:
        return "L", tuple([_wrapped(wrapped) for wrapped in payload])
    element = _ELEMENT.get(kind)
    if element is None or type(payload) is not list or set(map(type, payload)) != {element}:
        raise ValueError(f"unknown type or wrong payload of {kind!r}")
    return kind, tuple(payload)


_ELEMENT: dict[str, type] = {"SS": str, "NS": str, "BS": bytes}


def _wrapped(wrapped: Any) -> Value:
    ((kind, payload),) = wrapped.items()
    return (kind, payload) if _PLAIN.get(kind) is type(payload) else _inward(kind, payload)
