"""Tables: create, describe, list, update, delete, limits and endpoints."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from scrubjay.base.errors import Conflict, Missing
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import deleted_description, table_description, throughput_description
from scrubjay.storage.api.local_indexes import (
    check_index_keys,
    check_key_elements,
    check_local_indexes,
    check_projected_count,
    check_projection,
    local_indexes_of,
)
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_not_asked, read_input
from scrubjay.storage.api.operations.table_shapes import CREATE, DELETE, DESCRIBE, LIST, UPDATE
from scrubjay.storage.api.operations.tags import check_tags
from scrubjay.storage.api.shapes import Struct
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, TableMeta, Throughput
from scrubjay.storage.items.keys import key_attributes

_INVALID = "One or more parameter values were invalid: "
_MUST_BOTH = _INVALID + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
_NEITHER = _INVALID + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"


def require_table_name(data: Body) -> str:
    """The TableName of a table operation. Raises what AWS says when it is not there."""
    name = data.get("TableName")
    if name is None:
        raise errors.validation("The parameter 'TableName' is required but was not present in the request")
    assert isinstance(name, str)
    return name


def describe(call: Call, meta: TableMeta, status: str | None = None) -> Body:
    """The TableDescription of `meta` now."""
    api = call.api
    source_arn = None if meta.restore_of is None else api.table_arn(meta.restore_of.table_name)
    return table_description(meta, api.backend.stats(meta), api.table_arn(meta.name), source_arn, status=status)


def find_table(call: Call, name: str) -> TableMeta:
    """The table, in whatever status. Raises ResourceNotFoundException."""
    meta = call.api.backend.table(call.api.table_name(name, call.operation))
    if meta is None:
        raise errors.table_not_found(name)
    return meta


def read_of_table(call: Call) -> tuple[Body, TableMeta]:
    """The request and the table it names. Raises as AWS: types, constraints, no such table."""
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    return data, find_table(call, name)


# -- CreateTable -----------------------------------------------------------------------------------------------------------------------


def check_capacity(throughput: Body) -> Throughput:
    """The units asked for. Raises if they are out of bounds."""
    for name in ("ReadCapacityUnits", "WriteCapacityUnits"):
        if throughput[name] > limits.CAPACITY_UNITS_MAX:
            raise errors.validation(f"Given value {throughput[name]} for {name} is out of bounds")
    return Throughput(throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"])


def on_demand_of(data: Body, name: str, billing: str) -> Throughput | None:
    """The on-demand ceilings in the member `name`; -1 is none."""
    asked = data.get(name)
    if asked is None:
        return None
    if billing != "PAY_PER_REQUEST":
        raise errors.validation(_INVALID + f"{name} can only be specified when BillingMode is PAY_PER_REQUEST")
    result = Throughput(asked.get("MaxReadRequestUnits", -1), asked.get("MaxWriteRequestUnits", -1))
    for member, value in (("MaxReadRequestUnits", result.read), ("MaxWriteRequestUnits", result.write)):
        if value != -1 and value < 1:
            raise errors.validation(_INVALID + f"{member} must be -1 or at least 1")
    return result


def _throughput_of(data: Body) -> tuple[str, Throughput]:
    billing: str = data.get("BillingMode", "PROVISIONED")
    asked = data.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST":
        if asked is not None:
            raise errors.validation(_NEITHER)
        return billing, Throughput()
    if asked is None:
        raise errors.validation(_MUST_BOTH)
    return billing, check_capacity(asked)


def _key_of(data: Body) -> tuple[KeySchema, tuple[tuple[str, str], ...]]:
    elements = data["KeySchema"]
    names = [element["AttributeName"] for element in elements]
    definitions = tuple((one["AttributeName"], one["AttributeType"]) for one in data["AttributeDefinitions"])
    types = dict(definitions)
    if len(names) > len(definitions):
        raise errors.validation("Invalid KeySchema: Some index key attribute have no definition")
    if any(name not in types for name in names):
        raise errors.validation(
            _INVALID + "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(name for name, _ in definitions)}]"
        )
    check_key_elements(elements)
    if len(types) != len(definitions):
        raise errors.validation(_INVALID + "Cannot have two attributes with the same name")
    attributes = [KeyAttribute(name, types[name]) for name in names]
    return KeySchema(attributes[0], attributes[1] if len(attributes) == 2 else None), definitions


def _check_indexes(data: Body, key: KeySchema, definitions: tuple[tuple[str, str], ...]) -> None:
    """What AWS refuses about indexes, before this store refuses global ones altogether."""
    local, global_ = data.get("LocalSecondaryIndexes"), data.get("GlobalSecondaryIndexes")
    if local is not None:
        check_local_indexes(local, key, definitions)
    if global_ is not None:
        _check_global_indexes(global_, definitions, {index["IndexName"] for index in local or ()})
    check_projected_count([*(local or ()), *(global_ or ())])
    check_not_asked(data, "GlobalSecondaryIndexes")
    _check_definitions_used(key, local, definitions)


def _check_global_indexes(indexes: list[Body], definitions: tuple[tuple[str, str], ...], seen: set[str]) -> None:
    if not indexes:
        raise errors.validation(_INVALID + "List of GlobalSecondaryIndexes is empty")
    for index in indexes:
        check_index_keys(index, definitions)
        check_projection(index["Projection"])
        if index["IndexName"] in seen:
            raise errors.validation(_INVALID + f"Duplicate index name: {index['IndexName']}")
        seen.add(index["IndexName"])


def _check_definitions_used(key: KeySchema, local: list[Body] | None, definitions: tuple[tuple[str, str], ...]) -> None:
    """An attribute that is no key of anything is not defined."""
    used = dict.fromkeys(one.name for one in key_attributes(key))
    if not local and len(definitions) != len(used):
        raise errors.validation(
            _INVALID + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"
        )
    used |= dict.fromkeys(element["AttributeName"] for index in local or () for element in index["KeySchema"])
    if len(definitions) != len(used):
        raise errors.validation(
            _INVALID + f"Some AttributeDefinitions are not used. AttributeDefinitions: [{', '.join(name for name, _ in definitions)}], "
            f"keys used: [{', '.join(used)}]"
        )


def check_stream(data: Body) -> None:
    stream = data.get("StreamSpecification")
    if stream is None:
        return
    if stream["StreamEnabled"]:
        raise errors.not_built("StreamSpecification")
    if "StreamViewType" in stream:
        raise errors.validation(_INVALID + "Table is being created with stream disabled, StreamViewType should not be specified")


def check_encryption(data: Body, name: str = "SSESpecification") -> None:
    """Encryption with a key of ours alone is what every table has; a KMS key is refused."""
    asked = data.get(name)
    if asked and (asked.get("Enabled") or "KMSMasterKeyId" in asked or asked.get("SSEType") == "KMS"):
        raise errors.not_built(name)


def table_spec(data: Body) -> TableSpec:
    """The table that CreateTable, or ImportTable, asks for. Raises ValidationException."""
    billing, throughput = _throughput_of(data)
    key, definitions = _key_of(data)
    _check_indexes(data, key, definitions)
    check_stream(data)
    check_encryption(data)
    check_not_asked(data, "WarmThroughput", "ResourcePolicy", "GlobalTableSourceArn", "GlobalTableSettingsReplicationMode", "VectorIndexes")
    return TableSpec(
        name=data["TableName"],
        key=key,
        attributes=definitions,
        billing=billing,
        throughput=throughput,
        deletion_protection=data.get("DeletionProtectionEnabled", False),
        table_class=data.get("TableClass", "STANDARD"),
        tags=tuple(sorted(check_tags(data.get("Tags", [])).items())),
        on_demand=on_demand_of(data, "OnDemandThroughput", billing),
        local_indexes=local_indexes_of(data.get("LocalSecondaryIndexes"), definitions),
    )


async def create_table(call: Call) -> None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    spec = table_spec(data)
    try:
        meta = await call.api.backend.create_table(spec)
    except Conflict:
        raise errors.resource_in_use(f"Table already exists: {name}") from None
    call.reply({"TableDescription": describe(call, meta, "CREATING")})


# -- DescribeTable, ListTables, DeleteTable --------------------------------------------------------------------------------------------


def is_settling(meta: TableMeta) -> bool:
    """Whether the table is on its way to another status, which takes a moment. A restore takes longer, and is meant to be watched."""
    restoring = meta.restore_of is not None and meta.restore_of.in_progress
    return meta.status in ("CREATING", "UPDATING", "DELETING") and not restoring


async def settled(call: Call, meta: TableMeta) -> TableMeta | None:
    """The table once it is ACTIVE, or after SETTLE_MS_MAX as it is then; None: it is gone.

    SDKs poll at once and then every 20 s, so a poll that comes a few milliseconds early costs its caller 20 s.
    """
    until = call.api.env.clock.boot_us() + limits.SETTLE_MS_MAX * 1000
    now: TableMeta | None = meta
    while now is not None and now.table_id == meta.table_id and is_settling(now) and call.api.env.clock.boot_us() < until:
        await call.api.env.tasks.sleep(limits.SETTLE_POLL_MS / 1000)
        now = call.api.backend.table(meta.name)
    return now


def describe_table(call: Call) -> Coroutine[Any, Any, None] | None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    meta = find_table(call, name)
    if is_settling(meta):
        return _describe_settled(call, name, meta)
    call.reply({"Table": describe(call, meta)})
    return None


async def _describe_settled(call: Call, name: str, meta: TableMeta) -> None:
    now = await settled(call, meta)
    if now is None:
        raise errors.table_not_found(name)
    call.reply({"Table": describe(call, now)})


def list_tables(call: Call) -> None:
    data = read_input(call)
    check_constraints(call)
    start: str = data.get("ExclusiveStartTableName", "")
    limit: int = data.get("Limit", limits.LIST_TABLES_MAX)
    names = [name for name in call.api.backend.table_names() if name > start]
    answer: Body = {"TableNames": names[:limit]}
    if len(names) > limit:
        answer["LastEvaluatedTableName"] = names[limit - 1]
    call.reply(answer)


def check_changeable(meta: TableMeta) -> None:
    """Raise ResourceInUseException unless the table is ACTIVE."""
    status = "CREATING" if meta.restore_of is not None and meta.restore_of.in_progress else meta.status
    if status != "ACTIVE":
        raise errors.table_busy(meta.name, status)


async def delete_table(call: Call) -> None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    meta = find_table(call, name)
    check_changeable(meta)
    if meta.deletion_protection:
        raise errors.validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
        )
    try:
        meta = await call.api.backend.delete_table(meta.name)
    except Missing:
        raise errors.table_not_found(name) from None
    except Conflict:
        raise errors.table_busy(name, "DELETING") from None
    call.reply({"TableDescription": deleted_description(describe(call, meta, "DELETING"))})


# -- UpdateTable -----------------------------------------------------------------------------------------------------------------------

_CHANGES = tuple(name for name in UPDATE.members if name not in ("TableName", "AttributeDefinitions"))
_NO_CHANGE = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, "
    "MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput "
    "or TableClass is required"
)


def _check_index_updates(data: Body) -> None:
    """GlobalSecondaryIndexUpdates: one action each, one update an index; making one is not built."""
    updates = data.get("GlobalSecondaryIndexUpdates")
    if updates is None:
        return
    if not updates:
        raise errors.validation(_INVALID + "List of GlobalSecondaryIndexUpdates is empty")
    seen: set[str] = set()
    for update in updates:
        if not update:
            raise errors.validation(
                _INVALID + "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
                "GlobalSecondaryIndexUpdate.Delete must not be null"
            )
        if len(update) > 1:
            raise errors.validation(_INVALID + "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object")
        ((_, action),) = update.items()
        name = action["IndexName"]
        if name in seen:
            raise errors.validation(_INVALID + f"Only one global secondary index update per index is allowed simultaneously. Index: {name}")
        seen.add(name)
    if any("Create" in update for update in updates):
        raise errors.not_built("GlobalSecondaryIndexUpdates")


def _refuse_local(updates: list[Body], meta: TableMeta) -> None:
    """A local index is made with its table and stays as it is."""
    local = {index.name for index in meta.local_indexes or ()}
    for update in updates:
        for action, asked in update.items():
            if asked["IndexName"] in local:
                raise errors.validation(f"Cannot {action.lower()} an index that is not a GlobalSecondaryIndex: {asked['IndexName']}")


async def update_table(call: Call) -> None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    if not any(data.get(member) not in (None, []) for member in _CHANGES):
        raise errors.validation(_NO_CHANGE)
    if data.get("BillingMode") == "PAY_PER_REQUEST" and "ProvisionedThroughput" in data:
        raise errors.validation(_NEITHER)
    if "ProvisionedThroughput" in data:
        check_capacity(data["ProvisionedThroughput"])
    check_stream(data)
    check_encryption(data)
    check_not_asked(
        data,
        "ReplicaUpdates",
        "MultiRegionConsistency",
        "GlobalTableWitnessUpdates",
        "WarmThroughput",
        "GlobalTableSettingsReplicationMode",
        "DisassociationProtectionEnabled",
        "VectorIndexUpdates",
    )
    _check_index_updates(data)
    meta = before = find_table(call, name)
    if "GlobalSecondaryIndexUpdates" in data:
        _refuse_local(data["GlobalSecondaryIndexUpdates"], meta)
        # no table has a global index, so the one to change or delete is not there
        raise errors.resource_not_found()
    check_changeable(meta)
    change = _change_of(data, meta, call.api.env.clock.wall_us())
    if change:
        try:
            meta = await call.api.backend.update_table(meta.name, change)
        except Missing:
            raise errors.table_not_found(name) from None
        except Conflict:
            raise errors.table_busy(name, "UPDATING") from None
    # the answer still shows the throughput from before; DescribeTable shows the new one once it holds
    call.reply({"TableDescription": {**describe(call, meta, "UPDATING" if change else None), **throughput_description(before)}})


def _change_of(data: Body, meta: TableMeta, now_us: int) -> dict[str, object]:
    """The fields of TableMeta that the request changes."""
    change: dict[str, object] = {}
    billing: str = data.get("BillingMode", meta.billing)
    asked = data.get("ProvisionedThroughput")
    if billing != meta.billing:
        if billing == "PROVISIONED" and asked is None:
            raise errors.validation(_INVALID + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        change["billing"] = billing
        change["billing_changed_at"] = now_us
        if billing == "PAY_PER_REQUEST":
            change["throughput"] = Throughput()
        else:
            change["on_demand"] = None
    if asked is not None:
        if billing == "PAY_PER_REQUEST":
            raise errors.validation(_NEITHER)
        change |= _throughput_change(meta, check_capacity(asked), now_us, switched=billing != meta.billing)
    on_demand = on_demand_of(data, "OnDemandThroughput", billing)
    if on_demand is not None and on_demand != meta.on_demand:
        change["on_demand"] = on_demand
    protection = data.get("DeletionProtectionEnabled")
    if protection is not None and protection != meta.deletion_protection:
        change["deletion_protection"] = protection
    table_class = data.get("TableClass")
    if table_class is not None and table_class != meta.table_class:
        change["table_class"] = table_class
        change["table_class_changed_at"] = now_us
    return change


def _throughput_change(meta: TableMeta, asked: Throughput, now_us: int, *, switched: bool) -> dict[str, object]:
    if asked == meta.throughput and not switched:
        raise errors.validation(
            "The provisioned throughput for the table will not change. The requested value equals the current value. "
            f"Current ReadCapacityUnits provisioned for the table: {meta.throughput.read}. "
            f"Requested ReadCapacityUnits: {asked.read}. "
            f"Current WriteCapacityUnits provisioned for the table: {meta.throughput.write}. "
            f"Requested WriteCapacityUnits: {asked.write}. "
            "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
        )
    increased, decreased = meta.throughput_changed_at
    if asked.read > meta.throughput.read or asked.write > meta.throughput.write:
        increased = now_us
    if asked.read < meta.throughput.read or asked.write < meta.throughput.write:
        decreased = now_us
    return {"throughput": asked, "throughput_changed_at": (increased, decreased)}


# -- limits and endpoints --------------------------------------------------------------------------------------------------------------

_EMPTY = Struct("DescribeLimitsInput", {})


def describe_limits(call: Call) -> None:
    read_input(call)
    call.reply(
        {
            "AccountMaxReadCapacityUnits": limits.ACCOUNT_CAPACITY_UNITS_MAX,
            "AccountMaxWriteCapacityUnits": limits.ACCOUNT_CAPACITY_UNITS_MAX,
            "TableMaxReadCapacityUnits": limits.TABLE_CAPACITY_UNITS_MAX,
            "TableMaxWriteCapacityUnits": limits.TABLE_CAPACITY_UNITS_MAX,
        }
    )


def describe_endpoints(call: Call) -> None:
    read_input(call)
    address = call.api.endpoint or call.host or f"dynamodb.{call.api.region}.amazonaws.com"
    call.reply({"Endpoints": [{"Address": address, "CachePeriodInMinutes": 1440}]})


OPERATIONS: dict[str, Any] = {
    "CreateTable": Operation(CREATE, create_table),
    "DescribeTable": Operation(DESCRIBE, describe_table),
    "ListTables": Operation(LIST, list_tables),
    "UpdateTable": Operation(UPDATE, update_table),
    "DeleteTable": Operation(DELETE, delete_table),
    "DescribeLimits": Operation(_EMPTY, describe_limits),
    "DescribeEndpoints": Operation(_EMPTY, describe_endpoints),
}
