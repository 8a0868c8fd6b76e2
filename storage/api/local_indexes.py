"""Local secondary indexes, as CreateTable, restores and descriptions have them, and how Query and Scan find one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from scrubjay.storage.api import errors, limits
from scrubjay.storage.api.call import Body
from scrubjay.storage.api.describe import index_info
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, LocalIndex, TableMeta
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.keys import check_key_attributes, storage_key
from scrubjay.storage.items.local_index import LocalRows, index_schema
from scrubjay.storage.items.values import Item

_INVALID = "One or more parameter values were invalid: "


# -- definitions -----------------------------------------------------------------------------------------------------------------------


def check_local_indexes(indexes: Sequence[Body], key: KeySchema, definitions: Sequence[tuple[str, str]]) -> None:
    """What AWS refuses of LocalSecondaryIndexes, in its order. Raises ApiError."""
    if not indexes:
        raise errors.validation(_INVALID + "List of LocalSecondaryIndexes is empty")
    if key.sort is None:
        raise errors.validation(
            _INVALID + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
        )
    seen: set[str] = set()
    for index in indexes:
        check_index_keys(index, definitions)
        _check_local_key(index, key)
        check_projection(index["Projection"])
        if index["IndexName"] in seen:
            raise errors.validation(_INVALID + f"Duplicate index name: {index['IndexName']}")
        seen.add(index["IndexName"])
    if len(indexes) > limits.LOCAL_INDEXES_MAX:
        raise errors.validation(_INVALID + f"Number of LocalSecondaryIndexes exceeds per-table limit of {limits.LOCAL_INDEXES_MAX}")


def check_index_keys(index: Body, definitions: Sequence[tuple[str, str]]) -> None:
    """Every key attribute of an index is defined. Raises ApiError."""
    names = [element["AttributeName"] for element in index["KeySchema"]]
    defined = [name for name, _ in definitions]
    if any(name not in defined for name in names):
        raise errors.validation(
            _INVALID + "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(defined)}]"
        )


def check_key_elements(elements: Sequence[Body]) -> None:
    """A hash key, then a range key of another name or none: of a table as of an index. Raises ApiError."""
    names = [element["AttributeName"] for element in elements]
    if len(names) == 2 and names[0] == names[1]:
        raise errors.validation("Both the Hash Key and the Range Key element in the KeySchema have the same name")
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


def check_projection(projection: Body) -> None:
    """Raises ApiError."""
    kind = projection.get("ProjectionType")
    if kind is None:
        raise errors.validation(_INVALID + "Unknown ProjectionType: null")
    if kind != "INCLUDE" and projection.get("NonKeyAttributes"):
        raise errors.validation(_INVALID + f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    if kind == "INCLUDE" and not projection.get("NonKeyAttributes"):
        raise errors.validation(_INVALID + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified")


def check_projected_count(indexes: Sequence[Body]) -> None:
    """Of all indexes of a table together; an attribute counts once for each index. Raises ApiError."""
    count = sum(len(index["Projection"].get("NonKeyAttributes", ())) for index in indexes)
    if count > limits.PROJECTED_ATTRIBUTES_MAX:
        raise errors.validation(
            _INVALID + f"Number of attributes projected into all indexes exceeds the per-table limit of {limits.PROJECTED_ATTRIBUTES_MAX}"
        )


def local_indexes_of(indexes: Sequence[Body] | None, definitions: Sequence[tuple[str, str]]) -> tuple[LocalIndex, ...] | msgspec.UnsetType:
    """Checked LocalSecondaryIndexes as the catalogue keeps them."""
    if not indexes:
        return msgspec.UNSET
    types = dict(definitions)
    found = []
    for index in indexes:
        sort, projection = index["KeySchema"][1]["AttributeName"], index["Projection"]
        found.append(
            LocalIndex(
                index["IndexName"],
                KeyAttribute(sort, types[sort]),
                projection["ProjectionType"],
                tuple(projection.get("NonKeyAttributes", ())),
            )
        )
    return tuple(found)


def local_index_overrides(asked: Sequence[Body] | None, source: TableMeta) -> dict[str, Any]:
    """Fields of TableMeta of a restored table that keeps those of the source's local indexes that are asked for; nothing asked: all. Raises ApiError: a restore makes
    no other index."""
    if asked is None:
        return {}
    known = {index.name: index for index in source.local_indexes or ()}
    kept = set()
    for one in asked:
        index = known.get(one.get("IndexName", ""))
        info = {} if index is None else index_info(source.key, index)
        given = {**one, "Projection": {name: value for name, value in (one.get("Projection") or {}).items() if value}}
        if index is None or any(given.get(name) != info[name] for name in info) or index.name in kept:
            raise errors.validation(
                _INVALID + "LocalSecondaryIndexOverride must name indexes of the source table, each once and as it is there. "
                f"Index: {one.get('IndexName')}"
            )
        kept.add(index.name)
    indexes = tuple(index for index in known.values() if index.name in kept)
    dropped = {index.sort.name for index in known.values()} - {index.sort.name for index in indexes}
    keys = {source.key.partition.name, "" if source.key.sort is None else source.key.sort.name}
    return {
        "local_indexes": indexes or msgspec.UNSET,
        "attributes": tuple(one for one in source.attributes if one[0] not in dropped or one[0] in keys),
    }


# -- reading one -----------------------------------------------------------------------------------------------------------------------


class IndexRead(NamedTuple):
    """What a Query or Scan reads of a table with local indexes. number: of the index, from 1; 0: of none, but of the items themselves. fetch: the request needs what
    the index does not have: its rows' items are read. narrow: for its filter alone: it is shown what the index has."""

    local: LocalRows
    number: int
    fetch: bool = False
    narrow: bool = False

    @property
    def definition(self) -> LocalIndex:
        return self.local.indexes[self.number - 1]

    @property
    def schema(self) -> KeySchema:
        """The key by which it is read."""
        return self.local.key if not self.number else index_schema(self.local.key, self.definition)

    def key_of(self, item: Item) -> Item:
        """The LastEvaluatedKey of a row."""
        key = self.local.key
        names = [key.partition.name, *([] if key.sort is None else [key.sort.name]), *([self.definition.sort.name] if self.number else [])]
        return {name: item[name] for name in names}

    def start_key(self, key: Item) -> bytes:
        """The tree's key to go on after. Raises ItemError: it is not the key of a row there."""
        storage = storage_key(self.local.key, key)
        return self.local.entry_key(self.number, storage, key[self.definition.sort.name])

    def check_start_key(self, key: Item, refused: ApiError) -> None:
        """Exactly the keys of table and index. Raises `refused`, ItemError."""
        if set(key) != set(self.key_of({name: key.get(name, ("", "")) for name in self._names()})):
            raise refused
        check_key_attributes(self.local.key, key)
        check_key_attributes(self.schema, key)

    def _names(self) -> list[str]:
        key = self.local.key
        assert key.sort is not None
        return [key.partition.name, key.sort.name, self.definition.sort.name]


def index_read(meta: TableMeta, data: Body, condition: Condition | None, projection: Projection | None) -> IndexRead | None:
    """How this request reads the table; None: a table without local indexes, and none was asked for. Raises ApiError: it has no such index."""
    local = LocalRows.of_table(meta.key, meta.local_indexes)
    name = data.get("IndexName")
    if name is None:
        return None if local is None else IndexRead(local, 0)
    number = 0 if local is None else next((at for at, index in enumerate(local.indexes, 1) if index.name == name), 0)
    if local is None or not number:
        raise errors.validation(f"The table does not have the specified index: {name}")
    wanted = {str(path[0]) for path in (() if condition is None else condition.paths)}
    if projection is not None:
        wanted |= {str(path[0]) for path in projection.paths}
    whole = data.get("Select") == "ALL_ATTRIBUTES" and local.indexes[number - 1].projection != "ALL"
    narrow = not whole and projection is None
    return IndexRead(local, number, whole or not local.holds(number, sorted(wanted)), narrow)
