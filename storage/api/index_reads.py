"""How Query and Scan read a table with secondary indexes: its items, the rows of a local index, or those of a global one.

A local index's rows lie among the items and are read as strongly as these; a global one's lie in a table of their own, a little behind, and hold all that can be asked of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.storage.api import errors
from scrubjay.storage.api.call import Body
from scrubjay.storage.api.errors import ApiError
from scrubjay.storage.backend import Backend
from scrubjay.storage.catalogue import GlobalIndex, KeySchema, LocalIndex, TableMeta
from scrubjay.storage.items.expressions.condition import Condition
from scrubjay.storage.items.expressions.keycondition import KeyCondition
from scrubjay.storage.items.expressions.projection import Projection
from scrubjay.storage.items.global_index import GlobalRows, hash_prefix
from scrubjay.storage.items.keys import CompositeKey, check_key_attributes, storage_key
from scrubjay.storage.items.local_index import LocalRows, entry_bounds, index_schema, items_end
from scrubjay.storage.items.values import Item

_INVALID = "One or more parameter values were invalid: "


class LocalRead(NamedTuple):
    """Of a table with local indexes. number: of the index, from 1; 0: of none, but of the items themselves. fetch: what is shown is more than the index has: its rows' items are read,
    and filtered by what the index has of them."""

    table: TableMeta
    local: LocalRows
    number: int
    fetch: bool = False

    @property
    def definition(self) -> LocalIndex | None:
        """The index; None: the items are read."""
        return self.local.indexes[self.number - 1] if self.number else None

    @property
    def schema(self) -> KeySchema | CompositeKey:
        """The key by which it is read."""
        index = self.definition
        return self.local.key if index is None else index_schema(self.local.key, index)

    def prefix(self, key: KeyCondition) -> bytes:
        """The 16 bytes that place what a key condition asks for."""
        return key.prefix()

    def bounds(self, key: KeyCondition) -> tuple[bytes, bytes | None]:
        """Keys of the tree [start, end) that can meet the condition."""
        index = self.definition
        if index is not None:
            return entry_bounds(index, self.number, key.prefix(), key.operator, key.sort_values)
        start, end = key.bounds()
        edge = items_end(self.local.key, key.prefix())
        return start, end if edge is None else edge if end is None else min(end, edge)

    def key_of(self, item: Item) -> Item:
        """The LastEvaluatedKey of a row."""
        return {name: item[name] for name in self._names()}

    def start_key(self, key: Item, refused: ApiError) -> bytes:
        """The tree's key to go on after. Raises `refused` (not exactly the keys of table and index), ItemError."""
        if set(key) != set(self._names()):
            raise refused
        check_key_attributes(self.local.key, key)
        check_key_attributes(self.schema, key)
        storage, index = storage_key(self.local.key, key), self.definition
        return storage if index is None else self.local.entry_key(self.number, storage, key[index.sort.name])

    def projected(self, item: Item) -> Item:
        """What of an item the index shows."""
        return self.local.projected(self.number, item)

    def holds(self, names: Sequence[str]) -> bool:
        """Whether the index has all that an item has of these attributes."""
        return not self.number or self.local.holds(self.number, names)

    def _names(self) -> list[str]:
        key, index = self.local.key, self.definition
        assert key.sort is not None
        names = [key.partition.name, key.sort.name] + ([] if index is None else [index.sort.name])
        return list(dict.fromkeys(names))


class GlobalRead(NamedTuple):
    """Of a global index. table: the one that holds its rows."""

    table: TableMeta
    rows: GlobalRows
    number: None = None
    fetch: bool = False

    @property
    def definition(self) -> GlobalIndex:
        return self.rows.index

    @property
    def schema(self) -> KeySchema | CompositeKey:
        index = self.rows.index
        if len(index.hash) == 1 and len(index.sort) <= 1:
            return KeySchema(index.hash[0], index.sort[0] if index.sort else None)
        return CompositeKey(index.hash, index.sort)

    def prefix(self, key: KeyCondition) -> bytes:
        return hash_prefix(key.hash_values)

    def bounds(self, key: KeyCondition) -> tuple[bytes, bytes | None]:
        return self.rows.bounds(key.hash_values, key.equal, key.operator, key.sort_values)

    def key_of(self, item: Item) -> Item:
        return {name: item[name] for name in self.rows.key_names}

    def start_key(self, key: Item, refused: ApiError) -> bytes:
        if set(key) != set(self.rows.key_names):
            raise refused
        check_key_attributes(self.rows.key, key)
        check_key_attributes(self.schema, key)
        return self.rows.row_key(storage_key(self.rows.key, key), key)

    def projected(self, item: Item) -> Item:
        return self.rows.projected(item)

    def holds(self, names: Sequence[str]) -> bool:
        return self.rows.holds(names)


IndexRead = LocalRead | GlobalRead


def index_read(
    backend: Backend, meta: TableMeta, data: Body, condition: Condition | None, projection: Projection | None, *, by_key: bool
) -> IndexRead | None:
    """How this request reads the table; None: a table without local indexes, and no index was asked for. by_key: it asks for one key: what the index does not have cannot be its filter
    then; the filter of a scan finds that a row has it not. Raises ApiError: it has no such index, or the index cannot answer."""
    local = LocalRows.of_table(meta.key, meta.local_indexes)
    name = data.get("IndexName")
    if name is None:
        return None if local is None else LocalRead(meta, local, 0)
    index = next((one for one in meta.global_indexes or () if one.name == name and one.status != "DELETING"), None)
    if index is not None:
        return _global_read(backend, meta, index, data, condition if by_key else None, projection)
    number = 0 if local is None else next((at for at, index in enumerate(local.indexes, 1) if index.name == name), 0)
    if local is None or not number:
        raise errors.validation(f"The table does not have the specified index: {name}")
    view = LocalRead(meta, local, number)
    if by_key:
        check_filter(view, name, condition)
    whole = data.get("Select") == "ALL_ATTRIBUTES" and local.indexes[number - 1].projection != "ALL"
    return view._replace(fetch=whole or bool(_lacking(view, projection)))


def _global_read(
    backend: Backend, meta: TableMeta, index: GlobalIndex, data: Body, condition: Condition | None, projection: Projection | None
) -> GlobalRead:
    """A global index answers with what is projected, and nothing else can be asked of it."""
    if data.get("ConsistentRead"):
        raise errors.validation("Consistent reads are not supported on global secondary indexes")
    rows = GlobalRows(meta.key, index)
    if data.get("Select") == "ALL_ATTRIBUTES" and index.projection != "ALL":
        raise errors.validation(
            f"{_INVALID}Select type ALL_ATTRIBUTES is not supported for global secondary index {index.name} because its projection type is not ALL"
        )
    lacking = _lacking(rows, projection)
    if lacking:
        raise errors.validation(f"{_INVALID}Global secondary index {index.name} does not project [{', '.join(lacking)}]")
    check_filter(rows, index.name, condition)
    table = backend.index_table(meta, index.name)
    if table is None or index.status == "CREATING":
        raise errors.validation(f"Cannot read from backfilling global secondary index: {index.name}")
    return GlobalRead(table, rows)


def check_filter(rows: GlobalRows | IndexRead, name: str, condition: Condition | None) -> None:
    """A query of an index, of either kind, filters by what its rows have. Raises ApiError."""
    lacking = _lacking(rows, condition)
    if lacking:
        raise errors.validation(f"{_INVALID}Secondary index {name} does not project one or more filter attributes: [{', '.join(lacking)}]")


def _lacking(rows: GlobalRows | IndexRead, named: Condition | Projection | None) -> list[str]:
    """The attributes that are named and that the index's rows do not have, each once."""
    if named is None:
        return []
    return [name for name in dict.fromkeys([str(path[0]) for path in named.paths]) if not rows.holds([name])]
