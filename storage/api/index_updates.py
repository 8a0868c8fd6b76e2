"""What UpdateTable does to the global indexes of a table: one of them made or removed at a time, the throughput of any.

The texts are those that the service gave in October 2026, by recorded answers; who has none is named in docs/API.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.api.index_definitions import Definitions, check_index_alone, check_projected_count, global_index_of
from scrubjay.storage.api.throughput import changed_at, check_capacity, decreases_after, on_demand_of, warm_after, warm_of, warm_units
from scrubjay.storage.catalogue import GlobalIndex, TableMeta, Throughput, used_attributes

_INVALID = "One or more parameter values were invalid: "
_IN_USE = "Attempt to change a resource which is still in use: "
_ONE_AT_A_TIME = "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"
_ALONE = {
    "ProvisionedThroughput": "You cannot create or delete index while updating table IOPS",
    "StreamSpecification": "You cannot create or delete index while changing stream status",
    "DeletionProtectionEnabled": "DeletionProtection modification must be the only operation in the request",
    "SSESpecification": "Server-Side Encryption modification must be the only operation in the request",
    "TableClass": "TableClass modification must be the only operation in the request",
    "WarmThroughput": "Create global secondary index cannot be specified when updating WarmThroughput",
}
"""What cannot go together with making or removing an index."""
_ENDING = {"CREATING": "created", "UPDATING": "updated", "DELETING": "deleted"}


class IndexUpdates(NamedTuple):
    """create: an index to be made; attributes: the table's definitions with it. delete: the name of one to be removed. changes: by name, fields of GlobalIndex to replace."""

    create: GlobalIndex | None
    attributes: Definitions
    delete: str | None
    changes: dict[str, dict[str, object]]


def check_updates_shape(updates: Sequence[Body] | None) -> None:
    """What can be refused of GlobalSecondaryIndexUpdates without the table: one action each, one update an index. Raises ApiError."""
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


def check_warm_of_indexes(updates: Sequence[Body | None] | None) -> None:
    """What an index is to be warm to says something: told before anything else, whether there is such an index or not. Raises ValidationException."""
    for update in updates or ():
        action: Body = (update or {}).get("Update") or {}
        if action.get("WarmThroughput") == {}:
            raise errors.validation(
                f"{_INVALID}WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond specified for index: {action['IndexName']}"
            )


def index_updates(data: Body, meta: TableMeta, billing: str, now_us: int) -> IndexUpdates:
    """The updates asked for, held against the table. billing: the table's afterwards. Raises ApiError."""
    asked: list[Body] = data.get("GlobalSecondaryIndexUpdates") or []
    online = [one for one in asked if "Update" not in one]
    if len(online) > 1:
        raise errors.limit_exceeded(_ONE_AT_A_TIME)
    _check_known(asked, meta)
    if online:
        _check_online(data, online, meta)
    create = next((_created(data, one["Create"], meta, billing) for one in online if "Create" in one), None)
    changes = {one["Update"]["IndexName"]: _changes(one["Update"], meta, billing, now_us) for one in asked if "Update" in one}
    if billing != meta.billing:
        _switch(meta, billing, changes, [one["Delete"]["IndexName"] for one in online if "Delete" in one])
    _keep_warm(meta, billing, changes)
    attributes = meta.shown_attributes
    if create is not None:
        attributes = _with_keys_of(create, data, meta)
    return IndexUpdates(
        create,
        attributes,
        next((one["Delete"]["IndexName"] for one in online if "Delete" in one), None),
        {name: one for name, one in changes.items() if one},
    )


def check_throughput_change(data: Body, meta: TableMeta) -> None:
    """A table's throughput does not change while an index is removed. Raises ApiError."""
    going = [index.name for index in meta.global_indexes or () if index.status == "DELETING"]
    if not going:
        return
    if "ProvisionedThroughput" in data or data.get("BillingMode", meta.billing) != meta.billing:
        raise errors.resource_in_use(
            f"{_IN_USE}Can't change table IOPS when an index is being deleted. Table: {meta.name} Indexes: [{', '.join(going)}]"
        )
    if "OnDemandThroughput" in data:
        raise errors.resource_in_use(
            f"{_IN_USE}OnDemandThroughput cannot be updated while index deletion is in progress for indexes: [{', '.join(going)}]"
        )


def check_indexes_settled(meta: TableMeta) -> None:
    """A table goes with its indexes once each of them is made, changed or removed. Raises ResourceInUseException."""
    if any(index.status != "ACTIVE" for index in meta.global_indexes or ()):
        raise errors.resource_in_use(f"{_IN_USE}Cannot delete table while indexes are being created, updated, or deleted.")


def _check_known(asked: Sequence[Body], meta: TableMeta) -> None:
    local = {index.name for index in meta.local_indexes or ()}
    known = {index.name for index in meta.global_indexes or ()}
    for update in asked:
        ((action, one),) = update.items()
        name = one["IndexName"]
        if action == "Create":
            continue
        if name in local:
            raise errors.validation(f"Cannot {action.lower()} an index that is not a GlobalSecondaryIndex: {name}")
        if name not in known:
            raise errors.resource_not_found(f"Requested resource not found: Index {name} for table {meta.name}")


def _check_online(data: Body, online: Sequence[Body], meta: TableMeta) -> None:
    """One index is made or removed at a time, and hardly anything beside it."""
    for member, why in _ALONE.items():
        if data.get(member) is not None:
            raise errors.validation(_INVALID + why)
    ((action, asked),) = online[0].items()
    for index in meta.global_indexes or ():
        if action == "Delete" and index.name == asked["IndexName"] and index.status == "CREATING":
            if not index.backfilling:
                raise errors.resource_in_use(
                    f"{_IN_USE}Index creation is in resource allocation phase. Retry deletion during backfilling phase or when the index is active. "
                    f"Table: {meta.name} Index: {index.name}"
                )
        elif index.status in ("CREATING", "DELETING"):
            raise errors.limit_exceeded(_ONE_AT_A_TIME)


def _created(data: Body, asked: Body, meta: TableMeta, billing: str) -> GlobalIndex:
    name = asked["IndexName"]
    there = [index.name for index in meta.local_indexes or ()] + [index.name for index in meta.global_indexes or ()]
    if name in there:
        raise errors.validation("Attempting to create an index which already exists")
    if not data.get("AttributeDefinitions"):
        raise errors.validation(_INVALID + f"AttributeDefinitions is not specified for index: {name}")
    definitions = _definitions(data, meta)
    check_index_alone(asked, definitions)
    _check_same_types(asked, data, meta)
    if len(meta.global_indexes or ()) >= limits.GLOBAL_INDEXES_MAX:
        raise errors.limit_exceeded(
            f"Subscriber limit exceeded: Number of global secondary indexes exceeds per-table limit of {limits.GLOBAL_INDEXES_MAX}"
        )
    projected = [index.attributes for index in meta.local_indexes or ()] + [index.attributes for index in meta.global_indexes or ()]
    check_projected_count(sum(map(len, projected)) + len(asked["Projection"].get("NonKeyAttributes", ())))
    if billing == "PROVISIONED" and "ProvisionedThroughput" not in asked:
        raise errors.validation(_INVALID + f"Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: {name}")
    if billing == "PAY_PER_REQUEST" and "ProvisionedThroughput" in asked:
        raise errors.validation(
            _INVALID
            + f"Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
        )
    return global_index_of(asked, definitions, billing)


def _definitions(data: Body, meta: TableMeta) -> Definitions:
    """The table's, then those of the request that the table has not. What the table has otherwise stays as it is."""
    known = dict(meta.shown_attributes)
    for one in data.get("AttributeDefinitions") or ():
        known.setdefault(one["AttributeName"], one["AttributeType"])
    return tuple(known.items())


def _check_same_types(asked: Body, data: Body, meta: TableMeta) -> None:
    """A key of a new index is no key of the table or another index under another type. Raises ApiError."""
    types = {one["AttributeName"]: one["AttributeType"] for one in data["AttributeDefinitions"]}
    wanted = [(element["AttributeName"], element["KeyType"]) for element in asked["KeySchema"]]
    known = dict(meta.shown_attributes)
    redefined = next((name for name, _ in wanted if name in types and types[name] != known.get(name, types[name])), None)
    if redefined is None:
        return
    there = next(keys for keys in _schemas(meta) if redefined in dict(keys))
    raise errors.validation(
        f"{_INVALID}Attributes cannot be redefined. Please check that your attribute has the same type as previously defined. "
        f"Existing schema: {_schema_text(there, known)} New schema: {_schema_text(wanted, known | types)}"
    )


def _schemas(meta: TableMeta) -> list[list[tuple[str, str]]]:
    """Names and kinds of the keys of a table and of each of its indexes."""
    hash_key = (meta.key.partition.name, "HASH")
    found = [[hash_key] if meta.key.sort is None else [hash_key, (meta.key.sort.name, "RANGE")]]
    found += [[hash_key, (index.sort.name, "RANGE")] for index in meta.local_indexes or ()]
    for index in meta.global_indexes or ():
        found.append([*[(one.name, "HASH") for one in index.hash], *[(one.name, "RANGE") for one in index.sort]])
    return found


def _schema_text(keys: Sequence[tuple[str, str]], types: dict[str, str]) -> str:
    return f"Schema:[{', '.join([f'SchemaElement: key{{{name}:{types.get(name)}:{kind}}}' for name, kind in keys])}]"


def _with_keys_of(index: GlobalIndex, data: Body, meta: TableMeta) -> Definitions:
    """The table's definitions and what of the request's are keys of the new index."""
    return used_attributes(
        msgspec.structs.replace(meta, attributes_now=_definitions(data, meta), global_indexes=(*(meta.global_indexes or ()), index))
    )


def _changes(asked: Body, meta: TableMeta, billing: str, now_us: int) -> dict[str, object]:
    """The fields of an index that its Update replaces."""
    name = asked["IndexName"]
    index = next(one for one in meta.global_indexes or () if one.name == name)
    if index.status != "ACTIVE":
        raise errors.resource_in_use(f"{_IN_USE}Index is being {_ENDING[index.status]}. Table: {meta.name} Index: {name}")
    changes: dict[str, object] = {}
    throughput = asked.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST" and (throughput is not None or not (asked.get("OnDemandThroughput") or asked.get("WarmThroughput"))):
        raise errors.validation(
            _INVALID
            + f"The only Updates for index: {name} when TableThroughputMode is PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
        )
    if throughput is not None:
        units = check_capacity(throughput, index=name)
        if units == index.throughput and billing == meta.billing:
            raise errors.validation(
                f"The provisioned throughput for the index {name} will not change. The requested value equals the current value. "
                f"Current ReadCapacityUnits provisioned for index {name}: {units.read}. Requested ReadCapacityUnits: {units.read}. "
                f"Current WriteCapacityUnits provisioned for index {name}: {units.write}. Requested WriteCapacityUnits: {units.write}. "
                "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
            )
        changes = {
            "throughput": units,
            "throughput_changed_at": changed_at(index.throughput, index.throughput_changed_at, units, now_us),
            "decreases": decreases_after(index.throughput, index.decreases, index.throughput_changed_at, units, now_us),
        }
    on_demand = on_demand_of(asked.get("OnDemandThroughput"), billing, index=name, now=index.on_demand, may_clear=True)
    if on_demand is not None and on_demand != index.on_demand:
        changes["on_demand"] = on_demand
    warm = warm_of(asked.get("WarmThroughput"), billing, index.throughput, index.warm, index=name, made=False)
    if warm != index.warm:
        changes["warm"] = warm
    return changes


def _keep_warm(meta: TableMeta, billing: str, changes: dict[str, dict[str, Any]]) -> None:
    for index in meta.global_indexes or ():
        change = changes.get(index.name, {})
        if "throughput" in change:
            warm = warm_units(meta.billing, index.throughput, change.get("warm", index.warm))
            change["warm"] = warm_after(warm, billing, change["throughput"])


def _switch(meta: TableMeta, billing: str, changes: dict[str, dict[str, Any]], going: Sequence[str]) -> None:
    """The table is billed otherwise from now on: every index with it."""
    for index in meta.global_indexes or ():
        if index.status == "DELETING" or index.name in going:
            continue
        here = changes.setdefault(index.name, {})
        if billing == "PAY_PER_REQUEST":
            here["throughput"] = Throughput()
        elif "throughput" not in here:
            raise errors.validation(_INVALID + f"ProvisionedThroughput must be specified for index: {index.name}")
        else:
            here["on_demand"] = None
