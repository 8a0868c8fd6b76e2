"""Tables: create, describe, list, update, delete, limits and endpoints."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from scrubjay.base.errors import Conflict, Missing
from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body, Call
from scrubjay.storage.api.describe import (
    brings_indexes,
    deleted_description,
    index_throughput,
    table_description,
    throughput_description,
    warm_description,
)
from scrubjay.storage.api.index_definitions import check_indexes, check_key_elements, global_indexes_of, local_indexes_of
from scrubjay.storage.api.index_updates import (
    IndexUpdates,
    check_indexes_settled,
    check_throughput_change,
    check_updates_shape,
    check_warm_of_indexes,
    index_updates,
)
from scrubjay.storage.api.operations.operation import Operation, check_constraints, check_not_asked, read_input
from scrubjay.storage.api.operations.table_shapes import CREATE, DELETE, DESCRIBE, LIST, TABLE_CLASSES, UPDATE
from scrubjay.storage.api.operations.tags import check_tags
from scrubjay.storage.api.policy.document import PolicyOwner, read_policy
from scrubjay.storage.api.shapes import Struct
from scrubjay.storage.api.throughput import (
    changed_at,
    check_capacity,
    check_quotas,
    decreases_after,
    on_demand_of,
    warm_after,
    warm_of,
    warm_units,
)
from scrubjay.storage.backend import TableSpec
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema, ResourcePolicy, TableMeta, TableStats, Throughput, new_stream

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
    indexes = [_index_stats(call, meta, index) for index in meta.global_indexes or ()]
    now_us = api.env.clock.wall_us()
    return table_description(
        meta, api.backend.stats(meta), api.table_arn(meta.name), source_arn, now_us=now_us, status=status, index_stats=indexes
    )


def _index_stats(call: Call, meta: TableMeta, index: GlobalIndex) -> TableStats:
    table = call.api.backend.index_table(meta, index.name)
    return TableStats(0, 0) if table is None else call.api.backend.stats(table)


def is_restoring(meta: TableMeta) -> bool:
    """Whether a backup, or another table as it was, is being restored to it: only some operations know of it yet."""
    return meta.restore_of is not None and meta.restore_of.in_progress and meta.restore_of.imported is None


def find_table(call: Call, name: str, *, restoring: bool = False) -> TableMeta:
    """The table, in whatever status. restoring: one that is being restored is found too. Raises ResourceNotFoundException, AccessDeniedException."""
    meta = call.api.backend.table(call.api.table_name(name, call.operation))
    if meta is None:
        call.check_sure()
        call.check_absent(name)
        raise errors.table_not_found(name)
    call.check_policy(meta)
    if is_restoring(meta) and not restoring:
        raise errors.table_not_found(name)
    return meta


def read_of_table(call: Call) -> tuple[Body, TableMeta]:
    """The request and the table it names. Raises as AWS: types, constraints, no such table."""
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    return data, find_table(call, name)


# -- CreateTable -----------------------------------------------------------------------------------------------------------------------


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
        twice = next(name for at, (name, _) in enumerate(definitions) if name in dict(definitions[:at]))
        raise errors.validation(f"Attribute Name is duplicated: {twice}")
    attributes = [KeyAttribute(name, types[name]) for name in names]
    return KeySchema(attributes[0], attributes[1] if len(attributes) == 2 else None), definitions


def stream_view_of(data: Body) -> str:
    """Of the stream that a new table shall have, "": none."""
    stream = data.get("StreamSpecification")
    if stream is None:
        return ""
    view: str = stream.get("StreamViewType", "")
    if stream["StreamEnabled"] and not view:
        raise errors.validation(_INVALID + "Table is being created with a stream enabled, UpdateViewType is required")
    if view and not stream["StreamEnabled"]:
        raise errors.validation(_INVALID + "Table is being created with a stream disabled, UpdateViewType should not be specified")
    return view


def check_stream_update(data: Body) -> None:
    """What UpdateTable asks of the stream, by itself."""
    stream = data.get("StreamSpecification")
    if stream is None:
        return
    if stream["StreamEnabled"] and "StreamViewType" not in stream:
        raise errors.validation(_INVALID + "If stream is being enabled then UpdateViewType is required")
    if not stream["StreamEnabled"] and "StreamViewType" in stream:
        raise errors.validation(_INVALID + "If stream is being disabled, then UpdateViewType must not be specified")
    if "ProvisionedThroughput" in data or data.get("BillingMode") == "PROVISIONED":
        raise errors.validation(_INVALID + "You cannot modify stream status while updating table IOPS")
    updates = data.get("GlobalSecondaryIndexUpdates") or []
    if any(update and "Update" not in update for update in updates):
        raise errors.validation(_INVALID + "You cannot create or delete index while changing stream status")
    if updates:
        raise errors.validation(_INVALID + "You cannot modify stream status while creating, updating or deleting an index")


def _stream_change(data: Body, meta: TableMeta, now_us: int) -> dict[str, object]:
    """The fields of TableMeta that a stream turned on or off changes."""
    asked = data.get("StreamSpecification")
    if asked is None:
        return {}
    current = meta.stream
    if asked["StreamEnabled"]:
        if current is not None:
            raise errors.validation(f"Table already has an enabled stream: TableName: {meta.name}")
        streams = (*meta.streams_kept(now_us), new_stream(asked["StreamViewType"], now_us))
    else:
        if current is None:
            raise errors.validation(f"Table has no stream to disable: TableName: {meta.name}")
        assert meta.streams
        streams = (*meta.streams[:-1], msgspec.structs.replace(current, status="DISABLING", ended_at=now_us))
    return {"streams": streams, "status": "UPDATING"}


def check_encryption(data: Body, name: str = "SSESpecification") -> None:
    """A table is what every table is, and no key of a KMS is there to make it otherwise: who names one hears that, who asks for the service's own is refused by name. Raises ValidationException."""
    asked = data.get(name) or {}
    kind, key = asked.get("SSEType"), asked.get("KMSMasterKeyId")
    if not asked.get("Enabled", True):
        for member in ("SSEType", "KMSMasterKeyId"):
            if member in asked:
                raise errors.validation(f"{_INVALID}{member} can not be specified if Enabled is false")
    if key is not None and kind is None:
        raise errors.validation(_INVALID + "SSEType KMS is required if KMSMasterKeyId is specified")
    if kind == "AES256":
        raise errors.validation(_INVALID + "SSEType AES256 is not supported")
    if key is not None and key.rpartition(":")[2] != "alias/aws/dynamodb":
        raise errors.no_such_kms_key(key)
    if asked.get("Enabled") or kind is not None:
        raise errors.not_built(name)


def new_policy(call: Call, text: str, *, stream: str = "", after: ResourcePolicy | None = None) -> ResourcePolicy:
    """A policy to be attached. stream: label, "": to a table. after: the one before it. Raises ValidationException."""
    found = read_policy(text, PolicyOwner(call.account, call.api.users, stream=bool(stream)))
    return ResourcePolicy(found.text, later(call, after), stream, found.versioned)


def later(call: Call, last: ResourcePolicy | None) -> int:
    """When a policy is changed: each change has a revision of its own, which is a millisecond."""
    return max(call.api.env.clock.wall_us(), 0 if last is None else last.changed_at + 1000)


def table_spec(data: Body) -> TableSpec:
    """The table that CreateTable, or ImportTable, asks for. Raises ValidationException."""
    check_table_class(data)
    billing, throughput = _throughput_of(data)
    key, definitions = _key_of(data)
    check_indexes(data, key, definitions, billing)
    check_encryption(data)
    check_not_asked(data, "GlobalTableSourceArn", "GlobalTableSettingsReplicationMode", "VectorIndexes")
    return TableSpec(
        name=data["TableName"],
        key=key,
        attributes=definitions,
        billing=billing,
        throughput=throughput,
        deletion_protection=data.get("DeletionProtectionEnabled", False),
        table_class=data.get("TableClass", "STANDARD"),
        class_named="TableClass" in data,
        tags=tuple(sorted(check_tags(data.get("Tags", [])).items())),
        on_demand=on_demand_of(data.get("OnDemandThroughput"), billing),
        local_indexes=local_indexes_of(data.get("LocalSecondaryIndexes"), definitions),
        global_indexes=global_indexes_of(data.get("GlobalSecondaryIndexes"), definitions, billing),
        warm=warm_of(data.get("WarmThroughput"), billing, throughput, None) or msgspec.UNSET,
        stream_view=stream_view_of(data),
    )


async def create_table(call: Call) -> None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    spec = table_spec(data)
    if "ResourcePolicy" in data:
        spec = msgspec.structs.replace(spec, policy=new_policy(call, data["ResourcePolicy"]))
    check_quotas_of(call, spec)
    try:
        meta = await call.api.backend.create_table(spec)
    except Conflict:
        there = call.api.backend.table(name)
        words = "Table is being used" if there is not None and is_restoring(there) else "Table already exists"
        raise errors.resource_in_use(f"{words}: {name}") from None
    call.reply({"TableDescription": _just_made(describe(call, meta, "CREATING"), data)})


def check_quotas_of(call: Call, spec: TableSpec) -> None:
    """Raises LimitExceededException: a table that is asked for, or an index of it, would have more than an account may have."""
    check_quotas(call.api.region, spec.throughput, spec.on_demand, spec.warm or None)
    for index in spec.global_indexes or ():
        check_quotas(call.api.region, index.throughput, index.on_demand, index.warm, index=index.name)


def _just_made(description: Body, data: Body) -> Body:
    """CreateTable's answer tells of what a table is warm to only where that was asked for, and not of its indexes."""
    if "WarmThroughput" in data:
        description["WarmThroughput"]["Status"] = "UPDATING"
    else:
        del description["WarmThroughput"]
    for index in description.get("GlobalSecondaryIndexes", ()):
        del index["WarmThroughput"]
    return description


# -- DescribeTable, ListTables, DeleteTable --------------------------------------------------------------------------------------------


def is_settling(meta: TableMeta) -> bool:
    """Whether the table is on its way to another status, which takes a moment. A restore or an import takes longer, and is meant to be watched."""
    restoring = meta.restore_of is not None and meta.restore_of.in_progress
    return (meta.status in ("CREATING", "UPDATING", "DELETING") or brings_indexes(meta)) and not restoring


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
    meta = find_table(call, name, restoring=True)
    if is_settling(meta):
        return _describe_settled(call, name, meta)
    call.reply({"Table": describe(call, meta)})
    return None


async def _describe_settled(call: Call, name: str, meta: TableMeta) -> None:
    now = await settled(call, meta)
    if now is None:
        call.check_sure()
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
    meta = find_table(call, name, restoring=True)
    check_changeable(meta)
    check_indexes_settled(meta)
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
_EMPTY_IS_NONE = ("WarmThroughput", "OnDemandThroughput")
"""Members that are as good as absent when they are empty."""
_NO_CHANGE = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, ReplicaUpdates, "
    "MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput "
    "or TableClass is required"
)


_ALONE = {
    "SSESpecification": "Server-Side Encryption modification must be the only operation in the request",
    "TableClass": "TableClass modification must be the only operation in the request",
    "DeletionProtectionEnabled": "DeletionProtection modification must be the only operation in the request",
    "OnDemandThroughput": "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
    "WarmThroughput": "WarmThroughput must be the only operation in the request",
}
"""What is changed by a request of its own; of several, the first here is named."""
_TAKES_TIME = ("BillingMode", "ProvisionedThroughput", "StreamSpecification", "TableClass")
"""What a table is UPDATING for, in the answer even where it is so already; all else holds at once, or shows by a status of its own."""
_BESIDE = {"OnDemandThroughput": frozenset(UPDATE.members) - {"StreamSpecification", "WarmThroughput"}}
"""What may stand beside one of them all the same."""


def _asked(data: Body) -> set[str]:
    """Which members ask for a change."""
    return {member for member in _CHANGES if data.get(member) not in (None, []) and (data[member] or member not in _EMPTY_IS_NONE)}


def _check_any_change(data: Body) -> None:
    """Raises ValidationException: nothing is asked for. Of how regions agree nothing is, by itself; nor of witnesses with no region."""
    witnesses = data.get("GlobalTableWitnessUpdates") or []
    if _asked(data) - {"MultiRegionConsistency"} - (set() if any(map(_has_region, witnesses)) else {"GlobalTableWitnessUpdates"}):
        return
    raise errors.validation(_NO_CHANGE.replace(" MultiRegionConsistency,", "") if "MultiRegionConsistency" in data else _NO_CHANGE)


def _has_region(update: Body | None) -> bool:
    return any((action or {}).get("RegionName") for action in (update or {}).values())


def _check_alone(data: Body) -> None:
    """One request changes one thing. Raises ValidationException."""
    asked = _asked(data)
    for member, why in _ALONE.items():
        if member not in asked or not asked - {member} - _BESIDE.get(member, frozenset()):
            continue
        if member == "WarmThroughput" and any("Create" in update for update in data.get("GlobalSecondaryIndexUpdates") or [] if update):
            continue  # told with the index
        raise errors.validation(_INVALID + why)


def check_table_class(data: Body) -> None:
    """Raises ValidationException: there is no such class."""
    if data.get("TableClass", TABLE_CLASSES[0]) not in TABLE_CLASSES:
        raise errors.validation(
            "Invalid table-class parameter provided. Please try again with a valid table-class value: [" + ", ".join(TABLE_CLASSES) + "]."
        )


def _check_replicas(call: Call, data: Body) -> None:
    """Raises ValidationException: an update of nothing, and the table's own region is no replica of it."""
    for update in data.get("ReplicaUpdates") or []:
        if not update:
            raise errors.validation("There are no actions specified in the Replica Update Action of the request.")
        if update.get("Create") == {}:
            raise errors.validation(_INVALID.removesuffix(": "))
        if any(action.get("RegionName") == call.api.region for action in (update or {}).values()):
            raise errors.validation(
                "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or UpdateTable as required."
            )


def _check_encryption_change(data: Body) -> None:
    """A table is encrypted with a key of ours, and stays so."""
    if "SSESpecification" not in data:
        return
    check_encryption(data)
    raise errors.validation(_INVALID + "Table is already encrypted by default")


async def update_table(call: Call) -> None:
    data = read_input(call)
    name = require_table_name(data)
    check_constraints(call)
    _check_any_change(data)
    check_warm_of_indexes(data.get("GlobalSecondaryIndexUpdates"))
    check_table_class(data)
    _check_alone(data)
    if data.get("BillingMode") == "PAY_PER_REQUEST" and "ProvisionedThroughput" in data:
        raise errors.validation(_NEITHER)
    if "ProvisionedThroughput" in data:
        check_capacity(data["ProvisionedThroughput"])
    check_stream_update(data)
    _check_encryption_change(data)
    _check_replicas(call, data)
    check_not_asked(
        data,
        "ReplicaUpdates",
        "MultiRegionConsistency",
        "GlobalTableWitnessUpdates",
        "GlobalTableSettingsReplicationMode",
        "DisassociationProtectionEnabled",
        "VectorIndexUpdates",
    )
    check_updates_shape(data.get("GlobalSecondaryIndexUpdates"))
    meta = before = find_table(call, name)
    check_throughput_change(data, meta)
    now_us = call.api.env.clock.wall_us()
    indexes = index_updates(data, meta, data.get("BillingMode", meta.billing), now_us)
    check_changeable(meta)
    change = _change_of(data, meta, now_us)
    _check_update_quotas(call, change, indexes)
    try:
        meta = await _update(call, meta, change, indexes)
    except Missing:
        raise errors.table_not_found(name) from None
    except Conflict:
        raise errors.table_busy(name, "UPDATING") from None
    # the answer still shows the throughput from before; DescribeTable shows the new one once it holds
    busy = any(member in data for member in _TAKES_TIME) or indexes.create is not None or indexes.delete is not None
    description = describe(call, meta, "UPDATING" if busy else None)
    call.reply(
        {
            "TableDescription": {
                **description,
                **throughput_description(before, now_us),
                **_warm_before(before, data),
                **_indexes_before(description, before, indexes, data, now_us),
                **_ceilings_asked(description, data),
            }
        }
    )


def _warm_before(before: TableMeta, data: Body) -> Body:
    """The member WarmThroughput of an UpdateTable's answer: what there was, and whether it is being made more."""
    shown = warm_description(before.billing, before.throughput, before.warm or None)
    return {"WarmThroughput": {**shown, "Status": "UPDATING"} if data.get("WarmThroughput") else shown}


def _ceilings_asked(description: Body, data: Body) -> Body:
    """The member OnDemandThroughput of an UpdateTable's answer: with the -1 by which one was taken away, which DescribeTable leaves out."""
    asked = data.get("OnDemandThroughput")
    return {"OnDemandThroughput": {**description.get("OnDemandThroughput", {}), **asked}} if asked else {}


def _check_update_quotas(call: Call, change: Mapping[str, Any], indexes: IndexUpdates) -> None:
    """Raises LimitExceededException: what is asked for, of the table or an index, is more than an account may have."""
    check_quotas(call.api.region, change.get("throughput", Throughput()), change.get("on_demand"), change.get("warm") or None)
    made = indexes.create
    if made is not None:
        check_quotas(call.api.region, made.throughput, made.on_demand, made.warm, index=made.name)
    for name, one in indexes.changes.items():
        fields: Mapping[str, Any] = one
        check_quotas(call.api.region, fields.get("throughput", Throughput()), fields.get("on_demand"), fields.get("warm"), index=name)


async def _update(call: Call, meta: TableMeta, change: dict[str, object], indexes: IndexUpdates) -> TableMeta:
    """What one UpdateTable does to the store. Raises Missing, Conflict."""
    backend, name = call.api.backend, meta.name
    alone = indexes.create is None and indexes.delete is None
    if indexes.changes:
        meta = await backend.update_indexes(name, indexes.changes, change if alone else {})
    elif change and alone:
        meta = await backend.update_table(name, change)
    if indexes.create is not None:
        meta = await backend.create_index(name, indexes.create, indexes.attributes, change)
    elif indexes.delete is not None:
        meta = await backend.delete_index(name, indexes.delete)
    return meta


def _indexes_before(description: Body, before: TableMeta, indexes: IndexUpdates, data: Body, now_us: int) -> Body:
    """The member GlobalSecondaryIndexes of an UpdateTable's answer: of an index that is updated with the throughput from before."""
    if not indexes.changes:
        return {}
    old = {index.name: index for index in before.global_indexes or ()}
    asked = {one["Update"]["IndexName"]: one["Update"] for one in data.get("GlobalSecondaryIndexUpdates") or () if "Update" in one}
    shown = []
    for one in description["GlobalSecondaryIndexes"]:
        name = one["IndexName"]
        if name not in indexes.changes:
            shown.append(one)
            continue
        index, update = old[name], asked.get(name, {})
        warm = warm_description(before.billing, index.throughput, index.warm)
        if "WarmThroughput" in update:
            warm["Status"] = "UPDATING"
        shown.append({**one, **index_throughput(before.billing, index, now_us), "WarmThroughput": warm})
        if set(update) != {"IndexName", "WarmThroughput"}:
            shown[-1]["IndexStatus"] = "UPDATING"
    return {"GlobalSecondaryIndexes": shown}


def _change_of(data: Body, meta: TableMeta, now_us: int) -> dict[str, Any]:
    """The fields of TableMeta that the request changes."""
    change: dict[str, Any] = {}
    billing: str = data.get("BillingMode", meta.billing)
    asked = data.get("ProvisionedThroughput")
    if billing != meta.billing:
        if billing == "PROVISIONED" and asked is None:
            raise errors.validation(_INVALID + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        change["billing"] = billing
        if billing == "PAY_PER_REQUEST":
            change["billing_changed_at"] = now_us
            change["throughput"] = Throughput()
        else:
            # it was billed by request since it was made, unless it is known since when
            change["billing_changed_at"] = meta.created_at if meta.billing_changed_at is None else meta.billing_changed_at
            change["on_demand"] = None
    if asked is not None:
        if billing == "PAY_PER_REQUEST":
            raise errors.validation(_NEITHER)
        change |= _throughput_change(meta, check_capacity(asked), now_us, switched=billing != meta.billing)
    on_demand = on_demand_of(data.get("OnDemandThroughput"), billing, now=meta.on_demand, may_clear=True)
    warm = warm_of(data.get("WarmThroughput"), billing, meta.throughput, meta.warm or None, made=False)
    if "throughput" in change:
        warm = warm_after(warm_units(meta.billing, meta.throughput, warm), billing, change["throughput"])
    if warm != (meta.warm or None):
        change["warm"] = warm or msgspec.UNSET
    if on_demand is not None and on_demand != meta.on_demand:
        change["on_demand"] = on_demand
    protection = data.get("DeletionProtectionEnabled")
    if protection is not None and protection != meta.deletion_protection:
        change["deletion_protection"] = protection
    table_class = data.get("TableClass")
    if table_class is not None and table_class != meta.table_class:
        change["table_class"] = table_class
        change["table_class_changed_at"] = now_us
    return change | _stream_change(data, meta, now_us)


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
    decreases = decreases_after(meta.throughput, meta.decreases or 0, meta.throughput_changed_at, asked, now_us)
    return {
        "throughput": asked,
        "throughput_changed_at": changed_at(meta.throughput, meta.throughput_changed_at, asked, now_us),
        "decreases": decreases or msgspec.UNSET,
    }


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
