"""Rows of local indexes: their keys' order and bounds, what is projected, what an item's change does to them, and what may be a key."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal

import pytest

from scrubjay.base.errors import Corrupt
from scrubjay.storage.btree.row import KEY_BYTES_MAX
from scrubjay.storage.catalogue import KeyAttribute, KeySchema, LocalIndex
from scrubjay.storage.items.encoding import encode_item
from scrubjay.storage.items.keys import storage_key
from scrubjay.storage.items.local_index import (
    LocalRows,
    Units,
    decode_size,
    encode_size,
    entry_bounds,
    entry_item,
    entry_prefix,
    grouped,
    is_entry,
    items_end,
    units_of,
)
from scrubjay.storage.items.values import Item
from tests.fixtures.golden import Golden

P, S, B = KeyAttribute("p", "S"), KeyAttribute("s", "S"), KeyAttribute("s", "B")
INDEXES = (
    LocalIndex("all", KeyAttribute("n", "N")),
    LocalIndex("keys", KeyAttribute("t", "S"), "KEYS_ONLY"),
    LocalIndex("some", KeyAttribute("b", "B"), "INCLUDE", ("x", "y")),
)
LOCAL, BINARY = LocalRows(KeySchema(P, S), INDEXES), LocalRows(KeySchema(P, B), INDEXES)


def item_of(sort: str | bytes = "k", **more: tuple[str, object]) -> Item:
    return {"p": ("S", "one"), "s": ("S" if isinstance(sort, str) else "B", sort), **more}


def rows(item: Item, local: LocalRows = LOCAL) -> list[tuple[bytes, bytes]]:
    return local.rows(storage_key(local.key, item), encode_item(item))


def test_groups_keep_the_order_of_bytes_and_none_begins_with_another() -> None:
    rand = random.Random(1)
    values = {bytes(rand.choices(b"\x00\x01\xff", k=rand.randint(0, 20))) for _ in range(400)}
    ordered = sorted(values)
    assert sorted(values, key=grouped) == ordered
    assert not any(grouped(high).startswith(grouped(low)) for low, high in itertools.pairwise(ordered))


@pytest.mark.parametrize("local", [LOCAL, BINARY], ids=["text", "binary"])
def test_rows_are_in_the_order_of_the_index_key_then_of_the_items_own(local: LocalRows) -> None:
    own: list[str | bytes] = (
        [b"a", b"a\x00", b"b", b"x" * 768, b"y" * 1024] if local is BINARY else ["a", "a\x00", "b", "x" * 768, "y" * 1024]
    )
    numbers = ["-12.5", "-1", "0", "1", "1.5", "15"]
    found = [rows(item_of(sort, n=("N", number)), local)[0][0] for number in numbers for sort in own]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_a_key_of_any_length_fits_a_tree_and_no_item_has_it() -> None:
    longest = item_of("y" * 1024, t=("S", "z" * 1024))
    (key, _), *_ = rows(longest)
    assert len(key) <= KEY_BYTES_MAX
    binary = item_of(b"\xff" * 1024, b=("B", b"\xff" * 1024))
    ((key, value),) = rows(binary, BINARY)
    assert len(key) <= KEY_BYTES_MAX
    ((short, _),) = rows(item_of(b"\xff", b=("B", b"\x00")), BINARY)
    assert len(short) > 16 + 1024, "longer than any item's key"
    assert is_entry(key, value)
    assert not is_entry(storage_key(BINARY.key, binary), encode_item(binary))


def test_keys_that_differ_behind_what_is_kept_of_them_are_two() -> None:
    one, other = (rows(item_of("q" * 1000 + end, n=("N", "1")))[0][0] for end in "ab")
    assert one != other
    short, padded = (rows(item_of(sort, n=("N", "1")), BINARY)[0][0] for sort in (b"a", b"a\x00"))
    assert short != padded


def test_what_is_projected() -> None:
    item = item_of(n=("N", "1"), t=("S", "t"), b=("B", b"b"), x=("L", (("S", "deep"),)), z=("BOOL", True))
    whole, keys, some = [entry_item(value) for _, value in rows(item)]
    assert whole == item
    assert keys == {name: item[name] for name in "pst"}
    assert some == {name: item[name] for name in "psbx"}
    assert [LOCAL.projected(number, item) for number in (1, 2, 3)] == [whole, keys, some]


def test_an_item_without_the_key_is_not_in_the_index() -> None:
    assert rows(item_of()) == []
    assert len(rows(item_of(t=("S", "t")))) == 1
    assert rows(item_of(t=("N", "1"), n=("S", "1"), b=("B", b""))) == [], "of another type or empty: never written, never indexed"


def test_bounds_hold_what_a_condition_asks_for() -> None:
    prefix = storage_key(LOCAL.key, item_of())[:16]
    numbers = ["-3", "0", "0.5", "1", "2", "10"]
    keys = {number: rows(item_of(n=("N", number)))[0][0] for number in numbers}
    for operator, values, holds in (
        ("=", ["1"], lambda n: n == 1),
        ("<", ["1"], lambda n: n < 1),
        ("<=", ["1"], lambda n: n <= 1),
        (">", ["1"], lambda n: n > 1),
        (">=", ["1"], lambda n: n >= 1),
        ("BETWEEN", ["0", "2"], lambda n: 0 <= n <= 2),
        (None, [], lambda n: True),
    ):
        start, end = entry_bounds(INDEXES[0], 1, prefix, operator, [("N", value) for value in values])
        assert [n for n, key in keys.items() if start <= key < end] == [n for n in numbers if holds(Decimal(n))], operator
    start, end = entry_bounds(INDEXES[1], 2, prefix, "begins_with", [("S", "ab")])
    inside = [rows(item_of(t=("S", text)))[0][0] for text in ("ab", "abc", "ab" + "z" * 90)]
    outside = [rows(item_of(t=("S", text)))[0][0] for text in ("a", "ac", "aa" + "z" * 90)]
    assert all(start <= key < end for key in inside)
    assert not any(start <= key < end for key in outside)
    assert entry_prefix(prefix, 3) <= rows(item_of(b=("B", b"\xff" * 9)))[0][0] < entry_prefix(prefix, 4)


def test_items_end_before_their_index_rows() -> None:
    item = item_of("\U0010ffff" * 9, n=("N", "1"))
    end = items_end(LOCAL.key, storage_key(LOCAL.key, item)[:16])
    assert end is not None
    assert storage_key(LOCAL.key, item) < end < rows(item)[0][0]
    assert items_end(BINARY.key, bytes(16)) is None


def test_a_change_takes_away_and_brings_what_differs() -> None:
    before = item_of(n=("N", "1"), t=("S", "t"), z=("S", "old"))
    after = {**before, "n": ("N", "2"), "z": ("S", "new")}
    key = storage_key(LOCAL.key, before)
    gone, come = LOCAL.change(key, encode_item(before), encode_item(after))
    assert list(gone) == [rows(before)[0][0]], "the row of the index that has keys alone stays as it is"
    assert list(come) == [rows(after)[0][0]]
    gone, come = LOCAL.change(key, encode_item(after), None)
    assert (len(gone), come) == (2, {})
    assert LOCAL.change(key, encode_item(after), encode_item(after)) == ({}, {})


def test_units_of_a_write() -> None:
    before, after = item_of(n=("N", "1"), t=("S", "t")), item_of(n=("N", "2"), t=("S", "t"), z=("S", "zz"))
    key = storage_key(LOCAL.key, before)
    size = 1 + 3 + 1 + 1 + 1 + 2 + 1 + 1  # p one, s k, n 1, t t
    assert units_of(LOCAL, key, encode_item(before), encode_item(after)) == {"all": Units(size, size + 3, True)}
    assert units_of(LOCAL, key, None, encode_item(before)) == {"all": Units(None, size, False), "keys": Units(None, size - 3, False)}


def test_the_derivation_travels_as_bytes() -> None:
    other = LocalRows.decode(LOCAL.encode())
    assert other is not None
    item = item_of(n=("N", "1"), b=("B", b"b"), x=("S", "x"))
    assert rows(item, other) == rows(item)
    assert LocalRows.decode(b"") is None
    assert LocalRows.of_table(LOCAL.key, ()) is None


def test_golden_rows(golden: Golden) -> None:
    """The keys and values of some rows, in hex: what a tree of this release holds, every later one reads."""
    items = {
        "text": (LOCAL, item_of("k", n=("N", "-1.5"), t=("S", "longer than eight"), b=("B", b"\x00\xff"), x=("S", "x"))),
        "long": (LOCAL, item_of("y" * 1024, t=("S", "z" * 20))),
        "binary": (BINARY, item_of(b"\xff\x01", n=("N", "7"))),
    }
    shown = {name: [[key.hex(), value.hex()] for key, value in rows(item, local)] for name, (local, item) in items.items()}
    golden.check_json("item/index_rows.json", shown)


@pytest.mark.parametrize("local", [LOCAL, BINARY], ids=["text", "binary"])
def test_the_size_of_a_collection_lies_in_front_of_its_index_rows_and_is_nothing_else(local: LocalRows) -> None:
    sorts: list[str | bytes] = ["a", "\U0010ffff"] if local is LOCAL else [b"a", b"\xff", b"\xff\x00" + bytes(1022)]
    for sort in sorts:
        item = item_of(sort, n=("N", "-1"), t=("S", "a"), b=("B", b"\x00"))
        key = storage_key(local.key, item)
        at = local.size_key(key)
        assert at == local.size_key(key[:16])
        assert at < min(entry for entry, _ in rows(item, local))
        assert at != key
        assert len(at) <= KEY_BYTES_MAX
        assert is_entry(at, encode_size(7))
        assert not any(
            low <= at < high for number, index in enumerate(INDEXES, 1) for low, high in [entry_bounds(index, number, key[:16], None, ())]
        )
    if local is LOCAL:
        end = items_end(local.key, at[:16])
        assert end is not None
        assert end < at


def test_a_size_is_read_as_it_was_written_and_anything_else_is_corrupt() -> None:
    assert [decode_size(encode_size(size)) for size in (1, 10 << 30, (1 << 64) - 1)] == [1, 10 << 30, (1 << 64) - 1]
    assert decode_size(None) == 0
    for bad in (b"", b"\x01" + bytes(8), b"\x02" + bytes(7), b"\x02" + bytes(9)):
        with pytest.raises(Corrupt):
            decode_size(bad)


def test_golden_sizes(golden: Golden) -> None:
    shown = [
        {"key": local.size_key(bytes(range(16))).hex(), "value": encode_size(size).hex(), "size": size}
        for local in (LOCAL, BINARY)
        for size in (1, 10 << 30)
    ]
    golden.check_json("item/collection_sizes.json", shown)
