"""What Query and Scan share: their common checks, the key to go on after, the filter, and the page itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.capacity import Consumed, add, read_units
from scrubjay.storage.api.index_reads import GlobalRead, IndexRead
from scrubjay.storage.api.pages import KeyRange, Page
from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.expressions.condition import Condition, parse_condition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.keys import check_key, storage_key
from scrubjay.storage.items.legacy import check_conditional_operator, parse_filter
from scrubjay.storage.items.values import Item
from scrubjay.storage.items.wire import item_from_json, item_to_json

BAD_START_KEY = "The provided starting key is invalid"


def check_table_name_and_limit(data: Body) -> None:
    """The faults that are told alone, before all other constraints. Raises ApiError."""
    if data.get("TableName") == "":
        raise errors.constraints(["Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1"])
    check_minimum(data, "Limit", 1)


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


def start_key_of(data: Body) -> Item | None:
    """ExclusiveStartKey, read but not yet held against the table. Raises ItemError."""
    obj = data.get("ExclusiveStartKey")
    return None if obj is None else item_from_json(obj, "ExclusiveStartKey")


def check_start_key(meta: TableMeta, key: Item, view: IndexRead | None) -> bytes:
    """The tree's key to go on after."""
    try:
        if view is not None and view.definition is not None:
            return view.start_key(key, errors.validation(BAD_START_KEY))
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


def read_page(
    call: Call,
    meta: TableMeta,
    ranges: Sequence[KeyRange],
    *,
    condition: Condition | None,
    projection: Projection | None,
    view: IndexRead | None,
    reverse: bool = False,
) -> None:
    """Read one page of these ranges, in order, and answer with it."""
    data = call.input
    consistent: bool = data.get("ConsistentRead", False)
    count_only = data.get("Select") == "COUNT"

    def done(result: Page | BaseException) -> None:
        if isinstance(result, Page):
            _answer(call, result, view, consistent=consistent, count_only=count_only)
        else:
            call.fail(result)

    Page(
        call.api.backend,
        meta,
        ranges,
        limit=data.get("Limit"),
        reverse=reverse,
        consistent=consistent,
        condition=condition,
        projection=projection,
        count_only=count_only,
        measure=data.get("ReturnConsumedCapacity", "NONE") != "NONE",
        done=call.guard(done),
        view=view,
    ).start()


def _answer(call: Call, page: Page, view: IndexRead | None, *, consistent: bool, count_only: bool) -> None:
    data = call.input
    body: Body = {"Count": page.count, "ScannedCount": page.scanned}
    if not count_only:
        body["Items"] = page.items
    if page.last is not None:
        body["LastEvaluatedKey"] = item_to_json(page.last)
    mode = data.get("ReturnConsumedCapacity")
    if mode is not None and mode != "NONE":
        body["ConsumedCapacity"] = units_of(page, view, consistent=consistent).body(mode, data["TableName"])
    call.reply(body, page.traces)


def units_of(page: Page, view: IndexRead | None, *, consistent: bool) -> Consumed:
    """Of an index its rows count as one read, and each item that was fetched as one more, of the table."""
    units = Consumed()
    read = read_units(page.size, consistent=consistent)
    if view is None or view.definition is None:
        units.table += read
    elif isinstance(view, GlobalRead):
        add(units.global_, view.definition.name, read)
    else:
        add(units.local, view.definition.name, read)
        units.table += sum([read_units(size, consistent=consistent) for size in page.fetched])
    return units
