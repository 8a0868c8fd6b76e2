"""Query: the rows of one partition key value, in the order of their sort keys."""

from __future__ import annotations

import bisect
from typing import Any

from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.local_indexes import IndexRead, index_read
from scrubjay.storage.api.operations.items import check_paths
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.paged import (
    check_select,
    check_start_key,
    check_table_name_and_limit,
    filter_of,
    read_page,
    start_key_of,
)
from scrubjay.storage.api.pages import KeyRange
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
from scrubjay.storage.catalogue import PartitionInfo, TableMeta
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition, check_no_keys, parse_condition
from scrubjay.storage.items.expressions.keycondition import (
    WRONG_LENGTH,
    AttributeCondition,
    KeyCondition,
    KeyExpression,
    bind,
    parse_key_expression,
)
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.legacy import check_conditional_operator, parse_key_conditions
from scrubjay.storage.items.legacy import check_no_keys as check_no_filter_keys
from scrubjay.storage.items.local_index import entry_bounds, items_end
from scrubjay.storage.items.values import Item

_ONE_EACH = "KeyConditionExpressions must only contain one condition per key"
_NEITHER = "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."

_QUERY = Struct(
    "QueryInput",
    {
        "Limit": Int(),
        "ExclusiveStartKey": VALUES,
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "AttributesToGet": ATTRIBUTES_TO_GET,
        "QueryFilter": CONDITIONS,
        "Select": SELECT,
        "ConditionalOperator": CONDITIONAL_OPERATOR,
        "KeyConditions": CONDITIONS,
        "TableName": DATA_TABLE_NAME,
        "ConsistentRead": BOOLEAN,
        "IndexName": INDEX_NAME,
        "ScanIndexForward": BOOLEAN,
        "KeyConditionExpression": STRING,
        "FilterExpression": STRING,
        "ProjectionExpression": STRING,
        "ExpressionAttributeValues": VALUES,
        "ExpressionAttributeNames": NAMES,
    },
    required=("TableName",),
)


def partition_of(meta: TableMeta, key: bytes) -> PartitionInfo:
    """The partition whose range holds a storage key."""
    partitions = meta.partitions
    if len(partitions) == 1:
        return partitions[0]
    return partitions[bisect.bisect_right([info.lo for info in partitions], key[:16].hex()) - 1]


def query(call: Call) -> None:
    data = read_input(call)
    _check_query(call, data)
    legacy: tuple[str, ...] = ("AttributesToGet", "QueryFilter", "ConditionalOperator")
    if "KeyConditionExpression" in data:
        # the old key conditions go together with the other expressions
        legacy += ("KeyConditions",)
    check_mixing(data, ("ProjectionExpression", "FilterExpression", "KeyConditionExpression"), legacy, Layer.BARE)
    try:
        check_conditional_operator(data.get("ConditionalOperator"), data.get("QueryFilter"))
    except ItemError as error:
        raise worded(error, Layer.BARE, call.raw) from None
    check_select(data, "Querying")
    if "KeyConditions" not in data and "KeyConditionExpression" not in data:
        raise errors.validation(_NEITHER)
    try:
        placeholders = placeholders_of(data)
        legacy_key = parse_key_conditions(data["KeyConditions"]) if "KeyConditions" in data else None
        key_expression = None if legacy_key is not None else parse_key_expression(data["KeyConditionExpression"], placeholders)
        condition = filter_of(data, placeholders, "QueryFilter")
        projection = projection_of(data, placeholders)
        placeholders.check_all_used()
        start_key = start_key_of(data)
        conditions = legacy_key if legacy_key is not None else _conditions(key_expression)
    except ItemError as error:
        raise _key_condition_fault(call, error) or worded(error, Layer.BARE, call.raw) from None
    meta = call.data_table(data["TableName"])
    _run_query(call, meta, conditions, condition, projection, start_key)


def _check_query(call: Call, data: Body) -> None:
    check_table_name_and_limit(data)
    operator = data.get("ConditionalOperator")
    if operator is not None and operator not in ("AND", "OR") and "TableName" in data:
        raise errors.validation("Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]")
    check_constraints(call)


def _conditions(expression: KeyExpression | None) -> dict[str, AttributeCondition]:
    assert expression is not None
    return expression.conditions()


def _key_condition_fault(call: Call, error: ItemError) -> ApiError | None:
    """The current words for two faults of a KeyConditionExpression's shape; None for every other fault."""
    text = call.input.get("KeyConditionExpression")
    if text is None:
        return None
    if error.message == _ONE_EACH:
        return errors.validation(f"Invalid KeyConditionExpression: {_ONE_EACH}")
    if error.message == WRONG_LENGTH:
        paths = parse_condition(text, placeholders_of(call.input), kind="KeyConditionExpression").paths
        meta = call.data_table(call.input["TableName"])
        given, possible = len(dict.fromkeys(path[0] for path in paths)), 1 if meta.key.sort is None else 2
        return errors.validation(
            f"The number of query conditions ({given}) exceeds the number of key attributes defined in the schema ({possible})"
        )
    return None


def _run_query(
    call: Call,
    meta: TableMeta,
    conditions: dict[str, AttributeCondition],
    condition: Condition | None,
    projection: Projection | None,
    start_key: Item | None,
) -> None:
    data = call.input
    view = index_read(meta, data, condition, projection)
    schema = meta.key if view is None else view.schema
    try:
        key = bind(conditions, schema)
        if condition is not None:
            if "QueryFilter" in data:
                check_no_filter_keys(data["QueryFilter"], schema)
            else:
                check_no_keys(condition, schema)
    except ItemError as error:
        raise errors.validation(error.message) from None
    check_paths(meta, condition, None, projection)
    reverse = data.get("ScanIndexForward", True) is False
    start, end = _bounds(key, view)
    if start_key is not None:
        start, end = _after_start_key(meta, key, start_key, start, end, view, reverse=reverse)
    ranges = [KeyRange(partition_of(meta, key.prefix()), start, end)]
    read_page(call, meta, ranges, condition=condition, projection=projection, view=view, reverse=reverse)


def _bounds(key: KeyCondition, view: IndexRead | None) -> tuple[bytes, bytes | None]:
    """Keys of the tree [start, end) that can meet the condition."""
    if view is None:
        return key.bounds()
    if view.number:
        return entry_bounds(view.definition, view.number, key.prefix(), key.operator, key.sort_values)
    start, end = key.bounds()
    edge = items_end(view.local.key, key.prefix())
    return start, end if edge is None else edge if end is None else min(end, edge)


def _after_start_key(
    meta: TableMeta, key: KeyCondition, start_key: Item, start: bytes, end: bytes | None, view: IndexRead | None, *, reverse: bool
) -> tuple[bytes, bytes | None]:
    """The rest of [start, end) behind the starting key. Raises unless the key lies in it."""
    at = check_start_key(meta, start_key, view)
    if start_key[meta.key.partition.name] != key.hash_value:
        raise errors.validation("The provided starting key is outside query boundaries based on provided conditions")
    if not start <= at or (end is not None and at >= end):
        raise errors.validation("The provided starting key does not match the range key predicate")
    return (start, at) if reverse else (at + b"\x00", end)


OPERATIONS: dict[str, Any] = {"Query": Operation(_QUERY, query)}
