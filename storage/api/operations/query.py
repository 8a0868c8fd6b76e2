"""Query, and what it shares with Scan."""

from __future__ import annotations

import bisect
from typing import Any

from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.capacity import consumed, read_units
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.operations.base import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.items import check_paths
from scrubjay.storage.api.pages import KeyRange, Page
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
from scrubjay.storage.items.keys import check_key, storage_key
from scrubjay.storage.items.legacy import check_conditional_operator, parse_filter, parse_key_conditions
from scrubjay.storage.items.legacy import check_no_keys as check_no_filter_keys
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_from_json, item_to_json

BAD_START_KEY = "The provided starting key is invalid"
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


def check_minimum(data: Body, name: str, minimum: int) -> None:
    """The current wording of a lower bound, told alone."""
    value = data.get(name)
    if value is not None and value < minimum:
        raise errors.constraints(
            [f"Value at '{name}' failed to satisfy constraint: Member must have value greater than or equal to {minimum}"]
        )


def check_select(data: Body, verb: str) -> None:
    """What Select goes together with. Raises ApiError."""
    select = data.get("Select")
    if select is None:
        return
    asked = next((name for name in ("AttributesToGet", "ProjectionExpression") if name in data), None)
    if select == "SPECIFIC_ATTRIBUTES":
        if asked is None:
            message = "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
            raise errors.enveloped(message) if verb == "Querying" else errors.validation(message)
    elif asked is not None:
        what = "only the Count" if select == "COUNT" else select
        message = f"Cannot specify the {asked} when choosing to get {what}"
        raise errors.enveloped(message) if verb == "Querying" else errors.validation(message)
    if select == "ALL_PROJECTED_ATTRIBUTES" and "IndexName" not in data:
        message = f"One or more parameter values were invalid: ALL_PROJECTED_ATTRIBUTES can be used only when {verb} using an IndexName"
        raise errors.validation(message)


def no_index(data: Body) -> ApiError:
    """No table has an index yet."""
    return errors.validation(f"The table does not have the specified index: {data['IndexName']}")


def start_key_of(data: Body) -> Item | None:
    """ExclusiveStartKey, read but not yet held against the table. Raises ItemError."""
    obj = data.get("ExclusiveStartKey")
    return None if obj is None else item_from_json(obj, "ExclusiveStartKey")


def check_start_key(meta: TableMeta, key: Item) -> bytes:
    """The storage key to go on after."""
    try:
        check_key(meta.key, key)
    except ItemError:
        raise errors.validation(BAD_START_KEY) from None
    return storage_key(meta.key, key)


def filter_of(data: Body, placeholders: Any, legacy: str) -> Condition | None:
    """FilterExpression, or the legacy filter in the member `legacy`. Raises ItemError."""
    text = data.get("FilterExpression")
    if text is not None:
        return parse_condition(text, placeholders, kind="FilterExpression")
    check_conditional_operator(data.get("ConditionalOperator"), data.get(legacy))
    conditions = data.get(legacy)
    return parse_filter(conditions, data.get("ConditionalOperator")) if conditions else None


def partition_of(meta: TableMeta, key: bytes) -> PartitionInfo:
    """The partition whose range holds a storage key."""
    partitions = meta.partitions
    if len(partitions) == 1:
        return partitions[0]
    return partitions[bisect.bisect_right([info.lo for info in partitions], key[:16].hex()) - 1]


def answer_page(call: Call, meta: TableMeta, page: Page, *, consistent: bool, count_only: bool) -> None:
    """The answer of a Query or Scan."""
    data = call.input
    body: Body = {"Count": page.count, "ScannedCount": page.scanned}
    if not count_only:
        body["Items"] = page.items
    if page.last is not None:
        body["LastEvaluatedKey"] = item_to_json(page.last)
    mode = data.get("ReturnConsumedCapacity")
    if mode is not None and mode != "NONE":
        body["ConsumedCapacity"] = consumed(mode, data["TableName"], read_units(page.size, consistent=consistent))
    call.reply(body, page.traces)


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
    if "IndexName" in data:
        raise no_index(data)
    _run_query(call, meta, conditions, condition, projection, start_key)


def _check_query(call: Call, data: Body) -> None:
    if data.get("TableName") == "":
        raise errors.constraints(["Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1"])
    check_minimum(data, "Limit", 1)
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
    try:
        key = bind(conditions, meta.key)
        if condition is not None:
            if "QueryFilter" in data:
                check_no_filter_keys(data["QueryFilter"], meta.key)
            else:
                check_no_keys(condition, meta.key)
    except ItemError as error:
        raise errors.validation(error.message) from None
    check_paths(meta, condition, None, projection)
    reverse = data.get("ScanIndexForward", True) is False
    start, end = key.bounds()
    if start_key is not None:
        start, end = _after_start_key(meta, key, start_key, start, end, reverse=reverse)
    consistent: bool = data.get("ConsistentRead", False)
    count_only = data.get("Select") == "COUNT"

    def done(result: Page | BaseException) -> None:
        if isinstance(result, Page):
            answer_page(call, meta, result, consistent=consistent, count_only=count_only)
        else:
            call.fail(result)

    Page(
        call.api.backend,
        meta,
        [KeyRange(partition_of(meta, key.prefix()), start, end)],
        limit=data.get("Limit"),
        reverse=reverse,
        consistent=consistent,
        condition=condition,
        projection=projection,
        count_only=count_only,
        measure=data.get("ReturnConsumedCapacity", "NONE") != "NONE",
        done=call.guard(done),
    ).start()


def _after_start_key(
    meta: TableMeta, key: KeyCondition, start_key: Item, start: bytes, end: bytes | None, *, reverse: bool
) -> tuple[bytes, bytes | None]:
    """The rest of [start, end) behind the starting key. Raises unless the key lies in it."""
    at = check_start_key(meta, start_key)
    if start_key[meta.key.partition.name] != key.hash_value:
        raise errors.validation("The provided starting key is outside query boundaries based on provided conditions")
    if not start <= at or (end is not None and at >= end):
        raise errors.validation("The provided starting key does not match the range key predicate")
    return (start, at) if reverse else (at + b"\x00", end)


OPERATIONS: dict[str, Any] = {"Query": Operation(_QUERY, query)}
