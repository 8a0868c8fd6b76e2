"""The good records of a damaged frame body. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scrubjay.base.errors import Corrupt
from scrubjay.storage.log.record import HEADER, HEADER_SIZE, RECORD_SIZE_MAX, Record, decode


def salvage(body: bytes, *, first: int, count: int, owner: bytes) -> Iterator[tuple[int, Record | None]]:
    """The records of a damaged body, one for each LSN: (offset, record), or None where it fails. After a bad record the next is looked for by its own bytes."""
    at = 0
    for lsn in range(first, first + count):
        record = _decode_as(body, at, lsn, owner)
        yield at, record
        if record is not None:
            at += len(record.data)
            continue
        at = _following(body, at, lsn + 1, owner) if lsn + 1 < first + count else len(body)


def _decode_as(body: bytes, at: int, lsn: int, owner: bytes) -> Record | None:
    try:
        record = decode(body, at, owner=owner, opaque=True)
    except Corrupt:
        return None
    return record if record.lsn == lsn else None


def _following(body: bytes, at: int, lsn: int, owner: bytes) -> int:
    """Where the record `lsn` starts behind a bad one at `at`; the bad one's own length if that leads nowhere."""
    if len(body) - at >= HEADER_SIZE:
        length: int = HEADER.unpack_from(body, at)[0]
        if HEADER_SIZE <= length <= RECORD_SIZE_MAX and _decode_as(body, at + length, lsn, owner) is not None:
            return at + length
    needle = owner + lsn.to_bytes(8, "little")
    start = body.find(needle, at + HEADER_SIZE)
    while start >= 0:
        if _decode_as(body, start - 16, lsn, owner) is not None:
            return start - 16
        start = body.find(needle, start + 1)
    return len(body)
