"""DynamoDB Streams: ListStreams, DescribeStream, GetShardIterator, GetRecords. An API of its own, at the same address (`STREAM_OPERATIONS`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scrubjay.base.errors import Corrupt, Missing, Unavailable
from scrubjay.base.hlc import stamp_micros, stamp_of
from scrubjay.base.ids import Lsn
from scrubjay.base.times import utc_text
from scrubjay.storage.api import errors, guard, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import key_schema, seconds
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.shapes import TABLE_NAME_OR_ARN, Int, Str, Struct, Timestamp
from scrubjay.storage.api.streams import (
    ITERATOR_LIFE_US,
    SEQUENCE_DIGITS_MAX,
    SEQUENCE_DIGITS_MIN,
    ShardIterator,
    iterator_of,
    part_description,
    part_id,
    place_of,
    record_of,
    stream_arn,
)
from scrubjay.storage.catalogue import STREAM_KEPT_US, PartitionInfo, StreamShard, TableMeta, TableStream, every_partition
from scrubjay.storage.log.item_changes import ItemChange
from scrubjay.storage.log.stated import StreamName

READ_BYTES_MAX = 4 << 20
"""Of the log that one GetRecords reads in search of changes: an answer may be empty though more follow."""
CHANGE_BYTES = 1 << 10
"""Of the log, for each change that is asked for: so much is read at first."""
STEP_RECORDS = 64
"""So many are made into JSON before others have their turn: some milliseconds."""
_ARN = Str(min_chars=37, max_chars=1024)
_PART = Str(min_chars=28, max_chars=65)
_KINDS = ("AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
_LIST = Struct(
    "ListStreamsInput",
    {"TableName": TABLE_NAME_OR_ARN, "Limit": Int(minimum=1, maximum=limits.LIST_STREAMS_MAX), "ExclusiveStartStreamArn": _ARN},
)
_DESCRIBE = Struct(
    "DescribeStreamInput",
    {
        "StreamArn": _ARN,
        "Limit": Int(minimum=1),
        "ExclusiveStartShardId": _PART,
        "ShardFilter": Struct("ShardFilter", {"Type": Str(enum=("CHILD_SHARDS",)), "ShardId": _PART}),
    },
    required=("StreamArn",),
)
_ITERATOR = Struct(
    "GetShardIteratorInput",
    {
        "StreamArn": _ARN,
        "ShardId": _PART,
        "ShardIteratorType": Str(enum=_KINDS),
        "SequenceNumber": Str(min_chars=SEQUENCE_DIGITS_MIN, max_chars=SEQUENCE_DIGITS_MAX),
        "Timestamp": Timestamp(),
    },
    required=("StreamArn", "ShardId", "ShardIteratorType"),
)
_RECORDS = Struct(
    "GetRecordsInput",
    {"ShardIterator": Str(min_chars=1, max_chars=2048), "Limit": Int(minimum=1, maximum=limits.STREAM_RECORDS_MAX)},
    required=("ShardIterator",),
)
_TRIMMED = "The operation attempted to read past the oldest stream record in the shard."

_LOST = "A record that is not a day old is neither in a node's log nor in the archive, so it cannot be shown. What is behind it can be read from a later SequenceNumber, or LATEST."
_UNSHOWN = "A record does not say what was there before it, so it cannot be shown. What is behind it can be read from a later SequenceNumber, or LATEST."


class _Part(NamedTuple):
    meta: TableMeta
    stream: TableStream
    part: StreamShard
    info: PartitionInfo


def _streams(call: Call) -> Iterator[tuple[TableMeta, TableStream]]:
    """All that can be read, by table, the newest of a table last."""
    now_us = call.api.env.clock.wall_us()
    for meta in call.api.backend.streamed_tables():
        for stream in meta.streams_kept(now_us):
            yield meta, stream


def _check_arn(arn: str) -> None:
    """Raises ValidationException for what cannot be the name of a stream."""
    pieces = arn.split(":", 5)
    if len(pieces) < 6 or (pieces[0], pieces[2]) != ("arn", "dynamodb"):
        raise errors.validation("Invalid StreamArn")
    kind, _, rest = pieces[5].partition("/")
    if kind != "table" or "/stream/" not in rest:
        raise errors.validation("Invalid StreamArn")


def _find(call: Call, arn: str) -> tuple[TableMeta, TableStream]:
    """Raises ValidationException, ResourceNotFoundException, AccessDeniedException."""
    _check_arn(arn)
    for meta, stream in _streams(call):
        if stream_arn(call.api.table_arn(meta.name), stream) == arn:
            if call.role is not None:
                guard.check(call, meta, call.operation, arn, stream=stream.label)
            return meta, stream
    call.check_sure()
    if call.role is not None:
        guard.check_absent(call, call.operation, arn)
    raise errors.resource_not_found(f"Requested resource not found: Stream: {arn} not found")


def _find_part(call: Call, arn: str, id_: str) -> _Part:
    """Raises ResourceNotFoundException."""
    meta, stream = _find(call, arn)
    for part in stream.shards:
        if part_id(stream, part) == id_:
            return _Part(meta, stream, part, next(info for info in every_partition(meta) if info.partition_id == part.partition_id))
    call.check_sure()
    raise errors.resource_not_found("Requested resource not found: Shard does not exist")


# -- ListStreams, DescribeStream ---------------------------------------------------------------------------------------------------------


def list_streams(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    wanted = None if "TableName" not in data else call.api.table_name(data["TableName"], call.operation)
    limit: int = data.get("Limit", limits.LIST_STREAMS_MAX)
    start: str = data.get("ExclusiveStartStreamArn", "")
    if start:
        _check_arn(start)
    found = []
    for meta, stream in _streams(call):
        if wanted is None or meta.name == wanted:
            arn = stream_arn(call.api.table_arn(meta.name), stream)
            found.append((arn, {"StreamArn": arn, "TableName": meta.name, "StreamLabel": stream.label}))
    found.sort(key=lambda one: one[0])
    rest = [one for arn, one in found if arn > start]
    answer: Body = {"Streams": rest[:limit]}
    if len(rest) > limit:
        answer["LastEvaluatedStreamArn"] = rest[limit - 1]["StreamArn"]
    call.reply(answer)


def describe_stream(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    meta, stream = _find(call, data["StreamArn"])
    trimmed = {one.info.partition_id for one in meta.former or () if one.closed_us < _horizon_us(call)}
    parts = sorted([one for one in stream.shards if one.partition_id not in trimmed], key=lambda part: part_id(stream, part))
    if "ShardFilter" in data:
        asked = data["ShardFilter"]
        if "Type" not in asked or "ShardId" not in asked:
            raise errors.validation("One or more parameter values were invalid: ShardFilter needs Type and ShardId")
        of = _find_part(call, data["StreamArn"], asked["ShardId"]).part.partition_id
        parts = [part for part in parts if part.parent == of]
    start: str = data.get("ExclusiveStartShardId", "")
    limit = min(data.get("Limit", limits.DESCRIBE_STREAM_MAX), limits.DESCRIBE_STREAM_MAX)
    rest = [part for part in parts if part_id(stream, part) > start]
    described: Body = {
        "StreamArn": data["StreamArn"],
        "StreamLabel": stream.label,
        "StreamStatus": stream.status,
        "StreamViewType": stream.view,
        "CreationRequestDateTime": seconds(stream.created_at),
        "TableName": meta.name,
        "KeySchema": key_schema(meta),
        "Shards": [part_description(stream, part) for part in rest[:limit]],
    }
    if len(rest) > limit:
        described["LastEvaluatedShardId"] = part_id(stream, rest[limit - 1])
    call.reply({"StreamDescription": described})


# -- GetShardIterator --------------------------------------------------------------------------------------------------------------------


def _horizon_us(call: Call) -> int:
    """What was written before is trimmed."""
    return call.api.env.clock.wall_us() - STREAM_KEPT_US


async def get_shard_iterator(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    kind, number = data["ShardIteratorType"], data.get("SequenceNumber")
    for name, belongs in (("SequenceNumber", kind.endswith("SEQUENCE_NUMBER")), ("Timestamp", kind == "AT_TIMESTAMP")):
        if belongs != (name in data):
            needs = "is required" if belongs else "is not allowed"
            raise errors.validation(f"One or more parameter values were invalid: {name} {needs} for ShardIteratorType {kind}")
    place = None if number is None else place_of(number)
    if number is not None and place is None:
        raise errors.validation(f"Invalid SequenceNumber: {number}")
    found = _find_part(call, data["StreamArn"], data["ShardId"])
    since_us = max(data["Timestamp"], 1) if "Timestamp" in data else int(kind == "TRIM_HORIZON")
    if place is None:
        lsn, position = (await _since(call, found, since_us) if since_us else await _newest(call, found)), 0
    else:
        lsn, position = place
        if lsn < found.part.first or (found.part.last is not None and lsn > found.part.last):
            raise errors.validation(f"Invalid SequenceNumber: {number} is not in {data['ShardId']}")
        if kind == "AFTER_SEQUENCE_NUMBER":
            position += 1
        await _check_kept(call, found, lsn)
    made = ShardIterator(data["StreamArn"], data["ShardId"], lsn, position, call.api.env.clock.wall_us(), since_us)
    call.reply({"ShardIterator": made.text()})


async def _newest(call: Call, found: _Part) -> int:
    """Behind all that is written now."""
    return (found.part.last if found.part.last is not None else await call.api.backend.streams.position(found.info)) + 1


async def _since(call: Call, found: _Part, since_us: int) -> int:
    """The beginning of the stream, or where what is not trimmed and not older than that begins, at the latest."""
    horizon_us, first = max(_horizon_us(call), since_us), found.part.first + 1
    if found.stream.created_at >= horizon_us:
        return first
    return max(first, await call.api.backend.streams.since(found.meta, found.info, stamp_of(horizon_us)))


async def _not_there(call: Call, found: _Part, lsn: int, error: Missing) -> errors.ApiError:
    """A record of more than a day ago that nobody holds any more is trimmed. One that is younger, or of a leader that did not know of the stream, was there and cannot be shown: no words of
    a client's doing, and nothing to begin anew after."""
    if error.fields.get("what") == "old item":
        return errors.internal(_UNSHOWN)
    return errors.trimmed_data_access(_TRIMMED) if lsn < await _since(call, found, 1) else errors.internal(_LOST)


async def _check_kept(call: Call, found: _Part, lsn: int) -> None:
    """Raises TrimmedDataAccessException for a record that is older than a day, or that nobody holds any more."""
    if found.stream.created_at >= _horizon_us(call) or lsn <= found.part.first:
        if found.stream.created_at < _horizon_us(call):
            raise errors.trimmed_data_access(_TRIMMED)
        return
    try:
        page = await call.api.backend.streams.read(found.info, Lsn(lsn), limit=1, max_bytes=1)
    except Missing as error:
        raise await _not_there(call, found, lsn, error) from None
    if page.next[0] > lsn and stamp_micros(page.stamp) < _horizon_us(call):
        raise errors.trimmed_data_access(_TRIMMED)


# -- GetRecords --------------------------------------------------------------------------------------------------------------------------


async def get_records(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    at = iterator_of(data["ShardIterator"])
    if at is None:
        raise errors.validation("Invalid ShardIterator")
    now_us = call.api.env.clock.wall_us()
    if now_us - at.made_us > ITERATOR_LIFE_US:
        raise errors.expired_iterator(
            f"Iterator expired. The iterator was created at time {utc_text(at.made_us)} while right now it is {utc_text(now_us)} "
            f"which is further in the future than the tolerated delay of {ITERATOR_LIFE_US // 1000} milliseconds."
        )
    found = _find_part(call, at.arn, at.part)
    limit: int = data.get("Limit", limits.STREAM_RECORDS_MAX)
    changes, (lsn, position) = await _changes(call, found, at, limit)
    meta, view, partition = found.meta, found.stream.view, found.info.partition_id
    records: list[Body] = []
    for change in changes:
        records.append(record_of(change, meta=meta, view=view, partition=partition, region=call.api.region))
        if len(records) % STEP_RECORDS == 0:
            await call.api.env.tasks.sleep(0)
    answer: Body = {"Records": records}
    last = found.part.last
    if last is None or lsn <= last:
        following = ShardIterator(at.arn, at.part, lsn, position, now_us, 0 if changes else at.since_us)
        answer["NextShardIterator"] = following.text()
    call.reply(answer)


async def _changes(call: Call, found: _Part, at: ShardIterator, limit: int) -> tuple[list[ItemChange], tuple[int, int]]:
    """Changes from the iterator's place on, as many as one answer takes, and where to go on. Raises TrimmedDataAccessException."""
    last, since_us = found.part.last, max(_horizon_us(call), at.since_us)
    place: tuple[int, int] = (max(at.lsn, found.part.first + 1), at.position if at.lsn > found.part.first else 0)
    taken: list[ItemChange] = []
    size, read = 0, 0
    at_once = limits.STREAM_PAGE_BYTES if at.since_us else min(limit * CHANGE_BYTES, limits.STREAM_PAGE_BYTES)
    while read < READ_BYTES_MAX and (last is None or place[0] <= last):
        try:
            page = await call.api.backend.streams.read(
                found.info,
                Lsn(place[0]),
                position=place[1],
                last=None if last is None else Lsn(last),
                stream=StreamName(found.stream.label, found.meta.version if found.stream.on else 0),
                limit=limits.STREAM_RECORDS_MAX,
                max_bytes=at_once,
            )
        except (Missing, Unavailable, Corrupt) as error:
            if taken:  # it is said to whoever reads on from there
                break
            if isinstance(error, Missing):
                raise await _not_there(call, found, place[0], error) from None
            raise
        for change in page.changes:
            if not taken and stamp_micros(change.stamp) < since_us:
                if not at.since_us:
                    raise errors.trimmed_data_access(_TRIMMED)
                continue
            if len(taken) == limit or (taken and size + change.size > limits.STREAM_BYTES_MAX):
                return taken, (change.lsn, change.position)
            taken.append(change)
            size += change.size
        place = (int(page.next[0]), page.next[1])
        if page.at_end:
            break
        read += at_once
        at_once = min(2 * at_once, limits.STREAM_PAGE_BYTES)
    return taken, place


STREAM_OPERATIONS: dict[str, Operation] = {
    "ListStreams": Operation(_LIST, list_streams),
    "DescribeStream": Operation(_DESCRIBE, describe_stream),
    "GetShardIterator": Operation(_ITERATOR, get_shard_iterator),
    "GetRecords": Operation(_RECORDS, get_records),
}
