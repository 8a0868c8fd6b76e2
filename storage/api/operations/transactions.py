"""TransactWriteItems and TransactGetItems: many items, all of them or none (docs/adr/0072-transactions.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scrubjay.base.errors import Conflict, Corrupt, Invalid, from_code
from scrubjay.base.hlc import stamp_micros
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.capacity import Consumed, read_units, stored_size, write_units
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.item_collections import CollectionMetrics
from scrubjay.storage.api.operations.items import check_index_keys_of, check_paths, check_update_keys, encoded, shown
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.parameters import Layer, check_mixing, condition_of, placeholders_of, projection_of, update_of, worded
from scrubjay.storage.api.shapes import (
    DATA_TABLE_NAME,
    NAMES,
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    RETURN_ON_FAILURE,
    STRING,
    VALUES,
    ListOf,
    Str,
    Struct,
)
from scrubjay.storage.backend import Transacted, TransactPart, TransactRead
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import (
    CheckCommand,
    Decision,
    DeleteCommand,
    Outcome,
    PutCommand,
    TransactedCommand,
    UpdateCommand,
)
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.keys import check_item_keys, check_key, key_item, storage_key
from scrubjay.storage.items.local_index import COLLECTION_FULL
from scrubjay.storage.items.size import check_item_size, item_size
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_bytes_to_json, item_from_json

MULTIPLE = "Transaction request cannot include multiple operations on one item"
_ONE_OF = "TransactItems can only contain one of Check, Put, Update or Delete"
_NONE_OF = "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request"
TOO_LARGE = "The aggregate size of the items in the transaction exceeds 4 MB"
PAYLOAD_TOO_LARGE = "Transaction payload size cannot exceed 4 MB"
"""Of writes: what they bring counts, not what they meet."""
_EMPTY_KEY = "The AttributeValue for a key attribute cannot contain an empty"
NONE, FAILED, CONFLICT, INVALID = "None", "ConditionalCheckFailed", "TransactionConflict", "ValidationError"
FULL = "ItemCollectionSizeLimitExceeded"
"""Codes of reasons. There are others of AWS's, which nothing here has for a reason: no throughput is enforced."""
_EXPRESSION = {
    "ConditionExpression": STRING,
    "ExpressionAttributeNames": NAMES,
    "ExpressionAttributeValues": VALUES,
    "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
}
_ACTIONS: dict[str, Struct] = {
    "ConditionCheck": Struct(
        "ConditionCheck",
        {"TableName": DATA_TABLE_NAME, "Key": VALUES, **_EXPRESSION},
        required=("TableName", "Key", "ConditionExpression"),
    ),
    "Put": Struct("Put", {"TableName": DATA_TABLE_NAME, "Item": VALUES, **_EXPRESSION}, required=("TableName", "Item")),
    "Delete": Struct("Delete", {"TableName": DATA_TABLE_NAME, "Key": VALUES, **_EXPRESSION}, required=("TableName", "Key")),
    "Update": Struct(
        "Update",
        {"TableName": DATA_TABLE_NAME, "Key": VALUES, "UpdateExpression": STRING, **_EXPRESSION},
        required=("TableName", "Key", "UpdateExpression"),
    ),
}
_WRITE = Struct(
    "TransactWriteItemsInput",
    {
        "ClientRequestToken": Str(min_chars=1, max_chars=limits.REQUEST_TOKEN_CHARS_MAX),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "TransactItems": ListOf(Struct("TransactWriteItem", dict(_ACTIONS))),
    },
    required=("TransactItems",),
)
_GET = Struct(
    "TransactGetItemsInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "TransactItems": ListOf(
            Struct(
                "TransactGetItem",
                {
                    "Get": Struct(
                        "Get",
                        {"TableName": DATA_TABLE_NAME, "Key": VALUES, "ProjectionExpression": STRING, "ExpressionAttributeNames": NAMES},
                        required=("TableName", "Key"),
                    )
                },
                required=("Get",),
            )
        ),
    },
    required=("TransactItems",),
)


def _check_count(data: Body) -> None:
    count = len(data.get("TransactItems") or ())
    where = "Value at 'TransactItems' failed to satisfy constraint: Member must have length "
    if "TransactItems" in data and count < 1:
        raise errors.constraints([where + "greater than or equal to 1"])
    if count > limits.TRANSACT_ITEMS_MAX:
        raise errors.constraints([f"{where}less than or equal to {limits.TRANSACT_ITEMS_MAX}"])


# -- what is answered when it does not happen ------------------------------------------------------------------------------------------


def cancelled(reasons: Sequence[Body]) -> errors.ApiError:
    """reasons: of every item, in order."""
    codes = ", ".join([reason["Code"] for reason in reasons])
    return errors.transaction_cancelled(
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]", list(reasons)
    )


def reason_of(outcome: Outcome, *, wants_item: bool) -> Body:
    """Why an item kept its transaction from happening, if it did. Raises what a single write would of a fault of ours."""
    if outcome.decision is Decision.CONDITION_FAILED:
        reason: Body = {"Code": FAILED, "Message": "The conditional request failed"}
        if wants_item and outcome.old is not None:
            reason["Item"] = item_bytes_to_json(outcome.old)
        return reason
    if outcome.decision is Decision.LOCKED:
        return {"Code": CONFLICT, "Message": errors.TRANSACTION_ONGOING}
    failure = outcome.error
    if failure is None:
        return {"Code": NONE}
    if failure.code == ItemError.code:
        return {"Code": INVALID, "Message": failure.message}
    if failure.code == COLLECTION_FULL:
        return {"Code": FULL, "Message": failure.message}
    raise errors.internal() if failure.code == Corrupt.code else from_code(failure.code, failure.message, failure.fields)


def of_token(error: Conflict) -> errors.ApiError | Conflict:
    """A transaction whose token stands in its way, as AWS says it; anything else as it is."""
    if error.fields.get("transaction") == "mismatch":
        return errors.idempotent_parameter_mismatch()
    return errors.transaction_in_progress() if error.fields.get("transaction") == "in_progress" else error


async def read_together(call: Call, keys: Sequence[tuple[TableMeta, bytes]]) -> tuple[TransactRead, list[int]]:
    """The items of all keys as they were at one moment, and the size of each. Raises ApiError: some are held, or all are more than 4 MB."""
    try:
        found = await call.api.backend.transact_read(keys)
    except Invalid as error:
        raise errors.validation(TOO_LARGE) if error.fields.get("transaction") == "too_large" else error from None
    if found.held:
        held, conflict = set(found.held), {"Code": CONFLICT, "Message": errors.TRANSACTION_ONGOING}
        raise cancelled([conflict if at in held else {"Code": NONE} for at in range(len(keys))])
    sizes = [stored_size(item) for item in found.items]
    if sum(sizes) > limits.TRANSACT_BYTES_MAX:
        raise errors.validation(TOO_LARGE)
    return found, sizes


def token_name(token: str) -> str:
    """By which the ledger knows a ClientRequestToken."""
    return "c" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def digest_of(asked: Any) -> bytes:
    """Of all that a transaction asks for: the same token may not ask for anything else."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).digest()


# -- TransactWriteItems ----------------------------------------------------------------------------------------------------------------


_PERMISSIONS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
"""What of it a policy would have to allow."""


class _Action:
    """One action, read. item: it, or its key. named: its expressions. make: the command, once the table is known; raises ItemError, ApiError."""

    __slots__ = ("body", "item", "kind", "make", "named")

    def __init__(
        self,
        kind: str,
        body: Body,
        item: Item,
        named: tuple[Update | Condition | None, ...],
        make: Callable[[TableMeta], TransactedCommand],
    ) -> None:
        self.kind, self.body, self.item, self.named, self.make = kind, body, item, named, make

    @property
    def size(self) -> int:
        """Bytes of what the action brings: its item or key, and the values of its expressions."""
        return item_size(self.item) + item_size(item_from_json(self.body.get("ExpressionAttributeValues", {})))

    @property
    def wants_item(self) -> bool:
        return self.body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"


def _action(entry: Body) -> _Action:
    """Raises ItemError, ApiError: what is wrong with it whatever the tables hold."""
    given = [kind for kind in _ACTIONS if kind in entry]
    if len(given) != 1:
        raise errors.validation(_ONE_OF if given else _NONE_OF)
    (kind,) = given
    body: Body = entry[kind]
    expressions = ("UpdateExpression", "ConditionExpression") if kind == "Update" else ("ConditionExpression",)
    check_mixing(body, expressions, (), Layer.BARE)
    item = item_from_json(body["Item"]) if kind == "Put" else {}
    placeholders = placeholders_of(body) if any(name in body for name in expressions) else None
    update = update_of(body, placeholders)
    condition = condition_of(body, placeholders)
    if placeholders is not None:
        placeholders.check_all_used()
    if kind != "Put":  # of a key nothing is told before what is wrong with the expressions
        item = item_from_json(body["Key"], "Key")

    def make(meta: TableMeta) -> TransactedCommand:
        if kind == "Put":
            check_item_keys(meta.key, item)
            check_index_keys_of(meta, item)
            check_item_size(item)
            check_paths(meta, condition)
            return PutCommand(storage_key(meta.key, item), encode_item(key_item(meta.key, item)), encoded(item), condition)
        check_key(meta.key, item)
        key, key_bytes = storage_key(meta.key, item), encode_item(item)
        if update is not None:
            check_update_keys(update, meta)
        check_paths(meta, condition, update)
        if kind == "Update":
            return UpdateCommand(key, key_bytes, update, condition)
        if kind == "Delete":
            return DeleteCommand(key, key_bytes, condition)
        assert condition is not None
        return CheckCommand(key, key_bytes, condition)

    return _Action(kind, body, item, (update, condition), make)


async def transact_write_items(call: Call) -> None:
    data = read_input(call)
    _check_count(data)
    check_constraints(call)
    try:
        actions = [_action(entry) for entry in data["TransactItems"]]
    except ItemError as error:
        raise worded(error, Layer.BARE, call.raw) from None
    tables: dict[str, TableMeta] = {}
    for action in actions:
        name = action.body["TableName"]
        tables[name] = call.data_table(
            name,
            _PERMISSIONS[action.kind],
            NamedItems([action.item], action.named, within=call.operation, returns=("ALL_OLD",) if action.wants_item else ()),
        )
    parts = _parts(actions, tables)
    check_payload(call, (action.size for action in actions))
    token = data.get("ClientRequestToken")
    try:
        done = await call.api.backend.transact_write(
            parts, token=None if token is None else token_name(token), digest=digest_of(call.raw["TransactItems"])
        )
    except Conflict as error:
        raise of_token(error) from None
    if not done.committed:
        raise cancelled([reason_of(outcome, wants_item=action.wants_item) for action, outcome in zip(actions, done.outcomes, strict=True)])
    await _reply(call, actions, parts, done)


def check_payload(call: Call, sizes: Iterable[int]) -> None:
    """What a transaction brings is at most 4 MB, however much the items are that it changes or removes. sizes: of its actions, counted only where it may matter. Raises ValidationException."""
    if (
        call.size > limits.TRANSACT_BYTES_MAX and sum(sizes) > limits.TRANSACT_BYTES_MAX
    ):  # a request's text is never shorter than what it brings
        raise errors.validation(PAYLOAD_TOO_LARGE)


def _invalid(error: ItemError | errors.ApiError) -> Body:
    """The reason of an action that is nothing of its table. Raises ApiError for an empty key, of the table or of an index: that is said of the whole request."""
    message = error.message or ""
    if _EMPTY_KEY in message:
        raise errors.validation(message) from None
    return {"Code": INVALID, "Message": message}


def _parts(actions: Sequence[_Action], tables: Mapping[str, TableMeta]) -> list[TransactPart]:
    """What each action is of its table. Raises ApiError: some are nothing, of which the first alone is told, as by AWS; two are of one item."""
    parts: list[TransactPart] = []
    reasons: list[Body] = []
    for action in actions:
        meta = tables[action.body["TableName"]]
        try:
            parts.append(TransactPart(meta, action.make(meta)))
            reasons.append({"Code": NONE})
        except (ItemError, errors.ApiError) as error:
            reason = _invalid(error)
            reasons.append(reason if len(parts) == len(reasons) else {"Code": NONE})
    if len(parts) < len(actions):
        raise cancelled(reasons)
    places = [(part.table.table_id, part.command.key) for part in parts]
    if len(set(places)) != len(places):
        raise errors.validation(MULTIPLE)
    return parts


async def _reply(call: Call, actions: Sequence[_Action], parts: Sequence[TransactPart], done: Transacted) -> None:
    data, body = call.input, dict[str, Any]()
    mode = data.get("ReturnConsumedCapacity")
    if mode is not None and mode != "NONE":
        names = [action.body["TableName"] for action in actions]
        if done.repeated:
            body["ConsumedCapacity"] = await read_again_units(call, names, parts, mode)
        else:
            body["ConsumedCapacity"] = written_units_of(names, parts, done.outcomes, mode)
    stamp_us = stamp_micros(done.stamp) if done.stamp else None
    collections = CollectionMetrics(call)
    for action, part in zip(actions, parts, strict=True):
        if not done.repeated and not isinstance(part.command, CheckCommand):
            collections.add(action.body["TableName"], part.table, part.command.key, part.command.key_item)

    def told(found: dict[str, list[Body]]) -> None:
        if found:
            body["ItemCollectionMetrics"] = found
        call.reply(body, [Trace(partition, lsn, stamp_us) for partition, lsn in done.written])

    collections.ask(call.guard(told))


def written_units_of(names: Sequence[str], parts: Sequence[TransactPart], outcomes: Sequence[Outcome], mode: str) -> list[Body]:
    """ConsumedCapacity of a transaction that wrote. names: of the tables, as the request has them."""
    units: dict[str, Consumed] = {}
    for name, part, outcome in zip(names, parts, outcomes, strict=True):
        here = units.setdefault(name, Consumed())
        if isinstance(part.command, CheckCommand):
            here.table += write_units(stored_size(outcome.old), 0)
        else:
            here.wrote(part.table, part.command.key, outcome.old, outcome.new)
    return [_doubled(total.body(mode, name), "WriteCapacityUnits") for name, total in units.items()]


async def read_again_units(call: Call, names: Sequence[str], parts: Sequence[TransactPart], mode: str) -> list[Body]:
    """A repeated transaction costs what reading its items costs: of each as it is now, since all together may be more than a transaction reads."""
    sizes = []
    for part in parts:
        found = await call.api.backend.transact_read([(part.table, part.command.key)])
        sizes.append(stored_size(found.items[0]) if found.items else 0)
    return read_units_of(names, sizes, mode)


def read_units_of(names: Sequence[str], sizes: Sequence[int], mode: str) -> list[Body]:
    """ConsumedCapacity of a transaction that read items of these sizes."""
    units: dict[str, Consumed] = {}
    for name, size in zip(names, sizes, strict=True):
        units.setdefault(name, Consumed()).table += read_units(size, consistent=True)
    return [_doubled(total.body(mode, name), "ReadCapacityUnits") for name, total in units.items()]


def _doubled(body: Body | None, member: str) -> Body:
    """Everything in a transaction costs twice: it is read or written twice. member: the same again, by which a client tells reads from writes."""
    assert body is not None

    def twice(one: Body) -> Body:
        return {
            name: value * 2 if name == "CapacityUnits" else twice(value) if isinstance(value, dict) else value
            for name, value in one.items()
        }

    doubled = twice(body)
    doubled[member] = doubled["CapacityUnits"]
    if "Table" in doubled:
        doubled["Table"][member] = doubled["Table"]["CapacityUnits"]
    return doubled


# -- TransactGetItems ------------------------------------------------------------------------------------------------------------------


async def transact_get_items(call: Call) -> None:
    data = read_input(call)
    _check_count(data)
    check_constraints(call)
    gets: list[tuple[Body, Item, Projection | None]] = []
    try:
        for entry in data["TransactItems"]:
            get = entry["Get"]
            check_mixing(get, ("ProjectionExpression",), (), Layer.BARE)
            key = item_from_json(get["Key"], "Key")
            projection = None
            if "ProjectionExpression" in get:
                placeholders = placeholders_of(get)
                projection = projection_of(get, placeholders)
                placeholders.check_all_used()
            gets.append((get, key, projection))
    except ItemError as error:
        raise worded(error, Layer.BARE, call.raw) from None
    tables = {
        get["TableName"]: call.data_table(get["TableName"], "GetItem", NamedItems([key], (projection,), within=call.operation))
        for get, key, projection in gets
    }
    keys = _keys(gets, tables)
    found, sizes = await read_together(call, keys)
    body: Body = {
        "Responses": [
            {} if item is None else {"Item": shown(item, projection)} for item, (_, _, projection) in zip(found.items, gets, strict=True)
        ]
    }
    mode = data.get("ReturnConsumedCapacity")
    if mode is not None and mode != "NONE":
        body["ConsumedCapacity"] = read_units_of([get["TableName"] for get, _, _ in gets], sizes, mode)
    call.reply(body, [Trace(partition, lsn) for partition, lsn in found.traces])


def _keys(gets: Sequence[tuple[Body, Item, Projection | None]], tables: Mapping[str, TableMeta]) -> list[tuple[TableMeta, bytes]]:
    keys: list[tuple[TableMeta, bytes]] = []
    reasons: list[Body] = []
    for get, key, projection in gets:
        meta = tables[get["TableName"]]
        try:
            check_key(meta.key, key)
            if projection is not None:
                check_paths(meta, None, None, projection)
            keys.append((meta, storage_key(meta.key, key)))
            reasons.append({"Code": NONE})
        except (ItemError, errors.ApiError) as error:
            reasons.append(_invalid(error))
    if len(keys) < len(gets):
        raise cancelled(reasons)
    if len({(meta.table_id, key) for meta, key in keys}) != len(keys):
        raise errors.validation(MULTIPLE)
    return keys


OPERATIONS: dict[str, Any] = {
    "TransactWriteItems": Operation(_WRITE, transact_write_items),
    "TransactGetItems": Operation(_GET, transact_get_items),
}
