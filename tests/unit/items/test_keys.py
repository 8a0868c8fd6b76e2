"""Primary keys: refusals, storage keys (golden), ranges."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scrubjay.storage.catalogue import KeyAttribute, KeySchema
from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.keys import (
    HASH_BYTES,
    absolute_bounds,
    after_prefix,
    check_item_keys,
    check_key,
    hash_prefix,
    key_item,
    sort_bounds,
    storage_key,
)
from scrubjay.storage.items.numbers import order_bytes
from scrubjay.storage.items.values import Value
from scrubjay.storage.items.wire import item_from_json
from tests.docs.format_tables import ROOT, find_table
from tests.fixtures.golden import Golden

HASH = KeySchema(KeyAttribute("a", "S"))
RANGE = KeySchema(KeyAttribute("a", "S"), KeyAttribute("b", "S"))
NUMBER = KeySchema(KeyAttribute("a", "N"), KeyAttribute("b", "N"))
BINARY = KeySchema(KeyAttribute("a", "B"), KeyAttribute("b", "B"))


def test_golden(golden: Golden) -> None:
    keys: list[tuple[KeySchema, dict[str, Any]]] = [
        (HASH, {"a": {"S": "country"}}),
        (HASH, {"a": {"S": "Zürich \U0001f426"}}),
        (RANGE, {"a": {"S": "CH"}, "b": {"S": "Genève"}}),
        *[
            (NUMBER, {"a": {"N": "42"}, "b": {"N": text}})
            for text in ("-9.9e125", "-12.3", "-12", "-1e-130", "0", "1e-130", "1", "1.5", "123", "9.9e125")
        ],
        (BINARY, {"a": {"B": "AP8="}, "b": {"B": "/wA="}}),
    ]
    shown = []
    for schema, obj in keys:
        shown.append(
            {
                "types": schema.partition.type + (schema.sort.type if schema.sort else ""),
                "key": obj,
                "storage_key": storage_key(schema, item_from_json(obj)).hex(),
            }
        )
    golden.check_json("key/storage_keys.json", shown)


@pytest.mark.parametrize(
    ("schema", "item", "message"),
    [
        (HASH, {}, "One or more parameter values were invalid: Missing the key a in the item"),
        (HASH, {"b": {"S": "a"}}, "One or more parameter values were invalid: Missing the key a in the item"),
        (RANGE, {"a": {"S": "a"}}, "One or more parameter values were invalid: Missing the key b in the item"),
        *[
            (
                HASH,
                {"a": value},
                f"One or more parameter values were invalid: Type mismatch for key a expected: S actual: {next(iter(value))}",
            )
            for value in (
                {"B": "abcd"},
                {"N": "1"},
                {"SS": ["a"]},
                {"NS": ["1"]},
                {"BS": ["aaaa"]},
                {"M": {}},
                {"L": []},
                {"BOOL": True},
                {"NULL": True},
            )
        ],
        (
            RANGE,
            {"a": {"S": ""}, "b": {"N": "1"}},
            "One or more parameter values were invalid: Type mismatch for key b expected: S actual: N",
        ),
        (
            HASH,
            {"a": {"S": "x" * 2049}},
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        (
            HASH,
            {"a": {"S": "ü" * 1025}},
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        (
            RANGE,
            {"a": {"S": "x"}, "b": {"S": "x" * 1025}},
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
        ),
        (
            RANGE,
            {"a": {"S": "x"}, "b": {"S": ""}},
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: b",
        ),
        (
            BINARY,
            {"a": {"B": ""}, "b": {"B": ""}},
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty binary value. Key: a",
        ),
    ],
)
def test_items_with_bad_keys(schema: KeySchema, item: dict[str, Any], message: str) -> None:
    with pytest.raises(ItemError) as fault:
        check_item_keys(schema, item_from_json({**item, "other": {"S": ""}}))
    assert fault.value.message == message


def test_largest_keys_are_accepted() -> None:
    check_item_keys(RANGE, item_from_json({"a": {"S": "x" * 2048}, "b": {"S": "x" * 1024}}))


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"b": {"S": "a"}},
        {"a": {"S": "a"}, "c": {"S": "a"}},
        {"a": {"S": "x"}, "b": {"N": "1"}},
        {"a": {"S": "x"}},
        {"a": {"S": "a"}, "b": {"S": "a"}, "c": {"S": "a"}},
    ],
)
def test_a_key_has_the_schemas_attributes(key: dict[str, Any]) -> None:
    with pytest.raises(ItemError) as fault:
        check_key(RANGE, item_from_json(key))
    assert fault.value.message == "The provided key element does not match the schema"


def test_empty_key_values() -> None:
    with pytest.raises(ItemError, match=r"cannot contain an empty string value\. Key: a"):
        check_key(RANGE, item_from_json({"a": {"S": ""}, "b": {"S": "x"}}))
    check_key(RANGE, item_from_json({"a": {"S": "p"}, "b": {"S": "x"}}))
    assert key_item(RANGE, {"c": ("N", "1"), "b": ("S", "x"), "a": ("S", "p")}) == {"a": ("S", "p"), "b": ("S", "x")}
    assert key_item(HASH, {"c": ("N", "1"), "a": ("S", "p")}) == {"a": ("S", "p")}


def test_equal_numbers_have_one_key() -> None:
    one = storage_key(NUMBER, item_from_json({"a": {"N": "1.0"}, "b": {"N": "2e1"}}))
    assert one == storage_key(NUMBER, item_from_json({"a": {"N": "01"}, "b": {"N": "20"}}))
    assert one[:16] == hash_prefix(NUMBER, ("N", "1"))
    assert hash_prefix(HASH, ("S", "1")) != hash_prefix(HASH, ("B", b"1"))


def test_ranges_select_what_the_operator_says() -> None:
    keys = sorted(["a", "aa", "ab", "b", "b\x00", "ba", "ü", "\U0010ffff"], key=str.encode)

    def select(operator: str | None, *values: str) -> list[str]:
        start, end = sort_bounds(RANGE, operator, [("S", value) for value in values])
        return [key for key in keys if (start is None or key.encode() >= start) and (end is None or key.encode() < end)]

    assert select(None) == keys
    assert select("=", "b") == ["b"]
    assert select("<", "ab") == ["a", "aa"]
    assert select("<=", "ab") == ["a", "aa", "ab"]
    assert select(">", "b") == ["b\x00", "ba", "ü", "\U0010ffff"]
    assert select(">=", "b") == ["b", "b\x00", "ba", "ü", "\U0010ffff"]
    assert select("BETWEEN", "aa", "b") == ["aa", "ab", "b"]
    assert select("begins_with", "a") == ["a", "aa", "ab"]
    assert select("begins_with", "\U0010ffff") == ["\U0010ffff"]


def test_prefix_bounds_end_with_the_key_space() -> None:
    assert after_prefix(b"a\xff\xff") == b"b"
    assert after_prefix(b"\xff\xff") is None
    assert absolute_bounds(b"\xff" * 16, (None, None)) == (b"\xff" * 16, None)
    assert absolute_bounds(b"\x01" * 16, (b"k", None)) == (b"\x01" * 16 + b"k", b"\x01" * 15 + b"\x02")
    value: Value = ("B", b"\xff\xff")
    assert sort_bounds(BINARY, "begins_with", [value]) == (b"\xff\xff", None)


def test_the_format_pages_examples() -> None:
    page = (ROOT / "docs/formats/key.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([−0-9.]+) \| `([0-9a-f ]+)` \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for number, shown in rows:
        assert order_bytes(number.replace("−", "-")).hex(" ") == shown
    table = find_table("docs/formats/key.md", "Storage keys")
    assert [(field.offset, field.size) for field in table.fixed] == [(0, HASH_BYTES)]
