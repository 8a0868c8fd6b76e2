"""Canonical JSON with its own checksum inside: the form of every manifest, closed and identity object.

Sorted keys, no spaces, ASCII, integers only, `"checksum": "sha256:<hex>"` over the same JSON without that field, one newline at the end.
Decoding re-encodes and compares, so one flipped bit anywhere is found, also in a key, a space or the checksum itself.
"""

from __future__ import annotations

import json
from typing import Any

from base.checksum import sha256_hex
from base.errors import Corrupt


def encode(fields: dict[str, Any]) -> bytes:
    """fields: strings, integers, booleans, None, lists and dicts of these; no key "checksum"."""
    assert "checksum" not in fields
    whole = {**fields, "checksum": f"sha256:{sha256_hex(_dump(fields))}"}
    return _dump(whole) + b"\n"


def decode(data: bytes, *, where: str, format: str, version: int) -> dict[str, Any]:  # noqa: A002 - it is the field's name
    """The fields without the checksum. where: object key, for the error. Raises Corrupt unless the bytes are exactly what `encode` makes."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{format} is no JSON", what=format, where=where, cause=str(error)) from error
    if not isinstance(whole, dict):
        raise Corrupt(f"{format} is no JSON object", what=format, where=where)
    claimed = whole.pop("checksum", None)
    try:
        actual = f"sha256:{sha256_hex(_dump(whole))}"
        same = encode(whole) == data
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"{format} is not canonical", what=format, where=where) from error
    if claimed != actual:
        raise Corrupt(f"{format} checksum differs", what=format, where=where, expected=claimed, found=actual)
    if not same:
        raise Corrupt(f"{format} is not canonical", what=format, where=where)
    if whole.get("format") != format:
        raise Corrupt(f"not a {format}", what=format, where=where, found=whole.get("format"))
    if whole.get("version") != version:
        raise Corrupt(f"{format} version unknown", what=format, where=where, found=whole.get("version"))
    return whole


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
