"""Which keys are meant: all of a table, one, or those that begin alike, as a range of storage keys. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from scrubjay.base.errors import Invalid
from scrubjay.storage.catalogue import KeySchema, PartitionInfo
from scrubjay.storage.items import keys
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.wire import item_from_json


class Selection(NamedTuple):
    """Storage keys from `low` on, up to `high`, exclusive (None: to the end)."""

    low: bytes = b""
    high: bytes | None = None

    def holds(self, key: bytes) -> bool:
        return self.low <= key and (self.high is None or key < self.high)

    def within(self, info: PartitionInfo) -> Selection:
        """As far as it lies in the range of a partition that may hold some of them."""
        hi = bytes.fromhex(info.hi) if info.hi else None
        high = hi if self.high is None else self.high if hi is None else min(self.high, hi)
        return Selection(max(self.low, bytes.fromhex(info.lo)), high)

    def among(self, partitions: Sequence[PartitionInfo]) -> list[PartitionInfo]:
        """The partitions that may hold some of them, rising."""
        found = []
        for info in sorted(partitions, key=lambda one: one.lo):
            lo, hi = bytes.fromhex(info.lo), bytes.fromhex(info.hi)
            if (not hi or self.low < hi) and (self.high is None or lo < self.high):
                found.append(info)
        return found


EVERYTHING = Selection()


def one_key(schema: KeySchema, asked: Any) -> Selection:
    """asked: all key attributes as DynamoDB JSON. Raises Invalid."""
    try:
        item = item_from_json(asked, "Key")
        keys.check_key(schema, item)
    except ItemError as error:
        raise _not_a_key(schema, asked, error.message) from None
    key = keys.storage_key(schema, item)
    return Selection(key, key + b"\0")


def beginning(schema: KeySchema, asked: Any) -> Selection:
    """asked: the partition key as DynamoDB JSON, and it may be the beginning of the sort key. Raises Invalid."""
    try:
        item = item_from_json(asked, "Key")
        value = item.pop(schema.partition.name, None)
        if value is None or value[0] != schema.partition.type:
            raise ItemError(keys.SCHEMA_MISMATCH)
        keys.check_not_empty(schema.partition.name, value)
        start = keys.hash_prefix(schema, value)
        if schema.sort is not None and (sort := item.pop(schema.sort.name, None)) is not None:
            if sort[0] != schema.sort.type:
                raise ItemError(keys.SCHEMA_MISMATCH)
            if sort[0] == "N":
                raise ItemError("a number has no beginning that others share: give the partition key alone")
            start += keys.sort_bytes(sort)
        if item:
            raise ItemError(keys.SCHEMA_MISMATCH)
    except ItemError as error:
        raise _not_a_key(schema, asked, error.message) from None
    return Selection(start, keys.after_prefix(start))


def _not_a_key(schema: KeySchema, asked: Any, why: str) -> Invalid:
    shape = ", ".join(f'"{one.name}": {{"{one.type}": …}}' for one in keys.key_attributes(schema))
    return Invalid(
        "not a key of this table", asked=json.dumps(asked, ensure_ascii=False), found=why, next=f"write it as DynamoDB JSON: {{{shape}}}"
    )
