"""Primary keys: their checks with AWS's texts, and the storage key (docs/formats/key.md).

A storage key is the 16-byte xxh3_128 of the partition key's canonical encoding, then the sort key in a form whose byte order is DynamoDB's order:
strings as UTF-8, binaries raw, numbers by `numbers.order_bytes`. Rows of one partition key lie together, sorted; the hash scatters partition keys.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import xxhash

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import encode_value
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.numbers import order_bytes
from scrubjay.storage.items.size import value_size
from scrubjay.storage.items.values import Item, Value

HASH_BYTES = 16
PARTITION_KEY_BYTES_MAX = 2048
SORT_KEY_BYTES_MAX = 1024

SCHEMA_MISMATCH = "The provided key element does not match the schema"
PARTITION_KEY_TOO_LONG = (
    f"One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of{PARTITION_KEY_BYTES_MAX} bytes"
)
SORT_KEY_TOO_LONG = f"One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of {SORT_KEY_BYTES_MAX} bytes"

_hash = xxhash.xxh3_128_digest


class CompositeKey(NamedTuple):
    """A key of several attributes, as a global index may have one: those that place a row, then those that order it."""

    hash: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...] = ()

    @classmethod
    def of(cls, schema: KeySchema | CompositeKey) -> CompositeKey:
        if isinstance(schema, CompositeKey):
            return schema
        return cls((schema.partition,), () if schema.sort is None else (schema.sort,))


# --- checks --------------------------------------------------------------------------------------------------------------------------------


def key_attributes(schema: KeySchema | CompositeKey) -> tuple[KeyAttribute, ...]:
    """Partition key, then sort key if there is one."""
    if isinstance(schema, CompositeKey):
        return (*schema.hash, *schema.sort)
    return (schema.partition,) if schema.sort is None else (schema.partition, schema.sort)


def check_item_keys(schema: KeySchema, item: Item) -> None:
    """Check the key attributes of an item to be put. Raises ItemError (missing, wrong type, empty, too long)."""
    attributes = key_attributes(schema)
    for attribute in attributes:
        value = item.get(attribute.name)
        if value is None:
            raise ItemError(f"One or more parameter values were invalid: Missing the key {attribute.name} in the item")
        if value[0] != attribute.type:
            raise ItemError(
                f"One or more parameter values were invalid: Type mismatch for key {attribute.name} "
                f"expected: {attribute.type} actual: {value[0]}"
            )
    for attribute in attributes:
        check_not_empty(attribute.name, item[attribute.name])
    check_key_sizes(schema, item)


def check_key(schema: KeySchema, key: Item) -> None:
    """Check a Key parameter: exactly the key attributes, with the schema's types. Raises ItemError."""
    if len(key) != len(key_attributes(schema)):
        raise ItemError(SCHEMA_MISMATCH)
    check_key_attributes(schema, key)


def check_key_attributes(schema: KeySchema | CompositeKey, item: Item) -> None:
    """Check the key attributes of an item, whatever else is in it, in the words for a key. Raises ItemError."""
    attributes = key_attributes(schema)
    for attribute in attributes:
        value = item.get(attribute.name)
        if value is None or value[0] != attribute.type:
            raise ItemError(SCHEMA_MISMATCH)
    for attribute in attributes:
        check_not_empty(attribute.name, item[attribute.name])
    check_key_sizes(schema, item)


def check_not_empty(name: str, value: Value) -> None:
    """Raise ItemError if the key attribute `name` has an empty string or binary."""
    kind, payload = value
    if not payload and kind in ("S", "B"):
        word = "string" if kind == "S" else "binary"
        raise ItemError(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            f"empty {word} value. Key: {name}"
        )


def check_key_sizes(schema: KeySchema | CompositeKey, item: Item) -> None:
    """Raise ItemError if the attributes that place an item, or those that order it, are together longer than AWS allows (2048 and 1024 bytes). One that is not there has no length."""
    key = CompositeKey.of(schema)
    if sum([value_size(item[one.name]) for one in key.hash if one.name in item]) > PARTITION_KEY_BYTES_MAX:
        raise ItemError(PARTITION_KEY_TOO_LONG)
    if sum([value_size(item[one.name]) for one in key.sort if one.name in item]) > SORT_KEY_BYTES_MAX:
        raise ItemError(SORT_KEY_TOO_LONG)


def key_item(schema: KeySchema, item: Item) -> Item:
    """The key attributes alone."""
    name = schema.partition.name
    if schema.sort is None:
        return {name: item[name]}
    return {name: item[name], schema.sort.name: item[schema.sort.name]}


# --- storage keys --------------------------------------------------------------------------------------------------------------------------


def hash_prefix(schema: KeySchema, value: Value) -> bytes:
    """16 bytes: where the rows of a partition key value lie. value: checked against the schema."""
    return _hash(encode_value(value))


def sort_bytes(value: Value) -> bytes:
    """Order-preserving bytes of a sort key value."""
    kind, payload = value
    if kind == "S":
        encoded: bytes = payload.encode()
        return encoded
    if kind == "N":
        return order_bytes(payload)
    assert kind == "B", kind
    raw: bytes = payload
    return raw


def storage_key(schema: KeySchema, item: Item) -> bytes:
    """The storage key of an item (or key item) whose key attributes have been checked."""
    prefix = _hash(encode_value(item[schema.partition.name]))
    if schema.sort is None:
        return prefix
    return prefix + sort_bytes(item[schema.sort.name])


# --- ranges --------------------------------------------------------------------------------------------------------------------------------


def sort_bounds(schema: KeySchema, operator: str | None, values: tuple[Value, ...] | list[Value]) -> tuple[bytes | None, bytes | None]:
    """The half-open range [start, end) of sort key bytes that a condition on the sort key asks for, behind the 16-byte hash prefix.

    operator: =, <, <=, >, >=, BETWEEN or begins_with, or None for no condition. values: one, two for BETWEEN. None is an open end.
    """
    if operator is None:
        return None, None
    first = sort_bytes(values[0])
    # No key lies between k and k + b"\\0": that is the smallest key above k.
    if operator == "=":
        return first, first + b"\x00"
    if operator == "<":
        return None, first
    if operator == "<=":
        return None, first + b"\x00"
    if operator == ">":
        return first + b"\x00", None
    if operator == ">=":
        return first, None
    if operator == "BETWEEN":
        return first, sort_bytes(values[1]) + b"\x00"
    assert operator == "begins_with", operator
    return first, after_prefix(first)


def after_prefix(prefix: bytes) -> bytes | None:
    """The smallest bytes above everything that begins with `prefix`; None if there is no such bound."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def absolute_bounds(prefix: bytes, bounds: tuple[bytes | None, bytes | None]) -> tuple[bytes, bytes | None]:
    """Storage key bounds [start, end) of `sort_bounds` behind a hash prefix; end None only at the end of the key space."""
    start, end = bounds
    return prefix + (start or b""), after_prefix(prefix) if end is None else prefix + end


def key_bounds(schema: KeySchema, value: Value, operator: str | None, values: Any) -> tuple[bytes, bytes | None]:
    """Storage key bounds of a whole key condition."""
    return absolute_bounds(hash_prefix(schema, value), sort_bounds(schema, operator, values))
