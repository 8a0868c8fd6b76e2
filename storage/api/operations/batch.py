"""BatchGetItem and BatchWriteItem: many single operations in one call, each on its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from scrubjay.base.errors import Conflict, ScrubjayError, Unavailable
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.capacity import Consumed, consumed, read_units, stored_size
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.item_collections import CollectionMetrics
from scrubjay.storage.api.operations.items import check_index_keys_of, check_paths, encoded, refusal, shown, table_key
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.parameters import Layer, check_mixing, placeholders_of, projection_of, worded
from scrubjay.storage.api.shapes import (
    ATTRIBUTES_TO_GET,
    BOOLEAN,
    NAME_PATTERN,
    NAMES,
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    STRING,
    VALUES,
    ListOf,
    MapOf,
    Str,
    Struct,
)
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import Decision, DeleteCommand, ItemCommand, Outcome, PutCommand, ReadAnswer, WriteAnswer
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.keys import check_key, check_key_attributes, key_item, storage_key
from scrubjay.storage.items.local_index import COLLECTION_FULL
from scrubjay.storage.items.size import check_item_size
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_from_json

_DUPLICATES = "Provided list of item keys contains duplicates"
_TABLE_KEY = Str(pattern=NAME_PATTERN, min_chars=limits.TABLE_NAME_CHARS_MIN, max_chars=limits.TABLE_NAME_CHARS_MAX)
_TOO_FEW_ITEMS = "Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1"


# -- BatchGetItem ----------------------------------------------------------------------------------------------------------------------

_GET = Struct(
    "BatchGetItemInput",
    {
        "RequestItems": MapOf(
            Struct(
                "KeysAndAttributes",
                {
                    "Keys": ListOf(VALUES),
                    "AttributesToGet": ATTRIBUTES_TO_GET,
                    "ConsistentRead": BOOLEAN,
                    "ProjectionExpression": STRING,
                    "ExpressionAttributeNames": NAMES,
                },
                required=("Keys",),
            ),
            key=_TABLE_KEY,
            json_text=True,
        ),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    },
    required=("RequestItems",),
)


class _Table(NamedTuple):
    """One table's part of a BatchGetItem. keys: as sent (obj) and as storage keys."""

    name: str
    meta: TableMeta
    keys: list[bytes]
    objects: list[Any]
    projection: Projection | None
    consistent: bool
    request: Body


def _check_batch_get(call: Call, data: Body) -> None:
    check_constraints(call)
    if not data["RequestItems"]:
        raise errors.constraints([_TOO_FEW_ITEMS])
    total = 0
    for name, request in data["RequestItems"].items():
        count = len(request["Keys"])
        total += count
        where = f"Value at 'RequestItems.{name}.member.Keys' failed to satisfy constraint: Member must have length "
        if count < 1:
            raise errors.constraints([where + "greater than or equal to 1"])
        if count > limits.BATCH_GET_KEYS_MAX:
            raise errors.constraints([f"{where}less than or equal to {limits.BATCH_GET_KEYS_MAX}"])
    if total > limits.BATCH_GET_KEYS_MAX:
        raise errors.validation("Too many items requested for the BatchGetItem call")


def batch_get_item(call: Call) -> None:
    data = read_input(call)
    _check_batch_get(call, data)
    parts: list[tuple[str, Body, list[Item], Projection | None]] = []
    modes: Body = {}
    try:
        for name, request in data["RequestItems"].items():
            check_mixing(request, ("ProjectionExpression",), ("AttributesToGet",), Layer.BARE)
            modes |= {member: True for member in ("AttributesToGet", "ProjectionExpression") if member in request}
            keys = [item_from_json(obj, "Key") for obj in request["Keys"]]
            projection: Projection | None = None
            if "ProjectionExpression" in request or "AttributesToGet" in request:
                placeholders = placeholders_of(request)
                projection = projection_of(request, placeholders)
                placeholders.check_all_used()
            parts.append((name, request, keys, projection))
    except ItemError as error:
        raise worded(error, Layer.BARE, call.raw) from None
    check_mixing(modes, ("ProjectionExpression",), ("AttributesToGet",), Layer.BARE)
    tables = [_resolved(call, *part) for part in parts]
    _GetRun(call, tables).start()


def _resolved(call: Call, name: str, request: Body, keys: list[Item], projection: Projection | None) -> _Table:
    meta = call.data_table(name, "BatchGetItem", NamedItems(keys, (projection,)))
    storage = [table_key(call, meta, key) for key in keys]
    if len(set(storage)) != len(storage):
        raise errors.validation(_DUPLICATES)
    if projection is not None:
        check_paths(meta, None, None, projection)
    return _Table(name, meta, storage, request["Keys"], projection, request.get("ConsistentRead", False), request)


class _GetRun:
    """Reads all keys at once and answers when the last is in. A key whose partition cannot be read comes back unprocessed."""

    def __init__(self, call: Call, tables: list[_Table]) -> None:
        self._call = call
        self._tables = tables
        self._answers: list[list[ReadAnswer | ScrubjayError | None]] = [[None] * len(table.keys) for table in tables]
        self._left = sum(len(table.keys) for table in tables)

    def start(self) -> None:
        backend = self._call.api.backend
        for at, table in enumerate(self._tables):
            for index, key in enumerate(table.keys):
                backend.read(table.meta, key, consistent=table.consistent, done=self._collector(at, index))

    def _collector(self, at: int, index: int) -> Callable[[ReadAnswer | ScrubjayError], None]:
        def collect(answer: ReadAnswer | ScrubjayError) -> None:
            self._answers[at][index] = answer
            self._left -= 1
            if not self._left:
                self._call.guard(self._finish)()

        return collect

    def _finish(self) -> None:
        every = [answer for answers in self._answers for answer in answers]
        failures = [answer for answer in every if isinstance(answer, ScrubjayError)]
        hard = next((answer for answer in failures if not isinstance(answer, Unavailable)), None)
        if hard is not None or len(failures) == len(every):
            self._call.fail(hard or failures[0])
            return
        responses: Body = {}
        unprocessed: Body = {}
        capacity = []
        size = 0
        mode = self._call.input.get("ReturnConsumedCapacity")
        for table, answers in zip(self._tables, self._answers, strict=True):
            items = responses[table.name] = []
            left = []
            units = 0.0
            for obj, answer in zip(table.objects, answers, strict=True):
                if not isinstance(answer, ReadAnswer) or size >= limits.BATCH_GET_BYTES_MAX:
                    left.append(obj)
                    continue
                item_bytes = stored_size(answer.item)
                if size + item_bytes > limits.BATCH_GET_BYTES_MAX:
                    size = limits.BATCH_GET_BYTES_MAX
                    left.append(obj)
                    continue
                size += item_bytes
                units += read_units(item_bytes, consistent=table.consistent)
                if answer.item is not None:
                    items.append(shown(answer.item, table.projection))
            if left:
                unprocessed[table.name] = {**table.request, "Keys": left}
            if mode is not None and mode != "NONE":
                capacity.append(consumed(mode, table.name, units))
        body: Body = {"Responses": responses, "UnprocessedKeys": unprocessed}
        if capacity:
            body["ConsumedCapacity"] = capacity
        self._call.reply(body, merged_traces(answer for answer in every if isinstance(answer, ReadAnswer)))


def merged_traces(answers: Any) -> list[Trace]:
    """One trace a partition, in the order first met, at its highest lsn."""
    found: dict[str, Trace] = {}
    for answer in answers:
        stamp = answer.timestamp_us if isinstance(answer, WriteAnswer | Trace) else None
        before = found.get(answer.partition)
        if before is None or answer.lsn > before.lsn:
            found[answer.partition] = Trace(answer.partition, answer.lsn, stamp)
    return list(found.values())


# -- BatchWriteItem --------------------------------------------------------------------------------------------------------------------

_PUT_REQUEST = Struct("PutRequest", {"Item": VALUES}, required=("Item",), java_members=("Item", "WorkloadProfileName"))
_DELETE_REQUEST = Struct("DeleteRequest", {"Key": VALUES}, required=("Key",))
_WRITE = Struct(
    "BatchWriteItemInput",
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "RequestItems": MapOf(
            ListOf(Struct("WriteRequest", {"PutRequest": _PUT_REQUEST, "DeleteRequest": _DELETE_REQUEST})),
            key=_TABLE_KEY,
            value_range=(1, limits.BATCH_WRITE_REQUESTS_MAX),
        ),
    },
    required=("RequestItems",),
)
_NOT_ONE_REQUEST = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"


class _Request(NamedTuple):
    """One put or delete. item: the whole item, or the key."""

    table: str
    put: bool
    item: Item
    obj: Body


def _check_batch_write(call: Call, data: Body) -> None:
    found: list[str] = []
    for name in ("ReturnConsumedCapacity", "ReturnItemCollectionMetrics"):
        if name in data:
            call.shape.members[name].constrain(data[name], name[:1].lower() + name[1:], found)
    if found and "RequestItems" in data:
        raise errors.constraints(found)
    check_constraints(call)
    if not data["RequestItems"]:
        raise errors.constraints([_TOO_FEW_ITEMS])


def batch_write_item(call: Call) -> Coroutine[Any, Any, None] | None:
    steps = _batch_write(call)
    if call.size > limits.AT_ONCE_BYTES_MAX:
        return in_turns(call, steps)
    for _ in steps:
        pass
    return None


async def in_turns(call: Call, steps: Iterator[None]) -> None:
    """The same, with everybody else's turn between two items: many small values take Python seconds, and those would be taken from heartbeats."""
    for _ in steps:
        await call.api.env.tasks.sleep(0)


def _batch_write(call: Call) -> Iterator[None]:
    """Yields after each item."""
    data = read_input(call)
    _check_batch_write(call, data)
    requests: list[_Request] = []
    try:
        for name, group in data["RequestItems"].items():
            for obj in group:
                yield
                if obj is None or len(obj) != 1:
                    raise errors.validation(_NOT_ONE_REQUEST)
                put = obj.get("PutRequest")
                item = item_from_json(put["Item"]) if put is not None else item_from_json(obj["DeleteRequest"]["Key"], "Key")
                if put is not None and call.size > limits.ITEM_BYTES_MAX:
                    # an item's JSON is never shorter than its size
                    check_item_size(item)
                requests.append(_Request(name, put is not None, item, obj))
    except ItemError as error:
        raise worded(error, Layer.OLDER, call.raw) from None
    if len(requests) > limits.BATCH_WRITE_REQUESTS_MAX:
        raise errors.validation("Too many items requested for the BatchWriteItem call")
    tables = {
        name: call.data_table(name, "BatchWriteItem", NamedItems([one.item for one in requests if one.table == name]))
        for name in data["RequestItems"]
    }
    blind = data.get("ReturnConsumedCapacity", "NONE") == "NONE"
    commands = []
    for request in requests:
        yield
        commands.append(_command(tables[request.table], request, blind=blind))
    places = [(request.table, command.key) for request, command in zip(requests, commands, strict=True)]
    if len(set(places)) != len(places):
        raise errors.validation(_DUPLICATES)
    _WriteRun(call, requests, [tables[request.table] for request in requests], commands).start()


def _command(meta: TableMeta, request: _Request, *, blind: bool) -> ItemCommand:
    """blind: no capacity is asked for, so what was there before does not matter."""
    item = request.item
    try:
        (check_key_attributes if request.put else check_key)(meta.key, item)
        if request.put:
            check_index_keys_of(meta, item)
    except ItemError as error:
        raise errors.validation(error.message) from None
    key = encode_item(key_item(meta.key, item))
    if request.put:
        return PutCommand(storage_key(meta.key, item), key, encoded(item), blind=blind)
    return DeleteCommand(storage_key(meta.key, item), key)


def is_full(outcome: Outcome) -> bool:
    """A write that its item collection has no room for."""
    return outcome.error is not None and outcome.error.code == COLLECTION_FULL


def is_held(answer: ScrubjayError) -> bool:
    """A transaction holds the item: the others of the batch are written, and this one comes back."""
    return isinstance(answer, Conflict) and answer.fields.get("what") == "transaction"


class _WriteRun:
    """Sends all writes at once and answers when the last is in. What could not be done comes back unprocessed."""

    def __init__(self, call: Call, requests: list[_Request], metas: list[TableMeta], commands: list[ItemCommand]) -> None:
        self._call = call
        self._requests = requests
        self._metas = metas
        self._commands = commands
        self._answers: list[WriteAnswer | ScrubjayError | None] = [None] * len(requests)
        self._left = len(requests)

    def start(self) -> None:
        backend = self._call.api.backend
        for index, (meta, command) in enumerate(zip(self._metas, self._commands, strict=True)):
            backend.write(meta, command, self._collector(index))

    def _collector(self, index: int) -> Callable[[WriteAnswer | ScrubjayError], None]:
        def collect(answer: WriteAnswer | ScrubjayError) -> None:
            self._answers[index] = answer
            self._left -= 1
            if not self._left:
                self._call.guard(self._finish)()

        return collect

    def _finish(self) -> None:
        failures = [answer for answer in self._answers if isinstance(answer, ScrubjayError) and not is_held(answer)]
        hard = next((answer for answer in failures if not isinstance(answer, Unavailable)), None)
        if hard is not None or len(failures) == len(self._answers):
            self._call.fail(hard or failures[0])
            return
        full = next((one.outcome.error for one in self._answers if isinstance(one, WriteAnswer) and is_full(one.outcome)), None)
        if full is not None:  # the others may be written: they are no more undone than on AWS
            self._call.fail(refusal(full))
            return
        unprocessed: dict[str, list[Body]] = {}
        units: dict[str, Consumed] = {}
        collections = CollectionMetrics(self._call)
        done: list[WriteAnswer] = []
        mode = self._call.input.get("ReturnConsumedCapacity")
        for request, meta, command, answer in zip(self._requests, self._metas, self._commands, self._answers, strict=True):
            here = units.setdefault(request.table, Consumed())
            if not isinstance(answer, WriteAnswer) or answer.outcome.decision is Decision.REFUSED:
                unprocessed.setdefault(request.table, []).append(request.obj)
                continue
            done.append(answer)
            if mode is not None and mode != "NONE":
                here.wrote(meta, command.key, answer.outcome.old, answer.outcome.new)
            collections.add(request.table, meta, command.key, command.key_item)
        body: Body = {"UnprocessedItems": unprocessed}
        if mode is not None and mode != "NONE":
            body["ConsumedCapacity"] = [total.body(mode, table) for table, total in units.items()]

        def told(found: dict[str, list[Body]]) -> None:
            if found:
                body["ItemCollectionMetrics"] = found
            self._call.reply(body, merged_traces(done))

        collections.ask(self._call.guard(told))


OPERATIONS: dict[str, Any] = {
    "BatchGetItem": Operation(_GET, batch_get_item),
    "BatchWriteItem": Operation(_WRITE, batch_write_item),
}
