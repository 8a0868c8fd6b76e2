"""What lies in an index's table: its rows, each with where it came from, and how far each partition of the indexed table has been fed (docs/formats/index-feed.md).

Pure. A row's key is `items.global_index`'s; its value here is the projected item behind the partition and LSN that it came from, which no reader of the index sees.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from scrubjay.base.errors import Corrupt
from scrubjay.base.ids import Lsn, PartitionId, uuid_bytes
from scrubjay.storage.items.encoding import VERSION
from scrubjay.storage.items.keys import HASH_BYTES

FED_MARK = 0
"""Byte 16 of the key under which it is kept how far a partition is fed. That of a row is 1."""
ROW_VERSION = 3
"""First byte of a row's value; an item's is 1, that of a row of a local index 2."""
FED_VERSION = 4
_ROW = struct.Struct(">B8sQ")
_FED = struct.Struct(">BBQ")
_ITEM_BYTE = bytes([VERSION])
ROW_EXTRA_BYTES = _ROW.size - 1
"""By how much a row's value is longer than its item's bytes."""
FED_BYTES = HASH_BYTES + 1 + 16 + _FED.size
"""Key and value of what is kept of a partition whose items are all in the index."""


class Fed(NamedTuple):
    """How far a partition of the indexed table has been fed. lsn: every change up to it is in the index, of the items in front of `cursor`. cursor: storage key from which on items
    are still to be put in; None: all were."""

    lsn: Lsn
    cursor: bytes | None

    def encode(self) -> bytes:
        return _FED.pack(FED_VERSION, self.cursor is None, self.lsn) + (self.cursor or b"")

    @staticmethod
    def decode(data: bytes) -> Fed:
        """Raises Corrupt."""
        if len(data) < _FED.size:
            raise Corrupt("what is kept of a feed is cut short", what="item", found=len(data))
        version, done, lsn = _FED.unpack_from(data)
        if version != FED_VERSION or done > 1 or (done and len(data) > _FED.size):
            raise Corrupt("what is kept of a feed is malformed", what="item", found=version)
        return Fed(Lsn(lsn), None if done else data[_FED.size :])


def fed_key(lo: bytes, source: PartitionId) -> bytes:
    """Where it is kept how far `source` is fed. lo: the lowest key of the index's partition."""
    return lo + bytes([FED_MARK]) + uuid_bytes(source)


def is_fed(key: bytes) -> bool:
    """Whether a row of an index's table is no row of the index."""
    return key[HASH_BYTES : HASH_BYTES + 1] == b"\x00"


def stored(owner: bytes, lsn: int, item: bytes) -> bytes:
    """The value of a row. owner: 8 bytes that name the partition it came from (`log.record.owner_tag`). lsn: of the record there. item: canonical bytes of the projected item."""
    return _ROW.pack(ROW_VERSION, owner, lsn) + item[1:]


def item_bytes(value: bytes) -> bytes:
    """The bytes of the projected item. Raises Corrupt."""
    if len(value) < _ROW.size or value[0] != ROW_VERSION:
        raise Corrupt("row of a global index malformed", what="item", found=len(value))
    return _ITEM_BYTE + value[_ROW.size :]


def origin(value: bytes) -> tuple[bytes, Lsn]:
    """(owner, LSN) that a row came from. Raises Corrupt."""
    if len(value) < _ROW.size or value[0] != ROW_VERSION:
        raise Corrupt("row of a global index malformed", what="item", found=len(value))
    _, owner, lsn = _ROW.unpack_from(value)
    return owner, Lsn(lsn)
