"""Query: the rows of one partition key value, in the order of their sort keys."""

from __future__ import annotations

import bisect
from typing import Any

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.index_reads import IndexRead, index_read
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
from scrubjay.storage.catalogue import KeySchema, PartitionInfo, TableMeta
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
from scrubjay.storage.items.keys import CompositeKey, key_attributes
from scrubjay.storage.items.legacy import check_conditional_operator, parse_key_conditions
from scrubjay.storage.items.legacy import check_no_keys as check_no_filter_keys
from scrubjay.storage.items.values import Item

_ONE_EACH = "KeyConditionExpressions must only contain one condition per key"
_CONDITIONS_PLAIN = 2
"""Conditions that a key of one attribute refuses in other words than it does more of them."""
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
    equal = {name: one.values[0] for name, one in conditions.items() if one.operator == "="}
    meta = call.data_table(data["TableName"], "Query", NamedItems([equal], (condition, projection), data.get("IndexName")))
    _run_query(call, meta, conditions, condition, projection, start_key)


def _check_query(call: Call, data: Body) -> None:
    check_table_name_and_limit(data)
    operator = data.get("ConditionalOperator")
    if operator is not None and operator not in ("AND", "OR") and "TableName" in data:
        raise errors.validation("Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]")
    check_constraints(call)


def _conditions(expression: KeyExpression | None) -> dict[str, AttributeCondition]:
    assert expression is not None
    return expression.conditions(limit=2 * limits.KEY_PARTS_MAX)


def _key_condition_fault(call: Call, error: ItemError) -> ApiError | None:
    """The current words for two faults of a KeyConditionExpression's shape; None for every other fault."""
    text = call.input.get("KeyConditionExpression")
    if text is None:
        return None
    if error.message == _ONE_EACH:
        return errors.validation(f"Invalid KeyConditionExpression: {_ONE_EACH}")
    if error.message == WRONG_LENGTH:
        paths = parse_condition(text, placeholders_of(call.input), kind="KeyConditionExpression").paths
        meta = call.data_table(call.input["TableName"], "Query", NamedItems(None, index_name=call.input.get("IndexName")))
        return _too_many(len(dict.fromkeys(path[0] for path in paths)), meta.key)
    return None


def _too_many(given: int, schema: KeySchema | CompositeKey) -> ApiError:
    return errors.validation(
        f"The number of query conditions ({given}) exceeds the number of key attributes defined in the schema ({len(key_attributes(schema))})"
    )


def _run_query(
    call: Call,
    meta: TableMeta,
    conditions: dict[str, AttributeCondition],
    condition: Condition | None,
    projection: Projection | None,
    start_key: Item | None,
) -> None:
    data = call.input
    view = index_read(call.api.backend, meta, data, condition, projection, by_key=True)
    schema = meta.key if view is None else view.schema
    if len(conditions) > max(_CONDITIONS_PLAIN, len(key_attributes(schema))):
        raise _too_many(len(conditions), schema)
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
    partition, start, end = range_of(meta, key, view)
    if start_key is not None:
        start, end = _after_start_key(meta, key, start_key, start, end, view, reverse=reverse)
    read_page(call, meta, [KeyRange(partition, start, end)], condition=condition, projection=projection, view=view, reverse=reverse)


def bounds_of(key: KeyCondition, view: IndexRead | None) -> tuple[bytes, bytes | None]:
    """Keys of the tree [start, end) that can meet the condition."""
    return key.bounds() if view is None else view.bounds(key)


def range_of(meta: TableMeta, key: KeyCondition, view: IndexRead | None) -> KeyRange:
    """Where that is, of the table or of the index that is read."""
    table, prefix = (meta, key.prefix()) if view is None else (view.table, view.prefix(key))
    return KeyRange(partition_of(table, prefix), *bounds_of(key, view))


def _after_start_key(
    meta: TableMeta, key: KeyCondition, start_key: Item, start: bytes, end: bytes | None, view: IndexRead | None, *, reverse: bool
) -> tuple[bytes, bytes | None]:
    """The rest of [start, end) behind the starting key. Raises unless the key lies in it: the sort key is looked at first if the query asks for one, as by AWS."""
    at = check_start_key(meta, start_key, view)
    names = [one.name for one in CompositeKey.of(key.schema).hash]
    elsewhere = tuple([start_key[name] for name in names]) != key.hash_values
    sorts = key.operator is not None or bool(key.equal)
    if elsewhere and not sorts:
        raise errors.validation("The provided starting key is outside query boundaries based on provided conditions")
    here = check_start_key(meta, {**start_key, **dict(zip(names, key.hash_values, strict=True))}, view) if elsewhere else at
    if not start <= here or (end is not None and here >= end):
        raise errors.validation("The provided starting key does not match the range key predicate")
    if elsewhere:
        raise errors.validation("The query can return at most one row and cannot be restarted")
    return (start, at) if reverse else (at + b"\x00", end)


OPERATIONS: dict[str, Any] = {"Query": Operation(_QUERY, query)}
