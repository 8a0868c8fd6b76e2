"""Streams as the API shows them: ARNs and descriptions, sequence numbers, iterators, records. Pure; the operations are in `operations.streams`.

A sequence number is LSN and position in its record, in decimal digits of one width, so that they sort as text and as numbers. An iterator says all that there is to know of it, so
any process reads it, and a restart changes nothing; its checksum is against damage, not against whoever makes one up: that one reads only what its key may read.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import NamedTuple

from xxhash import xxh3_128_hexdigest

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.hlc import stamp_micros
from scrubjay.base.ids import PartitionId
from scrubjay.storage.api.call import Body
from scrubjay.storage.catalogue import StreamShard, TableMeta, TableStream
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.keys import key_item
from scrubjay.storage.items.size import item_size
from scrubjay.storage.items.wire import item_to_json
from scrubjay.storage.log.item_changes import ItemChange

_LSN_DIGITS, _POSITION_DIGITS = 20, 6
SEQUENCE_DIGITS_MIN, SEQUENCE_DIGITS_MAX = 21, 40
"""As the service's model has them."""
ITERATOR_LIFE_US = 15 * 60 * 1_000_000
SERVICE = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


# -- names -----------------------------------------------------------------------------------------------------------------------------------


def stream_arn(table_arn: str, stream: TableStream) -> str:
    return f"{table_arn}/stream/{stream.label}"


def part_id(stream: TableStream, part: StreamShard) -> str:
    """The ShardId: of one partition in one stream."""
    return f"shardId-{stream.created_at // 1000:020d}-{part.partition_id[:8]}"


def sequence(lsn: int, position: int) -> str:
    return f"{lsn:0{_LSN_DIGITS}d}{position:0{_POSITION_DIGITS}d}"


def place_of(text: str) -> tuple[int, int] | None:
    """(LSN, position) of a sequence number; None: it is none of ours."""
    if len(text) != _LSN_DIGITS + _POSITION_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    lsn, position = int(text[:_LSN_DIGITS]), int(text[_LSN_DIGITS:])
    return (lsn, position) if lsn < 1 << 62 else None


# -- iterators -------------------------------------------------------------------------------------------------------------------------------

_ITERATOR = struct.Struct("<BQQIQ")
_CRC = struct.Struct("<I")
_VERSION = 1


class ShardIterator(NamedTuple):
    """arn: of the stream. part: ShardId. lsn, position: what is read next. made_us: wall time. since_us: records older than that are passed over, and so is what is trimmed, until one
    has been shown; 0: it began at a record."""

    arn: str
    part: str
    lsn: int
    position: int
    made_us: int
    since_us: int = 0

    def text(self) -> str:
        """As a client carries it."""
        data = _ITERATOR.pack(_VERSION, self.since_us, self.lsn, self.position, self.made_us) + self.part.encode()
        crc = _CRC.pack(crc32c_masked(self.arn.encode() + data))
        return f"{self.arn}|1|{base64.b64encode(data + crc).decode()}"


def iterator_of(text: str) -> ShardIterator | None:
    """None: it is none, or is damaged."""
    arn, _, rest = text.partition("|")
    version, _, coded = rest.partition("|")
    try:
        data = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if version != "1" or len(data) < _ITERATOR.size + _CRC.size:
        return None
    data, crc = data[: -_CRC.size], data[-_CRC.size :]
    if _CRC.pack(crc32c_masked(arn.encode() + data)) != crc:
        return None
    form, since_us, lsn, position, made_us = _ITERATOR.unpack_from(data)
    return (
        ShardIterator(arn, data[_ITERATOR.size :].decode(errors="replace"), lsn, position, made_us, since_us) if form == _VERSION else None
    )


# -- descriptions ----------------------------------------------------------------------------------------------------------------------------


def latest_members(meta: TableMeta, table_arn: str) -> Body:
    """What DescribeTable says of streams. One that is off lingers by its name alone."""
    if not meta.streams:
        return {}
    last = meta.streams[-1]
    shown: Body = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": last.view}} if last.on else {}
    return {**shown, "LatestStreamLabel": last.label, "LatestStreamArn": stream_arn(table_arn, last)}


def part_description(stream: TableStream, part: StreamShard) -> Body:
    """A parent is named if the stream shows something of it."""
    span: Body = {"StartingSequenceNumber": sequence(part.first, 0)}
    if part.last is not None:
        span["EndingSequenceNumber"] = sequence(part.last, 0)
    parent = next((one for one in stream.shards if one.partition_id == part.parent), None)
    of = {} if parent is None else {"ParentShardId": part_id(stream, parent)}
    return {"ShardId": part_id(stream, part), "SequenceNumberRange": span, **of}


# -- records ---------------------------------------------------------------------------------------------------------------------------------


def record_of(change: ItemChange, *, meta: TableMeta, view: str, partition: PartitionId, region: str) -> Body:
    """One stream record."""
    old = None if change.old is None else decode_item(change.old)
    new = None if change.new is None else decode_item(change.new)
    key = key_item(meta.key, new or old or {})
    size = item_size(key)
    shown: Body = {
        "ApproximateCreationDateTime": stamp_micros(change.stamp) // 1_000_000,
        "Keys": item_to_json(key),
        "SequenceNumber": sequence(change.lsn, change.position),
        "StreamViewType": view,
    }
    if new is not None and view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        shown["NewImage"] = item_to_json(new)
        size += item_size(new)
    if old is not None and view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        shown["OldImage"] = item_to_json(old)
        size += item_size(old)
    shown["SizeBytes"] = size
    event: Body = {
        "eventID": xxh3_128_hexdigest(f"{partition}/{change.lsn}/{change.position}".encode()),
        "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": shown,
    }
    if change.service:
        event["userIdentity"] = dict(SERVICE)
    return event
