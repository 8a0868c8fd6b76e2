"""NextToken of ExecuteStatement: the key that a read stopped at, for this statement with these parameters and no other.

Base64 of: version (1), 16 bytes of xxh3-128 over the statement and its parameters, the key as an item's canonical bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec
import xxhash

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.api import errors
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.values import Item

_VERSION = b"\x01"
_HEAD_BYTES = 1 + 16
_encode = msgspec.json.Encoder(order="deterministic").encode


def _digest(text: str, parameters: Sequence[Any] | None) -> bytes:
    return xxhash.xxh3_128_digest(_encode([text, parameters or []]))


def make_token(text: str, parameters: Sequence[Any] | None, key: Item) -> str:
    """To go on behind `key`."""
    return base64.b64encode(_VERSION + _digest(text, parameters) + encode_item(key)).decode("ascii")


def read_token(text: str, parameters: Sequence[Any] | None, token: str) -> Item:
    """The key. Raises ApiError: it is no token, or that of another statement."""
    try:
        data = base64.b64decode(token, validate=True)
        if data[:1] != _VERSION or len(data) <= _HEAD_BYTES:
            raise errors.validation("Invalid NextToken")
        if data[1:_HEAD_BYTES] != _digest(text, parameters):
            raise errors.validation("NextToken does not match request")
        return decode_item(data[_HEAD_BYTES:])
    except (binascii.Error, ValueError, ScrubjayError, ItemError):
        raise errors.validation("Invalid NextToken") from None
