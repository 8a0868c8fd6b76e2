"""A part of a table, as it is asked for and noted: some keys, those that begin alike, or the items that meet a condition. Pure.

Which rows are in it follows from what was asked and the table's key schema alone, so it is written down as it was asked, and whoever carries on chooses the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from scrubjay.base.errors import Corrupt, Invalid
from scrubjay.base.ids import PartitionId
from scrubjay.pitr.selection import EVERYTHING, Selection, beginning, one_key
from scrubjay.storage.catalogue import KeySchema, PartitionInfo, TableMeta
from scrubjay.storage.items.encoding import decode_item
from scrubjay.storage.items.errors import ItemError, SerializationError
from scrubjay.storage.items.expressions.condition import Condition, parse_filter
from scrubjay.storage.items.expressions.placeholders import Placeholders, names_from_json, values_from_json

ASKED_BYTES_MAX = 512 << 10
"""Of all that is asked, as JSON: it stands in the notes of the restore, which are written anew at every step."""


class PartAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """keys: all key attributes of each item; prefix: the partition key, and it may be the beginning of the sort key; both DynamoDB JSON, one of them at most. where:
    a condition as a Scan's FilterExpression has it, with names and values for what stands in it after # and :."""

    keys: list[dict[str, Any]] | None = None
    prefix: dict[str, Any] | None = None
    where: str | None = None
    names: dict[str, str] | None = None
    values: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """What was given."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class Part:
    """The rows that are asked for. `part_of` makes one."""

    def __init__(self, selection: Selection, keys: frozenset[bytes] | None, condition: Condition | None) -> None:
        self._selection, self._keys, self._condition = selection, keys, condition

    def unread(self, partitions: Sequence[PartitionInfo]) -> frozenset[PartitionId]:
        """The partitions that can hold none of it, by the hash of the partition key: of these nothing has to be read. A condition alone says nothing of where its items lie."""
        if self._keys is not None:
            wanted = {info.partition_id for key in self._keys for info in Selection(key, key + b"\0").among(partitions)}
        else:
            wanted = {info.partition_id for info in self._selection.among(partitions)}
        return frozenset(info.partition_id for info in partitions) - wanted

    def holds(self, key: bytes, item: bytes) -> bool:
        """key: storage key; item: its canonical bytes. Raises Corrupt (an item that cannot be read, where a condition is to be met)."""
        if self._keys is not None and key not in self._keys:
            return False
        if not self._selection.holds(key):
            return False
        if self._condition is None:
            return True
        try:
            return self._condition.evaluate(decode_item(item))
        except msgspec.MsgspecError as error:
            raise Corrupt("an item cannot be read", what="item", key=key.hex()) from error


def part_of(schema: KeySchema, asked: PartAsked) -> Part:
    """Raises Invalid: nothing or too much is asked, a key or a prefix is none of this table, or the condition is none."""
    if asked.keys is None and asked.prefix is None and asked.where is None:
        raise Invalid(
            "no part is named",
            asked=json.dumps(asked.as_json(), ensure_ascii=False),
            next="give --keys, --prefix or --where, or none of them: the whole table",
        )
    if asked.keys is not None and asked.prefix is not None:
        raise Invalid("one or the other", asked="--keys and --prefix", next="give one of them; --where goes with either")
    if asked.where is None and (asked.names is not None or asked.values is not None):
        raise Invalid(
            "names and values without a condition", asked=json.dumps(asked.as_json(), ensure_ascii=False), next="give --where too"
        )
    if len(msgspec.json.encode(asked.as_json())) > ASKED_BYTES_MAX:
        raise Invalid("so much is asked that it cannot be noted", found=f"at most {ASKED_BYTES_MAX} bytes", next="use --prefix or --where")
    keys = None
    if asked.keys is not None:
        if not asked.keys:
            raise Invalid("no key is given", asked="--keys")
        keys = frozenset(one_key(schema, key).low for key in asked.keys)
    selection = EVERYTHING if asked.prefix is None else beginning(schema, asked.prefix)
    return Part(selection, keys, None if asked.where is None else _condition(asked.where, asked.names, asked.values))


def unread_of(source: TableMeta, asked: PartAsked | None) -> frozenset[PartitionId]:
    """The partitions of a table of which a restore has to read nothing; none of a whole table. Raises Invalid, as `part_of`."""
    return frozenset() if asked is None else part_of(source.key, asked).unread(source.partitions)


def _condition(where: str, names: dict[str, str] | None, values: dict[str, Any] | None) -> Condition:
    """Raises Invalid."""
    try:
        placeholders = Placeholders(names_from_json(names), values_from_json(values))
        condition = parse_filter(where, placeholders)
        placeholders.check_all_used()
    except (ItemError, SerializationError) as error:
        raise Invalid(
            "not a condition", asked=where, found=error.message, next="write it as a FilterExpression, and its values as --values JSON"
        ) from None
    return condition
