"""Rows of global indexes: their keys' order and bounds, which items have one, and what a write does to it."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal

import pytest

from scrubjay.storage.btree.row import KEY_BYTES_MAX
from scrubjay.storage.catalogue import GlobalIndex, KeyAttribute, KeySchema
from scrubjay.storage.items.encoding import decode_item, encode_item
from scrubjay.storage.items.global_index import MARK, GlobalRows
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.values import Item, Value
from tests.fixtures.golden import Golden

KEY = KeySchema(KeyAttribute("p", "S"), KeyAttribute("s", "S"))
ONE = GlobalRows(KEY, GlobalIndex(name="one", hash=(KeyAttribute("g", "S"),), sort=(KeyAttribute("n", "N"),)))
BARE = GlobalRows(KeySchema(KeyAttribute("p", "S")), GlobalIndex(name="bare", hash=(KeyAttribute("g", "S"),), projection="KEYS_ONLY"))
MANY = GlobalRows(
    KEY,
    GlobalIndex(
        name="many",
        hash=(KeyAttribute("g", "S"), KeyAttribute("h", "N")),
        sort=(KeyAttribute("a", "S"), KeyAttribute("b", "B"), KeyAttribute("n", "N")),
        projection="INCLUDE",
        attributes=("x",),
    ),
)


def item_of(pk: str = "one", sort: str = "k", **more: tuple[str, object]) -> Item:
    return {"p": ("S", pk), "s": ("S", sort), **more}


def row(rows: GlobalRows, item: Item) -> tuple[bytes, bytes] | None:
    return rows.row(storage_key(rows.key, item), encode_item(item))


def key_of(rows: GlobalRows, item: Item) -> bytes:
    found = row(rows, item)
    assert found is not None
    assert found[0] == rows.row_key(storage_key(rows.key, item), item)
    return found[0]


def test_rows_of_one_hash_value_lie_together_in_the_order_of_every_sort_attribute() -> None:
    rand = random.Random(3)
    items = [
        item_of(rand.choice("uvw"), rand.choice("xyz"), g=("S", "g"), h=("N", "1"), a=("S", rand.choice(("a", "a\x00", "ab", "longer than eight"))),
                b=("B", rand.choice((b"\x00", b"\x00\x00", b"\xff"))), n=("N", rand.choice(("-1.5", "0", "2", "10"))))
        for _ in range(300)
    ]  # fmt: skip

    def order(item: Item) -> tuple[bytes, bytes, Decimal]:
        return item["a"][1].encode(), item["b"][1], Decimal(item["n"][1])  # type: ignore[union-attr,return-value,arg-type]

    by_key = sorted(items, key=lambda item: key_of(MANY, item))
    assert [order(item) for item in by_key] == sorted(map(order, items))
    assert len({key_of(MANY, item)[:17] for item in items}) == 1
    assert key_of(MANY, items[0])[16:17] == MARK
    assert key_of(MANY, {**items[0], "h": ("N", "2")})[:16] != key_of(MANY, items[0])[:16]


def test_items_with_equal_index_keys_have_a_row_each() -> None:
    items = [item_of(pk, sort, g=("S", "g"), n=("N", "1")) for pk in "abc" for sort in ("k", "l", "y" * 1023 + "1", "y" * 1023 + "2")]
    assert len({key_of(ONE, item) for item in items}) == len(items)
    bare = [{"p": ("S", pk), "g": ("S", "g")} for pk in "abc"]
    assert len({key_of(BARE, item) for item in bare}) == 3


def test_the_hash_attributes_are_not_run_together() -> None:
    both = GlobalRows(KEY, GlobalIndex(name="both", hash=(KeyAttribute("g", "S"), KeyAttribute("h", "S"))))
    assert key_of(both, item_of(g=("S", "ab"), h=("S", "c")))[:16] != key_of(both, item_of(g=("S", "a"), h=("S", "bc")))[:16]


@pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with", None])
def test_bounds_hold_exactly_what_the_condition_asks_for(operator: str | None) -> None:
    texts = ("a", "a\x00", "ab", "abcdefgh", "abcdefghi", "b", "\U0010ffff" * 3)
    tests = {
        "=": lambda one, low, high: one == low, "<": lambda one, low, high: one < low, "<=": lambda one, low, high: one <= low,
        ">": lambda one, low, high: one > low, ">=": lambda one, low, high: one >= low, "BETWEEN": lambda one, low, high: low <= one <= high,
        "begins_with": lambda one, low, high: one.startswith(low), None: lambda one, low, high: True,
    }  # fmt: skip
    hashed: list[Value] = [("S", "g"), ("N", "1")]
    everything = [
        item_of(g=("S", g), h=("N", "1"), a=("S", a), b=("B", b"b"), n=("N", "1")) for a in texts for g in ("g", "other")
    ]  # fmt: skip
    for low, high in itertools.product(texts, texts):
        if low > high:
            continue
        values: list[Value] = [("S", low), ("S", high)] if operator == "BETWEEN" else [("S", low)] if operator else []
        start, end = MANY.bounds(hashed, (), operator, values)
        found = {str(one["a"][1]) for one in everything if start <= key_of(MANY, one) and (end is None or key_of(MANY, one) < end)}
        # in UTF-8 as in code points: the same order
        assert found == {text for text in texts if tests[operator](text, low, high)}, (operator, low, high)
    equal: list[Value] = [("S", "ab")]
    start, end = MANY.bounds(hashed, equal)
    assert end is not None
    assert [one["a"][1] for one in everything if start <= key_of(MANY, one) < end] == ["ab"]


@pytest.mark.parametrize(
    "lack",
    [{"g": None}, {"n": None}, {"n": ("S", "1")}, {"g": ("S", "")}, {"g": ("S", "x" * 2049)}],
    ids=["hash", "sort", "type", "empty", "long"],
)
def test_an_item_without_all_key_attributes_has_no_row(lack: dict[str, tuple[str, object] | None]) -> None:
    item = {**item_of(g=("S", "g"), n=("N", "0")), **lack}
    assert row(ONE, {name: value for name, value in item.items() if value is not None}) is None


def test_attributes_of_a_key_are_not_too_long_together() -> None:
    assert row(MANY, item_of(g=("S", "g"), h=("N", "1"), a=("S", "x" * 600), b=("B", b"y" * 425), n=("N", "1"))) is None
    longest = item_of("p", "z" * 1024, g=("S", "g"), h=("N", "1"), a=("S", "x" * 1001), b=("B", b"y" * 1), n=("N", "1" * 38 + "0" * 87))
    assert row(MANY, longest) is not None
    found = [
        item_of("p", "z" * 1024, g=("S", "g"), h=("N", "1"), a=("S", "x" * a), b=("B", b"y" * b), n=("N", "-" + "1" * 38))
        for a, b in ((1, 1001), (999, 1), (497, 504))
    ]
    assert max(len(key_of(MANY, item)) for item in (*found, longest)) <= KEY_BYTES_MAX
    four = GlobalRows(
        KEY, GlobalIndex(name="four", hash=(KeyAttribute("g", "S"),), sort=tuple([KeyAttribute(name, "S") for name in "abcd"]))
    )
    item = item_of("p", "z" * 1024, g=("S", "g"), a=("S", "x" * 257), b=("S", "x" * 257), c=("S", "x" * 257), d=("S", "x" * 253))
    assert len(key_of(four, item)) <= KEY_BYTES_MAX


def test_what_is_projected() -> None:
    item = item_of(g=("S", "g"), h=("N", "1"), a=("S", "a"), b=("B", b"b"), n=("N", "1"), x=("S", "x"), y=("S", "y"))
    for rows, names in ((ONE, set(item)), (BARE, {"p", "g"}), (MANY, set(item) - {"y"})):
        found = row(rows, item)
        assert found is not None
        assert set(decode_item(found[1])) == set(rows.projected(item)) == names
        assert rows.holds(sorted(names))
        assert rows.holds(["nothing"]) is (rows is ONE)


def test_a_change_says_which_row_goes_and_which_comes() -> None:
    one, other = item_of(g=("S", "g"), n=("N", "1"), x=("S", "x")), item_of(g=("S", "g"), n=("N", "1"), x=("S", "z"))
    moved, without = item_of(g=("S", "g"), n=("N", "2")), item_of(n=("N", "2"))
    key = storage_key(KEY, one)

    def change(old: Item | None, new: Item | None) -> tuple[int, int, bool]:
        gone, come = ONE.change(key, None if old is None else encode_item(old), None if new is None else encode_item(new))
        return len(gone), len(come), set(gone) == set(come)

    assert change(None, one) == (0, 1, False)
    assert change(one, None) == (1, 0, False)
    assert change(one, one) == (0, 0, True)
    assert change(one, other) == (1, 1, True)
    assert change(one, moved) == (1, 1, False)
    assert change(one, without) == (1, 0, False)
    assert change(without, without) == change(None, None) == (0, 0, True)


def test_the_derivation_travels_as_bytes() -> None:
    other = GlobalRows.decode(MANY.encode())
    assert (other.key, other.index) == (MANY.key, MANY.index)


def test_golden_rows(golden: Golden) -> None:
    """The keys and values of some rows, in hex: what a tree of this release holds, every later one reads."""
    items = {
        "one": (ONE, item_of(g=("S", "group"), n=("N", "-1.5"), x=("S", "x"))),
        "bare": (BARE, {"p": ("S", "one"), "g": ("S", "group"), "x": ("S", "x")}),
        "many": (MANY, item_of("p", "y" * 1024, g=("S", "g"), h=("N", "1"), a=("S", "longer than eight"), b=("B", b"\x00\xff"), n=("N", "1"), x=("S", "x"))),
    }  # fmt: skip
    shown = {}
    for name, (rows, item) in items.items():
        found = row(rows, item)
        assert found is not None
        shown[name] = [found[0].hex(), found[1].hex()]
    golden.check_json("item/global_index_rows.json", shown)
