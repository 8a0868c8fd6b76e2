"""What clients are told when the store behind the API cannot do its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scrubjay.base.errors import Corrupt, DiskFull, NotLeader, ScrubjayError, Unavailable
from scrubjay.storage.api import errors
from tests.api_server import ApiServer

ITEM = {"pk": {"S": "a"}}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(backend_options={"initial_partitions": 3}) as started:
        started.make_table("hash")
        yield started
        assert started.unexpected == []


def plant(server: ApiServer, error: ScrubjayError, after: int = 0) -> None:
    """Every data access fails from now on, but for the first `after`."""
    left = [after]

    def fail(table: str, key: bytes | None) -> ScrubjayError | None:
        left[0] -= 1
        return error if left[0] < 0 else None

    server.call(lambda: setattr(server.backend, "fail", fail))


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {"TableName": "hash", "Item": ITEM}),
    ("GetItem", {"TableName": "hash", "Key": ITEM}),
    ("UpdateItem", {"TableName": "hash", "Key": ITEM}),
    ("DeleteItem", {"TableName": "hash", "Key": ITEM}),
    ("Query", {"TableName": "hash", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}}),
    ("Scan", {"TableName": "hash"}),
    ("BatchGetItem", {"RequestItems": {"hash": {"Keys": [ITEM]}}}),
    ("BatchWriteItem", {"RequestItems": {"hash": [{"PutRequest": {"Item": ITEM}}]}}),
]


@pytest.mark.parametrize(
    "error", [Unavailable("no quorum"), NotLeader("moved"), DiskFull("full"), Corrupt("rot")], ids=lambda error: error.code
)
@pytest.mark.parametrize(("operation", "request_"), REQUESTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_store_that_cannot_is_an_error_that_sdks_retry(
    server: ApiServer, operation: str, request_: dict[str, Any], error: ScrubjayError
) -> None:
    plant(server, error)
    status, body = server.ask(operation, request_)
    if isinstance(error, DiskFull):  # a lack of room is said in words, and is retried all the same
        assert (status, body["__type"].rpartition("#")[2]) == (503, "ServiceUnavailableException")
        return
    assert status == 500
    assert body["__type"] == "com.amazonaws.dynamodb.v20120810#InternalServerError"
    # What the store lacks is said; what is a fault of ours, or of the disk below it, is not the client's to read.
    lacking = errors.CANNOT_NOW + error.message + "." if isinstance(error, Unavailable) else errors.internal().message
    assert body["message"] == lacking


def test_a_write_of_unknown_outcome_is_said_to_be_one(server: ApiServer) -> None:
    plant(server, Unavailable("no quorum has written this in time", unknown=True))
    _, body = server.ask("PutItem", {"TableName": "hash", "Item": ITEM})
    assert body["message"] == (
        "The store cannot do this now: no quorum has written this in time. What was asked for may have been done, or be done yet."
    )


def test_batches_hand_back_what_could_not_be_done(server: ApiServer) -> None:
    plant(server, Unavailable("busy"), after=2)
    keys = [{"pk": {"S": str(index)}} for index in range(5)]
    written = server.ok("BatchWriteItem", {"RequestItems": {"hash": [{"PutRequest": {"Item": key}} for key in keys]}})
    assert written == {"UnprocessedItems": {"hash": [{"PutRequest": {"Item": key}} for key in keys[2:]]}}
    plant(server, Unavailable("busy"), after=1)
    read = server.ok("BatchGetItem", {"RequestItems": {"hash": {"Keys": keys, "ConsistentRead": True}}})
    assert read["Responses"] == {"hash": [keys[0]]}
    assert read["UnprocessedKeys"] == {"hash": {"Keys": keys[1:], "ConsistentRead": True}}


def test_a_page_that_fails_half_way_is_no_page(server: ApiServer) -> None:
    plant(server, Unavailable("busy"), after=1)
    assert server.ask("Scan", {"TableName": "hash"})[0] == 500


HUGE = {"L": [{"N": "1e125"}] * 70_000}
"""210 KB as DynamoDB counts, 9 MB written out."""


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("PutItem", {"TableName": "hash", "Item": ITEM | {"l": HUGE}}),
        ("UpdateItem", {"TableName": "hash", "Key": ITEM, "AttributeUpdates": {"l": {"Value": HUGE}}}),
        ("BatchWriteItem", {"RequestItems": {"hash": [{"PutRequest": {"Item": ITEM | {"l": HUGE}}}]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_item_that_no_record_can_hold_is_refused(server: ApiServer, operation: str, request_: dict[str, Any]) -> None:
    status, body = server.ask(operation, request_)
    if operation == "UpdateItem":
        assert body["message"] == "Item size to update has exceeded the maximum allowed size"
    else:
        assert body["message"] == "Item size has exceeded the maximum allowed size"
    assert (status, body["__type"].rpartition("#")[2]) == (400, "ValidationException")
    assert server.ask("GetItem", {"TableName": "hash", "Key": ITEM}) == (200, {})
