"""What the secondary indexes of a table ask of the items written to it: an attribute that is a key of one has its type, is not empty, and is not too long. An item may lack it.

Pure. The API looks at what is put; a partition's leader at what an update comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scrubjay.storage.catalogue import TableMeta
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.keys import CompositeKey, check_key_sizes, key_attributes
from scrubjay.storage.items.values import Item

_WORDS = "One or more parameter values were invalid: "
_EMPTY = "One or more parameter values are not valid. "
_UPDATED = "The update expression attempted to update the secondary index key "


class KeyOfIndex(NamedTuple):
    """name: of the index. key: its key attributes; of a local index without the one that is its table's."""

    name: str
    key: CompositeKey


class IndexKeys:
    """keys: of every index of a table, local ones first."""

    def __init__(self, keys: Sequence[KeyOfIndex]) -> None:
        self.keys = tuple(keys)
        self.attributes = tuple([(index.name, one) for index in keys for one in key_attributes(index.key)])
        """(name of the index, attribute)"""

    @classmethod
    def of_table(cls, table: TableMeta) -> IndexKeys | None:
        """None: it has no indexes. One that is being removed asks for nothing."""
        if not table.local_indexes and not table.global_indexes:
            return None
        keys = [KeyOfIndex(index.name, CompositeKey((), (index.sort,))) for index in table.local_indexes or ()]
        keys += [
            KeyOfIndex(index.name, CompositeKey(index.hash, index.sort))
            for index in table.global_indexes or ()
            if index.status != "DELETING"
        ]
        return cls(keys) if keys else None

    def check_put(self, item: Item) -> None:
        """Raises ItemError if an item to be put has what cannot be an index's key."""
        for index, attribute in self.attributes:
            name, kind = attribute.name, attribute.type
            value = item.get(name)
            if value is None:
                continue
            if value[0] != kind:
                raise ItemError(f"{_WORDS}Type mismatch for Index Key {name} Expected: {kind} Actual: {value[0]} IndexName: {index}")
            if kind != "N" and not value[1]:
                word = "string" if kind == "S" else "binary"
                raise ItemError(
                    f"{_EMPTY}A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an "
                    f"empty {word} value. IndexName: {index}, IndexKey: {name}"
                )
        for one in self.keys:
            check_key_sizes(one.key, item)

    def check_updated(self, new: bytes) -> None:
        """As `check_put`, of what an update comes to, in the words for that."""
        item = decode_item(new)
        for _, attribute in self.attributes:
            value = item.get(attribute.name)
            if value is None:
                continue
            if value[0] != attribute.type:
                raise ItemError(_UPDATED + "to unsupported type")
            if value[0] != "N" and not value[1]:
                word = "string" if value[0] == "S" else "binary"
                raise ItemError(
                    f"{_EMPTY}The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a "
                    f"key attribute cannot contain an empty {word} value."
                )
        try:
            for index in self.keys:
                check_key_sizes(index.key, item)
        except ItemError:
            raise ItemError(_UPDATED + "beyond allowed size limits") from None
