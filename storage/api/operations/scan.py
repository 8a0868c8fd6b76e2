"""Scan, whole or in parallel segments.

A segment is an equal share of the hash space, so it stays the same whatever the partitions are. Rows come in storage key order.
"""

from __future__ import annotations

from typing import Any

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.index_reads import index_read
from scrubjay.storage.api.operations.items import check_paths
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.paged import (
    BAD_START_KEY,
    check_minimum,
    check_select,
    check_start_key,
    check_table_name_and_limit,
    filter_of,
    read_page,
    start_key_of,
)
from scrubjay.storage.api.pages import ranges_of
from scrubjay.storage.api.parameters import Layer, check_mixing, placeholders_of, projection_of, worded
from scrubjay.storage.api.shapes import (
    ATTRIBUTES_TO_GET,
    BOOLEAN,
    CONDITIONAL_OPERATOR,
    CONDITIONS,
    DATA_TABLE_NAME,
    INDEX_NAME,
    NAMES,
    RETURN_CONSUMED_CAPACITY,
    SELECT,
    STRING,
    VALUES,
    Int,
    Struct,
)
from scrubjay.storage.items.errors import ItemError

_SPACE = 1 << 128

_SCAN = Struct(
    "ScanInput",
    {
        "Limit": Int(),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "AttributesToGet": ATTRIBUTES_TO_GET,
        "Segment": Int(),
        "Select": SELECT,
        "ScanFilter": CONDITIONS,
        "ConditionalOperator": CONDITIONAL_OPERATOR,
        "TotalSegments": Int(maximum=limits.SCAN_SEGMENTS_MAX),
        "TableName": DATA_TABLE_NAME,
        "ExclusiveStartKey": VALUES,
        "IndexName": INDEX_NAME,
        "FilterExpression": STRING,
        "ProjectionExpression": STRING,
        "ExpressionAttributeValues": VALUES,
        "ExpressionAttributeNames": NAMES,
        "ConsistentRead": BOOLEAN,
    },
    required=("TableName",),
)


def _check_scan(call: Call, data: Body) -> None:
    check_table_name_and_limit(data)
    check_minimum(data, "Segment", 0)
    check_minimum(data, "TotalSegments", 1)
    check_constraints(call)


def _check_segments(data: Body) -> None:
    segment, total = data.get("Segment"), data.get("TotalSegments")
    if segment is not None and total is None:
        raise errors.validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"
        )
    if total is not None:
        if segment is None:
            raise errors.validation(
                "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"
            )
        if segment >= total:
            raise errors.validation("The Segment parameter is zero-based and must be less than parameter TotalSegments")


def segment_bounds(segment: int, total: int) -> tuple[bytes, bytes | None]:
    """Storage keys [start, end) of one segment; end None at the end of the hash space."""
    start = (segment * _SPACE + total - 1) // total
    end = ((segment + 1) * _SPACE + total - 1) // total
    return start.to_bytes(16, "big"), None if end >= _SPACE else end.to_bytes(16, "big")


def scan(call: Call) -> None:
    data = read_input(call)
    _check_scan(call, data)
    check_mixing(
        data,
        ("ProjectionExpression", "FilterExpression"),
        ("AttributesToGet", "ScanFilter", "ConditionalOperator"),
        Layer.OLDER,
    )
    check_select(data, "Scanning")
    try:
        projection = projection_of(data, None) if "AttributesToGet" in data else None
        condition = filter_of(data, None, "ScanFilter") if "FilterExpression" not in data else None
        start_key = start_key_of(data)
    except ItemError as error:
        raise worded(error, Layer.OLDER, call.raw) from None
    _check_segments(data)
    try:
        placeholders = placeholders_of(data)
        if "FilterExpression" in data:
            condition = filter_of(data, placeholders, "ScanFilter")
        if projection is None:
            projection = projection_of(data, placeholders)
        placeholders.check_all_used()
    except ItemError as error:
        raise worded(error, Layer.OLDER, call.raw) from None
    meta = call.data_table(data["TableName"], "Scan", NamedItems([], (condition, projection), data.get("IndexName")))
    view = index_read(call.api.backend, meta, data, condition, projection, by_key=False)
    segment, total = data.get("Segment", 0), data.get("TotalSegments", 1)
    start, end = segment_bounds(segment, total)
    if start_key is not None:
        at = check_start_key(meta, start_key, view)
        if at < start or (end is not None and at >= end):
            raise errors.validation(
                f"{BAD_START_KEY}: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "
                f"TotalSegments: {total} Segment: {segment}"
            )
        start = at + b"\x00"
    check_paths(meta, condition, None, projection)
    read_page(
        call, meta, ranges_of(meta if view is None else view.table, start, end), condition=condition, projection=projection, view=view
    )


OPERATIONS: dict[str, Any] = {"Scan": Operation(_SCAN, scan)}
