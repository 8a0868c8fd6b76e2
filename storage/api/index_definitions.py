"""Secondary indexes, local and global, as CreateTable, UpdateTable, imports and restores define them.

The texts are those that the service gave in October 2026, by recorded answers; who has none is named in docs/API.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.api.describe import global_index_info, index_info
from scrubjay.storage.api.throughput import check_capacity, on_demand_of, warm_of
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema, LocalIndex, TableMeta, Throughput, used_attributes
from scrubjay.storage.items.keys import key_attributes

_INVALID = "One or more parameter values were invalid: "
_ONE_NAME = "Both the Hash Key and the Range Key element in the KeySchema have the same name"
Definitions = tuple[tuple[str, str], ...]
"""AttributeDefinitions: (name, type)."""


# -- definitions -----------------------------------------------------------------------------------------------------------------------


def check_indexes(data: Body, key: KeySchema, definitions: Definitions, billing: str) -> None:
    """What AWS refuses of the indexes of a new table, in its order. Raises ApiError."""
    local, global_ = data.get("LocalSecondaryIndexes"), data.get("GlobalSecondaryIndexes")
    if local is not None:
        _check_local_keys(local, key, definitions)
    if global_ is not None:
        _check_global_keys(global_, definitions)
    indexes = [*(local or ()), *(global_ or ())]
    _check_definitions_used(key, indexes, definitions)
    seen: set[str] = set()
    for index in indexes:
        _check_projection(index["Projection"])
        if index["IndexName"] in seen:
            raise errors.validation(_INVALID + f"Duplicate index name: {index['IndexName']}")
        seen.add(index["IndexName"])
    if len(local or ()) > limits.LOCAL_INDEXES_MAX:
        raise errors.validation(_INVALID + f"Number of LocalSecondaryIndexes exceeds per-table limit of {limits.LOCAL_INDEXES_MAX}")
    if len(global_ or ()) > limits.GLOBAL_INDEXES_MAX:
        raise errors.validation(_INVALID + f"GlobalSecondaryIndex count exceeds the per-table limit of {limits.GLOBAL_INDEXES_MAX}")
    check_projected_count(sum([len(index["Projection"].get("NonKeyAttributes", ())) for index in indexes]))
    for index in global_ or ():
        _check_index_throughput(index, billing)


def check_index_alone(index: Body, definitions: Definitions) -> None:
    """What AWS refuses of one global index that a table gets later. Raises ApiError."""
    _check_global_keys([index], definitions)
    _check_projection(index["Projection"])


def _check_local_keys(indexes: Sequence[Body], key: KeySchema, definitions: Definitions) -> None:
    if not indexes:
        raise errors.validation(_INVALID + "List of LocalSecondaryIndexes is empty")
    if key.sort is None:
        raise errors.validation(
            _INVALID + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
        )
    for index in indexes:
        _check_defined(index, definitions)
        _check_local_key(index, key)


def _check_global_keys(indexes: Sequence[Body], definitions: Definitions) -> None:
    if not indexes:
        raise errors.validation(_INVALID + "List of GlobalSecondaryIndexes is empty")
    for index in indexes:
        _check_defined(index, definitions)
        _check_global_key(index)


def _check_defined(index: Body, definitions: Definitions) -> None:
    """Every key attribute of an index is defined."""
    names = [element["AttributeName"] for element in index["KeySchema"]]
    defined = [name for name, _ in definitions]
    if any(name not in defined for name in names):
        raise errors.validation(
            _INVALID + "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(defined)}]"
        )


def _check_definitions_used(key: KeySchema, indexes: Sequence[Body], definitions: Definitions) -> None:
    """An attribute that is no key of anything is not defined."""
    used = dict.fromkeys(one.name for one in key_attributes(key))
    if not indexes and len(definitions) != len(used):
        raise errors.validation(
            _INVALID + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"
        )
    used |= dict.fromkeys(element["AttributeName"] for index in indexes for element in index["KeySchema"])
    if len(definitions) != len(used):
        raise errors.validation(
            _INVALID + f"Some AttributeDefinitions are not used. AttributeDefinitions: [{', '.join(name for name, _ in definitions)}], "
            f"keys used: [{', '.join(used)}]"
        )


def _check_global_key(index: Body) -> None:
    """Up to four attributes that place a row, then up to four that order it, each of a name of its own."""
    elements = index["KeySchema"]
    names = [element["AttributeName"] for element in elements]
    kinds = [element["KeyType"] for element in elements]
    if kinds == ["HASH", "RANGE"] and names[0] == names[1]:
        raise errors.validation(_ONE_NAME)
    if kinds[0] != "HASH":
        raise errors.validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if kinds != sorted(kinds):
        raise errors.validation(_INVALID + "All HASH key attributes must precede RANGE key attributes in the KeySchema")
    for kind in ("HASH", "RANGE"):
        if kinds.count(kind) > limits.KEY_PARTS_MAX:
            raise errors.validation(_INVALID + f"The KeySchema exceeds the maximum allowed number of {kind} key attributes")
    if len(set(names)) != len(names):
        raise errors.validation("The KeySchema contains multiple key attributes with the same name")


def check_key_elements(elements: Sequence[Body]) -> None:
    """A hash key, then a range key of another name or none: of a table as of a local index. Raises ApiError."""
    names = [element["AttributeName"] for element in elements]
    if len(names) == 2 and names[0] == names[1]:
        raise errors.validation(_ONE_NAME)
    if elements[0]["KeyType"] != "HASH":
        raise errors.validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(names) == 2 and elements[1]["KeyType"] != "RANGE":
        raise errors.validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def _check_local_key(index: Body, key: KeySchema) -> None:
    elements = index["KeySchema"]
    names = [element["AttributeName"] for element in elements]
    check_key_elements(elements)
    if len(names) != 2:
        raise errors.validation(_INVALID + f"Index KeySchema does not have a range key for index: {index['IndexName']}")
    if names[0] != key.partition.name:
        raise errors.validation(
            _INVALID + f"Index KeySchema does not have the same leading hash key as table KeySchema for index: {index['IndexName']}. "
            f"index hash key: {names[0]}, table hash key: {key.partition.name}"
        )


def _check_projection(projection: Body) -> None:
    """Raises ApiError."""
    kind = projection.get("ProjectionType")
    if kind is None:
        raise errors.validation(_INVALID + "Unknown ProjectionType: null")
    if kind != "INCLUDE" and projection.get("NonKeyAttributes"):
        raise errors.validation(_INVALID + f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    if kind == "INCLUDE" and not projection.get("NonKeyAttributes"):
        raise errors.validation(_INVALID + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    names = projection.get("NonKeyAttributes", ())
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise errors.validation(_INVALID + f"Duplicate element in NonKeyAttributes: {twice}")


def check_projected_count(count: int) -> None:
    """count: of all indexes of a table together; an attribute counts once for each index. Raises ApiError."""
    if count > limits.PROJECTED_ATTRIBUTES_MAX:
        raise errors.validation(
            _INVALID + f"Number of attributes projected into all indexes exceeds the per-table limit of {limits.PROJECTED_ATTRIBUTES_MAX}"
        )


def _check_index_throughput(index: Body, billing: str) -> None:
    """Of an index that comes with its table."""
    name, asked = index["IndexName"], index.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST" and asked is not None:
        raise errors.validation(
            _INVALID + f"ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
        )
    if billing == "PROVISIONED" and asked is None:
        raise errors.validation(_INVALID + f"ProvisionedThroughput is not specified for index: {name}")


def local_indexes_of(indexes: Sequence[Body] | None, definitions: Definitions) -> tuple[LocalIndex, ...] | msgspec.UnsetType:
    """Checked LocalSecondaryIndexes as the catalogue keeps them."""
    if not indexes:
        return msgspec.UNSET
    types = dict(definitions)
    return tuple(
        [
            LocalIndex(index["IndexName"], KeyAttribute(sort, types[sort]), *_projected(index["Projection"]))
            for index in indexes
            for sort in (index["KeySchema"][1]["AttributeName"],)
        ]
    )


def global_indexes_of(
    indexes: Sequence[Body] | None, definitions: Definitions, billing: str
) -> tuple[GlobalIndex, ...] | msgspec.UnsetType:
    """Checked GlobalSecondaryIndexes as the catalogue keeps them, without a table yet. Raises ApiError: throughput out of bounds."""
    if not indexes:
        return msgspec.UNSET
    return tuple([global_index_of(index, definitions, billing) for index in indexes])


def global_index_of(index: Body, definitions: Definitions, billing: str) -> GlobalIndex:
    """One of `global_indexes_of`."""
    types, name = dict(definitions), index["IndexName"]
    parts: dict[str, list[KeyAttribute]] = {"HASH": [], "RANGE": []}
    for element in index["KeySchema"]:
        parts[element["KeyType"]].append(KeyAttribute(element["AttributeName"], types[element["AttributeName"]]))
    projection, attributes = _projected(index["Projection"])
    throughput = Throughput() if "ProvisionedThroughput" not in index else check_capacity(index["ProvisionedThroughput"], index=name)
    return GlobalIndex(
        name=name,
        hash=tuple(parts["HASH"]),
        sort=tuple(parts["RANGE"]),
        projection=projection,
        attributes=attributes,
        throughput=throughput,
        on_demand=on_demand_of(index.get("OnDemandThroughput"), billing, index=name),
        warm=warm_of(index.get("WarmThroughput"), billing, throughput, None, index=name),
    )


def _projected(projection: Body) -> tuple[str, tuple[str, ...]]:
    return projection["ProjectionType"], tuple(projection.get("NonKeyAttributes", ()))


# -- what a restore keeps --------------------------------------------------------------------------------------------------------------


def index_overrides(data: Body, source: TableMeta, billing: str) -> dict[str, Any]:
    """Fields of TableMeta of a restored table that keeps those of the source's indexes that LocalSecondaryIndexOverride and GlobalSecondaryIndexOverride ask for, perhaps under other names; an override that
    is not there keeps all of its kind. billing: of the restored table. Raises ApiError: a restore makes no index that the source has not."""
    local, global_ = data.get("LocalSecondaryIndexOverride"), data.get("GlobalSecondaryIndexOverride")
    changed: dict[str, Any] = {}
    if local is not None:
        there = source.local_indexes or ()
        matched = _matched(local, [index_info(source.key, index) for index in there])
        changed["local_indexes"] = (
            tuple([msgspec.structs.replace(there[at], name=one["IndexName"]) for one, at in matched]) or msgspec.UNSET
        )
    had = [index for index in source.global_indexes or () if index.status != "DELETING"]
    if global_ is not None:
        matched = _matched(global_, [global_index_info(index) for index in had])
        kept = [_restored(msgspec.structs.replace(had[at], name=one["IndexName"]), one, billing) for one, at in matched]
        changed["global_indexes"] = tuple(kept) or msgspec.UNSET
    elif had:
        if billing == "PROVISIONED" != source.billing:
            raise errors.validation(f"Invalid Request: Must specify provisioned throughput for index {had[0].name}")
        free = billing != source.billing
        changed["global_indexes"] = tuple([msgspec.structs.replace(one, throughput=Throughput()) if free else one for one in had])
    if not changed and not source.attributes_now:
        return changed
    result = msgspec.structs.replace(source, **changed)
    names = [index.name for index in result.local_indexes or ()] + [index.name for index in result.global_indexes or ()]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise errors.validation(_INVALID + f"Duplicate index name: {twice}")
    changed["attributes"] = used_attributes(result)
    changed["attributes_now"] = msgspec.UNSET
    return changed


def _matched(asked: Sequence[Body], infos: Sequence[Body]) -> list[tuple[Body, int]]:
    """What is asked for, each with which of the source's indexes it is: one of its keys and projection, and of its name where there are several; each once."""
    free = dict(enumerate(infos))
    found = []
    for one in asked:
        given = {
            name: sorted(value) if isinstance(value, list) else value for name, value in (one.get("Projection") or {}).items() if value
        }
        fits = [at for at, info in free.items() if one.get("KeySchema") == info["KeySchema"] and given == info["Projection"]]
        if not fits:
            raise errors.validation(
                f"Invalid Request: Index {one.get('IndexName')} does not match a secondary index that existed in the source table and cannot be created "
                "during the restore operation"
            )
        at = next((at for at in fits if free[at]["IndexName"] == one.get("IndexName")), fits[0])
        del free[at]
        found.append((one, at))
    return found


def _restored(index: GlobalIndex, asked: Body, billing: str) -> GlobalIndex:
    """With the throughput that the override asks for."""
    throughput = asked.get("ProvisionedThroughput")
    if billing == "PAY_PER_REQUEST" and throughput is not None:
        raise errors.validation(
            f"Invalid Request: Cannot override ProvisionedThroughput if BillingMode is overridden to PAY_PER_REQUEST for index {index.name}"
        )
    if billing == "PROVISIONED" and throughput is None:
        raise errors.validation(f"Invalid Request: Must specify provisioned throughput for index {index.name}")
    return msgspec.structs.replace(
        index,
        throughput=Throughput() if throughput is None else check_capacity(throughput, index=index.name),
        throughput_changed_at=(None, None),
        on_demand=on_demand_of(asked.get("OnDemandThroughput"), billing, index=index.name),
        warm=None,
    )
