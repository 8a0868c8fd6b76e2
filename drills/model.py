"""What must be in the table, exactly: key -> canonical bytes of the item, kept beside the store and compared with it both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

Item = dict[str, dict[str, Any]]
"""An item as DynamoDB JSON."""
Key = tuple[str, str]
KEY = ("country", "city")
"""Attributes of the key of such a table: partition key and sort key, both strings."""
Model = dict[Key, bytes]


def number(value: object) -> str:
    """A number as DynamoDB gives it back: plain digits, no trailing zeros, no exponent."""
    text = format(Decimal(str(value)), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def canonical(item: Item) -> bytes:
    """Equal items have equal bytes: numbers normalised, sets and attributes sorted."""
    return msgspec.json.encode({name: _value(value) for name, value in item.items()}, order="sorted")


def _value(value: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    if kind == "N":
        return {"N": number(content)}
    if kind in ("SS", "BS"):
        return {kind: sorted(content)}
    if kind == "NS":
        return {kind: sorted(number(one) for one in content)}
    if kind == "L":
        return {kind: [_value(one) for one in content]}
    if kind == "M":
        return {kind: {name: _value(one) for name, one in content.items()}}
    return {kind: content}


def decode(raw: bytes) -> Item:
    """The item of canonical bytes."""
    item: Item = msgspec.json.decode(raw)
    return item


def key_of(item: Item) -> Key:
    return item[KEY[0]]["S"], item[KEY[1]]["S"]


def key_item(key: Key) -> Item:
    """The key as DynamoDB JSON."""
    return {name: {"S": text} for name, text in zip(KEY, key, strict=True)}


class ModelDifference(NamedTuple):
    """What a comparison found, as sorted keys."""

    lacking: tuple[Key, ...]
    different: tuple[Key, ...]
    extra: tuple[Key, ...]

    @property
    def total(self) -> int:
        return len(self.lacking) + len(self.different) + len(self.extra)


def compare(model: Mapping[Key, bytes], found: Mapping[Key, bytes]) -> ModelDifference:
    """Both ways: what the table lacks, what is different in it, and what it has too much."""
    return ModelDifference(
        tuple(sorted(key for key in model if key not in found)),
        tuple(sorted(key for key, raw in model.items() if key in found and found[key] != raw)),
        tuple(sorted(key for key in found if key not in model)),
    )


def merge(parts: Iterable[Mapping[Key, bytes]]) -> Model:
    """One model of disjoint parts; a key in two parts is an error of the caller."""
    whole: Model = {}
    for part in parts:
        before = len(whole)
        whole.update(part)
        assert len(whole) == before + len(part), "a key came twice"
    return whole
