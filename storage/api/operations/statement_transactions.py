"""ExecuteTransaction: statements that are done together or not at all, on the same coordinator as TransactWriteItems and TransactGetItems (docs/adr/0072-transactions.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.base.errors import Conflict
from scrubjay.base.hlc import stamp_micros
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.operations.items import check_paths, shown
from scrubjay.storage.api.operations.operation import Operation, check_constraints, read_input
from scrubjay.storage.api.operations.statement_run import TRANSACTION, Asked, Planned, plan, target
from scrubjay.storage.api.operations.statements import PARAMETERS, STATEMENT
from scrubjay.storage.api.operations.transactions import (
    FAILED,
    MULTIPLE,
    cancelled,
    check_payload,
    digest_of,
    of_token,
    read_again_units,
    read_together,
    read_units_of,
    reason_of,
    token_name,
    written_units_of,
)
from scrubjay.storage.api.shapes import RETURN_CONSUMED_CAPACITY, RETURN_ON_FAILURE, ListOf, Str, Struct
from scrubjay.storage.backend import TransactPart
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.commands.values import CheckCommand, Outcome, PutCommand, TransactedCommand
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.tree import And
from scrubjay.storage.items.partiql import bind, syntax
from scrubjay.storage.items.partiql.parse import parse
from scrubjay.storage.items.partiql.values import read_parameters
from scrubjay.storage.items.size import item_size, value_size
from scrubjay.storage.items.wire import value_from_json

_EXECUTE = Struct(
    "ExecuteTransactionInput",
    {
        "TransactStatements": ListOf(
            Struct(
                "ParameterizedStatement",
                {"Statement": STATEMENT, "Parameters": PARAMETERS, "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE},
                required=("Statement",),
            ),
            min_items=1,
            max_items=limits.TRANSACT_ITEMS_MAX,
        ),
        "ClientRequestToken": Str(min_chars=1, max_chars=limits.REQUEST_TOKEN_CHARS_MAX),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    },
    required=("TransactStatements",),
)
_MIXED = "The entire transaction must consist of either read statements or write statements, you cannot mix both in one transaction."
_EXISTS = "EXISTS() must contain a single item read with additional condition"


class _Step:
    """One statement. command: None of a read. wants_item: the item is to be shown if its condition fails."""

    __slots__ = ("command", "inserts", "meta", "read", "table", "wants_item")

    def __init__(
        self, table: str, meta: TableMeta, command: TransactedCommand | None, *, wants_item: bool, read: Planned | None = None
    ) -> None:
        self.table, self.meta, self.command, self.wants_item, self.read = table, meta, command, wants_item, read
        self.inserts = False


def _step(call: Call, one: Body) -> _Step:
    """Raises ApiError, ItemError."""
    text, given = one["Statement"], one.get("Parameters")
    wants_item = one.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    parsed = parse(text)
    if isinstance(parsed.statement, syntax.ExistsSyntax):
        return _check(call, parsed, parsed.statement.select, given, wants_item=wants_item)
    planned = plan(call, Asked(text, given, consistent=True, shows_old=wants_item, within=TRANSACTION))
    step = _Step(planned.table, planned.meta, planned.command, wants_item=wants_item, read=planned if planned.reads else None)
    step.inserts = planned.inserts
    return step


def _check(call: Call, parsed: syntax.Parsed, select: syntax.SelectSyntax, given: Sequence[Any] | None, *, wants_item: bool) -> _Step:
    """EXISTS: the condition of a transaction on one item, as ConditionCheck is."""
    parameters = read_parameters(parsed, given)
    name, index = bind.table_of(select.source)
    bind.columns_of(select)
    if index is not None or select.order or select.unsupported is not None:
        raise ItemError(_EXISTS)
    try:
        key, rest, meta, storage = target(
            call, Asked("", shows_old=wants_item, within=TRANSACTION), name, "ConditionCheckItem", select.where, parameters
        )
    except ItemError as error:
        raise ItemError(_EXISTS if error.message == bind.NO_KEY else error.message) from None
    if not rest:
        raise ItemError(_EXISTS)
    condition = Condition(rest[0] if len(rest) == 1 else And(tuple(rest)))
    check_paths(meta, condition)
    return _Step(name, meta, CheckCommand(storage, encode_item(key), condition), wants_item=wants_item)


async def execute_transaction(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    steps: list[_Step] = []
    for index, one in enumerate(data["TransactStatements"]):
        if call.size > limits.AT_ONCE_BYTES_MAX:
            await call.api.env.tasks.sleep(0)  # others have their turn between two statements
        try:
            steps.append(_step(call, one))
        except SerializationError:
            raise
        except (ItemError, ApiError) as error:
            if isinstance(error, ApiError) and error.name != "ValidationException":
                raise
            raise errors.validation(f"Validation failed in TransactStatements[{index}]: {error.message}") from None
    if len({step.read is None for step in steps}) > 1:
        raise errors.validation(_MIXED)
    places = [(step.meta.table_id, _key(step)) for step in steps]
    if len(set(places)) != len(places):
        raise errors.validation(MULTIPLE)
    await (_read(call, steps) if steps[0].read is not None else _write(call, steps))


def _key(step: _Step) -> bytes:
    if step.read is not None:
        return step.read.key
    assert step.command is not None
    return step.command.key


async def _read(call: Call, steps: Sequence[_Step]) -> None:
    found, sizes = await read_together(call, [(step.meta, _key(step)) for step in steps])
    shows = [None if step.read is None else step.read.columns for step in steps]
    body: Body = {
        "Responses": [{} if item is None else {"Item": shown(item, columns)} for item, columns in zip(found.items, shows, strict=True)]
    }
    mode = call.input.get("ReturnConsumedCapacity", "NONE")
    if mode != "NONE":
        body["ConsumedCapacity"] = read_units_of([step.table for step in steps], sizes, mode)
    call.reply(body, [Trace(partition, lsn) for partition, lsn in found.traces])


def _size(part: TransactPart, statement: Body) -> int:
    """Bytes of what a statement brings: the item that it inserts, or the values given to it."""
    if isinstance(part.command, PutCommand):
        return item_size(decode_item(part.command.item))
    return sum([value_size(value_from_json(value)) for value in statement.get("Parameters") or ()])


async def _write(call: Call, steps: Sequence[_Step]) -> None:
    parts = [TransactPart(step.meta, step.command) for step in steps if step.command is not None]
    check_payload(call, map(_size, parts, call.raw["TransactStatements"]))
    token = call.input.get("ClientRequestToken")
    try:
        done = await call.api.backend.transact_write(
            parts, token=None if token is None else token_name(token), digest=digest_of(call.raw["TransactStatements"])
        )
    except Conflict as error:
        raise of_token(error) from None
    if not done.committed:
        raise cancelled([_reason(step, outcome) for step, outcome in zip(steps, done.outcomes, strict=True)])
    body: Body = {"Responses": []}
    mode, names = call.input.get("ReturnConsumedCapacity", "NONE"), [step.table for step in steps]
    if mode != "NONE":
        if done.repeated:
            body["ConsumedCapacity"] = await read_again_units(call, names, parts, mode)
        else:
            body["ConsumedCapacity"] = written_units_of(names, parts, done.outcomes, mode)
    stamp_us = stamp_micros(done.stamp) if done.stamp else None
    call.reply(body, [Trace(partition, lsn, stamp_us) for partition, lsn in done.written])


def _reason(step: _Step, outcome: Outcome) -> Body:
    reason = reason_of(outcome, wants_item=step.wants_item)
    if step.inserts and reason["Code"] == FAILED:
        return {**reason, "Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}
    return reason


OPERATIONS: dict[str, Any] = {"ExecuteTransaction": Operation(_EXECUTE, execute_transaction)}
