"""GetItem, PutItem, UpdateItem and DeleteItem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scrubjay.base.errors import Corrupt, ScrubjayError, from_code
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.capacity import Consumed, consumed, read_units, stored_size
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.item_collections import CollectionMetrics
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.parameters import (
    Layer,
    check_mixing,
    condition_of,
    placeholders_of,
    projection_of,
    refused,
    update_of,
    worded,
)
from scrubjay.storage.api.shapes import (
    ATTRIBUTE_UPDATES,
    ATTRIBUTES_TO_GET,
    BOOLEAN,
    CONDITIONAL_OPERATOR,
    DATA_TABLE_NAME,
    EXPECTED,
    NAMES,
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    RETURN_ON_FAILURE,
    RETURN_VALUES,
    STRING,
    VALUES,
    Shape,
    Struct,
    lower_first,
)
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import (
    Decision,
    DeleteCommand,
    Failure,
    ItemCommand,
    Outcome,
    PutCommand,
    ReadAnswer,
    UpdateCommand,
    WriteAnswer,
)
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition, check_key_paths
from scrubjay.storage.items.expressions.index_attributes import check_index_paths, check_index_values
from scrubjay.storage.items.expressions.placeholders import Placeholders
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.index_keys import IndexKeys
from scrubjay.storage.items.keys import check_item_keys, check_key, key_item, storage_key
from scrubjay.storage.items.local_index import COLLECTION_FULL
from scrubjay.storage.items.size import check_encoded_size, check_item_size
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_bytes_to_json, item_from_json, item_to_json

_NEW_RETURN_VALUES = "Failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
_NEW_CONDITIONAL_OPERATOR = "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]"
_TOO_SHORT_NAME = "Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1"
_ONLY_OLD = "ReturnValues can only be ALL_OLD or NONE"
DEEP_LEVELS = 62
"""Nesting beyond which AWS reads a single-item request the older way."""


# -- the first look at a single-item write ---------------------------------------------------------------------------------------------


def is_deep(obj: Any, levels: int = 2 * DEEP_LEVELS + 3) -> bool:
    """Whether JSON nests deeper than `levels` objects and arrays."""
    # level by level: most requests that come here are wide, not deep
    level: list[Any] = [obj] if type(obj) in (dict, list) else []
    while level and levels > 0:
        below: list[Any] = []
        for one in level:
            below += one.values() if type(one) is dict else one
        level = [one for one in below if type(one) in (dict, list)]
        levels -= 1
    return bool(level)


def check_write(call: Call, required: str, order: tuple[str, ...], *, alone: str | None = None) -> None:
    """Constraints of a single-item write, in the words of the layer that AWS runs for it.

    required: "Item" or "Key"; without it, or past the nesting limit, the older words are used and everything is told at once. order: members in
    the order they are told. alone: a member whose fault is told alone.
    """
    data = call.input
    if required not in data or "TableName" not in data or (call.deep and is_deep(call.raw)):
        check_constraints(call)
        return
    if not data["TableName"]:
        raise errors.constraints([_TOO_SHORT_NAME])
    if call.shape.fits(data):
        return
    found: list[str] = []
    for name in order:
        value = data.get(name)
        if value is None:
            continue
        here: list[str] = []
        call.shape.members[name].constrain(value, lower_first(name), here)
        if here and name == "ReturnValues":
            here = [_NEW_RETURN_VALUES]
        elif here and name == "ConditionalOperator":
            here = [_NEW_CONDITIONAL_OPERATOR]
        if here and name == alone:
            raise errors.constraints(here)
        found += here
    if found:
        raise errors.constraints(found)


def _faults(step: Callable[[Call], None]) -> Callable[[Call], None]:
    """A write operation whose value and expression faults are worded as its layer does."""

    def run(call: Call) -> None:
        try:
            step(call)
        except ItemError as error:
            raise worded(error, Layer.ENVELOPED, call.raw) from None

    return run


def table_key(call: Call, meta: TableMeta, key: Item) -> bytes:
    """The storage key of a Key parameter. Raises what AWS says once it knows the table."""
    try:
        check_key(meta.key, key)
    except ItemError as error:
        raise errors.validation(error.message) from None
    return storage_key(meta.key, key)


def check_paths(meta: TableMeta, condition: Condition | None, update: Update | None = None, projection: Projection | None = None) -> None:
    """Key attributes are scalars, those of indexes too: no path goes into one."""
    try:
        if condition is not None:
            check_key_paths(condition.paths, meta.key)
        if update is not None:
            check_key_paths(update.reads, meta.key)
        if projection is not None and projection.top is None:
            check_key_paths(projection.paths, meta.key)
        indexes = IndexKeys.of_table(meta)
        if indexes is not None:
            paths = [*(() if condition is None else condition.paths), *(() if projection is None else projection.paths)]
            check_index_paths([*paths, *(() if update is None else (*update.reads, *update.paths))], indexes)
    except ItemError as error:
        raise errors.validation(error.message) from None


# -- GetItem ---------------------------------------------------------------------------------------------------------------------------

_GET = Struct(
    "GetItemInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "AttributesToGet": ATTRIBUTES_TO_GET,
        "TableName": DATA_TABLE_NAME,
        "Key": VALUES,
        "ConsistentRead": BOOLEAN,
        "ProjectionExpression": STRING,
        "ExpressionAttributeNames": NAMES,
    },
    required=("TableName", "Key"),
)


def get_item(call: Call) -> None:
    data = read_input(call)
    if data.get("TableName") == "":
        raise errors.constraints([_TOO_SHORT_NAME])
    check_constraints(call)
    check_mixing(data, ("ProjectionExpression",), ("AttributesToGet",), Layer.BARE)
    try:
        key = item_from_json(data["Key"], "Key")
        projection: Projection | None = None
        if "ProjectionExpression" in data or "AttributesToGet" in data:
            placeholders = placeholders_of(data)
            projection = projection_of(data, placeholders)
            placeholders.check_all_used()
    except ItemError as error:
        raise worded(error, Layer.BARE, call.raw) from None
    meta = call.data_table(data["TableName"], "GetItem", NamedItems([key], (projection,)))
    storage = table_key(call, meta, key)
    if projection is not None:
        check_paths(meta, None, None, projection)
    consistent: bool = data.get("ConsistentRead", False)

    def done(answer: ReadAnswer | ScrubjayError) -> None:
        if isinstance(answer, ScrubjayError):
            call.fail(answer)
            return
        try:
            body: Body = {}
            if answer.item is not None:
                body["Item"] = shown(answer.item, projection)
            mode = data.get("ReturnConsumedCapacity")
            if mode is not None and mode != "NONE":
                units = read_units(stored_size(answer.item), consistent=consistent)
                body["ConsumedCapacity"] = consumed(mode, data["TableName"], units)
            call.reply(body, (Trace(answer.partition, answer.lsn),))
        except Exception as error:  # noqa: BLE001 the answer carries it
            call.fail(error)

    call.api.backend.read(meta, storage, consistent=consistent, done=done)


def shown(item: bytes, projection: Projection | None) -> Body:
    """Canonical bytes as the JSON of an answer."""
    if projection is None:
        return item_bytes_to_json(item)
    return item_to_json(projection.project(decode_item(item)))


# -- the writes ------------------------------------------------------------------------------------------------------------------------


class _Write:
    """What a write's answer needs to know. touched: of an update, for UPDATED_OLD and UPDATED_NEW."""

    __slots__ = ("call", "command", "meta", "touched")

    meta: TableMeta
    command: ItemCommand

    def __init__(self, call: Call, touched: Update | None = None) -> None:
        self.call = call
        self.touched = touched

    def send(self, meta: TableMeta, command: ItemCommand) -> None:
        self.meta, self.command = meta, command
        self.call.api.backend.write(meta, command, self.done)

    def done(self, answer: WriteAnswer | ScrubjayError) -> None:
        call = self.call
        if isinstance(answer, ScrubjayError):
            call.fail(answer)
            return
        try:
            traces = (Trace(answer.partition, answer.lsn, answer.timestamp_us),)
            outcome = answer.outcome
            if outcome.decision is Decision.CONDITION_FAILED:
                wants_item = call.input.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
                item = item_bytes_to_json(outcome.old) if wants_item and outcome.old is not None else None
                call.fail(errors.conditional_check_failed(item), traces)
            elif outcome.decision is Decision.REFUSED:
                call.fail(refusal(outcome.error), traces)
            else:
                self._reply(self._body(outcome), traces)
        except Exception as error:  # noqa: BLE001 the answer carries it
            call.fail(error)

    def _reply(self, body: Body, traces: Sequence[Trace]) -> None:
        def told(found: dict[str, list[Body]]) -> None:
            for (one,) in found.values():
                body["ItemCollectionMetrics"] = one
            self.call.reply(body, traces)

        collections = CollectionMetrics(self.call)
        collections.add(self.meta.name, self.meta, self.command.key, self.command.key_item)
        collections.ask(self.call.guard(told))

    def _body(self, outcome: Outcome) -> Body:
        data = self.call.input
        body: Body = {}
        attributes = returned(data.get("ReturnValues", "NONE"), outcome, self.touched)
        if attributes is not None:
            body["Attributes"] = attributes
        mode = data.get("ReturnConsumedCapacity")
        if mode is not None and mode != "NONE":
            units = Consumed()
            units.wrote(self.meta, self.command.key, outcome.old, outcome.new)
            body["ConsumedCapacity"] = units.body(mode, data["TableName"])
        return body


def returned(wanted: str, outcome: Outcome, touched: Update | None) -> Body | None:
    """What ReturnValues=`wanted` shows of a write; None: nothing. touched: of an update."""
    if wanted == "NONE":
        return None
    data = outcome.old if wanted in ("ALL_OLD", "UPDATED_OLD") else outcome.new
    if data is None:
        return None
    if wanted in ("ALL_OLD", "ALL_NEW"):
        return item_bytes_to_json(data)
    if touched is None:
        return None
    return item_to_json(touched.project_touched(decode_item(data))) or None


def refusal(failure: Failure | None) -> Exception:
    """What the leader refused: the item's own state is in the way, or its collection is full, or its bytes are rotten."""
    if failure is None or failure.code == Corrupt.code:
        return errors.internal()
    if failure.code == ItemError.code:
        return errors.validation(failure.message)
    if failure.code == COLLECTION_FULL:
        return errors.item_collection_full(failure.message)
    return from_code(failure.code, failure.message, failure.fields)


def _finish_expressions(placeholders: Placeholders | None) -> None:
    if placeholders is not None:
        placeholders.check_all_used()


def _maybe_placeholders(data: Body) -> Placeholders | None:
    if "ConditionExpression" in data or "UpdateExpression" in data:
        return placeholders_of(data)
    return None


_WRITE_MEMBERS: dict[str, Shape] = {
    "ConditionalOperator": CONDITIONAL_OPERATOR,
    "Expected": EXPECTED,
    "ConditionExpression": STRING,
    "ExpressionAttributeValues": VALUES,
    "ExpressionAttributeNames": NAMES,
    "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
}
_PUT = Struct(
    "PutItemInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "ReturnValues": RETURN_VALUES,
        "TableName": DATA_TABLE_NAME,
        "Item": VALUES,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        **_WRITE_MEMBERS,
    },
    required=("TableName", "Item"),
)
_COMMON_ORDER = (
    "ReturnConsumedCapacity",
    "TableName",
    "ReturnValues",
    "ReturnItemCollectionMetrics",
    "ConditionalOperator",
    "Expected",
    "ReturnValuesOnConditionCheckFailure",
)


@_faults
def put_item(call: Call) -> None:
    data = read_input(call)
    check_write(call, "Item", _COMMON_ORDER)
    if len(data) == 2:
        # the common put: nothing but a table and an item
        item = item_from_json(data["Item"])
        check_size(call, item)
        condition = None
    else:
        _check_returns_old(call)
        check_mixing(data, ("ConditionExpression",), ("Expected", "ConditionalOperator"), Layer.ENVELOPED)
        item = item_from_json(data["Item"])
        check_size(call, item)
        placeholders = _maybe_placeholders(data)
        condition = condition_of(data, placeholders)
        _finish_expressions(placeholders)
    meta = call.data_table(data["TableName"], "PutItem", NamedItems([item], (condition,)))
    try:
        check_item_keys(meta.key, item)
        check_index_keys_of(meta, item)
    except ItemError as error:
        raise errors.validation(error.message) from None
    if condition is not None:
        check_paths(meta, condition)
    blind = len(data) == 2  # nothing is returned or weighed
    command = PutCommand(storage_key(meta.key, item), encode_item(key_item(meta.key, item)), encoded(item), condition, blind=blind)
    _Write(call).send(meta, command)


def check_index_keys_of(meta: TableMeta, item: Item) -> None:
    """Raises ItemError if an item to be put has what cannot be a key of one of the table's indexes."""
    indexes = IndexKeys.of_table(meta)
    if indexes is not None:
        indexes.check_put(item)


def encoded(item: Item) -> bytes:
    """Canonical bytes of an item to be put. Raises ApiError (more than a record can hold)."""
    data = encode_item(item)
    try:
        check_encoded_size(data)
    except ItemError as error:
        raise errors.validation(error.message) from None
    return data


def check_size(call: Call, item: Item) -> None:
    """Raise if the item is too large. Its JSON is never shorter than its size, so most requests need no counting."""
    if call.size > limits.ITEM_BYTES_MAX:
        check_item_size(item)


def _check_returns_old(call: Call) -> None:
    wanted = call.input.get("ReturnValues")
    if wanted is not None and wanted not in ("ALL_OLD", "NONE"):
        raise refused(_ONLY_OLD, Layer.BARE if call.deep and is_deep(call.raw) else Layer.ENVELOPED)


_DELETE = Struct(
    "DeleteItemInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "TableName": DATA_TABLE_NAME,
        "ReturnValues": RETURN_VALUES,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "Key": VALUES,
        **_WRITE_MEMBERS,
    },
    required=("TableName", "Key"),
)


@_faults
def delete_item(call: Call) -> None:
    data = read_input(call)
    check_write(call, "Key", _COMMON_ORDER)
    _check_returns_old(call)
    check_mixing(data, ("ConditionExpression",), ("Expected", "ConditionalOperator"), Layer.ENVELOPED)
    key = item_from_json(data["Key"], "Key")
    placeholders = _maybe_placeholders(data)
    condition = condition_of(data, placeholders)
    _finish_expressions(placeholders)
    meta = call.data_table(data["TableName"], "DeleteItem", NamedItems([key], (condition,)))
    storage = table_key(call, meta, key)
    if condition is not None:
        check_paths(meta, condition)
    _Write(call).send(meta, DeleteCommand(storage, encode_item(key), condition))


_UPDATE = Struct(
    "UpdateItemInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "TableName": DATA_TABLE_NAME,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "ReturnValues": RETURN_VALUES,
        "ConditionalOperator": CONDITIONAL_OPERATOR,
        "Key": VALUES,
        "Expected": EXPECTED,
        "AttributeUpdates": ATTRIBUTE_UPDATES,
        "ConditionExpression": STRING,
        "UpdateExpression": STRING,
        "ExpressionAttributeValues": VALUES,
        "ExpressionAttributeNames": NAMES,
        "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
    },
    required=("TableName", "Key"),
)
_UPDATE_ORDER = (
    "ReturnValues",
    "ReturnConsumedCapacity",
    "TableName",
    "ReturnItemCollectionMetrics",
    "ConditionalOperator",
    "Expected",
    "AttributeUpdates",
    "ReturnValuesOnConditionCheckFailure",
)


@_faults
def update_item(call: Call) -> None:
    data = read_input(call)
    check_write(call, "Key", _UPDATE_ORDER, alone="ReturnValues")
    check_mixing(
        data,
        ("UpdateExpression", "ConditionExpression"),
        ("AttributeUpdates", "Expected", "ConditionalOperator"),
        Layer.ENVELOPED,
    )
    key = item_from_json(data["Key"], "Key")
    placeholders = _maybe_placeholders(data)
    update = update_of(data, placeholders)
    condition = condition_of(data, placeholders)
    _finish_expressions(placeholders)
    meta = call.data_table(data["TableName"], "UpdateItem", NamedItems([key], (update, condition)))
    if update is not None:
        check_update_keys(update, meta)
    storage = table_key(call, meta, key)
    check_paths(meta, condition, update)
    _Write(call, update).send(meta, UpdateCommand(storage, encode_item(key), update, condition))


def check_update_keys(update: Update, meta: TableMeta) -> None:
    try:
        update.check_keys(meta.key)
        indexes = IndexKeys.of_table(meta)
        if indexes is not None:
            check_index_values(update, indexes)
    except ItemError as error:
        raise errors.validation(error.message) from None


OPERATIONS: dict[str, Any] = {
    "GetItem": Operation(_GET, get_item),
    "PutItem": Operation(_PUT, put_item),
    "DeleteItem": Operation(_DELETE, delete_item),
    "UpdateItem": Operation(_UPDATE, update_item),
}

assert limits.ITEM_BYTES_MAX == 400 * 1024
