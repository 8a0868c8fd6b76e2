"""Canonical JSON with its own checksum inside: the form of every manifest, closed and identity object.

Sorted keys, no spaces, ASCII, integers only, `"checksum": "sha256:<hex>"` over the same JSON without that field, one newline at the end. `"mac"` has room for
a keyed code (key id and value); without a key it is null, and a reader without the key refuses what has one.
Decoding re-encodes and compares, so one flipped bit anywhere is found, also in a key, a space or the checksum itself.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from scrubjay.base.checksum import sha256_hex
from scrubjay.base.errors import Corrupt

_HALF_PAIR = b"\\ud"
"""In every escape of a surrogate, and thus of each character beyond U+FFFF."""


def encode(fields: dict[str, Any]) -> bytes:
    """fields: strings, integers, booleans, None, lists and dicts of these; no key "checksum" or "mac"."""
    assert "checksum" not in fields
    assert "mac" not in fields
    fields = {**fields, "mac": None}
    whole = {**fields, "checksum": f"sha256:{sha256_hex(_dump(fields))}"}
    return _dump(whole) + b"\n"


def decode(
    data: bytes,
    *,
    where: str,
    format: str,  # noqa: A002 - it is the field's name
    version: int,
    later: tuple[int, ...] = (),
) -> dict[str, Any]:
    """The fields without checksum and MAC. where: object key, for the error. later: versions that are read beside `version`. Raises Corrupt unless the bytes are
    exactly what `encode` makes."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{format} is no JSON", what=format, where=where, cause=str(error)) from error
    if not isinstance(whole, dict):
        raise Corrupt(f"{format} is no JSON object", what=format, where=where)
    claimed = whole.pop("checksum", None)
    try:
        body = _dump(whole)
        actual = f"sha256:{sha256_hex(body)}"
        same = _dump({**whole, "checksum": actual}) + b"\n" == data
        if _HALF_PAIR in data:  # half of a pair is text for `json` alone: no answer, log or ledger takes it
            msgspec.json.decode(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"{format} is not canonical", what=format, where=where) from error
    if claimed != actual:
        raise Corrupt(f"{format} checksum differs", what=format, where=where, expected=claimed, found=actual)
    if not same:
        raise Corrupt(f"{format} is not canonical", what=format, where=where)
    if whole.get("format") != format:
        raise Corrupt(f"not a {format}", what=format, where=where, found=whole.get("format"))
    if whole.get("version") not in (version, *later):
        raise Corrupt(
            f"{format} has version {whole.get('version')}, this release reads version {version}",
            what=format, where=where, version=whole.get("version"), expected=version,
        )  # fmt: skip
    if whole.pop("mac", "absent") is not None:
        raise Corrupt(f"{format} has a MAC and no key is configured, or none where one must stand", what=format, where=where)
    return whole


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
