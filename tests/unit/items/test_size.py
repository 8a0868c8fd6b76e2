"""Sizes as AWS counts them."""

from __future__ import annotations

from typing import Any

import pytest

from scrubjay.storage.items.errors import ItemError
from scrubjay.storage.items.size import ITEM_SIZE_MAX, check_item_size, item_size, number_size, value_size
from scrubjay.storage.items.wire import item_from_json, value_from_json


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 1),
        ("1", 2),
        ("11", 2),
        ("100", 2),
        ("1000", 2),
        ("111", 3),
        ("-1", 3),
        ("-111", 4),
        ("0.1", 2),
        ("0.11", 2),
        ("1.23", 3),
        ("12.3", 3),
        ("1.234", 4),
        ("12.3456", 4),
        ("110", 2),
        ("0.011", 2),
        ("100.5", 4),
        ("1.05", 3),
        ("-1" + "2" * 18 + "." + "3" * 19, 22),
        # measured against the service by others, at the edge of the 400 KB limit: 1, 2, 5, 6, 7 and 38 digits of a 126-digit number
        ("1" + "0" * 125, 2),
        ("11" + "0" * 124, 2),
        ("11111" + "0" * 121, 4),
        ("111111" + "0" * 120, 4),
        ("1111111" + "0" * 119, 5),
        ("1" * 38 + "0" * 88, 20),
    ],
)
def test_numbers(text: str, size: int) -> None:
    assert number_size(text) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "aü\U0001f426"}, 7),
        ({"B": "AAEC"}, 3),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bü"]}, 4),
        ({"NS": ["1", "100", "-7"]}, 7),
        ({"BS": ["AA==", "AAA="]}, 3),
        ({"L": []}, 3),
        ({"M": {}}, 3),
        ({"L": [{"S": "ab"}, {"BOOL": True}]}, 8),
        ({"M": {"k": {"S": "ab"}, "ü": {"L": []}}}, 3 + 2 + 1 + 2 + 2 + 3),
    ],
)
def test_values(value: Any, size: int) -> None:
    assert value_size(value_from_json(value)) == size
    assert item_size(item_from_json({"nä": value})) == size + 3


def test_limit() -> None:
    item = item_from_json({"a": {"S": "k"}, "b": {"S": "x" * (ITEM_SIZE_MAX - 3)}})
    assert item_size(item) == ITEM_SIZE_MAX
    check_item_size(item)
    item["c"] = ("S", "")
    with pytest.raises(ItemError) as fault:
        check_item_size(item)
    assert fault.value.message == "Item size has exceeded the maximum allowed size"
    with pytest.raises(ItemError) as fault:
        check_item_size(item, update=True)
    assert fault.value.message == "Item size to update has exceeded the maximum allowed size"
