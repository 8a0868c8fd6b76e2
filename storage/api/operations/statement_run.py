"""One PartiQL statement as what it is: a GetItem, Query, Scan, PutItem, UpdateItem or DeleteItem, planned from its tree and run on the same parts as those.

`plan` finds what is wrong with a statement and changes nothing; the `Planned` it returns is started once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scrubjay.base.errors import ScrubjayError
from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body, Call, Trace
from scrubjay.storage.api.capacity import Consumed, read_units, stored_size
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.api.guard import NamedItems
from scrubjay.storage.api.index_reads import IndexRead, check_filter, index_read
from scrubjay.storage.api.operations.items import (
    check_index_keys_of,
    check_paths,
    check_size,
    check_update_keys,
    encoded,
    refusal,
    returned,
    shown,
    table_key,
)
from scrubjay.storage.api.operations.paged import check_start_key, units_of
from scrubjay.storage.api.operations.query import range_of
from scrubjay.storage.api.operations.scan import segment_bounds
from scrubjay.storage.api.operations.statement_token import read_token
from scrubjay.storage.api.pages import KeyRange, Page, ranges_of
from scrubjay.storage.api.shapes import NAME_PATTERN
from scrubjay.storage.catalogue import GlobalIndex, KeySchema, TableMeta
from scrubjay.storage.commands.values import Decision, DeleteCommand, PutCommand, ReadAnswer, UpdateCommand, WriteAnswer, WriteCommand
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition, key_names
from scrubjay.storage.items.expressions.tree import And, FunctionNode, Or, PathNode
from scrubjay.storage.items.expressions.update import Update
from scrubjay.storage.items.keys import check_item_keys, key_attributes, key_item, storage_key
from scrubjay.storage.items.partiql import bind, syntax
from scrubjay.storage.items.partiql.parse import parse
from scrubjay.storage.items.partiql.reach import KeyReach, check_key_type, in_order, reach_of
from scrubjay.storage.items.partiql.values import item_of, read_parameters
from scrubjay.storage.items.values import Item, Value
from scrubjay.storage.items.wire import item_bytes_to_json

_TABLE_NAME = re.compile(f"{NAME_PATTERN}")
_BAD_TABLE_NAME = "Table name should be within the length [3, 255] and only contain 'a-z', 'A-Z', '0-9', '-', '_', '.'."
_NO_INDEX = "The table does not have the specified index"
_SEVERAL = "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE keys."
_STRONG = "Strongly consistent read is not supported on Global Secondary Indexes"
TRANSACTION = "ExecuteTransaction"
"""Where a statement is half of something that is done or not: no index is read there, and nothing is returned."""
_ORDER_WITHOUT_WHERE = "Must have WHERE clause in the statement when using ORDER BY clause."
_ORDER_WITHOUT_KEY = "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause."
_ORDER_NEEDS_HASH = "Must have hash key in ORDER BY clause when more than one hash key condition specified in WHERE clause."


class Asked(NamedTuple):
    """One statement as a request has it. parameters: as sent. shows_old: ReturnValuesOnConditionCheckFailure. measured: capacity is asked for. within: the operation that has several of them, "": it is alone."""

    text: str
    parameters: Sequence[Any] | None = None
    consistent: bool = False
    shows_old: bool = False
    measured: bool = False
    limit: int | None = None
    token: str | None = None
    within: str = ""


class Ran(NamedTuple):
    """What a statement did. table: as it names it. last: the key to go on from, of a read that stopped before its end."""

    table: str
    items: list[Body]
    consumed: Consumed
    traces: tuple[Trace, ...]
    last: Item | None = None


class NotRun(NamedTuple):
    """Why it did not. error: an ApiError or what the store said. table: None: it was not come to."""

    error: BaseException
    traces: tuple[Trace, ...] = ()
    table: str | None = None


Done = Callable[[Ran | NotRun], None]


class Planned(NamedTuple):
    """start(done): once; `done` is called once, perhaps at once. What a transaction needs of it instead: table, as the statement names it, and meta; command, of a write, with whether it inserts;
    key, of a read of one item, with what it shows."""

    reads: bool
    start: Callable[[Done], None]
    table: str
    meta: TableMeta
    command: PutCommand | UpdateCommand | DeleteCommand | None = None
    inserts: bool = False
    key: bytes = b""
    columns: bind.Columns | None = None


def plan(call: Call, asked: Asked) -> Planned:
    """What a statement will do. Raises ApiError, ItemError."""
    parsed = parse(asked.text)
    parameters = read_parameters(parsed, asked.parameters)
    statement = parsed.statement
    if isinstance(statement, syntax.SelectSyntax):
        return _select(call, asked, statement, parameters)
    if isinstance(statement, syntax.InsertSyntax):
        return _insert(call, asked, statement, parameters)
    if isinstance(statement, syntax.UpdateSyntax):
        return _update(call, asked, statement, parameters)
    if isinstance(statement, syntax.DeleteSyntax):
        return _delete(call, asked, statement, parameters)
    if isinstance(statement, syntax.ExistsSyntax):
        raise ItemError("Unsupported operation: Exists")
    raise bind.bare_refusal(statement.expression)


def table_of_statement(call: Call, asked: Asked, name: str, action: str, touched: NamedItems) -> TableMeta:
    """action, touched: as of `Call.data_table`. Raises ApiError."""
    if not name.startswith("arn:") and (not 3 <= len(name) <= 255 or _TABLE_NAME.fullmatch(name) is None):
        raise errors.validation(_BAD_TABLE_NAME)
    return call.data_table(name, action, touched._replace(within=TRANSACTION) if asked.within == TRANSACTION else touched)


def _read_keys(table: TableMeta, index: str | None, tree: Any) -> list[Item] | None:
    """The partition keys that a WHERE pins, each as an item that has no more; None: it pins none, and whatever is there is read."""
    schema = table.key
    for local in table.local_indexes or ():
        if local.name == index:
            schema = KeySchema(schema.partition, local.sort)
    several = _global_index(table, index)
    if several is not None:
        schema = KeySchema(several.hash[0], several.sort[0] if several.sort else None)
    try:
        keys = reach_of(tree, schema).keys
    except ItemError:
        return None  # told once it is known that this caller may ask
    return None if keys is None else [{schema.partition.name: key.hash_value} for key in keys]


def _written_key(table: TableMeta, tree: Any) -> list[Item] | None:
    """As `_read_keys`, of the one item that a statement writes."""
    try:
        return [bind.split_key(tree, key_names(table.key))[0]]
    except ItemError:
        return None


# --- reads -------------------------------------------------------------------------------------------------------------------------------


def _select(call: Call, asked: Asked, select: syntax.SelectSyntax, parameters: Sequence[Value]) -> Planned:
    name, index = bind.table_of(select.source)
    _refuse_several(call, name, index)
    columns = bind.columns_of(select)
    if select.unsupported is not None:
        clause, at = select.unsupported
        raise ItemError(f"Unsupported clause: {clause} at {at}")
    tree = None if select.where is None else bind.condition_of(select.where, parameters)
    named = (None if tree is None else Condition(tree), columns)
    meta = table_of_statement(call, asked, name, "PartiQLSelect", NamedItems(lambda table: _read_keys(table, index, tree), named, index))
    view = _index_read(call, asked, meta, index, tree, columns)
    schema = meta.key if view is None else view.schema
    assert isinstance(schema, KeySchema)
    reach = reach_of(tree, schema)
    on_index = view is not None and view.definition is not None
    if on_index and asked.within == TRANSACTION:
        raise errors.validation("Reads on indices are not supported within transactions.")
    if asked.within and not (reach.whole and reach.filter is None and not on_index):
        raise errors.validation(f"Select statements within {asked.within} must specify the primary key in the where clause.")
    if on_index and reach.keys is not None and not isinstance(tree, Or):
        # one of several ways to meet a WHERE may ask what no row has
        assert view is not None
        assert view.definition is not None
        assert tree is not None
        check_filter(view, view.definition.name, Condition(tree))
    reverse, keys = _ordered(select, reach, schema)
    check_paths(meta, None if tree is None else Condition(tree), None, columns)
    condition = None if reach.filter is None else Condition(reach.filter)
    if reach.whole and not on_index:
        assert keys is not None
        if asked.token is not None:
            read_token(asked.text, asked.parameters, asked.token)
        key = keys[0].bounds()[0]
        return Planned(True, _Get(call, asked, name, meta, key, condition, columns).start, name, meta, key=key, columns=columns)
    if keys is None:
        ranges = ranges_of(meta if view is None else view.table, *segment_bounds(0, 1))
    else:
        ranges = [range_of(meta, key, view) for key in keys]
    if asked.token is not None:
        ranges = _rest(meta, view, ranges, read_token(asked.text, asked.parameters, asked.token), reverse=reverse)

    def start(done: Done) -> None:
        def finished(page: Page | BaseException) -> None:
            if isinstance(page, Page):
                done(Ran(name, page.items, units_of(page, view, consistent=asked.consistent), tuple(page.traces), page.last))
            else:
                done(NotRun(page, table=name))

        Page(
            call.api.backend,
            meta,
            ranges,
            limit=asked.limit,
            reverse=reverse,
            consistent=asked.consistent,
            condition=condition,
            projection=columns,
            count_only=False,
            measure=asked.measured,
            done=finished,
            view=view,
        ).start()

    return Planned(True, start, name, meta)


def _global_index(meta: TableMeta | None, index: str | None) -> GlobalIndex | None:
    return None if meta is None else next((one for one in meta.global_indexes or () if one.name == index), None)


def _refuse_several(call: Call, name: str, index: str | None) -> None:
    """Indexes whose key has several attributes of one kind are not read by statements. Told before all else that the table has to be known for, and before what a
    statement shows. Raises ApiError."""
    found = _global_index(call.api.backend.table(call.api.table_name(name, call.operation)), index)
    if found is not None and (len(found.hash) > 1 or len(found.sort) > 1):
        raise errors.validation(_SEVERAL)


def _index_read(call: Call, asked: Asked, meta: TableMeta, index: str | None, tree: Any, columns: bind.Columns | None) -> IndexRead | None:
    if asked.consistent and _global_index(meta, index) is not None:
        raise errors.validation(_STRONG)
    try:
        return index_read(
            call.api.backend,
            meta,
            {} if index is None else {"IndexName": index},
            None if tree is None else Condition(tree),
            columns,
            by_key=False,
        )
    except ApiError as error:
        if error.message is not None and error.message.startswith(_NO_INDEX):
            raise errors.validation(_NO_INDEX) from None
        raise


def _ordered(select: syntax.SelectSyntax, reach: KeyReach, schema: KeySchema) -> tuple[bool, Sequence[Any] | None]:
    """Whether each range is read from its end, and the ranges in the order that is asked for. Raises ItemError."""
    if not select.order:
        return False, reach.keys
    if select.where is None:
        raise ItemError(_ORDER_WITHOUT_WHERE)
    descending: dict[str, bool] = {}
    for term in select.order:
        if not isinstance(term.expression, syntax.PathSyntax):
            raise ItemError(
                f"Argument to ORDER BY must be of type VariableReference. Type: {type(term.expression).__name__.removesuffix('Syntax')}"
            )
        name = str(term.expression.steps[0])
        if len(term.expression.steps) > 1 or name not in key_names(schema) or name in descending:
            raise ItemError(f"Variable reference {name} in ORDER BY clause must be part of the primary key")
        descending[name] = term.descending
    if reach.keys is None:
        raise ItemError(_ORDER_WITHOUT_KEY)
    partition = schema.partition.name
    if partition not in descending and any(key.hash_value != reach.keys[0].hash_value for key in reach.keys):
        raise ItemError(_ORDER_NEEDS_HASH)
    reverse = schema.sort is not None and descending.get(schema.sort.name, False)
    return reverse, in_order(reach.keys, hash_descending=descending.get(partition, False), sort_descending=reverse)


def _rest(meta: TableMeta, view: IndexRead | None, ranges: Sequence[KeyRange], key: Item, *, reverse: bool) -> list[KeyRange]:
    """What of the ranges comes behind `key`. Raises ApiError: it is in none of them."""
    try:
        at = check_start_key(meta, key, view)
    except (ApiError, ItemError):
        raise errors.validation("Invalid NextToken") from None
    for index, one in enumerate(ranges):
        if one.start <= at and (one.end is None or at < one.end):
            rest = KeyRange(one.partition, one.start, at) if reverse else KeyRange(one.partition, at + b"\x00", one.end)
            return [rest, *ranges[index + 1 :]]
    raise errors.validation("Invalid NextToken")


class _Get:
    """A read of one item by its key."""

    def __init__(
        self, call: Call, asked: Asked, name: str, meta: TableMeta, key: bytes, condition: Condition | None, columns: bind.Columns | None
    ) -> None:
        self._call = call
        self._asked = asked
        self._name = name
        self._meta = meta
        self._key = key
        self._condition = condition
        self._columns = columns

    def start(self, done: Done) -> None:
        def finished(answer: ReadAnswer | ScrubjayError) -> None:
            try:
                done(NotRun(answer, table=self._name) if isinstance(answer, ScrubjayError) else self._ran(answer))
            except Exception as error:  # noqa: BLE001 the answer carries it
                done(NotRun(error, table=self._name))

        self._call.api.backend.read(self._meta, self._key, consistent=self._asked.consistent, done=finished)

    def _ran(self, answer: ReadAnswer) -> Ran:
        item, consumed = answer.item, Consumed()
        if self._asked.measured:
            consumed.table = read_units(stored_size(item), consistent=self._asked.consistent)
        wanted = item is not None and (self._condition is None or self._condition.evaluate(decode_item(item)))
        items = [shown(item, self._columns)] if item is not None and wanted else []
        return Ran(self._name, items, consumed, (Trace(answer.partition, answer.lsn),))


# --- writes ------------------------------------------------------------------------------------------------------------------------------


def _exists(schema: KeySchema, function: str) -> FunctionNode:
    return FunctionNode(function, (PathNode((schema.partition.name,)),))


def _insert(call: Call, asked: Asked, insert: syntax.InsertSyntax, parameters: Sequence[Value]) -> Planned:
    name = bind.written_table_of(insert.target)
    if insert.returning is not None:
        raise ItemError("RETURNING is not supported in INSERT")
    item = item_of(insert.value, parameters)
    check_size(call, item)
    meta = table_of_statement(call, asked, name, "PartiQLInsert", NamedItems([item], returns=("ALL_OLD",) if asked.shows_old else ()))
    for attribute in key_attributes(meta.key):
        if attribute.name not in item:
            raise ItemError(f"Key attribute should be present in the item: Key {attribute.name}")
        check_key_type(attribute.name, attribute.type, item[attribute.name])
    check_item_keys(meta.key, item)
    check_index_keys_of(meta, item)
    condition = Condition(_exists(meta.key, "attribute_not_exists"))
    command = PutCommand(storage_key(meta.key, item), encode_item(key_item(meta.key, item)), encoded(item), condition)
    return Planned(False, _Write(call, asked, name, meta, command, inserts=True).start, name, meta, command, inserts=True)


def _update(call: Call, asked: Asked, statement: syntax.UpdateSyntax, parameters: Sequence[Value]) -> Planned:
    name = bind.written_table_of(statement.target)
    _check_returning(asked, statement.returning)
    update = bind.update_of(statement, parameters)
    key, rest, meta, storage = target(
        call, asked, name, "PartiQLUpdate", statement.where, parameters, update=update, returning=statement.returning
    )
    check_update_keys(update, meta)
    condition = Condition(And((_exists(meta.key, "attribute_exists"), *rest)))
    check_paths(meta, condition, update)
    command = UpdateCommand(storage, encode_item(key), update, condition)
    write = _Write(call, asked, name, meta, command, returning=statement.returning, touched=update)
    return Planned(False, write.start, name, meta, command)


def _delete(call: Call, asked: Asked, statement: syntax.DeleteSyntax, parameters: Sequence[Value]) -> Planned:
    name = bind.written_table_of(statement.target)
    returning = statement.returning
    _check_returning(asked, returning)
    if returning is not None and not (returning.all and not returning.new):
        raise ItemError(f"Invalid returning clause: RETURNING {returning.text}. Only RETURNING ALL OLD * is allowed in DELETE statements.")
    key, rest, meta, storage = target(call, asked, name, "PartiQLDelete", statement.where, parameters, returning=returning)
    condition = None
    if rest:
        # an item that is not there is deleted already, whatever is demanded of it
        condition = Condition(Or((_exists(meta.key, "attribute_not_exists"), And(tuple(rest)))))
        check_paths(meta, condition)
    command = DeleteCommand(storage, encode_item(key), condition)
    return Planned(False, _Write(call, asked, name, meta, command, returning=returning).start, name, meta, command)


def _check_returning(asked: Asked, returning: syntax.Returning | None) -> None:
    if returning is not None and asked.within == TRANSACTION:
        raise ItemError("RETURNING clause is not supported in ExecuteTransaction.")


def target(
    call: Call,
    asked: Asked,
    name: str,
    action: str,
    where: Any,
    parameters: Sequence[Value],
    *,
    update: Update | None = None,
    returning: syntax.Returning | None = None,
) -> tuple[Item, list[Any], TableMeta, bytes]:
    """Of a write: the key, what else is demanded of the item, the table, and the storage key. action: as of `table_of_statement`. update: what it changes. Raises ApiError, ItemError."""
    tree = None if where is None else bind.condition_of(where, parameters)
    named = (update, None if tree is None else Condition(tree))
    returns = (*(() if returning is None else (return_values_of(returning),)), *(("ALL_OLD",) if asked.shows_old else ()))
    meta = table_of_statement(call, asked, name, action, NamedItems(lambda table: _written_key(table, tree), named, returns=returns))
    key, rest = bind.split_key(tree, key_names(meta.key))
    for attribute in key_attributes(meta.key):
        check_key_type(attribute.name, attribute.type, key[attribute.name])
    return key, rest, meta, table_key(call, meta, key)


class _Write:
    """A write of one item, and its answer in the words of statements."""

    def __init__(
        self,
        call: Call,
        asked: Asked,
        name: str,
        meta: TableMeta,
        command: WriteCommand,
        *,
        returning: syntax.Returning | None = None,
        touched: Update | None = None,
        inserts: bool = False,
    ) -> None:
        self._call = call
        self._asked = asked
        self._name = name
        self._meta = meta
        self._command = command
        self._returning = returning
        self._touched = touched
        self._inserts = inserts

    def start(self, done: Done) -> None:
        def finished(answer: WriteAnswer | ScrubjayError) -> None:
            try:
                done(NotRun(answer, table=self._name) if isinstance(answer, ScrubjayError) else self._outcome(answer))
            except Exception as error:  # noqa: BLE001 the answer carries it
                done(NotRun(error, table=self._name))

        self._call.api.backend.write(self._meta, self._command, finished)

    def _outcome(self, answer: WriteAnswer) -> Ran | NotRun:
        traces = (Trace(answer.partition, answer.lsn, answer.timestamp_us),)
        outcome = answer.outcome
        if outcome.decision is Decision.CONDITION_FAILED:
            old = item_bytes_to_json(outcome.old) if self._asked.shows_old and outcome.old is not None else None
            return NotRun(errors.duplicate_item() if self._inserts else errors.conditional_check_failed(old), traces, self._name)
        if outcome.decision is Decision.REFUSED:
            return NotRun(refusal(outcome.error), traces, self._name)
        consumed = Consumed()
        if self._asked.measured:
            consumed.wrote(self._meta, self._command.key, outcome.old, outcome.new)
        item = returned(self._wanted(), outcome, self._touched)
        return Ran(self._name, [] if item is None else [item], consumed, traces)

    def _wanted(self) -> str:
        return "NONE" if self._returning is None else return_values_of(self._returning)


def return_values_of(returning: syntax.Returning) -> str:
    """RETURNING as the ReturnValues it is."""
    return f"{'ALL' if returning.all else 'UPDATED'}_{'NEW' if returning.new else 'OLD'}"
