"""DynamoDB Streams through boto3: a stream's life, what its records show, iterators, and what is refused in whose words."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from scrubjay.base.checksum import crc32c_masked
from scrubjay.base.errors import Missing
from scrubjay.base.ids import Lsn, Stamp
from scrubjay.storage.api.streams import _ITERATOR as ITERATOR
from scrubjay.storage.api.streams import ITERATOR_LIFE_US, ShardIterator, iterator_of, place_of, record_of, sequence
from scrubjay.storage.catalogue import STREAM_KEPT_US
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.log.item_changes import ItemChange
from tests.api_server import ApiServer
from tests.contract.api.item_cases import INVALID

IMAGES = {"KEYS_ONLY": (), "NEW_IMAGE": ("NewImage",), "OLD_IMAGE": ("OldImage",), "NEW_AND_OLD_IMAGES": ("NewImage", "OldImage")}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started
        assert started.unexpected == []


def on(view: str = "NEW_AND_OLD_IMAGES") -> dict[str, Any]:
    return {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}}


def streams(server: ApiServer) -> Any:
    return server.client(service="dynamodbstreams")


def put(server: ApiServer, name: str, pk: str, value: str) -> None:
    server.ok("PutItem", {"TableName": name, "Item": {"pk": {"S": pk}, "v": {"S": value}}})


def arn_of(server: ApiServer, name: str) -> str:
    found: str = server.ok("DescribeTable", {"TableName": name})["Table"]["LatestStreamArn"]
    return found


def parts(server: ApiServer, arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = streams(server).describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    return found


def begin(server: ApiServer, arn: str, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    (part,) = parts(server, arn)
    answer = streams(server).get_shard_iterator(StreamArn=arn, ShardId=part["ShardId"], ShardIteratorType=kind, **more)
    found: str = answer["ShardIterator"]
    return found


def records(server: ApiServer, iterator: str | None, **more: Any) -> list[dict[str, Any]]:
    """All records from an iterator on, to the end."""
    found: list[dict[str, Any]] = []
    while iterator is not None:
        answer = streams(server).get_records(ShardIterator=iterator, **more)
        if not answer["Records"] and answer.get("NextShardIterator"):
            return found
        found += answer["Records"]
        iterator = answer.get("NextShardIterator")
    return found


def refused(server: ApiServer, call: str, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        getattr(streams(server), call)(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize("view", IMAGES)
def test_records_say_what_changed_and_show_what_the_view_says(server: ApiServer, view: str) -> None:
    name = f"view-{view}"
    server.make_table(name, **on(view))
    arn = arn_of(server, name)
    put(server, name, "a", "one")
    put(server, name, "a", "one")  # changes nothing
    put(server, name, "a", "two")
    server.ok("DeleteItem", {"TableName": name, "Key": {"pk": {"S": "a"}}})
    server.ok("DeleteItem", {"TableName": name, "Key": {"pk": {"S": "b"}}})
    found = records(server, begin(server, arn))
    assert [one["eventName"] for one in found] == ["INSERT", "MODIFY", "REMOVE"]
    key, one, two = {"pk": {"S": "a"}}, {"pk": {"S": "a"}, "v": {"S": "one"}}, {"pk": {"S": "a"}, "v": {"S": "two"}}
    images = [("NewImage", one), ("NewImage", two), ("OldImage", one), ("OldImage", two)]
    wanted = [[images[0]], [images[1], images[2]], [images[3]]]
    for record, shown in zip(found, wanted, strict=True):
        told = record["dynamodb"]
        assert told["Keys"] == key
        assert {name: told[name] for name in ("NewImage", "OldImage") if name in told} == {
            name: item for name, item in shown if name in IMAGES[view]
        }
        assert told["StreamViewType"] == view
        assert told["SizeBytes"] == 3 + sum(3 + 4 for name, _ in shown if name in IMAGES[view])
        assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("1.1", "aws:dynamodb", "us-east-1")
        assert "userIdentity" not in record
    numbers = [one["dynamodb"]["SequenceNumber"] for one in found]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {26}
    assert len({one["eventID"] for one in found}) == 3


def test_a_stream_is_turned_on_and_off_and_another_is_another(server: ApiServer) -> None:
    server.make_table("life")
    shown = server.ok("DescribeTable", {"TableName": "life"})["Table"]
    assert not {"StreamSpecification", "LatestStreamArn", "LatestStreamLabel"} & shown.keys()
    put(server, "life", "before", "x")

    def update(**stream: Any) -> dict[str, Any]:
        return {"TableName": "life", "StreamSpecification": stream}

    bad = "ValidationException"
    assert server.refusal("UpdateTable", update(StreamEnabled=False)) == (bad, "Table has no stream to disable: TableName: life")
    assert server.refusal("UpdateTable", update(StreamEnabled=True)) == (
        bad,
        INVALID + "If stream is being enabled then UpdateViewType is required",
    )
    words = INVALID + "If stream is being disabled, then UpdateViewType must not be specified"
    assert server.refusal("UpdateTable", update(StreamEnabled=False, StreamViewType="KEYS_ONLY")) == (bad, words)
    both = {
        **update(StreamEnabled=True, StreamViewType="KEYS_ONLY"),
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    assert server.refusal("UpdateTable", both) == (bad, INVALID + "You cannot modify stream status while updating table IOPS")
    answer = server.ok("UpdateTable", update(StreamEnabled=True, StreamViewType="NEW_IMAGE"))["TableDescription"]
    assert answer["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    server.wait_active("life")
    first = arn_of(server, "life")
    assert first.endswith("/stream/" + answer["LatestStreamLabel"])
    assert (
        server.refusal("UpdateTable", update(StreamEnabled=True, StreamViewType="NEW_IMAGE"))[1]
        == "Table already has an enabled stream: TableName: life"
    )
    put(server, "life", "during", "x")
    latest = begin(server, first, "LATEST")
    put(server, "life", "last", "x")
    server.ok("UpdateTable", update(StreamEnabled=False))
    server.wait_active("life")
    put(server, "life", "after", "x")
    shown = server.ok("DescribeTable", {"TableName": "life"})["Table"]
    assert "StreamSpecification" not in shown
    assert shown["LatestStreamArn"] == first
    described = streams(server).describe_stream(StreamArn=first)["StreamDescription"]
    assert (described["StreamStatus"], described["StreamViewType"]) == ("DISABLED", "NEW_IMAGE")
    assert "EndingSequenceNumber" in described["Shards"][0]["SequenceNumberRange"]
    names = [one["dynamodb"]["Keys"]["pk"]["S"] for one in records(server, begin(server, first))]
    assert names == ["during", "last"]
    answer = streams(server).get_records(ShardIterator=latest)
    assert [one["dynamodb"]["Keys"]["pk"]["S"] for one in answer["Records"]] == ["last"]
    assert answer.get("NextShardIterator") is None
    server.ok("UpdateTable", update(StreamEnabled=True, StreamViewType="KEYS_ONLY"))
    server.wait_active("life")
    second = arn_of(server, "life")
    assert second > first
    assert [one["StreamArn"] for one in streams(server).list_streams(TableName="life")["Streams"]] == [first, second]
    assert records(server, begin(server, second)) == []
    server.ok("DeleteTable", {"TableName": "life"})
    assert streams(server).describe_stream(StreamArn=second)["StreamDescription"]["StreamStatus"] in ("DISABLING", "DISABLED")
    assert records(server, begin(server, first, "TRIM_HORIZON"))


def iterator_at(server: ApiServer, arn: str, part: str, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    found: str = streams(server).get_shard_iterator(StreamArn=arn, ShardId=part, ShardIteratorType=kind, **more)["ShardIterator"]
    return found


@pytest.mark.slow
def test_a_reader_goes_from_a_shard_that_was_split_to_its_children_and_hears_each_change_once(server: ApiServer) -> None:
    """By lineage: a shard that has ended is read to its end, also by who was in the middle of it, and then what it became, and what one of these became."""
    server.make_table("lineage", **on())
    arn, keys = arn_of(server, "lineage"), [f"k{number:02d}" for number in range(16)]
    for key in keys:
        put(server, "lineage", key, "1")
    (parent,) = [one["ShardId"] for one in parts(server, arn)]
    latest = iterator_at(server, arn, parent, "LATEST")
    page = streams(server).get_records(ShardIterator=iterator_at(server, arn, parent), Limit=5)
    heard, middle = page["Records"], page["NextShardIterator"]
    server.backend.split("lineage", bytes([0x80]) + bytes(15))
    for key in keys:
        put(server, "lineage", key, "2")
    server.backend.split("lineage", bytes([0x40]) + bytes(15))
    for key in keys:
        put(server, "lineage", key, "3")

    shown = {one["ShardId"]: one for one in parts(server, arn)}
    assert len(shown) == 5
    children = {one: [id_ for id_, other in shown.items() if other.get("ParentShardId") == one] for one in shown}
    assert sorted(len(found) for found in children.values()) == [0, 0, 0, 2, 2]
    assert ["EndingSequenceNumber" in one["SequenceNumberRange"] for one in shown.values()] == [bool(children[id_]) for id_ in shown]
    for id_, found in children.items():
        wanted = {"Type": "CHILD_SHARDS", "ShardId": id_}
        told = streams(server).describe_stream(StreamArn=arn, ShardFilter=wanted)["StreamDescription"]["Shards"]
        assert [one["ShardId"] for one in told] == sorted(found)
        for child in found:
            assert (
                shown[child]["SequenceNumberRange"]["StartingSequenceNumber"] == shown[id_]["SequenceNumberRange"]["EndingSequenceNumber"]
            )

    ended = streams(server).get_records(ShardIterator=latest)
    assert (ended["Records"], ended.get("NextShardIterator")) == ([], None), "behind its last record nothing comes any more"
    heard = [*heard, *records(server, middle, Limit=3)]
    assert len(heard) == len(keys), "to the end of the parent"
    assert heard == records(server, iterator_at(server, arn, parent))
    left = list(children[parent])
    while left:
        one = left.pop()
        found = records(server, iterator_at(server, arn, one), Limit=4)
        number = found[1]["dynamodb"]["SequenceNumber"]
        assert records(server, iterator_at(server, arn, one, "AT_SEQUENCE_NUMBER", SequenceNumber=number)) == found[1:]
        assert records(server, iterator_at(server, arn, one, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number)) == found[2:]
        heard += found
        left += children[one]
    assert len({one["eventID"] for one in heard}) == len(heard) == 3 * len(keys)
    values: dict[str, list[str | None]] = {}
    for one in heard:
        change = one["dynamodb"]
        before = change.get("OldImage", {}).get("v", {}).get("S")
        told = values.setdefault(change["Keys"]["pk"]["S"], [None])
        assert told[-1] == before, "along one item each change goes on from the one before, over splits too"
        told.append(change["NewImage"]["v"]["S"])
    assert values == {key: [None, "1", "2", "3"] for key in keys}
    outside = heard[0]["dynamodb"]["SequenceNumber"]
    said = refused(
        server,
        "get_shard_iterator",
        StreamArn=arn,
        ShardId=children[parent][0],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=outside,
    )
    assert said[0] == "ValidationException", "it is the parent's"


@pytest.mark.slow
def test_iterators_begin_where_they_are_told_and_pages_go_on(server: ApiServer) -> None:
    server.make_table("iterators", **on("KEYS_ONLY"))
    arn = arn_of(server, "iterators")
    for number in range(130):
        put(server, "iterators", f"k{number:03d}", "x")
    everything = records(server, begin(server, arn), Limit=7)
    names = [one["dynamodb"]["Keys"]["pk"]["S"] for one in everything]
    assert names == [f"k{number:03d}" for number in range(130)]
    number = everything[50]["dynamodb"]["SequenceNumber"]
    at = records(server, begin(server, arn, "AT_SEQUENCE_NUMBER", SequenceNumber=number))
    after = records(server, begin(server, arn, "AFTER_SEQUENCE_NUMBER", SequenceNumber=number))
    assert (at, after) == (everything[50:], everything[51:])
    latest = begin(server, arn, "LATEST")
    assert records(server, latest) == []
    assert records(server, begin(server, arn, "AT_TIMESTAMP", Timestamp=0)) == everything
    assert records(server, begin(server, arn, "AT_TIMESTAMP", Timestamp=time.time() + 3600)) == []
    put(server, "iterators", "new", "x")
    assert [one["dynamodb"]["Keys"]["pk"]["S"] for one in records(server, latest)] == ["new"]
    one = streams(server).get_records(ShardIterator=begin(server, arn), Limit=1)
    assert len(one["Records"]) == 1


def test_streams_are_listed_by_page(server: ApiServer) -> None:
    for name in ("list-a", "list-b", "list-c"):
        server.make_table(name, **on())
    found, start = [], {}
    while True:
        answer = streams(server).list_streams(Limit=1, **start)
        found += [one["TableName"] for one in answer["Streams"]]
        if "LastEvaluatedStreamArn" not in answer:
            break
        start = {"ExclusiveStartStreamArn": answer["LastEvaluatedStreamArn"]}
    assert [name for name in found if name.startswith("list-")] == ["list-a", "list-b", "list-c"]
    assert len(found) == len(set(found)) or "life" in found
    assert refused(server, "list_streams", Limit=101) == (
        "ValidationException",
        "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
    )


@pytest.mark.parametrize(
    "arn",
    [
        "a-name-of-nothing-that-is-37-letters-long-or-more",
        "arn:aws:dynamodb:eu-central-1:000000000000:table/of-a-table-alone",
        "arn:aws:dynamodb:eu-central-1:000000000000:index/a/stream/2026-11-28T00:00:00.000",
        "arn:aws:kinesis:eu-central-1:000000000000:table/a/stream/2026-11-28T00:00:00.000",
        "urn:aws:dynamodb:eu-central-1:000000000000:table/a/stream/2026-11-28T00:00:00.000",
        "arn:aws:dynamodb:eu-central-1:a-stream-of-no-account",
    ],
)
def test_what_cannot_name_a_stream_is_no_stream_that_is_missing(server: ApiServer, arn: str) -> None:
    said = ("ValidationException", "Invalid StreamArn")
    assert refused(server, "list_streams", ExclusiveStartStreamArn=arn) == said
    assert refused(server, "describe_stream", StreamArn=arn) == said
    assert refused(server, "get_shard_iterator", StreamArn=arn, ShardId="shardId-" + "0" * 20, ShardIteratorType="LATEST") == said


def test_what_is_wrong_is_refused_in_words(server: ApiServer) -> None:
    server.make_table("refused", **on())
    put(server, "refused", "a", "b")
    arn = arn_of(server, "refused")
    (part,) = [one["ShardId"] for one in parts(server, arn)]
    gone = arn[:-1] + ("1" if arn[-1] != "1" else "2")
    missing = ("ResourceNotFoundException", f"Requested resource not found: Stream: {gone} not found")
    assert refused(server, "describe_stream", StreamArn=gone) == missing
    asked = {"StreamArn": arn, "ShardId": part}
    assert refused(server, "get_shard_iterator", **{**asked, "StreamArn": gone}, ShardIteratorType="LATEST") == missing
    assert refused(server, "get_shard_iterator", **{**asked, "ShardId": part[:-1] + "x"}, ShardIteratorType="LATEST") == (
        "ResourceNotFoundException",
        "Requested resource not found: Shard does not exist",
    )
    for wrong in (
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
        {"ShardIteratorType": "LATEST", "SequenceNumber": sequence(1, 0)},
        {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "9" * 21},
        {"ShardIteratorType": "NEWEST"},
        {"ShardIteratorType": "AT_TIMESTAMP"},
        {"ShardIteratorType": "LATEST", "Timestamp": 0},
    ):
        assert refused(server, "get_shard_iterator", **asked, **wrong)[0] == "ValidationException", wrong
    iterator = begin(server, arn)
    assert refused(server, "get_records", ShardIterator="nonsense") == ("ValidationException", "Invalid ShardIterator")
    damaged = iterator[:-6] + ("A" if iterator[-6] != "A" else "B") + iterator[-5:]
    assert refused(server, "get_records", ShardIterator=damaged) == ("ValidationException", "Invalid ShardIterator")
    code, words = refused(server, "get_records", ShardIterator=iterator, Limit=1001)
    assert (code, words) == (
        "ValidationException",
        "1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000",
    )
    parsed = iterator_of(iterator)
    assert parsed is not None
    old = parsed._replace(made_us=parsed.made_us - ITERATOR_LIFE_US - 1_000_000).text()
    assert refused(server, "get_records", ShardIterator=old)[0] == "ExpiredIteratorException"
    assert streams(server).get_records(ShardIterator=parsed._replace(made_us=parsed.made_us - ITERATOR_LIFE_US + 60_000_000).text())[
        "Records"
    ]


def aged(server: ApiServer, name: str, *, records_too: bool) -> None:
    """A table's stream is two days old, and its first record is more than a day."""
    meta = server.backend.table(name)
    assert meta is not None
    assert meta.streams
    (partition,) = [server.backend._partitions[info.partition_id] for info in meta.partitions]
    if records_too:
        first = partition.history[0]
        partition.history[0] = first._replace(timestamp_us=first.timestamp_us - STREAM_KEPT_US)
    stream = msgspec.structs.replace(meta.streams[-1], created_at=meta.streams[-1].created_at - 2 * STREAM_KEPT_US)
    server.backend._tables[name] = msgspec.structs.replace(meta, streams=(stream,))


@pytest.mark.slow
def test_an_answer_has_its_bounds_and_the_next_one_goes_on(server: ApiServer) -> None:
    """A thousand changes; a MiB of keys and items; and what can be shown before something that cannot."""
    server.make_table("many", **on("KEYS_ONLY"))
    for start in range(0, 1050, 25):
        requests = [{"PutRequest": {"Item": {"pk": {"S": f"k{start + number:04d}"}}}} for number in range(25)]
        server.ok("BatchWriteItem", {"RequestItems": {"many": requests}})
    iterator = begin(server, arn_of(server, "many"))
    answer = streams(server).get_records(ShardIterator=iterator)
    assert len(answer["Records"]) == 1000
    rest = streams(server).get_records(ShardIterator=answer["NextShardIterator"])["Records"]
    assert [one["dynamodb"]["Keys"]["pk"]["S"] for one in answer["Records"] + rest] == [f"k{number:04d}" for number in range(1050)]
    read, page = server.backend.streams.read, server.backend.streams.bound

    async def failing(info: Any, first: Any, **more: Any) -> Any:
        if first > page:
            raise Missing("the archive does not hold this record", what="segment")
        return await read(info, first, **more)

    server.backend.streams.read = failing  # type: ignore[method-assign]
    try:
        answer = streams(server).get_records(ShardIterator=iterator)
        assert len(answer["Records"]) == page
        assert refused(server, "get_records", ShardIterator=answer["NextShardIterator"])[0] == "InternalServerError"
    finally:
        server.backend.streams.read = read  # type: ignore[method-assign]
    server.make_table("large", **on())
    for number in range(5):
        put(server, "large", f"k{number}", "x" * 300_000)
    put(server, "large", "k0", "y" * 380_000)
    following, counts = begin(server, arn_of(server, "large")), []
    for _ in range(3):
        answer = streams(server).get_records(ShardIterator=following)
        following = answer["NextShardIterator"]
        counts.append(len(answer["Records"]))
    assert counts == [3, 2, 1]
    assert answer["Records"][0]["eventName"] == "MODIFY"


def test_what_is_older_than_a_day_is_trimmed(server: ApiServer) -> None:
    server.make_table("trimmed", **on())
    put(server, "trimmed", "old", "x")
    put(server, "trimmed", "new", "x")
    arn = arn_of(server, "trimmed")
    old, new = records(server, begin(server, arn))
    kept = begin(server, arn, "AT_SEQUENCE_NUMBER", SequenceNumber=old["dynamodb"]["SequenceNumber"])

    aged(server, "trimmed", records_too=True)
    (part,) = parts(server, arn)
    parsed = iterator_of(kept)
    assert parsed is not None
    trimmed = parsed._replace(part=part["ShardId"]).text()
    assert refused(server, "get_records", ShardIterator=trimmed)[0] == "TrimmedDataAccessException"
    asked = {"StreamArn": arn, "ShardId": part["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER"}
    assert (
        refused(server, "get_shard_iterator", **asked, SequenceNumber=old["dynamodb"]["SequenceNumber"])[0] == "TrimmedDataAccessException"
    )
    assert [one["dynamodb"] for one in records(server, begin(server, arn))] == [new["dynamodb"]]


def test_what_cannot_be_read_is_said_as_what_it_is(server: ApiServer) -> None:
    """Not there any more, and older than a day: trimmed. Younger, or there without what was there before it: a fault of ours, and no word of a table or stream that is gone."""
    server.make_table("lacking", **on())
    put(server, "lacking", "a", "x")
    iterator = begin(server, arn_of(server, "lacking"))
    server.backend.streams.lack = Missing("the record does not say what was there before", what="old item")
    try:
        code, words = refused(server, "get_records", ShardIterator=iterator)
        assert (code, "does not say what was there before" in words) == ("InternalServerError", True)
        server.backend.streams.lack = Missing("the archive does not hold this record", what="segment")
        code, words = refused(server, "get_records", ShardIterator=iterator)
        assert (code, "not a day old" in words) == ("InternalServerError", True)
        server.backend.streams.lack = None
        assert len(records(server, iterator)) == 1
        parsed = iterator_of(iterator)
        assert parsed is not None
        aged(server, "lacking", records_too=True)
        (part,) = parts(server, parsed.arn)
        server.backend.streams.lack = Missing("the archive does not hold this record", what="segment")
        old = parsed._replace(part=part["ShardId"], lsn=1, since_us=0).text()
        assert refused(server, "get_records", ShardIterator=old)[0] == "TrimmedDataAccessException"
    finally:
        server.backend.streams.lack = None


def test_whose_doing_a_change_was_is_said(server: ApiServer) -> None:
    server.make_table("whose", **on())
    put(server, "whose", "a", "x")
    meta = server.backend.table("whose")
    assert meta is not None
    item = encode_item({"pk": ("S", "a")})

    def identity(*, service: bool) -> Any:
        change = ItemChange(Lsn(1), 0, b"", item, None, Stamp(1 << 40), service)
        return record_of(change, meta=meta, view="OLD_IMAGE", partition=meta.partitions[0].partition_id, region="r").get("userIdentity")

    assert identity(service=True) == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    assert identity(service=False) is None


def test_names_of_places_come_back() -> None:
    assert place_of(sequence(7, 3)) == (7, 3)
    assert [place_of(text) for text in ("", "x" * 26, "9" * 26, "0" * 25)] == [None] * 4
    data = ITERATOR.pack(1, 0, 1, 0, 0) + b"\xff"  # bytes that are no text are no part, and no fault of ours
    text = base64.b64encode(data + crc32c_masked(b"arn:a" + data).to_bytes(4, "little")).decode()
    assert iterator_of(f"arn:a|1|{text}") == ShardIterator("arn:a", "\ufffd", 1, 0, 0)
    made = ShardIterator("arn:a", "shardId-1", 1 << 40, 5, 77, 9)
    assert iterator_of(made.text()) == made
    assert [
        iterator_of(text) for text in ("", "a|1|", "a|2|" + made.text().rpartition("|")[2], made.text()[:-8], "b" + made.text()[1:])
    ] == [None] * 5
